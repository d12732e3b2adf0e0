//! `makegood serve`: the service, until it is told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::database::{self, DatabaseArgs, Opened};
use crate::clock::Clock;
use crate::failpoint;
use crate::flows::keep_checkpoint::checkpoint_key;
use crate::http::auth::{Issuers, IssuersConfig, MachineKey};
use crate::http::{App, health, listener, router};
use crate::jobs;
use crate::jobs::checkpoints::{self, Checkpoints};
use crate::sources::signature::{Secrets, SecretsFile};
use crate::store::setup;
use crate::store::spool::{self, Spool};

/// How long requests under way may go on after the signal to stop.
const DRAIN: Duration = Duration::from_secs(25);

#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Where people and programs connect.
    #[arg(long, env = "MAKEGOOD_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Where monitoring reads /metrics. Keep it inside.
    #[arg(long, env = "MAKEGOOD_ADMIN_LISTEN", default_value = "127.0.0.1:9464")]
    pub admin_listen: SocketAddr,
    /// Whose tokens are taken: a TOML file with a table [[issuer]] for each.
    #[arg(long, env = "MAKEGOOD_ISSUERS", value_name = "FILE")]
    pub issuers: Option<PathBuf>,
    /// Where deliveries of monitors wait while the database is away. The folder `spool` in the data folder, unless named.
    #[arg(long, env = "MAKEGOOD_SPOOL", value_name = "DIR")]
    pub spool: Option<PathBuf>,
    /// How many MiB may wait there. When it is full, monitors are told to send again.
    #[arg(long, env = "MAKEGOOD_SPOOL_LIMIT", value_name = "MIB", default_value_t = spool::LIMIT / 1024 / 1024)]
    pub spool_limit: u64,
    /// The secrets that sources sign with: a TOML file with a table [[secret]] for each. Only makegood may be able to read it.
    #[arg(long, env = "MAKEGOOD_SOURCE_SECRETS", value_name = "FILE")]
    pub source_secrets: Option<PathBuf>,
    /// Where signed checkpoints of the books are kept, one file for each epoch of the feed: let something copy it off this machine. The
    /// folder `checkpoints` in the data folder, unless named.
    #[arg(long, env = "MAKEGOOD_CHECKPOINTS", value_name = "DIR")]
    pub checkpoints: Option<PathBuf>,
    /// How many minutes may pass from one checkpoint to the next.
    #[arg(long, value_name = "MINUTES", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub checkpoint_minutes: u64,
}

pub async fn run(args: &ServeArgs) -> anyhow::Result<()> {
    warn_of_fail_points()?;
    let opened = database::open(&args.database).await?;
    check(&opened).await?;
    let config = match &args.issuers {
        Some(path) => read_issuers(path)?,
        None => IssuersConfig::default(),
    };
    let key = MachineKey::load_or_create(&opened.keys_dir)?;
    let issuers = Issuers::load(&config).await?.with_machines(&key);
    let folder = args.spool.clone().unwrap_or_else(|| args.database.data_dir().join("spool"));
    let spool = Spool::open(&folder, args.spool_limit.saturating_mul(1024 * 1024))
        .with_context(|| format!("cannot use {} as spool", folder.display()))?;
    let secrets = args.source_secrets.as_ref().map(read_secrets).transpose()?.unwrap_or_default();
    let app = App::new(opened.pool.clone(), Clock::real(), Arc::new(issuers)).with_secrets(secrets).with_spool(spool);
    let checkpoints = Checkpoints {
        folder: args.checkpoints.clone().unwrap_or_else(|| args.database.data_dir().join("checkpoints")),
        key: Arc::new(checkpoint_key(&opened.keys_dir)?),
        every: Duration::from_secs(args.checkpoint_minutes * 60),
    };
    let mut serving = Serving::start(app.clone(), args.listen, Some(args.admin_listen)).await?;
    serving.keep_checkpoints(app, checkpoints);
    eprintln!("makegood serves on http://{}, its metrics on http://{}/metrics", serving.address, args.admin_listen);
    stop_signal().await?;
    eprintln!("stopping: requests under way are finished first");
    serving.stop().await;
    opened.pool.close().await;
    Ok(())
}

