//! The books of a billing system, as small as they can be and whole: one file that only grows. What a page brought and the cursor
//! behind it are one record, so a crash leaves both or none; what is decided about an item is kept before it is told.
//!
//! Each line is 16 hexadecimal digits, a space and a JSON object. The digits are the beginning of SHA-256 over those of the line before
//! and the object, and the line is on the disk before anything rests on it. A last line that is not whole was never there.

use std::collections::{BTreeMap, HashSet};
use std::fs::{File, TryLockError};
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// One record of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
enum Record {
    /// A page: what was new in it, the ids of what was known, and where to go on.
    Page { epoch: i64, cursor: String, items: Vec<Item>, again: Vec<String> },
    /// What was decided about items; it is to be told.
    Decided { answers: Vec<Answer> },
    /// What became of answers that were told.
    Told { results: Vec<Result> },
    /// The feed is read from its beginning again, and everything is told again.
    Resync,
}

/// An item of the feed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Item {
    pub position: i64,
    pub id: String,
    pub op: String,
    pub credit: Value,
}

impl Item {
    /// A field of the credit that is text.
    pub fn text(&self, name: &str) -> &str {
        self.credit[name].as_str().unwrap_or_default()
    }
}

/// What the books say about one item.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The item's.
    pub id: String,
    pub credit: String,
    pub answer: Said,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<NaiveDate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tax: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// The credit is on a bill.
    Applied,
    /// What was taken back after it was on a bill is on a bill.
    Debited,
    /// It will stand on no bill.
    Cancelled,
    /// Nothing to say: another item of the credit says it.
    Nothing,
}

/// What the service said to one answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Result {
    pub id: String,
    /// `recorded`, `already` or `refused`.
    pub result: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The books, open for one program at a time.
#[derive(Debug)]
pub struct Books {
    path: PathBuf,
    file: File,
    /// The digits of the last line.
    last: String,
    /// Whether a last line that was not whole was left out.
    pub was_cut: bool,
    cursor: Option<String>,
    epoch: Option<i64>,
    items: BTreeMap<i64, Item>,
    places: BTreeMap<String, i64>,
    answers: BTreeMap<String, Answer>,
    told: BTreeMap<String, Result>,
    /// Which items were read since the feed is read again from its beginning.
    seen: Option<HashSet<String>>,
}

