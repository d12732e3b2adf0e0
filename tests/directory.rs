//! The directory: what is contested, moving or nowhere is listed, and a person settles it.

mod support;

#[path = "support/doors.rs"]
mod doors_;
#[path = "support/world.rs"]
mod world;

use axum::http::Method;
use bytes::Bytes;
use doors_::{Answered, Doors, doors};
use futures_util::stream;
use makegood::domain::actor::Role;
use makegood::domain::batch::{Changes, Format, Report};
use makegood::flows::load_accounts::load_accounts;
use makegood::flows::load_given::load_given;
use makegood::flows::load_placements::load_placements;
use makegood::flows::take_snapshot::{Snapshot, USUALLY_GONE, take_snapshot};
use makegood::store::Error;
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

    // What was taken back stands in nobody's way.
    let earlier = settlement(Some("mx-07"), "2026-10-04T00:00:00Z", to);
    assert_eq!(doors.post(path, &sefa, "earlier", &earlier).await.status, 201);
    assert_eq!(held_back(pool, "settled earlier").await, (2, 1));
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

/// A full directory of `directory`, as lines of account, mailbox and shard.
async fn snapshot(
    pool: &PgPool,
    rows: &[[String; 3]],
    taken_at: &str,
    more: (Option<i64>, u8, bool),
) -> Result<Report, Error> {
    let lines: String = rows.iter().map(|row| format!("{}\n", row.join(","))).collect();
    let file = stream::iter([Ok::<_, std::io::Error>(Bytes::from(format!("account,mailbox,shard\n{lines}")))]);
    let (count, allow_gone, dry_run) = more;
    let of = Snapshot { source: "directory".to_owned(), taken_at: at(taken_at), count, allow_gone };
    let platform = staff("platform", Role::Ingest);
    take_snapshot(pool, november(5), &platform, file, Format::Csv, dry_run, of).await
}

fn home(index: usize, mailbox: i64, shard: &str) -> [String; 3] {
    [reference(index), format!("{}-{mailbox}", reference(index)), shard.to_owned()]
}

/// All mailboxes of a world of three, where they are.
fn everybody() -> Vec<[String; 3]> {
    (0..3).flat_map(|index| (0..mailboxes(index)).map(move |mailbox| home(index, mailbox, "mx-07"))).collect()
}

async fn placements(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM placement").fetch_one(pool).await.unwrap()
}

const ASKED: (Option<i64>, u8, bool) = (None, USUALLY_GONE, false);

#[tokio::test]
async fn a_full_directory_becomes_changes_and_the_same_file_again_changes_nothing() {
    if is_skipped("a_full_directory_becomes_changes_and_the_same_file_again_changes_nothing") {
        return;
    }
    let world = world(3).await;
    let pool = &world.database.app;
    muddle(pool).await;
    let (before, taken) = (placements(pool).await, "2026-10-08T00:00:00Z");
    // As it was before anything moved.
    let same = snapshot(pool, &everybody(), "2026-10-04T00:00:00Z", ASKED).await.unwrap();
    assert_eq!(same.changes, Some(Changes { new: 0, moved: 0, gone: 0, unchanged: 9 }));
    assert_eq!((same.lines, same.accepted, same.unchanged, placements(pool).await), (9, 0, 9, before));

    // One is new, one is elsewhere, one is gone; a move without a live side and one that is live elsewhere are decided.
    let mut rows = everybody();
    rows.retain(|row| row[1] != format!("{}-2", reference(1)));
    rows.iter_mut().filter(|row| row[1] == format!("{}-1", reference(1))).for_each(|row| row[2] = "mx-09".to_owned());
    rows.push(home(3, 0, "mx-11"));
    rows.push(home(3, 0, "mx-11"));
    let changes = Changes { new: 1, moved: 3, gone: 1, unchanged: 5 };
    let cut = snapshot(pool, &rows[..5], taken, ASKED).await.unwrap_err().refusal();
    assert!(cut.detail.contains("4 of the 9 mailboxes that directory had"), "{}", cut.detail);
    let short = snapshot(pool, &rows, taken, (Some(12), 20, false)).await.unwrap_err().refusal();
    assert!(short.detail.contains("has 10 lines and should have 12"), "{}", short.detail);
    let refused = snapshot(pool, &rows, taken, ASKED).await.unwrap_err().refusal();
    assert!(refused.detail.contains("1 of the 9"), "{}", refused.detail);
    let dry = snapshot(pool, &rows, taken, (Some(10), 20, true)).await.unwrap();
    assert_eq!((dry.changes, dry.dry_run), (Some(changes), true));
    assert_eq!(placements(pool).await, before, "nothing was recorded so far");

    let done = snapshot(pool, &rows, taken, (Some(10), 20, false)).await.unwrap();
    assert_eq!(done.changes, Some(changes));
    assert_eq!((done.lines, done.accepted, done.rejected, done.unchanged), (10, 4, 0, 6));
    assert_eq!(placements(pool).await, before + 5);
    let again = snapshot(pool, &rows, taken, (Some(10), 20, false)).await.unwrap();
    assert_eq!(again.changes, Some(Changes { new: 0, moved: 0, gone: 0, unchanged: 9 }));
    assert_eq!(placements(pool).await, before + 5);
    assert_eq!(audited(pool, "placements.snapshot").await, 3, "each file that was taken, changes or not");

    // Lines that are wrong are named, and nothing is recorded.
    let wrong = [home(0, 0, "mx-07"), home(0, 0, "mx-09"), home(8, 0, "mx-07"), home(0, 0, "mx-77")];
    let report = snapshot(pool, &wrong, taken, (None, 100, false)).await.unwrap();
    let named: Vec<String> = report.errors.iter().map(|error| format!("{}{}", error.line, error.pointer)).collect();
    assert_eq!((report.rejected, named), (3, vec!["3/shard".to_owned(), "4/account".to_owned(), "5/shard".to_owned()]));
    assert_eq!(placements(pool).await, before + 5);
}

