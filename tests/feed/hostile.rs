//! Each row of `bad_inputs/feed.jsonl` is one hostile call of billing's doors. It must get the answer that the row states and write
//! nothing. Where a row once asked for a refusal of the whole request, the rule that every answer stands for itself wins: the item is refused.
//! The writer that holds its transaction open is in `feed.rs`, as a test of its own.

use std::collections::BTreeMap;

use axum::http::{Method, StatusCode};
use makegood::domain::actor::Role;
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::doors::{Answered, Doors, doors};
use crate::support::is_skipped;
use crate::world::*;
use crate::{count, drain, issue};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    why: String,
    /// `pull`, `ack`, `two_consumers` or `crash`.
    #[serde(rename = "do")]
    deed: String,
    /// Whose token; nobody's where it is left out.
    #[serde(default, rename = "as")]
    who: Option<String>,
    #[serde(default)]
    query: String,
    /// The credits that are answered.
    #[serde(default)]
    ids: Vec<String>,
    /// So many of them, made up.
    #[serde(default)]
    count: usize,
    status: u16,
    /// Words of the answer, so that a row is refused for its own reason.
    #[serde(default)]
    says: String,
}

/// What must not change.
async fn written(pool: &PgPool) -> [i64; 5] {
    [
        count(pool, "SELECT count(*) FROM billing_answer").await,
        count(pool, "SELECT count(*) FROM transfer").await,
        count(pool, "SELECT count(*) FROM audit").await,
        count(pool, "SELECT count(*) + coalesce(sum(pos), 0)::bigint FROM feed_delivery").await,
        count(pool, "SELECT count(*) FROM feed").await,
    ]
}

async fn send(doors: &Doors, tokens: &BTreeMap<&str, String>, names: &BTreeMap<&str, String>, row: &Row) -> Answered {
    let token = row.who.as_ref().map_or(String::new(), |who| tokens[who.as_str()].clone());
    if row.deed == "pull" {
        let query = names.iter().fold(row.query.clone(), |query, (name, value)| query.replace(name, value));
        return doors.send(Method::GET, &format!("/v1/billing/feed?{query}"), &token, "", None).await;
    }
    let made_up = (0..row.count).map(|number| format!("crd_{number:032x}"));
    let ids = row.ids.iter().map(|id| names[id.as_str()].clone()).chain(made_up);
    let items: Vec<Value> = ids.map(|id| json!({ "credit": id, "answer": "accepted" })).collect();
    doors.send(Method::POST, "/v1/billing/acks", &token, "", Some(&json!({ "items": items }))).await
}

fn check(row: &Row, answered: &Answered) {
    let Row { id, why, status, says, .. } = row;
    assert_eq!(answered.status.as_u16(), *status, "{id} ({why}): {answered:?}");
    assert!(answered.body.contains(says.as_str()), "{id} ({why}) says {says:?}: {}", answered.body);
    if answered.status != StatusCode::OK {
        assert_eq!(answered.headers["content-type"], "application/problem+json", "{id}");
        assert!(answered.json().get("data").is_none(), "{id}");
    }
    for inside in ["sqlx", "panicked", "src/", ".rs", "SELECT"] {
        assert!(!answered.body.contains(inside), "{id}: {}", answered.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hostile_call_of_billings_doors_gets_the_answer_that_its_row_states() {
    if is_skipped("every_hostile_call_of_billings_doors_gets_the_answer_that_its_row_states") {
        return;
    }
    let world = world(3).await;
    let pool = &world.database.app;
    let doors = doors(pool, november(20)).await;
    let tokens = BTreeMap::from([
        ("billing", doors.machine(Role::Billing, "billing").await),
        ("other", doors.machine(Role::Billing, "other").await),
        ("agent", doors.staff("hana", Role::Agent)),
        ("customer", doors.customer("wiremu", &[&reference(0)])),
    ]);
    let delivered = issue(pool, 0, 0, 2_500).await;
    drain(pool).await;
    let cursor =
        doors.get("/v1/billing/feed", &tokens["billing"]).await.json()["next_cursor"].as_str().unwrap().to_owned();
    let undelivered = issue(pool, 1, 0, 2_500).await;
    drain(pool).await;
    let flipped = if cursor.as_bytes()[20] == b'A' { "B" } else { "A" };
    let tampered = format!("{}{flipped}{}", &cursor[..20], &cursor[21..]);
    let third = doors.machine(Role::Billing, "third").await;
    let theirs = doors.get("/v1/billing/feed", &third).await.json()["next_cursor"].as_str().unwrap().to_owned();
    let names = BTreeMap::from([
        ("@delivered", delivered.clone()),
        ("@undelivered", undelivered),
        ("@tampered", tampered),
        ("@other_client", theirs),
    ]);
    let accepted = json!({ "items": [{ "credit": delivered, "answer": "accepted" }] });
    assert_eq!(doors.post("/v1/billing/acks", &tokens["billing"], "", &accepted).await.json()["recorded"], 1);

    let rows: Vec<Row> =
        include_str!("../bad_inputs/feed.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 21);
    for row in &rows {
        let before = written(pool).await;
        match row.deed.as_str() {
            "pull" | "ack" => {
                let answered = send(&doors, &tokens, &names, row).await;
                check(row, &answered);
                // Nothing but that somebody tried what they may not.
                let mut expected = before;
                expected[2] += i64::from(row.deed == "ack" && answered.status == StatusCode::FORBIDDEN);
                assert_eq!(written(pool).await, expected, "{} ({}) wrote", row.id, row.why);
            }
            "two_consumers" => two_consumers(&doors, &tokens, pool, row).await,
            "crash" => {
                let token = &tokens["billing"];
                let first = doors.get("/v1/billing/feed?limit=2", token).await;
                let again = doors.get("/v1/billing/feed?limit=2", token).await;
                assert_eq!(first.body, again.body, "{}", row.id);
                check(row, &again);
            }
            other => panic!("{}: {other} is nothing that a row may do", row.id),
        }
        assert_eq!(doors.get("/readyz", "").await.status, StatusCode::OK, "after {}", row.id);
        controls_agree(pool).await;
    }
    books_hold(pool).await;
}

/// Two clients of one consumer pull and answer at once.
async fn two_consumers(doors: &Doors, tokens: &BTreeMap<&str, String>, pool: &PgPool, row: &Row) {
    let mut ids = Vec::new();
    for number in 10..30 {
        ids.push(issue(pool, 2, number, 1_000).await);
    }
    drain(pool).await;
    let token = &tokens["billing"];
    let one = async || {
        let page = doors.get("/v1/billing/feed?limit=1000", token).await;
        assert_eq!(page.status.as_u16(), row.status, "{}", row.id);
        let page = page.json();
        let pulled =
            page["data"].as_array().unwrap().iter().map(|item| item["credit"]["id"].as_str().unwrap().to_owned());
        let items: Vec<Value> = pulled
            .filter(|id| ids.contains(id))
            .map(|id| json!({ "credit": id, "answer": "applied", "reference": "INV-1", "date": "2026-12-05" }))
            .collect();
        let taken = doors.post("/v1/billing/acks", token, "", &json!({ "items": items })).await.json();
        (taken["recorded"].as_u64().unwrap(), taken["already"].as_u64().unwrap())
    };
    let (first, second) = tokio::join!(one(), one());
    assert_eq!((first.0 + second.0, first.1 + second.1), (20, 20), "{}", row.id);
    let applied =
        count(pool, "SELECT count(*) FROM billing_answer WHERE kind = 'applied' AND reference = 'INV-1'").await;
    assert_eq!(applied, 20, "{}: each once", row.id);
}
