//! Accounting periods: the first open day, how far each period is closed, and what was open when it closed.

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Error;
use super::evidence::instant;
use crate::domain::accounting::PeriodState;
use crate::domain::claim::{Decision, Opinion};
use crate::domain::ids::AccountId;
use crate::domain::period::Month;
use crate::domain::time::Instant;

/// The first day on which a posting may take effect. Until commit no period can close: whoever posts asks here first.
pub async fn open_from(conn: &mut PgConnection) -> Result<NaiveDate, Error> {
    Ok(sqlx::query_scalar(r"SELECT open_from FROM books_open WHERE id = 1 FOR SHARE").fetch_one(conn).await?)
}

/// The first open day as it is now, for who only looks.
pub async fn shown_open_from(conn: &mut PgConnection) -> Result<NaiveDate, Error> {
    Ok(sqlx::query_scalar(r"SELECT open_from FROM books_open WHERE id = 1").fetch_one(conn).await?)
}

/// Waits for everybody who is posting, and keeps others waiting until commit. A lock on the table and not on its row: those who
/// come later queue behind it, so that a busy day cannot keep a period open.
pub async fn freeze(conn: &mut PgConnection) -> Result<(), Error> {
    sqlx::query(r"LOCK TABLE books_open IN EXCLUSIVE MODE").execute(conn).await?;
    Ok(())
}

/// Closes everything before `day`. The books are frozen.
pub async fn open_on(conn: &mut PgConnection, day: NaiveDate) -> Result<(), Error> {
    sqlx::query(r"UPDATE books_open SET open_from = $1 WHERE id = 1").bind(day).execute(conn).await?;
    Ok(())
}

/// One step of a period on its way to be locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub period: Month,
    pub state: PeriodState,
    pub at: Instant,
    pub by: String,
    pub by_name: String,
    /// Who began to close the period.
    pub closed_by: String,
    pub balance_hash: Option<Vec<u8>>,
    /// What the provisions were posted under.
    pub document: Option<Uuid>,
}

#[derive(sqlx::FromRow)]
struct StepRow {
    period: String,
    state: String,
    at: DateTime<Utc>,
    by: String,
    by_name: String,
    closed_by: String,
    balance_hash: Option<Vec<u8>>,
    document: Option<Uuid>,
}

impl StepRow {
    fn step(self) -> Result<Step, Error> {
        let damaged = |column: &str| Error::Corrupt(format!("accounting_step.{column} of {}", self.period));
        Ok(Step {
            period: self.period.parse().map_err(|_| damaged("period"))?,
            state: PeriodState::parse(&self.state).ok_or_else(|| damaged("state"))?,
            at: instant(self.at, "accounting_step.at")?,
            by: self.by,
            by_name: self.by_name,
            closed_by: self.closed_by,
            balance_hash: self.balance_hash,
            document: self.document,
        })
    }
}

/// The steps of all periods, the newest period first, and of each the newest step first.
pub async fn steps(conn: &mut PgConnection) -> Result<Vec<Step>, Error> {
    let rows: Vec<StepRow> = sqlx::query_as(
        r"SELECT period, state, at, by, by_name, closed_by, balance_hash, document
          FROM accounting_step ORDER BY period DESC, state DESC LIMIT 480",
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(StepRow::step).collect()
}

pub async fn insert_step(conn: &mut PgConnection, step: &Step) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO accounting_step (period, state, at, by, by_name, closed_by, balance_hash, document)
          VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(step.period.to_string())
    .bind(step.state.name())
    .bind(step.at.utc())
    .bind(&step.by)
    .bind(&step.by_name)
    .bind(&step.closed_by)
    .bind(&step.balance_hash)
    .bind(step.document)
    .execute(conn)
    .await?;
    Ok(())
}

/// The month of the first posting; none in empty books.
pub async fn first_month(conn: &mut PgConnection) -> Result<Option<NaiveDate>, Error> {
    Ok(sqlx::query_scalar(r"SELECT min(effective_on) FROM transfer").fetch_one(conn).await?)
}

/// What terms pay an account for a month and nobody has credited yet: the newest assessment less what was given.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct OpenPromise {
    pub account_id: Uuid,
    pub subscription_id: Uuid,
    pub period: String,
    pub currency: String,
    pub minor: i64,
}

