//! Windows as the terms see them: what each takes, what it weighs, what it excuses.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;

use super::assessment::{Blocker, Notice, Why};
use super::excuse;
use super::overlay::Frame;
use super::{AssessError, Inputs};
use crate::domain::ratio::Ratio;
use crate::domain::remedy::{Degraded, Delayed, Down, Reach};
use crate::domain::terms::{Planned, UnknownTime};
use crate::domain::time::Interval;
use crate::domain::window::{Certainty, Impact, OutageWindow};

/// A window with what the terms make of it.
#[derive(Debug)]
pub(super) struct Laid<'a> {
    pub window: &'a OutageWindow,
    pub interval: Interval,
    pub notice: Option<Notice>,
    /// The time that it excuses, within its own.
    pub excuses: Option<Interval>,
    pub standing: Standing,
    /// Which of the promised capabilities it takes: indexes into the frame's list.
    pub takes: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Standing {
    /// It never counts.
    Not(Why),
    /// It counts, each microsecond as this part of one.
    Counts(Weight),
}

/// A part of one, above zero and at most 1. Its figures are small enough to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Weight(pub Ratio);

impl Ord for Weight {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.compared(other.0).unwrap_or(Ordering::Equal)
    }
}

impl PartialOrd for Weight {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The newest version of each window, by start; and the period with all time that windows join to it without a gap. A window
/// that neither touches the period nor joins, through others, to one that does, cannot change the sum and is left out.
pub(super) fn timed(
    inputs: &Inputs,
    period: Interval,
) -> Result<(Vec<(Interval, &OutageWindow)>, Interval), AssessError> {
    let mut newest: BTreeMap<_, &OutageWindow> = BTreeMap::new();
    for window in &inputs.windows {
        let held = newest.entry(window.id).or_insert(window);
        if held.version < window.version {
            *held = window;
        } else if held.version == window.version && *held != window {
            return Err(AssessError::WindowTwice { window: window.id, version: window.version });
        }
    }
    let mut timed: Vec<(Interval, &OutageWindow)> = newest
        .into_values()
        .filter_map(|window| window.interval(inputs.as_of).map(|interval| (interval, window)))
        .collect();
    timed.sort_unstable_by_key(|(interval, window)| (*interval, window.id));
    let horizon = horizon(period, &timed);
    timed.retain(|(interval, _)| interval.intersection(horizon).is_some());
    Ok((timed, horizon))
}

fn horizon(period: Interval, timed: &[(Interval, &OutageWindow)]) -> Interval {
    let (mut start, mut end) = (period.start(), period.end());
    let mut grew = true;
    while grew {
        grew = false;
        for (interval, _) in timed {
            if interval.start() <= end && interval.end() >= start && (interval.start() < start || interval.end() > end)
            {
                start = start.min(interval.start());
                end = end.max(interval.end());
                grew = true;
            }
        }
    }
    Interval::new(start, end).unwrap_or(period)
}

/// What the terms make of each window.
pub(super) fn laid<'a>(
    timed: &[(Interval, &'a OutageWindow)],
    frame: &Frame<'_>,
    inputs: &Inputs,
    planned: &Planned,
    period: Interval,
    blockers: &mut Vec<Blocker>,
) -> Vec<Laid<'a>> {
    let mut all: Vec<Laid<'a>> =
        timed.iter().map(|(interval, window)| one(window, *interval, frame, planned)).collect();
    let mut excuses: Vec<Option<Interval>> = all.iter().map(|laid| laid.excuses).collect();
    excuse::within_allowance(&mut excuses, inputs, planned, period, blockers);
    for (laid, excuse) in all.iter_mut().zip(excuses) {
        laid.excuses = excuse;
    }
    all
}

fn one<'a>(window: &'a OutageWindow, interval: Interval, frame: &Frame<'_>, planned: &Planned) -> Laid<'a> {
    let takes: Vec<usize> = frame
        .capabilities
        .iter()
        .enumerate()
        .filter(|(_, promised)| window.capability.is_within(promised) || promised.is_within(&window.capability))
        .map(|(index, _)| index)
        .collect();
    let standing = if window.is_retracted() {
        Standing::Not(Why::Retracted)
    } else if takes.is_empty() {
        Standing::Not(Why::NotPromised)
    } else {
        weight(window, frame.down, frame.unknown).map_or_else(Standing::Not, |weight| Standing::Counts(Weight(weight)))
    };
    let notice = excuse::notice(window, interval, planned);
    let excuses = notice
        .filter(|notice| notice.enough && !window.is_retracted() && !takes.is_empty())
        .and_then(|notice| notice.announced.intersection(interval));
    Laid { window, interval, notice, excuses, standing, takes }
}

/// The part of one that each microsecond of a window counts as, above zero; or why it never counts.
pub(super) fn weight(window: &OutageWindow, down: &Down, unknown: Option<UnknownTime>) -> Result<Ratio, Why> {
    match (window.certainty, unknown) {
        (Certainty::Known, _) | (Certainty::Unknown, Some(UnknownTime::Counts)) => {}
        (Certainty::Unknown, Some(UnknownTime::DoesNotCount) | None) => return Err(Why::Unknown),
    }
    let impact = match window.impact {
        Impact::Full => Ratio::ONE,
        Impact::Delayed { seconds } => match down.delayed {
            Delayed::NeverCounts => Ratio::ZERO,
            Delayed::Counts { from_seconds, .. } if seconds < from_seconds => {
                return Err(Why::DelayTooShort);
            }
            Delayed::Counts { weight_percent, .. } => weight_percent.ratio(),
        },
        Impact::Degraded { weight_bp } => match down.degraded {
            Degraded::NeverCounts => Ratio::ZERO,
            Degraded::CountsInFull => Ratio::ONE,
            Degraded::CountsByWeight => Ratio::new(weight_bp.min(10_000).into(), 10_000).unwrap_or(Ratio::ZERO),
        },
    };
    if impact.is_zero() {
        return Err(Why::ImpactNotCounted);
    }
    let share = window.reach.and_then(|reach| Ratio::new(reach.hit.into(), reach.of.into()).ok());
    let share = share.unwrap_or(Ratio::ONE);
    let counts = match down.reach {
        Reach::Ignored => true,
        Reach::Weighs => share.is_positive(),
        Reach::MoreThan { percent } => share.compared(percent.ratio()).is_ok_and(|order| order == Ordering::Greater),
        Reach::AtLeast { hit } => window.reach.is_none_or(|reach| reach.hit >= hit),
    };
    if !counts {
        return Err(Why::TooFewHit);
    }
    let weighs = match down.reach {
        Reach::Weighs => share,
        Reach::Ignored | Reach::MoreThan { .. } | Reach::AtLeast { .. } => Ratio::ONE,
    };
    // Both are fractions of small figures.
    Ok(impact.times(weighs).unwrap_or(impact))
}

impl Laid<'_> {
    pub fn weight(&self) -> Option<Weight> {
        match self.standing {
            Standing::Not(_) => None,
            Standing::Counts(weight) => Some(weight),
        }
    }

    /// Whether the money depends on what this window says.
    pub fn matters(&self) -> bool {
        !matches!(self.standing, Standing::Not(Why::Retracted | Why::NotPromised))
    }

    pub fn worse(&self) -> Severity {
        match self.window.impact {
            Impact::Full => Severity::Full,
            Impact::Degraded { .. } => Severity::Degraded,
            Impact::Delayed { .. } => Severity::Delayed,
        }
    }

    /// Which of two windows a minute belongs to that both cover: the heavier, the earlier, the worse; the smallest wins.
    pub fn precedence(&self) -> impl Ord + use<> {
        (Reverse(self.weight()), self.interval.start(), self.worse(), self.window.id)
    }
}

/// How bad it was, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    Full,
    Degraded,
    Delayed,
}
