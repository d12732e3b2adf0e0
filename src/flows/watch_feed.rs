//! The feed is watched: what waits too long, what will miss a bill run, and who holds a transaction open.

use chrono::NaiveDate;
use serde::Serialize;
use sqlx::PgPool;

use crate::domain::money::Money;
use crate::domain::operator::Operator;
use crate::domain::time::{HOUR, Instant, SECOND};
use crate::store::feed_watch::{self, Backlog, OpenTransaction};
use crate::store::{Error, feed, money, operator, snapshot};

/// What is wrong with the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlarmKind {
    /// The database was restored or taken over: nothing is numbered or served until a person opens a new epoch.
    Stopped,
    /// Committed and not numbered for too long.
    NotNumbered,
    /// Numbered, and no consumer pulled it for too long.
    NotPulled,
    /// Pulled, and no final answer for too long.
    NotAnswered,
    /// Will be on no bill of the coming bill run.
    MissesBillRun,
    /// A transaction that wrote something is open for too long.
    OpenTransaction,
}

impl AlarmKind {
    pub const ALL: [AlarmKind; 6] = [
        AlarmKind::Stopped,
        AlarmKind::NotNumbered,
        AlarmKind::NotPulled,
        AlarmKind::NotAnswered,
        AlarmKind::MissesBillRun,
        AlarmKind::OpenTransaction,
    ];

    pub fn name(self) -> &'static str {
        match self {
            AlarmKind::Stopped => "stopped",
            AlarmKind::NotNumbered => "not_numbered",
            AlarmKind::NotPulled => "not_pulled",
            AlarmKind::NotAnswered => "not_answered",
            AlarmKind::MissesBillRun => "misses_bill_run",
            AlarmKind::OpenTransaction => "open_transaction",
        }
    }
}

/// One thing that is wrong, for as long as it is.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Alarm {
    pub kind: AlarmKind,
    /// How many credits, events or sessions it is about.
    #[schema(example = 12)]
    pub count: i64,
    /// Since when the oldest of them waits; none where that is not known.
    #[schema(value_type = Option<String>)]
    pub since: Option<Instant>,
    /// The day of the bill run.
    #[schema(value_type = Option<String>, example = "2026-12-05")]
    pub bill_run: Option<NaiveDate>,
    /// What it comes to, by currency.
    #[schema(value_type = Vec<super::propose_credit_run::MoneyOnWire>)]
    pub amounts: Vec<Money>,
    /// What, why, and what to do.
    pub message: String,
}

impl Alarm {
    /// What tells it from others: it is said once for as long as it stands.
    pub fn subject(&self) -> (AlarmKind, Option<NaiveDate>) {
        (self.kind, self.bill_run)
    }
}

