//! One key, one deed: the transaction that answers a request with an `Idempotency-Key`, or the answer that it got before.
//!
//! The answer is kept in the transaction of the deed, so that a crash leaves both or neither. Refusals are not kept: they
//! wrote nothing, and asking again asks again.

use serde::Serialize;
use sqlx::PgPool;

use crate::domain::actor::Actor;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::Instant;
use crate::failpoint;
pub use crate::store::idempotency::Answer;
use crate::store::{Error, Tx, idempotency};

/// The caller's key and a fingerprint of what was asked under it.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    pub key: String,
    /// SHA-256 over method, path and body.
    pub fingerprint: [u8; 32],
}

/// A transaction under a key that was not used before.
#[derive(Debug)]
pub struct Once {
    tx: Tx,
    caller: String,
    key: IdempotencyKey,
    now: Instant,
}

#[derive(Debug)]
pub enum Begun {
    /// The key was used for the same request: this is what was answered.
    Replay(Answer),
    New(Once),
}

/// How often the lock on a key is tried, and how long between. A request that was refused a moment ago may still be
/// rolling back.
const TRIES: u32 = 10;
const BETWEEN: std::time::Duration = std::time::Duration::from_millis(50);

async fn lock(tx: &mut Tx, caller: &str, key: &str) -> Result<bool, Error> {
    for _ in 1..TRIES {
        if idempotency::try_lock(tx, caller, key).await? {
            return Ok(true);
        }
        tokio::time::sleep(BETWEEN).await;
    }
    idempotency::try_lock(tx, caller, key).await
}

impl Once {
    /// Opens the transaction, or finds the earlier answer. Refuses a key in flight and a key that was used for something else.
    pub async fn begin(pool: &PgPool, actor: &Actor, key: &IdempotencyKey, now: Instant) -> Result<Begun, Error> {
        let caller = actor.key();
        let mut tx = pool.begin().await?;
        if !lock(&mut tx, &caller, &key.key).await? {
            return Err(Refusal::new(
                Code::IdempotencyInFlight,
                "A request with this Idempotency-Key is still being answered. Wait a moment, then send it again.",
            )
            .into());
        }
        failpoint::reach("once.after_begin").await;
        match idempotency::find(&mut tx, &caller, &key.key).await? {
            Some(stored) if stored.fingerprint == key.fingerprint => Ok(Begun::Replay(stored.answer)),
            Some(_) => Err(Refusal::new(
                Code::IdempotencyKeyReused,
                "This Idempotency-Key was used for another request. Take a new key for a new request.",
            )
            .into()),
            None => Ok(Begun::New(Once { tx, caller, key: key.clone(), now })),
        }
    }

    pub fn tx(&mut self) -> &mut Tx {
        &mut self.tx
    }

    /// Keeps the answer and commits.
    pub async fn finish(mut self, status: u16, body: &impl Serialize) -> Result<Answer, Error> {
        let body = serde_json::to_string(body)
            .map_err(|error| Error::Corrupt(format!("an answer that is no JSON: {error}")))?;
        let answer = Answer { status, body, replayed: false };
        failpoint::reach("once.before_keep").await;
        idempotency::keep(&mut self.tx, &self.caller, &self.key.key, &self.key.fingerprint, &answer, self.now).await?;
        failpoint::reach("once.before_commit").await;
        self.tx.commit().await?;
        failpoint::reach("once.after_commit").await;
        Ok(answer)
    }
}
