//! From what the sources said to outage windows. The order in which it arrived, and how often, makes no difference.
//!
//! The rules. An alert is known by its source, fingerprint and start. Told again it is one; told with several ends, the
//! latest holds; a resolve that comes before its fire is the whole alert. A resolve is believed once the source has shown
//! life both before and after it with no longer silence than its gap: a monitor that dies looks like recovery, so until
//! then the end is unknown and the window stays open. An alert whose end is not known is over when another start of the
//! same source and fingerprint is known to be over, since they are one alert told twice: a pair of servers may send two
//! starts, and a server that came back sends a new one. Times are corrected by the rule. Alerts of all sources whose
//! corrected intervals overlap or touch are one window, which lasts as long as any of them does; so an alert that flaps
//! within its own correction is one outage, and one that stays away longer is two.

use std::collections::{BTreeMap, BTreeSet};

use super::ids::WindowId;
use super::observation::ObservationKey;
use super::time::{Instant, SECOND};
use super::window::{Correction, Report};

/// One version of one observation, with the correction of its rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub key: ObservationKey,
    pub ends_at: Option<Instant>,
    pub correction: Correction,
}

/// What is known of the life of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It sends no heartbeat: its resolves are believed.
    TakenAtItsWord,
    /// When it was heard, in any order; two of them no further apart than `gap_seconds` prove the time between.
    Heartbeats { gap_seconds: u32, heard: Vec<Instant> },
}

impl Liveness {
    /// Whether the source was alive at `at`, as far as is known by now.
    pub fn alive_at(&self, at: Instant) -> bool {
        match self {
            Liveness::TakenAtItsWord => true,
            Liveness::Heartbeats { gap_seconds, heard } => {
                let before = heard.iter().filter(|beat| **beat <= at).max();
                let after = heard.iter().filter(|beat| **beat >= at).min();
                before
                    .zip(after)
                    .is_some_and(|(before, after)| after.micros() - before.micros() <= i64::from(*gap_seconds) * SECOND)
            }
        }
    }
}

/// A window as the sources make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded {
    /// Derived from its earliest observation, so that the same evidence makes the same window.
    pub id: WindowId,
    pub start: Instant,
    /// None while any of its alerts fires, or where an end is unknown.
    pub end: Option<Instant>,
    /// One for each source, by name.
    pub reports: Vec<Report>,
    /// What it was made of, sorted.
    pub members: Vec<ObservationKey>,
    /// Members whose source says that it is over, and was not known to be alive then: source and the end that it said.
    pub unknown_ends: Vec<(String, Instant)>,
}

/// One observation after correction.
#[derive(Debug)]
struct Span {
    key: ObservationKey,
    start: Instant,
    end: Option<Instant>,
    correction: Correction,
    unknown_end: Option<Instant>,
}

/// Folds what was said about one component, capability and impact. A source that `liveness` does not know is taken to be
/// silent: its resolves are not believed.
pub fn fold(statements: &[Statement], liveness: &BTreeMap<String, Liveness>) -> Vec<Folded> {
    let mut latest: BTreeMap<&ObservationKey, (Option<Instant>, Correction)> = BTreeMap::new();
    for statement in statements {
        latest
            .entry(&statement.key)
            .and_modify(|(ends_at, _)| *ends_at = (*ends_at).max(statement.ends_at))
            .or_insert((statement.ends_at, statement.correction));
    }
    let mut known_ends: BTreeMap<(&str, &str), BTreeSet<Instant>> = BTreeMap::new();
    for (key, (ends_at, _)) in &latest {
        let alive = |at: &Instant| liveness.get(&key.source).is_some_and(|source| source.alive_at(*at));
        known_ends.entry((&key.source, &key.fingerprint)).or_default().extend(ends_at.filter(alive));
    }
    let mut spans: Vec<Span> = latest
        .into_iter()
        .map(|(key, (ends_at, correction))| {
            let known = known_ends.get(&(key.source.as_str(), key.fingerprint.as_str()));
            span(key, ends_at, correction, known)
        })
        .collect();
    spans.sort_by(|a, b| (a.start, &a.key).cmp(&(b.start, &b.key)));
    let mut clusters: Vec<Vec<Span>> = Vec::new();
    let mut reach = None;
    for one in spans {
        let joins = reach.is_some_and(|reach| one.start <= reach);
        let end = one.end.unwrap_or(Instant::MAX);
        reach = Some(if joins { reach.map_or(end, |reach: Instant| reach.max(end)) } else { end });
        match clusters.last_mut() {
            Some(last) if joins => last.push(one),
            Some(_) | None => clusters.push(vec![one]),
        }
    }
    clusters.into_iter().filter_map(window).collect()
}

/// When the outage that an alert speaks of began, as its rule corrects it.
pub fn corrected_start(starts_at: Instant, correction: Correction) -> Instant {
    starts_at.plus(-SECOND * (i64::from(correction.for_seconds) + i64::from(correction.scrape_seconds)))
}

