//! Charges: what was really invoiced. The base of a sum.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::money::Money;

/// One charge of an invoice. `gross` is what the customer pays for the service dates, after discount, tax included; `net`
/// and `tax` add up to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Charge {
    /// The invoice line's own number, unique within the account.
    pub number: String,
    /// What it is for, where terms tell charges apart: a mailbox or component by its name, `usage`, `standard`. A charge for a
    /// mailbox is the fee of that mailbox; others are shared by all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
    pub invoiced_on: NaiveDate,
    /// The first day of service, and the first day after it.
    pub service_from: NaiveDate,
    pub service_to: NaiveDate,
    /// How many units (mailboxes) were charged.
    pub quantity: u32,
    pub net: Money,
    pub tax: Money,
    pub gross: Money,
    pub tax_code: String,
    /// Hundredths of a percent: 1500 is 15 %.
    pub tax_rate_bp: u16,
}
