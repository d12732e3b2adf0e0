//! The books: what happens to a credit after it was issued, by everybody at once, and that nothing is lost, doubled or edited by it.

mod support;

#[path = "support/doors.rs"]
mod doors;
#[path = "support/world.rs"]
mod world;

#[path = "books/bank.rs"]
mod bank;
#[path = "books/hostile.rs"]
mod hostile;

use axum::http::StatusCode;
use doors::{Answered, Doors, doors};
use makegood::domain::actor::Role;
use makegood::domain::feed::credit_name;
use makegood::domain::time::DAY;
use makegood::flows::expire_goodwill::expire_goodwill;
use makegood::flows::issue_credits::issue_in;
use makegood::flows::sequence_feed::sequence_feed;
use serde_json::{Value, json};
use sqlx::PgPool;
use support::is_skipped;
use world::*;

/// A small operator with goodwill credits of $25.00 (net 21.74, tax 3.26), and a billing system that has pulled them.
struct Desk {
    world: World,
    doors: Doors,
    finance: String,
    billing: String,
    credits: Vec<String>,
}

impl Desk {
    async fn new(count: u32) -> Desk {
        let world = world(3).await;
        let pool = &world.database.app;
        let mut credits = Vec::new();
        for number in 0..count {
            credits.push(issue(pool, number, 2_500).await);
        }
        let doors = doors(pool, november(20)).await;
        let (finance, billing) = (doors.staff("finn", Role::Finance), doors.machine(Role::Billing, "billing").await);
        let desk = Desk { doors, finance, billing, credits, world };
        desk.pull().await;
        desk
    }

    fn pool(&self) -> &PgPool {
        &self.world.database.app
    }

    /// Numbers what waits and serves all of it; the operations and credits of the items.
    async fn pull(&self) -> Vec<(String, Value)> {
        while sequence_feed(self.pool(), 0, november(20)).await.unwrap() > 0 {}
        let page = self.doors.get("/v1/billing/feed?limit=1000", &self.billing).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let items = page.json()["data"].as_array().unwrap().clone();
        items.into_iter().map(|item| (item["op"].as_str().unwrap().to_owned(), item["credit"].clone())).collect()
    }

    /// The items about one credit after its issue.
    async fn told(&self, credit: &str) -> Vec<(String, String)> {
        let items = self.pull().await.into_iter().skip_while(|(_, body)| body["id"] != credit);
        let about = items.filter(|(op, body)| body["id"] == credit && op != "issue");
        about.map(|(op, body)| (op, body["gross"].as_str().unwrap().to_owned())).collect()
    }

    async fn post(&self, path: &str, key: &str, body: &Value) -> Answered {
        let answer = self.doors.post(path, &self.finance, key, body).await;
        controls_agree(self.pool()).await;
        answer
    }

    async fn reverse(&self, credit: &str, key: &str) -> Answered {
        let body = json!({ "reason": "issued_in_error", "note": "It was another outage." });
        self.post(&format!("/v1/credits/{credit}/reverse"), key, &body).await
    }

    /// One answer of billing: `recorded`, `already` or `refused`.
    async fn say(&self, credit: &str, answer: &str, more: Value) -> String {
        self.say_why(credit, answer, more).await.0
    }

    async fn say_why(&self, credit: &str, answer: &str, more: Value) -> (String, String) {
        let mut item = json!({ "credit": credit, "answer": answer });
        item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let taken = self.doors.post("/v1/billing/acks", &self.billing, "", &json!({ "items": [item] })).await;
        assert_eq!(taken.status, 200, "{}", taken.body);
        controls_agree(self.pool()).await;
        let one = taken.json()["items"][0].clone();
        (one["result"].as_str().unwrap().to_owned(), one["detail"].as_str().unwrap_or_default().to_owned())
    }

    async fn view(&self, credit: &str) -> Value {
        let view = self.doors.get(&format!("/v1/credits/{credit}"), &self.finance).await;
        assert_eq!(view.status, 200, "{}", view.body);
        view.json()
    }

    async fn standing(&self, credit: &str) -> String {
        self.view(credit).await["standing"].as_str().unwrap().to_owned()
    }

