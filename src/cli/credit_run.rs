//! `makegood credit-run`: propose, look at, approve and take back many credits, from a terminal. A door to the service: it decides
//! nothing.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};
use uuid::Uuid;

use super::outage::{Again, Common, Failed, ended};
use super::outage_words::counted;

#[derive(Debug, Subcommand)]
pub enum CreditRunCommand {
    /// Propose what the terms give for a month, or goodwill after an outage
    #[command(after_help = "Examples:\n  makegood credit-run propose --period 2026-10\n  \
                                      makegood credit-run propose --goodwill matrix.yaml --incident INC-2026-031")]
    Propose(ProposeArgs),
    /// Show a run as whoever approves it must see it
    Show(ShowArgs),
    /// Approve a run that somebody else proposed, by its total
    Approve(ApproveArgs),
    /// Propose to take back what stands of a run's credits; it is approved like a run
    Reverse(ReverseArgs),
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true)))]
pub struct ProposeArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    again: Again,
    /// The month whose newest assessment is credited, such as 2026-10.
    #[arg(long, group = "what")]
    period: Option<String>,
    /// A file with classes, severities, areas, amounts and budget, as YAML or JSON (docs/runs.md has an example).
    #[arg(long, group = "what", value_name = "FILE")]
    goodwill: Option<PathBuf>,
    /// What the outages of the goodwill belong to.
    #[arg(long, requires = "goodwill", conflicts_with = "outage")]
    incident: Option<String>,
    /// The one outage of the goodwill.
    #[arg(long, requires = "goodwill")]
    outage: Option<Uuid>,
    /// The plan that this one stands in the place of: the difference is shown.
    #[arg(long, value_name = "RUN")]
    replaces: Option<Uuid>,
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    #[command(flatten)]
    common: Common,
    /// The run's id.
    run: Uuid,
}

#[derive(Debug, Args)]
pub struct ApproveArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    again: Again,
    /// The run's id.
    run: Uuid,
    /// The total exactly as `show` says it, such as 1240.50.
    #[arg(long)]
    total: String,
}

#[derive(Debug, Args)]
pub struct ReverseArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    again: Again,
    /// The run's id.
    run: Uuid,
    /// issued_in_error, duplicate, record_corrected or agreed_with_customer.
    #[arg(long)]
    reason: String,
    /// Why, in your words.
    #[arg(long)]
    note: String,
}

/// Does it; gives what the program ends with.
pub async fn run(command: &CreditRunCommand) -> u8 {
    ended(match command {
        CreditRunCommand::Propose(args) => propose(args).await,
        CreditRunCommand::Show(args) => show(args).await,
        CreditRunCommand::Approve(args) => approve(args).await,
        CreditRunCommand::Reverse(args) => reverse(args).await,
    })
}

async fn propose(args: &ProposeArgs) -> Result<(), Failed> {
    let key = args.again.key.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
    let (path, body) = match &args.goodwill {
        None => ("/v1/credit-runs", json!({ "period": args.period, "replaces": args.replaces })),
        Some(file) => {
            let why = |error: String| Failed::Usage(format!("--goodwill {}: {error}", file.display()));
            let text = std::fs::read_to_string(file).map_err(|error| why(error.to_string()))?;
            let matrix: Value = serde_saphyr::from_str(&text).map_err(|error| why(error.to_string()))?;
            let body = json!({
                "incident": args.incident, "outage": args.outage, "goodwill": matrix, "replaces": args.replaces,
            });
            ("/v1/goodwill-runs", body)
        }
    };
    let said = args.common.send(path, &key, &body, "").await?;
    let id = said["id"].as_str().unwrap_or_default().to_owned();
    shown(&args.common, &id).await
}

async fn show(args: &ShowArgs) -> Result<(), Failed> {
    shown(&args.common, &args.run.to_string()).await
}

async fn approve(args: &ApproveArgs) -> Result<(), Failed> {
    let key = args.again.key.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
    let path = format!("/v1/credit-runs/{}/approve", args.run);
    let again = format!("--total {}", args.total);
    let said = args.common.send(&path, &key, &json!({ "total": args.total }), &again).await?;
    if args.common.json {
        println!("{said}");
    } else {
        println!("run {} is approved: {} are being issued", args.run, counted(&said["credits"], "credit", "credits"));
    }
    Ok(())
}

