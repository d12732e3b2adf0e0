//! Doors for people at a terminal: thin. stdout is data, stderr is for people.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::clock::Clock;
use crate::domain::actor::{Actor, Role};
use crate::domain::monitors::Monitors;
use crate::domain::operator::Operator;
use crate::flows::set_up_monitors::set_up_monitors;
use crate::flows::set_up_operator::set_up_operator;
use crate::http::auth::MachineKey;
use crate::store::Error;

#[macro_use]
mod say;

pub mod bench;
pub mod client;
pub mod credit_run;
pub mod database;
pub mod demo;
pub mod erase;
pub mod evaluate;
pub mod feed;
pub mod import;
pub mod incident;
pub mod ingest;
pub mod ledger;
pub mod outage;
mod outage_words;
pub mod policy;
pub mod serve;
pub mod soak;
pub mod token;
mod verify_ledger;
pub mod when;

/// A ledger of what was promised, what was delivered and what is owed for the difference.
#[derive(Debug, Parser)]
#[command(
    name = "makegood",
    version,
    after_help = "Examples:\n  makegood demo\n  makegood serve --issuers issuers.toml\n  makegood evaluate case.yaml\n  makegood policy lint terms.yaml\n\n\
                  Exit codes: 0 ok, 1 failed, 2 usage, 4 not signed in or not allowed, 5 conflict, 6 the books do not verify."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the whole story on a private PostgreSQL, from an outage to a credit on a bill, and stay up with its pages
    Demo(demo::DemoArgs),
    /// Serve
    Serve(serve::ServeArgs),
    /// Bring a database to what this build knows
    Migrate(database::DatabaseArgs),
    /// Record the operator's settings: name, currency, zone, tax and limits (assets/operator.yaml is an example)
    Operator {
        #[command(flatten)]
        database: database::DatabaseArgs,
        /// YAML or JSON.
        file: std::path::PathBuf,
    },
    /// Record what the alerts of the monitors mean (docs/monitoring.md has an example); saying it again changes nothing
    Monitors {
        #[command(flatten)]
        database: database::DatabaseArgs,
        /// YAML or JSON.
        file: std::path::PathBuf,
    },
    /// Work out case files, without a database
    Evaluate {
        /// Case files.
        #[arg(required = true)]
        files: Vec<std::path::PathBuf>,
        /// The receipts as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Do an exported receipt again, and say what differs
    Verify {
        file: std::path::PathBuf,
        #[arg(long)]
        json: bool,
    },
    /// Terms: what is wrong with them, and their JSON Schema
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Bring over what another system holds: outages, charges, credits given and the rest, by a mapping file
    Import(import::ImportArgs),
    /// Tokens for machines
    Token {
        #[command(flatten)]
        database: database::DatabaseArgs,
        #[command(subcommand)]
        command: token::TokenCommand,
    },
    /// The feed, as billing sees it
    #[command(subcommand)]
    Feed(feed::FeedCommand),
    /// Erase the names, addresses and words of an account; sums and chain stay whole
    Erase(erase::EraseArgs),
    /// The books: exports, journals, the chart
    #[command(subcommand)]
    Ledger(ledger::LedgerCommand),
    /// Load a bulk file: accounts, subscriptions, charges or placements, as NDJSON or CSV
    Ingest(ingest::IngestArgs),
    /// Outages that belong together: list, show with what is at stake, name
    #[command(subcommand)]
    Incident(incident::IncidentCommand),
    /// Many credits at once: propose them, show what that comes to, approve
    #[command(subcommand)]
    CreditRun(Box<credit_run::CreditRunCommand>),
    /// Outages by hand: enter, close, correct, sign off, list
    #[command(subcommand)]
    Outage(Box<outage::OutageCommand>),
    /// Measure how fast this build works, beside the least that the same work could take
    Bench(bench::BenchArgs),
    /// Break things on purpose for a while, on a database of its own, and see whether every promise holds
    Soak(soak::SoakArgs),
    /// Print the OpenAPI document
    Openapi,
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("MAKEGOOD_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,makegood=info,sqlx=error"));
    let is_serving = matches!(cli.command, Command::Serve(_));
    // What fails on purpose is no news.
    let is_soaking = matches!(cli.command, Command::Soak(_));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if is_serving {
        log.json().init();
    } else if is_soaking {
        log.with_max_level(tracing::Level::ERROR).init();
    } else {
        log.with_max_level(tracing::Level::WARN).init();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    match runtime.block_on(run(cli.command)) {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    if error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Demo(args) => demo::run(&args).await?,
        Command::Serve(args) => serve::run(&args).await?,
        Command::Migrate(args) => migrate(&args).await?,
        Command::Operator { database, file } => operator(&database, &file).await?,
        Command::Monitors { database, file } => monitors(&database, &file).await?,
        Command::Evaluate { files, json } => return Ok(ExitCode::from(evaluate::evaluate(&files, json))),
        Command::Verify { file, json } => return Ok(ExitCode::from(evaluate::verify(&file, json))),
        Command::Policy(command) => return Ok(ExitCode::from(policy::run(&command))),
        Command::Import(args) => return import::run(&args).await,
        Command::Token { database, command } => tokens(&database, &command).await?,
        Command::Feed(command) => feed::run(&command).await?,
        Command::Erase(args) => erase::run(&args).await?,
        Command::Ledger(command) => return ledger::run(&command).await,
        Command::Ingest(args) => return ingest::run(&args).await,
        Command::Bench(args) => bench::run(&args).await?,
        Command::Soak(args) => return soak::run(&args).await,
        Command::Incident(command) => return Ok(ExitCode::from(incident::run(&command).await)),
        Command::CreditRun(command) => return Ok(ExitCode::from(credit_run::run(&command).await)),
        Command::Outage(command) => return Ok(ExitCode::from(outage::run(&command).await)),
        Command::Openapi => print!("{}", crate::http::router::document()),
    }
    Ok(ExitCode::SUCCESS)
}

