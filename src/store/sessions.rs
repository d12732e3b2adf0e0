//! Sessions of browsers, under the SHA-256 of the cookie's value: whoever reads this table cannot become anybody.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use sqlx::types::Json;

use super::Error;
use super::evidence::instant;
use crate::domain::actor::{Actor, Role};
use crate::domain::time::Instant;

/// A session that has not been ended. Whether it is too old is for the door to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub actor: Actor,
    pub csrf: String,
    pub created_at: Instant,
    pub last_seen_at: Instant,
    pub absolute_until: Instant,
}

/// An actor as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    issuer: String,
    subject: String,
    name: String,
    roles: Vec<Role>,
    accounts: Vec<String>,
    source: Option<String>,
}

impl Kept {
    fn of(actor: &Actor) -> Self {
        Kept {
            issuer: actor.issuer.clone(),
            subject: actor.subject.clone(),
            name: actor.name.clone(),
            roles: actor.roles.iter().copied().collect(),
            accounts: actor.accounts.clone(),
            source: actor.source.clone(),
        }
    }

    fn actor(self) -> Actor {
        Actor {
            issuer: self.issuer,
            subject: self.subject,
            name: self.name,
            roles: self.roles.into_iter().collect(),
            accounts: self.accounts,
            source: self.source,
        }
    }
}

pub async fn insert(conn: &mut PgConnection, id_hash: &[u8; 32], session: &Stored) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO session (id_hash, actor, csrf, created_at, last_seen_at, absolute_until)
          VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(id_hash.as_slice())
    .bind(Json(Kept::of(&session.actor)))
    .bind(&session.csrf)
    .bind(session.created_at.utc())
    .bind(session.last_seen_at.utc())
    .bind(session.absolute_until.utc())
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn find(conn: &mut PgConnection, id_hash: &[u8; 32]) -> Result<Option<Stored>, Error> {
    type Row = (Json<Kept>, String, DateTime<Utc>, DateTime<Utc>, DateTime<Utc>);
    let row: Option<Row> = sqlx::query_as(
        r"SELECT actor, csrf, created_at, last_seen_at, absolute_until
          FROM session WHERE id_hash = $1 AND ended_at IS NULL",
    )
    .bind(id_hash.as_slice())
    .fetch_optional(conn)
    .await?;
    let Some((actor, csrf, created_at, last_seen_at, absolute_until)) = row else { return Ok(None) };
    Ok(Some(Stored {
        actor: actor.0.actor(),
        csrf,
        created_at: instant(created_at, "session.created_at")?,
        last_seen_at: instant(last_seen_at, "session.last_seen_at")?,
        absolute_until: instant(absolute_until, "session.absolute_until")?,
    }))
}

/// Notes that the session was used.
pub async fn touch(conn: &mut PgConnection, id_hash: &[u8; 32], now: Instant) -> Result<(), Error> {
    sqlx::query(r"UPDATE session SET last_seen_at = $2 WHERE id_hash = $1 AND ended_at IS NULL AND last_seen_at < $2")
        .bind(id_hash.as_slice())
        .bind(now.utc())
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends a session for good; one that is unknown or over is left as it is.
pub async fn end(conn: &mut PgConnection, id_hash: &[u8; 32], now: Instant) -> Result<(), Error> {
    sqlx::query(r"UPDATE session SET ended_at = $2 WHERE id_hash = $1 AND ended_at IS NULL")
        .bind(id_hash.as_slice())
        .bind(now.utc())
        .execute(conn)
        .await?;
    Ok(())
}

/// Forgets sessions that could not be used since `before`, and says how many.
pub async fn forget(conn: &mut PgConnection, before: Instant) -> Result<u64, Error> {
    let done = sqlx::query(r"DELETE FROM session WHERE absolute_until < $1").bind(before.utc()).execute(conn).await?;
    Ok(done.rows_affected())
}
