//! What a monitor says when it is asked, held against what it told: a webhook alone loses outages, since an alert that fires
//! and resolves while nobody could take it is never sent again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use super::observation::Observation;
use super::time::{Instant, SECOND};

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

/// The samples of one alert, as Prometheus has them: when its rule was found to fire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    pub name: String,
    /// All of its labels, the name among them.
    pub labels: BTreeMap<String, String>,
    /// Sorted, each once.
    pub at: Vec<Instant>,
}

/// The alerts that `series` amounts to: times without a break, each from its first sample to a step after its last, which
/// is when the rule was found not to fire any more. One of whom that was not found by `to` still fires.
pub fn fired(series: &[Series], step_seconds: u32, to: Instant) -> Vec<Observation> {
    let step = i64::from(step_seconds) * SECOND;
    let mut fired = Vec::new();
    for one in series {
        // One sample may be missed, two may not.
        let breaks = |pair: &[Instant]| matches!(pair, [a, b] if b.micros() - a.micros() > 2 * step);
        let mut rest = one.at.as_slice();
        while let Some(first) = rest.first() {
            let length = rest.windows(2).position(breaks).map_or(rest.len(), |at| at + 1);
            let (run, after) = rest.split_at(length);
            let last = run.last().unwrap_or(first);
            let is_over = !after.is_empty() || last.plus(2 * step) < to;
            fired.push(Observation {
                fingerprint: fingerprint(&one.labels),
                name: one.name.clone(),
                labels: one.labels.clone(),
                starts_at: *first,
                ends_at: is_over.then(|| last.plus(step)),
                observed_at: None,
                said: None,
            });
            rest = after;
        }
    }
    fired.sort_by(|a, b| (a.starts_at, &a.fingerprint).cmp(&(b.starts_at, &b.fingerprint)));
    fired
}

/// Alertmanager's hash over the labels: FNV-1a over names and values in order. An alert that Prometheus tells of has the
/// fingerprint that Alertmanager gives it, unless labels are changed on the way between them.
fn fingerprint(labels: &BTreeMap<String, String>) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for (name, value) in labels {
        for byte in name.bytes().chain([0xff]).chain(value.bytes()).chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}

/// What was never told of `fired`: the time that no known alert covers, and the end of one that is known to fire. What began or
/// ended after `horizon` may still be told. `about` says what an alert speaks of: two are alike that speak of one thing, or, where
/// either speaks of nothing, that have one name and no label of the asked one differs. What agrees adds nothing.
pub fn missed<G: Ord + Clone>(
    fired: &[Observation],
    known: &[Observation],
    step_seconds: u32,
    horizon: Instant,
    about: impl Fn(&Observation) -> Vec<G>,
) -> Vec<Observation> {
    let slack = 2 * i64::from(step_seconds) * SECOND;
    let mut held = Held::default();
    for one in known {
        held.add(one.clone(), about(one));
    }
    let fired: Vec<(&Observation, Vec<G>)> = fired.iter().map(|one| (one, about(one))).collect();
    let mut missed = ended(&held, &fired, horizon);
    for one in &missed {
        held.note_end(one);
    }
    for (one, groups) in fired {
        let until = one.ends_at.unwrap_or(Instant::MAX);
        let times = held.alike(one, &groups).into_iter().filter_map(|at| held.alerts.get(at)).map(|(other, _)| {
            let end = held.end_of(other).unwrap_or(Instant::MAX);
            (other.starts_at, end)
        });
        let near = times.filter(|(start, end)| *start <= until.plus(slack) && one.starts_at <= end.plus(slack));
        let pieces = uncovered((one.starts_at, until), near.collect(), slack);
        for (start, end) in pieces.into_iter().filter(|(start, _)| *start <= horizon) {
            let ends_at = (end < Instant::MAX).then_some(end);
            let piece = Observation { starts_at: start, ends_at, ..one.clone() };
            held.add(piece.clone(), groups.clone());
            missed.push(piece);
        }
    }
    missed
}

