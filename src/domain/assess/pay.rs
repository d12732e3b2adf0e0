//! What measured things are due: schedules find the row, pay expressions say what it is worth, limits hold it down.

use std::cmp::Ordering;

use chrono::NaiveDate;

use super::AssessError;
use super::assessment::{Due, Item, Measured, Verdict};
use super::laid::Severity;
use super::measure::Thing;
use crate::domain::money::{Currency, Money, Rounding};
use crate::domain::percent::Percent;
use crate::domain::ratio::{Overflow, Ratio};
use crate::domain::remedy::{
    AtMost, BandBoundary, Boundary, FirstPayment, Grace, Limit, Multiplier, Pay, Remedy, Schedule, UnitCount,
};
use crate::domain::time::SECOND;

impl Due {
    pub const NOTHING: Due = Due { share: Ratio::ZERO, flat: Ratio::ZERO, service_days: 0, units: Ratio::ZERO };

    /// Whether it is nothing at all, whatever the fee.
    pub fn is_nothing(&self) -> bool {
        self.share.is_zero() && self.flat.is_zero() && self.service_days == 0
    }

    /// What it is worth with this fee, in major units; service days apart.
    pub fn value(&self, fee: Ratio) -> Result<Ratio, Overflow> {
        self.share.times(fee)?.plus(self.flat)
    }

    fn plus(self, other: Due) -> Result<Due, Overflow> {
        Ok(Due {
            share: self.share.plus(other.share)?,
            flat: self.flat.plus(other.flat)?,
            service_days: self.service_days.checked_add(other.service_days).ok_or(Overflow)?,
            units: self.units.plus(other.units)?,
        })
    }

    /// Service days are whole: where a part of a unit is counted, terms may not pay days for it.
    fn times(self, count: Ratio) -> Result<Due, Overflow> {
        let days = Ratio::whole(self.service_days).times(count)?.floor();
        Ok(Due {
            share: self.share.times(count)?,
            flat: self.flat.times(count)?,
            service_days: u32::try_from(days).map_err(|_| Overflow)?,
            units: self.units.times(count)?,
        })
    }
}

/// What everything is judged with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Means<'a> {
    /// The base of a share, in major units.
    pub fee: Ratio,
    /// The part of the base that a service day is worth; zero where it is not paid as money.
    pub day: Ratio,
    pub circumstances: &'a [String],
    /// Where each item is rounded.
    pub item_rounding: Option<(Rounding, Currency)>,
}

/// Judges all things of one mailbox, or of the account; and says whether the result depends on the base.
pub(super) fn verdict(remedy: &Remedy, things: &[Thing], means: Means<'_>) -> Result<(Verdict, bool), AssessError> {
    let mut found = Found { items: Vec::new(), outages: Vec::new(), uses_base: false };
    let mut paid: Paid = Paid { outage: None, payments: 0 };
    for thing in things {
        if paid.outage != thing.outage {
            paid = Paid { outage: thing.outage, payments: 0 };
        }
        let (row, due) =
            if thing.counts { judged(remedy, thing, &mut paid, means, &mut found)? } else { (None, Due::NOTHING) };
        found.remember(thing, row, rounded(due, means)?)?;
    }
    let (mut due, mut limited_to) = (Due::NOTHING, None);
    for (_, one) in &found.outages {
        due = due.plus(limited(*one, &remedy.limits, true, means.fee, &mut limited_to)?)?;
    }
    due = limited(due, &remedy.limits, false, means.fee, &mut limited_to)?;
    let uses_base = found.uses_base;
    Ok((Verdict { items: found.items, due, limited_to }, uses_base))
}

/// What a remedy's result is multiplied by.
pub(super) fn multiplier(multiplier: Option<&Multiplier>, circumstances: &[String]) -> Ratio {
    multiplier
        .filter(|one| one.when.as_ref().is_none_or(|when| when.holds(circumstances)))
        .map_or(Ratio::ONE, |one| one.by.ratio())
}

