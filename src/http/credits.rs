//! Credits: what was given, where it stands, and what people do to it afterwards.

use axum::extract::{Path, State};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::ProblemBody;
use super::{App, Caller, Keyed, Problem, Query};
use crate::domain::actor::Role;
use crate::domain::course::TakenBack;
use crate::domain::feed::{credit_name, credit_named, reversal_name};
use crate::domain::money::Money;
use crate::domain::refusal::Refusal;
use crate::domain::time::Instant;
use crate::flows::once::Answer;
use crate::flows::propose_credit_run::MoneyOnWire;
use crate::flows::reverse_credit::{Reversal, ReverseCredit, reverse_credit};
use crate::flows::settle_held::{PayHeld, SettleHeld, Settled, Settling, settle_held};
use crate::store::courses::{self, Recorded};
use crate::store::credits::Credit;
use crate::store::{Error, credits, customer};

/// A credit as its customer or the staff may see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreditView {
    #[schema(example = "crd_00000000000000000000000000000000")]
    pub id: String,
    #[schema(example = "20418876")]
    pub account: String,
    /// `contract`, `claim` or `goodwill`.
    #[schema(example = "contract")]
    pub road: &'static str,
    #[schema(example = "sla_tier")]
    pub reason: String,
    /// Tax included.
    #[schema(value_type = MoneyOnWire)]
    pub gross: Money,
    #[schema(value_type = MoneyOnWire)]
    pub net: Money,
    #[schema(value_type = MoneyOnWire)]
    pub tax: Money,
    #[schema(value_type = String, example = "2026-10-31")]
    pub effective_on: NaiveDate,
    #[schema(value_type = String)]
    pub issued_at: Instant,
    /// `waiting`, `partly_applied`, `applied`, `returned`, `refused` (finance holds it), `unclaimed`, `paid` (in money), `reversing` (billing has
    /// to answer), `reversed` or `expired`.
    #[schema(example = "applied")]
    pub standing: &'static str,
    /// What stands on bills.
    #[schema(value_type = MoneyOnWire)]
    pub applied: Money,
    /// What stands on none, and was not taken back.
    #[schema(value_type = MoneyOnWire)]
    pub open: Money,
    /// What was taken back before it stood on a bill.
    #[schema(value_type = MoneyOnWire)]
    pub cancelled: Money,
    /// What was taken back after it stood on one, and how much of that billing has billed.
    #[schema(value_type = MoneyOnWire)]
    pub debited: Money,
    #[schema(value_type = MoneyOnWire)]
    pub recovered: Money,
    /// The bills that it stands on.
    pub bills: Vec<String>,
    /// Bills that others stand in the place of: billing called the same by another name later.
    pub superseded_bills: Vec<String>,
    /// What names its reversal; none where it was not reversed.
    #[schema(example = "rev_00000000000000000000000000000000")]
    pub reversal: Option<String>,
}

