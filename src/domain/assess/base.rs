//! The base of a sum: what was really charged for the days of a period.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;

use super::AssessError;
use super::assessment::{Blocker, Fees};
use crate::domain::charge::Charge;
use crate::domain::money::{Currency, Money};
use crate::domain::ratio::Ratio;
use crate::domain::remedy::{ChargeChoice, Tax};

/// The days for which a fee is needed (from the first up to but not including the second), and whose.
#[derive(Clone, Debug)]
pub(super) struct Needed<'a> {
    pub days: (NaiveDate, NaiveDate),
    /// Mailboxes that need their fee.
    pub mailboxes: BTreeSet<&'a str>,
}

/// Charges, and the days of the period that a fee is for.
#[derive(Clone, Debug)]
pub(super) struct Charged<'a> {
    charges: Vec<&'a Charge>,
    period: (NaiveDate, NaiveDate),
    tax: Tax,
}

impl<'a> Charged<'a> {
    /// The charges that touch the days of the period, each once, by their first day.
    pub fn of(
        charges: &'a [Charge],
        period: (NaiveDate, NaiveDate),
        tax: Tax,
        currency: Currency,
    ) -> Result<Self, AssessError> {
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
            if charge.service_from < period.1 && period.0 < charge.service_to {
                distinct.insert((charge.service_from, charge.number.as_str()), charge);
            }
        }
        Ok(Charged { charges: distinct.into_values().collect(), period, tax })
    }

    /// The fees of the period by the terms' choice of charges. A charge for more days than the period gives its share by days.
    /// Where days that are needed have no charge, or more than one for the same thing, the blockers say so; the fee is then
    /// made of what there is.
    pub fn fees(
        &self,
        choice: &ChargeChoice,
        needed: &Needed<'_>,
    ) -> Result<(Option<Fees>, Vec<Blocker>), AssessError> {
        let listed = |items: &[String], charge: &Charge| charge.item.as_ref().is_some_and(|item| items.contains(item));
        match choice {
            ChargeChoice::All => self.of_charges(&self.charges, needed),
            ChargeChoice::Only(items) => {
                let chosen: Vec<&Charge> =
                    self.charges.iter().copied().filter(|charge| listed(items, charge)).collect();
                self.of_charges(&chosen, needed)
            }
            ChargeChoice::GreaterOf(items) => {
                let mut best: Option<(Option<Fees>, Vec<Blocker>)> = None;
                for item in items {
                    let chosen: Vec<&Charge> = self
                        .charges
                        .iter()
                        .copied()
                        .filter(|charge| listed(std::slice::from_ref(item), charge))
                        .collect();
                    let one = self.of_charges(&chosen, needed)?;
                    let worth = |of: &(Option<Fees>, Vec<Blocker>)| of.0.as_ref().map(|fees| fees.whole);
                    let is_more = match (best.as_ref().and_then(worth), worth(&one)) {
                        (None, _) => best.is_none() || worth(&one).is_some(),
                        (Some(_), None) => false,
                        (Some(most), Some(whole)) => whole.compared(most)? == std::cmp::Ordering::Greater,
                    };
                    if is_more {
                        best = Some(one);
                    }
                }
                Ok(best.unwrap_or_default())
            }
        }
    }

    /// Everything charged for the period, in major units.
    pub fn whole(&self) -> Result<Ratio, AssessError> {
        self.charges.iter().try_fold(Ratio::ZERO, |sum, charge| {
            let (from, to) = (charge.service_from.max(self.period.0), charge.service_to.min(self.period.1));
            Ok(sum.plus(self.share(charge, from, to)?)?)
        })
    }

    fn of_charges(
        &self,
        charges: &[&Charge],
        needed: &Needed<'_>,
    ) -> Result<(Option<Fees>, Vec<Blocker>), AssessError> {
        let owns = |charge: &&&Charge| charge.item.as_deref().is_some_and(|item| needed.mailboxes.contains(item));
        let owners: BTreeSet<&str> = charges.iter().filter(owns).filter_map(|charge| charge.item.as_deref()).collect();
        let mut blockers = Vec::new();
        let mut own = BTreeMap::new();
        for owner in &owners {
            let theirs: Vec<&Charge> =
                charges.iter().copied().filter(|charge| charge.item.as_deref() == Some(owner)).collect();
            let pool = self.pool(&theirs, Some(needed.days), &mut blockers)?;
            own.insert((*owner).to_owned(), pool.whole);
        }
        let shared: Vec<&Charge> = charges.iter().copied().filter(|charge| !owns(&charge)).collect();
        let is_shared = owners.is_empty() || needed.mailboxes.iter().any(|mailbox| !owners.contains(mailbox));
        let pool = self.pool(&shared, is_shared.then_some(needed.days), &mut blockers)?;
        let whole = own.values().try_fold(pool.whole, |sum, one| sum.plus(*one))?;
        let numbers: Vec<String> = charges.iter().map(|charge| charge.number.clone()).collect();
        let fees = Fees { per_mailbox: pool.per_mailbox, own, whole, charges: numbers };
        Ok(((!charges.is_empty()).then_some(fees), blockers))
    }

    /// The fee of charges that belong together, day by day.
    fn pool(
        &self,
        charges: &[&Charge],
        needed: Option<(NaiveDate, NaiveDate)>,
        blockers: &mut Vec<Blocker>,
    ) -> Result<Pool, AssessError> {
        let (first, after) = self.period;
        let mut days: Vec<NaiveDate> =
            charges.iter().flat_map(|charge| [charge.service_from, charge.service_to]).chain([first, after]).collect();
        days.extend(needed.into_iter().flat_map(|(from, to)| [from, to]));
        days.retain(|day| (first..=after).contains(day));
        days.sort_unstable();
        days.dedup();
        let mut pool = Pool { per_mailbox: Ratio::ZERO, whole: Ratio::ZERO };
        for (from, to) in days.iter().zip(days.iter().skip(1)) {
            let on: Vec<&&Charge> =
                charges.iter().filter(|charge| charge.service_from <= *from && *to <= charge.service_to).collect();
            let (mut amount, mut quantity) = (Ratio::ZERO, 0i128);
            for charge in &on {
                amount = amount.plus(self.share(charge, *from, *to)?)?;
                quantity += i128::from(charge.quantity);
            }
            if on.is_empty() {
                if needed.is_some_and(|needed| needed.0 <= *from && *to <= needed.1) {
                    missing(blockers, *from, *to);
                }
                continue;
            }
            let alike = |charge: &&&&Charge| on.iter().filter(|other| other.item == charge.item).count() > 1;
            let numbers: Vec<String> = on.iter().filter(alike).map(|charge| charge.number.clone()).collect();
            let overlap = Blocker::ChargesOverlap { numbers: numbers.clone() };
            if !numbers.is_empty() && !blockers.contains(&overlap) {
                blockers.push(overlap);
            }
            pool.whole = pool.whole.plus(amount)?;
            pool.per_mailbox = pool.per_mailbox.plus(amount.over(Ratio::whole(quantity))?)?;
        }
        Ok(pool)
    }

    /// What of a charge is for the days from `from` up to but not including `to`, in major units.
    fn share(&self, charge: &Charge, from: NaiveDate, to: NaiveDate) -> Result<Ratio, AssessError> {
        let days = |from: NaiveDate, to: NaiveDate| Ratio::whole((to - from).num_days());
        let part = days(from, to).over(days(charge.service_from, charge.service_to))?;
        let amount: Money = match self.tax {
            Tax::Included => charge.gross,
            Tax::Excluded => charge.net,
        };
        Ok(Ratio::try_from(amount.decimal())?.times(part)?)
    }
}

