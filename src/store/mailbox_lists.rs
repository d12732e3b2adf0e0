//! Lists of mailboxes that outages name: kept whole, never changed.

use std::collections::HashMap;

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Error, copy};
use crate::domain::batch::ListedRow;
use crate::domain::ids::{AccountId, MailboxListId};
use crate::domain::time::Instant;

pub const STAGING: &str = "CREATE TEMP TABLE staged_listed (
    line bigint, account_id uuid, mailbox text COLLATE \"C\") ON COMMIT DROP";

pub const COPY: &str = "COPY staged_listed FROM STDIN (FORMAT binary)";

pub fn put(rows: &mut copy::Rows, line: i64, row: &ListedRow) {
    rows.row(3).bigint(line).uuid(AccountId::of(&row.account).0).text(&row.mailbox);
}

/// Notes what is wrong with staged lines.
pub async fn check(conn: &mut PgConnection) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO staged_error
          SELECT s.line, '/account', 'There is no such account. Is it the reference that the accounts were loaded with?'
            FROM staged_listed s
           WHERE NOT EXISTS (SELECT FROM account_head h WHERE h.account_id = s.account_id)",
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        r"INSERT INTO staged_error
          SELECT s.line, '/mailbox', 'This account never had such a mailbox: no placement names it. Load its placements first.'
            FROM staged_listed s
           WHERE EXISTS (SELECT FROM account_head h WHERE h.account_id = s.account_id)
             AND NOT EXISTS (SELECT FROM placement p WHERE p.account_id = s.account_id AND p.mailbox = s.mailbox)",
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How many accounts and mailboxes a list names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Size {
    pub accounts: i64,
    pub mailboxes: i64,
}

/// The list, if it is known.
pub async fn find(conn: &mut PgConnection, id: MailboxListId) -> Result<Option<Size>, Error> {
    Ok(sqlx::query_as(r"SELECT accounts, mailboxes FROM mailbox_list WHERE list_id = $1")
        .bind(id.0)
        .fetch_optional(conn)
        .await?)
}

/// Keeps what is staged as a list. `recorded_by` is the actor's key.
pub async fn save(
    conn: &mut PgConnection,
    id: MailboxListId,
    recorded_at: Instant,
    recorded_by: &str,
) -> Result<Size, Error> {
    sqlx::query(
        r"INSERT INTO mailbox_list_entry (account_id, list_id, mailbox)
          SELECT DISTINCT account_id, $1::uuid, mailbox FROM staged_listed ORDER BY account_id, mailbox",
    )
    .bind(id.0)
    .execute(&mut *conn)
    .await?;
    Ok(sqlx::query_as(
        r"INSERT INTO mailbox_list (list_id, recorded_at, recorded_by, accounts, mailboxes)
          SELECT $1, $2, $3, count(DISTINCT account_id), count(*) FROM mailbox_list_entry WHERE list_id = $1
          RETURNING accounts, mailboxes",
    )
    .bind(id.0)
    .bind(recorded_at.utc())
    .bind(recorded_by)
    .fetch_one(conn)
    .await?)
}

/// Which of these accounts' mailboxes each of these lists names, sorted. A batch query.
pub async fn of_accounts(
    conn: &mut PgConnection,
    lists: &[MailboxListId],
    accounts: &[AccountId],
) -> Result<HashMap<AccountId, HashMap<MailboxListId, Vec<String>>>, Error> {
    let mut found: HashMap<AccountId, HashMap<MailboxListId, Vec<String>>> = HashMap::new();
    if lists.is_empty() {
        return Ok(found);
    }
    let rows: Vec<(Uuid, Uuid, String)> = sqlx::query_as(
        r"SELECT account_id, list_id, mailbox FROM mailbox_list_entry
           WHERE account_id = ANY ($1) AND list_id = ANY ($2)
           ORDER BY account_id, list_id, mailbox",
    )
    .bind(accounts.iter().map(|account| account.0).collect::<Vec<_>>())
    .bind(lists.iter().map(|list| list.0).collect::<Vec<_>>())
    .fetch_all(conn)
    .await?;
    for (account, list, mailbox) in rows {
        found.entry(AccountId(account)).or_default().entry(MailboxListId(list)).or_default().push(mailbox);
    }
    Ok(found)
}
