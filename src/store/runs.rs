//! Credit runs: saved plans, and what becomes of each subscription in them.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::evidence::instant;
use super::{Error, money};
use crate::domain::credit::Road;
use crate::domain::goodwill::{Matrix, Subject};
use crate::domain::ids::{AccountId, CreditRunId, SubscriptionId};
use crate::domain::money::Money;
use crate::domain::period::Month;
use crate::domain::time::Instant;

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    Proposed,
    /// Approved, and being applied.
    Approved,
    Applied,
}

impl RunState {
    pub fn name(self) -> &'static str {
        match self {
            RunState::Proposed => "proposed",
            RunState::Approved => "approved",
            RunState::Applied => "applied",
        }
    }

    fn parse(name: &str) -> Option<RunState> {
        [RunState::Proposed, RunState::Approved, RunState::Applied].into_iter().find(|state| state.name() == name)
    }
}

/// A credit run: a saved plan, pinned to what was recorded at one time.
#[derive(Clone, Debug)]
pub struct Run {
    pub id: CreditRunId,
    pub road: Road,
    /// The service period; of goodwill, the month in which its outage began.
    pub period: Month,
    /// What goodwill is given for, and its matrix.
    pub goodwill: Option<(Subject, Matrix)>,
    /// The plan that this one stands in the place of, and the one that stands in the place of this.
    pub replaces: Option<CreditRunId>,
    pub replaced_by: Option<CreditRunId>,
    /// Whose credits this one takes back; then its lines are what stands of them.
    pub takes_back: Option<TakesBack>,
    pub recorded_as_of: Instant,
    pub state: RunState,
    pub total: Money,
    pub credits: i64,
    pub held_back: i64,
    pub nothing_due: i64,
    pub inputs_hash: Vec<u8>,
    /// [`crate::domain::actor::Actor::key`], and the name that pages show.
    pub proposed_by: String,
    pub proposed_by_name: String,
    pub proposed_at: Instant,
    pub expires_at: Instant,
    pub approved_by: Option<String>,
    pub approved_by_name: Option<String>,
    pub approved_at: Option<Instant>,
    pub applied_at: Option<Instant>,
}

/// The run that another one takes back, and why: as a code, and in somebody's own words.
#[derive(Clone, Debug)]
pub struct TakesBack {
    pub run: CreditRunId,
    pub reason: String,
    pub note: String,
}

#[derive(sqlx::FromRow)]
struct RunRow {
    run_id: Uuid,
    road: String,
    period: String,
    subject: Option<String>,
    matrix: Option<Value>,
    replaces: Option<Uuid>,
    replaced_by: Option<Uuid>,
    reverses: Option<Uuid>,
    reversal_reason: Option<String>,
    reversal_note: Option<String>,
    recorded_as_of: DateTime<Utc>,
    state: String,
    currency: String,
    total_minor: i64,
    credits: i64,
    held_back: i64,
    nothing_due: i64,
    inputs_hash: Vec<u8>,
    proposed_by: String,
    proposed_by_name: String,
    proposed_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    approved_by: Option<String>,
    approved_by_name: Option<String>,
    approved_at: Option<DateTime<Utc>>,
    applied_at: Option<DateTime<Utc>>,
}