/// The alerts that are held as firing and are over, with their ends. What Prometheus says of an alert itself decides; only where
/// it says nothing of it, as where labels are changed on the way, do others that are alike, and not before the last of them is over.
fn ended<G: Ord + Clone>(held: &Held<G>, fired: &[(&Observation, Vec<G>)], horizon: Instant) -> Vec<Observation> {
    let until = |one: &Observation| one.ends_at.unwrap_or(Instant::MAX);
    // Of each alert that is held as firing, by its place: what Prometheus says of it and of those alike, in order.
    let mut firing: BTreeMap<usize, Vec<&Observation>> = BTreeMap::new();
    for (one, groups) in fired {
        for at in held.alike(one, groups).into_iter().chain(held.of_alert(one)).collect::<BTreeSet<usize>>() {
            let is_open =
                |(other, _): &&(Observation, Vec<G>)| other.starts_at <= until(one) && held.end_of(other).is_none();
            if held.alerts.get(at).filter(is_open).is_some() {
                firing.entry(at).or_default().push(one);
            }
        }
    }
    let end =
        |other: &Observation, said: &[&Observation]| match said.iter().find(|one| one.fingerprint == other.fingerprint)
        {
            Some(own) => own.ends_at,
            None => {
                let goes_on = |end: Instant| said.iter().any(|one| one.starts_at <= end && until(one) > end);
                said.iter().filter_map(|one| one.ends_at).filter(|end| !goes_on(*end)).min()
            }
        };
    let over = firing.iter().filter_map(|(at, said)| held.alerts.get(*at).map(|(other, _)| (other, end(other, said))));
    over.filter_map(|(other, end)| {
        let end = end.filter(|end| *end <= horizon)?;
        Some(Observation { ends_at: Some(end), ..other.clone() })
    })
    .collect()
}

/// Alerts by what they speak of, and when each was over: asked of once for each alert that Prometheus knows.
struct Held<G> {
    /// Each with what it speaks of.
    alerts: Vec<(Observation, Vec<G>)>,
    /// Places in `alerts`.
    by_fingerprint: BTreeMap<String, Vec<usize>>,
    by_group: BTreeMap<G, Vec<usize>>,
    by_name: BTreeMap<String, Vec<usize>>,
    /// By name, those that speak of nothing.
    of_nothing: BTreeMap<String, Vec<usize>>,
    ends: Ends,
}

impl<G> Default for Held<G> {
    fn default() -> Self {
        Held {
            alerts: Vec::new(),
            by_fingerprint: BTreeMap::new(),
            by_group: BTreeMap::new(),
            by_name: BTreeMap::new(),
            of_nothing: BTreeMap::new(),
            ends: Ends::default(),
        }
    }
}

impl<G: Ord + Clone> Held<G> {
    fn add(&mut self, one: Observation, groups: Vec<G>) {
        let at = self.alerts.len();
        self.note_end(&one);
        self.by_fingerprint.entry(one.fingerprint.clone()).or_default().push(at);
        self.by_name.entry(one.name.clone()).or_default().push(at);
        if groups.is_empty() {
            self.of_nothing.entry(one.name.clone()).or_default().push(at);
        }
        for group in &groups {
            self.by_group.entry(group.clone()).or_default().push(at);
        }
        self.alerts.push((one, groups));
    }

    fn note_end(&mut self, one: &Observation) {
        self.ends.note(one);
    }

    fn end_of(&self, one: &Observation) -> Option<Instant> {
        self.ends.of(one)
    }

    /// The places of the starts of this same alert.
    fn of_alert(&self, one: &Observation) -> Vec<usize> {
        self.by_fingerprint.get(&one.fingerprint).cloned().unwrap_or_default()
    }

