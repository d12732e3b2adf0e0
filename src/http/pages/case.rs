//! One case: what was asked, what the record says, and what somebody decides.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::bills::Credits;
use super::errors::PageError;
use super::fmt::{self, Reader};
use super::form::{Posted, patiently};
use super::view::{
    ActionForm, AgreeForm, CasePage, DecideForm, Fact, Flash, FormKeys, Link, Problems, Side, SimilarRow, TrailEntry,
    reason_groups, reason_label, staff_tag,
};
use super::visitor::{DECIDES, READS_CLAIMS, Visitor};
use super::{claim_form, claim_status, incident, queue, sum};
use crate::domain::account::Account;
use crate::domain::actor::Role;
use crate::domain::claim::{Claim, Decision, Reason, State as ClaimState};
use crate::domain::money::Money;
use crate::domain::period::Month;
use crate::domain::receipt::Receipt;
use crate::domain::refusal::{Code, Refusal};
use crate::flows::act_on_claim::{ActOnClaim, act_on_claim};
use crate::flows::open_case::open_case;
use crate::http::{App, assessments};
use crate::store::claims::Event;
use crate::store::{Error, accounts, claims};

/// The decision, as it was typed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Fields {
    choice: String,
    amount: String,
    reason: String,
    words: String,
    version: String,
    #[serde(rename = "do")]
    verb: String,
}

/// A case with all that its page rests on.
struct Case {
    visitor: Visitor,
    claim: Claim,
    account: Account,
    month: Option<Month>,
    receipts: Vec<Receipt>,
    credits: Credits,
    /// What the plan gave for the same outage.
    service: Money,
    events: Vec<Event>,
    similar: Vec<Claim>,
    others: Vec<Claim>,
    /// The next open claim.
    next: Option<String>,
}

/// What is shown again after a refusal.
#[derive(Default)]
struct Again {
    fields: Fields,
    problems: Problems,
    over: Option<String>,
    keys: Option<FormKeys>,
}

pub async fn page(
    State(app): State<App>,
    visitor: Visitor,
    Path(reference): Path<String>,
) -> Result<Response, PageError> {
    visitor.require(&READS_CLAIMS)?;
    let case = load(&app, visitor, &reference).await?;
    super::html(&fill(&case, Again::default())?)
}

async fn load(app: &App, visitor: Visitor, reference: &str) -> Result<Case, PageError> {
    let claim = open_case(&app.pool, app.clock.now(), &visitor.actor, reference).await?;
    let mut conn = app.pool.acquire().await?;
    let account = accounts::find(&mut conn, claim.account, None).await?;
    let account = account.ok_or_else(|| Error::Corrupt(format!("claim {reference} is of no account")))?;
    let began = match &claim.incident {
        Some(name) => incident::began(&mut conn, name).await?,
        None => None,
    };
    let month = incident::month(began, account.zone);
    let looked_at = month.unwrap_or_else(|| Month::containing(claim.filed_at, account.zone).previous());
    let loaded = assessments::load(&mut conn, account.id, looked_at, None, visitor.now).await?;
    let credits = Credits::of(&mut conn, account.id).await?;
    let similar = match &claim.incident {
        Some(name) => claims::decided_about(&mut conn, name, 20).await?,
        None => Vec::new(),
    };
    let similar: Vec<Claim> = similar
        .into_iter()
        .filter(|other| other.id != claim.id && other.decision.as_ref().is_some_and(|one| one.posts_at <= visitor.now))
        .collect();
    let others: Vec<Claim> = claims::of_accounts(&mut conn, &[account.id]).await?;
    Ok(Case {
        service: queue::service_credit(&credits.all, &credits.courses, &account, month)?,
        events: claims::events(&mut conn, account.id, claim.id).await?,
        next: queue::after(&mut conn, claim.id).await?,
        receipts: loaded.map_or_else(Vec::new, |loaded| loaded.receipts),
        others: others.into_iter().filter(|other| other.id != claim.id).collect(),
        visitor,
        claim,
        account,
        month,
        credits,
        similar,
    })
}

