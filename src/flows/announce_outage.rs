//! Operations enter an outage by hand: planned work that they announce, or what no monitor saw.

use serde::Deserialize;
use serde_json::json;
use sqlx::PgPool;

use super::once::{Answer, Begun, IdempotencyKey, Once};
use super::refold::record;
use crate::domain::actor::Actor;
use crate::domain::ids::{MailboxListId, WindowId};
use crate::domain::monitors::is_name;
use crate::domain::observation::About;
use crate::domain::refusal::{Code, FieldError, Refusal};
use crate::domain::time::{Instant, Interval};
use crate::domain::window::{
    Announcement, Capability, Certainty, Impact, OutageWindow, Reach, Report, Scope, WindowState,
};
use crate::store::windows::Recorder;
use crate::store::{Error, Tx, evidence, mailbox_lists, monitors, shards, terms, windows};

/// An outage by hand.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnnounceOutage {
    /// `"all"`, `{"shards": ["mx-07"]}`, `{"component": "inbound-mx-07"}` or `{"list": "..."}`.
    pub scope: AskedScope,
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
    /// What whoever enters it wants the next person of operations to know, in up to 1,000 characters. Customers never see it.
    #[serde(default)]
    #[schema(example = "The queue of mx-07 stands; the pager was silent.")]
    pub note: Option<String>,
    /// Where it is brought over from another system, what it is there.
    #[serde(default)]
    pub origin: Option<Origin>,
}

/// What an outage is in another system. The same origin again, from whomever, enters nothing and answers with what is there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The other system, in 1 to 200 characters.
    #[schema(example = "old-status-page")]
    pub source: String,
    /// What that calls it, in 1 to 200 characters.
    #[schema(example = "OLD-4471")]
    pub reference: String,
}

impl Origin {
    /// The id of its window, whoever enters it.
    fn window(&self) -> Result<WindowId, Refusal> {
        for (pointer, name) in [("/origin/source", &self.source), ("/origin/reference", &self.reference)] {
            if !is_name(name) {
                return Err(Refusal::field(pointer, "1 to 200 characters, no control characters"));
            }
        }
        Ok(WindowId::of(&format!("from\u{1f}{}", self.source), &self.reference))
    }
}

/// Which mailboxes somebody says it was about.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AskedScope {
    /// Every mailbox.
    All,
    /// The mailboxes that lived on one of these shards at the time.
    Shards(Vec<String>),
    /// What a component served when it began, as `PUT /v1/monitors` says. The outage keeps the shards, and does not follow a later change of
    /// the component.
    Component(String),
    /// The mailboxes of a list that `POST /v1/mailbox-lists` keeps.
    List(MailboxListId),
}

impl AskedScope {
    /// The mailboxes that it means for an outage that began at `start`.
    pub(super) async fn resolve(self, tx: &mut Tx, start: Instant) -> Result<Scope, Error> {
        match self {
            AskedScope::All => Ok(Scope::All),
            AskedScope::Shards(shards) => registered(tx, Scope::Shards(shards)).await,
            AskedScope::List(list) => match mailbox_lists::find(tx, list).await? {
                Some(_) => Ok(Scope::List(list)),
                None => {
                    let what = format!("there is no list {list}; POST /v1/mailbox-lists keeps one and says its id");
                    Err(Refusal::field("/scope/list", what).into())
                }
            },
            AskedScope::Component(name) => {
                let mapping = monitors::mapping(tx).await?;
                mapping.scope_of(&About::Component(name.clone()), start).map_err(|_| {
                    let what = format!(
                        "there is no component {name:?} at {start}; PUT /v1/monitors says what components serve, or name the shards"
                    );
                    Refusal::field("/scope/component", what).into()
                })
            }
        }
    }
}

