//! The directory as a whole: mailboxes that are contested, moving or nowhere, and what was settled about them. Batch queries.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::evidence::instant;
use super::{Error, accounts, charges, placements, subscriptions};
use crate::domain::account::Account;
use crate::domain::ids::AccountId;
use crate::domain::period::Month;
use crate::domain::placement::{self, MailboxHistory, PlacementEvent, SETTLED_BY};
use crate::domain::time::{Instant, Interval};

/// A place in a list by account and mailbox: after it.
pub type Place = (AccountId, String);

/// How many mailboxes or accounts one page looks at. Where few of many are to be listed, a page may hold none and yet not be
/// the last.
const LOOKED_AT: usize = 20_000;

/// How many of them are loaded at once.
const AT_ONCE: i64 = 1_000;

/// A part of a list, and where to go on; none at its end.
#[derive(Debug)]
pub struct Page<T> {
    pub rows: Vec<T>,
    pub next: Option<Place>,
}

/// A mailbox of which it is not known where it was.
#[derive(Debug)]
pub struct Contested {
    /// The account's reference.
    pub account: String,
    pub mailbox: String,
    /// When, within the period.
    pub times: Vec<Interval>,
    /// What sources say that reaches into these times.
    pub said: Vec<PlacementEvent>,
}

/// The mailboxes that are contested in `period`, in the zones of their accounts, by account and mailbox.
pub async fn contested(
    conn: &mut PgConnection,
    period: Month,
    after: Option<Place>,
    limit: usize,
) -> Result<Page<Contested>, Error> {
    let (_, until) = widest(period)?;
    let (mut at, mut looked, mut rows) = (after, 0, Vec::new());
    loop {
        let found = disputable(conn, at.as_ref(), until, AT_ONCE).await?;
        let is_last = found.len() < usize::try_from(AT_ONCE).unwrap_or(usize::MAX);
        looked += found.len();
        for (place, account, history) in histories(conn, found, Instant::MIN, until).await? {
            if rows.len() == limit {
                return Ok(Page { rows, next: at });
            }
            at = Some(place);
            rows.extend(contested_in(&account, &history, period.interval(account.zone))?);
        }
        if is_last {
            return Ok(Page { rows, next: None });
        }
        if looked >= LOOKED_AT {
            return Ok(Page { rows, next: at });
        }
    }
}

/// From the first instant that belongs to the period in some zone up to the last.
fn widest(period: Month) -> Result<(Instant, Instant), Error> {
    let day = crate::domain::time::DAY;
    let utc = "UTC".parse().map_err(|_| Error::Corrupt("there is no zone UTC".to_owned()))?;
    let whole = period.interval(utc);
    Ok((whole.start().plus(-day), whole.end().plus(day)))
}

fn contested_in(account: &Account, history: &MailboxHistory, period: Interval) -> Result<Option<Contested>, Error> {
    let said = history.said(period).map_err(|wrong| {
        Error::Corrupt(format!("placement: {} says two things from {} on of {}", wrong.source, wrong.from, account.id))
    })?;
    let times = placement::contested(&said, period);
    if times.is_empty() {
        return Ok(None);
    }
    let said = said.iter().filter(|one| times.meets(one.interval)).map(|one| one.event.clone()).collect();
    let times = times.intervals().to_vec();
    Ok(Some(Contested { account: account.reference.clone(), mailbox: history.mailbox.clone(), times, said }))
}

/// The histories of these mailboxes within `from` and `until`, in their order, with their accounts.
async fn histories(
    conn: &mut PgConnection,
    places: Vec<Place>,
    from: Instant,
    until: Instant,
) -> Result<Vec<(Place, Account, MailboxHistory)>, Error> {
    let ids: Vec<AccountId> = places.iter().map(|(account, _)| *account).collect::<BTreeSet<_>>().into_iter().collect();
    let Ok(within) = Interval::new(from, until) else { return Ok(Vec::new()) };
    let placed = placements::of_accounts(conn, &ids, within, None).await?;
    let known = accounts::latest_of(conn, &ids).await?;
    let history =
        |(account, mailbox): &Place| placed.get(account)?.iter().find(|history| history.mailbox == *mailbox).cloned();
    Ok(places
        .into_iter()
        .filter_map(|place| Some((known.get(&place.0)?.clone(), history(&place)?, place)))
        .map(|(account, history, place)| (place, account, history))
        .collect())
}

/// A mailbox that is moving, as one source says it.
#[derive(Debug)]
pub struct Moving {
    /// The account's reference.
    pub account: String,
    pub mailbox: String,
    pub event: PlacementEvent,
}

