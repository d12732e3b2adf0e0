//! `makegood demo`: the whole story on one machine, and then the service with its pages, on the story's clock.

use std::io::IsTerminal;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::Value;

use self::client::Client;
use self::people::DemoIssuer;
use self::story::Story;
use self::world::Scale;
use super::database::{self, DatabaseArgs, Opened};
use super::serve::{Serving, stop_signal};
use super::token::{self, CreateArgs};
use crate::clock::Clock;
use crate::domain::actor::Role;
use crate::domain::time::DAY;
use crate::flows::sequence_feed::sequence_feed;
use crate::http::App;
use crate::http::auth::{Issuers, MachineKey};
use crate::store::operator;

mod client;
mod people;
mod story;
mod summary;
mod world;

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where the demo's database is kept: a second start finds it as it was.
    #[arg(long = "data", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// A database of your own instead, which must be empty or an earlier demo's. Its owner is named by --owner-url.
    #[arg(long, requires = "owner_url")]
    pub database_url: Option<String>,
    #[arg(long)]
    pub owner_url: Option<String>,
    /// How many accounts: 300, or 300,000.
    #[arg(long, value_enum, default_value = "small")]
    pub scale: Scale,
    /// The port on 127.0.0.1; any free one unless said.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// End after the story.
    #[arg(long)]
    pub exit: bool,
    /// Print the summary as one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

/// How long each step took, in the order of the steps.
#[derive(Clone, Debug, Default)]
pub struct Seconds(Vec<(&'static str, i64)>);

impl Seconds {
    fn push(&mut self, step: &'static str, micros: i64) {
        self.0.push((step, micros));
    }
}

impl Serialize for Seconds {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(step, micros)| (step, rust_decimal::Decimal::new(micros / 1_000, 3))))
    }
}

/// What the story came to.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    accounts: i64,
    affected_accounts: i64,
    credited_accounts: i64,
    held_back_accounts: i64,
    held_back_by_reason: std::collections::BTreeMap<String, i64>,
    nothing_due_accounts: i64,
    /// The contract credit run.
    run_total: Value,
    /// All credits: the run's and the claim's.
    credited_total: Value,
    credits_issued: i64,
    feed_pulled: i64,
    feed_acknowledged: i64,
    control_totals_agree: bool,
    chain_verified: bool,
    claim: ClaimSummary,
    /// Harbour Freight's, in October.
    minutes_down: i64,
    uptime: String,
    seconds: Seconds,
}

#[derive(Clone, Debug, Serialize)]
pub struct ClaimSummary {
    id: Value,
    asked: Value,
    computed: Value,
    approved: Value,
    state: Value,
}

impl Summary {
    /// What must be true at the end of the story; and, save for billing, ever after. Whoever tries the demo out makes
    /// credits that its billing has not heard of yet.
    fn check(&self, just_told: bool) -> anyhow::Result<()> {
        let add_up =
            self.credited_accounts + self.held_back_accounts + self.nothing_due_accounts == self.affected_accounts;
        let is_told =
            !just_told || self.credits_issued == self.feed_pulled && self.feed_pulled == self.feed_acknowledged;
        for (holds, what) in [
            (add_up, "credited, held back and owed nothing do not add up to the accounts that were hit"),
            (is_told, "billing was not told of every credit, or has not answered each"),
            (self.control_totals_agree, "the control totals do not agree"),
            (self.chain_verified, "the chain does not verify"),
        ] {
            if !holds {
                bail!("{what}: {}", serde_json::to_string(self)?);
            }
        }
        Ok(())
    }

    fn print(&self, url: &str) {
        let money = |value: &Value| {
            format!(
                "{} {}",
                value["currency"].as_str().unwrap_or_default(),
                value["amount"].as_str().unwrap_or_default()
            )
        };
        let held: Vec<String> = self
            .held_back_by_reason
            .iter()
            .map(|(reason, count)| format!("{count} {}", reason.replace('_', " ")))
            .collect();
        eprintln!(
            "\nAoraki Mail, October 2026: a fail-over went wrong, and for 22 hours half of the customers could not receive mail.\n\n\
             \x20 {accounts:>9} accounts, {affected} of them with downtime that counts\n\
             \x20 {credited:>9} credited by one run that two people agreed to: {total}\n\
             \x20 {held_back:>9} held back: {held}\n\
             \x20 {nothing:>9} owed nothing, and the page says why\n\n\
             Harbour Freight Brokers was down for {minutes}, so its mail worked for {uptime}: {computed}. It asked for {asked} more ({id});\n\
             an agent proposed {approved}, over her limit; a supervisor agreed.\n\n\
             Billing pulled {pulled} of {issued} credits and answered {answered}. Control totals {agree}; the chain {chain}.\n\n\
             \x20 {url}/sign-in    pick a person: Hana (customer), Mere (agent), Wiremu (supervisor)\n\
             \x20 {url}/docs       the API\n",
            accounts = self.accounts,
            affected = self.affected_accounts,
            credited = self.credited_accounts,
            total = money(&self.run_total),
            held_back = self.held_back_accounts,
            held = held.join(", "),
            nothing = self.nothing_due_accounts,
            minutes = crate::http::pages::fmt::minutes(self.minutes_down),
            uptime = self.uptime,
            computed = money(&self.claim.computed),
            asked = money(&self.claim.asked),
            id = self.claim.id.as_str().unwrap_or_default(),
            approved = money(&self.claim.approved),
            pulled = self.feed_pulled,
            issued = self.credits_issued,
            answered = self.feed_acknowledged,
            agree = if self.control_totals_agree { "agree" } else { "DIFFER" },
            chain = if self.chain_verified { "verifies" } else { "IS BROKEN" },
        );
    }
}

