//! SLA terms: what a plan promises and pays, as a document that a contract manager writes.
//!
//! Every reading that a contract may leave open is a word that must be there: no field on which money depends has a
//! default. A clause that a contract does not have is left out (`when`, `multiplier`, `at_most`) or is an empty list that
//! must be written (`limits`, `caps`, `set_off`, `floors`). What a remedy pays is in [`crate::domain::remedy`].

mod lint;
mod needs;
pub mod percent;
pub mod remedy;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::percent::{Figure, Percent};
use self::remedy::Remedy;
use crate::domain::calendar::DayHours;
use crate::domain::document;
use crate::domain::money::{Currency, Rounding};
use crate::domain::period::{PeriodKind, Zone};
use crate::domain::refusal::Refusal;
use crate::domain::unreadable;

/// One version of what a plan promises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    pub format: Format,
    /// What customers call it: `Business Mail`.
    pub name: String,
    /// Which promise of the plan this is, such as `availability`: part of a credit's cause.
    pub promise: String,
    /// The currency of every amount in this document. Must be there when an amount is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    pub time: TimeTerms,
    pub planned: Planned,
    pub clock: Clock,
    /// What is paid for what. Each remedy is judged by itself; `combination` makes one result of them.
    pub remedies: Vec<Remedy>,
    pub combination: Combination,
    /// Which kinds of what was given before (`already_given`) are taken off. None (an empty list) must be said too.
    pub set_off: Vec<String>,
    /// The most that is paid for all remedies together. None (an empty list) must be said too.
    pub caps: Vec<Cap>,
    pub rounding: RoundingTerms,
    /// What becomes of small amounts, after rounding. None (an empty list) must be said too.
    pub floors: Vec<Floor>,
    pub payout: Payout,
    pub payment: Payment,
    /// What the customer may do beside being paid. Recorded on the receipt; no money depends on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rights: Vec<Right>,
    /// What a customer who asks has to bring, such as `request_logs`. Recorded on the receipt; no money depends on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    pub change_in_period: ChangeInPeriod,
}

/// What a document is, and in which version of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Format {
    #[serde(rename = "makegood.terms/1")]
    V1,
}

/// Whose time, which period, and which hours of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeTerms {
    pub zone: ZoneOf,
    pub period: PeriodKind,
    pub edges: Edges,
    pub hours: Hours,
    /// What becomes of time of which nobody knows whether the service worked, since all who watch it were silent. Left out
    /// where the contract does not say: such time does not count, and what is due is held back until somebody has found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<UnknownTime>,
    /// The holiday calendar that says which days are working days. Must be there when `hours`, `days` or a grace need one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar: Option<String>,
}

/// Who bears the time of which nobody knows whether the service worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnknownTime {
    /// The operator: it counts as if it had been down.
    Counts,
    /// The customer: it does not count.
    DoesNotCount,
}

/// Whose midnight a period and a day begin at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ZoneOf {
    /// The account's own.
    Account,
    /// The operator's.
    Operator,
    /// The one that the contract names.
    Named { zone: Zone },
}

/// What becomes of an outage that crosses the edge of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Edges {
    /// It is cut: each period has the part that lies in it.
    Cut,
    /// All of it belongs to the period in which it began.
    WhereItBegan,
    /// All of it belongs to the period in which it ended.
    WhereItEnded,
}

/// In which hours the service is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Hours {
    /// At all times.
    Always,
    /// In the calendar's working hours only: other time is neither promised nor down.
    WorkingHours,
}

/// Work that was announced, and fixed hours for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Planned {
    /// It counts like any outage.
    Counts,
    /// It does not count within the announced interval, where it was announced at least `minimum_notice_hours` before the
    /// interval began.
    Excused {
        /// From the announcement to the announced beginning; exactly so many hours are enough.
        minimum_notice_hours: u32,
        removes_from: RemovesFrom,
        overrun: Overrun,
        /// The most that is excused in a calendar year; the earliest minutes use it up. Left out where there is no limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        yearly_allowance_hours: Option<u32>,
    },
    /// Nothing counts within these hours of the week, announced or not.
    FixedHours { hours: Vec<DayHours>, removes_from: RemovesFrom },
}

/// What is taken out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RemovesFrom {
    /// Only the downtime.
    Numerator,
    /// The downtime and the time promised.
    NumeratorAndDenominator,
}

/// Planned work that lasts longer than was announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overrun {
    /// What runs over counts.
    CountsFromTheAnnouncedEnd,
    /// All of the work counts, from its beginning.
    CountsFromTheStart,
}

/// When the time of an outage runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    pub starts: ClockStart,
    /// What stops it, by the kind of the recorded pause. None (an empty list) must be said too.
    pub pauses: Vec<PauseTerms>,
}

/// From when on the time of an outage runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClockStart {
    /// When the outage began, whether or not somebody reported it.
    WhenItBegan,
    /// When the customer first reported it. An outage that he never reported does not count.
    WhenReported,
}

/// A recorded pause that these terms know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseTerms {
    /// As it is recorded: `waiting_for_customer`, `no_power`, `suspended`.
    pub kind: String,
    /// How long after its end the clock stands still; 0 where it runs on at once.
    pub and_hours_after: u32,
    pub removes_from: RemovesFrom,
}

