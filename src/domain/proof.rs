//! The walk along a chain and its feed: every entry against the row that it is of, against the entry before it, and against the
//! checkpoints that were signed meanwhile. It does not know where entries come from: a database or an exported file.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::chain::{AuditRow, Hash, TransferRow, canonical, link};
use super::checkpoint::{Checkpoint, LaneMark, Totals};
use super::feed::item_hash;
use super::time::Instant;

/// How many findings are kept in words; the rest is counted.
const KEPT: usize = 100;

/// The kind of row that an entry is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Transfer,
    Audit,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Transfer => "transfer",
            Kind::Audit => "audit",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Kind::Transfer, Kind::Audit].into_iter().find(|kind| kind.name() == name)
    }
}

/// A row of the books, as an export carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    pub document: Uuid,
    pub event: String,
    pub debit: String,
    pub credit: String,
    pub amount_minor: i64,
    pub currency: String,
    pub reason: String,
    pub effective_on: String,
    pub recorded_at: Instant,
}

/// A row of the audit trail, as an export carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    pub recorded_at: Instant,
    pub actor: String,
    pub action: String,
    pub subject: String,
    pub detail: Value,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub context: Option<Value>,
}

/// What an entry is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Row {
    Transfer(Transfer),
    Audit(Audit),
}

impl Row {
    fn encode(&self, account: Uuid, id: Uuid) -> Vec<u8> {
        match self {
            Row::Transfer(row) => TransferRow {
                account,
                transfer: id,
                document: row.document,
                event: &row.event,
                debit: &row.debit,
                credit: &row.credit,
                amount_minor: row.amount_minor,
                currency: &row.currency,
                reason: &row.reason,
                effective_on: &row.effective_on,
                recorded_at: row.recorded_at,
            }
            .encode(),
            Row::Audit(row) => AuditRow {
                account,
                audit: id,
                recorded_at: row.recorded_at,
                actor: &row.actor,
                action: &row.action,
                subject: &row.subject,
                detail: &row.detail,
                context: row.context.as_ref(),
            }
            .encode(),
        }
    }
}

/// One entry of a lane's chain, with the row that it is of if that is still there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub lane: i16,
    pub no: i64,
    pub kind: Kind,
    pub account: Uuid,
    pub id: Uuid,
    #[serde(with = "hex::serde")]
    pub hash: Hash,
    pub row: Option<Row>,
}

/// One item of a lane's feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    pub lane: i16,
    pub pos: i64,
    pub op: String,
    #[serde(with = "hex::serde")]
    pub hash: Hash,
    pub body: Value,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A row says something else than was chained.
    RowChanged,
    /// The chain names a row that is not there.
    RowGone,
    /// Numbers are missing in the chain.
    EntryGone,
    /// Entries, or items of the feed, at the end are missing.
    TailCut,
    /// A signed checkpoint saw another chain.
    Rewritten,
    /// A row stands in the books and in no chain.
    OutsideChain,
    /// An item of the feed is missing or says something else.
    FeedChanged,
    /// Two figures that must be the same are not.
    TotalsDiffer,
    /// A file of checkpoints, or an export, is not as it was written.
    FileChanged,
}

/// One thing that is wrong: what, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub what: What,
    pub words: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// The first findings, and how many there are in all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    pub first: Vec<Finding>,
    pub count: usize,
}

impl Findings {
    pub fn add(&mut self, what: What, words: impl Into<String>) {
        self.count += 1;
        if self.first.len() < KEPT {
            self.first.push(Finding { what, words: words.into() });
        }
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn append(&mut self, other: Findings) {
        let room = KEPT.saturating_sub(self.first.len());
        self.count += other.count;
        self.first.extend(other.first.into_iter().take(room));
    }
}

/// What verifying found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Entries of the chain that were walked.
    pub checked: i64,
    /// Items of the feed that were walked.
    pub items: i64,
    /// The hash of the last entry of the first lane.
    pub head: Hash,
    /// How many checkpoints the chain was held against.
    pub checkpoints: usize,
    /// Rows that were committed and have no number yet.
    pub waiting: i64,
    /// The first thing that is wrong, in words; none where everything holds.
    pub broken: Option<String>,
    pub findings: Findings,
}

