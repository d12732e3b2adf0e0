//! Tokens that makegood signs itself, for machines: a JWT whose `jti` is registered, and can be taken back.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{DecodingKey, EncodingKey, Header, encode};
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::token::Rules;
use crate::domain::time::{Instant, SECOND};
use crate::flows::issue_token::{LONGEST, MACHINE_ROLES};
use crate::store::machine_tokens::MachineToken;

pub use crate::store::machine_tokens::ISSUER;

/// The key's file, in the data folder.
const FILE: &str = "machine-key.pem";

/// What tokens of machines may say.
pub fn rules() -> Rules {
    Rules {
        name: ISSUER.to_owned(),
        issuer: ISSUER.to_owned(),
        audience: ISSUER.to_owned(),
        roles: MACHINE_ROLES.into_iter().collect(),
        role_claim: "roles".to_owned(),
        account_claim: "accounts".to_owned(),
        name_claim: "name".to_owned(),
        longest: LONGEST,
        machines: true,
    }
}

/// The Ed25519 key that signs the tokens of machines. Every server of one operator has the same.
pub struct MachineKey {
    signing: EncodingKey,
    public: Vec<u8>,
    kid: String,
}

impl fmt::Debug for MachineKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MachineKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum MachineKeyError {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} can be read by others; make it 0600, and make a new key if somebody may have read it", .0.display())]
    Open(PathBuf),
    #[error("{} holds no Ed25519 key in PKCS #8", .0.display())]
    NotAKey(PathBuf),
    #[error("the machine has no randomness to make a key from")]
    NoRandomness,
    #[error("the token cannot be signed: {0}")]
    Signing(#[from] jsonwebtoken::errors::Error),
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    jti: Uuid,
    iat: i64,
    exp: i64,
    roles: [&'a str; 1],
    source: &'a str,
    name: &'a str,
}

impl MachineKey {
    /// Reads the key in `dir`, or makes one there that only its owner can read. Two servers that start at once on one
    /// folder get one key.
    pub fn load_or_create(dir: &Path) -> Result<Self, MachineKeyError> {
        let path = dir.join(FILE);
        let at = |source| MachineKeyError::File { path: path.clone(), source };
        match fs::exists(&path) {
            Ok(true) => {}
            Ok(false) => create(dir, &path)?,
            Err(error) => return Err(at(error)),
        }
        let mode = fs::metadata(&path).map_err(at)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(MachineKeyError::Open(path));
        }
        let pem = fs::read_to_string(&path).map_err(at)?;
        let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
        let pkcs8 = STANDARD.decode(base64).map_err(|_| MachineKeyError::NotAKey(path.clone()))?;
        MachineKey::from_pkcs8(&pkcs8).ok_or(MachineKeyError::NotAKey(path))
    }

    fn from_pkcs8(pkcs8: &[u8]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).ok()?;
        let public = pair.public_key().as_ref().to_vec();
        let digest = Sha256::digest(&public);
        let kid = hex::encode(digest.get(..8)?);
        Some(MachineKey { signing: EncodingKey::from_ed_der(pkcs8), public, kid })
    }

    /// The key's id: the first eight bytes of the SHA-256 of the public key.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    pub fn verifying_key(&self) -> DecodingKey {
        DecodingKey::from_ed_der(&self.public)
    }

    /// Signs the token that was registered.
    pub fn mint(&self, token: &MachineToken) -> Result<String, MachineKeyError> {
        let mut header = Header::new(jsonwebtoken::Algorithm::EdDSA);
        header.kid = Some(self.kid.clone());
        let claims = Claims {
            iss: ISSUER,
            aud: ISSUER,
            sub: &token.subject,
            jti: token.jti,
            iat: seconds(token.created_at),
            exp: seconds(token.expires_at),
            roles: [token.role.name()],
            source: &token.source,
            name: &token.source,
        };
        Ok(encode(&header, &claims, &self.signing)?)
    }
}

fn seconds(at: Instant) -> i64 {
    at.micros() / SECOND
}

/// Writes a new key under a name of its own first, and links it into place: whoever comes second keeps the first one's.
fn create(dir: &Path, path: &Path) -> Result<(), MachineKeyError> {
    let at = |source| MachineKeyError::File { path: path.to_path_buf(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at)?;
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| MachineKeyError::NoRandomness)?;
    let draft = dir.join(format!("{FILE}.{}", Uuid::now_v7()));
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
