//! Billing pulls: a page after a cursor, and the note of how far it was served.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use super::sequence_feed::check_origin;
use crate::domain::chain::Hash;
use crate::domain::feed::{Cursor, ITEM_NAME, stale_cursor};
use crate::domain::refusal::Refusal;
use crate::domain::time::Instant;
use crate::store::feed::{Head, Standing, Told};
use crate::store::{Error, feed};

/// One page. The same cursor and limit give the same bytes for good once the page is full, within an epoch.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FeedPage {
    #[schema(example = "feed_page")]
    pub object: String,
    /// Changes after a restore or a lossy fail-over; cursors of another epoch are refused.
    #[schema(example = 1)]
    pub epoch: i32,
    pub data: Vec<FeedItem>,
    /// Send it as `after` for the next page. Opaque, and of this consumer alone.
    pub next_cursor: String,
    /// Whether the page is full, so that more may be waiting: ask on. A page that is not full ends the feed for now.
    pub has_more: bool,
}

/// One numbered item.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FeedItem {
    /// Dense: 1, 2, 3, without a gap.
    #[schema(example = 1)]
    pub position: i64,
    /// The item's name for good: the same event has the same one in every epoch, whatever its position.
    #[schema(example = "evt_00000000000000000000000000000000")]
    pub id: String,
    /// `issue`: give the account this credit. `offer`: the same again, after a refusal. `cancel`: put it on no bill. `debit`: it stood on a bill and
    /// was taken back, so bill the account this much.
    #[schema(example = "issue")]
    pub op: String,
    /// What it is about: `id, account, bill_to, road, currency, gross, net, tax, tax_code, reason, service_period, claim,
    /// effective_date, issued_at`.
    #[schema(value_type = Object)]
    pub credit: Value,
}

/// A page as it was read.
#[derive(Debug)]
pub struct Pulled {
    /// The page as a [`FeedPage`] in JSON.
    pub json: String,
    pub next: String,
    pub has_more: bool,
}

impl Pulled {
    /// The page with its items read.
    pub fn page(&self) -> Result<FeedPage, Error> {
        serde_json::from_str(&self.json).map_err(|error| Error::Corrupt(format!("feed.body is no JSON: {error}")))
    }
}

/// A page while it is read. What the items say was JSON when it was numbered, and is not made anew.
struct Reading {
    json: String,
    /// How many items it has.
    count: i64,
    last: Option<(i64, Hash)>,
}

impl Reading {
    /// How much room an item takes, about.
    const ITEM: usize = 512;

    /// With room for so many items.
    fn begin(epoch: i32, items: i64) -> Self {
        let mut json = String::with_capacity(Reading::ITEM * usize::try_from(items).unwrap_or(1));
        json.push_str(&format!("{{\"object\":\"feed_page\",\"epoch\":{epoch},\"data\":["));
        Reading { json, count: 0, last: None }
    }

    fn item(&mut self, item: &Told<'_>) {
        let Told { pos, event_id, op, body, hash } = item;
        if self.count > 0 {
            self.json.push(',');
        }
        for part in ["{\"position\":", &pos.to_string(), ",\"id\":\"", ITEM_NAME] {
            self.json.push_str(part);
        }
        self.json.push_str(event_id.simple().encode_lower(&mut Uuid::encode_buffer()));
        // An operation is a word of ours, with nothing in it to escape.
        for part in ["\",\"op\":\"", op, "\",\"credit\":", body, "}"] {
            self.json.push_str(part);
        }
        self.count += 1;
        self.last = Some((*pos, *hash));
    }

    fn end(mut self, next: String, has_more: bool) -> Pulled {
        self.json.push_str(&format!("],\"next_cursor\":\"{next}\",\"has_more\":{has_more}}}"));
        Pulled { json: self.json, next, has_more }
    }
}

/// The page after `after` (none: from the beginning) for `consumer`.
pub async fn pull_feed(
    pool: &PgPool,
    consumer: &str,
    after: Option<&str>,
    limit: i64,
    now: Instant,
) -> Result<FeedPage, Error> {
    pull(pool, consumer, after, limit, now).await?.page()
}

/// The same, as it was read.
pub async fn pull(
    pool: &PgPool,
    consumer: &str,
    after: Option<&str>,
    limit: i64,
    now: Instant,
) -> Result<Pulled, Error> {
    let asked = after.map(Cursor::parse).transpose()?;
    let mut conn = pool.acquire().await?;
    let Standing { head, epochs, .. } = check_origin(&mut conn, feed::LANE, now).await?;
    let start = match asked {
        Some(cursor) => cursor,
        None => Cursor::at(head.epoch, 0, &[0; 32], consumer),
    };
    check_place(&head, start)?;
    let mut reading = Reading::begin(head.epoch, limit.min(head.feed_pos - start.pos));
    // With the item that stands before the page: the cursor must know it.
    let is_first = start.pos == 0;
    let mut known = is_first.then_some([0; 32]);
    let asked = limit + i64::from(!is_first);
    conn = feed::each_from(conn, feed::LANE, &epochs, start.pos, asked, |item| {
        if item.pos > start.pos {
            reading.item(&item);
        } else {
            known = Some(item.hash);
        }
    })
    .await?;
    if known.is_none_or(|hash| Cursor::at(start.epoch, start.pos, &hash, consumer) != start) {
        return Err(stale_cursor(
            "This cursor was given to another consumer, or the item before it is not the one that was delivered.",
        )
        .into());
    }
    // Not whether there is another item by now: that would change the bytes of a page that was served.
    let has_more = reading.count >= limit;
    let next = match reading.last {
        Some((pos, hash)) => Cursor::at(head.epoch, pos, &hash, consumer),
        None => start,
    };
    if next.pos > start.pos {
        feed::delivered(&mut conn, feed::LANE, consumer, head.epoch, next.pos, now).await?;
    }
    Ok(reading.end(next.text(), has_more))
}

/// A cursor must be of this epoch and not beyond the head.
fn check_place(head: &Head, cursor: Cursor) -> Result<(), Refusal> {
    if cursor.epoch != head.epoch {
        return Err(stale_cursor("This cursor is of another epoch: the feed was restored or taken over since."));
    }
    if cursor.pos > head.feed_pos {
        return Err(stale_cursor("This cursor is beyond the end of the feed."));
    }
    Ok(())
}
