//! What happened in one month, and what it is worth.

use axum::extract::{Path, State};
use axum::response::{Redirect, Response};
use rust_decimal::Decimal;
use serde::Deserialize;

use super::bills::{CreditStanding, Credits};
use super::errors::PageError;
use super::fmt::{self, Reader};
use super::sum;
use super::view::{Answer, Ask, FactSection, Link, MonthPage};
use super::visitor::Visitor;
use crate::domain::account::Account;
use crate::domain::assessment::{Assessment, Blocker, Line, Outcome};
use crate::domain::claim::Claim;
use crate::domain::period::{Month, Zone};
use crate::domain::receipt::Receipt;
use crate::domain::refusal::Refusal;
use crate::domain::terms::{Payment, RequestWithin};
use crate::domain::time::{Instant, MINUTE};
use crate::domain::window::OutageWindow;
use crate::flows::assess_period::stands_in_the_way;
use crate::http::assessments::{self, AccountSum};
use crate::http::{App, Query};
use crate::store::{Error, claims, customer, windows};

/// How long an outage must have gone on to be called one before somebody has signed it off.
const BELIEVED_AFTER: i64 = 15 * MINUTE;

/// Which of a customer's accounts a page is about.
#[derive(Debug, Deserialize)]
pub struct Chosen {
    pub account: Option<String>,
}

/// All that the page of a month rests on.
struct Loaded {
    visitor: Visitor,
    account: Account,
    month: Month,
    sum: AccountSum,
    credits: Credits,
    claims: Vec<Claim>,
    windows: Vec<OutageWindow>,
    /// What people call the event that cost this account most.
    incident: Option<String>,
}

/// `/months`: the newest month that is over.
pub async fn latest(
    State(app): State<App>,
    visitor: Visitor,
    Query(chosen): Query<Chosen>,
) -> Result<Redirect, PageError> {
    let account = visitor.account(&app, chosen.account.as_deref()).await?;
    let month = Month::containing(visitor.now, account.zone).previous();
    Ok(Redirect::to(&format!("/months/{month}{}", visitor.account_query(&account))))
}

/// `/months/2026-10`, `/months/2026-10.csv`.
pub async fn page(
    State(app): State<App>,
    visitor: Visitor,
    Path(name): Path<String>,
    Query(chosen): Query<Chosen>,
) -> Result<Response, PageError> {
    if let Some(month) = name.strip_suffix(".csv") {
        let loaded = load(&app, visitor, month, chosen).await?;
        return csv(&loaded);
    }
    let loaded = load(&app, visitor, &name, chosen).await?;
    super::html(&fill(&loaded)?)
}

/// The receipt as a file: `makegood verify` does the sum again from it alone.
pub async fn receipt(
    State(app): State<App>,
    visitor: Visitor,
    Path(name): Path<String>,
    Query(chosen): Query<Chosen>,
) -> Result<Response, PageError> {
    let loaded = load(&app, visitor, &name, chosen).await?;
    let receipt = loaded.sum.receipts.first().ok_or_else(|| Refusal::not_found("receipt", &name))?;
    let file = format!("receipt-{}-{}.json", loaded.account.reference, loaded.month);
    Ok(super::download("application/json", &file, receipt.to_json()))
}

async fn load(app: &App, visitor: Visitor, month: &str, chosen: Chosen) -> Result<Loaded, PageError> {
    let account = visitor.account(app, chosen.account.as_deref()).await?;
    let unknown = || Refusal::not_found("month", month);
    let month: Month = month.parse().map_err(|_| unknown())?;
    let whole = month.interval(account.zone);
    if whole.start() > visitor.now {
        return Err(unknown().into());
    }
    let mut tx = customer::open(&app.pool, &[account.id]).await?;
    let sum = assessments::load(&mut tx, account.id, month, None, visitor.now).await?.ok_or_else(unknown)?;
    let credits = Credits::of(&mut tx, account.id).await?;
    let claims = claims::of_accounts(&mut tx, &[account.id]).await?;
    let windows = windows::touching(&mut tx, whole, sum.recorded_as_of).await?;
    drop(tx);
    let incident = incident(app, &sum).await?;
    Ok(Loaded { visitor, account, month, sum, credits, claims, windows, incident })
}

