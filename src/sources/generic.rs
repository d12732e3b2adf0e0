//! Our own events, for whatever has no format of its own: one JSON object, a list of them, or CSV with a header.
//!
//! An event says by itself what failed, so it needs no rule. `event_id` and `start` name it for good: told again it is the same
//! event, and told with another end it is a correction, of which the one observed last holds.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Map, Value};

use super::Format;
use super::alerts::{each, label};
use super::json::{self, Fields};
use crate::domain::observation::{About, Delivery, Names, Observation, Rejected, Said};
use crate::domain::refusal::Refusal;
use crate::domain::time::Instant;
use crate::domain::window::{Capability, Impact};

pub(super) const FORMAT: Format = Format { media: &["application/json", CSV], read };

const CSV: &str = "text/csv";

const FIELDS: [&str; 10] =
    ["event_id", "status", "component", "shard", "capability", "impact", "start", "end", "observed_at", "note"];

/// The longest event id, in bytes.
const LONGEST_ID: usize = 200;

pub(super) const NAMES: Names = Names { start: "start", end: "end" };

fn read(media: &str, bytes: &[u8]) -> Result<Delivery, Refusal> {
    if media == CSV { parse_csv(bytes) } else { parse(bytes) }
}

/// Reads one event or a list of them, as JSON. Refuses a body that can never be one.
pub fn parse(bytes: &[u8]) -> Result<Delivery, Refusal> {
    let body = json::parse(bytes)?;
    let events: Vec<(String, &Value)> = match &body {
        Value::Array(events) => events.iter().enumerate().map(|(at, one)| (format!("/{at}"), one)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            vec![(String::new(), &body)]
        }
    };
    each(events.into_iter(), NAMES, 0, |place, one| Ok(vec![event(&Fields::of(place, one)?, None)?]))
}

/// Reads a file of events, whose first line names its columns. An empty cell is a field that is left out.
pub fn parse_csv(bytes: &[u8]) -> Result<Delivery, Refusal> {
    let unreadable = |error: csv::Error| Refusal::field("", format!("The body is no CSV that can be taken: {error}"));
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
    let columns = reader.headers().map_err(unreadable)?.clone();
    let mut seen: Vec<&str> = Vec::new();
    for column in &columns {
        if !FIELDS.contains(&column) {
            return Err(Refusal::field("/lines/1", unknown(column)));
        }
        if seen.contains(&column) {
            return Err(Refusal::field("/lines/1", format!("the header names the column {column} twice")));
        }
        seen.push(column);
    }
    if seen.is_empty() {
        return Err(Refusal::field("/lines/1", "the first line names the columns; the body is empty"));
    }
    let mut lines = Vec::new();
    for record in reader.records() {
        let record = record.map_err(unreadable)?;
        let line = record.position().map_or(0, csv::Position::line);
        lines.push((format!("/lines/{line}"), record));
    }
    each(lines.into_iter(), NAMES, 0, |place, record| {
        if record.len() != columns.len() {
            let message = format!("the line has {} cells, but the header has {}", record.len(), columns.len());
            return Err(Rejected { pointer: place.to_owned(), message });
        }
        let cells = columns.iter().zip(&record).filter(|(_, cell)| !cell.is_empty());
        let fields: Map<String, Value> = cells.map(|(name, cell)| (name.to_owned(), cell.into())).collect();
        Ok(vec![event(&Fields { place, fields: &fields }, None)?])
    })
}

fn unknown(field: &str) -> String {
    format!("{} is not a field of an event; the fields are {}", json::shown(field), FIELDS.join(", "))
}

