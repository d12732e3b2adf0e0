//! The real Prometheus, Alertmanager and blackbox exporter, from a service that fails to the window of its outage.

mod support;

#[path = "support/monitors.rs"]
mod monitors;
#[path = "support/server.rs"]
mod server;

use makegood::cli::token::{self, CreateArgs};
use makegood::clock::Clock;
use makegood::domain::actor::{Actor, Role};
use makegood::domain::monitors::Monitors as Document;
use makegood::domain::time::{DAY, Instant, SECOND};
use makegood::domain::window::OutageWindow;
use makegood::flows::set_up_monitors::set_up_monitors;
use makegood::flows::system_actor;
use makegood::http::auth::MachineKey;
use makegood::store::{evidence, windows};
use monitors::{Monitors, seen};
use server::Server;
use sqlx::PgPool;
use support::TestDatabase;

const SOURCE: &str = "prometheus-north";

/// One database, the monitors, and how makegood is started beside them.
struct Site {
    database: TestDatabase,
    monitors: Monitors,
}

fn somebody(role: Role) -> Actor {
    Actor { roles: [role].into(), ..system_actor("tests") }
}

fn now() -> Instant {
    Clock::real().now()
}

impl Site {
    /// All of it but makegood runs, and what the alerts mean is set up. `ask` is the source's field of that name.
    async fn open(group_by: &str, ask: impl Fn(&Monitors) -> String) -> Self {
        let database = support::database().await;
        let mut monitors = Monitors::prepare("", group_by);
        let keys = MachineKey::load_or_create(&monitors.folder.join("data/keys")).unwrap();
        let args = CreateArgs { role: Role::Ingest, source: SOURCE.to_owned(), expires: DAY };
        let made = token::create(&database.app, &keys, &Clock::real(), &somebody(Role::Admin), &args).await.unwrap();
        std::fs::write(monitors.folder.join("token"), made.token).unwrap();
        let document = monitors.filled_in("monitors.yaml", &[("@ASK@", ask(&monitors))]);
        let document: Document = serde_saphyr::from_str(&document).unwrap();
        set_up_monitors(&database.app, now(), &somebody(Role::Operations), &document).await.unwrap();
        monitors.start_all().await;
        Site { database, monitors }
    }

    fn serve(&self) -> Server {
        let listen = self.monitors.at.makegood.to_string();
        let data = self.monitors.folder.join("data");
        Server::start(&self.database.url_app, &data, &listen, &[])
    }

    fn pool(&self) -> &PgPool {
        &self.database.app
    }

    /// The windows that stand, as of the last recorded time.
    async fn windows(&self) -> Vec<OutageWindow> {
        let mut conn = self.pool().acquire().await.unwrap();
        let settled = evidence::settled(&mut conn).await.unwrap();
        let whole = makegood::domain::time::Interval::new(now().plus(-DAY), now().plus(DAY)).unwrap();
        let mut windows = windows::touching(&mut conn, whole, settled).await.unwrap();
        windows.retain(|window| !window.is_retracted());
        windows
    }

    /// The one window, once it is as `is` says.
    async fn window(&self, what: &str, is: impl Fn(&OutageWindow) -> bool) -> OutageWindow {
        seen(what, || async {
            let windows = self.windows().await;
            assert!(windows.len() <= 1, "{windows:#?}");
            windows.into_iter().find(&is)
        })
        .await
    }

    async fn count(&self, statement: &'static str) -> i64 {
        sqlx::query_scalar(statement).fetch_one(&self.database.owner).await.unwrap()
    }

    async fn told(&self) -> (i64, i64, i64) {
        (
            self.count("SELECT count(*) FROM observation WHERE name = 'InboundDown'").await,
            self.count("SELECT count(*) FROM outage_window").await,
            self.count("SELECT count(*) FROM audit WHERE action LIKE 'outage.%'").await,
        )
    }

    async fn heartbeats(&self) -> i64 {
        self.count("SELECT count(*) FROM heartbeat").await
    }

    /// The start of the one alert, as Alertmanager has it.
    async fn starts_at(&self) -> Instant {
        let alert =
            seen("the alert in Alertmanager", || async { self.monitors.alerts("InboundDown").await?.pop() }).await;
        Instant::parse(alert["startsAt"].as_str().unwrap()).unwrap()
    }
}

fn is_skipped(test: &str) -> bool {
    support::is_skipped(test) || monitors::is_skipped(test)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_stops_opens_a_window_and_closes_it_and_a_repeating_alertmanager_doubles_nothing() {
    if is_skipped("a_service_that_stops_opens_a_window") {
        return;
    }
    // One group of all alerts: where the Watchdog is told again, so is everything else.
    let mut site = Site::open("", |_| "null".to_owned()).await;
    let server = site.serve();
    seen("a heartbeat", || async { (site.heartbeats().await > 0).then_some(()) }).await;
    assert_eq!(site.windows().await, []);

    let stopped = now();
    site.monitors.stop_service();
    let opened = site.window("the window of the outage", |_| true).await;
    let starts_at = site.starts_at().await;
    assert!(starts_at >= stopped.plus(2 * SECOND), "the rule waits for two seconds: {stopped} {starts_at}");
    assert_eq!(opened.start, starts_at.plus(-3 * SECOND), "less `for:` and a scrape interval");
    assert_eq!((opened.end, opened.reports.len()), (None, 1));

    let told = site.told().await;
    site.monitors.stop_alertmanager();
    site.monitors.start_alertmanager().await;
    site.starts_at().await;
    let before = site.heartbeats().await;
    seen("three repetitions", || async { (site.heartbeats().await >= before + 3).then_some(()) }).await;
    assert_eq!(site.told().await, told, "nothing doubles");

    let started = now();
    site.monitors.start_service();
    let closed = site.window("the end of the outage", |window| window.end.is_some()).await;
    assert_eq!((closed.id, closed.start), (opened.id, opened.start));
    let end = closed.end.unwrap();
    assert!(started.plus(-SECOND) <= end && end <= now(), "{started} {end}");
    let before = site.heartbeats().await;
    seen("three repetitions", || async { (site.heartbeats().await >= before + 3).then_some(()) }).await;
    assert_eq!(site.windows().await, [closed]);
    assert_eq!(site.told().await, (told.0 + 1, told.1 + 1, told.2 + 1), "one more version, with the end");
    server.kill();
}
