//! Operations sign an outage off. From then on it may move money.

use serde::Deserialize;
use sqlx::PgPool;

use super::announce_outage::{save, seen};
use super::once::{Answer, Begun, IdempotencyKey, Once};
use crate::domain::actor::Actor;
use crate::domain::ids::WindowId;
use crate::domain::time::Instant;
use crate::store::{Error, evidence};

#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfirmOutage {
    /// The version that the caller saw, and signs.
    #[schema(example = 2)]
    pub version: i32,
}

/// Signs the version off. Refuses an outage that goes on, and one about which the monitors disagree until a person has
/// amended it with a reason.
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
    let incident = before.incident.as_deref();
    let recorded = save(once.tx(), &confirmed, incident, "outage.confirm", actor, recorded_at, now).await?;
    once.finish(200, &recorded).await
}