/// What is open of months up to `through`, by account. A sum that nobody can say yet is not among them. Given is what the books of those
/// months say: a credit that takes effect later is not given yet, and one that was taken back is open again only when that was posted,
/// which for a cancellation is when billing answers it.
pub async fn open_promises(conn: &mut PgConnection, through: Month) -> Result<Vec<OpenPromise>, Error> {
    Ok(sqlx::query_as(
        r"WITH newest AS (
              SELECT period, max(recorded_as_of) AS as_of FROM assessment_run
              WHERE finished_at IS NOT NULL AND period <= $1 GROUP BY period
          ), given AS (
              SELECT account_id, subscription_id, to_char(service_from, 'YYYY-MM') AS period, currency,
                     credit.gross_minor - coalesce(taken.minor, 0) AS minor
              FROM credit
              LEFT JOIN (SELECT account_id, credit_id, sum(minor) AS minor
                         FROM (SELECT account_id, credit_id, gross_minor AS minor FROM credit_deed
                               WHERE kind IN ('debited', 'written_off') AND done_on <= $2
                               UNION ALL
                               SELECT account_id, credit_id, gross_minor FROM billing_answer
                               WHERE kind = 'cancelled' AND answered_on <= $2) AS back
                         GROUP BY account_id, credit_id) AS taken USING (account_id, credit_id)
              WHERE road = 'contract' AND subscription_id IS NOT NULL AND effective_on <= $2
              UNION ALL
              SELECT account_id, subscription_id, period, currency, amount_minor
              FROM (SELECT DISTINCT ON (account_id, reference) * FROM given_elsewhere
                    ORDER BY account_id, reference, recorded_at DESC) last
              WHERE kind = 'contract'
          ), sums AS (
              SELECT account_id, subscription_id, period, currency, sum(minor)::bigint AS minor FROM given
              GROUP BY account_id, subscription_id, period, currency
          )
          SELECT due.account_id, due.subscription_id, due.period, due.currency,
                 due.amount_minor - coalesce(sums.minor, 0) AS minor
          FROM newest
          JOIN assessment AS due ON due.period = newest.period AND due.recorded_as_of = newest.as_of
          LEFT JOIN sums ON sums.account_id = due.account_id AND sums.subscription_id = due.subscription_id
                        AND sums.period = due.period AND sums.currency = due.currency
          WHERE due.amount_minor > coalesce(sums.minor, 0)
          ORDER BY due.account_id, due.period, due.subscription_id",
    )
    .bind(through.to_string())
    .bind(through.last_day())
    .fetch_all(conn)
    .await?)
}

/// A claim that may still cost something.
#[derive(Clone, Debug)]
pub struct OpenClaim {
    pub account: AccountId,
    pub claim: Uuid,
    pub currency: String,
    pub asked_minor: Option<i64>,
    pub recommendation: Option<Opinion>,
    pub decision: Option<Decision>,
}

#[derive(sqlx::FromRow)]
struct ClaimRow {
    account_id: Uuid,
    claim_id: Uuid,
    currency: String,
    asked_minor: Option<i64>,
    recommendation: Option<Value>,
    decision: Option<Value>,
}

/// The claims that were filed before `before` and are not answered, or answered and not posted.
pub async fn open_claims(conn: &mut PgConnection, before: Instant) -> Result<Vec<OpenClaim>, Error> {
    let rows: Vec<ClaimRow> = sqlx::query_as(
        r"SELECT account_id, claim_id, currency, asked_minor, recommendation, decision FROM claim
          WHERE filed_at < $1 AND (state IN ('submitted', 'in_review', 'awaiting_second') OR posts_at IS NOT NULL)
          ORDER BY account_id, claim_id",
    )
    .bind(before.utc())
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let damaged = |column: &str| Error::Corrupt(format!("claim.{column} of {}", row.claim_id));
            Ok(OpenClaim {
                account: AccountId(row.account_id),
                claim: row.claim_id,
                recommendation: row
                    .recommendation
                    .map(serde_json::from_value)
                    .transpose()
                    .map_err(|_| damaged("recommendation"))?,
                decision: row.decision.map(serde_json::from_value).transpose().map_err(|_| damaged("decision"))?,
                currency: row.currency,
                asked_minor: row.asked_minor,
            })
        })
        .collect()
}

/// One line of the list behind a period's provisions.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Provision {
    pub account_id: Uuid,
    pub cause: String,
    pub code: String,
    pub currency: String,
    pub amount_minor: i64,
}

pub async fn insert_provisions(conn: &mut PgConnection, period: Month, rows: &[Provision]) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO provision (account_id, period, cause, code, currency, amount_minor)
          SELECT account_id, $1, cause, code, currency, amount_minor
          FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::bigint[])
               AS row (account_id, cause, code, currency, amount_minor)",
    )
    .bind(period.to_string())
    .bind(rows.iter().map(|row| row.account_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.cause.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.code.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.currency.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.amount_minor).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// What a period's provisions come to.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct ProvisionSum {
    pub period: String,
    pub code: String,
    pub currency: String,
    pub items: i64,
    pub minor: i64,
}

/// The provisions of all periods, summed by account of the books and currency.
pub async fn provision_sums(conn: &mut PgConnection) -> Result<Vec<ProvisionSum>, Error> {
    Ok(sqlx::query_as(
        r"SELECT period, code, currency, count(*) AS items, sum(amount_minor)::bigint AS minor
          FROM provision GROUP BY period, code, currency ORDER BY period, currency, code",
    )
    .fetch_all(conn)
    .await?)
}
