//! Which days are worked: publishing calendars and reading them.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::ProblemBody;
use super::{App, Caller, Keyed, Problem, Query};
use crate::domain::actor::Role;
use crate::domain::calendar::is_name;
use crate::domain::refusal::Refusal;
use crate::domain::time::Instant;
use crate::flows::publish_calendar::{CalendarVersion, PublishCalendar, publish_calendar};
use crate::store::calendars;

/// The largest calendar, in bytes: 5,000 holidays with long names.
const LARGEST: usize = 1024 * 1024;

const READERS: [Role; 6] = [Role::Operations, Role::Agent, Role::Supervisor, Role::Finance, Role::Auditor, Role::Admin];

/// Publish a calendar
///
/// A new version of the calendar: the days of the week that are not worked, the holidays, and the working hours. It counts at
/// once; earlier versions stay, for sums as they were recorded.
#[utoipa::path(
    put, path = "/v1/calendars/{name}", tag = "calendars", operation_id = "publish_calendar",
    params(
        ("name" = String, Path, description = "1 to 100 lower-case letters, digits and hyphens", example = "nz-auckland"),
        ("Idempotency-Key" = String, Header)
    ),
    request_body = PublishCalendar,
    responses(
        (status = 200, body = CalendarVersion, description = "The newest version says the same already"),
        (status = 201, body = CalendarVersion, description = "A new version"),
        (status = 403, description = "Not an administrator", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "Over 1 MiB", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The calendar cannot be worked with, or the key was used for another", body = ProblemBody,
         content_type = "application/problem+json"),
    )
)]
pub async fn publish(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Keyed { key, body }: Keyed<PublishCalendar, LARGEST>,
) -> Result<Response, Problem> {
    Ok(publish_calendar(&app.pool, app.clock.now(), &caller.0, &key, &name, body).await?.into_response())
}

/// Which version of the calendar.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct GetCalendar {
    /// The newest unless given.
    pub version: Option<i32>,
}

/// Read a calendar
#[utoipa::path(
    get, path = "/v1/calendars/{name}", tag = "calendars", operation_id = "get_calendar",
    params(("name" = String, Path, example = "nz-auckland"), GetCalendar),
    responses(
        (status = 200, body = CalendarVersion, description = "The version that was asked for"),
        (status = 403, description = "Not staff", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such calendar, or no such version", body = ProblemBody,
         content_type = "application/problem+json"),
        (status = 422, description = "The version is no number", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn get(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Query(GetCalendar { version }): Query<GetCalendar>,
) -> Result<axum::Json<CalendarVersion>, Problem> {
    caller.require(&READERS)?;
    let asked: String = name.chars().filter(|one| !one.is_control()).take(100).collect();
    let unknown = || match version {
        Some(version) => Refusal::not_found("version of a calendar", &format!("{asked}/{version}")),
        None => Refusal::not_found("calendar", &asked),
    };
    if !is_name(&name) {
        return Err(unknown().into());
    }
    let mut conn = app.pool.acquire().await.map_err(crate::store::Error::from)?;
    let found = calendars::find(&mut conn, &name, version).await?.ok_or_else(unknown)?;
    Ok(axum::Json(CalendarVersion::from(found)))
}

/// Which part of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListCalendars {
    /// At most this many, up to 500; 100 unless given.
    pub limit: Option<i64>,
    /// `next` of the page before.
    pub after: Option<String>,
}

/// Calendars by name, each with its newest version.
#[derive(Debug, Serialize, ToSchema)]
pub struct CalendarPage {
    pub data: Vec<CalendarListed>,
    pub has_more: bool,
    /// What to ask for as `after`; null at the end.
    pub next: Option<String>,
}

/// The newest version of a calendar, without what it says.
#[derive(Debug, Serialize, ToSchema)]
pub struct CalendarListed {
    #[schema(example = "nz-auckland")]
    pub name: String,
    #[schema(example = 1)]
    pub version: i32,
    #[schema(value_type = String)]
    pub recorded_at: Instant,
    /// SHA-256 of what the calendar says.
    pub hash: String,
}

/// List the calendars
#[utoipa::path(
    get, path = "/v1/calendars", tag = "calendars", operation_id = "list_calendars",
    params(ListCalendars),
    responses(
        (status = 200, body = CalendarPage, description = "One page"),
        (status = 403, description = "Not staff", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The limit or the cursor is not valid", body = ProblemBody,
         content_type = "application/problem+json"),
    )
)]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<ListCalendars>,
) -> Result<axum::Json<CalendarPage>, Problem> {
    caller.require(&READERS)?;
    let limit = super::limit(query.limit, 100, 500)?;
    let after = query.after.unwrap_or_default();
    if !after.is_empty() && !is_name(&after) {
        return Err(Refusal::field("/query/after", "take `next` of the page before").into());
    }
    let mut conn = app.pool.acquire().await.map_err(crate::store::Error::from)?;
    let mut found = calendars::list(&mut conn, &after, limit + 1).await?;
    let has_more = found.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    if has_more {
        found.pop();
    }
    let next = found.last().filter(|_| has_more).map(|last| last.name.clone());
    let listed = |one: calendars::Listed| CalendarListed {
        name: one.name,
        version: one.version,
        recorded_at: one.recorded_at,
        hash: one.hash,
    };
    Ok(axum::Json(CalendarPage { data: found.into_iter().map(listed).collect(), has_more, next }))
}
