//! The exchange with billing by files: credits out with a trailer that says what was in the file, answers in with one. A file that
//! was cut is told by its trailer. Cells that a spreadsheet would take for a formula have an apostrophe before them.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::feed::AnswerKind;
use super::money::{Currency, Money, MoneyError};
use super::refusal::{FieldError, Refusal};

/// The columns of a file of credits. `record` is `item`, then one `total` for each operation and currency, then `trailer`.
pub const COLUMNS: [&str; 22] = [
    "record",
    "position",
    "id",
    "op",
    "credit",
    "account",
    "bill_to",
    "road",
    "currency",
    "gross",
    "net",
    "tax",
    "tax_code",
    "reason",
    "service_start",
    "service_end",
    "time_zone",
    "claim",
    "effective_date",
    "count",
    "cursor",
    "sha256",
];

/// The columns of a file of answers; of its last line the first is `trailer`, the second how many answers there are, and net and tax
/// are their sums.
pub const ANSWER_COLUMNS: [&str; 8] = ["credit", "answer", "reference", "date", "net", "tax", "code", "detail"];

#[derive(Clone, Copy, Debug)]
struct Total {
    count: u64,
    gross: Money,
    net: Money,
    tax: Money,
}

/// A file of credits while it is written, line by line.
#[derive(Debug)]
pub struct FeedFile {
    hash: Sha256,
    count: u64,
    position: i64,
    totals: BTreeMap<(String, String), Total>,
}

impl FeedFile {
    /// Begins a file; gives its first line.
    pub fn begin() -> (Self, String) {
        let mut file = FeedFile { hash: Sha256::new(), count: 0, position: 0, totals: BTreeMap::new() };
        let header = file.line(COLUMNS.map(str::to_owned));
        (file, header)
    }

    /// The line of one item.
    pub fn item(&mut self, position: i64, id: &str, op: &str, credit: &Value) -> Result<String, MoneyError> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let code = text(&credit["currency"]);
        let currency: Currency = code.parse()?;
        let amount = |name: &str| Money::parse(credit[name].as_str().unwrap_or_default(), currency);
        let (gross, net, tax) = (amount("gross")?, amount("net")?, amount("tax")?);
        let zero = Money::zero(currency);
        let total = self.totals.entry((op.to_owned(), code.clone())).or_insert(Total {
            count: 0,
            gross: zero,
            net: zero,
            tax: zero,
        });
        *total = Total {
            count: total.count + 1,
            gross: total.gross.plus(gross)?,
            net: total.net.plus(net)?,
            tax: total.tax.plus(tax)?,
        };
        self.count += 1;
        self.position = position;
        let period = &credit["service_period"];
        Ok(self.line([
            "item".to_owned(),
            position.to_string(),
            id.to_owned(),
            op.to_owned(),
            text(&credit["id"]),
            text(&credit["account"]),
            text(&credit["bill_to"]),
            text(&credit["road"]),
            code,
            gross.digits(),
            net.digits(),
            tax.digits(),
            text(&credit["tax_code"]),
            text(&credit["reason"]),
            text(&period["start"]),
            text(&period["end"]),
            text(&period["time_zone"]),
            text(&credit["claim"]),
            text(&credit["effective_date"]),
            String::new(),
            String::new(),
            String::new(),
        ]))
    }

    /// The totals and the trailer: how many items, the last position, the cursor after it, and SHA-256 over every line before.
    pub fn end(mut self, cursor: &str) -> String {
        let mut text = String::new();
        for ((op, currency), total) in std::mem::take(&mut self.totals) {
            text += &self.line(row(&[
                (0, "total".to_owned()),
                (3, op),
                (8, currency),
                (9, total.gross.digits()),
                (10, total.net.digits()),
                (11, total.tax.digits()),
                (19, total.count.to_string()),
            ]));
        }
        let hash = hex::encode(self.hash.clone().finalize());
        text += &self.line(row(&[
            (0, "trailer".to_owned()),
            (1, self.position.to_string()),
            (19, self.count.to_string()),
            (20, cursor.to_owned()),
            (21, hash),
        ]));
        text
    }

    fn line(&mut self, cells: [String; 22]) -> String {
        let cells: Vec<String> = cells.iter().map(|text| cell(text)).collect();
        let line = cells.join(",") + "\r\n";
        self.hash.update(&line);
        line
    }
}

fn row(filled: &[(usize, String)]) -> [String; 22] {
    std::array::from_fn(|at| {
        filled.iter().find(|(place, _)| *place == at).map(|(_, text)| text.clone()).unwrap_or_default()
    })
}