/// What charges that belong together come to.
struct Pool {
    per_mailbox: Ratio,
    whole: Ratio,
}

impl Fees {
    /// The fee of one mailbox.
    pub fn of(&self, mailbox: &str) -> Ratio {
        self.own.get(mailbox).copied().unwrap_or(self.per_mailbox)
    }
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
            item: None,
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
        let period = (day("2026-10-01"), day("2026-11-01"));
        let needed = Needed { days: period, mailboxes: BTreeSet::from(["box"]) };
        let charged = Charged::of(charges, period, Tax::Included, "NZD".parse().unwrap()).unwrap();
        charged.fees(&ChargeChoice::All, &needed).unwrap()
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
        let period = (day("2026-10-01"), day("2026-11-01"));
        let error = |charges: &[Charge], currency: &str| {
            Charged::of(charges, period, Tax::Included, currency.parse().unwrap()).unwrap_err()
        };
        let one = charge("1", "2026-10-01", "2026-11-01", 1, "1.00");
        let other = Charge { quantity: 2, ..one.clone() };
        assert!(matches!(error(&[one.clone(), other], "NZD"), AssessError::ChargeTwice { .. }));
        assert!(matches!(error(std::slice::from_ref(&one), "AUD"), AssessError::OtherCurrency { .. }));
        let none = Charge { quantity: 0, ..one.clone() };
        assert!(matches!(error(&[none], "NZD"), AssessError::ChargeForNothing { .. }));
        let never = Charge { service_to: one.service_from, ..one };
        assert!(matches!(error(&[never], "NZD"), AssessError::ChargeForNothing { .. }));
    }

    #[test]
    fn a_charge_for_a_mailbox_is_its_fee_and_the_terms_choose_among_items() {
        let of = |item: &str, charge: Charge| Charge { item: Some(item.to_owned()), ..charge };
        let charges = [
            of("port", charge("1", "2026-10-01", "2026-11-01", 1, "10.00")),
            of("usage", charge("2", "2026-10-01", "2026-11-01", 1, "14.50")),
            of("box", charge("3", "2026-10-01", "2026-11-01", 1, "7.00")),
        ];
        let period = (day("2026-10-01"), day("2026-11-01"));
        let needed = Needed { days: period, mailboxes: BTreeSet::from(["box"]) };
        let charged = Charged::of(&charges, period, Tax::Included, "NZD".parse().unwrap()).unwrap();
        let of = |choice: ChargeChoice| charged.fees(&choice, &needed).unwrap().0.unwrap();
        assert_eq!(of(ChargeChoice::All).of("box").to_string(), "7");
        let items = || vec!["port".to_owned(), "usage".to_owned()];
        assert_eq!(of(ChargeChoice::Only(items())).whole.to_string(), "24.5");
        assert_eq!(of(ChargeChoice::GreaterOf(items())).whole.to_string(), "14.5");
        assert_eq!(charged.whole().unwrap().to_string(), "31.5");
    }
}
