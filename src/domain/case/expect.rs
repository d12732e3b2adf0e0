//! What a case expects, and where what came out differs: in the order of the sum, so that the first is where to look.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Case, CaseDifference};
use crate::domain::assessment::{Assessment, Blocker, Group, Measured, NothingWhy, Outcome, Strand, Verdict};
use crate::domain::money::Money;
use crate::domain::ratio::Ratio;
use crate::domain::receipt::{Receipt, StepName, plain};
use crate::domain::time::{HOUR, MINUTE, SECOND};

/// What must come out. Whatever is given is compared.
///
/// `lines` to `fee_per_mailbox` are of the only remedy, or of the first where there are several; `strands` has them for each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// The lines, by the names of their windows, with minutes: all of them, by start.
    pub lines: Option<Vec<ExpectLine>>,
    /// Minutes that count, weighed, of the worst mailbox; of all together where their minutes are added up.
    pub down_minutes: Option<Ratio>,
    pub down_seconds: Option<Ratio>,
    pub down_hours: Option<Ratio>,
    pub promised_minutes: Option<Ratio>,
    pub promised_seconds: Option<Ratio>,
    /// Compared after rounding half up to the places that it is written with.
    pub uptime_percent: Option<String>,
    pub affected: Option<usize>,
    /// Mailboxes that are due something.
    pub missed: Option<usize>,
    /// How many things were measured: outages, days, events.
    pub measured: Option<u64>,
    /// How many units, days or events were paid.
    pub units: Option<Ratio>,
    /// The day at whose end the grace runs out.
    pub grace_ends: Option<NaiveDate>,
    /// The share of the base, after limits: of the worst mailbox, or of the account; 0 where the promise was kept.
    pub credit_percent: Option<Ratio>,
    pub fee_per_mailbox: Option<Ratio>,
    /// Each group of mailboxes with one history, the worst first.
    pub groups: Option<Vec<ExpectGroup>>,
    /// Each remedy by itself, in the order of the terms.
    pub strands: Option<Vec<ExpectStrand>>,
    /// All remedies together, before set-off, caps and rounding, in major units.
    pub exact: Option<Ratio>,
    /// The sum after caps.
    pub capped: Option<Ratio>,
    /// Service days, after caps: also where they are paid as money, or were asked for too late.
    pub service_days: Option<u32>,
    /// The amount before floors.
    pub rounded: Option<String>,
    /// The amount without its currency; zero where none is due.
    pub credit: Option<String>,
    /// Service days that are really added to the term.
    pub credited_days: Option<u32>,
    /// The last day of the term, with them.
    pub term_ends: Option<NaiveDate>,
    pub nothing: Option<NothingWhy>,
    pub rights: Option<Vec<String>>,
    /// Everything that holds the account back, by kind; an empty list says that nothing does.
    pub blockers: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectLine {
    pub window: String,
    pub minutes: Ratio,
    pub counted: Ratio,
}

/// One group of mailboxes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectGroup {
    pub mailboxes: Option<usize>,
    pub down_minutes: Option<Ratio>,
    pub uptime_percent: Option<String>,
    pub credit_percent: Option<Ratio>,
}

/// One remedy, or one capability of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectStrand {
    pub remedy: Option<String>,
    /// The one capability that is judged, where each is judged alone.
    pub capability: Option<String>,
    pub applies: Option<bool>,
    pub down_minutes: Option<Ratio>,
    pub down_seconds: Option<Ratio>,
    pub down_hours: Option<Ratio>,
    pub promised_seconds: Option<Ratio>,
    pub uptime_percent: Option<String>,
    pub measured: Option<u64>,
    pub units: Option<Ratio>,
    pub grace_ends: Option<NaiveDate>,
    pub credit_percent: Option<Ratio>,
    pub service_days: Option<u32>,
    pub exact: Option<Ratio>,
}

