//! The oracle: what must hold at any moment, and what must hold in the end.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use uuid::Uuid;

use super::billing::Books;
use super::{Soak, locked};
use crate::domain::feed::credit_name;
use crate::domain::ids::CreditId;
use crate::domain::money::Money;
use crate::flows::verify_books::verify_books;
use crate::store::{books, feed, oracle, snapshot};

/// How many broken promises of one kind are told.
const TOLD: usize = 5;

/// What one look at the books found.
#[derive(Debug, Default)]
pub struct Found {
    pub credits: usize,
    pub credited_minor: i64,
    pub feed_items: i64,
    pub chain_rows: i64,
    pub broken: Vec<String>,
}

/// Looks at everything in one snapshot. What was acknowledged before must be in it; with `at_rest`, nothing may be under way either,
/// and each decision is posted. Fails only where the database is away.
pub async fn look(soak: &Soak, at_rest: bool) -> anyhow::Result<Found> {
    let credits = locked(&soak.ledger.credits).clone();
    let claims = locked(&soak.ledger.claims).clone();
    let answers = locked(&soak.ledger.answers).clone();
    let reversed = locked(&soak.ledger.reversed).clone();
    let mut tx = snapshot::open(&soak.opened.pool).await?;
    let mut found = Found::default();
    let mut controls = books::control_totals(&mut tx).await?;
    controls.extend(oracle::orphans(&mut tx).await?);
    let differ = controls.into_iter().filter(|one| one.left != one.right);
    found.broken.extend(differ.map(|one| format!("{}: {} and {}", one.name, one.left, one.right)));

    let there: BTreeMap<Uuid, i64> = oracle::credits(&mut tx).await?.into_iter().collect();
    found.credits = there.len();
    found.credited_minor = there.values().sum();
    let lost = credits.iter().filter(|(id, minor)| there.get(id) != Some(minor));
    found.broken.extend(
        lost.take(TOLD).map(|(id, minor)| format!("credit {id} of {minor} was acknowledged: {:?}", there.get(id))),
    );

    let references: Vec<String> = claims.keys().cloned().collect();
    let of_claims = oracle::claims(&mut tx, &references).await?;
    let of_claims: BTreeMap<String, (String, Option<i64>)> =
        of_claims.into_iter().map(|(reference, state, gross)| (reference, (state, gross))).collect();
    let wrong = claims.iter().filter(|(reference, (state, given))| match of_claims.get(*reference) {
        Some((is, gross)) => {
            is != state || gross.is_some_and(|gross| Some(gross) != *given) || at_rest && gross != given
        }
        None => true,
    });
    found.broken.extend(wrong.take(TOLD).map(|(reference, acknowledged)| {
        format!("claim {reference} was acknowledged as {acknowledged:?}: {:?}", of_claims.get(reference))
    }));

    let booked: BTreeSet<(Uuid, String, String)> = oracle::answers(&mut tx).await?.into_iter().collect();
    found.broken.extend(
        answers
            .difference(&booked)
            .take(TOLD)
            .map(|answer| format!("billing's answer {answer:?} was taken and is gone")),
    );
    let taken_back: BTreeSet<Uuid> = oracle::reversed(&mut tx).await?.into_iter().collect();
    let lost = reversed.difference(&taken_back).take(TOLD);
    found.broken.extend(lost.map(|id| format!("the reversal of {id} was acknowledged and is gone")));
    let under_way = oracle::under_way(&mut tx).await?;
    if at_rest && under_way > 0 {
        found.broken.push(format!("{under_way} events, decisions or runs are still under way"));
    }
    found.feed_items = feed::head(&mut tx, feed::LANE).await?.feed_pos;
    tx.rollback().await?;

    let verified = verify_books(&soak.opened.pool).await?;
    found.chain_rows = verified.checked;
    found.broken.extend(verified.broken.map(|words| format!("the books do not verify: {words}")));
    Ok(found)
}

/// Compares what a billing system has with what was committed: each credit once, with its amount, and each item as it stands.
pub async fn compare(soak: &Soak, name: &str, kept: &Books) -> anyhow::Result<Vec<String>> {
    let mut broken = Vec::new();
    let mut tx = snapshot::open(&soak.opened.pool).await?;
    let Some(pulled) = kept.credits() else {
        return Ok(vec![format!("{name} was given a credit twice, or one that it cannot read")]);
    };
    let committed: BTreeMap<Uuid, String> = oracle::credits(&mut tx)
        .await?
        .into_iter()
        .map(|(id, minor)| Ok((id, Money::from_minor(minor, soak.world.currency).context("an amount")?.digits())))
        .collect::<anyhow::Result<_>>()?;
    for (id, gross) in &committed {
        if pulled.get(id) != Some(gross) {
            broken.push(format!("{name} has {:?} for {} of {gross}", pulled.get(id), credit_name(CreditId(*id))));
        }
    }
    let invented = pulled.keys().filter(|id| !committed.contains_key(id));
    broken.extend(invented.map(|id| format!("{name} was given {id}, which nobody committed")));
    let mut after = 0;
    loop {
        let items = feed::items_after(&mut tx, feed::LANE, after, 5_000).await?;
        let Some(last) = items.last() else { break };
        after = last.pos;
        for item in &items {
            let is_same =
                kept.items.get(&item.pos).is_some_and(|one| one["op"] == item.op && one["credit"] == item.body);
            if !is_same {
                broken.push(format!("{name} has position {} as {:?}", item.pos, kept.items.get(&item.pos)));
            }
        }
    }
    if kept.items.len() != usize::try_from(after).unwrap_or(usize::MAX) {
        broken.push(format!("{name} has {} items, and the feed has {after}", kept.items.len()));
    }
    broken.truncate(TOLD);
    Ok(broken)
}
