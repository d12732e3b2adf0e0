//! Doors for monitors, and for what their alerts mean.

use axum::Json as Body;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{StatusCode, header};
use bytes::Bytes;

use super::problem::ProblemBody;
use super::spool::{Monitor, take_or_spool};
use super::{App, Caller, Problem, header_text, parse};
use crate::domain::actor::Role;
use crate::domain::monitors::Monitors;
use crate::domain::refusal::{Code, Refusal};
use crate::flows::set_up_monitors::{SetUp, set_up_monitors};
use crate::flows::take_alerts::Taken;
use crate::sources;

const JSON: &str = "application/json";

/// The largest delivery, in bytes. A group of a thousand alerts is about one megabyte.
pub const DELIVERY_LIMIT: usize = 4 * 1024 * 1024;

/// A JSON body as it came, up to [`DELIVERY_LIMIT`].
#[derive(Debug)]
pub struct Payload(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Payload {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let kind = header_text(&parts.headers, "content-type")?.unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case(JSON) || parts.headers.contains_key(header::CONTENT_ENCODING) {
            let detail = "Send JSON, with Content-Type: application/json and without Content-Encoding.";
            return Err(Refusal::new(Code::UnsupportedMediaType, detail).into());
        }
        let too_large = || {
            let detail = format!("The body is over {} MiB.", DELIVERY_LIMIT / 1024 / 1024);
            Problem(Refusal::new(Code::PayloadTooLarge, detail))
        };
        axum::body::to_bytes(body, DELIVERY_LIMIT).await.map(Payload).map_err(|_| too_large())
    }
}

/// Take a delivery of a monitor. Which monitor it is, the token says.
#[utoipa::path(
    post, path = "/v1/ingest/{source}", operation_id = "ingest_alerts", tag = "monitoring",
    params(("source" = String, Path, description = "How the monitor speaks: alertmanager", example = "alertmanager")),
    request_body(
        content = Object, content_type = "application/json",
        description = "The delivery as the monitor sends it, such as the webhook of Alertmanager, version 4"
    ),
    responses(
        (status = 202, description = "Durable, and judged as far as it can be; with `spooled` it waits on disk for the database", body = Taken),
        (status = 401, description = "No token, or not a valid one", body = ProblemBody),
        (status = 403, description = "Not a monitor's token", body = ProblemBody),
        (status = 404, description = "No monitor speaks like this", body = ProblemBody),
        (status = 413, description = "Over 4 MiB", body = ProblemBody),
        (status = 415, description = "Not plain JSON", body = ProblemBody),
        (status = 422, description = "It can never be a delivery; nothing was kept", body = ProblemBody),
        (status = 503, description = "Not durable, not even on disk: send it again", body = ProblemBody),
    )
)]
pub async fn ingest_alerts(
    State(app): State<App>,
    monitor: Monitor,
    Path(kind): Path<String>,
    Payload(raw): Payload,
) -> Result<(StatusCode, Body<Taken>), Problem> {
    let delivery = sources::read(&kind, JSON, &raw)?;
    let taken = take_or_spool(&app, &monitor, &kind, JSON, &raw, &delivery).await?;
    Ok((StatusCode::ACCEPTED, Body(taken)))
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
    Payload(raw): Payload,
) -> Result<Body<SetUp>, Problem> {
    let actor = caller.require(&[Role::Operations])?;
    let document: Monitors = parse(&raw)?;
    Ok(Body(set_up_monitors(&app.pool, app.clock.now(), actor, &document).await?))
}
