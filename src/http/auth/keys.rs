//! Public keys of an issuer, from a PEM or a JWK set. Only what fits the issuer's one algorithm is kept.

use std::collections::BTreeMap;

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use serde_json::Value;

use super::issuers::Algorithm;

/// The largest file or answer that is read, in bytes, and the most keys that are kept of it.
pub const LARGEST: usize = 256 * 1024;
const MOST_KEYS: usize = 100;

/// The shortest RSA modulus, in bytes: 2,048 bits.
const SHORTEST_MODULUS: usize = 256;

/// The keys of an issuer by their id. A key without an id stands under none.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    by_id: BTreeMap<Option<String>, DecodingKey>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("the keys cannot be read: {0}")]
    Unreadable(String),
    #[error("there is more than one key in a PEM file; give several keys as a JWK set (jwks_file)")]
    SeveralKeys,
    #[error("there is no {0} key for signatures in the JWK set")]
    NoneFits(&'static str),
    #[error("the key id {0:?} stands twice in the JWK set")]
    SameId(String),
    #[error("keys over {LARGEST} bytes, or more than {MOST_KEYS}, are not read")]
    TooLarge,
}

impl KeySet {
    /// One key, under the id that its tokens name.
    pub fn one(kid: Option<String>, key: DecodingKey) -> Self {
        KeySet { by_id: BTreeMap::from([(kid, key)]) }
    }

    /// A public key in PEM. It has no id, so it is held against every token of the issuer.
    pub fn from_pem(pem: &[u8], algorithm: Algorithm) -> Result<Self, KeyError> {
        if pem.len() > LARGEST {
            return Err(KeyError::TooLarge);
        }
        if String::from_utf8_lossy(pem).matches("-----BEGIN ").count() > 1 {
            return Err(KeyError::SeveralKeys);
        }
        let key = match algorithm {
            Algorithm::Es256 => DecodingKey::from_ec_pem(pem),
            Algorithm::EdDsa => DecodingKey::from_ed_pem(pem),
            Algorithm::Rs256 | Algorithm::Ps256 => DecodingKey::from_rsa_pem(pem),
        };
        key.map(|key| KeySet::one(None, key)).map_err(|error| KeyError::Unreadable(error.to_string()))
    }

    /// A JWK set. Keys for other uses and other algorithms are passed over; none that fits is an error.
    pub fn from_jwks(json: &[u8], algorithm: Algorithm) -> Result<Self, KeyError> {
        if json.len() > LARGEST {
            return Err(KeyError::TooLarge);
        }
        let set: Value = serde_json::from_slice(json).map_err(|error| KeyError::Unreadable(error.to_string()))?;
        let listed = set
            .get("keys")
            .and_then(Value::as_array)
            .ok_or_else(|| KeyError::Unreadable("it has no list \"keys\"".to_owned()))?;
        if listed.len() > MOST_KEYS {
            return Err(KeyError::TooLarge);
        }
        let mut by_id = BTreeMap::new();
        // One key that cannot be read does not spoil the others.
        for jwk in listed.iter().filter_map(|value| serde_json::from_value::<Jwk>(value.clone()).ok()) {
            let Some(key) = fitting(&jwk, algorithm) else { continue };
            if by_id.insert(jwk.common.key_id.clone(), key).is_some() {
                return Err(KeyError::SameId(jwk.common.key_id.unwrap_or_default()));
            }
        }
        if by_id.is_empty() { Err(KeyError::NoneFits(algorithm.name())) } else { Ok(KeySet { by_id }) }
    }

    /// The key that a token means by `kid`. One that names none means the only key; a key without an id, when it is the
    /// only one, is meant by any.
    pub fn find(&self, kid: Option<&str>) -> Option<&DecodingKey> {
        let only = match self.by_id.iter().next() {
            Some(entry) if self.by_id.len() == 1 => Some(entry),
            Some(_) | None => None,
        };
        match (kid, only) {
            (None, Some((_, key))) | (Some(_), Some((None, key))) => Some(key),
            (None, None) => None,
            (Some(kid), Some((Some(_), _)) | None) => self.by_id.get(&Some(kid.to_owned())),
        }
    }
}

/// The key, if it is for verifying signatures of `algorithm`.
fn fitting(jwk: &Jwk, algorithm: Algorithm) -> Option<DecodingKey> {
    let for_signatures = jwk.common.public_key_use.as_ref().is_none_or(|use_| *use_ == PublicKeyUse::Signature)
        && jwk.common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    let for_algorithm = jwk.common.key_algorithm.is_none_or(|named| named.to_string() == algorithm.name());
    let right_kind = match (&jwk.algorithm, algorithm) {
        (AlgorithmParameters::EllipticCurve(key), Algorithm::Es256) => key.curve == EllipticCurve::P256,
        (AlgorithmParameters::OctetKeyPair(key), Algorithm::EdDsa) => key.curve == EllipticCurve::Ed25519,
        // Base64 carries three bytes in four characters.
        (AlgorithmParameters::RSA(key), Algorithm::Rs256 | Algorithm::Ps256) => {
            key.n.len().saturating_mul(3) / 4 >= SHORTEST_MODULUS
        }
        _ => false,
    };
    if for_signatures && for_algorithm && right_kind { DecodingKey::from_jwk(jwk).ok() } else { None }
}
