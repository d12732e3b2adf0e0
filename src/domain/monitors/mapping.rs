//! What alerts mean, ready to be asked: the rules, components and label maps in force.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Component, LabelMap, OutageRule, Rule, Source, Verdict};
use crate::domain::observation::{About, Observation, Said};
use crate::domain::time::Instant;
use crate::domain::window::{Capability, Correction, Impact, Scope};

/// What is folded together: what all sources said of one thing, one capability and one impact.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Group {
    pub about: About,
    pub capability: Capability,
    pub impact: Impact,
}

impl From<Said> for Group {
    fn from(said: Said) -> Self {
        Group { about: said.about, capability: said.capability, impact: said.impact }
    }
}

/// Why an observation makes no window. It is kept all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmapped {
    #[error("no rule says what alert {0:?} of this source means")]
    NoRule(String),
    #[error("the alert has no label {0:?}, which names the component")]
    NoLabel(String),
    #[error("component {component:?} served no mailboxes at {at}, as far as is known")]
    NoComponent { component: String, at: Instant },
    #[error("neither the rule nor component {0:?} says which capability is lost")]
    NoCapability(String),
    #[error("there is no shard {0:?}, as far as is known")]
    NoShard(String),
    #[error("source {0:?} is not in the monitors document, which says whether it sends a heartbeat")]
    NoSource(String),
}

/// What an observation means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    Heartbeat,
    Ignored,
    /// At least one group.
    Outage {
        groups: Vec<Group>,
        correction: Correction,
    },
}

/// The rules, components and label maps in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    sources: BTreeMap<String, Source>,
    rules: BTreeMap<(String, String), Rule>,
    components: BTreeMap<String, Vec<Component>>,
    labels: Vec<LabelMap>,
    shards: BTreeSet<String>,
}

/// Alerts that may speak of a group: those called `name` of `source` whose label `label` is `value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Voice<'a> {
    pub source: &'a str,
    pub name: &'a str,
    pub label: &'a str,
    pub value: &'a str,
}