/// The mailboxes that are moving at `now`, by account and mailbox. What is settled says nothing of it.
pub async fn moving(
    conn: &mut PgConnection,
    now: Instant,
    after: Option<Place>,
    limit: usize,
) -> Result<Page<Moving>, Error> {
    let (mut at, mut looked, mut rows) = (after, 0, Vec::new());
    loop {
        let found = movable(conn, at.as_ref(), AT_ONCE).await?;
        let is_last = found.len() < usize::try_from(AT_ONCE).unwrap_or(usize::MAX);
        looked += found.len();
        for (place, account, history) in histories(conn, found, now, now.plus(1)).await? {
            if rows.len() >= limit {
                return Ok(Page { rows, next: at });
            }
            at = Some(place);
            let events = history.events.into_iter().filter(|event| event.moving_to.is_some());
            rows.extend(events.map(|event| Moving {
                account: account.reference.clone(),
                mailbox: history.mailbox.clone(),
                event,
            }));
        }
        if is_last {
            return Ok(Page { rows, next: None });
        }
        if looked >= LOOKED_AT {
            return Ok(Page { rows, next: at });
        }
    }
}

/// Somebody who pays and of whom it is not known where he lives.
#[derive(Debug)]
pub struct NeverPlaced {
    /// The account's reference.
    pub account: String,
    /// A mailbox that no source ever placed on a shard; none where the account has no mailbox at all in the period.
    pub mailbox: Option<String>,
}

/// Accounts with a subscription or a charge in `period`, of which no mailbox was anywhere in it; and their mailboxes that no
/// source ever placed on a shard. By account.
pub async fn never_placed(
    conn: &mut PgConnection,
    period: Month,
    after: Option<AccountId>,
    limit: usize,
) -> Result<(Vec<NeverPlaced>, Option<AccountId>), Error> {
    let (_, until) = widest(period)?;
    let Ok(ever) = Interval::new(Instant::MIN, until) else { return Ok((Vec::new(), None)) };
    let days = (period.first_day(), period.next().first_day());
    let (mut at, mut looked, mut rows) = (after, 0, Vec::new());
    loop {
        let found = accounts::page(conn, at, AT_ONCE, None).await?;
        let is_last = found.len() < usize::try_from(AT_ONCE).unwrap_or(usize::MAX);
        looked += found.len();
        let ids: Vec<AccountId> = found.iter().map(|account| account.id).collect();
        let subscribed = subscriptions::of_accounts(conn, &ids, None).await?;
        let charged = charges::of_accounts(conn, &ids, days, None).await?;
        let placed = placements::of_accounts(conn, &ids, ever, None).await?;
        for account in found {
            let month = period.interval(account.zone);
            let is_open = account.closed_at().is_none_or(|closed| closed > month.start());
            let pays = charged.contains_key(&account.id)
                || subscribed.get(&account.id).is_some_and(|all| {
                    all.iter()
                        .any(|one| one.valid_from < month.end() && one.valid_to.is_none_or(|end| end > month.start()))
                });
            if rows.len() >= limit {
                return Ok((rows, at));
            }
            at = Some(account.id);
            if pays && is_open {
                rows.extend(nowhere(&account, placed.get(&account.id).map_or(&[], Vec::as_slice), month));
            }
        }
        if is_last {
            return Ok((rows, None));
        }
        if looked >= LOOKED_AT {
            return Ok((rows, at));
        }
    }
}

fn nowhere(account: &Account, mailboxes: &[MailboxHistory], month: Interval) -> Vec<NeverPlaced> {
    let is_there = |history: &MailboxHistory| {
        // One that contradicts itself is somewhere, and listed elsewhere.
        history.said(month).map_or(true, |said| said.iter().any(|one| one.event.homes() != [None, None]))
    };
    let row = |mailbox| NeverPlaced { account: account.reference.clone(), mailbox };
    let has_none = !mailboxes.iter().any(is_there);
    let never = mailboxes.iter().filter(|history| history.events.iter().all(|event| event.homes() == [None, None]));
    has_none.then(|| row(None)).into_iter().chain(never.map(|history| row(Some(history.mailbox.clone())))).collect()
}

fn places(rows: Vec<(Uuid, String)>) -> Vec<Place> {
    rows.into_iter().map(|(account, mailbox)| (AccountId(account), mailbox)).collect()
}

