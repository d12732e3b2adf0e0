//! Credits: what the operator gives, why, and how much of it is tax.

use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::books::Code;
use super::goodwill::Subject;
use super::ids::{AccountId, ClaimId, CreditId, SubscriptionId};
use super::money::{Currency, Money, MoneyError, Rounding};
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

/// An amount with its net part and the tax in it: `net + tax = gross`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amounts {
    pub gross: Money,
    pub net: Money,
    pub tax: Money,
}

impl Amounts {
    pub fn zero(currency: Currency) -> Self {
        let zero = Money::zero(currency);
        Amounts { gross: zero, net: zero, tax: zero }
    }

    pub fn plus(self, other: Amounts) -> Result<Self, MoneyError> {
        Ok(Amounts {
            gross: self.gross.plus(other.gross)?,
            net: self.net.plus(other.net)?,
            tax: self.tax.plus(other.tax)?,
        })
    }

    pub fn minus(self, other: Amounts) -> Result<Self, MoneyError> {
        Ok(Amounts {
            gross: self.gross.minus(other.gross)?,
            net: self.net.minus(other.net)?,
            tax: self.tax.minus(other.tax)?,
        })
    }

    /// The same gross with a tax that it can carry, from nothing to all of it: what is left of amounts whose cents were rounded apart may
    /// be a cent beside.
    pub fn tidy(self) -> Result<Amounts, MoneyError> {
        let tax = Money::from_minor(self.tax.minor().clamp(0, self.gross.minor().max(0)), self.gross.currency())?;
        Ok(Amounts { gross: self.gross, net: self.gross.minus(tax)?, tax })
    }

    /// The next `part` of this, of which `before` was taken already. Its tax is what is due up to here less what was taken
    /// before, rounded half up once; so the parts add up to the whole's tax, in whatever order they were taken and given back.
    pub fn part(self, before: Amounts, part: Money) -> Result<Amounts, MoneyError> {
        let left = self.minus(before)?;
        let exact = match self.gross.is_zero() {
            true => Decimal::ZERO,
            false => before
                .gross
                .plus(part)?
                .decimal()
                .checked_mul(self.tax.decimal())
                .and_then(|product| product.checked_div(self.gross.decimal()))
                .ok_or(MoneyError::TooLarge)?,
        };
        let up_to_here = Money::rounded(exact, self.gross.currency(), Rounding::HalfUp)?;
        // No part carries more tax than itself, or leaves more tax than is left of the amount.
        let rest = left.gross.minus(part)?;
        let least = left.tax.minus(rest)?.minor().max(0);
        let most = left.tax.minor().min(part.minor());
        let tax = up_to_here.minus(before.tax)?.minor().max(least).min(most);
        let tax = Money::from_minor(tax, self.gross.currency())?;
        Ok(Amounts { gross: part, net: part.minus(tax)?, tax })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::money::LARGEST_MINOR;

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
        /// Parts are applied to bills, some bills are rolled back, and what came back is applied anew, until all of it stands.
        #[test]
        fn the_tax_of_the_parts_is_the_tax_of_the_whole(
            parts in prop::collection::vec((1i64..90_000, any::<bool>()), 1..12), rate in 0u16..10_000,
        ) {
            let gross = nzd(parts.iter().map(|(part, _)| part).sum());
            let split = Split::of(gross, rate).unwrap();
            let whole = Amounts { gross, net: split.net, tax: split.tax };
            let mut taken = Amounts::zero(gross.currency());
            let mut back = Vec::new();
            for (part, comes_back) in parts {
                let part = whole.part(taken, nzd(part)).unwrap();
                prop_assert!(part.tax.minor() >= 0 && part.net.minor() >= 0, "{:?}", part);
                taken = taken.plus(part).unwrap();
                if comes_back {
                    taken = taken.minus(part).unwrap();
                    back.push(part.gross);
                }
            }
            for part in back {
                let part = whole.part(taken, part).unwrap();
                prop_assert!(part.tax.minor() >= 0 && part.net.minor() >= 0, "{:?}", part);
                taken = taken.plus(part).unwrap();
            }
            prop_assert_eq!(taken, whole);
        }

        /// Near the ends of what an `i64` holds sums are refused: nothing wraps, nothing panics.
        #[test]
        fn amounts_at_the_ends_are_refused_and_never_wrap(a in any::<i64>(), b in any::<i64>(), near in 0i64..9, rate in any::<u16>()) {
            let currency: crate::domain::money::Currency = "NZD".parse().unwrap();
            for minor in [a, b, i64::MAX - near, i64::MIN + near, LARGEST_MINOR - near, LARGEST_MINOR + 1 + near] {
                let Ok(money) = Money::from_minor(minor, currency) else {
                    prop_assert!(minor.unsigned_abs() > LARGEST_MINOR.unsigned_abs());
                    continue;
                };
                prop_assert_eq!(Money::parse(&money.digits(), currency), Ok(money), "what is printed is read back");
                for other in [nzd(LARGEST_MINOR - near), nzd(near - LARGEST_MINOR), nzd(near)] {
                    let exact = i128::from(minor) + i128::from(other.minor());
                    let sum = money.plus(other).map(|sum| i128::from(sum.minor()));
                    prop_assert_eq!(sum.ok(), (exact.abs() <= i128::from(LARGEST_MINOR)).then_some(exact));
                }
                if let Ok(split) = Split::of(money, rate) {
                    prop_assert_eq!(split.net.plus(split.tax), Ok(money));
                }
            }
        }
    }
}
