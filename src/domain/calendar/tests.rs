use proptest::prelude::*;

use super::*;
use crate::domain::time::{HOUR, MINUTE};

fn at(text: &str) -> Instant {
    Instant::parse(text).unwrap()
}

fn on(text: &str) -> NaiveDate {
    date(text).unwrap()
}

fn zone(name: &str) -> Zone {
    name.parse().unwrap()
}

fn span(from: &str, to: &str) -> Interval {
    Interval::new(at(from), at(to)).unwrap()
}

fn hours(day: Weekday, from: &str, to: &str) -> DayHours {
    DayHours { day, from: from.to_owned(), to: to.to_owned() }
}

/// Monday to Friday in two stretches, Saturday mornings; the end of 2026 in New Zealand.
fn calendar() -> Calendar {
    let mut working_hours: Vec<DayHours> = Weekday::ALL[..5]
        .iter()
        .flat_map(|day| [hours(*day, "08:30", "12:00"), hours(*day, "12:30", "17:00")])
        .collect();
    working_hours.push(hours(Weekday::Saturday, "09:00", "12:00"));
    let named = [
        ("2026-10-26", "Labour Day"),
        ("2026-12-25", "Christmas Day"),
        ("2026-12-28", "Boxing Day"),
        ("2027-01-01", "New Year's Day"),
        ("2027-01-04", "Day after New Year's Day"),
    ];
    Calendar {
        name: "nz-auckland".to_owned(),
        version: 1,
        weekend: vec![Weekday::Saturday, Weekday::Sunday],
        holidays: named.into_iter().map(|(day, name)| (on(day), name.to_owned())).collect(),
        working_hours,
    }
}

/// A calendar that is worked on `day` of every week, and says nothing else.
fn only(day: Weekday, from: &str, to: &str) -> Calendar {
    Calendar { holidays: BTreeMap::new(), working_hours: vec![hours(day, from, to)], ..calendar() }
}

fn pointers(calendar: &Calendar) -> Vec<String> {
    calendar.check().into_iter().map(|error| error.pointer).collect()
}

#[test]
fn the_fifth_working_day_steps_over_weekends_and_holidays() {
    let calendar = calendar();
    assert!(!calendar.is_working_day(on("2026-10-26")) && !calendar.is_working_day(on("2026-10-25")));
    assert!(calendar.is_working_day(on("2026-10-27")));
    let nth = |day: &str, n| calendar.nth_working_day_after(on(day), n).unwrap();
    assert_eq!(nth("2026-10-23", 1), on("2026-10-27"));
    assert_eq!(nth("2026-10-26", 1), on("2026-10-27"), "from a holiday on, the next working day is the first");
    assert_eq!(nth("2026-12-24", 3), on("2026-12-31"));
    assert_eq!(nth("2026-12-24", 4), on("2027-01-05"));
}

#[test]
fn no_day_is_found_where_none_is_worked() {
    let never = Calendar { weekend: Weekday::ALL.to_vec(), ..calendar() };
    assert_eq!(never.nth_working_day_after(on("2026-10-23"), 1), None);
    assert_eq!(never.nth_working_day_after(on("2026-10-24"), 0), Some(on("2026-10-24")));
    assert_eq!(calendar().nth_working_day_after(on("2026-10-23"), u32::MAX), None);
}

#[test]
fn working_time_leaves_out_breaks_nights_holidays_and_what_lies_outside_the_span() {
    let (calendar, auckland) = (calendar(), zone("Pacific/Auckland"));
    let time = |from: &str, to: &str| calendar.working_time(auckland, span(from, to)).micros();
    assert_eq!(time("2026-10-13T00:00:00+13:00", "2026-10-14T00:00:00+13:00"), 8 * HOUR);
    assert_eq!(time("2026-10-19T00:00:00+13:00", "2026-10-26T00:00:00+13:00"), 43 * HOUR, "Saturday has hours");
    assert_eq!(time("2026-10-26T00:00:00+13:00", "2026-10-27T00:00:00+13:00"), 0, "Labour Day");
    assert_eq!(time("2026-10-13T11:59:00+13:00", "2026-10-13T12:31:00+13:00"), 2 * MINUTE);
    assert_eq!(time("2026-10-13T12:00:00+13:00", "2026-10-13T12:30:00+13:00"), 0);
    assert_eq!(time("2026-10-13T16:59:59.999999+13:00", "2026-10-14T08:30:00+13:00"), 1);
    let none = Calendar { working_hours: Vec::new(), ..calendar };
    assert!(none.working_time(auckland, span("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z")).is_empty());
}

