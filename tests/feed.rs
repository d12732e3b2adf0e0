//! The feed: everything that was committed, once, in an order that never changes, and answers that add up.

mod support;

#[path = "feed/hostile.rs"]
mod hostile;
#[path = "feed/watched.rs"]
mod watched;

#[path = "support/doors.rs"]
mod doors;
#[path = "support/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use doors::{Doors, doors};
use makegood::domain::actor::Role;
use makegood::domain::feed::credit_name;
use makegood::flows::issue_credits::issue_in;
use makegood::flows::pull_feed::{FeedPage, pull_feed};
use makegood::flows::sequence_feed::{Sequencer, new_epoch, sequence_feed};
use makegood::store::{Error, copy};
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use support::is_skipped;
use world::*;

/// Issues one credit in a transaction of its own and names it.
async fn issue(pool: &PgPool, index: usize, number: u32, gross: i64) -> String {
    let one = goodwill(index, number, gross, november(20));
    let mut tx = pool.begin().await.unwrap();
    assert_eq!(issue_in(&mut tx, std::slice::from_ref(&one)).await.unwrap(), 1);
    tx.commit().await.unwrap();
    credit_name(one.credit.id)
}

async fn drain(pool: &PgPool) {
    while sequence_feed(pool, 0, november(20)).await.unwrap() > 0 {}
}

async fn page(pool: &PgPool, after: Option<&str>, limit: i64) -> FeedPage {
    pull_feed(pool, "makegood|billing:test", after, limit, november(20)).await.unwrap()
}

async fn count(pool: &PgPool, statement: &'static str) -> i64 {
    sqlx::query_scalar(statement).fetch_one(pool).await.unwrap()
}

fn bytes(page: &FeedPage) -> String {
    serde_json::to_string(page).unwrap()
}

fn names(page: &FeedPage) -> Vec<(i64, String)> {
    page.data.iter().map(|item| (item.position, item.credit["id"].as_str().unwrap().to_owned())).collect()
}

/// How long one writer keeps its transaction open: the fault itself, and nothing waits for it by the clock.
const HOLD: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_sixteen_writers_commit_is_pulled_once_each_though_one_holds_its_transaction_open() {
    if is_skipped("what_sixteen_writers_commit_is_pulled_once_each_though_one_holds_its_transaction_open") {
        return;
    }
    let world = world(17).await;
    let pool = world.database.app.clone();
    drain(&pool).await;
    let done = AtomicBool::new(false);
    let writers = async {
        let slow = async {
            let one = goodwill(16, 0, 777, november(20));
            let mut tx = pool.begin().await.unwrap();
            issue_in(&mut tx, std::slice::from_ref(&one)).await.unwrap();
            tokio::time::sleep(HOLD).await;
            tx.commit().await.unwrap();
            vec![credit_name(one.credit.id)]
        };
        let quick = futures_util::future::join_all((0..16).map(|writer| {
            let pool = pool.clone();
            async move {
                let mut made = Vec::new();
                for number in 0..30 {
                    made.push(issue(&pool, writer, number, 100 + i64::from(number)).await);
                }
                made
            }
        }));
        let (slow, quick) = tokio::join!(slow, quick);
        done.store(true, Ordering::SeqCst);
        quick.into_iter().flatten().chain(slow).collect::<BTreeSet<String>>()
    };
    let sequencers = async {
        // Two of them, as two servers would be, and each holds the lane for a while.
        let one = async |owner: &str| {
            let (mut numbered, mut sequencer) = (0, Sequencer::of(0, owner));
            loop {
                let was_done = done.load(Ordering::SeqCst);
                numbered += sequencer.step(&pool, november(20)).await.unwrap();
                if was_done && count(&pool, "SELECT count(*) FROM outbox").await == 0 {
                    break numbered;
                }
                tokio::task::yield_now().await;
            }
        };
        let (one, other) = tokio::join!(one("one"), one("other"));
        assert_eq!(one + other, 481);
    };
    let puller = async {
        let (mut pulled, mut pages, mut after): (Vec<(i64, String)>, Vec<(Option<String>, String)>, Option<String>) =
            (Vec::new(), Vec::new(), None);
        loop {
            let was_done = done.load(Ordering::SeqCst);
            let waiting: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox").fetch_one(&pool).await.unwrap();
            let next = page(&pool, after.as_deref(), 7).await;
            pulled.extend(names(&next));
            if next.has_more {
                pages.push((after.clone(), bytes(&next)));
            }
            let is_end = next.data.is_empty();
            after = Some(next.next_cursor);
            if is_end && was_done && waiting == 0 {
                break;
            }
        }
        (pulled, pages)
    };
    let (committed, (), (pulled, pages)) = tokio::join!(writers, sequencers, puller);
    assert_eq!(committed.len(), 481);
    let positions: Vec<i64> = pulled.iter().map(|(position, _)| *position).collect();
    assert_eq!(positions, (1..=481).collect::<Vec<i64>>(), "dense, in order, none twice");
    assert_eq!(pulled.iter().map(|(_, id)| id.clone()).collect::<BTreeSet<_>>(), committed);
    let slow = credit_name(goodwill(16, 0, 777, november(20)).credit.id);
    assert!(pulled.iter().any(|(position, id)| *id == slow && *position > 1), "the slow one came after others");

    // Every page again, from a pool that was opened just now.
    let fresh = PgPool::connect(&world.database.url_app).await.unwrap();
    assert!(pages.len() >= 20, "{}", pages.len());
    for (after, was) in &pages {
        assert_eq!(bytes(&page(&fresh, after.as_deref(), 7).await), *was);
    }
    fresh.close().await;
    books_hold(&pool).await;
}

