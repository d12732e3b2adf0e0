//! What terms pay, in words.

use chrono::NaiveDate;

use super::words::{day, length, local, spoken_exact};
use crate::domain::assessment::{Due, Item, Measured};
use crate::domain::money::Currency;
use crate::domain::period::Zone;
use crate::domain::ratio::Ratio;
use crate::domain::remedy::{Pay, UnitCount, When};

/// What words for pay depend on.
#[derive(Clone, Copy)]
pub(super) struct Words<'a> {
    pub currency: Currency,
    /// Of dated rows, those are told that are in force within these.
    pub days: (NaiveDate, NaiveDate),
    /// Of conditions, what holds is told.
    pub circumstances: &'a [String],
    /// The time promised, in microseconds.
    pub promised_micros: i64,
}

/// What a pay expression says here.
pub(super) fn pays(pay: &Pay, words: Words<'_>) -> String {
    let (currency, days) = (words.currency, words.days);
    match pay {
        Pay::Nothing => "nothing".to_owned(),
        Pay::Percent(percent) => format!("{percent} %"),
        Pay::Fraction(fraction) => format!("{fraction} of the fee"),
        Pay::Amount(amount) => format!("{currency} {amount}"),
        Pay::ServiceDays(1) => "1 service day".to_owned(),
        Pay::ServiceDays(days) => format!("{days} service days"),
        Pay::ProRata { multiplier } if multiplier.ratio() == Ratio::ONE => "the share of time lost".to_owned(),
        Pay::ProRata { multiplier } => format!("{multiplier} times the share of time lost"),
        Pay::ForEach { seconds, count, after_seconds, after_percent, pays: each } => {
            let unit = match count {
                UnitCount::Started => "started ",
                UnitCount::Full => "full ",
                UnitCount::Exact => "",
            };
            let first = match after_seconds {
                0 => None,
                seconds => Some(format!("the first {}", length(*seconds))),
            };
            let promised = Ratio::whole(words.promised_micros);
            let allowed = after_percent.map(|percent| {
                let micros = percent.ratio().times(promised).unwrap_or(promised);
                format!("{percent} % of the {} promised, which is {}", spoken_exact(promised), spoken_exact(micros))
            });
            let after: Vec<String> = first.into_iter().chain(allowed).collect();
            let after = if after.is_empty() { String::new() } else { format!(" after {}", after.join(" and ")) };
            format!("{} for each {unit}{}{after}", pays(each, words), length(*seconds))
        }
        Pay::GreaterOf(several) => {
            format!("the greater of {}", several.iter().map(|one| pays(one, words)).collect::<Vec<_>>().join(" and "))
        }
        Pay::SumOf(several) => {
            let holds = |pay: &&Pay| match pay {
                Pay::Only { when, .. } => when.holds(words.circumstances),
                _ => true,
            };
            let said: Vec<String> = several.iter().filter(holds).map(|one| pays(one, words)).collect();
            if said.is_empty() { "nothing".to_owned() } else { said.join(" and ") }
        }
        Pay::Dated(rows) => {
            let later = |at: usize| rows.get(at + 1).is_none_or(|next| next.from > days.0);
            let rows: Vec<String> = rows
                .iter()
                .enumerate()
                .filter(|(at, row)| row.from <= days.1 && later(*at))
                .map(|(_, row)| format!("{} (since {})", pays(&row.pays, words), day(row.from)))
                .collect();
            if rows.is_empty() { "nothing yet".to_owned() } else { rows.join(", then ") }
        }
        Pay::Only { when: condition, pays: then } if condition.holds(words.circumstances) => {
            format!("{} ({})", pays(then, words), when(condition))
        }
        Pay::Only { when: condition, .. } => format!("nothing (it would pay {})", when(condition)),
        Pay::ByImpact { full, degraded, delayed } => format!(
            "{} when nothing worked, {} when it worked in part, {} when it was late",
            pays(full, words),
            pays(degraded, words),
            pays(delayed, words)
        ),
    }
}

