//! One remedy, judged: its windows laid over the account's mailboxes, measured, and paid.

use std::cmp::{Ordering, Reverse};

use super::assessment::{Blocker, Group, GroupLine, Line, Strand, Total, Uncounted, Why, hold_back};
use super::due::{Judge, Paid};
use super::excuse::{self, Outside};
use super::laid::{self, Laid};
use super::measure::{self, Ground};
use super::overlay::{self, Frame, Outage};
use super::pay;
use super::stays::{self, Life};
use super::{AssessError, Inputs};
use crate::domain::percent::Percent;
use crate::domain::period::Zone;
use crate::domain::ratio::{Overflow, Ratio};
use crate::domain::remedy::{Measure, Per, Remedy, Schedule, TimePromised};
use crate::domain::terms::{Planned, RemovesFrom, Terms, UnknownTime};
use crate::domain::time::{Interval, IntervalSet, MINUTE};
use crate::domain::window::{Capability, OutageWindow};

/// What all strands look at.
pub(super) struct World<'a> {
    pub inputs: &'a Inputs,
    pub zone: Zone,
    pub period: Interval,
    pub timed: &'a [(Interval, &'a OutageWindow)],
    pub horizon: Interval,
}

/// One version of the terms, and what of the period it judges.
#[derive(Debug)]
pub(super) struct Slice<'a> {
    /// An index into the inputs' agreements.
    pub agreement: usize,
    pub terms: &'a Terms,
    pub span: Interval,
    /// Only outages that began in this time; none where that does not matter.
    pub began: Option<Interval>,
}

/// A group, and the outages that it felt.
struct Felt {
    group: Group,
    outages: Vec<Outage>,
}

/// Judges one remedy, or one capability of it.
pub(super) fn strand(
    world: &World<'_>,
    slice: &Slice<'_>,
    index: usize,
    remedy: &Remedy,
    alone: Option<&Capability>,
    blockers: &mut Vec<Blocker>,
) -> Result<Strand, AssessError> {
    let inputs = world.inputs;
    let outside = Outside::of(inputs, (slice.terms, remedy), world.zone, world.horizon, blockers)?;
    let frame = Frame {
        down: &remedy.down,
        capabilities: alone.map_or(remedy.down.capabilities.as_slice(), std::slice::from_ref),
        length: remedy.outage_length,
        edges: slice.terms.time.edges,
        unknown: slice.terms.time.unknown,
        span: slice.span,
        began: slice.began,
        outside: &outside,
    };
    let windows = laid::laid(world.timed, &frame, inputs, remedy.planned(slice.terms), world.period, blockers);
    let own: Vec<&str> = inputs.charges.iter().filter_map(|charge| charge.item.as_deref()).collect();
    let lives = stays::lives(&inputs.mailboxes, world.horizon, slice.span, &own)?;
    let lives = match remedy.per {
        Per::Mailbox | Per::MailboxMinutes | Per::WorstMailbox => lives,
        Per::Account => stays::as_one(lives, slice.span),
    };
    let mut felt = Vec::with_capacity(lives.len());
    for life in lives {
        felt.extend(group(life, &windows, &frame, slice.terms, remedy, blockers)?);
    }
    worst_first(&mut felt)?;
    let mut groups = Vec::with_capacity(felt.len());
    let mut outages = Vec::with_capacity(felt.len());
    for one in felt {
        groups.push(one.group);
        outages.push(one.outages);
    }
    let lines = lines(&mut groups, &windows);
    window_blockers(&lines, &windows, frame.unknown, blockers);
    let calendar = match slice.terms.time.calendar {
        Some(_) => excuse::calendar(inputs, slice.terms, blockers),
        None => None,
    };
    let ground = Ground {
        zone: world.zone,
        span: slice.span,
        calendar,
        capabilities: frame.capabilities,
        samples: &inputs.samples,
        events: &inputs.events,
        grace: match remedy.schedule {
            Schedule::ByDay { grace, .. } => Some(grace),
            Schedule::Always { .. }
            | Schedule::TiersByUptime { .. }
            | Schedule::BandsByLength { .. }
            | Schedule::Steps { .. } => None,
        },
    };
    let judge = Judge { world, slice, remedy, ground };
    let applies = remedy.applies(&inputs.circumstances);
    let paid = if applies { judge.paid(&mut groups, &outages, blockers)? } else { Paid::default() };
    let total = total(&groups, &lines, &paid, slice.span, remedy)?;
    let exact = paid.parts.iter().try_fold(Ratio::ZERO, |sum, part| sum.plus(part.exact))?;
    let days = paid.parts.iter().map(|part| u64::from(part.service_days)).sum::<u64>();
    let days_worth = paid.parts.iter().try_fold(Ratio::ZERO, |sum, part| sum.plus(part.days_worth))?;
    Ok(Strand {
        agreement: slice.agreement,
        remedy: index,
        capability: alone.cloned(),
        applies,
        is_paid: applies,
        span: slice.span,
        lines,
        groups,
        total,
        over_at: outages.iter().flatten().filter_map(|outage| measure::ends(&outage.counted)).map(Interval::end).max(),
        longest_micros: outages.iter().flatten().map(|outage| outage.counted.micros()).max().unwrap_or(0),
        account: paid.account,
        fees: paid.fees,
        parts: paid.parts,
        exact,
        service_days: u32::try_from(days).map_err(|_| Overflow)?,
        days_worth,
    })
}

