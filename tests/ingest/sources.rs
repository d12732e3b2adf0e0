//! Real bodies of every kind of source become windows, and what means nothing yet is listed until it is mapped.

use axum::http::StatusCode;
use makegood::domain::actor::Role;
use serde_json::{Value, json};

use crate::{Desk, at, desk, event, support};

fn fixture(path: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/sources/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

async fn taken(desk: &Desk, source: &str, kind: &str, content_type: &str, body: &[u8]) -> Value {
    let answered = desk.deliver(source, kind, content_type, body).await;
    assert_eq!(answered.status, StatusCode::ACCEPTED, "{kind}: {answered:?}");
    answered.json()
}

fn edges(start: &str, end: &str) -> (String, Option<String>) {
    (start.to_owned(), Some(end.to_owned()))
}

const JSON: &str = "application/json";

#[tokio::test]
async fn real_bodies_of_every_kind_of_source_become_windows_with_both_ends() {
    if support::is_skipped("real_bodies_of_every_kind") {
        return;
    }
    for (source, kind, content_type, bodies, expected) in [
        (
            "prom-north",
            "alertmanager",
            JSON,
            vec!["alertmanager/firing.json", "alertmanager/resolved.json"],
            edges("2026-10-12T16:10:03.930Z", "2026-10-13T15:10:08.930Z"),
        ),
        ("graf", "grafana", JSON, vec!["grafana/resolved.json"], edges("2026-10-12T16:10:10Z", "2026-10-13T15:10:10Z")),
        (
            "pager",
            "pagerduty",
            JSON,
            vec!["pagerduty/resolved.json", "pagerduty/triggered.json"],
            edges("2026-10-12T16:10:31Z", "2026-10-13T15:10:44.902Z"),
        ),
        (
            "probe",
            "generic",
            JSON,
            vec!["generic/down.json", "generic/up.json"],
            edges("2026-10-12T16:10:12.482Z", "2026-10-13T15:10:12.482Z"),
        ),
        (
            "bus",
            "cloudevents",
            "application/cloudevents+json; charset=utf-8",
            vec!["cloudevents/down.json"],
            ("2026-10-12T16:10:12.482Z".to_owned(), None),
        ),
        (
            "bus",
            "cloudevents",
            "application/cloudevents-batch+json",
            vec!["cloudevents/up_batch.json"],
            edges("2026-10-12T16:10:12.482Z", "2026-10-13T15:10:12.482Z"),
        ),
        (
            "page",
            "statuspage",
            JSON,
            vec!["statuspage/component_down.json", "statuspage/incident.json", "statuspage/component_up.json"],
            edges("2026-10-12T16:20:00Z", "2026-10-13T15:05:00Z"),
        ),
    ] {
        let desk = desk(at("2026-10-13T16:00:00Z")).await;
        for body in &bodies {
            let body = taken(&desk, source, kind, content_type, &fixture(body)).await;
            assert_eq!((&body["rejected"], &body["unmapped"]), (&json!([]), &json!([])), "{kind}");
        }
        let expected = [expected];
        assert_eq!(desk.windows().await, expected, "{kind}");
        for body in bodies.iter().rev() {
            taken(&desk, source, kind, content_type, &fixture(body)).await;
        }
        assert_eq!(desk.windows().await, expected, "{kind}, told again in another order");
    }
}

#[tokio::test]
async fn an_incident_that_is_opened_again_is_a_second_window() {
    if support::is_skipped("an_incident_that_is_opened_again") {
        return;
    }
    let desk = desk(at("2026-10-13T16:00:00Z")).await;
    for body in ["pagerduty/reopened.json", "pagerduty/triggered.json", "pagerduty/resolved.json"] {
        taken(&desk, "pager", "pagerduty", JSON, &fixture(body)).await;
    }
    let again = ("2026-10-13T15:21:05Z".to_owned(), None);
    assert_eq!(desk.windows().await, [again, edges("2026-10-12T16:10:31Z", "2026-10-13T15:10:44.902Z")]);
}

#[tokio::test]
async fn one_bad_alert_of_a_group_does_not_lose_its_neighbours_and_is_listed() {
    if support::is_skipped("one_bad_alert_of_a_group") {
        return;
    }
    let desk = desk(at("2026-10-13T16:00:00Z")).await;
    let mut body: Value = serde_json::from_slice(&fixture("alertmanager/resolved.json")).unwrap();
    let good = body["alerts"][0].clone();
    let with = |field: &str, value: Value| {
        let mut bad = good.clone();
        bad[field] = value;
        bad
    };
    body["alerts"] = json!([
        with("startsAt", json!("yesterday")),
        with("endsAt", json!("2026-10-20T00:00:00Z")),
        good,
        with("fingerprint", json!("")),
    ]);
    let told = taken(&desk, "prom-north", "alertmanager", JSON, body.to_string().as_bytes()).await;
    assert_eq!(told["stored"], 1);
    let pointers = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| one["pointer"].as_str().unwrap().to_owned()).collect()
    };
    let mut rejected = pointers(&told["rejected"]);
    rejected.sort();
    assert_eq!(rejected, ["/alerts/0/startsAt", "/alerts/1/endsAt", "/alerts/3/fingerprint"]);
    assert_eq!(desk.windows().await, [edges("2026-10-12T16:10:03.930Z", "2026-10-13T15:10:08.930Z")]);
    assert_eq!(pointers(&desk.to_map().await["rejected"]), rejected);
    taken(&desk, "prom-north", "alertmanager", JSON, body.to_string().as_bytes()).await;
    assert_eq!(desk.count("SELECT count(*) FROM rejected_alert").await, 3, "told again, listed once");
}

