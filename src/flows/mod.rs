//! What happens: one file a journey. A flow opens the transaction, loads, decides by asking `domain`, saves and commits.

pub mod issue_token;
pub mod once;
pub mod pull_feed;
pub mod sequence_feed;
