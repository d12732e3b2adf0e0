//! What keeps terms from being published: a table with a hole or an overlap, parts that do not fit together, and whatever could
//! never have been meant.

use std::collections::BTreeSet;

use rust_decimal::Decimal;

use super::percent::Percent;
use super::remedy::{
    BandBoundary, Base, Boundary, ChargeChoice, DayKind, DaysOf, Delayed, Down, FeeOf, Limit, Measure, OutageLength,
    Pay, Per, Remedy, Rule, Schedule, TimePromised, UnitCount, When,
};
use super::{Cap, ChangeInPeriod, Finding, Floor, Hours, Payout, Planned, Terms};
use crate::domain::calendar::{self, Calendar};
use crate::domain::ratio::Ratio;

/// The most remedies, rows and expressions that one document may have; no contract comes near.
const MOST: usize = 100;

/// Collects what is wrong.
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.0.push(Finding { pointer: pointer.into(), line: None, message: message.into() });
    }
}

impl Terms {
    /// What is wrong with terms that can be read; nothing when they may be published.
    pub fn lint(&self) -> Vec<Finding> {
        let mut find = Findings(Vec::new());
        for (pointer, text) in [("/name", &self.name), ("/promise", &self.promise)] {
            if text.trim().is_empty() {
                find.add(pointer, "It must not be empty: name it.");
            }
        }
        if self.remedies.is_empty() {
            find.add("/remedies", "Terms must have at least one remedy: what is paid for what.");
        }
        if self.remedies.len() > MOST {
            find.add("/remedies", format!("More than {MOST} remedies are a mistake."));
        }
        let mut names = BTreeSet::new();
        for (index, remedy) in self.remedies.iter().enumerate() {
            if remedy.name.trim().is_empty() {
                find.add(format!("/remedies/{index}/name"), "It must not be empty: name it.");
            }
            if !names.insert(remedy.name.as_str()) {
                find.add(
                    format!("/remedies/{index}/name"),
                    format!("Two remedies are called {}: a receipt could not tell them apart.", remedy.name),
                );
            }
            self.lint_remedy(remedy, &format!("/remedies/{index}"), &mut find);
        }
        self.lint_time(&mut find);
        self.lint_money(&mut find);
        find.0
    }

    fn lint_time(&self, find: &mut Findings) {
        let grace_of_working_days = |remedy: &Remedy| match &remedy.schedule {
            Schedule::ByDay { grace, .. } => grace.of == DayKind::Working && grace.days > 0,
            Schedule::Always { .. }
            | Schedule::TiersByUptime { .. }
            | Schedule::BandsByLength { .. }
            | Schedule::Steps { .. } => false,
        };
        let counts_working_days =
            |remedy: &Remedy| matches!(remedy.measure, Measure::Days { days: DayKind::Working, .. });
        let needs_calendar = self.time.hours == Hours::WorkingHours
            || self.remedies.iter().any(|remedy| grace_of_working_days(remedy) || counts_working_days(remedy));
        match &self.time.calendar {
            None if needs_calendar => {
                find.add(
                    "/time",
                    "These terms speak of working days or hours, and which those are is not said: name the holiday calendar here, such as calendar: wellington.",
                );
            }
            Some(_) if !needs_calendar => {
                find.add("/time/calendar", "Nothing in these terms needs a calendar: leave it out.");
            }
            Some(name) if !calendar::is_name(name) => {
                find.add("/time/calendar", "A calendar's name is 1 to 100 lower-case letters, digits and hyphens.");
            }
            Some(_) | None => {}
        }
        for (at, planned) in self.all_planned() {
            let Planned::FixedHours { hours, .. } = planned else { continue };
            if hours.is_empty() {
                find.add(format!("{at}/hours"), "Without hours nothing is excused: write kind: counts.");
            }
            for error in Calendar::of_hours(hours.clone()).check() {
                find.add(error.pointer.replacen("/working_hours", &format!("{at}/hours"), 1), error.message);
            }
        }
        let mut kinds = BTreeSet::new();
        for (index, pause) in self.clock.pauses.iter().enumerate() {
            if pause.kind.trim().is_empty() || !kinds.insert(pause.kind.as_str()) {
                find.add(format!("/clock/pauses/{index}/kind"), "Name each kind of pause once.");
            }
        }
        for (index, remedy) in self.remedies.iter().enumerate() {
            let is_fixed = matches!(remedy.measure, Measure::Uptime { of: TimePromised::Minutes(_) });
            if is_fixed && self.change_in_period == ChangeInPeriod::SplitPeriod {
                find.add(
                    format!("/remedies/{index}/measure/of"),
                    "A month that always has so many minutes cannot be split: write terms_at_outage or terms_at_period_end.",
                );
            }
        }
    }

