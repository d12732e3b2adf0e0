//! Deliveries that came while the database was away: files, on disk before the monitor is told that we have them.
//!
//! One file a delivery, named by when it came: a line of JSON about it, then its bytes. It is written under another name,
//! forced to disk and only then given its own, so that what carries its name is whole whenever the power fails. Files that
//! can never be taken are kept in `refused`, each with the reason beside it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::domain::time::Instant;

/// How many bytes a spool holds unless told otherwise: 1 GiB.
pub const LIMIT: u64 = 1024 * 1024 * 1024;

const FORMAT: &str = "makegood.spool/1";
const WAITING: &str = "delivery";
const DRAFT: &str = "draft";

/// A delivery as the door took it. Its token's signature held; whether the token was taken back is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub about: About,
    pub raw: Vec<u8>,
}

/// What is known of a delivery beside its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The source that the token names.
    pub source: String,
    /// What the token says in `sub`, and its id.
    pub subject: String,
    pub jti: Uuid,
    /// How the monitor speaks, as the address said, and the body's content type.
    pub kind: String,
    pub content_type: String,
    pub received_at: Instant,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    format: String,
    sha256: String,
    about: About,
}

/// Why a delivery is not in the spool, or cannot be had from it.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("the spool holds its limit of {0} bytes: bring the database back, or give it more with --spool-limit")]
    Full(u64),
    #[error("the spool cannot be used: {0}")]
    Io(#[from] io::Error),
    #[error("the file in the spool is damaged: {0}")]
    Damaged(&'static str),
}

/// A folder of deliveries, for this process and others beside it.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    limit: u64,
    /// How many bytes wait, as far as this process knows: counted anew whenever the folder is read.
    used: AtomicU64,
}

