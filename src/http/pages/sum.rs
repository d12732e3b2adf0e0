//! An assessment in words and pictures: what a month's page and a case say of what happened.

use std::collections::BTreeSet;

use chrono::NaiveDate;

use super::fmt::{self, Reader};
use super::plot::{DayBar, DayBars, LaneSpec, Lanes, SpanState};
use super::view::{Fact, FactSection, RecordRow, RecordTable};
use crate::domain::assessment::{Group, GroupLine, Line, NothingWhy, Outcome, Part, PieceKind, Strand, Why};
use crate::domain::money::{Currency, Money};
use crate::domain::period::Zone;
use crate::domain::ratio::Ratio;
use crate::domain::receipt::{Receipt, StepName};
use crate::domain::remedy::{Boundary, Per, Remedy, Schedule};
use crate::domain::time::{HOUR, Instant, Interval, IntervalSet};
use crate::domain::window::{Impact, OutageWindow};

/// How many groups of mailboxes a page tells apart; the rest are counted.
const MOST_GROUPS: usize = 10;

/// The part of a sum that a page shows: the remedy that says most.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub zone: Zone,
    pub period: Interval,
    pub strand: &'a Strand,
    pub remedy: &'a Remedy,
}

/// What a page shows of a receipt; none where its terms promise nothing.
pub fn seen(receipt: &Receipt) -> Option<Seen<'_>> {
    let sum = &receipt.assessment;
    let strand = sum.headline()?;
    let remedy = receipt.inputs.agreements.get(strand.agreement)?.terms.remedies.get(strand.remedy)?;
    Some(Seen { zone: sum.zone, period: sum.period, strand, remedy })
}

