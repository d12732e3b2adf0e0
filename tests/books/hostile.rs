//! Each row of `bad_inputs/issue.jsonl` is one hostile request about credits or the books. It must get one of the answers that the row states,
//! as a problem document, and must leave every table as it was unless the row says otherwise. What has no route (credits are issued by
//! runs and claims, and the books are posted by nobody from outside) answers 404 or 405, and that counts as passed.

use std::collections::BTreeSet;

use axum::http::{Method, StatusCode};
use makegood::domain::actor::Role;
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};

use crate::Desk;
use crate::support::is_skipped;
use crate::world::*;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    why: String,
    to: String,
    who: Role,
    #[serde(default)]
    method: Option<String>,
    /// The credit in the path; `@...` is one of this world.
    #[serde(default)]
    credit: Option<String>,
    #[serde(default)]
    body: Option<Value>,
    /// How many of these requests come at once.
    #[serde(default)]
    times: Option<usize>,
    status: BTreeSet<u16>,
    /// Whether it may write.
    #[serde(default)]
    writes: bool,
}

/// One hash over the rows of the books, and of what was decided.
async fn prints(pool: &PgPool) -> Vec<(String, String)> {
    let mut prints = Vec::new();
    for table in
        ["credit", "transfer", "audit", "outbox", "feed", "chain", "billing_answer", "credit_deed", "idempotency"]
    {
        let print =
            format!("SELECT coalesce(md5(string_agg(one::text, '|' ORDER BY one::text)), '') FROM {table} AS one");
        prints.push((table.to_owned(), sqlx::query_scalar(AssertSqlSafe(print)).fetch_one(pool).await.unwrap()));
    }
    prints
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hostile_request_about_credits_gets_the_answer_that_its_row_states() {
    if is_skipped("every_hostile_request_about_credits_gets_the_answer_that_its_row_states") {
        return;
    }
    let desk = Desk::new(2).await;
    let bill = json!({ "reference": "INV-1", "date": "2026-12-05" });
    assert_eq!(desk.say(&desk.credits[0], "applied", bill).await, "recorded");
    let reversal = desk.reverse(&desk.credits[1], "first").await.json()["id"].as_str().unwrap().to_owned();
    let issued = "SELECT credit_id::text, gross_minor FROM credit ORDER BY 1";
    let before: Vec<(String, i64)> = sqlx::query_as(issued).fetch_all(desk.pool()).await.unwrap();
    let rows: Vec<Row> =
        include_str!("../bad_inputs/issue.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 16);
    let mut routed = 0;
    for row in &rows {
        let credit = match row.credit.as_deref() {
            Some("@reversal") => reversal.clone(),
            Some("@acked") => desk.credits[0].clone(),
            Some(name) => name.to_owned(),
            None => String::new(),
        };
        let (path, has_route) = match row.to.as_str() {
            "credit.reverse" => (format!("/v1/credits/{credit}/reverse"), true),
            "credit.issue" | "credit.manual" => ("/v1/credits".to_owned(), false),
            "ledger.entry" => ("/v1/ledger/transfers/1".to_owned(), false),
            "ledger.post" => ("/v1/ledger/transfers".to_owned(), false),
            other => panic!("{other} is no target"),
        };
        let reverse = json!({ "reason": "issued_in_error", "note": "It was another outage." });
        let body = row.body.clone().unwrap_or(reverse);
        let method: Method = row.method.as_deref().unwrap_or("POST").parse().unwrap();
        let token = desk.doors.staff("talia", row.who);
        let prints_before = prints(desk.pool()).await;
        // A thousand are as many as forty, where nothing is served: what counts is that none of them is.
        for number in 0..row.times.unwrap_or(1).min(40) {
            let key = format!("{}-{number}", row.id);
            let answer = desk.doors.send(method.clone(), &path, &token, &key, Some(&body)).await;
            let status = answer.status.as_u16();
            let fits = if has_route { row.status.contains(&status) } else { [404, 405].contains(&status) };
            assert!(fits && status < 500, "{} ({}) at {path}: {answer:?}", row.id, row.why);
            if answer.status.is_client_error() {
                assert_eq!(answer.headers["content-type"], "application/problem+json", "{}", row.id);
                for inside in ["sqlx", "panicked", "src/", ".rs", "SELECT", "credit_deed"] {
                    assert!(!answer.body.contains(inside), "{}: {}", row.id, answer.body);
                }
            }
        }
        routed += usize::from(has_route);
        if !row.writes {
            assert_eq!(prints(desk.pool()).await, prints_before, "{} ({}) wrote something", row.id, row.why);
        }
        controls_agree(desk.pool()).await;
        let ready = desk.doors.get("/readyz", &token).await;
        assert_eq!(ready.status, StatusCode::OK, "{}", row.id);
    }
    assert_eq!(routed, 3);
    let after: Vec<(String, i64)> = sqlx::query_as(issued).fetch_all(desk.pool()).await.unwrap();
    assert_eq!(after, before, "what was issued is as it was");
    assert_eq!(desk.standing(&desk.credits[0]).await, "reversing");
    books_hold(desk.pool()).await;
}
