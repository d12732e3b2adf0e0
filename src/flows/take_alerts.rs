//! A source told something: keep it, and change the outage windows that it changes.
//!
//! The raw bytes are durable before anything is judged. Everything else is one transaction: observations, heartbeats,
//! windows and audit rows, or none.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use super::refold::{ChangedWindow, Evidence, heard, record, refold_all};
use crate::domain::actor::Actor;
use crate::domain::ids::WindowId;
use crate::domain::monitors::{Meaning, is_name};
use crate::domain::observation::{Delivery, ObservationKey, Rejected, refusal_of};
use crate::domain::refusal::{Code, FieldError, Refusal};
use crate::domain::time::Instant;
use crate::store::{Error, evidence, monitors, observations};

/// What became of a delivery.
#[derive(Clone, Debug, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Taken {
    /// Whether the database is away: the delivery waits on disk, and is judged when the database is back.
    #[schema(example = false)]
    pub spooled: bool,
    /// Alerts that were new, or newly over.
    #[schema(example = 1)]
    pub stored: usize,
    /// Alerts that were looked at, each once.
    #[serde(skip)]
    told: usize,
    /// Alerts that were told before.
    #[schema(example = 0)]
    pub duplicates: usize,
    /// Alerts that say nothing which can be held to be true: they were left out, the others taken.
    pub rejected: Vec<Rejected>,
    /// Alerts that the source says it left out: what they were is not known.
    #[schema(example = 0)]
    pub truncated: u32,
    /// Alerts that were kept and mean nothing yet. They become outages once a rule or a component says what they mean.
    pub unmapped: Vec<UnmappedAlert>,
    /// Outages that are new or changed.
    pub windows: Vec<ChangedWindow>,
    /// Outages that a person entered, amended or signed off, and that these alerts touch: nothing was changed, somebody
    /// has to look.
    #[schema(value_type = Vec<uuid::Uuid>)]
    pub conflicts: Vec<WindowId>,
}

#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct UnmappedAlert {
    /// Where in the body it stands.
    #[schema(example = "/alerts/0")]
    pub pointer: String,
    #[serde(skip)]
    said: bool,
    #[schema(example = "9c1f2a6d4be07351")]
    pub fingerprint: String,
    #[schema(example = "DiskFull")]
    pub alertname: String,
    #[schema(example = "no rule says what alert \"DiskFull\" of this source means")]
    pub why: String,
}

impl Taken {
    /// The database is away, and the delivery waits on disk.
    pub fn waits() -> Self {
        Taken { spooled: true, ..Taken::default() }
    }

    /// What the source is told where it says by itself what failed and nothing of that is known here: the events are kept, and
    /// count once operations have named what they are about.
    pub fn unknown(&self) -> Option<Refusal> {
        let is_said = |one: &UnmappedAlert| one.said;
        if self.unmapped.is_empty() || self.unmapped.len() < self.told || !self.unmapped.iter().all(is_said) {
            return None;
        }
        let field = |one: &UnmappedAlert| FieldError { pointer: one.pointer.clone(), message: one.why.clone() };
        let mut refusal = Refusal::invalid(self.unmapped.iter().take(20).map(field).collect());
        refusal.detail = format!(
            "{}. It was kept, stands at GET /v1/ingest/unmapped, and counts as soon as that is known: do not send it again.",
            refusal.detail
        );
        Some(refusal)
    }
}

/// Takes one delivery, `raw` as it came and `delivery` as it was read. The source is the one that the token names. A delivery
/// of which nothing can be true is kept, listed for operations and refused.
pub async fn take_alerts(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    raw: &[u8],
    delivery: &Delivery,
) -> Result<Taken, Error> {
    take_alerts_received(pool, now, now, actor, raw, delivery).await
}

