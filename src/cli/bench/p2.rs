//! `p2-credit-run`, `p2-feed-lag` and `p2-scale`: many credits at once.
//!
//! The floor of a run is a binary COPY of the very rows that it wrote (credits, transfers, audit, outbox) into tables like ours
//! with all their keys and checks, in one transaction, on the same server and in turn with ours. What ours does besides: it reads
//! its plan, locks and counts up each account, looks for credits that were issued before, and commits in batches.

use std::time::{Duration, Instant as Stopwatch};

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;

use super::served::Served;
use super::{Bench, BenchArgs, Figure, Report, Target, Thousandths, median};
use crate::cli::administrator;
use crate::clock::Clock;
use crate::domain::actor::{Actor, Role};
use crate::domain::ids::CreditRunId;
use crate::domain::money::Money;
use crate::domain::operator::Operator;
use crate::domain::period::Month;
use crate::domain::time::{DAY, Instant};
use crate::flows::apply_credit_run::{Step, WORKERS, apply_step};
use crate::flows::approve_credit_run::{ApproveCreditRun, approve_credit_run};
use crate::flows::once::IdempotencyKey;
use crate::flows::sequence_feed::sequence_feed;
use crate::flows::set_up_operator::set_up_operator;
use crate::store::floor_credits::{self, Plan};
use crate::store::{feed, runs};

/// The most that the service may hold in memory, in MiB.
const MEMORY: u64 = 256;
/// By how much a large run is larger, and by how much it may take longer.
const LARGER: i64 = 10;
const LONGER: u64 = 11;

fn operator() -> anyhow::Result<Operator> {
    Ok(serde_saphyr::from_str(include_str!("../../../assets/operator.yaml"))?)
}

fn supervisor(name: &str) -> Actor {
    Actor { issuer: "bench".to_owned(), roles: [Role::Supervisor].into(), ..crate::flows::system_actor(name) }
}

/// A plan that was approved and waits to be applied.
async fn approved(served: &Served, credits: i64, name: &str) -> anyhow::Result<CreditRunId> {
    let now = Clock::real().now();
    let period = Month::new(2026, 6).context("June 2026 is a month")?;
    let run = CreditRunId::of("bench", name);
    let plan = Plan { run, period, credits, now, expires: now.plus(DAY) };
    let total = floor_credits::make_plan(&served.opened.pool, served.owner()?, plan).await?;
    let total = Money::from_minor(total, operator()?.currency)?.digits();
    let key = IdempotencyKey { key: name.to_owned(), fingerprint: [0; 32] };
    let approver = supervisor("wiremu");
    approve_credit_run(&served.opened.pool, now, &approver, &key, run, ApproveCreditRun { total }).await?;
    Ok(run)
}

async fn ready(credits: i64, is_idle: bool) -> anyhow::Result<Served> {
    let served = if is_idle { Served::idle().await? } else { Served::start().await? };
    let now = Clock::real().now();
    set_up_operator(&served.opened.pool, now, &administrator("bench"), &operator()?).await?;
    floor_credits::make_accounts(&served.opened.pool, served.owner()?, credits, now).await?;
    Ok(served)
}

/// Applies a run as a server does, and says how long that took.
async fn applied(served: &Served, run: CreditRunId, credits: i64) -> anyhow::Result<Duration> {
    let (pool, now) = (&served.opened.pool, Clock::real().now());
    let start = Stopwatch::now();
    let worker = async || {
        let mut issued = 0;
        while let Step::Issued(count) = apply_step(pool, run, now).await? {
            issued += count;
        }
        anyhow::Ok(issued)
    };
    let issued: usize = try_join_all((0..WORKERS).map(|_| worker())).await?.into_iter().sum();
    // Whoever was busy when the last batch ended leaves the end of the run to this.
    ensure!(apply_step(pool, run, now).await? == Step::Done, "the run did not end");
    let took = start.elapsed();
    ensure!(i64::try_from(issued)? == credits, "{issued} of {credits} credits were issued");
    Ok(took)
}

async fn numbered(served: &Served, now: Instant) -> anyhow::Result<Duration> {
    let start = Stopwatch::now();
    while sequence_feed(&served.opened.pool, feed::LANE, now).await? > 0 {}
    Ok(start.elapsed())
}

