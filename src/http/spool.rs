//! The door of monitors stays open while the database is away: what they tell goes to the spool.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use bytes::Bytes;
use uuid::Uuid;

use super::auth::{self, AuthError, token::Check};
use super::{App, Caller, Problem};
use crate::domain::actor::{Actor, Role};
use crate::domain::observation::Delivery;
use crate::domain::refusal::{Code, Refusal};
use crate::flows::take_alerts::{Taken, take_alerts};
use crate::store::spool::{About, Kept};

/// How long the database may take to say whether a token stands.
const TO_ADMIT: Duration = Duration::from_secs(2);
/// How long it may take over a delivery. Less than what a request may take, so that there is time for the spool.
const TO_TAKE: Duration = Duration::from_secs(10);

/// A monitor, let in by its token's signature; the database is asked whether the token stands, where it answers.
#[derive(Debug)]
pub struct Monitor {
    pub actor: Actor,
    /// None for a person's token, with which nothing goes to the spool.
    jti: Option<Uuid>,
    is_away: bool,
}

impl FromRequestParts<App> for Monitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let refused = |why: AuthError| {
            tracing::info!(%why, "a token was refused");
            Problem(Refusal::from(why))
        };
        let verified = auth::signed(app, &parts.headers).await.map_err(refused)?;
        let is_away = match tokio::time::timeout(TO_ADMIT, auth::stands(app, &verified)).await {
            Ok(Ok(standing)) => {
                standing.map_err(refused)?;
                false
            }
            Ok(Err(error)) if error.is_unavailable() => true,
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => true,
        };
        let jti = match verified.check {
            Check::Machine { jti } => Some(jti),
            Check::Person { .. } => None,
        };
        Caller(verified.actor.clone()).require(&[Role::Ingest])?;
        Ok(Monitor { actor: verified.actor, jti, is_away })
    }
}

/// Takes a delivery that was read, or keeps its bytes in the spool where the database is away or may not have taken it: it is
/// taken from there later, once and no more.
pub async fn take_or_spool(
    app: &App,
    monitor: &Monitor,
    kind: &str,
    content_type: &str,
    raw: &Bytes,
    delivery: &Delivery,
) -> Result<Taken, Problem> {
    let received_at = app.clock.now();
    if !monitor.is_away {
        match tokio::time::timeout(TO_TAKE, take_alerts(&app.pool, received_at, &monitor.actor, raw, delivery)).await {
            Ok(Ok(taken)) => return Ok(taken),
            Ok(Err(error)) if error.is_unavailable() => {}
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => {}
        }
    }
    let (Some(spool), Some(jti), Some(source)) = (app.spool.clone(), monitor.jti, monitor.actor.source.clone()) else {
        return Err(away("The database is away. Nothing is durable: send it again."));
    };
    let about = About {
        source,
        subject: monitor.actor.subject.clone(),
        jti,
        kind: kind.to_owned(),
        content_type: content_type.to_owned(),
        received_at,
    };
    let kept = Kept { about, raw: raw.to_vec() };
    match tokio::task::spawn_blocking(move || spool.keep(&kept)).await {
        Ok(Ok(())) => {
            metrics::counter!("makegood_spooled_total").increment(1);
            tracing::warn!(bytes = raw.len(), "the database is away: a delivery went to the spool");
            Ok(Taken::waits())
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "a delivery could not be kept");
            Err(away("The database is away, and the spool takes no more. Nothing is durable: send it again."))
        }
        Err(_) => Err(away("The database is away. Nothing is durable: send it again.")),
    }
}

fn away(words: &str) -> Problem {
    Problem(Refusal::new(Code::Unavailable, words))
}
