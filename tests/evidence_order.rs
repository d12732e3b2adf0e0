//! A log of a thousand observations, shuffled, told three times and split anew: the same windows and the same sums, however it
//! comes; and yesterday's answer as it was recorded yesterday, whatever is told today.
//!
//! `MAKEGOOD_ROUNDS` says how often, `MAKEGOOD_SEED` from where to begin.

mod support;
#[path = "support/world.rs"]
mod world;

use std::collections::BTreeSet;

use fastrand::Rng;
use makegood::domain::actor::Role;
use makegood::domain::assess::assess;
use makegood::domain::assessment::Why;
use makegood::domain::monitors::Monitors;
use makegood::domain::time::{HOUR, Instant, Interval, MINUTE, SECOND};
use makegood::domain::window::OutageWindow;
use makegood::flows::note_silences::note_silences;
use makegood::flows::set_up_monitors::set_up_monitors;
use makegood::flows::take_alerts::take_alerts;
use makegood::sources::alertmanager;
use makegood::store::inputs::{Evidence, load_all};
use makegood::store::{accounts, evidence, operator, windows};
use serde_json::{Value, json};
use sqlx::PgPool;
use support::is_skipped;
use world::{at, send, staff};

const COMPONENTS: usize = 10;
const OBSERVATIONS: usize = 1_000;
/// The first two beat every sixty hours, and are silent after three days. The third is taken at its word.
const SOURCES: [&str; 3] = ["prom-a", "prom-b", "probe"];

fn monitors() -> Monitors {
    let watches: Vec<String> = (0..COMPONENTS).map(|number| format!("inbound-{number}")).collect();
    let component = |number: usize| {
        let verdict = match number {
            0 => json!("all"),
            1 => json!({"at_least": 2}),
            2 => json!({"primary": "prom-b"}),
            _ => json!("any"),
        };
        json!({
            "name": format!("inbound-{number}"), "from": "2026-01-01T00:00:00Z", "verdict": verdict,
            "scope": {"shards": [format!("mx-{number:02}")]}, "capabilities": ["receive"],
        })
    };
    let document = json!({
        "sources": [
            {"name": "prom-a", "kind": "alertmanager", "heartbeat_gap_seconds": 3 * 86_400, "watches": watches},
            {"name": "prom-b", "kind": "alertmanager", "heartbeat_gap_seconds": 3 * 86_400, "watches": watches},
            {"name": "probe", "kind": "alertmanager", "heartbeat_gap_seconds": null},
        ],
        "rules": [
            {"sources": SOURCES, "alertname": "Watchdog", "means": "heartbeat"},
            {"sources": SOURCES, "alertname": "InboundDown", "means": {"outage": {
                "component_label": "component", "impact": {"kind": "full"}, "for_seconds": 60, "scrape_seconds": 15,
                "keep_firing_seconds": 30}}},
        ],
        "components": (0..COMPONENTS).map(component).collect::<Vec<_>>(),
    });
    serde_json::from_value(document).unwrap()
}

fn began() -> Instant {
    at("2026-09-28T00:00:00Z")
}

fn over() -> Instant {
    at("2026-11-02T00:00:00Z")
}

/// One message: who said it, when it came, and what.
#[derive(Clone, Debug)]
struct Message {
    source: usize,
    at: Instant,
    alert: Value,
}

