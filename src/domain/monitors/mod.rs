//! What the alerts of our monitors mean: data that operations keep, one document.
//!
//! A *source* is one monitor. A *rule* says what an alert of that name means. A *component* is anything that can fail, and
//! says which mailboxes it serves, from an instant on: map services and not hosts, since a fail-over moves a service. A *label
//! map* gives a component the name that alerts know it by.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::ask::Ask;
use super::refusal::{FieldError, Refusal};
use super::time::Instant;
use super::window::{Capability, Correction, Impact, Scope};

mod mapping;

pub use mapping::{Group, Mapping, Meaning, Unmapped};

/// The whole document, as operations write it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Monitors {
    #[serde(default)]
    pub sources: Vec<Source>,
    #[serde(default)]
    pub rules: Vec<RuleEntry>,
    #[serde(default)]
    pub components: Vec<Component>,
    #[serde(default)]
    pub labels: Vec<LabelMap>,
}

/// How a source speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    Alertmanager,
    Grafana,
    PagerDuty,
    Generic,
    CloudEvents,
    Statuspage,
}

impl SourceKind {
    pub const ALL: [SourceKind; 6] = [
        SourceKind::Alertmanager,
        SourceKind::Grafana,
        SourceKind::PagerDuty,
        SourceKind::Generic,
        SourceKind::CloudEvents,
        SourceKind::Statuspage,
    ];

    /// As it stands in the monitors document and in the address of the door.
    pub fn name(self) -> &'static str {
        match self {
            SourceKind::Alertmanager => "alertmanager",
            SourceKind::Grafana => "grafana",
            SourceKind::PagerDuty => "pagerduty",
            SourceKind::Generic => "generic",
            SourceKind::CloudEvents => "cloudevents",
            SourceKind::Statuspage => "statuspage",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        SourceKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One monitor, by the name that its token carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    pub name: String,
    pub kind: SourceKind,
    /// The longest silence between two heartbeats after which the source still counts as alive. None: it sends no heartbeat
    /// and is taken at its word, so a monitor that died looks like recovery.
    pub heartbeat_gap_seconds: Option<u32>,
    /// Where to ask what was not told. None: it is never asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<Ask>,
    /// The components whose failure it would report. While it is quiet they work; while it is silent for longer than its gap, and
    /// nobody else who watches them is heard, whether they work is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watches: Vec<Watch>,
}

/// A component that a source watches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum Watch {
    /// By name: from when it was said first. What was before stays as it was.
    Named(String),
    Since(WatchSince),
}

/// A component that a source watches, from an instant on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WatchSince {
    pub component: String,
    #[schema(value_type = String, example = "2026-01-01T00:00:00Z")]
    pub from: Instant,
}

impl Watch {
    pub fn component(&self) -> &str {
        match self {
            Watch::Named(component) | Watch::Since(WatchSince { component, .. }) => component,
        }
    }
}

impl Source {
    /// From when on it watches `component`; none where it does not.
    pub fn watches_from(&self, component: &str) -> Option<Instant> {
        self.watches.iter().find(|watch| watch.component() == component).map(|watch| match watch {
            Watch::Named(_) => Instant::MIN,
            Watch::Since(since) => since.from,
        })
    }

    /// The source with a beginning for all that it watches: as it says, else as `before` said, else `now`.
    pub fn dated(mut self, before: Option<&Source>, now: Instant) -> Source {
        for watch in &mut self.watches {
            let Watch::Named(component) = watch else { continue };
            let from = before.and_then(|before| before.watches_from(component)).unwrap_or(now);
            *watch = Watch::Since(WatchSince { component: std::mem::take(component), from });
        }
        self
    }
}

/// What the alert `alertname` means when one of `sources` sends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleEntry {
    pub sources: Vec<String>,
    pub alertname: String,
    pub means: Rule,
}

/// What an alert means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The source is alive, as long as it fires: a Watchdog.
    Heartbeat,
    /// Nothing that customers feel.
    Ignored,
    /// A component failed.
    Outage(OutageRule),
}