    /// Every account of the books that does not stand at nothing, debits less credits, over the credits named.
    async fn balances(&self, credits: &[&str]) -> Vec<(String, i64)> {
        let ids: Vec<_> = credits.iter().map(|name| makegood::domain::feed::credit_named(name).unwrap().0).collect();
        sqlx::query_as(
            "SELECT code, sum(minor)::bigint FROM (
                 SELECT debit AS code, amount_minor AS minor FROM transfer WHERE document = ANY ($1)
                 UNION ALL SELECT credit, -amount_minor FROM transfer WHERE document = ANY ($1)) AS leg
             GROUP BY code HAVING sum(minor) <> 0 ORDER BY code",
        )
        .bind(ids)
        .fetch_all(self.pool())
        .await
        .unwrap()
    }

    /// Which of the credits are listed as not finally answered, and how.
    async fn open(&self) -> Vec<(String, String)> {
        let page = self.doors.get("/v1/billing/unacknowledged?limit=1000", &self.billing).await.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        page["data"].as_array().unwrap().iter().map(|one| (text(&one["credit"]["id"]), text(&one["state"]))).collect()
    }
}

/// Issues goodwill to the first account and names it.
async fn issue(pool: &PgPool, number: u32, gross: i64) -> String {
    let one = goodwill(0, number, gross, november(20));
    let mut tx = pool.begin().await.unwrap();
    assert_eq!(issue_in(&mut tx, std::slice::from_ref(&one)).await.unwrap(), 1);
    tx.commit().await.unwrap();
    credit_name(one.credit.id)
}

fn pairs(expected: &[(&str, i64)]) -> Vec<(String, i64)> {
    expected.iter().map(|(code, minor)| ((*code).to_owned(), *minor)).collect()
}

fn told(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(op, gross)| ((*op).to_owned(), (*gross).to_owned())).collect()
}

