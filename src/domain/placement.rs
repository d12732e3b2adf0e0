//! Placements: the shard that a mailbox lived on, from an instant on, as change events.
//!
//! A source's event holds until its next one. Where two sources disagree, or a mailbox is moving and nobody declared which
//! side is live, it is *contested*: it counts as being in both places, each minute once, and a person settles it. What is
//! settled outranks every other source for the time that it names.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::time::{Instant, Interval, IntervalSet};

/// The source of what operations settled. No directory may call itself so.
pub const SETTLED_BY: &str = "operations";

/// From `from` on, until the same source says otherwise, the mailbox lived on `shard` (none: it did not exist).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlacementEvent {
    pub from: Instant,
    pub shard: Option<String>,
    /// It is moving from `shard` to this one. It counts as being on the side that is live; where nobody said which, on both,
    /// and it is contested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving_to: Option<String>,
    /// The side of the move that is live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Side>,
    /// The directory that says so. Two sources that disagree make the mailbox contested.
    pub source: String,
    /// A person settled that it was so until then, whatever other sources say. At `from` or before, it was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_until: Option<Instant>,
}

/// One side of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    From,
    To,
}

impl Side {
    pub fn name(self) -> &'static str {
        match self {
            Side::From => "from",
            Side::To => "to",
        }
    }
}

impl std::str::FromStr for Side {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "from" => Ok(Side::From),
            "to" => Ok(Side::To),
            _ => Err("It is neither from nor to, the side of the move that is live."),
        }
    }
}

impl PlacementEvent {
    /// The shards that the mailbox counts as being on: one, none, or while it moves and no side was declared live, two.
    pub fn homes(&self) -> [Option<&str>; 2] {
        match (&self.moving_to, self.live) {
            (None, _) | (Some(_), Some(Side::From)) => [self.shard.as_deref(), None],
            (Some(to), Some(Side::To)) => [Some(to), None],
            (Some(to), None) => [self.shard.as_deref(), Some(to)],
        }
    }

    /// Whether it is moving and nobody declared which side is live.
    pub fn is_undeclared_move(&self) -> bool {
        self.moving_to.is_some() && self.live.is_none()
    }
}

/// One mailbox with everything that is known of where it lived, sorted by `from` and then by source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailboxHistory {
    pub mailbox: String,
    pub events: Vec<PlacementEvent>,
}

impl MailboxHistory {
    /// The history of a mailbox whose account was closed at `at`: from then on it is nowhere, whatever sources say.
    #[must_use]
    pub fn closed_at(mut self, at: Instant) -> Self {
        self.events.retain(|event| event.from < at);
        let mut sources: Vec<String> = Vec::new();
        for event in &mut self.events {
            event.settled_until = event.settled_until.map(|until| until.min(at));
            if event.settled_until.is_none() && !sources.contains(&event.source) {
                sources.push(event.source.clone());
            }
        }
        sources.sort();
        self.events.extend(sources.into_iter().map(|source| PlacementEvent {
            from: at,
            shard: None,
            moving_to: None,
            live: None,
            source,
            settled_until: None,
        }));
        self
    }
}

/// What one source says of one stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said<'a> {
    pub interval: Interval,
    pub event: &'a PlacementEvent,
}

/// One source says two things from the same instant on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    pub source: String,
    pub from: Instant,
}

impl MailboxHistory {
    /// What was said of `within`, by source and then by time. What is settled stands alone in its time.
    pub fn said(&self, within: Interval) -> Result<Vec<Said<'_>>, Contradiction> {
        let mut events: Vec<&PlacementEvent> = self.events.iter().collect();
        events.sort_unstable_by(|a, b| (&a.source, a.from).cmp(&(&b.source, b.from)));
        let mut said: Vec<Said<'_>> = Vec::with_capacity(events.len());
        let mut settled = IntervalSet::empty();
        for (index, event) in events.iter().enumerate() {
            let next = events.get(index + 1).filter(|next| next.source == event.source);
            if let Some(next) = next
                && next.from == event.from
            {
                let is_same = (&next.shard, &next.moving_to, next.live, next.settled_until)
                    == (&event.shard, &event.moving_to, event.live, event.settled_until);
                if !is_same {
                    return Err(Contradiction { source: event.source.clone(), from: event.from });
                }
                continue;
            }
            // Settlements do not run into each other; one that was taken back ends none.
            let until = event.settled_until.or(next.map(|next| next.from));
            let until = until.map_or(within.end(), |until| until.min(within.end()));
            let Ok(interval) = Interval::new(event.from.max(within.start()), until) else { continue };
            if event.settled_until.is_some() {
                settled = settled.union(&interval.into());
            }
            said.push(Said { interval, event });
        }
        if settled.is_empty() {
            return Ok(said);
        }
        let outranked = |one: Said<'_>| match one.event.settled_until {
            Some(_) => one.interval.into(),
            None => IntervalSet::from(one.interval).minus(&settled),
        };
        Ok(said
            .into_iter()
            .flat_map(|one| {
                let left = outranked(one);
                left.intervals().iter().map(|interval| Said { interval: *interval, ..one }).collect::<Vec<_>>()
            })
            .collect())
    }
}

