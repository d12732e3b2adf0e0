//! What must hold whatever happened: questions over all accounts, asked in one snapshot after a crash and by `makegood soak`,
//! beside the control totals of [`super::books`].

use sqlx::PgConnection;
use uuid::Uuid;

use super::Error;
use super::books::Control;

/// Whether each deed is whole: no claim without its credit, no credit without its audit row, nothing told of what is not there, no
/// run that gave something else than its plan, no gap in a number. Each line agrees in every snapshot.
pub async fn orphans(conn: &mut PgConnection) -> Result<Vec<Control>, Error> {
    let (unaudited, claims, unposted): (i64, i64, i64) = sqlx::query_as(
        r"SELECT (SELECT count(*) FROM credit WHERE NOT EXISTS (
                      SELECT FROM audit WHERE audit.account_id = credit.account_id AND audit.subject = credit.credit_id::text
                                          AND audit.action = 'credit.issue')),
                 (SELECT count(*) FROM claim WHERE decision->>'posted_at' IS NOT NULL AND NOT EXISTS (
                      SELECT FROM credit WHERE credit.account_id = claim.account_id AND credit.claim_id = claim.claim_id)),
                 (SELECT count(*) FROM credit JOIN claim
                    ON claim.account_id = credit.account_id AND claim.claim_id = credit.claim_id
                  WHERE claim.decision->>'posted_at' IS NULL)",
    )
    .fetch_one(&mut *conn)
    .await?;
    let (no_transfer, no_audit): (i64, i64) = sqlx::query_as(
        r"WITH told AS (
              SELECT account_id, 'transfer' AS kind, unnest(transfer_ids) AS row_id FROM outbox
              UNION ALL SELECT account_id, 'audit', unnest(audit_ids) FROM outbox
              UNION ALL SELECT account_id, kind, row_id FROM chain
          )
          SELECT (SELECT count(*) FROM told WHERE kind = 'transfer' AND NOT EXISTS (
                      SELECT FROM transfer WHERE transfer.account_id = told.account_id AND transfer_id = row_id)),
                 (SELECT count(*) FROM told WHERE kind = 'audit' AND NOT EXISTS (
                      SELECT FROM audit WHERE audit.account_id = told.account_id AND audit_id = row_id))",
    )
    .fetch_one(&mut *conn)
    .await?;
    let (other_amount, other_total): (i64, i64) = sqlx::query_as(
        r"SELECT (SELECT count(*) FROM credit JOIN credit_run_item AS item
                    ON item.account_id = credit.account_id AND item.run_id = credit.run_id
                   AND item.subscription_id = credit.subscription_id
                  WHERE item.amount_minor <> credit.gross_minor),
                 (SELECT count(*) FROM credit_run AS run WHERE state = 'applied' AND reverses IS NULL AND (credits, total_minor) <> (
                      SELECT count(*), coalesce(sum(gross_minor), 0)::bigint FROM credit WHERE credit.run_id = run.run_id))",
    )
    .fetch_one(&mut *conn)
    .await?;
    let (last_pos, items, last_link, links): (i64, i64, i64, i64) = sqlx::query_as(
        r"SELECT (SELECT coalesce(sum(last), 0)::bigint FROM (SELECT max(pos) AS last FROM feed GROUP BY lane) AS lanes),
                 (SELECT count(*) FROM feed),
                 (SELECT coalesce(sum(last), 0)::bigint FROM (SELECT max(no) AS last FROM chain GROUP BY lane) AS lanes),
                 (SELECT count(*) FROM chain)",
    )
    .fetch_one(&mut *conn)
    .await?;
    let written = super::books::coverage(conn).await?;
    let none = |name, left| Control { name, left, right: 0 };
    Ok(vec![
        none("credits without the audit row of their issue", unaudited),
        none("claims that are posted and have no credit", claims),
        none("credits of claims that are not posted", unposted),
        none("transfers that the outbox or the chain names and that are not there", no_transfer),
        none("audit rows that the outbox or the chain names and that are not there", no_audit),
        none("credits of another amount than their run's plan", other_amount),
        none("applied runs whose credits are not their plan's", other_total),
        Control { name: "last position of the feed = its items", left: last_pos, right: items },
        Control { name: "last number of the chain = its links", left: last_link, right: links },
        Control {
            name: "rows of the books and of the audit trail = links + waiting",
            left: written.transfers + written.audits,
            right: written.linked + written.waiting,
        },
    ])
}

/// Every credit there is with its gross amount in minor units, by its id.
pub async fn credits(conn: &mut PgConnection) -> Result<Vec<(Uuid, i64)>, Error> {
    Ok(sqlx::query_as(r"SELECT credit_id, gross_minor FROM credit ORDER BY credit_id").fetch_all(conn).await?)
}

/// The claims of these references: reference, state, and the gross amount of the credit in minor units where one was issued.
pub async fn claims(
    conn: &mut PgConnection,
    references: &[String],
) -> Result<Vec<(String, String, Option<i64>)>, Error> {
    Ok(sqlx::query_as(
        r"SELECT claim.reference, claim.state, credit.gross_minor
          FROM claim LEFT JOIN credit ON credit.account_id = claim.account_id AND credit.claim_id = claim.claim_id
          WHERE claim.reference = ANY ($1)",
    )
    .bind(references)
    .fetch_all(conn)
    .await?)
}

/// Every answer of billing: the credit, the kind of answer, and its reference.
pub async fn answers(conn: &mut PgConnection) -> Result<Vec<(Uuid, String, String)>, Error> {
    Ok(sqlx::query_as(r"SELECT credit_id, kind, reference FROM billing_answer").fetch_all(conn).await?)
}

/// The credits that were reversed.
pub async fn reversed(conn: &mut PgConnection) -> Result<Vec<Uuid>, Error> {
    Ok(sqlx::query_scalar(r"SELECT credit_id FROM credit_deed WHERE kind = 'reversed'").fetch_all(conn).await?)
}

/// How much is still under way: events without a number, decisions that are not posted, runs that are not applied.
pub async fn under_way(conn: &mut PgConnection) -> Result<i64, Error> {
    Ok(sqlx::query_scalar(
        r"SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM claim WHERE posts_at IS NOT NULL)
               + (SELECT count(*) FROM credit_run WHERE state = 'approved')",
    )
    .fetch_one(conn)
    .await?)
}
