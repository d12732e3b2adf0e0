//! Finance and auditors: balances, control totals, the chain; and the credits themselves.

use axum::extract::{Path, State};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::ProblemBody;
use super::{App, Caller, Problem, Query};
use crate::domain::actor::Role;
use crate::domain::feed::{Standing, applied, credit_name, credit_named};
use crate::domain::money::Money;
use crate::domain::refusal::Refusal;
use crate::domain::time::Instant;
use crate::flows::propose_credit_run::MoneyOnWire;
use crate::flows::verify_books::verify_books;
use crate::store::credits::Credit;
use crate::store::{Error, books, chart, credits, customer, feed, snapshot};

const READS: [Role; 2] = [Role::Finance, Role::Auditor];

/// One account of the books.
#[derive(Debug, Serialize, ToSchema)]
pub struct BalanceLine {
    #[schema(example = "OWED")]
    pub account: String,
    /// The same in the operator's general ledger.
    #[schema(example = "2310")]
    pub gl: String,
    #[schema(example = "Credits owed to customers")]
    pub name: String,
    #[schema(example = "NZD")]
    pub currency: String,
    /// Digits in the currency's decimals.
    #[schema(example = "265.00")]
    pub debit: String,
    #[schema(example = "265.00")]
    pub credit: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct TrialBalance {
    #[schema(value_type = Option<String>)]
    pub effective_through: Option<NaiveDate>,
    pub lines: Vec<BalanceLine>,
    /// Debits equal credits, in every currency.
    pub balanced: bool,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct BalanceAt {
    /// Only what is effective up to this day.
    effective_through: Option<NaiveDate>,
    /// Only what was recorded up to this instant.
    #[param(value_type = Option<String>)]
    recorded_through: Option<Instant>,
}

/// Trial balance
#[utoipa::path(
    get, path = "/v1/ledger/trial-balance", operation_id = "get_trial_balance", tag = "ledger", params(BalanceAt),
    responses((status = 200, description = "Debits and credits by account", body = TrialBalance))
)]
pub async fn trial_balance(
    State(app): State<App>,
    caller: Caller,
    Query(at): Query<BalanceAt>,
) -> Result<axum::Json<TrialBalance>, Problem> {
    caller.require(&READS)?;
    let mut conn = app.pool.acquire().await.map_err(Error::from)?;
    let through = at.effective_through.unwrap_or(NaiveDate::from_ymd_opt(9999, 12, 31).unwrap_or(NaiveDate::MAX));
    let recorded = at.recorded_through.unwrap_or(Instant::MAX);
    let rows = books::trial_balance(&mut conn, through, recorded.utc()).await?;
    let (_, chart) = chart::newest(&mut conn).await?;
    let digits =
        |minor, currency: &str| crate::store::money(minor, currency, "transfer.amount_minor").map(Money::digits);
    let mut sums = std::collections::BTreeMap::<String, i64>::new();
    let mut lines = Vec::with_capacity(rows.len());
    for row in rows {
        let code = crate::domain::books::Code::parse(&row.code);
        *sums.entry(row.currency.clone()).or_default() += row.debit_minor - row.credit_minor;
        lines.push(BalanceLine {
            debit: digits(row.debit_minor, &row.currency)?,
            credit: digits(row.credit_minor, &row.currency)?,
            gl: code.map_or(&row.code[..], |code| chart.gl(code)).to_owned(),
            name: code.map_or(&row.code[..], |code| chart.name(code)).to_owned(),
            account: row.code,
            currency: row.currency,
        });
    }
    let balanced = sums.values().all(|sum| *sum == 0);
    Ok(axum::Json(TrialBalance { effective_through: at.effective_through, lines, balanced }))
}

