//! The real Prometheus, Alertmanager and blackbox exporter, from a service that fails to the window of its outage.

mod support;

#[path = "support/monitors.rs"]
mod monitors;
#[path = "support/server.rs"]
mod server;
#[path = "support/stoppable.rs"]
mod stoppable;

use makegood::cli::token::{self, CreateArgs};
use makegood::clock::Clock;
use makegood::domain::actor::{Actor, Role};
use makegood::domain::monitors::Monitors as Document;
use makegood::domain::time::{DAY, Instant, SECOND};
use makegood::domain::window::{Certainty, OutageWindow};
use makegood::flows::set_up_monitors::set_up_monitors;
use makegood::flows::system_actor;
use makegood::http::auth::MachineKey;
use makegood::store::{evidence, windows};
use monitors::{Monitors, seen};
use serde_json::{Value, json};
use server::Server;
use sqlx::PgPool;
use stoppable::Stoppable;
use support::TestDatabase;

const SOURCE: &str = "prometheus-north";

/// One database, the monitors, and how makegood is started beside them.
struct Site {
    url_app: String,
    pool: PgPool,
    /// Of a program of operations.
    token: String,
    monitors: Monitors,
    /// Dropped with this.
    _shared: Option<TestDatabase>,
    own: Option<Stoppable>,
}

/// How a site differs from the plain one.
#[derive(Default)]
struct Plan {
    /// Alerts of one group are told together: where the Watchdog is told again, so is everything else.
    one_group: bool,
    /// What of `ask` there is.
    ask_alertmanager: bool,
    ask_prometheus: bool,
    /// Whether the source is the eye for the component: while it is silent, nobody knows.
    watches: bool,
    /// A PostgreSQL that can be stopped.
    own_database: bool,
}

fn somebody(role: Role) -> Actor {
    Actor { roles: [role].into(), ..system_actor("tests") }
}

fn now() -> Instant {
    Clock::real().now()
}

impl Site {
    /// All of it but makegood runs, and what the alerts mean is set up.
    async fn open(plan: Plan) -> Self {
        let (own, shared) = match plan.own_database {
            true => (Some(Stoppable::start().await), None),
            false => (None, Some(support::database().await)),
        };
        let own_url = own.as_ref().map(|own| own.url_app.clone());
        let url_app = own_url.or_else(|| shared.as_ref().map(|one| one.url_app.clone())).unwrap();
        let pool = PgPool::connect(&url_app).await.unwrap();
        let mut monitors = Monitors::prepare("", if plan.one_group { "" } else { "alertname" });
        let keys = MachineKey::load_or_create(&monitors.folder.join("data/keys")).unwrap();
        let make = async |role| {
            let args = CreateArgs { role, source: SOURCE.to_owned(), expires: DAY };
            token::create(&pool, &keys, &Clock::real(), &somebody(Role::Admin), &args).await.unwrap().token
        };
        std::fs::write(monitors.folder.join("token"), make(Role::Ingest).await).unwrap();
        let token = make(Role::Operations).await;
        let mut ask = json!({"every_seconds": 1, "step_seconds": 1, "patience_seconds": 2});
        if plan.ask_alertmanager {
            ask["alertmanager"] = json!(format!("http://{}", monitors.at.alertmanager));
        }
        if plan.ask_prometheus {
            ask["prometheus"] = json!(format!("http://{}", monitors.at.prometheus));
        }
        let ask = if plan.ask_alertmanager || plan.ask_prometheus { ask } else { json!(null) };
        let watches = if plan.watches { json!(["inbound-mx-07"]) } else { json!([]) };
        let filled_in = [("@ASK@", ask.to_string()), ("@WATCHES@", watches.to_string())];
        let document: Document = serde_saphyr::from_str(&monitors.filled_in("monitors.yaml", &filled_in)).unwrap();
        set_up_monitors(&pool, now(), &somebody(Role::Operations), &document).await.unwrap();
        monitors.start_all().await;
        Site { url_app, pool, token, monitors, _shared: shared, own }
    }

