//! Doors for incidents: listed, shown with what is at stake, named and ended.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::{Path, State};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};

use super::outages::as_seen_by;
use super::problem::ProblemBody;
use super::{App, Caller, Keyed, Problem, Query, limit};
use crate::domain::actor::Role;
use crate::domain::ids::{AccountId, WindowId};
use crate::domain::incident::{self, Ends};
use crate::domain::money::{Currency, Money};
use crate::domain::period::Month;
use crate::domain::refusal::Refusal;
use crate::domain::time::Instant;
use crate::domain::window::OutageWindow;
use crate::flows::once::Answer;
use crate::flows::propose_credit_run::MoneyOnWire;
use crate::flows::record_incident::{RecordIncident, record_incident};
use crate::store::inputs::{self, Evidence};
use crate::store::windows::{self, Recorded};
use crate::store::{Error, accounts, evidence, incidents, operator};

const READERS: [Role; 6] = [Role::Operations, Role::Agent, Role::Supervisor, Role::Finance, Role::Auditor, Role::Admin];

/// Of how many accounts the money is worked out; all are counted.
const LOOKED_AT: i64 = 1_000;

#[derive(Debug, Serialize, ToSchema)]
pub struct IncidentInList {
    #[schema(example = "INC-2026-031")]
    pub name: String,
    /// Null while nobody gave it one.
    pub title: Option<String>,
    #[schema(value_type = String)]
    pub began: Instant,
    /// Outages that were not taken back.
    pub outages: i64,
    pub goes_on: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct IncidentPage {
    /// The latest start first.
    pub data: Vec<IncidentInList>,
    pub has_more: bool,
    /// What to ask for as `after`; null at the end.
    pub next: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ListIncidents {
    /// 1 to 500; 50 unless given.
    limit: Option<i64>,
    /// `next` of the page before.
    after: Option<String>,
}

/// An incident with what is at stake now.
#[derive(Debug, Serialize, ToSchema)]
pub struct IncidentBody {
    #[schema(example = "INC-2026-031")]
    pub name: String,
    pub title: Option<String>,
    /// Null where no outage belongs to it yet.
    #[schema(value_type = Option<String>)]
    pub began: Option<Instant>,
    /// When the service worked again; null while it does not.
    #[schema(value_type = Option<String>)]
    pub restored_at: Option<Instant>,
    /// When all that had waited was delivered; null while it is not, or nobody said.
    #[schema(value_type = Option<String>)]
    pub caught_up_at: Option<Instant>,
    pub outages: Vec<Recorded>,
    pub accounts_affected: i64,
    pub mailboxes_affected: i64,
    /// The period that the money is of: that of its end, or of now.
    #[schema(value_type = String, example = "2026-10")]
    pub period: Month,
    /// Of how many of the accounts the money was worked out: at most 1,000.
    pub accounts_looked_at: usize,
    /// Those for which no sum could be begun, such as for missing terms.
    pub accounts_without_sum: usize,
    /// Why not, and of how many. An account may be counted under several.
    pub why_without_sum: Vec<WithoutSum>,
    /// By plan. It is of all outages of the period, but for `because_of_it`.
    pub at_stake: Vec<PlanStake>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct WithoutSum {
    /// `terms_missing:` and the plan, `subscription_changed`, or `no_subscription`.
    #[schema(example = "terms_missing:business")]
    pub why: String,
    pub accounts: usize,
}

/// What an incident comes to for the accounts of one plan that were looked at.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanStake {
    #[schema(example = "business")]
    pub plan: String,
    pub accounts: usize,
    /// What they would be credited for the period if it ended now.
    #[schema(value_type = MoneyOnWire)]
    pub if_it_ended_now: Money,
    /// The part of that which is because of this incident.
    #[schema(value_type = MoneyOnWire)]
    pub because_of_it: Money,
    /// Whole minutes until somebody is owed more; null where it does not go on, or nobody will be before the period ends.
    #[schema(example = 35)]
    pub minutes_to_next: Option<i64>,
    /// How many are owed more by then.
    pub accounts_stepping_up: Option<usize>,
}

/// List incidents
#[utoipa::path(
    get, path = "/v1/incidents", operation_id = "list_incidents", tag = "outages", params(ListIncidents),
    responses(
        (status = 200, description = "One page", body = IncidentPage),
        (status = 403, description = "Not staff", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The limit or the cursor is not valid", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<ListIncidents>,
) -> Result<axum::Json<IncidentPage>, Problem> {
    caller.require(&READERS)?;
    let limit = limit(query.limit, 50, 500)?;
    let after = query.after.as_deref().map(cursor).transpose()?;
    let mut conn = app.pool.acquire().await.map_err(Error::from)?;
    let after = after.as_ref().map(|(began, name)| (*began, name.as_str()));
    let mut known = incidents::list(&mut conn, after, limit + 1).await?;
    let has_more = i64::try_from(known.len()).unwrap_or(i64::MAX) > limit;
    if has_more {
        known.pop();
    }
    let written = |last: &incidents::Known| URL_SAFE_NO_PAD.encode(format!("{}.{}", last.began.micros(), last.name));
    let next = known.last().filter(|_| has_more).map(written);
    let shown = |one: incidents::Known| IncidentInList {
        name: one.name,
        title: one.title,
        began: one.began,
        outages: one.windows,
        goes_on: one.goes_on,
    };
    Ok(axum::Json(IncidentPage { data: known.into_iter().map(shown).collect(), has_more, next }))
}

fn cursor(text: &str) -> Result<(Instant, String), Refusal> {
    let read = || {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let (began, name) = text.split_once('.')?;
        Some((Instant::from_micros(began.parse().ok()?)?, name.to_owned()))
    };
    read().ok_or_else(|| Refusal::field("/query/after", "not a cursor of this list; start again without it"))
}

/// Say what an incident is called and when it was over
///
/// All of it each time: what is said here stands in the place of what was said before, which is kept.
#[utoipa::path(
    post, path = "/v1/incidents", operation_id = "record_incident", tag = "outages",
    params(("Idempotency-Key" = String, Header, description = "Your own; the same one on a retry")),
    request_body = RecordIncident,
    responses(
        (status = 201, description = "Recorded", body = RecordIncident),
        (status = 403, description = "Not operations", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "Not valid", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn record(
    State(app): State<App>,
    caller: Caller,
    Keyed { key, body }: Keyed<RecordIncident>,
) -> Result<Answer, Problem> {
    let actor = caller.require(&[Role::Operations])?;
    Ok(record_incident(&app.pool, app.clock.now(), actor, &key, body).await?)
}

/// Show an incident with what is at stake
///
/// Accounts and mailboxes are counted over all; the money is worked out for up to 1,000 accounts, and the answer says for how many.
#[utoipa::path(
    get, path = "/v1/incidents/{name}", operation_id = "get_incident", tag = "outages",
    params(("name" = String, Path, description = "What its outages say as `incident`", example = "INC-2026-031")),
    responses(
        (status = 200, description = "The incident", body = IncidentBody),
        (status = 403, description = "Not staff", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such incident", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The operator is not set up yet", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn get(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<axum::Json<IncidentBody>, Problem> {
    let actor = caller.require(&READERS)?;
    let now = app.clock.now();
    let mut conn = app.pool.acquire().await.map_err(Error::from)?;
    let said = incidents::latest(&mut conn, &name).await?;
    let outages = windows::of_incident(&mut conn, &name).await?;
    if said.is_none() && outages.is_empty() {
        let asked: String = name.chars().take(200).collect();
        return Err(Refusal::not_found("incident", &asked).into());
    }
    let held: Vec<OutageWindow> = outages.iter().map(|one| one.window.clone()).collect();
    let (restored, caught_up) = said.as_ref().map_or((None, None), |said| (said.restored_at, said.caught_up_at));
    let Ends { restored_at, caught_up_at } = incident::ends(&held, restored, caught_up);
    let touched = incidents::touched(&mut conn, &held, now, LOOKED_AT).await?;
    let stake = stake(&mut conn, &held, &touched.first, now).await?;
    let live = held.iter().filter(|window| !window.is_retracted());
    Ok(axum::Json(IncidentBody {
        name,
        title: said.map(|said| said.title),
        began: live.map(|window| window.start).min(),
        restored_at,
        caught_up_at,
        outages: outages.into_iter().map(|one| as_seen_by(actor, one)).collect(),
        accounts_affected: touched.accounts,
        mailboxes_affected: touched.mailboxes,
        period: stake.period,
        accounts_looked_at: touched.first.len(),
        accounts_without_sum: stake.without_sum,
        why_without_sum: stake.why,
        at_stake: stake.by_plan,
    }))
}

struct Staked {
    period: Month,
    without_sum: usize,
    why: Vec<WithoutSum>,
    by_plan: Vec<PlanStake>,
}

/// What the incident comes to for these accounts.
async fn stake(
    conn: &mut PgConnection,
    held: &[OutageWindow],
    affected: &[AccountId],
    now: Instant,
) -> Result<Staked, Error> {
    let operator = operator::get(conn).await?;
    let last = held.iter().filter(|one| !one.is_retracted()).map(|one| one.end.map_or(now, |end| end.plus(-1))).max();
    let period = Month::containing(last.unwrap_or(now).min(now), operator.zone);
    let recorded_as_of = evidence::last_recorded(conn).await?;
    let shared = Evidence::load(conn, &operator, period, recorded_as_of, now).await?;
    let known = accounts::latest_of(conn, affected).await?;
    let batch: Vec<_> = known.into_values().collect();
    let mut without_sum = BTreeSet::new();
    let mut why: BTreeMap<String, BTreeSet<AccountId>> = BTreeMap::new();
    let mut touched = Vec::new();
    let mut silent: BTreeSet<AccountId> = affected.iter().copied().collect();
    for one in inputs::load(conn, &shared, &batch).await? {
        silent.remove(&one.account);
        match one.inputs {
            Some(inputs) => touched.push(incident::Touched { plan: one.plan, inputs }),
            None => {
                without_sum.insert(one.account);
                for blocker in one.blockers {
                    why.entry(blocker).or_default().insert(one.account);
                }
            }
        }
    }
    let ids: Vec<WindowId> = held.iter().map(|window| window.id).collect();
    let until = period.interval(operator.zone).end();
    let stakes: BTreeMap<(String, Currency), incident::Stake> = incident::stakes(&mut touched, &ids, now, until)
        .map_err(|error| Error::Corrupt(format!("an incident cannot be summed up: {error}")))?;
    let mut by_plan = Vec::with_capacity(stakes.len());
    for ((plan, currency), stake) in stakes {
        let money = |minor| {
            Money::from_minor(minor, currency).map_err(|error| Error::Corrupt(format!("what is at stake: {error}")))
        };
        by_plan.push(PlanStake {
            plan,
            accounts: stake.accounts,
            if_it_ended_now: money(stake.minor)?,
            because_of_it: money(stake.of_it_minor)?,
            minutes_to_next: stake.next.map(|next| next.minutes),
            accounts_stepping_up: stake.next.map(|next| next.accounts),
        });
    }
    if !silent.is_empty() {
        without_sum.extend(&silent);
        why.insert("no_subscription".to_owned(), silent);
    }
    let why = why.into_iter().map(|(why, accounts)| WithoutSum { why, accounts: accounts.len() }).collect();
    Ok(Staked { period, without_sum: without_sum.len(), why, by_plan })
}
