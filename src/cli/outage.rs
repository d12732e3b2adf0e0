//! `makegood outage`: what operations do at 2 am, from a terminal. A door to the service: it decides nothing.

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::client::{CallError, Client, ServerArgs};
use super::outage_words::{changes, described, ended_already, impact, line, short, state, unsigned, until};
use super::when;
use crate::clock::Clock;
use crate::domain::period::Zone;
use crate::domain::time::Instant;
use crate::domain::window::{Capability, Impact};

#[derive(Debug, Subcommand)]
pub enum OutageCommand {
    /// Enter an outage: one that goes on, one that is over, or planned work
    #[command(
        after_help = "Examples:\n  makegood outage open --shard mx-07 --capability receive --note \"queue stands\"\n  \
                            makegood outage open --all --capability send --start 2026-10-13T06:10:00+13:00 --impact degraded:50%\n  \
                            makegood outage open --shard mx-07 --capability receive --zone Pacific/Auckland \\\n    \
                            --planned-start \"2026-10-20 02:00\" --planned-end \"2026-10-20 02:40\""
    )]
    Open(OpenArgs),
    /// Say when an outage ended; now unless given
    Close(CloseArgs),
    /// Correct an outage, with a reason
    Amend(AmendArgs),
    /// Sign an outage off, so that it may move money: somebody else than whoever wrote its latest version
    Confirm(SignArgs),
    /// Say that it was no outage
    Retract(RetractArgs),
    /// List outages, the latest start first
    List(ListArgs),
    /// Show one outage with all its versions
    Show(ShowArgs),
}

/// How to reach the service, and how times and answers are written.
#[derive(Debug, Args)]
pub struct Common {
    #[command(flatten)]
    server: ServerArgs,
    /// The answer as JSON.
    #[arg(long)]
    pub json: bool,
    /// The zone of times without an offset, such as Pacific/Auckland; times are shown in it.
    #[arg(long, env = "MAKEGOOD_ZONE")]
    pub zone: Option<Zone>,
}

/// What makes a retry the same deed.
#[derive(Debug, Args)]
pub struct Again {
    /// The Idempotency-Key of a try whose outcome was unknown; a new one unless given.
    #[arg(long)]
    pub key: Option<String>,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("where").required(true)))]
pub struct OpenArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    again: Again,
    #[command(flatten)]
    place: Place,
    /// What did not work: receive, send, access, or one that your terms name.
    #[arg(long)]
    capability: String,
    /// When it began; now unless given, or the announced start of planned work.
    #[arg(long, visible_alias = "at")]
    start: Option<String>,
    /// When it was over; leave it out while it goes on.
    #[arg(long)]
    end: Option<String>,
    /// full, degraded:50% (the part that did not work) or delayed:600s.
    #[arg(long, default_value = "full", value_parser = impact)]
    impact: Impact,
    #[command(flatten)]
    planned: Planned,
    /// What people call the event that it belongs to.
    #[arg(long)]
    incident: Option<String>,
    /// What the next person should know.
    #[arg(long)]
    note: Option<String>,
}

/// Which mailboxes.
#[derive(Debug, Args)]
pub struct Place {
    /// Every mailbox.
    #[arg(long, group = "where")]
    all: bool,
    /// The mailboxes on this shard; may be repeated.
    #[arg(long = "shard", group = "where", value_name = "SHARD")]
    shards: Vec<String>,
    /// What this component served when it began.
    #[arg(long, group = "where")]
    component: Option<String>,
    /// The mailboxes of this list: its id, or a file of it (.csv or NDJSON, with account and mailbox), which is sent first.
    #[arg(long, group = "where", value_name = "LIST")]
    mailboxes: Option<String>,
}

impl Place {
    /// As the API takes it; none where none is named. A file of mailboxes is sent.
    async fn scope(&self, common: &Common) -> Result<Option<Value>, Failed> {
        Ok(match (&self.component, &self.mailboxes, self.shards.as_slice()) {
            (Some(component), _, _) => Some(json!({ "component": component })),
            (None, Some(list), _) => Some(json!({ "list": common.list(list).await? })),
            (None, None, []) => self.all.then(|| json!("all")),
            (None, None, shards) => Some(json!({ "shards": shards })),
        })
    }
}

