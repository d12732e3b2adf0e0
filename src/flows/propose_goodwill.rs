//! Goodwill is proposed: a saved plan of what each account that an outage hit is given, by a matrix. It may be made while the
//! outage is fresh, or goes on; a budget gates it when somebody else approves it.

use serde::Deserialize;
use sha2::Digest;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::once::{Answer, Begun, IdempotencyKey, Once};
use super::propose_credit_run::{PlanOf, Totals, check_role, keep};
use crate::domain::actor::Actor;
use crate::domain::credit::{Cause, Road};
use crate::domain::goodwill::{Checked, Matrix, Place, Subject, down};
use crate::domain::ids::{CreditRunId, SubscriptionId, WindowId};
use crate::domain::money::Money;
use crate::domain::operator::Operator;
use crate::domain::period::Month;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::Instant;
use crate::domain::window::OutageWindow;
use crate::store::credits::Given;
use crate::store::goodwill::Hit;
use crate::store::runs::{ItemOutcome, Run, RunItem};
use crate::store::{Error, Tx, evidence, goodwill, operator, runs, shards, windows};

/// How many lines are written at once.
const PAGE: usize = 5_000;

/// What to propose: for one incident or one outage.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProposeGoodwill {
    /// What outages say that they belong to.
    #[schema(example = "INC-2026-031")]
    pub incident: Option<String>,
    /// One outage window's id.
    #[schema(value_type = Option<String>)]
    pub outage: Option<WindowId>,
    pub goodwill: Matrix,
    /// A plan that this one stands in the place of.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    pub replaces: Option<CreditRunId>,
}

/// Proposes what the matrix gives to whom the outage hit, as it is recorded now.
pub async fn propose_goodwill(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    key: &IdempotencyKey,
    request: ProposeGoodwill,
) -> Result<Answer, Error> {
    check_role(actor)?;
    let subject = match (request.incident, request.outage) {
        (Some(name), None) => Subject::Incident(name),
        (None, Some(id)) => Subject::Window(id),
        (None, None) | (Some(_), Some(_)) => {
            return Err(Refusal::field("/incident", "name an incident or an outage, and not both").into());
        }
    };
    let mut once = match Once::begin(pool, actor, key, now).await? {
        Begun::Replay(answer) => return Ok(answer),
        Begun::New(once) => once,
    };
    let tx = once.tx();
    let operator = operator::get(tx).await?;
    let checked = request.goodwill.check(operator.currency).map_err(Refusal::invalid)?;
    let as_of = evidence::settled(tx).await?;
    let windows = windows_of(tx, &subject).await?;
    let Some(began) = windows.iter().filter(|one| !one.is_retracted()).map(|one| one.start).min() else {
        return Err(Refusal::not_found("outage of", &subject.words()).into());
    };
    refuse_other_budget(tx, &checked).await?;
    let related = related(tx, &subject).await?;
    if goodwill::lock_subjects(tx, &related, None).await? > 0 {
        let detail =
            format!("Another run for {} is being applied. Propose this one when that is done.", subject.words());
        return Err(Refusal::new(Code::WrongState, detail).into());
    }
    let id = CreditRunId::of(&actor.key(), &key.key);
    let period = Month::containing(began, operator.zone);
    let totals = plan(tx, id, &operator, &checked, &subject, &windows, as_of, now).await?;
    let of = PlanOf { id, road: Road::Goodwill, period, recorded_as_of: as_of, currency: operator.currency };
    let run = Run {
        goodwill: Some((subject, checked.matrix)),
        replaces: request.replaces,
        ..totals.proposed(of, actor, &operator, now)?
    };
    let detail = serde_json::json!({ "road": "goodwill", "total_minor": run.total.minor(), "credits": run.credits });
    keep(once, &run, actor, detail, now).await
}

/// The newest versions of the windows that goodwill is for.
pub async fn windows_of(tx: &mut Tx, subject: &Subject) -> Result<Vec<OutageWindow>, Error> {
    let recorded = match subject {
        Subject::Incident(name) => windows::of_incident(tx, name).await?,
        Subject::Window(id) => windows::latest(tx, *id).await?.into_iter().collect(),
    };
    Ok(recorded.into_iter().map(|one| one.window).collect())
}

/// A budget's amount is what was approved first.
async fn refuse_other_budget(tx: &mut Tx, checked: &Checked) -> Result<(), Error> {
    let name = &checked.matrix.budget.name;
    match goodwill::budget(tx, name).await? {
        Some(held) if held.amount != checked.budget => {
            let detail = format!("the budget {name} is {}: write that, or name another budget", held.amount.digits());
            Err(Refusal::field("/goodwill/budget/amount", detail).into())
        }
        Some(_) | None => Ok(()),
    }
}

/// What is the same outage under another name: an incident and each window that was ever of it. For one outage goodwill is given once,
/// whatever it was called.
pub async fn related(conn: &mut PgConnection, subject: &Subject) -> Result<Vec<Subject>, Error> {
    let others: Vec<Subject> = match subject {
        Subject::Incident(name) => {
            windows::ever_of_incident(conn, name).await?.into_iter().map(Subject::Window).collect()
        }
        Subject::Window(id) => windows::incidents_ever(conn, *id).await?.into_iter().map(Subject::Incident).collect(),
    };
    Ok(std::iter::once(subject.clone()).chain(others).collect())
}

