//! The register of shards: which there are to place mailboxes on.

use axum::Json as Body;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ingest::DELIVERY_LIMIT;
use super::problem::ProblemBody;
use super::{App, Caller, Json, Problem, Query};
use crate::domain::actor::Role;
use crate::domain::refusal::Refusal;
use crate::flows::register_shards::{RegisterShards, Registered, register_shards};
use crate::store::{Error, shards};

/// The most names on a page, and how many there are unless said.
const MOST: u32 = 1_000;

const READERS: [Role; 7] =
    [Role::Operations, Role::Ingest, Role::Agent, Role::Supervisor, Role::Finance, Role::Auditor, Role::Admin];

/// Register shards
///
/// Those that are registered already stay as they are, and none is ever taken away. A placement on a shard that is not
/// registered is refused.
#[utoipa::path(
    put, path = "/v1/shards", operation_id = "register_shards", tag = "bulk",
    request_body = RegisterShards,
    responses(
        (status = 200, description = "How many were new", body = Registered),
        (status = 401, description = "No token, or not a valid one", body = ProblemBody),
        (status = 403, description = "Not operations", body = ProblemBody),
        (status = 413, description = "Over 4 MiB", body = ProblemBody),
        (status = 415, description = "Not plain JSON", body = ProblemBody),
        (status = 422, description = "Some cannot be names, so none was registered", body = ProblemBody),
        (status = 503, description = "Nothing was saved, or the outcome is unknown: send it again", body = ProblemBody),
    )
)]
pub async fn put_shards(
    State(app): State<App>,
    caller: Caller,
    Json(request): Json<RegisterShards, DELIVERY_LIMIT>,
) -> Result<Body<Registered>, Problem> {
    let actor = caller.require(&[Role::Operations, Role::Admin])?;
    Ok(Body(register_shards(&app.pool, app.clock.now(), actor, &request).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListShards {
    /// The last name of the page before.
    after: Option<String>,
    /// 1 to 1,000; 1,000 unless said.
    limit: Option<u32>,
}

/// One page of names, by their bytes.
#[derive(Debug, Serialize, ToSchema)]
pub struct ShardPage {
    #[schema(example = json!(["mx-07", "mx-08"]))]
    data: Vec<String>,
    has_more: bool,
}

/// List the registered shards
///
/// By their names, page by page.
#[utoipa::path(
    get, path = "/v1/shards", operation_id = "list_shards", tag = "bulk",
    params(ListShards),
    responses(
        (status = 200, description = "One page", body = ShardPage),
        (status = 401, description = "No token, or not a valid one", body = ProblemBody),
        (status = 403, description = "Neither staff nor a system that loads", body = ProblemBody),
        (status = 422, description = "The limit is not valid", body = ProblemBody),
        (status = 503, description = "Try again", body = ProblemBody),
    )
)]
pub async fn list_shards(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<ListShards>,
) -> Result<Body<ShardPage>, Problem> {
    caller.require(&READERS)?;
    let limit = query.limit.unwrap_or(MOST);
    if !(1..=MOST).contains(&limit) {
        return Err(Refusal::field("/query/limit", "from 1 to 1,000").into());
    }
    let mut conn = app.pool.acquire().await.map_err(Error::from)?;
    let after = query.after.unwrap_or_default();
    let mut data = shards::page(&mut conn, &after, i64::from(limit) + 1).await?;
    let has_more = data.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    if has_more {
        data.pop();
    }
    Ok(Body(ShardPage { data, has_more }))
}
