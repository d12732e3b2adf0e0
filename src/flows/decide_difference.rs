//! A person decides about a difference. A further credit comes with the next credit run; what was credited too much is kept or recovered, and
//! the books say which, in the transaction of the decision.

use chrono::NaiveDate;
use serde::Deserialize;
use serde_json::json;
use sqlx::PgPool;

use super::once::{Answer, Begun, IdempotencyKey, Once};
use super::reverse_credit::{Order, debit, entry, parts, refuse_own, reverse_in};
use crate::domain::actor::Actor;
use crate::domain::books;
use crate::domain::course::{Course, Deed, DeedKind, OVER_PAYMENT, TakenBack, broken};
use crate::domain::credit::Amounts;
use crate::domain::difference::{Decision, DifferenceKind};
use crate::domain::ids::{CreditId, DifferenceId};
use crate::domain::money::Money;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::Instant;
use crate::failpoint;
use crate::store::courses::{self, NewDeed};
use crate::store::credits::{self, Credit, Entry};
use crate::store::differences::{Decided, Listed};
use crate::store::{Error, Tx, audit, differences, given, lock_account, operator};

#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecideDifference {
    pub decision: Decision,
    /// Why, in 1 to 1,000 characters; it is kept.
    #[schema(example = "Our record was wrong; the customer keeps it.")]
    pub reason: String,
}

/// Records the decision, and posts what follows from it. Refuses one about a difference that the newest listing of its period does not have any
/// more, and a second one.
pub async fn decide_difference(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    key: &IdempotencyKey,
    id: DifferenceId,
    request: DecideDifference,
) -> Result<Answer, Error> {
    let mut once = match Once::begin(pool, actor, key, now).await? {
        Begun::Replay(answer) => return Ok(answer),
        Begun::New(once) => once,
    };
    let reason = request.reason.trim();
    if reason.is_empty() || reason.chars().count() > 1_000 {
        return Err(Refusal::field("/reason", "say why, in 1 to 1,000 characters").into());
    }
    let tx = once.tx();
    let listed = differences::standing(tx, id).await?;
    let listed = listed.ok_or_else(|| Refusal::not_found("difference that stands", &id.to_string()))?;
    let kind = DifferenceKind::of(listed.credited.minor(), listed.due.map(Money::minor));
    request.decision.fits(kind.unwrap_or(DifferenceKind::NotKnown), &listed.blockers)?;
    let decided = Decided { decision: request.decision, reason: reason.to_owned(), at: now, by: actor.key() };
    lock_account(tx, listed.account).await?;
    refuse_stale(tx, &listed).await?;
    failpoint::reach("decide.before_decision").await;
    if !differences::decide(tx, listed.account, id, &decided).await? {
        return Err(Refusal::new(Code::WrongState, "This difference is decided already.").into());
    }
    failpoint::reach("decide.after_decision").await;
    let on = operator::get(tx).await?.zone.local(now).date_naive();
    match request.decision {
        Decision::FurtherCredit => {}
        Decision::Keep => keep(tx, &listed, &decided, on).await?,
        Decision::Recover => recover(tx, &listed, &decided, actor, on).await?,
    }
    // The words stay beside the books: what is chained cannot be erased.
    let detail = json!({ "decision": decided.decision });
    let (action, subject) = ("difference.decide", id.to_string());
    let entry = audit::Entry { account: listed.account, actor, action, subject: &subject, detail, at: now };
    audit::record(tx, &entry).await?;
    failpoint::reach("decide.after_audit").await;
    once.finish(201, &json!({ "difference": id, "decision": decided.decision, "reason": decided.reason, "at": now }))
        .await
}

/// Refuses a decision about what is not so any more: something was given, or taken back, since it was listed.
async fn refuse_stale(tx: &mut Tx, listed: &Listed) -> Result<(), Error> {
    let (accounts, of) = ([listed.account.0], (listed.account, listed.subscription));
    let by_us = credits::given_for_period(tx, &accounts, listed.period.first_day()).await?;
    let elsewhere = given::by_contract(tx, &accounts, listed.period).await?;
    let by_us = by_us.get(&of).map_or(0, |given| given.minor);
    let now = by_us.saturating_add(elsewhere.get(&of).copied().unwrap_or(0));
    if now == listed.credited.minor() {
        return Ok(());
    }
    let now = Money::from_minor(now, listed.credited.currency()).map_err(broken)?;
    let detail = format!(
        "{} was given when this was listed, and {now} is now. List the differences again, and decide about what they say.",
        listed.credited
    );
    Err(Refusal::new(Code::WrongState, detail).into())
}

/// How much more was credited than is due.
fn over(listed: &Listed) -> Result<Money, Refusal> {
    let due = listed.due.unwrap_or(listed.credited);
    listed.credited.minus(due).map_err(broken)
}

