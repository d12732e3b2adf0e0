//! Where an issuer's keys come from, and when they are asked for again.
//!
//! Keys are fresh for a while and are then read anew by the next token. An unknown key id asks at once, but not more often
//! than the cool-down allows, so that made-up ids cannot start a storm. While the source is away or says nonsense, the keys
//! that are known go on for a day.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::DecodingKey;
use tokio::sync::Mutex;

use super::AuthError;
use super::issuers::Algorithm;
use super::keys::{KeyError, KeySet, LARGEST};
use crate::domain::time::{HOUR, Instant, MINUTE, SECOND};

/// How long keys serve while their source is away, in microseconds.
const OUTLAST: i64 = 24 * HOUR;

/// How long a key server may take to answer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);

/// Where keys are read from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Keys that never change while the service runs.
    Fixed(KeySet),
    PemFile(PathBuf),
    JwksFile(PathBuf),
    JwksUrl {
        client: reqwest::Client,
        url: reqwest::Url,
    },
}

impl Source {
    /// A key server. Redirects are not followed: whoever answers for the address answers with keys.
    pub fn url(url: &str) -> Result<Self, KeyError> {
        let unreadable = |error: &dyn std::fmt::Display| KeyError::Unreadable(error.to_string());
        let url = reqwest::Url::parse(url).map_err(|error| unreadable(&error))?;
        let loopback = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
        if url.scheme() != "https" && !(url.scheme() == "http" && loopback) {
            return Err(KeyError::Unreadable("keys are fetched over https, or over http on this machine".to_owned()));
        }
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(FETCH_TIMEOUT)
            .timeout(FETCH_TIMEOUT);
        let builder = if loopback { builder.no_proxy() } else { builder };
        let client = builder.build().map_err(|error| unreadable(&error))?;
        Ok(Source::JwksUrl { client, url })
    }

    /// Reads the keys as they are now.
    pub async fn load(&self, algorithm: Algorithm) -> Result<KeySet, KeyError> {
        match self {
            Source::Fixed(keys) => Ok(keys.clone()),
            Source::PemFile(path) => KeySet::from_pem(&read(path).await?, algorithm),
            Source::JwksFile(path) => KeySet::from_jwks(&read(path).await?, algorithm),
            Source::JwksUrl { client, url } => {
                let fetched = fetch(client, url.clone()).await?;
                KeySet::from_jwks(&fetched, algorithm)
            }
        }
    }

    /// How long keys are fresh, in microseconds.
    fn fresh_for(&self) -> i64 {
        match self {
            Source::Fixed(_) => i64::MAX,
            Source::PemFile(_) | Source::JwksFile(_) => 5 * SECOND,
            Source::JwksUrl { .. } => 10 * MINUTE,
        }
    }

    /// The least time from one reading to the next, in microseconds.
    fn cool_down(&self) -> i64 {
        match self {
            Source::Fixed(_) => i64::MAX,
            Source::PemFile(_) | Source::JwksFile(_) => 5 * SECOND,
            Source::JwksUrl { .. } => MINUTE,
        }
    }
}

async fn read(path: &std::path::Path) -> Result<Vec<u8>, KeyError> {
    tokio::fs::read(path).await.map_err(|error| KeyError::Unreadable(format!("{}: {error}", path.display())))
}

