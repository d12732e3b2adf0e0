//! The sum: what one account's mailboxes went through in one period, against the terms, in money.
//!
//! Always the same order, and swapping two steps gives other money: windows, capability rule, laid over placements, joined,
//! planned time cut, clock, minimum length, cut to the period, weighted, measured, schedule, base, combined, capped, rounded,
//! payout. Nothing here makes sentences: see [`super::receipt`].

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::charge::Charge;
use super::ids::WindowId;
use super::money::{Currency, Money, MoneyError};
use super::period::{Month, Zone};
use super::placement::MailboxHistory;
use super::ratio::{Overflow, Ratio};
use super::terms::{
    Base, Cap, Combination, FeeOf, MILLION, Measure, Per, Percent, Planned, RemovesFrom, RoundingPoint, RoundingTerms,
    Terms, TimePromised, ZoneOf,
};
use super::time::{Instant, Interval};
use super::window::{Capability, Impact, OutageWindow};
use super::{base, overlay, schedule};

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

/// Assesses one account, one subscription, one month.
pub fn assess(inputs: &Inputs) -> Result<Assessment, AssessError> {
    let terms = &inputs.terms;
    let zone = zone(inputs);
    let period = inputs.period.interval(zone);
    let (windows, horizon) = overlay::windows(inputs, period)?;
    let histories = histories(&inputs.mailboxes, horizon, period)?;
    let mut blockers = Vec::new();
    if inputs.as_of < period.end() {
        blockers.push(Blocker::PeriodNotOver { ends: period.end() });
    }
    let mut groups = Vec::with_capacity(histories.len());
    for ((stays, contested), mailboxes) in histories {
        if contested {
            blockers.extend(mailboxes.iter().map(|mailbox| Blocker::ContestedPlacement { mailbox: mailbox.clone() }));
        }
        let judged = overlay::judge(&windows, &stays, period, terms);
        groups.extend(group(mailboxes, &stays, contested, judged, period, terms)?);
    }
    worst_first(&mut groups)?;
    let lines = lines(&mut groups, &windows);
    blockers.extend(window_blockers(&lines, &windows));
    let total = total(&groups, &lines, period, terms)?;
    let (fees, fee_blockers) = match needed_days(&groups, zone) {
        Some(needed) => base::fees(&inputs.charges, inputs.period, needed, inputs.account.currency)?,
        None => (None, Vec::new()),
    };
    blockers.extend(fee_blockers);
    let parts = parts(&groups, fees.as_ref(), terms)?;
    let exact = parts.iter().try_fold(Ratio::ZERO, |sum, part| sum.plus(part.exact))?;
    let capped = capped(exact, fees.as_ref(), inputs)?;
    let outcome = outcome(capped, &total, &lines, inputs)?;
    Ok(Assessment { zone, period, lines, groups, total, parts, fees, exact, capped, outcome, blockers })
}

/// The zone whose midnights the period begins and ends at.
fn zone(inputs: &Inputs) -> Zone {
    match inputs.terms.time.zone {
        ZoneOf::Account => inputs.account.zone,
        ZoneOf::Operator => inputs.operator_zone,
        ZoneOf::Named { zone } => zone,
    }
}

