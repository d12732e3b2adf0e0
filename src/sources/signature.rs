//! Signatures of deliveries: a source that has a secret must sign what it sends, beside showing its token.
//!
//! The secrets stand in a file of their own and never in the monitors document, which people show each other. During a change of
//! secrets the one before counts too. Comparisons take the same time whatever is wrong.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::{Instant, MINUTE, SECOND};

/// How old or how far ahead a signed time may be, in microseconds: what is older was kept by somebody to send it again.
const TOLERANCE: i64 = 5 * MINUTE;
/// The most signatures of one delivery. While secrets change there are two.
const MOST_SIGNATURES: usize = 8;
/// The shortest secret, in bytes.
const SHORTEST: usize = 16;

/// How a source signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// `X-PagerDuty-Signature: v1=HEX`, over the body.
    #[serde(rename = "pagerduty")]
    PagerDuty,
    /// `X-Grafana-Alerting-Signature: HEX`, over the body; over `time:body` where the source also sends
    /// `X-Grafana-Alerting-Signature-Timestamp`.
    Grafana,
    /// `webhook-signature: v1,BASE64`, over `id.time.body`, as Standard Webhooks has it.
    StandardWebhooks,
}

/// The file of secrets, as it is written: one table `[[secret]]` for each source that signs.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretsFile {
    #[serde(default)]
    secret: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// The source's name, as its token carries it.
    source: String,
    scheme: Scheme,
    current: String,
    previous: Option<String>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Entry").field("source", &self.source).field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

/// The secrets of all sources that have one.
#[derive(Debug, Default)]
pub struct Secrets {
    by_source: BTreeMap<String, Secret>,
}

#[derive(Debug)]
struct Secret {
    scheme: Scheme,
    /// The current one, and the one before while they change.
    keys: Vec<hmac::Key>,
}

/// Why a file of secrets cannot be used. Nothing of a secret is said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretsError {
    #[error("source {0:?} has two secrets: write the one before as `previous`")]
    Twice(String),
    #[error("the secret of source {0:?} is too short: at least {SHORTEST} bytes")]
    TooShort(String),
    #[error("the secret of source {0:?} is not `whsec_` and base64, as Standard Webhooks writes it")]
    NotBase64(String),
}

impl Secrets {
    pub fn new(file: SecretsFile) -> Result<Self, SecretsError> {
        let mut by_source = BTreeMap::new();
        for Entry { source, scheme, current, previous } in file.secret {
            let keys = [Some(current), previous].into_iter().flatten();
            let keys: Result<Vec<_>, _> = keys.map(|text| key(&source, scheme, &text)).collect();
            if by_source.insert(source.clone(), Secret { scheme, keys: keys? }).is_some() {
                return Err(SecretsError::Twice(source));
            }
        }
        Ok(Secrets { by_source })
    }

    /// Refuses a delivery of a source that has a secret, unless the secret signed it. `headers` gives all values of a header.
    pub fn check<'a>(
        &self,
        source: &str,
        headers: impl Fn(&str) -> Vec<&'a [u8]>,
        body: &[u8],
        now: Instant,
    ) -> Result<(), Refusal> {
        let Some(secret) = self.by_source.get(source) else { return Ok(()) };
        let one = |name: &str| match headers(name).as_slice() {
            [] => Ok(None),
            [value] => std::str::from_utf8(value).map(Some).map_err(|_| Wrong::Unreadable),
            [_, _, ..] => Err(Wrong::Unreadable),
        };
        let checked = match secret.scheme {
            Scheme::PagerDuty => pagerduty(secret, one, body),
            Scheme::Grafana => grafana(secret, one, body, now),
            Scheme::StandardWebhooks => standard_webhooks(secret, one, body, now),
        };
        checked.map_err(|why| Refusal::new(Code::Unauthenticated, why.to_string()))
    }
}

fn key(source: &str, scheme: Scheme, text: &str) -> Result<hmac::Key, SecretsError> {
    let bytes = match scheme {
        Scheme::PagerDuty | Scheme::Grafana => text.as_bytes().to_vec(),
        Scheme::StandardWebhooks => text
            .strip_prefix("whsec_")
            .and_then(|text| STANDARD.decode(text).ok())
            .ok_or_else(|| SecretsError::NotBase64(source.to_owned()))?,
    };
    if bytes.len() < SHORTEST {
        return Err(SecretsError::TooShort(source.to_owned()));
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// Why a delivery does not count as signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Wrong {
    #[error("This source has a secret, and the delivery is not signed. Set the same secret at the source.")]
    Missing,
    #[error("The headers of the signature cannot be read.")]
    Unreadable,
    #[error("The signature is not that of this body with this source's secret.")]
    Differs,
    #[error("The delivery was signed more than five minutes ago or ahead. Check the source's clock.")]
    Old,
}

impl Secret {
    fn signed(&self, parts: &[&[u8]], signatures: &[Vec<u8>]) -> Result<(), Wrong> {
        let content = parts.concat();
        // No early end: every key is tried on every signature.
        let is_signed = self.keys.iter().fold(false, |found, key| {
            signatures.iter().fold(found, |found, one| hmac::verify(key, &content, one).is_ok() | found)
        });
        if is_signed { Ok(()) } else { Err(Wrong::Differs) }
    }
}

fn pagerduty<'a>(
    secret: &Secret,
    header: impl Fn(&str) -> Result<Option<&'a str>, Wrong>,
    body: &[u8],
) -> Result<(), Wrong> {
    let text = header("x-pagerduty-signature")?.ok_or(Wrong::Missing)?;
    let signatures = several(text.split(',').map(str::trim), |one| hex::decode(one.strip_prefix("v1=")?).ok())?;
    secret.signed(&[body], &signatures)
}

