//! Doors for people at a terminal: thin. stdout is data, stderr is for people.

pub mod token;
//! The command line: thin doors. Data goes to stdout, words for people to stderr.

pub mod evaluate;
