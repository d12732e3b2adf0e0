//! Credit runs: proposed by one, approved by another, applied exactly and once, whatever happens at the same time.

mod support;

#[path = "support/world.rs"]
mod world;

use makegood::domain::actor::Role;
use makegood::domain::ids::CreditRunId;
use makegood::domain::time::{HOUR, SECOND};
use makegood::flows::amend_outage::{AmendOutage, amend_outage};
use makegood::flows::apply_credit_run::{Step, apply_step};
use makegood::flows::assess_period::assess_period;
use makegood::flows::propose_credit_run::{CreditRun, ProposeCreditRun, propose_credit_run};
use serde_json::{Value, json};
use sqlx::PgPool;
use support::is_skipped;
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
    let early =
        propose_credit_run(pool, november(6), &aroha, &key("early"), ProposeCreditRun { period: october(), replaces: None }).await;
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
