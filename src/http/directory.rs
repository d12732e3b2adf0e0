//! Doors for the directory: where mailboxes are contested, moving or nowhere; settling that; and a whole directory at once.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::batches::{self, BulkFile, RefusedBody, ReportBody};
use super::problem::ProblemBody;
use super::{App, Caller, Keyed, Problem, Query, RequestId};
use crate::domain::actor::Role;
use crate::domain::ids::AccountId;
use crate::domain::period::Month;
use crate::domain::placement::PlacementEvent;
use crate::domain::refusal::Refusal;
use crate::domain::time::{Instant, Interval};
use crate::flows::once::Answer;
use crate::flows::settle_placement::{SettlePlacement, Settled, settle_placement};
use crate::flows::take_snapshot::{Snapshot, USUALLY_GONE, take_snapshot};
use crate::store::directory::{self, Place};
use crate::store::{Error, accounts, snapshot};

/// Everybody on the operator's side may read what is not known.
const READERS: [Role; 6] = [Role::Operations, Role::Agent, Role::Supervisor, Role::Finance, Role::Auditor, Role::Admin];

const MOST: i64 = 500;
const USUAL: i64 = 100;

/// Which part of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OfPeriod {
    /// The calendar month, in the zone of each account.
    #[param(value_type = String, example = "2026-10")]
    period: Month,
    /// At most about this many, up to 500; 100 unless given.
    limit: Option<i64>,
    /// `next` of the page before.
    after: Option<String>,
}

/// Which part of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OfNow {
    /// At most about this many, up to 500; 100 unless given.
    limit: Option<i64>,
    /// `next` of the page before.
    after: Option<String>,
}

/// What one source says of where a mailbox was.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlacementSaid {
    #[schema(example = "directory")]
    pub source: String,
    #[schema(value_type = String)]
    pub from: Instant,
    /// Null: nowhere.
    #[schema(example = "mx-07")]
    pub shard: Option<String>,
    /// It is moving there.
    pub moving_to: Option<String>,
    /// The side of the move that is live, `from` or `to`; null where nobody said.
    pub live: Option<&'static str>,
}

impl From<PlacementEvent> for PlacementSaid {
    fn from(event: PlacementEvent) -> Self {
        PlacementSaid {
            source: event.source,
            from: event.from,
            shard: event.shard,
            moving_to: event.moving_to,
            live: event.live.map(|side| side.name()),
        }
    }
}

/// A mailbox of which it is not known where it was.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContestedMailbox {
    #[schema(example = "20418876")]
    pub account: String,
    pub mailbox: String,
    /// When, within the period.
    #[schema(value_type = Vec<Object>)]
    pub times: Vec<Interval>,
    pub said: Vec<PlacementSaid>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ContestedPage {
    pub data: Vec<ContestedMailbox>,
    pub has_more: bool,
    /// What to ask for as `after`; null at the end.
    pub next: Option<String>,
}

/// List contested mailboxes
///
/// Of which two sources say different things in the period, or which were moving with no side declared live. They count
/// in the customer's favour and are held back; `POST /v1/placements/settlements` settles one. A page may be short, or
/// empty, and not be the last: go on until `has_more` is false. As CSV with `Accept: text/csv`; the header
/// `Link` then names the next page.
#[utoipa::path(
    get, path = "/v1/placements/contested", operation_id = "list_contested", tag = "placements", params(OfPeriod),
    responses(
        (status = 200, description = "One page, by account and mailbox",
         content((ContestedPage = "application/json"), (String = "text/csv"))),
        (status = 422, description = "A parameter is not valid", body = ProblemBody),
    )
)]
pub async fn contested(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    Query(query): Query<OfPeriod>,
) -> Result<Response, Problem> {
    caller.require(&READERS)?;
    let limit = limit(query.limit)?;
    let after = query.after.as_deref().map(place).transpose()?;
    let mut tx = snapshot::open(&app.pool).await?;
    let page = directory::contested(&mut tx, query.period, after, limit).await?;
    let next = page.next.as_ref().map(written);
    if wants_csv(&headers) {
        let rows = page.rows.iter().map(|row| {
            let times: Vec<String> = row.times.iter().map(|at| format!("{}/{}", at.start(), at.end())).collect();
            let said: Vec<String> = row.said.iter().map(shown).collect();
            [row.account.clone(), row.mailbox.clone(), times.join(" "), said.join("; ")]
        });
        let path = format!("/v1/placements/contested?period={}", query.period);
        return Ok(csv(["account", "mailbox", "times", "said"], rows, next.map(|next| format!("{path}&after={next}"))));
    }
    let data = page.rows.into_iter().map(|row| ContestedMailbox {
        account: row.account,
        mailbox: row.mailbox,
        times: row.times,
        said: row.said.into_iter().map(PlacementSaid::from).collect(),
    });
    Ok(axum::Json(ContestedPage { data: data.collect(), has_more: next.is_some(), next }).into_response())
}

