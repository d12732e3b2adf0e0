//! Where a credit stands on its way to a bill, in the customer's words, as billing's answers say.

use std::collections::HashMap;

use chrono::{Datelike, NaiveDate};
use sqlx::PgConnection;
use uuid::Uuid;

use super::errors::PageError;
use super::fmt;
use super::view::CreditStanding;
use crate::domain::credit::Road;
use crate::domain::feed::AnswerKind;
use crate::domain::ids::{AccountId, CreditId};
use crate::domain::money::{Currency, Money};
use crate::domain::period::Month;
use crate::store::credits::{self, Credit};
use crate::store::feed::{self, Recorded};

/// One account's credits, the newest first, with billing's answers to each.
#[derive(Debug)]
pub struct Credits {
    pub all: Vec<Credit>,
    answers: HashMap<CreditId, Vec<Recorded>>,
}

impl Credits {
    pub async fn of(conn: &mut PgConnection, account: AccountId) -> Result<Self, PageError> {
        let all = credits::of_accounts(conn, &[account]).await?;
        let ids: Vec<Uuid> = all.iter().map(|credit| credit.id.0).collect();
        let answers = feed::answers(conn, &[account.0], &ids).await?;
        Ok(Credits { all, answers })
    }

    /// What the plan gave for a month.
    pub fn of_month(&self, month: Month) -> Vec<&Credit> {
        let is_for = |credit: &&Credit| {
            credit.road == Road::Contract && credit.service.is_some_and(|(from, _)| from == month.first_day())
        };
        self.all.iter().filter(is_for).collect()
    }

    pub fn answers(&self, credit: &Credit) -> &[Recorded] {
        self.answers.get(&credit.id).map_or(&[], Vec::as_slice)
    }

    /// The date of the bill that the credit stands on; none until billing has named one.
    pub fn billed_on(&self, credit: &Credit) -> Option<NaiveDate> {
        self.answers(credit)
            .last()
            .filter(|last| last.answered.kind == AnswerKind::Applied)
            .map(|last| last.answered.on)
    }

    pub fn standing(&self, credit: &Credit) -> CreditStanding {
        let Some(last) = self.answers(credit).last() else { return CreditStanding::WaitingForBilling };
        match last.answered.kind {
            AnswerKind::Accepted => CreditStanding::ConfirmedByBilling,
            AnswerKind::Applied => CreditStanding::OnBill(last.answered.on.format("%B").to_string()),
            AnswerKind::Returned => CreditStanding::WaitingForBilling,
            AnswerKind::Refused => CreditStanding::WithAPerson,
        }
    }

    /// "your November bill", or "your next bill" until billing has named one.
    pub fn bill(&self, credit: &Credit) -> String {
        match self.billed_on(credit) {
            Some(on) => format!("your {} bill", on.format("%B")),
            None => "your next bill".to_owned(),
        }
    }

    /// "November 2026", "Your next bill".
    pub fn bill_in_a_table(&self, credit: &Credit) -> String {
        match self.billed_on(credit).and_then(|on| Month::new(on.year(), on.month())) {
            Some(month) => fmt::month(month),
            None => "Your next bill".to_owned(),
        }
    }
}

/// The sum of some credits; zero for none.
pub fn total<'a>(credits: impl IntoIterator<Item = &'a Credit>, currency: Currency) -> Result<Money, PageError> {
    Money::sum(credits.into_iter().map(|credit| credit.gross), currency)
        .map_err(|error| crate::store::Error::Corrupt(format!("credits that cannot be added: {error}")).into())
}