/// A count as the formatters take it.
pub fn many(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// A figure in major units: with the currency's decimals where it has no more, else with as many as it takes.
pub fn major(figure: Ratio, currency: Currency) -> String {
    let decimals = currency.decimals();
    let exact = (decimals..=decimals + 4).map(|places| figure.shown(places)).find(|shown| is(shown, figure));
    match exact {
        Some(shown) => match Money::parse(&shown, currency) {
            Ok(money) => fmt::money(money),
            Err(_) => format!("{}{shown}", currency.symbol()),
        },
        None => format!("about {}{}", currency.symbol(), figure.shown(decimals + 2)),
    }
}

fn is(shown: &str, figure: Ratio) -> bool {
    shown.parse::<Ratio>().is_ok_and(|parsed| parsed == figure)
}

/// `97.009%`, cut and not rounded.
pub fn uptime(ratio: Ratio) -> String {
    ratio.for_rounding().map_or_else(|_| format!("{}%", ratio.shown(5)), fmt::percent)
}

/// The whole minutes of the allowance: what is over them begins to be too much. None where no uptime is promised.
pub fn allowed_minutes(sum: Seen<'_>) -> Option<i64> {
    let minutes = sum.strand.total.allowed_micros?.over(Ratio::whole(crate::domain::time::MINUTE)).ok()?;
    i64::try_from(minutes.floor()).ok()
}

fn is_down(kind: PieceKind) -> bool {
    match kind {
        PieceKind::Down | PieceKind::Slow => true,
        PieceKind::Planned | PieceKind::NotCounted => false,
    }
}

fn set(group: &Group, down: bool) -> IntervalSet {
    group.pieces.iter().filter(|piece| is_down(piece.kind) == down).map(|piece| piece.interval).collect()
}

/// The month as bars: each day shows the mailbox that was down longest on it.
pub fn day_bars(receipts: &[Receipt], days: &[(NaiveDate, Interval)], as_of: Instant) -> DayBars {
    let groups: Vec<(IntervalSet, IntervalSet)> = receipts
        .iter()
        .filter_map(seen)
        .flat_map(|sum| &sum.strand.groups)
        .map(|group| (set(group, true), set(group, false)))
        .collect();
    let bars: Vec<DayBar> = days
        .iter()
        .map(|(day, whole)| {
            let (down_micros, excluded_micros) = groups
                .iter()
                .map(|(down, excluded)| (down.clipped(*whole).micros(), excluded.clipped(*whole).micros()))
                .max()
                .unwrap_or((0, 0));
            DayBar {
                day: *day,
                down_micros,
                excluded_micros,
                length_micros: whole.micros(),
                is_ahead: whole.start() >= as_of,
            }
        })
        .collect();
    DayBars::new(&bars)
}

/// `mail system 7`, or the systems in the order in which the mailboxes lived on them.
fn home(group: &Group, reader: Reader) -> String {
    let mut stays: Vec<_> = group.stays.iter().collect();
    stays.sort_by_key(|stay| (stay.interval, &stay.shard));
    let mut shards: Vec<&str> = stays.iter().map(|stay| stay.shard.as_str()).collect();
    shards.dedup();
    let names: Vec<String> = shards
        .iter()
        .map(|shard| match reader {
            Reader::Customer => fmt::mail_system(shard),
            Reader::Staff => (*shard).to_owned(),
        })
        .collect();
    if group.contested { fmt::listed(&names).replace(" and ", " or ") } else { names.join(", then ") }
}

/// `8 mailboxes on mail system 7`.
pub fn group_name(group: &Group, reader: Reader) -> String {
    format!("{} on {}", fmt::mailboxes(many(group.mailboxes.len())), home(group, reader))
}

/// A picture for each stretch of days in which something counted; where nothing did, none.
pub fn lanes(receipts: &[Receipt], zone_name: &str, reader: Reader) -> Vec<Lanes> {
    receipts
        .iter()
        .enumerate()
        .filter_map(|(index, receipt)| seen(receipt).map(|sum| (index, sum)))
        .flat_map(|(index, sum)| lanes_of(sum, &format!("lanes-{index}"), zone_name, reader))
        .collect()
}

fn lanes_of(sum: Seen<'_>, id: &str, zone_name: &str, reader: Reader) -> Vec<Lanes> {
    let pieces = || sum.strand.groups.iter().flat_map(|group| &group.pieces);
    let all: Vec<Interval> = pieces().map(|piece| piece.interval).collect();
    let down: IntervalSet = pieces().filter(|piece| is_down(piece.kind)).map(|piece| piece.interval).collect();
    let windows = Lanes::windows(&all, sum.zone).into_iter().filter(|window| !down.clipped(*window).is_empty());
    windows
        .enumerate()
        .map(|(number, window)| {
            let seen = down.clipped(window);
            let stretch = seen.intervals().first().zip(seen.intervals().last());
            let stretch =
                stretch.and_then(|(first, last)| Interval::new(first.start(), last.end()).ok()).unwrap_or(window);
            let mut heading = Lanes::heading_of(stretch, sum.zone);
            if sum.strand.groups.len() > MOST_GROUPS {
                heading.push_str(&format!(" (the {MOST_GROUPS} groups down longest, of {})", sum.strand.groups.len()));
            }
            let specs: Vec<LaneSpec> =
                sum.strand.groups.iter().take(MOST_GROUPS).map(|group| lane(group, window, reader)).collect();
            Lanes::new(&format!("{id}-{number}"), &heading, window, (sum.zone, zone_name), reader, &specs)
        })
        .collect()
}

fn lane(group: &Group, window: Interval, reader: Reader) -> LaneSpec {
    let down = set(group, true).clipped(window).micros();
    let spans = group
        .pieces
        .iter()
        .filter_map(|piece| {
            let state = match piece.kind {
                PieceKind::Down => SpanState::Down,
                PieceKind::Slow => SpanState::Slow,
                PieceKind::Planned | PieceKind::NotCounted => SpanState::NotCounted,
            };
            piece.interval.intersection(window).map(|interval| (interval, state))
        })
        .collect();
    let summary = if down > 0 { format!("Down {}", fmt::length_short(down)) } else { "No downtime".to_owned() };
    LaneSpec { label: group_name(group, reader), summary, spans }
}

/// What was recorded, in a few words.
pub fn what(line: &Line) -> &'static str {
    if line.notice.is_some() {
        return "Planned maintenance";
    }
    if !line.certainty.is_known() {
        return "Not known whether it worked";
    }
    match line.impact {
        Impact::Full => match line.capability.0.split('.').next().unwrap_or_default() {
            "receive" => "Could not receive mail",
            "send" => "Could not send mail",
            "access" => "Mailbox could not be opened",
            _ => "Did not work",
        },
        Impact::Delayed { .. } => "Mail slow to arrive",
        Impact::Degraded { .. } => "Worked in part",
    }
}