fn grafana<'a>(
    secret: &Secret,
    header: impl Fn(&str) -> Result<Option<&'a str>, Wrong>,
    body: &[u8],
    now: Instant,
) -> Result<(), Wrong> {
    let text = header("x-grafana-alerting-signature")?.ok_or(Wrong::Missing)?;
    let signatures = several(std::iter::once(text), |one| hex::decode(one).ok())?;
    match header("x-grafana-alerting-signature-timestamp")? {
        None => secret.signed(&[body], &signatures),
        Some(time) => {
            secret.signed(&[time.as_bytes(), b":", body], &signatures)?;
            recent(time, now)
        }
    }
}

fn standard_webhooks<'a>(
    secret: &Secret,
    header: impl Fn(&str) -> Result<Option<&'a str>, Wrong>,
    body: &[u8],
    now: Instant,
) -> Result<(), Wrong> {
    let id = header("webhook-id")?.ok_or(Wrong::Missing)?;
    let time = header("webhook-timestamp")?.ok_or(Wrong::Missing)?;
    let text = header("webhook-signature")?.ok_or(Wrong::Missing)?;
    // With a dot in the id, two different deliveries could have the same content to sign.
    if id.is_empty() || id.contains('.') {
        return Err(Wrong::Unreadable);
    }
    let symmetric = text.split(' ').filter(|one| one.starts_with("v1,"));
    let signatures = several(symmetric, |one| STANDARD.decode(one.strip_prefix("v1,")?).ok())?;
    secret.signed(&[id.as_bytes(), b".", time.as_bytes(), b".", body], &signatures)?;
    recent(time, now)
}

/// Each of `texts` as bytes; refuses none, and more than anybody needs.
fn several<'a>(
    texts: impl Iterator<Item = &'a str>,
    read: impl Fn(&str) -> Option<Vec<u8>>,
) -> Result<Vec<Vec<u8>>, Wrong> {
    let signatures: Vec<Vec<u8>> =
        texts.take(MOST_SIGNATURES + 1).map(|one| read(one).ok_or(Wrong::Unreadable)).collect::<Result<_, _>>()?;
    if (1..=MOST_SIGNATURES).contains(&signatures.len()) { Ok(signatures) } else { Err(Wrong::Unreadable) }
}

