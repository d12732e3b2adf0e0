//! `makegood bench`: how long our work takes, beside a floor that the same run measures on the same data.
//!
//! Seconds differ from machine to machine and from hour to hour; what is judged is the ratio, or a figure for each row. Nothing
//! is judged here: `docs/performance.md` keeps the figures. Numbers are whole or have three decimals, without floating point.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::ValueEnum;
use serde_json::{Value, json};

mod generate;
mod p1_core;
mod p2;
mod p4;
mod p5;
mod served;
mod world;

#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// One JSON object in place of a table.
    #[arg(long)]
    json: bool,
    /// Only this one.
    #[arg(long, value_name = "NAME")]
    only: Option<Bench>,
    /// How many mailboxes, or credits.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    size: u32,
    /// How often ours and its floor are measured, in turn; the median counts.
    #[arg(long, value_name = "R", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// Take the mailboxes and outages from accounts.csv, placements.csv, windows.csv, plans.csv and tiers.csv of this folder.
    #[arg(long, value_name = "FOLDER", conflicts_with = "size")]
    data: Option<PathBuf>,
}

/// The benches by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Bench {
    /// Downtime, uptime and credit of a month for every mailbox and account, in memory, on one thread
    P1Core,
    /// An approved run becomes credits with all that belongs to them, and its credits are numbered
    P2CreditRun,
    /// A run ten times as large, by a service of its own, and how much memory that takes
    P2Scale,
    /// A whole feed over HTTP by one consumer, and its last page beside its first
    P4Feed,
    /// A file of placements over HTTP into an empty table, and then a day's moves
    P5Load,
    /// How much memory the service takes for a file of placements that is made as it is sent; over 128 MiB is a failure
    P5Memory,
}

/// What one bench found.
#[derive(Debug)]
struct Report {
    bench: Bench,
    /// What it was measured on, and what came out, as names and values.
    facts: Vec<(&'static str, Value)>,
    figures: Vec<Figure>,
}

/// One line of the table. Less is better.
#[derive(Debug)]
struct Figure {
    name: &'static str,
    ours: Thousandths,
    floor: Thousandths,
    unit: &'static str,
    target: Target,
}

/// What a figure is to stay within.
#[derive(Clone, Copy, Debug)]
enum Target {
    /// Ours, in its unit.
    Ours(u64),
    /// The ratio.
    Ratio(u64),
    /// The ratio, in thousandths.
    RatioThousandths(u64),
}

impl Target {
    /// Which of the figure's values it is about, and the most that it may be, as digits.
    fn said(self) -> (&'static str, String) {
        match self {
            Target::Ours(most) => ("ours", most.to_string()),
            Target::Ratio(most) => ("ratio", most.to_string()),
            Target::RatioThousandths(most) => ("ratio", Thousandths(most.into()).to_string()),
        }
    }
}

/// A number with three decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Thousandths(u128);

impl Thousandths {
    /// `whole` divided by `parts`, which is not zero; the rest is cut.
    fn of(whole: u128, parts: u128) -> Self {
        Thousandths(whole * 1_000 / parts.max(1))
    }
}

impl std::fmt::Display for Thousandths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("{}.{:03}", self.0 / 1_000, self.0 % 1_000))
    }
}

impl Figure {
    /// Two times, in milliseconds.
    fn of_times(name: &'static str, ours: Duration, floor: Duration, target: Target) -> Self {
        let milliseconds = |time: Duration| Thousandths::of(time.as_micros(), 1_000);
        Figure { name, ours: milliseconds(ours), floor: milliseconds(floor), unit: "ms", target }
    }

    fn ratio(&self) -> Thousandths {
        Thousandths::of(self.ours.0, self.floor.0)
    }
}

