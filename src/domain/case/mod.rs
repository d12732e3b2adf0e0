//! Case files: terms, an account, what happened and what must come out, in one document that stands alone.

pub mod expect;

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::expect::Expect;
use crate::domain::assess::{AccountFacts, Agreement, AssessError, Event, Given, History, Inputs, Pause, Sample};
use crate::domain::calendar::Calendar;
use crate::domain::charge::Charge;
use crate::domain::document;
use crate::domain::ids::WindowId;
use crate::domain::period::{ServicePeriod, Zone};
use crate::domain::placement::{MailboxHistory, PlacementEvent};
use crate::domain::receipt::{Receipt, StepName};
use crate::domain::refusal::Refusal;
use crate::domain::remedy::Remedy;
use crate::domain::terms::{Finding, Terms};
use crate::domain::time::Instant;
use crate::domain::window::{
    Announcement, Capability, Certainty, Impact, OutageWindow, Reach, Report, Scope, WindowState,
};

/// The most mailboxes that one case may have.
const MOST_MAILBOXES: u32 = 100_000;

/// The most that the mailboxes of a case may be once each has its own copy of its lives, in bytes.
const LARGEST_MAILBOXES: u64 = 32 * 1024 * 1024;

/// The most windows, and the most that lives times windows times windows may be: all of them may overlap.
const MOST_WINDOWS: usize = 300;
const MOST_OVERLAPS: usize = 500_000;

/// One case.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
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
    /// The last day of the subscription's term.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term_ends: Option<NaiveDate>,
    pub plan: String,
    pub period: ServicePeriod,
    pub as_of: Instant,
    pub terms_version: i32,
    pub terms: Terms,
    /// From when on `terms` were in force, where others were before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms_from: Option<Instant>,
    /// Terms that were in force before, where the period saw several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier_terms: Vec<Agreement>,
    pub mailboxes: Vec<CaseMailboxes>,
    pub windows: Vec<CaseWindow>,
    pub charges: Vec<Charge>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calendars: Vec<Calendar>,
    /// When the customer reported that something did not work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reports: Vec<Instant>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pauses: Vec<Pause>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Sample>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub circumstances: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub already_given: Vec<Given>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<Instant>,
    pub expect: Expect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "CaseFormat")]
pub enum Format {
    #[serde(rename = "makegood.case/1")]
    V1,
}

/// `count` mailboxes with one history, called `prefix-1` and so on.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseMailboxes {
    pub prefix: String,
    pub count: u32,
    pub lives: Vec<PlacementEvent>,
}

/// An outage window, confirmed unless it says otherwise, under a name instead of an id.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseWindow {
    pub name: String,
    pub scope: Scope,
    pub capability: Capability,
    /// `unknown` where nobody knows whether it worked.
    #[serde(default, skip_serializing_if = "Certainty::is_known")]
    pub certainty: Certainty,
    pub start: Instant,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Instant>,
    pub impact: Impact,
    /// How many were hit, of how many; all unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<Reach>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned: Option<Announcement>,
    #[serde(default)]
    pub state: CaseState,
    /// Who said what; the window itself unless given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reports: Vec<Report>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CaseState {
    Provisional,
    #[default]
    Confirmed,
    Retracted,
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
    /// What was expected of it, such as `credit` or `strands/0/uptime_percent`.
    pub what: String,
    pub expected: String,
    pub found: String,
}

/// Whatever a document is, it says so.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    format: Option<String>,
}

/// The terms of a case, whatever else is in it.
#[derive(Deserialize)]
struct TermsOfCase {
    terms: Terms,
    #[serde(default)]
    earlier_terms: Vec<Agreement>,
}

