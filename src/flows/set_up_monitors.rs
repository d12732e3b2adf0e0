//! Operations say what the alerts of the monitors mean, in one document. Saying the same again changes nothing.
//!
//! What the document leaves out stays as it was. Alerts that were kept without a meaning become outages as soon as there is
//! one, and windows that no person has judged follow a corrected rule.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::json;
use sqlx::PgPool;

use super::refold::{Changed, ChangedWindow, Evidence, groups_of, record, refold_all};
use crate::domain::actor::Actor;
use crate::domain::ids::WindowId;
use crate::domain::monitors::{Group, Monitors, Rule};
use crate::domain::observation::About;
use crate::domain::time::Instant;
use crate::store::{Error, Tx, evidence, monitors, observations, shards, terms};

/// How much of the document was news, and what it changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct SetUp {
    #[schema(example = 2)]
    pub sources: usize,
    #[schema(example = 4)]
    pub rules: usize,
    #[schema(example = 4)]
    pub components: usize,
    #[schema(example = 0)]
    pub labels: usize,
    /// Outages that are new or changed because of it.
    pub windows: Vec<ChangedWindow>,
    /// Outages that a person made and that alerts with a new meaning touch.
    #[schema(value_type = Vec<uuid::Uuid>)]
    pub conflicts: Vec<WindowId>,
    /// What is right and may still not be meant.
    pub warnings: Vec<String>,
}

/// Records what is new in `document`. Refuses one that contradicts itself, naming each line.
pub async fn set_up_monitors(pool: &PgPool, now: Instant, actor: &Actor, document: &Monitors) -> Result<SetUp, Error> {
    document.check()?;
    let mut tx = pool.begin().await?;
    let recorded_at = evidence::stamp(&mut tx, now).await?;
    let mut set_up = SetUp::default();
    let before = monitors::sources(&mut tx).await?;
    for source in &document.sources {
        let before = before.iter().find(|one| one.name == source.name);
        let source = source.clone().dated(before, now);
        set_up.sources += usize::from(monitors::put_source(&mut tx, &source, recorded_at).await?);
    }
    for entry in &document.rules {
        for source in &entry.sources {
            let is_news = monitors::put_rule(&mut tx, source, &entry.alertname, &entry.means, recorded_at).await?;
            set_up.rules += usize::from(is_news);
        }
    }
    for component in &document.components {
        set_up.components += usize::from(monitors::put_component(&mut tx, component, recorded_at).await?);
    }
    for map in &document.labels {
        set_up.labels += usize::from(monitors::put_label_map(&mut tx, map, recorded_at).await?);
    }
    let is_news = set_up != SetUp::default();
    set_up.warnings = document.warnings();
    set_up.warnings.extend(unknown(&mut tx, document).await?);
    if !is_news {
        return Ok(set_up);
    }
    let mapping = monitors::mapping(&mut tx).await?;
    let mut groups = BTreeSet::new();
    for (source, name) in mapping.outage_alerts() {
        let told = observations::of_rule(&mut tx, source, name).await?;
        groups.extend(groups_of(&mapping, source, &told));
    }
    groups.extend(said(&mut tx).await?);
    for source in mapping.sources() {
        let watched = source.watches.iter().map(|watch| About::Component(watch.component().to_owned()));
        groups.extend(watched.flat_map(|about| mapping.silent_groups(&about)));
    }
    let evidence = Evidence { mapping: &mapping, by: "rules", actor, recorded_at, now };
    let changed = refold_all(&mut tx, &evidence, groups, &BTreeSet::new()).await?;
    set_up.windows = changed.windows;
    set_up.conflicts = changed.conflicts.into_iter().collect();
    let detail = json!({
        "sources": set_up.sources, "rules": set_up.rules, "components": set_up.components, "labels": set_up.labels,
    });
    record(&mut tx, actor, "monitors.set_up", "monitors", detail, now).await?;
    tx.commit().await?;
    Ok(set_up)
}

/// The shards and capabilities of the document that nothing else knows yet: an outage of one hits nobody, or counts nowhere.
async fn unknown(tx: &mut Tx, document: &Monitors) -> Result<Vec<String>, Error> {
    let register = shards::known(tx).await?;
    let promised = terms::promised(tx).await?;
    let mut warnings = Vec::new();
    for component in &document.components {
        let unknown = component.scope.shards().iter().filter(|shard| !register.is_known(shard));
        warnings.extend(unknown.map(|shard| format!("component {:?}: {}", component.name, register.refusal(shard))));
        let unknown = component.capabilities.iter().filter(|one| !promised.is_known(one));
        warnings.extend(unknown.map(|one| format!("component {:?}: {}", component.name, promised.refusal(one))));
    }
    for entry in &document.rules {
        let named = match &entry.means {
            Rule::Outage(rule) => rule.capability.as_ref(),
            Rule::Heartbeat | Rule::Ignored => None,
        };
        let unknown = named.filter(|one| !promised.is_known(one));
        warnings.extend(unknown.map(|one| format!("alert {:?}: {}", entry.alertname, promised.refusal(one))));
    }
    Ok(warnings)
}

/// Folds again what sources said by themselves, after a shard became known. The evidence stamp `recorded_at` must be held.
pub(super) async fn replay_said(
    tx: &mut Tx,
    actor: &Actor,
    recorded_at: Instant,
    now: Instant,
) -> Result<Changed, Error> {
    let mapping = monitors::mapping(tx).await?;
    let evidence = Evidence { mapping: &mapping, by: "shards", actor, recorded_at, now };
    let groups = said(tx).await?;
    refold_all(tx, &evidence, groups, &BTreeSet::new()).await
}

/// What sources ever said by themselves.
async fn said(tx: &mut Tx) -> Result<BTreeSet<Group>, Error> {
    Ok(observations::everything_said(tx).await?.into_iter().map(Group::from).collect())
}
