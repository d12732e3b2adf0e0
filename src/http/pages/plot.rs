//! Pictures of time: the month's day bars and the state lanes, as SVG text that is the same bytes for the same input.
//!
//! Bars hold no words and no strokes, since they stretch with the page; words stand beside them in HTML. A state is told
//! by its height first and by its colour second. Every picture has a title and a description that says its numbers.

use std::fmt::Write;

use chrono::{Days, NaiveDate, NaiveTime, TimeDelta, Timelike};

use super::fmt::{self, Reader};
use crate::domain::period::{Month, Zone};
use crate::domain::time::{DAY, HOUR, Instant, Interval, IntervalSet};

/// A number of hundredths as text with two decimals.
fn hundredths(value: i64) -> String {
    format!("{}.{:02}", value / 100, value % 100)
}

/// `whole x part / of`, held between 0 and `whole`. Nothing of nothing is nothing.
fn scaled(whole: i64, part: i64, of: i64) -> i64 {
    if of <= 0 {
        return 0;
    }
    let value = i128::from(whole) * i128::from(part.clamp(0, of)) / i128::from(of);
    i64::try_from(value).unwrap_or(whole)
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// A mark on an axis: `--x` and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tick {
    /// "38.71%".
    pub x: String,
    /// "Tue", before a date; left out on a narrow screen.
    pub weekday: String,
    pub label: String,
    /// Left out on a narrow screen.
    pub is_minor: bool,
}

/// What one day held. The lengths are of one mailbox: the one that was down longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayBar {
    pub day: NaiveDate,
    pub down_micros: i64,
    /// Recorded and not counted; not part of `down_micros`.
    pub excluded_micros: i64,
    /// 23, 24 or 25 hours, as the zone says.
    pub length_micros: i64,
    /// The day has not begun, so nothing is known of it.
    pub is_ahead: bool,
}

/// One line of the table under the bars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayRow {
    pub day: String,
    pub down: String,
    pub excluded: String,
}

/// A month as one bar for each day, its height the part of the day that mail was down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayBars {
    pub svg: String,
    pub ticks: Vec<Tick>,
    /// Days with something to say.
    pub rows: Vec<DayRow>,
    pub has_down: bool,
    pub has_excluded: bool,
    pub has_ahead: bool,
}

const BAR_HEIGHT: i64 = 6_000;

impl DayBars {
    /// Bars of `days`, in their order.
    pub fn new(days: &[DayBar]) -> Self {
        let count = i64::try_from(days.len()).unwrap_or(0);
        let description = escaped(&described(days));
        let mut svg = format!(
            r#"<svg class="bars" role="img" aria-labelledby="days-t days-d" viewBox="0 0 {} 60" preserveAspectRatio="none"><title id="days-t">Downtime on each day</title><desc id="days-d">{description}</desc>"#,
            count * 10
        );
        for (index, bar) in (0..).zip(days) {
            draw_day(&mut svg, index * 10 + 1, bar);
        }
        svg.push_str("</svg>");
        let is_something = |bar: &&DayBar| bar.down_micros > 0 || bar.excluded_micros > 0;
        let row = |bar: &DayBar| DayRow {
            day: fmt::day(bar.day),
            down: fmt::length_short(bar.down_micros),
            excluded: fmt::length_short(bar.excluded_micros),
        };
        let tick = |(index, bar): (i64, &DayBar)| Tick {
            x: hundredths(scaled(10_000, index, count)) + "%",
            weekday: String::new(),
            label: if index == 0 { fmt::day_month_short(bar.day) } else { bar.day.format("%-d").to_string() },
            is_minor: index % 14 == 7,
        };
        DayBars {
            svg,
            ticks: (0..).zip(days).filter(|(index, _)| index % 7 == 0).map(tick).collect(),
            rows: days.iter().filter(is_something).map(row).collect(),
            has_down: days.iter().any(|bar| bar.down_micros > 0),
            has_excluded: days.iter().any(|bar| bar.excluded_micros > 0),
            has_ahead: days.iter().any(|bar| bar.is_ahead),
        }
    }

