//! Billing's door: pull, answer, and see what was not answered.

use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::problem::ProblemBody;
use super::{App, Caller, Json, Problem, Query};
use crate::domain::actor::Role;
use crate::domain::feed_file::{AnswerLine, FeedFile, read_answers};
use crate::domain::refusal::{Code, Refusal};
use crate::flows::answer_credits::{AnswerCredits, AnswerItem, AnswersTaken, answer_credits};
use crate::flows::pull_feed::{self, FeedPage, Pulled};
use crate::store::{feed, operator};

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct PullFeed {
    /// `next_cursor` of the page before; left out, the feed begins at its beginning.
    after: Option<String>,
    /// 1 to 10,000; 100 unless said.
    limit: Option<i64>,
}

/// Pull the feed
///
/// Every credit that was committed, numbered without a gap. A page after a cursor never changes once it is full. Pulling
/// again is safe: a credit keeps its id. With `Accept: text/csv` the page is a file with a trailer: how many items, their sums, the last
/// position, the cursor and a hash; the header `Link` leads to the next one.
#[utoipa::path(
    get, path = "/v1/billing/feed", operation_id = "pull_feed", tag = "billing", params(PullFeed),
    responses(
        (status = 200, description = "A page", content((FeedPage = "application/json"), (String = "text/csv"))),
        (status = 409, description = "The cursor is of another epoch or consumer, or beyond the end", body = ProblemBody,
         content_type = "application/problem+json"),
        (status = 422, description = "A parameter is not valid", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The feed is stopped, or the database is away", body = ProblemBody,
         content_type = "application/problem+json"),
    )
)]
pub async fn pull(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<PullFeed>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let actor = caller.require(&[Role::Billing])?;
    let limit = super::limit(query.limit, 100, 10_000)?;
    let page = pull_feed::pull(&app.pool, &actor.key(), query.after.as_deref(), limit, app.clock.now()).await?;
    if wants_csv(&headers) {
        return file(&page, limit);
    }
    Ok(([(header::CONTENT_TYPE, "application/json")], page.json).into_response())
}

