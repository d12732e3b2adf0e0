//! `makegood feed` as the client of a billing system: its books hold each credit once, whatever kills it and whatever is restored.

mod support;

#[path = "support/doors.rs"]
mod doors;
#[path = "support/stoppable.rs"]
mod stoppable;
#[path = "support/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use doors::{Doors, doors};
use makegood::domain::actor::Role;
use makegood::domain::feed::credit_name;
use makegood::flows::issue_credits::issue_in;
use makegood::flows::sequence_feed::{new_epoch, sequence_feed};
use makegood::http::listener;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sqlx::PgPool;
use stoppable::Stoppable;
use support::{PROGRAM, is_skipped};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::{Notify, watch};
use uuid::Uuid;
use world::*;

/// A folder that goes with this.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("makegood-billing-{}", Uuid::now_v7()));
        std::fs::create_dir(&folder).unwrap();
        Scratch(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn issue(pool: &PgPool, index: usize, number: u32, gross: i64) -> String {
    let one = goodwill(index, number, gross, november(20));
    let mut tx = pool.begin().await.unwrap();
    assert_eq!(issue_in(&mut tx, std::slice::from_ref(&one)).await.unwrap(), 1);
    tx.commit().await.unwrap();
    credit_name(one.credit.id)
}

async fn drain(pool: &PgPool) {
    while sequence_feed(pool, 0, november(20)).await.unwrap() > 0 {}
}

/// When a client is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// Its request is here, and nothing was done about it.
    Before,
    /// What it asked for is done, and the answer is not on its way.
    After,
    /// So many microseconds after the answer left.
    Later(u64),
}

/// Kills the client that talks to the service, once, at the request that it counts down to.
#[derive(Default)]
struct Trap {
    armed: Mutex<Option<(u32, Moment)>>,
    pid: Mutex<Option<Pid>>,
    is_gone: Notify,
}

impl Trap {
    fn kill(&self) {
        // It is a child that nobody has waited for yet, so the number is its own.
        if let Some(pid) = *self.pid.lock().unwrap() {
            kill_process(pid, Signal::KILL).unwrap();
        }
    }
}

async fn spring(State(trap): State<Arc<Trap>>, request: Request, next: Next) -> Response {
    let moment = {
        let mut armed = trap.armed.lock().unwrap();
        match *armed {
            Some((0, moment)) => {
                *armed = None;
                Some(moment)
            }
            Some((left, moment)) => {
                *armed = Some((left - 1, moment));
                None
            }
            None => None,
        }
    };
    match moment {
        None => next.run(request).await,
        Some(Moment::Before) => {
            trap.kill();
            trap.is_gone.notified().await;
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
        Some(Moment::After) => {
            let response = next.run(request).await;
            trap.kill();
            trap.is_gone.notified().await;
            response
        }
        Some(Moment::Later(micros)) => {
            let response = next.run(request).await;
            tokio::spawn(async move {
                // The fault itself: nothing waits for it.
                tokio::time::sleep(Duration::from_micros(micros)).await;
                trap.kill();
            });
            response
        }
    }
}

/// The service behind a real socket, and a client for it.
struct Desk {
    doors: Doors,
    url: String,
    token: String,
    trap: Arc<Trap>,
    scratch: Scratch,
    _stop: watch::Sender<bool>,
}

impl Desk {
    async fn open(pool: &PgPool) -> Self {
        let doors = doors(pool, november(20)).await;
        let token = doors.machine(Role::Billing, "billing").await;
        let trap = Arc::new(Trap::default());
        let router: Router = doors.router.clone().layer(middleware::from_fn_with_state(trap.clone(), spring));
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", socket.local_addr().unwrap());
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(listener::serve(socket, router, stopped));
        Desk { doors, url, token, trap, scratch: Scratch::new(), _stop: stop }
    }

    /// Runs `makegood feed`; the output where it came to its end by itself, none where it was killed.
    async fn run(&self, arguments: &[&str]) -> Option<Output> {
        let mut command = Command::new(PROGRAM);
        command.arg("feed").args(arguments).current_dir(&self.scratch.0);
        command.env("MAKEGOOD_URL", &self.url).env("MAKEGOOD_TOKEN", &self.token);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap());
        *self.trap.pid.lock().unwrap() = pid;
        let output = child.wait_with_output().await.unwrap();
        *self.trap.pid.lock().unwrap() = None;
        let is_killed = output.status.code().is_none();
        if is_killed {
            self.trap.is_gone.notify_one();
        }
        (!is_killed).then_some(output)
    }

    /// Runs it to its end and gives how it ended, and what it said on stdout and stderr.
    async fn say(&self, arguments: &[&str]) -> (i32, Vec<Value>, String) {
        let output = self.run(arguments).await.unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
        (output.status.code().unwrap(), lines, String::from_utf8(output.stderr).unwrap())
    }

    async fn pull(&self) -> (i32, Vec<Value>, String) {
        self.say(&["pull", "--books", "books"]).await
    }

    async fn ack(&self) -> (i32, Vec<Value>, String) {
        self.say(&["ack", "--books", "books", "--date", "2026-12-05"]).await
    }

    /// Every item of the books: the credit, its answer's kind, and what became of that.
    async fn listed(&self) -> Vec<(String, String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (code, lines, _) = self.say(&["books", "--books", "books", "--list"]).await;
        assert_eq!(code, 0);
        lines
            .iter()
            .map(|line| (text(&line["credit"]["id"]), text(&line["answer"]["answer"]), text(&line["told"])))
            .collect()
    }
}

