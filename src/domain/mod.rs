//! What is true. Pure: no I/O, no async, no clock, no SQL, no floating point.

pub mod account;
pub mod actor;
pub mod assess;
mod base;
pub mod batch;
pub mod books;
pub mod chain;
pub mod charge;
pub mod claim;
pub mod credit;
pub mod feed;
pub mod case;
mod document;
pub mod ids;
pub mod money;
pub mod operator;
mod overlay;
pub mod period;
pub mod placement;
pub mod ratio;
pub mod receipt;
pub mod refusal;
mod says;
mod schedule;
pub mod terms;
pub mod time;
pub mod window;
