//! Claims and what happened to each.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::evidence::instant;
use super::{Error, money};
use crate::domain::actor::Actor;
use crate::domain::claim::{Claim, Ground, State};
use crate::domain::ids::{AccountId, ClaimId};
use crate::domain::money::{Currency, Money};
use crate::domain::time::Instant;

#[derive(sqlx::FromRow)]
struct Row {
    account_id: Uuid,
    claim_id: Uuid,
    reference: String,
    version: i32,
    state: String,
    ground: String,
    incident: Option<String>,
    currency: String,
    asked_minor: Option<i64>,
    words: String,
    filed_by: String,
    filed_at: DateTime<Utc>,
    due_at: DateTime<Utc>,
    recommendation: Option<Value>,
    decision: Option<Value>,
}

impl Row {
    fn claim(self) -> Result<Claim, Error> {
        let damaged = |column: &str| Error::Corrupt(format!("claim.{column} of {}", self.reference));
        let asked = self.asked_minor.map(|minor| money(minor, &self.currency, "claim.asked_minor")).transpose()?;
        Ok(Claim {
            id: ClaimId(self.claim_id),
            account: AccountId(self.account_id),
            version: self.version,
            state: State::parse(&self.state).ok_or_else(|| damaged("state"))?,
            ground: Ground::parse(&self.ground).ok_or_else(|| damaged("ground"))?,
            recommendation: self
                .recommendation
                .map(serde_json::from_value)
                .transpose()
                .map_err(|_| Error::Corrupt(format!("claim.recommendation of {}", self.reference)))?,
            decision: self
                .decision
                .map(serde_json::from_value)
                .transpose()
                .map_err(|_| Error::Corrupt(format!("claim.decision of {}", self.reference)))?,
            reference: self.reference,
            incident: self.incident,
            words: self.words,
            asked,
            filed_by: self.filed_by,
            filed_at: instant(self.filed_at, "claim.filed_at")?,
            due_at: instant(self.due_at, "claim.due_at")?,
        })
    }
}

/// The next number for a reference that people can read out.
pub async fn next_number(conn: &mut PgConnection) -> Result<i64, Error> {
    Ok(sqlx::query_scalar(r"SELECT nextval('claim_number')").fetch_one(conn).await?)
}

/// Files the claim. False where the account has an open claim for the same incident.
pub async fn insert(conn: &mut PgConnection, claim: &Claim, currency: Currency, contact: &str) -> Result<bool, Error> {
    let done = sqlx::query(
        r"INSERT INTO claim (account_id, claim_id, reference, version, state, ground, incident, currency, asked_minor, words,
                             contact, filed_by, filed_at, due_at)
          VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
          ON CONFLICT (account_id, incident) WHERE state IN ('submitted', 'in_review', 'awaiting_second') DO NOTHING",
    )
    .bind(claim.account.0)
    .bind(claim.id.0)
    .bind(&claim.reference)
    .bind(claim.version)
    .bind(claim.state.name())
    .bind(claim.ground.name())
    .bind(&claim.incident)
    .bind(currency.code())
    .bind(claim.asked.map(Money::minor))
    .bind(&claim.words)
    .bind(contact)
    .bind(&claim.filed_by)
    .bind(claim.filed_at.utc())
    .bind(claim.due_at.utc())
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(r"INSERT INTO claim_reference (reference, account_id, claim_id) VALUES ($1, $2, $3)")
        .bind(&claim.reference)
        .bind(claim.account.0)
        .bind(claim.id.0)
        .execute(conn)
        .await?;
    Ok(true)
}

/// The account and id behind a reference.
pub async fn resolve(conn: &mut PgConnection, reference: &str) -> Result<Option<(AccountId, ClaimId)>, Error> {
    let row: Option<(Uuid, Uuid)> =
        sqlx::query_as(r"SELECT account_id, claim_id FROM claim_reference WHERE reference = $1")
            .bind(reference)
            .fetch_optional(conn)
            .await?;
    Ok(row.map(|(account, claim)| (AccountId(account), ClaimId(claim))))
}

pub async fn find(conn: &mut PgConnection, account: AccountId, claim: ClaimId) -> Result<Option<Claim>, Error> {
    let row: Option<Row> = sqlx::query_as(
        r"SELECT account_id, claim_id, reference, version, state, ground, incident, currency, asked_minor, words, filed_by,
                 filed_at, due_at, recommendation, decision
          FROM claim WHERE account_id = $1 AND claim_id = $2",
    )
    .bind(account.0)
    .bind(claim.0)
    .fetch_optional(conn)
    .await?;
    row.map(Row::claim).transpose()
}

/// Every claim of these accounts, the newest first.
pub async fn of_accounts(conn: &mut PgConnection, accounts: &[AccountId]) -> Result<Vec<Claim>, Error> {
    let ids: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    let rows: Vec<Row> = sqlx::query_as(
        r"SELECT account_id, claim_id, reference, version, state, ground, incident, currency, asked_minor, words, filed_by,
                 filed_at, due_at, recommendation, decision
          FROM claim WHERE account_id = ANY ($1) ORDER BY filed_at DESC, claim_id LIMIT 500",
    )
    .bind(ids)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Row::claim).collect()
}

