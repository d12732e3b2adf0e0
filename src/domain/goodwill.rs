//! Goodwill: what the operator gives after an outage without having to. A matrix says how much, by the customer's class, by how
//! long the customer was down and by where; a budget says how much in all.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::ids::WindowId;
use super::money::{Currency, Money};
use super::refusal::FieldError;
use super::time::{Instant, Interval, IntervalSet, MINUTE};
use super::window::{Certainty, OutageWindow, Scope};

/// The most rows that each list of a matrix may have.
const MOST: usize = 50;

/// The most plans or shards that a row may name.
const MOST_NAMES: usize = 1_000;

/// What goodwill is given for. It is the cause of each credit, so each account gets one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// What outages say that they belong to.
    Incident(String),
    Window(WindowId),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Incident(name) => write!(f, "incident:{name}"),
            Subject::Window(id) => write!(f, "outage:{id}"),
        }
    }
}

impl Subject {
    /// The subject that [`fmt::Display`] wrote.
    pub fn parse(text: &str) -> Option<Subject> {
        match text.split_once(':')? {
            ("incident", name) => Some(Subject::Incident(name.to_owned())),
            ("outage", id) => id.parse().ok().map(|id| Subject::Window(WindowId(id))),
            _ => None,
        }
    }

    /// As people say it.
    pub fn words(&self) -> String {
        match self {
            Subject::Incident(name) => name.clone(),
            Subject::Window(id) => format!("outage {id}"),
        }
    }
}

/// Who gets how much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// Of an account with several subscriptions the first class counts that one of them is of.
    pub classes: Vec<Class>,
    /// Ascending. Who was down for less than the first gets nothing.
    pub severities: Vec<Severity>,
    pub areas: Vec<Area>,
    /// One for each class, severity and area.
    pub amounts: Vec<Cell>,
    pub budget: Budget,
}

/// Customers of these plans.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Class {
    #[schema(example = "business")]
    pub name: String,
    pub plans: Vec<String>,
}

/// Down for so long, or longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Severity {
    #[schema(example = "long")]
    pub name: String,
    /// The account's mailbox that was down longest counts, by the clock: no plan's terms are asked.
    #[schema(example = 480)]
    pub from_minutes: u32,
}

/// Where it was down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Area {
    #[schema(example = "north")]
    pub name: String,
    /// None for all that no other area names: the last one may leave them out.
    #[serde(default)]
    pub shards: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    pub class: String,
    pub severity: String,
    pub area: String,
    /// Tax included, in the operator's currency; 0.00 for nothing.
    #[schema(example = "15.00")]
    pub amount: String,
}

/// What all runs that name it may give together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    #[schema(example = "october-goodwill")]
    pub name: String,
    /// Tax included, in the operator's currency. The first approval sets it; later runs say the same.
    #[schema(example = "5000.00")]
    pub amount: String,
}

/// A matrix that can be used: its amounts by class, severity and area, in the order of the lists.
#[derive(Clone, Debug)]
pub struct Checked {
    pub matrix: Matrix,
    pub budget: Money,
    amounts: Vec<Money>,
}

/// Where an account stands in a matrix: the places of its class, severity and area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub class: usize,
    pub severity: usize,
    pub area: usize,
}

