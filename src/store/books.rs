//! Reading the books: rows for the chain, the trial balance, and the control totals that must agree.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Error;
use super::evidence::instant;
use super::mass_credits::Sending;
use crate::domain::chain::{AuditRow, Hash, TransferRow};

/// In the order of the columns, which are found by position: there are half a million rows in a large run.
type Transfer = (Uuid, Uuid, Uuid, String, String, String, i64, String, String, NaiveDate, DateTime<Utc>);
type Audit = (Uuid, Uuid, DateTime<Utc>, String, String, String, Value, Option<Value>);

/// The rows of the books behind these ids, as the chain encodes them.
pub async fn encoded_transfers(
    conn: &mut PgConnection,
    accounts: &[Uuid],
    ids: &[Uuid],
) -> Result<HashMap<Uuid, Vec<u8>>, Error> {
    let rows: Vec<Transfer> = sqlx::query_as(
        r"SELECT account_id, transfer_id, document, event, debit, credit, amount_minor, currency, reason, effective_on, recorded_at
          FROM transfer WHERE (account_id, transfer_id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))",
    )
    .bind(accounts)
    .bind(ids)
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(account, transfer, document, event, debit, credit, amount_minor, currency, reason, day, recorded_at)| {
            let encoded = TransferRow {
                account,
                transfer,
                document,
                event: &event,
                debit: &debit,
                credit: &credit,
                amount_minor,
                currency: &currency,
                reason: &reason,
                effective_on: &day.to_string(),
                recorded_at: instant(recorded_at, "transfer.recorded_at")?,
            }
            .encode();
            Ok((transfer, encoded))
        })
        .collect()
}

/// The rows of the audit trail behind these ids, as the chain encodes them.
pub async fn encoded_audits(
    conn: &mut PgConnection,
    accounts: &[Uuid],
    ids: &[Uuid],
) -> Result<HashMap<Uuid, Vec<u8>>, Error> {
    let rows: Vec<Audit> = sqlx::query_as(
        r"SELECT account_id, audit_id, recorded_at, actor, action, subject, detail, context
          FROM audit WHERE (account_id, audit_id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))",
    )
    .bind(accounts)
    .bind(ids)
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(account, audit, recorded_at, actor, action, subject, detail, context)| {
            let encoded = AuditRow {
                account,
                audit,
                recorded_at: instant(recorded_at, "audit.recorded_at")?,
                actor: &actor,
                action: &action,
                subject: &subject,
                detail: &detail,
                context: context.as_ref(),
            }
            .encode();
            Ok((audit, encoded))
        })
        .collect()
}

/// A link of the chain that is new.
#[derive(Debug)]
pub struct NewLink {
    pub no: i64,
    pub kind: &'static str,
    pub account_id: Uuid,
    pub row_id: Uuid,
    pub hash: Hash,
}

pub async fn insert_links(conn: &mut PgConnection, lane: i16, links: &[NewLink]) -> Result<(), Error> {
    let mut sending = Sending::begin(
        conn.copy_in_raw(r"COPY chain (lane, no, kind, account_id, row_id, hash) FROM STDIN (FORMAT binary)").await?,
    );
    for link in links {
        sending
            .rows
            .row(6)
            .smallint(lane)
            .bigint(link.no)
            .text(link.kind)
            .uuid(link.account_id)
            .uuid(link.row_id)
            .bytes(&link.hash);
        sending.flush().await?;
    }
    sending.end().await
}

/// How many rows of the books and of the audit trail there are, and how many of them stand in the chain or wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Coverage {
    pub transfers: i64,
    pub audits: i64,
    pub linked: i64,
    pub waiting: i64,
}

pub async fn coverage(conn: &mut PgConnection) -> Result<Coverage, Error> {
    Ok(sqlx::query_as(
        r"SELECT (SELECT count(*) FROM transfer) AS transfers, (SELECT count(*) FROM audit) AS audits,
                 (SELECT count(*) FROM chain) AS linked,
                 (SELECT coalesce(sum(cardinality(transfer_ids) + cardinality(audit_ids)), 0)::bigint FROM outbox) AS waiting",
    )
    .fetch_one(conn)
    .await?)
}

