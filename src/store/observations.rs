//! What sources said: raw deliveries, observations, heartbeats, and which window an observation is evidence for.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{Error, evidence};
use crate::domain::fold::Statement;
use crate::domain::ids::WindowId;
use crate::domain::monitors::{Group, Mapping};
use crate::domain::observation::{Observation, ObservationKey, Rejected, Said};
use crate::domain::time::{Instant, SECOND};
use crate::domain::window::{Capability, Correction};

/// Keeps the bytes as they came. The same bytes again change nothing.
pub async fn keep_delivery(
    conn: &mut PgConnection,
    source: &str,
    sha256: &[u8; 32],
    body: &[u8],
    truncated: u32,
    received_at: Instant,
) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO delivery (source, sha256, received_at, body, truncated) VALUES ($1, $2, $3, $4, $5)
          ON CONFLICT ON CONSTRAINT delivery_pkey DO NOTHING",
    )
    .bind(source)
    .bind(sha256)
    .bind(received_at.utc())
    .bind(body)
    .bind(i32::try_from(truncated).unwrap_or(i32::MAX))
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps what is wrong with alerts of a delivery. The same again changes nothing.
pub async fn keep_rejected(
    conn: &mut PgConnection,
    source: &str,
    sha256: &[u8; 32],
    rejected: &[Rejected],
    received_at: Instant,
) -> Result<(), Error> {
    let pointers: Vec<&str> = rejected.iter().map(|one| one.pointer.as_str()).collect();
    let messages: Vec<&str> = rejected.iter().map(|one| one.message.as_str()).collect();
    sqlx::query(
        r"INSERT INTO rejected_alert (source, sha256, pointer, received_at, message)
          SELECT $1, $2, wrong.pointer, $3, wrong.message
          FROM UNNEST($4::text[], $5::text[]) AS wrong (pointer, message)
          ON CONFLICT ON CONSTRAINT rejected_alert_pkey DO NOTHING",
    )
    .bind(source)
    .bind(sha256)
    .bind(received_at.utc())
    .bind(pointers)
    .bind(messages)
    .execute(conn)
    .await?;
    Ok(())
}

/// Which of `observations` were told before as something else that failed.
pub async fn told_otherwise(
    conn: &mut PgConnection,
    observations: &BTreeMap<ObservationKey, &Observation>,
) -> Result<Vec<ObservationKey>, Error> {
    let (sources, fingerprints, starts) = columns(observations.keys());
    let said: Vec<Option<Json<&Said>>> = observations.values().map(|one| one.said.as_ref().map(Json)).collect();
    let rows: Vec<(String, String, DateTime<Utc>)> = sqlx::query_as(
        r"SELECT DISTINCT known.source, known.fingerprint, known.starts_at
          FROM UNNEST($1::text[], $2::text[], $3::timestamptz[], $4::jsonb[]) AS told (source, fingerprint, starts_at, said)
          JOIN observation known USING (source, fingerprint, starts_at)
          WHERE known.said IS DISTINCT FROM told.said",
    )
    .bind(sources)
    .bind(fingerprints)
    .bind(starts)
    .bind(said)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|(source, fingerprint, starts_at)| key(source, fingerprint, starts_at)).collect()
}

/// Records what is new of `observations`, and gives back which: an alert that was never told, or one that was not told with
/// this end or as seen at this time. The evidence stamp must be held, so that nobody records the same at the same time.
pub async fn insert_new(
    conn: &mut PgConnection,
    observations: &BTreeMap<ObservationKey, &Observation>,
    sha256: &[u8; 32],
    recorded_at: Instant,
) -> Result<Vec<ObservationKey>, Error> {
    let keys: Vec<&ObservationKey> = observations.keys().collect();
    let (sources, fingerprints, starts) = columns(keys.iter().copied());
    let names: Vec<&str> = observations.values().map(|one| one.name.as_str()).collect();
    let labels: Vec<Json<&BTreeMap<String, String>>> = observations.values().map(|one| Json(&one.labels)).collect();
    let ends: Vec<Option<DateTime<Utc>>> = observations.values().map(|one| one.ends_at.map(Instant::utc)).collect();
    let seen: Vec<Option<DateTime<Utc>>> = observations.values().map(|one| one.observed_at.map(Instant::utc)).collect();
    let said: Vec<Option<Json<&Said>>> = observations.values().map(|one| one.said.as_ref().map(Json)).collect();
    let rows: Vec<(String, String, DateTime<Utc>)> = sqlx::query_as(
        r"INSERT INTO observation (source, fingerprint, starts_at, recorded_at, name, labels, ends_at, sha256,
              observed_at, said)
          SELECT told.source, told.fingerprint, told.starts_at, $7, told.name, told.labels, told.ends_at, $8,
              told.observed_at, told.said
          FROM UNNEST($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::jsonb[], $6::timestamptz[],
                      $9::timestamptz[], $10::jsonb[])
              AS told (source, fingerprint, starts_at, name, labels, ends_at, observed_at, said)
          WHERE NOT EXISTS (
              SELECT FROM observation known
              WHERE known.source = told.source AND known.fingerprint = told.fingerprint
                AND known.starts_at = told.starts_at AND known.ends_at IS NOT DISTINCT FROM told.ends_at
                AND known.observed_at IS NOT DISTINCT FROM told.observed_at)
          RETURNING source, fingerprint, starts_at",
    )
    .bind(sources)
    .bind(fingerprints)
    .bind(starts)
    .bind(names)
    .bind(labels)
    .bind(ends)
    .bind(recorded_at.utc())
    .bind(sha256)
    .bind(seen)
    .bind(said)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|(source, fingerprint, starts_at)| key(source, fingerprint, starts_at)).collect()
}

