//! Whether the lines of a placements file come in order, and then where stays end. What comes in order needs no sort to be
//! judged: a line has only to be held against the one before it.

use super::rows::PlacementRow;
use crate::domain::time::Instant;

/// From `at` on the mailbox of `line` lives nowhere, since its line ends there and nothing begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StayEnd {
    pub line: i64,
    pub account: String,
    pub mailbox: String,
    pub source: String,
    pub at: Instant,
}

/// Lines as they come. They are in order when those of one mailbox and source stand together, by time and without a
/// contradiction, and the mailboxes ascend: by their bytes, or shorter ones first, as numbers are counted.
#[derive(Debug)]
pub struct Order {
    by_bytes: bool,
    by_length: bool,
    /// The last line, its `at` being where it ends.
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    line: i64,
    account: String,
    mailbox: String,
    source: String,
    from: Instant,
    to: Option<Instant>,
}

impl Default for Order {
    fn default() -> Self {
        Order { by_bytes: true, by_length: true, last: None }
    }
}

impl Order {
    /// Whether all lines so far were in order.
    pub fn is_kept(&self) -> bool {
        self.by_bytes || self.by_length
    }

    /// The next line. Gives the end of the stay before it, if there is one; as soon as the order is broken, nothing more.
    pub fn next(&mut self, line: i64, row: &PlacementRow) -> Option<StayEnd> {
        if !self.is_kept() {
            return None;
        }
        let Some(last) = &mut self.last else {
            self.last = Some(Last {
                line,
                account: row.account.clone(),
                mailbox: row.mailbox.clone(),
                source: row.source.clone(),
                from: row.valid_from,
                to: row.valid_to,
            });
            return None;
        };
        let before = [last.account.as_str(), last.mailbox.as_str(), last.source.as_str()];
        let now = [row.account.as_str(), row.mailbox.as_str(), row.source.as_str()];
        let mut end = None;
        if before == now {
            if last.from >= row.valid_from || last.to.is_some_and(|to| to > row.valid_from) {
                (self.by_bytes, self.by_length) = (false, false);
                return None;
            }
            if last.to != Some(row.valid_from) {
                end = last.end();
            }
        } else {
            self.by_bytes &= before < now;
            self.by_length &= before.map(|part| (part.len(), part)) < now.map(|part| (part.len(), part));
            end = last.end();
            replace(&mut last.account, &row.account);
            replace(&mut last.mailbox, &row.mailbox);
            replace(&mut last.source, &row.source);
        }
        (last.line, last.from, last.to) = (line, row.valid_from, row.valid_to);
        end.filter(|_| self.is_kept())
    }

    /// The end of the last stay, when no line follows.
    pub fn finish(&mut self) -> Option<StayEnd> {
        let last = self.last.take()?;
        last.end().filter(|_| self.is_kept())
    }
}

impl Last {
    fn end(&self) -> Option<StayEnd> {
        let at = self.to?;
        Some(StayEnd {
            line: self.line,
            account: self.account.clone(),
            mailbox: self.mailbox.clone(),
            source: self.source.clone(),
            at,
        })
    }
}

/// Keeps the room that is there.
fn replace(kept: &mut String, text: &str) {
    if kept != text {
        kept.clear();
        kept.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row from `account mailbox source from to`, in seconds; `-` for no end.
    fn row(text: &str) -> PlacementRow {
        let [account, mailbox, source, from, to] = text.split(' ').collect::<Vec<_>>()[..] else { panic!("{text}") };
        let at = |second: &str| Instant::MIN.plus(second.parse::<i64>().unwrap() * 1_000_000);
        PlacementRow {
            account: account.to_owned(),
            mailbox: mailbox.to_owned(),
            shard: Some("s1".to_owned()),
            valid_from: at(from),
            valid_to: (to != "-").then(|| at(to)),
            source: source.to_owned(),
            source_seq: None,
        }
    }

    /// Whether the order was kept, and the ends as `line at`.
    fn ordered(rows: &[&str]) -> (bool, Vec<String>) {
        let mut order = Order::default();
        let mut ends: Vec<StayEnd> = (1..).zip(rows).filter_map(|(line, text)| order.next(line, &row(text))).collect();
        ends.extend(order.finish());
        let second = |at: Instant| (at.micros() - Instant::MIN.micros()) / 1_000_000;
        (order.is_kept(), ends.iter().map(|end| format!("{} {}", end.line, second(end.at))).collect())
    }

    #[test]
    fn a_stay_ends_where_nothing_begins() {
        let rows = ["a m d 1 5", "a m d 5 9", "a m d 10 -", "a m e 3 4", "a n d 1 -", "b m d 1 2"];
        assert_eq!(ordered(&rows), (true, ["2 9", "4 4", "6 2"].map(str::to_owned).to_vec()));
    }

    #[test]
    fn mailboxes_ascend_by_bytes_or_by_length() {
        assert!(ordered(&["1 9 d 1 -", "1 10 d 1 -", "2 11 d 1 -", "10 12 d 1 -"]).0, "as numbers are counted");
        assert!(ordered(&["1 m d 1 -", "10 m d 1 -", "2 m d 1 -"]).0, "as text is sorted");
        for broken in [
            ["1 9 d 1 -", "1 10 d 1 -", "1 9 d 2 -"],
            ["1 m d 1 -", "2 m d 1 -", "1 m d 2 -"],
            ["1 m d 1 -", "1 m e 1 -", "1 m d 2 -"],
            ["2 m d 1 -", "10 m d 1 -", "1 m d 1 -"],
        ] {
            assert!(!ordered(&broken).0, "{broken:?}");
        }
    }

    #[test]
    fn what_contradicts_itself_or_comes_twice_breaks_the_order() {
        for broken in [["a m d 1 5", "a m d 4 9"], ["a m d 1 -", "a m d 1 -"], ["a m d 2 -", "a m d 1 -"]] {
            assert_eq!(ordered(&broken), (false, Vec::new()), "{broken:?}");
        }
    }
}
