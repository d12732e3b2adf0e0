//! What every bulk load shares: read, stage, check as a whole, record all of it or nothing.

use std::fmt::Display;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgPool};

use super::effect;
use crate::domain::actor::Actor;
use crate::domain::batch::{Changes, Format, LISTED_ERRORS, LineError, Reader, Report, Row};
use crate::domain::ids::AccountId;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::Instant;
use crate::store::{Error, audit, copy, evidence, sequences, staging};

/// Rows travel to the database in pieces of about this many bytes.
const PIECE: usize = 256 * 1024;

/// Bytes of a file are handled this many at a time, so that no piece of the network's decides how much memory is used.
const MOUTHFUL: usize = 256 * 1024;

/// What a bulk load does for one noun: its staging tables, its statements in `store`, and what it has seen of one file.
pub trait Noun: Sized + Send {
    type Row: Row;

    /// What it is called in the path and in the records, such as `placements`.
    const NAME: &'static str;
    /// What the audit trail calls the deed, such as `placements.load`.
    const ACTION: &'static str;
    const STAGING: &'static [&'static str];
    const COPY: &'static str;

    /// What is said of the whole file beside its lines.
    type Of: Send;

    /// Before the first line.
    fn begin(conn: &mut PgConnection, of: Self::Of) -> impl Future<Output = Result<Self, Error>> + Send;

    /// Writes the row for staging, as the last one of `rows`, or says what is wrong with it.
    fn put(&mut self, rows: &mut copy::Rows, line: i64, row: &Self::Row) -> Result<(), LineError>;

    /// Writes what is still to be said when no line follows.
    fn end(&mut self, _rows: &mut copy::Rows) {}

    /// Takes out of staging the lines that their source told before.
    fn forget_told(&mut self, conn: &mut PgConnection) -> impl Future<Output = Result<(), Error>> + Send;

    /// Notes in staging what is wrong with lines.
    fn check(&mut self, conn: &mut PgConnection) -> impl Future<Output = Result<(), Error>> + Send;

    /// Leaves in staging what is new, and counts its lines.
    fn only_new(&mut self, conn: &mut PgConnection) -> impl Future<Output = Result<i64, Error>> + Send;

    fn save(&mut self, conn: &mut PgConnection, recorded_at: Instant)
    -> impl Future<Output = Result<(), Error>> + Send;

    /// Up to `limit` of the accounts that what is new concerns, and how many they are.
    fn touched(
        &mut self,
        conn: &mut PgConnection,
        limit: i64,
    ) -> impl Future<Output = Result<(Vec<AccountId>, i64), Error>> + Send;

    /// Refuses the file as a whole, of which no single line is wrong.
    fn judge(&self) -> Result<(), Refusal> {
        Ok(())
    }

    /// What a snapshot was turned into; nothing for other files.
    fn changes(&self) -> Option<Changes> {
        None
    }
}

/// Reads the file and records all of it, or nothing when a line is wrong or it is a dry run: the report says which. The same
/// file again changes nothing. A file that breaks off is refused.
///
/// The order in which evidence is recorded is locked only when the whole file is staged: a sender who is slow keeps nobody
/// waiting, and staging tables belong to this transaction alone.
pub async fn load<N: Noun<Of = ()>, E: Display>(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    bytes: impl Stream<Item = Result<Bytes, E>> + Send + Unpin,
    format: Format,
    dry_run: bool,
) -> Result<Report, Error> {
    load_of::<N, E>(pool, now, actor, bytes, format, dry_run, ()).await
}

