//! Billing answers what it pulled: loaded, on a bill, rolled back, or refused. Each answer stands for itself.

use std::collections::{HashMap, HashSet};

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use super::reverse_credit::{Order, debit, debit_event, entry, parts};
use crate::domain::actor::Actor;
use crate::domain::books::{self, Parts, Posting};
use crate::domain::course::{Course, Deed, DeedKind, Place, Step, TakenBack, broken};
use crate::domain::credit::Amounts;
use crate::domain::feed::{AnswerKind, Answered, credit_named};
use crate::domain::ids::{CreditId, event_id};
use crate::domain::money::Money;
use crate::domain::refusal::Refusal;
use crate::domain::time::Instant;
use crate::failpoint;
use crate::store::courses::{self, NewDeed};
use crate::store::credits::{Addressee, Credit, Entry};
use crate::store::feed::NewAnswer;
use crate::store::{Error, credits, feed, operator};

/// Up to a thousand answers at once.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerCredits {
    pub items: Vec<AnswerItem>,
}

/// Billing's answer to one item of the feed.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerItem {
    /// The credit's id, as the feed gave it.
    #[schema(example = "crd_00000000000000000000000000000000")]
    pub credit: String,
    pub answer: AnswerKind,
    /// `applied`, `returned`, `debited`: the bill.
    #[serde(default)]
    #[schema(example = "INV-2026-12-104477")]
    pub reference: Option<String>,
    /// `applied`, `returned`, `debited`: the bill's date.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "2026-12-05")]
    pub date: Option<NaiveDate>,
    /// `applied`, `debited`: the amounts on the bill, both of them; left out, they are all that is still open. The tax may differ from ours by
    /// one minor unit.
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
    /// Why it was refused and what to do; of one that was recorded, what else follows from it.
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
    let delivered = courses::delivered(&mut tx, feed::LANE, &named, through).await?;
    let (ids, accounts): (Vec<Uuid>, Vec<Uuid>) =
        delivered.iter().map(|(credit, (account, _))| (credit.0, account.0)).unzip();
    credits::lock_accounts(&mut tx, &accounts).await?;
    let found = credits::find_many(&mut tx, &accounts, &ids).await?;
    let mut told = courses::of(&mut tx, &found).await?;
    let addressees = credits::addressees(&mut tx, &accounts).await?;
    let mut known: HashMap<CreditId, Known> = HashMap::new();
    for credit in found {
        let missing = || Error::Corrupt(format!("the account of credit {}", credit.id));
        let addressee = addressees.get(&credit.account).cloned().ok_or_else(missing)?;
        let course = told.remove(&credit.id).ok_or_else(missing)?;
        let events = delivered.get(&credit.id).map(|(_, events)| events.clone()).unwrap_or_default();
        known.insert(credit.id, Known { credit, addressee, course, events });
    }
    let mut kept =
        Kept { rounding_left: operator::get(&mut tx).await?.credits.rounding_limit_minor, ..Kept::default() };
    let by = actor.key();
    let mut taken = Vec::new();
    for item in &request.items {
        let (result, detail) = match take(item, &mut known, &mut kept, &by, today, now) {
            Err(refusal) => (AnswerResult::Refused, Some(refusal.detail)),
            Ok(taken) => taken,
        };
        taken.push(AnswerTaken { credit: item.credit.clone(), result, detail });
    }
    failpoint::reach("answer.before_answers").await;
    feed::insert_answers(&mut tx, &kept.answers, consumer, now).await?;
    failpoint::reach("answer.after_answers").await;
    courses::insert(&mut tx, &kept.deeds, &by, now).await?;
    failpoint::reach("answer.after_deeds").await;
    credits::post(&mut tx, &kept.entries).await?;
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

/// A credit that was delivered, as it stands with the answers of this request so far.
struct Known {
    credit: Credit,
    addressee: Addressee,
    course: Course,
    /// The events of its items that this consumer was served.
    events: HashSet<Uuid>,
}

impl Known {
    fn has(&self, event: &str) -> bool {
        self.events.contains(&event_id(self.credit.id.0, event))
    }

    /// Whether the offer that stands was served: the issue, or the last time it was offered again.
    fn has_offer(&self) -> bool {
        self.course.offers.last().map_or_else(|| self.has("issued"), |no| self.has(&format!("offered:{no}")))
    }
}

