//! The data folder: who owns it, what is in it, and the locks and the socket through which processes meet.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown, lchown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{PgError, io_error, taken};

/// The superuser of a cluster.
pub(super) const SUPERUSER: &str = "postgres";
/// Only a part of the socket's name: nothing listens on TCP.
pub(super) const PORT: u16 = 5432;
/// What fits into a socket's address on every system that we know: macOS has room for 103 bytes, Linux for 107.
const LONGEST_SOCKET: usize = 103;

/// The user that the server runs as.
#[derive(Clone, Copy, Debug)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Whether that is another than we are: PostgreSQL refuses root.
    pub(super) switch: bool,
}

/// A data folder that is ours to use.
#[derive(Debug)]
pub(super) struct Place {
    /// The folder under its real name, so that all who use it agree on where its socket is.
    pub(super) root: PathBuf,
    pub(super) user: User,
}

impl User {
    /// Ourselves; for root the owner of what is there already, else one of the usual names.
    fn for_folder(dir: &Path) -> Result<User, PgError> {
        let ourselves = rustix::process::geteuid();
        if !ourselves.is_root() {
            let gid = rustix::process::getegid().as_raw();
            return Ok(User { uid: ourselves.as_raw(), gid, switch: false });
        }
        for path in [dir.join("data"), dir.to_path_buf()] {
            if let Ok(found) = fs::metadata(path)
                && found.uid() != 0
            {
                let uid = found.uid();
                // The folder's own group may be root's.
                let gid = looked_up("-g", &uid.to_string()).unwrap_or(if found.gid() == 0 { uid } else { found.gid() });
                return Ok(User { uid, gid, switch: true });
            }
        }
        ["postgres", "_postgres", "nobody"]
            .iter()
            .find_map(|name| Some(User { uid: looked_up("-u", name)?, gid: looked_up("-g", name)?, switch: true }))
            .ok_or(PgError::NoUser)
    }

    /// Refuses a folder that the server's user cannot get to, if that is not us.
    pub(super) fn check_reaches(&self, wanted: &Path) -> Result<(), PgError> {
        if !self.switch {
            return Ok(());
        }
        for folder in wanted.ancestors() {
            let Ok(found) = fs::metadata(folder) else { continue };
            let may_enter = match (found.uid() == self.uid, found.gid() == self.gid) {
                (true, _) => 0o100,
                (false, true) => 0o010,
                (false, false) => 0o001,
            };
            if found.mode() & may_enter == 0 {
                let (blocked, wanted) = (folder.to_path_buf(), wanted.to_path_buf());
                return Err(PgError::Unreachable { uid: self.uid, blocked, wanted });
            }
        }
        Ok(())
    }

    /// Makes a folder that only this user (and root) can enter, unless something has its name already. Whoever may write to
    /// the folder around it gains nothing by putting something in its place: neither step follows a link.
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        // Root may have made it a moment ago in another process, or been killed here: so it is given away by whoever finds
        // it between the two steps.
        let found = fs::symlink_metadata(path)?;
        let is_between = found.is_dir() && found.uid() == 0 && found.mode() & 0o777 == 0o700;
        if self.switch && is_between && fs::read_dir(path)?.next().is_none() {
            lchown(path, Some(self.uid), Some(self.gid))?;
        }
        Ok(())
    }

    /// Makes a file that is not there yet.
    fn make_file(&self, path: &Path) -> io::Result<File> {
        let file = OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(path)?;
        if self.switch {
            fchown(&file, Some(self.uid), Some(self.gid))?;
        }
        Ok(file)
    }
}

/// What `id` says of a user, for the standard library cannot look one up.
fn looked_up(what: &str, user: &str) -> Option<u32> {
    let said = Command::new("id").args([what, "--", user]).output().ok()?;
    String::from_utf8(said.stdout).ok()?.trim().parse().ok()
}

impl Place {
    /// Makes the folder if it is missing, and refuses one that the server could not work in.
    pub(super) fn open(data_dir: &Path) -> Result<Place, PgError> {
        let failed = || io_error(format!("make the data folder {}", data_dir.display()));
        let wanted = std::path::absolute(data_dir).map_err(failed())?;
        let user = User::for_folder(&wanted)?;
        if let Some(parent) = wanted.parent() {
            user.check_reaches(parent)?;
            fs::create_dir_all(parent).map_err(failed())?;
        }
        user.make_dir(&wanted).map_err(failed())?;
        let root = wanted.canonicalize().map_err(failed())?;
        let owner = fs::metadata(&root).map_err(failed())?.uid();
        if !user.switch && owner != user.uid {
            return Err(PgError::NotOurs { path: root, owner });
        }
        user.check_reaches(&root)?;
        Ok(Place { root, user })
    }

