//! From what each strand pays to one result: combined, set off, capped, rounded, paid.

use std::cmp::Ordering;

use chrono::{Days, NaiveDate};

use super::assessment::{Assessment, Blocker, NothingWhy, Outcome, Strand, hold_back};
use super::base::Charged;
use super::{AssessError, Inputs};
use crate::domain::money::Money;
use crate::domain::period::Zone;
use crate::domain::ratio::{Overflow, Ratio};
use crate::domain::remedy::{Base, Tax};
use crate::domain::terms::{Cap, Combination, Floor, Payment, Payout, RequestWithin, RightIf, RoundingTerms, Terms};
use crate::domain::time::{HOUR, Instant, Interval};

/// Makes one assessment of what the strands say, by the terms that govern.
pub(super) fn combine(
    inputs: &Inputs,
    terms: &Terms,
    zone: Zone,
    period: Interval,
    mut strands: Vec<Strand>,
    mut blockers: Vec<Blocker>,
) -> Result<Assessment, AssessError> {
    match terms.combination {
        Combination::Sum => {}
        Combination::BestOf => keep_best(&mut strands)?,
    }
    let paid = || strands.iter().filter(|strand| strand.is_paid);
    let exact = paid().try_fold(Ratio::ZERO, |sum, strand| sum.plus(strand.exact))?;
    let service_days = paid().map(|strand| u64::from(strand.service_days)).sum::<u64>();
    let service_days = u32::try_from(service_days).map_err(|_| Overflow)?;
    let capped_days = capped_days(service_days, terms);
    let mut due = exact;
    if service_days > 0 {
        // What a cap leaves of the days, it leaves of their worth.
        let worth = paid().try_fold(Ratio::ZERO, |sum, strand| sum.plus(strand.days_worth))?;
        due = due.plus(worth.times(Ratio::new(capped_days.into(), service_days.into())?)?)?;
    }
    let set_off = set_off(due, inputs, terms)?;
    let mut capped = due.minus(set_off)?;
    capped = capped_money(capped, inputs, terms, &mut blockers)?;
    let RoundingTerms { mode, at: _ } = terms.rounding;
    let rounded = Money::rounded(capped.for_rounding()?, inputs.account.currency, mode)?;
    let mut assessment = Assessment {
        zone,
        period,
        exact,
        service_days,
        set_off,
        capped,
        capped_days,
        rounded,
        outcome: Outcome::NothingDue { why: NothingWhy::NothingToCredit },
        rights: rights(terms, &strands)?,
        strands,
        blockers,
    };
    assessment.outcome = outcome(&assessment, inputs, terms)?;
    Ok(assessment)
}

/// Leaves the remedy that pays most; of several alike, the first of the terms.
fn keep_best(strands: &mut [Strand]) -> Result<(), AssessError> {
    let mut by_remedy: Vec<(usize, Ratio, u64)> = Vec::new();
    for strand in strands.iter().filter(|strand| strand.applies) {
        let (days, worth) = (u64::from(strand.service_days), strand.exact.plus(strand.days_worth)?);
        match by_remedy.iter_mut().find(|(remedy, ..)| *remedy == strand.remedy) {
            Some((_, money, sum)) => (*money, *sum) = (money.plus(worth)?, *sum + days),
            None => by_remedy.push((strand.remedy, worth, days)),
        }
    }
    let mut best: Option<(usize, Ratio, u64)> = None;
    for one in by_remedy {
        let is_better = match &best {
            None => true,
            Some((_, money, days)) => match one.1.compared(*money)? {
                Ordering::Greater => true,
                Ordering::Equal => one.2 > *days,
                Ordering::Less => false,
            },
        };
        if is_better {
            best = Some(one);
        }
    }
    for strand in strands.iter_mut() {
        strand.is_paid = strand.applies && best.as_ref().is_some_and(|(remedy, ..)| *remedy == strand.remedy);
    }
    Ok(())
}

