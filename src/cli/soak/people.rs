//! The people of a soak, and the key that signs their tokens: an issuer that exists for as long as the soak does.

use std::path::{Path, PathBuf};

use anyhow::Context;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;

use crate::clock::Clock;
use crate::domain::actor::{Actor, Role};
use crate::domain::time::SECOND;

const STAFF: &str = "soak-staff";
const CUSTOMERS: &str = "soak-customers";
const AUDIENCE: &str = "makegood-soak";
/// How long a token lives, in seconds.
const LIFE: i64 = 600;

/// Somebody of the staff.
pub fn staff(name: &str, role: Role) -> Actor {
    Actor {
        issuer: STAFF.to_owned(),
        subject: name.to_owned(),
        name: name.to_owned(),
        roles: [role].into(),
        accounts: Vec::new(),
        source: None,
    }
}

/// The customer who speaks for an account.
pub fn customer(account: &str) -> Actor {
    Actor {
        issuer: CUSTOMERS.to_owned(),
        accounts: vec![account.to_owned()],
        ..staff(&format!("customer-{account}"), Role::Customer)
    }
}

/// Signs tokens.
pub struct Issuer {
    signing: EncodingKey,
    clock: Clock,
    /// What `makegood serve --issuers` reads.
    pub file: PathBuf,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Issuer")
    }
}

impl Issuer {
    /// Makes a key, and writes its public half and the servers' settings into `folder`.
    pub fn new(folder: &Path) -> anyhow::Result<Self> {
        let pkcs8 =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| anyhow::anyhow!("no randomness"))?;
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).map_err(|_| anyhow::anyhow!("no key"))?;
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        let jwks = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "soak", "x": x }] });
        let (keys, file) = (folder.join("soak-jwks.json"), folder.join("soak-issuers.toml"));
        let issuer = |name: &str, roles: &[Role]| {
            let roles: Vec<&str> = roles.iter().map(|role| role.name()).collect();
            format!(
                "[[issuer]]\nname = \"{name}\"\nissuer = \"https://{name}.example\"\naudience = \"{AUDIENCE}\"\nroles = {roles:?}\n\
                 algorithm = \"EdDSA\"\nkeys = {{ jwks_file = {keys:?} }}\n"
            )
        };
        let of_staff: Vec<Role> = Role::ALL.into_iter().filter(|role| *role != Role::Customer).collect();
        let settings = issuer(STAFF, &of_staff) + &issuer(CUSTOMERS, &[Role::Customer]);
        std::fs::write(&keys, jwks.to_string()).with_context(|| format!("cannot write {}", keys.display()))?;
        std::fs::write(&file, settings).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(Issuer { signing: EncodingKey::from_ed_der(pkcs8.as_ref()), clock: Clock::real(), file })
    }

    /// A token for somebody, good for ten minutes.
    pub fn token(&self, actor: &Actor) -> anyhow::Result<String> {
        let mut header = Header::new(jsonwebtoken::Algorithm::EdDSA);
        header.kid = Some("soak".to_owned());
        let seconds = self.clock.real_now().micros() / SECOND;
        let mut claims = json!({
            "iss": format!("https://{}.example", actor.issuer), "aud": AUDIENCE, "sub": actor.subject, "name": actor.name,
            "roles": actor.roles, "iat": seconds - 5, "exp": seconds - 5 + LIFE,
        });
        if let (false, Some(claims)) = (actor.accounts.is_empty(), claims.as_object_mut()) {
            claims.insert("accounts".to_owned(), json!(actor.accounts));
        }
        Ok(jsonwebtoken::encode(&header, &claims, &self.signing)?)
    }
}
