//! Rows in PostgreSQL's binary COPY format: how bulk data enters staging tables.

use chrono::{DateTime, NaiveDate};
use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};
use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use uuid::Uuid;

use super::Error;
use crate::domain::time::Instant;

/// PostgreSQL counts from 2000-01-01T00:00:00Z.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// What a binary COPY begins with; flags and the length of an extension follow.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// How a value that is NULL is written: as its length.
const NOTHING: [u8; 4] = (-1i32).to_be_bytes();

/// Bytes of rows, to be sent piece by piece: take what is there with [`Rows::take`], and send [`Rows::end`] last.
#[derive(Debug)]
pub struct Rows {
    bytes: Vec<u8>,
    /// Where the last row begins.
    last: usize,
}

impl Rows {
    pub fn new() -> Self {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend_from_slice(&[0; 8]);
        Rows { bytes, last: 0 }
    }

    /// How many bytes wait to be taken.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn take(&mut self) -> Vec<u8> {
        let capacity = self.bytes.capacity();
        std::mem::replace(&mut self.bytes, Vec::with_capacity(capacity))
    }

    /// Begins a row. Exactly `columns` values must follow.
    pub fn row(&mut self, columns: i16) -> &mut Self {
        self.last = self.bytes.len();
        self.bytes.extend_from_slice(&columns.to_be_bytes());
        self
    }

    /// What the last row says behind its first value, the line's number: the first 16 bytes of SHA-256 over it. Empty values
    /// at its end do not count, so that a column which is added later changes nothing.
    pub fn content(&self) -> Uuid {
        let begin = self.last + size_of::<i16>() + size_of::<i32>() + size_of::<i64>();
        let mut said = self.bytes.get(begin..).unwrap_or_default();
        while let Some(rest) = said.strip_suffix(&NOTHING) {
            said = rest;
        }
        let hash = Sha256::digest(said);
        Uuid::from_slice(hash.get(..16).unwrap_or_default()).unwrap_or_default()
    }

    pub fn end(&mut self) {
        self.bytes.extend_from_slice(&(-1i16).to_be_bytes());
    }

    pub fn uuid(&mut self, id: Uuid) -> &mut Self {
        self.value(id.as_bytes())
    }

    pub fn text(&mut self, text: &str) -> &mut Self {
        self.value(text.as_bytes())
    }

    pub fn boolean(&mut self, is: bool) -> &mut Self {
        self.value(&[u8::from(is)])
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.value(bytes)
    }

    pub fn smallint(&mut self, number: i16) -> &mut Self {
        self.value(&number.to_be_bytes())
    }

    pub fn bigint(&mut self, number: i64) -> &mut Self {
        self.value(&number.to_be_bytes())
    }

    pub fn integer(&mut self, number: i32) -> &mut Self {
        self.value(&number.to_be_bytes())
    }

    pub fn timestamptz(&mut self, at: Instant) -> &mut Self {
        self.bigint(at.micros() - EPOCH_MICROS)
    }

    pub fn date(&mut self, day: NaiveDate) -> &mut Self {
        let epoch = DateTime::from_timestamp_micros(EPOCH_MICROS).unwrap_or_default().date_naive();
        // A day that `domain::batch` let pass is within two centuries of the epoch.
        self.integer(i32::try_from(day.signed_duration_since(epoch).num_days()).unwrap_or(0))
    }

    /// A document, written as JSON.
    pub fn jsonb(&mut self, text: &str) -> &mut Self {
        // The format of jsonb on the wire is version 1 and the text.
        self.length(text.len() + 1);
        self.bytes.push(1);
        self.bytes.extend_from_slice(text.as_bytes());
        self
    }

    /// An array of ids.
    pub fn uuids(&mut self, ids: &[Uuid]) -> &mut Self {
        /// What PostgreSQL calls the type of its elements.
        const UUID: i32 = 2_950;
        let count = i32::try_from(ids.len()).unwrap_or(i32::MAX);
        let header: &[i32] = if ids.is_empty() { &[0, 0, UUID] } else { &[1, 0, UUID, count, 1] };
        self.length(size_of_val(header) + ids.len() * (size_of::<i32>() + size_of::<Uuid>()));
        for number in header {
            self.bytes.extend_from_slice(&number.to_be_bytes());
        }
        for id in ids {
            self.value(id.as_bytes());
        }
        self
    }

    /// The value, or NULL.
    pub fn maybe<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T) -> &mut Self) -> &mut Self {
        match value {
            Some(value) => write(self, value),
            None => {
                self.bytes.extend_from_slice(&NOTHING);
                self
            }
        }
    }

    fn value(&mut self, bytes: &[u8]) -> &mut Self {
        self.length(bytes.len());
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn length(&mut self, length: usize) {
        // No line is longer than `domain::batch::LONGEST_LINE`, so no value is; what we write by ourselves is shorter.
        self.bytes.extend_from_slice(&i32::try_from(length).unwrap_or(i32::MAX).to_be_bytes());
    }
}

