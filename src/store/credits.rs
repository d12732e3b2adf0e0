//! Credits and the transfers they cause: only ever inserted.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::evidence::instant;
use super::{Error, accounting, audit, money};
use crate::domain::accounting::effective;
use crate::domain::books::{Code, Posting};
use crate::domain::credit::Road;
use crate::domain::ids::{AccountId, ClaimId, CreditId, CreditRunId, SubscriptionId, TransferId, lane};
use crate::domain::money::Money;
use crate::domain::time::Instant;
use crate::failpoint;

/// A credit as it is issued.
#[derive(Clone, Debug)]
pub struct Credit {
    pub account: AccountId,
    pub id: CreditId,
    pub road: Road,
    pub cause: String,
    pub generation: i32,
    pub reason: String,
    /// The account of the books that it is written against: SLA, GOODWILL or COMPENSATION.
    pub against: Code,
    pub gross: Money,
    pub net: Money,
    pub tax: Money,
    pub tax_code: String,
    pub tax_rate_bp: u16,
    pub subscription: Option<SubscriptionId>,
    pub claim: Option<ClaimId>,
    pub run: Option<CreditRunId>,
    /// The service period as local dates, the second not included.
    pub service: Option<(NaiveDate, NaiveDate)>,
    pub zone: String,
    pub effective_on: NaiveDate,
    pub issued_at: Instant,
    pub issued_by: String,
    pub approved_by: String,
}

#[derive(sqlx::FromRow)]
struct Row {
    account_id: Uuid,
    credit_id: Uuid,
    road: String,
    cause: String,
    generation: i32,
    reason: String,
    against: Option<String>,
    currency: String,
    gross_minor: i64,
    net_minor: i64,
    tax_minor: i64,
    tax_code: String,
    tax_rate_bp: i32,
    subscription_id: Option<Uuid>,
    claim_id: Option<Uuid>,
    run_id: Option<Uuid>,
    service_from: Option<NaiveDate>,
    service_to: Option<NaiveDate>,
    zone: String,
    effective_on: NaiveDate,
    issued_at: DateTime<Utc>,
    issued_by: String,
    approved_by: String,
}

impl Row {
    fn credit(self) -> Result<Credit, Error> {
        let damaged = |column: &str| Error::Corrupt(format!("credit.{column} of {}", self.credit_id));
        let amount = |minor, column| money(minor, &self.currency, column);
        let road = Road::parse(&self.road).ok_or_else(|| damaged("road"))?;
        Ok(Credit {
            account: AccountId(self.account_id),
            id: CreditId(self.credit_id),
            road,
            against: match &self.against {
                Some(name) => Code::parse(name).ok_or_else(|| damaged("against"))?,
                None => road.reason_account().0,
            },
            gross: amount(self.gross_minor, "credit.gross_minor")?,
            net: amount(self.net_minor, "credit.net_minor")?,
            tax: amount(self.tax_minor, "credit.tax_minor")?,
            tax_rate_bp: u16::try_from(self.tax_rate_bp).map_err(|_| damaged("tax_rate_bp"))?,
            cause: self.cause,
            generation: self.generation,
            reason: self.reason,
            tax_code: self.tax_code,
            subscription: self.subscription_id.map(SubscriptionId),
            claim: self.claim_id.map(ClaimId),
            run: self.run_id.map(CreditRunId),
            service: self.service_from.zip(self.service_to),
            zone: self.zone,
            effective_on: self.effective_on,
            issued_at: instant(self.issued_at, "credit.issued_at")?,
            issued_by: self.issued_by,
            approved_by: self.approved_by,
        })
    }
}