#[tokio::test]
async fn a_page_that_is_just_full_keeps_its_bytes_when_more_comes() {
    if is_skipped("a_page_that_is_just_full_keeps_its_bytes_when_more_comes") {
        return;
    }
    let world = world(1).await;
    let pool = &world.database.app;
    for number in 0..3 {
        issue(pool, 0, number, 500).await;
    }
    drain(pool).await;
    let full = page(pool, None, 3).await;
    assert_eq!(full.data.len(), 3);
    let end = page(pool, Some(&full.next_cursor), 3).await;
    assert_eq!((end.data.len(), end.has_more, &end.next_cursor), (0, false, &full.next_cursor));
    issue(pool, 0, 3, 500).await;
    drain(pool).await;
    assert_eq!(bytes(&page(pool, None, 3).await), bytes(&full));
    books_hold(pool).await;
}

#[tokio::test]
async fn a_cursor_that_is_not_of_this_feed_is_refused_and_never_answered_with_a_page() {
    if is_skipped("a_cursor_that_is_not_of_this_feed_is_refused_and_never_answered_with_a_page") {
        return;
    }
    let world = world(1).await;
    let pool = &world.database.app;
    for number in 0..5 {
        issue(pool, 0, number, 500).await;
    }
    drain(pool).await;
    let doors = doors(pool, november(20)).await;
    let token = doors.machine(Role::Billing, "billing").await;
    let good = doors.get("/v1/billing/feed?limit=2", &token).await.json()["next_cursor"].as_str().unwrap().to_owned();
    let changed = |place: usize, to: u8| {
        let mut raw = URL_SAFE_NO_PAD.decode(&good).unwrap();
        assert_eq!(raw.len(), 21);
        raw[place] = to;
        URL_SAFE_NO_PAD.encode(raw)
    };
    for (what, cursor) in [
        ("another epoch", changed(4, 2)),
        ("beyond the head", changed(12, 99)),
        ("another position", changed(12, 3)),
        ("the beginning with the hash of another", changed(12, 0)),
        ("another hash", changed(20, URL_SAFE_NO_PAD.decode(&good).unwrap()[20] ^ 1)),
    ] {
        let answer = doors.get(&format!("/v1/billing/feed?after={cursor}"), &token).await;
        assert_eq!(answer.code(), (409, "cursor_stale".to_owned()), "{what}");
        assert!(answer.json()["detail"].as_str().unwrap().contains("from the beginning"), "{what}");
        assert!(answer.json().get("data").is_none());
    }
    let other = doors.machine(Role::Billing, "other").await;
    let theirs = doors.get(&format!("/v1/billing/feed?after={good}"), &other).await;
    assert_eq!(theirs.code(), (409, "cursor_stale".to_owned()), "another consumer's");
    for garbage in ["", "0", "null", &good[1..], &changed(0, 2), "..%2F..", "%00"] {
        let answer = doors.get(&format!("/v1/billing/feed?after={garbage}"), &token).await;
        assert_eq!(answer.code(), (422, "invalid_request".to_owned()), "{garbage:?}");
    }
    let before = names(&page(pool, None, 100).await);
    assert_eq!(new_epoch(pool, 0, november(21)).await.unwrap(), 2);
    let stale = doors.get(&format!("/v1/billing/feed?after={good}"), &token).await;
    assert_eq!(stale.code(), (409, "cursor_stale".to_owned()));
    issue(pool, 0, 5, 500).await;
    drain(pool).await;
    let after = page(pool, None, 100).await;
    assert_eq!(after.epoch, 2);
    assert_eq!(names(&after)[..5], before, "what was told keeps its place and its name");
    assert_eq!(after.data.last().unwrap().position, 6);
    books_hold(pool).await;
}

