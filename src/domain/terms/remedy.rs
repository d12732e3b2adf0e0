//! Remedies: what of an outage counts, how it is measured, and what it pays.
//!
//! A remedy is four parts that fit together: what is *down*, a *measure* of it, a *schedule* that finds what a measured thing
//! pays, and the *base* that a share is of. What is paid is an expression ([`Pay`]) of a few words. All known ways of paying for
//! downtime are put together from these; none has code of its own.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::percent::{Figure, Percent};
use super::{Planned, Terms};
use crate::domain::ratio::Ratio;
use crate::domain::window::Capability;

/// One thing that is paid for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Remedy {
    /// Names it on the receipt: `repair`, `missed_appointment`.
    pub name: String,
    /// Left out where it always applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
    pub down: Down,
    /// What announced work means for this remedy. Left out where it is what the terms say for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned: Option<Planned>,
    pub outage_length: OutageLength,
    pub per: Per,
    pub measure: Measure,
    pub schedule: Schedule,
    pub base: Base,
    /// The most that this remedy pays, for each mailbox (or, where the account is judged as a whole, for the account). None
    /// (an empty list) must be said too.
    pub limits: Vec<Limit>,
    /// What the result is multiplied by, after the limits. Left out where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiplier: Option<Multiplier>,
}

/// A condition on the circumstances: the words that were recorded of the account for the period, such as `business` or
/// `alternative_service`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// Each of these was recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub all_of: Vec<String>,
    /// None of these was recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub none_of: Vec<String>,
}

/// What counts as down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Down {
    /// What is promised; a child such as `access.webmail` belongs to its parent.
    pub capabilities: Vec<Capability>,
    pub rule: Rule,
    pub delayed: Delayed,
    pub degraded: Degraded,
    pub reach: Reach,
}

/// When a mailbox is down that lost some of what was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// One capability lost is down.
    Any,
    /// Only all of them lost at once is down.
    All,
    /// Each capability is judged alone, and what each is due is added.
    Each,
}

/// Mail that comes, late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Delayed {
    NeverCounts,
    /// A delay of at least `from_seconds` counts, each minute as `weight_percent` of one.
    Counts {
        /// A delay of exactly this long counts.
        from_seconds: u32,
        weight_percent: Percent,
    },
}

/// What works in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Degraded {
    NeverCounts,
    CountsInFull,
    /// Each minute counts as the part that did not work, as the window says.
    CountsByWeight,
}

/// What it means that a window hit a part of those who use the service (its `reach`). A window without one hit all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Reach {
    /// Nothing.
    Ignored,
    /// Each minute counts as the share that was hit.
    Weighs,
    /// It counts in full if the share that was hit is above this, else not at all.
    MoreThan { percent: Percent },
    /// It counts in full if at least so many were hit, else not at all.
    AtLeast {
        /// How many; exactly so many are enough.
        hit: u32,
    },
}

/// Outages that do not count at all, for their length. An outage is all time down that joins without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum OutageLength {
    /// Every second counts.
    Any,
    /// Shorter ones do not count; exactly this long counts.
    AtLeast {
        /// The shortest length that counts.
        seconds: u32,
        of: LengthOf,
    },
    /// Only longer ones count; exactly this long does not.
    LongerThan {
        /// The longest length that does not count.
        seconds: u32,
        of: LengthOf,
    },
    /// Only shorter ones count; exactly this long does not.
    Below {
        /// The shortest length that does not count.
        seconds: u32,
        of: LengthOf,
    },
}

/// Which length is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LengthOf {
    /// The joined outage, before planned time, pauses and unreported time are cut out of it.
    BeforeCuts,
    /// All that is left of the joined outage afterwards, together.
    WhatIsLeft,
    /// Each piece that is left of it, by itself: time that was cut out parts one outage into several.
    EachPieceLeft,
}