/// One event. `observed_at` holds where the event itself does not say when it was observed.
pub(super) fn event(event: &Fields<'_>, observed_at: Option<Instant>) -> Result<Observation, Rejected> {
    if let Some(field) = event.fields.keys().find(|field| !FIELDS.contains(&field.as_str())) {
        return Err(Rejected { pointer: event.place.to_owned(), message: unknown(field) });
    }
    let event_id = event.need("event_id")?;
    if let Err(message) = check_id(event_id) {
        return Err(event.wrong("event_id", message));
    }
    let status = event.need("status")?;
    let starts_at = event.time("start")?;
    let ends_at = event.time_if_any("end")?;
    let observed_at = event.time_if_any("observed_at")?.or(observed_at);
    let mut labels = BTreeMap::new();
    labels.extend(event.may("note")?.map(|note| ("note".to_owned(), label(note))));
    let (name, said) = match (status, ends_at) {
        ("alive", None) => ("alive", None),
        ("alive", Some(_)) => return Err(event.wrong("end", "a monitor that is alive has no end: leave it out")),
        ("up", None) => return Err(event.wrong("end", "end is missing: an event that is up says when it was over")),
        ("up" | "down", _) => ("event", Some(said(event)?)),
        (_, _) => return Err(event.wrong("status", "status is down, up (it is over) or alive (a heartbeat)")),
    };
    if ends_at.is_some_and(|end| end <= starts_at) {
        return Err(event.wrong("end", "the end must be after the start"));
    }
    if let Some(said) = &said {
        match &said.about {
            About::All => {}
            About::Component(component) => drop(labels.insert("component".to_owned(), component.clone())),
            About::Shard(shard) => drop(labels.insert("shard".to_owned(), shard.clone())),
        }
        labels.insert("capability".to_owned(), said.capability.0.clone());
    }
    let (fingerprint, name) = (event_id.to_owned(), name.to_owned());
    Ok(Observation { fingerprint, name, labels, starts_at, ends_at, observed_at, said })
}

fn said(event: &Fields<'_>) -> Result<Said, Rejected> {
    let named = |field: &str, text: &str| check_id(text).map_err(|message| event.wrong(field, message));
    let about = match (event.may("component")?, event.may("shard")?) {
        (Some(component), None) => {
            named("component", component)?;
            About::Component(component.to_owned())
        }
        (None, Some(shard)) => {
            named("shard", shard)?;
            About::Shard(shard.to_owned())
        }
        (None, None) => return Err(event.wrong("component", "component is missing; a shard may stand in its place")),
        (Some(_), Some(_)) => return Err(event.wrong("shard", "name a component or a shard, not both")),
    };
    let capability = Capability(event.need("capability")?.to_owned());
    capability.check().map_err(|message| event.wrong("capability", message))?;
    Ok(Said { about, capability, impact: impact(event)? })
}

const IMPACT: &str = "impact is full, degraded:50% (the part that did not work) or delayed:600s, or an object such as {\"kind\": \"full\"}";

fn impact(event: &Fields<'_>) -> Result<Impact, Rejected> {
    let wrong = || event.wrong("impact", IMPACT);
    let impact: Impact = match event.fields.get("impact") {
        Some(Value::String(text)) => impact_of(text).ok_or_else(wrong)?,
        Some(object @ Value::Object(_)) => serde_json::from_value(object.clone()).map_err(|_| wrong())?,
        None | Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_)) => return Err(wrong()),
    };
    impact.check().map_err(|message| event.wrong("impact", message))?;
    Ok(impact)
}

fn impact_of(text: &str) -> Option<Impact> {
    match text.split_once(':') {
        None => (text == "full").then_some(Impact::Full),
        Some(("degraded", share)) => {
            let share: Decimal = share.strip_suffix('%')?.parse().ok()?;
            let weight = share.checked_mul(Decimal::ONE_HUNDRED)?;
            weight.is_integer().then(|| weight.to_u16()).flatten().map(|weight_bp| Impact::Degraded { weight_bp })
        }
        Some(("delayed", seconds)) => {
            seconds.strip_suffix('s')?.parse().ok().map(|seconds| Impact::Delayed { seconds })
        }
        Some(_) => None,
    }
}

