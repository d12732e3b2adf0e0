//! The engine against an oracle that counts second by second and shares no code with it.
//!
//! Everything happens within five minutes of one edge of a month, on the second. The months are those in which clocks change
//! (in both directions, and by half an hour) and the longest February; the currencies have 0, 2 and 3 decimals.

use std::collections::BTreeSet;
use std::fmt::Write;

use makegood::domain::assess::assess;
use makegood::domain::assessment::{Assessment, Blocker, Outcome};
use makegood::domain::case::Case;
use makegood::domain::receipt::Receipt;
use proptest::prelude::*;

/// Seconds on either side of the edge.
const BAND: i64 = 300;
const CAPABILITIES: [&str; 3] = ["receive", "send", "access"];
const SHARDS: [&str; 3] = ["mx-1", "mx-2", "mx-3"];
/// Month, zone, its first instant in UTC, and its days and hours: written down, not computed.
const MONTHS: [(&str, &str, &str, i64, i64); 7] = [
    ("2026-06", "UTC", "2026-06-01T00:00:00Z", 30, 0),
    ("2028-02", "Europe/London", "2028-02-01T00:00:00Z", 29, 0),
    ("2026-03", "America/Los_Angeles", "2026-03-01T08:00:00Z", 31, -3_600),
    ("2026-11", "America/New_York", "2026-11-01T04:00:00Z", 30, 3_600),
    ("2026-09", "Pacific/Auckland", "2026-08-31T12:00:00Z", 30, -3_600),
    ("2026-10", "Australia/Lord_Howe", "2026-09-30T13:30:00Z", 31, -1_800),
    ("2026-04", "Australia/Lord_Howe", "2026-03-31T13:00:00Z", 30, 1_800),
];
const CURRENCIES: [(&str, u32); 3] = [("NZD", 2), ("JPY", 0), ("KWD", 3)];
/// In ten-thousandths of a percent, with what they credit in percent.
const TIERS: [(i128, i128); 3] = [(999_990, 5), (999_960, 15), (999_920, 40)];
/// Up to and with so many seconds, with what they credit in percent; the last takes the rest.
const BANDS: [(i128, i128); 3] = [(20, 0), (90, 10), (i128::MAX, 30)];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Pays {
    /// By uptime.
    Tiers,
    /// By all time down together.
    Bands,
    /// Twenty times the time lost, if the first tier was missed.
    ProRata,
    /// 3 % for each started (or full) 25 seconds of each outage, at most 50 %.
    Units { started: bool },
    /// 1.5 for each outage.
    Flat,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Per {
    Mailbox,
    Minutes,
    Account,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Edges {
    Cut,
    Began,
    Ended,
}

/// From a second on, on a shard or nowhere, as one of two directories says.
type Move = (i64, Option<usize>, bool);

#[derive(Clone, Debug)]
struct World {
    month: usize,
    currency: usize,
    at_end: bool,
    /// 0 any, 1 all, 2 each.
    rule: usize,
    whole_period: bool,
    denominator: bool,
    /// At least (or below) so many seconds; of all before cuts, of what is left, or of each piece left.
    length: Option<(bool, i64, usize)>,
    at_or_below: bool,
    pays: Pays,
    per: Per,
    edges: Edges,
    /// 0 ignored, 1 weighs, 2 more than half.
    reach: usize,
    /// Time of which nobody knows: 0 the terms do not say, 1 it does not count, 2 it counts.
    unknown: usize,
    /// When it was reported, if the clock waits for that.
    report: Option<i64>,
    /// From, for how long, and whether it is not promised either.
    pause: Option<(i64, i64, bool)>,
    mailboxes: Vec<Vec<Move>>,
    windows: Vec<Window>,
    gross: i64,
    quantity: i64,
    turn: usize,
}

#[derive(Clone, Debug)]
struct Window {
    shards: Vec<usize>,
    capability: usize,
    start: i64,
    length: i64,
    /// Ten-thousandths that did not work, or seconds of delay; else all of it.
    degraded: Option<i64>,
    delayed: Option<i64>,
    hit: i64,
    /// Announced start after the window's own, length, and hours of notice.
    planned: Option<(i64, i64, i64)>,
    retracted: bool,
    unknown: bool,
}

fn window() -> impl Strategy<Value = Window> {
    let impact = prop_oneof![
        4 => Just((None, None)),
        1 => (1i64..=10_000).prop_map(|weight| (Some(weight), None)),
        1 => (800i64..1_000).prop_map(|seconds| (None, Some(seconds))),
    ];
    let planned = prop::option::weighted(0.3, (-40i64..40, 1i64..300, 22i64..26));
    let shards = prop_oneof![1 => Just(vec![0, 1, 2]), 2 => prop::collection::vec(0usize..3, 1..3)];
    let flags = (prop::bool::weighted(0.1), 0i64..=7, 0usize..10, prop::bool::weighted(0.15));
    (shards, 0usize..3, -BAND..BAND - 1, 1i64..400, impact, planned, flags).prop_map(
        |(shards, capability, start, length, (degraded, delayed), planned, (retracted, hit, snap, unknown))| {
            // Often just at the edge.
            let length = length.min(BAND);
            let start = [0, -length].get(snap).copied().unwrap_or(start);
            let length = length.min(BAND - start);
            Window { shards, capability, start, length, degraded, delayed, hit, planned, retracted, unknown }
        },
    )
}

fn world() -> impl Strategy<Value = World> {
    // Each mailbox starts on a shard long before, and may move, be born or closed; a second directory may speak too.
    let event = (-BAND..BAND, prop::option::weighted(0.8, 0usize..3), prop::bool::weighted(0.15));
    let first = (Just(-90 * 86_400), prop::option::weighted(0.8, 0usize..3), Just(false));
    let mailbox = (first, prop::collection::vec(event, 0..3)).prop_map(|(first, mut more)| {
        let mut seen = BTreeSet::new();
        more.retain(|(at, _, second)| seen.insert((*at, *second)));
        more.push(first);
        more
    });
    let pays = prop_oneof![
        3 => Just(Pays::Tiers), 1 => Just(Pays::Bands), 1 => Just(Pays::ProRata), 1 => Just(Pays::Flat),
        2 => any::<bool>().prop_map(|started| Pays::Units { started }),
    ];
    let per = prop_oneof![4 => Just(Per::Mailbox), 1 => Just(Per::Minutes), 1 => Just(Per::Account)];
    let edges = prop_oneof![4 => Just(Edges::Cut), 1 => Just(Edges::Began), 1 => Just(Edges::Ended)];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let clock = (
        prop::option::weighted(0.2, -BAND..BAND),
        prop::option::weighted(0.3, (-BAND..BAND, 1i64..150, any::<bool>())),
        prop::option::weighted(0.5, (prop::bool::weighted(0.8), 1i64..200, 0usize..3)),
    );
    let facts = (prop::collection::vec(mailbox, 0..4), prop::collection::vec(window(), 0..9));
    let numbers = (0i64..100_000, 1i64..9, 0usize..7, 0..MONTHS.len(), 0..CURRENCIES.len(), 0usize..3, 0usize..9);
    (flags, clock, (pays, per, edges), facts, numbers).prop_map(|(flags, clock, (pays, per, edges), facts, numbers)| {
        let (gross, quantity, turn, month, currency, rule, reach_and_unknown) = numbers;
        // Minutes of all mailboxes can be added up for what has one sum only.
        let adds_up = matches!(pays, Pays::Tiers | Pays::Bands | Pays::ProRata);
        World {
            month,
            currency,
            at_end: flags.0,
            rule,
            whole_period: flags.1,
            denominator: flags.2,
            length: clock.2,
            at_or_below: flags.3,
            pays,
            per: if per == Per::Minutes && !adds_up { Per::Mailbox } else { per },
            edges,
            reach: reach_and_unknown % 3,
            unknown: reach_and_unknown / 3,
            report: clock.0,
            pause: clock.1,
            mailboxes: facts.0,
            windows: facts.1,
            gross,
            quantity,
            turn,
        }
    })
}

impl World {
    fn seconds_of_month(&self) -> i64 {
        let (.., days, hours) = MONTHS[self.month];
        days * 86_400 + hours
    }

    /// A second as RFC 3339; 0 is the edge.
    fn at(&self, second: i64) -> String {
        let start = chrono::DateTime::parse_from_rfc3339(MONTHS[self.month].2).unwrap();
        let edge = if self.at_end { self.seconds_of_month() } else { 0 };
        (start + chrono::TimeDelta::seconds(edge + second)).to_rfc3339()
    }

    /// Where seconds of the band lie in the month.
    fn is_inside(&self, second: i64) -> bool {
        (second >= 0) != self.at_end
    }

    /// The world as a case file.
    fn case(&self) -> String {
        let word = |is: bool, yes: &str, no: &str| if is { yes.to_owned() } else { no.to_owned() };
        let (month, zone, ..) = MONTHS[self.month];
        let (currency, decimals) = CURRENCIES[self.currency];
        let removes = |both: bool| word(both, "numerator_and_denominator", "numerator");
        let length = match self.length {
            None => "{kind: any}".to_owned(),
            Some((at_least, seconds, left)) => {
                let of = ["before_cuts", "what_is_left", "each_piece_left"][left];
                let kind = word(at_least, "at_least", "below");
                format!("{{kind: {kind}, seconds: {seconds}, of: {of}}}")
            }
        };
        let tiers: Vec<String> = TIERS
            .iter()
            .map(|(below, credit)| {
                let pays = if self.pays == Pays::ProRata {
                    "pro_rata: {multiplier: \"20\"}".to_owned()
                } else {
                    format!("percent: \"{credit}\"")
                };
                format!("{{uptime_below: \"{}.{:04}\", pays: {{{pays}}}}}", below / 10_000, below % 10_000)
            })
            .collect();
        let tiers = if self.pays == Pays::ProRata { tiers[..1].join("") } else { tiers.join(", ") };
        let uptime = format!("{{kind: uptime, of: {}}}", word(self.whole_period, "whole_period", "while_it_existed"));
        let of = if self.per == Per::Mailbox { "affected_mailboxes" } else { "whole_account" };
        let fee = format!("{{kind: charged_fee, of: {of}, tax: included, charges: all}}");
        let (measure, schedule, base, limits) = match self.pays {
            Pays::Tiers | Pays::ProRata => {
                let boundary = word(self.at_or_below, "at_or_below", "below");
                (
                    uptime,
                    format!("{{kind: tiers_by_uptime, boundary: {boundary}, tiers: [{tiers}]}}"),
                    fee,
                    "[]".to_owned(),
                )
            }
            Pays::Bands => {
                let bands =
                    "{seconds: 20, pays: nothing}, {seconds: 90, pays: {percent: \"10\"}}, {pays: {percent: \"30\"}}";
                let bands = format!("{{kind: bands_by_length, boundary: up_to_and_with, bands: [{bands}]}}");
                ("{kind: time_down}".to_owned(), bands, fee, "[]".to_owned())
            }
            Pays::Units { started } => {
                let count = word(started, "started", "full");
                let each = format!("{{seconds: 25, count: {count}, after_seconds: 0, pays: {{percent: \"3\"}}}}");
                let limits = "[{kind: percent_of_base, percent: \"50\"}]".to_owned();
                ("{kind: outages}".to_owned(), format!("{{kind: always, pays: {{for_each: {each}}}}}"), fee, limits)
            }
            Pays::Flat => {
                let flat = "{kind: always, pays: {amount: \"1.5\"}}".to_owned();
                ("{kind: outages}".to_owned(), flat, "{kind: none}".to_owned(), "[]".to_owned())
            }
        };
        let per = match self.per {
            Per::Mailbox => "mailbox",
            Per::Minutes => "mailbox_minutes",
            Per::Account => "account",
        };
        let edges = match self.edges {
            Edges::Cut => "cut",
            Edges::Began => "where_it_began",
            Edges::Ended => "where_it_ended",
        };
        let pauses = self.pause.map_or_else(String::new, |(_, _, both)| {
            format!("{{kind: waiting, and_hours_after: 0, removes_from: {}}}", removes(both))
        });
        let unknown = ["", ", unknown: does_not_count", ", unknown: counts"][self.unknown];
        let reach = ["{kind: ignored}", "{kind: weighs}", "{kind: more_than, percent: \"50\"}"][self.reach];
        let rule = ["any", "all", "each"][self.rule];
        let starts = word(self.report.is_some(), "when_reported", "when_it_began");
        let money = |minor: i64| {
            let scale = 10i64.pow(decimals);
            let width = usize::try_from(decimals).unwrap();
            let fraction = if decimals == 0 { String::new() } else { format!(".{:0width$}", minor % scale) };
            format!("{{amount: \"{}{fraction}\", currency: {currency}}}", minor / scale)
        };
        let (zero, gross) = (money(0), money(self.gross));
        let (from, to) = days(month);
        let mut case = format!(
            "{{format: makegood.case/1, title: World, account: {{reference: '1', name: World, zone: Asia/Tokyo, currency: {currency}}},
            operator_zone: {zone}, subscription: '1', plan: mail, period: '{month}', as_of: '2030-01-01T00:00:00Z', terms_version: 1,
            terms: {{format: makegood.terms/1, name: Mail, promise: availability, currency: {currency},
              time: {{zone: {{kind: operator}}, period: calendar_month, edges: {edges}, hours: always{unknown}}},
              planned: {{kind: excused, minimum_notice_hours: 24, removes_from: {}, overrun: counts_from_the_announced_end}},
              clock: {{starts: {starts}, pauses: [{pauses}]}},
              remedies: [{{name: availability,
                down: {{capabilities: [receive, send, access], rule: {rule}, delayed: {{kind: counts, from_seconds: 900, weight_percent: '50'}}, degraded: {{kind: counts_by_weight}}, reach: {reach}}},
                outage_length: {length}, per: {per}, measure: {measure}, schedule: {schedule}, base: {base}, limits: {limits}}}],
              combination: sum, set_off: [], caps: [], rounding: {{mode: half_up, at: account_total}}, floors: [],
              payout: credit_on_bill, payment: automatic, change_in_period: split_period}},
            charges: [{{number: '1', invoiced_on: '{from}', service_from: '{from}', service_to: '{to}', quantity: {}, net: {gross}, tax: {zero}, gross: {gross}, tax_code: NONE, tax_rate_bp: 0}}],
            expect: {{credit: '0'}},",
            removes(self.denominator),
            self.quantity
        );
        self.facts(&mut case);
        case
    }

    fn facts(&self, case: &mut String) {
        let shard = |shard: Option<usize>| shard.map_or("null", |shard| SHARDS[shard]);
        let source = |second: bool| if second { "second" } else { "first" };
        case.push_str("mailboxes: [");
        for (index, moves) in self.mailboxes.iter().enumerate() {
            let lives: Vec<String> = moves
                .iter()
                .map(|(from, on, second)| {
                    format!("{{from: '{}', shard: {}, source: {}}}", self.at(*from), shard(*on), source(*second))
                })
                .collect();
            write!(case, "{{prefix: box{index}, count: 1, lives: [{}]}},", lives.join(", ")).unwrap();
        }
        case.push_str("], windows: [");
        for (index, window) in self.windows.iter().enumerate() {
            let impact = match (window.degraded, window.delayed) {
                (Some(weight), _) => format!("{{kind: degraded, weight_bp: {weight}}}"),
                (None, Some(seconds)) => format!("{{kind: delayed, seconds: {seconds}}}"),
                (None, None) => "{kind: full}".to_owned(),
            };
            let planned = window.planned.map_or_else(String::new, |(offset, length, hours)| {
                let start = window.start + offset;
                let (told, from, to) = (self.at(start - hours * 3_600), self.at(start), self.at(start + length));
                format!(", planned: {{announced_at: '{told}', interval: {{start: '{from}', end: '{to}'}}}}")
            });
            let shards: Vec<&str> = window.shards.iter().map(|shard| SHARDS[*shard]).collect();
            let state = if window.retracted { "retracted" } else { "confirmed" };
            let certainty = if window.unknown { ", certainty: unknown" } else { "" };
            write!(
                case,
                "{{name: w{index}, scope: {{shards: [{}]}}, capability: {}, start: '{}', end: '{}', impact: {impact}, reach: {{hit: {}, of: 7}}, state: {state}{planned}{certainty}}},",
                shards.join(", "),
                CAPABILITIES[window.capability],
                self.at(window.start),
                self.at(window.start + window.length),
                window.hit,
            )
            .unwrap();
        }
        case.push(']');
        if let Some(report) = self.report {
            write!(case, ", reports: ['{}']", self.at(report)).unwrap();
        }
        if let Some((from, length, _)) = self.pause {
            let (start, end) = (self.at(from), self.at(from + length));
            write!(case, ", pauses: [{{kind: waiting, interval: {{start: '{start}', end: '{end}'}}}}]").unwrap();
        }
        case.push('}');
    }
}

/// The first day of a month, and that of the next.
fn days(month: &str) -> (String, String) {
    let next = match month {
        "2026-06" => "2026-07",
        "2028-02" => "2028-03",
        "2026-03" => "2026-04",
        "2026-11" => "2026-12",
        "2026-09" => "2026-10",
        "2026-10" => "2026-11",
        _ => "2026-05",
    };
    (format!("{month}-01"), format!("{next}-01"))
}

/// Weights are in units of 1 / (10,000 x 7).
const UNIT: i128 = 70_000;

/// What one mailbox (or several as one) went through, counted by hand.
struct Counted {
    promised: i128,
    /// Seconds down in units, outage by outage; none of 0.
    outages: Vec<i128>,
}

fn count(world: &World, lives: &[&[Move]], alone: Option<usize>) -> Option<Counted> {
    let lived = |second: i64, moves: &[Move], directory: bool| {
        let last = moves.iter().filter(|one| one.2 == directory && one.0 <= second).max_by_key(|one| one.0);
        last.and_then(|one| one.1)
    };
    let at_home = |second: i64, moves: &[Move]| -> BTreeSet<usize> {
        [lived(second, moves, false), lived(second, moves, true)].into_iter().flatten().collect()
    };
    let homes = |second: i64| -> BTreeSet<usize> { lives.iter().flat_map(|moves| at_home(second, moves)).collect() };
    let is_paused = |second: i64| world.pause.is_some_and(|(from, length, _)| from <= second && second < from + length);
    let not_promised = |second: i64| is_paused(second) && world.pause.is_some_and(|(.., both)| both);
    let promised_at = |second: i64| world.whole_period || !homes(second).is_empty();
    let mut promised = 0i128;
    let mut existed = false;
    let mut runs: Vec<Vec<(i64, i128)>> = Vec::new();
    let mut goes_on = false;
    for second in -BAND..=BAND {
        let weight = |window: &Window| {
            let impact = match (window.degraded, window.delayed) {
                _ if window.unknown && world.unknown < 2 => 0,
                (Some(weight), _) => i128::from(weight),
                (None, Some(seconds)) => i128::from(seconds >= 900) * 5_000,
                (None, None) => 10_000,
            };
            impact * [7, i128::from(window.hit), i128::from(window.hit * 2 > 7) * 7][world.reach]
        };
        let excusing = |window: &&&Window| {
            window.planned.is_some_and(|(offset, length, hours)| {
                let from = window.start + offset;
                hours >= 24 && from <= second && second < from + length
            })
        };
        // Each mailbox by itself: what it lost, what of that is excused.
        let (mut is_excused, mut before, mut after) = (false, 0, 0);
        for moves in lives {
            let homes = at_home(second, moves);
            let on: Vec<&Window> = world
                .windows
                .iter()
                .filter(|window| !window.retracted && window.start <= second && second < window.start + window.length)
                .filter(|window| homes.iter().any(|home| window.shards.contains(home)))
                .filter(|window| alone.is_none_or(|alone| window.capability == alone))
                .collect();
            let excused: Vec<usize> = on.iter().filter(excusing).map(|window| window.capability).collect();
            let lost = |cut: bool| {
                let each = (0..3).filter(|one| alone.is_none_or(|alone| alone == *one)).map(|capability| {
                    let those = on.iter().filter(|window| window.capability == capability);
                    those.filter(|_| !cut || !excused.contains(&capability)).map(|one| weight(one)).max().unwrap_or(0)
                });
                if world.rule == 1 { each.min().unwrap() } else { each.max().unwrap() }
            };
            is_excused |= !excused.is_empty();
            (before, after) = (before.max(lost(false)), after.max(lost(true)));
        }
        if world.is_inside(second) && second.abs() <= BAND && second < BAND {
            existed |= !homes(second).is_empty();
            promised += i128::from(promised_at(second) && !not_promised(second));
            promised -= i128::from(world.denominator && is_excused && !not_promised(second));
        }
        if before > 0 {
            if !goes_on {
                runs.push(Vec::new());
            }
            let counts = if is_paused(second) { 0 } else { after };
            runs.last_mut().unwrap().push((second, counts));
        }
        goes_on = before > 0;
    }
    // The rest of the month: nothing happens in it.
    let far = if world.at_end { -BAND - 1 } else { BAND };
    existed |= !homes(far).is_empty();
    promised += i128::from(promised_at(far)) * i128::from(world.seconds_of_month() - BAND);
    let outages = runs.iter().map(|run| settled(world, run)).filter(|down| *down > 0).collect();
    existed.then_some(Counted { promised, outages })
}

/// What of one outage counts.
fn settled(world: &World, run: &[(i64, i128)]) -> i128 {
    let (first, last) = (run[0].0, run[run.len() - 1].0);
    let reported = match world.report {
        None => Some(first),
        Some(report) => Some(report).filter(|report| first <= *report && *report <= last),
    };
    let counts = |one: &(i64, i128)| reported.filter(|from| *from <= one.0).map_or(0, |_| one.1);
    let fits = |length: usize| {
        world.length.is_none_or(|(at_least, seconds, _)| (i64::try_from(length).unwrap() >= seconds) == at_least)
    };
    let down: Vec<(i64, i128)> = run.iter().map(|one| (one.0, counts(one))).collect();
    let left = |pieces: &[(i64, i128)]| pieces.iter().filter(|one| one.1 > 0).count();
    let kept: Vec<&(i64, i128)> = match world.length.map_or(0, |length| length.2) {
        0 if fits(down.len()) => down.iter().collect(),
        1 if fits(left(&down)) => down.iter().collect(),
        2 => down.chunk_by(|a, b| a.1 > 0 && b.1 > 0).filter(|piece| fits(left(piece))).flatten().collect(),
        _ => Vec::new(),
    };
    let belongs = |second: i64| match world.edges {
        Edges::Cut => world.is_inside(second),
        Edges::Began => world.is_inside(first),
        Edges::Ended => world.is_inside(last),
    };
    kept.into_iter().filter(|one| belongs(one.0)).map(|one| one.1).sum()
}

/// What one promise is due: numerator and denominator of a share of the fee, and a number of flat amounts.
fn due(world: &World, counted: &Counted) -> (i128, i128, i128) {
    let down: i128 = counted.outages.iter().sum();
    let promised = counted.promised * UNIT;
    let missed = |below: i128| {
        let (left, right) = ((promised - down) * 1_000_000, below * promised);
        promised > 0 && if world.at_or_below { left <= right } else { left < right }
    };
    match world.pays {
        Pays::Tiers => {
            let percent = TIERS.iter().filter(|(below, _)| missed(*below)).map(|(_, credit)| *credit).max();
            (percent.unwrap_or(0), 100, 0)
        }
        Pays::ProRata if missed(TIERS[0].0) => (20 * down, promised, 0),
        Pays::ProRata => (0, 1, 0),
        Pays::Bands => {
            let band = BANDS.iter().find(|(seconds, _)| down <= seconds.saturating_mul(UNIT)).unwrap();
            (band.1, 100, 0)
        }
        Pays::Units { started } => {
            let units = |down: &i128| (down + if started { 25 * UNIT - 1 } else { 0 }) / (25 * UNIT);
            (counted.outages.iter().map(units).sum::<i128>().saturating_mul(3).min(50), 100, 0)
        }
        Pays::Flat => (0, 1, i128::try_from(counted.outages.len()).unwrap()),
    }
}

/// The credit in minor units.
fn oracle(world: &World) -> i128 {
    let minor = 10i128.pow(CURRENCIES[world.currency].1);
    let alone: Vec<Option<usize>> = if world.rule == 2 { (0..3).map(Some).collect() } else { vec![None] };
    // A sum of fractions: (numerator, denominator).
    let mut sum = (0i128, 1i128);
    let mut add = |numerator: i128, denominator: i128| {
        sum = (sum.0 * denominator + numerator * sum.1, sum.1 * denominator);
        let divisor = gcd(sum.0.abs(), sum.1);
        sum = (sum.0 / divisor, sum.1 / divisor);
    };
    let all: Vec<&[Move]> = world.mailboxes.iter().map(Vec::as_slice).collect();
    for alone in alone {
        let each: Vec<Counted> = match world.per {
            Per::Account => count(world, &all, alone).into_iter().collect(),
            Per::Mailbox | Per::Minutes => all.iter().filter_map(|moves| count(world, &[moves], alone)).collect(),
        };
        let judged: Vec<Counted> = match world.per {
            Per::Mailbox => each,
            Per::Account if each.is_empty() => Vec::new(),
            Per::Account => each,
            Per::Minutes if each.is_empty() => Vec::new(),
            Per::Minutes => vec![Counted {
                promised: each.iter().map(|one| one.promised).sum(),
                outages: vec![each.iter().flat_map(|one| &one.outages).sum()],
            }],
        };
        for one in judged {
            let (share, of, flat) = due(world, &one);
            let quantity = if world.per == Per::Mailbox { i128::from(world.quantity) } else { 1 };
            add(share * i128::from(world.gross), of * quantity);
            add(flat * 3 * minor, 2);
        }
    }
    (2 * sum.0 + sum.1) / (2 * sum.1)
}

fn gcd(a: i128, b: i128) -> i128 {
    if b == 0 { a.max(1) } else { gcd(b, a % b) }
}

fn amount(sum: &Assessment) -> i128 {
    match &sum.outcome {
        Outcome::Credit { amount } => i128::from(amount.minor()),
        Outcome::ServiceDays { .. } | Outcome::NothingDue { .. } => 0,
    }
}

/// Ten thousand worlds where everything is checked, fewer on a desk.
fn worlds() -> ProptestConfig {
    let cases = if std::env::var_os("CI").is_some() { 10_000 } else { 1_000 };
    ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(cases),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(worlds())]

    #[test]
    fn the_engine_agrees_with_counting_second_by_second(world in world()) {
        let text = world.case();
        let case = Case::parse(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(case.terms.lint(), Vec::new());
        let sum = assess(&case.inputs()).unwrap();
        prop_assert_eq!(amount(&sum), oracle(&world), "{}", Receipt::of(case.inputs()).unwrap().text());
    }
}

proptest! {
    #[test]
    fn the_order_of_facts_and_facts_said_twice_change_nothing(world in world()) {
        let straight = Case::parse(&world.case()).unwrap().inputs();
        let mut turned = straight.clone();
        turned.windows.extend(straight.windows.first().cloned());
        turned.mailboxes.extend(straight.mailboxes.last().cloned());
        turned.charges.extend(straight.charges.clone());
        turned.pauses.extend(straight.pauses.clone());
        turned.reports.extend(straight.reports.clone());
        turned.windows.reverse();
        turned.mailboxes.reverse();
        let turn = world.turn % turned.windows.len().max(1);
        turned.windows.rotate_left(turn);
        for mailbox in &mut turned.mailboxes {
            mailbox.events.reverse();
        }
        prop_assert_eq!(amount(&assess(&straight).unwrap()), amount(&assess(&turned).unwrap()));
        let (straight, turned) = (Receipt::of(straight).unwrap(), Receipt::of(turned).unwrap());
        prop_assert_eq!(&straight, &turned);
        prop_assert!(Receipt::verify(&straight.to_json()).is_ok());
        let contested = straight.assessment.blockers.iter().any(|one| matches!(one, Blocker::ContestedPlacement { .. }));
        let groups = || straight.assessment.strands.iter().flat_map(|strand| &strand.groups);
        prop_assert_eq!(contested, groups().any(|group| group.contested));
    }
}
