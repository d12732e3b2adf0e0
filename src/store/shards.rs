//! The register of shards. Names are added and never taken away: placements of the past name them.

use sqlx::PgConnection;

use super::Error;
use crate::domain::shards::Register;
use crate::domain::time::Instant;

/// All that are registered.
pub async fn known(conn: &mut PgConnection) -> Result<Register, Error> {
    Ok(names(conn).await?.into_iter().collect())
}

/// Their names.
pub async fn names(conn: &mut PgConnection) -> Result<Vec<String>, Error> {
    Ok(sqlx::query_scalar(r"SELECT name FROM shard").fetch_all(conn).await?)
}

/// Up to `limit` names after `after`, by their bytes. A batch query.
pub async fn page(conn: &mut PgConnection, after: &str, limit: i64) -> Result<Vec<String>, Error> {
    Ok(sqlx::query_scalar(r"SELECT name FROM shard WHERE name > $1 ORDER BY name LIMIT $2")
        .bind(after)
        .bind(limit)
        .fetch_all(conn)
        .await?)
}

/// Registers those of `names` that are not yet, and gives how many they were.
pub async fn register(conn: &mut PgConnection, names: &[String], recorded_at: Instant) -> Result<u64, Error> {
    let done = sqlx::query(r"INSERT INTO shard SELECT unnest($1::text[]), $2 ON CONFLICT DO NOTHING")
        .bind(names)
        .bind(recorded_at.utc())
        .execute(conn)
        .await?;
    Ok(done.rows_affected())
}
