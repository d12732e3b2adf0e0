//! The sequencer's tables: lane heads, the numbered feed, the chain, deliveries and billing's answers.

use serde_json::Value;
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres};
use uuid::Uuid;

use super::mass_credits::Sending;
use super::{Error, copy};
use crate::domain::chain::{Hash, canonical};
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

/// How long a server may number a lane without saying again that it does, in seconds: one that died is followed so soon.
const LEASE_SECONDS: i32 = 2;

/// Takes the lane for numbering as `owner`, until commit; none while somebody else is at it, or holds its lease.
pub async fn take_lane(conn: &mut PgConnection, lane: i16, owner: &str) -> Result<Option<Head>, Error> {
    let row: Option<HeadRow> = sqlx::query_as(
        r"SELECT head.lane, head.epoch, head.feed_pos, head.feed_hash, head.chain_no, head.chain_hash
          FROM lane_head AS head JOIN lane_lease AS lease ON lease.lane = head.lane
          WHERE head.lane = $1 AND (lease.owner = $2 OR lease.until < clock_timestamp())
          FOR UPDATE OF head SKIP LOCKED",
    )
    .bind(lane)
    .bind(owner)
    .fetch_optional(conn)
    .await?;
    row.map(HeadRow::head).transpose()
}

/// Takes the lane whoever holds its lease, until commit: waits for who is at it.
pub async fn take_lane_from_all(conn: &mut PgConnection, lane: i16) -> Result<Head, Error> {
    let row: Option<HeadRow> = sqlx::query_as(
        r"SELECT lane, epoch, feed_pos, feed_hash, chain_no, chain_hash FROM lane_head WHERE lane = $1 FOR UPDATE",
    )
    .bind(lane)
    .fetch_optional(conn)
    .await?;
    row.ok_or_else(|| no_head(lane))?.head()
}

