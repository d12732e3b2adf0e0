//! `makegood soak`: writers, billing systems and faults for a chosen time, on a private PostgreSQL, with an oracle that looks at every
//! promise. docs/soak.md says what is done and what is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use self::billing::{Billing, Books};
use self::people::Issuer;
use self::servers::{Keeper, Slot};
use self::world::World;
use super::administrator;
use super::database::{self, DatabaseArgs, Opened};
use super::serve::stop_signal;
use super::token::{self, CreateArgs};
use crate::clock::Clock;
use crate::domain::actor::Role;
use crate::domain::time::DAY;
use crate::failpoint;
use crate::http::auth::MachineKey;
use crate::store::setup;
use crate::store::{oracle, snapshot};

mod ask;
mod billing;
mod checks;
mod deeds;
mod faults;
mod issue;
mod people;
mod servers;
mod world;

/// How many servers run side by side: two, so that there are two sequencers.
const SERVERS: usize = 2;
/// How long everything may take to come to rest once the storm is over.
const REST: Duration = Duration::from_secs(240);
/// How often the oracle looks, and how often is told how far it is.
const LOOK: Duration = Duration::from_secs(60);
const TELL: Duration = Duration::from_secs(15);

#[derive(Debug, Args)]
pub struct SoakArgs {
    /// How long faults go on, in minutes.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub minutes: u64,
    /// How long in seconds, in place of minutes: for a first look.
    #[arg(long, conflicts_with = "minutes", value_parser = clap::value_parser!(u64).range(5..=3_600))]
    pub seconds: Option<u64>,
    /// The seed of all that is chosen; a new one unless named. It is printed first and last.
    #[arg(long)]
    pub seed: Option<u64>,
    /// How many write at once.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub writers: u64,
    /// How many accounts they write to.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub accounts: u64,
    /// Where the private PostgreSQL and the servers' logs are kept: a new folder, removed at the end if nothing is broken.
    #[arg(long = "data", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// How far a soak is. Each phase begins when what belongs to the one before has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Writers write, and faults happen.
    Storm,
    /// Deeds under way come to their end; nothing is killed any more.
    Calm,
    /// Everything is numbered: billing pulls and answers the last.
    Drained,
    Over,
}

/// What all parts of a soak share.
#[derive(Debug)]
pub struct Soak {
    pub opened: Opened,
    pub world: World,
    pub issuer: Issuer,
    pub http: reqwest::Client,
    pub servers: Vec<Slot>,
    pub ledger: Ledger,
    pub clock: Clock,
    pub phase: watch::Sender<Phase>,
}

impl Soak {
    /// Where one of the servers answers; none while all are down.
    pub async fn server(&self, rng: &mut fastrand::Rng) -> Option<String> {
        let up: Vec<String> = self.servers.iter().filter_map(|slot| slot.url.borrow().clone()).collect();
        rng.choice(up)
    }
}

/// What was acknowledged, and what was found to be broken.
#[derive(Debug, Default)]
pub struct Ledger {
    counts: Mutex<BTreeMap<&'static str, u64>>,
    /// Fail points that stopped a server.
    pub points: Mutex<BTreeMap<String, u64>>,
    broken: Mutex<Vec<String>>,
    /// Credits with their gross amounts in minor units.
    pub credits: Mutex<BTreeMap<Uuid, i64>>,
    /// Claims by reference, with their state and what they give in minor units.
    pub claims: Mutex<BTreeMap<String, (&'static str, Option<i64>)>>,
    /// Billing's answers: credit, kind, reference.
    pub answers: Mutex<BTreeSet<(Uuid, String, String)>>,
    /// Credits that billing refused: they are with finance.
    pub refused: Mutex<BTreeSet<Uuid>>,
    /// Credits that somebody takes back or settles, or did: nobody else does, and billing's answers may come too late.
    pub taken: Mutex<BTreeSet<Uuid>>,
    /// Credits whose reversal was acknowledged.
    pub reversed: Mutex<BTreeSet<Uuid>>,
}

/// The value, whoever panicked while holding it.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    pub fn count(&self, what: &'static str) {
        *locked(&self.counts).entry(what).or_default() += 1;
    }

    /// Notes a broken promise. The first fifty are kept.
    pub fn broke(&self, words: String) {
        let mut broken = locked(&self.broken);
        if broken.len() < 50 {
            eprintln!("BROKEN: {words}");
            broken.push(words);
        }
    }

    fn is_broken(&self) -> bool {
        !locked(&self.broken).is_empty()
    }

    fn sum(&self, prefix: &str) -> u64 {
        locked(&self.counts).iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, count)| count).sum()
    }
}

