//! The chain: each row of the books and of the audit trail commits to the one before it, by SHA-256 over a frozen encoding.
//!
//! An encoding is a list of fields, each as its length (four bytes, big endian) and its bytes. The first field names the
//! kind and the version of the encoding, so that a later one can stand beside it. Golden vectors below pin it: a change
//! here would make every chain in the world look broken.

use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::time::Instant;

pub type Hash = [u8; 32];

/// What a chain begins with.
pub const GENESIS: Hash = [0; 32];

/// A row of the books, as it is hashed.
#[derive(Debug)]
pub struct TransferRow<'a> {
    pub account: Uuid,
    pub transfer: Uuid,
    pub document: Uuid,
    pub event: &'a str,
    pub debit: &'a str,
    pub credit: &'a str,
    pub amount_minor: i64,
    pub currency: &'a str,
    pub reason: &'a str,
    /// `2026-10-31`
    pub effective_on: &'a str,
    pub recorded_at: Instant,
}

/// A row of the audit trail, as it is hashed: by `audit/2` where it says in what request it was written, else by `audit/1`.
#[derive(Debug)]
pub struct AuditRow<'a> {
    pub account: Uuid,
    pub audit: Uuid,
    pub recorded_at: Instant,
    pub actor: &'a str,
    pub action: &'a str,
    pub subject: &'a str,
    pub detail: &'a Value,
    /// In whose name, from where and in which request; none for what the clock or a terminal did.
    pub context: Option<&'a Value>,
}

impl TransferRow<'_> {
    pub fn encode(&self) -> Vec<u8> {
        fields(&[
            b"transfer/1",
            self.account.as_bytes(),
            self.transfer.as_bytes(),
            self.document.as_bytes(),
            self.event.as_bytes(),
            self.debit.as_bytes(),
            self.credit.as_bytes(),
            &self.amount_minor.to_be_bytes(),
            self.currency.as_bytes(),
            self.reason.as_bytes(),
            self.effective_on.as_bytes(),
            &self.recorded_at.micros().to_be_bytes(),
        ])
    }
}

impl AuditRow<'_> {
    pub fn encode(&self) -> Vec<u8> {
        let (at, detail) = (self.recorded_at.micros().to_be_bytes(), canonical(self.detail));
        let context = self.context.map(canonical);
        let kind: &[u8] = if context.is_some() { b"audit/2" } else { b"audit/1" };
        let mut parts: Vec<&[u8]> = vec![
            kind,
            self.account.as_bytes(),
            self.audit.as_bytes(),
            &at,
            self.actor.as_bytes(),
            self.action.as_bytes(),
            self.subject.as_bytes(),
            detail.as_bytes(),
        ];
        parts.extend(context.as_ref().map(|context| context.as_bytes()));
        fields(&parts)
    }
}

/// The frozen encoding of a list of fields.
pub fn fields(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    for part in parts {
        bytes.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

/// JSON with keys in byte order and no spaces, whatever the order in which a database hands them back.
pub fn canonical(value: &Value) -> String {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by_key(|(key, _)| key.as_bytes());
            let written: Vec<String> = sorted
                .into_iter()
                .map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), canonical(value)))
                .collect();
            format!("{{{}}}", written.join(","))
        }
    }
}

/// The hash of the row that `encoded` is, after `previous`.
pub fn link(previous: &Hash, encoded: &[u8]) -> Hash {
    Sha256::new().chain_update(previous).chain_update(encoded).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_vectors() {
        let account = Uuid::from_u128(1);
        let transfer = TransferRow {
            account,
            transfer: Uuid::from_u128(2),
            document: Uuid::from_u128(3),
            event: "issued",
            debit: "SLA",
            credit: "OWED",
            amount_minor: 2_174,
            currency: "NZD",
            reason: "sla_tier",
            effective_on: "2026-10-31",
            recorded_at: Instant::parse("2026-11-03T20:00:00Z").unwrap(),
        };
        let first = link(&GENESIS, &transfer.encode());
        let audit = AuditRow {
            account,
            audit: Uuid::from_u128(4),
            recorded_at: Instant::parse("2026-11-03T20:00:00Z").unwrap(),
            actor: "staff|aroha",
            action: "credit.issue",
            subject: "crd",
            detail: &serde_json::json!({"b": 1, "a": "é\n", "c": [null, {"y": 1, "x": 2}]}),
            context: None,
        };
        let second = link(&first, &audit.encode());
        let context = serde_json::json!({"request": "0190f3c1-req", "on_behalf_of": "customers|hana"});
        let third = link(&second, &AuditRow { context: Some(&context), ..audit }.encode());
        assert_eq!(hex::encode(first), GOLDEN[0]);
        assert_eq!(hex::encode(second), GOLDEN[1]);
        assert_eq!(hex::encode(third), GOLDEN[2]);
    }

    /// Computed by another program from the description above.
    const GOLDEN: [&str; 3] = [
        "03c91962b134c06b16ab6dc03b2c57bef912905e21d65d16655dfca03e58109d",
        "c813f7b70dc8e15bb3020775a77af524e9d37f09e5107c7172b00efbc417161e",
        "30a389bd07c10d2f5919d2c81440f333091d834beec1848295a75ee3d8eed21f",
    ];

    #[test]
    fn one_cent_changes_the_hash() {
        let encode = |amount_minor| {
            TransferRow {
                account: Uuid::nil(),
                transfer: Uuid::nil(),
                document: Uuid::nil(),
                event: "",
                debit: "",
                credit: "",
                amount_minor,
                currency: "",
                reason: "",
                effective_on: "",
                recorded_at: Instant::MIN,
            }
            .encode()
        };
        assert_ne!(link(&GENESIS, &encode(1)), link(&GENESIS, &encode(2)));
    }
}