/// How often the client is killed; `MAKEGOOD_KILLS=500` for the whole of it.
fn kills() -> u32 {
    std::env::var("MAKEGOOD_KILLS").map_or(40, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_killed_between_pull_and_answer_books_each_credit_once_and_answers_it() {
    if is_skipped("a_client_that_is_killed_between_pull_and_answer_books_each_credit_once_and_answers_it") {
        return;
    }
    let world = world(9).await;
    let pool = &world.database.app;
    let desk = Desk::open(pool).await;
    let seed = std::env::var("MAKEGOOD_SEED").map_or_else(|_| fastrand::u64(..), |text| text.parse().unwrap());
    println!("seed {seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let (mut committed, mut total, mut killed, mut number, mut ended) = (BTreeSet::new(), 0i64, 0, 0u32, 0u32);
    while killed < kills() {
        for _ in 0..dice.usize(1..5) {
            let gross = dice.i64(1..50_000);
            committed.insert(issue(pool, dice.usize(0..9), number, gross).await);
            (number, total) = (number + 1, total + gross);
        }
        if dice.bool() {
            drain(pool).await;
        }
        let moment = match dice.u8(0..3) {
            0 => Moment::Before,
            1 => Moment::After,
            _ => Moment::Later(dice.u64(0..6_000)),
        };
        *desk.trap.armed.lock().unwrap() = Some((dice.u32(0..2), moment));
        let arguments: &[&str] = match dice.bool() {
            true => &["pull", "--books", "books", "--page", "2"],
            false => &["ack", "--books", "books", "--date", "2026-12-05", "--page", "2"],
        };
        match desk.run(arguments).await {
            None => killed += 1,
            Some(output) => {
                ended += 1;
                // It had nothing to ask, or was done before the kill came.
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "seed {seed}: {said}");
            }
        }
        *desk.trap.armed.lock().unwrap() = None;
        assert!(ended < 20 * kills() + 200, "seed {seed}: the kills come too late to show anything");
    }
    drain(pool).await;
    assert_eq!(desk.pull().await.0, 0, "seed {seed}");
    let (code, said, words) = desk.ack().await;
    assert_eq!(code, 0, "seed {seed}: {said:?} {words}");

    let listed = desk.listed().await;
    assert_eq!(listed.len(), committed.len(), "seed {seed}: each once");
    assert_eq!(listed.iter().map(|(id, _, _)| id.clone()).collect::<BTreeSet<_>>(), committed, "seed {seed}");
    for (id, answer, told) in &listed {
        assert_eq!(answer, "applied", "seed {seed}: {id}");
        assert!(["recorded", "already"].contains(&told.as_str()), "seed {seed}: {id} {told}");
    }
    let open = desk.doors.get("/v1/billing/unacknowledged", &desk.token).await.json();
    assert_eq!(open["data"].as_array().unwrap().len(), 0, "seed {seed}");
    let answers: (i64, i64, i64) = sqlx::query_as(
        "SELECT count(*), count(DISTINCT credit_id), sum(gross_minor)::bigint FROM billing_answer WHERE kind = 'applied'",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    let count = i64::try_from(committed.len()).unwrap();
    assert_eq!(answers, (count, count, total), "seed {seed}: every answer landed, once, to the cent");
    let (_, sums, _) = desk.say(&["books", "--books", "books"]).await;
    assert_eq!(sums[0]["sums"][0]["gross"], nzd(total).digits(), "seed {seed}: {sums:?}");
    assert_eq!((&sums[0]["sums"][0]["items"], &sums[0]["untold"]), (&count.into(), &0.into()));
    books_hold(pool).await;
}

fn copy(from: &Path, to: &Path) {
    let done = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success(), "{} {}", from.display(), to.display());
}

/// Puts the copy in the place of the cluster's files.
fn put_back(database: &Stoppable, backup: &Path) {
    let data = database.folder().join("postgres/data");
    std::fs::remove_dir_all(&data).unwrap();
    copy(backup, &data);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_backup_was_restored_the_old_cursor_is_refused_and_nothing_is_skipped_or_given_twice() {
    if is_skipped("after_a_backup_was_restored_the_old_cursor_is_refused_and_nothing_is_skipped_or_given_twice") {
        return;
    }
    let mut database = Stoppable::start().await;
    let pool = PgPool::connect(&database.url_app).await.unwrap();
    furnish(&pool, 4).await;
    let desk = Desk::open(&pool).await;
    let (before, lost) = (20u32, 10u32);
    for number in 0..before {
        issue(&pool, 0, number, 2_500).await;
    }
    drain(&pool).await;
    assert_eq!(desk.pull().await.1[0]["booked"], before);
    assert_eq!(desk.ack().await.1[0]["recorded"], before);
    let cursor = Books::cursor(&desk).await;

    database.stop().await;
    let backup = desk.scratch.0.join("backup");
    copy(&database.folder().join("postgres/data"), &backup);
    database.start_again().await;
    for number in before..before + lost {
        issue(&pool, 0, number, 2_500).await;
    }
    drain(&pool).await;
    assert_eq!(desk.pull().await.1[0]["booked"], lost);
    assert_eq!(desk.ack().await.1[0]["recorded"], lost);
    let newer = Books::cursor(&desk).await;
    assert_ne!(cursor, newer);

    // The machine is rolled back: the same server, the same timeline, and what came after is gone.
    database.stop().await;
    put_back(&database, &backup);
    database.start_again().await;
    let advised = |said: &(i32, Vec<Value>, String)| {
        assert_eq!(said.0, 5, "{said:?}");
        assert!(said.1.is_empty(), "never a page: {said:?}");
        assert!(said.2.contains("makegood feed resync --books books"), "{said:?}");
    };
    advised(&desk.pull().await);
    // Others come to stand at the same positions: it is still another feed.
    for number in 100..100 + lost + 5 {
        issue(&pool, 1, number, 1_000).await;
    }
    drain(&pool).await;
    advised(&desk.pull().await);

    // A backup is restored in the way of PostgreSQL: it opens a new timeline, and the feed stops until a person says so.
    database.stop().await;
    put_back(&database, &backup);
    let data = database.folder().join("postgres/data");
    copy(&data.join("PG_VERSION"), &data.join("recovery.signal"));
    let settings = std::fs::read_to_string(data.join("postgresql.auto.conf")).unwrap();
    std::fs::write(data.join("postgresql.auto.conf"), settings + "restore_command = 'false'\n").unwrap();
    database.start_again().await;
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        // While it recovers it answers, and that is no answer of the feed either.
        let (code, lines, words) = desk.pull().await;
        assert_eq!((code, lines.len()), (1, 0), "{words}");
        if words.contains("The feed is stopped") && words.contains("makegood feed new-epoch") {
            break;
        }
        assert!(words.contains("still recovers") && std::time::Instant::now() < deadline, "{words}");
    }
    assert_eq!(refused(sequence_feed(&pool, 0, november(20)).await), "unavailable");
    assert_eq!(new_epoch(&pool, 0, november(21)).await.unwrap(), 2);
    advised(&desk.pull().await);

    // Half of what was lost is given again, for the same causes; and there is something new.
    for number in before..before + lost / 2 {
        issue(&pool, 0, number, 2_500).await;
    }
    let mut new = BTreeSet::new();
    for number in 200..203 {
        new.insert(issue(&pool, 2, number, 700).await);
    }
    drain(&pool).await;
    let (code, lines, words) = desk.say(&["resync", "--books", "books"]).await;
    assert_eq!(code, 1, "something is missing: {words}");
    assert_eq!((&lines[0]["booked"], &lines[0]["epoch"]), (&3.into(), &2.into()), "{lines:?}");
    assert_eq!(lines[0]["pulled"], before + lost / 2 + 3, "from the very beginning");
    assert_eq!(lines.len(), 1 + usize::try_from(lost - lost / 2).unwrap(), "{lines:?}");
    assert!(lines[1..].iter().all(|line| line["missing"].is_string() && line["credit"]["gross"] == "25.00"));

    let (code, lines, words) = desk.ack().await;
    assert_eq!(code, 1, "what the service lost it cannot take: {words}");
    assert_eq!(
        (&lines[0]["already"], &lines[0]["recorded"], &lines[0]["refused"]),
        (&before.into(), &(lost / 2 + 3).into(), &(lost - lost / 2).into()),
        "answers of before the backup are known, those after it land now: {words}"
    );
    let listed = desk.listed().await;
    let ids: BTreeSet<&String> = listed.iter().map(|(id, _, _)| id).collect();
    assert_eq!(ids.len(), listed.len(), "no credit twice");
    assert!(new.iter().all(|id| ids.contains(id)));
    assert_eq!(ids.len(), usize::try_from(before + lost + 3).unwrap());
    assert_eq!(desk.pull().await.0, 0, "and it goes on from there");
    books_hold(&pool).await;
    pool.close().await;
}

/// What `makegood feed books` says of the place where the books stand.
struct Books;

impl Books {
    async fn cursor(desk: &Desk) -> String {
        let (_, lines, _) = desk.say(&["books", "--books", "books"]).await;
        lines[0]["cursor"].as_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_cancelled_debited_and_offered_again_reaches_the_books_and_is_answered() {
    if is_skipped("what_is_cancelled_debited_and_offered_again_reaches_the_books_and_is_answered") {
        return;
    }
    let world = world(3).await;
    let pool = &world.database.app;
    let desk = Desk::open(pool).await;
    let finance = desk.doors.staff("mere", Role::Finance);
    let decide = async |credit: &str, deed: &str, body: Value| {
        let path = format!("/v1/credits/{credit}/{deed}");
        let answer = desk.doors.post(&path, &finance, &format!("{deed}-{credit}"), &body).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.body);
        drain(pool).await;
    };
    let reversal = json!({ "reason": "issued_in_error", "note": "The outage was another system's." });
    let cancelled = issue(pool, 0, 0, 2_500).await;
    drain(pool).await;
    let debited = issue(pool, 1, 0, 1_250).await;
    drain(pool).await;
    assert_eq!(desk.pull().await.1[0]["booked"], 2);
    // One is taken back before these books said anything of it.
    decide(&cancelled, "reverse", reversal.clone()).await;
    assert_eq!(desk.pull().await.1[0]["booked"], 1);
    let (code, lines, words) = desk.ack().await;
    assert_eq!((code, &lines[0]["recorded"]), (0, &2.into()), "{words}");
    // The other when it is on a bill.
    decide(&debited, "reverse", reversal).await;
    assert_eq!(desk.pull().await.1[0]["booked"], 1);
    let (code, lines, words) = desk.ack().await;
    assert_eq!((code, &lines[0]["recorded"]), (0, &1.into()), "{words}");
    // A third is refused by somebody else's hand, and offered again.
    let offered = issue(pool, 2, 0, 700).await;
    drain(pool).await;
    assert_eq!(desk.pull().await.1[0]["booked"], 1);
    let no = json!({ "items": [{ "credit": offered, "answer": "refused", "code": "CLOSED" }] });
    assert_eq!(desk.doors.post("/v1/billing/acks", &desk.token, "", &no).await.json()["recorded"], 1);
    decide(&offered, "offer", json!({ "note": "The account was opened again." })).await;
    assert_eq!(desk.pull().await.1[0]["booked"], 1);
    let (code, lines, words) = desk.ack().await;
    assert_eq!((code, &lines[0]["recorded"]), (0, &1.into()), "{words}");

    let listed = desk.listed().await;
    let said: Vec<(&str, &str)> = listed.iter().map(|(id, answer, _)| (id.as_str(), answer.as_str())).collect();
    assert_eq!(
        said,
        [
            (cancelled.as_str(), "nothing"),
            (debited.as_str(), "applied"),
            (cancelled.as_str(), "cancelled"),
            (debited.as_str(), "debited"),
            (offered.as_str(), "nothing"),
            (offered.as_str(), "applied"),
        ]
    );
    let open = desk.doors.get("/v1/billing/unacknowledged", &desk.token).await.json();
    assert_eq!(open["data"], json!([]), "all is answered");
    drain(pool).await;
    let late = makegood::flows::watch_feed::watch_feed(pool, november(30), None).await.unwrap();
    assert!(late.is_empty(), "{late:?}");
    let report = desk.doors.get("/v1/billing/reconciliation", &finance).await.json();
    let day = &report["data"][0];
    assert_eq!(
        (&day["issued"], &day["applied"], &day["taken_back"], &day["agrees"]),
        (&3.into(), &1.into(), &2.into(), &true.into())
    );
    assert_eq!(day["applied_sum"]["amount"], "7.00", "what was debited stands on no bill any more");
    books_hold(pool).await;
}

/// The blocks of a document that are a shell's.
fn commands(document: &str) -> Vec<String> {
    document.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_of_the_page_for_billing_teams_does_what_the_page_says() {
    if is_skipped("every_command_of_the_page_for_billing_teams_does_what_the_page_says") {
        return;
    }
    let world = world(3).await;
    let pool = &world.database.app;
    let desk = Desk::open(pool).await;
    let ids: BTreeSet<String> = [issue(pool, 0, 0, 2_500).await, issue(pool, 1, 0, 1_250).await].into();
    drain(pool).await;
    // `makegood` is found as it is where it is installed.
    let programs = desk.scratch.0.join("bin");
    std::fs::create_dir(&programs).unwrap();
    std::os::unix::fs::symlink(PROGRAM, programs.join("makegood")).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let shell = async |commands: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-ec", commands]).current_dir(&desk.scratch.0).env("PATH", &path);
        shell.env("MAKEGOOD_URL", &desk.url).env("MAKEGOOD_TOKEN", &desk.token);
        let output = shell.stdin(Stdio::null()).output().await.unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{commands}\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
        said
    };
    let blocks = commands(include_str!("../docs/billing.md"));
    let [client, http, resync, export] = blocks.as_slice() else { panic!("{} blocks", blocks.len()) };
    let said = shell(client).await;
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["booked"], 2, "{said}");
    assert_eq!((&lines[1]["sums"][0]["state"], &lines[1]["sums"][0]["gross"]), (&"open".into(), &"37.50".into()));
    assert_eq!(lines[2]["recorded"], 2);
    let listed = std::fs::read_to_string(desk.scratch.0.join("listed.ndjson")).unwrap();
    assert_eq!(listed.lines().count(), 2);
    assert!(listed.contains(&format!("INV-2026-12-{}", reference(0))), "{listed}");

    let said = shell(http).await;
    assert!(ids.iter().all(|id| said.contains(id.as_str())), "{said}");
    assert!(said.contains("\"refused\":1"), "the credit of the example is none that was delivered: {said}");

    new_epoch(pool, 0, november(21)).await.unwrap();
    assert_eq!(desk.pull().await.0, 5);
    let said = shell(resync).await;
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["pulled"], &lines[0]["booked"], &lines[1]["already"]), (&2.into(), &0.into(), &2.into()));

    shell(export).await;
    let file = std::fs::read_to_string(desk.scratch.0.join("credits.csv")).unwrap();
    assert!(file.lines().last().unwrap().starts_with("trailer,2,"), "{file}");
    assert!(!desk.scratch.0.join("credits.csv.part").exists());

    // The answers of the page, about credits that there are; and as it stands, about none.
    let page = include_str!("../docs/billing.md");
    let example: String = page
        .lines()
        .map(str::trim_start)
        .skip_while(|line| *line != "credit,answer,reference,date,net,tax,code,detail")
        .take_while(|line| !line.is_empty())
        .map(|line| format!("{line}\n"))
        .collect();
    let send = async |text: &str| {
        std::fs::write(desk.scratch.0.join("answers.csv"), text).unwrap();
        desk.say(&["import-answers", "answers.csv"]).await
    };
    let (code, lines, words) = send(&example).await;
    assert_eq!((code, &lines[0]["refused"]), (1, &2.into()), "{words}");
    assert!(words.contains("line 2: crd_00000000000000000000000000000001"), "{words}");
    let (code, lines, words) = send(&example[..example.len() - 12]).await;
    assert_eq!((code, lines.len()), (1, 0), "{words}");
    assert!(words.contains("was cut"), "{words}");
    let (third, fourth) = (issue(pool, 2, 0, 2_500).await, issue(pool, 0, 1, 100).await);
    drain(pool).await;
    assert_eq!(desk.pull().await.1[0]["booked"], 2);
    let real = example
        .replace("crd_00000000000000000000000000000001", &third)
        .replace("crd_00000000000000000000000000000002", &fourth);
    let (code, lines, words) = send(&real).await;
    assert_eq!((code, &lines[0]["recorded"]), (0, &2.into()), "{words}");
    books_hold(pool).await;
}
