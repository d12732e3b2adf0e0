//! The door for lists of mailboxes that outages name.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::batches::{self, BulkFile, RefusedBody};
use super::problem::ProblemBody;
use super::{App, Caller, Problem, RequestId};
use crate::domain::actor::Role;
use crate::domain::ids::MailboxListId;
use crate::flows::take_mailbox_list::{Listed, take_mailbox_list};

/// A list that is kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct MailboxList {
    /// What an outage's scope names: `{"list": "..."}`.
    #[schema(value_type = uuid::Uuid)]
    pub id: MailboxListId,
    #[schema(example = 3)]
    pub accounts: i64,
    #[schema(example = 41)]
    pub mailboxes: i64,
}

/// Keep a list of mailboxes
///
/// Which mailboxes an outage hit, where no shard says it. Fields: `account`, `mailbox`. The same file again is the same list, so it needs no
/// key. A list never changes.
#[utoipa::path(
    post, path = "/v1/mailbox-lists", tag = "outages", operation_id = "create_mailbox_list",
    request_body(content((String = "application/x-ndjson"), (String = "text/csv"))),
    responses(
        (status = 200, description = "Known already", body = MailboxList),
        (status = 201, description = "Kept", body = MailboxList),
        (status = 415, description = "Neither NDJSON nor CSV", body = ProblemBody,
         content_type = "application/problem+json"),
        (status = 422, description = "Some lines are wrong, so nothing was kept; the first of them are named", body = RefusedBody,
         content_type = "application/problem+json"),
    )
)]
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    request_id: RequestId,
    file: BulkFile,
) -> Result<Response, Problem> {
    let actor = caller.require(&[Role::Operations])?;
    Ok(match take_mailbox_list(&app.pool, app.clock.now(), actor, file.bytes, file.format).await? {
        Listed::Kept { id, size, is_new } => {
            let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
            let body = MailboxList { id, accounts: size.accounts, mailboxes: size.mailboxes };
            (status, axum::Json(body)).into_response()
        }
        Listed::Refused(report) => batches::answer(report, &request_id),
    })
}
