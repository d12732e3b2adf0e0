//! Doors for the clock: numbering what was committed, applying approved runs, posting decisions whose hold is over, replaying
//! what monitors told while the database was away, asking them what they did not tell.
//!
//! Each turn asks the database what there is to do, so any number of servers may run them, and a crash loses nothing. A
//! notification only wakes a turn up earlier; the interval is what makes sure.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;

use crate::flows::apply_credit_run::{Step, WORKERS, apply_step};
use crate::flows::post_claims::post_claims;
use crate::flows::sequence_feed::sequence_feed;
use crate::http::App;
use crate::store::{Error, feed, runs};

mod ask;
pub mod checkpoints;
mod silences;
mod spool;

/// How long a turn waits for the next when nobody wakes it.
const TURN: Duration = Duration::from_millis(250);

/// Runs the jobs until `stop` says so. A failure is logged, and the next turn tries again.
pub async fn run(app: App, stop: watch::Receiver<bool>) {
    // What waits for a disk or for a monitor keeps nobody else waiting.
    tokio::join!(
        turns(app.clone(), stop.clone()),
        silences::run(app.clone(), stop.clone()),
        spool::run(app.clone(), stop.clone()),
        ask::run(app, stop)
    );
}

async fn turns(app: App, mut stop: watch::Receiver<bool>) {
    let mut is_away = false;
    while !*stop.borrow() {
        let done = turn(&app).await;
        // That the database is away is said once, and not four times a second.
        let was_away = std::mem::replace(&mut is_away, done.as_ref().is_err_and(Error::is_unavailable));
        match done {
            Ok(true) => continue,
            Ok(false) => {}
            Err(_) if was_away && is_away => {}
            Err(error) => tracing::error!(error = %error, cause = ?std::error::Error::source(&error), "a job failed"),
        }
        tokio::select! {
            () = tokio::time::sleep(TURN) => {}
            () = app.jobs.notified() => {}
            _ = stop.changed() => {}
        }
    }
}

/// One turn of all jobs; true where there was something to do. One that fails keeps no other from its turn.
pub async fn turn(app: &App) -> Result<bool, Error> {
    let posted = post_claims(&app.pool, app.clock.now()).await;
    // Side by side: what is issued is numbered while more is issued.
    let (applied, numbered) = tokio::join!(apply_runs(app), sequence_feed(&app.pool, feed::LANE, app.clock.now()));
    let (posted, applied, numbered) = (posted? > 0, applied?, numbered? > 0);
    Ok(posted || applied || numbered)
}

async fn apply_runs(app: &App) -> Result<bool, Error> {
    let mut conn = app.pool.acquire().await?;
    let waiting = runs::to_apply(&mut conn).await?;
    drop(conn);
    let mut worked = false;
    for run in waiting {
        let steps = (0..WORKERS).map(|_| apply_step(&app.pool, run, app.clock.now()));
        for step in join_all(steps).await {
            worked |= matches!(step?, Step::Issued(_));
        }
    }
    Ok(worked)
}
