//! The door for monitors: hostile bodies, every source that there is, signatures, and what is listed to be mapped.

#[path = "support/doors.rs"]
mod doors;
mod support;
#[path = "support/world.rs"]
mod world;

#[path = "ingest/hostile.rs"]
mod hostile;
#[path = "ingest/sources.rs"]
mod sources;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use doors::{Answered, Doors};
use makegood::domain::actor::Role;
use makegood::domain::monitors::Monitors;
use makegood::domain::time::Instant;
use makegood::http::router;
use makegood::sources::signature::Secrets;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use support::{TestDatabase, database};
use tower::ServiceExt;

const MONITORS: &str = r"
sources:
  - {name: probe, kind: generic, heartbeat_gap_seconds: null}
  - {name: signed, kind: generic, heartbeat_gap_seconds: null}
  - {name: prom-north, kind: alertmanager, heartbeat_gap_seconds: null}
  - {name: graf, kind: grafana, heartbeat_gap_seconds: null}
  - {name: pager, kind: pagerduty, heartbeat_gap_seconds: null}
  - {name: bus, kind: cloudevents, heartbeat_gap_seconds: null}
  - {name: page, kind: statuspage, heartbeat_gap_seconds: null}
components:
  - {name: inbound-mx-07, from: 2026-01-01T00:00:00Z, scope: {shards: [mx-07]}}
  - {name: PHX4C0L, from: 2026-01-01T00:00:00Z, scope: {shards: [mx-07]}}
  - {name: Inbound gateway mx-07, from: 2026-01-01T00:00:00Z, scope: {shards: [mx-07]}}
rules:
  - sources: [prom-north]
    alertname: InboundDown
    means: {outage: {component_label: component, capability: receive, impact: {kind: full}}}
  - sources: [graf]
    alertname: Inbound gateway down
    means: {outage: {component_label: component, capability: receive, impact: {kind: full}}}
  - sources: [pager]
    alertname: incident
    means: {outage: {component_label: service, capability: receive, impact: {kind: full}}}
  - sources: [page]
    alertname: major_outage
    means: {outage: {component_label: component, capability: receive, impact: {kind: full}}}
";

const WHSEC: &str = "whsec_bWFrZWdvb2QtYW5vdGhlci1rZXktMDAx";

fn at(text: &str) -> Instant {
    Instant::parse(text).unwrap()
}

/// The doors of a service that knows the monitors.
struct Desk {
    database: TestDatabase,
    doors: Doors,
}

async fn desk(now: Instant) -> Desk {
    let database = database().await;
    let mut doors = doors::doors(&database.app, now).await;
    let text = format!("[[secret]]\nsource = \"signed\"\nscheme = \"standard_webhooks\"\ncurrent = \"{WHSEC}\"\n");
    let secrets = Secrets::new(toml::from_str(&text).unwrap()).unwrap();
    doors.app = doors.app.clone().with_secrets(secrets);
    doors.router = router::router(doors.app.clone());
    let desk = Desk { database, doors };
    desk.map(MONITORS).await;
    desk
}

impl Desk {
    /// Puts a document that says what alerts mean.
    async fn map(&self, yaml: &str) -> Value {
        let document: Monitors = serde_saphyr::from_str(yaml).unwrap();
        let operations = self.doors.staff("mere", Role::Operations);
        let body = serde_json::to_value(document).unwrap();
        let answered = self.doors.send(axum::http::Method::PUT, "/v1/monitors", &operations, "", Some(&body)).await;
        assert_eq!(answered.status, StatusCode::OK, "{answered:?}");
        answered.json()
    }

    async fn send(&self, request: Request<Body>) -> Answered {
        let (parts, body) = self.doors.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = axum::body::to_bytes(body, 1 << 24).await.unwrap();
        Answered { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    /// Delivers `body` to the door of `kind`, as the monitor `source`.
    async fn deliver(&self, source: &str, kind: &str, content_type: &str, body: &[u8]) -> Answered {
        let token = self.doors.machine(Role::Ingest, source).await;
        let request = Request::post(format!("/v1/ingest/{kind}"))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, content_type);
        self.send(request.body(Body::from(body.to_vec())).unwrap()).await
    }

    async fn to_map(&self) -> Value {
        let operations = self.doors.staff("mere", Role::Operations);
        let answered = self.doors.get("/v1/ingest/unmapped?since=2026-01-01T00:00:00Z", &operations).await;
        assert_eq!(answered.status, StatusCode::OK, "{answered:?}");
        answered.json()
    }

    /// Start and end of every window that stands, as they are in the API.
    async fn windows(&self) -> Vec<(String, Option<String>)> {
        let operations = self.doors.staff("mere", Role::Operations);
        let listed = self.doors.get("/v1/outages?limit=500", &operations).await.json();
        let window = |one: &Value| {
            let window = &one["window"];
            let is_taken_back = window["state"]["state"] == "retracted";
            let text = |field: &str| window[field].as_str().map(str::to_owned);
            (!is_taken_back).then(|| (text("start").unwrap(), text("end")))
        };
        listed["data"].as_array().unwrap().iter().filter_map(window).collect()
    }

    async fn count(&self, statement: &'static str) -> i64 {
        sqlx::query_scalar(statement).fetch_one(&self.database.owner).await.unwrap()
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
}

/// A good event of our own.
fn event() -> Value {
    json!({
        "event_id": "evt-1001", "status": "down", "shard": "mx-07", "capability": "receive", "impact": "full",
        "start": "2026-10-12T16:10:00Z", "end": "2026-10-12T17:40:00Z", "observed_at": "2026-10-12T17:41:00Z",
    })
}
