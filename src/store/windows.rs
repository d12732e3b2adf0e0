//! Outage windows: versions that are only ever added.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::{Error, evidence, observations};
use crate::domain::ids::WindowId;
use crate::domain::observation::About;
use crate::domain::time::{Instant, Interval};
use crate::domain::window::{Disagreement, OutageWindow};

/// Who made a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorder<'a> {
    /// A source, by name: its delivery changed what is known.
    Machine(&'a str),
    /// A person, by the actor's key. From then on only people change the window.
    Person(&'a str),
}

/// A version of a window as it is stored, and what is known beside it.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = Outage)]
pub struct Recorded {
    pub window: OutageWindow,
    #[schema(value_type = String)]
    pub recorded_at: Instant,
    /// False where a person made this version, and so has judged what the sources disagree about.
    pub by_machine: bool,
    /// The source, or `issuer|subject` of the person, who made this version.
    pub recorded_by: String,
    /// What people call the event that it belongs to.
    pub incident: Option<String>,
    /// What whoever entered it by hand wrote for the next person. For operations alone: no sum, and so no receipt, holds it.
    pub note: Option<String>,
    /// How its sources contradict each other, as long as nobody has judged it: it cannot be signed off.
    pub dispute: Option<Disagreement>,
    /// Whether a source said something after a person made this version. Nothing was edited: a person has to look.
    pub later_evidence: bool,
}

/// Adds a version. `recorded_at` is the evidence stamp of this transaction.
pub async fn insert_version(
    conn: &mut PgConnection,
    window: &OutageWindow,
    incident: Option<&str>,
    recorded_at: Instant,
    recorder: Recorder<'_>,
) -> Result<(), Error> {
    let (by_machine, recorded_by) = match recorder {
        Recorder::Machine(source) => (true, source),
        Recorder::Person(key) => (false, key),
    };
    sqlx::query(
        r"INSERT INTO outage_window (
              window_id, version, recorded_at, body, starts_at, ends_at, recorded_by, by_machine, incident)
          VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(window.id.0)
    .bind(window.version)
    .bind(recorded_at.utc())
    .bind(Json(window))
    .bind(window.start.utc())
    .bind(window.end.map(Instant::utc))
    .bind(recorded_by)
    .bind(by_machine)
    .bind(incident)
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps the note of a window that a person enters.
pub async fn insert_note(
    conn: &mut PgConnection,
    id: WindowId,
    note: &str,
    recorded_at: Instant,
    by: &str,
) -> Result<(), Error> {
    sqlx::query(r"INSERT INTO outage_note (window_id, recorded_at, note, recorded_by) VALUES ($1, $2, $3, $4)")
        .bind(id.0)
        .bind(recorded_at.utc())
        .bind(note)
        .bind(by)
        .execute(conn)
        .await?;
    Ok(())
}

/// The latest version of one window.
pub async fn latest(conn: &mut PgConnection, id: WindowId) -> Result<Option<Recorded>, Error> {
    Ok(latest_of(conn, &[id]).await?.pop())
}

/// The window that this one became part of, where it did: its sources' alerts turned out to be of one outage.
pub async fn part_of(conn: &mut PgConnection, one: &Recorded) -> Result<Option<WindowId>, Error> {
    if !one.by_machine || !one.window.is_retracted() {
        return Ok(None);
    }
    observations::joined(conn, one.window.id).await
}

/// The latest versions of several windows, by id. Ids that are not known are left out.
pub async fn latest_of(conn: &mut PgConnection, ids: &[WindowId]) -> Result<Vec<Recorded>, Error> {
    as_recorded(conn, ids, None).await
}

/// As [`latest_of`], of what was recorded at `as_recorded_at`; all of it where that is none.
pub async fn as_recorded(
    conn: &mut PgConnection,
    ids: &[WindowId],
    as_recorded_at: Option<Instant>,
) -> Result<Vec<Recorded>, Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as(
        r"SELECT w.body, w.recorded_at, w.by_machine, w.recorded_by, w.incident, n.note,
              NOT w.by_machine AND EXISTS (
                  SELECT FROM observation_window link
                  LEFT JOIN observation o USING (source, fingerprint, starts_at)
                  WHERE link.window_id = w.window_id
                    AND (link.recorded_at > w.recorded_at AND link.recorded_at <= $2
                         OR o.recorded_at > w.recorded_at AND o.recorded_at <= $2))
          FROM (SELECT DISTINCT ON (window_id) * FROM outage_window WHERE window_id = ANY ($1) AND recorded_at <= $2
                ORDER BY window_id, version DESC) w
          LEFT JOIN outage_note n ON n.window_id = w.window_id
          ORDER BY w.window_id",
    )
    .bind(ids)
    .bind(as_recorded_at.unwrap_or(Instant::MAX).utc())
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(recorded).collect()
}

/// The latest versions of all windows that were ever about `about`.
pub async fn about(conn: &mut PgConnection, about: &About) -> Result<Vec<Recorded>, Error> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        r"SELECT DISTINCT window_id FROM outage_window WHERE body ? 'about' AND body -> 'about' = $1",
    )
    .bind(Json(about))
    .fetch_all(&mut *conn)
    .await?;
    latest_of(conn, &ids.into_iter().map(WindowId).collect::<Vec<_>>()).await
}