/// How an alert becomes an outage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutageRule {
    /// The label whose value names the component, by itself or through a label map.
    pub component_label: String,
    /// None: the capabilities that the component is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<Capability>,
    pub impact: Impact,
    /// The rule's `for:`.
    #[serde(default)]
    pub for_seconds: u32,
    /// The scrape interval.
    #[serde(default)]
    pub scrape_seconds: u32,
    /// The rule's `keep_firing_for:`.
    #[serde(default)]
    pub keep_firing_seconds: u32,
}

impl OutageRule {
    pub fn correction(&self) -> Correction {
        Correction {
            for_seconds: self.for_seconds,
            scrape_seconds: self.scrape_seconds,
            keep_firing_seconds: self.keep_firing_seconds,
        }
    }
}

/// Which mailboxes the component served, from an instant on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Component {
    pub name: String,
    #[schema(value_type = String, example = "2026-01-01T00:00:00Z")]
    pub from: Instant,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub to: Option<Instant>,
    pub scope: Scope,
    /// What is lost when it fails, where the alert's rule does not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<Capability>,
    /// When those who watch it and disagree make it down.
    #[serde(default, skip_serializing_if = "Verdict::is_any")]
    pub verdict: Verdict,
}

/// What the sources that watch a component must say for it to count as down. One that is silent says neither.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// One of them, or any other source.
    #[default]
    Any,
    /// All that are heard.
    All,
    /// This many. While fewer are heard, it is not known.
    AtLeast(u32),
    /// This one; while it is silent, any other.
    Primary(String),
}

impl Verdict {
    fn is_any(&self) -> bool {
        *self == Verdict::Any
    }
}

/// The name that alerts know a component by, from an instant on: the alerts whose label `label` is `value` are about
/// `component`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelMap {
    pub label: String,
    pub value: String,
    pub component: String,
    #[schema(value_type = String, example = "2026-01-01T00:00:00Z")]
    pub from: Instant,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub to: Option<Instant>,
}