/// What was given before on roads that the terms set off, at most what is due.
fn set_off(due: Ratio, inputs: &Inputs, terms: &Terms) -> Result<Ratio, AssessError> {
    let mut given = Ratio::ZERO;
    for one in inputs.already_given.iter().filter(|one| terms.set_off.contains(&one.kind)) {
        Money::zero(inputs.account.currency).plus(one.amount)?;
        given = given.plus(Ratio::try_from(one.amount.decimal())?)?;
    }
    Ok(given.smaller(due)?)
}

fn capped_days(days: u32, terms: &Terms) -> u32 {
    terms.caps.iter().fold(days, |days, cap| match cap {
        Cap::ServiceDaysPerPeriod { days: most } => days.min(*most),
        Cap::PercentOfPeriodFee { .. } | Cap::AmountPerPeriod { .. } | Cap::AmountPerTwelveMonths { .. } => days,
    })
}

/// The days of the period: the first, and the one after the last.
fn days(inputs: &Inputs) -> (NaiveDate, NaiveDate) {
    (inputs.period.first_day(), inputs.period.day_after())
}

/// With or without tax, as the first remedy with a charged base has it.
fn tax(terms: &Terms) -> Tax {
    let stated = terms.remedies.iter().find_map(|remedy| match &remedy.base {
        Base::ChargedFee { tax, .. } => Some(*tax),
        Base::None | Base::PriceList { .. } => None,
    });
    stated.unwrap_or(Tax::Included)
}

fn capped_money(due: Ratio, inputs: &Inputs, terms: &Terms, blockers: &mut Vec<Blocker>) -> Result<Ratio, AssessError> {
    let mut capped = due;
    for cap in &terms.caps {
        let most = match cap {
            Cap::PercentOfPeriodFee { percent } => {
                // Where nothing is due there may be nothing charged, and nothing to say about it.
                if !due.is_positive() {
                    continue;
                }
                let charged = Charged::of(&inputs.charges, days(inputs), tax(terms), inputs.account.currency)?;
                charged.whole()?.times(percent.ratio())?
            }
            Cap::AmountPerPeriod { amount } => amount.ratio(),
            Cap::AmountPerTwelveMonths { amount } => {
                if !due.is_positive() {
                    continue;
                }
                let Some(history) = &inputs.history else {
                    hold_back(blockers, Blocker::HistoryMissing);
                    continue;
                };
                Money::zero(inputs.account.currency).plus(history.paid_before)?;
                amount.ratio().minus(Ratio::try_from(history.paid_before.decimal())?)?.larger(Ratio::ZERO)?
            }
            Cap::ServiceDaysPerPeriod { .. } => continue,
        };
        capped = capped.smaller(most)?;
    }
    Ok(capped)
}

fn outcome(sum: &Assessment, inputs: &Inputs, terms: &Terms) -> Result<Outcome, AssessError> {
    let nothing = |why| Ok(Outcome::NothingDue { why });
    let is_due = sum.rounded.is_positive() || sum.capped_days > 0;
    if is_due && is_late(inputs, terms, sum) {
        return nothing(NothingWhy::AskedTooLate);
    }
    match terms.payout {
        Payout::ServiceDaysAtEndOfTerm if sum.capped_days > 0 => {
            let later = |ends: NaiveDate| ends.checked_add_days(Days::new(sum.capped_days.into()));
            return Ok(Outcome::ServiceDays { days: sum.capped_days, term_ends: inputs.term_ends.and_then(later) });
        }
        Payout::ServiceDaysAtEndOfTerm | Payout::CreditOnBill | Payout::Cash | Payout::ServiceDaysAsCredit => {}
    }
    if sum.rounded.is_positive() {
        let amount = floored(sum.rounded, inputs, terms)?;
        return if amount.is_positive() { Ok(Outcome::Credit { amount }) } else { nothing(NothingWhy::BelowFloor) };
    }
    let paid = || sum.strands.iter().filter(|strand| strand.applies);
    let judges_mailboxes = sum.strands.iter().any(|strand| strand.account.is_none());
    nothing(if sum.set_off.is_positive() {
        NothingWhy::SetOff
    } else if judges_mailboxes && sum.strands.iter().all(|strand| strand.total.mailboxes == 0) {
        NothingWhy::NoMailboxes
    } else if paid().any(|strand| strand.total.missed > 0 || !strand.parts.is_empty() || misses_promise(strand)) {
        NothingWhy::NothingToCredit
    } else if sum.strands.iter().all(|strand| strand.lines.is_empty()) && inputs.samples.is_empty() {
        NothingWhy::NoOutage
    } else if sum.strands.iter().all(|strand| strand.total.affected == 0) && inputs.samples.is_empty() {
        NothingWhy::NothingCounted
    } else {
        NothingWhy::PromiseKept
    })
}

