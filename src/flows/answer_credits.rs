//! Billing answers what it pulled: loaded, on a bill, rolled back, or refused. Each answer stands for itself.

use std::collections::HashMap;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use crate::domain::actor::Actor;
use crate::domain::books::{self, Parts, Posting};
use crate::domain::credit::tax_of_part;
use crate::domain::feed::{AnswerKind, Answered, Standing, applied, credit_named};
use crate::domain::ids::{AccountId, CreditId};
use crate::domain::money::{Money, MoneyError};
use crate::domain::refusal::Refusal;
use crate::domain::time::Instant;
use crate::failpoint;
use crate::store::credits::{Credit, Entry};
use crate::store::feed::NewAnswer;
use crate::store::{Error, credits, feed};

/// Up to a thousand answers at once.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerCredits {
    pub items: Vec<AnswerItem>,
}

/// Billing's answer to one credit.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerItem {
    /// The credit's id, as the feed gave it.
    #[schema(example = "crd_00000000000000000000000000000000")]
    pub credit: String,
    pub answer: AnswerKind,
    /// `applied`, `returned`: the bill.
    #[serde(default)]
    #[schema(example = "INV-2026-12-104477")]
    pub reference: Option<String>,
    /// `applied`, `returned`: the bill's date.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "2026-12-05")]
    pub date: Option<NaiveDate>,
    /// `applied`: the amounts on the bill; left out, they are all that is still open.
    #[serde(default)]
    #[schema(example = "21.74")]
    pub net: Option<String>,
    #[serde(default)]
    #[schema(example = "3.26")]
    pub tax: Option<String>,
    /// `refused`: why, in billing's code and words.
    #[serde(default)]
    pub code: Option<String>,
    #[serde(default)]
    pub detail: Option<String>,
}

/// What became of each answer, in the order in which they were sent.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AnswersTaken {
    pub recorded: usize,
    pub already: usize,
    pub refused: usize,
    pub items: Vec<AnswerTaken>,
}

#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AnswerTaken {
    pub credit: String,
    pub result: AnswerResult,
    /// Why it was refused and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnswerResult {
    Recorded,
    /// The same answer was there before: nothing changed.
    Already,
    Refused,
}

/// The most that one request may answer.
pub const MOST: usize = 1_000;

/// Takes the answers that fit, each for itself, in one transaction; those that do not are refused one by one.
pub async fn answer_credits(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    consumer: &str,
    today: NaiveDate,
    request: AnswerCredits,
) -> Result<AnswersTaken, Error> {
    if request.items.is_empty() || request.items.len() > MOST {
        return Err(Refusal::field("/items", format!("send 1 to {MOST} answers")).into());
    }
    let mut tx = pool.begin().await?;
    let named: Vec<Uuid> = request.items.iter().filter_map(|item| credit_named(&item.credit)).map(|id| id.0).collect();
    let through = feed::delivered_to(&mut tx, feed::LANE, consumer).await?;
    let accounts = feed::accounts_of(&mut tx, feed::LANE, &named, through).await?;
    let (ids, of_accounts): (Vec<Uuid>, Vec<Uuid>) =
        accounts.iter().map(|(credit, account)| (credit.0, account.0)).unzip();
    credits::lock_accounts(&mut tx, &of_accounts).await?;
    let found: HashMap<CreditId, Credit> =
        credits::find_many(&mut tx, &of_accounts, &ids).await?.into_iter().map(|credit| (credit.id, credit)).collect();
    let mut said: HashMap<CreditId, Vec<Answered>> = feed::answers(&mut tx, &of_accounts, &ids)
        .await?
        .into_iter()
        .map(|(credit, answers)| (credit, answers.into_iter().map(|recorded| recorded.answered).collect()))
        .collect();
    let (mut taken, mut answers, mut entries) = (Vec::new(), Vec::new(), Vec::new());
    for item in &request.items {
        let credit = credit_named(&item.credit).and_then(|id| found.get(&id));
        let outcome = match credit {
            None => Err(Refusal::not_found("delivered credit", &item.credit.chars().take(64).collect::<String>())),
            Some(credit) => {
                let earlier = said.entry(credit.id).or_default();
                decide(item, credit, earlier, today).map(|effect| (credit, earlier, effect))
            }
        };
        let (result, detail) = match outcome {
            Err(refusal) => (AnswerResult::Refused, Some(refusal.detail)),
            Ok((_, _, None)) => (AnswerResult::Already, None),
            Ok((credit, earlier, Some(effect))) => {
                earlier.push(effect.answered.clone());
                entries.push(entry(credit, &effect, actor, now));
                answers.push(NewAnswer {
                    account: credit.account,
                    credit: credit.id,
                    no: i32::try_from(earlier.len()).unwrap_or(i32::MAX),
                    answered: effect.answered,
                    detail: item.detail.clone().unwrap_or_default().chars().take(500).collect(),
                });
                (AnswerResult::Recorded, None)
            }
        };
        taken.push(AnswerTaken { credit: item.credit.clone(), result, detail });
    }
    failpoint::reach("answer.before_answers").await;
    feed::insert_answers(&mut tx, &answers, consumer, now).await?;
    failpoint::reach("answer.after_answers").await;
    credits::post(&mut tx, &entries).await?;
    failpoint::reach("answer.before_commit").await;
    tx.commit().await?;
    failpoint::reach("answer.after_commit").await;
    let count = |result| taken.iter().filter(|one| one.result == result).count();
    Ok(AnswersTaken {
        recorded: count(AnswerResult::Recorded),
        already: count(AnswerResult::Already),
        refused: count(AnswerResult::Refused),
        items: taken,
    })
}

