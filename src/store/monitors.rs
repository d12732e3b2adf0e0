//! Sources, rules and components: what alerts mean. Versions; the latest holds.

use sqlx::PgConnection;
use sqlx::types::Json;

use super::{Error, shards};
use crate::domain::monitors::{Component, LabelMap, Mapping, Rule, Source};
use crate::domain::time::Instant;

/// Records a source, unless it stands so already. Says whether it was news.
pub async fn put_source(conn: &mut PgConnection, source: &Source, recorded_at: Instant) -> Result<bool, Error> {
    let done = sqlx::query(
        r"INSERT INTO source (name, recorded_at, body)
          SELECT $1, $2, $3
          WHERE $3 IS DISTINCT FROM (SELECT body FROM source WHERE name = $1 ORDER BY recorded_at DESC LIMIT 1)",
    )
    .bind(&source.name)
    .bind(recorded_at.utc())
    .bind(Json(source))
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Records what an alert of a source means, unless it stands so already. Says whether it was news.
pub async fn put_rule(
    conn: &mut PgConnection,
    source: &str,
    alertname: &str,
    rule: &Rule,
    recorded_at: Instant,
) -> Result<bool, Error> {
    let done = sqlx::query(
        r"INSERT INTO alert_rule (source, alertname, recorded_at, body)
          SELECT $1, $2, $3, $4
          WHERE $4 IS DISTINCT FROM (
              SELECT body FROM alert_rule WHERE source = $1 AND alertname = $2 ORDER BY recorded_at DESC LIMIT 1)",
    )
    .bind(source)
    .bind(alertname)
    .bind(recorded_at.utc())
    .bind(Json(rule))
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Records what a component served from an instant on, unless it stands so already. Says whether it was news.
pub async fn put_component(
    conn: &mut PgConnection,
    component: &Component,
    recorded_at: Instant,
) -> Result<bool, Error> {
    let done = sqlx::query(
        r"INSERT INTO component (name, valid_from, recorded_at, body)
          SELECT $1, $2, $3, $4
          WHERE $4 IS DISTINCT FROM (
              SELECT body FROM component WHERE name = $1 AND valid_from = $2 ORDER BY recorded_at DESC LIMIT 1)",
    )
    .bind(&component.name)
    .bind(component.from.utc())
    .bind(recorded_at.utc())
    .bind(Json(component))
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Records which component a label's value names from an instant on, unless it stands so already. Says whether it was news.
pub async fn put_label_map(conn: &mut PgConnection, map: &LabelMap, recorded_at: Instant) -> Result<bool, Error> {
    let done = sqlx::query(
        r"INSERT INTO label_map (label, value, valid_from, recorded_at, body)
          SELECT $1, $2, $3, $4, $5
          WHERE $5 IS DISTINCT FROM (
              SELECT body FROM label_map WHERE label = $1 AND value = $2 AND valid_from = $3
              ORDER BY recorded_at DESC LIMIT 1)",
    )
    .bind(&map.label)
    .bind(&map.value)
    .bind(map.from.utc())
    .bind(recorded_at.utc())
    .bind(Json(map))
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn sources(conn: &mut PgConnection) -> Result<Vec<Source>, Error> {
    let rows: Vec<Json<Source>> =
        sqlx::query_scalar(r"SELECT DISTINCT ON (name) body FROM source ORDER BY name, recorded_at DESC")
            .fetch_all(conn)
            .await?;
    Ok(rows.into_iter().map(|Json(source)| source).collect())
}

/// Source, alert name, and what it means.
pub async fn rules(conn: &mut PgConnection) -> Result<Vec<(String, String, Rule)>, Error> {
    let rows: Vec<(String, String, Json<Rule>)> = sqlx::query_as(
        r"SELECT DISTINCT ON (source, alertname) source, alertname, body
          FROM alert_rule ORDER BY source, alertname, recorded_at DESC",
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(source, name, Json(rule))| (source, name, rule)).collect())
}

pub async fn components(conn: &mut PgConnection) -> Result<Vec<Component>, Error> {
    let rows: Vec<Json<Component>> = sqlx::query_scalar(
        r"SELECT DISTINCT ON (name, valid_from) body FROM component ORDER BY name, valid_from, recorded_at DESC",
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|Json(component)| component).collect())
}

pub async fn label_maps(conn: &mut PgConnection) -> Result<Vec<LabelMap>, Error> {
    let rows: Vec<Json<LabelMap>> = sqlx::query_scalar(
        r"SELECT DISTINCT ON (label, value, valid_from) body FROM label_map
          ORDER BY label, value, valid_from, recorded_at DESC",
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|Json(map)| map).collect())
}

/// All of it, ready to be asked.
pub async fn mapping(conn: &mut PgConnection) -> Result<Mapping, Error> {
    let sources = sources(&mut *conn).await?;
    let rules = rules(&mut *conn).await?;
    let components = components(&mut *conn).await?;
    let labels = label_maps(&mut *conn).await?;
    Ok(Mapping::new(sources, rules, components, labels, shards::names(conn).await?))
}