    /// The bars of a month, from what was counted and what was recorded and not counted. Time that is in both is down.
    pub fn of_month(month: Month, zone: Zone, down: &IntervalSet, excluded: &IntervalSet, as_of: Instant) -> Self {
        let excluded = excluded.minus(down);
        let bar = |(day, whole): (NaiveDate, Interval)| DayBar {
            day,
            down_micros: down.clipped(whole).micros(),
            excluded_micros: excluded.clipped(whole).micros(),
            length_micros: whole.micros(),
            is_ahead: whole.start() >= as_of,
        };
        DayBars::new(&month.days(zone).into_iter().map(bar).collect::<Vec<_>>())
    }
}

/// Writes one day: working behind, down from the bottom, and what is not counted on top of it.
fn draw_day(svg: &mut String, x: i64, bar: &DayBar) {
    let mut rect = |class: &str, top: i64, height: i64| {
        let (top, height) = (hundredths(top), hundredths(height));
        let _ = write!(svg, r#"<rect class="{class}" x="{x}" y="{top}" width="8" height="{height}"/>"#);
    };
    if bar.is_ahead {
        rect("ahead", BAR_HEIGHT - 300, 300);
        return;
    }
    rect("ok", 0, BAR_HEIGHT);
    let mut down = 0;
    if bar.down_micros > 0 {
        down = scaled(BAR_HEIGHT, bar.down_micros, bar.length_micros).max(200);
        rect("down", BAR_HEIGHT - down, down);
    }
    if bar.excluded_micros > 0 {
        // A hair of the bar behind stays visible between the two, and a day that was all down still shows the other.
        let gap = if down > 0 { 150 } else { 0 };
        let height = scaled(BAR_HEIGHT, bar.excluded_micros, bar.length_micros).max(600);
        let top = (BAR_HEIGHT - down - gap - height).max(0);
        rect("excl", top, height);
    }
}

/// The longest list of days that a description spells out.
const DAYS_SPELT: usize = 6;

fn described(days: &[DayBar]) -> String {
    let spelt = |length: fn(&DayBar) -> i64| {
        let hit: Vec<&DayBar> = days.iter().filter(|bar| length(bar) > 0).collect();
        let mut names: Vec<String> = hit
            .iter()
            .take(DAYS_SPELT)
            .map(|bar| format!("{} on {}", fmt::length_flat(length(bar)), fmt::weekday(bar.day)))
            .collect();
        if hit.len() > DAYS_SPELT {
            names.push(format!("{} more days", hit.len() - DAYS_SPELT));
        }
        fmt::listed(&names)
    };
    let (down, excluded) = (spelt(|bar| bar.down_micros), spelt(|bar| bar.excluded_micros));
    let mut text = format!("{} daily bars.", days.len());
    if !down.is_empty() {
        let _ = write!(text, " Mail was down for {down}.");
    }
    if !excluded.is_empty() {
        let _ = write!(text, " Not counted: {excluded}.");
    }
    text.push_str(match (down.is_empty(), excluded.is_empty()) {
        (true, true) => " No day had downtime.",
        (true, false) => " No day had counted downtime.",
        (false, _) => " All other days had no downtime.",
    });
    let ahead = days.iter().filter(|bar| bar.is_ahead).count();
    if ahead > 0 {
        let _ = write!(text, " {ahead} days are still to come.");
    }
    text
}

/// How a stretch of time was, for some mailboxes. Where two overlap, the earlier in this list is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpanState {
    Down,
    Slow,
    /// Recorded and not counted, such as planned work.
    NotCounted,
}

impl SpanState {
    fn class(self) -> &'static str {
        match self {
            SpanState::Down => "down",
            SpanState::Slow => "slow",
            SpanState::NotCounted => "excl",
        }
    }

    /// Of the 28 that a lane is high.
    fn height(self) -> i64 {
        match self {
            SpanState::Down => 28,
            SpanState::Slow => 16,
            SpanState::NotCounted => 8,
        }
    }
}

