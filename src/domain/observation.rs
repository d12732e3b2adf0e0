//! What a source said, kept as it came: one alert of a delivery, firing or resolved.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::refusal::{FieldError, Refusal};
use super::time::{Instant, MINUTE};
use super::window::{Capability, Impact};

/// How far a monitor's clock may run ahead of ours, in microseconds. What begins or ends later than that has not happened
/// yet, and a monitor cannot have seen it.
pub const CLOCK_SKEW: i64 = 5 * MINUTE;

/// One alert as a source told it. The source, the fingerprint and the start together name it for good: told again it is the
/// same, and told with an end it is the same alert that is now over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The source's own hash over the labels.
    pub fingerprint: String,
    /// The rule's name, `alertname` in the labels.
    pub name: String,
    pub labels: BTreeMap<String, String>,
    /// When the rule began to fire; the outage itself began earlier, see [`super::window::Correction`].
    pub starts_at: Instant,
    /// None while it fires.
    pub ends_at: Option<Instant>,
    /// When the source says that it saw this. Where every version of an observation says so, the one seen last holds, even
    /// if it ends earlier; else the one with the latest end.
    pub observed_at: Option<Instant>,
    /// What failed, where the source says so by itself. None: a rule says it.
    pub said: Option<Said>,
}

/// What failed, in our own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Said {
    pub about: About,
    pub capability: Capability,
    pub impact: Impact,
}

/// What an observation is about.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// Every mailbox.
    All,
    /// A component, by name.
    Component(String),
    /// A shard, by name.
    Shard(String),
}

/// One delivery of a source, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub observations: Vec<Observation>,
    /// How many alerts the source left out because the group was too large. What they were is not known.
    pub truncated: u32,
}

/// Which observation it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ObservationKey {
    pub source: String,
    pub fingerprint: String,
    pub starts_at: Instant,
}

impl Observation {
    pub fn key(&self, source: &str) -> ObservationKey {
        ObservationKey { source: source.to_owned(), fingerprint: self.fingerprint.clone(), starts_at: self.starts_at }
    }
}

impl Delivery {
    /// Refuses a delivery in which something lies in the future: the monitor's clock is wrong, and so is every time that it
    /// says. Each such field is named.
    pub fn check(&self, now: Instant) -> Result<(), Refusal> {
        let latest = now.plus(CLOCK_SKEW);
        let mut errors = Vec::new();
        for (at, observation) in self.observations.iter().enumerate() {
            let times = [("startsAt", Some(observation.starts_at)), ("endsAt", observation.ends_at)];
            for (field, time) in times {
                if let Some(time) = time.filter(|time| *time > latest) {
                    let message =
                        format!("{field} {time} has not happened yet: it is {now}. Check the monitor's clock.");
                    errors.push(FieldError { pointer: format!("/alerts/{at}/{field}"), message });
                }
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(Refusal::invalid(errors)) }
    }

    /// Each alert once: where a delivery names one twice, the one with the later end.
    pub fn distinct(&self, source: &str) -> BTreeMap<ObservationKey, &Observation> {
        let mut distinct: BTreeMap<ObservationKey, &Observation> = BTreeMap::new();
        for observation in &self.observations {
            distinct
                .entry(observation.key(source))
                .and_modify(|kept| {
                    if observation.ends_at > kept.ends_at {
                        *kept = observation;
                    }
                })
                .or_insert(observation);
        }
        distinct
    }
}
