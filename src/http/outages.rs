//! Doors for outages: by hand, corrected, signed off, listed.

use axum::Json as Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::problem::ProblemBody;
use super::{App, Caller, Keyed, Problem};
use crate::domain::actor::{Actor, Role};
use crate::domain::ids::WindowId;
use crate::domain::refusal::Refusal;
use crate::domain::time::Instant;
use crate::flows::amend_outage::{AmendOutage, amend_outage as amend};
use crate::flows::announce_outage::{AnnounceOutage, announce_outage};
use crate::flows::confirm_outage::{ConfirmOutage, confirm_outage as confirm};
use crate::flows::once::Answer;
use crate::store::Error;
use crate::store::windows::{self, Recorded};

/// Everybody on the operator's side may read what happened.
const READERS: [Role; 6] = [Role::Operations, Role::Agent, Role::Supervisor, Role::Finance, Role::Auditor, Role::Admin];

const MOST: u32 = 500;

/// Which part of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListOutages {
    /// At most this many, up to 500; 50 unless given.
    pub limit: Option<u32>,
    /// `next` of the page before.
    pub after: Option<String>,
    /// What was held to be true then; left out, now.
    #[param(value_type = Option<String>)]
    pub as_recorded_at: Option<Instant>,
}

/// As of when.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AsRecorded {
    /// What was held to be true then; left out, now.
    #[param(value_type = Option<String>)]
    pub as_recorded_at: Option<Instant>,
}

/// Outages, the latest start first.
#[derive(Debug, Serialize, ToSchema)]
pub struct OutagePage {
    pub data: Vec<Recorded>,
    pub has_more: bool,
    /// What to ask for as `after`; null at the end.
    pub next: Option<String>,
}

/// An outage with everything that was ever held to be true of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct OutageHistory {
    pub latest: Recorded,
    /// The outage that it became part of, where it did: its alerts turned out to be of that one.
    #[schema(value_type = Option<Uuid>)]
    pub part_of: Option<WindowId>,
    /// The first version first.
    pub versions: Vec<Recorded>,
}

/// Enter an outage by hand: planned work that is announced, or what no monitor saw.
#[utoipa::path(
    post, path = "/v1/outages", operation_id = "create_outage", tag = "outages",
    params(("Idempotency-Key" = String, Header, description = "Your own, one for each outage; the same one on a retry")),
    request_body = AnnounceOutage,
    responses(
        (status = 200, description = "Entered before, under the same origin: as it is now", body = Recorded),
        (status = 201, description = "Entered, provisional until it is signed off", body = Recorded),
        (status = 400, description = "No Idempotency-Key", body = ProblemBody),
        (status = 401, description = "No token, or not a valid one", body = ProblemBody),
        (status = 403, description = "Not operations", body = ProblemBody),
        (status = 409, description = "The same request is still being answered", body = ProblemBody),
        (status = 413, description = "Over 64 KiB", body = ProblemBody),
        (status = 415, description = "Not plain JSON", body = ProblemBody),
        (status = 422, description = "Not valid, or the key was used for another request", body = ProblemBody),
        (status = 503, description = "The outcome is unknown: send it again with the same key", body = ProblemBody),
    )
)]
pub async fn create_outage(
    State(app): State<App>,
    caller: Caller,
    Keyed { key, body }: Keyed<AnnounceOutage>,
) -> Result<Answer, Problem> {
    let actor = caller.require(&[Role::Operations])?;
    Ok(announce_outage(&app.pool, app.clock.now(), actor, &key, body).await?)
}