/// `known` are the ends of this alert, under any start, that are believed.
fn span(
    key: &ObservationKey,
    ends_at: Option<Instant>,
    correction: Correction,
    known: Option<&BTreeSet<Instant>>,
) -> Span {
    let start = corrected_start(key.starts_at, correction);
    let own = ends_at.filter(|said| known.is_some_and(|known| known.contains(said)));
    let said = own.or_else(|| known?.iter().find(|end| **end > key.starts_at).copied());
    // A rule that says to hold on longer than the alert lasted cannot have ended it before it began.
    let end = said.map(|said| said.plus(-SECOND * i64::from(correction.keep_firing_seconds)).max(key.starts_at));
    let unknown_end = if end.is_none() { ends_at } else { None };
    Span { key: key.clone(), start, end, correction, unknown_end }
}

/// The window of one cluster, which is sorted by start. None for an alert that lasted no time at all.
fn window(cluster: Vec<Span>) -> Option<Folded> {
    let first = cluster.first()?;
    let start = first.start;
    let id =
        WindowId::of(&first.key.source, &format!("{}\u{1f}{}", first.key.fingerprint, first.key.starts_at.micros()));
    let end = latest_end(cluster.iter().map(|span| span.end));
    if end.is_some_and(|end| end <= start) {
        return None;
    }
    let mut by_source: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    for span in &cluster {
        by_source.entry(&span.key.source).or_default().push(span);
    }
    let reports = by_source
        .into_iter()
        .filter_map(|(source, spans)| {
            let earliest = spans.first()?;
            Some(Report {
                source: source.to_owned(),
                start: earliest.start,
                end: latest_end(spans.iter().map(|span| span.end)),
                correction: (earliest.correction != Correction::default()).then_some(earliest.correction),
            })
        })
        .collect();
    let unknown_ends = cluster.iter().filter_map(|span| Some((span.key.source.clone(), span.unknown_end?))).collect();
    let mut members: Vec<ObservationKey> = cluster.into_iter().map(|span| span.key).collect();
    members.sort();
    Some(Folded { id, start, end, reports, members, unknown_ends })
}