#[test]
fn a_stretch_is_as_long_as_the_clocks_make_it() {
    let day = |zone_name: &str, date: &str, calendar: &Calendar| {
        let zone = zone(zone_name);
        let (from, to) = (zone.start_of(on(date)).unwrap(), zone.start_of(on(date).succ_opt().unwrap()).unwrap());
        calendar.working_time(zone, Interval::new(from, to).unwrap())
    };
    let sunday = |from, to| only(Weekday::Sunday, from, to);
    let minutes = |zone: &str, date: &str, from, to| day(zone, date, &sunday(from, to)).micros() / MINUTE;
    // A whole day of 23, 25, 23.5 and 24.5 hours.
    assert_eq!(minutes("Pacific/Auckland", "2026-09-27", "00:00", "24:00"), 23 * 60);
    assert_eq!(minutes("Pacific/Auckland", "2026-04-05", "00:00", "24:00"), 25 * 60);
    assert_eq!(minutes("Australia/Lord_Howe", "2026-10-04", "00:00", "24:00"), 23 * 60 + 30);
    assert_eq!(minutes("Australia/Lord_Howe", "2026-04-05", "00:00", "24:00"), 24 * 60 + 30);
    // London goes from 01:00 to 02:00: what begins in the gap begins after it, what ends in it ends before it, and what lies
    // in it is not there.
    assert_eq!(minutes("Europe/London", "2026-03-29", "01:20", "03:00"), 60);
    assert_eq!(minutes("Europe/London", "2026-03-29", "00:00", "01:20"), 60);
    assert_eq!(minutes("Europe/London", "2026-03-29", "01:10", "01:50"), 0);
    // It comes back from 02:00 to 01:00: from the earlier 01:15 to the later 01:45.
    assert_eq!(minutes("Europe/London", "2026-10-25", "01:15", "01:45"), 90);
    let found = day("Europe/London", "2026-10-25", &sunday("01:15", "01:45"));
    assert_eq!(found.intervals(), [span("2026-10-25T00:15:00Z", "2026-10-25T01:45:00Z")]);
    // Samoa had no 30 December 2011, a Friday.
    let samoa = span("2011-12-29T00:00:00-10:00", "2012-01-01T00:00:00+14:00");
    assert!(only(Weekday::Friday, "08:30", "17:00").working_time(zone("Pacific/Apia"), samoa).is_empty());
}

#[test]
fn where_midnight_comes_twice_a_stretch_reaches_into_the_date_beside_its_own() {
    // Havana went from 01:00 back to 00:00 on 1 November 2026: Saturday ends with the later midnight.
    let late = only(Weekday::Saturday, "20:00", "24:00");
    let found = late.working_time(zone("America/Havana"), span("2026-11-01T04:20:00Z", "2026-11-01T05:20:00Z"));
    assert_eq!(found.intervals(), [span("2026-11-01T04:20:00Z", "2026-11-01T05:00:00Z")]);
    // St John's went from 00:01 back to 23:01 on 7 November 2010: Sunday began with the earlier midnight.
    let early = only(Weekday::Sunday, "00:00", "01:00");
    let found = early.working_time(zone("America/St_Johns"), span("2010-11-07T02:20:00Z", "2010-11-07T02:50:00Z"));
    assert_eq!(found.intervals(), [span("2010-11-07T02:30:00Z", "2010-11-07T02:50:00Z")]);
}

#[test]
fn a_gap_that_ends_between_two_minutes_is_met_to_the_second() {
    // Liberia's clocks went from 00:00:00 to 00:44:30 on 7 January 1972, a Friday.
    let monrovia = zone("Africa/Monrovia");
    let day = span("1972-01-06T00:00:00Z", "1972-01-08T00:00:00Z");
    let found = only(Weekday::Friday, "00:20", "01:00").working_time(monrovia, day);
    assert_eq!(found.intervals(), [span("1972-01-07T00:44:30Z", "1972-01-07T01:00:00Z")]);
}