/// Runs the benches and prints what they found.
pub async fn run(args: &BenchArgs) -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: its times say nothing; use cargo run --release");
    }
    let chosen = Bench::value_variants().iter().filter(|bench| args.only.is_none_or(|only| only == **bench));
    let mut reports = Vec::new();
    for bench in chosen {
        reports.push(match bench {
            Bench::P1Core => p1_core::run(args)?,
            Bench::P2CreditRun => p2::run(args).await?,
            Bench::P2Scale => p2::scale(args).await?,
            Bench::P4Feed => p4::run(args).await?,
            Bench::P5Load => p5::load(args).await?,
            Bench::P5Memory => p5::memory(args).await?,
        });
    }
    let text = if args.json { format!("{:#}\n", as_json(&reports)?) } else { as_table(&reports)? };
    std::io::stdout().write_all(text.as_bytes()).context("cannot write the result")
}

fn name_of(bench: Bench) -> String {
    bench.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn as_table(reports: &[Report]) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    for report in reports {
        let facts: Vec<String> = report.facts.iter().map(|(name, value)| format!("{name} {value}")).collect();
        writeln!(text, "{}: {}", name_of(report.bench), facts.join(", "))?;
    }
    writeln!(text, "{:<16} {:>12} {:>12} {:<14} {:>9} target", "name", "ours", "floor", "unit", "ratio")?;
    for figure in reports.iter().flat_map(|report| &report.figures) {
        let Figure { name, ours, floor, unit, target } = figure;
        let (of, most) = target.said();
        writeln!(text, "{name:<16} {ours:>12} {floor:>12} {unit:<14} {:>9} {of} <= {most}", figure.ratio())?;
    }
    Ok(text)
}

fn as_json(reports: &[Report]) -> anyhow::Result<Value> {
    // A number is read from its digits: it is never made by calculating with a float.
    let number = |thousandths: Thousandths| serde_json::from_str::<Value>(&thousandths.to_string());
    let mut benches = Vec::new();
    for report in reports {
        let facts: serde_json::Map<String, Value> =
            report.facts.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let mut figures = Vec::new();
        for figure in &report.figures {
            figures.push(json!({
                "name": figure.name,
                "ours": number(figure.ours)?,
                "floor": number(figure.floor)?,
                "unit": figure.unit,
                "ratio": number(figure.ratio())?,
                "target": serde_json::from_str::<Value>(&figure.target.said().1)?,
                "target_of": figure.target.said().0,
            }));
        }
        benches.push(json!({"bench": name_of(report.bench), "facts": facts, "figures": figures}));
    }
    Ok(json!({"benches": benches}))
}

/// Measures two things in turn, `rounds` times, each first every other time, and gives the median of each.
fn in_turn(rounds: u32, mut ours: impl FnMut(), mut floor: impl FnMut()) -> (Duration, Duration) {
    let (mut of_ours, mut of_floor) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        if round % 2 == 0 {
            of_ours.push(timed(&mut ours));
            of_floor.push(timed(&mut floor));
        } else {
            of_floor.push(timed(&mut floor));
            of_ours.push(timed(&mut ours));
        }
    }
    (median(of_ours), median(of_floor))
}

/// The only reader of a stopwatch.
fn timed(work: &mut impl FnMut()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// The middle one; the lower of two.
fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all.get(all.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

/// How many bytes a list holds, room for more included.
fn held<T>(list: &Vec<T>) -> usize {
    list.capacity() * size_of::<T>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_and_the_lower_of_two() {
        let of = |all: &[u64]| median(all.iter().copied().map(Duration::from_secs).collect()).as_secs();
        assert_eq!([of(&[3]), of(&[3, 1]), of(&[9, 1, 3]), of(&[4, 1, 3, 2]), of(&[])], [3, 1, 3, 2, 0]);
    }

    #[test]
    fn figures_are_written_with_three_decimals_that_are_cut() {
        let written: Vec<String> =
            [(2, 3), (1, 1_000), (1, 1_001), (7, 0)].map(|(a, b)| Thousandths::of(a, b).to_string()).to_vec();
        assert_eq!(written, ["0.666", "0.001", "0.000", "7.000"]);
    }
}
