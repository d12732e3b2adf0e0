//! Money: whole minor units of one ISO 4217 currency, and nothing else.
//!
//! An amount and its currency are one value. Adding two currencies is a refusal. What comes out of a multiplication is a
//! [`Decimal`] that is not money yet: it becomes money by [`Money::rounded`], which names its mode.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use rust_decimal::{Decimal, RoundingStrategy};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The largest amount that one value may hold, in minor units: ten million of a currency with two decimals, times a
/// hundred for totals of runs. A figure above it is refused, never wrapped.
pub const LARGEST_MINOR: i64 = 1_000_000_000_000_000;

/// An ISO 4217 currency.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency(iso_currency::Currency);

impl Ord for Currency {
    /// By code.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.code().cmp(other.code())
    }
}

impl PartialOrd for Currency {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Currency {
    /// The three-letter code, such as `NZD`.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// How many decimals one unit has: 2 for NZD, 0 for JPY, 3 for KWD. Currencies without a minor unit (such as gold)
    /// have none.
    pub fn decimals(self) -> u32 {
        self.0.exponent().map_or(0, u32::from)
    }

    /// The sign that people write before an amount, such as `$`.
    pub fn symbol(self) -> String {
        self.0.symbol().symbol
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(code: &str) -> Result<Self, MoneyError> {
        iso_currency::Currency::from_code(code)
            .map(Currency)
            .ok_or_else(|| MoneyError::UnknownCurrency(code.chars().take(12).collect()))
    }
}

impl Serialize for Currency {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.code())
    }
}

impl JsonSchema for Currency {
    fn schema_name() -> Cow<'static, str> {
        "Currency".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[A-Z]{3}$",
            "description": "A currency code of ISO 4217, such as NZD.",
        })
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// How an amount that lies between two minor units becomes one of them. Terms say which; nothing rounds by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rounding {
    /// To the nearest, and from the middle away from zero: 3.125 becomes 3.13.
    HalfUp,
    /// To the nearest, and from the middle to the even neighbour: 3.125 becomes 3.12, 3.135 becomes 3.14.
    HalfEven,
    /// Away from zero.
    Up,
    /// Towards zero.
    Down,
}

impl Rounding {
    fn strategy(self) -> RoundingStrategy {
        match self {
            Rounding::HalfUp => RoundingStrategy::MidpointAwayFromZero,
            Rounding::HalfEven => RoundingStrategy::MidpointNearestEven,
            Rounding::Up => RoundingStrategy::AwayFromZero,
            Rounding::Down => RoundingStrategy::ToZero,
        }
    }
}

/// An amount in whole minor units of a currency. It may be zero or negative inside a sum; doors show it without a sign and
/// put the direction into a field of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    minor: i64,
    currency: Currency,
}

/// Why a figure is not money.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("{0:?} is not a currency code of ISO 4217, such as NZD")]
    UnknownCurrency(String),
    #[error("amount must be a number, like 480 or 480.50")]
    NotANumber,
    #[error("{currency} has {decimals} decimals, so an amount may not have more")]
    TooManyDecimals { currency: Currency, decimals: u32 },
    #[error("the amount is too large")]
    TooLarge,
    #[error("{left} and {right} cannot be added: they are two currencies")]
    TwoCurrencies { left: Currency, right: Currency },
}

impl Money {
    /// An amount of `minor` units. Refuses what is larger than [`LARGEST_MINOR`].
    pub fn from_minor(minor: i64, currency: Currency) -> Result<Self, MoneyError> {
        if minor.unsigned_abs() > LARGEST_MINOR.unsigned_abs() {
            return Err(MoneyError::TooLarge);
        }
        Ok(Money { minor, currency })
    }

    pub fn zero(currency: Currency) -> Self {
        Money { minor: 0, currency }
    }

    /// The amount in minor units: 2500 for 25.00 NZD.
    pub fn minor(self) -> i64 {
        self.minor
    }

    pub fn currency(self) -> Currency {
        self.currency
    }

    pub fn is_zero(self) -> bool {
        self.minor == 0
    }

    pub fn is_positive(self) -> bool {
        self.minor > 0
    }

