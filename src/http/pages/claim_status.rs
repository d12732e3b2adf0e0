//! Where a customer's claims stand.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::bills::Credits;
use super::errors::PageError;
use super::fmt::{self, Reader};
use super::form::{Posted, patiently};
use super::incident;
use super::month::Chosen;
use super::view::{
    ActionForm, ClaimPage, ClaimStanding, ClaimsPage, Disagree, Fact, Link, OwnClaimRow, Total, TrailEntry,
};
use super::visitor::{CUSTOMER, Visitor};
use crate::domain::account::Account;
use crate::domain::claim::{Claim, Decision, State as ClaimState};
use crate::domain::course::{DeedKind, Step};
use crate::domain::feed::AnswerKind;
use crate::domain::refusal::Refusal;
use crate::domain::time::Instant;
use crate::flows::act_on_claim::{ActOnClaim, act_on_claim};
use crate::http::{App, Query};
use crate::store::claims::{self, Event};
use crate::store::credits::Credit;
use crate::store::{accounts, customer};

/// Whether the page was reached by sending.
#[derive(Debug, Deserialize)]
pub struct Arrived {
    sent: Option<String>,
}

/// The customer's claims, the newest first.
pub async fn list(
    State(app): State<App>,
    visitor: Visitor,
    Query(chosen): Query<Chosen>,
) -> Result<Response, PageError> {
    let account = visitor.account(&app, chosen.account.as_deref()).await?;
    let mut tx = customer::open(&app.pool, &[account.id]).await?;
    let found = claims::of_accounts(&mut tx, &[account.id]).await?;
    let credits = Credits::of(&mut tx, account.id).await?;
    drop(tx);
    let mut conn = app.pool.acquire().await?;
    let mut rows = Vec::with_capacity(found.len());
    for claim in found {
        let began = match &claim.incident {
            Some(name) => incident::began(&mut conn, name).await?,
            None => None,
        };
        let is_taken_back = taken_back(&claim, &credits).is_some();
        let given =
            told(&claim, visitor.now).filter(|decision| decision.opinion.amount.is_positive() && !is_taken_back);
        rows.push(OwnClaimRow {
            href: format!("/claims/{}", claim.reference),
            sent: fmt::step(claim.filed_at, account.zone, Reader::Customer),
            about: incident::about(began, account.zone),
            asked: claim.asked.map_or_else(|| "not said".to_owned(), fmt::money),
            given: given.map_or_else(String::new, |decision| fmt::money(decision.opinion.amount)),
            standing: standing(&claim, &account, visitor.now, &[], &credits, None).short().to_owned(),
            reference: claim.reference,
        });
    }
    super::html(&ClaimsPage {
        shell: visitor.account_shell(&account, "Your claims", "/claims"),
        account: format!("{}, account {}", account.name, account.reference),
        rows,
        ask: Link::new("Ask us to look again", format!("/claims/new{}", visitor.account_query(&account))),
    })
}

/// One claim; somebody else's is as unknown as one that is not there.
pub async fn page(
    State(app): State<App>,
    visitor: Visitor,
    Path(reference): Path<String>,
    Query(arrived): Query<Arrived>,
) -> Result<Response, PageError> {
    visitor.require(&CUSTOMER)?;
    let unknown = || Refusal::not_found("claim", &reference);
    let mut conn = app.pool.acquire().await?;
    let (owner, id) = claims::resolve(&mut conn, &reference).await?.ok_or_else(unknown)?;
    let mut tx = customer::open(&app.pool, &visitor.actor.own_accounts()).await?;
    let claim = claims::find(&mut tx, owner, id).await?.ok_or_else(unknown)?;
    let account = accounts::find(&mut tx, owner, None).await?.ok_or_else(unknown)?;
    let events = claims::events(&mut tx, owner, id).await?;
    let credits = Credits::of(&mut tx, owner).await?;
    drop(tx);
    let began = match &claim.incident {
        Some(name) => incident::began(&mut conn, name).await?,
        None => None,
    };
    let month = incident::month(began, account.zone);
    let service = match month {
        Some(month) => Some(credits.sum(credits.of_month(month), account.currency)?).filter(|sum| sum.is_positive()),
        None => None,
    };
    let case = Own { claim, account, events, credits, service, visitor };
    super::html(&fill(&case, arrived.sent.is_some())?)
}

/// The fields of a button.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Version {
    version: String,
}

pub async fn withdraw(
    State(app): State<App>,
    Path(reference): Path<String>,
    posted: Posted<Version>,
) -> Result<Response, PageError> {
    posted.visitor.require(&CUSTOMER)?;
    let request = ActOnClaim { version: posted.form.version.parse().ok(), ..ActOnClaim::default() };
    let (now, actor) = (app.clock.now(), &posted.visitor.actor);
    let deed = || act_on_claim(&app.pool, now, actor, &posted.key, &reference, "withdraw", request.clone());
    patiently(deed).await?;
    Ok(Redirect::to(&format!("/claims/{reference}")).into_response())
}

