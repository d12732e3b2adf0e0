//! The transfers as finance reads them: pages in the order of the chain, whole exports, and sums for journals.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};
use futures_util::TryStreamExt;
use sqlx::PgConnection;
use uuid::Uuid;

use super::evidence::instant;
use super::{Error, money};
use crate::domain::books::Code;
use crate::domain::export::Row;
use crate::domain::journal::Sum;
use crate::domain::money::Currency;
use crate::domain::period::Month;

#[derive(sqlx::FromRow)]
struct TransferRow {
    no: i64,
    transfer_id: Uuid,
    account: String,
    document: Uuid,
    event: String,
    debit: String,
    credit: String,
    amount_minor: i64,
    currency: String,
    reason: String,
    effective_on: NaiveDate,
    recorded_at: DateTime<Utc>,
    service_from: Option<NaiveDate>,
    service_to: Option<NaiveDate>,
}

impl TransferRow {
    fn row(self) -> Result<(i64, Row), Error> {
        let code = |name: &str| {
            Code::parse(name)
                .ok_or_else(|| Error::Corrupt(format!("transfer.debit or .credit of {}", self.transfer_id)))
        };
        let row = Row {
            debit: code(&self.debit)?,
            credit: code(&self.credit)?,
            amount: money(self.amount_minor, &self.currency, "transfer.amount_minor")?,
            recorded_at: instant(self.recorded_at, "transfer.recorded_at")?,
            service: self.service_from.zip(self.service_to),
            transfer: self.transfer_id,
            account: self.account,
            document: self.document,
            event: self.event,
            reason: self.reason,
            effective_on: self.effective_on,
        };
        Ok((self.no, row))
    }
}

/// The days that an export or a page is about: the first and the last; all there are where none is given.
pub type Days = Option<(NaiveDate, NaiveDate)>;

/// The days of a month.
pub fn days_of(period: Month) -> Days {
    Some((period.first_day(), period.last_day()))
}

fn bounds(days: Days) -> (NaiveDate, NaiveDate) {
    let last = NaiveDate::from_ymd_opt(9999, 12, 31).unwrap_or(NaiveDate::MAX);
    days.unwrap_or((NaiveDate::from_ymd_opt(1, 1, 1).unwrap_or(NaiveDate::MIN), last))
}

/// The currencies of what took effect in these days.
pub async fn currencies(conn: &mut PgConnection, days: Days) -> Result<BTreeSet<Currency>, Error> {
    let (from, to) = bounds(days);
    let codes: Vec<String> =
        sqlx::query_scalar(r"SELECT DISTINCT currency FROM transfer WHERE effective_on BETWEEN $1 AND $2")
            .bind(from)
            .bind(to)
            .fetch_all(conn)
            .await?;
    codes
        .iter()
        .map(|code| code.parse().map_err(|_| Error::Corrupt(format!("transfer.currency: {code} is no currency"))))
        .collect()
}

/// Hands each transfer that took effect in these days to `take`, by effective day and entry, without holding them all.
pub async fn each<E: From<Error>>(
    conn: &mut PgConnection,
    days: Days,
    mut take: impl FnMut(Row) -> Result<(), E>,
) -> Result<(), E> {
    let (from, to) = bounds(days);
    let mut rows = sqlx::query_as::<_, TransferRow>(
        r"SELECT 0::bigint AS no, transfer.transfer_id, coalesce(known.reference, '') AS account, transfer.document, transfer.event,
                 transfer.debit, transfer.credit, transfer.amount_minor, transfer.currency, transfer.reason,
                 transfer.effective_on, transfer.recorded_at, credit.service_from, credit.service_to
          FROM transfer
          LEFT JOIN credit ON credit.account_id = transfer.account_id AND credit.credit_id = transfer.document
          LEFT JOIN (SELECT DISTINCT ON (account_id) account_id, reference FROM account
                     ORDER BY account_id, recorded_at DESC) AS known ON known.account_id = transfer.account_id
          WHERE transfer.effective_on BETWEEN $1 AND $2
          ORDER BY transfer.effective_on, transfer.recorded_at, transfer.document, transfer.event, transfer.transfer_id",
    )
    .bind(from)
    .bind(to)
    .fetch(conn);
    while let Some(row) = rows.try_next().await.map_err(Error::from)? {
        take(row.row()?.1)?;
    }
    Ok(())
}