struct Found {
    items: Vec<Item>,
    /// What each outage is due; things that belong to none are one.
    outages: Vec<(Option<usize>, Due)>,
    uses_base: bool,
}

impl Found {
    fn remember(&mut self, thing: &Thing, row: Option<usize>, due: Due) -> Result<(), Overflow> {
        match self.outages.last_mut().filter(|(outage, _)| *outage == thing.outage) {
            Some((_, sum)) => *sum = sum.plus(due)?,
            None => self.outages.push((thing.outage, due)),
        }
        if let Some(last) = self.items.last_mut()
            && let Some(longer) = joined(last, thing, row, due)?
        {
            *last = longer;
            return Ok(());
        }
        self.items.push(Item { measured: thing.measured.clone(), row, due });
        Ok(())
    }
}

/// Two days that follow each other among those that count, and are due the same, as one item.
fn joined(last: &Item, thing: &Thing, row: Option<usize>, due: Due) -> Result<Option<Item>, Overflow> {
    let Measured::Days { first, last: until, number, count, outage, grace_ends } = last.measured else {
        return Ok(None);
    };
    let Some(day) = thing.day else { return Ok(None) };
    let follows = number + count == day.number && until < day.date && outage == thing.outage && row == last.row;
    if !follows || last.due != due.times(Ratio::whole(count))? {
        return Ok(None);
    }
    let measured = Measured::Days { first, last: day.date, number, count: count + 1, outage, grace_ends };
    Ok(Some(Item { measured, row, due: last.due.plus(due)? }))
}

/// Payments of one outage so far.
struct Paid {
    outage: Option<usize>,
    payments: u32,
}

/// The row that one thing falls into, and what it is due.
fn judged(
    remedy: &Remedy,
    thing: &Thing,
    paid: &mut Paid,
    means: Means<'_>,
    found: &mut Found,
) -> Result<(Option<usize>, Due), AssessError> {
    let mut of = |pay: &Pay| due(pay, thing, means, &mut found.uses_base);
    let (row, mut due) = match &remedy.schedule {
        Schedule::Always { pays } => (Some(0), of(pays)?),
        Schedule::TiersByUptime { boundary, tiers } => {
            let thresholds = tiers.iter().map(|tier| tier.uptime_below);
            match lowest_missed(thing.uptime.unwrap_or(Ratio::ONE), *boundary, thresholds)? {
                Some(row) => (Some(row), tiers.get(row).map_or(Ok(Due::NOTHING), |tier| of(&tier.pays))?),
                None => (None, Due::NOTHING),
            }
        }
        Schedule::BandsByLength { boundary, bands } => {
            let down = thing.down_micros.unwrap_or(Ratio::ZERO);
            let mut row = None;
            for (index, band) in bands.iter().enumerate() {
                let Some(seconds) = band.seconds else {
                    row = row.or(Some(index));
                    continue;
                };
                let fits = match (down.compared(Ratio::whole(i64::from(seconds) * SECOND))?, boundary) {
                    (Ordering::Less, _) | (Ordering::Equal, BandBoundary::UpToAndWith) => true,
                    (Ordering::Equal, BandBoundary::UpToWithout) | (Ordering::Greater, _) => false,
                };
                if fits {
                    row = row.or(Some(index));
                }
            }
            (row, row.and_then(|row| bands.get(row)).map_or(Ok(Due::NOTHING), |band| of(&band.pays))?)
        }
        Schedule::Steps { uptime_below, boundary, first, every_percent, each_further } => {
            let uptime = thing.uptime.unwrap_or(Ratio::ONE);
            if lowest_missed(uptime, *boundary, [*uptime_below].into_iter())?.is_none() {
                (None, Due::NOTHING)
            } else {
                let further = uptime_below.ratio().minus(uptime)?.over(every_percent.ratio())?.floor();
                let further = of(each_further)?.times(Ratio::whole(further))?;
                (Some(0), of(first)?.plus(further)?)
            }
        }
        Schedule::ByDay { grace, rows, at_most } => {
            let number = thing.day.map_or(0, |day| day.number);
            let row =
                rows.iter().enumerate().filter(|(_, row)| row.from_day <= number).max_by_key(|(_, row)| row.from_day);
            match row {
                Some((index, row))
                    if is_payable(thing, *grace, at_most.as_ref(), paid.payments, means.circumstances) =>
                {
                    (Some(index), of(&row.pays)?)
                }
                Some(_) | None => (None, Due::NOTHING),
            }
        }
    };
    if !due.is_nothing() {
        paid.payments += 1;
        if due.units.is_zero() {
            due.units = Ratio::ONE;
        }
    }
    Ok((row, due))
}

