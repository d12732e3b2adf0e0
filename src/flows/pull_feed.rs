//! Billing pulls: a page after a cursor, and the note of how far it was served.

use serde::Serialize;
use serde_json::Value;
use sqlx::PgPool;

use super::sequence_feed::check_origin;
use crate::domain::feed::{Cursor, stale_cursor};
use crate::domain::time::Instant;
use crate::store::feed::Head;
use crate::store::{Error, Tx, feed};

/// One page. The same cursor and limit give the same bytes for good once the page is full, within an epoch.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FeedPage {
    #[schema(example = "feed_page")]
    pub object: &'static str,
    /// Changes after a restore or a lossy fail-over; cursors of another epoch are refused.
    #[schema(example = 1)]
    pub epoch: i32,
    pub data: Vec<FeedItem>,
    /// Send it as `after` for the next page. Opaque.
    pub next_cursor: String,
    /// Whether the page is full, so that more may be waiting: ask on. A page that is not full ends the feed for now.
    pub has_more: bool,
}

/// One numbered item.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FeedItem {
    /// Dense: 1, 2, 3, without a gap.
    #[schema(example = 1)]
    pub position: i64,
    /// `issue`: give the account this credit. `offer`: the same again, after a refusal. `cancel`: put it on no bill. `debit`: it stood on a bill and
    /// was taken back, so bill the account this much.
    #[schema(example = "issue")]
    pub op: String,
    /// What it is about: `id, account, bill_to, road, currency, gross, net, tax, tax_code, reason, service_period, claim,
    /// effective_date, issued_at`.
    #[schema(value_type = Object)]
    pub credit: Value,
}

/// The page after `after` (none: from the beginning) for `consumer`.
pub async fn pull_feed(
    pool: &PgPool,
    consumer: &str,
    after: Option<&str>,
    limit: i64,
    now: Instant,
) -> Result<FeedPage, Error> {
    let mut tx = pool.begin().await?;
    let head = feed::head(&mut tx, feed::LANE).await?;
    check_origin(&mut tx, &head, now).await?;
    let start = match after {
        Some(text) => check_cursor(&mut tx, &head, Cursor::parse(text)?).await?,
        None => Cursor::at(head.epoch, 0, &[0; 32]),
    };
    let items = feed::items_after(&mut tx, feed::LANE, start.pos, limit).await?;
    // Not whether there is another item by now: that would change the bytes of a page that was served.
    let has_more = usize::try_from(limit).is_ok_and(|limit| items.len() >= limit);
    let next = items.last().map_or(start, |last| Cursor::at(head.epoch, last.pos, &last.hash));
    if let Some(last) = items.last() {
        feed::delivered(&mut tx, feed::LANE, consumer, head.epoch, last.pos, now).await?;
    }
    tx.commit().await?;
    Ok(FeedPage {
        object: "feed_page",
        epoch: head.epoch,
        data: items.into_iter().map(|item| FeedItem { position: item.pos, op: item.op, credit: item.body }).collect(),
        next_cursor: next.text(),
        has_more,
    })
}

/// A cursor must be of this epoch, not beyond the head, and know the item before it.
async fn check_cursor(tx: &mut Tx, head: &Head, cursor: Cursor) -> Result<Cursor, Error> {
    if cursor.epoch != head.epoch {
        return Err(stale_cursor("This cursor is of another epoch: the feed was restored or taken over since.").into());
    }
    if cursor.pos > head.feed_pos {
        return Err(stale_cursor("This cursor is beyond the end of the feed.").into());
    }
    let before = if cursor.pos == 0 { Some([0; 32]) } else { feed::hash_at(tx, head.lane, cursor.pos).await? };
    match before {
        Some(hash) if Cursor::at(cursor.epoch, cursor.pos, &hash) == cursor => Ok(cursor),
        Some(_) | None => Err(stale_cursor("The item before this cursor is not the one that was delivered.").into()),
    }
}
