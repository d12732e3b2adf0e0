//! An approved credit run becomes credits, exactly as it was proposed: in batches, each done once, going on after a crash.

use serde_json::json;
use sqlx::PgPool;

use super::issue_credits::{ToIssue, issue_in};
use crate::domain::credit::{Cause, Road, credit_id};
use crate::domain::ids::CreditRunId;
use crate::domain::money::Money;
use crate::domain::tax::TaxRule;
use crate::domain::time::Instant;
use crate::store::credits::{Addressee, Credit};
use crate::store::runs::{ItemOutcome, Run, RunItem, RunState};
use crate::store::{Error, audit, chart, credits, operator, runs};

/// How many lines one transaction issues.
const BATCH: i64 = 2_000;

/// The reason code of what terms pay.
pub const REASON: &str = "sla_tier";

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// This many credits were issued; more may be left.
    Issued(usize),
    /// The run is applied to its end.
    Done,
}

/// Takes one step of an approved run. Servers that do so at once follow one another, since each locks the run.
pub async fn apply_step(pool: &PgPool, id: CreditRunId, now: Instant) -> Result<Step, Error> {
    let mut tx = pool.begin().await?;
    let Some(run) = runs::lock(&mut tx, id).await?.filter(|run| run.state == RunState::Approved) else {
        return Ok(Step::Done);
    };
    let items = runs::items_after(&mut tx, id, Some(ItemOutcome::Credit), run.applied_through, BATCH).await?;
    let Some(last) = items.last().map(|item| item.account) else {
        finish(&mut tx, run, now).await?;
        tx.commit().await?;
        return Ok(Step::Done);
    };
    let operator = operator::get(&mut tx).await?;
    let rule = chart::newest(&mut tx).await?.1.rule(Road::Contract, REASON, &operator.tax);
    let accounts: Vec<uuid::Uuid> = items.iter().map(|item| item.account.0).collect();
    let addressees = credits::addressees(&mut tx, &accounts).await?;
    let wanted: Vec<ToIssue> = items
        .iter()
        .map(|item| {
            let addressee = addressees
                .get(&item.account)
                .cloned()
                .ok_or_else(|| Error::Corrupt(format!("account has no row for {}", item.account)))?;
            Ok(ToIssue { credit: credit(&run, item, &addressee, &rule, now)?, addressee, claim_reference: None })
        })
        .collect::<Result<_, Error>>()?;
    let issued = issue_in(&mut tx, &wanted).await?;
    runs::save(&mut tx, &Run { applied_through: Some(last), ..run }).await?;
    tx.commit().await?;
    Ok(Step::Issued(issued))
}

async fn finish(tx: &mut crate::store::Tx, run: Run, now: Instant) -> Result<(), Error> {
    let applied = Run { state: RunState::Applied, applied_at: Some(now), ..run };
    runs::save(tx, &applied).await?;
    audit::record(
        tx,
        &audit::Entry {
            account: audit::NO_ACCOUNT,
            actor: &super::system_actor("credit-runs"),
            action: "credit_run.applied",
            subject: &applied.id.to_string(),
            detail: json!({ "credits": applied.credits, "total_minor": applied.total.minor() }),
            at: now,
        },
    )
    .await?;
    Ok(())
}

fn credit(run: &Run, item: &RunItem, addressee: &Addressee, rule: &TaxRule, now: Instant) -> Result<Credit, Error> {
    let broken = |error: crate::domain::money::MoneyError| Error::Corrupt(format!("run {}: {error}", run.id));
    let road = Road::Contract;
    let gross = Money::from_minor(item.amount_minor, run.total.currency()).map_err(broken)?;
    let split = rule.split(gross).map_err(broken)?;
    let cause = Cause::Period { subscription: item.subscription, period: run.period, promise: item.promise.clone() };
    let generation = u32::try_from(item.generation).unwrap_or(0);
    Ok(Credit {
        account: item.account,
        id: credit_id(item.account, &cause, generation),
        road,
        cause: cause.to_string(),
        generation: item.generation,
        reason: REASON.to_owned(),
        gross,
        net: split.net,
        tax: split.tax,
        tax_code: rule.code.clone(),
        tax_rate_bp: rule.rate_bp,
        subscription: Some(item.subscription),
        claim: None,
        run: Some(run.id),
        service: Some((run.period.first_day(), run.period.next().first_day())),
        zone: addressee.zone.clone(),
        effective_on: run.period.last_day(),
        issued_at: now,
        issued_by: run.proposed_by.clone(),
        approved_by: run.approved_by.clone().unwrap_or_default(),
    })
}
