//! Billing sends what was invoiced: the base of every sum.

use std::fmt::Display;

use bytes::Bytes;
use futures_util::Stream;
use sqlx::{PgConnection, PgPool};

use super::load::{Noun, load};
use crate::domain::actor::Actor;
use crate::domain::batch::{ChargeRow, Format, LineError, Report};
use crate::domain::time::Instant;
use crate::store::{Error, charges, copy};

/// Records the file's charges, for subscriptions that are known. A line that differs from what is recorded is a new version.
pub async fn load_charges<E: Display>(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    bytes: impl Stream<Item = Result<Bytes, E>> + Send + Unpin,
    format: Format,
    dry_run: bool,
) -> Result<Report, Error> {
    load::<Charges, E>(pool, now, actor, bytes, format, dry_run).await
}

struct Charges;

impl Noun for Charges {
    type Row = ChargeRow;

    const NAME: &'static str = "charges";
    const ACTION: &'static str = "charges.load";
    const STAGING: &'static [&'static str] = &[charges::STAGING];
    const COPY: &'static str = charges::COPY;

    async fn begin(_: &mut PgConnection) -> Result<Self, Error> {
        Ok(Charges)
    }

    fn put(&mut self, rows: &mut copy::Rows, line: i64, row: &ChargeRow) -> Result<(), LineError> {
        charges::put(rows, line, row);
        Ok(())
    }

    async fn forget_told(&mut self, conn: &mut PgConnection) -> Result<(), Error> {
        charges::forget_told(conn).await
    }

    async fn check(&mut self, conn: &mut PgConnection) -> Result<(), Error> {
        charges::check(conn).await
    }

    async fn only_new(&mut self, conn: &mut PgConnection) -> Result<i64, Error> {
        charges::only_new(conn).await
    }

    async fn save(&mut self, conn: &mut PgConnection, recorded_at: Instant) -> Result<(), Error> {
        charges::save(conn, recorded_at).await
    }
}
