//! `makegood import`: brings over what another system holds, by a mapping file: each of its CSV files is checked whole, turned
//! into our fields and sent to its door. Sending again is safe: what was recorded changes nothing.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use futures_util::stream;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::ingest::{self, FileFormat, Noun};
use crate::domain::mapping_file::{FileMapping, MappingFile, What};

/// Lines travel in pieces of about so many bytes.
const PIECE: usize = 256 * 1024;

/// How many wrong lines of a file are named.
const NAMED: usize = 100;

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The mapping file, YAML or JSON; docs/import.md shows one.
    pub mapping: PathBuf,
    /// The service.
    #[arg(long, env = "MAKEGOOD_URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// A token of the role ingest; of operations for outages.
    #[arg(long, env = "MAKEGOOD_TOKEN", hide_env_values = true)]
    pub token: String,
    /// Check everything, say what it would change in money, and record nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Only the files of this kind, as the mapping calls it: accounts, charges, outages.
    #[arg(long)]
    pub only: Option<String>,
}

/// Sends the files one after the other, and stops at the first that is refused.
pub async fn run(args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let text =
        std::fs::read_to_string(&args.mapping).with_context(|| format!("cannot read {}", args.mapping.display()))?;
    let mapping: MappingFile =
        serde_saphyr::from_str(&text).with_context(|| format!("{} is no mapping file", args.mapping.display()))?;
    let folder = args.mapping.parent().unwrap_or(Path::new("."));
    let asked = |file: &&FileMapping| args.only.as_deref().is_none_or(|only| only == file.what.name());
    let files: Vec<&FileMapping> = mapping.files.iter().filter(asked).collect();
    if files.is_empty() {
        bail!("the mapping has no such file");
    }
    // Every file is read before the first is sent.
    let mut is_wrong = false;
    for file in &files {
        is_wrong |= !is_readable(file, &folder.join(&file.file))?;
    }
    if is_wrong {
        eprintln!("nothing was sent");
        return Ok(ExitCode::FAILURE);
    }
    for file in files {
        let path = folder.join(&file.file);
        let sent = match noun(file.what) {
            Some(noun) => send(args, file, &path, noun).await?,
            None => announce(args, file, &path).await?,
        };
        if sent != 0 {
            return Ok(ExitCode::from(sent));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn noun(what: What) -> Option<Noun> {
    match what {
        What::Accounts => Some(Noun::Accounts),
        What::Subscriptions => Some(Noun::Subscriptions),
        What::Placements => Some(Noun::Placements),
        What::Charges => Some(Noun::Charges),
        What::CreditsElsewhere => Some(Noun::CreditsElsewhere),
        What::Outages => None,
    }
}

/// One line of a file: its number, and our fields or what is wrong, by field.
type Line = (u64, Result<Map<String, Value>, Vec<(String, String)>>);

/// The lines of the file in our fields.
fn lines(
    mapping: &FileMapping,
    path: &Path,
) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Line>> + Send + use<>> {
    let Ok(separator) = u8::try_from(mapping.separator) else { bail!("{:?} is no separator", mapping.separator) };
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut reader = csv::ReaderBuilder::new().delimiter(separator).from_reader(file);
    let name = path.display().to_string();
    let header: Vec<String> = reader
        .headers()
        .with_context(|| name.clone())?
        .iter()
        .map(|cell| cell.trim_start_matches('\u{feff}').to_owned())
        .collect();
    let names: Vec<&str> = header.iter().map(String::as_str).collect();
    if let Err(message) = mapping.columns(&names) {
        bail!("{name}: {message}");
    }
    let mapping = mapping.clone();
    Ok(reader.into_records().map(move |record| {
        let record = record.with_context(|| name.clone())?;
        let number = record.position().map_or(0, csv::Position::line);
        let names: Vec<&str> = header.iter().map(String::as_str).collect();
        let columns = mapping.columns(&names).map_err(anyhow::Error::msg)?;
        Ok((number, columns.read(&record.iter().collect::<Vec<_>>())))
    }))
}

/// Reads the whole file and says what is wrong with it.
fn is_readable(mapping: &FileMapping, path: &Path) -> anyhow::Result<bool> {
    let faults = mapping.faults();
    for fault in &faults {
        eprintln!("the mapping of {}: {fault}", mapping.file);
    }
    if !faults.is_empty() {
        return Ok(false);
    }
    let mut wrong = 0;
    for line in lines(mapping, path)? {
        let (number, read) = line?;
        let Err(errors) = read else { continue };
        wrong += 1;
        if wrong <= NAMED {
            for (field, message) in errors {
                eprintln!("{} line {number}, {field}: {message}", mapping.file);
            }
        }
    }
    if wrong > 0 {
        eprintln!("{}: {wrong} lines are wrong", mapping.file);
    }
    Ok(wrong == 0)
}

/// Sends a file to its bulk door, all of it or nothing. Its lines keep their numbers.
async fn send(args: &ImportArgs, mapping: &FileMapping, path: &Path, noun: Noun) -> anyhow::Result<u8> {
    let mut lines = lines(mapping, path)?;
    let mut next = 1;
    let pieces = std::iter::from_fn(move || {
        let mut piece = String::new();
        while piece.len() < PIECE {
            match lines.next() {
                None => break,
                Some(Err(error)) => return Some(Err(error)),
                Some(Ok((_, Err(_)))) => return Some(Err(anyhow::anyhow!("the file changed while it was sent"))),
                Some(Ok((number, Ok(row)))) => {
                    while next < number {
                        piece.push('\n');
                        next += 1;
                    }
                    piece += &Value::Object(row).to_string();
                    piece.push('\n');
                    next += 1;
                }
            }
        }
        (!piece.is_empty()).then(|| Ok(piece.into_bytes()))
    });
    let server = (args.url.as_str(), args.token.as_str());
    let answer = ingest::send(server, noun, FileFormat::Ndjson, args.dry_run, stream::iter(pieces)).await?;
    print!("{}: {}", mapping.file, ingest::said(&answer));
    if let Some(money) = ingest::money(&answer.body) {
        println!("{}: {money}", mapping.file);
    }
    Ok(match answer.status {
        200..=299 => 0,
        401 | 403 => 4,
        _ => 1,
    })
}

/// Enters outages one by one, each with an origin made of what it says, so that whoever sends the file again enters none twice. They
/// are provisional until somebody signs them off.
async fn announce(args: &ImportArgs, mapping: &FileMapping, path: &Path) -> anyhow::Result<u8> {
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let url = format!("{}/v1/outages", args.url.trim_end_matches('/'));
    let mut entered = 0;
    for line in lines(mapping, path)? {
        let (number, Ok(row)) = line? else { bail!("the file changed while it was sent") };
        if args.dry_run {
            entered += 1;
            continue;
        }
        let mut outage = json!({
            "scope": { "shards": [row.get("shard")] }, "capability": row.get("capability"), "impact": { "kind": "full" },
            "start": row.get("start"), "end": row.get("end"),
        });
        if let Some(incident) = row.get("incident") {
            outage["incident"] = incident.clone();
        }
        let reference = hex::encode(Sha256::digest(outage.to_string()));
        outage["origin"] = json!({ "source": "import", "reference": reference });
        let key = format!("import-{}", hex::encode(Sha256::digest(outage.to_string())));
        let request = http.post(&url).bearer_auth(&args.token).header("idempotency-key", key).json(&outage);
        let response = request.send().await.with_context(|| {
            format!("line {number}: {} did not answer; import again: nothing is entered twice", args.url)
        })?;
        let status = response.status();
        let body: Value = response.json().await.unwrap_or_default();
        if !status.is_success() {
            let detail = body["detail"].as_str().unwrap_or("no reason is given");
            println!("{} line {number}: refused ({status}): {detail}", mapping.file);
            println!("{}: {entered} outages before it were entered; mend the line and import again", mapping.file);
            return Ok(if matches!(status.as_u16(), 401 | 403) { 4 } else { 1 });
        }
        entered += 1;
    }
    let done = if args.dry_run { "can be entered; nothing was recorded" } else { "entered, or entered before" };
    println!("{}: {entered} outages {done}", mapping.file);
    Ok(0)
}
