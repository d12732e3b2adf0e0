//! The operator says who they are: name, money, time, tax and limits.

use sqlx::PgPool;

use crate::domain::actor::{Actor, Role};
use crate::domain::operator::Operator;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::Instant;
use crate::store::{Error, audit, operator};

/// Records the settings; every server reads them with its next request. The currency of a database that has one stays: the
/// books are in it.
pub async fn set_up_operator(pool: &PgPool, now: Instant, actor: &Actor, settings: &Operator) -> Result<(), Error> {
    if !actor.has(Role::Admin) {
        return Err(Refusal::new(Code::Forbidden, "To set the operator up needs the role admin.").into());
    }
    let mut tx = pool.begin().await?;
    let before = operator::find(&mut tx).await?;
    if before.as_ref() == Some(settings) {
        return Ok(());
    }
    if before.is_some_and(|before| before.currency != settings.currency) {
        return Err(Refusal::field("/currency", "the books are in the currency that was set up first: it stays").into());
    }
    operator::put(&mut tx, settings).await?;
    let detail =
        serde_json::to_value(settings).map_err(|error| Error::Corrupt(format!("operator is no JSON: {error}")))?;
    let (account, subject) = (audit::NO_ACCOUNT, "operator");
    audit::record(&mut tx, &audit::Entry { account, actor, action: "operator.set_up", subject, detail, at: now })
        .await?;
    tx.commit().await?;
    Ok(())
}
