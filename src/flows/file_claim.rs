//! A customer asks: by web form, by API, or through an agent.

use chrono::Datelike;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgPool;

use super::once::{Answer, Begun, IdempotencyKey, Once};
use crate::domain::actor::{Actor, Role};
use crate::domain::claim::{Claim, Ground, State};
use crate::domain::ids::{AccountId, ClaimId};
use crate::domain::money::Money;
use crate::domain::operator::Operator;
use crate::domain::refusal::{Code, FieldError, Refusal};
use crate::domain::time::{Instant, SECOND};
use crate::store::{Error, Tx, audit, claims, lock_account, operator};

/// What is asked. The account is the customer's own; nothing here says who, when or how much is given.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FileClaim {
    /// The operator's reference of the account.
    #[schema(example = "20418876")]
    pub account: String,
    pub ground: Ground,
    /// The outage that it is about, where one is known.
    #[serde(default)]
    #[schema(example = "INC-2026-031")]
    pub incident: Option<String>,
    /// What it stopped the business doing, or what is wrong with the record: 10 to 4,000 characters.
    #[schema(example = "We could not get the arrival notices we needed and paid demurrage on two containers.")]
    pub words: String,
    /// How much is asked for, as digits in the account's currency, tax included. May be left out.
    #[serde(default)]
    #[schema(example = "480.00")]
    pub amount: Option<String>,
    /// How to tell the decision: `email` or `phone`.
    #[serde(default = "email")]
    #[schema(example = "email")]
    pub contact: String,
}

fn email() -> String {
    "email".to_owned()
}

/// A claim that was filed.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Filed {
    /// What to call it, in letters and on the phone.
    #[schema(example = "MG-2026-004187")]
    pub id: String,
    #[schema(example = "20418876")]
    pub account: String,
    pub state: State,
    #[schema(example = 1)]
    pub version: i32,
    #[schema(value_type = String, example = "2026-11-19T20:12:00Z")]
    pub filed_at: Instant,
    /// When it is decided at the latest.
    #[schema(value_type = String, example = "2026-12-04T04:00:00Z")]
    pub due_at: Instant,
}

/// Files the claim. A customer files for an account of theirs; an agent for any, and then may not decide it.
pub async fn file_claim(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    key: &IdempotencyKey,
    request: FileClaim,
) -> Result<Answer, Error> {
    let account = account_of(actor, &request.account)?;
    let mut once = match Once::begin(pool, actor, key, now).await? {
        Begun::Replay(answer) => return Ok(answer),
        Begun::New(once) => once,
    };
    let operator = {
        let tx = once.tx();
        if !lock_account(tx, account).await? {
            return Err(Refusal::not_found("account", &request.account).into());
        }
        operator::get(tx).await?
    };
    let claim = read(&request, account, actor, key, &operator, now)?;
    let claim = save(once.tx(), claim, &operator, &request.contact, actor, now).await?;
    let filed = Filed {
        id: claim.reference,
        account: request.account,
        state: claim.state,
        version: claim.version,
        filed_at: claim.filed_at,
        due_at: claim.due_at,
    };
    once.finish(201, &filed).await
}

fn account_of(actor: &Actor, reference: &str) -> Result<AccountId, Refusal> {
    if actor.has_any(&[Role::Agent, Role::Supervisor]) {
        return Ok(AccountId::of(reference));
    }
    actor.own_account(reference).ok_or_else(|| Refusal::not_found("account", reference))
}

fn read(
    request: &FileClaim,
    account: AccountId,
    actor: &Actor,
    key: &IdempotencyKey,
    operator: &Operator,
    now: Instant,
) -> Result<Claim, Refusal> {
    let asked = check(request, operator)?;
    let incident = request.incident.as_deref().map(str::trim).filter(|incident| !incident.is_empty());
    Ok(Claim {
        id: ClaimId::of(account, &format!("{}|{}", actor.key(), key.key)),
        account,
        reference: String::new(),
        version: 1,
        state: State::Submitted,
        ground: request.ground,
        incident: incident.map(str::to_owned),
        words: request.words.trim().to_owned(),
        asked,
        filed_by: actor.key(),
        filed_at: now,
        due_at: now.plus(i64::from(operator.claim_due_seconds) * SECOND),
        recommendation: None,
        decision: None,
    })
}

/// What is wrong with the fields, all of it at once; else the amount that is asked for.
pub fn check(request: &FileClaim, operator: &Operator) -> Result<Option<Money>, Refusal> {
    let mut errors = Vec::new();
    let mut wrong = |pointer: &str, message: String| errors.push(FieldError { pointer: pointer.to_owned(), message });
    let words = request.words.trim();
    if has_controls(words) {
        wrong("/words", "Leave out control characters".to_owned());
    }
    match words.chars().count() {
        0..10 => wrong("/words", "Tell us what the outage stopped you doing".to_owned()),
        10..=4_000 => {}
        _ => wrong("/words", "At most 4,000 characters".to_owned()),
    }
    let asked = match request.amount.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => match Money::parse(text, operator.currency) {
            Ok(amount) if amount.is_positive() => Some(amount),
            Ok(_) => {
                wrong("/amount", "Amount must be $0.01 or more".to_owned());
                None
            }
            Err(_) => {
                wrong("/amount", "Amount must be a number, like 480 or 480.50".to_owned());
                None
            }
        },
    };
    if asked.is_some_and(|amount| amount.minor() > 1_000_000_000) {
        wrong("/amount", "The amount is too large".to_owned());
    }
    if !["email", "phone"].contains(&request.contact.as_str()) {
        wrong("/contact", "Choose email or phone".to_owned());
    }
    let incident = request.incident.as_deref().map(str::trim).filter(|incident| !incident.is_empty());
    if incident.is_some_and(|incident| incident.len() > 40 || has_controls(incident)) {
        wrong("/incident", "This is not an outage of ours; leave it out if you do not know it".to_owned());
    }
    if !errors.is_empty() {
        return Err(Refusal::invalid(errors));
    }
    Ok(asked)
}

/// Whether free text holds what nobody types: control characters other than line breaks and tabs.
pub(super) fn has_controls(text: &str) -> bool {
    text.chars().any(|c| c.is_control() && c != '\n' && c != '\r' && c != '\t')
}

async fn save(
    tx: &mut Tx,
    mut claim: Claim,
    operator: &Operator,
    contact: &str,
    actor: &Actor,
    now: Instant,
) -> Result<Claim, Error> {
    let number = claims::next_number(tx).await?;
    claim.reference = format!("MG-{}-{number:06}", operator.zone.local(now).year());
    if !claims::insert(tx, &claim, operator.currency, contact).await? {
        let open = claims::of_accounts(tx, &[claim.account]).await?;
        let there = open.iter().find(|other| other.state.is_open() && other.incident == claim.incident);
        let reference = there.map_or("", |other| other.reference.as_str());
        let detail = format!("You already have a claim for this outage: {reference}");
        return Err(Refusal::new(Code::ClaimExists, detail).into());
    }
    claims::record(tx, &claim, "submit", actor, claim.asked, now).await?;
    audit::record(
        tx,
        &audit::Entry {
            account: claim.account,
            actor,
            action: "claim.submit",
            subject: &claim.reference,
            // An agent files for the customer whose account it is.
            detail: json!({
                "ground": claim.ground.name(), "asked_minor": claim.asked.map(Money::minor),
                "on_behalf_of": actor.has(Role::Agent).then(|| format!("account:{}", claim.account)),
            }),
            at: now,
        },
    )
    .await?;
    Ok(claim)
}
