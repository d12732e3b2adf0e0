//! Reading the chain with the rows that it is of, for whoever verifies or exports it.

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Error;
use super::evidence::instant;
use super::feed::Head;
use crate::domain::checkpoint::{LaneMark, Totals};
use crate::domain::proof::{Audit, Entry, Item, Kind, Row, Transfer};

#[derive(sqlx::FromRow)]
struct EntryRow {
    no: i64,
    kind: String,
    account_id: Uuid,
    row_id: Uuid,
    hash: Vec<u8>,
    document: Option<Uuid>,
    event: Option<String>,
    debit: Option<String>,
    credit: Option<String>,
    amount_minor: Option<i64>,
    currency: Option<String>,
    reason: Option<String>,
    effective_on: Option<NaiveDate>,
    transferred_at: Option<DateTime<Utc>>,
    audited_at: Option<DateTime<Utc>>,
    actor: Option<String>,
    action: Option<String>,
    subject: Option<String>,
    detail: Option<Value>,
    context: Option<Value>,
}

impl EntryRow {
    fn entry(self, lane: i16) -> Result<Entry, Error> {
        let damaged = |column: &str| Error::Corrupt(format!("chain.{column} of entry {} in lane {lane}", self.no));
        let kind = Kind::parse(&self.kind).ok_or_else(|| damaged("kind"))?;
        let hash = self.hash.try_into().map_err(|_| damaged("hash"))?;
        let row = match kind {
            Kind::Transfer => self.document.zip(self.transferred_at).map(|(document, at)| {
                Ok(Row::Transfer(Transfer {
                    document,
                    event: self.event.unwrap_or_default(),
                    debit: self.debit.unwrap_or_default(),
                    credit: self.credit.unwrap_or_default(),
                    amount_minor: self.amount_minor.unwrap_or_default(),
                    currency: self.currency.unwrap_or_default(),
                    reason: self.reason.unwrap_or_default(),
                    effective_on: self.effective_on.unwrap_or_default().to_string(),
                    recorded_at: instant(at, "transfer.recorded_at")?,
                }))
            }),
            Kind::Audit => self.audited_at.map(|at| {
                Ok(Row::Audit(Audit {
                    recorded_at: instant(at, "audit.recorded_at")?,
                    actor: self.actor.unwrap_or_default(),
                    action: self.action.unwrap_or_default(),
                    subject: self.subject.unwrap_or_default(),
                    detail: self.detail.unwrap_or_default(),
                    context: self.context,
                }))
            }),
        };
        let row = row.transpose().map_err(|error: Error| error)?;
        Ok(Entry { lane, no: self.no, kind, account: self.account_id, id: self.row_id, hash, row })
    }
}

/// The entries of a lane after a number, in their order, each with the row that it names if that is there.
pub async fn entries_after(conn: &mut PgConnection, lane: i16, after: i64, limit: i64) -> Result<Vec<Entry>, Error> {
    let rows: Vec<EntryRow> = sqlx::query_as(
        r"SELECT link.no, link.kind, link.account_id, link.row_id, link.hash,
                 transfer.document, transfer.event, transfer.debit, transfer.credit, transfer.amount_minor, transfer.currency,
                 transfer.reason, transfer.effective_on, transfer.recorded_at AS transferred_at,
                 audit.recorded_at AS audited_at, audit.actor, audit.action, audit.subject, audit.detail, audit.context
          FROM (SELECT no, kind, account_id, row_id, hash FROM chain WHERE lane = $1 AND no > $2 ORDER BY no LIMIT $3) AS link
          LEFT JOIN transfer ON link.kind = 'transfer' AND transfer.account_id = link.account_id AND transfer.transfer_id = link.row_id
          LEFT JOIN audit ON link.kind = 'audit' AND audit.account_id = link.account_id AND audit.audit_id = link.row_id
          ORDER BY link.no",
    )
    .bind(lane)
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|row| row.entry(lane)).collect()
}

/// The items of a lane's feed after a position, in their order.
pub async fn items_after(conn: &mut PgConnection, lane: i16, after: i64, limit: i64) -> Result<Vec<Item>, Error> {
    let items = super::feed::items_after(conn, lane, after, limit).await?;
    Ok(items
        .into_iter()
        .map(|item| Item { lane, pos: item.pos, op: item.op, hash: item.hash, body: item.body })
        .collect())
}

/// The lanes that there are.
pub async fn lanes(conn: &mut PgConnection) -> Result<Vec<i16>, Error> {
    Ok(sqlx::query_scalar(r"SELECT lane FROM lane_head ORDER BY lane").fetch_all(conn).await?)
}

