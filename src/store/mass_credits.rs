//! Many credits at once: the rows that [`super::credits`] writes one by one, in as few statements as there are tables. Tables that
//! customers do not read take COPY; credits have a policy for them, and COPY does not work under one.

use std::collections::{HashMap, HashSet};

use chrono::NaiveDate;
use sqlx::PgConnection;
use sqlx::postgres::PgCopyIn;
use uuid::Uuid;

use super::credits::{Credit, Entry};
use super::{Error, accounting, copy};
use crate::domain::accounting::effective;
use crate::domain::ids::{AccountId, CreditId, event_id, lane};
use crate::failpoint;

/// How many bytes are sent at once.
const PIECE: usize = 256 * 1024;

/// Lets the statements of this transaction find their rows by key. They name thousands of rows of tables with millions, and the
/// planner would rather read such a table whole, once for each batch: twice as many credits would then take four times as long.
pub async fn look_up_by_key(conn: &mut PgConnection) -> Result<(), Error> {
    sqlx::query(
        r"SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
                 set_config('enable_mergejoin', 'off', true), set_config('enable_bitmapscan', 'off', true),
                 set_config('jit', 'off', true)",
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Locks the heads of these accounts, which ascend and may repeat, and counts each up by how often it stands there; gives what each
/// had counted to. After [`look_up_by_key`] they are locked in the order given, so that two batches never wait for each other in a
/// circle.
pub async fn count_heads_up(conn: &mut PgConnection, accounts: &[Uuid]) -> Result<HashMap<AccountId, i64>, Error> {
    let (mut each, mut counts): (Vec<Uuid>, Vec<i64>) = (Vec::new(), Vec::new());
    for account in accounts {
        match counts.last_mut().filter(|_| each.last() == Some(account)) {
            Some(count) => *count += 1,
            None => {
                each.push(*account);
                counts.push(1);
            }
        }
    }
    let rows: Vec<(Uuid, i64)> = sqlx::query_as(
        r"UPDATE account_head SET seq = seq + added.count
          FROM unnest($1::uuid[], $2::bigint[]) AS added (account_id, count)
          WHERE account_head.account_id = added.account_id
          RETURNING account_head.account_id, seq - added.count",
    )
    .bind(each)
    .bind(counts)
    .fetch_all(conn)
    .await?;
    failpoint::reach("mass_post.after_heads").await;
    Ok(rows.into_iter().map(|(account, seq)| (AccountId(account), seq)).collect())
}

/// Inserts the credits that are not there yet and says which those are. All of `credits` differ from the first in nothing but
/// their account, id, cause, generation, amounts, subscription and zone; others are refused.
pub async fn insert_new(conn: &mut PgConnection, credits: &[Credit]) -> Result<HashSet<CreditId>, Error> {
    let Some(first) = credits.first() else { return Ok(HashSet::new()) };
    if let Some(other) = credits.iter().find(|credit| !is_alike(first, credit)) {
        return Err(Error::Corrupt(format!("credit {} is not of the run of {}", other.id, first.id)));
    }
    let inserted: Vec<Uuid> = sqlx::query_scalar(
        r"INSERT INTO credit (account_id, credit_id, road, cause, generation, reason, currency, gross_minor, net_minor, tax_minor,
                              tax_code, tax_rate_bp, subscription_id, run_id, service_from, service_to, zone,
                              effective_on, issued_at, issued_by, approved_by, against)
          SELECT account_id, credit_id, $1, cause, generation, $2, $3, gross, gross - tax, tax, $4, $5, subscription_id, $6, $7, $8,
                 zone, $9, $10, $11, $12, $21
          FROM unnest($13::uuid[], $14::uuid[], $15::text[], $16::int[], $17::bigint[], $18::bigint[], $19::uuid[], $20::text[])
               AS one (account_id, credit_id, cause, generation, gross, tax, subscription_id, zone)
          ON CONFLICT (account_id, credit_id) DO NOTHING RETURNING credit_id",
    )
    .bind(first.road.name())
    .bind(&first.reason)
    .bind(first.gross.currency().code())
    .bind(&first.tax_code)
    .bind(i32::from(first.tax_rate_bp))
    .bind(first.run.map(|run| run.0))
    .bind(first.service.map(|dates| dates.0))
    .bind(first.service.map(|dates| dates.1))
    .bind(first.effective_on)
    .bind(first.issued_at.utc())
    .bind(&first.issued_by)
    .bind(&first.approved_by)
    .bind(credits.iter().map(|credit| credit.account.0).collect::<Vec<_>>())
    .bind(credits.iter().map(|credit| credit.id.0).collect::<Vec<_>>())
    .bind(credits.iter().map(|credit| credit.cause.as_str()).collect::<Vec<_>>())
    .bind(credits.iter().map(|credit| credit.generation).collect::<Vec<_>>())
    .bind(credits.iter().map(|credit| credit.gross.minor()).collect::<Vec<_>>())
    .bind(credits.iter().map(|credit| credit.tax.minor()).collect::<Vec<_>>())
    .bind(credits.iter().map(|credit| credit.subscription.map(|id| id.0)).collect::<Vec<_>>())
    .bind(credits.iter().map(|credit| credit.zone.as_str()).collect::<Vec<_>>())
    .bind(first.against.name())
    .fetch_all(conn)
    .await?;
    Ok(inserted.into_iter().map(CreditId).collect())
}

fn is_alike(first: &Credit, other: &Credit) -> bool {
    fn shared(credit: &Credit) -> impl PartialEq + '_ {
        (
            (credit.road, credit.gross.currency(), credit.tax_rate_bp, credit.run, credit.claim),
            (credit.service, credit.effective_on, credit.issued_at, credit.against),
            [&credit.reason, &credit.tax_code, &credit.issued_by, &credit.approved_by],
        )
    }
    first.claim.is_none() && shared(first) == shared(other)
}