#[tokio::test]
async fn a_lane_stays_with_one_server_and_goes_to_another_when_its_lease_ran_out() {
    if is_skipped("a_lane_stays_with_one_server_and_goes_to_another_when_its_lease_ran_out") {
        return;
    }
    let world = world(1).await;
    let pool = &world.database.app;
    drain(pool).await;
    let until = async |hours: i32| {
        sqlx::query("UPDATE lane_lease SET until = clock_timestamp() + make_interval(hours => $1)")
            .bind(hours)
            .execute(&world.database.owner)
            .await
            .unwrap();
    };
    until(-1).await;
    issue(pool, 0, 0, 500).await;
    assert_eq!(Sequencer::of(0, "one").step(pool, november(20)).await.unwrap(), 1);
    let lease =
        "SELECT owner, until > clock_timestamp() AND until < clock_timestamp() + interval '3 seconds' FROM lane_lease";
    let held: (String, bool) = sqlx::query_as(lease).fetch_one(pool).await.unwrap();
    assert_eq!(held.0, "one");
    until(1).await;
    issue(pool, 0, 1, 500).await;
    assert_eq!(Sequencer::of(0, "other").step(pool, november(20)).await.unwrap(), 0, "it is held");
    assert_eq!(Sequencer::of(0, "one").step(pool, november(20)).await.unwrap(), 1, "whoever holds it goes on");
    issue(pool, 0, 2, 500).await;
    until(-1).await;
    assert_eq!(Sequencer::of(0, "other").step(pool, november(20)).await.unwrap(), 1, "it ran out");
    until(1).await;
    issue(pool, 0, 3, 500).await;
    assert_eq!(Sequencer::of(0, "one").step(pool, november(20)).await.unwrap(), 0, "it is another's now");
    // Whoever opens an epoch does not wait for a lease.
    assert_eq!(new_epoch(pool, 0, november(20)).await.unwrap(), 2);
    until(-1).await;
    books_hold(pool).await;
}

#[tokio::test]
async fn on_a_database_that_was_restored_the_feed_stops_until_a_person_opens_an_epoch() {
    if is_skipped("on_a_database_that_was_restored_the_feed_stops_until_a_person_opens_an_epoch") {
        return;
    }
    let world = world(1).await;
    let pool = &world.database.app;
    issue(pool, 0, 0, 500).await;
    drain(pool).await;
    let cursor = page(pool, None, 1).await.next_cursor;
    sqlx::query("UPDATE feed_origin SET timeline = timeline + 1").execute(&world.database.owner).await.unwrap();
    issue(pool, 0, 1, 500).await;
    assert_eq!(refused(sequence_feed(pool, 0, november(20)).await), "unavailable");
    assert_eq!(refused(pull_feed(pool, "b", None, 1, november(20)).await), "unavailable");
    new_epoch(pool, 0, november(20)).await.unwrap();
    assert_eq!(refused(pull_feed(pool, "b", Some(&cursor), 1, november(20)).await), "cursor_stale");
    drain(pool).await;
    assert_eq!(page(pool, None, 10).await.data.len(), 2);
    books_hold(pool).await;
}

struct Billing {
    doors: Doors,
    token: String,
}

impl Billing {
    async fn pull(&self) {
        assert_eq!(self.doors.get("/v1/billing/feed?limit=1000", &self.token).await.status, 200);
    }

    /// What became of each answer: `recorded`, `already` or `refused`.
    async fn say(&self, items: &Value) -> Vec<String> {
        let answer = self.doors.post("/v1/billing/acks", &self.token, "", &json!({ "items": items })).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let taken = answer.json();
        let results: Vec<String> =
            taken["items"].as_array().unwrap().iter().map(|one| one["result"].as_str().unwrap().to_owned()).collect();
        for kind in ["recorded", "already", "refused"] {
            assert_eq!(taken[kind], results.iter().filter(|one| *one == kind).count(), "{taken}");
        }
        controls_agree(&self.doors.app.pool).await;
        results
    }