/// Where a lane's head says that it stands. It does not say what the rows come to.
pub fn mark(head: &Head) -> LaneMark {
    LaneMark {
        lane: head.lane,
        epoch: head.epoch,
        chain_no: head.chain_no,
        chain_hash: head.chain_hash,
        feed_pos: head.feed_pos,
        feed_hash: head.feed_hash,
        totals: Totals::default(),
    }
}

/// A row of the books, or of the audit trail, that stands in no chain and does not wait for its number: nothing of ours wrote it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Outside {
    pub kind: String,
    pub account_id: Uuid,
    pub row_id: Uuid,
    pub recorded_at: DateTime<Utc>,
}

/// A report: the first rows outside the chain, and how many there are.
pub async fn outside(conn: &mut PgConnection, limit: i64) -> Result<(Vec<Outside>, i64), Error> {
    let rows: Vec<(String, Uuid, Uuid, DateTime<Utc>, i64)> = sqlx::query_as(
        r"WITH unlinked AS MATERIALIZED (
              SELECT 'transfer' AS kind, account_id, transfer_id AS row_id, recorded_at FROM transfer
              WHERE NOT EXISTS (SELECT FROM chain WHERE chain.kind = 'transfer' AND chain.row_id = transfer_id
                                                    AND chain.account_id = transfer.account_id)
              UNION ALL
              SELECT 'audit', account_id, audit_id, recorded_at FROM audit
              WHERE NOT EXISTS (SELECT FROM chain WHERE chain.kind = 'audit' AND chain.row_id = audit_id
                                                    AND chain.account_id = audit.account_id)
          ), waiting AS MATERIALIZED (
              SELECT account_id, unnest(transfer_ids || audit_ids) AS row_id FROM outbox
          )
          SELECT kind, account_id, row_id, recorded_at, count(*) OVER () FROM unlinked
          WHERE NOT EXISTS (SELECT FROM waiting WHERE waiting.account_id = unlinked.account_id AND waiting.row_id = unlinked.row_id)
          ORDER BY recorded_at, row_id LIMIT $1",
    )
    .bind(limit)
    .fetch_all(conn)
    .await?;
    let count = rows.first().map_or(0, |row| row.4);
    let rows = rows
        .into_iter()
        .map(|(kind, account_id, row_id, recorded_at, _)| Outside { kind, account_id, row_id, recorded_at })
        .collect();
    Ok((rows, count))
}

/// How many rows were committed and wait for their number.
pub async fn waiting(conn: &mut PgConnection) -> Result<i64, Error> {
    Ok(sqlx::query_scalar(
        r"SELECT coalesce(sum(cardinality(transfer_ids) + cardinality(audit_ids)), 0)::bigint FROM outbox",
    )
    .fetch_one(conn)
    .await?)
}

/// Rows that wait for their number and are not there: nobody could have taken them out but the database's owner.
pub async fn waiting_gone(conn: &mut PgConnection) -> Result<i64, Error> {
    Ok(sqlx::query_scalar(
        r"SELECT (SELECT count(*) FROM outbox CROSS JOIN unnest(transfer_ids) AS id
                  WHERE NOT EXISTS (SELECT FROM transfer WHERE transfer.account_id = outbox.account_id AND transfer_id = id))
               + (SELECT count(*) FROM outbox CROSS JOIN unnest(audit_ids) AS id
                  WHERE NOT EXISTS (SELECT FROM audit WHERE audit.account_id = outbox.account_id AND audit_id = id))",
    )
    .fetch_one(conn)
    .await?)
}

/// Credits whose own row does not say what their issuing posted: the credit's row is in no chain, its transfers are.
pub async fn credits_that_differ(conn: &mut PgConnection) -> Result<Vec<(Uuid, Uuid)>, Error> {
    Ok(sqlx::query_as(
        r"SELECT credit.account_id, credit.credit_id FROM credit
          LEFT JOIN (SELECT account_id, document, currency, sum(amount_minor) AS gross,
                            sum(amount_minor) FILTER (WHERE debit = 'TAX_PENDING') AS tax
                     FROM transfer WHERE event = 'issued' GROUP BY account_id, document, currency) AS posted
            ON posted.account_id = credit.account_id AND posted.document = credit.credit_id
           AND posted.currency = credit.currency
          WHERE posted.gross IS DISTINCT FROM credit.gross_minor OR coalesce(posted.tax, 0) <> credit.tax_minor
          ORDER BY credit.account_id, credit.credit_id LIMIT 20",
    )
    .fetch_all(conn)
    .await?)
}
