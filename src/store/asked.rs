//! Asking monitors: until when they were asked, what is known of them already, and what they answered.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use sqlx::types::Json;

use super::{Error, evidence};
use crate::domain::ids::WindowId;
use crate::domain::observation::Observation;
use crate::domain::time::Instant;

/// How an observation came to us, as its delivery is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    AskedAlertmanager,
    AskedPrometheus,
}

impl Origin {
    pub fn name(self) -> &'static str {
        match self {
            Origin::AskedAlertmanager => "asked_alertmanager",
            Origin::AskedPrometheus => "asked_prometheus",
        }
    }
}

/// How far a source was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What fired before this is known. None: Prometheus was never asked.
    pub to: Option<Instant>,
    pub at: Instant,
}

/// Whether this session may ask `source` now: one at a time does. It is given back when the session ends. A hint only: what two
/// find at once is recorded once.
pub async fn lease(conn: &mut PgConnection, source: &str) -> Result<bool, Error> {
    Ok(sqlx::query_scalar(r"SELECT pg_try_advisory_lock(hashtextextended('makegood asks ' || $1, 0))")
        .bind(source)
        .fetch_one(conn)
        .await?)
}

/// When the source was first set up, and how far it was asked.
pub async fn progress(conn: &mut PgConnection, source: &str) -> Result<Option<(Instant, Option<Asked>)>, Error> {
    let row: Option<(Option<DateTime<Utc>>, Option<DateTime<Utc>>, Option<DateTime<Utc>>)> = sqlx::query_as(
        r"SELECT (SELECT min(recorded_at) FROM source WHERE name = $1), asked.asked_to, asked.asked_at
          FROM (VALUES (1)) one LEFT JOIN source_asked asked ON asked.source = $1",
    )
    .bind(source)
    .fetch_optional(conn)
    .await?;
    let Some((Some(set_up), to, at)) = row else { return Ok(None) };
    let to = to.map(|to| evidence::instant(to, "source_asked.asked_to")).transpose()?;
    let asked =
        at.map(|at| Ok::<_, Error>(Asked { to, at: evidence::instant(at, "source_asked.asked_at")? })).transpose()?;
    Ok(Some((evidence::instant(set_up, "source.recorded_at")?, asked)))
}

/// Notes that the source was asked at `at`, Prometheus until `to` if at all. What was noted never goes back.
pub async fn note(conn: &mut PgConnection, source: &str, to: Option<Instant>, at: Instant) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO source_asked (source, asked_to, asked_at) VALUES ($1, $2, $3)
          ON CONFLICT ON CONSTRAINT source_asked_pkey DO UPDATE
          SET asked_to = greatest(source_asked.asked_to, excluded.asked_to),
              asked_at = greatest(source_asked.asked_at, excluded.asked_at)",
    )
    .bind(source)
    .bind(to.map(Instant::utc))
    .bind(at.utc())
    .execute(conn)
    .await?;
    Ok(())
}

/// The alerts of a source that fire or were over at `from` or later, each once with its latest end.
pub async fn known(conn: &mut PgConnection, source: &str, from: Instant) -> Result<Vec<Observation>, Error> {
    let rows: Vec<(String, String, Json<BTreeMap<String, String>>, DateTime<Utc>, Option<DateTime<Utc>>)> =
        sqlx::query_as(
            r"SELECT DISTINCT ON (fingerprint, starts_at) fingerprint, name, labels, starts_at, ends_at
              FROM (SELECT fingerprint, name, labels, starts_at, ends_at FROM observation
                    WHERE source = $1 AND ends_at >= $2
                    UNION ALL
                    SELECT fingerprint, name, labels, starts_at, NULL FROM observation told
                    WHERE source = $1 AND ends_at IS NULL AND NOT EXISTS
                        (SELECT FROM observation over
                         WHERE over.source = told.source AND over.fingerprint = told.fingerprint
                             AND over.starts_at = told.starts_at AND over.ends_at IS NOT NULL)) fires_or_ended
              ORDER BY fingerprint, starts_at, ends_at DESC NULLS LAST",
        )
        .bind(source)
        .bind(from.utc())
        .fetch_all(conn)
        .await?;
    rows.into_iter()
        .map(|(fingerprint, name, Json(labels), starts_at, ends_at)| {
            Ok(Observation {
                fingerprint,
                name,
                labels,
                starts_at: evidence::instant(starts_at, "observation.starts_at")?,
                ends_at: ends_at.map(|at| evidence::instant(at, "observation.ends_at")).transpose()?,
                observed_at: None,
                said: None,
            })
        })
        .collect()
}