/// The scope, if its shards are registered: an outage of one that is not would hit nobody, and nobody would be told.
async fn registered(tx: &mut Tx, scope: Scope) -> Result<Scope, Error> {
    scope.check().map_err(|why| Refusal::field("/scope", why))?;
    let register = shards::known(tx).await?;
    let unknown = scope.shards().iter().enumerate().filter(|(_, shard)| !register.is_known(shard));
    let error = |(at, shard): (usize, &String)| FieldError {
        pointer: format!("/scope/shards/{at}"),
        message: register.refusal(shard),
    };
    let errors: Vec<FieldError> = unknown.take(20).map(error).collect();
    if errors.is_empty() { Ok(scope) } else { Err(Refusal::invalid(errors).into()) }
}

/// Refuses a capability that no terms know: no sum would count the outage.
pub(super) async fn promised(tx: &mut Tx, capability: &Capability) -> Result<(), Error> {
    capability.check().map_err(|why| Refusal::field("/capability", why))?;
    let promised = terms::promised(tx).await?;
    if promised.is_known(capability) {
        return Ok(());
    }
    Err(Refusal::field("/capability", promised.refusal(capability)).into())
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
    let id = match &request.origin {
        None => WindowId::of(&format!("by-hand\u{1f}{}", actor.key()), &key.key),
        Some(origin) => {
            let id = origin.window()?;
            if let Some(there) = windows::latest(once.tx(), id).await? {
                return once.finish(200, &there).await;
            }
            id
        }
    };
    let incident = incident(request.incident.as_deref())?;
    let note = note(request.note.as_deref())?;
    let window = window(once.tx(), id, request, actor, now).await?;
    if let Some(note) = &note {
        windows::insert_note(once.tx(), window.id, note, recorded_at, &actor.key()).await?;
    }
    let recorded = save(once.tx(), &window, incident.as_deref(), "outage.announce", actor, recorded_at, now).await?;
    once.finish(201, &recorded).await
}

async fn window(
    tx: &mut Tx,
    id: WindowId,
    request: AnnounceOutage,
    actor: &Actor,
    now: Instant,
) -> Result<OutageWindow, Error> {
    let planned = request.planned.map(|planned| planned.announcement(now)).transpose()?;
    let start = request
        .start
        .or(planned.map(|planned| planned.interval.start()))
        .ok_or_else(|| Refusal::field("/start", "say when it began"))?;
    let end = request.end.or(planned.map(|planned| planned.interval.end()));
    let report = Report { source: actor.name.clone(), start, end, correction: None };
    promised(tx, &request.capability).await?;
    let window = OutageWindow {
        id,
        version: 1,
        about: match &request.scope {
            AskedScope::Component(name) => Some(About::Component(name.clone())),
            AskedScope::All | AskedScope::Shards(_) | AskedScope::List(_) => None,
        },
        certainty: Certainty::Known,
        scope: request.scope.resolve(tx, start).await?,
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

/// The note, if it says something.
fn note(text: Option<&str>) -> Result<Option<String>, Refusal> {
    match text.map(str::trim).filter(|note| !note.is_empty()) {
        Some(note) if note.chars().count() > 1_000 => Err(Refusal::field("/note", "at most 1,000 characters")),
        other => Ok(other.map(str::to_owned)),
    }
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

/// The latest version, which must be the one that the caller saw, and an outage of its own still.
pub(super) async fn seen(tx: &mut Tx, id: WindowId, version: i32) -> Result<windows::Recorded, Error> {
    let latest = windows::latest(tx, id).await?.ok_or_else(|| Refusal::not_found("outage", &id.to_string()))?;
    if latest.window.version != version {
        let detail = format!("You saw version {version}; the outage is at {}. Read it again.", latest.window.version);
        return Err(Refusal::new(Code::VersionConflict, detail).into());
    }
    if let Some(whole) = windows::part_of(tx, &latest).await? {
        let detail = format!("This outage is part of {whole} now.");
        return Err(Refusal::new(Code::WrongState, detail).into());
    }
    Ok(latest)
}
