//! Who may come in: shutting a person out, letting them in again, and asking them to sign in anew after a change of roles.

use serde_json::json;
use sqlx::PgPool;

use super::note_refusal;
use crate::domain::actor::{Actor, Role};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::Instant;
use crate::store::people::{self, Standing};
use crate::store::{Error, audit};

/// What is done about a person. It acts with their next request, on every server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Refuse every token and session of theirs.
    ShutOut,
    LetIn,
    /// Refuse what they were given up to now: their roles changed, or something of theirs was stolen.
    SignInAnew,
}

impl Admission {
    fn action(self) -> &'static str {
        match self {
            Admission::ShutOut => "person.shut_out",
            Admission::LetIn => "person.let_in",
            Admission::SignInAnew => "person.sign_in_anew",
        }
    }
}

/// Applies `admission` to the person that `issuer` calls `subject`. Only an administrator does, and nobody to themselves:
/// the last one could shut everybody out, and one who was told to go could come back.
pub async fn admit_person(
    pool: &PgPool,
    actor: &Actor,
    (issuer, subject): (&str, &str),
    admission: Admission,
    real_now: Instant,
    now: Instant,
) -> Result<Standing, Error> {
    let (action, person) = (admission.action(), format!("{issuer}|{subject}"));
    if !actor.has(Role::Admin) || actor.key() == person {
        let refusal = Refusal::new(Code::Forbidden, "Only another person who is an administrator does this.");
        note_refusal(pool, audit::NO_ACCOUNT, actor, action, &person, &refusal, now).await?;
        return Err(refusal.into());
    }
    let mut tx = pool.begin().await?;
    match admission {
        Admission::ShutOut => people::set_disabled(&mut tx, issuer, subject, true).await?,
        Admission::LetIn => people::set_disabled(&mut tx, issuer, subject, false).await?,
        Admission::SignInAnew => people::refuse_before(&mut tx, issuer, subject, real_now).await?,
    }
    let entry =
        audit::Entry { account: audit::NO_ACCOUNT, actor, action, subject: &person, detail: json!({}), at: now };
    audit::record(&mut tx, &entry).await?;
    let standing = people::standing(&mut tx, issuer, subject).await?;
    tx.commit().await?;
    Ok(standing)
}
