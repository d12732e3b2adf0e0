//! A contract manager publishes what a plan promises, and somebody else approves it: only then does it count.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::note_refusal;
use super::once::{Answer, Begun, IdempotencyKey, Once};
use crate::domain::actor::{Actor, Role};
use crate::domain::batch::reference;
use crate::domain::period::PeriodKind;
use crate::domain::refusal::{Code, FieldError, Refusal};
use crate::domain::terms::{Finding, Terms};
use crate::domain::time::Instant;
use crate::store::terms::Version;
use crate::store::{Error, audit, evidence, terms};

/// New terms for a plan.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishTerms {
    /// From when on they are in force. It may lie in the past: what was promised then and is recorded now.
    #[schema(value_type = String, example = "2026-11-30T11:00:00Z")]
    pub effective_from: Instant,
    /// The terms' document, format `makegood.terms/1`.
    #[schema(value_type = Object)]
    pub terms: Value,
}

/// One version of a plan's terms, as doors show it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct TermsVersion {
    pub plan: String,
    #[schema(example = 1)]
    pub version: i32,
    #[schema(value_type = String)]
    pub recorded_at: Instant,
    #[schema(value_type = String)]
    pub effective_from: Instant,
    /// SHA-256 of the document's meaning.
    pub hash: String,
    /// Whether somebody approved it. Until then it counts for nothing.
    pub approved: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub approved_at: Option<Instant>,
    #[schema(value_type = Object)]
    pub terms: Terms,
}

impl From<Version> for TermsVersion {
    fn from(version: Version) -> Self {
        TermsVersion {
            plan: version.plan,
            version: version.version,
            recorded_at: version.recorded_at,
            effective_from: version.effective_from,
            hash: version.hash,
            approved: version.approved.is_some(),
            approved_at: version.approved.map(|(_, at)| at),
            terms: version.terms,
        }
    }
}

/// Records a new version of the plan's terms, which makes the plan if it is new. What the newest version says already, from
/// the same instant on, is not recorded again.
pub async fn publish_terms(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    key: &IdempotencyKey,
    plan: &str,
    request: PublishTerms,
) -> Result<Answer, Error> {
    require_admin(pool, now, actor, "terms.publish", plan).await?;
    let plan = reference(plan).map_err(|message| Refusal::field("/plan", message))?;
    let read = checked(request.terms)?;
    let mut once = match Once::begin(pool, actor, key, now).await? {
        Begun::Replay(answer) => return Ok(answer),
        Begun::New(once) => once,
    };
    let tx = once.tx();
    let recorded_at = evidence::stamp(tx, now).await?;
    let newest = terms::of_plan(tx, &plan).await?.into_iter().next();
    let hash = read.hash();
    let newest_version = newest.as_ref().map_or(0, |newest| newest.version);
    if let Some(same) = newest.filter(|newest| newest.hash == hash && newest.effective_from == request.effective_from) {
        return once.finish(200, &TermsVersion::from(same)).await;
    }
    let version = Version {
        plan,
        version: newest_version + 1,
        recorded_at,
        effective_from: request.effective_from,
        terms: read,
        hash,
        published_by: actor.key(),
        approved: None,
    };
    terms::insert_plan(tx, &version.plan, recorded_at).await?;
    terms::insert(tx, &version).await?;
    note(tx, now, actor, "terms.publish", &version).await?;
    once.finish(201, &TermsVersion::from(version)).await
}

/// Puts a version into force, from its own date on. Its author cannot.
pub async fn approve_terms(
    pool: &PgPool,
    now: Instant,
    actor: &Actor,
    key: &IdempotencyKey,
    plan: &str,
    version: i32,
) -> Result<Answer, Error> {
    require_admin(pool, now, actor, "terms.approve", plan).await?;
    let known = reference(plan).map_err(|_| Refusal::not_found("version of terms", "of that plan"))?;
    let plan = known.as_str();
    let mut once = match Once::begin(pool, actor, key, now).await? {
        Begun::Replay(answer) => return Ok(answer),
        Begun::New(once) => once,
    };
    let tx = once.tx();
    let recorded_at = evidence::stamp(tx, now).await?;
    let asked = format!("{plan}/{version}");
    let found = terms::find(tx, plan, version).await?.ok_or_else(|| Refusal::not_found("version of terms", &asked))?;
    if found.published_by == actor.key() {
        drop(once);
        let refusal = Refusal::new(Code::FourEyes, "You published these terms, so somebody else has to approve them.");
        note_refusal(pool, audit::NO_ACCOUNT, actor, "terms.approve", &asked, &refusal, now).await?;
        return Err(refusal.into());
    }
    if found.approved.is_some() {
        return once.finish(200, &TermsVersion::from(found)).await;
    }
    terms::approve(tx, &found, &actor.key(), recorded_at).await?;
    note(tx, now, actor, "terms.approve", &found).await?;
    let approved = Version { approved: Some((actor.key(), recorded_at)), ..found };
    once.finish(200, &TermsVersion::from(approved)).await
}

/// Terms that can be read, that leave nothing open, and for which the service records all that they look at.
fn checked(document: Value) -> Result<Terms, Refusal> {
    let within = |error: FieldError| FieldError { pointer: format!("/terms{}", error.pointer), ..error };
    let terms = Terms::from_json(&document)
        .map_err(|refusal| Refusal::invalid(refusal.errors.into_iter().map(within).collect()))?;
    let error = |finding: Finding, more: &str| FieldError {
        pointer: format!("/terms{}", finding.pointer),
        message: format!("{}{more}", finding.message),
    };
    let findings = terms.lint();
    if !findings.is_empty() {
        return Err(Refusal::invalid(findings.into_iter().map(|finding| error(finding, "")).collect()));
    }
    let mut errors: Vec<FieldError> = terms.needs().into_iter().map(|need| error(need, NOT_RECORDED)).collect();
    if terms.time.period != PeriodKind::CalendarMonth {
        errors.push(FieldError {
            pointer: "/terms/time/period".to_owned(),
            message: "Credit runs work by calendar month. makegood evaluate takes every period.".to_owned(),
        });
    }
    if errors.is_empty() { Ok(terms) } else { Err(Refusal::invalid(errors)) }
}

/// Said of what the engine knows and the service does not record.
const NOT_RECORDED: &str = " The service does not record that yet, so it would count as if it had not happened. makegood \
                            evaluate takes it from a case file.";

async fn require_admin(pool: &PgPool, now: Instant, actor: &Actor, action: &str, plan: &str) -> Result<(), Error> {
    if actor.has(Role::Admin) {
        return Ok(());
    }
    let refusal = Refusal::new(Code::Forbidden, "Terms are the administrators' to publish and to approve.");
    // A name that is none is not written down.
    let plan = reference(plan).unwrap_or_else(|_| "a plan without a name".to_owned());
    note_refusal(pool, audit::NO_ACCOUNT, actor, action, &plan, &refusal, now).await?;
    Err(refusal.into())
}

async fn note(
    conn: &mut sqlx::PgConnection,
    now: Instant,
    actor: &Actor,
    action: &str,
    version: &Version,
) -> Result<(), Error> {
    let detail = json!({ "effective_from": version.effective_from, "hash": version.hash });
    let subject = format!("{}/{}", version.plan, version.version);
    let account = audit::NO_ACCOUNT;
    audit::record(conn, &audit::Entry { account, actor, action, subject: &subject, detail, at: now }).await?;
    Ok(())
}
