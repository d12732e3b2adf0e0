//! The customer register sends what accounts subscribe to.

use std::fmt::Display;

use bytes::Bytes;
use futures_util::Stream;
use sqlx::{PgConnection, PgPool};

use super::load::{Noun, load};
use crate::domain::actor::Actor;
use crate::domain::batch::{Format, LineError, Report, SubscriptionRow};
use crate::domain::time::Instant;
use crate::store::{Error, copy, subscriptions};

/// Records the file's subscriptions, of accounts that are known. A line that differs from what is recorded is a new version.
pub async fn load_subscriptions<E: Display>(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    bytes: impl Stream<Item = Result<Bytes, E>> + Send + Unpin,
    format: Format,
    dry_run: bool,
) -> Result<Report, Error> {
    load::<Subscriptions, E>(pool, now, actor, bytes, format, dry_run).await
}

struct Subscriptions;

impl Noun for Subscriptions {
    type Row = SubscriptionRow;

    const NAME: &'static str = "subscriptions";
    const ACTION: &'static str = "subscriptions.load";
    const STAGING: &'static [&'static str] = &[subscriptions::STAGING];
    const COPY: &'static str = subscriptions::COPY;

    async fn begin(_: &mut PgConnection) -> Result<Self, Error> {
        Ok(Subscriptions)
    }

    fn put(&mut self, rows: &mut copy::Rows, line: i64, row: &SubscriptionRow) -> Result<(), LineError> {
        subscriptions::put(rows, line, row);
        Ok(())
    }

    async fn forget_told(&mut self, conn: &mut PgConnection) -> Result<(), Error> {
        subscriptions::forget_told(conn).await
    }

    async fn check(&mut self, conn: &mut PgConnection) -> Result<(), Error> {
        subscriptions::check(conn).await
    }

    async fn only_new(&mut self, conn: &mut PgConnection) -> Result<i64, Error> {
        subscriptions::only_new(conn).await
    }

    async fn save(&mut self, conn: &mut PgConnection, recorded_at: Instant) -> Result<(), Error> {
        subscriptions::save(conn, recorded_at).await
    }
}
