//! The real Prometheus, Alertmanager and blackbox exporter, on ports and in folders of their own, and a service that they
//! watch. What is to be seen is asked for until it is seen; nothing waits for a guessed time.

#![allow(dead_code)]

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use uuid::Uuid;

/// How long anything may take to be seen, on a machine with other work to do.
const PATIENCE: Duration = Duration::from_secs(90);

/// The program of that name: in the folder that MAKEGOOD_TEST_MONITORS names, else where the PATH finds it.
fn program(name: &str) -> Option<PathBuf> {
    let folders = match std::env::var_os("MAKEGOOD_TEST_MONITORS") {
        Some(folder) => vec![PathBuf::from(folder)],
        None => std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect(),
    };
    folders.into_iter().map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// A PATH on which `first` and the programs are.
pub fn path_with(first: &Path) -> OsString {
    let own = std::env::var_os("MAKEGOOD_TEST_MONITORS").map(PathBuf::from);
    let rest = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(first.to_owned()).chain(own).chain(std::env::split_paths(&rest));
    std::env::join_paths(all).unwrap()
}

/// Whether the test has to be left out because the machine has no monitors; says so past the capture of output. In CI it
/// fails instead.
pub fn is_skipped(test: &str) -> bool {
    let missing = ["prometheus", "prometheus-alertmanager", "prometheus-blackbox-exporter", "amtool"]
        .into_iter()
        .find(|name| program(name).is_none());
    let Some(missing) = missing else { return false };
    let how = "run tests/monitoring/install.sh, or name their folder in MAKEGOOD_TEST_MONITORS";
    assert!(std::env::var_os("CI").is_none(), "there is no {missing}: {how}");
    let _ = writeln!(io::stderr(), "skipped: {test}: there is no {missing}; {how}");
    true
}

/// A port that nobody listens on.
pub fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// Asks again until the answer is some, and gives up loudly.
pub async fn seen<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "never seen: {what}");
        // Between two looks, so that looking does not take the machine from those that are looked at.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A process of ours, ended by its number.
struct Running(Child);

impl Running {
    fn start(folder: &Path, name: &str, arguments: &[String]) -> Self {
        let log = std::fs::File::options().create(true).append(true).open(folder.join(format!("{name}.log"))).unwrap();
        let child = Command::new(program(name).unwrap())
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Running(child)
    }

