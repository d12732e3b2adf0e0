//! Bytes into lines and lines into rows, whatever pieces the bytes come in.

use std::borrow::Cow;
use std::marker::PhantomData;

use super::cells::{self, Cells};
use super::{Format, LineError, Row};

/// The longest line that is taken, in bytes. A quote that was never closed would otherwise swallow the file.
pub const LONGEST_LINE: usize = 64 * 1024;

/// Reads the rows of one file. Push bytes, take rows until there is none, and so on; then say that the file has ended and
/// take the rest.
#[derive(Debug)]
pub struct Reader<R> {
    format: Format,
    /// What was pushed and not yet read lies from `start` on.
    buffer: Vec<u8>,
    start: usize,
    /// Up to here there is no end of a line.
    scanned: usize,
    /// Whether a quote is open at `scanned`.
    quoted: bool,
    /// The number of the next line.
    number: i64,
    /// The columns of a CSV file, once its header was read: for each cell of a line, the index of its field.
    columns: Option<Vec<usize>>,
    any: bool,
    ended: bool,
    /// Set when what follows cannot be read: a line too long, or no header.
    stopped: bool,
    row: PhantomData<fn() -> R>,
}

/// One row with the number of its line, or what is wrong with the line.
pub type Read<R> = Result<(i64, R), Vec<LineError>>;

impl<R: Row> Reader<R> {
    pub fn new(format: Format) -> Self {
        Reader {
            format,
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            quoted: false,
            number: 1,
            columns: None,
            any: false,
            ended: false,
            stopped: false,
            row: PhantomData,
        }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.scanned -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// No more bytes will come: what is left is the last line.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Whether the rest of the file cannot be read, so that pushing more is of no use.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// The next row; none when more bytes are needed or the file has ended.
    pub fn next_row(&mut self) -> Option<Read<R>> {
        while !self.stopped {
            let Some(end) = self.end_of_line() else {
                return self.last_words();
            };
            let number = self.number;
            let line = self.start..end.line;
            self.number += end.breaks;
            self.start = end.next;
            if let Some(read) = self.read_line(number, line) {
                return Some(read);
            }
        }
        None
    }

    /// Where the next whole line ends. In a CSV file a line break between quotes ends nothing.
    fn end_of_line(&mut self) -> Option<End> {
        while let Some(found) = self.buffer[self.scanned..].iter().position(|byte| *byte == b'\n') {
            let at = self.scanned + found;
            self.toggle_quotes(at);
            self.scanned = at + 1;
            if !self.quoted {
                return Some(self.end_at(at, at + 1));
            }
        }
        let all = self.buffer.len();
        self.toggle_quotes(all);
        self.scanned = all;
        (self.ended && self.start < all).then(|| self.end_at(all, all))
    }

    fn toggle_quotes(&mut self, until: usize) {
        if self.format == Format::Csv {
            let quotes = self.buffer[self.scanned..until].iter().filter(|byte| **byte == b'"').count();
            self.quoted ^= quotes % 2 == 1;
        }
    }

    fn end_at(&self, line: usize, next: usize) -> End {
        let breaks = self.buffer[self.start..next].iter().filter(|byte| **byte == b'\n').count();
        End { line, next, breaks: i64::try_from(breaks).unwrap_or(i64::MAX) }
    }

    /// What is to be said when there is no whole line: a line that grew too long, or a file without any.
    fn last_words(&mut self) -> Option<Read<R>> {
        if self.buffer.len() - self.start > LONGEST_LINE {
            return Some(self.stop_at(self.number, too_long(self.quoted)));
        }
        let empty = match self.format {
            Format::Ndjson => !self.any,
            Format::Csv => self.columns.is_none(),
        };
        if !self.ended || !empty {
            return None;
        }
        Some(self.stop_at(1, "The file is empty.".to_owned()))
    }

    /// Reads one line; none for what is no row: an empty line or a good header.
    fn read_line(&mut self, number: i64, range: std::ops::Range<usize>) -> Option<Read<R>> {
        if range.len() > LONGEST_LINE {
            return Some(self.stop_at(number, too_long(false)));
        }
        let line = &self.buffer[range];
        let line = if number == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.trim_ascii().is_empty() {
            return None;
        }
        self.any = true;
        let Ok(text) = std::str::from_utf8(line) else {
            let message = "The line is not in UTF-8. Save the file as UTF-8.".to_owned();
            return Some(match (self.format, &self.columns) {
                (Format::Csv, None) => self.stop_at(number, message),
                (Format::Csv, Some(_)) | (Format::Ndjson, _) => Err(vec![whole_line(number, message)]),
            });
        };
        let cells = match (self.format, &self.columns) {
            (Format::Ndjson, _) => Cells::of_json(text, R::FIELDS),
            (Format::Csv, Some(columns)) => Cells::of_csv(text, R::FIELDS, columns),
            (Format::Csv, None) => match cells::header(text, R::FIELDS) {
                Ok(columns) => {
                    self.columns = Some(columns);
                    return None;
                }
                Err(message) => return Some(self.stop_at(number, message)),
            },
        };
        Some(row_of(number, cells))
    }

    fn stop_at(&mut self, number: i64, message: String) -> Read<R> {
        self.stopped = true;
        Err(vec![whole_line(number, format!("{message} Reading stopped here."))])
    }
}

struct End {
    line: usize,
    next: usize,
    breaks: i64,
}

fn row_of<R: Row>(number: i64, cells: Result<Cells<'_>, (Cow<'static, str>, String)>) -> Read<R> {
    let mut cells = cells.map_err(|(pointer, message)| vec![LineError { line: number, pointer, message }])?;
    match R::read(&mut cells) {
        Some(row) if !cells.is_wrong() => Ok((number, row)),
        Some(_) | None => Err(cells.errors(number)),
    }
}

fn whole_line(line: i64, message: String) -> LineError {
    LineError { line, pointer: Cow::Borrowed(""), message }
}

fn too_long(quoted: bool) -> String {
    let hint = if quoted { " A quote seems to be left open." } else { "" };
    format!("The line is longer than {LONGEST_LINE} bytes.{hint}")
}