impl Matrix {
    /// Holds the matrix against itself; says everything that is wrong with it at once.
    pub fn check(self, currency: Currency) -> Result<Checked, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut wrong = |pointer: String, message: &str| {
            errors.push(FieldError { pointer: format!("/goodwill{pointer}"), message: message.to_owned() });
        };
        let classes: Vec<&str> = self.classes.iter().map(|one| one.name.as_str()).collect();
        let severities: Vec<&str> = self.severities.iter().map(|one| one.name.as_str()).collect();
        let areas: Vec<&str> = self.areas.iter().map(|one| one.name.as_str()).collect();
        for (list, names) in [("classes", &classes), ("severities", &severities), ("areas", &areas)] {
            if names.is_empty() || names.len() > MOST {
                wrong(format!("/{list}"), "1 to 50 rows");
            }
            let mut seen = BTreeSet::new();
            for (row, name) in names.iter().enumerate() {
                if !is_name(name) {
                    wrong(format!("/{list}/{row}/name"), "a name has 1 to 64 letters, digits, spaces, - or _");
                } else if !seen.insert(*name) {
                    wrong(format!("/{list}/{row}/name"), "this name stands in the list twice");
                }
            }
        }
        let plans = self.classes.iter().map(|one| one.plans.as_slice());
        let shards = self.areas.iter().map(|one| one.shards.as_slice());
        for (list, field, rows) in
            [("classes", "plans", plans.collect::<Vec<_>>()), ("areas", "shards", shards.collect())]
        {
            let mut seen = BTreeSet::new();
            for (row, names) in rows.iter().enumerate() {
                let may_be_empty = list == "areas" && row + 1 == rows.len();
                if (names.is_empty() && !may_be_empty) || names.len() > MOST_NAMES {
                    wrong(format!("/{list}/{row}/{field}"), "1 to 1,000 names; only the last area may leave them out");
                }
                if let Some(twice) = names.iter().position(|name| !seen.insert(name.as_str())) {
                    wrong(format!("/{list}/{row}/{field}/{twice}"), "this is named before: it can be in one row alone");
                }
            }
        }
        for (row, pair) in self.severities.windows(2).enumerate() {
            if let [shorter, longer] = pair
                && longer.from_minutes <= shorter.from_minutes
            {
                wrong(
                    format!("/severities/{}/from_minutes", row + 1),
                    "severities ascend: this is not longer than the one before",
                );
            }
        }
        if self.severities.first().is_some_and(|first| first.from_minutes == 0) {
            wrong("/severities/0/from_minutes".to_owned(), "at least one minute: who was not down is given nothing");
        }
        let mut amounts: Vec<Option<Money>> = vec![None; classes.len() * severities.len() * areas.len()];
        for (row, cell) in self.amounts.iter().enumerate() {
            let place = |names: &[&str], name: &str| names.iter().position(|one| *one == name);
            let (class, severity, area) =
                (place(&classes, &cell.class), place(&severities, &cell.severity), place(&areas, &cell.area));
            for (field, found) in [("class", class), ("severity", severity), ("area", area)] {
                if found.is_none() {
                    wrong(format!("/amounts/{row}/{field}"), "no row of that name");
                }
            }
            let Some(amount) = Money::parse(&cell.amount, currency).ok().filter(|amount| amount.minor() >= 0) else {
                wrong(format!("/amounts/{row}/amount"), "an amount such as 15.00, in the operator's currency");
                continue;
            };
            let (Some(class), Some(severity), Some(area)) = (class, severity, area) else { continue };
            let slot = (class * severities.len() + severity) * areas.len() + area;
            if amounts.get_mut(slot).and_then(|slot| slot.replace(amount)).is_some() {
                wrong(format!("/amounts/{row}"), "this class, severity and area stand in the list twice");
            }
        }
        if errors.is_empty()
            && let Some(missing) = amounts.iter().position(Option::is_none)
        {
            let (area, rest) = (missing % areas.len(), missing / areas.len());
            let (severity, class) = (rest % severities.len(), rest / severities.len());
            let name =
                |names: &[&str], place: usize| names.get(place).map_or_else(String::new, |name| (*name).to_owned());
            let message = format!(
                "what {} gets for {} in {} is not said; write 0.00 for nothing",
                name(&classes, class),
                name(&severities, severity),
                name(&areas, area)
            );
            errors.push(FieldError { pointer: "/goodwill/amounts".to_owned(), message });
        }
        if !is_name(&self.budget.name) {
            let message = "a name has 1 to 64 letters, digits, spaces, - or _".to_owned();
            errors.push(FieldError { pointer: "/goodwill/budget/name".to_owned(), message });
        }
        let budget = Money::parse(&self.budget.amount, currency).ok().filter(|budget| budget.is_positive());
        if budget.is_none() {
            let message = "an amount above zero such as 5000.00, in the operator's currency".to_owned();
            errors.push(FieldError { pointer: "/goodwill/budget/amount".to_owned(), message });
        }
        match (errors.is_empty(), budget) {
            (true, Some(budget)) => {
                Ok(Checked { amounts: amounts.into_iter().flatten().collect(), matrix: self, budget })
            }
            (true | false, _) => Err(errors),
        }
    }
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.chars().count())
        && name.trim() == name
        && name.chars().all(|one| one.is_alphanumeric() || matches!(one, ' ' | '-' | '_'))
}

