//! Claims to decide, what is due first first. The filter is in the address.

use std::collections::HashMap;

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use sqlx::PgConnection;

use super::errors::PageError;
use super::view::{Choice, QueuePage, QueueRow, staff_tag};
use super::visitor::{READS_CLAIMS, Visitor};
use super::{bills, fmt, incident};
use crate::domain::account::Account;
use crate::domain::claim::{Claim, State as ClaimState};
use crate::domain::course::Course;
use crate::domain::credit::Road;
use crate::domain::ids::{AccountId, ClaimId, CreditId};
use crate::domain::money::Money;
use crate::domain::period::Month;
use crate::domain::time::{Instant, SECOND};
use crate::http::{App, Query};
use crate::store::credits::{self, Credit};
use crate::store::{accounts, claims, courses};

const PAGE: usize = 50;
/// How many claims are counted and searched; beyond, the page says so.
const MOST: i64 = 10_000;

#[derive(Debug, Deserialize)]
pub struct Filter {
    state: Option<String>,
    find: Option<String>,
    after: Option<String>,
}

pub async fn page(
    State(app): State<App>,
    visitor: Visitor,
    Query(filter): Query<Filter>,
) -> Result<Response, PageError> {
    visitor.require(&READS_CLAIMS)?;
    let mut conn = app.pool.acquire().await?;
    let state = filter.state.as_deref().unwrap_or("open");
    let find = filter.find.as_deref().unwrap_or_default().trim();
    let mut found = claims::to_decide(&mut conn, ClaimState::parse(state), None, MOST).await?;
    let mut known = accounts_of(&mut conn, &found).await?;
    if !find.is_empty() {
        if let Some(one) = named(&mut conn, find).await?.filter(|one| found.iter().all(|other| other.id != one.id)) {
            known.extend(accounts_of(&mut conn, std::slice::from_ref(&one)).await?);
            found.push(one);
        }
        found.retain(|claim| matches(claim, known.get(&claim.account), find));
    }
    let count = found.len();
    let summary = summary(&visitor, &found);
    let from = filter.after.as_deref().and_then(|after| found.iter().position(|claim| claim.reference == after));
    let rest: Vec<Claim> = found.into_iter().skip(from.map_or(0, |at| at + 1)).collect();
    let has_more = rest.len() > PAGE;
    let shown: Vec<Claim> = rest.into_iter().take(PAGE).collect();
    let address = |after: Option<&str>| {
        let after = after.map_or_else(String::new, |after| format!("&after={after}"));
        format!("/staff/claims?state={}&find={}{after}", super::encoded(state), super::encoded(find))
    };
    let older = shown.last().filter(|_| has_more).map(|last| address(Some(&last.reference)));
    let rows = rows(&mut conn, &visitor, shown, &known).await?;
    let choice = |value: &str, label: &str| Choice::new(value, label, state);
    super::html(&QueuePage {
        shell: visitor.shell("Claims to decide", "/staff/claims"),
        summary,
        action: "/staff/claims".to_owned(),
        states: vec![
            choice("open", "Open, due soonest first"),
            choice("submitted", "New"),
            choice("in_review", "Being looked at"),
            choice("awaiting_second", "With supervisor"),
        ],
        find: find.to_owned(),
        caption: if count == 1 {
            "1 claim".to_owned()
        } else {
            format!("{} claims", fmt::count(super::sum::many(count)))
        },
        empty: if find.is_empty() {
            "No claims to decide. Next due: none.".to_owned()
        } else {
            format!("No claim matches “{find}”.")
        },
        rows,
        older,
        newer: from.map(|_| address(None)),
        flash: None,
    })
}

/// The claim that somebody names outright, decided or not.
async fn named(conn: &mut PgConnection, reference: &str) -> Result<Option<Claim>, PageError> {
    let Some((account, id)) = claims::resolve(conn, reference).await? else { return Ok(None) };
    Ok(claims::find(conn, account, id).await?)
}