    fn lint_money(&self, find: &mut Findings) {
        for (index, cap) in self.caps.iter().enumerate() {
            let nothing = match cap {
                Cap::PercentOfPeriodFee { percent } => percent.decimal().is_zero(),
                Cap::AmountPerPeriod { amount } | Cap::AmountPerTwelveMonths { amount } => amount.is_zero(),
                Cap::ServiceDaysPerPeriod { days } => *days == 0,
            };
            if nothing {
                find.add(
                    format!("/caps/{index}"),
                    "Under this cap nothing is ever paid: write another, or leave it out.",
                );
            }
        }
        for (index, floor) in self.floors.iter().enumerate() {
            let (Floor::PaidOnlyAbove { amount } | Floor::PaidOnlyFrom { amount } | Floor::RaisedTo { amount }) = floor;
            if amount.is_zero() {
                find.add(format!("/floors/{index}/amount"), "A floor of nothing changes nothing: leave it out.");
            }
        }
        let pays = || self.remedies.iter().flat_map(|remedy| remedy.schedule.pays()).flat_map(|(_, pay)| pay.all());
        let states_amount = pays().any(|pay| matches!(pay, Pay::Amount(_)))
            || self
                .caps
                .iter()
                .any(|cap| matches!(cap, Cap::AmountPerPeriod { .. } | Cap::AmountPerTwelveMonths { .. }))
            || !self.floors.is_empty()
            || self.remedies.iter().any(|remedy| matches!(remedy.base, Base::PriceList { .. }))
            || self
                .remedies
                .iter()
                .flat_map(|remedy| &remedy.limits)
                .any(|limit| matches!(limit, Limit::Amount { .. } | Limit::AmountPerOutage { .. }));
        if states_amount && self.currency.is_none() {
            find.add(
                "/currency",
                "These terms state amounts, and not in which currency: write it below promise, such as currency: NZD.",
            );
        }
        let pays_days = pays().any(|pay| matches!(pay, Pay::ServiceDays(_)));
        let pays_money =
            pays().any(|pay| matches!(pay, Pay::Percent(_) | Pay::Fraction(_) | Pay::Amount(_) | Pay::ProRata { .. }));
        match self.payout {
            Payout::CreditOnBill | Payout::Cash if pays_days => find.add(
                "/payout",
                "These terms pay service days: write service_days_at_end_of_term, or service_days_as_credit.",
            ),
            Payout::ServiceDaysAtEndOfTerm if pays_money => find.add(
                "/payout",
                "These terms pay money too, which cannot be added to a term: write service_days_as_credit.",
            ),
            Payout::ServiceDaysAtEndOfTerm | Payout::ServiceDaysAsCredit if !pays_days => {
                find.add("/payout", "These terms pay no service days: write credit_on_bill or cash.");
            }
            Payout::CreditOnBill | Payout::Cash | Payout::ServiceDaysAtEndOfTerm | Payout::ServiceDaysAsCredit => {}
        }
        for (index, right) in self.rights.iter().enumerate() {
            if right.name.trim().is_empty() {
                find.add(format!("/rights/{index}/name"), "It must not be empty: name it.");
            }
        }
    }

