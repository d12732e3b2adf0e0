//! Billing sends what was given elsewhere: typed into it, or given before this service was there. It counts when more is asked
//! for the same time.

use std::fmt::Display;

use bytes::Bytes;
use futures_util::Stream;
use sqlx::{PgConnection, PgPool};

use super::load::{Noun, load};
use crate::domain::actor::Actor;
use crate::domain::batch::{Format, GivenRow, LineError, Report};
use crate::domain::ids::AccountId;
use crate::domain::time::Instant;
use crate::store::{Error, copy, given};

/// Records the file's credits. One of the kind `contract` counts as given for the same cause as the terms' own credits; a line
/// that differs from what is recorded under its reference is a new version.
pub async fn load_given<E: Display>(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    bytes: impl Stream<Item = Result<Bytes, E>> + Send + Unpin,
    format: Format,
    dry_run: bool,
) -> Result<Report, Error> {
    load::<GivenElsewhere, E>(pool, now, actor, bytes, format, dry_run).await
}

struct GivenElsewhere;

impl Noun for GivenElsewhere {
    type Of = ();
    type Row = GivenRow;

    const NAME: &'static str = "given";
    const ACTION: &'static str = "given.load";
    const STAGING: &'static [&'static str] = &[given::STAGING];
    const COPY: &'static str = given::COPY;

    async fn begin(_: &mut PgConnection, (): ()) -> Result<Self, Error> {
        Ok(GivenElsewhere)
    }

    fn put(&mut self, rows: &mut copy::Rows, line: i64, row: &GivenRow) -> Result<(), LineError> {
        given::put(rows, line, row);
        Ok(())
    }

    async fn forget_told(&mut self, conn: &mut PgConnection) -> Result<(), Error> {
        given::forget_told(conn).await
    }

    async fn check(&mut self, conn: &mut PgConnection) -> Result<(), Error> {
        given::check(conn).await
    }

    async fn only_new(&mut self, conn: &mut PgConnection) -> Result<i64, Error> {
        given::only_new(conn).await
    }

    async fn touched(&mut self, conn: &mut PgConnection, limit: i64) -> Result<(Vec<AccountId>, i64), Error> {
        given::touched(conn, limit).await
    }

    async fn save(&mut self, conn: &mut PgConnection, recorded_at: Instant) -> Result<(), Error> {
        given::save(conn, recorded_at).await
    }
}
