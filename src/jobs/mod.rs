//! Doors for the clock: numbering what was committed, applying approved runs, posting decisions whose hold is over, replaying
//! what monitors told while the database was away, asking them what they did not tell, watching the feed.
//!
//! Each turn asks the database what there is to do, so any number of servers may run them, and a crash loses nothing. A
//! notification only wakes a turn up earlier; the interval is what makes sure.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::flows::apply_credit_run::apply_run;
use crate::flows::post_claims::post_claims;
use crate::flows::sequence_feed::Sequencer;
use crate::http::App;
use crate::store::{Error, feed, runs};

pub mod alarms;
mod ask;
pub mod checkpoints;
mod expiry;
mod silences;
mod spool;

/// How long a turn waits for the next when nobody wakes it.
const TURN: Duration = Duration::from_millis(250);

/// Runs the jobs until `stop` says so. A failure is logged, and the next turn tries again.
pub async fn run(app: App, stop: watch::Receiver<bool>) {
    // Each on its own, so that what is issued is numbered while more is issued, and the machine's other processor is not idle.
    let mut own = JoinSet::new();
    for work in Work::ALL {
        own.spawn(kept_up(app.clone(), stop.clone(), work));
    }
    // What waits for a disk or for a monitor keeps nobody else waiting.
    tokio::join!(
        own.join_all(),
        silences::run(app.clone(), stop.clone()),
        spool::run(app.clone(), stop.clone()),
        alarms::run(app.clone(), stop.clone()),
        expiry::run(app.clone(), stop.clone()),
        ask::run(app, stop)
    );
}

/// What is looked for each turn.
enum Work {
    /// Decisions whose hold is over.
    Post,
    /// Approved runs.
    Apply,
    /// What was committed and has no number.
    Number(Sequencer),
}

impl Work {
    const ALL: [fn() -> Work; 3] = [|| Work::Post, || Work::Apply, || Work::Number(Sequencer::new(feed::LANE))];

    /// Does what there is to do, or some of it; true where there was something.
    async fn turn(&mut self, app: &App, stop: &watch::Receiver<bool>) -> Result<bool, Error> {
        match self {
            Work::Post => Ok(post_claims(&app.pool, app.clock.now()).await? > 0),
            Work::Apply => apply_runs(app, stop).await,
            Work::Number(sequencer) => Ok(sequencer.step(&app.pool, app.clock.now()).await? > 0),
        }
    }
}

/// Begins anew where the work broke down: a fault in one piece of it is no reason to number nothing any more.
async fn kept_up(app: App, mut stop: watch::Receiver<bool>, work: fn() -> Work) {
    while let Err(error) = tokio::spawn(turns(app.clone(), stop.clone(), work())).await {
        if error.is_cancelled() || *stop.borrow() {
            return;
        }
        tracing::error!(%error, "a job broke down and is begun anew");
        tokio::select! {
            () = tokio::time::sleep(TURN) => {}
            _ = stop.changed() => return,
        }
    }
}

async fn turns(app: App, mut stop: watch::Receiver<bool>, mut work: Work) {
    let mut is_away = false;
    while !*stop.borrow() {
        // What wakes it while it works counts too.
        let mut woken = pin!(app.jobs.notified());
        woken.as_mut().enable();
        // Not cut off: what stops waits for the batches under way.
        let done = work.turn(&app, &stop).await;
        // That the database is away is said once, and not four times a second.
        let was_away = std::mem::replace(&mut is_away, done.as_ref().is_err_and(Error::is_unavailable));
        match done {
            Ok(true) => {
                app.wake_jobs();
                continue;
            }
            Ok(false) => {}
            Err(_) if was_away && is_away => {}
            Err(error) => tracing::error!(error = %error, cause = ?std::error::Error::source(&error), "a job failed"),
        }
        tokio::select! {
            () = tokio::time::sleep(TURN) => {}
            () = woken => {}
            _ = stop.changed() => {}
        }
    }
}

/// One turn of all work; true where there was something to do. What fails keeps nothing else from its turn.
pub async fn turn(app: &App) -> Result<bool, Error> {
    let (_running, stop) = watch::channel(false);
    let (mut worked, mut failed) = (false, None);
    for work in Work::ALL {
        match work().turn(app, &stop).await {
            Ok(did) => worked |= did,
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(worked), Err)
}

/// Applies what is approved, the oldest first. A run that fails keeps no other from its turn.
async fn apply_runs(app: &App, stop: &watch::Receiver<bool>) -> Result<bool, Error> {
    let mut conn = app.pool.acquire().await?;
    let waiting = runs::to_apply(&mut conn).await?;
    drop(conn);
    let (mut worked, mut failed) = (false, None);
    for run in waiting {
        let (clock, stop) = (app.clock.clone(), stop.clone());
        match apply_run(&app.pool, run, move || (!*stop.borrow()).then(|| clock.now())).await {
            Ok(issued) => worked |= issued > 0,
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(worked), Err)
}
