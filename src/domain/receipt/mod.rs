//! The receipt: an assessment with everything from which a person or a program can redo it.

mod says;

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::assess::{AssessError, Inputs, assess};
use crate::domain::assessment::{Assessment, Outcome, Strand, Why};
use crate::domain::document;

/// One exported assessment. `makegood verify` recomputes it from `inputs` alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    pub format: Format,
    pub inputs_hash: String,
    pub input_hashes: InputHashes,
    pub inputs: Inputs,
    pub steps: Vec<Step>,
    pub assessment: Assessment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    #[serde(rename = "makegood.receipt/1")]
    V1,
}

/// SHA-256 of each kind of input, so that a changed one can be named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputHashes {
    pub account: String,
    pub terms: String,
    pub mailboxes: String,
    pub windows: String,
    pub charges: String,
    /// Everything else: calendars, reports, pauses, samples, events, circumstances, what was given before.
    pub facts: String,
}

/// One step of the sum, as a sentence with its numbers and as the numbers alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub name: StepName,
    /// The remedy that it is of, where there are several; none for what they share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    pub says: String,
    pub numbers: BTreeMap<String, String>,
}

/// The steps of every sum, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepName {
    Windows,
    CapabilityRule,
    Placements,
    Joined,
    PlannedCut,
    Clock,
    MinimumLength,
    CutToPeriod,
    Weighted,
    Measured,
    Schedule,
    Base,
    Paid,
    Combined,
    Caps,
    Rounded,
    Payout,
}

impl StepName {
    /// As it stands on the wire.
    pub fn name(self) -> &'static str {
        match self {
            StepName::Windows => "windows",
            StepName::CapabilityRule => "capability_rule",
            StepName::Placements => "placements",
            StepName::Joined => "joined",
            StepName::PlannedCut => "planned_cut",
            StepName::Clock => "clock",
            StepName::MinimumLength => "minimum_length",
            StepName::CutToPeriod => "cut_to_period",
            StepName::Weighted => "weighted",
            StepName::Measured => "measured",
            StepName::Schedule => "schedule",
            StepName::Base => "base",
            StepName::Paid => "paid",
            StepName::Combined => "combined",
            StepName::Caps => "caps",
            StepName::Rounded => "rounded",
            StepName::Payout => "payout",
        }
    }
}

/// A receipt that says what its inputs give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub receipt: Receipt,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotVerified {
    #[error("this is not a receipt: {0}")]
    NotAReceipt(String),
    #[error("the receipt does not say what its inputs give")]
    Differs(Vec<Difference>),
}

/// A field that says something else than the recomputed receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// A JSON pointer; steps are named: `/steps/measured/numbers/uptime_percent`.
    pub at: String,
    pub says: String,
    pub recomputed: String,
}

impl Inputs {
    /// The same facts in their one order, each once, so that the same facts have the same hash.
    pub fn canonical(mut self) -> Self {
        for mailbox in &mut self.mailboxes {
            mailbox.events.sort_by(|a, b| (a.from, &a.source, &a.shard).cmp(&(b.from, &b.source, &b.shard)));
            mailbox.events.dedup();
        }
        self.mailboxes.sort_by(|a, b| a.mailbox.cmp(&b.mailbox));
        self.mailboxes.dedup();
        self.windows.sort_by_key(|window| (window.start, window.id, window.version));
        self.windows.dedup();
        self.charges.sort_by(|a, b| (a.service_from, &a.number).cmp(&(b.service_from, &b.number)));
        self.charges.dedup();
        self.agreements.sort_by(|a, b| (a.from, &a.plan, a.terms_version).cmp(&(b.from, &b.plan, b.terms_version)));
        self.calendars.sort_by(|a, b| (&a.name, a.version).cmp(&(&b.name, b.version)));
        self.reports.sort_unstable();
        self.reports.dedup();
        self.pauses.sort();
        self.pauses.dedup();
        self.samples.sort();
        self.events.sort();
        self.circumstances.sort_unstable();
        self.circumstances.dedup();
        self
    }
}

