//! Schedules: from what was measured to a share of the base.

use std::cmp::Ordering;

use super::ratio::{Overflow, Ratio};
use super::terms::{Boundary, Percent, Schedule, Tier};

/// (promised - down) / promised, as a part of one. Where no time was promised, nothing was missed.
pub(super) fn uptime(down_micros: Ratio, promised_micros: i64) -> Result<Ratio, Overflow> {
    if promised_micros <= 0 {
        return Ok(Ratio::ONE);
    }
    let promised = Ratio::whole(promised_micros);
    promised.minus(down_micros)?.over(promised)
}

pub(super) fn tiers(schedule: &Schedule) -> &[Tier] {
    let Schedule::TiersByUptime { tiers, .. } = schedule;
    tiers
}

/// The tier that was missed, as an index: of several, the one with the lowest threshold. Compared exactly.
pub(super) fn tier(uptime: Ratio, schedule: &Schedule) -> Result<Option<usize>, Overflow> {
    let Schedule::TiersByUptime { boundary, tiers } = schedule;
    let mut missed: Option<(usize, Percent)> = None;
    for (index, tier) in tiers.iter().enumerate() {
        let is_missed = match uptime.compared(tier.uptime_below.ratio())? {
            Ordering::Less => true,
            Ordering::Equal => *boundary == Boundary::AtOrBelow,
            Ordering::Greater => false,
        };
        if is_missed && missed.is_none_or(|(_, lowest)| tier.uptime_below.decimal() < lowest.decimal()) {
            missed = Some((index, tier.uptime_below));
        }
    }
    Ok(missed.map(|(index, _)| index))
}

/// The highest threshold: what was promised.
pub(super) fn promised(schedule: &Schedule) -> Option<Percent> {
    tiers(schedule).iter().map(|tier| tier.uptime_below).max_by_key(|threshold| threshold.decimal())
}

/// The downtime that just reaches `promised`.
pub(super) fn allowed(promised: Percent, promised_micros: i64) -> Result<Ratio, Overflow> {
    Ratio::ONE.minus(promised.ratio())?.times(Ratio::whole(promised_micros))
}
