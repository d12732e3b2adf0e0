//! Operations say what an incident is called, and when it was over: a new version each time.

use serde::Deserialize;
use serde_json::json;
use sqlx::PgPool;

use super::once::{Answer, Begun, IdempotencyKey, Once};
use super::refold::record;
use crate::domain::actor::Actor;
use crate::domain::monitors::is_name;
use crate::domain::refusal::Refusal;
use crate::domain::time::Instant;
use crate::store::incidents::Incident;
use crate::store::{Error, evidence, incidents};

/// What is said of an incident: all of it, each time.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordIncident {
    /// What its outages say as `incident`.
    #[schema(example = "INC-2026-031")]
    pub name: String,
    #[schema(example = "The fail-over of the receiving systems")]
    pub title: String,
    /// When the service worked again; the end of its last outage unless given.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub restored_at: Option<Instant>,
    /// When all that had waited was delivered; the end of its last delay unless given.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub caught_up_at: Option<Instant>,
}

impl RecordIncident {
    fn check(&self, now: Instant) -> Result<(), Refusal> {
        if !is_name(&self.name) {
            return Err(Refusal::field("/name", "1 to 200 characters, no control characters"));
        }
        if !is_name(&self.title) {
            return Err(Refusal::field("/title", "1 to 200 characters, no control characters"));
        }
        for (pointer, at) in [("/restored_at", self.restored_at), ("/caught_up_at", self.caught_up_at)] {
            if at.is_some_and(|at| at > now) {
                return Err(Refusal::field(pointer, "that time has not happened yet"));
            }
        }
        if let (Some(restored), Some(caught_up)) = (self.restored_at, self.caught_up_at)
            && caught_up < restored
        {
            return Err(Refusal::field(
                "/caught_up_at",
                "what had waited cannot be delivered before the service works again",
            ));
        }
        Ok(())
    }
}

/// Adds the next version.
pub async fn record_incident(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    key: &IdempotencyKey,
    request: RecordIncident,
) -> Result<Answer, Error> {
    request.check(now)?;
    let mut once = match Once::begin(pool, actor, key, now).await? {
        Begun::Replay(answer) => return Ok(answer),
        Begun::New(once) => once,
    };
    let tx = once.tx();
    let recorded_at = evidence::stamp(tx, now).await?;
    let before = incidents::latest(tx, &request.name).await?;
    let incident = Incident {
        version: before.map_or(1, |before| before.version + 1),
        recorded_at,
        title: request.title,
        restored_at: request.restored_at,
        caught_up_at: request.caught_up_at,
        recorded_by: actor.key(),
        name: request.name,
    };
    incidents::insert(tx, &incident).await?;
    let said = json!({
        "name": incident.name, "version": incident.version, "title": incident.title, "restored_at": incident.restored_at,
        "caught_up_at": incident.caught_up_at,
    });
    record(tx, actor, "incident.record", &incident.name, said.clone(), now).await?;
    once.finish(201, &said).await
}
