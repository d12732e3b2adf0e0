//! Tokens of machines, by their `jti`: what was issued to whom, until when, and whether it was taken back.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Error;
use super::evidence::instant;
use crate::domain::actor::Role;
use crate::domain::time::Instant;

/// What our own tokens say in `iss` and `aud`, and the first half of a machine's key.
pub const ISSUER: &str = "makegood";

/// One token that was issued to a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineToken {
    pub jti: Uuid,
    pub role: Role,
    /// The system that holds it, such as `alertmanager-north`.
    pub source: String,
    /// What the token says in `sub`.
    pub subject: String,
    pub created_by: String,
    pub created_at: Instant,
    pub expires_at: Instant,
    pub revoked_at: Option<Instant>,
}

type Row = (Uuid, String, String, String, String, DateTime<Utc>, DateTime<Utc>, Option<DateTime<Utc>>);

fn read(row: Row) -> Result<MachineToken, Error> {
    let (jti, role, source, subject, created_by, created_at, expires_at, revoked_at) = row;
    Ok(MachineToken {
        jti,
        role: role.parse().map_err(|error| Error::Corrupt(format!("machine_token.role of {jti}: {error}")))?,
        source,
        subject,
        created_by,
        created_at: instant(created_at, "machine_token.created_at")?,
        expires_at: instant(expires_at, "machine_token.expires_at")?,
        revoked_at: revoked_at.map(|at| instant(at, "machine_token.revoked_at")).transpose()?,
    })
}

/// Registers a token before it is signed: an unregistered `jti` is never taken.
pub async fn insert(conn: &mut PgConnection, token: &MachineToken) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO machine_token (jti, role, source, subject, created_by, created_at, expires_at)
          VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(token.jti)
    .bind(token.role.name())
    .bind(&token.source)
    .bind(&token.subject)
    .bind(&token.created_by)
    .bind(token.created_at.utc())
    .bind(token.expires_at.utc())
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn find(conn: &mut PgConnection, jti: Uuid) -> Result<Option<MachineToken>, Error> {
    let row: Option<Row> = sqlx::query_as(
        r"SELECT jti, role, source, subject, created_by, created_at, expires_at, revoked_at
          FROM machine_token WHERE jti = $1",
    )
    .bind(jti)
    .fetch_optional(conn)
    .await?;
    row.map(read).transpose()
}

/// Every token, the newest first.
pub async fn list(conn: &mut PgConnection) -> Result<Vec<MachineToken>, Error> {
    let rows: Vec<Row> = sqlx::query_as(
        r"SELECT jti, role, source, subject, created_by, created_at, expires_at, revoked_at
          FROM machine_token ORDER BY created_at DESC, jti",
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(read).collect()
}

/// Takes a token back, and says whether this call did it: false where it is unknown or was taken back before.
pub async fn revoke(conn: &mut PgConnection, jti: Uuid, now: Instant) -> Result<bool, Error> {
    let done = sqlx::query(r"UPDATE machine_token SET revoked_at = $2 WHERE jti = $1 AND revoked_at IS NULL")
        .bind(jti)
        .bind(now.utc())
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}
