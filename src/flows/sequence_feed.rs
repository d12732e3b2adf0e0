//! The sequencer: gives what was committed its numbers, in the feed and in the chain.
//!
//! Numbers are given after commit, by one writer a lane, so there is no gap and nothing can appear behind a reader: a row
//! whose transaction is still open is simply not in the outbox yet.

use std::sync::LazyLock;

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::domain::chain::link;
use crate::domain::feed::item_hash;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::Instant;
use crate::failpoint;
use crate::store::feed::{Head, NewItem, Place, Standing, Waiting, WaitingItem};
use crate::store::{Error, Tx, books, feed, mass_credits};

/// How many events one transaction numbers.
const BATCH: i64 = 5_000;

/// Before every event.
const BEGINNING: Place = (Uuid::nil(), i64::MIN);

/// This process, as holder of leases.
static OWNER: LazyLock<String> = LazyLock::new(|| Uuid::now_v7().to_string());

/// Numbers what waits in `lane`, up to a batch, and says how many events that were. Nothing where another process does.
pub async fn sequence_feed(pool: &PgPool, lane: i16, now: Instant) -> Result<usize, Error> {
    Sequencer::new(lane).step(pool, now).await
}

/// Whoever numbers a lane, batch after batch. It goes through the outbox from the first account to the last and begins again, so that it
/// does not pass by everything that it has taken out already each time. An account's own events keep their order: behind what was
/// taken, only later ones come. Where the lane does not stand as this left it, it begins at the beginning: another numbered, or the
/// database was set back and holds again what was taken.
#[derive(Debug)]
pub struct Sequencer {
    lane: i16,
    owner: String,
    left: Left,
}

/// Where a batch left the lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Left {
    epoch: i32,
    chain_no: i64,
    /// The last event that was taken.
    after: Place,
}

/// Where nothing was taken.
const NOTHING: Left = Left { epoch: 0, chain_no: -1, after: BEGINNING };

impl Sequencer {
    pub fn new(lane: i16) -> Self {
        Sequencer::of(lane, &OWNER)
    }

    /// As another owner: whoever numbered last goes on, and is followed by another only when its lease ran out.
    pub fn of(lane: i16, owner: &str) -> Self {
        Sequencer { lane, owner: owner.to_owned(), left: NOTHING }
    }

    /// Numbers what waits, up to a batch, and says how many events that were; 0 where nothing waits or another numbers.
    pub async fn step(&mut self, pool: &PgPool, now: Instant) -> Result<usize, Error> {
        let left = std::mem::replace(&mut self.left, NOTHING);
        let (taken, left) = number_batch(pool, self.lane, &self.owner, left, now).await?;
        self.left = left;
        Ok(taken)
    }
}

/// One batch after what was left; gives how many events that were, and what is left now. The lane's row, locked until commit, is what lets
/// no two number at once; the lease keeps the lane with one server, and others from trying.
async fn number_batch(pool: &PgPool, lane: i16, owner: &str, left: Left, now: Instant) -> Result<(usize, Left), Error> {
    let mut tx = pool.begin().await?;
    let Some(mut head) = feed::take_lane(&mut tx, lane, owner).await? else { return Ok((0, NOTHING)) };
    let is_as_left = (head.epoch, head.chain_no) == (left.epoch, left.chain_no);
    let after = if is_as_left { left.after } else { BEGINNING };
    if let Err(refused) = check_origin(&mut tx, lane, now).await {
        // The lane is free again when this says so, and not some time after.
        tx.rollback().await?;
        return Err(refused);
    }
    mass_credits::look_up_by_key(&mut tx).await?;
    let mut waiting = feed::take_waiting(&mut tx, lane, after, BATCH).await?;
    if waiting.is_empty() && after != BEGINNING {
        waiting = feed::take_waiting(&mut tx, lane, BEGINNING, BATCH).await?;
    }
    let Some(last) = waiting.last().map(Waiting::place) else {
        tx.commit().await?;
        return Ok((0, NOTHING));
    };
    if !feed::keep_lease(&mut tx, lane, owner).await? {
        tx.rollback().await?;
        return Ok((0, NOTHING));
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
    Ok((waiting.len(), Left { epoch: head.epoch, chain_no: head.chain_no, after: last }))
}

/// Where the lane stands. Refuses to go on where the database is not the one that the epoch was opened on: a backup was restored,
/// or another server took over. Positions that consumers know may be given out again there, so a person opens a new epoch first.
pub async fn check_origin(conn: &mut PgConnection, lane: i16, now: Instant) -> Result<Standing, Error> {
    let standing = feed::standing(conn, lane).await?;
    refuse_copy(&standing)?;
    match &standing.opened {
        None => feed::put_origin(conn, standing.head.epoch, &standing.here, now).await?,
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
    let pairs = |ids: fn(&Waiting) -> &Vec<Uuid>| -> (Vec<Uuid>, Vec<Uuid>) {
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
            links.push(books::NewLink {
                no: head.chain_no,
                kind,
                account_id: event.account_id,
                row_id: *id,
                hash: head.chain_hash,
            });
        }
    }
    books::insert_links(tx, head.lane, &links).await
}

fn number<'w>(head: &mut Head, waiting: &'w [Waiting]) -> Vec<NewItem<'w>> {
    let mut items = Vec::with_capacity(waiting.len());
    for event in waiting {
        let Some(WaitingItem { credit_id, op, body }) = &event.item else { continue };
        head.feed_pos += 1;
        head.feed_hash = item_hash(&head.feed_hash, head.feed_pos, op, body);
        items.push(NewItem {
            pos: head.feed_pos,
            event_id: event.event_id,
            account_id: event.account_id,
            credit_id: *credit_id,
            op,
            body,
            hash: head.feed_hash,
        });
    }
    items
}
