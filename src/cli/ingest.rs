//! `makegood ingest`: sends a bulk file to the service and says what became of it, line by line. The file is streamed and
//! never in memory. Sending it again is safe: what was recorded changes nothing.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use futures_util::{Stream, stream};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

/// The file is read in pieces of so many bytes.
const PIECE: usize = 256 * 1024;

#[derive(Debug, Args)]
pub struct IngestArgs {
    /// What the file holds.
    #[arg(value_enum)]
    pub noun: Noun,
    /// The file, or - for standard input.
    pub file: PathBuf,
    /// The service.
    #[arg(long, env = "MAKEGOOD_URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// A token of the role ingest or operations.
    #[arg(long, env = "MAKEGOOD_TOKEN", hide_env_values = true)]
    pub token: String,
    /// How the file is written; by its name unless said: .csv, .ndjson or .jsonl.
    #[arg(long, value_enum)]
    pub format: Option<FileFormat>,
    /// Check everything and record nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// The service's answer as it came, in place of sentences.
    #[arg(long)]
    pub json: bool,
}

/// What bulk files are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Noun {
    Accounts,
    Subscriptions,
    Charges,
    Placements,
    /// Credits that were given elsewhere
    CreditsElsewhere,
}

impl Noun {
    fn path(self) -> &'static str {
        match self {
            Noun::Accounts => "/v1/accounts/batches",
            Noun::Subscriptions => "/v1/subscriptions/batches",
            Noun::Charges => "/v1/charges/batches",
            Noun::Placements => "/v1/placements/batches",
            Noun::CreditsElsewhere => "/v1/credits-elsewhere/batches",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FileFormat {
    /// One JSON object a line
    Ndjson,
    /// With a header line
    Csv,
}

impl FileFormat {
    /// The format that a file's name tells.
    fn of(file: &Path) -> anyhow::Result<Self> {
        let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
        match ending.as_str() {
            "csv" => Ok(FileFormat::Csv),
            "ndjson" | "jsonl" => Ok(FileFormat::Ndjson),
            _ => {
                bail!("the name {} does not say how it is written: add --format csv or --format ndjson", file.display())
            }
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            FileFormat::Ndjson => "application/x-ndjson",
            FileFormat::Csv => "text/csv",
        }
    }
}

/// What the service answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

/// Sends `bytes` as a bulk file, and waits for the answer.
pub async fn send<E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static>(
    (url, token): (&str, &str),
    noun: Noun,
    format: FileFormat,
    dry_run: bool,
    bytes: impl Stream<Item = Result<Vec<u8>, E>> + Send + 'static,
) -> anyhow::Result<Answer> {
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let query = if dry_run { "?dry_run=true" } else { "" };
    let request = http
        .post(format!("{}{}{query}", url.trim_end_matches('/'), noun.path()))
        .bearer_auth(token)
        .header("content-type", format.content_type())
        .body(reqwest::Body::wrap_stream(bytes));
    let response = request.send().await.with_context(|| {
        format!("{url} did not answer, so what became of the file is unknown; send it again: nothing is recorded twice")
    })?;
    let status = response.status();
    let text = response.text().await.context("the answer broke off; send the file again: nothing is recorded twice")?;
    let body = serde_json::from_str(&text).with_context(|| format!("the service answered {status} and no JSON"))?;
    Ok(Answer { status: status.as_u16(), body })
}

/// Sends the file and prints what became of it.
pub async fn run(args: &IngestArgs) -> anyhow::Result<ExitCode> {
    let is_stdin = args.file.as_os_str() == "-";
    let format = match args.format {
        Some(format) => format,
        None if is_stdin => {
            bail!("standard input has no name that says how it is written: add --format csv or --format ndjson")
        }
        None => FileFormat::of(&args.file)?,
    };
    let path = if is_stdin { Path::new("/dev/stdin") } else { &args.file };
    let context = || format!("cannot read {}", args.file.display());
    let file = File::open(path).await.with_context(context)?;
    let length = file.metadata().await.with_context(context)?;
    // A pipe has no length.
    let length = length.is_file().then_some(length.len());
    let bar = bar(length)?;
    let answer = send((&args.url, &args.token), args.noun, format, args.dry_run, pieces(file, bar.clone())).await;
    bar.finish_and_clear();
    let answer = answer?;
    if args.json {
        println!("{}", answer.body);
    } else {
        print!("{}", said(&answer));
        if let Some(money) = money(&answer.body) {
            println!("{money}");
        }
    }
    Ok(match answer.status {
        200..=299 => ExitCode::SUCCESS,
        401 | 403 => ExitCode::from(4),
        _ => ExitCode::FAILURE,
    })
}

/// On a terminal, how much of the file is sent; nothing elsewhere.
fn bar(length: Option<u64>) -> anyhow::Result<ProgressBar> {
    if !std::io::stderr().is_terminal() {
        return Ok(ProgressBar::hidden());
    }
    let (bar, style) = match length {
        Some(length) => {
            (ProgressBar::new(length), "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left {msg}")
        }
        None => (ProgressBar::new_spinner(), "{spinner} {bytes}, {bytes_per_sec} {msg}"),
    };
    bar.set_style(ProgressStyle::with_template(style)?);
    Ok(bar)
}

/// The file as it is read.
fn pieces(from: File, bar: ProgressBar) -> impl Stream<Item = Result<Vec<u8>, std::io::Error>> + Send {
    stream::try_unfold((from, bar), |(mut from, bar)| async move {
        let mut piece = vec![0; PIECE];
        let read = from.read(&mut piece).await?;
        if read == 0 {
            bar.set_message("checking");
            return Ok(None);
        }
        piece.truncate(read);
        bar.inc(u64::try_from(read).unwrap_or(0));
        Ok(Some((piece, (from, bar))))
    })
}

/// The answer in sentences, one line for each line of the file that is wrong.
pub(super) fn said(answer: &Answer) -> String {
    let body = &answer.body;
    let report = body.get("report").unwrap_or(body);
    let Some(count) = report["lines"].as_i64() else {
        // A refusal of another kind, such as one of the token.
        return format!("refused ({}): {}\n", answer.status, body["detail"].as_str().unwrap_or("no reason is given"));
    };
    let number = |name: &str| report[name].as_i64().unwrap_or(0);
    let (accepted, unchanged, rejected) = (number("accepted"), number("unchanged"), number("rejected"));
    let mut text = String::new();
    let errors = report["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    for error in errors {
        let field = error["pointer"].as_str().unwrap_or_default().trim_start_matches('/');
        let field = if field.is_empty() { String::new() } else { format!(", {field}") };
        text += &format!("line {}{field}: {}\n", error["line"], error["message"].as_str().unwrap_or_default());
    }
    text += &if rejected > 0 {
        let listed = if errors.len() >= 100 { "; the first hundred errors are listed" } else { "" };
        format!("{rejected} of {count} lines are wrong, so nothing was recorded{listed}\n")
    } else if report["dry_run"] == true {
        format!("{count} lines: {accepted} would be recorded, {unchanged} say nothing new; nothing was recorded\n")
    } else {
        format!("{count} lines: {accepted} recorded, {unchanged} say nothing new\n")
    };
    text
}

/// What a dry run says that the file would change in money; none where it was no dry run, or no sum could be looked at.
pub fn money(body: &Value) -> Option<String> {
    let money = &body["money"];
    let totals = money["totals"].as_array().filter(|_| money["looked_at"] != 0)?;
    let sum = |sum: &Value| {
        format!("{} {}", sum["currency"].as_str().unwrap_or_default(), sum["amount"].as_str().unwrap_or_default())
    };
    let due = |total: &Value| format!("; due before {}, after {}", sum(&total["before"]), sum(&total["after"]));
    Some(format!(
        "{} of {} accounts looked at would be due something else{}",
        money["changed"],
        money["looked_at"],
        totals.iter().map(due).collect::<String>()
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_files_name_says_how_it_is_written_or_it_must_be_said() {
        assert_eq!(FileFormat::of(Path::new("a/b.CSV")).unwrap(), FileFormat::Csv);
        assert_eq!(FileFormat::of(Path::new("b.jsonl")).unwrap(), FileFormat::Ndjson);
        assert!(FileFormat::of(Path::new("b.txt")).unwrap_err().to_string().contains("--format"));
    }

    #[test]
    fn a_dry_run_says_what_it_would_change_in_money() {
        let body = json!({
            "lines": 1,
            "money": {
                "changed": 1, "looked_at": 2,
                "totals": [{
                    "before": { "currency": "NZD", "amount": "0.00" }, "after": { "currency": "NZD", "amount": "3.13" },
                }],
            },
        });
        let said = "1 of 2 accounts looked at would be due something else; due before NZD 0.00, after NZD 3.13";
        assert_eq!(money(&body).as_deref(), Some(said));
        assert_eq!(money(&json!({ "lines": 1 })), None, "a file that was recorded says no money");
        assert_eq!(money(&json!({ "money": { "changed": 0, "looked_at": 0, "totals": [] } })), None);
    }

    #[test]
    fn each_wrong_line_is_a_line_with_its_field() {
        let report = json!({
            "lines": 3, "accepted": 1, "rejected": 2, "unchanged": 0, "dry_run": false,
            "errors": [{ "line": 2, "pointer": "/shard", "message": "Wrong." }, { "line": 4, "pointer": "", "message": "Cut." }],
        });
        let text = said(&Answer { status: 422, body: json!({ "code": "invalid_request", "report": report }) });
        assert_eq!(text, "line 2, shard: Wrong.\nline 4: Cut.\n2 of 3 lines are wrong, so nothing was recorded\n");
        let text = said(&Answer { status: 401, body: json!({ "detail": "Send a token." }) });
        assert_eq!(text, "refused (401): Send a token.\n");
    }
}