/// What a request comes to.
#[derive(Default)]
struct Kept {
    answers: Vec<NewAnswer>,
    deeds: Vec<NewDeed>,
    entries: Vec<Entry>,
    /// By how much billing's taxes may still differ from ours, in minor units.
    rounding_left: i64,
}

/// Takes one answer, and says what became of it and what else follows.
fn take(
    item: &AnswerItem,
    known: &mut HashMap<CreditId, Known>,
    kept: &mut Kept,
    by: &str,
    today: NaiveDate,
    now: Instant,
) -> Result<(AnswerResult, Option<String>), Refusal> {
    let unknown = || Refusal::not_found("delivered credit", &item.credit.chars().take(64).collect::<String>());
    let of = credit_named(&item.credit).and_then(|id| known.get_mut(&id)).ok_or_else(unknown)?;
    let Some(effect) = decide(item, of, today, kept.rounding_left)? else { return Ok((AnswerResult::Already, None)) };
    let Effect { answered, postings, then, says } = effect;
    kept.rounding_left -= answered.rounding.minor().abs();
    of.course.follow(&Step::Answered(answered.clone())).map_err(broken)?;
    let no = of.course.steps;
    let on = answered.on;
    let order = Order { how: TakenBack::Reversed, reason: &of.credit.reason, note: "", by, on, at: now };
    let again = if answered.round > 0 { format!("@{}", answered.round) } else { String::new() };
    kept.entries.push(Entry {
        postings,
        action: "credit.answer",
        detail: json!({
            "answer": answered.kind, "reference": answered.reference, "gross_minor": answered.amounts.gross.minor(),
        })
        .to_string(),
        ..entry(&of.credit, format!("{}:{}{again}", answered.kind.name(), answered.reference), &order)
    });
    let detail = item.detail.clone().unwrap_or_default().chars().take(500).collect();
    let (account, credit) = (of.credit.account, of.credit.id);
    kept.answers.push(NewAnswer { account, credit, no, answered, detail });
    let Some((kind, amounts)) = then else { return Ok((AnswerResult::Recorded, says)) };
    // It was taken back before billing knew: what billing did meanwhile is taken back as well.
    let reason = if of.course.taken_back == Some(TakenBack::Expired) { "expired" } else { "reversed" };
    let (reason, reference) = (reason.to_owned(), String::new());
    let is_debit = kind == DeedKind::Debited;
    // What is written off is posted with the answer, and so on its day.
    let deed = Deed { kind, amounts, reason, reference, on: if is_debit { today } else { on }, is_cancel: false };
    of.course.follow(&Step::Done(deed.clone())).map_err(broken)?;
    let no = of.course.steps;
    if is_debit {
        let order = Order { reason: "reversed", on: today, ..order };
        kept.entries.push(debit(&of.credit, &of.addressee, amounts, no, &order));
    }
    let op = is_debit.then_some("debit");
    kept.deeds.push(NewDeed { account, credit, no, deed, note: String::new(), op });
    Ok((AnswerResult::Recorded, says))
}

/// How far from today the date of a bill may lie, in days.
const DAYS_OFF: i64 = 800;

/// What an answer does.
struct Effect {
    answered: Answered,
    postings: Vec<Posting>,
    /// The deed that follows from it.
    then: Option<(DeedKind, Amounts)>,
    /// What billing would not expect.
    says: Option<String>,
}

