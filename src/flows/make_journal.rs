//! Finance takes a period's new postings as a numbered batch for its own system.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::note_refusal;
use super::once::{Answer, Begun, IdempotencyKey, Once};
use crate::domain::actor::{Actor, Role};
use crate::domain::journal;
use crate::domain::money::{Currency, Money};
use crate::domain::period::Month;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::Instant;
use crate::failpoint;
use crate::store::journals::{self, Batch};
use crate::store::{Error, audit, chart, feed, ledger, lock_account};

#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MakeJournal {
    #[schema(value_type = String, example = "2026-10")]
    pub period: Month,
}

/// A batch without its file.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct JournalBatch {
    /// Batches are numbered from 1 on, without gaps.
    #[schema(example = 7)]
    pub no: i64,
    #[schema(value_type = String, example = "2026-10")]
    pub period: Month,
    pub transfers: i64,
    pub totals: Vec<JournalTotal>,
    /// Of the file, in hex.
    pub sha256: String,
    /// The version of the chart whose codes it carries; 0 where none was recorded yet.
    pub chart_version: i32,
    #[schema(value_type = String)]
    pub made_at: Instant,
    pub made_by: String,
}

/// What a batch comes to in one currency.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct JournalTotal {
    #[schema(example = "NZD")]
    pub currency: String,
    #[schema(example = "28.26")]
    pub debit: String,
    #[schema(example = "28.26")]
    pub credit: String,
}

impl JournalBatch {
    pub fn new(batch: &Batch) -> Result<Self, Error> {
        let damaged = || Error::Corrupt(format!("journal_batch.totals of {}", batch.no));
        let total = |(currency, minor): (&String, &Value)| {
            let known: Currency = currency.parse().map_err(|_| damaged())?;
            let amount = minor.as_i64().and_then(|minor| Money::from_minor(minor, known).ok()).ok_or_else(damaged)?;
            Ok(JournalTotal { currency: currency.clone(), debit: amount.digits(), credit: amount.digits() })
        };
        let totals = batch.totals.as_object().ok_or_else(damaged)?.iter().map(total).collect::<Result<_, Error>>()?;
        Ok(JournalBatch {
            no: batch.no,
            period: batch.period,
            transfers: batch.transfers,
            totals,
            sha256: hex::encode(&batch.hash),
            chart_version: batch.chart_version,
            made_at: batch.made_at,
            made_by: batch.made_by.clone(),
        })
    }
}

/// Makes the next batch of everything that took effect in the period and stands in the chain, and in no batch yet. Refused where
/// that is nothing.
pub async fn make_journal(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    key: &IdempotencyKey,
    request: MakeJournal,
) -> Result<Answer, Error> {
    let period = request.period;
    if !actor.has(Role::Finance) {
        let refusal = Refusal::new(Code::Forbidden, "To make a journal batch needs the role finance.");
        let subject = period.to_string();
        note_refusal(pool, audit::NO_ACCOUNT, actor, "journal.make", &subject, &refusal, now).await?;
        return Err(refusal.into());
    }
    let mut once = match Once::begin(pool, actor, key, now).await? {
        Begun::Replay(answer) => return Ok(answer),
        Begun::New(once) => once,
    };
    let tx = once.tx();
    // One batch after the other: the numbers have no gap, and no stretch of the chain is in two.
    lock_account(tx, audit::NO_ACCOUNT).await?;
    let (last, after) = journals::newest(tx, period).await?;
    let through = feed::head(tx, feed::LANE).await?.chain_no;
    let (chart_version, chart) = chart::newest(tx).await?;
    let sums = ledger::journal_sums(tx, feed::LANE, (after, through), period).await?;
    let no = last + 1;
    let broken = |error| Error::Corrupt(format!("journal batch {no}: {error}"));
    let Some(file) = journal::file(no, period, &chart, &sums).map_err(broken)? else {
        let detail = format!("Nothing was posted into {period} since its last batch.");
        return Err(Refusal::new(Code::WrongState, detail).into());
    };
    let totals = file.totals.iter().map(|(currency, total)| (currency.code().to_owned(), json!(total.minor())));
    let batch = Batch {
        no,
        period,
        stretch: (after, through),
        chart_version,
        transfers: file.transfers,
        totals: Value::Object(totals.collect()),
        body: file.body,
        hash: file.hash.to_vec(),
        made_at: now,
        made_by: actor.key(),
    };
    failpoint::reach("journal.before_batch").await;
    journals::insert(tx, &batch).await?;
    failpoint::reach("journal.after_batch").await;
    let detail = json!({ "period": period, "transfers": batch.transfers, "sha256": hex::encode(file.hash) });
    let (account, action, subject) = (audit::NO_ACCOUNT, "journal.make", no.to_string());
    audit::record(tx, &audit::Entry { account, actor, action, subject: &subject, detail, at: now }).await?;
    once.finish(201, &JournalBatch::new(&batch)?).await
}
