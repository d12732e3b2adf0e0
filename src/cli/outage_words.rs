//! Outages as people read and write them at a terminal.

use std::fmt::Write;

use serde_json::Value;

use super::when;
use crate::domain::period::Zone;
use crate::domain::time::{Instant, SECOND};
use crate::domain::window::Impact;

pub fn state(window: &Value) -> &str {
    window["state"]["state"].as_str().unwrap_or_default()
}

/// A time of an answer, or a dash where there is none.
pub fn shown(at: &Value, zone: Option<Zone>) -> String {
    let read = at.as_str().and_then(|text| Instant::parse(text).ok());
    read.map_or_else(|| "-".to_owned(), |at| when::shown(at, zone))
}

/// As [`shown`], to the second: for tables.
pub fn short(at: &Value, zone: Option<Zone>) -> String {
    let read = at.as_str().and_then(|text| Instant::parse(text).ok());
    let whole = read.and_then(|at| Instant::from_micros(at.micros() - at.micros().rem_euclid(SECOND)));
    whole.map_or_else(|| "-".to_owned(), |at| when::shown(at, zone))
}

pub fn until(window: &Value, zone: Option<Zone>) -> String {
    if window["end"].is_null() { "goes on".to_owned() } else { short(&window["end"], zone) }
}

/// A count with its noun: `1 outage`, `2 outages`.
pub fn counted(count: &Value, one: &str, several: &str) -> String {
    format!("{count} {}", if *count == 1 { one } else { several })
}

/// What a version says that the one before it did not, a field each.
pub fn changes(before: &Value, after: &Value, zone: Option<Zone>) -> Vec<String> {
    let field = |name: &str, said: &dyn Fn(&Value) -> String| {
        let (was, is) = (said(before), said(after));
        (was != is).then(|| format!("{name}: {was}, now {is}"))
    };
    let planned = |one: &Value| match &one["window"]["planned"]["interval"] {
        Value::Null => "no".to_owned(),
        interval => format!("{} to {}", short(&interval["start"], zone), short(&interval["end"], zone)),
    };
    let end = |one: &Value| match &one["window"]["end"] {
        Value::Null => "none".to_owned(),
        end => shown(end, zone),
    };
    let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    let all = [
        field("start", &|one| shown(&one["window"]["start"], zone)),
        field("end", &end),
        field("where", &|one| place(&one["window"]["scope"])),
        field("what", &|one| text(&one["window"]["capability"])),
        field("impact", &|one| effect(&one["window"]["impact"])),
        field("certainty", &|one| one["window"]["certainty"].as_str().unwrap_or("known").to_owned()),
        field("planned", &planned),
        field("incident", &|one| text(&one["incident"])),
    ];
    all.into_iter().flatten().collect()
}

fn place(scope: &Value) -> String {
    match (scope["shards"].as_array(), scope["list"].as_str()) {
        (Some(shards), _) => shards.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
        (None, Some(list)) => format!("list {list}"),
        (None, None) => scope.as_str().map_or_else(|| scope.to_string(), str::to_owned),
    }
}

fn effect(impact: &Value) -> String {
    match impact["kind"].as_str() {
        Some("degraded") => {
            let bp = impact["weight_bp"].as_u64().unwrap_or_default();
            format!("degraded:{}.{:02}%", bp / 100, bp % 100)
        }
        Some("delayed") => format!("delayed:{}s", impact["seconds"]),
        Some(other) => other.to_owned(),
        None => String::new(),
    }
}

/// One outage on one line.
pub fn line(window: &Value, zone: Option<Zone>) -> String {
    let text = |name: &str| window[name].as_str().unwrap_or_default().to_owned();
    format!(
        "{}  {:<11}  {}  {}  {} {} {}",
        text("id"),
        state(window),
        short(&window["start"], zone),
        until(window, zone),
        text("capability"),
        effect(&window["impact"]),
        place(&window["scope"]),
    )
}