/// One line of the trial balance, in minor units.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct BalanceLine {
    pub code: String,
    pub currency: String,
    pub debit_minor: i64,
    pub credit_minor: i64,
}

/// Debits and credits by account of the books, of what is effective and was recorded up to the two dates.
pub async fn trial_balance(
    conn: &mut PgConnection,
    effective_through: NaiveDate,
    recorded_through: DateTime<Utc>,
) -> Result<Vec<BalanceLine>, Error> {
    Ok(sqlx::query_as(
        r"SELECT leg.code, leg.currency, sum(leg.debit)::bigint AS debit_minor, sum(leg.credit)::bigint AS credit_minor
          FROM (
              SELECT debit AS code, currency, amount_minor AS debit, 0 AS credit FROM transfer
              WHERE effective_on <= $1 AND recorded_at <= $2
              UNION ALL
              SELECT credit, currency, 0, amount_minor FROM transfer WHERE effective_on <= $1 AND recorded_at <= $2
          ) AS leg
          GROUP BY leg.code, leg.currency ORDER BY leg.currency, leg.code",
    )
    .bind(effective_through)
    .bind(recorded_through)
    .fetch_all(conn)
    .await?)
}

/// One control total: two figures that must be the same, or a count that must be nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    pub name: &'static str,
    pub left: i64,
    pub right: i64,
}

/// The oracle of the books (ARCHITECTURE.md, "Books and feed"). Each line agrees in every snapshot.
pub async fn control_totals(conn: &mut PgConnection) -> Result<Vec<Control>, Error> {
    let mut controls = balances(&mut *conn).await?;
    controls.extend(told(&mut *conn).await?);
    let (uncaused, orphaned): (i64, i64) = sqlx::query_as(
        r"SELECT (SELECT count(*) FROM transfer LEFT JOIN credit
                    ON credit.account_id = transfer.account_id AND credit.credit_id = transfer.document
                  WHERE credit.credit_id IS NULL
                    AND transfer.document NOT IN (SELECT document FROM accounting_step WHERE document IS NOT NULL)),
                 (SELECT count(*) FROM credit LEFT JOIN transfer
                    ON transfer.account_id = credit.account_id AND transfer.document = credit.credit_id AND transfer.event = 'issued'
                  WHERE transfer.document IS NULL)",
    )
    .fetch_one(conn)
    .await?;
    controls.push(Control { name: "transfers without a credit", left: uncaused, right: 0 });
    controls.push(Control { name: "credits without a transfer", left: orphaned, right: 0 });
    Ok(controls)
}

