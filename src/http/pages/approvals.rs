//! What one person proposed and another must agree to: claims over a limit, and credit runs.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use sqlx::PgConnection;

use super::errors::PageError;
use super::form::{Posted, patiently};
use super::view::{
    ApprovalRow, ApprovalsPage, ApproveRunForm, Bar, Check, FormKeys, HeldRow, Mark, PlanRow, Problems, RunPage,
    RunRow, RunSide, SampleRow, Stat,
};
use super::visitor::{READS_RUNS, Visitor};
use super::{fmt, sum};
use crate::domain::actor::Role;
use crate::domain::claim::State as ClaimState;
use crate::domain::goodwill::Subject;
use crate::domain::ids::{AccountId, CreditRunId};
use crate::domain::money::Money;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::DAY;
use crate::flows::approve_credit_run::{ApproveCreditRun, approve_credit_run};
use crate::flows::propose_goodwill::rests_on;
use crate::http::App;
use crate::store::runs::{Run, RunState, Tally};
use crate::store::{Error, accounts, claims, goodwill, run_reports, runs, terms};

/// What waits for a second person, and the newest runs.
pub async fn list(State(app): State<App>, visitor: Visitor) -> Result<Response, PageError> {
    visitor.require(&READS_RUNS)?;
    let mut conn = app.pool.acquire().await?;
    let waiting = claims::to_decide(&mut conn, Some(ClaimState::AwaitingSecond), None, 500).await?;
    let ids: Vec<AccountId> = waiting.iter().map(|claim| claim.account).collect();
    let known = accounts::latest_of(&mut conn, &ids).await?;
    let claims = waiting
        .into_iter()
        .map(|claim| {
            let opinion = claim.recommendation.as_ref();
            ApprovalRow {
                href: format!("/staff/claims/{}", claim.reference),
                customer: known.get(&claim.account).map_or_else(String::new, |account| account.name.clone()),
                asked: claim.asked.map_or_else(|| "not said".to_owned(), fmt::money),
                proposed: opinion.map_or_else(String::new, |opinion| fmt::money(opinion.amount)),
                by: opinion.map_or_else(String::new, |opinion| opinion.by_name.clone()),
                due: Some(fmt::due(claim.due_at, visitor.now, visitor.operator.zone)),
                reference: claim.reference,
            }
        })
        .collect();
    let runs = runs::list(&mut conn, 50).await?;
    let runs = runs
        .iter()
        .map(|run| RunRow {
            reference: name(run),
            href: format!("/staff/approvals/{}", run.id),
            what: what(run),
            accounts: count(run.credits),
            total: fmt::money(run.total),
            by: run.proposed_by_name.clone(),
            state: state(&visitor, run),
        })
        .collect();
    super::html(&ApprovalsPage {
        shell: visitor.shell("Approvals", "/staff/approvals"),
        flash: None,
        claims,
        runs,
        propose: Vec::new(),
    })
}

/// What people call a run: its month and the beginning of its id.
fn name(run: &Run) -> String {
    let id: String = run.id.to_string().chars().take(8).collect();
    format!("CR-{}-{id}", run.period)
}

/// What it gives for, in words.
fn what(run: &Run) -> String {
    match (&run.takes_back, &run.goodwill) {
        (Some(takes), _) => format!("Takes back run {}", takes.run),
        (None, None) => format!("{}, promises of all plans", fmt::month(run.period)),
        (None, Some((subject, _))) => format!("Goodwill for {}", subject.words()),
    }
}

fn count(number: i64) -> String {
    fmt::count(u64::try_from(number).unwrap_or(0))
}

fn state(visitor: &Visitor, run: &Run) -> String {
    match run.state {
        RunState::Proposed if run.replaced_by.is_some() => "Replaced by a newer plan".to_owned(),
        RunState::Proposed if visitor.now >= run.expires_at => "Expired".to_owned(),
        RunState::Proposed => {
            format!("Proposed, expires in {}", fmt::span(run.expires_at.micros() - visitor.now.micros()))
        }
        RunState::Approved => "Approved, under way".to_owned(),
        RunState::Applied => "Done".to_owned(),
    }
}

