//! A PostgreSQL of our own, run from the server programs that the machine already has.
//!
//! Whoever needs the database calls [`start`] and keeps the [`Cluster`]. The first one starts a *supervisor*: this same
//! program in a process group of its own, which makes the cluster, runs `postgres` and stops it once nobody has used it
//! for a while. Who uses it and who supervises it is told by locks on files, which the kernel takes back however a process
//! ends; so nothing has to be tidied up by hand after a `kill -9` of any of them, in any combination.
//!
//! In the data folder: `data` (the cluster itself), `socket`, `server.log`, three `.lock` files, `bin-dir` (the programs
//! last used) and `disposable` (there if the cluster may lose what was committed).

mod find;
mod place;
mod server;
mod supervisor;

use std::env;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use place::{PORT, Place};

pub use supervisor::supervise;

/// The hidden command that a supervisor is started with, as the first argument of [`Options::program`].
pub const SUPERVISE: &str = "__pg-supervise";

/// What to do when there is no PostgreSQL to run.
pub const INSTALL_HINT: &str = "Install PostgreSQL 15 or newer (Debian and Ubuntu: `apt-get install postgresql`; Fedora: \
    `dnf install postgresql-server`; macOS: `brew install postgresql@18`), or name the folder that holds `initdb` and \
    `postgres` in PG_BIN_DIR, or set DATABASE_URL to use a server that already runs.";

/// How long a start may take before we give up: a busy machine needs 16 s for what takes 1 s on an idle one.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How often something that we wait for is looked at.
const POLL: Duration = Duration::from_millis(10);

/// Which cluster to run, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder that everything lives in; made if it is missing.
    pub data_dir: PathBuf,
    /// Whether what is committed survives a power cut. Decided when the cluster is made, and kept. Without it, it is faster.
    pub durable: bool,
    /// How long the server keeps running once nobody uses it.
    pub linger: Duration,
    /// The binary that becomes the supervisor: it must call [`supervise`] when its first argument is [`SUPERVISE`].
    pub program: PathBuf,
    /// The folder with `initdb` and `postgres`, if it is not to be searched for.
    pub bin_dir: Option<PathBuf>,
}

/// Why there is no private PostgreSQL. Each message says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum PgError {
    #[error("found no PostgreSQL server programs{seen}. {hint}", hint = INSTALL_HINT)]
    NotFound {
        /// What was found but would not do; empty if nothing was.
        seen: String,
    },
    #[error("{} holds no PostgreSQL server programs that we can use: {why}. {hint}", dir.display(), hint = INSTALL_HINT)]
    BadPrograms { dir: PathBuf, why: String },
    #[error(
        "the data folder was made by PostgreSQL {made_by}, and the server programs found are of {found}. Name the folder \
         with the programs of PostgreSQL {made_by} in PG_BIN_DIR, or dump with those and restore into a new data folder"
    )]
    OtherMajor { made_by: u32, found: String },
    #[error(
        "PostgreSQL refuses to run as root, so it runs as user id {uid}, which may not enter {} on the way to {}. Choose \
         a place that other users can enter (for the programs: in PG_BIN_DIR), or allow it with `chmod o+x`",
        blocked.display(), wanted.display()
    )]
    Unreachable { uid: u32, blocked: PathBuf, wanted: PathBuf },
    #[error("PostgreSQL refuses to run as root, and there is no user `postgres`, `_postgres` or `nobody` to run it as")]
    NoUser,
    #[error("{} belongs to user id {owner}: run as that user or as root, or choose another data folder", path.display())]
    NotOurs { path: PathBuf, owner: u32 },
    #[error("{} is there already and is not a folder of user id {uid} closed to all others: remove it", path.display())]
    UnsafeSocketFolder { path: PathBuf, uid: u32 },
    #[error(
        "the cluster in {} was made {made}, and is now asked for {asked}: choose another data folder",
        data_dir.display()
    )]
    OtherDurability { data_dir: PathBuf, made: &'static str, asked: &'static str },
    #[error("{0}")]
    Failed(String),
    #[error(
        "PostgreSQL does not accept connections after {limit} s. If it is recovering from a crash it goes on doing so: try \
         again. The end of its log:\n{log}"
    )]
    Slow { limit: u64, log: String },
    #[error("cannot {doing}: {source}")]
    Io { doing: String, source: io::Error },
    #[error("`{SUPERVISE}` is for this program's own use: {0}")]
    Arguments(&'static str),
}

/// Says what was being done when the system refused.
fn io_error(doing: impl Into<String>) -> impl FnOnce(io::Error) -> PgError {
    move |source| PgError::Io { doing: doing.into(), source }
}

/// Says how a cluster that may or may not lose commits is called.
fn durability(durable: bool) -> &'static str {
    if durable { "durable" } else { "disposable" }
}

/// A cluster that accepts connections, and does so for as long as somebody keeps one of these.
#[derive(Debug)]
pub struct Cluster {
    /// The folder that PostgreSQL calls PGDATA.
    data: PathBuf,
    socket_dir: PathBuf,
    bin_dir: PathBuf,
    is_new: bool,
    /// The shared lock by which the supervisor sees that it is needed.
    _users: File,
}

impl Cluster {
    /// Where to connect as `role`. Names the port and turns TLS off, so that PGPORT and PGSSLMODE have no say.
    pub fn url(&self, role: &str, database: &str) -> String {
        let (role, database) = (percent_encoded(role.as_bytes()), percent_encoded(database.as_bytes()));
        let host = percent_encoded(self.socket_dir.as_os_str().as_bytes());
        format!("postgres://{role}@localhost:{PORT}/{database}?host={host}&sslmode=disable")
    }

