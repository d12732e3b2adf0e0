//! An assessment in sentences: each step with the numbers that somebody needs to redo it with a pencil.

use std::collections::BTreeMap;

use super::assess::{Assessment, Blocker, Inputs, Line, NothingWhy, Outcome, Why};
use super::money::Rounding;
use super::period::{Month, Zone};
use super::ratio::Ratio;
use super::receipt::{Step, StepName};
use super::terms::{
    Boundary, Cap, Clock, Degraded, Delayed, Measure, MinimumOf, Payment, Payout, Planned, RemovesFrom, Rule, Schedule,
    TimePromised,
};
use super::time::{DAY, HOUR, Instant, MINUTE, SECOND};
use super::window::Impact;

/// Groups of mailboxes that a sentence lists before it only counts the rest.
const LISTED: usize = 10;

pub(super) fn steps(inputs: &Inputs, sum: &Assessment) -> Vec<Step> {
    let speak = Speaker { inputs, sum };
    vec![
        speak.windows(),
        speak.capability_rule(),
        speak.placements(),
        speak.joined(),
        speak.planned_cut(),
        speak.clock(),
        speak.minimum_length(),
        speak.cut_to_period(),
        speak.weighted(),
        speak.measured(),
        speak.schedule(),
        speak.base(),
        speak.combined(),
        speak.caps(),
        speak.rounded(),
        speak.payout(),
    ]
}

struct Speaker<'a> {
    inputs: &'a Inputs,
    sum: &'a Assessment,
}

fn step<const N: usize>(name: StepName, says: String, numbers: [(&str, String); N]) -> Step {
    let numbers: BTreeMap<String, String> = numbers.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Step { name, says, numbers }
}

