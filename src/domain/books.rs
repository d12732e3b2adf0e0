//! The books: which account is debited and which is credited, for everything that happens to a credit.
//!
//! A transfer is one debit and one credit of the same amount, so it cannot be unbalanced. Nothing is edited: what was
//! wrong is answered by new transfers.

use serde::{Deserialize, Serialize};

use super::money::{Money, MoneyError};

/// An account of the books. The names that people read are the operator's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Code {
    /// Reduction of revenue: what the terms promised.
    Sla,
    /// Reduction of revenue: what was given without having to.
    Goodwill,
    /// Expense: a customer's own loss.
    Compensation,
    /// Expense: paid too much, and left with the customer.
    Overcredit,
    /// Expense: cents by which billing's tax differs from ours.
    Rounding,
    /// Liability: owed to the customer, waiting for billing.
    Owed,
    /// Liability: billing could not take it; a person has to look.
    Held,
    /// Liability: owed, and nobody can be found to take it.
    Unclaimed,
    /// Liability: what is expected to be credited, at the close of a period.
    Provision,
    /// Tax that falls due once billing makes the document.
    TaxPending,
    /// Asset: to be had back from the customer.
    Recoverable,
    /// Clearing: taken over by billing.
    Billing,
    /// Clearing: paid out.
    Cash,
}

impl Code {
    pub const ALL: [Code; 13] = [
        Code::Sla,
        Code::Goodwill,
        Code::Compensation,
        Code::Overcredit,
        Code::Rounding,
        Code::Owed,
        Code::Held,
        Code::Unclaimed,
        Code::Provision,
        Code::TaxPending,
        Code::Recoverable,
        Code::Billing,
        Code::Cash,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Code::Sla => "SLA",
            Code::Goodwill => "GOODWILL",
            Code::Compensation => "COMPENSATION",
            Code::Overcredit => "OVERCREDIT",
            Code::Rounding => "ROUNDING",
            Code::Owed => "OWED",
            Code::Held => "HELD",
            Code::Unclaimed => "UNCLAIMED",
            Code::Provision => "PROVISION",
            Code::TaxPending => "TAX_PENDING",
            Code::Recoverable => "RECOVERABLE",
            Code::Billing => "BILLING",
            Code::Cash => "CASH",
        }
    }

    pub fn parse(name: &str) -> Option<Code> {
        Code::ALL.into_iter().find(|code| code.name() == name)
    }
}

/// One row: `amount`, above zero, from `debit` to `credit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posting {
    pub debit: Code,
    pub credit: Code,
    pub amount: Money,
}

/// An amount with its parts, and the account that its reason chose.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// SLA, GOODWILL or COMPENSATION.
    pub reason: Code,
    pub net: Money,
    pub tax: Money,
}

/// A credit is issued: what is given up is debited, what is owed is credited, tax apart.
pub fn issued(parts: Parts) -> Vec<Posting> {
    lines([(parts.reason, Code::Owed, parts.net), (Code::TaxPending, Code::Owed, parts.tax)])
}

/// Billing put the credit, or a part of it, on a bill.
pub fn applied(parts: Parts) -> Vec<Posting> {
    lines([(Code::Owed, Code::Billing, parts.net), (Code::Owed, Code::TaxPending, parts.tax)])
}

/// Billing rolled its bill run back: the exact mirror of [`applied`].
pub fn returned(parts: Parts) -> Vec<Posting> {
    applied(parts).into_iter().map(mirrored).collect()
}

/// Billing will not take it: it lands with finance.
pub fn refused(gross: Money) -> Vec<Posting> {
    lines([(Code::Owed, Code::Held, gross)])
}

fn mirrored(posting: Posting) -> Posting {
    Posting { debit: posting.credit, credit: posting.debit, amount: posting.amount }
}

/// At the close of a period: what is expected to be credited, without tax, for which nothing is issued yet.
pub fn provided(reason: Code, estimate: Money) -> Vec<Posting> {
    lines([(reason, Code::Provision, estimate)])
}

/// On the first day of the next period: the exact mirror of [`provided`].
pub fn released(reason: Code, estimate: Money) -> Vec<Posting> {
    provided(reason, estimate).into_iter().map(mirrored).collect()
}

/// Only what moves something is a row.
fn lines<const N: usize>(rows: [(Code, Code, Money); N]) -> Vec<Posting> {
    rows.into_iter()
        .filter(|(_, _, amount)| amount.is_positive())
        .map(|(debit, credit, amount)| Posting { debit, credit, amount })
        .collect()
}

/// Debits less credits of `code` over `postings`, in minor units of one currency.
pub fn balance(code: Code, postings: &[Posting]) -> Result<i64, MoneyError> {
    postings.iter().try_fold(0i64, |sum, posting| {
        let sum = if posting.debit == code { sum.checked_add(posting.amount.minor()) } else { Some(sum) };
        let sum = sum
            .and_then(|sum| if posting.credit == code { sum.checked_sub(posting.amount.minor()) } else { Some(sum) });
        sum.ok_or(MoneyError::TooLarge)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nzd(minor: i64) -> Money {
        Money::from_minor(minor, "NZD".parse().unwrap()).unwrap()
    }

    #[test]
    fn what_is_issued_and_applied_leaves_nothing_owed_and_no_tax_pending() {
        let parts = Parts { reason: Code::Sla, net: nzd(2_174), tax: nzd(326) };
        let mut books = issued(parts);
        assert_eq!(balance(Code::Owed, &books).unwrap(), -2_500);
        books.extend(applied(parts));
        for code in Code::ALL {
            let left = if code == Code::Sla {
                2_174
            } else if code == Code::Billing {
                -2_174
            } else {
                0
            };
            assert_eq!(balance(code, &books).unwrap(), left, "{code:?}");
        }
    }

    #[test]
    fn a_bill_run_that_is_rolled_back_leaves_the_credit_owed_again() {
        let parts = Parts { reason: Code::Sla, net: nzd(2_174), tax: nzd(326) };
        let before = issued(parts);
        let mut books = before.clone();
        books.extend(applied(parts));
        books.extend(returned(parts));
        for code in Code::ALL {
            assert_eq!(balance(code, &books).unwrap(), balance(code, &before).unwrap(), "{code:?}");
        }
    }

    #[test]
    fn no_row_is_written_for_an_amount_of_nothing() {
        assert_eq!(issued(Parts { reason: Code::Compensation, net: nzd(24_000), tax: nzd(0) }).len(), 1);
    }
}