#[tokio::test]
async fn a_directory_is_sent_through_its_door_by_who_may() {
    if is_skipped("a_directory_is_sent_through_its_door_by_who_may") {
        return;
    }
    let world = world(1).await;
    let doors = doors(&world.database.app, november(5)).await;
    let text = format!("{{\"account\":\"{0}\",\"mailbox\":\"{0}-0\",\"shard\":\"mx-07\"}}\n", reference(0));
    let send = async |query: &str, token: &str| {
        let request = axum::http::Request::builder()
            .method(Method::PUT)
            .uri(format!("/v1/placements/snapshot?{query}"))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/x-ndjson")
            .body(axum::body::Body::from(text.clone()))
            .unwrap();
        let response = tower::ServiceExt::oneshot(doors.router.clone(), request).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
        (status, serde_json::from_slice::<Value>(&body).unwrap())
    };
    let platform = doors.machine(Role::Ingest, "platform").await;
    let (status, report) = send("source=directory&taken_at=2026-11-01T00:00:00Z&count=1", &platform).await;
    assert_eq!((status, &report["changes"]["unchanged"]), (200, &json!(1)), "{report}");
    let agent = doors.staff("hana", Role::Agent);
    assert_eq!(send("source=directory&taken_at=2026-11-01T00:00:00Z", &agent).await.0, 403);
    for wrong in [
        "taken_at=2026-11-01T00:00:00Z",
        "source=directory",
        "source=operations&taken_at=2026-11-01T00:00:00Z",
        "source=directory&taken_at=2027-11-01T00:00:00Z",
        "source=directory&taken_at=2026-11-01T00:00:00Z&allow_gone=101",
        "source=directory&taken_at=2026-11-01T00:00:00Z&allow=50",
    ] {
        assert_eq!(send(wrong, &platform).await.0, 422, "{wrong}");
    }
}

