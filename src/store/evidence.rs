//! The order in which evidence was recorded.
//!
//! Windows, placements, charges, subscriptions and terms carry the time at which we learned of them. Those times come from
//! one row, which each writer of evidence locks first and keeps locked until it commits; so a recorded time is never given
//! to something that becomes visible after a later one, and "as recorded at T" has one answer for good.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::Error;
use crate::domain::time::Instant;

/// Locks the row and gives this transaction's recorded time: `now`, or a microsecond after the last one if that is later.
/// Must come before anything else that the transaction locks.
pub async fn stamp(conn: &mut PgConnection, now: Instant) -> Result<Instant, Error> {
    let recorded: DateTime<Utc> = sqlx::query_scalar(
        r"UPDATE evidence_clock SET last_recorded = greatest($1, last_recorded + interval '1 microsecond')
          RETURNING last_recorded",
    )
    .bind(now.utc())
    .fetch_one(conn)
    .await?;
    instant(recorded, "evidence_clock.last_recorded")
}

/// A recorded time for what is rolled back in any case: after all that is committed, and without keeping anybody waiting.
pub async fn stamp_for_trial(conn: &mut PgConnection, now: Instant) -> Result<Instant, Error> {
    Ok(last_recorded(conn).await?.plus(1).max(now))
}

/// The last recorded time, once every writer that is under way has finished. What is read "as recorded at" this time
/// is complete and never changes.
pub async fn settled(conn: &mut PgConnection) -> Result<Instant, Error> {
    let recorded: DateTime<Utc> =
        sqlx::query_scalar(r"SELECT last_recorded FROM evidence_clock FOR SHARE").fetch_one(conn).await?;
    instant(recorded, "evidence_clock.last_recorded")
}

/// A stored timestamp as an instant of the domain.
pub fn instant(stored: DateTime<Utc>, column: &str) -> Result<Instant, Error> {
    Instant::from_utc(stored)
        .ok_or_else(|| Error::Corrupt(format!("{column} is {stored}, outside the years 1970 to 2199")))
}

/// The last recorded time, without waiting for writers under way: for reading only.
pub async fn last_recorded(conn: &mut PgConnection) -> Result<Instant, Error> {
    let recorded: DateTime<Utc> =
        sqlx::query_scalar(r"SELECT last_recorded FROM evidence_clock").fetch_one(conn).await?;
    instant(recorded, "evidence_clock.last_recorded")
}