/// The name of the event behind the record that counts most, else behind any record of the account.
async fn incident(app: &App, sum: &AccountSum) -> Result<Option<String>, PageError> {
    let strands = sum.receipts.iter().flat_map(|receipt| &receipt.assessment.strands);
    let mut lines: Vec<_> = strands.flat_map(|strand| &strand.lines).collect();
    lines.sort_by_key(|line| std::cmp::Reverse((line.counted_micros, line.measured_micros)));
    if lines.is_empty() {
        return Ok(None);
    }
    let ids: Vec<_> = lines.iter().map(|line| line.window).collect();
    let mut conn = app.pool.acquire().await?;
    let known = windows::latest_of(&mut conn, &ids).await?;
    let name = |id| known.iter().find(|one| one.window.id == id).and_then(|one| one.incident.clone());
    Ok(ids.into_iter().find_map(name))
}

fn fill(loaded: &Loaded) -> Result<MonthPage, PageError> {
    let Loaded { visitor, account, month, sum, .. } = loaded;
    let title = format!("What happened to your mail in {}", fmt::month(*month));
    let receipts = sum.receipts.as_slice();
    let zone = receipts.first().map_or(account.zone, |receipt| receipt.assessment.zone);
    let answer = answer(loaded)?;
    let ask = ask(loaded, &answer);
    Ok(MonthPage {
        shell: visitor.account_shell(account, &title, "/months"),
        account: format!("{}, account {}", account.name, account.reference),
        month: fmt::month(*month),
        previous: previous(loaded),
        next: next(loaded),
        down_now: receipts.iter().find_map(|receipt| down_now(receipt, visitor.now)),
        sorry_for: sum::sorry_for(receipts),
        correction: correction(loaded)?,
        bars: sum::day_bars(receipts, &month.days(zone), visitor.now),
        promises: receipts.iter().map(|receipt| promises(loaded, receipt, &answer)).collect(),
        lanes: sum::lanes(receipts, &visitor.operator.zone_name, Reader::Customer),
        records: sum::records(receipts, Reader::Customer),
        ask,
        links: links(loaded),
        answer,
    })
}

fn promises(loaded: &Loaded, receipt: &Receipt, answer: &Answer) -> FactSection {
    match answer {
        Answer::Nothing { .. } => {
            let elsewhere = sum::elsewhere(receipt, loaded.windows.clone());
            sum::why_nothing(receipt, &elsewhere)
        }
        Answer::Owed { .. } | Answer::OnRequest { .. } => sum::against(receipt, true),
        Answer::SoFar { .. } | Answer::Checking { .. } => sum::against(receipt, false),
    }
}

fn ends(loaded: &Loaded) -> Instant {
    loaded
        .sum
        .receipts
        .first()
        .map_or_else(|| loaded.month.interval(loaded.account.zone).end(), |receipt| receipt.assessment.period.end())
}

/// "4 November": the first day on which the credits of the month can be worked out.
fn worked_out_on(loaded: &Loaded) -> String {
    let days = i64::from(loaded.visitor.operator.assess_after_days) * crate::domain::time::DAY;
    let zone = loaded.account.zone;
    fmt::day_month(zone.local(ends(loaded).plus(days)).date_naive())
}

