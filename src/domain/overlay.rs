//! Windows laid over where a mailbox lived: which of its time was down, for which window it counts, and why the rest of
//! each window does not.
//!
//! The steps from the capability rule to the weights of [`super::assess`] are here, for one history at a time. The time is cut
//! into atoms, each with the same windows from its start to its end, and each atom is judged on its own; only the minimum
//! length looks at neighbours.

use std::collections::BTreeMap;

use super::assess::{AssessError, Inputs, Notice, Piece, PieceKind, Stay, Uncounted, Why};
use super::placement::{MailboxHistory, PlacementEvent};
use super::terms::{Degraded, Delayed, Down, MILLION, MinimumOf, Planned, Rule, Terms};
use super::time::{HOUR, Instant, Interval, IntervalSet, SECOND};
use super::window::{Impact, OutageWindow};

/// A window with what the terms make of it.
#[derive(Debug)]
pub(super) struct Laid<'a> {
    pub window: &'a OutageWindow,
    pub interval: Interval,
    pub notice: Option<Notice>,
    /// The time that it excuses, within its own.
    excuses: Option<Interval>,
    standing: Standing,
    /// Which of the promised capabilities it takes: indexes into the terms' list.
    takes: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
enum Standing {
    /// It never counts.
    Not(Why),
    /// It counts, each microsecond as this many millionths of one.
    Counts(i64),
}

/// What the terms make of each window that matters to `period`, by start. A window that neither touches the period nor
/// joins, through others, to one that does, cannot change the sum and is left out.
pub(super) fn windows<'a>(inputs: &'a Inputs, period: Interval) -> Result<(Vec<Laid<'a>>, Interval), AssessError> {
    let mut newest: BTreeMap<_, &OutageWindow> = BTreeMap::new();
    for window in &inputs.windows {
        let held = newest.entry(window.id).or_insert(window);
        if held.version < window.version {
            *held = window;
        } else if held.version == window.version && *held != window {
            return Err(AssessError::WindowTwice { window: window.id, version: window.version });
        }
    }
    let mut timed: Vec<(Interval, &OutageWindow)> = newest
        .into_values()
        .filter_map(|window| window.interval(inputs.as_of).map(|interval| (interval, window)))
        .collect();
    timed.sort_unstable_by_key(|(interval, window)| (*interval, window.id));
    let horizon = horizon(period, &timed);
    timed.retain(|(interval, _)| interval.intersection(horizon).is_some());
    Ok((timed.into_iter().map(|(interval, window)| laid(window, interval, &inputs.terms)).collect(), horizon))
}

/// The period, and all time that windows join to it without a gap.
fn horizon(period: Interval, timed: &[(Interval, &OutageWindow)]) -> Interval {
    let (mut start, mut end) = (period.start(), period.end());
    let mut grew = true;
    while grew {
        grew = false;
        for (interval, _) in timed {
            if interval.start() <= end && interval.end() >= start && (interval.start() < start || interval.end() > end)
            {
                start = start.min(interval.start());
                end = end.max(interval.end());
                grew = true;
            }
        }
    }
    Interval::new(start, end).unwrap_or(period)
}

fn laid<'a>(window: &'a OutageWindow, interval: Interval, terms: &Terms) -> Laid<'a> {
    let takes: Vec<usize> = terms
        .down
        .capabilities
        .iter()
        .enumerate()
        .filter(|(_, promised)| window.capability.is_within(promised) || promised.is_within(&window.capability))
        .map(|(index, _)| index)
        .collect();
    let standing = if window.is_retracted() {
        Standing::Not(Why::Retracted)
    } else if takes.is_empty() {
        Standing::Not(Why::NotPromised)
    } else {
        standing(window.impact, &terms.down)
    };
    let notice = window.planned.map(|planned| {
        let notice_micros = planned.interval.start().micros() - planned.announced_at.micros();
        let enough = match terms.planned {
            Planned::Counts => false,
            Planned::Excused { minimum_notice_hours, .. } => notice_micros >= i64::from(minimum_notice_hours) * HOUR,
        };
        Notice { announced_at: planned.announced_at, announced: planned.interval, notice_micros, enough }
    });
    let excuses = notice
        .filter(|notice| notice.enough && !window.is_retracted() && !takes.is_empty())
        .and_then(|notice| notice.announced.intersection(interval));
    Laid { window, interval, notice, excuses, standing, takes }
}

fn standing(impact: Impact, down: &Down) -> Standing {
    let weight = match impact {
        Impact::Full => MILLION,
        Impact::Delayed { seconds } => match down.delayed {
            Delayed::NeverCounts => 0,
            Delayed::Counts { from_seconds, .. } if seconds < from_seconds => {
                return Standing::Not(Why::DelayTooShort);
            }
            Delayed::Counts { weight_percent, .. } => weight_percent.millionths(),
        },
        Impact::Degraded { weight_bp } => match down.degraded {
            Degraded::NeverCounts => 0,
            Degraded::CountsInFull => MILLION,
            Degraded::CountsByWeight => (i64::from(weight_bp) * (MILLION / 10_000)).min(MILLION),
        },
    };
    if weight == 0 { Standing::Not(Why::ImpactNotCounted) } else { Standing::Counts(weight) }
}

