//! Doors for people and programs: thin. A handler reads the request, calls a flow (or reads `store`), and answers.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use crate::clock::Clock;
use crate::domain::actor::{Actor, Role};
use crate::domain::ids::AccountId;
use crate::domain::refusal::{Code, Refusal};
use crate::flows::once::IdempotencyKey;
use crate::flows::watch_feed::Alarm;
use crate::sources::signature::Secrets;
use crate::store::spool::Spool;

pub mod assessments;
pub mod audit;
pub mod auth;
pub mod batches;
pub mod billing;
pub mod calendars;
pub mod claims;
pub mod credit_runs;
pub mod credits;
pub mod describe;
pub mod differences;
pub mod directory;
pub mod feed_reports;
pub mod finance;
pub mod health;
pub mod incidents;
pub mod ingest;
pub mod ledger;
pub mod listener;
pub mod mailbox_lists;
pub mod observations;
pub mod observe;
pub mod outages;
pub mod pages;
pub mod problem;
pub mod records;
pub mod router;
pub mod run_preview;
pub mod shards;
pub mod spool;
pub mod terms;

pub use problem::Problem;

/// What every door has at hand.
#[derive(Clone, Debug)]
pub struct App {
    pub pool: PgPool,
    pub clock: Clock,
    pub issuers: Arc<auth::Issuers>,
    /// Wakes the jobs before their next turn: a hint, never needed for correctness.
    pub jobs: Arc<tokio::sync::Notify>,
    /// The secrets of sources that sign.
    pub secrets: Arc<Secrets>,
    /// The alarm about transactions that are held open, as the job that looks for them last saw it.
    pub held_open: Arc<Mutex<Option<Alarm>>>,
    /// Where deliveries wait while the database is away; without it they are sent again.
    pub spool: Option<Arc<Spool>>,
    /// Who can be picked at the sign-in page; there is nobody outside the demo.
    pub demo: Option<Arc<pages::sign_in::DemoPeople>>,
}

impl App {
    pub fn new(pool: PgPool, clock: Clock, issuers: Arc<auth::Issuers>) -> Self {
        let (jobs, secrets, held_open) = (Arc::default(), Arc::default(), Arc::default());
        App { pool, clock, issuers, jobs, secrets, held_open, spool: None, demo: None }
    }

    /// Asks sources that have a secret to sign.
    pub fn with_secrets(self, secrets: Secrets) -> Self {
        App { secrets: Arc::new(secrets), ..self }
    }

    /// Lets deliveries wait there while the database is away.
    pub fn with_spool(self, spool: Spool) -> Self {
        App { spool: Some(Arc::new(spool)), ..self }
    }

    /// Lets browsers of this machine be one of `people`.
    pub fn with_demo(self, people: pages::sign_in::DemoPeople) -> Self {
        App { demo: Some(Arc::new(people)), ..self }
    }

    /// Something was written that a job will want to see.
    pub fn wake_jobs(&self) {
        self.jobs.notify_waiters();
    }
}

/// The largest JSON body, in bytes. Bulk files are streamed and have their own bound.
pub const JSON_LIMIT: usize = 64 * 1024;

/// Who asks, as their token says.
#[derive(Clone, Debug)]
pub struct Caller(pub Actor);

impl Caller {
    /// Refuses whoever has none of `roles`.
    pub fn require(&self, roles: &[Role]) -> Result<&Actor, Problem> {
        if self.0.has_any(roles) {
            return Ok(&self.0);
        }
        let needed: Vec<&str> = roles.iter().map(|role| role.name()).collect();
        Err(Refusal::new(Code::Forbidden, format!("This needs the role {}.", needed.join(" or "))).into())
    }
}

/// A JSON body of up to `LIMIT` bytes with its idempotency key, for what moves money or makes things.
#[derive(Debug)]
pub struct Keyed<T, const LIMIT: usize = JSON_LIMIT> {
    pub key: IdempotencyKey,
    pub body: T,
}

impl<T: DeserializeOwned, S: Send + Sync, const LIMIT: usize> FromRequest<S> for Keyed<T, LIMIT> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let key = header_text(&parts.headers, "idempotency-key")?.ok_or_else(|| {
            Refusal::new(
                Code::IdempotencyKeyMissing,
                "Send an Idempotency-Key header with a value of your own, such as a UUID; send the same one when you retry.",
            )
        })?;
        if key.is_empty() || key.len() > 255 || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Refusal::field("/headers/idempotency-key", "1 to 255 visible ASCII characters").into());
        }
        let key = key.to_owned();
        let bytes = json_bytes(&parts, body, LIMIT).await?;
        let fingerprint = Sha256::new()
            .chain_update(parts.method.as_str())
            .chain_update([0])
            .chain_update(parts.uri.path())
            .chain_update([0])
            .chain_update(&bytes)
            .finalize()
            .into();
        Ok(Keyed { key: IdempotencyKey { key, fingerprint }, body: parse(&bytes)? })
    }
}

