//! The servers of a soak: this program as `makegood serve`, each in a process of its own, killed and started again.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::{mpsc, watch};

use super::{Phase, Soak, locked};
use crate::failpoint;

/// How long a server may take until it serves, on a busy machine whose database may just be recovering.
const START: Duration = Duration::from_secs(90);
/// How long it is waited before one that did not start is started again.
const AGAIN: Duration = Duration::from_millis(500);

/// How a server is started, and where it answers while it does.
#[derive(Debug)]
pub struct Slot {
    /// `http://127.0.0.1:PORT`; none while it is down.
    pub url: watch::Sender<Option<String>>,
    /// Tells its keeper to kill it.
    pub kill: mpsc::Sender<()>,
}

/// What a keeper needs to start its server.
#[derive(Debug)]
pub struct Keeper {
    pub index: usize,
    pub killed: mpsc::Receiver<()>,
    pub rng: fastrand::Rng,
    pub database_url: String,
    pub issuers: PathBuf,
    pub folder: PathBuf,
}

/// A server that runs.
struct Running {
    child: Child,
    url: String,
    /// The fail point that it reached.
    reached: mpsc::Receiver<String>,
}

impl Keeper {
    /// Keeps the server running until the soak is over: one that is killed is started again.
    pub async fn keep(mut self, soak: Arc<Soak>) {
        let mut phase = soak.phase.subscribe();
        while *phase.borrow() != Phase::Over {
            let point = self.point(&soak);
            let running = tokio::time::timeout(START, self.start(&soak, point)).await;
            let mut running = match running {
                Ok(Ok(running)) => running,
                // The database may be recovering: a start that fails then is as it should be.
                Ok(Err(_)) | Err(_) => {
                    soak.ledger.count("starts that failed");
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            };
            let Some(slot) = soak.servers.get(self.index) else { return };
            slot.url.send_replace(Some(running.url.clone()));
            tokio::select! {
                _ = self.killed.recv() => {}
                Some(point) = running.reached.recv() => {
                    soak.ledger.count("fail points reached");
                    *locked(&soak.ledger.points).entry(point).or_default() += 1;
                    // Others run into what it holds before it dies.
                    let most = if *soak.phase.borrow() == Phase::Storm { 2_000 } else { 50 };
                    tokio::time::sleep(Duration::from_millis(self.rng.u64(0..most))).await;
                }
                status = running.child.wait() => {
                    let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                    soak.ledger.broke(format!("server {} ended by itself: {how}; see its log", self.index));
                }
                // What it gives would be held while this waits for something else.
                () = async { drop(phase.wait_for(|phase| *phase == Phase::Over).await) } => {}
            }
            slot.url.send_replace(None);
            let _ = running.child.kill().await;
        }
    }

    /// The fail point that the next server is armed with: one of two, while the storm lasts.
    fn point(&mut self, soak: &Soak) -> Option<String> {
        let is_armed = failpoint::BUILT_IN && *soak.phase.borrow() == Phase::Storm && self.rng.bool();
        let point = self.rng.choice(failpoint::ALL)?;
        is_armed.then(|| format!("{point}:{}", self.rng.u32(1..8)))
    }

    async fn start(&self, soak: &Arc<Soak>, point: Option<String>) -> anyhow::Result<Running> {
        let mut command = Command::new(std::env::current_exe().context("cannot find this program's own file")?);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data"])
            .arg(&self.folder)
            .arg("--spool")
            .arg(self.folder.join(format!("spool-{}", self.index)))
            .arg("--issuers")
            .arg(&self.issuers)
            .env("DATABASE_URL", &self.database_url)
            .env("MAKEGOOD_LOG", "error")
            .env_remove("MAKEGOOD_OWNER_URL")
            .env_remove("MAKEGOOD_FAILPOINT")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(point) = point {
            command.env("MAKEGOOD_FAILPOINT", point);
        }
        let mut child = command.spawn().context("cannot start a server")?;
        let mut lines = BufReader::new(child.stderr.take().context("the server says nothing")?).lines();
        let url = loop {
            let Some(line) = lines.next_line().await? else { bail!("the server ended before it served") };
            if let Some((_, rest)) = line.split_once("makegood serves on ") {
                break rest.split(',').next().unwrap_or_default().to_owned();
            }
        };
        let (tell, reached) = mpsc::channel(1);
        let log = self.folder.join(format!("server-{}.log", self.index));
        tokio::spawn(follow(lines, tell, soak.clone(), log));
        Ok(Running { child, url, reached })
    }
}

/// Reads what a server says until it ends: keeps it in a file, and finds what must never be said.
async fn follow(
    mut lines: tokio::io::Lines<BufReader<ChildStderr>>,
    tell: mpsc::Sender<String>,
    soak: Arc<Soak>,
    log: PathBuf,
) {
    let mut log = open(&log).await;
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(point) = line.strip_prefix(failpoint::SAID) {
            let _ = tell.send(point.to_owned()).await;
        }
        if line.contains("panicked") || line.contains("stored data is damaged") {
            soak.ledger.broke(format!("a server said: {}", line.chars().take(400).collect::<String>()));
        }
        if let Some(log) = &mut log {
            let _ = log.write_all(format!("{line}\n").as_bytes()).await;
        }
    }
}

async fn open(path: &Path) -> Option<tokio::fs::File> {
    tokio::fs::OpenOptions::new().create(true).append(true).open(path).await.ok()
}
