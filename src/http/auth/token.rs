//! What a token must say: its header before a key is chosen, and its claims once the signature holds. Pure.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::issuers::Algorithm;
use super::{AuthError, strict};
use crate::domain::actor::{Actor, Role};
use crate::domain::time::{Instant, SECOND};

/// How far the clocks of an issuer and of this machine may lie apart.
pub const LEEWAY: i64 = 30 * SECOND;

/// The longest token that is looked at, in bytes.
const LONGEST_TOKEN: usize = 8 * 1024;

/// Header parameters that bring a key, point to one, or change how the rest is read. A token that needs any is not ours.
const REFUSED_PARAMETERS: [&str; 10] = ["jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc", "cty", "epk"];

/// What an issuer's tokens may say.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The issuer's name among ours: the first half of a person's key.
    pub name: String,
    pub issuer: String,
    pub audience: String,
    pub roles: BTreeSet<Role>,
    /// Names of claims, or JSON pointers where they start with `/`.
    pub role_claim: String,
    pub account_claim: String,
    pub name_claim: String,
    /// From `iat` to `exp`, in microseconds.
    pub longest: i64,
    /// Whether these are tokens of machines, which are registered by their `jti`.
    pub machines: bool,
}

/// Who a token speaks for, and what has still to be asked of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub actor: Actor,
    pub check: Check,
}

/// What may have been taken back since the token was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// The person's standing; none where the token does not say when it was issued.
    Person { issued_at: Option<Instant> },
    /// The registered token.
    Machine { jti: Uuid },
}

/// A token taken apart, nothing of it believed yet.
#[derive(Debug)]
pub struct Unverified {
    pub algorithm: String,
    pub kid: Option<String>,
    /// Who the token says has signed it: chooses whose key and algorithm it is held against.
    pub issuer: String,
}

/// Takes a token apart and refuses what no token of ours looks like.
pub fn take_apart(token: &str) -> Result<Unverified, AuthError> {
    if token.len() > LONGEST_TOKEN {
        return Err(AuthError::Malformed("it is too long"));
    }
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, _signature] = parts.as_slice() else {
        return Err(AuthError::Malformed("it has not three parts"));
    };
    let header = part(header).ok_or(AuthError::Malformed("its header cannot be read"))?;
    let claims = part(claims).ok_or(AuthError::Malformed("its claims cannot be read"))?;
    if REFUSED_PARAMETERS.iter().any(|name| header.contains_key(*name)) {
        return Err(AuthError::Malformed("its header asks for what is not supported"));
    }
    match header.get("typ") {
        None => {}
        Some(Value::String(typ)) if typ.eq_ignore_ascii_case("jwt") || typ.eq_ignore_ascii_case("at+jwt") => {}
        Some(_) => return Err(AuthError::Malformed("its type is not that of an access token")),
    }
    let algorithm = text(&header, "alg").ok_or(AuthError::Malformed("its header names no algorithm"))?.to_owned();
    let kid = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) if is_plain(kid) => Some(kid.clone()),
        Some(_) => return Err(AuthError::Malformed("its key id is not plain text")),
    };
    let issuer = text(&claims, "iss").ok_or(AuthError::Claim("iss"))?.to_owned();
    Ok(Unverified { algorithm, kid, issuer })
}

fn part(encoded: &str) -> Option<Map<String, Value>> {
    strict::object(&URL_SAFE_NO_PAD.decode(encoded).ok()?)
}

