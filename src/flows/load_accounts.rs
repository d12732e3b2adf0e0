//! The customer register sends accounts: new ones, and what changed of known ones.

use std::fmt::Display;

use bytes::Bytes;
use futures_util::Stream;
use sqlx::{PgConnection, PgPool};

use super::load::{Noun, load};
use crate::domain::actor::Actor;
use crate::domain::batch::{AccountRow, Format, LineError, Report};
use crate::domain::time::Instant;
use crate::store::{Error, accounts, copy};

/// Records the file's accounts. A line that differs from what is recorded is a new version; a currency never changes.
pub async fn load_accounts<E: Display>(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    bytes: impl Stream<Item = Result<Bytes, E>> + Send + Unpin,
    format: Format,
    dry_run: bool,
) -> Result<Report, Error> {
    load::<Accounts, E>(pool, now, actor, bytes, format, dry_run).await
}

struct Accounts;

impl Noun for Accounts {
    type Row = AccountRow;

    const NAME: &'static str = "accounts";
    const ACTION: &'static str = "accounts.load";
    const STAGING: &'static [&'static str] = &[accounts::STAGING];
    const COPY: &'static str = accounts::COPY;

    async fn begin(_: &mut PgConnection) -> Result<Self, Error> {
        Ok(Accounts)
    }

    fn put(&mut self, rows: &mut copy::Rows, line: i64, row: &AccountRow) -> Result<(), LineError> {
        accounts::put(rows, line, row);
        Ok(())
    }

    async fn forget_told(&mut self, conn: &mut PgConnection) -> Result<(), Error> {
        accounts::forget_told(conn).await
    }

    async fn check(&mut self, conn: &mut PgConnection) -> Result<(), Error> {
        accounts::check(conn).await
    }

    async fn only_new(&mut self, conn: &mut PgConnection) -> Result<i64, Error> {
        accounts::only_new(conn).await
    }

    async fn save(&mut self, conn: &mut PgConnection, recorded_at: Instant) -> Result<(), Error> {
        accounts::save(conn, recorded_at).await
    }
}
