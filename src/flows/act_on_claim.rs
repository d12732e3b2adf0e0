//! Staff answer a claim: recommend, approve, agree, send back, reject, undo; the customer withdraws.

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use super::file_claim::has_controls;
use super::note_refusal;
use super::once::{Answer, Begun, IdempotencyKey, Once};
use crate::domain::actor::{Actor, Role};
use crate::domain::chain::canonical;
use crate::domain::claim::{Action, Claim, Opinion, Reason, Rules, State};
use crate::domain::money::Money;
use crate::domain::operator::Operator;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::Instant;
use crate::failpoint;
use crate::store::{Error, Tx, audit, claims, credits, lock_account, operator};

/// What goes with an action; which fields are needed depends on it.
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActOnClaim {
    /// The version that the caller saw; an older one than the claim's is refused.
    #[serde(default)]
    #[schema(example = 1)]
    pub version: Option<i32>,
    /// `approve`, `recommend`: how much, as digits in the account's currency, tax included.
    #[serde(default)]
    #[schema(example = "240.00")]
    pub amount: Option<String>,
    /// `approve`, `recommend`, `reject`: why.
    #[serde(default)]
    pub reason: Option<Reason>,
    /// What the customer is told; for `send-back`, what the agent is told.
    #[serde(default)]
    #[schema(
        example = "Your invoice shows both charges. We are paying the first, whose notice was held up by the outage."
    )]
    pub words: Option<String>,
}

/// The claim after the action.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Acted {
    #[schema(example = "MG-2026-004187")]
    pub id: String,
    pub state: State,
    #[schema(example = 2)]
    pub version: i32,
    /// Until then a decision can be undone.
    #[schema(value_type = Option<String>)]
    pub posts_at: Option<Instant>,
}

/// Does `verb` to the claim that is called `reference`.
pub async fn act_on_claim(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    key: &IdempotencyKey,
    reference: &str,
    verb: &str,
    request: ActOnClaim,
) -> Result<Answer, Error> {
    let mut once = match Once::begin(pool, actor, key, now).await? {
        Begun::Replay(answer) => return Ok(answer),
        Begun::New(once) => once,
    };
    let (claim, operator) = load(once.tx(), actor, reference).await?;
    let action = read(verb, &request, operator.currency)?;
    if request.version.is_some_and(|seen| seen != claim.version) {
        let detail = format!(
            "You saw version {}; the claim is at {}. Read it again.",
            request.version.unwrap_or(0),
            claim.version
        );
        return Err(Refusal::new(Code::VersionConflict, detail).into());
    }
    let rules = rules(once.tx(), &claim, &operator).await?;
    let acted = match claim.clone().apply(&action, actor, &rules, now) {
        Ok(moved) => save(once.tx(), &claim, &moved, &action, actor, now).await?,
        Err(refusal) => {
            drop(once);
            note_refusal(pool, claim.account, actor, &format!("claim.{verb}"), &claim.reference, &refusal, now).await?;
            return Err(refusal.into());
        }
    };
    once.finish(200, &acted).await
}

async fn load(tx: &mut Tx, actor: &Actor, reference: &str) -> Result<(Claim, Operator), Error> {
    let unknown = || Refusal::not_found("claim", reference);
    let (account, id) = claims::resolve(tx, reference).await?.ok_or_else(unknown)?;
    let is_staff = actor.has_any(&[Role::Agent, Role::Supervisor]);
    if !is_staff && !actor.own_accounts().contains(&account) {
        return Err(unknown().into());
    }
    lock_account(tx, account).await?;
    let claim = claims::find(tx, account, id).await?.ok_or_else(unknown)?;
    Ok((claim, operator::get(tx).await?))
}