    fn lint_remedy(&self, remedy: &Remedy, at: &str, find: &mut Findings) {
        lint_down(&remedy.down, &format!("{at}/down"), find);
        lint_when(remedy.when.as_ref(), &format!("{at}/when"), find);
        if let OutageLength::AtLeast { seconds: 0, .. }
        | OutageLength::LongerThan { seconds: 0, .. }
        | OutageLength::Below { seconds: 0, .. } = remedy.outage_length
        {
            find.add(format!("{at}/outage_length"), "A length of 0 seconds says nothing: write kind: any.");
        }
        lint_fit(remedy, at, find);
        lint_schedule(&remedy.schedule, &format!("{at}/schedule"), find);
        for (row, pay) in remedy.schedule.pays() {
            lint_pay(pay, remedy, &format!("{at}/schedule{row}"), find);
        }
        lint_base(remedy, self.payout, at, find);
        for (index, limit) in remedy.limits.iter().enumerate() {
            let nothing = match limit {
                Limit::PercentOfBase { percent } | Limit::PercentOfBasePerOutage { percent } => {
                    percent.decimal().is_zero()
                }
                Limit::Amount { amount } | Limit::AmountPerOutage { amount } => amount.is_zero(),
            };
            if nothing {
                find.add(
                    format!("{at}/limits/{index}"),
                    "Under this limit nothing is ever paid: write another, or leave it out.",
                );
            }
        }
        if let Some(multiplier) = &remedy.multiplier {
            if multiplier.by.is_zero() {
                find.add(
                    format!("{at}/multiplier/by"),
                    "Times 0 nothing is ever paid: write another figure, or leave it out.",
                );
            }
            lint_when(multiplier.when.as_ref(), &format!("{at}/multiplier/when"), find);
        }
    }
}

fn lint_when(when: Option<&When>, at: &str, find: &mut Findings) {
    let Some(when) = when else { return };
    if when.all_of.is_empty() && when.none_of.is_empty() {
        find.add(at, "A condition without words always holds: leave it out.");
    }
    if when.all_of.iter().any(|word| when.none_of.contains(word)) {
        find.add(at, "It wants a word to be there and not to be there: it never holds.");
    }
}

fn lint_down(down: &Down, at: &str, find: &mut Findings) {
    let promised = &down.capabilities;
    if promised.is_empty() {
        find.add(format!("{at}/capabilities"), "Nothing is promised: name at least one capability, such as receive.");
    }
    if promised.len() > MOST {
        find.add(format!("{at}/capabilities"), format!("Terms may promise at most {MOST} capabilities."));
        return;
    }
    for (index, one) in promised.iter().enumerate() {
        if one.0.trim().is_empty() {
            find.add(format!("{at}/capabilities/{index}"), "It must not be empty: name it.");
        }
        let others = promised.iter().enumerate().filter(|(other, _)| *other != index);
        if let Some((_, whole)) =
            others.clone().find(|(other, whole)| one.is_within(whole) && (one != *whole || *other < index))
        {
            find.add(
                format!("{at}/capabilities/{index}"),
                format!("{} is already promised as {}; say each only once.", one.0, whole.0),
            );
        }
    }
    if promised.len() == 1 && down.rule != Rule::Any {
        find.add(format!("{at}/rule"), "With one capability there is nothing to combine: write any.");
    }
    if let Delayed::Counts { weight_percent, .. } = down.delayed
        && weight_percent.decimal().is_zero()
    {
        find.add(format!("{at}/delayed/weight_percent"), "A weight of 0 counts nothing: write never_counts.");
    }
}

/// Whether the measure, whose time it is and the schedule fit together.
fn lint_fit(remedy: &Remedy, at: &str, find: &mut Findings) {
    let (measure, schedule) = (&remedy.measure, &remedy.schedule);
    let by_uptime = matches!(schedule, Schedule::TiersByUptime { .. } | Schedule::Steps { .. });
    if by_uptime && !matches!(measure, Measure::Uptime { .. } | Measure::ErrorRate { .. }) {
        find.add(
            format!("{at}/schedule/kind"),
            "Tiers and steps compare an uptime: the measure must be uptime or error_rate.",
        );
    }
    if matches!(schedule, Schedule::BandsByLength { .. }) && !matches!(measure, Measure::Outages | Measure::TimeDown) {
        find.add(
            format!("{at}/schedule/kind"),
            "Bands compare how long it lasted: the measure must be outages (each) or time_down (all together).",
        );
    }
    if let Schedule::ByDay { grace, .. } = schedule {
        match measure {
            Measure::Days { of: DaysOf::ThePeriod, .. } if grace.days > 0 => find.add(
                format!("{at}/schedule/grace/days"),
                "A grace belongs to one outage: the measure's days must be of each_outage.",
            ),
            Measure::Days { .. } => {}
            Measure::Uptime { .. }
            | Measure::ErrorRate { .. }
            | Measure::TimeDown
            | Measure::Outages
            | Measure::Events { .. } => {
                find.add(format!("{at}/schedule/kind"), "A schedule by day judges days: the measure must be days.");
            }
        }
    }
    let is_one = matches!(measure, Measure::Uptime { .. } | Measure::TimeDown | Measure::ErrorRate { .. });
    if let Schedule::Always { pays } = schedule
        && is_one
        && !pays.grows_with_time()
    {
        find.add(
            format!("{at}/schedule/pays"),
            "This pays without an outage too: pay by the time lost (pro_rata, for_each), or by tiers, bands or outages.",
        );
    }
    let of_account = matches!(measure, Measure::ErrorRate { .. } | Measure::Events { .. });
    if of_account && remedy.per != Per::Account {
        find.add(format!("{at}/per"), "Error rates and events are the account's: write account.");
    }
    let sums = matches!(measure, Measure::Uptime { .. } | Measure::TimeDown);
    if remedy.per == Per::MailboxMinutes && !sums {
        find.add(format!("{at}/per"), "Mailbox-minutes can be added up for uptime and time_down only.");
    }
    if let Measure::ErrorRate { interval_seconds: 0, .. } = measure {
        find.add(format!("{at}/measure/interval_seconds"), "An interval has at least one second.");
    }
    if let Measure::Uptime { of: TimePromised::Minutes(0) } = measure {
        find.add(format!("{at}/measure/of"), "No time is promised: write how many minutes, such as 43200.");
    }
    if remedy.down.rule == Rule::Each && of_account && matches!(measure, Measure::Events { .. }) {
        find.add(format!("{at}/down/rule"), "Events belong to no capability: write any, or each would pay for them.");
    }
}

