//! Doors for differences: what late truth means for credits that were given, and what is decided about it.

use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::credit_runs::AssessPeriod;
use super::problem::ProblemBody;
use super::{App, Caller, Json, Keyed, Problem, Query, limit};
use crate::domain::actor::Role;
use crate::domain::difference::DifferenceKind;
use crate::domain::ids::{AccountId, DifferenceId, SubscriptionId};
use crate::domain::money::Money;
use crate::domain::period::Month;
use crate::domain::refusal::Refusal;
use crate::domain::time::{DAY, Instant};
use crate::flows::decide_difference::{DecideDifference, decide_difference};
use crate::flows::list_differences::list_differences;
use crate::flows::once::Answer;
use crate::flows::propose_credit_run::MoneyOnWire;
use crate::store::differences::{Listed, Listing};
use crate::store::{Error, differences, operator, runs};

const READERS: [Role; 4] = [Role::Finance, Role::Supervisor, Role::Auditor, Role::Operations];

/// What a period's listing comes to.
#[derive(Debug, Serialize, ToSchema)]
pub struct DifferenceListing {
    #[schema(value_type = String, example = "2026-10")]
    pub period: Month,
    #[schema(value_type = String)]
    pub listed_at: Instant,
    /// The evidence is the one that was recorded up to here.
    #[schema(value_type = String)]
    pub recorded_as_of: Instant,
    pub accounts: i64,
    /// Where more is due than was credited.
    pub further_credits: i64,
    /// Where more was credited than is due.
    pub over_payments: i64,
    pub undecided: i64,
}

/// One account that should have got something else than it was credited.
#[derive(Debug, Serialize, ToSchema)]
pub struct Difference {
    #[schema(value_type = Uuid)]
    pub id: DifferenceId,
    #[schema(example = "20418876")]
    pub account: String,
    pub kind: DifferenceKind,
    /// By credit runs, and elsewhere for the same cause.
    #[schema(value_type = MoneyOnWire)]
    pub credited: Money,
    /// Null where it cannot be said.
    #[schema(value_type = Option<MoneyOnWire>)]
    pub due: Option<Money>,
    /// How far the two lie apart; `kind` says in which direction.
    #[schema(value_type = Option<MoneyOnWire>)]
    pub difference: Option<Money>,
    /// What the credits rest on was recorded up to here; null where there is none, or none of a credit run.
    #[schema(value_type = Option<String>)]
    pub credited_as_of: Option<Instant>,
    /// Why nobody may decide it yet.
    pub blockers: Vec<String>,
    /// Where the facts that changed since are listed; null where nothing was credited from a credit run.
    #[schema(
        example = "/v1/accounts/20418876/assessments/2026-10/changes?from=2026-11-04T00:00:00Z&to=2026-11-20T00:00:00Z"
    )]
    pub changes: Option<String>,
    pub decided: Option<DecidedBody>,
}

/// What was decided.
#[derive(Debug, Serialize, ToSchema)]
pub struct DecidedBody {
    pub decision: crate::domain::difference::Decision,
    pub reason: String,
    #[schema(value_type = String)]
    pub at: Instant,
    pub by: String,
}

