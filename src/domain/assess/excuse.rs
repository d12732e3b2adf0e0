//! Time that does not count whatever failed in it: planned work, fixed hours, pauses, hours without a promise, and time
//! before the customer reported it.

use super::assessment::{Blocker, Notice, Why, hold_back};
use super::{AssessError, Inputs};
use crate::domain::calendar::Calendar;
use crate::domain::period::Zone;
use crate::domain::remedy::Remedy;
use crate::domain::terms::{ClockStart, Hours, Overrun, Planned, RemovesFrom, Terms};
use crate::domain::time::{HOUR, Instant, Interval, IntervalSet};
use crate::domain::window::OutageWindow;

/// All that stands outside, for one remedy.
#[derive(Debug)]
pub(super) struct Outside {
    /// What does not count, and why; the first that covers an instant says why.
    cuts: Vec<(IntervalSet, Why)>,
    /// What of it is not promised either: taken out of the denominator.
    pub removed: IntervalSet,
    /// When the customer reported something, sorted; none where that does not matter.
    pub reports: Option<Vec<Instant>>,
}

impl Outside {
    /// What stands outside within `horizon`.
    pub fn of(
        inputs: &Inputs,
        (terms, remedy): (&Terms, &Remedy),
        zone: Zone,
        horizon: Interval,
        blockers: &mut Vec<Blocker>,
    ) -> Result<Self, AssessError> {
        let mut outside = Outside { cuts: Vec::new(), removed: IntervalSet::empty(), reports: None };
        if let Planned::FixedHours { hours, removes_from } = remedy.planned(terms) {
            let weekly = Calendar::of_hours(hours.clone());
            outside.cut(weekly.working_time(zone, horizon), Why::FixedHours, *removes_from);
        }
        match terms.time.hours {
            Hours::Always => {}
            Hours::WorkingHours => {
                if let Some(calendar) = calendar(inputs, terms, blockers) {
                    let all = IntervalSet::from(horizon);
                    let without = all.minus(&calendar.working_time(zone, horizon));
                    outside.cut(without, Why::OutsideHours, RemovesFrom::NumeratorAndDenominator);
                }
            }
        }
        for (index, pause) in inputs.pauses.iter().enumerate() {
            for known in terms.clock.pauses.iter().filter(|known| known.kind == pause.kind) {
                let end = pause.interval.end().plus(i64::from(known.and_hours_after) * HOUR);
                let still = Interval::new(pause.interval.start(), end)?;
                outside.cut(still.into(), Why::Paused { pause: index }, known.removes_from);
            }
        }
        if terms.clock.starts == ClockStart::WhenReported {
            let mut reports = inputs.reports.clone();
            reports.sort_unstable();
            outside.reports = Some(reports);
        }
        Ok(outside)
    }

    fn cut(&mut self, time: IntervalSet, why: Why, removes_from: RemovesFrom) {
        match removes_from {
            RemovesFrom::Numerator => {}
            RemovesFrom::NumeratorAndDenominator => self.removed = self.removed.union(&time),
        }
        self.cuts.push((time, why));
    }

    /// Where anything begins or ends: within the time between two neighbours, nothing changes.
    pub fn edges(&self) -> impl Iterator<Item = Instant> + '_ {
        let cuts = self.cuts.iter().flat_map(|(time, _)| time.intervals());
        cuts.flat_map(|cut| [cut.start(), cut.end()]).chain(self.reports.iter().flatten().copied())
    }

    /// Why nothing counts at `at`, an interval between two edges; none where it may.
    pub fn why(&self, at: Interval) -> Option<Why> {
        self.cuts.iter().find(|(time, _)| time.meets(at)).map(|(_, why)| *why)
    }

    /// Whether the time is taken out of the denominator already.
    pub fn is_removed(&self, at: Interval) -> bool {
        self.removed.meets(at)
    }
}

/// The holiday calendar that the terms name.
pub(super) fn calendar<'a>(inputs: &'a Inputs, terms: &Terms, blockers: &mut Vec<Blocker>) -> Option<&'a Calendar> {
    let name = terms.time.calendar.as_deref().unwrap_or_default();
    let found = inputs.calendars.iter().find(|calendar| calendar.name == name);
    if found.is_none() {
        hold_back(blockers, Blocker::CalendarMissing { calendar: name.to_owned() });
    }
    found
}

/// What was said ahead of a planned window, and whether it excuses it.
pub(super) fn notice(window: &OutageWindow, interval: Interval, terms: &Planned) -> Option<Notice> {
    let planned = window.planned?;
    let notice_micros = planned.interval.start().micros() - planned.announced_at.micros();
    let enough = match terms {
        Planned::Counts | Planned::FixedHours { .. } => false,
        Planned::Excused { minimum_notice_hours, overrun, .. } => {
            let kept_to_it = match overrun {
                Overrun::CountsFromTheAnnouncedEnd => true,
                Overrun::CountsFromTheStart => interval.end() <= planned.interval.end(),
            };
            kept_to_it && notice_micros >= i64::from(*minimum_notice_hours) * HOUR
        }
    };
    Some(Notice { announced_at: planned.announced_at, announced: planned.interval, notice_micros, enough })
}

/// Cuts what is excused in `period` down to what is left of the yearly allowance; the earliest minutes use it up, and minutes
/// that two windows excuse use it once. Excuses before the period were counted then.
pub(super) fn within_allowance(
    excuses: &mut [Option<Interval>],
    inputs: &Inputs,
    planned: &Planned,
    period: Interval,
    blockers: &mut Vec<Blocker>,
) {
    let Planned::Excused { yearly_allowance_hours: Some(hours), .. } = planned else { return };
    let all: IntervalSet = excuses.iter().flatten().copied().collect();
    if all.is_empty() {
        return;
    }
    let Some(history) = &inputs.history else {
        hold_back(blockers, Blocker::HistoryMissing);
        return;
    };
    let mut left = (i64::from(*hours) * HOUR - history.excused_this_year_micros).max(0);
    for one in all.intervals() {
        let from = one.start().max(period.start());
        let spent = (one.end().micros() - from.micros()).max(0);
        if spent <= left {
            left -= spent;
            continue;
        }
        // It runs out within this one: whatever lies after that instant is not excused.
        let runs_out = from.plus(left);
        for excuse in excuses.iter_mut() {
            *excuse = excuse.and_then(|whole| Interval::new(whole.start(), whole.end().min(runs_out)).ok());
        }
        return;
    }
}
