//! Blanking what may have to be erased: names, addresses and free text of one account. They stand outside the books, so sums and chain
//! do not know them. The application's role may not do this; it runs as the database's owner.

use sqlx::PgConnection;

use super::Error;
use crate::domain::ids::AccountId;

/// What stands in place of what was erased.
pub const ERASED: &str = "erased";

/// How many rows were blanked, by table.
pub type Counts = Vec<(&'static str, u64)>;

/// Blanks everything that names a person of the account, or that a person wrote about it.
pub async fn blank(conn: &mut PgConnection, account: AccountId, reference: &str) -> Result<Counts, Error> {
    // Before the claims' words, which it needs nothing of, and before the audit rows' origins are gone.
    let origins = sqlx::query(
        r"DELETE FROM request_origin USING audit
          WHERE audit.account_id = $1 AND request_origin.origin = decode(audit.context ->> 'from', 'hex')",
    )
    .bind(account.0)
    .execute(&mut *conn)
    .await?;
    let answers = sqlx::query(
        r"DELETE FROM idempotency
          WHERE EXISTS (SELECT FROM claim WHERE account_id = $1 AND position(claim.reference IN idempotency.body) > 0)",
    )
    .bind(account.0)
    .execute(&mut *conn)
    .await?;
    let sessions = sqlx::query(r"DELETE FROM session WHERE actor -> 'accounts' @> to_jsonb($1::text)")
        .bind(reference)
        .execute(&mut *conn)
        .await?;
    let names = sqlx::query(
        r"UPDATE account SET name = $2, email = NULL WHERE account_id = $1 AND (name <> $2 OR email IS NOT NULL)",
    )
    .bind(account.0)
    .bind(ERASED)
    .execute(&mut *conn)
    .await?;
    let claims = sqlx::query(
        r#"UPDATE claim SET words = $2,
                  recommendation = recommendation || '{"by_name": "", "words": ""}',
                  decision = CASE WHEN decision ? 'opinion'
                             THEN jsonb_set(decision, '{opinion}', decision -> 'opinion' || '{"by_name": "", "words": ""}')
                             ELSE decision END
           WHERE account_id = $1"#,
    )
    .bind(account.0)
    .bind(ERASED)
    .execute(&mut *conn)
    .await?;
    let events = sqlx::query(r"UPDATE claim_event SET actor_name = $2 WHERE account_id = $1 AND actor_name <> $2")
        .bind(account.0)
        .bind(ERASED)
        .execute(&mut *conn)
        .await?;
    let details =
        sqlx::query(r"UPDATE billing_answer SET detail = $2 WHERE account_id = $1 AND detail NOT IN ('', $2)")
            .bind(account.0)
            .bind(ERASED)
            .execute(&mut *conn)
            .await?;
    let deeds = sqlx::query(r"UPDATE credit_deed SET note = $2 WHERE account_id = $1 AND note NOT IN ('', $2)")
        .bind(account.0)
        .bind(ERASED)
        .execute(&mut *conn)
        .await?;
    let differences = sqlx::query(r"UPDATE difference_decision SET reason = $2 WHERE account_id = $1 AND reason <> $2")
        .bind(account.0)
        .bind(ERASED)
        .execute(&mut *conn)
        .await?;
    let settlements =
        sqlx::query(r"UPDATE placement_settlement SET reason = $2 WHERE account_id = $1 AND reason <> $2")
            .bind(account.0)
            .bind(ERASED)
            .execute(conn)
            .await?;
    Ok([
        ("request_origin", origins),
        ("idempotency", answers),
        ("session", sessions),
        ("account", names),
        ("claim", claims),
        ("claim_event", events),
        ("billing_answer", details),
        ("credit_deed", deeds),
        ("difference_decision", differences),
        ("placement_settlement", settlements),
    ]
    .map(|(table, done)| (table, done.rows_affected()))
    .to_vec())
}

/// Takes what was blanked out of the tables' pages, where old versions of rows stay until then.
pub async fn vacuum(conn: &mut PgConnection) -> Result<(), Error> {
    sqlx::query(
        r"VACUUM request_origin, idempotency, session, account, claim, claim_event, billing_answer, credit_deed, difference_decision,
                 placement_settlement",
    )
    .execute(conn)
    .await?;
    Ok(())
}