/// What customers were told of planned work.
#[derive(Debug, Args)]
pub struct Planned {
    /// When planned work begins, as announced.
    #[arg(long, requires = "planned_end")]
    planned_start: Option<String>,
    /// When planned work ends, as announced.
    #[arg(long, requires = "planned_start")]
    planned_end: Option<String>,
    /// When customers were told; now unless given.
    #[arg(long, requires = "planned_start")]
    announced_at: Option<String>,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true)))]
pub struct CloseArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    again: Again,
    /// The outage.
    #[arg(group = "which")]
    id: Option<Uuid>,
    /// The one outage of this shard that goes on.
    #[arg(long, group = "which")]
    shard: Option<String>,
    /// The one outage of everything that goes on.
    #[arg(long, group = "which")]
    all: bool,
    /// With --shard or --all: only of this capability.
    #[arg(long)]
    capability: Option<String>,
    /// When it ended.
    #[arg(long, visible_alias = "at", default_value = "now")]
    end: String,
    /// Why it is known; `closed at the terminal` unless given.
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    seen: Seen,
}

/// The version that the caller saw.
#[derive(Debug, Args)]
pub struct Seen {
    /// The version that you saw; the latest unless given.
    #[arg(long)]
    version: Option<i64>,
}

impl Seen {
    fn or_that_of(&self, latest: &Value) -> i64 {
        self.version.unwrap_or_else(|| latest["window"]["version"].as_i64().unwrap_or_default())
    }
}

#[derive(Debug, Args)]
pub struct AmendArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    again: Again,
    /// The outage.
    id: Uuid,
    #[command(flatten)]
    place: Place,
    #[arg(long)]
    capability: Option<String>,
    #[arg(long)]
    start: Option<String>,
    #[arg(long)]
    end: Option<String>,
    /// It has no end yet after all.
    #[arg(long, conflicts_with = "end")]
    goes_on: bool,
    /// full, degraded:50% or delayed:600s.
    #[arg(long, value_parser = impact)]
    impact: Option<Impact>,
    #[command(flatten)]
    planned: Planned,
    /// It was not planned after all.
    #[arg(long, conflicts_with = "planned_start")]
    unplanned: bool,
    #[arg(long)]
    incident: Option<String>,
    /// Why; it is kept.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    seen: Seen,
}

#[derive(Debug, Args)]
pub struct SignArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    again: Again,
    /// The outage.
    id: Uuid,
    #[command(flatten)]
    seen: Seen,
}

#[derive(Debug, Args)]
pub struct RetractArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    again: Again,
    /// The outage.
    id: Uuid,
    /// Why; it is kept.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    seen: Seen,
}

#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    common: Common,
    /// Only those that go on.
    #[arg(long)]
    open: bool,
    /// At most this many, up to 500.
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// What was held to be true at this time.
    #[arg(long)]
    as_recorded_at: Option<String>,
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    #[command(flatten)]
    common: Common,
    /// The outage.
    id: Uuid,
    /// What was held to be true at this time.
    #[arg(long)]
    as_recorded_at: Option<String>,
}

