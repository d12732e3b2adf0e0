//! For `makegood bench`: a feed of so many credits, and the least that reading it could be. It runs as the owner, on a database that is the
//! bench's own.

use futures_util::TryStreamExt;
use sqlx::PgPool;

use super::Error;

/// Fills the feed with `count` credits, as the sequencer would have numbered them, and lets the database gather what it knows of them.
pub async fn fill(owner: &PgPool, count: i64) -> Result<(), Error> {
    let mut tx = owner.begin().await?;
    sqlx::query(
        r#"INSERT INTO feed (lane, epoch, pos, event_id, account_id, credit_id, op, body, hash, numbered_at)
           SELECT 0, 1, pos, md5('event ' || pos)::uuid, md5('account ' || pos)::uuid, md5('credit ' || pos)::uuid, 'issue',
                  format('{"account":"%1$s","bill_to":"%1$s","claim":null,"currency":"NZD","effective_date":"2026-10-31","gross":"25.00",'
                         '"id":"crd_%2$s","issued_at":"2026-11-05T00:00:00.000000Z","net":"21.74","reason":"sla_tier","road":"contract",'
                         '"service_period":{"end":"2026-11-01","start":"2026-10-01","time_zone":"Pacific/Auckland"},"tax":"3.26",'
                         '"tax_code":"GST15"}', 7000000 + pos, md5('credit ' || pos))::json,
                  sha256(convert_to(pos::text, 'UTF8')), '2026-11-05T00:00:00Z'
           FROM generate_series(1, $1) AS pos"#,
    )
    .bind(count)
    .execute(&mut *tx)
    .await?;
    sqlx::query(r"UPDATE lane_head SET feed_pos = $1, feed_hash = sha256(convert_to($1::text, 'UTF8')) WHERE lane = 0")
        .bind(count)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    sqlx::raw_sql("VACUUM ANALYZE feed").execute(owner).await?;
    Ok(())
}

/// Reads the same items as JSON in one COPY; gives how many lines and bytes those were.
pub async fn copy_rows(owner: &PgPool) -> Result<(u64, u64), Error> {
    let mut conn = owner.acquire().await?;
    let mut rows = conn
        .copy_out_raw(
            "COPY (SELECT row_to_json(item) FROM (SELECT pos AS position, event_id AS id, op, body AS credit FROM feed) AS item) TO STDOUT",
        )
        .await?;
    let (mut lines, mut bytes) = (0, 0);
    while let Some(piece) = rows.try_next().await? {
        lines += piece.iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
        bytes += u64::try_from(piece.len()).unwrap_or(u64::MAX);
    }
    Ok((lines, bytes))
}
