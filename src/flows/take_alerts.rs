//! A source told something: keep it, and change the outage windows that it changes.
//!
//! The raw bytes are durable before anything is judged. Everything else is one transaction: observations, heartbeats,
//! windows and audit rows, or none.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use crate::domain::actor::Actor;
use crate::domain::fold::fold;
use crate::domain::ids::WindowId;
use crate::domain::monitors::{Group, Mapping, Meaning, is_name};
use crate::domain::observation::{Delivery, Observation, ObservationKey};
use crate::domain::reconcile::{Standing, reconcile};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::Instant;
use crate::domain::window::{OutageWindow, WindowState};
use crate::store::windows::Recorder;
use crate::store::{Error, Tx, audit, evidence, monitors, observations, windows};

/// What became of a delivery.
#[derive(Clone, Debug, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Taken {
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

#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ChangedWindow {
    #[schema(value_type = uuid::Uuid)]
    pub id: WindowId,
    #[schema(example = 1)]
    pub version: i32,
    #[schema(value_type = String)]
    pub start: Instant,
    /// Null while it goes on, or where its end is not known.
    #[schema(value_type = Option<String>)]
    pub end: Option<Instant>,
    /// Whether it is none any more: its alerts are part of another.
    pub retracted: bool,
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
    let source = actor.source.as_deref().filter(|source| is_name(source)).ok_or_else(|| {
        Refusal::new(Code::Forbidden, "This token names no source. Make one with `makegood token create --source`.")
    })?;
    delivery.check(now)?;
    let sha256: [u8; 32] = Sha256::digest(raw).into();
    let mut tx = pool.begin().await?;
    observations::keep_delivery(&mut tx, source, &sha256, raw, delivery.truncated, now).await?;
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
            Ok(Meaning::Outage { group, .. }) => {
                if stored.contains(key) {
                    groups.insert(group);
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
        observations::hear(&mut tx, source, now).await?;
        groups.extend(proven_by_heartbeat(&mut tx, source, &mapping, now).await?);
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

/// Groups with an alert whose end the heartbeat at `now` may prove.
async fn proven_by_heartbeat(
    tx: &mut Tx,
    source: &str,
    mapping: &Mapping,
    now: Instant,
) -> Result<BTreeSet<Group>, Error> {
    let Some(gap) = mapping.source(source).and_then(|source| source.heartbeat_gap_seconds) else {
        return Ok(BTreeSet::new());
    };
    let ended = observations::ended_near(tx, source, now, gap).await?;
    Ok(groups_of(mapping, source, &ended))
}

/// The groups that `told` speaks of.
pub(super) fn groups_of(mapping: &Mapping, source: &str, told: &[Observation]) -> BTreeSet<Group> {
    told.iter()
        .filter_map(|observation| match mapping.meaning(source, observation) {
            Ok(Meaning::Outage { group, .. }) => Some(group),
            Ok(Meaning::Heartbeat | Meaning::Ignored) | Err(_) => None,
        })
        .collect()
}

/// What a refold works with.
#[derive(Debug)]
pub(super) struct Evidence<'a> {
    pub mapping: &'a Mapping,
    /// Who is named as the maker of new versions: the source that told something.
    pub by: &'a str,
    pub actor: &'a Actor,
    /// The evidence stamp, which this transaction holds.
    pub recorded_at: Instant,
    pub now: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Changed {
    pub windows: Vec<ChangedWindow>,
    pub conflicts: BTreeSet<WindowId>,
}

/// Folds everything that is known of `group` and writes what changes. `news` are the observations that are new: those that
/// belong to a window that a person made are conflicts.
pub(super) async fn refold_in(
    tx: &mut Tx,
    evidence: &Evidence<'_>,
    group: &Group,
    news: &BTreeSet<ObservationKey>,
) -> Result<Changed, Error> {
    let mapping = evidence.mapping;
    let statements = observations::of_group(tx, group, mapping).await?;
    let links = observations::windows_of(tx, statements.iter().map(|one| &one.key)).await?;
    let linked: BTreeSet<WindowId> = links.values().copied().collect();
    let mut standing = standing(tx, &linked).await?;
    let judged = |key: &ObservationKey| {
        links.get(key).filter(|id| standing.get(*id).is_some_and(|one: &Standing| !one.by_machine)).copied()
    };
    let contested: BTreeSet<WindowId> = news.iter().filter_map(judged).collect();
    let (_, open): (Vec<_>, Vec<_>) = statements.into_iter().partition(|one| judged(&one.key).is_some());
    let liveness = observations::liveness(tx, &open, mapping).await?;
    let folded = fold(&open, &liveness);
    let missing: BTreeSet<WindowId> = folded.iter().map(|one| one.id).filter(|id| !standing.contains_key(id)).collect();
    standing.extend(self::standing(tx, &missing).await?);
    let scope = |at| mapping.scope_at(&group.component, at);
    let plan = reconcile(group, &folded, &standing, &links, scope, evidence.by, evidence.now);

    let mut changed = Changed { windows: Vec::new(), conflicts: contested };
    changed.conflicts.extend(plan.conflicts);
    for window in &plan.versions {
        save(tx, evidence, window).await?;
        changed.windows.push(ChangedWindow {
            id: window.id,
            version: window.version,
            start: window.start,
            end: window.end,
            retracted: window.is_retracted(),
        });
    }
    for (window, keys) in &plan.links {
        let keys: Vec<&ObservationKey> = keys.iter().collect();
        observations::link(tx, &keys, *window, evidence.recorded_at).await?;
    }
    Ok(changed)
}

async fn standing(tx: &mut Tx, ids: &BTreeSet<WindowId>) -> Result<BTreeMap<WindowId, Standing>, Error> {
    let ids: Vec<WindowId> = ids.iter().copied().collect();
    let latest = windows::latest_of(tx, &ids).await?;
    let standing =
        |one: windows::Recorded| (one.window.id, Standing { window: one.window, by_machine: one.by_machine });
    Ok(latest.into_iter().map(standing).collect())
}

async fn save(tx: &mut Tx, evidence: &Evidence<'_>, window: &OutageWindow) -> Result<(), Error> {
    let incident = windows::latest(tx, window.id).await?.and_then(|before| before.incident);
    let recorder = Recorder::Machine(evidence.by);
    windows::insert_version(tx, window, incident.as_deref(), evidence.recorded_at, recorder).await?;
    let action = match &window.state {
        WindowState::Provisional | WindowState::Confirmed { .. } => "outage.observe",
        WindowState::Retracted { .. } => "outage.join",
    };
    let detail = json!({ "version": window.version, "start": window.start, "end": window.end });
    record(tx, evidence.actor, action, &window.id.to_string(), detail, evidence.now).await
}

/// Writes an audit row about no account.
pub(super) async fn record(
    tx: &mut Tx,
    actor: &Actor,
    action: &str,
    subject: &str,
    detail: serde_json::Value,
    at: Instant,
) -> Result<(), Error> {
    let entry = audit::Entry { account: audit::NO_ACCOUNT, actor, action, subject, detail, at };
    audit::record(tx, &entry).await.map(|_| ())
}