fn is_plain(text: &str) -> bool {
    (1..=200).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl Unverified {
    /// Refuses every algorithm but the issuer's one: what the header says chooses nothing.
    pub fn require(&self, algorithm: Algorithm) -> Result<(), AuthError> {
        if self.algorithm == algorithm.name() { Ok(()) } else { Err(AuthError::Untrusted) }
    }
}

/// Holds claims, whose signature was verified, against the issuer's rules.
pub fn judge(claims: &Map<String, Value>, rules: &Rules, now: Instant) -> Result<Verified, AuthError> {
    if text(claims, "iss") != Some(&rules.issuer) {
        return Err(AuthError::Claim("iss"));
    }
    if !is_for(claims.get("aud"), &rules.audience) {
        return Err(AuthError::Claim("aud"));
    }
    let subject = text(claims, "sub").filter(|sub| is_name(sub)).ok_or(AuthError::Claim("sub"))?.to_owned();
    if !claims.get("scope").is_none_or(is_scope) {
        return Err(AuthError::Claim("scope"));
    }
    let issued_at = within_time(claims, rules, now)?;
    let roles = roles(claim(claims, &rules.role_claim), rules)?;
    let accounts = accounts(claims, rules, &roles)?;
    let name = match claim(claims, &rules.name_claim) {
        None => subject.clone(),
        Some(Value::String(name)) if is_name(name) => name.clone(),
        Some(_) => return Err(AuthError::Claim("name")),
    };
    let (check, source) = if rules.machines {
        let jti = text(claims, "jti").and_then(|jti| Uuid::try_parse(jti).ok()).ok_or(AuthError::Claim("jti"))?;
        let source = text(claims, "source").filter(|source| is_name(source)).ok_or(AuthError::Claim("source"))?;
        (Check::Machine { jti }, Some(source.to_owned()))
    } else {
        (Check::Person { issued_at }, None)
    };
    let actor = Actor { issuer: rules.name.clone(), subject, name, roles, accounts, source };
    Ok(Verified { actor, check })
}

/// Checks `exp`, `nbf` and `iat`, and gives the time of issue.
fn within_time(claims: &Map<String, Value>, rules: &Rules, now: Instant) -> Result<Option<Instant>, AuthError> {
    let expires = time(claims, "exp")?.ok_or(AuthError::Claim("exp"))?;
    let not_before = time(claims, "nbf")?;
    let issued_at = time(claims, "iat")?;
    if now >= expires.plus(LEEWAY) {
        return Err(AuthError::Expired);
    }
    if [not_before, issued_at].into_iter().flatten().any(|start| start > now.plus(LEEWAY)) {
        return Err(AuthError::TooEarly);
    }
    // A token that does not say when it was issued was issued by now, so it must not run on for longer than a whole one.
    let start = issued_at.unwrap_or_else(|| now.plus(LEEWAY));
    if expires.micros() - start.micros() > rules.longest {
        return Err(AuthError::TooLong);
    }
    Ok(issued_at)
}

/// A time in whole seconds since 1970, as a JSON integer; absent is fine, anything else is not.
fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<Instant>, AuthError> {
    claims
        .get(name)
        .map(|value| {
            value
                .as_i64()
                .and_then(|seconds| seconds.checked_mul(SECOND))
                .and_then(Instant::from_micros)
                .ok_or(AuthError::Claim(name))
        })
        .transpose()
}

fn roles(claim: Option<&Value>, rules: &Rules) -> Result<BTreeSet<Role>, AuthError> {
    let names = claim.and_then(Value::as_array).ok_or(AuthError::Roles)?;
    let roles = names
        .iter()
        .map(|name| {
            let role: Role = name.as_str().ok_or(AuthError::Roles)?.parse().map_err(|_| AuthError::Roles)?;
            if rules.roles.contains(&role) { Ok(role) } else { Err(AuthError::Roles) }
        })
        .collect::<Result<BTreeSet<Role>, AuthError>>()?;
    let evidence = roles.iter().any(|role| role.is_evidence());
    let money = roles.iter().any(|role| role.is_money());
    // A customer acts on their own accounts and staff on everybody's: one token cannot mean both.
    let mixed_customer = roles.contains(&Role::Customer) && roles.len() > 1;
    if roles.is_empty() || (evidence && money) || mixed_customer {
        return Err(AuthError::Roles);
    }
    Ok(roles)
}

fn accounts(claims: &Map<String, Value>, rules: &Rules, roles: &BTreeSet<Role>) -> Result<Vec<String>, AuthError> {
    if !roles.contains(&Role::Customer) {
        return Ok(Vec::new());
    }
    let listed = claim(claims, &rules.account_claim).and_then(Value::as_array).ok_or(AuthError::Accounts)?;
    let accounts: Option<Vec<String>> =
        listed.iter().map(|item| item.as_str().filter(|text| is_name(text)).map(str::to_owned)).collect();
    accounts.filter(|accounts| (1..=1000).contains(&accounts.len())).ok_or(AuthError::Accounts)
}

fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let Some(pointer) = name.strip_prefix('/') else { return claims.get(name) };
    let mut steps = pointer.split('/');
    let first = claims.get(steps.next()?)?;
    steps.try_fold(first, |value, step| value.get(step))
}

fn text<'a>(map: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    map.get(name)?.as_str()
}

/// Whether `aud` is our audience, or a list of texts with ours among them.
fn is_for(aud: Option<&Value>, audience: &str) -> bool {
    match aud {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(list)) => {
            list.iter().all(Value::is_string) && list.iter().any(|one| one.as_str() == Some(audience))
        }
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => false,
    }
}

/// A subject, name, source or account reference: something to read, on one line.
fn is_name(text: &str) -> bool {
    (1..=255).contains(&text.len()) && !text.trim().is_empty() && !text.chars().any(char::is_control)
}

/// Whether `scope` is words between single spaces (RFC 6749, 3.3). We grant nothing by it; but where other white space
/// passes for a space somewhere, somebody has tried to grow one word into two.
fn is_scope(scope: &Value) -> bool {
    scope
        .as_str()
        .is_some_and(|scope| scope.bytes().all(|byte| matches!(byte, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e)))
}
