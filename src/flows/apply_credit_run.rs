//! An approved credit run becomes credits, exactly as it was proposed: in batches, each done once, several at a time, going on
//! after a crash.

use std::collections::HashSet;

use chrono::NaiveDate;
use serde_json::json;
use sqlx::PgPool;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::issue_credits::{ToIssue, entry};
use super::reverse_credit_run::reverse_batch;
use crate::domain::accounting::effective;
use crate::domain::books::Code;
use crate::domain::credit::{Cause, credit_id};
use crate::domain::ids::{CreditId, CreditRunId};
use crate::domain::money::Money;
use crate::domain::operator::Operator;
use crate::domain::tax::TaxRule;
use crate::domain::time::Instant;
use crate::failpoint;
use crate::store::credits::{Addressee, Credit, Entry};
use crate::store::runs::{Run, RunBatch, RunItem, RunState};
use crate::store::{Error, Tx, accounting, audit, chart, credits, mass_credits, operator, runs};

/// How many accounts one transaction credits.
pub const BATCH: i64 = 5_000;

/// How many batches of a run one server issues side by side.
pub const WORKERS: usize = 2;

/// The reason codes of what terms pay, and of what is given by a matrix.
pub const REASON: &str = "sla_tier";
pub const GOODWILL: &str = "goodwill";

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// This many credits were issued, or taken back; more may be left.
    Issued(usize),
    /// Others are at all that is left.
    Busy,
    /// The run is applied to its end.
    Done,
}