    /// Reads `480`, `480.5` or `480.50`: digits, at most one point, a minus before it; no exponent, no separator, no sign
    /// before a positive amount, and no more decimals than the currency has.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = match digits.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return Err(MoneyError::NotANumber),
            None => (digits, ""),
        };
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
            return Err(MoneyError::NotANumber);
        }
        if whole.len() > 16 {
            return Err(MoneyError::TooLarge);
        }
        let decimals = currency.decimals();
        let width = usize::try_from(decimals).unwrap_or(usize::MAX);
        if fraction.len() > width {
            return Err(MoneyError::TooManyDecimals { currency, decimals });
        }
        let minor: i64 = format!("{whole}{fraction:0<width$}").parse().map_err(|_| MoneyError::TooLarge)?;
        Money::from_minor(if negative { -minor } else { minor }, currency)
    }

    /// The exact value in major units, with the currency's decimals: 25.00.
    pub fn decimal(self) -> Decimal {
        Decimal::new(self.minor, self.currency.decimals())
    }

    /// Rounds an exact figure in major units to money. The one place where a figure becomes money.
    pub fn rounded(exact: Decimal, currency: Currency, rounding: Rounding) -> Result<Self, MoneyError> {
        let rounded = exact.round_dp_with_strategy(currency.decimals(), rounding.strategy());
        let scale = Decimal::from(10u64.pow(currency.decimals()));
        let minor = rounded.checked_mul(scale).ok_or(MoneyError::TooLarge)?;
        let minor = i64::try_from(minor.trunc().mantissa() / 10i128.pow(minor.trunc().scale()))
            .map_err(|_| MoneyError::TooLarge)?;
        Money::from_minor(minor, currency)
    }

    pub fn plus(self, other: Money) -> Result<Self, MoneyError> {
        self.combined(other, i64::checked_add)
    }

    pub fn minus(self, other: Money) -> Result<Self, MoneyError> {
        self.combined(other, i64::checked_sub)
    }

    fn combined(self, other: Money, op: fn(i64, i64) -> Option<i64>) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::TwoCurrencies { left: self.currency, right: other.currency });
        }
        Money::from_minor(op(self.minor, other.minor).ok_or(MoneyError::TooLarge)?, self.currency)
    }

    /// The amount as digits with the currency's decimals and no code: `25.00`, `-0.05`, `1200` for JPY.
    pub fn digits(self) -> String {
        self.decimal().to_string()
    }

    /// The sum of `amounts`, all of one currency.
    pub fn sum(amounts: impl IntoIterator<Item = Money>, currency: Currency) -> Result<Money, MoneyError> {
        amounts.into_iter().try_fold(Money::zero(currency), Money::plus)
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `NZD 25.00`
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.currency.code(), self.digits())
    }
}

/// On the wire and in documents: `{"amount": "25.00", "currency": "NZD"}`. Never a JSON number.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    amount: String,
    currency: Currency,
}

impl Serialize for Money {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Wire { amount: self.digits(), currency: self.currency }.serialize(to)
    }
}

impl JsonSchema for Money {
    fn schema_name() -> Cow<'static, str> {
        "Money".into()
    }

    fn json_schema(schemas: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "properties": {
                "amount": {
                    "type": "string",
                    "pattern": "^[0-9]+(\\.[0-9]+)?$",
                    "description": "With no more decimals than the currency has, in quotes: \"150.00\".",
                },
                "currency": schemas.subschema_for::<Currency>(),
            },
            "required": ["amount", "currency"],
            "additionalProperties": false,
        })
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(from)?;
        Money::parse(&wire.amount, wire.currency).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nzd() -> Currency {
        "NZD".parse().unwrap()
    }

    #[test]
    fn amounts_are_read_as_people_write_them_and_nothing_else() {
        for (text, minor) in [("480", 48_000), ("480.5", 48_050), ("480.50", 48_050), ("-0.05", -5), ("0", 0)] {
            assert_eq!(Money::parse(text, nzd()).unwrap().minor(), minor, "{text}");
        }
        for text in ["", ".5", "5.", "+5", "1e3", "1_000", "1,000", " 5", "٥", "NaN", "--5", "0x10"] {
            assert_eq!(Money::parse(text, nzd()), Err(MoneyError::NotANumber), "{text}");
        }
        assert!(matches!(Money::parse("1.234", nzd()), Err(MoneyError::TooManyDecimals { .. })));
        assert!(matches!(Money::parse("1.5", "JPY".parse().unwrap()), Err(MoneyError::TooManyDecimals { .. })));
        assert_eq!(Money::parse("1.234", "KWD".parse().unwrap()).unwrap().minor(), 1_234);
        assert_eq!(Money::parse("99999999999999", nzd()), Err(MoneyError::TooLarge));
    }

    #[test]
    fn half_a_cent_goes_where_the_terms_say() {
        let half = Decimal::new(3125, 3);
        for (rounding, minor) in
            [(Rounding::HalfUp, 313), (Rounding::HalfEven, 312), (Rounding::Up, 313), (Rounding::Down, 312)]
        {
            assert_eq!(Money::rounded(half, nzd(), rounding).unwrap().minor(), minor, "{rounding:?}");
        }
        assert_eq!(Money::rounded(Decimal::from(10), "JPY".parse().unwrap(), Rounding::HalfUp).unwrap().minor(), 10);
    }

    #[test]
    fn two_currencies_do_not_add() {
        let left = Money::parse("1", nzd()).unwrap();
        let right = Money::parse("1", "AUD".parse().unwrap()).unwrap();
        assert!(matches!(left.plus(right), Err(MoneyError::TwoCurrencies { .. })));
    }

    #[test]
    fn money_on_the_wire_is_a_string_and_a_float_is_refused() {
        let money = Money::parse("25", nzd()).unwrap();
        assert_eq!(serde_json::to_string(&money).unwrap(), r#"{"amount":"25.00","currency":"NZD"}"#);
        assert!(serde_json::from_str::<Money>(r#"{"amount":25.00,"currency":"NZD"}"#).is_err());
    }
}
