//! `p1-core`: for every mailbox of a month its time, downtime, uptime and tier, and for every account the worst of its
//! mailboxes, the sum over them, and the credit of each reading. One thread, in memory.
//!
//! A mailbox was down as long as that one of its plan's capabilities that was down longest; so there is a line for each
//! capability. The floor reads every array that goes in or comes out once, and adds up what it reads.

use std::hint::black_box;

use anyhow::ensure;
use sha2::{Digest as _, Sha256};

use super::world::{Accounts, CAPABILITIES, Plan, World};
use super::{Bench, BenchArgs, Figure, Report, Target, Thousandths, generate, held, in_turn};
use crate::domain::running::Lines;
use crate::domain::terms::Terms;
use crate::domain::time::SECOND;

const BUSINESS: &str = include_str!("../../../assets/terms/business.yaml");

/// The whole of an uptime, in millionths.
const WHOLE: i64 = 1_000_000;

/// Makes or reads the data, measures, and says what came out.
pub(super) fn run(args: &BenchArgs) -> anyhow::Result<Report> {
    let world = match &args.data {
        Some(folder) => World::read(folder)?,
        None => generate::world(usize::try_from(args.size)?)?,
    };
    ensure!(!world.mailboxes.is_empty(), "there is no mailbox to measure");
    let terms = terms()?;
    let first = answer(&world, &terms)?;
    let mut last = Ok(Answer::default());
    let (ours, floor) = in_turn(
        args.rounds,
        || last = black_box(answer(black_box(&world), &terms)),
        || {
            black_box(read_all(black_box(&world), black_box(&first)));
        },
    );
    let digest = first.digest(&world);
    ensure!(last?.digest(&world) == digest, "the same data gave two answers");
    let mailboxes = u128::try_from(world.mailboxes.len())?;
    let bytes = |of: usize| u128::try_from(of).map(|bytes| Thousandths::of(bytes, mailboxes));
    let seed = if args.data.is_none() { vec![("seed", generate::SEED.into())] } else { Vec::new() };
    let facts = [
        ("mailboxes", world.mailboxes.len().into()),
        ("placements", world.placements.into()),
        ("accounts", world.accounts.number.len().into()),
        ("windows", world.windows.len().into()),
        ("down_seconds", first.down.iter().sum::<i64>().into()),
        ("credit", first.worst_credit.iter().sum::<i64>().into()),
        ("credit_over_all", first.sum_credit.iter().sum::<i64>().into()),
        ("digest", digest.into()),
    ];
    Ok(Report {
        bench: Bench::P1Core,
        facts: seed.into_iter().chain(facts).collect(),
        figures: vec![
            Figure {
                name: "p1-core",
                ours: Thousandths::of(ours.as_nanos(), mailboxes),
                floor: Thousandths::of(floor.as_nanos(), mailboxes),
                unit: "ns/mailbox",
                target: Target::Ours(100),
            },
            Figure {
                name: "p1-core-bytes",
                ours: bytes(world.bytes() + first.bytes())?,
                floor: bytes(world.bytes())?,
                unit: "bytes/mailbox",
                target: Target::Ours(100),
            },
        ],
    })
}

/// For each capability the terms that promise only that: what is degraded does not count, announced work is excused.
fn terms() -> anyhow::Result<Vec<Terms>> {
    let one = |capability: &str| {
        let text = BUSINESS
            .replace("[receive, send, access]", &format!("[{capability}]"))
            .replace("{kind: counts_by_weight}", "{kind: never_counts}");
        let terms = Terms::parse(&text)?;
        ensure!(Lines::applies(&terms, &terms.remedies[0]), "the terms of the bench need the full pipeline");
        Ok(terms)
    };
    CAPABILITIES.iter().map(|capability| one(capability)).collect()
}

/// The result: one entry for each mailbox or account in every list.
#[derive(Default)]
struct Answer {
    /// What the lines held that it came from, in bytes.
    lines: usize,
    total: Vec<i64>,
    down: Vec<i64>,
    uptime: Vec<u32>,
    percent: Vec<u8>,
    worst_down: Vec<i64>,
    worst_uptime: Vec<u32>,
    worst_percent: Vec<u8>,
    worst_credit: Vec<i64>,
    sum_down: Vec<i64>,
    sum_total: Vec<i64>,
    sum_uptime: Vec<u32>,
    sum_percent: Vec<u8>,
    sum_credit: Vec<i64>,
}

