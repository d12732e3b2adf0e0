//! What is true. Pure: no I/O, no async, no clock, no SQL, no floating point.

pub mod actor;
pub mod assess;
pub mod books;
pub mod chain;
pub mod charge;
pub mod claim;
pub mod credit;
pub mod feed;
pub mod ids;
pub mod money;
pub mod operator;
pub mod period;
pub mod placement;
pub mod ratio;
pub mod receipt;
pub mod refusal;
pub mod terms;
pub mod time;
pub mod window;
