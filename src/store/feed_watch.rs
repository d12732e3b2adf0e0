//! Reports about the feed: how long things wait, what a bill run would miss, and whether all that was issued is accounted for.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;

use super::Error;
use crate::domain::time::Instant;

/// How many things wait, and since when the oldest does; none where nothing waits.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct Backlog {
    pub count: i64,
    pub oldest: Option<DateTime<Utc>>,
}

/// What was committed at or before `until` and has no number.
pub async fn not_numbered(conn: &mut PgConnection, lane: i16, until: Instant) -> Result<Backlog, Error> {
    Ok(sqlx::query_as(
        r"SELECT count(*) AS count, min(created_at) AS oldest FROM outbox WHERE lane = $1 AND created_at <= $2",
    )
    .bind(lane)
    .bind(until.utc())
    .fetch_one(conn)
    .await?)
}

/// What was numbered at or before `until` and was served to no consumer.
pub async fn not_pulled(conn: &mut PgConnection, lane: i16, until: Instant) -> Result<Backlog, Error> {
    Ok(sqlx::query_as(
        r"SELECT count(item.pos) AS count, min(item.numbered_at) AS oldest
          FROM feed_origin AS era
          JOIN feed AS item ON item.lane = $1 AND item.epoch = era.epoch
              AND item.pos > (SELECT coalesce(max(pos), 0) FROM feed_delivery WHERE lane = $1)
          WHERE item.numbered_at <= $2",
    )
    .bind(lane)
    .bind(until.utc())
    .fetch_one(conn)
    .await?)
}

/// Items that a consumer was served at or before `until` and that have no standing final answer, as [`super::feed::unanswered`] has them;
/// `oldest` is when the first of them was numbered.
pub async fn not_answered(conn: &mut PgConnection, lane: i16, until: Instant) -> Result<Backlog, Error> {
    Ok(sqlx::query_as(
        r"SELECT count(*) AS count, min(item.numbered_at) AS oldest
          FROM feed AS item
          JOIN credit ON credit.account_id = item.account_id AND credit.credit_id = item.credit_id
          LEFT JOIN (
              SELECT account_id, credit_id, count(*) FILTER (WHERE kind = 'offered') AS offers,
                     max(step_no) FILTER (WHERE kind = 'offered') AS offered_no,
                     max(step_no) FILTER (WHERE kind IN ('written_off', 'paid', 'unclaimed')) AS settled_no,
                     sum(gross_minor) FILTER (WHERE kind = 'debited') AS debited
              FROM credit_deed GROUP BY account_id, credit_id
          ) AS done ON done.account_id = item.account_id AND done.credit_id = item.credit_id
          LEFT JOIN (
              SELECT account_id, credit_id,
                     sum(CASE kind WHEN 'applied' THEN gross_minor WHEN 'returned' THEN -gross_minor WHEN 'cancelled' THEN gross_minor
                                   ELSE 0 END) AS settled,
                     sum(CASE kind WHEN 'debited' THEN gross_minor ELSE 0 END) AS recovered,
                     (array_agg(kind ORDER BY answer_no DESC))[1] AS last_kind,
                     (array_agg(round ORDER BY answer_no DESC))[1] AS last_round
              FROM billing_answer GROUP BY account_id, credit_id
          ) AS said ON said.account_id = item.account_id AND said.credit_id = item.credit_id
          WHERE item.lane = $1
            AND item.pos <= (SELECT coalesce(max(pos), 0) FROM feed_pull WHERE lane = $1 AND pulled_at <= $2)
            AND CASE item.op
                WHEN 'debit' THEN coalesce(said.recovered, 0) < done.debited
                WHEN 'offer' THEN false
                ELSE coalesce(said.settled, 0) < credit.gross_minor
                     AND NOT coalesce(said.last_kind = 'refused' AND said.last_round = coalesce(done.offers, 0), false)
                     AND coalesce(done.settled_no, 0) <= coalesce(done.offered_no, 0)
                END",
    )
    .bind(lane)
    .bind(until.utc())
    .fetch_one(conn)
    .await?)
}

