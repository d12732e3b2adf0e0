//! What stands of a run's credits, for a run that takes them back.

use sqlx::PgConnection;
use uuid::Uuid;

use super::Error;
use super::runs::{ItemOutcome, RunItem};
use crate::domain::ids::{AccountId, CreditRunId, SubscriptionId};

/// A page of what stands of a run's credits, as lines of a run that takes it back: each with its amount less what was taken back
/// of it before, and less what was paid out in money.
pub async fn standing_after(
    conn: &mut PgConnection,
    run: CreditRunId,
    after: Option<(AccountId, SubscriptionId)>,
    limit: i64,
) -> Result<Vec<RunItem>, Error> {
    let rows: Vec<(Uuid, Uuid, i64, i64, i32, String)> = sqlx::query_as(
        r"SELECT item.account_id, item.subscription_id, item.amount_minor, coalesce(taken.minor, 0)::bigint, item.generation,
                 item.promise
          FROM (SELECT * FROM credit_run_item
                WHERE run_id = $1 AND account_id >= $2 AND (account_id, subscription_id) > ($2, $3) AND outcome = 'credit'
                ORDER BY account_id, subscription_id LIMIT $4) AS item
          JOIN credit ON credit.account_id = item.account_id AND credit.run_id = item.run_id
               AND credit.subscription_id = item.subscription_id
          LEFT JOIN LATERAL (
              SELECT CASE WHEN bool_or(kind IN ('reversed', 'expired')) THEN item.amount_minor
                          ELSE sum(gross_minor) FILTER (WHERE kind IN ('debited', 'paid')) END AS minor
              FROM credit_deed WHERE credit_deed.account_id = credit.account_id AND credit_deed.credit_id = credit.credit_id
          ) AS taken ON true
          ORDER BY item.account_id, item.subscription_id",
    )
    .bind(run.0)
    .bind(after.map_or(Uuid::nil(), |(account, _)| account.0))
    .bind(after.map_or(Uuid::nil(), |(_, subscription)| subscription.0))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(account, subscription, amount, taken, generation, promise)| {
            let stands = amount.saturating_sub(taken).max(0);
            RunItem {
                account: AccountId(account),
                subscription: SubscriptionId(subscription),
                outcome: if stands > 0 { ItemOutcome::Credit } else { ItemOutcome::NothingDue },
                amount_minor: stands,
                already_minor: taken,
                generation,
                promise,
                reasons: Vec::new(),
            }
        })
        .collect())
}

/// Whether something of `original` was taken back since `reversal` was proposed.
pub async fn standing_differs(
    conn: &mut PgConnection,
    reversal: CreditRunId,
    original: CreditRunId,
) -> Result<bool, Error> {
    Ok(sqlx::query_scalar(
        r"SELECT EXISTS (
              SELECT FROM credit_deed AS deed
              JOIN credit ON credit.account_id = deed.account_id AND credit.credit_id = deed.credit_id AND credit.run_id = $2
              JOIN credit_run_item AS item ON item.account_id = credit.account_id AND item.run_id = $1
                   AND item.subscription_id = credit.subscription_id
              GROUP BY item.account_id, item.subscription_id, item.already_minor, credit.gross_minor
              HAVING coalesce(CASE WHEN bool_or(deed.kind IN ('reversed', 'expired')) THEN credit.gross_minor
                                   ELSE sum(deed.gross_minor) FILTER (WHERE deed.kind IN ('debited', 'paid')) END, 0) <> item.already_minor)",
    )
    .bind(reversal.0)
    .bind(original.0)
    .fetch_one(conn)
    .await?)
}

/// Whether an approved run takes this one back and is not applied to its end.
pub async fn being_taken_back(conn: &mut PgConnection, run: CreditRunId) -> Result<bool, Error> {
    Ok(sqlx::query_scalar(r"SELECT EXISTS (SELECT FROM credit_run WHERE reverses = $1 AND state = 'approved')")
        .bind(run.0)
        .fetch_one(conn)
        .await?)
}
