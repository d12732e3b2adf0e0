//! Claims: one open one for an outage, one answer to a key, one decision, one credit, whoever asks at the same time.

mod support;

#[path = "support/doors.rs"]
mod doors;
#[path = "support/world.rs"]
mod world;

use std::collections::BTreeMap;

use doors::{Answered, Doors, doors};
use futures_util::future::join_all;
use makegood::domain::actor::Role;
use makegood::domain::time::{Instant, SECOND};
use makegood::flows::act_on_claim::{ActOnClaim, act_on_claim};
use makegood::flows::file_claim::{FileClaim, file_claim};
use makegood::flows::post_claims::post_claims;
use makegood::store::Error;
use serde_json::{Value, json};
use sqlx::PgPool;
use support::is_skipped;
use world::*;

/// Returns once a session of this database is seen waiting for a lock.
async fn somebody_waits(pool: &PgPool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let waits: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
                            WHERE NOT granted AND datname = current_database())",
        )
        .fetch_one(pool)
        .await
        .unwrap();
        if waits {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "nobody waits");
        tokio::task::yield_now().await;
    }
}

fn asked(account: usize) -> Value {
    json!({
        "account": reference(account), "ground": "cost_more", "incident": "INC-2026-031", "amount": "480.00",
        "words": "We paid demurrage on two containers because no notice reached us.",
    })
}