/// List outages, the latest start first.
#[utoipa::path(
    get, path = "/v1/outages", operation_id = "list_outages", tag = "outages",
    params(ListOutages),
    responses(
        (status = 200, description = "One page", body = OutagePage),
        (status = 401, description = "No token, or not a valid one", body = ProblemBody),
        (status = 403, description = "Not staff", body = ProblemBody),
        (status = 422, description = "The limit or the cursor is not valid", body = ProblemBody),
        (status = 503, description = "Try again", body = ProblemBody),
    )
)]
pub async fn list_outages(
    State(app): State<App>,
    caller: Caller,
    query: Result<Query<ListOutages>, QueryRejection>,
) -> Result<Body<OutagePage>, Problem> {
    let actor = caller.require(&READERS)?;
    let Query(query) = query.map_err(|error| Refusal::field("/query", error.body_text()))?;
    let limit = query.limit.unwrap_or(50);
    if !(1..=MOST).contains(&limit) {
        return Err(Refusal::field("/query/limit", "from 1 to 500").into());
    }
    let after = query.after.as_deref().map(cursor).transpose()?;
    let mut conn = app.pool.acquire().await.map_err(Error::from)?;
    let mut data = windows::list(&mut conn, after, i64::from(limit) + 1, query.as_recorded_at).await?;
    let has_more = data.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    if has_more {
        data.pop();
    }
    let next = data.last().filter(|_| has_more).map(|last| written(last.window.start, last.window.id));
    let data = data.into_iter().map(|one| as_seen_by(actor, one)).collect();
    Ok(Body(OutagePage { data, has_more, next }))
}

/// Show an outage with all its versions.
#[utoipa::path(
    get, path = "/v1/outages/{id}", operation_id = "get_outage", tag = "outages",
    params(("id" = Uuid, Path), AsRecorded),
    responses(
        (status = 200, description = "The outage", body = OutageHistory),
        (status = 401, description = "No token, or not a valid one", body = ProblemBody),
        (status = 403, description = "Not staff", body = ProblemBody),
        (status = 404, description = "No such outage, or nobody knew of it then", body = ProblemBody),
        (status = 422, description = "The time is not valid", body = ProblemBody),
        (status = 503, description = "Try again", body = ProblemBody),
    )
)]
pub async fn get_outage(
    State(app): State<App>,
    caller: Caller,
    id: Result<Path<Uuid>, PathRejection>,
    query: Result<Query<AsRecorded>, QueryRejection>,
) -> Result<Body<OutageHistory>, Problem> {
    let actor = caller.require(&READERS)?;
    let id = window_id(id)?;
    let Query(query) = query.map_err(|error| Refusal::field("/query", error.body_text()))?;
    let mut conn = app.pool.acquire().await.map_err(Error::from)?;
    let latest = windows::as_recorded(&mut conn, &[id], query.as_recorded_at).await?.pop();
    let latest = latest.ok_or_else(|| Refusal::not_found("outage", &id.to_string()))?;
    let mut versions = windows::versions(&mut conn, id).await?;
    versions.retain(|one| query.as_recorded_at.is_none_or(|at| one.recorded_at <= at));
    let part_of = windows::part_of(&mut conn, &latest).await?;
    let versions = versions.into_iter().map(|one| as_seen_by(actor, one)).collect();
    Ok(Body(OutageHistory { latest: as_seen_by(actor, latest), part_of, versions }))
}

/// Correct an outage, with a reason. The earlier version can still be asked for.
#[utoipa::path(
    post, path = "/v1/outages/{id}/amendments", operation_id = "amend_outage", tag = "outages",
    params(
        ("id" = Uuid, Path),
        ("Idempotency-Key" = String, Header, description = "Your own, one for each correction; the same one on a retry"),
    ),
    request_body = AmendOutage,
    responses(
        (status = 201, description = "The next version, provisional again", body = Recorded),
        (status = 400, description = "No Idempotency-Key", body = ProblemBody),
        (status = 401, description = "No token, or not a valid one", body = ProblemBody),
        (status = 403, description = "Not operations", body = ProblemBody),
        (status = 404, description = "No such outage", body = ProblemBody),
        (status = 409, description = "It changed since it was read, or it was taken back", body = ProblemBody),
        (status = 413, description = "Over 64 KiB", body = ProblemBody),
        (status = 415, description = "Not plain JSON", body = ProblemBody),
        (status = 422, description = "Not valid, or the key was used for another request", body = ProblemBody),
        (status = 503, description = "The outcome is unknown: send it again with the same key", body = ProblemBody),
    )
)]
pub async fn amend_outage(
    State(app): State<App>,
    caller: Caller,
    id: Result<Path<Uuid>, PathRejection>,
    Keyed { key, body }: Keyed<AmendOutage>,
) -> Result<Answer, Problem> {
    let actor = caller.require(&[Role::Operations])?;
    Ok(amend(&app.pool, app.clock.now(), actor, &key, window_id(id)?, body).await?)
}

