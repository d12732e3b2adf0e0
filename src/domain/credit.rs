//! Credits: what the operator gives, why, and how much of it is tax.

use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::books::Code;
use super::goodwill::Subject;
use super::ids::{AccountId, ClaimId, CreditId, SubscriptionId};
use super::money::{Money, MoneyError, Rounding};
use super::period::Month;

/// The three roads to a credit. Each has caps of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Road {
    /// The terms decide.
    Contract,
    /// A customer asked, and a person decided.
    Claim,
    /// The operator gives without having to.
    Goodwill,
}

impl Road {
    pub fn name(self) -> &'static str {
        match self {
            Road::Contract => "contract",
            Road::Claim => "claim",
            Road::Goodwill => "goodwill",
        }
    }

    pub fn parse(name: &str) -> Option<Road> {
        [Road::Contract, Road::Claim, Road::Goodwill].into_iter().find(|road| road.name() == name)
    }

    /// The account of the books that a credit of this road is written against, and whether the credit carries tax: a price
    /// reduction lowers the supply and with it the tax; compensation for a loss is no supply. An adviser must confirm both.
    pub fn reason_account(self) -> (Code, bool) {
        match self {
            Road::Contract => (Code::Sla, true),
            Road::Goodwill => (Code::Goodwill, true),
            Road::Claim => (Code::Compensation, false),
        }
    }
}

/// What a credit answers. One cause is paid once: the credit's id is derived from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A promise of a plan was missed in a service period.
    Period {
        subscription: SubscriptionId,
        period: Month,
        promise: String,
    },
    Claim(ClaimId),
    /// An outage, for which the operator gives something without having to.
    Goodwill(Subject),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Period { subscription, period, promise } => write!(f, "contract:{subscription}:{period}:{promise}"),
            Cause::Claim(claim) => write!(f, "claim:{claim}"),
            Cause::Goodwill(subject) => write!(f, "goodwill:{subject}"),
        }
    }
}

/// The id of the `generation`-th credit for `cause`.
pub fn credit_id(account: AccountId, cause: &Cause, generation: u32) -> CreditId {
    CreditId::of(account, &cause.to_string(), generation)
}

/// A gross amount as its net part and the tax in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    pub net: Money,
    pub tax: Money,
}

impl Split {
    /// `gross x r / (1 + r)`, rounded half up once; the net is the rest. `rate_bp` is in hundredths of a percent.
    pub fn of(gross: Money, rate_bp: u16) -> Result<Self, MoneyError> {
        let rate = Decimal::from(rate_bp);
        let whole = Decimal::from(10_000u32).checked_add(rate).ok_or(MoneyError::TooLarge)?;
        let exact =
            gross.decimal().checked_mul(rate).and_then(|tax| tax.checked_div(whole)).ok_or(MoneyError::TooLarge)?;
        let tax = Money::rounded(exact, gross.currency(), Rounding::HalfUp)?;
        Ok(Split { net: gross.minus(tax)?, tax })
    }
}

/// The tax in the next `part` of a credit whose first `before` was applied already: what is due up to here less what was
/// taken before, so that the parts add up to the credit's tax.
pub fn tax_of_part(credit_gross: Money, credit_tax: Money, before: Money, part: Money) -> Result<Money, MoneyError> {
    let up_to = |applied: Money| -> Result<Money, MoneyError> {
        if credit_gross.is_zero() {
            return Ok(Money::zero(credit_gross.currency()));
        }
        let exact = credit_tax
            .decimal()
            .checked_mul(applied.decimal())
            .and_then(|product| product.checked_div(credit_gross.decimal()))
            .ok_or(MoneyError::TooLarge)?;
        Money::rounded(exact, credit_gross.currency(), Rounding::HalfUp)
    };
    up_to(before.plus(part)?)?.minus(up_to(before)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nzd(minor: i64) -> Money {
        Money::from_minor(minor, "NZD".parse().unwrap()).unwrap()
    }

    #[test]
    fn twenty_five_dollars_with_fifteen_percent_inside() {
        assert_eq!(Split::of(nzd(2_500), 1_500).unwrap(), Split { net: nzd(2_174), tax: nzd(326) });
        assert_eq!(Split::of(nzd(1), 1_500).unwrap(), Split { net: nzd(1), tax: nzd(0) });
        assert_eq!(Split::of(nzd(2_500), 0).unwrap(), Split { net: nzd(2_500), tax: nzd(0) });
    }

    proptest! {
        #[test]
        fn the_tax_of_the_parts_is_the_tax_of_the_whole(parts in prop::collection::vec(1i64..90_000, 1..9), rate in 0u16..3_000) {
            let gross = nzd(parts.iter().sum());
            let whole = Split::of(gross, rate).unwrap();
            let mut before = nzd(0);
            let mut taxes = nzd(0);
            for part in parts {
                let tax = tax_of_part(gross, whole.tax, before, nzd(part)).unwrap();
                prop_assert!(tax.minor() >= 0 && tax.minor() <= part);
                taxes = taxes.plus(tax).unwrap();
                before = before.plus(nzd(part)).unwrap();
            }
            prop_assert_eq!(taxes, whole.tax);
        }
    }
}
