//! Files of checkpoints: lines are only ever added, each is on disk before anybody is told of it, and one process adds at a time.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The longest line of a checkpoint, in bytes.
const LONGEST: u64 = 1024 * 1024;

/// A file of checkpoints that nobody else adds to while this is held. What it does blocks.
#[derive(Debug)]
pub struct CheckpointFile {
    file: File,
    path: PathBuf,
}

impl CheckpointFile {
    /// Opens the file, makes it where there is none, and waits until nobody else adds to it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let folder = folder_of(path);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let is_new = !path.try_exists()?;
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o644).open(path)?;
        file.lock()?;
        if is_new {
            File::open(&folder)?.sync_all()?;
        }
        let mut opened = CheckpointFile { file, path: path.to_path_buf() };
        opened.drop_torn_line()?;
        Ok(opened)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last line; none where the file is empty.
    pub fn last_line(&mut self) -> io::Result<Option<String>> {
        let tail = self.tail()?;
        let whole = tail.strip_suffix(b"\n").unwrap_or(&tail);
        let line = whole.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        if line.is_empty() {
            return Ok(None);
        }
        let text = std::str::from_utf8(line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(Some(text.to_owned()))
    }

    /// Adds a line. When this returns, it is on disk.
    pub fn append(&mut self, line: &str) -> io::Result<()> {
        self.file.write_all(format!("{line}\n").as_bytes())?;
        self.file.sync_all()
    }

    /// What was being written when the power failed is no checkpoint: nobody was told of it.
    fn drop_torn_line(&mut self) -> io::Result<()> {
        let tail = self.tail()?;
        if tail.is_empty() || tail.ends_with(b"\n") {
            return Ok(());
        }
        let kept = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let torn = u64::try_from(tail.len() - kept).unwrap_or(0);
        let length = self.file.metadata()?.len().saturating_sub(torn);
        self.file.set_len(length)?;
        self.file.sync_all()
    }

    fn tail(&mut self) -> io::Result<Vec<u8>> {
        let length = self.file.metadata()?.len();
        self.file.seek(SeekFrom::Start(length.saturating_sub(LONGEST)))?;
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Writes a file that may be read by everybody, such as a public key, unless it says the same already.
pub fn publish(path: &Path, text: &str) -> io::Result<()> {
    if std::fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder_of(path))?;
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_path_buf(),
        Some(_) | None => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_and_one_that_was_torn_is_not() {
        let folder = std::env::temp_dir().join(format!("makegood-checkpoints-{}", uuid::Uuid::now_v7()));
        let path = folder.join("checkpoints-1.ndjson");
        let mut file = CheckpointFile::open(&path).unwrap();
        assert_eq!(file.last_line().unwrap(), None);
        file.append("one").unwrap();
        file.append("two").unwrap();
        assert_eq!(file.last_line().unwrap().as_deref(), Some("two"));
        drop(file);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"thr").unwrap();
        let mut file = CheckpointFile::open(&path).unwrap();
        assert_eq!(file.last_line().unwrap().as_deref(), Some("two"));
        file.append("three").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\nthree\n");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
