//! Accounts, in versions.

use std::collections::HashMap;

use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{Error, copy};
use crate::domain::account::Account;
use crate::domain::batch::AccountRow;
use crate::domain::ids::AccountId;
use crate::domain::time::Instant;

pub const STAGING: &str = "CREATE TEMP TABLE staged_account (
    line bigint, account_id uuid, reference text, name text, zone text, currency text, parent text, parent_id uuid,
    bill_to text, bill_to_id uuid, email text, customer_since date, closed_on date) ON COMMIT DROP";

pub const COPY: &str = "COPY staged_account FROM STDIN (FORMAT binary)";

pub fn put(rows: &mut copy::Rows, line: i64, row: &AccountRow) {
    rows.row(13)
        .bigint(line)
        .uuid(AccountId::of(&row.account).0)
        .text(&row.account)
        .text(&row.name)
        .text(row.zone.name())
        .text(row.currency.code())
        .maybe(row.parent.as_deref(), copy::Rows::text)
        .maybe(row.parent.as_deref(), |rows, parent| rows.uuid(AccountId::of(parent).0))
        .maybe(row.bill_to.as_deref(), copy::Rows::text)
        .maybe(row.bill_to.as_deref(), |rows, payer| rows.uuid(AccountId::of(payer).0))
        .maybe(row.email.as_deref(), copy::Rows::text)
        .maybe(row.customer_since, copy::Rows::date)
        .maybe(row.closed_on, copy::Rows::date);
}

/// Takes away the staged lines that their source told before.
pub async fn forget_told(conn: &mut PgConnection) -> Result<(), Error> {
    sqlx::query(r"DELETE FROM staged_account s USING staged_number n WHERE n.line = s.line AND n.is_told")
        .execute(conn)
        .await?;
    Ok(())
}

/// Notes what is wrong with staged lines.
pub async fn check(conn: &mut PgConnection) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO staged_error
          SELECT s.line, '/account', format('Line %s says otherwise of the same account: keep the line that holds.', first.line)
            FROM staged_account s
            JOIN (SELECT DISTINCT ON (account_id) * FROM staged_account ORDER BY account_id, line) first USING (account_id)
           WHERE (s.name, s.zone, s.currency, s.parent, s.bill_to, s.email, s.customer_since, s.closed_on)
                 IS DISTINCT FROM (first.name, first.zone, first.currency, first.parent, first.bill_to, first.email,
                                   first.customer_since, first.closed_on)",
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        r"INSERT INTO staged_error
          SELECT DISTINCT s.line, '/currency',
                 format('The account is kept in %s, and the currency of an account never changes.', a.currency)
            FROM staged_account s JOIN account a USING (account_id)
           WHERE a.currency <> s.currency",
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        r"INSERT INTO staged_error
          SELECT s.line, named.pointer, 'There is no such account, in the file or recorded: correct it, or add a line for it.'
            FROM staged_account s
           CROSS JOIN LATERAL (VALUES ('/parent', s.parent_id), ('/bill_to', s.bill_to_id)) named (pointer, account_id)
           WHERE named.account_id IS NOT NULL
             AND NOT EXISTS (SELECT FROM account_head h WHERE h.account_id = named.account_id)
             AND NOT EXISTS (SELECT FROM staged_account other WHERE other.account_id = named.account_id)",
    )
    .execute(&mut *conn)
    .await?;
    check_circles(conn).await
}

