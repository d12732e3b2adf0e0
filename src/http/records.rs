//! What is recorded of one account, as it is known now or was known at an earlier time; and what changed between two times.

use axum::extract::{Path, State};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::assessments::{self, AccountSum};
use super::problem::ProblemBody;
use super::{App, Caller, Problem, Query};
use crate::domain::actor::Role;
use crate::domain::assessment::Outcome;
use crate::domain::changes::{Change, Known, changes};
use crate::domain::ids::AccountId;
use crate::domain::period::Month;
use crate::domain::receipt::Receipt;
use crate::domain::refusal::Refusal;
use crate::domain::time::{Instant, Interval};
use crate::store::{Error, charges, customer, evidence, given, placements, subscriptions};

const READERS: [Role; 5] = [Role::Customer, Role::Agent, Role::Supervisor, Role::Finance, Role::Auditor];

/// Of those, whoever works for the operator.
const STAFF: [Role; 4] = [Role::Agent, Role::Supervisor, Role::Finance, Role::Auditor];

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct AsRecorded {
    /// What was known then; left out, what is known now.
    #[param(value_type = Option<String>)]
    as_recorded_at: Option<Instant>,
}

/// What was known of one account.
#[derive(Debug, Serialize, ToSchema)]
pub struct Records {
    #[schema(example = "20418876")]
    pub account: String,
    /// It is what was recorded up to here.
    #[schema(value_type = String)]
    pub recorded_as_of: Instant,
    #[schema(value_type = Vec<Object>)]
    pub data: Vec<Value>,
}

/// Opens the account for whoever asks, settles the time, and reads.
async fn read(
    app: &App,
    caller: &Caller,
    account: String,
    query: &AsRecorded,
    what: impl AsyncFnOnce(&mut sqlx::PgConnection, AccountId, Instant) -> Result<Vec<Value>, Error>,
) -> Result<axum::Json<Records>, Problem> {
    let actor = caller.require(&READERS)?;
    let asked = super::accounts_asked(app, actor, Some(&account)).await?;
    let id = asked.first().copied().ok_or_else(|| Refusal::not_found("account", &account))?;
    let mut tx = customer::open(&app.pool, &[id]).await?;
    let recorded_as_of = match query.as_recorded_at {
        Some(at) => at,
        None => evidence::last_recorded(&mut tx).await?,
    };
    let data = what(&mut tx, id, recorded_as_of).await?;
    Ok(axum::Json(Records { account, recorded_as_of, data }))
}