/// A run with the reports that its page shows.
struct Loaded {
    run: Run,
    tally: Tally,
    figures: run_reports::Figures,
    plans: Vec<run_reports::PlanPart>,
    hours: [i64; 6],
    held: Vec<run_reports::Held>,
    largest: Vec<run_reports::Sample>,
    /// The promise of each plan, in the words of its terms.
    promises: Vec<(String, String, String)>,
    names: Vec<(AccountId, String)>,
    changed: Vec<(&'static str, i64)>,
}

pub async fn run(State(app): State<App>, visitor: Visitor, Path(id): Path<String>) -> Result<Response, PageError> {
    visitor.require(&READS_RUNS)?;
    let mut conn = app.pool.acquire().await?;
    let loaded = load(&mut conn, &visitor, run_id(&id)?).await?;
    let keys = visitor.keys();
    super::html(&fill(&visitor, &loaded, keys, "", Problems::none())?)
}

/// The total, as it was typed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Fields {
    total: String,
    hash: String,
}

pub async fn approve(
    State(app): State<App>,
    Path(id): Path<String>,
    posted: Posted<Fields>,
) -> Result<Response, PageError> {
    posted.visitor.require(&[Role::Supervisor])?;
    let (run, typed) = (run_id(&id)?, posted.form.total.trim());
    let mut conn = app.pool.acquire().await?;
    let loaded = load(&mut conn, &posted.visitor, run).await?;
    drop(conn);
    if posted.form.hash != hex::encode(&loaded.run.inputs_hash) {
        return Err(Refusal::new(Code::PlanStale, "The run that was shown is another one now.").into());
    }
    let total = typed.chars().filter(|c| !matches!(c, '$' | ',' | ' ')).collect();
    let request = ApproveCreditRun { total };
    let (now, actor) = (app.clock.now(), &posted.visitor.actor);
    let deed = || approve_credit_run(&app.pool, now, actor, &posted.key, run, request.clone());
    match patiently(deed).await {
        Ok(_) => {
            app.wake_jobs();
            Ok(Redirect::to(&format!("/staff/approvals/{id}")).into_response())
        }
        Err(Error::Refused(refusal)) if refusal.code == Code::TotalDiffers => {
            let mut problems = Problems::none();
            problems.add("total", format!("Type the total exactly as shown: {}", fmt::money(loaded.run.total)));
            let page = fill(&posted.visitor, &loaded, posted.keys(), typed, problems)?;
            super::html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
        Err(error) => Err(error.into()),
    }
}

fn run_id(text: &str) -> Result<CreditRunId, Refusal> {
    uuid::Uuid::try_parse(text).map(CreditRunId).map_err(|_| Refusal::not_found("credit run", "of that id"))
}

async fn load(conn: &mut PgConnection, visitor: &Visitor, id: CreditRunId) -> Result<Loaded, PageError> {
    let unknown = || Refusal::not_found("credit run", &id.to_string());
    let run = runs::find(conn, id).await?.ok_or_else(unknown)?;
    let whole = run.period.interval(visitor.operator.zone);
    let plans = run_reports::by_plan(conn, &run).await?;
    let largest = run_reports::largest(conn, &run, 10).await?;
    let ids: Vec<AccountId> = largest.iter().map(|one| one.account).collect();
    let names = accounts::latest_of(conn, &ids).await?;
    let mut promises = Vec::with_capacity(plans.len());
    for part in &plans {
        let Some(version) = terms::in_force(conn, &part.plan, whole.start(), Some(run.recorded_as_of)).await? else {
            continue;
        };
        let promised = version.terms.remedies.iter().find_map(|remedy| remedy.schedule.promised());
        let promise = promised.map_or_else(String::new, |promised| format!("{promised}%"));
        promises.push((part.plan.clone(), version.terms.name.clone(), promise));
    }
    Ok(Loaded {
        tally: runs::tally(conn, id).await?,
        figures: run_reports::figures(conn, &run).await?,
        hours: run_reports::by_hours(conn, &run).await?,
        held: run_reports::held(conn, &run).await?,
        changed: match (&run.takes_back, &run.goodwill) {
            // The approval itself looks whether something of it was taken back since.
            (Some(_), _) => Vec::new(),
            (None, None) => {
                let (start, end) = (whole.start().plus(-DAY), whole.end().plus(DAY));
                runs::changed_since(conn, run.recorded_as_of, run.period, start, end).await?
            }
            (None, Some((subject, _))) => goodwill_changed(conn, &run, subject, visitor).await?,
        },
        names: names.into_values().map(|one| (one.id, format!("{}, {}", one.reference, one.name))).collect(),
        run,
        plans,
        largest,
        promises,
    })
}

/// What goodwill rests on and was recorded since.
async fn goodwill_changed(
    conn: &mut PgConnection,
    run: &Run,
    subject: &Subject,
    visitor: &Visitor,
) -> Result<Vec<(&'static str, i64)>, PageError> {
    let windows = rests_on(conn, subject).await?;
    Ok(goodwill::changed_since(conn, &windows, run.recorded_as_of, visitor.now).await?)
}

fn money(minor: i64, loaded: &Loaded) -> Result<String, PageError> {
    let amount = Money::from_minor(minor, loaded.run.total.currency());
    Ok(amount.map(fmt::money).map_err(|error| Error::Corrupt(error.to_string()))?)
}

fn fill(
    visitor: &Visitor,
    loaded: &Loaded,
    keys: FormKeys,
    typed: &str,
    problems: Problems,
) -> Result<RunPage, PageError> {
    let (run, tally) = (&loaded.run, &loaded.tally);
    let heading = match (&run.takes_back, &run.goodwill) {
        (Some(_), _) => format!("Take back the credits of {} accounts", count(tally.credited)),
        (None, None) => format!("Credit {} accounts for {}", count(tally.credited), fmt::month(run.period)),
        (None, Some((subject, _))) => {
            format!("Give {} accounts goodwill for {}", count(tally.credited), subject.words())
        }
    };
    let mut shell = visitor.shell(&heading, "/staff/approvals");
    shell.has_problem = !problems.is_empty();
    let proposed = fmt::stamp(run.proposed_at, visitor.operator.zone, super::fmt::Reader::Staff);
    let checks = checks(visitor, loaded)?;
    Ok(RunPage {
        shell,
        line: format!(
            "Proposed by {}, {proposed} · run {} · {}",
            run.proposed_by_name,
            name(run),
            state(visitor, run).to_lowercase()
        ),
        heading,
        stats: vec![
            Stat::new(
                if run.takes_back.is_some() { "To be taken back" } else { "To be credited" },
                fmt::money(run.total),
            ),
            Stat::new("Accounts", count(tally.credited)),
            Stat::new("Held back", count(tally.held_back)),
            Stat::new("Largest single credit", money(loaded.figures.largest_minor, loaded)?),
        ],
        plans: plan_rows(loaded)?,
        plans_total: PlanRow {
            plan: "Total".to_owned(),
            promise: String::new(),
            accounts: count(loaded.plans.iter().map(|part| part.accounts).sum()),
            mailboxes: count(loaded.plans.iter().map(|part| part.mailboxes).sum()),
            total: money(loaded.plans.iter().map(|part| part.total_minor).sum(), loaded)?,
        },
        hours: hours(loaded),
        held_caption: format!("{} accounts will not be credited by this run", count(tally.held_back)),
        held: held_rows(loaded)?,
        sample_caption: format!("The {} largest", loaded.largest.len()),
        sample: samples(loaded)?,
        side: side(visitor, loaded, &checks, keys, typed, problems),
        checks,
    })
}

fn held_rows(loaded: &Loaded) -> Result<Vec<HeldRow>, PageError> {
    loaded
        .held
        .iter()
        .map(|held| {
            let amount = held.minor.map(|minor| money(minor, loaded)).transpose()?;
            Ok(HeldRow {
                reason: held_reason(&held.reason),
                accounts: count(held.accounts),
                amount: amount.unwrap_or_else(|| "not known".to_owned()),
                href: None,
            })
        })
        .collect()
}

fn plan_rows(loaded: &Loaded) -> Result<Vec<PlanRow>, PageError> {
    loaded
        .plans
        .iter()
        .map(|part| {
            let (name, promise) = terms_of(loaded, &part.plan);
            Ok(PlanRow {
                plan: name,
                promise,
                accounts: count(part.accounts),
                mailboxes: count(part.mailboxes),
                total: money(part.total_minor, loaded)?,
            })
        })
        .collect()
}

fn terms_of(loaded: &Loaded, plan: &str) -> (String, String) {
    let found = loaded.promises.iter().find(|(key, _, _)| key == plan);
    found.map_or_else(|| (plan.to_owned(), String::new()), |(_, name, promise)| (name.clone(), promise.clone()))
}

fn hours(loaded: &Loaded) -> Vec<Bar> {
    let labels = ["under 1 h", "1 to 6 h", "6 to 12 h", "12 to 18 h", "18 to 24 h", "24 h and more"];
    let counts: Vec<(&str, u64)> =
        labels.into_iter().zip(loaded.hours).map(|(label, count)| (label, u64::try_from(count).unwrap_or(0))).collect();
    Bar::of_counts(&counts)
}

/// A stored reason for holding back, as staff say it.
fn held_reason(reason: &str) -> String {
    match reason {
        "window_open" => "An outage has no end yet".to_owned(),
        "window_not_confirmed" => "An outage is not signed off".to_owned(),
        "window_disputed" => "Monitors disagree about an outage".to_owned(),
        "contested_placement" => "Mailbox recorded in two places at once".to_owned(),
        "missing_charge" => "A charge is missing".to_owned(),
        "charges_overlap" => "Two charges for the same days".to_owned(),
        "terms_missing" => "The plan has no terms for the month".to_owned(),
        "on_request" => "The plan pays when the customer asks".to_owned(),
        "history_missing" => "What was credited before is not known".to_owned(),
        "calendar_missing" => "A holiday calendar is missing".to_owned(),
        "subscription_changed" => "The plan changed in the month".to_owned(),
        "class_unknown" => "No class is of the customer's plan".to_owned(),
        "area_unknown" => "No area is of the mailbox's place".to_owned(),
        "account_closed" => "The account is closed".to_owned(),
        "other_currency" => "The account is in another currency".to_owned(),
        other => other.replace('_', " "),
    }
}

fn samples(loaded: &Loaded) -> Result<Vec<SampleRow>, PageError> {
    loaded
        .largest
        .iter()
        .map(|one| {
            let name = loaded.names.iter().find(|(id, _)| *id == one.account).map(|(_, name)| name.clone());
            let mailboxes = usize::try_from(one.affected_mailboxes).map_or(0, sum::many);
            Ok(SampleRow {
                account: name.unwrap_or_default(),
                href: None,
                plan: terms_of(loaded, &one.plan).0,
                down: fmt::length_short(one.counted_micros),
                sum: format!("{} affected", fmt::mailboxes(mailboxes)),
                amount: money(one.amount_minor, loaded)?,
            })
        })
        .collect()
}

/// What must hold before money moves; looked at again by the approval itself.
fn checks(visitor: &Visitor, loaded: &Loaded) -> Result<Vec<Check>, PageError> {
    let (run, figures) = (&loaded.run, &loaded.figures);
    let check = |holds: bool, text: String| Check { mark: if holds { Mark::Passed } else { Mark::Failed }, text };
    let lines = money(figures.total_minor, loaded)?;
    let by_plan: i64 = loaded.plans.iter().map(|part| part.total_minor).sum();
    let is_new = run.state != RunState::Proposed || loaded.changed.is_empty();
    let changed: Vec<String> = loaded
        .changed
        .iter()
        .map(|(kind, count)| format!("{count} {kind}{}", if *count == 1 { "" } else { "s" }))
        .collect();
    let hash: String = hex::encode(&run.inputs_hash).chars().take(12).collect();
    let mut checks = vec![
        check(
            figures.total_minor == run.total.minor() && by_plan == run.total.minor(),
            format!("The lines add up to the total: {lines} over all accounts and over all plans"),
        ),
        Check {
            mark: if figures.again == 0 { Mark::Passed } else { Mark::Warning },
            text: match figures.again {
                _ if run.takes_back.is_some() => {
                    "What was taken back of these credits before is not taken back again".to_owned()
                }
                0 => "Nothing is credited twice: no account has a credit for this cause".to_owned(),
                again => format!("{again} accounts were credited for this before: only the difference is given"),
            },
        },
        check(
            is_new,
            if is_new {
                format!("Nothing that it rests on has changed since (inputs {hash}…)")
            } else {
                format!("What it rests on has changed since: {}", changed.join(", "))
            },
        ),
    ];
    if run.state == RunState::Proposed {
        checks.push(check(visitor.now < run.expires_at, state(visitor, run)));
    }
    if loaded.tally.held_back > 0 {
        let text = format!("{} accounts are held back", count(loaded.tally.held_back));
        checks.push(Check { mark: Mark::Warning, text });
    }
    Ok(checks)
}

fn side(
    visitor: &Visitor,
    loaded: &Loaded,
    checks: &[Check],
    keys: FormKeys,
    typed: &str,
    problems: Problems,
) -> RunSide {
    let run = &loaded.run;
    let credits = count(run.credits);
    let is_taking = run.takes_back.is_some();
    match run.state {
        RunState::Approved if is_taking => RunSide::Underway {
            text: format!("{credits} credits are being taken back."),
            href: format!("/staff/approvals/{}", run.id),
        },
        RunState::Approved => RunSide::Underway {
            text: format!("{} of {credits} posted.", count(loaded.figures.issued)),
            href: format!("/staff/approvals/{}", run.id),
        },
        RunState::Applied => {
            let by = run.approved_by_name.as_deref().unwrap_or_default();
            let total = fmt::money(run.total);
            let done = if is_taking { "taken back" } else { "posted" };
            RunSide::Done { text: format!("{credits} credits {done}, {total}. {by} approved it."), links: Vec::new() }
        }
        RunState::Proposed if run.replaced_by.is_some() => RunSide::Stale {
            text: "A newer plan stands in its place. Nothing was credited by this one.".to_owned(),
            again: None,
        },
        RunState::Proposed if visitor.now >= run.expires_at => RunSide::Stale {
            text: format!("{} proposed it, and nobody approved it in time. Nothing was credited.", run.proposed_by_name),
            again: None,
        },
        RunState::Proposed if !loaded.changed.is_empty() => RunSide::Stale {
            text: "It no longer matches what it rests on. Assess the month again and make a new run. Nothing was credited."
                .to_owned(),
            again: None,
        },
        RunState::Proposed if !visitor.actor.has(Role::Supervisor) => {
            RunSide::ReadOnly { text: "A supervisor who did not propose it approves it.".to_owned() }
        }
        RunState::Proposed => {
            let failed = checks.iter().find(|check| check.mark == Mark::Failed).map(|check| check.text.clone());
            let own = run.proposed_by == visitor.actor.key();
            let own = own.then(|| "You proposed this, so someone else must approve it.".to_owned());
            RunSide::Approve(Box::new(ApproveRunForm {
                action: format!("/staff/approvals/{}/approve", run.id),
                keys,
                hash: hex::encode(&run.inputs_hash),
                total: fmt::money(run.total),
                typed: typed.to_owned(),
                problems,
                button: match is_taking {
                    true => format!("Approve and take back from {} accounts", count(loaded.tally.credited)),
                    false => format!("Approve and credit {} accounts", count(loaded.tally.credited)),
                },
                barred: own.or(failed),
                send_back: None,
            }))
        }
    }
}
