//! Incidents: windows that belong together for people. When it began, when it ended, and what is at stake while it goes on.

use std::collections::BTreeMap;

use super::assess::{AssessError, Inputs, assess};
use super::assessment::Outcome;
use super::ids::WindowId;
use super::money::Currency;
use super::time::{Instant, MINUTE};
use super::window::{Impact, OutageWindow};

/// An incident ends twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// When the service worked again; none while it goes on.
    pub restored_at: Option<Instant>,
    /// When all that had waited was delivered; none while it is not, or where nobody knows.
    pub caught_up_at: Option<Instant>,
}

/// Both ends: as a person said, else from the windows. The service is restored at the end of the last window that is no mere
/// delay, and has caught up at the end of the last one that is.
pub fn ends(windows: &[OutageWindow], restored_at: Option<Instant>, caught_up_at: Option<Instant>) -> Ends {
    let is_delay = |window: &&OutageWindow| match window.impact {
        Impact::Delayed { .. } => true,
        Impact::Full | Impact::Degraded { .. } => false,
    };
    let live = || windows.iter().filter(|window| !window.is_retracted());
    let last = |ends: Vec<Option<Instant>>| ends.into_iter().collect::<Option<Vec<Instant>>>()?.into_iter().max();
    let lost: Vec<_> = live().filter(|window| !is_delay(window)).map(|window| window.end).collect();
    let late: Vec<_> = live().filter(is_delay).map(|window| window.end).collect();
    Ends { restored_at: restored_at.or_else(|| last(lost)), caught_up_at: caught_up_at.or_else(|| last(late)) }
}

/// One account with what its sum rests on.
#[derive(Debug)]
pub struct Touched {
    pub plan: String,
    pub inputs: Inputs,
}

/// What an incident comes to for the accounts of one plan that are billed in one currency. Amounts in minor units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stake {
    /// Accounts that were looked at.
    pub accounts: usize,
    /// What they would be credited for the period if it ended now.
    pub minor: i64,
    /// How much less that would be without this incident.
    pub of_it_minor: i64,
    /// The soonest step up; none where nothing steps up before the period ends, or it does not go on.
    pub next: Option<Next>,
}

/// The next time at which somebody is owed more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// Whole minutes from now, rounded up.
    pub minutes: i64,
    /// How many accounts are owed more by then.
    pub accounts: usize,
}

/// What the incident of `windows` comes to, by plan and currency, for accounts whose inputs are as of `now`. Windows that have no end
/// are taken to go on until `until`, the end of the period.
pub fn stakes(
    touched: &mut [Touched],
    windows: &[WindowId],
    now: Instant,
    until: Instant,
) -> Result<BTreeMap<(String, Currency), Stake>, AssessError> {
    let mut stakes: BTreeMap<(String, Currency), Stake> = BTreeMap::new();
    let mut by_plan: BTreeMap<(String, Currency), Vec<(&mut Inputs, i64)>> = BTreeMap::new();
    for one in touched {
        one.inputs.as_of = now;
        let due = minor(&one.inputs)?;
        let mut without = one.inputs.clone();
        without.windows.retain(|window| !windows.contains(&window.id));
        let key = (one.plan.clone(), one.inputs.account.currency);
        let stake = stakes.entry(key.clone()).or_default();
        stake.accounts += 1;
        stake.minor += due;
        stake.of_it_minor += due - minor(&without)?;
        let goes_on =
            |window: &OutageWindow| windows.contains(&window.id) && window.end.is_none() && !window.is_retracted();
        if one.inputs.windows.iter().any(goes_on) {
            by_plan.entry(key).or_default().push((&mut one.inputs, due));
        }
    }
    let most = (until.micros() - now.micros()).div_euclid(MINUTE);
    for (key, mut accounts) in by_plan {
        let mut soonest: Option<i64> = None;
        for (inputs, due) in &mut accounts {
            let mut steps_up = |minutes: i64| after(inputs, now, minutes).map(|minor| minor > *due);
            // Only what would come sooner than the soonest so far is worth a search.
            let mut high = soonest.map_or(most, |soonest| soonest - 1);
            if high < 1 || !steps_up(high)? {
                continue;
            }
            let mut low = 0;
            while high - low > 1 {
                let middle = low + (high - low) / 2;
                if steps_up(middle)? { high = middle } else { low = middle }
            }
            soonest = Some(high);
        }
        let Some(minutes) = soonest else { continue };
        let mut count = 0;
        for (inputs, due) in &mut accounts {
            count += usize::from(after(inputs, now, minutes)? > *due);
        }
        stakes.entry(key).or_default().next = Some(Next { minutes, accounts: count });
    }
    Ok(stakes)
}