/// A JSON body where no key is needed, of up to `LIMIT` bytes.
#[derive(Debug)]
pub struct Json<T, const LIMIT: usize = JSON_LIMIT>(pub T);

impl<T: DeserializeOwned, S: Send + Sync, const LIMIT: usize> FromRequest<S> for Json<T, LIMIT> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        Ok(Json(parse(&json_bytes(&parts, body, LIMIT).await?)?))
    }
}

async fn json_bytes(parts: &Parts, body: Body, limit: usize) -> Result<axum::body::Bytes, Problem> {
    let kind = header_text(&parts.headers, "content-type")?.unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let is_json = kind.eq_ignore_ascii_case("application/json") || kind.to_ascii_lowercase().ends_with("+json");
    if !is_json {
        return Err(Refusal::new(Code::UnsupportedMediaType, "Send JSON, with Content-Type: application/json.").into());
    }
    if parts.headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Refusal::new(Code::UnsupportedMediaType, "Send the body without Content-Encoding.").into());
    }
    axum::body::to_bytes(body, limit)
        .await
        .map_err(|_| Refusal::new(Code::PayloadTooLarge, format!("The body is over {} KiB.", limit / 1024)).into())
}

/// Reads JSON into `T`; a field that is wrong is named. Shared by every door that takes JSON.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes)
        .map_err(|error| Refusal::field("", format!("The body cannot be read: {error}")).into())
}

/// A header that may come once at most and must be text.
fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Refusal::field(&format!("/headers/{name}"), "send this header once"));
    }
    first.map(|value| value.to_str().map_err(|_| Refusal::field(&format!("/headers/{name}"), "not text"))).transpose()
}

/// A query string, refused in the same words as everything else.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(query)| Query(query))
            .map_err(|error| Refusal::field("/query", error.body_text()).into())
    }
}

/// How many rows somebody asked for, within bounds.
pub fn limit(asked: Option<i64>, default: i64, most: i64) -> Result<i64, Refusal> {
    match asked.unwrap_or(default) {
        limit if (1..=most).contains(&limit) => Ok(limit),
        _ => Err(Refusal::field("/query/limit", format!("1 to {most}"))),
    }
}

/// The accounts that a list is asked for: a customer's own, all of them unless one is named; for staff, the one that is
/// named. One that is not there answers as one that is somebody else's.
pub async fn accounts_asked(app: &App, actor: &Actor, reference: Option<&str>) -> Result<Vec<AccountId>, Problem> {
    let is_customer = actor.has(Role::Customer);
    let asked = match (is_customer, reference) {
        (true, None) => actor.own_accounts(),
        (true, Some(reference)) => actor.own_account(reference).into_iter().collect(),
        (false, Some(reference)) => vec![AccountId::of(reference)],
        (false, None) => return Err(Refusal::field("/query/account", "name the account").into()),
    };
    let mut tx = crate::store::customer::open(&app.pool, &asked).await?;
    let known = crate::store::customer::known(&mut tx, &asked).await?;
    match reference {
        Some(reference) if known.is_empty() => Err(Refusal::not_found("account", reference).into()),
        Some(_) | None => Ok(known),
    }
}

/// The request's id: the caller's own if it is a plain one, else a new one.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

impl<S: Send + Sync> FromRequestParts<S> for RequestId {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get::<RequestId>().cloned().unwrap_or_else(|| RequestId(String::new())))
    }
}

/// Gives each request an id, and each refusal its document, which names that id.
pub async fn request_ids(mut request: Request, next: axum::middleware::Next) -> Response {
    let plain = |value: &HeaderValue| {
        let text = value.to_str().ok()?;
        let is_plain = (8..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        is_plain.then(|| text.to_owned())
    };
    let id = request.headers().get("x-request-id").and_then(plain).unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    if let Some(refusal) = response.extensions_mut().remove::<Arc<Refusal>>() {
        let document = problem::document(&refusal, &id);
        let (mut parts, _) = response.into_parts();
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response = Response::from_parts(parts, Body::from(document));
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-request-id", value);
    }
    response
}
