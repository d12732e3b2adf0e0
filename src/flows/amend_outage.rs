//! Operations correct an outage: a new version with a reason. The earlier one can still be asked for.

use serde::Deserialize;
use sqlx::PgPool;

use super::announce_outage::{AskedScope, PlannedWork, incident, promised, save, seen};
use super::once::{Answer, Begun, IdempotencyKey, Once};
use crate::domain::actor::Actor;
use crate::domain::ids::WindowId;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::Instant;
use crate::domain::window::{Amendment, Capability, Certainty, Impact, Scope, WindowChange};
use crate::store::{Error, evidence};

/// What is corrected. A field that is left out stays as it is.
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AmendOutage {
    /// The version that the caller saw.
    #[schema(example = 1)]
    pub version: i32,
    /// Why; it is kept with the version. Whatever the monitors disagreed about counts as judged by this.
    #[schema(example = "The gateway log shows the first refused message at 05:10.")]
    pub reason: String,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub start: Option<Instant>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub end: Option<Instant>,
    /// It has no end yet after all.
    #[serde(default)]
    pub goes_on: bool,
    #[serde(default)]
    pub scope: Option<AskedScope>,
    #[serde(default)]
    pub capability: Option<Capability>,
    #[serde(default)]
    pub impact: Option<Impact>,
    /// `known` once somebody has found out that it was down.
    #[serde(default)]
    pub certainty: Option<Certainty>,
    #[serde(default)]
    pub planned: Option<PlannedWork>,
    /// It was not planned after all.
    #[serde(default)]
    pub unplanned: bool,
    #[serde(default)]
    pub incident: Option<String>,
    /// It was no outage. Nothing else may be changed with this.
    #[serde(default)]
    pub retract: bool,
}

impl AmendOutage {
    /// What becomes different, where `scope` is what the asked one means.
    fn amendment(self, scope: Option<Scope>, now: Instant) -> Result<Amendment, Refusal> {
        if self.end.is_some() && self.goes_on {
            return Err(Refusal::field("/goes_on", "an outage that goes on has no end"));
        }
        if self.planned.is_some() && self.unplanned {
            return Err(Refusal::field("/unplanned", "say either planned or unplanned"));
        }
        let change = WindowChange {
            start: self.start,
            end: if self.goes_on { Some(None) } else { self.end.map(Some) },
            scope,
            capability: self.capability,
            impact: self.impact,
            certainty: self.certainty,
            planned: match self.planned {
                Some(planned) => Some(Some(planned.announcement(now)?)),
                None => self.unplanned.then_some(None),
            },
        };
        match (self.retract, change == WindowChange::default()) {
            (true, true) => Ok(Amendment::Retract),
            (true, false) => Err(Refusal::field("/retract", "an outage that is taken back is not changed as well")),
            (false, _) => Ok(Amendment::Change(change)),
        }
    }
}

/// Adds the next version; it is provisional again until it is signed off. Says nothing new and only gives a reason: that is
/// how a person says that the window stands as it is although the monitors disagree, or although one said more later. Otherwise
/// an amendment that changes nothing is refused: it would only take a signature off.
pub async fn amend_outage(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    key: &IdempotencyKey,
    id: WindowId,
    request: AmendOutage,
) -> Result<Answer, Error> {
    let mut once = match Once::begin(pool, actor, key, now).await? {
        Begun::Replay(answer) => return Ok(answer),
        Begun::New(once) => once,
    };
    let recorded_at = evidence::stamp(once.tx(), now).await?;
    let before = seen(once.tx(), id, request.version).await?;
    let is_same_incident = request.incident.is_none() || request.incident == before.incident;
    let incident = incident(request.incident.as_deref())?.or(before.incident);
    let reason = request.reason.clone();
    let scope = match request.scope.clone() {
        Some(asked) => Some(asked.resolve(once.tx(), request.start.unwrap_or(before.window.start)).await?),
        None => None,
    };
    if let Some(capability) = &request.capability {
        promised(once.tx(), capability).await?;
    }
    let amended = before.window.amend(request.amendment(scope, now)?, &reason, &actor.name, now)?;
    let is_judged = before.dispute.is_some() || before.later_evidence;
    if !is_judged && is_same_incident && amended.says_the_same(&before.window) {
        let detail = "Nothing changes: the outage stands so already. Say what is different.";
        return Err(Refusal::new(Code::InvalidRequest, detail).into());
    }
    let action = if amended.is_retracted() { "outage.retract" } else { "outage.amend" };
    let recorded = save(once.tx(), &amended, incident.as_deref(), action, actor, recorded_at, now).await?;
    once.finish(201, &recorded).await
}
