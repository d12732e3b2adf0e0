//! Placements: where mailboxes lived, as change events in versions.
//!
//! A line of a file becomes one event at `valid_from`, and one with no shard at `valid_to` unless something begins there.
//! Events alone cannot contradict each other: a later one ends an earlier one, in whatever order they arrive. Only a line
//! with a `valid_to` says that nothing else was so until then, and so can overlap.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::evidence::instant;
use super::{Error, copy};
use crate::domain::batch::{PlacementRow, StayEnd};
use crate::domain::ids::AccountId;
use crate::domain::placement::{MailboxHistory, PlacementEvent};
use crate::domain::time::{Instant, Interval};

/// The lines, and where they come in order, the ends that are due between them (`is_end`).
pub const STAGING: &str = "CREATE TEMP TABLE staged_placement (
    line bigint, is_end boolean, account_id uuid, mailbox text COLLATE \"C\", source text COLLATE \"C\",
    valid_from timestamptz, valid_to timestamptz, shard text) ON COMMIT DROP";

/// The staged lines as events. `ends` says that nothing of the file begins where the line ends, so that an event with no
/// shard is due there; `is_end` marks that event. `clash` says how a line contradicts `next_line`, the next of its mailbox
/// and source: 1 when it says otherwise from the same time on, 2 when it lasts beyond its start.
pub const EVENTS: &str = "CREATE TEMP TABLE staged_event (
    line bigint, account_id uuid, mailbox text COLLATE \"C\", source text COLLATE \"C\", valid_from timestamptz,
    valid_to timestamptz, shard text, is_end boolean, ends boolean, clash integer,
    next_line bigint) ON COMMIT DROP";

pub const COPY: &str = "COPY staged_placement FROM STDIN (FORMAT binary)";

/// Writes a line; `account` is the id of the row's.
pub fn put(rows: &mut copy::Rows, line: i64, row: &PlacementRow, account: AccountId) {
    rows.row(8)
        .bigint(line)
        .boolean(false)
        .uuid(account.0)
        .text(&row.mailbox)
        .text(&row.source)
        .timestamptz(row.valid_from)
        .maybe(row.valid_to, copy::Rows::timestamptz)
        .maybe(row.shard.as_deref(), copy::Rows::text);
}

/// How a file's lines are held against what is recorded: those of a small file one by one, so that a day's moves cost the same
/// however much is recorded; those of a large one all at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    Few,
    Many,
}

impl Size {
    /// Files of fewer lines are small.
    const MANY: i64 = 50_000;

    pub fn of(lines: i64) -> Self {
        if lines < Size::MANY { Size::Few } else { Size::Many }
    }
}

/// Writes that a mailbox lives nowhere from the end of its line on.
pub fn put_end(rows: &mut copy::Rows, end: &StayEnd) {
    rows.row(8)
        .bigint(end.line)
        .boolean(true)
        .uuid(AccountId::of(&end.account).0)
        .text(&end.mailbox)
        .text(&end.source)
        .timestamptz(end.at)
        .maybe(None, copy::Rows::timestamptz)
        .maybe(None, copy::Rows::text);
}

/// Takes away the staged lines that their source told before.
pub async fn forget_told(conn: &mut PgConnection) -> Result<(), Error> {
    sqlx::query(r"DELETE FROM staged_placement s USING staged_number n WHERE n.line = s.line AND n.is_told")
        .execute(conn)
        .await?;
    Ok(())
}