impl Expect {
    /// Where what came out is not what was expected.
    pub(super) fn compared(&self, case: &Case, receipt: &Receipt) -> Vec<CaseDifference> {
        let sum = &receipt.assessment;
        let mut compare = Comparison::default();
        if let Some(strand) = sum.strands.first() {
            self.compare_first(case, strand, &mut compare);
        }
        if let Some(strands) = &self.strands {
            let count = |count: usize| count.to_string();
            let remedies = format!("{} (one for each remedy, or capability judged alone)", sum.strands.len());
            if strands.len() != sum.strands.len() {
                compare.text(StepName::Windows, "strands", Some(count(strands.len())), remedies);
            }
            for (index, (expected, strand)) in strands.iter().zip(&sum.strands).enumerate() {
                let named = receipt.inputs.agreements.get(strand.agreement);
                let named = named.and_then(|agreement| agreement.terms.remedies.get(strand.remedy));
                let name = named.map_or("", |remedy| remedy.name.as_str());
                expected.compare(strand, name, &format!("strands/{index}/"), &mut compare);
            }
        }
        self.compare_whole(case, sum, &mut compare);
        compare.differences.sort_by_key(|difference| difference.step);
        compare.differences
    }

    fn compare_first(&self, case: &Case, strand: &Strand, compare: &mut Comparison) {
        let total = &strand.total;
        let count = |count: usize| count.to_string();
        if let Some(lines) = &self.lines {
            compare.text(StepName::Joined, "lines", Some(spelled(lines)), spelled(&found_lines(case, strand)));
        }
        let promised = Ratio::whole(total.promised_micros);
        compare.ratio(StepName::Weighted, "down_minutes", self.down_minutes, per(total.weighted_micros, MINUTE));
        compare.ratio(StepName::Weighted, "down_seconds", self.down_seconds, per(total.weighted_micros, SECOND));
        compare.ratio(StepName::Weighted, "down_hours", self.down_hours, per(total.weighted_micros, HOUR));
        compare.ratio(StepName::Measured, "promised_minutes", self.promised_minutes, per(promised, MINUTE));
        compare.ratio(StepName::Measured, "promised_seconds", self.promised_seconds, per(promised, SECOND));
        compare.percent("uptime_percent", self.uptime_percent.as_deref(), total.uptime);
        compare.text(StepName::Measured, "affected", self.affected.map(count), count(total.affected));
        compare.text(StepName::Schedule, "missed", self.missed.map(count), count(total.missed));
        compare.verdict("", (self.measured, self.units, self.grace_ends, self.credit_percent), strand);
        let fee = strand.fees.as_ref().map_or(Ratio::ZERO, |fees| fees.per_mailbox);
        compare.ratio(StepName::Base, "fee_per_mailbox", self.fee_per_mailbox, fee);
        if let Some(groups) = &self.groups {
            compare.text(StepName::Placements, "groups", Some(count(groups.len())), count(strand.groups.len()));
            for (index, (expected, group)) in groups.iter().zip(&strand.groups).enumerate() {
                expected.compare(group, &format!("groups/{index}/"), compare);
            }
        }
    }

    fn compare_whole(&self, case: &Case, sum: &Assessment, compare: &mut Comparison) {
        compare.ratio(StepName::Combined, "exact", self.exact, sum.exact);
        compare.ratio(StepName::Caps, "capped", self.capped, sum.capped);
        let days = |days: u32| days.to_string();
        compare.text(StepName::Caps, "service_days", self.service_days.map(days), days(sum.capped_days));
        compare.text(StepName::Rounded, "rounded", self.rounded.clone(), sum.rounded.digits());
        let zero = Money::zero(case.account.currency);
        let (amount, credited, nothing) = match &sum.outcome {
            Outcome::Credit { amount } => (*amount, 0, None),
            Outcome::ServiceDays { days, .. } => (zero, *days, None),
            Outcome::NothingDue { why } => (zero, 0, Some(*why)),
        };
        compare.text(StepName::Rounded, "credit", self.credit.clone(), amount.digits());
        compare.text(StepName::Payout, "credited_days", self.credited_days.map(days), days(credited));
        let term = match &sum.outcome {
            Outcome::ServiceDays { term_ends, .. } => *term_ends,
            Outcome::Credit { .. } | Outcome::NothingDue { .. } => case.term_ends,
        };
        compare.day(StepName::Payout, "term_ends", self.term_ends, term);
        if let Some(expected) = self.nothing {
            let word = |why: NothingWhy| serde_json::to_value(why).map_or_else(|_| String::new(), |word| plain(&word));
            let found = nothing.map_or_else(|| "a credit".to_owned(), word);
            compare.text(StepName::Payout, "nothing", Some(word(expected)), found);
        }
        let listed = |words: &[String]| if words.is_empty() { "none".to_owned() } else { words.join(", ") };
        compare.text(StepName::Payout, "rights", self.rights.as_deref().map(listed), listed(&sum.rights));
        let kinds: Vec<String> = sum.blockers.iter().map(|blocker| kind(blocker).to_owned()).collect();
        compare.text(StepName::Payout, "blockers", self.blockers.as_deref().map(listed), listed(&kinds));
    }
}

