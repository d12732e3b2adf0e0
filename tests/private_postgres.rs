//! The private PostgreSQL against real server programs and real signals.
//!
//! A *holder* is this test binary run again, as a process that can be killed: it starts or joins a cluster, says where it
//! is, and holds it until its standard input ends.

mod support;

use std::fs::{self, DirBuilder};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use makegood::pg::{self, Options, PgError};
use makegood::store::setup;
use rustix::process::{Pid, Signal, getpgid, kill_process, kill_process_group};
use sqlx::{Connection, PgConnection, PgPool};
use support::is_skipped;

const NOBODY: u32 = 65534;

/// A folder that is removed at the end, after the server in it has stopped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("makegood-pg-{}-{name}", std::process::id()));
        DirBuilder::new().mode(0o755).create(&path).unwrap();
        Scratch(path.canonicalize().unwrap())
    }

    /// Where the cluster goes; not made yet.
    fn data_dir(&self) -> PathBuf {
        self.0.join("cluster")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let stopped = || !self.data_dir().join("data/postmaster.pid").exists();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !stopped() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        if stopped() || thread::panicking() {
            let _ = fs::remove_dir_all(&self.0);
        } else {
            panic!("the server in {} goes on with nobody to use it", self.0.display());
        }
    }
}

/// A cluster that does without the disk's slowness, which most of these tests have no use for.
fn options(data_dir: &Path) -> Options {
    Options {
        data_dir: data_dir.to_path_buf(),
        durable: false,
        linger: Duration::from_millis(200),
        program: PathBuf::from(support::PROGRAM),
        bin_dir: None,
    }
}

fn durable(data_dir: &Path) -> Options {
    Options { durable: true, ..options(data_dir) }
}

/// What a holder does. It is told what by variables of its environment.
#[test]
#[ignore = "run by the other tests, as a process of its own"]
fn holder() {
    let told = |name: &str| std::env::var_os(name);
    let Some(data_dir) = told("HOLD_DATA_DIR") else { return };
    let mut options = options(Path::new(&data_dir));
    if let Some(program) = told("HOLD_PROGRAM") {
        options.program = PathBuf::from(program);
    }
    options.durable = told("HOLD_DURABLE").is_some();
    if let Some(linger) = told("HOLD_LINGER_MS") {
        options.linger = Duration::from_millis(linger.to_str().unwrap().parse().unwrap());
    }
    let cluster = match pg::start(&options) {
        Ok(cluster) => cluster,
        Err(error) => {
            println!("\nrefused {}", error.to_string().replace('\n', " | "));
            return;
        }
    };
    let url = cluster.url("postgres", "postgres");
    // In this process's environment, which a test may have filled with PG* variables.
    ask(&url, "SELECT 'held'").unwrap();
    println!("\nheld {} {url}", cluster.is_new());
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

struct Holder {
    child: Child,
    /// Kept open, for it has more to say at its end.
    output: BufReader<ChildStdout>,
    url: String,
    is_new: bool,
}

/// A holder that has been started and not heard of yet.
struct Starting(Child);

fn begin(program: &Path, data_dir: &Path, adapt: impl FnOnce(&mut Command)) -> Starting {
    let mut command = Command::new(program);
    command.args(["--exact", "holder", "--ignored", "--nocapture"]).env("HOLD_DATA_DIR", data_dir).process_group(0);
    adapt(&mut command);
    Starting(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
}

impl Starting {
    /// Waits for what it has to say.
    fn said(mut self) -> Result<Holder, String> {
        let mut output = BufReader::new(self.0.stdout.take().unwrap());
        let mut line = String::new();
        while output.read_line(&mut line).unwrap() > 0 {
            if let Some(why) = line.trim_end().strip_prefix("refused ") {
                let why = why.to_owned();
                output.read_to_string(&mut line).unwrap();
                self.0.wait().unwrap();
                return Err(why);
            }
            if let Some((is_new, url)) = line.trim_end().strip_prefix("held ").and_then(|rest| rest.split_once(' ')) {
                return Ok(Holder { is_new: is_new == "true", url: url.to_owned(), child: self.0, output });
            }
            line.clear();
        }
        panic!("the holder ended without a word: {:?}", self.0.wait());
    }
}

fn hold(data_dir: &Path) -> Holder {
    begin(&std::env::current_exe().unwrap(), data_dir, |_| {}).said().unwrap()
}

fn hold_durable(data_dir: &Path) -> Holder {
    let adapt = |command: &mut Command| {
        command.env("HOLD_DURABLE", "yes");
    };
    begin(&std::env::current_exe().unwrap(), data_dir, adapt).said().unwrap()
}

impl Holder {
    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// As a power cut would end it.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.output.read_to_end(&mut Vec::new());
        let _ = self.child.wait();
    }
}

fn ask(url: &str, query: &'static str) -> Result<String, sqlx::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = PgConnection::connect(url).await?;
        let answer = sqlx::query_scalar::<_, String>(query).fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(answer)
    })
}