#[tokio::test]
async fn a_credit_is_taken_back_wherever_it_stands_and_nothing_is_left_of_it() {
    if is_skipped("a_credit_is_taken_back_wherever_it_stands_and_nothing_is_left_of_it") {
        return;
    }
    let desk = Desk::new(6).await;
    let [waiting, applied, parts, held, raced, refused] =
        desk.credits.iter().map(String::as_str).collect::<Vec<_>>().try_into().unwrap();
    let bill = |name: &str| json!({ "reference": name, "date": "2026-12-05" });

    // On no bill: the books follow billing's word.
    let reversed = desk.reverse(waiting, "r1").await;
    assert_eq!(reversed.status, 201, "{}", reversed.body);
    let body = reversed.json();
    assert_eq!((&body["standing"], &body["cancelled"]["amount"]), (&json!("reversing"), &json!("25.00")));
    assert_eq!((&body["debited"], &body["written_off"]), (&Value::Null, &Value::Null));
    assert_eq!(desk.reverse(waiting, "r1").await.body, reversed.body, "the same key is the same reversal");
    assert_eq!(desk.balances(&[waiting]).await, pairs(&[("GOODWILL", 2_174), ("OWED", -2_500), ("TAX_PENDING", 326)]));
    assert_eq!(desk.say(waiting, "cancelled", json!({})).await, "refused", "it was not told yet");
    assert_eq!(desk.told(waiting).await, told(&[("cancel", "25.00")]));
    assert!(desk.open().await.contains(&(waiting.to_owned(), "cancel_waiting".to_owned())));
    assert_eq!(desk.say(waiting, "cancelled", json!({})).await, "recorded");
    assert_eq!(desk.say(waiting, "cancelled", json!({})).await, "already");
    assert_eq!((desk.balances(&[waiting]).await, desk.standing(waiting).await.as_str()), (vec![], "reversed"));
    assert!(desk.open().await.iter().all(|(id, _)| id != waiting));
    assert_eq!(desk.say(waiting, "applied", bill("INV-9")).await, "refused", "nothing is open");

    // On a bill: the customer owes it, until billing has billed it, in two parts.
    assert_eq!(desk.say(applied, "applied", bill("INV-1")).await, "recorded");
    let body = desk.reverse(applied, "r2").await.json();
    assert_eq!((&body["cancelled"], &body["debited"]["amount"]), (&Value::Null, &json!("25.00")));
    assert_eq!(
        desk.balances(&[applied]).await,
        pairs(&[("BILLING", -2_174), ("RECOVERABLE", 2_500), ("TAX_PENDING", -326)])
    );
    assert_eq!(desk.say(applied, "debited", bill("INV-2")).await, "refused", "it was not told yet");
    assert_eq!(desk.told(applied).await, told(&[("debit", "25.00")]));
    assert_eq!(desk.standing(applied).await, "reversing");
    let (result, why) = desk.say_why(applied, "returned", bill("INV-1")).await;
    assert!(result == "refused" && why.contains("debited"), "{why}");
    let ten = json!({ "reference": "INV-2", "date": "2027-01-05", "net": "8.70", "tax": "1.30" });
    assert_eq!(desk.say(applied, "debited", ten.clone()).await, "recorded");
    assert_eq!(desk.say(applied, "debited", ten).await, "already");
    assert!(desk.open().await.contains(&(applied.to_owned(), "debit_waiting".to_owned())));
    assert_eq!(desk.say(applied, "debited", bill("INV-3")).await, "recorded");
    assert_eq!(desk.say(applied, "debited", bill("INV-4")).await, "refused", "more than was debited");
    assert_eq!((desk.balances(&[applied]).await, desk.standing(applied).await.as_str()), (vec![], "reversed"));

    // A part on a bill: that is debited, and the rest is cancelled.
    let part = json!({ "reference": "INV-1", "date": "2026-12-05", "net": "8.70", "tax": "1.30" });
    assert_eq!(desk.say(parts, "applied", part).await, "recorded");
    let body = desk.reverse(parts, "r3").await.json();
    assert_eq!((&body["cancelled"]["amount"], &body["debited"]["amount"]), (&json!("15.00"), &json!("10.00")));
    assert_eq!(desk.told(parts).await, told(&[("cancel", "15.00"), ("debit", "10.00")]));
    assert_eq!(desk.say(parts, "debited", bill("INV-2")).await, "recorded");
    assert_eq!(desk.say(parts, "cancelled", json!({})).await, "recorded");
    assert_eq!((desk.balances(&[parts]).await, desk.standing(parts).await.as_str()), (vec![], "reversed"));

    // With finance: at once, and billing, which refused it, hears nothing.
    assert_eq!(desk.say(held, "refused", json!({ "code": "CLOSED" })).await, "recorded");
    let body = desk.reverse(held, "r4").await.json();
    assert_eq!((&body["standing"], &body["written_off"]["amount"]), (&json!("reversed"), &json!("25.00")));
    assert_eq!((desk.balances(&[held]).await, desk.told(held).await), (vec![], vec![]));

    // Billing puts it on a bill before it has read the cancellation: true all the same, and debited by itself.
    assert_eq!(desk.reverse(raced, "r5").await.status, 201);
    assert_eq!(desk.say(raced, "applied", bill("INV-1")).await, "recorded");
    assert_eq!(desk.told(raced).await, told(&[("cancel", "25.00"), ("debit", "25.00")]));
    assert_eq!(desk.say(raced, "cancelled", json!({})).await, "already", "nothing is left to cancel");
    assert_eq!(desk.say(raced, "debited", bill("INV-2")).await, "recorded");
    assert_eq!((desk.balances(&[raced]).await, desk.standing(raced).await.as_str()), (vec![], "reversed"));

    // Or refuses it then: out of the books at once.
    assert_eq!(desk.reverse(refused, "r6").await.status, 201);
    assert_eq!(desk.say(refused, "refused", json!({ "code": "CLOSED" })).await, "recorded");
    assert_eq!((desk.balances(&[refused]).await, desk.standing(refused).await.as_str()), (vec![], "reversed"));
    assert_eq!(desk.open().await, []);
    books_hold(desk.pool()).await;
}