impl Spool {
    /// Opens the folder, and makes it where there is none. It may hold `limit` bytes.
    pub fn open(folder: &Path, limit: u64) -> Result<Self, SpoolError> {
        for folder in [folder.to_path_buf(), folder.join("refused")] {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let spool = Spool { folder: folder.to_path_buf(), limit, used: AtomicU64::new(0) };
        // What was being written when the power failed: nobody was told that we have it.
        for draft in spool.files(DRAFT)? {
            ignore_missing(fs::remove_file(draft))?;
        }
        spool.waiting()?;
        Ok(spool)
    }

    /// Keeps a delivery. When this returns, it is on disk. Blocks.
    pub fn keep(&self, kept: &Kept) -> Result<(), SpoolError> {
        let line = Line {
            format: FORMAT.to_owned(),
            sha256: hex::encode(Sha256::digest(&kept.raw)),
            about: kept.about.clone(),
        };
        let mut bytes = serde_json::to_vec(&line).map_err(io::Error::from)?;
        bytes.push(b'\n');
        bytes.extend_from_slice(&kept.raw);
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let used = self.used.fetch_add(size, Ordering::SeqCst);
        let written = if used.saturating_add(size) > self.limit {
            Err(SpoolError::Full(self.limit))
        } else {
            let name = format!("{:020}-{}", kept.about.received_at.micros(), Uuid::now_v7().simple());
            self.write(&name, &bytes).map_err(SpoolError::Io)
        };
        if written.is_err() {
            self.used.fetch_sub(size, Ordering::SeqCst);
        }
        written
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let draft = self.folder.join(format!("{name}.{DRAFT}"));
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        let named = written.and_then(|()| fs::rename(&draft, self.folder.join(format!("{name}.{WAITING}"))));
        if named.is_err() {
            let _ = fs::remove_file(&draft);
        }
        named?;
        sync(&self.folder)
    }

    /// Whether nothing waits, as far as this process knows.
    pub fn is_empty(&self) -> bool {
        self.used.load(Ordering::SeqCst) == 0
    }

    /// The files that wait, in the order in which they came.
    pub fn waiting(&self) -> Result<Vec<PathBuf>, SpoolError> {
        let files = self.files(WAITING)?;
        let sizes = files.iter().map(|file| fs::metadata(file).map_or(0, |about| about.len()));
        self.used.store(sizes.sum(), Ordering::SeqCst);
        Ok(files)
    }

    fn files(&self, kind: &str) -> io::Result<Vec<PathBuf>> {
        let mut files = fs::read_dir(&self.folder)?
            .map(|entry| entry.map(|entry| entry.path()))
            .filter(|path| path.as_ref().map_or(true, |path| path.extension().is_some_and(|end| end == kind)))
            .collect::<io::Result<Vec<PathBuf>>>()?;
        files.sort();
        Ok(files)
    }

    /// Reads one file. None where another process was faster. Blocks.
    pub fn read(&self, file: &Path) -> Result<Option<Kept>, SpoolError> {
        let bytes = match fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let end =
            bytes.iter().position(|byte| *byte == b'\n').ok_or(SpoolError::Damaged("its first line has no end"))?;
        let (line, raw) = bytes.split_at(end);
        let raw = raw.get(1..).unwrap_or_default();
        let line: Line =
            serde_json::from_slice(line).map_err(|_| SpoolError::Damaged("its first line cannot be read"))?;
        if line.format != FORMAT {
            return Err(SpoolError::Damaged("it is of another format"));
        }
        if line.sha256 != hex::encode(Sha256::digest(raw)) {
            return Err(SpoolError::Damaged("its bytes are not those that were written"));
        }
        Ok(Some(Kept { about: line.about, raw: raw.to_vec() }))
    }

    /// The delivery is in the database: its file goes. Blocks.
    pub fn done(&self, file: &Path) -> Result<(), SpoolError> {
        Ok(ignore_missing(fs::remove_file(file))?)
    }

    /// The delivery can never be taken: its file is kept aside, with `why` beside it. Blocks.
    pub fn refuse(&self, file: &Path, why: &str) -> Result<(), SpoolError> {
        let Some(name) = file.file_name() else { return Ok(()) };
        let refused = self.folder.join("refused");
        let mut reason = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(refused.join(name).with_extension("why"))?;
        writeln!(reason, "{why}")?;
        reason.sync_all()?;
        ignore_missing(fs::rename(file, refused.join(name)))?;
        sync(&refused)?;
        Ok(sync(&self.folder)?)
    }
}

/// Forces the names in a folder to disk.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Another process beside us may have done the same.
fn ignore_missing(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            Scratch(std::env::temp_dir().join(format!("makegood-spool-{}", Uuid::now_v7())))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn kept(second: i64, raw: &[u8]) -> Kept {
        let about = About {
            source: "prometheus-north".to_owned(),
            subject: "ingest:prometheus-north".to_owned(),
            jti: Uuid::nil(),
            kind: "alertmanager".to_owned(),
            content_type: "application/json".to_owned(),
            received_at: Instant::from_micros(1_790_000_000_000_000 + second * 1_000_000).unwrap(),
        };
        Kept { about, raw: raw.to_vec() }
    }

    fn all(spool: &Spool) -> Vec<Kept> {
        spool.waiting().unwrap().iter().map(|file| spool.read(file).unwrap().unwrap()).collect()
    }

    #[test]
    fn what_is_kept_comes_back_whole_in_the_order_in_which_it_came_also_after_a_restart() {
        let scratch = Scratch::new();
        let spool = Spool::open(&scratch.0, LIMIT).unwrap();
        let (first, second) = (kept(1, b"{\"a\":\n1}\n"), kept(2, b""));
        spool.keep(&second).unwrap();
        spool.keep(&first).unwrap();
        spool.keep(&first).unwrap();
        assert_eq!(all(&spool), [first.clone(), first.clone(), second.clone()]);
        // A draft is what nobody was told of.
        fs::write(scratch.0.join("00000000000000000001-a.draft"), "{").unwrap();
        let again = Spool::open(&scratch.0, LIMIT).unwrap();
        assert_eq!(all(&again), [first.clone(), first, second]);
        assert!(!scratch.0.join("00000000000000000001-a.draft").exists());
        for file in again.waiting().unwrap() {
            again.done(&file).unwrap();
            again.done(&file).unwrap();
            assert_eq!(again.read(&file).unwrap(), None);
        }
        assert_eq!(all(&again), []);
    }

    #[test]
    fn it_holds_no_more_than_its_limit_and_room_comes_back() {
        let scratch = Scratch::new();
        let spool = Spool::open(&scratch.0, 2_000).unwrap();
        spool.keep(&kept(1, &[b'x'; 1_000])).unwrap();
        let full = spool.keep(&kept(2, &[b'x'; 1_000])).unwrap_err();
        assert!(matches!(full, SpoolError::Full(2_000)), "{full}");
        assert!(
            Spool::open(&scratch.0, 2_000).unwrap().keep(&kept(2, &[b'x'; 1_000])).is_err(),
            "counted at the start"
        );
        spool.done(&spool.waiting().unwrap()[0]).unwrap();
        assert!(spool.waiting().unwrap().is_empty());
        spool.keep(&kept(2, &[b'x'; 1_000])).unwrap();
    }

    #[test]
    fn a_damaged_file_says_so_and_a_refused_one_is_kept_with_its_reason() {
        let scratch = Scratch::new();
        let spool = Spool::open(&scratch.0, LIMIT).unwrap();
        spool.keep(&kept(1, b"{}")).unwrap();
        let file = spool.waiting().unwrap().remove(0);
        let whole = fs::read(&file).unwrap();
        for damaged in [&whole[..whole.len() - 1], b"", b"no line", b"{}\n{}"] {
            fs::write(&file, damaged).unwrap();
            assert!(matches!(spool.read(&file), Err(SpoolError::Damaged(_))));
        }
        fs::write(&file, &whole).unwrap();
        spool.refuse(&file, "its token was taken back").unwrap();
        assert!(spool.waiting().unwrap().is_empty());
        let refused = scratch.0.join("refused").join(file.file_name().unwrap());
        assert_eq!(fs::read(&refused).unwrap(), whole);
        assert_eq!(fs::read_to_string(refused.with_extension("why")).unwrap(), "its token was taken back\n");
    }
}
