//! Data from a seed: the same seed and size give the same world.
//!
//! One in ten accounts holds several mailboxes; one mailbox in ten moves in the month, a few are new or closed. Outages
//! last ten minutes in the middle and up to 22 hours; 30 % of the windows repeat another as a second monitor saw it, one in
//! ten is planned work laid over an outage, and some cross an edge of the month.

use fastrand::Rng;

use super::world::{CAPABILITIES, Outage, Plan, World};
use crate::domain::time::{DAY, HOUR, Instant, Interval, MINUTE, SECOND};

pub const SEED: u64 = 20_260_601;

pub const SHARDS: usize = 200;
/// Windows for a million mailboxes or more; fewer mailboxes have fewer.
const WINDOWS: usize = 20_000;

/// Plans with their price of a mailbox in minor units, what they promise and what they pay.
const PLANS: [(i64, [bool; 3], &[(i64, u8)]); 5] = [
    (0, [true, true, true], &[(990_000, 0)]),
    (299, [true, false, true], &[(950_000, 100), (990_000, 25), (999_000, 10)]),
    (599, [true, true, true], &[(950_000, 100), (990_000, 25), (995_000, 15), (999_000, 10)]),
    (1_249, [true, true, true], &[(950_000, 100), (990_000, 30), (999_000, 10), (999_500, 5)]),
    (2_399, [true, true, true], &[(950_000, 100), (990_000, 50), (999_000, 15), (999_900, 5)]),
];

/// How long outages last, in seconds: every fortieth of them, from the shortest on (a log-normal curve around ten minutes,
/// cut at 5 seconds).
const LENGTHS: [i64; 40] = [
    5, 38, 59, 79, 99, 119, 140, 162, 184, 208, 233, 259, 287, 317, 349, 384, 420, 460, 503, 549, 600, 655, 715, 781,
    855, 937, 1_029, 1_132, 1_250, 1_385, 1_542, 1_727, 1_949, 2_220, 2_560, 3_003, 3_608, 4_501, 6_001, 9_328,
];

/// The longest fortieth, in tenths of it, up to 22 hours.
const LONGEST: [i64; 11] = [9_328, 9_931, 10_637, 11_483, 12_519, 13_834, 15_581, 18_074, 22_094, 30_539, 79_200];

/// A world of `mailboxes` mailboxes.
pub fn world(mailboxes: usize) -> anyhow::Result<World> {
    let (mut random, mut world) = (Rng::with_seed(SEED), World::empty()?);
    for (number, (_, promises, tiers)) in (1..).zip(PLANS) {
        world.plans.push(Plan { number, promises, tiers: tiers.to_vec() });
    }
    let shards: Vec<String> = (1..=SHARDS).map(|shard| shard.to_string()).collect();
    let numbers: Vec<u32> = shards.iter().filter_map(|shard| world.shards.number(shard)).collect();
    accounts(&mut world, mailboxes, &numbers, &mut random)?;
    outages(&mut world, WINDOWS.min((mailboxes / 50).max(20)), &shards, &mut random);
    world.shrink();
    Ok(world)
}

fn accounts(world: &mut World, mailboxes: usize, shards: &[u32], random: &mut Rng) -> anyhow::Result<()> {
    let sizes = sizes();
    let (mut account, mut mailbox) = (0, 0);
    while world.mailboxes.len() < mailboxes {
        account += 1;
        let size = if is(random, 10) { 2 + pick(random, &sizes) } else { 1 };
        let size = size.min(mailboxes - world.mailboxes.len());
        // Of a hundred accounts, 20, 35, 25, 15 and 5 are on the five plans.
        let plan = pick(random, &[20, 55, 80, 95, 100]);
        let fee = PLANS[plan].0 * i64::try_from(size)?;
        let fee = if is(random, 10) { fee * 3 / 2 } else { fee };
        world.account(account, u8::try_from(plan)?, fee)?;
        for _ in 0..size {
            mailbox += 1;
            let stays = stays(world.period, shards, random);
            world.mailbox(mailbox, &stays)?;
        }
    }
    Ok(())
}

