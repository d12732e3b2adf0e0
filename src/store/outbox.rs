//! The outbox: what was committed and has no number yet. The sequencer empties it (see `flows::sequence`).

use sqlx::PgConnection;
use uuid::Uuid;

use super::Error;
use crate::domain::ids::{AccountId, lane};
use crate::domain::time::Instant;

/// One event of a transaction that billing need not hear of: the rows that it wrote. [`super::credits::post`] writes the others.
#[derive(Debug)]
pub struct Event<'a> {
    pub account: AccountId,
    /// Derived from the document and what happened to it, so that the same event cannot be told twice.
    pub event_id: Uuid,
    pub transfer_ids: &'a [Uuid],
    pub audit_ids: &'a [Uuid],
    pub at: Instant,
}

/// Puts the event into the outbox, after everything that the account wrote before: locks the account's head until commit,
/// so the order of the counts is the order of the commits.
pub async fn put(conn: &mut PgConnection, event: &Event<'_>) -> Result<(), Error> {
    let done = sqlx::query(
        r"WITH head AS (
              UPDATE account_head SET seq = seq + 1 WHERE account_id = $1 RETURNING seq
          )
          INSERT INTO outbox (account_id, event_id, lane, account_seq, transfer_ids, audit_ids, created_at)
          SELECT $1, $2, $3, head.seq, $4, $5, $6 FROM head",
    )
    .bind(event.account.0)
    .bind(event.event_id)
    .bind(lane(event.account))
    .bind(event.transfer_ids)
    .bind(event.audit_ids)
    .bind(event.at.utc())
    .execute(conn)
    .await?;
    if done.rows_affected() == 1 {
        Ok(())
    } else {
        Err(Error::Corrupt(format!("account_head has no row for {}", event.account)))
    }
}
