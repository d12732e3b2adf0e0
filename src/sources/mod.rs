//! How monitors speak: bytes in, observations out. Nothing here knows what an alert means or what time it is.
//!
//! To add a source: one file with a `parse`, one variant of `domain::monitors::SourceKind`, one arm in the door that
//! takes its deliveries, and cases from real bodies.

pub mod alertmanager;
pub mod asked;

use crate::domain::observation::Delivery;
use crate::domain::refusal::Refusal;

/// Reads a delivery of a monitor that speaks like `kind`. The door reads it when it comes, and again when it has waited in
/// the spool: the same bytes read the same.
pub fn read(kind: &str, _content_type: &str, bytes: &[u8]) -> Result<Delivery, Refusal> {
    match kind {
        "alertmanager" => alertmanager::parse(bytes),
        other => {
            let asked: String = other.chars().filter(|one| !one.is_control()).take(40).collect();
            Err(Refusal::not_found("kind of source called", &asked))
        }
    }
}
