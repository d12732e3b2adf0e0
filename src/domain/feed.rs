//! The feed that billing pulls: what an item says, cursors, and what an answer may be.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::chain::Hash;
use super::credit::Amounts;
use super::ids::CreditId;
use super::money::{Currency, Money, MoneyError};
use super::refusal::{Code, Refusal};
use super::time::Instant;

/// How a credit is called outside: `crd_` and 32 hexadecimal digits.
pub fn credit_name(credit: CreditId) -> String {
    format!("crd_{}", credit.0.simple())
}

/// The credit behind a name, if it is one.
pub fn credit_named(name: &str) -> Option<CreditId> {
    let digits = name.strip_prefix("crd_")?;
    (digits.len() == 32).then(|| Uuid::try_parse(digits).ok().map(CreditId)).flatten()
}

/// How a reversal is called outside: `rev_` and the digits of the credit that it reverses.
pub fn reversal_name(credit: CreditId) -> String {
    format!("rev_{}", credit.0.simple())
}

/// The credit whose reversal a name is, if it is one.
pub fn reversal_named(name: &str) -> Option<CreditId> {
    name.strip_prefix("rev_").and_then(|digits| credit_named(&format!("crd_{digits}")))
}

/// What billing reads of a credit that was issued. The fields stand in the order of their names, so that its text is
/// [`canonical`] as it is written.
#[derive(Debug, Serialize)]
pub struct IssueBody<'a> {
    pub account: &'a str,
    pub bill_to: &'a str,
    /// The claim that asked for it.
    pub claim: Option<&'a str>,
    pub currency: Currency,
    pub effective_date: NaiveDate,
    pub gross: String,
    pub id: String,
    pub issued_at: Instant,
    pub net: String,
    pub reason: &'a str,
    pub road: &'a str,
    pub service_period: Option<ServicePeriod<'a>>,
    pub tax: String,
    pub tax_code: &'a str,
}

impl IssueBody<'_> {
    pub fn text(&self) -> String {
        // Strings, dates and amounts: there is nothing that JSON cannot say. Were there, no database would take the empty text as JSON.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The service period of a credit as local dates, the second not included.
#[derive(Debug, Serialize)]
pub struct ServicePeriod<'a> {
    pub end: NaiveDate,
    pub start: NaiveDate,
    pub time_zone: &'a str,
}

/// The hash of the item at a position, after the item before it. `body` is [`canonical`] text.
pub fn item_hash(previous: &Hash, position: i64, op: &str, body: &str) -> Hash {
    Sha256::new()
        .chain_update(previous)
        .chain_update(position.to_be_bytes())
        .chain_update(op.as_bytes())
        .chain_update([0])
        .chain_update(body)
        .finalize()
        .into()
}

/// How the name of an item of the feed begins; 32 hexadecimal digits of its event follow. The same event has the same name for good, in
/// every epoch.
pub const ITEM_NAME: &str = "evt_";

/// Where one consumer stands: after position `pos` of `epoch`, with a check over the hash of the item there and the consumer's
/// name. Opaque outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub epoch: i32,
    pub pos: i64,
    /// The first eight bytes of a hash over the consumer and the hash of the item at `pos`.
    pub check: [u8; 8],
}

impl Cursor {
    pub fn at(epoch: i32, pos: i64, hash: &Hash, consumer: &str) -> Self {
        let bound: Hash = Sha256::new().chain_update(hash).chain_update(consumer).finalize().into();
        let mut check = [0; 8];
        check.copy_from_slice(&bound[..8]);
        Cursor { epoch, pos, check }
    }

    pub fn text(self) -> String {
        let mut bytes = vec![1];
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(&self.pos.to_be_bytes());
        bytes.extend_from_slice(&self.check);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let refused =
            || Refusal::field("/query/after", "this is not a cursor of this feed: send next_cursor as you got it");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| refused())?;
        let [1, rest @ ..] = bytes.as_slice() else { return Err(refused()) };
        let rest: &[u8; 20] = rest.try_into().map_err(|_| refused())?;
        let (epoch, rest) = rest.split_first_chunk::<4>().ok_or_else(refused)?;
        let (pos, check) = rest.split_first_chunk::<8>().ok_or_else(refused)?;
        let cursor = Cursor {
            epoch: i32::from_be_bytes(*epoch),
            pos: i64::from_be_bytes(*pos),
            check: check.try_into().map_err(|_| refused())?,
        };
        if cursor.pos < 0 { Err(refused()) } else { Ok(cursor) }
    }
}

