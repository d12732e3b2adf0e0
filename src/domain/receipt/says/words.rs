//! The words that all steps share.

use crate::domain::assessment::{Blocker, Line, NothingWhy, Why};
use crate::domain::period::{ServicePeriod, Zone};
use crate::domain::ratio::Ratio;
use crate::domain::time::{DAY, HOUR, Instant, MINUTE, SECOND};
use crate::domain::window::{Certainty, Impact};

pub(in crate::domain) fn nothing(why: NothingWhy) -> &'static str {
    match why {
        NothingWhy::NoMailboxes => "the account had no mailbox in the period",
        NothingWhy::NoOutage => "no outage touched a mailbox",
        NothingWhy::NothingCounted => "none of the recorded time counts",
        NothingWhy::PromiseKept => "what was lost is within what the promise allows",
        NothingWhy::NothingToCredit => "the promise was missed, and its credit comes to nothing",
        NothingWhy::BelowFloor => "it is less than these terms pay out",
        NothingWhy::SetOff => "as much was given before",
        NothingWhy::AskedTooLate => "it was asked for too late",
    }
}

pub(in crate::domain) fn blocker(blocker: &Blocker, zone: Zone) -> String {
    match blocker {
        Blocker::PeriodNotOver { ends } => format!("the period ends only at {}", local(*ends, zone)),
        Blocker::WindowOpen { window } => format!("the outage {window} has no end yet"),
        Blocker::WindowNotConfirmed { window } => format!("the outage {window} is not signed off"),
        Blocker::WindowDisputed { window } => format!("those who reported the outage {window} disagree"),
        Blocker::WindowUnknown { window } => {
            format!("nobody knows whether it worked during {window}, and the terms do not say who bears that")
        }
        Blocker::ContestedPlacement { mailbox } => format!("two sources disagree about where {mailbox} lived"),
        Blocker::MissingCharge { from, to } => format!("there is no charge from {from} up to {to}"),
        Blocker::ChargesOverlap { numbers } => format!("the charges {} are for the same days", numbers.join(", ")),
        Blocker::TermsMissing { plan } => format!("the plan {plan} has no terms for the period"),
        Blocker::HistoryMissing => "the terms look back, and what happened before the period is not known".to_owned(),
        Blocker::CalendarMissing { calendar } => format!("the holiday calendar {calendar} is not there"),
    }
}

/// A line's event, as staff say it.
pub(in crate::domain) fn what(line: &Line) -> String {
    let impact = match line.impact {
        Impact::Full => match line.capability.0.as_str() {
            "receive" => "could not receive".to_owned(),
            "send" => "could not send".to_owned(),
            "access" => "could not be opened".to_owned(),
            other => format!("no {other}"),
        },
        Impact::Delayed { .. } => "slow".to_owned(),
        Impact::Degraded { .. } => format!("{} in part", line.capability.0),
    };
    match line.certainty {
        _ if line.notice.is_some_and(|notice| notice.enough) => "planned".to_owned(),
        Certainty::Known => impact,
        Certainty::Unknown => format!("not known whether {} worked", line.capability.0),
    }
}

/// Why time of a line did not count, in a few words.
pub(in crate::domain) fn why(why: Why, own: usize) -> String {
    match why {
        Why::Overlap { line } => format!("overlap with record {}", line + 1),
        Why::Planned { line } if line == own => "planned".to_owned(),
        Why::Planned { line } => format!("within the planned work of record {}", line + 1),
        Why::Unknown => "not known to be down".to_owned(),
        Why::Retracted => "found not to have happened".to_owned(),
        Why::NotPromised => "not promised".to_owned(),
        Why::DelayTooShort => "delay too short to count".to_owned(),
        Why::ImpactNotCounted => "does not count under the terms".to_owned(),
        Why::OtherCapabilityWorked => "not everything was lost at once".to_owned(),
        Why::OutageTooShort => "outage too short to count".to_owned(),
        Why::OutageTooLong => "outage too long to count here".to_owned(),
        Why::FixedHours => "in the hours kept free for work".to_owned(),
        Why::OutsideHours => "outside the hours that are promised".to_owned(),
        Why::Paused { .. } => "the clock stood still".to_owned(),
        Why::BeforeReport => "before it was reported".to_owned(),
        Why::NotReported => "not reported while it lasted".to_owned(),
        Why::TooFewHit => "it hit too few".to_owned(),
        Why::OtherTerms => "it began under other terms".to_owned(),
        Why::OtherPeriod => "the outage belongs to another period".to_owned(),
    }
}

