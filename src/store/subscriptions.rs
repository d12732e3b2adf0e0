//! Subscriptions of accounts to plans, in versions.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::evidence::instant;
use super::{Error, copy};
use crate::domain::account::Subscription;
use crate::domain::batch::SubscriptionRow;
use crate::domain::ids::{AccountId, SubscriptionId};
use crate::domain::time::Instant;

pub const STAGING: &str = "CREATE TEMP TABLE staged_subscription (
    line bigint, account_id uuid, subscription_id uuid, reference text, plan text, valid_from timestamptz,
    valid_to timestamptz) ON COMMIT DROP";

pub const COPY: &str = "COPY staged_subscription FROM STDIN (FORMAT binary)";

pub fn put(rows: &mut copy::Rows, line: i64, row: &SubscriptionRow) {
    let account = AccountId::of(&row.account);
    rows.row(7)
        .bigint(line)
        .uuid(account.0)
        .uuid(SubscriptionId::of(account, &row.subscription).0)
        .text(&row.subscription)
        .text(&row.plan)
        .timestamptz(row.valid_from)
        .maybe(row.valid_to, copy::Rows::timestamptz);
}

/// Takes away the staged lines that their source told before.
pub async fn forget_told(conn: &mut PgConnection) -> Result<(), Error> {
    sqlx::query(r"DELETE FROM staged_subscription s USING staged_number n WHERE n.line = s.line AND n.is_told")
        .execute(conn)
        .await?;
    Ok(())
}

/// Notes what is wrong with staged lines.
pub async fn check(conn: &mut PgConnection) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO staged_error
          SELECT s.line, '/account', 'There is no such account: correct it, or load the account first.' FROM staged_subscription s
           WHERE NOT EXISTS (SELECT FROM account_head h WHERE h.account_id = s.account_id)",
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        r"INSERT INTO staged_error
          SELECT s.line, '/subscription', format('Line %s says otherwise of the same subscription: keep the line that holds.', first.line)
            FROM staged_subscription s
            JOIN (SELECT DISTINCT ON (subscription_id) * FROM staged_subscription ORDER BY subscription_id, line) first
           USING (account_id, subscription_id)
           WHERE (s.plan, s.valid_from, s.valid_to) IS DISTINCT FROM (first.plan, first.valid_from, first.valid_to)",
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes away the staged lines that say nothing new: repeats within the file, and what is recorded. Gives how many are left.
pub async fn only_new(conn: &mut PgConnection) -> Result<i64, Error> {
    sqlx::query(
        r"DELETE FROM staged_subscription s
           USING (SELECT subscription_id, min(line) AS line FROM staged_subscription GROUP BY subscription_id) first
           WHERE s.subscription_id = first.subscription_id AND s.line > first.line",
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        r"DELETE FROM staged_subscription s
           USING (SELECT DISTINCT ON (r.account_id, r.subscription_id) r.*
                    FROM staged_subscription x JOIN subscription r USING (account_id, subscription_id)
                   ORDER BY r.account_id, r.subscription_id, r.recorded_at DESC) last
           WHERE s.account_id = last.account_id AND s.subscription_id = last.subscription_id
             AND (s.plan, s.valid_from, s.valid_to) IS NOT DISTINCT FROM (last.plan, last.valid_from, last.valid_to)",
    )
    .execute(&mut *conn)
    .await?;
    Ok(sqlx::query_scalar(
        r"SELECT count(*) FROM staged_subscription s
           WHERE NOT EXISTS (SELECT FROM staged_error e WHERE e.line = s.line)",
    )
    .fetch_one(conn)
    .await?)
}

/// Records what is staged as new versions.
pub async fn save(conn: &mut PgConnection, recorded_at: Instant) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO subscription (account_id, subscription_id, recorded_at, reference, plan, valid_from, valid_to)
          SELECT account_id, subscription_id, $1, reference, plan, valid_from, valid_to
            FROM staged_subscription ORDER BY account_id, subscription_id",
    )
    .bind(recorded_at.utc())
    .execute(conn)
    .await?;
    Ok(())
}

/// The account's subscriptions as recorded at `as_recorded` (the latest versions when none), by start and then by reference.
pub async fn of_account(
    conn: &mut PgConnection,
    account: AccountId,
    as_recorded: Option<Instant>,
) -> Result<Vec<Subscription>, Error> {
    let rows: Vec<Record> = sqlx::query_as(
        r"SELECT * FROM (
              SELECT DISTINCT ON (subscription_id) account_id, subscription_id, reference, plan, valid_from, valid_to
                FROM subscription
               WHERE account_id = $1 AND recorded_at <= $2
               ORDER BY subscription_id, recorded_at DESC) last
           ORDER BY valid_from, reference",
    )
    .bind(account.0)
    .bind(as_recorded.unwrap_or(Instant::MAX).utc())
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|row| row.subscription().map(|(_, subscription)| subscription)).collect()
}

/// As [`of_account`], for many accounts at once. Accounts without subscriptions are not among them. A batch query.
pub async fn of_accounts(
    conn: &mut PgConnection,
    accounts: &[AccountId],
    as_recorded: Option<Instant>,
) -> Result<BTreeMap<AccountId, Vec<Subscription>>, Error> {
    let ids: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    let rows: Vec<Record> = sqlx::query_as(
        r"SELECT * FROM (
              SELECT DISTINCT ON (account_id, subscription_id)
                     account_id, subscription_id, reference, plan, valid_from, valid_to
                FROM subscription
               WHERE account_id = ANY ($1) AND recorded_at <= $2
               ORDER BY account_id, subscription_id, recorded_at DESC) last
           ORDER BY account_id, valid_from, reference",
    )
    .bind(ids)
    .bind(as_recorded.unwrap_or(Instant::MAX).utc())
    .fetch_all(conn)
    .await?;
    let mut found: BTreeMap<AccountId, Vec<Subscription>> = BTreeMap::new();
    for row in rows {
        let (account, subscription) = row.subscription()?;
        found.entry(account).or_default().push(subscription);
    }
    Ok(found)
}

#[derive(FromRow)]
struct Record {
    account_id: Uuid,
    subscription_id: Uuid,
    reference: String,
    plan: String,
    valid_from: DateTime<Utc>,
    valid_to: Option<DateTime<Utc>>,
}

impl Record {
    fn subscription(self) -> Result<(AccountId, Subscription), Error> {
        let subscription = Subscription {
            id: SubscriptionId(self.subscription_id),
            reference: self.reference,
            plan: self.plan,
            valid_from: instant(self.valid_from, "subscription.valid_from")?,
            valid_to: self.valid_to.map(|to| instant(to, "subscription.valid_to")).transpose()?,
        };
        Ok((AccountId(self.account_id), subscription))
    }
}