impl Receipt {
    /// Assesses and explains.
    pub fn of(inputs: Inputs) -> Result<Self, AssessError> {
        let inputs = inputs.canonical();
        let assessment = assess(&inputs)?;
        Ok(Receipt {
            format: Format::V1,
            inputs_hash: document::hash(&inputs),
            input_hashes: InputHashes {
                account: document::hash(&(
                    &inputs.account,
                    inputs.operator_zone,
                    &inputs.subscription,
                    inputs.term_ends,
                    inputs.period,
                    inputs.as_of,
                )),
                terms: document::hash(&inputs.agreements),
                mailboxes: document::hash(&inputs.mailboxes),
                windows: document::hash(&inputs.windows),
                charges: document::hash(&inputs.charges),
                facts: document::hash(&(
                    &inputs.calendars,
                    &inputs.reports,
                    &inputs.pauses,
                    &inputs.samples,
                    &inputs.events,
                    &inputs.circumstances,
                    &inputs.already_given,
                    inputs.history,
                    inputs.requested_at,
                )),
            },
            steps: says::steps(&inputs, &assessment),
            inputs,
            assessment,
        })
    }

    /// As one JSON document, for people and programs.
    pub fn to_json(&self) -> String {
        // Our own types have string keys only and no floats, so they always have a JSON form.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Reads a receipt and computes it again from the inputs in it.
    pub fn verify(text: &str) -> Result<Verified, NotVerified> {
        let receipt: Receipt = serde_json::from_str(text)
            .map_err(|error| NotVerified::NotAReceipt(document::shortened(&error.to_string())))?;
        let recomputed = match Receipt::of(receipt.inputs.clone()) {
            Ok(recomputed) => recomputed,
            Err(error) => {
                return Err(NotVerified::Differs(vec![Difference {
                    at: "/assessment".to_owned(),
                    says: "a sum".to_owned(),
                    recomputed: format!("no sum, for {error}"),
                }]));
            }
        };
        let differences = receipt.differences(&recomputed);
        if differences.is_empty() { Ok(Verified { receipt }) } else { Err(NotVerified::Differs(differences)) }
    }

    /// Which input was touched, then the steps in their order, then the results that they explain.
    fn differences(&self, recomputed: &Receipt) -> Vec<Difference> {
        let mut differences = Vec::new();
        differ("/input_hashes", &json(&self.input_hashes), &json(&recomputed.input_hashes), &mut differences);
        differ("/inputs_hash", &json(&self.inputs_hash), &json(&recomputed.inputs_hash), &mut differences);
        for (index, step) in recomputed.steps.iter().enumerate() {
            let of = step.of.as_ref().map_or_else(String::new, |of| format!("/{of}"));
            let at = format!("/steps{of}/{}", step.name.name());
            let said = self.steps.get(index).map_or(Value::Null, json);
            differ(&at, &said, &json(step), &mut differences);
        }
        if self.steps.len() > recomputed.steps.len() {
            let (says, recomputed) = (self.steps.len().to_string(), recomputed.steps.len().to_string());
            differences.push(Difference { at: "/steps".to_owned(), says, recomputed });
        }
        differ("/assessment", &json(&self.assessment), &json(&recomputed.assessment), &mut differences);
        differences
    }

    /// The receipt for a person: the records, the sum step by step, and what came of it.
    pub fn text(&self) -> String {
        let (inputs, sum) = (&self.inputs, &self.assessment);
        let mut text = String::new();
        let mut say = |line: std::fmt::Arguments<'_>| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{line}");
        };
        let name = inputs.terms().map_or("", |terms| terms.name.as_str());
        let account = &inputs.account.name;
        say(format_args!("{account} · {name} · {} · {}", says::period(inputs.period), sum.zone));
        for (index, strand) in sum.strands.iter().enumerate() {
            let remedy = inputs.agreements.get(strand.agreement);
            let remedy = remedy.and_then(|agreement| agreement.terms.remedies.get(strand.remedy));
            let label = remedy.map_or_else(String::new, |remedy| says::label(strand, remedy, inputs));
            if sum.strands.len() > 1 {
                say(format_args!(""));
                say(format_args!("  {}. {label}", letter(index)));
            }
            for line in self.records(strand) {
                say(format_args!("{line}"));
            }
            say(format_args!(""));
            let of = (sum.strands.len() > 1).then_some(label);
            let own = |step: &&Step| step.of == of && (of.is_some() || is_of_strand(step.name));
            for (index, step) in self.steps.iter().filter(own).enumerate() {
                say(format_args!("  {:>2}. {}", index + 1, step.says));
            }
        }
        if sum.strands.len() > 1 {
            say(format_args!(""));
        }
        let before =
            if sum.strands.len() > 1 { 0 } else { self.steps.iter().filter(|step| is_of_strand(step.name)).count() };
        for (index, step) in self.steps.iter().filter(|step| !is_of_strand(step.name)).enumerate() {
            say(format_args!("  {:>2}. {}", before + index + 1, step.says));
        }
        say(format_args!(""));
        if !sum.blockers.is_empty() {
            say(format_args!("  This is not settled, and nothing is paid yet:"));
        }
        for blocker in &sum.blockers {
            say(format_args!("  Held back: {}.", says::blocker(blocker, sum.zone)));
        }
        match &sum.outcome {
            Outcome::Credit { amount } => say(format_args!("  Credit: {amount}")),
            Outcome::ServiceDays { days, .. } => say(format_args!("  Credit: {days} service days")),
            Outcome::NothingDue { why } => say(format_args!("  No credit is due: {}.", says::nothing(*why))),
        }
        let terms: Vec<String> =
            inputs.agreements.iter().map(|one| format!("{}@{}", one.plan, one.terms_version)).collect();
        say(format_args!("  Terms {}   inputs {}", terms.join(", "), self.inputs_hash));
        text
    }