impl ExpectGroup {
    fn compare(&self, group: &Group, at: &str, compare: &mut Comparison) {
        let name = |what: &str| format!("{at}{what}");
        let count = |count: usize| count.to_string();
        let found = count(group.mailboxes.len());
        compare.text(StepName::Placements, &name("mailboxes"), self.mailboxes.map(count), found);
        let down = per(group.weighted_micros, MINUTE);
        compare.ratio(StepName::Weighted, &name("down_minutes"), self.down_minutes, down);
        compare.percent(&name("uptime_percent"), self.uptime_percent.as_deref(), group.uptime);
        let share = group.verdict.as_ref().map_or(Ratio::ZERO, |verdict| verdict.due.share);
        compare.ratio(StepName::Schedule, &name("credit_percent"), self.credit_percent, hundred(share));
    }
}

impl ExpectStrand {
    fn compare(&self, strand: &Strand, remedy: &str, at: &str, compare: &mut Comparison) {
        let name = |what: &str| format!("{at}{what}");
        let total = &strand.total;
        compare.text(StepName::Windows, &name("remedy"), self.remedy.clone(), remedy.to_owned());
        let alone = strand.capability.as_ref().map_or_else(String::new, |one| one.0.clone());
        compare.text(StepName::CapabilityRule, &name("capability"), self.capability.clone(), alone);
        let applies = |applies: bool| applies.to_string();
        compare.text(StepName::Schedule, &name("applies"), self.applies.map(applies), applies(strand.applies));
        let down = total.weighted_micros;
        compare.ratio(StepName::Weighted, &name("down_minutes"), self.down_minutes, per(down, MINUTE));
        compare.ratio(StepName::Weighted, &name("down_seconds"), self.down_seconds, per(down, SECOND));
        compare.ratio(StepName::Weighted, &name("down_hours"), self.down_hours, per(down, HOUR));
        let promised = per(Ratio::whole(total.promised_micros), SECOND);
        compare.ratio(StepName::Measured, &name("promised_seconds"), self.promised_seconds, promised);
        compare.percent(&name("uptime_percent"), self.uptime_percent.as_deref(), total.uptime);
        compare.verdict(at, (self.measured, self.units, self.grace_ends, self.credit_percent), strand);
        let days = |days: u32| days.to_string();
        let service_days = self.service_days.map(days);
        compare.text(StepName::Paid, &name("service_days"), service_days, days(strand.service_days));
        compare.ratio(StepName::Paid, &name("exact"), self.exact, strand.exact);
    }
}

#[derive(Default)]
struct Comparison {
    differences: Vec<CaseDifference>,
}

