//! When sources showed that they live, and the silences between.
//!
//! Heartbeats are many and silences few: who asks whether a source lived at some time asks for its silences.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Error, evidence};
use crate::domain::fold::{Liveness, Silence};
use crate::domain::monitors::{Mapping, Source};
use crate::domain::time::Instant;

/// Records that the source lives. Says whether that is news.
pub async fn hear(conn: &mut PgConnection, source: &str, heard_at: Instant) -> Result<bool, Error> {
    let done = sqlx::query(
        r"INSERT INTO heartbeat (source, heard_at) VALUES ($1, $2) ON CONFLICT ON CONSTRAINT heartbeat_pkey DO NOTHING",
    )
    .bind(source)
    .bind(heard_at.utc())
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Records the silences between the last heartbeat before `from` and the first one after `to` as the heartbeats have them now:
/// those that are new, that ended, and that a heartbeat came to break. Says how many. The evidence stamp must be held.
pub async fn settle(
    conn: &mut PgConnection,
    source: &str,
    gap_seconds: u32,
    (from, to): (Instant, Instant),
    recorded_at: Instant,
) -> Result<u64, Error> {
    let done = sqlx::query(
        r"WITH beat AS (
              SELECT heard_at, lead(heard_at) OVER (ORDER BY heard_at) AS next_at
                FROM heartbeat
               WHERE source = $1
                 AND heard_at >= coalesce((SELECT max(heard_at) FROM heartbeat WHERE source = $1 AND heard_at < $2), $2)
                 AND heard_at <= coalesce((SELECT min(heard_at) FROM heartbeat WHERE source = $1 AND heard_at > $3), $3)),
          due AS (
              SELECT heard_at AS begins_at,
                     CASE WHEN next_at - heard_at > $4 * interval '1 second' THEN next_at ELSE heard_at END AS ends_at
                FROM beat WHERE next_at IS NOT NULL)
          INSERT INTO silence (source, begins_at, recorded_at, ends_at)
          SELECT $1, due.begins_at, $5, due.ends_at
            FROM due
            LEFT JOIN LATERAL (SELECT ends_at, true AS is_there FROM silence
                                WHERE source = $1 AND begins_at = due.begins_at
                                ORDER BY recorded_at DESC LIMIT 1) known ON true
           WHERE CASE WHEN known.is_there THEN known.ends_at IS DISTINCT FROM due.ends_at
                      ELSE due.ends_at > due.begins_at END",
    )
    .bind(source)
    .bind(from.utc())
    .bind(to.utc())
    .bind(i64::from(gap_seconds))
    .bind(recorded_at.utc())
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// When each of `sources` was last heard, and whether its silence since then is recorded. Those never heard are left out.
pub async fn last<'a>(
    conn: &mut PgConnection,
    sources: impl IntoIterator<Item = &'a Source>,
) -> Result<BTreeMap<String, (Instant, bool)>, Error> {
    let names: Vec<&str> = sources.into_iter().map(|source| source.name.as_str()).collect();
    let rows: Vec<(String, DateTime<Utc>, bool)> = sqlx::query_as(
        r"SELECT name, last.heard_at,
                 coalesce((SELECT ends_at IS NULL FROM silence WHERE source = name AND begins_at = last.heard_at
                            ORDER BY recorded_at DESC LIMIT 1), false)
            FROM UNNEST($1::text[]) AS asked (name)
           CROSS JOIN LATERAL (SELECT heard_at FROM heartbeat WHERE source = name ORDER BY heard_at DESC LIMIT 1) last",
    )
    .bind(names)
    .fetch_all(conn)
    .await?;
    let mut last = BTreeMap::new();
    for (name, at, is_silent) in rows {
        last.insert(name, (evidence::instant(at, "heartbeat.heard_at")?, is_silent));
    }
    Ok(last)
}

/// Records that the source is silent since `begins_at`, or that this is not so after all.
pub async fn note_silence(
    conn: &mut PgConnection,
    source: &str,
    begins_at: Instant,
    is_silent: bool,
    recorded_at: Instant,
) -> Result<(), Error> {
    sqlx::query(r"INSERT INTO silence (source, begins_at, recorded_at, ends_at) VALUES ($1, $2, $3, $4)")
        .bind(source)
        .bind(begins_at.utc())
        .bind(recorded_at.utc())
        .bind((!is_silent).then(|| begins_at.utc()))
        .execute(conn)
        .await?;
    Ok(())
}

/// What is known of the life of each of `names`. Sources that are not set up are left out.
pub async fn liveness<'a>(
    conn: &mut PgConnection,
    names: impl IntoIterator<Item = &'a str>,
    mapping: &Mapping,
) -> Result<BTreeMap<String, Liveness>, Error> {
    let mut known: BTreeMap<String, Liveness> = BTreeMap::new();
    for source in names.into_iter().filter_map(|name| mapping.source(name)) {
        known.entry(source.name.clone()).or_insert_with(|| unheard(source));
    }
    let asked: Vec<&str> = known.keys().map(String::as_str).collect();
    let rows: Vec<(String, DateTime<Utc>, DateTime<Utc>)> = sqlx::query_as(
        r"SELECT name, first.heard_at, last.heard_at
          FROM UNNEST($1::text[]) AS asked (name)
          CROSS JOIN LATERAL (SELECT heard_at FROM heartbeat WHERE source = name ORDER BY heard_at LIMIT 1) first
          CROSS JOIN LATERAL (SELECT heard_at FROM heartbeat WHERE source = name ORDER BY heard_at DESC LIMIT 1) last",
    )
    .bind(&asked)
    .fetch_all(&mut *conn)
    .await?;
    let silences: Vec<(String, DateTime<Utc>, Option<DateTime<Utc>>)> = sqlx::query_as(
        r"SELECT source, begins_at, ends_at
          FROM (SELECT DISTINCT ON (source, begins_at) source, begins_at, ends_at FROM silence
                WHERE source = ANY ($1) ORDER BY source, begins_at, recorded_at DESC) last
          WHERE ends_at IS DISTINCT FROM begins_at
          ORDER BY source, begins_at",
    )
    .bind(&asked)
    .fetch_all(conn)
    .await?;
    for (source, first, last) in rows {
        let (first, last) =
            (evidence::instant(first, "heartbeat.heard_at")?, evidence::instant(last, "heartbeat.heard_at")?);
        if let Some(Liveness::Heartbeats { heard, .. }) = known.get_mut(&source) {
            *heard = Some((first, last));
        }
    }
    for (source, from, to) in silences {
        if let Some(Liveness::Heartbeats { silences, .. }) = known.get_mut(&source) {
            let from = evidence::instant(from, "silence.begins_at")?;
            let to = to.map(|to| evidence::instant(to, "silence.ends_at")).transpose()?;
            silences.push(Silence { from, to });
        }
    }
    Ok(known)
}

fn unheard(source: &Source) -> Liveness {
    match source.heartbeat_gap_seconds {
        None => Liveness::TakenAtItsWord,
        Some(_) => Liveness::Heartbeats { heard: None, silences: Vec::new() },
    }
}
