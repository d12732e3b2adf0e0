//! Times as people write them at a terminal. What could mean two things is refused.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};

use crate::domain::period::Zone;
use crate::domain::time::Instant;

const FORMS: &str = "write now, a time with its offset such as 2026-10-13T06:10:00+13:00, or with --zone Pacific/Auckland a \
                     local one such as 06:10 or \"2026-10-13 06:10\"";

/// The instant that `text` means: `now`, RFC 3339 with an offset, or a local time of `zone`, with the date or of today. Says
/// why where it is none, might be two, or is a time of today that is still to come.
pub fn instant(text: &str, zone: Option<Zone>, now: Instant) -> Result<Instant, String> {
    let text = text.trim();
    if text == "now" {
        return Ok(now);
    }
    if let Ok(at) = Instant::parse(text) {
        return Ok(at);
    }
    let time = |text: &str| ["%H:%M", "%H:%M:%S"].iter().find_map(|form| NaiveTime::parse_from_str(text, form).ok());
    let dated = text.split_once(['T', ' ']).and_then(|(day, clock)| {
        Some(NaiveDateTime::new(NaiveDate::parse_from_str(day, "%Y-%m-%d").ok()?, time(clock.trim())?))
    });
    let local = match (dated, time(text)) {
        (None, None) => return Err(format!("{text:?} is no time: {FORMS}")),
        (Some(local), _) => (local, false),
        (None, Some(clock)) => match zone {
            Some(zone) => (NaiveDateTime::new(zone.local(now).date_naive(), clock), true),
            None => (NaiveDateTime::new(NaiveDate::default(), clock), true),
        },
    };
    let Some(zone) = zone else {
        return Err(format!("{text:?} is another time in every zone: {FORMS}"));
    };
    let (local, is_of_today) = local;
    let at = match zone.instants_of(local).as_slice() {
        [] => return Err(format!("there was no {local} in {zone}: the clocks skipped it")),
        [at] => *at,
        [first, .., last] => {
            let (first, last) = (shown(*first, Some(zone)), shown(*last, Some(zone)));
            return Err(format!("{local} came twice in {zone}: write {first} or {last}"));
        }
    };
    if is_of_today && at > now {
        return Err(format!(
            "{text} is still to come today in {zone}: write the date too, as in {}",
            shown(at, Some(zone))
        ));
    }
    Ok(at)
}

/// A time with its offset, in `zone`, or in UTC where none is given.
pub fn shown(at: Instant, zone: Option<Zone>) -> String {
    match zone {
        Some(zone) => zone.local(at).to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
        None => at.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn understood(text: &str, zone: Option<&str>) -> Result<String, String> {
        // 14:30 on Sunday 27 September in New Zealand; its clocks went forward at 02:00 of that day.
        let now = Instant::parse("2026-09-27T01:30:00Z").unwrap();
        instant(text, zone.map(|zone| zone.parse().unwrap()), now).map(|at| at.to_string())
    }

    #[test]
    fn a_time_is_understood_or_refused_with_what_to_write() {
        let auckland = Some("Pacific/Auckland");
        assert_eq!(understood("now", None).unwrap(), "2026-09-27T01:30:00Z");
        assert_eq!(understood("2026-09-27T14:05:00+13:00", None).unwrap(), "2026-09-27T01:05:00Z");
        assert_eq!(understood("14:05", auckland).unwrap(), "2026-09-27T01:05:00Z");
        assert_eq!(understood("2026-09-26 14:05", auckland).unwrap(), "2026-09-26T02:05:00Z");
        assert_eq!(understood("2026-09-26T14:05:30", auckland).unwrap(), "2026-09-26T02:05:30Z");
        for (text, zone, why) in [
            ("14:05", None, "another time in every zone"),
            ("2026-09-26 14:05", None, "another time in every zone"),
            ("15:00", auckland, "still to come today"),
            ("02:30", auckland, "the clocks skipped it"),
            ("2026-04-05 02:30", auckland, "came twice"),
            ("yesterday", auckland, "is no time"),
            ("5pm", auckland, "is no time"),
            ("26.09.2026 14:05", auckland, "is no time"),
            ("25:00", auckland, "is no time"),
            ("", auckland, "is no time"),
        ] {
            let refused = understood(text, zone).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
        let twice = understood("2026-04-05 02:30", auckland).unwrap_err();
        assert!(twice.contains("2026-04-05T02:30:00+13:00") && twice.contains("2026-04-05T02:30:00+12:00"), "{twice}");
    }
}
