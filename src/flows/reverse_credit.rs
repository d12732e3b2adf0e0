//! A credit is taken back: what billing has not put on a bill is cancelled, what stands on one is debited. Nothing that was issued
//! changes; new rows name the credit that they reverse.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::note_refusal;
use super::once::{Answer, Begun, IdempotencyKey, Once};
use super::propose_credit_run::MoneyOnWire;
use crate::domain::actor::{Actor, Role};
use crate::domain::books::{self, Parts};
use crate::domain::chain::canonical;
use crate::domain::course::{Course, Deed, DeedKind, ReversalReason, Standing, TakeBack, TakenBack};
use crate::domain::credit::Amounts;
use crate::domain::feed::{credit_name, credit_named, reversal_name, reversal_named};
use crate::domain::ids::CreditId;
use crate::domain::money::Money;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::Instant;
use crate::failpoint;
use crate::store::courses::{self, NewDeed};
use crate::store::credits::{self, Addressee, Credit, Entry};
use crate::store::{Error, Tx, audit, lock_account, operator};

/// Why a credit is taken back.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReverseCredit {
    pub reason: ReversalReason,
    /// In your words, 1 to 1,000 characters; it is kept.
    #[schema(example = "The outage was another shard's.")]
    pub note: String,
}

/// What became of a credit that was taken back.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Reversal {
    /// Names the reversal; it cannot be reversed itself.
    #[schema(example = "rev_00000000000000000000000000000000")]
    pub id: String,
    #[schema(example = "crd_00000000000000000000000000000000")]
    pub credit: String,
    pub reason: ReversalReason,
    /// `reversing` while billing has to answer, else `reversed`.
    #[schema(example = "reversing")]
    pub standing: &'static str,
    /// What billing is told to put on no bill; the books follow its answer.
    #[schema(value_type = Option<MoneyOnWire>)]
    pub cancelled: Option<Money>,
    /// What lay with finance and is out of the books now.
    #[schema(value_type = Option<MoneyOnWire>)]
    pub written_off: Option<Money>,
    /// What stood on a bill: the customer owes it now, and billing is told to bill it.
    #[schema(value_type = Option<MoneyOnWire>)]
    pub debited: Option<Money>,
    #[schema(value_type = String)]
    pub at: Instant,
}

/// What credits are taken back by.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    pub how: TakenBack,
    /// The code that stands in the books.
    pub reason: &'a str,
    /// In somebody's own words; kept beside the books.
    pub note: &'a str,
    /// `issuer|subject` of whoever answers for it.
    pub by: &'a str,
    /// The day on which it takes effect.
    pub on: NaiveDate,
    pub at: Instant,
}

const MAY: [Role; 2] = [Role::Finance, Role::Supervisor];

/// Takes one credit back, once. Whoever proposed or approved it does not reverse it.
pub async fn reverse_credit(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    key: &IdempotencyKey,
    name: &str,
    request: ReverseCredit,
) -> Result<Answer, Error> {
    const DEED: &str = "credit.reverse";
    may(pool, actor, &MAY, DEED, name, now).await?;
    let mut once = match Once::begin(pool, actor, key, now).await? {
        Begun::Replay(answer) => return Ok(answer),
        Begun::New(once) => once,
    };
    let note = note(&request.note)?;
    let credit = match reversal_named(name) {
        Some(reversed) => return Err(refuse_reversal(once.tx(), reversed, name).await?.into()),
        None => find_locked(once.tx(), name).await?,
    };
    if let Err(refusal) = refuse_own(&credit, actor) {
        drop(once);
        note_refusal(pool, credit.account, actor, DEED, name, &refusal, now).await?;
        return Err(refusal.into());
    }
    let by = actor.key();
    let on = operator::get(once.tx()).await?.zone.local(now).date_naive();
    let (how, reason) = (TakenBack::Reversed, request.reason.name());
    let order = Order { how, reason, note: &note, by: &by, on, at: now };
    let (account, id) = (credit.account.0, credit.id.0);
    let taken = reverse_in(once.tx(), &[account], &[id], &order).await?.pop();
    let taken = taken.ok_or_else(|| Error::Corrupt(format!("credit {id} is gone")))?.1?;
    let is_pending = taken.cancel.is_some() || taken.debit.is_some();
    let reversal = Reversal {
        id: reversal_name(credit.id),
        credit: credit_name(credit.id),
        reason: request.reason,
        standing: if is_pending { Standing::Reversing } else { Standing::Reversed }.name(),
        cancelled: taken.cancel.map(|amounts| amounts.gross),
        written_off: taken.write_off.map(|(_, amounts)| amounts.gross),
        debited: taken.debit.map(|amounts| amounts.gross),
        at: now,
    };
    once.finish(201, &reversal).await
}