impl Speaker<'_> {
    fn windows(&self) -> Step {
        let period = self.sum.period;
        step(
            StepName::Windows,
            format!(
                "{} touched the mailboxes in {}, which lasts from {} to {} in {}: {}.",
                counted(self.sum.lines.len(), "record"),
                month(self.inputs.period),
                local(period.start(), self.sum.zone),
                local(period.end(), self.sum.zone),
                self.sum.zone,
                spoken(period.micros())
            ),
            [
                ("records", self.sum.lines.len().to_string()),
                ("period_start", period.start().to_string()),
                ("period_end", period.end().to_string()),
                ("period_micros", period.micros().to_string()),
            ],
        )
    }

    fn capability_rule(&self) -> Step {
        let down = &self.inputs.terms.down;
        let promised = down.capabilities.iter().map(|one| one.0.as_str()).collect::<Vec<_>>();
        let rule = match down.rule {
            Rule::Any => format!("Time is down when any of these is lost: {}.", promised.join(", ")),
            Rule::All => format!("Time is down only when all of these are lost at once: {}.", promised.join(", ")),
        };
        let delayed = match down.delayed {
            Delayed::NeverCounts => "What is only late never counts.".to_owned(),
            Delayed::Counts { from_seconds, weight_percent } => {
                format!("A delay of {from_seconds} seconds or more counts as {weight_percent} % of its time.")
            }
        };
        let degraded = match down.degraded {
            Degraded::NeverCounts => "What works in part never counts.",
            Degraded::CountsInFull => "What works in part counts as if nothing worked.",
            Degraded::CountsByWeight => "What works in part counts as the part that did not.",
        };
        step(StepName::CapabilityRule, format!("{rule} {delayed} {degraded}"), [("capabilities", promised.join(","))])
    }

    fn placements(&self) -> Step {
        let total = &self.sum.total;
        let mut says: Vec<String> = self
            .sum
            .groups
            .iter()
            .take(LISTED)
            .map(|group| {
                let on: Vec<String> = match group.stays.as_slice() {
                    [only] if only.interval == self.sum.period => vec![only.shard.clone()],
                    stays => stays
                        .iter()
                        .map(|stay| {
                            let (from, to) = (stay.interval.start(), stay.interval.end());
                            format!(
                                "{} from {} to {}",
                                stay.shard,
                                local(from, self.sum.zone),
                                local(to, self.sum.zone)
                            )
                        })
                        .collect(),
                };
                let contested = if group.contested { " (two sources disagree)" } else { "" };
                format!("{} on {}{contested}", counted(group.mailboxes.len(), "mailbox"), on.join(", "))
            })
            .collect();
        if self.sum.groups.len() > LISTED {
            says.push(format!("and {} more groups", self.sum.groups.len() - LISTED));
        }
        let says = if says.is_empty() { "There was no mailbox.".to_owned() } else { format!("{}.", says.join("; ")) };
        step(
            StepName::Placements,
            says,
            [("mailboxes", total.mailboxes.to_string()), ("groups", self.sum.groups.len().to_string())],
        )
    }

    fn joined(&self) -> Step {
        let overlap: i64 = self.uncounted(|why| matches!(why, Why::Overlap { .. }));
        let measured = self.sum.total.measured_micros;
        let says = if overlap > 0 {
            format!(
                "For the mailboxes that were hit most, the records add up to {}; {} of it lies in two records and counts once.",
                spoken(measured),
                spoken(overlap)
            )
        } else {
            format!(
                "For the mailboxes that were hit most, the records add up to {}, and no minute of it counts for two records.",
                spoken(measured)
            )
        };
        step(
            StepName::Joined,
            says,
            [("measured_micros", measured.to_string()), ("overlap_micros", overlap.to_string())],
        )
    }

    fn planned_cut(&self) -> Step {
        let excused = self.uncounted(|why| matches!(why, Why::Planned { .. }));
        let mut says = vec![match self.inputs.terms.planned {
            Planned::Counts => "Planned work counts like any outage.".to_owned(),
            Planned::Excused { minimum_notice_hours, removes_from } => format!(
                "Planned work does not count if it was announced at least {minimum_notice_hours} hours ahead, as far as it kept to \
                 what was announced{}: {} cut.",
                match removes_from {
                    RemovesFrom::Numerator => "",
                    RemovesFrom::NumeratorAndDenominator => ", and is taken out of the time promised too",
                },
                spoken(excused)
            ),
        }];
        says.extend(self.sum.lines.iter().enumerate().filter_map(|(index, line)| {
            let notice = line.notice?;
            Some(format!(
                "Record {}: announced {} for {} to {}, {} ahead{}.",
                index + 1,
                local(notice.announced_at, self.sum.zone),
                local(notice.announced.start(), self.sum.zone),
                local(notice.announced.end(), self.sum.zone),
                spoken_long(notice.notice_micros),
                if notice.enough { "" } else { ", which does not excuse it" }
            ))
        }));
        step(StepName::PlannedCut, says.join(" "), [("excused_micros", excused.to_string())])
    }

    fn clock(&self) -> Step {
        let says = match self.inputs.terms.clock {
            Clock::WhenItBegan => {
                "Time runs from when each outage began, whether or not anybody reported it, and does not pause."
            }
        };
        step(StepName::Clock, says.to_owned(), [])
    }

    fn minimum_length(&self) -> Step {
        let minimum = self.inputs.terms.minimum_outage;
        let dropped = self.uncounted(|why| why == Why::OutageTooShort);
        let says = if minimum.seconds == 0 {
            "There is no shortest outage: every second counts.".to_owned()
        } else {
            let of = match minimum.of {
                MinimumOf::BeforeCuts => "measured before planned work is cut",
                MinimumOf::WhatIsLeft => "measured after planned work is cut",
            };
            format!(
                "An outage shorter than {} seconds, {of}, does not count: {} dropped.",
                minimum.seconds,
                spoken(dropped)
            )
        };
        step(StepName::MinimumLength, says, [("dropped_micros", dropped.to_string())])
    }

    fn cut_to_period(&self) -> Step {
        let outside: i64 = self.worst_lines().map(|line| line.outside_period_micros).sum();
        let says = if outside > 0 {
            format!(
                "{} lies before or after {} and belongs to another month.",
                spoken(outside),
                month(self.inputs.period)
            )
        } else {
            format!("All of it lies within {}.", month(self.inputs.period))
        };
        step(StepName::CutToPeriod, says, [("outside_micros", outside.to_string())])
    }

    fn weighted(&self) -> Step {
        let total = &self.sum.total;
        let counted = total.counted_micros;
        let says = if total.weighted_micros == Ratio::whole(counted) {
            format!("What is left counts in full: {}.", spoken(counted))
        } else {
            format!("{} count, weighed as {} minutes.", spoken(counted), minutes_exact(total.weighted_micros))
        };
        step(
            StepName::Weighted,
            says,
            [("counted_micros", counted.to_string()), ("weighted_micros", total.weighted_micros.to_string())],
        )
    }

    fn measured(&self) -> Step {
        let total = &self.sum.total;
        let promised = self.sum.groups.first().map_or(self.sum.period.micros(), |group| group.promised_micros);
        let Measure::UptimeRatio { per: _, of } = self.inputs.terms.measure;
        let of = match of {
            TimePromised::WholePeriod => "the whole month",
            TimePromised::WhileItExisted => "the time that the mailbox was there",
        };
        let (all, down) = (minutes_exact(Ratio::whole(promised)), minutes_exact(total.weighted_micros));
        step(
            StepName::Measured,
            format!(
                "Of {of}, {all} minutes, mail worked ({all} - {down}) / {all} = {} % for the mailboxes that were hit most; {} of {} \
                 had any time down.",
                self.percent(total.uptime),
                total.affected,
                total.mailboxes
            ),
            [
                ("promised_micros", promised.to_string()),
                ("down_micros", total.weighted_micros.to_string()),
                ("uptime_percent", percent(total.uptime).shown(6)),
                ("affected", total.affected.to_string()),
                ("mailboxes", total.mailboxes.to_string()),
            ],
        )
    }

    fn schedule(&self) -> Step {
        let total = &self.sum.total;
        let Schedule::TiersByUptime { boundary, tiers } = &self.inputs.terms.schedule;
        let below = match boundary {
            Boundary::Below => "below",
            Boundary::AtOrBelow => "at or below",
        };
        let promise = format!(
            "{} % is promised: at most {} minutes down for each mailbox.",
            total.promised,
            minutes_exact(total.allowed_micros)
        );
        let tier = total.tier.and_then(|tier| tiers.get(tier).map(|paid| (paid, tiers.get(tier + 1))));
        let says = match tier {
            None => format!("{promise} {} % is not {below} that.", self.percent(total.uptime)),
            Some((paid, next)) => {
                let next = next.map_or_else(String::new, |next| format!(" and not {below} {} %", next.uptime_below));
                format!(
                    "{promise} {} % is {below} {} %{next}: {} % is credited.",
                    self.percent(total.uptime),
                    paid.uptime_below,
                    paid.credit_percent
                )
            }
        };
        step(
            StepName::Schedule,
            says,
            [
                ("promised_percent", total.promised.to_string()),
                ("allowed_micros", total.allowed_micros.to_string()),
                ("credit_percent", tier.map_or_else(|| "0".to_owned(), |(paid, _)| paid.credit_percent.to_string())),
                ("missed", total.missed.to_string()),
            ],
        )
    }

    fn base(&self) -> Step {
        let says = match &self.sum.fees {
            None if self.sum.total.missed == 0 => "No fee is needed.".to_owned(),
            None => "No charge for the period was found.".to_owned(),
            Some(fees) => format!(
                "Charge {} was {} for the month, tax included: {} for each mailbox.",
                fees.charges.join(", "),
                self.major(fees.whole),
                self.major(fees.per_mailbox)
            ),
        };
        let fee = |of: Option<Ratio>| of.map_or_else(|| "0".to_owned(), |ratio| ratio.to_string());
        step(
            StepName::Base,
            says,
            [
                ("fee_per_mailbox", fee(self.sum.fees.as_ref().map(|fees| fees.per_mailbox))),
                ("fee_whole", fee(self.sum.fees.as_ref().map(|fees| fees.whole))),
            ],
        )
    }

    fn combined(&self) -> Step {
        let fee = self.sum.fees.as_ref().map_or(Ratio::ZERO, |fees| fees.per_mailbox);
        let parts: Vec<String> = self
            .sum
            .parts
            .iter()
            .map(|part| {
                let count = counted(part.mailboxes, "mailbox");
                format!("{count} x {} x {} % = {}", self.major(fee), part.credit_percent, self.major(part.exact))
            })
            .collect();
        let says = match parts.as_slice() {
            [] => "No mailbox is due anything.".to_owned(),
            [one] => format!("{one}."),
            several => format!("{}; together {}.", several.join("; "), self.major(self.sum.exact)),
        };
        step(StepName::Combined, says, [("exact", self.sum.exact.to_string())])
    }

    fn caps(&self) -> Step {
        let caps: Vec<String> = self
            .inputs
            .terms
            .caps
            .iter()
            .map(|cap| match cap {
                Cap::PercentOfPeriodFee { percent } => format!("{percent} % of the fee of the month"),
                Cap::AmountPerPeriod { amount } => format!("{amount} a month"),
            })
            .collect();
        let says = if caps.is_empty() {
            "There is no cap.".to_owned()
        } else if self.sum.capped == self.sum.exact {
            format!("That is not above the most that is paid: {}.", caps.join(", "))
        } else {
            format!("The most that is paid is {}: {} is left.", caps.join(", "), self.major(self.sum.capped))
        };
        step(StepName::Caps, says, [("capped", self.sum.capped.to_string())])
    }

    fn rounded(&self) -> Step {
        let mode = match self.inputs.terms.rounding.mode {
            Rounding::HalfUp => "half up",
            Rounding::HalfEven => "half to even",
            Rounding::Up => "up",
            Rounding::Down => "down",
        };
        let amount = amount(self.inputs, self.sum);
        step(
            StepName::Rounded,
            format!("Rounded {mode}, once, for the whole account: {amount}."),
            [("credit", amount.clone())],
        )
    }

    fn payout(&self) -> Step {
        let Payout::CreditOnBill = self.inputs.terms.payout;
        let how = match self.inputs.terms.payment {
            Payment::Automatic => "without being asked for",
            Payment::OnRequest => "when the customer asks for it",
        };
        let says = match &self.sum.outcome {
            Outcome::Credit { amount } => format!("{amount} is credited on a bill, {how}."),
            Outcome::NothingDue { why } => format!("Nothing is due: {}.", nothing(*why)),
        };
        step(StepName::Payout, says, [])
    }

    fn worst_lines(&self) -> impl Iterator<Item = &Line> {
        self.sum.lines.iter().filter(|line| line.group == 0)
    }

    fn uncounted(&self, which: impl Fn(Why) -> bool) -> i64 {
        self.worst_lines().flat_map(|line| &line.uncounted).filter(|part| which(part.why)).map(|part| part.micros).sum()
    }

    /// A figure in major units: with the currency's decimals where it has no more, else exact.
    fn major(&self, figure: Ratio) -> String {
        let places = self.inputs.account.currency.decimals();
        let short = figure.shown(places);
        if short.parse::<Ratio>().is_ok_and(|parsed| parsed == figure) { short } else { figure.to_string() }
    }

    /// Three places, or as many more as it takes not to look like a threshold that it is not.
    fn percent(&self, uptime: Ratio) -> String {
        let Schedule::TiersByUptime { tiers, .. } = &self.inputs.terms.schedule;
        let exact = percent(uptime);
        let misleads = |shown: &String| {
            shown.parse::<Ratio>().is_ok_and(|shown| {
                shown != exact
                    && (shown == Ratio::whole(100)
                        || tiers.iter().any(|tier| percent(tier.uptime_below.ratio()) == shown))
            })
        };
        [3, 6, 9]
            .into_iter()
            .map(|places| exact.shown(places))
            .find(|shown| !misleads(shown))
            .unwrap_or_else(|| exact.to_string())
    }
}

