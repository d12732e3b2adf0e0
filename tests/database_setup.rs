//! The roles, and the kit that gives each test a database.

mod support;

use makegood::store::setup;
use sqlx::PgPool;

async fn is_refused(pool: &PgPool, statement: &'static str) -> Option<String> {
    let error = sqlx::raw_sql(statement).execute(pool).await.err()?;
    error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned())
}

#[tokio::test]
async fn the_server_can_do_its_work_and_no_more() {
    if support::is_skipped("the_server_can_do_its_work_and_no_more") {
        return;
    }
    let database = support::database().await;
    let (name, is_superuser, bypasses): (String, bool, bool) =
        sqlx::query_as("SELECT rolname::text, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user")
            .fetch_one(&database.app)
            .await
            .unwrap();
    assert_eq!((name.as_str(), is_superuser, bypasses), ("makegood_server", false, false));
    sqlx::raw_sql("SELECT * FROM account; INSERT INTO demo VALUES (1, 'xs', 0, false)")
        .execute(&database.app)
        .await
        .unwrap();
    let forbidden = Some("42501".to_owned());
    assert_eq!(is_refused(&database.app, "CREATE TABLE mine (id int)").await, forbidden);
    assert_eq!(is_refused(&database.app, "DELETE FROM account").await, forbidden);
    assert_eq!(is_refused(&database.app, "ALTER TABLE account DISABLE ROW LEVEL SECURITY").await, forbidden);
    assert_eq!(is_refused(&database.app, "CREATE ROLE other").await, forbidden);
    let as_customer =
        "BEGIN; SET LOCAL ROLE makegood_customer; SELECT * FROM account; INSERT INTO demo SELECT * FROM demo";
    assert_eq!(is_refused(&database.app, as_customer).await, forbidden);
    database.close().await;
}

#[tokio::test]
async fn the_owner_sees_the_rows_that_a_migration_may_have_to_rewrite() {
    if support::is_skipped("the_owner_sees_the_rows_that_a_migration_may_have_to_rewrite") {
        return;
    }
    let database = support::database().await;
    let insert = "INSERT INTO account (account_id, recorded_at, reference, name, zone, currency)
                  VALUES (gen_random_uuid(), now(), 'a', 'A', 'Europe/Paris', 'EUR')";
    sqlx::raw_sql(insert).execute(&database.app).await.unwrap();
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM account").fetch_one(&database.owner).await.unwrap();
    assert_eq!(seen, 1);
}

#[tokio::test]
async fn every_test_has_a_database_of_its_own_that_ends_with_it() {
    if support::is_skipped("every_test_has_a_database_of_its_own_that_ends_with_it") {
        return;
    }
    let (one, other) = tokio::join!(support::database(), support::database());
    sqlx::raw_sql("INSERT INTO demo VALUES (1, 'xs', 0, false)").execute(&one.app).await.unwrap();
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM demo").fetch_one(&other.app).await.unwrap();
    assert_eq!(seen, 0);
    let name: String = sqlx::query_scalar("SELECT current_database()::text").fetch_one(&one.app).await.unwrap();
    one.close().await;
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_database WHERE datname = $1")
        .bind(name)
        .fetch_one(&other.app)
        .await
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn migrating_again_and_at_once_changes_nothing() {
    if support::is_skipped("migrating_again_and_at_once_changes_nothing") {
        return;
    }
    let database = support::database().await;
    let (one, other) = tokio::join!(setup::migrate(&database.owner), setup::migrate(&database.owner));
    one.unwrap();
    other.unwrap();
    let applied: i64 =
        sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations").fetch_one(&database.owner).await.unwrap();
    assert_eq!(usize::try_from(applied).unwrap(), setup::MIGRATIONS.iter().count());
}