/// A month of outages: fires and resolves, two starts for one, flaps, resolves that a dead monitor sent, fires that nobody ended.
fn log(rng: &mut Rng) -> Vec<Message> {
    let mut log = Vec::new();
    let month = (over().micros() - began().micros()) / SECOND - 2 * 86_400;
    while log.len() < OBSERVATIONS {
        let (source, component) = (rng.usize(..SOURCES.len()), rng.usize(..COMPONENTS));
        let start = began().plus((86_400 + rng.i64(0..month)) * SECOND);
        let length = if rng.u8(..10) == 0 { rng.i64(0..20 * 3_600) } else { rng.i64(0..3_600) };
        for again in 0..if rng.u8(..5) == 0 { 2 } else { 1 } {
            let start = start.plus(again * rng.i64(1..120) * SECOND);
            let alert = |end: Option<Instant>| {
                json!({
                    "status": if end.is_some() { "resolved" } else { "firing" },
                    "labels": {"alertname": "InboundDown", "component": format!("inbound-{component}")},
                    "startsAt": start.to_string(),
                    "endsAt": end.map_or("0001-01-01T00:00:00Z".to_owned(), |end| end.to_string()),
                    "fingerprint": format!("f{source}c{component}"),
                })
            };
            let message = |end| Message { source, at: over(), alert: alert(end) };
            log.push(message(None));
            if rng.u8(..50) > 0 {
                log.push(message(Some(start.plus(length * SECOND))));
            }
        }
    }
    log.truncate(OBSERVATIONS);
    for source in 0..2 {
        let mut beat = began().plus(rng.i64(0..3_600) * SECOND);
        while beat < over() {
            let alert = json!({
                "status": "firing", "labels": {"alertname": "Watchdog"}, "startsAt": "2026-09-01T00:00:00Z",
                "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "77aa0000aa77",
            });
            log.push(Message { source, at: beat, alert });
            // Now and then it is dead for some days.
            beat = beat.plus(if rng.u8(..4) == 0 { 5 * 24 * HOUR } else { 60 * HOUR });
        }
    }
    log
}

/// Delivers messages in pieces of odd sizes. A heartbeat counts from when it came, so it travels alone.
async fn deliver(pool: &PgPool, messages: &[&Message], rng: &mut Rng) {
    let mut waiting: [Vec<&Value>; 3] = Default::default();
    let mut room = rng.usize(1..1_000);
    for message in messages {
        if message.at < over() {
            take(pool, message.source, message.at, &[&message.alert]).await;
            continue;
        }
        let group = &mut waiting[message.source];
        group.push(&message.alert);
        if group.len() >= room {
            take(pool, message.source, message.at, &std::mem::take(group)).await;
            room = rng.usize(1..1_000);
        }
    }
    for (source, group) in waiting.into_iter().enumerate() {
        if !group.is_empty() {
            take(pool, source, over(), &group).await;
        }
    }
    note_silences(pool, over()).await.unwrap();
}

async fn take(pool: &PgPool, source: usize, now: Instant, alerts: &[&Value]) {
    let raw = json!({"version": "4", "truncatedAlerts": 0, "alerts": alerts}).to_string().into_bytes();
    let delivery = alertmanager::parse(&raw).unwrap();
    let mut monitor = staff(SOURCES[source], Role::Ingest);
    monitor.source = Some(SOURCES[source].to_owned());
    take_alerts(pool, now, &monitor, &raw, &delivery).await.unwrap();
}

