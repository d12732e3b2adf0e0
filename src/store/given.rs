//! What was given elsewhere: credits that were typed into billing, or given before this service was there, in versions.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Error, copy, money};
use crate::domain::assess::Given;
use crate::domain::batch::GivenRow;
use crate::domain::ids::{AccountId, SubscriptionId};
use crate::domain::period::Month;
use crate::domain::time::Instant;

pub const STAGING: &str = "CREATE TEMP TABLE staged_given (
    line bigint, account_id uuid, reference text COLLATE \"C\", subscription_id uuid, period text, kind text,
    currency text, amount_minor bigint, given_on date) ON COMMIT DROP";

pub const COPY: &str = "COPY staged_given FROM STDIN (FORMAT binary)";

pub fn put(rows: &mut copy::Rows, line: i64, row: &GivenRow) {
    let account = AccountId::of(&row.account);
    rows.row(9)
        .bigint(line)
        .uuid(account.0)
        .text(&row.reference)
        .uuid(SubscriptionId::of(account, &row.subscription).0)
        .text(&row.period.to_string())
        .text(&row.kind)
        .text(row.amount.currency().code())
        .bigint(row.amount.minor())
        .date(row.given_on);
}

/// Takes away the staged lines that their source told before.
pub async fn forget_told(conn: &mut PgConnection) -> Result<(), Error> {
    sqlx::query(r"DELETE FROM staged_given s USING staged_number n WHERE n.line = s.line AND n.is_told")
        .execute(conn)
        .await?;
    Ok(())
}

/// Notes what is wrong with staged lines.
pub async fn check(conn: &mut PgConnection) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO staged_error
          SELECT s.line, '/account', 'There is no such account: correct it, or load the account first.' FROM staged_given s
           WHERE NOT EXISTS (SELECT FROM account_head h WHERE h.account_id = s.account_id)",
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        r"INSERT INTO staged_error
          SELECT s.line, '/subscription', 'The account has no such subscription: correct it, or load the subscription first.'
            FROM staged_given s
           WHERE EXISTS (SELECT FROM account_head h WHERE h.account_id = s.account_id)
             AND NOT EXISTS (SELECT FROM subscription r
                              WHERE r.account_id = s.account_id AND r.subscription_id = s.subscription_id)",
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        r"INSERT INTO staged_error
          SELECT DISTINCT s.line, '/currency', format('The account is kept in %s.', a.currency)
            FROM staged_given s JOIN account a USING (account_id)
           WHERE a.currency <> s.currency",
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        r"INSERT INTO staged_error
          SELECT s.line, '/reference', format('Line %s says otherwise of the same credit: keep the line that holds.', first.line)
            FROM staged_given s
            JOIN (SELECT DISTINCT ON (account_id, reference) * FROM staged_given ORDER BY account_id, reference, line) first
           USING (account_id, reference)
           WHERE (s.subscription_id, s.period, s.kind, s.currency, s.amount_minor, s.given_on)
                 IS DISTINCT FROM (first.subscription_id, first.period, first.kind, first.currency, first.amount_minor,
                                   first.given_on)",
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes away the staged lines that say nothing new: repeats within the file, and what is recorded. Gives how many are left.
pub async fn only_new(conn: &mut PgConnection) -> Result<i64, Error> {
    sqlx::query(
        r"DELETE FROM staged_given s
           USING (SELECT account_id, reference, min(line) AS line FROM staged_given GROUP BY account_id, reference) first
           WHERE s.account_id = first.account_id AND s.reference = first.reference AND s.line > first.line",
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        r"DELETE FROM staged_given s
           USING (SELECT DISTINCT ON (r.account_id, r.reference) r.*
                    FROM staged_given x JOIN given_elsewhere r USING (account_id, reference)
                   ORDER BY r.account_id, r.reference, r.recorded_at DESC) last
           WHERE s.account_id = last.account_id AND s.reference = last.reference
             AND (s.subscription_id, s.period, s.kind, s.currency, s.amount_minor, s.given_on)
                 IS NOT DISTINCT FROM (last.subscription_id, last.period, last.kind, last.currency, last.amount_minor,
                                       last.given_on)",
    )
    .execute(&mut *conn)
    .await?;
    Ok(sqlx::query_scalar(
        r"SELECT count(*) FROM staged_given s WHERE NOT EXISTS (SELECT FROM staged_error e WHERE e.line = s.line)",
    )
    .fetch_one(conn)
    .await?)
}

