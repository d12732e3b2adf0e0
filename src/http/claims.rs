//! Claims over the API.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{App, Caller, Keyed, Problem};
use crate::domain::actor::Role;
use crate::domain::claim::{self, Claim, Ground};
use crate::domain::ids::ClaimId;
use crate::domain::money::Money;
use crate::domain::refusal::Refusal;
use crate::domain::time::Instant;
use crate::flows::act_on_claim::{ActOnClaim, Acted, act_on_claim};
use crate::flows::file_claim::{FileClaim, Filed, file_claim};
use crate::flows::propose_credit_run::MoneyOnWire;
use crate::http::problem::ProblemBody;
use crate::store::{claims, credits, customer};

/// A claim as its customer or the staff may see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClaimView {
    #[schema(example = "MG-2026-004187")]
    pub id: String,
    /// The operator's reference of the account.
    #[schema(example = "20418876")]
    pub account: String,
    pub state: claim::State,
    #[schema(example = 1)]
    pub version: i32,
    pub ground: Ground,
    #[schema(example = "INC-2026-031")]
    pub incident: Option<String>,
    pub words: String,
    #[schema(value_type = Option<MoneyOnWire>)]
    pub asked: Option<Money>,
    /// What was given; none while it is open.
    #[schema(value_type = Option<MoneyOnWire>)]
    pub given: Option<Money>,
    /// What the customer was told.
    pub told: Option<String>,
    #[schema(value_type = String)]
    pub filed_at: Instant,
    #[schema(value_type = String)]
    pub due_at: Instant,
    #[schema(value_type = Option<String>)]
    pub decided_at: Option<Instant>,
    /// From then on the decision cannot be undone.
    #[schema(value_type = Option<String>)]
    pub posts_at: Option<Instant>,
    #[schema(value_type = Option<String>)]
    pub posted_at: Option<Instant>,
}

impl ClaimView {
    fn new(claim: Claim, account: String) -> Self {
        let decision = claim.decision;
        ClaimView {
            id: claim.reference,
            account,
            state: claim.state,
            version: claim.version,
            ground: claim.ground,
            incident: claim.incident,
            words: claim.words,
            asked: claim.asked,
            given: decision.as_ref().map(|decision| decision.opinion.amount),
            told: decision.as_ref().map(|decision| decision.opinion.words.clone()),
            filed_at: claim.filed_at,
            due_at: claim.due_at,
            decided_at: decision.as_ref().map(|decision| decision.decided_at),
            posts_at: decision.as_ref().map(|decision| decision.posts_at),
            posted_at: decision.and_then(|decision| decision.posted_at),
        }
    }
}

/// A page of claims.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClaimPage {
    pub data: Vec<ClaimView>,
    pub has_more: bool,
    /// Send it as `after`; none on the last page.
    pub next: Option<String>,
}

const SEES: [Role; 4] = [Role::Customer, Role::Agent, Role::Supervisor, Role::Auditor];

