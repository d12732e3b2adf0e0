//! Bulk files: streamed in, all or nothing, with a report by line.

use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::{self, ProblemBody};
use super::{App, Caller, Problem, Query, RequestId};
use crate::domain::actor::Role;
use crate::domain::batch::{self, Format};
use crate::domain::effect::MoneyEffect;
use crate::domain::refusal::{Code, FieldError, Refusal};
use crate::flows::load_accounts::load_accounts;
use crate::flows::load_charges::load_charges;
use crate::flows::load_given::load_given;
use crate::flows::load_placements::load_placements;
use crate::flows::load_subscriptions::load_subscriptions;

/// The largest bulk file, in bytes. It is never held in memory.
const LARGEST: usize = 4 * 1024 * 1024 * 1024;

/// Who may send bulk files.
pub(super) const SENDERS: [Role; 2] = [Role::Ingest, Role::Operations];

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LoadParams {
    /// Checks everything, says what it would change in money, and records nothing.
    #[serde(default)]
    dry_run: bool,
}

/// What became of a file, line by line. Each line is in one of `accepted`, `rejected` and `unchanged`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BatchReport)]
pub struct ReportBody {
    /// Lines read, without empty ones and without the header.
    #[schema(example = 300)]
    lines: i64,
    /// Lines that say something new. They were recorded, unless `rejected` is not zero or it was a dry run.
    #[schema(example = 298)]
    accepted: i64,
    /// Lines with an error. One is enough for nothing to be recorded.
    #[schema(example = 0)]
    rejected: i64,
    /// Lines that say what is recorded already, or what another line says.
    #[schema(example = 2)]
    unchanged: i64,
    /// The first hundred errors, by line.
    errors: Vec<LineErrorBody>,
    dry_run: bool,
    /// What a snapshot was turned into; left out for other files.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<batch::Changes>,
    /// Of a dry run: what the file would change in money. Left out otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    money: Option<MoneyEffect>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BatchLineError)]
pub struct LineErrorBody {
    /// Counted from 1, with empty lines and the header.
    #[schema(example = 17)]
    line: i64,
    /// The field; empty when it is the whole line.
    #[schema(example = "/shard")]
    pointer: String,
    message: String,
}

impl From<batch::Report> for ReportBody {
    fn from(report: batch::Report) -> Self {
        let error = |error: batch::LineError| LineErrorBody {
            line: error.line,
            pointer: error.pointer.into_owned(),
            message: error.message,
        };
        ReportBody {
            lines: report.lines,
            accepted: report.accepted,
            rejected: report.rejected,
            unchanged: report.unchanged,
            errors: report.errors.into_iter().map(error).collect(),
            dry_run: report.dry_run,
            changes: report.changes,
            money: report.money,
        }
    }
}

/// A refused file: a problem document with the report beside it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BatchProblem)]
pub struct RefusedBody {
    #[serde(flatten)]
    problem: ProblemBody,
    report: ReportBody,
}

/// A file that may be read: of a kind that we take, and not packed.
#[expect(missing_debug_implementations, reason = "a stream that has not been read has nothing to show")]
pub struct BulkFile {
    pub(super) format: Format,
    pub(super) bytes: BoxStream<'static, Result<Bytes, &'static str>>,
}

impl<S: Send + Sync> FromRequest<S> for BulkFile {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let format = format(&parts.headers)?;
        let declared = parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if declared.is_some_and(|length: usize| length > LARGEST) {
            return Err(Refusal::new(Code::PayloadTooLarge, format!("A file may have up to {LARGEST} bytes.")).into());
        }
        let mut room = LARGEST;
        let bytes = body.into_data_stream().map(move |piece| {
            let piece = piece.map_err(|_| "the connection was lost")?;
            room = room.checked_sub(piece.len()).ok_or("it is larger than is taken")?;
            Ok(piece)
        });
        Ok(BulkFile { format, bytes: bytes.boxed() })
    }
}

