//! A delivery that waited in the spool is taken, as if the database had been there when it came.

use sqlx::PgPool;

use super::take_alerts::{Taken, take_alerts_received};
use crate::domain::actor::{Actor, Role};
use crate::domain::observation::Delivery;
use crate::domain::refusal::Refusal;
use crate::domain::time::Instant;
use crate::store::spool::About;
use crate::store::{Error, machine_tokens};

/// What became of a delivery of the spool.
#[derive(Clone, Debug, PartialEq)]
pub enum Replayed {
    Taken(Taken),
    /// It can never be taken, and why.
    Refused(String),
}

/// Takes one delivery of the spool, `raw` as it came and `read` as it reads. What the door could not ask is asked now:
/// whether its token was taken back. Taking it again changes nothing.
pub async fn replay_spool(
    pool: &PgPool,
    now: Instant,
    about: &About,
    raw: &[u8],
    read: Result<Delivery, Refusal>,
) -> Result<Replayed, Error> {
    let mut conn = pool.acquire().await?;
    let token = machine_tokens::find(&mut conn, about.jti).await?;
    drop(conn);
    let stands = token.is_some_and(|token| {
        token.revoked_at.is_none()
            && token.role == Role::Ingest
            && token.subject == about.subject
            && token.source == about.source
    });
    if !stands {
        return Ok(Replayed::Refused("The token was taken back, or was never registered.".to_owned()));
    }
    let delivery = match read {
        Ok(delivery) => delivery,
        Err(refusal) => return Ok(Replayed::Refused(words(&refusal))),
    };
    let actor = Actor {
        issuer: machine_tokens::ISSUER.to_owned(),
        subject: about.subject.clone(),
        name: about.source.clone(),
        roles: [Role::Ingest].into(),
        accounts: Vec::new(),
        source: Some(about.source.clone()),
    };
    match take_alerts_received(pool, now, about.received_at, &actor, raw, &delivery).await {
        Ok(taken) => Ok(Replayed::Taken(taken)),
        Err(Error::Refused(refusal)) => Ok(Replayed::Refused(words(&refusal))),
        Err(error @ (Error::Database(_) | Error::Corrupt(_))) => Err(error),
    }
}

/// A refusal on a few lines.
fn words(refusal: &Refusal) -> String {
    let fields = refusal.errors.iter().map(|error| format!("\n{}: {}", error.pointer, error.message));
    std::iter::once(refusal.detail.clone()).chain(fields).collect()
}