/// Whether the answer fits the credit and what was said before; none where it was said already.
fn decide(item: &AnswerItem, of: &Known, today: NaiveDate, rounding_left: i64) -> Result<Option<Effect>, Refusal> {
    let course = &of.course;
    let reference = match item.answer {
        AnswerKind::Accepted | AnswerKind::Cancelled => String::new(),
        AnswerKind::Refused => text(item.code.as_deref(), "/code", "say why, with a code of yours")?,
        AnswerKind::Applied | AnswerKind::Returned | AnswerKind::Debited => {
            text(item.reference.as_deref(), "/reference", "name the bill")?
        }
        AnswerKind::Superseding => {
            let instead = "answer `applied` with the bill that it stands on now; what it stood on before is found";
            return Err(Refusal::field("/answer", instead));
        }
    };
    let on = item.date.unwrap_or(today);
    if (on - today).num_days().abs() > DAYS_OFF {
        let detail = format!(
            "{on} is more than {DAYS_OFF} days from today: a slip of the pen would stand in the books for good"
        );
        return Err(Refusal::field("/date", detail));
    }
    let said = Said { item, of, on, reference };
    match item.answer {
        AnswerKind::Accepted => {
            if said.before(AnswerKind::Accepted) {
                return Ok(None);
            }
            said.refuse_elsewhere()?;
            Ok(Some(said.effect(said.zero(), Vec::new())))
        }
        AnswerKind::Applied => said.applied(rounding_left),
        AnswerKind::Returned => said.returned(),
        AnswerKind::Refused => {
            if said.before(AnswerKind::Refused) {
                return Ok(None);
            }
            said.refuse_elsewhere()?;
            let open = course.open().map_err(broken)?;
            if !course.bills.is_empty() || !open.gross.is_positive() {
                let standing = course.standing().map_err(broken)?.name();
                return Err(Refusal::field("/answer", format!("the credit is {standing}: it cannot be refused")));
            }
            let mut postings = books::refused(open.gross);
            let then = course.is_cancel_pending.then_some((DeedKind::WrittenOff, open));
            if then.is_some() {
                postings.extend(books::written_off(Place::Held.code(), parts(&of.credit, open)));
            }
            Ok(Some(Effect { then, ..said.effect(said.zero(), postings) }))
        }
        AnswerKind::Cancelled => said.cancelled(),
        AnswerKind::Debited => said.debited(),
        AnswerKind::Superseding => Ok(None),
    }
}

/// One answer beside what it is about.
struct Said<'a> {
    item: &'a AnswerItem,
    of: &'a Known,
    on: NaiveDate,
    reference: String,
}

