//! A journal batch: what was written into a period, summed for the operator's own finance system, as one file whose bytes stay.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use sha2::{Digest, Sha256};

use super::books::Code;
use super::chart::Chart;
use super::money::{Currency, Money, MoneyError};
use super::period::Month;
use super::sheet;

/// What one account of the books got on one day, in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    pub effective_on: NaiveDate,
    pub code: Code,
    pub debit: Money,
    pub credit: Money,
    /// How many transfers debit or credit it: each transfer has two legs.
    pub legs: i64,
}

/// A batch, ready to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub body: String,
    /// SHA-256 over the body's bytes.
    pub hash: [u8; 32],
    /// Debits by currency; the credits are the same.
    pub totals: BTreeMap<Currency, Money>,
    pub transfers: i64,
}

const COLUMNS: [&str; 12] =
    ["kind", "batch", "line", "period", "date", "gl", "account", "name", "currency", "debit", "credit", "transfers"];

/// Writes the batch: a line for each day, account and side, and at the end one `total` for each currency, so that a file that was
/// cut is seen. None where there is nothing to write; refused where debits and credits differ, which the books cannot do.
pub fn file(no: i64, period: Month, chart: &Chart, sums: &[Sum]) -> Result<Option<File>, MoneyError> {
    if sums.is_empty() {
        return Ok(None);
    }
    let mut body = sheet::row(COLUMNS);
    let mut totals: BTreeMap<Currency, (Money, Money, i64)> = BTreeMap::new();
    let (no, period) = (no.to_string(), period.to_string());
    let mut line = 0u32;
    for sum in sums {
        let currency = sum.debit.currency();
        let total = totals.entry(currency).or_insert((Money::zero(currency), Money::zero(currency), 0));
        *total = (total.0.plus(sum.debit)?, total.1.plus(sum.credit)?, total.2 + sum.legs);
        let sides = [(sum.debit, Money::zero(currency)), (Money::zero(currency), sum.credit)];
        for (debit, credit) in sides.into_iter().filter(|(debit, credit)| debit.is_positive() || credit.is_positive()) {
            line += 1;
            body.push_str(&sheet::row([
                "line",
                &no,
                &line.to_string(),
                &period,
                &sum.effective_on.to_string(),
                chart.gl(sum.code),
                sum.code.name(),
                chart.name(sum.code),
                currency.code(),
                &side(debit),
                &side(credit),
                "",
            ]));
        }
    }
    for (currency, (debit, credit, legs)) in &totals {
        if debit != credit {
            return Err(MoneyError::TooLarge);
        }
        let (debit, credit, transfers) = (debit.digits(), credit.digits(), (legs / 2).to_string());
        let cells = ["total", &no, "", &period, "", "", "", "", currency.code(), &debit, &credit, &transfers];
        body.push_str(&sheet::row(cells));
    }
    Ok(Some(File {
        hash: Sha256::digest(&body).into(),
        body,
        transfers: totals.values().map(|total| total.2).sum::<i64>() / 2,
        totals: totals.into_iter().map(|(currency, (debit, _, _))| (currency, debit)).collect(),
    }))
}

fn side(amount: Money) -> String {
    if amount.is_positive() { amount.digits() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_balances_and_ends_with_its_total() {
        let nzd = |minor| Money::from_minor(minor, "NZD".parse().unwrap()).unwrap();
        let sum = |code, debit, credit, legs| Sum {
            effective_on: "2026-10-31".parse().unwrap(),
            code,
            debit: nzd(debit),
            credit: nzd(credit),
            legs,
        };
        let sums = [sum(Code::Sla, 2_174, 0, 1), sum(Code::TaxPending, 326, 326, 2), sum(Code::Owed, 326, 2_500, 3)];
        let file = file(7, "2026-10".parse().unwrap(), &Chart::default(), &sums).unwrap().unwrap();
        assert_eq!((file.transfers, file.totals.values().next().unwrap().minor()), (3, 2_826));
        let lines: Vec<&str> = file.body.lines().collect();
        assert_eq!(lines.len(), 1 + 5 + 1);
        assert_eq!(lines[6], "total,7,,2026-10,,,,,NZD,28.26,28.26,3");
        assert_eq!(lines[1], "line,7,1,2026-10,2026-10-31,SLA,SLA,SLA,NZD,21.74,,");
        assert_eq!(super::file(8, "2026-10".parse().unwrap(), &Chart::default(), &[]).unwrap(), None);
    }
}
