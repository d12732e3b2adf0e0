//! Issuing past the servers: an agent's program that talks to the database itself, may be slow about it, and may be many at once.
//!
//! This is the one place outside of `flows` that opens a transaction: what it plays is a transaction that stays open.

use std::time::Duration;

use super::Soak;
use super::ask::PATIENCE;
use crate::domain::books::Code;
use crate::domain::credit::{Road, Split};
use crate::domain::ids::{AccountId, CreditId};
use crate::domain::money::{Money, MoneyError};
use crate::flows::issue_credits::{ToIssue, issue_in};
use crate::store::Error;
use crate::store::credits::{Addressee, Credit};

/// A credit of the operator's good will; the same name is the same credit.
pub fn goodwill(soak: &Soak, account: &str, name: &str, gross_minor: i64) -> Result<ToIssue, MoneyError> {
    let gross = Money::from_minor(gross_minor, soak.world.currency)?;
    let split = Split::of(gross, 1_500)?;
    let (id, cause) = (AccountId::of(account), format!("soak:{name}"));
    let now = soak.clock.now();
    Ok(ToIssue {
        credit: Credit {
            account: id,
            id: CreditId::of(id, &cause, 0),
            road: Road::Goodwill,
            against: Code::Goodwill,
            cause,
            generation: 0,
            reason: "goodwill_first".to_owned(),
            gross,
            net: split.net,
            tax: split.tax,
            tax_code: "GST15".to_owned(),
            tax_rate_bp: 1_500,
            subscription: None,
            claim: None,
            run: None,
            service: None,
            zone: "Pacific/Auckland".to_owned(),
            effective_on: now.utc().date_naive(),
            issued_at: now,
            issued_by: "soak-staff|aroha".to_owned(),
            approved_by: "soak-staff|wiremu".to_owned(),
        },
        addressee: Addressee { reference: account.to_owned(), bill_to: None, zone: "Pacific/Auckland".to_owned() },
        claim_reference: None,
    })
}

/// Tries once, with the transaction held open for `hold` before it commits. Says how many credits were new: one or none.
pub async fn once(soak: &Soak, wanted: &ToIssue, hold: Duration) -> Result<usize, Error> {
    let mut tx = soak.opened.pool.begin().await?;
    let new = issue_in(&mut tx, std::slice::from_ref(wanted)).await?;
    tokio::time::sleep(hold).await;
    tx.commit().await?;
    Ok(new)
}

/// Tries until it is certain that the credit is there, and says whether it was new to the try that made it certain.
pub async fn until_certain(soak: &Soak, wanted: &ToIssue, hold: Duration) -> Option<usize> {
    let began = std::time::Instant::now();
    while began.elapsed() < PATIENCE {
        match once(soak, wanted, hold).await {
            Ok(new) => return Some(new),
            Err(error) if error.is_unavailable() => soak.ledger.count("transactions that were uncertain"),
            Err(error) => {
                soak.ledger.broke(format!("issuing credit {} failed: {error:?}", wanted.credit.id));
                return None;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    soak.ledger.broke(format!("credit {} could not be issued within {PATIENCE:?}", wanted.credit.id));
    None
}
