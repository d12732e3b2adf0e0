//! What a fold changes about the windows that stand already.
//!
//! What a person wrote is not changed by a machine. Alerts behind such a window count as judged and are left out of the
//! fold. A later alert that lies within the window adds nothing to it: it becomes evidence for it, and the window is
//! flagged. One that goes beyond it makes a window of its own, to be judged in its turn, so that nothing said is lost.

use std::collections::{BTreeMap, BTreeSet};

use super::fold::Folded;
use super::ids::WindowId;
use super::monitors::Group;
use super::observation::ObservationKey;
use super::time::Instant;
use super::window::{Certainty, OutageWindow, Scope, TOLERANCE, WindowState};

/// The latest version of a window that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub window: OutageWindow,
    /// False where a person made this version.
    pub by_machine: bool,
}

/// What is to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// New versions, and new windows.
    pub versions: Vec<OutageWindow>,
    /// Observations that are evidence for another window than before.
    pub links: BTreeMap<WindowId, Vec<ObservationKey>>,
    /// Windows that a person made and that something new touches.
    pub conflicts: BTreeSet<WindowId>,
}

/// Compares `folded` (what the alerts that no person has judged say about `group`) with the windows that stand. `links` says
/// which window an observation was evidence for so far; `scope` which mailboxes the component served at an instant.
pub fn reconcile(
    group: &Group,
    folded: &[Folded],
    standing: &BTreeMap<WindowId, Standing>,
    links: &BTreeMap<ObservationKey, WindowId>,
    scope: impl Fn(Instant) -> Option<Scope>,
    by: &str,
    now: Instant,
) -> Plan {
    let mut plan = Plan::default();
    let mut kept = BTreeSet::new();
    for one in folded {
        let judged = || standing.values().filter(|other| !other.by_machine && is_about(other, group));
        let home = judged().find(|other| lies_within(one, &other.window)).map(|other| other.window.id);
        let first_seen = one.members.iter().map(|key| key.starts_at).min().unwrap_or(one.start);
        let is_judged_itself = standing.get(&one.id).is_some_and(|own| !own.by_machine);
        let changed = match (home, scope(first_seen)) {
            (Some(home), _) => {
                relink(&mut plan, one, home, links);
                if plan.links.contains_key(&home) {
                    plan.conflicts.insert(home);
                }
                continue;
            }
            (None, None) => continue,
            (None, Some(_)) if is_judged_itself => continue,
            (None, Some(scope)) => version(group, one, standing.get(&one.id), &scope),
        };
        kept.insert(one.id);
        relink(&mut plan, one, one.id, links);
        if let Some(window) = changed {
            plan.conflicts
                .extend(judged().filter(|other| overlaps(&window, &other.window)).map(|other| other.window.id));
            plan.versions.push(window);
        }
    }
    let gone = standing.values().filter(|one| {
        one.by_machine && !one.window.is_retracted() && !kept.contains(&one.window.id) && is_about(one, group)
    });
    let gone: Vec<OutageWindow> = gone.map(|one| taken_back(&one.window, by, now)).collect();
    plan.versions.extend(gone);
    plan
}

/// What stands may be of other groups about the same thing. A person may have found another impact.
fn is_about(standing: &Standing, group: &Group) -> bool {
    let window = &standing.window;
    window.capability == group.capability && (!standing.by_machine || window.impact == group.impact)
}

/// Whether a person's window says all that `one` says, give or take the tolerance at its edges.
fn lies_within(one: &Folded, window: &OutageWindow) -> bool {
    let ends_within = match (one.end, window.end) {
        (_, None) => true,
        (Some(end), Some(limit)) => end <= limit.plus(TOLERANCE),
        (None, Some(_)) => false,
    };
    !window.is_retracted() && window.start.plus(-TOLERANCE) <= one.start && ends_within
}

fn overlaps(one: &OutageWindow, other: &OutageWindow) -> bool {
    let end = |window: &OutageWindow| window.end.unwrap_or(Instant::MAX);
    !other.is_retracted() && one.start < end(other) && other.start < end(one)
}

