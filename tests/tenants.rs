//! A customer sees their own rows and no others, and what is somebody else's answers exactly as what is not there.

mod support;

#[path = "support/doors.rs"]
mod doors;
#[path = "support/world.rs"]
mod world;

use std::collections::BTreeSet;

use axum::http::Method;
use bytes::Bytes;
use doors::{Answered, Doors, doors};
use futures_util::stream;
use makegood::domain::actor::Role;
use makegood::domain::batch::Format;
use makegood::domain::feed::credit_name;
use makegood::domain::ids::CreditId;
use makegood::flows::sequence_feed::sequence_feed;
use makegood::flows::take_mailbox_list::{Listed, take_mailbox_list};
use makegood::store::customer;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use support::is_skipped;
use uuid::Uuid;
use world::*;

/// Two customers, each with a credit from a run and a claim.
struct Two {
    world: World,
    doors: Doors,
    token: String,
    claims: [String; 2],
    credits: [String; 2],
    run: String,
}

async fn two() -> Two {
    let world = world(2).await;
    let pool = &world.database.app;
    let run = propose(pool, november(5), "run").await;
    approve(pool, november(5), "wiremu", &run).await.unwrap();
    apply(pool, november(5), run.id).await;
    while sequence_feed(pool, 0, november(5)).await.unwrap() > 0 {}
    let doors = doors(pool, november(20)).await;
    let billing = doors.machine(Role::Billing, "billing").await;
    doors.get("/v1/billing/feed", &billing).await;
    let (mut claims, mut credits, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    for (index, account) in world.accounts.iter().enumerate() {
        let own = doors.customer(&format!("c-{index}"), &[&reference(index)]);
        let asked = json!({
            "account": reference(index), "ground": "both", "words": "We lost a day of orders because of it.", "amount": "10.00",
            "incident": "INC-2026-031",
        });
        let filed = doors.post("/v1/claims", &own, "claim", &asked).await;
        assert_eq!(filed.status, 201, "{}", filed.body);
        claims.push(filed.json()["id"].as_str().unwrap().to_owned());
        let id: Uuid = sqlx::query_scalar("SELECT credit_id FROM credit WHERE account_id = $1")
            .bind(account.0)
            .fetch_one(pool)
            .await
            .unwrap();
        credits.push(credit_name(CreditId(id)));
        answers.push(json!({ "credit": credits[index], "answer": "accepted" }));
    }
    let lines: Vec<_> = (0..2)
        .map(|index| json!({ "account": reference(index), "mailbox": format!("{}-0", reference(index)) }))
        .collect();
    let file = lines.iter().map(|line| Ok::<_, std::io::Error>(Bytes::from(format!("{line}\n"))));
    let list =
        take_mailbox_list(pool, november(20), &staff("sefa", Role::Operations), stream::iter(file), Format::Ndjson)
            .await;
    assert!(matches!(list.unwrap(), Listed::Kept { is_new: true, .. }));
    let elsewhere = [0, 1].map(|index| {
        json!({
            "account": reference(index), "reference": format!("CN-{index}"), "subscription": format!("{}-mail", reference(index)),
            "period": "2026-09", "kind": "goodwill", "amount": "5.00", "currency": "NZD", "given_on": "2026-10-02",
        })
    });
    send(pool, "given", &elsewhere, november(20)).await;
    let taken = doors.post("/v1/billing/acks", &billing, "", &json!({ "items": answers })).await;
    assert_eq!(taken.json()["recorded"], 2, "{}", taken.body);
    let calendar = json!({ "weekend": ["sunday"], "holidays": {} });
    let admin = doors.staff("ngaire", Role::Admin);
    let published = doors.send(Method::PUT, "/v1/calendars/nz-auckland", &admin, "calendar", Some(&calendar)).await;
    assert_eq!(published.status, 201, "{}", published.body);
    let token = doors.customer("c-0", &[&reference(0)]);
    Two {
        token,
        claims: claims.try_into().unwrap(),
        credits: credits.try_into().unwrap(),
        run: run.id.to_string(),
        world,
        doors,
    }
}

/// What can be told from an answer, with the id that was asked for blotted out.
fn seen(answer: &Answered, asked: &str) -> (u16, Vec<(String, String)>, String) {
    let request = answer.headers["x-request-id"].to_str().unwrap();
    // First the request's, in which a short id may stand by chance.
    let body = answer.body.replace(request, "<request>").replace(asked, "<asked>");
    let headers = answer
        .headers
        .iter()
        .filter(|(name, _)| !["x-request-id", "date"].contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    (answer.status.as_u16(), headers, body)
}

/// A body that the route can read, so that the answer is about the id and not about the body.
fn plausible(path: &str, account: &str) -> Value {
    match path {
        "/v1/claims" => json!({
            "account": account, "ground": "both", "words": "We lost a day of orders because of it.", "incident": "INC-2026-032",
        }),
        "/v1/credit-runs/{id}/approve" => json!({ "total": "1.00" }),
        "/v1/credit-runs/{id}/reverse" => json!({ "reason": "duplicate", "note": "It was given twice." }),
        "/v1/outages/{id}/amendments" => json!({ "version": 1, "reason": "It was another day." }),
        "/v1/differences/{id}/decisions" => json!({ "decision": "keep", "reason": "We were wrong." }),
        "/v1/outages/{id}/confirm" => json!({ "version": 1 }),
        "/v1/credits/{id}/reverse" => json!({ "reason": "duplicate", "note": "Twice." }),
        "/v1/credits/{id}/offer" | "/v1/credits/{id}/unclaimed" => json!({ "note": "The account was opened again." }),
        "/v1/credits/{id}/payment" => json!({ "note": "The account is closed.", "reference": "PAY-1" }),
        "/v1/calendars/{name}" => json!({ "weekend": ["sunday"], "holidays": {} }),
        _ => json!({}),
    }
}

#[tokio::test]
async fn what_is_somebody_elses_answers_as_what_is_not_there_on_every_route_with_an_id() {
    if is_skipped("what_is_somebody_elses_answers_as_what_is_not_there_on_every_route_with_an_id") {
        return;
    }
    let two = two().await;
    let document: Value = serde_json::from_str(&makegood::http::router::document()).unwrap();
    let (mut asked, mut denied) = (0, BTreeSet::new());
    for (path, methods) in document["paths"].as_object().unwrap() {
        // What stands in the place of the id: the other's own, and one of the same shape that nobody has.
        let pair = if path.starts_with("/v1/claims/{id}") {
            (two.claims[1].clone(), "MG-2026-990817".to_owned())
        } else if path.starts_with("/v1/credits/{id}") {
            (two.credits[1].clone(), credit_name(CreditId(Uuid::from_u128(77))))
        } else if path.starts_with("/v1/accounts/{account}") {
            (reference(1), "7999999".to_owned())
        } else if path.starts_with("/v1/credit-runs/{id}") {
            (two.run.clone(), Uuid::from_u128(77).to_string())
        } else if path.starts_with("/v1/outages/{id}") {
            (two.world.window.to_string(), Uuid::from_u128(77).to_string())
        } else if path.starts_with("/v1/incidents/{name}") {
            ("INC-2026-031".to_owned(), "INC-2026-O31".to_owned())
        } else if path.starts_with("/v1/differences/{id}") {
            (Uuid::from_u128(76).to_string(), Uuid::from_u128(77).to_string())
        } else if path.starts_with("/v1/plans/{plan}") {
            ("business".to_owned(), "businass".to_owned())
        } else if path.starts_with("/v1/calendars/{name}") {
            ("nz-auckland".to_owned(), "nz-aucklend".to_owned())
        } else if path == "/v1/ledger/journals/{no}" {
            ("1".to_owned(), "77".to_owned())
        } else if path == "/v1/ingest/{source}" {
            ("alertmanager".to_owned(), "alertmanagex".to_owned())
        } else {
            assert!(!path.contains('{'), "{path} takes an id that this test does not know");
            continue;
        };
        for method in methods.as_object().unwrap().keys().filter(|name| ["get", "post", "put"].contains(&name.as_str()))
        {
            let verbs: &[&str] = if path.contains("{action}") {
                &["approve", "recommend", "agree", "send-back", "reject", "undo", "withdraw", "nonsense"]
            } else {
                &[""]
            };
            for verb in verbs {
                let mut answers = Vec::new();
                for id in [&pair.0, &pair.1] {
                    let url = path
                        .replace("{id}", id)
                        .replace("{account}", id)
                        .replace("{plan}", id)
                        .replace("{name}", id)
                        .replace("{no}", id)
                        .replace("{period}", "2026-10")
                        .replace("/changes", "/changes?from=2026-11-01T00:00:00Z")
                        .replace("{version}", "1")
                        .replace("{action}", verb);
                    let body = (method != "get").then(|| plausible(path, id));
                    let method: Method = method.to_uppercase().parse().unwrap();
                    let answer =
                        two.doors.send(method, &url, &two.token, &format!("crawl-{asked}"), body.as_ref()).await;
                    assert!(answer.status.is_client_error(), "{url}: {}", answer.body);
                    answers.push(seen(&answer, id));
                    asked += 1;
                }
                assert_eq!(answers[0], answers[1], "{method} {path} {verb}");
                denied.insert(answers[0].0);
            }
        }
    }
    assert!(asked >= 30, "only {asked} were asked");
    assert!(denied.contains(&404), "{denied:?}");
    books_hold(&two.world.database.app).await;
}

#[tokio::test]
async fn ids_in_queries_and_bodies_are_no_way_in_and_lists_show_ones_own() {
    if is_skipped("ids_in_queries_and_bodies_are_no_way_in_and_lists_show_ones_own") {
        return;
    }
    let two = two().await;
    let (other, unknown) = (reference(1), "7999999".to_owned());
    let mut answers = Vec::new();
    for account in [&other, &unknown] {
        let listed = two.doors.get(&format!("/v1/credits?account={account}"), &two.token).await;
        assert_eq!(listed.code(), (404, "not_found".to_owned()));
        let filed = two.doors.post("/v1/claims", &two.token, "own-key", &plausible("/v1/claims", account)).await;
        assert_eq!(filed.code(), (404, "not_found".to_owned()));
        let as_of = format!("/v1/accounts/{account}/assessments/2026-10?as_recorded_at=2026-11-10T00:00:00Z");
        let sum = two.doors.get(&as_of, &two.token).await;
        answers.push([seen(&listed, account), seen(&filed, account), seen(&sum, account)]);
    }
    assert_eq!(answers[0], answers[1]);
    for (path, own) in [("/v1/claims", &two.claims[0]), ("/v1/credits", &two.credits[0])] {
        for query in ["", "?limit=500", "?state=submitted", "?after=0~00000000-0000-0000-0000-000000000000"] {
            let answer = two.doors.get(&format!("{path}{query}"), &two.token).await;
            for foreign in [&two.claims[1], &two.credits[1], &other] {
                assert!(!answer.body.contains(foreign.as_str()), "{path}{query}: {}", answer.body);
            }
            if answer.status == 200 {
                let ids: Vec<Value> =
                    answer.json()["data"].as_array().unwrap().iter().map(|one| one["id"].clone()).collect();
                assert_eq!(ids, [json!(own)], "{path}{query}");
            }
        }
    }
    // What is one's own is there: the test would not notice a service that denies everything.
    for path in [
        format!("/v1/claims/{}", two.claims[0]),
        format!("/v1/credits/{}", two.credits[0]),
        format!("/v1/accounts/{}/assessments/2026-10", reference(0)),
    ] {
        assert_eq!(two.doors.get(&path, &two.token).await.status, 200, "{path}");
    }
    // A token of both sees both.
    let both = two.doors.customer("group", &[&reference(0), &reference(1)]);
    assert_eq!(two.doors.get("/v1/credits", &both).await.json()["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn the_database_shows_a_customer_their_own_rows_whatever_the_statement_says() {
    if is_skipped("the_database_shows_a_customer_their_own_rows_whatever_the_statement_says") {
        return;
    }
    let two = two().await;
    let granted: Vec<(String, bool)> = sqlx::query_as(
        "SELECT relname::text, EXISTS (SELECT FROM pg_attribute WHERE attrelid = pg_class.oid AND attname = 'account_id')
         FROM pg_class WHERE relkind IN ('r', 'v', 'p') AND relnamespace = 'public'::regnamespace
           AND has_table_privilege('makegood_customer', oid, 'SELECT') ORDER BY 1",
    )
    .fetch_all(&two.world.database.owner)
    .await
    .unwrap();
    let owned: Vec<&String> = granted.iter().filter(|(_, has)| *has).map(|(name, _)| name).collect();
    assert!(owned.len() >= 9, "{owned:?}");
    for table in &owned {
        let statement = format!("SELECT account_id, count(*) FROM {table} GROUP BY account_id ORDER BY account_id");
        let all: Vec<(Uuid, i64)> =
            sqlx::query_as(AssertSqlSafe(statement.clone())).fetch_all(&two.world.database.app).await.unwrap();
        assert_eq!(all.len(), 2, "{table} has rows of both");
        for (accounts, expected) in
            [(vec![two.world.accounts[0]], vec![two.world.accounts[0].0]), (Vec::new(), Vec::new())]
        {
            let mut tx = customer::open(&two.world.database.app, &accounts).await.unwrap();
            let seen: Vec<(Uuid, i64)> =
                sqlx::query_as(AssertSqlSafe(statement.clone())).fetch_all(&mut *tx).await.unwrap();
            assert_eq!(seen.iter().map(|(account, _)| *account).collect::<Vec<_>>(), expected, "{table}");
            // And nobody can be written to through this door.
            let written = format!("DELETE FROM {table}");
            assert!(sqlx::query(AssertSqlSafe(written)).execute(&mut *tx).await.is_err(), "{table}");
        }
    }
    // The connection goes back as it came: the next one to use it sees what staff see.
    let all: i64 = sqlx::query_scalar("SELECT count(*) FROM credit").fetch_one(&two.world.database.app).await.unwrap();
    assert_eq!(all, 2);
}
