//! A no over HTTP: RFC 9457 problem documents with a stable `code`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::refusal::{Code, FieldError, Refusal};
use crate::flows::once::Answer;
use crate::store::Error;

/// The body of every answer that is not a success.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// Where the code is explained.
    #[serde(rename = "type")]
    #[schema(example = "/docs/problems/over_limit")]
    kind: String,
    #[schema(example = "Over your limit")]
    title: &'static str,
    #[schema(example = 403)]
    status: u16,
    #[schema(example = "240.00 NZD is over your limit of 200.00 NZD. Send it to a supervisor.")]
    detail: String,
    /// Stable: branch on it.
    #[schema(example = "over_limit")]
    code: &'static str,
    /// What to quote to support; the answer's `x-request-id` says the same.
    request_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<FieldProblem>)]
    errors: Vec<FieldError>,
}

/// One field that is wrong.
#[derive(Debug, Serialize, ToSchema)]
pub struct FieldProblem {
    #[schema(example = "/amount")]
    pub pointer: String,
    #[schema(example = "amount must be a number, like 480 or 480.50")]
    pub message: String,
}

/// A refusal on its way out. The request id is filled in by [`super::finish_problem`].
#[derive(Debug)]
pub struct Problem(pub Refusal);

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Problem(refusal)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match &error {
            Error::Refused(_) => {}
            Error::Database(cause) => tracing::error!(error = %cause, "the database failed"),
            Error::Corrupt(what) => tracing::error!(what, "stored data is damaged"),
        }
        Problem(error.refusal())
    }
}

/// The status that a code travels under.
pub fn status(code: Code) -> StatusCode {
    match code {
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Forbidden | Code::OverLimit | Code::FourEyes => StatusCode::FORBIDDEN,
        Code::IdempotencyKeyMissing => StatusCode::BAD_REQUEST,
        Code::InvalidRequest | Code::IdempotencyKeyReused | Code::TotalDiffers | Code::AnswerRefused => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::IdempotencyInFlight
        | Code::VersionConflict
        | Code::WrongState
        | Code::ClaimExists
        | Code::PlanStale
        | Code::PlanExpired
        | Code::Disagreement
        | Code::StillOpen
        | Code::CursorStale => StatusCode::CONFLICT,
        Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The title that people read.
pub fn title(code: Code) -> &'static str {
    match code {
        Code::NotFound => "Not found",
        Code::MethodNotAllowed => "This path does not take that method",
        Code::Unauthenticated => "Not signed in",
        Code::Forbidden => "Not allowed",
        Code::InvalidRequest => "The request is not valid",
        Code::UnsupportedMediaType => "This kind of content is not taken here",
        Code::PayloadTooLarge => "The body is too large",
        Code::IdempotencyKeyMissing => "An Idempotency-Key is needed",
        Code::IdempotencyKeyReused => "The Idempotency-Key was used for something else",
        Code::IdempotencyInFlight => "The same request is still being answered",
        Code::VersionConflict => "It changed since you read it",
        Code::WrongState => "Its state does not allow this",
        Code::OverLimit => "Over your limit",
        Code::FourEyes => "Somebody else has to do this",
        Code::ClaimExists => "There is an open claim for this outage",
        Code::TotalDiffers => "The total is not the one shown",
        Code::PlanStale => "The plan no longer matches its inputs",
        Code::PlanExpired => "The plan has expired",
        Code::Disagreement => "The monitors disagree",
        Code::StillOpen => "It is still going on",
        Code::CursorStale => "The cursor is not of this feed",
        Code::AnswerRefused => "The answer does not fit the credit",
        Code::RateLimited => "Too many tries",
        Code::Unavailable => "Not available just now",
        Code::Internal => "Something broke on our side",
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        crate::store::audit::refused(&self.0);
        let status = status(self.0.code);
        let mut response = status.into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response.extensions_mut().insert(std::sync::Arc::new(self.0));
        response
    }
}

/// The document of a refusal, once the request's id is known.
pub fn document(refusal: &Refusal, request_id: &str) -> String {
    serde_json::to_string(&body(refusal, request_id)).unwrap_or_default()
}

/// The same as a value, for an answer that says more.
pub fn body(refusal: &Refusal, request_id: &str) -> ProblemBody {
    ProblemBody {
        kind: format!("/docs/problems/{}", refusal.code),
        title: title(refusal.code),
        status: status(refusal.code).as_u16(),
        detail: refusal.detail.clone(),
        code: refusal.code.name(),
        request_id: request_id.to_owned(),
        errors: refusal.errors.clone(),
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        let mut response = (status, [(header::CONTENT_TYPE, "application/json")], self.body).into_response();
        if self.replayed {
            response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
        }
        response
    }
}
