//! The sequencer: gives what was committed its numbers, in the feed and in the chain.
//!
//! Numbers are given after commit, by one writer a lane, so there is no gap and nothing can appear behind a reader: a row
//! whose transaction is still open is simply not in the outbox yet.

use sqlx::PgPool;

use crate::domain::chain::{Hash, link};
use crate::domain::feed::item_hash;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::Instant;
use crate::failpoint;
use crate::store::feed::{Head, Item, Waiting};
use crate::store::{Error, Tx, books, feed, mass_credits};

/// How many events one transaction numbers.
const BATCH: i64 = 5_000;

/// Numbers what waits in `lane`, up to a batch, and says how many events that were. Nothing where somebody else is at it.
pub async fn sequence_feed(pool: &PgPool, lane: i16, now: Instant) -> Result<usize, Error> {
    let mut tx = pool.begin().await?;
    let Some(mut head) = feed::take_lane(&mut tx, lane).await? else { return Ok(0) };
    if let Err(refused) = check_origin(&mut tx, &head, now).await {
        // The lane is free again when this says so, and not some time after.
        tx.rollback().await?;
        return Err(refused);
    }
    mass_credits::look_up_by_key(&mut tx).await?;
    let waiting = feed::take_waiting(&mut tx, lane, BATCH).await?;
    if waiting.is_empty() {
        tx.commit().await?;
        return Ok(0);
    }
    failpoint::reach("sequence.after_take").await;
    chain(&mut tx, &mut head, &waiting).await?;
    failpoint::reach("sequence.after_chain").await;
    let items = number(&mut head, &waiting);
    feed::insert_items(&mut tx, &head, &items, now).await?;
    failpoint::reach("sequence.after_items").await;
    feed::save_head(&mut tx, &head).await?;
    failpoint::reach("sequence.before_commit").await;
    tx.commit().await?;
    failpoint::reach("sequence.after_commit").await;
    Ok(waiting.len())
}

/// Refuses to go on where the database is not the one that the epoch was opened on: a backup was restored, or another server
/// took over. Positions that consumers know may be given out again there, so a person opens a new epoch first.
pub async fn check_origin(tx: &mut Tx, head: &Head, now: Instant) -> Result<(), Error> {
    let here = feed::this_origin(tx).await?;
    match feed::origin_of(tx, head.epoch).await? {
        None => feed::put_origin(tx, head.epoch, &here, now).await,
        Some(opened) if opened == here => Ok(()),
        Some(_) => Err(Refusal::new(
            Code::Unavailable,
            "The feed is stopped: this database was restored or taken over since its epoch was opened. \
             Run `makegood feed new-epoch`, then let billing start from the beginning.",
        )
        .into()),
    }
}

/// Opens the next epoch on the database as it is now; every cursor of an earlier one is refused from then on.
pub async fn new_epoch(pool: &PgPool, lane: i16, now: Instant) -> Result<i32, Error> {
    let mut tx = pool.begin().await?;
    let Some(mut head) = feed::take_lane(&mut tx, lane).await? else {
        return Err(Refusal::new(Code::Unavailable, "The lane is being numbered just now. Try again.").into());
    };
    head.epoch += 1;
    let here = feed::this_origin(&mut tx).await?;
    feed::put_origin(&mut tx, head.epoch, &here, now).await?;
    feed::save_head(&mut tx, &head).await?;
    tx.commit().await?;
    Ok(head.epoch)
}

async fn chain(tx: &mut Tx, head: &mut Head, waiting: &[Waiting]) -> Result<(), Error> {
    let pairs = |ids: fn(&Waiting) -> &Vec<uuid::Uuid>| -> (Vec<uuid::Uuid>, Vec<uuid::Uuid>) {
        waiting.iter().flat_map(|event| ids(event).iter().map(|id| (event.account_id, *id))).unzip()
    };
    let (accounts, ids) = pairs(|event| &event.transfer_ids);
    let transfers = books::encoded_transfers(tx, &accounts, &ids).await?;
    let (accounts, ids) = pairs(|event| &event.audit_ids);
    let audits = books::encoded_audits(tx, &accounts, &ids).await?;
    let mut links = Vec::new();
    for event in waiting {
        let rows = event.transfer_ids.iter().map(|id| ("transfer", id, transfers.get(id)));
        for (kind, id, encoded) in rows.chain(event.audit_ids.iter().map(|id| ("audit", id, audits.get(id)))) {
            let encoded =
                encoded.ok_or_else(|| Error::Corrupt(format!("outbox names {kind} {id}, which is not there")))?;
            head.chain_no += 1;
            head.chain_hash = link(&head.chain_hash, encoded);
            links.push(books::Link {
                no: head.chain_no,
                kind: kind.to_owned(),
                account_id: event.account_id,
                row_id: *id,
                hash: head.chain_hash.to_vec(),
            });
        }
    }
    books::insert_links(tx, head.lane, &links).await
}

fn number(head: &mut Head, waiting: &[Waiting]) -> Vec<Item> {
    let mut items = Vec::new();
    for event in waiting {
        let (Some(credit), Some(op), Some(body)) = (event.credit_id, &event.op, &event.body) else { continue };
        head.feed_pos += 1;
        let hash: Hash = item_hash(&head.feed_hash, head.feed_pos, op, body);
        head.feed_hash = hash;
        items.push(Item {
            pos: head.feed_pos,
            event_id: event.event_id,
            account: crate::domain::ids::AccountId(event.account_id),
            credit: crate::domain::ids::CreditId(credit),
            op: op.clone(),
            body: body.clone(),
            hash,
        });
    }
    items
}
