//! What plans promise: versions of terms, and who approved them.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{FromRow, PgConnection};

use super::Error;
use super::evidence::instant;
use crate::domain::promised::Promised;
use crate::domain::terms::Terms;
use crate::domain::time::{Instant, Interval};

/// One version of a plan's terms, approved or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub plan: String,
    /// 1 for the first.
    pub version: i32,
    pub recorded_at: Instant,
    pub effective_from: Instant,
    pub terms: Terms,
    /// [`Terms::hash`].
    pub hash: String,
    /// [`crate::domain::actor::Actor::key`] of the author.
    pub published_by: String,
    /// Who approved it, and when; none while nobody has.
    pub approved: Option<(String, Instant)>,
}

/// Makes the plan if it is new.
pub async fn insert_plan(conn: &mut PgConnection, plan: &str, recorded_at: Instant) -> Result<(), Error> {
    sqlx::query(r"INSERT INTO plan (plan, recorded_at) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(plan)
        .bind(recorded_at.utc())
        .execute(conn)
        .await?;
    Ok(())
}

/// Records a version that nobody has approved yet.
pub async fn insert(conn: &mut PgConnection, version: &Version) -> Result<(), Error> {
    let body = serde_json::to_value(&version.terms)
        .map_err(|error| Error::Corrupt(format!("terms of {} that are no JSON: {error}", version.plan)))?;
    sqlx::query(
        r"INSERT INTO terms (plan, version, recorded_at, effective_from, body, hash, published_by)
          VALUES ($1, $2, $3, $4, $5, decode($6, 'hex'), $7)",
    )
    .bind(&version.plan)
    .bind(version.version)
    .bind(version.recorded_at.utc())
    .bind(version.effective_from.utc())
    .bind(body)
    .bind(&version.hash)
    .bind(&version.published_by)
    .execute(conn)
    .await?;
    Ok(())
}

/// Records that `by` approved the version. Does nothing when it is approved already.
pub async fn approve(conn: &mut PgConnection, version: &Version, by: &str, recorded_at: Instant) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO terms_approval (plan, version, recorded_at, approved_by, published_by) VALUES ($1, $2, $3, $4, $5)
          ON CONFLICT DO NOTHING",
    )
    .bind(&version.plan)
    .bind(version.version)
    .bind(recorded_at.utc())
    .bind(by)
    .bind(&version.published_by)
    .execute(conn)
    .await?;
    Ok(())
}

/// The version of the terms that were in force for `plan` at `at`, as recorded at `as_recorded` (as known now when none):
/// of the approved ones, that which took effect last, and of those that took effect together the newest.
pub async fn in_force(
    conn: &mut PgConnection,
    plan: &str,
    at: Instant,
    as_recorded: Option<Instant>,
) -> Result<Option<Version>, Error> {
    let row: Option<Record> = sqlx::query_as(
        r"SELECT t.*, a.approved_by, a.recorded_at AS approved_at
            FROM terms t JOIN terms_approval a ON a.plan = t.plan AND a.version = t.version
           WHERE t.plan = $1 AND t.effective_from <= $2 AND a.recorded_at <= $3
           ORDER BY t.effective_from DESC, t.version DESC LIMIT 1",
    )
    .bind(plan)
    .bind(at.utc())
    .bind(as_recorded.unwrap_or(Instant::MAX).utc())
    .fetch_optional(conn)
    .await?;
    row.map(Record::version).transpose()
}

/// The versions that were in force at some time of `within`, from the earliest on, as recorded at `as_recorded`: that which took
/// effect last before it began, and those that took effect in it; of several that took effect together, the newest.
pub async fn in_force_within(
    conn: &mut PgConnection,
    plan: &str,
    within: Interval,
    as_recorded: Instant,
) -> Result<Vec<Version>, Error> {
    let rows: Vec<Record> = sqlx::query_as(
        r"SELECT DISTINCT ON (t.effective_from) t.*, a.approved_by, a.recorded_at AS approved_at
            FROM terms t JOIN terms_approval a ON a.plan = t.plan AND a.version = t.version
           WHERE t.plan = $1 AND t.effective_from < $3 AND a.recorded_at <= $4
             AND t.effective_from >= coalesce(
                 (SELECT max(b.effective_from)
                    FROM terms b JOIN terms_approval c ON c.plan = b.plan AND c.version = b.version
                   WHERE b.plan = $1 AND b.effective_from <= $2 AND c.recorded_at <= $4), '-infinity')
           ORDER BY t.effective_from, t.version DESC",
    )
    .bind(plan)
    .bind(within.start().utc())
    .bind(within.end().utc())
    .bind(as_recorded.utc())
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Record::version).collect()
}

pub async fn find(conn: &mut PgConnection, plan: &str, version: i32) -> Result<Option<Version>, Error> {
    let row: Option<Record> = sqlx::query_as(
        r"SELECT t.*, a.approved_by, a.recorded_at AS approved_at
            FROM terms t LEFT JOIN terms_approval a ON a.plan = t.plan AND a.version = t.version
           WHERE t.plan = $1 AND t.version = $2",
    )
    .bind(plan)
    .bind(version)
    .fetch_optional(conn)
    .await?;
    row.map(Record::version).transpose()
}

/// The names of all plans that have terms, approved or not.
pub async fn plans(conn: &mut PgConnection) -> Result<Vec<String>, Error> {
    Ok(sqlx::query_scalar(r"SELECT plan FROM plan ORDER BY plan").fetch_all(conn).await?)
}

/// What the terms of all plans name, those of the past and those that nobody has approved yet too.
pub async fn promised(conn: &mut PgConnection) -> Result<Promised, Error> {
    let names: Vec<String> =
        sqlx::query_scalar(r"SELECT DISTINCT jsonb_path_query(body, '$.**.capabilities[*]') #>> '{}' FROM terms")
            .fetch_all(conn)
            .await?;
    Ok(names.into_iter().collect())
}

/// Every version of a plan's terms, the newest first.
pub async fn of_plan(conn: &mut PgConnection, plan: &str) -> Result<Vec<Version>, Error> {
    let rows: Vec<Record> = sqlx::query_as(
        r"SELECT t.*, a.approved_by, a.recorded_at AS approved_at
            FROM terms t LEFT JOIN terms_approval a ON a.plan = t.plan AND a.version = t.version
           WHERE t.plan = $1 ORDER BY t.version DESC",
    )
    .bind(plan)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Record::version).collect()
}

#[derive(FromRow)]
struct Record {
    plan: String,
    version: i32,
    recorded_at: DateTime<Utc>,
    effective_from: DateTime<Utc>,
    body: Value,
    hash: Vec<u8>,
    published_by: String,
    approved_by: Option<String>,
    approved_at: Option<DateTime<Utc>>,
}

impl Record {
    fn version(self) -> Result<Version, Error> {
        let damaged =
            |column: &str| Error::Corrupt(format!("terms.{column} of {}, version {}", self.plan, self.version));
        let terms: Terms = serde_json::from_value(self.body).map_err(|_| damaged("body"))?;
        let hash = hex::encode(&self.hash);
        if terms.hash() != hash {
            return Err(damaged("hash"));
        }
        let approved_at = self.approved_at.map(|at| instant(at, "terms_approval.recorded_at")).transpose()?;
        Ok(Version {
            recorded_at: instant(self.recorded_at, "terms.recorded_at")?,
            effective_from: instant(self.effective_from, "terms.effective_from")?,
            terms,
            hash,
            plan: self.plan,
            version: self.version,
            published_by: self.published_by,
            approved: self.approved_by.zip(approved_at),
        })
    }
}
