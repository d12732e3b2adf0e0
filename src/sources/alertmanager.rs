//! The webhook of Prometheus Alertmanager, version 4 of its format.

use super::{Format, JSON, alerts};
use crate::domain::observation::Delivery;
use crate::domain::refusal::Refusal;

pub(super) const FORMAT: Format = Format { media: JSON, read: |_, bytes| parse(bytes) };

/// Reads one delivery. Refuses a body that can never be one.
pub fn parse(bytes: &[u8]) -> Result<Delivery, Refusal> {
    alerts::parse(bytes, "Alertmanager", "4")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::refusal::Code;
    use crate::domain::time::Instant;

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
        let [over, firing] = delivery.told.as_slice() else { panic!("{delivery:?}") };
        assert_eq!((over.place.as_str(), firing.place.as_str()), ("/alerts/0", "/alerts/1"));
        let (over, firing) = (&over.observation, &firing.observation);
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
        assert_eq!(parse(b"\xff\xfe{").unwrap_err().code, Code::InvalidRequest);
        assert_eq!(parse("[".repeat(100_000).as_bytes()).unwrap_err().code, Code::InvalidRequest);
        assert_eq!(parse(b"[]").unwrap_err().code, Code::InvalidRequest);
    }

    #[test]
    fn one_bad_alert_does_not_lose_its_neighbour_and_its_field_is_named() {
        for (path, pointer, value) in [
            ("/alerts/1/status", "", json!("pending")),
            ("/alerts/1/startsAt", "", json!("2026-10-13 05:10:12")),
            ("/alerts/1/startsAt", "", json!("0000-00-00T00:00:00Z")),
            ("/alerts/1/startsAt", "", json!("infinity")),
            ("/alerts/0/endsAt", "", json!("0001-01-01T00:00:00Z")),
            ("/alerts/0/endsAt", "", json!("2026-10-12T16:10:12.481Z")),
            ("/alerts/0/fingerprint", "", json!("")),
            ("/alerts/0/fingerprint", "", json!("9c1f\u{1f}")),
            ("/alerts/0/labels", "", json!([])),
            ("/alerts/1", "", json!("alert")),
            ("/alerts/0/labels/alertname", "", json!("")),
            ("/alerts/0/labels/component", "/alerts/0/labels", json!("a\0b")),
            ("/alerts/0/labels/component", "/alerts/0/labels", json!(7)),
        ] {
            let mut body = body();
            *body.pointer_mut(path).unwrap() = value;
            let delivery = read(&body).unwrap();
            let wrong: Vec<&str> = delivery.rejected.iter().map(|one| one.pointer.as_str()).collect();
            assert_eq!(wrong, [if pointer.is_empty() { path } else { pointer }]);
            let kept = if path.starts_with("/alerts/0") { "/alerts/1" } else { "/alerts/0" };
            assert_eq!(delivery.told.iter().map(|told| told.place.as_str()).collect::<Vec<_>>(), [kept]);
        }
    }

    #[test]
    fn where_every_alert_is_wrong_the_delivery_is_refused_and_up_to_twenty_are_named() {
        let mut body = body();
        let alerts = vec![json!({"status": "firing"}); 40];
        body["alerts"] = json!(alerts);
        assert_eq!(read(&body).unwrap_err().errors.len(), 20);
    }
}