impl RunRow {
    fn run(self) -> Result<Run, Error> {
        let damaged = |column: &str| Error::Corrupt(format!("credit_run.{column} of {}", self.run_id));
        let optional = |at: Option<DateTime<Utc>>, column| at.map(|at| instant(at, column)).transpose();
        Ok(Run {
            id: CreditRunId(self.run_id),
            road: Road::parse(&self.road).ok_or_else(|| damaged("road"))?,
            goodwill: self
                .subject
                .zip(self.matrix)
                .map(|(subject, matrix)| {
                    let subject = Subject::parse(&subject).ok_or_else(|| damaged("subject"))?;
                    Ok::<_, Error>((subject, serde_json::from_value(matrix).map_err(|_| damaged("matrix"))?))
                })
                .transpose()?,
            replaces: self.replaces.map(CreditRunId),
            replaced_by: self.replaced_by.map(CreditRunId),
            takes_back: self.reverses.zip(self.reversal_reason).map(|(run, reason)| TakesBack {
                run: CreditRunId(run),
                reason,
                note: self.reversal_note.unwrap_or_default(),
            }),
            period: self.period.parse().map_err(|_| damaged("period"))?,
            recorded_as_of: instant(self.recorded_as_of, "credit_run.recorded_as_of")?,
            state: RunState::parse(&self.state).ok_or_else(|| damaged("state"))?,
            total: money(self.total_minor, &self.currency, "credit_run.total_minor")?,
            credits: self.credits,
            held_back: self.held_back,
            nothing_due: self.nothing_due,
            inputs_hash: self.inputs_hash,
            proposed_by: self.proposed_by,
            proposed_by_name: self.proposed_by_name,
            proposed_at: instant(self.proposed_at, "credit_run.proposed_at")?,
            expires_at: instant(self.expires_at, "credit_run.expires_at")?,
            approved_by: self.approved_by,
            approved_by_name: self.approved_by_name,
            approved_at: optional(self.approved_at, "credit_run.approved_at")?,
            applied_at: optional(self.applied_at, "credit_run.applied_at")?,
        })
    }
}

pub async fn insert(conn: &mut PgConnection, run: &Run) -> Result<(), Error> {
    let matrix = run.goodwill.as_ref().map(|(_, matrix)| serde_json::to_value(matrix)).transpose();
    let matrix = matrix.map_err(|error| Error::Corrupt(format!("a matrix that is no JSON: {error}")))?;
    sqlx::query(
        r"INSERT INTO credit_run (run_id, road, period, recorded_as_of, state, currency, total_minor, credits, held_back, nothing_due,
                                  inputs_hash, proposed_by, proposed_by_name, proposed_at, expires_at, subject, matrix, replaces,
                                  reverses, reversal_reason, reversal_note)
          VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)",
    )
    .bind(run.id.0)
    .bind(run.road.name())
    .bind(run.period.to_string())
    .bind(run.recorded_as_of.utc())
    .bind(run.state.name())
    .bind(run.total.currency().code())
    .bind(run.total.minor())
    .bind(run.credits)
    .bind(run.held_back)
    .bind(run.nothing_due)
    .bind(&run.inputs_hash)
    .bind(&run.proposed_by)
    .bind(&run.proposed_by_name)
    .bind(run.proposed_at.utc())
    .bind(run.expires_at.utc())
    .bind(run.goodwill.as_ref().map(|(subject, _)| subject.to_string()))
    .bind(matrix)
    .bind(run.replaces.map(|id| id.0))
    .bind(run.takes_back.as_ref().map(|takes| takes.run.0))
    .bind(run.takes_back.as_ref().map(|takes| takes.reason.as_str()))
    .bind(run.takes_back.as_ref().map(|takes| takes.note.as_str()))
    .execute(conn)
    .await?;
    Ok(())
}

