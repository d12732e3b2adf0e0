//! Windows laid over where a mailbox lived: which of its time was down, for which window it counts, and why the rest of
//! each window does not.
//!
//! The steps from the capability rule to the weights of [`crate::domain::assess`] are here, for one history at a time. The time is cut
//! into atoms, each with the same windows from its start to its end, and each atom is judged on its own; then those that
//! join are looked at as one outage, for what depends on its report, its length and its edges.

use super::assessment::{Piece, PieceKind, Uncounted, Why};
use super::excuse::Outside;
use super::laid::{Laid, Severity, Standing, Weight};
use crate::domain::ratio::{Overflow, Ratio};
use crate::domain::remedy::{Down, LengthOf, OutageLength, Rule};
use crate::domain::terms::{Edges, UnknownTime};
use crate::domain::time::{Instant, Interval, IntervalSet, SECOND};
use crate::domain::window::{Capability, Impact};

/// What time is judged against: a remedy, and the time in which one version of the terms judges it.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub down: &'a Down,
    /// What is promised here: the remedy's capabilities, or the one of them that is judged alone.
    pub capabilities: &'a [Capability],
    pub length: OutageLength,
    pub edges: Edges,
    pub unknown: Option<UnknownTime>,
    /// The period, or the part of it that is judged.
    pub span: Interval,
    /// Only outages that began in this time count; none where that does not matter.
    pub began: Option<Interval>,
    pub outside: &'a Outside,
}

/// Where one mailbox lived, sorted.
pub(super) type Home<'a> = Vec<(Interval, &'a str)>;

/// One history, judged. Windows are named by their index in the list that was given.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub counted_micros: i64,
    pub weighted: Weighed,
    pub excused_micros: i64,
    pub felt: Vec<Felt>,
    pub pieces: Vec<Piece>,
    /// The outages that count, by start.
    pub outages: Vec<Outage>,
}

/// Time down that joins without a gap, as far as it counts.
#[derive(Debug)]
pub(super) struct Outage {
    /// When its clock started: when it began, or was reported. Pauses do not move it.
    pub began: Instant,
    pub counted: IntervalSet,
    pub weighted: Weighed,
    pub severity: Severity,
}

/// Microseconds by their weight: exact, and cheap while there are few weights.
#[derive(Clone, Debug, Default)]
pub(super) struct Weighed(Vec<(Ratio, i64)>);

impl Weighed {
    fn add(&mut self, micros: i64, weight: Weight) {
        match self.0.iter_mut().find(|(known, _)| *known == weight.0) {
            Some((_, sum)) => *sum += micros,
            None => self.0.push((weight.0, micros)),
        }
    }

    /// In microseconds.
    pub fn total(&self) -> Result<Ratio, Overflow> {
        self.0.iter().try_fold(Ratio::ZERO, |sum, (weight, micros)| sum.plus(weight.times(Ratio::whole(*micros))?))
    }
}

/// One window as this history felt it.
#[derive(Debug)]
pub(super) struct Felt {
    pub window: usize,
    pub measured_micros: i64,
    pub counted_micros: i64,
    pub uncounted: Vec<Uncounted>,
    pub outside_period_micros: i64,
}

/// A stretch of time with the same windows from start to end.
struct Atom {
    interval: Interval,
    /// The windows on it: a range of the sweep's common list.
    active: std::ops::Range<usize>,
    /// Whether it would be down if nothing were excused.
    down_before_cuts: bool,
    /// The window that it counts for, and its weight.
    counts: Option<(usize, Weight)>,
    /// A window that excuses it, or a part of what is on it.
    excused_by: Option<usize>,
    /// Why it does not count although it is down: what stands outside, or what became of the whole outage.
    dropped: Option<Why>,
    /// Whether it belongs to the time that is judged.
    is_inside: bool,
}

/// Lays `windows` over where one mailbox lived, or several that are down while any of them is, and judges all time of them.
pub(super) fn judge(windows: &[Laid<'_>], homes: &[Home<'_>], frame: &Frame<'_>) -> Judged {
    let (mut atoms, active) = atoms(windows, homes, frame);
    let joins = |a: &Atom, b: &Atom| a.down_before_cuts && b.down_before_cuts && a.interval.end() == b.interval.start();
    let mut judged = Judged::default();
    for outage in atoms.chunk_by_mut(joins) {
        if outage.iter().any(|atom| atom.down_before_cuts) {
            let began = settle(outage, frame);
            judged.outages.extend(began.and_then(|began| remembered(outage, began, windows)));
        }
    }
    for atom in &atoms {
        record(&mut judged, atom, active.get(atom.active.clone()).unwrap_or_default(), windows, frame);
    }
    judged.felt.sort_unstable_by_key(|felt| felt.window);
    for felt in &mut judged.felt {
        felt.uncounted.sort_unstable_by_key(|part| part.why);
    }
    judged
}