/// The credit as `NZD 25.00`; zero where nothing is due.
pub(super) fn amount(inputs: &Inputs, sum: &Assessment) -> String {
    match &sum.outcome {
        Outcome::Credit { amount } => amount.to_string(),
        Outcome::NothingDue { .. } => super::money::Money::zero(inputs.account.currency).to_string(),
    }
}

pub(super) fn nothing(why: NothingWhy) -> &'static str {
    match why {
        NothingWhy::NoMailboxes => "the account had no mailbox in the period",
        NothingWhy::NoOutage => "no outage touched a mailbox",
        NothingWhy::NothingCounted => "none of the recorded time counts",
        NothingWhy::PromiseKept => "mail was down for less than the promise allows",
        NothingWhy::NothingToCredit => "the promise was missed, and its credit comes to nothing",
    }
}

pub(super) fn blocker(blocker: &Blocker, zone: Zone) -> String {
    match blocker {
        Blocker::PeriodNotOver { ends } => format!("the period ends only at {}", local(*ends, zone)),
        Blocker::WindowOpen { window } => format!("the outage {window} has no end yet"),
        Blocker::WindowNotConfirmed { window } => format!("the outage {window} is not signed off"),
        Blocker::WindowDisputed { window } => format!("those who reported the outage {window} disagree"),
        Blocker::ContestedPlacement { mailbox } => format!("two sources disagree about where {mailbox} lived"),
        Blocker::MissingCharge { from, to } => format!("there is no charge from {from} up to {to}"),
        Blocker::ChargesOverlap { numbers } => format!("the charges {} are for the same days", numbers.join(", ")),
        Blocker::TermsMissing { plan } => format!("the plan {plan} has no terms for the period"),
    }
}

