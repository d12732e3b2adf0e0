//! Calendar months in a time zone. A day is not 24 hours and a month is not 30 days.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use chrono::{Datelike, Days, LocalResult, NaiveDate, TimeZone};
use chrono_tz::Tz;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::time::{Instant, Interval};

/// A time zone of the IANA database, such as `Pacific/Auckland`. The data is the one that makegood was built with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Zone(Tz);

impl Zone {
    pub const UTC: Zone = Zone(Tz::UTC);

    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// The local date and time of an instant, with its offset.
    pub fn local(self, at: Instant) -> chrono::DateTime<Tz> {
        at.utc().with_timezone(&self.0)
    }

    /// The first instant of a local day. Where clocks skip midnight, it is the first instant that exists; where midnight
    /// comes twice, it is the earlier.
    pub fn start_of(self, day: NaiveDate) -> Option<Instant> {
        let midnight = day.and_hms_opt(0, 0, 0)?;
        // No zone has ever skipped more than a day, and skips end on a quarter of an hour.
        let first = (0..=96).find_map(|quarter| {
            match self.0.from_local_datetime(&(midnight + chrono::TimeDelta::minutes(15 * quarter))) {
                LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Some(at),
                LocalResult::None => None,
            }
        })?;
        Instant::from_utc(first.to_utc())
    }

    /// The instants of a local wall-clock time: one, two when clocks went back over it, none when they skipped it.
    pub fn instants_of(self, local: chrono::NaiveDateTime) -> Vec<Instant> {
        match self.0.from_local_datetime(&local) {
            LocalResult::Single(at) => Instant::from_utc(at.to_utc()).into_iter().collect(),
            LocalResult::Ambiguous(a, b) => {
                [a, b].into_iter().filter_map(|at| Instant::from_utc(at.to_utc())).collect()
            }
            LocalResult::None => Vec::new(),
        }
    }
}

impl FromStr for Zone {
    type Err = PeriodError;

    fn from_str(name: &str) -> Result<Self, PeriodError> {
        name.parse().map(Zone).map_err(|_| PeriodError::UnknownZone(name.chars().take(40).collect()))
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Zone {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Zone {
    fn schema_name() -> Cow<'static, str> {
        "Zone".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A time zone of the IANA database, such as Pacific/Auckland.",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeriodError {
    #[error("{0:?} is not a time zone of the IANA database, such as Pacific/Auckland")]
    UnknownZone(String),
    #[error("{0:?} is not a month: write it as 2026-10")]
    NotAMonth(String),
    #[error(
        "{0:?} is not a period: write it as 2026-10, as 2026-Q2, or as first day and day after the last, 2026-06-05/2026-07-05"
    )]
    NotAPeriod(String),
}

/// A calendar month, `2026-10`, not yet in a zone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    first: NaiveDate,
}

impl Month {
    /// Years 1971 to 2198, so that every edge of the month is an [`Instant`] in every zone.
    pub fn new(year: i32, month: u32) -> Option<Self> {
        (1971..=2198)
            .contains(&year)
            .then(|| NaiveDate::from_ymd_opt(year, month, 1))
            .flatten()
            .map(|first| Month { first })
    }

    /// The month that `at` falls into, in `zone`.
    pub fn containing(at: Instant, zone: Zone) -> Self {
        let local = zone.local(at).date_naive();
        Month { first: local.with_day(1).unwrap_or(local) }
    }

    pub fn first_day(self) -> NaiveDate {
        self.first
    }

    pub fn last_day(self) -> NaiveDate {
        self.next().first.pred_opt().unwrap_or(self.first)
    }

    pub fn next(self) -> Self {
        Month { first: self.first + chrono::Months::new(1) }
    }

    pub fn previous(self) -> Self {
        Month { first: self.first - chrono::Months::new(1) }
    }

    /// The month as time in `zone`: from the first instant of its first day to the first instant of the next month.
    pub fn interval(self, zone: Zone) -> Interval {
        let start = zone.start_of(self.first).unwrap_or(Instant::MIN);
        let end = zone.start_of(self.next().first).unwrap_or(Instant::MAX);
        Interval::new(start, end).unwrap_or_else(|_| unreachable!("a month has days"))
    }

