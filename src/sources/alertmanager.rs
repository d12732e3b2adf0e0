//! The webhook of Prometheus Alertmanager, version 4 of its format.
//!
//! The status at the top is the group's, so each alert's own is read. A firing alert's `endsAt` is the zero time of the
//! language that Alertmanager is written in, and means nothing. The format grows, so fields that are not known are left
//! alone.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::domain::observation::{Delivery, Observation};
use crate::domain::refusal::{FieldError, Refusal};
use crate::domain::time::Instant;

/// The most alerts that one delivery may carry, and the most labels of one alert.
const MOST_ALERTS: usize = 10_000;
const MOST_LABELS: usize = 100;
/// The longest name or value of a label, in bytes.
const LONGEST_LABEL: usize = 4_096;

/// Reads one delivery. Refuses a body that can never be one, naming every field that is wrong.
pub fn parse(bytes: &[u8]) -> Result<Delivery, Refusal> {
    let body: Value =
        serde_json::from_slice(bytes).map_err(|error| Refusal::field("", format!("The body is no JSON: {error}")))?;
    let body = body.as_object().ok_or_else(|| Refusal::field("", "The body must be one JSON object."))?;
    if body.get("version").and_then(Value::as_str) != Some("4") {
        return Err(Refusal::field("/version", "only version \"4\" of the Alertmanager webhook is understood"));
    }
    let truncated = match body.get("truncatedAlerts") {
        None | Some(Value::Null) => 0,
        Some(count) => count
            .as_u64()
            .and_then(|count| u32::try_from(count).ok())
            .ok_or_else(|| Refusal::field("/truncatedAlerts", "a count of alerts, zero or more"))?,
    };
    let alerts = body
        .get("alerts")
        .and_then(Value::as_array)
        .ok_or_else(|| Refusal::field("/alerts", "the list of alerts is missing"))?;
    if alerts.len() > MOST_ALERTS {
        return Err(Refusal::field("/alerts", "at most 10,000 alerts in one delivery; set max_alerts"));
    }
    let mut reader = Reader { errors: Vec::new() };
    let observations = alerts.iter().enumerate().filter_map(|(at, alert)| reader.alert(at, alert)).collect();
    if reader.errors.is_empty() {
        Ok(Delivery { observations, truncated })
    } else {
        Err(Refusal::invalid(reader.errors))
    }
}

/// Reads alerts and collects what is wrong with them.
struct Reader {
    errors: Vec<FieldError>,
}

impl Reader {
    fn wrong(&mut self, pointer: String, message: impl Into<String>) {
        // A refusal that names a hundred fields helps nobody more than one that names twenty.
        if self.errors.len() < 20 {
            self.errors.push(FieldError { pointer, message: message.into() });
        }
    }

    fn alert(&mut self, at: usize, alert: &Value) -> Option<Observation> {
        let Some(alert) = alert.as_object() else {
            self.wrong(format!("/alerts/{at}"), "an alert must be an object");
            return None;
        };
        let fingerprint = self.fingerprint(at, alert);
        let labels = self.labels(at, alert);
        let starts_at = self.time(at, alert, "startsAt");
        let ends_at = self.end(at, alert);
        if let (Some(starts_at), Some(Some(ends_at))) = (starts_at, ends_at)
            && ends_at < starts_at
        {
            self.wrong(format!("/alerts/{at}/endsAt"), "endsAt must not be before startsAt");
        }
        let (labels, name) = labels?;
        Some(Observation {
            fingerprint: fingerprint?,
            name,
            labels,
            starts_at: starts_at?,
            ends_at: ends_at?,
            observed_at: None,
            said: None,
        })
    }

    fn fingerprint(&mut self, at: usize, alert: &Map<String, Value>) -> Option<String> {
        let text = alert.get("fingerprint").and_then(Value::as_str).unwrap_or_default();
        let is_one = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_one {
            self.wrong(format!("/alerts/{at}/fingerprint"), "a fingerprint of 1 to 64 letters and digits is missing");
        }
        is_one.then(|| text.to_owned())
    }

    /// The labels, and the alert's name among them.
    fn labels(&mut self, at: usize, alert: &Map<String, Value>) -> Option<(BTreeMap<String, String>, String)> {
        let Some(wire) = alert.get("labels").and_then(Value::as_object) else {
            self.wrong(format!("/alerts/{at}/labels"), "the labels are missing");
            return None;
        };
        if wire.len() > MOST_LABELS {
            self.wrong(format!("/alerts/{at}/labels"), "at most 100 labels");
            return None;
        }
        let mut labels = BTreeMap::new();
        for (name, value) in wire {
            let fits = |text: &str| text.len() <= LONGEST_LABEL && !text.contains('\0');
            match value.as_str().filter(|value| fits(value) && fits(name)) {
                Some(value) => labels.insert(name.clone(), value.to_owned()),
                None => {
                    let name: String = name.chars().filter(|one| !one.is_control()).take(40).collect();
                    let message =
                        format!("label {name:?} must be text of at most 4,096 bytes, without a zero character");
                    self.wrong(format!("/alerts/{at}/labels"), message);
                    return None;
                }
            };
        }
        let name = labels.get("alertname").filter(|name| !name.is_empty()).cloned();
        if name.is_none() {
            self.wrong(format!("/alerts/{at}/labels/alertname"), "the label alertname is missing");
        }
        Some((labels, name?))
    }

