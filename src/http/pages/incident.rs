//! Outages as people call them: when they began, and the month that they fall into.

use sqlx::PgConnection;

use super::errors::PageError;
use super::fmt;
use crate::domain::period::{Month, Zone};
use crate::domain::time::Instant;
use crate::store::windows;

/// When an outage began; none where there is none of that name.
pub async fn began(conn: &mut PgConnection, incident: &str) -> Result<Option<Instant>, PageError> {
    let windows = windows::of_incident(conn, incident).await?;
    Ok(windows.iter().filter(|one| !one.window.is_retracted()).map(|one| one.window.start).min())
}

/// "The outage of 13 October", or the words for a claim that names none.
pub fn about(began: Option<Instant>, zone: Zone) -> String {
    match began {
        Some(at) => format!("The outage of {}", fmt::day_month(zone.local(at).date_naive())),
        None => "Your mail".to_owned(),
    }
}

/// The month whose promise an outage is judged by.
pub fn month(began: Option<Instant>, zone: Zone) -> Option<Month> {
    began.map(|at| Month::containing(at, zone))
}