/// Where in `period` it is contested on which shards a mailbox was, of which this was [said](MailboxHistory::said).
pub fn contested(said: &[Said<'_>], period: Interval) -> IntervalSet {
    let moving = said.iter().filter(|one| one.event.is_undeclared_move()).map(|one| one.interval);
    let disputed = said.iter().enumerate().flat_map(|(index, one)| {
        said.iter()
            .skip(index + 1)
            .filter(|other| one.event.source != other.event.source && one.event.homes() != other.event.homes())
            .filter_map(|other| one.interval.intersection(other.interval))
    });
    moving.chain(disputed).filter_map(|time| time.intersection(period)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64) -> Instant {
        Instant::parse("2026-10-12T00:00:00Z").unwrap().plus(hour * 3_600_000_000)
    }

    fn told(hour: i64, shard: Option<&str>, source: &str) -> PlacementEvent {
        PlacementEvent {
            from: at(hour),
            shard: shard.map(str::to_owned),
            moving_to: None,
            live: None,
            source: source.to_owned(),
            settled_until: None,
        }
    }

    fn day() -> Interval {
        Interval::new(at(0), at(24)).unwrap()
    }

    fn shown(events: Vec<PlacementEvent>) -> (Vec<String>, Vec<String>) {
        let history = MailboxHistory { mailbox: "a@x.example".to_owned(), events };
        let hour = |at_: Instant| (at_.micros() - at(0).micros()) / 3_600_000_000;
        let said = history.said(day()).unwrap();
        let contested = contested(&said, day());
        let said = said.iter().map(|one| {
            let homes: Vec<&str> = one.event.homes().into_iter().flatten().collect();
            format!("{}-{} {}", hour(one.interval.start()), hour(one.interval.end()), homes.join("+"))
        });
        let contested = contested.intervals().iter().map(|one| format!("{}-{}", hour(one.start()), hour(one.end())));
        (said.collect(), contested.collect())
    }

    #[test]
    fn a_move_counts_on_the_side_that_is_live_and_without_one_on_both() {
        let moving =
            |live| PlacementEvent { moving_to: Some("mx-02".to_owned()), live, ..told(8, Some("mx-01"), "dir") };
        let with = |live| shown(vec![told(0, Some("mx-01"), "dir"), moving(live), told(12, Some("mx-02"), "dir")]);
        assert_eq!(with(Some(Side::From)).0, ["0-8 mx-01", "8-12 mx-01", "12-24 mx-02"]);
        assert_eq!(with(Some(Side::To)).0, ["0-8 mx-01", "8-12 mx-02", "12-24 mx-02"]);
        assert_eq!(with(Some(Side::To)).1, Vec::<String>::new());
        assert_eq!(with(None).0, ["0-8 mx-01", "8-12 mx-01+mx-02", "12-24 mx-02"]);
        assert_eq!(with(None).1, ["8-12"]);
    }

    #[test]
    fn what_is_settled_outranks_every_source_for_its_time_and_no_longer() {
        let told = |more: Vec<PlacementEvent>| {
            let mut events = vec![told(0, Some("mx-01"), "dir"), told(6, Some("mx-02"), "old")];
            events.extend(more);
            shown(events)
        };
        assert_eq!(told(vec![]).1, ["6-24"]);
        let settled = |until| PlacementEvent {
            settled_until: Some(at(until)),
            ..super::tests::told(8, Some("mx-02"), SETTLED_BY)
        };
        assert_eq!(told(vec![settled(20)]).0, ["0-8 mx-01", "20-24 mx-01", "6-8 mx-02", "20-24 mx-02", "8-20 mx-02"]);
        assert_eq!(told(vec![settled(20)]).1, ["6-8", "20-24"]);
        assert_eq!(told(vec![settled(8)]).1, ["6-24"], "taken back");
        let around = PlacementEvent { settled_until: Some(at(20)), ..super::tests::told(6, Some("mx-02"), SETTLED_BY) };
        assert_eq!(told(vec![around, settled(8)]).1, ["20-24"], "what was taken back ends nothing");
        let nowhere = PlacementEvent { settled_until: Some(at(24)), ..super::tests::told(6, None, SETTLED_BY) };
        assert_eq!(told(vec![nowhere]).0, ["0-6 mx-01", "6-24 "]);
    }

    #[test]
    fn a_mailbox_of_a_closed_account_is_nowhere() {
        let settled = PlacementEvent { settled_until: Some(at(20)), ..told(14, Some("mx-02"), SETTLED_BY) };
        let history = MailboxHistory {
            mailbox: "a@x.example".to_owned(),
            events: vec![told(0, Some("mx-01"), "dir"), settled, told(18, Some("mx-03"), "dir")],
        };
        let (said, _) = shown(history.closed_at(at(16)).events);
        assert_eq!(said, ["0-14 mx-01", "16-24 ", "14-16 mx-02"]);
    }

    #[test]
    fn one_source_may_not_say_two_things_from_one_instant_on() {
        let history = |second| MailboxHistory {
            mailbox: "a@x.example".to_owned(),
            events: vec![told(0, Some("mx-01"), "dir"), second],
        };
        assert!(history(told(0, Some("mx-01"), "dir")).said(day()).is_ok());
        assert!(history(told(0, Some("mx-02"), "dir")).said(day()).is_err());
        let moving = PlacementEvent { moving_to: Some("mx-02".to_owned()), ..told(0, Some("mx-01"), "dir") };
        assert!(history(moving).said(day()).is_err());
    }
}
