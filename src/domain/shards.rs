//! The register of shards: which there are. A placement on one that is not registered is more likely a typing error than a
//! new mail system, and nobody would ever notice: no outage reaches it.

use std::collections::HashSet;

use super::unreadable::strokes;

/// The names of the registered shards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Register(HashSet<String>);

impl Register {
    pub fn is_known(&self, shard: &str) -> bool {
        self.0.contains(shard)
    }

    /// Why a shard is not taken, with the registered name that was probably meant: one stroke away, or two in a long name.
    pub fn refusal(&self, shard: &str) -> String {
        let near = self.0.iter().map(|one| (strokes(shard, one), one)).min();
        let meant = near.filter(|(far, one)| *far == 1 || *far == 2 && one.chars().count() > 5);
        let meant = meant.map_or_else(String::new, |(_, one)| format!(" Do you mean {one:?}?"));
        format!("There is no shard {shard:?}.{meant} If it is new, register it first: PUT /v1/shards.")
    }
}

impl FromIterator<String> for Register {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        Register(names.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_one_stroke_away_is_offered_and_one_that_is_farther_is_not() {
        let register: Register = ["s1", "s17", "store-akl-2"].map(str::to_owned).into_iter().collect();
        let offered = |shard: &str| {
            let said = register.refusal(shard);
            said.split_once("mean ").map(|(_, rest)| rest.split('?').next().unwrap().to_owned())
        };
        assert!(register.is_known("s17") && !register.is_known("S17"));
        assert_eq!(offered("S17"), Some("\"s17\"".to_owned()));
        assert_eq!(offered("store-ak-l2"), Some("\"store-akl-2\"".to_owned()));
        assert_eq!(offered("x9"), None);
        assert_eq!(offered("s9999"), None);
        assert_eq!(Register::default().refusal("s1").matches("PUT /v1/shards").count(), 1);
    }
}