/// File a claim
///
/// A customer files for an account that their token names; an agent for a customer. An account has one open claim for one
/// outage at most.
#[utoipa::path(
    post, path = "/v1/claims", operation_id = "file_claim", tag = "claims",
    params(("Idempotency-Key" = String, Header, description = "A value of your own; the same one when you retry")),
    request_body = FileClaim,
    responses(
        (status = 201, description = "Filed", body = Filed),
        (status = 404, description = "No such account, or not yours", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "There is an open claim for this outage, or the key is in flight", body = ProblemBody,
         content_type = "application/problem+json"),
        (status = 422, description = "The request is not valid, or the key was used for another", body = ProblemBody,
         content_type = "application/problem+json"),
    )
)]
pub async fn file(State(app): State<App>, caller: Caller, request: Keyed<FileClaim>) -> Result<Response, Problem> {
    let actor = caller.require(&[Role::Customer, Role::Agent])?;
    let answer = file_claim(&app.pool, app.clock.now(), actor, &request.key, request.body).await?;
    Ok(answer.into_response())
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ListClaims {
    /// Only claims in this state; staff only.
    state: Option<claim::State>,
    /// `next` of the page before.
    after: Option<String>,
    /// 1 to 500; 50 unless said.
    limit: Option<i64>,
}

/// List claims
///
/// A customer sees their own, the newest first; staff see what is to be decided, what is due first first.
#[utoipa::path(
    get, path = "/v1/claims", operation_id = "list_claims", tag = "claims", params(ListClaims),
    responses(
        (status = 200, description = "A page of claims", body = ClaimPage),
        (status = 422, description = "A parameter is not valid", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    super::Query(query): super::Query<ListClaims>,
) -> Result<axum::Json<ClaimPage>, Problem> {
    let actor = caller.require(&SEES)?;
    let limit = super::limit(query.limit, 50, 500)?;
    let is_staff = actor.has_any(&[Role::Agent, Role::Supervisor, Role::Auditor]);
    let mut found = if is_staff {
        let mut conn = app.pool.acquire().await.map_err(crate::store::Error::from)?;
        let after = query.after.as_deref().map(read_cursor).transpose()?;
        claims::to_decide(&mut conn, query.state, after, limit + 1).await?
    } else {
        let accounts = actor.own_accounts();
        let mut tx = customer::open(&app.pool, &accounts).await?;
        claims::of_accounts(&mut tx, &accounts).await?
    };
    let has_more = is_staff && found.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    if has_more {
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    let next = found.last().filter(|_| has_more).map(|last| format!("{}~{}", last.due_at.micros(), last.id));
    let ids: Vec<uuid::Uuid> = found.iter().map(|claim| claim.account.0).collect();
    let mut conn = app.pool.acquire().await.map_err(crate::store::Error::from)?;
    let addressees = credits::addressees(&mut conn, &ids).await?;
    let data = found
        .into_iter()
        .map(|claim| {
            let account = addressees.get(&claim.account).map(|one| one.reference.clone()).unwrap_or_default();
            ClaimView::new(claim, account)
        })
        .collect();
    Ok(axum::Json(ClaimPage { data, has_more, next }))
}

fn read_cursor(text: &str) -> Result<(Instant, ClaimId), Refusal> {
    let refused = || Refusal::field("/query/after", "send `next` of the page before as you got it");
    let (micros, id) = text.split_once('~').ok_or_else(refused)?;
    let due = micros.parse().ok().and_then(Instant::from_micros).ok_or_else(refused)?;
    Ok((due, ClaimId(uuid::Uuid::try_parse(id).map_err(|_| refused())?)))
}

/// Read a claim
#[utoipa::path(
    get, path = "/v1/claims/{id}", operation_id = "get_claim", tag = "claims",
    params(("id" = String, Path, description = "The claim's reference", example = "MG-2026-004187")),
    responses(
        (status = 200, description = "The claim", body = ClaimView, headers(("ETag" = String, description = "Its version"))),
        (status = 404, description = "No such claim, or not yours", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn get(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<Response, Problem> {
    let actor = caller.require(&SEES)?;
    let unknown = || Refusal::not_found("claim", &id);
    let mut conn = app.pool.acquire().await.map_err(crate::store::Error::from)?;
    let (account, claim) = claims::resolve(&mut conn, &id).await?.ok_or_else(unknown)?;
    let is_staff = actor.has_any(&[Role::Agent, Role::Supervisor, Role::Auditor]);
    let found = if is_staff {
        claims::find(&mut conn, account, claim).await?
    } else {
        let mut tx = customer::open(&app.pool, &actor.own_accounts()).await?;
        claims::find(&mut tx, account, claim).await?
    };
    let found = found.ok_or_else(unknown)?;
    let addressee = credits::addressee(&mut conn, account).await?;
    let etag = format!("\"{}\"", found.version);
    Ok(([("etag", etag)], axum::Json(ClaimView::new(found, addressee.reference))).into_response())
}

/// Act on a claim
///
/// `approve` (within your limit), `recommend` (a second person decides), `agree`, `send-back`, `reject`, `undo` (until it is
/// posted), `withdraw` (the customer).
#[utoipa::path(
    post, path = "/v1/claims/{id}/{action}", operation_id = "act_on_claim", tag = "claims",
    params(
        ("id" = String, Path, description = "The claim's reference", example = "MG-2026-004187"),
        ("action" = String, Path, description = "approve, recommend, agree, send-back, reject, undo or withdraw"),
        ("Idempotency-Key" = String, Header, description = "A value of your own; the same one when you retry"),
    ),
    request_body = ActOnClaim,
    responses(
        (status = 200, description = "Done", body = Acted),
        (status = 403, description = "Over your limit, or not your role, or somebody else has to", body = ProblemBody,
         content_type = "application/problem+json"),
        (status = 404, description = "No such claim or action, or not yours", body = ProblemBody,
         content_type = "application/problem+json"),
        (status = 409, description = "The claim moved, or its state does not allow it", body = ProblemBody,
         content_type = "application/problem+json"),
        (status = 422, description = "The request is not valid", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn act(
    State(app): State<App>,
    caller: Caller,
    Path((id, action)): Path<(String, String)>,
    request: Keyed<ActOnClaim>,
) -> Result<Response, Problem> {
    let actor = caller.require(&[Role::Customer, Role::Agent, Role::Supervisor])?;
    let answer = act_on_claim(&app.pool, app.clock.now(), actor, &request.key, &id, &action, request.body).await?;
    Ok(answer.into_response())
}
