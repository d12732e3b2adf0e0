//! A credit run as whoever approves it must see it: what it comes to, for whom, and how it differs from the plan before.

use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::money::{Currency, Money};
use crate::domain::time::Instant;
use crate::flows::propose_credit_run::{CreditRun, MoneyOnWire};
use crate::store::run_reports::{self, Line, Sample};
use crate::store::runs::{self, ItemOutcome, Run, RunState};
use crate::store::{Error, accounts, goodwill};

/// Edges of the bands of amounts, in major units.
const EDGES: [i64; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000];

/// How many credits the largest and the random sample show.
const SHOWN: i64 = 10;

/// How many lines that are held back, or that differ, are shown. `/lines` has all.
const LISTED: i64 = 100;

/// A run with its preview.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreditRunInFull {
    #[serde(flatten)]
    pub run: CreditRun,
    /// Whether the plan may still be approved: not after its expiry.
    pub is_expired: bool,
    /// What an approver types, as digits.
    #[schema(example = "1240.50")]
    pub total_to_type: String,
    /// How many of its credits are issued, while it is applied.
    pub issued_credits: i64,
    /// By plan; of goodwill, by class, severity and area.
    pub parts: Vec<Part>,
    /// Credits by amount.
    pub distribution: Vec<Band>,
    pub largest: Vec<Shown>,
    /// Drawn by the run's hash: nobody chooses it, and everybody sees the same.
    pub sample: Vec<Shown>,
    /// The first that are held back, with every reason. `GET /v1/credit-runs/{id}/lines?outcome=held_back` has all.
    pub held_back: Vec<RunLine>,
    /// Against the plan that it replaces.
    pub difference: Option<PlanDifference>,
    /// Of goodwill: its budget as it stands.
    pub budget: Option<BudgetBody>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Part {
    #[schema(example = "business")]
    pub name: String,
    pub accounts: i64,
    #[schema(value_type = MoneyOnWire)]
    pub total: Money,
}

/// Credits of `from` and more, under `below`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Band {
    #[schema(value_type = MoneyOnWire)]
    pub from: Money,
    /// Null for the last.
    #[schema(value_type = Option<MoneyOnWire>)]
    pub below: Option<Money>,
    pub credits: i64,
    #[schema(value_type = MoneyOnWire)]
    pub total: Money,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Shown {
    #[schema(example = "20418876")]
    pub account: String,
    /// The plan; of goodwill, class, severity and area.
    pub part: String,
    #[schema(value_type = MoneyOnWire)]
    pub amount: Money,
}

/// One line of a plan.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunLine {
    #[schema(example = "20418876")]
    pub account: String,
    /// `credit`, `held_back` or `nothing_due`.
    #[schema(example = "held_back")]
    pub outcome: String,
    #[schema(value_type = MoneyOnWire)]
    pub amount: Money,
    /// What was given for the same before.
    #[schema(value_type = MoneyOnWire)]
    pub already_given: Money,
    /// The promise; of goodwill, class, severity and area.
    pub part: String,
    /// Why it is held back: a stable word, and after a colon what it is about.
    pub reasons: Vec<String>,
}