/// What is due so many minutes after `now`.
fn after(inputs: &mut Inputs, now: Instant, minutes: i64) -> Result<i64, AssessError> {
    inputs.as_of = now.plus(minutes.saturating_mul(MINUTE));
    minor(inputs)
}

/// What the terms would credit, in minor units.
fn minor(inputs: &Inputs) -> Result<i64, AssessError> {
    Ok(match assess(inputs)?.outcome {
        Outcome::Credit { amount } => amount.minor(),
        Outcome::ServiceDays { .. } | Outcome::NothingDue { .. } => 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::case::Case;
    use crate::domain::window::WindowState;

    /// Business Mail, one mailbox at 12.50, October in New Zealand: 44,700 minutes.
    fn case() -> Inputs {
        Case::parse(include_str!("../../tests/cases/boundary_exactly.yaml")).unwrap().inputs()
    }

    fn open(start: Instant) -> OutageWindow {
        OutageWindow { end: None, start, state: WindowState::Provisional, ..case().windows[0].clone() }
    }

    #[test]
    fn the_next_step_is_the_first_minute_at_which_more_is_due() {
        let inputs = case();
        let period = inputs.period.interval(inputs.account.zone);
        let start = period.start().plus(9 * 24 * 60 * MINUTE);
        let window = open(start);
        let now = start.plus(10 * MINUTE);
        let mut touched = vec![
            Touched { plan: "business".to_owned(), inputs: Inputs { windows: vec![window.clone()], ..inputs.clone() } },
            // This one was down for half an hour before, so it steps up sooner.
            Touched {
                plan: "business".to_owned(),
                inputs: Inputs {
                    windows: vec![
                        window.clone(),
                        OutageWindow {
                            id: WindowId::of("before", ""),
                            start: period.start(),
                            end: Some(period.start().plus(30 * MINUTE)),
                            ..window.clone()
                        },
                    ],
                    ..inputs
                },
            },
        ];
        let stakes = stakes(&mut touched, &[window.id], now, period.end()).unwrap();
        let stake = stakes.values().next().unwrap();
        assert_eq!((stakes.len(), stake.accounts, stake.minor, stake.of_it_minor), (1, 2, 0, 0));
        let next = stake.next.unwrap();
        assert_eq!(next.accounts, 1);
        // By hand: one minute before it nobody is owed anything, and then one is.
        for (minutes, expected) in [(next.minutes - 1, 0), (next.minutes, 1)] {
            let owed =
                touched.iter_mut().map(|one| after(&mut one.inputs, now, minutes).unwrap()).filter(|minor| *minor > 0);
            assert_eq!(owed.count(), expected, "after {minutes} minutes");
        }
    }

    #[test]
    fn it_is_restored_with_the_last_loss_and_has_caught_up_with_the_last_delay() {
        let start = case().windows[0].start;
        let at = |minutes: i64| start.plus(minutes * MINUTE);
        let lost = |end| OutageWindow { end, ..open(start) };
        let late = |end| OutageWindow { end, impact: Impact::Delayed { seconds: 900 }, ..open(start) };
        let gone = OutageWindow { state: WindowState::Retracted { by: String::new(), at: start }, ..lost(None) };
        let found = |windows: &[OutageWindow]| {
            let Ends { restored_at, caught_up_at } = ends(windows, None, None);
            (restored_at, caught_up_at)
        };
        assert_eq!(
            found(&[lost(Some(at(5))), lost(Some(at(9))), late(Some(at(30))), gone]),
            (Some(at(9)), Some(at(30)))
        );
        assert_eq!(found(&[lost(Some(at(5))), lost(None), late(None)]), (None, None));
        assert_eq!(found(&[lost(Some(at(5)))]), (Some(at(5)), None));
        let said = ends(&[lost(None)], Some(at(7)), Some(at(8)));
        assert_eq!((said.restored_at, said.caught_up_at), (Some(at(7)), Some(at(8))));
    }
}
