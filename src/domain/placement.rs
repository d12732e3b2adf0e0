//! Placements: the shard that a mailbox lived on, from an instant on, as change events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::time::Instant;

/// From `from` on, until the same source says otherwise, the mailbox lived on `shard` (none: it did not exist).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlacementEvent {
    pub from: Instant,
    pub shard: Option<String>,
    /// The directory that says so. Two sources that disagree make the mailbox contested.
    pub source: String,
}

/// One mailbox with everything that is known of where it lived, sorted by `from` and then by source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailboxHistory {
    pub mailbox: String,
    pub events: Vec<PlacementEvent>,
}