#[test]
fn a_deadline_falls_on_the_end_of_the_day_and_not_on_the_next_morning() {
    let (calendar, auckland) = (calendar(), zone("Pacific/Auckland"));
    let after = |from: &str, micros| calendar.after_working_time(auckland, at(from), micros);
    let filed = "2026-10-23T16:00:00+13:00";
    assert_eq!(after(filed, HOUR), Some(at("2026-10-23T17:00:00+13:00")));
    assert_eq!(after(filed, HOUR + 1), Some(at("2026-10-24T09:00:00+13:00").plus(1)));
    assert_eq!(after(filed, 5 * HOUR), Some(at("2026-10-27T09:30:00+13:00")), "Saturday, then Labour Day");
    let night = "2026-10-23T22:00:00+13:00";
    assert_eq!(after(night, 0), Some(at(night)));
    assert_eq!(after(filed, 100 * 43 * HOUR), None, "a hundred weeks are beyond 400 days");
    let none = Calendar { working_hours: Vec::new(), ..calendar.clone() };
    assert_eq!(none.after_working_time(auckland, at(filed), 1), None);
}

#[test]
fn a_calendar_says_everything_that_is_wrong_with_it() {
    assert_eq!(calendar().check(), []);
    for name in ["", "NZ", "nz auckland", "nz/auckland", "nz_auckland", "ōtautahi", &"a".repeat(101)] {
        assert_eq!(pointers(&Calendar { name: (*name).to_owned(), ..calendar() }), ["/name"], "{name}");
    }
    let mut wrong = Calendar { weekend: vec![Weekday::Sunday, Weekday::Sunday], ..calendar() };
    wrong.holidays.insert(on("2026-11-01"), " ".to_owned());
    wrong.holidays.insert(on("2026-11-02"), "a\u{7}b".to_owned());
    wrong.holidays.insert(on("2026-11-03"), "ā".repeat(201));
    wrong.holidays.insert(on("2026-11-04"), "ā".repeat(200));
    assert_eq!(
        pointers(&wrong),
        ["/weekend/1", "/holidays/2026-11-01", "/holidays/2026-11-02", "/holidays/2026-11-03"]
    );
    assert_eq!(pointers(&Calendar { weekend: Weekday::ALL.to_vec(), ..calendar() }), ["/weekend"]);
    let days = |count| on("1980-01-01").iter_days().take(count).map(|day| (day, "Rest".to_owned())).collect();
    assert_eq!(pointers(&Calendar { holidays: days(5_000), ..calendar() }), [""; 0]);
    assert_eq!(pointers(&Calendar { holidays: days(5_001), ..calendar() }), ["/holidays"]);
}

#[test]
fn hours_that_cannot_be_or_that_overlap_are_told_one_by_one() {
    let wrong = |from: &str, to: &str| pointers(&only(Weekday::Monday, from, to));
    assert_eq!(wrong("00:00", "24:00"), [""; 0]);
    assert_eq!(wrong("23:59", "24:00"), [""; 0]);
    for from in ["8:30", "08.30", "24:00", "25:00", "08:60", "+8:30", "08:3", "", "08:30:00", "０8:30"] {
        assert_eq!(wrong(from, "24:00"), ["/working_hours/0/from"], "{from:?}");
    }
    for to in ["24:01", "12", "12:000", ":", "noon"] {
        assert_eq!(wrong("08:30", to), ["/working_hours/0/to"], "{to:?}");
    }
    assert_eq!(wrong("22:00", "06:00"), ["/working_hours/0/to"]);
    assert_eq!(wrong("08:30", "08:30"), ["/working_hours/0/to"]);
    let both = |day, from, to| {
        let mut calendar = only(Weekday::Monday, "08:30", "12:00");
        calendar.working_hours.push(hours(day, from, to));
        pointers(&calendar)
    };
    assert_eq!(both(Weekday::Monday, "12:00", "17:00"), [""; 0], "they only touch");
    assert_eq!(both(Weekday::Tuesday, "08:30", "12:00"), [""; 0], "on another day");
    for (from, to) in [("11:59", "17:00"), ("08:00", "08:31"), ("09:00", "10:00"), ("08:00", "13:00")] {
        assert_eq!(both(Weekday::Monday, from, to), ["/working_hours/1"], "{from} to {to}");
    }
    let many = Calendar { working_hours: vec![hours(Weekday::Monday, "08:30", "12:00"); 101], ..calendar() };
    assert!(pointers(&many).contains(&"/working_hours".to_owned()));
}

