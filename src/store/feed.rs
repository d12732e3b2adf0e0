//! The sequencer's tables: lane heads, the numbered feed, the chain, deliveries and billing's answers.

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Error;
use super::mass_credits::Sending;
use crate::domain::chain::Hash;
use crate::domain::feed::Answered;
use crate::domain::ids::{AccountId, CreditId};
use crate::domain::time::Instant;

/// The lane that is numbered, as long as [`crate::domain::ids::LANES`] is one.
pub const LANE: i16 = 0;

/// Where a lane stands.
#[derive(Clone, Debug)]
pub struct Head {
    pub lane: i16,
    pub epoch: i32,
    pub feed_pos: i64,
    pub feed_hash: Hash,
    pub chain_no: i64,
    pub chain_hash: Hash,
}

#[derive(sqlx::FromRow)]
struct HeadRow {
    lane: i16,
    epoch: i32,
    feed_pos: i64,
    feed_hash: Vec<u8>,
    chain_no: i64,
    chain_hash: Vec<u8>,
}

impl HeadRow {
    fn head(self) -> Result<Head, Error> {
        Ok(Head {
            lane: self.lane,
            epoch: self.epoch,
            feed_pos: self.feed_pos,
            feed_hash: hash(self.feed_hash, "lane_head.feed_hash")?,
            chain_no: self.chain_no,
            chain_hash: hash(self.chain_hash, "lane_head.chain_hash")?,
        })
    }
}

fn hash(bytes: Vec<u8>, column: &str) -> Result<Hash, Error> {
    bytes.try_into().map_err(|_| Error::Corrupt(format!("{column} is not 32 bytes")))
}

/// Takes the lane for numbering, until commit; none while somebody else has it.
pub async fn take_lane(conn: &mut PgConnection, lane: i16) -> Result<Option<Head>, Error> {
    let row: Option<HeadRow> = sqlx::query_as(
        r"SELECT lane, epoch, feed_pos, feed_hash, chain_no, chain_hash FROM lane_head WHERE lane = $1 FOR UPDATE SKIP LOCKED",
    )
    .bind(lane)
    .fetch_optional(conn)
    .await?;
    row.map(HeadRow::head).transpose()
}

pub async fn head(conn: &mut PgConnection, lane: i16) -> Result<Head, Error> {
    let row: Option<HeadRow> =
        sqlx::query_as(r"SELECT lane, epoch, feed_pos, feed_hash, chain_no, chain_hash FROM lane_head WHERE lane = $1")
            .bind(lane)
            .fetch_optional(conn)
            .await?;
    row.ok_or_else(|| Error::Corrupt(format!("lane_head has no row for lane {lane}")))?.head()
}

pub async fn save_head(conn: &mut PgConnection, head: &Head) -> Result<(), Error> {
    sqlx::query(
        r"UPDATE lane_head SET epoch = $2, feed_pos = $3, feed_hash = $4, chain_no = $5, chain_hash = $6 WHERE lane = $1",
    )
    .bind(head.lane)
    .bind(head.epoch)
    .bind(head.feed_pos)
    .bind(head.feed_hash.as_slice())
    .bind(head.chain_no)
    .bind(head.chain_hash.as_slice())
    .execute(conn)
    .await?;
    Ok(())
}

/// The server that this is: another one after a restore or a lossy fail-over.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Origin {
    pub system_identifier: i64,
    pub timeline: i64,
    pub database_oid: i64,
}

pub async fn this_origin(conn: &mut PgConnection) -> Result<Origin, Error> {
    Ok(sqlx::query_as(
        r"SELECT (pg_control_system()).system_identifier, (pg_control_checkpoint()).timeline_id::bigint AS timeline,
                 (SELECT oid::bigint FROM pg_database WHERE datname = current_database()) AS database_oid",
    )
    .fetch_one(conn)
    .await?)
}

pub async fn origin_of(conn: &mut PgConnection, epoch: i32) -> Result<Option<Origin>, Error> {
    Ok(sqlx::query_as(
        r"SELECT system_identifier, timeline, database_oid::bigint AS database_oid FROM feed_origin WHERE epoch = $1",
    )
    .bind(epoch)
    .fetch_optional(conn)
    .await?)
}

pub async fn put_origin(conn: &mut PgConnection, epoch: i32, origin: &Origin, now: Instant) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO feed_origin (epoch, system_identifier, timeline, database_oid, opened_at)
          VALUES ($1, $2, $3, $4::bigint::oid, $5) ON CONFLICT (epoch) DO NOTHING",
    )
    .bind(epoch)
    .bind(origin.system_identifier)
    .bind(origin.timeline)
    .bind(origin.database_oid)
    .bind(now.utc())
    .execute(conn)
    .await?;
    Ok(())
}

/// What the outbox held.
#[derive(Debug, sqlx::FromRow)]
pub struct Waiting {
    pub account_id: Uuid,
    pub event_id: Uuid,
    pub account_seq: i64,
    pub transfer_ids: Vec<Uuid>,
    pub audit_ids: Vec<Uuid>,
    pub credit_id: Option<Uuid>,
    pub op: Option<String>,
    pub body: Option<Value>,
}

