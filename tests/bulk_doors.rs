//! Bulk files over HTTP: who may send them, what kinds of content are taken, and what is answered.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use makegood::clock::Clock;
use makegood::domain::actor::{Actor, Role};
use makegood::domain::time::HOUR;
use makegood::flows::issue_token::{NewToken, issue_token};
use makegood::http::App;
use makegood::http::auth::{Issuers, IssuersConfig, MachineKey};
use makegood::http::router::router;
use serde_json::Value;
use tower::ServiceExt;
use uuid::Uuid;

mod support;

/// The service, and a token for each role that a machine may have.
struct Service {
    database: support::TestDatabase,
    router: Router,
    ingest: String,
    billing: String,
    folder: std::path::PathBuf,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn service() -> Service {
    let database = support::database().await;
    let folder = std::env::temp_dir().join(format!("makegood-bulk-doors-{}", Uuid::now_v7()));
    let machines = MachineKey::load_or_create(&folder).unwrap();
    let config: IssuersConfig = toml::from_str("issuer = []").unwrap();
    let issuers = Arc::new(Issuers::load(&config).await.unwrap().with_machines(&machines));
    let app = App::new(database.app.clone(), Clock::real(), issuers);
    let ingest = token(&app, &machines, Role::Ingest).await;
    let billing = token(&app, &machines, Role::Billing).await;
    Service { database, router: router(app), ingest, billing, folder }
}

async fn token(app: &App, machines: &MachineKey, role: Role) -> String {
    let admin = Actor {
        issuer: "tests".to_owned(),
        subject: "admin".to_owned(),
        name: "admin".to_owned(),
        roles: [Role::Admin].into(),
        accounts: Vec::new(),
        source: None,
    };
    let asked = NewToken { role, source: "platform".to_owned(), lifetime: HOUR };
    let now = app.clock.now();
    machines.mint(&issue_token(&app.pool, &admin, &asked, now, now).await.unwrap()).unwrap()
}

impl Service {
    async fn send(
        &self,
        path: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> (StatusCode, Value) {
        let mut request = Request::post(path).header(header::AUTHORIZATION, format!("Bearer {token}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let kind = if parts.status.is_success() { "application/json" } else { "application/problem+json" };
        assert_eq!(parts.headers[header::CONTENT_TYPE], kind);
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        (parts.status, serde_json::from_slice(&body).unwrap())
    }

    async fn accounts(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM account").fetch_one(&self.database.app).await.unwrap()
    }
}

const CSV: (&str, &str) = ("content-type", "text/csv; charset=utf-8");
const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");
const TWO: &str = "account,name,zone,currency\n1,One,Pacific/Auckland,NZD\n2,Two,Pacific/Auckland,NZD\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_taken_whole_and_a_wrong_one_is_a_problem_with_its_report() {
    if support::is_skipped("a_file_is_taken_whole_and_a_wrong_one_is_a_problem_with_its_report") {
        return;
    }
    let service = service().await;
    let path = "/v1/accounts/batches";
    let (status, report) = service.send(&format!("{path}?dry_run=true"), &service.ingest, &[CSV], TWO).await;
    assert_eq!((status, &report["accepted"], &report["dry_run"]), (StatusCode::OK, &2.into(), &true.into()));
    assert_eq!(service.accounts().await, 0);

    let wrong = format!("{TWO}3,Three,Pacific/Auckland,XXQ\n");
    let (status, problem) = service.send(path, &service.ingest, &[CSV], wrong).await;
    assert_eq!((status, &problem["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &"invalid_request".into()));
    assert_eq!(problem["errors"][0]["pointer"], "/lines/4/currency");
    assert_eq!(problem["report"]["rejected"], 1);
    assert_eq!(problem["report"]["errors"][0]["line"], 4);
    assert!(problem["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{problem}");
    assert_eq!(service.accounts().await, 0);

    let (status, report) = service.send(path, &service.ingest, &[CSV], TWO).await;
    assert_eq!((status, &report["accepted"]), (StatusCode::OK, &2.into()));
    sqlx::query("INSERT INTO shard VALUES ('s1', now())").execute(&service.database.app).await.unwrap();
    let placed =
        r#"{"account":"1","mailbox":"a@x.example","shard":"s1","valid_from":"2026-01-01T00:00:00Z","source":"dir"}"#;
    let (status, report) = service.send("/v1/placements/batches", &service.ingest, &[NDJSON], placed).await;
    assert_eq!((status, &report["accepted"]), (StatusCode::OK, &1.into()), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_and_what_is_not_meant_for_the_door_is_turned_away_before_the_file_is_read() {
    if support::is_skipped("who_and_what_is_not_meant_for_the_door_is_turned_away") {
        return;
    }
    let service = service().await;
    for noun in ["accounts", "subscriptions", "charges", "placements"] {
        let path = format!("/v1/{noun}/batches");
        let (status, problem) = service.send(&path, &service.billing, &[CSV], TWO).await;
        assert_eq!((status, &problem["code"]), (StatusCode::FORBIDDEN, &"forbidden".into()), "{noun}");
        let (status, _) = service.send(&path, "nonsense", &[CSV], TWO).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{noun}");
        for headers in [vec![], vec![("content-type", "application/json")], vec![CSV, ("content-encoding", "gzip")]] {
            let (status, _) = service.send(&path, &service.ingest, &headers, TWO).await;
            assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{noun} {headers:?}");
        }
        let (status, _) = service.send(&path, &service.ingest, &[CSV, ("content-length", "9999999999")], TWO).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{noun}");
        let (status, _) = service.send(&path, &service.ingest, &[CSV], "").await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{noun}");
        let (status, _) = service.send(&format!("{path}?dry=1"), &service.ingest, &[CSV], TWO).await;
        assert!(status.is_client_error(), "{noun}: a misspelt parameter must not load the file");
    }
    assert_eq!(service.accounts().await, 0);
}
