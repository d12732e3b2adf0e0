//! What plans promise: publishing and approving.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};

use super::problem::ProblemBody;
use super::{App, Caller, Keyed, Problem};
use crate::flows::publish_terms::{PublishTerms, TermsVersion, approve_terms, publish_terms};

/// Publish terms
///
/// A new version of a plan's terms. It counts once another administrator has approved it.
#[utoipa::path(
    put, path = "/v1/plans/{plan}/terms", tag = "terms", operation_id = "publish_terms",
    params(("plan" = String, Path, example = "business-mail"), ("Idempotency-Key" = String, Header)),
    request_body = PublishTerms,
    responses(
        (status = 200, body = TermsVersion, description = "The newest version says the same already"),
        (status = 201, description = "A new version, to be approved", body = TermsVersion),
        (status = 403, description = "Not an administrator", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The terms cannot be worked with, or the key was used for another", body = ProblemBody,
         content_type = "application/problem+json"),
    )
)]
pub async fn publish(
    State(app): State<App>,
    caller: Caller,
    Path(plan): Path<String>,
    Keyed { key, body }: Keyed<PublishTerms>,
) -> Result<Response, Problem> {
    Ok(publish_terms(&app.pool, app.clock.now(), &caller.0, &key, &plan, body).await?.into_response())
}

/// Approve terms
///
/// The version is in force from its date on. Its author cannot.
#[utoipa::path(
    post, path = "/v1/plans/{plan}/terms/{version}/approve", tag = "terms", operation_id = "approve_terms",
    params(
        ("plan" = String, Path, example = "business-mail"),
        ("version" = i32, Path, example = 1),
        ("Idempotency-Key" = String, Header)
    ),
    responses(
        (status = 200, description = "In force from its date on", body = TermsVersion),
        (status = 403, description = "Not an administrator, or its author", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such version", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn approve(
    State(app): State<App>,
    caller: Caller,
    Path((plan, version)): Path<(String, i32)>,
    Keyed { key, body: _ }: Keyed<Approval>,
) -> Result<Response, Problem> {
    Ok(approve_terms(&app.pool, app.clock.now(), &caller.0, &key, &plan, version).await?.into_response())
}

/// An approval says nothing more: `{}`.
#[derive(Debug, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Approval {}
