//! The sum: what one account's mailboxes went through in one period, against the terms, in money.
//!
//! Always the same order, and swapping two steps gives other money: windows, capability rule, laid over placements, joined,
//! planned time cut, clock, minimum length, cut to the period, weighted, measured, schedule, base, combined, capped, rounded,
//! payout. Nothing here makes sentences: see [`super::receipt`].

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::charge::Charge;
use super::ids::WindowId;
use super::money::{Currency, Money, MoneyError};
use super::period::{Month, Zone};
use super::placement::MailboxHistory;
use super::ratio::{Overflow, Ratio};
use super::terms::{Percent, Terms};
use super::time::{Instant, Interval};
use super::window::{Capability, Impact, OutageWindow};

/// All that a sum depends on. The same inputs give the same sum, in whatever order their lists are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    pub account: AccountFacts,
    /// The zone that terms mean by `operator`.
    pub operator_zone: Zone,
    /// The operator's reference of the subscription.
    pub subscription: String,
    pub plan: String,
    pub period: Month,
    pub terms_version: i32,
    pub terms: Terms,
    pub mailboxes: Vec<MailboxHistory>,
    /// The windows that touch a shard of the account, or all; others do no harm.
    pub windows: Vec<OutageWindow>,
    /// The charges of the subscription whose service dates touch the period.
    pub charges: Vec<Charge>,
    /// Up to when an open window lasts.
    pub as_of: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountFacts {
    pub reference: String,
    pub name: String,
    pub zone: Zone,
    pub currency: Currency,
}

/// The result, with every part that it is made of. All times are in microseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assessment {
    /// The zone that the terms chose, and the period as time in it.
    pub zone: Zone,
    pub period: Interval,
    /// The windows that touched a mailbox in the period, by start.
    pub lines: Vec<Line>,
    /// Mailboxes with one history each, the worst first.
    pub groups: Vec<Group>,
    pub total: Total,
    /// What each missed tier is worth, the lowest uptime first.
    pub parts: Vec<Part>,
    /// What was charged for one mailbox, and for all, in the period; none where nothing was due or no charge was found.
    pub fees: Option<Fees>,
    /// The sum of the parts, and what caps left of it: exact, in major units, not yet money.
    pub exact: Ratio,
    pub capped: Ratio,
    pub outcome: Outcome,
    /// Why a credit run must hold the account back. The sum is made as far as it can be.
    pub blockers: Vec<Blocker>,
}

/// One window as the account felt it. `measured_micros` is `counted_micros` and all of `uncounted` together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub window: WindowId,
    pub version: i32,
    pub capability: Capability,
    pub impact: Impact,
    pub start: Instant,
    /// None while it goes on.
    pub end: Option<Instant>,
    pub notice: Option<Notice>,
    /// How many mailboxes it touched.
    pub mailboxes: usize,
    /// Whose figures follow: an index into `groups`. The worst group, if the window touched it at all, so that these lines
    /// add up to `total`; else the group that it cost most.
    pub group: usize,
    pub measured_micros: i64,
    pub counted_micros: i64,
    pub uncounted: Vec<Uncounted>,
    /// What lies before or after the period: not part of `measured_micros`, it belongs to another month.
    pub outside_period_micros: i64,
}

/// What was said ahead of planned work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    pub announced_at: Instant,
    pub announced: Interval,
    /// From the announcement to the announced start; below zero when it came afterwards.
    pub notice_micros: i64,
    /// Whether the terms excuse it for that.
    pub enough: bool,
}

/// Time of a line that did not count, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uncounted {
    pub micros: i64,
    pub why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Why {
    /// The same minutes count once, in the line of this index.
    Overlap { line: usize },
    /// Excused: within the planned work of the line of this index (itself, mostly).
    Planned { line: usize },
    /// Found not to have happened.
    Retracted,
    /// The terms promise nothing for this capability.
    NotPromised,
    /// A delay shorter than the terms count.
    DelayTooShort,
    /// The terms do not count what works in part, or late.
    ImpactNotCounted,
    /// The terms want all capabilities lost at once, and one worked.
    OtherCapabilityWorked,
    /// The outage was shorter than the terms count.
    OutageTooShort,
}

