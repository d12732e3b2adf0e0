//! Reading documents that people write: YAML, of which JSON is a part, within limits that no honest document reaches.

use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_saphyr::Spanned;
use sha2::{Digest, Sha256};

use super::refusal::{FieldError, Refusal};

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
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let pointer = error.location().map_or_else(String::new, |at| format!("/lines/{}", at.line()));
        Refusal::invalid(vec![FieldError {
            pointer,
            message: shortened(&error.render_with_formatter(&serde_saphyr::UserMessageFormatter)),
        }])
    })
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
