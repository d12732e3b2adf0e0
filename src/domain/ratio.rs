//! Exact fractions. What a sum multiplies and divides stays a fraction until the one point where terms round it.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A fraction in lowest terms, its denominator above zero. Written as a decimal where it has a finite one of at most twelve
/// places, else as `n/d`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ratio {
    numerator: i128,
    denominator: i128,
}

/// The figure does not fit into 128 bits, or a division by zero was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a figure of the sum is too large")]
pub struct Overflow;

impl Ratio {
    pub const ZERO: Ratio = Ratio { numerator: 0, denominator: 1 };
    pub const ONE: Ratio = Ratio { numerator: 1, denominator: 1 };

    pub fn new(numerator: i128, denominator: i128) -> Result<Self, Overflow> {
        if denominator == 0 || numerator == i128::MIN || denominator == i128::MIN {
            return Err(Overflow);
        }
        let divisor = gcd(numerator.abs(), denominator.abs()) * denominator.signum();
        Ok(Ratio { numerator: numerator / divisor, denominator: denominator / divisor })
    }

    pub fn whole(value: impl Into<i128>) -> Self {
        Ratio { numerator: value.into(), denominator: 1 }
    }

    pub fn plus(self, other: Ratio) -> Result<Self, Overflow> {
        let left = self.numerator.checked_mul(other.denominator).ok_or(Overflow)?;
        let right = other.numerator.checked_mul(self.denominator).ok_or(Overflow)?;
        Ratio::new(
            left.checked_add(right).ok_or(Overflow)?,
            self.denominator.checked_mul(other.denominator).ok_or(Overflow)?,
        )
    }

    pub fn minus(self, other: Ratio) -> Result<Self, Overflow> {
        self.plus(Ratio { numerator: other.numerator.checked_neg().ok_or(Overflow)?, ..other })
    }

    pub fn times(self, other: Ratio) -> Result<Self, Overflow> {
        Ratio::new(
            self.numerator.checked_mul(other.numerator).ok_or(Overflow)?,
            self.denominator.checked_mul(other.denominator).ok_or(Overflow)?,
        )
    }

    pub fn over(self, other: Ratio) -> Result<Self, Overflow> {
        Ratio::new(
            self.numerator.checked_mul(other.denominator).ok_or(Overflow)?,
            self.denominator.checked_mul(other.numerator).ok_or(Overflow)?,
        )
    }

    /// Compares by cross-multiplication, so that nothing is rounded on the way.
    pub fn compared(self, other: Ratio) -> Result<Ordering, Overflow> {
        let left = self.numerator.checked_mul(other.denominator).ok_or(Overflow)?;
        let right = other.numerator.checked_mul(self.denominator).ok_or(Overflow)?;
        Ok(left.cmp(&right))
    }

    pub fn is_zero(self) -> bool {
        self.numerator == 0
    }

    pub fn is_positive(self) -> bool {
        self.numerator > 0
    }

    /// A decimal that every rounding mode to at most [`PLACES`] places treats as it would the fraction itself: its digits
    /// up to there, and one more that only says whether anything follows. To be rounded next, not to be counted with.
    pub fn for_rounding(self) -> Result<Decimal, Overflow> {
        let (mut digits, mut rest) = (self.numerator.abs() / self.denominator, self.numerator.abs() % self.denominator);
        for _ in 0..PLACES {
            let ten = rest.checked_mul(10).ok_or(Overflow)?;
            digits = digits.checked_mul(10).and_then(|all| all.checked_add(ten / self.denominator)).ok_or(Overflow)?;
            rest = ten % self.denominator;
        }
        let more = i128::from(rest > 0);
        let digits = digits.checked_mul(10).and_then(|all| all.checked_add(more)).ok_or(Overflow)?;
        Decimal::try_from_i128_with_scale(digits * self.numerator.signum(), PLACES + 1).map_err(|_| Overflow)
    }

    /// For people: rounded half up to `places`, after every comparison has been made.
    pub fn shown(self, places: u32) -> String {
        let Some(scaled) = 10i128.checked_pow(places).and_then(|ten| self.numerator.checked_mul(ten)) else {
            return self.to_string();
        };
        let whole = scaled.div_euclid(self.denominator);
        let rest = scaled.rem_euclid(self.denominator);
        let up = i128::from(rest >= self.denominator - rest);
        point(whole + up, places)
    }

    /// The smallest whole number that is not below it.
    pub fn ceiling(self) -> i128 {
        -(-self.numerator).div_euclid(self.denominator)
    }

    /// The larger of two.
    pub fn larger(self, other: Ratio) -> Result<Self, Overflow> {
        Ok(if self.compared(other)? == Ordering::Less { other } else { self })
    }

