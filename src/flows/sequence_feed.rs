//! The sequencer: gives what was committed its numbers, in the feed and in the chain.
//!
//! Numbers are given after commit, by one writer a lane, so there is no gap and nothing can appear behind a reader: a row
//! whose transaction is still open is simply not in the outbox yet.

use std::sync::LazyLock;

use sqlx::PgPool;

use crate::domain::chain::{Hash, link};
use crate::domain::feed::item_hash;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::Instant;
use crate::failpoint;
use crate::store::feed::{Head, Item, Standing, Waiting};
use crate::store::{Error, Tx, books, feed, mass_credits};

/// How many events one transaction numbers.
const BATCH: i64 = 5_000;

/// This process, as holder of leases.
static OWNER: LazyLock<String> = LazyLock::new(|| uuid::Uuid::now_v7().to_string());

/// Numbers what waits in `lane`, up to a batch, and says how many events that were. Nothing where another process does.
pub async fn sequence_feed(pool: &PgPool, lane: i16, now: Instant) -> Result<usize, Error> {
    sequence_as(pool, lane, &OWNER, now).await
}

/// The same as `owner`: whoever numbered last goes on, and is followed by another only when its lease ran out. The lane's row, locked
/// until commit, is what lets no two number at once; the lease keeps the lane with one server, and others from trying.
pub async fn sequence_as(pool: &PgPool, lane: i16, owner: &str, now: Instant) -> Result<usize, Error> {
    let mut tx = pool.begin().await?;
    let Some(mut head) = feed::take_lane(&mut tx, lane, owner).await? else { return Ok(0) };
    if let Err(refused) = check_origin(&mut tx, lane, now).await {
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
    if !feed::keep_lease(&mut tx, lane, owner).await? {
        tx.rollback().await?;
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

/// Where the lane stands. Refuses to go on where the database is not the one that the epoch was opened on: a backup was restored,
/// or another server took over. Positions that consumers know may be given out again there, so a person opens a new epoch first.
pub async fn check_origin(tx: &mut Tx, lane: i16, now: Instant) -> Result<Standing, Error> {
    let standing = feed::standing(tx, lane).await?;
    refuse_copy(&standing)?;
    match &standing.opened {
        None => feed::put_origin(tx, standing.head.epoch, &standing.here, now).await?,
        Some(opened) if *opened == standing.here => {}
        Some(_) => return Err(stopped().into()),
    }
    Ok(standing)
}

/// What is read of a server that recovers, or of a copy, may never have happened, or not yet.
fn refuse_copy(standing: &Standing) -> Result<(), Refusal> {
    if standing.here.timeline >= 0 {
        return Ok(());
    }
    let words = "This database still recovers, or is a copy that only reads: the feed is read where it is written. Try again in a moment.";
    Err(Refusal::new(Code::Unavailable, words))
}

/// What everybody is told until a new epoch is opened.
pub fn stopped() -> Refusal {
    Refusal::new(
        Code::Unavailable,
        "The feed is stopped: this database was restored or taken over since its epoch was opened. \
         Run `makegood feed new-epoch`, then let billing start from the beginning.",
    )
}

/// Opens the next epoch on the database as it is now; every cursor of an earlier one is refused from then on.
pub async fn new_epoch(pool: &PgPool, lane: i16, now: Instant) -> Result<i32, Error> {
    let mut tx = pool.begin().await?;
    let mut head = feed::take_lane_from_all(&mut tx, lane).await?;
    let standing = feed::standing(&mut tx, lane).await?;
    refuse_copy(&standing)?;
    let here = standing.here;
    head.epoch += 1;
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