/// Inserts the credits that are not there yet and says which those are. The rest was issued before: nothing is done twice.
pub async fn insert_new(conn: &mut PgConnection, credits: &[Credit]) -> Result<HashSet<CreditId>, Error> {
    let column = |f: fn(&Credit) -> Uuid| credits.iter().map(f).collect::<Vec<Uuid>>();
    let text = |f: fn(&Credit) -> &str| credits.iter().map(f).collect::<Vec<&str>>();
    let amount = |f: fn(&Credit) -> Money| credits.iter().map(|credit| f(credit).minor()).collect::<Vec<i64>>();
    let optional = |f: fn(&Credit) -> Option<Uuid>| credits.iter().map(f).collect::<Vec<Option<Uuid>>>();
    let inserted: Vec<Uuid> = sqlx::query_scalar(
        r"INSERT INTO credit (account_id, credit_id, road, cause, generation, reason, currency, gross_minor, net_minor, tax_minor,
                              tax_code, tax_rate_bp, subscription_id, claim_id, run_id, service_from, service_to, zone,
                              effective_on, issued_at, issued_by, approved_by, against)
          SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::int[], $6::text[], $7::text[], $8::bigint[],
                               $9::bigint[], $10::bigint[], $11::text[], $12::int[], $13::uuid[], $14::uuid[], $15::uuid[],
                               $16::date[], $17::date[], $18::text[], $19::date[], $20::timestamptz[], $21::text[], $22::text[], $23::text[])
          ON CONFLICT (account_id, credit_id) DO NOTHING RETURNING credit_id",
    )
    .bind(column(|credit| credit.account.0))
    .bind(column(|credit| credit.id.0))
    .bind(text(|credit| credit.road.name()))
    .bind(text(|credit| &credit.cause))
    .bind(credits.iter().map(|credit| credit.generation).collect::<Vec<i32>>())
    .bind(text(|credit| &credit.reason))
    .bind(text(|credit| credit.gross.currency().code()))
    .bind(amount(|credit| credit.gross))
    .bind(amount(|credit| credit.net))
    .bind(amount(|credit| credit.tax))
    .bind(text(|credit| &credit.tax_code))
    .bind(credits.iter().map(|credit| i32::from(credit.tax_rate_bp)).collect::<Vec<i32>>())
    .bind(optional(|credit| credit.subscription.map(|id| id.0)))
    .bind(optional(|credit| credit.claim.map(|id| id.0)))
    .bind(optional(|credit| credit.run.map(|id| id.0)))
    .bind(credits.iter().map(|credit| credit.service.map(|dates| dates.0)).collect::<Vec<Option<NaiveDate>>>())
    .bind(credits.iter().map(|credit| credit.service.map(|dates| dates.1)).collect::<Vec<Option<NaiveDate>>>())
    .bind(text(|credit| &credit.zone))
    .bind(credits.iter().map(|credit| credit.effective_on).collect::<Vec<NaiveDate>>())
    .bind(credits.iter().map(|credit| credit.issued_at.utc()).collect::<Vec<DateTime<Utc>>>())
    .bind(text(|credit| &credit.issued_by))
    .bind(text(|credit| &credit.approved_by))
    .bind(text(|credit| credit.against.name()))
    .fetch_all(conn)
    .await?;
    Ok(inserted.into_iter().map(CreditId).collect())
}

