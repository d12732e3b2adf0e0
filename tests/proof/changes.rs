//! What the service's own role tries against the books is refused by privilege, whatever the statement.

use std::collections::BTreeSet;

use futures_util::TryStreamExt;
use sqlx::postgres::{PgConnection, PgPoolCopyExt};
use sqlx::{AssertSqlSafe, Connection, PgPool};

use crate::support::is_skipped;
use crate::world::*;
use crate::{give, number_all};

/// What must be among the tables that are only added to.
const BOOKS: [&str; 5] = ["credit", "transfer", "audit", "feed", "chain"];

/// Not allowed.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

async fn fingerprint(owner: &PgPool, table: &str) -> (i64, String) {
    let statement = format!(
        "SELECT count(*), coalesce(md5(string_agg(one::text, E'\\n' ORDER BY one::text)), '') FROM {table} AS one"
    );
    sqlx::query_as(AssertSqlSafe(statement)).fetch_one(owner).await.unwrap()
}

/// What the statement fails with; nothing where it goes through.
async fn refused(conn: &mut PgConnection, statement: &str) -> Option<String> {
    let failed = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(conn).await.err()?;
    Some(failed.as_database_error().and_then(|error| error.code().map(|code| code.into_owned())).unwrap_or_default())
}

/// Copies a row that is there once more.
async fn copied(conn: &mut PgConnection, table: &str, row: &str) -> Result<u64, sqlx::Error> {
    let mut copy = conn.copy_in_raw(&format!("COPY {table} FROM STDIN")).await?;
    copy.send(format!("{row}\n").into_bytes()).await?;
    copy.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_services_role_can_change_no_row_of_the_books() {
    if is_skipped("the_services_role_can_change_no_row_of_the_books") {
        return;
    }
    let world = world(3).await;
    let (pool, owner) = (&world.database.app, &world.database.owner);
    give(pool, 3, 1).await;
    // The owner sees what row-level security would hide from a fingerprint.
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
           AND has_table_privilege('makegood_server', oid, 'INSERT')
           AND NOT has_any_column_privilege('makegood_server', oid, 'UPDATE')
           AND NOT has_table_privilege('makegood_server', oid, 'DELETE') ORDER BY 1",
    )
    .fetch_all(owner)
    .await
    .unwrap();
    let there: BTreeSet<&str> = tables.iter().map(String::as_str).collect();
    assert!(BOOKS.iter().all(|table| there.contains(table)), "{there:?}");
    for table in &tables {
        let statement = format!("ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY");
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(owner).await.unwrap();
    }
    let mut conn = PgConnection::connect(&world.database.url_app).await.unwrap();
    for table in &tables {
        let before = fingerprint(owner, table).await;
        let key: Vec<String> = sqlx::query_scalar(
            "SELECT attname::text FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
             WHERE indrelid = $1::text::regclass AND indisprimary ORDER BY attnum",
        )
        .bind(table)
        .fetch_all(owner)
        .await
        .unwrap();
        let (key, first) = (key.join(", "), &key[0]);
        for statement in [
            format!("UPDATE {table} SET {first} = {first}"),
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table}"),
            format!(
                "INSERT INTO {table} SELECT * FROM {table} LIMIT 1 ON CONFLICT ({key}) DO UPDATE SET {first} = EXCLUDED.{first}"
            ),
            format!("MERGE INTO {table} USING (SELECT 1) AS one ON true WHEN MATCHED THEN DELETE"),
            format!("ALTER TABLE {table} DISABLE TRIGGER ALL"),
            format!("DROP TABLE {table}"),
        ] {
            assert_eq!(refused(&mut conn, &statement).await.as_deref(), Some(INSUFFICIENT_PRIVILEGE), "{statement}");
        }
        let row = format!("COPY (SELECT * FROM {table} LIMIT 1) TO STDOUT");
        let mut copy = Vec::new();
        let mut out = owner.copy_out_raw(&row).await.unwrap();
        while let Some(bytes) = out.try_next().await.unwrap() {
            copy.extend_from_slice(&bytes);
        }
        drop(out);
        let row = String::from_utf8(copy).unwrap();
        if !row.is_empty() {
            assert!(copied(&mut conn, table, row.trim_end_matches('\n')).await.is_err(), "COPY into {table}");
        }
        assert_eq!(fingerprint(owner, table).await, before, "{table}");
    }
    number_all(pool).await;
    let books: Vec<_> = BOOKS.iter().filter(|table| there.contains(*table)).collect();
    assert_eq!(books.len(), BOOKS.len());
    for table in BOOKS {
        assert!(fingerprint(owner, table).await.0 > 0, "{table} holds nothing to protect");
    }
}
