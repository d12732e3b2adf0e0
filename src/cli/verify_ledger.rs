//! `makegood ledger verify|checkpoint` and the chain's export: the proof that the books are the ones that were written, with and without a database.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use sqlx::PgPool;

use super::database::{self, DatabaseArgs};
use crate::clock::Clock;
use crate::domain::checkpoint::{Checkpoint, PublicKey, read_all};
use crate::domain::proof::{self, Findings, Verified, What};
use crate::flows::keep_checkpoint::{NotKept, checkpoint_key, keep_checkpoint};
use crate::flows::verify_books::verify_against;
use crate::store::{Error, feed, proof as stored, snapshot};

/// What the program ends with where the books do not verify.
const BROKEN: u8 = 6;

/// How many rows are read at once.
const BATCH: i64 = 5_000;

/// The longest line of an export, in bytes.
const LONGEST_LINE: u64 = 16 * 1024 * 1024;

#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// A file of checkpoints, or its last lines. Without one, a chain that was written anew as a whole looks right.
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// The public key that checkpoints are checked with. The one in the data folder, unless given.
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// Verify this export, with no database.
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// The result as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct CheckpointArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// The file that the checkpoint is added to.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Verifies, and says what was found.
pub async fn verify(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let mut forged = Findings::default();
    let checkpoints = read_checkpoints(args, &mut forged)?;
    let mut verified = match &args.export {
        Some(file) => verify_export(file, checkpoints)?,
        None => {
            let opened = database::open(&args.database).await?;
            let bar = bar();
            let verified = verify_against(&opened.pool, &checkpoints, &mut |done, of| {
                bar.set_length(u64::try_from(of).unwrap_or(0));
                bar.set_position(u64::try_from(done).unwrap_or(0));
            })
            .await?;
            bar.finish_and_clear();
            verified
        }
    };
    forged.append(std::mem::take(&mut verified.findings));
    verified.findings = forged;
    Ok(say(args, &verified))
}

fn say(args: &VerifyArgs, verified: &Verified) -> ExitCode {
    let findings = &verified.findings;
    if args.json {
        println!(
            "{}",
            json!({
                "intact": findings.is_empty(), "entries": verified.checked, "feed_items": verified.items,
                "head": hex::encode(verified.head), "checkpoints": verified.checkpoints, "waiting": verified.waiting,
                "finding_count": findings.count, "findings": findings.first,
            })
        );
    }
    if verified.checkpoints == 0 {
        eprintln!(
            "no checkpoint was given: whoever owns the database can write the whole chain anew, and only a checkpoint that he \
             cannot reach shows it (--checkpoint FILE)"
        );
    }
    if findings.is_empty() {
        if !args.json {
            println!(
                "The books verify: {} entries and {} feed items are as they were written, {} checkpoints agree, {} rows wait for \
                 their number. Last entry {}.",
                verified.checked,
                verified.items,
                verified.checkpoints,
                verified.waiting,
                hex::encode(verified.head)
            );
        }
        return ExitCode::SUCCESS;
    }
    if !args.json {
        for finding in &findings.first {
            println!("{finding}");
        }
    }
    eprintln!(
        "error: the books do not verify: {} findings. Write nothing to the database, keep it as it is, and see docs/proof.md, \
         \"When it does not verify\".",
        findings.count
    );
    ExitCode::from(BROKEN)
}

/// The checkpoints of all files. One that cannot be relied on is a finding, not an error.
fn read_checkpoints(args: &VerifyArgs, forged: &mut Findings) -> anyhow::Result<Vec<Checkpoint>> {
    if args.checkpoint.is_empty() {
        return Ok(Vec::new());
    }
    let own = [args.database.data_dir().join("keys/checkpoint-key.pub.pem")];
    let files = if args.key.is_empty() { &own[..] } else { &args.key };
    let mut keys = Vec::new();
    for file in files {
        let pem = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the public key {}: name it with --key", file.display()))?;
        let key = PublicKey::from_pem(&pem);
        keys.push(key.with_context(|| format!("{} holds no public Ed25519 key", file.display()))?);
    }
    let mut all = Vec::new();
    for file in &args.checkpoint {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        match read_all(text.lines(), &keys) {
            Ok(read) if read.is_empty() => anyhow::bail!("{} holds no checkpoint", file.display()),
            Ok(read) => all.extend(read),
            Err((line, why)) => forged.add(
                What::FileChanged,
                format!(
                    "Line {line} of {} cannot be relied on: {why}. Take the copy that was kept elsewhere.",
                    file.display()
                ),
            ),
        }
    }
    Ok(all)
}