const EXPLAIN: &str =
    "Compare it with a backup or an export from before, and do not rely on it until that is explained";

/// A lane, as far as it was walked.
#[derive(Debug)]
pub struct Walk {
    at: LaneMark,
    /// The checkpoints in the order of their entries, and the same in the order of their feed items.
    marks: Vec<(i64, Instant, LaneMark)>,
    feed_marks: Vec<(i64, Instant, LaneMark)>,
    next_mark: usize,
    next_feed_mark: usize,
    /// The mark that the walk was last found to agree with.
    agreed: i64,
    is_rewritten: bool,
    /// Whether nothing is between the last entry and the next one's hash.
    is_anchored: bool,
    pub findings: Findings,
}

impl Walk {
    /// Begins where `from` stands, which is trusted, on the way past `checkpoints`.
    pub fn from(from: LaneMark, checkpoints: &[Checkpoint]) -> Self {
        let mut marks: Vec<_> = checkpoints
            .iter()
            .flat_map(|one| one.lanes.iter().map(|mark| (one.no, one.at, mark.clone())))
            .filter(|(_, _, mark)| mark.lane == from.lane)
            .collect();
        marks.sort_by_key(|(_, at, mark)| (mark.chain_no, *at));
        let mut feed_marks = marks.clone();
        feed_marks.sort_by_key(|(_, at, mark)| (mark.feed_pos, *at));
        Walk {
            agreed: from.chain_no,
            at: from,
            marks,
            feed_marks,
            next_mark: 0,
            next_feed_mark: 0,
            is_rewritten: false,
            is_anchored: true,
            findings: Findings::default(),
        }
    }

    /// Where the walk is.
    pub fn at(&self) -> &LaneMark {
        &self.at
    }

    /// Takes the next entry of the chain.
    pub fn entry(&mut self, entry: &Entry) {
        if self.at.chain_no == 0 {
            self.hold_chain();
        }
        let (no, kind, id) = (entry.no, entry.kind.name(), entry.id);
        if no <= self.at.chain_no {
            self.findings
                .add(What::EntryGone, format!("Entry {no} stands where entry {} belongs.", self.at.chain_no + 1));
            return;
        }
        if no > self.at.chain_no + 1 {
            let words = match no - self.at.chain_no {
                2 => format!("Entry {} is gone from the chain. {EXPLAIN}.", no - 1),
                _ => format!("Entries {} to {} are gone from the chain. {EXPLAIN}.", self.at.chain_no + 1, no - 1),
            };
            self.findings.add(What::EntryGone, words);
            self.is_anchored = false;
        }
        let whole = format!("{kind} {id} of account {}", entry.account);
        match &entry.row {
            None => {
                self.findings.add(What::RowGone, format!("Entry {no}: the {whole} is gone. {EXPLAIN}."));
            }
            Some(row) => {
                let is_of_kind = match row {
                    Row::Transfer(_) => entry.kind == Kind::Transfer,
                    Row::Audit(_) => entry.kind == Kind::Audit,
                };
                let expected = link(&self.at.chain_hash, &row.encode(entry.account, id));
                if !is_of_kind || (self.is_anchored && expected != entry.hash) {
                    let words = format!("Entry {no}: the {whole} says something else than was chained. {EXPLAIN}.");
                    self.findings.add(What::RowChanged, words);
                }
                self.count(row);
            }
        }
        self.is_anchored = true;
        self.at.chain_no = no;
        self.at.chain_hash = entry.hash;
        self.hold_chain();
    }

    fn count(&mut self, row: &Row) {
        match row {
            Row::Audit(_) => self.at.totals.audits += 1,
            Row::Transfer(row) => {
                self.at.totals.transfers += 1;
                let sum = self.at.totals.sums.entry(row.currency.clone()).or_default();
                *sum = sum.saturating_add(i128::from(row.amount_minor));
            }
        }
    }