async fn file(doors: &Doors, account: usize, key: &str) -> Answered {
    let token = doors.customer("hana", &[&reference(account)]);
    doors.post("/v1/claims", &token, key, &asked(account)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_who_claim_for_one_outage_at_once_one_does() {
    if is_skipped("of_fifty_who_claim_for_one_outage_at_once_one_does") {
        return;
    }
    let world = world(1).await;
    let pool = &world.database.app;
    let doors = doors(pool, november(20)).await;
    let keys: Vec<String> = (0..50).map(|number| format!("key-{number}")).collect();
    let answers = join_all(keys.iter().map(|key| file(&doors, 0, key))).await;
    let mut counts = BTreeMap::new();
    for answer in &answers {
        *counts.entry(if answer.status == 201 { (201, String::new()) } else { answer.code() }).or_insert(0) += 1;
    }
    assert_eq!(counts, BTreeMap::from([((201, String::new()), 1), ((409, "claim_exists".to_owned()), 49)]));
    let there: Vec<(i64,)> = sqlx::query_as("SELECT count(*) FROM claim").fetch_all(pool).await.unwrap();
    assert_eq!((there[0].0, audited(pool, "claim.submit").await), (1, 1));
    let created = answers.iter().find(|one| one.status == 201).unwrap().json();
    let told = answers.iter().find(|one| one.status == 409).unwrap().json();
    assert!(told["detail"].as_str().unwrap().contains(created["id"].as_str().unwrap()), "{told}");

    // Withdrawn, it may be followed by another.
    let token = doors.customer("hana", &[&reference(0)]);
    let path = format!("/v1/claims/{}/withdraw", created["id"].as_str().unwrap());
    assert_eq!(doors.post(&path, &token, "withdraw", &json!({})).await.status, 200);
    assert_eq!(file(&doors, 0, "another").await.status, 201);
    books_hold(pool).await;
}

#[tokio::test]
async fn a_key_answers_the_same_request_with_the_same_bytes_and_another_not_at_all() {
    if is_skipped("a_key_answers_the_same_request_with_the_same_bytes_and_another_not_at_all") {
        return;
    }
    let world = world(2).await;
    let pool = &world.database.app;
    let doors = doors(pool, november(20)).await;
    let first = file(&doors, 0, "one").await;
    assert_eq!(first.status, 201);
    assert!(!first.headers.contains_key("idempotent-replayed"));
    let again = file(&doors, 0, "one").await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(again.headers["content-type"], first.headers["content-type"]);
    let hana = doors.customer("hana", &[&reference(0)]);
    let mut other = asked(0);
    other["amount"] = json!("480.01");
    assert_eq!(doors.post("/v1/claims", &hana, "one", &other).await.code(), (422, "idempotency_key_reused".to_owned()));
    // The same key of another caller is another key: nobody sees what somebody else was answered.
    let piripi = doors.customer("piripi", &[&reference(1)]);
    assert_eq!(doors.post("/v1/claims", &piripi, "one", &asked(1)).await.status, 201);
    let ana = doors.staff("ana", Role::Agent);
    assert_eq!(doors.post("/v1/claims", &ana, "one", &asked(0)).await.code().1, "claim_exists");
    assert_eq!(
        doors.post("/v1/claims", &hana, "", &asked(0)).await.code(),
        (400, "idempotency_key_missing".to_owned())
    );

    // In flight: the account's row is held, so that the first request cannot finish.
    let path = format!("/v1/claims/{}/withdraw", first.json()["id"].as_str().unwrap());
    let mut held = pool.begin().await.unwrap();
    sqlx::query("SELECT FROM account_head WHERE account_id = $1 FOR UPDATE")
        .bind(world.accounts[0].0)
        .execute(&mut *held)
        .await
        .unwrap();
    let answered = async {
        somebody_waits(&world.database.owner).await;
        let second = doors.post(&path, &hana, "in-flight", &json!({})).await;
        held.commit().await.unwrap();
        second
    };
    let no_body = json!({});
    let (first, second) = tokio::join!(doors.post(&path, &hana, "in-flight", &no_body), answered);
    assert_eq!(first.status, 200, "{}", first.body);
    assert_eq!(second.code(), (409, "idempotency_in_flight".to_owned()));
    let third = doors.post(&path, &hana, "in-flight", &json!({})).await;
    assert_eq!(third.body, first.body);
    books_hold(pool).await;
}

/// A claim of the account's own customer, filed by the flow.
async fn filed(pool: &PgPool, account: usize, name: &str, now: Instant) -> String {
    let request: FileClaim = serde_json::from_value(asked(account)).unwrap();
    let hana = customer("hana", &reference(account));
    body(&file_claim(pool, now, &hana, &key(name), request).await.unwrap())["id"].as_str().unwrap().to_owned()
}

fn approval(amount: &str) -> ActOnClaim {
    serde_json::from_value(json!({
        "amount": amount, "reason": "evidence_part",
        "words": "The notice for the first container was held up, so we pay that charge.",
    }))
    .unwrap()
}

async fn act(pool: &PgPool, now: Instant, who: &str, claim: &str, verb: &str, amount: &str) -> Result<Value, Error> {
    let actor = match who {
        "hana" => customer("hana", &reference(0)),
        "wiremu" => staff(who, Role::Supervisor),
        other => staff(other, Role::Agent),
    };
    let request =
        if ["approve", "recommend", "reject"].contains(&verb) { approval(amount) } else { ActOnClaim::default() };
    let name = key(&format!("{who}-{claim}-{verb}-{amount}-{}", now.micros()));
    act_on_claim(pool, now, &actor, &name, claim, verb, request).await.map(|answer| body(&answer))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_those_who_approve_reject_and_withdraw_at_once_one_does_and_several_posters_post_once() {
    if is_skipped("of_those_who_approve_reject_and_withdraw_at_once_one_does_and_several_posters_post_once") {
        return;
    }
    let world = world(1).await;
    let pool = &world.database.app;
    let (mut now, mut given) = (november(20), 0);
    for round in 0..60 {
        let claim = filed(pool, 0, &format!("round-{round}"), now).await;
        let (a, b, c, d) = tokio::join!(
            act(pool, now, "mere", &claim, "approve", "1.00"),
            act(pool, now, "ana", &claim, "reject", "0.00"),
            act(pool, now, "hana", &claim, "withdraw", ""),
            act(pool, now, "wiremu", &claim, "approve", "2.00"),
        );
        let outcomes = [a, b, c, d];
        let won: Vec<&Value> = outcomes.iter().filter_map(|one| one.as_ref().ok()).collect();
        assert_eq!(won.len(), 1, "round {round}: {outcomes:?}");
        for lost in outcomes.iter().filter_map(|one| one.as_ref().err()) {
            assert_eq!(lost.refusal().code.name(), "wrong_state", "round {round}");
        }
        given += i64::from(won[0]["state"] == "part_approved");
        now = now.plus(600 * SECOND);
        let (p, q, r) = tokio::join!(post_claims(pool, now), post_claims(pool, now), post_claims(pool, now));
        let posted = p.unwrap() + q.unwrap() + r.unwrap();
        assert_eq!(posted, usize::from(won[0]["state"] == "part_approved"), "round {round}");
        assert_eq!(credited(pool).await.0, given, "round {round}");
    }
    assert_eq!(audited(pool, "claim.post").await, given);
    let moves: i64 = sqlx::query_scalar("SELECT count(*) FROM claim_event").fetch_one(pool).await.unwrap();
    assert_eq!(moves, 120 + given, "a line for each filing, each decision and each posting");
    books_hold(pool).await;
}

#[tokio::test]
async fn over_a_limit_nothing_is_given_and_the_try_is_kept_until_a_second_person_agrees() {
    if is_skipped("over_a_limit_nothing_is_given_and_the_try_is_kept_until_a_second_person_agrees") {
        return;
    }
    let world = world(1).await;
    let pool = &world.database.app;
    let now = november(20);
    let claim = filed(pool, 0, "claim", now).await;
    assert_eq!(refused(act(pool, now, "mere", &claim, "approve", "200.01").await), "over_limit");
    assert_eq!(audited(pool, "claim.approve.refused").await, 1);
    let later = now.plus(3_600 * SECOND);
    assert_eq!((post_claims(pool, later).await.unwrap(), credited(pool).await), (0, (0, 0)));
    act(pool, now, "mere", &claim, "recommend", "240.00").await.unwrap();
    assert_eq!(refused(act(pool, now, "mere", &claim, "agree", "").await), "forbidden");
    assert_eq!(refused(act(pool, now, "hana", &claim, "agree", "").await), "forbidden");
    act(pool, now, "wiremu", &claim, "agree", "").await.unwrap();
    assert_eq!(post_claims(pool, later).await.unwrap(), 1);
    assert_eq!(credited(pool).await, (1, 24_000));
    let two: (String, String) =
        sqlx::query_as("SELECT issued_by, approved_by FROM credit").fetch_one(pool).await.unwrap();
    assert_eq!(two, ("staff|mere".to_owned(), "staff|wiremu".to_owned()));
    books_hold(pool).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_decision_is_undone_inside_its_hold_or_posted_after_it_and_never_both() {
    if is_skipped("a_decision_is_undone_inside_its_hold_or_posted_after_it_and_never_both") {
        return;
    }
    let world = world(1).await;
    let pool = &world.database.app;
    let now = november(20);
    let claim = filed(pool, 0, "claim", now).await;
    act(pool, now, "mere", &claim, "approve", "100.00").await.unwrap();
    let last = now.plus(600 * SECOND - 1);
    assert_eq!(post_claims(pool, last).await.unwrap(), 0, "a microsecond early");
    act(pool, last, "mere", &claim, "undo", "").await.unwrap();
    assert_eq!(post_claims(pool, last.plus(SECOND)).await.unwrap(), 0);
    assert_eq!(credited(pool).await, (0, 0));
    act(pool, last, "mere", &claim, "approve", "90.00").await.unwrap();
    let due = last.plus(600 * SECOND);
    assert_eq!(refused(act(pool, due, "mere", &claim, "undo", "").await), "wrong_state", "due, though not posted yet");
    assert_eq!(post_claims(pool, due).await.unwrap(), 1);
    assert_eq!(refused(act(pool, due, "mere", &claim, "undo", "").await), "wrong_state");
    assert_eq!(credited(pool).await, (1, 9_000));
    // Two servers whose clocks differ: one undoes inside the hold while the other says that it is over.
    for round in 0..20 {
        let start = due.plus((round + 1) * 10_000 * SECOND);
        let claim = filed(pool, 0, &format!("race-{round}"), start).await;
        act(pool, start, "mere", &claim, "approve", "1.00").await.unwrap();
        let before = credited(pool).await.0;
        let (undone, posted) = tokio::join!(
            act(pool, start.plus(600 * SECOND - 1), "mere", &claim, "undo", ""),
            post_claims(pool, start.plus(600 * SECOND)),
        );
        let issued = credited(pool).await.0 - before;
        assert_eq!((undone.is_ok(), posted.unwrap()), (issued == 0, usize::from(issued == 1)), "round {round}");
        if undone.is_ok() {
            act(pool, start, "hana", &claim, "withdraw", "").await.unwrap();
        }
    }
    books_hold(pool).await;
}

#[tokio::test]
async fn whoever_filed_a_claim_for_a_customer_does_not_decide_it() {
    if is_skipped("whoever_filed_a_claim_for_a_customer_does_not_decide_it") {
        return;
    }
    let world = world(1).await;
    let pool = &world.database.app;
    let now = november(20);
    let request: FileClaim = serde_json::from_value(asked(0)).unwrap();
    let mere = staff("mere", Role::Agent);
    let claim = file_claim(pool, now, &mere, &key("claim"), request).await.unwrap();
    let claim = body(&claim)["id"].as_str().unwrap().to_owned();
    for (verb, tried) in [("approve", "1.00"), ("recommend", "240.00"), ("reject", "0.00")] {
        assert_eq!(refused(act(pool, now, "mere", &claim, verb, tried).await), "four_eyes", "{verb}");
        assert_eq!(audited(pool, &format!("claim.{verb}.refused")).await, 1, "{verb}");
    }
    act(pool, now, "ana", &claim, "approve", "1.00").await.unwrap();
    books_hold(pool).await;
}

#[tokio::test]
async fn a_claim_that_cannot_be_read_keeps_neither_other_claims_nor_the_feed_waiting() {
    if is_skipped("a_claim_that_cannot_be_read_keeps_neither_other_claims_nor_the_feed_waiting") {
        return;
    }
    let world = world(2).await;
    let pool = &world.database.app;
    let now = november(20);
    let damaged = filed(pool, 0, "damaged", now).await;
    let sound = filed(pool, 1, "sound", now.plus(SECOND)).await;
    act(pool, now, "mere", &damaged, "approve", "1.00").await.unwrap();
    act(pool, now.plus(SECOND), "mere", &sound, "approve", "2.00").await.unwrap();
    let damage = async |json: &str| {
        let mut tx = world.database.owner.begin().await.unwrap();
        sqlx::query("SET LOCAL ROLE makegood_app").execute(&mut *tx).await.unwrap();
        sqlx::query("UPDATE claim SET decision = $2::jsonb WHERE reference = $1 AND decision IS NOT NULL")
            .bind(&damaged)
            .bind(json)
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    };
    let kept: Value = sqlx::query_scalar("SELECT decision FROM claim WHERE reference = $1")
        .bind(&damaged)
        .fetch_one(pool)
        .await
        .unwrap();
    damage("{}").await;
    let doors = doors(pool, now.plus(3_600 * SECOND)).await;
    for _ in 0..3 {
        assert_eq!(refused(makegood::jobs::turn(&doors.app).await), "internal");
    }
    assert_eq!(credited(pool).await, (1, 200));
    let told: i64 = sqlx::query_scalar("SELECT count(*) FROM feed").fetch_one(pool).await.unwrap();
    assert_eq!(told, 1);
    damage(&kept.to_string()).await;
    assert!(makegood::jobs::turn(&doors.app).await.unwrap());
    assert_eq!(credited(pool).await, (2, 300));
    books_hold(pool).await;
}
