//! The audit trail: one row for each state change and each refused privileged try, in the transaction of the change.

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Error, outbox};
use crate::domain::actor::Actor;
use crate::domain::ids::AccountId;
use crate::domain::time::Instant;

/// The account of what concerns none.
pub const NO_ACCOUNT: AccountId = AccountId(Uuid::nil());

/// What happened. `detail` holds figures and ids, never names, addresses or free text.
#[derive(Debug)]
pub struct Entry<'a> {
    /// [`NO_ACCOUNT`] where no account is concerned.
    pub account: AccountId,
    pub actor: &'a Actor,
    /// A verb with its noun, such as `claim.recommend`, or `claim.approve.refused`.
    pub action: &'a str,
    /// The id of what it was done to.
    pub subject: &'a str,
    pub detail: Value,
    /// Business time.
    pub at: Instant,
}

/// Writes the row and the outbox row that will put it into the chain. Locks the account's head.
pub async fn record(conn: &mut PgConnection, entry: &Entry<'_>) -> Result<Uuid, Error> {
    let audit_id = insert(conn, entry).await?;
    outbox::put(
        conn,
        &outbox::Event {
            account: entry.account,
            event_id: audit_id,
            transfer_ids: &[],
            audit_ids: &[audit_id],
            item: None,
            at: entry.at,
        },
    )
    .await?;
    Ok(audit_id)
}

/// Writes the row alone, for an event whose own outbox row will name it.
pub async fn insert(conn: &mut PgConnection, entry: &Entry<'_>) -> Result<Uuid, Error> {
    let audit_id = Uuid::now_v7();
    sqlx::query(
        r"INSERT INTO audit (account_id, audit_id, recorded_at, actor, action, subject, detail)
          VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(entry.account.0)
    .bind(audit_id)
    .bind(entry.at.utc())
    .bind(entry.actor.key())
    .bind(entry.action)
    .bind(entry.subject)
    .bind(&entry.detail)
    .execute(conn)
    .await?;
    Ok(audit_id)
}
