//! Mapping files: how the columns of another system's CSV files become the fields of ours.
//!
//! A cell is taken as it stands unless the mapping says how it is written: a date of another form, a decimal comma, a word that
//! stands for one of ours. What does not fit is wrong with its line; nothing is guessed.

use std::collections::BTreeMap;

use chrono::{NaiveDate, NaiveDateTime};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::batch::{AccountRow, ChargeRow, GivenRow, PlacementRow, Row, SubscriptionRow};
use super::period::Zone;
use super::time::Instant;

/// The whole document: files in the order in which they are sent.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MappingFile {
    #[expect(dead_code, reason = "it is read to refuse documents of another kind")]
    format: Format,
    pub files: Vec<FileMapping>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum Format {
    #[serde(rename = "makegood.import/1")]
    V1,
}

/// One CSV file of the other system.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileMapping {
    pub what: What,
    /// Its path, from the mapping file's folder on.
    pub file: String,
    /// What stands between two cells; a comma unless it is said.
    #[serde(default = "comma")]
    pub separator: char,
    /// The zone of times and days that come without one.
    #[serde(default)]
    pub zone: Option<Zone>,
    /// For each of our fields, where it comes from.
    pub fields: BTreeMap<String, Source>,
}

fn comma() -> char {
    ','
}

/// What the lines of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Accounts,
    Subscriptions,
    Placements,
    Charges,
    CreditsElsewhere,
    Outages,
}

impl What {
    pub fn name(self) -> &'static str {
        match self {
            What::Accounts => "accounts",
            What::Subscriptions => "subscriptions",
            What::Placements => "placements",
            What::Charges => "charges",
            What::CreditsElsewhere => "credits_elsewhere",
            What::Outages => "outages",
        }
    }

    /// Our fields, each with whether it must be there.
    fn fields(self) -> Vec<(&'static str, bool)> {
        let of = |fields: &[super::batch::Field]| fields.iter().map(|field| (field.name, field.required)).collect();
        match self {
            What::Accounts => of(AccountRow::FIELDS),
            What::Subscriptions => of(SubscriptionRow::FIELDS),
            What::Placements => of(PlacementRow::FIELDS),
            What::Charges => of(ChargeRow::FIELDS),
            What::CreditsElsewhere => of(GivenRow::FIELDS),
            What::Outages => {
                vec![("shard", true), ("capability", true), ("start", true), ("end", true), ("incident", false)]
            }
        }
    }
}

/// Where a field comes from: a column, or the same for all lines.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The name of a column.
    #[serde(default)]
    pub column: Option<String>,
    /// The same text for every line.
    #[serde(default)]
    pub constant: Option<String>,
    /// What the words of the column mean.
    #[serde(default)]
    pub values: Option<BTreeMap<String, String>>,
    /// How days and times are written, as in `%d.%m.%Y %H:%M`.
    #[serde(default)]
    pub written: Option<String>,
    /// The decimal sign of amounts, `,` or `.`; the other one may group thousands.
    #[serde(default)]
    pub decimal: Option<char>,
}

/// What our field is, as far as it matters to how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Day,
    Time,
    Month,
    Amount,
    Count,
    Text,
}

fn kind(field: &str) -> Kind {
    match field {
        "customer_since" | "closed_on" | "invoiced_on" | "service_from" | "service_to" | "given_on" => Kind::Day,
        "valid_from" | "valid_to" | "start" | "end" => Kind::Time,
        "period" => Kind::Month,
        "net" | "tax" | "gross" | "amount" => Kind::Amount,
        "quantity" | "tax_rate_bp" => Kind::Count,
        _ => Kind::Text,
    }
}

impl FileMapping {
    /// What is wrong with the mapping itself; nothing when it can be used.
    pub fn faults(&self) -> Vec<String> {
        let known = self.what.fields();
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let mut faults = Vec::new();
        for (field, source) in &self.fields {
            if !names.contains(&field.as_str()) {
                faults.push(format!(
                    "{field} is not a field of {}; the fields are {}.",
                    self.what.name(),
                    names.join(", ")
                ));
            }
            if source.column.is_some() == source.constant.is_some() {
                faults.push(format!("{field}: say either column or constant."));
            }
            let kind = kind(field);
            if source.written.is_some() && !matches!(kind, Kind::Day | Kind::Time | Kind::Month) {
                faults.push(format!("{field} is neither a day nor a time, so written has no meaning for it."));
            }
            if source.decimal.is_some_and(|sign| kind != Kind::Amount || !matches!(sign, ',' | '.')) {
                faults.push(format!("{field}: decimal is for amounts, and is \",\" or \".\"."));
            }
            if kind == Kind::Time
                && source.written.as_deref().is_some_and(|form| !says_zone(form))
                && self.zone.is_none()
            {
                faults.push(format!(
                    "{field} is a time without a zone: say the file's zone, such as zone: Pacific/Auckland."
                ));
            }
        }
        for (name, _) in known.iter().filter(|(name, required)| *required && !self.fields.contains_key(*name)) {
            faults.push(format!("{name} is missing: say which column it is, or a constant."));
        }
        faults
    }