/// Applies plans of `--size` credits, numbers them, and copies the same rows.
pub(super) async fn run(args: &BenchArgs) -> anyhow::Result<Report> {
    let credits = i64::from(args.size);
    let served = ready(credits, true).await?;
    let owner = served.owner()?;
    let (mut ours, mut least, mut lag) = (Vec::new(), Vec::new(), Vec::new());
    let mut rows: Vec<Vec<u8>> = Vec::new();
    for round in 0..=args.rounds {
        floor_credits::forget_books(owner).await?;
        let run = approved(&served, credits, &format!("round-{round}")).await?;
        // What the approval wrote is numbered before the watch starts.
        numbered(&served, Clock::real().now()).await?;
        if round == 0 {
            // The first fills the caches and makes the floor's rows; its times do not count.
            applied(&served, run, credits).await?;
            rows = floor_credits::rows(&served.opened.pool).await?;
            numbered(&served, Clock::real().now()).await?;
            continue;
        }
        if round % 2 == 0 {
            ours.push(applied(&served, run, credits).await?);
            lag.push(numbered(&served, Clock::real().now()).await?);
            least.push(copied(&served, &rows).await?);
        } else {
            least.push(copied(&served, &rows).await?);
            ours.push(applied(&served, run, credits).await?);
            lag.push(numbered(&served, Clock::real().now()).await?);
        }
        // Applied once more, it issues nothing.
        ensure!(apply_step(&served.opened.pool, run, Clock::real().now()).await? == Step::Done, "a run went on");
    }
    let bytes: usize = rows.iter().map(Vec::len).sum();
    let (ours, least, lag) = (median(ours), median(least), median(lag));
    Ok(Report {
        bench: Bench::P2CreditRun,
        facts: vec![
            ("credits", credits.into()),
            ("workers", WORKERS.into()),
            ("bytes", bytes.into()),
            ("rows_of_the_floor", (credits * 5).into()),
        ],
        figures: vec![
            Figure {
                name: "p2-credit-run",
                ours: Thousandths::of(ours.as_micros(), 1_000),
                floor: Thousandths::of(least.as_micros(), 1_000),
                unit: "ms",
                target: Target::RatioThousandths(1_350),
            },
            Figure {
                name: "p2-feed-lag",
                ours: Thousandths::of(lag.as_micros(), 1_000),
                floor: Thousandths::of(ours.as_micros(), 1_000),
                unit: "ms",
                target: Target::Ratio(1),
            },
        ],
    })
}

async fn copied(served: &Served, rows: &[Vec<u8>]) -> anyhow::Result<Duration> {
    let owner = served.owner()?;
    floor_credits::open(owner).await?;
    let start = Stopwatch::now();
    floor_credits::copy(owner, rows).await?;
    Ok(start.elapsed())
}

/// A run of `--size` credits and one of ten times as many, by a service of its own, which numbers at the same time.
pub(super) async fn scale(args: &BenchArgs) -> anyhow::Result<Report> {
    let small = i64::from(args.size);
    let large = small * LARGER;
    let served = ready(large, false).await?;
    let (mut of_small, mut of_large) = (Vec::new(), Vec::new());
    for round in 0..args.rounds {
        of_small.push(by_service(&served, small, &format!("small-{round}")).await?);
        of_large.push(by_service(&served, large, &format!("large-{round}")).await?);
    }
    Ok(Report {
        bench: Bench::P2Scale,
        facts: vec![("credits", small.into()), ("credits_of_the_large_run", large.into())],
        figures: vec![
            Figure {
                name: "p2-scale",
                ours: Thousandths::of(median(of_large).as_micros(), 1_000),
                floor: Thousandths::of(median(of_small).as_micros(), 1_000),
                unit: "ms",
                target: Target::Ratio(LONGER),
            },
            Figure {
                name: "p2-memory",
                ours: Thousandths::of(served.peak_kib()?.into(), 1_024),
                floor: Thousandths::of(1_000, 1_000),
                unit: "MiB",
                target: Target::Ours(MEMORY),
            },
        ],
    })
}

/// How long the service takes from the approval until all credits are issued.
async fn by_service(served: &Served, credits: i64, name: &str) -> anyhow::Result<Duration> {
    let pool = &served.opened.pool;
    // Nothing is left to number of the run before.
    while sequence_feed(pool, feed::LANE, Clock::real().now()).await? > 0 {}
    // The service looks for work all the time: whoever of the two was in the way is asked again.
    while let Err(error) = floor_credits::forget_books(served.owner()?).await {
        ensure!(error.is_unavailable(), error);
    }
    let run = approved(served, credits, name).await?;
    let start = Stopwatch::now();
    loop {
        let mut conn = pool.acquire().await?;
        let state = runs::find(&mut conn, run).await?.map(|run| run.state);
        if state == Some(runs::RunState::Applied) {
            return Ok(start.elapsed());
        }
        drop(conn);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