/// What is held to be true as recorded at `recorded`, and what each account's October comes to: everything that the order of the
/// messages must not change. Versions count how often something was told, and are left out.
async fn answer(pool: &PgPool, recorded: Instant) -> (Vec<Value>, Vec<Value>) {
    let mut conn = pool.acquire().await.unwrap();
    let whole = Interval::new(at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z")).unwrap();
    let windows = windows::touching(&mut conn, whole, recorded).await.unwrap();
    let fact = |one: &OutageWindow| {
        json!([one.id, one.about, one.certainty, one.capability, one.scope, one.start, one.end, one.reports])
    };
    let facts = windows.iter().filter(|one| !one.is_retracted()).map(fact).collect();
    let operator = operator::get(&mut conn).await.unwrap();
    let shared = Evidence::load(&mut conn, &operator, world::october(), recorded, over()).await.unwrap();
    let page = accounts::page(&mut conn, None, 100, Some(recorded)).await.unwrap();
    let mut sums = Vec::new();
    for one in load_all(&mut conn, &shared, &page).await.unwrap() {
        let sum = assess(&one.inputs.unwrap()).unwrap();
        let strand = sum.headline().unwrap();
        let lines: BTreeSet<String> = strand
            .lines
            .iter()
            // How often a window was taken back on the way is another matter.
            .filter(|line| line.uncounted.iter().all(|part| part.why != Why::Retracted))
            .map(|line| json!([line.window, line.start, line.end, line.counted_micros]).to_string())
            .collect();
        let blockers: BTreeSet<String> = sum.blockers.iter().map(|one| json!(one).to_string()).collect();
        sums.push(json!([one.account, strand.total.counted_micros, sum.outcome, lines, blockers]));
    }
    (facts, sums)
}

/// Names what only one side holds, for both sides are long.
fn same(expected: &(Vec<Value>, Vec<Value>), found: &(Vec<Value>, Vec<Value>), which: &str) {
    for (one, other) in [(&expected.0, &found.0), (&expected.1, &found.1)] {
        let missing: Vec<String> = one.iter().filter(|fact| !other.contains(fact)).map(Value::to_string).collect();
        let added: Vec<String> = other.iter().filter(|fact| !one.contains(fact)).map(Value::to_string).collect();
        assert!(missing.is_empty() && added.is_empty(), "{which}: missing {missing:#?}\nadded {added:#?}");
        assert_eq!(one, other, "{which}: another order");
    }
}

async fn settled(pool: &PgPool) -> Instant {
    let mut conn = pool.acquire().await.unwrap();
    evidence::settled(&mut conn).await.unwrap()
}

/// An account on each shard, and monitors that watch them.
async fn furnish(pool: &PgPool) {
    world::furnish(pool, 0).await;
    let lines = |line: &dyn Fn(usize) -> Value| (0..COMPONENTS).map(line).collect::<Vec<_>>();
    send(pool, "accounts", &lines(&world::account_line), began()).await;
    let subscription = |index: usize| {
        json!({
            "account": world::reference(index), "subscription": format!("{}-mail", world::reference(index)),
            "plan": "business", "valid_from": "2024-01-01T00:00:00Z",
        })
    };
    send(pool, "subscriptions", &lines(&subscription), began()).await;
    let charge = |index: usize| world::charge_line(index, &format!("INV-{index}"), 2);
    send(pool, "charges", &lines(&charge), began()).await;
    let placed = |index: usize| world::placement_line(index, 0, &format!("mx-{index:02}"), "2024-01-01T00:00:00Z");
    send(pool, "placements", &lines(&placed), began()).await;
    set_up_monitors(pool, began(), &staff("sefa", Role::Operations), &monitors()).await.unwrap();
}

#[tokio::test]
async fn a_log_shuffled_told_three_times_and_split_anew_gives_the_same_windows_and_sums() {
    if is_skipped("a_log_shuffled_told_three_times") {
        return;
    }
    let number = |name: &str, otherwise: u64| std::env::var(name).map_or(otherwise, |text| text.parse().unwrap());
    let (rounds, seed) = (number("MAKEGOOD_ROUNDS", 10), number("MAKEGOOD_SEED", 1));
    let database = support::database().await;
    let pool = &database.app;
    furnish(pool).await;
    for seed in seed..seed + rounds.div_ceil(10) {
        println!("MAKEGOOD_SEED={seed}");
        let log = log(&mut Rng::with_seed(seed));
        let mut expected = None;
        for round in 0..=rounds.min(10) {
            let mut rng = Rng::with_seed(seed * 1_000 + round);
            forget(&database.owner).await;
            let mut told: Vec<&Message> = log.iter().collect();
            if round > 0 {
                told = log.iter().chain(&log).chain(&log).collect();
                rng.shuffle(&mut told);
            }
            deliver(pool, &told, &mut rng).await;
            let found = answer(pool, settled(pool).await).await;
            match &expected {
                None => {
                    let unknown = found.0.iter().filter(|one| one[2] == "unknown").count();
                    assert!(found.0.len() > 50 && unknown > 0, "seed {seed}: a log that says too little");
                    expected = Some(found);
                }
                Some(expected) => same(expected, &found, &format!("MAKEGOOD_SEED={seed}, round {round}")),
            }
        }
    }
    database.close().await;
}

/// Everything that monitors said, and what came of it.
async fn forget(owner: &PgPool) {
    sqlx::query("TRUNCATE delivery, observation, heartbeat, silence, observation_window; ")
        .execute(owner)
        .await
        .unwrap();
    sqlx::query("TRUNCATE outage_window").execute(owner).await.unwrap();
}

#[tokio::test]
async fn two_monitors_that_fall_silent_at_once_are_both_noted() {
    if is_skipped("two_monitors_that_fall_silent_at_once") {
        return;
    }
    let database = support::database().await;
    let pool = &database.app;
    furnish(pool).await;
    let day = |day: i64| began().plus(day * 24 * HOUR);
    let beat = json!({
        "status": "firing", "labels": {"alertname": "Watchdog"}, "startsAt": "2026-09-01T00:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "77aa0000aa77",
    });
    let down = |source: usize, from: Instant, to: Option<Instant>| {
        json!({
            "status": if to.is_some() { "resolved" } else { "firing" },
            "labels": {"alertname": "InboundDown", "component": "inbound-3"},
            "startsAt": from.to_string(), "fingerprint": format!("f{source}"),
            "endsAt": to.map_or("0001-01-01T00:00:00Z".to_owned(), |end| end.to_string()),
        })
    };
    // The first alert swallows the second and the third until its monitor is known to be silent; then so does the second.
    for (source, from) in [(0, day(1)), (1, day(3))] {
        take(pool, source, from.plus(MINUTE), &[&beat]).await;
        take(pool, source, from.plus(MINUTE), &[&down(source, from, None)]).await;
    }
    take(pool, 2, day(6), &[&down(2, day(5), Some(day(5).plus(HOUR)))]).await;
    let live = || async {
        let windows = answer(pool, settled(pool).await).await.0;
        windows.iter().filter(|one| one[2] == "known" && one[1] != Value::Null).count()
    };
    assert_eq!(live().await, 1);
    assert_eq!(note_silences(pool, day(20)).await.unwrap(), 2);
    assert_eq!(live().await, 3);
    assert_eq!(note_silences(pool, day(20)).await.unwrap(), 0);
    database.close().await;
}

#[tokio::test]
async fn yesterdays_answer_stays_whatever_is_told_today() {
    if is_skipped("yesterdays_answer_stays") {
        return;
    }
    let seed = 7;
    let mut rng = Rng::with_seed(seed);
    let database = support::database().await;
    let pool = &database.app;
    furnish(pool).await;
    let log = log(&mut rng);
    let (first, late) = log.split_at(log.len() / 2);
    deliver(pool, &first.iter().collect::<Vec<_>>(), &mut rng).await;
    let yesterday = settled(pool).await;
    let before = answer(pool, yesterday).await;

    // Today: the rest of the log, an outage by hand, mailboxes that had moved, and a charge that was wrong.
    deliver(pool, &late.iter().collect::<Vec<_>>(), &mut rng).await;
    let start = at("2026-10-20T00:00:00Z");
    world::window(pool, "late", "mx-03", start, start.plus(90 * MINUTE), over()).await;
    let moved = world::placement_line(4, 0, "mx-05", "2026-10-10T00:00:00Z");
    send(pool, "placements", &[moved], over()).await;
    send(pool, "charges", &[world::charge_line(5, "INV-5", 3)], over()).await;
    let after = answer(pool, settled(pool).await).await;
    assert_ne!(before.0, after.0, "seed {seed}");
    assert_ne!(before.1, after.1, "seed {seed}");
    assert_eq!(before, answer(pool, yesterday).await, "seed {seed}");
    database.close().await;
}
