//! Alerts as Alertmanager shapes them, which Grafana does too.
//!
//! The status at the top is the group's, so each alert's own is read. A firing alert's `endsAt` is the zero time of the
//! language that both are written in, and means nothing. The format grows, so fields that are not known are left alone. An
//! alert that is wrong does not lose its neighbours.

use std::collections::BTreeMap;

use serde_json::Value;

use super::json::{self, Fields};
use crate::domain::observation::{Delivery, Names, Observation, Rejected, Told};
use crate::domain::refusal::Refusal;
use crate::domain::time::Instant;

/// The most alerts that one delivery may carry, and the most labels of one alert.
pub(super) const MOST_ALERTS: usize = 10_000;
const MOST_LABELS: usize = 100;
/// The longest name or value of a label, in bytes.
const LONGEST_LABEL: usize = 4_096;

const NAMES: Names = Names { start: "startsAt", end: "endsAt" };

/// Reads one delivery in `version` of the webhook of `sender`.
pub(super) fn parse(bytes: &[u8], sender: &str, version: &str) -> Result<Delivery, Refusal> {
    let body = json::object(bytes)?;
    if body.get("version").and_then(Value::as_str) != Some(version) {
        let message = format!("only version \"{version}\" of the {sender} webhook is understood");
        return Err(Refusal::field("/version", message));
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
    let places = alerts.iter().enumerate().map(|(at, alert)| (format!("/alerts/{at}"), alert));
    each(places, NAMES, truncated, alert)
}

/// Reads each of `alerts` by `read`, and lists those that are wrong.
pub(super) fn each<T>(
    alerts: impl ExactSizeIterator<Item = (String, T)>,
    names: Names,
    truncated: u32,
    read: impl Fn(&str, T) -> Result<Vec<Observation>, Rejected>,
) -> Result<Delivery, Refusal> {
    if alerts.len() > MOST_ALERTS {
        return Err(Refusal::field("/alerts", "at most 10,000 alerts in one delivery: send them in several"));
    }
    let (mut told, mut rejected) = (Vec::new(), Vec::new());
    for (place, alert) in alerts {
        match read(&place, alert) {
            Ok(observations) => {
                told.extend(observations.into_iter().map(|observation| Told {
                    place: place.clone(),
                    names,
                    observation,
                }));
            }
            Err(wrong) => rejected.push(wrong),
        }
    }
    Delivery::of(told, rejected, truncated)
}

fn alert(place: &str, alert: &Value) -> Result<Vec<Observation>, Rejected> {
    let alert = Fields::of(place, alert)?;
    let fingerprint = alert.may("fingerprint")?.unwrap_or_default();
    if !(1..=64).contains(&fingerprint.len()) || !fingerprint.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(alert.wrong("fingerprint", "a fingerprint of 1 to 64 letters and digits is missing"));
    }
    let labels = labels(&alert)?;
    let Some(name) = labels.get("alertname").filter(|name| !name.is_empty()).cloned() else {
        return Err(alert.wrong("labels/alertname", "the label alertname is missing"));
    };
    let starts_at = alert.time("startsAt")?;
    let ends_at = end(&alert, starts_at)?;
    let fingerprint = fingerprint.to_owned();
    Ok(vec![Observation { fingerprint, name, labels, starts_at, ends_at, observed_at: None, said: None }])
}

fn labels(alert: &Fields<'_>) -> Result<BTreeMap<String, String>, Rejected> {
    let wire = alert.object("labels")?;
    if wire.len() > MOST_LABELS {
        return Err(alert.wrong("labels", "at most 100 labels"));
    }
    let mut labels = BTreeMap::new();
    for (name, value) in wire {
        let fits = |text: &str| text.len() <= LONGEST_LABEL && !text.contains('\0');
        let Some(value) = value.as_str().filter(|value| fits(value) && fits(name)) else {
            let name = json::shown(name);
            let message = format!("label {name} must be text of at most 4,096 bytes, without a zero character");
            return Err(alert.wrong("labels", message));
        };
        labels.insert(name.clone(), value.to_owned());
    }
    Ok(labels)
}

/// None for an alert that fires.
fn end(alert: &Fields<'_>, starts_at: Instant) -> Result<Option<Instant>, Rejected> {
    match alert.may("status")? {
        Some("firing") => Ok(None),
        Some("resolved") => match alert.time("endsAt")? {
            ends_at if ends_at < starts_at => Err(alert.wrong("endsAt", "endsAt must not be before startsAt")),
            ends_at => Ok(Some(ends_at)),
        },
        Some(_) | None => Err(alert.wrong("status", "an alert is firing or resolved")),
    }
}

/// A text kept as a label: what is longer than a label may be is cut, and a zero character is left out.
pub(super) fn label(text: &str) -> String {
    let mut kept = String::new();
    for letter in text.chars().filter(|letter| *letter != '\0') {
        if kept.len() + letter.len_utf8() > LONGEST_LABEL {
            break;
        }
        kept.push(letter);
    }
    kept
}
