//! What a credit run comes to, for the person who approves it. Reports over all its accounts.

use sqlx::PgConnection;
use uuid::Uuid;

use super::Error;
use crate::domain::ids::AccountId;
use crate::store::runs::Run;

/// One plan's part of a run.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct PlanPart {
    pub plan: String,
    pub accounts: i64,
    pub mailboxes: i64,
    pub total_minor: i64,
}

/// What is credited, by plan.
pub async fn by_plan(conn: &mut PgConnection, run: &Run) -> Result<Vec<PlanPart>, Error> {
    Ok(sqlx::query_as(
        r"SELECT assessment.plan, count(DISTINCT item.account_id) AS accounts,
                 sum(assessment.affected_mailboxes)::bigint AS mailboxes, sum(item.amount_minor)::bigint AS total_minor
          FROM credit_run_item AS item
          JOIN assessment ON assessment.account_id = item.account_id AND assessment.subscription_id = item.subscription_id
               AND assessment.period = $2 AND assessment.recorded_as_of = $3
          WHERE item.run_id = $1 AND item.outcome = 'credit' GROUP BY assessment.plan ORDER BY assessment.plan",
    )
    .bind(run.id.0)
    .bind(run.period.to_string())
    .bind(run.recorded_as_of.utc())
    .fetch_all(conn)
    .await?)
}

/// What the items themselves add up to, beside the run's own figures.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct Figures {
    pub total_minor: i64,
    pub largest_minor: i64,
    /// Credits for a cause that was credited before.
    pub again: i64,
    /// Credits of this run that were issued.
    pub issued: i64,
    pub issued_minor: i64,
}

pub async fn figures(conn: &mut PgConnection, run: &Run) -> Result<Figures, Error> {
    Ok(sqlx::query_as(
        r"SELECT coalesce(sum(item.amount_minor), 0)::bigint AS total_minor,
                 coalesce(max(item.amount_minor), 0) AS largest_minor,
                 count(*) FILTER (WHERE item.outcome = 'credit' AND item.already_minor > 0) AS again,
                 count(credit.credit_id) AS issued,
                 coalesce(sum(credit.gross_minor), 0)::bigint AS issued_minor
          FROM credit_run_item AS item
          LEFT JOIN credit ON credit.account_id = item.account_id AND credit.run_id = item.run_id
               AND credit.subscription_id = item.subscription_id
          WHERE item.run_id = $1",
    )
    .bind(run.id.0)
    .fetch_one(conn)
    .await?)
}

/// The accounts that are held back for one reason.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Held {
    pub reason: String,
    pub accounts: i64,
    /// What they would be given; none where that cannot be said of each.
    pub minor: Option<i64>,
}

/// Who is held back, by the first reason for it.
pub async fn held(conn: &mut PgConnection, run: &Run) -> Result<Vec<Held>, Error> {
    Ok(sqlx::query_as(
        r"SELECT split_part(item.reasons[1], ':', 1) AS reason, count(DISTINCT item.account_id) AS accounts,
                 CASE WHEN bool_and(assessment.amount_minor IS NOT NULL AND cardinality(item.reasons) = 1
                                    AND split_part(item.reasons[1], ':', 1) <> 'missing_charge')
                      THEN sum(assessment.amount_minor)::bigint END AS minor
          FROM credit_run_item AS item
          JOIN assessment ON assessment.account_id = item.account_id AND assessment.subscription_id = item.subscription_id
               AND assessment.period = $2 AND assessment.recorded_as_of = $3
          WHERE item.run_id = $1 AND item.outcome = 'held_back' GROUP BY 1 ORDER BY 1",
    )
    .bind(run.id.0)
    .bind(run.period.to_string())
    .bind(run.recorded_as_of.utc())
    .fetch_all(conn)
    .await?)
}

/// How many credited accounts were down for less than 1, 6, 12, 18 and 24 hours, and for longer.
pub async fn by_hours(conn: &mut PgConnection, run: &Run) -> Result<[i64; 6], Error> {
    let rows: Vec<(i32, i64)> = sqlx::query_as(
        r"SELECT width_bucket(assessment.counted_micros, ARRAY[3600000000, 21600000000, 43200000000, 64800000000, 86400000000]),
                 count(DISTINCT item.account_id)
          FROM credit_run_item AS item
          JOIN assessment ON assessment.account_id = item.account_id AND assessment.subscription_id = item.subscription_id
               AND assessment.period = $2 AND assessment.recorded_as_of = $3
          WHERE item.run_id = $1 AND item.outcome = 'credit' GROUP BY 1",
    )
    .bind(run.id.0)
    .bind(run.period.to_string())
    .bind(run.recorded_as_of.utc())
    .fetch_all(conn)
    .await?;
    let mut buckets = [0; 6];
    for (bucket, count) in rows {
        if let Some(slot) = usize::try_from(bucket).ok().and_then(|bucket| buckets.get_mut(bucket)) {
            *slot = count;
        }
    }
    Ok(buckets)
}

/// One credit of a run, for a look.
#[derive(Clone, Debug, sqlx::FromRow)]
struct SampleRow {
    account_id: Uuid,
    plan: String,
    counted_micros: i64,
    affected_mailboxes: i32,
    amount_minor: i64,
}

#[derive(Clone, Debug)]
pub struct Sample {
    pub account: AccountId,
    pub plan: String,
    pub counted_micros: i64,
    pub affected_mailboxes: i32,
    pub amount_minor: i64,
}

/// The largest credits of a run.
pub async fn largest(conn: &mut PgConnection, run: &Run, limit: i64) -> Result<Vec<Sample>, Error> {
    let rows: Vec<SampleRow> = sqlx::query_as(
        r"SELECT item.account_id, assessment.plan, assessment.counted_micros, assessment.affected_mailboxes, item.amount_minor
          FROM credit_run_item AS item
          JOIN assessment ON assessment.account_id = item.account_id AND assessment.subscription_id = item.subscription_id
               AND assessment.period = $2 AND assessment.recorded_as_of = $3
          WHERE item.run_id = $1 AND item.outcome = 'credit' ORDER BY item.amount_minor DESC, item.account_id LIMIT $4",
    )
    .bind(run.id.0)
    .bind(run.period.to_string())
    .bind(run.recorded_as_of.utc())
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Sample {
            account: AccountId(row.account_id),
            plan: row.plan,
            counted_micros: row.counted_micros,
            affected_mailboxes: row.affected_mailboxes,
            amount_minor: row.amount_minor,
        })
        .collect())
}
