//! Goodwill: whom outages hit and how hard, and the budgets that gate what is given. Reports over all accounts.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Error, money};
use crate::domain::goodwill::{Down, Subject};
use crate::domain::ids::{AccountId, SubscriptionId};
use crate::domain::money::Money;
use crate::domain::time::Instant;

/// An account that was down.
#[derive(Clone, Debug)]
pub struct Hit {
    pub account: AccountId,
    pub currency: String,
    pub closed_on: Option<NaiveDate>,
    /// How long its mailbox was down that was down longest, in microseconds, and the shard on which most of that was.
    pub down_micros: i64,
    pub shard: String,
    /// Its subscriptions at the time, and the plan of each.
    pub subscriptions: Vec<(SubscriptionId, String)>,
}

type HitRow = (Uuid, String, Option<NaiveDate>, i64, String, Option<Vec<Uuid>>, Option<Vec<String>>);

/// Whom the time of `down` hit, as recorded at `as_of`, by account. Sources that place a mailbox differently are read each for
/// itself, and the longer time counts: in the customer's favour.
pub async fn hit(conn: &mut PgConnection, down: &[Down], as_of: Instant) -> Result<Vec<Hit>, Error> {
    let starts = down.iter().map(|one| one.interval.start().utc());
    let ends = down.iter().map(|one| one.interval.end().utc());
    let (Some(first), Some(last)) = (starts.clone().min(), ends.clone().max()) else { return Ok(Vec::new()) };
    let rows: Vec<HitRow> = sqlx::query_as(
        r"WITH felt AS (
              SELECT event.account_id, event.mailbox, event.source, down.list, event.shard,
                     sum((extract(epoch FROM least(coalesce(event.next_from, down.ends), down.ends)
                                             - greatest(event.valid_from, down.starts)) * 1000000)::bigint) AS micros
              FROM (SELECT account_id, mailbox, source, shard, valid_from,
                           lead(valid_from) OVER (PARTITION BY account_id, mailbox, source ORDER BY valid_from) AS next_from
                    FROM (SELECT DISTINCT ON (account_id, mailbox, valid_from, source)
                                 account_id, mailbox, valid_from, source, shard
                          FROM placement WHERE recorded_at <= $5
                          ORDER BY account_id, mailbox, valid_from, source, recorded_at DESC) AS newest) AS event
              JOIN unnest($1::text[], $2::uuid[], $3::timestamptz[], $4::timestamptz[]) AS down (shard, list, starts, ends)
                ON event.shard = down.shard AND event.valid_from < down.ends
               AND (event.next_from IS NULL OR event.next_from > down.starts)
               AND (down.list IS NULL OR EXISTS (SELECT FROM mailbox_list_entry AS named
                                                 WHERE named.account_id = event.account_id AND named.list_id = down.list
                                                   AND named.mailbox = event.mailbox))
              GROUP BY event.account_id, event.mailbox, event.source, down.list, event.shard
          ), mailbox AS (
              SELECT account_id, sum(micros)::bigint AS micros, (array_agg(shard ORDER BY micros DESC, shard))[1] AS shard
              FROM felt GROUP BY account_id, mailbox, source, list
          ), worst AS (
              SELECT DISTINCT ON (account_id) account_id, micros, shard FROM mailbox ORDER BY account_id, micros DESC, shard
          )
          SELECT worst.account_id, known.currency, known.closed_on, worst.micros, worst.shard, held.subscriptions, held.plans
          FROM worst
          CROSS JOIN LATERAL (
              SELECT currency, closed_on FROM account
              WHERE account.account_id = worst.account_id AND recorded_at <= $5 ORDER BY recorded_at DESC LIMIT 1
          ) AS known
          LEFT JOIN LATERAL (
              SELECT array_agg(subscription_id ORDER BY subscription_id) AS subscriptions,
                     array_agg(plan ORDER BY subscription_id) AS plans
              FROM (SELECT DISTINCT ON (subscription_id) subscription_id, plan, valid_from, valid_to FROM subscription
                    WHERE subscription.account_id = worst.account_id AND recorded_at <= $5
                    ORDER BY subscription_id, recorded_at DESC) AS newest
              WHERE valid_from < $7 AND (valid_to IS NULL OR valid_to > $6)
          ) AS held ON true
          ORDER BY worst.account_id",
    )
    .bind(down.iter().map(|one| one.shard.as_str()).collect::<Vec<_>>())
    .bind(down.iter().map(|one| one.list.map(|list| list.0)).collect::<Vec<_>>())
    .bind(starts.collect::<Vec<DateTime<Utc>>>())
    .bind(ends.collect::<Vec<DateTime<Utc>>>())
    .bind(as_of.utc())
    .bind(first)
    .bind(last)
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(account, currency, closed_on, down_micros, shard, subscriptions, plans)| Hit {
            account: AccountId(account),
            currency,
            closed_on,
            down_micros,
            shard,
            subscriptions: subscriptions
                .unwrap_or_default()
                .into_iter()
                .map(SubscriptionId)
                .zip(plans.unwrap_or_default())
                .collect(),
        })
        .collect())
}

