//! What a source said, kept as it came: one alert of a delivery, firing or resolved.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::refusal::{FieldError, Refusal};
use super::time::{DAY, Instant, MINUTE};
use super::window::{Capability, Impact};

/// How far a monitor's clock may run ahead of ours, in microseconds. What begins or ends later than that has not happened
/// yet, and a monitor cannot have seen it.
pub const CLOCK_SKEW: i64 = 5 * MINUTE;

/// The longest outage that a source may tell of in its own words, in microseconds. A longer one is a year that was mistyped.
pub const LONGEST_OUTAGE: i64 = 366 * DAY;

/// The most fields that one refusal names: a hundred help nobody more than twenty.
const MOST_NAMED: usize = 20;

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

/// What a source calls the times of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    pub start: &'static str,
    pub end: &'static str,
}

/// One alert of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Where in the body it stands: a JSON pointer such as `/alerts/3`, or `/lines/4` of a file.
    pub place: String,
    pub names: Names,
    pub observation: Observation,
}

/// One alert of a delivery that says nothing which can be held to be true. Its neighbours are taken all the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Rejected {
    /// What is wrong: a pointer into the body.
    #[schema(example = "/alerts/3/startsAt")]
    pub pointer: String,
    #[schema(example = "startsAt is missing")]
    pub message: String,
}

/// One delivery of a source, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    pub told: Vec<Told>,
    /// What is wrong with alerts that could not be read, one line each.
    pub rejected: Vec<Rejected>,
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
    /// A delivery of which something can be read, or which is honestly empty. Refuses one in which every alert is wrong: it can
    /// never be anything.
    pub fn of(told: Vec<Told>, rejected: Vec<Rejected>, truncated: u32) -> Result<Self, Refusal> {
        if told.is_empty() && !rejected.is_empty() {
            return Err(refusal_of(&rejected));
        }
        Ok(Delivery { told, rejected, truncated })
    }

    /// Moves alerts that cannot be true at `now` to the rejected ones, and says which those were: what lies in the future,
    /// since then the monitor's clock is wrong and so is every time that it says; an end that was told before it came; and an
    /// outage of more than a year in the source's own words.
    pub fn judge(&mut self, now: Instant) -> Vec<Rejected> {
        let mut wrong = Vec::new();
        self.told.retain(|told| match implausible(told, now) {
            None => true,
            Some((field, message)) => {
                wrong.push(Rejected { pointer: format!("{}/{field}", told.place), message });
                false
            }
        });
        wrong
    }

    /// Each alert once: where a delivery names one twice, the one that was seen later; or else the one with the later end.
    pub fn distinct(&self, source: &str) -> BTreeMap<ObservationKey, &Observation> {
        let mut distinct: BTreeMap<ObservationKey, &Observation> = BTreeMap::new();
        for Told { observation, .. } in &self.told {
            distinct
                .entry(observation.key(source))
                .and_modify(|kept| {
                    if (observation.observed_at, observation.ends_at) > (kept.observed_at, kept.ends_at) {
                        *kept = observation;
                    }
                })
                .or_insert(observation);
        }
        distinct
    }
}

/// What a delivery is refused with when nothing of it can be taken.
pub fn refusal_of(rejected: &[Rejected]) -> Refusal {
    let field = |one: &Rejected| FieldError { pointer: one.pointer.clone(), message: one.message.clone() };
    Refusal::invalid(rejected.iter().take(MOST_NAMED).map(field).collect())
}