    /// The folder of the socket. Only root and the server's own user can enter it.
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// The folder of the server programs; `pg_dump` and `psql` are there too if they are installed.
    pub fn bin_dir(&self) -> &Path {
        &self.bin_dir
    }

    /// Whether this start made the cluster.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Ends the server and every process of it by SIGKILL, as a machine does that runs out of memory, and says how many those were.
    /// Its supervisor starts it again. For whoever wants to see what survives that. Needs `/proc`.
    pub fn crash(&self) -> usize {
        server::crash(&self.data)
    }
}

/// Starts the cluster, or joins it if it runs already, and returns when it accepts connections. Blocks for up to a minute.
pub fn start(options: &Options) -> Result<Cluster, PgError> {
    let deadline = Instant::now() + START_LIMIT;
    let place = Place::open(&options.data_dir)?;
    // From here on a supervisor that is about to stop the server has either stopped it or will not.
    let users = place.lock_file("users.lock")?;
    until(deadline, &place, || taken(users.try_lock_shared()))?;
    // One starter at a time, so that one supervisor is started and not one for each.
    let starter = place.lock_file("starter.lock")?;
    until(deadline, &place, || taken(starter.try_lock()))?;

    let made_by = place.major()?;
    if made_by.is_some() && place.is_durable() != options.durable {
        return Err(PgError::OtherDurability {
            data_dir: options.data_dir.clone(),
            made: durability(place.is_durable()),
            asked: durability(options.durable),
        });
    }
    let programs = find::programs(options.bin_dir.as_deref(), place.remembered_bin_dir(), made_by)?;
    place.user.check_reaches(&programs.bin_dir)?;
    let started = wait_for_server(options, &place, &programs.bin_dir, deadline)?;
    Ok(Cluster {
        data: place.data(),
        socket_dir: place.socket_dir(),
        bin_dir: programs.bin_dir,
        is_new: started && made_by.is_none(),
        _users: users,
    })
}

/// The folder of the server programs that a new cluster would be made with: a way to ask whether there are any.
pub fn find_bin_dir(explicit: Option<&Path>) -> Result<PathBuf, PgError> {
    find::programs(explicit, None, None).map(|programs| programs.bin_dir)
}

/// Waits until there is a supervisor and its server answers, starting a supervisor where there is none. Says whether it
/// started one.
fn wait_for_server(options: &Options, place: &Place, bin_dir: &Path, deadline: Instant) -> Result<bool, PgError> {
    let mut supervisor: Option<Child> = None;
    until(deadline, place, || {
        let supervised = place.is_supervised()?;
        // A supervisor that was just killed holds its lock for a moment more, and its server still answers: look again.
        if supervised && place.answers() && place.is_supervised()? {
            return Ok(true);
        }
        match &mut supervisor {
            None if !supervised => supervisor = Some(spawn_supervisor(options, place, bin_dir)?),
            None => {}
            Some(child) => {
                if let Some(status) = child.try_wait().map_err(io_error("wait for the supervisor"))? {
                    let mut said = String::new();
                    if let Some(mut pipe) = child.stderr.take() {
                        let _ = pipe.read_to_string(&mut said);
                    }
                    if !status.success() {
                        return Err(PgError::Failed(match said.trim() {
                            "" => format!("the supervisor of PostgreSQL ended with {status}"),
                            said => said.to_owned(),
                        }));
                    }
                    // It left the work to another supervisor.
                    supervisor = None;
                }
            }
        }
        Ok(false)
    })?;
    let Some(mut child) = supervisor else { return Ok(false) };
    // Leaves no zombie behind if it ends before we do.
    thread::spawn(move || child.wait());
    Ok(true)
}

fn spawn_supervisor(options: &Options, place: &Place, bin_dir: &Path) -> Result<Child, PgError> {
    Command::new(&options.program)
        .arg(SUPERVISE)
        .args([place.root.as_os_str(), bin_dir.as_os_str()])
        .arg(options.linger.as_millis().to_string())
        .arg(durability(options.durable))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // Ctrl-C in a terminal must not stop the database before its users have finished.
        .process_group(0)
        .spawn()
        .map_err(io_error(format!("run {} as supervisor of PostgreSQL", options.program.display())))
}

/// Repeats `step` until it says true, or fails, or the time is up.
fn until(deadline: Instant, place: &Place, mut step: impl FnMut() -> Result<bool, PgError>) -> Result<(), PgError> {
    while !step()? {
        if Instant::now() >= deadline {
            return Err(PgError::Slow { limit: START_LIMIT.as_secs(), log: place.log_tail() });
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// Whether an attempt to lock succeeded; that another holds the lock is no error.
fn taken(attempt: Result<(), std::fs::TryLockError>) -> Result<bool, PgError> {
    match attempt {
        Ok(()) => Ok(true),
        Err(std::fs::TryLockError::WouldBlock) => Ok(false),
        Err(std::fs::TryLockError::Error(source)) => Err(PgError::Io { doing: "lock a file".to_owned(), source }),
    }
}

/// Where the private cluster lives unless told otherwise: `/var/lib/makegood` for root, else the user's data folder.
pub fn default_data_dir() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/makegood");
    }
    let data_home = env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    data_home
        .or_else(|| env::home_dir().map(|home| home.join(".local/share")))
        .unwrap_or_else(|| PathBuf::from("/var/lib"))
        .join("makegood")
}

/// The bytes as they may stand in any part of a URL.
fn percent_encoded(bytes: &[u8]) -> String {
    let mut encoded = String::new();
    for &byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => encoded.push(char::from(byte)),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::percent_encoded;

    #[test]
    fn a_path_fits_into_a_url() {
        assert_eq!(percent_encoded(b"/var/lib/my data/socket"), "%2Fvar%2Flib%2Fmy%20data%2Fsocket");
    }
}