/// Every version of one window, the first one first: what was held to be true, and since when.
pub async fn versions(conn: &mut PgConnection, id: WindowId) -> Result<Vec<Recorded>, Error> {
    let rows = sqlx::query_as(
        r"SELECT w.body, w.recorded_at, w.by_machine, w.recorded_by, w.incident, n.note, false
          FROM outage_window w LEFT JOIN outage_note n ON n.window_id = w.window_id
          WHERE w.window_id = $1 ORDER BY w.version",
    )
    .bind(id.0)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(recorded).collect()
}

/// What was held to be true at `as_recorded_at` about any time of `interval`: the versions that were the latest then, those
/// that were open or taken back too, sorted by start and id.
pub async fn touching(
    conn: &mut PgConnection,
    interval: Interval,
    as_recorded_at: Instant,
) -> Result<Vec<OutageWindow>, Error> {
    let rows: Vec<Json<OutageWindow>> = sqlx::query_scalar(
        r"SELECT w.body
          FROM (SELECT DISTINCT ON (window_id) * FROM outage_window WHERE recorded_at <= $3
                ORDER BY window_id, version DESC) w
          WHERE w.starts_at < $2 AND (w.ends_at IS NULL OR w.ends_at > $1)
          ORDER BY w.starts_at, w.window_id",
    )
    .bind(interval.start().utc())
    .bind(interval.end().utc())
    .bind(as_recorded_at.utc())
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|Json(window)| window).collect())
}

/// The windows that were of one incident in any of their versions.
pub async fn ever_of_incident(conn: &mut PgConnection, incident: &str) -> Result<Vec<WindowId>, Error> {
    let ids: Vec<Uuid> = sqlx::query_scalar(r"SELECT DISTINCT window_id FROM outage_window WHERE incident = $1")
        .bind(incident)
        .fetch_all(conn)
        .await?;
    Ok(ids.into_iter().map(WindowId).collect())
}

/// The incidents that a window was of in any of its versions.
pub async fn incidents_ever(conn: &mut PgConnection, window: WindowId) -> Result<Vec<String>, Error> {
    Ok(sqlx::query_scalar(r"SELECT DISTINCT incident FROM outage_window WHERE window_id = $1 AND incident IS NOT NULL")
        .bind(window.0)
        .fetch_all(conn)
        .await?)
}

/// The latest versions of the windows of one incident, sorted by start and id.
pub async fn of_incident(conn: &mut PgConnection, incident: &str) -> Result<Vec<Recorded>, Error> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        r"SELECT w.window_id
          FROM (SELECT DISTINCT ON (window_id) * FROM outage_window ORDER BY window_id, version DESC) w
          WHERE w.incident = $1",
    )
    .bind(incident)
    .fetch_all(&mut *conn)
    .await?;
    let mut windows = latest_of(conn, &ids.into_iter().map(WindowId).collect::<Vec<_>>()).await?;
    windows.sort_by_key(|one| (one.window.start, one.window.id));
    Ok(windows)
}

/// The versions of at most `limit` windows that were the latest at `as_recorded_at` (now where that is none), the latest start first,
/// after `after` in that order.
pub async fn list(
    conn: &mut PgConnection,
    after: Option<(Instant, WindowId)>,
    limit: i64,
    as_recorded_at: Option<Instant>,
) -> Result<Vec<Recorded>, Error> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        r"SELECT w.window_id
          FROM (SELECT DISTINCT ON (window_id) window_id, starts_at FROM outage_window WHERE recorded_at <= $4
                ORDER BY window_id, version DESC) w
          WHERE $1::timestamptz IS NULL OR (w.starts_at, w.window_id) < ($1, $2)
          ORDER BY w.starts_at DESC, w.window_id DESC
          LIMIT $3",
    )
    .bind(after.map(|(start, _)| start.utc()))
    .bind(after.map(|(_, id)| id.0))
    .bind(limit)
    .bind(as_recorded_at.unwrap_or(Instant::MAX).utc())
    .fetch_all(&mut *conn)
    .await?;
    let ids: Vec<WindowId> = ids.into_iter().map(WindowId).collect();
    let mut windows = as_recorded(conn, &ids, as_recorded_at).await?;
    windows.sort_by_key(|one| std::cmp::Reverse((one.window.start, one.window.id)));
    Ok(windows)
}

type Row = (Json<OutageWindow>, DateTime<Utc>, bool, String, Option<String>, Option<String>, bool);

fn recorded(
    (Json(window), recorded_at, by_machine, recorded_by, incident, note, later_evidence): Row,
) -> Result<Recorded, Error> {
    let dispute = window.disagreement().filter(|_| by_machine);
    let recorded_at = evidence::instant(recorded_at, "outage_window.recorded_at")?;
    Ok(Recorded { window, recorded_at, by_machine, recorded_by, incident, note, dispute, later_evidence })
}