/// The advice that goes with a cursor that is not of this feed.
pub fn stale_cursor(why: &str) -> Refusal {
    let detail = format!(
        "{why} Start again from the beginning (leave `after` out): credits that you know keep their ids, so nothing is applied \
         twice. Then compare GET /v1/billing/unacknowledged with what you hold."
    );
    Refusal::new(Code::CursorStale, detail)
}

/// Billing's answer to an item of the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnswerKind {
    /// Loaded; not on a bill yet.
    Accepted,
    /// On a bill: with its reference, date and amounts.
    Applied,
    /// The bill run was rolled back: it waits again.
    Returned,
    /// Billing will not take it: it lands with finance.
    Refused,
    /// To a `cancel`: it will stand on no bill.
    Cancelled,
    /// To a `debit`: it is on a bill, with its reference, date and amounts.
    Debited,
    /// Never sent: an `applied` under another reference than before, kept in place of that one.
    Superseding,
}

impl AnswerKind {
    pub const ALL: [AnswerKind; 7] = [
        AnswerKind::Accepted,
        AnswerKind::Applied,
        AnswerKind::Returned,
        AnswerKind::Refused,
        AnswerKind::Cancelled,
        AnswerKind::Debited,
        AnswerKind::Superseding,
    ];

    pub fn name(self) -> &'static str {
        match self {
            AnswerKind::Accepted => "accepted",
            AnswerKind::Applied => "applied",
            AnswerKind::Returned => "returned",
            AnswerKind::Refused => "refused",
            AnswerKind::Cancelled => "cancelled",
            AnswerKind::Debited => "debited",
            AnswerKind::Superseding => "superseding",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        AnswerKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// An answer that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    pub kind: AnswerKind,
    /// How often the credit had been offered again before it: what is said of one offer is not said of another.
    pub round: i32,
    /// The bill; empty for `accepted` and `cancelled`, the reason's code for `refused`.
    pub reference: String,
    pub on: NaiveDate,
    /// As billing has them on the bill.
    pub amounts: Amounts,
    /// How much more tax that is than we would say; less where it is negative.
    pub rounding: Money,
    /// `superseding`: the reference that stood there before.
    pub supersedes: Option<String>,
}

impl Answered {
    /// The amounts as the books have them: our tax, and so our net.
    pub fn ours(&self) -> Result<Amounts, MoneyError> {
        let Amounts { gross, net, tax } = self.amounts;
        Ok(Amounts { gross, net: net.plus(self.rounding)?, tax: tax.minus(self.rounding)? })
    }
}

#[cfg(test)]
mod tests {
    use super::super::chain::canonical;
    use super::*;

    #[test]
    fn what_billing_reads_of_a_credit_is_written_as_it_is_hashed() {
        let day = NaiveDate::from_ymd_opt(2026, 10, 31).unwrap();
        let body = IssueBody {
            account: "Kauri \"Brews\": Ltd",
            bill_to: "Kauri",
            claim: None,
            currency: "NZD".parse().unwrap(),
            effective_date: day,
            gross: "25.00".to_owned(),
            id: credit_name(CreditId(Uuid::from_u128(7))),
            issued_at: Instant::parse("2026-11-03T20:00:00.5Z").unwrap(),
            net: "21.74".to_owned(),
            reason: "sla_tier",
            road: "contract",
            service_period: Some(ServicePeriod { end: day, start: day, time_zone: "Pacific/Auckland" }),
            tax: "3.26".to_owned(),
            tax_code: "GST15",
        };
        assert_eq!(body.text(), canonical(&serde_json::to_value(&body).unwrap()));
    }

    #[test]
    fn a_cursor_comes_back_as_it_went_and_nothing_else_is_one() {
        let cursor = Cursor::at(3, 88_214, &[7; 32], "makegood|billing:one");
        assert_eq!(Cursor::parse(&cursor.text()).unwrap(), cursor);
        for text in ["", "0", "AAAA", "../..", "%00", &cursor.text()[1..]] {
            assert!(Cursor::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_of_credits_are_read_back() {
        let id = CreditId(Uuid::from_u128(42));
        assert_eq!(credit_named(&credit_name(id)), Some(id));
        assert_eq!(credit_named("crd_01JD4N2T9V6R8S3W5X7Y9Z0A1B"), None);
    }
}
