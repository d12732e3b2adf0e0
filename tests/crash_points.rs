//! The real server is killed at each fail point, before and after each statement that moves money, and started again: what was
//! asked is asked again with the same key, and is done once or not at all, with nothing orphaned.

mod support;

#[path = "support/doors.rs"]
mod doors;
#[path = "support/server.rs"]
mod server;
#[path = "support/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use doors::{Doors, doors};
use makegood::clock::Clock;
use makegood::domain::actor::Role;
use makegood::domain::time::HOUR;
use makegood::failpoint;
use makegood::flows::act_on_claim::{ActOnClaim, act_on_claim};
use makegood::flows::amend_outage::{AmendOutage, amend_outage};
use makegood::flows::file_claim::{FileClaim, file_claim};
use makegood::flows::list_differences::list_differences;
use makegood::store::{operator, oracle};
use serde_json::{Value, json};
use server::Server;
use sqlx::PgPool;
use support::is_skipped;
use tokio::task::block_in_place;
use world::*;

const ONCE: [&str; 4] = ["once.after_begin", "once.before_keep", "once.before_commit", "once.after_commit"];
const APPROVE: [&str; 4] =
    ["approve_run.before_save", "approve_run.after_save", "approve_run.after_batches", "approve_run.after_audit"];
/// In the order in which one batch of a run, and then its end, pass them.
const APPLY: [&str; 14] = [
    "apply_run.before_issue",
    "mass_post.after_heads",
    "apply_run.before_credits",
    "apply_run.after_credits",
    "mass_post.before_transfers",
    "mass_post.after_transfers",
    "mass_post.after_audits",
    "mass_post.after_outbox",
    "apply_run.after_issue",
    "apply_run.before_commit",
    "apply_run.after_commit",
    "apply_run.before_finish",
    "apply_run.after_finish",
    "apply_run.before_end",
];
const SEQUENCE: [&str; 5] = [
    "sequence.after_take",
    "sequence.after_chain",
    "sequence.after_items",
    "sequence.before_commit",
    "sequence.after_commit",
];
const ACT: [&str; 4] = ["act.before_save", "act.after_save", "act.after_record", "act.after_audit"];
/// In the order in which one decision that is posted passes them.
const POST: [&str; 13] = [
    "post_claim.before_issue",
    "issue.before_lock",
    "issue.before_credits",
    "issue.after_credits",
    "post.before_heads",
    "post.after_heads",
    "post.after_transfers",
    "post.after_audits",
    "post.after_outbox",
    "post_claim.after_issue",
    "post_claim.after_save",
    "post_claim.before_commit",
    "post_claim.after_commit",
];
const ANSWER: [&str; 5] = [
    "answer.before_answers",
    "answer.after_answers",
    "answer.after_deeds",
    "answer.before_commit",
    "answer.after_commit",
];
const REVERSE: [&str; 3] = ["reverse.before_deeds", "reverse.after_deeds", "reverse.after_post"];
const SETTLE: [&str; 3] = ["settle.before_deed", "settle.after_deed", "settle.after_post"];
const CLOSE: [&str; 5] = [
    "close.before_provisions",
    "close.after_provisions",
    "close.after_postings",
    "close.before_opening",
    "close.after_opening",
];
const JOURNAL: [&str; 2] = ["journal.before_batch", "journal.after_batch"];
const DECIDE: [&str; 3] = ["decide.before_decision", "decide.after_decision", "decide.after_audit"];

#[test]
fn each_fail_point_is_tried_here() {
    let tried =
        [&ONCE[..], &APPROVE, &APPLY, &SEQUENCE, &ACT, &POST, &ANSWER, &REVERSE, &SETTLE, &CLOSE, &JOURNAL, &DECIDE]
            .concat();
    assert_eq!(BTreeSet::from_iter(tried), BTreeSet::from(failpoint::ALL));
}

/// A world whose plans never expire and whose decisions are posted at once, and doors to it.
async fn place(count: usize) -> (World, Doors) {
    let world = world(count).await;
    let settings = makegood::domain::operator::Operator { run_expiry_seconds: u32::MAX, hold_seconds: 0, ..settings() };
    operator::put(&mut world.database.app.acquire().await.unwrap(), &settings).await.unwrap();
    let doors = doors(&world.database.app, november(5)).await;
    (world, doors)
}

