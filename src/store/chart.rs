//! The chart of the books: every version that was recorded. The newest counts.

use serde_json::Value;
use sqlx::PgConnection;

use super::Error;
use crate::domain::chart::Chart;
use crate::domain::time::Instant;

/// The newest chart and its version; what the service does by itself, as version 0, where none was recorded.
pub async fn newest(conn: &mut PgConnection) -> Result<(i32, Chart), Error> {
    let row: Option<(i32, Value)> =
        sqlx::query_as(r"SELECT version, body FROM chart_version ORDER BY version DESC LIMIT 1")
            .fetch_optional(conn)
            .await?;
    let Some((version, body)) = row else { return Ok((0, Chart::default())) };
    let chart = serde_json::from_value(body)
        .map_err(|error| Error::Corrupt(format!("chart_version.body of {version}: {error}")))?;
    Ok((version, chart))
}

/// Records a version.
pub async fn insert(conn: &mut PgConnection, version: i32, chart: &Chart, by: &str, now: Instant) -> Result<(), Error> {
    let body = serde_json::to_value(chart).map_err(|error| Error::Corrupt(format!("a chart is no JSON: {error}")))?;
    sqlx::query(
        r"INSERT INTO chart_version (version, recorded_at, body, hash, recorded_by)
          VALUES ($1, $2, $3, decode($4, 'hex'), $5)",
    )
    .bind(version)
    .bind(now.utc())
    .bind(body)
    .bind(chart.hash())
    .bind(by)
    .execute(conn)
    .await?;
    Ok(())
}
