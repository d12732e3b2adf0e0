//! `makegood outage` against a served makegood: what it does, what it says, and what it ends with.

mod support;

#[path = "support/doors.rs"]
mod doors;
#[path = "support/world.rs"]
mod world;

use doors::{Doors, doors};
use makegood::domain::actor::Role;
use serde_json::Value;
use support::{PROGRAM, is_skipped};
use world::*;

/// A service on a port of its own, and the program that is pointed at it.
struct Terminal {
    doors: Doors,
    url: String,
}

/// What the program ended with and said.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn done(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }
}

impl Terminal {
    async fn of(world: &World) -> Terminal {
        let doors = doors(&world.database.app, november(6)).await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = doors.router.clone();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Terminal { doors, url }
    }

    async fn run_at(&self, url: &str, token: &str, args: &[&str]) -> Said {
        let output = tokio::process::Command::new(PROGRAM)
            .args(args)
            .env("MAKEGOOD_URL", url)
            .env("MAKEGOOD_TOKEN", token)
            .env_remove("MAKEGOOD_ZONE")
            .output()
            .await
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    async fn run(&self, who: &str, args: &[&str]) -> Said {
        self.run_at(&self.url, &self.doors.staff(who, Role::Operations), args).await
    }
}

const START: &str = "2026-11-05T06:10:00+13:00";

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_opened_closed_amended_and_signed_by_somebody_else_at_a_terminal() {
    if is_skipped("an_outage_is_opened_closed_amended_and_signed_by_somebody_else_at_a_terminal") {
        return;
    }
    let world = world(1).await;
    let terminal = Terminal::of(&world).await;
    let open = [
        "outage",
        "open",
        "--shard",
        "mx-07",
        "--capability",
        "receive",
        "--start",
        START,
        "--note",
        "the queue stands",
    ];
    let opened = terminal.run("sefa", &open).await.done();
    assert!(opened.out.contains("provisional") && opened.out.contains("the queue stands"), "{opened:?}");
    assert!(opened.err.contains("makegood outage close"), "{opened:?}");
    let listed = terminal.run("sefa", &["outage", "list", "--open", "--json"]).await.done().json();
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), 1, "the outage of the world is over");
    let id = listed[0]["window"]["id"].as_str().unwrap().to_owned();
    assert_eq!(listed[0]["window"]["scope"]["shards"][0], "mx-07");

    // It goes on, so it cannot be signed; a conflict ends with 5.
    let early = terminal.run("mikaere", &["outage", "confirm", &id]).await;
    assert_eq!(early.code, 5, "{early:?}");
    let local = ["outage", "close", "--shard", "mx-07", "--end", "2026-11-05 07:40", "--zone", "Pacific/Auckland"];
    let closed = terminal.run("sefa", &local).await.done();
    assert!(closed.out.contains("2026-11-05T07:40:00+13:00"), "{closed:?}");
    assert!(closed.err.contains("2026-11-05 07:40: 2026-11-05T07:40:00+13:00"), "what was understood: {closed:?}");
    let again = terminal.run("sefa", &local).await;
    assert!(again.code == 2 && again.err.contains("no outage goes on there"), "{again:?}");

    // Who wrote it does not sign it: 4.
    let own = terminal.run("sefa", &["outage", "confirm", &id]).await;
    assert!(own.code == 4 && own.err.contains("Somebody else"), "{own:?}");
    let degraded = ["outage", "amend", &id, "--impact", "degraded:50%", "--reason", "half of it came"];
    terminal.run("sefa", &degraded).await.done();
    let signed = terminal.run("mikaere", &["outage", "confirm", &id, "--json"]).await.done().json();
    assert_eq!(signed["window"]["state"]["state"], "confirmed");
    assert_eq!(signed["window"]["impact"]["weight_bp"], 5_000);
    // What has ended is not closed again, and an amendment that says nothing new takes no signature off.
    let closed = terminal.run("sefa", &["outage", "close", &id]).await;
    assert!(closed.code == 5 && closed.err.contains("it ended at 2026-11-04T18:40:00Z already"), "{closed:?}");
    let idle = terminal.run("sefa", &degraded).await;
    assert!(idle.code == 1 && idle.err.contains("Nothing changes"), "{idle:?}");
    let shown = terminal.run("sefa", &["outage", "show", &id]).await.done();
    for line in [
        "1  provisional",
        "2  provisional",
        "3  provisional",
        "4  confirmed",
        "closed at the terminal",
        "end: none, now 2026-11-04T18:40:00Z",
        "impact: full, now degraded:50.00%",
        "by mikaere, ",
    ] {
        assert!(shown.out.contains(line), "{line}: {shown:?}");
    }
    let named =
        ["incident", "record", "INC-2026-031", "--title", "The fail-over", "--caught-up", "2026-10-13T18:00:00Z"];
    terminal.run("sefa", &named).await.done();
    let incident = terminal.run("sefa", &["incident", "show", "INC-2026-031"]).await.done();
    for line in [
        "INC-2026-031: The fail-over",
        "hit       1 mailbox of 1 account\n",
        "caught up 2026-10-13T18:00:00Z",
        "3.13 NZD because of it",
        "by all outages of that month (worked out for 1 account)",
    ] {
        assert!(incident.out.contains(line), "{line}: {incident:?}");
    }
    let incidents = terminal.run("sefa", &["incident", "list"]).await.done();
    assert!(incidents.out.contains("INC-2026-031  2026-10-12T17:10:00Z  over     1 outage  "), "{incidents:?}");
    let more = ["outage", "amend", &id, "--impact", "full", "--reason", "nothing came"];
    let amended = terminal.run("sefa", &more).await.done();
    for said in ["takes off the signature of mikaere", "makegood outage confirm"] {
        assert!(amended.err.contains(said), "{said}: {amended:?}");
    }
    terminal.run("mikaere", &["outage", "retract", &id, "--reason", "a drill"]).await.done();
    let late = terminal.run("sefa", &["outage", "amend", &id, "--goes-on", "--reason", "it was none"]).await;
    assert_eq!(late.code, 5, "what was taken back stays so: {late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ambiguous_or_not_allowed_is_refused_and_a_retry_under_the_same_key_is_the_same_deed() {
    if is_skipped("what_is_ambiguous_or_not_allowed_is_refused_and_a_retry_under_the_same_key_is_the_same_deed") {
        return;
    }
    let world = world(1).await;
    let terminal = Terminal::of(&world).await;
    let open = |more: &[&'static str]| [&["outage", "open", "--capability", "receive"], more].concat();
    for (args, code, why) in [
        (open(&["--shard", "mx-07", "--start", "06:10"]), 2, "another time in every zone"),
        (open(&["--shard", "mx-07", "--start", "2026-04-05 02:30", "--zone", "Pacific/Auckland"]), 2, "came twice"),
        (open(&["--shard", "mx-07", "--impact", "half"]), 2, "degraded:50%"),
        (open(&[]), 2, "required"),
        (open(&["--all", "--shard", "mx-07"]), 2, "cannot be used with"),
        (open(&["--component", "webmail", "--start", START]), 1, "no component"),
        (open(&["--all", "--start", START, "--end", START]), 1, "the end must be after the start"),
        (open(&["--shard", "mx-70", "--start", START]), 1, "/scope/shards/0: There is no shard \"mx-70\""),
        (open(&["--shard", "mx-077", "--start", START]), 1, "Do you mean \"mx-07\"?"),
        (
            vec!["outage", "open", "--capability", "recieve", "--all", "--start", START],
            1,
            "/capability: No terms promise \"recieve\". Do you mean \"receive\"?",
        ),
        (vec!["outage", "show", "7f2f0f4e-0000-4000-8000-000000000000"], 1, "There is no outage"),
    ] {
        let refused = terminal.run("sefa", &args).await;
        assert_eq!(refused.code, code, "{args:?}: {refused:?}");
        assert!(refused.err.contains(why) && refused.out.is_empty(), "{args:?}: {refused:?}");
    }
    let agent = terminal.doors.staff("mere", Role::Agent);
    let denied = terminal.run_at(&terminal.url, &agent, &open(&["--all", "--start", START])).await;
    assert_eq!(denied.code, 4, "{denied:?}");
    let away = terminal.run_at("http://127.0.0.1:9", &agent, &["outage", "list"]).await;
    assert!(away.code == 1 && away.err.contains("does not answer"), "{away:?}");

    // The line breaks after the request was sent: what to say the second time is printed, and it is the same deed.
    let broken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", broken.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut line, _)) = broken.accept().await {
            let mut some = [0; 1_024];
            let _ = tokio::io::AsyncReadExt::read(&mut line, &mut some).await;
        }
    });
    let token = terminal.doors.staff("sefa", Role::Operations);
    let mut args = open(&["--shard", "mx-07", "--start", START]);
    let unknown = terminal.run_at(&url, &token, &args).await;
    assert!(unknown.code == 1 && unknown.err.contains("the outcome is unknown"), "{unknown:?}");
    let key = unknown.err.split("--key ").nth(1).unwrap().split_whitespace().next().unwrap();
    args.extend(["--key", key, "--json"]);
    let first = terminal.run("sefa", &args).await.done();
    let second = terminal.run("sefa", &args).await.done();
    assert_eq!(first.out, second.out, "the same key is the same deed");
    let listed = terminal.run("sefa", &["outage", "list", "--open", "--json"]).await.done().json();
    assert_eq!(listed.as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_went_away_is_no_error_and_an_operator_that_is_not_set_up_is_named() {
    if is_skipped("a_reader_that_went_away_is_no_error_and_an_operator_that_is_not_set_up_is_named") {
        return;
    }
    let world = world(1).await;
    let terminal = Terminal::of(&world).await;
    let mut child = tokio::process::Command::new(PROGRAM)
        .args(["outage", "list"])
        .env("MAKEGOOD_URL", &terminal.url)
        .env("MAKEGOOD_TOKEN", terminal.doors.staff("sefa", Role::Operations))
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().await.unwrap();
    assert_eq!((ended.status.code(), String::from_utf8(ended.stderr).unwrap().as_str()), (Some(0), ""));

    sqlx::query("DELETE FROM operator").execute(&world.database.owner).await.unwrap();
    let refused = terminal.run("sefa", &["incident", "show", "INC-2026-031"]).await;
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.err.contains("set the operator up first: makegood operator operator.yaml"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_a_list_of_mailboxes_is_each_account_s_own_and_tells_of_no_other() {
    if is_skipped("an_outage_of_a_list_of_mailboxes_is_each_account_s_own_and_tells_of_no_other") {
        return;
    }
    let world = world(3).await;
    let terminal = Terminal::of(&world).await;
    let file = terminal.doors.folder.join("hit.csv");
    let send = async |lines: &str| {
        std::fs::write(&file, lines).unwrap();
        let open = ["outage", "open", "--capability", "receive", "--json", "--mailboxes", file.to_str().unwrap()];
        let times = ["--start", "2026-10-20T00:00:00Z", "--end", "2026-10-20T20:00:00Z"];
        terminal.run("sefa", &[&open[..], &times[..]].concat()).await
    };
    for (lines, why) in [
        ("account,mailbox\n7000000,7000000-0\n7999999,x\n", "line 3 /account: There is no such account"),
        ("account,mailbox\n7000000,7000001-0\n", "line 2 /mailbox: This account never had such a mailbox"),
        ("account,mailbox\n7000000,\n", "line 2 /mailbox: mailbox is missing"),
        ("account,mailbox\n", "The list names no mailbox"),
    ] {
        let refused = send(lines).await;
        assert!(refused.code == 1 && refused.err.contains(why), "{why}: {refused:?}");
    }
    let kept: i64 =
        sqlx::query_scalar("SELECT count(*) FROM mailbox_list_entry").fetch_one(&world.database.app).await.unwrap();
    assert_eq!(kept, 0, "a refused list leaves nothing");
    let lines = "account,mailbox\n7000000,7000000-0\n7000001,7000001-0\n7000001,7000001-0\n7000001,7000001-2\n";
    let opened = send(lines).await.done();
    assert!(opened.err.contains("3 mailboxes of 2 accounts"), "{opened:?}");
    let id = opened.json()["window"]["id"].as_str().unwrap().to_owned();
    let (first, second) = (opened.json(), send(lines).await.done().json());
    assert_eq!(first["window"]["scope"], second["window"]["scope"], "the same file is the same list");
    terminal
        .run("sefa", &["outage", "retract", second["window"]["id"].as_str().unwrap(), "--reason", "twice"])
        .await
        .done();
    terminal.run("mikaere", &["outage", "confirm", &id]).await.done();

    let auditor = terminal.doors.staff("audit", Role::Auditor);
    let sum = async |account: &str| {
        let path = format!("/v1/accounts/{account}/assessments/2026-10");
        terminal.doors.get(&path, &auditor).await
    };
    // Two of three mailboxes were down for 42 hours, the third for 22.
    let hit = sum("7000001").await;
    let windows = hit.json()["receipts"][0]["inputs"]["windows"].clone();
    let own: Vec<&Value> = windows.as_array().unwrap().iter().filter(|one| one["id"] == id.as_str()).collect();
    assert_eq!(own[0]["scope"]["mailboxes"], serde_json::json!(["7000001-0", "7000001-2"]));
    assert!(!hit.body.contains("7000000-0"), "{}", hit.body);
    assert!(hit.body.contains("2 of them name their mailboxes"), "{}", hit.body);
    let groups = hit.json()["receipts"][0]["assessment"]["strands"][0]["groups"].clone();
    assert_eq!(groups.as_array().unwrap().len(), 2, "one history, but not one list: {groups}");
    let spared = sum("7000002").await;
    assert!(!spared.body.contains(&id), "an account that is not on the list does not see it");
}
