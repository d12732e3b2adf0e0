//! Somebody else approves a credit run, by typing the total that they saw.

use serde::Deserialize;
use sqlx::PgPool;

use super::apply_credit_run::BATCH;
use super::once::{Answer, Begun, IdempotencyKey, Once};
use super::propose_credit_run::{CreditRun, refuse_overtaken, refuse_stale};
use super::propose_goodwill::{refuse_changed, related};
use super::{note_refusal, reverse_credit_run};
use crate::domain::actor::{Actor, Role};
use crate::domain::goodwill::Matrix;
use crate::domain::ids::CreditRunId;
use crate::domain::money::Money;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::Instant;
use crate::failpoint;
use crate::store::runs::{Run, RunState};
use crate::store::{Error, Tx, audit, evidence, goodwill, operator, runs};

/// The approver's word.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApproveCreditRun {
    /// The total as it was shown, as digits.
    #[schema(example = "1240.50")]
    pub total: String,
}

/// Approves the run, once: it is then applied exactly as it was proposed.
pub async fn approve_credit_run(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    key: &IdempotencyKey,
    id: CreditRunId,
    request: ApproveCreditRun,
) -> Result<Answer, Error> {
    // Before anything is looked up: whoever may not approve does not learn which runs there are.
    if let Err(refusal) = check_role(actor) {
        note_refusal(pool, audit::NO_ACCOUNT, actor, "credit_run.approve", &id.to_string(), &refusal, now).await?;
        return Err(refusal.into());
    }
    let mut once = match Once::begin(pool, actor, key, now).await? {
        Begun::Replay(answer) => return Ok(answer),
        Begun::New(once) => once,
    };
    let tx = once.tx();
    let operator = operator::get(tx).await?;
    let unknown = || Refusal::not_found("credit run", &id.to_string());
    // All runs for the same are locked in one order, so that two that are approved at once follow one another.
    // The order of evidence comes before them, as it does for everybody: whatever commits before this approval is seen by it.
    let seen = runs::find(tx, id).await?.ok_or_else(unknown)?;
    evidence::settled(tx).await?;
    match (&seen.takes_back, &seen.goodwill) {
        (Some(takes), _) => drop(runs::lock(tx, takes.run).await?),
        (None, None) => drop(runs::lock_period(tx, seen.period).await?),
        (None, Some((subject, _))) => {
            let related = related(tx, subject).await?;
            goodwill::lock_subjects(tx, &related, None).await?;
        }
    }
    let run = runs::lock(tx, id).await?.ok_or_else(unknown)?;
    let mut refusal = check(&run, actor, &request, now).err();
    if refusal.is_none() {
        match (&run.takes_back, &run.goodwill) {
            (Some(takes), _) => refusal = reverse_credit_run::check(tx, &run, takes, actor).await?.err(),
            (None, None) => {
                refuse_stale(tx, &operator, run.period, run.recorded_as_of).await?;
                refuse_overtaken(tx, &run).await?;
            }
            (None, Some((subject, matrix))) => {
                refuse_changed(tx, &run, subject, now).await?;
                refusal = draw(tx, &run, matrix, now).await?.err();
            }
        }
    }
    if let Some(refusal) = refusal {
        drop(once);
        note_refusal(pool, audit::NO_ACCOUNT, actor, "credit_run.approve", &id.to_string(), &refusal, now).await?;
        return Err(refusal.into());
    }
    let approved = Run {
        state: RunState::Approved,
        approved_by: Some(actor.key()),
        approved_by_name: Some(actor.name.clone()),
        approved_at: Some(now),
        ..run
    };
    failpoint::reach("approve_run.before_save").await;
    runs::save(tx, &approved).await?;
    failpoint::reach("approve_run.after_save").await;
    runs::cut_into_batches(tx, id, BATCH).await?;
    failpoint::reach("approve_run.after_batches").await;
    audit::record(
        tx,
        &audit::Entry {
            account: audit::NO_ACCOUNT,
            actor,
            action: "credit_run.approve",
            subject: &id.to_string(),
            detail: serde_json::json!({ "total_minor": approved.total.minor(), "credits": approved.credits }),
            at: now,
        },
    )
    .await?;
    failpoint::reach("approve_run.after_audit").await;
    let tally = runs::tally(tx, id).await?;
    once.finish(202, &CreditRun::new(&approved, tally)).await
}

/// Takes the run's total out of its budget, which the first approval opens.
async fn draw(tx: &mut Tx, run: &Run, matrix: &Matrix, now: Instant) -> Result<Result<(), Refusal>, Error> {
    let name = &matrix.budget.name;
    let amount = Money::parse(&matrix.budget.amount, run.total.currency())
        .map_err(|error| Error::Corrupt(format!("credit_run.matrix of {}: {error}", run.id)))?;
    goodwill::open_budget(tx, name, amount, now).await?;
    if goodwill::draw(tx, name, amount, run.total).await? {
        return Ok(Ok(()));
    }
    let held = goodwill::budget(tx, name).await?.ok_or_else(|| Error::Corrupt(format!("goodwill_budget {name}")))?;
    if held.amount != amount {
        let detail = format!("The budget {name} is {} by now. Propose a run that says so.", held.amount.digits());
        return Ok(Err(Refusal::new(Code::PlanStale, detail)));
    }
    let left = held.amount.minor().saturating_sub(held.given.minor());
    let left = Money::from_minor(left, amount.currency()).map_or_else(|_| String::new(), Money::digits);
    let detail = format!(
        "This run gives {}, and {left} are left of the budget {name}. Propose a smaller one, or name another budget.",
        run.total.digits()
    );
    Ok(Err(Refusal::new(Code::OverLimit, detail)))
}

fn check_role(actor: &Actor) -> Result<(), Refusal> {
    if actor.has(Role::Supervisor) {
        return Ok(());
    }
    Err(Refusal::new(Code::Forbidden, "To approve a credit run needs the role supervisor."))
}

/// Refusals win in this order, after the role: four eyes, state, replaced, expiry, total.
fn check(run: &Run, actor: &Actor, request: &ApproveCreditRun, now: Instant) -> Result<(), Refusal> {
    if run.proposed_by == actor.key() {
        return Err(Refusal::new(Code::FourEyes, "You proposed this, so someone else must approve it."));
    }
    if run.state != RunState::Proposed {
        let by = run.approved_by_name.as_deref().unwrap_or("somebody else");
        return Err(Refusal::new(Code::WrongState, format!("{by} approved this run already.")));
    }
    if let Some(newer) = run.replaced_by {
        return Err(Refusal::new(Code::PlanStale, format!("Plan {newer} stands in the place of this one.")));
    }
    if now >= run.expires_at {
        return Err(Refusal::new(
            Code::PlanExpired,
            format!("This plan expired at {}. Make a new one.", run.expires_at),
        ));
    }
    match Money::parse(request.total.trim(), run.total.currency()) {
        Ok(total) if total == run.total => Ok(()),
        Ok(_) | Err(_) => {
            Err(Refusal::new(Code::TotalDiffers, format!("Type the total exactly as shown: {}", run.total.digits())))
        }
    }
}