/// A line's event, as staff say it.
pub(super) fn what(line: &Line) -> String {
    let impact = match line.impact {
        Impact::Full => match line.capability.0.as_str() {
            "receive" => "could not receive".to_owned(),
            "send" => "could not send".to_owned(),
            "access" => "could not be opened".to_owned(),
            other => format!("no {other}"),
        },
        Impact::Delayed { .. } => "slow".to_owned(),
        Impact::Degraded { .. } => format!("{} in part", line.capability.0),
    };
    if line.notice.is_some() { "planned".to_owned() } else { impact }
}

/// Why time of a line did not count, in a few words.
pub(super) fn why(why: Why, own: usize) -> String {
    match why {
        Why::Overlap { line } => format!("overlap with record {}", line + 1),
        Why::Planned { line } if line == own => "planned".to_owned(),
        Why::Planned { line } => format!("within the planned work of record {}", line + 1),
        Why::Retracted => "found not to have happened".to_owned(),
        Why::NotPromised => "not promised".to_owned(),
        Why::DelayTooShort => "delay too short to count".to_owned(),
        Why::ImpactNotCounted => "does not count under the terms".to_owned(),
        Why::OtherCapabilityWorked => "not everything was lost at once".to_owned(),
        Why::OutageTooShort => "outage too short to count".to_owned(),
    }
}

