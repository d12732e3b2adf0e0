//! What is true. Pure: no I/O, no async, no clock, no SQL, no floating point.

pub mod account;
pub mod actor;
pub mod ask;
pub mod assess;
pub mod batch;
pub mod books;
pub mod calendar;
pub mod case;
pub mod chain;
pub mod charge;
pub mod claim;
pub mod credit;
mod document;
pub mod feed;
pub mod fold;
pub mod ids;
pub mod money;
pub mod monitors;
pub mod observation;
pub mod operator;
pub mod period;
pub mod placement;
pub mod ratio;
pub mod receipt;
pub mod reconcile;
pub mod refusal;
pub mod shards;
pub mod terms;
pub mod time;
mod unreadable;
pub mod window;

pub use assess::{assessment, running};
pub use case::expect;
pub use terms::{percent, remedy};
