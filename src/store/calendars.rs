//! Calendars: every version that was published. The newest counts.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{FromRow, PgConnection};

use super::Error;
use super::evidence::instant;
use crate::domain::calendar::{Calendar, DayHours, Weekday};
use crate::domain::time::Instant;

/// One version of a calendar, as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub calendar: Calendar,
    pub recorded_at: Instant,
    /// [`Calendar::hash`].
    pub hash: String,
    /// [`crate::domain::actor::Actor::key`] of the author.
    pub published_by: String,
}

/// The newest version of a calendar, without what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub name: String,
    pub version: i32,
    pub recorded_at: Instant,
    pub hash: String,
}

/// Records a version, which makes the calendar if it is new.
pub async fn insert(conn: &mut PgConnection, version: &Version) -> Result<(), Error> {
    let Calendar { name, version: number, weekend, holidays, working_hours } = version.calendar.clone();
    let body = serde_json::to_value(Body { weekend, holidays, working_hours })
        .map_err(|error| Error::Corrupt(format!("a calendar {name} that is no JSON: {error}")))?;
    sqlx::query(r"INSERT INTO calendar (name, recorded_at) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(&name)
        .bind(version.recorded_at.utc())
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        r"INSERT INTO calendar_version (name, version, recorded_at, body, hash, published_by)
          VALUES ($1, $2, $3, $4, decode($5, 'hex'), $6)",
    )
    .bind(&name)
    .bind(number)
    .bind(version.recorded_at.utc())
    .bind(body)
    .bind(&version.hash)
    .bind(&version.published_by)
    .execute(conn)
    .await?;
    Ok(())
}

/// The version of that number, the newest for none.
pub async fn find(conn: &mut PgConnection, name: &str, version: Option<i32>) -> Result<Option<Version>, Error> {
    let row: Option<Record> = sqlx::query_as(
        r"SELECT * FROM calendar_version WHERE name = $1 AND ($2::integer IS NULL OR version = $2)
           ORDER BY version DESC LIMIT 1",
    )
    .bind(name)
    .bind(version)
    .fetch_optional(conn)
    .await?;
    row.map(Record::version).transpose()
}

/// The newest version of each calendar as recorded at `as_recorded`, by name.
pub async fn as_recorded(conn: &mut PgConnection, as_recorded: Instant) -> Result<BTreeMap<String, Calendar>, Error> {
    let rows: Vec<Record> = sqlx::query_as(
        r"SELECT DISTINCT ON (name) * FROM calendar_version WHERE recorded_at <= $1 ORDER BY name, version DESC",
    )
    .bind(as_recorded.utc())
    .fetch_all(conn)
    .await?;
    let named = |row: Record| row.version().map(|version| (version.calendar.name.clone(), version.calendar));
    rows.into_iter().map(named).collect()
}

/// The calendars whose names come after `after`, by name, at most `most` of them.
pub async fn list(conn: &mut PgConnection, after: &str, most: i64) -> Result<Vec<Listed>, Error> {
    let rows: Vec<(String, i32, DateTime<Utc>, String)> = sqlx::query_as(
        r"SELECT DISTINCT ON (name) name, version, recorded_at, encode(hash, 'hex')
            FROM calendar_version WHERE name > $1 ORDER BY name, version DESC LIMIT $2",
    )
    .bind(after)
    .bind(most)
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(name, version, recorded_at, hash)| {
            Ok(Listed { name, version, recorded_at: instant(recorded_at, "calendar_version.recorded_at")?, hash })
        })
        .collect()
}

/// What is kept of a calendar beside its name and version.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    weekend: Vec<Weekday>,
    holidays: BTreeMap<NaiveDate, String>,
    working_hours: Vec<DayHours>,
}

#[derive(FromRow)]
struct Record {
    name: String,
    version: i32,
    recorded_at: DateTime<Utc>,
    body: Value,
    hash: Vec<u8>,
    published_by: String,
}

impl Record {
    fn version(self) -> Result<Version, Error> {
        let Record { name, version, recorded_at, body, hash, published_by } = self;
        let damaged = format!("of {name}, version {version}");
        let body: Body =
            serde_json::from_value(body).map_err(|_| Error::Corrupt(format!("calendar_version.body {damaged}")))?;
        let Body { weekend, holidays, working_hours } = body;
        let calendar = Calendar { name, version, weekend, holidays, working_hours };
        let hash = hex::encode(&hash);
        if calendar.hash() != hash {
            return Err(Error::Corrupt(format!("calendar_version.hash {damaged}")));
        }
        Ok(Version { recorded_at: instant(recorded_at, "calendar_version.recorded_at")?, calendar, hash, published_by })
    }
}
