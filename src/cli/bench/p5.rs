//! `p5-load`, `p5-moves` and `p5-memory`: files of placements over HTTP into a served makegood with a private PostgreSQL.
//!
//! The floor of a load is what any way of adding rows to a table with a primary key takes that does not own the table: a binary COPY into
//! staging and one INSERT from there, in the order of the key, on the same server and in turn with ours. What the table's owner could
//! do while nobody uses it, copy the rows and build the key afterwards, is a fact beside it.

use std::time::{Duration, Instant as Stopwatch};

use anyhow::ensure;
use futures_util::stream;

use super::served::Served;
use super::{Bench, BenchArgs, Figure, Report, Target, Thousandths, generate, median};
use crate::cli::ingest::Noun;
use crate::domain::ids::AccountId;
use crate::domain::time::{Instant, SECOND};
use crate::store::floor::Placed;
use crate::store::{copy, floor};

/// The most that the service may hold in memory, in MiB.
const MEMORY: u64 = 128;
/// One move in so many mailboxes is a day's change.
const MOVED: i64 = 100;
/// The most that one move may take, in microseconds: 30,000 a second.
const MOVE: u64 = 33;
/// Bytes are sent in pieces of this size.
const PIECE: usize = 256 * 1024;

/// A file and the same rows as the floor takes them.
struct File {
    lines: u64,
    text: Vec<u8>,
    rows: Vec<u8>,
}

/// A file while it is written.
#[derive(Default)]
struct Writer {
    lines: u64,
    text: Vec<u8>,
    rows: copy::Rows,
}

impl Writer {
    fn put(&mut self, account: i64, mailbox: i64, shard: u32, from: Instant, to: Option<Instant>) {
        let end = to.map_or_else(String::new, |to| format!(",\"valid_to\":\"{to}\""));
        let line = format!(
            "{{\"account\":\"{account}\",\"mailbox\":\"{mailbox}\",\"shard\":\"{shard}\",\"valid_from\":\"{from}\"{end},\"source\":\"directory\"}}\n"
        );
        self.text.extend_from_slice(line.as_bytes());
        let (account, mailbox, shard) = (AccountId::of(&account.to_string()), mailbox.to_string(), shard.to_string());
        let placed = Placed { account, mailbox: &mailbox, source: "directory", from, to, shard: &shard };
        floor::put(&mut self.rows, placed);
        self.lines += 1;
    }

    fn end(mut self) -> File {
        self.rows.end();
        File { lines: self.lines, text: self.text, rows: self.rows.take() }
    }
}

/// Loads, moves, and says how long each took beside its floor.
pub(super) async fn load(args: &BenchArgs) -> anyhow::Result<Report> {
    let mut file = Writer::default();
    // Who moves: every so many-th mailbox, from where it lived last.
    let mut movers: Vec<(i64, i64, u32)> = Vec::new();
    let accounts = generate::placements(usize::try_from(args.size)?, |account, mailbox, shard, stay| {
        let to = (stay.end() != Instant::MAX).then_some(stay.end());
        file.put(account, mailbox, shard, stay.start(), to);
        let is_new = movers.last().is_none_or(|(_, last, _)| *last != mailbox);
        if mailbox % MOVED == 0 && is_new {
            movers.push((account, mailbox, shard));
        }
        Ok(())
    })?;
    let file = file.end();
    let served = Served::start().await?;
    served.load_accounts(accounts).await?;
    let owner = served.owner()?;
    let (mut ours, mut least, mut built) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..args.rounds {
        floor::forget_placements(owner).await?;
        if round % 2 == 0 {
            ours.push(sent(&served, &file).await?);
            least.push(copied(&served, &file).await?);
        } else {
            least.push(copied(&served, &file).await?);
            ours.push(sent(&served, &file).await?);
        }
        let start = Stopwatch::now();
        floor::copy_and_key(owner, &file.rows).await?;
        built.push(start.elapsed());
    }
    // As the database would by itself, before the day is over.
    floor::look_at_placements(owner).await?;
    let (mut moves, mut least_moves) = (Vec::new(), Vec::new());
    let at = generate_moves_at();
    for round in 0..args.rounds {
        let mut file = Writer::default();
        for (account, mailbox, shard) in &movers {
            let shard = 1 + (shard + round) % u32::try_from(generate::SHARDS)?;
            file.put(*account, *mailbox, shard, at.plus(i64::from(round) * SECOND), None);
        }
        let file = file.end();
        moves.push(sent(&served, &file).await?);
        least_moves.push(copied(&served, &file).await?);
    }
    let moved = u128::try_from(movers.len())?;
    ensure!(moved > 0, "so few mailboxes have no move: take a larger --size");
    Ok(Report {
        bench: Bench::P5Load,
        facts: vec![
            ("seed", generate::SEED.into()),
            ("mailboxes", args.size.into()),
            ("placements", file.lines.into()),
            ("accounts", accounts.into()),
            ("shards", generate::SHARDS.into()),
            ("moves", movers.len().into()),
            ("key_built_ms", u64::try_from(median(built).as_millis())?.into()),
        ],
        figures: vec![
            Figure::of_times("p5-load", median(ours), median(least), Target::Ratio(2)),
            Figure {
                name: "p5-moves",
                ours: Thousandths::of(median(moves).as_micros(), moved),
                floor: Thousandths::of(median(least_moves).as_micros(), moved),
                unit: "us/move",
                target: Target::Ours(MOVE),
            },
            peak("p5-peak", &served, file.text.len())?,
        ],
    })
}

