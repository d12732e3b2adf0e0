//! Charges: what was invoiced, in versions.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{Error, copy};
use crate::domain::batch::ChargeRow;
use crate::domain::charge::Charge;
use crate::domain::ids::{AccountId, SubscriptionId};
use crate::domain::money::{Currency, Money};
use crate::domain::time::Instant;

pub const STAGING: &str = "CREATE TEMP TABLE staged_charge (
    line bigint, account_id uuid, charge_no text COLLATE \"C\", subscription_id uuid, invoiced_on date, service_from date,
    service_to date, quantity integer, currency text, net_minor bigint, tax_minor bigint, gross_minor bigint, tax_code text,
    tax_rate_bp integer) ON COMMIT DROP";

pub const COPY: &str = "COPY staged_charge FROM STDIN (FORMAT binary)";

pub fn put(rows: &mut copy::Rows, line: i64, row: &ChargeRow) {
    let account = AccountId::of(&row.account);
    let charge = &row.charge;
    rows.row(14)
        .bigint(line)
        .uuid(account.0)
        .text(&charge.number)
        .uuid(SubscriptionId::of(account, &row.subscription).0)
        .date(charge.invoiced_on)
        .date(charge.service_from)
        .date(charge.service_to)
        // `domain::batch` takes no more than ten million.
        .integer(i32::try_from(charge.quantity).unwrap_or(i32::MAX))
        .text(charge.gross.currency().code())
        .bigint(charge.net.minor())
        .bigint(charge.tax.minor())
        .bigint(charge.gross.minor())
        .text(&charge.tax_code)
        .integer(i32::from(charge.tax_rate_bp));
}

/// Takes away the staged lines that their source told before.
pub async fn forget_told(conn: &mut PgConnection) -> Result<(), Error> {
    sqlx::query(r"DELETE FROM staged_charge s USING staged_number n WHERE n.line = s.line AND n.is_told")
        .execute(conn)
        .await?;
    Ok(())
}

/// Notes what is wrong with staged lines.
pub async fn check(conn: &mut PgConnection) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO staged_error
          SELECT s.line, '/account', 'There is no such account: correct it, or load the account first.' FROM staged_charge s
           WHERE NOT EXISTS (SELECT FROM account_head h WHERE h.account_id = s.account_id)",
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        r"INSERT INTO staged_error
          SELECT s.line, '/subscription', 'The account has no such subscription: correct it, or load the subscription first.' FROM staged_charge s
           WHERE EXISTS (SELECT FROM account_head h WHERE h.account_id = s.account_id)
             AND NOT EXISTS (SELECT FROM subscription r
                              WHERE r.account_id = s.account_id AND r.subscription_id = s.subscription_id)",
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        r"INSERT INTO staged_error
          SELECT DISTINCT s.line, '/currency', format('The account is kept in %s: a charge in another currency belongs to another account.', a.currency)
            FROM staged_charge s JOIN account a USING (account_id)
           WHERE a.currency <> s.currency",
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        r"INSERT INTO staged_error
          SELECT s.line, '/number', format('Line %s says otherwise of the same charge: keep the line that holds.', first.line)
            FROM staged_charge s
            JOIN (SELECT DISTINCT ON (account_id, charge_no) * FROM staged_charge ORDER BY account_id, charge_no, line) first
           USING (account_id, charge_no)
           WHERE (s.subscription_id, s.invoiced_on, s.service_from, s.service_to, s.quantity, s.currency, s.net_minor,
                  s.tax_minor, s.gross_minor, s.tax_code, s.tax_rate_bp)
                 IS DISTINCT FROM (first.subscription_id, first.invoiced_on, first.service_from, first.service_to,
                  first.quantity, first.currency, first.net_minor, first.tax_minor, first.gross_minor, first.tax_code,
                  first.tax_rate_bp)",
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes away the staged lines that say nothing new: repeats within the file, and what is recorded. Gives how many are left.
pub async fn only_new(conn: &mut PgConnection) -> Result<i64, Error> {
    sqlx::query(
        r"DELETE FROM staged_charge s
           USING (SELECT account_id, charge_no, min(line) AS line FROM staged_charge GROUP BY account_id, charge_no) first
           WHERE s.account_id = first.account_id AND s.charge_no = first.charge_no AND s.line > first.line",
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        r"DELETE FROM staged_charge s
           USING (SELECT DISTINCT ON (r.account_id, r.charge_no) r.*
                    FROM staged_charge x JOIN charge r USING (account_id, charge_no)
                   ORDER BY r.account_id, r.charge_no, r.recorded_at DESC) last
           WHERE s.account_id = last.account_id AND s.charge_no = last.charge_no
             AND (s.subscription_id, s.invoiced_on, s.service_from, s.service_to, s.quantity, s.currency, s.net_minor,
                  s.tax_minor, s.gross_minor, s.tax_code, s.tax_rate_bp)
                 IS NOT DISTINCT FROM (last.subscription_id, last.invoiced_on, last.service_from, last.service_to,
                  last.quantity, last.currency, last.net_minor, last.tax_minor, last.gross_minor, last.tax_code,
                  last.tax_rate_bp)",
    )
    .execute(&mut *conn)
    .await?;
    Ok(sqlx::query_scalar(
        r"SELECT count(*) FROM staged_charge s WHERE NOT EXISTS (SELECT FROM staged_error e WHERE e.line = s.line)",
    )
    .fetch_one(conn)
    .await?)
}