/// Decides within the limit; over it, shows the same page again with the way to a supervisor.
pub async fn decide(
    State(app): State<App>,
    Path(reference): Path<String>,
    posted: Posted<Fields>,
) -> Result<Response, PageError> {
    posted.visitor.require(&DECIDES)?;
    let fields = posted.form.clone();
    let mut again = Again { keys: Some(posted.keys()), fields: fields.clone(), ..Again::default() };
    let asked = asked(&app, &reference).await?;
    let (verb, request) = read(&fields, asked, &mut again.problems);
    if !again.problems.is_empty() {
        return refused(&app, posted.visitor, &reference, again, StatusCode::UNPROCESSABLE_ENTITY).await;
    }
    let amount = request.amount.clone();
    let (now, actor) = (app.clock.now(), &posted.visitor.actor);
    let deed = || act_on_claim(&app.pool, now, actor, &posted.key, &reference, verb, request.clone());
    let done = patiently(deed).await;
    match done {
        Ok(_) => Ok(to_case(&reference)),
        Err(Error::Refused(refusal)) if refusal.code == Code::OverLimit => {
            again.over = Some(over(&posted.visitor, amount.as_deref()));
            refused(&app, posted.visitor, &reference, again, StatusCode::UNPROCESSABLE_ENTITY).await
        }
        Err(Error::Refused(refusal)) if refusal.code == Code::InvalidRequest => {
            claim_form::add(&mut again.problems, &refusal);
            refused(&app, posted.visitor, &reference, again, StatusCode::UNPROCESSABLE_ENTITY).await
        }
        Err(Error::Refused(refusal)) => Err(first_was(&app, &reference, refusal, &fields.words).await),
        Err(error) => Err(error.into()),
    }
}

/// What was asked, which "give all of it" means.
async fn asked(app: &App, reference: &str) -> Result<Option<Money>, PageError> {
    let unknown = || Refusal::not_found("claim", reference);
    let mut conn = app.pool.acquire().await?;
    let (account, id) = claims::resolve(&mut conn, reference).await?.ok_or_else(unknown)?;
    Ok(claims::find(&mut conn, account, id).await?.ok_or_else(unknown)?.asked)
}

/// The action behind the form, or everything that is missing in it.
fn read(fields: &Fields, asked: Option<Money>, problems: &mut Problems) -> (&'static str, ActOnClaim) {
    let amount = match (fields.choice.as_str(), asked) {
        ("all", Some(asked)) => Some(asked.digits()),
        ("part", _) => Some(fields.amount.trim().trim_start_matches('$').to_owned()),
        ("nothing", _) => None,
        _ => {
            problems.add("choice", "Choose what to give");
            None
        }
    };
    if amount.as_deref() == Some("") {
        problems.add("amount", "Type the amount to give");
    }
    let reason = Reason::parse(&fields.reason);
    if reason.is_none() {
        problems.add("reason", "Choose a reason");
    }
    let words = super::plain_lines(&fields.words);
    if words.is_empty() {
        problems.add("words", "Tell the customer why");
    }
    let verb = match (amount.is_some(), fields.verb.as_str()) {
        (false, _) => "reject",
        (true, "recommend") => "recommend",
        (true, _) => "approve",
    };
    (verb, ActOnClaim { version: fields.version.parse().ok(), amount, reason, words: Some(words) })
}

fn over(visitor: &Visitor, amount: Option<&str>) -> String {
    let operator = &visitor.operator;
    let amount = amount.and_then(|digits| Money::parse(digits, operator.currency).ok());
    format!("{} is over your limit of {}.", amount.map_or_else(|| "This".to_owned(), fmt::money), limit(visitor))
}

fn limit(visitor: &Visitor) -> String {
    let operator = &visitor.operator;
    Money::from_minor(operator.agent_limit_minor, operator.currency).map_or_else(|_| String::new(), fmt::money)
}

/// The conflict in words: who was first, and when.
async fn first_was(app: &App, reference: &str, refusal: Refusal, typed: &str) -> PageError {
    if !matches!(refusal.code, Code::VersionConflict | Code::WrongState) {
        return refusal.into();
    }
    let said = last_move(app, reference).await.ok().flatten();
    let detail = said.unwrap_or_else(|| refusal.detail.clone());
    PageError::keeping(Refusal { detail, ..refusal }, typed)
}

