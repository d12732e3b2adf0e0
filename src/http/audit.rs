//! Auditors read who did what, for whom, when, in which request and from where.

use std::collections::HashMap;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::problem::ProblemBody;
use super::{App, Caller, Problem, Query};
use crate::domain::actor::Role;
use crate::domain::ids::AccountId;
use crate::domain::refusal::Refusal;
use crate::domain::time::Instant;
use crate::store::audit::{self, Found, Wanted};
use crate::store::credits::{self, Addressee};
use crate::store::{Error, snapshot};

const READS: [Role; 2] = [Role::Auditor, Role::Admin];

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ListAudit {
    /// The operator's reference of the account.
    account: Option<String>,
    /// Who: issuer, a bar and the subject, such as `staff|wiremu`.
    actor: Option<String>,
    /// An action such as `claim.approve.refused`, or what several begin with, such as `credit_run.`.
    action: Option<String>,
    /// Recorded from here on.
    #[param(value_type = Option<String>)]
    from: Option<Instant>,
    /// Recorded before this.
    #[param(value_type = Option<String>)]
    to: Option<Instant>,
    /// `next` of the page before.
    after: Option<String>,
    /// 1 to 1000; 100 unless said.
    limit: Option<i64>,
}

/// One row of the audit trail.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditRow {
    #[schema(value_type = String)]
    pub id: Uuid,
    #[schema(value_type = String)]
    pub at: Instant,
    /// The operator's reference; none where no account is concerned.
    #[schema(example = "20418876")]
    pub account: Option<String>,
    /// Issuer and subject: a pseudonym of the identity provider's.
    #[schema(example = "staff|wiremu")]
    pub actor: String,
    #[schema(example = "claim.approve.refused")]
    pub action: String,
    /// What it was done to.
    #[schema(example = "MG-2026-004187")]
    pub subject: String,
    /// Figures, ids and codes.
    #[schema(value_type = Object)]
    pub detail: Value,
    /// The request's id; none for what the clock or a terminal did.
    pub request: Option<String>,
    /// Where the request came from; none where that is not known, or was erased.
    #[schema(example = "192.0.2.7")]
    pub from: Option<String>,
    /// The number of its entry in the chain; none while it waits for one.
    pub entry: Option<i64>,
}

impl AuditRow {
    fn new(found: Found, addressees: &HashMap<AccountId, Addressee>) -> Self {
        AuditRow {
            id: found.id,
            at: found.at,
            account: addressees.get(&found.account).map(|one| one.reference.clone()),
            actor: found.actor,
            action: found.action,
            subject: found.subject,
            detail: found.detail,
            request: found.request,
            from: found.address,
            entry: found.entry,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct AuditPage {
    pub data: Vec<AuditRow>,
    pub has_more: bool,
    /// Send it as `after` for the next page.
    pub next: Option<String>,
}

/// Read the audit trail
///
/// Every change and every refused privileged try, the oldest first.
#[utoipa::path(
    get, path = "/v1/audit", operation_id = "list_audit", tag = "ledger", params(ListAudit),
    responses(
        (status = 200, description = "A page of the trail", body = AuditPage),
        (status = 422, description = "A parameter is not valid", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<ListAudit>,
) -> Result<axum::Json<AuditPage>, Problem> {
    caller.require(&READS)?;
    let limit = super::limit(query.limit, 100, 1_000)?;
    let after = query.after.as_deref().map(read_cursor).transpose()?;
    let wanted = Wanted {
        account: query.account.as_deref().map(AccountId::of),
        actor: query.actor,
        action: query.action,
        from: query.from,
        to: query.to,
    };
    let mut tx = snapshot::open(&app.pool).await?;
    let mut found = audit::list(&mut tx, &wanted, after, limit + 1).await?;
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = found.len() > most;
    found.truncate(most);
    let next = found.last().filter(|_| has_more).map(|last| format!("{}~{}", last.at.micros(), last.id));
    let accounts: Vec<Uuid> = found.iter().map(|row| row.account.0).collect();
    let addressees = credits::addressees(&mut tx, &accounts).await?;
    let data = found.into_iter().map(|row| AuditRow::new(row, &addressees)).collect();
    tx.commit().await.map_err(Error::from)?;
    Ok(axum::Json(AuditPage { data, has_more, next }))
}

fn read_cursor(text: &str) -> Result<(Instant, Uuid), Refusal> {
    let refused = || Refusal::field("/query/after", "send `next` of the page before as you got it");
    let (micros, id) = text.split_once('~').ok_or_else(refused)?;
    let at = micros.parse().ok().and_then(Instant::from_micros).ok_or_else(refused)?;
    Ok((at, Uuid::try_parse(id).map_err(|_| refused())?))
}