/// The work that is measured: the lines, every mailbox, every account.
fn answer(world: &World, terms: &[Terms]) -> anyhow::Result<Answer> {
    let mut shards = world.shards.clone();
    let mut build = |terms: &Terms| {
        let reading = (terms, &terms.remedies[0]);
        Lines::build(&world.windows, reading, world.period, world.period.end(), &mut shards)
    };
    let lines: Vec<Lines> = terms.iter().map(&mut build).collect::<Result<_, _>>()?;
    let mut answer = Answer::sized(world.mailboxes.len(), world.accounts.number.len());
    answer.lines = lines.iter().map(Lines::bytes).sum();
    let mut mailboxes = 0..;
    for (account, end) in world.accounts.end.iter().enumerate() {
        let plan = &world.plans[usize::from(world.accounts.plan[account])];
        let (mut down, mut uptime, mut percent) = (0, 1_000_000, 0);
        let (mut sum_down, mut sum_total) = (0, 0);
        while mailboxes.start < usize::try_from(*end)? {
            let Some(mailbox) = mailboxes.next() else { break };
            let one = answer.mailbox(world, &lines, plan, mailbox);
            (down, uptime, percent) = (one.0.max(down), one.1.min(uptime), one.2.max(percent));
            (sum_down, sum_total) = (sum_down + one.0, sum_total + one.3);
        }
        let sum_percent = tier(plan, sum_total, sum_down);
        let fee = world.accounts.monthly_fee[account];
        answer.worst_down.push(down);
        answer.worst_uptime.push(uptime);
        answer.worst_percent.push(percent);
        answer.worst_credit.push(credit(fee, percent));
        answer.sum_down.push(sum_down);
        answer.sum_total.push(sum_total);
        answer.sum_uptime.push(millionths(sum_total, sum_down));
        answer.sum_percent.push(sum_percent);
        answer.sum_credit.push(credit(fee, sum_percent));
    }
    Ok(answer)
}

impl Answer {
    fn sized(mailboxes: usize, accounts: usize) -> Self {
        Answer {
            lines: 0,
            total: Vec::with_capacity(mailboxes),
            down: Vec::with_capacity(mailboxes),
            uptime: Vec::with_capacity(mailboxes),
            percent: Vec::with_capacity(mailboxes),
            worst_down: Vec::with_capacity(accounts),
            worst_uptime: Vec::with_capacity(accounts),
            worst_percent: Vec::with_capacity(accounts),
            worst_credit: Vec::with_capacity(accounts),
            sum_down: Vec::with_capacity(accounts),
            sum_total: Vec::with_capacity(accounts),
            sum_uptime: Vec::with_capacity(accounts),
            sum_percent: Vec::with_capacity(accounts),
            sum_credit: Vec::with_capacity(accounts),
        }
    }

    /// Works out one mailbox, and gives its downtime, uptime, percentage and time.
    fn mailbox(&mut self, world: &World, lines: &[Lines], plan: &Plan, mailbox: usize) -> (i64, u32, u8, i64) {
        let promised = lines.iter().zip(&plan.promises).filter(|(_, promised)| **promised);
        let down = promised.map(|(line, _)| line.counted_micros(&world.homes, mailbox)).max().unwrap_or(0) / SECOND;
        let total = world.homes.existed_micros(mailbox) / SECOND;
        let (uptime, percent) = (millionths(total, down), tier(plan, total, down));
        self.total.push(total);
        self.down.push(down);
        self.uptime.push(uptime);
        self.percent.push(percent);
        (down, uptime, percent, total)
    }

    /// What it holds in memory, in bytes, the lines included.
    fn bytes(&self) -> usize {
        let times = [
            &self.total,
            &self.down,
            &self.worst_down,
            &self.worst_credit,
            &self.sum_down,
            &self.sum_total,
            &self.sum_credit,
        ];
        let uptimes = [&self.uptime, &self.worst_uptime, &self.sum_uptime];
        let percents = [&self.percent, &self.worst_percent, &self.sum_percent];
        self.lines
            + times.map(held).iter().sum::<usize>()
            + uptimes.map(held).iter().sum::<usize>()
            + percents.map(held).iter().sum::<usize>()
    }

