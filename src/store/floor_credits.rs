//! The least that a mass credit could be, for `makegood bench`: the same rows into tables like ours with their keys and checks, in
//! one transaction. And what lets the bench make a plan of any size and run it again. It runs as the owner, on a database that
//! is the bench's own.

use sqlx::PgPool;

use super::{Error, copy, runs};
use crate::domain::ids::CreditRunId;
use crate::domain::period::Month;
use crate::domain::time::Instant;

/// The tables that a credit run writes, and the order of its writing.
const WRITTEN: [(&str, &str); 4] = [
    (
        "COPY (SELECT * FROM credit ORDER BY account_id) TO STDOUT (FORMAT binary)",
        "COPY bench_credit FROM STDIN (FORMAT binary)",
    ),
    (
        "COPY (SELECT * FROM transfer ORDER BY account_id, debit) TO STDOUT (FORMAT binary)",
        "COPY bench_transfer FROM STDIN (FORMAT binary)",
    ),
    (
        "COPY (SELECT * FROM audit ORDER BY account_id) TO STDOUT (FORMAT binary)",
        "COPY bench_audit FROM STDIN (FORMAT binary)",
    ),
    (
        "COPY (SELECT * FROM outbox ORDER BY account_id, account_seq) TO STDOUT (FORMAT binary)",
        "COPY bench_outbox FROM STDIN (FORMAT binary)",
    ),
];

/// Makes `count` accounts whose references are numbers, with their heads.
pub async fn make_accounts(pool: &PgPool, owner: &PgPool, count: i64, now: Instant) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO account (account_id, recorded_at, reference, name, zone, currency)
         SELECT md5('account ' || number)::uuid, $2, number::text, 'Customer ' || number, 'UTC', 'NZD'
         FROM generate_series(1, $1) AS number ORDER BY 1",
    )
    .bind(count)
    .bind(now.utc())
    .execute(pool)
    .await?;
    sqlx::query("INSERT INTO account_head (account_id) SELECT account_id FROM account ON CONFLICT DO NOTHING")
        .execute(pool)
        .await?;
    for table in ["VACUUM ANALYZE account", "VACUUM ANALYZE account_head"] {
        sqlx::query(table).execute(owner).await?;
    }
    Ok(())
}

/// What a plan of the bench says.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub run: CreditRunId,
    pub period: Month,
    pub credits: i64,
    pub now: Instant,
    pub expires: Instant,
}

/// Makes a proposed run that gives each of the first `credits` accounts something, and says what it comes to in minor units.
pub async fn make_plan(pool: &PgPool, owner: &PgPool, plan: Plan) -> Result<i64, Error> {
    let mut tx = pool.begin().await?;
    sqlx::query(
        "INSERT INTO credit_run_item (account_id, run_id, subscription_id, outcome, amount_minor, already_minor, generation, promise, reasons)
         SELECT account_id, $1, md5('mail ' || reference)::uuid, 'credit', 313 * (1 + reference::bigint % 9), 0, 0, 'availability', '{}'
         FROM account WHERE reference::bigint <= $2 ORDER BY account_id",
    )
    .bind(plan.run.0)
    .bind(plan.credits)
    .execute(&mut *tx)
    .await?;
    let total: i64 = sqlx::query_scalar(
        "INSERT INTO credit_run (run_id, road, period, recorded_as_of, state, currency, total_minor, credits, held_back, nothing_due,
                                 inputs_hash, proposed_by, proposed_by_name, proposed_at, expires_at)
         SELECT $1, 'contract', $2, $3, 'proposed', 'NZD', sum(amount_minor), count(*), 0, 0, sha256('bench'), 'bench|aroha', 'Aroha', $3, $4
         FROM credit_run_item WHERE run_id = $1 RETURNING total_minor",
    )
    .bind(plan.run.0)
    .bind(plan.period.to_string())
    .bind(plan.now.utc())
    .bind(plan.expires.utc())
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    sqlx::raw_sql("VACUUM ANALYZE credit_run_item").execute(owner).await?;
    Ok(total)
}

/// Cuts an approved run anew, so that each account is a batch, and a transaction, of its own.
pub async fn cut_one_by_one(pool: &PgPool, owner: &PgPool, run: CreditRunId) -> Result<(), Error> {
    sqlx::query("DELETE FROM credit_run_batch WHERE run_id = $1").bind(run.0).execute(owner).await?;
    runs::cut_into_batches(&mut *pool.acquire().await?, run, 1).await
}

/// Takes all books, runs and feed away.
pub async fn forget_books(owner: &PgPool) -> Result<(), Error> {
    sqlx::raw_sql(
        "TRUNCATE credit, transfer, audit, outbox, feed, chain, credit_run, credit_run_item, credit_run_batch, idempotency;
         UPDATE lane_head SET feed_pos = 0, chain_no = 0, feed_hash = decode(repeat('00', 32), 'hex'), chain_hash = decode(repeat('00', 32), 'hex')",
    )
    .execute(owner)
    .await?;
    sqlx::query("VACUUM account_head").execute(owner).await?;
    Ok(())
}

/// The rows of the books as they are, ready to be copied again: one text for each table.
pub async fn rows(pool: &PgPool) -> Result<Vec<Vec<u8>>, Error> {
    let mut all = Vec::with_capacity(WRITTEN.len());
    for (out, _) in WRITTEN {
        let mut bytes = Vec::new();
        copy::out(pool.acquire().await?, out, |message| {
            bytes.extend_from_slice(message);
            Ok(())
        })
        .await?;
        all.push(bytes);
    }
    Ok(all)
}

/// Makes the tables that the floor copies into, empty.
pub async fn open(owner: &PgPool) -> Result<(), Error> {
    sqlx::raw_sql(
        "DROP TABLE IF EXISTS bench_credit, bench_transfer, bench_audit, bench_outbox;
         CREATE TABLE bench_credit (LIKE credit INCLUDING ALL);
         CREATE TABLE bench_transfer (LIKE transfer INCLUDING ALL);
         CREATE TABLE bench_audit (LIKE audit INCLUDING ALL);
         CREATE TABLE bench_outbox (LIKE outbox INCLUDING ALL)",
    )
    .execute(owner)
    .await?;
    Ok(())
}

/// Copies [`rows`] in one transaction.
pub async fn copy(owner: &PgPool, rows: &[Vec<u8>]) -> Result<(), Error> {
    let mut tx = owner.begin().await?;
    for ((_, into), bytes) in WRITTEN.iter().zip(rows) {
        let mut copy = tx.copy_in_raw(into).await?;
        for piece in bytes.chunks(256 * 1024) {
            copy.send(piece).await?;
        }
        copy.finish().await?;
    }
    tx.commit().await?;
    Ok(())
}