/// The history of mailboxes that share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneSpec {
    /// "8 mailboxes on mail system 7".
    pub label: String,
    /// "Down 22 h 15 min", "No downtime".
    pub summary: String,
    pub spans: Vec<(Interval, SpanState)>,
}

/// One lane, drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    pub label: String,
    pub summary: String,
    pub svg: String,
}

/// Lanes over one stretch of time, one below the other, with their axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lanes {
    /// "Tuesday 13 and Wednesday 14 October".
    pub heading: String,
    /// "New Zealand time".
    pub zone_name: String,
    pub lanes: Vec<Lane>,
    pub ticks: Vec<Tick>,
    pub has_slow: bool,
    pub has_excluded: bool,
}

const LANE_WIDTH: i64 = 72_000;

impl Lanes {
    /// Lanes over `window`. `id` is unique on the page.
    pub fn new(
        id: &str,
        heading: &str,
        window: Interval,
        (zone, zone_name): (Zone, &str),
        reader: Reader,
        specs: &[LaneSpec],
    ) -> Self {
        let lane = |(index, spec): (usize, &LaneSpec)| Lane {
            label: spec.label.clone(),
            summary: spec.summary.clone(),
            svg: draw_lane(&format!("{}-{index}", escaped(id)), window, spec),
        };
        let has = |state| specs.iter().any(|spec| spec.spans.iter().any(|(_, other)| *other == state));
        Lanes {
            heading: heading.to_owned(),
            zone_name: zone_name.to_owned(),
            lanes: specs.iter().enumerate().map(lane).collect(),
            ticks: ticks(window, zone, reader),
            has_slow: has(SpanState::Slow),
            has_excluded: has(SpanState::NotCounted),
        }
    }

    /// Stretches that belong into one picture: intervals less than a day apart, each stretch with a quarter of its length
    /// on both sides, out to the next quarter of a local day.
    pub fn windows(intervals: &[Interval], zone: Zone) -> Vec<Interval> {
        let widened =
            intervals.iter().filter_map(|one| Interval::new(one.start().plus(-DAY / 2), one.end().plus(DAY / 2)).ok());
        let groups: IntervalSet = widened.collect();
        let narrowed = groups
            .intervals()
            .iter()
            .filter_map(|group| Interval::new(group.start().plus(DAY / 2), group.end().plus(-DAY / 2)).ok());
        narrowed.filter_map(|stretch| around(stretch, zone)).collect()
    }

    /// "Tuesday 13 and Wednesday 14 October": the days that a stretch touches, for a heading.
    pub fn heading_of(stretch: Interval, zone: Zone) -> String {
        let first = zone.local(stretch.start()).date_naive();
        let last = zone.local(stretch.end().plus(-1)).date_naive();
        if first == last {
            return fmt::weekday(first);
        }
        let joint = if first.succ_opt() == Some(last) { "and" } else { "to" };
        let start = if first.format("%m").to_string() == last.format("%m").to_string() {
            first.format("%A %-d").to_string()
        } else {
            fmt::weekday(first)
        };
        format!("{start} {joint} {}", fmt::weekday(last))
    }
}

/// The local quarter of a day at or before `at`, moved by `quarters`.
fn quarter(at: Instant, zone: Zone, quarters: i64) -> Option<Instant> {
    let local = zone.local(at).naive_local();
    let hour = local.hour() / 6 * 6;
    let mark = local.date().and_time(NaiveTime::from_hms_opt(hour, 0, 0)?) + TimeDelta::hours(6 * quarters);
    local_mark(mark.date(), mark.hour(), zone)
}

/// The instant of a full local hour; where clocks skipped it, as many hours after the day's start.
fn local_mark(day: NaiveDate, hour: u32, zone: Zone) -> Option<Instant> {
    let first = zone.instants_of(day.and_hms_opt(hour, 0, 0)?).first().copied();
    first.or_else(|| Some(zone.start_of(day)?.plus(i64::from(hour) * HOUR)))
}