/// Takes the next events out of a lane's outbox, in the order in which each account wrote them.
pub async fn take_waiting(conn: &mut PgConnection, lane: i16, limit: i64) -> Result<Vec<Waiting>, Error> {
    let mut rows: Vec<Waiting> = sqlx::query_as(
        r"DELETE FROM outbox WHERE (account_id, event_id) IN (
              SELECT account_id, event_id FROM outbox WHERE lane = $1 ORDER BY account_id, account_seq LIMIT $2
          )
          RETURNING account_id, event_id, account_seq, transfer_ids, audit_ids, credit_id, op, body",
    )
    .bind(lane)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.sort_by_key(|row| (row.account_id, row.account_seq));
    Ok(rows)
}

/// A row of the feed.
#[derive(Clone, Debug)]
pub struct Item {
    pub pos: i64,
    pub event_id: Uuid,
    pub account: AccountId,
    pub credit: CreditId,
    pub op: String,
    pub body: Value,
    pub hash: Hash,
}

pub async fn insert_items(conn: &mut PgConnection, head: &Head, items: &[Item], now: Instant) -> Result<(), Error> {
    if items.is_empty() {
        return Ok(());
    }
    let mut sending = Sending::begin(
        conn.copy_in_raw(
            r"COPY feed (lane, epoch, pos, event_id, account_id, credit_id, op, body, hash, numbered_at) FROM STDIN (FORMAT binary)",
        )
        .await?,
    );
    for item in items {
        sending
            .rows
            .row(10)
            .smallint(head.lane)
            .integer(head.epoch)
            .bigint(item.pos)
            .uuid(item.event_id)
            .uuid(item.account.0)
            .uuid(item.credit.0)
            .text(&item.op)
            .jsonb(&item.body.to_string())
            .bytes(&item.hash)
            .timestamptz(now);
        sending.flush().await?;
    }
    sending.end().await
}

/// The items of a lane after a position, in order.
pub async fn items_after(conn: &mut PgConnection, lane: i16, after: i64, limit: i64) -> Result<Vec<Item>, Error> {
    let rows: Vec<(i64, Uuid, Uuid, Uuid, String, Value, Vec<u8>)> = sqlx::query_as(
        r"SELECT pos, event_id, account_id, credit_id, op, body, hash FROM feed
          WHERE lane = $1 AND pos > $2 ORDER BY pos LIMIT $3",
    )
    .bind(lane)
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(pos, event_id, account, credit, op, body, stored)| {
            let hash = hash(stored, "feed.hash")?;
            Ok(Item { pos, event_id, account: AccountId(account), credit: CreditId(credit), op, body, hash })
        })
        .collect()
}

/// The hash of the item at a position; none where there is no such item.
pub async fn hash_at(conn: &mut PgConnection, lane: i16, pos: i64) -> Result<Option<Hash>, Error> {
    let stored: Option<Vec<u8>> =
        sqlx::query_scalar(r"SELECT hash FROM feed WHERE lane = $1 AND pos = $2 ORDER BY epoch DESC LIMIT 1")
            .bind(lane)
            .bind(pos)
            .fetch_optional(conn)
            .await?;
    stored.map(|bytes| hash(bytes, "feed.hash")).transpose()
}

/// Remembers how far a consumer was served. It never goes back.
pub async fn delivered(
    conn: &mut PgConnection,
    lane: i16,
    consumer: &str,
    epoch: i32,
    pos: i64,
    now: Instant,
) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO feed_delivery (lane, consumer, epoch, pos, delivered_at) VALUES ($1, $2, $3, $4, $5)
          ON CONFLICT (lane, consumer, epoch) DO UPDATE SET pos = $4, delivered_at = $5 WHERE feed_delivery.pos < $4",
    )
    .bind(lane)
    .bind(consumer)
    .bind(epoch)
    .bind(pos)
    .bind(now.utc())
    .execute(conn)
    .await?;
    Ok(())
}

/// The highest position that a consumer was served; 0 for none.
pub async fn delivered_to(conn: &mut PgConnection, lane: i16, consumer: &str) -> Result<i64, Error> {
    Ok(sqlx::query_scalar(r"SELECT coalesce(max(pos), 0) FROM feed_delivery WHERE lane = $1 AND consumer = $2")
        .bind(lane)
        .bind(consumer)
        .fetch_one(conn)
        .await?)
}

/// A new answer, as it is kept.
#[derive(Clone, Debug)]
pub struct NewAnswer {
    pub account: AccountId,
    pub credit: CreditId,
    /// Counts what happened to the credit, deeds among it, from 1.
    pub no: i32,
    pub answered: Answered,
    pub detail: String,
}