/// Says of a plan that another one stands in its place; false where one does already.
pub async fn replace(conn: &mut PgConnection, old: CreditRunId, by: CreditRunId) -> Result<bool, Error> {
    let done = sqlx::query(r"UPDATE credit_run SET replaced_by = $2 WHERE run_id = $1 AND replaced_by IS NULL")
        .bind(old.0)
        .bind(by.0)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn find(conn: &mut PgConnection, id: CreditRunId) -> Result<Option<Run>, Error> {
    let row: Option<RunRow> = sqlx::query_as(
        r"SELECT run_id, road, period, subject, matrix, replaces, replaced_by, reverses, reversal_reason, reversal_note,
                 recorded_as_of, state, currency, total_minor, credits, held_back, nothing_due, inputs_hash, proposed_by, proposed_by_name, proposed_at,
                 expires_at, approved_by, approved_by_name, approved_at, applied_at
          FROM credit_run WHERE run_id = $1",
    )
    .bind(id.0)
    .fetch_optional(conn)
    .await?;
    row.map(RunRow::run).transpose()
}

/// The run, locked until commit: approving and applying it happen one after the other.
pub async fn lock(conn: &mut PgConnection, id: CreditRunId) -> Result<Option<Run>, Error> {
    let row: Option<RunRow> = sqlx::query_as(
        r"SELECT run_id, road, period, subject, matrix, replaces, replaced_by, reverses, reversal_reason, reversal_note,
                 recorded_as_of, state, currency, total_minor, credits, held_back, nothing_due, inputs_hash, proposed_by, proposed_by_name, proposed_at,
                 expires_at, approved_by, approved_by_name, approved_at, applied_at
          FROM credit_run WHERE run_id = $1 FOR UPDATE",
    )
    .bind(id.0)
    .fetch_optional(conn)
    .await?;
    row.map(RunRow::run).transpose()
}

/// All runs, the newest first.
pub async fn list(conn: &mut PgConnection, limit: i64) -> Result<Vec<Run>, Error> {
    let rows: Vec<RunRow> = sqlx::query_as(
        r"SELECT run_id, road, period, subject, matrix, replaces, replaced_by, reverses, reversal_reason, reversal_note,
                 recorded_as_of, state, currency, total_minor, credits, held_back, nothing_due, inputs_hash, proposed_by, proposed_by_name, proposed_at,
                 expires_at, approved_by, approved_by_name, approved_at, applied_at
          FROM credit_run ORDER BY proposed_at DESC, run_id LIMIT $1",
    )
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(RunRow::run).collect()
}

/// Runs that were approved and are not applied to the end.
pub async fn to_apply(conn: &mut PgConnection) -> Result<Vec<CreditRunId>, Error> {
    let ids: Vec<Uuid> =
        sqlx::query_scalar(r"SELECT run_id FROM credit_run WHERE state = 'approved' ORDER BY approved_at")
            .fetch_all(conn)
            .await?;
    Ok(ids.into_iter().map(CreditRunId).collect())
}

/// Saves where the run stands: its state and its approval.
pub async fn save(conn: &mut PgConnection, run: &Run) -> Result<(), Error> {
    sqlx::query(
        r"UPDATE credit_run SET state = $2, approved_by = $3, approved_by_name = $4, approved_at = $5, applied_at = $6
          WHERE run_id = $1",
    )
    .bind(run.id.0)
    .bind(run.state.name())
    .bind(&run.approved_by)
    .bind(&run.approved_by_name)
    .bind(run.approved_at.map(Instant::utc))
    .bind(run.applied_at.map(Instant::utc))
    .execute(conn)
    .await?;
    Ok(())
}

/// What becomes of one subscription in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemOutcome {
    Credit,
    HeldBack,
    NothingDue,
}

impl ItemOutcome {
    pub fn name(self) -> &'static str {
        match self {
            ItemOutcome::Credit => "credit",
            ItemOutcome::HeldBack => "held_back",
            ItemOutcome::NothingDue => "nothing_due",
        }
    }

    pub fn parse(name: &str) -> Option<ItemOutcome> {
        [ItemOutcome::Credit, ItemOutcome::HeldBack, ItemOutcome::NothingDue].into_iter().find(|one| one.name() == name)
    }
}

/// One line of the plan.
#[derive(Clone, Debug)]
pub struct RunItem {
    pub account: AccountId,
    pub subscription: SubscriptionId,
    pub outcome: ItemOutcome,
    /// Minor units that this run gives; above zero for a credit only.
    pub amount_minor: i64,
    /// Minor units that were credited for the same cause before.
    pub already_minor: i64,
    pub generation: i32,
    pub promise: String,
    /// Why it is held back.
    pub reasons: Vec<String>,
}