pub(super) fn month(month: Month) -> String {
    month.first_day().format("%B %Y").to_string()
}

/// `13 Oct 06:10`, with seconds where there are any.
pub(super) fn local(at: Instant, zone: Zone) -> String {
    let local = zone.local(at);
    let pattern = match at.micros() % MINUTE {
        0 => "%-d %b %H:%M",
        rest if rest % SECOND == 0 => "%-d %b %H:%M:%S",
        _ => "%-d %b %H:%M:%S%.6f",
    };
    local.format(pattern).to_string()
}

fn counted(count: usize, noun: &str) -> String {
    let plural = match (count, noun) {
        (1, _) => "",
        (_, "mailbox") => "es",
        _ => "s",
    };
    format!("{count} {noun}{plural}")
}

fn percent(part: Ratio) -> Ratio {
    part.times(Ratio::whole(100)).unwrap_or(part)
}

fn minutes_exact(micros: Ratio) -> String {
    let minutes = micros.over(Ratio::whole(MINUTE)).unwrap_or(micros);
    let text = minutes.to_string();
    match text.parse::<i64>() {
        Ok(whole) => grouped(whole),
        Err(_) => text,
    }
}

/// `1,335 min`, `44 min 35 s`, `38.4 s`.
pub(super) fn spoken(micros: i64) -> String {
    let (minutes, rest) = (micros / MINUTE, micros % MINUTE);
    let seconds = Ratio::new(rest.into(), SECOND.into()).map_or_else(|_| String::new(), |seconds| seconds.to_string());
    match (minutes, rest) {
        (minutes, 0) => format!("{} min", grouped(minutes)),
        (0, _) => format!("{seconds} s"),
        (minutes, _) => format!("{} min {seconds} s", grouped(minutes)),
    }
}

/// In days and hours where it is longer than two days: `9 days`, `36 hours`.
fn spoken_long(micros: i64) -> String {
    if micros >= 2 * DAY {
        format!("{} days", micros / DAY)
    } else if micros >= HOUR {
        format!("{} hours", micros / HOUR)
    } else {
        spoken(micros)
    }
}

/// Digits in threes: `44,640`.
pub(super) fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::new();
    if value < 0 {
        text.push('-');
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
