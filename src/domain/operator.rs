//! The operator's own settings: name, money, time, tax, limits and what pages say. Data, one document.

use serde::{Deserialize, Serialize};

use super::money::Currency;
use super::period::Zone;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    pub name: String,
    pub currency: Currency,
    pub zone: Zone,
    /// What people call the zone on a page: "New Zealand time".
    pub zone_name: String,
    pub tax: Tax,
    pub phone: String,
    /// Above this an agent recommends and a supervisor agrees. Minor units of `currency`, tax included.
    pub agent_limit_minor: i64,
    /// The most that claims give to one account for one incident. Minor units.
    pub claim_cap_minor: i64,
    /// How long a decision waits before it is posted, and can be undone. Seconds; 600 unless set.
    pub hold_seconds: u32,
    /// How long a proposed credit run may wait for its approval. Seconds; two days unless set.
    pub run_expiry_seconds: u32,
    /// How long the operator gives itself to decide a claim. Seconds of elapsed time.
    pub claim_due_seconds: u32,
    /// Days after the end of a period in which late evidence may still arrive before a run may assess it.
    pub assess_after_days: u32,
    /// Whom a customer may turn to after the final answer; left out of pages where there is none.
    #[serde(default)]
    pub outside_review: Option<String>,
}

/// How a credit's tax is found: the rate is included in the gross amount. An adviser must confirm it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tax {
    /// What people call it: GST.
    pub name: String,
    pub code: String,
    /// Hundredths of a percent: 1500 is 15 %.
    pub rate_bp: u16,
}