fn format(headers: &HeaderMap) -> Result<Format, Refusal> {
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Refusal::new(Code::UnsupportedMediaType, "Send the file without Content-Encoding."));
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    Format::of_content_type(kind).ok_or_else(|| {
        Refusal::new(Code::UnsupportedMediaType, "Send the file as application/x-ndjson or as text/csv, in UTF-8.")
    })
}

/// 200 with the report, or 422 when a line is wrong.
pub(super) fn answer(report: batch::Report, request_id: &RequestId) -> Response {
    if report.rejected == 0 {
        return axum::Json(ReportBody::from(report)).into_response();
    }
    let refusal = Refusal {
        code: Code::InvalidRequest,
        detail: format!("{} of {} lines are wrong, so nothing was recorded.", report.rejected, report.lines),
        errors: report.errors.iter().map(field_error).collect(),
    };
    let body = RefusedBody { problem: problem::body(&refusal, &request_id.0), report: report.into() };
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    (StatusCode::UNPROCESSABLE_ENTITY, kind, axum::Json(body)).into_response()
}

fn field_error(error: &batch::LineError) -> FieldError {
    FieldError { pointer: format!("/lines/{}{}", error.line, error.pointer), message: error.message.clone() }
}

/// Load accounts
///
/// New ones, and what changed of known ones. Fields: `account`, `name`, `zone`, `currency`, and if known
/// `parent`, `bill_to`, `email`, `customer_since`, `closed_on` (the first day after).
#[utoipa::path(
    post, path = "/v1/accounts/batches", tag = "bulk", operation_id = "load_accounts", params(LoadParams),
    request_body(content((String = "application/x-ndjson"), (String = "text/csv"))),
    responses(
        (status = 200, description = "Recorded, or with `dry_run` found to be right", body = ReportBody),
        (status = 415, description = "Neither NDJSON nor CSV", body = ProblemBody,
         content_type = "application/problem+json"),
        (status = 422, description = "Some lines are wrong, so nothing was recorded; the first of them are named", body = RefusedBody,
         content_type = "application/problem+json"),
    )
)]
pub async fn accounts(
    State(app): State<App>,
    caller: Caller,
    request_id: RequestId,
    Query(params): Query<LoadParams>,
    file: BulkFile,
) -> Result<Response, Problem> {
    let actor = caller.require(&SENDERS)?;
    let report = load_accounts(&app.pool, app.clock.now(), actor, file.bytes, file.format, params.dry_run).await?;
    Ok(answer(report, &request_id))
}

/// Load subscriptions
///
/// What accounts subscribe to. Fields: `account`, `subscription`, `plan`, `valid_from`, and if it has ended
/// `valid_to`.
#[utoipa::path(
    post, path = "/v1/subscriptions/batches", tag = "bulk", operation_id = "load_subscriptions", params(LoadParams),
    request_body(content((String = "application/x-ndjson"), (String = "text/csv"))),
    responses(
        (status = 200, description = "Recorded, or with `dry_run` found to be right", body = ReportBody),
        (status = 415, description = "Neither NDJSON nor CSV", body = ProblemBody,
         content_type = "application/problem+json"),
        (status = 422, description = "Some lines are wrong, so nothing was recorded; the first of them are named", body = RefusedBody,
         content_type = "application/problem+json"),
    )
)]
pub async fn subscriptions(
    State(app): State<App>,
    caller: Caller,
    request_id: RequestId,
    Query(params): Query<LoadParams>,
    file: BulkFile,
) -> Result<Response, Problem> {
    let actor = caller.require(&SENDERS)?;
    let report = load_subscriptions(&app.pool, app.clock.now(), actor, file.bytes, file.format, params.dry_run).await?;
    Ok(answer(report, &request_id))
}