/// Says what is wrong with a name that people have to tell from others by looking at it.
fn check_id(text: &str) -> Result<(), &'static str> {
    // What changes the direction of a text or has no width, and the soft hyphen.
    let is_unseen = |letter: char| {
        matches!(letter, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    if text.len() > LONGEST_ID {
        Err("at most 200 bytes")
    } else if text.trim().is_empty() || text.trim() != text {
        Err("this must not be empty, nor begin or end with a space")
    } else if text.chars().any(|letter| letter.is_control() || is_unseen(letter)) {
        Err("no characters that cannot be seen: two names that look the same would be two")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body() -> Value {
        json!({
            "event_id": "mx-07/2026-10-12", "status": "up", "shard": "mx-07", "capability": "receive", "impact": "full",
            "start": "2026-10-12T16:10:00Z", "end": "2026-10-13T15:10:00Z", "observed_at": "2026-10-13T15:11:00Z",
        })
    }

    fn read(body: &Value) -> Observation {
        parse(body.to_string().as_bytes()).unwrap().told.remove(0).observation
    }

    fn wrong(body: &Value) -> String {
        parse(body.to_string().as_bytes()).unwrap_err().errors[0].pointer.clone()
    }

    #[test]
    fn an_event_says_what_failed_by_itself() {
        let told = read(&body());
        assert_eq!(told.fingerprint, "mx-07/2026-10-12");
        let said = told.said.unwrap();
        assert_eq!(said.about, About::Shard("mx-07".to_owned()));
        assert_eq!((said.capability.0.as_str(), said.impact), ("receive", Impact::Full));
        assert_eq!(told.observed_at, Some(Instant::parse("2026-10-13T15:11:00Z").unwrap()));
        let mut open = body();
        open["status"] = json!("down");
        open["end"] = json!(null);
        assert_eq!(read(&open).ends_at, None);
        let alive = json!({"event_id": "probe", "status": "alive", "start": "2026-10-01T00:00:00Z"});
        assert_eq!((read(&alive).name.as_str(), read(&alive).said), ("alive", None));
    }

    #[test]
    fn an_impact_is_written_as_people_say_it() {
        let with = |impact: Value| {
            let mut body = body();
            body["impact"] = impact;
            parse(body.to_string().as_bytes())
                .ok()
                .and_then(|read| Some(read.told[0].observation.said.as_ref()?.impact))
        };
        assert_eq!(with(json!("degraded:12.5%")), Some(Impact::Degraded { weight_bp: 1_250 }));
        assert_eq!(with(json!("delayed:600s")), Some(Impact::Delayed { seconds: 600 }));
        assert_eq!(with(json!({"kind": "degraded", "weight_bp": 5_000})), Some(Impact::Degraded { weight_bp: 5_000 }));
        for wrong in [
            json!("total"),
            json!("degraded:0%"),
            json!("degraded:101%"),
            json!("degraded:0.001%"),
            json!("degraded:-5%"),
            json!("delayed:0s"),
            json!("delayed:1"),
            json!(true),
            json!({"kind": "x"}),
        ] {
            assert_eq!(with(wrong.clone()), None, "{wrong}");
        }
    }

    #[test]
    fn every_field_that_can_be_wrong_is_named() {
        for (field, value) in [
            ("event_id", json!(null)),
            ("event_id", json!("   ")),
            ("event_id", json!("e\u{202e}1\u{200b}")),
            ("event_id", json!("x".repeat(201))),
            ("status", json!("pending")),
            ("shard", json!("")),
            ("capability", json!("Receive")),
            ("impact", json!(null)),
            ("start", json!("2026-10-12T16:10:00")),
            ("start", json!(7)),
            ("end", json!("2026-10-12T16:10:00Z")),
            ("end", json!(null)),
            ("observed_at", json!("now")),
        ] {
            let mut body = body();
            body[field] = value;
            assert_eq!(wrong(&body), format!("/{field}"));
        }
        let mut both = body();
        both["component"] = json!("inbound-mx-07");
        assert_eq!(wrong(&both), "/shard");
        both["severity"] = json!("high");
        assert_eq!(wrong(&json!([both])), "/0");
        assert_eq!(wrong(&json!("event")), "");
    }

    #[test]
    fn a_file_is_read_line_by_line_and_a_bad_line_does_not_lose_the_others() {
        let file = include_bytes!("../../tests/sources/generic/events.csv");
        let delivery = parse_csv(file).unwrap();
        assert_eq!(delivery.told.len(), 2);
        assert_eq!(delivery.told[1].place, "/lines/4");
        assert_eq!(delivery.rejected[0].pointer, "/lines/3/start");
        let refused = |text: &str| parse_csv(text.as_bytes()).unwrap_err().errors[0].message.clone();
        assert!(refused("").contains("empty"));
        assert!(refused("event_id,severity\n").contains("\"severity\" is not a field"));
        assert!(refused("event_id,event_id\n").contains("twice"));
        assert!(refused("event_id,status\ne1\n").contains("1 cells"));
        assert_eq!(parse_csv(b"event_id,status\n").unwrap(), Delivery::default());
        parse_csv(b"event_id,status\n\xff,down\n").unwrap_err();
    }
}