/// Hands out each message of a `COPY … TO STDOUT`, and then the connection again. Where it fails or is given up half-way, the connection is
/// closed: what the server still says would be taken for the answer to the next statement.
pub async fn out(
    conn: PoolConnection<Postgres>,
    statement: &str,
    mut take: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<PoolConnection<Postgres>, Error> {
    let mut talking = Talking(Some(conn));
    if let Some(conn) = &mut talking.0 {
        let mut messages = conn.copy_out_raw(statement).await?;
        while let Some(message) = messages.try_next().await? {
            take(&message)?;
        }
    }
    talking.0.take().ok_or_else(|| sqlx::Error::WorkerCrashed.into())
}

/// A connection on which the server has not said everything yet.
struct Talking(Option<PoolConnection<Postgres>>);

impl Drop for Talking {
    fn drop(&mut self) {
        if let Some(conn) = &mut self.0 {
            conn.close_on_drop();
        }
    }
}

/// Rows of a binary `COPY … TO STDOUT`, read one after the other. Values are read in the order of the columns; what is no such row or
/// value is none.
#[derive(Debug)]
pub struct Reader<'b> {
    left: &'b [u8],
}

impl<'b> Reader<'b> {
    /// Begins behind the header.
    pub fn new(bytes: &'b [u8]) -> Option<Self> {
        let (_, left) = bytes.strip_prefix(SIGNATURE)?.split_first_chunk::<4>()?;
        let (extension, left) = left.split_first_chunk::<4>()?;
        Some(Reader { left: left.get(usize::try_from(u32::from_be_bytes(*extension)).ok()?..)? })
    }

    /// Begins at a row.
    pub fn behind_header(bytes: &'b [u8]) -> Self {
        Reader { left: bytes }
    }

    /// Whether another row of so many columns follows; none where the bytes end without saying so.
    pub fn next_row(&mut self, columns: i16) -> Option<bool> {
        let (count, left) = self.left.split_first_chunk::<2>()?;
        self.left = left;
        match i16::from_be_bytes(*count) {
            -1 => Some(false),
            count => (count == columns).then_some(true),
        }
    }

    pub fn bytes(&mut self) -> Option<&'b [u8]> {
        let (length, left) = self.left.split_first_chunk::<4>()?;
        let (value, left) = left.split_at_checked(usize::try_from(i32::from_be_bytes(*length)).ok()?)?;
        self.left = left;
        Some(value)
    }

    pub fn text(&mut self) -> Option<&'b str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub fn uuid(&mut self) -> Option<Uuid> {
        Uuid::from_slice(self.bytes()?).ok()
    }

    pub fn bigint(&mut self) -> Option<i64> {
        Some(i64::from_be_bytes(self.bytes()?.try_into().ok()?))
    }
}

impl Default for Rows {
    fn default() -> Self {
        Rows::new()
    }
}