/// Measures one history; none where the mailboxes were not there in the time that is judged.
fn group(
    life: Life<'_>,
    windows: &[Laid<'_>],
    frame: &Frame<'_>,
    terms: &Terms,
    remedy: &Remedy,
    blockers: &mut Vec<Blocker>,
) -> Result<Option<Felt>, AssessError> {
    let judged = overlay::judge(windows, &life.homes, frame);
    let (stays, existed) = stays::in_period(&life.stays(), frame.span);
    if stays.is_empty() {
        return Ok(None);
    }
    if life.contested {
        for mailbox in &life.mailboxes {
            let contested = Blocker::ContestedPlacement { mailbox: mailbox.clone() };
            hold_back(blockers, contested);
        }
    }
    let promised_micros = promised(&existed, &judged, frame, terms, remedy);
    let weighted_micros = judged.weighted.total()?;
    let uptime = measure::uptime(weighted_micros, promised_micros)?;
    let line = |felt: overlay::Felt| GroupLine {
        line: felt.window,
        measured_micros: felt.measured_micros,
        counted_micros: felt.counted_micros,
        uncounted: felt.uncounted,
        outside_period_micros: felt.outside_period_micros,
    };
    let group = Group {
        mailboxes: life.mailboxes,
        stays,
        contested: life.contested,
        promised_micros,
        counted_micros: judged.counted_micros,
        weighted_micros,
        excused_micros: judged.excused_micros,
        uptime,
        tier: tier(uptime, &remedy.schedule)?,
        verdict: None,
        // What touched them only outside the period is another's.
        lines: judged.felt.into_iter().filter(|felt| felt.measured_micros > 0).map(line).collect(),
        pieces: judged.pieces,
    };
    Ok(Some(Felt { group, outages: judged.outages }))
}

/// The time promised to one history: what the measure says, less what is taken out of it.
fn promised(existed: &IntervalSet, judged: &overlay::Judged, frame: &Frame<'_>, terms: &Terms, remedy: &Remedy) -> i64 {
    let of = match &remedy.measure {
        Measure::Uptime { of } => *of,
        Measure::ErrorRate { .. }
        | Measure::TimeDown
        | Measure::Outages
        | Measure::Days { .. }
        | Measure::Events { .. } => TimePromised::WholePeriod,
    };
    let whole = IntervalSet::from(frame.span);
    let removed = |from: &IntervalSet| from.intersection(&frame.outside.removed).micros();
    let (time, removed) = match of {
        TimePromised::WholePeriod => (whole.micros(), removed(&whole)),
        TimePromised::WhileItExisted => (existed.micros(), removed(existed)),
        TimePromised::Minutes(minutes) => (i64::from(minutes) * MINUTE, removed(&whole)),
    };
    let excused = match remedy.planned(terms) {
        Planned::Excused { removes_from: RemovesFrom::NumeratorAndDenominator, .. } => judged.excused_micros,
        Planned::Excused { removes_from: RemovesFrom::Numerator, .. }
        | Planned::Counts
        | Planned::FixedHours { .. } => 0,
    };
    time - removed - excused
}

/// The tier that an uptime misses, where there are tiers.
pub(super) fn tier(uptime: Ratio, schedule: &Schedule) -> Result<Option<usize>, Overflow> {
    match schedule {
        Schedule::TiersByUptime { boundary, tiers } => {
            pay::lowest_missed(uptime, *boundary, tiers.iter().map(|tier| tier.uptime_below))
        }
        Schedule::Steps { .. } | Schedule::Always { .. } | Schedule::BandsByLength { .. } | Schedule::ByDay { .. } => {
            Ok(None)
        }
    }
}

/// Sorts by uptime, then by time down, then by name, so that the same facts always stand in the same order.
fn worst_first(felt: &mut [Felt]) -> Result<(), AssessError> {
    let mut overflow = None;
    felt.sort_by(|a, b| {
        let (a, b) = (&a.group, &b.group);
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
fn lines(groups: &mut [Group], windows: &[Laid<'_>]) -> Vec<Line> {
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
            certainty: laid.window.certainty,
            impact: laid.window.impact,
            reach: laid.window.reach,
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
            if let Why::Overlap { line } | Why::Planned { line } = &mut part.why {
                renamed(line);
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
fn window_blockers(lines: &[Line], windows: &[Laid<'_>], unknown: Option<UnknownTime>, blockers: &mut Vec<Blocker>) {
    let touched = |laid: &&Laid<'_>| laid.matters() && lines.iter().any(|line| line.window == laid.window.id);
    let mut found = Vec::new();
    for laid in windows.iter().filter(touched) {
        let window = laid.window.id;
        if laid.window.end.is_none() {
            found.push(Blocker::WindowOpen { window });
        }
        if !laid.window.certainty.is_known() && unknown.is_none() {
            found.push(Blocker::WindowUnknown { window });
        }
        if !laid.window.is_confirmed() {
            let mut said = laid.window.reports.iter().map(|report| (report.start, report.end));
            let first = said.next();
            let agreed = !laid.window.certainty.is_known() || said.all(|one| Some(one) == first);
            found.push(if agreed {
                Blocker::WindowNotConfirmed { window }
            } else {
                Blocker::WindowDisputed { window }
            });
        }
    }
    for blocker in found {
        hold_back(blockers, blocker);
    }
}

/// The account in one line.
fn total(groups: &[Group], lines: &[Line], paid: &Paid, span: Interval, remedy: &Remedy) -> Result<Total, AssessError> {
    let count = |counts: fn(&Group) -> bool| {
        groups.iter().filter(|group| counts(group)).map(|group| group.mailboxes.len()).sum::<usize>()
    };
    let worst = groups.first();
    let promised = remedy.schedule.promised();
    let promised_micros = paid
        .whole
        .map_or_else(|| worst.map_or(span.micros(), |group| group.promised_micros), |whole| whole.promised_micros);
    let allowed = |promised: Percent| Ratio::ONE.minus(promised.ratio())?.times(Ratio::whole(promised_micros));
    Ok(Total {
        mailboxes: count(|_| true),
        affected: count(|group| group.counted_micros > 0),
        missed: paid.missed,
        measured_micros: lines.iter().filter(|line| line.group == 0).map(|line| line.measured_micros).sum(),
        counted_micros: worst.map_or(0, |group| group.counted_micros),
        weighted_micros: paid
            .whole
            .map_or_else(|| worst.map_or(Ratio::ZERO, |group| group.weighted_micros), |whole| whole.down_micros),
        promised_micros,
        uptime: paid.whole.map_or_else(|| worst.map_or(Ratio::ONE, |group| group.uptime), |whole| whole.uptime),
        promised,
        allowed_micros: promised.map(allowed).transpose()?,
        tier: paid.whole.map_or_else(|| worst.and_then(|group| group.tier), |whole| whole.tier),
    })
}
