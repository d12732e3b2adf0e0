//! A directory sends all of its mailboxes as they are at one instant. What differs from what it had then becomes changes: new
//! mailboxes, moves, and ends of those that are not in the file.

use std::fmt::Display;

use bytes::Bytes;
use futures_util::Stream;
use sqlx::{PgConnection, PgPool};

use super::load::{Noun, load_of};
use crate::domain::actor::Actor;
use crate::domain::batch::{Changes, Format, LineError, Report, SnapshotRow, directory};
use crate::domain::ids::AccountId;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::shards::Register;
use crate::domain::time::Instant;
use crate::store::{Error, copy, shards, snapshots};

/// Of what a source had, as many in a hundred may be missing from its next snapshot, unless somebody says that it is right:
/// a file that was cut must never end half the mailboxes.
pub const USUALLY_GONE: u8 = 10;

/// What is said of the whole file.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The directory that it is of.
    pub source: String,
    /// The instant at which it was so.
    pub taken_at: Instant,
    /// How many lines the file should have, if the sender says so.
    pub count: Option<i64>,
    /// How many in a hundred of what the source had may be gone.
    pub allow_gone: u8,
}

/// Records the changes, or says with a dry run which they would be. The same file again changes nothing.
pub async fn take_snapshot<E: Display>(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    bytes: impl Stream<Item = Result<Bytes, E>> + Send + Unpin,
    format: Format,
    dry_run: bool,
    snapshot: Snapshot,
) -> Result<Report, Error> {
    directory(&snapshot.source).map_err(|message| Refusal::field("/query/source", message))?;
    if snapshot.taken_at > now {
        return Err(Refusal::field("/query/taken_at", "A snapshot cannot be of a time that is still to come.").into());
    }
    if snapshot.allow_gone > 100 {
        return Err(Refusal::field("/query/allow_gone", "0 to 100, in percent").into());
    }
    load_of::<Directory, E>(pool, now, actor, bytes, format, dry_run, snapshot).await
}

struct Directory {
    of: Snapshot,
    shards: Register,
    staged: i64,
    changes: Changes,
}

impl Noun for Directory {
    type Of = Snapshot;
    type Row = SnapshotRow;

    const NAME: &'static str = "placements";
    const ACTION: &'static str = "placements.snapshot";
    const STAGING: &'static [&'static str] = &[snapshots::STAGING, snapshots::HELD];
    const COPY: &'static str = snapshots::COPY;

    async fn begin(conn: &mut PgConnection, of: Snapshot) -> Result<Self, Error> {
        Ok(Directory { of, shards: shards::known(conn).await?, staged: 0, changes: Changes::default() })
    }

    fn put(&mut self, rows: &mut copy::Rows, line: i64, row: &SnapshotRow) -> Result<(), LineError> {
        if !self.shards.is_known(&row.shard) {
            return Err(LineError { line, pointer: "/shard".into(), message: self.shards.refusal(&row.shard) });
        }
        snapshots::put(rows, line, row);
        self.staged += 1;
        Ok(())
    }

    async fn forget_told(&mut self, _: &mut PgConnection) -> Result<(), Error> {
        // A line of a snapshot has no number of its own.
        Ok(())
    }

    async fn check(&mut self, conn: &mut PgConnection) -> Result<(), Error> {
        snapshots::check(conn).await
    }

    async fn only_new(&mut self, conn: &mut PgConnection) -> Result<i64, Error> {
        self.changes = snapshots::compare(conn, &self.of.source, self.of.taken_at).await?;
        snapshots::good_lines(conn).await
    }

    fn judge(&self) -> Result<(), Refusal> {
        if let Some(count) = self.of.count.filter(|count| *count != self.staged) {
            let detail = format!(
                "The file has {} lines and should have {count}: it was cut, or the count is wrong. Nothing was recorded: send all of it.",
                self.staged
            );
            return Err(Refusal::new(Code::InvalidRequest, detail));
        }
        let Changes { new: _, moved, gone, unchanged } = self.changes;
        let held = moved + gone + unchanged;
        if gone.saturating_mul(100) > held.saturating_mul(i64::from(self.of.allow_gone)) {
            let detail = format!(
                "{gone} of the {held} mailboxes that {} had are not in the file, which is more than {} %. A file that was cut looks \
                 like that, so nothing was recorded. If they are really gone, send it again with a larger allow_gone.",
                self.of.source, self.of.allow_gone
            );
            return Err(Refusal::new(Code::InvalidRequest, detail));
        }
        Ok(())
    }

    async fn save(&mut self, conn: &mut PgConnection, recorded_at: Instant) -> Result<(), Error> {
        snapshots::save(conn, &self.of.source, self.of.taken_at, recorded_at).await
    }

    async fn touched(&mut self, conn: &mut PgConnection, limit: i64) -> Result<(Vec<AccountId>, i64), Error> {
        snapshots::touched(conn, limit).await
    }

    fn changes(&self) -> Option<Changes> {
        Some(self.changes)
    }
}
