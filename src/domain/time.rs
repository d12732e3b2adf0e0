//! Instants and half-open intervals, in whole microseconds since 1970 (UTC), and the algebra on sets of them.
//!
//! Nothing here asks what time it is, and nothing is truncated: PostgreSQL keeps microseconds, so do we.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A second, minute, hour and day of elapsed time, in microseconds. A calendar day may have 23 or 25 hours: see
/// [`super::period`].
pub const SECOND: i64 = 1_000_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// A point in time: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(i64);

/// The first and the last instant that makegood takes: the years 1970 to 2199. Dates at the edge of what a computer can
/// hold are a mistake or an attack.
const EARLIEST: i64 = 0;
const LATEST: i64 = 7_258_118_400 * SECOND;

impl Instant {
    pub const MIN: Instant = Instant(EARLIEST);
    pub const MAX: Instant = Instant(LATEST);

    /// From microseconds since 1970; none outside the years 1970 to 2199.
    pub fn from_micros(micros: i64) -> Option<Self> {
        (EARLIEST..=LATEST).contains(&micros).then_some(Instant(micros))
    }

    pub fn micros(self) -> i64 {
        self.0
    }

    /// From a date and time; what is finer than a microsecond is cut, as PostgreSQL does.
    pub fn from_utc(at: DateTime<Utc>) -> Option<Self> {
        Instant::from_micros(at.timestamp_micros())
    }

    pub fn utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or(DateTime::<Utc>::UNIX_EPOCH)
    }

    /// Reads RFC 3339 with an offset (`Z` or `+13:00`). A time without an offset is refused: it would not be an instant.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        let at =
            DateTime::parse_from_rfc3339(text).map_err(|_| TimeError::NotAnInstant(text.chars().take(40).collect()))?;
        Instant::from_utc(at.with_timezone(&Utc)).ok_or(TimeError::OutOfRange)
    }

    /// This instant moved by `micros`; held at the edges of the range.
    pub fn plus(self, micros: i64) -> Self {
        Instant(self.0.saturating_add(micros).clamp(EARLIEST, LATEST))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    #[error("{0:?} is not an instant: write it as 2026-10-12T17:10:00Z or with an offset such as +13:00")]
    NotAnInstant(String),
    #[error("the time lies outside the years 1970 to 2199")]
    OutOfRange,
    #[error("the end must be after the start")]
    EndBeforeStart,
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.utc().to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Instant {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Instant::parse(&String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Instant {
    fn schema_name() -> Cow<'static, str> {
        "Instant".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "date-time",
            "description": "A point in time with its offset: 2026-10-12T17:10:00Z or 2026-10-13T06:10:00+13:00.",
        })
    }
}

/// The time from `start` up to but not including `end`. Never empty: `start < end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Interval {
    start: Instant,
    end: Instant,
}

impl Interval {
    pub fn new(start: Instant, end: Instant) -> Result<Self, TimeError> {
        if start < end { Ok(Interval { start, end }) } else { Err(TimeError::EndBeforeStart) }
    }

    pub fn start(self) -> Instant {
        self.start
    }

    pub fn end(self) -> Instant {
        self.end
    }

    /// How long it is, in microseconds.
    pub fn micros(self) -> i64 {
        self.end.0 - self.start.0
    }

    /// The part that both share; none when they only touch.
    pub fn intersection(self, other: Interval) -> Option<Interval> {
        Interval::new(self.start.max(other.start), self.end.min(other.end)).ok()
    }
}

impl JsonSchema for Interval {
    fn schema_name() -> Cow<'static, str> {
        "Interval".into()
    }

    fn json_schema(schemas: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "The time from start up to but not including end.",
            "properties": {"start": schemas.subschema_for::<Instant>(), "end": schemas.subschema_for::<Instant>()},
            "required": ["start", "end"],
            "additionalProperties": false,
        })
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wire {
            start: Instant,
            end: Instant,
        }
        let wire = Wire::deserialize(from)?;
        Interval::new(wire.start, wire.end).map_err(serde::de::Error::custom)
    }
}

/// A set of instants, kept as intervals that are sorted and neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct IntervalSet(Vec<Interval>);

impl IntervalSet {
    pub fn empty() -> Self {
        IntervalSet(Vec::new())
    }

    pub fn intervals(&self) -> &[Interval] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The total length in microseconds.
    pub fn micros(&self) -> i64 {
        self.0.iter().map(|interval| interval.micros()).sum()
    }

    pub fn union(&self, other: &IntervalSet) -> IntervalSet {
        self.0.iter().chain(&other.0).copied().collect()
    }

