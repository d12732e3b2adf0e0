//! The four kinds of rows, and what each field may say.

use std::str::FromStr;

use chrono::{Datelike, NaiveDate};

use super::Row;
use super::cells::{Cells, Field};
use crate::domain::charge::Charge;
use crate::domain::money::{Currency, Money};
use crate::domain::period::Zone;
use crate::domain::time::Instant;

/// What the source numbered the line. Its source may send the line again under this number without saying anything new.
const SOURCE_SEQ: Field = Field::optional("source_seq");

fn source_seq(cells: &mut Cells<'_>) -> Option<Option<String>> {
    cells.may("source_seq", |text| plain(text, 64))
}

/// One account as a file says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRow {
    pub account: String,
    pub name: String,
    pub zone: Zone,
    pub currency: Currency,
    pub parent: Option<String>,
    pub bill_to: Option<String>,
    pub email: Option<String>,
    pub customer_since: Option<NaiveDate>,
    pub source_seq: Option<String>,
}

impl Row for AccountRow {
    const FIELDS: &'static [Field] = &[
        Field::required("account"),
        Field::required("name"),
        Field::required("zone"),
        Field::required("currency"),
        Field::optional("parent"),
        Field::optional("bill_to"),
        Field::optional("email"),
        Field::optional("customer_since"),
        SOURCE_SEQ,
    ];

    fn read(cells: &mut Cells<'_>) -> Option<Self> {
        let account = cells.need("account", reference);
        let name = cells.need("name", |text| plain(text, 200));
        let zone = cells.need("zone", parsed);
        let currency = cells.need("currency", parsed);
        let parent = cells.may("parent", reference);
        let bill_to = cells.may("bill_to", reference);
        let email = cells.may("email", email);
        let customer_since = cells.may("customer_since", date);
        let source_seq = source_seq(cells);
        let row = AccountRow {
            account: account?,
            name: name?,
            zone: zone?,
            currency: currency?,
            parent: parent?,
            bill_to: bill_to?,
            email: email?,
            customer_since: customer_since?,
            source_seq: source_seq?,
        };
        if row.parent.as_ref() == Some(&row.account) {
            cells.wrong("parent", "An account cannot stand above itself.");
        }
        // To say that the bill goes to oneself is to say nothing.
        let bill_to = row.bill_to.filter(|payer| *payer != row.account);
        Some(AccountRow { bill_to, ..row })
    }

    fn source_seq(&self) -> Option<&str> {
        self.source_seq.as_deref()
    }
}

/// One subscription as a file says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionRow {
    pub account: String,
    pub subscription: String,
    pub plan: String,
    pub valid_from: Instant,
    pub valid_to: Option<Instant>,
    pub source_seq: Option<String>,
}

impl Row for SubscriptionRow {
    const FIELDS: &'static [Field] = &[
        Field::required("account"),
        Field::required("subscription"),
        Field::required("plan"),
        Field::required("valid_from"),
        Field::optional("valid_to"),
        SOURCE_SEQ,
    ];

    fn read(cells: &mut Cells<'_>) -> Option<Self> {
        let account = cells.need("account", reference);
        let subscription = cells.need("subscription", reference);
        let plan = cells.need("plan", reference);
        let source_seq = source_seq(cells);
        let (valid_from, valid_to) = validity(cells)?;
        Some(SubscriptionRow {
            account: account?,
            subscription: subscription?,
            plan: plan?,
            valid_from,
            valid_to,
            source_seq: source_seq?,
        })
    }

    fn source_seq(&self) -> Option<&str> {
        self.source_seq.as_deref()
    }
}

/// One charge as a file says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChargeRow {
    pub account: String,
    pub subscription: String,
    pub charge: Charge,
    pub source_seq: Option<String>,
}

