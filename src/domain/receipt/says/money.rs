//! The steps in money: what was measured, what that pays, and how it becomes one amount.

use super::Speaker;
use super::terms::{Words, due, figure, item, pays, share, when};
use super::words::{capital, counted, grouped, length, minutes_exact, named, percent, spoken_exact};
use crate::domain::assessment::{Measured, Part, Verdict};
use crate::domain::money::Currency;
use crate::domain::ratio::Ratio;
use crate::domain::receipt::{Step, StepName};
use crate::domain::remedy::{
    BandBoundary, Base, Boundary, ChargeChoice, DayKind, FirstPayment, Limit, Measure, Pay, Per, Schedule, Tax,
    TimePromised,
};

/// Items that a sentence lists before it only counts the rest.
const LISTED: usize = 60;

/// Groups of mailboxes whose own sums a sentence tells.
const GROUPS: usize = 10;

impl Speaker<'_> {
    fn currency(&self) -> Currency {
        self.inputs.account.currency
    }

    /// The verdict that the worst mailbox, or the account as a whole, has.
    fn verdict(&self) -> Option<&Verdict> {
        self.strand.account.as_ref().or_else(|| self.strand.groups.first().and_then(|group| group.verdict.as_ref()))
    }

    /// The first day that is judged, and the one after the last.
    fn judged_period(&self) -> (chrono::NaiveDate, chrono::NaiveDate) {
        let day = |at| self.sum.zone.local(at).date_naive();
        (day(self.strand.span.start()), day(self.strand.span.end()))
    }

    /// From the day on which anything began up to the end of what is judged.
    fn judged_days(&self) -> (chrono::NaiveDate, chrono::NaiveDate) {
        let starts = self.strand.lines.iter().map(|line| line.start);
        let first = starts.chain([self.strand.span.start()]).min().unwrap_or(self.strand.span.start());
        let day = |at| self.sum.zone.local(at).date_naive();
        (day(first), day(self.strand.span.end()))
    }

    fn words(&self) -> Words<'_> {
        Words {
            currency: self.currency(),
            days: self.judged_days(),
            circumstances: &self.inputs.circumstances,
            promised_micros: self.strand.total.promised_micros,
        }
    }

    fn whose(&self) -> String {
        match self.remedy.per {
            Per::Mailbox => self.hit_most(),
            Per::MailboxMinutes => "for the minutes of all mailboxes together".to_owned(),
            Per::WorstMailbox => "for the account by its worst mailbox".to_owned(),
            Per::Account => "for the account as a whole".to_owned(),
        }
    }

    pub(super) fn measured(&self) -> Step {
        let total = &self.strand.total;
        let affected = format!("{} of {} had any time down", total.affected, counted(total.mailboxes, "mailbox"));
        let (all, down) = (minutes_exact(Ratio::whole(total.promised_micros)), minutes_exact(total.weighted_micros));
        let items = self.verdict().map_or(0, |verdict| verdict.items.len());
        let says = match &self.remedy.measure {
            Measure::Uptime { of } => {
                let of = match of {
                    TimePromised::WholePeriod => "the whole period".to_owned(),
                    TimePromised::WhileItExisted => "the time that the mailbox was there".to_owned(),
                    TimePromised::Minutes(minutes) => {
                        format!("the {} minutes that always count", grouped((*minutes).into()))
                    }
                };
                format!(
                    "Of {of}, {all} minutes, it worked ({all} - {down}) / {all} = {} % {}; {affected}.",
                    self.percent(total.uptime),
                    self.whose()
                )
            }
            Measure::ErrorRate { interval_seconds, .. } => {
                let (intervals, rate) =
                    match self.verdict().and_then(|verdict| verdict.items.first()).map(|one| &one.measured) {
                        Some(Measured::ErrorRate { intervals, error_rate, .. }) => (*intervals, *error_rate),
                        _ => (0, Ratio::ZERO),
                    };
                let exact = percent(rate).to_string();
                let is_short = exact.len() <= 8 && !exact.contains('/');
                format!(
                    "{}The mean error rate of {} intervals of {} is {rate}: 100 % - {} % = {} %.",
                    self.samples(),
                    grouped(i64::try_from(intervals).unwrap_or(i64::MAX)),
                    length(*interval_seconds),
                    if is_short { exact } else { percent(rate).shown(6) },
                    self.percent(total.uptime)
                )
            }
            Measure::TimeDown => {
                format!("Down {} in all {}; {affected}.", spoken_exact(total.weighted_micros), self.whose())
            }
            Measure::Outages => format!("{} {}; {affected}.", counted(items, "outage"), self.whose()),
            Measure::Days { days, .. } => {
                let kind = match days {
                    DayKind::Calendar => "calendar day",
                    DayKind::Working => "working day",
                };
                let days = counted(usize::try_from(self.days()).unwrap_or(usize::MAX), kind);
                format!("{days} with time down {}; {affected}.", self.whose())
            }
            Measure::Events { event, .. } if items == 0 => format!("No event of the kind {event} was recorded."),
            Measure::Events { event, .. } => format!("{} of the kind {event}.", counted(items, "event")),
        };
        self.step(
            StepName::Measured,
            says,
            [
                ("promised_micros", total.promised_micros.to_string()),
                ("down_micros", total.weighted_micros.to_string()),
                ("uptime_percent", percent(total.uptime).shown(6)),
                ("items", items.to_string()),
                ("affected", total.affected.to_string()),
                ("mailboxes", total.mailboxes.to_string()),
            ],
        )
    }

    /// The samples that the mean is made of; intervals without one had no errors.
    fn samples(&self) -> String {
        let judged =
            self.strand.capability.as_ref().map_or(self.remedy.down.capabilities.as_slice(), std::slice::from_ref);
        let span = self.strand.span;
        let samples: Vec<String> = self
            .inputs
            .samples
            .iter()
            .filter(|sample| judged.iter().any(|one| sample.of.is_within(one)))
            .filter(|sample| span.start() <= sample.start && sample.start < span.end())
            .map(|sample| {
                let intervals = counted(usize::try_from(sample.intervals).unwrap_or(usize::MAX), "interval");
                format!("{intervals} in which {} of {} requests failed", sample.errors, sample.requests)
            })
            .collect();
        if samples.is_empty() {
            String::new()
        } else {
            format!("{}; all others without an error. ", capital(&samples.join("; ")))
        }
    }

    fn days(&self) -> u64 {
        let counts = self.verdict().into_iter().flat_map(|verdict| &verdict.items).map(|one| match one.measured {
            Measured::Days { count, .. } => u64::from(count),
            Measured::Period { .. } | Measured::ErrorRate { .. } | Measured::Outage { .. } | Measured::Event { .. } => {
                0
            }
        });
        counts.sum()
    }

    pub(super) fn schedule(&self) -> Step {
        let total = &self.strand.total;
        let verdict = self.verdict();
        let mut says = vec![self.table()];
        if let Some(condition) = &self.remedy.when {
            let holds = if self.strand.applies { "it does" } else { "it does not, and nothing is due" };
            says.push(format!("It applies {}: {holds}.", when(condition)));
        }
        if !self.inputs.circumstances.is_empty() && !self.remedy.conditions().is_empty() {
            says.push(format!("Recorded of the account: {}.", self.inputs.circumstances.join(", ")));
        }
        let by_uptime = matches!(self.remedy.schedule, Schedule::TiersByUptime { .. });
        match verdict {
            Some(verdict) if !by_uptime => {
                let listed: Vec<String> =
                    verdict.items.iter().take(LISTED).map(|one| item(one, self.sum.zone, self.currency())).collect();
                if !listed.is_empty() {
                    let more = verdict.items.len().saturating_sub(LISTED);
                    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
                    says.push(format!("{}{more}.", capital(&listed.join("; "))));
                }
            }
            Some(_) | None => {}
        }
        says.extend(self.others(by_uptime));
        if let Some(verdict) = verdict {
            if !self.remedy.limits.is_empty() {
                says.push(self.limits(verdict));
            }
            if !by_uptime {
                says.push(format!("Together {} {}.", due(&verdict.due, self.currency()), self.whose()));
            }
        }
        let share = verdict.map_or(Ratio::ZERO, |verdict| verdict.due.share);
        self.step(
            StepName::Schedule,
            says.join(" "),
            [
                ("promised_percent", total.promised.map_or_else(String::new, |promised| promised.to_string())),
                ("allowed_micros", total.allowed_micros.map_or_else(String::new, |allowed| allowed.to_string())),
                ("credit_percent", percent(share).to_string()),
                ("flat", verdict.map_or(Ratio::ZERO, |verdict| verdict.due.flat).to_string()),
                ("service_days", verdict.map_or(0, |verdict| verdict.due.service_days).to_string()),
                ("units", verdict.map_or(Ratio::ZERO, |verdict| verdict.due.units).to_string()),
                ("missed", total.missed.to_string()),
            ],
        )
    }

    /// What the other groups of mailboxes were due, where each is judged alone; of tiers, their uptime says it.
    fn others(&self, by_uptime: bool) -> Vec<String> {
        let others = self.strand.groups.iter().skip(1).filter(|group| group.counted_micros > 0).take(GROUPS);
        others
            .filter_map(|group| {
                let verdict = group.verdict.as_ref()?;
                let who = named(&group.mailboxes);
                if by_uptime {
                    let (uptime, paid) = (self.percent(group.uptime), due(&verdict.due, self.currency()));
                    return Some(format!("{} {uptime} %: {paid}.", capital(&format!("{who}:"))));
                }
                let items: Vec<String> =
                    verdict.items.iter().map(|one| item(one, self.sum.zone, self.currency())).collect();
                Some(format!("{} {}.", capital(&format!("{who}:")), items.join("; ")))
            })
            .collect()
    }

    /// What the terms' table says, as far as it matters here.
    fn table(&self) -> String {
        let (total, words) = (&self.strand.total, self.words());
        let below = |boundary: &Boundary| match boundary {
            Boundary::Below => "below",
            Boundary::AtOrBelow => "at or below",
        };
        match &self.remedy.schedule {
            Schedule::Always { pays: paid } => match self.remedy.measure {
                Measure::Uptime { .. } | Measure::TimeDown | Measure::ErrorRate { .. } => {
                    format!("It pays {}.", pays(paid, words))
                }
                Measure::Outages | Measure::Days { .. } | Measure::Events { .. } => {
                    format!("Each pays {}.", pays(paid, words))
                }
            },
            Schedule::TiersByUptime { boundary, tiers } => {
                let below = below(boundary);
                let promised = total.promised.map_or_else(String::new, |promised| promised.to_string());
                let promise = match self.remedy.measure {
                    Measure::ErrorRate { .. } => format!("{promised} % is promised."),
                    Measure::Uptime { .. }
                    | Measure::TimeDown
                    | Measure::Outages
                    | Measure::Days { .. }
                    | Measure::Events { .. } => format!(
                        "{promised} % is promised: at most {} minutes down{}.",
                        total.allowed_micros.map_or_else(String::new, minutes_exact),
                        if self.remedy.per == Per::Mailbox { " for each mailbox" } else { "" }
                    ),
                };
                let uptime = self.percent(total.uptime);
                match total.tier.and_then(|tier| tiers.get(tier).map(|paid| (paid, tiers.get(tier + 1)))) {
                    None => format!("{promise} {uptime} % is not {below} that."),
                    Some((paid, next)) => {
                        let next =
                            next.map_or_else(String::new, |next| format!(" and not {below} {} %", next.uptime_below));
                        let are = match &paid.pays {
                            Pay::ServiceDays(2..) | Pay::SumOf(_) => "are",
                            _ => "is",
                        };
                        let missed = match self.remedy.per {
                            Per::Mailbox => format!(" {} missed a tier.", counted(total.missed, "mailbox")),
                            Per::MailboxMinutes | Per::WorstMailbox | Per::Account => String::new(),
                        };
                        let paid = (paid.uptime_below, pays(&paid.pays, words));
                        format!(
                            "{promise} {uptime} % is {below} {} %{next}: {} {are} credited.{missed}",
                            paid.0, paid.1
                        )
                    }
                }
            }
            Schedule::BandsByLength { boundary, bands } => {
                let with = match boundary {
                    BandBoundary::UpToAndWith => "up to and with",
                    BandBoundary::UpToWithout => "below",
                };
                let rows: Vec<String> = bands
                    .iter()
                    .map(|band| match band.seconds {
                        Some(seconds) => format!("{with} {}: {}", length(seconds), pays(&band.pays, words)),
                        None => format!("longer: {}", pays(&band.pays, words)),
                    })
                    .collect();
                format!("By how long it lasted, {}.", rows.join("; "))
            }
            Schedule::Steps { uptime_below, boundary, first, every_percent, each_further } => {
                let steps = self.whole_steps(total.uptime, uptime_below.ratio(), every_percent.ratio());
                let uptime = self.percent(total.uptime);
                let below = below(boundary);
                format!(
                    "{} {uptime_below} % {} is paid, and {} more for every whole {every_percent} % further down. {uptime} % is {}.",
                    capital(below),
                    pays(first, words),
                    pays(each_further, words),
                    match steps.is_positive() {
                        true => format!("{steps} whole steps down"),
                        false => format!("no whole step {below}"),
                    }
                )
            }
            Schedule::ByDay { grace, rows, at_most } => {
                let mut said = Vec::new();
                if grace.days > 0 {
                    let kind = match grace.of {
                        DayKind::Calendar => "day",
                        DayKind::Working => "working day",
                    };
                    let first = match grace.first_payment {
                        FirstPayment::OnTheLastDayOfGrace => "its last day pays first",
                        FirstPayment::OnTheDayAfterGrace => "the day after it pays first",
                    };
                    let days = counted(usize::try_from(grace.days).unwrap_or(usize::MAX), kind);
                    said.push(format!("The grace is {days}, and {first}."));
                }
                for row in rows {
                    said.push(format!("From day {} on, each day pays {}.", row.from_day, pays(&row.pays, words)));
                }
                if let Some(most) = at_most {
                    let condition = most.when.as_ref().map_or_else(String::new, |one| format!(" ({})", when(one)));
                    said.push(format!("At most {} payments{condition}.", most.payments));
                }
                said.join(" ")
            }
        }
    }

    fn limits(&self, verdict: &Verdict) -> String {
        let limits: Vec<String> = self
            .remedy
            .limits
            .iter()
            .map(|limit| match limit {
                Limit::PercentOfBase { percent } => format!("{percent} % of the fee"),
                Limit::Amount { amount } => format!("{} {amount}", self.currency()),
                Limit::PercentOfBasePerOutage { percent } => format!("{percent} % of the fee for an outage"),
                Limit::AmountPerOutage { amount } => format!("{} {amount} for an outage", self.currency()),
            })
            .collect();
        let effect = if verdict.limited_to.is_some() { ", which takes something off" } else { "" };
        format!("At most {}{effect}.", limits.join(", and "))
    }

    pub(super) fn base(&self) -> Step {
        let says = match (&self.remedy.base, &self.strand.fees) {
            (Base::None, _) => "No fee is needed: amounts are fixed.".to_owned(),
            (Base::ChargedFee { .. } | Base::PriceList { .. }, None) if self.strand.parts.is_empty() => {
                "No fee is needed.".to_owned()
            }
            (Base::ChargedFee { .. } | Base::PriceList { .. }, None) => {
                "No charge for the period was found.".to_owned()
            }
            (Base::PriceList { price, .. }, Some(_)) => {
                format!("The price list says {} {price} for a period, whatever was charged.", self.currency())
            }
            (Base::ChargedFee { tax, charges, .. }, Some(fees)) => {
                let tax = match tax {
                    Tax::Included => "tax included",
                    Tax::Excluded => "without tax",
                };
                let choice = match charges {
                    ChargeChoice::All => String::new(),
                    ChargeChoice::Only(items) => format!(" (only {})", items.join(", ")),
                    ChargeChoice::GreaterOf(items) => format!(" (the greater of {})", items.join(" and ")),
                };
                let each = match self.remedy.per {
                    Per::Mailbox if fees.own.is_empty() => {
                        format!(": {} for each mailbox", self.major(fees.per_mailbox))
                    }
                    Per::Mailbox => {
                        let own: Vec<String> =
                            fees.own.iter().map(|(name, fee)| format!("{name} {}", self.major(*fee))).collect();
                        format!(": {}", own.join(", "))
                    }
                    Per::MailboxMinutes | Per::WorstMailbox | Per::Account => String::new(),
                };
                let (charge, was) = if fees.charges.len() == 1 { ("Charge", "was") } else { ("Charges", "were") };
                format!(
                    "{charge} {} {was} {} for the period, {tax}{choice}{each}.",
                    fees.charges.join(", "),
                    self.major(fees.whole)
                )
            }
        };
        let fee = |of: Option<Ratio>| of.map_or_else(|| "0".to_owned(), |ratio| ratio.to_string());
        self.step(
            StepName::Base,
            says,
            [
                ("fee_per_mailbox", fee(self.strand.fees.as_ref().map(|fees| fees.per_mailbox))),
                ("fee_whole", fee(self.strand.fees.as_ref().map(|fees| fees.whole))),
            ],
        )
    }

    pub(super) fn paid(&self) -> Step {
        let parts: Vec<String> = self.strand.parts.iter().map(|part| self.part(part)).collect();
        let says = match parts.as_slice() {
            [] => "Nothing is due.".to_owned(),
            [one] => format!("{}.", capital(one)),
            several => {
                let whole = self.strand.exact.plus(self.strand.days_worth).unwrap_or(self.strand.exact);
                format!("{}; together {}.", several.join("; "), self.major(whole))
            }
        };
        let days = self.strand.service_days.to_string();
        self.step(StepName::Paid, says, [("exact", self.strand.exact.to_string()), ("service_days", days)])
    }

    fn part(&self, part: &Part) -> String {
        let count = match self.remedy.per {
            Per::Mailbox => format!("{} x ", counted(part.mailboxes, "mailbox")),
            Per::MailboxMinutes | Per::WorstMailbox | Per::Account => String::new(),
        };
        let mut sums = Vec::new();
        if !part.share.is_zero() {
            sums.push(format!("{} x {}", self.major(part.fee), share(part.share).replace(" of the fee", "")));
        }
        if !part.flat.is_zero() {
            sums.push(self.major(part.flat));
        }
        let sum = match sums.as_slice() {
            [one] => one.clone(),
            several => format!("({})", several.join(" + ")),
        };
        let multiplier = if part.multiplier == Ratio::ONE { String::new() } else { format!(" x {}", part.multiplier) };
        let days = match part.service_days {
            0 => None,
            days => {
                let all = usize::try_from(days).unwrap_or(usize::MAX);
                let each = all.checked_div(part.mailboxes).unwrap_or(all);
                let said = format!("{count}{}", counted(each, "service day"));
                Some(if !part.days_worth.is_zero() {
                    let (first, after) = self.judged_period();
                    let (fee, worth) = (self.major(part.fee), self.major(part.days_worth));
                    format!("{said} x {fee} / {} days = {worth}", (after - first).num_days())
                } else if count.is_empty() {
                    said
                } else {
                    format!("{said} = {}", counted(all, "service day"))
                })
            }
        };
        let product = format!("{count}{sum}{multiplier}");
        let exact = self.major(part.exact);
        let money = match sums.is_empty() {
            true => None,
            false if product == exact => Some(format!("it comes to {exact}")),
            false => Some(format!("{product} = {exact}")),
        };
        [money, days].into_iter().flatten().collect::<Vec<_>>().join(" and ")
    }

    fn major(&self, of: Ratio) -> String {
        figure(of, self.currency())
    }

    /// How many whole steps of `every` lie between a promise and an uptime.
    fn whole_steps(&self, uptime: Ratio, promised: Ratio, every: Ratio) -> Ratio {
        let steps = promised.minus(uptime).and_then(|lost| lost.over(every));
        steps.map_or(Ratio::ZERO, |steps| Ratio::whole(steps.floor().max(0)))
    }

    /// Three places, or as many more as it takes not to look like a threshold that it is not.
    fn percent(&self, uptime: Ratio) -> String {
        let thresholds: Vec<Ratio> = match &self.remedy.schedule {
            Schedule::TiersByUptime { tiers, .. } => {
                tiers.iter().map(|tier| percent(tier.uptime_below.ratio())).collect()
            }
            Schedule::Steps { uptime_below, every_percent, .. } => {
                let (promised, every) = (percent(uptime_below.ratio()), percent(every_percent.ratio()));
                let steps = self.whole_steps(uptime, uptime_below.ratio(), every_percent.ratio());
                let at = |steps: Ratio| every.times(steps).and_then(|down| promised.minus(down)).unwrap_or(promised);
                vec![promised, at(steps), at(steps.plus(Ratio::ONE).unwrap_or(steps))]
            }
            Schedule::Always { .. } | Schedule::BandsByLength { .. } | Schedule::ByDay { .. } => Vec::new(),
        };
        let exact = percent(uptime);
        let misleads = |shown: &String| {
            shown
                .parse::<Ratio>()
                .is_ok_and(|shown| shown != exact && (shown == Ratio::whole(100) || thresholds.contains(&shown)))
        };
        [3, 6, 9]
            .into_iter()
            .map(|places| exact.shown(places))
            .find(|shown| !misleads(shown))
            .unwrap_or_else(|| exact.to_string())
    }
}
