//! A monitor fell silent: from when it was last heard on, nobody knows whether what it watches works.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use sqlx::PgPool;

use super::refold::{Evidence, record, refold_all, touched_by_silence};
use super::system_actor;
use crate::domain::monitors::{Group, Source};
use crate::domain::time::{Instant, SECOND};
use crate::store::{Error, evidence, heartbeats, monitors};

/// Notes which sources are silent for longer than their gap at `now`, and which are not after all; says how many changed. What
/// they watch is folded again. A source that was never heard is not silent: it was not connected yet.
pub async fn note_silences(pool: &PgPool, now: Instant) -> Result<usize, Error> {
    let mut conn = pool.acquire().await?;
    let sources = monitors::sources(&mut conn).await?;
    let last = heartbeats::last(&mut conn, &sources).await?;
    drop(conn);
    if sources.iter().all(|source| changed(&last, source, now).is_none()) {
        return Ok(0);
    }
    let mut tx = pool.begin().await?;
    let recorded_at = evidence::stamp(&mut tx, now).await?;
    let mapping = monitors::mapping(&mut tx).await?;
    let actor = system_actor("heartbeats");
    let last = heartbeats::last(&mut tx, mapping.sources()).await?;
    let mut noted = 0;
    // Each group is folded once, with all that fell silent: who is named first is the author of what changes.
    let mut touched: BTreeMap<Group, &Source> = BTreeMap::new();
    for source in mapping.sources() {
        let Some((since, is_silent)) = changed(&last, source, now) else { continue };
        heartbeats::note_silence(&mut tx, &source.name, since, is_silent, recorded_at).await?;
        noted += 1;
        let detail = json!({ "since": since, "silent": is_silent });
        record(&mut tx, &actor, "source.silence", &source.name, detail, now).await?;
        for group in touched_by_silence(&mut tx, &mapping, source).await? {
            touched.entry(group).or_insert(source);
        }
    }
    for (group, source) in touched {
        let evidence = Evidence { mapping: &mapping, by: &source.name, actor: &actor, recorded_at, now };
        refold_all(&mut tx, &evidence, BTreeSet::from([group]), &BTreeSet::new()).await?;
    }
    tx.commit().await?;
    Ok(noted)
}

/// Since when the source is silent or not, where that is not what is recorded.
fn changed(last: &BTreeMap<String, (Instant, bool)>, source: &Source, now: Instant) -> Option<(Instant, bool)> {
    let (at, noted) = *last.get(&source.name)?;
    let gap = source.heartbeat_gap_seconds.map(|gap| i64::from(gap) * SECOND);
    let is_silent = gap.is_some_and(|gap| now.micros() - at.micros() > gap);
    (is_silent != noted).then_some((at, is_silent))
}
