//! How monitors speak: bytes in, observations out. Nothing here knows what an alert means or what time it is.
//!
//! To add a source: one file with a `parse`, one variant of `domain::monitors::SourceKind`, one arm in the door that
//! takes its deliveries, and cases from real bodies.

pub mod alertmanager;