impl Said<'_> {
    fn zero(&self) -> Amounts {
        Amounts::zero(self.of.credit.gross.currency())
    }

    /// Whether the same was said of the offer that stands.
    fn before(&self, kind: AnswerKind) -> bool {
        let round = self.of.course.round;
        let is_same = |one: &&Answered| one.kind == kind && one.reference == self.reference && one.round == round;
        self.of.course.answers.iter().any(|one| is_same(&one))
    }

    /// Refuses what is not with billing, or was not pulled since it was offered again.
    fn refuse_elsewhere(&self) -> Result<(), Refusal> {
        match self.of.course.place {
            Place::Billing if self.of.has_offer() => Ok(()),
            Place::Billing => {
                Err(Refusal::field("/answer", "the credit was offered again: pull the offer, then answer it"))
            }
            Place::Held => {
                Err(Refusal::field("/answer", "the credit was refused: finance has to offer it again first"))
            }
            Place::Unclaimed => Err(Refusal::field(
                "/answer",
                "the credit is with finance, unclaimed: finance has to offer it again first",
            )),
        }
    }

    fn effect(&self, amounts: Amounts, postings: Vec<Posting>) -> Effect {
        let answered = Answered {
            kind: self.item.answer,
            round: self.of.course.round,
            reference: self.reference.clone(),
            on: self.on,
            amounts,
            rounding: Money::zero(amounts.gross.currency()),
            supersedes: None,
        };
        Effect { answered, postings, then: None, says: None }
    }

    /// Net and tax as billing has them: both, or none; a credit without tax needs none.
    fn amounts(&self) -> Result<Option<Amounts>, Refusal> {
        let currency = self.of.credit.gross.currency();
        let read = |text: &Option<String>, pointer: &str| {
            text.as_deref()
                .map(|text| Money::parse(text, currency))
                .transpose()
                .map_err(|error| Refusal::field(pointer, error.to_string()))
        };
        let (net, tax) = match (read(&self.item.net, "/net")?, read(&self.item.tax, "/tax")?) {
            (None, None) => return Ok(None),
            (Some(net), Some(tax)) => (net, tax),
            (Some(net), None) if self.of.credit.tax.is_zero() => (net, Money::zero(currency)),
            (Some(_), None) => return Err(Refusal::field("/tax", "send net and tax, or leave both out")),
            (None, Some(_)) => return Err(Refusal::field("/net", "send net and tax, or leave both out")),
        };
        if net.minor() < 0 || tax.minor() < 0 {
            return Err(Refusal::field("/net", "amounts have no sign: the answer says the direction"));
        }
        let gross = net.plus(tax).map_err(|error| Refusal::field("/net", error.to_string()))?;
        Ok(Some(Amounts { gross, net, tax }))
    }

    fn applied(&self, rounding_left: i64) -> Result<Option<Effect>, Refusal> {
        let (course, reference) = (&self.of.course, &self.reference);
        let asked = self.amounts()?;
        let is_on_bill = |one: &&Answered| {
            matches!(one.kind, AnswerKind::Applied | AnswerKind::Superseding) && one.reference == *reference
        };
        if let Some(before) = course.answers.iter().find(is_on_bill) {
            let stands =
                course.bills.iter().any(|bill| bill.reference == *reference || bill.superseded.contains(reference));
            return match (asked.is_none_or(|asked| asked == before.amounts), stands) {
                (false, _) => {
                    let Amounts { net, tax, .. } = before.amounts;
                    Err(Refusal::field("/net", format!("{reference} was answered with {net} and {tax}")))
                }
                (true, true) => Ok(None),
                // A retry that comes late, or the bill was made anew under its old number: only billing knows which.
                (true, false) => Err(Refusal::field(
                    "/reference",
                    format!("{reference} was returned: if the credit is on a bill again, name the new bill"),
                )),
            };
        }
        let open = course.open().map_err(broken)?.gross;
        let gross = asked.map_or(open, |asked| asked.gross);
        if !gross.is_positive() || gross.minor() > open.minor() {
            return self.superseding(asked, gross, open).map(Some);
        }
        self.refuse_elsewhere()?;
        let ours = course.part_of_open(gross).map_err(broken)?;
        let billed = asked.unwrap_or(ours);
        let rounding = billed.tax.minus(ours.tax).map_err(broken)?;
        if rounding.minor().abs() > 1 {
            return Err(Refusal::field("/tax", format!("the tax in {gross} of this credit is {}", ours.tax)));
        }
        if rounding.minor().abs() > rounding_left {
            let over = "the taxes of this request differ from ours by more than the operator allows together; \
                        round each credit's tax on its own, half up";
            return Err(Refusal::field("/tax", over));
        }
        let mut postings = books::applied(Parts { net: billed.net, tax: billed.tax, ..parts(&self.of.credit, billed) });
        postings.extend(books::rounded(rounding).map_err(broken)?);
        // What was reversed and stands on a bill all the same is owed by the customer.
        let then = (course.taken_back == Some(TakenBack::Reversed)).then_some((DeedKind::Debited, ours));
        let effect = self.effect(billed, postings);
        Ok(Some(Effect { answered: Answered { rounding, ..effect.answered }, then, ..effect }))
    }

    /// All of it stands on bills already: billing came back from its backup and calls one of them by another name. Nothing moves.
    fn superseding(&self, asked: Option<Amounts>, gross: Money, open: Money) -> Result<Effect, Refusal> {
        let bills = &self.of.course.bills;
        let mut same = bills.iter().filter(|bill| asked.is_none_or(|asked| asked == bill.amounts));
        let (Some(bill), None) = (same.next(), same.next()) else {
            let within = format!("{gross} is not within what is open, {open}");
            return Err(Refusal::field("/net", within));
        };
        let effect = self.effect(bill.amounts, Vec::new());
        let answered = Answered {
            kind: AnswerKind::Superseding,
            rounding: bill.first.rounding,
            supersedes: Some(bill.reference.clone()),
            ..effect.answered
        };
        Ok(Effect { answered, ..effect })
    }

    fn returned(&self) -> Result<Option<Effect>, Refusal> {
        let (course, reference) = (&self.of.course, &self.reference);
        let was_returned = |one: &Answered| one.kind == AnswerKind::Returned && one.reference == *reference;
        if course.answers.iter().any(was_returned) {
            return Ok(None);
        }
        if let Some(bill) = course.bills.iter().find(|bill| bill.superseded.contains(reference)) {
            let now = format!("{reference} was superseded: the credit stands on {} now, return that", bill.reference);
            return Err(Refusal::field("/reference", now));
        }
        let bill = course.bills.iter().find(|bill| bill.reference == *reference);
        let bill = bill.ok_or_else(|| Refusal::field("/reference", format!("nothing was applied on {reference}")))?;
        let ours = bill.first.ours().map_err(broken)?;
        let left = course.applied.minus(ours).map_err(broken)?;
        // What was taken back and stands on no other bill stays, for its debit to be answered; the rest comes back.
        let stays = course.debited.minus(left).map_err(broken)?;
        let stays = if stays.gross.is_positive() { stays } else { self.zero() };
        let back = ours.minus(stays).map_err(broken)?.tidy().map_err(broken)?;
        let elsewhere = |one: &&Answered| one.kind == AnswerKind::Debited && one.reference != *reference;
        if let Some(debit) = course.answers.iter().find(elsewhere).filter(|_| stays.gross.is_positive()) {
            let instead = format!(
                "a part of what stood on this bill was taken back, and that debit stands on {}: put the whole credit on another bill \
                 and answer `applied`, naming that one",
                debit.reference
            );
            return Err(Refusal::field("/answer", instead));
        }
        if !back.gross.is_positive() {
            let instead = "what stood on this bill was taken back, and a debit of it was sent: answer the debit `debited`, naming \
                           this bill as rolled back";
            return Err(Refusal::field("/answer", instead));
        }
        // Billing's cent of tax goes with what comes back, where there is room for it.
        let rounding = bill.first.rounding;
        let billed = Amounts {
            gross: back.gross,
            net: back.net.minus(rounding).map_err(broken)?,
            tax: back.tax.plus(rounding).map_err(broken)?,
        };
        let has_room = billed.net.minor() >= 0 && billed.tax.minor() >= 0;
        let (billed, rounding) = if has_room { (billed, rounding) } else { (back, self.zero().tax) };
        let mut postings = books::returned(parts(&self.of.credit, billed));
        let undone = Money::zero(rounding.currency()).minus(rounding).map_err(broken)?;
        postings.extend(books::rounded(undone).map_err(broken)?);
        // Billing answered for the rest of an expired credit already: nobody waits for what comes back of it.
        let is_over = course.taken_back == Some(TakenBack::Expired) && !course.is_cancel_pending;
        if is_over {
            postings.extend(books::written_off(course.place.code(), parts(&self.of.credit, back)));
        }
        let effect = self.effect(billed, postings);
        let then = is_over.then_some((DeedKind::WrittenOff, back));
        let says = match (is_over, stays.gross.is_positive()) {
            (true, _) => {
                Some(format!("the credit has expired: {} of it came back, and stands on no bill again", back.gross))
            }
            (false, true) => Some(format!(
                "{} of it was taken back: answer its debit `debited`, naming {reference}; {} waits again",
                stays.gross, back.gross
            )),
            (false, false) => None,
        };
        Ok(Some(Effect { answered: Answered { rounding, ..effect.answered }, then, says, ..effect }))
    }

    fn cancelled(&self) -> Result<Option<Effect>, Refusal> {
        let course = &self.of.course;
        if course.answers.iter().any(|one| one.kind == AnswerKind::Cancelled) {
            return Ok(None);
        }
        let is_told = ["reversed", "expired"].iter().any(|event| self.of.has(event));
        if !course.is_cancel_pending || !is_told {
            return Err(Refusal::field("/answer", "no cancellation of this credit was delivered"));
        }
        let open = course.open().map_err(broken)?;
        if !open.gross.is_positive() {
            // It stands on a bill or was refused meanwhile, and that was answered for already.
            return Ok(None);
        }
        let postings = books::cancelled(parts(&self.of.credit, open));
        Ok(Some(self.effect(open, postings)))
    }

    fn debited(&self) -> Result<Option<Effect>, Refusal> {
        let (course, reference) = (&self.of.course, &self.reference);
        let asked = self.amounts()?;
        let is_same = |one: &&Answered| one.kind == AnswerKind::Debited && one.reference == *reference;
        if let Some(before) = course.answers.iter().find(is_same) {
            let Amounts { net, tax, .. } = before.amounts;
            let differs = || Refusal::field("/net", format!("{reference} was answered with {net} and {tax}"));
            return if asked.is_none_or(|asked| asked == before.amounts) { Ok(None) } else { Err(differs()) };
        }
        let delivered = course.debits.iter().filter(|(no, _)| self.of.has(&debit_event(*no)));
        let delivered = delivered.map(|(_, amounts)| amounts.gross);
        let delivered = Money::sum(delivered, self.of.credit.gross.currency()).map_err(broken)?;
        let left = delivered.minus(course.recovered.gross).map_err(broken)?;
        let gross = asked.map_or(left, |asked| asked.gross);
        if !gross.is_positive() || gross.minor() > left.minor() {
            return Err(Refusal::field("/net", format!("{gross} is not within what is to be debited, {left}")));
        }
        let ours = course.debited.part(course.recovered, gross).map_err(broken)?;
        if asked.is_some_and(|asked| asked != ours) {
            return Err(Refusal::field("/tax", format!("the tax in {gross} of this debit is {}", ours.tax)));
        }
        let postings = books::recovered(parts(&self.of.credit, ours));
        Ok(Some(self.effect(ours, postings)))
    }
}

