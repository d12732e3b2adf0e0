//! The engine against its case files, and against an oracle that counts second by second.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use makegood::cli::evaluate;
use makegood::domain::assess::{AccountFacts, Agreement, Inputs, assess};
use makegood::domain::assessment::{Assessment, Blocker, Outcome};
use makegood::domain::case::Case;
use makegood::domain::charge::Charge;
use makegood::domain::ids::WindowId;
use makegood::domain::money::{Currency, Money};
use makegood::domain::period::Zone;
use makegood::domain::placement::{MailboxHistory, PlacementEvent};
use makegood::domain::ratio::Ratio;
use makegood::domain::receipt::{NotVerified, Receipt};
use makegood::domain::terms::Terms;
use makegood::domain::time::{HOUR, Instant, Interval, SECOND};
use makegood::domain::window::{Announcement, Capability, Impact, OutageWindow, Scope, WindowState};
use proptest::prelude::*;

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The published schemes whose terms are told as cases, by their folder, and how many cases each has.
const SCHEMES: [(&str, usize); 15] = [
    ("abetteroutlook_shards", 6),
    ("aws_s3", 5),
    ("cloudflare_business", 5),
    ("germany_tkg58", 6),
    ("google_gmail_isp", 5),
    ("google_workspace", 8),
    ("illinois_732", 6),
    ("italy_agcom", 6),
    // One outage across the end of a month is a case for each month.
    ("level3_crossroads", 6),
    ("microsoft_exchange_online", 8),
    ("ny_psc_credit", 6),
    ("ofcom_auto_compensation", 6),
    ("rackspace_half_hour", 6),
    ("slack_multiplier", 6),
    ("telecom_nz_xt_2010", 5),
];

/// Our own cases, and those of the published schemes in their folders.
fn cases() -> Vec<PathBuf> {
    let (folders, mut cases): (Vec<PathBuf>, Vec<PathBuf>) =
        files("tests/cases").into_iter().partition(|path| path.is_dir());
    assert!(cases.len() >= 25, "cases are missing");
    let mut schemes = Vec::new();
    for folder in &folders {
        let name = folder.file_name().unwrap().to_str().unwrap();
        let of_scheme = files(&format!("tests/cases/{name}"));
        schemes.push((name, of_scheme.len()));
        cases.extend(of_scheme);
    }
    assert_eq!(schemes, SCHEMES);
    assert_eq!(schemes.iter().map(|(_, count)| count).sum::<usize>(), 90);
    cases
}

fn harbour_freight() -> Receipt {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/harbour_freight_october.yaml");
    Case::parse(&std::fs::read_to_string(path).unwrap()).unwrap().evaluate().unwrap().receipt
}