/// Everything that was ever said about `group`, each alert with the end that holds: what a fold needs. Grows with the history
/// of one component, which is a few alerts a day at worst.
pub async fn of_group(conn: &mut PgConnection, group: &Group, mapping: &Mapping) -> Result<Vec<Statement>, Error> {
    let voices = mapping.voices(group);
    let sources: Vec<&str> = voices.iter().map(|voice| voice.source).collect();
    let names: Vec<&str> = voices.iter().map(|voice| voice.name).collect();
    let labels: Vec<&str> = voices.iter().map(|voice| voice.label).collect();
    let values: Vec<&str> = voices.iter().map(|voice| voice.value).collect();
    let said = Said { about: group.about.clone(), capability: group.capability.clone(), impact: group.impact };
    let rows: Vec<(String, String, DateTime<Utc>, Option<i64>, Option<DateTime<Utc>>)> = sqlx::query_as(
        r"SELECT source, fingerprint, starts_at, voice,
              CASE WHEN bool_and(observed_at IS NOT NULL)
                   THEN (array_agg(ends_at ORDER BY observed_at DESC, ends_at DESC NULLS LAST))[1]
                   ELSE max(ends_at) END
          FROM (SELECT o.source, o.fingerprint, o.starts_at, o.observed_at, o.ends_at, voice.number AS voice
                FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[])
                    WITH ORDINALITY AS voice (source, name, label, value, number)
                JOIN observation o ON o.source = voice.source AND o.name = voice.name
                    AND o.labels ->> voice.label = voice.value AND o.said IS NULL
                UNION ALL
                SELECT source, fingerprint, starts_at, observed_at, ends_at, NULL FROM observation WHERE said = $5) told
          GROUP BY source, fingerprint, starts_at, voice
          ORDER BY source, fingerprint, starts_at",
    )
    .bind(sources)
    .bind(names)
    .bind(labels)
    .bind(values)
    .bind(Json(&said))
    .fetch_all(conn)
    .await?;
    let mut statements = Vec::with_capacity(rows.len());
    for (source, fingerprint, starts_at, voice, ends_at) in rows {
        let key = key(source, fingerprint, starts_at)?;
        let correction = match voice {
            Some(number) => {
                let voice = usize::try_from(number - 1).ok().and_then(|at| voices.get(at));
                voice.and_then(|voice| mapping.correction_of(group, *voice, key.starts_at))
            }
            None => {
                let scope = mapping.scope_of(&group.about, key.starts_at).ok();
                scope.filter(|_| mapping.source(&key.source).is_some()).map(|_| Correction::default())
            }
        };
        if let Some(correction) = correction {
            let ends_at = ends_at.map(|at| evidence::instant(at, "observation.ends_at")).transpose()?;
            statements.push(Statement { key, ends_at, correction });
        }
    }
    Ok(statements)
}

/// Alerts of `source` that it said were over within `gap_seconds` of `heard_at`: a heartbeat then may prove their ends.
pub async fn ended_near(
    conn: &mut PgConnection,
    source: &str,
    heard_at: Instant,
    gap_seconds: u32,
) -> Result<Vec<Observation>, Error> {
    let gap = i64::from(gap_seconds) * SECOND;
    let rows = sqlx::query_as(
        r"SELECT DISTINCT fingerprint, name, labels, starts_at, ends_at, observed_at, said FROM observation
          WHERE source = $1 AND ends_at BETWEEN $2 AND $3",
    )
    .bind(source)
    .bind(heard_at.plus(-gap).utc())
    .bind(heard_at.plus(gap).utc())
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(observation).collect()
}

/// Every alert that `source` ever told under `name`, once: for a rule that is new.
pub async fn of_rule(conn: &mut PgConnection, source: &str, name: &str) -> Result<Vec<Observation>, Error> {
    let rows = sqlx::query_as(
        r"SELECT DISTINCT ON (fingerprint, starts_at) fingerprint, name, labels, starts_at, ends_at, observed_at, said
          FROM observation
          WHERE source = $1 AND name = $2 ORDER BY fingerprint, starts_at, recorded_at DESC",
    )
    .bind(source)
    .bind(name)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(observation).collect()
}