    /// Its days, each as time in `zone`.
    pub fn days(self, zone: Zone) -> Vec<(NaiveDate, Interval)> {
        let mut days = Vec::with_capacity(31);
        let mut day = self.first;
        while day < self.next().first {
            let next = day + Days::new(1);
            if let (Some(start), Some(end)) = (zone.start_of(day), zone.start_of(next))
                && let Ok(interval) = Interval::new(start, end)
            {
                days.push((day, interval));
            }
            day = next;
        }
        days
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.first.year(), self.first.month())
    }
}

impl fmt::Debug for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Month {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, PeriodError> {
        let refused = || PeriodError::NotAMonth(text.chars().take(20).collect());
        let (year, month) = text.split_once('-').ok_or_else(refused)?;
        if year.len() != 4 || month.len() != 2 || !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
            return Err(refused());
        }
        Month::new(year.parse().map_err(|_| refused())?, month.parse().map_err(|_| refused())?).ok_or_else(refused)
    }
}

impl Serialize for Month {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Month {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What a period of the terms is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PeriodKind {
    CalendarMonth,
    CalendarQuarter,
    /// From one billing date to the next; which these are, is said with each period.
    BillingPeriod,
    /// So many days up to the day of the assessment.
    RollingDays(u32),
}

/// The period that a sum is for, not yet in a zone: `2026-10`, `2026-Q2`, or from a first day up to the day after the last,
/// `2026-06-05/2026-07-05`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServicePeriod {
    Month(Month),
    Quarter { first: Month },
    Days { from: NaiveDate, to: NaiveDate },
}

/// The longest period of days, about three years.
const MOST_DAYS: i64 = 1_100;

impl ServicePeriod {
    pub fn first_day(self) -> NaiveDate {
        match self {
            ServicePeriod::Month(first) | ServicePeriod::Quarter { first } => first.first_day(),
            ServicePeriod::Days { from, .. } => from,
        }
    }

    /// The day after its last.
    pub fn day_after(self) -> NaiveDate {
        match self {
            ServicePeriod::Month(month) => month.next().first_day(),
            ServicePeriod::Quarter { first } => first.next().next().next().first_day(),
            ServicePeriod::Days { to, .. } => to,
        }
    }

    /// The period as time in `zone`: from the first instant of its first day to the first instant of the day after its last.
    pub fn interval(self, zone: Zone) -> Interval {
        let start = zone.start_of(self.first_day()).unwrap_or(Instant::MIN);
        let end = zone.start_of(self.day_after()).unwrap_or(Instant::MAX);
        Interval::new(start, end).unwrap_or_else(|_| unreachable!("a period has days"))
    }

    /// Whether it is one of this kind.
    pub fn is(self, kind: PeriodKind) -> bool {
        match (self, kind) {
            (ServicePeriod::Month(_), PeriodKind::CalendarMonth)
            | (ServicePeriod::Quarter { .. }, PeriodKind::CalendarQuarter)
            | (ServicePeriod::Month(_) | ServicePeriod::Days { .. }, PeriodKind::BillingPeriod) => true,
            (ServicePeriod::Days { from, to }, PeriodKind::RollingDays(days)) => {
                (to - from).num_days() == i64::from(days)
            }
            (
                ServicePeriod::Month(_) | ServicePeriod::Quarter { .. } | ServicePeriod::Days { .. },
                PeriodKind::CalendarMonth
                | PeriodKind::CalendarQuarter
                | PeriodKind::BillingPeriod
                | PeriodKind::RollingDays(_),
            ) => false,
        }
    }
}

impl From<Month> for ServicePeriod {
    fn from(month: Month) -> Self {
        ServicePeriod::Month(month)
    }
}

impl fmt::Display for ServicePeriod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServicePeriod::Month(month) => fmt::Display::fmt(month, f),
            ServicePeriod::Quarter { first } => {
                write!(f, "{:04}-Q{}", first.first.year(), first.first.month0() / 3 + 1)
            }
            ServicePeriod::Days { from, to } => write!(f, "{from}/{to}"),
        }
    }
}

