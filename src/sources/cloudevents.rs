//! CloudEvents 1.0 in the structured JSON form, one event or a batch. The data is one of our own events, as in
//! [`super::generic`].

use serde_json::Value;

use super::alerts::each;
use super::json::{self, Fields};
use super::{Format, generic};
use crate::domain::observation::{Delivery, Names, Observation, Rejected};
use crate::domain::refusal::Refusal;

pub(super) const FORMAT: Format = Format { media: &["application/cloudevents+json", BATCH], read };

const BATCH: &str = "application/cloudevents-batch+json";

/// The one type of event that is understood.
const TYPE: &str = "example.makegood.outage.v1";

const NAMES: Names = Names { start: "data/start", end: "data/end" };

fn read(media: &str, bytes: &[u8]) -> Result<Delivery, Refusal> {
    if media == BATCH { parse_batch(bytes) } else { parse(bytes) }
}

/// Reads one event. Refuses a body that can never be one.
pub fn parse(bytes: &[u8]) -> Result<Delivery, Refusal> {
    let body = json::parse(bytes)?;
    each([(String::new(), &body)].into_iter(), NAMES, 0, event)
}

/// Reads a batch of events. Refuses a body that can never be one.
pub fn parse_batch(bytes: &[u8]) -> Result<Delivery, Refusal> {
    let body = json::parse(bytes)?;
    let events = body.as_array().ok_or_else(|| Refusal::field("", "A batch must be a JSON list of events."))?;
    each(events.iter().enumerate().map(|(at, one)| (format!("/{at}"), one)), NAMES, 0, event)
}

fn event(place: &str, event: &Value) -> Result<Vec<Observation>, Rejected> {
    let event = Fields::of(place, event)?;
    if event.need("specversion")? != "1.0" {
        return Err(event.wrong("specversion", "only CloudEvents 1.0 is understood"));
    }
    event.need("id")?;
    event.need("source")?;
    let kind = event.need("type")?;
    if kind != TYPE {
        return Err(event.wrong("type", format!("{} is not {TYPE}, the type that is understood", json::shown(kind))));
    }
    let content = event.may("datacontenttype")?.unwrap_or("application/json");
    if content.split(';').next().unwrap_or_default().trim() != "application/json" {
        return Err(event.wrong("datacontenttype", "the data must be application/json"));
    }
    if event.fields.contains_key("data_base64") {
        return Err(event.wrong("data_base64", "send the data as JSON, in the field data"));
    }
    let observed_at = event.time_if_any("time")?;
    let place = format!("{place}/data");
    Ok(vec![generic::event(&Fields { place: &place, fields: event.object("data")? }, observed_at)?])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::time::Instant;

    const DOWN: &[u8] = include_bytes!("../../tests/sources/cloudevents/down.json");

    #[test]
    fn the_data_is_an_event_of_ours_and_the_time_is_when_it_was_observed() {
        let delivery = parse(DOWN).unwrap();
        let told = &delivery.told[0].observation;
        assert_eq!(told.fingerprint, "mailstore/mx-07/2026-10-12");
        assert_eq!(told.observed_at, Some(Instant::parse("2026-10-12T16:10:12.482Z").unwrap()));
        assert!(told.said.is_some());
    }

    #[test]
    fn one_bad_event_of_a_batch_does_not_lose_the_others() {
        let good: Value = serde_json::from_slice(DOWN).unwrap();
        for (path, value) in [
            ("/specversion", json!("0.3")),
            ("/id", json!("")),
            ("/source", json!(null)),
            ("/type", json!("com.example.other")),
            ("/datacontenttype", json!("application/xml")),
            ("/time", json!("today")),
            ("/data", json!("e1")),
            ("/data/event_id", json!(1)),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(path).unwrap() = value;
            let delivery = parse_batch(json!([bad, good]).to_string().as_bytes()).unwrap();
            assert_eq!(delivery.rejected[0].pointer, format!("/0{path}"));
            assert_eq!(delivery.told[0].place, "/1");
        }
        assert_eq!(parse_batch(DOWN).unwrap_err().errors[0].pointer, "");
    }
}
