//! From a delivery to a signed-off outage, on a real database, as the application's role.

mod support;

use std::collections::BTreeSet;

use makegood::domain::actor::{Actor, Role};
use makegood::domain::ids::WindowId;
use makegood::domain::monitors::Monitors;
use makegood::domain::refusal::Code;
use makegood::domain::time::{Instant, Interval, MINUTE, SECOND};
use makegood::domain::window::{Capability, Certainty, Impact, OutageWindow, Scope};
use makegood::flows::amend_outage::{AmendOutage, amend_outage};
use makegood::flows::announce_outage::{AnnounceOutage, AskedScope, PlannedWork, announce_outage};
use makegood::flows::confirm_outage::{ConfirmOutage, confirm_outage};
use makegood::flows::note_silences::note_silences;
use makegood::flows::once::{Answer, IdempotencyKey};
use makegood::flows::register_shards::{RegisterShards, register_shards};
use makegood::flows::set_up_monitors::{SetUp, set_up_monitors};
use makegood::flows::take_alerts::{Taken, take_alerts};
use makegood::sources::alertmanager;
use makegood::store::{Error, evidence, windows};
use serde_json::{Value, json};
use sqlx::PgPool;
use support::{TestDatabase, database, is_skipped};

const MONITORS: &str = r"
sources:
  - {name: prom-a, kind: alertmanager, heartbeat_gap_seconds: 180}
  - {name: prom-b, kind: alertmanager, heartbeat_gap_seconds: null}
rules:
  - {sources: [prom-a, prom-b], alertname: Watchdog, means: heartbeat}
  - {sources: [prom-a, prom-b], alertname: DiskFillingUp, means: ignored}
  - sources: [prom-a, prom-b]
    alertname: InboundDown
    means:
      outage:
        component_label: component
        capability: receive
        impact: {kind: full}
        for_seconds: 60
        scrape_seconds: 15
        keep_firing_seconds: 0
components:
  - {name: inbound-mx-07, from: 2026-01-01T00:00:00Z, scope: {shards: [mx-07]}}
  - {name: inbound-mx-08, from: 2026-01-01T00:00:00Z, scope: {shards: [mx-08]}}
";

fn at(text: &str) -> Instant {
    Instant::parse(text).unwrap()
}

/// 06:10 in New Zealand on the day of the outage.
fn down() -> Instant {
    at("2026-10-12T17:10:00Z")
}

fn minutes(count: i64) -> Instant {
    down().plus(count * MINUTE)
}

fn actor(subject: &str, role: Role, source: Option<&str>) -> Actor {
    Actor {
        issuer: "https://sign-in.aoraki.example".to_owned(),
        subject: subject.to_owned(),
        name: subject.to_owned(),
        roles: BTreeSet::from([role]),
        accounts: Vec::new(),
        source: source.map(str::to_owned),
    }
}

fn operations() -> Actor {
    actor("mere", Role::Operations, None)
}

/// An alert of the inbound gateway of `shard`.
fn alert(shard: &str, start: Instant, end: Option<Instant>) -> Value {
    json!({
        "status": if end.is_some() { "resolved" } else { "firing" },
        "labels": {"alertname": "InboundDown", "component": format!("inbound-{shard}"), "severity": "critical"},
        "annotations": {"summary": "The inbound gateway does not deliver"},
        "startsAt": start.to_string(),
        "endsAt": end.map_or("0001-01-01T00:00:00Z".to_owned(), |end| end.to_string()),
        "generatorURL": "https://prometheus.aoraki.example/graph",
        "fingerprint": format!("9c1f2a6d4be073{}", &shard[3..]),
    })
}

fn watchdog() -> Value {
    json!({
        "status": "firing",
        "labels": {"alertname": "Watchdog"},
        "annotations": {},
        "startsAt": "2026-09-01T00:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": "77aa0000aa77",
    })
}