/// One outage as it stands, for a reader.
pub fn described(outage: &Value, zone: Option<Zone>) -> String {
    let window = &outage["window"];
    let mut text = format!(
        "outage {}, version {}, {}\n",
        window["id"].as_str().unwrap_or_default(),
        window["version"],
        state(window)
    );
    let mut put = |name: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {name:<10} {value}");
    };
    put("what", format!("{}, {}", window["capability"].as_str().unwrap_or_default(), effect(&window["impact"])));
    put("where", place(&window["scope"]));
    put("start", shown(&window["start"], zone));
    put("end", if window["end"].is_null() { until(window, zone) } else { shown(&window["end"], zone) });
    if let Some(planned) = window["planned"].as_object() {
        let interval = planned.get("interval").unwrap_or(&Value::Null);
        let told = shown(planned.get("announced_at").unwrap_or(&Value::Null), zone);
        let (from, to) = (shown(&interval["start"], zone), shown(&interval["end"], zone));
        put("planned", format!("{from} to {to}, announced {told}"));
    }
    for (name, value) in [("incident", &outage["incident"]), ("note", &outage["note"]), ("reason", &window["reason"])] {
        if let Some(value) = value.as_str() {
            put(name, value.to_owned());
        }
    }
    put("recorded", short(&outage["recorded_at"], zone));
    if let Some(by) = window["state"]["by"].as_str() {
        let done = if state(window) == "confirmed" { "signed" } else { "taken back" };
        put(done, format!("by {by}, {}", short(&window["state"]["at"], zone)));
    }
    if !outage["dispute"].is_null() {
        put("dispute", "its monitors disagree: amend it with a reason before it is signed off".to_owned());
    }
    if outage["later_evidence"] == true {
        put("later", "a monitor said something after a person made this version".to_owned());
    }
    text
}

/// Why an outage is not closed: somebody did so already. None where it goes on, where `version` is not the one that is shown, and
/// where what it says is the service's to refuse. Planned work that is over early is closed.
pub fn ended_already(window: &Value, version: i64, zone: Option<Zone>, now: Instant) -> Option<String> {
    let end = window["end"].as_str().and_then(|text| Instant::parse(text).ok())?;
    let is_meant = window["version"] == version && state(window) != "retracted";
    (is_meant && end <= now).then(|| {
        format!(
            "it ended at {} already; amend it with --end and --reason if that is wrong: makegood outage amend {} --end ... --reason ...",
            when::shown(end, zone),
            window["id"].as_str().unwrap_or_default()
        )
    })
}

/// That a correction took the signature of `before` off, where it was signed; otherwise nothing.
pub fn unsigned(before: &Value, version: i64) -> String {
    match before["state"]["by"].as_str() {
        Some(by) if state(before) == "confirmed" && before["version"] == version => {
            format!("This takes off the signature of {by}: it moves no money until it is signed again.\n")
        }
        Some(_) | None => String::new(),
    }
}

/// Reads `full`, `degraded:50%` and `delayed:600s`.
pub fn impact(text: &str) -> Result<Impact, String> {
    let forms = "write full, degraded:50% (the part that did not work) or delayed:600s";
    let read = match text.split_once(':') {
        None if text == "full" => Some(Impact::Full),
        Some(("degraded", part)) => part
            .strip_suffix('%')
            .and_then(|percent| {
                let (whole, hundredths) = percent.split_once('.').unwrap_or((percent, ""));
                let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
                if whole.is_empty() || hundredths.len() > 2 || !is_number(whole) || !is_number(hundredths) {
                    return None;
                }
                format!("{whole}{hundredths:0<2}").parse().ok()
            })
            .map(|weight_bp| Impact::Degraded { weight_bp }),
        Some(("delayed", time)) => {
            let unit = [('s', 1), ('m', 60), ('h', 3_600)].into_iter().find(|(unit, _)| time.ends_with(*unit));
            unit.and_then(|(unit, seconds)| {
                let number: u32 = time.strip_suffix(unit)?.parse().ok()?;
                Some(Impact::Delayed { seconds: number.checked_mul(seconds)? })
            })
        }
        Some(_) | None => None,
    };
    let impact = read.ok_or_else(|| forms.to_owned())?;
    impact.check().map_err(str::to_owned)?;
    Ok(impact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impact_is_read_as_it_is_written() {
        assert_eq!(impact("full"), Ok(Impact::Full));
        assert_eq!(impact("degraded:50%"), Ok(Impact::Degraded { weight_bp: 5_000 }));
        assert_eq!(impact("degraded:12.5%"), Ok(Impact::Degraded { weight_bp: 1_250 }));
        assert_eq!(impact("degraded:0.05%"), Ok(Impact::Degraded { weight_bp: 5 }));
        assert_eq!(impact("delayed:600s"), Ok(Impact::Delayed { seconds: 600 }));
        assert_eq!(impact("delayed:2h"), Ok(Impact::Delayed { seconds: 7_200 }));
        for wrong in [
            "",
            "half",
            "full:1",
            "degraded:50",
            "degraded:0%",
            "degraded:101%",
            "degraded:1.234%",
            "degraded:.5%",
            "degraded:-1%",
            "delayed:0s",
            "delayed:600",
            "delayed:1.5h",
            "delayed:9999999h",
        ] {
            assert!(impact(wrong).is_err(), "{wrong}");
        }
    }
}
