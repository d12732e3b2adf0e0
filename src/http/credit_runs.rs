//! Assessing a period, and the credit runs proposed from it.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::problem::ProblemBody;
use super::run_preview::{CreditRunInFull, RunLine, in_full};
use super::{App, Caller, Json, Keyed, Problem, Query, limit};
use crate::domain::actor::Role;
use crate::domain::ids::CreditRunId;
use crate::domain::period::Month;
use crate::domain::refusal::Refusal;
use crate::flows::approve_credit_run::{ApproveCreditRun, approve_credit_run};
use crate::flows::assess_period::{PeriodAssessed, assess_period};
use crate::flows::propose_credit_run::{CreditRun, ProposeCreditRun, propose_credit_run};
use crate::flows::propose_goodwill::{ProposeGoodwill, propose_goodwill};
use crate::flows::reverse_credit_run::{ReverseCreditRun, reverse_credit_run};
use crate::store::runs::{self, ItemOutcome};
use crate::store::{Error, run_reports};

const READERS: [Role; 3] = [Role::Supervisor, Role::Finance, Role::Auditor];

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AssessPeriod {
    #[schema(value_type = String, example = "2026-10")]
    pub period: Month,
}

/// Assess a period
///
/// Computes every account that a window touched, from what is recorded now. Needs no key: done again over the same
/// evidence it answers the same.
#[utoipa::path(
    post, path = "/v1/assessments", operation_id = "assess_period", tag = "credit runs", request_body = AssessPeriod,
    responses(
        (status = 200, description = "Assessed", body = PeriodAssessed),
        (status = 403, description = "Not your role", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The request is not valid", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn assess(
    State(app): State<App>,
    caller: Caller,
    Json(request): Json<AssessPeriod>,
) -> Result<axum::Json<PeriodAssessed>, Problem> {
    let actor = caller.require(&[Role::Supervisor, Role::Finance, Role::Operations])?;
    Ok(axum::Json(assess_period(&app.pool, app.clock.now(), actor, request.period).await?))
}

/// Propose a credit run
///
/// A saved plan over the newest assessment of the period: what each account gets, who is held back and why. Somebody else
/// approves it.
#[utoipa::path(
    post, path = "/v1/credit-runs", operation_id = "propose_credit_run", tag = "credit runs",
    params(("Idempotency-Key" = String, Header, description = "A value of your own; the same one when you retry")),
    request_body = ProposeCreditRun,
    responses(
        (status = 201, description = "Proposed", body = CreditRun),
        (status = 403, description = "Not your role", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "Too early, not assessed, or assessed before something changed", body = ProblemBody,
         content_type = "application/problem+json"),
        (status = 422, description = "The request is not valid", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn propose(
    State(app): State<App>,
    caller: Caller,
    request: Keyed<ProposeCreditRun>,
) -> Result<Response, Problem> {
    let answer = propose_credit_run(&app.pool, app.clock.now(), &caller.0, &request.key, request.body).await?;
    Ok(answer.into_response())
}

/// Propose goodwill
///
/// A saved plan of what each account that an outage hit is given, by class, severity and area, within a budget. It may be made while
/// the outage is fresh. It is read, approved and applied as every credit run is: `/v1/credit-runs/{id}`.
#[utoipa::path(
    post, path = "/v1/goodwill-runs", operation_id = "propose_goodwill", tag = "credit runs",
    params(("Idempotency-Key" = String, Header, description = "A value of your own; the same one when you retry")),
    request_body = ProposeGoodwill,
    responses(
        (status = 201, description = "Proposed", body = CreditRun),
        (status = 403, description = "Not your role", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such outage", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "Another run for it is being applied", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The matrix is not valid", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn propose_for_goodwill(
    State(app): State<App>,
    caller: Caller,
    request: Keyed<ProposeGoodwill>,
) -> Result<Response, Problem> {
    let answer = propose_goodwill(&app.pool, app.clock.now(), &caller.0, &request.key, request.body).await?;
    Ok(answer.into_response())
}

/// Read a credit run
///
/// With everything that whoever approves it must see: distribution, the largest credits, a random sample, who is held back and why,
/// and how it differs from the plan that it replaces.
#[utoipa::path(
    get, path = "/v1/credit-runs/{id}", operation_id = "get_credit_run", tag = "credit runs",
    params(("id" = String, Path, description = "The run's id")),
    responses(
        (status = 200, description = "The run", body = CreditRunInFull),
        (status = 404, description = "No such run", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn get(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<CreditRunInFull>, Problem> {
    caller.require(&READERS)?;
    let mut conn = app.pool.acquire().await.map_err(Error::from)?;
    let run = runs::find(&mut conn, run_id(&id)?).await?.ok_or_else(|| Refusal::not_found("credit run", &id))?;
    Ok(axum::Json(in_full(&mut conn, &run, app.clock.now()).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ListLines {
    /// Only these: `credit`, `held_back` or `nothing_due`.
    outcome: Option<String>,
    /// 1 to 1,000; 100 unless given.
    limit: Option<i64>,
    /// `next` of the page before.
    after: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct LinePage {
    /// By account.
    pub data: Vec<RunLine>,
    pub has_more: bool,
    /// What to ask for as `after`; null at the end.
    pub next: Option<String>,
}

/// List the lines of a credit run
#[utoipa::path(
    get, path = "/v1/credit-runs/{id}/lines", operation_id = "list_credit_run_lines", tag = "credit runs",
    params(("id" = String, Path, description = "The run's id"), ListLines),
    responses(
        (status = 200, description = "One page", body = LinePage),
        (status = 404, description = "No such run", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The limit, the outcome or the cursor is not valid", body = ProblemBody,
         content_type = "application/problem+json"),
    )
)]
pub async fn lines(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<ListLines>,
) -> Result<axum::Json<LinePage>, Problem> {
    caller.require(&READERS)?;
    let limit = limit(query.limit, 100, 1_000)?;
    let only = match query.outcome.as_deref() {
        None => None,
        Some(name) => Some(
            ItemOutcome::parse(name)
                .ok_or_else(|| Refusal::field("/query/outcome", "credit, held_back or nothing_due"))?,
        ),
    };
    let after = query.after.as_deref().map(cursor).transpose()?;
    let mut conn = app.pool.acquire().await.map_err(Error::from)?;
    let run = runs::find(&mut conn, run_id(&id)?).await?.ok_or_else(|| Refusal::not_found("credit run", &id))?;
    let mut lines = run_reports::lines(&mut conn, &run, only, after, limit + 1).await?;
    let has_more = i64::try_from(lines.len()).unwrap_or(i64::MAX) > limit;
    if has_more {
        lines.pop();
    }
    let written = |last: &run_reports::Line| {
        URL_SAFE_NO_PAD.encode([last.account_id.into_bytes(), last.subscription_id.into_bytes()].concat())
    };
    let next = lines.last().filter(|_| has_more).map(written);
    let currency = run.total.currency();
    let data = lines.into_iter().map(|line| RunLine::new(line, currency)).collect::<Result<_, Error>>()?;
    Ok(axum::Json(LinePage { data, has_more, next }))
}

fn cursor(text: &str) -> Result<(Uuid, Uuid), Refusal> {
    let read = || {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (account, subscription) = bytes.split_at_checked(16)?;
        Some((Uuid::from_slice(account).ok()?, Uuid::from_slice(subscription).ok()?))
    };
    read().ok_or_else(|| Refusal::field("/query/after", "not a cursor of this list; start again without it"))
}

/// Approve a credit run
///
/// By somebody else than its proposer, who types the total. It is then applied exactly as proposed, in the background:
/// read it to see how far it is.
#[utoipa::path(
    post, path = "/v1/credit-runs/{id}/approve", operation_id = "approve_credit_run", tag = "credit runs",
    params(
        ("id" = String, Path, description = "The run's id"),
        ("Idempotency-Key" = String, Header, description = "A value of your own; the same one when you retry"),
    ),
    request_body = ApproveCreditRun,
    responses(
        (status = 202, description = "Approved", body = CreditRun),
        (status = 403, description = "Not your role, or you proposed it", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such run", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "Approved already, expired, or its inputs changed", body = ProblemBody,
         content_type = "application/problem+json"),
        (status = 422, description = "The total is not the one shown", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn approve(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    request: Keyed<ApproveCreditRun>,
) -> Result<Response, Problem> {
    let id = run_id(&id)?;
    let answer = approve_credit_run(&app.pool, app.clock.now(), &caller.0, &request.key, id, request.body).await?;
    app.wake_jobs();
    Ok(answer.into_response())
}

/// Propose to take a credit run back
///
/// What stands of each of its credits. The proposal is a run of its own: read it, and let somebody else who neither proposed nor
/// approved the run itself approve it by its total.
#[utoipa::path(
    post, path = "/v1/credit-runs/{id}/reverse", operation_id = "reverse_credit_run", tag = "credit runs",
    params(
        ("id" = String, Path, description = "The run's id"),
        ("Idempotency-Key" = String, Header, description = "A value of your own; the same one when you retry"),
    ),
    request_body = ReverseCreditRun,
    responses(
        (status = 201, description = "Proposed", body = CreditRun),
        (status = 403, description = "Not your role", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such run", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "Not applied to its end, or nothing of it stands", body = ProblemBody,
         content_type = "application/problem+json"),
        (status = 422, description = "No reason was given", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn reverse(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    request: Keyed<ReverseCreditRun>,
) -> Result<Response, Problem> {
    let id = run_id(&id)?;
    let answer = reverse_credit_run(&app.pool, app.clock.now(), &caller.0, &request.key, id, request.body).await?;
    Ok(answer.into_response())
}

fn run_id(text: &str) -> Result<CreditRunId, Refusal> {
    Uuid::try_parse(text)
        .map(CreditRunId)
        .map_err(|_| Refusal::not_found("credit run", &text.chars().take(64).collect::<String>()))
}