/// Where `mailboxes` mailboxes lived: tells `each` of every stay, with the numbers of account, mailbox and shard, by account
/// and mailbox and start. Says how many accounts there are.
pub fn placements(
    mailboxes: usize,
    mut each: impl FnMut(i64, i64, u32, Interval) -> anyhow::Result<()>,
) -> anyhow::Result<i64> {
    let (mut random, period, sizes) = (Rng::with_seed(SEED), World::empty()?.period, sizes());
    let numbers: Vec<u32> = (1..=SHARDS).filter_map(|shard| u32::try_from(shard).ok()).collect();
    let (mut account, mut mailbox, mut left) = (0, 0, mailboxes);
    while left > 0 {
        account += 1;
        let size = if is(&mut random, 10) { 2 + pick(&mut random, &sizes) } else { 1 };
        for _ in 0..size.min(left) {
            mailbox += 1;
            left -= 1;
            for (shard, stay) in stays(period, &numbers, &mut random) {
                each(account, mailbox, shard, stay)?;
            }
        }
    }
    Ok(account)
}

/// How likely 2, 3, ... 200 mailboxes are, each added to those before: as k to the power of -1.6, in whole numbers.
fn sizes() -> Vec<u64> {
    let mut sum = 0;
    (2..=200u128)
        .map(|k| {
            // k^0.6 in millionths is the fifth root of k^3 times a million to the fifth.
            let root = root_of_five(k.pow(3) * 1_000_000u128.pow(5));
            sum += u64::try_from(1_000_000_000_000_000 / (k * root)).unwrap_or(0);
            sum
        })
        .collect()
}

