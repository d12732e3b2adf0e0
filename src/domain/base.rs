//! The base of a sum: what was really charged for the days of a period.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use super::assess::{AssessError, Blocker, Fees};
use super::charge::Charge;
use super::money::Currency;
use super::period::Month;
use super::ratio::Ratio;

/// The fee of the month. A charge for more days than the month gives its share by days. Where days of `needed` have no
/// charge, or more than one, the blockers say so; the fee is then made of what there is.
pub(super) fn fees(
    charges: &[Charge],
    month: Month,
    needed: (NaiveDate, NaiveDate),
    currency: Currency,
) -> Result<(Option<Fees>, Vec<Blocker>), AssessError> {
    let charges = distinct(charges, month, currency)?;
    let mut days: Vec<NaiveDate> = charges
        .iter()
        .flat_map(|charge| [charge.service_from, charge.service_to])
        .chain([needed.0, needed.1])
        .collect();
    days.extend([month.first_day(), month.next().first_day()]);
    days.retain(|day| (month.first_day()..=month.next().first_day()).contains(day));
    days.sort_unstable();
    days.dedup();
    let mut blockers: Vec<Blocker> = Vec::new();
    let (mut per_mailbox, mut whole) = (Ratio::ZERO, Ratio::ZERO);
    for (from, to) in days.iter().zip(days.iter().skip(1)) {
        let on: Vec<&&Charge> =
            charges.iter().filter(|charge| charge.service_from <= *from && *to <= charge.service_to).collect();
        let (mut gross, mut quantity) = (Ratio::ZERO, 0i128);
        for charge in &on {
            gross = gross.plus(share(charge, *from, *to)?)?;
            quantity += i128::from(charge.quantity);
        }
        if on.is_empty() {
            if needed.0 <= *from && *to <= needed.1 {
                missing(&mut blockers, *from, *to);
            }
            continue;
        }
        if on.len() > 1 {
            let overlap = Blocker::ChargesOverlap { numbers: on.iter().map(|charge| charge.number.clone()).collect() };
            if !blockers.contains(&overlap) {
                blockers.push(overlap);
            }
        }
        whole = whole.plus(gross)?;
        per_mailbox = per_mailbox.plus(gross.over(Ratio::whole(quantity))?)?;
    }
    let numbers: Vec<String> = charges.iter().map(|charge| charge.number.clone()).collect();
    Ok(((!numbers.is_empty()).then_some(Fees { per_mailbox, whole, charges: numbers }), blockers))
}

/// The charges that touch the month, each once, by their first day.
fn distinct(charges: &[Charge], month: Month, currency: Currency) -> Result<Vec<&Charge>, AssessError> {
    let mut distinct: BTreeMap<(NaiveDate, &str), &Charge> = BTreeMap::new();
    let mut seen: BTreeMap<&str, &Charge> = BTreeMap::new();
    for charge in charges {
        if *seen.entry(charge.number.as_str()).or_insert(charge) != charge {
            return Err(AssessError::ChargeTwice { number: charge.number.clone() });
        }
        if charge.service_from >= charge.service_to || charge.quantity == 0 {
            return Err(AssessError::ChargeForNothing { number: charge.number.clone() });
        }
        if charge.gross.currency() != currency {
            return Err(AssessError::OtherCurrency {
                number: charge.number.clone(),
                charged: charge.gross.currency(),
                account: currency,
            });
        }
        if charge.service_from < month.next().first_day() && month.first_day() < charge.service_to {
            distinct.insert((charge.service_from, charge.number.as_str()), charge);
        }
    }
    Ok(distinct.into_values().collect())
}

/// What of a charge is for the days from `from` up to but not including `to`, in major units.
fn share(charge: &Charge, from: NaiveDate, to: NaiveDate) -> Result<Ratio, AssessError> {
    let days = |from: NaiveDate, to: NaiveDate| Ratio::whole((to - from).num_days());
    let units = Ratio::whole(10i64.pow(charge.gross.currency().decimals()));
    let part = days(from, to).over(days(charge.service_from, charge.service_to))?;
    Ok(Ratio::whole(charge.gross.minor()).over(units)?.times(part)?)
}

/// Adds the days without a charge, joined to those just before them.
fn missing(blockers: &mut Vec<Blocker>, from: NaiveDate, to: NaiveDate) {
    if let Some(Blocker::MissingCharge { to: last, .. }) = blockers.last_mut()
        && *last == from
    {
        *last = to;
    } else {
        blockers.push(Blocker::MissingCharge { from, to });
    }
}
