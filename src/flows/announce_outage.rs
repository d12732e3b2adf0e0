//! Operations enter an outage by hand: planned work that they announce, or what no monitor saw.

use serde::Deserialize;
use serde_json::json;
use sqlx::PgPool;

use super::once::{Answer, Begun, IdempotencyKey, Once};
use super::refold::record;
use crate::domain::actor::Actor;
use crate::domain::ids::WindowId;
use crate::domain::monitors::is_name;
use crate::domain::refusal::Refusal;
use crate::domain::time::{Instant, Interval};
use crate::domain::window::{
    Announcement, Capability, Certainty, Impact, OutageWindow, Reach, Report, Scope, WindowState,
};
use crate::store::windows::Recorder;
use crate::store::{Error, Tx, evidence, windows};

/// An outage by hand.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnnounceOutage {
    /// `"all"`, or `{"shards": ["mx-07"]}`.
    pub scope: Scope,
    pub capability: Capability,
    #[serde(default = "full")]
    pub impact: Impact,
    /// How many of those who use the service it hit; left out where it hit all.
    #[serde(default)]
    pub reach: Option<Reach>,
    /// When it began; for planned work, the announced start unless given.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "2026-10-12T17:10:00Z")]
    pub start: Option<Instant>,
    /// When it was over; null while it goes on. For planned work, the announced end unless given.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "2026-10-13T15:10:00Z")]
    pub end: Option<Instant>,
    /// For planned work: what customers were told.
    #[serde(default)]
    pub planned: Option<PlannedWork>,
    /// What people call the event that this belongs to.
    #[serde(default)]
    #[schema(example = "INC-2026-031")]
    pub incident: Option<String>,
}

fn full() -> Impact {
    Impact::Full
}

/// What customers were told of planned work. What runs over is not planned.
#[derive(Clone, Copy, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlannedWork {
    /// When they were told; now unless given.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "2026-10-11T00:00:00Z")]
    pub announced_at: Option<Instant>,
    /// The announced time.
    #[schema(value_type = String, example = "2026-10-12T16:10:00Z")]
    pub start: Instant,
    #[schema(value_type = String, example = "2026-10-12T17:10:00Z")]
    pub end: Instant,
}

impl PlannedWork {
    pub(super) fn announcement(self, now: Instant) -> Result<Announcement, Refusal> {
        let interval =
            Interval::new(self.start, self.end).map_err(|error| Refusal::field("/planned/end", error.to_string()))?;
        Ok(Announcement { announced_at: self.announced_at.unwrap_or(now), interval })
    }
}

/// Enters the outage. It is provisional until it is signed off.
pub async fn announce_outage(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    key: &IdempotencyKey,
    request: AnnounceOutage,
) -> Result<Answer, Error> {
    let mut once = match Once::begin(pool, actor, key, now).await? {
        Begun::Replay(answer) => return Ok(answer),
        Begun::New(once) => once,
    };
    let recorded_at = evidence::stamp(once.tx(), now).await?;
    let incident = incident(request.incident.as_deref())?;
    let window = window(request, actor, key, now)?;
    let recorded = save(once.tx(), &window, incident.as_deref(), "outage.announce", actor, recorded_at, now).await?;
    once.finish(201, &recorded).await
}

fn window(request: AnnounceOutage, actor: &Actor, key: &IdempotencyKey, now: Instant) -> Result<OutageWindow, Refusal> {
    let planned = request.planned.map(|planned| planned.announcement(now)).transpose()?;
    let start = request
        .start
        .or(planned.map(|planned| planned.interval.start()))
        .ok_or_else(|| Refusal::field("/start", "say when it began"))?;
    let end = request.end.or(planned.map(|planned| planned.interval.end()));
    let report = Report { source: actor.name.clone(), start, end, correction: None };
    let window = OutageWindow {
        id: WindowId::of(&format!("by-hand\u{1f}{}", actor.key()), &key.key),
        version: 1,
        about: None,
        certainty: Certainty::Known,
        scope: request.scope,
        capability: request.capability,
        start,
        end,
        impact: request.impact,
        reach: request.reach,
        planned,
        state: WindowState::Provisional,
        reports: vec![report],
        reason: None,
    };
    window.check(now)?;
    Ok(window)
}

/// The incident's name, if it can be one.
pub(super) fn incident(name: Option<&str>) -> Result<Option<String>, Refusal> {
    match name {
        Some(name) if !is_name(name) => Err(Refusal::field("/incident", "1 to 200 characters, no control characters")),
        other => Ok(other.map(str::to_owned)),
    }
}

/// Writes a version that a person made, with its audit row, and gives it back as it is stored.
pub(super) async fn save(
    tx: &mut Tx,
    window: &OutageWindow,
    incident: Option<&str>,
    action: &str,
    actor: &Actor,
    recorded_at: Instant,
    now: Instant,
) -> Result<windows::Recorded, Error> {
    windows::insert_version(tx, window, incident, recorded_at, Recorder::Person(&actor.key())).await?;
    let detail = json!({ "version": window.version, "start": window.start, "end": window.end });
    record(tx, actor, action, &window.id.to_string(), detail, now).await?;
    let stored = windows::latest(tx, window.id).await?;
    stored.ok_or_else(|| Error::Corrupt(format!("outage_window {} cannot be read back", window.id)))
}

/// The latest version, which must be the one that the caller saw.
pub(super) async fn seen(tx: &mut Tx, id: WindowId, version: i32) -> Result<windows::Recorded, Error> {
    let latest = windows::latest(tx, id).await?.ok_or_else(|| Refusal::not_found("outage", &id.to_string()))?;
    if latest.window.version != version {
        let detail = format!("You saw version {version}; the outage is at {}. Read it again.", latest.window.version);
        return Err(Refusal::new(crate::domain::refusal::Code::VersionConflict, detail).into());
    }
    Ok(latest)
}