/// Says what is wrong with terms, by line: with a terms document, or with the terms of a case file, whose other parts are not
/// looked at. A document that cannot be read as either is refused.
pub fn lint_text(text: &str) -> Result<Vec<Finding>, Refusal> {
    match document::parse::<Head>(text)?.format.as_deref() {
        Some("makegood.terms/1") => Ok(Terms::lint_text(text)?.1),
        Some("makegood.case/1") => {
            let TermsOfCase { terms, earlier_terms } = document::parse(text)?;
            let earlier = earlier_terms.iter().map(|one| &one.terms).enumerate();
            let earlier = earlier.map(|(index, terms)| (format!("/earlier_terms/{index}/terms"), terms));
            let lines = document::Lines::of(text);
            let mut findings = Vec::new();
            for (at, terms) in earlier.chain([("/terms".to_owned(), &terms)]) {
                document::refuse_unread(text, &at, terms)?;
                findings.extend(terms.lint().into_iter().map(|finding| {
                    let pointer = format!("{at}{}", finding.pointer);
                    let line = lines.as_ref().map(|lines| lines.line(&pointer));
                    Finding { pointer, line, ..finding }
                }));
            }
            Ok(findings)
        }
        Some(_) | None => Err(Refusal::field(
            "/format",
            "its first line must say what it is: format: makegood.terms/1 for terms, format: makegood.case/1 for a case",
        )),
    }
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
        document::parse_wholly(text)
    }

    /// The JSON Schema of the document, as it is published.
    pub fn schema() -> serde_json::Value {
        document::schema::<Case>()
    }

    /// The case's facts as the engine takes them.
    pub fn inputs(&self) -> Inputs {
        let last = Agreement {
            from: self.terms_from.unwrap_or(Instant::MIN),
            plan: self.plan.clone(),
            terms_version: self.terms_version,
            terms: self.terms.clone(),
        };
        Inputs {
            account: self.account.clone(),
            operator_zone: self.operator_zone,
            subscription: self.subscription.clone(),
            term_ends: self.term_ends,
            period: self.period,
            agreements: self.earlier_terms.iter().cloned().chain([last]).collect(),
            mailboxes: self.mailboxes.iter().flat_map(CaseMailboxes::histories).collect(),
            windows: self.windows.iter().map(|window| window.window(self.as_of)).collect(),
            charges: self.charges.clone(),
            calendars: self.calendars.clone(),
            reports: self.reports.clone(),
            pauses: self.pauses.clone(),
            samples: self.samples.clone(),
            events: self.events.clone(),
            circumstances: self.circumstances.clone(),
            already_given: self.already_given.clone(),
            history: self.history,
            requested_at: self.requested_at,
            as_of: self.as_of,
        }
    }

    /// Computes the case and compares it with what it expects.
    pub fn evaluate(&self) -> Result<CaseReport, NotACase> {
        self.refuse_unusable()?;
        let receipt = Receipt::of(self.inputs())?;
        let differences = self.expect.compared(self, &receipt);
        Ok(CaseReport { title: self.title.clone(), agrees: differences.is_empty(), differences, receipt })
    }

    fn refuse_unusable(&self) -> Result<(), NotACase> {
        let all = self
            .earlier_terms
            .iter()
            .enumerate()
            .map(|(index, one)| (format!("/earlier_terms/{index}/terms"), &one.terms));
        for (at, terms) in all.chain([("/terms".to_owned(), &self.terms)]) {
            if let Some(finding) = terms.lint().first() {
                return Err(NotACase::Unusable(format!("{at}{}: {}", finding.pointer, finding.message)));
            }
        }
        let known = self.earlier_terms.iter().map(|one| &one.terms).chain([&self.terms]).flat_map(Terms::words);
        let known: Vec<String> = known.map(str::to_owned).collect();
        if let Some(word) = self.circumstances.iter().find(|word| !known.contains(word)) {
            let instead = match known.as_slice() {
                [] => "they have none that does: leave it out".to_owned(),
                known => format!("write one of {}, or leave it out", known.join(", ")),
            };
            return Err(NotACase::Unusable(format!(
                "/circumstances: no condition (when) of these terms speaks of {word:?}; {instead}"
            )));
        }
        for window in &self.windows {
            if let Some(why) = window.reach.and_then(|reach| reach.check().err()) {
                return Err(NotACase::Unusable(format!("window {}: {why}", window.name)));
            }
        }
        for calendar in &self.calendars {
            if let Some(error) = calendar.check().first() {
                let (name, at, why) = (&calendar.name, &error.pointer, &error.message);
                return Err(NotACase::Unusable(format!("calendar {name}: {at}: {why}")));
            }
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
        for (what, count, most) in [
            ("pauses", self.pauses.len(), MOST_WINDOWS),
            ("reports", self.reports.len(), MOST_WINDOWS),
            ("events", self.events.len(), MOST_WINDOWS),
            ("calendars", self.calendars.len(), 10),
            ("earlier terms", self.earlier_terms.len(), 10),
        ] {
            if count > most {
                return Err(NotACase::Unusable(format!("a case may have at most {most} {what}, and it has {count}")));
            }
        }
        // Each remedy looks at each life, and where capabilities are judged alone, once for each.
        let strands = |terms: &Terms| -> usize { terms.remedies.iter().map(Remedy::strands).sum::<usize>() };
        let strands = strands(&self.terms) + self.earlier_terms.iter().map(|one| strands(&one.terms)).sum::<usize>();
        let lives: usize = self.mailboxes.iter().map(|some| some.lives.len().max(1)).sum();
        let lives = lives.saturating_mul(strands.max(1));
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

    /// The name of a window of this case.
    pub(super) fn window_name(&self, id: WindowId) -> String {
        let named = self.windows.iter().find(|window| window.id() == id);
        named.map_or_else(|| id.to_string(), |window| window.name.clone())
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
            about: None,
            certainty: self.certainty,
            scope: self.scope.clone(),
            capability: self.capability.clone(),
            start: self.start,
            end: self.end,
            impact: self.impact,
            reach: self.reach,
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
