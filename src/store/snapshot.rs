//! One moment of the books: a connection whose statements all see the same rows, whatever commits meanwhile.

use sqlx::PgPool;

use super::{Error, Tx};

/// Opens a transaction that reads as of its first statement and can write nothing.
pub async fn open(pool: &PgPool) -> Result<Tx, Error> {
    Ok(pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?)
}
