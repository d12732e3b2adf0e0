//! What is true. Pure: no I/O, no async, no clock, no SQL, no floating point.

pub mod account;
pub mod accounting;
pub mod actor;
pub mod ask;
pub mod assess;
pub mod batch;
pub mod books;
pub mod calendar;
pub mod case;
pub mod chain;
pub mod changes;
pub mod charge;
pub mod chart;
#[cfg(not(fuzzing))]
pub mod checkpoint;
pub mod claim;
pub mod course;
pub mod credit;
pub mod difference;
mod document;
pub mod effect;
pub mod export;
pub mod feed;
#[cfg(not(fuzzing))]
pub mod feed_file;
pub mod fold;
pub mod goodwill;
pub mod ids;
pub mod incident;
pub mod journal;
pub mod mapping_file;
pub mod money;
pub mod monitors;
pub mod observation;
pub mod operator;
pub mod period;
pub mod placement;
pub mod promised;
#[cfg(not(fuzzing))]
pub mod proof;
pub mod ratio;
pub mod receipt;
pub mod reconcile;
pub mod refusal;
pub mod shards;
pub mod sheet;
pub mod tax;
pub mod terms;
pub mod time;
mod unreadable;
pub mod window;

pub use assess::{assessment, running};
pub use case::expect;
pub use terms::{percent, remedy};
