//! The story speaks to the service as everybody does: over HTTP, with a token and a key of its own.

use anyhow::{Context, bail};
use reqwest::{Method, StatusCode};
use serde_json::Value;

/// A client of one running service.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    url: String,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub body: Value,
}

impl Client {
    pub fn new(url: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Client { http, url: url.to_owned() })
    }

    /// Sends JSON under a key. The same key in a second run of the story gets the first one's answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        token: &str,
        key: &str,
        body: &Value,
    ) -> anyhow::Result<Reply> {
        let request =
            self.http.request(method, self.at(path)).bearer_auth(token).header("idempotency-key", key).json(body);
        reply(path, request).await
    }

    /// As [`Client::send`], where anything but a success ends the story.
    pub async fn done(
        &self,
        method: Method,
        path: &str,
        token: &str,
        key: &str,
        body: &Value,
    ) -> anyhow::Result<Value> {
        success(path, self.send(method, path, token, key, body).await?)
    }

    pub async fn get(&self, path: &str, token: &str) -> anyhow::Result<Value> {
        success(path, reply(path, self.http.get(self.at(path)).bearer_auth(token)).await?)
    }

    /// Sends a bulk file.
    pub async fn load(&self, path: &str, token: &str, lines: String) -> anyhow::Result<Value> {
        let request =
            self.http.post(self.at(path)).bearer_auth(token).header("content-type", "application/x-ndjson").body(lines);
        success(path, reply(path, request).await?)
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }
}

async fn reply(path: &str, request: reqwest::RequestBuilder) -> anyhow::Result<Reply> {
    let response = request.send().await.with_context(|| format!("{path} does not answer"))?;
    let status = response.status();
    let text = response.text().await?;
    let body = serde_json::from_str(&text).with_context(|| format!("{path} answered {status} and no JSON: {text}"))?;
    Ok(Reply { status, body })
}

fn success(path: &str, reply: Reply) -> anyhow::Result<Value> {
    if !reply.status.is_success() {
        bail!("{path} answered {}: {}", reply.status, reply.body);
    }
    Ok(reply.body)
}
