//! Running downtime: for each shard a line that says how much time counted as down from the start of a period up to an
//! instant, so that a mailbox's downtime is what the line rose by while the mailbox lived there.
//!
//! This is the fast way to the times of [`crate::domain::assess`]: it says who was hit, and, where [`Lines::applies`] and the mailbox
//! does not [need weights](Lines::needs_weights), how long, to the microsecond. It makes no receipt. Only [`read`] knows what
//! terms and windows look like; the rest works on plain spans of time.

use std::collections::HashMap;
use std::ops::Range;

use super::AssessError;
use super::{excuse, laid, stays};
use crate::domain::ids::WindowId;
use crate::domain::placement::MailboxHistory;
use crate::domain::ratio::Ratio;
use crate::domain::remedy::{Measure, OutageLength, Per, Remedy, Rule};
use crate::domain::terms::{ClockStart, Edges, Hours, Planned, Terms};
use crate::domain::time::{Instant, Interval};
use crate::domain::window::{Capability, OutageWindow, Scope};

/// The shards by name, each with a number: 0, 1, 2 and so on.
#[derive(Clone, Debug, Default)]
pub struct Shards {
    numbers: HashMap<String, u32>,
}

impl Shards {
    /// The number of the shard called `name`; the next one where it is new. None beyond 2,147,483,647 shards.
    pub fn number(&mut self, name: &str) -> Option<u32> {
        if let Some(number) = self.numbers.get(name) {
            return Some(*number);
        }
        let next = u32::try_from(self.numbers.len()).ok().filter(|next| *next < MOVED)?;
        self.numbers.insert(name.to_owned(), next);
        Some(next)
    }

    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }
}

/// From here on, an entry of [`Homes::home`] is no shard but the number of a mailbox with stays of its own.
const MOVED: u32 = 1 << 31;

/// Where mailboxes lived in one period, compactly: four bytes for one that lived on one shard throughout.
#[derive(Clone, Debug)]
pub struct Homes {
    period: Interval,
    /// For each mailbox its shard, or [`MOVED`] and its number among those that were not on one shard throughout.
    home: Vec<u32>,
    /// For each of those, where its stays begin in the lists below; and once more where the last ones end.
    first: Vec<u32>,
    shard: Vec<u32>,
    from: Vec<i64>,
    until: Vec<i64>,
}