/// A mailbox that is moving, as one source says it.
#[derive(Debug, Serialize, ToSchema)]
pub struct MovingMailbox {
    #[schema(example = "20418876")]
    pub account: String,
    pub mailbox: String,
    pub said: PlacementSaid,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct MovingPage {
    pub data: Vec<MovingMailbox>,
    pub has_more: bool,
    /// What to ask for as `after`; null at the end.
    pub next: Option<String>,
}

/// List moving mailboxes
///
/// Those that are moving now, with the side that was declared live, by account and mailbox. Pages and CSV as for
/// the contested ones.
#[utoipa::path(
    get, path = "/v1/placements/moving", operation_id = "list_moving", tag = "placements", params(OfNow),
    responses(
        (status = 200, description = "One page, by account and mailbox",
         content((MovingPage = "application/json"), (String = "text/csv"))),
        (status = 422, description = "A parameter is not valid", body = ProblemBody),
    )
)]
pub async fn moving(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    Query(query): Query<OfNow>,
) -> Result<Response, Problem> {
    caller.require(&READERS)?;
    let limit = limit(query.limit)?;
    let after = query.after.as_deref().map(place).transpose()?;
    let mut tx = snapshot::open(&app.pool).await?;
    let page = directory::moving(&mut tx, app.clock.now(), after, limit).await?;
    let next = page.next.as_ref().map(written);
    if wants_csv(&headers) {
        let rows = page.rows.iter().map(|row| {
            let event = &row.event;
            [
                row.account.clone(),
                row.mailbox.clone(),
                event.shard.clone().unwrap_or_default(),
                event.moving_to.clone().unwrap_or_default(),
                event.live.map(|side| side.name().to_owned()).unwrap_or_default(),
                event.from.to_string(),
                event.source.clone(),
            ]
        });
        let names = ["account", "mailbox", "shard", "moving_to", "live", "from", "source"];
        return Ok(csv(names, rows, next.map(|next| format!("/v1/placements/moving?after={next}"))));
    }
    let data = page.rows.into_iter().map(|row| MovingMailbox {
        account: row.account,
        mailbox: row.mailbox,
        said: row.event.into(),
    });
    Ok(axum::Json(MovingPage { data: data.collect(), has_more: next.is_some(), next }).into_response())
}