/// Soaks, prints what came of it, and fails where a promise was broken.
pub async fn run(args: &SoakArgs) -> anyhow::Result<ExitCode> {
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("makegood soak: seed {seed}");
    if !failpoint::BUILT_IN {
        eprintln!(
            "this build has no fail points: servers are killed at any moment only (cargo feature failpoints has them)"
        );
    }
    let folder = args
        .data_dir
        .clone()
        .unwrap_or_else(|| std::env::temp_dir().join(format!("makegood-soak-{}", Uuid::now_v7().simple())));
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let length = args.seconds.map_or(Duration::from_secs(args.minutes * 60), Duration::from_secs);
    let report = soak(args, seed, length, folder.clone()).await;
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            eprintln!("the soak could not be carried through, with seed {seed}; its files are in {}", folder.display());
            return Err(error);
        }
    };
    println!("{}", serde_json::to_string_pretty(&report)?);
    let broken = report["broken"].as_array().map_or(0, Vec::len);
    if broken > 0 {
        eprintln!(
            "{broken} promises were broken, with seed {seed}; the database and the logs are in {}",
            folder.display()
        );
        return Ok(ExitCode::FAILURE);
    }
    remove(folder).await;
    eprintln!("nothing was broken, with seed {seed}");
    Ok(ExitCode::SUCCESS)
}

/// Removes the folder once the database's supervisor has ended it, a second after its last user.
async fn remove(folder: PathBuf) {
    let (running, began) = (folder.join("postgres/data/postmaster.pid"), Instant::now());
    while running.exists() && began.elapsed() < Duration::from_secs(60) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let _ = std::fs::remove_dir_all(folder);
}

async fn soak(args: &SoakArgs, seed: u64, length: Duration, folder: PathBuf) -> anyhow::Result<Value> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let private = DatabaseArgs { database_url: None, owner_url: None, data_dir: Some(folder.clone()) };
    let opened = database::open(&private).await?;
    let world = world::furnish(&opened.pool, usize::try_from(args.accounts)?).await?;
    let issuer = Issuer::new(&folder)?;
    let key = MachineKey::load_or_create(&opened.keys_dir)?;
    let clock = Clock::real();
    let mut tokens = Vec::new();
    for source in ["billing", "warehouse"] {
        let create = CreateArgs { role: Role::Billing, source: source.to_owned(), expires: 30 * DAY };
        tokens.push((source, token::create(&opened.pool, &key, &clock, &administrator("soak"), &create).await?.token));
    }
    let database_url = opened.cluster.as_ref().context("a private PostgreSQL")?.url(setup::SERVER, database::DATABASE);
    let (mut slots, mut keepers) = (Vec::new(), Vec::new());
    for index in 0..SERVERS {
        let (kill, killed) = mpsc::channel(1);
        slots.push(Slot { url: watch::Sender::new(None), kill });
        keepers.push(Keeper {
            index,
            killed,
            rng: rng.fork(),
            database_url: database_url.clone(),
            issuers: issuer.file.clone(),
            folder: folder.clone(),
        });
    }
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let soak = Arc::new(Soak {
        opened,
        world,
        issuer,
        http,
        servers: slots,
        ledger: Ledger::default(),
        clock,
        phase: watch::Sender::new(Phase::Storm),
    });
    let mut kept = JoinSet::new();
    for keeper in keepers {
        kept.spawn(keeper.keep(soak.clone()));
    }
    let mut writers = JoinSet::new();
    for writer in 0..usize::try_from(args.writers)? {
        writers.spawn(deeds::write(soak.clone(), writer, rng.fork()));
    }
    let months = u32::try_from(soak.world.months.len())?;
    writers.spawn(deeds::run_credits(soak.clone(), rng.fork(), length / (months + 1)));
    writers.spawn(faults::rage(soak.clone(), rng.fork(), (length / 6).min(Duration::from_secs(20))));
    let mut consumers: JoinSet<(&str, Books)> = JoinSet::new();
    for (name, token) in tokens {
        let billing = Billing::new(soak.clone(), rng.fork(), token, name == "billing");
        consumers.spawn(async move { (name, billing.run().await) });
    }

    let looks = storm(&soak, length).await?;
    soak.phase.send_replace(Phase::Calm);
    while writers.join_next().await.is_some() {}
    come_to_rest(&soak).await?;
    soak.phase.send_replace(Phase::Drained);
    let mut kept_books = Vec::new();
    while let Some(books) = consumers.join_next().await {
        kept_books.push(books?);
    }
    // What billing answered last is numbered too.
    come_to_rest(&soak).await?;
    soak.phase.send_replace(Phase::Over);
    while kept.join_next().await.is_some() {}
    let found = checks::look(&soak, true).await?;
    found.broken.iter().for_each(|words| soak.ledger.broke(words.clone()));
    for (name, books) in &kept_books {
        checks::compare(&soak, name, books).await?.into_iter().for_each(|words| soak.ledger.broke(words));
    }
    let report = report(args, seed, length, &soak, &found, looks + 1);
    soak.opened.pool.close().await;
    if let Some(owner) = &soak.opened.owner {
        owner.close().await;
    }
    Ok(report)
}

