//! The running lines against the full pipeline: the same time for every mailbox, to the microsecond.

use std::collections::HashMap;

use makegood::domain::assess::{AccountFacts, Agreement, Inputs, assess};
use makegood::domain::ids::WindowId;
use makegood::domain::money::Currency;
use makegood::domain::period::Zone;
use makegood::domain::placement::{MailboxHistory, PlacementEvent};
use makegood::domain::running::{Homes, Lines, Shards};
use makegood::domain::terms::Terms;
use makegood::domain::time::{HOUR, Instant, Interval, MINUTE};
use makegood::domain::window::{Announcement, Capability, Certainty, Impact, OutageWindow, Scope, WindowState};
use proptest::prelude::*;

const BUSINESS: &str = include_str!("../assets/terms/business.yaml");
const SHARDS: [&str; 3] = ["mx-1", "mx-2", "mx-3"];
/// What windows say that they took: promised, a part or the whole of something promised, and never promised.
const CAPABILITIES: [&str; 5] = ["receive", "send", "access", "access.webmail", "calendar"];
const PROMISED: [&str; 4] =
    ["[receive, send, access]", "[access.webmail, access.imap]", "[receive]", "[send, receive]"];

/// Everything happens within this many microseconds of an edge of June 2026.
const BAND: i64 = 30 * MINUTE;

fn edge(late: bool) -> Instant {
    Instant::parse(if late { "2026-07-01T00:00:00Z" } else { "2026-06-01T00:00:00Z" }).unwrap()
}

fn moment() -> impl Strategy<Value = Instant> {
    // Coarse steps make edges meet, fine ones make them miss by a microsecond.
    let offset = prop_oneof![(-6i64..6).prop_map(|step| step * (BAND / 6)), -BAND..BAND];
    (any::<bool>(), offset).prop_map(|(late, offset)| edge(late).plus(offset))
}

/// Mostly around one edge, so that many are at once; some last for the month.
fn interval() -> impl Strategy<Value = Interval> {
    let within = (any::<bool>(), -BAND..BAND, 1..BAND).prop_map(|(late, from, length)| {
        let start = edge(late).plus(from);
        Interval::new(start, start.plus(length)).unwrap()
    });
    let between = (moment(), moment()).prop_map(|(a, b)| Interval::new(a.min(b), a.max(b).plus(1)).unwrap());
    prop_oneof![2 => within, 1 => between]
}

fn impact() -> impl Strategy<Value = Impact> {
    prop_oneof![
        4 => Just(Impact::Full),
        1 => prop_oneof![Just(0u16), 1u16..10_000, Just(10_000)].prop_map(|weight_bp| Impact::Degraded { weight_bp }),
        1 => (899u32..902).prop_map(|seconds| Impact::Delayed { seconds }),
    ]
}

fn window() -> impl Strategy<Value = OutageWindow> {
    let scope = prop_oneof![
        1 => Just(Scope::All),
        4 => prop::collection::vec(0usize..3, 1..4)
            .prop_map(|shards| Scope::Shards(shards.into_iter().map(|shard| SHARDS[shard].to_owned()).collect())),
    ];
    // What is a part of something else is excused with it: that has to happen often.
    let capability = prop_oneof![2 => 0usize..3, 3 => 2usize..4, 1 => Just(4usize)];
    // Announced for just the time that it took, or for another.
    let planned = prop::option::weighted(0.4, (prop::option::of(interval()), 23i64..26));
    let certainty = prop_oneof![4 => Just(Certainty::Known), 1 => Just(Certainty::Unknown)];
    let what = (capability, impact(), certainty);
    (scope, what, interval(), prop::bool::weighted(0.9), planned, prop::bool::weighted(0.9)).prop_map(
        |(scope, (capability, impact, certainty), interval, ended, planned, confirmed)| {
            let (by, at) = ("somebody".to_owned(), edge(true));
            OutageWindow {
                id: WindowId::of("world", ""),
                version: 1,
                about: None,
                certainty,
                scope,
                capability: Capability(CAPABILITIES[capability].to_owned()),
                start: interval.start(),
                end: ended.then_some(interval.end()),
                impact,
                reach: None,
                planned: planned.map(|(announced, hours)| {
                    let interval = announced.unwrap_or(interval);
                    Announcement { announced_at: interval.start().plus(-hours * HOUR), interval }
                }),
                state: if confirmed { WindowState::Confirmed { by, at } } else { WindowState::Retracted { by, at } },
                reports: Vec::new(),
                reason: None,
            }
        },
    )
}