pub async fn insert_items(conn: &mut PgConnection, run: CreditRunId, items: &[RunItem]) -> Result<(), Error> {
    if items.is_empty() {
        return Ok(());
    }
    let reasons: Vec<serde_json::Value> = items.iter().map(|item| serde_json::json!(item.reasons)).collect();
    sqlx::query(
        r"INSERT INTO credit_run_item (account_id, run_id, subscription_id, outcome, amount_minor, already_minor, generation, promise,
                                       reasons)
          SELECT account_id, $1, subscription_id, outcome, amount_minor, already_minor, generation, promise,
                 ARRAY(SELECT jsonb_array_elements_text(reasons))
          FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::bigint[], $6::bigint[], $7::int[], $8::text[], $9::jsonb[])
               AS item (account_id, subscription_id, outcome, amount_minor, already_minor, generation, promise, reasons)",
    )
    .bind(run.0)
    .bind(items.iter().map(|item| item.account.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.subscription.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.outcome.name()).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.amount_minor).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.already_minor).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.generation).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.promise.as_str()).collect::<Vec<_>>())
    .bind(reasons)
    .execute(conn)
    .await?;
    Ok(())
}

/// Account, subscription, outcome, amount, already given, generation, promise, reasons: found by position, since there are many.
type ItemRow = (Uuid, Uuid, String, i64, i64, i32, String, Vec<String>);

fn item(row: ItemRow) -> Result<RunItem, Error> {
    let (account, subscription, outcome, amount_minor, already_minor, generation, promise, reasons) = row;
    Ok(RunItem {
        account: AccountId(account),
        subscription: SubscriptionId(subscription),
        outcome: ItemOutcome::parse(&outcome)
            .ok_or_else(|| Error::Corrupt(format!("credit_run_item.outcome {outcome}")))?,
        amount_minor,
        already_minor,
        generation,
        promise,
        reasons,
    })
}

/// A part of an approved run: the accounts from `first` on, up to and without `before`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunBatch {
    pub no: i32,
    pub first: AccountId,
    pub before: Option<AccountId>,
}

/// Cuts the credits of a run into batches of `size` accounts.
pub async fn cut_into_batches(conn: &mut PgConnection, run: CreditRunId, size: i64) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO credit_run_batch (run_id, batch_no, first_account, before_account)
          SELECT $1, row_number() OVER in_order, account_id, lead(account_id) OVER in_order
          FROM (SELECT account_id, row_number() OVER (ORDER BY account_id) AS no
                FROM (SELECT DISTINCT account_id FROM credit_run_item WHERE run_id = $1 AND outcome = 'credit') AS credited)
               AS numbered
          WHERE (no - 1) % $2 = 0
          WINDOW in_order AS (ORDER BY account_id)",
    )
    .bind(run.0)
    .bind(size)
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes a batch that is not done and that nobody else is at, until commit.
pub async fn take_batch(conn: &mut PgConnection, run: CreditRunId) -> Result<Option<RunBatch>, Error> {
    let row: Option<(i32, Uuid, Option<Uuid>)> = sqlx::query_as(
        r"SELECT batch_no, first_account, before_account FROM credit_run_batch WHERE run_id = $1 AND done_at IS NULL
          ORDER BY batch_no LIMIT 1 FOR UPDATE SKIP LOCKED",
    )
    .bind(run.0)
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|(no, first, before)| RunBatch { no, first: AccountId(first), before: before.map(AccountId) }))
}

pub async fn end_batch(conn: &mut PgConnection, run: CreditRunId, no: i32, now: Instant) -> Result<(), Error> {
    sqlx::query(r"UPDATE credit_run_batch SET done_at = $3 WHERE run_id = $1 AND batch_no = $2")
        .bind(run.0)
        .bind(no)
        .bind(now.utc())
        .execute(conn)
        .await?;
    Ok(())
}