fn answer(loaded: &Loaded) -> Result<Answer, PageError> {
    let credited = loaded.credits.of_month(loaded.month);
    if !credited.is_empty() {
        return owed(loaded, &credited);
    }
    if loaded.visitor.now < ends(loaded) {
        return Ok(so_far(loaded));
    }
    let held: Vec<&Blocker> = loaded.sum.receipts.iter().flat_map(|receipt| blockers(&receipt.assessment)).collect();
    if !held.is_empty() || !loaded.sum.blockers.is_empty() {
        return Ok(Answer::Checking { note: checking(&held, loaded.account.zone) });
    }
    let [receipt, ..] = loaded.sum.receipts.as_slice() else {
        let note = "You had no mail plan with us in this month.".to_owned();
        return Ok(Answer::Nothing { note, rights: None });
    };
    Ok(match &receipt.assessment.outcome {
        Outcome::NothingDue { .. } => Answer::Nothing {
            note: format!("No credit is due under your plan. {}", sum::nothing_note(receipt)),
            rights: None,
        },
        Outcome::ServiceDays { days, .. } => Answer::OnRequest {
            amount: format!("{days} days"),
            note: "Your plan adds days of service to the end of your term when you ask for them.".to_owned(),
        },
        Outcome::Credit { amount } => match payment(receipt) {
            Payment::OnRequest { .. } => Answer::OnRequest {
                amount: fmt::money(*amount),
                note: format!("{} Your plan pays this when you ask for it.", with_tax(loaded)),
            },
            Payment::Automatic if loaded.sum.assessed => Answer::Owed {
                amount: fmt::money(*amount),
                note: format!("{} It comes off your next bill. You do not need to do anything.", with_tax(loaded)),
                standing: Some(CreditStanding::WorkedOut),
            },
            Payment::Automatic => Answer::Checking {
                note: format!(
                    "The month is over, and its records are still being checked. We work out credits on {}. You do not need \
                     to do anything.",
                    worked_out_on(loaded)
                ),
            },
        },
    })
}

/// How the terms that govern the period pay.
fn payment(receipt: &Receipt) -> Payment {
    let any_time = Payment::OnRequest { within: RequestWithin::AnyTime };
    receipt.inputs.terms().map_or(any_time, |terms| terms.payment)
}

/// What a credit run would hold the account back for.
fn blockers(sum: &Assessment) -> impl Iterator<Item = &Blocker> {
    sum.blockers.iter().filter(|blocker| stands_in_the_way(blocker, sum.counted_micros()))
}

fn with_tax(loaded: &Loaded) -> String {
    format!("Including {}.", loaded.visitor.operator.tax.name)
}

fn owed(loaded: &Loaded, credited: &[&crate::store::credits::Credit]) -> Result<Answer, PageError> {
    let total = loaded.credits.sum(credited.iter().copied(), loaded.account.currency)?;
    let (Some(newest), tax) = (credited.first(), with_tax(loaded)) else { return Ok(so_far(loaded)) };
    let bill = loaded.credits.bill(newest);
    Ok(Answer::Owed {
        amount: fmt::money(total),
        note: format!("{tax} It comes off {bill}. You do not need to do anything."),
        standing: Some(loaded.credits.standing(newest)),
    })
}

fn so_far(loaded: &Loaded) -> Answer {
    let counted = loaded.sum.receipts.iter().map(|receipt| receipt.assessment.counted_micros()).max().unwrap_or(0);
    let down =
        if counted > 0 { format!("Down {}", fmt::length_short(counted)) } else { "No counted downtime".to_owned() };
    Answer::SoFar { down, note: format!("The month is not over. We work out credits on {}.", worked_out_on(loaded)) }
}

/// What is looked at before money moves.
fn checking(held: &[&Blocker], zone: Zone) -> String {
    let mut said: Vec<String> = Vec::new();
    for blocker in held {
        let text = match blocker {
            Blocker::PeriodNotOver { .. } => "The month is not over.".to_owned(),
            Blocker::WindowOpen { .. } => "An outage has no recorded end yet.".to_owned(),
            Blocker::WindowNotConfirmed { .. } => "A record of an outage is not signed off yet.".to_owned(),
            Blocker::WindowUnknown { .. } => "We do not know yet whether mail worked for part of it.".to_owned(),
            Blocker::WindowDisputed { .. } => {
                "Two monitors disagree about an outage, and a person is settling it.".to_owned()
            }
            Blocker::ContestedPlacement { .. } => {
                "Our records put one of your mailboxes in two places at once, and a person is settling where it was."
                    .to_owned()
            }
            Blocker::MissingCharge { from, to } => {
                let last = to.pred_opt().unwrap_or(*to);
                format!(
                    "We have not charged you yet for {} to {}, and the credit is a part of that charge.",
                    fmt::day_month(*from),
                    fmt::day_month(last)
                )
            }
            Blocker::ChargesOverlap { .. } => {
                "Two charges are for the same days, and a person is looking at them.".to_owned()
            }
            Blocker::HistoryMissing => "A person is looking at what was credited to you before.".to_owned(),
            Blocker::CalendarMissing { .. } | Blocker::TermsMissing { .. } => {
                "A person is looking at what your plan promised.".to_owned()
            }
        };
        if !said.contains(&text) {
            said.push(text);
        }
    }
    if said.is_empty() {
        said.push(format!("Your plan changed in this month, and a person is looking at it ({}).", zone.name()));
    }
    said.push("You do not need to do anything: what we owe you appears here.".to_owned());
    said.join(" ")
}

