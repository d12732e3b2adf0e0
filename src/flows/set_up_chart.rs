//! Finance says what the accounts of the books are called in the general ledger, and what each reason code is written against
//! and taxed by.

use serde_json::json;
use sqlx::PgPool;

use crate::domain::actor::{Actor, Role};
use crate::domain::chart::Chart;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::Instant;
use crate::store::{Error, audit, chart, lock_account};

/// Records the chart as a new version and gives its number; what the newest version says already is not recorded again. It counts
/// for what is issued from then on.
pub async fn set_up_chart(pool: &PgPool, now: Instant, actor: &Actor, wanted: &Chart) -> Result<i32, Error> {
    if !actor.has_any(&[Role::Admin, Role::Finance]) {
        return Err(Refusal::new(Code::Forbidden, "To set the chart up needs the role admin or finance.").into());
    }
    let errors = wanted.check();
    if !errors.is_empty() {
        return Err(Refusal::invalid(errors).into());
    }
    let mut tx = pool.begin().await?;
    lock_account(&mut tx, audit::NO_ACCOUNT).await?;
    let (newest, before) = chart::newest(&mut tx).await?;
    if newest > 0 && before == *wanted {
        return Ok(newest);
    }
    let version = newest + 1;
    chart::insert(&mut tx, version, wanted, &actor.key(), now).await?;
    let detail = json!({ "hash": wanted.hash(), "before": before.hash(), "reasons": wanted.reasons.len() });
    let (account, subject) = (audit::NO_ACCOUNT, format!("chart/{version}"));
    let entry = audit::Entry { account, actor, action: "chart.set_up", subject: &subject, detail, at: now };
    audit::record(&mut tx, &entry).await?;
    tx.commit().await?;
    Ok(version)
}
