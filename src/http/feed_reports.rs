//! Reports about the feed: its alarms, and whether all that was issued is accounted for.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use chrono::{Days, NaiveDate};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::billing::wants_csv;
use super::problem::ProblemBody;
use super::{App, Caller, Problem, Query};
use crate::domain::actor::Role;
use crate::domain::feed_file::cell;
use crate::domain::money::Money;
use crate::domain::refusal::Refusal;
use crate::flows::propose_credit_run::MoneyOnWire;
use crate::flows::watch_feed::{Alarm, watch_feed};
use crate::store::feed_watch::{self, Reconciled};
use crate::store::{Error, feed, money, operator, snapshot};

const READS: [Role; 6] = [Role::Billing, Role::Finance, Role::Auditor, Role::Supervisor, Role::Operations, Role::Admin];

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ListAlarms {
    /// Also say what would miss the bill run of this day, however far it is.
    bill_run: Option<NaiveDate>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct AlarmList {
    pub data: Vec<Alarm>,
}

/// List the feed's alarms
///
/// What is wrong now: the feed is stopped, something waits too long for its number, to be pulled or to be answered, a bill run is near
/// and will miss credits, a transaction is held open. The operator's settings say how long is too long. Empty when all is well.
#[utoipa::path(
    get, path = "/v1/billing/alarms", operation_id = "list_feed_alarms", tag = "billing", params(ListAlarms),
    responses(
        (status = 200, description = "What is wrong now", body = AlarmList),
        (status = 422, description = "A parameter is not valid", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn alarms(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<ListAlarms>,
) -> Result<axum::Json<AlarmList>, Problem> {
    caller.require(&READS)?;
    let mut data = watch_feed(&app.pool, app.clock.now(), query.bill_run).await?;
    data.extend(app.held_open.lock().ok().and_then(|held| held.clone()));
    Ok(axum::Json(AlarmList { data }))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct AskReconciliation {
    /// The first day of issue, in the operator's zone; thirty days before the last unless said.
    from: Option<NaiveDate>,
    /// The last day; today unless said.
    to: Option<NaiveDate>,
}

/// The credits of one day and currency, and what became of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReconciledDay {
    #[schema(value_type = String, example = "2026-11-05")]
    pub day: NaiveDate,
    pub issued: i64,
    #[schema(value_type = MoneyOnWire)]
    pub issued_sum: Money,
    /// In the feed.
    pub numbered: i64,
    #[schema(value_type = MoneyOnWire)]
    pub numbered_sum: Money,
    /// Not in the feed yet.
    pub waiting: i64,
    #[schema(value_type = MoneyOnWire)]
    pub waiting_sum: Money,
    /// Pulled by a consumer.
    pub delivered: i64,
    #[schema(value_type = MoneyOnWire)]
    pub delivered_sum: Money,
    /// Of those delivered: never answered.
    pub unanswered: i64,
    pub accepted: i64,
    pub partly_applied: i64,
    pub applied: i64,
    pub returned: i64,
    /// With finance, or settled by it.
    pub refused: i64,
    /// Reversed or expired; cancelled, or debited, or about to be.
    pub taken_back: i64,
    /// What of them stands on bills.
    #[schema(value_type = MoneyOnWire)]
    pub applied_sum: Money,
    /// Whether all is accounted for: issued = numbered + waiting, in number and sum, and each that was delivered is in one state.
    pub agrees: bool,
}

impl ReconciledDay {
    fn new(row: &Reconciled) -> Result<Self, Error> {
        let amount = |minor| money(minor, &row.currency, "credit.gross_minor");
        let states =
            [row.unanswered, row.accepted, row.partly_applied, row.applied, row.returned, row.refused, row.taken_back];
        let states: i64 = states.iter().sum();
        Ok(ReconciledDay {
            day: row.day,
            issued: row.issued,
            issued_sum: amount(row.issued_minor)?,
            numbered: row.numbered,
            numbered_sum: amount(row.numbered_minor)?,
            waiting: row.waiting,
            waiting_sum: amount(row.waiting_minor)?,
            delivered: row.delivered,
            delivered_sum: amount(row.delivered_minor)?,
            unanswered: row.unanswered,
            accepted: row.accepted,
            partly_applied: row.partly_applied,
            applied: row.applied,
            returned: row.returned,
            refused: row.refused,
            taken_back: row.taken_back,
            applied_sum: amount(row.applied_minor)?,
            agrees: row.issued == row.numbered + row.waiting
                && row.issued_minor == row.numbered_minor + row.waiting_minor
                && row.delivered == states,
        })
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Reconciliation {
    /// A day and currency each, the earliest first.
    pub data: Vec<ReconciledDay>,
}

/// The most days of one report.
const MOST_DAYS: u64 = 366;

/// Reconcile with billing
///
/// By day of issue and currency: issued = numbered + waiting, what was delivered, and how it was answered. In one moment of the books.
#[utoipa::path(
    get, path = "/v1/billing/reconciliation", operation_id = "get_feed_reconciliation", tag = "billing", params(AskReconciliation),
    responses(
        (status = 200, description = "A line for each day and currency",
         content((Reconciliation = "application/json"), (String = "text/csv"))),
        (status = 422, description = "A parameter is not valid", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn reconciliation(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<AskReconciliation>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.require(&READS)?;
    let mut tx = snapshot::open(&app.pool).await?;
    let zone = operator::get(&mut tx).await?.zone;
    let last = query.to.unwrap_or_else(|| zone.local(app.clock.now()).date_naive());
    let first = query.from.or_else(|| last.checked_sub_days(Days::new(30)));
    let bounds = first.zip(last.succ_opt()).filter(|(first, end)| {
        let most = first.checked_add_days(Days::new(MOST_DAYS));
        first < end && most.is_some_and(|most| *end <= most)
    });
    let instants = bounds.and_then(|(first, end)| zone.start_of(first).zip(zone.start_of(end)));
    let (from, to) = instants.ok_or_else(|| {
        Refusal::field("/query/from", format!("a day that is not after `to`, and at most {MOST_DAYS} days before it"))
    })?;
    let rows = feed_watch::reconciliation(&mut tx, feed::LANE, zone.name(), from, to).await?;
    let data = rows.iter().map(ReconciledDay::new).collect::<Result<Vec<_>, _>>()?;
    if wants_csv(&headers) {
        return Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], as_csv(&data)).into_response());
    }
    Ok(axum::Json(Reconciliation { data }).into_response())
}

fn as_csv(data: &[ReconciledDay]) -> String {
    let mut text =
        "day,currency,issued,issued_sum,numbered,numbered_sum,waiting,waiting_sum,delivered,delivered_sum,unanswered,\
                    accepted,partly_applied,applied,returned,refused,taken_back,applied_sum,agrees\r\n"
            .to_owned();
    for row in data {
        let cells = [
            row.day.to_string(),
            row.issued_sum.currency().code().to_owned(),
            row.issued.to_string(),
            row.issued_sum.digits(),
            row.numbered.to_string(),
            row.numbered_sum.digits(),
            row.waiting.to_string(),
            row.waiting_sum.digits(),
            row.delivered.to_string(),
            row.delivered_sum.digits(),
            row.unanswered.to_string(),
            row.accepted.to_string(),
            row.partly_applied.to_string(),
            row.applied.to_string(),
            row.returned.to_string(),
            row.refused.to_string(),
            row.taken_back.to_string(),
            row.applied_sum.digits(),
            row.agrees.to_string(),
        ];
        text += &cells.each_ref().map(|text| cell(text)).join(",");
        text += "\r\n";
    }
    text
}