/// A table for each group of mailboxes that something touched.
pub fn records(receipts: &[Receipt], reader: Reader) -> Vec<RecordTable> {
    receipts
        .iter()
        .filter_map(seen)
        .flat_map(|sum| {
            sum.strand
                .groups
                .iter()
                .filter(|group| !group.lines.is_empty())
                .take(MOST_GROUPS)
                .map(move |group| table(sum, group, reader))
        })
        .collect()
}

/// A table for every group of a sum, in the order of its groups, for a file.
pub fn all_records(receipt: &Receipt) -> Vec<RecordTable> {
    let Some(sum) = seen(receipt) else { return Vec::new() };
    sum.strand.groups.iter().map(|group| table(sum, group, Reader::Customer)).collect()
}

fn table(sum: Seen<'_>, group: &Group, reader: Reader) -> RecordTable {
    let minutes = |of: fn(&GroupLine) -> i64| fmt::minutes_that_add_up(&group.lines.iter().map(of).collect::<Vec<_>>());
    let (measured, counted) = (minutes(|line| line.measured_micros), minutes(|line| line.counted_micros));
    let rows: Vec<RecordRow> = group
        .lines
        .iter()
        .enumerate()
        .filter_map(|(place, felt)| {
            let line = sum.strand.lines.get(felt.line)?;
            let end = line.end.map_or_else(|| "still going on".to_owned(), |end| fmt::moment(end, sum.zone, reader));
            Some(RecordRow {
                what: what(line).to_owned(),
                from: fmt::moment(line.start, sum.zone, reader),
                to: end,
                minutes: number(measured.get(place)),
                counted: number(counted.get(place)),
                why: why(sum, group, place, felt, line, reader),
            })
        })
        .collect();
    let own = match reader {
        Reader::Customer => "your ",
        Reader::Staff => "",
    };
    RecordTable {
        caption: format!("Outage records for {own}{}", group_name(group, reader)),
        rows,
        total_minutes: number(Some(&measured.iter().sum())),
        total_counted: number(Some(&counted.iter().sum())),
    }
}

fn number(minutes: Option<&i64>) -> String {
    fmt::count(minutes.and_then(|minutes| u64::try_from(*minutes).ok()).unwrap_or(0))
}

/// Why time of a record counted or not, in one sentence.
fn why(sum: Seen<'_>, group: &Group, place: usize, felt: &GroupLine, line: &Line, reader: Reader) -> String {
    let other = |index: usize| {
        let above =
            place.checked_sub(1).and_then(|before| group.lines.get(before)).is_some_and(|row| row.line == index);
        match sum.strand.lines.get(index) {
            _ if above => "the line above".to_owned(),
            Some(line) => format!("what began {}", fmt::moment(line.start, sum.zone, reader)),
            None => "another record".to_owned(),
        }
    };
    let mut said = Vec::new();
    for part in &felt.uncounted {
        let minutes = || fmt::minutes(fmt::whole_minutes(part.micros));
        said.push(match part.why {
            Why::Planned { line: by } if by == felt.line => told(line, sum),
            Why::Planned { line: by } => format!("{} fall into the planned time of {}", minutes(), other(by)),
            Why::Overlap { line: by } => format!("{} overlap {} and count once", minutes(), other(by)),
            Why::Unknown => "Nobody knows whether it worked, and the plan does not count such time".to_owned(),
            Why::Retracted => "We found that it did not happen".to_owned(),
            Why::NotPromised => "The plan promises nothing for this".to_owned(),
            Why::DelayTooShort => "The delay was too short to count".to_owned(),
            Why::ImpactNotCounted => "The plan does not count this".to_owned(),
            Why::OtherCapabilityWorked => format!("{} in which something still worked", minutes()),
            Why::OutageTooShort => "Shorter than the plan counts".to_owned(),
            Why::OutageTooLong => "Longer than the plan counts here".to_owned(),
            Why::FixedHours => format!("{} fall into the hours kept free for work", minutes()),
            Why::OutsideHours => format!("{} lie outside the hours that the plan promises", minutes()),
            Why::Paused { .. } => format!("{} in which the clock stood still", minutes()),
            Why::BeforeReport => format!("{} before you told us", minutes()),
            Why::NotReported => "You did not tell us of it".to_owned(),
            Why::TooFewHit => "It hit fewer than the plan counts".to_owned(),
            Why::OtherTerms => format!("{} are judged by the terms that you had then", minutes()),
            Why::OtherPeriod => "All of it belongs to another month".to_owned(),
        });
    }
    if felt.counted_micros > 0 {
        said.extend(counted(sum, group, place, felt, line));
    }
    if felt.outside_period_micros > 0 {
        said.push(format!(
            "{} more belong to another month",
            fmt::minutes(fmt::whole_minutes(felt.outside_period_micros))
        ));
    }
    let whole = line.end.unwrap_or(sum.period.end()).micros() - line.start.micros();
    let elsewhere = whole - felt.measured_micros - felt.outside_period_micros;
    if group.stays.len() > 1 && elsewhere >= crate::domain::time::MINUTE {
        said.push("Only the time on the system that failed is in this line".to_owned());
    }
    said.join(". ")
}

