//! A `makegood serve` of the bench's own: this program in a process of its own, with a private PostgreSQL in a new folder.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::{Stream, stream};
use serde_json::json;
use sqlx::PgPool;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::generate;
use crate::cli::administrator;
use crate::cli::database::{self, DatabaseArgs, Opened};
use crate::cli::ingest::{self, FileFormat, Noun};
use crate::cli::token::{self, CreateArgs};
use crate::clock::Clock;
use crate::domain::actor::Role;
use crate::domain::time::DAY;
use crate::http::auth::MachineKey;

/// How long the database may take to stop, and how often that is looked at.
const STOP: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// A folder that is gone when this is. The database's supervisor ends it a second after its last user, so until then the folder
/// fills again.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let running = self.0.join("postgres/data/postmaster.pid");
        let deadline = Instant::now() + STOP;
        while running.exists() && Instant::now() < deadline {
            std::thread::sleep(POLL);
        }
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The service, its database as the bench sees it, and where it answers. Fields are dropped in this order.
pub struct Served {
    /// None where the bench does by itself what the service would.
    child: Option<Child>,
    pub opened: Opened,
    url: String,
    token: String,
    _folder: Folder,
}

async fn open() -> anyhow::Result<(Folder, Opened)> {
    let folder = std::env::temp_dir().join(format!("makegood-bench-{}", uuid::Uuid::now_v7().simple()));
    std::fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let folder = Folder(folder);
    let args = DatabaseArgs { database_url: None, owner_url: None, data_dir: Some(folder.0.clone()) };
    let opened = database::open(&args).await?;
    Ok((folder, opened))
}

impl Served {
    /// Starts the database alone.
    pub async fn idle() -> anyhow::Result<Self> {
        let (folder, opened) = open().await?;
        Ok(Served { child: None, opened, url: String::new(), token: String::new(), _folder: folder })
    }

    /// Starts it, with the bench's shards registered.
    pub async fn start() -> anyhow::Result<Self> {
        let (folder, opened) = open().await?;
        let key = MachineKey::load_or_create(&opened.keys_dir)?;
        let create = CreateArgs { role: Role::Operations, source: "bench".to_owned(), expires: DAY };
        let token = token::create(&opened.pool, &key, &Clock::real(), &administrator("bench"), &create).await?.token;
        let mut child = Command::new(std::env::current_exe().context("cannot find this program's own file")?)
            .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data"])
            .arg(&folder.0)
            .env_remove("DATABASE_URL")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the service")?;
        let mut lines = BufReader::new(child.stderr.take().context("the service says nothing")?).lines();
        let url = loop {
            let line = lines.next_line().await?.context("the service ended before it served")?;
            if let Some((_, rest)) = line.split_once("makegood serves on ") {
                break rest.split(',').next().unwrap_or_default().to_owned();
            }
        };
        // What it says later is read, so that it never waits for a reader.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let served = Served { child: Some(child), opened, url, token, _folder: folder };
        served.register().await?;
        Ok(served)
    }

    async fn register(&self) -> anyhow::Result<()> {
        let shards: Vec<String> = (1..=generate::SHARDS).map(|shard| shard.to_string()).collect();
        let request = reqwest::Client::new()
            .put(format!("{}/v1/shards", self.url))
            .bearer_auth(&self.token)
            .header("content-type", "application/json")
            .body(json!({ "shards": shards }).to_string());
        let response = request.send().await?;
        ensure!(response.status().is_success(), "the shards were not registered: {}", response.text().await?);
        Ok(())
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// A token of another role, for the same name.
    pub async fn machine(&self, role: Role) -> anyhow::Result<String> {
        let key = MachineKey::load_or_create(&self.opened.keys_dir)?;
        let create = CreateArgs { role, source: "bench".to_owned(), expires: DAY };
        Ok(token::create(&self.opened.pool, &key, &Clock::real(), &administrator("bench"), &create).await?.token)
    }

    pub fn owner(&self) -> anyhow::Result<&PgPool> {
        self.opened.owner.as_ref().context("a private PostgreSQL has an owner")
    }

    /// Sends a file and makes sure that each of its lines was recorded.
    pub async fn load(
        &self,
        noun: Noun,
        lines: u64,
        bytes: impl Stream<Item = Result<Vec<u8>, std::io::Error>> + Send + 'static,
    ) -> anyhow::Result<()> {
        let answer = ingest::send((&self.url, &self.token), noun, FileFormat::Ndjson, false, bytes).await?;
        ensure!(answer.body["accepted"].as_u64() == Some(lines), "{lines} lines were sent: {}", answer.body);
        Ok(())
    }

    /// Sends accounts numbered from 1 on.
    pub async fn load_accounts(&self, count: i64) -> anyhow::Result<()> {
        let pieces = stream::iter((0..).map(move |piece: i64| {
            let numbers = piece * 1_000 + 1..=count.min(piece * 1_000 + 1_000);
            let line =
                |number| format!("{{\"account\":\"{number}\",\"name\":\"Customer {number}\",\"zone\":\"UTC\",\"currency\":\"NZD\"}}\n");
            numbers.map(line).collect::<String>().into_bytes()
        }));
        let pieces = futures_util::StreamExt::take_while(pieces, |piece| std::future::ready(!piece.is_empty()));
        self.load(Noun::Accounts, u64::try_from(count)?, futures_util::StreamExt::map(pieces, Ok)).await
    }

    /// The most that the service ever held in memory, in KiB. The database's own processes are not in it.
    pub fn peak_kib(&self) -> anyhow::Result<u64> {
        let pid = self.child.as_ref().and_then(Child::id).context("the service has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("no /proc to read memory from")?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).context("no peak in /proc")?;
        Ok(line.split_whitespace().nth(1).context("no figure in /proc")?.parse()?)
    }
}
