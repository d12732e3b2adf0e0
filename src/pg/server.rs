//! Making a cluster, and running `postgres` on it.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use super::find::Programs;
use super::place::{PORT, Place, SUPERUSER};
use super::{POLL, PgError, io_error};

/// More than this much log is thrown away, for a log must not fill the disk that the ledger needs.
const LONGEST_LOG: u64 = 64 << 20;
/// What a server says that was started while processes of a killed one were still ending.
const STILL_IN_USE: &str = "pre-existing shared memory block";

/// A running `postgres`.
#[derive(Debug)]
pub(super) enum Server {
    /// One that we started.
    Own { child: Child, log: File },
    /// One that a supervisor before us started.
    Adopted(Pid),
}

/// A server program that knows nothing of our caller's environment: PG* variables and the current folder would leak in.
fn command(place: &Place, program: PathBuf) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("LC_ALL", "C").env("TZ", "UTC").current_dir("/").stdin(Stdio::null());
    if place.user.switch {
        command.uid(place.user.uid).gid(place.user.gid);
    }
    command
}

/// Makes the cluster beside where it belongs, and moves it there when it is whole.
pub(super) fn make_cluster(place: &Place, programs: &Programs, durable: bool) -> Result<(), PgError> {
    let draft = place.make_draft()?;
    let mut initdb = command(place, programs.bin_dir.join("initdb"));
    initdb.arg("-D").arg(&draft).args(["-U", SUPERUSER, "--auth=trust", "--encoding=UTF8", "--data-checksums"]);
    // Text sorts by code point on every machine, and no locale has to be installed.
    if programs.major >= 17 {
        initdb.args(["--locale-provider=builtin", "--locale=C.UTF-8"]);
    } else {
        initdb.arg("--no-locale");
    }
    if !durable {
        initdb.arg("--no-sync");
    }
    let ended = initdb.output().map_err(io_error("run initdb"))?;
    if !ended.status.success() {
        let _ = fs::remove_dir_all(&draft);
        let said = String::from_utf8_lossy(&ended.stderr);
        return Err(PgError::Failed(format!("initdb ended with {}: {}", ended.status, said.trim())));
    }
    if !durable {
        place.write("disposable", b"")?;
    }
    fs::rename(&draft, place.data())
        .map_err(io_error(format!("move the new cluster to {}", place.data().display())))?;
    File::open(&place.root).and_then(|folder| folder.sync_all()).map_err(io_error("keep the new cluster"))
}

impl Server {
    /// The server that already runs on the cluster, else a new one.
    pub(super) fn find_or_start(place: &Place, programs: &Programs, durable: bool) -> Result<Server, PgError> {
        match running(&place.data()) {
            Some(pid) => Ok(Server::Adopted(pid)),
            None => Server::start(place, programs, durable),
        }
    }

    fn start(place: &Place, programs: &Programs, durable: bool) -> Result<Server, PgError> {
        place.make_socket_dir()?;
        place.remove_socket();
        let log = place.make_log()?;
        let (for_stdout, for_stderr) =
            log.try_clone().and_then(|first| Ok((first, log.try_clone()?))).map_err(io_error("share the log"))?;
        let port = format!("port={PORT}");
        let mut settings = vec![
            port.as_str(),
            "listen_addresses=",
            "unix_socket_permissions=0700",
            "max_connections=100",
            "timezone=UTC",
            "log_timezone=UTC",
        ];
        if durable {
            settings.extend(["shared_buffers=128MB", "fsync=on", "synchronous_commit=on", "full_page_writes=on"]);
        } else {
            settings.extend(["shared_buffers=64MB", "fsync=off", "synchronous_commit=off", "full_page_writes=off"]);
        }
        let mut postgres = command(place, programs.bin_dir.join("postgres"));
        postgres.arg("-D").arg(place.data()).arg("-k").arg(place.socket_dir());
        for setting in settings {
            postgres.args(["-c", setting]);
        }
        let child = postgres.stdout(for_stdout).stderr(for_stderr).spawn().map_err(io_error("run postgres"))?;
        Ok(Server::Own { child, log })
    }