/// Waits for the end of the storm, looks at the books by turns, and says how far it is. Ends early once a promise is broken, or
/// somebody says so. Gives the number of looks.
async fn storm(soak: &Arc<Soak>, length: Duration) -> anyhow::Result<u64> {
    let began = Instant::now();
    let mut looks = 0;
    let every = LOOK.min(length / 3);
    let (mut look, mut tell) = (tokio::time::interval(every), tokio::time::interval(TELL));
    look.tick().await;
    tell.tick().await;
    let mut end = std::pin::pin!(tokio::time::sleep(length));
    let mut stopped = std::pin::pin!(stop_signal());
    loop {
        tokio::select! {
            () = &mut end => return Ok(looks),
            done = &mut stopped => {
                done?;
                return Ok(looks);
            }
            _ = tell.tick() => say(soak, began.elapsed(), length)?,
            _ = look.tick() => match checks::look(soak, false).await {
                Ok(found) => {
                    looks += 1;
                    found.broken.into_iter().for_each(|words| soak.ledger.broke(words));
                }
                // The database may have been killed under it.
                Err(_) => soak.ledger.count("looks that were cut off"),
            },
        }
        if soak.ledger.is_broken() {
            return Ok(looks);
        }
    }
}

fn say(soak: &Soak, passed: Duration, length: Duration) -> std::io::Result<()> {
    let ledger = &soak.ledger;
    writeln!(
        std::io::stderr(),
        "{} of {} s: {} deeds, {} credits and {} claims acknowledged, {} answers, {} faults, {} fail points",
        passed.as_secs(),
        length.as_secs(),
        ledger.sum("deeds"),
        locked(&ledger.credits).len(),
        locked(&ledger.claims).len(),
        locked(&ledger.answers).len(),
        ledger.sum("faults"),
        ledger.sum("fail points"),
    )
}

/// Waits until nothing is under way any more: every event has its number, every decision is posted, every run applied.
async fn come_to_rest(soak: &Soak) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let under_way = match snapshot::open(&soak.opened.pool).await {
            Ok(mut tx) => oracle::under_way(&mut tx).await?,
            Err(error) if error.is_unavailable() => 1,
            Err(error) => return Err(error.into()),
        };
        if under_way == 0 {
            return Ok(());
        }
        if began.elapsed() > REST {
            soak.ledger.broke(format!("{under_way} events, decisions or runs are still under way after {REST:?}"));
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn report(args: &SoakArgs, seed: u64, length: Duration, soak: &Soak, found: &checks::Found, looks: u64) -> Value {
    let ledger = &soak.ledger;
    json!({
        "seed": seed,
        "seconds": length.as_secs(),
        "writers": args.writers,
        "accounts": args.accounts,
        "servers": SERVERS,
        "fail_points_built_in": failpoint::BUILT_IN,
        "acknowledged": {
            "credits": locked(&ledger.credits).len(),
            "claims": locked(&ledger.claims).len(),
            "answers": locked(&ledger.answers).len(),
            "reversals": locked(&ledger.reversed).len(),
        },
        "credits": found.credits,
        "credited_minor": found.credited_minor,
        "feed_items": found.feed_items,
        "chain_rows": found.chain_rows,
        "looks": looks,
        "counts": *locked(&ledger.counts),
        "fail_points": *locked(&ledger.points),
        "broken": *locked(&ledger.broken),
    })
}
