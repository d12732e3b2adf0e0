//! Where mailboxes lived: placements as sources told them, as stays on shards.

use std::collections::{HashMap, HashSet};

use super::AssessError;
use super::assessment::Stay;
use super::overlay::Home;
use crate::domain::placement::{self, MailboxHistory, Said};
use crate::domain::time::{Interval, IntervalSet};

/// Mailboxes that have one history.
#[derive(Debug)]
pub(super) struct Life<'a> {
    pub mailboxes: Vec<String>,
    /// Where they lived: one history, or where the account is judged as a whole, those of all its mailboxes.
    pub homes: Vec<Home<'a>>,
    /// Whether it is contested in the period.
    pub contested: bool,
}

/// The mailboxes by history: those that share one, and that the same of the lists in `named` name, are judged once. A mailbox in
/// `own` has a fee of its own and so stands alone.
pub(super) fn lives<'a>(
    mailboxes: &'a [MailboxHistory],
    horizon: Interval,
    period: Interval,
    own: &[&str],
    named: &[HashSet<&str>],
) -> Result<Vec<Life<'a>>, AssessError> {
    let mut sorted: Vec<&MailboxHistory> = mailboxes.iter().collect();
    sorted.sort_by(|a, b| a.mailbox.cmp(&b.mailbox));
    if let Some(twice) = sorted.windows(2).find(|pair| pair[0].mailbox == pair[1].mailbox && pair[0] != pair[1]) {
        return Err(AssessError::MailboxTwice { mailbox: twice[0].mailbox.clone() });
    }
    sorted.dedup_by(|a, b| a.mailbox == b.mailbox);
    let mut known: HashMap<(History<'_>, Option<&str>, Vec<bool>), usize> = HashMap::new();
    let mut lives: Vec<Life<'_>> = Vec::new();
    for mailbox in sorted {
        let alone = own.contains(&mailbox.mailbox.as_str()).then_some(mailbox.mailbox.as_str());
        let among = named.iter().map(|list| list.contains(mailbox.mailbox.as_str())).collect();
        let key = (stays(mailbox, horizon, period)?, alone, among);
        if let Some(at) = known.get(&key) {
            lives[*at].mailboxes.push(mailbox.mailbox.clone());
            continue;
        }
        let (stays, contested) = key.0.clone();
        known.insert(key, lives.len());
        let home = Home { mailbox: &mailbox.mailbox, stays };
        lives.push(Life { mailboxes: vec![mailbox.mailbox.clone()], homes: vec![home], contested });
    }
    Ok(lives)
}

/// All mailboxes as one account, which is down while any of them is. Those that were gone before the period are not counted among
/// its mailboxes, but an outage that reaches into it may have begun with them.
pub(super) fn as_one<'a>(lives: Vec<Life<'a>>, period: Interval) -> Vec<Life<'a>> {
    let mut one: Option<Life<'a>> = None;
    for life in lives {
        let is_there = life.is_there(period);
        let whole = one.get_or_insert(Life { mailboxes: Vec::new(), homes: Vec::new(), contested: false });
        whole.mailboxes.extend(life.mailboxes.into_iter().filter(|_| is_there));
        whole.homes.extend(life.homes);
        whole.contested |= life.contested && is_there;
    }
    one.map(|mut whole| {
        whole.mailboxes.sort();
        whole
    })
    .into_iter()
    .collect()
}

impl<'a> Life<'a> {
    /// Where they lived, sorted, each stay once.
    pub fn stays(&self) -> Vec<(Interval, &'a str)> {
        let mut stays: Vec<(Interval, &'a str)> = self.homes.iter().flat_map(|home| &home.stays).copied().collect();
        stays.sort_unstable();
        stays.dedup();
        stays
    }

    fn is_there(&self, period: Interval) -> bool {
        self.homes.iter().flat_map(|home| &home.stays).any(|(stay, _)| stay.intersection(period).is_some())
    }
}

/// Where a mailbox lived, sorted; and whether that is contested in the period.
type History<'a> = (Vec<(Interval, &'a str)>, bool);

/// Where one mailbox lived within `horizon`; and whether that is contested within `period`.
pub(super) fn stays(history: &MailboxHistory, horizon: Interval, period: Interval) -> Result<History<'_>, AssessError> {
    let said = history.said(horizon).map_err(|wrong| AssessError::PlacementContradictsItself {
        mailbox: history.mailbox.clone(),
        source_name: wrong.source,
        from: wrong.from,
    })?;
    let is_contested = !placement::contested(&said, period).is_empty();
    Ok((joined_stays(&said), is_contested))
}

/// The stays, those on one shard that touch or overlap joined.
fn joined_stays<'a>(said: &[Said<'a>]) -> Vec<(Interval, &'a str)> {
    let homes = |one: Said<'a>| one.event.homes().into_iter().flatten().map(move |shard| (shard, one.interval));
    let mut stays: Vec<(&str, Interval)> = said.iter().copied().flat_map(homes).collect();
    stays.sort_unstable();
    let mut joined: Vec<(Interval, &str)> = Vec::with_capacity(stays.len());
    for (shard, interval) in stays {
        match joined.last_mut() {
            Some((last, on)) if *on == shard && interval.start() <= last.end() => {
                *last = Interval::new(last.start(), last.end().max(interval.end())).unwrap_or(*last);
            }
            Some(_) | None => joined.push((interval, shard)),
        }
    }
    joined.sort_unstable();
    joined
}

/// The part of `stays` in the period, for the receipt; and how long any of them lasts.
pub(super) fn in_period(stays: &[(Interval, &str)], period: Interval) -> (Vec<Stay>, IntervalSet) {
    let clipped: Vec<Stay> = stays
        .iter()
        .filter_map(|(interval, shard)| interval.intersection(period).map(|interval| (interval, shard)))
        .map(|(interval, shard)| Stay { interval, shard: (*shard).to_owned() })
        .collect();
    let existed = clipped.iter().map(|stay| stay.interval).collect();
    (clipped, existed)
}
