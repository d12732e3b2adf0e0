//! Each row of `bad_inputs/auth.jsonl` is one hostile request. It must get one of the answers that the row states, as a
//! problem document, and must leave every table as it was.
//!
//! In the rows `@jwt(...)` stands for a good token of staff with what is named in the brackets changed, `@jwe()` for an
//! encrypted one, `@jws_json()` for the JSON form, `@sid(...)` for a session's cookie and `@fill(n)` for n letters.
//! Rows about signing in have no route in this router: 404 counts as passed.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::{HeaderValue, Request, StatusCode, Uri, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use jsonwebtoken::Algorithm::RS256;
use makegood::domain::actor::Role;
use makegood::http::auth::session;
use makegood::store::people;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::testing::{TestKey, base64url, sign_hs256};
use crate::{Answered, Desk, actor, desk, support};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    why: String,
    to: String,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    query: Map<String, Value>,
    /// How many of these requests come at once.
    #[serde(default)]
    times: Option<usize>,
    status: BTreeSet<u16>,
    /// Words of the refusal at the API, so that a row is refused for its own reason and not for another.
    #[serde(default)]
    says: Option<String>,
}

fn rows() -> Vec<Row> {
    include_str!("../bad_inputs/auth.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What the words in the rows stand for.
struct Cast<'a> {
    desk: &'a Desk,
    other: TestKey,
    retired: TestKey,
    logged_out: String,
    disabled: String,
}

impl<'a> Cast<'a> {
    async fn new(desk: &'a Desk) -> Self {
        let mut conn = desk.app.pool.acquire().await.unwrap();
        let now = desk.now();
        let (logged_out, _) = session::open(&mut conn, &actor("ana", Role::Agent), now).await.unwrap();
        session::end(&mut conn, &logged_out, now).await.unwrap();
        let (disabled, _) = session::open(&mut conn, &actor("deleted", Role::Agent), now).await.unwrap();
        people::set_disabled(&mut conn, "staff", "deleted", true).await.unwrap();
        people::refuse_before(&mut conn, "staff", "promoted", now).await.unwrap();
        Cast { desk, other: TestKey::new(RS256), retired: TestKey::new(RS256), logged_out, disabled }
    }

    /// A row's text with every `@word(...)` put in.
    fn fill(&self, text: &str, number: usize) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('@') {
            filled.push_str(&rest[..at]);
            let word = &rest[at..];
            let Some(open) = word.find('(') else {
                filled.push_str(word);
                return filled;
            };
            let close = closing(word, open);
            let arguments = word[open + 1..close].replace("@number", &number.to_string());
            filled.push_str(&match &word[1..open] {
                "jwt" => self.token(&arguments),
                "jwe" => format!("{}.a.b.c.d", base64url(r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#)),
                "jws_json" => self.json_form(),
                "sid" if arguments == "logged_out" => format!("__Host-sid={}", self.logged_out),
                "sid" if arguments == "disabled" => format!("__Host-sid={}", self.disabled),
                "fill" => "x".repeat(arguments.parse().unwrap()),
                "state" => "a-state".to_owned(),
                unknown => panic!("@{unknown} stands for nothing"),
            });
            rest = &word[close + 1..];
        }
        filled + rest
    }

    fn json_form(&self) -> String {
        let token = self.token("");
        let parts: Vec<&str> = token.split('.').collect();
        json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] }).to_string()
    }

    /// A good token but for `changes`.
    fn token(&self, changes: &str) -> String {
        let mut header = json!({ "typ": "JWT", "alg": "RS256", "kid": "known" }).as_object().unwrap().clone();
        let mut claims = self.desk.claims("ana");
        let (mut key, mut tail, mut after): (&str, String, Option<&str>) = ("staff", String::new(), None);
        for change in split(changes) {
            let (name, value) = change.split_once('=').unwrap_or((change, ""));
            match name {
                "alg" | "kid" | "jku" | "x5u" => {
                    header.insert(name.to_owned(), json!(value.replace("\\u0000", "\u{0}")));
                }
                "jwk" => drop(header.insert("jwk".to_owned(), self.other.jwk("known"))),
                "crit" => drop(header.insert("crit".to_owned(), json!([value.trim_matches(['[', ']'])]))),
                "b64" => drop(header.insert("b64".to_owned(), json!(false))),
                "key" => key = if value.is_empty() { "nothing" } else { value },
                "sig" | "pad" | "tamper" => after = Some(name),
                "dup" => tail = format!(",\"{value}\":\"somebody else\""),
                "epoch" => drop(claims.insert("sub".to_owned(), json!("promoted"))),
                _ => self.change(&mut claims, name, value),
            }
        }
        if key == "retired" {
            header.insert("kid".to_owned(), json!("retired"));
        }
        let header = Value::Object(header).to_string();
        let claims = Value::Object(claims).to_string().replace("\"1e400\"", "1e400");
        let claims = format!("{}{tail}}}", claims.strip_suffix('}').unwrap());
        let signed = match key {
            "staff" => self.desk.staff.sign(&header, &claims),
            "other" => self.other.sign(&header, &claims),
            "retired" => self.retired.sign(&header, &claims),
            "rsa_public_pem" => sign_hs256(self.desk.staff.pem.as_bytes(), &header, &claims),
            "jwk_n" => sign_hs256(self.desk.staff.jwk("known")["n"].as_str().unwrap().as_bytes(), &header, &claims),
            "secret" => sign_hs256(b"secret", &header, &claims),
            "nothing" => sign_hs256(b"", &header, &claims),
            unknown => panic!("there is no key {unknown}"),
        };
        match after {
            None => signed,
            Some("sig") => format!("{}.", signed.rsplit_once('.').unwrap().0),
            Some("pad") => signed.split('.').map(padded).collect::<Vec<_>>().join("."),
            Some(_) => {
                let parts: Vec<&str> = signed.split('.').collect();
                let raised = claims.replace("\"ana\"", "\"root\"");
                assert_ne!(raised, claims);
                format!("{}.{}.{}", parts[0], base64url(raised), parts[2])
            }
        }
    }

    fn change(&self, claims: &mut Map<String, Value>, name: &str, value: &str) {
        let ours = "https://staff.example";
        let value = match (name, value) {
            (_, "del") => {
                assert!(claims.remove(name).is_some(), "{name}");
                return;
            }
            ("exp", "1e400") => json!("1e400"),
            ("exp_abs", number) => {
                claims.insert("exp".to_owned(), serde_json::from_str(number).unwrap());
                return;
            }
            ("exp" | "nbf" | "iat", offset) if offset.parse::<i64>().is_ok() => {
                let offset = offset.parse().unwrap();
                if name == "exp" && offset < 0 {
                    // A token that was good for ten minutes, and is over.
                    claims.insert("iat".to_owned(), json!(self.desk.seconds(offset - 600)));
                }
                json!(self.desk.seconds(offset))
            }
            ("iss", "ours/") => json!(format!("{ours}/")),
            ("iss", "[ours]") => json!([ours]),
            ("aud", list) => {
                let list = list.trim_matches(['[', ']']).split(',').filter(|one| !one.is_empty());
                json!(list.map(|one| if one == "ours" { "makegood" } else { one }).collect::<Vec<_>>())
            }
            ("sub", subject) => json!(subject),
            (_, raw) => serde_json::from_str(raw).unwrap_or_else(|error| panic!("{name}={raw}: {error}")),
        };
        claims.insert(name.to_owned(), value);
    }
}

