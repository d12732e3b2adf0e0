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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Money;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn charge(number: &str, from: &str, to: &str, quantity: u32, gross: &str) -> Charge {
        let currency: Currency = "NZD".parse().unwrap();
        let gross = Money::parse(gross, currency).unwrap();
        Charge {
            number: number.to_owned(),
            invoiced_on: day(from),
            service_from: day(from),
            service_to: day(to),
            quantity,
            net: gross,
            tax: Money::zero(currency),
            gross,
            tax_code: "NONE".to_owned(),
            tax_rate_bp: 0,
        }
    }

    fn october(charges: &[Charge]) -> (Option<Fees>, Vec<Blocker>) {
        let needed = (day("2026-10-01"), day("2026-11-01"));
        fees(charges, "2026-10".parse().unwrap(), needed, "NZD".parse().unwrap()).unwrap()
    }

    #[test]
    fn a_year_in_advance_gives_the_month_its_days() {
        let (fees, blockers) = october(&[charge("1", "2026-03-01", "2027-03-01", 2, "730.00")]);
        let fees = fees.unwrap();
        assert_eq!((fees.per_mailbox.to_string(), fees.whole.to_string()), ("31".to_owned(), "62".to_owned()));
        assert_eq!(blockers, []);
    }

    #[test]
    fn days_without_a_charge_are_named_as_one_stretch() {
        let parts = [
            charge("1", "2026-10-01", "2026-10-11", 2, "20.00"),
            charge("2", "2026-10-21", "2026-11-01", 2, "22.00"),
            charge("3", "2026-09-01", "2026-10-01", 2, "60.00"),
        ];
        let (fees, blockers) = october(&parts);
        assert_eq!(blockers, [Blocker::MissingCharge { from: day("2026-10-11"), to: day("2026-10-21") }]);
        let fees = fees.unwrap();
        assert_eq!(
            (fees.per_mailbox.to_string(), fees.charges),
            ("21".to_owned(), vec!["1".to_owned(), "2".to_owned()])
        );
        let (none, blockers) = october(&[]);
        assert_eq!(none, None);
        assert_eq!(blockers, [Blocker::MissingCharge { from: day("2026-10-01"), to: day("2026-11-01") }]);
    }

    #[test]
    fn two_charges_for_the_same_days_are_named_and_never_guessed_about() {
        let both =
            [charge("1", "2026-10-01", "2026-11-01", 8, "100.00"), charge("2", "2026-10-01", "2026-11-01", 4, "20.00")];
        let (fees, blockers) = october(&both);
        assert_eq!(blockers, [Blocker::ChargesOverlap { numbers: vec!["1".to_owned(), "2".to_owned()] }]);
        assert_eq!(fees.unwrap().per_mailbox.to_string(), "10");
    }

    #[test]
    fn a_charge_that_contradicts_itself_or_the_account_is_an_error() {
        let month = "2026-10".parse().unwrap();
        let needed = (day("2026-10-01"), day("2026-11-01"));
        let error =
            |charges: &[Charge], currency: &str| fees(charges, month, needed, currency.parse().unwrap()).unwrap_err();
        let one = charge("1", "2026-10-01", "2026-11-01", 1, "1.00");
        let other = Charge { quantity: 2, ..one.clone() };
        assert!(matches!(error(&[one.clone(), other], "NZD"), AssessError::ChargeTwice { .. }));
        assert!(matches!(error(std::slice::from_ref(&one), "AUD"), AssessError::OtherCurrency { .. }));
        let none = Charge { quantity: 0, ..one.clone() };
        assert!(matches!(error(&[none], "NZD"), AssessError::ChargeForNothing { .. }));
        let never = Charge { service_to: one.service_from, ..one };
        assert!(matches!(error(&[never], "NZD"), AssessError::ChargeForNothing { .. }));
    }
}
