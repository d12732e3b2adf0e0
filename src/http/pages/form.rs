//! Forms that change something: from a page of this session, sent once, however often the button is pressed.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::errors::PageError;
use super::view::FormKeys;
use super::visitor::{Visitor, origin};
use crate::domain::refusal::{Code, Refusal};
use crate::flows::once::{Answer, IdempotencyKey};
use crate::http::App;
use crate::http::auth::session::Session;
use crate::store::Error;

/// The largest form, in bytes: 4,000 characters of the longest kind, percent-encoded.
const LIMIT: usize = 64 * 1024;

/// A form with its sender and its key.
#[derive(Debug)]
pub struct Posted<T> {
    pub visitor: Visitor,
    pub key: IdempotencyKey,
    pub form: T,
}

impl<T> Posted<T> {
    /// The hidden fields of the same form, shown again: a refused try used no key up.
    pub fn keys(&self) -> FormKeys {
        FormKeys { csrf: self.visitor.csrf.clone(), key: self.key.key.clone() }
    }
}

/// The hidden fields.
#[derive(Debug, Deserialize)]
struct Hidden {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    key: String,
}

impl<T: DeserializeOwned> FromRequest<App> for Posted<T> {
    type Rejection = PageError;

    async fn from_request(request: Request, app: &App) -> Result<Self, PageError> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, app).await?;
        let bytes = bytes(body).await?;
        let hidden: Hidden = read(&parts, &bytes).await?;
        let session = Session { actor: visitor.actor.clone(), csrf: visitor.csrf.clone() };
        session.check_form(&parts.headers, &origin(app, &parts.headers), &hidden.csrf)?;
        let is_key = (1..=100).contains(&hidden.key.len()) && hidden.key.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_key {
            return Err(Refusal::new(Code::InvalidRequest, "The form is not complete. Open the page again.").into());
        }
        let fingerprint = Sha256::new()
            .chain_update(parts.method.as_str())
            .chain_update([0])
            .chain_update(parts.uri.path())
            .chain_update([0])
            .chain_update(&bytes)
            .finalize()
            .into();
        let form = read(&parts, &bytes).await?;
        Ok(Posted { visitor, key: IdempotencyKey { key: hidden.key, fingerprint }, form })
    }
}

/// How often, and after how long each time, a form asks again whose twin is being answered.
const TRIES: u32 = 50;
const WAIT: Duration = Duration::from_millis(100);

/// Does a deed under its key. Where the same form is being answered at this moment (somebody pressed the button twice, and
/// the browser shows the second answer), waits for that answer and gives the same.
pub async fn patiently<D, F>(deed: D) -> Result<Answer, Error>
where
    D: Fn() -> F,
    F: Future<Output = Result<Answer, Error>>,
{
    for _ in 1..TRIES {
        match deed().await {
            Err(Error::Refused(refusal)) if refusal.code == Code::IdempotencyInFlight => {
                tokio::time::sleep(WAIT).await;
            }
            done => return done,
        }
    }
    deed().await
}

/// The body of a form, of bounded length.
pub async fn bytes(body: Body) -> Result<axum::body::Bytes, PageError> {
    axum::body::to_bytes(body, LIMIT)
        .await
        .map_err(|_| Refusal::new(Code::PayloadTooLarge, "The form is over 64 KiB.").into())
}

/// Reads the fields of a form; those that `T` does not name are left out.
pub async fn read<T: DeserializeOwned>(parts: &Parts, bytes: &axum::body::Bytes) -> Result<T, PageError> {
    let mut request = Request::new(Body::from(bytes.clone()));
    *request.method_mut() = parts.method.clone();
    *request.headers_mut() = parts.headers.clone();
    axum::Form::<T>::from_request(request, &())
        .await
        .map(|axum::Form(form)| form)
        .map_err(|error| Refusal::new(Code::InvalidRequest, format!("The form cannot be read: {error}")).into())
}