fn relink(plan: &mut Plan, one: &Folded, window: WindowId, links: &BTreeMap<ObservationKey, WindowId>) {
    let moved: Vec<ObservationKey> =
        one.members.iter().filter(|key| links.get(*key) != Some(&window)).cloned().collect();
    if !moved.is_empty() {
        plan.links.entry(window).or_default().extend(moved);
    }
}

/// The next version of the window, where it says something else than the one that stands.
fn version(group: &Group, one: &Folded, standing: Option<&Standing>, scope: &Scope) -> Option<OutageWindow> {
    let before = standing.map(|standing| &standing.window);
    let unknown = match one.certainty {
        Certainty::Known => unknown_ends(one),
        Certainty::Unknown => Some(SILENT.to_owned()),
    };
    let window = OutageWindow {
        id: one.id,
        version: before.map_or(1, |before| before.version + 1),
        about: Some(group.about.clone()),
        certainty: one.certainty,
        scope: scope.clone(),
        capability: group.capability.clone(),
        start: one.start,
        end: one.end,
        impact: group.impact,
        reach: before.and_then(|before| before.reach),
        planned: None,
        state: WindowState::Provisional,
        reports: one.reports.clone(),
        reason: unknown.clone().or_else(|| before.map(|_| "The sources said more.".to_owned())),
    };
    let is_news = before.is_none_or(|before| {
        let same = OutageWindow { version: before.version, reason: before.reason.clone(), ..window.clone() } == *before;
        !same || (unknown.is_some() && unknown != before.reason)
    });
    is_news.then_some(window)
}

const SILENT: &str = "Nobody who watches it was heard: whether it worked is not known.";

/// Says which ends are not known, and why.
fn unknown_ends(one: &Folded) -> Option<String> {
    let told: Vec<String> = one
        .unknown_ends
        .iter()
        .map(|(source, end)| {
            format!("{source} said that it ended at {end}, but was not known to be alive then: the end is unknown.")
        })
        .collect();
    (!told.is_empty()).then(|| told.join(" "))
}