/// What was credited, where the record has come to another sum since.
fn correction(loaded: &Loaded) -> Result<Option<String>, PageError> {
    let credited = loaded.credits.of_month(loaded.month);
    let [receipt] = loaded.sum.receipts.as_slice() else { return Ok(None) };
    if credited.is_empty() {
        return Ok(None);
    }
    let before = loaded.credits.sum(credited.iter().copied(), loaded.account.currency)?;
    let now = match &receipt.assessment.outcome {
        Outcome::Credit { amount } => *amount,
        Outcome::ServiceDays { .. } | Outcome::NothingDue { .. } => {
            crate::domain::money::Money::zero(loaded.account.currency)
        }
    };
    Ok((before != now).then(|| {
        format!(
            "Our record has changed since we credited you. Before: {}. Now: {}.",
            fmt::money(before),
            fmt::money(now)
        )
    }))
}

/// Said once somebody has signed it off, or once it has gone on for a while.
fn down_now(receipt: &Receipt, now: Instant) -> Option<String> {
    let sum = sum::seen(receipt)?;
    let line = sum.strand.lines.iter().find(|line| line.end.is_none() && line.counted_micros > 0)?;
    let window = receipt.inputs.windows.iter().find(|window| window.id == line.window)?;
    if !window.is_confirmed() && line.start.plus(BELIEVED_AFTER) > now {
        return None;
    }
    let since = if Month::containing(line.start, sum.zone) == Month::containing(now, sum.zone)
        && sum.zone.local(line.start).date_naive() == sum.zone.local(now).date_naive()
    {
        fmt::time(line.start, sum.zone, Reader::Customer)
    } else {
        fmt::time_on(line.start, sum.zone, Reader::Customer)
    };
    let whose = match (line.mailboxes, sum.strand.total.mailboxes) {
        (1, 1) => "your mailbox".to_owned(),
        (hit, all) if hit == all => format!("your {}", fmt::mailboxes(sum::many(all))),
        (hit, _) => format!("{hit} of your mailboxes"),
    };
    Some(format!("Mail is down now for {whose}, since {since}."))
}

fn month_link(loaded: &Loaded, month: Month) -> Link {
    let query = loaded.visitor.account_query(&loaded.account);
    Link::new(fmt::month(month), format!("/months/{month}{query}"))
}

fn previous(loaded: &Loaded) -> Option<Link> {
    let month = loaded.month.previous();
    let is_before = loaded.account.customer_since.is_some_and(|since| month.last_day() < since);
    (!is_before && Month::new(1971, 2).is_some_and(|first| month >= first)).then(|| month_link(loaded, month))
}

fn next(loaded: &Loaded) -> Option<Link> {
    let month = loaded.month.next();
    (month.interval(loaded.account.zone).start() <= loaded.visitor.now).then(|| month_link(loaded, month))
}

