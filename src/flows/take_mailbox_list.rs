//! Operations say which mailboxes an outage hit, where no shard says it: a list, kept whole, that outages then name.

use std::fmt::Display;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgPool};

use super::refold::record;
use crate::domain::actor::Actor;
use crate::domain::batch::{Format, LISTED_ERRORS, LineError, ListedRow, Reader, Report};
use crate::domain::ids::MailboxListId;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::Instant;
use crate::store::mailbox_lists::Size;
use crate::store::{Error, copy, evidence, mailbox_lists, staging};

/// Rows travel to the database in pieces of about this many bytes, and a file is handled so many bytes at a time.
const PIECE: usize = 256 * 1024;

/// What became of a list.
#[derive(Clone, Debug)]
pub enum Listed {
    /// It is kept, under this id: now, or since the same file came before.
    Kept { id: MailboxListId, size: Size, is_new: bool },
    /// Some lines are wrong, so nothing was kept.
    Refused(Report),
}

/// Keeps the list, all of it or nothing. Its id is that of its content: the same file again is the same list.
pub async fn take_mailbox_list<E: Display>(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    bytes: impl Stream<Item = Result<Bytes, E>> + Send + Unpin,
    format: Format,
) -> Result<Listed, Error> {
    let mut tx = pool.begin().await?;
    staging::open(&mut tx, &[mailbox_lists::STAGING]).await?;
    let Staged { lines, mut rejected, mut errors, hash } = stage(&mut tx, bytes, format).await?;
    let id = MailboxListId::of(&hash);
    let recorded_at = evidence::stamp(&mut tx, now).await?;
    if let Some(size) = mailbox_lists::find(&mut tx, id).await? {
        return Ok(Listed::Kept { id, size, is_new: false });
    }
    mailbox_lists::check(&mut tx).await?;
    rejected += staging::wrong_lines(&mut tx).await?;
    errors.extend(staging::errors(&mut tx, i64::try_from(LISTED_ERRORS).unwrap_or(i64::MAX)).await?);
    errors.sort();
    errors.truncate(LISTED_ERRORS);
    if rejected > 0 {
        let report = Report { lines, rejected, errors, ..Report::default() };
        return Ok(Listed::Refused(report));
    }
    if lines == 0 {
        return Err(Refusal::new(
            Code::InvalidRequest,
            "The list names no mailbox. Send one line for each: account and mailbox.",
        )
        .into());
    }
    let size = mailbox_lists::save(&mut tx, id, recorded_at, &actor.key()).await?;
    let detail = json!({ "accounts": size.accounts, "mailboxes": size.mailboxes });
    record(&mut tx, actor, "mailbox_list.take", &id.to_string(), detail, now).await?;
    tx.commit().await?;
    Ok(Listed::Kept { id, size, is_new: true })
}

/// What was read of a file.
#[derive(Debug, Default)]
struct Staged {
    lines: i64,
    rejected: i64,
    /// The first of them.
    errors: Vec<LineError>,
    /// SHA-256 over the file, in hex.
    hash: String,
}

impl Staged {
    fn take(&mut self, reader: &mut Reader<ListedRow>, rows: &mut copy::Rows) {
        while let Some(read) = reader.next_row() {
            self.lines += 1;
            match read {
                Ok((line, row)) => mailbox_lists::put(rows, line, &row),
                Err(wrong) => {
                    self.rejected += 1;
                    let room = LISTED_ERRORS.saturating_sub(self.errors.len());
                    self.errors.extend(wrong.into_iter().take(room));
                }
            }
        }
    }
}

/// Streams the rows that can be read into staging.
async fn stage<E: Display>(
    conn: &mut PgConnection,
    mut bytes: impl Stream<Item = Result<Bytes, E>> + Send + Unpin,
    format: Format,
) -> Result<Staged, Error> {
    let mut copy = staging::copy(conn, mailbox_lists::COPY).await?;
    let mut reader = Reader::<ListedRow>::new(format);
    let mut rows = copy::Rows::new();
    let (mut staged, mut hash) = (Staged::default(), Sha256::new());
    while let Some(piece) = bytes.next().await {
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => {
                copy.abort("the file broke off").await?;
                let detail = format!("The file broke off ({error}). Nothing was kept: send all of it again.");
                return Err(Refusal::new(Code::InvalidRequest, detail).into());
            }
        };
        hash.update(&piece);
        for mouthful in piece.chunks(PIECE) {
            reader.push(mouthful);
            staged.take(&mut reader, &mut rows);
            if rows.len() >= PIECE {
                copy.send(rows.take()).await?;
            }
        }
        if reader.is_stopped() {
            break;
        }
    }
    reader.end();
    staged.take(&mut reader, &mut rows);
    rows.end();
    copy.send(rows.take()).await?;
    copy.finish().await?;
    Ok(Staged { hash: hex::encode(hash.finalize()), ..staged })
}
