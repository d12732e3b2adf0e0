//! How we remember: all the SQL, one file a noun.
//!
//! Functions take a connection, so that the flow that opened the transaction decides what belongs together. Nothing here
//! commits. Statements are raw string literals passed to `sqlx::query*` directly; `tests/statements.rs` finds every one and
//! prepares it against the migrated schema.

use sqlx::PgConnection;
use sqlx::error::DatabaseError;

use crate::domain::ids::AccountId;
use crate::domain::money::Money;
use crate::domain::refusal::{Code, Refusal};

pub mod accounting;
pub mod accounts;
pub mod asked;
pub mod assessments;
pub mod audit;
pub mod books;
pub mod calendars;
pub mod charges;
pub mod chart;
pub mod checkpoints;
pub mod claims;
pub mod copy;
pub mod courses;
pub mod credits;
pub mod customer;
pub mod differences;
pub mod directory;
pub mod erasure;
pub mod evidence;
pub mod feed;
pub mod floor;
pub mod floor_credits;
pub mod given;
pub mod goodwill;
pub mod heartbeats;
pub mod idempotency;
pub mod incidents;
pub mod inputs;
pub mod journals;
pub mod key_file;
pub mod ledger;
pub mod machine_tokens;
pub mod mailbox_lists;
pub mod mass_credits;
pub mod monitors;
pub mod observations;
pub mod operator;
pub mod oracle;
pub mod outbox;
pub mod people;
pub mod placements;
pub mod proof;
pub mod run_reports;
pub mod run_reversals;
pub mod runs;
pub mod sequences;
pub mod sessions;
pub mod setup;
pub mod shards;
pub mod snapshot;
pub mod snapshots;
pub mod spool;
pub mod staging;
pub mod subscriptions;
pub mod terms;
pub mod unmapped;
pub mod windows;

/// A transaction that a flow opened.
pub type Tx = sqlx::Transaction<'static, sqlx::Postgres>;

/// Why a flow did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A business refusal: nothing was written.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database refused or was away.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// What was stored cannot be read back: names the table, the column and the row.
    #[error("stored data is damaged: {0}")]
    Corrupt(String),
}

impl Error {
    /// What a caller is told. Inner details of the database never leave.
    pub fn refusal(&self) -> Refusal {
        match self {
            Error::Refused(refusal) => refusal.clone(),
            Error::Database(error) if is_unavailable(error) => Refusal::new(
                Code::Unavailable,
                "The database is away, or the outcome is unknown. Try again with the same key.",
            ),
            Error::Database(_) | Error::Corrupt(_) => Refusal::new(
                Code::Internal,
                "Something broke on our side. Nothing was saved. Quote the request id to support.",
            ),
        }
    }
}

impl Error {
    /// Whether the database is away, or was for a moment: the same may work later.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Error::Database(error) => is_unavailable(error),
            Error::Refused(_) | Error::Corrupt(_) => false,
        }
    }
}

/// Whether a retry with the same key may help: connection lost or refused, pool exhausted, shutting down, out of
/// resources, a lock or statement that took too long, or a deadlock.
fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(database) => database.code().is_some_and(|code| {
            ["08", "53", "57", "40"].iter().any(|class| code.starts_with(class)) || code == "55P03"
        }),
        _ => false,
    }
}

/// Whether a statement named a table that is not there.
fn is_undefined_table(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code == "42P01")
}

/// The named constraint that a statement ran into, if that is why it failed: constraint names are vocabulary.
pub fn constraint(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error().and_then(DatabaseError::constraint)
}

/// A stored amount as money.
pub fn money(minor: i64, currency: &str, column: &str) -> Result<Money, Error> {
    let currency = currency.parse().map_err(|_| Error::Corrupt(format!("{column}: {currency} is no currency")))?;
    Money::from_minor(minor, currency).map_err(|error| Error::Corrupt(format!("{column}: {error}")))
}

/// Locks the account for the rest of the transaction: the first statement of every flow that writes to one account. False
/// where there is no such account.
pub async fn lock_account(conn: &mut PgConnection, account: AccountId) -> Result<bool, Error> {
    let row: Option<i64> = sqlx::query_scalar(r"SELECT seq FROM account_head WHERE account_id = $1 FOR NO KEY UPDATE")
        .bind(account.0)
        .fetch_optional(conn)
        .await?;
    Ok(row.is_some())
}