#[test]
fn every_case_comes_out_as_it_expects_and_its_receipt_verifies() {
    let mut wrong = Vec::new();
    for file in cases() {
        let case = Case::parse(&std::fs::read_to_string(&file).unwrap());
        let report = case.map_err(|error| format!("{file:?}: {error}")).unwrap().evaluate().unwrap();
        if !report.agrees {
            wrong.push(format!("{}: {:#?}\n{}", file.display(), report.differences, report.receipt.text()));
        }
        let verified = Receipt::verify(&report.receipt.to_json()).unwrap();
        assert_eq!(verified.receipt, report.receipt, "{file:?}");
        parts_add_up(&report.receipt.assessment);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn evaluate_and_verify_answer_with_their_exit_codes() {
    let folder = std::env::temp_dir().join(format!("makegood-engine-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let case = std::fs::read_to_string(&files("tests/cases")[0]).unwrap();
    let good = write("good.yaml", &case);
    let case =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/harbour_freight_october.yaml"));
    let wrong = write("wrong.yaml", &case.unwrap().replace("credit: \"25.00\"", "credit: \"25.01\""));
    let neither = write("neither.yaml", "format: something\n");
    assert_eq!(evaluate::evaluate(std::slice::from_ref(&good), true), 0);
    assert_eq!(evaluate::evaluate(&[good.clone(), wrong.clone()], true), 1);
    assert_eq!(evaluate::evaluate(&[good, wrong, neither.clone()], false), 2);
    let receipt = harbour_freight().to_json();
    assert_eq!(evaluate::verify(&write("receipt.json", &receipt), true), 0);
    assert_eq!(evaluate::verify(&write("changed.json", &receipt.replace("INV-88120", "INV-88121")), true), 1);
    assert_eq!(evaluate::verify(&neither, false), 2);
    assert_eq!(evaluate::verify(&folder.join("absent.json"), false), 2);
    std::fs::remove_dir_all(&folder).unwrap();
}

/// What `verify` says of the worked example's receipt after one change to its text.
fn after(change: &str, to: &str) -> Vec<String> {
    let receipt = harbour_freight().to_json();
    let (inputs, results) = receipt.split_at(receipt.find("\"steps\"").unwrap());
    assert!(inputs.contains(change), "{change} is not in the inputs");
    match Receipt::verify(&format!("{}{results}", inputs.replacen(change, to, 1))) {
        Err(NotVerified::Differs(differences)) => differences.into_iter().map(|one| one.at).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_changed_second_price_or_word_of_a_receipt_is_named() {
    let second = after("2026-10-13T15:10:00Z", "2026-10-13T15:10:01Z");
    assert_eq!(second[..2], ["/input_hashes/windows", "/inputs_hash"]);
    let price = after("\"amount\": \"150.00\"", "\"amount\": \"150.01\"");
    assert_eq!(price[..2], ["/input_hashes/charges", "/inputs_hash"]);
    assert!(price.contains(&"/steps/base/numbers/fee_whole".to_owned()), "{price:?}");
    let word = after("\"rule\": \"any\"", "\"rule\": \"all\"");
    assert_eq!(word[..2], ["/input_hashes/terms", "/inputs_hash"]);
    assert!(word.contains(&"/steps/capability_rule/says".to_owned()), "{word:?}");
    assert!(word.contains(&"/assessment/outcome/kind".to_owned()), "{word:?}");
    let name = after("Harbour Freight", "Harbor Freight");
    assert_eq!(name, ["/input_hashes/account", "/inputs_hash"]);
}

#[test]
fn a_changed_result_of_a_receipt_is_named_with_both_values() {
    let receipt = harbour_freight().to_json().replace("\"25.00\"", "\"26.00\"");
    let Err(NotVerified::Differs(differences)) = Receipt::verify(&receipt) else { panic!() };
    assert_eq!(differences[0].at, "/assessment/outcome/amount/amount");
    assert_eq!((differences[0].says.as_str(), differences[0].recomputed.as_str()), ("26.00", "25.00"));
    assert!(matches!(Receipt::verify("{}"), Err(NotVerified::NotAReceipt(_))));
}

#[test]
fn the_worked_example_reads_as_a_person_would_say_it() {
    let text = harbour_freight().text();
    for said in [
        "Harbour Freight Brokers Ltd · Business Mail · October 2026 · Pacific/Auckland",
        "8 of 12 mailboxes affected",
        "30 min did not count: overlap with record 2",
        "(44,640 - 1,335) / 44,640 = 97.009 %",
        "at most 44.64 minutes down",
        "8 mailboxes x 12.50 x 25 % = 25.00",
        "announced 11 Oct 02:00 for 20 Oct 02:00 to 20 Oct 02:40, 9 days ahead",
        "Credit: NZD 25.00",
    ] {
        assert!(text.contains(said), "{said:?} is not in\n{text}");
    }
}

#[test]
fn the_demo_terms_can_be_published() {
    let files = files("assets/terms");
    assert_eq!(files.len(), 3);
    for file in files {
        let terms = Terms::parse(&std::fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(terms.lint(), [], "{file:?}");
    }
}

/// Every line is what counted and what did not; the worst group's lines are the total; the parts are the sum.
fn parts_add_up(sum: &Assessment) {
    for strand in &sum.strands {
        for line in &strand.lines {
            let uncounted: i64 = line.uncounted.iter().map(|part| part.micros).sum();
            assert_eq!(line.measured_micros, line.counted_micros + uncounted);
        }
        for group in &strand.groups {
            let counted: i64 = group.lines.iter().map(|line| line.counted_micros).sum();
            assert_eq!(counted, group.counted_micros);
            let drawn = group.pieces.windows(2).all(|pair| pair[0].interval.end() <= pair[1].interval.start());
            assert!(drawn, "pieces overlap");
        }
        let counted: i64 = strand.lines.iter().filter(|line| line.group == 0).map(|line| line.counted_micros).sum();
        assert_eq!(counted, strand.total.counted_micros);
        let exact = total(strand.parts.iter().map(|part| part.exact));
        assert_eq!(exact, strand.exact);
        for part in &strand.parts {
            let count = Ratio::whole(i64::try_from(part.mailboxes).unwrap());
            assert_eq!(part.each.times(count).unwrap(), part.exact);
        }
        if strand.account.is_none() {
            let missed: usize = strand.parts.iter().map(|part| part.mailboxes).sum();
            assert_eq!(missed, strand.total.missed);
        }
    }
    assert_eq!(total(sum.strands.iter().filter(|strand| strand.is_paid).map(|strand| strand.exact)), sum.exact);
}

fn total(figures: impl Iterator<Item = Ratio>) -> Ratio {
    figures.fold(Ratio::ZERO, |sum, one| sum.plus(one).unwrap())
}

/// A world around the first midnight of June 2026: everything happens within half an hour of it, on the second.
#[derive(Clone, Debug)]
struct World {
    rule_all: bool,
    whole_period: bool,
    denominator: bool,
    minimum: i64,
    left: bool,
    at_or_below: bool,
    mailboxes: Vec<Vec<(i64, Option<usize>, bool)>>,
    windows: Vec<Window>,
    gross: i64,
    quantity: u32,
    turn: usize,
}

#[derive(Clone, Debug)]
struct Window {
    shards: Vec<usize>,
    capability: usize,
    start: i64,
    length: i64,
    impact: Impact,
    /// Announced start and length after the window's own, and hours of notice.
    planned: Option<(i64, i64, i64)>,
    retracted: bool,
}

const BAND: i64 = 1_800;
const CAPABILITIES: [&str; 3] = ["receive", "send", "access"];
const SHARDS: [&str; 3] = ["mx-1", "mx-2", "mx-3"];
/// In hundredths of a percent, with what they credit in percent.
const TIERS: [(i128, i128); 3] = [(9_999, 5), (9_997, 15), (9_995, 40)];

fn window() -> impl Strategy<Value = Window> {
    let impact = prop_oneof![
        4 => Just(Impact::Full),
        1 => (0u16..=10_000).prop_map(|weight_bp| Impact::Degraded { weight_bp }),
        1 => (800u32..1_000).prop_map(|seconds| Impact::Delayed { seconds }),
    ];
    let planned = prop::option::weighted(0.3, (-120i64..120, 1i64..900, 20i64..30));
    let shards = prop::collection::vec(0usize..3, 1..3);
    (shards, 0usize..3, -BAND..BAND - 1, 1i64..900, impact, planned, prop::bool::weighted(0.1)).prop_map(
        |(shards, capability, start, length, impact, planned, retracted)| {
            let length = length.min(BAND - start);
            Window { shards, capability, start, length, impact, planned, retracted }
        },
    )
}

fn world() -> impl Strategy<Value = World> {
    // Each mailbox starts on a shard long before, and may move, be born or closed; a second directory may speak too.
    let event = (-BAND..BAND, prop::option::weighted(0.8, 0usize..3), prop::bool::weighted(0.2));
    let first = (Just(-90 * 86_400), prop::option::weighted(0.8, 0usize..3), Just(false));
    let mailbox = (first, prop::collection::vec(event, 0..3)).prop_map(|(first, mut more)| {
        let mut seen = BTreeSet::new();
        more.retain(|(at, _, second)| seen.insert((*at, *second)));
        more.push(first);
        more
    });
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (
        flags,
        prop_oneof![Just(0i64), 1i64..600],
        prop::collection::vec(mailbox, 0..4),
        prop::collection::vec(window(), 0..6),
        (0i64..100_000, 1u32..9, 0usize..7),
    )
        .prop_map(|(flags, minimum, mailboxes, windows, (gross, quantity, turn))| World {
            rule_all: flags.0,
            whole_period: flags.1,
            denominator: flags.2,
            left: flags.3,
            at_or_below: flags.4,
            minimum,
            mailboxes,
            windows,
            gross,
            quantity,
            turn,
        })
}

fn midnight() -> Instant {
    Instant::parse("2026-06-01T00:00:00Z").unwrap()
}

fn at(second: i64) -> Instant {
    midnight().plus(second * SECOND)
}

fn inputs(world: &World) -> Inputs {
    let word = |is: bool, yes: &str, no: &str| if is { yes.to_owned() } else { no.to_owned() };
    let tiers: Vec<String> = TIERS
        .iter()
        .map(|(below, credit)| {
            format!("{{uptime_below: \"{}.{:02}\", pays: {{percent: \"{credit}\"}}}}", below / 100, below % 100)
        })
        .collect();
    let length = if world.minimum == 0 {
        "{kind: any}".to_owned()
    } else {
        let of = word(world.left, "what_is_left", "before_cuts");
        format!("{{kind: at_least, seconds: {}, of: {of}}}", world.minimum)
    };
    let terms = format!(
        "{{format: makegood.terms/1, name: Mail, promise: availability,
        time: {{zone: {{kind: operator}}, period: calendar_month, edges: cut, hours: always}},
        planned: {{kind: excused, minimum_notice_hours: 24, removes_from: {}, overrun: counts_from_the_announced_end}},
        clock: {{starts: when_it_began, pauses: []}},
        remedies: [{{name: availability,
          down: {{capabilities: [receive, send, access], rule: {}, delayed: {{kind: counts, from_seconds: 900, weight_percent: \"50\"}}, degraded: {{kind: counts_by_weight}}, reach: {{kind: ignored}}}},
          outage_length: {length}, per: mailbox,
          measure: {{kind: uptime, of: {}}},
          schedule: {{kind: tiers_by_uptime, boundary: {}, tiers: [{}]}},
          base: {{kind: charged_fee, of: affected_mailboxes, tax: included, charges: all}}, limits: []}}],
        combination: sum, set_off: [], caps: [], rounding: {{mode: half_up, at: account_total}}, floors: [],
        payout: credit_on_bill, payment: automatic, change_in_period: split_period}}",
        word(world.denominator, "numerator_and_denominator", "numerator"),
        word(world.rule_all, "all", "any"),
        word(world.whole_period, "whole_period", "while_it_existed"),
        word(world.at_or_below, "at_or_below", "below"),
        tiers.join(", ")
    );
    let currency: Currency = "NZD".parse().unwrap();
    let event = |(from, shard, second): &(i64, Option<usize>, bool)| PlacementEvent {
        from: at(*from),
        shard: shard.map(|shard| SHARDS[shard].to_owned()),
        source: word(*second, "second", "first"),
    };
    let money = |minor: i64| Money::from_minor(minor, currency).unwrap();
    Inputs {
        account: AccountFacts {
            reference: "1".to_owned(),
            name: "World".to_owned(),
            zone: "Asia/Tokyo".parse().unwrap(),
            currency,
        },
        operator_zone: Zone::UTC,
        subscription: "1".to_owned(),
        term_ends: None,
        period: "2026-06".parse().unwrap(),
        agreements: vec![Agreement {
            from: Instant::MIN,
            plan: "mail".to_owned(),
            terms_version: 1,
            terms: Terms::parse(&terms).unwrap(),
        }],
        mailboxes: world
            .mailboxes
            .iter()
            .enumerate()
            .map(|(index, events)| MailboxHistory {
                mailbox: format!("box-{index}"),
                events: events.iter().map(event).collect(),
            })
            .collect(),
        windows: world.windows.iter().enumerate().map(|(index, window)| outage(index, window)).collect(),
        charges: vec![Charge {
            number: "1".to_owned(),
            item: None,
            invoiced_on: "2026-06-01".parse().unwrap(),
            service_from: "2026-06-01".parse().unwrap(),
            service_to: "2026-07-01".parse().unwrap(),
            quantity: world.quantity,
            net: money(world.gross),
            tax: money(0),
            gross: money(world.gross),
            tax_code: "NONE".to_owned(),
            tax_rate_bp: 0,
        }],
        calendars: Vec::new(),
        reports: Vec::new(),
        pauses: Vec::new(),
        samples: Vec::new(),
        events: Vec::new(),
        circumstances: Vec::new(),
        already_given: Vec::new(),
        history: None,
        requested_at: None,
        as_of: Instant::parse("2026-07-05T00:00:00Z").unwrap(),
    }
}

fn outage(index: usize, window: &Window) -> OutageWindow {
    let by = "somebody".to_owned();
    OutageWindow {
        id: WindowId::of("world", &index.to_string()),
        version: 1,
        scope: Scope::Shards(window.shards.iter().map(|shard| SHARDS[*shard].to_owned()).collect()),
        capability: Capability(CAPABILITIES[window.capability].to_owned()),
        start: at(window.start),
        end: Some(at(window.start + window.length)),
        impact: window.impact,
        reach: None,
        planned: window.planned.map(|(offset, length, hours)| {
            let start = at(window.start + offset);
            Announcement {
                announced_at: start.plus(-hours * HOUR),
                interval: Interval::new(start, start.plus(length * SECOND)).unwrap(),
            }
        }),
        state: if window.retracted {
            WindowState::Retracted { by, at: at(BAND) }
        } else {
            WindowState::Confirmed { by, at: at(BAND) }
        },
        reports: Vec::new(),
        reason: None,
    }
}

/// One mailbox, counted second by second: (time promised, time down in ten-thousandths of seconds).
fn counted_by_hand(world: &World, events: &[(i64, Option<usize>, bool)]) -> Option<(i128, i128)> {
    let month = 30 * 86_400;
    let lives = |second: i64, directory: bool| {
        let last = events.iter().filter(|event| event.2 == directory && event.0 <= second).max_by_key(|event| event.0);
        last.and_then(|event| event.1)
    };
    let homes = |second: i64| [lives(second, false), lives(second, true)];
    let (mut existed, mut excused_time, mut down) = (0i128, 0i128, 0i128);
    // A run of seconds that are down before cuts: (seconds before, seconds left, weight of those in the month).
    let mut run = (0i64, 0i64, 0i128);
    for second in -BAND..=BAND {
        let homes = homes(second);
        let on: Vec<&Window> = world
            .windows
            .iter()
            .filter(|window| !window.retracted && window.start <= second && second < window.start + window.length)
            .filter(|window| homes.iter().flatten().any(|home| window.shards.contains(home)))
            .collect();
        let excusing = |window: &&&Window| {
            window.planned.is_some_and(|(offset, length, hours)| {
                let from = window.start + offset;
                hours >= 24 && from <= second && second < from + length
            })
        };
        let excused: Vec<usize> = on.iter().filter(excusing).map(|window| window.capability).collect();
        let weight = |window: &Window| match window.impact {
            Impact::Full => 10_000,
            Impact::Degraded { weight_bp } => i128::from(weight_bp),
            Impact::Delayed { seconds } => i128::from(seconds >= 900) * 5_000,
        };
        let lost = |cut: bool| {
            let each = (0..3).map(|capability| {
                let those = on.iter().filter(|window| window.capability == capability);
                those.filter(|_| !cut || !excused.contains(&capability)).map(|window| weight(window)).max().unwrap_or(0)
            });
            if world.rule_all { each.min().unwrap() } else { each.max().unwrap() }
        };
        let inside = second >= 0;
        if inside && second < BAND {
            existed += i128::from(homes.iter().any(Option::is_some));
            excused_time += i128::from(!excused.is_empty());
        }
        if lost(false) > 0 {
            run.0 += 1;
            run.1 += i64::from(lost(true) > 0);
            run.2 += if inside { lost(true) } else { 0 };
        } else {
            let length = if world.left { run.1 } else { run.0 };
            down += if length >= world.minimum { run.2 } else { 0 };
            run = (0, 0, 0);
        }
    }
    if homes(BAND).iter().any(Option::is_some) {
        existed += i128::from(month - BAND);
    }
    if existed == 0 {
        return None;
    }
    let promised = if world.whole_period { i128::from(month) } else { existed };
    Some((promised - if world.denominator { excused_time } else { 0 }, down))
}

/// The credit in cents, and the downtime of each mailbox that was there, in ten-thousandths of seconds.
fn oracle(world: &World) -> (i128, Vec<i128>) {
    let (mut percents, mut downs) = (0i128, Vec::new());
    for events in &world.mailboxes {
        let Some((promised, down)) = counted_by_hand(world, events) else { continue };
        downs.push(down);
        // (promised - down / 10^4) / promised < below / 10^4
        let missed = |below: i128| {
            let (left, right) = (promised * 10_000 - down, below * promised);
            promised > 0 && if world.at_or_below { left <= right } else { left < right }
        };
        percents += TIERS.iter().filter(|(below, _)| missed(*below)).map(|(_, credit)| *credit).max().unwrap_or(0);
    }
    let (numerator, denominator) = (i128::from(world.gross) * percents, i128::from(world.quantity) * 100);
    downs.sort_unstable();
    ((2 * numerator + denominator) / (2 * denominator), downs)
}

proptest! {
    #[test]
    fn the_engine_agrees_with_counting_second_by_second(world in world()) {
        let inputs = inputs(&world);
        let sum = assess(&inputs).unwrap();
        parts_add_up(&sum);
        let (cents, downs) = oracle(&world);
        let mut found: Vec<String> = Vec::new();
        for group in &sum.strands[0].groups {
            for _ in &group.mailboxes {
                found.push(group.weighted_micros.to_string());
            }
        }
        // Ten-thousandths of seconds are hundreds of microseconds.
        let mut expected: Vec<String> = downs.iter().map(|down| (down * 100).to_string()).collect();
        found.sort();
        expected.sort();
        prop_assert_eq!(found, expected);
        let amount = match &sum.outcome {
            Outcome::Credit { amount } => i128::from(amount.minor()),
            Outcome::ServiceDays { .. } | Outcome::NothingDue { .. } => 0,
        };
        prop_assert_eq!(amount, cents);
    }

    #[test]
    fn the_order_of_facts_and_facts_said_twice_change_nothing(world in world()) {
        let straight = inputs(&world);
        let mut turned = straight.clone();
        turned.windows.extend(straight.windows.first().cloned());
        turned.mailboxes.extend(straight.mailboxes.last().cloned());
        turned.charges.extend(straight.charges.clone());
        turned.windows.reverse();
        turned.mailboxes.reverse();
        let turn = world.turn % turned.windows.len().max(1);
        turned.windows.rotate_left(turn);
        for mailbox in &mut turned.mailboxes {
            mailbox.events.reverse();
        }
        prop_assert_eq!(assess(&straight).unwrap(), assess(&turned).unwrap());
        let (straight, turned) = (Receipt::of(straight).unwrap(), Receipt::of(turned).unwrap());
        prop_assert_eq!(&straight, &turned);
        prop_assert!(Receipt::verify(&straight.to_json()).is_ok());
        let contested = straight.assessment.blockers.iter().any(|one| matches!(one, Blocker::ContestedPlacement { .. }));
        prop_assert_eq!(contested, straight.assessment.strands[0].groups.iter().any(|group| group.contested));
    }
}