/// What a spreadsheet takes for the beginning of a formula.
const FORMULA: [char; 7] = ['=', '+', '-', '@', '\t', '\r', '\0'];

/// A cell of a CSV file: never a formula, never two cells.
pub fn cell(text: &str) -> String {
    // An apostrophe before one is doubled, so that what is read back is what was written.
    let is_marked =
        text.starts_with(FORMULA) || text.trim_start_matches('\'').starts_with(FORMULA) && text.starts_with('\'');
    let mark = if is_marked { "'" } else { "" };
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{mark}{}\"", text.replace('"', "\"\""))
    } else {
        format!("{mark}{text}")
    }
}

/// What was in a cell before [`cell`] made it safe.
pub fn read_cell(text: &str) -> &str {
    match text.strip_prefix('\'') {
        Some(rest) if rest.trim_start_matches('\'').starts_with(FORMULA) => rest,
        Some(_) | None => text,
    }
}

/// One line of a file of answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerLine {
    pub credit: String,
    pub answer: AnswerKind,
    pub reference: Option<String>,
    pub date: Option<NaiveDate>,
    pub net: Option<String>,
    pub tax: Option<String>,
    pub code: Option<String>,
    pub detail: Option<String>,
}

/// Reads a whole file of answers; refuses one that was cut, or does not say what its trailer says.
pub fn read_answers(bytes: &[u8]) -> Result<Vec<AnswerLine>, Refusal> {
    let refused = |line: u64, column: &str, message: String| {
        let pointer = if column.is_empty() { format!("/lines/{line}") } else { format!("/lines/{line}/{column}") };
        Refusal::invalid(vec![FieldError { pointer, message }])
    };
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| {
            let line = error.position().map_or(0, |at| line_at(bytes, at.byte()));
            refused(line, "", format!("this is no line of CSV in UTF-8: {error}"))
        })?;
        let line = record.position().map_or(0, |at| line_at(bytes, at.byte()));
        let cells: Vec<String> = record.iter().map(|text| read_cell(text).trim().to_owned()).collect();
        rows.push((line, cells));
    }
    let Some(((_, header), lines)) = rows.split_first() else {
        return Err(refused(1, "", "the file is empty".to_owned()));
    };
    let header = header
        .first()
        .map(|first| first.trim_start_matches('\u{feff}'))
        .into_iter()
        .chain(header.iter().skip(1).map(String::as_str));
    if !header.eq(ANSWER_COLUMNS) {
        return Err(refused(1, "", format!("the first line is {}", ANSWER_COLUMNS.join(","))));
    }
    let cut = || {
        refused(
            rows.last().map_or(1, |(line, _)| *line),
            "",
            "the file was cut: its last line is no trailer, such as `trailer,2,,,43.48,6.52,,` with the number of answers and the sums \
             of net and tax. Nothing was taken: send the whole file"
                .to_owned(),
        )
    };
    let Some(((at, trailer), lines)) = lines.split_last() else { return Err(cut()) };
    if trailer.first().is_none_or(|first| first != "trailer") || !bytes.ends_with(b"\n") {
        return Err(cut());
    }
    let mut answers = Vec::with_capacity(lines.len());
    let mut sums = [rust_decimal::Decimal::ZERO; 2];
    for (line, cells) in lines {
        if cells.len() != ANSWER_COLUMNS.len() {
            let message = format!("{} cells, where {} are wanted", cells.len(), ANSWER_COLUMNS.len());
            return Err(refused(*line, "", message));
        }
        let cell = |at: usize| cells.get(at).filter(|text| !text.is_empty()).cloned();
        let answer = cell(1).unwrap_or_default();
        let answer = AnswerKind::parse(&answer).ok_or_else(|| {
            refused(*line, "answer", format!("{answer:?} is no answer: accepted, applied, returned or refused"))
        })?;
        let date = cell(3)
            .map(|text| text.parse::<NaiveDate>())
            .transpose()
            .map_err(|_| refused(*line, "date", "a date is written as 2026-12-05".to_owned()))?;
        for (sum, (at, column)) in sums.iter_mut().zip([(4, "net"), (5, "tax")]) {
            let Some(text) = cell(at) else { continue };
            let wrong = || refused(*line, column, format!("{text:?} is no amount"));
            let amount = rust_decimal::Decimal::from_str_exact(&text).map_err(|_| wrong())?;
            *sum = sum.checked_add(amount).ok_or_else(wrong)?;
        }
        answers.push(AnswerLine {
            credit: cell(0).unwrap_or_default(),
            answer,
            reference: cell(2),
            date,
            net: cell(4),
            tax: cell(5),
            code: cell(6),
            detail: cell(7),
        });
    }
    let said = |at: usize| trailer.get(at).filter(|text| !text.is_empty());
    let count = answers.len().to_string();
    if said(1) != Some(&count) {
        let said = said(1).map_or("nothing", String::as_str);
        return Err(refused(
            *at,
            "answer",
            format!("the trailer says {said} where {count} answers are: nothing was taken"),
        ));
    }
    for (sum, (column, at_cell)) in sums.iter().zip([("net", 4), ("tax", 5)]) {
        let is_said = said(at_cell).and_then(|text| rust_decimal::Decimal::from_str_exact(text).ok());
        if is_said != Some(*sum) {
            return Err(refused(
                *at,
                column,
                format!("the trailer has to say the sum, which is {sum}: nothing was taken"),
            ));
        }
    }
    Ok(answers)
}