/// Read an account's placements
///
/// Where each mailbox lived, as each source says it.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/placements", operation_id = "list_placements", tag = "accounts",
    params(("account" = String, Path, description = "The operator's reference of the account"), AsRecorded),
    responses(
        (status = 200, description = "The placements", body = Records),
        (status = 404, description = "No such account, or not yours", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A parameter is not valid", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn placements(
    State(app): State<App>,
    caller: Caller,
    Path(account): Path<String>,
    Query(query): Query<AsRecorded>,
) -> Result<axum::Json<Records>, Problem> {
    read(&app, &caller, account, &query, async |conn, id, at| {
        let Ok(always) = Interval::new(Instant::MIN, Instant::MAX) else { return Ok(Vec::new()) };
        let found = placements::of_account(conn, id, always, Some(at)).await?;
        Ok(found.into_iter().map(|one| json!(one)).collect())
    })
    .await
}

/// Read an account's charges
#[utoipa::path(
    get, path = "/v1/accounts/{account}/charges", operation_id = "list_charges", tag = "accounts",
    params(("account" = String, Path, description = "The operator's reference of the account"), AsRecorded),
    responses(
        (status = 200, description = "The charges, by service date", body = Records),
        (status = 404, description = "No such account, or not yours", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A parameter is not valid", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn charges(
    State(app): State<App>,
    caller: Caller,
    Path(account): Path<String>,
    Query(query): Query<AsRecorded>,
) -> Result<axum::Json<Records>, Problem> {
    read(&app, &caller, account, &query, async |conn, id, at| {
        let day = |at: Instant| at.utc().date_naive();
        let always: (NaiveDate, NaiveDate) = (day(Instant::MIN), day(Instant::MAX));
        let found = charges::of_account(conn, id, always, Some(at)).await?;
        Ok(found.into_iter().map(|one| json!(one.charge)).collect())
    })
    .await
}

/// Read an account's subscriptions
#[utoipa::path(
    get, path = "/v1/accounts/{account}/subscriptions", operation_id = "list_subscriptions", tag = "accounts",
    params(("account" = String, Path, description = "The operator's reference of the account"), AsRecorded),
    responses(
        (status = 200, description = "The subscriptions, by start", body = Records),
        (status = 404, description = "No such account, or not yours", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A parameter is not valid", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn subscriptions(
    State(app): State<App>,
    caller: Caller,
    Path(account): Path<String>,
    Query(query): Query<AsRecorded>,
) -> Result<axum::Json<Records>, Problem> {
    read(&app, &caller, account, &query, async |conn, id, at| {
        let found = subscriptions::of_account(conn, id, Some(at)).await?;
        let shown = |one: crate::domain::account::Subscription| {
            json!({
                "subscription": one.reference, "plan": one.plan, "valid_from": one.valid_from, "valid_to": one.valid_to,
            })
        };
        Ok(found.into_iter().map(shown).collect())
    })
    .await
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Between {
    /// What was known then.
    #[param(value_type = String)]
    from: Instant,
    /// And then; left out, now.
    #[param(value_type = Option<String>)]
    to: Option<Instant>,
}

/// What changed about one account's month.
#[derive(Debug, Serialize, ToSchema)]
pub struct Changes {
    #[schema(example = "20418876")]
    pub account: String,
    #[schema(value_type = String, example = "2026-10")]
    pub period: Month,
    #[schema(value_type = String)]
    pub from: Instant,
    #[schema(value_type = String)]
    pub to: Instant,
    /// What each subscription's sum gave, in its own words: the sum as recorded at `from`.
    pub before: Vec<Sum>,
    /// And as recorded at `to`.
    pub after: Vec<Sum>,
    /// The facts that differ.
    pub changes: Vec<Change>,
}

/// One subscription's sum.
#[derive(Debug, Serialize, ToSchema)]
pub struct Sum {
    pub subscription: String,
    /// How long the mailbox was down that was down longest, as far as it counts.
    pub counted_micros: i64,
    /// Null where no money is due.
    #[schema(example = "25.00")]
    pub amount: Option<String>,
    #[schema(example = "NZD")]
    pub currency: String,
    pub inputs_hash: String,
}

impl Sum {
    fn of(receipt: &Receipt) -> Sum {
        let amount = match &receipt.assessment.outcome {
            Outcome::Credit { amount } => Some(amount.digits()),
            Outcome::ServiceDays { .. } | Outcome::NothingDue { .. } => None,
        };
        Sum {
            subscription: receipt.inputs.subscription.clone(),
            counted_micros: receipt.assessment.counted_micros(),
            amount,
            currency: receipt.inputs.account.currency.code().to_owned(),
            inputs_hash: receipt.inputs_hash.clone(),
        }
    }
}

/// See what changed in a month
///
/// Which outages, placements, charges and terms the month's sum rests on now and did not at an earlier time, and the sum before and after.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/assessments/{period}/changes", operation_id = "list_changes", tag = "assessments",
    params(
        ("account" = String, Path, description = "The operator's reference of the account", example = "20418876"),
        ("period" = String, Path, description = "The month", example = "2026-10"),
        Between,
    ),
    responses(
        (status = 200, description = "The sums and what differs", body = Changes),
        (status = 404, description = "No such account, or not yours", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A parameter is not valid", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn between(
    State(app): State<App>,
    caller: Caller,
    Path((account, period)): Path<(String, String)>,
    Query(query): Query<Between>,
) -> Result<axum::Json<Changes>, Problem> {
    let actor = caller.require(&READERS)?;
    let period: Month = period.parse().map_err(|error| Refusal::field("/path/period", format!("{error}")))?;
    let asked = super::accounts_asked(&app, actor, Some(&account)).await?;
    let id = asked.first().copied().ok_or_else(|| Refusal::not_found("account", &account))?;
    let mut tx = customer::open(&app.pool, &[id]).await?;
    let to = match query.to {
        Some(at) => at,
        None => evidence::last_recorded(&mut tx).await?,
    };
    let now = app.clock.now();
    let before = assessments::load(&mut tx, id, period, Some(query.from), now).await?;
    let after = assessments::load(&mut tx, id, period, Some(to), now).await?;
    let receipts = |sum: &'_ Option<AccountSum>| sum.as_ref().map(|sum| sum.receipts.clone()).unwrap_or_default();
    let (before, after) = (receipts(&before), receipts(&after));
    let inputs = |receipts: &'_ [Receipt]| receipts.iter().map(|one| one.inputs.clone()).collect::<Vec<_>>();
    let (old, new) = (inputs(&before), inputs(&after));
    // Customers see what their receipts hold, and no more.
    let (mut old_given, mut new_given) = (Vec::new(), Vec::new());
    if actor.has_any(&STAFF) {
        old_given = given::of_contract(&mut tx, id, period, query.from).await?;
        new_given = given::of_contract(&mut tx, id, period, to).await?;
    }
    let changes =
        changes(Known { inputs: &old, by_contract: &old_given }, Known { inputs: &new, by_contract: &new_given });
    Ok(axum::Json(Changes {
        account,
        period,
        from: query.from,
        to,
        before: before.iter().map(Sum::of).collect(),
        after: after.iter().map(Sum::of).collect(),
        changes,
    }))
}
