//! A source told something: keep it, and change the outage windows that it changes.
//!
//! The raw bytes are durable before anything is judged. Everything else is one transaction: observations, heartbeats,
//! windows and audit rows, or none.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use super::refold::{ChangedWindow, Evidence, heard, record, refold_in};
use crate::domain::actor::Actor;
use crate::domain::ids::WindowId;
use crate::domain::monitors::{Meaning, is_name};
use crate::domain::observation::{Delivery, ObservationKey};
use crate::domain::refusal::{Code, Refusal};
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
    /// Alerts that were told before.
    #[schema(example = 0)]
    pub duplicates: usize,
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
    #[schema(example = "9c1f2a6d4be07351")]
    pub fingerprint: String,
    #[schema(example = "DiskFull")]
    pub alertname: String,
    #[schema(example = "no rule says what alert \"DiskFull\" of this source means")]
    pub why: String,
}

/// Takes one delivery, `raw` as it came and `delivery` as it was read. The source is the one that the token names. Refuses a
/// delivery that tells of the future, and then keeps nothing.
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
    delivery.check(received_at)?;
    let sha256: [u8; 32] = Sha256::digest(raw).into();
    let mut tx = pool.begin().await?;
    observations::keep_delivery(&mut tx, source, &sha256, raw, delivery.truncated, received_at).await?;
    tx.commit().await?;
    if delivery.truncated > 0 {
        tracing::warn!(source, truncated = delivery.truncated, "a source left alerts out of a delivery");
    }

    let mut tx = pool.begin().await?;
    let recorded_at = evidence::stamp(&mut tx, now).await?;
    let mapping = monitors::mapping(&mut tx).await?;
    let told = delivery.distinct(source);
    let stored = observations::insert_new(&mut tx, &told, &sha256, recorded_at).await?;
    let mut taken = Taken {
        stored: stored.len(),
        duplicates: told.len() - stored.len(),
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
    let mut conflicts = BTreeSet::new();
    for group in groups {
        let changed = refold_in(&mut tx, &evidence, &group, &stored).await?;
        taken.windows.extend(changed.windows);
        conflicts.extend(changed.conflicts);
    }
    taken.conflicts = conflicts.into_iter().collect();
    if !stored.is_empty() {
        let detail = json!({
            "stored": taken.stored,
            "unmapped": taken.unmapped.len(),
            "truncated": taken.truncated,
            "sha256": hex::encode(sha256),
        });
        record(&mut tx, actor, "alerts.take", source, detail, now).await?;
    }
    tx.commit().await?;
    Ok(taken)
}