/// The arrays of [`Homes`] as they lie in memory: for whoever measures what it costs only to read them.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a> {
    pub numbers: [&'a [u32]; 3],
    pub times: [&'a [i64]; 2],
}

/// Where one mailbox lived.
enum Home {
    /// On this shard, all the period.
    Throughout(u32),
    /// These entries of the lists of stays.
    Stays(Range<usize>),
}

impl Homes {
    pub fn new(period: Interval) -> Self {
        Homes { period, home: Vec::new(), first: vec![0], shard: Vec::new(), from: Vec::new(), until: Vec::new() }
    }

    /// Adds the next mailbox with its stays on numbered shards, in order. They are cut to the period. None, and nothing is
    /// added, where two of them overlap (then it is contested, and nothing for the fast way) or there are too many.
    pub fn push(&mut self, stays: &[(u32, Interval)]) -> Option<usize> {
        let mut clipped = stays.iter().filter_map(|(shard, stay)| Some((*shard, stay.intersection(self.period)?)));
        let mailbox = self.home.len();
        if let (Some((shard, stay)), None) = (clipped.next(), clipped.next())
            && stay == self.period
            && shard < MOVED
        {
            self.home.push(shard);
            return Some(mailbox);
        }
        let number = u32::try_from(self.first.len() - 1).ok().filter(|number| *number < MOVED)?;
        let before = self.shard.len();
        let mut last = self.period.start().micros();
        for (shard, stay) in stays {
            let Some(stay) = stay.intersection(self.period) else { continue };
            if stay.start().micros() < last {
                self.shard.truncate(before);
                self.from.truncate(before);
                self.until.truncate(before);
                return None;
            }
            last = stay.end().micros();
            self.shard.push(*shard);
            self.from.push(stay.start().micros());
            self.until.push(last);
        }
        self.first.push(u32::try_from(self.shard.len()).ok()?);
        self.home.push(MOVED | number);
        Some(mailbox)
    }

    /// Adds the next mailbox by its history. None, and nothing is added, where it is contested: it has to go the full way.
    pub fn push_history(
        &mut self,
        history: &MailboxHistory,
        shards: &mut Shards,
    ) -> Result<Option<usize>, AssessError> {
        let (stays, contested) = stays::stays(history, self.period, self.period)?;
        if contested {
            return Ok(None);
        }
        let numbered: Option<Vec<_>> =
            stays.into_iter().map(|(stay, shard)| Some((shards.number(shard)?, stay))).collect();
        Ok(numbered.and_then(|stays| self.push(&stays)))
    }

    /// How many mailboxes there are; they are numbered from 0 in the order in which they were added.
    pub fn len(&self) -> usize {
        self.home.len()
    }

    pub fn is_empty(&self) -> bool {
        self.home.is_empty()
    }

    /// How long the mailbox was there, in microseconds.
    pub fn existed_micros(&self, mailbox: usize) -> i64 {
        match self.of(mailbox) {
            Home::Throughout(_) => self.period.micros(),
            Home::Stays(stays) => stays.map(|stay| self.until[stay] - self.from[stay]).sum(),
        }
    }

    /// What it holds in memory, in bytes, room for more included.
    pub fn bytes(&self) -> usize {
        4 * (self.home.capacity() + self.first.capacity() + self.shard.capacity())
            + 8 * (self.from.capacity() + self.until.capacity())
    }

    /// Gives back the room that was kept for more mailboxes.
    pub fn shrink(&mut self) {
        self.home.shrink_to_fit();
        self.first.shrink_to_fit();
        self.shard.shrink_to_fit();
        self.from.shrink_to_fit();
        self.until.shrink_to_fit();
    }

    pub fn columns(&self) -> Columns<'_> {
        Columns { numbers: [&self.home, &self.first, &self.shard], times: [&self.from, &self.until] }
    }

    fn of(&self, mailbox: usize) -> Home {
        let home = self.home[mailbox];
        if home < MOVED {
            return Home::Throughout(home);
        }
        let number = index(home - MOVED);
        Home::Stays(index(self.first[number])..index(self.first[number + 1]))
    }
}

/// The lines of all shards for one period, one reading of the terms and one state of the evidence.
#[derive(Clone, Debug)]
pub struct Lines {
    period: Interval,
    counted: Line,
    excused: Line,
    weighed: Line,
}

impl Lines {
    /// Whether the sum of the time that counts is all that this remedy asks of a mailbox: unless a length, a report, a pause or
    /// hours look at whole outages or at more than windows, or each capability is judged alone. Where only a length keeps it
    /// from applying, no mailbox has more time down than its lines say, so that those at zero were not hit.
    pub fn applies(terms: &Terms, remedy: &Remedy) -> bool {
        let is_excused_by_windows = match remedy.planned(terms) {
            Planned::Counts => true,
            Planned::Excused { yearly_allowance_hours, .. } => yearly_allowance_hours.is_none(),
            Planned::FixedHours { .. } => false,
        };
        let by_time = match remedy.measure {
            Measure::Uptime { .. } | Measure::TimeDown => true,
            Measure::ErrorRate { .. } | Measure::Outages | Measure::Days { .. } | Measure::Events { .. } => false,
        };
        let by_mailbox = match remedy.per {
            Per::Mailbox | Per::MailboxMinutes | Per::WorstMailbox => true,
            Per::Account => false,
        };
        let together = match remedy.down.rule {
            Rule::Any | Rule::All => true,
            Rule::Each => false,
        };
        let runs = terms.clock.starts == ClockStart::WhenItBegan && terms.clock.pauses.is_empty();
        let always = terms.time.hours == Hours::Always && terms.time.edges == Edges::Cut;
        let any_length = remedy.outage_length == OutageLength::Any;
        is_excused_by_windows && by_time && by_mailbox && together && runs && always && any_length
    }

