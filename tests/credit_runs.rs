//! Credit runs: proposed by one, approved by another, applied exactly and once, whatever happens at the same time.

mod support;

#[path = "support/world.rs"]
mod world;

use makegood::domain::actor::Role;
use makegood::domain::course::ReversalReason;
use makegood::domain::goodwill::Matrix;
use makegood::domain::ids::CreditRunId;
use makegood::domain::time::{HOUR, Instant, SECOND};
use makegood::flows::amend_outage::{AmendOutage, amend_outage};
use makegood::flows::apply_credit_run::{Step, apply_step};
use makegood::flows::assess_period::assess_period;
use makegood::flows::propose_credit_run::{CreditRun, ProposeCreditRun, propose_credit_run};
use makegood::flows::propose_goodwill::{ProposeGoodwill, propose_goodwill};
use makegood::flows::publish_terms::{PublishTerms, publish_terms};
use makegood::flows::reverse_credit::{ReverseCredit, reverse_credit};
use makegood::flows::reverse_credit_run::{ReverseCreditRun, reverse_credit_run};
use makegood::http::run_preview;
use makegood::store::{Error, run_reports, runs};
use serde_json::{Value, json};
use sqlx::PgPool;
use support::is_skipped;
use uuid::Uuid;
use world::*;

#[tokio::test]
async fn a_run_gives_each_account_its_rounded_amount_and_the_credits_sum_to_the_total() {
    if is_skipped("a_run_gives_each_account_its_rounded_amount_and_the_credits_sum_to_the_total") {
        return;
    }
    let world = world(25).await;
    let pool = &world.database.app;
    let run = propose(pool, november(5), "run").await;
    assert_eq!((run.total.minor(), run.credits, run.state.as_str()), (due_of_all(25), 25, "proposed"));
    assert_eq!(run.credited_accounts + run.held_back_accounts + run.nothing_due_accounts, run.affected_accounts);
    assert_ne!(due_of_all(25) * 10, (0..25).map(|index| mailboxes(index) * 3_125).sum::<i64>(), "no half cent is lost");
    assert_eq!(approve(pool, november(5), "wiremu", &run).await.unwrap().status, 202);
    assert_eq!(credited(pool).await, (0, 0), "nothing is issued before the run is applied");
    assert_eq!(apply(pool, november(5), run.id).await, 25);
    assert_eq!(credited(pool).await, (25, run.total.minor()));
    let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(
        "SELECT DISTINCT reference, gross_minor, net_minor, tax_minor FROM credit JOIN account USING (account_id) ORDER BY 1",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    for (index, (name, gross, net, tax)) in rows.iter().enumerate() {
        assert_eq!((name, *gross), (&reference(index), due(mailboxes(index))));
        // Fifteen percent are in it: 3/23, rounded half up once.
        assert_eq!((*tax, *net), ((gross * 6 + 23) / 46, gross - tax), "{name}");
    }
    assert_eq!(state(pool, run.id).await, "applied");
    assert_eq!((audited(pool, "credit.issue").await, audited(pool, "credit_run.applied").await), (25, 1));
    books_hold(pool).await;

    // Once more, and by a second run over the same evidence.
    assert_eq!(apply_step(pool, run.id, november(5)).await.unwrap(), Step::Done);
    let again = propose(pool, november(5), "again").await;
    assert_eq!((again.total.minor(), again.credits, again.nothing_due_accounts), (0, 0, 25));
    approve(pool, november(5), "wiremu", &again).await.unwrap();
    assert_eq!(apply(pool, november(5), again.id).await, 0);
    assert_eq!(credited(pool).await, (25, run.total.minor()));
    books_hold(pool).await;
}

async fn state(pool: &PgPool, run: CreditRunId) -> String {
    sqlx::query_scalar("SELECT state FROM credit_run WHERE run_id = $1").bind(run.0).fetch_one(pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_who_approve_at_once_one_does_and_the_credits_are_issued_once() {
    if is_skipped("of_two_who_approve_at_once_one_does_and_the_credits_are_issued_once") {
        return;
    }
    let world = world(5).await;
    let pool = &world.database.app;
    for round in 0..20 {
        // Each round finds a little more: another mailbox of the first account was down.
        if round > 0 {
            let box_number = 100 + round;
            send(pool, "placements", &[placement_line(0, box_number, "mx-07", "2024-01-01T00:00:00Z")], november(5))
                .await;
            send(pool, "charges", &[charge_line(0, "INV-7000000", 1 + round)], november(5)).await;
        }
        let run = propose(pool, november(5), &format!("run-{round}")).await;
        assert!(run.total.is_positive(), "round {round}");
        let before = credited(pool).await;
        let gate = tokio::sync::Barrier::new(2);
        let one = async |who: &'static str| {
            gate.wait().await;
            approve(pool, november(5), who, &run).await
        };
        let (first, second) = tokio::join!(one("wiremu"), one("talia"));
        let answers = [first.map(|one| one.status), second.map(|one| one.status)];
        let won = answers.iter().filter(|one| matches!(one, Ok(202))).count();
        let lost: Vec<&str> =
            answers.iter().filter_map(|one| one.as_ref().err()).map(|error| error.refusal().code.name()).collect();
        assert_eq!((won, lost.as_slice()), (1, &["wrong_state"][..]), "round {round}");
        let (a, b, c) = tokio::join!(
            apply(pool, november(5), run.id),
            apply(pool, november(5), run.id),
            apply(pool, november(5), run.id)
        );
        assert_eq!(a + b + c, usize::try_from(run.credits).unwrap(), "round {round}");
        let after = credited(pool).await;
        assert_eq!((after.0 - before.0, after.1 - before.1), (run.credits, run.total.minor()), "round {round}");
    }
    assert_eq!(audited(pool, "credit_run.approve").await, 20);
    books_hold(pool).await;
}

#[tokio::test]
async fn a_proposer_a_wrong_total_and_a_plan_that_expired_are_refused() {
    if is_skipped("a_proposer_a_wrong_total_and_a_plan_that_expired_are_refused") {
        return;
    }
    let world = world(3).await;
    let pool = &world.database.app;
    let run = propose(pool, november(5), "run").await;
    assert_eq!(refused(approve(pool, november(5), "aroha", &run).await), "four_eyes");
    let tried: Vec<(String, String, Value)> =
        sqlx::query_as("SELECT actor, subject, detail FROM audit WHERE action = 'credit_run.approve.refused'")
            .fetch_all(pool)
            .await
            .unwrap();
    assert_eq!(tried, [("staff|aroha".to_owned(), run.id.to_string(), json!({ "code": "four_eyes" }))]);
    for total in ["", "0.00", "41.25", "$46.89", "46.89 NZD", "4689", "1e2"] {
        let name = format!("wrong-{total}");
        let wrong = approve_total(pool, november(5), "wiremu", &name, run.id, total.to_owned()).await;
        assert_eq!(refused(wrong), "total_differs", "{total:?}");
    }
    let last = run.expires_at.plus(-SECOND);
    assert_eq!(refused(approve(pool, run.expires_at, "wiremu", &run).await), "plan_expired");
    assert_eq!(state(pool, run.id).await, "proposed");
    assert_eq!(apply(pool, november(5), run.id).await, 0, "what nobody approved is not applied");
    assert_eq!(approve(pool, last, "wiremu", &run).await.unwrap().status, 202);
    assert_eq!(apply(pool, november(5), run.id).await, 3);
    assert_eq!(credited(pool).await, (3, due_of_all(3)));
    books_hold(pool).await;
}

/// Evidence that arrives after a plan was made, and what October is worth to the first account after it.
#[derive(Clone, Copy, Debug)]
enum Late {
    Window,
    Placement,
    Charge,
    /// The window turns out to have been in another month.
    WindowMovedAway,
    Retraction,
    Terms,
    /// Billing gave a part of it on its own.
    GivenElsewhere,
    /// The account had left on the day of the outage, before it began.
    Closed,
}

fn closed_line(index: usize, day: &str) -> Value {
    let mut line = account_line(index);
    line["closed_on"] = json!(day);
    line
}

async fn arrive(world: &World, late: Late) {
    let (pool, now) = (&world.database.app, november(6));
    match late {
        Late::Window => {
            let start = at("2026-10-20T00:00:00Z");
            window(pool, "late", "mx-07", start, start.plus(20 * HOUR), now).await;
        }
        Late::Placement => {
            send(pool, "placements", &[placement_line(0, 1, "mx-07", "2024-01-01T00:00:00Z")], now).await;
        }
        Late::Charge => send(pool, "charges", &[charge_line(0, "INV-7000000", 3)], now).await,
        Late::WindowMovedAway | Late::Retraction => {
            let moved = matches!(late, Late::WindowMovedAway);
            let request = AmendOutage {
                version: 2,
                reason: "It was another day.".to_owned(),
                start: moved.then(|| at("2026-11-03T00:00:00Z")),
                end: moved.then(|| at("2026-11-03T22:00:00Z")),
                retract: !moved,
                ..AmendOutage::default()
            };
            let sefa = staff("sefa", Role::Operations);
            amend_outage(pool, now, &sefa, &key("amend"), world.window, request).await.unwrap();
            if moved {
                sign_off(pool, world.window, 3, now).await;
            }
        }
        Late::Terms => {
            let mut terms: Value = serde_saphyr::from_str(include_str!("../assets/terms/business.yaml")).unwrap();
            terms["remedies"][0]["schedule"]["tiers"][1]["pays"]["percent"] = json!("30");
            publish_changed(pool, now, "late", terms, "2026-01-31T11:00:00Z").await;
        }
        Late::GivenElsewhere => send(pool, "given", &[given_line(0, "C-77")], now).await,
        Late::Closed => send(pool, "accounts", &[closed_line(0, "2026-10-13")], now).await,
    }
}

#[tokio::test]
async fn a_plan_is_stale_once_anything_that_it_rests_on_has_changed() {
    if is_skipped("a_plan_is_stale_once_anything_that_it_rests_on_has_changed") {
        return;
    }
    for (late, total) in [
        // Both outages together: under 95 %, and so the whole fee.
        (Late::Window, 1_250),
        // Two mailboxes, one charged: what each one's share of the fee is stays with the terms.
        (Late::Placement, -1),
        (Late::Charge, -1),
        (Late::WindowMovedAway, 0),
        (Late::Retraction, 0),
        (Late::Terms, 375),
        (Late::GivenElsewhere, 213),
        (Late::Closed, 0),
    ] {
        let world = world(1).await;
        let pool = &world.database.app;
        let run = propose(pool, november(5), "run").await;
        assert_eq!(run.total.minor(), 313);
        arrive(&world, late).await;
        assert_eq!(refused(approve(pool, november(6), "wiremu", &run).await), "plan_stale", "{late:?}");
        let aroha = staff("aroha", Role::Supervisor);
        let request = ProposeCreditRun { period: october(), replaces: None };
        let unassessed = propose_credit_run(pool, november(6), &aroha, &key("too-soon"), request).await;
        assert_eq!(refused(unassessed), "plan_stale", "{late:?}: the assessment is as old as the plan");
        let newer = propose(pool, november(6), "newer").await;
        if total >= 0 {
            assert_eq!(newer.total.minor(), total, "{late:?}");
        }
        assert_eq!(approve(pool, november(6), "wiremu", &newer).await.unwrap().status, 202, "{late:?}");
        apply(pool, november(6), newer.id).await;
        assert_eq!(credited(pool).await.1, newer.total.minor(), "{late:?}");
        books_hold(pool).await;
    }
}

#[tokio::test]
async fn what_does_not_touch_the_period_leaves_the_plan_as_it_is() {
    if is_skipped("what_does_not_touch_the_period_leaves_the_plan_as_it_is") {
        return;
    }
    let world = world(2).await;
    let pool = &world.database.app;
    let run = propose(pool, november(5), "run").await;
    let start = at("2026-11-05T00:00:00Z");
    window(pool, "november", "mx-07", start, start.plus(HOUR), november(6)).await;
    send(pool, "placements", &[placement_line(0, 0, "mx-08", "2026-11-05T00:00:00Z")], november(6)).await;
    send(pool, "accounts", &[account_line(2), closed_line(1, "2026-11-05")], november(6)).await;
    let mut september = given_line(0, "C-76");
    september["period"] = json!("2026-09");
    send(pool, "given", &[september], november(6)).await;
    let later = json!({
        "account": reference(2), "subscription": "later", "plan": "business", "valid_from": "2026-11-05T00:00:00Z",
    });
    send(pool, "subscriptions", &[later], november(6)).await;
    assert_eq!(approve(pool, november(6), "wiremu", &run).await.unwrap().status, 202);
    assert_eq!(apply(pool, november(6), run.id).await, 2);
    books_hold(pool).await;
}

#[tokio::test]
async fn late_evidence_after_a_run_pays_the_difference_and_nothing_twice() {
    if is_skipped("late_evidence_after_a_run_pays_the_difference_and_nothing_twice") {
        return;
    }
    let world = world(5).await;
    let pool = &world.database.app;
    let run = propose(pool, november(5), "run").await;
    approve(pool, november(5), "wiremu", &run).await.unwrap();
    apply(pool, november(5), run.id).await;
    arrive(&world, Late::Window).await;
    let difference = propose(pool, november(6), "difference").await;
    let whole: i64 = (0..5).map(|index| mailboxes(index) * 1_250).sum();
    assert_eq!(difference.total.minor(), whole - due_of_all(5));
    approve(pool, november(6), "wiremu", &difference).await.unwrap();
    apply(pool, november(6), difference.id).await;
    assert_eq!(credited(pool).await, (10, whole));
    // And when it was less after all, nothing is taken back and nothing given.
    let request =
        AmendOutage { version: 2, reason: "It was none.".to_owned(), retract: true, ..AmendOutage::default() };
    let sefa = staff("sefa", Role::Operations);
    amend_outage(pool, november(7), &sefa, &key("amend"), world.window, request).await.unwrap();
    let less = propose(pool, november(7), "less").await;
    assert_eq!((less.total.minor(), less.credits), (0, 0));
    books_hold(pool).await;
}

#[tokio::test]
async fn of_two_plans_for_one_period_the_second_is_not_applied_over_the_first() {
    if is_skipped("of_two_plans_for_one_period_the_second_is_not_applied_over_the_first") {
        return;
    }
    // The same evidence twice, and then more evidence before the first plan is applied.
    let world = world(5).await;
    let pool = &world.database.app;
    let first = propose(pool, november(5), "first").await;
    let second = propose(pool, november(5), "second").await;
    approve(pool, november(5), "wiremu", &first).await.unwrap();
    assert_eq!(
        refused(approve(pool, november(5), "wiremu", &second).await),
        "plan_stale",
        "the first waits to be applied"
    );
    arrive(&world, Late::Window).await;
    assess(pool, november(6)).await;
    let aroha = staff("aroha", Role::Supervisor);
    let early = propose_credit_run(
        pool,
        november(6),
        &aroha,
        &key("early"),
        ProposeCreditRun { period: october(), replaces: None },
    )
    .await;
    assert_eq!(refused(early), "wrong_state", "what the first gives is not known to the books yet");
    apply(pool, november(6), first.id).await;
    assert_eq!(refused(approve(pool, november(5), "wiremu", &second).await), "plan_stale");
    let difference = propose(pool, november(6), "difference").await;
    let whole: i64 = (0..5).map(|index| mailboxes(index) * 1_250).sum();
    assert_eq!(difference.total.minor(), whole - due_of_all(5));
    approve(pool, november(6), "wiremu", &difference).await.unwrap();
    assert_eq!(apply(pool, november(6), difference.id).await, usize::try_from(difference.credits).unwrap());
    assert_eq!(credited(pool).await.1, whole);
    books_hold(pool).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_plans_that_are_approved_at_once_issue_what_one_of_them_says() {
    if is_skipped("two_plans_that_are_approved_at_once_issue_what_one_of_them_says") {
        return;
    }
    for round in 0..5 {
        let world = world(3).await;
        let pool = &world.database.app;
        let (first, second) = (propose(pool, november(5), "first").await, propose(pool, november(5), "second").await);
        let gate = tokio::sync::Barrier::new(2);
        let one = async |run: &CreditRun| {
            gate.wait().await;
            approve(pool, november(5), "wiremu", run).await.is_ok()
        };
        let (a, b) = tokio::join!(one(&first), one(&second));
        assert!(a ^ b, "round {round}: {a} {b}");
        apply(pool, november(5), first.id).await;
        apply(pool, november(5), second.id).await;
        assert_eq!(credited(pool).await, (3, due_of_all(3)));
        books_hold(pool).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_period_that_several_compute_at_once_is_computed_whole() {
    if is_skipped("a_period_that_several_compute_at_once_is_computed_whole") {
        return;
    }
    // More than one batch, so that one computing begins while another is in the middle.
    const COUNT: usize = 2_100;
    let world = world(COUNT).await;
    let pool = &world.database.app;
    let aroha = staff("aroha", Role::Supervisor);
    let one = async || assess_period(pool, november(5), &aroha, october()).await.map(|done| done.accounts);
    let seen = tokio::join!(one(), one(), one());
    let count = i64::try_from(COUNT).unwrap();
    for found in [seen.0, seen.1, seen.2] {
        assert_eq!(found.unwrap(), count);
    }
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM assessment").fetch_one(pool).await.unwrap();
    assert_eq!(rows, count);
    let run = propose(pool, november(5), "run").await;
    assert_eq!((run.credits, run.total.minor()), (count, due_of_all(COUNT)));
}

/// The run as whoever approves it sees it.
async fn in_full(pool: &PgPool, run: &CreditRun, now: Instant) -> Value {
    let mut conn = pool.acquire().await.unwrap();
    let stored = runs::find(&mut conn, run.id).await.unwrap().unwrap();
    serde_json::to_value(run_preview::in_full(&mut conn, &stored, now).await.unwrap()).unwrap()
}

/// Digits as minor units.
fn minor(value: &Value) -> i64 {
    value["amount"].as_str().unwrap().replace('.', "").parse().unwrap()
}

#[tokio::test]
async fn a_preview_shows_every_cent_who_is_held_back_and_a_sample_that_nobody_chose() {
    if is_skipped("a_preview_shows_every_cent_who_is_held_back_and_a_sample_that_nobody_chose") {
        return;
    }
    let world = world(40).await;
    let pool = &world.database.app;
    let began = at("2026-10-01T00:00:00Z");
    // One more that was never charged.
    send(pool, "accounts", &[account_line(40)], began).await;
    let subscription = json!({
        "account": reference(40), "subscription": format!("{}-mail", reference(40)), "plan": "business",
        "valid_from": "2024-01-01T00:00:00Z",
    });
    send(pool, "subscriptions", &[subscription], began).await;
    send(pool, "placements", &[placement_line(40, 0, "mx-07", "2024-01-01T00:00:00Z")], began).await;
    let run = propose(pool, november(5), "run").await;
    let full = in_full(pool, &run, november(5)).await;
    assert_eq!((&full["credits"], &full["total_to_type"]), (&json!(40), &json!(run.total.digits())));
    for part in ["distribution", "parts"] {
        let sum: i64 = full[part].as_array().unwrap().iter().map(|one| minor(&one["total"])).sum();
        assert_eq!(sum, run.total.minor(), "{part}: {full}");
    }
    let within = |band: &Value, amount: i64| {
        minor(&band["from"]) <= amount && (band["below"].is_null() || amount < minor(&band["below"]))
    };
    for band in full["distribution"].as_array().unwrap() {
        let count = (0..40).filter(|index| within(band, due(mailboxes(*index)))).count();
        assert_eq!(band["credits"], count, "{band}");
    }
    let held = full["held_back"].as_array().unwrap();
    assert_eq!(held.len(), 1, "{full}");
    assert_eq!(held[0]["account"], reference(40));
    assert!(held[0]["reasons"][0].as_str().unwrap().starts_with("missing_charge:"), "{full}");
    let largest: Vec<i64> = full["largest"].as_array().unwrap().iter().map(|one| minor(&one["amount"])).collect();
    assert_eq!(largest, [[due(9); 8].as_slice(), &[due(7); 2]].concat());
    let sample: Vec<&str> =
        full["sample"].as_array().unwrap().iter().map(|one| one["account"].as_str().unwrap()).collect();
    assert_eq!(sample.len(), 10);
    assert_eq!(in_full(pool, &run, november(5)).await["sample"], full["sample"], "the same plan shows the same sample");
    assert_ne!(full["sample"], full["largest"]);
    assert_eq!(
        (&full["is_expired"], in_full(pool, &run, run.expires_at).await["is_expired"].clone()),
        (&json!(false), json!(true))
    );
    // All lines, page by page.
    let mut conn = pool.acquire().await.unwrap();
    let stored = runs::find(&mut conn, run.id).await.unwrap().unwrap();
    let (mut lines, mut after) = (Vec::new(), None);
    loop {
        let page = run_reports::lines(&mut conn, &stored, None, after, 7).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some((last.account_id, last.subscription_id));
        lines.extend(page);
    }
    assert_eq!(lines.len(), 41);
    assert_eq!(lines.iter().map(|line| line.amount_minor).sum::<i64>(), run.total.minor());
}

#[tokio::test]
async fn a_plan_that_became_stale_is_replaced_by_one_that_says_how_it_differs() {
    if is_skipped("a_plan_that_became_stale_is_replaced_by_one_that_says_how_it_differs") {
        return;
    }
    let world = world(4).await;
    let pool = &world.database.app;
    let first = propose(pool, november(5), "first").await;
    // The second account had left before the outage, the third was given a part elsewhere.
    send(pool, "accounts", &[closed_line(1, "2026-10-13")], november(6)).await;
    send(pool, "given", &[given_line(2, "C-78")], november(6)).await;
    assert_eq!(refused(approve(pool, november(6), "wiremu", &first).await), "plan_stale");
    assess(pool, november(6)).await;
    let aroha = staff("aroha", Role::Supervisor);
    let request = ProposeCreditRun { period: october(), replaces: Some(first.id) };
    let answer = propose_credit_run(pool, november(6), &aroha, &key("second"), request.clone()).await.unwrap();
    let second: CreditRun = serde_json::from_str(&answer.body).unwrap();
    let difference = in_full(pool, &second, november(6)).await["difference"].clone();
    let counts = ["added", "removed", "changed"].map(|name| difference[name].as_i64().unwrap());
    assert_eq!(counts, [0, 1, 1], "{difference}");
    assert_eq!(minor(&difference["removed_total"]), due(3));
    assert_eq!((minor(&difference["changed_before"]), minor(&difference["changed_after"])), (due(5), due(5) - 100));
    assert_eq!(minor(&difference["total_before"]) - minor(&difference["total_after"]), due(3) + 100);
    let lines = difference["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 2, "{difference}");
    assert_eq!((&lines[0]["account"], minor(&lines[0]["before"]["amount"])), (&json!(reference(1)), due(3)));
    assert_eq!(minor(&lines[1]["after"]["amount"]), due(5) - 100);

    let old = approve(pool, november(6), "talia", &first).await;
    assert_eq!(refused(old), "plan_stale", "a plan that was replaced is not approved");
    let once_more = propose_credit_run(pool, november(6), &aroha, &key("third"), request).await;
    assert_eq!(refused(once_more), "wrong_state", "one plan is replaced once");
    assert_eq!(approve(pool, november(6), "wiremu", &second).await.unwrap().status, 202);
    let late = ProposeCreditRun { period: october(), replaces: Some(second.id) };
    apply(pool, november(6), second.id).await;
    let late = propose_credit_run(pool, november(6), &aroha, &key("late"), late).await;
    assert_eq!(refused(late), "wrong_state", "what was approved is not replaced");
    assert_eq!(credited(pool).await.1, second.total.minor());
    books_hold(pool).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn batches_that_many_take_at_once_issue_each_credit_once_and_a_retry_none() {
    if is_skipped("batches_that_many_take_at_once_issue_each_credit_once_and_a_retry_none") {
        return;
    }
    const COUNT: usize = 301;
    let world = world(COUNT).await;
    let pool = &world.database.app;
    let run = propose(pool, november(5), "run").await;
    approve(pool, november(5), "wiremu", &run).await.unwrap();
    let cut = async |size: i64| {
        sqlx::query("DELETE FROM credit_run_batch").execute(&world.database.owner).await.unwrap();
        let mut conn = pool.acquire().await.unwrap();
        runs::cut_into_batches(&mut conn, run.id, size).await.unwrap();
        runs::batches_left(&mut conn, run.id).await.unwrap()
    };
    assert_eq!(cut(10).await, 31);
    // Somebody crashed in the middle of a batch: nothing of it stays, and another takes it.
    let mut crashed = pool.begin().await.unwrap();
    let batch = runs::take_batch(&mut crashed, run.id).await.unwrap().unwrap();
    assert_eq!(batch.no, 1);
    let workers: Vec<usize> = futures_util::future::join_all((0..4).map(|_| apply(pool, november(5), run.id))).await;
    assert_eq!(workers.iter().sum::<usize>(), COUNT - 10, "{workers:?}");
    assert_eq!(apply_step(pool, run.id, november(5)).await.unwrap(), Step::Busy);
    assert_eq!(state(pool, run.id).await, "approved");
    crashed.rollback().await.unwrap();
    assert_eq!(apply(pool, november(5), run.id).await, 10);
    assert_eq!(state(pool, run.id).await, "applied");
    assert_eq!(credited(pool).await, (i64::try_from(COUNT).unwrap(), run.total.minor()));
    books_hold(pool).await;

    // A database that came back from before the batches were noted finds their credits there.
    sqlx::query("UPDATE credit_run SET state = 'approved'").execute(&world.database.owner).await.unwrap();
    assert_eq!(cut(50).await, 7);
    assert_eq!(apply(pool, november(5), run.id).await, 0, "what was issued is not issued again");
    assert_eq!(credited(pool).await, (i64::try_from(COUNT).unwrap(), run.total.minor()));
    assert_eq!(audited(pool, "credit.issue").await, i64::try_from(COUNT).unwrap());
    books_hold(pool).await;
}

/// Two classes, two severities, two areas; `amount` for business, long, on mx-07.
fn matrix(amount: &str, budget: &str) -> Matrix {
    let cell = |class: &str, severity: &str, area: &str| {
        let amount = match (class, severity, area) {
            ("business", "long", "north") => amount,
            ("business", "short", "north") => "2.50",
            _ => "0.00",
        };
        json!({ "class": class, "severity": severity, "area": area, "amount": amount })
    };
    let mut amounts = Vec::new();
    for class in ["business", "home"] {
        for severity in ["short", "long"] {
            amounts.extend(["north", "elsewhere"].map(|area| cell(class, severity, area)));
        }
    }
    serde_json::from_value(json!({
        "classes": [{ "name": "business", "plans": ["business"] }, { "name": "home", "plans": ["home"] }],
        "severities": [{ "name": "short", "from_minutes": 30 }, { "name": "long", "from_minutes": 480 }],
        "areas": [{ "name": "north", "shards": ["mx-07"] }, { "name": "elsewhere" }],
        "amounts": amounts,
        "budget": { "name": "autumn", "amount": budget },
    }))
    .unwrap()
}

async fn goodwill_of(pool: &PgPool, now: Instant, name: &str, request: ProposeGoodwill) -> Result<CreditRun, Error> {
    let aroha = staff("aroha", Role::Supervisor);
    let answer = propose_goodwill(pool, now, &aroha, &key(name), request).await?;
    Ok(serde_json::from_str(&answer.body).unwrap())
}

fn for_incident(matrix: Matrix) -> ProposeGoodwill {
    ProposeGoodwill { incident: Some("INC-2026-031".to_owned()), outage: None, goodwill: matrix, replaces: None }
}

#[tokio::test]
async fn goodwill_is_given_while_the_outage_is_fresh_by_class_severity_and_area_and_once() {
    if is_skipped("goodwill_is_given_while_the_outage_is_fresh_by_class_severity_and_area_and_once") {
        return;
    }
    let world = world(6).await;
    let pool = &world.database.app;
    let (start, end) = outage();
    let now = end.plus(2 * HOUR);
    // The sixth moved away after an hour; another lives elsewhere, where it was down for a day; a third's plan has no class.
    send(pool, "placements", &[placement_line(5, 0, "mx-08", &start.plus(HOUR).to_string())], end).await;
    send(pool, "accounts", &[account_line(6), account_line(7)], end).await;
    let subscription = |index: usize, plan: &str| {
        json!({
            "account": reference(index), "subscription": format!("{}-mail", reference(index)), "plan": plan,
            "valid_from": "2024-01-01T00:00:00Z",
        })
    };
    publish_plan(pool, end, "free").await;
    send(pool, "subscriptions", &[subscription(6, "business"), subscription(7, "free")], end).await;
    let places =
        [placement_line(6, 0, "mx-09", "2024-01-01T00:00:00Z"), placement_line(7, 0, "mx-07", "2024-01-01T00:00:00Z")];
    send(pool, "placements", &places, end).await;
    window(pool, "elsewhere", "mx-09", start, end, now).await;

    let run = goodwill_of(pool, now, "run", for_incident(matrix("15.00", "100.00"))).await.unwrap();
    // Five were down for 22 hours, one for one; elsewhere the matrix says nothing.
    assert_eq!((run.total.minor(), run.credits), (5 * 1_500 + 250, 6), "{run:?}");
    assert_eq!((run.held_back_accounts, run.nothing_due_accounts), (1, 1));
    assert_eq!(run.held_back_by_reason[0].reason, "class_unknown");
    let full = in_full(pool, &run, now).await;
    assert_eq!((minor(&full["budget"]["amount"]), minor(&full["budget"]["given"])), (10_000, 0));
    let parts: Vec<(&str, i64)> = full["parts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| (part["name"].as_str().unwrap(), minor(&part["total"])))
        .collect();
    assert_eq!(parts, [("business, long, north", 7_500), ("business, short, north", 250)]);
    assert_eq!(refused(approve(pool, now, "aroha", &run).await), "four_eyes");
    let wrong = approve_total(pool, now, "wiremu", "wrong", run.id, "77.00".to_owned()).await;
    assert_eq!(refused(wrong), "total_differs");
    assert_eq!(approve(pool, now, "wiremu", &run).await.unwrap().status, 202);
    assert_eq!(apply(pool, now, run.id).await, 6);
    let rows: Vec<(String, i64, i64, String)> = sqlx::query_as(
        "SELECT DISTINCT road, count(*), sum(gross_minor)::bigint, min(effective_on)::text FROM credit GROUP BY road",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    assert_eq!(rows, [("goodwill".to_owned(), 6, 7_750, "2026-10-14".to_owned())]);
    books_hold(pool).await;

    // The same outage again gives nobody anything twice, whatever the matrix says.
    let again = goodwill_of(pool, now, "again", for_incident(matrix("20.00", "100.00"))).await.unwrap();
    assert_eq!((again.total.minor(), again.credits, again.nothing_due_accounts), (0, 0, 7));
    // Nor where the outage is called by its own name.
    let by_window =
        ProposeGoodwill { incident: None, outage: Some(world.window), ..for_incident(matrix("20.00", "100.00")) };
    let by_window = goodwill_of(pool, now, "by-window", by_window).await.unwrap();
    assert_eq!((by_window.total.minor(), by_window.credits), (0, 0), "{by_window:?}");
    // And it takes nothing from what the terms give.
    let contract = propose(pool, november(5), "contract").await;
    assert!(contract.credits >= 5, "{contract:?}");
    let other = goodwill_of(pool, now, "other", for_incident(matrix("20.00", "200.00"))).await;
    assert_eq!(refused(other), "invalid_request", "a budget that is open stays as it is");
}

/// A plan of the business plan's terms under another name.
async fn publish_plan(pool: &PgPool, now: Instant, plan: &str) {
    let terms: Value = serde_saphyr::from_str(include_str!("../assets/terms/business.yaml")).unwrap();
    let request = PublishTerms { effective_from: at("2025-12-31T11:00:00Z"), terms };
    let author = staff("ngaire", Role::Admin);
    publish_terms(pool, now, &author, &key(plan), plan, request).await.unwrap();
}

#[tokio::test]
async fn goodwill_that_rests_on_something_else_by_now_is_refused_and_replaced() {
    if is_skipped("goodwill_that_rests_on_something_else_by_now_is_refused_and_replaced") {
        return;
    }
    let world = world(2).await;
    let pool = &world.database.app;
    let now = outage().1.plus(2 * HOUR);
    let run = goodwill_of(pool, now, "run", for_incident(matrix("15.00", "100.00"))).await.unwrap();
    let sefa = staff("sefa", Role::Operations);
    let shorter = AmendOutage {
        version: 2,
        reason: "The clock was wrong.".to_owned(),
        start: Some(outage().0),
        end: Some(outage().0.plus(HOUR)),
        ..AmendOutage::default()
    };
    amend_outage(pool, now, &sefa, &key("amend"), world.window, shorter).await.unwrap();
    assert_eq!(refused(approve(pool, now, "wiremu", &run).await), "plan_stale");
    let request = ProposeGoodwill { replaces: Some(run.id), ..for_incident(matrix("15.00", "100.00")) };
    let newer = goodwill_of(pool, now, "newer", request).await.unwrap();
    let difference = in_full(pool, &newer, now).await["difference"].clone();
    assert_eq!((&difference["changed"], minor(&difference["total_after"])), (&json!(2), 500), "{difference}");
    let nobody = ProposeGoodwill { incident: Some("INC-0".to_owned()), ..for_incident(matrix("15.00", "100.00")) };
    assert_eq!(refused(goodwill_of(pool, now, "nobody", nobody).await), "not_found");
    let agent = staff("hana", Role::Agent);
    let request = for_incident(matrix("15.00", "100.00"));
    assert_eq!(refused(propose_goodwill(pool, now, &agent, &key("agent"), request).await), "forbidden");
    approve(pool, now, "wiremu", &newer).await.unwrap();
    assert_eq!(apply(pool, now, newer.id).await, 2);
    books_hold(pool).await;
}

/// A3: whatever is approved at once, the runs that name one budget give no more than it.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn sixty_four_goodwill_runs_at_once_stay_within_their_budget() {
    if is_skipped("sixty_four_goodwill_runs_at_once_stay_within_their_budget") {
        return;
    }
    const RUNS: usize = 64;
    const FIT: i64 = 20;
    let world = world(1).await;
    let pool = &world.database.app;
    let (start, end) = outage();
    let now = end.plus(2 * HOUR);
    let mut windows = vec![world.window];
    for number in 1..RUNS {
        windows.push(window(pool, &format!("outage-{number}"), "mx-07", start, end, now).await);
    }
    let mut proposed = Vec::new();
    for (number, window) in windows.iter().enumerate() {
        let goodwill = matrix("15.00", "314.99");
        let request = ProposeGoodwill { incident: None, outage: Some(*window), goodwill, replaces: None };
        proposed.push(goodwill_of(pool, now, &format!("run-{number}"), request).await.unwrap());
    }
    let gate = tokio::sync::Barrier::new(RUNS);
    let one = async |run: &CreditRun| {
        gate.wait().await;
        // A database under 64 at once may be busy; whoever is told so asks again.
        loop {
            match approve(pool, now, "wiremu", run).await {
                Err(error) if error.is_unavailable() => continue,
                other => break other.map(|_| ()).map_err(|error| error.refusal().code.name()),
            }
        }
    };
    let outcomes = futures_util::future::join_all(proposed.iter().map(one)).await;
    let approved = outcomes.iter().filter(|one| one.is_ok()).count();
    assert_eq!(approved, usize::try_from(FIT).unwrap(), "{outcomes:?}");
    assert!(outcomes.iter().all(|one| matches!(one, Ok(()) | Err("over_limit"))), "{outcomes:?}");
    for run in &proposed {
        apply(pool, now, run.id).await;
    }
    assert_eq!(credited(pool).await, (FIT, FIT * 1_500));
    let given: i64 = sqlx::query_scalar("SELECT given_minor FROM goodwill_budget").fetch_one(pool).await.unwrap();
    assert_eq!(given, FIT * 1_500);
    assert_eq!(audited(pool, "credit_run.approve.refused").await, i64::try_from(RUNS).unwrap() - FIT);
    books_hold(pool).await;
}

async fn reverse(pool: &PgPool, who: &str, name: &str, run: &CreditRun) -> Result<CreditRun, Error> {
    let request =
        ReverseCreditRun { reason: ReversalReason::RecordCorrected, note: "The outage was mx-08's.".to_owned() };
    let actor = staff(who, Role::Finance);
    let answer = reverse_credit_run(pool, november(6), &actor, &key(name), run.id, request).await?;
    Ok(serde_json::from_str(&answer.body).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_is_taken_back_by_two_other_people_once_and_what_is_due_can_be_given_anew() {
    if is_skipped("a_run_is_taken_back_by_two_other_people_once_and_what_is_due_can_be_given_anew") {
        return;
    }
    const COUNT: usize = 25;
    let world = world(COUNT).await;
    let pool = &world.database.app;
    let run = propose(pool, november(5), "run").await;
    assert_eq!(refused(reverse(pool, "tui", "early", &run).await), "wrong_state", "nothing is issued yet");
    approve(pool, november(5), "wiremu", &run).await.unwrap();
    apply(pool, november(5), run.id).await;

    // One of its credits was taken back before: it is not again.
    let first: (Uuid, Uuid, i64) =
        sqlx::query_as("SELECT account_id, credit_id, gross_minor FROM credit ORDER BY account_id LIMIT 1")
            .fetch_one(pool)
            .await
            .unwrap();
    let alone = ReverseCredit { reason: ReversalReason::IssuedInError, note: "Wrong account.".to_owned() };
    let name = format!("crd_{}", first.1.simple());
    reverse_credit(pool, november(5), &staff("tui", Role::Finance), &key("one"), &name, alone).await.unwrap();

    let reversal = reverse(pool, "tui", "reversal", &run).await.unwrap();
    assert_eq!((reversal.total.minor(), reversal.credits), (run.total.minor() - first.2, 24), "{reversal:?}");
    assert_eq!(reversal.nothing_due_accounts, 1);
    let twin = reverse(pool, "tui", "twin", &run).await.unwrap();
    for (who, code) in [("aroha", "four_eyes"), ("wiremu", "four_eyes"), ("tui", "four_eyes")] {
        assert_eq!(refused(approve(pool, november(6), who, &reversal).await), code, "{who}");
    }
    assert_eq!(approve(pool, november(6), "talia", &reversal).await.unwrap().status, 202);
    assert_eq!(refused(approve(pool, november(6), "hemi", &twin).await), "plan_stale", "the first is being applied");
    let taken = tokio::join!(apply(pool, november(6), reversal.id), apply(pool, november(6), reversal.id));
    assert_eq!(taken.0 + taken.1, 24);
    assert_eq!(state(pool, reversal.id).await, "applied");
    assert_eq!(refused(approve(pool, november(6), "hemi", &twin).await), "plan_stale", "nothing of it stands");
    assert_eq!(refused(reverse(pool, "tui", "again", &run).await), "wrong_state");
    assert_eq!(refused(reverse(pool, "tui", "back", &reversal).await), "wrong_state", "a reversal is final");
    let told: i64 =
        sqlx::query_scalar("SELECT count(*) FROM outbox WHERE op = 'cancel'").fetch_one(pool).await.unwrap();
    assert_eq!(told, 25);
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM credit").fetch_one(pool).await.unwrap();
    assert_eq!(kept, 25, "nothing that was issued is gone");
    books_hold(pool).await;

    // What was taken back no longer counts as given.
    let anew = propose(pool, november(7), "anew").await;
    assert_eq!((anew.total.minor(), anew.credits), (run.total.minor(), 25));
    approve(pool, november(7), "wiremu", &anew).await.unwrap();
    assert_eq!(apply(pool, november(7), anew.id).await, 25);
    books_hold(pool).await;
}
