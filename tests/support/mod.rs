//! A database of its own for every test, from one private PostgreSQL that all of them share.
//!
//! The first test starts the server and migrates a template; each test then gets a copy, which takes a twentieth of a
//! second. The server stops by itself a while after the last test, and keeps nothing worth keeping.

#![allow(dead_code)]

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use makegood::pg::{self, Cluster, Options, PgError};
use makegood::store::setup;
use rustix::process::{Pid, test_kill_process};
use sha2::{Digest, Sha256};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool};
use uuid::Uuid;

pub mod browser;
pub mod demo;

/// The program that becomes the server's supervisor.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_makegood");

/// A migrated database that nobody else uses. It is dropped with this, or by a later test run if this one is killed.
pub struct TestDatabase {
    /// Connects as `makegood_owner`, who owns the tables.
    pub owner: PgPool,
    /// Connects as `makegood_server`, as `makegood serve` does.
    pub app: PgPool,
    pub url_app: String,
    pub url_owner: String,
    name: String,
    url_superuser: String,
}

impl TestDatabase {
    /// Waits for the connections to end, and drops the database.
    pub async fn close(self) {
        self.app.close().await;
        self.owner.close().await;
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (name, url) = (self.name.clone(), self.url_superuser.clone());
        // A thread of its own, for the test's runtime may be blocked by this very drop.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map(|runtime| runtime.block_on(drop_database(&url, &name)))
        });
        let _ = dropping.join();
    }
}

async fn drop_database(url_superuser: &str, name: &str) -> Result<(), sqlx::Error> {
    let mut superuser = PgConnection::connect(url_superuser).await?;
    sqlx::raw_sql(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")))
        .execute(&mut superuser)
        .await?;
    superuser.close().await
}

/// A database for this test. Fails where there is no PostgreSQL; a test that should be skipped there begins with
/// [`is_skipped`].
pub async fn database() -> TestDatabase {
    let cluster = tokio::task::spawn_blocking(cluster).await.expect("the start does not panic");
    let cluster = cluster.as_ref().unwrap_or_else(|error| panic!("{error}"));
    let url_superuser = cluster.url("postgres", "postgres");
    let mut superuser = connect(&url_superuser).await;
    static SWEPT: OnceLock<()> = OnceLock::new();
    if SWEPT.set(()).is_ok() {
        sweep(&mut superuser).await;
    }
    let template = template(cluster, &mut superuser).await;
    let name = format!("t_{}_{}", std::process::id(), Uuid::now_v7().simple());
    let create = format!("CREATE DATABASE {name} TEMPLATE {template} OWNER {}", setup::OWNER);
    sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut superuser).await.expect("the template can be copied");
    let (url_owner, url_app) = (cluster.url(setup::OWNER, &name), cluster.url(setup::SERVER, &name));
    let pool = |url: &str, most| {
        let options = PgPoolOptions::new().max_connections(most).acquire_timeout(Duration::from_secs(30));
        options.connect_lazy(url).expect("a URL of our own making")
    };
    TestDatabase { owner: pool(&url_owner, 3), app: pool(&url_app, 12), url_app, url_owner, name, url_superuser }
}

/// Whether the test has to be left out because the machine has no PostgreSQL; says so, past the capture of output, for a
/// test that did not run must not look like one that passed. In CI it fails instead.
pub fn is_skipped(test: &str) -> bool {
    match pg::find_bin_dir(None) {
        Ok(_) => false,
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "{error}");
            let _ = writeln!(io::stderr(), "skipped: {test}: {error}");
            true
        }
    }
}

/// The shared server. It is left running when the process ends, for the next test binary to find.
fn cluster() -> &'static Result<Cluster, PgError> {
    static CLUSTER: OnceLock<Result<Cluster, PgError>> = OnceLock::new();
    CLUSTER.get_or_init(|| match pg::start(&options(Path::new(env!("CARGO_TARGET_TMPDIR")))) {
        // As root, from a checkout in a home folder that the server's user cannot enter.
        Err(PgError::Unreachable { .. }) => {
            let checkout = hex::encode(&Sha256::digest(env!("CARGO_TARGET_TMPDIR"))[..8]);
            pg::start(&options(&std::env::temp_dir().join(format!("makegood-tests-{checkout}"))))
        }
        other => other,
    })
}

fn options(folder: &Path) -> Options {
    // Another folder for each set of programs that the tests are told to run on.
    let programs = std::env::var("PG_BIN_DIR").unwrap_or_default();
    let name: String =
        programs.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect();
    Options {
        data_dir: folder.join(format!("postgres{name}")),
        durable: false,
        linger: Duration::from_secs(10),
        program: PathBuf::from(PROGRAM),
        bin_dir: None,
    }
}

async fn connect(url: &str) -> PgConnection {
    url.parse::<PgConnectOptions>().expect("a URL").connect().await.expect("the server accepts connections")
}

/// Drops the databases of test processes that are gone.
async fn sweep(superuser: &mut PgConnection) {
    let names: Vec<String> = sqlx::query_scalar(r"SELECT datname::text FROM pg_database WHERE datname LIKE 't\_%\_%'")
        .fetch_all(&mut *superuser)
        .await
        .expect("the databases can be listed");
    for name in names {
        let process = name.split('_').nth(1).and_then(|number| number.parse().ok()).and_then(Pid::from_raw);
        // Not being allowed to signal it means that it lives.
        if process.is_some_and(|pid| test_kill_process(pid) == Err(rustix::io::Errno::SRCH)) {
            // Another test process may be dropping it too.
            let drop = AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
            let _ = sqlx::raw_sql(drop).execute(&mut *superuser).await;
        }
    }
}

/// The name of the database that the migrations of this build made, after making it if need be.
async fn template(cluster: &Cluster, superuser: &mut PgConnection) -> String {
    let mut hash = Sha256::new();
    for migration in setup::MIGRATIONS.iter() {
        hash.update(migration.version.to_be_bytes());
        hash.update(&migration.checksum);
    }
    let name = format!("template_{}", hex::encode(&hash.finalize()[..12]));
    if exists(superuser, &name).await {
        return name;
    }
    // One process makes it, the others wait.
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("template.lock");
    let lock = tokio::task::spawn_blocking(move || {
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        file.lock().map(|()| file)
    });
    let _lock = lock.await.expect("locking does not panic").expect("the template's lock can be taken");
    if exists(superuser, &name).await {
        return name;
    }
    let draft = format!("draft_of_{name}");
    sqlx::raw_sql(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {draft} WITH (FORCE)")))
        .execute(&mut *superuser)
        .await
        .expect("what a killed test left can be dropped");
    setup::prepare(superuser, &draft).await.expect("the database can be prepared");
    let owner = PgPool::connect(&cluster.url(setup::OWNER, &draft)).await.expect("the owner can log in");
    setup::migrate(&owner).await.expect("the migrations run");
    owner.close().await;
    rename(superuser, &draft, &name).await;
    name
}

/// Renames a database as soon as the last session on it is gone: ours are closed, but the server may not have noticed.
async fn rename(superuser: &mut PgConnection, from: &str, to: &str) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        let rename = AssertSqlSafe(format!("ALTER DATABASE {from} RENAME TO {to}"));
        match sqlx::raw_sql(rename).execute(&mut *superuser).await {
            Ok(_) => return,
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn exists(superuser: &mut PgConnection, database: &str) -> bool {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
        .bind(database)
        .fetch_one(superuser)
        .await
        .expect("the databases can be listed")
}
