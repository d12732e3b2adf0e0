//! What changed in what one account's sum rests on, between two times at which it was recorded.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::assess::{Given, Inputs};

/// One fact that is not what it was.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Change {
    /// `outage`, `mailbox`, `charge`, `terms`, `account`, `subscription` or `given_elsewhere`.
    #[schema(example = "outage")]
    pub kind: &'static str,
    /// Its id, number or name; of what was given elsewhere, the road.
    #[schema(example = "INV-7000000")]
    pub name: String,
    /// As it was; null where it was not known then, or did not touch the account.
    #[schema(value_type = Object)]
    pub before: Value,
    /// As it is; null where it is gone, or does not touch the account any more.
    #[schema(value_type = Object)]
    pub after: Value,
}

/// What is known of one account's month at one time.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Of each subscription.
    pub inputs: &'a [Inputs],
    /// What was given elsewhere for the same cause as the terms' own credits: no sum rests on it, and the credits do. Empty for a reader who
    /// sees no more than the receipts.
    pub by_contract: &'a [Given],
}

type Facts = BTreeMap<(&'static str, String), Value>;

/// The facts of `before` and `after` that differ, by kind and name.
pub fn changes(before: Known<'_>, after: Known<'_>) -> Vec<Change> {
    let (before, after) = (facts(before), facts(after));
    let mut names: Vec<&(&'static str, String)> = before.keys().chain(after.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let change = |name: &(&'static str, String)| Change {
        kind: name.0,
        name: name.1.clone(),
        before: before.get(name).cloned().unwrap_or_default(),
        after: after.get(name).cloned().unwrap_or_default(),
    };
    names.into_iter().map(change).filter(|one| one.before != one.after).collect()
}

fn facts(known: Known<'_>) -> Facts {
    let mut facts = Facts::new();
    let mut given: BTreeMap<&str, Vec<&Given>> = BTreeMap::new();
    for one in known.inputs.iter().flat_map(|inputs| &inputs.already_given).chain(known.by_contract) {
        given.entry(&one.kind).or_default().push(one);
    }
    for (kind, mut all) in given {
        all.sort_unstable_by_key(|one| one.amount.minor());
        let amounts: Vec<_> = all.iter().map(|one| one.amount).collect();
        facts.insert(("given_elsewhere", kind.to_owned()), json!(amounts));
    }
    for inputs in known.inputs {
        facts.insert(("account", inputs.account.reference.clone()), json!(inputs.account));
        facts.insert(("subscription", inputs.subscription.clone()), json!({ "term_ends": inputs.term_ends }));
        facts.extend(inputs.windows.iter().map(|window| (("outage", window.id.to_string()), json!(window))));
        facts.extend(inputs.mailboxes.iter().map(|one| (("mailbox", one.mailbox.clone()), json!(one.events))));
        facts.extend(inputs.charges.iter().map(|charge| (("charge", charge.number.clone()), json!(charge))));
        facts.extend(inputs.agreements.iter().map(|one| {
            let what = json!({ "plan": one.plan, "version": one.terms_version, "from": one.from });
            (("terms", format!("{} from {}", one.plan, one.from)), what)
        }));
    }
    facts
}