/// Applies an approved run as far as it goes, with several batches at once, and says how many credits were issued or taken back. `now` is
/// asked before each batch: none ends it there. A batch that was begun is never cut off, and one that fails keeps no other from its end.
pub async fn apply_run(
    pool: &PgPool,
    id: CreditRunId,
    now: impl Fn() -> Option<Instant> + Clone + Send + 'static,
) -> Result<usize, Error> {
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let (pool, now) = (pool.clone(), now.clone());
        workers.spawn(async move {
            let mut issued = 0;
            while let Some(at) = now() {
                match apply_step(&pool, id, at).await? {
                    Step::Issued(count) => issued += count,
                    Step::Busy | Step::Done => break,
                }
            }
            Ok::<usize, Error>(issued)
        });
    }
    let (mut issued, mut failed) = (0, None);
    for ended in workers.join_all().await {
        match ended {
            Ok(count) => issued += count,
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    // Whoever found a batch of the other's not done yet left the end to this.
    if let Some(at) = now() {
        apply_step(pool, id, at).await?;
    }
    Ok(issued)
}

/// Takes one step of an approved run: a batch that nobody else is at, or its end.
pub async fn apply_step(pool: &PgPool, id: CreditRunId, now: Instant) -> Result<Step, Error> {
    let mut tx = pool.begin().await?;
    let Some(run) = runs::find(&mut tx, id).await?.filter(|run| run.state == RunState::Approved) else {
        return Ok(Step::Done);
    };
    let Some(batch) = runs::take_batch(&mut tx, id).await? else {
        return finish(tx, id, now).await;
    };
    failpoint::reach("apply_run.before_issue").await;
    let issued = issue_batch(&mut tx, &run, &batch, now).await?;
    failpoint::reach("apply_run.after_issue").await;
    runs::end_batch(&mut tx, id, batch.no, now).await?;
    failpoint::reach("apply_run.before_commit").await;
    tx.commit().await?;
    failpoint::reach("apply_run.after_commit").await;
    Ok(Step::Issued(issued))
}

/// Issues, or takes back, what the lines of a batch say.
async fn issue_batch(tx: &mut Tx, run: &Run, batch: &RunBatch, now: Instant) -> Result<usize, Error> {
    mass_credits::look_up_by_key(tx).await?;
    let items = runs::credits_of(tx, run.id, batch).await?;
    let operator = operator::get(tx).await?;
    if let Some(takes) = &run.takes_back {
        return reverse_batch(tx, run, takes, &items, &operator, now).await;
    }
    let accounts: Vec<Uuid> = items.iter().map(|item| item.account.0).collect();
    let heads = mass_credits::count_heads_up(tx, &accounts).await?;
    let open_from = accounting::open_from(tx).await?;
    let (_, chart) = chart::newest(tx).await?;
    let reason = if run.goodwill.is_none() { REASON } else { GOODWILL };
    let booking = Booking {
        reason,
        against: chart.account(run.road, reason),
        rule: chart.rule(run.road, reason, &operator.tax),
        effective_on: effective(effective_on(run, &operator, now), open_from),
    };
    let mut addressees = credits::addressees(tx, &accounts).await?;
    let mut all: Vec<Credit> = Vec::with_capacity(items.len());
    for item in &items {
        let addressee = addressees
            .get(&item.account)
            .ok_or_else(|| Error::Corrupt(format!("account has no row for {}", item.account)))?;
        all.push(credit(run, item, addressee, &booking, now)?);
    }
    failpoint::reach("apply_run.before_credits").await;
    let new: HashSet<CreditId> = mass_credits::insert_new(tx, &all).await?;
    failpoint::reach("apply_run.after_credits").await;
    let mut entries: Vec<Entry> = Vec::with_capacity(new.len());
    let mut all = all.into_iter().peekable();
    while let Some(credit) = all.next() {
        // An account's credits follow each other: the last of them takes its addressee away.
        let is_last = all.peek().is_none_or(|next| next.account != credit.account);
        let known = if is_last { addressees.remove(&credit.account) } else { addressees.get(&credit.account).cloned() };
        let Some(addressee) = known.filter(|_| new.contains(&credit.id)) else { continue };
        entries.push(entry(&ToIssue { credit, addressee, claim_reference: None }));
    }
    mass_credits::post(tx, &entries, heads).await?;
    Ok(entries.len())
}

/// Ends the run, unless somebody is at a batch of it.
async fn finish(mut tx: Tx, id: CreditRunId, now: Instant) -> Result<Step, Error> {
    let Some(run) = runs::lock(&mut tx, id).await?.filter(|run| run.state == RunState::Approved) else {
        return Ok(Step::Done);
    };
    if runs::batches_left(&mut tx, id).await? > 0 {
        return Ok(Step::Busy);
    }
    end_run(&mut tx, run, now).await?;
    failpoint::reach("apply_run.before_end").await;
    tx.commit().await?;
    Ok(Step::Done)
}

async fn end_run(tx: &mut Tx, run: Run, now: Instant) -> Result<(), Error> {
    let applied = Run { state: RunState::Applied, applied_at: Some(now), ..run };
    failpoint::reach("apply_run.before_finish").await;
    runs::save(tx, &applied).await?;
    failpoint::reach("apply_run.after_finish").await;
    audit::record(
        tx,
        &audit::Entry {
            account: audit::NO_ACCOUNT,
            actor: &super::system_actor("credit-runs"),
            action: "credit_run.applied",
            subject: &applied.id.to_string(),
            detail: json!({ "credits": applied.credits, "total_minor": applied.total.minor() }),
            at: now,
        },
    )
    .await?;
    Ok(())
}

/// What the credits of a run share in the books.
struct Booking {
    reason: &'static str,
    against: Code,
    rule: TaxRule,
    /// An open day.
    effective_on: NaiveDate,
}

/// The day that a run's credits are dated: the last of the service period; goodwill, when it is given.
fn effective_on(run: &Run, operator: &Operator, now: Instant) -> NaiveDate {
    if run.goodwill.is_none() { run.period.last_day() } else { operator.zone.local(now).date_naive() }
}

/// What a line of a run is credited for.
pub fn cause(run: &Run, item: &RunItem) -> Cause {
    match &run.goodwill {
        None => Cause::Period { subscription: item.subscription, period: run.period, promise: item.promise.clone() },
        Some((subject, _)) => Cause::Goodwill(subject.clone()),
    }
}

fn credit(run: &Run, item: &RunItem, addressee: &Addressee, booking: &Booking, now: Instant) -> Result<Credit, Error> {
    let broken = |error: crate::domain::money::MoneyError| Error::Corrupt(format!("run {}: {error}", run.id));
    let road = run.road;
    let gross = Money::from_minor(item.amount_minor, run.total.currency()).map_err(broken)?;
    let split = booking.rule.split(gross).map_err(broken)?;
    let cause = cause(run, item);
    let of_period = run.goodwill.is_none();
    let generation = u32::try_from(item.generation).unwrap_or(0);
    Ok(Credit {
        account: item.account,
        id: credit_id(item.account, &cause, generation),
        road,
        cause: cause.to_string(),
        generation: item.generation,
        reason: booking.reason.to_owned(),
        against: booking.against,
        gross,
        net: split.net,
        tax: split.tax,
        tax_code: booking.rule.code.clone(),
        tax_rate_bp: booking.rule.rate_bp,
        subscription: Some(item.subscription),
        claim: None,
        run: Some(run.id),
        service: of_period.then(|| (run.period.first_day(), run.period.next().first_day())),
        zone: addressee.zone.clone(),
        effective_on: booking.effective_on,
        issued_at: now,
        issued_by: run.proposed_by.clone(),
        approved_by: run.approved_by.clone().unwrap_or_default(),
    })
}