/// Whose time is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// Each mailbox by its own time; what each is due is added.
    Mailbox,
    /// The account, by the time of all its mailboxes added up (user-minutes).
    MailboxMinutes,
    /// The account, by its worst mailbox.
    WorstMailbox,
    /// The account, which is down while any of its mailboxes is.
    Account,
}

/// What is measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Measure {
    /// One thing: (time promised - time down) / time promised.
    Uptime { of: TimePromised },
    /// One thing: 1 - the mean of the error rates of all intervals of the period, from the recorded samples.
    ErrorRate {
        /// The length of an interval.
        interval_seconds: u32,
        silent: Silent,
    },
    /// One thing: all time down of the period together.
    TimeDown,
    /// Each outage, by how long it lasted.
    Outages,
    /// Each day with time down.
    Days { days: DayKind, first_day: Whether, last_day: Whether, of: DaysOf },
    /// Each recorded event of this kind, such as `missed_appointment`.
    Events {
        /// The kind of event, as it is recorded.
        event: String,
        /// An event that the customer was told of so many hours ahead does not count. Left out where notice does not matter.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unless_notice_hours: Option<u32>,
    },
}

/// How much time is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimePromised {
    /// The whole period, even for a mailbox that was there for a part of it.
    WholePeriod,
    /// The part of the period in which the mailbox was there.
    WhileItExisted,
    /// Always this many minutes: 43200 for a month of 30 days.
    Minutes(u32),
}

/// An interval in which nobody asked for anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Silent {
    /// It counts, as one without an error.
    HasNoErrors,
    /// It is left out of the mean.
    IsLeftOut,
}

/// Which days are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DayKind {
    Calendar,
    /// Working days of the terms' calendar.
    Working,
}

/// Whether a day counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Whether {
    Counts,
    DoesNotCount,
}

/// Whether outages share a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DaysOf {
    /// Each outage has days of its own, numbered from 1.
    EachOutage,
    /// A day on which several outages fall is one.
    ThePeriod,
}

/// Which of its rows a measured thing falls into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// Whatever was measured pays the same.
    Always { pays: Pay },
    /// By uptime: of the tiers that were missed, the lowest pays.
    TiersByUptime {
        boundary: Boundary,
        /// From the highest uptime down.
        tiers: Vec<Tier>,
    },
    /// By how long: the first band that is not passed pays.
    BandsByLength {
        boundary: BandBoundary,
        /// From the shortest up; the last has no `seconds` and takes all that is longer.
        bands: Vec<Band>,
    },
    /// By uptime: `first` as soon as it is missed, and `each_further` for every whole `every_percent` below it.
    Steps { uptime_below: Percent, boundary: Boundary, first: Pay, every_percent: Percent, each_further: Pay },
    /// By the number of the day, after a grace.
    ByDay {
        grace: Grace,
        /// The row with the highest `from_day` that the day's number has reached pays.
        rows: Vec<DayRow>,
        /// Left out where there is no such limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_most: Option<AtMost>,
    },
}

/// Whether exactly the threshold is a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Boundary {
    Below,
    AtOrBelow,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// The threshold in percent; exactly this belongs to the tier only where `boundary` says so.
    pub uptime_below: Percent,
    pub pays: Pay,
}

/// Which band exactly its length belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BandBoundary {
    /// To the band that ends there.
    UpToAndWith,
    /// To the band that begins there.
    UpToWithout,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Band {
    /// Where it ends. The last band has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u32>,
    pub pays: Pay,
}

/// Days that pay nothing yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Grace {
    /// Counted from the first day that counts; 0 where there is none.
    pub days: u32,
    pub of: DayKind,
    pub first_payment: FirstPayment,
}