/// What sources ever said by themselves had failed, each once.
pub async fn everything_said(conn: &mut PgConnection) -> Result<Vec<Said>, Error> {
    let rows: Vec<Json<Said>> =
        sqlx::query_scalar(r"SELECT DISTINCT said FROM observation WHERE said IS NOT NULL").fetch_all(conn).await?;
    Ok(rows.into_iter().map(|Json(said)| said).collect())
}

/// Which window of `capability` each of `keys` is evidence for, where it is for one.
pub async fn windows_of(
    conn: &mut PgConnection,
    keys: impl Iterator<Item = &ObservationKey>,
    capability: &Capability,
) -> Result<BTreeMap<ObservationKey, WindowId>, Error> {
    let (sources, fingerprints, starts) = columns(keys);
    let rows: Vec<(String, String, DateTime<Utc>, Uuid)> = sqlx::query_as(
        r"SELECT DISTINCT ON (link.source, link.fingerprint, link.starts_at)
              link.source, link.fingerprint, link.starts_at, link.window_id
          FROM UNNEST($1::text[], $2::text[], $3::timestamptz[]) AS asked (source, fingerprint, starts_at)
          JOIN observation_window link USING (source, fingerprint, starts_at)
          WHERE link.capability IN ('', $4)
          ORDER BY link.source, link.fingerprint, link.starts_at, link.recorded_at DESC",
    )
    .bind(sources)
    .bind(fingerprints)
    .bind(starts)
    .bind(&capability.0)
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(source, fingerprint, starts_at, window)| Ok((key(source, fingerprint, starts_at)?, WindowId(window))))
        .collect()
}

/// The window that the evidence of `window` is for now, where that is another: it became part of that one.
pub async fn joined(conn: &mut PgConnection, window: WindowId) -> Result<Option<WindowId>, Error> {
    let found: Option<Uuid> = sqlx::query_scalar(
        r"SELECT latest.window_id
          FROM (SELECT DISTINCT ON (link.source, link.fingerprint, link.starts_at) link.window_id, link.recorded_at
                FROM observation_window was JOIN observation_window link USING (source, fingerprint, starts_at)
                WHERE was.window_id = $1 AND link.capability IN ('', was.capability)
                ORDER BY link.source, link.fingerprint, link.starts_at, link.recorded_at DESC) latest
          WHERE latest.window_id <> $1
          ORDER BY latest.recorded_at DESC, latest.window_id LIMIT 1",
    )
    .bind(window.0)
    .fetch_optional(conn)
    .await?;
    Ok(found.map(WindowId))
}

/// Records that `keys` are evidence for `window`, as far as they speak of `capability`, from now on.
pub async fn link(
    conn: &mut PgConnection,
    keys: &[&ObservationKey],
    capability: &Capability,
    window: WindowId,
    recorded_at: Instant,
) -> Result<(), Error> {
    let (sources, fingerprints, starts) = columns(keys.iter().copied());
    sqlx::query(
        r"INSERT INTO observation_window (source, fingerprint, starts_at, recorded_at, window_id, capability)
          SELECT told.source, told.fingerprint, told.starts_at, $4, $5, $6
          FROM UNNEST($1::text[], $2::text[], $3::timestamptz[]) AS told (source, fingerprint, starts_at)",
    )
    .bind(sources)
    .bind(fingerprints)
    .bind(starts)
    .bind(recorded_at.utc())
    .bind(window.0)
    .bind(&capability.0)
    .execute(conn)
    .await?;
    Ok(())
}

#[derive(Debug, FromRow)]
pub(super) struct Record {
    fingerprint: String,
    name: String,
    labels: Json<BTreeMap<String, String>>,
    starts_at: DateTime<Utc>,
    ends_at: Option<DateTime<Utc>>,
    observed_at: Option<DateTime<Utc>>,
    said: Option<Json<Said>>,
}

pub(super) fn observation(row: Record) -> Result<Observation, Error> {
    Ok(Observation {
        fingerprint: row.fingerprint,
        name: row.name,
        labels: row.labels.0,
        starts_at: evidence::instant(row.starts_at, "observation.starts_at")?,
        ends_at: row.ends_at.map(|at| evidence::instant(at, "observation.ends_at")).transpose()?,
        observed_at: row.observed_at.map(|at| evidence::instant(at, "observation.observed_at")).transpose()?,
        said: row.said.map(|Json(said)| said),
    })
}

fn key(source: String, fingerprint: String, starts_at: DateTime<Utc>) -> Result<ObservationKey, Error> {
    Ok(ObservationKey { source, fingerprint, starts_at: evidence::instant(starts_at, "observation.starts_at")? })
}

/// Keys as the columns that `UNNEST` takes.
fn columns<'a>(keys: impl Iterator<Item = &'a ObservationKey>) -> (Vec<&'a str>, Vec<&'a str>, Vec<DateTime<Utc>>) {
    let (mut sources, mut fingerprints, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    for key in keys {
        sources.push(key.source.as_str());
        fingerprints.push(key.fingerprint.as_str());
        starts.push(key.starts_at.utc());
    }
    (sources, fingerprints, starts)
}