fn file(page: &Pulled, limit: i64) -> Result<Response, Problem> {
    let (mut file, mut text) = FeedFile::begin();
    let broken = |words: String| crate::store::Error::Corrupt(format!("feed.body: {words}"));
    for item in page.page()?.data {
        let line = file.item(item.position, &item.id, &item.op, &item.credit);
        text += &line.map_err(|error| broken(error.to_string()))?;
    }
    text += &file.end(&page.next);
    let mut response = ([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], text).into_response();
    let next = format!("</v1/billing/feed?limit={limit}&after={}>; rel=\"next\"", page.next);
    if let (true, Ok(link)) = (page.has_more, next.parse()) {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

/// Whether somebody asks for a CSV file.
pub(super) fn wants_csv(headers: &HeaderMap) -> bool {
    let accepts = headers.get(header::ACCEPT).and_then(|accepts| accepts.to_str().ok()).unwrap_or_default();
    accepts
        .split(',')
        .any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/csv")))
}

/// The largest body of answers, in bytes: room for a thousand with everything that they may say.
const ANSWERS_LIMIT: usize = 1024 * 1024;

/// Answers in JSON, or as a CSV file with a trailer.
#[derive(Debug)]
pub struct Answers(AnswerCredits);

impl<S: Send + Sync> FromRequest<S> for Answers {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let is_csv = kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/csv"));
        if !is_csv {
            return Ok(Answers(Json::<AnswerCredits, ANSWERS_LIMIT>::from_request(request, state).await?.0));
        }
        if request.headers().contains_key(header::CONTENT_ENCODING) {
            return Err(Refusal::new(Code::UnsupportedMediaType, "Send the body without Content-Encoding.").into());
        }
        let bytes = axum::body::to_bytes(request.into_body(), ANSWERS_LIMIT).await.map_err(|_| {
            let words = format!("The body is over {} KiB: send the file in parts.", ANSWERS_LIMIT / 1024);
            Refusal::new(Code::PayloadTooLarge, words)
        })?;
        let items = read_answers(&bytes)?.into_iter().map(AnswerItem::from).collect();
        Ok(Answers(AnswerCredits { items }))
    }
}

impl From<AnswerLine> for AnswerItem {
    fn from(line: AnswerLine) -> Self {
        let AnswerLine { credit, answer, reference, date, net, tax, code, detail } = line;
        AnswerItem { credit, answer, reference, date, net, tax, code, detail }
    }
}

/// Answer credits
///
/// Each item stands for itself and may be sent again. Only what this consumer pulled can be answered. As `text/csv` it is a file with the
/// columns `credit,answer,reference,date,net,tax,code,detail` and a trailer; one that was cut is refused as a whole.
#[utoipa::path(
    post, path = "/v1/billing/acks", operation_id = "answer_credits", tag = "billing",
    request_body(content((AnswerCredits = "application/json"), (String = "text/csv"))),
    responses(
        (status = 200, description = "What became of each answer", body = AnswersTaken),
        (status = 422, description = "The request is not valid", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn answer(
    State(app): State<App>,
    caller: Caller,
    request: Answers,
) -> Result<axum::Json<AnswersTaken>, Problem> {
    let actor = caller.require(&[Role::Billing])?;
    let now = app.clock.now();
    let mut conn = app.pool.acquire().await.map_err(crate::store::Error::from)?;
    let today = operator::get(&mut conn).await?.zone.local(now).date_naive();
    drop(conn);
    let taken = answer_credits(&app.pool, now, actor, &actor.key(), today, request.0).await?;
    Ok(axum::Json(taken))
}

/// A credit that was delivered and has no standing final answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct UnansweredCredit {
    pub position: i64,
    /// `waiting`, `accepted`, `partly_applied`, `returned`, `offered_again` after a refusal; `cancel_waiting` and `debit_waiting` for items that
    /// take back.
    #[schema(example = "waiting")]
    pub state: &'static str,
    #[schema(value_type = Object)]
    pub credit: Value,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct UnansweredPage {
    pub data: Vec<UnansweredCredit>,
    pub has_more: bool,
    /// Send it as `after`; none on the last page.
    pub next: Option<i64>,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ListUnanswered {
    /// `next` of the page before.
    after: Option<i64>,
    /// 1 to 1,000; 100 unless said.
    limit: Option<i64>,
}

/// List what is not answered
///
/// What was delivered to this consumer and has no final answer: this is the re-offer, there is no second numbering.
#[utoipa::path(
    get, path = "/v1/billing/unacknowledged", operation_id = "list_unacknowledged", tag = "billing", params(ListUnanswered),
    responses(
        (status = 200, description = "A page", body = UnansweredPage),
        (status = 422, description = "A parameter is not valid", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn unacknowledged(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<ListUnanswered>,
) -> Result<axum::Json<UnansweredPage>, Problem> {
    let actor = caller.require(&[Role::Billing])?;
    let limit = super::limit(query.limit, 100, 1_000)?;
    let mut conn = app.pool.acquire().await.map_err(crate::store::Error::from)?;
    let through = feed::delivered_to(&mut conn, feed::LANE, &actor.key()).await?;
    let mut rows = feed::unanswered(&mut conn, feed::LANE, through, query.after.unwrap_or(0).max(0), limit + 1).await?;
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = rows.len() > wanted;
    rows.truncate(wanted);
    let next = rows.last().filter(|_| has_more).map(|row| row.pos);
    let state = |row: &feed::Unanswered| match (row.op.as_str(), row.last_kind.as_deref(), row.applied_minor > 0) {
        ("cancel", ..) => "cancel_waiting",
        ("debit", ..) => "debit_waiting",
        (_, None, _) if row.is_offered => "offered_again",
        (_, None, _) => "waiting",
        (_, Some(_), true) => "partly_applied",
        (_, Some("accepted"), false) => "accepted",
        (_, Some(_), false) => "returned",
    };
    let data = rows
        .into_iter()
        .map(|row| UnansweredCredit { position: row.pos, state: state(&row), credit: row.body })
        .collect();
    Ok(axum::Json(UnansweredPage { data, has_more, next }))
}