/// Looks at the feed as it is at `now`, in one snapshot. `asked` is a bill run that is looked at whether or not it is near.
pub async fn watch_feed(pool: &PgPool, now: Instant, asked: Option<NaiveDate>) -> Result<Vec<Alarm>, Error> {
    let mut tx = snapshot::open(pool).await?;
    let Some(settings) = operator::find(&mut tx).await? else { return Ok(Vec::new()) };
    let mut alarms = Vec::new();
    let standing = feed::standing(&mut tx, feed::LANE).await?;
    if standing.opened.as_ref().is_some_and(|opened| *opened != standing.here) {
        let message = super::sequence_feed::stopped().detail;
        let since = None;
        alarms.push(Alarm { kind: AlarmKind::Stopped, count: 1, since, bill_run: None, amounts: Vec::new(), message });
    }
    let before = |seconds: u32| now.plus(-i64::from(seconds) * SECOND);
    let rules = &settings.feed;
    let numbered = feed_watch::not_numbered(&mut tx, feed::LANE, before(rules.not_numbered_seconds)).await?;
    let pulled = feed_watch::not_pulled(&mut tx, feed::LANE, before(rules.not_pulled_seconds)).await?;
    let answered = feed_watch::not_answered(&mut tx, feed::LANE, before(rules.not_answered_seconds)).await?;
    let found = [
        (
            AlarmKind::NotNumbered,
            numbered,
            "events are committed and have no number. Does `makegood serve` run, and what does its log say?",
        ),
        (AlarmKind::NotPulled, pulled, "items wait to be pulled. Does the billing system run, and is its token good?"),
        (
            AlarmKind::NotAnswered,
            answered,
            "credits were pulled and have no final answer. GET /v1/billing/unacknowledged lists them with their states",
        ),
    ];
    for (kind, backlog, words) in found {
        alarms.extend(waiting(kind, backlog, words));
    }
    for day in due_bill_runs(&settings, now, asked) {
        let sums = feed_watch::on_no_bill(&mut tx).await?;
        let count = sums.iter().map(|sum| sum.count).sum();
        if count == 0 {
            continue;
        }
        let amounts = sums.iter().map(|sum| money(sum.gross_minor, &sum.currency, "credit.gross_minor"));
        alarms.push(Alarm {
            kind: AlarmKind::MissesBillRun,
            count,
            since: None,
            bill_run: Some(day),
            amounts: amounts.collect::<Result<_, _>>()?,
            message: format!(
                "{count} credits will miss the bill run of {day}: billing has said neither `accepted` nor `applied` of them. Pull and \
                 answer before that day"
            ),
        });
    }
    Ok(alarms)
}

fn waiting(kind: AlarmKind, backlog: Backlog, words: &str) -> Option<Alarm> {
    let message = format!("{} {words}", backlog.count);
    let since = backlog.oldest.and_then(Instant::from_utc);
    let alarm = Alarm { kind, count: backlog.count, since, bill_run: None, amounts: Vec::new(), message };
    (backlog.count > 0).then_some(alarm)
}

/// The bill runs that are near: their day is not over, and begins within the notice. And the one that somebody asks for.
fn due_bill_runs(settings: &Operator, now: Instant, asked: Option<NaiveDate>) -> Vec<NaiveDate> {
    let notice = i64::from(settings.feed.bill_run_notice_hours) * HOUR;
    let is_near = |day: &&NaiveDate| {
        let start = settings.zone.start_of(**day);
        let end = day.succ_opt().and_then(|next| settings.zone.start_of(next));
        start.is_some_and(|start| now >= start.plus(-notice)) && end.is_none_or(|end| now < end)
    };
    let mut days: Vec<NaiveDate> = settings.feed.bill_runs.iter().filter(is_near).copied().chain(asked).collect();
    days.sort_unstable();
    days.dedup();
    days
}

/// The transactions that have written something and are open just now.
pub async fn open_transactions(pool: &PgPool) -> Result<Vec<OpenTransaction>, Error> {
    let mut conn = pool.acquire().await?;
    feed_watch::open_transactions(&mut conn).await
}

/// How long such a transaction may be open, in seconds.
pub async fn open_transaction_seconds(pool: &PgPool) -> Result<u32, Error> {
    let mut conn = pool.acquire().await?;
    Ok(operator::find(&mut conn).await?.map(|settings| settings.feed).unwrap_or_default().open_transaction_seconds)
}

/// The alarm about transactions that are open for too long.
pub fn held_open(open: &[OpenTransaction], seconds: u32) -> Option<Alarm> {
    let first = open.first()?;
    let count = i64::try_from(open.len()).unwrap_or(i64::MAX);
    let OpenTransaction { pid, application, role, .. } = first;
    Some(Alarm {
        kind: AlarmKind::OpenTransaction,
        count,
        since: None,
        bill_run: None,
        amounts: Vec::new(),
        message: format!(
            "{count} transactions that wrote something are open for more than {seconds} s, such as that of process {pid} \
             ({application}, as {role}). What they wrote is not in the feed before they commit, and what they lock waits. End what \
             should not be there: SELECT pg_terminate_backend({pid})"
        ),
    })
}
