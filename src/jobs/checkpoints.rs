//! Signs a checkpoint of the chain every hour.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::domain::checkpoint::SigningKey;
use crate::domain::time::SECOND;
use crate::flows::keep_checkpoint::{NotKept, keep_checkpoint_when_due};
use crate::http::App;

/// How often is looked whether one is due: what fails is tried again soon.
const TURN: Duration = Duration::from_secs(15);

/// Where checkpoints are kept, what signs them, and how often.
#[derive(Debug)]
pub struct Checkpoints {
    pub folder: PathBuf,
    pub key: Arc<SigningKey>,
    pub every: Duration,
}

/// Keeps checkpoints until `stop` says so. What is wrong is said once, and again when something else is.
pub async fn run(app: App, kept: Checkpoints, mut stop: watch::Receiver<bool>) {
    let mut said = String::new();
    while !*stop.borrow() {
        match turn(&app, &kept.folder, &kept.key, kept.every).await {
            Ok(()) => said.clear(),
            Err(NotKept::Store(error)) if error.is_unavailable() => {}
            Err(error) => {
                metrics::counter!("makegood_checkpoint_failures_total").increment(1);
                let words = error.to_string();
                if words != said {
                    tracing::error!(error = %words, "no checkpoint can be kept: run `makegood ledger verify`");
                    said = words;
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(TURN.min(kept.every)) => {}
            changed = stop.changed() => if changed.is_err() { return },
        }
    }
}

async fn turn(app: &App, folder: &Path, key: &SigningKey, every: Duration) -> Result<(), NotKept> {
    let every = i64::try_from(every.as_secs()).unwrap_or(i64::MAX / SECOND) * SECOND;
    if keep_checkpoint_when_due(&app.pool, folder, key, every, app.clock.real_now()).await?.is_some() {
        metrics::counter!("makegood_checkpoints_total").increment(1);
    }
    Ok(())
}