impl CreditView {
    fn new(credit: &Credit, account: String, steps: &[Recorded]) -> Result<Self, Error> {
        let course = courses::course(credit, steps)?;
        let damaged = |error| Error::Corrupt(format!("the steps of credit {}: {error}", credit.id));
        Ok(CreditView {
            id: credit_name(credit.id),
            account,
            road: credit.road.name(),
            reason: credit.reason.clone(),
            gross: credit.gross,
            net: credit.net,
            tax: credit.tax,
            effective_on: credit.effective_on,
            issued_at: credit.issued_at,
            standing: course.standing().map_err(damaged)?.name(),
            applied: course.applied.gross,
            open: course.open().map_err(damaged)?.gross,
            cancelled: course.cancelled.gross,
            debited: course.debited.gross,
            recovered: course.recovered.gross,
            bills: course.bills.iter().map(|bill| bill.reference.clone()).collect(),
            superseded_bills: course.bills.iter().flat_map(|bill| bill.superseded.clone()).collect(),
            reversal: (course.taken_back == Some(TakenBack::Reversed)).then(|| reversal_name(credit.id)),
        })
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct CreditList {
    pub data: Vec<CreditView>,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ListCredits {
    /// The operator's reference of the account; a customer may leave it out.
    account: Option<String>,
}

const SEES: [Role; 5] = [Role::Customer, Role::Agent, Role::Supervisor, Role::Finance, Role::Auditor];

/// List an account's credits
#[utoipa::path(
    get, path = "/v1/credits", operation_id = "list_credits", tag = "credits", params(ListCredits),
    responses(
        (status = 200, description = "The newest first", body = CreditList),
        (status = 404, description = "No such account, or not yours", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A parameter is not valid", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<ListCredits>,
) -> Result<axum::Json<CreditList>, Problem> {
    let accounts = super::accounts_asked(&app, caller.require(&SEES)?, query.account.as_deref()).await?;
    let mut tx = customer::open(&app.pool, &accounts).await?;
    let found = credits::of_accounts(&mut tx, &accounts).await?;
    let (ids, of): (Vec<_>, Vec<_>) = found.iter().map(|credit| (credit.id.0, credit.account.0)).unzip();
    let steps = courses::steps(&mut tx, &of, &ids).await?;
    let addressees = credits::addressees(&mut tx, &of).await?;
    let data = found
        .iter()
        .map(|credit| {
            let account = addressees.get(&credit.account).map(|one| one.reference.clone()).unwrap_or_default();
            CreditView::new(credit, account, steps.get(&credit.id).map_or(&[], Vec::as_slice))
        })
        .collect::<Result<_, Error>>()?;
    Ok(axum::Json(CreditList { data }))
}

/// Read a credit
#[utoipa::path(
    get, path = "/v1/credits/{id}", operation_id = "get_credit", tag = "credits",
    params(("id" = String, Path, description = "The credit's id")),
    responses(
        (status = 200, description = "The credit", body = CreditView),
        (status = 404, description = "No such credit, or not yours", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn get(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<CreditView>, Problem> {
    let actor = caller.require(&SEES)?;
    let unknown = || Refusal::not_found("credit", &id.chars().take(64).collect::<String>());
    let named = credit_named(&id).ok_or_else(unknown)?;
    let mut conn = app.pool.acquire().await.map_err(Error::from)?;
    let account = courses::account_of(&mut conn, named).await?.ok_or_else(unknown)?;
    drop(conn);
    let visible = if actor.has(Role::Customer) { actor.own_accounts() } else { vec![account] };
    let mut tx = customer::open(&app.pool, &visible).await?;
    let credit = credits::find_many(&mut tx, &[account.0], &[named.0]).await?.pop().ok_or_else(unknown)?;
    let steps = courses::steps(&mut tx, &[account.0], &[named.0]).await?;
    let addressee = credits::addressee(&mut tx, account).await?;
    let steps = steps.get(&named).map_or(&[][..], Vec::as_slice);
    Ok(axum::Json(CreditView::new(&credit, addressee.reference, steps)?))
}

/// Reverse a credit
///
/// What stands on no bill is cancelled (a `cancel` item; the books follow billing's answer, or move at once where finance holds it), what
/// stands on one is debited (a `debit` item). Once. Neither who proposed nor who approved the credit may do it.
#[utoipa::path(
    post, path = "/v1/credits/{id}/reverse", operation_id = "reverse_credit", tag = "credits",
    params(
        ("id" = String, Path, description = "The credit's id"),
        ("Idempotency-Key" = String, Header, description = "A value of your own; the same one when you retry"),
    ),
    request_body = ReverseCredit,
    responses(
        (status = 201, description = "Taken back", body = Reversal),
        (status = 403, description = "Not your role, or you gave it", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such credit", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "Reversed already, expired, paid out, or a reversal itself", body = ProblemBody,
         content_type = "application/problem+json"),
        (status = 422, description = "The request is not valid", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn reverse(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Keyed { key, body }: Keyed<ReverseCredit>,
) -> Result<Answer, Problem> {
    let answer = reverse_credit(&app.pool, app.clock.now(), &caller.0, &key, &id, body).await?;
    app.wake_jobs();
    Ok(answer)
}

/// Offer a credit to billing again
///
/// What billing refused, and finance holds, becomes a new item of the feed (`offer`).
#[utoipa::path(
    post, path = "/v1/credits/{id}/offer", operation_id = "offer_credit", tag = "credits",
    params(
        ("id" = String, Path, description = "The credit's id"),
        ("Idempotency-Key" = String, Header, description = "A value of your own; the same one when you retry"),
    ),
    request_body = SettleHeld,
    responses(
        (status = 201, description = "It waits for billing again", body = Settled),
        (status = 403, description = "Not your role", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such credit", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It is not with finance", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The request is not valid", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn offer(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Keyed { key, body }: Keyed<SettleHeld>,
) -> Result<Answer, Problem> {
    let answer = settle_held(&app.pool, app.clock.now(), &caller.0, &key, &id, Settling::Offer, body).await?;
    app.wake_jobs();
    Ok(answer)
}

/// Set a credit aside as unclaimed
///
/// What billing refused and nobody comes for. It can still be offered or paid out later.
#[utoipa::path(
    post, path = "/v1/credits/{id}/unclaimed", operation_id = "set_credit_aside", tag = "credits",
    params(
        ("id" = String, Path, description = "The credit's id"),
        ("Idempotency-Key" = String, Header, description = "A value of your own; the same one when you retry"),
    ),
    request_body = SettleHeld,
    responses(
        (status = 201, description = "Set aside", body = Settled),
        (status = 403, description = "Not your role", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such credit", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It is not with finance", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The request is not valid", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn unclaimed(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Keyed { key, body }: Keyed<SettleHeld>,
) -> Result<Answer, Problem> {
    Ok(settle_held(&app.pool, app.clock.now(), &caller.0, &key, &id, Settling::Unclaim, body).await?)
}

/// Pay a credit out in money
///
/// What billing refused, and finance holds or set aside. Billing makes the tax document. Neither who proposed nor who approved the credit may
/// do it.
#[utoipa::path(
    post, path = "/v1/credits/{id}/payment", operation_id = "pay_credit", tag = "credits",
    params(
        ("id" = String, Path, description = "The credit's id"),
        ("Idempotency-Key" = String, Header, description = "A value of your own; the same one when you retry"),
    ),
    request_body = PayHeld,
    responses(
        (status = 201, description = "Recorded as paid", body = Settled),
        (status = 403, description = "Not your role, or you gave it", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such credit", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It is not with finance", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The request is not valid", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn pay(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Keyed { key, body }: Keyed<PayHeld>,
) -> Result<Answer, Problem> {
    let PayHeld { reference, note } = body;
    let (settling, request) = (Settling::Pay(reference), SettleHeld { note });
    Ok(settle_held(&app.pool, app.clock.now(), &caller.0, &key, &id, settling, request).await?)
}
