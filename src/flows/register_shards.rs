//! Operations say which shards there are, before mailboxes are placed on them.

use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgPool;

use crate::domain::actor::Actor;
use crate::domain::batch::reference;
use crate::domain::refusal::{Code, FieldError, Refusal};
use crate::domain::time::Instant;
use crate::store::{Error, audit, evidence, shards};

/// The most names in one request.
pub const MOST: usize = 10_000;

/// Shards by name. Those that are registered already stay as they are.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterShards {
    /// At most 10,000; a name has 1 to 64 characters.
    #[schema(example = json!(["mx-07", "mx-08"]))]
    pub shards: Vec<String>,
}

/// How many of the shards were not registered before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Registered {
    #[schema(example = 2)]
    pub registered: u64,
}

/// Registers what is new among the names: all of them or, when one cannot be a name, none.
pub async fn register_shards(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    request: &RegisterShards,
) -> Result<Registered, Error> {
    check(&request.shards)?;
    let mut tx = pool.begin().await?;
    let recorded_at = evidence::stamp(&mut tx, now).await?;
    let registered = shards::register(&mut tx, &request.shards, recorded_at).await?;
    if registered == 0 {
        return Ok(Registered { registered });
    }
    let entry = audit::Entry {
        account: audit::NO_ACCOUNT,
        actor,
        action: "shards.register",
        subject: "shards",
        detail: json!({ "registered": registered, "recorded_at": recorded_at }),
        at: now,
    };
    audit::record(&mut tx, &entry).await?;
    tx.commit().await?;
    Ok(Registered { registered })
}

fn check(names: &[String]) -> Result<(), Refusal> {
    if names.len() > MOST {
        return Err(Refusal::new(Code::InvalidRequest, format!("Send at most {MOST} names at a time.")));
    }
    let wrong = |(index, name): (usize, &String)| {
        let message = reference(name).err()?;
        Some(FieldError { pointer: format!("/shards/{index}"), message })
    };
    let errors: Vec<FieldError> = names.iter().enumerate().filter_map(wrong).take(100).collect();
    if errors.is_empty() { Ok(()) } else { Err(Refusal::invalid(errors)) }
}
