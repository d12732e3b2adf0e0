//! A person's data is erased: nothing of it is left in any table or in the log, and the books and the chain do not notice.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use makegood::domain::actor::Role;
use makegood::flows::act_on_claim::{ActOnClaim, act_on_claim};
use makegood::flows::keep_checkpoint::{checkpoint_key, keep_checkpoint};
use makegood::store::books;
use serde_json::json;
use sqlx::PgPool;
use sqlx::postgres::PgPoolCopyExt;

use crate::doors::doors;
use crate::support::{PROGRAM, is_skipped};
use crate::world::*;
use crate::{Folder, checkpoints, give, number_all, verified};

/// What must be gone: each stands somewhere before.
const CANARIES: [&str; 9] = [
    "Canary Forwarding",
    "canary@harbour.example",
    "canary demurrage words",
    "canary advice of the agent",
    "canary of billing",
    "canary of a deed",
    "canary of a difference",
    "canary of a settlement",
    "127.0.0.1",
];

/// Every row of every table, as text.
async fn dump(owner: &PgPool) -> String {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1",
    )
    .fetch_all(owner)
    .await
    .unwrap();
    let mut bytes = Vec::new();
    for table in tables {
        let statement = format!("COPY (SELECT * FROM {table}) TO STDOUT");
        let mut out = owner.copy_out_raw(&statement).await.unwrap();
        while let Some(part) = out.try_next().await.unwrap() {
            bytes.extend_from_slice(&part);
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// The real program, its log in a file. It is killed when this goes.
struct Logged(std::process::Child);

impl Drop for Logged {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(url_app: &str, data: &Path, issuers: &Path, log: &Path) -> (Logged, String) {
    let child = Command::new(PROGRAM)
        .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .arg("--issuers")
        .arg(issuers)
        .env("DATABASE_URL", url_app)
        .env("MAKEGOOD_LOG", "info")
        .stdin(Stdio::null())
        .stderr(std::fs::File::create(log).unwrap())
        .spawn()
        .unwrap();
    let running = Logged(child);
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let said = std::fs::read_to_string(log).unwrap();
        // What is read may be half a line.
        if let Some((url, _)) = said.split_once("serves on ").and_then(|(_, rest)| rest.split_once(',')) {
            return (running, url.to_owned());
        }
        assert!(Instant::now() < deadline, "the server does not start: {said}");
        std::thread::yield_now();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_erased_is_gone_and_sums_and_chain_stay() {
    if is_skipped("what_is_erased_is_gone_and_sums_and_chain_stay") {
        return;
    }
    let world = world(2).await;
    let (pool, owner) = (&world.database.app, &world.database.owner);
    let (folder, account) = (Folder::new(), world.accounts[0].0);
    let doors = doors(pool, november(20)).await;
    let mut line = account_line(0);
    line["name"] = json!("Canary Forwarding");
    line["email"] = json!("canary@harbour.example");
    send(pool, "accounts", &[line], november(1)).await;
    give(pool, 2, 1).await;

    // A claim through the real server, which logs it, and an agent's advice about it.
    let log = folder.file("log");
    let (server, url) = serve(&world.database.url_app, &folder.file("data"), &doors.issuers_file, &log);
    let asked = json!({
        "account": reference(0), "ground": "cost_more", "incident": "INC-2026-031", "amount": "480.00",
        "words": "We have canary demurrage words to say about two containers.",
    });
    let answer = reqwest::Client::new()
        .post(format!("{url}/v1/claims"))
        .bearer_auth(doors.customer("c-77", &[&reference(0)]))
        .header("idempotency-key", "canary-key")
        .json(&asked)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 201);
    let filed: serde_json::Value = answer.json().await.unwrap();
    drop(server);
    let advice = ActOnClaim {
        amount: Some("100.00".to_owned()),
        reason: Some(makegood::domain::claim::Reason::EvidenceOfCost),
        words: Some("This is the canary advice of the agent, which the customer would have read.".to_owned()),
        ..ActOnClaim::default()
    };
    let (claim, ana) = (filed["id"].as_str().unwrap(), staff("ana", Role::Agent));
    act_on_claim(pool, november(21), &ana, &key("advice"), claim, "approve", advice).await.unwrap();
    for statement in [
        "INSERT INTO billing_answer SELECT account_id, credit_id, 1, 'accepted', '', '2026-11-30', 0, 0, 0, 'canary of billing', 'b', now()
           FROM credit WHERE account_id = $1 LIMIT 1",
        "INSERT INTO credit_deed SELECT account_id, credit_id, 2, 'kept', 0, 0, 0, 'sla_tier', 'canary of a deed', '', '2026-11-30', 's', now()
           FROM credit WHERE account_id = $1 LIMIT 1",
        "INSERT INTO difference_decision VALUES ($1, gen_random_uuid(), 'keep', 'canary of a difference', now(), 'staff|aroha')",
        "INSERT INTO placement_settlement VALUES ($1, gen_random_uuid(), now(), 'm', now(), now(), NULL, 'canary of a settlement', 's')",
    ] {
        sqlx::query(statement).bind(account).execute(pool).await.unwrap();
    }
    number_all(pool).await;
    let key = checkpoint_key(&folder.file("keys")).unwrap();
    let path = folder.file("checkpoints-1.ndjson");
    keep_checkpoint(pool, &path, &key, at("2026-11-21T10:00:00Z")).await.unwrap();
    let before = dump(owner).await;
    for canary in CANARIES {
        assert!(before.contains(canary), "{canary} never stood anywhere");
    }
    let balance = async || {
        let mut conn = pool.acquire().await.unwrap();
        let end = "9999-12-31".parse().unwrap();
        books::trial_balance(&mut conn, end, november(30).utc()).await.unwrap()
    };
    let sums = balance().await;
    assert!(!sums.is_empty());

    // The service's own role may not.
    let erase = |owner: Option<&str>| {
        let mut command = Command::new(PROGRAM);
        command.args(["erase", "--account", &reference(0), "--reason", "asked"]);
        command.env("DATABASE_URL", &world.database.url_app).env("MAKEGOOD_DATA_DIR", folder.file("data"));
        match owner {
            Some(url) => command.env("MAKEGOOD_OWNER_URL", url),
            None => command.env_remove("MAKEGOOD_OWNER_URL"),
        };
        command.output().unwrap()
    };
    let without = erase(None);
    assert!(String::from_utf8_lossy(&without.stderr).contains("the service's own role may not erase"));
    let as_the_service = erase(Some(&world.database.url_app));
    assert_eq!(as_the_service.status.code(), Some(1), "{}", String::from_utf8_lossy(&as_the_service.stderr));
    assert_eq!(dump(owner).await, before, "and nothing was erased");

    let erased = erase(Some(&world.database.url_owner));
    assert_eq!(erased.status.code(), Some(0), "{}", String::from_utf8_lossy(&erased.stderr));
    let counts: serde_json::Value = serde_json::from_slice(&erased.stdout).unwrap();
    for table in ["account", "claim", "claim_event", "billing_answer", "credit_deed", "request_origin", "idempotency"] {
        assert!(counts[table].as_i64().unwrap() > 0, "{table}: {counts}");
    }
    let after = dump(owner).await;
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("/v1/claims"), "the log holds the request: {log}");
    for canary in CANARIES {
        assert!(!after.contains(canary), "{canary} is still in the database");
        assert!(canary == "127.0.0.1" || !log.contains(canary), "{canary} is in the log");
    }
    assert!(after.contains("Customer 1"), "another account keeps its name");
    assert_eq!(balance().await, sums);
    number_all(pool).await;
    assert_eq!(verified(pool, &checkpoints(&path, &key)).await.broken, None);
    assert_eq!(audited(pool, "account.erase").await, 1);
    let auditor = doors.staff("mere", Role::Auditor);
    let path = format!("/v1/audit?account={}&action=claim.submit", reference(0));
    let listed = doors.get(&path, &auditor).await.json();
    assert_eq!((&listed["data"][0]["from"], listed["data"].as_array().unwrap().len()), (&json!(null), 1));
    let own = doors.get("/v1/claims", &doors.customer("c-77", &[&reference(0)])).await;
    assert_eq!((own.status.as_u16(), &own.json()["data"][0]["words"]), (200, &json!("erased")), "{}", own.body);
    books_hold(pool).await;
}
