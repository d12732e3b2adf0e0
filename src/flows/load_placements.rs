//! The mail platform sends where mailboxes live.

use std::fmt::Display;

use bytes::Bytes;
use futures_util::Stream;
use sqlx::{PgConnection, PgPool};

use super::load::{Noun, load};
use crate::domain::actor::Actor;
use crate::domain::batch::{Format, PlacementRow, Report};
use crate::domain::time::Instant;
use crate::store::{Error, copy, placements};

/// Records the file's placements, of accounts that are known. One source cannot overlap itself; two that disagree are both kept.
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

struct Placements;

impl Noun for Placements {
    type Row = PlacementRow;

    const ACTION: &'static str = "placements.load";
    const STAGING: &'static [&'static str] = &[placements::STAGING, placements::EVENTS];
    const COPY: &'static str = placements::COPY;

    fn put(rows: &mut copy::Rows, line: i64, row: &PlacementRow) {
        placements::put(rows, line, row);
    }

    async fn check(conn: &mut PgConnection) -> Result<(), Error> {
        placements::check(conn).await
    }

    async fn only_new(conn: &mut PgConnection) -> Result<i64, Error> {
        placements::only_new(conn).await
    }

    async fn save(conn: &mut PgConnection, recorded_at: Instant) -> Result<(), Error> {
        placements::save(conn, recorded_at).await
    }
}
