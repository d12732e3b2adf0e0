//! Journal batches: only ever inserted.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use super::Error;
use super::evidence::instant;
use crate::domain::period::Month;
use crate::domain::time::Instant;

/// A batch as it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub no: i64,
    pub period: Month,
    /// The stretch of the chain: after the first number, through the second.
    pub stretch: (i64, i64),
    pub chart_version: i32,
    pub transfers: i64,
    /// Debits, which are the credits, in minor units by currency.
    pub totals: Value,
    /// The file.
    pub body: String,
    pub hash: Vec<u8>,
    pub made_at: Instant,
    pub made_by: String,
}

#[derive(sqlx::FromRow)]
struct Row {
    no: i64,
    period: String,
    chain_after: i64,
    chain_through: i64,
    chart_version: i32,
    transfers: i64,
    totals: Value,
    body: String,
    hash: Vec<u8>,
    made_at: DateTime<Utc>,
    made_by: String,
}

impl Row {
    fn batch(self) -> Result<Batch, Error> {
        Ok(Batch {
            period: self.period.parse().map_err(|_| Error::Corrupt(format!("journal_batch.period of {}", self.no)))?,
            made_at: instant(self.made_at, "journal_batch.made_at")?,
            no: self.no,
            stretch: (self.chain_after, self.chain_through),
            chart_version: self.chart_version,
            transfers: self.transfers,
            totals: self.totals,
            body: self.body,
            hash: self.hash,
            made_by: self.made_by,
        })
    }
}

/// The number of the newest batch, zero before the first, and how far along the chain the newest of `period` reaches.
pub async fn newest(conn: &mut PgConnection, period: Month) -> Result<(i64, i64), Error> {
    Ok(sqlx::query_as(
        r"SELECT coalesce(max(no), 0), coalesce(max(chain_through) FILTER (WHERE period = $1), 0) FROM journal_batch",
    )
    .bind(period.to_string())
    .fetch_one(conn)
    .await?)
}

pub async fn insert(conn: &mut PgConnection, batch: &Batch) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO journal_batch (no, period, chain_after, chain_through, chart_version, transfers, totals, body, hash, made_at,
                                     made_by)
          VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(batch.no)
    .bind(batch.period.to_string())
    .bind(batch.stretch.0)
    .bind(batch.stretch.1)
    .bind(batch.chart_version)
    .bind(batch.transfers)
    .bind(&batch.totals)
    .bind(&batch.body)
    .bind(&batch.hash)
    .bind(batch.made_at.utc())
    .bind(&batch.made_by)
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn find(conn: &mut PgConnection, no: i64) -> Result<Option<Batch>, Error> {
    let row: Option<Row> = sqlx::query_as(
        r"SELECT no, period, chain_after, chain_through, chart_version, transfers, totals, body, hash, made_at, made_by
          FROM journal_batch WHERE no = $1",
    )
    .bind(no)
    .fetch_optional(conn)
    .await?;
    row.map(Row::batch).transpose()
}

/// Batches after number `after`, of one period where it is given; without their files.
pub async fn list(conn: &mut PgConnection, period: Option<Month>, after: i64, limit: i64) -> Result<Vec<Batch>, Error> {
    let rows: Vec<Row> = sqlx::query_as(
        r"SELECT no, period, chain_after, chain_through, chart_version, transfers, totals, '' AS body, hash, made_at, made_by
          FROM journal_batch WHERE no > $1 AND ($2::text IS NULL OR period = $2) ORDER BY no LIMIT $3",
    )
    .bind(after)
    .bind(period.map(|period| period.to_string()))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Row::batch).collect()
}