fn lint_schedule(schedule: &Schedule, at: &str, find: &mut Findings) {
    if schedule.pays().len() > MOST {
        find.add(at, format!("More than {MOST} rows are a mistake."));
    }
    match schedule {
        Schedule::Always { .. } => {}
        Schedule::TiersByUptime { boundary, tiers } => {
            if tiers.is_empty() {
                find.add(format!("{at}/tiers"), "There is no tier: say which uptime pays what.");
            }
            for (index, tier) in tiers.iter().enumerate() {
                let here = |field: &str| format!("{at}/tiers/{index}/{field}");
                lint_threshold(tier.uptime_below, *boundary, &here("uptime_below"), find);
                let Some(above) = index.checked_sub(1).and_then(|above| tiers.get(above)) else { continue };
                if tier.uptime_below.decimal() == above.uptime_below.decimal() {
                    find.add(
                        here("uptime_below"),
                        format!("Two tiers begin at {} %: they overlap. Keep one.", tier.uptime_below),
                    );
                } else if tier.uptime_below.decimal() > above.uptime_below.decimal() {
                    find.add(
                        here("uptime_below"),
                        format!(
                            "{} comes after {}: write tiers from the highest uptime down.",
                            tier.uptime_below, above.uptime_below
                        ),
                    );
                }
                if let Some(said) = falls(&above.pays, &tier.pays).filter(|_| tier.pays != Pay::Nothing) {
                    find.add(here("pays"), format!("The tiers fall: {said}. Who lost more must not get less."));
                }
            }
        }
        Schedule::BandsByLength { boundary, bands } => {
            let (last, before) = match bands.split_last() {
                Some(split) => split,
                None => {
                    find.add(format!("{at}/bands"), "There is no band: say which length pays what.");
                    return;
                }
            };
            if last.seconds.is_some() {
                find.add(
                    format!("{at}/bands/{}/seconds", before.len()),
                    "The last band must take all that is longer: leave out its seconds, or say what longer ones pay.",
                );
            }
            for (index, band) in before.iter().enumerate() {
                let here = format!("{at}/bands/{index}/seconds");
                let above = index.checked_sub(1).and_then(|above| before.get(above)).and_then(|band| band.seconds);
                match (band.seconds, above) {
                    (None, _) => find.add(here, "Only the last band is without an end: write its seconds."),
                    (Some(0), _) if *boundary == BandBoundary::UpToWithout => {
                        find.add(here, "Nothing is shorter than 0 seconds: this band is never reached.");
                    }
                    (Some(seconds), Some(above)) if seconds <= above => find.add(
                        here,
                        format!("{seconds} comes after {above}: write bands from the shortest up, each once."),
                    ),
                    (Some(_), _) => {}
                }
            }
            for (index, pair) in bands.windows(2).enumerate() {
                if let Some(said) = falls(&pair[0].pays, &pair[1].pays) {
                    find.add(
                        format!("{at}/bands/{}/pays", index + 1),
                        format!("The bands fall: {said}. Who lost more must not get less."),
                    );
                }
            }
        }
        Schedule::Steps { uptime_below, boundary, every_percent, .. } => {
            lint_threshold(*uptime_below, *boundary, &format!("{at}/uptime_below"), find);
            if every_percent.decimal().is_zero() {
                find.add(
                    format!("{at}/every_percent"),
                    "Steps of 0 % would never end: write how large a step is, such as \"1\".",
                );
            }
        }
        Schedule::ByDay { rows, at_most, .. } => {
            if rows.is_empty() {
                find.add(format!("{at}/rows"), "There is no row: say what a day pays, from_day: 1.");
            }
            for (index, row) in rows.iter().enumerate() {
                let here = format!("{at}/rows/{index}/from_day");
                if row.from_day == 0 {
                    find.add(here.clone(), "The first day is number 1.");
                }
                let above = index.checked_sub(1).and_then(|above| rows.get(above));
                if let Some(above) = above.filter(|above| above.from_day >= row.from_day) {
                    find.add(
                        here,
                        format!("{} comes after {}: write rows from the first day on.", row.from_day, above.from_day),
                    );
                }
            }
            if let Some(most) = at_most {
                lint_when(most.when.as_ref(), &format!("{at}/at_most/when"), find);
                if most.payments == 0 {
                    find.add(
                        format!("{at}/at_most/payments"),
                        "Under this limit nothing is ever paid: write another, or leave it out.",
                    );
                }
            }
        }
    }
}

