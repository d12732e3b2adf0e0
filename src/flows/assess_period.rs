//! A period is computed: every account that a window touched, against its terms, as recorded at one time.

use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgPool;

use crate::domain::actor::Actor;
use crate::domain::assessment::{Blocker, Outcome};
use crate::domain::ids::AccountId;
use crate::domain::money::Money;
use crate::domain::period::Month;
use crate::domain::receipt::Receipt;
use crate::domain::terms::Payment;
use crate::domain::time::Instant;
use crate::store::assessments::Assessed;
use crate::store::inputs::{Evidence, Loaded};
use crate::store::{Error, accounts, assessments, audit, evidence, inputs, operator};

/// How many accounts are loaded at once.
const BATCH: i64 = 2_000;

/// What a computing found.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PeriodAssessed {
    #[schema(value_type = String, example = "2026-10")]
    pub period: Month,
    /// The evidence is the one that was recorded up to here.
    #[schema(value_type = String)]
    pub recorded_as_of: Instant,
    /// Accounts that were looked at.
    pub accounts: i64,
}

/// Computes `period` from what is recorded now. Done twice over the same evidence, the second time finds it done.
pub async fn assess_period(pool: &PgPool, now: Instant, actor: &Actor, period: Month) -> Result<PeriodAssessed, Error> {
    let mut tx = pool.begin().await?;
    let operator = operator::get(&mut tx).await?;
    let as_of = evidence::settled(&mut tx).await?;
    if let Some(accounts) = assessments::finished_assessment(&mut tx, period, as_of).await? {
        return Ok(PeriodAssessed { period, recorded_as_of: as_of, accounts });
    }
    assessments::begin_assessment(&mut tx, period, as_of).await?;
    tx.commit().await?;
    let mut conn = pool.acquire().await?;
    let shared = Evidence::load(&mut conn, &operator, period, as_of, now).await?;
    drop(conn);
    let (mut seen, mut after) = (0, None);
    loop {
        match assess_batch(pool, &shared, after).await? {
            Batch::Done { count, last } => {
                seen += count;
                after = Some(last);
            }
            Batch::End => break,
            // Somebody else, who computed the same at the same time, was faster.
            Batch::Finished { accounts } => return Ok(PeriodAssessed { period, recorded_as_of: as_of, accounts }),
        }
    }
    let mut tx = pool.begin().await?;
    if !assessments::lock_unfinished(&mut tx, period, as_of).await? {
        return Ok(PeriodAssessed { period, recorded_as_of: as_of, accounts: seen });
    }
    assessments::finish_assessment(&mut tx, period, as_of, seen, now).await?;
    audit::record(
        &mut tx,
        &audit::Entry {
            account: audit::NO_ACCOUNT,
            actor,
            action: "period.assess",
            subject: &period.to_string(),
            detail: json!({ "recorded_as_of": as_of, "accounts": seen }),
            at: now,
        },
    )
    .await?;
    tx.commit().await?;
    Ok(PeriodAssessed { period, recorded_as_of: as_of, accounts: seen })
}

/// What became of one batch.
enum Batch {
    Done {
        count: i64,
        last: AccountId,
    },
    /// There are no more accounts.
    End,
    /// The computing was finished meanwhile.
    Finished {
        accounts: i64,
    },
}

/// One batch in a transaction of its own. It replaces what was computed for its accounts before, so that whoever computes
/// the same at the same time, and whoever crashed at it, leaves whole batches and nothing else.
async fn assess_batch(pool: &PgPool, shared: &Evidence, after: Option<AccountId>) -> Result<Batch, Error> {
    let mut tx = pool.begin().await?;
    let (period, as_of) = (shared.period, shared.recorded_as_of);
    let batch = accounts::page(&mut tx, after, BATCH, Some(as_of)).await?;
    let Some(last) = batch.last().map(|account| account.id) else { return Ok(Batch::End) };
    let loaded = inputs::load(&mut tx, shared, &batch).await?;
    let mut rows = Vec::new();
    for one in loaded {
        rows.extend(assessed(one)?);
    }
    if !assessments::lock_unfinished(&mut tx, period, as_of).await? {
        let accounts = assessments::finished_assessment(&mut tx, period, as_of).await?.unwrap_or_default();
        return Ok(Batch::Finished { accounts });
    }
    let ids: Vec<uuid::Uuid> = batch.iter().map(|account| account.id.0).collect();
    assessments::clear_assessed(&mut tx, period, as_of, &ids).await?;
    assessments::insert_assessed(&mut tx, period, as_of, &rows).await?;
    tx.commit().await?;
    Ok(Batch::Done { count: i64::try_from(batch.len()).unwrap_or(i64::MAX), last })
}

