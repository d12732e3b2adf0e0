//! Finance closes an accounting period: one begins, which keeps postings out and sets aside what is still to come; another
//! locks it by signing the trial balance.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::{PgConnection, PgPool};

use super::apply_credit_run::REASON;
use super::note_refusal;
use super::once::{Answer, Begun, IdempotencyKey, Once};
use crate::domain::accounting::{self, Line, PeriodState, may_close, may_lock};
use crate::domain::actor::{Actor, Role};
use crate::domain::books::{self, Code as Account};
use crate::domain::chart::Chart;
use crate::domain::credit::Road;
use crate::domain::money::{Currency, Money};
use crate::domain::operator::Operator;
use crate::domain::period::Month;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::Instant;
use crate::failpoint;
use crate::store::accounting::{OpenClaim, Provision, Step};
use crate::store::credits::{Entry, post};
use crate::store::{Error, accounting as store, audit, books as balances, chart, lock_account, money, operator};

/// The next step of a period.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClosePeriod {
    #[schema(value_type = String, example = "2026-10")]
    pub period: Month,
    /// `closing`, then `locked`.
    pub to: PeriodState,
    /// `locked`: the hash of the trial balance, as it is shown while the period is closing.
    #[serde(default)]
    pub trial_balance_hash: Option<String>,
}

/// A period as it stands.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Period {
    #[schema(value_type = String, example = "2026-10")]
    pub period: Month,
    pub state: PeriodState,
    #[schema(value_type = Option<String>)]
    pub closing_at: Option<Instant>,
    pub closing_by: Option<String>,
    #[schema(value_type = Option<String>)]
    pub locked_at: Option<Instant>,
    pub locked_by: Option<String>,
    /// SHA-256 over the trial balance up to its last day; none while it is open.
    pub trial_balance_hash: Option<String>,
    /// What was set aside when it closed, and taken back on the first day of the next period.
    pub provisions: Vec<ProvisionTotal>,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ProvisionTotal {
    /// SLA, GOODWILL or COMPENSATION.
    #[schema(example = "SLA")]
    pub account: String,
    #[schema(example = "NZD")]
    pub currency: String,
    /// Without tax.
    #[schema(example = "1240.50")]
    pub amount: String,
    pub items: i64,
}

/// Takes the next step of a period, once.
pub async fn close_period(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    key: &IdempotencyKey,
    request: ClosePeriod,
) -> Result<Answer, Error> {
    let period = request.period;
    let action = match request.to {
        PeriodState::Closing => "period.close",
        PeriodState::Locked => "period.lock",
        PeriodState::Open => return Err(Refusal::field("/to", "a period that closes is not opened again").into()),
    };
    let subject = period.to_string();
    if !actor.has(Role::Finance) {
        let refusal = Refusal::new(Code::Forbidden, "To close a period needs the role finance.");
        note_refusal(pool, audit::NO_ACCOUNT, actor, action, &subject, &refusal, now).await?;
        return Err(refusal.into());
    }
    let mut once = match Once::begin(pool, actor, key, now).await? {
        Begun::Replay(answer) => return Ok(answer),
        Begun::New(once) => once,
    };
    let tx = once.tx();
    lock_account(tx, audit::NO_ACCOUNT).await?;
    let detail = match request.to {
        PeriodState::Closing | PeriodState::Open => begin_closing(tx, period, actor, now).await?,
        PeriodState::Locked => {
            let steps = store::steps(tx).await?;
            let hash = trial_balance_hash(tx, period).await?;
            let checked = check_lock(&steps, period, actor, &hash, &request);
            let closed = match checked {
                Ok(closed) => closed,
                Err(refusal) => {
                    drop(once);
                    note_refusal(pool, audit::NO_ACCOUNT, actor, action, &subject, &refusal, now).await?;
                    return Err(refusal.into());
                }
            };
            store::insert_step(
                tx,
                &step(period, PeriodState::Locked, actor, &closed.by, now, Some(hash.to_vec()), None),
            )
            .await?;
            json!({ "trial_balance_hash": hex::encode(hash) })
        }
    };
    audit::record(tx, &audit::Entry { account: audit::NO_ACCOUNT, actor, action, subject: &subject, detail, at: now })
        .await?;
    let found = closed_periods(tx).await?.into_iter().find(|one| one.period == period);
    let found = found.ok_or_else(|| Error::Corrupt(format!("accounting_step has no row for {period}")))?;
    once.finish(200, &found).await
}

