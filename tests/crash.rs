//! The real server, killed in the middle of what it does and started again: done once, or not at all.

mod support;

#[path = "support/doors.rs"]
mod doors;
#[path = "support/server.rs"]
mod server;
#[path = "support/stoppable.rs"]
mod stoppable;
#[path = "support/world.rs"]
mod world;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use doors::{Doors, doors};
use makegood::domain::actor::Role;
use makegood::domain::operator::Operator;
use makegood::store::{operator, oracle};
use serde_json::{Value, json};
use server::Server;
use sqlx::PgPool;
use stoppable::Stoppable;
use support::{PROGRAM, TestDatabase, is_skipped};
use world::*;

fn start(database: &TestDatabase, doors: &Doors) -> Server {
    armed("", database, doors)
}

fn armed(point: &str, database: &TestDatabase, doors: &Doors) -> Server {
    let issuers = ["--issuers".as_ref(), doors.issuers_file.as_os_str()];
    Server::armed(point, &database.url_app, &doors.folder.join("data"), "127.0.0.1:0", &issuers)
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
    // Two batches, which one server issues side by side.
    const COUNT: usize = 5_200;
    let world = world(COUNT).await;
    let pool = &world.database.app;
    let doors = doors(pool, november(5)).await;
    let run = propose(pool, november(5), "run").await;
    assert_eq!(run.total.minor(), due_of_all(COUNT));
    approve(pool, november(5), "wiremu", &run).await.unwrap();
    let mut in_the_middle = 0;
    // Inside a batch's transaction, and between one batch and the next.
    for point in ["mass_post.after_transfers", "apply_run.after_commit"] {
        let server = tokio::task::block_in_place(|| {
            let server = armed(point, &world.database, &doors);
            server.stops_at(point);
            server
        });
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
    assert!(in_the_middle >= 1, "the kills came too late to show anything");
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

/// Posts until the answer is a success: what could not be reached, was refused for now or is still in flight is sent again, with the
/// same key. Anything else ends the test.
async fn insist(http: &reqwest::Client, url: &str, token: &str, key: &str, body: &Value) -> Value {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let request = http.post(url).bearer_auth(token).header("idempotency-key", key);
        let sent = request.header("content-type", "application/json").body(body.to_string()).send().await;
        let (status, text) = match sent {
            Ok(response) => (response.status().as_u16(), response.text().await.unwrap_or_default()),
            Err(error) => (0, error.to_string()),
        };
        match status {
            200 | 201 => return serde_json::from_str(&text).unwrap(),
            0 | 503 => {}
            409 if text.contains("idempotency_in_flight") => {}
            other => panic!("{url} answered {other}: {text}"),
        }
        assert!(Instant::now() < deadline, "{url} never succeeds: {text}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_database_is_killed_under_load() {
    if is_skipped("nothing_acknowledged_is_lost_when_the_database_is_killed_under_load") {
        return;
    }
    const WRITERS: usize = 8;
    let postgres = Stoppable::start().await;
    let pool = PgPool::connect_lazy(&postgres.url_app).unwrap();
    furnish(&pool, WRITERS).await;
    let settings = Operator { hold_seconds: 0, ..settings() };
    operator::put(&mut pool.acquire().await.unwrap(), &settings).await.unwrap();
    let doors = doors(&pool, november(20)).await;
    let issuers = ["--issuers".as_ref(), doors.issuers_file.as_os_str()];
    let server = Server::start(&postgres.url_app, &doors.folder, "127.0.0.1:0", &issuers);
    let (acknowledged, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let (acknowledged, stop, url) = (acknowledged.clone(), stop.clone(), server.url.clone());
        let (hana, mere) = (doors.customer("hana", &[&reference(writer)]), doors.staff("mere", Role::Agent));
        writers.push(tokio::spawn(async move {
            let http = reqwest::Client::new();
            for round in 0.. {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let name = format!("{writer}-{round}");
                let asked = json!({
                    "account": reference(writer), "ground": "cost_more", "incident": format!("INC-{name}"),
                    "words": "We paid demurrage on two containers because no notice reached us.",
                });
                let filed = insist(&http, &format!("{url}/v1/claims"), &hana, &format!("file-{name}"), &asked).await;
                let claim = filed["id"].as_str().unwrap().to_owned();
                let approved = json!({ "amount": "12.50", "reason": "goodwill_first", "words": "We are sorry." });
                let path = format!("{url}/v1/claims/{claim}/approve");
                insist(&http, &path, &mere, &format!("approve-{name}"), &approved).await;
                acknowledged.lock().unwrap().push(claim);
            }
        }));
    }
    let deadline = Instant::now() + Duration::from_secs(120);
    for _ in 0..2 {
        let known = acknowledged.lock().unwrap().len();
        while acknowledged.lock().unwrap().len() < known + WRITERS * 2 {
            assert!(Instant::now() < deadline, "the service does not heal");
            tokio::task::yield_now().await;
        }
        assert!(postgres.crash() > 1, "the server and its processes");
    }
    let known = acknowledged.lock().unwrap().len();
    while acknowledged.lock().unwrap().len() < known + WRITERS * 2 {
        assert!(Instant::now() < deadline, "the service does not heal");
        tokio::task::yield_now().await;
    }
    stop.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.unwrap();
    }
    let acknowledged = acknowledged.lock().unwrap().clone();
    let there: i64 =
        sqlx::query_scalar("SELECT count(*) FROM claim WHERE reference = ANY ($1) AND state = 'part_approved'")
            .bind(&acknowledged)
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(usize::try_from(there).unwrap(), acknowledged.len(), "an acknowledged decision is lost");
    until(&pool, "SELECT NOT EXISTS (SELECT FROM claim WHERE posts_at IS NOT NULL)").await;
    let (credits, minor) = credited(&pool).await;
    assert_eq!((usize::try_from(credits).unwrap(), minor), (acknowledged.len(), credits * 1_250));
    books_hold(&pool).await;
    let mut wrong = oracle::orphans(&mut pool.acquire().await.unwrap()).await.unwrap();
    wrong.retain(|one| one.left != one.right);
    assert!(wrong.is_empty(), "{wrong:#?}");
    server.kill();
    pool.close().await;
}

/// Soaks for a few seconds, as the program, and gives its exit code and what it reports. `MAKEGOOD_TEST_SOAK_SECONDS` makes it longer.
fn soak(seed: u64, folder: &std::path::Path) -> (Option<i32>, Value, String) {
    let seconds = std::env::var("MAKEGOOD_TEST_SOAK_SECONDS").unwrap_or_else(|_| "9".to_owned());
    let soaked = std::process::Command::new(PROGRAM)
        .args(["soak", "--writers", "8", "--accounts", "40", "--seconds", &seconds, "--seed", &seed.to_string()])
        .arg("--data")
        .arg(folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&soaked.stderr).into_owned();
    let report = serde_json::from_slice(&soaked.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    (soaked.status.code(), report, said)
}

fn soak_folder() -> std::path::PathBuf {
    std::env::temp_dir().join(format!("makegood-soak-test-{}", uuid::Uuid::now_v7().simple()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soak_breaks_nothing_and_says_what_it_did() {
    if is_skipped("a_soak_breaks_nothing_and_says_what_it_did") {
        return;
    }
    let seed = u64::from(std::process::id());
    let (code, report, said) = tokio::task::spawn_blocking(move || soak(seed, &soak_folder())).await.unwrap();
    assert_eq!(report["broken"], json!([]), "seed {seed}: {said}");
    assert_eq!((code, &report["seed"]), (Some(0), &json!(seed)), "{said}");
    let counts = &report["counts"];
    for fault in ["faults: server killed", "faults: database killed", "deeds: hold"] {
        assert!(counts[fault].as_u64() > Some(0), "no {fault}: {report:#}");
    }
    for kind in ["credits", "claims", "answers"] {
        assert!(report["acknowledged"][kind].as_u64() > Some(20), "hardly any {kind}: {report:#}");
    }
    assert!(report["feed_items"].as_u64() >= report["credits"].as_u64(), "{report:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soak_whose_books_are_edited_by_their_owner_fails_and_says_the_seed() {
    if is_skipped("a_soak_whose_books_are_edited_by_their_owner_fails_and_says_the_seed") {
        return;
    }
    let (seed, folder) = (4_711, soak_folder());
    let at = folder.clone();
    let soaking = tokio::task::spawn_blocking(move || soak(seed, &at));
    let options = makegood::pg::Options {
        data_dir: folder.join("postgres"),
        durable: true,
        linger: Duration::from_secs(1),
        program: PROGRAM.into(),
        bin_dir: None,
    };
    let owner = tokio::task::spawn_blocking(move || {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !options.data_dir.join("data/PG_VERSION").exists() {
            assert!(Instant::now() < deadline, "the soak does not begin");
            std::thread::sleep(Duration::from_millis(50));
        }
        makegood::pg::start(&options).unwrap()
    });
    let owner = owner.await.unwrap().url(makegood::store::setup::OWNER, "makegood");
    let cent = "UPDATE transfer SET amount_minor = amount_minor + 1 WHERE transfer_id =
                    (SELECT row_id FROM chain WHERE kind = 'transfer' AND no > 20 ORDER BY no LIMIT 1)";
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        // The database is not there yet, or was just killed.
        if let Ok(mut connection) = <sqlx::PgConnection as sqlx::Connection>::connect(&owner).await
            && sqlx::query(cent).execute(&mut connection).await.is_ok_and(|done| done.rows_affected() == 1)
        {
            break;
        }
        assert!(Instant::now() < deadline, "nothing to edit");
        tokio::task::yield_now().await;
    }
    let (code, report, said) = soaking.await.unwrap();
    assert_eq!(code, Some(1), "{said}");
    let broken = report["broken"].to_string();
    assert!(broken.contains("do not verify") && said.contains("seed 4711"), "{broken}: {said}");
    let deadline = Instant::now() + Duration::from_secs(20);
    while std::fs::remove_dir_all(&folder).is_err() && Instant::now() < deadline {
        tokio::task::yield_now().await;
    }
}