impl Checked {
    /// The place of the severity of somebody who was down for so long; none where that is less than the first.
    pub fn severity(&self, down_micros: i64) -> Option<usize> {
        self.matrix.severities.iter().rposition(|one| down_micros >= i64::from(one.from_minutes) * MINUTE)
    }

    /// The place of the area of a shard; none where no area is of it.
    pub fn area(&self, shard: &str) -> Option<usize> {
        let named = self.matrix.areas.iter().position(|area| area.shards.iter().any(|one| one == shard));
        named.or_else(|| self.matrix.areas.iter().position(|area| area.shards.is_empty()))
    }

    /// The place of the class of a plan; none where no class is of it.
    pub fn class(&self, plan: &str) -> Option<usize> {
        self.matrix.classes.iter().position(|class| class.plans.iter().any(|one| one == plan))
    }

    pub fn amount(&self, place: Place) -> Option<Money> {
        let slot = (place.class * self.matrix.severities.len() + place.severity) * self.matrix.areas.len() + place.area;
        self.amounts.get(slot).copied()
    }

    /// `business, long, north`
    pub fn words(&self, place: Place) -> String {
        let names = [
            self.matrix.classes.get(place.class).map(|one| one.name.as_str()),
            self.matrix.severities.get(place.severity).map(|one| one.name.as_str()),
            self.matrix.areas.get(place.area).map(|one| one.name.as_str()),
        ];
        names.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// Time in which a shard, or the mailboxes of a list on it, were down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    pub shard: String,
    pub list: Option<super::ids::MailboxListId>,
    pub interval: Interval,
}

/// When each shard was down by these windows, joined, so that no time counts twice. One without an end lasts until `now`; what
/// was taken back and what nobody knows do not count. `shards` are all that there are. The mailboxes of a list are down beside their
/// shard: whoever is under both counts the longer.
pub fn down(windows: &[OutageWindow], shards: &[String], now: Instant) -> Vec<Down> {
    let counts = |window: &&OutageWindow| !window.is_retracted() && window.certainty == Certainty::Known;
    let mut down = Vec::new();
    let mut lists = BTreeSet::new();
    for window in windows.iter().filter(counts) {
        if let Scope::List(list) = &window.scope {
            lists.insert(*list);
        }
    }
    for shard in shards {
        for list in std::iter::once(None).chain(lists.iter().copied().map(Some)) {
            let covers = |window: &OutageWindow| match &window.scope {
                Scope::All => true,
                Scope::Shards(named) => named.iter().any(|one| one == shard),
                Scope::List(one) => Some(*one) == list,
                // No stored window names mailboxes without their accounts.
                Scope::Mailboxes(_) => false,
            };
            let covering = windows.iter().filter(counts).filter(|window| covers(window));
            let all: IntervalSet = covering.filter_map(|window| window.interval(now)).collect();
            down.extend(all.intervals().iter().map(|interval| Down {
                shard: shard.clone(),
                list,
                interval: *interval,
            }));
        }
    }
    down
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix() -> Matrix {
        serde_json::from_value(serde_json::json!({
            "classes": [{"name": "business", "plans": ["business"]}, {"name": "home", "plans": ["home", "plus"]}],
            "severities": [{"name": "short", "from_minutes": 60}, {"name": "long", "from_minutes": 480}],
            "areas": [{"name": "north", "shards": ["mx-07"]}, {"name": "elsewhere"}],
            "amounts": (["business", "home"].iter().flat_map(|class| ["short", "long"].iter().flat_map(move |severity| {
                ["north", "elsewhere"].iter().map(move |area| serde_json::json!({
                    "class": class, "severity": severity, "area": area,
                    "amount": format!("{}.{:02}", class.len(), severity.len() * area.len()),
                }))
            })).collect::<Vec<_>>()),
            "budget": {"name": "october", "amount": "5000.00"},
        }))
        .unwrap()
    }

    fn check(matrix: Matrix) -> Result<Checked, Vec<String>> {
        let pointers = |errors: Vec<FieldError>| errors.into_iter().map(|error| error.pointer).collect();
        matrix.check("NZD".parse().unwrap()).map_err(pointers)
    }

    #[test]
    fn each_class_severity_and_area_has_its_amount() {
        let checked = check(matrix()).unwrap();
        let place = Place {
            class: checked.class("plus").unwrap(),
            severity: checked.severity(480 * MINUTE).unwrap(),
            area: checked.area("mx-08").unwrap(),
        };
        assert_eq!((place.class, place.severity, place.area), (1, 1, 1));
        assert_eq!(checked.amount(place).unwrap().digits(), "4.36");
        assert_eq!(checked.words(place), "home, long, elsewhere");
        assert_eq!(checked.severity(480 * MINUTE - 1), Some(0));
        assert_eq!(checked.severity(60 * MINUTE - 1), None);
        assert_eq!((checked.area("mx-07"), checked.class("free")), (Some(0), None));
        assert_eq!(checked.budget.digits(), "5000.00");
    }

    #[test]
    fn what_is_wrong_is_told_where_it_stands() {
        let wrong = |change: fn(&mut Matrix)| {
            let mut changed = matrix();
            change(&mut changed);
            check(changed).unwrap_err()
        };
        assert_eq!(wrong(|m| drop(m.amounts.pop())), ["/goodwill/amounts"]);
        assert_eq!(wrong(|m| m.amounts.push(m.amounts[0].clone())), ["/goodwill/amounts/8"]);
        assert_eq!(wrong(|m| m.amounts[1].amount = "1e3".to_owned()), ["/goodwill/amounts/1/amount"]);
        assert_eq!(wrong(|m| m.amounts[1].amount = "-1.00".to_owned()), ["/goodwill/amounts/1/amount"]);
        assert_eq!(wrong(|m| m.amounts[1].class = "nobody".to_owned()), ["/goodwill/amounts/1/class"]);
        assert_eq!(wrong(|m| m.severities[1].from_minutes = 60), ["/goodwill/severities/1/from_minutes"]);
        assert_eq!(wrong(|m| m.severities[0].from_minutes = 0), ["/goodwill/severities/0/from_minutes"]);
        assert_eq!(wrong(|m| m.classes[1].plans.push("business".to_owned())), ["/goodwill/classes/1/plans/2"]);
        assert_eq!(wrong(|m| m.areas[0].shards.clear()), ["/goodwill/areas/0/shards"]);
        assert_eq!(wrong(|m| m.budget.amount = "0.00".to_owned()), ["/goodwill/budget/amount"]);
        assert_eq!(wrong(|m| m.budget.name = "=1+1".to_owned()), ["/goodwill/budget/name"]);
    }

    #[test]
    fn a_subject_is_read_as_it_is_written() {
        for subject in [Subject::Incident("INC-2026-031: mail".to_owned()), Subject::Window(WindowId::of("a", "b"))] {
            assert_eq!(Subject::parse(&subject.to_string()), Some(subject));
        }
        assert_eq!(Subject::parse("outage:7"), None);
    }
}
