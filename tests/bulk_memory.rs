//! How much memory a bulk load takes. It has a process of its own, for other tests would be measured with it.

use std::collections::BTreeSet;
use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use makegood::domain::actor::{Actor, Role};
use makegood::domain::batch::{Format, Report};
use makegood::domain::time::Instant;
use makegood::flows::load_accounts::load_accounts;
use makegood::flows::load_placements::load_placements;
use makegood::flows::register_shards::{RegisterShards, register_shards};
use serde_json::json;

mod support;

fn counts(report: &Report) -> (i64, i64, i64, i64) {
    (report.lines, report.accepted, report.rejected, report.unchanged)
}

/// What the process holds in memory just now, in KiB.
fn resident() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_placements_are_loaded_in_bounded_memory_and_again_without_change() {
    if support::is_skipped("a_hundred_thousand_placements_are_loaded_in_bounded_memory") {
        return;
    }
    let db = support::database().await;
    let now = Instant::parse("2026-11-24T09:00:00Z").unwrap();
    let actor = Actor {
        issuer: "tests".to_owned(),
        subject: "platform".to_owned(),
        name: "platform".to_owned(),
        roles: BTreeSet::from([Role::Ingest]),
        accounts: Vec::new(),
        source: None,
    };
    let account = |n: u32| {
        let row = json!({ "account": n.to_string(), "name": "Customer", "zone": "UTC", "currency": "NZD" });
        Ok::<_, Infallible>(Bytes::from(format!("{row}\n")))
    };
    let customers = stream::iter((0..1_000).map(account));
    load_accounts(&db.app, now, &actor, customers, Format::Ndjson, false).await.unwrap();
    let request = RegisterShards { shards: (0..40).map(|number| format!("s{number}")).collect() };
    register_shards(&db.app, now, &actor, &request).await.unwrap();
    // Made as it is read: the file itself is nowhere in memory.
    let pieces = || {
        let line = |n: u32| {
            format!(
                "{{\"account\":\"{}\",\"mailbox\":\"mailbox-{n}@host.example\",\"shard\":\"s{}\",\"valid_from\":\"2026-01-01T00:00:00Z\",\"source\":\"directory\"}}\n",
                n % 1_000,
                n % 40
            )
        };
        let piece = move |piece: u32| {
            Ok::<_, Infallible>(Bytes::from((0..500).map(|n| line(piece * 500 + n)).collect::<String>()))
        };
        stream::iter((0..200).map(piece))
    };
    // What a first load allocates for good, such as the statements' cache, is no matter of the file's size.
    load_placements(&db.app, now, &actor, pieces(), Format::Ndjson, true).await.unwrap();
    let before = resident();
    let report = load_placements(&db.app, now, &actor, pieces(), Format::Ndjson, false).await.unwrap();
    assert_eq!(counts(&report), (100_000, 100_000, 0, 0));
    let grown = resident() - before;
    assert!(grown < 8 * 1024, "a file of 13 MB took {grown} KiB");
    let report = load_placements(&db.app, now, &actor, pieces(), Format::Ndjson, false).await.unwrap();
    assert_eq!(counts(&report), (100_000, 0, 0, 100_000));
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM placement").fetch_one(&db.app).await.unwrap();
    assert_eq!(rows, 100_000);
    db.close().await;
}
