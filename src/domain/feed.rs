//! The feed that billing pulls: what an item says, cursors, and what an answer may be.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::chain::{Hash, canonical};
use super::ids::CreditId;
use super::money::Money;
use super::refusal::{Code, Refusal};

/// How a credit is called outside: `crd_` and 32 hexadecimal digits.
pub fn credit_name(credit: CreditId) -> String {
    format!("crd_{}", credit.0.simple())
}

/// The credit behind a name, if it is one.
pub fn credit_named(name: &str) -> Option<CreditId> {
    let digits = name.strip_prefix("crd_")?;
    (digits.len() == 32).then(|| Uuid::try_parse(digits).ok().map(CreditId)).flatten()
}

/// The hash of the item at a position, after the item before it.
pub fn item_hash(previous: &Hash, position: i64, op: &str, body: &Value) -> Hash {
    Sha256::new()
        .chain_update(previous)
        .chain_update(position.to_be_bytes())
        .chain_update(op.as_bytes())
        .chain_update([0])
        .chain_update(canonical(body).as_bytes())
        .finalize()
        .into()
}

/// How an item of the feed is called outside: `evt_` and 32 hexadecimal digits. The same event has the same name for good, in every
/// epoch.
pub fn item_name(event: Uuid) -> String {
    format!("evt_{}", event.simple())
}

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

/// Billing's answer to one credit.
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
}

impl AnswerKind {
    pub fn name(self) -> &'static str {
        match self {
            AnswerKind::Accepted => "accepted",
            AnswerKind::Applied => "applied",
            AnswerKind::Returned => "returned",
            AnswerKind::Refused => "refused",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [AnswerKind::Accepted, AnswerKind::Applied, AnswerKind::Returned, AnswerKind::Refused]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// An answer that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    pub kind: AnswerKind,
    /// The bill; empty for `accepted`, the reason's code for `refused`.
    pub reference: String,
    pub on: NaiveDate,
    pub gross: Money,
    pub net: Money,
    pub tax: Money,
}

/// Where a credit stands with billing, from its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Never answered, or only loaded.
    Waiting,
    /// A part stands on bills.
    PartlyApplied {
        applied: Money,
    },
    Applied,
    Returned,
    Refused,
}

impl Standing {
    pub fn name(self) -> &'static str {
        match self {
            Standing::Waiting => "waiting",
            Standing::PartlyApplied { .. } => "partly_applied",
            Standing::Applied => "applied",
            Standing::Returned => "returned",
            Standing::Refused => "refused",
        }
    }

    /// The standing of a credit of `gross` after `answers`, in their order.
    pub fn of(gross: Money, answers: &[Answered]) -> Standing {
        let applied = applied(gross, answers);
        let last = answers.iter().rev().find(|answer| answer.kind != AnswerKind::Accepted);
        match last.map(|answer| answer.kind) {
            None | Some(AnswerKind::Accepted) => Standing::Waiting,
            Some(AnswerKind::Refused) => Standing::Refused,
            Some(AnswerKind::Returned) if applied.is_zero() => Standing::Returned,
            Some(AnswerKind::Returned | AnswerKind::Applied) if applied == gross => Standing::Applied,
            Some(AnswerKind::Returned | AnswerKind::Applied) => Standing::PartlyApplied { applied },
        }
    }
}

/// How much of the credit stands on bills: what was applied less what was returned.
pub fn applied(gross: Money, answers: &[Answered]) -> Money {
    let minor = answers.iter().fold(0i64, |sum, answer| match answer.kind {
        AnswerKind::Applied => sum.saturating_add(answer.gross.minor()),
        AnswerKind::Returned => sum.saturating_sub(answer.gross.minor()),
        AnswerKind::Accepted | AnswerKind::Refused => sum,
    });
    Money::from_minor(minor, gross.currency()).unwrap_or(gross)
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_credit_waits_until_all_of_it_stands_on_a_bill() {
        let nzd = |minor| Money::from_minor(minor, "NZD".parse().unwrap()).unwrap();
        let answer = |kind, minor: i64| Answered {
            kind,
            reference: "INV-1".into(),
            on: NaiveDate::MIN,
            gross: nzd(minor),
            net: nzd(minor),
            tax: nzd(0),
        };
        let mut answers = vec![answer(AnswerKind::Accepted, 0)];
        assert_eq!(Standing::of(nzd(100), &answers), Standing::Waiting);
        answers.push(answer(AnswerKind::Applied, 60));
        assert_eq!(Standing::of(nzd(100), &answers), Standing::PartlyApplied { applied: nzd(60) });
        answers.push(answer(AnswerKind::Applied, 40));
        assert_eq!(Standing::of(nzd(100), &answers), Standing::Applied);
        answers.push(answer(AnswerKind::Returned, 40));
        assert_eq!(Standing::of(nzd(100), &answers), Standing::PartlyApplied { applied: nzd(60) });
        answers.push(answer(AnswerKind::Returned, 60));
        assert_eq!(Standing::of(nzd(100), &answers), Standing::Returned);
    }
}