/// Notes lines of accounts that are not known.
pub async fn check_accounts(conn: &mut PgConnection, size: Size) -> Result<(), Error> {
    if size == Size::Few {
        sqlx::query(
            r"INSERT INTO staged_error
              SELECT s.line, '/account', 'There is no such account: correct it, or load the account first.'
                FROM staged_placement s
               WHERE NOT is_end
                 AND NOT EXISTS (SELECT FROM account_head h WHERE h.account_id = s.account_id OFFSET 0)",
        )
        .execute(conn)
        .await?;
        return Ok(());
    }
    sqlx::query(
        r"INSERT INTO staged_error
          SELECT s.line, '/account', 'There is no such account: correct it, or load the account first.'
            FROM staged_placement s
           WHERE NOT is_end AND NOT EXISTS (SELECT FROM account_head h WHERE h.account_id = s.account_id)",
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether anything is recorded of the accounts of the staged lines.
pub async fn any_recorded(conn: &mut PgConnection) -> Result<bool, Error> {
    Ok(sqlx::query_scalar(
        r"SELECT EXISTS (SELECT FROM placement)
             AND EXISTS (SELECT FROM staged_placement s
                          WHERE EXISTS (SELECT FROM placement p WHERE p.account_id = s.account_id))",
    )
    .fetch_one(conn)
    .await?)
}

/// How many lines are staged that nothing is wrong with.
pub async fn good_lines(conn: &mut PgConnection) -> Result<i64, Error> {
    Ok(sqlx::query_scalar(
        r"SELECT count(*) FROM staged_placement s
           WHERE NOT is_end AND NOT EXISTS (SELECT FROM staged_error wrong WHERE wrong.line = s.line)",
    )
    .fetch_one(conn)
    .await?)
}

/// Records the staged lines and ends as they are: they came in order, and nothing is recorded of their accounts.
pub async fn save_lines(conn: &mut PgConnection, recorded_at: Instant) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO placement (account_id, mailbox, valid_from, source, recorded_at, shard)
          SELECT account_id, mailbox, valid_from, source, $1, shard FROM staged_placement
           ORDER BY account_id, mailbox, valid_from, source",
    )
    .bind(recorded_at.utc())
    .execute(conn)
    .await?;
    Ok(())
}

/// Turns staged lines into events and notes how they contradict each other.
pub async fn check_events(conn: &mut PgConnection) -> Result<(), Error> {
    stage_events(conn).await?;
    sqlx::query(
        r"INSERT INTO staged_error
          SELECT greatest(line, next_line), CASE clash WHEN 1 THEN '/shard' ELSE '/valid_from' END,
                 format(CASE clash WHEN 1 THEN 'Line %s says otherwise of this mailbox from the same time on: keep the line that holds.'
                        ELSE 'It overlaps line %s: one source says that a mailbox lives in one place at a time. End one where the other begins.' END,
                        least(line, next_line))
            FROM staged_event WHERE clash > 0",
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// One sort puts the lines of each mailbox and source beside each other; of repeated lines the last is kept.
async fn stage_events(conn: &mut PgConnection) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO staged_event
          SELECT line, account_id, mailbox, source, valid_from, valid_to, shard, false,
                 valid_to IS NOT NULL AND next_from IS DISTINCT FROM valid_to,
                 CASE WHEN next_from = valid_from THEN 1 WHEN next_from < valid_to THEN 2 ELSE 0 END, next_line
            FROM (SELECT *, lead(line) OVER later AS next_line, lead(valid_from) OVER later AS next_from,
                         lead(valid_to) OVER later AS next_to, lead(shard) OVER later AS next_shard
                    FROM staged_placement WHERE NOT is_end
                  WINDOW later AS (PARTITION BY account_id, mailbox, source ORDER BY valid_from, line)) lines
           WHERE NOT (next_from IS NOT DISTINCT FROM valid_from AND next_to IS NOT DISTINCT FROM valid_to
                      AND next_shard IS NOT DISTINCT FROM shard)",
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        r"INSERT INTO staged_event
          SELECT line, account_id, mailbox, source, valid_to, NULL, NULL, true, false, 0, NULL
            FROM staged_event WHERE ends",
    )
    .execute(&mut *conn)
    .await?;
    // Without its size the planner would probe the recorded placements once for each event of a large file.
    sqlx::query(r"ANALYZE staged_event").execute(conn).await?;
    Ok(())
}

