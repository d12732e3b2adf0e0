//! What a credit run comes to, for the person who approves it. Reports over all its accounts.

use sqlx::PgConnection;
use uuid::Uuid;

use super::Error;
use crate::domain::ids::AccountId;
use crate::store::runs::{ItemOutcome, Run};

/// One plan's part of a run.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct PlanPart {
    pub plan: String,
    pub accounts: i64,
    pub mailboxes: i64,
    pub total_minor: i64,
}

/// What is credited, by plan; of goodwill, by class, severity and area.
pub async fn by_plan(conn: &mut PgConnection, run: &Run) -> Result<Vec<PlanPart>, Error> {
    Ok(sqlx::query_as(
        r"SELECT coalesce(assessment.plan, item.promise) AS plan, count(DISTINCT item.account_id) AS accounts,
                 coalesce(sum(assessment.affected_mailboxes), 0)::bigint AS mailboxes, sum(item.amount_minor)::bigint AS total_minor
          FROM credit_run_item AS item
          LEFT JOIN assessment ON assessment.account_id = item.account_id AND assessment.subscription_id = item.subscription_id
               AND assessment.period = $2 AND assessment.recorded_as_of = $3
          WHERE item.run_id = $1 AND item.outcome = 'credit' GROUP BY 1 ORDER BY 1",
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
          LEFT JOIN assessment ON assessment.account_id = item.account_id AND assessment.subscription_id = item.subscription_id
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

impl SampleRow {
    fn sample(self) -> Sample {
        Sample {
            account: AccountId(self.account_id),
            plan: self.plan,
            counted_micros: self.counted_micros,
            affected_mailboxes: self.affected_mailboxes,
            amount_minor: self.amount_minor,
        }
    }
}

/// The largest credits of a run.
pub async fn largest(conn: &mut PgConnection, run: &Run, limit: i64) -> Result<Vec<Sample>, Error> {
    let rows: Vec<SampleRow> = sqlx::query_as(
        r"SELECT item.account_id, coalesce(assessment.plan, item.promise) AS plan,
                 coalesce(assessment.counted_micros, 0) AS counted_micros,
                 coalesce(assessment.affected_mailboxes, 0) AS affected_mailboxes, item.amount_minor
          FROM credit_run_item AS item
          LEFT JOIN assessment ON assessment.account_id = item.account_id AND assessment.subscription_id = item.subscription_id
               AND assessment.period = $2 AND assessment.recorded_as_of = $3
          WHERE item.run_id = $1 AND item.outcome = 'credit' ORDER BY item.amount_minor DESC, item.account_id LIMIT $4",
    )
    .bind(run.id.0)
    .bind(run.period.to_string())
    .bind(run.recorded_as_of.utc())
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(SampleRow::sample).collect())
}

/// Credits of a run at random: those whose account and the run's hash give the smallest SHA-256, so that nobody chooses them and
/// everybody sees the same.
pub async fn sample(conn: &mut PgConnection, run: &Run, limit: i64) -> Result<Vec<Sample>, Error> {
    let rows: Vec<SampleRow> = sqlx::query_as(
        r"SELECT item.account_id, coalesce(assessment.plan, item.promise) AS plan,
                 coalesce(assessment.counted_micros, 0) AS counted_micros,
                 coalesce(assessment.affected_mailboxes, 0) AS affected_mailboxes, item.amount_minor
          FROM (SELECT * FROM credit_run_item WHERE run_id = $1 AND outcome = 'credit'
                ORDER BY sha256(uuid_send(account_id) || uuid_send(subscription_id) || $5) LIMIT $4) AS item
          LEFT JOIN assessment ON assessment.account_id = item.account_id AND assessment.subscription_id = item.subscription_id
               AND assessment.period = $2 AND assessment.recorded_as_of = $3
          ORDER BY sha256(uuid_send(item.account_id) || uuid_send(item.subscription_id) || $5)",
    )
    .bind(run.id.0)
    .bind(run.period.to_string())
    .bind(run.recorded_as_of.utc())
    .bind(limit)
    .bind(&run.inputs_hash)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(SampleRow::sample).collect())
}

/// How many credits lie between two of these amounts, which ascend, and what they come to: first those under the first, last
/// those of the last and more. In minor units.
pub async fn bands(conn: &mut PgConnection, run: &Run, edges: &[i64]) -> Result<Vec<(i64, i64)>, Error> {
    let rows: Vec<(i32, i64, i64)> = sqlx::query_as(
        r"SELECT width_bucket(amount_minor, $2::bigint[]), count(*), sum(amount_minor)::bigint
          FROM credit_run_item WHERE run_id = $1 AND outcome = 'credit' GROUP BY 1",
    )
    .bind(run.id.0)
    .bind(edges)
    .fetch_all(conn)
    .await?;
    let mut bands = vec![(0, 0); edges.len() + 1];
    for (band, count, minor) in rows {
        if let Some(slot) = usize::try_from(band).ok().and_then(|band| bands.get_mut(band)) {
            *slot = (count, minor);
        }
    }
    Ok(bands)
}

/// One line of a plan, as people read it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Line {
    pub account_id: Uuid,
    pub subscription_id: Uuid,
    /// The operator's own name for the account.
    pub reference: String,
    pub outcome: String,
    pub amount_minor: i64,
    pub already_minor: i64,
    /// The promise; of goodwill, class, severity and area.
    pub promise: String,
    pub reasons: Vec<String>,
}