/// Windows of one or two versions each, 30 % of them seen a second time by another monitor.
fn windows() -> impl Strategy<Value = Vec<OutageWindow>> {
    let seen = (window(), prop::option::weighted(0.2, window()), prop::option::weighted(0.3, -90i64..90));
    prop::collection::vec(seen, 0..12).prop_map(|seen| {
        let mut windows = Vec::new();
        for (index, (window, amended, again)) in seen.into_iter().enumerate() {
            let id = WindowId::of("world", &index.to_string());
            windows.extend(again.map(|jitter| OutageWindow {
                id: WindowId::of("another", &index.to_string()),
                start: window.start.plus(jitter),
                end: window.end.map(|end| end.plus(jitter)),
                ..window.clone()
            }));
            windows.extend(amended.map(|amended| OutageWindow { id, version: 2, ..amended }));
            windows.push(OutageWindow { id, ..window });
        }
        windows
    })
}

fn mailbox() -> impl Strategy<Value = Vec<PlacementEvent>> {
    let shard = || prop::option::weighted(0.8, 0usize..3);
    let event = (moment(), shard(), prop::bool::weighted(0.1));
    (shard(), prop::collection::vec(event, 0..4)).prop_map(|(first, more)| {
        let told = |from, shard: Option<usize>, second: bool| PlacementEvent {
            from,
            shard: shard.map(|shard| SHARDS[shard].to_owned()),
            source: if second { "second".to_owned() } else { "first".to_owned() },
        };
        let mut events = vec![told(edge(false).plus(-90 * 24 * HOUR), first, false)];
        for (from, shard, second) in more {
            if !events.iter().any(|event| event.from == from) {
                events.push(told(from, shard, second));
            }
        }
        events
    })
}

fn terms() -> impl Strategy<Value = Terms> {
    let minimum = prop_oneof![3 => Just(0u32), 1 => 1u32..1_000];
    let words = (0usize..3, 0usize..3, any::<bool>(), prop::bool::weighted(0.8), 0usize..3);
    (0usize..4, any::<bool>(), words, minimum).prop_map(
        |(promised, all, (late, slow, denominator, excused, unknown), minimum)| {
            let delayed = [
                "{kind: counts, from_seconds: 900, weight_percent: \"100\"}",
                "{kind: counts, from_seconds: 900, weight_percent: \"50\"}",
                "{kind: never_counts}",
            ];
            let mut text = BUSINESS.to_owned();
            for (from, to) in [
                ("[receive, send, access]", PROMISED[promised]),
                ("rule: any", if all { "rule: all" } else { "rule: any" }),
                (delayed[0], delayed[late]),
                (
                    "{kind: counts_by_weight}",
                    ["{kind: counts_by_weight}", "{kind: counts_in_full}", "{kind: never_counts}"][slow],
                ),
                (
                    "hours: always",
                    ["hours: always", "hours: always\n  unknown: does_not_count", "hours: always\n  unknown: counts"]
                        [unknown],
                ),
                (
                    "removes_from: numerator",
                    if denominator { "removes_from: numerator_and_denominator" } else { "removes_from: numerator" },
                ),
                (
                    "outage_length: {kind: any}",
                    &match minimum {
                        0 => "outage_length: {kind: any}".to_owned(),
                        _ => format!("outage_length: {{kind: at_least, seconds: {minimum}, of: before_cuts}}"),
                    },
                ),
                (
                    if excused { "kind: account" } else { "planned: {kind: excused, minimum_notice_hours: 24, " },
                    if excused { "kind: operator" } else { "planned: {kind: counts} #" },
                ),
            ] {
                assert!(text.contains(from), "{from}");
                text = text.replace(from, to);
            }
            Terms::parse(&text).unwrap()
        },
    )
}