async fn last_move(app: &App, reference: &str) -> Result<Option<String>, PageError> {
    let mut conn = app.pool.acquire().await?;
    let Some((account, id)) = claims::resolve(&mut conn, reference).await? else { return Ok(None) };
    let zone = crate::store::operator::get(&mut conn).await?.zone;
    let events = claims::events(&mut conn, account, id).await?;
    Ok(events.last().map(|event| {
        let done = match event.action.as_str() {
            "approve" | "reject" | "agree" => "decided this",
            "recommend" => "sent this to a supervisor",
            "send-back" => "sent this back",
            "undo" => "took the decision back",
            "withdraw" => "withdrew this",
            _ => "changed this",
        };
        format!("{} {done} at {}.", event.actor_name, fmt::time(event.at, zone, Reader::Staff))
    }))
}

async fn refused(
    app: &App,
    visitor: Visitor,
    reference: &str,
    again: Again,
    status: StatusCode,
) -> Result<Response, PageError> {
    let case = load(app, visitor, reference).await?;
    super::html_with(status, &fill(&case, again)?)
}

fn to_case(reference: &str) -> Response {
    Redirect::to(&format!("/staff/claims/{reference}")).into_response()
}

/// The buttons of a case.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Button {
    version: String,
    words: String,
}

pub async fn agree(
    State(app): State<App>,
    Path(reference): Path<String>,
    posted: Posted<Button>,
) -> Result<Response, PageError> {
    press(&app, &reference, posted, "agree").await
}

pub async fn send_back(
    State(app): State<App>,
    Path(reference): Path<String>,
    posted: Posted<Button>,
) -> Result<Response, PageError> {
    press(&app, &reference, posted, "send-back").await
}

pub async fn undo(
    State(app): State<App>,
    Path(reference): Path<String>,
    posted: Posted<Button>,
) -> Result<Response, PageError> {
    press(&app, &reference, posted, "undo").await
}

async fn press(app: &App, reference: &str, posted: Posted<Button>, verb: &str) -> Result<Response, PageError> {
    posted.visitor.require(&DECIDES)?;
    let words = super::plain_lines(&posted.form.words);
    let request = ActOnClaim { version: posted.form.version.parse().ok(), words: Some(words), ..ActOnClaim::default() };
    let (now, actor) = (app.clock.now(), &posted.visitor.actor);
    let deed = || act_on_claim(&app.pool, now, actor, &posted.key, reference, verb, request.clone());
    let done = patiently(deed).await;
    match done {
        Ok(_) => Ok(to_case(reference)),
        Err(Error::Refused(refusal)) if refusal.code == Code::InvalidRequest && verb == "send-back" => {
            let mut again = Again { keys: Some(posted.keys()), ..Again::default() };
            again.fields.words.clone_from(&posted.form.words);
            again.problems.add("back", "Say what is missing");
            refused(app, posted.visitor, reference, again, StatusCode::UNPROCESSABLE_ENTITY).await
        }
        Err(Error::Refused(refusal)) => Err(first_was(app, reference, refusal, &posted.form.words).await),
        Err(error) => Err(error.into()),
    }
}

fn fill(case: &Case, again: Again) -> Result<CasePage, PageError> {
    let Case { visitor, claim, account, receipts, .. } = case;
    let zone = visitor.operator.zone;
    let is_for_second = claim.state == ClaimState::AwaitingSecond && visitor.actor.has(Role::Supervisor);
    let current = if is_for_second { "/staff/approvals" } else { "/staff/claims" };
    let mut shell = visitor.shell(&format!("{}, {}", claim.reference, account.name), current);
    shell.has_problem = !again.problems.is_empty();
    Ok(CasePage {
        shell,
        reference: claim.reference.clone(),
        customer: account.name.clone(),
        about: about(case),
        incident: claim
            .incident
            .as_ref()
            .map(|name| Link::new(name.as_str(), format!("/staff/claims?state=open&find={}", super::encoded(name)))),
        state: staff_tag(claim.state).to_owned(),
        due: claim.state.is_open().then(|| fmt::due(claim.due_at, visitor.now, zone)),
        flash: flash(case),
        asked_words: claim.words.clone(),
        asked: vec![
            Fact::new("Asked for", claim.asked.map_or_else(|| "not said".to_owned(), fmt::money)),
            Fact::new("Because", ground(claim)),
            Fact::new("Sent", fmt::stamp(claim.filed_at, zone, Reader::Staff)),
        ],
        lanes: sum::lanes(receipts, &visitor.operator.zone_name, Reader::Staff),
        record: record(case),
        sum: receipts.iter().flat_map(steps).collect(),
        records: sum::records(receipts, Reader::Staff),
        similar_caption: match &claim.incident {
            Some(name) => format!("Decided claims about {name}"),
            None => String::new(),
        },
        similar: case.similar.iter().filter_map(similar).collect(),
        trail: trail(case),
        history: history(case)?,
        notes: Vec::new(),
        side: side(case, again)?,
    })
}

