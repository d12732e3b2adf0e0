//! Who may vouch for people and machines, and how a token is held against them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode};
use serde::Deserialize;

use super::AuthError;
use super::jwks::{KeyRing, Source};
use super::keys::{KeyError, KeySet};
use super::machine::{self, MachineKey};
use super::strict::Object;
use super::token::{self, Rules, Verified};
use crate::domain::actor::Role;
use crate::domain::time::{Instant, SECOND};

/// Names under which the service itself acts: an issuer of one of them could speak for it.
const RESERVED: [&str; 4] = [machine::ISSUER, "system", "cli", "demo"];

/// How an issuer signs. One each: a token that names another is refused, whatever its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Algorithm {
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "EdDSA")]
    EdDsa,
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "PS256")]
    Ps256,
}

impl Algorithm {
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Es256 => "ES256",
            Algorithm::EdDsa => "EdDSA",
            Algorithm::Rs256 => "RS256",
            Algorithm::Ps256 => "PS256",
        }
    }

    pub(super) fn of_the_library(self) -> jsonwebtoken::Algorithm {
        match self {
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::Ps256 => jsonwebtoken::Algorithm::PS256,
        }
    }
}

/// The settings of all issuers: `[[issuer]]` tables.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuersConfig {
    #[serde(default)]
    pub issuer: Vec<IssuerConfig>,
}

/// One issuer of people's tokens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// A short name of our own, such as `staff`. People are kept under it, so it stays when the issuer's address changes.
    pub name: String,
    /// What the tokens say in `iss`, to the letter.
    pub issuer: String,
    /// What the tokens must name in `aud`.
    pub audience: String,
    /// The roles that this issuer may give.
    pub roles: BTreeSet<Role>,
    pub algorithm: Algorithm,
    pub keys: KeysConfig,
    /// The claim with the list of roles; a JSON pointer such as `/realm_access/roles` where it lies deeper.
    #[serde(default = "default_role_claim")]
    pub role_claim: String,
    /// The claim with the list of a customer's account references.
    #[serde(default = "default_account_claim")]
    pub account_claim: String,
    /// The claim with the name that pages show.
    #[serde(default = "default_name_claim")]
    pub name_claim: String,
    /// The longest time from `iat` to `exp` that is taken.
    #[serde(default = "default_longest")]
    pub max_lifetime_seconds: u32,
}

/// Where an issuer's public keys are.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeysConfig {
    /// One public key in PEM.
    File(PathBuf),
    JwksFile(PathBuf),
    JwksUrl(String),
}

fn default_role_claim() -> String {
    "roles".to_owned()
}

fn default_account_claim() -> String {
    "accounts".to_owned()
}

fn default_name_claim() -> String {
    "name".to_owned()
}

fn default_longest() -> u32 {
    3600
}

