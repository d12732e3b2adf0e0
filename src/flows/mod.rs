//! What happens: one file a journey. A flow opens the transaction, loads, decides by asking `domain`, saves and commits.

use crate::domain::actor::Actor;

pub mod act_on_claim;
pub mod answer_credits;
pub mod file_claim;
pub mod issue_credits;
pub mod once;
pub mod post_claims;
pub mod pull_feed;
pub mod sequence_feed;

/// makegood itself, where the clock and not a person moved something.
pub fn system_actor(part: &str) -> Actor {
    Actor {
        issuer: "system".to_owned(),
        subject: part.to_owned(),
        name: "makegood".to_owned(),
        roles: Default::default(),
        accounts: Vec::new(),
        source: None,
    }
}
