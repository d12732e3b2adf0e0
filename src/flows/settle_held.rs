//! What billing refused is with finance: offered again, paid out in money, or set aside because nobody comes for it.

use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgPool;

use super::note_refusal;
use super::once::{Answer, Begun, IdempotencyKey, Once};
use super::propose_credit_run::MoneyOnWire;
use super::reverse_credit::{Order, entry, find_locked, may, note, parts, refuse_own};
use crate::domain::actor::{Actor, Role};
use crate::domain::books;
use crate::domain::chain::canonical;
use crate::domain::course::{Course, Deed, DeedKind, Place, Standing, TakenBack};
use crate::domain::credit::Amounts;
use crate::domain::feed::credit_name;
use crate::domain::money::Money;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::Instant;
use crate::failpoint;
use crate::store::courses::{self, NewDeed};
use crate::store::credits::{self, Credit, Entry};
use crate::store::{Error, Tx, feed, operator};

/// What finance does with a credit that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settling {
    /// Billing may take it now: a new item of the feed.
    Offer,
    /// Nobody comes for it.
    Unclaim,
    /// Paid out, under this reference of the payment.
    Pay(String),
}

impl Settling {
    /// How the audit trail calls it.
    fn action(&self) -> &'static str {
        match self {
            Settling::Offer => "credit.offer",
            Settling::Unclaim => "credit.unclaim",
            Settling::Pay(_) => "credit.pay",
        }
    }

    fn kind(&self) -> DeedKind {
        match self {
            Settling::Offer => DeedKind::Offered,
            Settling::Unclaim => DeedKind::Unclaimed,
            Settling::Pay(_) => DeedKind::Paid,
        }
    }
}

/// Why.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettleHeld {
    /// In your words, 1 to 1,000 characters; it is kept.
    #[schema(example = "The account was opened again.")]
    pub note: String,
}

/// A payment in money.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PayHeld {
    /// What the payment is called where it is made.
    #[schema(example = "PAY-2026-0091")]
    pub reference: String,
    /// In your words, 1 to 1,000 characters; it is kept.
    pub note: String,
}

/// What became of it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Settled {
    #[schema(example = "crd_00000000000000000000000000000000")]
    pub credit: String,
    /// `waiting`, `unclaimed` or `paid`.
    #[schema(example = "waiting")]
    pub standing: &'static str,
    #[schema(value_type = MoneyOnWire)]
    pub amount: Money,
    #[schema(value_type = String)]
    pub at: Instant,
}

/// Settles what is held, or unclaimed, of one credit. Finance alone; and who gave the credit does not pay it out.
pub async fn settle_held(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    key: &IdempotencyKey,
    name: &str,
    settling: Settling,
    request: SettleHeld,
) -> Result<Answer, Error> {
    may(pool, actor, &[Role::Finance], settling.action(), name, now).await?;
    let mut once = match Once::begin(pool, actor, key, now).await? {
        Begun::Replay(answer) => return Ok(answer),
        Begun::New(once) => once,
    };
    let note = note(&request.note)?;
    let credit = find_locked(once.tx(), name).await?;
    if let (Settling::Pay(_), Err(refusal)) = (&settling, refuse_own(&credit, actor)) {
        drop(once);
        note_refusal(pool, credit.account, actor, settling.action(), name, &refusal, now).await?;
        return Err(refusal.into());
    }
    let tx = once.tx();
    let missing = || Error::Corrupt(format!("the course of credit {}", credit.id));
    let course = courses::of(tx, std::slice::from_ref(&credit)).await?.remove(&credit.id).ok_or_else(missing)?;
    let open = held(&course, &settling)?;
    let by = actor.key();
    let on = operator::get(tx).await?.zone.local(now).date_naive();
    let order = Order { how: TakenBack::Reversed, reason: &credit.reason, note: &note, by: &by, on, at: now };
    let no = course.steps + 1;
    let reference = match &settling {
        Settling::Pay(reference) => payment(reference)?,
        Settling::Offer | Settling::Unclaim => String::new(),
    };
    let kind = settling.kind();
    let deed = Deed { kind, amounts: open, reason: credit.reason.clone(), reference, on, is_cancel: false };
    let op = (settling == Settling::Offer).then_some("offer");
    let new = NewDeed { account: credit.account, credit: credit.id, no, deed, note: note.clone(), op };
    let written = written(tx, &credit, &course, open, &settling, no, &order).await?;
    failpoint::reach("settle.before_deed").await;
    courses::insert(tx, &[new], &by, now).await?;
    failpoint::reach("settle.after_deed").await;
    credits::post(tx, &[written]).await?;
    failpoint::reach("settle.after_post").await;
    let standing = match settling {
        Settling::Offer => Standing::Waiting,
        Settling::Unclaim => Standing::Unclaimed,
        Settling::Pay(_) => Standing::Paid,
    };
    let settled = Settled { credit: credit_name(credit.id), standing: standing.name(), amount: open.gross, at: now };
    once.finish(201, &settled).await
}

