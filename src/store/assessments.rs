//! What was computed for a period, account by account.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::evidence::instant;
use super::{Error, money};
use crate::domain::ids::{AccountId, SubscriptionId};
use crate::domain::money::Money;
use crate::domain::period::Month;
use crate::domain::time::Instant;

/// The result for one subscription, as it is kept. The receipt is made again from the evidence as recorded then.
#[derive(Clone, Debug)]
pub struct Assessed {
    pub account: AccountId,
    pub subscription: SubscriptionId,
    pub plan: String,
    pub terms_version: i32,
    pub promise: String,
    /// Of the mailbox that was down longest.
    pub counted_micros: i64,
    pub mailboxes: i32,
    pub affected_mailboxes: i32,
    /// What the terms give, which may be nothing; none where it cannot be said.
    pub amount: Option<Money>,
    pub currency: String,
    pub blockers: Vec<String>,
    pub inputs_hash: [u8; 32],
}

/// Begins computing a period as recorded at `as_of`, or joins one that was begun: by somebody else just now, or by a server
/// that crashed.
pub async fn begin_assessment(conn: &mut PgConnection, period: Month, as_of: Instant) -> Result<(), Error> {
    sqlx::query(r"INSERT INTO assessment_run (period, recorded_as_of) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(period.to_string())
        .bind(as_of.utc())
        .execute(conn)
        .await?;
    Ok(())
}

/// Locks the computing until commit. False where it is finished: from then on nobody writes to it.
pub async fn lock_unfinished(conn: &mut PgConnection, period: Month, as_of: Instant) -> Result<bool, Error> {
    let locked: Option<bool> = sqlx::query_scalar(
        r"SELECT finished_at IS NULL FROM assessment_run WHERE period = $1 AND recorded_as_of = $2 FOR NO KEY UPDATE",
    )
    .bind(period.to_string())
    .bind(as_of.utc())
    .fetch_optional(conn)
    .await?;
    locked.ok_or_else(|| Error::Corrupt(format!("assessment_run has no row for {period} as recorded at {as_of}")))
}

/// Takes away what was computed for these accounts before, to make room for the same computed anew.
pub async fn clear_assessed(
    conn: &mut PgConnection,
    period: Month,
    as_of: Instant,
    accounts: &[Uuid],
) -> Result<(), Error> {
    sqlx::query(r"DELETE FROM assessment WHERE account_id = ANY ($1) AND period = $2 AND recorded_as_of = $3")
        .bind(accounts)
        .bind(period.to_string())
        .bind(as_of.utc())
        .execute(conn)
        .await?;
    Ok(())
}

/// How many accounts a finished computing saw; none while it is not finished or was never made.
pub async fn finished_assessment(conn: &mut PgConnection, period: Month, as_of: Instant) -> Result<Option<i64>, Error> {
    Ok(sqlx::query_scalar(
        r"SELECT accounts_seen FROM assessment_run WHERE period = $1 AND recorded_as_of = $2 AND finished_at IS NOT NULL",
    )
    .bind(period.to_string())
    .bind(as_of.utc())
    .fetch_optional(conn)
    .await?)
}

pub async fn finish_assessment(
    conn: &mut PgConnection,
    period: Month,
    as_of: Instant,
    accounts_seen: i64,
    now: Instant,
) -> Result<(), Error> {
    sqlx::query(
        r"UPDATE assessment_run SET accounts_seen = $3, finished_at = $4
          WHERE period = $1 AND recorded_as_of = $2 AND finished_at IS NULL",
    )
    .bind(period.to_string())
    .bind(as_of.utc())
    .bind(accounts_seen)
    .bind(now.utc())
    .execute(conn)
    .await?;
    Ok(())
}

/// The recorded time of the newest finished computing of a period.
pub async fn latest_assessment(conn: &mut PgConnection, period: Month) -> Result<Option<Instant>, Error> {
    let at: Option<DateTime<Utc>> = sqlx::query_scalar(
        r"SELECT max(recorded_as_of) FROM assessment_run WHERE period = $1 AND finished_at IS NOT NULL",
    )
    .bind(period.to_string())
    .fetch_one(conn)
    .await?;
    at.map(|at| instant(at, "assessment_run.recorded_as_of")).transpose()
}

/// The periods that were assessed, the latest first: two years of them at most.
pub async fn assessed_periods(conn: &mut PgConnection) -> Result<Vec<Month>, Error> {
    let periods: Vec<String> = sqlx::query_scalar(
        r"SELECT DISTINCT period FROM assessment_run WHERE finished_at IS NOT NULL ORDER BY period DESC LIMIT 24",
    )
    .fetch_all(conn)
    .await?;
    let month = |text: String| text.parse().map_err(|_| Error::Corrupt(format!("assessment_run.period: {text}")));
    periods.into_iter().map(month).collect()
}

pub async fn insert_assessed(
    conn: &mut PgConnection,
    period: Month,
    as_of: Instant,
    rows: &[Assessed],
) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    // A list in each row cannot be an array of arrays, which would have to be rectangular: it travels as JSON.
    let blockers: Vec<serde_json::Value> = rows.iter().map(|row| serde_json::json!(row.blockers)).collect();
    sqlx::query(
        r"INSERT INTO assessment (account_id, subscription_id, period, recorded_as_of, plan, terms_version, promise, counted_micros,
                                  mailboxes, affected_mailboxes, currency, amount_minor, blockers, inputs_hash)
          SELECT account_id, subscription_id, $1, $2, plan, terms_version, promise, counted_micros, mailboxes, affected, currency,
                 amount_minor, ARRAY(SELECT jsonb_array_elements_text(blockers)), inputs_hash
          FROM unnest($3::uuid[], $4::uuid[], $5::text[], $6::int[], $7::text[], $8::bigint[], $9::int[], $10::int[], $11::text[],
                      $12::bigint[], $13::jsonb[], $14::bytea[])
               AS row (account_id, subscription_id, plan, terms_version, promise, counted_micros, mailboxes, affected, currency,
                       amount_minor, blockers, inputs_hash)",
    )
    .bind(period.to_string())
    .bind(as_of.utc())
    .bind(rows.iter().map(|row| row.account.0).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.subscription.0).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.plan.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.terms_version).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.promise.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.counted_micros).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.mailboxes).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.affected_mailboxes).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.currency.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.amount.map(Money::minor)).collect::<Vec<_>>())
    .bind(blockers)
    .bind(rows.iter().map(|row| row.inputs_hash.to_vec()).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct AssessedRow {
    account_id: Uuid,
    subscription_id: Uuid,
    plan: String,
    terms_version: i32,
    promise: String,
    counted_micros: i64,
    mailboxes: i32,
    affected_mailboxes: i32,
    currency: String,
    amount_minor: Option<i64>,
    blockers: Vec<String>,
    inputs_hash: Vec<u8>,
}

/// A page of the assessments of a period as recorded at `as_of`, by account; whole accounts only when the page is longer
/// than any account's subscriptions.
pub async fn assessed_after(
    conn: &mut PgConnection,
    period: Month,
    as_of: Instant,
    after: Option<(AccountId, SubscriptionId)>,
    limit: i64,
) -> Result<Vec<Assessed>, Error> {
    let (account, subscription) =
        after.map_or((Uuid::nil(), Uuid::nil()), |(account, subscription)| (account.0, subscription.0));
    let rows: Vec<AssessedRow> = sqlx::query_as(
        r"SELECT account_id, subscription_id, plan, terms_version, promise, counted_micros, mailboxes, affected_mailboxes, currency,
                 amount_minor, blockers, inputs_hash
          FROM assessment
          WHERE period = $1 AND recorded_as_of = $2 AND (account_id, subscription_id) > ($3, $4)
          ORDER BY account_id, subscription_id LIMIT $5",
    )
    .bind(period.to_string())
    .bind(as_of.utc())
    .bind(account)
    .bind(subscription)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(assessed).collect()
}

fn assessed(row: AssessedRow) -> Result<Assessed, Error> {
    Ok(Assessed {
        account: AccountId(row.account_id),
        subscription: SubscriptionId(row.subscription_id),
        amount: row.amount_minor.map(|minor| money(minor, &row.currency, "assessment.amount_minor")).transpose()?,
        plan: row.plan,
        terms_version: row.terms_version,
        promise: row.promise,
        counted_micros: row.counted_micros,
        mailboxes: row.mailboxes,
        affected_mailboxes: row.affected_mailboxes,
        currency: row.currency,
        blockers: row.blockers,
        inputs_hash: row
            .inputs_hash
            .try_into()
            .map_err(|_| Error::Corrupt(format!("assessment.inputs_hash of {}", row.account_id)))?,
    })
}
