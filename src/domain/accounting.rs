//! Accounting periods: calendar months that are closed one after the other, and what is dated into a closed one.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::actor::Actor;
use super::ids::derived;
use super::period::{Month, Zone};
use super::refusal::{Code, Refusal};
use super::time::Instant;

/// Where a period stands. `closing` and `locked` take no postings any more; in between, finance looks at the trial balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PeriodState {
    Open,
    /// Provisions are posted, and nothing else goes in.
    Closing,
    /// Signed with the trial balance's hash, by somebody else than who began to close it.
    Locked,
}

impl PeriodState {
    pub fn name(self) -> &'static str {
        match self {
            PeriodState::Open => "open",
            PeriodState::Closing => "closing",
            PeriodState::Locked => "locked",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [PeriodState::Open, PeriodState::Closing, PeriodState::Locked].into_iter().find(|state| state.name() == name)
    }
}

/// The day on which a posting takes effect: the one that it is dated, or the first open day where that one is closed.
pub fn effective(dated: NaiveDate, open_from: NaiveDate) -> NaiveDate {
    dated.max(open_from)
}

/// One line of a trial balance, in minor units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    pub account: &'a str,
    pub currency: &'a str,
    pub debit_minor: i64,
    pub credit_minor: i64,
}

/// What finance signs: SHA-256 over the trial balance of everything that is effective up to the period's end. Lines are sorted
/// here, so the order in which they are read does not matter.
pub fn balance_hash(period: Month, lines: &[Line<'_>]) -> [u8; 32] {
    let mut written: Vec<String> = lines
        .iter()
        .map(|line| format!("{} {} {} {}\n", line.currency, line.account, line.debit_minor, line.credit_minor))
        .collect();
    written.sort_unstable();
    let mut hash = Sha256::new();
    hash.update(format!("trial-balance/1 {period}\n"));
    for line in written {
        hash.update(line);
    }
    hash.finalize().into()
}

/// The document that a period's provisions are posted under.
pub fn provision_document(period: Month) -> Uuid {
    derived(&["provision", &period.to_string()])
}

/// Whether `period` may begin to close: it is over, and the one before it is locked. The first that ever closes takes all before
/// it along. `last` is the newest that is not open.
pub fn may_close(period: Month, last: Option<(Month, PeriodState)>, now: Instant, zone: Zone) -> Result<(), Refusal> {
    let over = period.interval(zone).end();
    if now < over {
        return Err(wrong_state(format!("{period} is not over: it may close from {over} on.")));
    }
    match last {
        Some((newest, _)) if period <= newest => {
            Err(wrong_state(format!("{period} is closed already: {newest} is the newest closed period.")))
        }
        Some((newest, PeriodState::Closing)) => {
            Err(wrong_state(format!("{newest} is closing: lock it first, periods close one after the other.")))
        }
        Some((newest, PeriodState::Locked | PeriodState::Open)) if period != newest.next() => {
            Err(wrong_state(format!("Periods close one after the other: the next one is {}.", newest.next())))
        }
        Some((_, PeriodState::Locked | PeriodState::Open)) | None => Ok(()),
    }
}

/// Whether this person may lock a period that `closed_by` began to close, by typing `signed`. Refusals win in the order four
/// eyes, hash.
pub fn may_lock(actor: &Actor, closed_by: &str, balance: &[u8; 32], signed: &str) -> Result<(), Refusal> {
    if actor.key() == closed_by {
        return Err(Refusal::new(Code::FourEyes, "You began to close this period, so someone else must lock it."));
    }
    let expected = hex::encode(balance);
    if signed.trim().eq_ignore_ascii_case(&expected) {
        return Ok(());
    }
    let detail = format!("Sign with the hash of the trial balance as it is shown: {expected}");
    Err(Refusal::new(Code::TotalDiffers, detail))
}

fn wrong_state(detail: String) -> Refusal {
    Refusal::new(Code::WrongState, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn month(text: &str) -> Month {
        text.parse().unwrap()
    }

    #[test]
    fn the_hash_is_pinned_and_every_cent_and_name_is_in_it() {
        let line = |account, debit_minor, credit_minor| Line { account, currency: "NZD", debit_minor, credit_minor };
        let lines = [line("SLA", 2_174, 0), line("OWED", 0, 2_500), line("TAX_PENDING", 326, 0)];
        let hash = balance_hash(month("2026-10"), &lines);
        // Computed by another program: sha256 of "trial-balance/1 2026-10\nNZD OWED 0 2500\nNZD SLA 2174 0\nNZD TAX_PENDING 326 0\n".
        assert_eq!(hex::encode(hash), "a4f7763344ff85e6680741cd6c4d56809639ada097c0bb91d4e12ad3f1a7793c");
        let reversed: Vec<Line<'_>> = lines.iter().rev().cloned().collect();
        assert_eq!(balance_hash(month("2026-10"), &reversed), hash);
        assert_ne!(balance_hash(month("2026-11"), &lines), hash);
        assert_ne!(balance_hash(month("2026-10"), &[line("SLA", 2_175, 0)]), hash);
    }

    #[test]
    fn periods_close_one_after_the_other_and_never_before_they_are_over() {
        let zone: Zone = "Pacific/Auckland".parse().unwrap();
        let at = |text| Instant::parse(text).unwrap();
        let november = at("2026-11-03T00:00:00Z");
        assert!(may_close(month("2026-10"), None, at("2026-10-31T10:59:59Z"), zone).is_err());
        assert!(may_close(month("2026-10"), None, at("2026-10-31T11:00:00Z"), zone).is_ok(), "midnight in Auckland");
        let last = |text, state| Some((month(text), state));
        assert!(may_close(month("2026-10"), last("2026-09", PeriodState::Locked), november, zone).is_ok());
        assert!(may_close(month("2026-10"), last("2026-09", PeriodState::Closing), november, zone).is_err());
        assert!(may_close(month("2026-10"), last("2026-08", PeriodState::Locked), november, zone).is_err());
        assert!(may_close(month("2026-10"), last("2026-10", PeriodState::Closing), november, zone).is_err());
    }
}
