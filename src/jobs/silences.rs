//! Notes which monitors fell silent.

use std::time::Duration;

use tokio::sync::watch;

use crate::flows::note_silences::note_silences;
use crate::http::App;

/// How long until the monitors are looked at again. A gap is a minute at least, by what it is for.
const TURN: Duration = Duration::from_secs(1);

/// Looks until `stop` says so. While the spool holds deliveries nobody is called silent: what he said may lie there.
pub async fn run(app: App, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        if app.spool.as_ref().is_none_or(|spool| spool.is_empty()) {
            match note_silences(&app.pool, app.clock.now()).await {
                Ok(_) => {}
                Err(error) if error.is_unavailable() => {}
                Err(error) => tracing::error!(%error, "the silences of monitors cannot be noted"),
            }
        }
        tokio::select! {
            () = tokio::time::sleep(TURN) => {}
            changed = stop.changed() => if changed.is_err() { return },
        }
    }
}