fn ground(claim: &Claim) -> &'static str {
    match claim.ground {
        crate::domain::claim::Ground::CostMore => "It cost more than the credit",
        crate::domain::claim::Ground::RecordWrong => "Our record is wrong",
        crate::domain::claim::Ground::Both => "It cost more, and our record is wrong",
    }
}

/// "Business Mail, 12 mailboxes · customer since 2017".
fn about(case: &Case) -> String {
    let mut parts: Vec<String> = case
        .receipts
        .iter()
        .map(|receipt| {
            let mailboxes = sum::seen(receipt).map_or(0, |sum| sum::many(sum.strand.total.mailboxes));
            let plan = receipt.inputs.terms().map_or("", |terms| terms.name.as_str());
            format!("{plan}, {}", fmt::mailboxes(mailboxes))
        })
        .collect();
    parts.push(format!("account {}", case.account.reference));
    if let Some(since) = case.account.customer_since {
        parts.push(format!("customer since {}", since.format("%Y")));
    }
    parts.join(" · ")
}

fn record(case: &Case) -> Vec<Fact> {
    let mut facts = Vec::new();
    for receipt in &case.receipts {
        let Some(total) = sum::seen(receipt).map(|sum| &sum.strand.total) else { continue };
        facts.push(Fact::new(
            "Counted downtime",
            format!(
                "{} on {} of {}",
                fmt::minutes(fmt::whole_minutes(total.counted_micros)),
                total.affected,
                fmt::mailboxes(sum::many(total.mailboxes))
            ),
        ));
        let promised = total.promised.map_or_else(String::new, |promised| format!(" (promised {promised}%)"));
        facts.push(Fact::new("Availability", format!("{}{promised}", sum::uptime(total.uptime))));
    }
    let credited = case.month.map_or_else(Vec::new, |month| case.credits.of_month(month));
    facts.push(match credited.first() {
        Some(credit) => {
            let day = fmt::date_short(case.visitor.operator.zone.local(credit.issued_at).date_naive());
            let bill = case.credits.bill_in_a_table(credit);
            let text = format!("{}, in the books since {day}. Bill: {bill}", fmt::money(case.service));
            Fact::new("Service credit", text)
        }
        None => Fact::new("Service credit", "none"),
    });
    for receipt in &case.receipts {
        let hash: String = receipt.inputs_hash.chars().take(12).collect();
        let agreements = receipt.inputs.agreements.iter();
        let terms: Vec<String> = agreements.map(|one| format!("{}@{}", one.plan, one.terms_version)).collect();
        facts.push(Fact::new("Assessment", format!("{}, inputs {hash}…", terms.join(", "))));
    }
    facts
}

/// The sum as the receipt explains it, step by step.
fn steps(receipt: &Receipt) -> Vec<Fact> {
    receipt
        .steps
        .iter()
        .enumerate()
        .map(|(index, step)| {
            Fact::new(format!("{}. {}", index + 1, step.name.name().replace('_', " ")), step.says.clone())
        })
        .collect()
}

fn similar(claim: &Claim) -> Option<SimilarRow> {
    let decision = claim.decision.as_ref()?;
    Some(SimilarRow {
        reference: claim.reference.clone(),
        href: format!("/staff/claims/{}", claim.reference),
        asked: claim.asked.map_or_else(|| "not said".to_owned(), fmt::money),
        given: fmt::money(decision.opinion.amount),
        reason: reason_label(decision.opinion.reason).to_owned(),
    })
}

