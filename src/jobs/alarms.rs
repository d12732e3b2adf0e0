//! Looks at the feed and says once, in the log, what begins to be wrong and what is well again; `/metrics` has it all the time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::NaiveDate;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::flows::watch_feed::{Alarm, AlarmKind, held_open, open_transaction_seconds, open_transactions, watch_feed};
use crate::http::App;
use crate::store::Error;
use crate::store::feed_watch::OpenTransaction;

/// How long between looks for transactions that are held open.
const TURN: Duration = Duration::from_secs(1);
/// How long between looks at what waits, which costs more.
const LOOK: Duration = Duration::from_secs(30);

/// Looks until `stop` says so.
pub async fn run(app: App, mut stop: watch::Receiver<bool>) {
    let mut watched = Watch::default();
    let mut is_away = false;
    while !*stop.borrow() {
        let done = watched.turn(&app).await;
        let was_away = std::mem::replace(&mut is_away, done.as_ref().is_err_and(Error::is_unavailable));
        if let Err(error) = done
            && !(was_away && is_away)
        {
            tracing::error!(error = %error, cause = ?std::error::Error::source(&error), "the feed cannot be watched");
        }
        tokio::select! {
            () = tokio::time::sleep(TURN) => {}
            _ = stop.changed() => {}
        }
    }
}

/// What was seen before.
#[derive(Debug, Default)]
pub struct Watch {
    /// Since when each open transaction was seen. Not the database's word: what it says of other people's sessions is not shown to us.
    open: BTreeMap<OpenTransaction, Instant>,
    looked: Option<Instant>,
    waiting: Vec<Alarm>,
    said: BTreeSet<(AlarmKind, Option<NaiveDate>)>,
}

impl Watch {
    /// One look; gives the alarms that stand.
    pub async fn turn(&mut self, app: &App) -> Result<Vec<Alarm>, Error> {
        let now = Instant::now();
        let open = open_transactions(&app.pool).await?;
        self.open = open.into_iter().map(|one| (one.clone(), self.open.get(&one).copied().unwrap_or(now))).collect();
        let held = if self.open.is_empty() { None } else { self.held_open(app, now).await? };
        if let Ok(mut shown) = app.held_open.lock() {
            shown.clone_from(&held);
        }
        if self.looked.is_none_or(|looked| now.duration_since(looked) >= LOOK) {
            self.waiting = watch_feed(&app.pool, app.clock.now(), None).await?;
            self.looked = Some(now);
        }
        let alarms: Vec<Alarm> = self.waiting.iter().cloned().chain(held).collect();
        self.say(&alarms);
        Ok(alarms)
    }

    async fn held_open(&self, app: &App, now: Instant) -> Result<Option<Alarm>, Error> {
        let seconds = open_transaction_seconds(&app.pool).await?;
        let most = Duration::from_secs(seconds.into());
        let long = self.open.iter().filter(|(_, since)| now.duration_since(**since) >= most);
        let long: Vec<OpenTransaction> = long.map(|(one, _)| one.clone()).collect();
        Ok(held_open(&long, seconds))
    }

    fn say(&mut self, alarms: &[Alarm]) {
        let standing: BTreeSet<_> = alarms.iter().map(Alarm::subject).collect();
        for alarm in alarms.iter().filter(|alarm| !self.said.contains(&alarm.subject())) {
            tracing::warn!(kind = alarm.kind.name(), count = alarm.count, "{}", alarm.message);
        }
        for (kind, bill_run) in self.said.difference(&standing) {
            tracing::info!(kind = kind.name(), bill_run = ?bill_run, "the feed's alarm is over");
        }
        for kind in AlarmKind::ALL {
            let count: i64 = alarms.iter().filter(|alarm| alarm.kind == kind).map(|alarm| alarm.count).sum();
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            metrics::gauge!("makegood_feed_alarm", "kind" => kind.name()).set(count);
        }
        self.said = standing;
    }
}