fn lint_threshold(threshold: Percent, boundary: Boundary, at: &str, find: &mut Findings) {
    if boundary == Boundary::AtOrBelow && threshold.decimal() == Decimal::ONE_HUNDRED {
        find.add(at, "At or below 100 % is missed by everybody, always.");
    }
    if threshold.decimal().is_zero() && boundary == Boundary::Below {
        find.add(at, "Nothing is below 0 %: this tier is never reached.");
    }
}

/// Says that a worse row pays no more than a better one, where both pay in the same way.
fn falls(better: &Pay, worse: &Pay) -> Option<String> {
    let same = |is: bool, better: String, worse: String| {
        is.then(|| format!("{better} before, and no more than {worse} for what is worse"))
    };
    match (better, worse) {
        (Pay::Percent(a), Pay::Percent(b)) => same(b.decimal() <= a.decimal(), format!("{a} %"), format!("{b} %")),
        (Pay::Amount(a), Pay::Amount(b)) => same(b.decimal() <= a.decimal(), a.to_string(), b.to_string()),
        (Pay::ServiceDays(a), Pay::ServiceDays(b)) => same(b <= a, format!("{a} days"), format!("{b} days")),
        (_, Pay::Nothing) if *better != Pay::Nothing => {
            Some("something before, and nothing for what is worse".to_owned())
        }
        _ => None,
    }
}