fn run(url: &str, statement: &'static str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = PgConnection::connect(url).await.unwrap();
        sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    });
}

/// Waits until something is so; the machine may be busy.
#[track_caller]
fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "waited a minute in vain until {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn server_pid(data_dir: &Path) -> Pid {
    let text = fs::read_to_string(data_dir.join("data/postmaster.pid")).unwrap();
    Pid::from_raw(text.lines().next().unwrap().trim().parse().unwrap()).unwrap()
}

/// One of the fields that `ps` prints of a process.
fn process(pid: Pid, field: &str) -> String {
    let said = Command::new("ps").args(["-o", field, "-p", &pid.as_raw_pid().to_string()]).output().unwrap();
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

fn supervisor_of(server: Pid) -> Pid {
    let parent = Pid::from_raw(process(server, "ppid=").parse().unwrap()).unwrap();
    assert!(process(parent, "command=").contains(pg::SUPERVISE), "{}", process(parent, "command="));
    parent
}

/// A zombie that nobody waits for is as dead as can be.
fn is_alive(pid: Pid) -> bool {
    let state = process(pid, "stat=");
    !state.is_empty() && !state.starts_with('Z')
}

fn kill_9(pid: Pid) {
    kill_process(pid, Signal::KILL).unwrap();
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says that a test needs root to have a point.
fn is_skipped_without_root(test: &str) -> bool {
    if !is_root() {
        let _ = writeln!(io::stderr(), "skipped: {test}: only root runs the server as somebody else");
    }
    !is_root()
}

#[test]
fn the_first_start_makes_the_cluster_and_the_second_joins_it() {
    if is_skipped("the_first_start_makes_the_cluster_and_the_second_joins_it") {
        return;
    }
    let scratch = Scratch::new("join");
    let cluster = pg::start(&durable(&scratch.data_dir())).unwrap();
    assert!(cluster.is_new());
    let url = cluster.url("postgres", "postgres");
    let server = server_pid(&scratch.data_dir());
    let second = hold_durable(&scratch.data_dir());
    assert!(!second.is_new);
    assert_eq!(server_pid(&scratch.data_dir()), server);
    for (query, expected) in [
        ("SHOW listen_addresses", ""),
        ("SHOW fsync", "on"),
        ("SHOW synchronous_commit", "on"),
        ("SHOW full_page_writes", "on"),
        ("SHOW max_connections", "100"),
        ("SHOW shared_buffers", "128MB"),
        ("SHOW server_encoding", "UTF8"),
        ("SHOW timezone", "UTC"),
        ("SHOW data_checksums", "on"),
        ("SELECT string_agg(x, '' ORDER BY x) FROM unnest(ARRAY['b','A','a','B','é']) x", "ABabé"),
        ("SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database", "postgres template0 template1"),
        ("SELECT string_agg(rolname, ' ') FROM pg_roles WHERE rolname NOT LIKE 'pg%'", "postgres"),
    ] {
        assert_eq!(ask(&url, query).unwrap_or_else(|error| format!("{error}")), expected, "{query}");
    }
    let socket = fs::metadata(cluster.socket_dir()).unwrap();
    assert_eq!(socket.mode() & 0o777, 0o700);
    assert_eq!(socket.uid(), fs::metadata(scratch.data_dir().join("data")).unwrap().uid());
    assert!(cluster.bin_dir().join("initdb").is_file());
    // It runs for as long as one of the two holds it, and no longer.
    drop(cluster);
    assert_eq!(ask(&second.url, "SELECT 'still'").unwrap(), "still");
    drop(second);
    wait_until("the server stops", || !is_alive(server));
}

#[test]
fn eight_starts_at_once_make_one_cluster() {
    if is_skipped("eight_starts_at_once_make_one_cluster") {
        return;
    }
    let scratch = Scratch::new("eight");
    let this = std::env::current_exe().unwrap();
    let starting: Vec<Starting> = (0..8).map(|_| begin(&this, &scratch.data_dir(), |_| {})).collect();
    let holders: Vec<Holder> = starting.into_iter().map(|starting| starting.said().unwrap()).collect();
    assert_eq!(holders.iter().filter(|holder| holder.is_new).count(), 1);
    let url = &holders[0].url;
    assert!(holders.iter().all(|holder| &holder.url == url));
    let drafts = fs::read_dir(scratch.data_dir()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!drafts.into_iter().any(|name| name.to_string_lossy().contains(".new")));
}

#[test]
fn a_killed_program_does_not_leave_the_server_running() {
    if is_skipped("a_killed_program_does_not_leave_the_server_running") {
        return;
    }
    let scratch = Scratch::new("killed");
    let holder = hold_durable(&scratch.data_dir());
    run(&holder.url, "CREATE TABLE kept (word text); INSERT INTO kept VALUES ('kept')");
    let server = server_pid(&scratch.data_dir());
    holder.kill();
    wait_until("the server stops", || !is_alive(server));
    wait_until("it has removed its file", || !scratch.data_dir().join("data/postmaster.pid").exists());
    let log = fs::read_to_string(scratch.data_dir().join("server.log")).unwrap();
    assert!(log.contains("received fast shutdown request") && log.contains("database system is shut down"), "{log}");

    let again = hold_durable(&scratch.data_dir());
    assert!(!again.is_new);
    assert_eq!(ask(&again.url, "SELECT word FROM kept").unwrap(), "kept");
}

#[test]
fn a_start_right_after_a_kill_works_whatever_the_supervisor_is_doing() {
    if is_skipped("a_start_right_after_a_kill_works_whatever_the_supervisor_is_doing") {
        return;
    }
    let scratch = Scratch::new("at-once");
    let this = std::env::current_exe().unwrap();
    for _ in 0..6 {
        // Without lingering, so that starts fall into stops.
        begin(&this, &scratch.data_dir(), |command| {
            command.env("HOLD_LINGER_MS", "0");
        })
        .said()
        .unwrap()
        .kill();
    }
}

#[test]
fn a_server_that_lost_its_supervisor_is_adopted() {
    if is_skipped("a_server_that_lost_its_supervisor_is_adopted") {
        return;
    }
    let scratch = Scratch::new("adopted");
    let holder = hold(&scratch.data_dir());
    let server = server_pid(&scratch.data_dir());
    let supervisor = supervisor_of(server);
    kill_9(supervisor);
    let next = hold(&scratch.data_dir());
    assert!(!is_alive(supervisor));
    assert_eq!(server_pid(&scratch.data_dir()), server);
    assert_eq!(ask(&holder.url, "SELECT 'still'").unwrap(), "still");
    holder.kill();
    assert!(is_alive(server));
    next.kill();
    wait_until("the new supervisor stops it", || !is_alive(server));
}

#[test]
fn what_was_committed_survives_the_death_of_all_three() {
    if is_skipped("what_was_committed_survives_the_death_of_all_three") {
        return;
    }
    let scratch = Scratch::new("crash");
    let holder = hold_durable(&scratch.data_dir());
    run(&holder.url, "CREATE TABLE kept AS SELECT n::text AS word FROM generate_series(1, 1000) n");
    let server = server_pid(&scratch.data_dir());
    let supervisor = supervisor_of(server);
    kill_9(supervisor);
    kill_9(server);
    holder.kill();
    let again = hold_durable(&scratch.data_dir());
    assert!(!again.is_new);
    assert_eq!(ask(&again.url, "SELECT count(*)::text FROM kept").unwrap(), "1000");
    let log = fs::read_to_string(scratch.data_dir().join("server.log")).unwrap();
    assert!(log.contains("automatic recovery in progress"), "{log}");
}

#[test]
fn a_server_that_dies_under_its_users_is_started_again() {
    if is_skipped("a_server_that_dies_under_its_users_is_started_again") {
        return;
    }
    let scratch = Scratch::new("restarted");
    let holder = hold(&scratch.data_dir());
    let server = server_pid(&scratch.data_dir());
    kill_9(server);
    wait_until("it answers again", || ask(&holder.url, "SELECT 'again'").is_ok());
    assert_ne!(server_pid(&scratch.data_dir()), server);
}

#[test]
fn ctrl_c_ends_the_program_and_not_the_server() {
    if is_skipped("ctrl_c_ends_the_program_and_not_the_server") {
        return;
    }
    let scratch = Scratch::new("ctrl-c");
    let mut first = hold(&scratch.data_dir());
    let second = hold(&scratch.data_dir());
    let server = server_pid(&scratch.data_dir());
    let supervisor = supervisor_of(server);
    assert_ne!(getpgid(Some(supervisor)).unwrap(), first.pid());
    assert_ne!(getpgid(Some(server)).unwrap(), first.pid());
    kill_process_group(first.pid(), Signal::INT).unwrap();
    first.child.wait().unwrap();
    assert_eq!(ask(&second.url, "SELECT 'still'").unwrap(), "still");
    assert_eq!((server_pid(&scratch.data_dir()), supervisor_of(server)), (server, supervisor));
}

#[test]
fn a_file_left_by_a_dead_server_is_no_obstacle() {
    if is_skipped("a_file_left_by_a_dead_server_is_no_obstacle") {
        return;
    }
    let scratch = Scratch::new("stale");
    drop(hold(&scratch.data_dir()));
    let file = scratch.data_dir().join("data/postmaster.pid");
    wait_until("the server stops", || !file.exists());
    let owner = fs::metadata(scratch.data_dir().join("data")).unwrap();

    let as_owner = |program: &str| {
        let mut command = Command::new(program);
        if is_root() {
            // The server would take no notice of a process that it may not signal.
            command.uid(owner.uid()).gid(owner.gid());
        }
        command.stdin(Stdio::piped()).spawn().unwrap()
    };
    let mut zombie = as_owner("true");
    wait_until("it is a zombie", || process(Pid::from_child(&zombie), "stat=").starts_with('Z'));
    let mut other_program = as_owner("cat");
    let mut gone = as_owner("true");
    gone.wait().unwrap();
    for (what, left) in [
        ("a zombie", format!("{}\n", zombie.id())),
        ("another program", format!("{}\n", other_program.id())),
        ("nobody", format!("{}\n", gone.id())),
        ("nothing", String::new()),
    ] {
        fs::write(&file, left).unwrap();
        chown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
        let holder = hold(&scratch.data_dir());
        assert_eq!(ask(&holder.url, "SELECT 'up'").unwrap(), "up", "{what}");
        drop(holder);
        wait_until("the server stops", || !file.exists());
    }
    assert!(other_program.try_wait().unwrap().is_none(), "a program that is not ours was ended");
    drop(other_program.stdin.take());
    other_program.wait().unwrap();
    zombie.wait().unwrap();
}

#[test]
fn a_cluster_that_was_never_finished_is_made_anew() {
    if is_skipped("a_cluster_that_was_never_finished_is_made_anew") {
        return;
    }
    // On a busy machine the cluster may be finished before the kill: then another is tried.
    let killed_in_time = |number: u32| {
        let scratch = Scratch::new(&format!("unfinished-{number}"));
        let cluster = scratch.data_dir();
        let mut child = begin(&std::env::current_exe().unwrap(), &cluster, |_| {}).0;
        let draft = |entry: io::Result<fs::DirEntry>| {
            entry.unwrap().file_name().to_str()?.strip_prefix("data.new-")?.parse().ok().and_then(Pid::from_raw)
        };
        let maker = || fs::read_dir(&cluster).ok().and_then(|mut entries| entries.find_map(draft));
        wait_until("it makes a cluster", || maker().is_some() || cluster.join("data").exists());
        let in_time = maker().is_some_and(|supervisor| kill_process(supervisor, Signal::KILL).is_ok());
        child.kill().unwrap();
        child.wait().unwrap();
        (in_time && !cluster.join("data").exists()).then_some(scratch)
    };
    let scratch = (0..10).find_map(killed_in_time).expect("one of ten kills comes in time");
    let cluster = scratch.data_dir();

    let holder = hold(&cluster);
    assert!(holder.is_new);
    assert_eq!(ask(&holder.url, "SELECT 'whole'").unwrap(), "whole");
}

#[test]
fn two_clusters_run_side_by_side() {
    if is_skipped("two_clusters_run_side_by_side") {
        return;
    }
    let (one, other) = (Scratch::new("one"), Scratch::new("other"));
    let (first, second) = (hold(&one.data_dir()), hold(&other.data_dir()));
    run(&first.url, "CREATE TABLE only_here (id int)");
    assert!(ask(&second.url, "SELECT count(*)::text FROM only_here").is_err());
    assert_ne!(server_pid(&one.data_dir()), server_pid(&other.data_dir()));
}

#[test]
fn the_callers_variables_do_not_leak_into_the_server_or_the_connection() {
    if is_skipped("the_callers_variables_do_not_leak_into_the_server_or_the_connection") {
        return;
    }
    let scratch = Scratch::new("environment");
    let holder = begin(&std::env::current_exe().unwrap(), &scratch.data_dir(), |command| {
        for (name, value) in [
            ("PGDATA", "/nonexistent"),
            ("PGHOST", "nowhere.invalid"),
            ("PGPORT", "1"),
            ("PGUSER", "nobody-here"),
            ("PGDATABASE", "nothing"),
            ("PGPASSWORD", "wrong"),
            ("PGSSLMODE", "verify-full"),
            ("PGTZ", "Asia/Tokyo"),
            ("PGDATESTYLE", "German"),
            ("LC_ALL", "xx_XX.nonsense"),
            ("LANG", "xx_XX.nonsense"),
        ] {
            command.env(name, value);
        }
    });
    let holder = holder.said().unwrap();
    assert_eq!(ask(&holder.url, "SELECT (timestamptz '2026-11-24 12:00+00')::text").unwrap(), "2026-11-24 12:00:00+00");
    assert_eq!(ask(&holder.url, "SHOW lc_messages").unwrap().trim_end_matches(".UTF-8"), "C");
}

#[test]
fn without_server_programs_it_says_what_to_install() {
    let scratch = Scratch::new("none");
    let nothing = scratch.0.join("nothing");
    let refused = begin(&std::env::current_exe().unwrap(), &scratch.data_dir(), |command| {
        command.env("PG_BIN_DIR", &nothing);
    });
    let said = refused.said().err().unwrap();
    for part in [&*nothing.to_string_lossy(), "apt-get install postgresql", "PG_BIN_DIR", "DATABASE_URL"] {
        assert!(said.contains(part), "{said}");
    }
    // One that is named is used, and no other in its stead, also where an option names it.
    let refused = pg::start(&Options { bin_dir: Some(nothing), ..options(&scratch.data_dir()) }).unwrap_err();
    assert!(matches!(refused, PgError::BadPrograms { .. }), "{refused}");
}

#[test]
fn what_a_failed_start_reports_is_its_own_and_the_next_start_is_free_of_it() {
    if is_skipped("what_a_failed_start_reports_is_its_own_and_the_next_start_is_free_of_it") {
        return;
    }
    let scratch = Scratch::new("failed");
    drop(hold(&scratch.data_dir()));
    let file = scratch.data_dir().join("data/postmaster.pid");
    wait_until("the server stops", || !file.exists());
    let configuration = scratch.data_dir().join("data/postgresql.conf");
    let good = fs::read_to_string(&configuration).unwrap();
    fs::write(&configuration, "no_such_setting = 1\n").unwrap();
    let refused = pg::start(&options(&scratch.data_dir())).unwrap_err();
    assert!(refused.to_string().contains("no_such_setting"), "{refused}");
    fs::write(&configuration, good).unwrap();
    pg::start(&options(&scratch.data_dir())).unwrap();
}

#[test]
fn a_cluster_of_another_major_version_or_durability_is_left_alone() {
    if is_skipped("a_cluster_of_another_major_version_or_durability_is_left_alone") {
        return;
    }
    let scratch = Scratch::new("other-kind");
    let cluster = pg::start(&options(&scratch.data_dir())).unwrap();
    let refused = pg::start(&durable(&scratch.data_dir())).unwrap_err();
    assert!(matches!(refused, PgError::OtherDurability { .. }), "{refused}");
    drop(cluster);
    wait_until("the server stops", || !scratch.data_dir().join("data/postmaster.pid").exists());
    fs::write(scratch.data_dir().join("data/PG_VERSION"), "14\n").unwrap();
    let refused = pg::start(&options(&scratch.data_dir())).unwrap_err();
    assert!(matches!(refused, PgError::OtherMajor { made_by: 14, .. }), "{refused}");
}

#[test]
fn a_disposable_cluster_is_not_slowed_down_by_the_disk() {
    if is_skipped("a_disposable_cluster_is_not_slowed_down_by_the_disk") {
        return;
    }
    let scratch = Scratch::new("disposable");
    let cluster = pg::start(&options(&scratch.data_dir())).unwrap();
    for setting in ["SHOW fsync", "SHOW synchronous_commit", "SHOW full_page_writes"] {
        assert_eq!(ask(&cluster.url("postgres", "postgres"), setting).unwrap(), "off", "{setting}");
    }
    let refused = pg::start(&durable(&scratch.data_dir())).unwrap_err();
    assert!(matches!(refused, PgError::OtherDurability { .. }), "{refused}");
}

#[test]
fn a_long_path_gets_a_short_socket_folder_that_nobody_else_can_plant() {
    if is_skipped("a_long_path_gets_a_short_socket_folder_that_nobody_else_can_plant") {
        return;
    }
    let scratch = Scratch::new("long");
    let data_dir = scratch.0.join("long".repeat(30));
    let cluster = pg::start(&options(&data_dir)).unwrap();
    let socket_dir = cluster.socket_dir().to_path_buf();
    assert!(socket_dir.starts_with("/tmp") && socket_dir.as_os_str().len() < 30, "{}", socket_dir.display());
    assert_eq!(fs::metadata(&socket_dir).unwrap().mode() & 0o777, 0o700);
    assert_eq!(ask(&cluster.url("postgres", "postgres"), "SELECT 'up'").unwrap(), "up");
    drop(cluster);
    wait_until("the folder is taken away again", || !socket_dir.exists());

    DirBuilder::new().mode(0o755).create(&socket_dir).unwrap();
    let refused = pg::start(&options(&data_dir)).unwrap_err();
    assert!(refused.to_string().contains("remove it"), "{refused}");
    fs::remove_dir(&socket_dir).unwrap();
    std::os::unix::fs::symlink(&scratch.0, &socket_dir).unwrap();
    let refused = pg::start(&options(&data_dir)).unwrap_err();
    assert!(refused.to_string().contains("remove it"), "{refused}");
    assert_eq!(fs::metadata(&scratch.0).unwrap().mode() & 0o777, 0o755, "what the link points to was changed");
    fs::remove_file(&socket_dir).unwrap();
    wait_until("the supervisors are gone", || !data_dir.join("data/postmaster.pid").exists());
}

#[test]
fn as_root_the_server_runs_as_somebody_else() {
    let test = "as_root_the_server_runs_as_somebody_else";
    if is_skipped(test) || is_skipped_without_root(test) {
        return;
    }
    // A new folder goes to a user made for it, or to nobody in particular.
    let scratch = Scratch::new("root-new");
    let holder = hold(&scratch.data_dir());
    let owner = fs::metadata(scratch.data_dir()).unwrap().uid();
    let name = Command::new("id").args(["-nu", &owner.to_string()]).output().unwrap().stdout;
    let name = String::from_utf8(name).unwrap();
    assert!(["postgres", "_postgres", "nobody"].contains(&name.trim()), "{name}");
    assert_eq!(process(server_pid(&scratch.data_dir()), "uid="), owner.to_string());
    drop(holder);

    // A folder that a killed start made and did not give away yet is no obstacle.
    let scratch = Scratch::new("root-between");
    DirBuilder::new().mode(0o700).create(scratch.data_dir()).unwrap();
    drop(hold(&scratch.data_dir()));

    // A folder of root's that others can enter stays root's; what the server writes to is its own.
    let scratch = Scratch::new("root-kept");
    DirBuilder::new().mode(0o755).create(scratch.data_dir()).unwrap();
    drop(hold(&scratch.data_dir()));
    assert_eq!(fs::metadata(scratch.data_dir()).unwrap().uid(), 0);
    assert_eq!(fs::metadata(scratch.data_dir().join("data")).unwrap().uid(), owner);

    // A folder that is there decides by its owner, and root and the owner can take turns.
    let scratch = Scratch::new("root-owned");
    fs::create_dir(scratch.data_dir()).unwrap();
    chown(scratch.data_dir(), Some(NOBODY), Some(NOBODY)).unwrap();
    let as_root = hold(&scratch.data_dir());
    let server = server_pid(&scratch.data_dir());
    assert_eq!(process(server, "uid="), NOBODY.to_string());
    assert_eq!(process(server, "gid="), NOBODY.to_string());
    for entry in fs::read_dir(scratch.data_dir()).unwrap().map(Result::unwrap) {
        assert_eq!(entry.metadata().unwrap().uid(), NOBODY, "{}", entry.path().display());
    }
    let as_owner = hold_as_nobody(&scratch, &scratch.data_dir());
    assert_eq!(server_pid(&scratch.data_dir()), server);
    drop(as_root);
    drop(as_owner);
    wait_until("the server stops", || !is_alive(server));
}

/// A holder run by an ordinary user, from programs copied to where that user can reach them.
fn hold_as_nobody(scratch: &Scratch, data_dir: &Path) -> Holder {
    let (this, program) = (scratch.0.join("holder"), scratch.0.join("makegood"));
    fs::copy(std::env::current_exe().unwrap(), &this).unwrap();
    fs::copy(support::PROGRAM, &program).unwrap();
    for path in [&this, &program] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    begin(&this, data_dir, |command| {
        command.env("HOLD_PROGRAM", &program).uid(NOBODY).gid(NOBODY).current_dir("/");
    })
    .said()
    .unwrap()
}

#[test]
fn an_ordinary_user_needs_nobody_else() {
    let test = "an_ordinary_user_needs_nobody_else";
    // For an ordinary user every other test says so.
    if is_skipped(test) || is_skipped_without_root(test) {
        return;
    }
    let scratch = Scratch::new("ordinary");
    chown(&scratch.0, Some(NOBODY), Some(NOBODY)).unwrap();
    let holder = hold_as_nobody(&scratch, &scratch.data_dir());
    assert!(holder.is_new);
    let server = server_pid(&scratch.data_dir());
    assert_eq!(process(server, "uid="), NOBODY.to_string());
    assert_eq!(process(supervisor_of(server), "uid="), NOBODY.to_string());
    // Root joins it as it is.
    let root = hold(&scratch.data_dir());
    assert_eq!(server_pid(&scratch.data_dir()), server);
    drop(root);
    holder.kill();
    wait_until("the server stops", || !is_alive(server));
}

#[test]
fn as_root_a_folder_that_the_server_could_not_enter_is_refused_before_anything_is_made() {
    let test = "as_root_a_folder_that_the_server_could_not_enter_is_refused_before_anything_is_made";
    if is_skipped(test) || is_skipped_without_root(test) {
        return;
    }
    let scratch = Scratch::new("closed");
    let closed = scratch.0.join("closed");
    DirBuilder::new().mode(0o700).create(&closed).unwrap();
    let refused = pg::start(&options(&closed.join("deeper/data"))).unwrap_err();
    assert!(matches!(&refused, PgError::Unreachable { blocked, .. } if *blocked == closed), "{refused}");
    assert_eq!(fs::read_dir(&closed).unwrap().count(), 0);
}

/// Server programs to try beside those that are found: a list of folders like PATH, in MAKEGOOD_TEST_PG_BIN_DIRS.
fn all_programs() -> Vec<PathBuf> {
    let others = std::env::var_os("MAKEGOOD_TEST_PG_BIN_DIRS").unwrap_or_default();
    let others: Vec<PathBuf> = std::env::split_paths(&others).filter(|path| !path.as_os_str().is_empty()).collect();
    pg::find_bin_dir(None).into_iter().chain(others).collect()
}

#[test]
fn every_version_at_hand_runs_the_migrations_for_two_databases_at_once() {
    let test = "every_version_at_hand_runs_the_migrations_for_two_databases_at_once";
    if is_skipped(test) {
        return;
    }
    for (number, bin_dir) in all_programs().into_iter().enumerate() {
        let scratch = Scratch::new(&format!("version-{number}"));
        let options = Options { bin_dir: Some(bin_dir), ..options(&scratch.data_dir()) };
        let cluster = pg::start(&options).unwrap();
        let superuser = cluster.url("postgres", "postgres");
        let version = ask(&superuser, "SHOW server_version").unwrap();
        let _ = writeln!(io::stderr(), "{test}: PostgreSQL {version}");
        assert_eq!(ask(&superuser, "SELECT upper('ab') || min(x) FROM unnest(ARRAY['b','Z']) x").unwrap(), "ABZ");
        let set_up = async |database: &str| {
            let mut connection = PgConnection::connect(&superuser).await.unwrap();
            setup::prepare(&mut connection, database).await.unwrap();
            let owner = PgPool::connect(&cluster.url(setup::OWNER, database)).await.unwrap();
            setup::migrate(&owner).await.unwrap();
            let server = PgPool::connect(&cluster.url(setup::SERVER, database)).await.unwrap();
            let statement =
                "BEGIN; SELECT * FROM account; SET LOCAL ROLE makegood_customer; SELECT * FROM account; COMMIT";
            sqlx::raw_sql(statement).execute(&server).await.unwrap();
            let is_member: bool =
                sqlx::query_scalar("SELECT pg_has_role('makegood_app', 'USAGE')").fetch_one(&owner).await.unwrap();
            assert!(is_member, "PostgreSQL {version}");
            owner.close().await;
            server.close().await;
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            set_up_by_hand(&cluster, &version).await;
            tokio::join!(set_up("first"), set_up("second"), set_up("first"));
            set_up("third").await;
        });
    }
}

/// A database set up by hand, before anything else on its server: its owner makes the roles, and lets the server in.
async fn set_up_by_hand(cluster: &pg::Cluster, version: &str) {
    let mut superuser = PgConnection::connect(&cluster.url("postgres", "postgres")).await.unwrap();
    for statement in
        ["CREATE ROLE their_owner LOGIN CREATEROLE", "CREATE DATABASE theirs OWNER their_owner TEMPLATE template0"]
    {
        sqlx::raw_sql(statement).execute(&mut superuser).await.unwrap();
    }
    let owner = PgPool::connect(&cluster.url("their_owner", "theirs")).await.unwrap();
    setup::migrate(&owner).await.unwrap_or_else(|error| panic!("PostgreSQL {version}: {error}"));
    sqlx::raw_sql("CREATE ROLE makegood_server LOGIN").execute(&owner).await.unwrap();
    setup::migrate(&owner).await.unwrap_or_else(|error| panic!("PostgreSQL {version}: {error}"));
    let server = PgPool::connect(&cluster.url(setup::SERVER, "theirs")).await.unwrap();
    sqlx::raw_sql("SELECT * FROM account").execute(&server).await.unwrap();
    let is_member: bool =
        sqlx::query_scalar("SELECT pg_has_role('makegood_app', 'USAGE')").fetch_one(&owner).await.unwrap();
    assert!(is_member, "PostgreSQL {version}");
    owner.close().await;
    server.close().await;
}
