//! The operator's settings, and the seal of a demo database.

use serde_json::Value;
use sqlx::PgConnection;

use super::Error;
use crate::domain::operator::Operator;
use crate::domain::refusal::{Code, Refusal};

/// The settings; none in a database that nobody has set up yet.
pub async fn find(conn: &mut PgConnection) -> Result<Option<Operator>, Error> {
    let settings: Option<Value> = sqlx::query_scalar(r"SELECT settings FROM operator").fetch_optional(conn).await?;
    settings
        .map(serde_json::from_value)
        .transpose()
        .map_err(|error| Error::Corrupt(format!("operator.settings cannot be read: {error}")))
}

/// The settings, which every journey with money needs; refuses where nobody has set the operator up.
pub async fn get(conn: &mut PgConnection) -> Result<Operator, Error> {
    let why = "There is no currency and no time zone yet: set the operator up first: makegood operator operator.yaml";
    find(conn).await?.ok_or_else(|| Refusal::new(Code::WrongState, why).into())
}

pub async fn put(conn: &mut PgConnection, operator: &Operator) -> Result<(), Error> {
    let settings =
        serde_json::to_value(operator).map_err(|error| Error::Corrupt(format!("operator is no JSON: {error}")))?;
    sqlx::query(r"INSERT INTO operator (id, settings) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET settings = $1")
        .bind(settings)
        .execute(conn)
        .await?;
    Ok(())
}

/// A demo database's story.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Demo {
    pub scale: String,
    /// Business time less real time, in microseconds, as of the last step.
    pub clock_offset_micros: i64,
    pub finished: bool,
}

pub async fn demo(conn: &mut PgConnection) -> Result<Option<Demo>, Error> {
    Ok(sqlx::query_as(r"SELECT scale, clock_offset_micros, finished FROM demo").fetch_optional(conn).await?)
}

pub async fn put_demo(conn: &mut PgConnection, demo: &Demo) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO demo (id, scale, clock_offset_micros, finished) VALUES (1, $1, $2, $3)
          ON CONFLICT (id) DO UPDATE SET clock_offset_micros = $2, finished = $3",
    )
    .bind(&demo.scale)
    .bind(demo.clock_offset_micros)
    .bind(demo.finished)
    .execute(conn)
    .await?;
    Ok(())
}
