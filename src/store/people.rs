//! People of whom there is something to say: who is disabled, and since when older tokens and sessions no longer count.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::Error;
use super::evidence::instant;
use crate::domain::time::Instant;

/// How a person stands. Whoever has no row stands as the default says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub disabled: bool,
    /// Tokens and sessions from before this time are refused.
    pub not_before: Option<Instant>,
}

pub async fn standing(conn: &mut PgConnection, issuer: &str, subject: &str) -> Result<Standing, Error> {
    let row: Option<(bool, Option<DateTime<Utc>>)> =
        sqlx::query_as(r"SELECT disabled, not_before FROM person WHERE issuer = $1 AND subject = $2")
            .bind(issuer)
            .bind(subject)
            .fetch_optional(conn)
            .await?;
    let Some((disabled, not_before)) = row else { return Ok(Standing::default()) };
    let not_before = not_before.map(|at| instant(at, "person.not_before")).transpose()?;
    Ok(Standing { disabled, not_before })
}

/// Sets whether a person may come in at all.
pub async fn set_disabled(conn: &mut PgConnection, issuer: &str, subject: &str, disabled: bool) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO person (issuer, subject, disabled) VALUES ($1, $2, $3)
          ON CONFLICT ON CONSTRAINT person_pkey DO UPDATE SET disabled = excluded.disabled",
    )
    .bind(issuer)
    .bind(subject)
    .bind(disabled)
    .execute(conn)
    .await?;
    Ok(())
}

/// Refuses what was given to a person before `at`; an earlier bound never replaces a later one.
pub async fn refuse_before(conn: &mut PgConnection, issuer: &str, subject: &str, at: Instant) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO person (issuer, subject, disabled, not_before) VALUES ($1, $2, false, $3)
          ON CONFLICT ON CONSTRAINT person_pkey
          DO UPDATE SET not_before = greatest(person.not_before, excluded.not_before)",
    )
    .bind(issuer)
    .bind(subject)
    .bind(at.utc())
    .execute(conn)
    .await?;
    Ok(())
}
