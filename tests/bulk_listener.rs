//! Bulk files over a real connection: hostile ones, ones that are cut off, and those that `makegood ingest` sends.

mod support;

#[path = "support/doors.rs"]
mod doors;
#[path = "support/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use axum::http::Method;
use base64::Engine;
use doors::{Doors, doors};
use makegood::cli::serve::Serving;
use makegood::domain::actor::Role;
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::PgPool;
use support::{PROGRAM, TestDatabase, database, is_skipped};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use world::*;

/// The service on a real listener, with one account and two shards.
struct Service {
    database: TestDatabase,
    doors: Doors,
    serving: Serving,
    token: String,
}

async fn service() -> Service {
    let database = database().await;
    let now = at("2026-11-24T09:00:00Z");
    let account = json!({ "account": "acct-a", "name": "Acct A", "zone": "UTC", "currency": "NZD" });
    send(&database.app, "accounts", &[account], now).await;
    register(&database.app, &[json!({ "shard": "s17" }), json!({ "shard": "s18" })], now).await;
    let doors = doors(&database.app, now).await;
    let token = doors.machine(Role::Ingest, "platform").await;
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let serving = Serving::start(doors.app.clone(), listen, None).await.unwrap();
    Service { database, doors, serving, token }
}

/// What was written: placements, audit rows, numbers of sources.
async fn written(pool: &PgPool) -> [i64; 3] {
    let counts: (i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM placement),
                (SELECT count(*) FROM audit WHERE action = 'placements.load'), (SELECT count(*) FROM source_line)",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    [counts.0, counts.1, counts.2]
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    why: String,
    #[serde(default)]
    csv: Option<String>,
    #[serde(default)]
    csv_b64: Option<String>,
    #[serde(default)]
    ndjson: Option<String>,
    #[serde(default)]
    made: Option<Made>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    who: Option<String>,
    status: BTreeSet<u16>,
    /// Words of the answer, so that a row is refused for its own reason and not for another.
    #[serde(default)]
    says: Option<String>,
    /// How many placements it adds.
    writes: i64,
}

/// A body that is made while it is sent.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Made {
    /// A CSV file whose only line has so many bytes.
    OneLine(usize),
    Columns(usize),
    /// So many bytes that begin as a packed file does.
    Packed(usize),
}

const HEADER: &[u8] = b"account,mailbox,shard,valid_from,valid_to,source\n";

impl Row {
    /// The content type, and the body as what begins it, what is repeated, and how often.
    fn body(&self) -> (&'static str, Vec<u8>, &'static [u8], usize) {
        const LETTERS: &[u8] = &[b'x'; 4_096];
        match (&self.csv, &self.csv_b64, &self.ndjson, self.made) {
            (Some(text), None, None, None) => ("text/csv", text.clone().into_bytes(), b"", 0),
            (None, Some(text), None, None) => {
                ("text/csv", base64::engine::general_purpose::STANDARD.decode(text).unwrap(), b"", 0)
            }
            (None, None, Some(text), None) => ("application/x-ndjson", text.clone().into_bytes(), b"", 0),
            (None, None, None, Some(Made::OneLine(bytes))) => {
                ("text/csv", HEADER.to_vec(), LETTERS, bytes / LETTERS.len())
            }
            (None, None, None, Some(Made::Columns(columns))) => ("text/csv", HEADER.to_vec(), b"x,", columns),
            (None, None, None, Some(Made::Packed(bytes))) => {
                ("text/csv", b"\x1f\x8b\x08\0".to_vec(), LETTERS, bytes / LETTERS.len())
            }
            _ => panic!("{} has not one body", self.id),
        }
    }
}

/// Sends the row, and gives status, content type and body of the answer.
async fn answer(service: &Service, row: &Row) -> (u16, String, String) {
    let (kind, begin, again, times) = row.body();
    let token = match row.who.as_deref() {
        None => service.token.clone(),
        Some("customer") => service.doors.customer("hana", &["acct-a"]),
        Some(other) => panic!("{other} has no token"),
    };
    let length = begin.len() + again.len() * times;
    let mut head = format!(
        "POST /v1/placements/batches HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: {kind}\r\n\
         content-length: {length}\r\nconnection: close\r\n"
    );
    for (name, value) in &row.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    let (mut from, mut to) = TcpStream::connect(service.serving.address).await.unwrap().into_split();
    // Whoever is refused early may not be able to send the rest.
    let sending = tokio::spawn(async move {
        to.write_all(head.as_bytes()).await?;
        to.write_all(&begin).await?;
        for _ in 0..times {
            to.write_all(again).await?;
        }
        Ok::<_, std::io::Error>(to)
    });
    let mut said = Vec::new();
    let read = from.read_to_end(&mut said).await;
    let said = String::from_utf8(said).unwrap();
    let _ = sending.await.unwrap();
    let (head, body) = said.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{}: {read:?} {said:?}", row.id));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let kind = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap_or_default();
    (status, kind.to_owned(), body.to_owned())
}