#[tokio::test]
async fn a_dry_run_says_what_the_file_would_change_in_money_and_records_nothing() {
    if is_skipped("a_dry_run_says_what_the_file_would_change_in_money_and_records_nothing") {
        return;
    }
    let world = world(3).await;
    let pool = &world.database.app;
    assess(pool, november(5)).await;
    let (before, recorded) = (placements(pool).await, due_of_all(3));
    // The three mailboxes of the second account were not on the shard that failed.
    let mut rows = everybody();
    rows.iter_mut().filter(|row| row[0] == reference(1)).for_each(|row| row[2] = "mx-09".to_owned());
    let register = json!({ "account": reference(1), "mailbox": format!("{}-9", reference(1)), "shard": "mx-09",
        "valid_from": "2026-11-04T00:00:00Z", "source": "directory" });
    send(pool, "placements", &[register], november(4)).await;
    let report = snapshot(pool, &rows, "2026-10-05T00:00:00Z", (None, 20, true)).await.unwrap();
    let money = report.money.unwrap();
    assert_eq!((money.accounts, money.looked_at, money.changed), (1, 1, 1));
    assert_eq!(money.periods.iter().map(ToString::to_string).collect::<Vec<_>>(), ["2026-10", "2026-11"]);
    let totals: Vec<(i64, i64)> = money.totals.iter().map(|due| (due.before.minor(), due.after.minor())).collect();
    assert_eq!(totals, [(due(3), 0)]);
    assert_eq!(
        (money.largest[0].account.clone(), money.largest[0].period.to_string()),
        (reference(1), "2026-10".to_owned())
    );
    assert_eq!(placements(pool).await, before + 1);

    // What the dry run said is what comes of it.
    assert!(snapshot(pool, &rows, "2026-10-05T00:00:00Z", (None, 20, false)).await.unwrap().money.is_none());
    assert_eq!(propose(pool, november(5), "after").await.total.minor(), recorded - due(3));

    // A charge that was too low, through the door of the charges.
    let doors = doors(pool, november(5)).await;
    let platform = doors.machine(Role::Ingest, "billing-system").await;
    let mut line = charge_line(2, &format!("INV-{}", reference(2)), 2 * mailboxes(2));
    line["quantity"] = json!(mailboxes(2));
    let request = axum::http::Request::builder()
        .method(Method::POST)
        .uri("/v1/charges/batches?dry_run=true")
        .header("authorization", format!("Bearer {platform}"))
        .header("content-type", "application/x-ndjson")
        .body(axum::body::Body::from(format!("{line}\n")))
        .unwrap();
    let response = tower::ServiceExt::oneshot(doors.router.clone(), request).await.unwrap();
    let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
    let report: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&report["money"]["changed"], &report["accepted"]), (&json!(1), &json!(1)), "{report}");
    assert_eq!(report["money"]["largest"][0]["before"]["amount"], nzd(due(5)).digits());
}

/// Loads lines of one kind and gives where they are wrong, as `line/field`.
async fn wrong(pool: &PgPool, kind: &str, lines: &[Value]) -> Vec<String> {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let file = stream::iter([Ok::<_, std::io::Error>(Bytes::from(text))]);
    let clerk = staff("records", Role::Ingest);
    let report = match kind {
        "accounts" => load_accounts(pool, november(4), &clerk, file, Format::Ndjson, false).await,
        "placements" => load_placements(pool, november(4), &clerk, file, Format::Ndjson, false).await,
        "given" => load_given(pool, november(4), &clerk, file, Format::Ndjson, false).await,
        other => panic!("{other}"),
    };
    report.unwrap().errors.iter().map(|error| format!("{}{}", error.line, error.pointer)).collect()
}

fn with(mut line: Value, fields: &[(&str, Value)]) -> Value {
    fields.iter().for_each(|(name, value)| line[*name] = value.clone());
    line
}

#[tokio::test]
async fn an_account_that_closed_before_the_outage_is_owed_nothing_and_one_that_closed_after_it_is() {
    if is_skipped("an_account_that_closed_before_the_outage_is_owed_nothing") {
        return;
    }
    let world = world(3).await;
    let pool = &world.database.app;
    let closed = |index, day: &str| with(account_line(index), &[("closed_on", json!(day))]);
    send(pool, "accounts", &[closed(0, "2026-10-13"), closed(1, "2026-10-20")], november(4)).await;
    let run = propose(pool, november(5), "run").await;
    // The outage began at ten past six on the 13th in New Zealand.
    assert_eq!(run.total.minor(), due_of_all(3) - due(mailboxes(0)));
    // A dry run of one more says what that takes away.
    let line = format!("{}\n", closed(2, "2026-10-13"));
    let file = stream::iter([Ok::<_, std::io::Error>(Bytes::from(line))]);
    let clerk = staff("records", Role::Ingest);
    let report = load_accounts(pool, november(5), &clerk, file, Format::Ndjson, true).await.unwrap();
    let money = report.money.unwrap();
    let totals: Vec<(i64, i64)> = money.totals.iter().map(|due| (due.before.minor(), due.after.minor())).collect();
    assert_eq!((money.changed, totals), (1, vec![(due(mailboxes(2)), 0)]));
    let early = with(account_line(2), &[("closed_on", json!("2020-01-01")), ("customer_since", json!("2024-01-01"))]);
    assert_eq!(wrong(pool, "accounts", &[early]).await, ["1/closed_on"]);
}