/// Which field of what was told cannot be true at `now`, and why.
fn implausible(told: &Told, now: Instant) -> Option<(&'static str, String)> {
    let Told { names, observation, .. } = told;
    let latest = now.plus(CLOCK_SKEW);
    let times = [
        (names.start, Some(observation.starts_at)),
        (names.end, observation.ends_at),
        ("observed_at", observation.observed_at),
    ];
    let ahead = times.into_iter().find_map(|(field, time)| Some((field, time.filter(|time| *time > latest)?)));
    if let Some((field, time)) = ahead {
        return Some((field, format!("{field} {time} has not happened yet: it is {now}. Check the monitor's clock.")));
    }
    if let Some(seen) = observation.observed_at {
        let unseen = |time: Instant| time > seen.plus(CLOCK_SKEW);
        if let Some(end) = observation.ends_at.filter(|end| unseen(*end)) {
            let message =
                format!("it is said to end at {end} and was observed at {seen}: nobody can have seen the end");
            return Some((names.end, message));
        }
        if unseen(observation.starts_at) {
            let start = observation.starts_at;
            let message = format!("it is said to begin at {start} and was observed at {seen}: nobody can have seen it");
            return Some((names.start, message));
        }
    }
    let lasted = observation.ends_at.unwrap_or(now).micros() - observation.starts_at.micros();
    if observation.said.is_some() && lasted > LONGEST_OUTAGE {
        let message = format!(
            "an outage since {} lasts for more than a year. Check the year; one that is true is entered by hand.",
            observation.starts_at
        );
        return Some((names.start, message));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(start: &str, end: Option<&str>, seen: Option<&str>, said: bool) -> Told {
        let at = |text: &str| Instant::parse(text).unwrap();
        let observation = Observation {
            fingerprint: "f1".to_owned(),
            name: "InboundDown".to_owned(),
            labels: BTreeMap::new(),
            starts_at: at(start),
            ends_at: end.map(at),
            observed_at: seen.map(at),
            said: said.then(|| Said {
                about: About::All,
                capability: Capability("receive".to_owned()),
                impact: Impact::Full,
            }),
        };
        Told { place: "/alerts/0".to_owned(), names: Names { start: "startsAt", end: "endsAt" }, observation }
    }

    /// The field that is wrong at noon on 12 October 2026.
    fn wrong(start: &str, end: Option<&str>, seen: Option<&str>, said: bool) -> Option<String> {
        let mut delivery = Delivery { told: vec![told(start, end, seen, said)], ..Delivery::default() };
        let wrong = delivery.judge(Instant::parse("2026-10-12T12:00:00Z").unwrap());
        assert_eq!(delivery.told.len() + wrong.len(), 1);
        wrong.first().map(|one| one.pointer.strip_prefix("/alerts/0/").unwrap().to_owned())
    }

    #[test]
    fn what_cannot_be_true_yet_is_told_from_a_clock_that_runs_a_little_ahead() {
        let start = |text| wrong(text, None, None, false);
        assert_eq!(start("2026-10-12T12:05:00Z"), None);
        assert_eq!(start("2026-10-12T12:05:00.000001Z"), Some("startsAt".to_owned()));
        let (down, up) = ("2026-10-12T10:00:00Z", "2026-10-12T11:00:00Z");
        assert_eq!(wrong(down, Some("2026-10-12T13:00:00Z"), None, false), Some("endsAt".to_owned()));
        assert_eq!(wrong(down, Some(up), Some("2026-10-12T13:00:00Z"), true), Some("observed_at".to_owned()));
        assert_eq!(wrong(down, Some(up), Some("2026-10-12T10:55:00Z"), true), None);
        assert_eq!(wrong(down, Some(up), Some("2026-10-12T10:54:59Z"), true), Some("endsAt".to_owned()));
        assert_eq!(wrong(down, None, Some("2026-10-12T09:00:00Z"), true), Some("startsAt".to_owned()));
    }

    #[test]
    fn only_an_alert_that_a_rule_explains_may_last_for_years() {
        let since = "2025-10-11T12:00:00Z";
        assert_eq!(wrong(since, None, None, true), None, "366 days");
        assert_eq!(wrong("2025-10-11T11:59:59Z", None, None, true), Some("startsAt".to_owned()));
        assert_eq!(
            wrong("2025-10-11T11:59:59Z", Some("2025-10-12T00:00:00Z"), None, true),
            None,
            "long ago, and short"
        );
        assert_eq!(wrong("2019-01-01T00:00:00Z", None, None, false), None, "a Watchdog");
    }

    #[test]
    fn of_two_statements_in_one_delivery_the_one_seen_later_holds_or_else_the_later_end() {
        let down = "2026-10-12T10:00:00Z";
        let hold = |told: [Told; 2]| {
            let delivery = Delivery { told: told.to_vec(), ..Delivery::default() };
            delivery.distinct("probe").into_values().next().unwrap().ends_at.map(|end| end.to_string())
        };
        let seen = |end, seen| told(down, Some(end), Some(seen), true);
        let (long, short) = ("2026-10-12T11:30:00Z", "2026-10-12T11:00:00Z");
        let corrected = [seen(long, "2026-10-12T11:31:00Z"), seen(short, "2026-10-12T11:40:00Z")];
        assert_eq!(hold(corrected.clone()).as_deref(), Some(short));
        let [first, second] = corrected;
        assert_eq!(hold([second, first]).as_deref(), Some(short));
        assert_eq!(hold([told(down, Some(long), None, false), told(down, None, None, false)]).as_deref(), Some(long));
    }
}
