//! The books as files for other programs: CSV, hledger's journal, and beancount's.
//!
//! An entry is what happened to one document at one moment: one or two transfers. Amounts are positive where they are debited
//! and negative where they are credited, as both programs want it.

use std::collections::BTreeSet;
use std::fmt::Write;

use chrono::NaiveDate;
use serde::Serialize;
use uuid::Uuid;

use super::books::Code;
use super::chart::{self, Chart, Kind};
use super::feed::credit_name;
use super::ids::CreditId;
use super::money::{Currency, Money};
use super::sheet;
use super::time::Instant;

/// One transfer with what a reader outside wants beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub transfer: Uuid,
    /// The operator's reference; empty where the transfer is about no account (a provision).
    pub account: String,
    pub document: Uuid,
    pub event: String,
    pub debit: Code,
    pub credit: Code,
    pub amount: Money,
    pub reason: String,
    pub effective_on: NaiveDate,
    pub recorded_at: Instant,
    /// The service period of the credit, the second day not included.
    pub service: Option<(NaiveDate, NaiveDate)>,
}

/// How the books are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Csv,
    Hledger,
    Beancount,
}

/// The columns of the CSV file.
pub const COLUMNS: [&str; 15] = [
    "transfer",
    "account",
    "document",
    "event",
    "debit",
    "debit_gl",
    "credit",
    "credit_gl",
    "currency",
    "amount",
    "reason",
    "effective_on",
    "recorded_at",
    "service_from",
    "service_to",
];

/// A transfer as it stands in files and on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Cells {
    pub transfer: String,
    /// The operator's reference; empty for a provision, which is about no account.
    #[schema(example = "20418876")]
    pub account: String,
    /// The credit that it belongs to, or the id of a period's provisions.
    #[schema(example = "crd_00000000000000000000000000000000")]
    pub document: String,
    /// What happened to the document.
    #[schema(example = "issued")]
    pub event: String,
    #[schema(example = "SLA")]
    pub debit: String,
    /// The same in the operator's general ledger, by the chart as it is now.
    #[schema(example = "4810")]
    pub debit_gl: String,
    #[schema(example = "OWED")]
    pub credit: String,
    #[schema(example = "2310")]
    pub credit_gl: String,
    #[schema(example = "NZD")]
    pub currency: String,
    #[schema(example = "21.74")]
    pub amount: String,
    #[schema(example = "sla_tier")]
    pub reason: String,
    #[schema(example = "2026-10-31")]
    pub effective_on: String,
    pub recorded_at: String,
    /// The first day of the service period; empty where there is none.
    #[schema(example = "2026-10-01")]
    pub service_from: String,
    /// The day after its last.
    #[schema(example = "2026-11-01")]
    pub service_to: String,
}

impl Row {
    pub fn cells(&self, chart: &Chart) -> Cells {
        let day = |day: Option<NaiveDate>| day.map(|day| day.to_string()).unwrap_or_default();
        Cells {
            transfer: self.transfer.to_string(),
            account: self.account.clone(),
            document: self.document_name(),
            event: self.event.clone(),
            debit: self.debit.name().to_owned(),
            debit_gl: chart.gl(self.debit).to_owned(),
            credit: self.credit.name().to_owned(),
            credit_gl: chart.gl(self.credit).to_owned(),
            currency: self.amount.currency().code().to_owned(),
            amount: self.amount.digits(),
            reason: self.reason.clone(),
            effective_on: self.effective_on.to_string(),
            recorded_at: self.recorded_at.to_string(),
            service_from: day(self.service.map(|days| days.0)),
            service_to: day(self.service.map(|days| days.1)),
        }
    }

    fn document_name(&self) -> String {
        if self.account.is_empty() { self.document.to_string() } else { credit_name(CreditId(self.document)) }
    }

    /// Whether both happened to the same document at the same moment.
    fn is_of(&self, other: &Row) -> bool {
        self.document == other.document && self.event == other.event && self.effective_on == other.effective_on
    }
}

impl Cells {
    /// One line of the CSV file, its cells in the order of [`COLUMNS`].
    pub fn csv(&self) -> String {
        sheet::row([
            &self.transfer,
            &self.account,
            &self.document,
            &self.event,
            &self.debit,
            &self.debit_gl,
            &self.credit,
            &self.credit_gl,
            &self.currency,
            &self.amount,
            &self.reason,
            &self.effective_on,
            &self.recorded_at,
            &self.service_from,
            &self.service_to,
        ])
    }
}

