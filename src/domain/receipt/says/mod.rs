//! An assessment in sentences: each step with the numbers that somebody needs to redo it with a pencil.

mod money;
mod terms;
mod time;
mod whole;
mod words;

use std::collections::BTreeMap;

use crate::domain::assess::Inputs;
use crate::domain::assessment::{Assessment, Strand};
use crate::domain::receipt::{Receipt, Step, StepName};
use crate::domain::remedy::{Measure, Remedy};
use crate::domain::terms::Terms;

pub(super) use words::{blocker, local, named, nothing, period, spoken, table_minutes, what, why};

/// All steps of the sum: those of each strand, then those that make one result of them.
pub(super) fn steps(inputs: &Inputs, sum: &Assessment) -> Vec<Step> {
    let mut steps = Vec::new();
    for strand in &sum.strands {
        let Some(agreement) = inputs.agreements.get(strand.agreement) else { continue };
        let Some(remedy) = agreement.terms.remedies.get(strand.remedy) else { continue };
        let of = (sum.strands.len() > 1).then(|| label(strand, remedy, inputs));
        let speak = Speaker { inputs, sum, strand, terms: &agreement.terms, remedy, of };
        let measured_by_records = by_records(remedy);
        if !measured_by_records {
            steps.extend([speak.period(), speak.measured(), speak.schedule(), speak.base(), speak.paid()]);
            continue;
        }
        steps.push(speak.windows());
        steps.push(speak.capability_rule());
        // Of several remedies, what never counted for one is told by its records alone.
        let is_untouched = strand.total.affected == 0 && strand.parts.is_empty();
        if is_untouched && sum.strands.len() > 1 {
            steps.push(speak.paid());
            continue;
        }
        steps.extend([
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
            speak.paid(),
        ]);
    }
    if let Some(terms) = inputs.terms() {
        let speak = whole::Whole { inputs, sum, terms };
        steps.extend([speak.combined(), speak.caps(), speak.rounded(), speak.payout()]);
    }
    steps
}

/// Whether a remedy is measured by windows; samples and events need none.
fn by_records(remedy: &Remedy) -> bool {
    match remedy.measure {
        Measure::Uptime { .. } | Measure::TimeDown | Measure::Outages | Measure::Days { .. } => true,
        Measure::ErrorRate { .. } | Measure::Events { .. } => false,
    }
}

/// Whether the records of a strand say anything about it.
pub(super) fn is_by_records(receipt: &Receipt, strand: &Strand) -> bool {
    let agreement = receipt.inputs.agreements.get(strand.agreement);
    agreement.and_then(|agreement| agreement.terms.remedies.get(strand.remedy)).is_some_and(by_records)
}

/// How a receipt calls one strand: `interruption, voice`; with the terms, where they changed.
pub(super) fn label(strand: &Strand, remedy: &Remedy, inputs: &Inputs) -> String {
    let mut label = remedy.name.clone();
    if let Some(capability) = &strand.capability {
        label.push_str(&format!(", {}", capability.0));
    }
    if inputs.agreements.len() > 1
        && let Some(agreement) = inputs.agreements.get(strand.agreement)
    {
        label.push_str(&format!(", terms {}@{}", agreement.plan, agreement.terms_version));
    }
    label
}

/// Speaks of one strand.
struct Speaker<'a> {
    inputs: &'a Inputs,
    sum: &'a Assessment,
    strand: &'a Strand,
    terms: &'a Terms,
    remedy: &'a Remedy,
    /// Named where there are several.
    of: Option<String>,
}

impl Speaker<'_> {
    fn step<const N: usize>(&self, name: StepName, says: String, numbers: [(&str, String); N]) -> Step {
        Step { of: self.of.clone(), ..step(name, says, numbers) }
    }
}

fn step<const N: usize>(name: StepName, says: String, numbers: [(&str, String); N]) -> Step {
    let numbers: BTreeMap<String, String> = numbers.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Step { name, of: None, says, numbers }
}
