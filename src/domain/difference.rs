//! Late truth: what an account should have got, beside what it was credited. It is found and decided; it changes no row that
//! was issued.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::refusal::{Code, Refusal};

/// Which way a difference goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// More is due than was credited. The next credit run gives the rest.
    FurtherCredit,
    /// More was credited than is due. A person decides.
    OverPayment,
    /// What is due cannot be said.
    NotKnown,
}

impl DifferenceKind {
    /// Of what was credited and what is due, in minor units of one currency; none where they are the same.
    pub fn of(credited: i64, due: Option<i64>) -> Option<Self> {
        match due {
            None => Some(DifferenceKind::NotKnown),
            Some(due) if due > credited => Some(DifferenceKind::FurtherCredit),
            Some(due) if due < credited => Some(DifferenceKind::OverPayment),
            Some(_) => None,
        }
    }
}

/// What a person decides about a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The customer keeps what was too much.
    Keep,
    /// The rest is given, with the next credit run of the period.
    FurtherCredit,
    /// What was too much is taken back: debited where it stands on a bill.
    Recover,
}

impl Decision {
    pub fn name(self) -> &'static str {
        match self {
            Decision::Keep => "keep",
            Decision::FurtherCredit => "further_credit",
            Decision::Recover => "recover",
        }
    }

    /// Refuses a decision that does not answer the difference, and one about a difference that something keeps from being judged.
    pub fn fits(self, kind: DifferenceKind, blockers: &[String]) -> Result<(), Refusal> {
        if let Some(first) = blockers.first() {
            let detail = format!(
                "What is due is not settled yet ({first}). Settle it, list the differences again, then decide."
            );
            return Err(Refusal::new(Code::WrongState, detail));
        }
        match (kind, self) {
            (DifferenceKind::FurtherCredit, Decision::FurtherCredit)
            | (DifferenceKind::OverPayment, Decision::Keep | Decision::Recover) => Ok(()),
            (DifferenceKind::FurtherCredit, Decision::Keep | Decision::Recover) => {
                Err(Refusal::field("/decision", "more is due than was credited: the only answer is further_credit"))
            }
            (DifferenceKind::OverPayment, Decision::FurtherCredit) => {
                Err(Refusal::field("/decision", "more was credited than is due: keep or recover"))
            }
            (DifferenceKind::NotKnown, Decision::Keep | Decision::FurtherCredit | Decision::Recover) => {
                Err(Refusal::new(Code::WrongState, "What is due cannot be said yet. List the differences again."))
            }
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no decision: keep, further_credit or recover")]
pub struct UnknownDecision(String);

impl FromStr for Decision {
    type Err = UnknownDecision;

    fn from_str(name: &str) -> Result<Self, UnknownDecision> {
        [Decision::Keep, Decision::FurtherCredit, Decision::Recover]
            .into_iter()
            .find(|one| one.name() == name)
            .ok_or_else(|| UnknownDecision(name.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_answers_its_difference_and_waits_until_what_is_due_is_settled() {
        let kinds =
            [(100, Some(150)), (100, Some(50)), (100, None)].map(|(credited, due)| DifferenceKind::of(credited, due));
        let [further, over, unknown] = kinds.map(Option::unwrap);
        assert_eq!(DifferenceKind::of(100, Some(100)), None);
        let held = ["window_not_confirmed:x".to_owned()];
        for decision in [Decision::Keep, Decision::FurtherCredit, Decision::Recover] {
            assert_eq!(decision.name().parse(), Ok(decision));
            let gives = decision == Decision::FurtherCredit;
            assert_eq!(decision.fits(further, &[]).is_ok(), gives, "{decision}");
            assert_eq!(decision.fits(over, &[]).is_ok(), !gives, "{decision}");
            assert_eq!(decision.fits(unknown, &[]).unwrap_err().code, Code::WrongState);
            assert_eq!(decision.fits(over, &held).unwrap_err().code, Code::WrongState);
        }
        assert!("give".parse::<Decision>().is_err());
    }
}