pub async fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let opened = database::open(&database_args(args)).await?;
    database::refuse_powerful_role(&opened.pool).await?;
    let owner = opened.owner.clone().context("the demo needs the owner's database too")?;
    crate::store::setup::migrate(&owner).await?;
    let before = check_ours(&opened, args).await?;
    let clock = Clock::with_offset(before.as_ref().map_or(0, |demo| demo.clock_offset_micros));
    let (issuer, config) = DemoIssuer::new(&opened.keys_dir)?;
    let key = MachineKey::load_or_create(&opened.keys_dir)?;
    let issuers = Issuers::load(&config).await?.with_machines(&key);
    let app = App::new(opened.pool.clone(), clock.clone(), Arc::new(issuers)).with_demo(people::to_pick());
    let serving = Serving::start(app, SocketAddr::from((Ipv4Addr::LOCALHOST, args.port)), None).await?;
    let url = format!("http://{}", serving.address);
    let is_told = before.is_some_and(|demo| demo.finished);
    let mut machines = Machines { opened: &opened, key: &key, clock: &clock, made: Vec::new() };
    let tokens = if is_told { Tokens::default() } else { machines.tokens().await? };
    let story = Story {
        client: Client::new(&url)?,
        issuer: &issuer,
        clock: clock.clone(),
        pool: &opened.pool,
        owner: &owner,
        scale: args.scale,
        ingest: tokens.ingest,
        files: tokens.files,
        billing: tokens.billing,
        bar: progress(10),
        seconds: Seconds::default(),
    };
    let told = tell(story, is_told, &url, args.json).await;
    machines.revoke().await?;
    told?;
    if !args.exit {
        eprintln!("Ctrl-C ends it; the data stays in {}", database_args(args).data_dir().display());
        stop_signal().await?;
    }
    serving.stop().await;
    // Nothing is left for the next start to number.
    while sequence_feed(&opened.pool, 0, clock.now()).await? > 0 {}
    opened.pool.close().await;
    owner.close().await;
    Ok(())
}

async fn tell(mut story: Story<'_>, is_told: bool, url: &str, as_json: bool) -> anyhow::Result<()> {
    if !is_told {
        story.tell().await?;
    }
    story.bar.finish_and_clear();
    let summary = summary::read(&story).await?;
    summary.print(url);
    if as_json {
        println!("{}", serde_json::to_string(&summary)?);
    }
    summary.check(!is_told)
}

/// The demo never touches the database that `DATABASE_URL` names.
fn database_args(args: &DemoArgs) -> DatabaseArgs {
    let data_dir = args.data_dir.clone().unwrap_or_else(|| {
        let folder = format!("makegood-demo-{}-{}", args.scale.name(), rustix::process::geteuid().as_raw());
        std::env::temp_dir().join(folder)
    });
    DatabaseArgs {
        database_url: args.database_url.clone(),
        owner_url: args.owner_url.clone(),
        data_dir: Some(data_dir),
    }
}

/// An empty database becomes the demo's; one that is neither empty nor a demo's, or of another size, is left alone.
async fn check_ours(opened: &Opened, args: &DemoArgs) -> anyhow::Result<Option<operator::Demo>> {
    let mut conn = opened.pool.acquire().await?;
    let before = operator::demo(&mut conn).await?;
    match &before {
        Some(demo) if demo.scale != args.scale.name() => {
            bail!("this is a demo of scale {}: choose another data folder with --data", demo.scale)
        }
        Some(_) => {}
        None if operator::find(&mut conn).await?.is_some() => {
            bail!("this database has an operator already and is no demo's: nothing was changed")
        }
        None => {
            let demo = operator::Demo { scale: args.scale.name().to_owned(), clock_offset_micros: 0, finished: false };
            operator::put_demo(&mut conn, &demo).await?;
        }
    }
    Ok(before)
}

/// Tokens for the machines of the story, taken back when it is told.
struct Machines<'a> {
    opened: &'a Opened,
    key: &'a MachineKey,
    clock: &'a Clock,
    made: Vec<uuid::Uuid>,
}

/// What the machines of the story carry; nothing where the story was told before, so that another start writes nothing.
#[derive(Default)]
struct Tokens {
    ingest: [String; 2],
    files: String,
    billing: String,
}

impl Machines<'_> {
    async fn tokens(&mut self) -> anyhow::Result<Tokens> {
        Ok(Tokens {
            ingest: [
                self.token(Role::Ingest, "monitor-north").await?,
                self.token(Role::Ingest, "monitor-south").await?,
            ],
            files: self.token(Role::Ingest, "customer-records").await?,
            billing: self.token(Role::Billing, "billing").await?,
        })
    }

    async fn token(&mut self, role: Role, source: &str) -> anyhow::Result<String> {
        let actor = super::administrator("demo");
        let args = CreateArgs { role, source: source.to_owned(), expires: DAY };
        let created = token::create(&self.opened.pool, self.key, self.clock, &actor, &args).await?;
        self.made.push(created.listed.jti);
        Ok(created.token)
    }

    async fn revoke(&self) -> anyhow::Result<()> {
        let actor = super::administrator("demo");
        for jti in &self.made {
            token::revoke(&self.opened.pool, self.clock, &actor, &token::RevokeArgs { jti: *jti }).await?;
        }
        Ok(())
    }
}

/// A bar on a terminal; nothing where nobody looks.
fn progress(steps: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(steps);
    bar.enable_steady_tick(Duration::from_millis(100));
    if let Ok(style) = ProgressStyle::with_template("{spinner} {bar:30} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    bar
}
