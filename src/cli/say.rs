//! Data on stdout. A reader that went away (`| head`) is no error: what was begun is done, quietly.

use std::fmt::Arguments;
use std::io::Write;

/// As the one of the standard library, which panics where the reader went away.
macro_rules! print {
    ($($words:tt)*) => { $crate::cli::say::out(format_args!($($words)*)) };
}

/// As the one of the standard library, which panics where the reader went away.
macro_rules! println {
    () => { $crate::cli::say::out(format_args!("\n")) };
    ($($words:tt)*) => { $crate::cli::say::out(format_args!("{}\n", format_args!($($words)*))) };
}

/// Writes data. Says on stderr why it cannot be written, unless nobody reads it any more.
pub(super) fn out(text: Arguments<'_>) {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_fmt(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("error: cannot write the result: {error}")
        }
        Ok(()) | Err(_) => {}
    }
}