/// Walks an export, a line at a time.
fn verify_export(file: &Path, checkpoints: Vec<Checkpoint>) -> anyhow::Result<Verified> {
    let name = || format!("{}", file.display());
    let mut reader = BufReader::new(File::open(file).with_context(|| format!("cannot read {}", file.display()))?);
    let size = reader.get_ref().metadata()?.len();
    let (bar, mut export, mut line) = (bar(), proof::Export::new(checkpoints), String::new());
    bar.set_length(size);
    loop {
        line.clear();
        let read = std::io::Read::take(&mut reader, LONGEST_LINE).read_line(&mut line).with_context(name)?;
        if read == 0 {
            break;
        }
        bar.inc(u64::try_from(read).unwrap_or(0));
        export.line(line.trim_end_matches('\n')).map_err(anyhow::Error::msg).with_context(name)?;
    }
    bar.finish_and_clear();
    export.end().map_err(anyhow::Error::msg).with_context(name)
}

/// Signs a checkpoint.
pub async fn checkpoint(args: &CheckpointArgs) -> anyhow::Result<ExitCode> {
    let opened = database::open(&args.database).await?;
    let key = checkpoint_key(&opened.keys_dir)?;
    match keep_checkpoint(&opened.pool, &args.out, &key, Clock::real().real_now()).await {
        Ok(kept) => {
            println!("{}", serde_json::to_string(&kept)?);
            eprintln!("checkpoint {} is in {}; take it off this machine", kept.no, args.out.display());
            Ok(ExitCode::SUCCESS)
        }
        Err(NotKept::Broken(findings)) => {
            for finding in &findings.first {
                eprintln!("{finding}");
            }
            eprintln!("error: the books do not verify, so nothing was signed");
            Ok(ExitCode::from(BROKEN))
        }
        Err(NotKept::Store(Error::Refused(refusal))) => {
            eprintln!("error: {refusal}");
            Ok(ExitCode::from(BROKEN))
        }
        Err(error) => Err(error.into()),
    }
}

/// Writes every chained row, as of one moment.
pub async fn export_chain(pool: &PgPool, out: &mut impl Write) -> anyhow::Result<()> {
    let mut tx = snapshot::open(pool).await?;
    let mut write = |line: &proof::Line| -> anyhow::Result<()> {
        serde_json::to_writer(&mut *out, line)?;
        Ok(out.write_all(b"\n")?)
    };
    write(&proof::Line::Begin { format: proof::EXPORT.to_owned(), at: Clock::real().real_now() })?;
    let (mut heads, mut entries, mut items) = (Vec::new(), 0, 0);
    for lane in stored::lanes(&mut tx).await? {
        heads.push(stored::mark(&feed::head(&mut tx, lane).await?));
        let mut after = 0;
        loop {
            let read = stored::entries_after(&mut tx, lane, after, BATCH).await?;
            let Some(last) = read.last() else { break };
            (after, entries) = (last.no, entries + read.len());
            for entry in read {
                write(&proof::Line::Entry(entry))?;
            }
        }
        after = 0;
        loop {
            let read = stored::items_after(&mut tx, lane, after, BATCH).await?;
            let Some(last) = read.last() else { break };
            (after, items) = (last.pos, items + read.len());
            for item in read {
                write(&proof::Line::Item(item))?;
            }
        }
    }
    let (_, outside) = stored::outside(&mut tx, 1).await?;
    write(&proof::Line::End { lanes: heads, waiting: stored::waiting(&mut tx).await?, outside })?;
    out.flush()?;
    eprintln!("exported {entries} entries and {items} feed items");
    Ok(())
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("verifying {wide_bar} {pos}/{len} {eta}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
