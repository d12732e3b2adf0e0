//! Observations folded into outage windows: the same whatever the order in which they came, however often they were told.
//!
//! The rules. An alert is known by its source, fingerprint and start. Told again it is one; told with several ends, the one
//! that holds is chosen before (see [`crate::domain::observation::Observation::observed_at`]). A resolve that comes before its
//! fire is the whole alert. Times are corrected by the alert's rule.
//!
//! *Silence.* A monitor that dies looks like recovery. So the end that a source says is believed once the source is known to
//! have lived then: it was heard both before and after, with no longer silence between than its gap. Until that is settled
//! the alert goes on. Where the end fell into a silence, the alert is believed up to when the source was last heard, and from
//! then on until it is heard again nothing is known of it. An alert whose end was never told is over when another start of
//! the same source and fingerprint is known to be over, since they are one alert told twice: a pair of servers may send two
//! starts, and a server that came back sends a new one.
//!
//! *Verdict.* At each instant every source says down, or nothing; one that watches the thing also says by its quiet that it
//! works, and by its silence that it does not know. [`Verdict`] makes one answer of them: down, up, or unknown, which is
//! neither. Time that is down without a gap is one window, and so is time that is unknown; an alert that flaps within its own
//! correction is one outage, and one that stays away longer is two.

use std::collections::{BTreeMap, BTreeSet};

use super::ids::WindowId;
use super::monitors::{Group, Verdict};
use super::observation::ObservationKey;
use super::time::{Instant, Interval, IntervalSet, SECOND};
use super::window::{Certainty, Correction, Report};

/// One observation as it holds, with the correction of its rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub key: ObservationKey,
    pub ends_at: Option<Instant>,
    pub correction: Correction,
}

/// What is known of the life of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It sends no heartbeat: it is taken at its word.
    TakenAtItsWord,
    /// When it was first and last heard (none: never), and the silences between that were longer than its gap.
    Heartbeats { heard: Option<(Instant, Instant)>, silences: Vec<Silence> },
}

/// From a heartbeat to the next, further apart than the source's gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Silence {
    pub from: Instant,
    /// None while it goes on.
    pub to: Option<Instant>,
}

impl Silence {
    /// The time between, without its ends; none for a silence that was broken.
    pub fn interval(&self) -> Option<Interval> {
        Interval::new(self.from, self.to.unwrap_or(Instant::MAX)).ok()
    }
}

/// What is known of whether a source lived at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Alive,
    /// It was not heard since; the next heartbeat or its silence will tell.
    NotYetKnown,
    /// It was silent: since when (none: it had never been heard), and until when (none: it still is).
    Silent {
        since: Option<Instant>,
        until: Option<Instant>,
    },
}

impl Liveness {
    /// `heard` in any order, and a silence where two of them lie further apart than `gap_seconds`.
    pub fn of_heartbeats(gap_seconds: u32, heard: impl IntoIterator<Item = Instant>) -> Self {
        let heard: BTreeSet<Instant> = heard.into_iter().collect();
        let gap = i64::from(gap_seconds) * SECOND;
        let pairs = heard.iter().zip(heard.iter().skip(1));
        let silences = pairs
            .filter(|(from, to)| to.micros() - from.micros() > gap)
            .map(|(from, to)| Silence { from: *from, to: Some(*to) })
            .collect();
        Liveness::Heartbeats { heard: heard.first().copied().zip(heard.last().copied()), silences }
    }

    fn at(&self, at: Instant) -> Life {
        let (heard, silences) = match self {
            Liveness::TakenAtItsWord => return Life::Alive,
            Liveness::Heartbeats { heard, silences } => (heard, silences),
        };
        let Some((first, last)) = *heard else { return Life::NotYetKnown };
        if at < first {
            return Life::Silent { since: None, until: Some(first) };
        }
        if let Some(silence) = silences.iter().find(|one| one.from < at && one.to.is_none_or(|to| at < to)) {
            return Life::Silent { since: Some(silence.from), until: silence.to };
        }
        if at > last { Life::NotYetKnown } else { Life::Alive }
    }