/// How many batches of a run are not done.
pub async fn batches_left(conn: &mut PgConnection, run: CreditRunId) -> Result<i64, Error> {
    Ok(sqlx::query_scalar(r"SELECT count(*) FROM credit_run_batch WHERE run_id = $1 AND done_at IS NULL")
        .bind(run.0)
        .fetch_one(conn)
        .await?)
}

/// The lines of a batch that pay, in the order of their accounts.
pub async fn credits_of(conn: &mut PgConnection, run: CreditRunId, batch: &RunBatch) -> Result<Vec<RunItem>, Error> {
    let rows: Vec<ItemRow> = sqlx::query_as(
        r"SELECT account_id, subscription_id, outcome, amount_minor, already_minor, generation, promise, reasons
          FROM credit_run_item
          WHERE run_id = $1 AND account_id >= $2 AND ($3::uuid IS NULL OR account_id < $3) AND outcome = 'credit'
          ORDER BY account_id, subscription_id",
    )
    .bind(run.0)
    .bind(batch.first.0)
    .bind(batch.before.map(|account| account.0))
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(item).collect()
}

/// How many accounts a run has in each outcome, by reason for those held back. An account counts once, in its worst.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub credited: i64,
    pub held_back: i64,
    pub nothing_due: i64,
    pub held_back_by_reason: Vec<(String, i64)>,
}

pub async fn tally(conn: &mut PgConnection, run: CreditRunId) -> Result<Tally, Error> {
    let (credited, held_back, nothing_due): (i64, i64, i64) = sqlx::query_as(
        r"SELECT count(*) FILTER (WHERE pays AND NOT held), count(*) FILTER (WHERE held), count(*) FILTER (WHERE NOT pays AND NOT held)
          FROM (
              SELECT bool_or(outcome = 'credit') AS pays, bool_or(outcome = 'held_back') AS held
              FROM credit_run_item WHERE run_id = $1 GROUP BY account_id
          ) AS account",
    )
    .bind(run.0)
    .fetch_one(&mut *conn)
    .await?;
    let held_back_by_reason = sqlx::query_as(
        r"SELECT split_part(reasons[1], ':', 1) AS reason, count(DISTINCT account_id)
          FROM credit_run_item WHERE run_id = $1 AND outcome = 'held_back' GROUP BY 1 ORDER BY 1",
    )
    .bind(run.0)
    .fetch_all(conn)
    .await?;
    Ok(Tally { credited, held_back, nothing_due, held_back_by_reason })
}

