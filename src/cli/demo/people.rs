//! The people of the story and the key that signs their tokens. Nothing of this exists outside the demo.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;

use crate::domain::actor::{Actor, Role};
use crate::domain::time::{Instant, SECOND};
use crate::http::auth::issuers::Algorithm;
use crate::http::auth::issuers::KeysConfig;
use crate::http::auth::{IssuerConfig, IssuersConfig};
use crate::http::pages::sign_in::{DemoPeople, DemoSomebody};
use crate::http::pages::visitor::first_page;

/// Somebody of the story.
#[derive(Clone, Copy, Debug)]
pub struct Person {
    /// What the sign-in page posts.
    pub key: &'static str,
    pub name: &'static str,
    pub role: Role,
    /// The account that a customer speaks for.
    pub account: Option<&'static str>,
    /// What the sign-in page says of them.
    pub note: &'static str,
}

/// Everybody who can be picked on the sign-in page, customers first.
pub const PEOPLE: [Person; 10] = [
    Person {
        key: "hana",
        name: "Hana",
        role: Role::Customer,
        account: Some("20418876"),
        note: "Harbour Freight Brokers Ltd: 8 of 12 mailboxes were down for 22 hours; there is a claim.",
    },
    Person {
        key: "piripi",
        name: "Piripi",
        role: Role::Customer,
        account: Some("20418901"),
        note: "Kōwhai Dental: all 4 mailboxes were down for 22 hours.",
    },
    Person {
        key: "tomas",
        name: "Tomas",
        role: Role::Customer,
        account: Some("20418950"),
        note: "Tasman Timber: on a mail system that kept working.",
    },
    Person {
        key: "ines",
        name: "Ines",
        role: Role::Customer,
        account: Some("20419007"),
        note: "Lakeside Legal: planned work ran over by half an hour.",
    },
    Person { key: "mere", name: "Mere", role: Role::Agent, account: None, note: "Decides claims up to $200.00." },
    Person {
        key: "wiremu",
        name: "Wiremu",
        role: Role::Supervisor,
        account: None,
        note: "Agrees to what is over a limit, and approves credit runs.",
    },
    Person { key: "aroha", name: "Aroha", role: Role::Supervisor, account: None, note: "Proposes credit runs." },
    Person {
        key: "sefa",
        name: "Sefa",
        role: Role::Operations,
        account: None,
        note: "Signs off what monitoring says.",
    },
    Person { key: "ngaire", name: "Ngaire", role: Role::Admin, account: None, note: "Publishes terms." },
    Person { key: "viliami", name: "Viliami", role: Role::Admin, account: None, note: "Approves terms." },
];

/// The auditor reads for the story's own summary.
pub const AUDITOR: Person = Person { key: "audit", name: "Auditor", role: Role::Auditor, account: None, note: "" };

/// Signs what Sefa wrote: nobody signs his own.
pub const MIKAERE: Person = Person { key: "mikaere", name: "Mikaere", role: Role::Operations, account: None, note: "" };

const STAFF: &str = "demo-staff";
const CUSTOMERS: &str = "demo-customers";
const AUDIENCE: &str = "makegood-demo";

impl Person {
    fn issuer(&self) -> &'static str {
        match self.account {
            Some(_) => CUSTOMERS,
            None => STAFF,
        }
    }

    /// Who they are once they are signed in.
    pub fn actor(&self) -> Actor {
        Actor {
            issuer: self.issuer().to_owned(),
            subject: self.key.to_owned(),
            name: self.name.to_owned(),
            roles: [self.role].into(),
            accounts: self.account.iter().map(|account| (*account).to_owned()).collect(),
            source: None,
        }
    }
}

/// Who can be picked at the sign-in page: everybody who has pages.
pub fn to_pick() -> DemoPeople {
    let somebody = |person: &Person| DemoSomebody {
        key: person.key.to_owned(),
        actor: person.actor(),
        note: person.note.to_owned(),
    };
    DemoPeople(PEOPLE.iter().map(somebody).filter(|one| first_page(&one.actor).is_some()).collect())
}

pub fn person(key: &str) -> Option<&'static Person> {
    PEOPLE.iter().chain([&MIKAERE]).find(|person| person.key == key)
}

/// The demo's own issuer of tokens for people, for as long as the process lives.
pub struct DemoIssuer {
    signing: EncodingKey,
}

impl DemoIssuer {
    /// Makes a key, and the settings by which the service takes its tokens. The public half is written into `dir`.
    pub fn new(dir: &Path) -> anyhow::Result<(Self, IssuersConfig)> {
        let pkcs8 =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| anyhow::anyhow!("no randomness"))?;
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).map_err(|_| anyhow::anyhow!("no key"))?;
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        let jwks = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "demo", "x": x }] });
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let path = dir.join("demo-jwks.json");
        std::fs::write(&path, jwks.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
        let issuer = |name: &str, roles: &[Role]| IssuerConfig {
            name: name.to_owned(),
            issuer: format!("https://{name}.example"),
            audience: AUDIENCE.to_owned(),
            roles: roles.iter().copied().collect(),
            algorithm: Algorithm::EdDsa,
            keys: KeysConfig::JwksFile(path.clone()),
            role_claim: "roles".to_owned(),
            account_claim: "accounts".to_owned(),
            name_claim: "name".to_owned(),
            max_lifetime_seconds: 3_600,
        };
        let staff: Vec<Role> = Role::ALL.into_iter().filter(|role| *role != Role::Customer).collect();
        let config = IssuersConfig { issuer: vec![issuer(STAFF, &staff), issuer(CUSTOMERS, &[Role::Customer])] };
        Ok((DemoIssuer { signing: EncodingKey::from_ed_der(pkcs8.as_ref()) }, config))
    }

    /// A token for an hour, by the real clock.
    pub fn token(&self, person: &Person, real_now: Instant) -> anyhow::Result<String> {
        let mut header = Header::new(jsonwebtoken::Algorithm::EdDSA);
        header.kid = Some("demo".to_owned());
        let seconds = real_now.micros() / SECOND;
        let mut claims = BTreeMap::from([
            ("iss", json!(format!("https://{}.example", person.issuer()))),
            ("aud", json!(AUDIENCE)),
            ("sub", json!(person.key)),
            ("name", json!(person.name)),
            ("roles", json!([person.role])),
            ("iat", json!(seconds)),
            ("exp", json!(seconds + 3_600)),
        ]);
        if let Some(account) = person.account {
            claims.insert("accounts", json!([account]));
        }
        Ok(jsonwebtoken::encode(&header, &claims, &self.signing)?)
    }
}

impl std::fmt::Debug for DemoIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DemoIssuer")
    }
}
