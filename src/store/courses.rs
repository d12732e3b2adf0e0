//! What happened to credits after they were issued: billing's answers and people's deeds, in one order.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::credits::Credit;
use super::evidence::instant;
use super::{Error, money};
use crate::domain::course::{Course, Deed, DeedKind, Step};
use crate::domain::credit::Amounts;
use crate::domain::feed::{AnswerKind, Answered};
use crate::domain::ids::{AccountId, CreditId};
use crate::domain::time::Instant;

/// A step with the time at which it was recorded.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub step: Step,
    pub at: Instant,
}

#[derive(sqlx::FromRow)]
struct StepRow {
    credit_id: Uuid,
    is_answer: bool,
    kind: String,
    reference: String,
    happened_on: NaiveDate,
    currency: String,
    gross_minor: i64,
    net_minor: i64,
    tax_minor: i64,
    reason: String,
    round: i32,
    rounding_minor: i64,
    supersedes: Option<String>,
    op: Option<String>,
    recorded_at: DateTime<Utc>,
}

impl StepRow {
    fn recorded(self) -> Result<Recorded, Error> {
        let column = if self.is_answer { "billing_answer" } else { "credit_deed" };
        let amount = |minor| money(minor, &self.currency, column);
        let amounts =
            Amounts { gross: amount(self.gross_minor)?, net: amount(self.net_minor)?, tax: amount(self.tax_minor)? };
        let unknown = || Error::Corrupt(format!("{column}.kind {}", self.kind));
        let step = if self.is_answer {
            Step::Answered(Answered {
                kind: AnswerKind::parse(&self.kind).ok_or_else(unknown)?,
                round: self.round,
                on: self.happened_on,
                amounts,
                rounding: amount(self.rounding_minor)?,
                reference: self.reference,
                supersedes: self.supersedes,
            })
        } else {
            Step::Done(Deed {
                kind: DeedKind::parse(&self.kind).ok_or_else(unknown)?,
                amounts,
                reason: self.reason,
                reference: self.reference,
                on: self.happened_on,
                is_cancel: self.op.as_deref() == Some("cancel"),
            })
        };
        Ok(Recorded { step, at: instant(self.recorded_at, "the recorded time of a step")? })
    }
}

/// The steps of these credits, each in their order; pairs by position. A credit to which nothing happened is not among them.
pub async fn steps(
    conn: &mut PgConnection,
    accounts: &[Uuid],
    credits: &[Uuid],
) -> Result<HashMap<CreditId, Vec<Recorded>>, Error> {
    let rows: Vec<StepRow> = sqlx::query_as(
        r"SELECT step.credit_id, is_answer, kind, reference, happened_on, credit.currency, step.gross_minor, step.net_minor,
                 step.tax_minor, step.reason, round, rounding_minor, supersedes, op, recorded_at
          FROM (SELECT account_id, credit_id, answer_no AS step_no, true AS is_answer, kind, reference, answered_on AS happened_on,
                       gross_minor, net_minor, tax_minor, '' AS reason, round, rounding_minor, supersedes, NULL AS op, recorded_at
                FROM billing_answer
                WHERE (account_id, credit_id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))
                UNION ALL
                SELECT account_id, credit_id, step_no, false, kind, reference, done_on, gross_minor, net_minor, tax_minor, reason,
                       0, 0, NULL, op, recorded_at
                FROM credit_deed
                WHERE (account_id, credit_id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))) AS step
          JOIN credit ON credit.account_id = step.account_id AND credit.credit_id = step.credit_id
          ORDER BY step.credit_id, step.step_no",
    )
    .bind(accounts)
    .bind(credits)
    .fetch_all(conn)
    .await?;
    let mut found: HashMap<CreditId, Vec<Recorded>> = HashMap::new();
    for row in rows {
        found.entry(CreditId(row.credit_id)).or_default().push(row.recorded()?);
    }
    Ok(found)
}

/// A credit's amounts as it was issued.
pub fn issued(credit: &Credit) -> Amounts {
    Amounts { gross: credit.gross, net: credit.net, tax: credit.tax }
}

/// Where a credit stands after `steps`.
pub fn course(credit: &Credit, steps: &[Recorded]) -> Result<Course, Error> {
    Course::of(issued(credit), steps.iter().map(|recorded| &recorded.step))
        .map_err(|error| Error::Corrupt(format!("the steps of credit {}: {error}", credit.id)))
}

/// Where each of these credits stands.
pub async fn of(conn: &mut PgConnection, credits: &[Credit]) -> Result<HashMap<CreditId, Course>, Error> {
    let (accounts, ids): (Vec<Uuid>, Vec<Uuid>) = credits.iter().map(|credit| (credit.account.0, credit.id.0)).unzip();
    let steps = steps(conn, &accounts, &ids).await?;
    credits
        .iter()
        .map(|credit| Ok((credit.id, course(credit, steps.get(&credit.id).map_or(&[], Vec::as_slice))?)))
        .collect()
}