#[test]
fn what_is_written_is_read_as_it_was_and_nothing_else_is() {
    let calendar = calendar();
    let text = serde_json::to_string(&calendar).unwrap();
    assert!(text.contains(r#""weekend":["saturday","sunday"]"#) && text.contains(r#""2026-12-25":"Christmas Day""#));
    assert_eq!(serde_json::from_str::<Calendar>(&text).unwrap(), calendar);
    let refused = |text: &str| serde_json::from_str::<Calendar>(text).unwrap_err().to_string();
    let with =
        |holidays: &str| refused(&format!(r#"{{"name":"a","version":1,"weekend":[],"holidays":{{{holidays}}}}}"#));
    assert!(with(r#""2026-2-3":"a""#).contains("\"2026-2-3\" is not a day"));
    assert!(with(r#""2026-02-30":"a""#).contains("is not a day"));
    assert!(with(r#""1970-01-01":"a""#).contains("outside the years"));
    assert!(with(r#""2026-02-03":"a","2026-02-03":"b""#).contains("2026-02-03 is there twice"));
    assert!(refused(&text.replacen("sunday", "domingo", 1)).contains("unknown variant"));
    assert!(refused(&text.replacen("version", "wersion", 1)).contains("unknown field"));
}

#[test]
fn the_hash_is_of_what_is_said_and_not_of_the_version_or_the_order() {
    let calendar = calendar();
    let mut turned = Calendar { version: 2, ..calendar.clone() };
    turned.weekend.reverse();
    turned.working_hours.reverse();
    assert_eq!(turned.hash(), calendar.hash());
    let renamed = Calendar { holidays: [(on("2026-10-26"), "Labor Day".to_owned())].into(), ..calendar.clone() };
    let closed = Calendar { working_hours: Vec::new(), ..calendar.clone() };
    for other in [&renamed, &closed, &Calendar { weekend: vec![Weekday::Sunday], ..calendar.clone() }] {
        assert_ne!(other.hash(), calendar.hash());
    }
}

#[test]
fn every_weekday_goes_by_its_name_and_follows_the_dates() {
    for (day, date) in Weekday::ALL.into_iter().zip(on("2026-11-23").iter_days()) {
        assert_eq!(Weekday::of(date), day);
        assert_eq!(day.to_string().parse::<Weekday>().unwrap(), day);
        assert_eq!(serde_json::to_value(day).unwrap(), day.name());
    }
    assert!("Monday".parse::<Weekday>().is_err());
}

/// A day on which clocks change, in zones of whole and of half hours.
const CHANGES: [(&str, &str); 9] = [
    ("Pacific/Auckland", "2026-04-04T14:00:00Z"),
    ("Pacific/Auckland", "2026-09-26T14:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
    ("Europe/London", "2026-03-29T01:00:00Z"),
    ("Europe/London", "2026-10-25T01:00:00Z"),
    ("America/Asuncion", "2024-10-06T04:00:00Z"),
    // Midnight comes twice: on one date from 01:00 back to 00:00, and across two from 00:01 back to 23:01.
    ("America/Havana", "2026-11-01T05:00:00Z"),
    ("America/St_Johns", "2010-11-07T02:31:00Z"),
];

fn time_of_day(minute: u32) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

/// Stretches that do not overlap, most of them near the hours at which clocks change.
fn week() -> impl Strategy<Value = Vec<DayHours>> {
    let edges = prop_oneof![3 => 0u32..=240, 1 => 0u32..=1_440, 1 => Just(1_440), 1 => Just(0)];
    let day = prop::collection::btree_set(edges, 0..5);
    prop::collection::vec(day, 7).prop_map(|days| {
        let stretches = Weekday::ALL.into_iter().zip(days).flat_map(|(day, edges)| {
            let edges: Vec<u32> = edges.into_iter().collect();
            let pairs: Vec<_> = edges.chunks_exact(2).map(|two| (two[0], two[1])).collect();
            pairs.into_iter().map(move |(from, to)| hours(day, &time_of_day(from), &time_of_day(to)))
        });
        stretches.collect()
    })
}

/// What the clocks of a zone show, minute by minute.
struct Walk(Vec<(Instant, NaiveDateTime)>);

impl Walk {
    fn new(zone: Zone, around: Interval) -> Self {
        let minutes = around.micros() / MINUTE;
        let shown = |minute: i64| {
            let at = around.start().plus(minute * MINUTE);
            (at, zone.local(at).naive_local())
        };
        Walk((0..minutes).map(shown).collect())
    }

    /// The minutes at which the clocks show `wall`, or else the one at which they first show more.
    fn find(&self, wall: NaiveDateTime) -> (Instant, Instant) {
        let mut shown = self.0.iter().filter(|(_, local)| *local == wall).map(|(at, _)| *at);
        match (shown.next(), shown.next_back()) {
            (Some(first), last) => (first, last.unwrap_or(first)),
            (None, _) => {
                let after = self.0.iter().find(|(_, local)| *local > wall).unwrap().0;
                (after, after)
            }
        }
    }
}

/// How many minutes of `span` are worked, counted one by one.
fn counted(calendar: &Calendar, zone: Zone, span: Interval) -> i64 {
    let around = Interval::new(span.start().plus(-3 * DAY), span.end().plus(3 * DAY)).unwrap();
    let walk = Walk::new(zone, around);
    let mut stretches = Vec::new();
    let first = zone.local(span.start().plus(-DAY)).date_naive();
    for day in first.iter_days().take_while(|day| *day <= zone.local(span.end().plus(DAY)).date_naive()) {
        for hours in &calendar.working_hours {
            if hours.day == Weekday::of(day) && !calendar.holidays.contains_key(&day) {
                let wall = |text: &str| match text {
                    "24:00" => day.succ_opt().unwrap().and_time(NaiveTime::MIN),
                    _ => day.and_time(NaiveTime::parse_from_str(text, "%H:%M").unwrap()),
                };
                stretches.push((walk.find(wall(&hours.from)).0, walk.find(wall(&hours.to)).1));
            }
        }
    }
    let is_in = |at: Instant| span.start() <= at && at < span.end();
    let worked = walk.0.iter().filter(|(at, _)| is_in(*at) && stretches.iter().any(|(from, to)| from <= at && at < to));
    i64::try_from(worked.count()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn working_time_agrees_with_counting_minute_by_minute(
        change in prop::sample::select(&CHANGES[..]),
        before in prop_oneof![0i64..4_000, -60i64..60],
        length in prop_oneof![1i64..6_000, 1i64..60],
        working_hours in week(),
        holiday in 0u64..20,
    ) {
        let (zone, start) = (zone(change.0), at(change.1).plus(-before * MINUTE));
        let span = Interval::new(start, start.plus(length * MINUTE)).unwrap();
        let day = zone.local(at(change.1)).date_naive().checked_add_days(chrono::Days::new(holiday)).unwrap();
        let holidays = [(day, "Rest".to_owned())].into();
        let calendar = Calendar { holidays, working_hours, ..calendar() };
        prop_assert_eq!(calendar.check(), []);
        let found = calendar.working_time(zone, span);
        prop_assert_eq!(found.micros(), counted(&calendar, zone, span) * MINUTE, "{:?}", found);
    }

    #[test]
    fn a_deadline_is_the_first_instant_by_which_the_time_has_passed(
        change in prop::sample::select(&CHANGES[..]),
        before in 0i64..400_000_000_000,
        micros in 1i64..400_000_000_000,
        working_hours in week(),
    ) {
        let (zone, from) = (zone(change.0), at(change.1).plus(-before));
        let calendar = Calendar { working_hours, ..calendar() };
        let passed = |until: Instant| {
            Interval::new(from, until).map_or(0, |span| calendar.working_time(zone, span).micros())
        };
        match calendar.after_working_time(zone, from, micros) {
            Some(due) => {
                prop_assert_eq!(passed(due), micros);
                prop_assert_eq!(passed(due.plus(-1)), micros - 1);
            }
            None => prop_assert!(passed(from.plus(400 * DAY)) < micros),
        }
    }
}