fn is_payable(thing: &Thing, grace: Grace, at_most: Option<&AtMost>, payments: u32, circumstances: &[String]) -> bool {
    let Some(day) = thing.day else { return true };
    let in_grace = grace.days > 0
        && day.grace_ends.is_none_or(|ends| match grace.first_payment {
            FirstPayment::OnTheLastDayOfGrace => day.date < ends,
            FirstPayment::OnTheDayAfterGrace => day.date <= ends,
        });
    let is_spent = at_most.is_some_and(|most| {
        payments >= most.payments && most.when.as_ref().is_none_or(|when| when.holds(circumstances))
    });
    !in_grace && !is_spent
}

/// Of the thresholds that were missed, the lowest, as an index. Compared exactly.
pub(super) fn lowest_missed(
    uptime: Ratio,
    boundary: Boundary,
    thresholds: impl Iterator<Item = Percent>,
) -> Result<Option<usize>, Overflow> {
    let mut missed: Option<(usize, Percent)> = None;
    for (index, threshold) in thresholds.enumerate() {
        let is_missed = match uptime.compared(threshold.ratio())? {
            Ordering::Less => true,
            Ordering::Equal => boundary == Boundary::AtOrBelow,
            Ordering::Greater => false,
        };
        if is_missed && missed.is_none_or(|(_, lowest)| threshold.decimal() < lowest.decimal()) {
            missed = Some((index, threshold));
        }
    }
    Ok(missed.map(|(index, _)| index))
}

/// What a pay expression is worth for one thing.
fn due(pay: &Pay, thing: &Thing, means: Means<'_>, uses_base: &mut bool) -> Result<Due, AssessError> {
    let mut share = |share: Ratio| {
        *uses_base |= share.is_positive();
        Due { share, ..Due::NOTHING }
    };
    Ok(match pay {
        Pay::Nothing => Due::NOTHING,
        Pay::Percent(percent) => share(percent.ratio()),
        Pay::Fraction(fraction) => share(*fraction),
        Pay::Amount(amount) => Due { flat: amount.ratio(), ..Due::NOTHING },
        Pay::ServiceDays(days) => Due { service_days: *days, ..Due::NOTHING },
        Pay::ProRata { multiplier } => share(lost(thing)?.times(multiplier.ratio())?),
        Pay::ForEach { seconds, count, after_seconds, after_percent, pays } => {
            let allowed = after_percent.map_or(Ratio::ZERO, Percent::ratio);
            let allowed = allowed.times(Ratio::whole(thing.promised_micros))?;
            let after = Ratio::whole(i64::from(*after_seconds) * SECOND).plus(allowed)?;
            let down = thing.down_micros.unwrap_or(Ratio::ZERO).minus(after)?.larger(Ratio::ZERO)?;
            let units = down.over(Ratio::whole(i64::from((*seconds).max(1)) * SECOND))?;
            let units = match count {
                UnitCount::Started => Ratio::whole(units.ceiling()),
                UnitCount::Full => Ratio::whole(units.floor()),
                UnitCount::Exact => units,
            };
            Due { units, ..due(pays, thing, means, uses_base)?.times(units)? }
        }
        Pay::GreaterOf(several) => {
            let mut best: Option<(Ratio, Due)> = None;
            for one in several {
                let one = due(one, thing, means, uses_base)?;
                let days = means.fee.times(means.day)?.times(Ratio::whole(one.service_days))?;
                let worth = one.value(means.fee)?.plus(days)?;
                let is_better = match &best {
                    None => true,
                    Some((most, held)) => match worth.compared(*most)? {
                        Ordering::Greater => true,
                        Ordering::Equal => one.service_days > held.service_days,
                        Ordering::Less => false,
                    },
                };
                if is_better {
                    best = Some((worth, one));
                }
            }
            best.map_or(Due::NOTHING, |(_, due)| due)
        }
        Pay::SumOf(several) => {
            let mut sum = Due::NOTHING;
            for one in several {
                sum = sum.plus(due(one, thing, means, uses_base)?)?;
            }
            sum
        }
        Pay::Dated(rows) => match in_force(rows.iter().map(|row| row.from), thing.on) {
            Some(row) => rows.get(row).map_or(Ok(Due::NOTHING), |row| due(&row.pays, thing, means, uses_base))?,
            None => Due::NOTHING,
        },
        Pay::Only { when, pays } if when.holds(means.circumstances) => due(pays, thing, means, uses_base)?,
        Pay::Only { .. } => Due::NOTHING,
        Pay::ByImpact { full, degraded, delayed } => {
            let pays = match thing.severity {
                Severity::Full => full,
                Severity::Degraded => degraded,
                Severity::Delayed => delayed,
            };
            due(pays, thing, means, uses_base)?
        }
    })
}