    /// Holds the chain against the checkpoints that were signed at this entry.
    fn hold_chain(&mut self) {
        while let Some((no, at, mark)) =
            self.marks.get(self.next_mark).filter(|mark| mark.2.chain_no <= self.at.chain_no)
        {
            self.next_mark += 1;
            if mark.chain_no < self.at.chain_no || self.is_rewritten {
                continue;
            }
            if mark.chain_hash != self.at.chain_hash {
                self.is_rewritten = true;
                let words = format!(
                    "Checkpoint {no} of {at} saw another entry {}: entries after {} were written anew, in rows and hashes, \
                     by somebody who owns the database. Keep the database as it is, and compare it with an export or a \
                     backup from {at}.",
                    mark.chain_no, self.agreed
                );
                self.findings.add(What::Rewritten, words);
                continue;
            }
            if self.findings.is_empty() && mark.totals != self.at.totals {
                let words = format!(
                    "Up to entry {} there are {}, but checkpoint {no} of {at} counted {}.",
                    mark.chain_no,
                    words_of(&self.at.totals),
                    words_of(&mark.totals)
                );
                self.findings.add(What::TotalsDiffer, words);
            }
            self.agreed = mark.chain_no;
        }
    }

    /// Takes the next item of the feed.
    pub fn item(&mut self, item: &Item) {
        let expected = item_hash(&self.at.feed_hash, item.pos, &item.op, &canonical(&item.body));
        if item.pos != self.at.feed_pos + 1 {
            let words =
                format!("Feed item {} follows item {}: what stood between is gone.", item.pos, self.at.feed_pos);
            self.findings.add(What::FeedChanged, words);
        } else if item.hash != expected {
            let words = format!(
                "Feed item {} says something else than billing was told. Billing holds what it said: compare with its books.",
                item.pos
            );
            self.findings.add(What::FeedChanged, words);
        }
        self.at.feed_pos = item.pos;
        self.at.feed_hash = item.hash;
        while let Some((no, at, mark)) =
            self.feed_marks.get(self.next_feed_mark).filter(|mark| mark.2.feed_pos <= self.at.feed_pos)
        {
            self.next_feed_mark += 1;
            if mark.feed_pos == self.at.feed_pos && mark.feed_hash != self.at.feed_hash && !self.is_rewritten {
                self.is_rewritten = true;
                let words = format!("Checkpoint {no} of {at} saw another feed item {}.", mark.feed_pos);
                self.findings.add(What::Rewritten, words);
            }
        }
    }

    /// Ends the walk where `head` says that the lane stands.
    pub fn end(&mut self, head: &LaneMark) {
        if self.at.chain_no == 0 {
            self.hold_chain();
        }
        if self.at.chain_no < head.chain_no {
            let words = format!(
                "The chain ends at entry {}, but {} were numbered: its tail is cut. {EXPLAIN}.",
                self.at.chain_no, head.chain_no
            );
            self.findings.add(What::TailCut, words);
        } else if (self.at.chain_no, self.at.chain_hash) != (head.chain_no, head.chain_hash) {
            let words = format!(
                "The chain ends at entry {} with another hash than the lane's head, which knows {} entries.",
                self.at.chain_no, head.chain_no
            );
            self.findings.add(What::RowChanged, words);
        }
        if self.at.feed_pos < head.feed_pos {
            let words = format!("The feed ends at {}, but {} items were numbered.", self.at.feed_pos, head.feed_pos);
            self.findings.add(What::TailCut, words);
        } else if (self.at.feed_pos, self.at.feed_hash) != (head.feed_pos, head.feed_hash) {
            let words = format!("The feed ends at {} with another hash than the lane's head.", self.at.feed_pos);
            self.findings.add(What::FeedChanged, words);
        }
        let beyond = self
            .marks
            .iter()
            .rev()
            .find(|(_, _, mark)| mark.chain_no > self.at.chain_no || mark.feed_pos > self.at.feed_pos);
        if let Some((no, at, mark)) = beyond {
            let words = format!(
                "Checkpoint {no} of {at} saw {} entries and {} feed items; {} and {} are there: the tail is cut, or this \
                 database is an older backup. If you restored one, open a new epoch (`makegood feed new-epoch`) and take the \
                 checkpoints of that; if not, keep the database as it is and find out who wrote in it.",
                mark.chain_no, mark.feed_pos, self.at.chain_no, self.at.feed_pos
            );
            self.findings.add(What::TailCut, words);
        }
    }
}