impl Comparison {
    fn text(&mut self, step: StepName, what: &str, expected: Option<String>, found: String) {
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            self.differences.push(CaseDifference { step, what: what.to_owned(), expected, found });
        }
    }

    fn ratio(&mut self, step: StepName, what: &str, expected: Option<Ratio>, found: Ratio) {
        self.text(step, what, expected.map(|expected| expected.to_string()), found.to_string());
    }

    fn day(&mut self, step: StepName, what: &str, expected: Option<NaiveDate>, found: Option<NaiveDate>) {
        let found = found.map_or_else(|| "none".to_owned(), |day| day.to_string());
        self.text(step, what, expected.map(|day| day.to_string()), found);
    }

    fn percent(&mut self, what: &str, expected: Option<&str>, found: Ratio) {
        let Some(expected) = expected else { return };
        let places = expected.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let found = hundred(found).shown(u32::try_from(places).unwrap_or(12).min(12));
        self.text(StepName::Measured, what, Some(expected.to_owned()), found);
    }

    /// What was measured, paid, and as which share, of the worst mailbox or the account.
    fn verdict(
        &mut self,
        at: &str,
        expected: (Option<u64>, Option<Ratio>, Option<NaiveDate>, Option<Ratio>),
        strand: &Strand,
    ) {
        let verdict =
            strand.account.as_ref().or_else(|| strand.groups.first().and_then(|group| group.verdict.as_ref()));
        let due = verdict.map(|verdict| verdict.due);
        let name = |what: &str| format!("{at}{what}");
        let found = verdict.map_or(0, measured).to_string();
        self.text(StepName::Measured, &name("measured"), expected.0.map(|count| count.to_string()), found);
        let units = due.map_or(Ratio::ZERO, |due| due.units);
        self.ratio(StepName::Schedule, &name("units"), expected.1, units);
        self.day(StepName::Schedule, &name("grace_ends"), expected.2, verdict.and_then(grace_ends));
        let share = due.map_or(Ratio::ZERO, |due| due.share);
        self.ratio(StepName::Schedule, &name("credit_percent"), expected.3, hundred(share));
    }
}

/// How many outages, days or events were measured.
fn measured(verdict: &Verdict) -> u64 {
    let counts = verdict.items.iter().map(|item| match item.measured {
        Measured::Days { count, .. } => u64::from(count),
        Measured::Period { .. } | Measured::ErrorRate { .. } | Measured::Outage { .. } | Measured::Event { .. } => 1,
    });
    counts.sum()
}

fn grace_ends(verdict: &Verdict) -> Option<NaiveDate> {
    verdict.items.iter().find_map(|item| match item.measured {
        Measured::Days { grace_ends, .. } => grace_ends,
        Measured::Period { .. } | Measured::ErrorRate { .. } | Measured::Outage { .. } | Measured::Event { .. } => None,
    })
}

fn per(micros: Ratio, unit: i64) -> Ratio {
    micros.over(Ratio::whole(unit)).unwrap_or(micros)
}

fn hundred(part: Ratio) -> Ratio {
    part.times(Ratio::whole(100)).unwrap_or(part)
}

fn found_lines(case: &Case, strand: &Strand) -> Vec<ExpectLine> {
    let minutes = |micros: i64| per(Ratio::whole(micros), MINUTE);
    let line = |line: &crate::domain::assessment::Line| ExpectLine {
        window: case.window_name(line.window),
        minutes: minutes(line.measured_micros),
        counted: minutes(line.counted_micros),
    };
    strand.lines.iter().map(line).collect()
}

fn spelled(lines: &[ExpectLine]) -> String {
    let spelled: Vec<String> =
        lines.iter().map(|line| format!("{}: {} counted {}", line.window, line.minutes, line.counted)).collect();
    spelled.join("; ")
}

fn kind(blocker: &Blocker) -> &'static str {
    match blocker {
        Blocker::PeriodNotOver { .. } => "period_not_over",
        Blocker::WindowOpen { .. } => "window_open",
        Blocker::WindowNotConfirmed { .. } => "window_not_confirmed",
        Blocker::WindowDisputed { .. } => "window_disputed",
        Blocker::WindowUnknown { .. } => "window_unknown",
        Blocker::ContestedPlacement { .. } => "contested_placement",
        Blocker::MissingCharge { .. } => "missing_charge",
        Blocker::ChargesOverlap { .. } => "charges_overlap",
        Blocker::TermsMissing { .. } => "terms_missing",
        Blocker::HistoryMissing => "history_missing",
        Blocker::CalendarMissing { .. } => "calendar_missing",
    }
}
