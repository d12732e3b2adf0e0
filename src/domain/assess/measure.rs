//! Measures: from time that counts, samples and events to the things that a schedule judges.

use std::collections::BTreeSet;

use chrono::NaiveDate;

use super::assessment::Measured;
use super::laid::Severity;
use super::overlay::Outage;
use super::{AssessError, Event, Sample};
use crate::domain::calendar::Calendar;
use crate::domain::period::Zone;
use crate::domain::ratio::{Overflow, Ratio};
use crate::domain::remedy::{DayKind, DaysOf, Grace, Measure, Silent, Whether};
use crate::domain::time::{HOUR, Instant, Interval, IntervalSet, SECOND};
use crate::domain::window::Capability;

/// One measured thing, as a schedule looks at it.
#[derive(Clone, Debug)]
pub(super) struct Thing {
    pub measured: Measured,
    /// The day for prices that change: its own, or the first of what it is.
    pub on: NaiveDate,
    /// Time down, weighed, in microseconds.
    pub down_micros: Option<Ratio>,
    /// The time promised, in microseconds.
    pub promised_micros: i64,
    /// The part of what was promised that was kept.
    pub uptime: Option<Ratio>,
    pub severity: Severity,
    /// Which outage it belongs to: an index.
    pub outage: Option<usize>,
    /// Days: its number, and whether the grace has run out.
    pub day: Option<Day>,
    /// Whether there is anything to judge: an event that the customer was told of in time is listed and pays nothing.
    pub counts: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Day {
    pub number: u32,
    pub date: NaiveDate,
    pub grace_ends: Option<NaiveDate>,
}

/// What there is to measure, for one mailbox or for the account.
#[derive(Debug)]
pub(super) struct Felt<'a> {
    pub outages: &'a [Outage],
    /// Time down, weighed, and the time promised, in microseconds.
    pub down_micros: Ratio,
    pub promised_micros: i64,
}

/// What measures look at beside time.
#[derive(Debug)]
pub(super) struct Ground<'a> {
    pub zone: Zone,
    pub span: Interval,
    pub calendar: Option<&'a Calendar>,
    pub capabilities: &'a [Capability],
    pub samples: &'a [Sample],
    pub events: &'a [Event],
    /// Where days of a grace are counted.
    pub grace: Option<Grace>,
}

impl Ground<'_> {
    fn day(&self, at: Instant) -> NaiveDate {
        self.zone.local(at).date_naive()
    }
}

/// (promised - down) / promised, as a part of one. Where no time was promised, nothing was missed.
pub(super) fn uptime(down_micros: Ratio, promised_micros: i64) -> Result<Ratio, Overflow> {
    if promised_micros <= 0 {
        return Ok(Ratio::ONE);
    }
    let promised = Ratio::whole(promised_micros);
    promised.minus(down_micros)?.over(promised)
}