/// How the results of several remedies become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Combination {
    /// They are added.
    Sum,
    /// The one that pays most; the others pay nothing.
    BestOf,
}

/// The most that is paid for all remedies together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Cap {
    /// At most this share of everything charged for the period.
    PercentOfPeriodFee { percent: Percent },
    /// At most this amount for the period.
    AmountPerPeriod { amount: Figure },
    /// At most this amount in twelve months, with what was paid in the eleven before.
    AmountPerTwelveMonths { amount: Figure },
    /// At most so many service days for the period.
    ServiceDaysPerPeriod {
        /// At least 1.
        days: u32,
    },
}

/// How a figure becomes money, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoundingTerms {
    pub mode: Rounding,
    pub at: RoundingPoint,
}

/// The one point where a figure becomes money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoundingPoint {
    /// Once, at the very end.
    AccountTotal,
    /// Each mailbox's result; the total is the sum of rounded amounts.
    EachMailbox,
    /// Each outage, day or event that is paid; the total is the sum of rounded amounts.
    EachItem,
}

/// What becomes of small amounts, after rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Floor {
    /// Nothing is paid unless it is more than this.
    PaidOnlyAbove { amount: Figure },
    /// Nothing is paid unless it is at least this.
    PaidOnlyFrom { amount: Figure },
    /// What is due and less becomes this.
    RaisedTo { amount: Figure },
}

/// How it is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Payout {
    /// A credit on a bill.
    CreditOnBill,
    /// Money, outside the bill.
    Cash,
    /// Service days are added to the end of the term; no money.
    ServiceDaysAtEndOfTerm,
    /// A credit on a bill; a service day is worth its remedy's base over the days of the period.
    ServiceDaysAsCredit,
}

/// Whether somebody has to ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Payment {
    /// A run at the close of the period credits it.
    Automatic,
    /// The customer asks; the claim is filled in for him.
    OnRequest { within: RequestWithin },
}

/// Until when a customer may ask; who asks later gets nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestWithin {
    AnyTime,
    /// Until the end of this many calendar days after the first day that follows the period.
    Days(u32),
    /// Until so many hours after the last outage that counts was over.
    HoursAfterOutage(u32),
    /// Until the end of this many calendar months after the month in which the period ended.
    Months(u32),
}

/// What the customer may do, and when. Recorded without money.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Right {
    /// `terminate`
    pub name: String,
    #[serde(rename = "if")]
    pub condition: RightIf,
}

/// When a right is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RightIf {
    /// The worst mailbox's uptime is below this.
    UptimeBelow(Percent),
    /// One outage of a mailbox counts for at least so many hours.
    OutageAtLeastHours(u32),
    /// The worst mailbox was down for at least so many hours of the period.
    DownAtLeastHours(u32),
}

/// Which terms judge a period in which the plan or its terms changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeInPeriod {
    /// Each judges its part as if that were a period of its own: its time, its fee. The results are added.
    SplitPeriod,
    /// Each judges the outages that began under it, against the whole period and its fee. The results are added.
    TermsAtOutage,
    /// Those at the end of the period judge all of it.
    TermsAtPeriodEnd,
}

/// Something that keeps terms from being published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A JSON pointer into the document, such as `/remedies/0/schedule/tiers/1/uptime_below`.
    pub pointer: String,
    /// The line of the document, where there is one: see [`Terms::lint_text`].
    pub line: Option<u64>,
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}, ")?;
        }
        write!(f, "{}: {}", self.pointer, self.message)
    }
}

impl Terms {
    /// Reads a document in YAML or JSON. What is unknown, missing or no such word is refused with its line; whether the
    /// whole makes sense is for [`Terms::lint`].
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        document::parse_wholly(text)
    }

    /// Reads a document that is JSON already. The refusal names the place, by a JSON pointer, where it is known.
    pub fn from_json(document: &serde_json::Value) -> Result<Self, Refusal> {
        let terms = Terms::deserialize(document)
            .map_err(|error| Refusal::field("", format!("The terms cannot be read: {error}")))?;
        match document::unread(document, &terms) {
            Some(pointer) => Err(Refusal::field(&pointer, unreadable::unread(&pointer))),
            None => Ok(terms),
        }
    }

    /// Reads a document and says what is wrong with it, by line.
    pub fn lint_text(text: &str) -> Result<(Self, Vec<Finding>), Refusal> {
        let terms = Terms::parse(text)?;
        let lines = document::Lines::of(text);
        let placed = |finding: Finding| {
            let line = lines.as_ref().map(|lines| lines.line(&finding.pointer));
            Finding { line, ..finding }
        };
        let findings = terms.lint().into_iter().map(placed).collect();
        Ok((terms, findings))
    }

    /// SHA-256 of the document's meaning, in hexadecimal: notation, comments and the order of fields do not matter.
    pub fn hash(&self) -> String {
        document::hash(self)
    }

    /// The JSON Schema of the document, as it is published.
    pub fn schema() -> serde_json::Value {
        document::schema::<Terms>()
    }
}