async fn reverse(args: &ReverseArgs) -> Result<(), Failed> {
    let key = args.again.key.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
    let path = format!("/v1/credit-runs/{}/reverse", args.run);
    let said = args.common.send(&path, &key, &json!({ "reason": args.reason, "note": args.note }), "").await?;
    let id = said["id"].as_str().unwrap_or_default().to_owned();
    shown(&args.common, &id).await
}

async fn shown(common: &Common, id: &str) -> Result<(), Failed> {
    let run = common.client()?.get_named("/v1/credit-runs", id).await?;
    if common.json {
        println!("{run}");
    } else {
        print!("{}", described(&run));
    }
    Ok(())
}

fn money(value: &Value) -> String {
    let part = |part: &str| value[part].as_str().unwrap_or_default();
    format!("{} {}", part("amount"), part("currency"))
}

/// A run as people read it.
fn described(run: &Value) -> String {
    let text = |name: &str| run[name].as_str().unwrap_or_default();
    let what = match run["subject"].as_str() {
        Some(subject) => format!("goodwill for {subject}"),
        None => format!("{} for {}", text("road"), text("period")),
    };
    let what = match run["reverses"].as_str() {
        Some(original) => format!("takes back run {original} ({what}): {}", text("reversal_note")),
        None => what,
    };
    let mut lines = vec![
        format!("run {}: {what}", text("id")),
        format!("  state     {}{}", text("state"), if run["is_expired"] == true { ", expired" } else { "" }),
        format!("  total     {}  (type {})", money(&run["total"]), text("total_to_type")),
        format!(
            "  accounts  {} credited, {} held back, {} with nothing due",
            run["credited_accounts"], run["held_back_accounts"], run["nothing_due_accounts"]
        ),
        format!("  inputs    {}", text("inputs_hash")),
        format!("  proposed  by {}, expires {}", text("proposed_by"), text("expires_at")),
    ];
    if let Some(by) = run["approved_by"].as_str() {
        lines.push(format!("  approved  by {by}, {} issued", counted(&run["issued_credits"], "credit", "credits")));
    }
    if run["budget"].is_object() {
        let budget = &run["budget"];
        let name = budget["name"].as_str().unwrap_or_default();
        lines.push(format!("  budget    {name}: {} given of {}", money(&budget["given"]), money(&budget["amount"])));
    }
    let rows = |name: &str| run[name].as_array().cloned().unwrap_or_default();
    for part in rows("parts") {
        let name = part["name"].as_str().unwrap_or_default();
        lines.push(format!(
            "  {name}: {}, {}",
            counted(&part["accounts"], "account", "accounts"),
            money(&part["total"])
        ));
    }
    for band in rows("distribution") {
        let below =
            if band["below"].is_null() { "and more".to_owned() } else { format!("to {}", money(&band["below"])) };
        lines.push(format!(
            "  {} {below}: {}, {}",
            money(&band["from"]),
            counted(&band["credits"], "credit", "credits"),
            money(&band["total"])
        ));
    }
    for (title, name) in [("largest", "largest"), ("at random", "sample")] {
        for one in rows(name) {
            let word = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
            lines.push(format!("  {title}: account {}, {}, {}", word("account"), word("part"), money(&one["amount"])));
        }
    }
    for line in rows("held_back") {
        let reasons: Vec<&str> = line["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        lines.push(format!(
            "  held back: account {}: {}",
            line["account"].as_str().unwrap_or_default(),
            reasons.join(", ")
        ));
    }
    let difference = &run["difference"];
    if difference.is_object() {
        lines.push(format!(
            "  in the place of {}: {} in place of {}; {} added, {} removed, {} changed",
            text("replaces"),
            money(&difference["total_after"]),
            money(&difference["total_before"]),
            difference["added"],
            difference["removed"],
            difference["changed"]
        ));
        for line in difference["lines"].as_array().into_iter().flatten() {
            let side = |name: &str| match &line[name] {
                Value::Null => "not in the plan".to_owned(),
                side => format!("{} {}", side["outcome"].as_str().unwrap_or_default(), money(&side["amount"])),
            };
            let account = line["account"].as_str().unwrap_or_default();
            lines.push(format!("    account {account}: {}, now {}", side("before"), side("after")));
        }
    }
    lines.join("\n") + "\n"
}
