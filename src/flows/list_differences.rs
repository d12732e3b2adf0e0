//! Late truth came after credits were issued: what accounts should have got is listed beside what they were credited. Nothing that was issued
//! moves.

use serde_json::json;
use sqlx::PgPool;

use super::assess_period::assess_period;
use super::refold::record;
use crate::domain::actor::Actor;
use crate::domain::period::Month;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::Instant;
use crate::store::differences::Listing;
use crate::store::{Error, differences};

/// How many differences travel at once.
const PAGE: i64 = 5_000;

/// Assesses the period as it is recorded now, and lists every account whose sum is not what it was credited for the period. A newer listing
/// stands in the place of an older one, and both are kept. Refused before any credit of the period is issued: then all of it is
/// still a credit run's.
pub async fn list_differences(pool: &PgPool, now: Instant, actor: &Actor, period: Month) -> Result<Listing, Error> {
    let mut conn = pool.acquire().await?;
    if differences::credits_issued(&mut conn, period.first_day()).await? == 0 {
        let detail =
            format!("No credits of {period} are issued yet, so there is nothing to differ from: propose a credit run.");
        return Err(Refusal::new(Code::WrongState, detail).into());
    }
    drop(conn);
    let assessed = assess_period(pool, now, actor, period).await?;
    let mut tx = pool.begin().await?;
    let listing = differences::begin(&mut tx, period, assessed.recorded_as_of, now, &actor.key()).await?;
    let (mut count, mut after) = (0, None);
    loop {
        let found = differences::find_after(&mut tx, period, listing.recorded_as_of, after, PAGE).await?;
        let Some(last) = found.last() else { break };
        after = Some((last.account, last.subscription));
        count += found.len();
        differences::insert(&mut tx, &listing, &found).await?;
    }
    let detail = json!({ "recorded_as_of": listing.recorded_as_of, "differences": count });
    record(&mut tx, actor, "differences.list", &period.to_string(), detail, now).await?;
    tx.commit().await?;
    Ok(listing)
}