impl Mapping {
    /// `rules` are source, alert name, and what it means. Shards that no component serves are not known unless `shards` names
    /// them.
    pub fn new(
        sources: Vec<Source>,
        rules: impl IntoIterator<Item = (String, String, Rule)>,
        components: Vec<Component>,
        labels: Vec<LabelMap>,
        shards: impl IntoIterator<Item = String>,
    ) -> Self {
        let mut mapping = Mapping {
            sources: sources.into_iter().map(|source| (source.name.clone(), source)).collect(),
            rules: rules.into_iter().map(|(source, name, rule)| ((source, name), rule)).collect(),
            components: BTreeMap::new(),
            labels,
            shards: shards.into_iter().collect(),
        };
        for component in components {
            if let Scope::Shards(shards) = &component.scope {
                mapping.shards.extend(shards.iter().cloned());
            }
            mapping.components.entry(component.name.clone()).or_default().push(component);
        }
        mapping
    }

    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.get(name)
    }

    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.values()
    }

    /// The alerts of `source` that a rule says the meaning of, sorted.
    pub fn alerts_of(&self, source: &str) -> Vec<String> {
        let all = self.rules.range((source.to_owned(), String::new())..);
        all.take_while(|((of, _), _)| of == source).map(|((_, name), _)| name.clone()).collect()
    }

    /// What `observation` of `source` means.
    pub fn meaning(&self, source: &str, observation: &Observation) -> Result<Meaning, Unmapped> {
        let at = observation.starts_at;
        if let Some(said) = &observation.said {
            self.source(source).ok_or_else(|| Unmapped::NoSource(source.to_owned()))?;
            self.scope_of(&said.about, at)?;
            return Ok(Meaning::Outage { groups: vec![said.clone().into()], correction: Correction::default() });
        }
        let rule = self
            .rules
            .get(&(source.to_owned(), observation.name.clone()))
            .ok_or_else(|| Unmapped::NoRule(observation.name.clone()))?;
        let rule = match rule {
            Rule::Heartbeat => return Ok(Meaning::Heartbeat),
            Rule::Ignored => return Ok(Meaning::Ignored),
            Rule::Outage(rule) => rule,
        };
        let value = observation
            .labels
            .get(&rule.component_label)
            .ok_or_else(|| Unmapped::NoLabel(rule.component_label.clone()))?;
        let groups = self.groups(rule, value, at)?;
        Ok(Meaning::Outage { groups, correction: rule.correction() })
    }

    /// The groups that an alert of `rule` is about whose label has `value`, at `at`.
    fn groups(&self, rule: &OutageRule, value: &str, at: Instant) -> Result<Vec<Group>, Unmapped> {
        let name = self.component_called(&rule.component_label, value, at);
        let component = self.serving(name, at)?;
        let capabilities = match &rule.capability {
            Some(capability) => std::slice::from_ref(capability),
            None => component.capabilities.as_slice(),
        };
        if capabilities.is_empty() {
            return Err(Unmapped::NoCapability(name.to_owned()));
        }
        let group = |capability: &Capability| Group {
            about: About::Component(name.to_owned()),
            capability: capability.clone(),
            impact: rule.impact,
        };
        Ok(capabilities.iter().map(group).collect())
    }

    /// The component that alerts mean whose label `label` is `value`: what a label map says, else the one of that name.
    fn component_called<'a>(&'a self, label: &str, value: &'a str, at: Instant) -> &'a str {
        let map =
            self.labels.iter().find(|map| map.label == label && map.value == value && covers(map.from, map.to, at));
        map.map_or(value, |map| &map.component)
    }

    fn serving(&self, component: &str, at: Instant) -> Result<&Component, Unmapped> {
        let serving =
            self.components.get(component).and_then(|all| all.iter().find(|one| covers(one.from, one.to, at)));
        serving.ok_or_else(|| Unmapped::NoComponent { component: component.to_owned(), at })
    }

    /// Which mailboxes a failure at `at` would hit.
    pub fn scope_of(&self, about: &About, at: Instant) -> Result<Scope, Unmapped> {
        match about {
            About::All => Ok(Scope::All),
            About::Component(name) => Ok(self.serving(name, at)?.scope.clone()),
            About::Shard(shard) if self.shards.contains(shard) => Ok(Scope::Shards(vec![shard.clone()])),
            About::Shard(shard) => Err(Unmapped::NoShard(shard.clone())),
        }
    }

    /// What those who watch it must say for it to be down at `at`.
    pub fn verdict(&self, about: &About, at: Instant) -> &Verdict {
        match about {
            About::Component(name) => self.serving(name, at).map_or(&Verdict::Any, |one| &one.verdict),
            About::All | About::Shard(_) => &Verdict::Any,
        }
    }

    /// The sources whose quiet means that it works, each from an instant on: since it watches, and since the component is there.
    pub fn watchers<'a>(&'a self, about: &'a About) -> impl Iterator<Item = (&'a Source, Instant)> {
        let component = match about {
            About::Component(name) => self.components.get_key_value(name),
            About::All | About::Shard(_) => None,
        };
        component.into_iter().flat_map(|(name, versions)| {
            let there = versions.iter().map(|one| one.from).min().unwrap_or(Instant::MAX);
            self.sources.values().filter_map(move |source| Some((source, source.watches_from(name)?.max(there))))
        })
    }

    /// The alerts that speak of outages: source and name.
    pub fn outage_alerts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.rules.iter().filter_map(|((source, name), rule)| match rule {
            Rule::Outage(_) => Some((source.as_str(), name.as_str())),
            Rule::Heartbeat | Rule::Ignored => None,
        })
    }

    /// The alerts that may speak of `group`, at some time. Which of them do, [`Mapping::correction_of`] says.
    pub fn voices<'a>(&'a self, group: &'a Group) -> Vec<Voice<'a>> {
        let About::Component(component) = &group.about else { return Vec::new() };
        let mut voices = Vec::new();
        for ((source, name), rule) in &self.rules {
            let Rule::Outage(rule) = rule else { continue };
            if rule.impact != group.impact || rule.capability.as_ref().is_some_and(|one| *one != group.capability) {
                continue;
            }
            let mapped =
                self.labels.iter().filter(|map| map.label == rule.component_label && map.component == *component);
            let values: BTreeSet<&str> =
                mapped.map(|map| map.value.as_str()).chain(std::iter::once(component.as_str())).collect();
            voices.extend(values.into_iter().map(|value| Voice { source, name, label: &rule.component_label, value }));
        }
        voices
    }

    /// How the times of an alert that began at `at` are corrected, where it speaks of `group`.
    pub fn correction_of(&self, group: &Group, voice: Voice<'_>, at: Instant) -> Option<Correction> {
        match self.rules.get(&(voice.source.to_owned(), voice.name.to_owned()))? {
            Rule::Outage(rule) => {
                let speaks = self.groups(rule, voice.value, at).is_ok_and(|groups| groups.contains(group));
                speaks.then(|| rule.correction())
            }
            Rule::Heartbeat | Rule::Ignored => None,
        }
    }

    /// The groups in which a silence of those who watch it shows: one for each capability that somebody who watches it would
    /// report, that with the least impact.
    pub fn silent_groups(&self, about: &About) -> Vec<Group> {
        let About::Component(component) = about else { return Vec::new() };
        let mut worst: BTreeMap<Capability, Impact> = BTreeMap::new();
        for (source, _) in self.watchers(about) {
            let rules = self.rules.iter().filter(|((name, _), _)| *name == source.name);
            for rule in rules.filter_map(|(_, rule)| match rule {
                Rule::Outage(rule) => Some(rule),
                Rule::Heartbeat | Rule::Ignored => None,
            }) {
                let known = self.components.get(component).into_iter().flatten();
                let capabilities: Vec<&Capability> = match &rule.capability {
                    Some(capability) => vec![capability],
                    None => known.flat_map(|one| &one.capabilities).collect(),
                };
                for capability in capabilities {
                    let impact = worst.entry(capability.clone()).or_insert(rule.impact);
                    *impact = (*impact).min(rule.impact);
                }
            }
        }
        let group = |(capability, impact)| Group { about: about.clone(), capability, impact };
        worst.into_iter().map(group).collect()
    }
}

fn covers(from: Instant, to: Option<Instant>, at: Instant) -> bool {
    from <= at && to.is_none_or(|to| at < to)
}
