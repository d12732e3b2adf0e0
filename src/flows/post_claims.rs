//! Decisions whose hold is over become credits.

use serde_json::json;
use sqlx::PgPool;

use super::issue_credits::{ToIssue, issue_in};
use crate::domain::chart::Chart;
use crate::domain::claim::{Claim, Decision};
use crate::domain::credit::{Cause, Road, credit_id};
use crate::domain::ids::{AccountId, ClaimId};
use crate::domain::money::MoneyError;
use crate::domain::operator::Operator;
use crate::domain::time::Instant;
use crate::failpoint;
use crate::store::credits::Credit;
use crate::store::{Error, audit, chart, claims, credits, lock_account, operator};

/// Posts what is due and says how many that were. Each in a transaction of its own: one that fails keeps no other from being
/// posted, and its error is given at the end.
pub async fn post_claims(pool: &PgPool, now: Instant) -> Result<usize, Error> {
    let mut conn = pool.acquire().await?;
    let due = claims::to_post(&mut conn, now, 100).await?;
    drop(conn);
    let (mut posted, mut failed) = (0, None);
    for (account, claim) in due {
        match post_claim(pool, account, claim, now).await {
            Ok(is_posted) => posted += usize::from(is_posted),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(posted), Err)
}

/// Issues the credit of one decision; false where it was undone or posted meanwhile.
async fn post_claim(pool: &PgPool, account: AccountId, id: ClaimId, now: Instant) -> Result<bool, Error> {
    let mut tx = pool.begin().await?;
    lock_account(&mut tx, account).await?;
    let Some(claim) = claims::find(&mut tx, account, id).await? else { return Ok(false) };
    let Some(decision) =
        claim.decision.clone().filter(|decision| decision.posted_at.is_none() && decision.posts_at <= now)
    else {
        return Ok(false);
    };
    let operator = operator::get(&mut tx).await?;
    let addressee = credits::addressee(&mut tx, account).await?;
    let (_, chart) = chart::newest(&mut tx).await?;
    let credit = credit(&claim, &decision, &operator, &chart, now)?;
    failpoint::reach("post_claim.before_issue").await;
    issue_in(&mut tx, &[ToIssue { credit, addressee, claim_reference: Some(claim.reference.clone()) }]).await?;
    failpoint::reach("post_claim.after_issue").await;
    let before = claim.version;
    let posted =
        Claim { version: before + 1, decision: Some(Decision { posted_at: Some(now), ..decision.clone() }), ..claim };
    claims::save(&mut tx, &posted, before).await?;
    failpoint::reach("post_claim.after_save").await;
    let poster = super::system_actor("posting");
    claims::record(&mut tx, &posted, "post", &poster, Some(decision.opinion.amount), now).await?;
    audit::record(
        &mut tx,
        &audit::Entry {
            account,
            actor: &poster,
            action: "claim.post",
            subject: &posted.reference,
            detail: json!({ "amount_minor": decision.opinion.amount.minor() }),
            at: now,
        },
    )
    .await?;
    failpoint::reach("post_claim.before_commit").await;
    tx.commit().await?;
    failpoint::reach("post_claim.after_commit").await;
    Ok(true)
}

fn credit(
    claim: &Claim,
    decision: &Decision,
    operator: &Operator,
    chart: &Chart,
    now: Instant,
) -> Result<Credit, Error> {
    let road = Road::Claim;
    let broken = |error: MoneyError| Error::Corrupt(format!("claim {}: {error}", claim.reference));
    let reason = decision.opinion.reason.name();
    let rule = chart.rule(road, reason, &operator.tax);
    let split = rule.split(decision.opinion.amount).map_err(broken)?;
    let gross = split.net.plus(split.tax).map_err(broken)?;
    let cause = Cause::Claim(claim.id);
    Ok(Credit {
        account: claim.account,
        id: credit_id(claim.account, &cause, 0),
        road,
        cause: cause.to_string(),
        generation: 0,
        reason: reason.to_owned(),
        against: chart.account(road, reason),
        gross,
        net: split.net,
        tax: split.tax,
        tax_code: rule.code,
        tax_rate_bp: rule.rate_bp,
        subscription: None,
        claim: Some(claim.id),
        run: None,
        service: None,
        zone: operator.zone.name().to_owned(),
        effective_on: operator.zone.local(now).date_naive(),
        issued_at: now,
        // Within a limit one person decides and the clock posts; over it the second one is named.
        issued_by: decision
            .agreed_by
            .as_ref()
            .map_or_else(|| "system|posting".to_owned(), |_| decision.opinion.by.clone()),
        approved_by: decision.agreed_by.clone().unwrap_or_else(|| decision.opinion.by.clone()),
    })
}
