//! What happens: one file a journey. A flow opens the transaction, loads, decides by asking `domain`, saves and commits.

use serde_json::json;
use sqlx::PgPool;

use crate::domain::actor::Actor;
use crate::domain::ids::AccountId;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::Instant;
use crate::store::{Error, audit};

pub mod act_on_claim;
pub mod admit_person;
pub mod amend_outage;
pub mod announce_outage;
pub mod answer_credits;
pub mod apply_credit_run;
pub mod approve_credit_run;
pub mod assess_period;
pub mod close_period;
pub mod confirm_outage;
pub mod decide_difference;
mod effect;
pub mod erase_account;
pub mod file_claim;
pub mod issue_credits;
pub mod issue_token;
pub mod keep_checkpoint;
pub mod list_differences;
mod load;
pub mod load_accounts;
pub mod load_charges;
pub mod load_given;
pub mod load_placements;
pub mod load_subscriptions;
pub mod make_journal;
pub mod note_silences;
pub mod once;
pub mod open_case;
pub mod post_claims;
pub mod propose_credit_run;
pub mod propose_goodwill;
pub mod publish_calendar;
pub mod publish_terms;
pub mod pull_feed;
pub mod reconcile_monitors;
pub mod record_incident;
pub mod refold;
pub mod register_shards;
pub mod replay_spool;
pub mod reverse_credit;
pub mod reverse_credit_run;
pub mod sequence_feed;
pub mod set_up_chart;
pub mod set_up_monitors;
pub mod set_up_operator;
pub mod settle_held;
pub mod settle_placement;
pub mod step_story;
pub mod take_alerts;
pub mod take_mailbox_list;
pub mod take_snapshot;
pub mod verify_books;

/// makegood itself, where the clock and not a person moved something.
pub fn system_actor(part: &str) -> Actor {
    Actor {
        issuer: "system".to_owned(),
        subject: part.to_owned(),
        name: "makegood".to_owned(),
        roles: Default::default(),
        accounts: Vec::new(),
        source: None,
    }
}

/// Keeps the audit row of a refused privileged try, in a transaction of its own: the try itself wrote nothing.
pub async fn note_refusal(
    pool: &PgPool,
    account: AccountId,
    actor: &Actor,
    action: &str,
    subject: &str,
    refusal: &Refusal,
    at: Instant,
) -> Result<(), Error> {
    if !is_privileged_try(refusal.code) {
        return Ok(());
    }
    let mut tx = pool.begin().await?;
    let action = format!("{action}.refused");
    let detail = json!({ "code": refusal.code.name() });
    audit::record(&mut tx, &audit::Entry { account, actor, action: &action, subject, detail, at }).await?;
    tx.commit().await?;
    audit::noted();
    Ok(())
}

/// Whether whoever is told this tried what is not theirs to do: without the role, over a limit, alone where two are needed, or on a
/// total that is not the one.
fn is_privileged_try(code: Code) -> bool {
    matches!(code, Code::Forbidden | Code::OverLimit | Code::FourEyes | Code::TotalDiffers)
}

/// Keeps the audit row of a refused privileged try at a door, where no flow has kept a closer one. `door` is the method and the
/// route; a reversal that is refused for its state is one too.
pub async fn note_refused_request(
    pool: &PgPool,
    request: &audit::Request,
    door: &str,
    at: Instant,
) -> Result<(), Error> {
    let Some((actor, refusal)) = request.unnoted_refusal() else { return Ok(()) };
    let is_refused_reversal = door.ends_with("/reverse") && refusal.code == Code::WrongState;
    if !is_privileged_try(refusal.code) && !is_refused_reversal {
        return Ok(());
    }
    let mut tx = pool.begin().await?;
    let detail = json!({ "code": refusal.code.name() });
    let (account, action) = (audit::NO_ACCOUNT, "request.refused");
    audit::record(&mut tx, &audit::Entry { account, actor: &actor, action, subject: door, detail, at }).await?;
    tx.commit().await?;
    Ok(())
}
