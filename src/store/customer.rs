//! The second fence: a connection that sees the rows of some accounts and no others, whatever the statement says.

use sqlx::PgPool;
use uuid::Uuid;

use super::{Error, Tx};
use crate::domain::ids::AccountId;

/// Opens a transaction as `makegood_customer`, for these accounts. The database adds the condition to every statement.
pub async fn open(pool: &PgPool, accounts: &[AccountId]) -> Result<Tx, Error> {
    let mut tx = pool.begin().await?;
    let ids: Vec<String> = accounts.iter().map(AccountId::to_string).collect();
    sqlx::query(r"SELECT set_config('makegood.account', $1, true)").bind(ids.join(",")).execute(&mut *tx).await?;
    sqlx::query(r"SET LOCAL ROLE makegood_customer").execute(&mut *tx).await?;
    Ok(tx)
}

/// Which of these accounts there are.
pub async fn known(conn: &mut sqlx::PgConnection, accounts: &[AccountId]) -> Result<Vec<AccountId>, Error> {
    let ids: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    let known: Vec<Uuid> = sqlx::query_scalar(r"SELECT DISTINCT account_id FROM account WHERE account_id = ANY ($1)")
        .bind(ids)
        .fetch_all(conn)
        .await?;
    Ok(known.into_iter().map(AccountId).collect())
}