/// Why what counts does, where there is more to say than that it was down.
fn counted(sum: Seen<'_>, group: &Group, place: usize, felt: &GroupLine, line: &Line) -> Option<String> {
    if let Some(notice) = line.notice {
        let minutes = fmt::minutes(fmt::whole_minutes(felt.counted_micros));
        return Some(if notice.enough {
            format!("{minutes} ran over the announced time and count")
        } else {
            format!("{}: too late not to count", told(line, sum))
        });
    }
    if !felt.uncounted.is_empty() {
        return None;
    }
    let follows_planned = place.checked_sub(1).and_then(|before| group.lines.get(before)).is_some_and(|before| {
        let notice = sum.strand.lines.get(before.line).and_then(|before| before.notice);
        notice.is_some_and(|notice| notice.announced.end() == line.start)
    });
    if !line.certainty.is_known() {
        return Some("Nobody knows whether it worked; the plan counts such time as down".to_owned());
    }
    Some(match line.impact {
        Impact::Full if follows_planned => "Full outage, after the planned time had ended".to_owned(),
        Impact::Full => "Full outage".to_owned(),
        Impact::Delayed { .. } => "The delay was long enough to count as down".to_owned(),
        Impact::Degraded { .. } => "Counts by the part that did not work".to_owned(),
    })
}

/// `We told you on 11 October, 9 days before`: days as a calendar counts them.
fn told(line: &Line, sum: Seen<'_>) -> String {
    let Some(notice) = line.notice else { return "Planned".to_owned() };
    let day = |at| sum.zone.local(at).date_naive();
    let on = fmt::day_month(day(notice.announced_at));
    let days = (day(notice.announced.start()) - day(notice.announced_at)).num_days();
    match (notice.notice_micros, days) {
        (..=0, _) => format!("We told you on {on}, after it had begun"),
        (_, 2..) => format!("We told you on {on}, {days} days before"),
        (micros, _) => {
            let hours = micros / HOUR;
            format!("We told you on {on}, {hours} hour{} before", if hours == 1 { "" } else { "s" })
        }
    }
}

/// "On 13 and 14 October, 8 of your 12 mailboxes could not receive mail for 22 hours and 15 minutes." None where nothing
/// counted.
pub fn sorry_for(receipts: &[Receipt]) -> Option<String> {
    let sum = receipts.iter().filter_map(seen).max_by_key(|sum| sum.strand.total.counted_micros)?;
    if sum.strand.total.counted_micros <= 0 {
        return None;
    }
    let hit = || sum.strand.groups.iter().filter(|group| group.counted_micros > 0);
    let mut days: BTreeSet<NaiveDate> = BTreeSet::new();
    for piece in hit().flat_map(|group| &group.pieces).filter(|piece| is_down(piece.kind)) {
        let last = sum.zone.local(piece.interval.end().plus(-1)).date_naive();
        let mut day = sum.zone.local(piece.interval.start()).date_naive();
        while day <= last {
            days.insert(day);
            let Some(next) = day.succ_opt() else { break };
            day = next;
        }
    }
    let who = match (sum.strand.total.affected, sum.strand.total.mailboxes) {
        (1, 1) => "your mailbox".to_owned(),
        (affected, all) if affected == all => format!("your {}", fmt::mailboxes(many(all))),
        (affected, all) => format!("{affected} of your {}", fmt::mailboxes(many(all))),
    };
    let verb = verb(sum);
    let differ = hit().any(|group| group.counted_micros != sum.strand.total.counted_micros);
    let upto = if differ { "up to " } else { "" };
    let days = fmt::days(&days.into_iter().collect::<Vec<_>>());
    Some(format!("On {days}, {who} {verb} for {upto}{}.", fmt::length(sum.strand.total.counted_micros)))
}

