//! A credit run is proposed: a saved plan of every account that was hit, what it gets, and who is held back and why.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use super::once::{Answer, Begun, IdempotencyKey, Once};
use crate::domain::actor::{Actor, Role};
use crate::domain::credit::Road;
use crate::domain::goodwill::Matrix;
use crate::domain::ids::CreditRunId;
use crate::domain::money::{Currency, Money};
use crate::domain::operator::Operator;
use crate::domain::period::Month;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::{DAY, Instant, SECOND};
use crate::store::assessments::Assessed;
use crate::store::credits::Given;
use crate::store::runs::{ItemOutcome, Run, RunItem, RunState, Tally};
use crate::store::{Error, Tx, assessments, audit, courses, credits, given, operator, runs};

/// What to propose.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProposeCreditRun {
    /// The service period.
    #[schema(value_type = String, example = "2026-10")]
    pub period: Month,
    /// A plan of the same period that this one stands in the place of: reading the new one shows the difference.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    pub replaces: Option<CreditRunId>,
}

/// A run, as it stands.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CreditRun {
    #[schema(value_type = String)]
    pub id: CreditRunId,
    /// `contract` or `goodwill`.
    #[schema(example = "contract")]
    pub road: String,
    /// The service period; of goodwill, the month in which its outage began.
    #[schema(value_type = String, example = "2026-10")]
    pub period: Month,
    /// What goodwill is given for: `incident:` or `outage:` and its name.
    #[schema(example = "incident:INC-2026-031")]
    pub subject: Option<String>,
    /// Of goodwill, its matrix with the budget.
    pub goodwill: Option<Matrix>,
    /// The plan that this one stands in the place of, and the one that stands in the place of this.
    #[schema(value_type = Option<String>)]
    pub replaces: Option<CreditRunId>,
    #[schema(value_type = Option<String>)]
    pub replaced_by: Option<CreditRunId>,
    /// The run whose credits this one takes back, and why. `total` is then what goes out of them.
    #[schema(value_type = Option<String>)]
    pub reverses: Option<CreditRunId>,
    pub reversal_reason: Option<String>,
    pub reversal_note: Option<String>,
    /// `proposed`, `approved` (being applied) or `applied`.
    #[schema(example = "proposed")]
    pub state: String,
    /// The sum of the rounded amounts: what an approver types.
    #[schema(value_type = MoneyOnWire)]
    pub total: Money,
    /// How many credits it issues.
    pub credits: i64,
    /// Accounts that were hit: those that follow, together.
    pub affected_accounts: i64,
    pub credited_accounts: i64,
    pub held_back_accounts: i64,
    pub nothing_due_accounts: i64,
    pub held_back_by_reason: Vec<HeldBack>,
    #[schema(value_type = String)]
    pub recorded_as_of: Instant,
    /// Over every line of the plan.
    pub inputs_hash: String,
    pub proposed_by: String,
    #[schema(value_type = String)]
    pub expires_at: Instant,
    pub approved_by: Option<String>,
}

/// How money stands on the wire.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct MoneyOnWire {
    #[schema(example = "25.00")]
    pub amount: String,
    #[schema(example = "NZD")]
    pub currency: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HeldBack {
    #[schema(example = "missing_charge")]
    pub reason: String,
    pub accounts: i64,
}

impl CreditRun {
    pub fn new(run: &Run, tally: Tally) -> Self {
        CreditRun {
            id: run.id,
            road: run.road.name().to_owned(),
            period: run.period,
            subject: run.goodwill.as_ref().map(|(subject, _)| subject.to_string()),
            goodwill: run.goodwill.as_ref().map(|(_, matrix)| matrix.clone()),
            replaces: run.replaces,
            replaced_by: run.replaced_by,
            reverses: run.takes_back.as_ref().map(|takes| takes.run),
            reversal_reason: run.takes_back.as_ref().map(|takes| takes.reason.clone()),
            reversal_note: run.takes_back.as_ref().map(|takes| takes.note.clone()),
            state: run.state.name().to_owned(),
            total: run.total,
            credits: run.credits,
            affected_accounts: tally.credited + tally.held_back + tally.nothing_due,
            credited_accounts: tally.credited,
            held_back_accounts: tally.held_back,
            nothing_due_accounts: tally.nothing_due,
            held_back_by_reason: tally
                .held_back_by_reason
                .into_iter()
                .map(|(reason, accounts)| HeldBack { reason, accounts })
                .collect(),
            recorded_as_of: run.recorded_as_of,
            inputs_hash: hex::encode(&run.inputs_hash),
            proposed_by: run.proposed_by_name.clone(),
            expires_at: run.expires_at,
            approved_by: run.approved_by_name.clone(),
        }
    }
}