    /// Some(None) for an alert that fires; None where it is wrong.
    fn end(&mut self, at: usize, alert: &Map<String, Value>) -> Option<Option<Instant>> {
        match alert.get("status").and_then(Value::as_str) {
            Some("firing") => Some(None),
            Some("resolved") => self.time(at, alert, "endsAt").map(Some),
            Some(_) | None => {
                self.wrong(format!("/alerts/{at}/status"), "an alert is firing or resolved");
                None
            }
        }
    }

    fn time(&mut self, at: usize, alert: &Map<String, Value>, field: &str) -> Option<Instant> {
        let Some(text) = alert.get(field).and_then(Value::as_str) else {
            self.wrong(format!("/alerts/{at}/{field}"), format!("{field} is missing"));
            return None;
        };
        Instant::parse(text).map_err(|error| self.wrong(format!("/alerts/{at}/{field}"), error.to_string())).ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::refusal::Code;

    /// A group of two as Alertmanager sends it: one over, one still firing, and three that did not fit.
    fn body() -> Value {
        json!({
            "version": "4",
            "groupKey": "{}/{team=\"mail\"}:{alertname=\"InboundDown\"}",
            "truncatedAlerts": 3,
            "status": "firing",
            "receiver": "makegood",
            "groupLabels": {"alertname": "InboundDown"},
            "commonLabels": {"alertname": "InboundDown", "service": "inbound"},
            "commonAnnotations": {"summary": "The inbound gateway does not deliver"},
            "externalURL": "https://alerts.aoraki.example",
            "notification_reason": "a field that did not exist when this was written",
            "alerts": [
                {
                    "status": "resolved",
                    "labels": {"alertname": "InboundDown", "component": "inbound-mx-07", "severity": "critical"},
                    "annotations": {"summary": "The inbound gateway does not deliver"},
                    "startsAt": "2026-10-12T16:10:12.482Z",
                    "endsAt": "2026-10-13T15:10:12.482Z",
                    "generatorURL": "https://prometheus.aoraki.example/graph?g0.expr=inbound_up+%3D%3D+0",
                    "fingerprint": "9c1f2a6d4be07351"
                },
                {
                    "status": "firing",
                    "labels": {"alertname": "InboundDown", "component": "inbound-mx-08", "severity": "critical"},
                    "annotations": {},
                    "startsAt": "2026-10-13T05:10:12.482+13:00",
                    "endsAt": "0001-01-01T00:00:00Z",
                    "generatorURL": "",
                    "fingerprint": "7d40b1ce9a23f680"
                }
            ]
        })
    }

    fn read(body: &Value) -> Result<Delivery, Refusal> {
        parse(body.to_string().as_bytes())
    }

    fn pointer(body: &Value) -> String {
        let refusal = read(body).unwrap_err();
        assert_eq!(refusal.code, Code::InvalidRequest);
        refusal.errors[0].pointer.clone()
    }

    #[test]
    fn each_alert_is_read_by_its_own_status() {
        let delivery = read(&body()).unwrap();
        assert_eq!(delivery.truncated, 3);
        let [over, firing] = delivery.observations.as_slice() else { panic!("{delivery:?}") };
        assert_eq!(over.name, "InboundDown");
        assert_eq!(over.labels["component"], "inbound-mx-07");
        assert_eq!(over.ends_at, Some(Instant::parse("2026-10-13T15:10:12.482Z").unwrap()));
        assert_eq!(firing.starts_at, over.starts_at);
        assert_eq!(firing.ends_at, None);
    }

    #[test]
    fn a_body_that_can_never_be_a_delivery_is_refused_and_the_field_is_named() {
        let broken = |path: &str, value: Value| {
            let mut body = body();
            *body.pointer_mut(path).unwrap() = value;
            pointer(&body)
        };
        assert_eq!(broken("/version", json!("3")), "/version");
        assert_eq!(broken("/truncatedAlerts", json!(-1)), "/truncatedAlerts");
        assert_eq!(broken("/alerts", json!({})), "/alerts");
        for (path, value) in [
            ("/alerts/1/status", json!("pending")),
            ("/alerts/1/startsAt", json!("2026-10-13 05:10:12")),
            ("/alerts/1/startsAt", json!("0000-00-00T00:00:00Z")),
            ("/alerts/1/startsAt", json!("infinity")),
            ("/alerts/0/endsAt", json!("0001-01-01T00:00:00Z")),
            ("/alerts/0/endsAt", json!("2026-10-12T16:10:12.481Z")),
            ("/alerts/0/fingerprint", json!("")),
            ("/alerts/0/fingerprint", json!("9c1f\u{1f}")),
            ("/alerts/0/labels", json!([])),
            ("/alerts/1", json!("alert")),
        ] {
            assert_eq!(broken(path, value), path);
        }
        assert_eq!(broken("/alerts/0/labels/alertname", json!("")), "/alerts/0/labels/alertname");
        assert_eq!(broken("/alerts/0/labels/component", json!("a\0b")), "/alerts/0/labels");
        assert_eq!(broken("/alerts/0/labels/component", json!(7)), "/alerts/0/labels");
        assert_eq!(parse(b"\xff\xfe{").unwrap_err().code, Code::InvalidRequest);
        assert_eq!(parse("[".repeat(100_000).as_bytes()).unwrap_err().code, Code::InvalidRequest);
        assert_eq!(parse(b"[]").unwrap_err().code, Code::InvalidRequest);
    }

    #[test]
    fn every_field_that_is_wrong_is_named_up_to_twenty() {
        let mut body = body();
        let alerts = vec![json!({"status": "firing"}); 40];
        body["alerts"] = json!(alerts);
        assert_eq!(read(&body).unwrap_err().errors.len(), 20);
    }
}