fn verb(sum: Seen<'_>) -> &'static str {
    let counting = sum.strand.lines.iter().filter(|line| line.counted_micros > 0);
    let whats: BTreeSet<&str> = counting
        .filter(|line| matches!(line.impact, Impact::Full))
        .map(|line| line.capability.0.split('.').next().unwrap_or_default())
        .collect();
    match whats.into_iter().collect::<Vec<_>>().as_slice() {
        ["receive"] => "could not receive mail",
        ["send"] => "could not send mail",
        ["access"] => "could not be opened",
        [] => "got mail late",
        _ => "did not work as promised",
    }
}

/// "99.9% in a calendar month: no more than 44 minutes down for each mailbox".
pub fn promised(sum: Seen<'_>) -> String {
    let Some(promised) = sum.strand.total.promised else {
        return "A credit by what went wrong, as your plan's terms say".to_owned();
    };
    let of = match sum.remedy.per {
        Per::Mailbox | Per::WorstMailbox => " for each mailbox",
        Per::MailboxMinutes => ", for all mailboxes together",
        Per::Account => "",
    };
    let minutes = allowed_minutes(sum).map_or_else(String::new, fmt::minutes);
    format!("{promised}% in a calendar month: no more than {minutes} down{of}")
}

/// "97.009%: 1,335 minutes down".
pub fn got(sum: Seen<'_>) -> String {
    let minutes = fmt::minutes(fmt::whole_minutes(sum.strand.total.counted_micros));
    format!("{}: {minutes} down", uptime(sum.strand.total.uptime))
}

/// "Against what we promised"; what it is worth only where that is settled.
pub fn against(receipt: &Receipt, is_settled: bool) -> FactSection {
    let mut facts = Vec::new();
    if let Some(sum) = seen(receipt) {
        facts.extend([Fact::new("We promised", promised(sum)), Fact::new("You got", got(sum))]);
    }
    if is_settled {
        facts.extend(tiers(receipt).into_iter().map(|text| Fact::new("So we credit", text)));
        facts.extend(the_sum(receipt));
    }
    FactSection { heading: "Against what we promised".to_owned(), facts }
}

/// "25% of the month for each mailbox affected (below 99.0% and not below 95.0%)", for each tier that was missed. Other ways of
/// paying are told as the receipt tells them.
pub fn tiers(receipt: &Receipt) -> Vec<String> {
    let Some(Seen { strand, remedy, .. }) = seen(receipt) else { return Vec::new() };
    let Schedule::TiersByUptime { boundary, tiers } = &remedy.schedule else {
        let own = |step: &&crate::domain::receipt::Step| step.name == StepName::Schedule;
        return receipt.steps.iter().filter(own).map(|step| step.says.clone()).collect();
    };
    let below = match boundary {
        Boundary::Below => "below",
        Boundary::AtOrBelow => "at or below",
    };
    let several = strand.parts.len() > 1;
    strand
        .parts
        .iter()
        .filter_map(|part| {
            let tier = part.tier?;
            let next = tiers.get(tier + 1).map(|next| format!(" and not {below} {}%", next.uptime_below));
            let whom = match remedy.per {
                Per::Mailbox if several => format!(" for {}", fmt::mailboxes(many(part.mailboxes))),
                Per::Mailbox => " for each mailbox affected".to_owned(),
                Per::MailboxMinutes | Per::WorstMailbox | Per::Account => String::new(),
            };
            let (next, at) = (next.unwrap_or_default(), tiers.get(tier)?.uptime_below);
            Some(format!("{} of the month{whom} ({below} {at}%{next})", share(part.share)))
        })
        .collect()
}

/// A share of a fee: a percentage where it is a short one.
fn share(share: Ratio) -> String {
    let percent = share.times(Ratio::whole(100)).unwrap_or(share).to_string();
    if percent.contains('/') { share.to_string() } else { format!("{percent}%") }
}

/// "8 mailboxes × $12.50 × 25% = $25.00", with the cap and the rounding where they change something.
pub fn the_sum(receipt: &Receipt) -> Vec<Fact> {
    let (sum, currency) = (&receipt.assessment, receipt.inputs.account.currency);
    let Outcome::Credit { amount } = &sum.outcome else { return Vec::new() };
    let products: Vec<String> = sum
        .strands
        .iter()
        .filter(|strand| strand.is_paid)
        .flat_map(|strand| strand.parts.iter().map(move |part| (strand, part)))
        .map(|(strand, part)| product(part, strand.account.is_some(), currency))
        .collect();
    let mut text = products.join(" + ");
    let is_exact = |figure: Ratio| is(&amount.digits(), figure);
    if !is_exact(sum.exact) {
        text.push_str(&format!(" = {}", major(sum.exact, currency)));
    }
    if sum.set_off.is_positive() {
        text.push_str(&format!(", less {} that you had before", major(sum.set_off, currency)));
    }
    let left = sum.exact.minus(sum.set_off).unwrap_or(sum.exact);
    if sum.capped != left {
        text.push_str(&format!("; the most that is paid is {}", major(sum.capped, currency)));
    }
    text.push_str(if is_exact(sum.capped) { " =" } else { ", rounded:" });
    vec![Fact::new("Sum", text).strong(fmt::money(*amount))]
}

/// "8 mailboxes × $12.50 × 25%".
fn product(part: &Part, is_whole: bool, currency: Currency) -> String {
    let mut factors = Vec::new();
    if !is_whole {
        factors.push(fmt::mailboxes(many(part.mailboxes)));
    }
    if part.flat.is_zero() {
        factors.push(major(part.fee, currency));
        factors.push(share(part.share));
    } else if part.share.is_zero() {
        factors.push(major(part.flat, currency));
    } else {
        factors.push(format!(
            "({} × {} + {})",
            major(part.fee, currency),
            share(part.share),
            major(part.flat, currency)
        ));
    }
    if part.multiplier != Ratio::ONE {
        factors.push(part.multiplier.to_string());
    }
    factors.join(" × ")
}

/// "Your 4 mailboxes met our promise of 99.9%."
pub fn nothing_note(receipt: &Receipt) -> String {
    let (Outcome::NothingDue { why }, Some(sum)) = (&receipt.assessment.outcome, seen(receipt)) else {
        return String::new();
    };
    let promise = sum
        .strand
        .total
        .promised
        .map_or_else(|| "our promise".to_owned(), |promised| format!("our promise of {promised}%"));
    let all = sum.strand.total.mailboxes;
    match why {
        NothingWhy::NoMailboxes => "You had no mailbox with us in this month.".to_owned(),
        NothingWhy::NoOutage | NothingWhy::NothingCounted | NothingWhy::PromiseKept if all == 1 => {
            format!("Your mailbox met {promise}.")
        }
        NothingWhy::NoOutage | NothingWhy::NothingCounted | NothingWhy::PromiseKept => {
            format!("Your {} met {promise}.", fmt::mailboxes(many(all)))
        }
        NothingWhy::NothingToCredit => {
            format!("We missed {promise}, and the credit for it comes to nothing: no fee was charged for the month.")
        }
        NothingWhy::BelowFloor => {
            format!("We missed {promise}, and what it comes to is less than your plan pays out.")
        }
        NothingWhy::SetOff => format!("We missed {promise}, and you were given as much for it before."),
        NothingWhy::AskedTooLate => {
            format!("We missed {promise}, and you asked for it after the time in which your plan lets you.")
        }
    }
}

/// "Why nothing": what counted, what did not, and the outages that were elsewhere.
pub fn why_nothing(receipt: &Receipt, elsewhere: &[OutageWindow]) -> FactSection {
    let mut facts = Vec::new();
    if let Some(sum) = seen(receipt) {
        let counted = fmt::minutes(fmt::whole_minutes(sum.strand.total.counted_micros));
        let above = allowed_minutes(sum).map_or_else(String::new, |allowed| {
            format!(" A credit starts above {} in the month.", fmt::minutes(allowed))
        });
        facts.push(Fact::new("We promised", promised(sum)));
        facts.push(Fact::new("Counted downtime", format!("{counted}.{above}")));
        let planned: Vec<String> = sum.strand.lines.iter().filter_map(|line| not_counted(line, sum)).collect();
        if !planned.is_empty() {
            facts.push(Fact::new("Not counted", planned.join(" ")));
        }
        facts.extend(elsewhere_facts(sum, elsewhere));
    }
    FactSection { heading: "Why nothing".to_owned(), facts }
}

fn not_counted(line: &Line, sum: Seen<'_>) -> Option<String> {
    let micros = line.measured_micros - line.counted_micros;
    if micros <= 0 {
        return None;
    }
    let day = fmt::day_month(sum.zone.local(line.start).date_naive());
    let minutes = fmt::minutes(fmt::whole_minutes(micros));
    Some(match line.notice {
        Some(notice) => {
            let told = fmt::day_month(sum.zone.local(notice.announced_at).date_naive());
            format!("{minutes} of planned maintenance on {day}. We told you on {told}.")
        }
        None => format!("{minutes} on {day}: {}.", what(line).to_lowercase()),
    })
}

/// For each outage that was on other mail systems: which failed, and that the account's kept working.
fn elsewhere_facts(sum: Seen<'_>, elsewhere: &[OutageWindow]) -> Vec<Fact> {
    let mut seen: Vec<(Instant, Option<Instant>, BTreeSet<String>)> = Vec::new();
    for window in elsewhere {
        let crate::domain::window::Scope::Shards(shards) = &window.scope else { continue };
        match seen.iter_mut().find(|(start, end, _)| (*start, *end) == (window.start, window.end)) {
            Some((_, _, all)) => all.extend(shards.iter().cloned()),
            None => seen.push((window.start, window.end, shards.iter().cloned().collect())),
        }
    }
    let own: BTreeSet<&str> =
        sum.strand.groups.iter().flat_map(|group| &group.stays).map(|stay| stay.shard.as_str()).collect();
    let mailboxes = match sum.strand.total.mailboxes {
        1 => "Your mailbox is".to_owned(),
        all => format!("Your {} are", fmt::mailboxes(many(all))),
    };
    seen.into_iter()
        .map(|(start, end, failed)| {
            let failed = systems(&failed.iter().map(String::as_str).collect::<Vec<_>>());
            let own_names: Vec<&str> = own.iter().copied().collect();
            let on_it = if own_names.len() == 1 { "it" } else { "them" };
            let until = end.map_or_else(String::new, |end| {
                format!(" until {}", fmt::time_on(end, sum.zone, Reader::Customer))
            });
            Fact::new(
                format!("The outage of {}", fmt::day_month(sum.zone.local(start).date_naive())),
                format!(
                    "It affected {failed}, from {}{until}. {mailboxes} on {}, which kept working. Our monitoring recorded \
                     no outage on {on_it}.",
                    fmt::time(start, sum.zone, Reader::Customer),
                    systems(&own_names)
                ),
            )
        })
        .collect()
}

/// `mail system 7`, `mail systems 7 and 8`.
fn systems(shards: &[&str]) -> String {
    let names: Vec<String> = shards.iter().map(|shard| fmt::mail_system(shard)).collect();
    match names.as_slice() {
        [one] => one.clone(),
        _ => {
            let short: Vec<String> =
                names.iter().map(|name| name.trim_start_matches("mail system ").to_owned()).collect();
            format!("mail systems {}", fmt::listed(&short))
        }
    }
}

/// The full, unplanned, confirmed outages of the period that touched no mailbox of the account.
pub fn elsewhere(receipt: &Receipt, windows: Vec<OutageWindow>) -> Vec<OutageWindow> {
    let Some(sum) = seen(receipt) else { return Vec::new() };
    let touches = |window: &OutageWindow| {
        let (lived, time) =
            (sum.strand.groups.iter().flat_map(|group| &group.stays), window.interval(sum.period.end()));
        lived
            .filter(|stay| window.scope.covers(&stay.shard))
            .any(|stay| time.is_none_or(|time| time.intersection(stay.interval).is_some()))
    };
    windows
        .into_iter()
        .filter(|window| {
            let is_big = matches!(window.impact, Impact::Full) && window.planned.is_none();
            is_big && window.is_confirmed() && window.start >= sum.period.start() && !touches(window)
        })
        .collect()
}