    /// The smaller of two.
    pub fn smaller(self, other: Ratio) -> Result<Self, Overflow> {
        Ok(if self.compared(other)? == Ordering::Greater { other } else { self })
    }

    /// The largest whole number that is not above it.
    pub fn floor(self) -> i128 {
        self.numerator.div_euclid(self.denominator)
    }
}

/// `value` over ten to the `places`, as digits: `point(97009, 3)` is `97.009`.
fn point(value: i128, places: u32) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let width = usize::try_from(places).unwrap_or(0);
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = width + 1);
    let (whole, fraction) = digits.split_at(digits.len() - width);
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

fn gcd(mut a: i128, mut b: i128) -> i128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}

/// A decimal of at most this many places is written as one; longer ones are easier to redo as a fraction.
const PLACES: u32 = 12;

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let finite = (0..=PLACES).find_map(|places| {
            let ten = 10i128.pow(places);
            (ten % self.denominator == 0)
                .then(|| self.numerator.checked_mul(ten / self.denominator))
                .flatten()
                .map(|value| point(value, places))
        });
        match finite {
            Some(decimal) => f.write_str(&decimal),
            None => write!(f, "{}/{}", self.numerator, self.denominator),
        }
    }
}

impl fmt::Debug for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<Decimal> for Ratio {
    type Error = Overflow;

    fn try_from(decimal: Decimal) -> Result<Self, Overflow> {
        Ratio::new(decimal.mantissa(), 10i128.checked_pow(decimal.scale()).ok_or(Overflow)?)
    }
}

/// Reads `12.5`, `-3` and `75/7`.
impl FromStr for Ratio {
    type Err = NotARatio;

    fn from_str(text: &str) -> Result<Self, NotARatio> {
        let refused = || NotARatio(text.chars().take(40).collect());
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (numerator, denominator) = match (rest.split_once('/'), rest.split_once('.')) {
            (Some((numerator, denominator)), _) if digits(numerator) && digits(denominator) => {
                (numerator.parse::<i128>().ok(), denominator.parse::<i128>().ok())
            }
            (None, Some((whole, fraction))) if digits(whole) && digits(fraction) => {
                let ten = u32::try_from(fraction.len()).ok().and_then(|places| 10i128.checked_pow(places));
                (format!("{whole}{fraction}").parse().ok(), ten)
            }
            (None, None) if digits(rest) => (rest.parse().ok(), Some(1)),
            _ => return Err(refused()),
        };
        let (numerator, denominator) = numerator.zip(denominator).ok_or_else(refused)?;
        Ratio::new(if negative { -numerator } else { numerator }, denominator).map_err(|_| refused())
    }
}

impl JsonSchema for Ratio {
    fn schema_name() -> Cow<'static, str> {
        "Fraction".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]+(\\.[0-9]+|/[0-9]+)?$",
            "description": "An exact fraction or decimal, in quotes: \"1/30\", \"0.5\".",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a figure: write it as 12.5 or as 75/7")]
pub struct NotARatio(String);

impl Serialize for Ratio {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Ratio {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ratio(text: &str) -> Ratio {
        text.parse().unwrap()
    }

    #[test]
    fn a_fraction_is_written_as_it_is_read() {
        for text in ["0", "12.5", "-3", "75/7", "0.001", "9.375", "-1/3"] {
            assert_eq!(ratio(text).to_string(), text);
        }
        assert_eq!(ratio("6/4").to_string(), "1.5");
        for text in ["", ".", "1.", ".5", "1/", "/2", "1/0", "1e3", "--1", "1/2.5", "+1", "1/-2"] {
            assert!(text.parse::<Ratio>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_people_see_is_rounded_half_up_from_the_exact_fraction() {
        assert_eq!(Ratio::new(4_330_500, 44_640).unwrap().shown(3), "97.009");
        assert_eq!(ratio("1/3").shown(6), "0.333333");
        assert_eq!(ratio("0.0005").shown(3), "0.001");
        assert_eq!(ratio("99.9").shown(0), "100");
        assert_eq!(ratio("-1.5").shown(0), "-1");
    }

    proptest! {
        #[test]
        fn arithmetic_undoes_itself(a in -10_000i64..10_000, b in 1i64..10_000, c in -10_000i64..10_000, d in 1i64..10_000) {
            let (left, right) = (Ratio::new(a.into(), b.into()).unwrap(), Ratio::new(c.into(), d.into()).unwrap());
            prop_assert_eq!(left.plus(right).unwrap().minus(right).unwrap(), left);
            if !right.is_zero() {
                prop_assert_eq!(left.times(right).unwrap().over(right).unwrap(), left);
            }
            prop_assert_eq!(ratio(&left.to_string()), left);
        }
    }
}