impl Row for ChargeRow {
    const FIELDS: &'static [Field] = &[
        Field::required("account"),
        Field::required("number"),
        Field::required("subscription"),
        Field::required("invoiced_on"),
        Field::required("service_from"),
        Field::required("service_to"),
        Field::count("quantity"),
        Field::required("currency"),
        Field::required("net"),
        Field::required("tax"),
        Field::required("gross"),
        Field::required("tax_code"),
        Field::count("tax_rate_bp"),
        SOURCE_SEQ,
    ];

    fn read(cells: &mut Cells<'_>) -> Option<Self> {
        let account = cells.need("account", reference);
        let subscription = cells.need("subscription", reference);
        let number = cells.need("number", reference);
        let invoiced_on = cells.need("invoiced_on", date);
        let service_from = cells.need("service_from", date);
        let service_to = cells.need("service_to", date);
        let quantity = cells.need("quantity", |text| count(text, 1, 10_000_000));
        let tax_code = cells.need("tax_code", |text| plain(text, 16));
        let tax_rate = cells.need("tax_rate_bp", |text| count(text, 0, 10_000));
        let source_seq = source_seq(cells);
        let (net, tax, gross) = amounts(cells)?;
        let charge = Charge {
            number: number?,
            item: None,
            invoiced_on: invoiced_on?,
            service_from: service_from?,
            service_to: service_to?,
            quantity: quantity?,
            net,
            tax,
            gross,
            tax_code: tax_code?,
            tax_rate_bp: u16::try_from(tax_rate?).ok()?,
        };
        if charge.service_to <= charge.service_from {
            cells.wrong(
                "service_to",
                "service_to is the first day after the service, so it must be after service_from.",
            );
        }
        Some(ChargeRow { account: account?, subscription: subscription?, charge, source_seq: source_seq? })
    }

    fn source_seq(&self) -> Option<&str> {
        self.source_seq.as_deref()
    }
}

/// One placement as a file says it: from `valid_from` on the mailbox lived on `shard`, and from `valid_to` on nowhere,
/// unless another line says where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementRow {
    pub account: String,
    pub mailbox: String,
    /// None: from `valid_from` on the mailbox did not exist.
    pub shard: Option<String>,
    pub valid_from: Instant,
    pub valid_to: Option<Instant>,
    pub source: String,
    pub source_seq: Option<String>,
}

impl Row for PlacementRow {
    const FIELDS: &'static [Field] = &[
        Field::required("account"),
        Field::required("mailbox"),
        // Null for none, but never left out: forgetting it must not take a mailbox away.
        Field::required("shard"),
        Field::required("valid_from"),
        Field::optional("valid_to"),
        Field::required("source"),
        SOURCE_SEQ,
    ];

    fn read(cells: &mut Cells<'_>) -> Option<Self> {
        let account = cells.need("account", reference);
        let mailbox = cells.need("mailbox", |text| named(text, 254));
        let shard = cells.may("shard", reference);
        let source = cells.need("source", reference);
        let source_seq = source_seq(cells);
        let (valid_from, valid_to) = validity(cells)?;
        let shard = shard?;
        if shard.is_none() && valid_to.is_some() {
            cells.wrong(
                "valid_to",
                "A mailbox that is nowhere has no valid_to: say where it lives from then on instead.",
            );
        }
        Some(PlacementRow {
            account: account?,
            mailbox: mailbox?,
            shard,
            valid_from,
            valid_to,
            source: source?,
            source_seq: source_seq?,
        })
    }

    fn source_seq(&self) -> Option<&str> {
        self.source_seq.as_deref()
    }

    fn source(&self) -> Option<&str> {
        Some(&self.source)
    }
}

fn validity(cells: &mut Cells<'_>) -> Option<(Instant, Option<Instant>)> {
    let from = cells.need("valid_from", instant);
    let to = cells.may("valid_to", instant);
    let (from, to) = (from?, to?);
    if to.is_some_and(|to| to <= from) {
        cells.wrong("valid_to", "valid_to must be after valid_from.");
    }
    Some((from, to))
}

/// Net, tax and gross. None may be negative: what is given back is a credit, not a charge.
fn amounts(cells: &mut Cells<'_>) -> Option<(Money, Money, Money)> {
    let currency = cells.need("currency", parsed)?;
    let net = cells.need("net", |text| amount(text, currency));
    let tax = cells.need("tax", |text| amount(text, currency));
    let gross = cells.need("gross", |text| amount(text, currency));
    let (net, tax, gross) = (net?, tax?, gross?);
    if net.plus(tax) != Ok(gross) {
        cells.wrong(
            "gross",
            format!("net {} and tax {} do not add up to gross {}.", net.digits(), tax.digits(), gross.digits()),
        );
    }
    Some((net, tax, gross))
}

