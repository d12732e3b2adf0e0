//! The directory: what is contested, moving or nowhere is listed, and a person settles it.

mod support;

#[path = "support/doors.rs"]
mod doors_;
#[path = "support/world.rs"]
mod world;

use axum::http::Method;
use doors_::{Answered, Doors, doors};
use makegood::domain::actor::Role;
use serde_json::{Value, json};
use sqlx::PgPool;
use support::is_skipped;
use world::*;

/// A mailbox on `shard` from `from` on, as `source` says; with `more` fields.
fn told(index: usize, mailbox: i64, shard: &str, from: &str, source: &str, more: &[(&str, &str)]) -> Value {
    let mut line = placement_line(index, mailbox, shard, from);
    line["source"] = json!(source);
    for (name, value) in more {
        line[*name] = json!(value);
    }
    line
}

/// Three accounts that were hit: of one a second directory says otherwise, one has mailboxes that move; a fourth and a fifth live nowhere.
async fn muddle(pool: &PgPool) {
    let now = november(1);
    send(pool, "accounts", &[account_line(3), account_line(4)], now).await;
    let subscription = |index| {
        json!({
            "account": reference(index), "subscription": format!("{}-mail", reference(index)), "plan": "business",
            "valid_from": "2024-01-01T00:00:00Z",
        })
    };
    send(pool, "subscriptions", &[subscription(3), subscription(4)], now).await;
    let from = "2026-10-05T00:00:00Z";
    let mut placements = vec![
        told(1, 0, "mx-09", from, "old-directory", &[]),
        told(2, 0, "mx-07", from, "directory", &[("moving_to", "mx-11")]),
        told(2, 1, "mx-07", from, "directory", &[("moving_to", "mx-11"), ("live", "to")]),
    ];
    let nowhere = json!({ "account": reference(4), "mailbox": format!("{}-0", reference(4)), "shard": null,
        "valid_from": "2026-10-20T00:00:00Z", "source": "directory" });
    placements.push(nowhere);
    send(pool, "placements", &placements, now).await;
}

async fn list(doors: &Doors, path: &str, token: &str) -> Vec<Value> {
    let mut all = Vec::new();
    let mut next = String::new();
    loop {
        let page = doors.get(&format!("{path}limit=1{next}"), token).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let page = page.json();
        all.extend(page["data"].as_array().unwrap().iter().cloned());
        if page["has_more"] == json!(false) {
            return all;
        }
        next = format!("&after={}", page["next"].as_str().unwrap());
    }
}

fn mailboxes_of(rows: &[Value]) -> Vec<String> {
    let mut names: Vec<String> = rows
        .iter()
        .map(|row| format!("{} {}", row["account"].as_str().unwrap(), row["mailbox"].as_str().unwrap_or("-")))
        .collect();
    names.sort();
    names
}

fn settlement(shard: Option<&str>, from: &str, to: &str) -> Value {
    json!({ "account": reference(1), "mailbox": format!("{}-0", reference(1)), "shard": shard, "from": from, "to": to,
            "reason": "The migration log says so." })
}

async fn held_back(pool: &PgPool, name: &str) -> (i64, i64) {
    let run = propose(pool, november(5), name).await;
    (run.credits, run.held_back_accounts)
}