/// What the books say of each account beside what the credits, billing's answers and people's deeds say.
async fn balances(conn: &mut PgConnection) -> Result<Vec<Control>, Error> {
    let (owed_differs, owed, credited, recoverable_differs, tax_differs): (i64, i64, i64, i64, i64) = sqlx::query_as(
        r"WITH books AS (
              SELECT account_id, currency,
                     sum(CASE WHEN credit IN ('OWED', 'HELD', 'UNCLAIMED') THEN amount_minor ELSE 0 END)
                   - sum(CASE WHEN debit IN ('OWED', 'HELD', 'UNCLAIMED') THEN amount_minor ELSE 0 END) AS owed,
                     sum(CASE WHEN debit = 'RECOVERABLE' THEN amount_minor ELSE 0 END)
                   - sum(CASE WHEN credit = 'RECOVERABLE' THEN amount_minor ELSE 0 END) AS recoverable,
                     sum(CASE WHEN debit = 'TAX_PENDING' THEN amount_minor ELSE 0 END)
                   - sum(CASE WHEN credit = 'TAX_PENDING' THEN amount_minor ELSE 0 END) AS tax
              FROM transfer GROUP BY account_id, currency
          ), moved AS (
              SELECT account_id, currency, gross_minor AS owed, 0 AS recoverable, tax_minor AS tax FROM credit
              UNION ALL
              SELECT answer.account_id, credit.currency,
                     CASE answer.kind WHEN 'applied' THEN -answer.gross_minor WHEN 'returned' THEN answer.gross_minor
                                      WHEN 'cancelled' THEN -answer.gross_minor ELSE 0 END,
                     CASE answer.kind WHEN 'debited' THEN -answer.gross_minor ELSE 0 END,
                     CASE answer.kind WHEN 'applied' THEN answer.rounding_minor - answer.tax_minor
                                      WHEN 'returned' THEN answer.tax_minor - answer.rounding_minor
                                      WHEN 'cancelled' THEN -answer.tax_minor WHEN 'debited' THEN answer.tax_minor ELSE 0 END
              FROM billing_answer AS answer
              JOIN credit ON credit.account_id = answer.account_id AND credit.credit_id = answer.credit_id
              UNION ALL
              SELECT deed.account_id, credit.currency,
                     CASE WHEN deed.kind IN ('written_off', 'paid') THEN -deed.gross_minor ELSE 0 END,
                     CASE deed.kind WHEN 'debited' THEN deed.gross_minor ELSE 0 END,
                     CASE WHEN deed.kind IN ('written_off', 'paid', 'debited') THEN -deed.tax_minor ELSE 0 END
              FROM credit_deed AS deed
              JOIN credit ON credit.account_id = deed.account_id AND credit.credit_id = deed.credit_id
          ), due AS (
              SELECT account_id, currency, sum(owed) AS owed, sum(recoverable) AS recoverable, sum(tax) AS tax
              FROM moved GROUP BY account_id, currency
          ), both_sides AS (
              SELECT coalesce(books.owed, 0) AS owed, coalesce(due.owed, 0) AS due,
                     coalesce(books.recoverable, 0) <> coalesce(due.recoverable, 0) AS recoverable_differs,
                     coalesce(books.tax, 0) <> coalesce(due.tax, 0) AS tax_differs
              FROM books FULL JOIN due ON due.account_id = books.account_id AND due.currency = books.currency
          )
          SELECT count(*) FILTER (WHERE owed <> due), coalesce(sum(owed), 0)::bigint, coalesce(sum(due), 0)::bigint,
                 count(*) FILTER (WHERE recoverable_differs), count(*) FILTER (WHERE tax_differs)
          FROM both_sides",
    )
    .fetch_one(conn)
    .await?;
    let none = |name, left| Control { name, left, right: 0 };
    Ok(vec![
        none(
            "accounts whose owed, held and unclaimed balance is not what was credited less what was applied, cancelled or paid out",
            owed_differs,
        ),
        Control {
            name: "owed, held and unclaimed in the books = credited less applied, cancelled and paid out, minor units",
            left: owed,
            right: credited,
        },
        none(
            "accounts whose recoverable balance is not what was debited less what billing put on bills",
            recoverable_differs,
        ),
        none("accounts whose pending tax is not the tax of what stands on no bill", tax_differs),
    ])
}

