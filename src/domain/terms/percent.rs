//! Figures of a contract: percentages, amounts and multipliers, kept exactly as they were written.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::domain::document;
use crate::domain::ratio::Ratio;

/// Enough for 99.9999, and few enough that time weighed by one still compares exactly in 128 bits.
const PERCENT_PLACES: u32 = 4;

/// Zero to a hundred percent, with at most [`PERCENT_PLACES`] decimals, kept as it was written.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Percent(Decimal);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a percentage: write it as \"99.9\", from 0 to 100 with at most four decimals, with a point and without a sign"
)]
pub struct NotAPercent(String);

impl Percent {
    pub fn decimal(self) -> Decimal {
        self.0
    }

    /// As a part of one: 25 % is 1/4.
    pub fn ratio(self) -> Ratio {
        // Four places and at most a hundred always fit.
        Ratio::new(self.0.mantissa(), 100 * 10i128.pow(self.0.scale())).unwrap_or(Ratio::ZERO)
    }
}

impl FromStr for Percent {
    type Err = NotAPercent;

    fn from_str(text: &str) -> Result<Self, NotAPercent> {
        plain(text, 3, PERCENT_PLACES)
            .filter(|value| *value <= Decimal::ONE_HUNDRED)
            .map(Percent)
            .ok_or_else(|| NotAPercent(text.chars().take(20).collect()))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.0)
    }
}

impl Serialize for Percent {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        document::in_quotes(from)
    }
}

impl JsonSchema for Percent {
    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]{1,3}(\\.[0-9]{1,4})?$",
            "description": "A percentage from 0 to 100 with at most four decimals, in quotes: \"99.9\".",
        })
    }
}

/// Places after the point of a [`Figure`].
const FIGURE_PLACES: u32 = 6;

/// A figure that is not below zero, with at most twelve digits before the point and six after it, kept as it was written:
/// an amount in the currency of the terms, or a multiplier.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Figure(Decimal);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a figure: write it as \"12.50\", not below zero, with at most 12 digits and 6 decimals")]
pub struct NotAFigure(String);

impl Figure {
    pub fn decimal(self) -> Decimal {
        self.0
    }

    pub fn ratio(self) -> Ratio {
        // Eighteen digits always fit.
        Ratio::try_from(self.0).unwrap_or(Ratio::ZERO)
    }

    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

/// A plain decimal of at most `digits` before the point and `places` after it: no sign, no exponent, no separators.
fn plain(text: &str, digits: usize, places: u32) -> Option<Decimal> {
    let (whole, fraction) = match text.split_once('.') {
        Some((_, "")) => return None,
        Some((whole, fraction)) => (whole, fraction),
        None => (text, ""),
    };
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let fits = !whole.is_empty() && whole.len() <= digits && fraction.len() <= usize::try_from(places).unwrap_or(0);
    (fits && all_digits(whole) && all_digits(fraction)).then(|| Decimal::from_str_exact(text).ok()).flatten()
}

impl FromStr for Figure {
    type Err = NotAFigure;

    fn from_str(text: &str) -> Result<Self, NotAFigure> {
        plain(text, 12, FIGURE_PLACES).map(Figure).ok_or_else(|| NotAFigure(text.chars().take(30).collect()))
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for Figure {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Figure {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        document::in_quotes(from)
    }
}

impl JsonSchema for Figure {
    fn schema_name() -> Cow<'static, str> {
        "Figure".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]{1,12}(\\.[0-9]{1,6})?$",
            "description": "A figure that is not below zero, in quotes: \"12.50\". An amount is in the currency of the terms.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_a_plain_decimal_of_at_most_a_hundred() {
        for text in ["0", "99.9", "100", "99.9999", "95.0"] {
            assert_eq!(text.parse::<Percent>().unwrap().to_string(), text);
        }
        for text in ["", "100.0001", "-1", "+1", "1e1", "99.99999", ".5", "5.", "1_0", "NaN", "٥", "99,9", "99.9%"] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
        assert_eq!("0.0001".parse::<Percent>().unwrap().ratio().to_string(), "0.000001");
    }

    #[test]
    fn a_figure_is_a_plain_decimal_that_is_not_below_zero() {
        for text in ["0", "12.50", "100", "0.000001", "999999999999.999999"] {
            assert_eq!(text.parse::<Figure>().unwrap().to_string(), text);
        }
        for text in ["", "-1", "+1", "1e1", "1.0000001", ".5", "5.", "1_0", "NaN", "1,000", "1234567890123"] {
            assert!(text.parse::<Figure>().is_err(), "{text}");
        }
    }
}