/// The mailboxes by history: those that share one are judged once.
fn histories(
    mailboxes: &[MailboxHistory],
    horizon: Interval,
    period: Interval,
) -> Result<Vec<(overlay::History<'_>, Vec<String>)>, AssessError> {
    let mut sorted: Vec<&MailboxHistory> = mailboxes.iter().collect();
    sorted.sort_by(|a, b| a.mailbox.cmp(&b.mailbox));
    if let Some(twice) = sorted.windows(2).find(|pair| pair[0].mailbox == pair[1].mailbox && pair[0] != pair[1]) {
        return Err(AssessError::MailboxTwice { mailbox: twice[0].mailbox.clone() });
    }
    sorted.dedup_by(|a, b| a.mailbox == b.mailbox);
    let mut known: HashMap<overlay::History<'_>, usize> = HashMap::new();
    let mut histories: Vec<(overlay::History<'_>, Vec<String>)> = Vec::new();
    for mailbox in sorted {
        let history = overlay::stays(mailbox, horizon, period)?;
        if let Some(at) = known.get(&history) {
            histories[*at].1.push(mailbox.mailbox.clone());
        } else {
            known.insert(history.clone(), histories.len());
            histories.push((history, vec![mailbox.mailbox.clone()]));
        }
    }
    Ok(histories)
}

/// Measures one history and finds its tier; none where the mailboxes were not there in the period.
fn group(
    mailboxes: Vec<String>,
    stays: &[(Interval, &str)],
    contested: bool,
    judged: overlay::Judged,
    period: Interval,
    terms: &Terms,
) -> Result<Option<Group>, AssessError> {
    let (stays, existed) = overlay::in_period(stays, period);
    if stays.is_empty() {
        return Ok(None);
    }
    let Measure::UptimeRatio { per: Per::Mailbox, of } = terms.measure;
    let promised = match of {
        TimePromised::WholePeriod => period.micros(),
        TimePromised::WhileItExisted => existed.micros(),
    };
    let promised_micros = match terms.planned {
        Planned::Counts | Planned::Excused { removes_from: RemovesFrom::Numerator, .. } => promised,
        Planned::Excused { removes_from: RemovesFrom::NumeratorAndDenominator, .. } => promised - judged.excused_micros,
    };
    let weighted_micros = Ratio::new(judged.weighted, MILLION.into())?;
    let uptime = schedule::uptime(weighted_micros, promised_micros)?;
    let line = |felt: overlay::Felt| GroupLine {
        line: felt.window,
        measured_micros: felt.measured_micros,
        counted_micros: felt.counted_micros,
        uncounted: felt.uncounted,
        outside_period_micros: felt.outside_period_micros,
    };
    Ok(Some(Group {
        mailboxes,
        stays,
        contested,
        promised_micros,
        counted_micros: judged.counted_micros,
        weighted_micros,
        excused_micros: judged.excused_micros,
        uptime,
        tier: schedule::tier(uptime, &terms.schedule)?,
        // What touched them only outside the period is another month's.
        lines: judged.felt.into_iter().filter(|felt| felt.measured_micros > 0).map(line).collect(),
        pieces: judged.pieces,
    }))
}

/// Sorts by uptime, then by time down, then by name, so that the same facts always stand in the same order.
fn worst_first(groups: &mut [Group]) -> Result<(), AssessError> {
    let mut overflow = None;
    groups.sort_by(|a, b| {
        let by_uptime = a.uptime.compared(b.uptime).unwrap_or_else(|error| {
            overflow = Some(error);
            Ordering::Equal
        });
        by_uptime
            .then_with(|| b.counted_micros.cmp(&a.counted_micros))
            .then_with(|| b.lines.len().cmp(&a.lines.len()))
            .then_with(|| a.mailboxes.cmp(&b.mailboxes))
    });
    overflow.map_or(Ok(()), |error| Err(error.into()))
}

/// The windows that any group felt, by start; groups name windows by the index of their line from here on.
fn lines(groups: &mut [Group], windows: &[overlay::Laid<'_>]) -> Vec<Line> {
    let mut index: Vec<Option<usize>> = vec![None; windows.len()];
    let mut lines = Vec::new();
    for (window, laid) in windows.iter().enumerate() {
        let felt = |group: &Group| group.lines.iter().find(|line| line.line == window).cloned();
        let touched = groups.iter().enumerate().filter_map(|(at, group)| felt(group).map(|line| (at, group, line)));
        let mailboxes = touched.clone().map(|(_, group, _)| group.mailboxes.len()).sum();
        // The worst group if it felt the window; else the one that it cost most, the first of those.
        let Some((group, _, line)) = touched
            .min_by_key(|(at, _, line)| (*at != 0, Reverse(line.counted_micros), Reverse(line.measured_micros), *at))
        else {
            continue;
        };
        index[window] = Some(lines.len());
        lines.push(Line {
            window: laid.window.id,
            version: laid.window.version,
            capability: laid.window.capability.clone(),
            impact: laid.window.impact,
            start: laid.window.start,
            end: laid.window.end,
            notice: laid.notice,
            mailboxes,
            group,
            measured_micros: line.measured_micros,
            counted_micros: line.counted_micros,
            uncounted: line.uncounted,
            outside_period_micros: line.outside_period_micros,
        });
    }
    let renamed = |window: &mut usize| *window = index.get(*window).copied().flatten().unwrap_or(*window);
    let renamed_whys = |parts: &mut Vec<Uncounted>| {
        for part in parts {
            match &mut part.why {
                Why::Overlap { line } | Why::Planned { line } => renamed(line),
                Why::Retracted
                | Why::NotPromised
                | Why::DelayTooShort
                | Why::ImpactNotCounted
                | Why::OtherCapabilityWorked
                | Why::OutageTooShort => {}
            }
        }
    };
    for group in groups {
        group.pieces.iter_mut().for_each(|piece| renamed(&mut piece.line));
        for line in &mut group.lines {
            renamed(&mut line.line);
            renamed_whys(&mut line.uncounted);
        }
    }
    lines.iter_mut().for_each(|line| renamed_whys(&mut line.uncounted));
    lines
}

/// A window that touched the account and that the money depends on holds it back until it is closed and signed off.
fn window_blockers(lines: &[Line], windows: &[overlay::Laid<'_>]) -> Vec<Blocker> {
    let mut blockers = Vec::new();
    let touched = |laid: &&overlay::Laid<'_>| laid.matters() && lines.iter().any(|line| line.window == laid.window.id);
    for laid in windows.iter().filter(touched) {
        let window = laid.window.id;
        if laid.window.end.is_none() {
            blockers.push(Blocker::WindowOpen { window });
        }
        if !laid.window.is_confirmed() {
            let mut said = laid.window.reports.iter().map(|report| (report.start, report.end));
            let first = said.next();
            let agreed = said.all(|one| Some(one) == first);
            blockers.push(if agreed {
                Blocker::WindowNotConfirmed { window }
            } else {
                Blocker::WindowDisputed { window }
            });
        }
    }
    blockers
}

fn total(groups: &[Group], lines: &[Line], period: Interval, terms: &Terms) -> Result<Total, AssessError> {
    let promised = schedule::promised(&terms.schedule).ok_or(AssessError::NoTiers)?;
    let count = |counts: fn(&Group) -> bool| {
        groups.iter().filter(|group| counts(group)).map(|group| group.mailboxes.len()).sum::<usize>()
    };
    let worst = groups.first();
    Ok(Total {
        mailboxes: count(|_| true),
        affected: count(|group| group.counted_micros > 0),
        missed: count(|group| group.tier.is_some()),
        measured_micros: lines.iter().filter(|line| line.group == 0).map(|line| line.measured_micros).sum(),
        counted_micros: worst.map_or(0, |group| group.counted_micros),
        weighted_micros: worst.map_or(Ratio::ZERO, |group| group.weighted_micros),
        uptime: worst.map_or(Ratio::ONE, |group| group.uptime),
        promised,
        allowed_micros: schedule::allowed(promised, worst.map_or(period.micros(), |group| group.promised_micros))?,
        tier: worst.and_then(|group| group.tier),
    })
}

/// The local days for which a fee is needed: those on which mailboxes that missed the promise were there.
fn needed_days(groups: &[Group], zone: Zone) -> Option<(NaiveDate, NaiveDate)> {
    let stays = || groups.iter().filter(|group| group.tier.is_some()).flat_map(|group| &group.stays);
    let first = stays().map(|stay| stay.interval.start()).min()?;
    let last = stays().map(|stay| stay.interval.end()).max()?;
    Some((zone.local(first).date_naive(), zone.local(last.plus(-1)).date_naive().succ_opt()?))
}

/// What the mailboxes of each missed tier are due.
fn parts(groups: &[Group], fees: Option<&Fees>, terms: &Terms) -> Result<Vec<Part>, AssessError> {
    let Base::ChargedFee { of: FeeOf::AffectedMailboxes } = terms.base;
    let Combination::SumOfMailboxes = terms.combination;
    let mut parts = Vec::new();
    for (tier, paid) in schedule::tiers(&terms.schedule).iter().enumerate().rev() {
        let missed = groups.iter().filter(|group| group.tier == Some(tier));
        let mailboxes: usize = missed.map(|group| group.mailboxes.len()).sum();
        if mailboxes == 0 {
            continue;
        }
        let fee = fees.map_or(Ratio::ZERO, |fees| fees.per_mailbox);
        let count = Ratio::whole(i128::try_from(mailboxes).map_err(|_| Overflow)?);
        let exact = count.times(fee)?.times(paid.credit_percent.ratio())?;
        parts.push(Part { tier, credit_percent: paid.credit_percent, mailboxes, exact });
    }
    Ok(parts)
}

fn capped(exact: Ratio, fees: Option<&Fees>, inputs: &Inputs) -> Result<Ratio, AssessError> {
    let mut capped = exact;
    for cap in &inputs.terms.caps {
        let most = match cap {
            Cap::PercentOfPeriodFee { percent } => {
                fees.map_or(Ratio::ZERO, |fees| fees.whole).times(percent.ratio())?
            }
            Cap::AmountPerPeriod { amount } => {
                Money::zero(inputs.account.currency).plus(*amount)?;
                Ratio::try_from(amount.decimal())?
            }
        };
        if capped.compared(most)? == Ordering::Greater {
            capped = most;
        }
    }
    Ok(capped)
}

fn outcome(capped: Ratio, total: &Total, lines: &[Line], inputs: &Inputs) -> Result<Outcome, AssessError> {
    let RoundingTerms { mode, at: RoundingPoint::AccountTotal } = inputs.terms.rounding;
    let amount = Money::rounded(capped.for_rounding()?, inputs.account.currency, mode)?;
    let why = if amount.is_positive() {
        return Ok(Outcome::Credit { amount });
    } else if total.mailboxes == 0 {
        NothingWhy::NoMailboxes
    } else if lines.is_empty() {
        NothingWhy::NoOutage
    } else if total.affected == 0 {
        NothingWhy::NothingCounted
    } else if total.missed == 0 {
        NothingWhy::PromiseKept
    } else {
        NothingWhy::NothingToCredit
    };
    Ok(Outcome::NothingDue { why })
}
