//! A whole run is taken back: proposed by one person and approved by another, who types the total, as the run was. What stands of each
//! of its credits is reversed, in batches; what was reversed before stays as it is.

use serde::Deserialize;
use serde_json::json;
use sha2::Digest;
use sqlx::PgPool;
use uuid::Uuid;

use super::apply_credit_run::cause;
use super::once::{Answer, Begun, IdempotencyKey, Once};
use super::propose_credit_run::{CreditRun, PlanOf, Totals};
use super::reverse_credit::{self, Order, note, reverse_in};
use crate::domain::actor::{Actor, Role};
use crate::domain::course::{ReversalReason, TakenBack};
use crate::domain::credit::credit_id;
use crate::domain::ids::CreditRunId;
use crate::domain::operator::Operator;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::Instant;
use crate::store::runs::{Run, RunItem, RunState, TakesBack};
use crate::store::{Error, Tx, audit, operator, run_reversals, runs};

/// Why a run is taken back.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReverseCreditRun {
    pub reason: ReversalReason,
    /// In your words, 1 to 1,000 characters; it is kept.
    #[schema(example = "The outage was another shard's.")]
    pub note: String,
}

/// Proposes to take back what stands of a run's credits. The proposal is a run of its own, approved like one.
pub async fn reverse_credit_run(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    key: &IdempotencyKey,
    id: CreditRunId,
    request: ReverseCreditRun,
) -> Result<Answer, Error> {
    const DEED: &str = "credit_run.reverse";
    reverse_credit::may(pool, actor, &[Role::Finance, Role::Supervisor], DEED, &id.to_string(), now).await?;
    let mut once = match Once::begin(pool, actor, key, now).await? {
        Begun::Replay(answer) => return Ok(answer),
        Begun::New(once) => once,
    };
    let note = note(&request.note)?;
    let tx = once.tx();
    let operator = operator::get(tx).await?;
    let original = runs::lock(tx, id).await?.ok_or_else(|| Refusal::not_found("credit run", &id.to_string()))?;
    if original.takes_back.is_some() {
        let detail = "A reversal cannot be reversed. Where the credits were right after all, propose a new run.";
        return Err(Refusal::new(Code::WrongState, detail).into());
    }
    if original.state != RunState::Applied {
        let detail = format!("Run {id} is not applied to its end, so there is nothing to take back yet.");
        return Err(Refusal::new(Code::WrongState, detail).into());
    }
    let reversal = CreditRunId::of(&actor.key(), &key.key);
    let mut totals = Totals::default();
    totals.hash.update(id.0.as_bytes());
    let (mut after, mut any) = (None, false);
    loop {
        let page = run_reversals::standing_after(tx, id, after, 5_000).await?;
        let Some(last) = page.last() else { break };
        after = Some((last.account, last.subscription));
        for item in &page {
            totals.add(item)?;
            totals.hash.update(item.account.0.as_bytes());
            totals.hash.update(item.subscription.0.as_bytes());
            totals.hash.update(item.amount_minor.to_be_bytes());
            any |= item.amount_minor > 0;
        }
        runs::insert_items(tx, reversal, &page).await?;
    }
    if !any {
        return Err(Refusal::new(Code::WrongState, format!("Nothing of run {id} stands any more.")).into());
    }
    let Run { road, period, recorded_as_of, goodwill, total, .. } = original;
    let of = PlanOf { id: reversal, road, period, recorded_as_of, currency: total.currency() };
    let takes_back = Some(TakesBack { run: id, reason: request.reason.name().to_owned(), note });
    let run = Run { goodwill, takes_back, ..totals.proposed(of, actor, &operator, now)? };
    runs::insert(tx, &run).await?;
    audit::record(
        tx,
        &audit::Entry {
            account: audit::NO_ACCOUNT,
            actor,
            action: DEED,
            subject: &id.to_string(),
            detail: json!({
                "run": reversal, "reason": request.reason.name(), "total_minor": run.total.minor(), "credits": run.credits,
            }),
            at: now,
        },
    )
    .await?;
    let tally = runs::tally(tx, reversal).await?;
    once.finish(201, &CreditRun::new(&run, tally)).await
}

/// Says no to an approval by whoever gave the run itself, and where something of it was taken back, or is being, since this was
/// proposed. Locks the run that is taken back.
pub async fn check(tx: &mut Tx, run: &Run, takes: &TakesBack, actor: &Actor) -> Result<Result<(), Refusal>, Error> {
    let original =
        runs::lock(tx, takes.run).await?.ok_or_else(|| Error::Corrupt(format!("credit_run {}", takes.run)))?;
    let key = actor.key();
    if original.proposed_by == key || original.approved_by.as_ref() == Some(&key) {
        let detail = "You proposed or approved the run itself, so someone else must approve that it is taken back.";
        return Ok(Err(Refusal::new(Code::FourEyes, detail)));
    }
    if run_reversals::being_taken_back(tx, takes.run).await?
        || run_reversals::standing_differs(tx, run.id, takes.run).await?
    {
        let detail =
            format!("Something of run {} was taken back since this was proposed. Propose it again.", takes.run);
        return Ok(Err(Refusal::new(Code::PlanStale, detail)));
    }
    Ok(Ok(()))
}

/// Takes back the credits of one batch, and says how many that were. Done again, it takes back none.
pub async fn reverse_batch(
    tx: &mut Tx,
    run: &Run,
    takes: &TakesBack,
    items: &[RunItem],
    operator: &Operator,
    now: Instant,
) -> Result<usize, Error> {
    let accounts: Vec<Uuid> = items.iter().map(|item| item.account.0).collect();
    let ids: Vec<Uuid> = items
        .iter()
        .map(|item| credit_id(item.account, &cause(run, item), u32::try_from(item.generation).unwrap_or(0)).0)
        .collect();
    let by = run.approved_by.clone().unwrap_or_default();
    let order = Order {
        how: TakenBack::Reversed,
        reason: &takes.reason,
        note: &takes.note,
        by: &by,
        on: operator.zone.local(now).date_naive(),
        at: now,
    };
    let outcomes = reverse_in(tx, &accounts, &ids, &order).await?;
    Ok(outcomes.iter().filter(|(_, taken)| taken.is_ok()).count())
}
