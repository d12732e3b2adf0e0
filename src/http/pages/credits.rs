//! A customer's credits, and which bill each is on.

use std::collections::HashMap;

use axum::extract::State;
use axum::response::Response;
use chrono::Datelike;

use super::bills::{self, Credits};
use super::errors::PageError;
use super::fmt;
use super::month::Chosen;
use super::view::{CreditRow, CreditStanding, CreditsPage};
use super::visitor::Visitor;
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
    let waiting = bills::total(credits.all.iter().filter(|credit| is_waiting(&credits, credit)), account.currency)?;
    let this_year = credits.all.iter().filter(|credit| account.zone.local(credit.issued_at).year() == year);
    let this_year = bills::total(this_year, account.currency)?;
    let rows = credits.all.iter().map(|credit| row(&visitor, &account, &credits, &names, credit)).collect();
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
        CreditStanding::OnBill(_) | CreditStanding::Corrected | CreditStanding::WithAPerson => false,
    }
}

fn row(
    visitor: &Visitor,
    account: &crate::domain::account::Account,
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