/// Whether `time`, in seconds since 1970, is about now.
fn recent(time: &str, now: Instant) -> Result<(), Wrong> {
    let is_plain = (1..=12).contains(&time.len()) && time.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: i64 = Some(time).filter(|_| is_plain).and_then(|time| time.parse().ok()).ok_or(Wrong::Unreadable)?;
    let apart = now.micros().abs_diff(seconds * SECOND);
    if apart <= TOLERANCE.unsigned_abs() { Ok(()) } else { Err(Wrong::Old) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "a-secret-of-aoraki-mail";
    const PREVIOUS: &str = "the-secret-before-that";
    const WHSEC: &str = "whsec_bWFrZWdvb2QtYW5vdGhlci1rZXktMDAx";
    const BODY: &[u8] = b"{\"event\": 1}";

    fn secrets() -> Secrets {
        let text = format!(
            "[[secret]]\nsource = \"pd\"\nscheme = \"pagerduty\"\ncurrent = \"{KEY}\"\nprevious = \"{PREVIOUS}\"\n\
             [[secret]]\nsource = \"graf\"\nscheme = \"grafana\"\ncurrent = \"{KEY}\"\n\
             [[secret]]\nsource = \"std\"\nscheme = \"standard_webhooks\"\ncurrent = \"{WHSEC}\"\n"
        );
        Secrets::new(toml::from_str(&text).unwrap()).unwrap()
    }

    fn now() -> Instant {
        Instant::parse("2026-10-12T16:10:00Z").unwrap()
    }

    fn seconds(offset: i64) -> String {
        (now().micros() / SECOND + offset).to_string()
    }

    fn sign(key: &[u8], content: &[u8]) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), content).as_ref().to_vec()
    }

    fn ask(source: &str, headers: &[(&str, String)], body: &[u8]) -> Result<(), Code> {
        let find = |name: &str| -> Vec<&[u8]> {
            headers.iter().filter(|(known, _)| *known == name).map(|(_, value)| value.as_bytes()).collect()
        };
        secrets().check(source, find, body, now()).map_err(|refusal| refusal.code)
    }

    const NO: Result<(), Code> = Err(Code::Unauthenticated);

    #[test]
    fn hmac_is_that_of_rfc_4231() {
        let tag = hex::decode("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843").unwrap();
        assert_eq!(sign(b"Jefe", b"what do ya want for nothing?"), tag);
    }

    #[test]
    fn pagerduty_signs_the_body_with_the_secret_or_the_one_before() {
        let header = |value: String| [("x-pagerduty-signature", value)];
        let with = |key: &str| format!("v1={}", hex::encode(sign(key.as_bytes(), BODY)));
        assert_eq!(ask("pd", &header(with(KEY)), BODY), Ok(()));
        assert_eq!(ask("pd", &header(with(PREVIOUS)), BODY), Ok(()));
        assert_eq!(ask("pd", &header(format!("{}, {}", with("another-secret-x"), with(KEY))), BODY), Ok(()));
        assert_eq!(ask("pd", &header(with("another-secret-x")), BODY), NO);
        assert_eq!(ask("pd", &header(with(KEY)), b"{\"event\": 2}"), NO);
        assert_eq!(ask("pd", &header(with(KEY).replace("v1=", "v2=")), BODY), NO);
        assert_eq!(ask("pd", &header(vec![with(KEY); 9].join(",")), BODY), NO);
        assert_eq!(ask("pd", &[header(with(KEY)), header(with(KEY))].concat(), BODY), NO);
        assert_eq!(ask("pd", &[], BODY), NO);
        assert_eq!(ask("without-a-secret", &[], BODY), Ok(()));
    }

    #[test]
    fn grafana_signs_the_body_or_the_time_and_the_body() {
        let signed = |content: &[u8]| ("x-grafana-alerting-signature", hex::encode(sign(KEY.as_bytes(), content)));
        let time = |offset| ("x-grafana-alerting-signature-timestamp", seconds(offset));
        let with_time = |offset| [signed(&[seconds(offset).as_bytes(), b":", BODY].concat()), time(offset)];
        assert_eq!(ask("graf", &[signed(BODY)], BODY), Ok(()));
        assert_eq!(ask("graf", &with_time(-200), BODY), Ok(()));
        assert_eq!(ask("graf", &with_time(-301), BODY), NO);
        assert_eq!(ask("graf", &with_time(-200)[..1], BODY), NO);
        assert_eq!(ask("graf", &[signed(BODY), time(0)], BODY), NO);
    }

    #[test]
    fn standard_webhooks_sign_id_time_and_body() {
        let key = STANDARD.decode(&WHSEC["whsec_".len()..]).unwrap();
        let with = |id: &str, offset, signatures: usize| {
            let content = [id.as_bytes(), b".", seconds(offset).as_bytes(), b".", BODY].concat();
            let good = format!("v1,{}", STANDARD.encode(sign(&key, &content)));
            let mut all = vec!["v1a,AAAA".to_owned(), good];
            all.resize(all.len().max(signatures), "v1,AAAA".to_owned());
            [
                ("webhook-id", id.to_owned()),
                ("webhook-timestamp", seconds(offset)),
                ("webhook-signature", all.join(" ")),
            ]
        };
        assert_eq!(ask("std", &with("msg_1", 0, 0), BODY), Ok(()));
        assert_eq!(ask("std", &with("msg_1", -300, 0), BODY), Ok(()));
        assert_eq!(ask("std", &with("msg_1", -600, 0), BODY), NO);
        assert_eq!(ask("std", &with("msg_1", 301, 0), BODY), NO);
        assert_eq!(ask("std", &with("msg.1", 0, 0), BODY), NO);
        assert_eq!(ask("std", &with("msg_1", 0, 10_000), BODY), NO);
        assert_eq!(ask("std", &with("msg_1", 0, 0), b"{}"), NO);
        assert_eq!(ask("std", &with("msg_1", 0, 0)[..2], BODY), NO);
    }

    #[test]
    fn a_file_that_cannot_be_meant_is_refused_and_no_secret_is_shown() {
        let entry = |source: &str, scheme: &str, current: &str| {
            format!("[[secret]]\nsource = \"{source}\"\nscheme = \"{scheme}\"\ncurrent = \"{current}\"\n")
        };
        let read = |text: &str| Secrets::new(toml::from_str(text).unwrap()).map(|_| ());
        assert_eq!(read(&entry("a", "grafana", "short")), Err(SecretsError::TooShort("a".to_owned())));
        assert_eq!(read(&entry("a", "standard_webhooks", KEY)), Err(SecretsError::NotBase64("a".to_owned())));
        let twice = [entry("a", "grafana", KEY), entry("a", "pagerduty", KEY)].concat();
        assert_eq!(read(&twice), Err(SecretsError::Twice("a".to_owned())));
        let file: SecretsFile = toml::from_str(&entry("a", "grafana", KEY)).unwrap();
        assert!(!format!("{file:?}").contains(KEY));
        assert!(!format!("{:?}", Secrets::new(file).unwrap()).contains(KEY));
    }
}