    /// The places of the alerts that speak of what `one` speaks of.
    fn alike(&self, one: &Observation, groups: &[G]) -> BTreeSet<usize> {
        let named = if groups.is_empty() { &self.by_name } else { &self.of_nothing };
        let has_labels = |at: &&usize| {
            self.alerts
                .get(**at)
                .is_some_and(|(other, _)| one.labels.iter().all(|(name, value)| other.labels.get(name) == Some(value)))
        };
        let by_labels = named.get(&one.name).into_iter().flatten().filter(has_labels);
        groups.iter().filter_map(|group| self.by_group.get(group)).flatten().chain(by_labels).copied().collect()
    }
}

/// When alerts were over, as far as is known.
#[derive(Default)]
struct Ends {
    /// The latest of each start of an alert.
    own: BTreeMap<(String, Instant), Instant>,
    /// All of an alert.
    all: BTreeMap<String, BTreeSet<Instant>>,
}

impl Ends {
    fn note(&mut self, one: &Observation) {
        let Some(end) = one.ends_at else { return };
        let own = self.own.entry((one.fingerprint.clone(), one.starts_at)).or_insert(end);
        *own = end.max(*own);
        self.all.entry(one.fingerprint.clone()).or_default().insert(end);
    }

    /// When `one` was over: by its own end, or by that of another start of the same alert.
    fn of(&self, one: &Observation) -> Option<Instant> {
        let own = self.own.get(&(one.fingerprint.clone(), one.starts_at)).copied();
        let later = (Bound::Excluded(one.starts_at), Bound::Unbounded);
        own.or_else(|| self.all.get(&one.fingerprint)?.range(later).next().copied())
    }
}

/// What is left of `whole` outside `covers`, but for what is no longer than `slack`; all of it where nothing covers any.
fn uncovered(whole: (Instant, Instant), mut covers: Vec<(Instant, Instant)>, slack: i64) -> Vec<(Instant, Instant)> {
    if covers.is_empty() {
        return vec![whole];
    }
    covers.sort();
    let (mut from, until) = whole;
    let mut pieces = Vec::new();
    for (start, end) in covers.into_iter().chain([(until, until)]) {
        let piece = (from, start.min(until));
        if piece.1.micros() - piece.0.micros() > slack {
            pieces.push(piece);
        }
        from = from.max(end);
    }
    pieces
}

/// What Alertmanager holds and nobody told: `held` fires there, and began before `horizon`.
pub fn untold(held: &[Observation], known: &[Observation], horizon: Instant) -> Vec<Observation> {
    let mut ends = Ends::default();
    known.iter().for_each(|one| ends.note(one));
    let mut starts: BTreeSet<(&str, Instant)> = BTreeSet::new();
    let mut firing: BTreeSet<&str> = BTreeSet::new();
    for one in known {
        starts.insert((&one.fingerprint, one.starts_at));
        if ends.of(one).is_none() {
            firing.insert(&one.fingerprint);
        }
    }
    let is_told = |one: &Observation| {
        starts.contains(&(one.fingerprint.as_str(), one.starts_at)) || firing.contains(one.fingerprint.as_str())
    };
    held.iter().filter(|one| one.starts_at <= horizon && !is_told(one)).cloned().collect()
}

