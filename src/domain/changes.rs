//! What changed in what one account's sum rests on, between two times at which it was recorded.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::assess::Inputs;

/// One fact that is not what it was.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Change {
    /// `outage`, `mailbox`, `charge`, `terms`, `account` or `subscription`.
    #[schema(example = "outage")]
    pub kind: &'static str,
    /// Its id, number or name.
    #[schema(example = "INV-7000000")]
    pub name: String,
    /// As it was; null where it was not known then, or did not touch the account.
    #[schema(value_type = Object)]
    pub before: Value,
    /// As it is; null where it is gone, or does not touch the account any more.
    #[schema(value_type = Object)]
    pub after: Value,
}

type Facts = BTreeMap<(&'static str, String), Value>;

/// The facts of `before` and `after` that differ, by kind and name.
pub fn changes(before: &[&Inputs], after: &[&Inputs]) -> Vec<Change> {
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

fn facts(all: &[&Inputs]) -> Facts {
    let mut facts = Facts::new();
    for inputs in all {
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