#[tokio::test]
async fn what_means_nothing_yet_is_listed_and_becomes_an_outage_when_it_is_mapped() {
    if support::is_skipped("what_means_nothing_yet") {
        return;
    }
    let desk = desk(at("2026-10-13T16:00:00Z")).await;
    let mut body: Value = serde_json::from_slice(&fixture("alertmanager/resolved.json")).unwrap();
    body["alerts"][0]["labels"]["component"] = json!("inbound-mx-31");
    taken(&desk, "prom-north", "alertmanager", JSON, body.to_string().as_bytes()).await;
    body["alerts"][0]["fingerprint"] = json!("aa");
    body["alerts"][0]["labels"]["alertname"] = json!("QueueStuck");
    taken(&desk, "prom-north", "alertmanager", JSON, body.to_string().as_bytes()).await;
    let mut unknown = event();
    unknown["shard"] = json!("mx-32");
    for (source, body) in [("probe", &unknown), ("nobody-knows", &event())] {
        let answered = desk.deliver(source, "generic", JSON, body.to_string().as_bytes()).await;
        assert_eq!(answered.code(), (422, "invalid_request".to_owned()), "{answered:?}");
        assert!(answered.json()["detail"].as_str().unwrap().contains("do not send it again"), "{answered:?}");
    }
    assert_eq!(desk.windows().await, []);
    let listed = |to_map: &Value| -> Vec<[String; 3]> {
        let text = |one: &Value, field: &str| one[field].as_str().unwrap().to_owned();
        let mut all: Vec<_> = to_map["unmapped"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| ["source", "missing", "name"].map(|field| text(one, field)))
            .collect();
        all.sort();
        all
    };
    let expected = [
        ["nobody-knows", "no_source", "nobody-knows"],
        ["probe", "no_shard", "mx-32"],
        ["prom-north", "no_component", "inbound-mx-31"],
        ["prom-north", "no_rule", "QueueStuck"],
    ];
    assert_eq!(listed(&desk.to_map().await), expected);

    let set_up = desk
        .map(
            r"
sources: [{name: nobody-knows, kind: generic, heartbeat_gap_seconds: null}]
components:
  - {name: inbound-mx-31, from: 2026-01-01T00:00:00Z, scope: {shards: [mx-31, mx-32]}}
rules:
  - {sources: [prom-north], alertname: QueueStuck, means: ignored}
",
        )
        .await;
    assert_eq!(set_up["windows"].as_array().unwrap().len(), 3, "{set_up}");
    assert_eq!(listed(&desk.to_map().await), Vec::<[String; 3]>::new());
    let told = edges("2026-10-12T16:10:00Z", "2026-10-12T17:40:00Z");
    let mut windows = desk.windows().await;
    windows.sort();
    assert_eq!(windows, [told.clone(), told, edges("2026-10-12T16:10:03.930Z", "2026-10-13T15:10:08.930Z")]);
}