async fn fetch(client: &reqwest::Client, url: reqwest::Url) -> Result<Vec<u8>, KeyError> {
    let failed = |error: reqwest::Error| KeyError::Unreadable(error.to_string());
    let mut response = client.get(url).send().await.map_err(failed)?;
    if response.status() != reqwest::StatusCode::OK {
        return Err(KeyError::Unreadable(format!("the key server answered {}", response.status())));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > LARGEST {
            return Err(KeyError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The keys of one issuer, kept up to date.
#[derive(Debug)]
pub struct KeyRing {
    issuer: String,
    source: Source,
    algorithm: Algorithm,
    state: RwLock<State>,
    /// Held by whoever reads the source, so that the others wait for that one answer.
    reading: Arc<Mutex<()>>,
}

#[derive(Clone, Debug, Default)]
struct State {
    keys: Arc<KeySet>,
    loaded_at: Option<Instant>,
    tried_at: Option<Instant>,
    /// Whether the last reading failed.
    failing: bool,
}

/// Whether `span` microseconds lie between `then` and `now`. A clock that was set back counts as time that has passed, or
/// keys would stay for as long as it was set back.
fn is_past(then: Option<Instant>, now: Instant, span: i64) -> bool {
    then.is_none_or(|then| now.micros().abs_diff(then.micros()) >= span.unsigned_abs())
}

impl KeyRing {
    /// Keys that are read when the first token asks for one.
    pub fn new(issuer: &str, source: Source, algorithm: Algorithm) -> Self {
        let state = RwLock::new(State::default());
        KeyRing { issuer: issuer.to_owned(), source, algorithm, state, reading: Arc::new(Mutex::new(())) }
    }

    /// The key that `kid` names.
    pub async fn find(self: &Arc<Self>, kid: Option<&str>, now: Instant) -> Result<DecodingKey, AuthError> {
        let before = self.snapshot();
        let known = before.keys.find(kid);
        let fresh = !is_past(before.loaded_at, now, self.source.fresh_for());
        if let (Some(key), true) = (known, fresh) {
            return Ok(key.clone());
        }
        self.refresh(known.is_some(), now).await;
        let after = self.snapshot();
        if is_past(after.loaded_at, now, OUTLAST) && !matches!(self.source, Source::Fixed(_)) {
            return Err(AuthError::KeysAway);
        }
        after.keys.find(kid).cloned().ok_or(AuthError::Untrusted)
    }

    fn snapshot(&self) -> State {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn may_read(&self, now: Instant) -> bool {
        is_past(self.snapshot().tried_at, now, self.source.cool_down())
    }

    /// Reads the source, unless it was read within the cool-down; returns once that reading is over.
    async fn refresh(self: &Arc<Self>, known: bool, now: Instant) {
        if !self.may_read(now) {
            return;
        }
        let reading = Arc::clone(&self.reading);
        // While the source is known to be away, one token in a minute waits to find out; the others go on with their keys.
        let held = if known && self.snapshot().failing {
            let Ok(held) = reading.try_lock_owned() else { return };
            held
        } else {
            reading.lock_owned().await
        };
        if !self.may_read(now) {
            return;
        }
        // In a task of its own: a caller who hangs up must not leave the reading half done, to be started over by the next.
        let ring = Arc::clone(self);
        let task = tokio::spawn(async move {
            let _held = held;
            let loaded = ring.source.load(ring.algorithm).await;
            ring.note(loaded, now);
        });
        if let Err(error) = task.await {
            tracing::error!(issuer = self.issuer, %error, "reading the issuer's keys broke off");
        }
    }

    fn note(&self, loaded: Result<KeySet, KeyError>, now: Instant) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.tried_at = Some(now);
        state.failing = loaded.is_err();
        match loaded {
            Ok(keys) => {
                state.keys = Arc::new(keys);
                state.loaded_at = Some(now);
            }
            Err(error) => tracing::warn!(issuer = self.issuer, %error, "the issuer's keys cannot be read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::http::StatusCode;
    use axum::response::{IntoResponse, Redirect};
    use axum::routing::get;
    use jsonwebtoken::Algorithm::{ES256, EdDSA};

    use super::*;
    use crate::http::auth::testing::{self, TestKey};

    fn at(seconds: i64) -> Instant {
        Instant::parse("2026-10-13T06:00:00Z").unwrap().plus(seconds * SECOND)
    }

    /// A key server that counts how often it is asked, and answers with what it was last given.
    #[derive(Clone, Default)]
    struct Server {
        asked: Arc<AtomicUsize>,
        body: Arc<RwLock<Option<String>>>,
    }

    impl Server {
        fn serve(&self, body: Option<String>) {
            *self.body.write().unwrap() = body;
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }

        async fn ring(&self, algorithm: Algorithm) -> Arc<KeyRing> {
            let server = self.clone();
            let answer = move || async move {
                server.asked.fetch_add(1, Ordering::SeqCst);
                match server.body.read().unwrap().clone() {
                    Some(body) => body.into_response(),
                    None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
                }
            };
            let app = Router::new()
                .route("/keys", get(answer))
                .route("/moved", get(|| async { Redirect::temporary("/keys") }));
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(async move { axum::serve(listener, app).await });
            let source = Source::url(&format!("http://{address}/keys")).unwrap();
            Arc::new(KeyRing::new("staff", source, algorithm))
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn ten_thousand_unknown_key_ids_ask_the_key_server_once_in_a_minute() {
        let key = TestKey::new(EdDSA);
        let server = Server::default();
        server.serve(Some(testing::jwks(&[("one", &key)])));
        let ring = server.ring(Algorithm::EdDsa).await;
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..10_000 {
            let ring = Arc::clone(&ring);
            tasks.spawn(async move { ring.find(Some(&format!("made-up-{number}")), at(0)).await.is_err() });
        }
        assert!(tasks.join_all().await.into_iter().all(|refused| refused));
        assert_eq!(server.asked(), 1);
        assert!(ring.find(Some("one"), at(30)).await.is_ok());
        assert!(ring.find(Some("made-up"), at(59)).await.is_err());
        assert_eq!(server.asked(), 1);
        assert!(ring.find(Some("made-up"), at(61)).await.is_err());
        assert_eq!(server.asked(), 2);
    }

    #[tokio::test]
    async fn a_new_key_is_found_by_its_first_token_and_a_retired_one_is_gone_in_ten_minutes() {
        let (old, new) = (TestKey::new(ES256), TestKey::new(ES256));
        let server = Server::default();
        server.serve(Some(testing::jwks(&[("old", &old)])));
        let ring = server.ring(Algorithm::Es256).await;
        assert!(ring.find(Some("old"), at(0)).await.is_ok());
        server.serve(Some(testing::jwks(&[("new", &new)])));
        assert!(ring.find(Some("old"), at(599)).await.is_ok(), "still cached");
        assert!(ring.find(Some("new"), at(599)).await.is_ok(), "an unknown id asks at once");
        assert!(ring.find(Some("old"), at(599)).await.is_err());
        assert_eq!(server.asked(), 2);
    }

    #[tokio::test]
    async fn a_retired_key_is_refused_once_the_cache_is_old() {
        let (old, new) = (TestKey::new(ES256), TestKey::new(ES256));
        let server = Server::default();
        server.serve(Some(testing::jwks(&[("old", &old)])));
        let ring = server.ring(Algorithm::Es256).await;
        assert!(ring.find(Some("old"), at(0)).await.is_ok());
        server.serve(Some(testing::jwks(&[("new", &new)])));
        assert_eq!(ring.find(Some("old"), at(601)).await.unwrap_err(), AuthError::Untrusted);
    }

    #[tokio::test]
    async fn known_keys_outlast_a_key_server_that_is_away_or_talks_nonsense_by_a_day() {
        let key = TestKey::new(EdDSA);
        let server = Server::default();
        let ring = server.ring(Algorithm::EdDsa).await;
        assert_eq!(ring.find(Some("one"), at(0)).await.unwrap_err(), AuthError::KeysAway, "nothing is known yet");
        server.serve(Some(testing::jwks(&[("one", &key)])));
        assert!(ring.find(Some("one"), at(60)).await.is_ok());
        for (nonsense, later) in [(None, 700), (Some("{\"keys\":7}".to_owned()), 800), (Some("<html>".to_owned()), 900)]
        {
            server.serve(nonsense);
            assert!(ring.find(Some("one"), at(later)).await.is_ok());
        }
        server.serve(None);
        assert!(ring.find(Some("one"), at(60 + 86_399)).await.is_ok());
        assert_eq!(ring.find(Some("one"), at(60 + 86_401)).await.unwrap_err(), AuthError::KeysAway);
        server.serve(Some(testing::jwks(&[("one", &key)])));
        assert!(ring.find(Some("one"), at(60 + 86_500)).await.is_ok(), "it heals by itself");
    }

    #[tokio::test]
    async fn a_redirect_and_an_answer_without_an_end_bring_no_keys() {
        let server = Server::default();
        server.serve(Some(format!("{{\"keys\":[],\"pad\":\"{}\"}}", "x".repeat(LARGEST))));
        let ring = server.ring(Algorithm::EdDsa).await;
        assert_eq!(ring.source.load(Algorithm::EdDsa).await.unwrap_err(), KeyError::TooLarge);
        let Source::JwksUrl { client, mut url } = ring.source.clone() else { unreachable!() };
        url.set_path("/moved");
        let moved = Source::JwksUrl { client, url }.load(Algorithm::EdDsa).await.unwrap_err();
        assert!(moved.to_string().contains("307"), "{moved}");
        assert!(Source::url("http://keys.example/jwks").is_err(), "not in the clear over a network");
    }

    #[tokio::test]
    async fn a_key_file_that_is_replaced_is_read_again_within_seconds() {
        let (old, new) = (TestKey::new(EdDSA), TestKey::new(EdDSA));
        let path = std::env::temp_dir().join(format!("makegood-keys-{}.json", uuid::Uuid::now_v7()));
        std::fs::write(&path, testing::jwks(&[("old", &old)])).unwrap();
        let ring = Arc::new(KeyRing::new("staff", Source::JwksFile(path.clone()), Algorithm::EdDsa));
        assert!(ring.find(Some("old"), at(0)).await.is_ok());
        std::fs::write(&path, testing::jwks(&[("new", &new)])).unwrap();
        assert!(ring.find(Some("old"), at(4)).await.is_ok());
        assert!(ring.find(Some("old"), at(5)).await.is_err());
        assert!(ring.find(Some("new"), at(5)).await.is_ok());
        std::fs::remove_file(&path).unwrap();
        assert!(ring.find(Some("new"), at(100)).await.is_ok(), "a lost file is not a retired key");
    }

    #[tokio::test]
    async fn a_clock_that_is_set_back_does_not_keep_old_keys() {
        let key = TestKey::new(EdDSA);
        let server = Server::default();
        server.serve(Some(testing::jwks(&[("one", &key)])));
        let ring = server.ring(Algorithm::EdDsa).await;
        assert!(ring.find(Some("one"), at(0)).await.is_ok());
        assert!(ring.find(Some("one"), at(-3600)).await.is_ok());
        assert_eq!(server.asked(), 2);
    }
}
