//! Finance: the transfers as files, accounting periods, journal batches, and the chart they are written by.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::{IntoParams, ToSchema};

use super::problem::ProblemBody;
use super::{App, Caller, Keyed, Problem, Query};
use crate::domain::accounting::PeriodState;
use crate::domain::actor::Role;
use crate::domain::books::Code;
use crate::domain::export::{COLUMNS, Cells};
use crate::domain::feed::credit_named;
use crate::domain::ids::AccountId;
use crate::domain::period::Month;
use crate::domain::refusal::Refusal;
use crate::domain::sheet;
use crate::flows::close_period::{ClosePeriod, Period, close_period, closed_periods};
use crate::flows::make_journal::{JournalBatch, MakeJournal, make_journal};
use crate::store::ledger::{self, Filter};
use crate::store::{Error, accounting, chart, feed, journals, operator, snapshot};

const READS: [Role; 2] = [Role::Finance, Role::Auditor];

/// How many transfers a page has unless asked, and at most.
const USUAL: i64 = 1_000;
const MOST: i64 = 10_000;

/// How many open months a list of periods shows.
const MOST_OPEN: usize = 24;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListTransfers {
    /// Only what took effect in this month.
    #[param(value_type = Option<String>, example = "2026-10")]
    period: Option<Month>,
    /// Only those of this account.
    account: Option<String>,
    /// Only those of this credit.
    credit: Option<String>,
    /// Go on after this cursor, with the same filters.
    after: Option<String>,
    /// 1,000 unless given, 10,000 at most.
    limit: Option<i64>,
}

/// Transfers in the order in which they were numbered.
#[derive(Debug, Serialize, ToSchema)]
pub struct TransferPage {
    pub data: Vec<Cells>,
    /// The place after the last of this page; `after` of the next request.
    pub next_cursor: Option<String>,
    pub has_more: bool,
}