    /// One sweep over the windows' starts and ends for each shard. Windows of shards that have no number get one.
    pub fn build(
        windows: &[OutageWindow],
        (terms, remedy): (&Terms, &Remedy),
        period: Interval,
        as_of: Instant,
        shards: &mut Shards,
    ) -> Result<Self, AssessError> {
        let reading = read(windows, (terms, remedy), period, as_of, shards)?;
        let (mut everywhere, mut own) = (Vec::new(), vec![Vec::new(); shards.len()]);
        for span in &reading.spans {
            let list = span.shard.map_or(&mut everywhere, |shard| &mut own[index(shard)]);
            for (at, begins) in [(span.interval.start(), true), (span.interval.end(), false)] {
                list.push(Change { at: at.micros(), capability: span.capability, what: span.what, begins });
            }
        }
        let mut lines = Lines { period, counted: Line::default(), excused: Line::default(), weighed: Line::default() };
        // The last line is that of every shard without a window of its own.
        own.push(Vec::new());
        let mut now = Now::new(&reading);
        for mut changes in own {
            changes.extend(&everywhere);
            // Those that begin come first, so that no count ever falls below zero.
            changes.sort_unstable_by_key(|change| (change.at, !change.begins));
            lines.sweep(&changes, &mut now);
        }
        Ok(lines)
    }

    fn sweep(&mut self, changes: &[Change], now: &mut Now<'_>) {
        let (mut down_since, mut excused_since, mut weighed_since) = (None, None, None);
        for together in changes.chunk_by(|a, b| a.at == b.at) {
            for change in together {
                now.apply(change);
            }
            let at = together[0].at;
            self.counted.turn(&mut down_since, now.is_down(), at);
            self.excused.turn(&mut excused_since, now.is_excused(), at);
            self.weighed.turn(&mut weighed_since, now.counting_in_part > 0, at);
        }
        self.counted.close();
        self.excused.close();
        self.weighed.close();
    }

    /// Whether the mailbox felt a window whose time counts in part: then [`Lines::counted_micros`] is right, but the promise
    /// is judged by weighed time, which the lines do not know.
    pub fn needs_weights(&self, homes: &Homes, mailbox: usize) -> bool {
        self.weighed.over(homes, mailbox) > 0
    }

    /// How much of the mailbox's time counts as down, in microseconds, before weighing. `homes` must be of the same period
    /// and its shards numbered by what the lines were built with.
    pub fn counted_micros(&self, homes: &Homes, mailbox: usize) -> i64 {
        self.counted.over(homes, mailbox)
    }

    /// How much of the mailbox's time is excused as planned work, in microseconds.
    pub fn excused_micros(&self, homes: &Homes, mailbox: usize) -> i64 {
        self.excused.over(homes, mailbox)
    }

    pub fn period(&self) -> Interval {
        self.period
    }

    /// What they hold in memory, in bytes, room for more included.
    pub fn bytes(&self) -> usize {
        self.counted.bytes() + self.excused.bytes() + self.weighed.bytes()
    }
}

/// Running time: for each shard the stretches in which its line rises, one microsecond a microsecond; else it is level.
#[derive(Clone, Debug, Default)]
struct Line {
    /// Where the stretches of each shard end in the lists below.
    ends: Vec<usize>,
    /// How far each shard's line rises in the period.
    whole: Vec<i64>,
    start: Vec<i64>,
    end: Vec<i64>,
    /// How far the line has risen at `start`.
    before: Vec<i64>,
}