/// Proposes a run over the newest assessment of the period.
pub async fn propose_credit_run(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    key: &IdempotencyKey,
    request: ProposeCreditRun,
) -> Result<Answer, Error> {
    check_role(actor)?;
    let mut once = match Once::begin(pool, actor, key, now).await? {
        Begun::Replay(answer) => return Ok(answer),
        Begun::New(once) => once,
    };
    let tx = once.tx();
    let operator = operator::get(tx).await?;
    let as_of = fresh_assessment(tx, &operator, request.period, now).await?;
    let id = CreditRunId::of(&actor.key(), &key.key);
    let run = plan(tx, id, &operator, &request, as_of, actor, now).await?;
    let detail =
        serde_json::json!({ "period": request.period, "total_minor": run.total.minor(), "credits": run.credits });
    keep(once, &run, actor, detail, now).await
}

/// Saves a plan whose lines are saved, in the place of the one that it replaces, and answers with it.
pub(super) async fn keep(
    mut once: Once,
    run: &Run,
    actor: &Actor,
    detail: serde_json::Value,
    now: Instant,
) -> Result<Answer, Error> {
    let tx = once.tx();
    runs::insert(tx, run).await?;
    if let Some(old) = run.replaces {
        replace(tx, old, run).await?;
    }
    let tally = runs::tally(tx, run.id).await?;
    let (action, subject) = ("credit_run.propose", run.id.to_string());
    let entry = audit::Entry { account: audit::NO_ACCOUNT, actor, action, subject: &subject, detail, at: now };
    audit::record(tx, &entry).await?;
    once.finish(201, &CreditRun::new(run, tally)).await
}

pub fn check_role(actor: &Actor) -> Result<(), Refusal> {
    if actor.has_any(&[Role::Supervisor, Role::Finance]) {
        return Ok(());
    }
    Err(Refusal::new(Code::Forbidden, "To propose a credit run needs the role supervisor or finance."))
}

/// Puts a plan in the place of one for the same that nobody approved.
async fn replace(tx: &mut Tx, old: CreditRunId, new: &Run) -> Result<(), Error> {
    let replaced = runs::lock(tx, old).await?.ok_or_else(|| Refusal::not_found("credit run", &old.to_string()))?;
    let subject = |run: &Run| run.goodwill.as_ref().map(|(subject, _)| subject.clone());
    if replaced.road != new.road || replaced.period != new.period || subject(&replaced) != subject(new) {
        return Err(
            Refusal::field("/replaces", "that run is for something else: a plan replaces one for the same").into()
        );
    }
    if replaced.state != RunState::Proposed || replaced.takes_back.is_some() {
        let detail = format!("Run {old} was approved: it cannot be replaced. Propose a new one without `replaces`.");
        return Err(Refusal::new(Code::WrongState, detail).into());
    }
    if runs::replace(tx, old, new.id).await? {
        return Ok(());
    }
    let detail = format!("Another plan stands in the place of {old} already. Replace that one.");
    Err(Refusal::new(Code::WrongState, detail).into())
}

async fn fresh_assessment(tx: &mut Tx, operator: &Operator, period: Month, now: Instant) -> Result<Instant, Error> {
    let whole = period.interval(operator.zone);
    let from = whole.end().plus(i64::from(operator.assess_after_days) * DAY);
    if now < from {
        let detail = format!("{period} may be credited from {from} on: until then late evidence may still arrive.");
        return Err(Refusal::new(Code::WrongState, detail).into());
    }
    let as_of = assessments::latest_assessment(tx, period).await?.ok_or_else(|| {
        Refusal::new(Code::WrongState, format!("{period} is not assessed yet: POST /v1/assessments first."))
    })?;
    refuse_stale(tx, operator, period, as_of).await?;
    if !runs::lock_period(tx, period).await?.is_empty() {
        let detail = format!("Another run of {period} is being applied. Propose this one when that is done.");
        return Err(Refusal::new(Code::WrongState, detail).into());
    }
    Ok(as_of)
}

/// Refuses a plan that another one overtook: its amounts are what was due less what had been given before that one.
pub async fn refuse_overtaken(tx: &mut Tx, run: &Run) -> Result<(), Error> {
    let is_overtaken = runs::lock_period(tx, run.period).await?.iter().any(|other| *other != run.id)
        || runs::overtaken(tx, run).await? > 0;
    if courses::taken_back_since(tx, run.period.first_day(), run.proposed_at).await? > 0 {
        let detail =
            format!("Credits of {} were taken back since this run was proposed. Propose a new one.", run.period);
        return Err(Refusal::new(Code::PlanStale, detail).into());
    }
    if !is_overtaken {
        return Ok(());
    }
    let detail = format!("Another run of {} was approved since this one was proposed. Propose a new one.", run.period);
    Err(Refusal::new(Code::PlanStale, detail).into())
}

/// Refuses where something that the period rests on was recorded after `as_of`.
pub async fn refuse_stale(tx: &mut Tx, operator: &Operator, period: Month, as_of: Instant) -> Result<(), Error> {
    let whole = period.interval(operator.zone);
    // Accounts in other zones have their months up to a day earlier or later.
    let changed = runs::changed_since(tx, as_of, period, whole.start().plus(-DAY), whole.end().plus(DAY)).await?;
    if changed.is_empty() {
        return Ok(());
    }
    let what: Vec<String> = changed.iter().map(|(kind, count)| format!("{count} {kind}(s)")).collect();
    let detail = format!(
        "What {period} rests on changed after it was assessed ({}). Assess it again and propose a new run; one that \
         `replaces` this shows the difference.",
        what.join(", ")
    );
    Err(Refusal::new(Code::PlanStale, detail).into())
}

