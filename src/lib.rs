//! makegood: a ledger of what was promised, what was delivered and what is owed for the difference.
//!
//! The house, and the only ways through it, are drawn in ARCHITECTURE.md; `tests/house.rs` keeps them.

pub mod cli;
pub mod clock;
pub mod domain;
pub mod failpoint;
pub mod flows;
pub mod http;
pub mod jobs;
pub mod pg;
pub mod sources;
pub mod store;