/// `October 2026`, `the second quarter of 2026`, `5 June to 4 July 2026`.
pub(in crate::domain) fn period(period: ServicePeriod) -> String {
    match period {
        ServicePeriod::Month(month) => month.first_day().format("%B %Y").to_string(),
        ServicePeriod::Quarter { first } => {
            let name = match chrono::Datelike::month0(&first.first_day()) / 3 {
                0 => "first",
                1 => "second",
                2 => "third",
                _ => "fourth",
            };
            first.first_day().format(&format!("the {name} quarter of %Y")).to_string()
        }
        ServicePeriod::Days { from, to } => {
            format!("{} to {}", from.format("%-d %B %Y"), to.pred_opt().unwrap_or(to).format("%-d %B %Y"))
        }
    }
}

/// One or two mailboxes by their names, more by their number.
pub(in crate::domain) fn named(mailboxes: &[String]) -> String {
    match mailboxes {
        [one] => one.clone(),
        [one, other] => format!("{one} and {other}"),
        several => counted(several.len(), "mailbox"),
    }
}

/// A table's minutes: whole ones bare, others with their seconds.
pub(in crate::domain) fn table_minutes(micros: i64) -> String {
    if micros % MINUTE == 0 { grouped(micros / MINUTE) } else { spoken(micros) }
}

/// Exact microseconds as people say them: `1,335 min`, and as a fraction of minutes where they are none.
pub(super) fn spoken_exact(micros: Ratio) -> String {
    match micros.to_string().parse::<i64>() {
        Ok(whole) => spoken(whole),
        Err(_) => format!("{} min", minutes_exact(micros)),
    }
}

/// A length that a contract states, in its largest whole unit: `30 min`, `24 hours`, `48 hours`.
pub(super) fn length(seconds: u32) -> String {
    match seconds {
        0 => "0 s".to_owned(),
        3_600 => "1 hour".to_owned(),
        86_400 => "24 hours".to_owned(),
        _ => {
            let parts = [(seconds / 3_600, "hours"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
            let said: Vec<String> =
                parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count} {unit}")).collect();
            said.join(" ")
        }
    }
}

/// The text with its first letter large.
pub(super) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

pub(super) fn day(date: chrono::NaiveDate) -> String {
    date.format("%-d %b %Y").to_string()
}

/// `13 Oct 06:10`, with seconds where there are any.
pub(in crate::domain) fn local(at: Instant, zone: Zone) -> String {
    let local = zone.local(at);
    let pattern = match at.micros() % MINUTE {
        0 => "%-d %b %H:%M",
        rest if rest % SECOND == 0 => "%-d %b %H:%M:%S",
        _ => "%-d %b %H:%M:%S%.6f",
    };
    local.format(pattern).to_string()
}

pub(super) fn counted(count: usize, noun: &str) -> String {
    let plural = match (count, noun) {
        (1, _) => "",
        (_, "mailbox") => "es",
        _ => "s",
    };
    format!("{count} {noun}{plural}")
}

pub(super) fn percent(part: Ratio) -> Ratio {
    part.times(Ratio::whole(100)).unwrap_or(part)
}

pub(super) fn minutes_exact(micros: Ratio) -> String {
    let minutes = micros.over(Ratio::whole(MINUTE)).unwrap_or(micros);
    let text = minutes.to_string();
    match text.parse::<i64>() {
        Ok(whole) => grouped(whole),
        Err(_) => text,
    }
}

/// `1,335 min`, `44 min 35 s`, `38.4 s`.
pub(in crate::domain) fn spoken(micros: i64) -> String {
    let (minutes, rest) = (micros / MINUTE, micros % MINUTE);
    let seconds = Ratio::new(rest.into(), SECOND.into()).map_or_else(|_| String::new(), |seconds| seconds.to_string());
    match (minutes, rest) {
        (minutes, 0) => format!("{} min", grouped(minutes)),
        (0, _) => format!("{seconds} s"),
        (minutes, _) => format!("{} min {seconds} s", grouped(minutes)),
    }
}

/// So much time with what becomes of it: `nothing is cut`, `35 min are cut`.
pub(super) fn some(micros: i64, is: &str, are: &str) -> String {
    if micros == 0 { format!("nothing {is}") } else { format!("{} {are}", spoken(micros)) }
}

/// In days and hours where it is longer than two days: `9 days`, `36 hours`.
pub(super) fn spoken_long(micros: i64) -> String {
    if micros >= 2 * DAY {
        format!("{} days", micros / DAY)
    } else if micros >= HOUR {
        format!("{} hours", micros / HOUR)
    } else {
        spoken(micros)
    }
}

/// Digits in threes: `44,640`.
pub(super) fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::new();
    if value < 0 {
        text.push('-');
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
