//! `makegood token`: tokens for machines.

use clap::{Args, Subcommand};
use serde::Serialize;
use sqlx::PgPool;
use uuid::Uuid;

use crate::clock::Clock;
use crate::domain::actor::{Actor, Role};
use crate::domain::time::{DAY, HOUR, Instant, MINUTE};
use crate::flows::issue_token::{NewToken, issue_token, revoke_token};
use crate::http::auth::MachineKey;
use crate::http::auth::machine::MachineKeyError;
use crate::store;
use crate::store::machine_tokens::{self, MachineToken};

/// Make, list and take back the tokens that machines present.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token. It is shown once; only its id is kept.
    Create(CreateArgs),
    /// Take a token back. Every server refuses it from its next request on.
    Revoke(RevokeArgs),
    /// List the tokens that were made.
    List,
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// What the machine may do: ingest, operations, billing, finance or auditor.
    #[arg(long)]
    pub role: Role,
    /// The system that will hold the token, such as alertmanager-north.
    #[arg(long)]
    pub source: String,
    /// How long the token lives, up to 400d: a number and m, h or d.
    #[arg(long, default_value = "90d", value_parser = lifetime)]
    pub expires: i64,
}

#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// The token's id (its jti).
    pub jti: Uuid,
}

/// Why a token was not made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error(transparent)]
    Flow(#[from] store::Error),
    #[error(transparent)]
    Key(#[from] MachineKeyError),
}

/// A token as it is shown, once.
#[derive(Debug, Serialize)]
pub struct Created {
    pub token: String,
    #[serde(flatten)]
    pub listed: Listed,
}

/// What is known of a token afterwards.
#[derive(Debug, Serialize)]
pub struct Listed {
    pub jti: Uuid,
    pub role: Role,
    pub source: String,
    pub created_by: String,
    pub created_at: Instant,
    pub expires_at: Instant,
    pub revoked_at: Option<Instant>,
}

impl From<MachineToken> for Listed {
    fn from(token: MachineToken) -> Self {
        Listed {
            jti: token.jti,
            role: token.role,
            source: token.source,
            created_by: token.created_by,
            created_at: token.created_at,
            expires_at: token.expires_at,
            revoked_at: token.revoked_at,
        }
    }
}

/// Registers a token and signs it.
pub async fn create(
    pool: &PgPool,
    key: &MachineKey,
    clock: &Clock,
    actor: &Actor,
    args: &CreateArgs,
) -> Result<Created, TokenError> {
    let asked = NewToken { role: args.role, source: args.source.clone(), lifetime: args.expires };
    let registered = issue_token(pool, actor, &asked, clock.real_now(), clock.now()).await?;
    Ok(Created { token: key.mint(&registered)?, listed: registered.into() })
}

/// Takes a token back.
pub async fn revoke(pool: &PgPool, clock: &Clock, actor: &Actor, args: &RevokeArgs) -> Result<Listed, TokenError> {
    Ok(revoke_token(pool, actor, args.jti, clock.real_now(), clock.now()).await?.into())
}

/// The tokens that were made, the newest first.
pub async fn list(pool: &PgPool) -> Result<Vec<Listed>, TokenError> {
    let mut conn = pool.acquire().await.map_err(store::Error::from)?;
    Ok(machine_tokens::list(&mut conn).await?.into_iter().map(Listed::from).collect())
}

/// Reads `90d`, `12h` or `30m` as microseconds.
fn lifetime(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text:?} is no length of time: write a number and m, h or d, as in 90d");
    let unit = match text.chars().last() {
        Some('m') => MINUTE,
        Some('h') => HOUR,
        Some('d') => DAY,
        Some(_) | None => return Err(wrong()),
    };
    let number = text.get(..text.len() - 1).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let number: i64 = number.and_then(|digits| digits.parse().ok()).ok_or_else(wrong)?;
    number.checked_mul(unit).filter(|micros| *micros > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(subcommand)]
        command: TokenCommand,
    }

    #[test]
    fn the_command_line_says_role_source_and_life() {
        let line = ["makegood", "create", "--role", "ingest", "--source", "alertmanager-north", "--expires", "90d"];
        let TokenCommand::Create(args) = Program::parse_from(line).command else { panic!("not create") };
        assert_eq!((args.role, args.source.as_str(), args.expires), (Role::Ingest, "alertmanager-north", 90 * DAY));
        assert!(Program::try_parse_from(["makegood", "create", "--role", "wizard", "--source", "x"]).is_err());
        assert!(Program::try_parse_from(["makegood", "revoke", "7"]).is_err());
    }

    #[test]
    fn a_life_is_a_number_with_its_unit() {
        assert_eq!(lifetime("30m"), Ok(30 * MINUTE));
        assert_eq!(lifetime("12h"), Ok(12 * HOUR));
        for bad in ["", "d", "90", "-1d", "+1d", "1.5h", "0d", "90 d", "9223372036854775807d", "90y", "ßd"] {
            assert!(lifetime(bad).is_err(), "{bad}");
        }
    }
}
