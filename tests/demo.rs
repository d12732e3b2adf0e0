//! `makegood demo` as people start it: once, again, twice at once, as another user, and after it was killed.

mod support;

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};
use support::{PROGRAM, is_skipped};

/// A folder of its own directly under the temporary folder, which any user may enter.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("makegood-demo-test-{}", uuid::Uuid::now_v7().simple()));
        std::fs::create_dir(&folder).unwrap();
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn command(program: &Path, data: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["demo", "--exit", "--json", "--data"]).arg(data).env_remove("DATABASE_URL").stdin(Stdio::null());
    command
}

fn figures(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(figures.as_object_mut().unwrap().remove("seconds").is_some());
    check(&figures);
    figures
}

fn check(figures: &Value) {
    let number = |name: &str| figures[name].as_i64().unwrap_or_else(|| panic!("{name}: {figures}"));
    assert_eq!(figures["claim"]["computed"]["amount"], "25.00");
    assert_eq!(figures["claim"]["approved"]["amount"], "240.00");
    assert_eq!(figures["claim"]["asked"]["amount"], "480.00");
    assert_eq!((number("minutes_down"), number("accounts")), (1_335, 300));
    assert_eq!(figures["uptime"], "97.009%");
    let kinds = number("credited_accounts") + number("held_back_accounts") + number("nothing_due_accounts");
    assert_eq!(kinds, number("affected_accounts"));
    assert_eq!(number("credits_issued"), number("feed_pulled"));
    assert_eq!(number("feed_pulled"), number("feed_acknowledged"));
    assert_eq!(number("credits_issued"), number("credited_accounts") + 1, "the run's and the claim's");
    assert_eq!(
        (&figures["control_totals_agree"], &figures["chain_verified"]),
        (&Value::Bool(true), &Value::Bool(true))
    );
    let cents = |value: &Value| value["amount"].as_str().unwrap().replace('.', "").parse::<i64>().unwrap();
    assert_eq!(cents(&figures["credited_total"]), cents(&figures["run_total"]) + 24_000);
}

/// A fingerprint of every row of every table: name, count and hash.
async fn rows(data: &Path) -> Vec<(String, i64, String)> {
    let options = makegood::pg::Options {
        data_dir: data.join("postgres"),
        durable: true,
        linger: Duration::from_secs(1),
        program: PROGRAM.into(),
        bin_dir: None,
    };
    let cluster = tokio::task::spawn_blocking(move || makegood::pg::start(&options)).await.unwrap().unwrap();
    let pool = PgPool::connect(&cluster.url(makegood::store::setup::OWNER, "makegood")).await.unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert!(tables.len() > 20, "{tables:?}");
    let mut found = Vec::new();
    let mut tx = pool.begin().await.unwrap();
    for table in tables {
        let statement =
            format!("SELECT count(*), coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM {table} AS t");
        let (count, hash): (i64, String) = match sqlx::query_as(AssertSqlSafe(statement)).fetch_one(&mut *tx).await {
            Ok(found) => found,
            Err(error) => panic!("{table}: {error}"),
        };
        found.push((table, count, hash));
    }
    tx.rollback().await.unwrap();
    pool.close().await;
    found
}

#[tokio::test]
async fn the_demo_tells_its_story_and_a_second_start_changes_no_row() {
    if is_skipped("the_demo_tells_its_story_and_a_second_start_changes_no_row") {
        return;
    }
    let folder = Folder::new();
    let first = figures(&command(Path::new(PROGRAM), &folder.0).output().unwrap());
    let before = rows(&folder.0).await;
    assert!(before.iter().any(|(table, count, _)| table == "credit" && *count > 0), "{before:?}");
    let second = figures(&command(Path::new(PROGRAM), &folder.0).output().unwrap());
    assert_eq!(first, second);
    assert_eq!(rows(&folder.0).await, before);
}

#[test]
fn an_ordinary_user_can_start_the_demo() {
    if is_skipped("an_ordinary_user_can_start_the_demo") {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        // Whoever runs the tests is an ordinary user, and the other tests have shown it.
        return;
    }
    const ORDINARY: u32 = 65_534;
    let folder = Folder::new();
    let (program, data) = (folder.0.join("makegood"), folder.0.join("data"));
    std::fs::copy(PROGRAM, &program).unwrap();
    std::fs::create_dir(&data).unwrap();
    for path in [&folder.0, &program, &data] {
        std::os::unix::fs::chown(path, Some(ORDINARY), Some(ORDINARY)).unwrap();
    }
    let mut command = command(&program, &data);
    command.uid(ORDINARY).gid(ORDINARY).current_dir(&folder.0).env("HOME", &folder.0);
    figures(&command.output().unwrap());
}

fn spawn(data: &Path) -> Child {
    command(Path::new(PROGRAM), data).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn two_demos_at_once_in_two_folders_do_not_touch_each_other() {
    if is_skipped("two_demos_at_once_in_two_folders_do_not_touch_each_other") {
        return;
    }
    let folders = [Folder::new(), Folder::new()];
    let both = [spawn(&folders[0].0), spawn(&folders[1].0)].map(|child| child.wait_with_output());
    let [first, second] = both.map(|output| figures(&output.unwrap()));
    assert_eq!(first, second);
}

fn still_runs(child: &mut Child) {
    if let Ok(Some(status)) = child.try_wait() {
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        panic!("it ended before it was killed: {status}: {said}");
    }
}

/// Kills the child, by its own id, as soon as `is_there` finds what it looks for.
async fn kill_when(mut child: Child, data: &Path, is_there: &'static str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let options = makegood::pg::Options {
        data_dir: data.join("postgres"),
        durable: true,
        linger: Duration::from_secs(1),
        program: PROGRAM.into(),
        bin_dir: None,
    };
    let cluster = tokio::task::spawn_blocking(move || makegood::pg::start(&options)).await.unwrap().unwrap();
    let url = cluster.url(makegood::store::setup::SERVER, "makegood");
    loop {
        assert!(Instant::now() < deadline, "{is_there} never came");
        still_runs(&mut child);
        // Until the database is there, and migrated.
        let Ok(pool) = PgPool::connect(&url).await else {
            tokio::task::yield_now().await;
            continue;
        };
        while Instant::now() < deadline {
            match sqlx::query_scalar::<_, bool>(is_there).fetch_one(&pool).await {
                Ok(true) => {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    pool.close().await;
                    return;
                }
                Ok(false) | Err(_) => still_runs(&mut child),
            }
        }
    }
}

#[tokio::test]
async fn a_demo_that_was_killed_goes_on_and_comes_to_the_same_figures() {
    if is_skipped("a_demo_that_was_killed_goes_on_and_comes_to_the_same_figures") {
        return;
    }
    let whole = Folder::new();
    let expected = figures(&command(Path::new(PROGRAM), &whole.0).output().unwrap());
    let folder = Folder::new();
    for is_there in [
        "SELECT EXISTS (SELECT FROM account)",
        "SELECT EXISTS (SELECT FROM audit WHERE action = 'outage.amend')",
        "SELECT EXISTS (SELECT FROM credit_run)",
        "SELECT EXISTS (SELECT FROM billing_answer)",
        "SELECT EXISTS (SELECT FROM claim WHERE state = 'awaiting_second')",
    ] {
        kill_when(spawn(&folder.0), &folder.0, is_there).await;
    }
    let resumed = figures(&command(Path::new(PROGRAM), &folder.0).output().unwrap());
    assert_eq!(resumed, expected);
}
