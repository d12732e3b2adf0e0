//! How dates, times, lengths, counts and amounts are written for people in New Zealand English.
//!
//! Times are shown in the account's zone, which a page names once, in its footer. Customers read `6:10 am`, staff `06:10`.

use chrono::{Datelike, NaiveDate, Timelike};
use rust_decimal::Decimal;

use super::view::{Due, Tone};
use crate::domain::money::{Currency, Money};
use crate::domain::operator::Operator;
use crate::domain::period::{Month, Zone};
use crate::domain::time::{DAY, HOUR, Instant, MINUTE};

/// Whom a time is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// `6:10 am`
    Customer,
    /// `06:10`
    Staff,
}

/// The minus of an amount on a page (U+2212); files carry the ASCII one.
const MINUS: char = '\u{2212}';

/// `13 October 2026`
pub fn date(day: NaiveDate) -> String {
    format!("{} {} {}", day.day(), day.format("%B"), day.year())
}

/// `13 Oct 2026`
pub fn date_short(day: NaiveDate) -> String {
    format!("{} {}", day_month_short(day), day.year())
}

/// `13 October`
pub fn day_month(day: NaiveDate) -> String {
    format!("{} {}", day.day(), day.format("%B"))
}

/// `13 Oct`
pub fn day_month_short(day: NaiveDate) -> String {
    format!("{} {}", day.day(), day.format("%b"))
}

/// `Tue 13 Oct`
pub fn day(day: NaiveDate) -> String {
    format!("{} {}", day.format("%a"), day_month_short(day))
}

/// `Tuesday 13 October`
pub fn weekday(day: NaiveDate) -> String {
    format!("{} {}", day.format("%A"), day_month(day))
}

/// `October 2026`
pub fn month(month: Month) -> String {
    month.first_day().format("%B %Y").to_string()
}

/// `November`
pub fn month_name(month: Month) -> String {
    month.first_day().format("%B").to_string()
}

/// `13 October`, `13 and 14 October`, `30 September and 1 October`, `2, 5 and 9 October`, and from seven days on
/// `7 days between 1 and 20 October`. Empty for no day.
pub fn days(days: &[NaiveDate]) -> String {
    let one_month = |a: NaiveDate, b: NaiveDate| (a.year(), a.month()) == (b.year(), b.month());
    // A day names its month only where the next day named is of another.
    let name = |index: usize| {
        let day = days[index];
        match days.get(index + 1) {
            Some(next) if one_month(day, *next) => day.day().to_string(),
            Some(_) | None => day_month(day),
        }
    };
    match days {
        [] => String::new(),
        [only] => day_month(*only),
        [first, .., last] if days.len() > 6 => {
            let from = if one_month(*first, *last) { first.day().to_string() } else { day_month(*first) };
            format!("{} days between {from} and {}", days.len(), day_month(*last))
        }
        [_, .., _] => {
            let names: Vec<String> = (0..days.len()).map(name).collect();
            listed(&names)
        }
    }
}