fn matches(claim: &Claim, account: Option<&Account>, find: &str) -> bool {
    let find = find.to_lowercase();
    let in_account = account.is_some_and(|account| {
        account.name.to_lowercase().contains(&find) || account.reference.to_lowercase().contains(&find)
    });
    let in_claim = [Some(&claim.reference), claim.incident.as_ref()];
    in_account || in_claim.into_iter().flatten().any(|text| text.to_lowercase().contains(&find))
}

async fn accounts_of(conn: &mut PgConnection, found: &[Claim]) -> Result<HashMap<AccountId, Account>, PageError> {
    let mut ids: Vec<AccountId> = found.iter().map(|claim| claim.account).collect();
    ids.sort_unstable();
    ids.dedup();
    Ok(accounts::latest_of(conn, &ids).await?)
}

/// "47 open · 3 due today · oldest 4 days".
fn summary(visitor: &Visitor, found: &[Claim]) -> String {
    let today = visitor.operator.zone.local(visitor.now).date_naive();
    let open: Vec<&Claim> = found.iter().filter(|claim| claim.state.is_open()).collect();
    let due = open.iter().filter(|claim| visitor.operator.zone.local(claim.due_at).date_naive() <= today).count();
    let Some(oldest) = open.iter().map(|claim| claim.filed_at).min() else { return String::new() };
    let age = fmt::span((visitor.now.micros() - oldest.micros()).max(SECOND));
    format!("{} open · {due} due today · oldest {age}", open.len())
}

async fn rows(
    conn: &mut PgConnection,
    visitor: &Visitor,
    shown: Vec<Claim>,
    known: &HashMap<AccountId, Account>,
) -> Result<Vec<QueueRow>, PageError> {
    let ids: Vec<AccountId> = shown.iter().map(|claim| claim.account).collect();
    let given = credits::of_accounts(conn, &ids).await?;
    let courses = courses::of(conn, &given).await?;
    let mut began: HashMap<String, Option<Instant>> = HashMap::new();
    let mut rows = Vec::with_capacity(shown.len());
    for claim in shown {
        let account = known.get(&claim.account);
        let month = match (&claim.incident, account) {
            (Some(name), Some(account)) => {
                if !began.contains_key(name) {
                    began.insert(name.clone(), incident::began(conn, name).await?);
                }
                incident::month(began.get(name).copied().flatten(), account.zone)
            }
            (Some(_) | None, _) => None,
        };
        rows.push(QueueRow {
            href: format!("/staff/claims/{}", claim.reference),
            customer: account.map_or_else(String::new, |account| account.name.clone()),
            incident: claim.incident.clone().unwrap_or_default(),
            asked: claim.asked.map_or_else(|| "not said".to_owned(), fmt::money),
            credit: match account {
                Some(account) => fmt::money(service_credit(&given, &courses, account, month)?),
                None => String::new(),
            },
            due: claim.state.is_open().then(|| fmt::due(claim.due_at, visitor.now, visitor.operator.zone)),
            state: staff_tag(claim.state).to_owned(),
            owner: claim.recommendation.as_ref().map_or_else(|| "Nobody".to_owned(), |opinion| opinion.by_name.clone()),
            reference: claim.reference,
        });
    }
    Ok(rows)
}

/// What the plan gave an account for a month; nothing where the month is not known.
pub fn service_credit(
    given: &[Credit],
    courses: &HashMap<CreditId, Course>,
    account: &Account,
    month: Option<Month>,
) -> Result<Money, PageError> {
    let is_for = |credit: &&Credit| {
        credit.account == account.id
            && credit.road == Road::Contract
            && month.is_some_and(|month| credit.service.is_some_and(|(from, _)| from == month.first_day()))
    };
    bills::given(given.iter().filter(is_for), courses, account.currency)
}

/// The open claim after this one, for whoever works through the queue.
pub async fn after(conn: &mut PgConnection, claim: ClaimId) -> Result<Option<String>, PageError> {
    let open = claims::to_decide(conn, None, None, 100).await?;
    let next = open.iter().filter(|other| other.id != claim).find(|other| other.state != ClaimState::AwaitingSecond);
    Ok(next.map(|next| next.reference.clone()))
}