/// The part of the time promised that was lost.
fn lost(thing: &Thing) -> Result<Ratio, Overflow> {
    match (thing.uptime, thing.down_micros) {
        (Some(uptime), _) => Ratio::ONE.minus(uptime),
        (None, Some(down)) if thing.promised_micros > 0 => down.over(Ratio::whole(thing.promised_micros)),
        (None, _) => Ok(Ratio::ZERO),
    }
}

/// The row with the latest date that is not after `on`.
fn in_force(rows: impl Iterator<Item = NaiveDate>, on: NaiveDate) -> Option<usize> {
    rows.enumerate().filter(|(_, from)| *from <= on).max_by_key(|(_, from)| *from).map(|(row, _)| row)
}

fn rounded(due: Due, means: Means<'_>) -> Result<Due, AssessError> {
    let Some((mode, currency)) = means.item_rounding else { return Ok(due) };
    let amount = Money::rounded(due.value(means.fee)?.for_rounding()?, currency, mode)?;
    Ok(Due { share: Ratio::ZERO, flat: Ratio::try_from(amount.decimal())?, ..due })
}

/// Holds what is due down to the limits for one outage, or for the whole period.
fn limited(
    due: Due,
    limits: &[Limit],
    is_outage: bool,
    fee: Ratio,
    limited_to: &mut Option<Ratio>,
) -> Result<Due, AssessError> {
    let mut due = due;
    for limit in limits {
        let most = match (limit, is_outage) {
            (Limit::PercentOfBase { percent }, false) | (Limit::PercentOfBasePerOutage { percent }, true) => {
                if due.flat.is_zero() {
                    if due.share.compared(percent.ratio())? == Ordering::Greater {
                        due.share = percent.ratio();
                        *limited_to = Some(due.value(fee)?);
                    }
                    continue;
                }
                percent.ratio().times(fee)?
            }
            (Limit::Amount { amount }, false) | (Limit::AmountPerOutage { amount }, true) => amount.ratio(),
            (Limit::PercentOfBase { .. } | Limit::Amount { .. }, true)
            | (Limit::PercentOfBasePerOutage { .. } | Limit::AmountPerOutage { .. }, false) => continue,
        };
        if due.value(fee)?.compared(most)? == Ordering::Greater {
            due = Due { share: Ratio::ZERO, flat: most, ..due };
            *limited_to = Some(most);
        }
    }
    Ok(due)
}
