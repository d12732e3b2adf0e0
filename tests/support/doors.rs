//! The real router over a world, with issuers whose keys the test holds.

#![allow(dead_code)]

#[path = "../../src/http/auth/testing.rs"]
#[allow(dead_code)]
mod testing;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use jsonwebtoken::Algorithm::EdDSA;
use makegood::cli::token::{self, CreateArgs};
use makegood::clock::Clock;
use makegood::domain::actor::Role;
use makegood::domain::time::{DAY, Instant, SECOND};
use makegood::http::auth::{Issuers, IssuersConfig, MachineKey};
use makegood::http::{App, router};
use serde_json::{Value, json};
use sqlx::PgPool;
use testing::TestKey;
use tower::ServiceExt;
use uuid::Uuid;

use crate::world::staff;

pub struct Doors {
    pub app: App,
    pub router: Router,
    pub issuers_file: std::path::PathBuf,
    key: TestKey,
    machines: MachineKey,
    pub folder: std::path::PathBuf,
}

impl Drop for Doors {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// What was answered.
#[derive(Debug)]
pub struct Answered {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answered {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// Status and code of a refusal.
    pub fn code(&self) -> (u16, String) {
        (self.status.as_u16(), self.json()["code"].as_str().unwrap_or_default().to_owned())
    }
}

/// Doors on business time `now`.
pub async fn doors(pool: &PgPool, now: Instant) -> Doors {
    let folder = std::env::temp_dir().join(format!("makegood-doors-{}", Uuid::now_v7()));
    std::fs::create_dir(&folder).unwrap();
    let key = TestKey::new(EdDSA);
    let (pem, issuers_file) = (folder.join("key.pem"), folder.join("issuers.toml"));
    std::fs::write(&pem, &key.pem).unwrap();
    let issuer = |name: &str, roles: &str| {
        format!(
            "[[issuer]]\nname = \"{name}\"\nissuer = \"https://{name}.example\"\naudience = \"makegood\"\nroles = {roles}\n\
             algorithm = \"EdDSA\"\nkeys = {{ file = {pem:?} }}\n"
        )
    };
    let text = issuer("staff", r#"["operations", "agent", "supervisor", "finance", "auditor", "admin"]"#)
        + &issuer("customers", r#"["customer"]"#);
    std::fs::write(&issuers_file, &text).unwrap();
    let config: IssuersConfig = toml::from_str(&text).unwrap();
    let machines = MachineKey::load_or_create(&folder.join("keys")).unwrap();
    let clock = Clock::real();
    clock.step_to(now);
    let issuers = Issuers::load(&config).await.unwrap().with_machines(&machines);
    let app = App::new(pool.clone(), clock, Arc::new(issuers));
    Doors { router: router::router(app.clone()), app, issuers_file, key, machines, folder }
}

impl Doors {
    fn sign(&self, issuer: &str, subject: &str, more: &[(&str, Value)]) -> String {
        let seconds = self.app.clock.real_now().micros() / SECOND;
        let mut claims = json!({
            "iss": format!("https://{issuer}.example"), "aud": "makegood", "sub": subject, "name": subject,
            "iat": seconds - 5, "exp": seconds + 590,
        });
        for (name, value) in more {
            claims[*name] = value.clone();
        }
        self.key.sign(r#"{"typ":"JWT","alg":"EdDSA"}"#, &claims.to_string())
    }

    pub fn staff(&self, subject: &str, role: Role) -> String {
        self.sign("staff", subject, &[("roles", json!([role]))])
    }

    pub fn customer(&self, subject: &str, accounts: &[&str]) -> String {
        self.sign("customers", subject, &[("roles", json!(["customer"])), ("accounts", json!(accounts))])
    }

    pub async fn machine(&self, role: Role, source: &str) -> String {
        let args = CreateArgs { role, source: source.to_owned(), expires: DAY };
        let admin = staff("root", Role::Admin);
        token::create(&self.app.pool, &self.machines, &self.app.clock, &admin, &args).await.unwrap().token
    }

    pub async fn send(&self, method: Method, path: &str, token: &str, key: &str, body: Option<&Value>) -> Answered {
        let mut request =
            Request::builder().method(method).uri(path).header(header::AUTHORIZATION, format!("Bearer {token}"));
        if !key.is_empty() {
            request = request.header("idempotency-key", key);
        }
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        let (parts, body) = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap().into_parts();
        let body = axum::body::to_bytes(body, 1 << 24).await.unwrap();
        Answered { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    pub async fn get(&self, path: &str, token: &str) -> Answered {
        self.send(Method::GET, path, token, "", None).await
    }

    pub async fn post(&self, path: &str, token: &str, key: &str, body: &Value) -> Answered {
        self.send(Method::POST, path, token, key, Some(body)).await
    }
}
