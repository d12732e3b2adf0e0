//! Outage windows: what we hold to be true about one scope and one capability. Versioned, never edited.

use serde::{Deserialize, Serialize};

use super::ids::WindowId;
use super::time::{Instant, Interval};

/// What a mailbox can do: data, not code. `receive`, `send` and `access` are the operator's to extend; a child is written
/// after its parent, `access.webmail`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Capability(pub String);

impl Capability {
    /// Whether `self` is `whole` or a child of it.
    pub fn is_within(&self, whole: &Capability) -> bool {
        self == whole || self.0.strip_prefix(&whole.0).is_some_and(|rest| rest.starts_with('.'))
    }
}

/// Which mailboxes a window is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Every mailbox.
    All,
    /// The mailboxes that lived on one of these shards at the time.
    Shards(Vec<String>),
}

impl Scope {
    pub fn covers(&self, shard: &str) -> bool {
        match self {
            Scope::All => true,
            Scope::Shards(shards) => shards.iter().any(|one| one == shard),
        }
    }
}

/// How bad it was. Terms say what each is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Impact {
    /// It did not work at all.
    Full,
    /// It worked in part; the weight is the part that did not, in hundredths of a percent (10,000 is all of it).
    Degraded { weight_bp: u16 },
    /// It worked, late by this many seconds.
    Delayed { seconds: u32 },
}

/// When planned work was announced, and for when. What runs over the announced interval is not planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Announcement {
    pub announced_at: Instant,
    pub interval: Interval,
}

/// Whether a window may move money. Only a confirmed one may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum WindowState {
    Provisional,
    Confirmed { by: String, at: Instant },
    Retracted { by: String, at: Instant },
}

/// How an observed time became the real one: alerts start late, by the rule's `for:` and a scrape interval, and may be held
/// on by `keep_firing_for`. Real start = observed start - `for_seconds` - `scrape_seconds`; real end = observed end -
/// `keep_firing_seconds`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Correction {
    pub for_seconds: u32,
    pub scrape_seconds: u32,
    pub keep_firing_seconds: u32,
}

/// What one source said of a window, after correction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The monitor, or the person who entered it by hand.
    pub source: String,
    pub start: Instant,
    /// None while it goes on.
    pub end: Option<Instant>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correction: Option<Correction>,
}

/// One version of one window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutageWindow {
    pub id: WindowId,
    /// 1 for the first version; each correction is the next.
    pub version: i32,
    pub scope: Scope,
    pub capability: Capability,
    pub start: Instant,
    /// None while it goes on.
    pub end: Option<Instant>,
    pub impact: Impact,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned: Option<Announcement>,
    pub state: WindowState,
    /// Who said what. A window by hand has one report, its author's.
    pub reports: Vec<Report>,
    /// Why this version differs from the one before; none for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl OutageWindow {
    /// The time it covers up to `as_of`: an open window lasts until whoever asks. None when it begins later.
    pub fn interval(&self, as_of: Instant) -> Option<Interval> {
        Interval::new(self.start, self.end.unwrap_or(as_of)).ok()
    }

    pub fn is_confirmed(&self) -> bool {
        matches!(self.state, WindowState::Confirmed { .. })
    }

    pub fn is_retracted(&self) -> bool {
        matches!(self.state, WindowState::Retracted { .. })
    }
}