/// A value of this process in /proc, in KiB.
fn memory(name: &str) -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hostile_file_gets_the_answer_that_its_row_states_and_writes_what_it_states() {
    if is_skipped("every_hostile_file_gets_the_answer_that_its_row_states_and_writes_what_it_states") {
        return;
    }
    let service = service().await;
    let pool = &service.database.app;
    let rows: Vec<Row> =
        include_str!("bad_inputs/placements.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 34);
    let resident = memory("VmRSS:");
    let mut before = written(pool).await;
    for row in &rows {
        let (status, kind, body) = answer(&service, row).await;
        assert!(row.status.contains(&status), "{} ({}): {status} {body}", row.id, row.why);
        let said: Value = serde_json::from_str(&body).unwrap();
        if status == 200 {
            assert_eq!(said["accepted"], row.writes, "{}: {said}", row.id);
        } else {
            assert_eq!(kind, "application/problem+json", "{}", row.id);
            assert_eq!(said["status"], status, "{}", row.id);
            assert!(said["code"].is_string() && body.len() < 20_000, "{}: {body}", row.id);
        }
        if let Some(says) = &row.says {
            assert!(body.contains(says), "{} ({}): {body}", row.id, row.why);
        }
        for inside in ["sqlx", "serde", "panicked", "src/", ".rs", "SELECT", "staged_"] {
            assert!(!body.contains(inside), "{}: {body}", row.id);
        }
        let after = written(pool).await;
        // A file that is right but says nothing leaves its audit row.
        let loads = i64::from(status == 200);
        assert_eq!(after, [before[0] + row.writes, before[1] + loads, before[2]], "{} ({})", row.id, row.why);
        before = after;
        assert_eq!(service.doors.get("/readyz", "").await.status, 200, "{}", row.id);
    }
    let grown = memory("VmHWM:") - resident;
    assert!(grown < 48 * 1024, "files of 100 MiB took {grown} KiB");
}

/// Lines that are numbered, of one account.
fn lines(format: &str, count: usize) -> String {
    let line = |n: usize| match format {
        "text/csv" => format!("acct-a,m{n:05},s17,2026-01-01T00:00:00Z,,dir,{n}\n"),
        _ => format!(
            "{{\"account\":\"acct-a\",\"mailbox\":\"m{n:05}\",\"shard\":\"s17\",\"valid_from\":\"2026-01-01T00:00:00Z\",\"source\":\"dir\",\"source_seq\":\"{n}\"}}\n"
        ),
    };
    let header =
        if format == "text/csv" { "account,mailbox,shard,valid_from,valid_to,source,source_seq\n" } else { "" };
    header.to_owned() + &(0..count).map(line).collect::<String>()
}

/// The request as it goes over the wire, and where its body begins.
fn wire(token: &str, format: &str, text: &str, is_chunked: bool) -> (Vec<u8>, usize) {
    let length =
        if is_chunked { "transfer-encoding: chunked".to_owned() } else { format!("content-length: {}", text.len()) };
    let mut bytes = format!(
        "POST /v1/placements/batches HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: {format}\r\n{length}\r\nconnection: close\r\n\r\n"
    )
    .into_bytes();
    let begin = bytes.len();
    if is_chunked {
        for chunk in text.as_bytes().chunks(10_000) {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
    } else {
        bytes.extend_from_slice(text.as_bytes());
    }
    (bytes, begin)
}

/// Waits until the server works on nothing.
async fn until_idle(pool: &PgPool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let is_idle = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity
                     WHERE datname = current_database() AND pid <> pg_backend_pid() AND state NOT IN ('idle', 'disabled'))";
    while !sqlx::query_scalar::<_, bool>(is_idle).fetch_one(pool).await.unwrap() {
        assert!(Instant::now() < deadline, "the server is still at it");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_cut_anywhere_leaves_nothing_half_applied() {
    if is_skipped("a_connection_that_is_cut_anywhere_leaves_nothing_half_applied") {
        return;
    }
    const LINES: usize = 8_000;
    let service = service().await;
    let pool = &service.database.app;
    let seed =
        std::env::var("MAKEGOOD_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("MAKEGOOD_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for format in ["text/csv", "application/x-ndjson"] {
        let text = lines(format, LINES);
        for is_chunked in [false, true] {
            let (bytes, begin) = wire(&service.token, format, &text, is_chunked);
            // One in each twentieth of the body; the last is a byte short of the whole.
            let part = (bytes.len() - begin) / 20;
            let cuts = (0..19).map(|number| begin + part * number + random.usize(0..part)).chain([bytes.len() - 1]);
            for cut in cuts.collect::<Vec<_>>() {
                let mut stream = TcpStream::connect(service.serving.address).await.unwrap();
                stream.write_all(&bytes[..cut]).await.unwrap();
                if random.bool() {
                    // It says that no more comes, and waits for what the service makes of it.
                    stream.shutdown().await.unwrap();
                    let mut said = Vec::new();
                    let _ = stream.read_to_end(&mut said).await;
                    assert!(!said.starts_with(b"HTTP/1.1 2"), "{format}, cut at {cut}, seed {seed}");
                }
                drop(stream);
                until_idle(pool).await;
                assert_eq!(written(pool).await, [0; 3], "{format}, chunked {is_chunked}, cut at {cut}, seed {seed}");
            }
        }
    }
    let (bytes, _) = wire(&service.token, "text/csv", &lines("text/csv", LINES), true);
    let mut stream = TcpStream::connect(service.serving.address).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 200") && said.contains("\"accepted\":8000"), "{said}");
    assert_eq!(written(pool).await, [8_000, 1, 8_000]);
}

/// Runs `makegood ingest` with a file on its standard input.
async fn ingest(service: &Service, token: &str, arguments: &[&str], stdin: &str) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("ingest").args(arguments).args(["--url", &format!("http://{}", service.serving.address)]);
    command.env("MAKEGOOD_TOKEN", token).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let stdin = stdin.to_owned();
    tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), stdin.as_bytes());
        child.wait_with_output().unwrap()
    })
    .await
    .unwrap()
}