    fn silences(&self) -> impl Iterator<Item = Interval> {
        let silences = match self {
            Liveness::TakenAtItsWord => &[][..],
            Liveness::Heartbeats { silences, .. } => silences.as_slice(),
        };
        silences.iter().filter_map(Silence::interval)
    }

    /// When the silence began that has not ended; none where the source was heard lately.
    fn silent_since(&self) -> Option<Instant> {
        match self {
            Liveness::TakenAtItsWord => None,
            Liveness::Heartbeats { silences, .. } => silences.iter().find(|one| one.to.is_none()).map(|one| one.from),
        }
    }
}

/// What is asked of the statements.
#[derive(Debug)]
pub struct Question<'a> {
    pub group: &'a Group,
    /// The sources whose quiet means that it works, and from when on.
    pub watchers: BTreeMap<String, Instant>,
    /// Whether a silence of those who watch shows in this group; else it shows in another of the same capability.
    pub tells_of_silence: bool,
}

/// A window as the sources make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded {
    /// Derived from its earliest observation, so that the same evidence makes the same window.
    pub id: WindowId,
    pub certainty: Certainty,
    pub start: Instant,
    /// None while it goes on.
    pub end: Option<Instant>,
    /// One for each source, by name.
    pub reports: Vec<Report>,
    /// What it was made of, sorted. None where nobody said anything.
    pub members: Vec<ObservationKey>,
    /// Members whose source says that it is over, and was not known to be alive then: source and the end that it said.
    pub unknown_ends: Vec<(String, Instant)>,
}

/// One observation after correction.
#[derive(Debug)]
struct Span {
    key: ObservationKey,
    start: Instant,
    /// Where it counts as over; none while it goes on.
    end: Option<Instant>,
    /// Where nothing is known of it after that.
    unknown: Option<Interval>,
    correction: Correction,
    unknown_end: Option<Instant>,
}

impl Span {
    fn down(&self) -> Option<Interval> {
        Interval::new(self.start, self.end.unwrap_or(Instant::MAX)).ok()
    }

    /// Whether any of it lies in or at the edges of `run`.
    fn touches(&self, run: Interval) -> bool {
        self.start <= run.end() && self.end.unwrap_or(Instant::MAX) >= run.start()
    }
}

/// What one source says, over all time.
#[derive(Debug, Default)]
struct Timeline {
    down: IntervalSet,
    /// Where the source itself was silent, or an alert of it ended unheard.
    tails: IntervalSet,
    silence: IntervalSet,
    /// From when on its quiet says something.
    watches_from: Option<Instant>,
}

/// What a source says at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vote {
    Down,
    Up,
    Unknown,
    Nothing,
}

/// What is held to be true at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Down,
    Unknown,
    Up,
}

/// Folds what was said about one group. `verdict` says how those who watch it decide at an instant. A source that `liveness`
/// does not know is taken to be silent: its resolves are not believed.
pub fn fold<'a>(
    question: &Question<'_>,
    statements: &[Statement],
    liveness: &BTreeMap<String, Liveness>,
    verdict: impl Fn(Instant) -> &'a Verdict,
) -> Vec<Folded> {
    let spans = spans(statements, liveness);
    let sources = timelines(question, &spans, liveness);
    let mut points: BTreeSet<Instant> = BTreeSet::new();
    for source in sources.values() {
        for set in [&source.down, &source.tails, &source.silence] {
            points.extend(set.intervals().iter().flat_map(|interval| [interval.start(), interval.end()]));
        }
        points.extend(source.watches_from);
    }
    let points: Vec<Instant> = points.into_iter().collect();
    let (mut down, mut unknown) = (Vec::new(), Vec::new());
    for piece in points.windows(2).filter_map(|pair| Interval::new(pair[0], pair[1]).ok()) {
        let votes: Vec<(&str, Vote)> =
            sources.iter().map(|(name, source)| (name.as_str(), source.vote(piece))).collect();
        match decide(verdict(piece.start()), &votes, &sources, piece.start()) {
            State::Down => down.push(piece),
            State::Unknown => {
                let is_silence = sources.values().any(|source| source.silence.covers(piece));
                if question.tells_of_silence || !is_silence {
                    unknown.push(piece);
                }
            }
            State::Up => {}
        }
    }
    let mut taken: BTreeSet<ObservationKey> = BTreeSet::new();
    let mut folded: Vec<Folded> = IntervalSet::from_iter(down)
        .intervals()
        .iter()
        .filter_map(|run| known(question.group, *run, &spans, &mut taken))
        .collect();
    let unknown = IntervalSet::from_iter(unknown);
    folded.extend(unknown.intervals().iter().map(|run| not_known(question.group, *run, &sources)));
    folded.sort_by_key(|one| (one.start, one.id));
    folded
}