/// The sweep: cuts at each point where a window, an excuse, a pause or the period begins or ends for this history.
fn atoms(windows: &[Laid<'_>], homes: &[Home<'_>], frame: &Frame<'_>) -> (Vec<Atom>, Vec<usize>) {
    // A point with a window is one where the window begins (true) or ends at a home; one without is only a cut.
    let mut points: Vec<(Instant, Option<(AtHome, bool)>)> = vec![(frame.span.start(), None), (frame.span.end(), None)];
    points.extend(frame.outside.edges().map(|at| (at, None)));
    for (index, laid) in windows.iter().enumerate() {
        for (home, stays) in homes.iter().enumerate() {
            let on: IntervalSet = stays
                .iter()
                .filter(|(_, shard)| laid.window.scope.covers(shard))
                .filter_map(|(stay, _)| stay.intersection(laid.interval))
                .collect();
            for part in on.intervals() {
                points.push((part.start(), Some(((index, home), true))));
                points.push((part.end(), Some(((index, home), false))));
            }
        }
        points.extend(laid.excuses.iter().flat_map(|excuse| [(excuse.start(), None), (excuse.end(), None)]));
    }
    points.sort_unstable();
    let mut atoms = Vec::with_capacity(points.len());
    let mut listed: Vec<usize> = Vec::with_capacity(points.len() * 2);
    let mut active: Vec<AtHome> = Vec::new();
    let mut since = Instant::MIN;
    for (at, change) in points {
        if let Ok(interval) = Interval::new(since, at)
            && !active.is_empty()
        {
            let from = listed.len();
            for (window, _) in &active {
                if !listed[from..].contains(window) {
                    listed.push(*window);
                }
            }
            let range = from..listed.len();
            atoms.push(judge_atom(interval, range, &active, homes.len(), windows, frame));
        }
        since = at;
        match change {
            Some((felt, true)) => active.push(felt),
            Some((felt, false)) => active.retain(|one| *one != felt),
            None => {}
        }
    }
    (atoms, listed)
}

/// A window at one home, by their indexes.
type AtHome = (usize, usize);

