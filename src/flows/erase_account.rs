//! A person's data is erased: what names somebody of an account is blanked, and the audit trail says that it was, and not what.

use serde_json::{Map, Value, json};
use sqlx::PgPool;

use super::note_refusal;
use crate::domain::actor::{Actor, Role};
use crate::domain::ids::AccountId;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::Instant;
use crate::store::erasure::Counts;
use crate::store::{Error, audit, erasure, lock_account};

/// Why something is erased: a code, for free text would have to be erased again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErasureReason {
    /// The person asked for it.
    Asked,
    /// The law no longer asks to keep it.
    RetentionOver,
    /// It should not have been kept.
    NotNeeded,
}

impl ErasureReason {
    pub fn name(self) -> &'static str {
        match self {
            ErasureReason::Asked => "asked",
            ErasureReason::RetentionOver => "retention_over",
            ErasureReason::NotNeeded => "not_needed",
        }
    }
}

/// Erases as the database's owner, to whom `owner` connects, and says how many rows that changed in each table. Amounts, dates, ids and
/// the chain stay. Doing it again changes nothing, and is recorded again.
pub async fn erase_account(
    owner: &PgPool,
    now: Instant,
    actor: &Actor,
    reference: &str,
    reason: ErasureReason,
) -> Result<Counts, Error> {
    let account = AccountId::of(reference);
    if !actor.has(Role::Admin) {
        let refusal = Refusal::new(Code::Forbidden, "Only an administrator erases.");
        note_refusal(owner, account, actor, "account.erase", &account.to_string(), &refusal, now).await?;
        return Err(refusal.into());
    }
    let mut tx = owner.begin().await?;
    if !lock_account(&mut tx, account).await? {
        return Err(Refusal::not_found("account", reference).into());
    }
    let counts = erasure::blank(&mut tx, account, reference).await?;
    let rows: Map<String, Value> = counts.iter().map(|(table, rows)| ((*table).to_owned(), json!(rows))).collect();
    let detail = json!({ "reason": reason.name(), "rows": rows });
    let (action, subject) = ("account.erase", account.to_string());
    audit::record(&mut tx, &audit::Entry { account, actor, action, subject: &subject, detail, at: now }).await?;
    tx.commit().await?;
    let mut conn = owner.acquire().await?;
    erasure::vacuum(&mut conn).await?;
    Ok(counts)
}
