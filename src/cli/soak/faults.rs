//! What goes wrong: servers and the database are killed. Only processes that this soak started are.

use std::sync::Arc;
use std::time::Duration;

use super::{Phase, Soak};
use crate::store::snapshot;

/// How long the database may take to come back on a busy machine.
const RECOVERY: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// SIGKILL to one server.
    Server,
    /// SIGKILL to PostgreSQL and all of its processes.
    Database,
}

/// One round of faults; shuffled for each.
const ROUND: [Fault; 4] = [Fault::Server, Fault::Server, Fault::Server, Fault::Database];

/// Does one fault after the other, about every `pause`, until the storm is over.
pub async fn rage(soak: Arc<Soak>, mut rng: fastrand::Rng, pause: Duration) {
    let mut phase = soak.phase.subscribe();
    let mut left: Vec<Fault> = Vec::new();
    let most = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX).max(2);
    loop {
        let pause = Duration::from_millis(rng.u64(most / 2..=most));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = phase.wait_for(|phase| *phase != Phase::Storm) => return,
        }
        if left.is_empty() {
            left.extend(ROUND);
            rng.shuffle(&mut left);
        }
        match left.pop() {
            Some(Fault::Server) => {
                if let Some(slot) = rng.choice(&soak.servers) {
                    // One that is being started has nothing to lose yet.
                    let _ = slot.kill.try_send(());
                    soak.ledger.count("faults: server killed");
                }
            }
            Some(Fault::Database) => kill_database(&soak).await,
            None => {}
        }
    }
}

async fn kill_database(soak: &Soak) {
    let killed = soak.opened.cluster.as_ref().map_or(0, |cluster| cluster.crash());
    if killed == 0 {
        return soak.ledger.broke("PostgreSQL could not be killed: it was not there".to_owned());
    }
    soak.ledger.count("faults: database killed");
    let began = std::time::Instant::now();
    while snapshot::open(&soak.opened.pool).await.is_err() {
        if began.elapsed() > RECOVERY {
            return soak.ledger.broke(format!("PostgreSQL did not come back within {RECOVERY:?}"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
