//! Case files: terms, an account, what happened and what must come out, in one document that stands alone.

use serde::{Deserialize, Serialize};

use super::assess::{AccountFacts, AssessError, Assessment, Blocker, Inputs, NothingWhy, Outcome};
use super::charge::Charge;
use super::document;
use super::ids::WindowId;
use super::period::{Month, Zone};
use super::placement::{MailboxHistory, PlacementEvent};
use super::ratio::Ratio;
use super::receipt::{Receipt, StepName};
use super::refusal::Refusal;
use super::terms::{Percent, Terms};
use super::time::{Instant, MINUTE};
use super::window::{Announcement, Capability, Impact, OutageWindow, Report, Scope, WindowState};

/// The most mailboxes that one case may have.
const MOST_MAILBOXES: u32 = 100_000;

/// The most that the mailboxes of a case may be once each has its own copy of its lives, in bytes.
const LARGEST_MAILBOXES: u64 = 32 * 1024 * 1024;

/// The most windows, and the most that lives times windows times windows may be: all of them may overlap.
const MOST_WINDOWS: usize = 300;
const MOST_OVERLAPS: usize = 500_000;

/// One case.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub format: Format,
    pub title: String,
    /// What it shows, for a reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    pub account: AccountFacts,
    pub operator_zone: Zone,
    pub subscription: String,
    pub plan: String,
    pub period: Month,
    pub as_of: Instant,
    pub terms_version: i32,
    pub terms: Terms,
    pub mailboxes: Vec<CaseMailboxes>,
    pub windows: Vec<CaseWindow>,
    pub charges: Vec<Charge>,
    pub expect: Expect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    #[serde(rename = "makegood.case/1")]
    V1,
}

/// `count` mailboxes with one history, called `prefix-1` and so on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseMailboxes {
    pub prefix: String,
    pub count: u32,
    pub lives: Vec<PlacementEvent>,
}

/// An outage window, confirmed unless it says otherwise, under a name instead of an id.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseWindow {
    pub name: String,
    pub scope: Scope,
    pub capability: Capability,
    pub start: Instant,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Instant>,
    pub impact: Impact,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned: Option<Announcement>,
    #[serde(default)]
    pub state: CaseState,
    /// Who said what; the window itself unless given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reports: Vec<Report>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseState {
    Provisional,
    #[default]
    Confirmed,
    Retracted,
}

/// What must come out. Whatever is given is compared, in the order of the sum.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The lines, by the names of their windows, with minutes: all of them, by start.
    #[serde(default)]
    pub lines: Option<Vec<ExpectLine>>,
    /// Minutes that count, weighed, of the worst mailbox.
    #[serde(default)]
    pub down_minutes: Option<Ratio>,
    #[serde(default)]
    pub promised_minutes: Option<Ratio>,
    /// Compared after rounding half up to the places that it is written with.
    #[serde(default)]
    pub uptime_percent: Option<String>,
    #[serde(default)]
    pub affected: Option<usize>,
    #[serde(default)]
    pub missed: Option<usize>,
    /// Of the worst mailbox; 0 where the promise was kept.
    #[serde(default)]
    pub credit_percent: Option<Percent>,
    #[serde(default)]
    pub fee_per_mailbox: Option<Ratio>,
    /// The sum before caps and rounding, in major units.
    #[serde(default)]
    pub exact: Option<Ratio>,
    /// The sum after caps.
    #[serde(default)]
    pub capped: Option<Ratio>,
    /// The amount without its currency; zero where nothing is due.
    #[serde(default)]
    pub credit: Option<String>,
    #[serde(default)]
    pub nothing: Option<NothingWhy>,
    /// Everything that holds the account back, by kind; an empty list says that nothing does.
    #[serde(default)]
    pub blockers: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectLine {
    pub window: String,
    pub minutes: Ratio,
    pub counted: Ratio,
}