/// All that is measured, by time.
pub(super) fn things(measure: &Measure, felt: &Felt<'_>, ground: &Ground<'_>) -> Result<Vec<Thing>, AssessError> {
    let whole = |measured: Measured, uptime: Ratio| Thing {
        measured,
        on: ground.day(ground.span.start()),
        down_micros: Some(felt.down_micros),
        promised_micros: felt.promised_micros,
        uptime: Some(uptime),
        severity: felt.outages.iter().map(|outage| outage.severity).min().unwrap_or(Severity::Full),
        outage: None,
        day: None,
        counts: true,
    };
    Ok(match measure {
        Measure::Uptime { .. } | Measure::TimeDown => {
            let uptime = uptime(felt.down_micros, felt.promised_micros)?;
            vec![whole(Measured::Period { down_micros: felt.down_micros, uptime }, uptime)]
        }
        Measure::ErrorRate { interval_seconds, silent } => {
            let (intervals, error_rate) = error_rate(*interval_seconds, *silent, ground)?;
            let uptime = Ratio::ONE.minus(error_rate)?;
            vec![whole(Measured::ErrorRate { intervals, error_rate, uptime }, uptime)]
        }
        Measure::Outages => felt
            .outages
            .iter()
            .enumerate()
            .map(|(index, outage)| outage_thing(index, outage, felt.promised_micros, ground))
            .collect::<Result<_, Overflow>>()?,
        Measure::Days { days, first_day, last_day, of } => {
            let kinds = (*days, *first_day, *last_day);
            match of {
                DaysOf::EachOutage => felt
                    .outages
                    .iter()
                    .enumerate()
                    .flat_map(|(index, outage)| days_of(index, outage, kinds, ground))
                    .collect(),
                DaysOf::ThePeriod => days_of_period(felt.outages, kinds, ground),
            }
        }
        Measure::Events { event, unless_notice_hours } => {
            let mut things: Vec<Thing> = ground
                .events
                .iter()
                .filter(|one| one.kind == *event && ground.span.start() <= one.at && one.at < ground.span.end())
                .map(|one| {
                    let told = unless_notice_hours.is_some_and(|hours| {
                        one.notice_micros() >= i64::from(hours) * HOUR && one.announced_at.is_some()
                    });
                    let measured = Measured::Event { at: one.at, counts: !told };
                    let on = ground.day(one.at);
                    Thing { on, down_micros: None, uptime: None, counts: !told, ..whole(measured, Ratio::ONE) }
                })
                .collect();
            things.sort_by_key(|thing| thing.on);
            things
        }
    })
}

fn outage_thing(index: usize, outage: &Outage, promised_micros: i64, ground: &Ground<'_>) -> Result<Thing, Overflow> {
    let interval = ends(&outage.counted).unwrap_or(ground.span);
    let down_micros = outage.weighted.total()?;
    Ok(Thing {
        measured: Measured::Outage { interval, down_micros },
        on: ground.day(interval.start()),
        down_micros: Some(down_micros),
        promised_micros,
        uptime: None,
        severity: outage.severity,
        outage: Some(index),
        day: None,
        counts: true,
    })
}

/// From the first instant of a set to its last.
pub(super) fn ends(set: &IntervalSet) -> Option<Interval> {
    let (first, last) = (set.intervals().first()?, set.intervals().last()?);
    Interval::new(first.start(), last.end()).ok()
}

/// The days of an outage that count: those on which any of its time does. Its first day is the one on which its clock started,
/// whatever paused it then; its last day is the one on which it was restored, which is the day after a restoration at
/// midnight's own stroke.
fn dates(
    outage: &Outage,
    (kind, first_day, last_day): (DayKind, Whether, Whether),
    ground: &Ground<'_>,
) -> Vec<NaiveDate> {
    let Some(whole) = ends(&outage.counted) else { return Vec::new() };
    let first = match first_day {
        Whether::Counts => Some(ground.day(outage.began)),
        Whether::DoesNotCount => ground.day(outage.began).succ_opt(),
    };
    // What lies before the time that is judged has nothing that counts.
    let first = first.map(|first| first.max(ground.day(whole.start())));
    let last = match last_day {
        Whether::Counts => Some(ground.day(whole.end().plus(-1))),
        Whether::DoesNotCount => ground.day(whole.end()).pred_opt(),
    };
    let (Some(first), Some(last)) = (first, last) else { return Vec::new() };
    let mut dates = Vec::new();
    let mut day = first;
    while day <= last {
        let is_kind = match kind {
            DayKind::Calendar => true,
            DayKind::Working => ground.calendar.is_some_and(|calendar| calendar.is_working_day(day)),
        };
        let Some(next) = day.succ_opt() else { break };
        let hours = ground.zone.start_of(day).zip(ground.zone.start_of(next));
        let hours = hours.and_then(|(from, to)| Interval::new(from, to).ok());
        if is_kind && hours.is_some_and(|hours| !outage.counted.clipped(hours).is_empty()) {
            dates.push(day);
        }
        day = next;
    }
    dates
}