/// One claim with all that its page says.
struct Own {
    claim: Claim,
    account: Account,
    events: Vec<Event>,
    credits: Credits,
    /// What the plan gave for the same outage.
    service: Option<crate::domain::money::Money>,
    visitor: Visitor,
}

/// The decision, once the customer may hear of it: it can no longer be undone, and its credit is in the books.
fn told(claim: &Claim, now: Instant) -> Option<&Decision> {
    let is_final = |decision: &&Decision| {
        now >= decision.posts_at && (!decision.opinion.amount.is_positive() || decision.posted_at.is_some())
    };
    claim.decision.as_ref().filter(is_final)
}

/// The claim's credit, where it was taken back.
fn taken_back<'a>(claim: &Claim, credits: &'a Credits) -> Option<&'a Credit> {
    let credit = credits.all.iter().find(|credit| credit.claim == Some(claim.id))?;
    let course = credits.courses.get(&credit.id)?;
    course.taken_back.map(|_| credit)
}

/// What the claim's credit comes off.
fn bill(claim: &Claim, credits: &Credits) -> String {
    let credit = credits.all.iter().find(|credit| credit.claim == Some(claim.id));
    credit.map_or_else(|| "your next bill".to_owned(), |credit| credits.bill(credit))
}

fn standing(
    claim: &Claim,
    account: &Account,
    now: Instant,
    events: &[Event],
    credits: &Credits,
    keeps: Option<String>,
) -> ClaimStanding {
    let due = fmt::deadline(claim.due_at, account.zone, Reader::Customer);
    let Some(decision) = told(claim, now) else {
        return match claim.state {
            ClaimState::Withdrawn => ClaimStanding::Withdrawn { until: None },
            ClaimState::AwaitingSecond => ClaimStanding::WithASecond { due },
            ClaimState::Submitted => ClaimStanding::Received { due },
            ClaimState::InReview | ClaimState::Approved | ClaimState::PartApproved | ClaimState::Rejected => {
                let is_second = claim.decision.as_ref().is_some_and(|decision| decision.agreed_by.is_some());
                let by = events.iter().rev().find(|event| event.actor != claim.filed_by);
                let by = by.map_or_else(|| "A person".to_owned(), |event| event.actor_name.clone());
                if is_second { ClaimStanding::WithASecond { due } } else { ClaimStanding::InReview { by, due } }
            }
        };
    };
    let amount = fmt::money(decision.opinion.amount);
    if let Some(taken) = taken_back(claim, credits) {
        return ClaimStanding::TakenBack { amount: fmt::money(taken.gross) };
    }
    let bill = bill(claim, credits);
    match claim.state {
        ClaimState::Approved => ClaimStanding::ApprovedFull { amount, was_asked: claim.asked.is_some(), bill },
        ClaimState::PartApproved if claim.asked.is_some() => {
            ClaimStanding::ApprovedPart { amount, asked: claim.asked.map(fmt::money), bill }
        }
        ClaimState::PartApproved => ClaimStanding::ApprovedFull { amount, was_asked: false, bill },
        ClaimState::Rejected
        | ClaimState::Submitted
        | ClaimState::InReview
        | ClaimState::AwaitingSecond
        | ClaimState::Withdrawn => ClaimStanding::Rejected { keeps },
    }
}

fn fill(own: &Own, just_sent: bool) -> Result<ClaimPage, PageError> {
    let Own { claim, account, events, credits, service, visitor } = own;
    let decision = told(claim, visitor.now);
    let keeps = service.map(fmt::money);
    let title = format!("Claim {}", claim.reference);
    let is_given = |decision: &&Decision| decision.opinion.amount.is_positive() && taken_back(claim, credits).is_none();
    let total = match decision.filter(is_given) {
        Some(decision) => Some(total(own, decision, &bill(claim, credits))?),
        None => None,
    };
    let withdraw = claim.state.is_open().then(|| ActionForm {
        action: format!("/claims/{}/withdraw", claim.reference),
        keys: visitor.keys(),
        version: claim.version.to_string(),
        button: "Withdraw this claim".to_owned(),
    });
    Ok(ClaimPage {
        shell: visitor.account_shell(account, &title, "/claims"),
        account: format!("{}, account {}", account.name, account.reference),
        reference: claim.reference.clone(),
        just_sent: (just_sent && claim.state.is_open())
            .then(|| format!("Claim sent. Your reference is {}.", claim.reference)),
        standing: standing(claim, account, visitor.now, events, credits, keeps),
        total,
        why: decision.map_or_else(Vec::new, |decision| paragraphs(&decision.opinion.words)),
        asked_words: claim.words.clone(),
        asked: vec![Fact::new("You asked for", claim.asked.map_or_else(|| "not said".to_owned(), fmt::money))],
        trail: trail(own),
        disagree: decision.map(|_| disagree(visitor)),
        withdraw,
        links: Vec::new(),
    })
}