#[tokio::test]
async fn accounts_that_go_round_in_a_circle_are_refused_with_the_lines_that_close_it() {
    if is_skipped("accounts_that_go_round_in_a_circle_are_refused_with_the_lines_that_close_it") {
        return;
    }
    let world = world(4).await;
    let pool = &world.database.app;
    let under = |index: usize, above: usize| with(account_line(index), &[("parent", json!(reference(above)))]);
    let circle = [under(0, 1), under(1, 2), under(2, 0), under(3, 0)];
    assert_eq!(wrong(pool, "accounts", &circle).await, ["1/parent", "2/parent", "3/parent"]);
    assert_eq!(wrong(pool, "accounts", &[under(0, 1), under(1, 2)]).await, Vec::<String>::new());
    // What is recorded closes the circle; what the file says anew opens it.
    assert_eq!(wrong(pool, "accounts", &[under(2, 0)]).await, ["1/parent"]);
    assert_eq!(wrong(pool, "accounts", &[under(2, 0), under(1, 3)]).await, Vec::<String>::new());
    let pays = |index: usize, payer: usize| with(account_line(index), &[("bill_to", json!(reference(payer)))]);
    assert_eq!(wrong(pool, "accounts", &[pays(0, 3), pays(3, 0)]).await, ["1/bill_to", "2/bill_to"]);
}

#[tokio::test]
async fn a_line_that_is_no_move_and_a_credit_of_nobody_are_named() {
    if is_skipped("a_line_that_is_no_move_and_a_credit_of_nobody_are_named") {
        return;
    }
    let world = world(1).await;
    let pool = &world.database.app;
    muddle_shards(pool).await;
    let from = "2026-10-20T00:00:00Z";
    let moving = |more: &[(&str, &str)]| told(0, 0, "mx-07", from, "directory", more);
    let lines = [
        moving(&[("moving_to", "mx-07")]),
        moving(&[("live", "to")]),
        moving(&[("moving_to", "mx-99")]),
        moving(&[("moving_to", "mx-11"), ("live", "both")]),
        moving(&[("source", "operations")]),
        with(moving(&[("moving_to", "mx-11")]), &[("shard", Value::Null)]),
    ];
    let named = ["1/moving_to", "2/live", "3/moving_to", "4/live", "5/source", "6/moving_to"];
    assert_eq!(wrong(pool, "placements", &lines).await, named);
    assert_eq!(wrong(pool, "placements", &[moving(&[("moving_to", "mx-11")])]).await, Vec::<String>::new());
    // The move is over, at the same time as it began: a correction.
    let again = placements(pool).await;
    assert_eq!(
        wrong(pool, "placements", &[moving(&[("moving_to", "mx-11"), ("live", "to")])]).await,
        Vec::<String>::new()
    );
    assert_eq!(placements(pool).await, again + 1);

    let given = |fields: &[(&str, &str)]| {
        let line = json!({ "account": reference(0), "reference": "C-1", "subscription": format!("{}-mail", reference(0)),
            "period": "2026-10", "kind": "contract", "currency": "NZD", "amount": "1.00", "given_on": "2026-10-20" });
        fields.iter().fold(line, |line, (name, value)| with(line, &[(name, json!(value))]))
    };
    let lines = [
        given(&[("account", "nobody")]),
        given(&[("subscription", "other"), ("reference", "C-2")]),
        given(&[("currency", "EUR"), ("reference", "C-3")]),
        given(&[("amount", "-1.00"), ("reference", "C-4")]),
        given(&[("period", "October"), ("reference", "C-5")]),
        given(&[]),
        given(&[("amount", "2.00")]),
    ];
    let named = ["1/account", "2/subscription", "3/currency", "4/amount", "5/period", "7/reference"];
    assert_eq!(wrong(pool, "given", &lines).await, named);
    let rows =
        async || sqlx::query_scalar::<_, i64>("SELECT count(*) FROM given_elsewhere").fetch_one(pool).await.unwrap();
    assert_eq!(wrong(pool, "given", &[given(&[]), given(&[])]).await, Vec::<String>::new());
    assert_eq!(wrong(pool, "given", &[given(&[])]).await, Vec::<String>::new());
    assert_eq!(rows().await, 1);
    assert_eq!(wrong(pool, "given", &[given(&[("amount", "0.25")])]).await, Vec::<String>::new());
    assert_eq!(rows().await, 2, "a correction is a later version");
    assert_eq!(propose(pool, november(5), "run").await.total.minor(), due(mailboxes(0)) - 25);
}

/// Registers the shards that the lines above name.
async fn muddle_shards(pool: &PgPool) {
    let mut conn = pool.acquire().await.unwrap();
    makegood::store::shards::register(&mut conn, &["mx-07".to_owned(), "mx-11".to_owned()], november(1)).await.unwrap();
}