    pub fn intersection(&self, other: &IntervalSet) -> IntervalSet {
        let (mut left, mut right) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut shared = Vec::new();
        while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
            shared.extend(a.intersection(**b));
            if a.end <= b.end {
                left.next();
            } else {
                right.next();
            }
        }
        IntervalSet(shared)
    }

    /// What lies in this set and not in `other`.
    pub fn minus(&self, other: &IntervalSet) -> IntervalSet {
        let mut left = Vec::new();
        let mut cuts = other.0.iter().peekable();
        for whole in &self.0 {
            let mut from = whole.start;
            while let Some(cut) = cuts.next_if(|cut| cut.end <= whole.start) {
                let _ = cut;
            }
            let mut ahead = cuts.clone();
            while let Some(cut) = ahead.next_if(|cut| cut.start < whole.end) {
                left.extend(Interval::new(from, cut.start).ok());
                from = from.max(cut.end);
            }
            left.extend(Interval::new(from, whole.end).ok());
        }
        IntervalSet(left)
    }

    /// Whether all of `interval` lies in one of the intervals.
    pub fn covers(&self, interval: Interval) -> bool {
        let after = self.0.partition_point(|one| one.start <= interval.start);
        after.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|one| interval.end <= one.end)
    }

    /// Whether any of it lies in `interval`.
    pub fn meets(&self, interval: Interval) -> bool {
        self.0.iter().any(|one| one.intersection(interval).is_some())
    }

    pub fn clipped(&self, to: Interval) -> IntervalSet {
        self.intersection(&IntervalSet(vec![to]))
    }
}

impl From<Interval> for IntervalSet {
    fn from(interval: Interval) -> Self {
        IntervalSet(vec![interval])
    }
}

impl FromIterator<Interval> for IntervalSet {
    fn from_iter<I: IntoIterator<Item = Interval>>(intervals: I) -> Self {
        let mut sorted: Vec<Interval> = intervals.into_iter().collect();
        sorted.sort_unstable();
        let mut joined: Vec<Interval> = Vec::with_capacity(sorted.len());
        for interval in sorted {
            match joined.last_mut() {
                Some(last) if interval.start <= last.end => last.end = last.end.max(interval.end),
                Some(_) | None => joined.push(interval),
            }
        }
        IntervalSet(joined)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn interval(start: i64, end: i64) -> Interval {
        Interval::new(Instant(start), Instant(end)).unwrap()
    }

    fn sets() -> impl Strategy<Value = IntervalSet> {
        prop::collection::vec((0i64..60, 1i64..12), 0..8)
            .prop_map(|parts| parts.into_iter().map(|(start, length)| interval(start, start + length)).collect())
    }

    fn members(set: &IntervalSet) -> Vec<bool> {
        (0..80).map(|at| set.0.iter().any(|part| part.start.0 <= at && at < part.end.0)).collect()
    }

    proptest! {
        #[test]
        fn the_algebra_agrees_with_counting_one_by_one(a in sets(), b in sets()) {
            let (in_a, in_b) = (members(&a), members(&b));
            let pairs = in_a.iter().zip(&in_b);
            prop_assert_eq!(members(&a.union(&b)), pairs.clone().map(|(a, b)| *a || *b).collect::<Vec<_>>());
            prop_assert_eq!(members(&a.intersection(&b)), pairs.clone().map(|(a, b)| *a && *b).collect::<Vec<_>>());
            prop_assert_eq!(members(&a.minus(&b)), pairs.map(|(a, b)| *a && !*b).collect::<Vec<_>>());
            prop_assert!(a.union(&b).micros() <= a.micros() + b.micros());
            prop_assert_eq!(a.minus(&b).micros() + a.intersection(&b).micros(), a.micros());
        }
    }

    #[test]
    fn touching_intervals_join_and_an_empty_one_cannot_be_made() {
        let joined: IntervalSet = [interval(5, 9), interval(0, 5)].into_iter().collect();
        assert_eq!(joined.intervals(), [interval(0, 9)]);
        assert!(Interval::new(Instant(5), Instant(5)).is_err());
    }

    #[test]
    fn a_time_without_an_offset_is_not_an_instant() {
        assert!(Instant::parse("2026-10-12T17:10:00").is_err());
        assert!(Instant::parse("2026-10-12").is_err());
        assert_eq!(
            Instant::parse("2026-10-13T06:10:00+13:00").unwrap(),
            Instant::parse("2026-10-12T17:10:00Z").unwrap()
        );
        assert!(Instant::parse("9999-12-31T23:59:59Z").is_err());
        assert_eq!(Instant::parse("2026-10-12T17:10:00.482Z").unwrap().to_string(), "2026-10-12T17:10:00.482Z");
    }
}
