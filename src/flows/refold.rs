//! What is known of one component changed: fold all of it again, and write what that changes about the outage windows.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::json;

use crate::domain::actor::Actor;
use crate::domain::fold::{Question, fold};
use crate::domain::ids::WindowId;
use crate::domain::monitors::{Group, Mapping, Meaning, Source};
use crate::domain::observation::{About, Observation, ObservationKey};
use crate::domain::reconcile::{Standing, reconcile};
use crate::domain::time::Instant;
use crate::domain::window::{OutageWindow, WindowState};
use crate::store::windows::Recorder;
use crate::store::{Error, Tx, audit, heartbeats, observations, windows};

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

/// The groups that `told` speaks of.
pub(super) fn groups_of(mapping: &Mapping, source: &str, told: &[Observation]) -> BTreeSet<Group> {
    told.iter()
        .flat_map(|observation| match mapping.meaning(source, observation) {
            Ok(Meaning::Outage { groups, .. }) => groups,
            Ok(Meaning::Heartbeat | Meaning::Ignored) | Err(_) => Vec::new(),
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

/// Folds everything that is known of each of `groups` and writes what changes. `news` are the observations that are new: those
/// that belong to a window that a person made are conflicts.
pub(super) async fn refold_all(
    tx: &mut Tx,
    evidence: &Evidence<'_>,
    groups: BTreeSet<Group>,
    news: &BTreeSet<ObservationKey>,
) -> Result<Changed, Error> {
    let mut all = Changed::default();
    for group in groups {
        let changed = refold(tx, evidence, &group, news).await?;
        all.windows.extend(changed.windows);
        all.conflicts.extend(changed.conflicts);
    }
    Ok(all)
}

async fn refold(
    tx: &mut Tx,
    evidence: &Evidence<'_>,
    group: &Group,
    news: &BTreeSet<ObservationKey>,
) -> Result<Changed, Error> {
    let mapping = evidence.mapping;
    let statements = observations::of_group(tx, group, mapping).await?;
    let keys = statements.iter().map(|one| &one.key);
    let links = observations::windows_of(tx, keys, &group.capability).await?;
    let linked: BTreeSet<WindowId> = links.values().copied().collect();
    let mut known = latest(tx, &linked).await?;
    known.extend(windows::about(tx, &group.about).await?);
    let mut standing: BTreeMap<WindowId, Standing> = known.iter().map(stands).collect();
    let judged = |key: &ObservationKey| {
        links.get(key).filter(|id| standing.get(*id).is_some_and(|one: &Standing| !one.by_machine)).copied()
    };
    let contested: BTreeSet<WindowId> = news.iter().filter_map(judged).collect();
    let (_, open): (Vec<_>, Vec<_>) = statements.into_iter().partition(|one| judged(&one.key).is_some());
    let question = Question {
        group,
        watchers: mapping.watchers(&group.about).map(|(source, from)| (source.name.clone(), from)).collect(),
        tells_of_silence: mapping.silent_groups(&group.about).contains(group),
    };
    let names = open.iter().map(|one| one.key.source.as_str()).chain(question.watchers.keys().map(String::as_str));
    let liveness = heartbeats::liveness(tx, names, mapping).await?;
    let folded = fold(&question, &open, &liveness, |at| mapping.verdict(&group.about, at));
    let missing: BTreeSet<WindowId> = folded.iter().map(|one| one.id).filter(|id| !standing.contains_key(id)).collect();
    let missing = latest(tx, &missing).await?;
    standing.extend(missing.iter().map(stands));
    known.extend(missing);
    let incidents: BTreeMap<WindowId, &str> =
        known.iter().filter_map(|one| Some((one.window.id, one.incident.as_deref()?))).collect();
    let scope = |at| mapping.scope_of(&group.about, at).ok();
    let plan = reconcile(group, &folded, &standing, &links, scope, evidence.by, evidence.now);

    let mut changed = Changed { windows: Vec::new(), conflicts: contested };
    changed.conflicts.extend(plan.conflicts);
    for window in &plan.versions {
        save(tx, evidence, window, incidents.get(&window.id).copied()).await?;
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
        observations::link(tx, &keys, &group.capability, *window, evidence.recorded_at).await?;
    }
    Ok(changed)
}

/// Records that `source` was heard at `at`. Gives the groups about which that says something: an alert may be known to be
/// over, a silence may have begun, ended or been none.
pub(super) async fn heard(
    tx: &mut Tx,
    mapping: &Mapping,
    source: &str,
    at: Instant,
    recorded_at: Instant,
) -> Result<BTreeSet<Group>, Error> {
    let Some((source, gap)) = mapping.source(source).and_then(|one| Some((one, one.heartbeat_gap_seconds?))) else {
        return Ok(BTreeSet::new());
    };
    if !heartbeats::hear(tx, &source.name, at).await? {
        return Ok(BTreeSet::new());
    }
    let ended = observations::ended_near(tx, &source.name, at, gap).await?;
    let mut groups = groups_of(mapping, &source.name, &ended);
    if heartbeats::settle(tx, &source.name, gap, (at, at), recorded_at).await? > 0 {
        groups.extend(touched_by_silence(tx, mapping, source).await?);
    }
    Ok(groups)
}

/// The groups that a silence of `source` says something about: what it watches, and what it told.
pub(super) async fn touched_by_silence(
    tx: &mut Tx,
    mapping: &Mapping,
    source: &Source,
) -> Result<BTreeSet<Group>, Error> {
    let mut groups: BTreeSet<Group> = BTreeSet::new();
    for watch in &source.watches {
        groups.extend(mapping.silent_groups(&About::Component(watch.component().to_owned())));
    }
    for (_, name) in mapping.outage_alerts().filter(|(from, _)| *from == source.name) {
        groups.extend(groups_of(mapping, &source.name, &observations::of_rule(tx, &source.name, name).await?));
    }
    Ok(groups)
}

async fn latest(tx: &mut Tx, ids: &BTreeSet<WindowId>) -> Result<Vec<windows::Recorded>, Error> {
    let ids: Vec<WindowId> = ids.iter().copied().collect();
    windows::latest_of(tx, &ids).await
}

fn stands(one: &windows::Recorded) -> (WindowId, Standing) {
    (one.window.id, Standing { window: one.window.clone(), by_machine: one.by_machine })
}

async fn save(
    tx: &mut Tx,
    evidence: &Evidence<'_>,
    window: &OutageWindow,
    incident: Option<&str>,
) -> Result<(), Error> {
    let recorder = Recorder::Machine(evidence.by);
    windows::insert_version(tx, window, incident, evidence.recorded_at, recorder).await?;
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
