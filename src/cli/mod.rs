//! Doors for people at a terminal: thin. stdout is data, stderr is for people.

pub mod evaluate;
pub mod token;
