//! Replays what waits in the spool, in the order in which it came, once the database is back.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::flows::replay_spool::{Replayed, replay_spool};
use crate::http::App;
use crate::sources;
use crate::store::Error;
use crate::store::spool::{Spool, SpoolError};

/// How long until the spool is looked at again.
const TURN: Duration = Duration::from_millis(500);

/// Why a turn came to its end early.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Store(#[from] Error),
    #[error("the work was broken off")]
    BrokenOff(#[from] tokio::task::JoinError),
}

/// Replays until `stop` says so. What cannot be taken now waits for the next turn.
pub async fn run(app: App, mut stop: watch::Receiver<bool>) {
    let Some(spool) = app.spool.clone() else { return };
    let mut stuck = BTreeSet::new();
    while !*stop.borrow() {
        match turn(&app, &spool, &mut stuck).await {
            Ok(()) => {}
            Err(Stopped::Store(error)) if error.is_unavailable() => {}
            Err(error) => tracing::error!(%error, "the spool cannot be replayed"),
        }
        tokio::select! {
            () = tokio::time::sleep(TURN) => {}
            changed = stop.changed() => if changed.is_err() { return },
        }
    }
}

/// Takes what waits. A file that cannot be taken now stays, and those behind it have their turn. `stuck` are the files of which that
/// was said.
async fn turn(app: &App, spool: &Arc<Spool>, stuck: &mut BTreeSet<PathBuf>) -> Result<(), Stopped> {
    let waiting = blocking(spool, |spool| spool.waiting()).await?;
    stuck.retain(|file| waiting.contains(file));
    for file in waiting {
        match one(app, spool, &file).await {
            Ok(()) => {}
            Err(Stopped::Store(error)) if error.is_unavailable() => return Err(error.into()),
            Err(Stopped::BrokenOff(error)) => return Err(error.into()),
            Err(error @ (Stopped::Spool(_) | Stopped::Store(_))) => {
                if stuck.insert(file.clone()) {
                    tracing::error!(%error, file = %file.display(), "a delivery of the spool cannot be taken now");
                }
            }
        }
    }
    Ok(())
}

async fn one(app: &App, spool: &Arc<Spool>, file: &Path) -> Result<(), Stopped> {
    let path = file.to_path_buf();
    let kept = match blocking(spool, move |spool| spool.read(&path)).await {
        Ok(Some(kept)) => kept,
        Ok(None) => return Ok(()),
        Err(Stopped::Spool(SpoolError::Damaged(why))) => return refuse(spool, file, why.to_owned()).await,
        Err(error) => return Err(error),
    };
    let about = &kept.about;
    let read = sources::read(&about.kind, &about.content_type, &kept.raw);
    match replay_spool(&app.pool, app.clock.now(), about, &kept.raw, read).await? {
        Replayed::Taken(taken) => {
            tracing::info!(source = about.source, stored = taken.stored, "a delivery of the spool was taken");
            let path = file.to_path_buf();
            blocking(spool, move |spool| spool.done(&path)).await
        }
        Replayed::Refused(why) => refuse(spool, file, why).await,
    }
}

async fn refuse(spool: &Arc<Spool>, file: &Path, why: String) -> Result<(), Stopped> {
    tracing::warn!(file = %file.display(), why, "a delivery of the spool can never be taken and was put aside");
    let path: PathBuf = file.to_path_buf();
    blocking(spool, move |spool| spool.refuse(&path, &why)).await
}

/// Work on files, away from the threads that answer requests.
async fn blocking<T: Send + 'static>(
    spool: &Arc<Spool>,
    work: impl FnOnce(&Spool) -> Result<T, SpoolError> + Send + 'static,
) -> Result<T, Stopped> {
    let spool = Arc::clone(spool);
    Ok(tokio::task::spawn_blocking(move || work(&spool)).await??)
}