/// How often each of these accounts was given something for one of `causes`, and how much of it was not taken back, in minor units.
pub async fn given(
    conn: &mut PgConnection,
    accounts: &[Uuid],
    causes: &[String],
) -> Result<HashMap<AccountId, super::credits::Given>, Error> {
    let rows: Vec<(Uuid, i64, i64)> = sqlx::query_as(
        r"SELECT account_id, count(*), coalesce(sum(gross_minor) FILTER (WHERE NOT is_taken), 0)::bigint
          FROM (SELECT account_id, gross_minor,
                       EXISTS (SELECT FROM credit_deed WHERE credit_deed.account_id = credit.account_id
                                                         AND credit_deed.credit_id = credit.credit_id AND kind = 'reversed') AS is_taken
                FROM credit WHERE account_id = ANY ($1) AND cause = ANY ($2)) AS given
          GROUP BY account_id",
    )
    .bind(accounts)
    .bind(causes)
    .fetch_all(conn)
    .await?;
    let given = |times, minor| super::credits::Given { times: i32::try_from(times).unwrap_or(i32::MAX), minor };
    Ok(rows.into_iter().map(|(account, times, minor)| (AccountId(account), given(times, minor))).collect())
}

/// How many lines of a goodwill run were overtaken: since it was proposed, another run gave something for one of `causes`.
pub async fn overtaken(conn: &mut PgConnection, run: Uuid, causes: &[String]) -> Result<i64, Error> {
    Ok(sqlx::query_scalar(
        r"SELECT count(*) FROM credit_run_item AS item
          WHERE item.run_id = $1 AND item.outcome = 'credit' AND item.generation <> (
              SELECT count(*) FROM credit WHERE credit.account_id = item.account_id AND credit.cause = ANY ($2))",
    )
    .bind(run)
    .bind(causes)
    .fetch_one(conn)
    .await?)
}

/// Locks every goodwill run for one of `subjects` until commit, in the order of their ids, and counts those that were approved and are
/// not applied to the end, but for `but`.
pub async fn lock_subjects(conn: &mut PgConnection, subjects: &[Subject], but: Option<Uuid>) -> Result<usize, Error> {
    let rows: Vec<(Uuid, String)> = sqlx::query_as(
        r"SELECT run_id, state FROM credit_run WHERE subject = ANY ($1) AND reverses IS NULL ORDER BY run_id FOR NO KEY UPDATE",
    )
    .bind(subjects.iter().map(Subject::to_string).collect::<Vec<_>>())
    .fetch_all(conn)
    .await?;
    Ok(rows.iter().filter(|(id, state)| state == "approved" && Some(*id) != but).count())
}

/// How many windows of these, placements, subscriptions, and accounts that left on another day or in another currency were recorded
/// after `as_of`.
pub async fn changed_since(
    conn: &mut PgConnection,
    windows: &[Uuid],
    as_of: Instant,
    end: Instant,
) -> Result<Vec<(&'static str, i64)>, Error> {
    let counts: [i64; 4] = sqlx::query_scalar(
        r"SELECT ARRAY[(SELECT count(*) FROM outage_window WHERE window_id = ANY ($1) AND recorded_at > $2),
                       (SELECT count(*) FROM placement WHERE recorded_at > $2 AND valid_from < $3),
                       (SELECT count(*) FROM subscription WHERE recorded_at > $2 AND valid_from < $3),
                       (SELECT count(*) FROM account AS newer WHERE recorded_at > $2 AND EXISTS (
                           SELECT FROM account AS earlier
                           WHERE earlier.account_id = newer.account_id AND earlier.recorded_at <= $2
                             AND (earlier.closed_on IS DISTINCT FROM newer.closed_on OR earlier.currency <> newer.currency)))]",
    )
    .bind(windows)
    .bind(as_of.utc())
    .bind(end.utc())
    .fetch_one(conn)
    .await?;
    let kinds = ["outage window", "placement", "subscription", "account's last day or currency"];
    Ok(kinds.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect())
}

/// A budget, in minor units of its currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub amount: Money,
    pub given: Money,
}

pub async fn budget(conn: &mut PgConnection, name: &str) -> Result<Option<Held>, Error> {
    let row: Option<(String, i64, i64)> =
        sqlx::query_as(r"SELECT currency, amount_minor, given_minor FROM goodwill_budget WHERE name = $1")
            .bind(name)
            .fetch_optional(conn)
            .await?;
    row.map(|(currency, amount, given)| {
        Ok(Held {
            amount: money(amount, &currency, "goodwill_budget.amount_minor")?,
            given: money(given, &currency, "goodwill_budget.given_minor")?,
        })
    })
    .transpose()
}

/// Opens a budget, unless it is open.
pub async fn open_budget(conn: &mut PgConnection, name: &str, amount: Money, now: Instant) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO goodwill_budget (name, currency, amount_minor, given_minor, opened_at) VALUES ($1, $2, $3, 0, $4)
          ON CONFLICT (name) DO NOTHING",
    )
    .bind(name)
    .bind(amount.currency().code())
    .bind(amount.minor())
    .bind(now.utc())
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes `total` out of an open budget of `amount`; false where so much is not left, or its amount is another. Locks it until commit.
pub async fn draw(conn: &mut PgConnection, name: &str, amount: Money, total: Money) -> Result<bool, Error> {
    let done = sqlx::query(
        r"UPDATE goodwill_budget SET given_minor = given_minor + $4
          WHERE name = $1 AND currency = $2 AND amount_minor = $3 AND given_minor <= amount_minor - $4",
    )
    .bind(name)
    .bind(amount.currency().code())
    .bind(amount.minor())
    .bind(total.minor())
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
