//! Names for things: ids that are derived, so that the same thing said twice is one thing.
//!
//! Nothing infers order or completeness from an id. Global uniqueness comes through the derivation, since a distributed
//! database cannot hold a global unique index (see ARCHITECTURE.md, "Keys").

use std::fmt;

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};
use uuid::Uuid;

/// The namespace of all ids that makegood derives (itself a UUIDv5 of the DNS namespace and `makegood`).
pub const NAMESPACE: Uuid = Uuid::from_u128(0x374a_4652_5ef6_532a_b0ef_a36e_597b_53be);

macro_rules! uuid_id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

uuid_id! {
    /// An account, derived from the operator's own reference for it.
    AccountId
}
uuid_id! {
    /// A subscription of an account to a plan.
    SubscriptionId
}
uuid_id! {
    /// One outage window over all its versions.
    WindowId
}
uuid_id! {
    /// A list of mailboxes that somebody uploaded.
    #[derive(utoipa::ToSchema)]
    MailboxListId
}
uuid_id! {
    /// What one account should have got beside what it was credited.
    DifferenceId
}
uuid_id! {
    /// A claim, derived from its account and the caller's idempotency key.
    ClaimId
}
uuid_id! {
    /// A credit, derived from its cause and generation.
    CreditId
}
uuid_id! {
    /// One row of the books.
    TransferId
}
uuid_id! {
    /// A proposed set of credits.
    CreditRunId
}

pub(super) fn derived(parts: &[&str]) -> Uuid {
    // The unit separator cannot stand in a reference (doors refuse control characters), so two lists of parts never meet.
    // A version 5 UUID (RFC 9562). A large run derives four for each credit: this SHA-1 uses the processor's own instructions.
    let hash = Sha1::new().chain_update(NAMESPACE).chain_update(parts.join("\u{1f}")).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_sha1_bytes(bytes).into_uuid()
}

impl AccountId {
    /// The id of the account that the operator calls `reference`.
    pub fn of(reference: &str) -> Self {
        AccountId(derived(&["account", reference]))
    }
}

impl SubscriptionId {
    /// The id of the subscription that the operator calls `reference`, of `account`.
    pub fn of(account: AccountId, reference: &str) -> Self {
        SubscriptionId(derived(&["subscription", &account.to_string(), reference]))
    }
}

impl WindowId {
    /// The id of the window that `source` opened under `key`.
    pub fn of(source: &str, key: &str) -> Self {
        WindowId(derived(&["window", source, key]))
    }
}

impl MailboxListId {
    /// The id of the list with this content: SHA-256 over the file, in hex.
    pub fn of(hash: &str) -> Self {
        MailboxListId(derived(&["mailbox-list", hash]))
    }
}

impl DifferenceId {
    /// The difference between what a subscription was credited for a period and what is due, both as text. `taken_back` is how often
    /// something of it was taken back before: the same figures are another difference then.
    pub fn of(
        account: AccountId,
        subscription: SubscriptionId,
        period: &str,
        (credited, due): (&str, &str),
        taken_back: i64,
    ) -> Self {
        let (account, subscription, times) = (account.to_string(), subscription.to_string(), taken_back.to_string());
        let parts = ["difference", &account, &subscription, period, credited, due, &times];
        // As it was before this was counted.
        DifferenceId(derived(if taken_back == 0 { &parts[..6] } else { &parts }))
    }
}

impl ClaimId {
    pub fn of(account: AccountId, idempotency_key: &str) -> Self {
        ClaimId(derived(&["claim", &account.to_string(), idempotency_key]))
    }
}

impl CreditId {
    /// The credit that answers `cause`, for the `generation`-th time (0 the first; a later one needs a reversal or a newer
    /// assessment, see [`super::credit`]).
    pub fn of(account: AccountId, cause: &str, generation: u32) -> Self {
        CreditId(derived(&["credit", &account.to_string(), cause, &generation.to_string()]))
    }
}

impl TransferId {
    /// The `line`-th transfer that `event` of `document` (a credit, mostly) writes.
    pub fn of(document: Uuid, event: &str, line: usize) -> Self {
        TransferId(derived(&["transfer", &document.to_string(), event, &line.to_string()]))
    }
}

impl CreditRunId {
    pub fn of(caller: &str, idempotency_key: &str) -> Self {
        CreditRunId(derived(&["credit-run", caller, idempotency_key]))
    }
}

/// The id of what the sequencer numbers: one `event` of one `document`.
pub fn event_id(document: Uuid, event: &str) -> Uuid {
    derived(&["event", &document.to_string(), event])
}

/// How many lanes number rows side by side. Fixed when a database is set up; one carries a single PostgreSQL.
pub const LANES: u16 = 1;

/// The lane that numbers an account's rows. Computed here and never by a database, whose hash functions differ between
/// versions.
pub fn lane(account: AccountId) -> i16 {
    lane_of(account, LANES)
}

fn lane_of(account: AccountId, lanes: u16) -> i16 {
    let [.., high, low] = *account.0.as_bytes();
    i16::try_from(u16::from_be_bytes([high, low]) % lanes.max(1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_same_for_the_same_thing_and_differ_between_kinds() {
        let account = AccountId::of("20418876");
        assert_eq!(account.0, Uuid::new_v5(&NAMESPACE, b"account\x1f20418876"));
        assert_eq!(account, AccountId::of("20418876"));
        assert_ne!(account.0, WindowId::of("20418876", "").0);
        assert_ne!(CreditId::of(account, "contract:x", 0), CreditId::of(account, "contract:x", 1));
    }

    #[test]
    fn the_same_figures_are_another_difference_once_something_was_taken_back() {
        let account = AccountId::of("20418876");
        let of = |times| DifferenceId::of(account, SubscriptionId::of(account, "mail"), "2026-10", ("30", "20"), times);
        assert_eq!(of(0), of(0));
        assert!(of(0) != of(1) && of(1) != of(2));
    }

    /// Ids are on invoices and in other people's systems: a change of the derivation is a break, so it is pinned here.
    #[test]
    fn the_derivation_is_pinned() {
        assert_eq!(
            AccountId::of("20418876").to_string(),
            AccountId(Uuid::new_v5(&NAMESPACE, b"account\x1f20418876")).to_string()
        );
    }
}