fn body(alerts: &[Value], truncated: u32) -> Vec<u8> {
    json!({
        "version": "4",
        "groupKey": "{}:{alertname=\"InboundDown\"}",
        "truncatedAlerts": truncated,
        "status": "firing",
        "receiver": "makegood",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "https://alerts.aoraki.example",
        "alerts": alerts,
    })
    .to_string()
    .into_bytes()
}

async fn deliver(pool: &PgPool, source: &str, now: Instant, alerts: &[Value]) -> Taken {
    let raw = body(alerts, 0);
    let delivery = alertmanager::parse(&raw).unwrap();
    take_alerts(pool, now, &actor(source, Role::Ingest, Some(source)), &raw, &delivery).await.unwrap()
}

async fn ready() -> TestDatabase {
    let database = database().await;
    let monitors: Monitors = serde_saphyr::from_str(MONITORS).unwrap();
    let set_up = set_up_monitors(&database.app, at("2026-09-01T00:00:00Z"), &operations(), &monitors).await.unwrap();
    assert!(set_up.warnings[0].starts_with("component \"inbound-mx-07\": There is no shard \"mx-07\"."));
    assert_eq!((set_up.sources, set_up.rules, set_up.components), (2, 6, 2));
    database
}

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey { key: text.to_owned(), fingerprint: [0; 32] }
}