/// Records what is staged as new versions.
pub async fn save(conn: &mut PgConnection, recorded_at: Instant) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO charge (account_id, charge_no, recorded_at, subscription_id, invoiced_on, service_from, service_to,
                              quantity, currency, net_minor, tax_minor, gross_minor, tax_code, tax_rate_bp)
          SELECT account_id, charge_no, $1, subscription_id, invoiced_on, service_from, service_to, quantity, currency,
                 net_minor, tax_minor, gross_minor, tax_code, tax_rate_bp
            FROM staged_charge ORDER BY account_id, charge_no",
    )
    .bind(recorded_at.utc())
    .execute(conn)
    .await?;
    Ok(())
}

/// One charge with the subscription that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charged {
    pub subscription: SubscriptionId,
    pub charge: Charge,
}

/// The account's charges for service between the days `from` and `to` (the day after), as recorded at `as_recorded` (the
/// latest versions when none), by first day and then by number.
pub async fn of_account(
    conn: &mut PgConnection,
    account: AccountId,
    (from, to): (NaiveDate, NaiveDate),
    as_recorded: Option<Instant>,
) -> Result<Vec<Charged>, Error> {
    let rows: Vec<Record> = sqlx::query_as(
        r"SELECT * FROM (
              SELECT DISTINCT ON (charge_no) * FROM charge
               WHERE account_id = $1 AND recorded_at <= $4
               ORDER BY charge_no, recorded_at DESC) last
           WHERE service_from < $3 AND service_to > $2
           ORDER BY service_from, charge_no",
    )
    .bind(account.0)
    .bind(from)
    .bind(to)
    .bind(as_recorded.unwrap_or(Instant::MAX).utc())
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|row| row.charged().map(|(_, charged)| charged)).collect()
}

/// As [`of_account`], for many accounts at once. Accounts without charges are not among them. A batch query.
pub async fn of_accounts(
    conn: &mut PgConnection,
    accounts: &[AccountId],
    (from, to): (NaiveDate, NaiveDate),
    as_recorded: Option<Instant>,
) -> Result<BTreeMap<AccountId, Vec<Charged>>, Error> {
    let ids: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    let rows: Vec<Record> = sqlx::query_as(
        r"SELECT * FROM (
              SELECT DISTINCT ON (account_id, charge_no) * FROM charge
               WHERE account_id = ANY ($1) AND recorded_at <= $4
               ORDER BY account_id, charge_no, recorded_at DESC) last
           WHERE service_from < $3 AND service_to > $2
           ORDER BY account_id, service_from, charge_no",
    )
    .bind(ids)
    .bind(from)
    .bind(to)
    .bind(as_recorded.unwrap_or(Instant::MAX).utc())
    .fetch_all(conn)
    .await?;
    let mut found: BTreeMap<AccountId, Vec<Charged>> = BTreeMap::new();
    for row in rows {
        let (account, charged) = row.charged()?;
        found.entry(account).or_default().push(charged);
    }
    Ok(found)
}

#[derive(FromRow)]
struct Record {
    account_id: Uuid,
    charge_no: String,
    subscription_id: Uuid,
    invoiced_on: NaiveDate,
    service_from: NaiveDate,
    service_to: NaiveDate,
    quantity: i32,
    currency: String,
    net_minor: i64,
    tax_minor: i64,
    gross_minor: i64,
    tax_code: String,
    tax_rate_bp: i32,
}

impl Record {
    fn charged(self) -> Result<(AccountId, Charged), Error> {
        let damaged =
            |column: &str| Error::Corrupt(format!("charge.{column} of {}, charge {}", self.account_id, self.charge_no));
        let currency: Currency = self.currency.parse().map_err(|_| damaged("currency"))?;
        let money = |minor, column| Money::from_minor(minor, currency).map_err(|_| damaged(column));
        let charge = Charge {
            invoiced_on: self.invoiced_on,
            service_from: self.service_from,
            service_to: self.service_to,
            quantity: u32::try_from(self.quantity).map_err(|_| damaged("quantity"))?,
            net: money(self.net_minor, "net_minor")?,
            tax: money(self.tax_minor, "tax_minor")?,
            gross: money(self.gross_minor, "gross_minor")?,
            tax_rate_bp: u16::try_from(self.tax_rate_bp).map_err(|_| damaged("tax_rate_bp"))?,
            tax_code: self.tax_code,
            number: self.charge_no,
            item: None,
        };
        Ok((AccountId(self.account_id), Charged { subscription: SubscriptionId(self.subscription_id), charge }))
    }
}
