//! A real PostgreSQL that goes away and comes back, and the deliveries that came meanwhile.

mod support;

#[path = "support/server.rs"]
mod server;
#[path = "support/stoppable.rs"]
mod stoppable;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant as Timer};

use makegood::cli::token::{self, CreateArgs, Created, RevokeArgs};
use makegood::clock::Clock;
use makegood::domain::actor::{Actor, Role};
use makegood::domain::monitors::Monitors;
use makegood::domain::time::{DAY, Instant, MINUTE};
use makegood::flows::set_up_monitors::set_up_monitors;
use makegood::flows::system_actor;
use makegood::http::auth::MachineKey;
use serde_json::{Value, json};
use server::Server;
use sqlx::PgPool;
use stoppable::Stoppable;
use uuid::Uuid;

const MONITORS: &str = r"
sources:
  - {name: prometheus-north, kind: alertmanager, heartbeat_gap_seconds: null}
rules:
  - sources: [prometheus-north]
    alertname: InboundDown
    means: {outage: {component_label: component, capability: receive, impact: {kind: full}}}
components:
  - {name: inbound-mx-07, from: 2026-01-01T00:00:00Z, scope: {shards: [mx-07]}}
";

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn now() -> Instant {
    Clock::real().now()
}

fn somebody(role: Role) -> Actor {
    Actor { roles: [role].into(), ..system_actor("tests") }
}

fn alert(start: Instant, end: Option<Instant>) -> Value {
    json!({
        "version": "4", "truncatedAlerts": 0, "status": "firing",
        "alerts": [{
            "status": if end.is_some() { "resolved" } else { "firing" },
            "labels": {"alertname": "InboundDown", "component": "inbound-mx-07"},
            "startsAt": start.to_string(),
            "endsAt": end.map_or("0001-01-01T00:00:00Z".to_owned(), |end| end.to_string()),
            "fingerprint": "9c1f2a6d4be07351",
        }],
    })
}

async fn tell(server: &Server, token: &str, body: &Value) -> (u16, Value) {
    let request = reqwest::Client::new()
        .post(format!("{}/v1/ingest/alertmanager", server.url))
        .bearer_auth(token)
        .header("content-type", "application/json")
        .body(body.to_string());
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

/// The names of the files in a folder of the spool, sorted.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = all.filter(|path| path.extension().is_some_and(|found| found == end)).collect();
    files.sort();
    files
}

async fn until_empty(spool: &Path) {
    until_left(spool, &[]).await;
}