/// What an answer does.
struct Effect {
    answered: Answered,
    postings: Vec<Posting>,
}

/// Whether the answer fits the credit and what was said before; none where it was said already.
fn decide(
    item: &AnswerItem,
    credit: &Credit,
    earlier: &[Answered],
    today: NaiveDate,
) -> Result<Option<Effect>, Refusal> {
    let reference = match item.answer {
        AnswerKind::Accepted => String::new(),
        AnswerKind::Refused => text(item.code.as_deref(), "/code", "say why, with a code of yours")?,
        AnswerKind::Applied | AnswerKind::Returned => text(item.reference.as_deref(), "/reference", "name the bill")?,
    };
    let before = earlier.iter().find(|answer| answer.kind == item.answer && answer.reference == reference);
    let open = credit.gross.minus(applied(credit.gross, earlier)).map_err(broken)?;
    match item.answer {
        AnswerKind::Accepted => {
            if before.is_none() && Standing::of(credit.gross, earlier) == Standing::Refused {
                return Err(Refusal::field("/answer", "the credit was refused: finance has to offer it again first"));
            }
            Ok(before.is_none().then(|| effect(item, today, reference, zero(credit), Vec::new())))
        }
        AnswerKind::Applied => apply(item, credit, earlier, before, reference, open, today),
        AnswerKind::Returned => {
            if before.is_some() {
                return Ok(None);
            }
            let on_bill =
                earlier.iter().find(|answer| answer.kind == AnswerKind::Applied && answer.reference == reference);
            let on_bill =
                on_bill.ok_or_else(|| Refusal::field("/reference", format!("nothing was applied on {reference}")))?;
            let parts = Parts { reason: credit.road.reason_account().0, net: on_bill.net, tax: on_bill.tax };
            let amounts = (on_bill.gross, on_bill.net, on_bill.tax);
            Ok(Some(effect(item, today, reference, amounts, books::returned(parts))))
        }
        AnswerKind::Refused => match (before, Standing::of(credit.gross, earlier)) {
            (Some(_), _) => Ok(None),
            (None, Standing::Waiting | Standing::Returned) => {
                Ok(Some(effect(item, today, reference, zero(credit), books::refused(credit.gross))))
            }
            (None, standing) => {
                Err(Refusal::field("/answer", format!("the credit is {}: it cannot be refused", standing.name())))
            }
        },
    }
}

