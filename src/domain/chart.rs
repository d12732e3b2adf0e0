//! The chart of the books as the operator's data: what each account is called in their own general ledger, and what each
//! reason code is written against and taxed by.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::books::Code;
use super::chain::canonical;
use super::credit::Road;
use super::document;
use super::money::Rounding;
use super::operator::Tax;
use super::refusal::{FieldError, Refusal};
use super::tax::{Basis, TaxRule};

/// One account of the books, as the operator's general ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The code in the operator's general ledger. Several accounts may share one.
    pub gl: String,
    pub name: String,
}

/// What a reason code does to the books.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    pub road: Road,
    /// SLA, GOODWILL or COMPENSATION.
    pub account: Code,
    /// The name of a rule under `tax`.
    pub tax: String,
    /// What finance reads beside it.
    pub wording: String,
}

/// The whole document. Left out is what the service does by itself: reasons by their road, and the operator's one tax.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chart {
    pub accounts: BTreeMap<Code, Account>,
    #[serde(default)]
    pub tax: BTreeMap<String, TaxRule>,
    #[serde(default)]
    pub reasons: BTreeMap<String, Reason>,
}

/// What an account is, for programs that sort accounts by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Asset,
    Liability,
    /// A reduction of revenue.
    Income,
    Expense,
}

pub fn kind(code: Code) -> Kind {
    match code {
        Code::Sla | Code::Goodwill => Kind::Income,
        Code::Compensation | Code::Overcredit | Code::Rounding => Kind::Expense,
        Code::Owed | Code::Held | Code::Unclaimed | Code::Provision => Kind::Liability,
        Code::TaxPending | Code::Recoverable | Code::Billing | Code::Cash => Kind::Asset,
    }
}

impl Chart {
    /// Reads YAML or JSON. Refuses with the line, or with each place that cannot be worked with.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let chart: Chart = document::parse_wholly(text)?;
        let errors = chart.check();
        if errors.is_empty() { Ok(chart) } else { Err(Refusal::invalid(errors)) }
    }

    /// The code in the operator's general ledger; our own name where the operator has said none.
    pub fn gl(&self, code: Code) -> &str {
        self.accounts.get(&code).map_or(code.name(), |account| &account.gl)
    }

    pub fn name(&self, code: Code) -> &str {
        self.accounts.get(&code).map_or(code.name(), |account| &account.name)
    }

    /// The account that a credit of this road and reason is written against.
    pub fn account(&self, road: Road, reason: &str) -> Code {
        self.reason(road, reason).map_or(road.reason_account().0, |reason| reason.account)
    }

    /// The tax of a credit of this road and reason; where the chart says nothing, the operator's one tax, in price reductions.
    pub fn rule(&self, road: Road, reason: &str, usual: &Tax) -> TaxRule {
        let named = self.reason(road, reason).and_then(|reason| self.tax.get(&reason.tax));
        named.cloned().unwrap_or_else(|| match road.reason_account() {
            (_, true) => TaxRule {
                code: usual.code.clone(),
                rate_bp: usual.rate_bp,
                basis: Basis::Included,
                rounding: Rounding::HalfUp,
            },
            (_, false) => TaxRule::none(),
        })
    }

    fn reason(&self, road: Road, reason: &str) -> Option<&Reason> {
        self.reasons.get(reason).filter(|one| one.road == road)
    }

    /// SHA-256 over what it says, in hex.
    pub fn hash(&self) -> String {
        // Our own types always have a JSON form.
        let value = serde_json::to_value(self).unwrap_or_default();
        hex::encode(Sha256::digest(canonical(&value)))
    }

    /// Each place that cannot be worked with.
    pub fn check(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut wrong =
            |pointer: String, message: &str| errors.push(FieldError { pointer, message: message.to_owned() });
        for code in Code::ALL {
            let pointer = format!("/accounts/{}", code.name());
            match self.accounts.get(&code) {
                None => wrong(pointer, "this account is missing: journals need a code of your general ledger for each"),
                Some(account) => {
                    if !is_code(&account.gl) {
                        wrong(format!("{pointer}/gl"), CODE);
                    }
                    if !is_words(&account.name) {
                        wrong(format!("{pointer}/name"), WORDS);
                    }
                }
            }
        }
        for (name, rule) in &self.tax {
            if !is_code(&rule.code) {
                wrong(format!("/tax/{name}/code"), CODE);
            }
            if rule.rate_bp > 10_000 {
                wrong(format!("/tax/{name}/rate_bp"), "hundredths of a percent, up to 10000");
            }
        }
        for (name, reason) in &self.reasons {
            let pointer = format!("/reasons/{name}");
            if !is_code(name) {
                wrong(pointer.clone(), CODE);
            }
            if !is_words(&reason.wording) {
                wrong(format!("{pointer}/wording"), WORDS);
            }
            let fits: &[Code] = match reason.road {
                Road::Contract => &[Code::Sla],
                Road::Goodwill => &[Code::Goodwill, Code::Sla],
                Road::Claim => &[Code::Compensation, Code::Goodwill, Code::Sla],
            };
            if !fits.contains(&reason.account) {
                let names: Vec<&str> = fits.iter().map(|code| code.name()).collect();
                wrong(format!("{pointer}/account"), &format!("on this road it is {}", names.join(" or ")));
            }
            match (self.tax.get(&reason.tax), reason.road) {
                (None, _) => wrong(format!("{pointer}/tax"), "there is no such rule under tax"),
                (Some(rule), Road::Contract | Road::Goodwill) if rule.basis == Basis::Excluded => wrong(
                    format!("{pointer}/tax"),
                    "a run's total is typed with the tax in it: take a rule whose basis is included",
                ),
                (Some(_), Road::Contract | Road::Claim | Road::Goodwill) => {}
            }
        }
        errors
    }
}