/// Whether anything that a period's assessments rest on was recorded after `as_of`: how many windows, placements, charges,
/// subscriptions, versions of terms, accounts that moved to another zone or left on another day, and credits given elsewhere.
/// What was moved out of the period counts as what was moved into it: any version of it that touches the period will do. `start`
/// and `end` are the period in every zone that accounts live in.
pub async fn changed_since(
    conn: &mut PgConnection,
    as_of: Instant,
    period: Month,
    start: Instant,
    end: Instant,
) -> Result<Vec<(&'static str, i64)>, Error> {
    let counts: [i64; 8] = sqlx::query_scalar(
        r"SELECT ARRAY[
                 (SELECT count(*) FROM outage_window AS newer WHERE recorded_at > $1 AND EXISTS (
                     SELECT FROM outage_window AS any_version
                     WHERE any_version.window_id = newer.window_id AND any_version.starts_at < $3
                       AND (any_version.ends_at IS NULL OR any_version.ends_at > $2))),
                 (SELECT count(*) FROM placement WHERE recorded_at > $1 AND valid_from < $3),
                 (SELECT count(*) FROM charge AS newer WHERE recorded_at > $1 AND EXISTS (
                     SELECT FROM charge AS any_version
                     WHERE any_version.account_id = newer.account_id AND any_version.charge_no = newer.charge_no
                       AND any_version.service_from < $3::date AND any_version.service_to > $2::date)),
                 (SELECT count(*) FROM subscription AS newer WHERE recorded_at > $1 AND EXISTS (
                     SELECT FROM subscription AS any_version
                     WHERE any_version.account_id = newer.account_id
                       AND any_version.subscription_id = newer.subscription_id AND any_version.valid_from < $3)),
                 (SELECT count(*) FROM terms_approval AS approved
                  JOIN terms ON terms.plan = approved.plan AND terms.version = approved.version
                  WHERE approved.recorded_at > $1 AND terms.effective_from < $3),
                 (SELECT count(*) FROM account AS newer WHERE recorded_at > $1 AND EXISTS (
                     SELECT FROM account AS earlier
                     WHERE earlier.account_id = newer.account_id AND earlier.recorded_at <= $1 AND earlier.zone <> newer.zone)),
                 (SELECT count(*) FROM account AS newer WHERE recorded_at > $1 AND EXISTS (
                     SELECT FROM account AS earlier
                     WHERE earlier.account_id = newer.account_id AND earlier.recorded_at <= $1
                       AND earlier.closed_on IS DISTINCT FROM newer.closed_on
                       AND least(earlier.closed_on, newer.closed_on) < $3::date)),
                 (SELECT count(*) FROM given_elsewhere AS newer WHERE recorded_at > $1 AND EXISTS (
                     SELECT FROM given_elsewhere AS any_version
                     WHERE any_version.account_id = newer.account_id AND any_version.reference = newer.reference
                       AND any_version.period = $4))]",
    )
    .bind(as_of.utc())
    .bind(start.utc())
    .bind(end.utc())
    .bind(period.to_string())
    .fetch_one(conn)
    .await?;
    let kinds = [
        "outage window",
        "placement",
        "charge",
        "subscription",
        "version of terms",
        "account in another zone",
        "account's last day",
        "credit given elsewhere",
    ];
    Ok(kinds.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect())
}

/// Locks every contract run of a period until commit, in the order of their ids, and gives those that were approved and are not
/// applied to the end: of two that are approved at once, the second sees the first.
pub async fn lock_period(conn: &mut PgConnection, period: Month) -> Result<Vec<CreditRunId>, Error> {
    let rows: Vec<(Uuid, String)> = sqlx::query_as(
        r"SELECT run_id, state FROM credit_run WHERE period = $1 AND road = 'contract' AND reverses IS NULL
              ORDER BY run_id FOR NO KEY UPDATE",
    )
    .bind(period.to_string())
    .fetch_all(conn)
    .await?;
    let approved = rows.into_iter().filter(|(_, state)| state == RunState::Approved.name());
    Ok(approved.map(|(id, _)| CreditRunId(id)).collect())
}

/// How many lines of a run were overtaken: since it was proposed, something was given for the same cause, or taken back.
pub async fn overtaken(conn: &mut PgConnection, run: &Run) -> Result<i64, Error> {
    Ok(sqlx::query_scalar(
        r"SELECT count(*) FROM credit_run_item AS item
          WHERE item.run_id = $1 AND item.outcome = 'credit' AND (item.generation <> (
              SELECT count(*) FROM credit
              WHERE credit.account_id = item.account_id AND credit.subscription_id = item.subscription_id
                AND credit.road = 'contract' AND credit.service_from = $2)
            OR item.generation > 0 AND EXISTS (
              SELECT FROM credit JOIN credit_deed AS deed
                ON deed.account_id = credit.account_id AND deed.credit_id = credit.credit_id
              WHERE credit.account_id = item.account_id AND credit.subscription_id = item.subscription_id
                AND credit.road = 'contract' AND credit.service_from = $2
                AND deed.kind IN ('reversed', 'debited') AND deed.recorded_at > $3))",
    )
    .bind(run.id.0)
    .bind(run.period.first_day())
    .bind(run.proposed_at.utc())
    .fetch_one(conn)
    .await?)
}
