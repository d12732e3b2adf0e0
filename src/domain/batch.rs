//! Bulk files: bytes into lines, lines into rows, each checked on its own.
//!
//! A file is NDJSON (one object a line) or CSV with a header line, in UTF-8. What one line says is judged here; what only
//! the other lines or the records can tell (an unknown account, an overlap) is judged by `store`. Nothing here holds more
//! than one line and the bytes that were pushed last.

use std::borrow::Cow;

use serde::Serialize;

mod cells;
mod lines;
mod order;
mod rows;
#[cfg(test)]
mod tests;

pub use cells::{Cells, Field};
pub use lines::{LONGEST_LINE, Reader};
pub use order::{Order, StayEnd};
pub use rows::{AccountRow, ChargeRow, PlacementRow, SubscriptionRow, reference};

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/x-ndjson`: one JSON object a line.
    Ndjson,
    /// `text/csv`: RFC 4180 with a header line. An empty cell is a field left out.
    Csv,
}

impl Format {
    /// The format of a `Content-Type`, whatever its parameters say; none for other kinds of content.
    pub fn of_content_type(content_type: &str) -> Option<Self> {
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        if kind.eq_ignore_ascii_case("application/x-ndjson") {
            Some(Format::Ndjson)
        } else if kind.eq_ignore_ascii_case("text/csv") {
            Some(Format::Csv)
        } else {
            None
        }
    }
}

/// One kind of row: its fields and how a line becomes it.
pub trait Row: Sized + Send + Sync {
    const FIELDS: &'static [Field];

    /// The row, or none when `cells` has been told what is wrong.
    fn read(cells: &mut Cells<'_>) -> Option<Self>;

    /// The number that its source gave the line, if it numbers its lines.
    fn source_seq(&self) -> Option<&str>;

    /// The source that the line names; none where lines of this kind name none, so that it is whoever sends them.
    fn source(&self) -> Option<&str> {
        None
    }
}

/// What is wrong with one line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LineError {
    /// Counted from 1, empty lines and the header of a CSV file too; a quoted cell that runs over several lines counts from
    /// its first.
    pub line: i64,
    /// The field, such as `/shard`; empty when it is the whole line.
    pub pointer: Cow<'static, str>,
    pub message: String,
}

/// How many errors a report lists. The rest is counted.
pub const LISTED_ERRORS: usize = 100;

/// What became of a file, line by line. Each line is in one of `accepted`, `rejected` and `unchanged`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Lines read, without empty ones and without the header.
    pub lines: i64,
    /// Lines that say something new. They were recorded, unless `rejected` is not zero or it was a dry run.
    pub accepted: i64,
    /// Lines with an error. One is enough for nothing to be recorded.
    pub rejected: i64,
    /// Lines that say what is recorded already, or what another line of the file says.
    pub unchanged: i64,
    /// The first [`LISTED_ERRORS`], by line.
    pub errors: Vec<LineError>,
    pub dry_run: bool,
}