/// Takes a delivery that came at `received_at` and waited until `now`. What it says is held against the time at which it came;
/// it is recorded now.
pub async fn take_alerts_received(
    pool: &PgPool,
    now: Instant,
    received_at: Instant,
    actor: &Actor,
    raw: &[u8],
    delivery: &Delivery,
) -> Result<Taken, Error> {
    let source = actor.source.as_deref().filter(|source| is_name(source)).ok_or_else(|| {
        Refusal::new(Code::Forbidden, "This token names no source. Make one with `makegood token create --source`.")
    })?;
    let mut delivery = delivery.clone();
    let mut rejected = std::mem::take(&mut delivery.rejected);
    rejected.extend(delivery.judge(received_at));
    let sha256: [u8; 32] = Sha256::digest(raw).into();
    let mut tx = pool.begin().await?;
    observations::keep_delivery(&mut tx, source, &sha256, raw, delivery.truncated, received_at).await?;
    observations::keep_rejected(&mut tx, source, &sha256, &rejected, received_at).await?;
    tx.commit().await?;
    if !rejected.is_empty() {
        tracing::warn!(source, rejected = rejected.len(), "alerts of a delivery say nothing that can be true");
        if delivery.told.is_empty() {
            return Err(refusal_of(&rejected).into());
        }
    }
    if delivery.truncated > 0 {
        tracing::warn!(source, truncated = delivery.truncated, "a source left alerts out of a delivery");
    }

    let mut tx = pool.begin().await?;
    let recorded_at = evidence::stamp(&mut tx, now).await?;
    let mapping = monitors::mapping(&mut tx).await?;
    let mut told = delivery.distinct(source);
    let places: BTreeMap<ObservationKey, &str> =
        delivery.told.iter().map(|told| (told.observation.key(source), told.place.as_str())).collect();
    let place = |key: &ObservationKey| places.get(key).copied().unwrap_or_default().to_owned();
    let otherwise: Vec<Rejected> = observations::told_otherwise(&mut tx, &told)
        .await?
        .iter()
        .filter(|key| told.remove(key).is_some())
        .map(|key| Rejected { pointer: place(key), message: OTHERWISE.to_owned() })
        .collect();
    observations::keep_rejected(&mut tx, source, &sha256, &otherwise, received_at).await?;
    rejected.extend(otherwise);
    let stored = observations::insert_new(&mut tx, &told, &sha256, recorded_at).await?;
    let mut taken = Taken {
        stored: stored.len(),
        duplicates: told.len() - stored.len(),
        told: told.len(),
        truncated: delivery.truncated,
        ..Taken::default()
    };
    let stored: BTreeSet<ObservationKey> = stored.into_iter().collect();
    let mut groups = BTreeSet::new();
    let mut is_alive = false;
    for (key, observation) in &told {
        match mapping.meaning(source, observation) {
            Ok(Meaning::Heartbeat) => is_alive |= observation.ends_at.is_none(),
            Ok(Meaning::Ignored) => {}
            Ok(Meaning::Outage { groups: told, .. }) => {
                if stored.contains(key) {
                    groups.extend(told);
                }
            }
            Err(why) => taken.unmapped.push(UnmappedAlert {
                pointer: place(key),
                said: observation.said.is_some(),
                fingerprint: observation.fingerprint.clone(),
                alertname: observation.name.clone(),
                why: why.to_string(),
            }),
        }
    }
    if is_alive {
        groups.extend(heard(&mut tx, &mapping, source, received_at, recorded_at).await?);
    }
    let evidence = Evidence { mapping: &mapping, by: source, actor, recorded_at, now };
    let changed = refold_all(&mut tx, &evidence, groups, &stored).await?;
    taken.windows = changed.windows;
    taken.conflicts = changed.conflicts.into_iter().collect();
    taken.rejected = rejected;
    if !stored.is_empty() {
        let detail = json!({
            "stored": taken.stored,
            "unmapped": taken.unmapped.len(),
            "rejected": taken.rejected.len(),
            "truncated": taken.truncated,
            "sha256": hex::encode(sha256),
        });
        record(&mut tx, actor, "alerts.take", source, detail, now).await?;
    }
    tx.commit().await?;
    Ok(taken)
}

const OTHERWISE: &str =
    "this event was told before about something else that failed: send it with an event_id of its own";
