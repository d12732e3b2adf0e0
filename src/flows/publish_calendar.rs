//! An administrator publishes which days are worked and in which hours. It counts from then on: holidays are announced by
//! others, and whoever writes them down decides nothing.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgPool;

use super::note_refusal;
use super::once::{Answer, Begun, IdempotencyKey, Once};
use crate::domain::actor::{Actor, Role};
use crate::domain::batch::LISTED_ERRORS;
use crate::domain::calendar::{self, Calendar, DayHours, Weekday};
use crate::domain::refusal::{Code, FieldError, Refusal};
use crate::domain::time::Instant;
use crate::store::calendars::Version;
use crate::store::{Error, audit, calendars, evidence};

/// What a calendar says, whole: what an earlier version said and this one leaves out is said no more.
///
/// Days are text here, so that one answer can name each that is wrong.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishCalendar {
    /// The days of the week that are no working days. They may have working hours all the same.
    #[schema(value_type = Vec<Weekday>)]
    pub weekend: Vec<String>,
    /// The days that are neither working days nor have working hours, each with its name.
    #[serde(deserialize_with = "calendar::entries")]
    #[schema(value_type = BTreeMap<String, String>, example = json!({ "2026-12-25": "Christmas Day" }))]
    pub holidays: Vec<(String, String)>,
    /// When it is worked. Empty where the calendar only counts days.
    #[serde(default)]
    #[schema(value_type = Vec<DayHours>)]
    pub working_hours: Vec<Hours>,
}

/// One stretch of working hours.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    pub day: String,
    pub from: String,
    pub to: String,
}

/// One version of a calendar, as doors show it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct CalendarVersion {
    #[schema(example = "nz-auckland")]
    pub name: String,
    #[schema(example = 1)]
    pub version: i32,
    #[schema(value_type = String)]
    pub recorded_at: Instant,
    /// SHA-256 of what the calendar says.
    pub hash: String,
    pub weekend: Vec<Weekday>,
    #[schema(value_type = BTreeMap<String, String>, example = json!({ "2026-12-25": "Christmas Day" }))]
    pub holidays: BTreeMap<NaiveDate, String>,
    pub working_hours: Vec<DayHours>,
}

impl From<Version> for CalendarVersion {
    fn from(version: Version) -> Self {
        let Calendar { name, version: number, weekend, holidays, working_hours } = version.calendar;
        CalendarVersion {
            name,
            version: number,
            recorded_at: version.recorded_at,
            hash: version.hash,
            weekend,
            holidays,
            working_hours,
        }
    }
}

/// Records a new version of the calendar, which makes the calendar if it is new. What the newest version says already is not
/// recorded again.
pub async fn publish_calendar(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    key: &IdempotencyKey,
    name: &str,
    request: PublishCalendar,
) -> Result<Answer, Error> {
    require_admin(pool, now, actor, name).await?;
    let read = checked(name, request)?;
    let mut once = match Once::begin(pool, actor, key, now).await? {
        Begun::Replay(answer) => return Ok(answer),
        Begun::New(once) => once,
    };
    let tx = once.tx();
    let recorded_at = evidence::stamp(tx, now).await?;
    let newest = calendars::find(tx, name, None).await?;
    let hash = read.hash();
    let newest_version = newest.as_ref().map_or(0, |newest| newest.calendar.version);
    if let Some(same) = newest.filter(|newest| newest.hash == hash) {
        return once.finish(200, &CalendarVersion::from(same)).await;
    }
    let calendar = Calendar { version: newest_version + 1, ..read };
    let version = Version { calendar, recorded_at, hash, published_by: actor.key() };
    calendars::insert(tx, &version).await?;
    note(tx, now, actor, &version).await?;
    once.finish(201, &CalendarVersion::from(version)).await
}

/// The calendar, if all of it can be worked with; its version is still to be given. A refusal names the first
/// [`LISTED_ERRORS`] places that are wrong, and counts the rest.
fn checked(name: &str, request: PublishCalendar) -> Result<Calendar, Refusal> {
    let mut errors = Vec::new();
    let mut wrong = |pointer: String, message: String| errors.push(FieldError { pointer, message });
    let (mut weekend, mut holidays, mut working_hours) = (Vec::new(), BTreeMap::<NaiveDate, String>::new(), Vec::new());
    for (at, text) in request.weekend.iter().enumerate() {
        match text.parse::<Weekday>() {
            Ok(day) => weekend.push(day),
            Err(error) => wrong(format!("/weekend/{at}"), error.to_string()),
        }
    }
    for (text, name) in request.holidays {
        let pointer = || format!("/holidays/{}", pointed(&text));
        match calendar::date(&text) {
            Ok(day) if holidays.contains_key(&day) => wrong(pointer(), "this day is named already".to_owned()),
            Ok(day) => drop(holidays.insert(day, name)),
            Err(message) => wrong(pointer(), message),
        }
    }
    for (at, Hours { day, from, to }) in request.working_hours.into_iter().enumerate() {
        match day.parse() {
            Ok(day) => working_hours.push(DayHours { day, from, to }),
            Err(error) => wrong(format!("/working_hours/{at}/day"), error.to_string()),
        }
    }
    let calendar = Calendar { name: name.to_owned(), version: 0, weekend, holidays, working_hours };
    // Of a list that cannot be read whole, the places are not those that were sent.
    let is_whole = |list: &str| !errors.iter().any(|error: &FieldError| error.pointer.starts_with(list));
    let left_out: Vec<&str> = ["/weekend", "/working_hours"].into_iter().filter(|list| !is_whole(list)).collect();
    let checked = calendar.check().into_iter();
    errors.extend(checked.filter(|error| !left_out.iter().any(|list| error.pointer.starts_with(list))));
    if errors.is_empty() {
        return Ok(calendar);
    }
    let mut refusal = Refusal::invalid(errors);
    refusal.errors.truncate(LISTED_ERRORS);
    Err(refusal)
}

/// The beginning of a key as a part of a JSON pointer.
fn pointed(key: &str) -> String {
    key.chars().take(20).collect::<String>().replace('~', "~0").replace('/', "~1")
}

async fn require_admin(pool: &PgPool, now: Instant, actor: &Actor, name: &str) -> Result<(), Error> {
    if actor.has(Role::Admin) {
        return Ok(());
    }
    let refusal = Refusal::new(Code::Forbidden, "Calendars are the administrators' to publish.");
    // Whoever may not publish may have asked for anything; the trail keeps only what can be a name.
    let subject = if calendar::is_name(name) { name } else { "calendar" };
    note_refusal(pool, audit::NO_ACCOUNT, actor, "calendar.publish", subject, &refusal, now).await?;
    Err(refusal.into())
}

async fn note(conn: &mut sqlx::PgConnection, now: Instant, actor: &Actor, version: &Version) -> Result<(), Error> {
    let Calendar { name, version: number, holidays, .. } = &version.calendar;
    let detail = json!({ "hash": version.hash, "holidays": holidays.len() });
    let (account, action, subject) = (audit::NO_ACCOUNT, "calendar.publish", format!("{name}/{number}"));
    audit::record(conn, &audit::Entry { account, actor, action, subject: &subject, detail, at: now }).await?;
    Ok(())
}