/// Mailboxes that lived on the same shards at the same times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    pub mailboxes: Vec<String>,
    /// Where they lived in the period. Stays overlap where two sources disagree.
    pub stays: Vec<Stay>,
    pub contested: bool,
    /// The time promised: the denominator.
    pub promised_micros: i64,
    /// Time that counts as down, before weighing.
    pub counted_micros: i64,
    /// The same, weighed: exact microseconds.
    pub weighted_micros: Ratio,
    /// Time excused as planned work.
    pub excused_micros: i64,
    /// Uptime as a part of one; exact.
    pub uptime: Ratio,
    /// Which tier was missed: an index into the terms' list; none when the promise was kept.
    pub tier: Option<usize>,
    pub lines: Vec<GroupLine>,
    /// The period as it went for them, for a picture: sorted, apart, equal neighbours joined; what is left out worked.
    pub pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stay {
    pub interval: Interval,
    pub shard: String,
}

/// One window as one group felt it: see [`Line`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupLine {
    /// An index into the assessment's lines.
    pub line: usize,
    pub measured_micros: i64,
    pub counted_micros: i64,
    pub uncounted: Vec<Uncounted>,
    pub outside_period_micros: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    pub interval: Interval,
    pub kind: PieceKind,
    /// The line that it comes from: the one that counts, where several are at once.
    pub line: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PieceKind {
    /// Counted, and nothing worked.
    Down,
    /// Counted, and it worked in part or late.
    Slow,
    /// Excused as planned work.
    Planned,
    /// Recorded, and not counted for another reason.
    NotCounted,
}

/// The account in one line: of its worst mailbox, and how many there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Total {
    pub mailboxes: usize,
    /// Mailboxes with any time that counts as down.
    pub affected: usize,
    /// Mailboxes whose promise was missed.
    pub missed: usize,
    pub measured_micros: i64,
    pub counted_micros: i64,
    pub weighted_micros: Ratio,
    pub uptime: Ratio,
    /// The threshold of the first tier: what was promised.
    pub promised: Percent,
    /// The most downtime that keeps the promise, for a mailbox that was there all the time promised; exact microseconds.
    pub allowed_micros: Ratio,
    /// The worst mailbox's tier.
    pub tier: Option<usize>,
}

/// `mailboxes` x fee x percent = `exact`, in major units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    pub tier: usize,
    pub credit_percent: Percent,
    pub mailboxes: usize,
    pub exact: Ratio,
}

/// In major units, tax included, exact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fees {
    pub per_mailbox: Ratio,
    pub whole: Ratio,
    /// The numbers of the charges that it comes from.
    pub charges: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    Credit { amount: Money },
    NothingDue { why: NothingWhy },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NothingWhy {
    /// The account had no mailbox in the period.
    NoMailboxes,
    /// No window touched a mailbox of the account.
    NoOutage,
    /// Windows did, and none of their time counts.
    NothingCounted,
    /// Time counted, within what was promised.
    PromiseKept,
    /// The promise was missed, and the sum is nothing: nothing was charged, or less than half a cent is due.
    NothingToCredit,
}

/// Why money must not move yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Blocker {
    /// The period has not ended at `as_of`.
    PeriodNotOver { ends: Instant },
    /// It has no end yet.
    WindowOpen { window: WindowId },
    /// Nobody has signed it off.
    WindowNotConfirmed { window: WindowId },
    /// Nobody has signed it off, and those who reported it disagree.
    WindowDisputed { window: WindowId },
    /// Two directories disagree about where it lived.
    ContestedPlacement { mailbox: String },
    /// No charge is for these days of service: the first, and the first day after them.
    MissingCharge { from: NaiveDate, to: NaiveDate },
    /// Several charges are for the same days, and which of them is the fee is not said.
    ChargesOverlap { numbers: Vec<String> },
    /// The plan has no terms for the period. For whoever loads the inputs: without terms there is no sum.
    TermsMissing { plan: String },
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
    #[error("charge {number} is there twice, with two contents")]
    ChargeTwice { number: String },
    #[error("charge {number} cannot be divided: it is for no days, or for no mailboxes")]
    ChargeForNothing { number: String },
    #[error("charge {number} is in {charged}, the account in {account}")]
    OtherCurrency { number: String, charged: Currency, account: Currency },
    #[error("the terms have no tiers")]
    NoTiers,
    #[error(transparent)]
    Overflow(#[from] Overflow),
    #[error(transparent)]
    Money(#[from] MoneyError),
}