fn amount(text: &str, currency: Currency) -> Result<Money, String> {
    let amount = Money::parse(text, currency).map_err(|error| error.to_string())?;
    if amount.minor() < 0 || text.starts_with('-') {
        return Err("An amount of a charge is not negative.".to_owned());
    }
    Ok(amount)
}

/// What the operator calls something: 1 to 64 characters that all show, nothing that a spreadsheet would run as a formula,
/// and no number that one has shortened.
pub fn reference(text: &str) -> Result<String, String> {
    named(text, 64)
}

fn named(text: &str, longest: usize) -> Result<String, String> {
    if text.starts_with(['=', '+', '@', '-']) {
        return Err(format!(
            "It begins with {:?}, which a spreadsheet would take for a formula: send it without.",
            text.chars().next().unwrap_or_default()
        ));
    }
    if is_shortened(text) {
        return Err(format!(
            "{text} is a number that a spreadsheet has shortened, so its digits are lost: make the column text there, and save the \
             file again from its source."
        ));
    }
    plain(text, longest)
}

/// Whether it reads as 1.23457E+11.
fn is_shortened(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let Some((mantissa, exponent)) = text.split_once(['E', 'e']) else { return false };
    let (whole, part) = mantissa.split_once(['.', ',']).unwrap_or((mantissa, "0"));
    exponent.strip_prefix('+').is_some_and(digits) && digits(whole) && digits(part)
}

/// Text of one line: no control characters, nothing that changes the direction of writing, no space around it.
fn plain(text: &str, longest: usize) -> Result<String, String> {
    // Most text is plain indeed, and of most rows every field is looked at here.
    let all_show = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if all_show && (1..=longest).contains(&text.len()) && !text.starts_with(' ') && !text.ends_with(' ') {
        return Ok(text.to_owned());
    }
    if text.is_empty() {
        return Err("It is empty: fill it in, or leave the line out.".to_owned());
    }
    if text.chars().nth(longest).is_some() {
        return Err(format!("It is longer than {longest} characters: shorten it."));
    }
    if text.chars().any(is_hidden) {
        return Err("It holds a control character or another one that does not show: take it out.".to_owned());
    }
    if text.trim() != text {
        return Err("It begins or ends with a space: take it away.".to_owned());
    }
    Ok(text.to_owned())
}

fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn email(text: &str) -> Result<String, String> {
    let address = plain(text, 254)?;
    let is_address = address
        .split_once('@')
        .is_some_and(|(local, host)| !local.is_empty() && !host.is_empty() && !host.contains('@'));
    if is_address && !address.contains(char::is_whitespace) {
        Ok(address)
    } else {
        Err("It is not an e-mail address, such as anna@harbour.example.".to_owned())
    }
}

fn instant(text: &str) -> Result<Instant, String> {
    Instant::parse(text).map_err(|error| format!("{error}{}", mend_time(text)))
}

/// What to do about a time that a spreadsheet has written.
fn mend_time(text: &str) -> &'static str {
    let is_made_of = |more: &str| text.chars().all(|letter| letter.is_ascii_digit() || more.contains(letter));
    if text.len() > 3 && is_made_of(".,") {
        " A bare number is how a spreadsheet keeps a time: make the column text there, as 2026-10-13T06:10:00+13:00."
    } else if text.contains('/') && is_made_of("/: ") {
        " Which of these is the day cannot be told: write it as 2026-10-13T06:10:00+13:00."
    } else {
        ""
    }
}

/// A day, `2026-10-31`, of the years that instants have.
fn date(text: &str) -> Result<NaiveDate, String> {
    let refused = || format!("{:?} is not a day: write it as 2026-10-31.", text.chars().take(20).collect::<String>());
    let is_shaped = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| is_shaped).ok_or_else(refused)?;
    if (1971..=2198).contains(&day.year()) {
        Ok(day)
    } else {
        Err("The day lies outside the years 1971 to 2198.".to_owned())
    }
}

fn count(text: &str, least: u32, most: u32) -> Result<u32, String> {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse::<u32>().ok().filter(|number| is_digits && (least..=most).contains(number));
    number.ok_or_else(|| format!("It is not a whole number from {least} to {most}."))
}

fn parsed<T: FromStr<Err: ToString>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}
