//! Pages for people: what they show ([`view`]), how dates, amounts and lengths are written ([`fmt`]), the pictures
//! ([`plot`]), and one file a journey that fills them. The templates lie in `templates/`, the one stylesheet in
//! `assets/makegood.css`; no page needs JavaScript.

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

use self::errors::PageError;
use super::App;

mod approvals;
mod bills;
mod case;
mod claim_form;
mod claim_status;
mod credits;
pub mod errors;
pub mod fmt;
mod form;
mod incident;
mod month;
pub mod plot;
mod queue;
pub mod sign_in;
pub mod story_clock;
mod sum;
pub mod view;
pub mod visitor;

#[cfg(test)]
mod look;

/// The stylesheet, served at `/assets/makegood.css`. An operator re-brands it by three variables at its top.
pub const STYLESHEET: &str = include_str!("../../../assets/makegood.css");

/// The icon of browser tabs, served at `/assets/icon.svg` as `image/svg+xml`.
pub const ICON: &str = include_str!("../../../assets/icon.svg");

/// What pages may load and do: nothing from elsewhere, no script, no style but ours and the two chart variables.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; style-src-attr 'unsafe-inline'; \
    script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Every page, with refusals as pages.
pub fn pages(app: &App) -> Router<App> {
    Router::new()
        .route("/", get(sign_in::root))
        .route("/sign-in", get(sign_in::page).post(sign_in::enter))
        .route("/sign-out", post(sign_in::leave))
        .route("/story/later", post(story_clock::later))
        .route("/months", get(month::latest))
        .route("/months/{month}", get(month::page))
        .route("/months/{month}/receipt.json", get(month::receipt))
        .route("/claims", get(claim_status::list))
        .route("/claims/new", get(claim_form::page).post(claim_form::send))
        .route("/claims/{reference}", get(claim_status::page))
        .route("/claims/{reference}/withdraw", post(claim_status::withdraw))
        .route("/credits", get(credits::page))
        .route("/staff/claims", get(queue::page))
        .route("/staff/claims/{reference}", get(case::page))
        .route("/staff/claims/{reference}/decide", post(case::decide))
        .route("/staff/claims/{reference}/agree", post(case::agree))
        .route("/staff/claims/{reference}/send-back", post(case::send_back))
        .route("/staff/claims/{reference}/undo", post(case::undo))
        .route("/staff/approvals", get(approvals::list))
        .route("/staff/approvals/{run}", get(approvals::run))
        .route("/staff/approvals/{run}/approve", post(approvals::approve))
        .method_not_allowed_fallback(errors::method_not_allowed)
        .layer(middleware::from_fn(super::router::deadline))
        .layer(CatchPanicLayer::custom(super::router::panicked))
        .layer(middleware::from_fn_with_state(app.clone(), errors::as_pages))
        .layer(middleware::from_fn(secured))
        .merge(assets())
}

fn assets() -> Router<App> {
    let asset = |kind: &'static str, text: &'static str| {
        get(async move || {
            let headers = [
                (header::CONTENT_TYPE, kind),
                (header::CACHE_CONTROL, "public, max-age=300"),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ];
            (headers, text)
        })
    };
    Router::new()
        .route("/assets/makegood.css", asset("text/css; charset=utf-8", STYLESHEET))
        .route("/assets/icon.svg", asset("image/svg+xml", ICON))
}

async fn secured(request: Request, next: Next) -> Response {
    with_headers(next.run(request).await)
}

/// Gives a page's answer the headers that keep it to itself: it loads nothing from elsewhere, is never guessed to be
/// something else, and stays in no cache.
pub fn with_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn html(page: &impl Template) -> Result<Response, PageError> {
    html_with(StatusCode::OK, page)
}

fn html_with(status: StatusCode, page: &impl Template) -> Result<Response, PageError> {
    Ok((status, Html(page.render()?)).into_response())
}

/// A file to keep. Its name is of plain characters of ours.
fn download(kind: &'static str, name: &str, body: impl Into<Body>) -> Response {
    let plain: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')).collect();
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{plain}\"")),
    ];
    (headers, body.into()).into_response()
}

/// A cell that a spreadsheet shows and does not calculate.
fn plain_cell(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}

/// A value of a query string.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

/// What was typed into a field of several lines, with line ends of one kind.
fn plain_lines(text: &str) -> String {
    text.replace("\r\n", "\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_never_a_formula() {
        assert_eq!(plain_cell("=1+1"), "'=1+1");
        assert_eq!(plain_cell("-5.00"), "'-5.00");
        assert_eq!(plain_cell("Full outage"), "Full outage");
    }

    #[test]
    fn values_of_an_address_are_encoded_byte_by_byte() {
        assert_eq!(encoded("INC-2026-031"), "INC-2026-031");
        assert_eq!(encoded("Kōwhai & Co"), "K%C5%8Dwhai%20%26%20Co");
    }
}
