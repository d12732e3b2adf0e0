//! The doors to the house.

use std::env;
use std::io::Write;
use std::process::ExitCode;

use makegood::{cli, pg};

fn main() -> ExitCode {
    if env::args_os().nth(1).is_some_and(|argument| argument == pg::SUPERVISE) {
        return match pg::supervise(env::args_os()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "{error}");
                ExitCode::FAILURE
            }
        };
    }
    cli::main()
}