impl Line {
    /// The stretch of the shard in hand that is open since `since` begins, goes on or ends.
    fn turn(&mut self, since: &mut Option<i64>, rises: bool, at: i64) {
        match (*since, rises) {
            (None, true) => *since = Some(at),
            (Some(start), false) => {
                let risen = self.risen();
                self.start.push(start);
                self.end.push(at);
                self.before.push(risen);
                *since = None;
            }
            (None, false) | (Some(_), true) => {}
        }
    }

    /// How far the line of the shard in hand has risen.
    fn risen(&self) -> i64 {
        let last = self.start.len().checked_sub(1).filter(|last| self.ends.last().is_none_or(|end| end <= last));
        last.map_or(0, |last| self.before[last] + self.end[last] - self.start[last])
    }

    /// The shard in hand is done.
    fn close(&mut self) {
        self.whole.push(self.risen());
        self.ends.push(self.start.len());
    }

    fn over(&self, homes: &Homes, mailbox: usize) -> i64 {
        match homes.of(mailbox) {
            Home::Throughout(shard) => self.whole[self.known(shard)],
            Home::Stays(stays) => stays
                .map(|stay| {
                    let shard = self.known(homes.shard[stay]);
                    self.between(shard, homes.from[stay], homes.until[stay], homes.period)
                })
                .sum(),
        }
    }

    fn between(&self, shard: usize, from: i64, until: i64, period: Interval) -> i64 {
        let whole = self.whole[shard];
        if whole == 0 {
            return 0;
        }
        // Most stays begin or end with the period, where nothing has to be looked for.
        let upto_from = if from <= period.start().micros() { 0 } else { self.upto(shard, from) };
        let upto_until = if until >= period.end().micros() { whole } else { self.upto(shard, until) };
        upto_until - upto_from
    }

    fn upto(&self, shard: usize, at: i64) -> i64 {
        let stretches = shard.checked_sub(1).map_or(0, |before| self.ends[before])..self.ends[shard];
        let begun = self.start[stretches.clone()].partition_point(|start| *start < at);
        let Some(last) = begun.checked_sub(1).map(|last| stretches.start + last) else { return 0 };
        self.before[last] + at.min(self.end[last]) - self.start[last]
    }

    /// A shard that got its number after the lines were built has no window of its own.
    fn known(&self, shard: u32) -> usize {
        index(shard).min(self.whole.len() - 1)
    }

    fn bytes(&self) -> usize {
        let times = self.whole.capacity() + self.start.capacity() + self.end.capacity() + self.before.capacity();
        8 * times + size_of::<usize>() * self.ends.capacity()
    }
}

/// What windows and terms come down to.
struct Reading {
    spans: Vec<Span>,
    /// The capabilities of windows; spans name them by index.
    capabilities: Vec<Taken>,
    rule: Rule,
    /// How many capabilities are promised.
    promised: usize,
}

/// Time within the period in which a capability was lost on a shard (none: on all), or is excused.
#[derive(Clone, Copy)]
struct Span {
    shard: Option<u32>,
    capability: usize,
    interval: Interval,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    Counts,
    /// It counts, each microsecond as a part of one.
    CountsInPart,
    Excuses,
}

/// One capability that windows take.
struct Taken {
    /// The promised capabilities that go with it, by index.
    takes: Vec<usize>,
    /// The capabilities of windows that excuse it: itself, and whatever it is a part of.
    excused_by: Vec<usize>,
}