/// The row to keep: none where nothing counted and nothing stands in the way.
fn assessed(one: Loaded) -> Result<Option<Assessed>, Error> {
    let currency = one.currency;
    let Some(inputs) = one.inputs else {
        return Ok(Some(Assessed {
            account: one.account,
            subscription: one.subscription,
            plan: one.plan,
            terms_version: 0,
            promise: "availability".to_owned(),
            counted_micros: 0,
            mailboxes: 0,
            affected_mailboxes: 0,
            amount: None,
            currency: currency.code().to_owned(),
            blockers: one.blockers,
            inputs_hash: [0; 32],
        }));
    };
    let agreement = inputs.agreement();
    let terms_version = agreement.map_or(0, |agreement| agreement.terms_version);
    let promise = agreement.map_or_else(|| "availability".to_owned(), |agreement| agreement.terms.promise.clone());
    let payment = agreement.map(|agreement| agreement.terms.payment);
    let receipt = Receipt::of(inputs)
        .map_err(|error| Error::Corrupt(format!("account {} cannot be assessed: {error}", one.account)))?;
    let sum = &receipt.assessment;
    let counted_micros = sum.counted_micros();
    let total = sum.headline().map(|strand| &strand.total);
    let mut blockers = one.blockers;
    blockers.extend(sum.blockers.iter().filter(|blocker| stands_in_the_way(blocker, counted_micros)).map(reason));
    let is_credit = matches!(sum.outcome, Outcome::Credit { .. });
    if is_credit && payment != Some(Payment::Automatic) {
        blockers.push("on_request".to_owned());
    }
    if counted_micros == 0 && !is_credit && blockers.is_empty() {
        return Ok(None);
    }
    let mut inputs_hash = [0; 32];
    hex::decode_to_slice(&receipt.inputs_hash, &mut inputs_hash)
        .map_err(|_| Error::Corrupt("a receipt's hash is not 32 bytes".to_owned()))?;
    Ok(Some(Assessed {
        account: one.account,
        subscription: one.subscription,
        plan: one.plan,
        terms_version,
        promise,
        counted_micros,
        mailboxes: total.map_or(0, |total| count(total.mailboxes)),
        affected_mailboxes: total.map_or(0, |total| count(total.affected)),
        amount: match &sum.outcome {
            Outcome::Credit { amount } => Some(*amount),
            Outcome::ServiceDays { .. } | Outcome::NothingDue { .. } => Some(Money::zero(currency)),
        },
        currency: currency.code().to_owned(),
        blockers,
        inputs_hash,
    }))
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Where nothing counted, what was charged does not matter.
pub fn stands_in_the_way(blocker: &Blocker, counted_micros: i64) -> bool {
    match blocker {
        Blocker::MissingCharge { .. } | Blocker::ChargesOverlap { .. } => counted_micros > 0,
        Blocker::PeriodNotOver { .. }
        | Blocker::WindowOpen { .. }
        | Blocker::WindowNotConfirmed { .. }
        | Blocker::WindowDisputed { .. }
        | Blocker::WindowUnknown { .. }
        | Blocker::ContestedPlacement { .. }
        | Blocker::TermsMissing { .. }
        | Blocker::HistoryMissing
        | Blocker::CalendarMissing { .. } => true,
    }
}

/// A blocker as a stable word, and after a colon what it is about.
pub fn reason(blocker: &Blocker) -> String {
    match blocker {
        Blocker::PeriodNotOver { ends } => format!("period_not_over:{ends}"),
        Blocker::WindowOpen { window } => format!("window_open:{window}"),
        Blocker::WindowNotConfirmed { window } => format!("window_not_confirmed:{window}"),
        Blocker::WindowDisputed { window } => format!("window_disputed:{window}"),
        Blocker::WindowUnknown { window } => format!("window_unknown:{window}"),
        Blocker::ContestedPlacement { mailbox } => format!("contested_placement:{mailbox}"),
        Blocker::MissingCharge { from, to } => format!("missing_charge:{from}/{to}"),
        Blocker::ChargesOverlap { numbers } => format!("charges_overlap:{}", numbers.join(",")),
        Blocker::TermsMissing { plan } => format!("terms_missing:{plan}"),
        Blocker::HistoryMissing => "history_missing".to_owned(),
        Blocker::CalendarMissing { calendar } => format!("calendar_missing:{calendar}"),
    }
}
