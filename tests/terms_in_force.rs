//! Which terms judge a month: those that were in force when it happened, whatever was published later.

mod support;
#[path = "support/world.rs"]
mod world;

use makegood::domain::actor::Role;
use makegood::domain::receipt::Receipt;
use makegood::flows::publish_terms::{PublishTerms, publish_terms};
use makegood::store::inputs::{self, Evidence};
use makegood::store::{accounts, evidence, operator};
use serde_json::{Value, json};
use sqlx::PgPool;
use support::is_skipped;
use world::{at, key, november, october, propose, publish_changed, reference, staff, world};

const BUSINESS: &str = include_str!("../assets/terms/business.yaml");

fn business() -> Value {
    serde_saphyr::from_str(BUSINESS).unwrap()
}

/// The receipt of the first account over October, over what is recorded now.
async fn receipt(pool: &PgPool) -> Receipt {
    let mut conn = pool.acquire().await.unwrap();
    let recorded = evidence::settled(&mut conn).await.unwrap();
    let operator = operator::get(&mut conn).await.unwrap();
    let shared = Evidence::load(&mut conn, &operator, october(), recorded, november(5)).await.unwrap();
    let account = accounts::page(&mut conn, None, 1, Some(recorded)).await.unwrap().remove(0);
    assert_eq!(account.reference, reference(0));
    let (_, mut loaded) = inputs::load_one(&mut conn, &shared, account.id).await.unwrap().unwrap();
    Receipt::of(loaded.remove(0).inputs.unwrap()).unwrap()
}

#[tokio::test]
async fn terms_that_change_inside_a_month_judge_what_they_say_they_do() {
    if is_skipped("terms_that_change_inside_a_month_judge_what_they_say_they_do") {
        return;
    }
    // One mailbox at $12.50; 22 hours down on 13 and 14 October. New terms from the 15th on credit 30 % in the tier that
    // credited 25 %.
    for (word, total) in [
        // 1,320 of the 20,160 minutes of fourteen days: below 95 %, so all of 14/31 of the fee.
        ("split_period", 565),
        // The old terms against the whole month: a quarter.
        ("terms_at_outage", 313),
        // The new terms.
        ("terms_at_period_end", 375),
    ] {
        let world = world(1).await;
        let pool = &world.database.app;
        let mut terms = business();
        terms["remedies"][0]["schedule"]["tiers"][1]["pays"]["percent"] = json!("30");
        terms["change_in_period"] = json!(word);
        publish_changed(pool, november(4), "changed", terms, "2026-10-14T11:00:00Z").await;
        // What takes effect in November is nothing for October.
        let mut later = business();
        later["remedies"][0]["schedule"]["tiers"][1]["pays"]["percent"] = json!("99");
        publish_changed(pool, november(4), "later", later, "2026-10-31T11:00:00Z").await;
        let receipt = receipt(pool).await;
        let versions: Vec<i32> = receipt.inputs.agreements.iter().map(|one| one.terms_version).collect();
        assert_eq!(versions, [1, 2], "{word}");
        Receipt::verify(&receipt.to_json()).unwrap();
        let run = propose(pool, november(5), "run").await;
        assert_eq!(run.total.minor(), total, "{word}\n{}", receipt.text());
    }
}

#[tokio::test]
async fn a_plan_that_pays_on_request_is_not_paid_by_a_run() {
    if is_skipped("a_plan_that_pays_on_request_is_not_paid_by_a_run") {
        return;
    }
    let world = world(1).await;
    let pool = &world.database.app;
    let mut terms = business();
    terms["payment"] = json!({"on_request": {"within": {"days": 30}}});
    publish_changed(pool, november(4), "asked", terms, "2026-01-31T11:00:00Z").await;
    let run = propose(pool, november(5), "run").await;
    assert_eq!((run.total.minor(), run.credits, run.held_back_accounts), (0, 0, 1));
}

#[tokio::test]
async fn terms_that_look_at_what_is_not_recorded_are_refused_by_place() {
    if is_skipped("terms_that_look_at_what_is_not_recorded_are_refused_by_place") {
        return;
    }
    let world = world(1).await;
    let pool = &world.database.app;
    let pause = json!([{"kind": "waiting_for_customer", "and_hours_after": 0, "removes_from": "numerator"}]);
    let only = json!({"only": {"when": {"all_of": ["gold"]}, "pays": {"percent": "10"}}});
    for (place, value, pointer) in [
        ("/clock/starts", json!("when_reported"), "/terms/clock/starts"),
        ("/clock/pauses", pause, "/terms/clock/pauses/0"),
        ("/set_off", json!(["goodwill"]), "/terms/set_off"),
        ("/payout", json!("cash"), "/terms/payout"),
        ("/time/period", json!("calendar_quarter"), "/terms/time/period"),
        ("/remedies/0/when", json!({"none_of": ["gold"]}), "/terms/remedies/0"),
        ("/remedies/0/schedule/tiers/0/pays", only, "/terms/remedies/0"),
        ("/remedies/0/base/charges", json!({"only": ["usage"]}), "/terms/remedies/0/base/charges"),
    ] {
        let mut terms = business();
        let (parent, name) = place.rsplit_once('/').unwrap();
        terms.pointer_mut(parent).unwrap()[name] = value;
        let request = PublishTerms { effective_from: at("2026-11-30T11:00:00Z"), terms };
        let author = staff("ada", Role::Admin);
        let error = publish_terms(pool, november(4), &author, &key(place), "business", request).await.unwrap_err();
        let refusal = error.refusal();
        let pointers: Vec<&str> = refusal.errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, [pointer], "{refusal:?}");
        assert!(refusal.errors[0].message.contains("makegood evaluate"), "{refusal:?}");
    }
}