fn words_of(totals: &Totals) -> String {
    let sums: Vec<String> = totals.sums.iter().map(|(code, sum)| format!("{sum} minor units of {code}")).collect();
    format!("{} transfers over {} and {} audit rows", totals.transfers, sums.join(", "), totals.audits)
}

/// One line of an exported chain: NDJSON that is verified without a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum Line {
    /// The first line.
    Begin {
        format: String,
        at: Instant,
    },
    Entry(Entry),
    Item(Item),
    /// The last line: where every lane stands, how many rows wait for their number, and how many stand in no chain.
    End {
        lanes: Vec<LaneMark>,
        waiting: i64,
        outside: i64,
    },
}

/// What an export begins with.
pub const EXPORT: &str = "makegood.chain/1";

/// Verifies an export, line by line.
#[derive(Debug)]
pub struct Export {
    walks: BTreeMap<i16, Walk>,
    checkpoints: Vec<Checkpoint>,
    lines: u64,
    checked: i64,
    items: i64,
    waiting: i64,
    is_ended: bool,
    findings: Findings,
}

impl Export {
    pub fn new(checkpoints: Vec<Checkpoint>) -> Self {
        Export {
            walks: BTreeMap::new(),
            checkpoints,
            lines: 0,
            checked: 0,
            items: 0,
            waiting: 0,
            is_ended: false,
            findings: Findings::default(),
        }
    }

    fn walk(&mut self, lane: i16) -> &mut Walk {
        let checkpoints = &self.checkpoints;
        self.walks.entry(lane).or_insert_with(|| Walk::from(LaneMark::beginning(lane), checkpoints))
    }

    /// Takes the next line. Only a first line that is none of an export is an error; whatever else is wrong is a finding.
    pub fn line(&mut self, text: &str) -> Result<(), String> {
        self.lines += 1;
        let line = match serde_json::from_str::<Line>(text) {
            Ok(line) => line,
            Err(error) if self.lines == 1 => return Err(format!("it is no exported chain: {error}")),
            Err(error) => {
                let words = format!("Line {} of the export cannot be read: {error}.", self.lines);
                self.findings.add(What::FileChanged, words);
                return Ok(());
            }
        };
        let is_first = self.lines == 1;
        match line {
            Line::Begin { format, .. } if is_first && format == EXPORT => {}
            Line::Begin { format, .. } if is_first => {
                return Err(format!("it is an export in the format {format}, and this build reads {EXPORT}"));
            }
            _ if is_first => return Err("its first line is missing: it is no whole export".to_owned()),
            Line::Begin { .. } => self.out_of_place(),
            Line::Entry(_) | Line::Item(_) | Line::End { .. } if self.is_ended => self.out_of_place(),
            Line::Entry(entry) => {
                self.checked += 1;
                self.walk(entry.lane).entry(&entry);
            }
            Line::Item(item) => {
                self.items += 1;
                self.walk(item.lane).item(&item);
            }
            Line::End { lanes, waiting, outside } => {
                self.is_ended = true;
                self.waiting = waiting;
                for mark in &lanes {
                    self.walk(mark.lane).end(mark);
                }
                if outside > 0 {
                    let words = format!("{outside} rows stood in the books and in no chain when this was exported.");
                    self.findings.add(What::OutsideChain, words);
                }
            }
        }
        Ok(())
    }

    fn out_of_place(&mut self) {
        self.findings.add(What::FileChanged, format!("Line {} of the export is out of its place.", self.lines));
    }

    /// Ends the file.
    pub fn end(mut self) -> Result<Verified, String> {
        if self.lines == 0 {
            return Err("it is empty".to_owned());
        }
        if !self.is_ended {
            self.findings
                .add(What::TailCut, "The last line of the export is missing: the file is cut. Export it again.");
        }
        let head = self.walks.values().next().map_or(super::chain::GENESIS, |walk| walk.at.chain_hash);
        let mut findings = Findings::default();
        for walk in self.walks.into_values() {
            findings.append(walk.findings);
        }
        findings.append(self.findings);
        Ok(Verified {
            checked: self.checked,
            items: self.items,
            head,
            checkpoints: self.checkpoints.len(),
            waiting: self.waiting,
            broken: findings.first.first().map(|finding| finding.words.clone()),
            findings,
        })
    }
}
