//! The webhook of Grafana's alerting, version 1 of its format: Alertmanager's shape, with fields of its own beside it.
//!
//! Where a data source does not answer, Grafana sends alerts named `DatasourceError` or `DatasourceNoData`. They are alerts as
//! others are: a rule says what they mean.

use super::{Format, JSON, alerts};
use crate::domain::observation::Delivery;
use crate::domain::refusal::Refusal;

pub(super) const FORMAT: Format = Format { media: JSON, read: |_, bytes| parse(bytes) };

/// Reads one delivery. Refuses a body that can never be one.
pub fn parse(bytes: &[u8]) -> Result<Delivery, Refusal> {
    alerts::parse(bytes, "Grafana", "1")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::time::Instant;

    #[test]
    fn an_alert_is_read_with_its_offset_and_what_grafana_adds_is_left_alone() {
        let mut body: Value =
            serde_json::from_slice(include_bytes!("../../tests/sources/grafana/resolved.json")).unwrap();
        let delivery = parse(body.to_string().as_bytes()).unwrap();
        let [told] = delivery.told.as_slice() else { panic!("{delivery:?}") };
        assert_eq!(told.observation.name, "Inbound gateway down");
        assert_eq!(told.observation.starts_at, Instant::parse("2026-10-12T16:10:10Z").unwrap());
        assert_eq!(told.observation.ends_at, Some(Instant::parse("2026-10-13T15:10:10Z").unwrap()));
        body["version"] = json!("4");
        assert_eq!(parse(body.to_string().as_bytes()).unwrap_err().errors[0].pointer, "/version");
    }
}
