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
    /// When the feed raises an alarm, and when bills are made.
    #[serde(default)]
    pub feed: FeedAlarms,
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
    /// What becomes of credits after they were issued.
    #[serde(default)]
    pub credits: CreditRules,
}

/// What becomes of credits after they were issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CreditRules {
    /// Days from its issue after which goodwill that stands on no bill expires; never where it is left out.
    pub goodwill_expires_after_days: Option<u32>,
    /// By how much the taxes on billing's bills may differ from ours, over the answers of one request together. Minor units; one for each
    /// bill at most.
    pub rounding_limit_minor: i64,
}

impl Default for CreditRules {
    fn default() -> Self {
        CreditRules { goodwill_expires_after_days: None, rounding_limit_minor: 100 }
    }
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

/// When the feed raises an alarm. What is left out is as [`FeedAlarms::default`] has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeedAlarms {
    /// Committed for so long and without a number. Seconds.
    pub not_numbered_seconds: u32,
    /// Numbered for so long, and no consumer pulled it. Seconds.
    pub not_pulled_seconds: u32,
    /// Pulled for so long, and without a final answer. Seconds.
    pub not_answered_seconds: u32,
    /// A transaction that writes is open for so long. Seconds.
    pub open_transaction_seconds: u32,
    /// The days of the coming bill runs, in the operator's zone. What is to be on a bill must be answered by then.
    pub bill_runs: Vec<chrono::NaiveDate>,
    /// How long before such a day begins it is said what will miss it. Hours.
    pub bill_run_notice_hours: u32,
}

impl Default for FeedAlarms {
    fn default() -> Self {
        FeedAlarms {
            not_numbered_seconds: 10,
            not_pulled_seconds: 86_400,
            not_answered_seconds: 259_200,
            open_transaction_seconds: 10,
            bill_runs: Vec::new(),
            bill_run_notice_hours: 24,
        }
    }
}