/// A report over all accounts: the queue, what is due first first; `after` is the last row of the page before.
pub async fn to_decide(
    conn: &mut PgConnection,
    state: Option<State>,
    after: Option<(Instant, ClaimId)>,
    limit: i64,
) -> Result<Vec<Claim>, Error> {
    let (after_due, after_id) = after.unwrap_or((Instant::MIN, ClaimId(Uuid::nil())));
    let rows: Vec<Row> = sqlx::query_as(
        r"SELECT account_id, claim_id, reference, version, state, ground, incident, currency, asked_minor, words, filed_by,
                 filed_at, due_at, recommendation, decision
          FROM claim
          WHERE state IN ('submitted', 'in_review', 'awaiting_second') AND ($1::text IS NULL OR state = $1)
            AND (due_at, claim_id) > ($2, $3)
          ORDER BY due_at, claim_id LIMIT $4",
    )
    .bind(state.map(State::name))
    .bind(after_due.utc())
    .bind(after_id.0)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Row::claim).collect()
}

/// A report over all accounts: the decided claims about one incident, the newest first.
pub async fn decided_about(conn: &mut PgConnection, incident: &str, limit: i64) -> Result<Vec<Claim>, Error> {
    let rows: Vec<Row> = sqlx::query_as(
        r"SELECT account_id, claim_id, reference, version, state, ground, incident, currency, asked_minor, words, filed_by,
                 filed_at, due_at, recommendation, decision
          FROM claim
          WHERE incident = $1 AND state IN ('approved', 'part_approved', 'rejected')
          ORDER BY filed_at DESC, claim_id LIMIT $2",
    )
    .bind(incident)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Row::claim).collect()
}

/// A report over all accounts: decisions whose hold is over and whose credit is not issued yet.
pub async fn to_post(conn: &mut PgConnection, now: Instant, limit: i64) -> Result<Vec<(AccountId, ClaimId)>, Error> {
    let rows: Vec<(Uuid, Uuid)> = sqlx::query_as(
        r"SELECT account_id, claim_id FROM claim WHERE posts_at <= $1 ORDER BY posts_at, claim_id LIMIT $2",
    )
    .bind(now.utc())
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(account, claim)| (AccountId(account), ClaimId(claim))).collect())
}

/// Saves a claim that moved from `from_version`. False where somebody else moved it first.
pub async fn save(conn: &mut PgConnection, claim: &Claim, from_version: i32) -> Result<bool, Error> {
    let posts_at = claim
        .decision
        .as_ref()
        .filter(|decision| decision.posted_at.is_none() && decision.opinion.amount.is_positive())
        .map(|decision| decision.posts_at.utc());
    let as_json = |error: serde_json::Error| Error::Corrupt(format!("claim {} is no JSON: {error}", claim.reference));
    let recommendation = claim.recommendation.as_ref().map(serde_json::to_value).transpose().map_err(as_json)?;
    let decision = claim.decision.as_ref().map(serde_json::to_value).transpose().map_err(as_json)?;
    let done = sqlx::query(
        r"UPDATE claim SET version = $4, state = $5, recommendation = $6, decision = $7, posts_at = $8
          WHERE account_id = $1 AND claim_id = $2 AND version = $3",
    )
    .bind(claim.account.0)
    .bind(claim.id.0)
    .bind(from_version)
    .bind(claim.version)
    .bind(claim.state.name())
    .bind(recommendation)
    .bind(decision)
    .bind(posts_at)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// One line of what happened with a claim.
#[derive(Clone, Debug)]
pub struct Event {
    pub action: String,
    pub at: Instant,
    pub actor: String,
    pub actor_name: String,
    pub amount_minor: Option<i64>,
}

/// Adds the line for the move that made `claim.version`.
pub async fn record(
    conn: &mut PgConnection,
    claim: &Claim,
    action: &str,
    actor: &Actor,
    amount: Option<Money>,
    at: Instant,
) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO claim_event (account_id, claim_id, version, action, at, actor, actor_name, amount_minor)
          VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(claim.account.0)
    .bind(claim.id.0)
    .bind(claim.version)
    .bind(action)
    .bind(at.utc())
    .bind(actor.key())
    .bind(&actor.name)
    .bind(amount.map(Money::minor))
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn events(conn: &mut PgConnection, account: AccountId, claim: ClaimId) -> Result<Vec<Event>, Error> {
    let rows: Vec<(String, DateTime<Utc>, String, String, Option<i64>)> = sqlx::query_as(
        r"SELECT action, at, actor, actor_name, amount_minor FROM claim_event
          WHERE account_id = $1 AND claim_id = $2 ORDER BY version",
    )
    .bind(account.0)
    .bind(claim.0)
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(action, at, actor, actor_name, amount_minor)| {
            Ok(Event { action, at: instant(at, "claim_event.at")?, actor, actor_name, amount_minor })
        })
        .collect()
}