    /// Asks it to end, and waits until it has.
    fn stop(mut self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where everybody listens.
#[derive(Clone, Copy)]
pub struct Addresses {
    pub makegood: SocketAddr,
    pub service: SocketAddr,
    pub prometheus: SocketAddr,
    pub alertmanager: SocketAddr,
    pub blackbox: SocketAddr,
}

/// The three monitors, and the service that they watch.
pub struct Monitors {
    pub at: Addresses,
    pub folder: PathBuf,
    prometheus: Option<Running>,
    alertmanager: Option<Running>,
    blackbox: Option<Running>,
    service: Option<TcpListener>,
    http: reqwest::Client,
}

impl Drop for Monitors {
    fn drop(&mut self) {
        drop((self.prometheus.take(), self.alertmanager.take(), self.blackbox.take()));
        if std::thread::panicking() {
            for name in ["prometheus", "prometheus-alertmanager"] {
                let log = std::fs::read_to_string(self.folder.join(format!("{name}.log"))).unwrap_or_default();
                let end: Vec<&str> = log.lines().rev().take(15).collect();
                let _ = writeln!(io::stderr(), "{name}: {end:#?}");
            }
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Monitors {
    /// Writes the configuration: `token` is what Alertmanager shows to makegood, `group_by` the labels that make a group.
    pub fn prepare(token: &str, group_by: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("makegood-monitors-{}", Uuid::now_v7()));
        std::fs::create_dir(&folder).unwrap();
        let service = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = Addresses {
            makegood: free_address(),
            service: service.local_addr().unwrap(),
            prometheus: free_address(),
            alertmanager: free_address(),
            blackbox: free_address(),
        };
        std::fs::write(folder.join("token"), token).unwrap();
        let monitors = Monitors {
            at,
            folder,
            prometheus: None,
            alertmanager: None,
            blackbox: None,
            service: Some(service),
            http: reqwest::Client::new(),
        };
        for name in ["prometheus.yml", "rules.yml", "blackbox.yml", "alertmanager.yml"] {
            let text = monitors.filled_in(name, &[("@GROUP_BY@", group_by.to_owned())]);
            std::fs::write(monitors.folder.join(name), text).unwrap();
        }
        monitors
    }

    /// A file of `tests/monitoring`, with the addresses and `more` put in.
    pub fn filled_in(&self, name: &str, more: &[(&str, String)]) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/monitoring").join(name);
        let mut text = std::fs::read_to_string(path).unwrap();
        let addresses = [
            ("@MAKEGOOD@", format!("http://{}", self.at.makegood)),
            ("@SERVICE@", self.at.service.to_string()),
            ("@ALERTMANAGER@", self.at.alertmanager.to_string()),
            ("@BLACKBOX@", self.at.blackbox.to_string()),
        ];
        for (place, value) in addresses.iter().chain(more) {
            text = text.replace(place, value);
        }
        text
    }

    pub async fn start_all(&mut self) {
        let arguments = ["--config.file=blackbox.yml".to_owned(), format!("--web.listen-address={}", self.at.blackbox)];
        self.blackbox = Some(Running::start(&self.folder, "prometheus-blackbox-exporter", &arguments));
        self.start_alertmanager().await;
        self.start_prometheus().await;
    }

    pub async fn start_prometheus(&mut self) {
        let arguments = [
            "--config.file=prometheus.yml".to_owned(),
            "--storage.tsdb.path=prometheus".to_owned(),
            // An alert is told again each second, and is over four seconds after it was told last.
            "--rules.alert.resend-delay=1s".to_owned(),
            format!("--web.listen-address={}", self.at.prometheus),
        ];
        self.prometheus = Some(Running::start(&self.folder, "prometheus", &arguments));
        self.answers(self.at.prometheus).await;
    }

    /// SIGKILL.
    pub fn kill_prometheus(&mut self) {
        self.prometheus = None;
    }

    pub async fn start_alertmanager(&mut self) {
        let arguments = [
            "--config.file=alertmanager.yml".to_owned(),
            "--storage.path=alertmanager".to_owned(),
            "--cluster.listen-address=".to_owned(),
            format!("--web.listen-address={}", self.at.alertmanager),
        ];
        self.alertmanager = Some(Running::start(&self.folder, "prometheus-alertmanager", &arguments));
        self.answers(self.at.alertmanager).await;
    }

    pub fn stop_alertmanager(&mut self) {
        if let Some(running) = self.alertmanager.take() {
            running.stop();
        }
    }

    async fn answers(&self, address: SocketAddr) {
        seen("a monitor that is ready", || async {
            let answer = self.http.get(format!("http://{address}/-/ready")).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// The service takes no connections any more.
    pub fn stop_service(&mut self) {
        self.service = None;
    }

    pub fn start_service(&mut self) {
        self.service = Some(TcpListener::bind(self.at.service).unwrap());
    }

    /// Alertmanager tells nobody of alerts of this name for an hour.
    pub fn silence(&self, name: &str) {
        let done = Command::new(program("amtool").unwrap())
            .args(["silence", "add", "--author=mere", "--comment=on purpose", "--duration=1h"])
            .arg(format!("--alertmanager.url=http://{}", self.at.alertmanager))
            .arg(format!("alertname={name}"))
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
    }

    async fn ask(&self, address: SocketAddr, path: &str) -> Option<Value> {
        let answer = self.http.get(format!("http://{address}{path}")).send().await.ok()?;
        serde_json::from_slice(&answer.bytes().await.ok()?).ok()
    }

    /// The alerts of this name that Alertmanager holds.
    pub async fn alerts(&self, name: &str) -> Option<Vec<Value>> {
        let all = self.ask(self.at.alertmanager, "/api/v2/alerts").await?;
        let named = all.as_array()?.iter().filter(|alert| alert["labels"]["alertname"] == name).cloned();
        Some(named.collect())
    }

    /// How many alerts of this name fire, as Prometheus sees it.
    pub async fn firing(&self, name: &str) -> Option<usize> {
        let answer = self.ask(self.at.prometheus, "/api/v1/alerts").await?;
        let alerts = answer["data"]["alerts"].as_array()?;
        Some(alerts.iter().filter(|one| one["labels"]["alertname"] == name && one["state"] == "firing").count())
    }
}