/// A deed that is to be kept.
#[derive(Clone, Debug)]
pub struct NewDeed {
    pub account: AccountId,
    pub credit: CreditId,
    /// Counts what happened to the credit, answers among it, from 1.
    pub no: i32,
    pub deed: Deed,
    pub note: String,
    /// What billing hears: `cancel`, `debit` or `offer`.
    pub op: Option<&'static str>,
}

pub async fn insert(conn: &mut PgConnection, deeds: &[NewDeed], by: &str, now: Instant) -> Result<(), Error> {
    if deeds.is_empty() {
        return Ok(());
    }
    sqlx::query(
        r"INSERT INTO credit_deed (account_id, credit_id, step_no, kind, gross_minor, net_minor, tax_minor, reason, note, reference,
                                   done_on, done_by, recorded_at, op)
          SELECT account_id, credit_id, no, kind, gross, net, tax, reason, note, reference, done_on, $1, $2, op
          FROM unnest($3::uuid[], $4::uuid[], $5::int[], $6::text[], $7::bigint[], $8::bigint[], $9::bigint[], $10::text[], $11::text[],
                      $12::text[], $13::date[], $14::text[])
               AS deed (account_id, credit_id, no, kind, gross, net, tax, reason, note, reference, done_on, op)",
    )
    .bind(by)
    .bind(now.utc())
    .bind(deeds.iter().map(|one| one.account.0).collect::<Vec<_>>())
    .bind(deeds.iter().map(|one| one.credit.0).collect::<Vec<_>>())
    .bind(deeds.iter().map(|one| one.no).collect::<Vec<_>>())
    .bind(deeds.iter().map(|one| one.deed.kind.name()).collect::<Vec<_>>())
    .bind(deeds.iter().map(|one| one.deed.amounts.gross.minor()).collect::<Vec<_>>())
    .bind(deeds.iter().map(|one| one.deed.amounts.net.minor()).collect::<Vec<_>>())
    .bind(deeds.iter().map(|one| one.deed.amounts.tax.minor()).collect::<Vec<_>>())
    .bind(deeds.iter().map(|one| one.deed.reason.as_str()).collect::<Vec<_>>())
    .bind(deeds.iter().map(|one| one.note.as_str()).collect::<Vec<_>>())
    .bind(deeds.iter().map(|one| one.deed.reference.as_str()).collect::<Vec<_>>())
    .bind(deeds.iter().map(|one| one.deed.on).collect::<Vec<_>>())
    .bind(deeds.iter().map(|one| one.op).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// The account of a credit, which its name does not say: the feed does, or the outbox while it is not numbered.
pub async fn account_of(conn: &mut PgConnection, credit: CreditId) -> Result<Option<AccountId>, Error> {
    let account: Option<Uuid> = sqlx::query_scalar(
        r"SELECT account_id FROM feed WHERE lane = ANY ($1) AND credit_id = $2
          UNION ALL SELECT account_id FROM outbox WHERE credit_id = $2 LIMIT 1",
    )
    .bind((0..crate::domain::ids::LANES).map(|lane| i16::try_from(lane).unwrap_or(0)).collect::<Vec<i16>>())
    .bind(credit.0)
    .fetch_optional(conn)
    .await?;
    Ok(account.map(AccountId))
}

/// Which items about these credits were served up to a position: for each credit its account and the events.
pub async fn delivered(
    conn: &mut PgConnection,
    lane: i16,
    credits: &[Uuid],
    through: i64,
) -> Result<HashMap<CreditId, (AccountId, HashSet<Uuid>)>, Error> {
    let rows: Vec<(Uuid, Uuid, Uuid)> = sqlx::query_as(
        r"SELECT credit_id, account_id, event_id FROM feed WHERE lane = $1 AND credit_id = ANY ($2) AND pos <= $3",
    )
    .bind(lane)
    .bind(credits)
    .bind(through)
    .fetch_all(conn)
    .await?;
    let mut found: HashMap<CreditId, (AccountId, HashSet<Uuid>)> = HashMap::new();
    for (credit, account, event) in rows {
        found.entry(CreditId(credit)).or_insert_with(|| (AccountId(account), HashSet::new())).1.insert(event);
    }
    Ok(found)
}

/// What the feed says of a credit's issue; none while it is not numbered.
pub async fn told(conn: &mut PgConnection, lane: i16, credit: CreditId) -> Result<Option<serde_json::Value>, Error> {
    Ok(sqlx::query_scalar(r"SELECT body FROM feed WHERE lane = $1 AND credit_id = $2 AND op = 'issue'")
        .bind(lane)
        .bind(credit.0)
        .fetch_optional(conn)
        .await?)
}

/// How many contract credits for the service period that begins on this day were taken back, wholly or in part, after `since`.
pub async fn taken_back_since(conn: &mut PgConnection, service_from: NaiveDate, since: Instant) -> Result<i64, Error> {
    Ok(sqlx::query_scalar(
        r"SELECT count(*) FROM credit_deed JOIN credit USING (account_id, credit_id)
          WHERE kind IN ('reversed', 'debited') AND recorded_at > $2 AND road = 'contract' AND service_from = $1",
    )
    .bind(service_from)
    .bind(since.utc())
    .fetch_one(conn)
    .await?)
}
