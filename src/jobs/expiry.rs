//! Lets goodwill expire.

use std::time::Duration;

use tokio::sync::watch;

use crate::flows::expire_goodwill::expire_goodwill;
use crate::http::App;

/// How long until the next look. Expiry is counted in days.
const TURN: Duration = Duration::from_secs(3_600);

/// Looks at once and then every hour, until `stop` says so.
pub async fn run(app: App, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        match expire_goodwill(&app.pool, app.clock.now()).await {
            Ok(0) => {}
            Ok(_) => app.wake_jobs(),
            Err(error) if error.is_unavailable() => {}
            Err(error) => tracing::error!(%error, "goodwill cannot expire"),
        }
        tokio::select! {
            () = tokio::time::sleep(TURN) => {}
            changed = stop.changed() => if changed.is_err() { return },
        }
    }
}