fn read(verb: &str, request: &ActOnClaim, currency: crate::domain::money::Currency) -> Result<Action, Refusal> {
    let amount = || {
        let text = request.amount.as_deref().ok_or_else(|| Refusal::field("/amount", "say how much"))?;
        Money::parse(text.trim(), currency)
            .map_err(|_| Refusal::field("/amount", "Amount must be a number, like 480 or 480.50"))
    };
    let reason = || request.reason.ok_or_else(|| Refusal::field("/reason", "Choose a reason"));
    let words = || {
        let words = request.words.clone().unwrap_or_default();
        if has_controls(&words) { Err(Refusal::field("/words", "Leave out control characters")) } else { Ok(words) }
    };
    match verb {
        "approve" => Ok(Action::Approve { amount: amount()?, reason: reason()?, words: words()? }),
        "recommend" => Ok(Action::Recommend { amount: amount()?, reason: reason()?, words: words()? }),
        "agree" => Ok(Action::Agree),
        "send-back" => Ok(Action::SendBack { words: words()? }),
        "reject" => Ok(Action::Reject { reason: reason()?, words: words()? }),
        "undo" => Ok(Action::Undo),
        "withdraw" => Ok(Action::Withdraw),
        other => Err(Refusal::not_found("action", &other.chars().take(40).collect::<String>())),
    }
}

/// The limits that hold for this claim. A supervisor agrees to what others recommend and decides alone within the same limit.
pub async fn rules(tx: &mut Tx, claim: &Claim, operator: &Operator) -> Result<Rules, Error> {
    let given = match &claim.incident {
        Some(incident) => credits::given_by_claims(tx, claim.account, incident).await?,
        None => 0,
    };
    let amount = |minor| {
        Money::from_minor(minor, operator.currency)
            .map_err(|error| Error::Corrupt(format!("operator's limits: {error}")))
    };
    Ok(Rules {
        agent_limit: amount(operator.agent_limit_minor)?,
        cap: amount(operator.claim_cap_minor)?,
        given_before: amount(given)?,
        hold_seconds: operator.hold_seconds,
    })
}

async fn save(
    tx: &mut Tx,
    before: &Claim,
    after: &Claim,
    action: &Action,
    actor: &Actor,
    now: Instant,
) -> Result<Acted, Error> {
    failpoint::reach("act.before_save").await;
    if !claims::save(tx, after, before.version).await? {
        return Err(
            Refusal::new(Code::VersionConflict, "Somebody else moved this claim just now. Read it again.").into()
        );
    }
    failpoint::reach("act.after_save").await;
    let amount = match action {
        Action::Approve { amount, .. } | Action::Recommend { amount, .. } => Some(*amount),
        Action::Agree => after.decision.as_ref().map(|decision| decision.opinion.amount),
        Action::SendBack { .. } | Action::Reject { .. } | Action::Undo | Action::Withdraw => None,
    };
    claims::record(tx, after, action.name(), actor, amount, now).await?;
    failpoint::reach("act.after_record").await;
    audit::record(
        tx,
        &audit::Entry {
            account: after.account,
            actor,
            action: &format!("claim.{}", action.name()),
            subject: &after.reference,
            detail: json!({
                "from": before.state.name(), "to": after.state.name(), "amount_minor": amount.map(Money::minor),
                "before": fingerprint(before), "after": fingerprint(after),
            }),
            at: now,
        },
    )
    .await?;
    failpoint::reach("act.after_audit").await;
    Ok(Acted {
        id: after.reference.clone(),
        state: after.state,
        version: after.version,
        posts_at: after.decision.as_ref().map(|decision| decision.posts_at),
    })
}

/// A hash over what the books may know of a claim: its state and amounts, and not what anybody wrote, which may have to be erased.
fn fingerprint(claim: &Claim) -> String {
    let opinion = |opinion: &Opinion| json!({ "amount": opinion.amount, "reason": opinion.reason });
    let known = json!({
        "reference": claim.reference, "version": claim.version, "state": claim.state.name(), "posts_at": claim.decision.as_ref().map(|decision| decision.posts_at),
        "recommendation": claim.recommendation.as_ref().map(opinion),
        "decision": claim.decision.as_ref().map(|decision| opinion(&decision.opinion)),
    });
    hex::encode(Sha256::digest(canonical(&known)))
}