/// The latest of all ends; none if one of them is still to come.
fn latest_end(ends: impl Iterator<Item = Option<Instant>>) -> Option<Instant> {
    ends.collect::<Option<Vec<Instant>>>().and_then(|ends| ends.into_iter().max())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::time::MINUTE;

    const BASE: i64 = 1_790_000_000 * SECOND;

    fn minute(at: i64) -> Instant {
        Instant::from_micros(BASE + at * MINUTE).unwrap()
    }

    fn said(source: &str, fingerprint: &str, start: i64, end: Option<i64>) -> Statement {
        Statement {
            key: ObservationKey {
                source: source.to_owned(),
                fingerprint: fingerprint.to_owned(),
                starts_at: minute(start),
            },
            ends_at: end.map(minute),
            correction: Correction::default(),
        }
    }

    fn heard(minutes: impl IntoIterator<Item = i64>) -> Liveness {
        Liveness::Heartbeats { gap_seconds: 180, heard: minutes.into_iter().map(minute).collect() }
    }

    fn words() -> BTreeMap<String, Liveness> {
        ["a", "b"].into_iter().map(|source| (source.to_owned(), Liveness::TakenAtItsWord)).collect()
    }

    fn edges(folded: &[Folded]) -> Vec<(Instant, Option<Instant>)> {
        folded.iter().map(|window| (window.start, window.end)).collect()
    }

    #[test]
    fn a_fire_and_its_resolve_are_one_window_in_either_order() {
        let (fire, resolve) = (said("a", "f", 10, None), said("a", "f", 10, Some(40)));
        let expected = [(minute(10), Some(minute(40)))];
        assert_eq!(edges(&fold(&[fire.clone(), resolve.clone()], &words())), expected);
        assert_eq!(edges(&fold(&[resolve.clone(), fire.clone()], &words())), expected);
        assert_eq!(edges(&fold(&[resolve], &words())), expected);
        assert_eq!(edges(&fold(&[fire], &words())), [(minute(10), None)]);
    }

    #[test]
    fn two_halves_from_two_monitors_are_one_window_with_two_reports() {
        let folded = fold(&[said("a", "f", 0, Some(30)), said("b", "g", 30, Some(60))], &words());
        assert_eq!(edges(&folded), [(minute(0), Some(minute(60)))]);
        let reports: Vec<_> = folded[0].reports.iter().map(|r| (r.source.as_str(), r.start, r.end)).collect();
        assert_eq!(reports, [("a", minute(0), Some(minute(30))), ("b", minute(30), Some(minute(60)))]);
    }

    #[test]
    fn a_flap_within_the_correction_is_one_outage_and_a_longer_peace_makes_two() {
        let corrected = |mut statement: Statement| {
            statement.correction = Correction { for_seconds: 60, scrape_seconds: 60, keep_firing_seconds: 300 };
            statement
        };
        let flap = |again| {
            let first = corrected(said("a", "f", 10, Some(30)));
            edges(&fold(&[first, corrected(said("a", "f", again, Some(50)))], &words()))
        };
        // The first really ended at 25; a second that fires at 27 began at 25, one that fires at 28 began at 26.
        assert_eq!(flap(27), [(minute(8), Some(minute(45)))]);
        assert_eq!(flap(28), [(minute(8), Some(minute(25))), (minute(26), Some(minute(45)))]);
    }

    #[test]
    fn the_resolve_of_a_monitor_that_died_leaves_the_window_open() {
        let statements = [said("a", "f", 10, Some(40))];
        let with = |liveness| fold(&statements, &[("a".to_owned(), liveness)].into_iter().collect());
        let died = with(heard(0..38));
        assert_eq!(edges(&died), [(minute(10), None)]);
        assert_eq!(died[0].unknown_ends, [("a".to_owned(), minute(40))]);
        assert_eq!(edges(&with(heard([38]))), [(minute(10), None)], "alive just before is not alive at");
        assert_eq!(edges(&with(heard([38, 42]))), [(minute(10), None)], "a silence of four minutes is too long");
        assert_eq!(edges(&with(heard([41, 38]))), [(minute(10), Some(minute(40)))]);
        assert_eq!(edges(&with(heard([40]))), [(minute(10), Some(minute(40)))]);
        assert_eq!(edges(&fold(&statements, &BTreeMap::new())), [(minute(10), None)], "an unknown source is silent");
    }

    #[test]
    fn two_starts_of_one_alert_are_over_when_either_is() {
        let pair = [said("a", "f", 10, Some(60)), said("a", "f", 11, None)];
        assert_eq!(edges(&fold(&pair, &words())), [(minute(10), Some(minute(60)))]);
        let came_back = [said("a", "f", 10, None), said("a", "f", 50, Some(60)), said("a", "f", 70, None)];
        assert_eq!(edges(&fold(&came_back, &words())), [(minute(10), Some(minute(60))), (minute(70), None)]);
        let another_alert = [said("a", "f", 10, None), said("a", "g", 50, Some(60))];
        assert_eq!(edges(&fold(&another_alert, &words())), [(minute(10), None)]);
    }

    #[test]
    fn an_alert_of_no_length_is_an_outage_only_by_its_correction() {
        let mut blip = said("a", "f", 10, Some(10));
        assert_eq!(fold(&[blip.clone()], &words()), []);
        blip.correction.for_seconds = 120;
        assert_eq!(edges(&fold(&[blip], &words())), [(minute(8), Some(minute(10)))]);
    }

    fn statements() -> impl Strategy<Value = Vec<Statement>> {
        let one = (0..3u8, 0..4u8, 0i64..200, 0i64..60, any::<bool>()).prop_map(
            |(source, fingerprint, start, length, over)| {
                let source = ["a", "b", "c"][usize::from(source)];
                let mut statement = said(source, &format!("f{fingerprint}"), start, over.then_some(start + length));
                // One rule speaks for all versions of an alert.
                statement.correction = Correction {
                    for_seconds: u32::from(fingerprint) * 30,
                    scrape_seconds: 15,
                    keep_firing_seconds: u32::from(fingerprint) * 60,
                };
                statement
            },
        );
        prop::collection::vec(one, 0..24)
    }

    proptest! {
        #[test]
        fn shuffled_and_tripled_deliveries_fold_to_the_same_windows(
            (said, again) in statements().prop_flat_map(|said| {
                let tripled: Vec<_> = said.iter().chain(&said).chain(&said).cloned().collect();
                (Just(said), Just(tripled).prop_shuffle())
            }),
            (beats, beats_again) in prop::collection::vec(0i64..280, 0..200).prop_flat_map(|beats| {
                let tripled: Vec<_> = beats.iter().chain(&beats).chain(&beats).copied().collect();
                (Just(beats), Just(tripled).prop_shuffle())
            }),
        ) {
            let liveness = |beats: Vec<i64>| -> BTreeMap<String, Liveness> {
                [("a", Liveness::TakenAtItsWord), ("b", heard(beats.clone())), ("c", heard(beats))]
                    .into_iter().map(|(source, liveness)| (source.to_owned(), liveness)).collect()
            };
            let folded = fold(&said, &liveness(beats));
            prop_assert_eq!(&folded, &fold(&again, &liveness(beats_again)));

            // Windows neither overlap nor touch, and every observation that lasted is in exactly one.
            for pair in folded.windows(2) {
                prop_assert!(pair[0].end.is_some_and(|end| end < pair[1].start));
            }
            let mut members: Vec<_> = folded.iter().flat_map(|window| &window.members).collect();
            members.sort();
            let count = members.len();
            members.dedup();
            prop_assert_eq!(count, members.len());
        }
    }
}