fn start(world: &World, doors: &Doors, point: &str) -> Server {
    let issuers = ["--issuers".as_ref(), doors.issuers_file.as_os_str()];
    block_in_place(|| Server::armed(point, &world.database.url_app, &doors.folder, "127.0.0.1:0", &issuers))
}

/// What must hold at any moment, whoever was killed: the control totals, and that every deed is whole.
async fn is_whole(pool: &PgPool, after: &str) {
    let mut tx = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.unwrap();
    let mut controls = makegood::store::books::control_totals(&mut tx).await.unwrap();
    controls.extend(oracle::orphans(&mut tx).await.unwrap());
    controls.retain(|one| one.left != one.right);
    assert!(controls.is_empty(), "after a kill at {after}: {controls:#?}");
}

/// Starts a server that works by itself and kills it at `point`.
async fn kill_at_work(world: &World, doors: &Doors, point: &str) {
    let server = start(world, doors, point);
    block_in_place(|| server.stops_at(point));
    server.kill();
    is_whole(&world.database.app, point).await;
}

async fn until(pool: &PgPool, what: &'static str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !sqlx::query_scalar::<_, bool>(what).fetch_one(pool).await.unwrap() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::task::yield_now().await;
    }
}

async fn count(pool: &PgPool, what: &'static str) -> i64 {
    sqlx::query_scalar(what).fetch_one(pool).await.unwrap()
}

/// One request, as often as it takes.
struct Asking<'a> {
    path: String,
    token: String,
    key: &'a str,
    body: Value,
}

