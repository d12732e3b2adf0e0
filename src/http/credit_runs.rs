//! Assessing a period, and the credit runs proposed from it.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::problem::ProblemBody;
use super::{App, Caller, Json, Keyed, Problem};
use crate::domain::actor::Role;
use crate::domain::ids::CreditRunId;
use crate::domain::period::Month;
use crate::domain::refusal::Refusal;
use crate::flows::approve_credit_run::{ApproveCreditRun, approve_credit_run};
use crate::flows::assess_period::{PeriodAssessed, assess_period};
use crate::flows::propose_credit_run::{CreditRun, ProposeCreditRun, propose_credit_run};
use crate::store::runs;

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

/// Read a credit run
#[utoipa::path(
    get, path = "/v1/credit-runs/{id}", operation_id = "get_credit_run", tag = "credit runs",
    params(("id" = String, Path, description = "The run's id")),
    responses(
        (status = 200, description = "The run", body = CreditRun),
        (status = 404, description = "No such run", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn get(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<CreditRun>, Problem> {
    caller.require(&[Role::Supervisor, Role::Finance, Role::Auditor])?;
    let mut conn = app.pool.acquire().await.map_err(crate::store::Error::from)?;
    let run = runs::find(&mut conn, run_id(&id)?).await?.ok_or_else(|| Refusal::not_found("credit run", &id))?;
    let tally = runs::tally(&mut conn, run.id).await?;
    Ok(axum::Json(CreditRun::new(&run, tally)))
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

fn run_id(text: &str) -> Result<CreditRunId, Refusal> {
    uuid::Uuid::try_parse(text)
        .map(CreditRunId)
        .map_err(|_| Refusal::not_found("credit run", &text.chars().take(64).collect::<String>()))
}