/// Keeps postings out of the period, after setting aside what is still to come.
async fn begin_closing(
    conn: &mut PgConnection,
    period: Month,
    actor: &Actor,
    now: Instant,
) -> Result<serde_json::Value, Error> {
    let operator = operator::get(conn).await?;
    let steps = store::steps(conn).await?;
    may_close(period, steps.first().map(|step| (step.period, step.state)), now, operator.zone)?;
    store::freeze(conn).await?;
    let (_, chart) = chart::newest(conn).await?;
    let provisions = provisions(conn, period, &operator, &chart).await?;
    failpoint::reach("close.before_provisions").await;
    store::insert_provisions(conn, period, &provisions).await?;
    failpoint::reach("close.after_provisions").await;
    let document = accounting::provision_document(period);
    let posted = set_aside(conn, period, &provisions, actor, now).await?;
    failpoint::reach("close.after_postings").await;
    let document = posted.then_some(document);
    store::insert_step(conn, &step(period, PeriodState::Closing, actor, &actor.key(), now, None, document)).await?;
    failpoint::reach("close.before_opening").await;
    store::open_on(conn, period.next().first_day()).await?;
    failpoint::reach("close.after_opening").await;
    Ok(json!({ "provisions": provisions.len() }))
}

fn step(
    period: Month,
    state: PeriodState,
    actor: &Actor,
    closed_by: &str,
    at: Instant,
    balance_hash: Option<Vec<u8>>,
    document: Option<uuid::Uuid>,
) -> Step {
    let closed_by = closed_by.to_owned();
    Step { period, state, at, by: actor.key(), by_name: actor.name.clone(), closed_by, balance_hash, document }
}

/// What is open at the end of the period and not in the books: sums that terms pay and nobody credited, and claims that are not
/// answered or not posted. Without tax.
async fn provisions(
    conn: &mut PgConnection,
    period: Month,
    operator: &Operator,
    chart: &Chart,
) -> Result<Vec<Provision>, Error> {
    let mut found = Vec::new();
    let rule = chart.rule(Road::Contract, REASON, &operator.tax);
    let against = chart.account(Road::Contract, REASON);
    for open in store::open_promises(conn, period).await? {
        let gross = money(open.minor, &open.currency, "assessment.amount_minor")?;
        let net = rule.split(gross).map_err(|error| Error::Corrupt(format!("assessment: {error}")))?.net;
        if net.is_positive() {
            found.push(Provision {
                account_id: open.account_id,
                cause: format!("contract:{}:{}", open.subscription_id, open.period),
                code: against.name().to_owned(),
                currency: open.currency,
                amount_minor: net.minor(),
            });
        }
    }
    for claim in store::open_claims(conn, period.interval(operator.zone).end()).await? {
        let Some((amount, reason)) = estimate(&claim)? else { continue };
        let rule = chart.rule(Road::Claim, reason, &operator.tax);
        let net = rule.split(amount).map_err(|error| Error::Corrupt(format!("claim: {error}")))?.net;
        if net.is_positive() {
            found.push(Provision {
                account_id: claim.account.0,
                cause: format!("claim:{}", claim.claim),
                code: chart.account(Road::Claim, reason).name().to_owned(),
                currency: claim.currency,
                amount_minor: net.minor(),
            });
        }
    }
    Ok(found)
}

/// What a claim may cost: what was decided, else recommended, else asked. A claim that names no figure is not estimated.
fn estimate(claim: &OpenClaim) -> Result<Option<(Money, &'static str)>, Error> {
    let decided = claim.decision.as_ref().map(|decision| &decision.opinion);
    match (decided.or(claim.recommendation.as_ref()), claim.asked_minor) {
        (Some(opinion), _) => Ok(Some((opinion.amount, opinion.reason.name()))),
        (None, Some(minor)) => Ok(Some((money(minor, &claim.currency, "claim.asked_minor")?, ""))),
        (None, None) => Ok(None),
    }
}