/// Writes an export piece by piece: the head, each transfer in the order of its effective day, the rest.
#[derive(Debug)]
pub struct Writer<'a> {
    format: Format,
    chart: &'a Chart,
    entry: Vec<Row>,
}

impl<'a> Writer<'a> {
    pub fn new(format: Format, chart: &'a Chart) -> Self {
        Writer { format, chart, entry: Vec::new() }
    }

    /// What stands first: the header line, or the accounts and currencies that checkers want declared.
    pub fn head(&self, currencies: &BTreeSet<Currency>) -> String {
        match self.format {
            Format::Csv => sheet::row(COLUMNS),
            Format::Hledger => self.hledger_head(currencies),
            Format::Beancount => self.beancount_head(currencies),
        }
    }

    fn hledger_head(&self, currencies: &BTreeSet<Currency>) -> String {
        let mut text = String::from("; The books of makegood. Debits are positive.\n");
        for currency in currencies {
            let zeros = usize::try_from(currency.decimals()).unwrap_or(0);
            let point = if zeros == 0 { "." } else { "" };
            let sample = if zeros == 0 { "1000".to_owned() } else { format!("1000.{}", "0".repeat(zeros)) };
            let _ = writeln!(text, "commodity {sample}{point} {currency}");
        }
        for code in Code::ALL {
            let (gl, name) = (self.chart.gl(code), tag(self.chart.name(code)));
            let _ = writeln!(text, "account {}  ; gl:{gl}, name:{name}", hledger_account(code));
        }
        text.push('\n');
        text
    }

    fn beancount_head(&self, currencies: &BTreeSet<Currency>) -> String {
        let mut text = String::from("; The books of makegood. Debits are positive.\noption \"title\" \"makegood\"\n");
        for currency in currencies {
            let _ = writeln!(text, "option \"operating_currency\" \"{currency}\"");
        }
        for code in Code::ALL {
            let _ = writeln!(text, "1970-01-01 open {}", beancount_account(code));
            let _ = writeln!(text, "  gl: {}", string(self.chart.gl(code)));
            let _ = writeln!(text, "  name: {}", string(self.chart.name(code)));
        }
        text.push('\n');
        text
    }

    /// Takes the next transfer, and gives what can be written by now.
    pub fn row(&mut self, row: Row) -> String {
        match self.format {
            Format::Csv => row.cells(self.chart).csv(),
            Format::Hledger | Format::Beancount => {
                let is_next = self.entry.first().is_some_and(|first| !first.is_of(&row));
                let done = if is_next { self.finish() } else { String::new() };
                self.entry.push(row);
                done
            }
        }
    }

    /// What is left to write after the last transfer.
    pub fn finish(&mut self) -> String {
        let rows = std::mem::take(&mut self.entry);
        let Some(first) = rows.first() else { return String::new() };
        match self.format {
            Format::Csv => String::new(),
            Format::Hledger => hledger_entry(first, &rows),
            Format::Beancount => beancount_entry(first, &rows),
        }
    }
}

fn hledger_entry(first: &Row, rows: &[Row]) -> String {
    let (who, document) = (words(&first.account), first.document_name());
    let what = words(&format!("{} {}", first.event, first.reason));
    let mut text = format!(
        "{} * ({document}) {}\n",
        first.effective_on,
        if who.is_empty() { what.clone() } else { format!("{who} | {what}") }
    );
    if let Some((from, to)) = first.service {
        let _ = writeln!(text, "    ; service_from:{from}, service_to:{to}");
    }
    let _ = writeln!(text, "    ; recorded:{}", first.recorded_at.utc().format("%Y-%m-%d"));
    for row in rows {
        let (amount, currency) = (row.amount.digits(), row.amount.currency());
        let _ = writeln!(text, "    {}  {amount} {currency}  ; transfer:{}", hledger_account(row.debit), row.transfer);
        let _ = writeln!(text, "    {}  -{amount} {currency}", hledger_account(row.credit));
    }
    text.push('\n');
    text
}