/// What came of a case.
#[derive(Clone, Debug, Serialize)]
pub struct CaseReport {
    pub title: String,
    pub agrees: bool,
    /// By step: the first is where to look.
    pub differences: Vec<CaseDifference>,
    pub receipt: Receipt,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaseDifference {
    pub step: StepName,
    pub what: &'static str,
    pub expected: String,
    pub found: String,
}

/// Why a document is not a case that can be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotACase {
    #[error(transparent)]
    Unreadable(#[from] Refusal),
    #[error("{0}")]
    Unusable(String),
    #[error(transparent)]
    NoSum(#[from] AssessError),
}

impl Case {
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        document::parse(text)
    }

    /// The case's facts as the engine takes them.
    pub fn inputs(&self) -> Inputs {
        Inputs {
            account: self.account.clone(),
            operator_zone: self.operator_zone,
            subscription: self.subscription.clone(),
            plan: self.plan.clone(),
            period: self.period,
            terms_version: self.terms_version,
            terms: self.terms.clone(),
            mailboxes: self.mailboxes.iter().flat_map(CaseMailboxes::histories).collect(),
            windows: self.windows.iter().map(|window| window.window(self.as_of)).collect(),
            charges: self.charges.clone(),
            as_of: self.as_of,
        }
    }

    /// Computes the case and compares it with what it expects.
    pub fn evaluate(&self) -> Result<CaseReport, NotACase> {
        self.refuse_unusable()?;
        let receipt = Receipt::of(self.inputs())?;
        let differences = self.compared(&receipt.assessment);
        Ok(CaseReport { title: self.title.clone(), agrees: differences.is_empty(), differences, receipt })
    }

    fn refuse_unusable(&self) -> Result<(), NotACase> {
        if let Some(finding) = self.terms.lint().first() {
            return Err(NotACase::Unusable(format!("/terms{}: {}", finding.pointer, finding.message)));
        }
        if self.mailboxes.iter().map(|some| u64::from(some.count)).sum::<u64>() > u64::from(MOST_MAILBOXES) {
            return Err(NotACase::Unusable(format!("a case may have at most {MOST_MAILBOXES} mailboxes")));
        }
        let bytes = self.mailboxes.iter().map(CaseMailboxes::bytes).fold(0, u64::saturating_add);
        if bytes > LARGEST_MAILBOXES {
            return Err(NotACase::Unusable(format!(
                "the mailboxes with their lives may be {LARGEST_MAILBOXES} bytes, and are {bytes}: lower a count, or shorten the \
                 lives"
            )));
        }
        if self.windows.len() > MOST_WINDOWS {
            return Err(NotACase::Unusable(format!("a case may have at most {MOST_WINDOWS} windows")));
        }
        let lives: usize = self.mailboxes.iter().map(|some| some.lives.len().max(1)).sum();
        let most = MOST_OVERLAPS / self.windows.len().pow(2).max(1);
        if lives > most {
            return Err(NotACase::Unusable(format!(
                "with {} windows a case may have at most {most} lives, and it has {lives}",
                self.windows.len()
            )));
        }
        if self.expect == Expect::default() {
            return Err(NotACase::Unusable("/expect: a case must expect something".to_owned()));
        }
        Ok(())
    }

    fn compared(&self, sum: &Assessment) -> Vec<CaseDifference> {
        let (expect, total) = (&self.expect, &sum.total);
        let minutes = |micros: Ratio| micros.over(Ratio::whole(MINUTE)).unwrap_or(micros);
        let promised = sum.groups.first().map_or(sum.period.micros(), |group| group.promised_micros);
        let tier = sum.parts.iter().find(|part| Some(part.tier) == total.tier);
        let tier = tier.map_or(Ratio::ZERO, |part| part.credit_percent.ratio());
        let fee = sum.fees.as_ref().map_or(Ratio::ZERO, |fees| fees.per_mailbox);
        let mut compare = Comparison::default();
        if let Some(lines) = &expect.lines {
            compare.text(StepName::Joined, "lines", Some(spelled(lines)), spelled(&self.found_lines(sum)));
        }
        compare.ratio(StepName::Weighted, "down_minutes", expect.down_minutes, minutes(total.weighted_micros));
        compare.ratio(StepName::Measured, "promised_minutes", expect.promised_minutes, minutes(Ratio::whole(promised)));
        if let Some(expected) = &expect.uptime_percent {
            let places = expected.split_once('.').map_or(0, |(_, fraction)| fraction.len());
            let percent = total.uptime.times(Ratio::whole(100)).unwrap_or(total.uptime);
            let found = percent.shown(u32::try_from(places).unwrap_or(12).min(12));
            compare.text(StepName::Measured, "uptime_percent", Some(expected.clone()), found);
        }
        compare.text(StepName::Measured, "affected", expect.affected.map(text), text(total.affected));
        compare.text(StepName::Schedule, "missed", expect.missed.map(text), text(total.missed));
        compare.ratio(StepName::Schedule, "credit_percent", expect.credit_percent.map(Percent::ratio), tier);
        compare.ratio(StepName::Base, "fee_per_mailbox", expect.fee_per_mailbox, fee);
        compare.ratio(StepName::Combined, "exact", expect.exact, sum.exact);
        compare.ratio(StepName::Caps, "capped", expect.capped, sum.capped);
        let (amount, nothing) = match &sum.outcome {
            Outcome::Credit { amount } => (*amount, None),
            Outcome::NothingDue { why } => (super::money::Money::zero(self.account.currency), Some(*why)),
        };
        compare.text(StepName::Rounded, "credit", expect.credit.clone(), amount.digits());
        if let Some(expected) = expect.nothing {
            let found = nothing.map_or_else(|| "a credit".to_owned(), |why| format!("{why:?}"));
            compare.text(StepName::Payout, "nothing", Some(format!("{expected:?}")), found);
        }
        let kinds = |blockers: &[Blocker]| blockers.iter().map(kind).collect::<Vec<_>>().join(", ");
        compare.text(
            StepName::Payout,
            "blockers",
            expect.blockers.as_ref().map(|expected| expected.join(", ")),
            kinds(&sum.blockers),
        );
        compare.differences
    }

    fn found_lines(&self, sum: &Assessment) -> Vec<ExpectLine> {
        let minutes = |micros: i64| Ratio::new(micros.into(), MINUTE.into()).unwrap_or(Ratio::ZERO);
        let name = |id: WindowId| {
            let named = self.windows.iter().find(|window| window.id() == id);
            named.map_or_else(|| id.to_string(), |window| window.name.clone())
        };
        sum.lines
            .iter()
            .map(|line| ExpectLine {
                window: name(line.window),
                minutes: minutes(line.measured_micros),
                counted: minutes(line.counted_micros),
            })
            .collect()
    }
}

#[derive(Default)]
struct Comparison {
    differences: Vec<CaseDifference>,
}

impl Comparison {
    fn text(&mut self, step: StepName, what: &'static str, expected: Option<String>, found: String) {
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            self.differences.push(CaseDifference { step, what, expected, found });
        }
    }

