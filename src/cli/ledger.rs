//! `makegood ledger`: the books for people with other programs.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use sqlx::PgPool;

use super::administrator;
use super::database::{self, DatabaseArgs};
use super::verify_ledger::{self, CheckpointArgs, VerifyArgs};
use crate::clock::Clock;
use crate::domain::chart::Chart;
use crate::domain::export::{Format, Writer};
use crate::domain::period::Month;
use crate::flows::set_up_chart::set_up_chart;
use crate::store::{chart, journals, ledger, snapshot};

#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Write the books as a file for another program, or a journal batch as it was made.
    Export(ExportArgs),
    /// Verify the chain: in the database, or in an export without one. Exit code 6 where it does not hold.
    Verify(VerifyArgs),
    /// Sign where the chain stands, at the end of a file that can leave the machine.
    Checkpoint(CheckpointArgs),
    /// Record the chart: accounts of your general ledger, reason codes and tax rules (assets/books.yaml is an example).
    Chart(ChartArgs),
}

#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    pub database: DatabaseArgs,
    #[arg(long, value_enum, default_value = "csv", conflicts_with = "journal")]
    pub format: ExportFormat,
    /// Only what took effect in this month, such as 2026-10.
    #[arg(long, conflicts_with = "journal", value_name = "MONTH")]
    pub period: Option<Month>,
    /// This journal batch, the same bytes whenever it is asked for.
    #[arg(long, value_name = "NUMBER")]
    pub journal: Option<i64>,
    /// Into this file, which appears once it is whole; else on stdout.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    Csv,
    Hledger,
    Beancount,
    /// Every chained row with its link, as JSON lines, for `ledger verify --export`.
    Chain,
}

#[derive(Debug, Args)]
pub struct ChartArgs {
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// YAML or JSON.
    pub file: PathBuf,
}

pub async fn run(command: &LedgerCommand) -> anyhow::Result<ExitCode> {
    match command {
        LedgerCommand::Export(args) => export(args).await?,
        LedgerCommand::Verify(args) => return verify_ledger::verify(args).await,
        LedgerCommand::Checkpoint(args) => return verify_ledger::checkpoint(args).await,
        LedgerCommand::Chart(args) => record_chart(args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn record_chart(args: &ChartArgs) -> anyhow::Result<()> {
    let file = args.file.display();
    let text = std::fs::read_to_string(&args.file).with_context(|| format!("cannot read {file}"))?;
    let wanted = match Chart::parse(&text) {
        Ok(chart) => chart,
        Err(refusal) => {
            for error in &refusal.errors {
                eprintln!("{}: {}", error.pointer, error.message);
            }
            anyhow::bail!("{file} is no chart: nothing was recorded. Mend what is named above, and send it again.");
        }
    };
    let opened = database::open(&args.database).await?;
    let version = set_up_chart(&opened.pool, Clock::real().now(), &administrator("terminal"), &wanted).await?;
    println!("{}", serde_json::json!({ "version": version, "hash": wanted.hash() }));
    Ok(())
}

async fn export(args: &ExportArgs) -> anyhow::Result<()> {
    let opened = database::open(&args.database).await?;
    match &args.out {
        None => export_to(args, &opened.pool, &mut BufWriter::new(io::stdout().lock())).await,
        Some(path) => {
            let part = part_of(path);
            let file = File::create(&part).with_context(|| format!("cannot write {}", part.display()))?;
            let mut out = BufWriter::new(file);
            export_to(args, &opened.pool, &mut out).await?;
            out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            std::fs::rename(&part, path).with_context(|| format!("cannot write {}", path.display()))
        }
    }
}

fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

async fn export_to(args: &ExportArgs, pool: &PgPool, out: &mut impl Write) -> anyhow::Result<()> {
    let Some(no) = args.journal else {
        let format = match args.format {
            ExportFormat::Csv => Format::Csv,
            ExportFormat::Hledger => Format::Hledger,
            ExportFormat::Beancount => Format::Beancount,
            ExportFormat::Chain if args.period.is_some() => {
                anyhow::bail!("the chain is exported as a whole: leave --period out")
            }
            ExportFormat::Chain => return verify_ledger::export_chain(pool, out).await,
        };
        let count = write_books(pool, format, args.period, out).await?;
        eprintln!("{count} transfers");
        return Ok(());
    };
    let found = journals::find(&mut *pool.acquire().await?, no).await?;
    let batch = found.with_context(|| format!("there is no journal batch {no}"))?;
    out.write_all(batch.body.as_bytes())?;
    out.flush()?;
    eprintln!("batch {no} of {}: {} transfers, sha256 {}", batch.period, batch.transfers, hex::encode(&batch.hash));
    Ok(())
}

/// Writes the books, or what took effect in one month, as of one moment, and says how many transfers that were.
pub async fn write_books(
    pool: &PgPool,
    format: Format,
    period: Option<Month>,
    out: &mut impl Write,
) -> anyhow::Result<u64> {
    let mut tx = snapshot::open(pool).await?;
    let days = period.and_then(ledger::days_of);
    let (_, chart) = chart::newest(&mut tx).await?;
    let mut writer = Writer::new(format, &chart);
    out.write_all(writer.head(&ledger::currencies(&mut tx, days).await?).as_bytes())?;
    let mut count = 0;
    ledger::each(&mut tx, days, |row| {
        count += 1;
        out.write_all(writer.row(row).as_bytes()).map_err(anyhow::Error::from)
    })
    .await?;
    out.write_all(writer.finish().as_bytes())?;
    out.flush()?;
    Ok(count)
}
