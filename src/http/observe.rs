//! What every request leaves behind: a line in the log and counters; and what happens when there are too many of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;
use tracing::Instrument;

use super::{App, Problem, RequestId};
use crate::domain::refusal::{Code, Refusal};
use crate::flows::note_refused_request;
use crate::store::audit;

/// How many requests are worked on at once.
const IN_FLIGHT: usize = 256;
/// How long one more waits for room.
const PATIENCE: Duration = Duration::from_secs(1);

/// Room for requests.
#[derive(Clone, Debug)]
pub struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Room(Arc::new(Semaphore::new(IN_FLIGHT)))
    }
}

/// Answers 503 where there is no room, so that those inside are served.
pub async fn shed(State(room): State<Room>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(PATIENCE, room.0.acquire()).await {
        Ok(Ok(_permit)) => next.run(request).await,
        Ok(Err(_)) | Err(_) => Problem(Refusal::new(
            Code::Unavailable,
            "Too many requests at once. Try again in a moment, with the same key.",
        ))
        .into_response(),
    }
}

/// Lets the audit trail say in which request a change was made and from where; and keeps there, whatever the door, that somebody tried to
/// change what is not theirs to change.
pub async fn audited(State(app): State<App>, request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("none".to_owned(), |path| path.as_str().to_owned());
    let is_reading = method == Method::GET || method == Method::HEAD;
    let about = audit::Request::new(&id, address);
    if is_reading {
        return audit::within(about, next.run(request)).await;
    }
    let answering = audit::within(about.clone(), async move {
        let response = next.run(request).await;
        let door = format!("{method} {route}");
        if let Err(error) = note_refused_request(&app.pool, &about, &door, app.clock.now()).await {
            tracing::error!(%error, door, "a refused try cannot be kept in the audit trail");
        }
        response
    });
    // What was begun comes to its end, whoever hangs up meanwhile: nothing is cut off between two words with the database.
    tokio::spawn(answering.in_current_span()).await.unwrap_or_else(|_| {
        let words = "The service stopped before it could answer. Try again with the same key.";
        Problem(Refusal::new(Code::Unavailable, words)).into_response()
    })
}

/// Counts the request under its route, and says in the log how it went. Never a body, a name, a token or a query.
pub async fn requests(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none".to_owned(), |path| path.as_str().to_owned());
    let method = request.method().to_string();
    let id = request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    let began = tokio::time::Instant::now();
    let response = next.run(request).await;
    let (took, status) = (began.elapsed(), response.status().as_u16());
    let labels = [("method", method.clone()), ("route", route.clone()), ("status", status.to_string())];
    metrics::counter!("makegood_http_requests_total", &labels).increment(1);
    metrics::histogram!("makegood_http_request_seconds", &labels[..2]).record(took);
    tracing::info!(%method, %route, status, duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX), request_id = %id, "answered");
    response
}