#[tokio::test]
async fn what_is_not_known_of_mailboxes_is_listed_and_a_settlement_lets_the_money_go() {
    if is_skipped("what_is_not_known_of_mailboxes_is_listed_and_a_settlement_lets_the_money_go") {
        return;
    }
    let world = world(3).await;
    let pool = &world.database.app;
    muddle(pool).await;
    let doors = doors(pool, november(5)).await;
    let (sefa, agent) = (doors.staff("sefa", Role::Operations), doors.staff("hana", Role::Agent));

    let contested = list(&doors, "/v1/placements/contested?period=2026-10&", &agent).await;
    let (disputed, moved) = (format!("{0} {0}-0", reference(1)), format!("{0} {0}-0", reference(2)));
    assert_eq!(mailboxes_of(&contested), [disputed.clone(), moved.clone()]);
    let times = |row: &Value| (row["times"][0]["start"].clone(), row["times"][0]["end"].clone());
    assert_eq!(times(&contested[0]), (json!("2026-10-05T00:00:00Z"), json!("2026-10-31T11:00:00Z")));
    assert_eq!(list(&doors, "/v1/placements/contested?period=2026-09&", &agent).await, Vec::<Value>::new());
    let moving = list(&doors, "/v1/placements/moving?", &agent).await;
    assert_eq!(mailboxes_of(&moving), [moved, format!("{0} {0}-1", reference(2))]);
    let never = list(&doors, "/v1/placements/never-placed?period=2026-10&", &agent).await;
    assert_eq!(
        mailboxes_of(&never),
        [format!("{} -", reference(3)), format!("{} -", reference(4)), format!("{0} {0}-0", reference(4))]
    );
    for path in ["contested?period=2026-10", "moving", "never-placed?period=2026-10"] {
        let customer = doors.customer("wiremu", &[&reference(1)]);
        assert_eq!(doors.get(&format!("/v1/placements/{path}"), &customer).await.status, 403, "{path}");
    }
    assert_eq!(held_back(pool, "before").await, (1, 2));

    // Refused: nothing is written, and the words say what to do.
    let (from, to) = ("2026-10-05T00:00:00Z", "2026-11-01T00:00:00Z");
    let refused = |answer: Answered| (answer.status.as_u16(), answer.json()["errors"][0]["pointer"].clone());
    let path = "/v1/placements/settlements";
    for (number, (wrong, pointer)) in [
        (settlement(Some("mx-99"), from, to), "/shard"),
        (settlement(Some("mx-09"), from, "2026-12-01T00:00:00Z"), "/to"),
        (settlement(Some("mx-09"), to, from), "/to"),
        (settlement(Some("mx-09"), from, from), "/to"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = doors.post(path, &sefa, &format!("wrong-{number}"), &wrong).await;
        assert_eq!(refused(answer), (422, json!(pointer)), "{wrong}");
    }
    let right = settlement(Some("mx-07"), from, to);
    assert_eq!(doors.post(path, &agent, "agent", &right).await.code(), (403, "forbidden".to_owned()));
    let mut unsaid = right.clone();
    unsaid.as_object_mut().unwrap().remove("shard");
    assert_eq!(doors.post(path, &sefa, "unsaid", &unsaid).await.status, 422);

    let settled = doors.post(path, &sefa, "settle", &right).await;
    assert_eq!(settled.status, 201, "{}", settled.body);
    assert_eq!(doors.post(path, &sefa, "settle", &right).await.json(), settled.json());
    assert_eq!(audited(pool, "placement.settle").await, 1);
    let contested = list(&doors, "/v1/placements/contested?period=2026-10&", &agent).await;
    assert_eq!(contested.len(), 1, "{contested:?}");
    // A little of November is left to the sources, and to whoever settles it.
    assert_eq!(list(&doors, "/v1/placements/contested?period=2026-11&", &agent).await.len(), 2);
    assert_eq!(held_back(pool, "settled").await, (2, 1));

    // It runs into what was settled; it is corrected; it is taken back.
    let inside = settlement(Some("mx-09"), "2026-10-10T00:00:00Z", "2026-10-11T00:00:00Z");
    assert_eq!(doors.post(path, &sefa, "inside", &inside).await.code(), (409, "wrong_state".to_owned()));
    let corrected = settlement(Some("mx-09"), from, to);
    assert_eq!(doors.post(path, &sefa, "corrected", &corrected).await.status, 201);
    let account = format!("/v1/accounts/{}/assessments/2026-10", reference(1));
    let sum = doors.get(&account, &doors.staff("aroha", Role::Supervisor)).await;
    assert_eq!(sum.status, 200, "{}", sum.body);
    assert!(sum.body.contains("as operations settled it"), "{}", sum.body);
    assert_eq!(doors.post(path, &sefa, "back", &settlement(None, from, from)).await.status, 201);
    assert_eq!(held_back(pool, "taken back").await, (1, 2));
    let all = doors.get(&format!("{path}?account={}", reference(1)), &agent).await.json();
    assert_eq!(all["data"].as_array().unwrap().len(), 3);
    assert_eq!(all["data"][2]["shard"], "mx-07", "the first one is the oldest");
}

#[tokio::test]
async fn a_list_is_a_file_for_who_wants_one() {
    if is_skipped("a_list_is_a_file_for_who_wants_one") {
        return;
    }
    let world = world(3).await;
    muddle(&world.database.app).await;
    let doors = doors(&world.database.app, november(5)).await;
    let request = axum::http::Request::builder()
        .method(Method::GET)
        .uri("/v1/placements/moving?limit=1")
        .header("authorization", format!("Bearer {}", doors.staff("sefa", Role::Operations)))
        .header("accept", "text/csv");
    let request = request.body(axum::body::Body::empty()).unwrap();
    let response = tower::ServiceExt::oneshot(doors.router.clone(), request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/csv; charset=utf-8");
    let next = response.headers()["link"].to_str().unwrap().to_owned();
    assert!(next.starts_with("</v1/placements/moving?after=") && next.ends_with(">; rel=\"next\""), "{next}");
    let text = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
    let text = String::from_utf8(text.to_vec()).unwrap();
    let expected = format!(
        "account,mailbox,shard,moving_to,live,from,source\r\n{0},{0}-0,mx-07,mx-11,,2026-10-05T00:00:00Z,directory\r\n",
        reference(2)
    );
    assert_eq!(text, expected);
}
