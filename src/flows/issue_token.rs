//! Tokens for machines: registered before they are signed, and taken back at once.

use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use super::note_refusal;
use crate::domain::actor::{Actor, Role};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::{DAY, Instant, MINUTE};
use crate::store::machine_tokens::{self, MachineToken};
use crate::store::{Error, audit};

/// What a machine may be. Customers, agents, supervisors and administrators are people: four eyes need two of them.
pub const MACHINE_ROLES: [Role; 5] = [Role::Ingest, Role::Operations, Role::Billing, Role::Finance, Role::Auditor];

/// The longest life of a machine's token, in microseconds.
pub const LONGEST: i64 = 400 * DAY;

/// The token that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    pub role: Role,
    /// The system that will hold it.
    pub source: String,
    /// How long it lives, in microseconds.
    pub lifetime: i64,
}

/// Registers a token. The door signs it afterwards: one that was never signed harms nobody. `real_now` is what the token
/// lives by, `now` when the deed is recorded.
pub async fn issue_token(
    pool: &PgPool,
    actor: &Actor,
    asked: &NewToken,
    real_now: Instant,
    now: Instant,
) -> Result<MachineToken, Error> {
    if let Err(refusal) = may_manage(actor).and_then(|()| check(asked)) {
        note_refusal(pool, audit::NO_ACCOUNT, actor, "token.create", "new", &refusal, now).await?;
        return Err(refusal.into());
    }
    let mut tx = pool.begin().await?;
    let token = MachineToken {
        jti: Uuid::now_v7(),
        role: asked.role,
        source: asked.source.clone(),
        subject: format!("{}:{}", asked.role, asked.source),
        created_by: actor.key(),
        created_at: real_now,
        expires_at: real_now.plus(asked.lifetime),
        revoked_at: None,
    };
    machine_tokens::insert(&mut tx, &token).await?;
    let detail = json!({ "role": token.role, "source": token.source, "expires_at": token.expires_at });
    audit::record(&mut tx, &entry(actor, "token.create", &token.jti.to_string(), detail, now)).await?;
    tx.commit().await?;
    Ok(token)
}

/// Takes a token back. Taking it back again changes nothing and is no error.
pub async fn revoke_token(
    pool: &PgPool,
    actor: &Actor,
    jti: Uuid,
    real_now: Instant,
    now: Instant,
) -> Result<MachineToken, Error> {
    let subject = jti.to_string();
    if let Err(refusal) = may_manage(actor) {
        note_refusal(pool, audit::NO_ACCOUNT, actor, "token.revoke", &subject, &refusal, now).await?;
        return Err(refusal.into());
    }
    let mut tx = pool.begin().await?;
    if machine_tokens::revoke(&mut tx, jti, real_now).await? {
        audit::record(&mut tx, &entry(actor, "token.revoke", &subject, json!({}), now)).await?;
    }
    let token = machine_tokens::find(&mut tx, jti).await?.ok_or_else(|| Refusal::not_found("token", &subject))?;
    tx.commit().await?;
    Ok(token)
}

fn entry<'a>(
    actor: &'a Actor,
    action: &'a str,
    subject: &'a str,
    detail: serde_json::Value,
    at: Instant,
) -> audit::Entry<'a> {
    audit::Entry { account: audit::NO_ACCOUNT, actor, action, subject, detail, at }
}

fn may_manage(actor: &Actor) -> Result<(), Refusal> {
    if actor.has(Role::Admin) {
        Ok(())
    } else {
        Err(Refusal::new(Code::Forbidden, "Only an administrator makes tokens and takes them back."))
    }
}

fn check(asked: &NewToken) -> Result<(), Refusal> {
    if !MACHINE_ROLES.contains(&asked.role) {
        let roles = MACHINE_ROLES.map(Role::name).join(", ");
        return Err(Refusal::field("/role", format!("{} is a person's role; a machine may be {roles}", asked.role)));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !(1..=64).contains(&asked.source.len()) || !asked.source.bytes().all(plain) {
        return Err(Refusal::field("/source", "a source is 1 to 64 letters, digits, dashes, dots and underscores"));
    }
    if !(MINUTE..=LONGEST).contains(&asked.lifetime) {
        return Err(Refusal::field("/expires", "a token lives from one minute to 400 days"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(role: Role, source: &str, lifetime: i64) -> NewToken {
        NewToken { role, source: source.to_owned(), lifetime }
    }

    #[test]
    fn a_machine_is_no_person_has_a_plain_name_and_a_bounded_life() {
        assert!(check(&asked(Role::Ingest, "alertmanager-north", 90 * DAY)).is_ok());
        for role in Role::ALL {
            assert_eq!(check(&asked(role, "x", DAY)).is_ok(), MACHINE_ROLES.contains(&role), "{role}");
        }
        for source in ["", "a b", "a|b", "a\u{1f}b", "ä", &"x".repeat(65)] {
            assert!(check(&asked(Role::Ingest, source, DAY)).is_err(), "{source:?}");
        }
        for lifetime in [i64::MIN, -1, 0, MINUTE - 1, LONGEST + 1, i64::MAX] {
            assert!(check(&asked(Role::Ingest, "x", lifetime)).is_err(), "{lifetime}");
        }
    }
}
