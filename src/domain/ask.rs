//! What a monitor says when it is asked, held against what it told: a webhook alone loses outages, since an alert that fires
//! and resolves while nobody could take it is never sent again.

use serde::{Deserialize, Serialize};

/// Where a source may be asked, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Alertmanager's address: what fires there and was not told, silenced and inhibited alerts included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "http://alertmanager.internal:9093")]
    pub alertmanager: Option<String>,
    /// Prometheus's address: what fired and was over before anybody could be told, and whether Prometheus was alive then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "http://prometheus.internal:9090")]
    pub prometheus: Option<String>,
    /// How often to ask.
    #[serde(default = "every_seconds")]
    pub every_seconds: u32,
    /// How often the rules are evaluated: Prometheus is asked for one sample in each such time.
    #[serde(default = "step_seconds")]
    pub step_seconds: u32,
    /// How long a webhook may take: what is younger is not missed yet. More than Alertmanager's `group_interval`.
    #[serde(default = "patience_seconds")]
    pub patience_seconds: u32,
}

fn every_seconds() -> u32 {
    60
}

fn step_seconds() -> u32 {
    15
}

fn patience_seconds() -> u32 {
    600
}

impl Ask {
    /// What is wrong with it: the field, and why.
    pub fn check(&self) -> Vec<(&'static str, &'static str)> {
        let mut wrong = Vec::new();
        if self.alertmanager.is_none() && self.prometheus.is_none() {
            wrong.push(("", "say where to ask: alertmanager, prometheus or both; or leave ask out"));
        }
        for (field, address) in [("/alertmanager", &self.alertmanager), ("/prometheus", &self.prometheus)] {
            if address.as_deref().is_some_and(|address| !is_address(address)) {
                wrong.push((field, "an address with http:// or https://, without user, password, query or fragment"));
            }
        }
        for (field, seconds) in [("/every_seconds", self.every_seconds), ("/step_seconds", self.step_seconds)] {
            if !(1..=3_600).contains(&seconds) {
                wrong.push((field, "1 to 3600 seconds"));
            }
        }
        if self.patience_seconds > 86_400 {
            wrong.push(("/patience_seconds", "at most a day"));
        }
        wrong
    }
}

/// Whether it is the address of a server, and of nothing more.
fn is_address(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let host = rest.map(|rest| rest.split('/').next().unwrap_or_default()).unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'@' | b'?' | b'#' | b'\\' | b'"' | b'<' | b'>');
    !host.is_empty() && !host.starts_with(':') && text.len() <= 1_024 && text.bytes().all(plain)
}