    /// The table of what was recorded.
    fn records(&self, strand: &Strand) -> Vec<String> {
        let zone = self.assessment.zone;
        if !says::is_by_records(self, strand) {
            return Vec::new();
        }
        let mailboxes = if strand.total.mailboxes == 1 { "mailbox" } else { "mailboxes" };
        let hit = format!("{} of {} {mailboxes} affected", strand.total.affected, strand.total.mailboxes);
        let mut table = vec![format!("  {hit:<52} {:>12} {:>12}", "minutes", "counted")];
        for (index, line) in strand.lines.iter().enumerate() {
            let end = line.end.map_or_else(|| "still going on".to_owned(), |end| says::local(end, zone));
            let time = format!("{}. {} -> {end}", index + 1, says::local(line.start, zone));
            let (measured, counted) =
                (says::table_minutes(line.measured_micros), says::table_minutes(line.counted_micros));
            table.push(format!("  {time:<34} {:<17} {measured:>12} {counted:>12}", says::what(line)));
            for part in &line.uncounted {
                let is_others = part.why == Why::NotPromised && self.assessment.strands.len() > 1;
                let why = if is_others { "not what this remedy is for".to_owned() } else { says::why(part.why, index) };
                table.push(format!("       {} did not count: {why}", says::spoken(part.micros)));
            }
        }
        let (measured, counted) =
            (says::table_minutes(strand.total.measured_micros), says::table_minutes(strand.total.counted_micros));
        let whose = match strand.groups.first() {
            _ if strand.total.mailboxes == 1 => "together".to_owned(),
            Some(worst) if worst.mailboxes.len() <= 2 => format!("for {}", says::named(&worst.mailboxes)),
            Some(_) | None => "for each of the mailboxes that were hit most".to_owned(),
        };
        table.push(format!("  {whose:<52} {measured:>12} {counted:>12}"));
        table
    }
}

/// Whether a step is one of a remedy's, and not of what remedies share.
fn is_of_strand(name: StepName) -> bool {
    name < StepName::Combined
}

/// A, B, C and so on; numbers where there are more than letters.
fn letter(index: usize) -> String {
    u8::try_from(index)
        .ok()
        .filter(|index| *index < 26)
        .map_or_else(|| (index + 1).to_string(), |index| char::from(b'A' + index).to_string())
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

/// Every leaf in which two values differ.
fn differ(at: &str, says: &Value, recomputed: &Value, into: &mut Vec<Difference>) {
    match (says, recomputed) {
        (Value::Object(left), Value::Object(right)) => {
            for (key, value) in right {
                differ(&format!("{at}/{key}"), left.get(key).unwrap_or(&Value::Null), value, into);
            }
            for key in left.keys().filter(|key| !right.contains_key(*key)) {
                differ(&format!("{at}/{key}"), &left[key], &Value::Null, into);
            }
        }
        (Value::Array(left), Value::Array(right)) => {
            for index in 0..left.len().max(right.len()) {
                let (one, other) = (left.get(index).unwrap_or(&Value::Null), right.get(index).unwrap_or(&Value::Null));
                differ(&format!("{at}/{index}"), one, other, into);
            }
        }
        (left, right) if left == right => {}
        (left, right) => {
            into.push(Difference { at: at.to_owned(), says: plain(left), recomputed: plain(right) });
        }
    }
}

/// A JSON value as people read it.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}