/// What happened to one document in the books: the rows to write, the audit row that goes with them, and what billing hears.
#[derive(Clone, Debug)]
pub struct Entry {
    pub account: AccountId,
    pub document: Uuid,
    /// What happened, unique within the document: `issued`, `applied:INV-1`.
    pub event: String,
    pub postings: Vec<Posting>,
    pub reason: String,
    pub effective_on: NaiveDate,
    pub recorded_at: Instant,
    pub actor: String,
    pub action: &'static str,
    /// JSON.
    pub detail: String,
    /// The operation and the body of a feed item, as canonical JSON; none where billing need not hear of it.
    pub item: Option<(&'static str, String)>,
}

impl Entry {
    /// The ids of its transfers, one for each posting.
    pub(super) fn transfer_ids(&self) -> impl Iterator<Item = Uuid> {
        (0..self.postings.len()).map(|line| TransferId::of(self.document, &self.event, line).0)
    }
}

/// Writes entries, set-based: transfers, audit rows, and one outbox row each, in the order given. Locks the accounts' heads,
/// in the order of their ids. What is dated into a closed accounting period takes effect on the first open day.
pub async fn post(conn: &mut PgConnection, entries: &[Entry]) -> Result<(), Error> {
    if entries.is_empty() {
        return Ok(());
    }
    failpoint::reach("post.before_heads").await;
    let first = advance_heads(conn, entries).await?;
    failpoint::reach("post.after_heads").await;
    let open_from = accounting::open_from(conn).await?;
    let transfers = insert_transfers(conn, entries, open_from).await?;
    failpoint::reach("post.after_transfers").await;
    let audits = insert_audits(conn, entries).await?;
    failpoint::reach("post.after_audits").await;
    let mut next = first;
    let mut sequence = Vec::with_capacity(entries.len());
    for entry in entries {
        let seq = next
            .get_mut(&entry.account)
            .ok_or_else(|| Error::Corrupt(format!("account_head has no row for {}", entry.account)))?;
        sequence.push(*seq);
        *seq += 1;
    }
    // The transfers of one entry travel as one text, since an array of arrays must be rectangular.
    let joined: Vec<String> = transfers
        .iter()
        .map(|ids| format!("{{{}}}", ids.iter().map(Uuid::to_string).collect::<Vec<_>>().join(",")))
        .collect();
    sqlx::query(
        r"INSERT INTO outbox (account_id, event_id, lane, account_seq, transfer_ids, audit_ids, credit_id, op, body, created_at)
          SELECT account_id, event_id, lane, account_seq, transfer_ids::uuid[], ARRAY[audit_id], credit_id, op, body, created_at
          FROM unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::bigint[], $5::text[], $6::uuid[], $7::uuid[], $8::text[],
                      $9::json[], $10::timestamptz[])
               AS row (account_id, event_id, lane, account_seq, transfer_ids, audit_id, credit_id, op, body, created_at)",
    )
    .bind(entries.iter().map(|entry| entry.account.0).collect::<Vec<_>>())
    .bind(
        entries.iter().map(|entry| crate::domain::ids::event_id(entry.document, &entry.event)).collect::<Vec<_>>(),
    )
    .bind(entries.iter().map(|entry| lane(entry.account)).collect::<Vec<_>>())
    .bind(sequence)
    .bind(joined)
    .bind(audits)
    .bind(entries.iter().map(|entry| entry.item.as_ref().map(|_| entry.document)).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| entry.item.as_ref().map(|(op, _)| *op)).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| entry.item.as_ref().map(|(_, body)| body.clone())).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| entry.recorded_at.utc()).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    failpoint::reach("post.after_outbox").await;
    Ok(())
}

/// Counts each account's head up by its entries and gives the number of its first.
async fn advance_heads(conn: &mut PgConnection, entries: &[Entry]) -> Result<HashMap<AccountId, i64>, Error> {
    let mut counts: HashMap<AccountId, i64> = HashMap::new();
    for entry in entries {
        *counts.entry(entry.account).or_default() += 1;
    }
    let (accounts, added): (Vec<Uuid>, Vec<i64>) = counts.iter().map(|(account, count)| (account.0, *count)).unzip();
    lock_accounts(conn, &accounts).await?;
    let rows: Vec<(Uuid, i64)> = sqlx::query_as(
        r"UPDATE account_head SET seq = seq + added.count
          FROM unnest($1::uuid[], $2::bigint[]) AS added (account_id, count)
          WHERE account_head.account_id = added.account_id
          RETURNING account_head.account_id, seq - added.count + 1",
    )
    .bind(accounts)
    .bind(added)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(account, first)| (AccountId(account), first)).collect())
}

/// Locks these accounts in the order of their ids, so that two batches never wait for each other in a circle.
pub async fn lock_accounts(conn: &mut PgConnection, accounts: &[Uuid]) -> Result<(), Error> {
    sqlx::query(r"SELECT FROM account_head WHERE account_id = ANY ($1) ORDER BY account_id FOR NO KEY UPDATE")
        .bind(accounts)
        .execute(conn)
        .await?;
    Ok(())
}