/// A line with a `valid_to` may hold no recorded change inside, nor lie inside a recorded stay that has ended, unless the
/// file says anew what was recorded there.
pub async fn check_against_recorded(conn: &mut PgConnection) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO staged_error
          SELECT line, '/valid_to',
                 format('It overlaps what this source said before: from %s on, %s. To correct that, end this line there and send another from then on.',
                        to_char(valid_from AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US UTC'),
                        coalesce('on shard ' || shard, 'nowhere'))
            FROM (SELECT DISTINCT ON (s.line, p.valid_from) s.line, p.valid_from, p.shard, s.shard AS said
                    FROM staged_event s
                    JOIN placement p ON p.account_id = s.account_id AND p.mailbox = s.mailbox AND p.source = s.source
                   WHERE s.valid_to IS NOT NULL AND p.valid_from > s.valid_from AND p.valid_from < s.valid_to
                     AND NOT EXISTS (SELECT FROM staged_event again
                                      WHERE again.account_id = s.account_id AND again.mailbox = s.mailbox
                                        AND again.source = s.source AND again.valid_from = p.valid_from)
                   ORDER BY s.line, p.valid_from, p.recorded_at DESC) inside
           WHERE shard IS DISTINCT FROM said",
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        r"INSERT INTO staged_error
          SELECT s.line, '/valid_from',
                 format('It overlaps what this source said before: on shard %s until %s. To correct that, send that stay anew, ending here, in the same file.',
                        s.before_shard, to_char(next.valid_from AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US UTC'))
            FROM (SELECT DISTINCT ON (e.line) e.*, p.valid_from AS before_from, p.shard AS before_shard
                    FROM staged_event e
                    JOIN placement p ON p.account_id = e.account_id AND p.mailbox = e.mailbox AND p.source = e.source
                   WHERE e.valid_to IS NOT NULL AND p.valid_from <= e.valid_from
                   ORDER BY e.line, p.valid_from DESC, p.recorded_at DESC) s
           CROSS JOIN LATERAL
                 (SELECT p.valid_from, p.shard FROM placement p
                   WHERE p.account_id = s.account_id AND p.mailbox = s.mailbox AND p.source = s.source
                     AND p.valid_from > s.valid_from
                   ORDER BY p.valid_from, p.recorded_at DESC LIMIT 1) next
           WHERE s.before_from < s.valid_from AND s.before_shard <> s.shard AND next.shard IS NULL
             AND NOT EXISTS (SELECT FROM staged_event again
                              WHERE again.account_id = s.account_id AND again.mailbox = s.mailbox
                                AND again.source = s.source AND again.valid_from = s.before_from)",
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes away the events that are recorded already, and ends at which something else is known to begin. Gives how many lines
/// say something new.
pub async fn only_new(conn: &mut PgConnection, size: Size) -> Result<i64, Error> {
    match size {
        Size::Few => take_away_few(conn).await?,
        Size::Many => take_away_many(conn).await?,
    }
    Ok(sqlx::query_scalar(
        r"SELECT (SELECT count(*) FROM staged_event e
                   WHERE NOT e.is_end AND NOT EXISTS (SELECT FROM staged_error wrong WHERE wrong.line = e.line))
               + (SELECT count(*) FROM staged_event e
                   WHERE e.is_end AND NOT EXISTS (SELECT FROM staged_error wrong WHERE wrong.line = e.line)
                     AND NOT EXISTS (SELECT FROM staged_event start WHERE start.line = e.line AND NOT start.is_end))",
    )
    .fetch_one(conn)
    .await?)
}

async fn take_away_few(conn: &mut PgConnection) -> Result<(), Error> {
    sqlx::query(
        r"DELETE FROM staged_event e
           WHERE EXISTS (SELECT FROM (SELECT p.shard FROM placement p
                                       WHERE p.account_id = e.account_id AND p.mailbox = e.mailbox
                                         AND p.valid_from = e.valid_from AND p.source = e.source
                                       ORDER BY p.recorded_at DESC LIMIT 1) last
                          WHERE e.is_end OR e.shard IS NOT DISTINCT FROM last.shard)",
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn take_away_many(conn: &mut PgConnection) -> Result<(), Error> {
    sqlx::query(
        r"DELETE FROM staged_event e
           USING (SELECT DISTINCT ON (x.line, x.is_end) x.line, x.is_end, p.shard
                    FROM staged_event x
                    JOIN placement p ON p.account_id = x.account_id AND p.mailbox = x.mailbox
                                    AND p.valid_from = x.valid_from AND p.source = x.source
                   ORDER BY x.line, x.is_end, p.recorded_at DESC) last
           WHERE e.line = last.line AND e.is_end = last.is_end
             AND (e.is_end OR e.shard IS NOT DISTINCT FROM last.shard)",
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records the staged events.
pub async fn save(conn: &mut PgConnection, recorded_at: Instant) -> Result<(), Error> {
    // They lie in the order of their sort, which is nearly that of the primary key.
    sqlx::query(
        r"INSERT INTO placement (account_id, mailbox, valid_from, source, recorded_at, shard)
          SELECT account_id, mailbox, valid_from, source, $1, shard FROM staged_event",
    )
    .bind(recorded_at.utc())
    .execute(conn)
    .await?;
    Ok(())
}

/// Where the account's mailboxes lived in `within`, as recorded at `as_recorded` (the latest versions when none): for each
/// mailbox and source the last event up to the start, and those up to the end.
pub async fn of_account(
    conn: &mut PgConnection,
    account: AccountId,
    within: Interval,
    as_recorded: Option<Instant>,
) -> Result<Vec<MailboxHistory>, Error> {
    let rows: Vec<Record> = sqlx::query_as(
        r"SELECT account_id, mailbox, valid_from, source, shard
            FROM (SELECT *, lead(valid_from) OVER (PARTITION BY mailbox, source ORDER BY valid_from) AS next_from
                    FROM (SELECT DISTINCT ON (mailbox, valid_from, source)
                                 account_id, mailbox, valid_from, source, shard
                            FROM placement
                           WHERE account_id = $1 AND valid_from < $3 AND recorded_at <= $4
                           ORDER BY mailbox, valid_from, source, recorded_at DESC) last) events
           WHERE next_from IS NULL OR next_from > $2
           ORDER BY mailbox, valid_from, source",
    )
    .bind(account.0)
    .bind(within.start().utc())
    .bind(within.end().utc())
    .bind(as_recorded.unwrap_or(Instant::MAX).utc())
    .fetch_all(conn)
    .await?;
    Ok(grouped(rows)?.remove(&account).unwrap_or_default())
}

/// As [`of_account`], for many accounts at once. Accounts without mailboxes are not among them. A batch query.
pub async fn of_accounts(
    conn: &mut PgConnection,
    accounts: &[AccountId],
    within: Interval,
    as_recorded: Option<Instant>,
) -> Result<BTreeMap<AccountId, Vec<MailboxHistory>>, Error> {
    let ids: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    let rows: Vec<Record> = sqlx::query_as(
        r"SELECT account_id, mailbox, valid_from, source, shard
            FROM (SELECT *,
                         lead(valid_from) OVER (PARTITION BY account_id, mailbox, source ORDER BY valid_from) AS next_from
                    FROM (SELECT DISTINCT ON (account_id, mailbox, valid_from, source)
                                 account_id, mailbox, valid_from, source, shard
                            FROM placement
                           WHERE account_id = ANY ($1) AND valid_from < $3 AND recorded_at <= $4
                           ORDER BY account_id, mailbox, valid_from, source, recorded_at DESC) last) events
           WHERE next_from IS NULL OR next_from > $2
           ORDER BY account_id, mailbox, valid_from, source",
    )
    .bind(ids)
    .bind(within.start().utc())
    .bind(within.end().utc())
    .bind(as_recorded.unwrap_or(Instant::MAX).utc())
    .fetch_all(conn)
    .await?;
    grouped(rows)
}

#[derive(FromRow)]
struct Record {
    account_id: Uuid,
    mailbox: String,
    valid_from: DateTime<Utc>,
    source: String,
    shard: Option<String>,
}

/// Groups rows that come sorted by account and mailbox.
fn grouped(rows: Vec<Record>) -> Result<BTreeMap<AccountId, Vec<MailboxHistory>>, Error> {
    let mut found: BTreeMap<AccountId, Vec<MailboxHistory>> = BTreeMap::new();
    for row in rows {
        let event = PlacementEvent {
            from: instant(row.valid_from, "placement.valid_from")?,
            shard: row.shard,
            source: row.source,
        };
        let mailboxes = found.entry(AccountId(row.account_id)).or_default();
        match mailboxes.last_mut() {
            Some(last) if last.mailbox == row.mailbox => last.events.push(event),
            Some(_) | None => mailboxes.push(MailboxHistory { mailbox: row.mailbox, events: vec![event] }),
        }
    }
    Ok(found)
}
