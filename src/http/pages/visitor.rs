//! Who is at the browser, and what every page of theirs has around it.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use sqlx::PgConnection;

use super::errors::PageError;
use super::fmt::{self, Reader};
use super::view::{FormKeys, Person, Shell};
use crate::domain::account::Account;
use crate::domain::actor::{Actor, Role};
use crate::domain::claim::State;
use crate::domain::operator::Operator;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::Instant;
use crate::http::App;
use crate::http::auth::session::{self, CookieKind, Session};
use crate::store::runs::RunState;
use crate::store::{Error, accounts, audit, claims, customer, operator, runs};

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub struct Visitor {
    pub actor: Actor,
    pub csrf: String,
    pub operator: Operator,
    /// Business time of this request.
    pub now: Instant,
    is_demo: bool,
    /// What waits for a second person; counted for those who may be that person.
    waiting: usize,
}

pub const CUSTOMER: [Role; 1] = [Role::Customer];
/// Who reads customers' claims.
pub const READS_CLAIMS: [Role; 3] = [Role::Agent, Role::Supervisor, Role::Auditor];
pub const DECIDES: [Role; 2] = [Role::Agent, Role::Supervisor];
/// Who reads credit runs and what waits for a second person.
pub const READS_RUNS: [Role; 3] = [Role::Supervisor, Role::Finance, Role::Auditor];

/// The first page of somebody; none for roles that have no pages.
pub fn first_page(actor: &Actor) -> Option<&'static str> {
    if actor.has(Role::Customer) {
        Some("/months")
    } else if actor.has_any(&READS_CLAIMS) {
        Some("/staff/claims")
    } else if actor.has_any(&READS_RUNS) {
        Some("/staff/approvals")
    } else {
        None
    }
}

/// How the cookie is named: the demo alone is served over http.
pub fn cookie_kind(app: &App) -> CookieKind {
    if app.demo.is_some() { CookieKind::Loopback } else { CookieKind::Secure }
}

/// Where forms must come from: this service, as the browser addressed it.
pub fn origin(app: &App, headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let scheme = if app.demo.is_some() { "http" } else { "https" };
    format!("{scheme}://{host}")
}

/// Whether the request comes from this machine and was meant for it: no other machine's page can reach the demo under a
/// name of its own.
pub fn is_local(parts: &Parts) -> bool {
    let from_here = parts.extensions.get::<ConnectInfo<SocketAddr>>().is_some_and(|peer| peer.0.ip().is_loopback());
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    from_here && names_this_machine(host)
}

fn names_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The session of the request's cookie.
pub async fn find_session(app: &App, conn: &mut PgConnection, headers: &HeaderMap) -> Result<Option<Session>, Error> {
    match cookie_kind(app).read(headers) {
        Some(cookie) => session::find(conn, cookie, app.clock.real_now()).await,
        None => Ok(None),
    }
}

impl Visitor {
    /// The visitor of a request; none without a session.
    pub async fn find(app: &App, headers: &HeaderMap) -> Result<Option<Visitor>, Error> {
        let mut conn = app.pool.acquire().await?;
        let Some(session) = find_session(app, &mut conn, headers).await? else { return Ok(None) };
        audit::by(&session.actor);
        let operator = operator::get(&mut conn).await?;
        let waiting = if session.actor.has_any(&READS_RUNS) { waiting(&mut conn).await? } else { 0 };
        Ok(Some(Visitor {
            actor: session.actor,
            csrf: session.csrf,
            operator,
            now: app.clock.now(),
            is_demo: app.demo.is_some(),
            waiting,
        }))
    }

    /// Refuses whoever has none of `roles`.
    pub fn require(&self, roles: &[Role]) -> Result<(), PageError> {
        if self.actor.has_any(roles) { Ok(()) } else { Err(PageError::no_access()) }
    }

    pub fn is_customer(&self) -> bool {
        self.actor.has(Role::Customer)
    }

    pub fn reader(&self) -> Reader {
        if self.is_customer() { Reader::Customer } else { Reader::Staff }
    }

    /// The role as pages name it; empty for a customer.
    pub fn role(&self) -> String {
        match self.actor.roles.first() {
            Some(role) if !self.is_customer() => role.name().to_owned(),
            Some(_) | None => String::new(),
        }
    }

