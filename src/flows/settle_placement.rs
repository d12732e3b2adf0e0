//! Operations settle where a mailbox was while directories disagreed, or while it was moving and nobody declared a live side.
//!
//! A settlement chooses among what was said; a new truth comes through a directory. It is evidence like any other, in
//! versions: saying otherwise of the same mailbox from the same time on is a new version, and the earlier one can still be asked
//! for "as recorded at".

use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use super::once::{Answer, Begun, IdempotencyKey, Once};
use crate::domain::actor::Actor;
use crate::domain::ids::AccountId;
use crate::domain::placement::MailboxHistory;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::{Instant, Interval};
use crate::store::directory::{self, Settlement};
use crate::store::{Error, accounts, audit, evidence, placements};

/// The longest reason, in characters.
const LONGEST_REASON: usize = 2_000;

#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettlePlacement {
    #[schema(example = "20418876")]
    pub account: String,
    #[schema(example = "wiremu@harbourfreight.example")]
    pub mailbox: String,
    /// One of the shards that sources name for the mailbox; null where it was nowhere. It may not be left out.
    #[serde(deserialize_with = "there")]
    #[schema(example = "mx-07")]
    pub shard: Option<String>,
    #[schema(value_type = String, example = "2026-10-10T00:00:00+13:00")]
    pub from: Instant,
    /// Up to then it is settled; later, sources speak for themselves again. As `from`: an earlier settlement from then on is
    /// taken back.
    #[schema(value_type = String, example = "2026-10-20T00:00:00+13:00")]
    pub to: Instant,
    /// Why; it is kept with the settlement.
    #[schema(example = "The migration log shows the mailbox live on mx-07 until the 20th.")]
    pub reason: String,
}

fn there<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(from)
}

/// A settlement, as doors show it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = PlacementSettlement)]
pub struct Settled {
    pub id: Uuid,
    #[schema(example = "20418876")]
    pub account: String,
    pub mailbox: String,
    pub shard: Option<String>,
    #[schema(value_type = String)]
    pub from: Instant,
    #[schema(value_type = String)]
    pub to: Instant,
    pub reason: String,
    pub settled_by: String,
    #[schema(value_type = String)]
    pub recorded_at: Instant,
}

impl Settled {
    pub fn new(account: &str, settlement: Settlement) -> Self {
        Settled {
            id: settlement.id,
            account: account.to_owned(),
            mailbox: settlement.mailbox,
            shard: settlement.shard,
            from: settlement.from,
            to: settlement.to,
            reason: settlement.reason,
            settled_by: settlement.settled_by,
            recorded_at: settlement.recorded_at,
        }
    }
}

/// Records the settlement: from then on the mailbox is not contested in that time.
pub async fn settle_placement(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    key: &IdempotencyKey,
    request: SettlePlacement,
) -> Result<Answer, Error> {
    let reason = request.reason.trim();
    let is_plain = !reason.chars().any(|letter| letter.is_control() && letter != '\n');
    if reason.is_empty() || !is_plain || reason.chars().nth(LONGEST_REASON).is_some() {
        return Err(
            Refusal::field("/reason", format!("Say why, in 1 to {LONGEST_REASON} characters that show.")).into()
        );
    }
    if request.to < request.from {
        return Err(Refusal::field("/to", "It must be after from; as from, to take an earlier settlement back.").into());
    }
    if request.to > now {
        let message = "Settle what has been, up to now at most: what comes next, the directory says.";
        return Err(Refusal::field("/to", message).into());
    }
    let mut once = match Once::begin(pool, actor, key, now).await? {
        Begun::Replay(answer) => return Ok(answer),
        Begun::New(once) => once,
    };
    let tx = once.tx();
    let recorded_at = evidence::stamp(tx, now).await?;
    let id = AccountId::of(&request.account);
    let account = accounts::find(tx, id, None).await?.ok_or_else(|| Refusal::not_found("account", &request.account))?;
    let always = Interval::new(Instant::MIN, Instant::MAX).map_err(|error| Error::Corrupt(error.to_string()))?;
    let history = placements::of_account(tx, id, always, None)
        .await?
        .into_iter()
        .find(|history| history.mailbox == request.mailbox)
        .ok_or_else(|| Refusal::field("/mailbox", "The account has no such mailbox: no source ever named it."))?;
    check(&history, &request)?;
    let settlement = Settlement {
        id: Uuid::now_v7(),
        account: id,
        mailbox: request.mailbox.clone(),
        shard: request.shard.clone(),
        from: request.from,
        to: request.to,
        reason: reason.to_owned(),
        settled_by: actor.key(),
        recorded_at,
    };
    directory::settle(tx, &settlement).await?;
    audit::record(
        tx,
        &audit::Entry {
            account: id,
            actor,
            action: "placement.settle",
            subject: &settlement.id.to_string(),
            detail: json!({ "shard": settlement.shard, "from": settlement.from, "to": settlement.to, "recorded_at": recorded_at }),
            at: now,
        },
    )
    .await?;
    once.finish(201, &Settled::new(&account.reference, settlement)).await
}

/// What is settled was said by somebody, and does not run into what was settled before.
fn check(history: &MailboxHistory, request: &SettlePlacement) -> Result<(), Refusal> {
    let told = || history.events.iter().filter(|event| event.settled_until.is_none());
    let is_named = |shard: &String| {
        told().any(|event| event.shard.as_ref() == Some(shard) || event.moving_to.as_ref() == Some(shard))
    };
    if request.shard.as_ref().is_some_and(|shard| !is_named(shard)) {
        let message =
            "No source ever placed the mailbox there. If it was there all the same, load that placement first.";
        return Err(Refusal::field("/shard", message));
    }
    let settled = || history.events.iter().filter_map(|event| Some((event.from, event.settled_until?)));
    if request.to == request.from && !settled().any(|(from, until)| from == request.from && until > from) {
        return Err(Refusal::field("/to", "Nothing was settled from then on that could be taken back."));
    }
    let runs_into = |(from, until): &(Instant, Instant)| {
        *from < *until && *from != request.from && *from < request.to && request.from < *until
    };
    match settled().find(runs_into) {
        Some((from, until)) => Err(Refusal::new(
            Code::WrongState,
            format!(
                "It was settled before from {from} until {until}. Take that back or correct it (name the same from), then settle the rest."
            ),
        )),
        None => Ok(()),
    }
}
