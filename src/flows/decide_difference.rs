//! A person decides about a difference. The decision is recorded and moves no money by itself: a further credit comes with the next credit run.

use serde::Deserialize;
use serde_json::json;
use sqlx::PgPool;

use super::once::{Answer, Begun, IdempotencyKey, Once};
use crate::domain::actor::Actor;
use crate::domain::difference::{Decision, DifferenceKind};
use crate::domain::ids::DifferenceId;
use crate::domain::money::Money;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::Instant;
use crate::failpoint;
use crate::store::differences::Decided;
use crate::store::{Error, audit, differences};

#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecideDifference {
    pub decision: Decision,
    /// Why, in 1 to 1,000 characters; it is kept.
    #[schema(example = "Our record was wrong; the customer keeps it.")]
    pub reason: String,
}

/// Records the decision. Refuses one about a difference that the newest listing of its period does not have any more, and a second one.
pub async fn decide_difference(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    key: &IdempotencyKey,
    id: DifferenceId,
    request: DecideDifference,
) -> Result<Answer, Error> {
    let mut once = match Once::begin(pool, actor, key, now).await? {
        Begun::Replay(answer) => return Ok(answer),
        Begun::New(once) => once,
    };
    let reason = request.reason.trim();
    if reason.is_empty() || reason.chars().count() > 1_000 {
        return Err(Refusal::field("/reason", "say why, in 1 to 1,000 characters").into());
    }
    let tx = once.tx();
    let listed = differences::standing(tx, id).await?;
    let listed = listed.ok_or_else(|| Refusal::not_found("difference that stands", &id.to_string()))?;
    let kind = DifferenceKind::of(listed.credited.minor(), listed.due.map(Money::minor));
    request.decision.fits(kind.unwrap_or(DifferenceKind::NotKnown), &listed.blockers)?;
    let decided = Decided { decision: request.decision, reason: reason.to_owned(), at: now, by: actor.key() };
    failpoint::reach("decide.before_decision").await;
    if !differences::decide(tx, listed.account, id, &decided).await? {
        return Err(Refusal::new(Code::WrongState, "This difference is decided already.").into());
    }
    failpoint::reach("decide.after_decision").await;
    let detail = json!({ "decision": decided.decision, "reason": decided.reason });
    let (action, subject) = ("difference.decide", id.to_string());
    let entry = audit::Entry { account: listed.account, actor, action, subject: &subject, detail, at: now };
    audit::record(tx, &entry).await?;
    failpoint::reach("decide.after_audit").await;
    once.finish(201, &json!({ "difference": id, "decision": decided.decision, "reason": decided.reason, "at": now }))
        .await
}