/// Sign an outage off. From then on it may move money.
#[utoipa::path(
    post, path = "/v1/outages/{id}/confirm", operation_id = "confirm_outage", tag = "outages",
    params(
        ("id" = Uuid, Path),
        ("Idempotency-Key" = String, Header, description = "Your own, one for each signature; the same one on a retry"),
    ),
    request_body = ConfirmOutage,
    responses(
        (status = 200, description = "Signed off", body = Recorded),
        (status = 400, description = "No Idempotency-Key", body = ProblemBody),
        (status = 401, description = "No token, or not a valid one", body = ProblemBody),
        (status = 403, description = "Not operations, or the caller wrote this version", body = ProblemBody),
        (status = 404, description = "No such outage", body = ProblemBody),
        (status = 409, description = "It goes on, the monitors disagree, or it changed since it was read", body = ProblemBody),
        (status = 413, description = "Over 64 KiB", body = ProblemBody),
        (status = 415, description = "Not plain JSON", body = ProblemBody),
        (status = 422, description = "Not valid, or the key was used for another request", body = ProblemBody),
        (status = 503, description = "The outcome is unknown: send it again with the same key", body = ProblemBody),
    )
)]
pub async fn confirm_outage(
    State(app): State<App>,
    caller: Caller,
    id: Result<Path<Uuid>, PathRejection>,
    Keyed { key, body }: Keyed<ConfirmOutage>,
) -> Result<Answer, Problem> {
    let actor = caller.require(&[Role::Operations])?;
    Ok(confirm(&app.pool, app.clock.now(), actor, &key, window_id(id)?, body).await?)
}

/// An outage as `actor` may see it: notes are between the people of operations.
pub(super) fn as_seen_by(actor: &Actor, outage: Recorded) -> Recorded {
    if actor.has(Role::Operations) { outage } else { Recorded { note: None, ..outage } }
}

/// An id that is none answers as one that is not known.
fn window_id(id: Result<Path<Uuid>, PathRejection>) -> Result<WindowId, Refusal> {
    id.map(|Path(id)| WindowId(id)).map_err(|_| Refusal::not_found("outage", "with that id"))
}

/// A place in the list, opaque to callers.
fn written(start: Instant, id: WindowId) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}.{}", start.micros(), id.0.simple()))
}

fn cursor(text: &str) -> Result<(Instant, WindowId), Refusal> {
    let read = || {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (start, id) = text.split_once('.')?;
        Some((Instant::from_micros(start.parse().ok()?)?, WindowId(Uuid::try_parse(id).ok()?)))
    };
    read().ok_or_else(|| Refusal::field("/query/after", "not a cursor of this list; start again without it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_and_nothing_else_is_one() {
        let place = (Instant::parse("2026-10-12T17:10:00.482Z").unwrap(), WindowId::of("prom-a", "f"));
        assert_eq!(cursor(&written(place.0, place.1)).unwrap(), place);
        for wrong in ["", "x", "!", "MTIz", &URL_SAFE_NO_PAD.encode("1.2"), &URL_SAFE_NO_PAD.encode("-1.0")] {
            assert!(cursor(wrong).is_err(), "{wrong}");
        }
    }
}