/// When the outage that an alert speaks of began, as its rule corrects it.
pub fn corrected_start(starts_at: Instant, correction: Correction) -> Instant {
    starts_at.plus(-SECOND * (i64::from(correction.for_seconds) + i64::from(correction.scrape_seconds)))
}

/// Each alert once, corrected, sorted by start.
fn spans(statements: &[Statement], liveness: &BTreeMap<String, Liveness>) -> Vec<Span> {
    let mut latest: BTreeMap<&ObservationKey, (Option<Instant>, Correction)> = BTreeMap::new();
    for statement in statements {
        latest
            .entry(&statement.key)
            .and_modify(|(ends_at, _)| *ends_at = (*ends_at).max(statement.ends_at))
            .or_insert((statement.ends_at, statement.correction));
    }
    let never_heard = Liveness::Heartbeats { heard: None, silences: Vec::new() };
    let life = |source: &str| liveness.get(source).unwrap_or(&never_heard);
    let mut known_ends: BTreeMap<(&str, &str), BTreeSet<Instant>> = BTreeMap::new();
    for (key, (ends_at, _)) in &latest {
        let believed = ends_at.filter(|at| life(&key.source).at(*at) == Life::Alive);
        known_ends.entry((&key.source, &key.fingerprint)).or_default().extend(believed);
    }
    let mut spans: Vec<Span> = latest
        .into_iter()
        .map(|(key, (ends_at, correction))| {
            let known = known_ends.get(&(key.source.as_str(), key.fingerprint.as_str()));
            span(key, ends_at, correction, known, life(&key.source))
        })
        .collect();
    spans.sort_by(|a, b| (a.start, &a.key).cmp(&(b.start, &b.key)));
    spans
}

/// `known` are the ends of this alert, under any start, that are believed.
fn span(
    key: &ObservationKey,
    ends_at: Option<Instant>,
    correction: Correction,
    known: Option<&BTreeSet<Instant>>,
    life: &Liveness,
) -> Span {
    let start = corrected_start(key.starts_at, correction);
    let whole = |end, unknown, unknown_end| Span { key: key.clone(), start, end, unknown, correction, unknown_end };
    let own = ends_at.filter(|said| known.is_some_and(|known| known.contains(said)));
    let said = own.or_else(|| known?.iter().find(|end| **end > key.starts_at).copied());
    if let Some(said) = said {
        // A rule that says to hold on longer than the alert lasted cannot have ended it before it began.
        let end = said.plus(-SECOND * i64::from(correction.keep_firing_seconds)).max(key.starts_at);
        return whole(Some(end), None, None);
    }
    let silence = match ends_at.map(|at| life.at(at)) {
        Some(Life::Silent { since, until }) => Some((since, until)),
        Some(Life::Alive | Life::NotYetKnown) => None,
        None => life.silent_since().map(|since| (Some(since), None)),
    };
    let Some((since, until)) = silence else { return whole(None, None, ends_at) };
    // Who told of it was alive when it began to fire, whatever was heard.
    let heard = since.map_or(key.starts_at, |since| since.max(key.starts_at));
    whole(Some(heard), Interval::new(heard, until.unwrap_or(Instant::MAX)).ok(), ends_at)
}

