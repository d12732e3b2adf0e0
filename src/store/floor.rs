//! The least that a bulk load could be, for `makegood bench`: the rows into a table of their own, and its primary key. And
//! what lets the bench do the same thing again. It runs as the owner, on a database that is the bench's own.

use sqlx::PgPool;

use super::{Error, copy};
use crate::domain::ids::AccountId;
use crate::domain::time::Instant;

/// One placement as the floor takes it.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'a> {
    pub account: AccountId,
    pub mailbox: &'a str,
    pub source: &'a str,
    pub from: Instant,
    pub to: Option<Instant>,
    pub shard: &'a str,
}

/// Writes a row that [`copy_and_key`] takes.
pub fn put(rows: &mut copy::Rows, placed: Placed<'_>) {
    rows.row(6)
        .uuid(placed.account.0)
        .text(placed.mailbox)
        .text(placed.source)
        .timestamptz(placed.from)
        .maybe(placed.to, copy::Rows::timestamptz)
        .text(placed.shard);
}

/// Makes the table that the floor copies into.
pub async fn open(owner: &PgPool) -> Result<(), Error> {
    sqlx::raw_sql(
        "DROP TABLE IF EXISTS bench_floor;
         CREATE TABLE bench_floor (
             account_id uuid, mailbox text COLLATE \"C\", source text COLLATE \"C\", valid_from timestamptz, valid_to timestamptz,
             shard text)",
    )
    .execute(owner)
    .await?;
    Ok(())
}

/// Copies the rows, whose end is written, and builds the key.
pub async fn copy_and_key(owner: &PgPool, rows: &[u8]) -> Result<(), Error> {
    let mut conn = owner.acquire().await?;
    let mut copy = conn.copy_in_raw("COPY bench_floor FROM STDIN (FORMAT binary)").await?;
    for piece in rows.chunks(256 * 1024) {
        copy.send(piece).await?;
    }
    copy.finish().await?;
    sqlx::raw_sql("ALTER TABLE bench_floor ADD PRIMARY KEY (account_id, mailbox, valid_from, source)")
        .execute(&mut *conn)
        .await?;
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
