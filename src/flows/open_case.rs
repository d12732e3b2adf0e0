//! Staff read a customer's case: that they did is kept.

use serde_json::json;
use sqlx::PgPool;

use crate::domain::actor::Actor;
use crate::domain::claim::Claim;
use crate::domain::refusal::Refusal;
use crate::domain::time::Instant;
use crate::store::{Error, audit, claims, lock_account};

/// The claim that is called `reference`, with an audit row for its reading.
pub async fn open_case(pool: &PgPool, now: Instant, actor: &Actor, reference: &str) -> Result<Claim, Error> {
    let unknown = || Refusal::not_found("claim", reference);
    let mut tx = pool.begin().await?;
    let (account, id) = claims::resolve(&mut tx, reference).await?.ok_or_else(unknown)?;
    lock_account(&mut tx, account).await?;
    let claim = claims::find(&mut tx, account, id).await?.ok_or_else(unknown)?;
    let entry = audit::Entry {
        account,
        actor,
        action: "case.read",
        subject: reference,
        detail: json!({ "version": claim.version }),
        at: now,
    };
    audit::record(&mut tx, &entry).await?;
    tx.commit().await?;
    Ok(claim)
}