    /// Where in the header each field's column stands.
    pub fn columns(&self, header: &[&str]) -> Result<Columns<'_>, String> {
        let place = |column: &str| {
            let mut found = header.iter().enumerate().filter(|(_, name)| name.trim() == column);
            match (found.next(), found.next()) {
                (Some((at, _)), None) => Ok(at),
                (Some(_), Some(_)) => Err(format!("The header names the column {column:?} twice.")),
                (None, _) => Err(format!("The header has no column {column:?}; it has {}.", header.join(", "))),
            }
        };
        let mut places = Vec::with_capacity(self.fields.len());
        for (field, source) in &self.fields {
            places.push((field.as_str(), source, source.column.as_deref().map(place).transpose()?));
        }
        Ok(Columns { mapping: self, places })
    }
}

/// Whether a form of times has an offset in it.
fn says_zone(form: &str) -> bool {
    form.contains("%z") || form.contains("%:z")
}

/// A mapping against one header.
#[derive(Debug)]
pub struct Columns<'a> {
    mapping: &'a FileMapping,
    places: Vec<(&'a str, &'a Source, Option<usize>)>,
}

impl Columns<'_> {
    /// One line as an object with our fields, or what is wrong with it, by field. An empty cell is a field left out.
    pub fn read(&self, cells: &[&str]) -> Result<Map<String, Value>, Vec<(String, String)>> {
        let (mut row, mut wrong) = (Map::new(), Vec::new());
        for (field, source, place) in &self.places {
            let cell = match place {
                Some(at) => cells.get(*at).copied().unwrap_or_default().trim(),
                None => source.constant.as_deref().unwrap_or_default(),
            };
            if cell.is_empty() {
                continue;
            }
            match self.value(field, source, cell) {
                Ok(value) => {
                    row.insert((*field).to_owned(), value);
                }
                Err(message) => wrong.push(((*field).to_owned(), message)),
            }
        }
        // A placement says in so many words that a mailbox is nowhere.
        if self.mapping.what == What::Placements && wrong.is_empty() {
            row.entry("shard").or_insert(Value::Null);
        }
        if wrong.is_empty() { Ok(row) } else { Err(wrong) }
    }

    fn value(&self, field: &str, source: &Source, cell: &str) -> Result<Value, String> {
        let cell = match &source.values {
            None => cell,
            Some(values) => values.get(cell).ok_or_else(|| {
                let known: Vec<&str> = values.keys().map(String::as_str).collect();
                format!("The mapping does not say what {cell:?} means; it knows {}.", known.join(", "))
            })?,
        };
        match kind(field) {
            Kind::Text => Ok(json!(cell)),
            Kind::Count => match cell.parse::<u32>() {
                Ok(number) => Ok(json!(number)),
                Err(_) => Err(format!("{cell:?} is no whole number.")),
            },
            Kind::Amount => amount(cell, source.decimal).map(|text| json!(text)),
            Kind::Day => match &source.written {
                None => Ok(json!(cell)),
                Some(form) => day(cell, form).map(|day| json!(day.to_string())),
            },
            Kind::Month => match &source.written {
                None => Ok(json!(cell)),
                Some(form) => {
                    let first = day(&format!("01 {cell}"), &format!("%d {form}")).or_else(|_| day(cell, form));
                    first.map(|day| json!(day.format("%Y-%m").to_string()))
                }
            },
            Kind::Time => match &source.written {
                None => Ok(json!(cell)),
                Some(form) => time(cell, form, self.mapping.zone).map(|at| json!(at.to_string())),
            },
        }
    }
}

fn day(cell: &str, form: &str) -> Result<NaiveDate, String> {
    NaiveDate::parse_from_str(cell, form).map_err(|_| format!("{cell:?} is no day written as {form}."))
}

/// A time in words of its own: with an offset, or as a clock in `zone` shows it; a day alone is its beginning there.
fn time(cell: &str, form: &str, zone: Option<Zone>) -> Result<Instant, String> {
    let wrong = || format!("{cell:?} is no time written as {form}.");
    if says_zone(form) {
        let at = chrono::DateTime::parse_from_str(cell, form).map_err(|_| wrong())?;
        return Instant::from_utc(at.to_utc()).ok_or_else(wrong);
    }
    let zone = zone.ok_or_else(|| "The mapping says no zone.".to_owned())?;
    if let Ok(local) = NaiveDateTime::parse_from_str(cell, form) {
        return match zone.instants_of(local)[..] {
            [only] => Ok(only),
            [] => Err(format!("{cell:?} does not exist in {zone}: clocks were put forward over it.")),
            [..] => {
                Err(format!("{cell:?} was there twice in {zone}, as clocks were put back: write it with its offset."))
            }
        };
    }
    zone.start_of(day(cell, form).map_err(|_| wrong())?).ok_or_else(wrong)
}