/// Whether less was kept than was promised, whatever is paid for it: the first step may be further down.
fn misses_promise(strand: &Strand) -> bool {
    let promised = strand.total.promised.map(|promised| promised.ratio());
    promised.is_some_and(|promised| strand.total.uptime.compared(promised) == Ok(Ordering::Less))
}

fn floored(rounded: Money, inputs: &Inputs, terms: &Terms) -> Result<Money, AssessError> {
    let mut amount = rounded;
    for floor in &terms.floors {
        let (Floor::PaidOnlyAbove { amount: at } | Floor::PaidOnlyFrom { amount: at } | Floor::RaisedTo { amount: at }) =
            floor;
        let order = Ratio::try_from(amount.decimal())?.compared(at.ratio())?;
        match (floor, order) {
            (Floor::PaidOnlyAbove { .. }, Ordering::Less | Ordering::Equal)
            | (Floor::PaidOnlyFrom { .. }, Ordering::Less) => amount = Money::zero(inputs.account.currency),
            (Floor::RaisedTo { .. }, Ordering::Less) if amount.is_positive() => {
                amount = Money::rounded(at.decimal(), inputs.account.currency, terms.rounding.mode)?;
            }
            (Floor::PaidOnlyAbove { .. }, Ordering::Greater)
            | (Floor::PaidOnlyFrom { .. }, Ordering::Equal | Ordering::Greater)
            | (Floor::RaisedTo { .. }, _) => {}
        }
    }
    Ok(amount)
}

/// Whether the customer asked after the last instant at which the terms let him.
fn is_late(inputs: &Inputs, terms: &Terms, sum: &Assessment) -> bool {
    let Some(asked) = inputs.requested_at else { return false };
    deadline(inputs, terms, sum).is_some_and(|deadline| asked >= deadline)
}

/// The first instant at which it is too late to ask; none where there is none.
pub(super) fn deadline(inputs: &Inputs, terms: &Terms, sum: &Assessment) -> Option<Instant> {
    let after = inputs.period.day_after();
    let first_late = match terms.payment {
        Payment::Automatic | Payment::OnRequest { within: RequestWithin::AnyTime } => return None,
        Payment::OnRequest { within: RequestWithin::HoursAfterOutage(hours) } => {
            let over = sum.strands.iter().filter_map(|strand| strand.over_at).max()?;
            return Some(over.plus(i64::from(hours) * HOUR));
        }
        Payment::OnRequest { within: RequestWithin::Days(days) } => {
            after.checked_add_days(Days::new(u64::from(days) + 1))?
        }
        Payment::OnRequest { within: RequestWithin::Months(months) } => {
            let last = after.pred_opt()?;
            let first = chrono::Datelike::with_day(&last, 1)?;
            first.checked_add_months(chrono::Months::new(months.checked_add(1)?))?
        }
    };
    sum.zone.start_of(first_late)
}

fn rights(terms: &Terms, strands: &[Strand]) -> Result<Vec<String>, AssessError> {
    let mut rights = Vec::new();
    for right in &terms.rights {
        let mut holds = false;
        for strand in strands {
            holds |= match right.condition {
                RightIf::UptimeBelow(percent) => strand.total.uptime.compared(percent.ratio())? == Ordering::Less,
                RightIf::DownAtLeastHours(hours) => {
                    let least = Ratio::whole(i64::from(hours) * HOUR);
                    strand.total.weighted_micros.compared(least)? != Ordering::Less
                }
                RightIf::OutageAtLeastHours(hours) => strand.longest_micros >= i64::from(hours) * HOUR,
            };
        }
        if holds && !rights.contains(&right.name) {
            rights.push(right.name.clone());
        }
    }
    Ok(rights)
}
