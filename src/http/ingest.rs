//! Doors for monitors, and for what their alerts mean.

use axum::Json as Body;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use bytes::Bytes;
use serde::Deserialize;
use utoipa::IntoParams;

use super::problem::ProblemBody;
use super::spool::{Monitor, take_or_spool};
use super::{App, Caller, Json, Problem, Query, header_text};
use crate::domain::actor::Role;
use crate::domain::monitors::Monitors;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::{DAY, Instant};
use crate::flows::set_up_monitors::{SetUp, set_up_monitors};
use crate::flows::take_alerts::Taken;
use crate::sources;
use crate::store::Error;
use crate::store::unmapped::{self, ToMap};

/// The largest delivery, in bytes. A group of a thousand alerts is about one megabyte.
pub const DELIVERY_LIMIT: usize = 4 * 1024 * 1024;

/// A body as it came, up to [`DELIVERY_LIMIT`].
#[derive(Debug)]
pub struct Payload {
    /// As the header says, or nothing.
    pub content_type: String,
    pub bytes: Bytes,
}

impl<S: Send + Sync> FromRequest<S> for Payload {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let content_type = header_text(&parts.headers, "content-type")?.unwrap_or_default().to_owned();
        if parts.headers.contains_key(header::CONTENT_ENCODING) {
            return Err(Refusal::new(Code::UnsupportedMediaType, "Send the body without Content-Encoding.").into());
        }
        let too_large = || {
            let detail = format!("The body is over {} MiB.", DELIVERY_LIMIT / 1024 / 1024);
            Problem(Refusal::new(Code::PayloadTooLarge, detail))
        };
        let bytes = axum::body::to_bytes(body, DELIVERY_LIMIT).await.map_err(|_| too_large())?;
        Ok(Payload { content_type, bytes })
    }
}

/// Take a delivery of a monitor. Which monitor it is, the token says.
///
/// One alert that is wrong does not lose its neighbours: it is listed as rejected. A source that has a secret must sign.
#[utoipa::path(
    post, path = "/v1/ingest/{source}", operation_id = "ingest_alerts", tag = "monitoring",
    params((
        "source" = String, Path, example = "alertmanager",
        description = "How the monitor speaks: alertmanager, grafana, pagerduty, generic, cloudevents or statuspage"
    )),
    request_body(
        description = "The delivery as the monitor sends it, such as the webhook of Alertmanager, version 4; docs/sources.md has \
                       each kind",
        content(
            (Object = "application/json"), (String = "text/csv"), (Object = "application/cloudevents+json"),
            (Object = "application/cloudevents-batch+json"),
        ),
    ),
    responses(
        (status = 202, description = "Durable, and judged as far as it can be; with `spooled` it waits on disk", body = Taken),
        (status = 401, description = "No token, or not a valid one; or not signed with the source's secret", body = ProblemBody),
        (status = 403, description = "Not a monitor's token", body = ProblemBody),
        (status = 404, description = "No monitor speaks like this", body = ProblemBody),
        (status = 413, description = "Over 4 MiB", body = ProblemBody),
        (status = 415, description = "Not a content type that this kind of monitor speaks", body = ProblemBody),
        (
            status = 422, body = ProblemBody,
            description = "Nothing of it can be read or be true, or nobody here knows what failed: then it was kept, and says so"
        ),
        (status = 503, description = "Not durable, not even on disk: send it again", body = ProblemBody),
    )
)]
pub async fn ingest_alerts(
    State(app): State<App>,
    monitor: Monitor,
    Path(kind): Path<String>,
    headers: HeaderMap,
    Payload { content_type, bytes }: Payload,
) -> Result<(StatusCode, Body<Taken>), Problem> {
    let values = |name: &str| headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    app.secrets.check(monitor.actor.source.as_deref().unwrap_or_default(), values, &bytes, app.clock.real_now())?;
    let delivery = sources::read(&kind, &content_type, &bytes)?;
    let taken = take_or_spool(&app, &monitor, &kind, &content_type, &bytes, &delivery).await?;
    match taken.unknown() {
        None => Ok((StatusCode::ACCEPTED, Body(taken))),
        Some(refusal) => Err(refusal.into()),
    }
}

/// What operations have to map or to mend: alerts that mean nothing yet, and alerts that were rejected.
///
/// What is listed as unmapped was kept, and becomes outages as soon as a rule or a component says what it means.
#[utoipa::path(
    get, path = "/v1/ingest/unmapped", operation_id = "list_unmapped", tag = "monitoring",
    params(ListUnmapped),
    responses(
        (status = 200, description = "What is to be mapped, the most frequent first", body = ToMap),
        (status = 401, description = "No token, or not a valid one", body = ProblemBody),
        (status = 403, description = "Not operations", body = ProblemBody),
        (status = 422, description = "Not a time", body = ProblemBody),
        (status = 503, description = "Try again", body = ProblemBody),
    )
)]
pub async fn list_unmapped(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<ListUnmapped>,
) -> Result<Body<ToMap>, Problem> {
    caller.require(&[Role::Operations, Role::Auditor, Role::Admin])?;
    let since = match query.since.as_deref() {
        Some(text) => Instant::parse(text).map_err(|error| Refusal::field("/query/since", error.to_string()))?,
        None => app.clock.now().plus(-90 * DAY),
    };
    let mut conn = app.pool.acquire().await.map_err(Error::from)?;
    Ok(Body(unmapped::since(&mut conn, since).await?))
}

/// From when on.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListUnmapped {
    /// Alerts that were recorded since then; the last 90 days unless given.
    #[param(example = "2026-10-01T00:00:00Z")]
    pub since: Option<String>,
}

/// Say what the alerts of the monitors mean. Saying the same again changes nothing; what is left out stays as it was.
#[utoipa::path(
    put, path = "/v1/monitors", operation_id = "set_up_monitors", tag = "monitoring",
    request_body = Monitors,
    responses(
        (status = 200, description = "What was news, and which outages it changed", body = SetUp),
        (status = 401, description = "No token, or not a valid one", body = ProblemBody),
        (status = 403, description = "Not operations", body = ProblemBody),
        (status = 413, description = "Over 4 MiB", body = ProblemBody),
        (status = 415, description = "Not plain JSON", body = ProblemBody),
        (status = 422, description = "The document contradicts itself", body = ProblemBody),
        (status = 503, description = "Nothing was saved, or the outcome is unknown: send it again", body = ProblemBody),
    )
)]
pub async fn put_monitors(
    State(app): State<App>,
    caller: Caller,
    Json(document): Json<Monitors, DELIVERY_LIMIT>,
) -> Result<Body<SetUp>, Problem> {
    let actor = caller.require(&[Role::Operations])?;
    Ok(Body(set_up_monitors(&app.pool, app.clock.now(), actor, &document).await?))
}
