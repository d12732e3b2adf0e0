//! Incidents: what people say of them, in versions, and whom their windows touched.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Error;
use super::evidence::instant;
use crate::domain::ids::AccountId;
use crate::domain::time::Instant;
use crate::domain::window::{OutageWindow, Scope};

/// What somebody said of an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    pub name: String,
    pub version: i32,
    pub recorded_at: Instant,
    pub title: String,
    pub restored_at: Option<Instant>,
    pub caught_up_at: Option<Instant>,
    /// `issuer|subject`.
    pub recorded_by: String,
}

#[derive(sqlx::FromRow)]
struct Row {
    name: String,
    version: i32,
    recorded_at: DateTime<Utc>,
    title: String,
    restored_at: Option<DateTime<Utc>>,
    caught_up_at: Option<DateTime<Utc>>,
    recorded_by: String,
}

impl Row {
    fn incident(self) -> Result<Incident, Error> {
        let maybe = |at: Option<DateTime<Utc>>, column| at.map(|at| instant(at, column)).transpose();
        Ok(Incident {
            name: self.name,
            version: self.version,
            recorded_at: instant(self.recorded_at, "incident.recorded_at")?,
            title: self.title,
            restored_at: maybe(self.restored_at, "incident.restored_at")?,
            caught_up_at: maybe(self.caught_up_at, "incident.caught_up_at")?,
            recorded_by: self.recorded_by,
        })
    }
}

pub async fn insert(conn: &mut PgConnection, incident: &Incident) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO incident (name, version, recorded_at, title, restored_at, caught_up_at, recorded_by)
          VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(&incident.name)
    .bind(incident.version)
    .bind(incident.recorded_at.utc())
    .bind(&incident.title)
    .bind(incident.restored_at.map(Instant::utc))
    .bind(incident.caught_up_at.map(Instant::utc))
    .bind(&incident.recorded_by)
    .execute(conn)
    .await?;
    Ok(())
}

/// What was said last of an incident; none where only windows name it, or nothing does.
pub async fn latest(conn: &mut PgConnection, name: &str) -> Result<Option<Incident>, Error> {
    let row: Option<Row> = sqlx::query_as(
        r"SELECT name, version, recorded_at, title, restored_at, caught_up_at, recorded_by
          FROM incident WHERE name = $1 ORDER BY version DESC LIMIT 1",
    )
    .bind(name)
    .fetch_optional(conn)
    .await?;
    row.map(Row::incident).transpose()
}

/// An incident in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub name: String,
    pub title: Option<String>,
    pub began: Instant,
    /// Windows that were not taken back.
    pub windows: i64,
    pub goes_on: bool,
}

type KnownRow = (String, Option<String>, DateTime<Utc>, i64, bool);

/// Incidents that windows name or people spoke of, the latest start first, after `after` in that order.
pub async fn list(conn: &mut PgConnection, after: Option<(Instant, &str)>, limit: i64) -> Result<Vec<Known>, Error> {
    let rows: Vec<KnownRow> = sqlx::query_as(
        r"SELECT * FROM (
              SELECT name, said.title, coalesce(held.began, said.recorded_at) AS began, coalesce(held.windows, 0) AS windows,
                     coalesce(held.goes_on, false) AS goes_on
              FROM (SELECT incident AS name, min(starts_at) AS began, count(*) FILTER (WHERE NOT is_gone) AS windows,
                           bool_or(ends_at IS NULL AND NOT is_gone) AS goes_on
                    FROM (SELECT DISTINCT ON (window_id) incident, starts_at, ends_at,
                                 body #>> '{state,state}' = 'retracted' AS is_gone
                          FROM outage_window ORDER BY window_id, version DESC) w
                    WHERE incident IS NOT NULL GROUP BY incident) held
              FULL JOIN (SELECT DISTINCT ON (name) name, title, recorded_at FROM incident
                         ORDER BY name, version DESC) said USING (name)) known
          WHERE $1::timestamptz IS NULL OR (began, name) < ($1, $2)
          ORDER BY began DESC, name DESC LIMIT $3",
    )
    .bind(after.map(|(began, _)| began.utc()))
    .bind(after.map(|(_, name)| name))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(name, title, began, windows, goes_on)| {
            Ok(Known { name, title, began: instant(began, "outage_window.starts_at")?, windows, goes_on })
        })
        .collect()
}

/// Whom some windows touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    pub accounts: i64,
    pub mailboxes: i64,
    /// The first of the accounts, by id.
    pub first: Vec<AccountId>,
}

/// Whom these windows touched, as it is recorded now, where one without an end lasts until `now`. Counts all; names the first `limit` accounts.
/// A report over all placements.
pub async fn touched(
    conn: &mut PgConnection,
    windows: &[OutageWindow],
    now: Instant,
    limit: i64,
) -> Result<Touched, Error> {
    let (mut shards, mut lists) = (Vec::new(), Vec::new());
    let (mut starts, mut ends): (Vec<DateTime<Utc>>, Vec<DateTime<Utc>>) = (Vec::new(), Vec::new());
    for window in windows.iter().filter(|window| !window.is_retracted()) {
        let Some(interval) = window.interval(now) else { continue };
        let places: Vec<(Option<&str>, Option<Uuid>)> = match &window.scope {
            Scope::All => vec![(None, None)],
            Scope::Shards(named) => named.iter().map(|shard| (Some(shard.as_str()), None)).collect(),
            Scope::List(list) => vec![(None, Some(list.0))],
            // No stored window names mailboxes without their accounts.
            Scope::Mailboxes(_) => Vec::new(),
        };
        for (shard, list) in places {
            shards.push(shard);
            lists.push(list);
            starts.push(interval.start().utc());
            ends.push(interval.end().utc());
        }
    }
    let (accounts, mailboxes, first): (i64, i64, Vec<Uuid>) = sqlx::query_as(
        r"WITH felt AS (
              SELECT DISTINCT event.account_id, event.mailbox
              FROM (SELECT account_id, mailbox, shard, valid_from,
                           lead(valid_from) OVER (PARTITION BY account_id, mailbox, source ORDER BY valid_from) AS next_from
                    FROM (SELECT DISTINCT ON (account_id, mailbox, valid_from, source)
                                 account_id, mailbox, valid_from, source, shard
                          FROM placement ORDER BY account_id, mailbox, valid_from, source, recorded_at DESC) last) event
              JOIN unnest($1::text[], $2::uuid[], $3::timestamptz[], $4::timestamptz[]) AS held (shard, list, starts, ends)
                ON event.valid_from < held.ends AND (event.next_from IS NULL OR event.next_from > held.starts)
               AND CASE WHEN held.list IS NULL THEN held.shard IS NULL OR held.shard = event.shard
                        ELSE EXISTS (SELECT FROM mailbox_list_entry named
                                     WHERE named.account_id = event.account_id AND named.list_id = held.list
                                       AND named.mailbox = event.mailbox) END
              WHERE event.shard IS NOT NULL)
          SELECT (SELECT count(DISTINCT account_id) FROM felt), (SELECT count(*) FROM felt),
                 ARRAY(SELECT DISTINCT account_id FROM felt ORDER BY account_id LIMIT $5)",
    )
    .bind(shards)
    .bind(lists)
    .bind(starts)
    .bind(ends)
    .bind(limit)
    .fetch_one(conn)
    .await?;
    Ok(Touched { accounts, mailboxes, first: first.into_iter().map(AccountId).collect() })
}