impl Laid<'_> {
    fn weight(&self) -> Option<i64> {
        match self.standing {
            Standing::Not(_) => None,
            Standing::Counts(weight) => Some(weight),
        }
    }

    /// Whether the money depends on what this window says.
    pub fn matters(&self) -> bool {
        !matches!(self.standing, Standing::Not(Why::Retracted | Why::NotPromised))
    }

    /// Which of two windows a minute belongs to that both cover: the heavier, the earlier, the worse; the smallest wins.
    fn precedence(&self) -> impl Ord + use<> {
        let worse = match self.window.impact {
            Impact::Full => 0u8,
            Impact::Degraded { .. } => 1,
            Impact::Delayed { .. } => 2,
        };
        (std::cmp::Reverse(self.weight()), self.interval.start(), worse, self.window.id)
    }
}

/// Where a mailbox lived, sorted; and whether two sources disagree about it in the period.
pub(super) type History<'a> = (Vec<(Interval, &'a str)>, bool);

/// Where one mailbox lived within `horizon`; and whether two sources disagree about it within `period`.
pub(super) fn stays(history: &MailboxHistory, horizon: Interval, period: Interval) -> Result<History<'_>, AssessError> {
    let mut events: Vec<&PlacementEvent> = history.events.iter().collect();
    events.sort_unstable_by(|a, b| (&a.source, a.from).cmp(&(&b.source, b.from)));
    let mut said: Vec<(Interval, &PlacementEvent)> = Vec::with_capacity(events.len());
    for (index, event) in events.iter().enumerate() {
        let next = events.get(index + 1).filter(|next| next.source == event.source);
        if let Some(next) = next
            && next.from == event.from
        {
            if next.shard != event.shard {
                return Err(AssessError::PlacementContradictsItself {
                    mailbox: history.mailbox.clone(),
                    source_name: event.source.clone(),
                    from: event.from,
                });
            }
            continue;
        }
        let until = next.map_or(horizon.end(), |next| next.from.min(horizon.end()));
        said.extend(Interval::new(event.from.max(horizon.start()), until).ok().map(|interval| (interval, *event)));
    }
    let contested = said.iter().enumerate().any(|(index, (interval, event))| {
        said.iter().skip(index + 1).any(|(other, against)| {
            event.source != against.source
                && event.shard != against.shard
                && interval.intersection(*other).and_then(|shared| shared.intersection(period)).is_some()
        })
    });
    Ok((joined_stays(&said), contested))
}

/// The stays, those on one shard that touch or overlap joined.
fn joined_stays<'a>(said: &[(Interval, &'a PlacementEvent)]) -> Vec<(Interval, &'a str)> {
    let mut stays: Vec<(&str, Interval)> =
        said.iter().filter_map(|(interval, event)| event.shard.as_deref().map(|shard| (shard, *interval))).collect();
    stays.sort_unstable();
    let mut joined: Vec<(Interval, &str)> = Vec::with_capacity(stays.len());
    for (shard, interval) in stays {
        match joined.last_mut() {
            Some((last, on)) if *on == shard && interval.start() <= last.end() => {
                *last = Interval::new(last.start(), last.end().max(interval.end())).unwrap_or(*last);
            }
            Some(_) | None => joined.push((interval, shard)),
        }
    }
    joined.sort_unstable();
    joined
}

/// One history, judged. Windows are named by their index in the list that was given.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub counted_micros: i64,
    /// Microseconds times millionths.
    pub weighted: i128,
    pub excused_micros: i64,
    pub felt: Vec<Felt>,
    pub pieces: Vec<Piece>,
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
    counts: Option<(usize, i64)>,
    /// A window that excuses it, or a part of what is on it.
    excused_by: Option<usize>,
    too_short: bool,
}