    fn serve(&self) -> Server {
        let listen = self.monitors.at.makegood.to_string();
        Server::start(&self.url_app, &self.monitors.folder.join("data"), &listen, &[])
    }

    fn pool(&self) -> &PgPool {
        &self.pool
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
            let mut windows = self.windows().await;
            windows.pop_if(|window| is(window)).filter(|_| windows.is_empty())
        })
        .await
    }

    async fn count(&self, statement: &'static str) -> i64 {
        sqlx::query_scalar(statement).fetch_one(&self.pool).await.unwrap()
    }

    async fn told(&self) -> (i64, i64, i64) {
        (
            self.count("SELECT count(*) FROM observation WHERE name = 'InboundDown'").await,
            self.count("SELECT count(*) FROM outage_window").await,
            self.count("SELECT count(*) FROM audit WHERE action LIKE 'outage.%'").await,
        )
    }

    /// How the observations of the outage came to us.
    async fn origins(&self) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT DISTINCT origin FROM observation JOIN delivery USING (source, sha256) WHERE name = 'InboundDown'",
        )
        .fetch_all(&self.pool)
        .await
        .unwrap()
    }

    /// The longest time between two heartbeats, in seconds.
    async fn longest_silence(&self) -> i64 {
        self.count(
            "SELECT ceil(max(extract(epoch FROM gap)))::bigint
             FROM (SELECT heard_at - lag(heard_at) OVER (ORDER BY heard_at) AS gap FROM heartbeat) gaps",
        )
        .await
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
    let mut site = Site::open(Plan { one_group: true, ..Plan::default() }).await;
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

/// Whether some window or other lasts at every moment from `from` to `to`.
fn is_covered(windows: &[OutageWindow], from: Instant, to: Instant) -> bool {
    let mut windows: Vec<_> = windows.iter().map(|one| (one.start, one.end.unwrap_or(Instant::MAX))).collect();
    windows.sort();
    let reach =
        windows.into_iter().fold(from, |reach, (start, end)| if start <= reach { reach.max(end) } else { reach });
    reach >= to
}

/// An alert that fired and was over while nobody could be told.
struct Missed {
    starts_at: Instant,
    fingerprint: String,
    /// When the service worked again.
    started: Instant,
}

async fn miss_an_alert(site: &mut Site) -> Missed {
    let server = site.serve();
    seen("a heartbeat", || async { (site.heartbeats().await > 0).then_some(()) }).await;
    server.kill();
    site.monitors.stop_service();
    seen("the alert in Prometheus", || async { (site.monitors.firing("InboundDown").await? == 1).then_some(()) }).await;
    let starts_at = site.starts_at().await;
    let fingerprint = site.monitors.alerts("InboundDown").await.unwrap()[0]["fingerprint"].as_str().unwrap().to_owned();
    let started = now();
    site.monitors.start_service();
    seen("no alert", || async { (site.monitors.firing("InboundDown").await? == 0).then_some(()) }).await;
    seen("no alert in Alertmanager", || async { site.monitors.alerts("InboundDown").await?.is_empty().then_some(()) })
        .await;
    // Alertmanager tries for ten seconds to tell what fired, and forgets it.
    seen("a silence longer than what Alertmanager tries", || async {
        (now() > started.plus(15 * SECOND)).then_some(())
    })
    .await;
    Missed { starts_at, fingerprint, started }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_that_fires_and_resolves_while_makegood_is_down_is_found_by_asking_prometheus() {
    if is_skipped("an_alert_that_fires_and_resolves_while_makegood_is_down") {
        return;
    }
    let plan = Plan { ask_alertmanager: true, ask_prometheus: true, ..Plan::default() };
    let mut site = Site::open(plan).await;
    let Missed { starts_at, fingerprint, started } = miss_an_alert(&mut site).await;

    let server = site.serve();
    // One asks at a time; and what both find is found once.
    let beside = Server::start(&site.url_app, &site.monitors.folder.join("data"), "127.0.0.1:0", &[]);
    let window = site.window("what nobody told", |window| window.end.is_some()).await;
    let off = window.start.micros() - starts_at.plus(-3 * SECOND).micros();
    assert!(off.abs() <= 1_000, "the start is Alertmanager's to the millisecond: {off}");
    let end = window.end.unwrap();
    assert!(started.plus(-SECOND) <= end && end <= started.plus(10 * SECOND), "{started} {end}");
    assert_eq!(site.origins().await, ["asked_prometheus"]);
    let found: String = sqlx::query_scalar("SELECT DISTINCT fingerprint FROM observation WHERE name = 'InboundDown'")
        .fetch_one(site.pool())
        .await
        .unwrap();
    assert_eq!(found, fingerprint, "Alertmanager's own");
    let said = reqwest::Client::new()
        .get(format!("{}/v1/outages/{}/observations", beside.url, window.id))
        .bearer_auth(&site.token)
        .send()
        .await
        .unwrap();
    let said: Value = serde_json::from_str(&said.text().await.unwrap()).unwrap();
    assert_eq!(said["data"][0]["origin"], "asked_prometheus", "{said}");
    assert_eq!((&said["data"][0]["fingerprint"], &said["data"][1]), (&json!(fingerprint), &json!(null)), "{said}");
    assert!(site.longest_silence().await <= 10, "the time is known: Prometheus was alive");

    let told = site.told().await;
    let asked = "SELECT extract(epoch FROM asked_at)::bigint FROM source_asked";
    let before = site.count(asked).await;
    seen("three more questions", || async { (site.count(asked).await >= before + 3).then_some(()) }).await;
    assert_eq!(site.told().await, told, "what agrees adds nothing");
    server.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prometheus_that_is_away_when_it_is_asked_is_asked_again_for_the_same_time() {
    if is_skipped("a_prometheus_that_is_away_when_it_is_asked") {
        return;
    }
    let mut site = Site::open(Plan { ask_prometheus: true, ..Plan::default() }).await;
    let missed = miss_an_alert(&mut site).await;
    site.monitors.kill_prometheus();
    let asked = "SELECT coalesce(max(extract(epoch FROM asked_at)), 0)::bigint FROM source_asked";
    let before = site.count(asked).await;
    let server = site.serve();
    seen("two questions in vain", || async { (site.count(asked).await >= before + 2).then_some(()) }).await;
    assert_eq!(site.windows().await, []);
    site.monitors.start_prometheus().await;
    let window = site.window("what nobody told", |window| window.end.is_some()).await;
    assert!(window.end.unwrap() <= missed.started.plus(10 * SECOND), "{:?}", window.end);
    assert_eq!(site.origins().await, ["asked_prometheus"]);
    server.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silenced_alert_is_found_by_asking_alertmanager() {
    if is_skipped("a_silenced_alert_is_found") {
        return;
    }
    let mut site = Site::open(Plan { ask_alertmanager: true, ..Plan::default() }).await;
    let server = site.serve();
    site.monitors.silence("InboundDown");
    site.monitors.stop_service();
    let window = site.window("the window of the silenced alert", |_| true).await;
    assert_eq!((window.start, window.end), (site.starts_at().await.plus(-3 * SECOND), None));
    assert_eq!(site.origins().await, ["asked_alertmanager"]);
    server.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_alertmanager_tells_while_the_database_is_away_is_not_lost() {
    if is_skipped("what_alertmanager_tells_while_the_database_is_away") {
        return;
    }
    let mut site = Site::open(Plan { own_database: true, ..Plan::default() }).await;
    let server = site.serve();
    seen("a heartbeat", || async { (site.heartbeats().await > 0).then_some(()) }).await;
    site.own.as_mut().unwrap().stop().await;
    let stopped = now();
    site.monitors.stop_service();
    let spool = site.monitors.folder.join("data/spool");
    let waits = |status: &str| {
        let files = std::fs::read_dir(&spool).unwrap().map(|entry| entry.unwrap().path());
        let mut texts = files.filter_map(|path| std::fs::read_to_string(path).ok());
        texts.any(|text| text.contains("\"alertname\":\"InboundDown\"") && text.contains(status)).then_some(())
    };
    seen("the alert in the spool", || async { waits("\"status\":\"firing\"") }).await;
    let starts_at = site.starts_at().await;
    site.monitors.start_service();
    seen("its end in the spool", || async { waits("\"status\":\"resolved\"") }).await;
    seen("a time longer than the gap", || async { (now() > stopped.plus(15 * SECOND)).then_some(()) }).await;

    site.own.as_mut().unwrap().start_again().await;
    let window = site.window("the window", |window| window.end.is_some()).await;
    assert_eq!(window.start, starts_at.plus(-3 * SECOND));
    assert_eq!(site.origins().await, ["told"]);
    seen("an empty spool", || async {
        let mut files = std::fs::read_dir(&spool).unwrap().map(|entry| entry.unwrap().path());
        files.all(|path| path.extension().is_none_or(|end| end != "delivery")).then_some(())
    })
    .await;
    assert_eq!(std::fs::read_dir(spool.join("refused")).unwrap().count(), 0);
    assert!(
        site.longest_silence().await <= 10,
        "heartbeats wait in the spool too, and keep the time at which they came"
    );
    server.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prometheus_that_is_killed_looks_like_recovery_and_is_none() {
    if is_skipped("a_prometheus_that_is_killed_looks_like_recovery") {
        return;
    }
    let mut site = Site::open(Plan { watches: true, ..Plan::default() }).await;
    let server = site.serve();
    seen("a heartbeat", || async { (site.heartbeats().await > 0).then_some(()) }).await;
    site.monitors.stop_service();
    let opened = site.window("the window of the outage", |window| window.certainty == Certainty::Known).await;
    site.monitors.kill_prometheus();
    // Alertmanager takes an alert that it is not told again to be over, and says so.
    let resolved = "SELECT count(*) FROM observation WHERE name = 'InboundDown' AND ends_at IS NOT NULL";
    seen("a resolve", || async { (site.count(resolved).await > 0).then_some(()) }).await;
    site.monitors.start_service();
    let unknown = |window: &&OutageWindow| window.certainty == Certainty::Unknown;
    let since =
        seen("time of which nobody knows", || async { site.windows().await.iter().find(unknown).cloned() }).await;
    let windows = site.windows().await;
    assert!(since.end.is_none() && is_covered(&windows, opened.start, now()), "not known, and not up: {windows:#?}");

    // Alive again, it says nothing about the time in which it was not.
    site.monitors.start_prometheus().await;
    let silent = seen("the end of the silence", || async {
        site.windows().await.iter().find(unknown).filter(|window| window.end.is_some()).cloned()
    })
    .await;
    let said: chrono::DateTime<chrono::Utc> =
        sqlx::query_scalar("SELECT max(ends_at) FROM observation WHERE name = 'InboundDown'")
            .fetch_one(site.pool())
            .await
            .unwrap();
    let said = Instant::from_utc(said).unwrap();
    let windows = site.windows().await;
    assert!(
        said < silent.end.unwrap() && is_covered(&windows, opened.start, silent.end.unwrap()),
        "{said} {windows:#?}"
    );

    // Killed once more while everything works: what it watches is not down, and nobody knows that it is up.
    let count = windows.len();
    site.monitors.kill_prometheus();
    let quiet = seen("a silence while it works", || async {
        let windows = site.windows().await;
        windows.iter().filter(|_| windows.len() > count).find(|window| unknown(window) && window.end.is_none()).cloned()
    })
    .await;
    assert!(quiet.start >= silent.end.unwrap(), "{quiet:#?}");
    server.kill();
}
