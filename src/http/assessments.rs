//! The sum of one account in one period, with its receipt.

use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::problem::ProblemBody;
use super::{App, Caller, Problem, Query};
use crate::domain::account::Account;
use crate::domain::actor::Role;
use crate::domain::ids::AccountId;
use crate::domain::operator::Operator;
use crate::domain::period::Month;
use crate::domain::receipt::Receipt;
use crate::domain::refusal::Refusal;
use crate::domain::time::Instant;
use crate::store::inputs::{self, Evidence};
use crate::store::{Error, assessments, customer, evidence, operator};

/// What one account went through in one period, and what it is worth.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccountAssessment {
    #[schema(example = "20418876")]
    pub account: String,
    #[schema(value_type = String, example = "2026-10")]
    pub period: Month,
    /// The evidence is the one that was recorded up to here.
    #[schema(value_type = String)]
    pub recorded_as_of: Instant,
    /// Whether this is the assessment that credits rest on; else it is a preview over what is recorded now.
    pub assessed: bool,
    /// One receipt for each subscription: every input, every step, every number. `makegood verify` does it again offline.
    #[schema(value_type = Vec<Object>)]
    pub receipts: Vec<Value>,
    /// Why no sum could be begun, where none could.
    pub blockers: Vec<String>,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct AsRecorded {
    /// What was known then; left out, the newest assessment, or what is recorded now where there is none.
    #[param(value_type = Option<String>)]
    as_recorded_at: Option<Instant>,
}

/// Read an assessment
#[utoipa::path(
    get, path = "/v1/accounts/{account}/assessments/{period}", operation_id = "get_assessment", tag = "assessments",
    params(
        ("account" = String, Path, description = "The operator's reference of the account", example = "20418876"),
        ("period" = String, Path, description = "The month", example = "2026-10"),
        AsRecorded,
    ),
    responses(
        (status = 200, description = "The sum with its receipts", body = AccountAssessment),
        (status = 404, description = "No such account, or not yours", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A parameter is not valid", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn get(
    State(app): State<App>,
    caller: Caller,
    Path((account, period)): Path<(String, String)>,
    Query(query): Query<AsRecorded>,
) -> Result<axum::Json<AccountAssessment>, Problem> {
    let actor = caller.require(&[Role::Customer, Role::Agent, Role::Supervisor, Role::Finance, Role::Auditor])?;
    let period: Month = period.parse().map_err(|error| Refusal::field("/path/period", format!("{error}")))?;
    let asked = super::accounts_asked(&app, actor, Some(&account)).await?;
    let id = asked.first().copied().ok_or_else(|| Refusal::not_found("account", &account))?;
    let mut tx = customer::open(&app.pool, &[id]).await?;
    let sum = load(&mut tx, id, period, query.as_recorded_at, app.clock.now()).await?;
    let sum = sum.ok_or_else(|| Refusal::not_found("account", &account))?;
    let mut receipts = Vec::with_capacity(sum.receipts.len());
    for receipt in &sum.receipts {
        let value =
            serde_json::to_value(receipt).map_err(|error| Error::Corrupt(format!("a receipt is no JSON: {error}")))?;
        receipts.push(value);
    }
    Ok(axum::Json(AccountAssessment {
        account,
        period,
        recorded_as_of: sum.recorded_as_of,
        assessed: sum.assessed,
        receipts,
        blockers: sum.blockers,
    }))
}

/// An account's month, as pages and the API show it.
#[derive(Debug)]
pub struct AccountSum {
    pub account: Account,
    pub operator: Operator,
    pub recorded_as_of: Instant,
    /// Whether it is the finished assessment that credits rest on.
    pub assessed: bool,
    pub receipts: Vec<Receipt>,
    pub blockers: Vec<String>,
}

/// Makes the sum again from the evidence: as recorded at a given time, at the newest assessment, or now.
pub async fn load(
    conn: &mut PgConnection,
    account: AccountId,
    period: Month,
    as_recorded_at: Option<Instant>,
    now: Instant,
) -> Result<Option<AccountSum>, Error> {
    let operator = operator::get(conn).await?;
    let newest = assessments::latest_assessment(conn, period).await?;
    let recorded_as_of = match (as_recorded_at, newest) {
        (Some(at), _) => at,
        (None, Some(at)) => at,
        (None, None) => evidence::last_recorded(conn).await?,
    };
    let assessed = newest == Some(recorded_as_of);
    let shared = Evidence::load(conn, &operator, period, recorded_as_of, now).await?;
    let Some((account, loaded)) = inputs::load_one(conn, &shared, account).await? else { return Ok(None) };
    let (mut receipts, mut blockers) = (Vec::new(), Vec::new());
    for one in loaded {
        blockers.extend(one.blockers);
        if let Some(inputs) = one.inputs {
            let receipt = Receipt::of(inputs)
                .map_err(|error| Error::Corrupt(format!("account {} cannot be assessed: {error}", account.id)))?;
            receipts.push(receipt);
        }
    }
    Ok(Some(AccountSum { account, operator, recorded_as_of, assessed, receipts, blockers }))
}