/// Why a command did nothing, or may have.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// What was written cannot be meant.
    #[error("{0}")]
    Usage(String),
    /// It was done already, or by somebody else.
    #[error("{0}")]
    Conflict(String),
    #[error(transparent)]
    Call(#[from] CallError),
    /// The same command with this added is the same deed.
    #[error("{call}\nTry again with what makes it the same deed: {again}")]
    Unknown { call: CallError, again: String },
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// Does it; gives what the program ends with.
pub async fn run(command: &OutageCommand) -> u8 {
    let done = match command {
        OutageCommand::Open(args) => open(args).await,
        OutageCommand::Close(args) => close(args).await,
        OutageCommand::Amend(args) => amend(args).await,
        OutageCommand::Confirm(args) => confirm(args).await,
        OutageCommand::Retract(args) => retract(args).await,
        OutageCommand::List(args) => list(args).await,
        OutageCommand::Show(args) => show(args).await,
    };
    ended(done)
}

/// Says why a command failed; gives what the program ends with.
pub fn ended(done: Result<(), Failed>) -> u8 {
    match done {
        Ok(()) => 0,
        Err(failed) => {
            eprintln!("error: {failed}");
            match &failed {
                Failed::Usage(_) => 2,
                Failed::Conflict(_) => 5,
                Failed::Call(call) | Failed::Unknown { call, .. } => call.exit_code(),
                Failed::Other(_) => 1,
            }
        }
    }
}

impl Common {
    /// The time that an option says; what was understood goes to stderr, unless it was said exactly.
    pub fn time(&self, name: &str, text: Option<&str>) -> Result<Option<Instant>, Failed> {
        let Some(text) = text else { return Ok(None) };
        let at = when::instant(text, self.zone, Clock::real().now());
        let at = at.map_err(|why| Failed::Usage(format!("{name}: {why}")))?;
        let shown = when::shown(at, self.zone);
        if shown != text {
            eprintln!("{name} {text}: {shown}");
        }
        Ok(Some(at))
    }

    fn as_recorded(&self, text: Option<&str>) -> Result<Option<(&'static str, String)>, Failed> {
        Ok(self.time("--as-recorded-at", text)?.map(|at| ("as_recorded_at", at.to_string())))
    }

    fn planned(&self, planned: &Planned) -> Result<Option<Value>, Failed> {
        let (start, end) = (planned.planned_start.as_deref(), planned.planned_end.as_deref());
        let (Some(start), Some(end)) = (self.time("--planned-start", start)?, self.time("--planned-end", end)?) else {
            return Ok(None);
        };
        let announced_at = self.time("--announced-at", planned.announced_at.as_deref())?;
        Ok(Some(json!({ "announced_at": announced_at, "start": start, "end": end })))
    }

    /// The id of a list of mailboxes, which is sent first where it is a file.
    async fn list(&self, list: &str) -> Result<Uuid, Failed> {
        if let Ok(id) = Uuid::try_parse(list) {
            return Ok(id);
        }
        let why = |error: std::io::Error| {
            Failed::Usage(format!("--mailboxes {list}: neither a list's id nor a file: {error}"))
        };
        let bytes = tokio::fs::read(list).await.map_err(why)?;
        let is_csv = std::path::Path::new(list).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
        let content_type = if is_csv { "text/csv" } else { "application/x-ndjson" };
        let sent = Client::new(&self.server)?.post_file("/v1/mailbox-lists", &[], content_type, bytes.into()).await?;
        eprintln!("list {}: {} mailboxes of {} accounts", sent["id"], sent["mailboxes"], sent["accounts"]);
        let id = sent["id"].as_str().and_then(|id| Uuid::try_parse(id).ok());
        id.ok_or_else(|| Failed::Usage("the service's answer has no id".to_owned()))
    }

    fn say(&self, answer: &Value) {
        if self.json {
            println!("{answer}");
        } else {
            print!("{}", described(answer, self.zone));
        }
    }

    /// Sends the deed and shows what came of it. `again` is what a retry must say to be the same deed, beside the key.
    async fn deed(&self, path: &str, key: &Again, body: &Value, again: &str) -> Result<Value, Failed> {
        let key = key.key.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
        let answer = self.send(path, &key, body, again).await?;
        self.say(&answer);
        Ok(answer)
    }

    /// As [`Common::deed`], without showing what came of it.
    pub async fn send(&self, path: &str, key: &str, body: &Value, again: &str) -> Result<Value, Failed> {
        let sent = self.client()?.post_once(path, key, body).await;
        sent.map_err(|call| match &call {
            CallError::Unknown(_) => Failed::Unknown { call, again: format!("--key {key} {again}").trim().to_owned() },
            CallError::Away { .. } | CallError::Refused { .. } | CallError::NotJson(_) => Failed::Call(call),
        })
    }

    pub fn client(&self) -> anyhow::Result<Client<'_>> {
        Client::new(&self.server)
    }

    async fn latest(&self, id: Uuid) -> Result<Value, Failed> {
        let mut history = Client::new(&self.server)?.get(&format!("/v1/outages/{id}"), &[]).await?;
        Ok(history["latest"].take())
    }

    async fn version(&self, id: Uuid, seen: &Seen) -> Result<i64, Failed> {
        match seen.version {
            Some(version) => Ok(version),
            None => Ok(seen.or_that_of(&self.latest(id).await?)),
        }
    }
}

