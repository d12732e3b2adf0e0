//! What an outage is made of: what each monitor said, and whether it told it or was asked.

use axum::Json as Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::problem::ProblemBody;
use super::{App, Caller, Problem};
use crate::domain::actor::Role;
use crate::domain::ids::WindowId;
use crate::domain::refusal::Refusal;
use crate::store::asked::{self, Told};
use crate::store::{Error, windows};

/// What monitors said of one outage, in the order in which we learned it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Observations {
    pub data: Vec<Told>,
}

/// Show what monitors said of an outage, up to 1,000 statements: those that make it what it is now.
#[utoipa::path(
    get, path = "/v1/outages/{id}/observations", operation_id = "list_outage_observations", tag = "outages",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, description = "What was said; nothing where a person entered it", body = Observations),
        (status = 401, description = "No token, or not a valid one", body = ProblemBody),
        (status = 403, description = "Not staff", body = ProblemBody),
        (status = 404, description = "No such outage", body = ProblemBody),
        (status = 503, description = "Try again", body = ProblemBody),
    )
)]
pub async fn of_outage(
    State(app): State<App>,
    caller: Caller,
    id: Result<Path<Uuid>, PathRejection>,
) -> Result<Body<Observations>, Problem> {
    caller.require(&[Role::Operations, Role::Auditor, Role::Admin])?;
    let Path(id) = id.map_err(|_| Refusal::not_found("outage", "with that id"))?;
    let mut conn = app.pool.acquire().await.map_err(Error::from)?;
    if windows::latest(&mut conn, WindowId(id)).await?.is_none() {
        return Err(Refusal::not_found("outage", &id.to_string()).into());
    }
    Ok(Body(Observations { data: asked::told_of(&mut conn, WindowId(id)).await? }))
}