/// The one place that reads terms and windows: which time each newest version takes, and which it excuses.
fn read(
    windows: &[OutageWindow],
    (terms, remedy): (&Terms, &Remedy),
    period: Interval,
    as_of: Instant,
    shards: &mut Shards,
) -> Result<Reading, AssessError> {
    let promised = &remedy.down.capabilities;
    let (mut names, mut capabilities): (Vec<&Capability>, Vec<Taken>) = (Vec::new(), Vec::new());
    let mut spans = Vec::new();
    for window in newest(windows)? {
        let Some(whole) = window.interval(as_of).filter(|_| !window.is_retracted()) else { continue };
        let Some(interval) = whole.intersection(period) else { continue };
        let taken = &window.capability;
        let takes = || promised.iter().enumerate().filter(|(_, one)| taken.is_within(one) || one.is_within(taken));
        if takes().next().is_none() {
            continue;
        }
        let capability = names.iter().position(|name| *name == taken).unwrap_or_else(|| {
            names.push(taken);
            capabilities.push(Taken { takes: takes().map(|(one, _)| one).collect(), excused_by: Vec::new() });
            names.len() - 1
        });
        let counts = match laid::weight(window, &remedy.down, terms.time.unknown) {
            Ok(weight) if weight == Ratio::ONE => Some(What::Counts),
            Ok(_) => Some(What::CountsInPart),
            Err(_) => None,
        };
        let notice = excuse::notice(window, whole, remedy.planned(terms)).filter(|notice| notice.enough);
        let excused = notice.and_then(|notice| notice.announced.intersection(interval));
        let on: Vec<Option<u32>> = match &window.scope {
            Scope::All => vec![None],
            Scope::Shards(named) => named.iter().filter_map(|name| shards.number(name).map(Some)).collect(),
        };
        for shard in on {
            spans.extend(counts.map(|what| Span { shard, capability, interval, what }));
            spans.extend(excused.map(|interval| Span { shard, capability, interval, what: What::Excuses }));
        }
    }
    for (taken, name) in capabilities.iter_mut().zip(&names) {
        taken.excused_by.extend((0..names.len()).filter(|by| name.is_within(names[*by])));
    }
    Ok(Reading { spans, capabilities, rule: remedy.down.rule, promised: promised.len() })
}

/// The newest version of each window.
fn newest(windows: &[OutageWindow]) -> Result<impl Iterator<Item = &OutageWindow>, AssessError> {
    let mut newest: HashMap<WindowId, &OutageWindow> = HashMap::with_capacity(windows.len());
    for window in windows {
        let held = newest.entry(window.id).or_insert(window);
        if held.version < window.version {
            *held = window;
        } else if held.version == window.version && *held != window {
            return Err(AssessError::WindowTwice { window: window.id, version: window.version });
        }
    }
    Ok(newest.into_values())
}

/// A span begins or ends.
#[derive(Clone, Copy)]
struct Change {
    at: i64,
    capability: usize,
    what: What,
    begins: bool,
}

/// What goes on at one instant on one shard: how many windows take each capability, and how many excuse it.
struct Now<'a> {
    reading: &'a Reading,
    taking: Vec<u32>,
    excusing: Vec<u32>,
    counting_in_part: u32,
}

impl<'a> Now<'a> {
    fn new(reading: &'a Reading) -> Self {
        let none = vec![0; reading.capabilities.len()];
        Now { reading, taking: none.clone(), excusing: none, counting_in_part: 0 }
    }

    fn apply(&mut self, change: &Change) {
        let step = |windows: &mut u32| if change.begins { *windows += 1 } else { *windows -= 1 };
        match change.what {
            What::Counts => step(&mut self.taking[change.capability]),
            What::CountsInPart => {
                step(&mut self.taking[change.capability]);
                step(&mut self.counting_in_part);
            }
            What::Excuses => step(&mut self.excusing[change.capability]),
        }
    }

    fn is_excused(&self) -> bool {
        self.excusing.iter().any(|windows| *windows > 0)
    }

    /// The capability rule, over what is lost and not excused.
    fn is_down(&self) -> bool {
        let mut lost = self.reading.capabilities.iter().enumerate().filter(|(capability, taken)| {
            self.taking[*capability] > 0 && !taken.excused_by.iter().any(|by| self.excusing[*by] > 0)
        });
        match self.reading.rule {
            Rule::Any | Rule::Each => lost.next().is_some(),
            Rule::All => {
                let lost: Vec<&Taken> = lost.map(|(_, taken)| taken).collect();
                (0..self.reading.promised).all(|promised| lost.iter().any(|taken| taken.takes.contains(&promised)))
            }
        }
    }
}

/// A number of 32 bits as an index.
fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