impl Books {
    /// Opens the books in a folder, which is made if it is not there.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let path = folder.join("books.ndjson");
        let named = || format!("cannot open {}", path.display());
        let mut file = File::options().read(true).append(true).create(true).open(&path).with_context(named)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("{} is in use by another program: one at a time keeps these books", path.display())
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(named),
        }
        // The file's name is on the disk before its first record is.
        File::open(folder).and_then(|folder| folder.sync_all()).with_context(named)?;
        let mut books = Books {
            path: path.clone(),
            file: file.try_clone()?,
            last: String::new(),
            was_cut: false,
            cursor: None,
            epoch: None,
            items: BTreeMap::new(),
            places: BTreeMap::new(),
            answers: BTreeMap::new(),
            told: BTreeMap::new(),
            seen: None,
        };
        let length = file.metadata()?.len();
        file.rewind()?;
        let mut lines = BufReader::new(file.take(length));
        let (mut line, mut whole, mut number) = (Vec::new(), 0u64, 0u64);
        while lines.read_until(b'\n', &mut line)? > 0 {
            number += 1;
            let end = whole + u64::try_from(line.len())?;
            match parse(&books.last, &line) {
                Some((digits, record)) => {
                    books.follow(record);
                    books.last = digits;
                    whole = end;
                }
                None if end == length => books.was_cut = true,
                None => bail!(
                    "{}: line {number} is not what was written there. Nothing was done. Put the file back from a copy, or begin new \
                     books in an empty folder: the feed is read from its beginning then",
                    path.display()
                ),
            }
            line.clear();
        }
        if books.was_cut {
            books.file.set_len(whole)?;
            books.file.sync_all()?;
        }
        Ok(books)
    }

    /// Where to go on; none from the beginning.
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    pub fn epoch(&self) -> Option<i64> {
        self.epoch
    }

    /// Every item, in the order in which they came.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.items.values()
    }

    pub fn answer_to(&self, item: &str) -> Option<&Answer> {
        self.answers.get(item)
    }

    pub fn result_of(&self, item: &str) -> Option<&Result> {
        self.told.get(item)
    }

    /// What is decided and was not told, in the order of the items: what is said of a debit makes sense after what was said of its credit.
    pub fn untold(&self) -> impl Iterator<Item = &Answer> {
        let answers = self.items.values().filter_map(|item| self.answers.get(&item.id));
        answers.filter(|answer| answer.answer != Said::Nothing && !self.told.contains_key(&answer.id))
    }

    /// What these books have and the feed, read from its beginning again, does not; none where it is not read again.
    pub fn missing(&self) -> Option<Vec<&Item>> {
        let seen = self.seen.as_ref()?;
        Some(self.items.values().filter(|item| !seen.contains(&item.id)).collect())
    }

    /// Books a page: what is new in it, and where to go on, at once. Says how many items were new, and which are known with another
    /// content: those stay as they were booked.
    pub fn book(&mut self, epoch: i64, cursor: &str, page: Vec<Item>) -> anyhow::Result<(usize, Vec<Item>)> {
        let (mut items, mut again, mut differing) = (Vec::new(), Vec::new(), Vec::new());
        for item in page {
            match self.places.get(&item.id).and_then(|place| self.items.get(place)) {
                None => items.push(item),
                Some(known) => {
                    again.push(item.id.clone());
                    if known.credit != item.credit || known.op != item.op {
                        differing.push(item);
                    }
                }
            }
        }
        let new = items.len();
        let is_same = new == 0 && again.is_empty() && self.cursor() == Some(cursor);
        if !is_same {
            self.write(Record::Page { epoch, cursor: cursor.to_owned(), items, again })?;
        }
        Ok((new, differing))
    }

    /// Keeps what was decided, before it is told.
    pub fn decide(&mut self, answers: Vec<Answer>) -> anyhow::Result<()> {
        if answers.is_empty() { Ok(()) } else { self.write(Record::Decided { answers }) }
    }

    /// Keeps what became of what was told.
    pub fn tell(&mut self, results: Vec<Result>) -> anyhow::Result<()> {
        self.write(Record::Told { results })
    }

    /// Goes back to the beginning of the feed; what is booked stays, and everything is told again.
    pub fn resync(&mut self) -> anyhow::Result<()> {
        self.write(Record::Resync)
    }

    fn write(&mut self, record: Record) -> anyhow::Result<()> {
        let text = serde_json::to_string(&record)?;
        let digits = digits(&self.last, text.as_bytes());
        let named = || format!("cannot write to {}", self.path.display());
        // One write of one whole line, and on the disk before anything rests on it.
        self.file.write_all(format!("{digits} {text}\n").as_bytes()).with_context(named)?;
        self.file.sync_data().with_context(named)?;
        self.last = digits;
        self.follow(record);
        Ok(())
    }

    fn follow(&mut self, record: Record) {
        match record {
            Record::Page { epoch, cursor, items, again } => {
                if let Some(seen) = &mut self.seen {
                    seen.extend(items.iter().map(|item| item.id.clone()).chain(again));
                }
                for item in items {
                    // Positions of another epoch may come again: the order is that of arrival.
                    let place = self.items.last_key_value().map_or(1, |(place, _)| place + 1);
                    self.places.insert(item.id.clone(), place);
                    self.items.insert(place, item);
                }
                (self.epoch, self.cursor) = (Some(epoch), Some(cursor));
            }
            Record::Decided { answers } => {
                self.answers.extend(answers.into_iter().map(|answer| (answer.id.clone(), answer)));
            }
            Record::Told { results } => {
                self.told.extend(results.into_iter().map(|result| (result.id.clone(), result)));
            }
            Record::Resync => {
                (self.epoch, self.cursor, self.seen) = (None, None, Some(HashSet::new()));
                self.told.clear();
            }
        }
    }
}

/// The beginning of SHA-256 over the digits of the line before and the object.
fn digits(last: &str, text: &[u8]) -> String {
    let hash = Sha256::new().chain_update(last).chain_update(text).finalize();
    hex::encode(hash.get(..8).unwrap_or_default())
}

fn parse(last: &str, line: &[u8]) -> Option<(String, Record)> {
    let line = line.strip_suffix(b"\n")?;
    let (said, text) = line.split_at_checked(16)?;
    let text = text.strip_prefix(b" ")?;
    let digits = digits(last, text);
    if said != digits.as_bytes() {
        return None;
    }
    Some((digits, serde_json::from_slice(text).ok()?))
}