    /// The first 16 digits of a SHA-256 over all columns, in 64-bit little-endian numbers: those of the mailboxes (number,
    /// account, seconds, seconds down, uptime, percent) and then those of the accounts.
    fn digest(&self, world: &World) -> String {
        let mut hash = Sha256::new();
        let mut column = |values: &mut dyn Iterator<Item = i64>| values.for_each(|one| hash.update(one.to_le_bytes()));
        column(&mut world.mailboxes.iter().copied());
        let mut ends = world.accounts.number.iter().zip(&world.accounts.end).peekable();
        let account = |mailbox| {
            while ends.next_if(|(_, end)| **end <= mailbox).is_some() {}
            ends.peek().map_or(0, |(account, _)| **account)
        };
        column(&mut (0u32..).map(account).take(world.mailboxes.len()));
        column(&mut self.total.iter().copied());
        column(&mut self.down.iter().copied());
        column(&mut self.uptime.iter().copied().map(i64::from));
        column(&mut self.percent.iter().copied().map(i64::from));
        column(&mut world.accounts.number.iter().copied());
        column(&mut self.worst_down.iter().copied());
        column(&mut self.worst_uptime.iter().copied().map(i64::from));
        column(&mut self.worst_percent.iter().copied().map(i64::from));
        column(&mut self.worst_credit.iter().copied());
        column(&mut self.sum_down.iter().copied());
        column(&mut self.sum_total.iter().copied());
        column(&mut self.sum_uptime.iter().copied().map(i64::from));
        column(&mut self.sum_percent.iter().copied().map(i64::from));
        column(&mut self.sum_credit.iter().copied());
        hex::encode(hash.finalize())[..16].to_owned()
    }
}

/// Uptime in millionths, half to even.
fn millionths(total: i64, down: i64) -> u32 {
    let of = if down == 0 { WHOLE } else { half_even((total - down) * WHOLE, total) };
    u32::try_from(of).unwrap_or(0)
}

/// What is credited of the fee.
fn credit(fee: i64, percent: u8) -> i64 {
    if percent == 0 { 0 } else { half_even(fee * i64::from(percent), 100) }
}

fn half_even(a: i64, b: i64) -> i64 {
    let (quotient, rest) = (a / b, a % b);
    quotient + i64::from(2 * rest > b || (2 * rest == b && quotient % 2 == 1))
}

/// The percentage of the lowest tier that was missed.
fn tier(plan: &Plan, total: i64, down: i64) -> u8 {
    if down == 0 {
        return 0;
    }
    let up = (total - down) * WHOLE;
    plan.tiers.iter().find(|(below, _)| up < below * total).map_or(0, |(_, percent)| *percent)
}

/// The floor: the sum of everything that goes in or comes out.
fn read_all(world: &World, answer: &Answer) -> u64 {
    let (columns, Accounts { number, plan, monthly_fee, end }) = (world.homes.columns(), &world.accounts);
    let long = |list: &[i64]| list.iter().fold(0u64, |sum, one| sum.wrapping_add(one.cast_unsigned()));
    let short = |list: &[u32]| list.iter().fold(0u64, |sum, one| sum.wrapping_add(u64::from(*one)));
    let byte = |list: &[u8]| list.iter().fold(0u64, |sum, one| sum.wrapping_add(u64::from(*one)));
    let longs: [&[i64]; 12] = [
        columns.times[0],
        columns.times[1],
        &world.mailboxes,
        number,
        monthly_fee,
        &answer.total,
        &answer.down,
        &answer.worst_down,
        &answer.worst_credit,
        &answer.sum_down,
        &answer.sum_total,
        &answer.sum_credit,
    ];
    let shorts: [&[u32]; 7] = [
        columns.numbers[0],
        columns.numbers[1],
        columns.numbers[2],
        end,
        &answer.uptime,
        &answer.worst_uptime,
        &answer.sum_uptime,
    ];
    let bytes: [&[u8]; 4] = [plan, &answer.percent, &answer.worst_percent, &answer.sum_percent];
    let sums = longs.map(long).into_iter().chain(shorts.map(short)).chain(bytes.map(byte));
    sums.fold(0, u64::wrapping_add)
}
