//! Tokens that makegood signs itself, for machines: a JWT whose `jti` is registered, and can be taken back.

use std::fmt;
use std::path::Path;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use jsonwebtoken::{DecodingKey, EncodingKey, Header, encode};
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::token::Rules;
use crate::domain::time::{Instant, SECOND};
use crate::flows::issue_token::{LONGEST, MACHINE_ROLES};
use crate::store::key_file::{self, KeyFileError};
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
    #[error(transparent)]
    File(#[from] KeyFileError),
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
        let pkcs8 = key_file::load_or_create(dir, FILE)?;
        MachineKey::from_pkcs8(&pkcs8).ok_or_else(|| KeyFileError::NotAKey(dir.join(FILE)).into())
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