/// The claim that is there, or the way to one.
fn ask(loaded: &Loaded, answer: &Answer) -> Option<Ask> {
    if loaded.visitor.now < ends(loaded) && loaded.incident.is_none() {
        return None;
    }
    let there = loaded
        .incident
        .as_ref()
        .and_then(|incident| loaded.claims.iter().find(|claim| claim.incident.as_ref() == Some(incident)));
    if let Some(claim) = there {
        return Some(Ask {
            heading: "You asked us to look again".to_owned(),
            text: format!(
                "You sent a claim for this outage on {}.",
                fmt::day_month(loaded.account.zone.local(claim.filed_at).date_naive())
            ),
            button: Link::new(format!("See claim {}", claim.reference), format!("/claims/{}", claim.reference)),
        });
    }
    let mut href = format!("/claims/new?month={}", loaded.month);
    if let Some(incident) = &loaded.incident {
        href.push_str(&format!("&incident={}", super::encoded(incident)));
    }
    let query = loaded.visitor.account_query(&loaded.account);
    href.push_str(&query.replace('?', "&"));
    let counted = loaded.sum.receipts.iter().any(|receipt| receipt.assessment.counted_micros() > 0);
    if !counted {
        return Some(Ask {
            heading: "Did you lose mail anyway?".to_owned(),
            text: "Our record can be wrong. Tell us when mail stopped and which mailbox, and a person will check it."
                .to_owned(),
            button: Link::new("Tell us our record is wrong", href),
        });
    }
    let keeps = match answer {
        Answer::Owed { amount, .. } => format!(" You will keep the {amount} whatever we decide."),
        Answer::Nothing { .. } | Answer::SoFar { .. } | Answer::Checking { .. } | Answer::OnRequest { .. } => {
            String::new()
        }
    };
    Some(Ask {
        heading: "Is this not enough, or not right?".to_owned(),
        text: format!(
            "If the outage cost your business more than this, or our record is wrong, ask us to look again. It takes about 3 \
             minutes.{keeps}"
        ),
        button: Link::new("Ask us to look again", href),
    })
}

fn links(loaded: &Loaded) -> Vec<Link> {
    let (month, query) = (loaded.month, loaded.visitor.account_query(&loaded.account));
    let mut links =
        vec![Link::new(format!("{} in CSV", fmt::month_name(month)), format!("/months/{month}.csv{query}"))];
    if !loaded.sum.receipts.is_empty() {
        links.push(Link::new("The sum as a file (JSON)", format!("/months/{month}/receipt.json{query}")));
    }
    for other in loaded.visitor.actor.accounts.iter().filter(|other| **other != loaded.account.reference) {
        links.push(Link::new(format!("Account {other}"), format!("/months/{month}?account={}", super::encoded(other))));
    }
    links
}

/// Every record of every mailbox: times in UTC, lengths in seconds.
fn csv(loaded: &Loaded) -> Result<Response, PageError> {
    let damaged = |error: csv::Error| PageError::from(Error::Corrupt(format!("a file cannot be written: {error}")));
    let mut file = csv::Writer::from_writer(Vec::new());
    file.write_record(["account", "month", "mailbox", "recorded", "from", "to", "seconds", "counted_seconds", "why"])
        .map_err(damaged)?;
    for receipt in &loaded.sum.receipts {
        let Some(sum) = sum::seen(receipt) else { continue };
        let tables = sum::all_records(receipt);
        for (group, table) in sum.strand.groups.iter().zip(&tables) {
            for mailbox in &group.mailboxes {
                for (line, row) in group.lines.iter().zip(&table.rows) {
                    let (from, to) = times(&sum.strand.lines, line.line);
                    let cells = [
                        loaded.account.reference.as_str(),
                        &loaded.month.to_string(),
                        mailbox,
                        &row.what,
                        &from,
                        &to,
                        &seconds(line.measured_micros),
                        &seconds(line.counted_micros),
                        &row.why,
                    ];
                    file.write_record(cells.map(super::plain_cell)).map_err(damaged)?;
                }
            }
        }
    }
    let bytes = file.into_inner().map_err(|error| Error::Corrupt(format!("a file cannot be written: {error}")))?;
    let name = format!("mail-{}-{}.csv", loaded.account.reference, loaded.month);
    Ok(super::download("text/csv; charset=utf-8", &name, bytes))
}

fn times(lines: &[Line], line: usize) -> (String, String) {
    let Some(line) = lines.get(line) else { return Default::default() };
    (line.start.to_string(), line.end.map_or_else(String::new, |end| end.to_string()))
}

fn seconds(micros: i64) -> String {
    Decimal::new(micros, 6).normalize().to_string()
}