async fn open(args: &OpenArgs) -> Result<(), Failed> {
    let common = &args.common;
    let capability = Capability(args.capability.clone());
    capability.check().map_err(|why| Failed::Usage(format!("--capability: {why}")))?;
    let planned = common.planned(&args.planned)?;
    let said = args.start.as_deref().or_else(|| planned.is_none().then_some("now"));
    let start = common.time("--start", said)?;
    let end = common.time("--end", args.end.as_deref())?;
    let body = json!({
        "scope": args.place.scope(common).await?, "capability": capability, "impact": args.impact, "start": start, "end": end,
        "planned": planned, "incident": args.incident, "note": args.note,
    });
    let again = times_again(&[("--start", start), ("--end", end)]);
    let answer = common.deed("/v1/outages", &args.again, &body, &again).await?;
    let id = answer["window"]["id"].as_str().unwrap_or_default();
    if answer["window"]["end"].is_null() {
        eprintln!("When it is over: makegood outage close {id}");
    } else {
        eprintln!("Somebody else of operations signs it off: makegood outage confirm {id}");
    }
    Ok(())
}

/// Times that were said as `now` must be said exactly the second time.
fn times_again(times: &[(&str, Option<Instant>)]) -> String {
    let said = times.iter().filter_map(|(name, at)| at.map(|at| format!("{name} {at}")));
    said.collect::<Vec<_>>().join(" ")
}

async fn close(args: &CloseArgs) -> Result<(), Failed> {
    let common = &args.common;
    let id = match args.id {
        Some(id) => id,
        None => the_open_one(args).await?,
    };
    let latest = common.latest(id).await?;
    let version = args.seen.or_that_of(&latest);
    if let Some(why) = ended_already(&latest["window"], version, common.zone, Clock::real().now()) {
        return Err(Failed::Conflict(why));
    }
    let end = common.time("--end", Some(&args.end))?;
    let reason = args.reason.as_deref().unwrap_or("closed at the terminal");
    let body = json!({ "version": version, "end": end, "reason": reason });
    let again = format!("{id} --version {version} {}", times_again(&[("--end", end)]));
    common.deed(&format!("/v1/outages/{id}/amendments"), &args.again, &body, &again).await?;
    let signature = unsigned(&latest["window"], version);
    eprintln!("{signature}Somebody else of operations signs it off: makegood outage confirm {id}");
    Ok(())
}

/// The one outage that goes on where it was said; refuses none and several.
async fn the_open_one(args: &CloseArgs) -> Result<Uuid, Failed> {
    let page = Client::new(&args.common.server)?.get("/v1/outages", &[("limit", "500".to_owned())]).await?;
    let is_meant = |outage: &&Value| {
        let scope = &outage["window"]["scope"];
        let is_there = match &args.shard {
            Some(shard) => scope["shards"].as_array().is_some_and(|all| all.iter().any(|one| one == shard)),
            None => scope == "all",
        };
        let capability = args.capability.as_ref();
        is_there && goes_on(outage) && capability.is_none_or(|one| outage["window"]["capability"] == one.as_str())
    };
    let open: Vec<&Value> = page["data"].as_array().into_iter().flatten().filter(is_meant).collect();
    match open.as_slice() {
        [] => Err(Failed::Usage("no outage goes on there; makegood outage list --open shows those that do".to_owned())),
        [one] => {
            let id = one["window"]["id"].as_str().and_then(|id| Uuid::try_parse(id).ok());
            id.ok_or_else(|| Failed::Usage("the service's answer has no id".to_owned()))
        }
        several => {
            let lines: String =
                several.iter().map(|one| format!("\n  {}", line(&one["window"], args.common.zone))).collect();
            Err(Failed::Usage(format!("several go on there; say which, by its id:{lines}")))
        }
    }
}

fn goes_on(outage: &Value) -> bool {
    outage["window"]["end"].is_null() && outage["window"]["state"]["state"] != "retracted"
}

