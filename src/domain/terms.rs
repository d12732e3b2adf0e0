//! SLA terms: what a plan promises and pays, as a document that a contract manager writes.
//!
//! Every reading that a contract may leave open is a word that must be there: no field on which money depends has a
//! default. A new way of paying is a new variant here, its arithmetic beside [`super::assess`], and cases.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::money::{Money, Rounding};
use super::period::Zone;
use super::ratio::Ratio;
use super::window::Capability;

/// One version of what a plan promises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    pub format: Format,
    /// What customers call it: `Business Mail`.
    pub name: String,
    /// Which promise of the plan this is, such as `availability`: part of a credit's cause.
    pub promise: String,
    pub down: Down,
    pub planned: Planned,
    pub clock: Clock,
    pub minimum_outage: MinimumOutage,
    pub time: TimeTerms,
    pub measure: Measure,
    pub schedule: Schedule,
    pub base: Base,
    pub combination: Combination,
    /// None (an empty list) must be said too.
    pub caps: Vec<Cap>,
    pub rounding: RoundingTerms,
    pub payout: Payout,
    pub payment: Payment,
    pub change_in_period: ChangeInPeriod,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    #[serde(rename = "makegood.terms/1")]
    V1,
}

/// What counts as down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Down {
    /// What is promised; a child such as `access.webmail` belongs to its parent.
    pub capabilities: Vec<Capability>,
    pub rule: Rule,
    pub delayed: Delayed,
    pub degraded: Degraded,
}

/// When a mailbox is down that lost some of what was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// One capability lost is down.
    Any,
    /// Only all of them lost at once is down.
    All,
}

/// Mail that comes, late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Delayed {
    NeverCounts,
    /// A delay of at least `from_seconds` counts, each minute as `weight_percent` of one.
    Counts {
        from_seconds: u32,
        weight_percent: Percent,
    },
}

/// What works in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Degraded {
    NeverCounts,
    CountsInFull,
    /// Each minute counts as the part that did not work, as the window says.
    CountsByWeight,
}

/// Work that was announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Planned {
    /// It counts like any outage.
    Counts,
    /// It does not count within the announced interval, where it was announced at least `minimum_notice_hours` before the
    /// interval began. What runs over counts.
    Excused { minimum_notice_hours: u32, removes_from: RemovesFrom },
}

/// What excused time is taken out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemovesFrom {
    /// Only the downtime.
    Numerator,
    /// The downtime and the time promised.
    NumeratorAndDenominator,
}

/// When the time of an outage begins to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// When it began, whether or not somebody reported it; it never pauses.
    WhenItBegan,
}

/// An outage shorter than this does not count at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MinimumOutage {
    /// 0 where there is none. An outage of exactly this length counts.
    pub seconds: u32,
    pub of: MinimumOf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MinimumOf {
    /// The joined outage, before planned time is cut out of it.
    BeforeCuts,
    /// All that is left of the joined outage afterwards.
    WhatIsLeft,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeTerms {
    pub zone: ZoneOf,
    pub period: PeriodKind,
}

/// Whose midnight a period begins at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ZoneOf {
    Account,
    Operator,
    Named { zone: Zone },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeriodKind {
    CalendarMonth,
}

/// What is compared with the promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Measure {
    /// (time promised - downtime) / time promised.
    UptimeRatio { per: Per, of: TimePromised },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// Each mailbox by its own minutes.
    Mailbox,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimePromised {
    /// The whole period, even for a mailbox that was there for a part of it.
    WholePeriod,
    /// The part of the period in which the mailbox was there.
    WhileItExisted,
}

/// How much a miss pays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    TiersByUptime {
        boundary: Boundary,
        /// From the highest uptime down; the lowest one that was missed pays.
        tiers: Vec<Tier>,
    },
}

/// Whether exactly the threshold is a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Boundary {
    Below,
    AtOrBelow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// The threshold in percent; exactly this belongs to the tier only where `boundary` says so.
    pub uptime_below: Percent,
    /// The share of the base that is credited.
    pub credit_percent: Percent,
}

/// Which fee a percentage is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Base {
    /// What was really charged for the period, tax included.
    ChargedFee { of: FeeOf },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeeOf {
    /// The share of each mailbox that missed the promise.
    AffectedMailboxes,
}

/// How several results become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combination {
    /// What each mailbox is due, added.
    SumOfMailboxes,
}

/// The most that is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Cap {
    /// At most this share of everything charged for the period.
    PercentOfPeriodFee { percent: Percent },
    /// At most this amount for the period.
    AmountPerPeriod { amount: Money },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundingTerms {
    pub mode: Rounding,
    pub at: RoundingPoint,
}

/// The one point where a figure becomes money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoundingPoint {
    AccountTotal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payout {
    CreditOnBill,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payment {
    /// A run at the close of the period credits it.
    Automatic,
    /// The customer asks; the claim is filled in for him.
    OnRequest,
}

/// Which terms judge a period in which the plan or its terms changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeInPeriod {
    SplitPeriod,
    TermsAtOutage,
    TermsAtPeriodEnd,
}

/// Zero to a hundred percent, with at most six places, kept as it was written.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Percent(Decimal);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a percentage: write it as \"99.9\", from 0 to 100 with at most six decimals")]
pub struct NotAPercent(String);

impl Percent {
    pub fn decimal(self) -> Decimal {
        self.0
    }

    /// As a part of one: 25 % is 1/4.
    pub fn ratio(self) -> Ratio {
        // Six places and at most a hundred always fit.
        Ratio::new(self.0.mantissa(), 100 * 10i128.pow(self.0.scale())).unwrap_or(Ratio::ZERO)
    }
}

impl FromStr for Percent {
    type Err = NotAPercent;

    fn from_str(text: &str) -> Result<Self, NotAPercent> {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
            && text.bytes().next().is_some_and(|byte| byte.is_ascii_digit())
            && text.bytes().next_back().is_some_and(|byte| byte.is_ascii_digit());
        Some(text)
            .filter(|text| plain && text.len() <= 10)
            .and_then(|text| Decimal::from_str_exact(text).ok())
            .filter(|value| *value <= Decimal::ONE_HUNDRED && value.scale() <= 6)
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
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}
