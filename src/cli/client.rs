//! A client of the service's API, for the commands that do at a terminal what others do by a program.

use std::time::Duration;

use clap::Args;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;

#[derive(Debug, Args)]
pub struct ServerArgs {
    /// The service.
    #[arg(long, env = "MAKEGOOD_URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// A token of a role that may do this.
    #[arg(long, env = "MAKEGOOD_TOKEN", hide_env_values = true)]
    pub token: String,
}

/// Why the service did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nothing was sent.
    #[error("the service at {url} does not answer ({why}). Nothing was done. Is the address right, and does it run?")]
    Away { url: String, why: String },
    /// It may have been done: the same request with the same key finds out.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    #[error("{}", said(.detail, .errors))]
    Refused { status: StatusCode, code: String, detail: String, errors: Vec<String> },
    #[error("the service did not answer in JSON: {0}")]
    NotJson(String),
}

fn said(detail: &str, errors: &[String]) -> String {
    errors.iter().fold(detail.to_owned(), |text, error| format!("{text}\n  {error}"))
}

impl CallError {
    /// What the program ends with: 4 not signed in or not allowed, 5 conflict, 1 anything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            CallError::Refused { status, .. } => match *status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => 4,
                StatusCode::CONFLICT => 5,
                _ => 1,
            },
            CallError::Away { .. } | CallError::Unknown(_) | CallError::NotJson(_) => 1,
        }
    }
}

/// How long an answer may take, but for a file's.
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Client<'a> {
    http: reqwest::Client,
    limit: Duration,
    server: &'a ServerArgs,
}

impl<'a> Client<'a> {
    pub fn new(server: &'a ServerArgs) -> anyhow::Result<Self> {
        let http =
            reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).connect_timeout(LIMIT).build()?;
        Ok(Client { http, limit: LIMIT, server })
    }

    /// Reads what is at `path`.
    pub async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, CallError> {
        self.answer(self.request(Method::GET, path, query)?.timeout(self.limit)).await
    }

    /// Reads the one of `path` that is called `name`.
    pub async fn get_named(&self, path: &str, name: &str) -> Result<Value, CallError> {
        let named = format!("{}{path}", self.server.url.trim_end_matches('/'));
        let away = |why: String| CallError::Away { url: self.server.url.clone(), why };
        let mut url = reqwest::Url::parse(&named).map_err(|error| away(error.to_string()))?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push(name);
        }
        self.answer(self.http.get(url).timeout(self.limit).bearer_auth(&self.server.token)).await
    }

    /// Sends JSON where no key is needed.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, CallError> {
        self.answer(self.request(Method::POST, path, &[])?.timeout(self.limit).json(body)).await
    }

    /// Sends JSON under an `Idempotency-Key`: the same key again is the same deed.
    pub async fn post_once(&self, path: &str, key: &str, body: &Value) -> Result<Value, CallError> {
        let request = self.request(Method::POST, path, &[])?.timeout(self.limit);
        self.answer(request.header("idempotency-key", key).json(body)).await
    }

    /// Sends a file.
    pub async fn post_file(
        &self,
        path: &str,
        query: &[(&str, String)],
        content_type: &str,
        body: reqwest::Body,
    ) -> Result<Value, CallError> {
        let request = self.request(Method::POST, path, query)?;
        self.answer(request.header("content-type", content_type).body(body)).await
    }

    fn request(&self, method: Method, path: &str, query: &[(&str, String)]) -> Result<RequestBuilder, CallError> {
        let at = format!("{}{path}", self.server.url.trim_end_matches('/'));
        let away = |why: String| CallError::Away { url: self.server.url.clone(), why };
        let mut url = reqwest::Url::parse(&at).map_err(|error| away(error.to_string()))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(self.http.request(method, url).bearer_auth(&self.server.token))
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Value, CallError> {
        let limit = self.limit;
        let unknown = |error: reqwest::Error| {
            CallError::Unknown(match error.is_timeout() {
                true => format!("no answer within {limit:?}"),
                false => error.without_url().to_string(),
            })
        };
        let response = request.send().await.map_err(|error| {
            if error.is_connect() || error.is_builder() {
                CallError::Away { url: self.server.url.clone(), why: error.without_url().to_string() }
            } else {
                unknown(error)
            }
        })?;
        let status = response.status();
        let text = response.text().await.map_err(unknown)?;
        let read = serde_json::from_str::<Value>(&text);
        if status.is_success() {
            return read.map_err(|_| CallError::NotJson(text.chars().take(200).collect()));
        }
        let body = read.unwrap_or_default();
        let detail = body["detail"].as_str().map_or_else(|| format!("the service answered {status}"), str::to_owned);
        if matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT) {
            return Err(CallError::Unknown(detail));
        }
        let error = |one: &Value| {
            let text = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
            let line = one["line"].as_i64().map(|line| format!("line {line} ")).unwrap_or_default();
            format!("{line}{}: {}", text("pointer"), text("message"))
        };
        Err(CallError::Refused {
            status,
            code: body["code"].as_str().unwrap_or_default().to_owned(),
            detail,
            errors: [&body["errors"], &body["report"]["errors"]]
                .into_iter()
                .filter_map(Value::as_array)
                .flatten()
                .map(error)
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_service_that_does_not_answer_is_not_waited_for_without_end() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        let server = ServerArgs { url, token: "t".to_owned() };
        let client = Client { limit: Duration::from_millis(50), ..Client::new(&server).unwrap() };
        let deed = client.post_once("/v1/outages", "k", &Value::Null).await.unwrap_err();
        assert_eq!(deed.to_string(), "the outcome is unknown: no answer within 50ms");
        assert!(matches!(client.get("/v1/outages", &[]).await, Err(CallError::Unknown(_))));
    }
}
