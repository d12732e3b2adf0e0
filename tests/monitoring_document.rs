//! `docs/monitoring.md` works: its commands are run to the letter, against the real Alertmanager, in a network of their own.

mod support;

#[path = "support/monitors.rs"]
mod monitors;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant as Timer};

use makegood::domain::monitors::{Monitors, Source};
use makegood::domain::time::{Instant, SECOND};
use serde_json::Value;
use support::PROGRAM;
use uuid::Uuid;

/// How long the reader's ten minutes may take here.
const PATIENCE: Duration = Duration::from_secs(600);

/// The blocks of the document whose fence says `info`.
fn blocks(info: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/monitoring.md");
    let document = fs::read_to_string(path).unwrap();
    let mut blocks = Vec::new();
    let mut open: Option<(bool, String)> = None;
    for line in document.lines() {
        match (open.take(), line.strip_prefix("```")) {
            (None, Some(said)) => open = Some((said == info, String::new())),
            (None, None) => {}
            (Some((wanted, text)), Some(_)) => blocks.extend(wanted.then_some(text)),
            (Some((wanted, text)), None) => open = Some((wanted, text + line + "\n")),
        }
    }
    assert!(open.is_none(), "the last block is not closed");
    blocks
}

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether a network of its own can be had here, in which the document's ports are free.
fn is_skipped(test: &str) -> bool {
    if support::is_skipped(test) || monitors::is_skipped(test) {
        return true;
    }
    let done = Command::new("unshare").args(["--net", "sh", "-c", "ip link set lo up && command -v curl"]).output();
    let is_there = done.is_ok_and(|done| done.status.success());
    if !is_there {
        let why = "it needs root, unshare, ip and curl";
        assert!(std::env::var_os("CI").is_none(), "{why}");
        let _ = writeln!(io::stderr(), "skipped: {test}: {why}");
    }
    !is_there
}

fn one(path: &Path) -> Value {
    let page: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(page["data"].as_array().unwrap().len(), 1, "{page}");
    page["data"][0]["window"].clone()
}

fn time(outage: &Value, field: &str) -> Option<Instant> {
    outage[field].as_str().map(|text| Instant::parse(text).unwrap())
}

#[test]
fn ten_minutes_are_enough_from_nothing_to_a_window_that_is_over() {
    if is_skipped("ten_minutes_are_enough") {
        return;
    }
    let steps = blocks("sh");
    assert_eq!(steps.len(), 6, "the six steps");
    let scratch = Scratch(std::env::temp_dir().join(format!("makegood-ten-minutes-{}", Uuid::now_v7())));
    fs::create_dir(&scratch.0).unwrap();
    fs::write(scratch.0.join("steps.sh"), steps.concat()).unwrap();
    // The reader's shell: it stops at what fails, and what it started ends with it.
    let shell = "ip link set lo up && trap 'kill $(jobs -p)' EXIT && set -eu && . ./steps.sh";
    let programs = Path::new(PROGRAM).parent().unwrap().to_owned();
    let said = fs::File::create(scratch.0.join("said")).unwrap();
    let mut child = Command::new("unshare")
        .args(["--net", "bash", "-c", shell])
        .current_dir(&scratch.0)
        .env("PATH", monitors::path_with(&programs))
        .env_remove("DATABASE_URL")
        .env_remove("MAKEGOOD_OWNER_URL")
        .stdin(Stdio::null())
        .stdout(said.try_clone().unwrap())
        .stderr(said)
        .spawn()
        .unwrap();
    let deadline = Timer::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Timer::now() > deadline {
            let _ = child.kill();
            break child.wait().unwrap();
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let log = |name: &str| fs::read_to_string(scratch.0.join(name)).unwrap_or_default();
    assert!(status.success(), "{}\n{}\n{}", log("said"), log("makegood.log"), log("alertmanager.log"));

    let (opened, closed) = (one(&scratch.0.join("opened.json")), one(&scratch.0.join("closed.json")));
    assert_eq!(opened["id"], closed["id"]);
    assert_eq!(opened["scope"], serde_json::json!({"shards": ["mx-07"]}));
    assert_eq!((time(&opened, "end"), time(&opened, "start")), (None, time(&closed, "start")));
    let start = time(&closed, "start").unwrap();
    let (end, correction) = (time(&closed, "end").unwrap(), &closed["reports"][0]["correction"]);
    assert_eq!(correction["for_seconds"].as_i64().unwrap() + correction["scrape_seconds"].as_i64().unwrap(), 75);
    assert!(end.micros() - start.micros() >= 75 * SECOND, "{start} {end}");
}

#[test]
fn the_documents_that_are_shown_are_taken() {
    let steps = blocks("sh").concat();
    let (_, monitors) = steps.split_once("cat >monitors.yaml <<'END'\n").unwrap();
    let (monitors, _) = monitors.split_once("END\n").unwrap();
    let document: Monitors = serde_saphyr::from_str(monitors).unwrap();
    document.check().unwrap();
    let shown = blocks("yaml source");
    assert_eq!(shown.len(), 1);
    for text in shown {
        let source: Source = serde_saphyr::from_str(&text).unwrap();
        assert!(source.ask.is_some());
        Monitors { sources: vec![source], ..document.clone() }.check().unwrap();
    }
}
