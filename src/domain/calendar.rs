//! Calendars: which days are worked, and in which hours, in whatever time zone is asked for.
//!
//! Holidays are data with a version and never computed: a movable feast is a date that somebody wrote down. A calendar has no
//! zone of its own, so that one calendar serves customers in several.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::document;
use super::period::Zone;
use super::refusal::FieldError;
use super::time::{DAY, Instant, Interval, IntervalSet};

/// The most holidays that one calendar names: a century of fifty a year.
const MOST_HOLIDAYS: usize = 5_000;
/// The most stretches of working hours in a week.
const MOST_STRETCHES: usize = 100;
/// How far a working day is looked for, in days: as far as from the first to the last year of an [`Instant`].
const FARTHEST: usize = 84_000;
/// How far working time is looked for, in days, in steps: most deadlines are near.
const HORIZONS: [i64; 3] = [8, 60, 400];

/// One version of a calendar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Calendar {
    /// What terms call it: 1 to 100 lower-case letters, digits and hyphens.
    pub name: String,
    /// 1 for the first.
    pub version: i32,
    /// The days of the week that are no working days. They may have working hours all the same: a desk that is open on
    /// Saturday morning does not make Saturday a day that deadlines count.
    pub weekend: Vec<Weekday>,
    /// The days that are neither working days nor have working hours, each with its name.
    #[serde(deserialize_with = "holidays")]
    pub holidays: BTreeMap<NaiveDate, String>,
    /// When it is worked. Empty where the calendar only counts days.
    #[serde(default)]
    pub working_hours: Vec<DayHours>,
}

/// One stretch of working hours, every week on one day. A day may have several; what goes on past midnight is written as two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DayHours {
    pub day: Weekday,
    /// Wall-clock time, from which on it is worked.
    #[schema(example = "08:30")]
    pub from: String,
    /// Wall-clock time, up to which it is worked; `24:00` is the end of the day.
    #[schema(example = "17:00")]
    pub to: String,
}

#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[schemars(description = "A day of the week.")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

impl Weekday {
    pub const ALL: [Weekday; 7] = [
        Weekday::Monday,
        Weekday::Tuesday,
        Weekday::Wednesday,
        Weekday::Thursday,
        Weekday::Friday,
        Weekday::Saturday,
        Weekday::Sunday,
    ];

    /// The day of the week of a date.
    pub fn of(day: NaiveDate) -> Self {
        match day.weekday() {
            chrono::Weekday::Mon => Weekday::Monday,
            chrono::Weekday::Tue => Weekday::Tuesday,
            chrono::Weekday::Wed => Weekday::Wednesday,
            chrono::Weekday::Thu => Weekday::Thursday,
            chrono::Weekday::Fri => Weekday::Friday,
            chrono::Weekday::Sat => Weekday::Saturday,
            chrono::Weekday::Sun => Weekday::Sunday,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Weekday::Monday => "monday",
            Weekday::Tuesday => "tuesday",
            Weekday::Wednesday => "wednesday",
            Weekday::Thursday => "thursday",
            Weekday::Friday => "friday",
            Weekday::Saturday => "saturday",
            Weekday::Sunday => "sunday",
        }
    }
}

impl fmt::Display for Weekday {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Weekday {
    type Err = UnknownWeekday;

