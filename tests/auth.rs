//! Identity over a real database: hostile tokens and cookies, and what is taken back at once.

mod support;

#[path = "../src/http/auth/testing.rs"]
#[allow(dead_code)]
mod testing;

#[path = "auth/hostile.rs"]
mod hostile;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use jsonwebtoken::Algorithm::{ES256, RS256};
use makegood::cli::token::{self, CreateArgs, RevokeArgs};
use makegood::clock::Clock;
use makegood::domain::actor::{Actor, Role};
use makegood::domain::refusal::{Code, Refusal};
use makegood::domain::time::{DAY, HOUR, Instant, MINUTE, SECOND};
use makegood::flows::admit_person::{Admission, admit_person};
use makegood::flows::issue_token::{NewToken, issue_token, revoke_token};
use makegood::http::auth::session::{self, CookieKind};
use makegood::http::auth::{Issuers, IssuersConfig, MachineKey};
use makegood::http::{App, Caller, Problem, request_ids};
use makegood::store::{people, sessions};
use serde_json::{Map, Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use support::TestDatabase;
use testing::{TestKey, jwks};
use tower::ServiceExt;
use uuid::Uuid;

/// A service with one protected route for programs and one for browsers, and issuers whose keys the test holds.
struct Desk {
    database: TestDatabase,
    app: App,
    router: Router,
    staff: TestKey,
    customers: TestKey,
    machines: MachineKey,
    /// How often the staff's key server was asked.
    fetches: Arc<AtomicUsize>,
    folder: std::path::PathBuf,
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn protected(caller: Caller) -> String {
    caller.0.key()
}

async fn page(State(app): State<App>, headers: HeaderMap) -> Result<Response, Problem> {
    let mut conn = app.pool.acquire().await.map_err(makegood::store::Error::from)?;
    let found = match CookieKind::Secure.read(&headers) {
        Some(cookie) => session::find(&mut conn, cookie, app.clock.real_now()).await?,
        None => None,
    };
    Ok(match found {
        Some(session) => session.actor.key().into_response(),
        None => Redirect::to("/sign-in").into_response(),
    })
}

async fn nothing_here() -> Problem {
    Refusal::new(Code::NotFound, "There is nothing at this address.").into()
}

async fn key_server(keys: String, fetches: Arc<AtomicUsize>) -> String {
    let answer = move || {
        fetches.fetch_add(1, Ordering::SeqCst);
        std::future::ready(keys.clone())
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/keys", get(answer))).await });
    url
}

async fn desk() -> Desk {
    let database = support::database().await;
    let (staff, customers) = (TestKey::new(RS256), TestKey::new(ES256));
    let fetches = Arc::new(AtomicUsize::new(0));
    let url = key_server(jwks(&[("known", &staff), ("next", &TestKey::new(RS256))]), Arc::clone(&fetches)).await;
    let folder = std::env::temp_dir().join(format!("makegood-desk-{}", Uuid::now_v7()));
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("customers.pem");
    std::fs::write(&file, &customers.pem).unwrap();
    let config: IssuersConfig = toml::from_str(&format!(
        r#"
        [[issuer]]
        name = "staff"
        issuer = "https://staff.example"
        audience = "makegood"
        roles = ["operations", "agent", "supervisor", "finance", "auditor", "admin"]
        algorithm = "RS256"
        keys = {{ jwks_url = "{url}" }}

        [[issuer]]
        name = "customers"
        issuer = "https://customers.example"
        audience = "makegood"
        roles = ["customer"]
        algorithm = "ES256"
        keys = {{ file = {file:?} }}
        "#
    ))
    .unwrap();
    let machines = MachineKey::load_or_create(&folder.join("data")).unwrap();
    let issuers = Arc::new(Issuers::load(&config).await.unwrap().with_machines(&machines));
    let app = App::new(database.app.clone(), Clock::real(), issuers);
    let router = Router::new()
        .route("/v1/protected", get(protected))
        .route("/page", get(page))
        .fallback(nothing_here)
        .layer(axum::middleware::from_fn(request_ids))
        .with_state(app.clone());
    Desk { database, app, router, staff, customers, machines, fetches, folder }
}

/// What was answered.
#[derive(Debug)]
struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Desk {
    async fn send(&self, request: Request<Body>) -> Answered {
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        Answered { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    async fn with_token(&self, token: &str) -> Answered {
        let request = Request::get("/v1/protected").header(header::AUTHORIZATION, format!("Bearer {token}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn with_cookie(&self, value: &str) -> Answered {
        let request = Request::get("/page").header(header::COOKIE, format!("__Host-sid={value}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    fn now(&self) -> Instant {
        self.app.clock.real_now()
    }

    /// Seconds since 1970, `offset` seconds from now.
    fn seconds(&self, offset: i64) -> i64 {
        self.now().micros() / SECOND + offset
    }

    /// The claims of a good token of staff.
    fn claims(&self, subject: &str) -> Map<String, Value> {
        let claims = json!({
            "iss": "https://staff.example", "aud": "makegood", "sub": subject,
            "iat": self.seconds(-60), "exp": self.seconds(540), "roles": ["agent"],
        });
        claims.as_object().unwrap().clone()
    }

    fn staff_token(&self, subject: &str) -> String {
        let header = json!({ "typ": "JWT", "alg": "RS256", "kid": "known" });
        self.staff.sign(&header.to_string(), &Value::Object(self.claims(subject)).to_string())
    }

    /// A fingerprint of every row of every table.
    async fn rows(&self) -> Vec<(String, String)> {
        let tables: Vec<String> = sqlx::query_scalar(
            "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1",
        )
        .fetch_all(&self.database.owner)
        .await
        .unwrap();
        assert!(tables.len() > 10, "{tables:?}");
        let one = |table: &String| {
            format!(
                "SELECT '{table}' AS name, coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM {table} t"
            )
        };
        let all = tables.iter().map(one).collect::<Vec<_>>().join(" UNION ALL ");
        sqlx::query_as(AssertSqlSafe(format!("{all} ORDER BY name"))).fetch_all(&self.database.owner).await.unwrap()
    }

    async fn audited(&self) -> Vec<(String, String)> {
        sqlx::query_as("SELECT action, actor FROM audit ORDER BY audit_id")
            .fetch_all(&self.database.owner)
            .await
            .unwrap()
    }
}

fn actor(subject: &str, role: Role) -> Actor {
    Actor {
        issuer: "staff".to_owned(),
        subject: subject.to_owned(),
        name: subject.to_owned(),
        roles: [role].into(),
        accounts: Vec::new(),
        source: None,
    }
}

#[tokio::test]
async fn staff_customers_and_machines_come_in_each_by_their_own_issuer() {
    if support::is_skipped("staff_customers_and_machines_come_in_each_by_their_own_issuer") {
        return;
    }
    let desk = desk().await;
    let staff = desk.with_token(&desk.staff_token("ana")).await;
    assert_eq!((staff.status, staff.body.as_str()), (StatusCode::OK, "staff|ana"));

    let mut claims = desk.claims("c-1");
    claims.insert("iss".to_owned(), json!("https://customers.example"));
    claims.insert("roles".to_owned(), json!(["customer"]));
    claims.insert("accounts".to_owned(), json!(["20418876"]));
    let token = desk.customers.sign(r#"{"alg":"ES256"}"#, &Value::Object(claims).to_string());
    let customer = desk.with_token(&token).await;
    assert_eq!((customer.status, customer.body.as_str()), (StatusCode::OK, "customers|c-1"));

    let admin = actor("root", Role::Admin);
    let args = CreateArgs { role: Role::Ingest, source: "alertmanager-north".to_owned(), expires: 90 * DAY };
    let made = token::create(&desk.app.pool, &desk.machines, &desk.app.clock, &admin, &args).await.unwrap();
    let machine = desk.with_token(&made.token).await;
    assert_eq!((machine.status, machine.body.as_str()), (StatusCode::OK, "makegood|ingest:alertmanager-north"));
    desk.database.app.close().await;
}

#[tokio::test]
async fn a_machines_token_ends_with_its_next_request_once_it_is_taken_back() {
    if support::is_skipped("a_machines_token_ends_with_its_next_request_once_it_is_taken_back") {
        return;
    }
    let desk = desk().await;
    let (pool, clock) = (&desk.app.pool, &desk.app.clock);
    let admin = actor("root", Role::Admin);
    let args = CreateArgs { role: Role::Billing, source: "billing".to_owned(), expires: 90 * DAY };
    let kept = token::create(pool, &desk.machines, clock, &admin, &args).await.unwrap();
    let lost = token::create(pool, &desk.machines, clock, &admin, &args).await.unwrap();
    let jti = RevokeArgs { jti: lost.listed.jti };
    assert!(token::revoke(pool, clock, &admin, &jti).await.unwrap().revoked_at.is_some());
    assert!(token::revoke(pool, clock, &admin, &jti).await.unwrap().revoked_at.is_some(), "twice is no error");
    let refused = desk.with_token(&lost.token).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(refused.headers[header::WWW_AUTHENTICATE], "Bearer");
    assert_eq!(desk.with_token(&kept.token).await.status, StatusCode::OK);
    assert_eq!(token::list(pool).await.unwrap().len(), 2);
    assert!(token::revoke(pool, clock, &admin, &RevokeArgs { jti: Uuid::now_v7() }).await.is_err());

    // One that was signed and never registered, and one that says more than was registered.
    let mut forged = makegood::store::machine_tokens::MachineToken {
        jti: Uuid::now_v7(),
        role: Role::Billing,
        source: "billing".to_owned(),
        subject: "billing:billing".to_owned(),
        created_by: String::new(),
        created_at: desk.now(),
        expires_at: desk.now().plus(DAY),
        revoked_at: None,
    };
    assert_eq!(desk.with_token(&desk.machines.mint(&forged).unwrap()).await.status, StatusCode::UNAUTHORIZED);
    forged.jti = kept.listed.jti;
    assert_eq!(desk.with_token(&desk.machines.mint(&forged).unwrap()).await.status, StatusCode::OK);
    for (role, source) in [(Role::Finance, "billing"), (Role::Billing, "other")] {
        let mut raised = forged.clone();
        (raised.role, raised.source) = (role, source.to_owned());
        assert_eq!(desk.with_token(&desk.machines.mint(&raised).unwrap()).await.status, StatusCode::UNAUTHORIZED);
    }
    let audited: Vec<String> = desk.audited().await.into_iter().map(|(action, _)| action).collect();
    assert_eq!(audited, ["token.create", "token.create", "token.revoke"]);
}

#[tokio::test]
async fn only_an_administrator_makes_tokens_and_whoever_tried_stands_in_the_audit_trail() {
    if support::is_skipped("only_an_administrator_makes_tokens_and_whoever_tried_stands_in_the_audit_trail") {
        return;
    }
    let desk = desk().await;
    let (pool, now) = (&desk.app.pool, desk.now());
    let asked = NewToken { role: Role::Ingest, source: "x".to_owned(), lifetime: DAY };
    let agent = actor("ana", Role::Agent);
    let refused = issue_token(pool, &agent, &asked, now, now).await.unwrap_err();
    assert_eq!(refused.refusal().code, Code::Forbidden);
    let refused = revoke_token(pool, &agent, Uuid::nil(), now, now).await.unwrap_err();
    assert_eq!(refused.refusal().code, Code::Forbidden);
    let admin = actor("root", Role::Admin);
    for wrong in [
        NewToken { role: Role::Supervisor, ..asked.clone() },
        NewToken { source: "a b".to_owned(), ..asked.clone() },
        NewToken { lifetime: 401 * DAY, ..asked.clone() },
    ] {
        let refused = issue_token(pool, &admin, &wrong, now, now).await.unwrap_err();
        assert_eq!(refused.refusal().code, Code::InvalidRequest, "{wrong:?}");
    }
    let tried = |action: &str| (action.to_owned(), "staff|ana".to_owned());
    assert_eq!(desk.audited().await, [tried("token.create.refused"), tried("token.revoke.refused")]);
    assert!(token::list(pool).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_disabled_person_and_a_token_from_before_a_role_change_are_refused_at_once() {
    if support::is_skipped("a_disabled_person_and_a_token_from_before_a_role_change_are_refused_at_once") {
        return;
    }
    let desk = desk().await;
    let (pool, root) = (&desk.app.pool, actor("root", Role::Admin));
    let admit = |admission, at| admit_person(pool, &root, ("staff", "ana"), admission, at, desk.now());
    let token = desk.staff_token("ana");
    assert_eq!(desk.with_token(&token).await.status, StatusCode::OK);
    assert!(admit(Admission::ShutOut, desk.now()).await.unwrap().disabled);
    assert_eq!(desk.with_token(&token).await.status, StatusCode::UNAUTHORIZED);
    assert!(!admit(Admission::LetIn, desk.now()).await.unwrap().disabled);
    assert_eq!(desk.with_token(&token).await.status, StatusCode::OK);

    admit(Admission::SignInAnew, desk.now().plus(-120 * SECOND)).await.unwrap();
    assert_eq!(desk.with_token(&token).await.status, StatusCode::OK, "issued a minute ago");
    admit(Admission::SignInAnew, desk.now()).await.unwrap();
    assert_eq!(desk.with_token(&token).await.status, StatusCode::UNAUTHORIZED);
    admit(Admission::SignInAnew, Instant::MIN).await.unwrap();
    assert_eq!(desk.with_token(&token).await.status, StatusCode::UNAUTHORIZED, "the bound never moves back");
    let mut undated = desk.claims("ana");
    undated.remove("iat");
    let undated = desk.staff.sign(r#"{"alg":"RS256","kid":"known"}"#, &Value::Object(undated).to_string());
    assert_eq!(desk.with_token(&undated).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(desk.with_token(&desk.staff_token("bob")).await.status, StatusCode::OK, "nobody else is touched");

    for (who, role) in [("bob", Role::Supervisor), ("ana", Role::Admin)] {
        let (who_asks, now) = (actor(who, role), desk.now());
        let refused = admit_person(pool, &who_asks, ("staff", "ana"), Admission::LetIn, now, now);
        assert_eq!(refused.await.unwrap_err().refusal().code, Code::Forbidden, "{who}");
    }
    let actions: Vec<String> = desk.audited().await.into_iter().map(|(action, _)| action).collect();
    assert_eq!(actions[..2], ["person.shut_out", "person.let_in"]);
    assert_eq!(actions[5..], ["person.let_in.refused", "person.let_in.refused"]);
}

#[tokio::test]
async fn a_session_is_new_at_each_login_known_by_its_hash_and_over_at_logout() {
    if support::is_skipped("a_session_is_new_at_each_login_known_by_its_hash_and_over_at_logout") {
        return;
    }
    let desk = desk().await;
    let mut conn = desk.app.pool.acquire().await.unwrap();
    let ana = actor("ana", Role::Agent);
    let now = desk.now();
    let (first, opened) = session::open(&mut conn, &ana, now).await.unwrap();
    let (second, _) = session::open(&mut conn, &ana, now).await.unwrap();
    assert_ne!(first, second);
    assert_eq!(session::find(&mut conn, &first, now).await.unwrap(), Some(opened));
    let page = desk.with_cookie(&first).await;
    assert_eq!((page.status, page.body.as_str()), (StatusCode::OK, "staff|ana"));
    let kept: Vec<String> =
        sqlx::query_scalar("SELECT s::text FROM session s").fetch_all(&desk.database.owner).await.unwrap();
    assert!(kept.iter().all(|row| !row.contains(&first) && !row.contains(&second)), "the cookie is not kept");

    session::end(&mut conn, &first, now).await.unwrap();
    assert_eq!(session::find(&mut conn, &first, now).await.unwrap(), None);
    assert_eq!(desk.with_cookie(&first).await.status, StatusCode::SEE_OTHER);
    assert!(session::find(&mut conn, &second, now).await.unwrap().is_some(), "only the one that signed out");
    for made_up in ["", "attacker-chosen", &"A".repeat(43), &"x".repeat(102_400)] {
        assert_eq!(session::find(&mut conn, made_up, now).await.unwrap(), None);
    }
    people::refuse_before(&mut conn, "staff", "ana", now.plus(SECOND)).await.unwrap();
    assert_eq!(session::find(&mut conn, &second, now).await.unwrap(), None, "roles changed: sign in again");
}

#[tokio::test]
async fn a_session_ends_half_an_hour_after_its_last_use_and_twelve_hours_after_login() {
    if support::is_skipped("a_session_ends_half_an_hour_after_its_last_use_and_twelve_hours_after_login") {
        return;
    }
    let desk = desk().await;
    let mut conn = desk.app.pool.acquire().await.unwrap();
    let start = desk.now();
    let ana = actor("ana", Role::Agent);
    let (idle, _) = session::open(&mut conn, &ana, start).await.unwrap();
    assert!(session::find(&mut conn, &idle, start.plus(30 * MINUTE - 1)).await.unwrap().is_some());
    assert!(session::find(&mut conn, &idle, start.plus(59 * MINUTE)).await.unwrap().is_some(), "its use was noted");
    assert!(session::find(&mut conn, &idle, start.plus(89 * MINUTE)).await.unwrap().is_none());
    let (busy, _) = session::open(&mut conn, &ana, start).await.unwrap();
    for quarter in 1..48 {
        let at = start.plus(quarter * 15 * MINUTE);
        assert!(session::find(&mut conn, &busy, at).await.unwrap().is_some(), "{quarter}");
    }
    assert!(session::find(&mut conn, &busy, start.plus(12 * HOUR)).await.unwrap().is_none());
    assert_eq!(sessions::forget(&mut conn, start.plus(12 * HOUR + 1)).await.unwrap(), 2);
}

#[tokio::test]
async fn the_application_cannot_rewrite_who_was_given_what() {
    if support::is_skipped("the_application_cannot_rewrite_who_was_given_what") {
        return;
    }
    let desk = desk().await;
    let refused = async |pool: &PgPool, statement: &'static str| {
        let mut tx = pool.begin().await.unwrap();
        let error = sqlx::raw_sql(statement).execute(&mut *tx).await.unwrap_err();
        tx.rollback().await.unwrap();
        error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()))
    };
    for statement in [
        "UPDATE machine_token SET role = 'admin'",
        "UPDATE machine_token SET expires_at = now()",
        "DELETE FROM machine_token",
        "UPDATE person SET subject = 'x'",
        "DELETE FROM person",
        "UPDATE session SET actor = '{}'",
        "UPDATE session SET absolute_until = now()",
        "SET LOCAL ROLE makegood_customer; SELECT * FROM session",
        "SET LOCAL ROLE makegood_customer; SELECT * FROM machine_token",
        "SET LOCAL ROLE makegood_customer; SELECT * FROM person",
    ] {
        assert_eq!(refused(&desk.database.app, statement).await.as_deref(), Some("42501"), "{statement}");
    }
}

#[tokio::test]
async fn while_the_database_is_away_a_good_token_is_told_to_come_again_and_a_bad_one_is_refused() {
    if support::is_skipped("while_the_database_is_away_a_good_token_is_told_to_come_again_and_a_bad_one_is_refused") {
        return;
    }
    let desk = desk().await;
    desk.app.pool.close().await;
    let good = desk.with_token(&desk.staff_token("ana")).await;
    assert_eq!(good.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(good.headers.contains_key(header::RETRY_AFTER));
    assert_eq!(desk.with_token("a.b.c").await.status, StatusCode::UNAUTHORIZED);
}