async fn insert_transfers(
    conn: &mut PgConnection,
    entries: &[Entry],
    open_from: NaiveDate,
) -> Result<Vec<Vec<Uuid>>, Error> {
    let mut ids: Vec<Vec<Uuid>> = Vec::with_capacity(entries.len());
    let mut rows: Vec<(Uuid, &Entry, &Posting)> = Vec::new();
    for entry in entries {
        let of_entry: Vec<Uuid> = entry.transfer_ids().collect();
        rows.extend(of_entry.iter().zip(&entry.postings).map(|(id, posting)| (*id, entry, posting)));
        ids.push(of_entry);
    }
    sqlx::query(
        r"INSERT INTO transfer (account_id, transfer_id, document, event, debit, credit, amount_minor, currency, reason,
                                effective_on, recorded_at)
          SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::text[],
                               $9::text[], $10::date[], $11::timestamptz[])",
    )
    .bind(rows.iter().map(|(_, entry, _)| entry.account.0).collect::<Vec<_>>())
    .bind(rows.iter().map(|(id, _, _)| *id).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, entry, _)| entry.document).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, entry, _)| entry.event.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, _, posting)| posting.debit.name()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, _, posting)| posting.credit.name()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, _, posting)| posting.amount.minor()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, _, posting)| posting.amount.currency().code()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, entry, _)| entry.reason.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, entry, _)| effective(entry.effective_on, open_from)).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, entry, _)| entry.recorded_at.utc()).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(ids)
}

async fn insert_audits(conn: &mut PgConnection, entries: &[Entry]) -> Result<Vec<Uuid>, Error> {
    let ids: Vec<Uuid> = entries.iter().map(|_| Uuid::now_v7()).collect();
    let context = match entries.first() {
        Some(first) => audit::context(conn, first.recorded_at).await?,
        None => None,
    };
    sqlx::query(
        r"INSERT INTO audit (account_id, audit_id, recorded_at, actor, action, subject, detail, context)
          SELECT account_id, audit_id, recorded_at, actor, action, subject, detail::jsonb, $8::jsonb
          FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[])
               AS row (account_id, audit_id, recorded_at, actor, action, subject, detail)",
    )
    .bind(entries.iter().map(|entry| entry.account.0).collect::<Vec<_>>())
    .bind(&ids)
    .bind(entries.iter().map(|entry| entry.recorded_at.utc()).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| entry.actor.as_str()).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| entry.action).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| entry.document.to_string()).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| entry.detail.as_str()).collect::<Vec<_>>())
    .bind(context)
    .execute(conn)
    .await?;
    Ok(ids)
}

/// The credits of these accounts, the newest first.
pub async fn of_accounts(conn: &mut PgConnection, accounts: &[AccountId]) -> Result<Vec<Credit>, Error> {
    let ids: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    let rows: Vec<Row> = sqlx::query_as(
        r"SELECT account_id, credit_id, road, cause, generation, reason, currency, gross_minor, net_minor, tax_minor, tax_code,
                 tax_rate_bp, subscription_id, claim_id, run_id, service_from, service_to, zone, effective_on, issued_at,
                 issued_by, approved_by, against
          FROM credit WHERE account_id = ANY ($1) ORDER BY issued_at DESC, credit_id LIMIT 1000",
    )
    .bind(ids)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Row::credit).collect()
}

/// These credits of these accounts; pairs by position.
pub async fn find_many(conn: &mut PgConnection, accounts: &[Uuid], credits: &[Uuid]) -> Result<Vec<Credit>, Error> {
    let rows: Vec<Row> = sqlx::query_as(
        r"SELECT account_id, credit_id, road, cause, generation, reason, currency, gross_minor, net_minor, tax_minor, tax_code,
                 tax_rate_bp, subscription_id, claim_id, run_id, service_from, service_to, zone, effective_on, issued_at,
                 issued_by, approved_by, against
          FROM credit WHERE (account_id, credit_id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))",
    )
    .bind(accounts)
    .bind(credits)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Row::credit).collect()
}