/// Where the bracket at `open` closes.
fn closing(word: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, letter) in word.char_indices().skip(open) {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    panic!("{word} is not closed");
}

/// Splits at commas that stand in no brackets and no quotes.
fn split(changes: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth, mut quoted) = (Vec::new(), 0, 0, false);
    for (at, letter) in changes.char_indices() {
        match letter {
            '"' => quoted = !quoted,
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            ',' if depth == 0 && !quoted => {
                parts.push(&changes[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&changes[start..]);
    parts.retain(|part| !part.is_empty());
    parts
}

/// A base64url part with the padding that a JWT leaves out.
fn padded(part: &str) -> String {
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap();
    let kept = URL_SAFE.encode(bytes);
    if kept.contains('=') { kept } else { format!("{kept}=") }
}

fn request(cast: &Cast<'_>, row: &Row, path: &str, number: usize) -> Request<Body> {
    let query: Vec<String> = row
        .query
        .iter()
        .map(|(name, value)| format!("{name}={}", cast.fill(value.as_str().unwrap(), number).replace(':', "%3A")))
        .collect();
    let uri: Uri = format!("{path}?{}", query.join("&")).parse().unwrap();
    let mut request = Request::builder().method(row.method.as_deref().unwrap_or("GET")).uri(uri);
    for (name, value) in &row.headers {
        let value = HeaderValue::from_str(&cast.fill(value, number)).unwrap();
        request.headers_mut().unwrap().append(header::HeaderName::try_from(name).unwrap(), value);
    }
    request.body(Body::empty()).unwrap()
}

fn check(row: &Row, path: &str, answered: &Answered) {
    let has_route = row.to == "protected";
    let status = answered.status.as_u16();
    let fits = if has_route { row.status.contains(&status) } else { status == 404 };
    assert!(fits, "{} ({}) at {path}: {answered:?}", row.id, row.why);
    assert!(status < 500, "{}: {answered:?}", row.id);
    match answered.status {
        StatusCode::SEE_OTHER => assert_eq!(answered.headers[header::LOCATION], "/sign-in", "{}", row.id),
        StatusCode::OK => assert_eq!(answered.body, "staff|ana", "{}", row.id),
        _ => {
            assert_eq!(answered.headers[header::CONTENT_TYPE], "application/problem+json", "{}", row.id);
            let problem: Value = serde_json::from_str(&answered.body).unwrap();
            assert_eq!(problem["status"], status, "{}", row.id);
            if let Some(says) = &row.says {
                assert!(problem["detail"].as_str().unwrap().contains(says), "{} ({}): {problem}", row.id, row.why);
            }
            for inside in ["sqlx", "jsonwebtoken", "panicked", "src/", ".rs", "SELECT", "eyJ", "machine_token"] {
                assert!(!answered.body.contains(inside), "{}: {}", row.id, answered.body);
            }
        }
    }
    if answered.status == StatusCode::UNAUTHORIZED {
        assert_eq!(answered.headers[header::WWW_AUTHENTICATE], "Bearer", "{}", row.id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hostile_request_gets_the_answer_that_its_row_states_and_changes_nothing() {
    if support::is_skipped("every_hostile_request_gets_the_answer_that_its_row_states_and_changes_nothing") {
        return;
    }
    let desk = desk().await;
    let cast = Cast::new(&desk).await;
    let good = desk.with_token(&cast.token("")).await;
    assert_eq!((good.status, good.body.as_str()), (StatusCode::OK, "staff|ana"), "what the rows change is good");
    let rows = rows();
    assert_eq!(rows.len(), 61);
    let mut routed = 0;
    let before = desk.rows().await;
    for row in rows.iter().filter(|row| row.times.is_none()) {
        // A cookie is of no use at the API, and is looked at by pages.
        let has_cookie = row.headers.iter().any(|(name, _)| name == "cookie");
        let paths: &[&str] = match row.to.as_str() {
            "protected" if has_cookie => &["/v1/protected", "/page"],
            "protected" => &["/v1/protected"],
            _ => &["/sign-in/unknown"],
        };
        for path in paths {
            check(row, path, &desk.send(request(&cast, row, path, 0)).await);
        }
        routed += usize::from(row.to == "protected");
        assert_eq!(desk.rows().await, before, "{} ({}) wrote something", row.id, row.why);
    }
    assert_eq!(routed, 51);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_hostile_requests_are_refused_one_by_one_and_ask_the_key_server_once() {
    if support::is_skipped("floods_of_hostile_requests_are_refused_one_by_one_and_ask_the_key_server_once") {
        return;
    }
    let desk = desk().await;
    let cast = Cast::new(&desk).await;
    let rows = rows();
    let before = desk.rows().await;
    let floods: Vec<&Row> = rows.iter().filter(|row| row.times.is_some()).collect();
    assert_eq!(floods.len(), 4);
    for row in floods {
        let path = if row.to == "protected" { "/v1/protected" } else { "/sign-in/unknown" };
        // The signature does not matter here: no key of such an id is found to hold it against.
        let prototype = request(&cast, row, path, 0);
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..row.times.unwrap() {
            let mut request = Request::builder().method(prototype.method()).uri(prototype.uri());
            if row.to == "protected" {
                let header = json!({ "typ": "JWT", "alg": "RS256", "kid": number.to_string() }).to_string();
                let claims = Value::Object(desk.claims("ana")).to_string();
                let token = format!("Bearer {}.{}.c2ln", base64url(header), base64url(claims));
                request = request.header(header::AUTHORIZATION, token);
            }
            let request = request.body(Body::empty()).unwrap();
            let router = desk.router.clone();
            tasks.spawn(async move { tower::ServiceExt::oneshot(router, request).await.unwrap().status() });
        }
        let allowed = |status: StatusCode| match row.to.as_str() {
            "protected" => row.status.contains(&status.as_u16()),
            _ => status == StatusCode::NOT_FOUND,
        };
        for status in tasks.join_all().await {
            assert!(allowed(status), "{} ({}): {status}", row.id, row.why);
        }
    }
    assert_eq!(desk.fetches.load(Ordering::SeqCst), 1);
    assert_eq!(desk.rows().await, before);
}
