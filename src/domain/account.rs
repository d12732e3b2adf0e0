//! Accounts: whom the operator sells to, and what each of them subscribes to.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::ids::{AccountId, SubscriptionId};
use super::money::Currency;
use super::period::Zone;
use super::time::Instant;

/// A customer, as one recorded version says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    pub id: AccountId,
    /// The operator's own name for it, which the id is derived from.
    pub reference: String,
    pub name: String,
    pub zone: Zone,
    /// What it is charged and credited in. It never changes.
    pub currency: Currency,
    /// The reference of the account above this one: a wholesaler's, for one of his customers.
    #[serde(default)]
    pub parent: Option<String>,
    /// The reference of the account that its bill goes to; none for itself.
    #[serde(default)]
    pub bill_to: Option<String>,
    #[serde(default)]
    pub email: Option<String>,
    #[serde(default)]
    pub customer_since: Option<NaiveDate>,
    /// The first day on which it is no customer any more: from then on it has no mailboxes and no subscriptions.
    #[serde(default)]
    pub closed_on: Option<NaiveDate>,
}

impl Account {
    /// When it was closed: the beginning of that day where it is.
    pub fn closed_at(&self) -> Option<Instant> {
        self.closed_on.and_then(|day| self.zone.start_of(day))
    }
}

/// What an account is promised: a plan, for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscription {
    pub id: SubscriptionId,
    pub reference: String,
    pub plan: String,
    pub valid_from: Instant,
    /// None while it goes on.
    #[serde(default)]
    pub valid_to: Option<Instant>,
}