/// What a plan is of.
#[derive(Clone, Copy, Debug)]
pub struct PlanOf {
    pub id: CreditRunId,
    pub road: Road,
    pub period: Month,
    pub recorded_as_of: Instant,
    pub currency: Currency,
}

/// What the lines of a plan add up to.
#[derive(Debug)]
pub struct Totals {
    /// Lines that pay, are held back, and have nothing due.
    counts: [i64; 3],
    minor: i64,
    pub hash: Sha256,
}

impl Default for Totals {
    fn default() -> Self {
        Totals { counts: [0; 3], minor: 0, hash: Sha256::new() }
    }
}

impl Totals {
    pub fn add(&mut self, item: &RunItem) -> Result<(), Error> {
        let slot = match item.outcome {
            ItemOutcome::Credit => 0,
            ItemOutcome::HeldBack => 1,
            ItemOutcome::NothingDue => 2,
        };
        self.counts[slot] += 1;
        self.minor =
            self.minor.checked_add(item.amount_minor).ok_or_else(|| Error::Corrupt("a run's total".to_owned()))?;
        Ok(())
    }

    /// The run that `actor` proposes with these lines.
    pub fn proposed(self, of: PlanOf, actor: &Actor, operator: &Operator, now: Instant) -> Result<Run, Error> {
        let PlanOf { id, road, period, recorded_as_of, currency } = of;
        let total = Money::from_minor(self.minor, currency)
            .map_err(|error| Error::Corrupt(format!("a run's total: {error}")))?;
        let [credits, held_back, nothing_due] = self.counts;
        Ok(Run {
            id,
            road,
            period,
            goodwill: None,
            replaces: None,
            replaced_by: None,
            takes_back: None,
            recorded_as_of,
            state: RunState::Proposed,
            total,
            credits,
            held_back,
            nothing_due,
            inputs_hash: self.hash.finalize().to_vec(),
            proposed_by: actor.key(),
            proposed_by_name: actor.name.clone(),
            proposed_at: now,
            expires_at: now.plus(i64::from(operator.run_expiry_seconds) * SECOND),
            approved_by: None,
            approved_by_name: None,
            approved_at: None,
            applied_at: None,
        })
    }
}

async fn plan(
    tx: &mut Tx,
    id: CreditRunId,
    operator: &Operator,
    request: &ProposeCreditRun,
    as_of: Instant,
    actor: &Actor,
    now: Instant,
) -> Result<Run, Error> {
    let period = request.period;
    let mut totals = Totals::default();
    let mut after = None;
    loop {
        let page = assessments::assessed_after(tx, period, as_of, after, 5_000).await?;
        let Some(last) = page.last() else { break };
        after = Some((last.account, last.subscription));
        let accounts: Vec<uuid::Uuid> = page.iter().map(|one| one.account.0).collect();
        let mut given = credits::given_for_period(tx, &accounts, period.first_day()).await?;
        for (cause, minor) in given::by_contract(tx, &accounts, period).await? {
            let known = given.entry(cause).or_default();
            known.minor = known.minor.saturating_add(minor);
        }
        let items: Vec<RunItem> = page
            .iter()
            .map(|one| item(one, given.get(&(one.account, one.subscription)).copied().unwrap_or_default(), operator))
            .collect();
        for (one, item) in page.iter().zip(&items) {
            totals.add(item)?;
            totals.hash.update(one.account.0.as_bytes());
            totals.hash.update(one.subscription.0.as_bytes());
            totals.hash.update(one.inputs_hash);
            totals.hash.update(item.amount_minor.to_be_bytes());
        }
        runs::insert_items(tx, id, &items).await?;
    }
    let of = PlanOf { id, road: Road::Contract, period, recorded_as_of: as_of, currency: operator.currency };
    Ok(Run { replaces: request.replaces, ..totals.proposed(of, actor, operator, now)? })
}

/// What is due now less what was credited for the same cause already, which may be nothing.
fn item(one: &Assessed, given: Given, operator: &Operator) -> RunItem {
    let mut reasons = one.blockers.clone();
    if one.amount.is_some_and(|amount| amount.currency() != operator.currency) {
        reasons.push(format!("other_currency:{}", one.currency));
    }
    let due = one.amount.map_or(0, Money::minor).saturating_sub(given.minor).max(0);
    let outcome = match (reasons.is_empty(), due > 0) {
        (false, _) => ItemOutcome::HeldBack,
        (true, true) => ItemOutcome::Credit,
        (true, false) => ItemOutcome::NothingDue,
    };
    RunItem {
        account: one.account,
        subscription: one.subscription,
        outcome,
        amount_minor: if outcome == ItemOutcome::Credit { due } else { 0 },
        already_minor: given.minor,
        generation: given.times,
        promise: one.promise.clone(),
        reasons,
    }
}