/// As [`load`], of a file of which something is said beside its lines.
pub async fn load_of<N: Noun, E: Display>(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    bytes: impl Stream<Item = Result<Bytes, E>> + Send + Unpin,
    format: Format,
    dry_run: bool,
    of: N::Of,
) -> Result<Report, Error> {
    let mut tx = pool.begin().await?;
    staging::open(&mut tx, N::STAGING).await?;
    let mut noun = N::begin(&mut tx, of).await?;
    let mut read = Counted::of(actor);
    let hash = stage(&mut tx, &mut noun, &mut read, bytes, format).await?;
    let recorded_at = match dry_run {
        true => evidence::stamp_for_trial(&mut tx, now).await?,
        false => evidence::stamp(&mut tx, now).await?,
    };
    if read.any_number {
        sequences::check(&mut tx, N::NAME).await?;
        noun.forget_told(&mut tx).await?;
        sequences::save(&mut tx, N::NAME, recorded_at).await?;
    }
    noun.check(&mut tx).await?;
    let accepted = noun.only_new(&mut tx).await?;
    read.add(&mut tx).await?;
    let mut report = read.report(accepted, dry_run);
    if report.rejected > 0 {
        tx.rollback().await?;
        return Ok(report);
    }
    noun.judge()?;
    report.changes = noun.changes();
    noun.save(&mut tx, recorded_at).await?;
    if dry_run {
        let (accounts, all) = noun.touched(&mut tx, effect::LOOKED_AT).await?;
        report.money = Some(effect::of(&mut tx, now, recorded_at, &accounts, all).await?);
        tx.rollback().await?;
        return Ok(report);
    }
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

/// Streams the rows that can be read into staging, and gives SHA-256 over the file.
async fn stage<N: Noun, E: Display>(
    conn: &mut PgConnection,
    noun: &mut N,
    counted: &mut Counted,
    mut bytes: impl Stream<Item = Result<Bytes, E>> + Send + Unpin,
    format: Format,
) -> Result<String, Error> {
    let mut copy = staging::copy(conn, N::COPY).await?;
    let mut reader = Reader::<N::Row>::new(format);
    let mut rows = copy::Rows::new();
    let mut hash = Sha256::new();
    while let Some(piece) = bytes.next().await {
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => {
                copy.abort("the file broke off").await?;
                return Err(broken_off(&error).into());
            }
        };
        if reader.is_stopped() {
            // The rest is read and not looked at, for a sender who is still sending would not see the answer.
            continue;
        }
        hash.update(&piece);
        for mouthful in piece.chunks(MOUTHFUL) {
            reader.push(mouthful);
            counted.take_rows(noun, &mut reader, &mut rows);
            if rows.len() >= PIECE {
                copy.send(rows.take()).await?;
            }
            if counted.numbers.len() >= PIECE {
                // One connection copies into one table at a time.
                rows.end();
                copy.send(rows.take()).await?;
                copy.finish().await?;
                counted.send_numbers(conn).await?;
                copy = staging::copy(conn, N::COPY).await?;
                rows = copy::Rows::new();
            }
        }
    }
    reader.end();
    counted.take_rows(noun, &mut reader, &mut rows);
    noun.end(&mut rows);
    rows.end();
    copy.send(rows.take()).await?;
    copy.finish().await?;
    counted.send_numbers(conn).await?;
    Ok(hex::encode(hash.finalize()))
}

fn broken_off(error: &impl Display) -> Refusal {
    Refusal::new(
        Code::InvalidRequest,
        format!("The file broke off ({error}). Nothing was recorded: send all of it again."),
    )
}

/// Lines as they are counted, with the first errors, and with the numbers that their source gave them.
#[derive(Debug)]
struct Counted {
    /// Who sends, where lines do not name their source.
    sender: String,
    lines: i64,
    rejected: i64,
    errors: Vec<LineError>,
    any_number: bool,
    numbers: copy::Rows,
}

impl Counted {
    fn of(actor: &Actor) -> Self {
        Counted {
            sender: actor.source.clone().unwrap_or_else(|| actor.key()),
            lines: 0,
            rejected: 0,
            errors: Vec::new(),
            any_number: false,
            numbers: copy::Rows::new(),
        }
    }

    fn take_rows<N: Noun>(&mut self, noun: &mut N, reader: &mut Reader<N::Row>, rows: &mut copy::Rows) {
        while let Some(read) = reader.next_row() {
            self.lines += 1;
            let put = read.and_then(|(line, row)| {
                noun.put(rows, line, &row).map_err(|error| vec![error])?;
                self.number(rows, line, &row);
                Ok(())
            });
            if let Err(errors) = put {
                self.rejected += 1;
                let room = LISTED_ERRORS.saturating_sub(self.errors.len());
                self.errors.extend(errors.into_iter().take(room));
            }
        }
    }

    fn number(&mut self, rows: &copy::Rows, line: i64, row: &impl Row) {
        let Some(number) = row.source_seq() else { return };
        self.any_number = true;
        let source = row.source().unwrap_or(&self.sender);
        self.numbers.row(4).bigint(line).text(source).text(number).uuid(rows.content());
    }

    async fn send_numbers(&mut self, conn: &mut PgConnection) -> Result<(), Error> {
        if !self.any_number {
            return Ok(());
        }
        let mut copy = staging::copy(conn, sequences::COPY).await?;
        self.numbers.end();
        copy.send(self.numbers.take()).await?;
        copy.finish().await?;
        self.numbers = copy::Rows::new();
        Ok(())
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
            changes: None,
            money: None,
        }
    }
}