/// How a plan differs from the one that it replaces.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanDifference {
    #[schema(value_type = MoneyOnWire)]
    pub total_before: Money,
    #[schema(value_type = MoneyOnWire)]
    pub total_after: Money,
    /// Credited now, and not before.
    pub added: i64,
    #[schema(value_type = MoneyOnWire)]
    pub added_total: Money,
    /// Credited before, and not now.
    pub removed: i64,
    #[schema(value_type = MoneyOnWire)]
    pub removed_total: Money,
    /// Credited in both, with another amount.
    pub changed: i64,
    #[schema(value_type = MoneyOnWire)]
    pub changed_before: Money,
    #[schema(value_type = MoneyOnWire)]
    pub changed_after: Money,
    /// The largest changes first, at most 100.
    pub lines: Vec<LineDifference>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct LineDifference {
    #[schema(example = "20418876")]
    pub account: String,
    /// Null where the plan had no such line.
    pub before: Option<Outcome>,
    pub after: Option<Outcome>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Outcome {
    #[schema(example = "credit")]
    pub outcome: String,
    #[schema(value_type = MoneyOnWire)]
    pub amount: Money,
    pub reasons: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct BudgetBody {
    #[schema(example = "october-goodwill")]
    pub name: String,
    #[schema(value_type = MoneyOnWire)]
    pub amount: Money,
    /// What runs that were approved give of it.
    #[schema(value_type = MoneyOnWire)]
    pub given: Money,
}

fn money(minor: i64, currency: Currency) -> Result<Money, Error> {
    Money::from_minor(minor, currency).map_err(|error| Error::Corrupt(format!("credit_run_item: {error}")))
}

impl RunLine {
    pub fn new(line: Line, currency: Currency) -> Result<Self, Error> {
        Ok(RunLine {
            account: line.reference,
            outcome: line.outcome,
            amount: money(line.amount_minor, currency)?,
            already_given: money(line.already_minor, currency)?,
            part: line.promise,
            reasons: line.reasons,
        })
    }
}

/// Reads everything that the preview shows.
pub async fn in_full(conn: &mut PgConnection, run: &Run, now: Instant) -> Result<CreditRunInFull, Error> {
    let currency = run.total.currency();
    let tally = runs::tally(conn, run.id).await?;
    let figures = run_reports::figures(conn, run).await?;
    let parts = run_reports::by_plan(conn, run)
        .await?
        .into_iter()
        .map(|part| Ok(Part { name: part.plan, accounts: part.accounts, total: money(part.total_minor, currency)? }));
    let held = run_reports::lines(conn, run, Some(ItemOutcome::HeldBack), None, LISTED).await?;
    let (largest, sample) =
        (run_reports::largest(conn, run, SHOWN).await?, run_reports::sample(conn, run, SHOWN).await?);
    Ok(CreditRunInFull {
        run: CreditRun::new(run, tally),
        is_expired: run.state == RunState::Proposed && now >= run.expires_at,
        total_to_type: run.total.digits(),
        issued_credits: figures.issued,
        parts: parts.collect::<Result<_, Error>>()?,
        distribution: distribution(conn, run).await?,
        largest: shown(conn, largest, currency).await?,
        sample: shown(conn, sample, currency).await?,
        held_back: held.into_iter().map(|line| RunLine::new(line, currency)).collect::<Result<_, Error>>()?,
        difference: match run.replaces {
            Some(old) => difference(conn, old.0, run).await?,
            None => None,
        },
        budget: budget(conn, run).await?,
    })
}

async fn distribution(conn: &mut PgConnection, run: &Run) -> Result<Vec<Band>, Error> {
    let currency = run.total.currency();
    let unit = 10i64.pow(currency.decimals());
    let edges: Vec<i64> = EDGES.iter().map(|edge| edge.saturating_mul(unit)).collect();
    let bands = run_reports::bands(conn, run, &edges).await?;
    let from = std::iter::once(0).chain(edges.iter().copied());
    let below = edges.iter().copied().map(Some).chain([None]);
    let filled = bands.into_iter().zip(from.zip(below)).filter(|((credits, _), _)| *credits > 0);
    filled
        .map(|((credits, minor), (from, below))| {
            Ok(Band {
                from: money(from, currency)?,
                below: below.map(|below| money(below, currency)).transpose()?,
                credits,
                total: money(minor, currency)?,
            })
        })
        .collect()
}

async fn shown(conn: &mut PgConnection, samples: Vec<Sample>, currency: Currency) -> Result<Vec<Shown>, Error> {
    let ids: Vec<_> = samples.iter().map(|one| one.account).collect();
    let known = accounts::latest_of(conn, &ids).await?;
    samples
        .into_iter()
        .map(|one| {
            Ok(Shown {
                account: known.get(&one.account).map(|account| account.reference.clone()).unwrap_or_default(),
                part: one.plan,
                amount: money(one.amount_minor, currency)?,
            })
        })
        .collect()
}

async fn difference(conn: &mut PgConnection, old: Uuid, run: &Run) -> Result<Option<PlanDifference>, Error> {
    let currency = run.total.currency();
    let Some(before) = runs::find(conn, crate::domain::ids::CreditRunId(old)).await? else { return Ok(None) };
    let sums = run_reports::difference(conn, old, run.id.0).await?;
    let lines = run_reports::differing(conn, old, run.id.0, LISTED).await?;
    let outcome = |outcome: Option<String>, minor: Option<i64>, reasons: Option<Vec<String>>| {
        outcome
            .map(|outcome| {
                Ok::<_, Error>(Outcome {
                    outcome,
                    amount: money(minor.unwrap_or_default(), currency)?,
                    reasons: reasons.unwrap_or_default(),
                })
            })
            .transpose()
    };
    let lines = lines.into_iter().map(|line| {
        Ok(LineDifference {
            account: line.reference,
            before: outcome(line.before_outcome, line.before_minor, line.before_reasons)?,
            after: outcome(line.after_outcome, line.after_minor, line.after_reasons)?,
        })
    });
    Ok(Some(PlanDifference {
        total_before: before.total,
        total_after: run.total,
        added: sums.added,
        added_total: money(sums.added_minor, currency)?,
        removed: sums.removed,
        removed_total: money(sums.removed_minor, currency)?,
        changed: sums.changed,
        changed_before: money(sums.changed_before_minor, currency)?,
        changed_after: money(sums.changed_after_minor, currency)?,
        lines: lines.collect::<Result<_, Error>>()?,
    }))
}

async fn budget(conn: &mut PgConnection, run: &Run) -> Result<Option<BudgetBody>, Error> {
    let Some((_, matrix)) = &run.goodwill else { return Ok(None) };
    let name = matrix.budget.name.clone();
    if let Some(held) = goodwill::budget(conn, &name).await? {
        return Ok(Some(BudgetBody { name, amount: held.amount, given: held.given }));
    }
    let currency = run.total.currency();
    let amount = Money::parse(&matrix.budget.amount, currency)
        .map_err(|error| Error::Corrupt(format!("credit_run.matrix of {}: {error}", run.id)))?;
    Ok(Some(BudgetBody { name, amount, given: Money::zero(currency) }))
}