fn inputs(terms: Terms, windows: Vec<OutageWindow>, mailboxes: Vec<Vec<PlacementEvent>>) -> Inputs {
    let currency: Currency = "EUR".parse().unwrap();
    Inputs {
        account: AccountFacts { reference: "1".to_owned(), name: "World".to_owned(), zone: Zone::UTC, currency },
        operator_zone: Zone::UTC,
        subscription: "1".to_owned(),
        term_ends: None,
        period: "2026-06".parse().unwrap(),
        agreements: vec![Agreement { from: Instant::MIN, plan: "mail".to_owned(), terms_version: 1, terms }],
        mailboxes: mailboxes
            .into_iter()
            .enumerate()
            .map(|(index, events)| MailboxHistory { mailbox: index.to_string(), events })
            .collect(),
        windows,
        charges: Vec::new(),
        calendars: Vec::new(),
        reports: Vec::new(),
        pauses: Vec::new(),
        samples: Vec::new(),
        events: Vec::new(),
        circumstances: Vec::new(),
        already_given: Vec::new(),
        history: None,
        requested_at: None,
        as_of: edge(true).plus(-MINUTE),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_lines_give_each_mailbox_the_time_that_the_full_pipeline_gives(
        terms in terms(),
        windows in windows(),
        mailboxes in prop::collection::vec(mailbox(), 0..8),
    ) {
        let inputs = inputs(terms, windows, mailboxes);
        let full = assess(&inputs).unwrap();
        let terms = inputs.terms().unwrap();
        let remedy = &terms.remedies[0];
        let groups: HashMap<&str, _> =
            full.strands[0].groups.iter().flat_map(|group| group.mailboxes.iter().map(move |one| (one.as_str(), group))).collect();
        let (mut shards, mut homes, mut quick) = (Shards::default(), Homes::new(full.period), Vec::new());
        // Some shards get their numbers before the lines are built, and some after.
        let (before, after) = inputs.mailboxes.split_at(inputs.mailboxes.len() / 2);
        let mut push = |some: &[MailboxHistory], shards: &mut Shards| {
            for history in some {
                match homes.push_history(history, shards).unwrap() {
                    Some(number) => quick.push((history.mailbox.clone(), number)),
                    None => assert!(groups[history.mailbox.as_str()].contested),
                }
            }
        };
        push(before, &mut shards);
        let lines = Lines::build(&inputs.windows, (terms, remedy), full.period, inputs.as_of, &mut shards).unwrap();
        push(after, &mut shards);
        prop_assert_eq!(quick.len(), homes.len());
        prop_assert_eq!(
            inputs.mailboxes.len() - quick.len(),
            full.strands[0].groups.iter().filter(|group| group.contested).map(|group| group.mailboxes.len()).sum::<usize>()
        );
        for (mailbox, number) in quick {
            let counted = lines.counted_micros(&homes, number);
            let Some(group) = groups.get(mailbox.as_str()) else {
                prop_assert_eq!((homes.existed_micros(number), counted), (0, 0));
                continue;
            };
            let existed: i64 = group.stays.iter().map(|stay| stay.interval.micros()).sum();
            prop_assert_eq!(homes.existed_micros(number), existed);
            prop_assert_eq!(lines.excused_micros(&homes, number), group.excused_micros);
            if !Lines::applies(terms, remedy) {
                prop_assert!(counted >= group.counted_micros);
                continue;
            }
            prop_assert_eq!(counted, group.counted_micros);
            if !lines.needs_weights(&homes, number) {
                prop_assert_eq!(counted.to_string(), group.weighted_micros.to_string());
            }
        }
    }
}

#[test]
fn stays_that_overlap_are_refused_and_leave_no_trace() {
    let (start, middle, end) = (edge(false), edge(false).plus(HOUR), edge(true));
    let stay = |from, until| Interval::new(from, until).unwrap();
    let mut homes = Homes::new(stay(start, end));
    assert_eq!(homes.push(&[(0, stay(start, middle)), (1, stay(middle.plus(-1), end))]), None);
    assert_eq!(homes.push(&[(0, stay(start.plus(-HOUR), end.plus(HOUR)))]), Some(0));
    assert_eq!(homes.push(&[(0, stay(start, middle)), (1, stay(middle.plus(1), end))]), Some(1));
    assert_eq!(homes.push(&[(1, stay(end, end.plus(1)))]), Some(2));
    let whole = stay(start, end).micros();
    assert_eq!([0, 1, 2].map(|mailbox| homes.existed_micros(mailbox)), [whole, whole - 1, 0]);
    homes.shrink();
    assert_eq!(homes.bytes(), 4 * (3 + 3 + 2) + 8 * (2 + 2));
}