/// The credits that the difference is about, the newest first, each with its course; none that was taken back.
async fn credited(tx: &mut Tx, listed: &Listed) -> Result<Vec<(Credit, Course)>, Error> {
    let all = credits::of_period(tx, listed.account, listed.subscription, listed.period.first_day()).await?;
    let mut courses = courses::of(tx, &all).await?;
    let with_course = |credit: Credit| courses.remove(&credit.id).map(|course| (credit, course));
    Ok(all.into_iter().filter_map(with_course).filter(|(_, course)| course.taken_back.is_none()).collect())
}

fn order<'a>(decided: &'a Decided, on: NaiveDate) -> Order<'a> {
    let (how, reason) = (TakenBack::Reversed, OVER_PAYMENT);
    Order { how, reason, note: &decided.reason, by: &decided.by, on, at: decided.at }
}

fn deed(
    credit: &Credit,
    course: &Course,
    kind: DeedKind,
    amounts: Amounts,
    decided: &Decided,
    on: NaiveDate,
) -> NewDeed {
    let (reason, reference) = (OVER_PAYMENT.to_owned(), String::new());
    NewDeed {
        account: credit.account,
        credit: credit.id,
        no: course.steps + 1,
        deed: Deed { kind, amounts, reason, reference, on, is_cancel: false },
        note: decided.reason.clone(),
        op: (kind == DeedKind::Debited).then_some("debit"),
    }
}

fn least(one: Money, other: Money) -> Money {
    if one.minor() <= other.minor() { one } else { other }
}

/// The customer keeps it: what is over, less what was kept before, is no reduction any more. What was given elsewhere is not in these books.
async fn keep(tx: &mut Tx, listed: &Listed, decided: &Decided, on: NaiveDate) -> Result<(), Error> {
    let found = credited(tx, listed).await?;
    let mut left = over(listed)?;
    for (_, course) in &found {
        left = left.minus(course.kept.gross).map_err(broken)?;
    }
    let (mut deeds, mut entries) = (Vec::new(), Vec::new());
    for (credit, course) in &found {
        let room = course.given().and_then(|given| given.minus(course.kept.gross)).map_err(broken)?;
        let part = least(left, room);
        if !part.is_positive() {
            continue;
        }
        left = left.minus(part).map_err(broken)?;
        let amounts = course.issued.part(course.kept, part).map_err(broken)?;
        entries.push(Entry {
            postings: books::kept(parts(credit, amounts)),
            action: "credit.keep",
            detail: json!({ "gross_minor": part.minor() }).to_string(),
            ..entry(credit, format!("kept:{}", course.steps + 1), &order(decided, on))
        });
        deeds.push(deed(credit, course, DeedKind::Kept, amounts, decided, on));
    }
    courses::insert(tx, &deeds, &decided.by, decided.at).await?;
    credits::post(tx, &entries).await
}

/// The customer gives it back: what stands on bills is debited for that part; a credit that is on none, or of which a part was kept, is taken back
/// as a whole, and the next credit run gives what is due.
async fn recover(tx: &mut Tx, listed: &Listed, decided: &Decided, actor: &Actor, on: NaiveDate) -> Result<(), Error> {
    let found = credited(tx, listed).await?;
    let mut left = over(listed)?;
    let (mut deeds, mut entries, mut whole): (Vec<NewDeed>, Vec<Entry>, Vec<CreditId>) = Default::default();
    for (credit, course) in &found {
        if !left.is_positive() {
            break;
        }
        refuse_own(credit, actor)?;
        let (billed, given) = (course.standing_on_bills().map_err(broken)?.gross, course.given().map_err(broken)?);
        let wanted = least(left, given);
        if wanted.minor() > billed.minor() || course.kept.gross.is_positive() {
            whole.push(credit.id);
            left = left.minus(least(left, given)).map_err(broken)?;
            continue;
        }
        left = left.minus(wanted).map_err(broken)?;
        let amounts = course.applied.part(course.debited, wanted).map_err(broken)?;
        let addressee = credits::addressee(tx, credit.account).await?;
        entries.push(debit(credit, &addressee, amounts, course.steps + 1, &order(decided, on)));
        deeds.push(deed(credit, course, DeedKind::Debited, amounts, decided, on));
    }
    if left.is_positive() {
        let detail = format!(
            "{left} of it was given elsewhere, and not by makegood. Take it back there, then list the differences again."
        );
        return Err(Refusal::new(Code::WrongState, detail).into());
    }
    courses::insert(tx, &deeds, &decided.by, decided.at).await?;
    credits::post(tx, &entries).await?;
    let accounts: Vec<uuid::Uuid> = whole.iter().map(|_| listed.account.0).collect();
    let ids: Vec<uuid::Uuid> = whole.iter().map(|id| id.0).collect();
    for (_, outcome) in reverse_in(tx, &accounts, &ids, &order(decided, on)).await? {
        outcome?;
    }
    Ok(())
}
