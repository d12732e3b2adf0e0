//! Which database a command works on: the one that `DATABASE_URL` names, or a private one in a data folder.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgPool};

use crate::pg::{self, Cluster, Options};
use crate::store::setup;

/// The name of the database in a private PostgreSQL.
pub const DATABASE: &str = "makegood";

#[derive(Debug, Clone, Args)]
pub struct DatabaseArgs {
    /// The database to serve from, as a role that is a member of makegood_app and makegood_customer and owns nothing.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// The same database as its owner, to migrate with.
    #[arg(long, env = "MAKEGOOD_OWNER_URL", hide_env_values = true)]
    pub owner_url: Option<String>,
    /// Where a private PostgreSQL and makegood's own keys are kept. Used for the database where none is named.
    #[arg(long = "data", env = "MAKEGOOD_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

impl DatabaseArgs {
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(pg::default_data_dir)
    }
}

/// A database that can be worked on.
#[derive(Debug)]
pub struct Opened {
    /// Connects as the server's role.
    pub pool: PgPool,
    /// Connects as the owner; none where no owner's URL is known.
    pub owner: Option<PgPool>,
    /// Keeps a private PostgreSQL running.
    pub cluster: Option<Cluster>,
    /// Where makegood's own keys are.
    pub keys_dir: PathBuf,
}

/// Opens the database: a named one as it is, a private one started, set up and migrated.
pub async fn open(args: &DatabaseArgs) -> anyhow::Result<Opened> {
    let keys_dir = args.data_dir().join("keys");
    let Some(url) = &args.database_url else { return open_private(args.data_dir(), keys_dir).await };
    let owner = match &args.owner_url {
        Some(url) => Some(pool(url, 2).await.context("cannot connect to MAKEGOOD_OWNER_URL")?),
        None => None,
    };
    let pool = pool(url, 16).await.context("cannot connect to DATABASE_URL")?;
    Ok(Opened { pool, owner, cluster: None, keys_dir })
}

async fn open_private(data_dir: PathBuf, keys_dir: PathBuf) -> anyhow::Result<Opened> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let options = Options {
        data_dir: data_dir.join("postgres"),
        durable: true,
        linger: Duration::from_secs(1),
        program,
        bin_dir: None,
    };
    let cluster = tokio::task::spawn_blocking(move || pg::start(&options)).await??;
    let mut superuser = cluster.url("postgres", "postgres").parse::<PgConnectOptions>()?.connect().await?;
    setup::prepare(&mut superuser, DATABASE).await?;
    let owner = pool(&cluster.url(setup::OWNER, DATABASE), 2).await?;
    setup::migrate(&owner).await?;
    let pool = pool(&cluster.url(setup::SERVER, DATABASE), 16).await?;
    Ok(Opened { pool, owner: Some(owner), cluster: Some(cluster), keys_dir })
}

/// A session that was idle for longer is asked whether it is still there before it is used: each one, each time, would be a round trip more
/// for every request.
const ASKED_ANEW: Duration = Duration::from_secs(1);

/// A pool whose sessions give up what they would otherwise hold for ever.
async fn pool(url: &str, most: u32) -> anyhow::Result<PgPool> {
    let options: PgConnectOptions = url.parse().context("the URL is not one of PostgreSQL")?;
    let options = options.application_name("makegood").options([
        ("idle_in_transaction_session_timeout", "30s"),
        ("lock_timeout", "10s"),
        ("timezone", "UTC"),
    ]);
    let pool = PgPoolOptions::new()
        .max_connections(most)
        .acquire_timeout(Duration::from_secs(10))
        .test_before_acquire(false)
        .before_acquire(|conn, session| {
            Box::pin(async move {
                if session.idle_for > ASKED_ANEW {
                    conn.ping().await?;
                }
                Ok(true)
            })
        });
    Ok(pool.connect_with(options).await?)
}

/// Refuses a role that could change the books: a superuser, one that may bypass row-level security, or a table's owner.
pub async fn refuse_powerful_role(pool: &PgPool) -> anyhow::Result<()> {
    let power = setup::power_of_role(pool).await?;
    if let Some(power) = power {
        bail!(
            "makegood does not serve as this database role: it {power}, so what the books must never lose would rest on good will. \
             Log in as a role that is only a member of makegood_app and makegood_customer, such as {}.",
            setup::SERVER
        );
    }
    Ok(())
}