impl Monitors {
    /// Refuses a document that cannot mean what it says; every line that is wrong is named.
    pub fn check(&self) -> Result<(), Refusal> {
        let mut errors = Vec::new();
        let mut wrong =
            |pointer: String, message: &str| errors.push(FieldError { pointer, message: message.to_owned() });
        let mut names = BTreeSet::new();
        for (at, source) in self.sources.iter().enumerate() {
            if !is_name(&source.name) {
                wrong(format!("/sources/{at}/name"), NAME);
            }
            if !names.insert(&source.name) {
                wrong(format!("/sources/{at}/name"), "this source is in the document twice");
            }
            if source.heartbeat_gap_seconds == Some(0) {
                wrong(format!("/sources/{at}/heartbeat_gap_seconds"), "at least one second, or null for no heartbeat");
            }
            for (field, message) in source.ask.iter().flat_map(Ask::check) {
                wrong(format!("/sources/{at}/ask{field}"), message);
            }
        }
        let mut rules = BTreeSet::new();
        for (at, entry) in self.rules.iter().enumerate() {
            if entry.sources.is_empty() {
                wrong(format!("/rules/{at}/sources"), "name at least one source");
            }
            if !is_name(&entry.alertname) {
                wrong(format!("/rules/{at}/alertname"), NAME);
            }
            for source in &entry.sources {
                if !is_name(source) {
                    wrong(format!("/rules/{at}/sources"), NAME);
                }
                if !rules.insert((source, &entry.alertname)) {
                    wrong(format!("/rules/{at}"), "this alert of this source has two rules in the document");
                }
            }
            if let Rule::Outage(rule) = &entry.means {
                if !is_name(&rule.component_label) {
                    wrong(format!("/rules/{at}/means/outage/component_label"), NAME);
                }
                if let Some(Err(message)) = rule.capability.as_ref().map(Capability::check) {
                    wrong(format!("/rules/{at}/means/outage/capability"), message);
                }
                if let Err(message) = rule.impact.check() {
                    wrong(format!("/rules/{at}/means/outage/impact"), message);
                }
            }
        }
        for (at, component) in self.components.iter().enumerate() {
            if !is_name(&component.name) {
                wrong(format!("/components/{at}/name"), NAME);
            }
            if component.to.is_some_and(|to| to <= component.from) {
                wrong(format!("/components/{at}/to"), "the end must be after the start");
            }
            if let Err(message) = component.scope.check() {
                wrong(format!("/components/{at}/scope"), message);
            }
            for capability in &component.capabilities {
                if let Err(message) = capability.check() {
                    wrong(format!("/components/{at}/capabilities"), message);
                }
            }
            if let Err(message) = self.check_verdict(component) {
                wrong(format!("/components/{at}/verdict"), message);
            }
            let twice = self.components.iter().skip(at + 1).any(|other| {
                other.name == component.name && meet((component.from, component.to), (other.from, other.to))
            });
            if twice {
                wrong(
                    format!("/components/{at}"),
                    "this component has two scopes at one time; end the first one with `to`",
                );
            }
        }
        for (at, map) in self.labels.iter().enumerate() {
            if ![&map.label, &map.value, &map.component].into_iter().all(|name| is_name(name)) {
                wrong(
                    format!("/labels/{at}"),
                    "label, value and component have 1 to 200 characters each, no control characters",
                );
            }
            if map.to.is_some_and(|to| to <= map.from) {
                wrong(format!("/labels/{at}/to"), "the end must be after the start");
            }
            let twice = self.labels.iter().skip(at + 1).any(|other| {
                (&other.label, &other.value) == (&map.label, &map.value)
                    && meet((map.from, map.to), (other.from, other.to))
            });
            if twice {
                wrong(
                    format!("/labels/{at}"),
                    "this value names two components at one time; end the first one with `to`",
                );
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(Refusal::invalid(errors)) }
    }

    /// A verdict that counts voices needs them: sources that watch the component, in this document.
    fn check_verdict(&self, component: &Component) -> Result<(), &'static str> {
        let watching = || self.sources.iter().filter(|source| source.watches_from(&component.name).is_some());
        match &component.verdict {
            Verdict::Any => Ok(()),
            Verdict::All if watching().next().is_none() => {
                Err("all of nobody: name this component under `watches` of the sources that see it, in this document")
            }
            Verdict::AtLeast(0) => Err("at_least counts from 1"),
            Verdict::AtLeast(count) if usize::try_from(*count).is_ok_and(|count| count > watching().count()) => {
                Err("fewer sources of this document watch this component: name it under their `watches`")
            }
            Verdict::Primary(name) if !watching().any(|source| source.name == *name) => {
                Err("this source is not in this document, or does not watch this component")
            }
            Verdict::All | Verdict::AtLeast(_) | Verdict::Primary(_) => Ok(()),
        }
    }

    /// What is right and may still not be meant: a component whose name, or a label map whose value, looks like one host's. A
    /// fail-over moves a service to another host, and the outage would be laid over the wrong mailboxes. And a source of which only
    /// Alertmanager is asked: it tells what fires, and of what it has no more, not when it was over.
    pub fn warnings(&self) -> Vec<String> {
        let components = self.components.iter().map(|one| &one.name).filter(|name| is_host(name)).map(|name| {
            format!(
                "component {name:?} looks like a host: name the service, since a fail-over moves it to another host"
            )
        });
        let labels = self.labels.iter().filter(|map| map.to.is_none() && is_host(&map.value)).map(|map| {
            format!(
                "{} {:?} looks like a host, and stands for {:?} without an end: give it a `to` when the service moves",
                map.label, map.value, map.component
            )
        });
        let endless = |ask: &Ask| ask.alertmanager.is_some() && ask.prometheus.is_none();
        let sources = self.sources.iter().filter(|source| source.ask.as_ref().is_some_and(endless)).map(|source| {
            format!(
                "source {:?} is asked through Alertmanager only, which does not say when an alert that it silenced was over: name \
                 its `prometheus` too, or close the outages of silenced alerts by hand",
                source.name
            )
        });
        components.chain(labels).chain(sources).collect()
    }
}

/// An address, a name with a port, or a name with a domain.
fn is_host(name: &str) -> bool {
    let (host, port) = name.rsplit_once(':').unwrap_or((name, ""));
    let has_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    has_port || (host.contains('.') && !host.contains(' '))
}