fn history(case: &Case) -> Result<Vec<String>, PageError> {
    let zone = case.visitor.operator.zone;
    let mut lines: Vec<String> = case
        .others
        .iter()
        .map(|other| {
            let day = fmt::date_short(zone.local(other.filed_at).date_naive());
            let given =
                other.decision.as_ref().map(|decision| format!(", {} given", fmt::money(decision.opinion.amount)));
            format!(
                "{day}: {} ({}){}",
                other.reference,
                staff_tag(other.state).to_lowercase(),
                given.unwrap_or_default()
            )
        })
        .collect();
    let all = case.credits.sum(&case.credits.all, case.account.currency)?;
    lines.push(format!("All credits so far: {}", fmt::money(all)));
    Ok(lines)
}

fn trail(case: &Case) -> Vec<TrailEntry> {
    let zone = case.visitor.operator.zone;
    let entry = |at, what| TrailEntry { when: fmt::step(at, zone, Reader::Staff), what, link: None };
    let mut entries: Vec<TrailEntry> = case
        .events
        .iter()
        .filter(|event| event.action != "post")
        .map(|event| {
            let amount = event.amount_minor.and_then(|minor| Money::from_minor(minor, case.account.currency).ok());
            let amount = amount.map_or_else(String::new, |amount| format!(" {}", fmt::money(amount)));
            let did = match event.action.as_str() {
                "submit" => "sent the claim, asking",
                "approve" => "decided to give",
                "recommend" => "proposed",
                "agree" => "agreed to",
                "send-back" => "sent it back",
                "reject" => "decided to give nothing more",
                "undo" => "took the decision back",
                "withdraw" => "withdrew the claim",
                other => other,
            };
            let did = if amount.is_empty() { did.trim_end_matches(", asking") } else { did };
            entry(event.at, format!("{} {did}{amount}.", event.actor_name))
        })
        .collect();
    if let Some(posted) = case.claim.decision.as_ref().and_then(|decision| decision.posted_at) {
        entries.push(entry(posted, "The credit was written into the books.".to_owned()));
    }
    entries
}

/// The decision while it can be undone.
fn held(case: &Case) -> Option<&Decision> {
    let is_held = |decision: &&Decision| decision.posted_at.is_none() && case.visitor.now < decision.posts_at;
    case.claim.decision.as_ref().filter(is_held)
}

fn action(case: &Case, path: &str, button: &str) -> ActionForm {
    ActionForm {
        action: format!("/staff/claims/{}/{path}", case.claim.reference),
        keys: case.visitor.keys(),
        version: case.claim.version.to_string(),
        button: button.to_owned(),
    }
}

fn flash(case: &Case) -> Option<Flash> {
    let decision = held(case)?;
    let at = fmt::time(decision.posts_at, case.visitor.operator.zone, Reader::Staff);
    Some(Flash {
        text: format!("Decided. It goes to the customer and the books at {at}."),
        undo: case.visitor.actor.has_any(&DECIDES).then(|| action(case, "undo", "Undo")),
        next: case.next.as_ref().map(|next| Link::new("Next claim", format!("/staff/claims/{next}"))),
    })
}

fn side(case: &Case, again: Again) -> Result<Side, PageError> {
    let (visitor, claim) = (&case.visitor, &case.claim);
    match claim.state {
        ClaimState::Submitted | ClaimState::InReview if visitor.actor.has_any(&DECIDES) => {
            if claim.filed_by == visitor.actor.key() {
                return Ok(read_only("You sent this claim", "You filed this claim, so someone else must decide it."));
            }
            Ok(Side::Decide(Box::new(decide_form(case, again))))
        }
        ClaimState::Submitted | ClaimState::InReview => {
            Ok(read_only("Open", "An agent or a supervisor decides this claim."))
        }
        ClaimState::AwaitingSecond if visitor.actor.has(Role::Supervisor) => {
            Ok(Side::Agree(Box::new(agree_form(case, again)?)))
        }
        ClaimState::AwaitingSecond => Ok(Side::ReadOnly {
            heading: "With supervisor".to_owned(),
            paragraphs: vec![proposed(case, &limit(visitor))],
            undo: None,
        }),
        ClaimState::Approved | ClaimState::PartApproved | ClaimState::Rejected | ClaimState::Withdrawn => {
            Ok(decided(case))
        }
    }
}