/// Load charges
///
/// What was invoiced. Fields: `account`, `number`, `subscription`, `invoiced_on`, `service_from`, `service_to` (the
/// day after), `quantity`, `currency`, `net`, `tax`, `gross` (decimal strings), `tax_code`, `tax_rate_bp`.
#[utoipa::path(
    post, path = "/v1/charges/batches", tag = "bulk", operation_id = "load_charges", params(LoadParams),
    request_body(content((String = "application/x-ndjson"), (String = "text/csv"))),
    responses(
        (status = 200, description = "Recorded, or with `dry_run` found to be right", body = ReportBody),
        (status = 415, description = "Neither NDJSON nor CSV", body = ProblemBody,
         content_type = "application/problem+json"),
        (status = 422, description = "Some lines are wrong, so nothing was recorded; the first of them are named", body = RefusedBody,
         content_type = "application/problem+json"),
    )
)]
pub async fn charges(
    State(app): State<App>,
    caller: Caller,
    request_id: RequestId,
    Query(params): Query<LoadParams>,
    file: BulkFile,
) -> Result<Response, Problem> {
    let actor = caller.require(&SENDERS)?;
    let report = load_charges(&app.pool, app.clock.now(), actor, file.bytes, file.format, params.dry_run).await?;
    Ok(answer(report, &request_id))
}

/// Load credits given elsewhere
///
/// What was typed into billing, or given before this service was there. Fields: `account`, `reference`, `subscription`,
/// `period` (the month that it was for), `kind`, `currency`, `amount` (tax included), `given_on`. One of the kind
/// `contract` counts as given for the same cause: the next run gives so much less.
#[utoipa::path(
    post, path = "/v1/credits-elsewhere/batches", tag = "bulk", operation_id = "load_credits_elsewhere", params(LoadParams),
    request_body(content((String = "application/x-ndjson"), (String = "text/csv"))),
    responses(
        (status = 200, description = "Recorded, or with `dry_run` found to be right", body = ReportBody),
        (status = 415, description = "Neither NDJSON nor CSV", body = ProblemBody,
         content_type = "application/problem+json"),
        (status = 422, description = "Some lines are wrong, so nothing was recorded; the first of them are named", body = RefusedBody,
         content_type = "application/problem+json"),
    )
)]
pub async fn given_elsewhere(
    State(app): State<App>,
    caller: Caller,
    request_id: RequestId,
    Query(params): Query<LoadParams>,
    file: BulkFile,
) -> Result<Response, Problem> {
    let actor = caller.require(&SENDERS)?;
    let report = load_given(&app.pool, app.clock.now(), actor, file.bytes, file.format, params.dry_run).await?;
    Ok(answer(report, &request_id))
}

/// Load placements
///
/// Where mailboxes live. Fields: `account`, `mailbox`, `shard` (null for nowhere), `valid_from`, `source`, and if the
/// stay has ended `valid_to`. While it moves to another shard, `moving_to` names that, and `live` (`from` or `to`) the side
/// that is live; without it the mailbox is contested until somebody settles it.
#[utoipa::path(
    post, path = "/v1/placements/batches", tag = "bulk", operation_id = "load_placements", params(LoadParams),
    request_body(content((String = "application/x-ndjson"), (String = "text/csv"))),
    responses(
        (status = 200, description = "Recorded, or with `dry_run` found to be right", body = ReportBody),
        (status = 415, description = "Neither NDJSON nor CSV", body = ProblemBody,
         content_type = "application/problem+json"),
        (status = 422, description = "Some lines are wrong, so nothing was recorded; the first of them are named", body = RefusedBody,
         content_type = "application/problem+json"),
    )
)]
pub async fn placements(
    State(app): State<App>,
    caller: Caller,
    request_id: RequestId,
    Query(params): Query<LoadParams>,
    file: BulkFile,
) -> Result<Response, Problem> {
    let actor = caller.require(&SENDERS)?;
    let report = load_placements(&app.pool, app.clock.now(), actor, file.bytes, file.format, params.dry_run).await?;
    Ok(answer(report, &request_id))
}