/// Whether two times, from and to, share an instant.
fn meet(one: (Instant, Option<Instant>), other: (Instant, Option<Instant>)) -> bool {
    one.1.is_none_or(|to| other.0 < to) && other.1.is_none_or(|to| one.0 < to)
}

const NAME: &str = "1 to 200 characters, no control characters";

/// Whether `text` may name a source, an alert, a label, a component or a shard.
pub fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= 200 && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::observation::Observation;
    use crate::domain::refusal::Code;

    fn document() -> Monitors {
        serde_saphyr::from_str(
            r"
sources:
  - {name: prom-a, kind: alertmanager, heartbeat_gap_seconds: 180}
rules:
  - {sources: [prom-a], alertname: Watchdog, means: heartbeat}
  - sources: [prom-a]
    alertname: InboundDown
    means: {outage: {component_label: component, capability: receive, impact: {kind: full}, for_seconds: 60}}
components:
  - {name: inbound-mx-07, from: 2026-01-01T00:00:00Z, to: 2026-06-01T00:00:00Z, scope: {shards: [mx-07]}}
  - {name: inbound-mx-07, from: 2026-06-01T00:00:00Z, scope: {shards: [mx-07, mx-09]}}
",
        )
        .unwrap()
    }

    fn mapping(document: Monitors) -> Mapping {
        let rules = document.rules.into_iter().flat_map(|entry| {
            let RuleEntry { sources, alertname, means } = entry;
            sources.into_iter().map(move |source| (source, alertname.clone(), means.clone()))
        });
        Mapping::new(document.sources, rules.collect::<Vec<_>>(), document.components, document.labels, [])
    }

    fn alert(name: &str, component: Option<&str>, starts_at: &str) -> Observation {
        Observation {
            fingerprint: "f1".to_owned(),
            name: name.to_owned(),
            labels: component.map(|value| ("component".to_owned(), value.to_owned())).into_iter().collect(),
            starts_at: Instant::parse(starts_at).unwrap(),
            ends_at: None,
            observed_at: None,
            said: None,
        }
    }

    #[test]
    fn a_component_maps_to_the_shards_that_it_served_when_the_alert_began() {
        let mapping = mapping(document());
        let shards =
            |at: &str| match mapping.meaning("prom-a", &alert("InboundDown", Some("inbound-mx-07"), at)).unwrap() {
                Meaning::Outage { groups, correction } => {
                    assert_eq!((groups.len(), correction.for_seconds), (1, 60));
                    mapping.scope_of(&groups[0].about, Instant::parse(at).unwrap()).unwrap()
                }
                other => panic!("{other:?}"),
            };
        assert_eq!(shards("2026-05-31T23:59:59Z"), Scope::Shards(vec!["mx-07".to_owned()]));
        assert_eq!(shards("2026-06-01T00:00:00Z"), Scope::Shards(vec!["mx-07".to_owned(), "mx-09".to_owned()]));
    }

    #[test]
    fn what_is_not_mapped_says_why() {
        let mapping = mapping(document());
        let why = |observation| mapping.meaning("prom-a", &observation).unwrap_err();
        assert!(matches!(why(alert("DiskFull", None, "2026-07-01T00:00:00Z")), Unmapped::NoRule(_)));
        assert!(matches!(why(alert("InboundDown", None, "2026-07-01T00:00:00Z")), Unmapped::NoLabel(_)));
        let early = alert("InboundDown", Some("inbound-mx-07"), "2025-07-01T00:00:00Z");
        assert!(matches!(why(early), Unmapped::NoComponent { .. }));
        let watchdog = alert("Watchdog", None, "2026-07-01T00:00:00Z");
        assert_eq!(mapping.meaning("prom-a", &watchdog).unwrap(), Meaning::Heartbeat);
        assert!(mapping.meaning("prom-b", &watchdog).is_err());
    }

    #[test]
    fn a_document_that_says_two_things_at_once_is_refused_line_by_line() {
        document().check().unwrap();
        let mut twice = document();
        twice.components[0].to = None;
        twice.sources.push(twice.sources[0].clone());
        twice.rules.push(twice.rules[0].clone());
        let refusal = twice.check().unwrap_err();
        assert_eq!(refusal.code, Code::InvalidRequest);
        let pointers: Vec<&str> = refusal.errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, ["/sources/1/name", "/rules/2", "/components/0"]);
    }
    #[test]
    fn a_source_of_which_only_alertmanager_is_asked_is_warned_of() {
        let warnings = |ask: &str| {
            let source = format!("{{name: prom-a, kind: alertmanager, heartbeat_gap_seconds: 180, ask: {{{ask}}}}}");
            let document = format!("sources: [{source}]\nrules: []\ncomponents: []\n");
            let document: Monitors = serde_saphyr::from_str(&document).unwrap();
            document.check().unwrap();
            document.warnings()
        };
        let (alertmanager, prometheus) = ("alertmanager: 'http://am:9093'", "prometheus: 'http://prom:9090'");
        assert!(warnings(alertmanager)[0].contains("name its `prometheus` too"), "{:?}", warnings(alertmanager));
        assert_eq!(warnings(prometheus), Vec::<String>::new());
        assert_eq!(warnings(&format!("{alertmanager}, {prometheus}")), Vec::<String>::new());
    }

    #[test]
    fn a_label_map_names_the_component_until_the_service_moves() {
        let moved = serde_saphyr::from_str::<Monitors>(
            r"
components:
  - name: inbound
    from: 2026-01-01T00:00:00Z
    scope: {shards: [mx-07]}
    capabilities: [receive, access.webmail]
  - {name: outbound, from: 2026-01-01T00:00:00Z, scope: all}
labels:
  - {label: instance, value: '10.0.0.7:25', component: inbound, from: 2026-01-01T00:00:00Z, to: 2026-06-01T00:00:00Z}
  - {label: instance, value: '10.0.0.7:25', component: outbound, from: 2026-06-01T00:00:00Z}
rules:
  - sources: [prom-a]
    alertname: PortClosed
    means: {outage: {component_label: instance, impact: {kind: full}}}
",
        )
        .unwrap();
        moved.check().unwrap();
        assert_eq!(moved.warnings().len(), 1, "{:?}", moved.warnings());
        let mapping = mapping(moved);
        let meant = |at| {
            let mut alert = alert("PortClosed", None, at);
            alert.labels.insert("instance".to_owned(), "10.0.0.7:25".to_owned());
            mapping.meaning("prom-a", &alert)
        };
        let Meaning::Outage { groups, .. } = meant("2026-05-31T23:59:59Z").unwrap() else { panic!() };
        let capabilities: Vec<&str> = groups.iter().map(|group| group.capability.0.as_str()).collect();
        assert_eq!(capabilities, ["receive", "access.webmail"]);
        for group in &groups {
            let voices = mapping.voices(group);
            let at = Instant::parse("2026-05-31T23:59:59Z").unwrap();
            let speaks: Vec<&str> = voices
                .iter()
                .filter(|one| mapping.correction_of(group, **one, at).is_some())
                .map(|one| one.value)
                .collect();
            assert_eq!(speaks, ["10.0.0.7:25", "inbound"]);
        }
        assert_eq!(meant("2026-06-01T00:00:00Z"), Err(Unmapped::NoCapability("outbound".to_owned())));
    }

    #[test]
    fn a_verdict_that_counts_voices_needs_them() {
        let with = |verdict: Verdict, watches: &[&str]| {
            let mut document = document();
            document.components.truncate(1);
            document.components[0].verdict = verdict;
            document.sources[0].watches = watches.iter().map(|&name| Watch::Named(name.to_owned())).collect();
            document.check().map_err(|refusal| refusal.errors[0].pointer.clone())
        };
        let wrong = Err("/components/0/verdict".to_owned());
        assert_eq!(with(Verdict::All, &[]), wrong);
        assert_eq!(with(Verdict::All, &["inbound-mx-07"]), Ok(()));
        assert_eq!(with(Verdict::AtLeast(2), &["inbound-mx-07"]), wrong);
        assert_eq!(with(Verdict::Primary("prom-b".to_owned()), &["inbound-mx-07"]), wrong);
        assert_eq!(with(Verdict::Primary("prom-a".to_owned()), &["inbound-mx-07"]), Ok(()));
    }
}
