//! Both times, incidents and differences: what was held to be true at an earlier time can still be asked, and late truth changes no row
//! that was issued.

mod support;

#[path = "support/doors.rs"]
mod doors;
#[path = "support/world.rs"]
mod world;

use doors::{Doors, doors};
use makegood::domain::actor::Role;
use makegood::domain::money::Money;
use makegood::domain::time::{HOUR, Instant, MINUTE};
use makegood::flows::amend_outage::{AmendOutage, amend_outage};
use makegood::flows::sequence_feed::sequence_feed;
use makegood::store::evidence;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use support::is_skipped;
use world::*;

/// What was issued by one run, and all that was posted for it: one hash over every column of every row.
async fn fingerprint(pool: &PgPool, run: uuid::Uuid) -> Vec<String> {
    let mut prints = Vec::new();
    for rows in [
        "SELECT row.* FROM credit row WHERE run_id = $1",
        "SELECT row.* FROM transfer row JOIN credit ON credit.credit_id = row.document WHERE run_id = $1 AND event = 'issued'",
        "SELECT row.* FROM credit_run_item row WHERE run_id = $1",
        "SELECT row.* FROM credit_run row WHERE run_id = $1",
    ] {
        let all = format!(
            "SELECT count(*), coalesce(md5(string_agg(one::text, '|' ORDER BY one::text)), '') FROM ({rows}) one"
        );
        let (count, print): (i64, String) = sqlx::query_as(AssertSqlSafe(all)).bind(run).fetch_one(pool).await.unwrap();
        assert!(count > 0, "{rows}");
        prints.push(format!("{count}:{print}"));
    }
    prints
}

async fn last_recorded(pool: &PgPool) -> Instant {
    evidence::last_recorded(&mut pool.acquire().await.unwrap()).await.unwrap()
}

async fn list_anew(doors: &Doors) -> Value {
    let finance = doors.staff("finn", Role::Finance);
    let listed = doors.post("/v1/differences", &finance, "", &json!({ "period": "2026-10" })).await;
    assert_eq!(listed.status, 200, "{}", listed.body);
    listed.json()
}