    /// The credits that are not finally answered, with their states.
    async fn open(&self) -> Vec<(String, String)> {
        let page = self.doors.get("/v1/billing/unacknowledged", &self.token).await.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        page["data"].as_array().unwrap().iter().map(|one| (text(&one["credit"]["id"]), text(&one["state"]))).collect()
    }
}

/// Balances by account of the books, credit less debit.
async fn balance(pool: &PgPool, code: &str) -> i64 {
    sqlx::query_scalar(
        "SELECT coalesce(sum(CASE WHEN credit = $1 THEN amount_minor ELSE 0 END)
                       - sum(CASE WHEN debit = $1 THEN amount_minor ELSE 0 END), 0)::bigint FROM transfer",
    )
    .bind(code)
    .fetch_one(pool)
    .await
    .unwrap()
}

#[tokio::test]
async fn answers_stand_for_themselves_are_taken_once_and_add_up() {
    if is_skipped("answers_stand_for_themselves_are_taken_once_and_add_up") {
        return;
    }
    let world = world(4).await;
    let pool = &world.database.app;
    let mut ids = Vec::new();
    for index in 0..4 {
        ids.push(issue(pool, index, 0, 2_500).await);
    }
    drain(pool).await;
    let doors = doors(pool, november(20)).await;
    let token = doors.machine(Role::Billing, "billing").await;
    let billing = Billing { doors, token };
    let (a, b, c, d) = (&ids[0], &ids[1], &ids[2], &ids[3]);
    let applied = |id: &str, bill: &str, net: Value| json!({ "credit": id, "answer": "applied", "reference": bill, "date": "2026-12-05", "net": net });
    let said = |results: &[&str]| results.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();

    // Nothing is delivered yet.
    let accepted = json!([{ "credit": a, "answer": "accepted" }]);
    assert_eq!(billing.say(&accepted).await, said(&["refused"]));
    assert_eq!(billing.open().await, []);
    billing.pull().await;
    assert_eq!(billing.open().await.len(), 4);
    assert!(billing.open().await.iter().all(|(_, state)| state == "waiting"));
    // Another consumer has pulled nothing and answers nothing.
    let other = billing.doors.machine(Role::Billing, "other").await;
    let taken = billing.doors.post("/v1/billing/acks", &other, "", &json!({ "items": accepted })).await.json();
    assert_eq!(taken["refused"], 1);

    assert_eq!(
        billing.say(&json!([{ "credit": a, "answer": "accepted" }, { "credit": "crd_0", "answer": "accepted" }])).await,
        said(&["recorded", "refused"]),
        "each stands for itself"
    );
    assert_eq!(billing.say(&accepted).await, said(&["already"]));
    assert_eq!(billing.open().await.iter().find(|(id, _)| id == a).unwrap().1, "accepted");

    // In parts, never more than the credit: 10.00 + 15.00.
    let first = json!([{ "credit": a, "answer": "applied", "reference": "INV-1", "date": "2026-12-05", "net": "8.70", "tax": "1.30" }]);
    assert_eq!(billing.say(&first).await, said(&["recorded"]));
    assert_eq!(billing.say(&first).await, said(&["already"]));
    assert_eq!(billing.open().await.iter().find(|(id, _)| id == a).unwrap().1, "partly_applied");
    let changed = json!([{ "credit": a, "answer": "applied", "reference": "INV-1", "net": "8.71", "tax": "1.30" }]);
    assert_eq!(billing.say(&changed).await, said(&["refused"]), "another amount under the same bill");
    let over = json!([{ "credit": a, "answer": "applied", "reference": "INV-2", "net": "13.05", "tax": "1.96" }]);
    assert_eq!(billing.say(&over).await, said(&["refused"]), "15.01 of 15.00");
    // Twice in one request, and two bills that together are too much.
    let rest = applied(a, "INV-2", Value::Null);
    assert_eq!(
        billing.say(&json!([rest, rest, applied(a, "INV-3", json!("0.01"))])).await,
        said(&["recorded", "already", "refused"])
    );
    assert!(billing.open().await.iter().all(|(id, _)| id != a), "answered");
    assert_eq!((balance(pool, "BILLING").await, balance(pool, "OWED").await), (2_174, 7_500));
    let tax: i64 = sqlx::query_scalar("SELECT sum(tax_minor)::bigint FROM billing_answer WHERE kind = 'applied'")
        .fetch_one(pool)
        .await
        .unwrap();
    assert_eq!(tax, 326, "the parts' tax is the credit's tax");

    // Returned is the exact mirror, and the credit waits again, under another bill.
    assert_eq!(billing.say(&json!([applied(b, "INV-1", Value::Null)])).await, said(&["recorded"]));
    let returned = json!([{ "credit": b, "answer": "returned", "reference": "INV-1", "date": "2026-12-06" }]);
    assert_eq!(
        billing.say(&json!([{ "credit": b, "answer": "returned", "reference": "INV-9" }])).await,
        said(&["refused"])
    );
    assert_eq!(billing.say(&returned).await, said(&["recorded"]));
    assert_eq!(billing.say(&returned).await, said(&["already"]));
    assert_eq!((balance(pool, "BILLING").await, balance(pool, "OWED").await), (2_174, 7_500));
    assert_eq!(billing.open().await.iter().find(|(id, _)| id == b).unwrap().1, "returned");
    assert_eq!(
        billing.say(&json!([applied(b, "INV-1", Value::Null)])).await,
        said(&["refused"]),
        "not taken for done: it is on no bill"
    );
    assert_eq!(billing.say(&json!([applied(b, "INV-1a", Value::Null)])).await, said(&["recorded"]));

    // Refused goes to HELD, and nothing that comes late brings it back.
    let no = json!([{ "credit": c, "answer": "refused", "code": "CLOSED", "detail": "the account was closed" }]);
    assert_eq!(billing.say(&no).await, said(&["recorded"]));
    assert_eq!(billing.say(&no).await, said(&["already"]));
    assert_eq!(balance(pool, "HELD").await, 2_500);
    assert_eq!(
        billing.say(&json!([applied(c, "INV-1", Value::Null), { "credit": c, "answer": "accepted" }])).await,
        said(&["refused", "refused"])
    );
    assert_eq!(billing.say(&json!([{ "credit": a, "answer": "refused", "code": "LATE" }])).await, said(&["refused"]));
    assert_eq!(billing.open().await, [(d.clone(), "waiting".to_owned())], "exactly what is not finally answered");

    // The same answers from eight clients at once: one is taken.
    let gate = tokio::sync::Barrier::new(8);
    let last = json!([applied(d, "INV-1", Value::Null)]);
    let once = futures_util::future::join_all((0..8).map(|_| async {
        gate.wait().await;
        billing.say(&last).await.remove(0)
    }))
    .await;
    assert_eq!(once.iter().filter(|one| *one == "recorded").count(), 1, "{once:?}");
    assert_eq!(once.iter().filter(|one| *one == "already").count(), 7, "{once:?}");
    assert_eq!(billing.open().await, []);
    assert_eq!(balance(pool, "OWED").await, 0);
    books_hold(pool).await;
}