fn text(given: Option<&str>, pointer: &str, message: &str) -> Result<String, Refusal> {
    match given.map(str::trim) {
        Some(text) if !text.is_empty() && text.len() <= 100 && !text.chars().any(char::is_control) => {
            Ok(text.to_owned())
        }
        Some(_) | None => Err(Refusal::field(pointer, message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::credit::{Road, Split};
    use crate::domain::ids::AccountId;

    fn nzd(minor: i64) -> Money {
        Money::from_minor(minor, "NZD".parse().unwrap()).unwrap()
    }

    fn amounts(gross: i64) -> Amounts {
        let split = Split::of(nzd(gross), 1_500).unwrap();
        Amounts { gross: nzd(gross), net: split.net, tax: split.tax }
    }

    fn answered(kind: AnswerKind, reference: &str, gross: i64) -> Step {
        let (reference, rounding) = (reference.to_owned(), nzd(0));
        let on = NaiveDate::MIN;
        Step::Answered(Answered { kind, round: 0, reference, on, amounts: amounts(gross), rounding, supersedes: None })
    }

    /// A credit of $100.00 that stands on bill A, of which $30.00 was taken back, and what billing said then.
    fn partly_taken_back(then: &[Step]) -> Known {
        let whole = amounts(10_000);
        let debit = Deed {
            kind: DeedKind::Debited,
            amounts: amounts(3_000),
            reason: "over_payment".to_owned(),
            reference: String::new(),
            on: NaiveDate::MIN,
            is_cancel: false,
        };
        let begin = [answered(AnswerKind::Applied, "A", 10_000), Step::Done(debit)];
        let credit = Credit {
            account: AccountId::of("1"),
            id: CreditId(Uuid::nil()),
            road: Road::Contract,
            cause: String::new(),
            generation: 0,
            reason: "sla_tier".to_owned(),
            against: books::Code::Sla,
            gross: whole.gross,
            net: whole.net,
            tax: whole.tax,
            tax_code: String::new(),
            tax_rate_bp: 1_500,
            subscription: None,
            claim: None,
            run: None,
            service: None,
            zone: "UTC".to_owned(),
            effective_on: NaiveDate::MIN,
            issued_at: Instant::MIN,
            issued_by: String::new(),
            approved_by: String::new(),
        };
        let addressee = Addressee { reference: "1".to_owned(), bill_to: None, zone: "UTC".to_owned() };
        let course = Course::of(whole, begin.iter().chain(then)).unwrap();
        Known { credit, addressee, course, events: HashSet::new() }
    }

    #[test]
    fn what_comes_back_of_a_bill_is_what_was_not_taken_back_and_nothing_that_was_paid_for() {
        let item: AnswerItem = serde_json::from_value(json!({
            "credit": "crd_00000000000000000000000000000000", "answer": "returned", "reference": "A",
        }))
        .unwrap();
        let today = Instant::MIN.utc().date_naive();
        for then in [vec![], vec![answered(AnswerKind::Debited, "A", 3_000)]] {
            let effect = decide(&item, &partly_taken_back(&then), today, 0).unwrap().unwrap();
            assert_eq!((effect.answered.amounts.gross, effect.then), (nzd(7_000), None));
            let says = effect.says.unwrap();
            assert!(says.contains("30.00") && says.contains("70.00"), "{says}");
        }
        // The customer paid for that part on another bill: were only the rest to come back, he would have lost it.
        let paid = partly_taken_back(&[answered(AnswerKind::Debited, "B", 3_000)]);
        let refused = decide(&item, &paid, today, 0).err().unwrap();
        assert!(format!("{refused:?}").contains("stands on B"), "{refused:?}");
    }
}