/// Refuses whoever has none of `roles`, and keeps that they tried. Comes before anything is looked up.
pub async fn may(
    pool: &PgPool,
    actor: &Actor,
    roles: &[Role],
    deed: &str,
    name: &str,
    now: Instant,
) -> Result<(), Error> {
    if actor.has_any(roles) {
        return Ok(());
    }
    let needed: Vec<&str> = roles.iter().map(|role| role.name()).collect();
    let refusal = Refusal::new(Code::Forbidden, format!("This needs the role {}.", needed.join(" or ")));
    let name: String = name.chars().take(64).collect();
    note_refusal(pool, audit::NO_ACCOUNT, actor, deed, &name, &refusal, now).await?;
    Err(refusal.into())
}

/// Somebody's own words of why, trimmed.
pub fn note(text: &str) -> Result<String, Refusal> {
    let text = text.trim();
    let has_controls = text.chars().any(|letter| letter.is_control() && letter != '\n');
    if text.is_empty() || text.chars().count() > 1_000 || has_controls {
        return Err(Refusal::field("/note", "say why, in 1 to 1,000 characters"));
    }
    Ok(text.to_owned())
}

/// The credit behind a name, with its account locked.
pub async fn find_locked(tx: &mut Tx, name: &str) -> Result<Credit, Error> {
    let unknown = || Refusal::not_found("credit", &name.chars().take(64).collect::<String>());
    let id = credit_named(name).ok_or_else(unknown)?;
    let account = courses::account_of(tx, id).await?.ok_or_else(unknown)?;
    lock_account(tx, account).await?;
    Ok(credits::find_many(tx, &[account.0], &[id.0]).await?.pop().ok_or_else(unknown)?)
}

/// Four eyes: two people gave it, and neither of them alone takes it away or pays it out.
pub fn refuse_own(credit: &Credit, actor: &Actor) -> Result<(), Refusal> {
    let key = actor.key();
    if credit.issued_by != key && credit.approved_by != key {
        return Ok(());
    }
    Err(Refusal::new(Code::FourEyes, "You proposed or approved this credit, so someone else must do this."))
}

/// A reversal names itself; it is final.
async fn refuse_reversal(tx: &mut Tx, credit: CreditId, name: &str) -> Result<Refusal, Error> {
    let unknown = || Refusal::not_found("credit", &name.chars().take(64).collect::<String>());
    let Some(account) = courses::account_of(tx, credit).await? else { return Ok(unknown()) };
    let Some(found) = credits::find_many(tx, &[account.0], &[credit.0]).await?.pop() else { return Ok(unknown()) };
    let course = courses::of(tx, &[found]).await?.remove(&credit);
    if course.is_some_and(|course| course.taken_back == Some(TakenBack::Reversed)) {
        let detail = "A reversal cannot be reversed. Where the credit was right after all, issue a new one.";
        return Ok(Refusal::new(Code::WrongState, detail));
    }
    Ok(unknown())
}

/// Takes many credits back, set-based, in the transaction of whoever decided; pairs of account and credit by position. What cannot be
/// taken back (because it was before, or was paid out) is given with why, and nothing happens to it: so doing it again does nothing.
pub async fn reverse_in(
    conn: &mut PgConnection,
    accounts: &[Uuid],
    ids: &[Uuid],
    order: &Order<'_>,
) -> Result<Vec<(Credit, Result<TakeBack, Refusal>)>, Error> {
    credits::lock_accounts(conn, accounts).await?;
    let found = credits::find_many(conn, accounts, ids).await?;
    let courses = courses::of(conn, &found).await?;
    let addressees = credits::addressees(conn, accounts).await?;
    let (mut outcomes, mut deeds, mut entries) = (Vec::with_capacity(found.len()), Vec::new(), Vec::new());
    for credit in found {
        let missing = |what: &str| Error::Corrupt(format!("{what} of credit {}", credit.id));
        let course = courses.get(&credit.id).ok_or_else(|| missing("the course"))?;
        let addressee = addressees.get(&credit.account).ok_or_else(|| missing("the account"))?;
        let plan = course.take_back(order.how);
        if let Ok(plan) = &plan {
            take_back(&credit, addressee, course, plan, order, &mut deeds, &mut entries);
        }
        outcomes.push((credit, plan));
    }
    failpoint::reach("reverse.before_deeds").await;
    courses::insert(conn, &deeds, order.by, order.at).await?;
    failpoint::reach("reverse.after_deeds").await;
    credits::post(conn, &entries).await?;
    failpoint::reach("reverse.after_post").await;
    Ok(outcomes)
}

