//! A customer's credits, and which bill each is on.

use std::collections::HashMap;

use axum::extract::State;
use axum::response::Response;
use chrono::Datelike;

use super::bills::{CreditStanding, Credits};
use super::errors::PageError;
use super::fmt;
use super::month::Chosen;
use super::view::{CreditRow, CreditsPage};
use super::visitor::Visitor;
use crate::domain::account::Account;
use crate::domain::course::{DeedKind, OVER_PAYMENT, Step};
use crate::domain::credit::Road;
use crate::domain::ids::ClaimId;
use crate::domain::period::Month;
use crate::http::{App, Query};
use crate::store::credits::Credit;
use crate::store::{claims, customer};

pub async fn page(
    State(app): State<App>,
    visitor: Visitor,
    Query(chosen): Query<Chosen>,
) -> Result<Response, PageError> {
    let account = visitor.account(&app, chosen.account.as_deref()).await?;
    let mut tx = customer::open(&app.pool, &[account.id]).await?;
    let credits = Credits::of(&mut tx, account.id).await?;
    let names: HashMap<ClaimId, String> = claims::of_accounts(&mut tx, &[account.id])
        .await?
        .into_iter()
        .map(|claim| (claim.id, claim.reference))
        .collect();
    drop(tx);
    let year = account.zone.local(visitor.now).year();
    let waiting = credits.sum(credits.all.iter().filter(|credit| is_waiting(&credits, credit)), account.currency)?;
    let this_year = credits.all.iter().filter(|credit| account.zone.local(credit.issued_at).year() == year);
    let this_year = credits.sum(this_year, account.currency)?;
    let mut rows = Vec::with_capacity(credits.all.len());
    for credit in &credits.all {
        let row = row(&visitor, &account, &credits, &names, credit);
        // The newest is first, here as well.
        rows.extend(corrections(&account, &credits, credit, &row.what));
        rows.push(row);
    }
    super::html(&CreditsPage {
        shell: visitor.account_shell(&account, "Credits", "/credits"),
        account: format!("{}, account {}", account.name, account.reference),
        waiting: waiting.is_positive().then(|| fmt::money(waiting)),
        rows,
        total: this_year.is_positive().then(|| ("Total this year".to_owned(), fmt::money(this_year))),
        links: Vec::new(),
    })
}

fn is_waiting(credits: &Credits, credit: &Credit) -> bool {
    match credits.standing(credit) {
        CreditStanding::WorkedOut
        | CreditStanding::WaitingForBilling
        | CreditStanding::SentToBilling
        | CreditStanding::ConfirmedByBilling => true,
        CreditStanding::OnBill(_)
        | CreditStanding::Corrected
        | CreditStanding::WithAPerson
        | CreditStanding::PaidOut
        | CreditStanding::Expired => false,
    }
}

/// What was taken back of a credit, a row each, the newest first.
fn corrections(account: &Account, credits: &Credits, credit: &Credit, what: &str) -> Vec<CreditRow> {
    let steps = credits.steps(credit).iter().rev();
    let rows = steps.filter_map(|recorded| {
        let Step::Done(deed) = &recorded.step else { return None };
        let (what, standing) = match deed.kind {
            DeedKind::Reversed => (format!("Correction of: {what}"), CreditStanding::Corrected),
            DeedKind::Debited if deed.reason == OVER_PAYMENT => {
                (format!("Correction of: {what}"), CreditStanding::Corrected)
            }
            DeedKind::Expired => (format!("Expired: {what}"), CreditStanding::Expired),
            // These are a part of what is shown, or move nothing of the customer's.
            DeedKind::Debited
            | DeedKind::WrittenOff
            | DeedKind::Offered
            | DeedKind::Unclaimed
            | DeedKind::Paid
            | DeedKind::Kept => return None,
        };
        Some(CreditRow {
            date: fmt::date_short(account.zone.local(recorded.at).date_naive()),
            what,
            href: None,
            amount: format!("−{}", fmt::money(deed.amounts.gross)),
            bill: String::new(),
            standing,
        })
    });
    rows.collect()
}

fn row(
    visitor: &Visitor,
    account: &Account,
    credits: &Credits,
    names: &HashMap<ClaimId, String>,
    credit: &Credit,
) -> CreditRow {
    let month = credit.service.and_then(|(from, _)| Month::new(from.year(), from.month()));
    let claim = credit.claim.and_then(|claim| names.get(&claim));
    let (what, href) = match (credit.road, month, claim) {
        (Road::Claim, _, Some(reference)) => (format!("Your claim {reference}"), Some(format!("/claims/{reference}"))),
        (Road::Contract, Some(month), _) => {
            let query = visitor.account_query(account);
            (format!("{}, service credit", fmt::month(month)), Some(format!("/months/{month}{query}")))
        }
        (Road::Claim | Road::Contract | Road::Goodwill, _, _) => ("Credit".to_owned(), None),
    };
    CreditRow {
        date: fmt::date_short(account.zone.local(credit.issued_at).date_naive()),
        what,
        href,
        amount: fmt::money(credit.gross),
        bill: credits.bill_in_a_table(credit),
        standing: credits.standing(credit),
    }
}