fn whole() -> Interval {
    Interval::new(at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z")).unwrap()
}

/// What is held to be true as of the last recorded time, without what was taken back.
async fn live(pool: &PgPool) -> Vec<OutageWindow> {
    let mut conn = pool.acquire().await.unwrap();
    let settled = evidence::settled(&mut conn).await.unwrap();
    let mut windows = windows::touching(&mut conn, whole(), settled).await.unwrap();
    windows.retain(|window| !window.is_retracted());
    windows
}

fn edges(windows: &[OutageWindow]) -> Vec<(Instant, Option<Instant>)> {
    windows.iter().map(|window| (window.start, window.end)).collect()
}

async fn count(database: &TestDatabase, statement: &'static str) -> i64 {
    sqlx::query_scalar(statement).fetch_one(&database.owner).await.unwrap()
}

fn answer(answer: Result<Answer, Error>) -> (u16, Value) {
    let answer = answer.unwrap();
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

fn code(answer: Result<Answer, Error>) -> Code {
    answer.unwrap_err().refusal().code
}

#[tokio::test]
async fn an_alert_becomes_a_window_with_its_real_start_and_the_same_alert_again_changes_nothing() {
    if is_skipped("an_alert_becomes_a_window") {
        return;
    }
    let database = ready().await;
    let pool = &database.app;
    let fire = [alert("mx-07", down(), None)];
    let taken = deliver(pool, "prom-a", minutes(1), &fire).await;
    assert_eq!((taken.stored, taken.duplicates, taken.windows.len()), (1, 0, 1));
    let opened = live(pool).await;
    assert_eq!(edges(&opened), [(down().plus(-75 * SECOND), None)]);
    assert_eq!(opened[0].scope, Scope::Shards(vec!["mx-07".to_owned()]));
    assert_eq!(opened[0].reports[0].correction.unwrap().for_seconds, 60);

    for again in 2..5 {
        let taken = deliver(pool, "prom-a", minutes(again), &fire).await;
        assert_eq!((taken.stored, taken.duplicates, taken.windows.len()), (0, 1, 0));
    }
    assert_eq!(live(pool).await, opened);
    for (rows, statement) in [
        (1, "SELECT count(*) FROM delivery"),
        (1, "SELECT count(*) FROM observation"),
        (1, "SELECT count(*) FROM outage_window"),
        (1, "SELECT count(*) FROM audit WHERE action = 'outage.observe'"),
        (1, "SELECT count(*) FROM audit WHERE action = 'alerts.take'"),
    ] {
        assert_eq!(count(&database, statement).await, rows, "{statement}");
    }
    database.close().await;
}

#[tokio::test]
async fn a_resolve_closes_the_window_only_once_its_source_is_known_to_have_lived() {
    if is_skipped("a_resolve_closes_the_window") {
        return;
    }
    let database = ready().await;
    let pool = &database.app;
    deliver(pool, "prom-a", minutes(1), &[alert("mx-07", down(), None), watchdog()]).await;
    let over = [alert("mx-07", down(), Some(minutes(30)))];
    let taken = deliver(pool, "prom-a", minutes(30), &over).await;
    assert_eq!(taken.windows[0].end, None);
    let unknown = live(pool).await;
    assert!(unknown[0].reason.as_ref().unwrap().contains("the end is unknown"), "{unknown:?}");

    // The next heartbeat is so late that the monitor may have been dead: since when it was last heard nothing is known.
    deliver(pool, "prom-a", minutes(34), &[watchdog()]).await;
    let start = down().plus(-75 * SECOND);
    let silent = live(pool).await;
    assert_eq!(edges(&silent), [(start, Some(minutes(1))), (minutes(1), Some(minutes(34)))]);
    assert_eq!((silent[0].certainty, silent[1].certainty), (Certainty::Known, Certainty::Unknown));
    // Two that were late on their way come after all, one on either side of the end.
    deliver(pool, "prom-a", minutes(31), &[watchdog()]).await;
    deliver(pool, "prom-a", minutes(29), &[watchdog()]).await;
    assert_eq!(edges(&live(pool).await), [(start, Some(minutes(30)))]);
    database.close().await;
}

/// Who is silent says nothing, and what he watches is neither up nor down: from the heartbeat on that was the last one.
#[tokio::test]
async fn a_silent_monitor_makes_time_unknown_until_it_is_heard_again() {
    if is_skipped("a_silent_monitor_makes_time_unknown") {
        return;
    }
    let database = ready().await;
    let pool = &database.app;
    let watching =
        r"sources: [{name: prom-a, kind: alertmanager, heartbeat_gap_seconds: 180, watches: [inbound-mx-07]}]";
    let monitors: Monitors = serde_saphyr::from_str(watching).unwrap();
    set_up_monitors(pool, at("2026-09-01T00:00:00Z"), &operations(), &monitors).await.unwrap();
    assert_eq!(note_silences(pool, minutes(0)).await.unwrap(), 0, "who was never heard is not silent yet");
    deliver(pool, "prom-a", minutes(0), &[watchdog()]).await;
    assert_eq!(note_silences(pool, minutes(3)).await.unwrap(), 0);
    assert_eq!(note_silences(pool, minutes(4)).await.unwrap(), 1);
    assert_eq!(note_silences(pool, minutes(5)).await.unwrap(), 0, "once is enough");
    let silent = live(pool).await;
    assert_eq!(edges(&silent), [(minutes(0), None)]);
    assert_eq!((silent[0].certainty, &silent[0].capability.0), (Certainty::Unknown, &"receive".to_owned()));
    let mere = operations();
    let open = ConfirmOutage { version: 1 };
    let signed = confirm_outage(pool, minutes(60), &mere, &key("open"), silent[0].id, open).await;
    assert_eq!(code(signed), Code::StillOpen);

    deliver(pool, "prom-a", minutes(20), &[watchdog()]).await;
    assert_eq!(edges(&live(pool).await), [(minutes(0), Some(minutes(20)))]);
    // The monitor lived, and its messages were late: what it sent meanwhile leaves no more than the gap.
    for beat in [17, 3, 14, 6, 11, 9] {
        deliver(pool, "prom-a", minutes(beat), &[watchdog()]).await;
    }
    assert_eq!(edges(&live(pool).await), []);
    database.close().await;
}

#[tokio::test]
async fn yesterdays_answer_can_still_be_asked_for() {
    if is_skipped("yesterdays_answer") {
        return;
    }
    let database = ready().await;
    let pool = &database.app;
    deliver(pool, "prom-b", minutes(1), &[alert("mx-07", down(), None)]).await;
    let mut conn = pool.acquire().await.unwrap();
    let yesterday = evidence::settled(&mut conn).await.unwrap();
    let before = windows::touching(&mut conn, whole(), yesterday).await.unwrap();
    deliver(pool, "prom-b", minutes(40), &[alert("mx-07", down(), Some(minutes(30)))]).await;
    deliver(pool, "prom-b", minutes(41), &[alert("mx-08", minutes(-20), Some(minutes(30)))]).await;
    assert_eq!(windows::touching(&mut conn, whole(), yesterday).await.unwrap(), before);
    assert_eq!(live(pool).await.len(), 2);
    let versions = windows::versions(&mut conn, before[0].id).await.unwrap();
    assert_eq!(versions.iter().map(|one| one.window.end).collect::<Vec<_>>(), [None, Some(minutes(30))]);
    drop(conn);
    database.close().await;
}

/// Deliveries in a fixed order and three times over in another make the same windows, with the same ids.
#[tokio::test]
async fn shuffled_and_tripled_deliveries_make_the_same_windows() {
    if is_skipped("shuffled_and_tripled_deliveries") {
        return;
    }
    let mut log: Vec<(&str, Instant, Vec<Value>)> = Vec::new();
    for (number, shard) in [(0, "mx-07"), (1, "mx-08")] {
        let begins = number * 7;
        log.push(("prom-a", minutes(begins), vec![alert(shard, minutes(begins), None), watchdog()]));
        log.push(("prom-a", minutes(begins + 30), vec![alert(shard, minutes(begins), Some(minutes(begins + 30)))]));
        log.push(("prom-b", minutes(begins + 20), vec![alert(shard, minutes(begins + 20), None)]));
        log.push((
            "prom-b",
            minutes(begins + 50),
            vec![alert(shard, minutes(begins + 20), Some(minutes(begins + 50)))],
        ));
        log.push((
            "prom-b",
            minutes(begins + 90),
            vec![alert(shard, minutes(begins + 80), Some(minutes(begins + 90)))],
        ));
    }
    log.extend((0..20).map(|beat| ("prom-a", minutes(beat * 3), vec![watchdog()])));
    let facts = |windows: Vec<OutageWindow>| -> Vec<_> {
        windows.into_iter().map(|one| (one.id, one.start, one.end, one.scope, one.reports)).collect()
    };

    let ordered = ready().await;
    for (source, now, alerts) in &log {
        deliver(&ordered.app, source, *now, alerts).await;
    }
    let expected = facts(live(&ordered.app).await);
    assert_eq!(expected.len(), 4);

    let tripled: Vec<_> = log.iter().chain(&log).chain(&log).collect();
    for seed in 1..=5usize {
        // A walk through all of them with a stride that has no factor in common with their number.
        let stride = [7, 11, 13, 17, 19][seed - 1];
        assert_ne!(tripled.len() % stride, 0);
        let shuffled = ready().await;
        for step in 0..tripled.len() {
            let (source, now, alerts) = tripled[(seed + step * stride) % tripled.len()];
            deliver(&shuffled.app, source, *now, alerts).await;
        }
        assert_eq!(facts(live(&shuffled.app).await), expected, "seed {seed}");
        shuffled.close().await;
    }
    ordered.close().await;
}

#[tokio::test]
async fn what_nobody_mapped_is_kept_and_becomes_a_window_when_somebody_does() {
    if is_skipped("what_nobody_mapped") {
        return;
    }
    let database = ready().await;
    let pool = &database.app;
    let told = [
        alert("mx-09", down(), Some(minutes(30))),
        json!({
            "status": "firing", "labels": {"alertname": "QueueLong"}, "startsAt": down().to_string(), "fingerprint": "ab12",
        }),
    ];
    let taken = deliver(pool, "prom-b", minutes(40), &told).await;
    assert_eq!((taken.stored, taken.windows.len(), taken.unmapped.len()), (2, 0, 2));
    assert!(live(pool).await.is_empty());

    let component = r"components: [{name: inbound-mx-09, from: 2026-01-01T00:00:00Z, scope: {shards: [mx-09]}}]";
    let monitors: Monitors = serde_saphyr::from_str(component).unwrap();
    let set_up = set_up_monitors(pool, minutes(50), &operations(), &monitors).await.unwrap();
    assert_eq!((set_up.components, set_up.windows.len()), (1, 1));
    assert_eq!(live(pool).await[0].end, Some(minutes(30)));
    let again = set_up_monitors(pool, minutes(51), &operations(), &monitors).await.unwrap();
    assert_eq!(again, SetUp { warnings: set_up.warnings, ..SetUp::default() }, "nothing but the warning of its shard");
    database.close().await;
}

#[tokio::test]
async fn a_refused_delivery_makes_nothing_true_and_a_truncated_one_says_so() {
    if is_skipped("a_refused_delivery") {
        return;
    }
    let database = ready().await;
    let pool = &database.app;
    let raw = body(&[alert("mx-07", minutes(60), None)], 0);
    let delivery = alertmanager::parse(&raw).unwrap();
    let monitor = actor("prom-a", Role::Ingest, Some("prom-a"));
    let refusal = take_alerts(pool, down(), &monitor, &raw, &delivery).await.unwrap_err().refusal();
    assert_eq!((refusal.code, refusal.errors[0].pointer.as_str()), (Code::InvalidRequest, "/alerts/0/startsAt"));
    let nameless = actor("prom-a", Role::Ingest, None);
    let refusal = take_alerts(pool, minutes(60), &nameless, &raw, &delivery).await.unwrap_err().refusal();
    assert_eq!(refusal.code, Code::Forbidden);
    // The body is kept, so that somebody can see what the monitor's clock said.
    for (rows, statement) in [
        (1, "SELECT count(*) FROM delivery"),
        (1, "SELECT count(*) FROM rejected_alert"),
        (0, "SELECT count(*) FROM observation"),
    ] {
        assert_eq!(count(&database, statement).await, rows, "{statement}");
    }

    let raw = body(&[alert("mx-07", down(), None)], 3);
    let delivery = alertmanager::parse(&raw).unwrap();
    let taken = take_alerts(pool, minutes(60), &monitor, &raw, &delivery).await.unwrap();
    assert_eq!((taken.stored, taken.truncated), (1, 3));
    assert_eq!(count(&database, "SELECT max(truncated)::bigint FROM delivery").await, 3);
    database.close().await;
}

/// One monitor says down since 05:10, the other since 06:10, inside planned work that overran.
#[tokio::test]
async fn a_disagreement_blocks_the_signature_until_operations_settle_it_and_machines_change_nothing_after() {
    if is_skipped("a_disagreement_blocks_the_signature") {
        return;
    }
    let database = ready().await;
    let pool = &database.app;
    let (hour_before, over) = (minutes(-60), minutes(22 * 60));
    deliver(pool, "prom-a", minutes(1), &[alert("mx-07", hour_before, None)]).await;
    deliver(pool, "prom-b", minutes(2), &[alert("mx-07", down(), None)]).await;
    let id = live(pool).await[0].id;
    let now = minutes(24 * 60);
    let mere = operations();
    let confirm = |name: &'static str, version: i32| {
        let mere = mere.clone();
        async move { confirm_outage(pool, now, &mere, &key(name), id, ConfirmOutage { version }).await }
    };
    assert_eq!(code(confirm("too-early", 1).await), Code::VersionConflict);
    assert_eq!(code(confirm("open", 2).await), Code::StillOpen);
    for source in ["prom-a", "prom-b"] {
        let start = if source == "prom-a" { hour_before } else { down() };
        deliver(pool, source, over, &[alert("mx-07", start, Some(over)), watchdog()]).await;
    }
    assert_eq!(edges(&live(pool).await)[0].1, Some(over));
    assert_eq!(code(confirm("disputed", 4).await), Code::Disagreement);

    let amendment = AmendOutage {
        version: 4,
        reason: "The first hour was the announced work; the fail-over began at 06:10.".to_owned(),
        planned: Some(PlannedWork { announced_at: Some(at("2026-10-11T00:00:00Z")), start: hour_before, end: down() }),
        incident: Some("INC-2026-031".to_owned()),
        ..AmendOutage::default()
    };
    let first = key("a1");
    let amend = || amend_outage(pool, now, &mere, &first, id, amendment.clone());
    let (status, amended) = answer(amend().await);
    assert_eq!((status, &amended["window"]["version"], &amended["dispute"]), (201, &json!(5), &Value::Null));
    assert_eq!(amended["window"]["reports"].as_array().unwrap().len(), 2);
    let replayed = amend().await.unwrap();
    assert!(replayed.replayed && replayed.status == 201);

    // Mere wrote this version, so somebody else signs it; her try is kept.
    assert_eq!(code(confirm("own", 5).await), Code::FourEyes);
    let wiki = actor("wiki", Role::Operations, None);
    let signed = confirm_outage(pool, now, &wiki, &key("c2"), id, ConfirmOutage { version: 5 }).await;
    let (status, confirmed) = answer(signed);
    assert_eq!((status, &confirmed["window"]["state"]["state"]), (200, &json!("confirmed")));
    assert_eq!(confirmed["incident"], json!("INC-2026-031"));
    assert_eq!(code(confirm("c3", 6).await), Code::WrongState);

    // A monitor says later that it lasted an hour longer: kept, flagged, and nothing is edited.
    let before = live(pool).await;
    let late = [alert("mx-07", down(), Some(over.plus(60 * MINUTE)))];
    let taken = deliver(pool, "prom-b", now, &late).await;
    assert_eq!((taken.stored, taken.windows.len(), taken.conflicts), (1, 0, vec![id]));
    assert_eq!(live(pool).await, before);
    let mut conn = pool.acquire().await.unwrap();
    assert!(windows::latest(&mut conn, id).await.unwrap().unwrap().later_evidence);
    assert_eq!(windows::of_incident(&mut conn, "INC-2026-031").await.unwrap().len(), 1);
    drop(conn);
    for (rows, action) in
        [(1, "outage.amend"), (1, "outage.confirm"), (1, "outage.confirm.refused"), (4, "outage.observe")]
    {
        let found: i64 = sqlx::query_scalar("SELECT count(*) FROM audit WHERE action = $1 AND subject = $2")
            .bind(action)
            .bind(id.to_string())
            .fetch_one(&database.owner)
            .await
            .unwrap();
        assert_eq!(found, rows, "{action}");
    }
    database.close().await;
}

#[tokio::test]
async fn what_became_part_of_another_outage_is_not_signed_and_says_of_which_it_is_part() {
    if is_skipped("what_became_part_of_another_outage") {
        return;
    }
    let database = ready().await;
    let pool = &database.app;
    for (from, to) in [(0, 20), (60, 80)] {
        let told = alert("mx-07", minutes(from), Some(minutes(to)));
        deliver(pool, "prom-b", minutes(to + 2), &[told]).await;
    }
    let apart = live(pool).await;
    assert_eq!(apart.len(), 2);
    let mut between = alert("mx-07", minutes(10), Some(minutes(70)));
    between["fingerprint"] = json!("0d4c11aa20bd51e7");
    deliver(pool, "prom-b", minutes(90), &[between]).await;
    let whole = live(pool).await;
    assert_eq!(whole.len(), 1);
    let gone = apart.iter().find(|one| one.id != whole[0].id).unwrap().id;
    let mut conn = pool.acquire().await.unwrap();
    let latest = windows::latest(&mut conn, gone).await.unwrap().unwrap();
    assert_eq!(windows::part_of(&mut conn, &latest).await.unwrap(), Some(whole[0].id));
    drop(conn);
    let request = ConfirmOutage { version: latest.window.version };
    let refused = confirm_outage(pool, minutes(100), &operations(), &key("j1"), gone, request).await.unwrap_err();
    assert_eq!(refused.to_string(), format!("This outage is part of {} now.", whole[0].id));
    database.close().await;
}

#[tokio::test]
async fn planned_work_is_entered_ahead_and_taken_back() {
    if is_skipped("planned_work_is_entered_ahead") {
        return;
    }
    let database = ready().await;
    let pool = &database.app;
    let mere = operations();
    let announced = at("2026-10-11T00:00:00Z");
    let shards = RegisterShards { shards: vec!["mx-12".to_owned()] };
    register_shards(pool, announced, &mere, &shards).await.unwrap();
    let request = AnnounceOutage {
        scope: AskedScope::Shards(vec!["mx-12".to_owned()]),
        capability: Capability("receive".to_owned()),
        impact: Impact::Full,
        reach: None,
        start: None,
        end: None,
        planned: Some(PlannedWork { announced_at: None, start: minutes(-60), end: down() }),
        incident: None,
        note: None,
        origin: None,
    };
    let (status, entered) = answer(announce_outage(pool, announced, &mere, &key("p1"), request.clone()).await);
    assert_eq!((status, &entered["window"]["version"]), (201, &json!(1)));
    assert_eq!(entered["window"]["planned"]["announced_at"], json!(announced));
    let id = WindowId(entered["window"]["id"].as_str().unwrap().parse().unwrap());
    let signed = confirm_outage(pool, announced, &mere, &key("p2"), id, ConfirmOutage { version: 1 }).await;
    assert_eq!(code(signed), Code::StillOpen);

    let unplanned = AnnounceOutage { planned: None, start: Some(down()), ..request };
    assert_eq!(code(announce_outage(pool, announced, &mere, &key("p3"), unplanned).await), Code::InvalidRequest);

    let retract =
        AmendOutage { version: 1, reason: "The work was put off.".to_owned(), retract: true, ..AmendOutage::default() };
    let (_, retracted) = answer(amend_outage(pool, announced, &mere, &key("p4"), id, retract).await);
    assert_eq!(retracted["window"]["state"]["state"], json!("retracted"));
    let unknown = WindowId::of("nobody", "x");
    let signed = confirm_outage(pool, announced, &mere, &key("p5"), unknown, ConfirmOutage { version: 1 }).await;
    assert_eq!(code(signed), Code::NotFound);
    database.close().await;
}

#[tokio::test]
async fn pages_of_the_list_hold_each_outage_once_the_latest_start_first() {
    if is_skipped("pages_of_the_list") {
        return;
    }
    let database = ready().await;
    let pool = &database.app;
    for number in 0..7 {
        // Pairs begin together, so that the id has to decide.
        let begins = minutes(number / 2 * 100);
        let shard = if number % 2 == 0 { "mx-07" } else { "mx-08" };
        deliver(pool, "prom-b", minutes(900), &[alert(shard, begins, Some(begins.plus(MINUTE)))]).await;
    }
    let mut conn = pool.acquire().await.unwrap();
    let all = windows::list(&mut conn, None, 500, None).await.unwrap();
    let places: Vec<_> = all.iter().map(|one| (one.window.start, one.window.id)).collect();
    assert_eq!(places.len(), 7);
    assert!(places.windows(2).all(|pair| pair[0] > pair[1]));
    let (mut after, mut paged) = (None, Vec::new());
    loop {
        let page = windows::list(&mut conn, after, 2, None).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some((last.window.start, last.window.id));
        paged.extend(page);
    }
    assert_eq!(paged, all);
    drop(conn);
    database.close().await;
}

#[tokio::test]
async fn the_application_cannot_edit_evidence() {
    if is_skipped("the_application_cannot_edit_evidence") {
        return;
    }
    let database = ready().await;
    deliver(&database.app, "prom-a", minutes(1), &[alert("mx-07", down(), None)]).await;
    for statement in [
        "UPDATE outage_window SET starts_at = now()",
        "DELETE FROM outage_window",
        "UPDATE observation SET ends_at = now()",
        "DELETE FROM observation",
        "UPDATE delivery SET body = ''",
        "DELETE FROM heartbeat",
        "UPDATE observation_window SET window_id = window_id",
        "TRUNCATE alert_rule",
    ] {
        let refused = sqlx::query(statement).execute(&database.app).await.unwrap_err();
        assert_eq!(refused.as_database_error().unwrap().code().as_deref(), Some("42501"), "{statement}");
    }
    database.close().await;
}
