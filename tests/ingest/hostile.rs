//! Each row of `bad_inputs/ingest.jsonl` is one hostile delivery to `POST /v1/ingest/generic`. It must get the answer that the
//! row states, as a problem document where it is a no, and write what the row says and nothing else.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use makegood::domain::actor::Role;
use makegood::domain::time::SECOND;
use makegood::http::listener;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{Answered, Desk, WHSEC, at, desk, event, support};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    why: String,
    #[serde(default)]
    method: Option<String>,
    /// Whose token it has: the probe's unless said.
    #[serde(default, rename = "as")]
    who: Option<String>,
    /// What is sent before it: a good event with these fields changed.
    #[serde(default)]
    before: Option<Map<String, Value>>,
    /// The body: a good event with fields changed or left out, or something else.
    #[serde(default)]
    set: Map<String, Value>,
    #[serde(default)]
    drop: Vec<String>,
    #[serde(default)]
    fill: Option<(String, usize)>,
    /// More of the good event's object, as it is.
    #[serde(default)]
    raw_field: Option<String>,
    /// The good event behind the mark of UTF-8.
    #[serde(default)]
    bom: bool,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    base64: Option<String>,
    #[serde(default)]
    deep: Option<usize>,
    #[serde(default)]
    keys: Option<usize>,
    #[serde(default)]
    digits: Option<usize>,
    #[serde(default)]
    zeros: Option<usize>,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    sign: Option<Sign>,
    /// A request to a real listener: this many headers of this many bytes.
    #[serde(default)]
    socket: Option<Socket>,
    status: u16,
    writes: String,
    /// Words of the refusal, so that a row is refused for its own reason and not for another.
    #[serde(default)]
    says: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sign {
    id: String,
    age: i64,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    times: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Socket {
    headers: usize,
    bytes: usize,
}

/// Where it is written down that an alert was taken.
const AUDITED: [&str; 3] = ["audit", "account_head", "outbox"];

fn rows() -> Vec<Row> {
    include_str!("../bad_inputs/ingest.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

impl Row {
    fn event(&self) -> Value {
        let mut event = event();
        event["event_id"] = json!(self.id);
        for (field, value) in &self.set {
            event[field.as_str()] = value.clone();
        }
        for field in &self.drop {
            event.as_object_mut().unwrap().remove(field).unwrap();
        }
        if let Some((field, length)) = &self.fill {
            event[field.as_str()] = json!("x".repeat(*length));
        }
        event
    }

    fn body(&self) -> Vec<u8> {
        let made = [
            self.text.clone(),
            self.deep.map(|depth| "[".repeat(depth)),
            self.keys.map(|count| {
                let keys: Vec<String> = (0..count).map(|at| format!("\"k{at}\":0")).collect();
                format!("{{{}}}", keys.join(","))
            }),
            self.digits.map(|count| format!("{{\"duration_s\":{}}}", "9".repeat(count))),
            self.zeros.map(|count| format!("\"{}\"", "0".repeat(count))),
        ];
        if let Some(text) = made.into_iter().flatten().next() {
            return text.into_bytes();
        }
        if let Some(text) = &self.base64 {
            return STANDARD.decode(text).unwrap();
        }
        let event = self.event().to_string();
        let event = match &self.raw_field {
            Some(field) => format!("{},{field}}}", event.strip_suffix('}').unwrap()),
            None => event,
        };
        if self.bom { format!("\u{feff}{event}").into_bytes() } else { event.into_bytes() }
    }
}

/// A token for each of whom the rows name.
struct Cast<'a> {
    desk: &'a Desk,
    tokens: BTreeMap<&'static str, String>,
}

impl<'a> Cast<'a> {
    async fn new(desk: &'a Desk) -> Self {
        let tokens = [
            ("probe", desk.doors.machine(Role::Ingest, "probe").await),
            ("signed", desk.doors.machine(Role::Ingest, "signed").await),
            ("billing", desk.doors.machine(Role::Billing, "billing").await),
            ("customer", desk.doors.customer("hana", &["20418876"])),
        ];
        Cast { desk, tokens: tokens.into() }
    }

    fn request(&self, row: &Row, body: Vec<u8>) -> Request<Body> {
        let mut request = Request::builder()
            .method(row.method.as_deref().unwrap_or("POST"))
            .uri("/v1/ingest/generic")
            .header(header::CONTENT_TYPE, row.content_type.as_deref().unwrap_or("application/json"));
        if let Some(token) = self.tokens.get(row.who.as_deref().unwrap_or("probe")) {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in &row.headers {
            request = request.header(name, value);
        }
        if let Some(sign) = &row.sign {
            let seconds = self.desk.doors.app.clock.real_now().micros() / SECOND - sign.age;
            let over = sign.body.as_ref().map_or(body.as_slice(), |body| body.as_bytes());
            let key = STANDARD.decode(WHSEC.strip_prefix("whsec_").unwrap()).unwrap();
            let content = [format!("{}.{seconds}.", sign.id).as_bytes(), over].concat();
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &content);
            let signature = format!("v1,{}", STANDARD.encode(tag));
            request = request
                .header("webhook-id", &sign.id)
                .header("webhook-timestamp", seconds.to_string())
                .header("webhook-signature", vec![signature; sign.times.unwrap_or(1)].join(" "));
        }
        request.body(Body::from(body)).unwrap()
    }

    async fn send(&self, row: &Row) -> Answered {
        match &row.socket {
            None => self.desk.send(self.request(row, row.body())).await,
            Some(socket) => self.over_a_socket(socket).await,
        }
    }

    /// The same over a real connection, since the router never sees such headers.
    async fn over_a_socket(&self, socket: &Socket) -> Answered {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let serving = tokio::spawn(listener::serve(listener, self.desk.doors.router.clone(), stopped));
        let (mut read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
        let mut head = format!("POST /v1/ingest/generic HTTP/1.1\r\nHost: {address}\r\n");
        for number in 0..socket.headers {
            head.push_str(&format!("x-{number}: {}\r\n", "y".repeat(socket.bytes)));
        }
        head.push_str("\r\n");
        // The service may hang up before it has read all of it.
        let writing = tokio::spawn(async move {
            let _ = write.write_all(head.as_bytes()).await;
            write
        });
        let mut answer = Vec::new();
        let _ = read.read_to_end(&mut answer).await;
        drop(writing.await.unwrap());
        stop.send(true).unwrap();
        serving.await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap_or_default();
        Answered { status: status.parse().unwrap(), headers: Default::default(), body: String::new() }
    }
}

fn check(row: &Row, answered: &Answered) {
    assert_eq!(answered.status.as_u16(), row.status, "{} ({}): {answered:?}", row.id, row.why);
    if row.socket.is_some() {
        return;
    }
    if answered.status == StatusCode::ACCEPTED {
        assert_eq!(answered.json()["rejected"], json!([]), "{}", row.id);
        return;
    }
    assert_eq!(answered.headers[header::CONTENT_TYPE], "application/problem+json", "{}", row.id);
    let problem = answered.json();
    assert_eq!(problem["status"], row.status, "{}", row.id);
    assert!(problem["code"].as_str().is_some_and(|code| !code.is_empty()), "{}: {problem}", row.id);
    let says = row.says.as_deref().unwrap_or_else(|| panic!("{} says nothing of its reason", row.id));
    assert!(problem["detail"].as_str().unwrap().contains(says), "{} ({}): {problem}", row.id, row.why);
    assert!(answered.body.len() < 4_000, "{}: {} bytes", row.id, answered.body.len());
    for inside in ["sqlx", "panicked", "src/", ".rs", "SELECT", "observation_", WHSEC] {
        assert!(!answered.body.contains(inside), "{}: {}", row.id, answered.body);
    }
}

/// How many rows each table of evidence has.
async fn counts(desk: &Desk) -> [i64; 4] {
    [
        desk.count("SELECT count(*) FROM delivery").await,
        desk.count("SELECT count(*) FROM rejected_alert").await,
        desk.count("SELECT count(*) FROM observation").await,
        desk.count("SELECT count(*) FROM outage_window").await,
    ]
}

/// What the row wrote, beyond what was there before.
async fn check_written(cast: &Cast<'_>, row: &Row, before: &[(String, String)], counted: [i64; 4]) {
    let desk = cast.desk;
    let now = counts(desk).await;
    let more: Vec<i64> = now.iter().zip(counted).map(|(now, then)| now - then).collect();
    let after = desk.rows().await;
    let changed: Vec<&str> =
        before.iter().zip(&after).filter(|(one, other)| one != other).map(|(one, _)| one.0.as_str()).collect();
    let allowed: &[&str] = match row.writes.as_str() {
        "nothing" => &[],
        // It was looked at under a stamp of its own.
        "the same" => &["evidence_clock"],
        "the body" => {
            assert_eq!(more, [1, 1, 0, 0], "{}", row.id);
            &["delivery", "rejected_alert"]
        }
        "what is to be mapped" => {
            assert_eq!(more, [1, 0, 1, 0], "{}", row.id);
            let listed = desk.to_map().await["unmapped"].to_string();
            assert!(listed.contains(row.set["shard"].as_str().unwrap()), "{}: {listed}", row.id);
            &["delivery", "observation", "evidence_clock"]
        }
        "a window" | "an open window" | "a correction" | "a window, and no more after it went down" => {
            assert_eq!(&more[..3], [1, 0, 1], "{} ({})", row.id, row.why);
            let event = row.event();
            let told: (Option<i64>, i64) = sqlx::query_as(
                "SELECT count(*) FILTER (WHERE ends_at IS NULL), count(*) FROM observation WHERE fingerprint = $1",
            )
            .bind(event["event_id"].as_str().unwrap())
            .fetch_one(&desk.database.owner)
            .await
            .unwrap();
            let open = i64::from(row.writes == "an open window");
            assert_eq!(told, (Some(open), if row.before.is_some() { 2 } else { 1 }), "{} ({})", row.id, row.why);
            &["delivery", "observation", "observation_window", "outage_window", "evidence_clock"]
        }
        unknown => panic!("{}: {unknown} is nothing that a row may write", row.id),
    };
    for table in &changed {
        let is_allowed = allowed.contains(table) || (more[2] > 0 && AUDITED.contains(table));
        assert!(is_allowed, "{} ({}) wrote to {table}", row.id, row.why);
    }
    if row.writes.starts_with("a window, and no more") {
        let windows = desk.windows().await;
        let down = Row { id: row.id.clone(), set: json!({"end": null}).as_object().unwrap().clone(), ..Row::default() };
        assert_eq!(cast.send(&down).await.status, StatusCode::ACCEPTED, "{}", row.id);
        assert_eq!(desk.windows().await, windows, "{}", row.id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hostile_delivery_gets_the_answer_that_its_row_states_and_writes_what_it_says() {
    if support::is_skipped("every_hostile_delivery") {
        return;
    }
    let desk = desk(at("2026-10-12T18:00:00Z")).await;
    let cast = Cast::new(&desk).await;
    let rows = rows();
    assert_eq!(rows.len(), 71);
    for row in &rows {
        if let Some(before) = &row.before {
            let first = Row { id: row.id.clone(), set: before.clone(), ..Row::default() };
            let answered = cast.send(&first).await;
            assert_eq!(answered.status, StatusCode::ACCEPTED, "{}: {answered:?}", row.id);
        }
        let (before, counted) = (desk.rows().await, counts(&desk).await);
        check(row, &cast.send(row).await);
        check_written(&cast, row, &before, counted).await;
        let ready = desk.send(Request::get("/readyz").body(Body::empty()).unwrap()).await;
        assert_eq!(ready.status, StatusCode::OK, "after {}", row.id);
    }
    let signed = Row {
        id: "signed".to_owned(),
        who: Some("signed".to_owned()),
        sign: Some(Sign { id: "msg_9".to_owned(), age: 0, body: None, times: None }),
        ..Row::default()
    };
    assert_eq!(cast.send(&signed).await.status, StatusCode::ACCEPTED, "what the rows about signatures change is good");
    let stored = desk.count("SELECT count(*) FROM observation WHERE fingerprint = 'x''); DROP TABLE credits;--'").await;
    assert_eq!(stored, 1);
}
