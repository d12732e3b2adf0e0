//! `p2-credit-run`, `p2-feed-lag` and `p2-scale`: many credits at once.
//!
//! `p2-feed-lag` is how long after the end of a run the last of its credits is numbered and pullable, where one task
//! numbers while others issue, as in a service, beside the time that the same run took. How long all of the numbering takes when nothing
//! else is done is a fact beside it.
//!
//! The floor of a run is a binary COPY of the very rows that it wrote (credits, transfers, audit, outbox) into tables like ours
//! with all their keys and checks, in one transaction, on the same server and in turn with ours. What ours does besides: it reads
//! its plan, locks and counts up each account, looks for credits that were issued before, and commits in batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant as Stopwatch};

use anyhow::{Context, ensure};

use super::served::Served;
use super::{Bench, BenchArgs, Figure, Report, Target, Thousandths, median};
use crate::cli::administrator;
use crate::clock::Clock;
use crate::domain::actor::{Actor, Role};
use crate::domain::ids::CreditRunId;
use crate::domain::money::Money;
use crate::domain::operator::Operator;
use crate::domain::period::Month;
use crate::domain::time::DAY;
use crate::flows::apply_credit_run::{WORKERS, apply_run};
use crate::flows::approve_credit_run::{ApproveCreditRun, approve_credit_run};
use crate::flows::once::IdempotencyKey;
use crate::flows::sequence_feed::Sequencer;
use crate::flows::set_up_operator::set_up_operator;
use crate::store::floor_credits::{self, Plan};
use crate::store::{feed, runs};

/// The most that the service may hold in memory, in MiB.
const MEMORY: u64 = 256;
/// How many credits are issued one by one, each in a transaction of its own by the same two workers, to see what one takes so.
const FEW: i64 = 2_000;
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
    let start = Stopwatch::now();
    let issued = apply_run(&served.opened.pool, run, || Some(Clock::real().now())).await?;
    let took = start.elapsed();
    ensure!(i64::try_from(issued)? == credits, "{issued} of {credits} credits were issued");
    Ok(took)
}

/// Numbers all that waits, and says how long that took.
async fn numbered(served: &Served) -> anyhow::Result<Duration> {
    let start = Stopwatch::now();
    let mut sequencer = Sequencer::new(feed::LANE);
    while sequencer.step(&served.opened.pool, Clock::real().now()).await? > 0 {}
    Ok(start.elapsed())
}

/// Applies a run while another task numbers what it issues, as in a service, and says how long the run took, and how long after its end
/// the last was numbered.
async fn beside(served: &Served, run: CreditRunId, credits: i64) -> anyhow::Result<(Duration, Duration)> {
    let ended = Arc::new(AtomicBool::new(false));
    let numbering = tokio::spawn({
        let (pool, ended) = (served.opened.pool.clone(), Arc::clone(&ended));
        async move {
            let mut sequencer = Sequencer::new(feed::LANE);
            loop {
                // What was committed before is seen by a step that begins after.
                let is_last = ended.load(Ordering::SeqCst);
                if sequencer.step(&pool, Clock::real().now()).await? > 0 {
                    continue;
                }
                if is_last {
                    return anyhow::Ok(Stopwatch::now());
                }
                tokio::task::yield_now().await;
            }
        }
    });
    let took = applied(served, run, credits).await?;
    let end = Stopwatch::now();
    ended.store(true, Ordering::SeqCst);
    Ok((took, numbering.await??.saturating_duration_since(end)))
}

/// Applies plans of `--size` credits, numbers them, and copies the same rows.
pub(super) async fn run(args: &BenchArgs) -> anyhow::Result<Report> {
    let credits = i64::from(args.size);
    let served = ready(credits, true).await?;
    let (mut ours, mut least, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    let (mut beside_it, mut lag) = (Vec::new(), Vec::new());
    let mut rows: Vec<Vec<u8>> = Vec::new();
    for round in 0..=args.rounds {
        let run = fresh(&served, credits, &format!("round-{round}")).await?;
        if round == 0 {
            // The first fills the caches and makes the floor's rows; its times do not count.
            applied(&served, run, credits).await?;
            rows = floor_credits::rows(&served.opened.pool).await?;
            numbered(&served).await?;
            continue;
        }
        if round % 2 == 0 {
            ours.push(applied(&served, run, credits).await?);
            alone.push(numbered(&served).await?);
            least.push(copied(&served, &rows).await?);
        } else {
            least.push(copied(&served, &rows).await?);
            ours.push(applied(&served, run, credits).await?);
            alone.push(numbered(&served).await?);
        }
        // Applied once more, it issues nothing.
        ensure!(apply_run(&served.opened.pool, run, || Some(Clock::real().now())).await? == 0, "a run went on");
        let run = fresh(&served, credits, &format!("beside-{round}")).await?;
        let (took, after) = beside(&served, run, credits).await?;
        beside_it.push(took);
        lag.push(after);
    }
    let bytes: usize = rows.iter().map(Vec::len).sum();
    let few = credits.min(FEW);
    let run = fresh(&served, few, "one-by-one").await?;
    floor_credits::cut_one_by_one(&served.opened.pool, served.owner()?, run).await?;
    let one_by_one = applied(&served, run, few).await?.as_micros() / u128::try_from(few.max(1))?;
    let (ours, least) = (median(ours), median(least));
    Ok(Report {
        bench: Bench::P2CreditRun,
        facts: vec![
            ("credits", credits.into()),
            ("workers", WORKERS.into()),
            ("bytes", bytes.into()),
            ("rows_of_the_floor", (credits * 5).into()),
            ("one_by_one_us", u64::try_from(one_by_one)?.into()),
            (
                "times_faster_than_one_by_one",
                u64::try_from(one_by_one * u128::try_from(credits)? / ours.as_micros().max(1))?.into(),
            ),
            ("numbered_alone_ms", u64::try_from(median(alone).as_millis())?.into()),
        ],
        figures: vec![
            Figure::of_times("p2-credit-run", ours, least, Target::RatioThousandths(1_350)),
            Figure::of_times("p2-feed-lag", median(lag), median(beside_it), Target::Ratio(1)),
        ],
    })
}

/// An approved plan on books that are empty but for what the approval wrote, which is numbered.
async fn fresh(served: &Served, credits: i64, name: &str) -> anyhow::Result<CreditRunId> {
    floor_credits::forget_books(served.owner()?).await?;
    let run = approved(served, credits, name).await?;
    numbered(served).await?;
    Ok(run)
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
            Figure::of_times("p2-scale", median(of_large), median(of_small), Target::Ratio(LONGER)),
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
    numbered(served).await?;
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
