//! Sessions of browsers. The cookie carries 256 random bits and the database their SHA-256; each form carries a second
//! secret, so that another site cannot post one in a person's name.

use std::net::IpAddr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use super::person_stands;
use crate::domain::actor::Actor;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::{HOUR, Instant, MINUTE};
use crate::store::{Error, sessions};

/// How long a session lives without use, and in all.
const IDLE: i64 = 30 * MINUTE;
const ABSOLUTE: i64 = 12 * HOUR;

/// A use is noted when the last note is this old: a page that shows ten pictures writes once.
const NOTE_EVERY: i64 = MINUTE;

/// How the cookie is named and bound, by the way browsers reach the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieKind {
    /// Over TLS, here or at a proxy: the browser keeps the cookie to this host and to https.
    Secure,
    /// Over http on this machine only, as in the demo, where a browser may drop a cookie that asks for https.
    Loopback,
}

impl CookieKind {
    /// The kind for browsers that come to `host` over http (`secure` false) or https. None where that would send the cookie
    /// in the clear over a network.
    pub fn for_origin(secure: bool, host: IpAddr) -> Option<Self> {
        match (secure, host.is_loopback()) {
            (true, _) => Some(CookieKind::Secure),
            (false, true) => Some(CookieKind::Loopback),
            (false, false) => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            CookieKind::Secure => "__Host-sid",
            CookieKind::Loopback => "sid",
        }
    }

    fn attributes(self) -> &'static str {
        match self {
            CookieKind::Secure => "Path=/; HttpOnly; SameSite=Lax; Secure",
            CookieKind::Loopback => "Path=/; HttpOnly; SameSite=Lax",
        }
    }

    /// The `Set-Cookie` that opens a session in the browser. It ends with the browser, or with the session if that is sooner.
    pub fn set(self, value: &str) -> String {
        format!("{}={value}; {}", self.name(), self.attributes())
    }

    /// The `Set-Cookie` that removes it.
    pub fn clear(self) -> String {
        format!("{}=; Max-Age=0; {}", self.name(), self.attributes())
    }

    /// The cookie's value in a request. Two cookies of the name are none: one of them was put there by somebody else.
    pub fn read(self, headers: &HeaderMap) -> Option<&str> {
        let mut values = headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == self.name())
            .map(|(_, value)| value);
        let value = values.next()?;
        values.next().is_none().then_some(value)
    }
}

/// A person at a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub actor: Actor,
    /// What each form of this session carries in a hidden field.
    pub csrf: String,
}

/// Opens a session and gives the cookie's value. Each login opens a new one: a value that was in the browser before is
/// never taken over, so nobody can put theirs there and wait.
pub async fn open(conn: &mut PgConnection, actor: &Actor, real_now: Instant) -> Result<(String, Session), Error> {
    let value = secret()?;
    let stored = sessions::Stored {
        actor: actor.clone(),
        csrf: secret()?,
        created_at: real_now,
        last_seen_at: real_now,
        absolute_until: real_now.plus(ABSOLUTE),
    };
    sessions::insert(conn, &hash(&value), &stored).await?;
    Ok((value, Session { actor: stored.actor, csrf: stored.csrf }))
}

/// The session of a cookie; none if it is unknown, ended, too old, or of somebody who may not sign in any more.
pub async fn find(conn: &mut PgConnection, cookie: &str, real_now: Instant) -> Result<Option<Session>, Error> {
    if !is_secret(cookie) {
        return Ok(None);
    }
    let id_hash = hash(cookie);
    let Some(stored) = sessions::find(conn, &id_hash).await? else { return Ok(None) };
    let live = real_now < stored.absolute_until && real_now < stored.last_seen_at.plus(IDLE);
    if !live || person_stands(conn, &stored.actor, Some(stored.created_at)).await?.is_err() {
        return Ok(None);
    }
    if real_now >= stored.last_seen_at.plus(NOTE_EVERY) {
        sessions::touch(conn, &id_hash, real_now).await?;
    }
    Ok(Some(Session { actor: stored.actor, csrf: stored.csrf }))
}

/// Ends the session on the server: a copy of the cookie is worth nothing afterwards.
pub async fn end(conn: &mut PgConnection, cookie: &str, real_now: Instant) -> Result<(), Error> {
    if is_secret(cookie) { sessions::end(conn, &hash(cookie), real_now).await } else { Ok(()) }
}

