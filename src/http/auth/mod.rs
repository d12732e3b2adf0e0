//! Who asks. A token is held against its issuer's one algorithm, key and rules first, and against the database second,
//! where it may have been taken back a moment ago.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use sqlx::PgConnection;

use super::{App, Caller, Problem};
use crate::domain::actor::Actor;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::Instant;
use crate::store::{self, audit, machine_tokens, people};

pub mod issuers;
pub mod jwks;
pub mod keys;
pub mod machine;
pub mod session;
pub mod strict;
pub mod token;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use issuers::{ConfigError, IssuerConfig, Issuers, IssuersConfig};
pub use machine::MachineKey;
use token::{Check, Verified};

/// Why somebody is not let in. What is said names no key and no person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error("Send a token: Authorization: Bearer, a space, and the token.")]
    Missing,
    #[error("Send one Authorization header, with one token after the word Bearer.")]
    NotBearer,
    #[error("The token cannot be read: {0}.")]
    Malformed(&'static str),
    /// An unknown issuer or key, another algorithm, a signature that does not hold: which of them is not said.
    #[error("The token is not signed by anybody who is trusted here.")]
    Untrusted,
    #[error("The token's claim {0} is missing or wrong.")]
    Claim(&'static str),
    #[error("The token has expired. Get a new one.")]
    Expired,
    #[error("The token is not valid yet. Check the issuer's clock.")]
    TooEarly,
    #[error("The token lives for longer than its issuer may grant.")]
    TooLong,
    #[error("The token's roles are not a list of roles that its issuer may give together.")]
    Roles,
    #[error("A customer's token must list the accounts that it is for.")]
    Accounts,
    #[error("The token was taken back, or was never registered.")]
    Revoked,
    #[error("This person may not sign in.")]
    Disabled,
    #[error("The token is from before the person's roles changed. Get a new one.")]
    Superseded,
    /// The issuer's keys could not be read for a day, or never.
    #[error("The keys to check the token with cannot be read just now. Try again in a minute.")]
    KeysAway,
}

impl From<AuthError> for Refusal {
    fn from(error: AuthError) -> Self {
        let code = match error {
            AuthError::KeysAway => Code::Unavailable,
            AuthError::Missing
            | AuthError::NotBearer
            | AuthError::Malformed(_)
            | AuthError::Untrusted
            | AuthError::Claim(_)
            | AuthError::Expired
            | AuthError::TooEarly
            | AuthError::TooLong
            | AuthError::Roles
            | AuthError::Accounts
            | AuthError::Revoked
            | AuthError::Disabled
            | AuthError::Superseded => Code::Unauthenticated,
        };
        Refusal::new(code, error.to_string())
    }
}

/// The token in the one `Authorization` header. A token anywhere else, such as in the address, is not looked at: addresses
/// end up in logs.
pub fn bearer(headers: &HeaderMap) -> Result<&str, AuthError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(AuthError::Missing)?;
    if values.next().is_some() {
        return Err(AuthError::NotBearer);
    }
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(AuthError::NotBearer)?;
    let of_a_token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || !token.bytes().all(of_a_token) {
        return Err(AuthError::NotBearer);
    }
    Ok(token)
}

/// Who the request's token speaks for, at this moment.
pub async fn authenticate(app: &App, headers: &HeaderMap) -> Result<Actor, Problem> {
    match admit(app, headers).await {
        Ok(Ok(actor)) => {
            audit::by(&actor);
            Ok(actor)
        }
        Ok(Err(why)) => {
            tracing::info!(%why, "a token was refused");
            Err(Refusal::from(why).into())
        }
        Err(error) => Err(error.into()),
    }
}

async fn admit(app: &App, headers: &HeaderMap) -> Result<Result<Actor, AuthError>, store::Error> {
    let verified = match signed(app, headers).await {
        Ok(verified) => verified,
        Err(error) => return Ok(Err(error)),
    };
    Ok(stands(app, &verified).await?.map(|()| verified.actor))
}

/// Who the request's token speaks for, as far as its signature says. Does not ask the database.
pub async fn signed(app: &App, headers: &HeaderMap) -> Result<Verified, AuthError> {
    app.issuers.verify(bearer(headers)?, app.clock.real_now()).await
}

/// Whether what was signed still stands, at this moment.
pub async fn stands(app: &App, verified: &Verified) -> Result<Result<(), AuthError>, store::Error> {
    let mut conn = app.pool.acquire().await?;
    still_stands(&mut conn, verified, app.clock.real_now()).await
}

/// Asks what may have been taken back since the token was signed. One read by primary key.
pub async fn still_stands(
    conn: &mut PgConnection,
    verified: &Verified,
    real_now: Instant,
) -> Result<Result<(), AuthError>, store::Error> {
    match verified.check {
        Check::Machine { jti } => {
            let token = machine_tokens::find(conn, jti).await?;
            let stands = token.is_some_and(|token| {
                token.revoked_at.is_none()
                    && real_now < token.expires_at.plus(token::LEEWAY)
                    && token.subject == verified.actor.subject
                    && verified.actor.source.as_ref() == Some(&token.source)
                    && verified.actor.roles.iter().eq([&token.role])
            });
            Ok(if stands { Ok(()) } else { Err(AuthError::Revoked) })
        }
        Check::Person { issued_at } => person_stands(conn, &verified.actor, issued_at).await,
    }
}

/// Whether a person may still use what was given to them at `since`. Where nobody knows when that was, it was too early.
async fn person_stands(
    conn: &mut PgConnection,
    actor: &Actor,
    since: Option<Instant>,
) -> Result<Result<(), AuthError>, store::Error> {
    let standing = people::standing(conn, &actor.issuer, &actor.subject).await?;
    if standing.disabled {
        return Ok(Err(AuthError::Disabled));
    }
    let superseded = standing.not_before.is_some_and(|bound| since.is_none_or(|since| since < bound));
    Ok(if superseded { Err(AuthError::Superseded) } else { Ok(()) })
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        authenticate(app, &parts.headers).await.map(Caller)
    }
}
