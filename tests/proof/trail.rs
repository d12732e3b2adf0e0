//! A day at every door that moves money or decides: each change has one audit row, each refused try has one, and nothing else has any.

use axum::http::Method;
use makegood::domain::actor::Role;
use makegood::domain::ids::CreditRunId;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::doors::{Answered, Doors, doors};
use crate::support::is_skipped;
use crate::world::*;
use crate::{number_all, verified};

/// What a request must have left in the audit trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// One row of this action, without a mark of refusal.
    Changed(&'static str),
    /// One row that says that it was refused, under this action.
    Refused(&'static str),
    Nothing,
}

struct Day<'a> {
    doors: &'a Doors,
    pool: &'a PgPool,
    requests: i64,
}

impl Day<'_> {
    /// Sends a request, and holds the audit trail to what it must say of it.
    async fn send(&mut self, path: &str, token: &str, body: &Value, status: u16, left: Left) -> Answered {
        let key = format!("key-{}", self.requests);
        self.send_as(Method::POST, path, token, &key, body, status, left).await
    }

    async fn send_as(
        &mut self,
        method: Method,
        path: &str,
        token: &str,
        key: &str,
        body: &Value,
        status: u16,
        left: Left,
    ) -> Answered {
        self.requests += 1;
        let answer = self.doors.send(method, path, token, key, Some(body)).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        let id = answer.headers["x-request-id"].to_str().unwrap();
        let rows: Vec<(String, Value)> =
            sqlx::query_as("SELECT action, detail FROM audit WHERE context ->> 'request' = $1 ORDER BY audit_id")
                .bind(id)
                .fetch_all(self.pool)
                .await
                .unwrap();
        let actions: Vec<&str> = rows.iter().map(|(action, _)| action.as_str()).collect();
        match left {
            Left::Changed(action) => assert_eq!(actions, [action], "{path}"),
            Left::Refused(action) => {
                assert_eq!(actions, [action], "{path}");
                assert!(action.ends_with(".refused") && rows[0].1["code"] == answer.json()["code"], "{rows:?}");
            }
            Left::Nothing => assert_eq!(actions, [""; 0], "{path}"),
        }
        answer
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_and_every_refused_try_of_a_day_has_one_audit_row() {
    if is_skipped("every_change_and_every_refused_try_of_a_day_has_one_audit_row") {
        return;
    }
    let world = world(3).await;
    let pool = &world.database.app;
    let doors = doors(pool, november(20)).await;
    let mut day = Day { doors: &doors, pool, requests: 0 };
    let hana = doors.customer("hana", &[&reference(0)]);
    let (ana, ben) = (doors.staff("ana", Role::Agent), doors.staff("ben", Role::Supervisor));
    let (wiremu, root) = (doors.staff("wiremu", Role::Supervisor), doors.staff("root", Role::Admin));
    let (sefa, auditor) = (doors.staff("sefa", Role::Operations), doors.staff("mere", Role::Auditor));
    let asked = |account: usize| {
        json!({
            "account": reference(account), "ground": "cost_more", "incident": "INC-2026-031", "amount": "480.00",
            "words": "We paid demurrage on two containers because no notice reached us.",
        })
    };

    // A customer claims, twice under one key; an agent files for another customer.
    let filed = day
        .send_as(Method::POST, "/v1/claims", &hana, "same", &asked(0), 201, Left::Changed("claim.submit"))
        .await
        .json();
    day.send_as(Method::POST, "/v1/claims", &hana, "same", &asked(0), 201, Left::Nothing).await;
    day.send("/v1/claims", &hana, &asked(0), 409, Left::Nothing).await;
    day.send("/v1/claims", &hana, &json!({"account": reference(0)}), 422, Left::Nothing).await;
    let own = day.send("/v1/claims", &ana, &asked(1), 201, Left::Changed("claim.submit")).await.json();
    let behalf: String = sqlx::query_scalar(
        "SELECT detail ->> 'on_behalf_of' FROM audit WHERE subject = $1 AND action = 'claim.submit'",
    )
    .bind(own["id"].as_str().unwrap())
    .fetch_one(pool)
    .await
    .unwrap();
    assert_eq!(behalf, format!("account:{}", world.accounts[1].0));

    // Over the limit; what she filed herself; recommended and agreed.
    let claim = |filed: &Value, verb: &str| format!("/v1/claims/{}/{verb}", filed["id"].as_str().unwrap());
    let opinion = json!({
        "amount": "480.00", "reason": "evidence_of_cost",
        "words": "Your invoice shows both charges, and the notice was held up by the outage.",
    });
    let refused = Left::Refused("claim.approve.refused");
    day.send(&claim(&filed, "approve"), &ana, &opinion, 403, refused).await;
    day.send(&claim(&own, "approve"), &ana, &opinion, 403, refused).await;
    day.send(&claim(&filed, "recommend"), &ana, &opinion, 200, Left::Changed("claim.recommend")).await;
    day.send(&claim(&filed, "agree"), &ana, &json!({}), 403, Left::Refused("claim.agree.refused")).await;
    day.send(&claim(&filed, "agree"), &sefa, &json!({}), 403, Left::Refused("request.refused")).await;
    day.send(&claim(&filed, "agree"), &ben, &json!({}), 200, Left::Changed("claim.agree")).await;
    let (before, after): (String, String) = sqlx::query_as(
        "SELECT detail ->> 'before', detail ->> 'after' FROM audit WHERE action = 'claim.agree' AND subject = $1",
    )
    .bind(filed["id"].as_str().unwrap())
    .fetch_one(pool)
    .await
    .unwrap();
    assert!(before.len() == 64 && after.len() == 64 && before != after, "{before} {after}");
    let recommended: String =
        sqlx::query_scalar("SELECT detail ->> 'after' FROM audit WHERE action = 'claim.recommend'")
            .fetch_one(pool)
            .await
            .unwrap();
    assert_eq!(recommended, before, "each change begins where the one before it ended");

    // A run: proposed, refused to oneself, to the wrong role and to the wrong total, approved, applied.
    assess(pool, november(20)).await;
    let proposed = day
        .send("/v1/credit-runs", &ben, &json!({"period": "2026-10"}), 201, Left::Changed("credit_run.propose"))
        .await
        .json();
    let approve = format!("/v1/credit-runs/{}/approve", proposed["id"].as_str().unwrap());
    let total = json!({ "total": proposed["total"]["amount"] });
    let refused = Left::Refused("credit_run.approve.refused");
    day.send(&approve, &ben, &total, 403, refused).await;
    day.send(&approve, &sefa, &total, 403, refused).await;
    day.send(&approve, &wiremu, &json!({"total": "0.01"}), 422, refused).await;
    day.send("/v1/credit-runs", &sefa, &json!({"period": "2026-10"}), 403, Left::Refused("request.refused")).await;
    day.send(&approve, &wiremu, &total, 202, Left::Changed("credit_run.approve")).await;
    let id = CreditRunId(proposed["id"].as_str().unwrap().parse().unwrap());
    assert!(apply(pool, november(20), id).await > 0);
    number_all(pool).await;

    // Billing: another role may not pull or answer.
    let billing = doors.machine(Role::Billing, "ledger").await;
    let page = doors.get("/v1/billing/feed", &billing).await.json();
    let credit = &page["data"][0]["credit"];
    let answer = json!({ "items": [{
        "credit": credit["id"], "answer": "applied", "reference": "INV-9", "date": "2026-11-30",
        "net": credit["net"], "tax": credit["tax"],
    }]});
    day.send("/v1/billing/acks", &ana, &answer, 403, Left::Refused("request.refused")).await;
    day.send("/v1/billing/acks", &billing, &answer, 200, Left::Changed("credit.answer")).await;
    day.send("/v1/billing/acks", &billing, &answer, 200, Left::Nothing).await;

    // Whoever reads is not recorded; the auditor finds what was.
    assert_eq!(doors.get("/v1/audit", &ana).await.status, 403);
    let all = doors.get("/v1/audit?limit=1000", &auditor).await.json();
    let trail = all["data"].as_array().unwrap();
    let counted: i64 = sqlx::query_scalar("SELECT count(*) FROM audit").fetch_one(pool).await.unwrap();
    assert_eq!(i64::try_from(trail.len()).unwrap(), counted);
    assert!(trail.iter().filter(|row| row["entry"].is_null()).count() < 5, "what was numbered says its entry");
    let refused = doors.get("/v1/audit?action=claim.approve.refused&limit=1", &auditor).await.json();
    assert_eq!((refused["data"].as_array().unwrap().len(), &refused["has_more"]), (1, &json!(true)));
    let next = refused["next"].as_str().unwrap();
    let rest = doors.get(&format!("/v1/audit?action=claim.approve.refused&after={next}"), &auditor).await.json();
    assert_eq!((rest["data"].as_array().unwrap().len(), &rest["has_more"]), (1, &json!(false)));
    let row = &rest["data"][0];
    assert_eq!(row["actor"], "staff|ana");
    assert_eq!((&row["subject"], &row["detail"]["code"]), (&own["id"], &json!("four_eyes")));
    let of_account = doors.get(&format!("/v1/audit?account={}", reference(0)), &root).await.json();
    assert!(of_account["data"].as_array().unwrap().iter().all(|row| row["account"] == reference(0)));
    for wrong in ["limit=0", "after=x", "actor=", "colour=red"] {
        let status = doors.get(&format!("/v1/audit?{wrong}"), &auditor).await.status.as_u16();
        assert_eq!(status, if wrong == "actor=" { 200 } else { 422 }, "{wrong}");
    }

    // The books agree with the trail: a row for each credit, each answer and each move of a claim.
    for (changes, audits) in [
        ("SELECT count(*) FROM credit", "credit.issue"),
        ("SELECT count(*) FROM billing_answer", "credit.answer"),
        ("SELECT count(*) FROM claim", "claim.submit"),
        ("SELECT count(*) FROM claim_event WHERE action = 'recommend'", "claim.recommend"),
        ("SELECT count(*) FROM claim_event WHERE action = 'agree'", "claim.agree"),
        ("SELECT count(*) FROM credit_run", "credit_run.propose"),
        ("SELECT count(*) FROM credit_run WHERE state <> 'proposed'", "credit_run.approve"),
    ] {
        let changes: i64 = sqlx::query_scalar(changes).fetch_one(pool).await.unwrap();
        assert!(changes > 0 && audited(pool, audits).await == changes, "{audits}: {changes} changes");
    }
    number_all(pool).await;
    let whole = verified(pool, &[]).await;
    assert_eq!(
        (whole.broken, whole.waiting),
        (None, 0),
        "every row of the day, refused tries too, stands in the chain"
    );
}
