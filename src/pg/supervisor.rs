//! The process that runs `postgres` for as long as somebody uses it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::find::{self, Programs};
use super::place::Place;
use super::server::{Server, make_cluster};
use super::{POLL, PgError, START_LIMIT, durability, taken};

/// How often a running server and its users are looked at.
const WATCH: Duration = Duration::from_millis(100);
/// How long another supervisor is given to end before the work is left to it.
const PATIENCE: Duration = Duration::from_secs(5);

struct Arguments {
    data_dir: PathBuf,
    bin_dir: PathBuf,
    linger: Duration,
    durable: bool,
}

impl Arguments {
    /// The program's own arguments, as [`super::start`] puts them: its name and the hidden command come first.
    fn parse(mut args: impl Iterator<Item = OsString>) -> Result<Arguments, PgError> {
        let mut next = || args.next().ok_or(PgError::Arguments("an argument is missing"));
        let (_program, _command) = (next()?, next()?);
        let (data_dir, bin_dir) = (PathBuf::from(next()?), PathBuf::from(next()?));
        let linger = next()?
            .to_str()
            .and_then(|text| text.parse().ok())
            .map(Duration::from_millis)
            .ok_or(PgError::Arguments("the time to linger is not a number of milliseconds"))?;
        let durable = match next()?.to_str() {
            Some(text) if text == durability(true) => true,
            Some(text) if text == durability(false) => false,
            _ => return Err(PgError::Arguments("it must say whether the cluster is durable or disposable")),
        };
        Ok(Arguments { data_dir, bin_dir, linger, durable })
    }
}

/// What the hidden command does, given the arguments of the whole program (`std::env::args_os()`): makes the cluster if
/// need be, runs the server, and returns when it has stopped it or when another supervisor has the work already.
///
/// # Errors
/// The caller prints the error on stderr, where the process that called [`super::start`] reads it, and ends with a failure.
pub fn supervise(args: impl IntoIterator<Item = OsString>) -> Result<(), PgError> {
    let Arguments { data_dir, bin_dir, linger, durable } = Arguments::parse(args.into_iter())?;
    let place = Place::open(&data_dir)?;
    let supervisor = place.lock_file("supervisor.lock")?;
    let patience = Instant::now() + PATIENCE;
    while !taken(supervisor.try_lock())? {
        if Instant::now() >= patience {
            return Ok(());
        }
        thread::sleep(POLL);
    }
    let programs = prepare(&place, &bin_dir, durable)?;
    watch(&place, &programs, linger, durable)
    // The lock is given back by the end of the process, after the server's end.
}

/// Leaves a whole cluster that these programs can run.
fn prepare(place: &Place, bin_dir: &Path, durable: bool) -> Result<Programs, PgError> {
    let programs = find::inspect(bin_dir)?;
    place.remove_drafts();
    if place.major()?.is_none() {
        make_cluster(place, &programs, durable)?;
    }
    use std::os::unix::ffi::OsStrExt;
    place.write("bin-dir", bin_dir.as_os_str().as_bytes())?;
    Ok(programs)
}

/// Runs the server until nobody has used it for `linger`. One that dies under its users is started again.
fn watch(place: &Place, programs: &Programs, linger: Duration, durable: bool) -> Result<(), PgError> {
    let users = place.lock_file("users.lock")?;
    let mut server = Server::find_or_start(place, programs, durable)?;
    let mut started = Instant::now();
    let mut is_ready = false;
    let mut unused_since = None;
    loop {
        if let Some(how) = server.ended(place)? {
            let retry = is_ready || (server.may_be_retried(place) && started.elapsed() < START_LIMIT);
            if !retry {
                let log = place.log_tail();
                return Err(PgError::Failed(format!("postgres ended with {how}. The end of its log:\n{log}")));
            }
            if is_ready {
                (is_ready, started) = (false, Instant::now());
            }
            thread::sleep(WATCH);
            server = Server::find_or_start(place, programs, durable)?;
        } else if !is_ready {
            // However long it recovers from a crash, it is not stopped meanwhile: it would begin anew the next time.
            is_ready = place.answers();
            thread::sleep(POLL);
        } else {
            if taken(users.try_lock())? {
                // Whoever comes now waits until we have ended, and then starts the server anew.
                if unused_since.get_or_insert_with(Instant::now).elapsed() >= linger {
                    server.stop(place)?;
                    place.remove_socket_dir();
                    return Ok(());
                }
                users.unlock().map_err(super::io_error("let users in"))?;
            } else {
                unused_since = None;
            }
            server.trim_log();
            thread::sleep(WATCH);
        }
    }
}
