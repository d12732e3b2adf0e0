//! `docs/import.md` to the letter: its files are written, its commands run against a real service, and they answer what it says.

mod support;

#[path = "support/doors.rs"]
mod doors_;
#[path = "support/world.rs"]
mod world;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use doors_::doors;
use makegood::domain::actor::Role;
use support::is_skipped;
use world::*;

/// A fenced block: what stands behind its fence, and what it holds.
struct Block {
    info: String,
    text: String,
}

fn blocks(document: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_open = false;
    for line in document.lines() {
        match line.strip_prefix("```") {
            Some(info) if !is_open => blocks.push(Block { info: info.to_owned(), text: String::new() }),
            Some(_) => {}
            None if is_open => {
                let text = &mut blocks.last_mut().unwrap().text;
                text.push_str(line);
                text.push('\n');
            }
            None => {}
        }
        is_open ^= line.starts_with("```");
    }
    blocks
}

async fn run(command: &str, folder: &Path, url: &str, token: &str) -> Output {
    let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
    assert_eq!(words[0], "makegood", "{command}");
    let (folder, url, token) = (folder.to_owned(), url.to_owned(), token.to_owned());
    let run = move || {
        Command::new(env!("CARGO_BIN_EXE_makegood"))
            .args(&words[1..])
            .current_dir(folder)
            .env("MAKEGOOD_URL", url)
            .env("MAKEGOOD_TOKEN", token)
            .output()
            .unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_of_the_manual_is_brought_over_as_it_says() {
    if is_skipped("the_example_of_the_manual_is_brought_over_as_it_says") {
        return;
    }
    let world = world(0).await;
    let pool = &world.database.app;
    let doors = doors(pool, november(5)).await;
    let operations = doors.staff("sefa", Role::Operations);
    let shards = serde_json::json!({ "shards": ["mx-07", "mx-11"] });
    let registered = doors.send(axum::http::Method::PUT, "/v1/shards", &operations, "", Some(&shards)).await;
    assert_eq!(registered.status, 200, "{}", registered.body);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = tokio::spawn(axum::serve(listener, doors.router.clone()).into_future());

    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/import.md")).unwrap();
    let blocks = blocks(&document);
    for block in &blocks {
        if let Some((_, name)) = block.info.split_once("file=") {
            fs::write(doors.folder.join(name), &block.text).unwrap();
        }
    }
    let mut commands = 0;
    for (index, block) in blocks.iter().enumerate().filter(|(_, block)| block.info == "sh") {
        let output = run(&block.text, &doors.folder, &url, &operations).await;
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said, blocks[index + 1].text, "{}{}", block.text, String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success());
        commands += 1;
    }
    assert_eq!(commands, 3);

    // Somebody else repeats it: nothing is entered twice.
    let outages =
        async || -> i64 { sqlx::query_scalar("SELECT count(*) FROM outage_window").fetch_one(pool).await.unwrap() };
    let before = outages().await;
    let other = doors.staff("mikaere", Role::Operations);
    let output = run("makegood import mapping.yaml --only outages", &doors.folder, &url, &other).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(outages().await, before);

    // A quarter of 12.50 for each of two mailboxes, less the 1.00 that was given elsewhere. The other customer's outage is not
    // signed off.
    let run_ = propose(pool, november(5), "run").await;
    assert_eq!((run_.total.minor(), run_.credits, run_.held_back_accounts), (525, 1, 1));

    // What does not fit is named, and nothing is sent.
    let mailboxes = doors.folder.join("mailboxes.csv");
    fs::write(&mailboxes, fs::read_to_string(&mailboxes).unwrap().replace("Wellington", "Wellingtn")).unwrap();
    let output = run("makegood import mapping.yaml", &doors.folder, &url, &operations).await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let example = document.lines().find(|line| line.starts_with("    mailboxes.csv line 4")).unwrap();
    assert!(said.contains(example.trim()), "{said}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
    let output = run("makegood import mapping.yaml --only accounts", &doors.folder, &url, "nonsense").await;
    assert_eq!(output.status.code(), Some(4));
    served.abort();
}
