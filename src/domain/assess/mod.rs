//! The sum: what one account's mailboxes went through in one period, against the terms, in money.
//!
//! Always the same order, and swapping two steps gives other money: windows, capability rule, laid over placements, joined,
//! planned and excused time cut, clock, length, cut to the period, weighted, measured, schedule, base, combined, capped,
//! rounded, payout. Nothing here makes sentences: see [`crate::domain::receipt`].

pub mod assessment;
mod base;
mod combine;
mod due;
mod excuse;
mod laid;
mod measure;
mod overlay;
mod pay;
pub mod running;
mod stays;
mod strand;

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::assessment::{Assessment, Blocker, Strand};
use self::strand::Slice;
use crate::domain::calendar::Calendar;
use crate::domain::charge::Charge;
use crate::domain::ids::WindowId;
use crate::domain::money::{Currency, Money, MoneyError};
use crate::domain::period::{ServicePeriod, Zone};
use crate::domain::placement::MailboxHistory;
use crate::domain::ratio::Overflow;
use crate::domain::remedy::Rule;
use crate::domain::terms::{ChangeInPeriod, Terms, ZoneOf};
use crate::domain::time::{Instant, Interval, TimeError};
use crate::domain::window::{Capability, OutageWindow};

/// All that a sum depends on. The same inputs give the same sum, in whatever order their lists are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    pub account: AccountFacts,
    /// The zone that terms mean by `operator`.
    pub operator_zone: Zone,
    /// The operator's reference of the subscription.
    pub subscription: String,
    /// The last day of the subscription's term, for terms that add service days to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term_ends: Option<NaiveDate>,
    pub period: ServicePeriod,
    /// The terms that were in force, from the earliest on. The last one governs what is common to all.
    pub agreements: Vec<Agreement>,
    pub mailboxes: Vec<MailboxHistory>,
    /// The windows that touch a shard of the account, or all; others do no harm.
    pub windows: Vec<OutageWindow>,
    /// The charges of the subscription whose service dates touch the period.
    pub charges: Vec<Charge>,
    /// The holiday calendars that terms name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calendars: Vec<Calendar>,
    /// When the customer reported that something did not work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reports: Vec<Instant>,
    /// Time in which a clock may stand still.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pauses: Vec<Pause>,
    /// Counted requests, for terms that measure error rates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Sample>,
    /// Things that happened once, such as a missed appointment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    /// Words that hold of the account in the period: `business`, `alternative_service`, `requested`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub circumstances: Vec<String>,
    /// What was given for the same time on another road, such as a price reduction.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub already_given: Vec<Given>,
    /// What happened before the period; none where nobody said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
    /// When the customer asked for it; none where he did not, or need not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<Instant>,
    /// Up to when an open window lasts.
    pub as_of: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountFacts {
    pub reference: String,
    pub name: String,
    pub zone: Zone,
    pub currency: Currency,
}

/// One version of the terms of one plan, and from when on it was in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    pub from: Instant,
    pub plan: String,
    pub terms_version: i32,
    pub terms: Terms,
}

/// Time in which a clock may stand still: terms say which kinds do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    pub kind: String,
    pub interval: Interval,
}

/// Requests counted in `intervals` intervals one after the other, each alike: so many requests, of which so many failed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    pub of: Capability,
    pub start: Instant,
    pub intervals: u32,
    pub errors: u64,
    pub requests: u64,
}

/// Something that happened once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Event {
    pub kind: String,
    pub at: Instant,
    /// When the customer was told of it ahead; none where he was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced_at: Option<Instant>,
}

impl Event {
    /// From the announcement to the event; zero where there was none.
    pub fn notice_micros(&self) -> i64 {
        self.announced_at.map_or(0, |told| self.at.micros() - told.micros())
    }
}

/// Money that was given before for the same time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// As terms name it: `price_reduction`, `goodwill`.
    pub kind: String,
    pub amount: Money,
}

/// What terms that look back need to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// Planned time that was excused in the calendar year, before the period.
    pub excused_this_year_micros: i64,
    /// What was paid under this promise in the eleven months before.
    pub paid_before: Money,
}