/// The contract credits of a subscription for the service period that begins on this day, the newest first.
pub async fn of_period(
    conn: &mut PgConnection,
    account: AccountId,
    subscription: SubscriptionId,
    service_from: NaiveDate,
) -> Result<Vec<Credit>, Error> {
    let rows: Vec<Row> = sqlx::query_as(
        r"SELECT account_id, credit_id, road, cause, generation, reason, currency, gross_minor, net_minor, tax_minor, tax_code,
                 tax_rate_bp, subscription_id, claim_id, run_id, service_from, service_to, zone, effective_on, issued_at,
                 issued_by, approved_by, against
          FROM credit WHERE account_id = $1 AND road = 'contract' AND subscription_id = $2 AND service_from = $3
          ORDER BY generation DESC",
    )
    .bind(account.0)
    .bind(subscription.0)
    .bind(service_from)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Row::credit).collect()
}

/// What was credited for one cause: how often, and how much in all, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given {
    pub times: i32,
    pub minor: i64,
}

/// What was given per (account, subscription) on the contract road for one service period. What was taken back does not count as given;
/// the times count all the same, for each credit of a cause has a generation of its own.
pub async fn given_for_period(
    conn: &mut PgConnection,
    accounts: &[Uuid],
    service_from: NaiveDate,
) -> Result<HashMap<(AccountId, SubscriptionId), Given>, Error> {
    let rows: Vec<(Uuid, Uuid, i64, i64)> = sqlx::query_as(
        r"SELECT credit.account_id, subscription_id, count(*),
                 sum(CASE WHEN is_reversed THEN 0 ELSE gross_minor - coalesce(debited, 0) END)::bigint
          FROM credit
          LEFT JOIN (SELECT account_id, credit_id, bool_or(kind = 'reversed') AS is_reversed,
                            sum(gross_minor) FILTER (WHERE kind = 'debited') AS debited
                     FROM credit_deed WHERE account_id = ANY ($1) GROUP BY account_id, credit_id) AS taken
               ON taken.account_id = credit.account_id AND taken.credit_id = credit.credit_id
          WHERE credit.account_id = ANY ($1) AND road = 'contract' AND service_from = $2 AND subscription_id IS NOT NULL
          GROUP BY credit.account_id, subscription_id",
    )
    .bind(accounts)
    .bind(service_from)
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(account, subscription, times, minor)| {
            let times = i32::try_from(times).unwrap_or(i32::MAX);
            ((AccountId(account), SubscriptionId(subscription)), Given { times, minor })
        })
        .collect())
}

/// What the claims of one account about one incident were given so far and not taken back, in minor units.
pub async fn given_by_claims(conn: &mut PgConnection, account: AccountId, incident: &str) -> Result<i64, Error> {
    Ok(sqlx::query_scalar(
        r"SELECT coalesce(sum(credit.gross_minor), 0)::bigint
          FROM credit JOIN claim ON claim.account_id = credit.account_id AND claim.claim_id = credit.claim_id
          WHERE credit.account_id = $1 AND claim.incident = $2
            AND NOT EXISTS (SELECT FROM credit_deed WHERE credit_deed.account_id = $1 AND credit_deed.credit_id = credit.credit_id
                                                      AND kind = 'reversed')",
    )
    .bind(account.0)
    .bind(incident)
    .fetch_one(conn)
    .await?)
}

/// How billing addresses an account: the operator's reference, and the one that its bill goes to.
#[derive(Clone, Debug)]
pub struct Addressee {
    pub reference: String,
    pub bill_to: Option<String>,
    pub zone: String,
}

pub async fn addressees(conn: &mut PgConnection, accounts: &[Uuid]) -> Result<HashMap<AccountId, Addressee>, Error> {
    let rows: Vec<(Uuid, String, Option<String>, String)> = sqlx::query_as(
        r"SELECT DISTINCT ON (account_id) account_id, reference, bill_to, zone
          FROM account WHERE account_id = ANY ($1) ORDER BY account_id, recorded_at DESC",
    )
    .bind(accounts)
    .fetch_all(conn)
    .await?;
    let named = |(id, reference, bill_to, zone)| (AccountId(id), Addressee { reference, bill_to, zone });
    Ok(rows.into_iter().map(named).collect())
}

/// How billing addresses one account that is there.
pub async fn addressee(conn: &mut PgConnection, account: AccountId) -> Result<Addressee, Error> {
    addressees(conn, &[account.0])
        .await?
        .remove(&account)
        .ok_or_else(|| Error::Corrupt(format!("account has no row for {account}")))
}