/// `only for business`, `not with alternative_service`.
pub(super) fn when(when: &When) -> String {
    let mut said = Vec::new();
    if !when.all_of.is_empty() {
        said.push(format!("only with {}", when.all_of.join(" and ")));
    }
    if !when.none_of.is_empty() {
        said.push(format!("not with {}", when.none_of.join(" or ")));
    }
    said.join(", ")
}

/// What something is due.
pub(super) fn due(due: &Due, currency: Currency) -> String {
    let mut said = Vec::new();
    if !due.share.is_zero() {
        said.push(share(due.share));
    }
    if !due.flat.is_zero() {
        said.push(format!("{currency} {}", figure(due.flat, currency)));
    }
    match due.service_days {
        0 => {}
        1 => said.push("1 service day".to_owned()),
        days => said.push(format!("{days} service days")),
    }
    if said.is_empty() { "nothing".to_owned() } else { said.join(" and ") }
}

/// A share as a percentage where it has a short one, else as a fraction of the fee.
pub(super) fn share(share: Ratio) -> String {
    let percent = share.times(Ratio::whole(100)).unwrap_or(share).to_string();
    if percent.contains('/') || percent.len() > 8 { format!("{share} of the fee") } else { format!("{percent} %") }
}

/// In major units: with the currency's decimals where it has no more, else exact, and about where that is a fraction.
pub(super) fn figure(figure: Ratio, currency: Currency) -> String {
    let short = figure.shown(currency.decimals());
    let exact = figure.to_string();
    if short.parse::<Ratio>().is_ok_and(|parsed| parsed == figure) {
        short
    } else if exact.contains('/') {
        format!("{exact} (about {})", figure.shown(currency.decimals() + 4))
    } else {
        exact
    }
}

/// One measured thing with what it is due: `3 Jun 10:00 to 3 Jun 10:31, 31 min: 2 units, 10 %`.
pub(super) fn item(item: &Item, zone: Zone, currency: Currency) -> String {
    let what = match &item.measured {
        Measured::Period { down_micros, .. } => format!("the period, {} down", spoken_exact(*down_micros)),
        Measured::ErrorRate { .. } => "the period".to_owned(),
        Measured::Outage { interval, down_micros } => format!(
            "{} to {}, {}",
            local(interval.start(), zone),
            local(interval.end(), zone),
            spoken_exact(*down_micros)
        ),
        Measured::Days { first, last, number, count, grace_ends, .. } => {
            let days = match count {
                1 => format!("day {number}, {}", day(*first)),
                _ => format!("days {number} to {}, {} to {}", number + count - 1, day(*first), day(*last)),
            };
            let grace = grace_ends.filter(|ends| first <= ends && ends <= last);
            let grace = grace.map_or_else(String::new, |ends| format!(" (the grace ends with {})", day(ends)));
            format!("{days}{grace}")
        }
        Measured::Event { at, counts: true } => local(*at, zone),
        Measured::Event { at, counts: false } => format!("{}, told in time", local(*at, zone)),
    };
    let times = item.due.units;
    let each = Ratio::ONE.over(times).ok().filter(|_| times != Ratio::ONE && !item.due.is_nothing());
    let each = each.and_then(|part| scaled(&item.due, part));
    let paid = match each {
        Some(each) => format!("{times} x {} = {}", due(&each, currency), due(&item.due, currency)),
        None => due(&item.due, currency),
    };
    format!("{what}: {paid}")
}

/// What one unit of several is due, where that is exact in whole service days.
fn scaled(due: &Due, part: Ratio) -> Option<Due> {
    let days = Ratio::whole(due.service_days).times(part).ok()?;
    let service_days = u32::try_from(days.floor()).ok().filter(|whole| Ratio::whole(*whole) == days)?;
    Some(Due { share: due.share.times(part).ok()?, flat: due.flat.times(part).ok()?, service_days, units: Ratio::ONE })
}
