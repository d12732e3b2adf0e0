//! What operations have to map or to mend: alerts that mean nothing yet, and alerts that were rejected.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection};

use super::observations::{self, Record};
use super::{Error, evidence, monitors};
use crate::domain::monitors::Unmapped;
use crate::domain::time::Instant;

/// How many alerts are looked at, the last ones that were recorded.
const MOST_ALERTS: i64 = 100_000;
/// How many rejected alerts are listed.
const MOST_REJECTED: i64 = 500;
/// How many kinds of alerts to map are listed.
const MOST_LISTED: usize = 1_000;

/// Everything that is to be mapped or mended.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ToMap {
    #[schema(value_type = String)]
    pub since: Instant,
    /// Alerts of one kind that mean nothing yet for one reason, the most frequent first.
    pub unmapped: Vec<KindToMap>,
    /// Alerts that say nothing which can be true, the latest first.
    pub rejected: Vec<RejectedAlert>,
    /// Whether there are more than are listed here, or alerts before those that were looked at. Ask again when these are mapped.
    pub has_more: bool,
}

/// Alerts of one name of one source that mean nothing yet for one reason.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct KindToMap {
    #[schema(example = "prom-north")]
    pub source: String,
    #[schema(example = "InboundDown")]
    pub alertname: String,
    /// What is missing: `no_source`, `no_rule`, `no_label`, `no_component`, `no_capability` or `no_shard`.
    #[schema(example = "no_component")]
    pub missing: &'static str,
    /// The name of what is missing: the alert, the label, the component, the shard.
    #[schema(example = "inbound-mx-09")]
    pub name: String,
    /// In words, of the latest of them.
    pub why: String,
    /// How many alerts.
    #[schema(example = 3)]
    pub count: usize,
    #[schema(value_type = String)]
    pub first_start: Instant,
    #[schema(value_type = String)]
    pub last_start: Instant,
    /// The labels of the latest of them.
    #[schema(value_type = Object)]
    pub labels: BTreeMap<String, String>,
}

/// An alert that was left out. The bytes that it came in are kept.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct RejectedAlert {
    #[schema(example = "prom-north")]
    pub source: String,
    /// Of the delivery, in hexadecimal.
    pub sha256: String,
    #[schema(example = "/alerts/3/startsAt")]
    pub pointer: String,
    #[schema(example = "startsAt is missing")]
    pub message: String,
    #[schema(value_type = String)]
    pub received_at: Instant,
}

/// What was recorded since `since` and is still to be mapped or mended.
pub async fn since(conn: &mut PgConnection, since: Instant) -> Result<ToMap, Error> {
    let mapping = monitors::mapping(&mut *conn).await?;
    let told = last_recorded(&mut *conn, since).await?;
    let mut has_more = i64::try_from(told.len()).unwrap_or(i64::MAX) == MOST_ALERTS;
    let mut kinds: BTreeMap<(String, String, &'static str, String), KindToMap> = BTreeMap::new();
    for Row { source, record } in told {
        let observation = observations::observation(record)?;
        let Err(why) = mapping.meaning(&source, &observation) else { continue };
        let (missing, name) = named(&why);
        let start = observation.starts_at;
        let key = (source.clone(), observation.name.clone(), missing, name.clone());
        let kind = kinds.entry(key).or_insert_with(|| KindToMap {
            source,
            alertname: observation.name,
            missing,
            name,
            why: why.to_string(),
            count: 0,
            first_start: start,
            last_start: start,
            labels: observation.labels,
        });
        kind.count += 1;
        kind.first_start = kind.first_start.min(start);
        kind.last_start = kind.last_start.max(start);
    }
    let mut unmapped: Vec<KindToMap> = kinds.into_values().collect();
    unmapped.sort_by_key(|kind| std::cmp::Reverse(kind.count));
    has_more |= unmapped.len() > MOST_LISTED;
    unmapped.truncate(MOST_LISTED);
    let rejected = rejected(conn, since).await?;
    has_more |= i64::try_from(rejected.len()).unwrap_or(i64::MAX) == MOST_REJECTED;
    Ok(ToMap { since, unmapped, rejected, has_more })
}

/// What is missing, and its name.
fn named(why: &Unmapped) -> (&'static str, String) {
    match why {
        Unmapped::NoRule(alert) => ("no_rule", alert.clone()),
        Unmapped::NoLabel(label) => ("no_label", label.clone()),
        Unmapped::NoComponent { component, .. } => ("no_component", component.clone()),
        Unmapped::NoCapability(component) => ("no_capability", component.clone()),
        Unmapped::NoShard(shard) => ("no_shard", shard.clone()),
        Unmapped::NoSource(source) => ("no_source", source.clone()),
    }
}

/// An alert and the source that told it.
#[derive(Debug, FromRow)]
struct Row {
    source: String,
    #[sqlx(flatten)]
    record: Record,
}

/// Each alert that was recorded since then, once, the latest first.
async fn last_recorded(conn: &mut PgConnection, since: Instant) -> Result<Vec<Row>, Error> {
    let rows = sqlx::query_as(
        r"SELECT source, fingerprint, name, labels, starts_at, ends_at, observed_at, said
          FROM (SELECT *, row_number() OVER (PARTITION BY source, fingerprint, starts_at ORDER BY recorded_at DESC) AS version
                FROM observation WHERE recorded_at >= $1) told
          WHERE version = 1 ORDER BY recorded_at DESC LIMIT $2",
    )
    .bind(since.utc())
    .bind(MOST_ALERTS)
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

async fn rejected(conn: &mut PgConnection, since: Instant) -> Result<Vec<RejectedAlert>, Error> {
    let rows: Vec<(String, Vec<u8>, String, String, DateTime<Utc>)> = sqlx::query_as(
        r"SELECT source, sha256, pointer, message, received_at FROM rejected_alert
          WHERE received_at >= $1 ORDER BY received_at DESC, source, sha256, pointer LIMIT $2",
    )
    .bind(since.utc())
    .bind(MOST_REJECTED)
    .fetch_all(conn)
    .await?;
    let rejected =
        |(source, sha256, pointer, message, received_at): (String, Vec<u8>, String, String, DateTime<Utc>)| {
            let received_at = evidence::instant(received_at, "rejected_alert.received_at")?;
            Ok(RejectedAlert { source, sha256: hex::encode(sha256), pointer, message, received_at })
        };
    rows.into_iter().map(rejected).collect()
}
