//! Full directories of one source at one instant, turned into changes: what is staged is held against what the source had
//! then, set by set, so that memory does not grow with the file.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Error, copy};
use crate::domain::batch::{Changes, SnapshotRow};
use crate::domain::ids::AccountId;
use crate::domain::time::Instant;

/// The lines; after [`compare`] the changes, with no shard for mailboxes that are gone.
pub const STAGING: &str = "CREATE TEMP TABLE staged_home (
    line bigint, account_id uuid, mailbox text COLLATE \"C\", shard text) ON COMMIT DROP";

/// What the source had: no shard where a mailbox was moving and no side was declared live.
pub const HELD: &str = "CREATE TEMP TABLE staged_held (
    account_id uuid, mailbox text COLLATE \"C\", shard text) ON COMMIT DROP";

pub const COPY: &str = "COPY staged_home FROM STDIN (FORMAT binary)";

pub fn put(rows: &mut copy::Rows, line: i64, row: &SnapshotRow) {
    rows.row(4).bigint(line).uuid(AccountId::of(&row.account).0).text(&row.mailbox).text(&row.shard);
}

/// Notes lines of accounts that are not known, and mailboxes that are in two places.
pub async fn check(conn: &mut PgConnection) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO staged_error
          SELECT s.line, '/account', 'There is no such account: correct it, or load the account first.'
            FROM staged_home s
           WHERE NOT EXISTS (SELECT FROM account_head h WHERE h.account_id = s.account_id)",
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        r"INSERT INTO staged_error
          SELECT line, '/shard', format('Line %s says otherwise of this mailbox: keep the line that holds.', first_line)
            FROM (SELECT line, shard, first_value(line) OVER mine AS first_line, first_value(shard) OVER mine AS first_shard
                    FROM staged_home WINDOW mine AS (PARTITION BY account_id, mailbox ORDER BY line)) lines
           WHERE shard <> first_shard",
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Turns the lines into what differs from what `source` had at `taken_at`, as it is recorded now.
pub async fn compare(conn: &mut PgConnection, source: &str, taken_at: Instant) -> Result<Changes, Error> {
    sqlx::query(
        r"INSERT INTO staged_held
          SELECT account_id, mailbox,
                 CASE WHEN moving_to IS NULL OR live = 'from' THEN shard WHEN live = 'to' THEN moving_to END
            FROM (SELECT DISTINCT ON (account_id, mailbox) account_id, mailbox, shard, moving_to, live
                    FROM placement WHERE source = $1 AND valid_from <= $2
                   ORDER BY account_id, mailbox, valid_from DESC, recorded_at DESC) last
           WHERE shard IS NOT NULL",
    )
    .bind(source)
    .bind(taken_at.utc())
    .execute(&mut *conn)
    .await?;
    sqlx::query(r"ANALYZE staged_home, staged_held").execute(&mut *conn).await?;
    let (new, moved, unchanged): (i64, i64, i64) = sqlx::query_as(
        r"SELECT count(*) FILTER (WHERE h.mailbox IS NULL),
                 count(*) FILTER (WHERE h.mailbox IS NOT NULL AND h.shard IS DISTINCT FROM s.shard),
                 count(*) FILTER (WHERE h.shard = s.shard)
            FROM (SELECT DISTINCT account_id, mailbox, shard FROM staged_home) s
            LEFT JOIN staged_held h ON h.account_id = s.account_id AND h.mailbox = s.mailbox",
    )
    .fetch_one(&mut *conn)
    .await?;
    let gone = sqlx::query(
        r"INSERT INTO staged_home
          SELECT 0, h.account_id, h.mailbox, NULL FROM staged_held h
           WHERE NOT EXISTS (SELECT FROM staged_home s WHERE s.account_id = h.account_id AND s.mailbox = h.mailbox)",
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        r"DELETE FROM staged_home s USING staged_held h
           WHERE h.account_id = s.account_id AND h.mailbox = s.mailbox AND h.shard = s.shard",
    )
    .execute(conn)
    .await?;
    let gone = i64::try_from(gone.rows_affected()).unwrap_or(i64::MAX);
    Ok(Changes { new, moved, gone, unchanged })
}

/// How many lines say something new that nothing is wrong with; of a mailbox that is there twice, one.
pub async fn good_lines(conn: &mut PgConnection) -> Result<i64, Error> {
    Ok(sqlx::query_scalar(
        r"SELECT count(*) FROM (SELECT DISTINCT account_id, mailbox FROM staged_home s
           WHERE shard IS NOT NULL AND NOT EXISTS (SELECT FROM staged_error wrong WHERE wrong.line = s.line)) lines",
    )
    .fetch_one(conn)
    .await?)
}

/// Records the changes as of `taken_at`.
pub async fn save(conn: &mut PgConnection, source: &str, taken_at: Instant, recorded_at: Instant) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO placement (account_id, mailbox, valid_from, source, recorded_at, shard)
          SELECT DISTINCT account_id, mailbox, $1::timestamptz, $2, $3::timestamptz, shard FROM staged_home
           ORDER BY account_id, mailbox",
    )
    .bind(taken_at.utc())
    .bind(source)
    .bind(recorded_at.utc())
    .execute(conn)
    .await?;
    Ok(())
}

/// Up to `limit` of the accounts that the changes concern, and how many they are.
pub async fn touched(conn: &mut PgConnection, limit: i64) -> Result<(Vec<AccountId>, i64), Error> {
    let ids: Vec<Uuid> =
        sqlx::query_scalar(r"SELECT DISTINCT account_id FROM staged_home ORDER BY account_id LIMIT $1")
            .bind(limit)
            .fetch_all(&mut *conn)
            .await?;
    let all = sqlx::query_scalar(r"SELECT count(DISTINCT account_id) FROM staged_home").fetch_one(conn).await?;
    Ok((ids.into_iter().map(AccountId).collect(), all))
}
