//! The command line: thin doors. Data goes to stdout, words for people to stderr.

pub mod evaluate;
