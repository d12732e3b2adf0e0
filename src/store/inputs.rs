//! What a sum rests on, loaded for many accounts at once: the same for a computing of a period, a page and a receipt.

use std::collections::{BTreeMap, HashMap};

use sqlx::PgConnection;

use super::{Error, accounts, calendars, charges, given, mailbox_lists, placements, subscriptions, terms, windows};
use crate::domain::account::{Account, Subscription};
use crate::domain::assess::{AccountFacts, Agreement, Given, Inputs};
use crate::domain::calendar::Calendar;
use crate::domain::charge::Charge;
use crate::domain::ids::{AccountId, MailboxListId, SubscriptionId};
use crate::domain::money::Currency;
use crate::domain::operator::Operator;
use crate::domain::period::{Month, Zone};
use crate::domain::placement::MailboxHistory;
use crate::domain::time::{DAY, Instant, Interval};
use crate::domain::window::{OutageWindow, Scope};

/// What all accounts share in one period, as recorded at one time.
#[derive(Debug)]
pub struct Evidence {
    pub period: Month,
    pub recorded_as_of: Instant,
    /// Up to when an open window lasts, and the time at which the sum is made.
    as_of: Instant,
    operator_zone: Zone,
    windows: Vec<OutageWindow>,
    calendars: Vec<Calendar>,
    /// Of each plan, the terms that were in force in the period, from the earliest on.
    terms: HashMap<String, Vec<Agreement>>,
}

/// One subscription with what its sum rests on.
#[derive(Debug)]
pub struct Loaded {
    pub account: AccountId,
    pub subscription: SubscriptionId,
    pub plan: String,
    pub currency: Currency,
    /// None where the sum cannot be begun; `blockers` says why.
    pub inputs: Option<Inputs>,
    pub blockers: Vec<String>,
}

impl Evidence {
    /// Loads what is shared. A period that is over is summed up as of its end, or of `recorded_as_of` if that is later; one
    /// that goes on, as of `now`.
    pub async fn load(
        conn: &mut PgConnection,
        operator: &Operator,
        period: Month,
        recorded_as_of: Instant,
        now: Instant,
    ) -> Result<Self, Error> {
        let whole = period.interval(operator.zone);
        // The months of accounts in other zones begin and end up to a day apart.
        let wide = Interval::new(whole.start().plus(-DAY), whole.end().plus(DAY)).unwrap_or(whole);
        let windows = windows::touching(conn, wide, recorded_as_of).await?;
        let mut in_force = HashMap::new();
        for plan in terms::plans(conn).await? {
            let versions = terms::in_force_within(conn, &plan, wide, recorded_as_of).await?;
            let agreement = |version: terms::Version| Agreement {
                from: version.effective_from,
                plan: plan.clone(),
                terms_version: version.version,
                terms: version.terms,
            };
            in_force.insert(plan.clone(), versions.into_iter().map(agreement).collect());
        }
        let calendars = calendars::as_recorded(conn, recorded_as_of).await?.into_values().collect();
        let as_of = if now >= whole.end() { recorded_as_of.max(whole.end()) } else { now };
        Ok(Evidence {
            period,
            recorded_as_of,
            as_of,
            operator_zone: operator.zone,
            windows,
            calendars,
            terms: in_force,
        })
    }

    /// The windows that some of these mailboxes lay under. `named` says which of the account's mailboxes lists name: they stand in the place
    /// of the list, and nothing tells of another account's.
    fn windows_over(&self, mailboxes: &[MailboxHistory], named: &Named) -> Vec<OutageWindow> {
        let homes: Vec<(&str, &str)> = mailboxes
            .iter()
            .flat_map(|one| {
                let homes = one.events.iter().flat_map(|event| event.homes()).flatten();
                homes.map(move |shard| (one.mailbox.as_str(), shard))
            })
            .collect();
        let own = |window: &OutageWindow| match &window.scope {
            Scope::All | Scope::Shards(_) | Scope::Mailboxes(_) => Some(window.clone()),
            Scope::List(list) => {
                named.get(list).map(|own| OutageWindow { scope: Scope::Mailboxes(own.clone()), ..window.clone() })
            }
        };
        let touches = |window: &OutageWindow| homes.iter().any(|(mailbox, shard)| window.scope.covers(mailbox, shard));
        self.windows.iter().filter_map(own).filter(touches).collect()
    }

    /// The lists that windows name.
    fn lists(&self) -> Vec<MailboxListId> {
        let list = |window: &OutageWindow| match window.scope {
            Scope::List(list) => Some(list),
            Scope::All | Scope::Shards(_) | Scope::Mailboxes(_) => None,
        };
        self.windows.iter().filter_map(list).collect()
    }
}

/// Which of one account's mailboxes each list names.
type Named = HashMap<MailboxListId, Vec<String>>;

/// The subscriptions of `batch` that a window touched in the period, with their inputs.
pub async fn load(conn: &mut PgConnection, shared: &Evidence, batch: &[Account]) -> Result<Vec<Loaded>, Error> {
    Ok(load_all(conn, shared, batch)
        .await?
        .into_iter()
        .filter(|one| one.inputs.as_ref().is_none_or(was_touched))
        .collect())
}

fn was_touched(inputs: &Inputs) -> bool {
    !inputs.windows.is_empty()
}

