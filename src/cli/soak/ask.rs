//! Asking the service as a careful client does: what has no certain outcome is asked again, with the same key.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::Soak;
use crate::domain::actor::Actor;

/// How long one try may take.
const LIMIT: Duration = Duration::from_secs(20);
/// How long a deed is tried before it is a broken promise that nobody answers.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// What became of a deed.
#[derive(Debug)]
pub enum Outcome {
    Done(Value),
    /// A certain no, with its code.
    Refused(StatusCode, String),
    /// Nobody said, for as long as anybody waits.
    Unknown,
}

impl Outcome {
    pub fn done(self) -> Option<Value> {
        match self {
            Outcome::Done(body) => Some(body),
            Outcome::Refused(..) | Outcome::Unknown => None,
        }
    }
}

/// A deed: the same bytes however often it is sent.
#[derive(Debug)]
pub struct Asked<'a> {
    pub method: Method,
    pub path: &'a str,
    /// Empty where the door needs none.
    pub key: &'a str,
    pub body: Option<&'a Value>,
}

impl<'a> Asked<'a> {
    pub fn get(path: &'a str) -> Self {
        Asked { method: Method::GET, path, key: "", body: None }
    }

    pub fn post(path: &'a str, key: &'a str, body: &'a Value) -> Self {
        Asked { method: Method::POST, path, key, body: Some(body) }
    }
}

/// Whose token a request carries.
#[derive(Clone, Copy, Debug)]
pub enum Who<'a> {
    Person(&'a Actor),
    Machine(&'a str),
}

/// Asks until the outcome is certain, of one server or the other. Now and then the connection is dropped before the answer.
pub async fn insist(soak: &Soak, rng: &mut fastrand::Rng, who: Who<'_>, asked: &Asked<'_>) -> Outcome {
    let began = std::time::Instant::now();
    loop {
        if let Some(url) = soak.server(rng).await {
            // A dropped future closes its connection, whatever the server is at.
            let limit = if rng.u8(0..20) == 0 { Duration::from_millis(rng.u64(0..30)) } else { LIMIT };
            match tokio::time::timeout(limit, once(soak, who, asked, &url)).await {
                Ok(Some((status, body))) if status.is_success() => return Outcome::Done(body),
                Ok(Some((status, body))) if !is_uncertain(status, &body) => {
                    let code = body["code"].as_str().unwrap_or_default().to_owned();
                    if status.is_server_error() || status == StatusCode::UNAUTHORIZED {
                        soak.ledger.broke(format!("{} answered {status}: {body}", asked.path));
                    }
                    return Outcome::Refused(status, code);
                }
                Ok(_) => soak.ledger.count("answers that were uncertain"),
                Err(_) => soak.ledger.count("connections dropped"),
            }
        }
        if began.elapsed() > PATIENCE {
            soak.ledger.broke(format!("nobody answered {} within {PATIENCE:?}", asked.path));
            return Outcome::Unknown;
        }
        tokio::time::sleep(Duration::from_millis(rng.u64(20..200))).await;
    }
}

/// Away, overloaded, unknown, or still at the try before: the same again finds out.
fn is_uncertain(status: StatusCode, body: &Value) -> bool {
    status == StatusCode::SERVICE_UNAVAILABLE || body["code"] == "idempotency_in_flight"
}

/// One try; none where the connection broke.
async fn once(soak: &Soak, who: Who<'_>, asked: &Asked<'_>, url: &str) -> Option<(StatusCode, Value)> {
    let token = match who {
        Who::Person(actor) => soak.issuer.token(actor).ok()?,
        Who::Machine(token) => token.to_owned(),
    };
    let mut request = soak.http.request(asked.method.clone(), format!("{url}{}", asked.path)).bearer_auth(token);
    if !asked.key.is_empty() {
        request = request.header("idempotency-key", asked.key);
    }
    if let Some(body) = asked.body {
        request = request.json(body);
    }
    let response = request.send().await.ok()?;
    let status = response.status();
    let text = response.text().await.ok()?;
    match serde_json::from_str(&text) {
        Ok(body) => Some((status, body)),
        Err(_) => {
            soak.ledger.broke(format!("{} answered {status} and no JSON", asked.path));
            None
        }
    }
}