    /// How the server ended; none while it runs.
    pub(super) fn ended(&mut self, place: &Place) -> Result<Option<String>, PgError> {
        match self {
            Server::Own { child, .. } => {
                Ok(child.try_wait().map_err(io_error("wait for postgres"))?.map(|status| status.to_string()))
            }
            Server::Adopted(pid) if is_server_of(*pid, &place.data()) => Ok(None),
            Server::Adopted(_) => Ok(Some("an end that was not seen".to_owned())),
        }
    }

    /// Whether a server that ended this way will start if tried again.
    pub(super) fn may_be_retried(&self, place: &Place) -> bool {
        match self {
            Server::Own { .. } => place.log_tail().contains(STILL_IN_USE),
            Server::Adopted(_) => true,
        }
    }

    /// Cuts a log that has become too long. Whoever writes to it appends.
    pub(super) fn trim_log(&self) {
        match self {
            Server::Own { log, .. } => {
                if log.metadata().is_ok_and(|found| found.len() > LONGEST_LOG) {
                    let _ = log.set_len(0);
                }
            }
            Server::Adopted(_) => {}
        }
    }

    /// Ends every session, writes a checkpoint, and returns when the server is gone.
    pub(super) fn stop(&mut self, place: &Place) -> Result<(), PgError> {
        let pid = match self {
            Server::Own { child, .. } => Pid::from_child(child),
            Server::Adopted(pid) => *pid,
        };
        if self.ended(place)?.is_none() {
            kill_process(pid, Signal::INT).map_err(|error| io_error("stop postgres")(error.into()))?;
        }
        while self.ended(place)?.is_none() {
            thread::sleep(POLL);
        }
        Ok(())
    }
}

/// The server that runs on this cluster, by its `postmaster.pid`; none was started by anybody else, for we hold the lock.
/// A server refuses to start while the process named there lives, even if that is a zombie, or another program that was
/// given the number since: then the file is removed.
fn running(data: &Path) -> Option<Pid> {
    let path = data.join("postmaster.pid");
    let text = fs::read_to_string(&path).ok()?;
    let number = text.lines().next().and_then(|line| line.trim().parse::<i32>().ok());
    // A negative number is a single-user server, which somebody runs by hand: `postgres` itself will refuse.
    if number.is_some_and(|number| number < 0) {
        return None;
    }
    let server = number.and_then(Pid::from_raw).filter(|pid| is_server_of(*pid, data));
    if server.is_none() {
        let _ = fs::remove_file(path);
    }
    server
}

/// Ends every process that works in this data folder and says how many there were; the server itself first, lest it starts others
/// in their place.
pub(super) fn crash(data: &Path) -> usize {
    let server = running(data);
    let others = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok).filter_map(|entry| {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw)?;
        (Some(pid) != server && is_server_of(pid, data)).then_some(pid)
    });
    let all: Vec<Pid> = server.into_iter().chain(others).collect();
    for pid in &all {
        // One that ends by itself meanwhile has ended too.
        let _ = kill_process(*pid, Signal::KILL);
    }
    all.len()
}

/// Whether the process is a live server of this cluster: one works in its data folder, and a zombie nowhere.
fn is_server_of(pid: Pid, data: &Path) -> bool {
    let process = PathBuf::from(format!("/proc/{}", pid.as_raw_pid()));
    if process.parent().is_some_and(|proc| proc.join("self").exists()) {
        return fs::canonicalize(data)
            .is_ok_and(|data| fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd == data));
    }
    // Without /proc, as on macOS.
    let asked = ["-o", "stat=", "-o", "command=", "-p", &pid.as_raw_pid().to_string()].map(str::to_owned);
    Command::new("ps").args(asked).output().is_ok_and(|said| {
        let line = String::from_utf8_lossy(&said.stdout).into_owned();
        !line.trim_start().starts_with('Z') && line.contains("postgres") && line.contains(&*data.to_string_lossy())
    })
}