fn printed(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8(output.stdout.clone()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_sends_files_and_says_what_became_of_each_line() {
    if is_skipped("the_program_sends_files_and_says_what_became_of_each_line") {
        return;
    }
    let service = service().await;
    let file = service.doors.folder.join("placements.csv");
    std::fs::write(&file, lines("text/csv", 3_000)).unwrap();
    let path = file.to_str().unwrap();
    let good = service.token.as_str();
    let said = printed(&ingest(&service, good, &["placements", path, "--dry-run"], "").await);
    let expected = "3000 lines: 3000 would be recorded, 0 say nothing new; nothing was recorded\n";
    assert_eq!(said, (Some(0), expected.to_owned()));
    for expected in ["3000 recorded, 0 say nothing new", "0 recorded, 3000 say nothing new"] {
        let said = printed(&ingest(&service, good, &["placements", path], "").await);
        assert_eq!(said, (Some(0), format!("3000 lines: {expected}\n")));
    }
    let wrong = lines("", 2)
        + "{\"account\":\"acct-a\",\"mailbox\":\"b\",\"shard\":\"S17\",\"valid_from\":\"2026-01-01T00:00:00Z\",\"source\":\"dir\"}\nnope\n";
    let stdin = ["placements", "-", "--format", "ndjson"];
    let output = ingest(&service, good, &stdin, &wrong).await;
    let (code, said) = printed(&output);
    assert_eq!(code, Some(1));
    assert!(said.starts_with("line 3, shard: There is no shard \"S17\". Do you mean \"s17\"?"), "{said}");
    assert!(
        said.contains("\nline 4: ") && said.ends_with("2 of 4 lines are wrong, so nothing was recorded\n"),
        "{said}"
    );
    assert!(output.stderr.is_empty(), "no progress bar where there is no terminal");
    let (code, said) = printed(&ingest(&service, good, &[&stdin[..], &["--json"]].concat(), &wrong).await);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &said["report"]["rejected"]), (Some(1), &json!(2)));
    let (code, said) = printed(&ingest(&service, "nonsense", &stdin, &wrong).await);
    assert_eq!(code, Some(4));
    assert!(said.starts_with("refused (401): "), "{said}");
    let output = ingest(&service, good, &["placements", "-"], "").await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--format"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_register_shards_and_saying_them_again_changes_nothing() {
    if is_skipped("operations_register_shards_and_saying_them_again_changes_nothing") {
        return;
    }
    let service = service().await;
    let (doors, pool) = (&service.doors, &service.database.app);
    let (sefa, path) = (doors.staff("sefa", Role::Operations), "/v1/shards");
    let put = async |token: &str, names: Value| {
        doors.send(Method::PUT, path, token, "", Some(&json!({ "shards": names }))).await
    };
    assert_eq!(put(&sefa, json!(["mx-07", "mx-08", "mx-07"])).await.json(), json!({ "registered": 2 }));
    let audits = audited(pool, "shards.register").await;
    assert_eq!(put(&sefa, json!(["mx-08", "mx-07"])).await.json(), json!({ "registered": 0 }));
    assert_eq!(audited(pool, "shards.register").await, audits);
    assert_eq!(put(&service.token, json!(["mx-09"])).await.code(), (403, "forbidden".to_owned()));
    let refused = put(&sefa, json!(["mx-10", "=mx"])).await;
    assert_eq!(
        (refused.code(), &refused.json()["errors"][0]["pointer"]),
        ((422, "invalid_request".to_owned()), &json!("/shards/1"))
    );
    let page = doors.get("/v1/shards?limit=3", &service.token).await.json();
    assert_eq!(page, json!({ "data": ["mx-07", "mx-08", "s17"], "has_more": true }));
    let page = doors.get("/v1/shards?limit=3&after=s17", &sefa).await.json();
    assert_eq!(page, json!({ "data": ["s18"], "has_more": false }));
    assert_eq!(doors.get("/v1/shards", &doors.customer("hana", &["acct-a"])).await.status, 403);
}