fn causes(subjects: Vec<Subject>) -> Vec<String> {
    subjects.into_iter().map(|one| Cause::Goodwill(one).to_string()).collect()
}

/// The windows whose versions a plan for `subject` rests on, those among them that were given to another incident since.
pub async fn rests_on(conn: &mut PgConnection, subject: &Subject) -> Result<Vec<Uuid>, Error> {
    Ok(match subject {
        Subject::Incident(name) => {
            windows::ever_of_incident(conn, name).await?.into_iter().map(|window| window.0).collect()
        }
        Subject::Window(id) => vec![id.0],
    })
}

/// Refuses an approval where what goodwill rests on was recorded after the plan, or where another run gave it meanwhile.
pub async fn refuse_changed(tx: &mut Tx, run: &Run, subject: &Subject, now: Instant) -> Result<(), Error> {
    let related = related(tx, subject).await?;
    let others = goodwill::lock_subjects(tx, &related, Some(run.id.0)).await?;
    if others > 0 || goodwill::overtaken(tx, run.id.0, &causes(related)).await? > 0 {
        let detail =
            format!("Another run for {} was approved since this one was proposed. Propose a new one.", subject.words());
        return Err(Refusal::new(Code::PlanStale, detail).into());
    }
    let windows = rests_on(tx, subject).await?;
    let changed = goodwill::changed_since(tx, &windows, run.recorded_as_of, now).await?;
    if changed.is_empty() {
        return Ok(());
    }
    let what: Vec<String> = changed.iter().map(|(kind, count)| format!("{count} {kind}(s)")).collect();
    let detail = format!(
        "What this run rests on changed after it was proposed ({}). Propose a new one that replaces {}: it shows the difference.",
        what.join(", "),
        run.id
    );
    Err(Refusal::new(Code::PlanStale, detail).into())
}

#[expect(clippy::too_many_arguments, reason = "each is something else that a plan rests on")]
async fn plan(
    tx: &mut Tx,
    id: CreditRunId,
    operator: &Operator,
    checked: &Checked,
    subject: &Subject,
    windows: &[OutageWindow],
    as_of: Instant,
    now: Instant,
) -> Result<Totals, Error> {
    let mut totals = Totals::default();
    totals.hash.update(subject.to_string());
    totals.hash.update(crate::domain::chain::canonical(&serde_json::to_value(&checked.matrix).unwrap_or_default()));
    let known: Vec<String> = shards::known(tx).await?.names().collect();
    let hits = goodwill::hit(tx, &down(windows, &known, now), as_of).await?;
    let causes = causes(related(tx, subject).await?);
    for page in hits.chunks(PAGE) {
        let accounts: Vec<Uuid> = page.iter().map(|one| one.account.0).collect();
        let given = goodwill::given(tx, &accounts, &causes).await?;
        let mut items = Vec::with_capacity(page.len());
        for one in page {
            let item = item(one, given.get(&one.account).copied().unwrap_or_default(), checked, operator, now);
            totals.add(&item)?;
            totals.hash.update(one.account.0.as_bytes());
            totals.hash.update(one.down_micros.to_be_bytes());
            totals.hash.update(one.shard.as_bytes());
            totals.hash.update(item.amount_minor.to_be_bytes());
            items.push(item);
        }
        runs::insert_items(tx, id, &items).await?;
    }
    Ok(totals)
}

fn item(one: &Hit, given: Given, checked: &Checked, operator: &Operator, now: Instant) -> RunItem {
    let mut reasons = Vec::new();
    if one.currency != operator.currency.code() {
        reasons.push(format!("other_currency:{}", one.currency));
    }
    if one.closed_on.is_some_and(|day| day <= operator.zone.local(now).date_naive()) {
        reasons.push("account_closed".to_owned());
    }
    let classed = one.subscriptions.iter().filter_map(|(id, plan)| Some((checked.class(plan)?, *id)));
    let best = classed.min_by_key(|(class, _)| *class);
    let area = checked.area(&one.shard);
    let severity = checked.severity(one.down_micros);
    if best.is_none() {
        let plans: Vec<&str> = one.subscriptions.iter().map(|(_, plan)| plan.as_str()).collect();
        reasons.push(format!("class_unknown:{}", plans.join(",")));
    }
    if area.is_none() {
        reasons.push(format!("area_unknown:{}", one.shard));
    }
    let (class, subscription) = best.unwrap_or((0, SubscriptionId(Uuid::nil())));
    let place = area.zip(severity).map(|(area, severity)| Place { class, severity, area });
    let amount = place.and_then(|place| checked.amount(place)).map_or(0, Money::minor);
    // What was given for it before is not given again, nor topped up: one matrix, one answer.
    let outcome = match (reasons.is_empty(), amount > 0 && given.minor == 0) {
        (false, _) => ItemOutcome::HeldBack,
        (true, true) => ItemOutcome::Credit,
        (true, false) => ItemOutcome::NothingDue,
    };
    RunItem {
        account: one.account,
        subscription,
        outcome,
        amount_minor: if outcome == ItemOutcome::Credit { amount } else { 0 },
        already_minor: given.minor,
        generation: given.times,
        promise: place.map_or_else(String::new, |place| checked.words(place)),
        reasons,
    }
}
