//! What monitors answer when they are asked. What cannot be read in an answer is left out: nobody told it, and it is asked for
//! again.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::domain::ask::Series;
use crate::domain::observation::Observation;
use crate::domain::refusal::Refusal;
use crate::domain::time::{Instant, SECOND};

/// The query that [`prometheus`] reads the answer of: when the rules of the alerts `names` that fire were evaluated last, at each
/// step. It is not when they are found to have fired: a Prometheus that died is found to have said the same for five more minutes.
pub fn query(names: &[String]) -> String {
    let plain = |name: &String| {
        let escape = |c: char| {
            let is_meta = r"\.+*?()|[]{}^$".contains(c);
            is_meta.then_some('\\').into_iter().chain([c])
        };
        name.chars().flat_map(escape).collect::<String>()
    };
    let any = names.iter().map(plain).collect::<Vec<String>>().join("|");
    // Within quotes, once more.
    let quoted = any.replace('\\', r"\\").replace('"', r#"\""#);
    format!(r#"timestamp(ALERTS{{alertstate="firing",alertname=~"{quoted}"}})"#)
}

/// `text` as it stands in the query of an address.
pub fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// Reads the answer of Alertmanager's `GET /api/v2/alerts`: alerts that fire, silenced and inhibited ones included.
pub fn alertmanager(bytes: &[u8]) -> Result<Vec<Observation>, Refusal> {
    let body: Value = serde_json::from_slice(bytes)
        .map_err(|error| Refusal::field("", format!("Alertmanager's answer is no JSON: {error}")))?;
    let alerts = body.as_array().ok_or_else(|| Refusal::field("", "Alertmanager's answer is no list of alerts"))?;
    Ok(alerts.iter().filter_map(alert).collect())
}

fn alert(alert: &Value) -> Option<Observation> {
    let fingerprint = alert.get("fingerprint")?.as_str()?;
    let is_one = (1..=64).contains(&fingerprint.len()) && fingerprint.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let labels = labels(alert.get("labels")?)?;
    let starts_at = Instant::parse(alert.get("startsAt")?.as_str()?).ok()?;
    Some(Observation {
        fingerprint: is_one.then(|| fingerprint.to_owned())?,
        name: labels.get("alertname").filter(|name| !name.is_empty())?.clone(),
        labels,
        starts_at,
        ends_at: None,
        observed_at: None,
        said: None,
    })
}

/// Reads the answer of Prometheus's `GET /api/v1/query_range` to [`query`].
pub fn prometheus(bytes: &[u8]) -> Result<Vec<Series>, Refusal> {
    let body: Value = serde_json::from_slice(bytes)
        .map_err(|error| Refusal::field("", format!("Prometheus's answer is no JSON: {error}")))?;
    let is_whole = body.get("status").and_then(Value::as_str) == Some("success");
    let result = body.pointer("/data/result").and_then(Value::as_array).filter(|_| is_whole);
    let result = result.ok_or_else(|| {
        let said: String = body.get("error").and_then(Value::as_str).unwrap_or("no reason").chars().take(200).collect();
        Refusal::field("", format!("Prometheus did not answer the query: {said}"))
    })?;
    Ok(result.iter().filter_map(series).collect())
}

fn series(one: &Value) -> Option<Series> {
    let mut labels = labels(one.get("metric")?)?;
    labels.remove("alertstate");
    labels.remove("__name__");
    let name = labels.get("alertname").filter(|name| !name.is_empty())?.clone();
    let values = one.get("values")?.as_array()?;
    let mut at: Vec<Instant> = values.iter().filter_map(|pair| seconds(pair.get(1)?.as_str()?)).collect();
    at.sort();
    at.dedup();
    Some(Series { name, labels, at })
}

fn labels(wire: &Value) -> Option<BTreeMap<String, String>> {
    let wire = wire.as_object().filter(|labels| labels.len() <= 100)?;
    let text =
        |value: &Value| value.as_str().filter(|text| text.len() <= 4_096 && !text.contains('\0')).map(str::to_owned);
    wire.iter().map(|(name, value)| Some((name.clone(), text(value)?))).collect()
}

/// Seconds since 1970 with a decimal fraction, such as `1790000000.482`, to the microsecond.
fn seconds(text: &str) -> Option<Instant> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000000".chars()).take(6).collect();
    let micros: i64 = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    Instant::from_micros(whole.parse::<i64>().ok()?.checked_mul(SECOND)?.checked_add(micros)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alertmanagers_list_is_read_silenced_ones_included() {
        let answer = br#"[
            {"annotations": {}, "endsAt": "2026-10-12T16:14:12.482Z", "fingerprint": "9c1f2a6d4be07351",
             "receivers": [{"name": "makegood"}], "startsAt": "2026-10-12T16:10:12.482Z",
             "status": {"inhibitedBy": [], "silencedBy": ["8d1e"], "state": "suppressed"},
             "updatedAt": "2026-10-12T16:10:12.490Z", "generatorURL": "",
             "labels": {"alertname": "InboundDown", "component": "inbound-mx-07"}},
            {"fingerprint": "", "startsAt": "yesterday", "labels": {}}, 7
        ]"#;
        let [one] = alertmanager(answer).unwrap().try_into().unwrap();
        assert_eq!((one.name.as_str(), one.fingerprint.as_str()), ("InboundDown", "9c1f2a6d4be07351"));
        assert_eq!((one.starts_at, one.ends_at), (Instant::parse("2026-10-12T16:10:12.482Z").unwrap(), None));
        assert!(alertmanager(b"{}").is_err());
        assert!(alertmanager(b"<html>").is_err());
    }

    #[test]
    fn prometheuss_samples_are_when_the_rule_was_evaluated_and_no_later_echo() {
        let answer = br#"{"status": "success", "data": {"resultType": "matrix", "result": [
            {"metric": {"alertname": "InboundDown", "alertstate": "firing", "component": "inbound-mx-07"},
             "values": [[1790000010, "1790000009.482"], [1790000020.5, "1790000019.482"], [1790000030, "1790000019.482"],
                        [1790000040, "NaN"]]},
            {"metric": {"alertstate": "firing"}, "values": []}
        ]}}"#;
        let [one] = prometheus(answer).unwrap().try_into().unwrap();
        assert_eq!(one.name, "InboundDown");
        assert!(!one.labels.contains_key("alertstate"));
        let micros: Vec<i64> = one.at.iter().map(|at| at.micros()).collect();
        assert_eq!(micros, [1_790_000_009_482_000, 1_790_000_019_482_000]);
        let refused = prometheus(br#"{"status": "error", "error": "exceeded maximum resolution"}"#).unwrap_err();
        assert!(refused.errors[0].message.contains("exceeded"), "{refused:?}");
    }

    #[test]
    fn prometheus_is_asked_for_the_alerts_by_name_whatever_they_are_called() {
        let names = ["InboundDown", r"Queue (north)|\d+", "Say \"up\""].map(str::to_owned);
        let query = query(&names);
        let asked = r#"timestamp(ALERTS{alertstate="firing",alertname=~"InboundDown|Queue \\(north\\)\\|\\\\d\\+|Say \"up\""})"#;
        assert_eq!(query, asked);
        assert_eq!(encoded("a{b=\"ü c\"}+~"), "a%7Bb%3D%22%C3%BC%20c%22%7D%2B~");
    }

    #[test]
    fn seconds_are_read_to_the_microsecond_and_nothing_else_is() {
        let micros = |text| seconds(text).map(Instant::micros);
        assert_eq!(micros("1790000000"), Some(1_790_000_000_000_000));
        assert_eq!(micros("1790000000.5"), Some(1_790_000_000_500_000));
        assert_eq!(micros("1790000000.1234567"), Some(1_790_000_000_123_456));
        for bad in ["", ".", "NaN", "+Inf", "1e9", "1.+5", "1.-5", "99999999999999999999"] {
            assert_eq!(micros(bad), None, "{bad}");
        }
    }
}