/// Which samples of a heartbeat fill what is too long between the ones that were heard: from each on, the last sample within the
/// gap, or else the next one. The first and the last sample are heard too, where nothing near them was. Sorted.
pub fn unheard(samples: &[Instant], heard: &[Instant], gap_seconds: u32) -> Vec<Instant> {
    let gap = i64::from(gap_seconds) * SECOND;
    let samples: BTreeSet<Instant> = samples.iter().copied().collect();
    let mut beats: BTreeSet<Instant> = heard.iter().copied().collect();
    let mut unheard = BTreeSet::new();
    for edge in samples.first().into_iter().chain(samples.last()) {
        if beats.range(edge.plus(-gap / 2)..=edge.plus(gap / 2)).next().is_none() {
            beats.insert(*edge);
            unheard.insert(*edge);
        }
    }
    for (from, to) in beats.iter().zip(beats.iter().skip(1)) {
        let mut last = *from;
        while to.micros() - last.micros() > gap {
            let reach = last.plus(gap);
            let within = samples.range((Bound::Excluded(last), Bound::Included(reach))).next_back();
            let after = || samples.range((Bound::Excluded(reach), Bound::Excluded(*to))).next();
            let Some(next) = within.or_else(after) else { break };
            unheard.insert(*next);
            last = *next;
        }
    }
    unheard.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASE: i64 = 1_790_000_000 * SECOND;

    fn at(second: i64) -> Instant {
        Instant::from_micros(BASE + second * SECOND).unwrap()
    }

    fn labels(component: &str) -> BTreeMap<String, String> {
        [("alertname", "InboundDown"), ("component", component)].map(|(a, b)| (a.to_owned(), b.to_owned())).into()
    }

    fn series(component: &str, seconds: impl IntoIterator<Item = i64>) -> Series {
        Series {
            name: "InboundDown".to_owned(),
            labels: labels(component),
            at: seconds.into_iter().map(|second| at(second * 10)).collect(),
        }
    }

    fn told(fingerprint: &str, start: i64, end: Option<i64>) -> Observation {
        Observation {
            fingerprint: fingerprint.to_owned(),
            name: "InboundDown".to_owned(),
            labels: labels("mx-07"),
            starts_at: at(start),
            ends_at: end.map(at),
            observed_at: None,
            said: None,
        }
    }

    fn edges(all: &[Observation]) -> Vec<(&str, i64, Option<i64>)> {
        let second = |at: Instant| (at.micros() - BASE) / SECOND;
        all.iter().map(|one| (one.fingerprint.as_str(), second(one.starts_at), one.ends_at.map(second))).collect()
    }

    /// What it speaks of.
    fn component(one: &Observation) -> Vec<String> {
        one.labels.get("component").cloned().into_iter().collect()
    }

    /// A series of one of several instances that speak of mx-07.
    fn instance(number: u8, seconds: impl IntoIterator<Item = i64>) -> Series {
        let mut one = series("mx-07", seconds);
        one.labels.insert("instance".to_owned(), number.to_string());
        one
    }

    #[test]
    fn the_fingerprint_is_alertmanagers() {
        // As Alertmanager 0.25 gave it for these labels.
        let labels = [
            ("alertname", "ServiceDown"),
            ("cluster", "test"),
            ("instance", "http://127.0.0.1:9911/health"),
            ("job", "blackbox"),
            ("service", "checkout"),
            ("severity", "critical"),
            ("sla", "gold"),
        ];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(fingerprint(&labels), "e88c5e5cfa1e16fa");
    }

    #[test]
    fn samples_without_a_break_are_one_alert_that_ends_a_step_after_its_last() {
        let found = fired(&[series("mx-07", [1, 2, 3, 5, 8, 9])], 10, at(200));
        let times: Vec<_> = edges(&found).into_iter().map(|(_, start, end)| (start, end)).collect();
        assert_eq!(times, [(10, Some(60)), (80, Some(100))], "one missed sample is no break, two are");
        let found = fired(&[series("mx-07", [1, 2, 3])], 10, at(50));
        assert_eq!(found[0].ends_at, None, "what is not found to be over fires");
        assert_eq!(fired(&[series("mx-07", [1, 2, 3])], 10, at(51))[0].ends_at, Some(at(40)));
        assert_eq!(fired(&[series("mx-07", [])], 10, at(50)), []);
    }

    #[test]
    fn what_nobody_told_is_found_and_what_agrees_adds_nothing() {
        let found = fired(&[series("mx-07", 10..20)], 10, at(1_000));
        let missing = |known: &[Observation], horizon| missed(&found, known, 10, at(horizon), component);
        assert_eq!(missing(&[], 1_000), found);
        assert_eq!(missing(&[], 99), [], "it may still be told");
        assert_eq!(missing(&[told("f", 100, Some(200))], 1_000), []);
        assert_eq!(missing(&[told("f", 110, Some(400))], 1_000), [], "to within two steps");
        assert_eq!(missing(&[told("f", 221, None)], 1_000), found, "another one, later");
        let elsewhere = Observation { labels: labels("mx-08"), ..told("f", 100, Some(200)) };
        assert_eq!(missing(&[elsewhere], 1_000), found, "another component");
        // What we hold as firing is over.
        assert_eq!(edges(&missing(&[told("f", 100, None)], 1_000)), [("f", 100, Some(200))]);
        assert_eq!(missing(&[told("f", 100, None)], 199), [], "its end may still be told");
        let pair = [told("f", 100, Some(200)), told("f", 101, None)];
        assert_eq!(missing(&pair, 1_000), [], "two starts of one alert are over when either is");
        let two = [told("f", 100, Some(200)), told("g", 110, None)];
        assert_eq!(edges(&missing(&two, 1_000)), [("g", 110, Some(200))]);
    }

    #[test]
    fn an_alert_that_fired_twice_while_we_held_it_as_firing_is_two() {
        let found = fired(&[series("mx-07", (10..20).chain(40..50))], 10, at(1_000));
        let missing = missed(&found, &[told("f", 100, None)], 10, at(1_000), component);
        let own = found[0].fingerprint.as_str();
        assert_eq!(edges(&missing), [("f", 100, Some(200)), (own, 400, Some(500))]);
    }

    #[test]
    fn an_alert_that_was_said_to_be_over_and_went_on_is_missed_for_the_rest() {
        // Alertmanager lost sight of Prometheus, and took the alert to be over.
        let found = fired(&[series("mx-07", 10..60)], 10, at(1_000));
        let own = found[0].fingerprint.as_str();
        let missing = |known: &[Observation]| missed(&found, known, 10, at(1_000), component);
        assert_eq!(edges(&missing(&[told("f", 100, Some(300))])), [(own, 300, Some(600))]);
        assert_eq!(edges(&missing(&[told("f", 300, Some(600))])), [(own, 100, Some(300))]);
        let halves = [told("f", 100, Some(200)), told("f", 400, Some(700))];
        assert_eq!(edges(&missing(&halves)), [(own, 200, Some(400))]);
        let goes_on = fired(&[series("mx-07", 10..60)], 10, at(600));
        let missing = missed(&goes_on, &[told("f", 100, Some(300))], 10, at(600), component);
        assert_eq!(edges(&missing), [(own, 300, None)]);
    }

    #[test]
    fn what_still_fires_is_not_over_because_its_neighbour_is() {
        let found = fired(&[instance(1, 10..20), instance(2, 10..60)], 10, at(600));
        let [one, two] = &found[..] else { panic!("{found:?}") };
        assert_eq!((one.ends_at, two.ends_at), (Some(at(200)), None));
        let open = |one: &Observation| Observation { ends_at: None, ..one.clone() };
        let missing = |known: &[Observation]| missed(&found, known, 10, at(600), component);
        // Each is ended by its own series, and by no other.
        assert_eq!(missing(&[open(two)]), []);
        assert_eq!(missing(&[open(one), open(two)]), found[..1]);
        // While one that was told ends, the other goes on untold.
        let told_one = missing(&[open(one)]);
        assert_eq!(told_one[0], *one);
        assert_eq!(edges(&told_one[1..]), [(two.fingerprint.as_str(), 200, None)]);
        // Its labels were changed on the way: it may be either, and one of them goes on.
        assert_eq!(missing(&[told("f", 100, None)]), []);
        let both_over = fired(&[instance(1, 10..20), instance(2, 10..60)], 10, at(1_000));
        let missing = missed(&both_over, &[told("f", 100, None)], 10, at(1_000), component);
        assert_eq!(edges(&missing), [("f", 100, Some(600))]);
    }

    #[test]
    fn an_alert_that_means_nothing_yet_is_held_against_its_own_name_and_labels() {
        let found = fired(&[series("mx-07", 10..20)], 10, at(1_000));
        let nothing = |_: &Observation| Vec::<String>::new();
        let missing = |known: &[Observation]| missed(&found, known, 10, at(1_000), nothing);
        let mut more = told("f", 100, None);
        more.labels.insert("cluster".to_owned(), "north".to_owned());
        assert_eq!(edges(&missing(&[more.clone()])), [("f", 100, Some(200))], "Alertmanager was sent a label more");
        more.labels.insert("component".to_owned(), "mx-08".to_owned());
        assert_eq!(missing(&[more]), found, "another component");
        assert_eq!(missing(&[Observation { name: "QueueStuck".to_owned(), ..told("f", 100, None) }]), found);
    }

    #[test]
    fn alertmanager_is_believed_about_what_fires_and_was_not_told() {
        let held = [told("f", 100, None), told("g", 300, None)];
        assert_eq!(untold(&held, &[], at(299)), held[..1]);
        assert_eq!(untold(&held, &[told("f", 100, None)], at(1_000)), held[1..]);
        assert_eq!(untold(&held, &[told("f", 99, None)], at(1_000)), held[1..], "a pair may send two starts");
        assert_eq!(untold(&held, &[told("f", 10, Some(50))], at(1_000)), held, "an earlier one that is over");
    }

    #[test]
    fn an_address_is_one_of_a_server_and_of_nothing_more() {
        for good in ["http://prometheus:9090", "https://monitors.aoraki.example/prometheus/", "http://[::1]:9093"] {
            assert!(is_address(good), "{good}");
        }
        for bad in [
            "prometheus:9090",
            "ftp://a",
            "http://",
            "http:///x",
            "http://:80",
            "http://me:pass@host",
            "http://a?b",
            "http://a#b",
            "http://a b",
            "file:///etc/passwd",
        ] {
            assert!(!is_address(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn after_asking_nothing_is_missing_and_no_gap_is_left_that_samples_fill(
            samples in prop::collection::btree_set(0i64..300, 0..120),
            others in prop::collection::btree_set(0i64..300, 0..120),
            spoken in prop::collection::vec((0i64..3_000, prop::option::of(0i64..600), 0u8..4), 0..8),
            heard in prop::collection::vec(0i64..3_000, 0..20),
        ) {
            let both = [instance(1, samples.iter().copied()), instance(2, others)];
            let found = fired(&both, 10, at(10_000));
            let known: Vec<Observation> = spoken
                .into_iter()
                .map(|(start, length, name)| {
                    let own = both.get(usize::from(name)).map(|one| fingerprint(&one.labels));
                    told(&own.unwrap_or_else(|| format!("f{name}")), start, length.map(|length| start + length))
                })
                .collect();
            let missing = missed(&found, &known, 10, at(10_000), component);
            let all: Vec<Observation> = known.iter().chain(&missing).cloned().collect();
            prop_assert_eq!(missed(&found, &all, 10, at(10_000), component), []);

            let samples: Vec<Instant> = samples.into_iter().map(|second| at(second * 10)).collect();
            let heard: Vec<Instant> = heard.into_iter().map(at).collect();
            let (gap, more) = (60 * SECOND, unheard(&samples, &heard, 60));
            let beats: BTreeSet<Instant> = heard.iter().copied().chain(more.iter().copied()).collect();
            for (from, to) in beats.iter().zip(beats.iter().skip(1)) {
                // Either it is no longer than the gap, or the samples between do not bridge it.
                let steps: BTreeSet<Instant> =
                    samples.iter().copied().filter(|at| from < at && at < to).chain([*from, *to]).collect();
                let is_bridged = steps.iter().zip(steps.iter().skip(1)).all(|(a, b)| b.micros() - a.micros() <= gap);
                prop_assert!(!is_bridged || to.micros() - from.micros() <= gap, "{from:?} to {to:?}");
            }
            for edge in samples.first().into_iter().chain(samples.last()) {
                prop_assert!(beats.range(edge.plus(-gap / 2)..=edge.plus(gap / 2)).next().is_some());
            }
            prop_assert!(more.iter().all(|beat| !heard.contains(beat)));
        }
    }
}
