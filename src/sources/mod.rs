//! How monitors speak: bytes in, observations out. Nothing here knows what an alert means or what time it is.
//!
//! To add a source: one file with a `FORMAT`, one variant of `domain::monitors::SourceKind`, one arm below, sample bodies in
//! `tests/sources/` and a section in docs/sources.md. `tests/sources.rs` says what is missing.

use crate::domain::monitors::SourceKind;
use crate::domain::observation::Delivery;
use crate::domain::refusal::{Code, Refusal};

pub mod alertmanager;
mod alerts;
pub mod asked;
pub mod cloudevents;
pub mod generic;
pub mod grafana;
mod json;
pub mod pagerduty;
pub mod signature;
pub mod statuspage;

/// How one kind of source speaks.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// The content types that it is taken in: lower case, without parameters.
    pub media: &'static [&'static str],
    /// Reads a body of that content type. Refuses one that can never be a delivery.
    pub read: fn(media: &str, bytes: &[u8]) -> Result<Delivery, Refusal>,
}

const JSON: &[&str] = &["application/json"];

/// How `kind` speaks.
pub fn format(kind: SourceKind) -> Format {
    match kind {
        SourceKind::Alertmanager => alertmanager::FORMAT,
        SourceKind::Grafana => grafana::FORMAT,
        SourceKind::PagerDuty => pagerduty::FORMAT,
        SourceKind::Generic => generic::FORMAT,
        SourceKind::CloudEvents => cloudevents::FORMAT,
        SourceKind::Statuspage => statuspage::FORMAT,
    }
}

/// Reads the body of a delivery. `kind` stands in the address of the door; `content_type` is the header as it came. One that
/// the kind does not speak is refused, and so is a body that can never be a delivery.
pub fn read(kind: &str, content_type: &str, bytes: &[u8]) -> Result<Delivery, Refusal> {
    let kind = SourceKind::named(kind).ok_or_else(|| {
        let asked: String = kind.chars().filter(|one| !one.is_control()).take(40).collect();
        Refusal::not_found("kind of source called", &asked)
    })?;
    let format = format(kind);
    let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if !format.media.contains(&media.as_str()) {
        let detail = format!(
            "Deliveries of the kind {} are taken with Content-Type: {}, and without Content-Encoding.",
            kind.name(),
            format.media.join(" or ")
        );
        return Err(Refusal::new(Code::UnsupportedMediaType, detail));
    }
    (format.read)(&media, bytes)
}