/// An amount with a decimal point: `1.234,50` with a decimal comma is `1234.50`.
fn amount(cell: &str, decimal: Option<char>) -> Result<String, String> {
    let Some(sign) = decimal else { return Ok(cell.to_owned()) };
    let group = if sign == ',' { '.' } else { ',' };
    let wrong = || format!("{cell:?} is no amount with the decimal sign {sign:?}.");
    let (whole, rest) = cell.split_once(sign).map_or((cell, None), |(whole, rest)| (whole, Some(rest)));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut groups = whole.split(group);
    let first = groups.next().unwrap_or_default();
    let mut whole = first.to_owned();
    for (index, part) in groups.enumerate() {
        if part.len() != 3 || (index == 0 && first.len() > 3) {
            return Err(wrong());
        }
        whole.push_str(part);
    }
    if !digits(&whole) || rest.is_some_and(|rest| !digits(rest)) {
        return Err(wrong());
    }
    Ok(rest.map_or(whole.clone(), |rest| format!("{whole}.{rest}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(text: &str) -> FileMapping {
        serde_saphyr::from_str(text).unwrap()
    }

    fn given(more: &str) -> FileMapping {
        mapping(&format!(
            "{{what: credits_elsewhere, file: x.csv, zone: Europe/Berlin, fields: {{
                account: {{column: Kunde}}, reference: {{column: Beleg}}, subscription: {{column: Vertrag}},
                period: {{column: Monat, written: '%m/%Y'}}, kind: {{column: Art, values: {{SLA: contract, Kulanz: goodwill}}}},
                currency: {{constant: EUR}}, amount: {{column: Betrag, decimal: ','}},
                given_on: {{column: Datum, written: '%d.%m.%Y'}}{more}}}}}"
        ))
    }

    const HEADER: [&str; 7] = ["Kunde", "Beleg", "Vertrag", "Monat", "Art", "Betrag", "Datum"];

    #[test]
    fn a_line_becomes_our_fields() {
        let mapping = given("");
        assert_eq!(mapping.faults(), Vec::<String>::new());
        let columns = mapping.columns(&HEADER).unwrap();
        let row = columns.read(&["4711", "G-1", "M-1", "10/2025", "SLA", " 1.234,50 ", "03.11.2025"]).unwrap();
        assert_eq!(
            Value::Object(row),
            json!({ "account": "4711", "reference": "G-1", "subscription": "M-1", "period": "2025-10", "kind": "contract",
                    "currency": "EUR", "amount": "1234.50", "given_on": "2025-11-03" })
        );
        let wrong = columns.read(&["4711", "G-1", "M-1", "13/2025", "Bonus", "12.34,5", "31.02.2025"]).unwrap_err();
        let fields: Vec<&str> = wrong.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, ["amount", "given_on", "kind", "period"]);
        assert!(wrong[2].1.contains("it knows Kulanz, SLA"), "{}", wrong[2].1);
    }

    #[test]
    fn a_mapping_that_cannot_be_right_says_what_to_change() {
        let faults = given(", price: {column: X}, account_name: {constant: a, column: b}").faults();
        assert_eq!(faults.len(), 3, "{faults:?}");
        let bare = mapping("{what: outages, file: x.csv, fields: {start: {column: Von, written: '%d.%m.%Y %H:%M'}}}");
        let faults = bare.faults();
        assert!(faults[0].contains("zone: Pacific/Auckland"), "{faults:?}");
        assert_eq!(faults.iter().filter(|fault| fault.contains("is missing")).count(), 3, "{faults:?}");
        let mapping = given("");
        assert!(mapping.columns(&HEADER[1..]).unwrap_err().contains("no column \"Kunde\""));
        assert!(mapping.columns(&[&HEADER[..], &["Kunde"]].concat()).unwrap_err().contains("twice"));
    }

    #[test]
    fn a_time_is_what_the_clock_showed_and_never_guessed() {
        let berlin = Some("Europe/Berlin".parse().unwrap());
        let at = |cell, form| time(cell, form, berlin).map(|at| at.to_string());
        assert_eq!(at("01.07.2025 19:00", "%d.%m.%Y %H:%M").unwrap(), "2025-07-01T17:00:00Z");
        assert_eq!(at("01.12.2025", "%d.%m.%Y").unwrap(), "2025-11-30T23:00:00Z");
        assert_eq!(at("2025-07-01 19:00 +1200", "%Y-%m-%d %H:%M %z").unwrap(), "2025-07-01T07:00:00Z");
        assert!(at("30.03.2025 02:30", "%d.%m.%Y %H:%M").unwrap_err().contains("does not exist"));
        assert!(at("26.10.2025 02:30", "%d.%m.%Y %H:%M").unwrap_err().contains("twice"));
    }

    #[test]
    fn an_amount_keeps_its_digits_or_is_refused() {
        let comma = |cell| amount(cell, Some(','));
        assert_eq!(comma("12,50").unwrap(), "12.50");
        assert_eq!(comma("1.234.567").unwrap(), "1234567");
        for wrong in ["", ",5", "12.5", "1234.567,0", "12,5,0", "-1,0", "1 000,00"] {
            assert!(comma(wrong).is_err(), "{wrong}");
        }
        assert_eq!(amount("1,234.50", Some('.')).unwrap(), "1234.50");
        assert_eq!(amount("as it stands", None).unwrap(), "as it stands");
    }
}
