//! Keys and tokens for tests, made anew in each run. Shared with `tests/auth.rs`, so nothing of the crate is named here.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

/// A key pair and its public half as a JWK.
pub struct TestKey {
    pub algorithm: Algorithm,
    signing: EncodingKey,
    jwk: Value,
    /// The public key in PEM.
    pub pem: String,
}

/// The DER of a public key's kind, up to the key itself (RFC 5480 and RFC 8410).
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const ED25519_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn pem(kind: &str, der: &[u8]) -> String {
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", STANDARD.encode(der))
}

impl TestKey {
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::EdDSA => TestKey::ed25519(),
            Algorithm::ES256 => TestKey::p256(),
            _ => TestKey::rsa(algorithm),
        }
    }

    fn ed25519() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let public = pair.public_key().as_ref();
        TestKey {
            algorithm: Algorithm::EdDSA,
            signing: EncodingKey::from_ed_der(pkcs8.as_ref()),
            jwk: json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(public) }),
            pem: pem("PUBLIC KEY", &[&ED25519_PREFIX, public].concat()),
        }
    }

    fn p256() -> Self {
        let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(kind, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(kind, pkcs8.as_ref()).unwrap();
        let public = pair.public_key().as_ref();
        let (x, y) = public[1..].split_at(32);
        TestKey {
            algorithm: Algorithm::ES256,
            signing: EncodingKey::from_ec_der(pkcs8.as_ref()),
            jwk: json!({ "kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y) }),
            pem: pem("PUBLIC KEY", &[&P256_PREFIX, public].concat()),
        }
    }

    fn rsa(algorithm: Algorithm) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let pkcs8 = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der>::as_der(&pair).unwrap();
        let public = pair.public_key();
        let n = base64url(public.modulus().big_endian_without_leading_zero());
        let e = base64url(public.exponent().big_endian_without_leading_zero());
        TestKey {
            algorithm,
            signing: EncodingKey::from_rsa_pem(pem("PRIVATE KEY", pkcs8.as_ref()).as_bytes()).unwrap(),
            jwk: json!({ "kty": "RSA", "n": n, "e": e }),
            pem: pem("RSA PUBLIC KEY", public.as_ref()),
        }
    }

    /// The public key as a JWK of the id `kid`.
    pub fn jwk(&self, kid: &str) -> Value {
        let mut jwk = self.jwk.clone();
        jwk["kid"] = json!(kid);
        jwk
    }

    /// A token over a header and claims that may be any text at all.
    pub fn sign(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", base64url(header), base64url(claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.signing, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }
}

/// A token under HMAC with a secret that is none.
pub fn sign_hs256(secret: &[u8], header: &str, claims: &str) -> String {
    let message = format!("{}.{}", base64url(header), base64url(claims));
    let key = EncodingKey::from_secret(secret);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

/// A JWK set of keys by their ids.
pub fn jwks(keys: &[(&str, &TestKey)]) -> String {
    json!({ "keys": keys.iter().map(|(kid, key)| key.jwk(kid)).collect::<Vec<_>>() }).to_string()
}