/// Which day is paid for first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FirstPayment {
    /// For the day at whose end the grace runs out.
    OnTheLastDayOfGrace,
    /// For the day after it.
    OnTheDayAfterGrace,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DayRow {
    /// The number of the first day of this row; the days of the grace are numbered too.
    pub from_day: u32,
    pub pays: Pay,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AtMost {
    /// Later days pay nothing; the first payment is number 1.
    pub payments: u32,
    /// Left out where the limit always holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
}

/// What one measured thing is due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Pay {
    Nothing,
    /// This share of the base.
    Percent(Percent),
    /// This share of the base, as a fraction: `1/30` for a day of a month of thirty, `12/52` for a week of free service.
    Fraction(Ratio),
    /// This amount, in the currency of the terms.
    Amount(Figure),
    /// So many days of service. Paid as a credit, each is worth the base over the days of the period.
    ServiceDays(u32),
    /// The share of the base for the time lost (of the time promised), times a multiplier.
    ProRata {
        multiplier: Figure,
    },
    /// Something for each unit of time down.
    ForEach {
        /// The length of a unit.
        seconds: u32,
        count: UnitCount,
        /// Time that pays nothing, before the first unit; 0 where there is none.
        after_seconds: u32,
        /// Time that pays nothing beside that, as a share of the time promised: what the promise allows. Left out where there
        /// is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after_percent: Option<Percent>,
        pays: Box<Pay>,
    },
    /// The one that is worth most.
    GreaterOf(Vec<Pay>),
    /// All of them.
    SumOf(Vec<Pay>),
    /// What is in force on the day (of an outage or a period: on its first day): the row with the latest `from`.
    Dated(Vec<DatedPay>),
    /// Only under these circumstances.
    Only {
        when: When,
        pays: Box<Pay>,
    },
    /// By the worst impact of what counts.
    ByImpact {
        full: Box<Pay>,
        degraded: Box<Pay>,
        delayed: Box<Pay>,
    },
}

/// What becomes of a unit that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnitCount {
    /// It counts as a whole one.
    Started,
    /// It does not count.
    Full,
    /// It counts as the part that it is.
    Exact,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatedPay {
    /// The first day on which it is in force.
    pub from: NaiveDate,
    pub pays: Pay,
}

/// What a share is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Base {
    /// Nothing: only amounts and service days are paid.
    None,
    /// What was really charged for the days of the period.
    ChargedFee { of: FeeOf, tax: Tax, charges: ChargeChoice },
    /// What the price list says for one period, whatever was charged.
    PriceList { of: FeeOf, price: Figure },
}

/// Whose fee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeeOf {
    /// The fee of each mailbox that is due something.
    AffectedMailboxes,
    /// The fee of the account's whole subscription.
    WholeAccount,
}

/// With or without tax.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tax {
    Included,
    Excluded,
}

/// Which charges make the fee, by their `item`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChargeChoice {
    All,
    /// Those for one of these items, added.
    Only(Vec<String>),
    /// Of these items, the one that cost most in the period.
    GreaterOf(Vec<String>),
}

/// The most that one remedy pays for a mailbox, or for the account where it is judged as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Limit {
    /// In the period, at most this share of the base.
    PercentOfBase { percent: Percent },
    /// In the period, at most this amount.
    Amount { amount: Figure },
    /// For each outage, at most this share of the base.
    PercentOfBasePerOutage { percent: Percent },
    /// For each outage, at most this amount.
    AmountPerOutage { amount: Figure },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Multiplier {
    pub by: Figure,
    /// Left out where it always applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
}

impl When {
    /// Whether the condition holds under these circumstances.
    pub fn holds(&self, circumstances: &[String]) -> bool {
        self.all_of.iter().all(|word| circumstances.contains(word))
            && !self.none_of.iter().any(|word| circumstances.contains(word))
    }
}

impl Remedy {
    /// How often it is judged: once, or once for each capability that is judged alone.
    pub fn strands(&self) -> usize {
        match self.down.rule {
            Rule::Any | Rule::All => 1,
            Rule::Each => self.down.capabilities.len(),
        }
    }

