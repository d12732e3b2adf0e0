//! Staging: temporary tables without constraints that a bulk load fills, checks as a whole, and copies from.
//!
//! They live until the end of the transaction and belong to its connection alone, so filling them locks nothing that
//! anybody else waits for. Their statements can be prepared once [`TABLES`] have been created.

use sqlx::postgres::PgCopyIn;
use sqlx::{Executor, PgConnection};

use super::Error;
use crate::domain::batch::LineError;

/// What is wrong with lines, as the checks find it.
const ERRORS: &str = "CREATE TEMP TABLE staged_error (line bigint, pointer text, message text) ON COMMIT DROP";

/// Everything that [`open`] may create.
pub const TABLES: [&str; 7] = [
    ERRORS,
    super::sequences::STAGING,
    super::accounts::STAGING,
    super::subscriptions::STAGING,
    super::charges::STAGING,
    super::placements::STAGING,
    super::placements::EVENTS,
];

/// Creates `tables`, and lifts the limits that are meant for people who wait.
pub async fn open(conn: &mut PgConnection, tables: &[&'static str]) -> Result<(), Error> {
    sqlx::query(
        r"SELECT set_config('statement_timeout', '0', true), set_config('lock_timeout', '60s', true),
                 set_config('work_mem', '64MB', true), set_config('jit', 'off', true)",
    )
    .execute(&mut *conn)
    .await?;
    conn.execute(ERRORS).await?;
    conn.execute(super::sequences::STAGING).await?;
    for table in tables {
        conn.execute(*table).await?;
    }
    Ok(())
}

/// Opens a COPY into a staging table; `statement` is a constant of the noun's own file.
pub async fn copy<'c>(
    conn: &'c mut PgConnection,
    statement: &'static str,
) -> Result<PgCopyIn<&'c mut PgConnection>, Error> {
    Ok(conn.copy_in_raw(statement).await?)
}

/// Whether the checks found anything wrong.
pub async fn any_wrong(conn: &mut PgConnection) -> Result<bool, Error> {
    Ok(sqlx::query_scalar(r"SELECT EXISTS (SELECT FROM staged_error)").fetch_one(conn).await?)
}

/// How many lines the checks found wrong.
pub async fn wrong_lines(conn: &mut PgConnection) -> Result<i64, Error> {
    Ok(sqlx::query_scalar(r"SELECT count(DISTINCT line) FROM staged_error").fetch_one(conn).await?)
}

/// The first `limit` of what the checks found.
pub async fn errors(conn: &mut PgConnection, limit: i64) -> Result<Vec<LineError>, Error> {
    let rows: Vec<(i64, String, String)> =
        sqlx::query_as(r"SELECT line, pointer, message FROM staged_error ORDER BY line, pointer, message LIMIT $1")
            .bind(limit)
            .fetch_all(conn)
            .await?;
    Ok(rows.into_iter().map(|(line, pointer, message)| LineError { line, pointer: pointer.into(), message }).collect())
}