fn timelines(
    question: &Question<'_>,
    spans: &[Span],
    liveness: &BTreeMap<String, Liveness>,
) -> BTreeMap<String, Timeline> {
    let mut sources: BTreeMap<String, Timeline> = BTreeMap::new();
    for (name, from) in &question.watchers {
        let silence: IntervalSet = liveness.get(name).map(|life| life.silences().collect()).unwrap_or_default();
        let silence =
            Interval::new(*from, Instant::MAX).map_or_else(|_| IntervalSet::empty(), |since| silence.clipped(since));
        sources.insert(name.clone(), Timeline { silence, watches_from: Some(*from), ..Timeline::default() });
    }
    let mut by_source: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    for span in spans {
        by_source.entry(&span.key.source).or_default().push(span);
    }
    for (name, spans) in by_source {
        let source = sources.entry(name.to_owned()).or_default();
        source.down = spans.iter().filter_map(|span| span.down()).collect();
        source.tails = spans.iter().filter_map(|span| span.unknown).collect();
    }
    sources
}

impl Timeline {
    fn watches_at(&self, at: Instant) -> bool {
        self.watches_from.is_some_and(|from| from <= at)
    }

    /// `piece` lies between two neighbouring edges of everything that was said.
    fn vote(&self, piece: Interval) -> Vote {
        if self.down.covers(piece) {
            Vote::Down
        } else if self.tails.covers(piece) || self.silence.covers(piece) {
            Vote::Unknown
        } else if self.watches_at(piece.start()) {
            Vote::Up
        } else {
            Vote::Nothing
        }
    }
}

fn decide(verdict: &Verdict, votes: &[(&str, Vote)], sources: &BTreeMap<String, Timeline>, at: Instant) -> State {
    let watching = || votes.iter().filter(|(name, _)| sources.get(*name).is_some_and(|source| source.watches_at(at)));
    let count = |vote: Vote| watching().filter(|(_, one)| *one == vote).count();
    let known = count(Vote::Down) + count(Vote::Up);
    match verdict {
        Verdict::Any => any_of(votes.iter()),
        Verdict::All if known == 0 => State::Unknown,
        Verdict::All if count(Vote::Up) == 0 => State::Down,
        Verdict::AtLeast(least) => {
            let least = usize::try_from(*least).unwrap_or(usize::MAX);
            if count(Vote::Down) >= least {
                State::Down
            } else if known < least {
                State::Unknown
            } else {
                State::Up
            }
        }
        Verdict::All => State::Up,
        Verdict::Primary(primary) => match votes.iter().find(|(name, _)| name == primary).map(|(_, vote)| *vote) {
            Some(Vote::Down) => State::Down,
            Some(Vote::Up) => State::Up,
            Some(Vote::Unknown | Vote::Nothing) | None => any_of(votes.iter().filter(|(name, _)| name != primary)),
        },
    }
}

/// Down as soon as one says so; up where one who watches says so; unknown where somebody does not know.
fn any_of<'a>(votes: impl Iterator<Item = &'a (&'a str, Vote)> + Clone) -> State {
    let some = |wanted: Vote| votes.clone().any(|(_, vote)| *vote == wanted);
    if some(Vote::Down) {
        State::Down
    } else if some(Vote::Up) || !some(Vote::Unknown) {
        State::Up
    } else {
        State::Unknown
    }
}