/// An account may not stand above itself, nor pay for itself, by way of others.
async fn check_circles(conn: &mut PgConnection) -> Result<(), Error> {
    let any_above: bool = sqlx::query_scalar(
        r"SELECT EXISTS (SELECT FROM staged_account WHERE parent IS NOT NULL OR bill_to IS NOT NULL)",
    )
    .fetch_one(&mut *conn)
    .await?;
    if !any_above {
        return Ok(());
    }
    sqlx::query(
        r"INSERT INTO staged_error
          WITH RECURSIVE said AS MATERIALIZED (
              SELECT line, reference, parent, bill_to FROM staged_account
               UNION ALL
              SELECT NULL, reference, parent, bill_to
                FROM (SELECT DISTINCT ON (account_id) account_id, reference, parent, bill_to FROM account
                       ORDER BY account_id, recorded_at DESC) last
               WHERE NOT EXISTS (SELECT FROM staged_account s WHERE s.account_id = last.account_id)),
          link AS MATERIALIZED (
              SELECT said.line, named.pointer, said.reference, named.above
                FROM said CROSS JOIN LATERAL (VALUES ('/parent', parent), ('/bill_to', bill_to)) named (pointer, above)
               WHERE named.above IS NOT NULL),
          climb (line, pointer, reference, at) AS (
              SELECT line, pointer, reference, above FROM link WHERE line IS NOT NULL
               UNION
              SELECT climb.line, climb.pointer, climb.reference, link.above
                FROM climb JOIN link ON link.pointer = climb.pointer AND link.reference = climb.at)
          SELECT DISTINCT line, pointer,
                 'The accounts go round in a circle: going up from this one leads back to it. Correct one of them.'
            FROM climb WHERE at = reference",
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes away the staged lines that say nothing new: repeats within the file, and what is recorded. Gives how many are left.
pub async fn only_new(conn: &mut PgConnection) -> Result<i64, Error> {
    sqlx::query(
        r"DELETE FROM staged_account s
           USING (SELECT account_id, min(line) AS line FROM staged_account GROUP BY account_id) first
           WHERE s.account_id = first.account_id AND s.line > first.line",
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        r"DELETE FROM staged_account s
           USING (SELECT DISTINCT ON (a.account_id) a.*
                    FROM staged_account x JOIN account a USING (account_id)
                   ORDER BY a.account_id, a.recorded_at DESC) last
           WHERE s.account_id = last.account_id
             AND (s.name, s.zone, s.currency, s.parent, s.bill_to, s.email, s.customer_since, s.closed_on)
                 IS NOT DISTINCT FROM (last.name, last.zone, last.currency, last.parent, last.bill_to, last.email,
                                       last.customer_since, last.closed_on)",
    )
    .execute(&mut *conn)
    .await?;
    Ok(sqlx::query_scalar(
        r"SELECT count(*) FROM staged_account s WHERE NOT EXISTS (SELECT FROM staged_error e WHERE e.line = s.line)",
    )
    .fetch_one(conn)
    .await?)
}

/// Records what is staged as new versions, and gives each new account its head.
pub async fn save(conn: &mut PgConnection, recorded_at: Instant) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO account (account_id, recorded_at, reference, name, zone, currency, parent, bill_to, email,
                               customer_since, closed_on)
          SELECT account_id, $1, reference, name, zone, currency, parent, bill_to, email, customer_since, closed_on
            FROM staged_account ORDER BY account_id",
    )
    .bind(recorded_at.utc())
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        r"INSERT INTO account_head (account_id) SELECT account_id FROM staged_account ORDER BY account_id
          ON CONFLICT DO NOTHING",
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Up to `limit` of the accounts that the staged lines concern, and how many they are.
pub async fn touched(conn: &mut PgConnection, limit: i64) -> Result<(Vec<AccountId>, i64), Error> {
    let ids: Vec<Uuid> =
        sqlx::query_scalar(r"SELECT DISTINCT account_id FROM staged_account ORDER BY account_id LIMIT $1")
            .bind(limit)
            .fetch_all(&mut *conn)
            .await?;
    let all = sqlx::query_scalar(r"SELECT count(DISTINCT account_id) FROM staged_account").fetch_one(conn).await?;
    Ok((ids.into_iter().map(AccountId).collect(), all))
}

/// How many accounts there are.
pub async fn count(conn: &mut PgConnection) -> Result<i64, Error> {
    Ok(sqlx::query_scalar(r"SELECT count(DISTINCT account_id) FROM account").fetch_one(conn).await?)
}

/// The account as it was recorded at `as_recorded` (the latest version when none). None when it was not known then.
pub async fn find(
    conn: &mut PgConnection,
    account: AccountId,
    as_recorded: Option<Instant>,
) -> Result<Option<Account>, Error> {
    let row: Option<AccountRecord> = sqlx::query_as(
        r"SELECT account_id, reference, name, zone, currency, parent, bill_to, email, customer_since, closed_on FROM account
           WHERE account_id = $1 AND recorded_at <= $2
           ORDER BY recorded_at DESC LIMIT 1",
    )
    .bind(account.0)
    .bind(as_recorded.unwrap_or(Instant::MAX).utc())
    .fetch_optional(conn)
    .await?;
    row.map(AccountRecord::account).transpose()
}

/// The latest versions of these accounts, by id; ids that are not known are left out.
pub async fn latest_of(conn: &mut PgConnection, ids: &[AccountId]) -> Result<HashMap<AccountId, Account>, Error> {
    as_recorded(conn, ids, Instant::MAX).await
}

/// As [`latest_of`], of what was recorded at `as_recorded_at`.
pub async fn as_recorded(
    conn: &mut PgConnection,
    ids: &[AccountId],
    as_recorded_at: Instant,
) -> Result<HashMap<AccountId, Account>, Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows: Vec<AccountRecord> = sqlx::query_as(
        r"SELECT DISTINCT ON (account_id)
                 account_id, reference, name, zone, currency, parent, bill_to, email, customer_since, closed_on
            FROM account WHERE account_id = ANY ($1) AND recorded_at <= $2
           ORDER BY account_id, recorded_at DESC",
    )
    .bind(ids)
    .bind(as_recorded_at.utc())
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|row| row.account().map(|account| (account.id, account))).collect()
}

/// Up to `limit` accounts after `after`, by id, each as it was recorded at `as_recorded` (its latest version when none). A
/// batch query.
pub async fn page(
    conn: &mut PgConnection,
    after: Option<AccountId>,
    limit: i64,
    as_recorded: Option<Instant>,
) -> Result<Vec<Account>, Error> {
    let rows: Vec<AccountRecord> = sqlx::query_as(
        r"SELECT DISTINCT ON (account_id)
                 account_id, reference, name, zone, currency, parent, bill_to, email, customer_since, closed_on
            FROM account
           WHERE ($1::uuid IS NULL OR account_id > $1) AND recorded_at <= $3
           ORDER BY account_id, recorded_at DESC LIMIT $2",
    )
    .bind(after.map(|after| after.0))
    .bind(limit)
    .bind(as_recorded.unwrap_or(Instant::MAX).utc())
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(AccountRecord::account).collect()
}

#[derive(FromRow)]
struct AccountRecord {
    account_id: Uuid,
    reference: String,
    name: String,
    zone: String,
    currency: String,
    parent: Option<String>,
    bill_to: Option<String>,
    email: Option<String>,
    customer_since: Option<chrono::NaiveDate>,
    closed_on: Option<chrono::NaiveDate>,
}

impl AccountRecord {
    fn account(self) -> Result<Account, Error> {
        let id = self.account_id;
        let damaged = |column: &str| Error::Corrupt(format!("account.{column} of {id}"));
        Ok(Account {
            id: AccountId(id),
            zone: self.zone.parse().map_err(|_| damaged("zone"))?,
            currency: self.currency.parse().map_err(|_| damaged("currency"))?,
            reference: self.reference,
            name: self.name,
            parent: self.parent,
            bill_to: self.bill_to,
            email: self.email,
            customer_since: self.customer_since,
            closed_on: self.closed_on,
        })
    }
}