/// Each home is judged by what it felt itself: work that was announced for one does not excuse what another lost.
fn judge_atom(
    interval: Interval,
    range: std::ops::Range<usize>,
    active: &[AtHome],
    homes: usize,
    windows: &[Laid<'_>],
    frame: &Frame<'_>,
) -> Atom {
    let dropped = frame.outside.why(interval);
    let is_inside = frame.span.intersection(interval).is_some();
    let mut atom =
        Atom { interval, active: range, down_before_cuts: false, counts: None, excused_by: None, dropped, is_inside };
    for home in 0..homes {
        let mine: Vec<usize> = active.iter().filter(|(_, at)| *at == home).map(|(window, _)| *window).collect();
        let excused_by = mine.iter().copied().filter(|by| excuses_at(*by, interval, windows)).min();
        let before = lost(mine.iter().copied(), windows, frame);
        let counts = match (dropped, excused_by) {
            (Some(_), _) => None,
            (None, None) => before,
            (None, Some(_)) => {
                let left = mine.iter().copied().filter(|window| excuse_of(*window, &mine, interval, windows).is_none());
                lost(left, windows, frame)
            }
        };
        atom.down_before_cuts |= before.is_some();
        atom.excused_by = atom.excused_by.into_iter().chain(excused_by).min();
        let all = atom.counts.into_iter().chain(counts);
        atom.counts = all.min_by_key(|(window, _)| windows[*window].precedence());
    }
    atom
}

fn excuses_at(by: usize, at: Interval, windows: &[Laid<'_>]) -> bool {
    windows[by].excuses.is_some_and(|excuse| excuse.intersection(at).is_some())
}

/// The planned window that excuses `window` at `at`: itself, or another that takes all that `window` takes.
fn excuse_of(window: usize, active: &[usize], at: Interval, windows: &[Laid<'_>]) -> Option<usize> {
    if excuses_at(window, at, windows) {
        return Some(window);
    }
    let taken = &windows[window].window.capability;
    active
        .iter()
        .copied()
        .filter(|by| excuses_at(*by, at, windows) && taken.is_within(&windows[*by].window.capability))
        .min()
}

/// The capability rule: the window for which the time counts, and its weight.
fn lost(
    active: impl Iterator<Item = usize> + Clone,
    windows: &[Laid<'_>],
    frame: &Frame<'_>,
) -> Option<(usize, Weight)> {
    let weighed = active.filter_map(|window| windows[window].weight().map(|weight| (window, weight)));
    match frame.down.rule {
        Rule::Any | Rule::Each => weighed.min_by_key(|(window, _)| windows[*window].precedence()),
        // The capability that is lost least decides the weight.
        Rule::All => (0..frame.capabilities.len())
            .map(|promised| {
                weighed
                    .clone()
                    .filter(|(window, _)| windows[*window].takes.contains(&promised))
                    .min_by_key(|(window, _)| windows[*window].precedence())
            })
            .collect::<Option<Vec<_>>>()?
            .into_iter()
            .min_by_key(|(window, weight)| (*weight, windows[*window].precedence())),
    }
}

/// What becomes of one outage as a whole: from when on it was reported, whether it is long enough, whether these terms judge
/// it, and which period it belongs to. Says when its clock started; none where it never did.
fn settle(outage: &mut [Atom], frame: &Frame<'_>) -> Option<Instant> {
    let (start, end) = (outage.first()?.interval.start(), outage.last()?.interval.end());
    let mut began = Some(start);
    if let Some(reports) = &frame.outside.reports {
        let first = reports.iter().copied().find(|at| start <= *at && *at < end);
        began = first;
        drop_where(outage, |atom| match first {
            None => Some(Why::NotReported),
            Some(first) => (atom.interval.start() < first).then_some(Why::BeforeReport),
        });
    }
    match frame.length {
        OutageLength::Any => {}
        OutageLength::AtLeast { seconds, of } => {
            let least = i64::from(seconds) * SECOND;
            drop_by_length(outage, of, Why::OutageTooShort, |length| length < least);
        }
        OutageLength::LongerThan { seconds, of } => {
            let most = i64::from(seconds) * SECOND;
            drop_by_length(outage, of, Why::OutageTooShort, |length| length <= most);
        }
        OutageLength::Below { seconds, of } => {
            let most = i64::from(seconds) * SECOND;
            drop_by_length(outage, of, Why::OutageTooLong, |length| length >= most);
        }
    }
    let is_others = frame.began.is_some_and(|began| start < began.start() || start >= began.end());
    drop_where(outage, |_| is_others.then_some(Why::OtherTerms));
    let belongs = match frame.edges {
        Edges::Cut => return began,
        Edges::WhereItBegan => frame.span.start() <= start && start < frame.span.end(),
        Edges::WhereItEnded => frame.span.start() < end && end <= frame.span.end(),
    };
    for atom in outage.iter_mut() {
        atom.is_inside |= belongs;
    }
    drop_where(outage, |_| (!belongs).then_some(Why::OtherPeriod));
    began
}

/// Drops an outage, or pieces of it, whose length is wrong.
fn drop_by_length(outage: &mut [Atom], of: LengthOf, why: Why, is_wrong: impl Fn(i64) -> bool) {
    let length = |atoms: &[Atom], counts: fn(&Atom) -> bool| -> i64 {
        atoms.iter().filter(|atom| counts(atom)).map(|atom| atom.interval.micros()).sum()
    };
    let is_dropped = |atoms: &[Atom]| match of {
        LengthOf::BeforeCuts => is_wrong(length(atoms, |atom| atom.down_before_cuts)),
        LengthOf::WhatIsLeft | LengthOf::EachPieceLeft => is_wrong(length(atoms, |atom| atom.counts.is_some())),
    };
    match of {
        LengthOf::BeforeCuts | LengthOf::WhatIsLeft => {
            let dropped = is_dropped(outage);
            drop_where(outage, |_| dropped.then_some(why));
        }
        LengthOf::EachPieceLeft => {
            for piece in outage.chunk_by_mut(|a, b| a.counts.is_some() && b.counts.is_some()) {
                let dropped = is_dropped(piece);
                drop_where(piece, |_| dropped.then_some(why));
            }
        }
    }
}

fn drop_where(outage: &mut [Atom], why: impl Fn(&Atom) -> Option<Why>) {
    for atom in outage.iter_mut().filter(|atom| atom.counts.is_some()) {
        if let Some(why) = why(atom) {
            atom.counts = None;
            atom.dropped = Some(why);
        }
    }
}

/// The outage as far as it counts in the time that is judged.
fn remembered(outage: &[Atom], began: Instant, windows: &[Laid<'_>]) -> Option<Outage> {
    let counted = || outage.iter().filter(|atom| atom.is_inside);
    let mut weighted = Weighed::default();
    let mut severity: Option<Severity> = None;
    for (atom, (window, weight)) in counted().filter_map(|atom| atom.counts.map(|counts| (atom, counts))) {
        weighted.add(atom.interval.micros(), weight);
        let worse = windows[window].worse();
        severity = Some(severity.map_or(worse, |worst| worst.min(worse)));
    }
    let counted = counted().filter(|atom| atom.counts.is_some()).map(|atom| atom.interval).collect();
    severity.map(|severity| Outage { began, counted, weighted, severity })
}

fn record(judged: &mut Judged, atom: &Atom, active: &[usize], windows: &[Laid<'_>], frame: &Frame<'_>) {
    let micros = atom.interval.micros();
    for window in active {
        let felt = felt(&mut judged.felt, *window);
        if !atom.is_inside {
            felt.outside_period_micros += micros;
            continue;
        }
        felt.measured_micros += micros;
        match why_not(*window, atom, active, windows) {
            None => felt.counted_micros += micros,
            Some(why) => match felt.uncounted.iter_mut().find(|part| part.why == why) {
                Some(part) => part.micros += micros,
                None => felt.uncounted.push(Uncounted { micros, why }),
            },
        }
    }
    if !atom.is_inside {
        return;
    }
    if let Some((_, weight)) = atom.counts {
        judged.counted_micros += micros;
        judged.weighted.add(micros, weight);
    }
    if atom.excused_by.is_some() && !frame.outside.is_removed(atom.interval) {
        judged.excused_micros += micros;
    }
    draw(&mut judged.pieces, atom, active, windows);
}

fn felt(all: &mut Vec<Felt>, window: usize) -> &mut Felt {
    let at = all.iter().position(|felt| felt.window == window).unwrap_or_else(|| {
        all.push(Felt {
            window,
            measured_micros: 0,
            counted_micros: 0,
            uncounted: Vec::new(),
            outside_period_micros: 0,
        });
        all.len() - 1
    });
    &mut all[at]
}

/// Why the atom does not count for `window`; none when it does.
fn why_not(window: usize, atom: &Atom, active: &[usize], windows: &[Laid<'_>]) -> Option<Why> {
    if atom.counts.is_some_and(|(counted, _)| counted == window) {
        return None;
    }
    if let Standing::Not(why) = windows[window].standing {
        // Planned work that would not count anyway is shown as what it is.
        return Some(if excuses_at(window, atom.interval, windows) { Why::Planned { line: window } } else { why });
    }
    if let Some(by) = excuse_of(window, active, atom.interval, windows) {
        return Some(Why::Planned { line: by });
    }
    match (atom.counts, atom.dropped) {
        (Some((counted, _)), _) => Some(Why::Overlap { line: counted }),
        (None, Some(why)) if atom.down_before_cuts => Some(why),
        (None, Some(_) | None) => Some(match atom.excused_by {
            Some(by) if atom.down_before_cuts => Why::Planned { line: by },
            Some(_) | None => Why::OtherCapabilityWorked,
        }),
    }
}

fn draw(pieces: &mut Vec<Piece>, atom: &Atom, active: &[usize], windows: &[Laid<'_>]) {
    let (kind, line) = match (atom.counts, atom.excused_by) {
        (Some((line, _)), _) => match windows[line].window.impact {
            Impact::Full => (PieceKind::Down, line),
            Impact::Degraded { .. } | Impact::Delayed { .. } => (PieceKind::Slow, line),
        },
        (None, Some(line)) => (PieceKind::Planned, line),
        (None, None) => {
            // What was found not to have happened is not drawn.
            let shown = active.iter().copied().filter(|window| !windows[*window].window.is_retracted()).min();
            let Some(line) = shown else { return };
            (PieceKind::NotCounted, line)
        }
    };
    match pieces.last_mut() {
        Some(last) if last.kind == kind && last.line == line && last.interval.end() == atom.interval.start() => {
            last.interval = Interval::new(last.interval.start(), atom.interval.end()).unwrap_or(last.interval);
        }
        Some(_) | None => pieces.push(Piece { interval: atom.interval, kind, line }),
    }
}
