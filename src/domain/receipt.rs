//! The receipt: an assessment with everything from which a person or a program can redo it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::assess::{Assessment, Inputs};

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
}

/// One step of the sum, as a sentence with its numbers and as the numbers alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub name: StepName,
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
    Combined,
    Caps,
    Rounded,
    Payout,
}
