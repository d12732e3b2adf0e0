//! `makegood incident`: outages that belong together for people, from a terminal.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use uuid::Uuid;

use super::outage::{Again, Common, Failed, ended};
use super::outage_words::{counted, line, short, shown};

#[derive(Debug, Subcommand)]
pub enum IncidentCommand {
    /// List incidents, the latest start first
    List(ListArgs),
    /// Show one: its outages, whom they hit, what is at stake now, and when the next account is owed more
    Show(ShowArgs),
    /// Say what it is called, and when it was restored and caught up
    Record(RecordArgs),
}

#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    common: Common,
    /// At most this many, up to 500.
    #[arg(long, default_value_t = 50)]
    limit: u32,
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    #[command(flatten)]
    common: Common,
    /// Its name, such as INC-2026-031.
    name: String,
}

#[derive(Debug, Args)]
pub struct RecordArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    again: Again,
    /// Its name, such as INC-2026-031.
    name: String,
    #[arg(long)]
    title: String,
    /// When the service worked again; the end of its last outage unless given.
    #[arg(long)]
    restored: Option<String>,
    /// When all that had waited was delivered; the end of its last delay unless given.
    #[arg(long)]
    caught_up: Option<String>,
}

/// Does it; gives what the program ends with.
pub async fn run(command: &IncidentCommand) -> u8 {
    ended(match command {
        IncidentCommand::List(args) => list(args).await,
        IncidentCommand::Show(args) => show(args).await,
        IncidentCommand::Record(args) => record(args).await,
    })
}

async fn list(args: &ListArgs) -> Result<(), Failed> {
    let page = args.common.client()?.get("/v1/incidents", &[("limit", args.limit.to_string())]).await?;
    if args.common.json {
        println!("{}", page["data"]);
        return Ok(());
    }
    for one in page["data"].as_array().into_iter().flatten() {
        let text = |name: &str| one[name].as_str().unwrap_or_default();
        let goes_on = if one["goes_on"] == true { "goes on" } else { "over" };
        let began = short(&one["began"], args.common.zone);
        println!(
            "{}  {began}  {goes_on:<7}  {}  {}",
            text("name"),
            counted(&one["outages"], "outage", "outages"),
            text("title")
        );
    }
    Ok(())
}

async fn show(args: &ShowArgs) -> Result<(), Failed> {
    let zone = args.common.zone;
    let incident = args.common.client()?.get_named("/v1/incidents", &args.name).await?;
    if args.common.json {
        println!("{incident}");
        return Ok(());
    }
    println!(
        "incident {}{}",
        args.name,
        incident["title"].as_str().map(|title| format!(": {title}")).unwrap_or_default()
    );
    for (name, field) in [("began", "began"), ("restored", "restored_at"), ("caught up", "caught_up_at")] {
        println!("  {name:<9} {}", shown(&incident[field], zone));
    }
    let (mailboxes, accounts) = (&incident["mailboxes_affected"], &incident["accounts_affected"]);
    println!(
        "  hit       {} of {}",
        counted(mailboxes, "mailbox", "mailboxes"),
        counted(accounts, "account", "accounts")
    );
    println!("  outages");
    for outage in incident["outages"].as_array().into_iter().flatten() {
        println!("    {}", line(&outage["window"], zone));
    }
    println!(
        "  at stake in {}, by all outages of that month (worked out for {})",
        incident["period"].as_str().unwrap_or_default(),
        counted(&incident["accounts_looked_at"], "account", "accounts")
    );
    for plan in incident["at_stake"].as_array().into_iter().flatten() {
        println!("    {}", stake(plan));
    }
    if incident["accounts_without_sum"] != 0 {
        println!("  no sum for {} of them, which may be owed something too", incident["accounts_without_sum"]);
    }
    for one in incident["why_without_sum"].as_array().into_iter().flatten() {
        println!("    {}: {}", one["accounts"], why_none(one["why"].as_str().unwrap_or_default()));
    }
    Ok(())
}

/// Why an account has no sum, in words.
fn why_none(code: &str) -> String {
    match code.split_once(':') {
        Some(("terms_missing", plan)) => format!("no terms of the plan {plan} are in force for the whole month"),
        Some(_) | None if code == "subscription_changed" => "more than one subscription in the month".to_owned(),
        Some(_) | None if code == "no_subscription" => "no subscription that it hit in the month".to_owned(),
        Some(_) | None => code.to_owned(),
    }
}

fn stake(plan: &Value) -> String {
    let money = |name: &str| {
        let part = |part: &str| plan[name][part].as_str().unwrap_or_default().to_owned();
        format!("{} {}", part("amount"), part("currency"))
    };
    let next = match plan["minutes_to_next"].as_i64() {
        Some(minutes) => format!("in {minutes} minutes {} of them are owed more", plan["accounts_stepping_up"]),
        None => "nobody will be owed more in this period".to_owned(),
    };
    format!(
        "{}: {}, {} if it ended now, {} because of it; {next}",
        plan["plan"].as_str().unwrap_or_default(),
        counted(&plan["accounts"], "account", "accounts"),
        money("if_it_ended_now"),
        money("because_of_it")
    )
}

async fn record(args: &RecordArgs) -> Result<(), Failed> {
    let restored_at = args.common.time("--restored", args.restored.as_deref())?;
    let caught_up_at = args.common.time("--caught-up", args.caught_up.as_deref())?;
    let body =
        json!({ "name": args.name, "title": args.title, "restored_at": restored_at, "caught_up_at": caught_up_at });
    let key = args.again.key.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
    let said = args.common.send("/v1/incidents", &key, &body, "").await?;
    println!("{said}");
    Ok(())
}
