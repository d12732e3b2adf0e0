//! The auditor asks: does every row stand where it stood, and is none missing?

use sqlx::PgPool;

use crate::domain::checkpoint::{Checkpoint, LaneMark};
use crate::domain::proof::{Findings, Verified, Walk, What};
use crate::store::{Error, Tx, books, feed, proof, snapshot};

/// How many rows are read at once, so that memory does not grow with the books.
const BATCH: i64 = 5_000;

/// How many rows outside the chain are named.
const NAMED: i64 = 20;

/// Walks the chains and the feed from their beginnings, without checkpoints.
pub async fn verify_books(pool: &PgPool) -> Result<Verified, Error> {
    verify_against(pool, &[], &mut |_, _| {}).await
}

/// Walks the chains and the feed from their beginnings, in one snapshot, and compares every hash with the row it is of, with the one
/// before it and with the checkpoints; then looks for rows that stand in no chain, and asks the control totals. `progress` hears
/// how many entries were walked, and of how many.
pub async fn verify_against(
    pool: &PgPool,
    checkpoints: &[Checkpoint],
    progress: &mut (dyn FnMut(i64, i64) + Send),
) -> Result<Verified, Error> {
    let mut tx = snapshot::open(pool).await?;
    let (mut findings, mut checked, mut items) = (Findings::default(), 0, 0);
    let mut head = None;
    let lanes = proof::lanes(&mut tx).await?;
    for lane in &lanes {
        let mark = proof::mark(&feed::head(&mut tx, *lane).await?);
        head.get_or_insert(mark.chain_hash);
        let mut walk = Walk::from(LaneMark::beginning(*lane), checkpoints);
        walk_lane(&mut tx, &mut walk, &mark, progress).await?;
        walk.end(&mark);
        (checked, items) = (checked + walk.at().chain_no, items + walk.at().feed_pos);
        findings.append(walk.findings);
    }
    if let Some(checkpoint) = checkpoints.last() {
        for mark in checkpoint.lanes.iter().filter(|mark| !lanes.contains(&mark.lane)) {
            let words = format!("Checkpoint {} saw a lane {}, and there is none.", checkpoint.no, mark.lane);
            findings.add(What::TailCut, words);
        }
    }
    look_outside(&mut tx, &mut findings).await?;
    Ok(Verified {
        checked,
        items,
        head: head.unwrap_or_default(),
        checkpoints: checkpoints.len(),
        waiting: proof::waiting(&mut tx).await?,
        broken: findings.first.first().map(|finding| finding.words.clone()),
        findings,
    })
}

/// Walks a lane from where `walk` stands to its end. `head` says how many entries to expect.
pub(super) async fn walk_lane(
    tx: &mut Tx,
    walk: &mut Walk,
    head: &LaneMark,
    progress: &mut (dyn FnMut(i64, i64) + Send),
) -> Result<(), Error> {
    let lane = head.lane;
    let mut after = walk.at().chain_no;
    loop {
        let entries = proof::entries_after(tx, lane, after, BATCH).await?;
        let Some(last) = entries.last() else { break };
        after = last.no;
        entries.iter().for_each(|entry| walk.entry(entry));
        progress(after, head.chain_no);
    }
    after = walk.at().feed_pos;
    loop {
        let items = proof::items_after(tx, lane, after, BATCH).await?;
        let Some(last) = items.last() else { break };
        after = last.pos;
        items.iter().for_each(|item| walk.item(item));
    }
    Ok(())
}

/// What no chain holds: rows that were put beside it, rows that were taken before they were numbered, and the credits themselves,
/// which their transfers and the control totals hold.
async fn look_outside(tx: &mut Tx, findings: &mut Findings) -> Result<(), Error> {
    let (rows, count) = proof::outside(tx, NAMED).await?;
    for row in &rows {
        let words = format!(
            "The {} {} of account {}, recorded at {}, stands in no chain and waits for no number: makegood did not write it. Find \
             out who did; a reversal is how money is taken back.",
            row.kind,
            row.row_id,
            row.account_id,
            row.recorded_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
        );
        findings.add(What::OutsideChain, words);
    }
    let more = count - i64::try_from(rows.len()).unwrap_or(count);
    if more > 0 {
        findings.add(What::OutsideChain, format!("{more} more rows stand in no chain."));
    }
    let gone = proof::waiting_gone(tx).await?;
    if gone > 0 {
        findings.add(What::RowGone, format!("{gone} rows that wait for their number are gone from the books."));
    }
    for (account, credit) in proof::credits_that_differ(tx).await? {
        let words = format!(
            "Credit {credit} of account {account} says another amount than its issuing posted. The transfers are in the chain, so the \
             credit's own row was changed."
        );
        findings.add(What::TotalsDiffer, words);
    }
    for one in books::control_totals(tx).await?.iter().filter(|one| one.left != one.right) {
        let words = format!("Control total: {}: {} and {}.", one.name, one.left, one.right);
        findings.add(What::TotalsDiffer, words);
    }
    Ok(())
}
