//! The steps in time: which windows, what of them counts, and how much time that is.

use super::Speaker;
use super::words::{capital, counted, grouped, length, local, minutes_exact, named, period, some, spoken, spoken_long};
use crate::domain::assessment::{Line, Why};
use crate::domain::ratio::Ratio;
use crate::domain::receipt::{Step, StepName};
use crate::domain::remedy::{Degraded, Delayed, LengthOf, OutageLength, Reach, Rule};
use crate::domain::terms::{ClockStart, Edges, Hours, Overrun, Planned, RemovesFrom, UnknownTime};

/// Groups of mailboxes that a sentence lists before it only counts the rest.
const LISTED: usize = 10;

impl Speaker<'_> {
    pub(super) fn windows(&self) -> Step {
        let span = self.strand.span;
        self.step(
            StepName::Windows,
            format!(
                "{} touched the mailboxes in {}, which lasts from {} to {} in {}: {}.",
                counted(self.strand.lines.len(), "record"),
                period(self.inputs.period),
                local(span.start(), self.sum.zone),
                local(span.end(), self.sum.zone),
                self.sum.zone,
                spoken(span.micros())
            ),
            [
                ("records", self.strand.lines.len().to_string()),
                ("period_start", span.start().to_string()),
                ("period_end", span.end().to_string()),
                ("period_micros", span.micros().to_string()),
            ],
        )
    }

    /// The first step where no record matters.
    pub(super) fn period(&self) -> Step {
        let span = self.strand.span;
        self.step(
            StepName::Windows,
            format!(
                "{} lasts from {} to {} in {}.",
                capital(&period(self.inputs.period)),
                local(span.start(), self.sum.zone),
                local(span.end(), self.sum.zone),
                self.sum.zone
            ),
            [("period_micros", span.micros().to_string())],
        )
    }

    pub(super) fn capability_rule(&self) -> Step {
        let down = &self.remedy.down;
        let promised = down.capabilities.iter().map(|one| one.0.as_str()).collect::<Vec<_>>();
        let rule = match down.rule {
            Rule::Each => {
                let alone = self.strand.capability.as_ref().map_or("", |one| one.0.as_str());
                format!("Each of {} is judged alone; this is {alone}.", promised.join(", "))
            }
            Rule::Any if promised.len() == 1 => format!("Time is down when this is lost: {}.", promised.join(", ")),
            Rule::Any => format!("Time is down when any of these is lost: {}.", promised.join(", ")),
            Rule::All => format!("Time is down only when all of these are lost at once: {}.", promised.join(", ")),
        };
        let delayed = match down.delayed {
            Delayed::NeverCounts => "What is only late never counts.".to_owned(),
            Delayed::Counts { from_seconds, weight_percent } => {
                format!("A delay of {} or more counts as {weight_percent} % of its time.", length(from_seconds))
            }
        };
        let degraded = match down.degraded {
            Degraded::NeverCounts => "What works in part never counts.",
            Degraded::CountsInFull => "What works in part counts as if nothing worked.",
            Degraded::CountsByWeight => "What works in part counts as the part that did not.",
        };
        let reach = match down.reach {
            Reach::Ignored => String::new(),
            Reach::Weighs => " Time counts as the share of users that was hit.".to_owned(),
            Reach::MoreThan { percent } => {
                format!(" Time counts only when more than {percent} % of the users were hit.")
            }
            Reach::AtLeast { hit } => format!(" Time counts only when at least {hit} were hit."),
        };
        let is_known = self.strand.lines.iter().all(|line| line.certainty.is_known());
        let unknown = match self.terms.time.unknown {
            _ if is_known => "",
            Some(UnknownTime::Counts) => " Time of which nobody knows whether it worked counts as down.",
            Some(UnknownTime::DoesNotCount) => " Time of which nobody knows whether it worked does not count.",
            None => {
                " The terms do not say what becomes of time of which nobody knows whether it worked: it does not count yet."
            }
        };
        self.step(
            StepName::CapabilityRule,
            format!("{rule} {delayed} {degraded}{reach}{unknown}"),
            [("capabilities", promised.join(","))],
        )
    }

    pub(super) fn placements(&self) -> Step {
        let total = &self.strand.total;
        let mut says: Vec<String> = self
            .strand
            .groups
            .iter()
            .take(LISTED)
            .map(|group| {
                let on: Vec<String> = match group.stays.as_slice() {
                    [only] if only.interval == self.strand.span => vec![only.shard.clone()],
                    stays => stays
                        .iter()
                        .map(|stay| {
                            let (from, to) = (stay.interval.start(), stay.interval.end());
                            format!(
                                "{} from {} to {}",
                                stay.shard,
                                local(from, self.sum.zone),
                                local(to, self.sum.zone)
                            )
                        })
                        .collect(),
                };
                let contested = if group.contested { " (two sources disagree)" } else { "" };
                format!("{} on {}{contested}", counted(group.mailboxes.len(), "mailbox"), on.join(", "))
            })
            .collect();
        if self.strand.groups.len() > LISTED {
            says.push(format!("and {} more groups", self.strand.groups.len() - LISTED));
        }
        let says = if says.is_empty() { "There was no mailbox.".to_owned() } else { format!("{}.", says.join("; ")) };
        self.step(
            StepName::Placements,
            says,
            [("mailboxes", total.mailboxes.to_string()), ("groups", self.strand.groups.len().to_string())],
        )
    }

    pub(super) fn joined(&self) -> Step {
        let overlap: i64 = self.uncounted(|why| matches!(why, Why::Overlap { .. }));
        let measured = self.strand.total.measured_micros;
        let says = if overlap > 0 {
            format!(
                "{}, the records add up to {}; {} of it lies in two records and counts once.",
                capital(&self.hit_most()),
                spoken(measured),
                spoken(overlap)
            )
        } else {
            format!(
                "{}, the records add up to {}, and no minute of it counts for two records.",
                capital(&self.hit_most()),
                spoken(measured)
            )
        };
        self.step(
            StepName::Joined,
            says,
            [("measured_micros", measured.to_string()), ("overlap_micros", overlap.to_string())],
        )
    }

    pub(super) fn planned_cut(&self) -> Step {
        let excused = self.uncounted(|why| matches!(why, Why::Planned { .. }));
        let denominator = |removes_from: &RemovesFrom| match removes_from {
            RemovesFrom::Numerator => "",
            RemovesFrom::NumeratorAndDenominator => ", and is taken out of the time promised too",
        };
        let mut says = vec![match self.remedy.planned(self.terms) {
            Planned::Counts => "Planned work counts like any outage.".to_owned(),
            Planned::Excused { minimum_notice_hours, removes_from, overrun, yearly_allowance_hours } => {
                let as_far = match overrun {
                    Overrun::CountsFromTheAnnouncedEnd => "as far as it kept to what was announced",
                    Overrun::CountsFromTheStart => "if it kept to what was announced",
                };
                let ahead = match minimum_notice_hours {
                    0 => "before it was to begin".to_owned(),
                    hours => format!("at least {hours} hours ahead"),
                };
                let allowance = yearly_allowance_hours.map_or_else(String::new, |hours| {
                    let used = self.inputs.history.map_or(0, |history| history.excused_this_year_micros);
                    format!(
                        " At most {hours} hours of a year are excused; before, {}.",
                        some(used, "was used", "were used")
                    )
                });
                format!(
                    "Planned work does not count if it was announced {ahead}, {as_far}{}: {}.{allowance}",
                    denominator(removes_from),
                    some(excused, "is cut", "are cut")
                )
            }
            Planned::FixedHours { removes_from, .. } => {
                let cut = self.uncounted(|why| why == Why::FixedHours);
                format!(
                    "Nothing counts in the hours kept free for work{}: {}.",
                    denominator(removes_from),
                    some(cut, "is cut", "are cut")
                )
            }
        }];
        says.extend(self.strand.lines.iter().enumerate().filter_map(|(index, line)| {
            let notice = line.notice?;
            Some(format!(
                "Record {}: announced {} for {} to {}, {}{}.",
                index + 1,
                local(notice.announced_at, self.sum.zone),
                local(notice.announced.start(), self.sum.zone),
                local(notice.announced.end(), self.sum.zone),
                match notice.notice_micros {
                    0.. => format!("{} ahead", spoken_long(notice.notice_micros)),
                    _ => format!("{} after it was to begin", spoken_long(-notice.notice_micros)),
                },
                if notice.enough { "" } else { ", which does not excuse it" }
            ))
        }));
        self.step(StepName::PlannedCut, says.join(" "), [("excused_micros", excused.to_string())])
    }

    pub(super) fn clock(&self) -> Step {
        let mut says = vec![match self.terms.clock.starts {
            ClockStart::WhenItBegan => {
                "Time runs from when each outage began, whether or not anybody reported it.".to_owned()
            }
            ClockStart::WhenReported => {
                let mut reports = self.inputs.reports.clone();
                reports.sort_unstable();
                let reports: Vec<String> = reports.into_iter().map(|at| local(at, self.sum.zone)).collect();
                let before = self.uncounted(|why| matches!(why, Why::BeforeReport | Why::NotReported));
                let told = if reports.is_empty() { "never".to_owned() } else { reports.join(", ") };
                format!(
                    "Time runs from when the customer reported it ({told}): {}.",
                    some(before, "lies before or without a report", "lie before or without a report")
                )
            }
        }];
        let paused = self.uncounted(|why| matches!(why, Why::Paused { .. }));
        let known = |kind: &str| self.terms.clock.pauses.iter().find(|known| known.kind == kind);
        let pauses: Vec<String> = self
            .inputs
            .pauses
            .iter()
            .filter_map(|pause| {
                let known = known(&pause.kind)?;
                let (from, to) =
                    (local(pause.interval.start(), self.sum.zone), local(pause.interval.end(), self.sum.zone));
                let after = match known.and_hours_after {
                    0 => String::new(),
                    hours => format!(" and {hours} hours after it"),
                };
                let promised = match known.removes_from {
                    RemovesFrom::Numerator => "",
                    RemovesFrom::NumeratorAndDenominator => ", which are not promised either",
                };
                Some(format!("{} from {from} to {to}{after}{promised}", pause.kind))
            })
            .collect();
        says.push(if pauses.is_empty() {
            "It does not pause.".to_owned()
        } else {
            format!("It stood still for {}: {}.", pauses.join("; "), some(paused, "is cut", "are cut"))
        });
        if self.terms.time.hours == Hours::WorkingHours {
            let outside = self.uncounted(|why| why == Why::OutsideHours);
            says.push(format!(
                "Only working hours are promised: {}.",
                some(outside, "lies outside them", "lie outside them")
            ));
        }
        let others = self.uncounted(|why| why == Why::OtherTerms);
        if others > 0 {
            says.push(format!("{} began under other terms, which judge them.", spoken(others)));
        }
        self.step(StepName::Clock, says.join(" "), [("paused_micros", paused.to_string())])
    }

    pub(super) fn minimum_length(&self) -> Step {
        let dropped = self.uncounted(|why| matches!(why, Why::OutageTooShort | Why::OutageTooLong));
        let of = |of: LengthOf| match of {
            LengthOf::BeforeCuts => "measured before anything is cut",
            LengthOf::WhatIsLeft => "measured by what is left",
            LengthOf::EachPieceLeft => "measured by each piece that is left",
        };
        let dropped_are = some(dropped, "is dropped", "are dropped");
        let says = match self.remedy.outage_length {
            OutageLength::Any => "There is no shortest outage: every second counts.".to_owned(),
            OutageLength::AtLeast { seconds, of: left } => {
                format!("An outage shorter than {}, {}, does not count: {dropped_are}.", length(seconds), of(left))
            }
            OutageLength::LongerThan { seconds, of: left } => {
                format!("Only an outage longer than {}, {}, counts: {dropped_are}.", length(seconds), of(left))
            }
            OutageLength::Below { seconds, of: left } => {
                format!("Only outages shorter than {}, {}, count here: {dropped_are}.", length(seconds), of(left))
            }
        };
        self.step(StepName::MinimumLength, says, [("dropped_micros", dropped.to_string())])
    }

    pub(super) fn cut_to_period(&self) -> Step {
        let outside: i64 = self.worst_lines().map(|line| line.outside_period_micros).sum();
        let edges = match self.terms.time.edges {
            Edges::Cut => "An outage is cut where a period ends",
            Edges::WhereItBegan => "All of an outage belongs to the period in which it began",
            Edges::WhereItEnded => "All of an outage belongs to the period in which it ended",
        };
        let others = self.uncounted(|why| why == Why::OtherPeriod);
        let says = format!(
            "{edges}. {} {}{}.",
            capital(&some(outside, "of the records lies before or after", "of the records lie before or after")),
            period(self.inputs.period),
            if others > 0 { format!(", and {} belong to another period", spoken(others)) } else { String::new() }
        );
        self.step(StepName::CutToPeriod, says, [("outside_micros", outside.to_string())])
    }

    pub(super) fn weighted(&self) -> Step {
        let total = &self.strand.total;
        let counted = total.counted_micros;
        let worst = self.strand.groups.first().map_or(Ratio::ZERO, |group| group.weighted_micros);
        let mut says = if counted == 0 {
            "Nothing is left that counts.".to_owned()
        } else if worst == Ratio::whole(counted) {
            format!("What is left counts in full: {}.", spoken(counted))
        } else {
            format!("{} count, weighed as {} minutes.", spoken(counted), minutes_exact(worst))
        };
        for (index, line) in self.strand.lines.iter().enumerate() {
            if let Some(reach) = line.reach {
                says.push_str(&format!(
                    " Record {} hit {} of {}.",
                    index + 1,
                    grouped(reach.hit.into()),
                    grouped(reach.of.into())
                ));
            }
        }
        self.step(
            StepName::Weighted,
            says,
            [("counted_micros", counted.to_string()), ("weighted_micros", worst.to_string())],
        )
    }

    /// Whose minutes the records are.
    pub(super) fn hit_most(&self) -> String {
        match self.strand.groups.first() {
            Some(worst) if worst.mailboxes.len() <= 2 => format!("for {}", named(&worst.mailboxes)),
            Some(_) | None => "for the mailboxes that were hit most".to_owned(),
        }
    }

    fn worst_lines(&self) -> impl Iterator<Item = &Line> {
        self.strand.lines.iter().filter(|line| line.group == 0)
    }

    fn uncounted(&self, which: impl Fn(Why) -> bool) -> i64 {
        self.worst_lines().flat_map(|line| &line.uncounted).filter(|part| which(part.why)).map(|part| part.micros).sum()
    }
}
