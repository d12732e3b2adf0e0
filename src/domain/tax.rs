//! How much of an amount is tax: rules that are the operator's data, and one rounding for each credit.
//!
//! An adviser must confirm every rule; what is here is arithmetic.

use serde::{Deserialize, Serialize};

use super::credit::Split;
use super::money::{Money, MoneyError, Rounding};

/// Whether an amount that was decided has the tax in it, or gets it on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The amount is gross: tax is `gross x r / (1 + r)`.
    Included,
    /// The amount is net: tax is `net x r`.
    Excluded,
}

impl Basis {
    pub fn name(self) -> &'static str {
        match self {
            Basis::Included => "included",
            Basis::Excluded => "excluded",
        }
    }
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaxRule {
    /// What billing and the tax return call it: GST15.
    pub code: String,
    /// Hundredths of a percent: 1500 is 15 %.
    pub rate_bp: u16,
    pub basis: Basis,
    /// How the tax becomes whole cents, once for each credit.
    pub rounding: Rounding,
}

impl TaxRule {
    /// No tax at all: compensation for a loss is no supply.
    pub fn none() -> Self {
        TaxRule { code: "NONE".to_owned(), rate_bp: 0, basis: Basis::Included, rounding: Rounding::HalfUp }
    }

    /// An amount that was decided, as net and tax; the credit's gross amount is their sum. Rounds the tax once.
    pub fn split(&self, decided: Money) -> Result<Split, MoneyError> {
        let rate = rust_decimal::Decimal::from(self.rate_bp);
        let hundred = rust_decimal::Decimal::from(10_000u32);
        let whole = match self.basis {
            Basis::Included => hundred.checked_add(rate).ok_or(MoneyError::TooLarge)?,
            Basis::Excluded => hundred,
        };
        let exact =
            decided.decimal().checked_mul(rate).and_then(|tax| tax.checked_div(whole)).ok_or(MoneyError::TooLarge)?;
        let tax = Money::rounded(exact, decided.currency(), self.rounding)?;
        match self.basis {
            Basis::Included => Ok(Split { net: decided.minus(tax)?, tax }),
            Basis::Excluded => {
                // What is owed must be an amount too.
                decided.plus(tax)?;
                Ok(Split { net: decided, tax })
            }
        }
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

    fn rule(rate_bp: u16, basis: Basis, rounding: Rounding) -> TaxRule {
        TaxRule { code: "T".to_owned(), rate_bp, basis, rounding }
    }

    const ROUNDINGS: [Rounding; 4] = [Rounding::HalfUp, Rounding::HalfEven, Rounding::Up, Rounding::Down];

    #[test]
    fn twenty_five_dollars_with_the_tax_in_it_and_with_the_tax_on_top() {
        let included = rule(1_500, Basis::Included, Rounding::HalfUp).split(nzd(2_500)).unwrap();
        assert_eq!((included.net.minor(), included.tax.minor()), (2_174, 326));
        let excluded = rule(1_500, Basis::Excluded, Rounding::HalfUp).split(nzd(2_174)).unwrap();
        assert_eq!((excluded.net.minor(), excluded.tax.minor()), (2_174, 326));
        let none = TaxRule::none().split(nzd(2_500)).unwrap();
        assert_eq!((none.net.minor(), none.tax.minor()), (2_500, 0));
    }

    #[test]
    fn tax_on_top_of_the_largest_amount_is_refused_and_never_wraps() {
        let on_top = rule(1_500, Basis::Excluded, Rounding::HalfUp);
        assert_eq!(on_top.split(nzd(LARGEST_MINOR)), Err(MoneyError::TooLarge));
        assert!(rule(1_500, Basis::Included, Rounding::HalfUp).split(nzd(LARGEST_MINOR)).is_ok());
    }

    proptest! {
        /// Against whole numbers: twice the exact tax lies within one unit of twice the rounded one.
        #[test]
        fn the_tax_is_the_exact_one_rounded_once(minor in 1i64..200_000_000, rate in 0u16..=10_000, mode in 0usize..4, on_top: bool) {
            let basis = if on_top { Basis::Excluded } else { Basis::Included };
            let split = rule(rate, basis, ROUNDINGS[mode]).split(nzd(minor)).unwrap();
            let whole = if on_top { 10_000i128 } else { 10_000 + i128::from(rate) };
            let (numerator, tax) = (i128::from(minor) * i128::from(rate), i128::from(split.tax.minor()));
            let off = numerator - tax * whole;
            match ROUNDINGS[mode] {
                Rounding::HalfUp | Rounding::HalfEven => prop_assert!(2 * off.abs() <= whole),
                Rounding::Up => prop_assert!(-whole < off && off <= 0),
                Rounding::Down => prop_assert!(0 <= off && off < whole),
            }
            let parts = split.net.plus(split.tax).unwrap().minor();
            prop_assert_eq!(if on_top { split.net.minor() } else { parts }, minor);
            prop_assert!(split.net.minor() >= 0 && split.tax.minor() >= 0);
        }

        /// What was given with the tax on top is taken apart again to the same cent, wherever only the gross amount is known.
        #[test]
        fn a_gross_amount_made_by_adding_tax_has_that_tax_in_it(net in 1i64..200_000_000, rate in 1u16..=10_000) {
            let on_top = rule(rate, Basis::Excluded, Rounding::HalfUp).split(nzd(net)).unwrap();
            let gross = on_top.net.plus(on_top.tax).unwrap();
            prop_assert_eq!(rule(rate, Basis::Included, Rounding::HalfUp).split(gross).unwrap(), on_top);
        }
    }
}