/// Why there is no sum. A fault of the data, named so that somebody can mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssessError {
    #[error("{source_name} says two things about mailbox {mailbox} at {from}")]
    PlacementContradictsItself { mailbox: String, source_name: String, from: Instant },
    #[error("mailbox {mailbox} is there twice, with two histories")]
    MailboxTwice { mailbox: String },
    #[error("version {version} of window {window} is there twice, with two contents")]
    WindowTwice { window: WindowId, version: i32 },
    #[error("the reach of window {window} says that more were hit than there are")]
    ReachBeyondAll { window: WindowId },
    #[error("charge {number} is there twice, with two contents")]
    ChargeTwice { number: String },
    #[error("charge {number} cannot be divided: it is for no days, or for no mailboxes")]
    ChargeForNothing { number: String },
    #[error("charge {number} is in {charged}, the account in {account}")]
    OtherCurrency { number: String, charged: Currency, account: Currency },
    #[error("the terms state amounts in {terms}, the account is billed in {account}")]
    TermsInOtherCurrency { terms: Currency, account: Currency },
    #[error("the sample at {at} counts more errors than requests")]
    MoreErrorsThanRequests { at: Instant },
    #[error("the samples are for {sampled} intervals, and the period has only {intervals}")]
    TooManySamples { sampled: u64, intervals: u64 },
    #[error("{period} is not a period as the terms mean it")]
    OtherPeriod { period: ServicePeriod },
    #[error("there are no terms from the beginning of the period on")]
    NoTerms,
    #[error("two terms are in force from {from} on")]
    TermsTwice { from: Instant },
    #[error(transparent)]
    Time(#[from] TimeError),
    #[error(transparent)]
    Overflow(#[from] Overflow),
    #[error(transparent)]
    Money(#[from] MoneyError),
}

impl Inputs {
    /// The terms that govern what is common to all of the period: the last ones in it.
    pub fn terms(&self) -> Option<&Terms> {
        self.agreement().map(|agreement| &agreement.terms)
    }

    /// The agreement whose terms govern.
    pub fn agreement(&self) -> Option<&Agreement> {
        self.agreements.iter().max_by_key(|agreement| agreement.from)
    }
}

/// Assesses one account, one subscription, one period.
pub fn assess(inputs: &Inputs) -> Result<Assessment, AssessError> {
    let terms = inputs.terms().ok_or(AssessError::NoTerms)?;
    if !inputs.period.is(terms.time.period) {
        return Err(AssessError::OtherPeriod { period: inputs.period });
    }
    for currency in inputs.agreements.iter().filter_map(|agreement| agreement.terms.currency) {
        if currency != inputs.account.currency {
            return Err(AssessError::TermsInOtherCurrency { terms: currency, account: inputs.account.currency });
        }
    }
    let zone = zone(inputs, terms);
    let period = inputs.period.interval(zone);
    let (timed, horizon) = laid::timed(inputs, period)?;
    let mut blockers = Vec::new();
    if inputs.as_of < period.end() {
        blockers.push(Blocker::PeriodNotOver { ends: period.end() });
    }
    let mut strands: Vec<Strand> = Vec::new();
    for slice in slices(inputs, terms, period)? {
        let terms = slice.terms;
        let world = strand::World { inputs, zone, period, timed: &timed, horizon };
        for (index, remedy) in terms.remedies.iter().enumerate() {
            let alone: Vec<Option<&Capability>> = match remedy.down.rule {
                Rule::Any | Rule::All => vec![None],
                Rule::Each => remedy.down.capabilities.iter().map(Some).collect(),
            };
            for capability in alone {
                strands.push(strand::strand(&world, &slice, index, remedy, capability, &mut blockers)?);
            }
        }
    }
    combine::combine(inputs, terms, zone, period, strands, blockers)
}

/// The zone whose midnights the period begins and ends at.
fn zone(inputs: &Inputs, terms: &Terms) -> Zone {
    match terms.time.zone {
        ZoneOf::Account => inputs.account.zone,
        ZoneOf::Operator => inputs.operator_zone,
        ZoneOf::Named { zone } => zone,
    }
}

/// Which terms judge what: the last ones all of the period, unless they say that others had their part.
fn slices<'a>(inputs: &'a Inputs, last: &Terms, period: Interval) -> Result<Vec<Slice<'a>>, AssessError> {
    let mut sorted: Vec<(usize, &Agreement)> = inputs.agreements.iter().enumerate().collect();
    sorted.sort_by_key(|(_, agreement)| agreement.from);
    if let Some(twice) = sorted.windows(2).find(|pair| pair[0].1.from == pair[1].1.from) {
        return Err(AssessError::TermsTwice { from: twice[0].1.from });
    }
    if sorted.first().is_none_or(|(_, first)| first.from > period.start()) {
        return Err(AssessError::NoTerms);
    }
    let until = |index: usize| sorted.get(index + 1).map_or(Instant::MAX, |(_, next)| next.from);
    let slice = |index: usize, span: Interval, began: Option<Interval>| {
        sorted.get(index).map(|(agreement, one)| Slice { agreement: *agreement, terms: &one.terms, span, began })
    };
    let in_force = (0..sorted.len())
        .filter_map(|index| Interval::new(sorted[index].1.from, until(index)).ok().map(|force| (index, force)));
    let slices: Vec<Slice<'a>> = match last.change_in_period {
        ChangeInPeriod::TermsAtPeriodEnd => slice(sorted.len() - 1, period, None).into_iter().collect(),
        ChangeInPeriod::SplitPeriod => in_force
            .filter_map(|(index, force)| force.intersection(period).and_then(|span| slice(index, span, None)))
            .collect(),
        ChangeInPeriod::TermsAtOutage if sorted.len() == 1 => slice(0, period, None).into_iter().collect(),
        ChangeInPeriod::TermsAtOutage => {
            in_force.filter_map(|(index, force)| slice(index, period, Some(force))).collect()
        }
    };
    Ok(slices)
}

/// The first instant at which it is too late to ask for what the terms pay on request; none where there is none.
pub(in crate::domain) fn deadline(inputs: &Inputs, terms: &Terms, sum: &Assessment) -> Option<Instant> {
    combine::deadline(inputs, terms, sum)
}