/// What is new is decided: an issued or offered credit goes on a bill, one that is cancelled before goes on none, and what is debited
/// goes on a bill again. Bills are called `bill` and who pays them.
pub fn decide(books: &Books, bill: &str, date: NaiveDate) -> anyhow::Result<(Vec<Answer>, Vec<Item>)> {
    let mut answers: Vec<Answer> = Vec::new();
    let mut unknown = Vec::new();
    // The items of each credit that ask for a place on a bill and have no answer, and whether the credit is on one.
    let mut asking: BTreeMap<&str, Vec<&Item>> = BTreeMap::new();
    let mut on_bill: HashSet<&str> = HashSet::new();
    for item in books.items() {
        let credit = item.text("id");
        ensure!(!credit.is_empty(), "item {} names no credit", item.id);
        let answered = books.answer_to(&item.id);
        match (item.op.as_str(), answered) {
            ("issue" | "offer", Some(answer)) => {
                if answer.answer == Said::Applied {
                    on_bill.insert(credit);
                }
            }
            ("issue" | "offer", None) => {
                // What is offered again takes the place of what was not answered.
                for left_out in asking.remove(credit).unwrap_or_default() {
                    answers.push(answer(left_out, Said::Nothing, None, date));
                }
                asking.entry(credit).or_default().push(item);
            }
            ("cancel", None) => {
                for left_out in asking.remove(credit).unwrap_or_default() {
                    answers.push(answer(left_out, Said::Nothing, None, date));
                }
                // On a bill already: that was told or will be, and a debit comes.
                let said = if on_bill.contains(credit) { Said::Nothing } else { Said::Cancelled };
                answers.push(answer(item, said, None, date));
            }
            ("debit", None) => {
                let reference = format!("{bill}-{}-{}", item.text("bill_to"), item.position);
                answers.push(answer(item, Said::Debited, Some(reference), date));
            }
            ("cancel" | "debit", Some(_)) => {}
            _ => unknown.push(item.clone()),
        }
    }
    for item in asking.into_values().flatten() {
        let again = if item.op == "offer" { format!("-{}", item.position) } else { String::new() };
        let reference = format!("{bill}-{}{again}", item.text("bill_to"));
        answers.push(answer(item, Said::Applied, Some(reference), date));
    }
    Ok((answers, unknown))
}

