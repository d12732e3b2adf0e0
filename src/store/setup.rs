//! What has to be there before the first statement: roles, a database, its tables.
//!
//! The statements here define things, so they cannot be prepared, and are no raw literals like those of the other files.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

/// The role that owns the database and its tables, and migrates. It is not for serving: `serve` refuses it.
pub const OWNER: &str = "makegood_owner";
/// The role that the server logs in as. It owns nothing and has what `makegood_app` and `makegood_customer` were granted.
pub const SERVER: &str = "makegood_server";

/// The migrations that this build knows.
pub static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// All who prepare databases on one server wait for each other here: the number is arbitrary, and ours.
const LOCK: &str = "SELECT pg_advisory_lock(7033628411)";
const UNLOCK: &str = "SELECT pg_advisory_unlock(7033628411)";

/// Roles belong to the whole server. The owner may hand `makegood_app` and `makegood_customer` on, whichever database's
/// owner made them first; and it is a member of `makegood_app`, for a migration that rewrites rows would otherwise see
/// none: row-level security binds the owner too.
const ROLES: &str = "
    DO $$
    BEGIN
        IF to_regrole('makegood_app') IS NULL THEN CREATE ROLE makegood_app NOLOGIN; END IF;
        IF to_regrole('makegood_customer') IS NULL THEN CREATE ROLE makegood_customer NOLOGIN; END IF;
        IF to_regrole('makegood_owner') IS NULL THEN CREATE ROLE makegood_owner LOGIN CREATEROLE; END IF;
        IF to_regrole('makegood_server') IS NULL THEN CREATE ROLE makegood_server LOGIN; END IF;
        GRANT makegood_app, makegood_customer TO makegood_owner WITH ADMIN OPTION;
        GRANT makegood_app, makegood_customer TO makegood_server;
    END $$";

/// Lets the server's role do its work, where the database was set up by hand and not by [`prepare`]; and makes the owner
/// a member of `makegood_app`, which from PostgreSQL 16 on it is not by having made it. A grant that is there already is
/// not asked for, since the owner may lack the right to make it.
const MEMBERS: &str = "
    DO $$
    BEGIN
        IF NOT pg_has_role(current_user, 'makegood_app', 'USAGE') THEN
            EXECUTE format('GRANT makegood_app TO %I', current_user);
        END IF;
        IF to_regrole('makegood_server') IS NOT NULL
           AND NOT (pg_has_role('makegood_server', 'makegood_app', 'MEMBER')
                    AND pg_has_role('makegood_server', 'makegood_customer', 'MEMBER')) THEN
            GRANT makegood_app, makegood_customer TO makegood_server;
        END IF;
    END $$";

/// Why a database could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database refused or was away.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// A migration failed, or what the database has is not what this build knows.
    #[error("the migrations failed: {0}")]
    Migrations(#[from] MigrateError),
    /// The name would need quoting.
    #[error("{0:?} is no name for a database: up to 63 of a-z, 0-9 and _, and no digit first")]
    Name(String),
}

/// Whether the name can stand in a statement as it is.
pub fn is_plain_name(name: &str) -> bool {
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    plain && (1..=63).contains(&name.len()) && !name.starts_with(|first: char| first.is_ascii_digit())
}

/// Makes the roles, and the database if it is missing, owned by [`OWNER`]. May be repeated, and may run many times at once
/// if every superuser is connected to the same database, which should be `postgres`.
pub async fn prepare(superuser: &mut PgConnection, database: &str) -> Result<(), Error> {
    if !is_plain_name(database) {
        return Err(Error::Name(database.to_owned()));
    }
    sqlx::raw_sql(LOCK).execute(&mut *superuser).await?;
    let made = make(superuser, database).await;
    let unlocked = sqlx::raw_sql(UNLOCK).execute(superuser).await;
    made?;
    unlocked?;
    Ok(())
}

async fn make(superuser: &mut PgConnection, database: &str) -> Result<(), Error> {
    sqlx::raw_sql(ROLES).execute(&mut *superuser).await?;
    let is_there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
        .bind(database)
        .fetch_one(&mut *superuser)
        .await?;
    if !is_there {
        // Nobody can be connected to template0, which would make this fail.
        let statement = format!("CREATE DATABASE {database} OWNER {OWNER} TEMPLATE template0");
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(superuser).await?;
    }
    Ok(())
}

/// Brings the owner's database to what this build knows, and sees to it that the roles can use it. Several may call it at
/// once: the migrations wait for each other.
pub async fn migrate(owner: &PgPool) -> Result<(), Error> {
    MIGRATIONS.run(owner).await?;
    let mut connection = owner.acquire().await?;
    let mut tx = connection.begin().await?;
    // One at a time on this database; on another of the same server the grants are made already, by whoever prepared it.
    sqlx::raw_sql("SELECT pg_advisory_xact_lock(7033628411)").execute(&mut *tx).await?;
    sqlx::raw_sql(MEMBERS).execute(&mut *tx).await?;
    // The server asks at its start whether it knows the tables that it finds.
    sqlx::raw_sql("GRANT SELECT ON _sqlx_migrations TO makegood_app").execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

/// What the role that this pool logs in as may do beyond its grants, in words; none where it may do nothing more.
pub async fn power_of_role(pool: &PgPool) -> Result<Option<String>, Error> {
    let (superuser, bypasses, owned): (bool, bool, Option<String>) = sqlx::query_as(
        "SELECT rolsuper, rolbypassrls,
                (SELECT min(relname::text) FROM pg_class
                 WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND pg_has_role(current_user, relowner, 'MEMBER'))
         FROM pg_roles WHERE rolname = current_user",
    )
    .fetch_one(pool)
    .await?;
    Ok(match (superuser, bypasses, owned) {
        (true, _, _) => Some("is a superuser".to_owned()),
        (_, true, _) => Some("may bypass row-level security".to_owned()),
        (_, _, Some(table)) => Some(format!("owns the table {table}")),
        (false, false, None) => None,
    })
}

/// Lets the first claim of a database have this number. Does nothing once there is one.
pub async fn start_claims_at(owner: &PgPool, number: u32) -> Result<(), Error> {
    let is_used: bool = sqlx::query_scalar("SELECT is_called FROM claim_number").fetch_one(owner).await?;
    if !is_used {
        sqlx::raw_sql(AssertSqlSafe(format!("ALTER SEQUENCE claim_number RESTART WITH {number}")))
            .execute(owner)
            .await?;
    }
    Ok(())
}

/// How many migrations of this build the database does not have yet.
pub async fn missing_migrations(pool: &PgPool) -> Result<usize, Error> {
    let applied: Vec<i64> =
        match sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success").fetch_all(pool).await {
            Ok(versions) => versions,
            Err(error) if super::is_undefined_table(&error) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
    Ok(MIGRATIONS.iter().filter(|migration| !applied.contains(&migration.version)).count())
}

#[cfg(test)]
mod tests {
    use super::is_plain_name;

    #[test]
    fn a_name_that_would_need_quoting_is_refused() {
        for name in ["makegood", "t_0192", "_x"] {
            assert!(is_plain_name(name), "{name}");
        }
        let long = "x".repeat(64);
        for name in ["", "1st", "a-b", "a b", "A", "a\"; DROP DATABASE b", "ä", long.as_str()] {
            assert!(!is_plain_name(name), "{name}");
        }
    }
}