/// A build that can be stopped in the middle of moving money says so.
fn warn_of_fail_points() -> anyhow::Result<()> {
    let armed = failpoint::check().map_err(anyhow::Error::msg)?;
    if failpoint::BUILT_IN {
        eprintln!(
            "THIS BUILD HAS FAIL POINTS: it is for tests, and never for a customer's money. Serve with a release build."
        );
    }
    if let Some(point) = armed {
        eprintln!("THE FAIL POINT {point} IS ARMED: this process will stop there and never go on.");
    }
    Ok(())
}

async fn check(opened: &Opened) -> anyhow::Result<()> {
    database::refuse_powerful_role(&opened.pool).await?;
    let missing = setup::missing_migrations(&opened.pool).await?;
    if missing > 0 {
        bail!(
            "the database lacks {missing} migrations of this build: run `makegood migrate` with MAKEGOOD_OWNER_URL first"
        );
    }
    Ok(())
}

fn read_issuers(path: &PathBuf) -> anyhow::Result<IssuersConfig> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is not a list of issuers", path.display()))
}

fn read_secrets(path: &PathBuf) -> anyhow::Result<Secrets> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    // The parser's own words might repeat a secret.
    let file: SecretsFile = toml::from_str(&text).map_err(|error| {
        let line =
            error.span().map_or(1, |span| text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1);
        anyhow::anyhow!(
            "{} is not a list of secrets, at line {line}: each [[secret]] has source, scheme (pagerduty, grafana or \
             standard_webhooks), current and, while it changes, previous, all in quotes",
            path.display()
        )
    })?;
    Secrets::new(file).with_context(|| format!("{} cannot be used", path.display()))
}

/// Waits for Ctrl-C or a signal to end.
pub async fn stop_signal() -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        done = tokio::signal::ctrl_c() => done?,
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// The counters, installed once a process.
fn recorder() -> anyhow::Result<PrometheusHandle> {
    static HANDLE: std::sync::OnceLock<PrometheusHandle> = std::sync::OnceLock::new();
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new().install_recorder().context("the metrics cannot be set up")?;
    Ok(HANDLE.get_or_init(|| handle).clone())
}

/// Listeners and jobs that run.
#[derive(Debug)]
pub struct Serving {
    pub address: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Serving {
    /// Opens the listeners and starts the jobs.
    pub async fn start(app: App, listen: SocketAddr, admin: Option<SocketAddr>) -> anyhow::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
        let address = listener.local_addr()?;
        let mut tasks = vec![tokio::spawn(listener::serve(listener, router::router(app.clone()), stopped.clone()))];
        if let Some(admin) = admin {
            let listener = TcpListener::bind(admin).await.with_context(|| format!("cannot listen on {admin}"))?;
            tasks.push(tokio::spawn(listener::serve(listener, health::metrics(recorder()?), stopped.clone())));
        }
        tasks.push(tokio::spawn(jobs::run(app, stopped)));
        Ok(Serving { address, stop, tasks })
    }

    /// Signs checkpoints of the books from now on.
    pub fn keep_checkpoints(&mut self, app: App, kept: Checkpoints) {
        self.tasks.push(tokio::spawn(checkpoints::run(app, kept, self.stop.subscribe())));
    }

    /// Takes no new requests, and waits for those under way.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let all = async {
            for task in self.tasks {
                let _ = task.await;
            }
        };
        if tokio::time::timeout(DRAIN, all).await.is_err() {
            tracing::warn!("requests under way were cut off");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_secrets_is_read_or_refused_by_its_line_without_a_word_of_it() {
        let path = std::env::temp_dir().join(format!("makegood-secrets-{}.toml", uuid::Uuid::now_v7()));
        let good = "[[secret]]\nsource = \"pager\"\nscheme = \"pagerduty\"\ncurrent = \"a-secret-of-aoraki-mail\"\n";
        std::fs::write(&path, good).unwrap();
        read_secrets(&path).unwrap();
        for wrong in ["current = 7719001771900177\n", "curent = \"another-secret-7719\"\n", "scheme = \"7719\"\n"] {
            std::fs::write(&path, format!("[[secret]]\nsource = \"pager\"\n{wrong}")).unwrap();
            let said = format!("{:?}", read_secrets(&path).unwrap_err());
            assert!(said.contains("at line") && !said.contains("7719"), "{said}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(format!("{:?}", read_secrets(&path).unwrap_err()).contains("cannot read"));
    }
}