    /// The folder that PostgreSQL calls PGDATA.
    pub(super) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.root.join("server.log")
    }

    /// The major version that made the cluster; none if it is not made yet.
    pub(super) fn major(&self) -> Result<Option<u32>, PgError> {
        let path = self.data().join("PG_VERSION");
        match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map(Some).map_err(|_| {
                PgError::Failed(format!("{} says {:?}, which is no version we know", path.display(), text.trim()))
            }),
            Err(_) if !self.data().exists() => Ok(None),
            Err(error) => Err(io_error(format!("read {}", path.display()))(error)),
        }
    }

    /// Whether the cluster was made to keep what is committed.
    pub(super) fn is_durable(&self) -> bool {
        !self.root.join("disposable").exists()
    }

    pub(super) fn remembered_bin_dir(&self) -> Option<PathBuf> {
        fs::read(self.root.join("bin-dir")).ok().map(|bytes| PathBuf::from(std::ffi::OsString::from_vec(bytes)))
    }

    /// Replaces a small file whole, never half.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> Result<(), PgError> {
        let failed = || io_error(format!("write {name} in {}", self.root.display()));
        let draft = self.root.join(format!("{name}.new-{}", std::process::id()));
        let _ = fs::remove_file(&draft);
        let mut file = self.user.make_file(&draft).map_err(failed())?;
        file.write_all(content).and_then(|()| file.sync_all()).map_err(failed())?;
        fs::rename(&draft, self.root.join(name)).map_err(failed())
    }

    /// A file that is there to be locked; nothing is ever written to it.
    pub(super) fn lock_file(&self, name: &str) -> Result<File, PgError> {
        let path = self.root.join(name);
        let opened = match self.user.make_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                OpenOptions::new().read(true).write(true).open(&path)
            }
            made => made,
        };
        opened.map_err(io_error(format!("open {}", path.display())))
    }

    /// Whether a supervisor holds its lock.
    pub(super) fn is_supervised(&self) -> Result<bool, PgError> {
        Ok(!taken(self.lock_file("supervisor.lock")?.try_lock_shared())?)
    }

    /// An empty folder for a new cluster, and what it becomes.
    pub(super) fn make_draft(&self) -> Result<PathBuf, PgError> {
        let path = self.root.join(format!("data.new-{}", std::process::id()));
        self.user.make_dir(&path).map_err(io_error(format!("make {}", path.display())))?;
        Ok(path)
    }

    /// Removes clusters that were never finished. An `initdb` whose supervisor was killed may still be writing to one; it
    /// then fails, and what it leaves is removed the next time.
    pub(super) fn remove_drafts(&self) {
        let Ok(entries) = fs::read_dir(&self.root) else { return };
        for entry in entries.filter_map(Result::ok) {
            if entry.file_name().as_bytes().starts_with(b"data.new") {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Starts a log, and keeps the one before.
    pub(super) fn make_log(&self) -> Result<File, PgError> {
        let _ = fs::rename(self.log(), self.root.join("server.log.old"));
        self.user.make_file(&self.log()).map_err(io_error(format!("make {}", self.log().display())))
    }

    /// The last lines of the log.
    pub(super) fn log_tail(&self) -> String {
        let text = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    /// The folder of the socket: in the data folder, or, where that makes too long a name, under `/tmp`.
    pub(super) fn socket_dir(&self) -> PathBuf {
        let inside = self.root.join("socket");
        if socket_in(&inside).as_os_str().len() <= LONGEST_SOCKET {
            return inside;
        }
        // Fowler, Noll and Vo's hash: every build of this program must come to the same name.
        let hash = self.root.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        PathBuf::from(format!("/tmp/pg-{hash:016x}"))
    }

    /// Makes the folder of the socket, or refuses what stands in its place: whoever could enter the folder could be anybody
    /// in the database.
    pub(super) fn make_socket_dir(&self) -> Result<(), PgError> {
        let path = self.socket_dir();
        self.user.make_dir(&path).map_err(io_error(format!("make {}", path.display())))?;
        if self.owns_socket_dir() { Ok(()) } else { Err(PgError::UnsafeSocketFolder { path, uid: self.user.uid }) }
    }

    /// Removes the socket of a server that is gone. Like `postmaster.pid`, the file beside it names a process, and while that
    /// is a zombie no new server starts.
    pub(super) fn remove_socket(&self) {
        let socket = socket_in(&self.socket_dir());
        let _ = fs::remove_file(&socket);
        let _ = fs::remove_file(socket.with_added_extension("lock"));
    }

    /// Takes a folder under `/tmp` away again.
    pub(super) fn remove_socket_dir(&self) {
        if !self.socket_dir().starts_with(&self.root) {
            let _ = fs::remove_dir(self.socket_dir());
        }
    }

    fn owns_socket_dir(&self) -> bool {
        fs::symlink_metadata(self.socket_dir())
            .is_ok_and(|found| found.is_dir() && found.uid() == self.user.uid && found.mode() & 0o077 == 0)
    }

    /// Whether the server accepts connections: it listens before it has recovered from a crash, so a log-in is tried.
    pub(super) fn answers(&self) -> bool {
        self.owns_socket_dir() && log_in(&socket_in(&self.socket_dir())).is_ok()
    }
}

fn socket_in(dir: &Path) -> PathBuf {
    dir.join(format!(".s.PGSQL.{PORT}"))
}

/// Logs in and out again, by the protocol's version 3: after our first message the server says something of type `Z` when
/// it is ready for a query, and of type `E` when it is not going to be.
fn log_in(socket: &Path) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    let asked = format!("\0\x03\0\0user\0{SUPERUSER}\0database\0{SUPERUSER}\0\0");
    let length = u32::try_from(asked.len() + 4).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), asked.as_bytes()].concat())?;
    loop {
        let mut head = [0_u8; 5];
        stream.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        match kind {
            b'Z' => return stream.write_all(b"X\0\0\0\x04"),
            b'E' => return Err(io::ErrorKind::ConnectionRefused.into()),
            _ => {
                let rest = u64::from(u32::from_be_bytes(length)).saturating_sub(4);
                io::copy(&mut (&mut stream).take(rest), &mut io::sink())?;
            }
        }
    }
}