async fn until_left(spool: &Path, left: &[PathBuf]) {
    let deadline = Timer::now() + Duration::from_secs(60);
    while files(spool, "delivery") != left {
        assert!(Timer::now() < deadline, "more waits in the spool than {left:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Deliveries, observations and versions of windows.
async fn counts(pool: &PgPool) -> (i64, i64, i64) {
    sqlx::query_as(
        "SELECT (SELECT count(*) FROM delivery), (SELECT count(*) FROM observation), (SELECT count(*) FROM outage_window)",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_monitors_tell_while_the_database_is_away_is_taken_once_when_it_is_back() {
    if support::is_skipped("what_monitors_tell_while_the_database_is_away") {
        return;
    }
    let mut database = Stoppable::start().await;
    let scratch = Scratch(std::env::temp_dir().join(format!("makegood-spooling-{}", Uuid::now_v7())));
    let (data, spool) = (scratch.0.join("data"), scratch.0.join("data/spool"));
    let keys = MachineKey::load_or_create(&data.join("keys")).unwrap();
    let pool = PgPool::connect(&database.url_app).await.unwrap();
    let (clock, admin) = (Clock::real(), somebody(Role::Admin));
    let make = async |role| -> Created {
        let args = CreateArgs { role, source: "prometheus-north".to_owned(), expires: DAY };
        token::create(&pool, &keys, &clock, &admin, &args).await.unwrap()
    };
    let (good, taken_back, billing) =
        (make(Role::Ingest).await, make(Role::Ingest).await, make(Role::Billing).await.token);
    token::revoke(&pool, &clock, &admin, &RevokeArgs { jti: taken_back.listed.jti }).await.unwrap();
    let monitors: Monitors = serde_saphyr::from_str(MONITORS).unwrap();
    set_up_monitors(&pool, now(), &somebody(Role::Operations), &monitors).await.unwrap();
    pool.close().await;

    let (first, second) = (now().plus(-30 * MINUTE), now().plus(-10 * MINUTE));
    let server = Server::start(&database.url_app, &data, "127.0.0.1:0", &[]);
    assert_eq!(tell(&server, &good.token, &alert(first, None)).await.0, 202);
    assert_eq!(tell(&server, &taken_back.token, &alert(first, None)).await.0, 401);
    database.stop().await;
    let before = now();
    for body in [alert(first, Some(second)), alert(second.plus(MINUTE), None), alert(first, None), alert(first, None)] {
        let (status, answer) = tell(&server, &good.token, &body).await;
        assert_eq!((status, &answer["spooled"]), (202, &json!(true)), "{answer}");
    }
    assert_eq!(tell(&server, &good.token, &json!({"version": "3"})).await.0, 422, "it can never work");
    assert_eq!(tell(&server, "no-token", &alert(first, None)).await.0, 401);
    assert_eq!(tell(&server, &billing, &alert(first, None)).await.0, 403);
    // Its signature holds; that it was taken back, nobody can say now.
    assert_eq!(tell(&server, &taken_back.token, &alert(first, None)).await.0, 202);
    let waiting = files(&spool, "delivery");
    assert_eq!(waiting.len(), 5);
    let again = std::fs::read(&waiting[1]).unwrap();

    // Killed between writing and replaying. The first file that waits can never be read, and holds up no other.
    server.kill();
    let unreadable = spool.join("00000000000000000000-a.delivery");
    std::fs::create_dir(&unreadable).unwrap();
    database.start_again().await;
    let server = Server::start(&database.url_app, &data, "127.0.0.1:0", &[]);
    until_left(&spool, std::slice::from_ref(&unreadable)).await;
    std::fs::remove_dir(&unreadable).unwrap();
    let pool = PgPool::connect(&database.url_app).await.unwrap();
    let now_known = counts(&pool).await;
    // The two that are alike are the delivery that came before the database went away.
    assert_eq!((now_known.0, now_known.1), (3, 3));
    let windows: Vec<(Option<chrono::DateTime<chrono::Utc>>,)> =
        sqlx::query_as("SELECT DISTINCT ON (window_id) ends_at FROM outage_window ORDER BY window_id, version DESC")
            .fetch_all(&pool)
            .await
            .unwrap();
    let mut ends: Vec<_> = windows.into_iter().map(|(end,)| end).collect();
    ends.sort();
    assert_eq!(ends, [None, Some(second.utc())]);
    let received: Vec<(chrono::DateTime<chrono::Utc>,)> =
        sqlx::query_as("SELECT received_at FROM delivery ORDER BY received_at").fetch_all(&pool).await.unwrap();
    let in_time = received[1..].iter().all(|(at,)| before.utc() <= *at && *at <= now().utc());
    assert!(in_time && received[0].0 < before.utc(), "{received:?}");
    let refused = files(&spool.join("refused"), "delivery");
    let why = std::fs::read_to_string(refused[0].with_extension("why")).unwrap();
    assert_eq!((refused.len(), why.contains("taken back")), (1, true), "{why}");

    // Killed between replaying and forgetting: the file is there again.
    std::fs::write(&waiting[1], again).unwrap();
    until_empty(&spool).await;
    assert_eq!(counts(&pool).await, now_known);
    pool.close().await;

    // Away once more, and back while the server runs on.
    database.stop().await;
    let end = now();
    assert_eq!(tell(&server, &good.token, &alert(second.plus(MINUTE), Some(end))).await.0, 202);
    database.start_again().await;
    until_empty(&spool).await;
    server.kill();

    // Without room, the monitor is told to send again.
    let server = Server::start(&database.url_app, &data, "127.0.0.1:0", &["--spool-limit".as_ref(), "0".as_ref()]);
    database.stop().await;
    let (status, problem) = tell(&server, &good.token, &alert(first, None)).await;
    assert_eq!((status, &problem["code"]), (503, &json!("unavailable")));
    assert_eq!(files(&spool, "delivery"), Vec::<PathBuf>::new());
}
