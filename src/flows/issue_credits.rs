//! Issuing credits, inside the transaction of whoever decided: the credit, its transfers, its audit row and what billing will
//! hear of it, all or nothing, and each only once.

use chrono::NaiveDate;
use serde::Serialize;
use sqlx::PgConnection;

use crate::domain::accounting::effective;
use crate::domain::books::{self, Parts};
use crate::domain::feed::{IssueBody, ServicePeriod, credit_name};
use crate::domain::money::Currency;
use crate::failpoint;
use crate::store::credits::{self, Addressee, Credit, Entry};
use crate::store::{Error, accounting};

/// A credit to issue, how billing addresses its account, and the claim's reference where one asked for it.
#[derive(Clone, Debug)]
pub struct ToIssue {
    pub credit: Credit,
    pub addressee: Addressee,
    pub claim_reference: Option<String>,
}

/// Issues what was not issued before and says how many that were.
pub async fn issue_in(conn: &mut PgConnection, wanted: &[ToIssue]) -> Result<usize, Error> {
    let accounts: Vec<uuid::Uuid> = wanted.iter().map(|one| one.credit.account.0).collect();
    failpoint::reach("issue.before_lock").await;
    credits::lock_accounts(conn, &accounts).await?;
    let open_from = accounting::open_from(conn).await?;
    failpoint::reach("issue.before_credits").await;
    let wanted: Vec<ToIssue> = wanted.iter().map(|one| dated(one, open_from)).collect();
    let all: Vec<Credit> = wanted.iter().map(|one| one.credit.clone()).collect();
    let new = credits::insert_new(conn, &all).await?;
    failpoint::reach("issue.after_credits").await;
    let entries: Vec<Entry> = wanted.iter().filter(|one| new.contains(&one.credit.id)).map(entry).collect();
    credits::post(conn, &entries).await?;
    Ok(entries.len())
}

/// What is dated into a closed accounting period takes effect on the first open day; its service period says what it is for.
fn dated(one: &ToIssue, open_from: NaiveDate) -> ToIssue {
    let effective_on = effective(one.credit.effective_on, open_from);
    ToIssue { credit: Credit { effective_on, ..one.credit.clone() }, ..one.clone() }
}

pub(super) fn entry(one: &ToIssue) -> Entry {
    let credit = &one.credit;
    Entry {
        account: credit.account,
        document: credit.id.0,
        event: "issued".to_owned(),
        postings: books::issued(Parts { reason: credit.against, net: credit.net, tax: credit.tax }),
        reason: credit.reason.clone(),
        effective_on: credit.effective_on,
        recorded_at: credit.issued_at,
        actor: credit.approved_by.clone(),
        action: "credit.issue",
        detail: IssueDetail {
            cause: &credit.cause,
            currency: credit.gross.currency(),
            generation: credit.generation,
            gross_minor: credit.gross.minor(),
            proposed_by: &credit.issued_by,
        }
        .text(),
        item: Some(("issue", feed_body(one))),
    }
}

/// What the audit trail keeps of an issue.
#[derive(Serialize)]
struct IssueDetail<'a> {
    cause: &'a str,
    currency: Currency,
    generation: i32,
    gross_minor: i64,
    proposed_by: &'a str,
}

impl IssueDetail<'_> {
    fn text(&self) -> String {
        // Strings and numbers: there is nothing that JSON cannot say.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What billing reads of a credit.
fn feed_body(one: &ToIssue) -> String {
    let ToIssue { credit, addressee, claim_reference } = one;
    IssueBody {
        account: &addressee.reference,
        bill_to: addressee.bill_to.as_ref().unwrap_or(&addressee.reference),
        claim: claim_reference.as_deref(),
        currency: credit.gross.currency(),
        effective_date: credit.effective_on,
        gross: credit.gross.digits(),
        id: credit_name(credit.id),
        issued_at: credit.issued_at,
        net: credit.net.digits(),
        reason: &credit.reason,
        road: credit.road.name(),
        service_period: credit.service.map(|(start, end)| ServicePeriod { end, start, time_zone: &credit.zone }),
        tax: credit.tax.digits(),
        tax_code: &credit.tax_code,
    }
    .text()
}