fn beancount_entry(first: &Row, rows: &[Row]) -> String {
    let what = format!("{} {}", first.event, first.reason);
    let mut text = format!("{} * {} {}\n", first.effective_on, string(&first.account), string(&what));
    let _ = writeln!(text, "  document: {}", string(&first.document_name()));
    let _ = writeln!(text, "  recorded: {}", string(&first.recorded_at.to_string()));
    if let Some((from, to)) = first.service {
        let _ = writeln!(text, "  service-from: {from}\n  service-to: {to}");
    }
    for row in rows {
        let (amount, currency) = (row.amount.digits(), row.amount.currency());
        let _ = writeln!(text, "  {}  {amount} {currency}", beancount_account(row.debit));
        let _ = writeln!(text, "    transfer: {}", string(&row.transfer.to_string()));
        let _ = writeln!(text, "  {}  -{amount} {currency}", beancount_account(row.credit));
    }
    text.push('\n');
    text
}

/// `liabilities:owed`
pub fn hledger_account(code: Code) -> String {
    let top = match chart::kind(code) {
        Kind::Asset => "assets",
        Kind::Liability => "liabilities",
        Kind::Income => "income",
        Kind::Expense => "expenses",
    };
    format!("{top}:{}", code.name().to_ascii_lowercase().replace('_', "-"))
}

/// `Liabilities:OWED`
pub fn beancount_account(code: Code) -> String {
    let top = match chart::kind(code) {
        Kind::Asset => "Assets",
        Kind::Liability => "Liabilities",
        Kind::Income => "Income",
        Kind::Expense => "Expenses",
    };
    format!("{top}:{}", code.name().replace('_', "-"))
}

/// Words of hledger's description: no comment, no payee and no line begins in them.
fn words(text: &str) -> String {
    let plain = |letter: char| if letter.is_control() || matches!(letter, ';' | '|') { ' ' } else { letter };
    text.chars().map(plain).collect::<String>().trim().to_owned()
}

/// The value of hledger's tag: it ends at a comma.
fn tag(text: &str) -> String {
    words(text).replace(',', " ")
}

/// A string of beancount.
fn string(text: &str) -> String {
    let plain: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    format!("\"{}\"", plain.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(account: &str, debit: Code, minor: i64) -> Row {
        Row {
            transfer: Uuid::from_u128(1),
            account: account.to_owned(),
            document: Uuid::from_u128(2),
            event: "issued".to_owned(),
            debit,
            credit: Code::Owed,
            amount: Money::from_minor(minor, "NZD".parse().unwrap()).unwrap(),
            reason: "sla_tier".to_owned(),
            effective_on: "2026-10-31".parse().unwrap(),
            recorded_at: Instant::parse("2026-11-05T00:00:00Z").unwrap(),
            service: Some(("2026-10-01".parse().unwrap(), "2026-11-01".parse().unwrap())),
        }
    }

    #[test]
    fn the_transfers_of_one_entry_are_one_transaction() {
        let chart = Chart::default();
        let mut writer = Writer::new(Format::Hledger, &chart);
        assert_eq!(writer.row(row("20418876", Code::Sla, 2_174)), "");
        assert_eq!(writer.row(row("20418876", Code::TaxPending, 326)), "");
        let text = writer.finish();
        assert_eq!(text.matches("2026-10-31 *").count(), 1, "{text}");
        assert!(text.contains("    income:sla  21.74 NZD  ; transfer:"), "{text}");
        assert!(text.contains("    liabilities:owed  -3.26 NZD\n"), "{text}");
    }

    #[test]
    fn an_account_cannot_write_lines_of_its_own() {
        let chart = Chart::default();
        let nasty = "x\"\\ ; | \n2026-01-01 * forged\n    assets:cash  1 NZD";
        for format in [Format::Hledger, Format::Beancount] {
            let mut writer = Writer::new(format, &chart);
            writer.row(row(nasty, Code::Sla, 1));
            let text = writer.finish();
            assert!(
                !text.lines().any(|line| line.starts_with("2026-01-01") || line.starts_with("    assets:cash")),
                "{text}"
            );
        }
        let csv = row("=cmd|' /C calc'!A0", Code::Sla, 1).cells(&chart).csv();
        assert!(csv.contains(",'=cmd|' /C calc'!A0,"), "{csv}");
    }
}
