//! Where a credit stands on its way to a bill, in the customer's words, as billing's answers say.

use std::collections::HashMap;

use chrono::{Datelike, NaiveDate};
use sqlx::PgConnection;
use uuid::Uuid;

use super::errors::PageError;
use super::fmt;
use crate::domain::course::{Course, Standing, TakenBack};
use crate::domain::credit::Road;
use crate::domain::ids::{AccountId, CreditId};
use crate::domain::money::{Currency, Money};
use crate::domain::period::Month;
use crate::store::courses::{self, Recorded};
use crate::store::credits::{self, Credit};

/// Where a credit stands on its way to a bill, in the customer's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreditStanding {
    WorkedOut,
    WaitingForBilling,
    SentToBilling,
    ConfirmedByBilling,
    /// The month of the bill, "November"; "your next" until billing has named one.
    OnBill(String),
    Corrected,
    /// Billing said no: a person looks at it.
    WithAPerson,
    /// In money.
    PaidOut,
    /// Its time was over before it came off a bill.
    Expired,
}

impl CreditStanding {
    pub fn words(&self) -> String {
        match self {
            CreditStanding::WorkedOut => "Worked out".to_owned(),
            CreditStanding::WaitingForBilling => "Waiting for billing".to_owned(),
            CreditStanding::SentToBilling => "Sent to billing".to_owned(),
            CreditStanding::ConfirmedByBilling => "Confirmed by billing".to_owned(),
            CreditStanding::OnBill(month) => format!("On your {month} bill"),
            CreditStanding::Corrected => "Corrected".to_owned(),
            CreditStanding::WithAPerson => "A person is looking at it".to_owned(),
            CreditStanding::PaidOut => "Paid out".to_owned(),
            CreditStanding::Expired => "Expired".to_owned(),
        }
    }
}

/// One account's credits, the newest first, with what happened to each.
#[derive(Debug)]
pub struct Credits {
    pub all: Vec<Credit>,
    steps: HashMap<CreditId, Vec<Recorded>>,
    pub courses: HashMap<CreditId, Course>,
}

impl Credits {
    pub async fn of(conn: &mut PgConnection, account: AccountId) -> Result<Self, PageError> {
        let all = credits::of_accounts(conn, &[account]).await?;
        let (accounts, ids): (Vec<Uuid>, Vec<Uuid>) = all.iter().map(|credit| (credit.account.0, credit.id.0)).unzip();
        let steps = courses::steps(conn, &accounts, &ids).await?;
        let mut courses = HashMap::new();
        for credit in &all {
            let steps = steps.get(&credit.id).map_or(&[][..], Vec::as_slice);
            courses.insert(credit.id, courses::course(credit, steps)?);
        }
        Ok(Credits { all, steps, courses })
    }

    /// What the plan gave for a month, and did not take back.
    pub fn of_month(&self, month: Month) -> Vec<&Credit> {
        let is_for = |credit: &&Credit| {
            credit.road == Road::Contract
                && credit.service.is_some_and(|(from, _)| from == month.first_day())
                && self.courses.get(&credit.id).is_none_or(|course| course.taken_back != Some(TakenBack::Reversed))
        };
        self.all.iter().filter(is_for).collect()
    }

    /// What happened to it, in its order.
    pub fn steps(&self, credit: &Credit) -> &[Recorded] {
        self.steps.get(&credit.id).map_or(&[], Vec::as_slice)
    }

    /// The date of the newest bill that the credit stands on; none until billing has named one.
    pub fn billed_on(&self, credit: &Credit) -> Option<NaiveDate> {
        self.courses.get(&credit.id)?.bills.last().map(|bill| bill.on)
    }

    /// The sum of what the customer has of these credits; zero for none.
    pub fn sum<'a>(
        &self,
        credits: impl IntoIterator<Item = &'a Credit>,
        currency: Currency,
    ) -> Result<Money, PageError> {
        given(credits, &self.courses, currency)
    }

    pub fn standing(&self, credit: &Credit) -> CreditStanding {
        let Some(course) = self.courses.get(&credit.id) else { return CreditStanding::WaitingForBilling };
        let on_bill = || match self.billed_on(credit) {
            Some(on) => CreditStanding::OnBill(on.format("%B").to_string()),
            None => CreditStanding::WaitingForBilling,
        };
        match course.standing() {
            Ok(Standing::Waiting) if course.last.is_some() => CreditStanding::ConfirmedByBilling,
            Ok(Standing::Waiting | Standing::Returned) => CreditStanding::WaitingForBilling,
            Ok(Standing::Applied | Standing::PartlyApplied) => on_bill(),
            Ok(Standing::Refused | Standing::Unclaimed) | Err(_) => CreditStanding::WithAPerson,
            Ok(Standing::Paid) => CreditStanding::PaidOut,
            Ok(Standing::Reversing | Standing::Reversed) => CreditStanding::Corrected,
            Ok(Standing::Expired) => CreditStanding::Expired,
        }
    }

    /// "your November bill", or "your next bill" until billing has named one.
    pub fn bill(&self, credit: &Credit) -> String {
        match (self.billed_on(credit), self.standing(credit)) {
            (Some(on), _) => format!("your {} bill", on.format("%B")),
            (None, CreditStanding::WithAPerson) => "a bill once a person has looked at it".to_owned(),
            (None, CreditStanding::PaidOut) => "no bill, for we paid it out to you".to_owned(),
            (
                None,
                CreditStanding::WorkedOut
                | CreditStanding::WaitingForBilling
                | CreditStanding::SentToBilling
                | CreditStanding::ConfirmedByBilling
                | CreditStanding::OnBill(_)
                | CreditStanding::Corrected
                | CreditStanding::Expired,
            ) => "your next bill".to_owned(),
        }
    }

    /// "November 2026", "Your next bill".
    pub fn bill_in_a_table(&self, credit: &Credit) -> String {
        match self.billed_on(credit).and_then(|on| Month::new(on.year(), on.month())) {
            Some(month) => fmt::month(month),
            None => match self.standing(credit) {
                CreditStanding::WithAPerson | CreditStanding::PaidOut => "None".to_owned(),
                CreditStanding::Corrected | CreditStanding::Expired => "None".to_owned(),
                CreditStanding::WorkedOut
                | CreditStanding::WaitingForBilling
                | CreditStanding::SentToBilling
                | CreditStanding::ConfirmedByBilling
                | CreditStanding::OnBill(_) => "Your next bill".to_owned(),
            },
        }
    }
}

/// The sum of what customers have, or will have, of these credits: nothing of what was taken back.
pub fn given<'a>(
    credits: impl IntoIterator<Item = &'a Credit>,
    courses: &HashMap<CreditId, Course>,
    currency: Currency,
) -> Result<Money, PageError> {
    let mut sum = Money::zero(currency);
    for credit in credits {
        let given = courses.get(&credit.id).map_or(Ok(credit.gross), Course::given).map_err(unaddable)?;
        sum = sum.plus(given).map_err(unaddable)?;
    }
    Ok(sum)
}

fn unaddable(error: crate::domain::money::MoneyError) -> PageError {
    crate::store::Error::Corrupt(format!("credits that cannot be added: {error}")).into()
}