/// Credits of one currency.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Sum {
    pub currency: String,
    pub count: i64,
    pub gross_minor: i64,
}

/// Credits that billing is to put on a bill and of which it has said nothing that would bring them there: not numbered, not pulled, not
/// answered, returned, or offered again.
pub async fn on_no_bill(conn: &mut PgConnection) -> Result<Vec<Sum>, Error> {
    Ok(sqlx::query_as(
        r"SELECT credit.currency, count(*) AS count, sum(credit.gross_minor)::bigint AS gross_minor
          FROM credit
          LEFT JOIN (
              SELECT account_id, credit_id, count(*) FILTER (WHERE kind = 'offered') AS offers,
                     max(step_no) FILTER (WHERE kind = 'offered') AS offered_no,
                     max(step_no) FILTER (WHERE kind IN ('written_off', 'paid', 'unclaimed')) AS settled_no,
                     bool_or(kind IN ('reversed', 'expired')) AS is_taken_back
              FROM credit_deed GROUP BY account_id, credit_id
          ) AS done ON done.account_id = credit.account_id AND done.credit_id = credit.credit_id
          LEFT JOIN (
              SELECT account_id, credit_id, (array_agg(kind ORDER BY answer_no DESC))[1] AS last_kind,
                     (array_agg(round ORDER BY answer_no DESC))[1] AS last_round
              FROM billing_answer GROUP BY account_id, credit_id
          ) AS said ON said.account_id = credit.account_id AND said.credit_id = credit.credit_id
          WHERE (said.last_kind IS NULL OR said.last_kind = 'returned' OR said.last_round < coalesce(done.offers, 0))
            AND coalesce(done.settled_no, 0) <= coalesce(done.offered_no, 0) AND NOT coalesce(done.is_taken_back, false)
          GROUP BY credit.currency ORDER BY credit.currency",
    )
    .fetch_all(conn)
    .await?)
}

/// A transaction that has written something and is open, in any session on this database, whoever's it is. One of the service's own that
/// works is none: a bulk load may take its time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, sqlx::FromRow)]
pub struct OpenTransaction {
    pub pid: i32,
    /// Its number.
    pub transaction: String,
    /// What the session calls itself, and who it is.
    pub application: String,
    pub role: String,
}

pub async fn open_transactions(conn: &mut PgConnection) -> Result<Vec<OpenTransaction>, Error> {
    Ok(sqlx::query_as(
        r"SELECT held.pid, held.transactionid::text AS transaction, coalesce(session.application_name, '') AS application,
                 coalesce(session.usename::text, '') AS role
          FROM pg_locks AS held JOIN pg_stat_activity AS session ON session.pid = held.pid
          WHERE held.locktype = 'transactionid' AND held.mode = 'ExclusiveLock' AND held.granted
            AND session.datname = current_database() AND held.pid <> pg_backend_pid()
            AND NOT (session.application_name = 'makegood' AND coalesce(session.state, '') = 'active')
          ORDER BY held.pid, held.transactionid::text",
    )
    .fetch_all(conn)
    .await?)
}

/// What became of the credits of one day and currency. Amounts in minor units, tax included.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Reconciled {
    pub day: NaiveDate,
    pub currency: String,
    pub issued: i64,
    pub issued_minor: i64,
    pub numbered: i64,
    pub numbered_minor: i64,
    pub waiting: i64,
    pub waiting_minor: i64,
    pub delivered: i64,
    pub delivered_minor: i64,
    pub unanswered: i64,
    pub accepted: i64,
    pub partly_applied: i64,
    pub applied: i64,
    pub returned: i64,
    pub refused: i64,
    pub taken_back: i64,
    /// Of delivered credits, what stands on bills.
    pub applied_minor: i64,
}

