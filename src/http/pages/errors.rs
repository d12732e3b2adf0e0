//! Pages that cannot be shown, in words. Handlers refuse with a [`PageError`]; [`as_pages`] makes the page of it, with the
//! visitor's own shell and the request's id.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Redirect, Response};

use super::fmt;
use super::view::{ErrorPage, Link, Shell};
use super::visitor::{Visitor, first_page};
use crate::domain::refusal::{Code, Refusal};
use crate::http::problem::{Problem, status};
use crate::http::{App, RequestId};
use crate::store::{Error, operator};

/// A no, on its way to a page.
#[derive(Clone, Debug)]
pub struct PageError {
    refusal: Refusal,
    /// What somebody had typed, so that it is not lost.
    kept: Option<String>,
    /// The person's role has no access, as against a form that was refused.
    is_role: bool,
}

impl PageError {
    /// The page is not for this person's role.
    pub fn no_access() -> Self {
        let refusal = Refusal::new(Code::Forbidden, "You do not have access to this page.");
        PageError { refusal, kept: None, is_role: true }
    }

    /// Shows what was typed beside the refusal.
    pub fn keeping(refusal: Refusal, typed: &str) -> Self {
        let kept = Some(typed.trim()).filter(|text| !text.is_empty()).map(str::to_owned);
        PageError { refusal, kept, is_role: false }
    }
}

impl From<Refusal> for PageError {
    fn from(refusal: Refusal) -> Self {
        PageError { refusal, kept: None, is_role: false }
    }
}

impl From<Problem> for PageError {
    fn from(problem: Problem) -> Self {
        problem.0.into()
    }
}

impl From<Error> for PageError {
    fn from(error: Error) -> Self {
        Problem::from(error).into()
    }
}

impl From<sqlx::Error> for PageError {
    fn from(error: sqlx::Error) -> Self {
        Error::from(error).into()
    }
}

impl From<askama::Error> for PageError {
    fn from(error: askama::Error) -> Self {
        Error::Corrupt(format!("a page cannot be rendered: {error}")).into()
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let mut response = Problem(self.refusal.clone()).into_response();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// Turns refusals of page routes into pages. Whoever is not signed in is sent to the sign-in page.
pub async fn as_pages(State(app): State<App>, request: Request, next: Next) -> Response {
    let headers = request.headers().clone();
    let id = request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    let mut response = next.run(request).await;
    let refusal = response.extensions_mut().remove::<Arc<Refusal>>();
    let error = match (response.extensions_mut().remove::<Arc<PageError>>(), refusal) {
        (Some(error), _) => PageError::clone(&error),
        (None, Some(refusal)) => Refusal::clone(&refusal).into(),
        (None, None) => return response,
    };
    let mut page = page(&app, &headers, &id, error).await;
    if let Some(wait) = response.headers_mut().remove(header::RETRY_AFTER) {
        page.headers_mut().insert(header::RETRY_AFTER, wait);
    }
    page
}

/// What is at no route: a page for browsers, a document for programs.
pub async fn not_found(State(app): State<App>, request: Request) -> Response {
    let refusal = Refusal::not_found("path", request.uri().path());
    let path = request.uri().path();
    let is_program = path.starts_with("/v1/") || !takes_html(request.headers());
    if is_program {
        return Problem(refusal).into_response();
    }
    let id = request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    super::with_headers(page(&app, request.headers(), &id, refusal.into()).await)
}

/// A path of ours, asked for in a way that it does not take.
pub async fn method_not_allowed(request: Request) -> Problem {
    let detail = if request.method() == Method::GET { "This path is not for reading." } else { "See /docs." };
    Problem(Refusal::new(Code::MethodNotAllowed, format!("This path does not take that method. {detail}")))
}

fn takes_html(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|kind| kind.trim().starts_with("text/html"))
}

async fn page(app: &App, headers: &HeaderMap, id: &str, error: PageError) -> Response {
    if error.refusal.code == Code::Unauthenticated {
        return Redirect::to("/sign-in").into_response();
    }
    let visitor = Visitor::find(app, headers).await.ok().flatten();
    let shell = match &visitor {
        Some(visitor) => visitor.shell("", ""),
        None => bare(app).await,
    };
    let mut page = said(shell, visitor.as_ref(), id, &error);
    if let Some(visitor) = &visitor
        && let Some(href) = first_page(&visitor.actor)
    {
        page.links.push(Link::new("Go to the first page", href));
    }
    match page.render() {
        Ok(html) => (status(error.refusal.code), Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "an error page cannot be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn bare(app: &App) -> Shell {
    let found = match app.pool.acquire().await {
        Ok(mut conn) => operator::find(&mut conn).await.ok().flatten(),
        Err(_) => None,
    };
    match found {
        Some(operator) => Shell::bare(&operator.name, "", fmt::footer(&operator, app.clock.now())),
        None => Shell::bare("makegood", "", String::new()),
    }
}

fn said(shell: Shell, visitor: Option<&Visitor>, id: &str, error: &PageError) -> ErrorPage {
    let refusal = &error.refusal;
    match refusal.code {
        Code::NotFound => ErrorPage::not_found(shell, id),
        Code::Forbidden if error.is_role => {
            let role = visitor.map(Visitor::role).unwrap_or_default();
            let is_customer = visitor.is_none_or(Visitor::is_customer);
            let advice = if is_customer { "Ask the person who manages your account." } else { "Ask a supervisor." };
            ErrorPage::forbidden(shell, &role, advice, id)
        }
        Code::VersionConflict
        | Code::WrongState
        | Code::ClaimExists
        | Code::PlanStale
        | Code::PlanExpired
        | Code::Disagreement
        | Code::StillOpen
        | Code::CursorStale => ErrorPage::conflict(shell, &refusal.detail, error.kept.clone(), id),
        Code::RateLimited => ErrorPage::too_many(shell, "a few minutes", id),
        Code::Unavailable | Code::IdempotencyInFlight => ErrorPage::unavailable(shell, id),
        Code::Internal => ErrorPage::broken(shell, id),
        Code::IdempotencyKeyReused => {
            ErrorPage::refused(shell, "This form was sent before. Open the page again to see what came of it.", id)
        }
        Code::MethodNotAllowed
        | Code::Unauthenticated
        | Code::Forbidden
        | Code::OverLimit
        | Code::FourEyes
        | Code::InvalidRequest
        | Code::UnsupportedMediaType
        | Code::PayloadTooLarge
        | Code::IdempotencyKeyMissing
        | Code::TotalDiffers
        | Code::AnswerRefused => ErrorPage::refused(shell, &refusal.detail, id),
    }
}
