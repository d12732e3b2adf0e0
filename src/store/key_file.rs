//! Keys that makegood signs with: an Ed25519 key in a file of its own that only its owner can read.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} can be read by others; make it 0600, and make a new key if somebody may have read it", .0.display())]
    Open(PathBuf),
    #[error("{} holds no Ed25519 key in PKCS #8", .0.display())]
    NotAKey(PathBuf),
    #[error("the machine has no randomness to make a key from")]
    NoRandomness,
}

/// Reads the key `name` in `dir` as PKCS #8, or makes one there that only its owner can read. Two processes that start at once
/// on one folder get one key.
pub fn load_or_create(dir: &Path, name: &str) -> Result<Vec<u8>, KeyFileError> {
    let path = dir.join(name);
    let at = |source| KeyFileError::File { path: path.clone(), source };
    match fs::exists(&path) {
        Ok(true) => {}
        Ok(false) => create(dir, name, &path)?,
        Err(error) => return Err(at(error)),
    }
    let mode = fs::metadata(&path).map_err(at)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Open(path));
    }
    let pem = fs::read_to_string(&path).map_err(at)?;
    let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
    STANDARD.decode(base64).map_err(|_| KeyFileError::NotAKey(path))
}

/// Writes a new key under a name of its own first, and links it into place: whoever comes second keeps the first one's.
fn create(dir: &Path, name: &str, path: &Path) -> Result<(), KeyFileError> {
    let at = |source| KeyFileError::File { path: path.to_path_buf(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at)?;
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyFileError::NoRandomness)?;
    let draft = dir.join(format!("{name}.{}", Uuid::now_v7()));
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).and_then(|mut file| {
        let base64 = STANDARD.encode(pkcs8.as_ref());
        write!(file, "-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n")?;
        file.sync_all()
    });
    let linked = written.and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    let removed = fs::remove_file(&draft);
    linked.and(removed).map_err(at)
}
