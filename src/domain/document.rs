//! Reading documents that people write: YAML, of which JSON is a part, within limits that no honest document reaches.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use schemars::{JsonSchema, Schema};
use serde::de::{DeserializeOwned, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_saphyr::Spanned;
use sha2::{Digest, Sha256};

use super::refusal::{FieldError, Refusal};
use super::unreadable;

/// The largest document, in bytes.
const LARGEST: usize = 4 * 1024 * 1024;

/// The most lists, maps and values that a document may have. What compares each with each stays quick.
const MOST_NODES: usize = 20_000;

/// The longest message of a parser that is passed on, in characters: it may repeat what it refuses, but not all of it.
const LONGEST_MESSAGE: usize = 1_000;

/// Reads one document. A refusal names the line.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Refusal> {
    if text.len() > LARGEST {
        return Err(Refusal::invalid(vec![FieldError {
            pointer: String::new(),
            message: format!("The document is larger than {LARGEST} bytes."),
        }]));
    }
    // Aliases are allowed (a month's twelve mailboxes may share a history) but may not multiply.
    let options = serde_saphyr::options! {
        with_snippet: false,
        strict_booleans: true,
        budget: serde_saphyr::budget! {
            max_depth: 32,
            max_documents: 1,
            max_events: 3 * MOST_NODES,
            max_nodes: MOST_NODES,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_total_scalar_bytes: LARGEST,
            max_merge_keys: 100,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
            max_replay_stack_depth: 8,
            max_alias_expansions_per_anchor: 1_000,
        },
    };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| unreadable::said(text, &error))
        .map_err(|said| Refusal::invalid(vec![FieldError { message: shortened(&said.message), ..said }]))
}

/// Reads one document, and refuses it if anything in it was not read.
pub(super) fn parse_wholly<T: DeserializeOwned + Serialize>(text: &str) -> Result<T, Refusal> {
    let value = parse(text)?;
    refuse_unread(text, "", &value)?;
    Ok(value)
}

/// Refuses a document in which there is more at `pointer` than in `value`, which was read from there.
pub(super) fn refuse_unread(text: &str, pointer: &str, value: &impl Serialize) -> Result<(), Refusal> {
    let whole: Value = parse(text)?;
    let Some(within) = whole.pointer(pointer).and_then(|part| unread(part, value)) else { return Ok(()) };
    let line = Lines::of(text).map_or(0, |lines| lines.line(&format!("{pointer}{within}")));
    let message = format!("line {line}: {}", unreadable::unread(&within));
    Err(Refusal::field(&format!("/lines/{line}"), message))
}

/// The pointer of the first field of a document that is not in `value`, which was read from it. Beside a kind that has no fields,
/// such as `{kind: any}`, others are passed over in silence.
pub(super) fn unread(document: &Value, value: &impl Serialize) -> Option<String> {
    // Our own types always have a JSON form.
    more(document, &serde_json::to_value(value).ok()?)
}