async fn listed(doors: &Doors) -> Vec<Value> {
    let auditor = doors.staff("audit", Role::Auditor);
    let mut all = Vec::new();
    let mut after = String::new();
    loop {
        let page = doors.get(&format!("/v1/differences?period=2026-10&limit=2{after}"), &auditor).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let page = page.json();
        all.extend(page["data"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return all,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn late_truth_after_credits_makes_a_list_to_decide_and_moves_no_row_that_was_issued() {
    if is_skipped("late_truth_after_credits_makes_a_list_to_decide_and_moves_no_row_that_was_issued") {
        return;
    }
    let world = world(5).await;
    let pool = &world.database.app;
    let doors = doors(pool, november(6)).await;
    let finance = doors.staff("finn", Role::Finance);
    let early = doors.post("/v1/differences", &finance, "", &json!({ "period": "2026-10" })).await;
    assert_eq!(early.code(), (409, "wrong_state".to_owned()), "nothing is credited yet");
    let unlisted = doors.get("/v1/differences?period=2026-10", &finance).await;
    assert_eq!(unlisted.code(), (404, "not_found".to_owned()));

    let run = propose(pool, november(5), "run").await;
    approve(pool, november(5), "wiremu", &run).await.unwrap();
    assert_eq!(apply(pool, november(5), run.id).await, 5);
    let issued = fingerprint(pool, run.id.0).await;
    assert_eq!(list_anew(&doors).await["accounts"], 0, "what was credited is what is due");
    assert!(listed(&doors).await.is_empty());

    // It was two hours, not 22: a tenth and not a quarter. Until it is signed off, nobody decides.
    let (start, _) = outage();
    let shorter = AmendOutage {
        version: 2,
        reason: "The log shows mail again after two hours.".to_owned(),
        end: Some(start.plus(2 * HOUR)),
        ..AmendOutage::default()
    };
    let sefa = staff("sefa", Role::Operations);
    amend_outage(pool, november(7), &sefa, &key("shorter"), world.window, shorter).await.unwrap();
    let head = list_anew(&doors).await;
    assert_eq!((&head["accounts"], &head["over_payments"], &head["undecided"]), (&json!(5), &json!(5), &json!(5)));
    let waiting = listed(&doors).await;
    let decide = async |id: &Value, name: &str, decision: &str| {
        let path = format!("/v1/differences/{}/decisions", id.as_str().unwrap());
        doors.post(&path, &finance, name, &json!({ "decision": decision, "reason": "The customer was told." })).await
    };
    let unsettled = decide(&waiting[0]["id"], "d0", "keep").await;
    assert_eq!(unsettled.code(), (409, "wrong_state".to_owned()));
    assert!(unsettled.body.contains("window_not_confirmed"), "{}", unsettled.body);
    sign_off(pool, world.window, 3, november(7)).await;
    list_anew(&doors).await;
    let over = listed(&doors).await;
    assert_eq!(over.len(), 5);
    for one in &over {
        let index = (0..5).find(|index| one["account"] == reference(*index)).unwrap();
        let (was, is) = (due(mailboxes(index)), mailboxes(index) * 125);
        assert_eq!(one["credited"]["amount"], nzd(was).digits());
        assert_eq!((&one["due"]["amount"], &one["kind"]), (&json!(nzd(is).digits()), &json!("over_payment")));
        assert_eq!(one["difference"]["amount"], nzd(was - is).digits());
        assert_eq!(one["blockers"], json!([]));
        // It says where the facts are that changed.
        let changes = doors.get(one["changes"].as_str().unwrap(), &finance).await;
        assert_eq!(changes.status, 200, "{}", changes.body);
        let changes = changes.json();
        assert_eq!(changes["before"][0]["amount"], one["credited"]["amount"]);
        assert_eq!(changes["after"][0]["amount"], one["due"]["amount"]);
        let kinds: Vec<&Value> = changes["changes"].as_array().unwrap().iter().map(|one| &one["kind"]).collect();
        assert_eq!(kinds, ["outage"], "{changes}");
        assert_eq!(changes["changes"][0]["after"]["reason"], Value::Null, "the signature is the version that holds");
    }
    assert_eq!(decide(&over[0]["id"], "d1", "further_credit").await.code(), (422, "invalid_request".to_owned()));
    assert_eq!(decide(&over[0]["id"], "d2", "keep").await.status, 201);
    assert_eq!(decide(&over[0]["id"], "d2", "keep").await.status, 201, "the same key is the same decision");
    assert_eq!(decide(&over[0]["id"], "d3", "recover").await.code(), (409, "wrong_state".to_owned()));
    assert_eq!(decide(&over[1]["id"], "d4", "recover").await.status, 201);
    let path = format!("/v1/differences/{}/decisions", over[2]["id"].as_str().unwrap());
    let mere = doors.staff("mere", Role::Agent);
    let denied = doors.post(&path, &mere, "d5", &json!({ "decision": "keep", "reason": "x" })).await;
    assert_eq!(denied.code(), (403, "forbidden".to_owned()));
    // One stands on a bill by now: what was too much of it is debited, and no more.
    while sequence_feed(pool, 0, november(7)).await.unwrap() > 0 {}
    let billing = doors.machine(Role::Billing, "billing").await;
    let pulled = doors.get("/v1/billing/feed?limit=100", &billing).await.json();
    let items = pulled["data"].as_array().unwrap();
    let own = items.iter().find(|item| item["credit"]["account"] == over[3]["account"]).unwrap();
    let on_bill =
        json!({ "credit": own["credit"]["id"], "answer": "applied", "reference": "INV-9", "date": "2026-12-05" });
    let taken = doors.post("/v1/billing/acks", &billing, "", &json!({ "items": [on_bill] })).await.json();
    assert_eq!(taken["recorded"], 1, "{taken}");
    assert_eq!(decide(&over[3]["id"], "d8", "recover").await.status, 201);
    let debit: (i64, i64) = sqlx::query_as(
        "SELECT gross_minor, (SELECT sum(amount_minor)::bigint FROM transfer WHERE debit = 'RECOVERABLE')
         FROM credit_deed WHERE kind = 'debited'",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    // Kept is no reduction any more; recovered from no bill, all of it is taken back, and a run has to give what is due.
    let amount =
        |one: &Value, field: &str| Money::parse(one[field]["amount"].as_str().unwrap(), nzd(0).currency()).unwrap();
    let (kept, back) = (amount(&over[0], "difference"), amount(&over[1], "credited"));
    let overcredit: i64 =
        sqlx::query_scalar("SELECT sum(amount_minor)::bigint FROM transfer WHERE debit = 'OVERCREDIT'")
            .fetch_one(pool)
            .await
            .unwrap();
    let net = kept.minor() - (kept.minor() * 6 + 23) / 46;
    assert!((overcredit - net).abs() <= 1, "{overcredit} of {net}");
    let reversed: i64 = sqlx::query_scalar("SELECT gross_minor FROM credit_deed WHERE kind = 'reversed'")
        .fetch_one(pool)
        .await
        .unwrap();
    assert_eq!(reversed, back.minor());
    let debited = amount(&over[3], "difference").minor();
    assert_eq!(debit, (debited, debited));
    let again = list_anew(&doors).await;
    assert_eq!(
        (&again["accounts"], &again["undecided"], &again["further_credits"]),
        (&json!(4), &json!(3), &json!(1)),
        "a decision stands when it is listed again, and what was taken back is due anew"
    );

    // And then it was more: forty hours that nobody had entered. The rest comes with the next run, and nothing is left to list.
    let late = at("2026-10-20T00:00:00Z");
    window(pool, "late", "mx-07", late, late.plus(40 * HOUR), november(8)).await;
    let more = list_anew(&doors).await;
    assert_eq!((&more["further_credits"], &more["undecided"]), (&json!(5), &json!(5)));
    assert_eq!(decide(&over[2]["id"], "d6", "keep").await.code(), (404, "not_found".to_owned()), "it stands no more");
    for (index, one) in listed(&doors).await.iter().enumerate() {
        assert_eq!(decide(&one["id"], &format!("k{index}"), "keep").await.code(), (422, "invalid_request".to_owned()));
        assert_eq!(decide(&one["id"], &format!("f{index}"), "further_credit").await.status, 201);
    }
    assert_eq!(fingerprint(pool, run.id.0).await, issued);
    let rest = propose(pool, november(9), "rest").await;
    let whole: i64 = (0..5).map(|index| mailboxes(index) * 1_250).sum();
    assert_eq!(rest.total.minor(), whole - due_of_all(5) + back.minor() + debited);
    approve(pool, november(9), "wiremu", &rest).await.unwrap();
    apply(pool, november(9), rest.id).await;
    assert_eq!(list_anew(&doors).await["accounts"], 0);
    assert_eq!(fingerprint(pool, run.id.0).await, issued, "what was issued is as it was");

    // The bill run is rolled back: what nobody took back waits again, and the debit is answered with the bill that is no more.
    while sequence_feed(pool, 0, november(9)).await.unwrap() > 0 {}
    assert_eq!(doors.get("/v1/billing/feed?limit=1000", &billing).await.status, 200);
    for (answer, bill) in [("returned", "INV-9"), ("debited", "INV-9"), ("applied", "INV-10")] {
        let item = json!({ "credit": own["credit"]["id"], "answer": answer, "reference": bill, "date": "2026-12-06" });
        let taken = doors.post("/v1/billing/acks", &billing, "", &json!({ "items": [item] })).await.json();
        assert_eq!(taken["recorded"], 1, "{answer}: {taken}");
        controls_agree(pool).await;
    }
    let said: Vec<(String, i64)> = sqlx::query_as("SELECT kind, gross_minor FROM billing_answer ORDER BY answer_no")
        .fetch_all(pool)
        .await
        .unwrap();
    let whole = amount(&over[3], "credited").minor();
    let said: Vec<(&str, i64)> = said.iter().map(|(kind, minor)| (kind.as_str(), *minor)).collect();
    let rest = whole - debited;
    assert_eq!(said, [("applied", whole), ("returned", rest), ("debited", debited), ("applied", rest)]);
    assert_eq!(audited(pool, "difference.decide").await, 8);
    books_hold(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_elsewhere_counts_as_credited_in_the_list_of_differences() {
    if is_skipped("what_was_given_elsewhere_counts_as_credited_in_the_list_of_differences") {
        return;
    }
    let world = world(2).await;
    let pool = &world.database.app;
    let doors = doors(pool, november(6)).await;
    send(pool, "given", &[given_line(0, "C-77")], november(4)).await;
    let run = propose(pool, november(5), "run").await;
    assert_eq!(run.total.minor(), due_of_all(2) - 100);
    approve(pool, november(5), "wiremu", &run).await.unwrap();
    assert_eq!(apply(pool, november(5), run.id).await, 2);
    assert_eq!(list_anew(&doors).await["accounts"], 0, "the run and what was given elsewhere are what is due");

    send(pool, "given", &[given_line(1, "C-78")], november(6)).await;
    let head = list_anew(&doors).await;
    assert_eq!((&head["accounts"], &head["over_payments"]), (&json!(1), &json!(1)), "{head}");
    let over = listed(&doors).await;
    assert_eq!((&over[0]["account"], &over[0]["difference"]["amount"]), (&json!(reference(1)), &json!("1.00")));
    assert_eq!(over[0]["credited"]["amount"], nzd(due(mailboxes(1)) + 100).digits());
    let path = over[0]["changes"].as_str().unwrap();
    let changes = doors.get(path, &doors.staff("finn", Role::Finance)).await.json();
    let one_dollar = json!([{ "amount": "1.00", "currency": "NZD" }]);
    assert_eq!(
        changes["changes"],
        json!([{ "kind": "given_elsewhere", "name": "contract", "before": null, "after": one_dollar }])
    );
    // A customer is told of what the receipts hold, and they do not hold this.
    let own = doors.get(path, &doors.customer("hana", &[&reference(1)])).await;
    assert_eq!(own.status, 200, "{}", own.body);
    assert_eq!(own.json()["changes"], json!([]));

    // Nobody decides about a sum that is another by now.
    send(pool, "given", &[given_line(1, "C-79")], november(6)).await;
    let path = format!("/v1/differences/{}/decisions", over[0]["id"].as_str().unwrap());
    let body = json!({ "decision": "keep", "reason": "The customer was told." });
    let stale = doors.post(&path, &doors.staff("finn", Role::Finance), "stale", &body).await;
    assert_eq!(stale.code(), (409, "wrong_state".to_owned()));
    assert!(stale.body.contains("List the differences again"), "{}", stale.body);
    assert_eq!(audited(pool, "difference.decide").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_operations_note_for_each_other_reaches_no_customer() {
    if is_skipped("what_operations_note_for_each_other_reaches_no_customer") {
        return;
    }
    let world = world(1).await;
    let pool = &world.database.app;
    let doors = doors(pool, november(6)).await;
    let operations = doors.staff("sefa", Role::Operations);
    let before = last_recorded(pool).await;
    let note = "The supplier says it was our own change.";
    let body = json!({
        "scope": { "shards": ["mx-07"] }, "capability": "receive", "start": "2026-10-20T00:00:00Z",
        "end": "2026-10-20T02:00:00Z", "note": note,
    });
    let entered = doors.post("/v1/outages", &operations, "open", &body).await;
    assert_eq!(entered.status, 201, "{}", entered.body);
    assert_eq!(entered.json()["note"], note);
    let id = entered.json()["window"]["id"].as_str().unwrap().to_owned();
    let hana = doors.customer("hana", &[&reference(0)]);
    let assessment = format!("/v1/accounts/{}/assessments/2026-10", reference(0));
    for path in [assessment.clone(), format!("{assessment}/changes?from={before}")] {
        let told = doors.get(&path, &hana).await;
        assert_eq!(told.status, 200, "{}", told.body);
        assert!(told.body.contains(&id), "{path} tells of the outage, or the test shows nothing");
        assert!(!told.body.contains("supplier"), "{path}: {}", told.body);
    }
    let mere = doors.staff("mere", Role::Agent);
    for path in [format!("/v1/outages/{id}"), "/v1/outages".to_owned()] {
        assert!(doors.get(&path, &operations).await.body.contains(note), "{path}");
        let agent = doors.get(&path, &mere).await;
        assert!(agent.body.contains(&id) && !agent.body.contains(note), "{path}");
    }
    // It stays with the outage when that is signed off, and nobody knew of it before it was entered.
    sign_off(pool, makegood::domain::ids::WindowId(id.parse().unwrap()), 1, november(6)).await;
    let signed = doors.get(&format!("/v1/outages/{id}"), &operations).await.json();
    assert_eq!((&signed["latest"]["window"]["version"], &signed["latest"]["note"]), (&json!(2), &json!(note)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_held_to_be_true_at_an_earlier_time_is_answered_as_it_was_then() {
    if is_skipped("what_was_held_to_be_true_at_an_earlier_time_is_answered_as_it_was_then") {
        return;
    }
    let world = world(2).await;
    let pool = &world.database.app;
    let doors = doors(pool, november(6)).await;
    let finance = doors.staff("finn", Role::Finance);
    let then = last_recorded(pool).await;
    let account = format!("/v1/accounts/{}", reference(1));
    let paths = [
        format!("{account}/assessments/2026-10"),
        format!("{account}/placements"),
        format!("{account}/charges"),
        format!("{account}/subscriptions"),
        "/v1/outages".to_owned(),
        format!("/v1/outages/{}", world.window),
    ];
    let ask = async |path: &str| {
        let answer = doors.get(&format!("{path}?as_recorded_at={then}"), &finance).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    };
    let mut yesterday = Vec::new();
    for path in &paths {
        yesterday.push(ask(path).await);
    }
    // Today everything is corrected.
    let (start, _) = outage();
    let sefa = staff("sefa", Role::Operations);
    let amended = AmendOutage {
        version: 2,
        reason: "Two hours.".to_owned(),
        end: Some(start.plus(2 * HOUR)),
        ..AmendOutage::default()
    };
    amend_outage(pool, november(7), &sefa, &key("amend"), world.window, amended).await.unwrap();
    sign_off(pool, world.window, 3, november(7)).await;
    send(pool, "placements", &[placement_line(1, 0, "mx-08", "2026-10-13T00:00:00Z")], november(7)).await;
    send(pool, "charges", &[charge_line(1, "INV-7000001", 4)], november(7)).await;
    let ended = json!({
        "account": reference(1), "subscription": format!("{}-mail", reference(1)), "plan": "business",
        "valid_from": "2024-01-01T00:00:00Z", "valid_to": "2026-11-05T00:00:00Z",
    });
    send(pool, "subscriptions", &[ended], november(7)).await;
    for (path, before) in paths.iter().zip(&yesterday) {
        assert_eq!(&ask(path).await, before, "{path}");
        let now = doors.get(path, &finance).await.json();
        assert_ne!(&now, before, "{path} says something else now, or the test shows nothing");
    }
    let path = format!("{account}/assessments/2026-10/changes?from={then}");
    let changes = doors.get(&path, &finance).await.json();
    let changed: Vec<(&str, &str)> = changes["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["kind"].as_str().unwrap(), one["name"].as_str().unwrap()))
        .collect();
    let window = world.window.to_string();
    assert_eq!(changed, [("charge", "INV-7000001"), ("mailbox", "7000001-0"), ("outage", window.as_str())]);
    assert_eq!(changes["before"][0]["amount"], nzd(due(3)).digits());
    let nobody = doors.get(&format!("/v1/outages/{window}?as_recorded_at=2026-10-01T00:00:00Z"), &finance).await;
    assert_eq!(nobody.code(), (404, "not_found".to_owned()), "nobody knew of it then");
    let mine = doors.customer("hana", &[&reference(0)]);
    for path in ["placements", "charges", "subscriptions"] {
        let own = doors.get(&format!("/v1/accounts/{}/{path}", reference(0)), &mine).await;
        assert_eq!(own.status, 200, "{}", own.body);
        let other = doors.get(&format!("{account}/{path}"), &mine).await;
        assert_eq!(other.code(), (404, "not_found".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_says_whom_it_hit_what_is_at_stake_and_when_more_is_owed() {
    if is_skipped("an_incident_says_whom_it_hit_what_is_at_stake_and_when_more_is_owed") {
        return;
    }
    let world = world(5).await;
    let pool = &world.database.app;
    let november_charge = |index: usize| {
        let mut line = charge_line(index, &format!("NOV-{}", reference(index)), mailboxes(index));
        line["service_from"] = json!("2026-11-01");
        line["service_to"] = json!("2026-12-01");
        line
    };
    send(pool, "charges", &(0..5).map(november_charge).collect::<Vec<_>>(), november(1)).await;
    let doors = doors(pool, november(6)).await;
    let operations = doors.staff("sefa", Role::Operations);
    let past = doors.get("/v1/incidents/INC-2026-031", &operations).await.json();
    assert_eq!((&past["accounts_affected"], &past["mailboxes_affected"]), (&json!(5), &json!(25)));
    assert_eq!((&past["began"], &past["restored_at"]), (&json!(outage().0), &json!(outage().1)));
    assert_eq!((&past["caught_up_at"], &past["period"]), (&Value::Null, &json!("2026-10")));
    let plan = &past["at_stake"][0];
    assert_eq!(plan["if_it_ended_now"]["amount"], nzd(due_of_all(5)).digits());
    assert_eq!(plan["because_of_it"], plan["if_it_ended_now"]);
    assert_eq!(plan["minutes_to_next"], Value::Null, "it is over");

    // Ten minutes ago, and it goes on. The promise of November breaks after 43 minutes and 12 seconds.
    let body = json!({
        "scope": { "shards": ["mx-07"] }, "capability": "receive", "start": november(6).plus(-10 * MINUTE),
        "incident": "INC-2026-040",
    });
    assert_eq!(doors.post("/v1/outages", &operations, "open", &body).await.status, 201);
    let named = json!({ "name": "INC-2026-040", "title": "The receiving side of mx-07" });
    assert_eq!(doors.post("/v1/incidents", &operations, "named", &named).await.status, 201);
    let now = doors.get("/v1/incidents/INC-2026-040", &operations).await.json();
    assert_eq!((&now["title"], &now["restored_at"]), (&named["title"], &Value::Null));
    let plan = &now["at_stake"][0];
    assert_eq!((&plan["accounts"], &plan["if_it_ended_now"]["amount"]), (&json!(5), &json!("0.00")));
    assert_eq!((&plan["minutes_to_next"], &plan["accounts_stepping_up"]), (&json!(34), &json!(5)));

    let listed = doors.get("/v1/incidents?limit=1", &operations).await.json();
    assert_eq!((&listed["data"][0]["name"], &listed["data"][0]["goes_on"]), (&json!("INC-2026-040"), &json!(true)));
    let path = format!("/v1/incidents?after={}", listed["next"].as_str().unwrap());
    let rest = doors.get(&path, &operations).await.json();
    assert_eq!((&rest["data"][0]["name"], &rest["has_more"]), (&json!("INC-2026-031"), &json!(false)));
    for (changed, pointer) in [
        (json!({ "name": "INC-2026-040", "title": "" }), "/title"),
        (json!({ "name": "INC-2026-040", "title": "x", "restored_at": "2030-01-01T00:00:00Z" }), "/restored_at"),
        (
            json!({
                "name": "INC-2026-040", "title": "x", "restored_at": "2026-11-05T02:00:00Z", "caught_up_at": "2026-11-05T01:00:00Z",
            }),
            "/caught_up_at",
        ),
    ] {
        let refused = doors.post("/v1/incidents", &operations, pointer, &changed).await;
        assert_eq!(refused.json()["errors"][0]["pointer"], pointer, "{}", refused.body);
    }
    assert_eq!(doors.get("/v1/incidents/INC-1", &operations).await.code(), (404, "not_found".to_owned()));
}
