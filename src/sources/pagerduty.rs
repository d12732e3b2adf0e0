//! The webhook of PagerDuty, version 3: one event of one incident in each delivery.
//!
//! An incident is an alert named `incident`; the label `service` holds the service's id, which names the component. It begins
//! when it was made, or when it was opened again, so one that is opened again has two intervals. It is over when the event says
//! so. Events that do not change whether it is over (notes, responders, conference bridges) say nothing.

use std::collections::BTreeMap;

use serde_json::Value;

use super::alerts::{each, label};
use super::json::{self, Fields};
use super::{Format, JSON};
use crate::domain::observation::{Delivery, Names, Observation, Rejected};
use crate::domain::refusal::Refusal;

pub(super) const FORMAT: Format = Format { media: JSON, read: |_, bytes| parse(bytes) };

/// Events after which an incident goes on.
const GOES_ON: [&str; 8] = [
    "incident.triggered",
    "incident.acknowledged",
    "incident.unacknowledged",
    "incident.delegated",
    "incident.escalated",
    "incident.reassigned",
    "incident.priority_updated",
    "incident.reopened",
];
const NAMES: Names = Names { start: "data/created_at", end: "occurred_at" };

const OVER: &str = "incident.resolved";

/// Reads one delivery. Refuses a body that can never be one.
pub fn parse(bytes: &[u8]) -> Result<Delivery, Refusal> {
    let body = json::parse(bytes)?;
    let one = body.get("event").unwrap_or(&Value::Null);
    each([("/event".to_owned(), one)].into_iter(), NAMES, 0, event)
}

fn event(place: &str, event: &Value) -> Result<Vec<Observation>, Rejected> {
    let event = Fields::of(place, event)?;
    let kind = event.need("event_type")?;
    let is_over = kind == OVER;
    if !is_over && !GOES_ON.contains(&kind) {
        return Ok(Vec::new());
    }
    let place = format!("{place}/data");
    let incident = Fields { place: &place, fields: event.object("data")? };
    let id = incident.need("id")?;
    if id.len() > 64 || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(incident.wrong("id", "the id of an incident has 1 to 64 letters and digits"));
    }
    let starts_at = match incident.time_if_any("reopened_at")? {
        Some(again) => again,
        None => incident.time("created_at")?,
    };
    let ends_at = if is_over { Some(event.time("occurred_at")?) } else { None };
    if ends_at.is_some_and(|end| end < starts_at) {
        return Err(event.wrong("occurred_at", "the incident was resolved before it began"));
    }
    Ok(vec![Observation {
        fingerprint: id.to_owned(),
        name: "incident".to_owned(),
        labels: labels(&incident)?,
        starts_at,
        ends_at,
        observed_at: None,
        said: None,
    }])
}

fn labels(incident: &Fields<'_>) -> Result<BTreeMap<String, String>, Rejected> {
    let place = format!("{}/service", incident.place);
    let service = Fields { place: &place, fields: incident.object("service")? };
    let mut labels = BTreeMap::from([("service".to_owned(), label(service.need("id")?))]);
    let mut keep = |name: &str, text: Option<&str>| {
        labels.extend(text.map(|text| (name.to_owned(), label(text))));
    };
    keep("service_name", service.may("summary")?);
    keep("urgency", incident.may("urgency")?);
    keep("incident_key", incident.may("incident_key")?);
    keep("title", incident.may("title")?);
    let priority = incident.fields.get("priority").and_then(|priority| priority.get("summary"));
    keep("priority", priority.and_then(Value::as_str));
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::time::Instant;

    const TRIGGERED: &[u8] = include_bytes!("../../tests/sources/pagerduty/triggered.json");
    const RESOLVED: &[u8] = include_bytes!("../../tests/sources/pagerduty/resolved.json");
    const REOPENED: &[u8] = include_bytes!("../../tests/sources/pagerduty/reopened.json");

    fn read(bytes: &[u8]) -> Observation {
        let delivery = parse(bytes).unwrap();
        assert_eq!((delivery.told.len(), delivery.rejected.len()), (1, 0));
        delivery.told[0].observation.clone()
    }

    fn at(text: &str) -> Instant {
        Instant::parse(text).unwrap()
    }

    #[test]
    fn an_incident_is_one_alert_until_it_is_opened_again() {
        let [triggered, resolved, reopened] = [TRIGGERED, RESOLVED, REOPENED].map(read);
        assert_eq!(triggered.name, "incident");
        assert_eq!(triggered.labels["service"], "PHX4C0L");
        assert_eq!(triggered.labels["service_name"], "Inbound gateway mx-07");
        assert_eq!(triggered.labels["priority"], "P1");
        assert_eq!((triggered.starts_at, triggered.ends_at), (at("2026-10-12T16:10:31Z"), None));
        assert_eq!(resolved.key("pd"), triggered.key("pd"));
        assert_eq!(resolved.ends_at, Some(at("2026-10-13T15:10:44.902Z")));
        assert_eq!(reopened.fingerprint, triggered.fingerprint);
        assert_eq!((reopened.starts_at, reopened.ends_at), (at("2026-10-13T15:21:05Z"), None));
    }

    #[test]
    fn other_events_say_nothing_and_broken_ones_are_refused() {
        let mut body: Value = serde_json::from_slice(TRIGGERED).unwrap();
        body["event"]["event_type"] = json!("incident.annotated");
        assert_eq!(parse(body.to_string().as_bytes()).unwrap(), Delivery::default());
        body["event"]["event_type"] = json!("pagey.ping");
        body["event"]["data"] = json!({"message": "Hello from your friend Pagey!", "type": "ping"});
        assert_eq!(parse(body.to_string().as_bytes()).unwrap(), Delivery::default());
        let broken = |path: &str, value: Value| {
            let mut body: Value = serde_json::from_slice(RESOLVED).unwrap();
            *body.pointer_mut(path).unwrap() = value;
            parse(body.to_string().as_bytes()).unwrap_err().errors[0].pointer.clone()
        };
        for (path, value) in [
            ("/event", json!([])),
            ("/event/event_type", json!(null)),
            ("/event/data", json!(null)),
            ("/event/data/id", json!("a b")),
            ("/event/data/created_at", json!("yesterday")),
            ("/event/data/service", json!("PHX4C0L")),
            ("/event/data/service/id", json!("")),
            ("/event/occurred_at", json!("2026-10-12T16:10:30Z")),
        ] {
            assert_eq!(broken(path, value), path);
        }
    }
}
