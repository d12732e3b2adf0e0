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
    /// Liability: owed to the customer, waiting for billing.
    Owed,
    /// Liability: billing could not take it; a person has to look.
    Held,
    /// Tax that falls due once billing makes the document.
    TaxPending,
    /// Clearing: taken over by billing.
    Billing,
    /// Expense: more was credited than was due, and the customer keeps it.
    Overcredit,
    /// Expense: cents by which billing's tax differs from ours.
    Rounding,
    /// Liability: nobody came for what is held.
    Unclaimed,
    /// Liability: an estimate of what is not credited yet, at the close of a period.
    Provision,
    /// Claim on the customer: taken back after it stood on a bill, until billing has put that on a bill too.
    Recoverable,
    /// Clearing: paid out in money.
    Cash,
}

impl Code {
    pub const ALL: [Code; 13] = [
        Code::Sla,
        Code::Goodwill,
        Code::Compensation,
        Code::Owed,
        Code::Held,
        Code::TaxPending,
        Code::Billing,
        Code::Overcredit,
        Code::Rounding,
        Code::Unclaimed,
        Code::Provision,
        Code::Recoverable,
        Code::Cash,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Code::Sla => "SLA",
            Code::Goodwill => "GOODWILL",
            Code::Compensation => "COMPENSATION",
            Code::Owed => "OWED",
            Code::Held => "HELD",
            Code::TaxPending => "TAX_PENDING",
            Code::Billing => "BILLING",
            Code::Overcredit => "OVERCREDIT",
            Code::Rounding => "ROUNDING",
            Code::Unclaimed => "UNCLAIMED",
            Code::Provision => "PROVISION",
            Code::Recoverable => "RECOVERABLE",
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

/// Taken back before it stood on a bill, on billing's word that it will not: the mirror of [`issued`].
pub fn cancelled(parts: Parts) -> Vec<Posting> {
    written_off(Code::Owed, parts)
}

/// Taken back where it lies, OWED, HELD or UNCLAIMED: the mirror of [`issued`], out of that account.
pub fn written_off(from: Code, parts: Parts) -> Vec<Posting> {
    lines([(from, parts.reason, parts.net), (from, Code::TaxPending, parts.tax)])
}

/// Taken back after it stood on a bill: the customer owes it until billing has put the debit on a bill.
pub fn debited(parts: Parts) -> Vec<Posting> {
    lines([(Code::Recoverable, parts.reason, parts.net), (Code::Recoverable, Code::TaxPending, parts.tax)])
}

/// Billing put the debit, or a part of it, on a bill.
pub fn recovered(parts: Parts) -> Vec<Posting> {
    lines([(Code::Billing, Code::Recoverable, parts.net), (Code::TaxPending, Code::Recoverable, parts.tax)])
}

/// Finance offers to billing again what is held or unclaimed.
pub fn offered(from: Code, gross: Money) -> Vec<Posting> {
    lines([(from, Code::Owed, gross)])
}

/// Nobody came for what is held.
pub fn unclaimed(gross: Money) -> Vec<Posting> {
    lines([(Code::Held, Code::Unclaimed, gross)])
}

/// What is held or unclaimed is paid out in money; billing makes the tax document.
pub fn paid(from: Code, parts: Parts) -> Result<Vec<Posting>, MoneyError> {
    let gross = parts.net.plus(parts.tax)?;
    Ok(lines([(from, Code::Cash, gross), (Code::Billing, Code::TaxPending, parts.tax)]))
}

/// More was credited than was due, and the customer keeps it: it is no reduction that the terms promised.
pub fn kept(parts: Parts) -> Vec<Posting> {
    lines([(Code::Overcredit, parts.reason, parts.net)])
}

/// Billing's tax is `difference` more than ours, or less where it is negative: the cents go to ROUNDING.
pub fn rounded(difference: Money) -> Result<Vec<Posting>, MoneyError> {
    let less = Money::zero(difference.currency()).minus(difference)?;
    Ok(lines([(Code::TaxPending, Code::Rounding, difference), (Code::Rounding, Code::TaxPending, less)]))
}

/// At the close of a period: what is expected to be credited, without tax, for which nothing is issued yet.
pub fn provided(reason: Code, estimate: Money) -> Vec<Posting> {
    lines([(reason, Code::Provision, estimate)])
}

/// On the first day of the next period: the exact mirror of [`provided`].
pub fn released(reason: Code, estimate: Money) -> Vec<Posting> {
    provided(reason, estimate).into_iter().map(mirrored).collect()
}

fn mirrored(posting: Posting) -> Posting {
    Posting { debit: posting.credit, credit: posting.debit, amount: posting.amount }
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

    /// Every account that does not stand at nothing, debits less credits.
    fn balances(books: &[Posting]) -> Vec<(Code, i64)> {
        let all = Code::ALL.into_iter().map(|code| (code, balance(code, books).unwrap()));
        all.filter(|(_, minor)| *minor != 0).collect()
    }

    fn sla() -> Parts {
        Parts { reason: Code::Sla, net: nzd(2_174), tax: nzd(326) }
    }

    fn after(events: &[Vec<Posting>]) -> Vec<(Code, i64)> {
        balances(&events.concat())
    }

    #[test]
    fn a_credit_that_is_taken_back_leaves_nothing_wherever_it_stood() {
        let (parts, gross) = (sla(), nzd(2_500));
        assert_eq!(after(&[issued(parts), cancelled(parts)]), []);
        assert_eq!(after(&[issued(parts), refused(gross), written_off(Code::Held, parts)]), []);
        let unclaimed = [issued(parts), refused(gross), unclaimed(gross), written_off(Code::Unclaimed, parts)];
        assert_eq!(after(&unclaimed), []);
        assert_eq!(
            after(&[issued(parts), applied(parts), debited(parts)]),
            [(Code::TaxPending, -326), (Code::Billing, -2_174), (Code::Recoverable, 2_500)]
        );
        assert_eq!(after(&[issued(parts), applied(parts), debited(parts), recovered(parts)]), []);
    }

    #[test]
    fn what_is_held_goes_back_to_billing_or_out_in_money() {
        let (parts, gross) = (sla(), nzd(2_500));
        let held = [issued(parts), refused(gross)].concat();
        assert_eq!(balances(&held), [(Code::Sla, 2_174), (Code::Held, -2_500), (Code::TaxPending, 326)]);
        let offered = [held.clone(), offered(Code::Held, gross)];
        assert_eq!(after(&offered), balances(&issued(parts)));
        let paid = [held, paid(Code::Held, parts).unwrap()];
        assert_eq!(after(&paid), [(Code::Sla, 2_174), (Code::Billing, 326), (Code::Cash, -2_500)]);
    }

    #[test]
    fn a_cent_of_tax_goes_to_rounding_and_an_over_payment_is_no_reduction() {
        for (difference, left) in [(1, -1), (-1, 1)] {
            let billed = Parts { net: nzd(2_174 - difference), tax: nzd(326 + difference), ..sla() };
            let books = [issued(sla()), applied(billed), rounded(nzd(difference)).unwrap()];
            let billing = -(2_174 - difference);
            assert_eq!(after(&books), [(Code::Sla, 2_174), (Code::Billing, billing), (Code::Rounding, left)]);
        }
        assert_eq!(rounded(nzd(0)).unwrap(), []);
        let books = [issued(sla()), applied(sla()), kept(Parts { net: nzd(1_000), tax: nzd(150), ..sla() })];
        assert_eq!(after(&books), [(Code::Sla, 1_174), (Code::Billing, -2_174), (Code::Overcredit, 1_000)]);
    }

    #[test]
    fn what_is_issued_and_applied_leaves_nothing_owed_and_no_tax_pending() {
        let parts = Parts { reason: Code::Sla, net: nzd(2_174), tax: nzd(326) };
        let mut books = issued(parts);
        assert_eq!(balance(Code::Owed, &books).unwrap(), -2_500);
        books.extend(applied(parts));
        assert_eq!(balances(&books), [(Code::Sla, 2_174), (Code::Billing, -2_174)]);
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
