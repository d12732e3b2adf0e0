//! The mailboxes, accounts, plans and outages of a bench, and how they are read from a folder of CSV files.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, ensure};
use serde::de::DeserializeOwned;

use super::held;
use crate::domain::ids::WindowId;
use crate::domain::period::{Month, Zone};
use crate::domain::running::{Homes, Shards};
use crate::domain::time::{DAY, Instant, Interval, SECOND};
use crate::domain::window::{Announcement, Capability, Certainty, Impact, OutageWindow, Scope, WindowState};

/// What a mailbox can do; plans name these by their place.
pub const CAPABILITIES: [&str; 3] = ["receive", "send", "access"];

/// All times are on the second.
pub struct World {
    pub period: Interval,
    pub shards: Shards,
    /// Where the mailboxes lived; those of one account stand together, in the order of the accounts.
    pub homes: Homes,
    /// Their own numbers.
    pub mailboxes: Vec<i64>,
    pub accounts: Accounts,
    pub plans: Vec<Plan>,
    pub windows: Vec<OutageWindow>,
    pub placements: usize,
}

#[derive(Default)]
pub struct Accounts {
    pub number: Vec<i64>,
    /// An index into the plans.
    pub plan: Vec<u8>,
    /// In minor units, for all mailboxes together.
    pub monthly_fee: Vec<i64>,
    /// Where the mailboxes of each end.
    pub end: Vec<u32>,
}

pub struct Plan {
    pub number: u8,
    pub promises: [bool; 3],
    /// Uptime in millionths below which the percentage is credited, the lowest first.
    pub tiers: Vec<(i64, u8)>,
}

/// One outage before it is a window.
pub struct Outage<'a> {
    pub source: &'a str,
    pub key: &'a str,
    pub shard: &'a str,
    pub capability: &'a str,
    pub interval: Interval,
    pub degraded: bool,
    /// Announced a week ahead, for just the time that it took.
    pub planned: bool,
}

impl World {
    /// June 2026 in UTC, without anybody.
    pub fn empty() -> anyhow::Result<Self> {
        let period = Month::new(2026, 6).context("June 2026 is a month")?.interval(Zone::UTC);
        Ok(World {
            period,
            shards: Shards::default(),
            homes: Homes::new(period),
            mailboxes: Vec::new(),
            accounts: Accounts::default(),
            plans: Vec::new(),
            windows: Vec::new(),
            placements: 0,
        })
    }

    /// The next account; its mailboxes follow.
    pub fn account(&mut self, number: i64, plan: u8, monthly_fee: i64) -> anyhow::Result<()> {
        self.accounts.number.push(number);
        self.accounts.plan.push(plan);
        self.accounts.monthly_fee.push(monthly_fee);
        self.accounts.end.push(u32::try_from(self.mailboxes.len())?);
        Ok(())
    }

    /// The next mailbox of the last account.
    pub fn mailbox(&mut self, number: i64, stays: &[(u32, Interval)]) -> anyhow::Result<()> {
        let on_the_second = |at: Instant| at.micros() % SECOND == 0;
        ensure!(
            stays.iter().all(|(_, stay)| on_the_second(stay.start()) && on_the_second(stay.end())),
            "mailbox {number} moved between two seconds: this bench counts in seconds"
        );
        self.homes.push(stays).with_context(|| format!("mailbox {number} lived on two shards at once"))?;
        self.mailboxes.push(number);
        self.placements += stays.len();
        let end = self.accounts.end.last_mut().with_context(|| format!("mailbox {number} has no account"))?;
        *end = u32::try_from(self.mailboxes.len())?;
        Ok(())
    }

    pub fn outage(&mut self, outage: &Outage<'_>) {
        let interval = outage.interval;
        self.windows.push(OutageWindow {
            id: WindowId::of(outage.source, outage.key),
            version: 1,
            about: None,
            certainty: Certainty::Known,
            scope: Scope::Shards(vec![outage.shard.to_owned()]),
            capability: Capability(outage.capability.to_owned()),
            start: interval.start(),
            end: Some(interval.end()),
            impact: if outage.degraded { Impact::Degraded { weight_bp: 5_000 } } else { Impact::Full },
            reach: None,
            planned: outage.planned.then_some(Announcement { announced_at: interval.start().plus(-7 * DAY), interval }),
            state: WindowState::Confirmed { by: "operations".to_owned(), at: self.period.end() },
            reports: Vec::new(),
            reason: None,
        });
    }

    /// Gives back the room that was kept for more.
    pub fn shrink(&mut self) {
        self.homes.shrink();
        self.mailboxes.shrink_to_fit();
        self.accounts.number.shrink_to_fit();
        self.accounts.plan.shrink_to_fit();
        self.accounts.monthly_fee.shrink_to_fit();
        self.accounts.end.shrink_to_fit();
        self.windows.shrink_to_fit();
    }