/// What a page of transfers is limited to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter {
    pub days: Days,
    pub account: Option<Uuid>,
    pub document: Option<Uuid>,
}

/// Up to `limit` transfers after number `after` of the chain, each with its number there.
pub async fn page(
    conn: &mut PgConnection,
    lane: i16,
    after: i64,
    filter: Filter,
    limit: i64,
) -> Result<Vec<(i64, Row)>, Error> {
    let (from, to) = bounds(filter.days);
    let rows: Vec<TransferRow> = sqlx::query_as(
        r"SELECT chain.no, transfer.transfer_id,
                 coalesce((SELECT reference FROM account WHERE account.account_id = transfer.account_id
                           ORDER BY recorded_at DESC LIMIT 1), '') AS account,
                 transfer.document, transfer.event, transfer.debit, transfer.credit, transfer.amount_minor, transfer.currency,
                 transfer.reason, transfer.effective_on, transfer.recorded_at, credit.service_from, credit.service_to
          FROM chain
          JOIN transfer ON transfer.account_id = chain.account_id AND transfer.transfer_id = chain.row_id
          LEFT JOIN credit ON credit.account_id = transfer.account_id AND credit.credit_id = transfer.document
          WHERE chain.lane = $1 AND chain.no > $2 AND chain.kind = 'transfer'
            AND transfer.effective_on BETWEEN $3 AND $4
            AND ($5::uuid IS NULL OR transfer.account_id = $5) AND ($6::uuid IS NULL OR transfer.document = $6)
          ORDER BY chain.no LIMIT $7",
    )
    .bind(lane)
    .bind(after)
    .bind(from)
    .bind(to)
    .bind(filter.account)
    .bind(filter.document)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TransferRow::row).collect()
}

#[derive(sqlx::FromRow)]
struct SumRow {
    effective_on: NaiveDate,
    currency: String,
    code: String,
    debit_minor: i64,
    credit_minor: i64,
    legs: i64,
}

/// Sums numbers (after, through] of the chain by day, currency and account of the books. Every transfer is two legs.
pub async fn journal_sums(
    conn: &mut PgConnection,
    lane: i16,
    (after, through): (i64, i64),
    period: Month,
) -> Result<Vec<Sum>, Error> {
    let rows: Vec<SumRow> = sqlx::query_as(
        r"WITH row AS (
              SELECT transfer.* FROM chain
              JOIN transfer ON transfer.account_id = chain.account_id AND transfer.transfer_id = chain.row_id
              WHERE chain.lane = $1 AND chain.no > $2 AND chain.no <= $3 AND chain.kind = 'transfer'
                AND transfer.effective_on BETWEEN $4 AND $5
          )
          SELECT effective_on, currency, code, sum(debit)::bigint AS debit_minor, sum(credit)::bigint AS credit_minor,
                 count(*) AS legs
          FROM (SELECT effective_on, currency, debit AS code, amount_minor AS debit, 0 AS credit FROM row
                UNION ALL SELECT effective_on, currency, credit, 0, amount_minor FROM row) AS leg
          GROUP BY effective_on, currency, code ORDER BY effective_on, currency, code",
    )
    .bind(lane)
    .bind(after)
    .bind(through)
    .bind(period.first_day())
    .bind(period.last_day())
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let damaged = || Error::Corrupt(format!("transfer: {} is no account of the books", row.code));
            Ok(Sum {
                code: Code::parse(&row.code).ok_or_else(damaged)?,
                debit: money(row.debit_minor, &row.currency, "the sum of transfer.amount_minor")?,
                credit: money(row.credit_minor, &row.currency, "the sum of transfer.amount_minor")?,
                effective_on: row.effective_on,
                legs: row.legs,
            })
        })
        .collect()
}
