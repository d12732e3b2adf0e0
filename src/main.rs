//! The doors to the house.

use std::env;
use std::io::Write;
use std::process::ExitCode;

use makegood::{cli, pg};

/// Pages and batches are made and given back all the time: the C library's allocator hands their memory back to the kernel each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