/// Says that `owner` numbers the lane from now on, by comparing and setting; false where the lease is somebody else's.
pub async fn keep_lease(conn: &mut PgConnection, lane: i16, owner: &str) -> Result<bool, Error> {
    let done = sqlx::query(
        r"UPDATE lane_lease SET owner = $2, until = clock_timestamp() + make_interval(secs => $3)
          WHERE lane = $1 AND (owner = $2 OR until < clock_timestamp())",
    )
    .bind(lane)
    .bind(owner)
    .bind(LEASE_SECONDS)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn head(conn: &mut PgConnection, lane: i16) -> Result<Head, Error> {
    let row: Option<HeadRow> =
        sqlx::query_as(r"SELECT lane, epoch, feed_pos, feed_hash, chain_no, chain_hash FROM lane_head WHERE lane = $1")
            .bind(lane)
            .fetch_optional(conn)
            .await?;
    row.ok_or_else(|| no_head(lane))?.head()
}

fn no_head(lane: i16) -> Error {
    Error::Corrupt(format!("lane_head has no row for lane {lane}"))
}

#[derive(sqlx::FromRow)]
struct StandingRow {
    #[sqlx(flatten)]
    head: HeadRow,
    opened_system: Option<i64>,
    opened_timeline: Option<i64>,
    opened_oid: Option<i64>,
    #[sqlx(flatten)]
    here: Origin,
    epochs: Vec<i32>,
}

/// Where a lane stands, the server on which its epoch was opened (none while it is new), and the server that this is.
#[derive(Clone, Debug)]
pub struct Standing {
    pub head: Head,
    pub opened: Option<Origin>,
    pub here: Origin,
    /// Every epoch that was opened, in order.
    pub epochs: Vec<i32>,
}

pub async fn standing(conn: &mut PgConnection, lane: i16) -> Result<Standing, Error> {
    let row: Option<StandingRow> = sqlx::query_as(
        r"SELECT head.lane, head.epoch, head.feed_pos, head.feed_hash, head.chain_no, head.chain_hash,
                 opened.system_identifier AS opened_system, opened.timeline AS opened_timeline,
                 opened.database_oid::bigint AS opened_oid,
                 (pg_control_system()).system_identifier,
                 CASE WHEN pg_is_in_recovery() THEN -1
                      ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint END AS timeline,
                 (SELECT oid::bigint FROM pg_database WHERE datname = current_database()) AS database_oid,
                 ARRAY(SELECT epoch FROM feed_origin ORDER BY epoch) AS epochs
          FROM lane_head AS head LEFT JOIN feed_origin AS opened ON opened.epoch = head.epoch
          WHERE head.lane = $1",
    )
    .bind(lane)
    .fetch_optional(conn)
    .await?;
    let row = row.ok_or_else(|| no_head(lane))?;
    let opened = match (row.opened_system, row.opened_timeline, row.opened_oid) {
        (Some(system_identifier), Some(timeline), Some(database_oid)) => {
            Some(Origin { system_identifier, timeline, database_oid })
        }
        _ => None,
    };
    Ok(Standing { head: row.head.head()?, opened, here: row.here, epochs: row.epochs })
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
    /// Of what is written now: the last checkpoint may still be of the timeline before. Below zero where nothing can be written, because the
    /// server still recovers or is another one's copy.
    pub timeline: i64,
    pub database_oid: i64,
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

/// Where an event stands in the order of the outbox: its account, and how many that account wrote before it.
pub type Place = (Uuid, i64);

/// What the outbox held.
#[derive(Debug)]
pub struct Waiting {
    pub account_id: Uuid,
    pub event_id: Uuid,
    pub account_seq: i64,
    pub transfer_ids: Vec<Uuid>,
    pub audit_ids: Vec<Uuid>,
    pub item: Option<WaitingItem>,
}

/// What billing is to hear of an event.
#[derive(Debug)]
pub struct WaitingItem {
    pub credit_id: Uuid,
    pub op: String,
    /// Canonical JSON.
    pub body: String,
}

impl Waiting {
    pub fn place(&self) -> Place {
        (self.account_id, self.account_seq)
    }
}

type WaitingRow = (Uuid, Uuid, i64, Vec<Uuid>, Vec<Uuid>, Option<Uuid>, Option<String>, Option<String>);

fn waiting(row: WaitingRow) -> Result<Waiting, Error> {
    let (account_id, event_id, account_seq, transfer_ids, audit_ids, credit_id, op, body) = row;
    let item = match (credit_id, op, body) {
        (Some(credit_id), Some(op), Some(body)) => Some(WaitingItem { credit_id, op, body: canonical_text(body)? }),
        _ => None,
    };
    Ok(Waiting { account_id, event_id, account_seq, transfer_ids, audit_ids, item })
}

/// What was written before bodies were kept as text comes back with a space behind each key, and its keys in another order.
fn canonical_text(body: String) -> Result<String, Error> {
    if !body.contains("\": ") {
        return Ok(body);
    }
    let read = serde_json::from_str(&body).map_err(|error| Error::Corrupt(format!("outbox.body: {error}")))?;
    Ok(canonical(&read))
}

/// Takes the next events behind `after` out of a lane's outbox, in the order in which each account wrote them. Accounts come in
/// the order of their ids.
pub async fn take_waiting(conn: &mut PgConnection, lane: i16, after: Place, limit: i64) -> Result<Vec<Waiting>, Error> {
    let rows: Vec<WaitingRow> = sqlx::query_as(
        r"DELETE FROM outbox WHERE (account_id, event_id) IN (
              SELECT account_id, event_id FROM outbox WHERE lane = $1 AND (account_id, account_seq) > ($2, $3)
              ORDER BY account_id, account_seq LIMIT $4
          )
          RETURNING account_id, event_id, account_seq, transfer_ids, audit_ids, credit_id, op, body::text",
    )
    .bind(lane)
    .bind(after.0)
    .bind(after.1)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    let mut all = rows.into_iter().map(waiting).collect::<Result<Vec<_>, _>>()?;
    all.sort_by_key(Waiting::place);
    Ok(all)
}

/// A row of the feed that is new.
#[derive(Debug)]
pub struct NewItem<'a> {
    pub pos: i64,
    pub event_id: Uuid,
    pub account_id: Uuid,
    pub credit_id: Uuid,
    pub op: &'a str,
    /// JSON, as it was hashed.
    pub body: &'a str,
    pub hash: Hash,
}

pub async fn insert_items(
    conn: &mut PgConnection,
    head: &Head,
    items: &[NewItem<'_>],
    now: Instant,
) -> Result<(), Error> {
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
            .uuid(item.account_id)
            .uuid(item.credit_id)
            .text(item.op)
            .text(item.body)
            .bytes(&item.hash)
            .timestamptz(now);
        sending.flush().await?;
    }
    sending.end().await
}

