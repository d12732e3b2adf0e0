//! Answers that were given to a caller's key.

use sqlx::PgConnection;

use super::Error;
use crate::domain::time::Instant;

/// The answer to a request, as it was sent: a retry gets the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// JSON.
    pub body: String,
    /// Whether this is the answer to an earlier request with the same key.
    pub replayed: bool,
}

/// What is stored under a key.
#[derive(Debug)]
pub struct Stored {
    pub fingerprint: Vec<u8>,
    pub answer: Answer,
}

/// A hint that nobody else works on this key: false while another transaction does. Correctness rests on the primary key.
pub async fn try_lock(conn: &mut PgConnection, caller: &str, key: &str) -> Result<bool, Error> {
    Ok(sqlx::query_scalar(r"SELECT pg_try_advisory_xact_lock(hashtextextended($1 || chr(31) || $2, 0))")
        .bind(caller)
        .bind(key)
        .fetch_one(conn)
        .await?)
}

pub async fn find(conn: &mut PgConnection, caller: &str, key: &str) -> Result<Option<Stored>, Error> {
    let row: Option<(Vec<u8>, i16, String)> =
        sqlx::query_as(r"SELECT fingerprint, status, body FROM idempotency WHERE caller = $1 AND key = $2")
            .bind(caller)
            .bind(key)
            .fetch_optional(conn)
            .await?;
    row.map(|(fingerprint, status, body)| {
        let status =
            u16::try_from(status).map_err(|_| Error::Corrupt(format!("idempotency.status of {key} is {status}")))?;
        Ok(Stored { fingerprint, answer: Answer { status, body, replayed: true } })
    })
    .transpose()
}

/// Keeps the answer. A key that another transaction kept meanwhile breaks `idempotency_pkey`, and with it this transaction.
pub async fn keep(
    conn: &mut PgConnection,
    caller: &str,
    key: &str,
    fingerprint: &[u8],
    answer: &Answer,
    now: Instant,
) -> Result<(), Error> {
    let status = i16::try_from(answer.status).map_err(|_| Error::Corrupt(format!("status {}", answer.status)))?;
    sqlx::query(
        r"INSERT INTO idempotency (caller, key, fingerprint, status, body, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(caller)
    .bind(key)
    .bind(fingerprint)
    .bind(status)
    .bind(&answer.body)
    .bind(now.utc())
    .execute(conn)
    .await?;
    Ok(())
}