/// What billing hears beside what happened.
async fn told(conn: &mut PgConnection) -> Result<Vec<Control>, Error> {
    let (credits, told): (i64, i64) = sqlx::query_as(
        r"SELECT (SELECT count(*) FROM credit),
                 (SELECT count(*) FROM outbox WHERE op = 'issue') + (SELECT count(*) FROM feed WHERE op = 'issue')",
    )
    .fetch_one(&mut *conn)
    .await?;
    let (credited_minor, told_minor, days): (i64, i64, i64) = sqlx::query_as(
        r"WITH told AS (
              SELECT account_id, credit_id FROM outbox WHERE op = 'issue'
              UNION ALL SELECT account_id, credit_id FROM feed WHERE op = 'issue'
          ), by_day AS (
              SELECT currency, (issued_at AT TIME ZONE 'UTC')::date AS day, gross_minor AS minor, 0 AS told_minor FROM credit
              UNION ALL
              SELECT credit.currency, (credit.issued_at AT TIME ZONE 'UTC')::date, 0, credit.gross_minor
              FROM told JOIN credit ON credit.account_id = told.account_id AND credit.credit_id = told.credit_id
          ), day AS (
              SELECT sum(minor) AS minor, sum(told_minor) AS told_minor FROM by_day GROUP BY currency, day
          )
          SELECT coalesce(sum(minor), 0)::bigint, coalesce(sum(told_minor), 0)::bigint, count(*) FILTER (WHERE minor <> told_minor)
          FROM day",
    )
    .fetch_one(&mut *conn)
    .await?;
    let (deeds, items): (i64, i64) = sqlx::query_as(
        r"SELECT (SELECT count(*) FROM credit_deed WHERE op IS NOT NULL),
                 (SELECT count(*) FROM outbox WHERE op <> 'issue') + (SELECT count(*) FROM feed WHERE op <> 'issue')",
    )
    .fetch_one(&mut *conn)
    .await?;
    let (items_of_feed, answered, waiting): (i64, i64, i64) = sqlx::query_as(
        r"WITH said AS (SELECT DISTINCT account_id, credit_id FROM billing_answer)
          SELECT (SELECT count(*) FROM feed WHERE op = 'issue'), (SELECT count(*) FROM said),
                 (SELECT count(*) FROM feed LEFT JOIN said ON said.account_id = feed.account_id AND said.credit_id = feed.credit_id
                  WHERE feed.op = 'issue' AND said.credit_id IS NULL)",
    )
    .fetch_one(conn)
    .await?;
    Ok(vec![
        Control { name: "credits issued = outbox rows + feed items", left: credits, right: told },
        Control {
            name: "credits issued = outbox rows + feed items, minor units",
            left: credited_minor,
            right: told_minor,
        },
        Control {
            name: "days and currencies on which what was issued is not what billing hears",
            left: days,
            right: 0,
        },
        Control { name: "cancelled, debited and offered again = outbox rows + feed items", left: deeds, right: items },
        Control { name: "feed items = answered + waiting", left: items_of_feed, right: answered + waiting },
    ])
}

/// Where the credits stand on their way to bills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct FeedCounts {
    pub issued: i64,
    /// Committed, and not numbered yet; audit rows wait here too.
    pub unnumbered: i64,
    /// Numbered credits that some consumer was served.
    pub delivered: i64,
    /// Credits of which billing has nothing left to put on a bill: applied, cancelled or refused.
    pub answered: i64,
}

pub async fn feed_counts(conn: &mut PgConnection) -> Result<FeedCounts, Error> {
    Ok(sqlx::query_as(
        r"SELECT (SELECT count(*) FROM credit) AS issued, (SELECT count(*) FROM outbox) AS unnumbered,
                 (SELECT count(*) FROM feed WHERE op = 'issue' AND pos <= (SELECT coalesce(max(pos), 0) FROM feed_delivery)) AS delivered,
                 (SELECT count(*) FROM credit JOIN (
                      SELECT account_id, credit_id,
                             sum(CASE kind WHEN 'applied' THEN gross_minor WHEN 'returned' THEN -gross_minor ELSE 0 END) AS applied,
                             (array_agg(kind ORDER BY answer_no DESC))[1] AS last_kind
                      FROM billing_answer GROUP BY account_id, credit_id
                  ) AS said ON said.account_id = credit.account_id AND said.credit_id = credit.credit_id
                  WHERE said.applied = credit.gross_minor OR said.last_kind IN ('refused', 'cancelled', 'debited', 'superseding'))
                 AS answered",
    )
    .fetch_one(conn)
    .await?)
}
