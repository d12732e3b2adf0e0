//! What an assessment says: the result of a sum with every part that it is made of.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::domain::ids::WindowId;
use crate::domain::money::Money;
use crate::domain::percent::Percent;
use crate::domain::period::Zone;
use crate::domain::ratio::Ratio;
use crate::domain::time::{Instant, Interval};
use crate::domain::window::{Capability, Certainty, Impact, Reach};

/// The result, with every part that it is made of. All times are in microseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assessment {
    /// The zone that the terms chose, and the period as time in it.
    pub zone: Zone,
    pub period: Interval,
    /// Each remedy by itself, in the order of the terms; where capabilities are judged alone, each of them; where the terms
    /// changed in the period, those of each version.
    pub strands: Vec<Strand>,
    /// What the strands pay together: exact, in major units, not yet money.
    pub exact: Ratio,
    pub service_days: u32,
    /// What of the money due was given before and is taken off.
    pub set_off: Ratio,
    /// What caps left: money, with what service days are worth where they are paid as a credit; and the service days.
    pub capped: Ratio,
    pub capped_days: u32,
    /// Rounded, before floors.
    pub rounded: Money,
    pub outcome: Outcome,
    /// What the customer may do beside, by name.
    pub rights: Vec<String>,
    /// Why a credit run must hold the account back. The sum is made as far as it can be.
    pub blockers: Vec<Blocker>,
}

/// One remedy (or one capability of it), as far as one version of the terms judges it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Strand {
    /// Indexes into the inputs' agreements, and into the remedies of that one's terms.
    pub agreement: usize,
    pub remedy: usize,
    /// The one capability that is judged, where each is judged alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<Capability>,
    /// Whether the circumstances are those for which it is promised.
    pub applies: bool,
    /// Whether it counts in the total: where only the best remedy is paid, the others do not.
    pub is_paid: bool,
    /// The part of the period that is judged: all of it, unless the terms changed.
    pub span: Interval,
    /// The windows that touched a mailbox in the period, by start.
    pub lines: Vec<Line>,
    /// Mailboxes with one history each, the worst first.
    pub groups: Vec<Group>,
    pub total: Total,
    /// Where the account is judged as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Verdict>,
    /// How long the longest outage of one mailbox counts, before weighing.
    pub longest_micros: i64,
    /// When the last outage that counts was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_at: Option<Instant>,
    /// What was charged; none where nothing was due, no share of a fee is paid, or no charge was found.
    pub fees: Option<Fees>,
    /// What is paid, the worst mailboxes first.
    pub parts: Vec<Part>,
    /// The sum of the parts: exact, in major units.
    pub exact: Ratio,
    pub service_days: u32,
    /// What the service days are worth where they are paid as a credit: exact, in major units.
    pub days_worth: Ratio,
}

impl Assessment {
    /// The strand that says most about the period, for whoever shows one: that which pays most; else that which counted most.
    pub fn headline(&self) -> Option<&Strand> {
        let worth = |strand: &Strand| (strand.is_paid, strand.exact, strand.service_days, strand.total.counted_micros);
        self.strands.iter().reduce(|best, one| {
            let ((a_paid, a_exact, a_days, a_counted), (b_paid, b_exact, b_days, b_counted)) =
                (worth(best), worth(one));
            let order = a_paid
                .cmp(&b_paid)
                .then_with(|| a_exact.compared(b_exact).unwrap_or(Ordering::Equal))
                .then_with(|| (a_days, a_counted).cmp(&(b_days, b_counted)));
            if order == Ordering::Less { one } else { best }
        })
    }

    /// The longest that any strand counts for one mailbox, in microseconds.
    pub fn counted_micros(&self) -> i64 {
        self.strands.iter().map(|strand| strand.total.counted_micros).max().unwrap_or(0)
    }
}

/// One window as the account felt it. `measured_micros` is `counted_micros` and all of `uncounted` together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub window: WindowId,
    pub version: i32,
    pub capability: Capability,
    #[serde(default, skip_serializing_if = "Certainty::is_known")]
    pub certainty: Certainty,
    pub impact: Impact,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<Reach>,
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
    /// What lies before or after the period: not part of `measured_micros`, it belongs to another.
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
    /// Within hours that the terms keep free for work.
    FixedHours,
    /// Outside the hours in which the service is promised.
    OutsideHours,
    /// The clock stood still: an index into the inputs' pauses.
    Paused { pause: usize },
    /// Before the customer reported it.
    BeforeReport,
    /// The customer never reported it.
    NotReported,
    /// Nobody knows whether it worked, and the terms do not count such time.
    Unknown,
    /// Found not to have happened.
    Retracted,
    /// The terms promise nothing for this capability.
    NotPromised,
    /// A delay shorter than the terms count.
    DelayTooShort,
    /// The terms do not count what works in part, or late.
    ImpactNotCounted,
    /// It hit fewer than the terms count.
    TooFewHit,
    /// The terms want all capabilities lost at once, and one worked.
    OtherCapabilityWorked,
    /// The outage was shorter than the terms count.
    OutageTooShort,
    /// The outage was as long as, or longer than, the terms count here.
    OutageTooLong,
    /// It began under other terms, which judge it.
    OtherTerms,
    /// All of the outage belongs to the period in which it began, or ended.
    OtherPeriod,
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
    /// Which tier was missed: an index into the terms' list; none when the promise was kept, or is no such promise.
    pub tier: Option<usize>,
    /// What each of its mailboxes is due. None where the account is judged as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
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
    /// An index into the strand's lines.
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

