//! "Ask us to look again": one page, with what is known already on it.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::bills::Credits;
use super::errors::PageError;
use super::fmt::{self, Reader};
use super::form::{Posted, patiently};
use super::view::{Choice, ClaimFormPage, Fact, FormKeys, Link, Problems};
use super::visitor::Visitor;
use super::{incident, sum};
use crate::domain::account::Account;
use crate::domain::claim::{Claim, Ground};
use crate::domain::period::Month;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::SECOND;
use crate::flows::file_claim::{self, FileClaim, Filed, file_claim};
use crate::http::{App, Query, assessments};
use crate::store::{Error, claims, customer};

/// What the way to the form knows.
#[derive(Debug, Deserialize)]
pub struct About {
    account: Option<String>,
    incident: Option<String>,
    month: Option<String>,
}

/// The fields, as they were typed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Fields {
    ground: String,
    words: String,
    amount: String,
    contact: String,
    incident: String,
}

/// What is known of the outage and the account, so that it is not asked.
struct Known {
    account: Account,
    incident: Option<String>,
    month: Option<Month>,
    facts: Vec<Fact>,
    /// What was credited already, if anything.
    credited: Option<String>,
    claims: Vec<Claim>,
}

/// The form; the open claim instead where there is one for the outage.
pub async fn page(State(app): State<App>, visitor: Visitor, Query(about): Query<About>) -> Result<Response, PageError> {
    let known = known(&app, &visitor, &about, about.incident.as_deref()).await?;
    if let Some(open) = open_claim(&known) {
        return Ok(to_claim(open));
    }
    let fields = Fields { contact: "email".to_owned(), ..Fields::default() };
    let keys = visitor.keys();
    super::html(&fill(&visitor, &known, keys, &fields, Problems::none()))
}

/// Files the claim, or shows the form again with everything that is wrong.
pub async fn send(
    State(app): State<App>,
    Query(about): Query<About>,
    posted: Posted<Fields>,
) -> Result<Response, PageError> {
    let (visitor, fields) = (&posted.visitor, &posted.form);
    let known = known(&app, visitor, &about, Some(&fields.incident)).await?;
    let request = FileClaim {
        account: known.account.reference.clone(),
        ground: Ground::parse(&fields.ground).unwrap_or(Ground::Both),
        incident: known.incident.clone(),
        words: super::plain_lines(&fields.words),
        amount: Some(fields.amount.clone()),
        contact: if fields.contact.is_empty() { "email".to_owned() } else { fields.contact.clone() },
    };
    let mut problems = Problems::none();
    if Ground::parse(&fields.ground).is_none() {
        problems.add("ground", "Choose what is wrong");
    }
    if let Err(refusal) = file_claim::check(&request, &visitor.operator) {
        add(&mut problems, &refusal);
    }
    if !problems.is_empty() {
        return again(&posted, &known, problems);
    }
    let now = app.clock.now();
    let deed = || file_claim(&app.pool, now, &visitor.actor, &posted.key, request.clone());
    match patiently(deed).await {
        Ok(answer) => {
            let filed: Filed = serde_json::from_str(&answer.body)
                .map_err(|error| Error::Corrupt(format!("an answer that cannot be read: {error}")))?;
            Ok(Redirect::to(&format!("/claims/{}?sent=1", filed.id)).into_response())
        }
        Err(Error::Refused(refusal)) if refusal.code == Code::ClaimExists => {
            let open = open_claim(&known).ok_or_else(|| PageError::keeping(refusal, &fields.words))?;
            Ok(to_claim(open))
        }
        Err(Error::Refused(refusal)) if refusal.code == Code::InvalidRequest => {
            add(&mut problems, &refusal);
            again(&posted, &known, problems)
        }
        Err(error) => Err(error.into()),
    }
}

fn again(posted: &Posted<Fields>, known: &Known, problems: Problems) -> Result<Response, PageError> {
    let page = fill(&posted.visitor, known, posted.keys(), &posted.form, problems);
    super::html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
}

/// A refusal's fields, as the form names them.
pub fn add(problems: &mut Problems, refusal: &Refusal) {
    for error in &refusal.errors {
        problems.add(error.pointer.trim_start_matches('/'), error.message.as_str());
    }
}

fn to_claim(claim: &Claim) -> Response {
    Redirect::to(&format!("/claims/{}", claim.reference)).into_response()
}

fn open_claim(known: &Known) -> Option<&Claim> {
    let incident = known.incident.as_ref()?;
    known.claims.iter().find(|claim| claim.state.is_open() && claim.incident.as_ref() == Some(incident))
}