impl fmt::Debug for ServicePeriod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ServicePeriod {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, PeriodError> {
        let refused = || PeriodError::NotAPeriod(text.chars().take(30).collect());
        if let Ok(month) = text.parse() {
            return Ok(ServicePeriod::Month(month));
        }
        if let Some((from, to)) = text.split_once('/') {
            let day = |text: &str| text.parse::<NaiveDate>().ok().filter(|day| day.to_string() == text);
            let (from, to) = day(from).zip(day(to)).ok_or_else(refused)?;
            let years = 1971..=2198;
            let fits = from < to
                && (to - from).num_days() <= MOST_DAYS
                && years.contains(&from.year())
                && years.contains(&to.year());
            return fits.then_some(ServicePeriod::Days { from, to }).ok_or_else(refused);
        }
        let (year, quarter) = text.split_once("-Q").ok_or_else(refused)?;
        let month = match quarter {
            "1" => "01",
            "2" => "04",
            "3" => "07",
            "4" => "10",
            _ => return Err(refused()),
        };
        let first = format!("{year}-{month}").parse().map_err(|_| refused())?;
        Ok(ServicePeriod::Quarter { first })
    }
}

impl Serialize for ServicePeriod {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl JsonSchema for ServicePeriod {
    fn schema_name() -> Cow<'static, str> {
        "ServicePeriod".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]{4}-([0-9]{2}|Q[1-4]|[0-9]{2}-[0-9]{2}/[0-9]{4}-[0-9]{2}-[0-9]{2})$",
            "description": "A month 2026-10, a quarter 2026-Q2, or first day and day after the last, 2026-06-05/2026-07-05.",
        })
    }
}

impl<'de> Deserialize<'de> for ServicePeriod {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::MINUTE;

    fn minutes(month: &str, zone: &str) -> i64 {
        month.parse::<Month>().unwrap().interval(zone.parse().unwrap()).micros() / MINUTE
    }

    #[test]
    fn months_have_the_length_that_their_zone_gives_them() {
        assert_eq!(minutes("2026-10", "Pacific/Auckland"), 44_640);
        assert_eq!(minutes("2026-09", "Pacific/Auckland"), 43_140);
        assert_eq!(minutes("2026-04", "Pacific/Auckland"), 43_260);
        assert_eq!(minutes("2026-10", "Australia/Lord_Howe"), 44_640 - 30);
        assert_eq!(minutes("2028-02", "UTC"), 29 * 1_440);
    }

    #[test]
    fn a_period_is_written_as_it_is_read_and_lasts_from_its_first_day_to_its_last() {
        for (text, days) in [("2026-10", 31), ("2026-Q1", 90), ("2028-Q1", 91), ("2026-06-05/2026-07-05", 30)] {
            let period: ServicePeriod = text.parse().unwrap();
            assert_eq!(period.to_string(), text);
            assert_eq!((period.day_after() - period.first_day()).num_days(), days, "{text}");
        }
        for text in ["", "2026", "2026-Q5", "2026-Q", "2026-07-05/2026-06-05", "2026-06-05/", "1900-01-01/1900-02-01"] {
            assert!(text.parse::<ServicePeriod>().is_err(), "{text}");
        }
    }

    #[test]
    fn days_join_up_to_the_month_even_where_midnight_is_skipped() {
        // Clocks in Asunción skipped midnight on 6 October 2024; Samoa skipped the whole of 30 December 2011.
        for (month, zone) in
            [("2024-10", "America/Asuncion"), ("2011-12", "Pacific/Apia"), ("2026-09", "Pacific/Auckland")]
        {
            let (month, zone): (Month, Zone) = (month.parse().unwrap(), zone.parse().unwrap());
            let total: i64 = month.days(zone).iter().map(|(_, day)| day.micros()).sum();
            assert_eq!(total, month.interval(zone).micros(), "{month} {zone}");
        }
    }
}
