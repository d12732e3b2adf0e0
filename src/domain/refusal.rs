//! Saying no: one list of stable codes. Codes are appended, never reused; the wire shape is RFC 9457 (see `http::problem`).

use std::fmt;

use serde::Serialize;

/// Why something is refused. The code is part of the API: clients branch on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    NotFound,
    MethodNotAllowed,
    Unauthenticated,
    Forbidden,
    InvalidRequest,
    UnsupportedMediaType,
    PayloadTooLarge,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    IdempotencyInFlight,
    VersionConflict,
    /// The move is not one that the thing's state allows.
    WrongState,
    OverLimit,
    /// Nobody decides what they filed or proposed.
    FourEyes,
    /// An open claim on the same account and incident exists.
    ClaimExists,
    /// Approvers type the total that they saw.
    TotalDiffers,
    /// What a run was computed from has changed since.
    PlanStale,
    PlanExpired,
    /// Monitors disagree about a window and nobody has settled it.
    Disagreement,
    /// The window has no end yet.
    StillOpen,
    /// A cursor of another epoch, or beyond the head.
    CursorStale,
    /// Billing answered something that was not delivered to it, or more than the credit.
    AnswerRefused,
    RateLimited,
    /// The database is away, or the outcome of a commit is unknown: retry with the same key.
    Unavailable,
    Internal,
}

impl Code {
    /// The code as it stands on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Code::NotFound => "not_found",
            Code::MethodNotAllowed => "method_not_allowed",
            Code::Unauthenticated => "unauthenticated",
            Code::Forbidden => "forbidden",
            Code::InvalidRequest => "invalid_request",
            Code::UnsupportedMediaType => "unsupported_media_type",
            Code::PayloadTooLarge => "payload_too_large",
            Code::IdempotencyKeyMissing => "idempotency_key_missing",
            Code::IdempotencyKeyReused => "idempotency_key_reused",
            Code::IdempotencyInFlight => "idempotency_in_flight",
            Code::VersionConflict => "version_conflict",
            Code::WrongState => "wrong_state",
            Code::OverLimit => "over_limit",
            Code::FourEyes => "four_eyes",
            Code::ClaimExists => "claim_exists",
            Code::TotalDiffers => "total_differs",
            Code::PlanStale => "plan_stale",
            Code::PlanExpired => "plan_expired",
            Code::Disagreement => "disagreement",
            Code::StillOpen => "still_open",
            Code::CursorStale => "cursor_stale",
            Code::AnswerRefused => "answer_refused",
            Code::RateLimited => "rate_limited",
            Code::Unavailable => "unavailable",
            Code::Internal => "internal",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One field of a request that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// A JSON pointer into the body, such as `/amount`; for a line of a file, `/lines/17/shard`.
    pub pointer: String,
    pub message: String,
}

/// A clear no: what, why, and what to do next, in words that may be shown to whoever asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    pub code: Code,
    pub detail: String,
    pub errors: Vec<FieldError>,
}

impl Refusal {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Refusal { code, detail: detail.into(), errors: Vec::new() }
    }

    /// The one answer for an unknown id and for somebody else's: it names nothing but what was asked.
    pub fn not_found(kind: &str, asked: &str) -> Self {
        Refusal::new(Code::NotFound, format!("There is no {kind} {asked}, or you may not see it."))
    }

    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [] => "The request is not valid.".to_owned(),
            [one] => one.message.clone(),
            [first, rest @ ..] => format!("{} (and {} more)", first.message, rest.len()),
        };
        Refusal { code: Code::InvalidRequest, detail, errors }
    }

    pub fn field(pointer: &str, message: impl Into<String>) -> Self {
        Refusal::invalid(vec![FieldError { pointer: pointer.to_owned(), message: message.into() }])
    }
}