    fn from_str(name: &str) -> Result<Self, UnknownWeekday> {
        Weekday::ALL
            .into_iter()
            .find(|day| day.name() == name)
            .ok_or_else(|| UnknownWeekday(name.chars().take(20).collect()))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a day of the week: monday, tuesday, wednesday, thursday, friday, saturday or sunday")]
pub struct UnknownWeekday(String);

impl Calendar {
    /// A calendar that knows nothing but hours of the week.
    pub fn of_hours(working_hours: Vec<DayHours>) -> Self {
        Calendar { name: "hours".to_owned(), version: 1, weekend: Vec::new(), holidays: BTreeMap::new(), working_hours }
    }

    /// Whether `day` is neither at the weekend nor a holiday.
    pub fn is_working_day(&self, day: NaiveDate) -> bool {
        !self.weekend.contains(&Weekday::of(day)) && !self.holidays.contains_key(&day)
    }

    /// The `n`-th working day after `day`, which itself does not count; for 0 it is `day`, whatever day that is. None where
    /// no such day comes within 229 years: a calendar that [`Calendar::check`] refuses may have no working day at all.
    pub fn nth_working_day_after(&self, day: NaiveDate, n: u32) -> Option<NaiveDate> {
        let Some(skipped) = n.checked_sub(1) else { return Some(day) };
        let mut working = day.iter_days().skip(1).take(FARTHEST).filter(|day| self.is_working_day(*day));
        working.nth(usize::try_from(skipped).ok()?)
    }

    /// The working time within `span`, by the clocks of `zone`, without holidays. Working hours that this calendar does not
    /// state, or that [`Calendar::check`] refuses, are none.
    ///
    /// A stretch runs from its first instant to its last, so that it is longer or shorter on a day on which clocks change
    /// within it. A time that clocks skip is the first instant after the gap; of a time that comes twice, the earlier begins
    /// a stretch and the later ends it.
    pub fn working_time(&self, zone: Zone, span: Interval) -> IntervalSet {
        let days = |at: Instant, by: i64| zone.local(at).date_naive().checked_add_signed(TimeDelta::days(by));
        // Where midnight comes twice, a stretch reaches into the dates beside its own.
        let (Some(first), Some(last)) = (days(span.start(), -1), days(span.end(), 1)) else {
            return IntervalSet::empty();
        };
        let worked = first.iter_days().take_while(|day| *day <= last).filter(|day| !self.holidays.contains_key(day));
        let whole: IntervalSet = worked
            .flat_map(|day| {
                let hours = self.working_hours.iter().filter(move |hours| hours.day == Weekday::of(day));
                hours.filter_map(move |hours| hours.on(day, zone))
            })
            .collect();
        whole.clipped(span)
    }

    /// The first instant by which `micros` of working time have passed since `at`; `at` itself for none. None where that
    /// takes more than 400 days.
    pub fn after_working_time(&self, zone: Zone, at: Instant, micros: i64) -> Option<Instant> {
        if micros <= 0 {
            return Some(at);
        }
        HORIZONS.into_iter().find_map(|days| {
            let span = Interval::new(at, at.plus(days * DAY)).ok()?;
            let mut left = micros;
            self.working_time(zone, span).intervals().iter().find_map(|stretch| {
                let reached = (left <= stretch.micros()).then(|| stretch.start().plus(left));
                left -= stretch.micros();
                reached
            })
        })
    }

    /// Everything that is wrong with it, by pointer; nothing for a calendar that can be worked with.
    pub fn check(&self) -> Vec<FieldError> {
        let mut errors = Errors::default();
        if !is_name(&self.name) {
            errors.add("/name".to_owned(), NAME);
        }
        self.check_weekend(&mut errors);
        if self.holidays.len() > MOST_HOLIDAYS {
            errors.add("/holidays".to_owned(), "at most 5,000 holidays; leave out the years that are long over");
        }
        for (day, name) in self.holidays.iter().take(MOST_HOLIDAYS) {
            if name.trim().is_empty() || name.chars().nth(200).is_some() || name.chars().any(char::is_control) {
                errors.add(format!("/holidays/{day}"), "name it in 1 to 200 characters, without control characters");
            }
        }
        self.check_hours(&mut errors);
        errors.0
    }

    fn check_weekend(&self, errors: &mut Errors) {
        let mut seen = BTreeSet::new();
        for (at, day) in self.weekend.iter().enumerate().take(Weekday::ALL.len() + 1) {
            if !seen.insert(day) {
                errors.add(format!("/weekend/{at}"), "this day is named already");
            }
        }
        if seen.len() == Weekday::ALL.len() {
            errors.add("/weekend".to_owned(), "no day of the week is left to work on; leave out those that are worked");
        }
    }

    fn check_hours(&self, errors: &mut Errors) {
        if self.working_hours.len() > MOST_STRETCHES {
            errors.add("/working_hours".to_owned(), "at most 100 stretches in a week");
        }
        let mut earlier: Vec<(Weekday, u32, u32)> = Vec::new();
        for (at, hours) in self.working_hours.iter().enumerate().take(MOST_STRETCHES) {
            let (from, to) = (minute(&hours.from).filter(|minute| *minute < MIDNIGHT), minute(&hours.to));
            if from.is_none() {
                errors.add(format!("/working_hours/{at}/from"), "write it as 08:30, from 00:00 to 23:59");
            }
            if to.is_none() {
                errors.add(format!("/working_hours/{at}/to"), "write it as 17:00, from 00:01 to 24:00");
            }
            let Some((from, to)) = from.zip(to) else { continue };
            if from >= to {
                let words = "the end must be after the start; what goes on past midnight is two stretches, up to 24:00 and \
                             from 00:00 on the next day";
                errors.add(format!("/working_hours/{at}/to"), words);
            } else if earlier.iter().any(|other| other.0 == hours.day && from < other.2 && other.1 < to) {
                errors.add(
                    format!("/working_hours/{at}"),
                    "it overlaps another stretch of the same day; write them as one",
                );
            }
            earlier.push((hours.day, from, to));
        }
    }

    /// SHA-256 of what the calendar says, in hexadecimal. Two versions that say the same have the same, in whatever order.
    pub fn hash(&self) -> String {
        let mut weekend = self.weekend.clone();
        weekend.sort_unstable();
        let mut working_hours: Vec<_> =
            self.working_hours.iter().map(|hours| (hours.day, &hours.from, &hours.to)).collect();
        working_hours.sort_unstable();
        document::hash(&(&self.name, weekend, &self.holidays, working_hours))
    }
}

impl DayHours {
    /// The stretch on `day`, whatever day of the week that is. None where nothing of it is left between changed clocks, or
    /// where its times are none.
    fn on(&self, day: NaiveDate, zone: Zone) -> Option<Interval> {
        let instants = |time: &str| {
            let wall = day.and_time(NaiveTime::MIN).checked_add_signed(TimeDelta::minutes(minute(time)?.into()))?;
            let found = zone.instants_of(wall);
            let both = found.iter().min().copied().zip(found.iter().max().copied());
            both.or_else(|| first_after(zone, wall).map(|at| (at, at)))
        };
        Interval::new(instants(&self.from)?.0, instants(&self.to)?.1).ok()
    }
}

/// The first instant at which the clocks of `zone` show a time after `wall`, which they never show.
fn first_after(zone: Zone, wall: NaiveDateTime) -> Option<Instant> {
    let is_after = |at: Instant| zone.local(at).naive_local() > wall;
    // No clock is a day away from UTC, and the clocks pass a time that they never show once and for all.
    let about = Instant::from_utc(wall.and_utc())?;
    let (mut before, mut after) = (about.plus(-DAY), about.plus(DAY));
    while after.micros() - before.micros() > 1 {
        let middle = before.plus((after.micros() - before.micros()) / 2);
        if is_after(middle) {
            after = middle;
        } else {
            before = middle;
        }
    }
    Some(after)
}

const MIDNIGHT: u32 = 24 * 60;

/// A time of day in minutes, `00:00` to `24:00`.
fn minute(text: &str) -> Option<u32> {
    let two = |text: &str| text.parse::<u32>().ok().filter(|_| text.len() == 2 && !text.starts_with('+'));
    let (hours, minutes) = text.split_once(':')?;
    let minute = two(hours)? * 60 + two(minutes).filter(|minutes| *minutes < 60)?;
    (minute <= MIDNIGHT).then_some(minute)
}

const NAME: &str = "1 to 100 lower-case letters, digits and hyphens";

/// Whether `text` may name a calendar.
pub fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=100).contains(&text.len()) && text.bytes().all(is_plain)
}

/// A day, `2026-12-25`, of the years that months have. Says what is wrong with another text.
pub fn date(text: &str) -> Result<NaiveDate, String> {
    let refused = || format!("{:?} is not a day: write it as 2026-12-25", text.chars().take(20).collect::<String>());
    let is_shaped = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| is_shaped).ok_or_else(refused)?;
    if (1971..=2198).contains(&day.year()) {
        Ok(day)
    } else {
        Err("the day lies outside the years 1971 to 2198".to_owned())
    }
}

/// Reads a map into its entries as they stand: of a key that is there twice, both, which a map would not show.
pub fn entries<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, String)>, D::Error> {
    from.deserialize_map(Entries)
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<(String, String)>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("days with their names, such as 2026-12-25: Christmas Day")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while let Some(entry) = map.next_entry()? {
            found.push(entry);
        }
        Ok(found)
    }
}

fn holidays<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<NaiveDate, String>, D::Error> {
    let mut holidays = BTreeMap::new();
    for (text, name) in entries(from)? {
        let day = date(&text).map_err(D::Error::custom)?;
        if holidays.insert(day, name).is_some() {
            return Err(D::Error::custom(format!("{day} is there twice")));
        }
    }
    Ok(holidays)
}

#[derive(Default)]
struct Errors(Vec<FieldError>);

impl Errors {
    fn add(&mut self, pointer: String, message: &str) {
        self.0.push(FieldError { pointer, message: message.to_owned() });
    }
}

#[cfg(test)]
mod tests;