/// Up to `limit` mailboxes after `after` that may be contested before `until`: of which several sources spoke, or which were
/// moving with no side declared live.
async fn disputable(
    conn: &mut PgConnection,
    after: Option<&Place>,
    until: Instant,
    limit: i64,
) -> Result<Vec<Place>, Error> {
    Ok(places(
        sqlx::query_as(
            r#"SELECT account_id, mailbox FROM placement
               WHERE ($1::uuid IS NULL OR (account_id, mailbox) > ($1, $2::text COLLATE "C"))
                 AND valid_from < $3
               GROUP BY account_id, mailbox
              HAVING count(DISTINCT source) FILTER (WHERE settled_until IS NULL) > 1
                  OR bool_or(moving_to IS NOT NULL AND live IS NULL)
               ORDER BY account_id, mailbox LIMIT $4"#,
        )
        .bind(after.map(|(account, _)| account.0))
        .bind(after.map_or("", |(_, mailbox)| mailbox))
        .bind(until.utc())
        .bind(limit)
        .fetch_all(conn)
        .await?,
    ))
}

/// Up to `limit` mailboxes after `after` that were ever said to move.
async fn movable(conn: &mut PgConnection, after: Option<&Place>, limit: i64) -> Result<Vec<Place>, Error> {
    Ok(places(
        sqlx::query_as(
            r#"SELECT DISTINCT account_id, mailbox FROM placement
               WHERE ($1::uuid IS NULL OR (account_id, mailbox) > ($1, $2::text COLLATE "C"))
                 AND moving_to IS NOT NULL
               ORDER BY account_id, mailbox LIMIT $3"#,
        )
        .bind(after.map(|(account, _)| account.0))
        .bind(after.map_or("", |(_, mailbox)| mailbox))
        .bind(limit)
        .fetch_all(conn)
        .await?,
    ))
}

/// What was settled about one mailbox for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    pub id: Uuid,
    pub account: AccountId,
    pub mailbox: String,
    /// None: it was nowhere.
    pub shard: Option<String>,
    pub from: Instant,
    /// As `from` where it was taken back.
    pub to: Instant,
    pub reason: String,
    /// `issuer|subject`.
    pub settled_by: String,
    pub recorded_at: Instant,
}

/// Records the settlement, and the placement that says it.
pub async fn settle(conn: &mut PgConnection, settlement: &Settlement) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO placement_settlement
                 (account_id, settlement_id, recorded_at, mailbox, valid_from, settled_until, shard, reason, settled_by)
          VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(settlement.account.0)
    .bind(settlement.id)
    .bind(settlement.recorded_at.utc())
    .bind(&settlement.mailbox)
    .bind(settlement.from.utc())
    .bind(settlement.to.utc())
    .bind(&settlement.shard)
    .bind(&settlement.reason)
    .bind(&settlement.settled_by)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        r"INSERT INTO placement (account_id, mailbox, valid_from, source, recorded_at, shard, settled_until)
          VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(settlement.account.0)
    .bind(&settlement.mailbox)
    .bind(settlement.from.utc())
    .bind(SETTLED_BY)
    .bind(settlement.recorded_at.utc())
    .bind(&settlement.shard)
    .bind(settlement.to.utc())
    .execute(conn)
    .await?;
    Ok(())
}

/// What was settled about the account's mailboxes, all versions, by mailbox and start and then the newest first.
pub async fn settlements(conn: &mut PgConnection, account: AccountId) -> Result<Vec<Settlement>, Error> {
    let rows: Vec<SettlementRecord> = sqlx::query_as(
        r"SELECT settlement_id, account_id, mailbox, shard, valid_from, settled_until, reason, settled_by, recorded_at
            FROM placement_settlement WHERE account_id = $1 ORDER BY mailbox, valid_from, recorded_at DESC",
    )
    .bind(account.0)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(SettlementRecord::settlement).collect()
}

#[derive(FromRow)]
struct SettlementRecord {
    settlement_id: Uuid,
    account_id: Uuid,
    mailbox: String,
    shard: Option<String>,
    valid_from: DateTime<Utc>,
    settled_until: DateTime<Utc>,
    reason: String,
    settled_by: String,
    recorded_at: DateTime<Utc>,
}

impl SettlementRecord {
    fn settlement(self) -> Result<Settlement, Error> {
        Ok(Settlement {
            id: self.settlement_id,
            account: AccountId(self.account_id),
            mailbox: self.mailbox,
            shard: self.shard,
            from: instant(self.valid_from, "placement_settlement.valid_from")?,
            to: instant(self.settled_until, "placement_settlement.settled_until")?,
            reason: self.reason,
            settled_by: self.settled_by,
            recorded_at: instant(self.recorded_at, "placement_settlement.recorded_at")?,
        })
    }
}