fn more(document: &Value, read: &Value) -> Option<String> {
    let is_nothing = |value: &Value| match value {
        Value::Null => true,
        Value::Array(all) => all.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    let inner: Vec<(String, &Value, Option<&Value>)> = match document {
        Value::Object(fields) => fields.iter().map(|(key, one)| (key.clone(), one, read.get(key))).collect(),
        Value::Array(all) => all.iter().enumerate().map(|(at, one)| (at.to_string(), one, read.get(at))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    inner.into_iter().find_map(|(key, one, read)| match read {
        Some(read) => more(one, read).map(|within| format!("/{key}{within}")),
        None if is_nothing(one) => None,
        None => Some(format!("/{key}")),
    })
}

/// Reads a figure that has to stand in quotes. As a number it would lose what was written: `99.90` and `99.9` are the same
/// number, and the nearest one to `0.1` is not a tenth.
pub(super) fn in_quotes<'de, T: FromStr<Err: fmt::Display>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    from.deserialize_any(InQuotes(PhantomData))
}

struct InQuotes<T>(PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for InQuotes<T> {
    type Value = T;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a figure in quotes, such as \"99.9\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// The JSON Schema (draft 2020-12) of a type, as it is published: what is said of a field stands on one line.
pub(super) fn schema<T: JsonSchema>() -> Value {
    let mut schema = schemars::schema_for!(T);
    on_one_line(&mut schema);
    schema.into()
}

fn on_one_line(schema: &mut Schema) {
    if let Some(Value::String(said)) = schema.get_mut("description") {
        *said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    schemars::transform::transform_subschemas(&mut on_one_line, schema);
}

/// The message, or its beginning where it is too long for anybody to read.
pub(super) fn shortened(message: &str) -> String {
    match message.char_indices().nth(LONGEST_MESSAGE) {
        None => message.to_owned(),
        Some((end, _)) => format!("{}…", message.get(..end).unwrap_or_default()),
    }
}

/// SHA-256, in hexadecimal, over the one compact JSON that a value has: fields in the order of their declaration, no
/// spaces, times in UTC, figures as strings.
pub(super) fn hash(value: &impl Serialize) -> String {
    // Our own types have string keys only and no floats, so they always have a JSON form.
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    hex::encode(Sha256::digest(bytes))
}

/// The line that each place of a document stands on, found by reading it once more as nothing but places.
pub(super) struct Lines(Spanned<Place>);

struct Place(Vec<(String, Spanned<Place>)>);

impl Lines {
    /// None for what cannot be read; whoever asks has read it before.
    pub fn of(text: &str) -> Option<Self> {
        parse(text).ok().map(Lines)
    }

    /// The line of a JSON pointer, or of the nearest place above it that is there.
    pub fn line(&self, pointer: &str) -> u64 {
        let mut place = &self.0;
        for part in pointer.split('/').skip(1) {
            match place.value.0.iter().find(|(key, _)| key == part) {
                Some((_, inner)) => place = inner,
                None => break,
            }
        }
        place.referenced.line()
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(PlaceVisitor)
    }
}

struct PlaceVisitor;

impl<'de> Visitor<'de> for PlaceVisitor {
    type Value = Place;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Place, A::Error> {
        let mut inner = Vec::new();
        while let Some(entry) = map.next_entry()? {
            inner.push(entry);
        }
        Ok(Place(inner))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Place, A::Error> {
        let mut inner = Vec::new();
        while let Some(one) = seq.next_element()? {
            inner.push((inner.len().to_string(), one));
        }
        Ok(Place(inner))
    }

    fn visit_str<E>(self, _: &str) -> Result<Place, E> {
        Ok(Place(Vec::new()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Place, E> {
        Ok(Place(Vec::new()))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Place, E> {
        Ok(Place(Vec::new()))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Place, E> {
        Ok(Place(Vec::new()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Place, E> {
        Ok(Place(Vec::new()))
    }

    fn visit_unit<E>(self) -> Result<Place, E> {
        Ok(Place(Vec::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_by_pointer_and_the_nearest_one_above_stands_in() {
        let lines = Lines::of("a: 1\nb:\n  - c: x\n  - c: y\n    d: true\n").unwrap();
        assert_eq!(lines.line("/a"), 1);
        assert_eq!(lines.line("/b/1/d"), 5);
        assert_eq!(lines.line("/b/0/absent"), lines.line("/b/0"));
    }

    #[test]
    fn aliases_may_repeat_but_not_multiply() {
        let nine = |alias: &str| [alias; 9].join(", ");
        assert!(Lines::of(&format!("a: &a [x, y]\nb: [{}]\n", nine("*a"))).is_some());
        let mut bomb = format!("a: &a [{}]\n", nine("x"));
        for (name, of) in ["b", "c", "d", "e", "f", "g", "h"].iter().zip(["*a", "*b", "*c", "*d", "*e", "*f", "*g"]) {
            bomb += &format!("{name}: &{name} [{}]\n", nine(of));
        }
        assert!(Lines::of(&bomb).is_none());
    }
}