/// The subscriptions of `batch` in the period, touched or not.
pub async fn load_all(conn: &mut PgConnection, shared: &Evidence, batch: &[Account]) -> Result<Vec<Loaded>, Error> {
    let ids: Vec<AccountId> = batch.iter().map(|account| account.id).collect();
    let as_recorded = Some(shared.recorded_as_of);
    let wide = wide(shared);
    let mut subscribed = subscriptions::of_accounts(conn, &ids, as_recorded).await?;
    let mut placed = placements::of_accounts(conn, &ids, wide, as_recorded).await?;
    let dates = (shared.period.first_day(), shared.period.next().first_day());
    let mut charged = charges::of_accounts(conn, &ids, dates, as_recorded).await?;
    let mut named = mailbox_lists::of_accounts(conn, &shared.lists(), &ids).await?;
    let mut given = given::on_other_roads(conn, &ids, shared.period, shared.recorded_as_of).await?;
    let mut loaded = Vec::new();
    for account in batch {
        let named = named.remove(&account.id).unwrap_or_default();
        let subscribed = subscribed.remove(&account.id).unwrap_or_default();
        let mut mailboxes = placed.remove(&account.id).unwrap_or_default();
        if let Some(closed) = account.closed_at() {
            mailboxes = mailboxes.into_iter().map(|mailbox| mailbox.closed_at(closed)).collect();
        }
        let mut by_subscription: BTreeMap<SubscriptionId, Vec<Charge>> = BTreeMap::new();
        for one in charged.remove(&account.id).unwrap_or_default() {
            by_subscription.entry(one.subscription).or_default().push(one.charge);
        }
        let windows = shared.windows_over(&mailboxes, &named);
        loaded.extend(of_account(shared, account, subscribed, mailboxes, windows, by_subscription, &mut given));
    }
    Ok(loaded)
}

fn wide(shared: &Evidence) -> Interval {
    let whole = shared.period.interval(shared.operator_zone);
    Interval::new(whole.start().plus(-DAY), whole.end().plus(DAY)).unwrap_or(whole)
}

/// An account's mailboxes belong to its one subscription. Where a period saw several, who pays for which mailbox is not
/// recorded yet: the account is held back and a person looks.
fn of_account(
    shared: &Evidence,
    account: &Account,
    subscribed: Vec<Subscription>,
    mailboxes: Vec<MailboxHistory>,
    windows: Vec<OutageWindow>,
    mut charged: BTreeMap<SubscriptionId, Vec<Charge>>,
    given: &mut BTreeMap<SubscriptionId, Vec<Given>>,
) -> Vec<Loaded> {
    let period = shared.period.interval(account.zone);
    let current: Vec<Subscription> = subscribed
        .into_iter()
        .filter(|one| one.valid_from < period.end() && one.valid_to.is_none_or(|end| end > period.start()))
        .filter(|_| account.closed_at().is_none_or(|closed| closed > period.start()))
        .collect();
    let is_single = current.len() == 1;
    if !is_single && windows.is_empty() {
        return Vec::new();
    }
    current
        .into_iter()
        .map(|one| {
            let mut blockers = Vec::new();
            let agreements = shared.terms.get(&one.plan).map_or(&[][..], Vec::as_slice);
            let agreements = within(agreements, period);
            let is_covered = agreements.first().is_some_and(|first| first.from <= period.start());
            if !is_covered {
                blockers.push(format!("terms_missing:{}", one.plan));
            }
            if !is_single {
                blockers.push("subscription_changed".to_owned());
            }
            let named = |calendar: &&Calendar| {
                let names = agreements.iter().filter_map(|one| one.terms.time.calendar.as_deref());
                names.clone().any(|name| name == calendar.name)
            };
            let calendars = shared.calendars.iter().filter(named).cloned().collect();
            let inputs = (is_covered && is_single).then(|| Inputs {
                account: AccountFacts {
                    reference: account.reference.clone(),
                    name: account.name.clone(),
                    zone: account.zone,
                    currency: account.currency,
                },
                operator_zone: shared.operator_zone,
                subscription: one.reference.clone(),
                term_ends: None,
                period: shared.period.into(),
                agreements,
                mailboxes: mailboxes.clone(),
                windows: windows.clone(),
                charges: charged.remove(&one.id).unwrap_or_default(),
                calendars,
                reports: Vec::new(),
                pauses: Vec::new(),
                samples: Vec::new(),
                events: Vec::new(),
                circumstances: Vec::new(),
                already_given: given.remove(&one.id).unwrap_or_default(),
                history: None,
                requested_at: None,
                as_of: shared.as_of,
            });
            Loaded {
                account: account.id,
                subscription: one.id,
                plan: one.plan,
                currency: account.currency,
                inputs,
                blockers,
            }
        })
        .collect()
}

/// The terms that were in force in the period: the last that took effect before it, and those that took effect in it.
fn within(agreements: &[Agreement], period: Interval) -> Vec<Agreement> {
    let first = agreements.iter().rposition(|one| one.from <= period.start()).unwrap_or(0);
    agreements.iter().skip(first).filter(|one| one.from < period.end()).cloned().collect()
}

/// One account's subscriptions in the shared period, touched or not; none where there is no such account.
pub async fn load_one(
    conn: &mut PgConnection,
    shared: &Evidence,
    account: AccountId,
) -> Result<Option<(Account, Vec<Loaded>)>, Error> {
    let Some(found) = accounts::find(conn, account, Some(shared.recorded_as_of)).await? else { return Ok(None) };
    let loaded = load_all(conn, shared, std::slice::from_ref(&found)).await?;
    Ok(Some((found, loaded)))
}
