//! What evidence that is recorded, but not committed, would change in money.

use sqlx::PgConnection;

use crate::domain::account::Account;
use crate::domain::assess::assess;
use crate::domain::assessment::Outcome;
use crate::domain::effect::{self, Due, MoneyEffect};
use crate::domain::ids::AccountId;
use crate::domain::operator::Operator;
use crate::domain::period::Month;
use crate::domain::time::Instant;
use crate::store::inputs::{self, Evidence};
use crate::store::{Error, accounts, assessments, operator};

/// How many accounts are assessed before and after, so that a dry run has an end.
pub const LOOKED_AT: i64 = 1_000;

/// Assesses `touched` (of `all` accounts) as recorded just before `recorded_at` and as recorded then, in the periods that were
/// assessed and in the one that goes on.
pub async fn of(
    conn: &mut PgConnection,
    now: Instant,
    recorded_at: Instant,
    touched: &[AccountId],
    all: i64,
) -> Result<MoneyEffect, Error> {
    let Some(operator) = operator::find(conn).await? else { return Ok(MoneyEffect::default()) };
    let mut periods = assessments::assessed_periods(conn).await?;
    let current = Month::containing(now, operator.zone);
    if !periods.contains(&current) {
        periods.push(current);
    }
    // The accounts themselves may be what changes: one that leaves is owed less.
    let just_before = recorded_at.plus(-1);
    let known_before = known(conn, touched, just_before).await?;
    let known_after = known(conn, touched, recorded_at).await?;
    let mut changes = Vec::new();
    for period in periods {
        let before = due(conn, &operator, period, just_before, now, &known_before).await?;
        let after = due(conn, &operator, period, recorded_at, now, &known_after).await?;
        changes.push((period, before, after));
    }
    let looked_at = i64::try_from(touched.len()).unwrap_or(i64::MAX);
    MoneyEffect::of(all, looked_at, changes).map_err(|error| Error::Corrupt(format!("a dry run's money: {error}")))
}

/// These accounts as recorded at `as_recorded`, by id; those that nobody knew then are left out.
async fn known(conn: &mut PgConnection, touched: &[AccountId], as_recorded: Instant) -> Result<Vec<Account>, Error> {
    if touched.is_empty() {
        return Ok(Vec::new());
    }
    let mut known: Vec<Account> = accounts::as_recorded(conn, touched, as_recorded).await?.into_values().collect();
    known.sort_by_key(|account| account.id);
    Ok(known)
}

/// What is due to these accounts in the period, as recorded at `as_recorded`.
async fn due(
    conn: &mut PgConnection,
    operator: &Operator,
    period: Month,
    as_recorded: Instant,
    now: Instant,
    known: &[Account],
) -> Result<Due, Error> {
    let shared = Evidence::load(conn, operator, period, as_recorded, now).await?;
    let mut due = Due::new();
    for one in inputs::load(conn, &shared, known).await? {
        let Some(inputs) = one.inputs else { continue };
        let damaged = |error: String| Error::Corrupt(format!("account {} cannot be assessed: {error}", one.account));
        let sum = assess(&inputs).map_err(|error| damaged(error.to_string()))?;
        match sum.outcome {
            Outcome::Credit { amount } => {
                effect::add(&mut due, &inputs.account.reference, amount).map_err(|error| damaged(error.to_string()))?
            }
            Outcome::ServiceDays { .. } | Outcome::NothingDue { .. } => {}
        }
    }
    Ok(due)
}