/// The credits that were issued from `from` up to `to`, by their day in `zone`. Delivered is what any consumer was served.
pub async fn reconciliation(
    conn: &mut PgConnection,
    lane: i16,
    zone: &str,
    from: Instant,
    to: Instant,
) -> Result<Vec<Reconciled>, Error> {
    Ok(sqlx::query_as(
        r"WITH of_credit AS (
              SELECT (credit.issued_at AT TIME ZONE $1)::date AS day, credit.currency, credit.gross_minor AS gross,
                     item.pos IS NOT NULL AS is_numbered, outbox.event_id IS NOT NULL AS is_waiting,
                     coalesce(item.pos <= (SELECT max(pos) FROM feed_delivery WHERE lane = $4), false) AS is_delivered,
                     coalesce(said.applied, 0) AS applied, coalesce(said.recovered, 0) AS recovered,
                     CASE WHEN said.last_round = coalesce(done.offers, 0) THEN said.last_kind END AS last_kind,
                     coalesce(done.is_taken_back, false) AS is_taken_back
              FROM credit
              LEFT JOIN feed AS item ON item.lane = $4 AND item.credit_id = credit.credit_id AND item.op = 'issue'
              LEFT JOIN outbox ON outbox.account_id = credit.account_id AND outbox.credit_id = credit.credit_id
                              AND outbox.op = 'issue'
              LEFT JOIN LATERAL (
                  SELECT count(*) FILTER (WHERE kind = 'offered') AS offers,
                         bool_or(kind IN ('reversed', 'expired')) AS is_taken_back
                  FROM credit_deed
                  WHERE account_id = credit.account_id AND credit_id = credit.credit_id
              ) AS done ON true
              LEFT JOIN LATERAL (
                  SELECT sum(CASE kind WHEN 'applied' THEN gross_minor WHEN 'returned' THEN -gross_minor ELSE 0 END) AS applied,
                         sum(CASE kind WHEN 'debited' THEN gross_minor ELSE 0 END) AS recovered,
                         (array_agg(kind ORDER BY answer_no DESC))[1] AS last_kind,
                         (array_agg(round ORDER BY answer_no DESC))[1] AS last_round
                  FROM billing_answer
                  WHERE account_id = credit.account_id AND credit_id = credit.credit_id
              ) AS said ON true
              WHERE credit.issued_at >= $2 AND credit.issued_at < $3
          ), standing AS (
              SELECT *, CASE WHEN is_taken_back THEN 'taken_back' WHEN last_kind = 'refused' THEN 'refused' WHEN applied >= gross THEN 'applied'
                             WHEN applied > 0 THEN 'partly_applied' WHEN last_kind IS NULL THEN 'unanswered'
                             WHEN last_kind = 'accepted' THEN 'accepted' ELSE 'returned' END AS state
              FROM of_credit
          )
          SELECT day, currency, count(*) AS issued, sum(gross)::bigint AS issued_minor,
                 count(*) FILTER (WHERE is_numbered) AS numbered,
                 coalesce(sum(gross) FILTER (WHERE is_numbered), 0)::bigint AS numbered_minor,
                 count(*) FILTER (WHERE is_waiting) AS waiting,
                 coalesce(sum(gross) FILTER (WHERE is_waiting), 0)::bigint AS waiting_minor,
                 count(*) FILTER (WHERE is_delivered) AS delivered,
                 coalesce(sum(gross) FILTER (WHERE is_delivered), 0)::bigint AS delivered_minor,
                 count(*) FILTER (WHERE is_delivered AND state = 'unanswered') AS unanswered,
                 count(*) FILTER (WHERE is_delivered AND state = 'accepted') AS accepted,
                 count(*) FILTER (WHERE is_delivered AND state = 'partly_applied') AS partly_applied,
                 count(*) FILTER (WHERE is_delivered AND state = 'applied') AS applied,
                 count(*) FILTER (WHERE is_delivered AND state = 'returned') AS returned,
                 count(*) FILTER (WHERE is_delivered AND state = 'refused') AS refused,
                 count(*) FILTER (WHERE is_delivered AND state = 'taken_back') AS taken_back,
                 coalesce(sum(applied - recovered) FILTER (WHERE is_delivered), 0)::bigint AS applied_minor
          FROM standing GROUP BY day, currency ORDER BY day, currency",
    )
    .bind(zone)
    .bind(from.utc())
    .bind(to.utc())
    .bind(lane)
    .fetch_all(conn)
    .await?)
}