#[tokio::test]
async fn who_does_not_hear_the_server_out_spoils_no_connection() {
    if is_skipped("who_does_not_hear_the_server_out_spoils_no_connection") {
        return;
    }
    let world = world(1).await;
    // One connection: whatever is left on it, the next to use it finds.
    let options = (*world.database.app.connect_options()).clone();
    let pool = PgPoolOptions::new().max_connections(1).test_before_acquire(false).connect_with(options).await.unwrap();
    let rows = "COPY (SELECT generate_series(1, 5000)) TO STDOUT (FORMAT binary)";
    for until in [0, 1, 2, 4_000, 5_002] {
        let mut heard = 0;
        let take = |_: &[u8]| {
            heard += 1;
            if heard == until { Err(Error::Corrupt("that is enough".to_owned())) } else { Ok(()) }
        };
        let mut out = Box::pin(copy::out(pool.acquire().await.unwrap(), rows, take));
        if until == 0 {
            // Whoever asked hung up before the first answer.
            assert!(futures_util::poll!(&mut out).is_pending());
            drop(out);
        } else {
            assert_eq!(out.await.is_err(), until <= 5_001, "5,000 rows and what is before or behind them");
        }
        let answer: i32 = sqlx::query_scalar("SELECT $1::int").bind(until).fetch_one(&pool).await.unwrap();
        assert_eq!(answer, until, "that is the answer to another question");
        pool.begin().await.unwrap().rollback().await.unwrap();
    }
    assert!(copy::out(pool.acquire().await.unwrap(), "COPY nothing TO STDOUT", |_| Ok(())).await.is_err());
    pool.begin().await.unwrap().rollback().await.unwrap();
}
