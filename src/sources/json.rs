//! JSON as monitors may send it: each key once, and no more values than an honest delivery has.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::domain::observation::Rejected;
use crate::domain::refusal::Refusal;
use crate::domain::time::Instant;

/// The most fields that one object may have. What compares each with each stays quick.
const MOST_FIELDS: usize = 1_000;

/// Reads a body. A key that comes twice is refused, since readers differ in which of the two they believe; so are more fields
/// in one object than anybody sends.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, Refusal> {
    let Strict(value) = serde_json::from_slice(bytes)
        .map_err(|error| Refusal::field("", format!("The body is no JSON that can be taken: {error}")))?;
    Ok(value)
}

/// Reads a body that must be one object.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, Refusal> {
    match parse(bytes)? {
        Value::Object(fields) => Ok(fields),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(Refusal::field("", "The body must be one JSON object."))
        }
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader).map(Strict)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = all.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = all.next_key::<String>()? {
            if fields.len() == MOST_FIELDS {
                return Err(A::Error::custom(format!("more than {MOST_FIELDS} fields in one object")));
            }
            if fields.contains_key(&key) {
                return Err(A::Error::custom(format!("the field {} comes twice", shown(&key))));
            }
            let Strict(value) = all.next_value()?;
            fields.insert(key, value);
        }
        Ok(Value::Object(fields))
    }
}

/// What somebody sent, short enough and plain enough to be said back.
pub(super) fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(40).collect::<String>())
}

/// One object of a delivery, and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    pub place: &'a str,
    pub fields: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The object at `place`.
    pub fn of(place: &'a str, value: &'a Value) -> Result<Self, Rejected> {
        match value.as_object() {
            Some(fields) => Ok(Fields { place, fields }),
            None => Err(Rejected { pointer: place.to_owned(), message: "this must be an object".to_owned() }),
        }
    }

    pub fn wrong(&self, field: &str, message: impl Into<String>) -> Rejected {
        Rejected { pointer: format!("{}/{field}", self.place), message: message.into() }
    }

    /// The object at `field`.
    pub fn object(&self, field: &str) -> Result<&'a Map<String, Value>, Rejected> {
        let found = self.fields.get(field).and_then(Value::as_object);
        found.ok_or_else(|| self.wrong(field, format!("{field} is missing, or is no object")))
    }

    /// A text that is there, and none where the field is left out or null.
    pub fn may(&self, field: &str) -> Result<Option<&'a str>, Rejected> {
        match self.fields.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                Err(self.wrong(field, format!("{field} must be text")))
            }
        }
    }

    /// A text that must be there and not be empty.
    pub fn need(&self, field: &str) -> Result<&'a str, Rejected> {
        self.may(field)?.filter(|text| !text.is_empty()).ok_or_else(|| self.wrong(field, format!("{field} is missing")))
    }

    pub fn time(&self, field: &str) -> Result<Instant, Rejected> {
        self.instant(field, self.need(field)?)
    }

    pub fn time_if_any(&self, field: &str) -> Result<Option<Instant>, Rejected> {
        self.may(field)?.map(|text| self.instant(field, text)).transpose()
    }

    fn instant(&self, field: &str, text: &str) -> Result<Instant, Rejected> {
        Instant::parse(text).map_err(|error| self.wrong(field, error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_may_believe_either_way_is_refused() {
        let said = |body: &str| parse(body.as_bytes()).unwrap_err().detail;
        assert!(said(r#"{"a": 1, "b": {"c": 1, "c": 2}}"#).contains("\"c\" comes twice"));
        let many: Vec<String> = (0..1_001).map(|at| format!("\"{at}\": 0")).collect();
        assert!(said(&format!("{{{}}}", many.join(","))).contains("more than 1000 fields"));
        for body in
            ["", "{", "{\"a\":1}x", "{\"a\":NaN}", "{'a':1}", "{\"a\":1,}", "\0", "\u{feff}{}", "\"\\ud800\"", "1e400"]
        {
            parse(body.as_bytes()).unwrap_err();
        }
        parse("[".repeat(100_000).as_bytes()).unwrap_err();
        assert_eq!(parse(br#"{"a": [1, -1, 0.5, true, null, "x"]}"#).unwrap()["a"][2], 0.5);
    }
}