/// The line on which a record begins that the reader found at `offset`, counted from 1. The reader ends a record with the first byte
/// of its `\r\n`, so the second one stands before the next record.
fn line_at(bytes: &[u8], offset: u64) -> u64 {
    let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    let (before, after) = bytes.split_at(offset);
    let ends = before.iter().chain(after.first()).filter(|byte| **byte == b'\n').count();
    1 + u64::try_from(ends).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const ANSWERS: &str = "credit,answer,reference,date,net,tax,code,detail\r\n\
        crd_1,applied,INV-1,2026-12-05,21.74,3.26,,\r\n\
        crd_2,refused,,,,,CLOSED,'=1+1\r\n\
        trailer,2,,,21.74,3.26,,\r\n";

    fn said(refusal: &Refusal) -> String {
        refusal.errors.iter().map(|error| format!("{}: {}", error.pointer, error.message)).collect()
    }

    #[test]
    fn answers_are_read_and_a_file_that_was_cut_anywhere_is_refused() {
        let read = read_answers(ANSWERS.as_bytes()).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].net.as_deref(), Some("21.74"));
        assert_eq!(read[1].detail.as_deref(), Some("=1+1"));
        for length in 0..ANSWERS.len() {
            assert!(read_answers(&ANSWERS.as_bytes()[..length]).is_err(), "taken with {length} bytes");
        }
        let without = ANSWERS.replace("crd_1,applied,INV-1,2026-12-05,21.74,3.26,,\r\n", "");
        assert!(said(&read_answers(without.as_bytes()).unwrap_err()).contains("says 2 where 1"));
        let changed = ANSWERS.replacen("21.74", "21.75", 1);
        assert!(said(&read_answers(changed.as_bytes()).unwrap_err()).contains("/lines/4/net"));
        let unknown = ANSWERS.replace("applied", "paid");
        assert!(said(&read_answers(unknown.as_bytes()).unwrap_err()).contains("/lines/2/answer"));
    }

    #[test]
    fn a_file_says_in_its_trailer_what_was_in_it() {
        let credit = json!({"id": "crd_1", "account": "=A1", "bill_to": "B", "currency": "NZD", "gross": "25.00", "net": "21.74", "tax": "3.26"});
        let (mut file, mut text) = FeedFile::begin();
        text += &file.item(7, "evt_1", "issue", &credit).unwrap();
        text += &file.item(8, "evt_2", "issue", &credit).unwrap();
        let before = text.clone();
        let end = file.end("CURSOR");
        let (total, trailer) = end.split_once("\r\n").unwrap();
        assert_eq!(total, "total,,,issue,,,,,NZD,50.00,43.48,6.52,,,,,,,,2,,");
        let hash = hex::encode(Sha256::digest(format!("{before}{total}\r\n")));
        assert_eq!(trailer, format!("trailer,8,,,,,,,,,,,,,,,,,,2,CURSOR,{hash}\r\n"));
        assert!(text.contains(",'=A1,B,"), "{text}");
        let broken = json!({"currency": "NZD", "gross": "x"});
        assert!(FeedFile::begin().0.item(1, "evt", "issue", &broken).is_err());
    }

    proptest! {
        #[test]
        fn a_cell_is_read_back_as_it_was_and_is_never_a_formula(text in "['=+@\t\r\0a,\"\n-]{0,6}") {
            let written = cell(&text);
            let line = format!("{written},x\r\n");
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line.as_bytes());
            let record = reader.records().next().unwrap().unwrap();
            prop_assert_eq!(record.len(), 2);
            prop_assert!(!record[0].starts_with(FORMULA));
            prop_assert_eq!(read_cell(&record[0]), text);
        }
    }
}
