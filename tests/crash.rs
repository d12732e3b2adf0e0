//! The real server, killed in the middle of what it does and started again: done once, or not at all.

mod support;

#[path = "support/doors.rs"]
mod doors;
#[path = "support/server.rs"]
mod server;
#[path = "support/world.rs"]
mod world;

use std::time::{Duration, Instant};

use doors::{Doors, doors};
use serde_json::{Value, json};
use server::Server;
use sqlx::PgPool;
use support::{TestDatabase, is_skipped};
use world::*;

fn start(database: &TestDatabase, doors: &Doors) -> Server {
    let issuers = ["--issuers".as_ref(), doors.issuers_file.as_os_str()];
    Server::start(&database.url_app, &doors.folder.join("data"), "127.0.0.1:0", &issuers)
}

/// Asks until it is so.
async fn until(pool: &PgPool, what: &'static str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !sqlx::query_scalar::<_, bool>(what).fetch_one(pool).await.unwrap() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_server_is_killed_again_and_again_is_applied_once_to_the_cent() {
    if is_skipped("a_run_whose_server_is_killed_again_and_again_is_applied_once_to_the_cent") {
        return;
    }
    const COUNT: usize = 5_000;
    let world = world(COUNT).await;
    let pool = &world.database.app;
    let doors = doors(pool, november(5)).await;
    let run = propose(pool, november(5), "run").await;
    assert_eq!(run.total.minor(), due_of_all(COUNT));
    approve(pool, november(5), "wiremu", &run).await.unwrap();
    let mut in_the_middle = 0;
    for kill_when in [
        // Inside the first batch's transaction.
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
                        AND state <> 'idle' AND query LIKE 'COPY transfer%')",
        "SELECT EXISTS (SELECT FROM credit)",
        // Between numbering and the next batch.
        "SELECT count(*) > 2000 FROM credit",
    ] {
        let server = start(&world.database, &doors);
        until(pool, kill_when).await;
        server.kill();
        let (credits, minor) = credited(pool).await;
        in_the_middle += i32::from(credits < run.credits);
        assert_eq!(minor, {
            let sum: i64 = sqlx::query_scalar(
                "SELECT coalesce(sum(amount_minor), 0)::bigint FROM transfer WHERE event = 'issued'",
            )
            .fetch_one(pool)
            .await
            .unwrap();
            sum
        });
        controls_agree(pool).await;
    }
    assert!(in_the_middle >= 2, "the kills came too late to show anything");
    let _server = start(&world.database, &doors);
    until(pool, "SELECT EXISTS (SELECT FROM credit_run WHERE state = 'applied')").await;
    until(pool, "SELECT NOT EXISTS (SELECT FROM outbox)").await;
    assert_eq!(credited(pool).await, (run.credits, run.total.minor()));
    let twice: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM (SELECT FROM credit GROUP BY account_id, subscription_id HAVING count(*) > 1) AS twice",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    assert_eq!((twice, audited(pool, "credit.issue").await), (0, run.credits));
    assert_eq!(audited(pool, "credit_run.applied").await, 1);
    let feed: (i64, i64, i64) =
        sqlx::query_as("SELECT count(*), count(DISTINCT credit_id), max(pos) FROM feed").fetch_one(pool).await.unwrap();
    assert_eq!(feed, (run.credits, run.credits, run.credits), "each told once, without a gap");
    books_hold(pool).await;
}

/// Files a claim over HTTP; none where the connection broke.
async fn file(
    http: &reqwest::Client,
    url: &str,
    token: &str,
    key: &str,
    incident: &str,
) -> Option<(u16, bool, String)> {
    let body = json!({
        "account": reference(0), "ground": "cost_more", "incident": incident,
        "words": "We paid demurrage on two containers because no notice reached us.",
    });
    let request = http
        .post(format!("{url}/v1/claims"))
        .bearer_auth(token)
        .header("idempotency-key", key)
        .header("content-type", "application/json")
        .body(body.to_string());
    let response = request.send().await.ok()?;
    let (status, replayed) = (response.status().as_u16(), response.headers().contains_key("idempotent-replayed"));
    Some((status, replayed, response.text().await.ok()?))
}

/// Tries again with the same key for as long as the first try is still in flight: its session may outlive its server.
async fn retry(http: &reqwest::Client, url: &str, token: &str, key: &str, incident: &str) -> (u16, bool, String) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = file(http, url, token, key, incident).await.unwrap();
        let is_in_flight = answer.0 == 409 && answer.2.contains("idempotency_in_flight");
        if !is_in_flight {
            return answer;
        }
        assert!(Instant::now() < deadline, "{}", answer.2);
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_whose_server_is_killed_is_filed_once_and_its_key_gets_the_same_answer() {
    if is_skipped("a_claim_whose_server_is_killed_is_filed_once_and_its_key_gets_the_same_answer") {
        return;
    }
    let world = world(1).await;
    let pool = &world.database.app;
    let doors = doors(pool, november(20)).await;
    let token = doors.customer("hana", &[&reference(0)]);
    let http = reqwest::Client::new();
    for round in 0..6i64 {
        let (key, incident) = (format!("key-{round}"), format!("INC-{round}"));
        let server = start(&world.database, &doors);
        let is_held = round % 2 == 0;
        let mut tx = pool.begin().await.unwrap();
        if is_held {
            // It gets as far as the account's row, and is killed there, in the middle of its transaction.
            sqlx::query("SELECT FROM account_head WHERE account_id = $1 FOR UPDATE")
                .bind(world.accounts[0].0)
                .execute(&mut *tx)
                .await
                .unwrap();
        }
        let (http_, url, token_, key_, incident_) =
            (http.clone(), server.url.clone(), token.clone(), key.clone(), incident.clone());
        let first = tokio::spawn(async move { file(&http_, &url, &token_, &key_, &incident_).await });
        if is_held {
            until(
                pool,
                "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
                                WHERE NOT granted AND datname = current_database())",
            )
            .await;
        } else {
            // It has just committed, and may or may not have answered.
            let deadline = Instant::now() + Duration::from_secs(30);
            while claims(pool).await <= round {
                assert!(Instant::now() < deadline, "no claim");
                tokio::task::yield_now().await;
            }
        }
        server.kill();
        let first = first.await.unwrap();
        tx.rollback().await.unwrap();
        let server = start(&world.database, &doors);
        let second = retry(&http, &server.url, &token, &key, &incident).await;
        assert_eq!(second.0, 201, "{}", second.2);
        assert_eq!(second.1, !is_held, "what was committed is replayed, what was not is done now");
        if let Some(first) = first {
            assert_eq!((first.0, &first.2), (201, &second.2));
        }
        let third = retry(&http, &server.url, &token, &key, &incident).await;
        assert_eq!((third.0, third.1, &third.2), (201, true, &second.2));
        assert_eq!(claims(pool).await, round + 1);
        let id: Value = serde_json::from_str(&second.2).unwrap();
        let there: i64 = sqlx::query_scalar("SELECT count(*) FROM claim WHERE reference = $1")
            .bind(id["id"].as_str().unwrap())
            .fetch_one(pool)
            .await
            .unwrap();
        assert_eq!(there, 1);
        server.kill();
    }
    assert_eq!(audited(pool, "claim.submit").await, 6);
    books_hold(pool).await;
}

async fn claims(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM claim").fetch_one(pool).await.unwrap()
}