fn lint_pay(pay: &Pay, remedy: &Remedy, at: &str, find: &mut Findings) {
    let all = pay.all();
    if all.len() > MOST {
        find.add(at, format!("More than {MOST} parts are a mistake."));
        return;
    }
    let is_row = matches!(remedy.schedule, Schedule::TiersByUptime { .. });
    if is_row && matches!(pay, Pay::Nothing) {
        find.add(at, "A tier that credits nothing is a hole in the table: say what it pays, or leave it out.");
    }
    for one in all {
        match one {
            Pay::Percent(percent) if percent.decimal().is_zero() => {
                find.add(
                    at,
                    if is_row {
                        "A tier that credits nothing is a hole in the table: say what it pays, or leave it out."
                    } else {
                        "0 % pays nothing: write nothing."
                    },
                );
            }
            Pay::Fraction(fraction) => {
                let is_sane = fraction.is_positive()
                    && fraction.compared(Ratio::whole(1_000)).is_ok_and(std::cmp::Ordering::is_le);
                if !is_sane {
                    find.add(at, "A fraction of the base is above 0, and at most 1000.");
                }
            }
            Pay::Amount(amount) if amount.is_zero() => find.add(at, "An amount of 0 pays nothing: write nothing."),
            Pay::ServiceDays(days) if *days == 0 || *days > 366 => {
                find.add(at, "Service days are from 1 to 366.");
            }
            Pay::ProRata { multiplier } => {
                if multiplier.is_zero() {
                    find.add(at, "Times 0 nothing is ever paid: write another figure, or leave it out.");
                }
                if matches!(remedy.measure, Measure::Days { .. } | Measure::Events { .. }) {
                    find.add(
                        at,
                        "pro_rata is of the time lost: the measure must be uptime, error_rate, time_down or outages.",
                    );
                }
            }
            Pay::ForEach { seconds, count, pays, after_percent, .. } => {
                if after_percent.is_some() && !matches!(remedy.measure, Measure::Uptime { .. } | Measure::TimeDown) {
                    find.add(at, "after_percent is of the period's time: the measure must be time_down or uptime.");
                }
                if *seconds == 0 {
                    find.add(at, "A unit has at least one second.");
                }
                if !matches!(remedy.measure, Measure::Uptime { .. } | Measure::TimeDown | Measure::Outages) {
                    find.add(at, "for_each counts time: the measure must be outages, time_down or uptime.");
                }
                let days = pays.all().iter().any(|pay| matches!(pay, Pay::ServiceDays(_)));
                if days && *count == UnitCount::Exact {
                    find.add(at, "A part of a unit cannot pay whole service days: count started or full units.");
                }
            }
            Pay::GreaterOf(several) | Pay::SumOf(several) if several.is_empty() => {
                find.add(at, "A list without entries pays nothing: write nothing.");
            }
            Pay::Dated(rows) => {
                if rows.is_empty() {
                    find.add(at, "A list without entries pays nothing: write nothing.");
                }
                if rows.windows(2).any(|pair| pair[0].from >= pair[1].from) {
                    find.add(at, "Write dated rows from the earliest on, each date once.");
                }
            }
            Pay::Only { when, .. } => lint_when(Some(when), at, find),
            Pay::Nothing
            | Pay::Percent(_)
            | Pay::Amount(_)
            | Pay::ServiceDays(_)
            | Pay::GreaterOf(_)
            | Pay::SumOf(_)
            | Pay::ByImpact { .. } => {}
        }
    }
}

fn lint_base(remedy: &Remedy, payout: Payout, at: &str, find: &mut Findings) {
    let pays = remedy.schedule.pays();
    let uses_base = pays.iter().flat_map(|(_, pay)| pay.all()).any(|pay| {
        let is_day = matches!(pay, Pay::ServiceDays(_)) && payout == Payout::ServiceDaysAsCredit;
        is_day || matches!(pay, Pay::Percent(_) | Pay::Fraction(_) | Pay::ProRata { .. })
    });
    let limits_by_base = remedy
        .limits
        .iter()
        .any(|limit| matches!(limit, Limit::PercentOfBase { .. } | Limit::PercentOfBasePerOutage { .. }));
    let of = match &remedy.base {
        Base::None => {
            if uses_base || limits_by_base {
                find.add(format!("{at}/base"), "A share of a fee is paid (a service day paid as a credit is one): say of which, charged_fee or price_list.");
            }
            return;
        }
        Base::ChargedFee { of, charges, .. } => {
            match charges {
                ChargeChoice::All => {}
                ChargeChoice::Only(items) | ChargeChoice::GreaterOf(items) => {
                    if items.is_empty() {
                        find.add(format!("{at}/base/charges"), "Name at least one item, or write all.");
                    }
                }
            }
            *of
        }
        Base::PriceList { of, price } => {
            if price.is_zero() {
                find.add(format!("{at}/base/price"), "A share of 0 is nothing.");
            }
            *of
        }
    };
    if !uses_base && !limits_by_base {
        find.add(format!("{at}/base"), "No share of it is paid: write kind: none.");
    }
    match (remedy.per, of) {
        (Per::MailboxMinutes | Per::WorstMailbox | Per::Account, FeeOf::AffectedMailboxes) => {
            find.add(format!("{at}/base/of"), "The account is judged as a whole: its base is the whole_account's fee.")
        }
        (Per::Mailbox, FeeOf::WholeAccount) => find.add(
            format!("{at}/base/of"),
            "Each mailbox would be paid a share of the whole fee: write affected_mailboxes, or judge per account.",
        ),
        (Per::MailboxMinutes | Per::WorstMailbox | Per::Account, FeeOf::WholeAccount)
        | (Per::Mailbox, FeeOf::AffectedMailboxes) => {}
    }
}