    /// What it holds in memory, in bytes; the names of shards, a few kilobytes, are left out.
    pub fn bytes(&self) -> usize {
        let Accounts { number, plan, monthly_fee, end } = &self.accounts;
        let texts = |window: &OutageWindow| {
            let shards = match &window.scope {
                Scope::All => 0,
                Scope::Shards(shards) => held(shards) + shards.iter().map(String::capacity).sum::<usize>(),
            };
            let by = match &window.state {
                WindowState::Provisional => 0,
                WindowState::Confirmed { by, at: _ } | WindowState::Retracted { by, at: _ } => by.capacity(),
            };
            shards + by + window.capability.0.capacity()
        };
        self.homes.bytes()
            + held(&self.mailboxes)
            + (held(number) + held(plan) + held(monthly_fee) + held(end))
            + held(&self.windows)
            + self.windows.iter().map(texts).sum::<usize>()
    }

    /// Reads accounts, placements, windows, plans and tiers. Accounts are sorted by number, placements by mailbox and start,
    /// and the mailboxes of an account stand together.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let mut world = World::empty()?;
        for plan in rows::<PlanRow>(folder, "plans.csv")? {
            let PlanRow { plan: number, caps } = plan?;
            let promises = [1, 2, 4].map(|bit| caps & bit != 0);
            world.plans.push(Plan { number, promises, tiers: Vec::new() });
        }
        for tier in rows::<TierRow>(folder, "tiers.csv")? {
            let TierRow { plan: number, below_ppm, pct } = tier?;
            let plan = world.plans.iter_mut().find(|plan| plan.number == number);
            plan.with_context(|| format!("tiers.csv: there is no plan {number}"))?.tiers.push((below_ppm, pct));
        }
        world.plans.iter_mut().for_each(|plan| plan.tiers.sort_unstable());
        for outage in rows::<WindowRow>(folder, "windows.csv")? {
            let row = outage?;
            world.outage(&Outage {
                source: &row.source,
                key: &row.source_id,
                shard: &row.shard,
                capability: &row.capability,
                interval: Interval::new(instant(&row.starts_at)?, instant(&row.ends_at)?)?,
                degraded: row.impact == "degraded",
                planned: row.planned,
            });
        }
        let mut accounts: HashMap<i64, (u8, i64)> = HashMap::new();
        for account in rows::<AccountRow>(folder, "accounts.csv")? {
            let AccountRow { account, plan: number, monthly_fee } = account?;
            let plan = world.plans.iter().position(|plan| plan.number == number);
            let plan = plan.with_context(|| format!("accounts.csv: there is no plan {number}"))?;
            accounts.insert(account, (u8::try_from(plan)?, monthly_fee));
        }
        let (mut held, mut stays): (Option<(i64, i64)>, Vec<(u32, Interval)>) = (None, Vec::new());
        for placement in rows::<PlacementRow>(folder, "placements.csv")? {
            let row = placement?;
            if let Some((_, mailbox)) = held.filter(|(_, mailbox)| *mailbox != row.mailbox) {
                world.mailbox(mailbox, &stays)?;
                stays.clear();
            }
            if held.is_none_or(|(account, _)| account != row.account) {
                let account = accounts.remove(&row.account);
                let (plan, fee) = account.with_context(|| {
                    format!(
                        "placements.csv: account {} is not in accounts.csv, or its mailboxes lie apart",
                        row.account
                    )
                })?;
                world.account(row.account, plan, fee)?;
            }
            held = Some((row.account, row.mailbox));
            let until = row.valid_until.as_deref().map_or(Ok(Instant::MAX), instant)?;
            let shard = world.shards.number(&row.shard).context("there are too many shards")?;
            stays.push((shard, Interval::new(instant(&row.valid_from)?, until)?));
        }
        if let Some((_, mailbox)) = held {
            world.mailbox(mailbox, &stays)?;
        }
        world.shrink();
        Ok(world)
    }
}

#[derive(serde::Deserialize)]
struct PlanRow {
    plan: u8,
    /// One bit for each of [`CAPABILITIES`], the first the lowest.
    caps: u8,
}

#[derive(serde::Deserialize)]
struct TierRow {
    plan: u8,
    below_ppm: i64,
    pct: u8,
}

#[derive(serde::Deserialize)]
struct WindowRow {
    source: String,
    source_id: String,
    shard: String,
    capability: String,
    starts_at: String,
    ends_at: String,
    impact: String,
    planned: bool,
}

#[derive(serde::Deserialize)]
struct AccountRow {
    account: i64,
    plan: u8,
    monthly_fee: i64,
}

#[derive(serde::Deserialize)]
struct PlacementRow {
    account: i64,
    mailbox: i64,
    shard: String,
    valid_from: String,
    valid_until: Option<String>,
}

fn instant(text: &str) -> anyhow::Result<Instant> {
    Ok(Instant::parse(&text.replacen(' ', "T", 1))?)
}

/// The rows of one file.
fn rows<T: DeserializeOwned>(
    folder: &Path,
    name: &'static str,
) -> anyhow::Result<impl Iterator<Item = anyhow::Result<T>>> {
    let path = folder.join(name);
    let reader = csv::Reader::from_path(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(reader.into_deserialize().map(move |row| row.with_context(|| format!("{name} is not as expected"))))
}
