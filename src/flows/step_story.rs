//! The demo's clock is moved on, past a hold, and stays there over a restart.

use sqlx::PgPool;

use crate::domain::refusal::Refusal;
use crate::store::operator::Demo;
use crate::store::{Error, operator};

/// Keeps how far business time is from real time. Refused outside a demo.
pub async fn step_story(pool: &PgPool, clock_offset_micros: i64) -> Result<(), Error> {
    let mut tx = pool.begin().await?;
    let demo = operator::demo(&mut tx).await?.ok_or_else(|| Refusal::not_found("story", "outside the demo"))?;
    operator::put_demo(&mut tx, &Demo { clock_offset_micros, ..demo }).await?;
    tx.commit().await?;
    Ok(())
}
