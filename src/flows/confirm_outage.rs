//! Operations sign an outage off. From then on it may move money.

use serde::Deserialize;
use sqlx::PgPool;

use super::announce_outage::{save, seen};
use super::note_refusal;
use super::once::{Answer, Begun, IdempotencyKey, Once};
use crate::domain::actor::Actor;
use crate::domain::ids::WindowId;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::Instant;
use crate::store::{Error, audit, evidence};

#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfirmOutage {
    /// The version that the caller saw, and signs.
    #[schema(example = 2)]
    pub version: i32,
}

/// Signs the version off. Refuses an outage that goes on, one about which the monitors disagree until a person has amended it
/// with a reason, and whoever wrote this version by hand: what one person says is signed by another.
pub async fn confirm_outage(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    key: &IdempotencyKey,
    id: WindowId,
    request: ConfirmOutage,
) -> Result<Answer, Error> {
    let mut once = match Once::begin(pool, actor, key, now).await? {
        Begun::Replay(answer) => return Ok(answer),
        Begun::New(once) => once,
    };
    let recorded_at = evidence::stamp(once.tx(), now).await?;
    let before = seen(once.tx(), id, request.version).await?;
    let confirmed = before.window.confirm(!before.by_machine, &actor.name, now)?;
    if !before.by_machine && before.recorded_by == actor.key() {
        drop(once);
        let refusal = Refusal::new(
            Code::FourEyes,
            "You wrote this version yourself. Somebody else of operations has to sign it off.",
        );
        note_refusal(pool, audit::NO_ACCOUNT, actor, "outage.confirm", &id.to_string(), &refusal, now).await?;
        return Err(refusal.into());
    }
    let incident = before.incident.as_deref();
    let recorded = save(once.tx(), &confirmed, incident, "outage.confirm", actor, recorded_at, now).await?;
    once.finish(200, &recorded).await
}
