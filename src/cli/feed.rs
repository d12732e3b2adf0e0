//! `makegood feed`: what a billing system does, from a shell: pull the credits, and answer them.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::bail;
use chrono::NaiveDate;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, ServerArgs};
use super::database::{self, DatabaseArgs};
use crate::clock::Clock;
use crate::flows::sequence_feed::new_epoch;

#[derive(Debug, Subcommand)]
pub enum FeedCommand {
    /// Pull the feed, as JSON lines on stdout.
    Pull(PullArgs),
    /// Answer every credit that is not answered with `applied`, on one bill for each account.
    Ack(AckArgs),
    /// Open a new epoch after a restore or a lossy fail-over.
    NewEpoch(DatabaseArgs),
}

#[derive(Debug, Args)]
pub struct PullArgs {
    #[command(flatten)]
    pub server: ServerArgs,
    /// Go on after this cursor.
    #[arg(long)]
    pub after: Option<String>,
}

#[derive(Debug, Args)]
pub struct AckArgs {
    #[command(flatten)]
    pub server: ServerArgs,
    /// What the numbers of the bills begin with.
    #[arg(long, default_value = "INV")]
    pub bill: String,
    /// The date of the bills.
    #[arg(long)]
    pub date: NaiveDate,
}

pub async fn run(command: &FeedCommand) -> anyhow::Result<()> {
    match command {
        FeedCommand::Pull(args) => pull(args).await,
        FeedCommand::Ack(args) => ack(args).await,
        FeedCommand::NewEpoch(args) => {
            let opened = database::open(args).await?;
            let epoch = new_epoch(&opened.pool, 0, Clock::real().now()).await?;
            println!("{}", json!({ "epoch": epoch }));
            Ok(())
        }
    }
}

async fn pull(args: &PullArgs) -> anyhow::Result<()> {
    let client = Client::new(&args.server)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut after = args.after.clone();
    let mut pulled = 0;
    loop {
        let mut query = vec![("limit", "1000".to_owned())];
        query.extend(after.iter().map(|cursor| ("after", cursor.clone())));
        let page = client.get("/v1/billing/feed", &query).await?;
        for item in page["data"].as_array().into_iter().flatten() {
            writeln!(out, "{item}")?;
            pulled += 1;
        }
        after = page["next_cursor"].as_str().map(str::to_owned);
        if page["has_more"] != true {
            break;
        }
    }
    out.flush()?;
    eprintln!("pulled {pulled}; go on with --after {}", after.unwrap_or_default());
    Ok(())
}

async fn ack(args: &AckArgs) -> anyhow::Result<()> {
    let client = Client::new(&args.server)?;
    let mut totals = BTreeMap::from([("recorded", 0u64), ("already", 0), ("refused", 0)]);
    let mut after = 0;
    loop {
        let query = [("limit", "1000".to_owned()), ("after", after.to_string())];
        let page = client.get("/v1/billing/unacknowledged", &query).await?;
        let items: Vec<Value> =
            page["data"].as_array().into_iter().flatten().map(|item| answer(args, &item["credit"])).collect();
        if items.is_empty() {
            break;
        }
        let taken = client.post("/v1/billing/acks", &json!({ "items": items })).await?;
        for (name, total) in &mut totals {
            *total += taken[*name].as_u64().unwrap_or(0);
        }
        match page["next"].as_i64() {
            Some(next) => after = next,
            None => break,
        }
    }
    println!("{}", serde_json::to_string(&totals)?);
    if totals.get("refused").is_some_and(|refused| *refused > 0) {
        bail!("some answers were refused: GET /v1/billing/unacknowledged lists what is still open");
    }
    Ok(())
}

fn answer(args: &AckArgs, credit: &Value) -> Value {
    json!({
        "credit": credit["id"],
        "answer": "applied",
        "reference": format!("{}-{}", args.bill, credit["bill_to"].as_str().unwrap_or_default()),
        "date": args.date,
        "net": credit["net"],
        "tax": credit["tax"],
    })
}