#[tokio::test]
async fn who_gave_a_credit_does_not_take_it_back_and_a_reversal_is_final() {
    if is_skipped("who_gave_a_credit_does_not_take_it_back_and_a_reversal_is_final") {
        return;
    }
    let desk = Desk::new(2).await;
    let path = format!("/v1/credits/{}/reverse", desk.credits[0]);
    let body = json!({ "reason": "duplicate", "note": "It was given twice." });
    // Credits of this world were proposed by Aroha and approved by Wiremu; what counts is who they are, and not from which door.
    let rows =
        "UPDATE credit SET issued_by = 'https://staff.example|aroha', approved_by = 'https://staff.example|wiremu'";
    assert!(sqlx::query(rows).execute(desk.pool()).await.is_err(), "the application cannot change a credit");
    for (who, role, code) in [
        ("mere", Role::Agent, "forbidden"),
        ("sefa", Role::Operations, "forbidden"),
        ("audit", Role::Auditor, "forbidden"),
        ("ngaire", Role::Admin, "forbidden"),
    ] {
        let refused = desk.doors.post(&path, &desk.doors.staff(who, role), who, &body).await;
        assert_eq!(refused.code(), (403, code.to_owned()), "{who}");
    }
    assert_eq!(audited(desk.pool(), "credit.reverse.refused").await, 4);
    let key = key("own");
    let request = || serde_json::from_value(body.clone()).unwrap();
    for who in ["aroha", "wiremu"] {
        let own_hand = staff(who, Role::Supervisor);
        let own = makegood::flows::reverse_credit::reverse_credit(
            desk.pool(),
            november(20),
            &own_hand,
            &key,
            &desk.credits[0],
            request(),
        );
        assert_eq!(refused(own.await), "four_eyes", "{who}");
    }
    assert_eq!(audited(desk.pool(), "credit.reverse.refused").await, 6);
    for (wrong, code) in [
        (json!({ "reason": "duplicate", "note": "  " }), "invalid_request"),
        (json!({ "reason": "duplicate" }), "invalid_request"),
        (json!({ "reason": "because", "note": "x" }), "invalid_request"),
        (json!({ "reason": "duplicate", "note": "x", "amount": "1.00" }), "invalid_request"),
    ] {
        assert_eq!(desk.post(&path, "wrong", &wrong).await.code(), (422, code.to_owned()), "{wrong}");
    }
    let keyless = desk.doors.post(&path, &desk.finance, "", &body).await;
    assert_eq!(keyless.code(), (400, "idempotency_key_missing".to_owned()));
    let reversal = desk.post(&path, "first", &body).await.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(desk.post(&path, "second", &body).await.code(), (409, "wrong_state".to_owned()));
    let again = desk.post(&format!("/v1/credits/{reversal}/reverse"), "third", &body).await;
    assert_eq!(again.code(), (409, "wrong_state".to_owned()));
    let other = desk.credits[1].replace("crd_", "rev_");
    for unknown in [other.as_str(), "crd_00000000000000000000000000000000", "rev_1", "x"] {
        let answer = desk.post(&format!("/v1/credits/{unknown}/reverse"), "fourth", &body).await;
        assert_eq!(answer.code(), (404, "not_found".to_owned()), "{unknown}");
    }
    assert_eq!(audited(desk.pool(), "credit.reverse").await, 1);
    books_hold(desk.pool()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_reversals_at_once_one_is_made() {
    if is_skipped("of_a_hundred_reversals_at_once_one_is_made") {
        return;
    }
    let desk = Desk::new(2).await;
    assert_eq!(
        desk.say(&desk.credits[1], "applied", json!({ "reference": "INV-1", "date": "2026-12-05" })).await,
        "recorded"
    );
    for credit in &desk.credits {
        let body = json!({ "reason": "duplicate", "note": "It was given twice." });
        let path = format!("/v1/credits/{credit}/reverse");
        let all = futures_util::future::join_all((0..100).map(|number| {
            let (path, body, desk) = (&path, &body, &desk);
            async move { desk.doors.post(path, &desk.finance, &format!("{credit}-{number}"), body).await.status }
        }))
        .await;
        let count = |status| all.iter().filter(|one| **one == status).count();
        assert_eq!((count(StatusCode::CREATED), count(StatusCode::CONFLICT)), (1, 99), "{all:?}");
    }
    let deeds: i64 = sqlx::query_scalar("SELECT count(*) FROM credit_deed WHERE kind = 'reversed'")
        .fetch_one(desk.pool())
        .await
        .unwrap();
    assert_eq!((deeds, audited(desk.pool(), "credit.reverse").await), (2, 2));
    books_hold(desk.pool()).await;
}

#[tokio::test]
async fn what_billing_refused_is_offered_again_set_aside_or_paid_out() {
    if is_skipped("what_billing_refused_is_offered_again_set_aside_or_paid_out") {
        return;
    }
    let desk = Desk::new(3).await;
    let (again, paid, aside) = (&desk.credits[0], &desk.credits[1], &desk.credits[2]);
    let note = json!({ "note": "The customer called." });
    let door = |credit: &str, deed: &str| format!("/v1/credits/{credit}/{deed}");
    assert_eq!(desk.post(&door(again, "offer"), "o0", &note).await.code(), (409, "wrong_state".to_owned()));
    for credit in [again, paid, aside] {
        assert_eq!(desk.say(credit, "refused", json!({ "code": "CLOSED" })).await, "recorded");
        assert_eq!(
            desk.balances(&[credit]).await,
            pairs(&[("GOODWILL", 2_174), ("HELD", -2_500), ("TAX_PENDING", 326)])
        );
    }
    assert_eq!(desk.open().await, [], "what was refused is finally answered");
    let supervisor = desk.doors.staff("talia", Role::Supervisor);
    let denied = desk.doors.post(&door(again, "offer"), &supervisor, "o1", &note).await;
    assert_eq!(denied.code(), (403, "forbidden".to_owned()), "finance alone");

    // Offered again is a new item, answered for itself: the same refusal once more is another one.
    let offered = desk.post(&door(again, "offer"), "o2", &note).await;
    assert_eq!((offered.status.as_u16(), &offered.json()["standing"]), (201, &json!("waiting")));
    assert_eq!(desk.post(&door(again, "offer"), "o3", &note).await.code(), (409, "wrong_state".to_owned()));
    let bill = json!({ "reference": "INV-1", "date": "2026-12-05" });
    assert_eq!(desk.say(again, "applied", bill.clone()).await, "refused", "the offer was not pulled yet");
    assert_eq!(desk.told(again).await, told(&[("offer", "25.00")]));
    assert_eq!(desk.open().await, [(again.clone(), "offered_again".to_owned())]);
    assert_eq!(desk.say(again, "refused", json!({ "code": "CLOSED" })).await, "recorded");
    assert_eq!(desk.post(&door(again, "offer"), "o4", &note).await.status, 201);
    assert_eq!(desk.told(again).await, told(&[("offer", "25.00"), ("offer", "25.00")]));
    assert_eq!(desk.say(again, "accepted", json!({})).await, "recorded");
    assert_eq!(desk.say(again, "applied", bill.clone()).await, "recorded");
    assert_eq!(desk.standing(again).await, "applied");
    assert_eq!(desk.balances(&[again]).await, pairs(&[("BILLING", -2_174), ("GOODWILL", 2_174)]));

    // Paid out in money, once; billing makes the tax document.
    let payment = json!({ "note": "The account is closed.", "reference": "PAY-1" });
    let (own_hand, own_key) = (staff("wiremu", Role::Finance), key("own"));
    let own = makegood::flows::settle_held::settle_held(
        desk.pool(),
        november(20),
        &own_hand,
        &own_key,
        paid,
        makegood::flows::settle_held::Settling::Pay("PAY-0".to_owned()),
        serde_json::from_value(note.clone()).unwrap(),
    );
    assert_eq!(refused(own.await), "four_eyes");
    assert_eq!(desk.post(&door(paid, "payment"), "p0", &json!({ "note": "x", "reference": " " })).await.status, 422);
    let done = desk.post(&door(paid, "payment"), "p1", &payment).await;
    assert_eq!((done.status.as_u16(), &done.json()["amount"]["amount"]), (201, &json!("25.00")));
    assert_eq!(desk.post(&door(paid, "payment"), "p2", &payment).await.code(), (409, "wrong_state".to_owned()));
    assert_eq!(desk.balances(&[paid]).await, pairs(&[("BILLING", 326), ("CASH", -2_500), ("GOODWILL", 2_174)]));
    assert_eq!(desk.reverse(paid, "p3").await.code(), (409, "wrong_state".to_owned()));
    assert_eq!(desk.standing(paid).await, "paid");

    // Nobody comes for it; and then somebody does.
    assert_eq!(desk.post(&door(aside, "unclaimed"), "u1", &note).await.status, 201);
    assert_eq!(desk.post(&door(aside, "unclaimed"), "u2", &note).await.code(), (409, "wrong_state".to_owned()));
    assert_eq!(
        desk.balances(&[aside]).await,
        pairs(&[("GOODWILL", 2_174), ("TAX_PENDING", 326), ("UNCLAIMED", -2_500)])
    );
    assert_eq!(desk.standing(aside).await, "unclaimed");
    assert_eq!(desk.post(&door(aside, "offer"), "u3", &note).await.status, 201);
    desk.pull().await;
    assert_eq!(desk.say(aside, "applied", bill).await, "recorded");
    assert_eq!(desk.balances(&[aside]).await, pairs(&[("BILLING", -2_174), ("GOODWILL", 2_174)]));
    for action in ["credit.offer", "credit.pay", "credit.unclaim"] {
        assert!(audited(desk.pool(), action).await > 0, "{action}");
    }
    books_hold(desk.pool()).await;
}

#[tokio::test]
async fn a_bill_by_another_name_is_kept_beside_the_first_and_a_cent_of_tax_is_rounding() {
    if is_skipped("a_bill_by_another_name_is_kept_beside_the_first_and_a_cent_of_tax_is_rounding") {
        return;
    }
    let desk = Desk::new(3).await;
    let (named, cent, parts) = (&desk.credits[0], &desk.credits[1], &desk.credits[2]);
    let bill = |name: &str| json!({ "reference": name, "date": "2026-12-05" });
    let amounts =
        |name: &str, net: &str, tax: &str| json!({ "reference": name, "date": "2026-12-05", "net": net, "tax": tax });
    // A slip of the pen in a date would stand in the books for good.
    for date in ["2062-12-05", "1999-12-05", "-9999-01-01"] {
        assert_eq!(
            desk.say(named, "applied", json!({ "reference": "INV-0", "date": date })).await,
            "refused",
            "{date}"
        );
    }
    // Billing came back from its backup and applied the same under another number: nothing is posted twice.
    assert_eq!(desk.say(named, "applied", bill("INV-1")).await, "recorded");
    let once = desk.balances(&[named]).await;
    assert_eq!(desk.say(named, "applied", amounts("INV-8", "10.00", "1.50")).await, "refused", "other amounts");
    assert_eq!(desk.say(named, "applied", bill("INV-9")).await, "recorded");
    assert_eq!(desk.say(named, "applied", bill("INV-9")).await, "already");
    assert_eq!(desk.say(named, "applied", bill("INV-1")).await, "already", "a late retry of the first");
    assert_eq!(desk.balances(&[named]).await, once);
    let view = desk.view(named).await;
    assert_eq!((&view["bills"], &view["superseded_bills"]), (&json!(["INV-9"]), &json!(["INV-1"])));
    let (result, why) = desk.say_why(named, "returned", bill("INV-1")).await;
    assert!(result == "refused" && why.contains("INV-9"), "{why}");
    assert_eq!(desk.say(named, "returned", bill("INV-9")).await, "recorded");
    assert_eq!(desk.standing(named).await, "returned");
    assert_eq!(desk.say(named, "superseding", bill("INV-9")).await, "refused", "no word of billing's");

    // Billing's own net and tax stand in the books; the cent goes to ROUNDING, and comes back with the bill.
    assert_eq!(desk.say(cent, "applied", amounts("INV-1", "21.72", "3.28")).await, "refused", "two cents");
    assert_eq!(desk.say(cent, "applied", amounts("INV-1", "21.73", "3.27")).await, "recorded");
    assert_eq!(desk.balances(&[cent]).await, pairs(&[("BILLING", -2_173), ("GOODWILL", 2_174), ("ROUNDING", -1)]));
    assert_eq!(desk.say(cent, "returned", bill("INV-1")).await, "recorded");
    assert_eq!(desk.balances(&[cent]).await, pairs(&[("GOODWILL", 2_174), ("OWED", -2_500), ("TAX_PENDING", 326)]));
    assert_eq!(desk.say(cent, "applied", amounts("INV-2", "21.75", "3.25")).await, "recorded");
    assert_eq!(desk.balances(&[cent]).await, pairs(&[("BILLING", -2_175), ("GOODWILL", 2_174), ("ROUNDING", 1)]));

    // In parts with a cent each way: what is pending comes out at nothing.
    assert_eq!(desk.say(parts, "applied", amounts("INV-1", "8.69", "1.31")).await, "recorded");
    assert_eq!(
        desk.say(parts, "applied", json!({ "reference": "INV-2", "net": "4.00" })).await,
        "refused",
        "net alone"
    );
    assert_eq!(
        desk.say(parts, "applied", json!({ "reference": "INV-2", "net": "-4.00", "tax": "9.00" })).await,
        "refused"
    );
    assert_eq!(desk.say(parts, "applied", amounts("INV-2", "13.05", "1.95")).await, "recorded");
    assert_eq!(desk.balances(&[parts]).await, pairs(&[("BILLING", -2_174), ("GOODWILL", 2_174)]));
    books_hold(desk.pool()).await;
}

#[tokio::test]
async fn cents_of_tax_are_limited_together() {
    if is_skipped("cents_of_tax_are_limited_together") {
        return;
    }
    let desk = Desk::new(4).await;
    let mut conn = desk.pool().acquire().await.unwrap();
    let mut settings = settings();
    settings.credits.rounding_limit_minor = 2;
    makegood::store::operator::put(&mut conn, &settings).await.unwrap();
    drop(conn);
    let items: Vec<Value> = desk
        .credits
        .iter()
        .map(|credit| json!({ "credit": credit, "answer": "applied", "reference": "INV-1", "net": "21.73", "tax": "3.27" }))
        .collect();
    let taken = desk.doors.post("/v1/billing/acks", &desk.billing, "", &json!({ "items": items })).await.json();
    assert_eq!((&taken["recorded"], &taken["refused"]), (&json!(2), &json!(2)), "{taken}");
    books_hold(desk.pool()).await;
}

#[tokio::test]
async fn what_was_reversed_no_longer_counts_as_given_and_the_next_run_gives_it_anew() {
    if is_skipped("what_was_reversed_no_longer_counts_as_given_and_the_next_run_gives_it_anew") {
        return;
    }
    let world = world(3).await;
    let pool = &world.database.app;
    let run = propose(pool, november(5), "run").await;
    approve(pool, november(5), "wiremu", &run).await.unwrap();
    assert_eq!(apply(pool, november(5), run.id).await, 3);
    let stale = propose(pool, november(6), "stale").await;
    assert_eq!(stale.total.minor(), 0);
    let doors = doors(pool, november(7)).await;
    let finance = doors.staff("finn", Role::Finance);
    let id: uuid::Uuid = sqlx::query_scalar("SELECT credit_id FROM credit WHERE account_id = $1")
        .bind(world.accounts[1].0)
        .fetch_one(pool)
        .await
        .unwrap();
    let credit = credit_name(makegood::domain::ids::CreditId(id));
    let body = json!({ "reason": "issued_in_error", "note": "It went out under a wrong name." });
    let reversed = doors.post(&format!("/v1/credits/{credit}/reverse"), &finance, "r", &body).await;
    assert_eq!(reversed.status, 201, "{}", reversed.body);
    assert_eq!(refused(approve(pool, november(7), "wiremu", &stale).await), "plan_stale", "it was made before that");
    let again = propose(pool, november(8), "again").await;
    assert_eq!((again.total.minor(), again.credits), (due(mailboxes(1)), 1));
    approve(pool, november(8), "wiremu", &again).await.unwrap();
    assert_eq!(apply(pool, november(8), again.id).await, 1);
    let generations: Vec<i32> =
        sqlx::query_scalar("SELECT generation FROM credit WHERE account_id = $1 ORDER BY generation")
            .bind(world.accounts[1].0)
            .fetch_all(pool)
            .await
            .unwrap();
    assert_eq!(generations, [0, 1]);
    assert_eq!(propose(pool, november(9), "nothing").await.total.minor(), 0);
    books_hold(pool).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_who_issue_the_same_at_once_one_does() {
    if is_skipped("of_a_hundred_who_issue_the_same_at_once_one_does") {
        return;
    }
    let world = world(1).await;
    let pool = &world.database.app;
    let one = goodwill(0, 0, 2_500, november(20));
    let issued = futures_util::future::join_all((0..100).map(|_| async {
        let mut tx = pool.begin().await.unwrap();
        let issued = issue_in(&mut tx, std::slice::from_ref(&one)).await.unwrap();
        tx.commit().await.unwrap();
        issued
    }))
    .await;
    assert_eq!(issued.iter().sum::<usize>(), 1);
    assert_eq!((credited(pool).await, audited(pool, "credit.issue").await), ((1, 2_500), 1));
    books_hold(pool).await;
}

#[tokio::test]
async fn goodwill_that_is_on_no_bill_in_time_expires_and_what_is_on_one_stays() {
    if is_skipped("goodwill_that_is_on_no_bill_in_time_expires_and_what_is_on_one_stays") {
        return;
    }
    let desk = Desk::new(4).await;
    let [waiting, parts, applied, raced] =
        desk.credits.iter().map(String::as_str).collect::<Vec<_>>().try_into().unwrap();
    let bill = |name: &str| json!({ "reference": name, "date": "2026-12-05" });
    let part = json!({ "reference": "INV-1", "date": "2026-12-05", "net": "8.70", "tax": "1.30" });
    assert_eq!(desk.say(parts, "applied", part).await, "recorded");
    assert_eq!(desk.say(applied, "applied", bill("INV-1")).await, "recorded");
    let expire = async |day| expire_goodwill(desk.pool(), november(20).plus(day * DAY)).await.unwrap();
    assert_eq!(expire(9_999).await, 0, "never, unless the operator says when");
    let mut settings = settings();
    settings.credits.goodwill_expires_after_days = Some(90);
    let mut conn = desk.pool().acquire().await.unwrap();
    makegood::store::operator::put(&mut conn, &settings).await.unwrap();
    drop(conn);
    assert_eq!(expire(89).await, 0);
    assert_eq!((expire(90).await, expire(90).await, expire(91).await), (3, 0, 0), "each once");
    controls_agree(desk.pool()).await;
    assert_eq!(desk.told(waiting).await, told(&[("cancel", "25.00")]));
    assert_eq!(desk.told(parts).await, told(&[("cancel", "15.00")]));
    assert_eq!(desk.say(waiting, "cancelled", json!({})).await, "recorded");
    assert_eq!((desk.balances(&[waiting]).await, desk.standing(waiting).await.as_str()), (vec![], "expired"));
    assert_eq!(desk.say(parts, "cancelled", json!({})).await, "recorded");
    assert_eq!(desk.balances(&[parts]).await, pairs(&[("BILLING", -870), ("GOODWILL", 870)]));
    // Billing was in time: it stays on the bill, and nothing is debited.
    assert_eq!(desk.say(raced, "applied", bill("INV-1")).await, "recorded");
    assert_eq!(desk.say(raced, "cancelled", json!({})).await, "already");
    assert_eq!(desk.balances(&[raced]).await, pairs(&[("BILLING", -2_174), ("GOODWILL", 2_174)]));
    assert_eq!(desk.standing(raced).await, "applied");
    // The bill run is rolled back: its time is over too, whether billing had answered for the rest of it or not.
    assert_eq!(desk.say(parts, "returned", bill("INV-1")).await, "recorded");
    assert_eq!((desk.balances(&[parts]).await, desk.standing(parts).await.as_str()), (vec![], "expired"));
    assert_eq!(desk.say(raced, "returned", bill("INV-1")).await, "recorded");
    assert_eq!(desk.standing(raced).await, "reversing");
    assert_eq!(desk.say(raced, "cancelled", json!({})).await, "recorded");
    assert_eq!((desk.balances(&[raced]).await, desk.standing(raced).await.as_str()), (vec![], "expired"));
    assert_eq!(desk.reverse(waiting, "late").await.code(), (409, "wrong_state".to_owned()));
    assert_eq!(audited(desk.pool(), "credit.expire").await, 3);
    books_hold(desk.pool()).await;
}