    /// What is around a page whose place in the navigation is `current`.
    pub fn shell(&self, title: &str, current: &str) -> Shell {
        self.shell_of(&self.actor.name, title, current, "")
    }

    /// What is around a page about one of a customer's accounts.
    pub fn account_shell(&self, account: &Account, title: &str, current: &str) -> Shell {
        self.shell_of(&account.name, title, current, &self.account_query(account))
    }

    /// `?account=…` where the account is not the one that a customer sees without asking.
    pub fn account_query(&self, account: &Account) -> String {
        let is_first = self.actor.accounts.first().is_none_or(|first| *first == account.reference);
        if is_first { String::new() } else { format!("?account={}", account.reference) }
    }

    fn shell_of(&self, name: &str, title: &str, current: &str, query: &str) -> Shell {
        let (zone, reader) = (self.operator.zone, self.reader());
        let person = Person { name: name.to_owned(), role: self.role(), csrf: self.csrf.clone() };
        let items: Vec<(String, String)> = self.places().into_iter().map(|(l, h)| (l, format!("{h}{query}"))).collect();
        let items: Vec<(&str, &str)> = items.iter().map(|(label, href)| (label.as_str(), href.as_str())).collect();
        let mut shell = Shell::bare(&self.operator.name, title, fmt::footer(&self.operator, self.now))
            .nav(&items, &format!("{current}{query}"))
            .signed_in(person)
            .printed_on(fmt::date(zone.local(self.now).date_naive()));
        if self.is_demo {
            shell = shell.story(fmt::stamp(self.now, zone, reader));
        }
        if self.is_customer() { shell } else { shell.wide() }
    }

    fn places(&self) -> Vec<(String, &'static str)> {
        if self.is_customer() {
            return [("What happened", "/months"), ("Claims", "/claims"), ("Credits", "/credits")]
                .map(|(label, href)| (label.to_owned(), href))
                .to_vec();
        }
        let mut places = Vec::new();
        if self.actor.has_any(&READS_CLAIMS) {
            places.push(("Claims".to_owned(), "/staff/claims"));
        }
        if self.actor.has_any(&READS_RUNS) {
            places.push((format!("Approvals ({})", self.waiting), "/staff/approvals"));
        }
        places
    }

    /// The hidden fields of a form that was not sent before.
    pub fn keys(&self) -> FormKeys {
        FormKeys { csrf: self.csrf.clone(), key: uuid::Uuid::now_v7().to_string() }
    }

    /// The account that a customer's page is about: the one asked for if it is theirs, else their first.
    pub async fn account(&self, app: &App, asked: Option<&str>) -> Result<Account, PageError> {
        self.require(&CUSTOMER)?;
        let reference = asked.or(self.actor.accounts.first().map(String::as_str)).unwrap_or_default();
        let unknown = || Refusal::not_found("account", reference);
        let id = self.actor.own_account(reference).ok_or_else(unknown)?;
        let mut tx = customer::open(&app.pool, &[id]).await?;
        Ok(accounts::find(&mut tx, id, None).await?.ok_or_else(unknown)?)
    }
}

async fn waiting(conn: &mut PgConnection) -> Result<usize, Error> {
    let claims = claims::to_decide(conn, Some(State::AwaitingSecond), None, 500).await?.len();
    let runs = runs::list(conn, 50).await?.iter().filter(|run| run.state == RunState::Proposed).count();
    Ok(claims + runs)
}

impl FromRequestParts<App> for Visitor {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, PageError> {
        let visitor = Visitor::find(app, &parts.headers).await?;
        visitor.ok_or_else(|| Refusal::new(Code::Unauthenticated, "Sign in first.").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local() {
        for host in ["127.0.0.1:8141", "localhost:80", "LOCALHOST", "[::1]:8141", "127.8.9.1"] {
            assert!(names_this_machine(host), "{host}");
        }
        for host in [
            "",
            "aoraki.example",
            "localhost.evil.example",
            "192.0.2.1:80",
            "[2001:db8::1]:80",
            "127.0.0.1.evil.example",
        ] {
            assert!(!names_this_machine(host), "{host}");
        }
    }
}