fn answer(item: &Item, said: Said, reference: Option<String>, date: NaiveDate) -> Answer {
    let amount = |name: &str| reference.is_some().then(|| item.text(name).to_owned());
    Answer {
        id: item.id.clone(),
        credit: item.text("id").to_owned(),
        answer: said,
        net: amount("net"),
        tax: amount("tax"),
        date: reference.is_some().then_some(date),
        reference,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let folder = std::env::temp_dir().join(format!("makegood-books-{}", uuid::Uuid::now_v7()));
            std::fs::create_dir(&folder).unwrap();
            Folder(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn item(position: i64, op: &str, credit: &str) -> Item {
        let body =
            json!({"id": credit, "bill_to": "A", "currency": "NZD", "gross": "25.00", "net": "21.74", "tax": "3.26"});
        Item { position, id: format!("evt_{op}_{credit}"), op: op.to_owned(), credit: body }
    }

    fn day() -> NaiveDate {
        "2026-12-05".parse().unwrap()
    }

    #[test]
    fn a_crash_at_any_byte_leaves_a_page_with_its_cursor_or_neither() {
        let folder = Folder::new();
        let path = folder.0.join("books.ndjson");
        let mut ends = vec![0];
        {
            let mut books = Books::open(&folder.0).unwrap();
            for page in 0..3 {
                let items = (0..3).map(|at| item(page * 3 + at, "issue", &format!("crd_{page}_{at}"))).collect();
                assert_eq!(books.book(1, &format!("c{page}"), items).unwrap().0, 3);
                ends.push(std::fs::metadata(&path).unwrap().len());
            }
        }
        let all = std::fs::read(&path).unwrap();
        for length in 0..=all.len() {
            std::fs::write(&path, &all[..length]).unwrap();
            let mut books = Books::open(&folder.0).unwrap();
            let whole = ends.iter().filter(|end| usize::try_from(**end).unwrap() <= length).count() - 1;
            assert_eq!(books.items().count(), whole * 3, "{length}");
            assert_eq!(books.cursor().map(str::to_owned), whole.checked_sub(1).map(|page| format!("c{page}")));
            assert_eq!(books.was_cut, !ends.contains(&u64::try_from(length).unwrap()));
            // What was left out is out of the way of what comes next.
            books.book(1, "next", vec![item(99, "issue", "crd_99")]).unwrap();
            drop(books);
            assert_eq!(Books::open(&folder.0).unwrap().items().count(), whole * 3 + 1, "{length}");
        }
        let mut damaged = all.clone();
        damaged[30] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        assert!(Books::open(&folder.0).unwrap_err().to_string().contains("line 1 is not what was written"));
    }

    #[test]
    fn one_program_at_a_time_keeps_the_books() {
        let folder = Folder::new();
        let _first = Books::open(&folder.0).unwrap();
        assert!(Books::open(&folder.0).unwrap_err().to_string().contains("in use"));
    }

    #[test]
    fn what_is_cancelled_before_it_is_on_a_bill_is_on_none_and_what_is_debited_is() {
        let folder = Folder::new();
        let mut books = Books::open(&folder.0).unwrap();
        let first = vec![item(1, "issue", "a"), item(2, "issue", "b"), item(3, "cancel", "a")];
        books.book(1, "c", first).unwrap();
        let (answers, unknown) = decide(&books, "INV", day()).unwrap();
        assert!(unknown.is_empty());
        let said: BTreeMap<String, Said> = answers.iter().map(|one| (one.id.clone(), one.answer)).collect();
        let expected =
            [("evt_cancel_a", Said::Cancelled), ("evt_issue_a", Said::Nothing), ("evt_issue_b", Said::Applied)];
        assert_eq!(said, expected.map(|(id, said)| (id.to_owned(), said)).into());
        books.decide(answers).unwrap();
        assert_eq!(decide(&books, "INV", day()).unwrap().0.len(), 0, "nothing is decided twice");
        // On a bill, then taken back: the cancel comes too late, and the debit goes on a bill.
        let late = vec![item(4, "cancel", "b"), item(5, "debit", "b"), item(6, "pay", "b")];
        books.book(1, "d", late).unwrap();
        let (answers, unknown) = decide(&books, "INV", day()).unwrap();
        assert_eq!(unknown.iter().map(|item| item.op.as_str()).collect::<Vec<_>>(), ["pay"]);
        let said: Vec<(&str, Said, Option<&str>)> =
            answers.iter().map(|one| (one.id.as_str(), one.answer, one.reference.as_deref())).collect();
        assert_eq!(said, [("evt_cancel_b", Said::Nothing, None), ("evt_debit_b", Said::Debited, Some("INV-A-5"))]);
        books.decide(answers).unwrap();
        // Refused elsewhere and offered again before these books said anything: one bill, for the offer.
        books.book(1, "e", vec![item(7, "issue", "c"), item(8, "offer", "c")]).unwrap();
        let (answers, _) = decide(&books, "INV", day()).unwrap();
        let said: Vec<(&str, Said)> = answers.iter().map(|one| (one.id.as_str(), one.answer)).collect();
        assert_eq!(said, [("evt_issue_c", Said::Nothing), ("evt_offer_c", Said::Applied)]);
    }

    #[test]
    fn after_a_resync_what_is_known_stays_what_is_new_is_booked_and_what_is_gone_is_listed() {
        let folder = Folder::new();
        let mut books = Books::open(&folder.0).unwrap();
        books.book(1, "c", vec![item(1, "issue", "a"), item(2, "issue", "b")]).unwrap();
        let (answers, _) = decide(&books, "INV", day()).unwrap();
        let results = answers.iter().map(|one| Result { id: one.id.clone(), result: "recorded".into(), detail: None });
        let results = results.collect();
        books.decide(answers).unwrap();
        books.tell(results).unwrap();
        assert_eq!(books.untold().count(), 0);
        books.resync().unwrap();
        assert_eq!((books.cursor(), books.untold().count()), (None, 2), "everything is told again");
        let mut other = item(1, "issue", "a");
        other.credit["net"] = json!("1.00");
        let (new, differing) = books.book(2, "x", vec![other, item(2, "issue", "c")]).unwrap();
        assert_eq!((new, differing.len()), (1, 1));
        drop(books);
        let books = Books::open(&folder.0).unwrap();
        assert_eq!(books.items().map(|item| item.text("net")).collect::<Vec<_>>(), ["21.74"; 3]);
        let missing = books.missing().unwrap();
        assert_eq!(missing.iter().map(|item| item.text("id")).collect::<Vec<_>>(), ["b"]);
    }
}
