//! One line as cells: the texts of its fields, before anybody asks what they mean.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};

use super::LineError;

/// One field of a kind of row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: &'static str,
    /// A CSV header and a JSON object must have it; whether it may be empty or null, the row says.
    pub required: bool,
    /// A whole number, which JSON writes without quotes. Everything else is text, money too.
    pub count: bool,
}

impl Field {
    pub const fn required(name: &'static str) -> Self {
        Field { name, required: true, count: false }
    }

    pub const fn optional(name: &'static str) -> Self {
        Field { name, required: false, count: false }
    }

    pub const fn count(name: &'static str) -> Self {
        Field { name, required: true, count: true }
    }
}

/// The cells of one line, by field, and what was found wrong with them.
#[derive(Debug)]
pub struct Cells<'a> {
    fields: &'static [Field],
    cells: Vec<Option<Cow<'a, str>>>,
    errors: Vec<(&'static str, String)>,
}

/// What is wrong with a line as a whole, or with the field of the pointer.
type Wrong = (Cow<'static, str>, String);

impl<'a> Cells<'a> {
    /// Reads a JSON object with no field but `fields`, each once.
    pub fn of_json(line: &'a str, fields: &'static [Field]) -> Result<Self, Wrong> {
        let mut json = serde_json::Deserializer::from_str(line);
        let mut cells = vec![None; fields.len()];
        let mut at = None;
        let object = Object { fields, cells: &mut cells, at: &mut at };
        match object.deserialize(&mut json).and_then(|missing| json.end().map(|()| missing)) {
            Ok(missing) => {
                let mut cells = Cells { fields, cells, errors: Vec::new() };
                missing.iter().for_each(|name| cells.wrong(name, is_missing(name)));
                Ok(cells)
            }
            Err(error) => {
                let pointer = at.map_or(Cow::Borrowed(""), |field: &Field| Cow::Owned(format!("/{}", field.name)));
                Err((pointer, json_message(&error)))
            }
        }
    }

    /// Reads one record of a CSV file, whose header said that its cells are the fields at `columns`.
    pub fn of_csv(line: &'a str, fields: &'static [Field], columns: &[usize]) -> Result<Self, Wrong> {
        let mut cells = vec![None; fields.len()];
        let mut found = 0usize;
        split(line, |cell| {
            if let Some(slot) = columns.get(found).and_then(|field| cells.get_mut(*field)) {
                *slot = (!cell.is_empty()).then_some(cell);
            }
            found += 1;
        })
        .map_err(|message| (Cow::Borrowed(""), message.to_owned()))?;
        if found != columns.len() {
            let message = format!(
                "The line has {found} cells, but the header has {}: a comma is missing or too many, or stands in a cell without quotes.",
                columns.len()
            );
            return Err((Cow::Borrowed(""), message));
        }
        Ok(Cells { fields, cells, errors: Vec::new() })
    }

    /// What the field `name`, which must be there, means by `read`.
    pub fn need<T>(&mut self, name: &'static str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match self.take(name) {
            Some(text) => self.keep(name, read(&text)),
            None if self.errors.iter().any(|(known, _)| *known == name) => None,
            None => {
                self.wrong(name, is_missing(name));
                None
            }
        }
    }

    /// What the field `name`, which may be left out, means by `read`. The outer option is none when it is wrong.
    pub fn may<T>(&mut self, name: &'static str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<Option<T>> {
        match self.take(name) {
            Some(text) => self.keep(name, read(&text)).map(Some),
            None => Some(None),
        }
    }

    /// Notes that the field `name` is wrong.
    pub fn wrong(&mut self, name: &'static str, message: impl Into<String>) {
        self.errors.push((name, message.into()));
    }

    pub fn is_wrong(&self) -> bool {
        !self.errors.is_empty()
    }

    pub fn errors(self, line: i64) -> Vec<LineError> {
        let error = |(name, message)| LineError { line, pointer: Cow::Owned(format!("/{name}")), message };
        self.errors.into_iter().map(error).collect()
    }

    fn keep<T>(&mut self, name: &'static str, read: Result<T, String>) -> Option<T> {
        read.map_err(|message| self.wrong(name, message)).ok()
    }

    fn take(&mut self, name: &str) -> Option<Cow<'a, str>> {
        let index = self.fields.iter().position(|field| field.name == name)?;
        self.cells.get_mut(index)?.take()
    }
}

fn is_missing(name: &str) -> String {
    format!("{name} is missing: fill it in.")
}

/// The fields that a CSV header names, in its order. Each may come once; one that is unknown is refused, since a column
/// that nobody reads is a column that somebody believes in.
pub fn header(line: &str, fields: &'static [Field]) -> Result<Vec<usize>, String> {
    if line.contains('\r') {
        return Err("The lines end with CR alone: save the file with LF or CRLF.".to_owned());
    }
    let mut columns = Vec::with_capacity(fields.len());
    let mut wrong = None;
    split(line, |cell| match fields.iter().position(|field| field.name == cell) {
        Some(field) if !columns.contains(&field) => columns.push(field),
        Some(_) => {
            wrong = wrong.take().or_else(|| {
                Some(format!("The header names the column {} twice: keep the one that is meant.", shown(&cell)))
            })
        }
        None => wrong = wrong.take().or_else(|| Some(unknown(&cell, fields))),
    })?;
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    match fields.iter().enumerate().find(|(index, field)| field.required && !columns.contains(index)) {
        Some((_, missing)) => {
            Err(format!("The header has no column {}: add it, and say what it holds in each line.", missing.name))
        }
        None => Ok(columns),
    }
}