/// Posts the sums on the last day of the period, and their mirror on the first day of the next; false where there is nothing.
async fn set_aside(
    conn: &mut PgConnection,
    period: Month,
    provisions: &[Provision],
    actor: &Actor,
    now: Instant,
) -> Result<bool, Error> {
    let mut sums: BTreeMap<(Account, Currency), Money> = BTreeMap::new();
    for one in provisions {
        let damaged = || Error::Corrupt(format!("provision.code of {}", one.cause));
        let code = Account::parse(&one.code).ok_or_else(damaged)?;
        let amount = money(one.amount_minor, &one.currency, "provision.amount_minor")?;
        let sum = sums.entry((code, amount.currency())).or_insert(Money::zero(amount.currency()));
        *sum = sum.plus(amount).map_err(|error| Error::Corrupt(format!("provisions of {period}: {error}")))?;
    }
    let entry = |event: &str, action, effective_on, postings| Entry {
        account: audit::NO_ACCOUNT,
        document: accounting::provision_document(period),
        event: event.to_owned(),
        postings,
        reason: "provision".to_owned(),
        effective_on,
        recorded_at: now,
        actor: actor.key(),
        action,
        detail: json!({ "period": period }).to_string(),
        item: None,
    };
    let there = sums.iter().flat_map(|((code, _), sum)| books::provided(*code, *sum)).collect();
    let back = sums.iter().flat_map(|((code, _), sum)| books::released(*code, *sum)).collect();
    if sums.is_empty() {
        return Ok(false);
    }
    let entries = [
        entry("provided", "period.provide", period.last_day(), there),
        entry("released", "period.release", period.next().first_day(), back),
    ];
    post(conn, &entries).await?;
    Ok(true)
}

/// Who may lock it, after the state: the step that began to close it.
fn check_lock<'a>(
    steps: &'a [Step],
    period: Month,
    actor: &Actor,
    hash: &[u8; 32],
    request: &ClosePeriod,
) -> Result<&'a Step, Refusal> {
    let of = |state| steps.iter().find(|step| step.period == period && step.state == state);
    if of(PeriodState::Locked).is_some() {
        return Err(Refusal::new(Code::WrongState, format!("{period} is locked already.")));
    }
    let closing = of(PeriodState::Closing).ok_or_else(|| {
        Refusal::new(
            Code::WrongState,
            format!("{period} is open: move it to closing first, and look at its trial balance."),
        )
    })?;
    may_lock(actor, &closing.by, hash, request.trial_balance_hash.as_deref().unwrap_or_default())?;
    Ok(closing)
}

/// The hash of the trial balance of everything that is effective up to the period's last day.
pub async fn trial_balance_hash(conn: &mut PgConnection, period: Month) -> Result<[u8; 32], Error> {
    let rows = balances::trial_balance(conn, period.last_day(), Instant::MAX.utc()).await?;
    let lines: Vec<Line<'_>> = rows
        .iter()
        .map(|row| Line {
            account: &row.code,
            currency: &row.currency,
            debit_minor: row.debit_minor,
            credit_minor: row.credit_minor,
        })
        .collect();
    Ok(accounting::balance_hash(period, &lines))
}

/// The periods that are not open any more, the newest first.
pub async fn closed_periods(conn: &mut PgConnection) -> Result<Vec<Period>, Error> {
    let steps = store::steps(conn).await?;
    let sums = store::provision_sums(conn).await?;
    let mut found = Vec::new();
    for closing in steps.iter().filter(|step| step.state == PeriodState::Closing) {
        let period = closing.period;
        let locked = steps.iter().find(|step| step.period == period && step.state == PeriodState::Locked);
        let hash = match locked.and_then(|step| step.balance_hash.clone()) {
            Some(signed) => signed,
            None => trial_balance_hash(conn, period).await?.to_vec(),
        };
        let name = period.to_string();
        let provisions = sums
            .iter()
            .filter(|sum| sum.period == name)
            .map(|sum| {
                let amount = money(sum.minor, &sum.currency, "provision.amount_minor")?;
                let (account, currency) = (sum.code.clone(), sum.currency.clone());
                Ok(ProvisionTotal { account, currency, amount: amount.digits(), items: sum.items })
            })
            .collect::<Result<_, Error>>()?;
        found.push(Period {
            period,
            state: if locked.is_some() { PeriodState::Locked } else { PeriodState::Closing },
            closing_at: Some(closing.at),
            closing_by: Some(closing.by_name.clone()),
            locked_at: locked.map(|step| step.at),
            locked_by: locked.map(|step| step.by_name.clone()),
            trial_balance_hash: Some(hex::encode(hash)),
            provisions,
        });
    }
    Ok(found)
}
