//! Cells of files that people open in a spreadsheet: never a formula, and read back to the letter.

use std::borrow::Cow;

/// What a spreadsheet, or one of its importers, may take for the beginning of a formula. The apostrophe is among them so that a cell which
/// begins with one is told from one that we gave it.
const RISKY: [char; 8] = ['=', '+', '-', '@', '\t', '\r', '\0', '\''];

/// The text as a cell: with an apostrophe before it where it could be taken for a formula.
pub fn guarded(text: &str) -> Cow<'_, str> {
    if text.starts_with(RISKY) { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

/// The text that [`guarded`] made a cell of.
pub fn read(cell: &str) -> &str {
    match cell.strip_prefix('\'') {
        Some(text) if text.starts_with(RISKY) => text,
        Some(_) | None => cell,
    }
}

/// A line of a CSV file by RFC 4180, with its line end.
pub fn row<T: AsRef<str>>(cells: impl IntoIterator<Item = T>) -> String {
    let cells: Vec<String> = cells.into_iter().map(|cell| quoted(&guarded(cell.as_ref()))).collect();
    format!("{}\r\n", cells.join(","))
}

fn quoted(cell: &str) -> String {
    if cell.contains(['"', ',', '\n', '\r', '\t', '\0']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_looks_like_a_formula_is_text() {
        for risky in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\0=1", "'quoted"] {
            assert!(guarded(risky).starts_with('\''), "{risky:?}");
        }
        assert_eq!(row(["plain", "=HYPERLINK(\"x\")", "a,b", ""]), "plain,\"'=HYPERLINK(\"\"x\"\")\",\"a,b\",\r\n");
    }

    proptest! {
        /// Through another program's reader.
        #[test]
        fn cells_are_read_back_to_the_letter(cells in prop::collection::vec("[=+@'\\-\t\r\n\0\", a-cé]{0,8}", 2..6)) {
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(std::io::Cursor::new(row(&cells)));
            let record = reader.records().next().unwrap().unwrap();
            let back: Vec<&str> = record.iter().map(read).collect();
            prop_assert_eq!(back, cells);
            prop_assert!(record.iter().all(|cell| !cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\0'])));
        }
    }
}