/// List the transfers of the books
///
/// In the order in which the sequencer numbered them, so a full page at a cursor never changes. What was posted a moment ago may
/// not be numbered yet. As a file with `Accept: text/csv` or `application/x-ndjson`; the header `Link` then leads to the next page.
/// A cell of the CSV that a spreadsheet would take for a formula has an apostrophe before it.
#[utoipa::path(
    get, path = "/v1/ledger/transfers", operation_id = "list_transfers", tag = "ledger", params(ListTransfers),
    responses(
        (status = 200, description = "A page",
         content((TransferPage = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"))),
        (status = 422, description = "A parameter is not valid", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn transfers(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    Query(query): Query<ListTransfers>,
) -> Result<Response, Problem> {
    caller.require(&READS)?;
    let limit = super::limit(query.limit, USUAL, MOST)?;
    let unknown = |name: &str| Refusal::not_found("credit", &name.chars().take(64).collect::<String>());
    let credit = query.credit.as_deref().map(|name| credit_named(name).ok_or_else(|| unknown(name))).transpose()?;
    let filter = Filter {
        days: query.period.and_then(ledger::days_of),
        account: query.account.as_deref().map(|reference| AccountId::of(reference).0),
        document: credit.map(|credit| credit.0),
    };
    let mark = mark(&query);
    let after = query.after.as_deref().map_or(Ok(0), |cursor| place(cursor, mark))?;
    let mut tx = snapshot::open(&app.pool).await?;
    let (_, chart) = chart::newest(&mut tx).await?;
    let mut rows = ledger::page(&mut tx, feed::LANE, after, filter, limit + 1).await?;
    let wanted = usize::try_from(limit).map_err(|_| Error::Corrupt("a limit below zero".to_owned()))?;
    let has_more = rows.len() > wanted;
    rows.truncate(wanted);
    let next_cursor = rows.last().map(|(no, _)| cursor(*no, mark)).or(query.after.clone());
    let cells: Vec<Cells> = rows.iter().map(|(_, row)| row.cells(&chart)).collect();
    let next = next_cursor.as_ref().filter(|_| has_more).map(|next| link(&query, limit, next));
    match kind(&headers) {
        FileKind::Json => Ok(axum::Json(TransferPage { data: cells, next_cursor, has_more }).into_response()),
        FileKind::Csv => {
            let mut text = sheet::row(COLUMNS);
            cells.iter().for_each(|one| text.push_str(&one.csv()));
            Ok(file("text/csv; charset=utf-8", text, next))
        }
        FileKind::Ndjson => {
            let line = |one: &Cells| serde_json::to_string(one).map(|line| line + "\n");
            let text = cells.iter().map(line).collect::<Result<String, _>>();
            let text = text.map_err(|error| Error::Corrupt(format!("a transfer is no JSON: {error}")))?;
            Ok(file("application/x-ndjson", text, next))
        }
    }
}

/// What a cursor belongs to.
fn mark(query: &ListTransfers) -> [u8; 8] {
    let period = query.period.map(|period| period.to_string());
    let filters = [period.as_deref(), query.account.as_deref(), query.credit.as_deref()];
    let hash: [u8; 32] = Sha256::digest(filters.map(|one| one.unwrap_or_default()).join("\u{1f}")).into();
    let mut mark = [0; 8];
    mark.copy_from_slice(&hash[..8]);
    mark
}

fn cursor(no: i64, mark: [u8; 8]) -> String {
    URL_SAFE_NO_PAD.encode([no.to_be_bytes(), mark].concat())
}

fn place(text: &str, mark: [u8; 8]) -> Result<i64, Refusal> {
    let read = || {
        let bytes: [u8; 16] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (no, of) = bytes.split_first_chunk::<8>()?;
        Some(i64::from_be_bytes(*no)).filter(|no| *no >= 0 && of == mark)
    };
    read().ok_or_else(|| {
        Refusal::field("/query/after", "not a cursor of this list with these filters; start again without it")
    })
}

fn link(query: &ListTransfers, limit: i64, next: &str) -> String {
    let period = query.period.map(|period| period.to_string());
    let filters = [("period", &period), ("account", &query.account), ("credit", &query.credit)];
    let filters = filters.into_iter().filter_map(|(name, value)| value.as_ref().map(|value| (name, value.clone())));
    let pairs = filters.chain([("limit", limit.to_string()), ("after", next.to_owned())]);
    let encoded = pairs.map(|(name, value)| format!("{name}={}", escaped(&value))).collect::<Vec<_>>();
    format!("/v1/ledger/transfers?{}", encoded.join("&"))
}

/// A value of a query string: everything but plain letters and digits as percent and two digits.
fn escaped(value: &str) -> String {
    value
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileKind {
    Json,
    Csv,
    Ndjson,
}

fn kind(headers: &HeaderMap) -> FileKind {
    let accepts = headers.get(header::ACCEPT).and_then(|accepts| accepts.to_str().ok()).unwrap_or_default();
    let named = accepts.split(',').filter_map(|kind| kind.split(';').next()).find_map(|kind| {
        match kind.trim().to_ascii_lowercase().as_str() {
            "text/csv" => Some(FileKind::Csv),
            "application/x-ndjson" => Some(FileKind::Ndjson),
            "application/json" => Some(FileKind::Json),
            _ => None,
        }
    });
    named.unwrap_or(FileKind::Json)
}

fn file(kind: &'static str, text: String, next: Option<String>) -> Response {
    let mut response = ([(header::CONTENT_TYPE, kind)], text).into_response();
    if let Some(link) = next.and_then(|next| format!("<{next}>; rel=\"next\"").parse().ok()) {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

/// The accounting periods.
#[derive(Debug, Serialize, ToSchema)]
pub struct PeriodList {
    /// The first day on which a posting may take effect: what is dated before it takes effect on it.
    #[schema(value_type = String, example = "2026-11-01")]
    pub open_from: NaiveDate,
    /// The newest first.
    pub data: Vec<Period>,
}

/// List the accounting periods
///
/// Those that close or are locked, and the open months from the first open day until now. A closing period shows the hash of its
/// trial balance, which is what somebody signs to lock it.
#[utoipa::path(
    get, path = "/v1/ledger/periods", operation_id = "list_periods", tag = "ledger",
    responses((status = 200, description = "The newest first", body = PeriodList))
)]
pub async fn periods(State(app): State<App>, caller: Caller) -> Result<axum::Json<PeriodList>, Problem> {
    caller.require(&READS)?;
    let mut tx = snapshot::open(&app.pool).await?;
    let zone = operator::get(&mut tx).await?.zone;
    let open_from = accounting::shown_open_from(&mut tx).await?;
    let closed = closed_periods(&mut tx).await?;
    let first = match (closed.first(), accounting::first_month(&mut tx).await?) {
        (Some(newest), _) => Some(newest.period.next()),
        (None, Some(day)) => day.format("%Y-%m").to_string().parse::<Month>().ok(),
        (None, None) => None,
    };
    let mut month = Month::containing(app.clock.now(), zone);
    let mut data = Vec::new();
    while first.is_some_and(|first| first <= month) && data.len() < MOST_OPEN {
        data.push(Period {
            period: month,
            state: PeriodState::Open,
            closing_at: None,
            closing_by: None,
            locked_at: None,
            locked_by: None,
            trial_balance_hash: None,
            provisions: Vec::new(),
        });
        month = month.previous();
    }
    data.extend(closed);
    Ok(axum::Json(PeriodList { open_from, data }))
}

/// Close an accounting period
///
/// First `closing`: the books wait for whoever is posting, provisions are posted for what is still to come, and nothing else goes
/// into the period; what is dated into it takes effect on the first open day. Then somebody else sends `locked` with the hash of
/// the trial balance. Periods close one after the other, and none is opened again.
#[utoipa::path(
    post, path = "/v1/ledger/periods", operation_id = "close_period", tag = "ledger",
    params(("Idempotency-Key" = String, Header, description = "A value of your own; the same one when you retry")),
    request_body = ClosePeriod,
    responses(
        (status = 200, description = "Done", body = Period),
        (status = 403, description = "Not your role, or you began to close it", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "Not over, not its turn, or done already", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "Not the hash of the trial balance", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn close(State(app): State<App>, caller: Caller, request: Keyed<ClosePeriod>) -> Result<Response, Problem> {
    Ok(close_period(&app.pool, app.clock.now(), &caller.0, &request.key, request.body).await?.into_response())
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListJournals {
    #[param(value_type = Option<String>, example = "2026-10")]
    period: Option<Month>,
    /// Go on after this number.
    #[serde(default)]
    after: i64,
    /// 100 unless given, 1,000 at most.
    limit: Option<i64>,
}

/// Journal batches by number.
#[derive(Debug, Serialize, ToSchema)]
pub struct JournalList {
    pub data: Vec<JournalBatch>,
    /// `after` of the next request; none where this is the end.
    pub next: Option<i64>,
}

/// List the journal batches
#[utoipa::path(
    get, path = "/v1/ledger/journals", operation_id = "list_journals", tag = "ledger", params(ListJournals),
    responses(
        (status = 200, description = "By number", body = JournalList),
        (status = 422, description = "A parameter is not valid", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn list_journals(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<ListJournals>,
) -> Result<axum::Json<JournalList>, Problem> {
    caller.require(&READS)?;
    let limit = super::limit(query.limit, 100, 1_000)?;
    let mut conn = app.pool.acquire().await.map_err(Error::from)?;
    let found = journals::list(&mut conn, query.period, query.after, limit).await?;
    let is_full = i64::try_from(found.len()).is_ok_and(|count| count == limit);
    let next = found.last().map(|batch| batch.no).filter(|_| is_full);
    let data = found.iter().map(JournalBatch::new).collect::<Result<_, Error>>()?;
    Ok(axum::Json(JournalList { data, next }))
}

/// Make a journal batch
///
/// Everything that took effect in the period and stands in no batch yet, summed by day and account under the codes of your general
/// ledger. Numbers have no gap, and a batch that was made never changes: what is posted later stands in the next one.
#[utoipa::path(
    post, path = "/v1/ledger/journals", operation_id = "make_journal", tag = "ledger",
    params(("Idempotency-Key" = String, Header, description = "A value of your own; the same one when you retry")),
    request_body = MakeJournal,
    responses(
        (status = 201, description = "Made", body = JournalBatch),
        (status = 403, description = "Not your role", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "Nothing new in the period", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The request is not valid", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn create_journal(
    State(app): State<App>,
    caller: Caller,
    request: Keyed<MakeJournal>,
) -> Result<Response, Problem> {
    Ok(make_journal(&app.pool, app.clock.now(), &caller.0, &request.key, request.body).await?.into_response())
}

/// Read a journal batch
///
/// Its figures; the file itself with `Accept: text/csv`, the same bytes whenever it is asked for, with their SHA-256 as `ETag`.
#[utoipa::path(
    get, path = "/v1/ledger/journals/{no}", operation_id = "get_journal", tag = "ledger",
    params(("no" = String, Path, description = "The batch's number", example = "7")),
    responses(
        (status = 200, description = "The batch", content((JournalBatch = "application/json"), (String = "text/csv"))),
        (status = 404, description = "No such batch", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn get_journal(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    Path(no): Path<String>,
) -> Result<Response, Problem> {
    caller.require(&READS)?;
    let unknown = || Refusal::not_found("journal batch", &no.chars().take(64).collect::<String>());
    let number: i64 = no.parse().map_err(|_| unknown())?;
    let mut conn = app.pool.acquire().await.map_err(Error::from)?;
    let batch = journals::find(&mut conn, number).await?.ok_or_else(unknown)?;
    match kind(&headers) {
        FileKind::Csv => {
            let tag = format!("\"{}\"", hex::encode(&batch.hash));
            let kind = "text/csv; charset=utf-8".to_owned();
            Ok(([(header::CONTENT_TYPE, kind), (header::ETAG, tag)], batch.body).into_response())
        }
        FileKind::Json | FileKind::Ndjson => Ok(axum::Json(JournalBatch::new(&batch)?).into_response()),
    }
}

/// The chart as it is now.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChartView {
    /// 0 where none was recorded yet: then accounts go by our names.
    pub version: i32,
    pub accounts: Vec<ChartAccount>,
    pub reasons: Vec<ChartReason>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ChartAccount {
    #[schema(example = "OWED")]
    pub account: String,
    #[schema(example = "2310")]
    pub gl: String,
    #[schema(example = "Credits owed to customers")]
    pub name: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ChartReason {
    #[schema(example = "sla_tier")]
    pub reason: String,
    #[schema(example = "contract")]
    pub road: &'static str,
    #[schema(example = "SLA")]
    pub account: String,
    #[schema(example = "GST15")]
    pub tax_code: String,
    /// Hundredths of a percent.
    #[schema(example = 1500)]
    pub tax_rate_bp: u16,
    /// `included` or `excluded`.
    pub tax_basis: &'static str,
    pub wording: String,
}

/// Read the chart of the books
///
/// What each account is called in the operator's general ledger, and what each reason code is written against and taxed by.
#[utoipa::path(
    get, path = "/v1/ledger/chart", operation_id = "get_chart", tag = "ledger",
    responses((status = 200, description = "The newest version", body = ChartView))
)]
pub async fn get_chart(State(app): State<App>, caller: Caller) -> Result<axum::Json<ChartView>, Problem> {
    caller.require(&READS)?;
    let mut conn = app.pool.acquire().await.map_err(Error::from)?;
    let (version, chart) = chart::newest(&mut conn).await?;
    let accounts = Code::ALL.map(|code| ChartAccount {
        account: code.name().to_owned(),
        gl: chart.gl(code).to_owned(),
        name: chart.name(code).to_owned(),
    });
    let reasons = chart.reasons.iter().filter_map(|(reason, one)| {
        let rule = chart.tax.get(&one.tax)?;
        Some(ChartReason {
            reason: reason.clone(),
            road: one.road.name(),
            account: one.account.name().to_owned(),
            tax_code: rule.code.clone(),
            tax_rate_bp: rule.rate_bp,
            tax_basis: rule.basis.name(),
            wording: one.wording.clone(),
        })
    });
    Ok(axum::Json(ChartView { version, accounts: accounts.into(), reasons: reasons.collect() }))
}