/// A page of a run's lines after one of them, by account; `only` narrows it to one outcome.
pub async fn lines(
    conn: &mut PgConnection,
    run: &Run,
    only: Option<ItemOutcome>,
    after: Option<(Uuid, Uuid)>,
    limit: i64,
) -> Result<Vec<Line>, Error> {
    let (account, subscription) = after.unwrap_or((Uuid::nil(), Uuid::nil()));
    Ok(sqlx::query_as(
        r"SELECT item.account_id, item.subscription_id, known.reference, item.outcome, item.amount_minor, item.already_minor,
                 item.promise, item.reasons
          FROM (SELECT * FROM credit_run_item
                WHERE run_id = $1 AND account_id >= $3 AND (account_id, subscription_id) > ($3, $4)
                  AND ($2::text IS NULL OR outcome = $2)
                ORDER BY account_id, subscription_id LIMIT $5) AS item
          CROSS JOIN LATERAL (SELECT reference FROM account WHERE account.account_id = item.account_id
                              ORDER BY recorded_at DESC LIMIT 1) AS known
          ORDER BY item.account_id, item.subscription_id",
    )
    .bind(run.id.0)
    .bind(only.map(ItemOutcome::name))
    .bind(account)
    .bind(subscription)
    .bind(limit)
    .fetch_all(conn)
    .await?)
}

/// How a plan differs from the one that it replaces, in accounts' subscriptions and minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Difference {
    /// Credited now, and not before.
    pub added: i64,
    pub added_minor: i64,
    /// Credited before, and not now.
    pub removed: i64,
    pub removed_minor: i64,
    /// Credited in both, with another amount.
    pub changed: i64,
    pub changed_before_minor: i64,
    pub changed_after_minor: i64,
}

pub async fn difference(conn: &mut PgConnection, old: Uuid, new: Uuid) -> Result<Difference, Error> {
    Ok(sqlx::query_as(
        r"SELECT count(*) FILTER (WHERE before IS NULL) AS added,
                 coalesce(sum(after) FILTER (WHERE before IS NULL), 0)::bigint AS added_minor,
                 count(*) FILTER (WHERE after IS NULL) AS removed,
                 coalesce(sum(before) FILTER (WHERE after IS NULL), 0)::bigint AS removed_minor,
                 count(*) FILTER (WHERE before <> after) AS changed,
                 coalesce(sum(before) FILTER (WHERE before <> after), 0)::bigint AS changed_before_minor,
                 coalesce(sum(after) FILTER (WHERE before <> after), 0)::bigint AS changed_after_minor
          FROM (SELECT account_id, subscription_id, amount_minor AS before FROM credit_run_item
                WHERE run_id = $1 AND outcome = 'credit') AS old
          FULL JOIN (SELECT account_id, subscription_id, amount_minor AS after FROM credit_run_item
                     WHERE run_id = $2 AND outcome = 'credit') AS new USING (account_id, subscription_id)",
    )
    .bind(old)
    .bind(new)
    .fetch_one(conn)
    .await?)
}

/// One line that differs between two plans. Outcomes are none where a plan has no such line.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Differs {
    pub reference: String,
    pub before_outcome: Option<String>,
    pub before_minor: Option<i64>,
    pub before_reasons: Option<Vec<String>>,
    pub after_outcome: Option<String>,
    pub after_minor: Option<i64>,
    pub after_reasons: Option<Vec<String>>,
}

/// The lines that differ in outcome or amount, the largest change first.
pub async fn differing(conn: &mut PgConnection, old: Uuid, new: Uuid, limit: i64) -> Result<Vec<Differs>, Error> {
    Ok(sqlx::query_as(
        r"SELECT known.reference, line.before_outcome, line.before_minor, line.before_reasons, line.after_outcome, line.after_minor,
                 line.after_reasons
          FROM (SELECT account_id, before_outcome, before_minor, before_reasons, after_outcome, after_minor, after_reasons
                FROM (SELECT account_id, subscription_id, outcome AS before_outcome, amount_minor AS before_minor,
                             reasons AS before_reasons
                      FROM credit_run_item WHERE run_id = $1) AS old
                FULL JOIN (SELECT account_id, subscription_id, outcome AS after_outcome, amount_minor AS after_minor,
                                  reasons AS after_reasons
                           FROM credit_run_item WHERE run_id = $2) AS new USING (account_id, subscription_id)
                WHERE before_outcome IS DISTINCT FROM after_outcome OR before_minor IS DISTINCT FROM after_minor
                ORDER BY abs(coalesce(after_minor, 0) - coalesce(before_minor, 0)) DESC, account_id, subscription_id
                LIMIT $3) AS line
          CROSS JOIN LATERAL (SELECT reference FROM account WHERE account.account_id = line.account_id
                              ORDER BY recorded_at DESC LIMIT 1) AS known",
    )
    .bind(old)
    .bind(new)
    .bind(limit)
    .fetch_all(conn)
    .await?)
}
