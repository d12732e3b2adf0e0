//! Goodwill that stands on no bill after the operator's time for it expires: billing is told to leave it out.

use sqlx::PgPool;
use uuid::Uuid;

use super::reverse_credit::{Order, reverse_in};
use crate::domain::course::TakenBack;
use crate::domain::time::{DAY, Instant};
use crate::store::{Error, courses, operator};

/// How many credits one transaction takes back.
const BATCH: i64 = 500;

/// Takes back what is old enough and says how many credits that were. Each batch in a transaction of its own; those that are done are not
/// found again, so a crash loses nothing.
pub async fn expire_goodwill(pool: &PgPool, now: Instant) -> Result<usize, Error> {
    let mut expired = 0;
    loop {
        let mut tx = pool.begin().await?;
        let operator = operator::get(&mut tx).await?;
        let Some(days) = operator.credits.goodwill_expires_after_days else { return Ok(expired) };
        let before = now.plus(-(i64::from(days) * DAY));
        let found = courses::expiring(&mut tx, before, BATCH).await?;
        if found.is_empty() {
            return Ok(expired);
        }
        let (accounts, ids): (Vec<Uuid>, Vec<Uuid>) =
            found.into_iter().map(|(account, credit)| (account.0, credit.0)).unzip();
        let by = super::system_actor("expiry").key();
        let on = operator.zone.local(now).date_naive();
        let order = Order { how: TakenBack::Expired, reason: "expired", note: "", by: &by, on, at: now };
        let done = reverse_in(&mut tx, &accounts, &ids, &order).await?;
        let taken = done.iter().filter(|(_, outcome)| outcome.is_ok()).count();
        tx.commit().await?;
        expired += taken;
        // What was found and could not be taken back changed meanwhile; the next turn looks again.
        if taken == 0 {
            return Ok(expired);
        }
    }
}