/// Writes entries: transfers, audit rows, and one outbox row each, in the order given. `heads` is what [`count_heads_up`] gave for
/// accounts of which each stands there as often as it has entries, or more often: numbers that are left out are not missed.
pub async fn post(conn: &mut PgConnection, entries: &[Entry], mut heads: HashMap<AccountId, i64>) -> Result<(), Error> {
    if entries.is_empty() {
        return Ok(());
    }
    let open_from = accounting::open_from(conn).await?;
    failpoint::reach("mass_post.before_transfers").await;
    let transfers = copy_transfers(conn, entries, open_from).await?;
    failpoint::reach("mass_post.after_transfers").await;
    let audits = copy_audits(conn, entries).await?;
    failpoint::reach("mass_post.after_audits").await;
    let mut sending = Sending::begin(
        conn.copy_in_raw(
            r"COPY outbox (account_id, event_id, lane, account_seq, transfer_ids, audit_ids, credit_id, op, body, created_at)
              FROM STDIN (FORMAT binary)",
        )
        .await?,
    );
    let mut transfers = transfers.as_slice();
    for (entry, audit) in entries.iter().zip(audits) {
        let seq = heads
            .get_mut(&entry.account)
            .ok_or_else(|| Error::Corrupt(format!("account_head has no row for {}", entry.account)))?;
        *seq += 1;
        let (own, rest) = transfers.split_at(entry.postings.len());
        transfers = rest;
        let item = entry.item.as_ref();
        sending
            .rows
            .row(10)
            .uuid(entry.account.0)
            .uuid(event_id(entry.document, &entry.event))
            .smallint(lane(entry.account))
            .bigint(*seq)
            .uuids(own)
            .uuids(&[audit])
            .maybe(item.map(|_| entry.document), copy::Rows::uuid)
            .maybe(item.map(|(op, _)| *op), copy::Rows::text)
            .maybe(item.map(|(_, body)| body.as_str()), copy::Rows::text)
            .timestamptz(entry.recorded_at);
        sending.flush().await?;
    }
    sending.end().await?;
    failpoint::reach("mass_post.after_outbox").await;
    Ok(())
}

/// Gives the ids of the rows, one for each posting.
async fn copy_transfers(conn: &mut PgConnection, entries: &[Entry], open_from: NaiveDate) -> Result<Vec<Uuid>, Error> {
    let mut sending = Sending::begin(
        conn.copy_in_raw(
            r"COPY transfer (account_id, transfer_id, document, event, debit, credit, amount_minor, currency, reason, effective_on,
                             recorded_at)
              FROM STDIN (FORMAT binary)",
        )
        .await?,
    );
    let mut ids = Vec::with_capacity(entries.len() * 2);
    for entry in entries {
        for (id, posting) in entry.transfer_ids().zip(&entry.postings) {
            ids.push(id);
            sending
                .rows
                .row(11)
                .uuid(entry.account.0)
                .uuid(id)
                .uuid(entry.document)
                .text(&entry.event)
                .text(posting.debit.name())
                .text(posting.credit.name())
                .bigint(posting.amount.minor())
                .text(posting.amount.currency().code())
                .text(&entry.reason)
                .date(effective(entry.effective_on, open_from))
                .timestamptz(entry.recorded_at);
        }
        sending.flush().await?;
    }
    sending.end().await?;
    Ok(ids)
}

/// Gives the ids of the rows, one for each entry.
async fn copy_audits(conn: &mut PgConnection, entries: &[Entry]) -> Result<Vec<Uuid>, Error> {
    let mut sending = Sending::begin(
        conn.copy_in_raw(
            r"COPY audit (account_id, audit_id, recorded_at, actor, action, subject, detail) FROM STDIN (FORMAT binary)",
        )
        .await?,
    );
    let mut ids = Vec::with_capacity(entries.len());
    for entry in entries {
        let id = Uuid::now_v7();
        sending
            .rows
            .row(7)
            .uuid(entry.account.0)
            .uuid(id)
            .timestamptz(entry.recorded_at)
            .text(&entry.actor)
            .text(entry.action)
            .text(&entry.document.to_string())
            .jsonb(&entry.detail);
        ids.push(id);
        sending.flush().await?;
    }
    sending.end().await?;
    Ok(ids)
}

/// Rows on their way: the server reads a piece while the next is written.
pub(super) struct Sending<'c> {
    pub(super) rows: copy::Rows,
    copy: PgCopyIn<&'c mut PgConnection>,
}

impl<'c> Sending<'c> {
    pub(super) fn begin(copy: PgCopyIn<&'c mut PgConnection>) -> Self {
        Sending { rows: copy::Rows::new(), copy }
    }

    /// Sends what was written, if it is worth it.
    pub(super) async fn flush(&mut self) -> Result<(), Error> {
        if self.rows.len() >= PIECE {
            self.copy.send(self.rows.take()).await?;
        }
        Ok(())
    }

    pub(super) async fn end(mut self) -> Result<(), Error> {
        self.rows.end();
        self.copy.send(self.rows.take()).await?;
        self.copy.finish().await?;
        Ok(())
    }
}