fn taken_back(window: &OutageWindow, by: &str, now: Instant) -> OutageWindow {
    OutageWindow {
        version: window.version + 1,
        state: WindowState::Retracted { by: by.to_owned(), at: now },
        reason: Some("Its alerts are part of another outage window now, or are none.".to_owned()),
        ..window.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fold::{Liveness, Question, Statement, fold};
    use crate::domain::monitors::Verdict;
    use crate::domain::observation::About;
    use crate::domain::time::{MINUTE, SECOND};
    use crate::domain::window::{Amendment, Capability, Correction, Impact, WindowChange};

    fn minute(at: i64) -> Instant {
        Instant::from_micros(1_790_000_000 * SECOND + at * MINUTE).unwrap()
    }

    fn said(source: &str, start: i64, end: Option<i64>) -> Statement {
        let key =
            ObservationKey { source: source.to_owned(), fingerprint: format!("f{source}"), starts_at: minute(start) };
        Statement { key, ends_at: end.map(minute), correction: Correction::default() }
    }

    /// What stands, as the store would keep it.
    #[derive(Default)]
    struct World {
        standing: BTreeMap<WindowId, Standing>,
        links: BTreeMap<ObservationKey, WindowId>,
    }

    impl World {
        fn hear(&mut self, statements: &[Statement]) -> Plan {
            let group = Group {
                about: About::Component("inbound".to_owned()),
                capability: Capability("receive".to_owned()),
                impact: Impact::Full,
            };
            let words = ["a", "b"].map(|source| (source.to_owned(), Liveness::TakenAtItsWord)).into_iter().collect();
            let judged = |key: &ObservationKey| {
                self.links.get(key).and_then(|id| self.standing.get(id)).is_some_and(|one| !one.by_machine)
            };
            let open: Vec<Statement> = statements.iter().filter(|one| !judged(&one.key)).cloned().collect();
            let question = Question { group: &group, watchers: BTreeMap::new(), tells_of_silence: true };
            let folded = fold(&question, &open, &words, |_| &Verdict::Any);
            let scope = |_| Some(Scope::All);
            let plan = reconcile(&group, &folded, &self.standing, &self.links, scope, "a", minute(999));
            for window in &plan.versions {
                let standing = Standing { window: window.clone(), by_machine: true };
                let before = self.standing.insert(window.id, standing);
                assert_eq!(window.version, before.map_or(1, |before| before.window.version + 1));
            }
            for (window, keys) in &plan.links {
                self.links.extend(keys.iter().map(|key| (key.clone(), *window)));
            }
            plan
        }

        fn live(&self) -> Vec<&OutageWindow> {
            let mut live: Vec<&OutageWindow> =
                self.standing.values().map(|one| &one.window).filter(|one| !one.is_retracted()).collect();
            live.sort_by_key(|one| one.start);
            live
        }

        /// A person sets the end of the only window.
        fn judge(&mut self, end: i64) -> WindowId {
            let change = WindowChange { end: Some(Some(minute(end))), ..WindowChange::default() };
            let before = self.live()[0].clone();
            let window = before.amend(Amendment::Change(change), "as logged", "Mere", minute(999)).unwrap();
            let id = window.id;
            self.standing.insert(id, Standing { window, by_machine: false });
            id
        }
    }

    #[test]
    fn the_same_said_again_changes_nothing() {
        let mut world = World::default();
        let told = [said("a", 0, Some(30)), said("b", 10, None)];
        assert_eq!(world.hear(&told).versions.len(), 1);
        assert_eq!(world.hear(&told), Plan::default());
    }

    #[test]
    fn a_late_alert_that_joins_two_windows_takes_one_of_them_back() {
        let mut world = World::default();
        world.hear(&[said("a", 0, Some(30)), said("a", 60, Some(90))]);
        assert_eq!(world.live().len(), 2);
        let plan = world.hear(&[said("a", 0, Some(30)), said("a", 60, Some(90)), said("b", 20, Some(70))]);
        assert_eq!(plan.versions.len(), 2);
        assert_eq!(
            world.live().iter().map(|one| (one.start, one.end)).collect::<Vec<_>>(),
            [(minute(0), Some(minute(90)))]
        );
    }

    #[test]
    fn a_window_that_an_open_alert_had_swallowed_comes_back() {
        let mut world = World::default();
        world.hear(&[said("b", 50, Some(60))]);
        world.hear(&[said("b", 50, Some(60)), said("a", 0, None)]);
        assert_eq!(world.live().len(), 1);
        world.hear(&[said("b", 50, Some(60)), said("a", 0, Some(20))]);
        let live: Vec<_> = world.live().iter().map(|one| (one.start, one.version)).collect();
        assert_eq!(live, [(minute(0), 2), (minute(50), 3)]);
    }

    #[test]
    fn what_a_person_judged_is_flagged_and_never_changed() {
        let mut world = World::default();
        world.hear(&[said("a", 0, None)]);
        let judged = world.judge(60);
        let before = world.standing[&judged].clone();

        // Its own alert ends at another time, another monitor says the same, and a new alert goes beyond it.
        let plan = world.hear(&[said("a", 0, Some(120))]);
        assert!(plan.versions.is_empty());
        let plan = world.hear(&[said("a", 0, Some(120)), said("b", 2, Some(62))]);
        assert_eq!((plan.versions.len(), plan.conflicts), (0, BTreeSet::from([judged])));
        let told = [said("a", 0, Some(120)), said("b", 2, Some(62)), said("b", 50, Some(100))];
        let plan = world.hear(&told);
        assert_eq!((plan.versions.len(), plan.conflicts), (1, BTreeSet::from([judged])));
        assert_eq!(world.live().iter().map(|one| one.start).collect::<Vec<_>>(), [minute(0), minute(50)]);
        assert_eq!(world.hear(&told), Plan::default());
        assert_eq!(world.standing[&judged], before);
    }

    #[test]
    fn an_alert_that_nobody_ended_does_not_swallow_the_next_outage_once_a_person_did() {
        let mut world = World::default();
        world.hear(&[said("a", 0, None)]);
        world.judge(60);
        world.hear(&[said("a", 0, None), said("b", 500, Some(520))]);
        assert_eq!(world.live().len(), 2);
    }
}