async fn migrate(args: &database::DatabaseArgs) -> anyhow::Result<()> {
    let opened = database::open(args).await?;
    let Some(owner) = &opened.owner else { anyhow::bail!("name the owner's database in MAKEGOOD_OWNER_URL") };
    crate::store::setup::migrate(owner).await?;
    eprintln!("the database has all migrations of this build");
    Ok(())
}

async fn operator(database: &database::DatabaseArgs, file: &std::path::Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let settings: Operator =
        serde_saphyr::from_str(&text).with_context(|| format!("{} does not set an operator up", file.display()))?;
    let opened = database::open(database).await?;
    set_up_operator(&opened.pool, Clock::real().now(), &administrator("terminal"), &settings).await?;
    eprintln!("{} is set up", settings.name);
    Ok(())
}

async fn monitors(database: &database::DatabaseArgs, file: &std::path::Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let document: Monitors =
        serde_saphyr::from_str(&text).with_context(|| format!("{} does not set monitors up", file.display()))?;
    let opened = database::open(database).await?;
    let done = set_up_monitors(&opened.pool, Clock::real().now(), &administrator("terminal"), &document).await;
    if let Err(Error::Refused(refusal)) = &done {
        for error in &refusal.errors {
            eprintln!("{}: {}", error.pointer, error.message);
        }
    }
    println!("{}", serde_json::to_string(&done?)?);
    Ok(())
}

async fn tokens(database: &database::DatabaseArgs, command: &token::TokenCommand) -> anyhow::Result<()> {
    let opened = database::open(database).await?;
    let (clock, actor) = (Clock::real(), administrator("terminal"));
    let printed = match command {
        token::TokenCommand::Create(args) => {
            let key = MachineKey::load_or_create(&opened.keys_dir)?;
            serde_json::to_string(&token::create(&opened.pool, &key, &clock, &actor, args).await?)?
        }
        token::TokenCommand::Revoke(args) => {
            serde_json::to_string(&token::revoke(&opened.pool, &clock, &actor, args).await?)?
        }
        token::TokenCommand::List => serde_json::to_string(&token::list(&opened.pool).await?)?,
    };
    println!("{printed}");
    Ok(())
}

/// Whoever can read the keys and reach the database from a terminal is an administrator.
pub fn administrator(at: &str) -> Actor {
    Actor { issuer: "cli".to_owned(), roles: [Role::Admin].into(), ..crate::flows::system_actor(at) }
}