/// What was measured, thing by thing, and what it is due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// All that was measured, by time; equal neighbouring days are one item.
    pub items: Vec<Item>,
    /// All items together, after the remedy's limits and before its multiplier.
    pub due: Due,
    /// What the limits left of the amount of one mailbox, where they took something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited_to: Option<Ratio>,
}

/// One measured thing, or several days alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    pub measured: Measured,
    /// Which row of the schedule it fell into; none where it pays nothing for being none of them.
    pub row: Option<usize>,
    /// What all of it is due, before limits.
    pub due: Due,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Measured {
    /// The whole period: time down, weighed, and the share of what was promised that was kept.
    Period { down_micros: Ratio, uptime: Ratio },
    /// The mean error rate of the period's intervals.
    ErrorRate { intervals: u64, error_rate: Ratio, uptime: Ratio },
    /// One outage: from the first to the last time that counts, and how much of that does, weighed.
    Outage { interval: Interval, down_micros: Ratio },
    /// Days from `first` up to and with `last`, numbered from `number`; of an outage (an index), or of the period.
    Days {
        first: NaiveDate,
        last: NaiveDate,
        number: u32,
        count: u32,
        outage: Option<usize>,
        /// The day at whose end the grace runs out.
        grace_ends: Option<NaiveDate>,
    },
    /// One event.
    Event { at: Instant, counts: bool },
}

/// What something is due: a share of the base, an amount in major units, and service days; nothing of it rounded, unless the
/// terms round each item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Due {
    pub share: Ratio,
    pub flat: Ratio,
    pub service_days: u32,
    /// How many units, days or events were paid.
    pub units: Ratio,
}

/// The account in one line: of its worst mailbox, and how many there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Total {
    pub mailboxes: usize,
    /// Mailboxes with any time that counts as down.
    pub affected: usize,
    /// Mailboxes that are due something; all, where the account is judged as a whole and is.
    pub missed: usize,
    pub measured_micros: i64,
    pub counted_micros: i64,
    pub weighted_micros: Ratio,
    /// The denominator of `uptime`: of the worst mailbox, or of all mailbox-minutes.
    pub promised_micros: i64,
    pub uptime: Ratio,
    /// The threshold of the first tier: what was promised. None where no uptime is.
    pub promised: Option<Percent>,
    /// The most downtime that keeps the promise, for a mailbox that was there all the time promised; exact microseconds.
    pub allowed_micros: Option<Ratio>,
    /// The worst mailbox's tier.
    pub tier: Option<usize>,
}

/// What mailboxes with the same result are paid: `mailboxes` x `each` = `exact`, in major units, where `each` is
/// (`share` x `fee` + `flat`, at most the limits) x `multiplier`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    pub tier: Option<usize>,
    /// 1 where the account is judged as a whole.
    pub mailboxes: usize,
    pub share: Ratio,
    pub fee: Ratio,
    pub flat: Ratio,
    /// The limit that took something off one mailbox's amount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited_to: Option<Ratio>,
    pub multiplier: Ratio,
    pub each: Ratio,
    /// Of all these mailboxes together.
    pub service_days: u32,
    /// What these are worth where they are paid as a credit: `service_days` x `fee` / days of the period.
    pub days_worth: Ratio,
    pub exact: Ratio,
}

/// In major units, exact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fees {
    /// Of a mailbox without charges of its own.
    pub per_mailbox: Ratio,
    /// Of mailboxes that are charged by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub own: BTreeMap<String, Ratio>,
    pub whole: Ratio,
    /// The numbers of the charges that it comes from; none where it is the price list's.
    pub charges: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    Credit {
        amount: Money,
    },
    /// Days of service, added at the end of the term.
    ServiceDays {
        days: u32,
        /// The last day of the term with them, where its last day is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        term_ends: Option<NaiveDate>,
    },
    NothingDue {
        why: NothingWhy,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
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
    /// It is less than the terms pay out.
    BelowFloor,
    /// What was given before is as much.
    SetOff,
    /// The customer asked too late.
    AskedTooLate,
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
    /// Nobody knows whether it worked then, and the terms do not say who bears that.
    WindowUnknown { window: WindowId },
    /// Two directories disagree about where it lived.
    ContestedPlacement { mailbox: String },
    /// No charge is for these days of service: the first, and the first day after them.
    MissingCharge { from: NaiveDate, to: NaiveDate },
    /// Several charges are for the same days, and which of them is the fee is not said.
    ChargesOverlap { numbers: Vec<String> },
    /// The plan has no terms for the period. For whoever loads the inputs: without terms there is no sum.
    TermsMissing { plan: String },
    /// The terms look back (a yearly allowance, twelve months), and nobody said what happened before.
    HistoryMissing,
    /// The terms need this holiday calendar, and it was not given.
    CalendarMissing { calendar: String },
}

/// Adds what holds the account back, once.
pub(super) fn hold_back(blockers: &mut Vec<Blocker>, blocker: Blocker) {
    if !blockers.contains(&blocker) {
        blockers.push(blocker);
    }
}