fn around(stretch: Interval, zone: Zone) -> Option<Interval> {
    let side = stretch.micros() / 4;
    let start = quarter(stretch.start().plus(-side), zone, 0)?;
    let wanted = stretch.end().plus(side);
    let floor = quarter(wanted, zone, 0)?;
    let end = if floor == wanted { floor } else { quarter(wanted, zone, 1)? };
    Interval::new(start, end).ok()
}

fn position(window: Interval, at: Instant, width: i64) -> i64 {
    scaled(width, at.micros() - window.start().micros(), window.micros())
}

fn draw_lane(id: &str, window: Interval, spec: &LaneSpec) -> String {
    let (label, summary) = (escaped(&spec.label), escaped(&spec.summary));
    let mut svg = format!(
        r#"<svg class="lane" role="img" aria-labelledby="{id}-t {id}-d" viewBox="0 0 720 28" preserveAspectRatio="none"><title id="{id}-t">{label}</title><desc id="{id}-d">{label}: {summary}</desc><rect class="ok" x="0" y="0" width="720" height="28"/>"#
    );
    let mut shown = IntervalSet::empty();
    for state in [SpanState::Down, SpanState::Slow, SpanState::NotCounted] {
        let all: IntervalSet = spec.spans.iter().filter(|(_, s)| *s == state).map(|(interval, _)| *interval).collect();
        let left = all.clipped(window).minus(&shown);
        for part in left.intervals() {
            let x = position(window, part.start(), LANE_WIDTH);
            let width = (position(window, part.end(), LANE_WIDTH) - x).max(150);
            let _ = write!(
                svg,
                r#"<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>"#,
                state.class(),
                hundredths(x.min(LANE_WIDTH - width)),
                28 - state.height(),
                hundredths(width),
                state.height()
            );
        }
        shown = shown.union(&all);
    }
    svg.push_str("</svg>");
    svg
}

/// Marks at local hours or days, at most seven, placed by elapsed time: a day of 23 hours is 23 hours wide.
fn ticks(window: Interval, zone: Zone, reader: Reader) -> Vec<Tick> {
    let quarters = window.micros() / (6 * HOUR);
    let step_hours = match quarters {
        ..=6 => 6,
        7..=14 => 12,
        _ => 24 * u32::try_from(quarters / 28 + 1).unwrap_or(u32::MAX / 24),
    };
    let marks = local_marks(window, zone, step_hours);
    let label = |at: Instant| {
        let local = zone.local(at);
        match (local.hour(), reader) {
            (0, _) => fmt::day_month_short(local.date_naive()),
            (12, Reader::Customer) => "12 noon".to_owned(),
            (_, Reader::Customer) => local.format("%-I %P").to_string(),
            (_, Reader::Staff) => local.format("%H:%M").to_string(),
        }
    };
    let mark = |(index, at): (usize, Instant)| Tick {
        x: hundredths(position(window, at, 10_000)) + "%",
        weekday: if zone.local(at).hour() == 0 { zone.local(at).format("%a").to_string() } else { String::new() },
        label: label(at),
        is_minor: index % 2 == 1,
    };
    marks.into_iter().enumerate().map(mark).collect()
}

/// The local marks inside a window, every `step_hours` from its first day's start. A mark too near the right edge for its
/// words is left out.
fn local_marks(window: Interval, zone: Zone, step_hours: u32) -> Vec<Instant> {
    let first = zone.local(window.start()).date_naive();
    let last = window.start().plus(scaled(window.micros(), 92, 100));
    let day_step = u64::from(step_hours.div_ceil(24).max(1));
    let mut marks = Vec::new();
    let mut day = first;
    while zone.start_of(day).is_some_and(|start| start <= last) {
        for hour in (0..24).step_by(usize::try_from(step_hours).unwrap_or(24).max(1)) {
            marks.extend(local_mark(day, hour, zone).filter(|at| window.start() <= *at && *at <= last));
        }
        match day.checked_add_days(Days::new(day_step)) {
            Some(next) => day = next,
            None => break,
        }
    }
    marks
}