/// Lays `windows` over `stays` and judges all time of them.
pub(super) fn judge(windows: &[Laid<'_>], stays: &[(Interval, &str)], period: Interval, terms: &Terms) -> Judged {
    let (mut atoms, active) = atoms(windows, stays, period, terms);
    drop_short(&mut atoms, terms);
    let mut judged = Judged::default();
    for atom in &atoms {
        record(&mut judged, atom, active.get(atom.active.clone()).unwrap_or_default(), windows, period);
    }
    judged.felt.sort_unstable_by_key(|felt| felt.window);
    for felt in &mut judged.felt {
        felt.uncounted.sort_unstable_by_key(|part| part.why);
    }
    judged
}

/// The sweep: cuts at each point where a window, an excuse or the period begins or ends for this history.
fn atoms(windows: &[Laid<'_>], stays: &[(Interval, &str)], period: Interval, terms: &Terms) -> (Vec<Atom>, Vec<usize>) {
    // A point with a window is one where the window begins (true) or ends here; one without is only a cut.
    let mut points: Vec<(Instant, Option<(usize, bool)>)> = vec![(period.start(), None), (period.end(), None)];
    for (index, laid) in windows.iter().enumerate() {
        let on: IntervalSet = stays
            .iter()
            .filter(|(_, shard)| laid.window.scope.covers(shard))
            .filter_map(|(stay, _)| stay.intersection(laid.interval))
            .collect();
        for part in on.intervals() {
            points.push((part.start(), Some((index, true))));
            points.push((part.end(), Some((index, false))));
        }
        points.extend(laid.excuses.iter().flat_map(|excuse| [(excuse.start(), None), (excuse.end(), None)]));
    }
    points.sort_unstable();
    let mut atoms = Vec::with_capacity(points.len());
    let mut listed: Vec<usize> = Vec::with_capacity(points.len() * 2);
    let mut active: Vec<usize> = Vec::new();
    let mut since = Instant::MIN;
    for (at, change) in points {
        if let Ok(interval) = Interval::new(since, at)
            && !active.is_empty()
        {
            let from = listed.len();
            listed.extend(&active);
            atoms.push(judge_atom(interval, from..listed.len(), &active, windows, terms));
        }
        since = at;
        match change {
            Some((window, true)) => active.push(window),
            Some((window, false)) => active.retain(|one| *one != window),
            None => {}
        }
    }
    (atoms, listed)
}

fn judge_atom(
    interval: Interval,
    range: std::ops::Range<usize>,
    active: &[usize],
    windows: &[Laid<'_>],
    terms: &Terms,
) -> Atom {
    let excused_by = active.iter().copied().filter(|by| excuses_at(*by, interval, windows)).min();
    let before = lost(active.iter().copied(), windows, &terms.down);
    let counts = match excused_by {
        None => before,
        Some(_) => {
            let left = active.iter().copied().filter(|window| excuse_of(*window, active, interval, windows).is_none());
            lost(left, windows, &terms.down)
        }
    };
    Atom { interval, active: range, down_before_cuts: before.is_some(), counts, excused_by, too_short: false }
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
fn lost(active: impl Iterator<Item = usize> + Clone, windows: &[Laid<'_>], down: &Down) -> Option<(usize, i64)> {
    let weighed = active.filter_map(|window| windows[window].weight().map(|weight| (window, weight)));
    match down.rule {
        Rule::Any => weighed.min_by_key(|(window, _)| windows[*window].precedence()),
        // The capability that is lost least decides the weight.
        Rule::All => (0..down.capabilities.len())
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

/// The minimum length: joined outages that are too short count for nothing.
fn drop_short(atoms: &mut [Atom], terms: &Terms) {
    let minimum = i64::from(terms.minimum_outage.seconds) * SECOND;
    if minimum == 0 {
        return;
    }
    let joins = |a: &Atom, b: &Atom| a.down_before_cuts && b.down_before_cuts && a.interval.end() == b.interval.start();
    for outage in atoms.chunk_by_mut(joins) {
        let length: i64 = outage
            .iter()
            .filter(|atom| match terms.minimum_outage.of {
                MinimumOf::BeforeCuts => atom.down_before_cuts,
                MinimumOf::WhatIsLeft => atom.counts.is_some(),
            })
            .map(|atom| atom.interval.micros())
            .sum();
        if length < minimum {
            for atom in outage {
                atom.too_short = atom.counts.take().is_some();
            }
        }
    }
}

fn record(judged: &mut Judged, atom: &Atom, active: &[usize], windows: &[Laid<'_>], period: Interval) {
    let micros = atom.interval.micros();
    let inside = period.intersection(atom.interval).is_some();
    for window in active {
        let felt = felt(&mut judged.felt, *window);
        if !inside {
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
    if !inside {
        return;
    }
    if let Some((_, weight)) = atom.counts {
        judged.counted_micros += micros;
        judged.weighted += i128::from(micros) * i128::from(weight);
    }
    if atom.excused_by.is_some() {
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
    if let Standing::Not(why) = windows[window].standing {
        // Planned work that would not count anyway is shown as what it is.
        return Some(if excuses_at(window, atom.interval, windows) { Why::Planned { line: window } } else { why });
    }
    if let Some(by) = excuse_of(window, active, atom.interval, windows) {
        return Some(Why::Planned { line: by });
    }
    match atom.counts {
        Some((counted, _)) if counted == window => None,
        Some((counted, _)) => Some(Why::Overlap { line: counted }),
        None if atom.too_short => Some(Why::OutageTooShort),
        None => Some(match atom.excused_by {
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

/// The part of `stays` in the period, for the receipt; and how long any of them lasts.
pub(super) fn in_period(stays: &[(Interval, &str)], period: Interval) -> (Vec<Stay>, IntervalSet) {
    let clipped: Vec<Stay> = stays
        .iter()
        .filter_map(|(interval, shard)| interval.intersection(period).map(|interval| (interval, shard)))
        .map(|(interval, shard)| Stay { interval, shard: (*shard).to_owned() })
        .collect();
    let existed = clipped.iter().map(|stay| stay.interval).collect();
    (clipped, existed)
}