/// What is wrong with the settings of an issuer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("issuer {name:?}: {problem}")]
pub struct ConfigError {
    pub name: String,
    pub problem: ConfigProblem,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigProblem {
    #[error("a name is 1 to 40 small letters, digits and dashes, and none of {}", RESERVED.join(", "))]
    Name,
    #[error("another issuer has the same name, or the same `issuer`")]
    Twice,
    #[error("`issuer` and `audience` must not be empty")]
    Empty,
    #[error("`roles` names no role, so none of its tokens could be taken")]
    NoRoles,
    #[error("`max_lifetime_seconds` must be from 1 to 86400")]
    Lifetime,
    #[error(transparent)]
    Keys(#[from] KeyError),
}

#[derive(Debug)]
struct Issuer {
    rules: Rules,
    algorithm: Algorithm,
    ring: Arc<KeyRing>,
}

/// Everybody whose tokens are taken, by what they say in `iss`.
#[derive(Debug, Default)]
pub struct Issuers {
    by_iss: BTreeMap<String, Issuer>,
}

impl Issuers {
    /// Reads the settings. Key files are read once, so that a wrong one shows at the start; key servers are asked by the
    /// first token, since a service that cannot start while another is away would make two outages of one.
    pub async fn load(config: &IssuersConfig) -> Result<Self, ConfigError> {
        let mut issuers = Issuers::default();
        for one in &config.issuer {
            let issuer = Issuer::load(one).await.map_err(|problem| ConfigError { name: one.name.clone(), problem })?;
            let same_name = issuers.by_iss.values().any(|other| other.rules.name == one.name);
            if same_name || issuers.by_iss.insert(one.issuer.clone(), issuer).is_some() {
                return Err(ConfigError { name: one.name.clone(), problem: ConfigProblem::Twice });
            }
        }
        Ok(issuers)
    }

    /// Takes the tokens that `key` signs for machines as well.
    pub fn with_machines(mut self, key: &MachineKey) -> Self {
        let keys = KeySet::one(Some(key.kid().to_owned()), key.verifying_key());
        let ring = Arc::new(KeyRing::new(machine::ISSUER, Source::Fixed(keys), Algorithm::EdDsa));
        let issuer = Issuer { rules: machine::rules(), algorithm: Algorithm::EdDsa, ring };
        self.by_iss.insert(machine::ISSUER.to_owned(), issuer);
        self
    }

    /// Says who a token speaks for. What may have been taken back since it was signed is still to be asked: see
    /// [`Verified::check`].
    pub async fn verify(&self, token: &str, real_now: Instant) -> Result<Verified, AuthError> {
        let unverified = token::take_apart(token)?;
        let issuer = self.by_iss.get(&unverified.issuer).ok_or(AuthError::Untrusted)?;
        unverified.require(issuer.algorithm)?;
        let key = issuer.ring.find(unverified.kid.as_deref(), real_now).await?;
        let decoded = decode::<Object>(token, &key, &issuer.signature_only()).map_err(|error| match error.kind() {
            ErrorKind::Json(_) => AuthError::Malformed("its claims cannot be read"),
            ErrorKind::InvalidAudience => AuthError::Claim("aud"),
            _ => AuthError::Untrusted,
        })?;
        token::judge(&decoded.claims.0, &issuer.rules, real_now)
    }
}

impl Issuer {
    async fn load(config: &IssuerConfig) -> Result<Self, ConfigProblem> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let name = &config.name;
        if !(1..=40).contains(&name.len()) || !name.bytes().all(plain) || RESERVED.contains(&name.as_str()) {
            return Err(ConfigProblem::Name);
        }
        if config.issuer == machine::ISSUER {
            return Err(ConfigProblem::Twice);
        }
        if config.issuer.is_empty() || config.audience.is_empty() {
            return Err(ConfigProblem::Empty);
        }
        if config.roles.is_empty() {
            return Err(ConfigProblem::NoRoles);
        }
        if !(1..=86_400).contains(&config.max_lifetime_seconds) {
            return Err(ConfigProblem::Lifetime);
        }
        let source = match &config.keys {
            KeysConfig::File(path) => Source::PemFile(path.clone()),
            KeysConfig::JwksFile(path) => Source::JwksFile(path.clone()),
            KeysConfig::JwksUrl(url) => Source::url(url)?,
        };
        match source {
            Source::PemFile(_) | Source::JwksFile(_) => drop(source.load(config.algorithm).await?),
            Source::JwksUrl { .. } | Source::Fixed(_) => {}
        }
        let rules = Rules {
            name: name.clone(),
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            roles: config.roles.clone(),
            role_claim: config.role_claim.clone(),
            account_claim: config.account_claim.clone(),
            name_claim: config.name_claim.clone(),
            longest: i64::from(config.max_lifetime_seconds) * SECOND,
            machines: false,
        };
        let ring = Arc::new(KeyRing::new(name, source, config.algorithm));
        Ok(Issuer { rules, algorithm: config.algorithm, ring })
    }

    /// The library verifies the signature, under the one algorithm; times are held against our own clock by
    /// [`token::judge`], with every other claim.
    fn signature_only(&self) -> Validation {
        let mut validation = Validation::new(self.algorithm.of_the_library());
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.set_audience(&[&self.rules.audience]);
        validation.set_issuer(&[&self.rules.issuer]);
        validation
    }
}