/// Records what is staged as new versions.
pub async fn save(conn: &mut PgConnection, recorded_at: Instant) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO given_elsewhere (account_id, reference, recorded_at, subscription_id, period, kind, currency,
                                       amount_minor, given_on)
          SELECT account_id, reference, $1, subscription_id, period, kind, currency, amount_minor, given_on
            FROM staged_given ORDER BY account_id, reference",
    )
    .bind(recorded_at.utc())
    .execute(conn)
    .await?;
    Ok(())
}

/// Up to `limit` of the accounts that the staged lines concern, and how many they are.
pub async fn touched(conn: &mut PgConnection, limit: i64) -> Result<(Vec<AccountId>, i64), Error> {
    let ids: Vec<Uuid> =
        sqlx::query_scalar(r"SELECT DISTINCT account_id FROM staged_given ORDER BY account_id LIMIT $1")
            .bind(limit)
            .fetch_all(&mut *conn)
            .await?;
    let all = sqlx::query_scalar(r"SELECT count(DISTINCT account_id) FROM staged_given").fetch_one(conn).await?;
    Ok((ids.into_iter().map(AccountId).collect(), all))
}

/// What was given to these accounts for the period on other roads than the contract, by subscription, as recorded at
/// `as_recorded`. A batch query.
pub async fn on_other_roads(
    conn: &mut PgConnection,
    accounts: &[AccountId],
    period: Month,
    as_recorded: Instant,
) -> Result<BTreeMap<SubscriptionId, Vec<Given>>, Error> {
    let ids: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    let rows: Vec<(Uuid, String, i64, String)> = sqlx::query_as(
        r"SELECT subscription_id, kind, amount_minor, currency
            FROM (SELECT DISTINCT ON (account_id, reference) * FROM given_elsewhere
                   WHERE account_id = ANY ($1) AND recorded_at <= $3
                   ORDER BY account_id, reference, recorded_at DESC) last
           WHERE period = $2 AND kind <> 'contract'
           ORDER BY account_id, reference",
    )
    .bind(ids)
    .bind(period.to_string())
    .bind(as_recorded.utc())
    .fetch_all(conn)
    .await?;
    let mut found: BTreeMap<SubscriptionId, Vec<Given>> = BTreeMap::new();
    for (subscription, kind, minor, currency) in rows {
        let amount = money(minor, &currency, "given_elsewhere.amount_minor")?;
        found.entry(SubscriptionId(subscription)).or_default().push(Given { kind, amount });
    }
    Ok(found)
}

/// What was given to the account for the period on the contract's own road, as recorded at `as_recorded`.
pub async fn of_contract(
    conn: &mut PgConnection,
    account: AccountId,
    period: Month,
    as_recorded: Instant,
) -> Result<Vec<Given>, Error> {
    let rows: Vec<(String, i64, String)> = sqlx::query_as(
        r"SELECT kind, amount_minor, currency
            FROM (SELECT DISTINCT ON (account_id, reference) * FROM given_elsewhere
                   WHERE account_id = $1 AND recorded_at <= $3
                   ORDER BY account_id, reference, recorded_at DESC) last
           WHERE period = $2 AND kind = 'contract'
           ORDER BY reference",
    )
    .bind(account.0)
    .bind(period.to_string())
    .bind(as_recorded.utc())
    .fetch_all(conn)
    .await?;
    let given = |(kind, minor, currency): (String, i64, String)| {
        Ok(Given { kind, amount: money(minor, &currency, "given_elsewhere.amount_minor")? })
    };
    rows.into_iter().map(given).collect()
}

/// What was given to these accounts for the period on the contract's own road, by account and subscription, in minor units.
pub async fn by_contract(
    conn: &mut PgConnection,
    accounts: &[Uuid],
    period: Month,
) -> Result<BTreeMap<(AccountId, SubscriptionId), i64>, Error> {
    let rows: Vec<(Uuid, Uuid, i64)> = sqlx::query_as(
        r"SELECT account_id, subscription_id, sum(amount_minor)::bigint
            FROM (SELECT DISTINCT ON (account_id, reference) * FROM given_elsewhere
                   WHERE account_id = ANY ($1)
                   ORDER BY account_id, reference, recorded_at DESC) last
           WHERE period = $2 AND kind = 'contract'
           GROUP BY account_id, subscription_id",
    )
    .bind(accounts)
    .bind(period.to_string())
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(account, subscription, minor)| ((AccountId(account), SubscriptionId(subscription)), minor))
        .collect())
}