/// The largest whole number whose fifth power is at most `of`.
fn root_of_five(of: u128) -> u128 {
    let (mut low, mut high) = (0u128, 30_000_000);
    while low < high {
        let middle = (low + high).div_ceil(2);
        if middle.pow(5) <= of {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

/// An index, the likelier the more its entry adds to the one before it.
fn pick(random: &mut Rng, added: &[u64]) -> usize {
    let drawn = random.u64(0..added.last().copied().unwrap_or(1));
    added.partition_point(|upto| *upto <= drawn)
}

/// True so many times in a hundred.
fn is(random: &mut Rng, percent: u8) -> bool {
    random.u8(0..100) < percent
}

/// A second between two instants.
fn second(random: &mut Rng, from: Instant, until: Instant) -> Instant {
    from.plus(random.i64(0..(until.micros() - from.micros()) / SECOND) * SECOND)
}

fn stays(period: Interval, shards: &[u32], random: &mut Rng) -> Vec<(u32, Interval)> {
    let (start, end) = (period.start(), period.end());
    let home = random.usize(0..shards.len());
    let stay = |on: usize, from, until| Interval::new(from, until).ok().map(|interval| (shards[on], interval));
    let before = second(random, start.plus(-1_400 * DAY), start);
    let within = second(random, start.plus(SECOND), end);
    if is(random, 3) {
        vec![stay(home, second(random, start.plus(SECOND), end.plus(-DAY)), Instant::MAX)]
    } else if is(random, 2) {
        vec![stay(home, before, second(random, start.plus(DAY), end))]
    } else if is(random, 10) {
        let other = (home + random.usize(1..shards.len())) % shards.len();
        vec![stay(home, before, within), stay(other, within, Instant::MAX)]
    } else {
        vec![stay(home, before, Instant::MAX)]
    }
    .into_iter()
    .flatten()
    .collect()
}

/// A drawn outage: shard and capability by index, start and length in microseconds.
#[derive(Clone, Copy)]
struct Drawn {
    shard: usize,
    capability: usize,
    start: Instant,
    length: i64,
    planned: bool,
    degraded: bool,
}

fn outages(world: &mut World, windows: usize, shards: &[String], random: &mut Rng) {
    let repeated = windows * 3 / 10;
    let mut drawn: Vec<Drawn> = (repeated..windows).map(|_| draw(world.period, shards, random)).collect();
    // Planned work mostly lies over an outage, or it would excuse nothing.
    for index in 0..drawn.len() {
        if drawn[index].planned {
            let over = drawn[random.usize(0..drawn.len())];
            let start = over.start.plus(random.i64(-1_800..600) * SECOND);
            drawn[index] = Drawn { shard: over.shard, capability: over.capability, start, ..drawn[index] };
        }
    }
    for (key, outage) in drawn.iter().enumerate() {
        say(world, "pingwatch", key, *outage, shards);
    }
    // The second monitor sees some of them, each once, a little earlier or later.
    random.shuffle(&mut drawn);
    for (key, outage) in drawn.into_iter().take(repeated).enumerate() {
        let start = outage.start.plus(random.i64(-90..120) * SECOND);
        let end = outage.start.plus(outage.length + random.i64(-90..120) * SECOND);
        let length = (end.micros() - start.micros()).max(SECOND);
        say(world, "probe-eu", key, Drawn { start, length, ..outage }, shards);
    }
}

fn draw(period: Interval, shards: &[String], random: &mut Rng) -> Drawn {
    let start = if is(random, 3) {
        let edge = if random.bool() { period.start() } else { period.end() };
        second(random, edge.plus(-2 * HOUR), edge.plus(-MINUTE))
    } else {
        second(random, period.start().plus(-DAY), period.end().plus(12 * HOUR))
    };
    let planned = is(random, 10);
    let length = if planned {
        random.i64(1_800..14_400)
    } else {
        let part = random.usize(0..LENGTHS.len());
        let (part, list) =
            if part < LENGTHS.len() - 1 { (part, &LENGTHS[..]) } else { (random.usize(0..10), &LONGEST[..]) };
        list[part] + (list[part + 1] - list[part]) * random.i64(0..1_000) / 1_000
    };
    Drawn {
        shard: random.usize(0..shards.len()),
        capability: random.usize(0..CAPABILITIES.len()),
        start,
        length: length * SECOND,
        planned,
        degraded: !planned && is(random, 15),
    }
}

fn say(world: &mut World, source: &str, key: usize, drawn: Drawn, shards: &[String]) {
    let Ok(interval) = Interval::new(drawn.start, drawn.start.plus(drawn.length)) else { return };
    world.outage(&Outage {
        source,
        key: &key.to_string(),
        shard: &shards[drawn.shard],
        capability: CAPABILITIES[drawn.capability],
        interval,
        degraded: drawn.degraded,
        planned: drawn.planned,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_root_is_the_largest_whole_number_that_fits() {
        assert_eq!([0, 1, 31, 32, 242, 243].map(root_of_five), [0, 1, 1, 2, 2, 3]);
        // 200^0.6 is 24.022...
        assert_eq!(root_of_five(200u128.pow(3) * 1_000_000u128.pow(5)) / 1_000, 24_022);
    }

    #[test]
    fn the_world_has_the_shape_that_it_says() {
        let world = world(20_000).unwrap();
        assert_eq!((world.mailboxes.len(), world.windows.len()), (20_000, 400));
        let per_cent = |part: usize, of: usize| part * 100 / of;
        assert!((8..=10).contains(&per_cent(world.placements - 20_000, 20_000)), "{}", world.placements);
        assert!((35..=50).contains(&per_cent(world.accounts.number.len(), 20_000)), "{}", world.accounts.number.len());
        let planned = world.windows.iter().filter(|window| window.planned.is_some()).count();
        assert!((5..=15).contains(&per_cent(planned, 400)), "{planned}");
        let at_an_edge = world.windows.iter().filter(|window| {
            let edges = [world.period.start(), world.period.end()];
            edges.iter().any(|edge| window.start < *edge && window.end.is_some_and(|end| *edge < end))
        });
        assert!(at_an_edge.count() > 0);
    }
}