impl Asking<'_> {
    /// Status, whether it is the answer of an earlier try, and the body; none where the connection broke.
    async fn send(&self, url: &str) -> Option<(u16, bool, String)> {
        let mut request = reqwest::Client::new()
            .post(format!("{url}{}", self.path))
            .bearer_auth(&self.token)
            .header("content-type", "application/json")
            .body(self.body.to_string());
        if !self.key.is_empty() {
            request = request.header("idempotency-key", self.key);
        }
        let response = request.send().await.ok()?;
        let replayed = response.headers().contains_key("idempotent-replayed");
        Some((response.status().as_u16(), replayed, response.text().await.ok()?))
    }

    /// Tries until nobody is at it any more: the session of a killed server may outlive it for a moment.
    async fn insist(&self, url: &str) -> (u16, bool, String) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let answer = self.send(url).await.expect("the server answers");
            if answer.0 != 409 || !answer.2.contains("idempotency_in_flight") {
                return answer;
            }
            assert!(Instant::now() < deadline, "{}", answer.2);
            tokio::task::yield_now().await;
        }
    }

    /// Asks a server that is killed at `point`, and looks at what is left.
    async fn kill_at(&self, world: &World, doors: &Doors, point: &'static str) {
        let server = start(world, doors, point);
        let url = server.url.clone();
        let stopped = tokio::task::spawn_blocking(move || {
            server.stops_at(point);
            server
        });
        let server = tokio::select! {
            answer = self.insist(&url) => panic!("answered before {point}: {answer:?}"),
            server = stopped => server.unwrap(),
        };
        server.kill();
        is_whole(&world.database.app, point).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_approval_is_there_once_wherever_its_server_is_killed() {
    if is_skipped("an_approval_is_there_once_wherever_its_server_is_killed") {
        return;
    }
    let (world, doors) = place(2).await;
    let pool = &world.database.app;
    let run = propose(pool, november(5), "run").await;
    let approval = Asking {
        path: format!("/v1/credit-runs/{}/approve", run.id),
        token: doors.staff("wiremu", Role::Supervisor),
        key: "approve",
        body: json!({ "total": run.total.digits() }),
    };
    let points = [&ONCE[..1], &APPROVE, &ONCE[1..]].concat();
    for point in points {
        approval.kill_at(&world, &doors, point).await;
        let is_approved = count(pool, "SELECT count(*) FROM credit_run WHERE state <> 'proposed'").await == 1;
        assert_eq!(is_approved, point == "once.after_commit", "{point}");
        assert_eq!(audited(pool, "credit_run.approve").await, i64::from(is_approved), "{point}");
    }
    let server = start(&world, &doors, "");
    let again = approval.insist(&server.url).await;
    assert_eq!((again.0, again.1), (202, true), "{}", again.2);
    until(pool, "SELECT EXISTS (SELECT FROM credit_run WHERE state = 'applied')").await;
    until(pool, "SELECT NOT EXISTS (SELECT FROM outbox)").await;
    assert_eq!(credited(pool).await, (run.credits, run.total.minor()));
    books_hold(pool).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_run_is_there_once_wherever_the_server_is_killed() {
    if is_skipped("a_run_is_there_once_wherever_the_server_is_killed") {
        return;
    }
    let (world, doors) = place(3).await;
    let pool = &world.database.app;
    let run = propose(pool, november(5), "run").await;
    approve(pool, november(5), "wiremu", &run).await.unwrap();
    let committed = APPLY.iter().position(|point| *point == "apply_run.after_commit").unwrap();
    let mut ended = 0;
    for (at, point) in APPLY.iter().enumerate() {
        kill_at_work(&world, &doors, point).await;
        let expected = if at < committed { (0, 0) } else { (run.credits, run.total.minor()) };
        assert_eq!(credited(pool).await, expected, "{point}");
        if at == committed {
            // Another worker may have ended the run before the kill: then it is to be ended once more.
            ended = audited(pool, "credit_run.applied").await;
            let again = "UPDATE credit_run SET state = 'approved', applied_at = NULL";
            sqlx::query(again).execute(&world.database.owner).await.unwrap();
        }
        assert_eq!(audited(pool, "credit_run.applied").await, ended, "{point}");
    }
    let _server = start(&world, &doors, "");
    until(pool, "SELECT EXISTS (SELECT FROM credit_run WHERE state = 'applied')").await;
    until(pool, "SELECT NOT EXISTS (SELECT FROM outbox)").await;
    assert_eq!(credited(pool).await, (run.credits, run.total.minor()));
    assert_eq!(audited(pool, "credit_run.applied").await, ended + 1);
    assert_eq!(audited(pool, "credit.issue").await, run.credits);
    books_hold(pool).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn numbers_are_given_once_wherever_the_sequencer_is_killed() {
    if is_skipped("numbers_are_given_once_wherever_the_sequencer_is_killed") {
        return;
    }
    let (world, doors) = place(3).await;
    let pool = &world.database.app;
    let run = propose(pool, november(5), "run").await;
    approve(pool, november(5), "wiremu", &run).await.unwrap();
    apply(pool, november(5), run.id).await;
    for point in SEQUENCE {
        kill_at_work(&world, &doors, point).await;
        let numbered = count(pool, "SELECT count(*) FROM feed").await;
        assert_eq!(numbered, if point == "sequence.after_commit" { run.credits } else { 0 }, "{point}");
    }
    let _server = start(&world, &doors, "");
    until(pool, "SELECT NOT EXISTS (SELECT FROM outbox)").await;
    books_hold(pool).await;
}

/// A claim for more, filed in-process.
async fn claim(pool: &PgPool, name: &str) -> String {
    let request = FileClaim {
        account: reference(0),
        ground: makegood::domain::claim::Ground::CostMore,
        incident: Some(name.to_owned()),
        words: "We paid demurrage on two containers because no notice reached us.".to_owned(),
        amount: None,
        contact: "email".to_owned(),
    };
    let hana = customer("hana", &reference(0));
    let filed = file_claim(pool, Clock::real().now(), &hana, &key(name), request).await.unwrap();
    body(&filed)["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_decision_and_its_credit_are_there_once_wherever_the_server_is_killed() {
    if is_skipped("a_decision_and_its_credit_are_there_once_wherever_the_server_is_killed") {
        return;
    }
    let (world, doors) = place(1).await;
    let pool = &world.database.app;
    let decided = claim(pool, "decided").await;
    let approval = Asking {
        path: format!("/v1/claims/{decided}/approve"),
        token: doors.staff("mere", Role::Agent),
        key: "decide",
        body: json!({ "amount": "120.00", "reason": "goodwill_first", "words": "We are sorry." }),
    };
    for point in [&ONCE[..1], &ACT, &ONCE[1..]].concat() {
        approval.kill_at(&world, &doors, point).await;
        let is_decided = i64::from(point == "once.after_commit");
        assert_eq!(count(pool, "SELECT count(*) FROM claim WHERE decision IS NOT NULL").await, is_decided, "{point}");
        assert_eq!(audited(pool, "claim.approve").await, is_decided, "{point}");
    }
    let server = start(&world, &doors, "");
    let again = approval.insist(&server.url).await;
    assert_eq!((again.0, again.1), (200, true), "{}", again.2);
    until(pool, "SELECT EXISTS (SELECT FROM credit)").await;
    server.kill();
    assert_eq!(credited(pool).await, (1, 12_000));

    // The clock posts what is decided; no request waits for it.
    let posted = claim(pool, "posted").await;
    let request = ActOnClaim {
        amount: Some("80.00".to_owned()),
        reason: serde_json::from_value(json!("goodwill_first")).unwrap(),
        words: Some("We are sorry.".to_owned()),
        ..ActOnClaim::default()
    };
    let mere = staff("mere", Role::Agent);
    act_on_claim(pool, Clock::real().now(), &mere, &key("act"), &posted, "approve", request).await.unwrap();
    for point in POST {
        kill_at_work(&world, &doors, point).await;
        let is_posted = point == "post_claim.after_commit";
        assert_eq!(credited(pool).await, if is_posted { (2, 20_000) } else { (1, 12_000) }, "{point}");
        assert_eq!(audited(pool, "claim.post").await, if is_posted { 2 } else { 1 }, "{point}");
    }
    let _server = start(&world, &doors, "");
    until(pool, "SELECT NOT EXISTS (SELECT FROM outbox)").await;
    assert_eq!(credited(pool).await, (2, 20_000));
    books_hold(pool).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_answer_of_billing_is_booked_once_wherever_the_server_is_killed() {
    if is_skipped("an_answer_of_billing_is_booked_once_wherever_the_server_is_killed") {
        return;
    }
    let (world, doors) = place(1).await;
    let pool = &world.database.app;
    let run = propose(pool, november(5), "run").await;
    approve(pool, november(5), "wiremu", &run).await.unwrap();
    apply(pool, november(5), run.id).await;
    books_hold(pool).await;
    let billing = doors.machine(Role::Billing, "billing").await;
    let page = doors.get("/v1/billing/feed", &billing).await.json();
    let credit = page["data"][0]["credit"]["id"].clone();
    let answer = Asking {
        path: "/v1/billing/acks".to_owned(),
        token: billing,
        key: "",
        body: json!({ "items": [{ "credit": credit, "answer": "applied", "reference": "INV-1", "date": "2026-11-05" }] }),
    };
    for point in ANSWER {
        answer.kill_at(&world, &doors, point).await;
        let answers = count(pool, "SELECT count(*) FROM billing_answer").await;
        let posted = count(pool, "SELECT count(DISTINCT event) FROM transfer WHERE event <> 'issued'").await;
        let expected = i64::from(point == "answer.after_commit");
        assert_eq!((answers, posted), (expected, expected), "{point}");
    }
    let server = start(&world, &doors, "");
    let again = answer.insist(&server.url).await;
    let taken: Value = serde_json::from_str(&again.2).unwrap();
    assert_eq!((again.0, &taken["already"], &taken["recorded"]), (200, &json!(1), &json!(0)), "{}", again.2);
    books_hold(pool).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_finance_does_with_a_credit_is_done_once_wherever_the_server_is_killed() {
    if is_skipped("what_finance_does_with_a_credit_is_done_once_wherever_the_server_is_killed") {
        return;
    }
    let (world, doors) = place(1).await;
    let pool = &world.database.app;
    let run = propose(pool, november(5), "run").await;
    approve(pool, november(5), "wiremu", &run).await.unwrap();
    apply(pool, november(5), run.id).await;
    books_hold(pool).await;
    let billing = doors.machine(Role::Billing, "billing").await;
    let page = doors.get("/v1/billing/feed", &billing).await.json();
    let credit = page["data"][0]["credit"]["id"].as_str().unwrap().to_owned();
    let refusal = json!({ "items": [{ "credit": credit, "answer": "refused", "code": "account_closed" }] });
    assert_eq!(doors.post("/v1/billing/acks", &billing, "", &refusal).await.json()["recorded"], 1);
    let deed = |path: &str, name: &'static str, body: Value| Asking {
        path: format!("/v1/credits/{credit}/{path}"),
        token: doors.staff("finn", Role::Finance),
        key: name,
        body,
    };
    let offer = deed("offer", "offer", json!({ "note": "The account was opened again." }));
    let reversal = json!({ "reason": "record_corrected", "note": "The outage was another system's." });
    let reversal = deed("reverse", "reverse", reversal);
    for (asking, points, kind) in [(&offer, SETTLE, "offered"), (&reversal, REVERSE, "reversed")] {
        for point in [&points[..], &ONCE[3..]].concat() {
            asking.kill_at(&world, &doors, point).await;
            let deeds: i64 = sqlx::query_scalar("SELECT count(*) FROM credit_deed WHERE kind = $1")
                .bind(kind)
                .fetch_one(pool)
                .await
                .unwrap();
            assert_eq!(deeds, i64::from(point == "once.after_commit"), "{point}");
        }
        let server = start(&world, &doors, "");
        let again = asking.insist(&server.url).await;
        assert_eq!((again.0, again.1), (201, true), "{}", again.2);
        server.kill();
    }
    books_hold(pool).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_journal_is_made_and_a_period_closed_once_wherever_the_server_is_killed() {
    if is_skipped("a_journal_is_made_and_a_period_closed_once_wherever_the_server_is_killed") {
        return;
    }
    let (world, doors) = place(1).await;
    let pool = &world.database.app;
    let run = propose(pool, november(5), "run").await;
    approve(pool, november(5), "wiremu", &run).await.unwrap();
    apply(pool, november(5), run.id).await;
    books_hold(pool).await;
    let asking = |path: &str, key: &'static str, body: Value| Asking {
        path: path.to_owned(),
        token: doors.staff("finn", Role::Finance),
        key,
        body,
    };
    let journal = asking("/v1/ledger/journals", "journal", json!({ "period": "2026-10" }));
    let closing = asking("/v1/ledger/periods", "close", json!({ "period": "2026-10", "to": "closing" }));
    for (asking, points, status, action) in
        [(&journal, &JOURNAL[..], 201, "journal.make"), (&closing, &CLOSE[..], 200, "period.close")]
    {
        for point in [points, &ONCE[3..]].concat() {
            asking.kill_at(&world, &doors, point).await;
            assert_eq!(audited(pool, action).await, i64::from(point == "once.after_commit"), "{point}");
        }
        let server = start(&world, &doors, "");
        let again = asking.insist(&server.url).await;
        assert_eq!((again.0, again.1), (status, true), "{}", again.2);
        server.kill();
    }
    books_hold(pool).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_difference_is_decided_once_wherever_the_server_is_killed() {
    if is_skipped("a_difference_is_decided_once_wherever_the_server_is_killed") {
        return;
    }
    let (world, doors) = place(1).await;
    let pool = &world.database.app;
    let run = propose(pool, november(5), "run").await;
    approve(pool, november(5), "wiremu", &run).await.unwrap();
    apply(pool, november(5), run.id).await;
    let (start_of_outage, _) = outage();
    let shorter = AmendOutage {
        version: 2,
        reason: "The log shows mail again after two hours.".to_owned(),
        end: Some(start_of_outage.plus(2 * HOUR)),
        ..AmendOutage::default()
    };
    let sefa = staff("sefa", Role::Operations);
    amend_outage(pool, november(7), &sefa, &key("shorter"), world.window, shorter).await.unwrap();
    sign_off(pool, world.window, 3, november(7)).await;
    list_differences(pool, november(7), &staff("finn", Role::Finance), october()).await.unwrap();
    let id: uuid::Uuid = sqlx::query_scalar("SELECT difference_id FROM difference").fetch_one(pool).await.unwrap();
    let decision = Asking {
        path: format!("/v1/differences/{id}/decisions"),
        token: doors.staff("finn", Role::Finance),
        key: "decide",
        body: json!({ "decision": "keep", "reason": "Our record was wrong." }),
    };
    for point in [&DECIDE[..], &ONCE[3..]].concat() {
        decision.kill_at(&world, &doors, point).await;
        let decided = i64::from(point == "once.after_commit");
        assert_eq!(count(pool, "SELECT count(*) FROM difference_decision").await, decided, "{point}");
        assert_eq!(audited(pool, "difference.decide").await, decided, "{point}");
    }
    let server = start(&world, &doors, "");
    let again = decision.insist(&server.url).await;
    assert_eq!((again.0, again.1), (201, true), "{}", again.2);
    books_hold(pool).await;
}