/// The window of time that is down without a gap. `taken` are the alerts that belong to an earlier one.
fn known(group: &Group, run: Interval, spans: &[Span], taken: &mut BTreeSet<ObservationKey>) -> Option<Folded> {
    let touching: Vec<&Span> = spans.iter().filter(|span| span.touches(run)).collect();
    let first = touching.first()?;
    let key = format!("{}\u{1f}{}\u{1f}{}", first.key.fingerprint, first.key.starts_at.micros(), group.capability.0);
    // One alert may have a part in two windows, where others have to agree.
    let key = if taken.contains(&first.key) { format!("{key}\u{1f}{}", run.start().micros()) } else { key };
    let id = WindowId::of(&first.key.source, &key);
    let mut by_source: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    for span in &touching {
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
    let unknown_ends = touching.iter().filter_map(|span| Some((span.key.source.clone(), span.unknown_end?))).collect();
    let members: BTreeSet<ObservationKey> =
        touching.iter().map(|span| span.key.clone()).filter(|key| !taken.contains(key)).collect();
    taken.extend(members.iter().cloned());
    let (start, end) = (run.start(), ended(run));
    let members = members.into_iter().collect();
    Some(Folded { id, certainty: Certainty::Known, start, end, reports, members, unknown_ends })
}

/// The window of time of which nobody knows. Its reports say who was silent, and when.
fn not_known(group: &Group, run: Interval, sources: &BTreeMap<String, Timeline>) -> Folded {
    let about = serde_json::to_string(group).unwrap_or_default();
    let id = WindowId::of("unknown", &format!("{about}\u{1f}{}", run.start().micros()));
    let mut reports = Vec::new();
    for (name, source) in sources {
        let silent: Vec<Interval> = [&source.tails, &source.silence]
            .into_iter()
            .flat_map(|set| set.intervals().iter().filter_map(|one| one.intersection(run)))
            .collect();
        let start = silent.iter().map(|one| one.start()).min();
        reports.extend(start.map(|start| Report {
            source: name.clone(),
            start,
            end: latest_end(silent.iter().map(|one| ended(*one))),
            correction: None,
        }));
    }
    let (start, end) = (run.start(), ended(run));
    let (members, unknown_ends) = (Vec::new(), Vec::new());
    Folded { id, certainty: Certainty::Unknown, start, end, reports, members, unknown_ends }
}

/// None for what goes on.
fn ended(run: Interval) -> Option<Instant> {
    (run.end() != Instant::MAX).then_some(run.end())
}

/// The latest of all ends; none if one of them is still to come.
fn latest_end(ends: impl Iterator<Item = Option<Instant>>) -> Option<Instant> {
    ends.collect::<Option<Vec<Instant>>>().and_then(|ends| ends.into_iter().max())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::observation::About;
    use crate::domain::time::MINUTE;
    use crate::domain::window::{Capability, Impact};

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
        Liveness::of_heartbeats(180, minutes.into_iter().map(minute))
    }

    fn group() -> Group {
        Group {
            about: About::Component("inbound".to_owned()),
            capability: Capability("receive".to_owned()),
            impact: Impact::Full,
        }
    }

    /// Nobody watches, and anybody may say that it is down.
    fn fold(statements: &[Statement], liveness: &BTreeMap<String, Liveness>) -> Vec<Folded> {
        let question = Question { group: &group(), watchers: BTreeMap::new(), tells_of_silence: true };
        super::fold(&question, statements, liveness, |_| &Verdict::Any)
    }

    /// Windows of what `a`, `b` and `c`, who all watch, say under `verdict`: from, to and whether it is known.
    fn judged(verdict: &Verdict, statements: &[Statement], lives: [Liveness; 3]) -> Vec<(i64, Option<i64>, bool)> {
        let liveness: BTreeMap<String, Liveness> = ["a", "b", "c"].into_iter().map(str::to_owned).zip(lives).collect();
        let watchers = liveness.keys().map(|name| (name.clone(), Instant::MIN)).collect();
        let question = Question { group: &group(), watchers, tells_of_silence: true };
        let minutes = |at: Instant| (at.micros() - BASE) / MINUTE;
        super::fold(&question, statements, &liveness, |_| verdict)
            .into_iter()
            .map(|one| (minutes(one.start), one.end.map(minutes), one.certainty == Certainty::Known))
            .collect()
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
        let silent = with(heard([38, 42]));
        let known = [(minute(10), Some(minute(38))), (minute(38), Some(minute(42)))];
        assert_eq!(edges(&silent), known, "a silence of four minutes is too long");
        let certainties: Vec<Certainty> = silent.iter().map(|one| one.certainty).collect();
        assert_eq!(certainties, [Certainty::Known, Certainty::Unknown]);
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
    fn a_monitor_that_is_silent_knows_nothing_and_one_that_watches_beside_it_does() {
        let dead = || heard([0, 1, 2, 30, 31]);
        let words = || Liveness::TakenAtItsWord;
        let said = [said("a", "f", 1, Some(20))];
        let some = |lives| judged(&Verdict::Any, &said, lives);
        assert_eq!(some([dead(), dead(), dead()]), [(1, Some(2), true), (2, Some(30), false)]);
        assert_eq!(some([dead(), words(), dead()]), [(1, Some(2), true)], "b watches, and says nothing");
        let still = Liveness::Heartbeats {
            heard: Some((minute(0), minute(5))),
            silences: vec![Silence { from: minute(5), to: None }],
        };
        let going_on = [super::tests::said("a", "f", 1, None)];
        let all_still = [still.clone(), still.clone(), still];
        assert_eq!(judged(&Verdict::Any, &going_on, all_still), [(1, Some(5), true), (5, None, false)]);
        // An alert that outlasts the silence of its source was down all the while.
        let longer = [super::tests::said("a", "f", 1, Some(31))];
        assert_eq!(judged(&Verdict::Any, &longer, [dead(), dead(), dead()]), [(1, Some(31), true)]);
    }

    #[test]
    fn those_who_watch_decide_as_the_component_says() {
        let told = [said("a", "f", 0, Some(30)), said("b", "g", 10, Some(40)), said("c", "h", 20, Some(25))];
        let words = || [Liveness::TakenAtItsWord, Liveness::TakenAtItsWord, Liveness::TakenAtItsWord];
        assert_eq!(judged(&Verdict::Any, &told, words()), [(0, Some(40), true)]);
        assert_eq!(judged(&Verdict::All, &told, words()), [(20, Some(25), true)]);
        assert_eq!(judged(&Verdict::AtLeast(2), &told, words()), [(10, Some(30), true)]);
        assert_eq!(judged(&Verdict::Primary("b".to_owned()), &told, words()), [(10, Some(40), true)]);

        // From 2 to 40 nothing is heard of b and c.
        let silent = || heard([0, 1, 2, 40, 41]);
        let lives = || [Liveness::TakenAtItsWord, silent(), silent()];
        let told = [said("a", "f", 10, Some(30))];
        assert_eq!(judged(&Verdict::All, &told, lives()), [(10, Some(30), true)], "all that are heard");
        assert_eq!(judged(&Verdict::AtLeast(2), &told, lives()), [(2, Some(40), false)], "one voice is not two");
        assert_eq!(judged(&Verdict::Primary("b".to_owned()), &told, lives()), [(10, Some(30), true)]);
    }

    #[test]
    fn one_alert_may_have_a_part_in_two_windows() {
        let told = [said("a", "f", 0, Some(60)), said("b", "g", 10, Some(20)), said("b", "h", 40, Some(50))];
        let liveness = words();
        let watchers = liveness.keys().map(|name| (name.clone(), Instant::MIN)).collect();
        let question = Question { group: &group(), watchers, tells_of_silence: true };
        let folded = super::fold(&question, &told, &liveness, |_| &Verdict::All);
        assert_eq!(edges(&folded), [(minute(10), Some(minute(20))), (minute(40), Some(minute(50)))]);
        assert_ne!(folded[0].id, folded[1].id);
        assert_eq!(folded.iter().map(|one| one.members.len()).collect::<Vec<_>>(), [2, 1]);
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

            // Windows neither overlap nor touch, and no observation is in two.
            let known: Vec<_> = folded.iter().filter(|one| one.certainty == Certainty::Known).collect();
            for pair in known.windows(2) {
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
