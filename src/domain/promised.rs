//! What terms promise, by name. An outage of a capability that no terms name is more likely a typing error than a new service,
//! and nobody would ever notice: no sum counts it.

use std::collections::BTreeSet;

use super::unreadable::strokes;
use super::window::Capability;

/// The capabilities that published terms name; none where no terms are published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Promised(BTreeSet<Capability>);

impl Promised {
    /// Whether some terms name it, a part of it or the whole of it. While there are no terms, all may be meant.
    pub fn is_known(&self, capability: &Capability) -> bool {
        self.0.is_empty() || self.0.iter().any(|one| one.is_within(capability) || capability.is_within(one))
    }

    /// Why a capability is not taken, with the one that was probably meant: one or two strokes away.
    pub fn refusal(&self, capability: &Capability) -> String {
        let near = self.0.iter().map(|one| (strokes(&capability.0, &one.0), one)).min().filter(|(far, _)| *far <= 2);
        let meant = near.map_or_else(String::new, |(_, one)| format!(" Do you mean {:?}?", one.0));
        let named: Vec<&str> = self.0.iter().map(|one| one.0.as_str()).take(20).collect();
        format!("No terms promise {:?}.{meant} They name {}.", capability.0, named.join(", "))
    }
}

impl FromIterator<String> for Promised {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        Promised(names.into_iter().map(Capability).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_and_the_whole_of_what_is_promised_are_known_and_a_typing_error_is_not() {
        let promised: Promised = ["receive", "access.webmail"].map(str::to_owned).into_iter().collect();
        for (name, is_known) in [
            ("receive", true),
            ("receive.imap", true),
            ("access", true),
            ("access.webmail", true),
            ("access.imap", false),
            ("recieve", false),
            ("receiver", false),
        ] {
            assert_eq!(promised.is_known(&Capability(name.to_owned())), is_known, "{name}");
        }
        let said = |name: &str| promised.refusal(&Capability(name.to_owned()));
        assert!(said("recieve").contains("Do you mean \"receive\"?"), "{}", said("recieve"));
        assert!(!said("archive_search").contains("mean"), "{}", said("archive_search"));
        assert!(Promised::default().is_known(&Capability("recieve".to_owned())));
    }
}