fn total(own: &Own, decision: &Decision, bill: &str) -> Result<Total, PageError> {
    let given = decision.opinion.amount;
    let amount = match own.service {
        Some(service) => service.plus(given).map_err(|error| crate::store::Error::Corrupt(error.to_string()))?,
        None => given,
    };
    let tax = &own.visitor.operator.tax.name;
    let note = match own.service {
        Some(service) => format!(
            "{} service credit, including {tax}, and {} for your costs. The {} comes off {bill}.",
            fmt::money(service),
            fmt::money(given),
            fmt::money(given)
        ),
        None => format!("It comes off {bill}."),
    };
    Ok(Total { label: "Total credit for this outage".to_owned(), amount: fmt::money(amount), note })
}

pub fn paragraphs(words: &str) -> Vec<String> {
    words.split("\n\n").map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

fn disagree(visitor: &Visitor) -> Disagree {
    let operator = &visitor.operator;
    let mut paragraphs = vec![format!(
        "Call us on {} and ask for a review. A different person will look at your claim.",
        operator.phone
    )];
    paragraphs.extend(operator.outside_review.clone());
    Disagree { paragraphs, review: None }
}

/// What happened, as far as the customer is told of it: a decision only once it can no longer be undone, and nothing of
/// what was undone.
fn trail(own: &Own) -> Vec<TrailEntry> {
    let Own { claim, account, events, credits, visitor, .. } = own;
    let is_told = told(claim, visitor.now).is_some();
    let entry = |at: Instant, what: String| TrailEntry {
        when: fmt::step(at, account.zone, Reader::Customer),
        what,
        link: None,
    };
    // What came before the claim was handed back or taken up again is not part of its answer.
    let since =
        events.iter().rposition(|event| matches!(event.action.as_str(), "undo" | "send-back")).map_or(0, |at| at + 1);
    let mut entries = Vec::new();
    for (place, event) in events.iter().enumerate() {
        let by = &event.actor_name;
        let amount =
            event.amount_minor.and_then(|minor| crate::domain::money::Money::from_minor(minor, account.currency).ok());
        let amount = amount.map_or_else(String::new, fmt::money);
        let what = match event.action.as_str() {
            "submit" if event.actor == visitor.actor.key() => "You sent the claim.".to_owned(),
            "submit" => format!("{by} sent the claim for you."),
            "withdraw" => "You withdrew the claim.".to_owned(),
            _ if place < since => continue,
            "recommend" if is_told => format!("{by} proposed {amount}. A second person had to agree."),
            "recommend" => format!("{by} read it. A second person has to agree to the answer."),
            "agree" if is_told => format!("{by} agreed."),
            "approve" if is_told => format!("{by} decided to give you {amount}."),
            "reject" if is_told => format!("{by} decided."),
            _ => continue,
        };
        entries.push(entry(event.at, what));
    }
    if let Some(posted) = claim.decision.as_ref().and_then(|decision| decision.posted_at) {
        entries.push(entry(posted, "Credit recorded.".to_owned()));
    }
    if let Some(credit) = credits.all.iter().find(|credit| credit.claim == Some(claim.id)) {
        entries.extend(credits.steps(credit).iter().filter_map(|step| Some(entry(step.at, said(&step.step)?))));
    }
    entries
}

/// What the customer is told of a step of the claim's credit; none for what moves only our own books.
fn said(step: &Step) -> Option<String> {
    Some(match step {
        Step::Answered(answered) => match answered.kind {
            AnswerKind::Accepted => "Billing confirmed it.".to_owned(),
            AnswerKind::Applied => format!("Billing put it on your {} bill.", answered.on.format("%B")),
            AnswerKind::Returned => "Billing took the bill back. It comes off the next one.".to_owned(),
            AnswerKind::Refused => "Billing could not take it. A person is looking at it.".to_owned(),
            AnswerKind::Cancelled | AnswerKind::Debited | AnswerKind::Superseding => return None,
        },
        Step::Done(deed) => match deed.kind {
            DeedKind::Reversed => "We took the credit back.".to_owned(),
            DeedKind::Expired => "The credit expired.".to_owned(),
            DeedKind::Offered => "A person has looked at it. It comes off the next bill.".to_owned(),
            DeedKind::Paid => "We paid it out to you.".to_owned(),
            DeedKind::WrittenOff | DeedKind::Debited | DeedKind::Unclaimed | DeedKind::Kept => return None,
        },
    })
}