fn days_of(index: usize, outage: &Outage, kinds: (DayKind, Whether, Whether), ground: &Ground<'_>) -> Vec<Thing> {
    let dates = dates(outage, kinds, ground);
    let grace_ends = grace_ends(&dates, ground);
    number(dates, Some(index), outage.severity, grace_ends)
}

fn days_of_period(outages: &[Outage], kinds: (DayKind, Whether, Whether), ground: &Ground<'_>) -> Vec<Thing> {
    let dates: BTreeSet<NaiveDate> = outages.iter().flat_map(|outage| dates(outage, kinds, ground)).collect();
    let severity = outages.iter().map(|outage| outage.severity).min().unwrap_or(Severity::Full);
    number(dates, None, severity, None)
}

fn number(
    dates: impl IntoIterator<Item = NaiveDate>,
    outage: Option<usize>,
    severity: Severity,
    grace_ends: Option<NaiveDate>,
) -> Vec<Thing> {
    dates
        .into_iter()
        .zip(1u32..)
        .map(|(date, number)| Thing {
            measured: Measured::Days { first: date, last: date, number, count: 1, outage, grace_ends },
            on: date,
            down_micros: None,
            promised_micros: 0,
            uptime: None,
            severity,
            outage,
            day: Some(Day { number, date, grace_ends }),
            counts: true,
        })
        .collect()
}

/// The day at whose end the grace runs out: the n-th of the days that count (of those, the n-th working day). Where fewer count, it
/// goes on after them without a break, as if the outage did.
fn grace_ends(dates: &[NaiveDate], ground: &Ground<'_>) -> Option<NaiveDate> {
    let grace = ground.grace.filter(|grace| grace.days > 0)?;
    let is_kind = |day: NaiveDate| match grace.of {
        DayKind::Calendar => true,
        DayKind::Working => ground.calendar.is_some_and(|calendar| calendar.is_working_day(day)),
    };
    let counted = dates.iter().copied().filter(|day| is_kind(*day));
    let wanted = usize::try_from(grace.days).ok()?;
    if let Some(day) = counted.clone().nth(wanted.checked_sub(1)?) {
        return Some(day);
    }
    let missing = grace.days.checked_sub(u32::try_from(counted.count()).ok()?)?;
    let last = dates.last()?;
    match grace.of {
        DayKind::Calendar => last.checked_add_days(chrono::Days::new(missing.into())),
        DayKind::Working => ground.calendar?.nth_working_day_after(*last, missing),
    }
}

/// The number of intervals of the period, and the mean of their error rates. An interval without a sample had requests and
/// no errors.
fn error_rate(interval_seconds: u32, silent: Silent, ground: &Ground<'_>) -> Result<(u64, Ratio), AssessError> {
    let length = i64::from(interval_seconds.max(1)) * SECOND;
    let whole = u64::try_from(ground.span.micros() / length).unwrap_or(0);
    let (mut sampled, mut left_out, mut sum) = (0u64, 0u64, Ratio::ZERO);
    let is_judged = |sample: &&Sample| {
        let in_period = ground.span.start() <= sample.start && sample.start < ground.span.end();
        in_period && ground.capabilities.iter().any(|promised| sample.of.is_within(promised))
    };
    for sample in ground.samples.iter().filter(is_judged) {
        let intervals = u64::from(sample.intervals);
        sampled += intervals;
        if sample.errors > sample.requests {
            return Err(AssessError::MoreErrorsThanRequests { at: sample.start });
        }
        if sample.requests == 0 {
            match silent {
                Silent::HasNoErrors => {}
                Silent::IsLeftOut => left_out += intervals,
            }
            continue;
        }
        let rate = Ratio::new(sample.errors.into(), sample.requests.into())?;
        sum = sum.plus(rate.times(Ratio::whole(i128::from(intervals)))?)?;
    }
    if sampled > whole {
        return Err(AssessError::TooManySamples { sampled, intervals: whole });
    }
    let counted = whole - left_out;
    let mean = if counted == 0 { Ratio::ZERO } else { sum.over(Ratio::whole(i128::from(counted)))? };
    Ok((counted, mean))
}