/// Somebody who pays and of whom it is not known where he lives.
#[derive(Debug, Serialize, ToSchema)]
pub struct NeverPlacedRow {
    #[schema(example = "20418876")]
    pub account: String,
    /// A mailbox that no source ever placed on a shard; null where no mailbox of the account was anywhere in the period.
    pub mailbox: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct NeverPlacedPage {
    pub data: Vec<NeverPlacedRow>,
    pub has_more: bool,
    /// What to ask for as `after`; null at the end.
    pub next: Option<String>,
}

/// List who was never placed
///
/// Accounts with a subscription or a charge in the period of which no mailbox was anywhere in it, and their mailboxes that no
/// source ever placed on a shard: no outage reaches them, so nothing is ever credited to them. By account; pages and CSV
/// as for the contested ones.
#[utoipa::path(
    get, path = "/v1/placements/never-placed", operation_id = "list_never_placed", tag = "placements", params(OfPeriod),
    responses(
        (status = 200, description = "One page, by account",
         content((NeverPlacedPage = "application/json"), (String = "text/csv"))),
        (status = 422, description = "A parameter is not valid", body = ProblemBody),
    )
)]
pub async fn never_placed(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    Query(query): Query<OfPeriod>,
) -> Result<Response, Problem> {
    caller.require(&READERS)?;
    let limit = limit(query.limit)?;
    let after = query.after.as_deref().map(place).transpose()?.map(|(account, _)| account);
    let mut tx = snapshot::open(&app.pool).await?;
    let (rows, next) = directory::never_placed(&mut tx, query.period, after, limit).await?;
    let next = next.map(|account| written(&(account, String::new())));
    if wants_csv(&headers) {
        let rows = rows.iter().map(|row| [row.account.clone(), row.mailbox.clone().unwrap_or_default()]);
        let path = format!("/v1/placements/never-placed?period={}", query.period);
        return Ok(csv(["account", "mailbox"], rows, next.map(|next| format!("{path}&after={next}"))));
    }
    let data = rows.into_iter().map(|row| NeverPlacedRow { account: row.account, mailbox: row.mailbox });
    Ok(axum::Json(NeverPlacedPage { data: data.collect(), has_more: next.is_some(), next }).into_response())
}

/// Settle where a mailbox was
///
/// For a time that is over, among the shards that sources named for it. It outranks every source for that time, so the
/// mailbox is no longer contested in it. Said again for the same `from`, it is a correction; with `to` as `from`, it is taken
/// back.
#[utoipa::path(
    post, path = "/v1/placements/settlements", operation_id = "settle_placement", tag = "placements",
    params(("Idempotency-Key" = String, Header, description = "A value of your own; the same one when you retry")),
    request_body = SettlePlacement,
    responses(
        (status = 201, description = "Settled", body = Settled),
        (status = 404, description = "No such account", body = ProblemBody),
        (status = 409, description = "It runs into what was settled before", body = ProblemBody),
        (status = 422, description = "The request is not valid", body = ProblemBody),
    )
)]
pub async fn settle(
    State(app): State<App>,
    caller: Caller,
    request: Keyed<SettlePlacement>,
) -> Result<Answer, Problem> {
    let actor = caller.require(&[Role::Operations])?;
    Ok(settle_placement(&app.pool, app.clock.now(), actor, &request.key, request.body).await?)
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OfAccount {
    /// The operator's reference of the account.
    account: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct SettlementList {
    pub data: Vec<Settled>,
}

/// List what was settled
///
/// About the account's mailboxes, by mailbox and start; of each start the newest version first.
#[utoipa::path(
    get, path = "/v1/placements/settlements", operation_id = "list_settlements", tag = "placements", params(OfAccount),
    responses(
        (status = 200, description = "All versions", body = SettlementList),
        (status = 404, description = "No such account", body = ProblemBody),
    )
)]
pub async fn settlements(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<OfAccount>,
) -> Result<axum::Json<SettlementList>, Problem> {
    caller.require(&READERS)?;
    let mut tx = snapshot::open(&app.pool).await?;
    let id = AccountId::of(&query.account);
    let account =
        accounts::find(&mut tx, id, None).await?.ok_or_else(|| Refusal::not_found("account", &query.account))?;
    let found = directory::settlements(&mut tx, id).await?;
    let data = found.into_iter().map(|one| Settled::new(&account.reference, one)).collect();
    Ok(axum::Json(SettlementList { data }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SnapshotParams {
    /// The directory that the file is of.
    #[param(example = "directory")]
    source: String,
    /// The instant at which it was so.
    #[param(value_type = String, example = "2026-11-01T00:00:00+13:00")]
    taken_at: Instant,
    /// How many lines the file has: a file that was cut is then refused.
    count: Option<i64>,
    /// How many in a hundred of the mailboxes that the source had may be missing from the file; 10 unless given.
    allow_gone: Option<u8>,
    /// Checks everything, says what it would change, also in money, and records nothing.
    #[serde(default)]
    dry_run: bool,
}

/// Take a full directory
///
/// All mailboxes of one source as they were at one instant, turned into changes: new ones, moves, and ends of those
/// that are not in the file. Fields: `account`, `mailbox`, `shard`. The same file again changes nothing. When too many
/// mailboxes would end, the file is refused: it may have been cut.
#[utoipa::path(
    put, path = "/v1/placements/snapshot", operation_id = "take_snapshot", tag = "placements", params(SnapshotParams),
    request_body(content((String = "application/x-ndjson"), (String = "text/csv"))),
    responses(
        (status = 200, description = "Recorded, or with `dry_run` found to be right", body = ReportBody),
        (status = 415, description = "Neither NDJSON nor CSV", body = ProblemBody),
        (status = 422, description = "Some lines are wrong, or it seems to be cut, so nothing was recorded", body = RefusedBody),
    )
)]
pub async fn put_snapshot(
    State(app): State<App>,
    caller: Caller,
    request_id: RequestId,
    Query(params): Query<SnapshotParams>,
    file: BulkFile,
) -> Result<Response, Problem> {
    let actor = caller.require(&batches::SENDERS)?;
    let snapshot = Snapshot {
        source: params.source,
        taken_at: params.taken_at,
        count: params.count,
        allow_gone: params.allow_gone.unwrap_or(USUALLY_GONE),
    };
    let now = app.clock.now();
    let report = take_snapshot(&app.pool, now, actor, file.bytes, file.format, params.dry_run, snapshot).await?;
    Ok(batches::answer(report, &request_id))
}

fn limit(asked: Option<i64>) -> Result<usize, Problem> {
    let limit = super::limit(asked, USUAL, MOST)?;
    Ok(usize::try_from(limit).map_err(|_| Error::Corrupt("a limit below zero".to_owned()))?)
}

/// A place in a list, opaque to callers.
fn written((account, mailbox): &Place) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}.{mailbox}", account.0.simple()))
}