impl Session {
    /// Refuses a form that was not sent from a page of ours: it must carry the session's token, and the browser must say
    /// that it comes from `origin` (scheme, host and port, as in `https://credits.example`).
    pub fn check_form(&self, headers: &HeaderMap, origin: &str, token: &str) -> Result<(), Refusal> {
        let same_token = verify_slices_are_equal(token.as_bytes(), self.csrf.as_bytes()).is_ok();
        if same_token && comes_from(headers, origin) {
            return Ok(());
        }
        Err(Refusal::new(
            Code::Forbidden,
            "The form is not from a page of this session. Open the page again and repeat.",
        ))
    }
}

/// Whether the browser says that the request comes from `origin`. A form's POST carries `Origin` in every browser of today.
pub fn comes_from(headers: &HeaderMap, origin: &str) -> bool {
    let mut values = headers.get_all(header::ORIGIN).iter();
    let same =
        values.next().and_then(|value| value.to_str().ok()).is_some_and(|said| said.eq_ignore_ascii_case(origin));
    same && values.next().is_none()
}

fn secret() -> Result<String, Error> {
    let mut bytes = [0u8; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| {
        Refusal::new(Code::Unavailable, "This machine has no randomness to make a session from. Try again.")
    })?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Whether a text can be a secret of ours, so that anything else is not even looked up.
fn is_secret(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn hash(value: &str) -> [u8; 32] {
    Sha256::digest(value.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: header::HeaderName, values: &[&str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for value in values {
            map.append(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        map
    }

    #[test]
    fn the_cookie_is_bound_to_the_host_and_to_https_wherever_there_is_a_network() {
        let loopback = "127.0.0.1".parse().unwrap();
        let network = "192.0.2.7".parse().unwrap();
        assert_eq!(CookieKind::for_origin(false, network), None);
        assert_eq!(CookieKind::for_origin(true, network), Some(CookieKind::Secure));
        let secure = CookieKind::for_origin(true, loopback).unwrap().set("v");
        assert_eq!(secure, "__Host-sid=v; Path=/; HttpOnly; SameSite=Lax; Secure");
        let demo = CookieKind::for_origin(false, loopback).unwrap().set("v");
        assert_eq!(demo, "sid=v; Path=/; HttpOnly; SameSite=Lax");
        assert!(CookieKind::Secure.clear().contains("Max-Age=0"));
    }

    #[test]
    fn the_cookie_is_found_among_others_and_two_of_the_name_are_none() {
        let one = headers(header::COOKIE, &["a=b; __Host-sid=mine; sid=other"]);
        assert_eq!(CookieKind::Secure.read(&one), Some("mine"));
        assert_eq!(CookieKind::Loopback.read(&one), Some("other"));
        let twice = headers(header::COOKIE, &["__Host-sid=mine; __Host-sid=theirs"]);
        assert_eq!(CookieKind::Secure.read(&twice), None);
        assert_eq!(CookieKind::Secure.read(&HeaderMap::new()), None);
    }

    #[test]
    fn a_form_needs_the_sessions_token_and_our_origin() {
        let actor = crate::http::auth::tests::actor("staff", "ana");
        let session = Session { actor, csrf: secret().unwrap() };
        let ours = headers(header::ORIGIN, &["https://credits.example"]);
        let check = |headers: &HeaderMap, token: &str| session.check_form(headers, "https://credits.example", token);
        assert!(check(&ours, &session.csrf).is_ok());
        for token in ["", "x", &session.csrf[1..], &secret().unwrap()] {
            assert!(check(&ours, token).is_err(), "{token}");
        }
        for origin in [
            &["https://evil.example"][..],
            &["null"],
            &["http://credits.example"],
            &["https://credits.example.evil.example"],
            &["https://credits.example", "https://credits.example"],
            &[],
        ] {
            assert!(check(&headers(header::ORIGIN, origin), &session.csrf).is_err(), "{origin:?}");
        }
    }

    #[test]
    fn secrets_are_long_plain_and_never_the_same() {
        let (one, two) = (secret().unwrap(), secret().unwrap());
        assert!(is_secret(&one) && is_secret(&two));
        assert_ne!(one, two);
        assert!(!is_secret("attacker-chosen"));
        assert!(!is_secret(&"x".repeat(102_400)));
    }
}