#[tokio::test]
async fn a_correction_that_was_seen_later_holds_in_whichever_order_the_two_arrive() {
    if support::is_skipped("a_correction_that_was_seen_later") {
        return;
    }
    let mut shorter = event();
    shorter["end"] = json!("2026-10-12T17:00:00Z");
    shorter["observed_at"] = json!("2026-10-12T18:30:00Z");
    for order in [[event(), shorter.clone()], [shorter.clone(), event()]] {
        let desk = desk(at("2026-10-13T16:00:00Z")).await;
        for body in &order {
            taken(&desk, "probe", "generic", JSON, body.to_string().as_bytes()).await;
        }
        assert_eq!(desk.windows().await, [edges("2026-10-12T16:10:00Z", "2026-10-12T17:00:00Z")]);
        assert_eq!(desk.count("SELECT count(*) FROM observation").await, 2, "both are kept");
    }
    let desk = desk(at("2026-10-13T16:00:00Z")).await;
    let both = json!([event(), shorter]).to_string();
    taken(&desk, "probe", "generic", JSON, both.as_bytes()).await;
    assert_eq!(desk.windows().await, [edges("2026-10-12T16:10:00Z", "2026-10-12T17:00:00Z")]);

    let mut elsewhere = event();
    elsewhere["capability"] = json!("send");
    let told = taken(&desk, "probe", "generic", JSON, elsewhere.to_string().as_bytes()).await;
    assert!(told["rejected"][0]["message"].as_str().unwrap().contains("about something else"), "{told}");
    assert_eq!(desk.windows().await.len(), 1);
}

#[tokio::test]
async fn a_file_of_events_is_taken_line_by_line() {
    if support::is_skipped("a_file_of_events") {
        return;
    }
    let desk = desk(at("2026-10-13T16:00:00Z")).await;
    let told = taken(&desk, "probe", "generic", "text/csv; charset=utf-8", &fixture("generic/events.csv")).await;
    assert_eq!((&told["stored"], &told["rejected"][0]["pointer"]), (&json!(2), &json!("/lines/3/start")));
    assert!(told["unmapped"][0]["why"].as_str().unwrap().contains("webmail"), "{told}");
    assert_eq!(desk.windows().await, [edges("2026-10-12T16:10:00Z", "2026-10-12T17:10:00Z")]);
}

#[tokio::test]
async fn a_source_of_our_own_events_may_send_a_heartbeat() {
    if support::is_skipped("a_source_of_our_own_events") {
        return;
    }
    let desk = desk(at("2026-10-13T16:00:00Z")).await;
    desk.map("{rules: [{sources: [probe], alertname: alive, means: heartbeat}]}").await;
    let alive = json!({"event_id": "probe", "status": "alive", "start": "2026-10-01T00:00:00Z"}).to_string();
    for _ in 0..2 {
        taken(&desk, "probe", "generic", JSON, alive.as_bytes()).await;
    }
    assert_eq!(desk.count("SELECT count(*) FROM observation").await, 1);
    assert_eq!(desk.count("SELECT count(*) FROM heartbeat WHERE source = 'probe'").await, 2);
    assert_eq!(desk.windows().await, []);
}

#[tokio::test]
async fn only_those_who_map_read_the_list() {
    if support::is_skipped("only_those_who_map") {
        return;
    }
    let desk = desk(at("2026-10-13T16:00:00Z")).await;
    let machine = desk.doors.machine(Role::Ingest, "probe").await;
    assert_eq!(desk.doors.get("/v1/ingest/unmapped", &machine).await.status, StatusCode::FORBIDDEN);
    let agent = desk.doors.staff("ana", Role::Agent);
    assert_eq!(desk.doors.get("/v1/ingest/unmapped", &agent).await.status, StatusCode::FORBIDDEN);
    let operations = desk.doors.staff("mere", Role::Operations);
    let wrong = desk.doors.get("/v1/ingest/unmapped?since=yesterday", &operations).await;
    assert_eq!(wrong.code(), (422, "invalid_request".to_owned()));
}