fn take_back(
    credit: &Credit,
    addressee: &Addressee,
    course: &Course,
    plan: &TakeBack,
    order: &Order<'_>,
    deeds: &mut Vec<NewDeed>,
    entries: &mut Vec<Entry>,
) {
    let (kind, event, action) = match order.how {
        TakenBack::Reversed => (DeedKind::Reversed, "reversed", "credit.reverse"),
        TakenBack::Expired => (DeedKind::Expired, "expired", "credit.expire"),
    };
    let mut no = course.steps;
    let mut deed = |kind, amounts, op: Option<&'static str>| {
        no += 1;
        let is_cancel = op == Some("cancel");
        let reference = String::new();
        let deed = Deed { kind, amounts, reason: order.reason.to_owned(), reference, on: order.on, is_cancel };
        deeds.push(NewDeed { account: credit.account, credit: credit.id, no, deed, note: order.note.to_owned(), op });
        no
    };
    let first = deed(kind, plan.whole, plan.cancel.map(|_| "cancel"));
    let mut postings = match plan.write_off {
        Some((place, amounts)) => {
            deed(DeedKind::WrittenOff, amounts, None);
            books::written_off(place.code(), parts(credit, amounts))
        }
        None => Vec::new(),
    };
    // What an over-payment had moved to OVERCREDIT goes back to where the credit was written against.
    postings.extend(books::unkept(parts(credit, course.kept)));
    let item = plan.cancel.map(|amounts| ("cancel", item_body(credit, addressee, amounts, first, order)));
    entries.push(Entry {
        postings,
        action,
        item,
        detail: json!({ "reason": order.reason, "gross_minor": plan.whole.gross.minor() }).to_string(),
        ..entry(credit, event.to_owned(), order)
    });
    if let Some(amounts) = plan.debit {
        let no = deed(DeedKind::Debited, amounts, Some("debit"));
        entries.push(debit(credit, addressee, amounts, no, order));
    }
}

/// The entry that takes back what stood on a bill, as the credit's step `no`.
pub fn debit(credit: &Credit, addressee: &Addressee, amounts: Amounts, no: i32, order: &Order<'_>) -> Entry {
    Entry {
        postings: books::debited(parts(credit, amounts)),
        action: "credit.debit",
        detail: json!({ "reason": order.reason, "gross_minor": amounts.gross.minor() }).to_string(),
        item: Some(("debit", item_body(credit, addressee, amounts, no, order))),
        ..entry(credit, debit_event(no), order)
    }
}

/// How the books call the debit that is a credit's step `no`.
pub fn debit_event(no: i32) -> String {
    format!("debit:{no}")
}

/// What happened to a credit, as `order` says, with nothing posted yet.
pub fn entry(credit: &Credit, event: String, order: &Order<'_>) -> Entry {
    Entry {
        account: credit.account,
        document: credit.id.0,
        event,
        postings: Vec::new(),
        reason: order.reason.to_owned(),
        effective_on: order.on,
        recorded_at: order.at,
        actor: order.by.to_owned(),
        action: "credit.reverse",
        detail: Value::Null.to_string(),
        item: None,
    }
}

pub fn parts(credit: &Credit, amounts: Amounts) -> Parts {
    Parts { reason: credit.against, net: amounts.net, tax: amounts.tax }
}

/// What billing reads of a `cancel` or a `debit`: the credit that it is about, and how much of it.
fn item_body(credit: &Credit, addressee: &Addressee, amounts: Amounts, no: i32, order: &Order<'_>) -> String {
    canonical(&json!({
        "id": credit_name(credit.id),
        "account": addressee.reference,
        "bill_to": addressee.bill_to.as_ref().unwrap_or(&addressee.reference),
        "road": credit.road.name(),
        "currency": amounts.gross.currency(),
        "gross": amounts.gross.digits(),
        "net": amounts.net.digits(),
        "tax": amounts.tax.digits(),
        "tax_code": credit.tax_code,
        "reason": order.reason,
        "step": no,
        "effective_date": order.on,
        "decided_at": order.at,
    }))
}