fn place(text: &str) -> Result<Place, Refusal> {
    let read = || {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (account, mailbox) = text.split_once('.')?;
        let is_plain = !mailbox.chars().any(char::is_control);
        Some((AccountId(Uuid::try_parse(account).ok()?), mailbox.to_owned())).filter(|_| is_plain)
    };
    read().ok_or_else(|| Refusal::field("/query/after", "not a cursor of this list; start again without it"))
}

fn shown(event: &PlacementEvent) -> String {
    let shard = event.shard.as_deref().unwrap_or("nowhere");
    match &event.moving_to {
        Some(to) => format!("{}: moving from {shard} to {to} since {}", event.source, event.from),
        None => format!("{}: {shard} since {}", event.source, event.from),
    }
}

fn wants_csv(headers: &HeaderMap) -> bool {
    let accepts = headers.get(header::ACCEPT).and_then(|accepts| accepts.to_str().ok()).unwrap_or_default();
    accepts
        .split(',')
        .any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/csv")))
}

/// A CSV file. A cell that a spreadsheet would take for a formula gets an apostrophe before it.
fn csv<const N: usize>(names: [&str; N], rows: impl Iterator<Item = [String; N]>, next: Option<String>) -> Response {
    let mut text = names.join(",");
    text.push_str("\r\n");
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| quoted(cell)).collect();
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    }
    let mut response = ([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], text).into_response();
    let link = next.and_then(|next| format!("<{next}>; rel=\"next\"").parse().ok());
    if let Some(link) = link {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

fn quoted(cell: &str) -> String {
    let formula = if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    if cell.contains(['"', ',', '\n', '\r']) {
        format!("\"{formula}{}\"", cell.replace('"', "\"\""))
    } else {
        format!("{formula}{cell}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_and_nothing_else_is_one() {
        let known = (AccountId::of("20418876"), "a.b@x.example".to_owned());
        assert_eq!(place(&written(&known)).unwrap(), known);
        for wrong in ["", "x", "!", &URL_SAFE_NO_PAD.encode("1.2"), &written(&(known.0, "a\u{0}".to_owned()))] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_cell_is_never_a_formula_and_never_two_cells() {
        assert_eq!(quoted("plain"), "plain");
        assert_eq!(quoted("=HYPERLINK(\"x\")"), "\"'=HYPERLINK(\"\"x\"\")\"");
        assert_eq!(quoted("a,b"), "\"a,b\"");
        assert_eq!(quoted("@x"), "'@x");
    }
}