pub async fn insert_answers(
    conn: &mut PgConnection,
    answers: &[NewAnswer],
    consumer: &str,
    now: Instant,
) -> Result<(), Error> {
    if answers.is_empty() {
        return Ok(());
    }
    sqlx::query(
        r"INSERT INTO billing_answer (account_id, credit_id, answer_no, kind, reference, answered_on, gross_minor, net_minor,
                                      tax_minor, detail, consumer, recorded_at, round, rounding_minor, supersedes)
          SELECT account_id, credit_id, no, kind, reference, answered_on, gross, net, tax, detail, $1, $2, round, rounding, supersedes
          FROM unnest($3::uuid[], $4::uuid[], $5::int[], $6::text[], $7::text[], $8::date[], $9::bigint[], $10::bigint[],
                      $11::bigint[], $12::text[], $13::int[], $14::bigint[], $15::text[])
               AS answer (account_id, credit_id, no, kind, reference, answered_on, gross, net, tax, detail, round, rounding, supersedes)",
    )
    .bind(consumer)
    .bind(now.utc())
    .bind(answers.iter().map(|answer| answer.account.0).collect::<Vec<_>>())
    .bind(answers.iter().map(|answer| answer.credit.0).collect::<Vec<_>>())
    .bind(answers.iter().map(|answer| answer.no).collect::<Vec<_>>())
    .bind(answers.iter().map(|answer| answer.answered.kind.name()).collect::<Vec<_>>())
    .bind(answers.iter().map(|answer| answer.answered.reference.as_str()).collect::<Vec<_>>())
    .bind(answers.iter().map(|answer| answer.answered.on).collect::<Vec<_>>())
    .bind(answers.iter().map(|answer| answer.answered.amounts.gross.minor()).collect::<Vec<_>>())
    .bind(answers.iter().map(|answer| answer.answered.amounts.net.minor()).collect::<Vec<_>>())
    .bind(answers.iter().map(|answer| answer.answered.amounts.tax.minor()).collect::<Vec<_>>())
    .bind(answers.iter().map(|answer| answer.detail.as_str()).collect::<Vec<_>>())
    .bind(answers.iter().map(|answer| answer.answered.round).collect::<Vec<_>>())
    .bind(answers.iter().map(|answer| answer.answered.rounding.minor()).collect::<Vec<_>>())
    .bind(answers.iter().map(|answer| answer.answered.supersedes.as_deref()).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// An item that was delivered and has no final answer.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Unanswered {
    pub pos: i64,
    pub op: String,
    pub body: Value,
    /// Minor units that stand on bills so far.
    pub applied_minor: i64,
    /// The newest answer to the offer that stands; none where there is none.
    pub last_kind: Option<String>,
    /// Whether it was offered again after a refusal.
    pub is_offered: bool,
}

/// A report: what a consumer was served up to `through` and has not finally answered, after a position. An `issue` stands for its later
/// `offer` too; a `cancel` and a `debit` stand for themselves.
pub async fn unanswered(
    conn: &mut PgConnection,
    lane: i16,
    through: i64,
    after: i64,
    limit: i64,
) -> Result<Vec<Unanswered>, Error> {
    Ok(sqlx::query_as(
        r"SELECT feed.pos, feed.op, feed.body, coalesce(said.applied, 0)::bigint AS applied_minor, said.last_kind,
                 done.offered_no IS NOT NULL AS is_offered
          FROM feed
          JOIN credit ON credit.account_id = feed.account_id AND credit.credit_id = feed.credit_id
          LEFT JOIN LATERAL (
              SELECT max(step_no) FILTER (WHERE kind = 'offered') AS offered_no,
                     max(step_no) FILTER (WHERE kind IN ('written_off', 'paid', 'unclaimed')) AS settled_no,
                     coalesce(sum(gross_minor) FILTER (WHERE kind = 'debited'), 0) AS debited
              FROM credit_deed WHERE account_id = feed.account_id AND credit_id = feed.credit_id
          ) AS done ON true
          LEFT JOIN LATERAL (
              SELECT sum(CASE kind WHEN 'applied' THEN gross_minor WHEN 'returned' THEN -gross_minor ELSE 0 END) AS applied,
                     sum(CASE kind WHEN 'cancelled' THEN gross_minor ELSE 0 END) AS cancelled,
                     sum(CASE kind WHEN 'debited' THEN gross_minor ELSE 0 END) AS recovered,
                     (array_agg(kind ORDER BY answer_no DESC) FILTER (WHERE answer_no > coalesce(done.offered_no, 0)))[1] AS last_kind
              FROM billing_answer
              WHERE account_id = feed.account_id AND credit_id = feed.credit_id
          ) AS said ON true
          WHERE feed.lane = $1 AND feed.pos > $2 AND feed.pos <= $3
            AND CASE feed.op
                WHEN 'debit' THEN coalesce(said.recovered, 0) < done.debited
                WHEN 'offer' THEN false
                ELSE coalesce(said.applied, 0) + coalesce(said.cancelled, 0) < credit.gross_minor
                     AND said.last_kind IS DISTINCT FROM 'refused'
                     AND coalesce(done.settled_no, 0) <= coalesce(done.offered_no, 0)
                END
          ORDER BY feed.pos LIMIT $4",
    )
    .bind(lane)
    .bind(after)
    .bind(through)
    .bind(limit)
    .fetch_all(conn)
    .await?)
}
