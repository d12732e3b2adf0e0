//! The mail platform sends where mailboxes live.

use std::fmt::Display;

use bytes::Bytes;
use futures_util::Stream;
use sqlx::{PgConnection, PgPool};

use super::load::{Noun, load};
use crate::domain::actor::Actor;
use crate::domain::batch::{Format, LineError, Order, PlacementRow, Report};
use crate::domain::ids::AccountId;
use crate::domain::shards::Register;
use crate::domain::time::Instant;
use crate::store::placements::Size;
use crate::store::{Error, copy, placements, shards, staging};

/// Records the file's placements, of accounts that are known, on shards that are registered. One source cannot overlap itself; two that disagree are both kept.
pub async fn load_placements<E: Display>(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    bytes: impl Stream<Item = Result<Bytes, E>> + Send + Unpin,
    format: Format,
    dry_run: bool,
) -> Result<Report, Error> {
    load::<Placements, E>(pool, now, actor, bytes, format, dry_run).await
}

/// One file of placements.
struct Placements {
    shards: Register,
    order: Order,
    /// The account of the last line: files have many lines of one account beside each other.
    account: (String, AccountId),
    /// Lines staged.
    staged: i64,
    /// Whether some of them were taken away again.
    any_forgotten: bool,
    /// Whether anything is recorded of the file's accounts, once it is known.
    any_recorded: bool,
}

impl Placements {
    /// Whether the staged lines can be recorded as they are: a large file that comes in order needs no sort to be judged.
    fn is_plain(&self) -> bool {
        self.order.is_kept() && !self.any_recorded
    }
}

impl Noun for Placements {
    type Row = PlacementRow;

    const NAME: &'static str = "placements";
    const ACTION: &'static str = "placements.load";
    const STAGING: &'static [&'static str] = &[placements::STAGING, placements::EVENTS];
    const COPY: &'static str = placements::COPY;

    async fn begin(conn: &mut PgConnection) -> Result<Self, Error> {
        let shards = shards::known(conn).await?;
        let account = (String::new(), AccountId::of(""));
        Ok(Placements {
            shards,
            order: Order::default(),
            account,
            staged: 0,
            any_forgotten: false,
            any_recorded: false,
        })
    }

    fn put(&mut self, rows: &mut copy::Rows, line: i64, row: &PlacementRow) -> Result<(), LineError> {
        if let Some(shard) = &row.shard
            && !self.shards.is_known(shard)
        {
            return Err(LineError { line, pointer: "/shard".into(), message: self.shards.refusal(shard) });
        }
        if let Some(end) = self.order.next(line, row) {
            placements::put_end(rows, &end);
        }
        if self.account.0 != row.account {
            self.account = (row.account.clone(), AccountId::of(&row.account));
        }
        placements::put(rows, line, row, self.account.1);
        self.staged += 1;
        Ok(())
    }

    fn end(&mut self, rows: &mut copy::Rows) {
        if let Some(end) = self.order.finish() {
            placements::put_end(rows, &end);
        }
    }

    async fn forget_told(&mut self, conn: &mut PgConnection) -> Result<(), Error> {
        self.any_forgotten = true;
        placements::forget_told(conn).await
    }

    async fn check(&mut self, conn: &mut PgConnection) -> Result<(), Error> {
        placements::check_accounts(conn, Size::of(self.staged)).await?;
        self.any_recorded = placements::any_recorded(conn).await?;
        if self.is_plain() {
            return Ok(());
        }
        placements::check_events(conn).await?;
        if self.any_recorded {
            placements::check_against_recorded(conn).await?;
        }
        Ok(())
    }

    async fn only_new(&mut self, conn: &mut PgConnection) -> Result<i64, Error> {
        if !self.is_plain() {
            placements::only_new(conn, Size::of(self.staged)).await
        } else if self.any_forgotten || staging::any_wrong(conn).await? {
            placements::good_lines(conn).await
        } else {
            Ok(self.staged)
        }
    }

    async fn save(&mut self, conn: &mut PgConnection, recorded_at: Instant) -> Result<(), Error> {
        if self.is_plain() {
            placements::save_lines(conn, recorded_at).await
        } else {
            placements::save(conn, recorded_at).await
        }
    }
}