const CODE: &str = "1 to 40 letters, digits, dots, hyphens and underscores, and a letter or digit first";
const WORDS: &str = "1 to 200 characters, none of them a control character";

fn is_code(text: &str) -> bool {
    (1..=40).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter))
}

fn is_words(text: &str) -> bool {
    (1..=200).contains(&text.chars().count()) && !text.trim().is_empty() && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../assets/books.yaml");

    fn usual() -> Tax {
        Tax { name: "GST".to_owned(), code: "GST15".to_owned(), rate_bp: 1_500 }
    }

    #[test]
    fn the_example_is_read_and_does_what_the_service_does_by_itself() {
        let chart = Chart::parse(EXAMPLE).unwrap();
        let by_itself = Chart::default();
        for (road, reason) in
            [(Road::Contract, "sla_tier"), (Road::Claim, "evidence_of_cost"), (Road::Goodwill, "goodwill")]
        {
            assert_eq!(chart.account(road, reason), by_itself.account(road, reason), "{reason}");
            assert_eq!(chart.rule(road, reason, &usual()), by_itself.rule(road, reason, &usual()), "{reason}");
        }
        assert_eq!(chart.account(Road::Claim, "goodwill_first"), Code::Goodwill);
        assert_eq!(chart.rule(Road::Claim, "goodwill_first", &usual()).rate_bp, 1_500);
        assert_ne!(chart.hash(), by_itself.hash());
    }

    #[test]
    fn each_place_that_cannot_be_worked_with_is_named() {
        let spoilt = |from: &str, to: &str| {
            assert!(EXAMPLE.contains(from), "{from}");
            let refusal = Chart::parse(&EXAMPLE.replacen(from, to, 1)).unwrap_err();
            refusal.errors.first().map(|error| error.pointer.clone()).unwrap_or_default()
        };
        assert_eq!(spoilt("gl: \"4810\"", "gl: \"=1+1\""), "/accounts/SLA/gl");
        assert_eq!(spoilt("rate_bp: 1500", "rate_bp: 15000"), "/tax/standard/rate_bp");
        assert_eq!(spoilt("tax: standard", "tax: other"), "/reasons/goodwill_first/tax");
        assert_eq!(spoilt("account: SLA", "account: COMPENSATION"), "/reasons/sla_tier/account");
        assert_eq!(spoilt("basis: included", "basis: excluded"), "/reasons/sla_tier/tax");
    }
}