/// After every stay that [`generate`] makes.
fn generate_moves_at() -> Instant {
    Instant::MIN.plus(60 * 365 * crate::domain::time::DAY)
}

/// What the service held at most, beside what the file would have taken.
fn peak(name: &'static str, served: &Served, file: usize) -> anyhow::Result<Figure> {
    Ok(Figure {
        name,
        ours: Thousandths::of(served.peak_kib()?.into(), 1_024),
        floor: Thousandths::of(u128::try_from(file)?, 1_024 * 1_024),
        unit: "MiB",
        target: Target::Ours(MEMORY),
    })
}

/// Loads a file that is made as it is sent, of `--size` placements, and fails if the service took more memory than it may.
pub(super) async fn memory(args: &BenchArgs) -> anyhow::Result<Report> {
    const LINES: i64 = 2_000;
    let size = i64::from(args.size);
    let accounts = (size / 10).max(1);
    let served = Served::start().await?;
    served.load_accounts(accounts).await?;
    let line = move |number: i64| {
        let (account, shard) = (1 + number * accounts / size, 1 + number % 200);
        format!(
            "{{\"account\":\"{account}\",\"mailbox\":\"m-{number:09}\",\"shard\":\"{shard}\",\"valid_from\":\"2026-01-01T00:00:00Z\",\"source\":\"directory\"}}\n"
        )
    };
    let piece = move |first: i64| (first..size.min(first + LINES)).map(line).collect::<String>().into_bytes();
    let length = usize::try_from(size)? * line(0).len();
    let pieces = (0..size).step_by(usize::try_from(LINES)?).map(move |first| Ok(piece(first)));
    let start = Stopwatch::now();
    served.load(Noun::Placements, u64::try_from(size)?, stream::iter(pieces)).await?;
    let took = start.elapsed();
    let figure = peak("p5-memory", &served, length)?;
    ensure!(
        figure.ours.0 <= u128::from(MEMORY) * 1_000,
        "for a file of {size} placements the service took {} MiB of memory, more than {MEMORY}",
        figure.ours
    );
    Ok(Report {
        bench: Bench::P5Memory,
        facts: vec![("placements", size.into()), ("accounts", accounts.into()), ("seconds", took.as_secs().into())],
        figures: vec![figure],
    })
}

async fn sent(served: &Served, file: &File) -> anyhow::Result<Duration> {
    // The bytes are made ready before the watch starts.
    let pieces: Vec<_> = file.text.chunks(PIECE).map(|piece| Ok(piece.to_vec())).collect();
    let start = Stopwatch::now();
    served.load(Noun::Placements, file.lines, stream::iter(pieces)).await?;
    Ok(start.elapsed())
}

async fn copied(served: &Served, file: &File) -> anyhow::Result<Duration> {
    let owner = served.owner()?;
    floor::open(owner).await?;
    let start = Stopwatch::now();
    floor::stage_and_insert(owner, &file.rows).await?;
    Ok(start.elapsed())
}
