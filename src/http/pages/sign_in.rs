//! Coming and going: the demo's people to pick from, and signing out.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::errors::PageError;
use super::fmt::{self, Reader};
use super::form;
use super::view::{DemoPerson, Shell, SignInPage};
use super::visitor::{Visitor, cookie_kind, find_session, first_page, is_local, origin};
use crate::domain::actor::{Actor, Role};
use crate::domain::refusal::{Code, Refusal};
use crate::http::App;
use crate::http::auth::session::{self, comes_from};
use crate::store::operator;

/// Somebody of the demo's story.
#[derive(Clone, Debug)]
pub struct DemoSomebody {
    /// What the page posts.
    pub key: String,
    pub actor: Actor,
    pub note: String,
}

/// Everybody who can be picked, in the order shown. There is none outside the demo.
#[derive(Clone, Debug, Default)]
pub struct DemoPeople(pub Vec<DemoSomebody>);

impl DemoPeople {
    fn find(&self, key: &str) -> Option<&DemoSomebody> {
        self.0.iter().find(|one| one.key == key)
    }

    fn group(&self, is_customers: bool) -> Vec<DemoPerson> {
        self.0
            .iter()
            .filter(|one| one.actor.has(Role::Customer) == is_customers)
            .map(|one| DemoPerson {
                key: one.key.clone(),
                name: one.actor.name.clone(),
                role: one.actor.roles.first().map_or(String::new(), |role| role.name().to_owned()),
                note: one.note.clone(),
            })
            .collect()
    }
}

/// The way in, for a browser of this machine in the demo; anywhere else there is no such page.
#[derive(Debug)]
pub struct Picking(std::sync::Arc<DemoPeople>);

impl FromRequestParts<App> for Picking {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, PageError> {
        match &app.demo {
            Some(people) if is_local(parts) => Ok(Picking(people.clone())),
            Some(_) | None => Err(Refusal::not_found("path", "/sign-in").into()),
        }
    }
}

/// `/`: to the person's first page, or to the way in.
pub async fn root(visitor: Visitor) -> Result<Redirect, PageError> {
    first_page(&visitor.actor).map(Redirect::to).ok_or_else(PageError::no_access)
}

pub async fn page(State(app): State<App>, Picking(people): Picking) -> Result<Response, PageError> {
    let mut conn = app.pool.acquire().await?;
    let operator = operator::get(&mut conn).await?;
    let now = app.clock.now();
    let page =
        SignInPage {
            shell: Shell::bare(&operator.name, "Who do you want to be?", fmt::footer(&operator, now))
                .story(fmt::stamp(now, operator.zone, Reader::Customer)),
            action: "/sign-in".to_owned(),
            csrf: String::new(),
            groups: vec![("Customers".to_owned(), people.group(true)), ("Staff".to_owned(), people.group(false))],
        };
    super::html(&page)
}

#[derive(Debug, Deserialize)]
struct Picked {
    #[serde(default)]
    person: String,
}

/// Opens a session of its own: one that was open in this browser is ended first. There is no session yet whose token the
/// form could carry, so the browser must say that it comes from the sign-in page of this service.
pub async fn enter(State(app): State<App>, Picking(people): Picking, request: Request) -> Result<Response, PageError> {
    let (parts, body) = request.into_parts();
    if !comes_from(&parts.headers, &origin(&app, &parts.headers)) {
        return Err(Refusal::new(Code::Forbidden, "The form is not from the sign-in page. Open it again.").into());
    }
    let picked: Picked = form::read(&parts, &form::bytes(body).await?).await?;
    let somebody = people.find(&picked.person).ok_or_else(|| Refusal::not_found("person", "of that name"))?;
    let kind = cookie_kind(&app);
    let mut conn = app.pool.acquire().await?;
    if let Some(old) = kind.read(&parts.headers) {
        session::end(&mut conn, old, app.clock.real_now()).await?;
    }
    let (value, _) = session::open(&mut conn, &somebody.actor, app.clock.real_now()).await?;
    let first = first_page(&somebody.actor).unwrap_or("/");
    Ok(([(header::SET_COOKIE, kind.set(&value))], Redirect::to(first)).into_response())
}

#[derive(Debug, Deserialize)]
struct Leaving {
    #[serde(default)]
    csrf: String,
}

/// Ends the session on the server, and forgets the cookie.
pub async fn leave(State(app): State<App>, request: Request) -> Result<Response, PageError> {
    let (parts, body) = request.into_parts();
    let leaving: Leaving = form::read(&parts, &form::bytes(body).await?).await?;
    let kind = cookie_kind(&app);
    let mut conn = app.pool.acquire().await?;
    if let Some(session) = find_session(&app, &mut conn, &parts.headers).await? {
        session.check_form(&parts.headers, &origin(&app, &parts.headers), &leaving.csrf)?;
    }
    if let Some(cookie) = kind.read(&parts.headers) {
        session::end(&mut conn, cookie, app.clock.real_now()).await?;
    }
    Ok(([(header::SET_COOKIE, kind.clear())], Redirect::to("/sign-in")).into_response())
}