/// `a`, `a and b`, `a, b and c`.
pub fn listed(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

/// `6:10 am` or `06:10`. A time that comes twice, as clocks go back, carries its zone: `2:30 am NZDT`.
pub fn time(at: Instant, zone: Zone, reader: Reader) -> String {
    let local = zone.local(at);
    let plain = match reader {
        Reader::Staff => format!("{:02}:{:02}", local.hour(), local.minute()),
        Reader::Customer => {
            let (is_afternoon, hour) = local.hour12();
            format!("{hour}:{:02} {}", local.minute(), if is_afternoon { "pm" } else { "am" })
        }
    };
    if zone.instants_of(local.naive_local()).len() > 1 { format!("{plain} {}", local.format("%Z")) } else { plain }
}

/// In tables: `13 Oct, 6:10 am`, `13 Oct, 06:10`.
pub fn moment(at: Instant, zone: Zone, reader: Reader) -> String {
    format!("{}, {}", day_month_short(zone.local(at).date_naive()), time(at, zone, reader))
}

/// In a trail, without a year: `Fri 20 Nov, 9:12 am`.
pub fn step(at: Instant, zone: Zone, reader: Reader) -> String {
    format!("{}, {}", day(zone.local(at).date_naive()), time(at, zone, reader))
}

/// With the year: `Tue 24 Nov 2026, 2:04 am`.
pub fn stamp(at: Instant, zone: Zone, reader: Reader) -> String {
    let local = zone.local(at).date_naive();
    format!("{} {}, {}", day(local), local.year(), time(at, zone, reader))
}

/// A deadline in prose: `Friday 4 December, 5:00 pm`.
pub fn deadline(at: Instant, zone: Zone, reader: Reader) -> String {
    format!("{}, {}", weekday(zone.local(at).date_naive()), time(at, zone, reader))
}

/// `6:10 am on 13 October`
pub fn time_on(at: Instant, zone: Zone, reader: Reader) -> String {
    format!("{} on {}", time(at, zone, reader), day_month(zone.local(at).date_naive()))
}

/// Whole minutes, to the nearest. Totals are rounded by this, once; parts by [`minutes_that_add_up`].
pub fn whole_minutes(micros: i64) -> i64 {
    (micros + MINUTE / 2).div_euclid(MINUTE)
}

/// Whole minutes for each part such that they add up to the rounded total: each is cut, and what is missing goes to the
/// parts that lost most, the earlier first.
pub fn minutes_that_add_up(parts: &[i64]) -> Vec<i64> {
    let mut minutes: Vec<i64> = parts.iter().map(|part| part.div_euclid(MINUTE)).collect();
    let missing = whole_minutes(parts.iter().sum()) - minutes.iter().sum::<i64>();
    let mut by_loss: Vec<usize> = (0..parts.len()).collect();
    by_loss.sort_by_key(|index| std::cmp::Reverse(parts[*index].rem_euclid(MINUTE)));
    for index in by_loss.into_iter().take(usize::try_from(missing).unwrap_or(0)) {
        minutes[index] += 1;
    }
    minutes
}

fn plural(count: i64, one: &str) -> String {
    format!("{} {one}{}", grouped(&count.to_string()), if count == 1 { "" } else { "s" })
}

/// The parts of a length that are not nothing, in the units given; minutes where all are nothing.
fn length_parts(micros: i64, unit: fn(i64, &'static str) -> String) -> Vec<String> {
    let minutes = whole_minutes(micros);
    let (hours, rest) = (minutes / 60, minutes % 60);
    let mut parts = Vec::new();
    if hours > 0 {
        parts.push(unit(hours, "hour"));
    }
    if rest > 0 || hours == 0 {
        parts.push(unit(rest, "minute"));
    }
    parts
}

/// In prose: `22 hours and 15 minutes`, `1 hour`, `40 minutes`. Something under a minute says so.
pub fn length(micros: i64) -> String {
    if micros > 0 && micros < MINUTE {
        return "less than a minute".to_owned();
    }
    length_parts(micros, plural).join(" and ")
}

/// In the description of a picture: `17 hours 50 minutes`.
pub fn length_flat(micros: i64) -> String {
    if micros > 0 && micros < MINUTE { length(micros) } else { length_parts(micros, plural).join(" ") }
}

/// In tables: `22 h 15 min`, `40 min`, and `0` for nothing.
pub fn length_short(micros: i64) -> String {
    if micros == 0 {
        return "0".to_owned();
    }
    if micros > 0 && micros < MINUTE {
        return "under 1 min".to_owned();
    }
    let unit = |count: i64, unit: &'static str| format!("{count} {}", if unit == "hour" { "h" } else { "min" });
    length_parts(micros, unit).join(" ")
}

/// `1,335`
pub fn count(number: u64) -> String {
    grouped(&number.to_string())
}

/// `1,335 minutes`, `1 minute`.
pub fn minutes(number: i64) -> String {
    plural(number, "minute")
}

/// `8 mailboxes`, `1 mailbox`.
pub fn mailboxes(number: u64) -> String {
    format!("{} mailbox{}", count(number), if number == 1 { "" } else { "es" })
}

/// Digits with a comma between thousands; a sign before them stays.
fn grouped(digits: &str) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    text.push_str(sign);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A ratio as percent with three decimals, cut and not rounded, so that a promise that was missed never looks kept:
/// 0.970094 is `97.009%`. A whole ratio is `100%`.
pub fn percent(ratio: Decimal) -> String {
    let percent = ratio.saturating_mul(Decimal::ONE_HUNDRED).trunc_with_scale(3);
    if percent.fract().is_zero() { format!("{}%", percent.trunc()) } else { format!("{percent:.3}%") }
}

/// A promised or paid share, as it was written in the terms: 0.999 is `99.9%`, 0.25 is `25%`.
pub fn share(ratio: Decimal) -> String {
    format!("{}%", ratio.saturating_mul(Decimal::ONE_HUNDRED).normalize())
}

/// How a page writes amounts. A page of one currency uses its sign; a page that mixes two uses codes, since `$` would
/// then say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amounts {
    is_mixed: bool,
}

impl Amounts {
    /// For a page that shows these currencies.
    pub fn of(currencies: impl IntoIterator<Item = Currency>) -> Self {
        let mut currencies = currencies.into_iter();
        let first = currencies.next();
        Amounts { is_mixed: currencies.any(|other| Some(other) != first) }
    }

    /// `$1,200.00`, `−$5.00`; on a mixed page `NZD 1,200.00`.
    pub fn show(self, money: Money) -> String {
        let digits = money.digits();
        let (sign, digits) = digits.strip_prefix('-').map_or((String::new(), &*digits), |rest| (MINUS.into(), rest));
        let digits = match digits.split_once('.') {
            Some((whole, fraction)) => format!("{}.{fraction}", grouped(whole)),
            None => grouped(digits),
        };
        let symbol = money.currency().symbol();
        if self.is_mixed || symbol.is_empty() || symbol == money.currency().code() {
            format!("{sign}{} {digits}", money.currency().code())
        } else {
            format!("{sign}{symbol}{digits}")
        }
    }
}

/// An amount on a page of one currency: `$25.00`.
pub fn money(money: Money) -> String {
    Amounts { is_mixed: false }.show(money)
}

/// When something is due, as `now` sees it: late is a word, and so is the time that is left.
pub fn due(at: Instant, now: Instant, zone: Zone) -> Due {
    let left = at.micros() - now.micros();
    let tone = match left {
        ..=0 => Tone::Late,
        _ if left < 4 * HOUR => Tone::Soon,
        _ => Tone::Plain,
    };
    let words = if left <= 0 { format!("Late by {}", span(-left)) } else { span(left) };
    Due { left: words, at: stamp(at, zone, Reader::Staff), tone }
}

/// A length as one glances at it: `20 min`, `3 h 20 min`, `1 day 4 h`, `12 days`.
pub fn span(micros: i64) -> String {
    let days = micros / DAY;
    let hours = (micros % DAY) / HOUR;
    match (days, hours) {
        (0, _) => length_short(micros.max(MINUTE)),
        (1, 0) => "1 day".to_owned(),
        (1, hours) => format!("1 day {hours} h"),
        (days, _) => format!("{} days", grouped(&days.to_string())),
    }
}

/// `Times are New Zealand time (NZDT). Amounts include GST.`
pub fn footer(operator: &Operator, now: Instant) -> String {
    let zone = operator.zone.local(now).format("%Z");
    format!("Times are {} ({zone}). Amounts include {}.", operator.zone_name, operator.tax.name)
}

/// What customers read for a shard: `mx-07` is `mail system 7`. A name that does not end in digits is kept as it is.
pub fn mail_system(shard: &str) -> String {
    let digits = shard.len() - shard.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let number = shard[shard.len() - digits..].trim_start_matches('0');
    match (digits, number) {
        (0, _) => format!("mail system {shard}"),
        (_, "") => "mail system 0".to_owned(),
        (_, number) => format!("mail system {number}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn auckland() -> Zone {
        "Pacific/Auckland".parse().unwrap()
    }

    fn at(text: &str) -> Instant {
        Instant::parse(text).unwrap()
    }

    fn on(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn nzd(text: &str) -> Money {
        Money::parse(text, "NZD".parse().unwrap()).unwrap()
    }

    #[test]
    fn customers_and_staff_read_the_same_instant_in_their_own_way() {
        let start = at("2026-10-12T17:10:00Z");
        assert_eq!(time(start, auckland(), Reader::Customer), "6:10 am");
        assert_eq!(time(start, auckland(), Reader::Staff), "06:10");
        assert_eq!(moment(start, auckland(), Reader::Customer), "13 Oct, 6:10 am");
        assert_eq!(stamp(start, auckland(), Reader::Staff), "Tue 13 Oct 2026, 06:10");
        assert_eq!(deadline(at("2026-12-04T04:00:00Z"), auckland(), Reader::Customer), "Friday 4 December, 5:00 pm");
        assert_eq!(time(at("2026-10-12T11:00:00Z"), auckland(), Reader::Customer), "12:00 am");
        assert_eq!(time(at("2026-10-12T23:00:00Z"), auckland(), Reader::Customer), "12:00 pm");
    }

    #[test]
    fn a_time_that_comes_twice_names_its_zone() {
        assert_eq!(time(at("2026-04-04T13:30:00Z"), auckland(), Reader::Customer), "2:30 am NZDT");
        assert_eq!(time(at("2026-04-04T14:30:00Z"), auckland(), Reader::Staff), "02:30 NZST");
    }

    #[test]
    fn days_are_named_as_one_says_them() {
        let october = |day: u32| NaiveDate::from_ymd_opt(2026, 10, day).unwrap();
        assert_eq!(date(october(13)), "13 October 2026");
        assert_eq!(day(october(13)), "Tue 13 Oct");
        assert_eq!(weekday(october(13)), "Tuesday 13 October");
        assert_eq!(days(&[october(13), october(14)]), "13 and 14 October");
        assert_eq!(days(&[on("2026-09-30"), october(1)]), "30 September and 1 October");
        assert_eq!(days(&[october(2), october(5), october(9)]), "2, 5 and 9 October");
        assert_eq!(days(&(1..=8).map(october).collect::<Vec<_>>()), "8 days between 1 and 8 October");
    }

    #[test]
    fn lengths_read_as_prose_and_as_table() {
        let micros = 1_335 * MINUTE;
        assert_eq!(length(micros), "22 hours and 15 minutes");
        assert_eq!(length_flat(1_070 * MINUTE), "17 hours 50 minutes");
        assert_eq!(length_short(micros), "22 h 15 min");
        assert_eq!(length(HOUR), "1 hour");
        assert_eq!(length(MINUTE), "1 minute");
        assert_eq!(length(30), "less than a minute");
        assert_eq!(length_short(0), "0");
        assert_eq!(length(0), "0 minutes");
        assert_eq!(minutes(1_335), "1,335 minutes");
    }

    #[test]
    fn amounts_carry_a_sign_and_on_a_mixed_page_a_code() {
        assert_eq!(money(nzd("1200")), "$1,200.00");
        assert_eq!(money(nzd("-5")), "\u{2212}$5.00");
        assert_eq!(money(nzd("338042")), "$338,042.00");
        let yen = Money::parse("1200", "JPY".parse().unwrap()).unwrap();
        let mixed = Amounts::of([yen.currency(), nzd("1").currency()]);
        assert_eq!(mixed.show(nzd("1200")), "NZD 1,200.00");
        assert_eq!(mixed.show(yen), "JPY 1,200");
        assert_eq!(Amounts::of([yen.currency(), yen.currency()]).show(yen), "¥1,200");
    }

    #[test]
    fn a_missed_promise_never_looks_kept() {
        let ratio = |num: i64, den: i64| Decimal::from(num).checked_div(Decimal::from(den)).unwrap();
        assert_eq!(percent(ratio(44_640 - 1_335, 44_640)), "97.009%");
        assert_eq!(percent(ratio(9_989_999, 10_000_000)), "99.899%");
        assert_eq!(percent(ratio(9_999_999, 10_000_000)), "99.999%");
        assert_eq!(percent(Decimal::ONE), "100%");
        assert_eq!(share(Decimal::new(999, 3)), "99.9%");
        assert_eq!(share(Decimal::new(250, 3)), "25%");
    }

    #[test]
    fn late_is_a_word() {
        let now = at("2026-11-23T03:40:00Z");
        let in_three = due(at("2026-11-23T07:00:00Z"), now, auckland());
        assert_eq!(
            (in_three.left.as_str(), in_three.at.as_str(), in_three.tone),
            ("3 h 20 min", "Mon 23 Nov 2026, 20:00", Tone::Soon)
        );
        assert_eq!(due(at("2026-11-23T01:40:00Z"), now, auckland()).left, "Late by 2 h");
        assert_eq!(due(at("2026-11-24T07:40:00Z"), now, auckland()).left, "1 day 4 h");
        assert_eq!(due(at("2026-11-24T07:40:00Z"), now, auckland()).tone, Tone::Plain);
    }

    #[test]
    fn customers_read_mail_system_and_a_number() {
        assert_eq!(mail_system("mx-07"), "mail system 7");
        assert_eq!(mail_system("mx-11"), "mail system 11");
        assert_eq!(mail_system("store"), "mail system store");
    }

    proptest! {
        #[test]
        fn minutes_of_parts_add_up_to_the_rounded_total(parts in prop::collection::vec(0i64..5_000_000_000, 0..12)) {
            let minutes = minutes_that_add_up(&parts);
            prop_assert_eq!(minutes.iter().sum::<i64>(), whole_minutes(parts.iter().sum()));
            for (part, minutes) in parts.iter().zip(&minutes) {
                prop_assert!((part - minutes * MINUTE).abs() < MINUTE);
            }
        }
    }
}