fn apply(
    item: &AnswerItem,
    credit: &Credit,
    earlier: &[Answered],
    before: Option<&Answered>,
    reference: String,
    open: Money,
    today: NaiveDate,
) -> Result<Option<Effect>, Refusal> {
    let currency = credit.gross.currency();
    let read = |text: &Option<String>, pointer: &str| {
        text.as_deref()
            .map(|text| Money::parse(text, currency))
            .transpose()
            .map_err(|error| Refusal::field(pointer, error.to_string()))
    };
    let (net, tax) = (read(&item.net, "/net")?, read(&item.tax, "/tax")?);
    if let Some(before) = before {
        let is_same = net.is_none_or(|net| net == before.net) && tax.is_none_or(|tax| tax == before.tax);
        let differs =
            || Refusal::field("/net", format!("{reference} was answered with {} and {}", before.net, before.tax));
        let was_returned =
            earlier.iter().any(|answer| answer.kind == AnswerKind::Returned && answer.reference == before.reference);
        return match (is_same, was_returned) {
            (false, _) => Err(differs()),
            (true, false) => Ok(None),
            // A retry that comes late, or the bill was made anew under its old number: only billing knows which.
            (true, true) => Err(Refusal::field(
                "/reference",
                format!("{reference} was returned: if the credit is on a bill again, name the new bill"),
            )),
        };
    }
    if Standing::of(credit.gross, earlier) == Standing::Refused {
        return Err(Refusal::field("/answer", "the credit was refused: finance has to offer it again first"));
    }
    let gross = match (net, tax) {
        (None, None) => open,
        (net, tax) => {
            let zero = Money::zero(currency);
            net.unwrap_or(zero).plus(tax.unwrap_or(zero)).map_err(broken)?
        }
    };
    if !gross.is_positive() || gross.minor() > open.minor() {
        return Err(Refusal::field("/net", format!("{gross} is not within what is open, {open}")));
    }
    let before_this = credit.gross.minus(open).map_err(broken)?;
    let due_tax = tax_of_part(credit.gross, credit.tax, before_this, gross).map_err(broken)?;
    if tax.is_some_and(|tax| tax != due_tax) {
        return Err(Refusal::field("/tax", format!("the tax in {gross} of this credit is {due_tax}")));
    }
    let net = gross.minus(due_tax).map_err(broken)?;
    let parts = Parts { reason: credit.road.reason_account().0, net, tax: due_tax };
    Ok(Some(effect(item, today, reference, (gross, net, due_tax), books::applied(parts))))
}

fn effect(
    item: &AnswerItem,
    today: NaiveDate,
    reference: String,
    (gross, net, tax): (Money, Money, Money),
    postings: Vec<Posting>,
) -> Effect {
    let on = item.date.unwrap_or(today);
    Effect { answered: Answered { kind: item.answer, reference, on, gross, net, tax }, postings }
}

fn zero(credit: &Credit) -> (Money, Money, Money) {
    let zero = Money::zero(credit.gross.currency());
    (zero, zero, zero)
}

fn broken(error: MoneyError) -> Refusal {
    Refusal::field("/net", error.to_string())
}

fn text(given: Option<&str>, pointer: &str, message: &str) -> Result<String, Refusal> {
    match given.map(str::trim) {
        Some(text) if !text.is_empty() && text.len() <= 100 && !text.chars().any(char::is_control) => {
            Ok(text.to_owned())
        }
        Some(_) | None => Err(Refusal::field(pointer, message)),
    }
}

fn entry(credit: &Credit, effect: &Effect, actor: &Actor, now: Instant) -> Entry {
    let answered = &effect.answered;
    Entry {
        account: AccountId(credit.account.0),
        document: credit.id.0,
        event: format!("{}:{}", answered.kind.name(), answered.reference),
        postings: effect.postings.clone(),
        reason: credit.reason.clone(),
        effective_on: answered.on,
        recorded_at: now,
        actor: actor.key(),
        action: "credit.answer",
        detail: json!({ "answer": answered.kind, "reference": answered.reference, "gross_minor": answered.gross.minor() }),
        item: None,
    }
}