/// Two figures that must be the same.
#[derive(Debug, Serialize, ToSchema)]
pub struct Control {
    pub name: &'static str,
    pub left: i64,
    pub right: i64,
    pub agrees: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ControlTotals {
    pub agree: bool,
    pub controls: Vec<Control>,
    /// Credits issued.
    pub issued: i64,
    /// Committed, and not numbered yet.
    pub unnumbered: i64,
    /// Credits that billing was served.
    pub delivered: i64,
    /// Credits that billing finally answered.
    pub answered: i64,
}

/// Control totals
///
/// The books against the credits, the answers and the feed: each line agrees, at every moment.
#[utoipa::path(
    get, path = "/v1/ledger/control-totals", operation_id = "get_control_totals", tag = "ledger",
    responses((status = 200, description = "Each control with its two figures", body = ControlTotals))
)]
pub async fn control_totals(State(app): State<App>, caller: Caller) -> Result<axum::Json<ControlTotals>, Problem> {
    caller.require(&READS)?;
    let mut tx = snapshot::open(&app.pool).await?;
    let controls: Vec<Control> = books::control_totals(&mut tx)
        .await?
        .into_iter()
        .map(|one| Control { name: one.name, left: one.left, right: one.right, agrees: one.left == one.right })
        .collect();
    let feed = books::feed_counts(&mut tx).await?;
    Ok(axum::Json(ControlTotals {
        agree: controls.iter().all(|one| one.agrees),
        controls,
        issued: feed.issued,
        unnumbered: feed.unnumbered,
        delivered: feed.delivered,
        answered: feed.answered,
    }))
}

/// What walking the chain found.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChainVerified {
    pub intact: bool,
    pub checked: i64,
    /// The last entry's hash: publish it, and nobody can change what came before.
    pub head: String,
    /// The first entry that is wrong, in words.
    pub broken: Option<String>,
}

/// Verify the chain
#[utoipa::path(
    get, path = "/v1/ledger/verify", operation_id = "verify_ledger", tag = "ledger",
    responses((status = 200, description = "Whether every row stands where it stood", body = ChainVerified))
)]
pub async fn verify(State(app): State<App>, caller: Caller) -> Result<axum::Json<ChainVerified>, Problem> {
    caller.require(&READS)?;
    let found = verify_books(&app.pool).await?;
    Ok(axum::Json(ChainVerified {
        intact: found.broken.is_none(),
        checked: found.checked,
        head: hex::encode(found.head),
        broken: found.broken,
    }))
}

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
    /// `waiting`, `partly_applied`, `applied`, `returned` or `refused`.
    #[schema(example = "applied")]
    pub standing: &'static str,
    #[schema(value_type = MoneyOnWire)]
    pub applied: Money,
    /// The bills that it stands on.
    pub bills: Vec<String>,
}

impl CreditView {
    fn new(credit: &Credit, account: String, answers: &[feed::Recorded]) -> Self {
        let said: Vec<_> = answers.iter().map(|recorded| recorded.answered.clone()).collect();
        CreditView {
            id: credit_name(credit.id),
            account,
            road: credit.road.name(),
            reason: credit.reason.clone(),
            gross: credit.gross,
            net: credit.net,
            tax: credit.tax,
            effective_on: credit.effective_on,
            issued_at: credit.issued_at,
            standing: Standing::of(credit.gross, &said).name(),
            applied: applied(credit.gross, &said),
            bills: said
                .iter()
                .filter(|answer| answer.kind == crate::domain::feed::AnswerKind::Applied)
                .map(|answer| answer.reference.clone())
                .collect(),
        }
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
    let answers = feed::answers(&mut tx, &of, &ids).await?;
    let addressees = credits::addressees(&mut tx, &of).await?;
    let data = found
        .iter()
        .map(|credit| {
            let account = addressees.get(&credit.account).map(|one| one.reference.clone()).unwrap_or_default();
            CreditView::new(credit, account, answers.get(&credit.id).map_or(&[], Vec::as_slice))
        })
        .collect();
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
    // The credit's name does not say whose it is: the feed does, once it is numbered.
    let account =
        feed::accounts_of(&mut conn, feed::LANE, &[named.0], i64::MAX).await?.remove(&named).ok_or_else(unknown)?;
    drop(conn);
    let visible = if actor.has(Role::Customer) { actor.own_accounts() } else { vec![account] };
    let mut tx = customer::open(&app.pool, &visible).await?;
    let credit = credits::find_many(&mut tx, &[account.0], &[named.0]).await?.pop().ok_or_else(unknown)?;
    let answers = feed::answers(&mut tx, &[account.0], &[named.0]).await?;
    let addressee = credits::addressee(&mut tx, account).await?;
    let said = answers.get(&named).map_or(&[][..], Vec::as_slice);
    Ok(axum::Json(CreditView::new(&credit, addressee.reference, said)))
}
