//! The webhook of a hosted status page (Statuspage): a component changed from one status to another.
//!
//! A status that customers feel is an alert of that name (`major_outage`, `partial_outage`, `degraded_performance`,
//! `under_maintenance`), with the component's name and id as labels. An update says when a status ended, but not when it had
//! begun: it is told as an alert of no length, which ends the one that is still open. Updates of incidents are prose for people
//! and say nothing.

use std::collections::BTreeMap;

use serde_json::Value;

use super::alerts::{each, label};
use super::json::{self, Fields};
use super::{Format, JSON};
use crate::domain::observation::{Delivery, Names, Observation, Rejected};
use crate::domain::refusal::Refusal;

pub(super) const FORMAT: Format = Format { media: JSON, read: |_, bytes| parse(bytes) };

const NAMES: Names = Names { start: "created_at", end: "created_at" };

const WORKS: &str = "operational";
const FELT: [&str; 4] = ["major_outage", "partial_outage", "degraded_performance", "under_maintenance"];

/// Reads one delivery. Refuses a body that can never be one.
pub fn parse(bytes: &[u8]) -> Result<Delivery, Refusal> {
    let body = json::object(bytes)?;
    if body.get("incident").is_some_and(Value::is_object) && !body.contains_key("component_update") {
        return Ok(Delivery::default());
    }
    let update = body.get("component_update").unwrap_or(&Value::Null);
    let component = body.get("component").unwrap_or(&Value::Null);
    each([("/component_update".to_owned(), (update, component))].into_iter(), NAMES, 0, changed)
}

fn changed(place: &str, (update, component): (&Value, &Value)) -> Result<Vec<Observation>, Rejected> {
    let update = Fields::of(place, update)?;
    let component = Fields::of("/component", component)?;
    let id = update.need("component_id")?;
    if id.len() > 64 || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(update.wrong("component_id", "the id of a component has 1 to 64 letters and digits"));
    }
    let labels = BTreeMap::from([
        ("component".to_owned(), label(component.need("name")?)),
        ("component_id".to_owned(), id.to_owned()),
    ]);
    let at = update.time("created_at")?;
    let mut told = Vec::new();
    for (field, is_over) in [("old_status", true), ("new_status", false)] {
        let status = update.need(field)?;
        if !FELT.contains(&status) && status != WORKS {
            let known = FELT.join(", ");
            return Err(update.wrong(field, format!("{} is not {WORKS}, {known}", json::shown(status))));
        }
        if status != WORKS {
            told.push(Observation {
                fingerprint: format!("{id}:{status}"),
                name: status.to_owned(),
                labels: labels.clone(),
                starts_at: at,
                ends_at: is_over.then_some(at),
                observed_at: None,
                said: None,
            });
        }
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::domain::fold::{Liveness, Question, Statement, fold};
    use crate::domain::monitors::{Group, Verdict};
    use crate::domain::observation::About;
    use crate::domain::time::Instant;
    use crate::domain::window::{Capability, Correction, Impact};

    const DOWN: &[u8] = include_bytes!("../../tests/sources/statuspage/component_down.json");
    const UP: &[u8] = include_bytes!("../../tests/sources/statuspage/component_up.json");
    const INCIDENT: &[u8] = include_bytes!("../../tests/sources/statuspage/incident.json");

    fn read(bytes: &[u8]) -> Vec<Observation> {
        parse(bytes).unwrap().told.into_iter().map(|told| told.observation).collect()
    }

    #[test]
    fn a_status_that_ended_ends_the_alert_that_is_open() {
        let (down, up) = (read(DOWN), read(UP));
        assert_eq!((down.len(), up.len()), (1, 1));
        assert_eq!(down[0].name, "major_outage");
        assert_eq!(down[0].labels["component"], "Inbound gateway mx-07");
        let statements: Vec<Statement> = [&up[0], &down[0]]
            .map(|one| Statement { key: one.key("page"), ends_at: one.ends_at, correction: Correction::default() })
            .to_vec();
        let group = Group {
            about: About::Component("inbound".to_owned()),
            capability: Capability("receive".to_owned()),
            impact: Impact::Full,
        };
        let question = Question { group: &group, watchers: BTreeSet::new(), tells_of_silence: false };
        let words = BTreeMap::from([("page".to_owned(), Liveness::TakenAtItsWord)]);
        let folded = fold(&question, &statements, &words, |_| &Verdict::Any);
        let at = |text| Instant::parse(text).unwrap();
        let edges: Vec<_> = folded.iter().map(|one| (one.start, one.end)).collect();
        assert_eq!(edges, [(at("2026-10-12T16:20:00Z"), Some(at("2026-10-13T15:05:00Z")))]);
    }

    #[test]
    fn a_change_between_two_bad_statuses_tells_of_both_and_an_incident_of_none() {
        let mut body: Value = serde_json::from_slice(UP).unwrap();
        body["component_update"]["new_status"] = json!("partial_outage");
        let told = read(body.to_string().as_bytes());
        assert_eq!(told.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["major_outage", "partial_outage"]);
        assert_eq!((told[0].ends_at.is_some(), told[1].ends_at), (true, None));
        assert_eq!(parse(INCIDENT).unwrap(), Delivery::default());
        body["component_update"]["new_status"] = json!("on fire");
        assert_eq!(parse(body.to_string().as_bytes()).unwrap_err().errors[0].pointer, "/component_update/new_status");
        assert_eq!(parse(b"{}").unwrap_err().errors[0].pointer, "/component_update");
    }
}
