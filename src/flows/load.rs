//! What every bulk load shares: read, stage, check as a whole, record all of it or nothing.

use std::fmt::Display;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgPool};

use crate::domain::actor::Actor;
use crate::domain::batch::{Format, LISTED_ERRORS, LineError, Reader, Report, Row};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::Instant;
use crate::store::{Error, audit, copy, evidence, staging};

/// Rows travel to the database in pieces of about this many bytes.
const PIECE: usize = 256 * 1024;

/// Bytes of a file are handled this many at a time, so that no piece of the network's decides how much memory is used.
const MOUTHFUL: usize = 256 * 1024;

/// What a bulk load does for one noun: its staging tables, and its statements in `store`.
pub trait Noun {
    type Row: Row;

    /// What the audit trail calls the deed, such as `placements.load`.
    const ACTION: &'static str;
    const STAGING: &'static [&'static str];
    const COPY: &'static str;

    fn put(rows: &mut copy::Rows, line: i64, row: &Self::Row);

    /// Notes in staging what is wrong with lines.
    fn check(conn: &mut PgConnection) -> impl Future<Output = Result<(), Error>> + Send;

    /// Leaves in staging what is new, and counts its lines.
    fn only_new(conn: &mut PgConnection) -> impl Future<Output = Result<i64, Error>> + Send;

    fn save(conn: &mut PgConnection, recorded_at: Instant) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Reads the file and records all of it, or nothing when a line is wrong or it is a dry run: the report says which. The same
/// file again changes nothing. A file that breaks off is refused.
///
/// The order in which evidence is recorded is locked only when the whole file is staged: a sender who is slow keeps nobody
/// waiting, and staging tables belong to this transaction alone.
pub async fn load<N: Noun, E: Display>(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    bytes: impl Stream<Item = Result<Bytes, E>> + Send + Unpin,
    format: Format,
    dry_run: bool,
) -> Result<Report, Error> {
    let mut tx = pool.begin().await?;
    staging::open(&mut tx, N::STAGING).await?;
    let (mut read, hash) = stage::<N, E>(&mut tx, bytes, format).await?;
    let recorded_at = evidence::stamp(&mut tx, now).await?;
    N::check(&mut tx).await?;
    let accepted = N::only_new(&mut tx).await?;
    read.add(&mut tx).await?;
    let report = read.report(accepted, dry_run);
    if report.rejected > 0 || dry_run {
        tx.rollback().await?;
        return Ok(report);
    }
    N::save(&mut tx, recorded_at).await?;
    audit::record(
        &mut tx,
        &audit::Entry {
            account: audit::NO_ACCOUNT,
            actor,
            action: N::ACTION,
            subject: &hash,
            detail: json!({
                "lines": report.lines, "accepted": report.accepted, "unchanged": report.unchanged,
                "recorded_at": recorded_at,
            }),
            at: now,
        },
    )
    .await?;
    tx.commit().await?;
    Ok(report)
}

/// Streams the rows that can be read into staging. Gives what was read, and SHA-256 over the file.
async fn stage<N: Noun, E: Display>(
    conn: &mut PgConnection,
    mut bytes: impl Stream<Item = Result<Bytes, E>> + Send + Unpin,
    format: Format,
) -> Result<(Counted, String), Error> {
    let mut copy = staging::copy(conn, N::COPY).await?;
    let mut reader = Reader::<N::Row>::new(format);
    let mut rows = copy::Rows::new();
    let mut counted = Counted::default();
    let mut hash = Sha256::new();
    while let Some(piece) = bytes.next().await {
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => {
                copy.abort("the file broke off").await?;
                return Err(broken_off(&error).into());
            }
        };
        hash.update(&piece);
        for mouthful in piece.chunks(MOUTHFUL) {
            reader.push(mouthful);
            counted.take_rows::<N>(&mut reader, &mut rows);
            if rows.len() >= PIECE {
                copy.send(rows.take()).await?;
            }
        }
        if reader.is_stopped() {
            break;
        }
    }
    reader.end();
    counted.take_rows::<N>(&mut reader, &mut rows);
    rows.end();
    copy.send(rows.take()).await?;
    copy.finish().await?;
    Ok((counted, hex::encode(hash.finalize())))
}

fn broken_off(error: &impl Display) -> Refusal {
    Refusal::new(
        Code::InvalidRequest,
        format!("The file broke off ({error}). Nothing was recorded: send all of it again."),
    )
}

/// Lines as they are counted, with the first errors.
#[derive(Debug, Default)]
struct Counted {
    lines: i64,
    rejected: i64,
    errors: Vec<LineError>,
}

impl Counted {
    fn take_rows<N: Noun>(&mut self, reader: &mut Reader<N::Row>, rows: &mut copy::Rows) {
        while let Some(read) = reader.next_row() {
            self.lines += 1;
            match read {
                Ok((line, row)) => N::put(rows, line, &row),
                Err(errors) => {
                    self.rejected += 1;
                    let room = LISTED_ERRORS.saturating_sub(self.errors.len());
                    self.errors.extend(errors.into_iter().take(room));
                }
            }
        }
    }

    /// Adds what the checks found. Their lines are others than those that could not be read.
    async fn add(&mut self, conn: &mut PgConnection) -> Result<(), Error> {
        self.rejected += staging::wrong_lines(conn).await?;
        let limit = i64::try_from(LISTED_ERRORS).unwrap_or(i64::MAX);
        self.errors.extend(staging::errors(conn, limit).await?);
        self.errors.sort();
        self.errors.truncate(LISTED_ERRORS);
        Ok(())
    }

    fn report(self, accepted: i64, dry_run: bool) -> Report {
        Report {
            lines: self.lines,
            accepted,
            rejected: self.rejected,
            unchanged: self.lines - self.rejected - accepted,
            errors: self.errors,
            dry_run,
        }
    }
}
