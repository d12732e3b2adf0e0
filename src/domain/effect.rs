//! What a change of the evidence would do to money, before anybody makes it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::money::{Currency, Money, MoneyError};
use super::period::Month;

/// How many of the largest changes are named.
const NAMED: usize = 10;

/// What would be due before and after, over the periods that were assessed and the one that goes on. What is held back is
/// counted as if it were not; what was credited before is not taken off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct MoneyEffect {
    /// Accounts that the change concerns.
    #[schema(example = 4200)]
    pub accounts: i64,
    /// Of these, how many were looked at: the rest may change too.
    #[schema(example = 1000)]
    pub looked_at: i64,
    #[schema(value_type = Vec<String>, example = json!(["2026-10", "2026-11"]))]
    pub periods: Vec<Month>,
    /// One for each currency.
    pub totals: Vec<BeforeAfter>,
    /// Accounts to which something else would be due in some period.
    #[schema(example = 17)]
    pub changed: i64,
    /// The ten largest changes.
    pub largest: Vec<AccountChange>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct BeforeAfter {
    #[schema(value_type = Object, example = json!({ "amount": "1.25", "currency": "NZD" }))]
    pub before: Money,
    #[schema(value_type = Object, example = json!({ "amount": "1.25", "currency": "NZD" }))]
    pub after: Money,
}

impl BeforeAfter {
    fn none(currency: Currency) -> Self {
        BeforeAfter { before: Money::zero(currency), after: Money::zero(currency) }
    }

    fn change(&self) -> u64 {
        self.before.minor().abs_diff(self.after.minor())
    }
}

/// What becomes of one account in one period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct AccountChange {
    #[schema(example = "20418876")]
    pub account: String,
    #[schema(value_type = String, example = "2026-10")]
    pub period: Month,
    #[serde(flatten)]
    pub due: BeforeAfter,
}

/// What is due to accounts in one period, by reference; several subscriptions add up.
pub type Due = BTreeMap<String, Money>;

/// Adds `amount` to what is due to `account`.
pub fn add(due: &mut Due, account: &str, amount: Money) -> Result<(), MoneyError> {
    let sum = match due.get(account) {
        Some(known) => known.plus(amount)?,
        None => amount,
    };
    due.insert(account.to_owned(), sum);
    Ok(())
}

impl MoneyEffect {
    /// The effect on `accounts` accounts, of which `looked_at` were assessed before and after in each period.
    pub fn of(accounts: i64, looked_at: i64, periods: Vec<(Month, Due, Due)>) -> Result<Self, MoneyError> {
        let mut totals: BTreeMap<&str, BeforeAfter> = BTreeMap::new();
        let mut largest: Vec<AccountChange> = Vec::new();
        let mut months = Vec::new();
        for (period, before, after) in periods {
            months.push(period);
            let mut both: BTreeMap<String, BeforeAfter> = BTreeMap::new();
            for (account, amount) in before {
                let due = both.entry(account).or_insert(BeforeAfter::none(amount.currency()));
                due.before = amount;
            }
            for (account, amount) in after {
                let due = both.entry(account).or_insert(BeforeAfter::none(amount.currency()));
                due.after = amount;
            }
            for (account, due) in both {
                let currency = due.before.currency();
                let total = totals.entry(currency.code()).or_insert(BeforeAfter::none(currency));
                total.before = total.before.plus(due.before)?;
                total.after = total.after.plus(due.after)?;
                if due.change() > 0 {
                    largest.push(AccountChange { account, period, due });
                }
            }
        }
        let mut changed: Vec<&str> = largest.iter().map(|change| change.account.as_str()).collect();
        changed.sort_unstable();
        changed.dedup();
        let changed = i64::try_from(changed.len()).unwrap_or(i64::MAX);
        largest.sort_by(|a, b| b.due.change().cmp(&a.due.change()).then_with(|| a.account.cmp(&b.account)));
        largest.truncate(NAMED);
        Ok(MoneyEffect {
            accounts,
            looked_at,
            periods: months,
            totals: totals.into_values().collect(),
            changed,
            largest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nzd(minor: i64) -> Money {
        Money::from_minor(minor, "NZD".parse().unwrap()).unwrap()
    }

    fn due(rows: &[(&str, i64)]) -> Due {
        let mut due = Due::new();
        rows.iter().for_each(|(account, minor)| add(&mut due, account, nzd(*minor)).unwrap());
        due
    }

    #[test]
    fn what_changes_is_summed_and_the_largest_changes_come_first() {
        let october: Month = "2026-10".parse().unwrap();
        let november: Month = "2026-11".parse().unwrap();
        let effect = MoneyEffect::of(
            40,
            3,
            vec![
                (october, due(&[("1", 100), ("1", 25), ("2", 300)]), due(&[("1", 125), ("2", 0), ("3", 50)])),
                (november, due(&[]), due(&[("3", 10)])),
            ],
        )
        .unwrap();
        assert_eq!((effect.accounts, effect.looked_at, effect.changed), (40, 3, 2));
        assert_eq!(effect.totals, [BeforeAfter { before: nzd(425), after: nzd(185) }]);
        let named: Vec<(&str, String)> =
            effect.largest.iter().map(|one| (one.account.as_str(), one.period.to_string())).collect();
        assert_eq!(named, [("2", "2026-10".to_owned()), ("3", "2026-10".to_owned()), ("3", "2026-11".to_owned())]);
        let nothing = MoneyEffect::of(1, 1, vec![(october, due(&[("1", 5)]), due(&[("1", 5)]))]).unwrap();
        assert_eq!((nothing.changed, nothing.largest.len()), (0, 0));
    }
}