/// An outage that nobody knows is none: whoever made the name up asks about their mail in general.
async fn known(app: &App, visitor: &Visitor, about: &About, asked: Option<&str>) -> Result<Known, PageError> {
    let account = visitor.account(app, about.account.as_deref()).await?;
    let mut conn = app.pool.acquire().await?;
    let asked = asked.map(str::trim).filter(|name| (1..=40).contains(&name.len()));
    let began = match asked {
        Some(name) => incident::began(&mut conn, name).await?,
        None => None,
    };
    drop(conn);
    let named = about.month.as_deref().and_then(|month| month.parse().ok());
    let month = incident::month(began, account.zone).or(named);
    let incident = asked.filter(|_| began.is_some()).map(str::to_owned);
    let mut tx = customer::open(&app.pool, &[account.id]).await?;
    let claims = claims::of_accounts(&mut tx, &[account.id]).await?;
    let mut facts = Vec::new();
    let mut credited = None;
    if let Some(month) = month {
        let loaded = assessments::load(&mut tx, account.id, month, None, visitor.now).await?;
        facts.extend(loaded.iter().flat_map(|loaded| &loaded.receipts).flat_map(outage));
        let credits = Credits::of(&mut tx, account.id).await?;
        let given = credits.of_month(month);
        if !given.is_empty() {
            let total = fmt::money(credits.sum(given, account.currency)?);
            facts.push(Fact::new("Already credited", format!("{total} service credit")));
            credited = Some(total);
        }
    }
    Ok(Known { account, incident, month, facts, credited, claims })
}

fn outage(receipt: &crate::domain::receipt::Receipt) -> Vec<Fact> {
    let Some(sum) = sum::seen(receipt) else { return Vec::new() };
    let worst = sum.strand.lines.iter().filter(|line| line.counted_micros > 0).max_by_key(|line| line.counted_micros);
    let Some(line) = worst else { return Vec::new() };
    let until = line.end.map_or_else(
        || "and it goes on".to_owned(),
        |end| format!("to {}", fmt::time_on(end, sum.zone, Reader::Customer)),
    );
    let from = fmt::time_on(line.start, sum.zone, Reader::Customer);
    vec![
        Fact::new("Outage", format!("{}, from {from} {until}", sum::what(line))),
        Fact::new("Mailboxes", format!("{} of {}", sum.strand.total.affected, sum.strand.total.mailboxes)),
    ]
}

fn fill(visitor: &Visitor, known: &Known, keys: FormKeys, fields: &Fields, problems: Problems) -> ClaimFormPage {
    let account = &known.account;
    let query = visitor.account_query(account);
    let mut shell = visitor.account_shell(account, "Ask us to look again", "/claims");
    shell.has_problem = !problems.is_empty();
    let back = match known.month {
        Some(month) => Link::new(format!("Back to {}", fmt::month(month)), format!("/months/{month}{query}")),
        None => Link::new("Back to your claims", format!("/claims{query}")),
    };
    let mut action = vec![];
    action.extend(known.month.map(|month| format!("month={month}")));
    action.extend((!query.is_empty()).then(|| query.trim_start_matches('?').to_owned()));
    let action = if action.is_empty() { String::new() } else { format!("?{}", action.join("&")) };
    let due = visitor.now.plus(i64::from(visitor.operator.claim_due_seconds) * SECOND);
    let due = format!("We decide by {}.", fmt::deadline(due, account.zone, Reader::Customer));
    let contact = if fields.contact.is_empty() { "email" } else { fields.contact.as_str() };
    let mail = account.email.as_ref().map_or_else(|| "Email".to_owned(), |email| format!("Email to {email}"));
    ClaimFormPage {
        shell,
        back,
        action: format!("/claims/new{action}"),
        keys,
        problems,
        known: known.facts.clone(),
        incident: known.incident.clone().unwrap_or_default(),
        ground: fields.ground.clone(),
        words: fields.words.clone(),
        amount: fields.amount.clone(),
        amount_hint: format!(
            "In {}, including {}. You can leave this blank and let us decide.",
            account.currency, visitor.operator.tax.name
        ),
        contacts: vec![
            Choice::new("email", mail, contact),
            Choice::new("phone", "Phone, if mail is still not working", contact),
        ],
        promise: match &known.credited {
            Some(amount) => format!("You keep the {amount} whatever we decide. {due}"),
            None => due,
        },
    }
}