async fn amend(args: &AmendArgs) -> Result<(), Failed> {
    let common = &args.common;
    let latest = common.latest(args.id).await?;
    let version = args.seen.or_that_of(&latest);
    let (start, end) = (common.time("--start", args.start.as_deref())?, common.time("--end", args.end.as_deref())?);
    let changes = [
        ("scope", args.place.scope(common).await?),
        ("capability", args.capability.as_ref().map(|one| json!(one))),
        ("start", start.map(|at| json!(at))),
        ("end", end.map(|at| json!(at))),
        ("impact", args.impact.map(|impact| json!(impact))),
        ("planned", common.planned(&args.planned)?),
        ("incident", args.incident.as_ref().map(|one| json!(one))),
        ("goes_on", args.goes_on.then_some(Value::Bool(true))),
        ("unplanned", args.unplanned.then_some(Value::Bool(true))),
    ];
    let changes = changes.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let mut body: Map<String, Value> = changes.collect();
    body.insert("version".to_owned(), json!(version));
    body.insert("reason".to_owned(), json!(args.reason));
    let again = format!("--version {version} {}", times_again(&[("--start", start), ("--end", end)]));
    common.deed(&format!("/v1/outages/{}/amendments", args.id), &args.again, &Value::Object(body), &again).await?;
    let signature = unsigned(&latest["window"], version);
    eprintln!("{signature}Somebody else of operations signs it off: makegood outage confirm {}", args.id);
    Ok(())
}

async fn confirm(args: &SignArgs) -> Result<(), Failed> {
    let version = args.common.version(args.id, &args.seen).await?;
    let path = format!("/v1/outages/{}/confirm", args.id);
    let again = format!("--version {version}");
    args.common.deed(&path, &args.again, &json!({ "version": version }), &again).await?;
    Ok(())
}

async fn retract(args: &RetractArgs) -> Result<(), Failed> {
    let version = args.common.version(args.id, &args.seen).await?;
    let path = format!("/v1/outages/{}/amendments", args.id);
    let body = json!({ "version": version, "reason": args.reason, "retract": true });
    args.common.deed(&path, &args.again, &body, &format!("--version {version}")).await?;
    Ok(())
}

async fn list(args: &ListArgs) -> Result<(), Failed> {
    let mut query = vec![("limit", args.limit.to_string())];
    query.extend(args.common.as_recorded(args.as_recorded_at.as_deref())?);
    let page = args.common.client()?.get("/v1/outages", &query).await?;
    let listed = page["data"].as_array().into_iter().flatten();
    let listed: Vec<&Value> = listed.filter(|outage| !args.open || goes_on(outage)).collect();
    if args.common.json {
        println!("{}", json!(listed));
        return Ok(());
    }
    for outage in &listed {
        println!("{}", line(&outage["window"], args.common.zone));
    }
    if listed.is_empty() {
        eprintln!("no outages");
    }
    if page["has_more"] == true {
        eprintln!("there are earlier ones: --limit {}", args.limit.saturating_mul(2).min(500));
    }
    Ok(())
}

async fn show(args: &ShowArgs) -> Result<(), Failed> {
    let query: Vec<_> = args.common.as_recorded(args.as_recorded_at.as_deref())?.into_iter().collect();
    let history = args.common.client()?.get(&format!("/v1/outages/{}", args.id), &query).await?;
    if args.common.json {
        println!("{history}");
        return Ok(());
    }
    print!("{}", described(&history["latest"], args.common.zone));
    if let Some(whole) = history["part_of"].as_str() {
        println!("  part of    {whole} now");
    }
    println!("  versions");
    let mut before = &Value::Null;
    for version in history["versions"].as_array().into_iter().flatten() {
        let window = &version["window"];
        let (start, end) = (short(&window["start"], args.common.zone), until(window, args.common.zone));
        let (number, by) = (&window["version"], version["recorded_by"].as_str().unwrap_or_default());
        let recorded = short(&version["recorded_at"], args.common.zone);
        let why = window["reason"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
        println!("    {number}  {:<11}  {start} to {end}, recorded {recorded} by {by}{why}", state(window));
        let changed = if before.is_null() { Vec::new() } else { changes(before, version, args.common.zone) };
        for change in changed {
            println!("       {change}");
        }
        before = version;
    }
    Ok(())
}
