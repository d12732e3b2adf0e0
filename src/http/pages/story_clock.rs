//! The demo's clock, moved on by hand: a decision is held for ten minutes, and nobody wants to wait for it.

use axum::extract::{Request, State};
use axum::http::header;
use axum::response::Redirect;
use serde::Deserialize;

use super::errors::PageError;
use super::form;
use super::sign_in::Picking;
use super::visitor::{find_session, origin};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::MINUTE;
use crate::flows::step_story::step_story;
use crate::http::App;

/// How far one press of the button goes.
const STEP: i64 = 10 * MINUTE;

#[derive(Debug, Deserialize)]
struct Later {
    #[serde(default)]
    csrf: String,
}

/// Moves business time on and leads back to the page that it was pressed on.
pub async fn later(State(app): State<App>, _: Picking, request: Request) -> Result<Redirect, PageError> {
    let (parts, body) = request.into_parts();
    let later: Later = form::read(&parts, &form::bytes(body).await?).await?;
    let origin = origin(&app, &parts.headers);
    let mut conn = app.pool.acquire().await?;
    let session = find_session(&app, &mut conn, &parts.headers).await?;
    let session = session.ok_or_else(|| Refusal::new(Code::Forbidden, "Sign in first."))?;
    session.check_form(&parts.headers, &origin, &later.csrf)?;
    drop(conn);
    let at = app.clock.now().plus(STEP);
    step_story(&app.pool, app.clock.offset_micros() + STEP).await?;
    app.clock.step_to(at);
    app.wake_jobs();
    let page = parts.headers.get(header::REFERER).and_then(|page| page.to_str().ok()?.strip_prefix(&origin));
    Ok(Redirect::to(page.filter(|page| page.starts_with('/') && !page.starts_with("//")).unwrap_or("/")))
}