/// What was recorded since the credits that a listing is compared with.
#[derive(Debug, Serialize, ToSchema)]
pub struct Recorded {
    #[schema(example = "outage window")]
    pub what: &'static str,
    pub count: i64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DifferencePage {
    pub listing: DifferenceListing,
    /// What made the differences: kinds of facts that were recorded since the earliest of the credits of this page.
    pub recorded_since: Vec<Recorded>,
    pub data: Vec<Difference>,
    pub has_more: bool,
    /// What to ask for as `after`; null at the end.
    pub next: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct WhichDifferences {
    #[param(value_type = String, example = "2026-10")]
    period: Month,
    /// 1 to 500; 50 unless given.
    limit: Option<i64>,
    /// `next` of the page before.
    after: Option<String>,
}

/// List what a period's accounts should have got
///
/// Assesses the period from what is recorded now and compares it with the credits that were issued for it. Moves nothing. A newer
/// listing stands in the place of an older one.
#[utoipa::path(
    post, path = "/v1/differences", operation_id = "list_differences_anew", tag = "credit runs", request_body = AssessPeriod,
    responses(
        (status = 200, description = "Listed", body = DifferenceListing),
        (status = 403, description = "Not your role", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "No credits of the period are issued yet", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The request is not valid", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn make(
    State(app): State<App>,
    caller: Caller,
    Json(request): Json<AssessPeriod>,
) -> Result<axum::Json<DifferenceListing>, Problem> {
    let actor = caller.require(&[Role::Supervisor, Role::Finance, Role::Operations])?;
    let listing = list_differences(&app.pool, app.clock.now(), actor, request.period).await?;
    let mut conn = app.pool.acquire().await.map_err(Error::from)?;
    Ok(axum::Json(head(&mut conn, &listing).await?))
}

async fn head(conn: &mut sqlx::PgConnection, listing: &Listing) -> Result<DifferenceListing, Error> {
    let totals = differences::totals(conn, listing).await?;
    Ok(DifferenceListing {
        period: listing.period,
        listed_at: listing.listed_at,
        recorded_as_of: listing.recorded_as_of,
        accounts: totals.accounts,
        further_credits: totals.further_credits,
        over_payments: totals.over_payments,
        undecided: totals.undecided,
    })
}

/// Read the differences of a period
///
/// The newest listing.
#[utoipa::path(
    get, path = "/v1/differences", operation_id = "list_differences", tag = "credit runs", params(WhichDifferences),
    responses(
        (status = 200, description = "One page, by account", body = DifferencePage),
        (status = 403, description = "Not your role", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "Nobody listed the differences of this period yet", body = ProblemBody,
         content_type = "application/problem+json"),
        (status = 422, description = "A parameter is not valid", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<WhichDifferences>,
) -> Result<axum::Json<DifferencePage>, Problem> {
    caller.require(&READERS)?;
    let limit = limit(query.limit, 50, 500)?;
    let after = query.after.as_deref().map(cursor).transpose()?;
    let mut conn = app.pool.acquire().await.map_err(Error::from)?;
    let period = query.period;
    let listing = differences::newest(&mut conn, period).await?;
    let listing = listing.ok_or_else(|| Refusal::not_found("listing of differences for", &period.to_string()))?;
    let mut found = differences::page(&mut conn, &listing, after, limit + 1).await?;
    let has_more = i64::try_from(found.len()).unwrap_or(i64::MAX) > limit;
    if has_more {
        found.pop();
    }
    let next = found.last().filter(|_| has_more).map(|last| format!("{}~{}", last.account, last.subscription));
    let recorded_since = match found.iter().filter_map(|one| one.credited_as_of).min() {
        Some(since) => {
            let whole = period.interval(operator::get(&mut conn).await?.zone);
            let changed =
                runs::changed_since(&mut conn, since, period, whole.start().plus(-DAY), whole.end().plus(DAY)).await?;
            changed.into_iter().map(|(what, count)| Recorded { what, count }).collect()
        }
        None => Vec::new(),
    };
    let listing_body = head(&mut conn, &listing).await?;
    let data = found.into_iter().map(|one| shown(one, &listing)).collect::<Result<_, Error>>()?;
    Ok(axum::Json(DifferencePage { listing: listing_body, recorded_since, data, has_more, next }))
}

fn shown(one: Listed, listing: &Listing) -> Result<Difference, Error> {
    let apart = match one.due {
        Some(due) => {
            let minor = due.minor().saturating_sub(one.credited.minor()).saturating_abs();
            let apart = Money::from_minor(minor, due.currency());
            Some(apart.map_err(|error| Error::Corrupt(format!("difference of {}: {error}", one.account)))?)
        }
        None => None,
    };
    let changes = one.credited_as_of.map(|from| {
        let (account, period, to) = (&one.reference, listing.period, listing.recorded_as_of);
        format!("/v1/accounts/{account}/assessments/{period}/changes?from={from}&to={to}")
    });
    Ok(Difference {
        id: one.id,
        account: one.reference,
        kind: DifferenceKind::of(one.credited.minor(), one.due.map(Money::minor)).unwrap_or(DifferenceKind::NotKnown),
        credited: one.credited,
        due: one.due,
        difference: apart,
        credited_as_of: one.credited_as_of,
        blockers: one.blockers,
        changes,
        decided: one.decided.map(|decided| DecidedBody {
            decision: decided.decision,
            reason: decided.reason,
            at: decided.at,
            by: decided.by,
        }),
    })
}

fn cursor(text: &str) -> Result<(AccountId, SubscriptionId), Refusal> {
    let read = text.split_once('~').and_then(|(account, subscription)| {
        Some((AccountId(Uuid::try_parse(account).ok()?), SubscriptionId(Uuid::try_parse(subscription).ok()?)))
    });
    read.ok_or_else(|| Refusal::field("/query/after", "not a cursor of this list; start again without it"))
}

/// Decide about a difference
///
/// `further_credit`: the next credit run of the period gives the rest, for it credits what is due less what was given. `keep`: the customer keeps
/// an over-payment, and the books call it that. `recover`: it is debited where it stands on a bill; a credit on no bill yet is taken back as a whole,
/// and the next credit run gives what is due.
#[utoipa::path(
    post, path = "/v1/differences/{id}/decisions", operation_id = "decide_difference", tag = "credit runs",
    params(
        ("id" = Uuid, Path, description = "The difference's id"),
        ("Idempotency-Key" = String, Header, description = "A value of your own; the same one when you retry"),
    ),
    request_body = DecideDifference,
    responses(
        (status = 201, description = "Recorded", body = DecidedBody),
        (status = 403, description = "Not your role", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such difference, or it does not stand any more", body = ProblemBody,
         content_type = "application/problem+json"),
        (status = 409, description = "Decided already, or what is due is not settled yet", body = ProblemBody,
         content_type = "application/problem+json"),
        (status = 422, description = "The decision does not answer the difference", body = ProblemBody,
         content_type = "application/problem+json"),
    )
)]
pub async fn decide(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Keyed { key, body }: Keyed<DecideDifference>,
) -> Result<Answer, Problem> {
    let actor = caller.require(&[Role::Finance, Role::Supervisor])?;
    let id = Uuid::try_parse(&id).map(DifferenceId).map_err(|_| Refusal::not_found("difference", "with that id"))?;
    Ok(decide_difference(&app.pool, app.clock.now(), actor, &key, id, body).await?)
}