/// What is held of it. Refuses what is not with finance, and what is there but set aside already.
fn held(course: &Course, settling: &Settling) -> Result<Amounts, Refusal> {
    let broken = crate::domain::course::broken;
    let open = course.open().map_err(broken)?;
    let fits = match (course.place, settling) {
        (Place::Billing, _) | (Place::Unclaimed, Settling::Unclaim) => false,
        (Place::Held, _) | (Place::Unclaimed, Settling::Offer | Settling::Pay(_)) => true,
    };
    if fits && open.gross.is_positive() {
        return Ok(open);
    }
    let standing = course.standing().map_err(broken)?.name();
    let detail =
        format!("This credit is {standing}. Only what billing refused is with finance, and can be settled so.");
    Err(Refusal::new(Code::WrongState, detail))
}

fn payment(reference: &str) -> Result<String, Refusal> {
    let reference = reference.trim();
    if reference.is_empty() || reference.len() > 100 || reference.chars().any(char::is_control) {
        return Err(Refusal::field("/reference", "name the payment, in 1 to 100 characters"));
    }
    Ok(reference.to_owned())
}

async fn written(
    tx: &mut Tx,
    credit: &Credit,
    course: &Course,
    open: Amounts,
    settling: &Settling,
    no: i32,
    order: &Order<'_>,
) -> Result<Entry, Error> {
    let from = course.place.code();
    let (postings, item) = match settling {
        Settling::Offer => (books::offered(from, open.gross), Some(("offer", offer_body(tx, credit, open, no).await?))),
        Settling::Unclaim => (books::unclaimed(open.gross), None),
        Settling::Pay(_) => {
            let damaged = |error| Error::Corrupt(format!("credit {}: {error}", credit.id));
            (books::paid(from, parts(credit, open)).map_err(damaged)?, None)
        }
    };
    Ok(Entry {
        postings,
        action: settling.action(),
        detail: json!({ "gross_minor": open.gross.minor(), "from": from.name() }).to_string(),
        item,
        ..entry(credit, format!("{}:{no}", settling.kind().name()), order)
    })
}

/// What billing was told when the credit was issued, with what is open now and the account as it is addressed now.
async fn offer_body(tx: &mut Tx, credit: &Credit, open: Amounts, no: i32) -> Result<String, Error> {
    let missing = || Error::Corrupt(format!("the feed has no item for credit {}", credit.id));
    let mut body = courses::told(tx, feed::LANE, credit.id).await?.ok_or_else(missing)?;
    let addressee = credits::addressee(tx, credit.account).await?;
    let bill_to = addressee.bill_to.unwrap_or_else(|| addressee.reference.clone());
    let fields = body.as_object_mut().ok_or_else(missing)?;
    for (name, value) in [
        ("account", json!(addressee.reference)),
        ("bill_to", json!(bill_to)),
        ("gross", json!(open.gross.digits())),
        ("net", json!(open.net.digits())),
        ("tax", json!(open.tax.digits())),
        ("step", json!(no)),
    ] {
        fields.insert(name.to_owned(), value);
    }
    Ok(canonical(&body))
}
