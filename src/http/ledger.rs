//! Finance and auditors: balances, control totals, the chain.

use axum::extract::State;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{App, Caller, Problem, Query};
use crate::domain::actor::Role;
use crate::domain::money::Money;
use crate::domain::proof::What;
use crate::domain::time::Instant;
use crate::flows::verify_books::verify_books;
use crate::store::{Error, books, chart, snapshot};

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
    /// The first thing that is wrong, in words.
    pub broken: Option<String>,
    /// What is wrong: what, where and what to do. A hundred at most.
    pub findings: Vec<ChainFinding>,
    /// How many findings there are in all.
    pub finding_count: usize,
}

/// One thing that is wrong.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChainFinding {
    pub what: What,
    pub words: String,
}

/// Verify the chain
///
/// Every entry against the row that it is of and against the one before it, rows that stand in no chain, and the control totals.
/// That the whole chain was not written anew shows against a checkpoint, which the database's owner cannot reach:
/// `makegood ledger verify --checkpoint FILE`.
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
        finding_count: found.findings.count,
        findings: found
            .findings
            .first
            .into_iter()
            .map(|finding| ChainFinding { what: finding.what, words: finding.words })
            .collect(),
    }))
}