fn read_only(heading: &str, text: &str) -> Side {
    Side::ReadOnly { heading: heading.to_owned(), paragraphs: vec![text.to_owned()], undo: None }
}

fn proposed(case: &Case, limit: &str) -> String {
    let Some(opinion) = &case.claim.recommendation else { return String::new() };
    let at = fmt::step(opinion.at, case.visitor.operator.zone, Reader::Staff);
    let who = if opinion.by == case.visitor.actor.key() { "You" } else { opinion.by_name.as_str() };
    format!(
        "{who} proposed {} on {at}. The limit for deciding alone is {limit}, so a supervisor decides.",
        fmt::money(opinion.amount)
    )
}

fn decided(case: &Case) -> Side {
    let Some(decision) = &case.claim.decision else {
        return read_only(staff_tag(case.claim.state), "The customer withdrew this claim.");
    };
    let opinion = &decision.opinion;
    let at = fmt::step(decision.decided_at, case.visitor.operator.zone, Reader::Staff);
    let second = case.events.iter().rev().find(|event| event.action == "agree" && decision.agreed_by.is_some());
    let who = match second {
        Some(second) => format!("{} proposed this and {} agreed on {at}", opinion.by_name, second.actor_name),
        None => format!("{} decided this on {at}", opinion.by_name),
    };
    let mut paragraphs =
        vec![format!("Given: {}. {}.", fmt::money(opinion.amount), reason_label(opinion.reason)), format!("{who}.")];
    paragraphs.extend(claim_status::paragraphs(&opinion.words));
    Side::ReadOnly { heading: "Decided".to_owned(), paragraphs, undo: None }
}

fn legend(case: &Case) -> String {
    if case.service.is_positive() {
        format!("On top of the {} already credited", fmt::money(case.service))
    } else {
        "Nothing was credited for this yet".to_owned()
    }
}

fn decide_form(case: &Case, again: Again) -> DecideForm {
    let operator = &case.visitor.operator;
    let Again { fields, problems, over, keys } = again;
    DecideForm {
        action: format!("/staff/claims/{}/decide", case.claim.reference),
        keys: keys.unwrap_or_else(|| case.visitor.keys()),
        version: if fields.version.is_empty() { case.claim.version.to_string() } else { fields.version },
        problems,
        legend: legend(case),
        asked: case.claim.asked.map(fmt::money),
        choice: fields.choice,
        amount: fields.amount,
        amount_label: format!("Amount, {} incl. {}", operator.currency, operator.tax.name),
        limit: format!("Your limit is {}.", limit(&case.visitor)),
        over,
        reasons: reason_groups(&fields.reason),
        words: fields.words,
    }
}

fn agree_form(case: &Case, again: Again) -> Result<AgreeForm, PageError> {
    let (visitor, claim) = (&case.visitor, &case.claim);
    let opinion = claim.recommendation.as_ref().ok_or_else(|| {
        Error::Corrupt(format!("claim {} waits for a second person and has no recommendation", claim.reference))
    })?;
    let key = visitor.actor.key();
    let barred = if opinion.by == key {
        Some("You proposed this, so someone else must approve it.".to_owned())
    } else if claim.filed_by == key {
        Some("You filed this claim, so someone else must decide it.".to_owned())
    } else {
        None
    };
    let total = case.service.plus(opinion.amount).map_err(|error| Error::Corrupt(error.to_string()))?;
    let cap = Money::from_minor(visitor.operator.claim_cap_minor, visitor.operator.currency)
        .map_err(|error| Error::Corrupt(error.to_string()))?;
    Ok(AgreeForm {
        proposed: proposed(case, &limit(visitor)),
        amount: fmt::money(opinion.amount),
        facts: vec![
            Fact::new("Asked for", claim.asked.map_or_else(|| "not said".to_owned(), fmt::money)),
            Fact::new("Total with the service credit", fmt::money(total)),
            Fact::new("Most for one outage", fmt::money(cap)),
            Fact::new("Reason", reason_label(opinion.reason)),
        ],
        words: claim_status::paragraphs(&opinion.words),
        agree: action(case, "agree", &format!("Agree to {}", fmt::money(opinion.amount))),
        barred,
        send_back: action(case, "send-back", "Send back"),
        problems: again.problems,
        send_back_words: again.fields.words,
    })
}