    fn ratio(&mut self, step: StepName, what: &'static str, expected: Option<Ratio>, found: Ratio) {
        self.text(step, what, expected.map(|expected| expected.to_string()), found.to_string());
    }
}

fn text(count: usize) -> String {
    count.to_string()
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
        Blocker::ContestedPlacement { .. } => "contested_placement",
        Blocker::MissingCharge { .. } => "missing_charge",
        Blocker::ChargesOverlap { .. } => "charges_overlap",
        Blocker::TermsMissing { .. } => "terms_missing",
    }
}

impl CaseMailboxes {
    /// What its mailboxes will take, nearly.
    fn bytes(&self) -> u64 {
        let text = |text: &str| u64::try_from(text.len()).unwrap_or(u64::MAX);
        let life = |life: &PlacementEvent| 64 + text(&life.source) + life.shard.as_deref().map_or(0, text);
        let one = self.lives.iter().map(life).fold(64 + text(&self.prefix), u64::saturating_add);
        one.saturating_mul(u64::from(self.count))
    }

    fn histories(&self) -> impl Iterator<Item = MailboxHistory> {
        (1..=self.count)
            .map(|number| MailboxHistory { mailbox: format!("{}-{number}", self.prefix), events: self.lives.clone() })
    }
}

impl CaseWindow {
    fn id(&self) -> WindowId {
        WindowId::of("case", &self.name)
    }

    fn window(&self, as_of: Instant) -> OutageWindow {
        let by = "case".to_owned();
        let itself = Report { source: by.clone(), start: self.start, end: self.end, correction: None };
        OutageWindow {
            id: self.id(),
            version: 1,
            scope: self.scope.clone(),
            capability: self.capability.clone(),
            start: self.start,
            end: self.end,
            impact: self.impact,
            planned: self.planned,
            state: match self.state {
                CaseState::Provisional => WindowState::Provisional,
                CaseState::Confirmed => WindowState::Confirmed { by, at: as_of },
                CaseState::Retracted => WindowState::Retracted { by, at: as_of },
            },
            reports: if self.reports.is_empty() { vec![itself] } else { self.reports.clone() },
            reason: None,
        }
    }
}