fn unknown(name: &str, fields: &[Field]) -> String {
    let names: Vec<&str> = fields.iter().map(|field| field.name).collect();
    format!("{} is not a field; the fields are {}.", shown(name), names.join(", "))
}

/// What somebody sent, short enough and plain enough to be said back.
fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(40).collect::<String>())
}

/// Splits a record at its commas, strictly by RFC 4180: a quote stands only around a whole cell, doubled inside it.
fn split<'a>(record: &'a str, mut cell: impl FnMut(Cow<'a, str>)) -> Result<(), &'static str> {
    let mut rest = record;
    loop {
        let after = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (text, after) = quoted_cell(quoted)?;
                cell(text);
                after
            }
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let (text, after) = rest.split_at(end);
                if text.contains('"') {
                    return Err(
                        "A quote stands inside a cell that is not quoted: put the whole cell in quotes, and double those inside it.",
                    );
                }
                cell(Cow::Borrowed(text));
                after
            }
        };
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(()),
            None => return Err("After a closing quote there must be a comma or the end of the line."),
        }
    }
}

/// The text up to the closing quote, and what follows the quote.
fn quoted_cell(quoted: &str) -> Result<(Cow<'_, str>, &str), &'static str> {
    let mut text = Cow::Borrowed("");
    let mut rest = quoted;
    loop {
        let Some((part, after)) = rest.split_once('"') else {
            return Err("A quote is opened and never closed: close it, or double it where it is part of the text.");
        };
        if text.is_empty() {
            text = Cow::Borrowed(part);
        } else {
            text.to_mut().push_str(part);
        }
        match after.strip_prefix('"') {
            Some(more) => {
                text.to_mut().push('"');
                rest = more;
            }
            None => return Ok((text, after)),
        }
    }
}

/// What serde_json says, without its line number: to it, each line is the first.
fn json_message(error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "The line breaks off: the file was cut, or an object runs over several lines. Send the whole file, one object \
                a line."
            .to_owned();
    }
    let said = error.to_string();
    let said: String =
        said.rsplit_once(" at line ").map_or(said.as_str(), |(said, _)| said).chars().take(300).collect();
    format!("The line cannot be read: {said} (column {}).", error.column())
}

struct Object<'c, 'de> {
    fields: &'static [Field],
    cells: &'c mut Vec<Option<Cow<'de, str>>>,
    /// The field that is being read, for the message.
    at: &'c mut Option<&'static Field>,
}

/// Gives the names of required fields that the object does not have.
impl<'de> DeserializeSeed<'de> for Object<'_, 'de> {
    type Value = Vec<&'static str>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, 'de> {
    type Value = Vec<&'static str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut seen = vec![false; self.fields.len()];
        while let Some(index) = map.next_key_seed(Name { fields: self.fields })? {
            let (Some(field), Some(cell), Some(seen)) =
                (self.fields.get(index), self.cells.get_mut(index), seen.get_mut(index))
            else {
                continue;
            };
            *self.at = Some(field);
            if std::mem::replace(seen, true) {
                return Err(serde::de::Error::custom("the field comes twice"));
            }
            *cell = map.next_value_seed(Cell { count: field.count })?;
            *self.at = None;
        }
        let missing = |(field, seen): (&Field, bool)| (field.required && !seen).then_some(field.name);
        Ok(self.fields.iter().zip(seen).filter_map(missing).collect())
    }
}

struct Name {
    fields: &'static [Field],
}

impl<'de> DeserializeSeed<'de> for Name {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<usize, D::Error> {
        from.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Name {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<usize, E> {
        let index = self.fields.iter().position(|field| field.name == name);
        index.ok_or_else(|| E::custom(unknown(name, self.fields)))
    }
}

struct Cell {
    count: bool,
}

impl<'de> DeserializeSeed<'de> for Cell {
    type Value = Option<Cow<'de, str>>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

/// Other kinds of values, a number with a fraction above all, are refused by the visitor's defaults.
impl<'de> Visitor<'de> for Cell {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.count { "a whole number, not negative" } else { "a string" })
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        if self.count { self.visit_str(text) } else { Ok(Some(Cow::Borrowed(text))) }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        if self.count {
            return Err(E::invalid_type(serde::de::Unexpected::Str(text), &self));
        }
        Ok(Some(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Self::Value, E> {
        if !self.count {
            return Err(E::invalid_type(serde::de::Unexpected::Unsigned(number), &self));
        }
        Ok(Some(Cow::Owned(number.to_string())))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}
