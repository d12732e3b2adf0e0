//! The least that a bulk load could be, for `makegood bench`: the rows into staging, and from there into a table with its primary key. And
//! what lets the bench do the same thing again. It runs as the owner, on a database that is the bench's own.

use sqlx::{PgConnection, PgPool};

use super::{Error, copy};
use crate::domain::ids::AccountId;
use crate::domain::time::Instant;

/// One placement as the floors take it.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'a> {
    pub account: AccountId,
    pub mailbox: &'a str,
    pub source: &'a str,
    pub from: Instant,
    pub to: Option<Instant>,
    pub shard: &'a str,
}

/// Writes a row that the floors take.
pub fn put(rows: &mut copy::Rows, placed: Placed<'_>) {
    rows.row(6)
        .uuid(placed.account.0)
        .text(placed.mailbox)
        .text(placed.source)
        .timestamptz(placed.from)
        .maybe(placed.to, copy::Rows::timestamptz)
        .text(placed.shard);
}

/// Makes the tables that the floors write: one without a key, and one like it with its primary key.
pub async fn open(owner: &PgPool) -> Result<(), Error> {
    sqlx::raw_sql(
        "DROP TABLE IF EXISTS bench_bare, bench_keyed;
         CREATE TABLE bench_bare (
             account_id uuid, mailbox text COLLATE \"C\", source text COLLATE \"C\", valid_from timestamptz, valid_to timestamptz,
             shard text);
         CREATE TABLE bench_keyed (LIKE bench_bare, PRIMARY KEY (account_id, mailbox, valid_from, source))",
    )
    .execute(owner)
    .await?;
    Ok(())
}

/// What loads a table that is in use and has its key: the rows into a temporary table, and from there in the order of the key, which is
/// faster than in the order of the file.
pub async fn stage_and_insert(owner: &PgPool, rows: &[u8]) -> Result<(), Error> {
    let mut tx = owner.begin().await?;
    let open = "SET LOCAL work_mem = '64MB'; CREATE TEMP TABLE bench_staged (LIKE bench_bare) ON COMMIT DROP";
    sqlx::raw_sql(open).execute(&mut *tx).await?;
    copy_into(&mut tx, "COPY bench_staged FROM STDIN (FORMAT binary)", rows).await?;
    sqlx::raw_sql(
        "INSERT INTO bench_keyed SELECT * FROM bench_staged ORDER BY account_id, mailbox, valid_from, source",
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// What only a table's owner can do, while nobody uses it: copies the rows and builds the key afterwards.
pub async fn copy_and_key(owner: &PgPool, rows: &[u8]) -> Result<(), Error> {
    let mut conn = owner.acquire().await?;
    copy_into(&mut conn, "COPY bench_bare FROM STDIN (FORMAT binary)", rows).await?;
    sqlx::raw_sql("ALTER TABLE bench_bare ADD PRIMARY KEY (account_id, mailbox, valid_from, source)")
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// Copies rows whose end is written.
async fn copy_into(conn: &mut PgConnection, statement: &str, rows: &[u8]) -> Result<(), Error> {
    let mut copy = conn.copy_in_raw(statement).await?;
    for piece in rows.chunks(256 * 1024) {
        copy.send(piece).await?;
    }
    copy.finish().await?;
    Ok(())
}

/// Takes all placements away.
pub async fn forget_placements(owner: &PgPool) -> Result<(), Error> {
    sqlx::raw_sql("TRUNCATE placement").execute(owner).await?;
    Ok(())
}

/// Gathers what the planner knows of the placements, as the database does by itself after a while.
pub async fn look_at_placements(owner: &PgPool) -> Result<(), Error> {
    sqlx::raw_sql("VACUUM ANALYZE placement").execute(owner).await?;
    Ok(())
}