/// An item as it is told.
#[derive(Debug)]
pub struct Told<'b> {
    pub pos: i64,
    pub event_id: Uuid,
    pub op: &'b str,
    /// JSON, the same bytes every time.
    pub body: &'b str,
    pub hash: Hash,
}

/// Hands out the items of a lane from a position on, in order and up to `limit`, and then the connection again. Positions go on from epoch to
/// epoch, so each of `epochs` is asked for its own.
///
/// By COPY, which takes the database less time than a SELECT of the same rows.
pub async fn each_from(
    mut conn: PoolConnection<Postgres>,
    lane: i16,
    epochs: &[i32],
    from: i64,
    limit: i64,
    mut take: impl FnMut(Told<'_>),
) -> Result<PoolConnection<Postgres>, Error> {
    let mut left = limit;
    for epoch in epochs {
        if left <= 0 {
            break;
        }
        // COPY takes no parameters; these are numbers.
        let statement = format!(
            "COPY (SELECT pos, event_id, op, body, hash FROM feed
                   WHERE lane = {lane} AND epoch = {epoch} AND pos >= {from} ORDER BY pos LIMIT {left})
             TO STDOUT (FORMAT binary)"
        );
        let mut is_first = true;
        conn = copy::out(conn, &statement, |message| {
            // A message is a row; the first one has the header before it, and the last one is the end.
            let told = read_told(message, std::mem::take(&mut is_first))
                .ok_or_else(|| Error::Corrupt("feed: a row that cannot be read".to_owned()))?;
            if let Some(told) = told {
                left -= 1;
                take(told);
            }
            Ok(())
        })
        .await?;
    }
    Ok(conn)
}

/// None at the end of the rows, within what could be read.
fn read_told(message: &[u8], has_header: bool) -> Option<Option<Told<'_>>> {
    let mut row = if has_header { copy::Reader::new(message)? } else { copy::Reader::behind_header(message) };
    if !row.next_row(5)? {
        return Some(None);
    }
    Some(Some(Told {
        pos: row.bigint()?,
        event_id: row.uuid()?,
        op: row.text()?,
        body: row.text()?,
        hash: row.bytes()?.try_into().ok()?,
    }))
}

/// A row of the feed, with what it says read.
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

/// The items of a lane after a position, in order and of all epochs, with what they say read.
pub async fn items_after(conn: &mut PgConnection, lane: i16, after: i64, limit: i64) -> Result<Vec<Item>, Error> {
    let rows: Vec<(i64, Uuid, Uuid, Uuid, String, Value, Vec<u8>)> = sqlx::query_as(
        r"SELECT item.pos, item.event_id, item.account_id, item.credit_id, item.op, item.body, item.hash
          FROM feed_origin AS era
          CROSS JOIN LATERAL (
              SELECT pos, event_id, account_id, credit_id, op, body, hash FROM feed
              WHERE lane = $1 AND epoch = era.epoch AND pos > $2 ORDER BY pos LIMIT $3
          ) AS item
          ORDER BY item.pos LIMIT $3",
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

/// Remembers how far a consumer was served, and when it was served further than ever before. It never goes back, and who is served
/// again writes nothing.
pub async fn delivered(
    conn: &mut PgConnection,
    lane: i16,
    consumer: &str,
    epoch: i32,
    pos: i64,
    now: Instant,
) -> Result<(), Error> {
    sqlx::query(
        r"WITH further AS (
              INSERT INTO feed_delivery (lane, consumer, epoch, pos, delivered_at)
              SELECT $1, $2, $3, $4, $5
              WHERE NOT EXISTS (SELECT FROM feed_delivery WHERE lane = $1 AND consumer = $2 AND epoch = $3 AND pos >= $4)
              ON CONFLICT (lane, consumer, epoch) DO UPDATE SET pos = $4, delivered_at = $5 WHERE feed_delivery.pos < $4
              RETURNING lane, consumer, epoch, pos, delivered_at
          )
          INSERT INTO feed_pull (lane, consumer, epoch, pos, pulled_at) SELECT * FROM further",
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