/// When a source was heard from `from` to `to`.
pub async fn heard(conn: &mut PgConnection, source: &str, from: Instant, to: Instant) -> Result<Vec<Instant>, Error> {
    let rows: Vec<DateTime<Utc>> = sqlx::query_scalar(
        r"SELECT heard_at FROM heartbeat WHERE source = $1 AND heard_at BETWEEN $2 AND $3 ORDER BY heard_at",
    )
    .bind(source)
    .bind(from.utc())
    .bind(to.utc())
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|at| evidence::instant(at, "heartbeat.heard_at")).collect()
}

/// Keeps an answer as it came. The same bytes again change nothing.
pub async fn keep_answer(
    conn: &mut PgConnection,
    source: &str,
    origin: Origin,
    sha256: &[u8; 32],
    body: &[u8],
    received_at: Instant,
) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO delivery (source, sha256, received_at, body, truncated, origin) VALUES ($1, $2, $3, $4, 0, $5)
          ON CONFLICT ON CONSTRAINT delivery_pkey DO NOTHING",
    )
    .bind(source)
    .bind(sha256)
    .bind(received_at.utc())
    .bind(body)
    .bind(origin.name())
    .execute(conn)
    .await?;
    Ok(())
}

/// One thing that a monitor said of an outage.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Told {
    #[schema(example = "prometheus-north")]
    pub source: String,
    #[schema(example = "9c1f2a6d4be07351")]
    pub fingerprint: String,
    /// The alert's name.
    #[schema(example = "InboundDown")]
    pub name: String,
    pub labels: BTreeMap<String, String>,
    #[schema(value_type = String)]
    pub starts_at: Instant,
    /// Null while it fires.
    #[schema(value_type = Option<String>)]
    pub ends_at: Option<Instant>,
    /// How it came to us: told, asked_alertmanager or asked_prometheus.
    #[schema(example = "told")]
    pub origin: String,
    /// When its bytes came first, and when it was recorded.
    #[schema(value_type = String)]
    pub received_at: Instant,
    #[schema(value_type = String)]
    pub recorded_at: Instant,
}

type ToldRow = (
    String,
    String,
    String,
    Json<BTreeMap<String, String>>,
    DateTime<Utc>,
    Option<DateTime<Utc>>,
    String,
    DateTime<Utc>,
    DateTime<Utc>,
);

/// What monitors said of an outage, in the order in which it was recorded; at most 1,000.
pub async fn told_of(conn: &mut PgConnection, window: WindowId) -> Result<Vec<Told>, Error> {
    let rows: Vec<ToldRow> = sqlx::query_as(
        r"SELECT o.source, o.fingerprint, o.name, o.labels, o.starts_at, o.ends_at, d.origin, d.received_at, o.recorded_at
          FROM (SELECT DISTINCT ON (source, fingerprint, starts_at, capability) source, fingerprint, starts_at, window_id
                FROM observation_window
                WHERE (source, fingerprint, starts_at) IN
                    (SELECT source, fingerprint, starts_at FROM observation_window WHERE window_id = $1)
                ORDER BY source, fingerprint, starts_at, capability, recorded_at DESC) link
          JOIN observation o USING (source, fingerprint, starts_at)
          JOIN delivery d ON d.source = o.source AND d.sha256 = o.sha256
          WHERE link.window_id = $1
          ORDER BY o.recorded_at, o.source, o.fingerprint, o.starts_at LIMIT 1000",
    )
    .bind(window.0)
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(source, fingerprint, name, Json(labels), starts_at, ends_at, origin, received_at, recorded_at)| {
            Ok(Told {
                source,
                fingerprint,
                name,
                labels,
                starts_at: evidence::instant(starts_at, "observation.starts_at")?,
                ends_at: ends_at.map(|at| evidence::instant(at, "observation.ends_at")).transpose()?,
                origin,
                received_at: evidence::instant(received_at, "delivery.received_at")?,
                recorded_at: evidence::instant(recorded_at, "observation.recorded_at")?,
            })
        })
        .collect()
}