    /// What announced work means here: its own words, or those of the terms.
    pub fn planned<'a>(&'a self, terms: &'a Terms) -> &'a Planned {
        self.planned.as_ref().unwrap_or(&terms.planned)
    }

    /// Whether it applies under these circumstances.
    pub fn applies(&self, circumstances: &[String]) -> bool {
        self.when.as_ref().is_none_or(|when| when.holds(circumstances))
    }
}

impl Pay {
    /// This expression and all that are in it.
    pub fn all(&self) -> Vec<&Pay> {
        let mut found = vec![self];
        let mut next = 0;
        while let Some(pay) = found.get(next).copied() {
            match pay {
                Pay::Nothing
                | Pay::Percent(_)
                | Pay::Fraction(_)
                | Pay::Amount(_)
                | Pay::ServiceDays(_)
                | Pay::ProRata { .. } => {}
                Pay::ForEach { pays, .. } | Pay::Only { pays, .. } => found.push(pays),
                Pay::GreaterOf(several) | Pay::SumOf(several) => found.extend(several),
                Pay::Dated(rows) => found.extend(rows.iter().map(|row| &row.pays)),
                Pay::ByImpact { full, degraded, delayed } => found.extend([&**full, &**degraded, &**delayed]),
            }
            next += 1;
        }
        found
    }

    /// Whether it pays nothing where no time was lost, whatever else holds.
    pub fn grows_with_time(&self) -> bool {
        match self {
            Pay::Nothing | Pay::ProRata { .. } | Pay::ForEach { .. } => true,
            Pay::Percent(_) | Pay::Fraction(_) | Pay::Amount(_) | Pay::ServiceDays(_) => false,
            Pay::GreaterOf(several) | Pay::SumOf(several) => several.iter().all(Pay::grows_with_time),
            Pay::Dated(rows) => rows.iter().all(|row| row.pays.grows_with_time()),
            Pay::Only { pays, .. } => pays.grows_with_time(),
            Pay::ByImpact { full, degraded, delayed } => {
                [full, degraded, delayed].iter().all(|pays| pays.grows_with_time())
            }
        }
    }
}

impl Schedule {
    /// The highest threshold of a schedule by uptime: what is promised. None where no uptime is.
    pub fn promised(&self) -> Option<Percent> {
        match self {
            Schedule::TiersByUptime { tiers, .. } => {
                tiers.iter().map(|tier| tier.uptime_below).max_by_key(|threshold| threshold.decimal())
            }
            Schedule::Steps { uptime_below, .. } => Some(*uptime_below),
            Schedule::Always { .. } | Schedule::BandsByLength { .. } | Schedule::ByDay { .. } => None,
        }
    }

    /// How many payments there are at most, for days.
    pub fn at_most(&self) -> Option<&AtMost> {
        match self {
            Schedule::ByDay { at_most, .. } => at_most.as_ref(),
            Schedule::Always { .. }
            | Schedule::TiersByUptime { .. }
            | Schedule::BandsByLength { .. }
            | Schedule::Steps { .. } => None,
        }
    }

    /// What each row pays, with its place in the document.
    pub fn pays(&self) -> Vec<(String, &Pay)> {
        match self {
            Schedule::Always { pays } => vec![("/pays".to_owned(), pays)],
            Schedule::TiersByUptime { tiers, .. } => {
                tiers.iter().enumerate().map(|(row, tier)| (format!("/tiers/{row}/pays"), &tier.pays)).collect()
            }
            Schedule::BandsByLength { bands, .. } => {
                bands.iter().enumerate().map(|(row, band)| (format!("/bands/{row}/pays"), &band.pays)).collect()
            }
            Schedule::Steps { first, each_further, .. } => {
                vec![("/first".to_owned(), first), ("/each_further".to_owned(), each_further)]
            }
            Schedule::ByDay { rows, .. } => {
                rows.iter().enumerate().map(|(row, one)| (format!("/rows/{row}/pays"), &one.pays)).collect()
            }
        }
    }
}
