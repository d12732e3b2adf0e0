//! The story: what happened at Aoraki Mail in October 2026, told through the doors that everybody uses.
//!
//! Each step has a key of its own, so that a story that was cut off goes on where it was, and one that was told changes
//! nothing.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use indicatif::ProgressBar;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::Seconds;
use super::client::Client;
use super::people::{AUDITOR, DemoIssuer, Person, person};
use super::world::{self, SHARDS, Scale};
use crate::clock::Clock;
use crate::domain::money::Currency;
use crate::domain::operator::Operator;
use crate::domain::period::Month;
use crate::domain::time::{HOUR, Instant};
use crate::flows::set_up_operator::set_up_operator;
use crate::store::operator::Demo;
use crate::store::{operator, setup};

const MONITORS: [&str; 2] = ["monitor-north", "monitor-south"];
/// What the alert rules of both monitors say: `for: 5m`, scraped each half minute.
const LATE_SECONDS: i64 = 330;

/// Everything that the story needs at hand.
#[derive(Debug)]
pub struct Story<'a> {
    pub client: Client,
    pub issuer: &'a DemoIssuer,
    pub clock: Clock,
    pub pool: &'a PgPool,
    pub owner: &'a PgPool,
    pub scale: Scale,
    /// Tokens of machines, by what they are for.
    pub ingest: [String; 2],
    pub files: String,
    pub billing: String,
    pub bar: ProgressBar,
    pub seconds: Seconds,
}

/// A local time of the story, in New Zealand. Daylight saving time is in force throughout.
fn at(local: &str) -> Instant {
    Instant::parse(&format!("2026-{local}:00+13:00")).unwrap_or(Instant::MIN)
}

/// The operator's settings.
fn aoraki_mail() -> anyhow::Result<Operator> {
    Ok(serde_saphyr::from_str(include_str!("../../../assets/operator.yaml"))?)
}

impl Story<'_> {
    /// Tells the story from where it stands, and stops the clock at its end.
    pub async fn tell(&mut self) -> anyhow::Result<()> {
        self.step("set up", Self::set_up).await?;
        self.step("customers", Self::load_customers).await?;
        self.step("planned work", Self::announce_planned_work).await?;
        self.step("outage", Self::report_outage).await?;
        self.step("evidence", Self::sign_off_evidence).await?;
        self.step("assess", Self::assess).await?;
        self.step("credit run", Self::credit_run).await?;
        self.step("first bill", Self::november_bill).await?;
        self.step("claim", Self::claim).await?;
        self.step("second bill", Self::december_bill).await?;
        self.now(at("11-24T02:04")).await?;
        self.mark(true).await
    }

    async fn step(
        &mut self,
        name: &'static str,
        work: impl AsyncFnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.bar.set_message(name);
        let began = self.clock.real_now();
        work(self).await.with_context(|| format!("the story stopped at: {name}"))?;
        self.seconds.push(name, self.clock.real_now().micros() - began.micros());
        self.bar.inc(1);
        Ok(())
    }

    /// Steps business time.
    async fn now(&self, at: Instant) -> anyhow::Result<()> {
        self.clock.step_to(at);
        self.mark(false).await
    }

    /// Keeps how far the story's clock is from the real one, for the next start.
    async fn mark(&self, finished: bool) -> anyhow::Result<()> {
        let mut conn = self.pool.acquire().await?;
        let demo =
            Demo { scale: self.scale.name().to_owned(), clock_offset_micros: self.clock.offset_micros(), finished };
        Ok(operator::put_demo(&mut conn, &demo).await?)
    }

    fn token(&self, who: &str) -> anyhow::Result<String> {
        let person: &Person = person(who).with_context(|| format!("{who} is not in the story"))?;
        self.issuer.token(person, self.clock.real_now())
    }

    pub fn auditor(&self) -> anyhow::Result<String> {
        self.issuer.token(&AUDITOR, self.clock.real_now())
    }

    async fn post(&self, who: &str, path: &str, key: &str, body: Value) -> anyhow::Result<Value> {
        self.client.done(Method::POST, path, &self.token(who)?, key, &body).await
    }

    async fn set_up(&mut self) -> anyhow::Result<()> {
        self.now(at("10-01T09:00")).await?;
        let administrator = crate::cli::administrator("demo");
        set_up_operator(self.pool, self.clock.now(), &administrator, &aoraki_mail()?).await?;
        setup::start_claims_at(self.owner, 4_187).await?;
        for (plan, terms) in [
            ("home", include_str!("../../../assets/terms/home.yaml")),
            ("business", include_str!("../../../assets/terms/business.yaml")),
            ("plus", include_str!("../../../assets/terms/plus.yaml")),
        ] {
            let terms: Value = serde_saphyr::from_str(terms)?;
            let body = json!({ "effective_from": "2025-12-31T11:00:00Z", "terms": terms });
            let path = format!("/v1/plans/{plan}/terms");
            let key = format!("terms-{plan}");
            let version = self.client.done(Method::PUT, &path, &self.token("ngaire")?, &key, &body).await?;
            let path = format!("{path}/{}/approve", version["version"]);
            self.post("viliami", &path, &format!("approve-{plan}"), json!({})).await?;
        }
        let path = "/v1/monitors";
        self.client.done(Method::PUT, path, &self.token("sefa")?, "monitors", &monitors()).await?;
        let shards = json!({ "shards": SHARDS });
        self.client.done(Method::PUT, "/v1/shards", &self.token("sefa")?, "shards", &shards).await?;
        Ok(())
    }

    async fn load_customers(&mut self) -> anyhow::Result<()> {
        let nzd: Currency = "NZD".parse()?;
        let lines = |of: &dyn Fn(&world::Customer) -> anyhow::Result<Vec<Value>>| -> anyhow::Result<String> {
            let mut text = String::new();
            for customer in world::customers(self.scale) {
                for line in of(&customer)? {
                    text += &line.to_string();
                    text.push('\n');
                }
            }
            Ok(text)
        };
        let files = [
            ("accounts", lines(&|one| Ok(vec![one.account_line()]))?),
            ("subscriptions", lines(&|one| Ok(vec![one.subscription_line()]))?),
            ("charges", lines(&|one| Ok(one.charge_line(nzd)?.into_iter().collect()))?),
            ("placements", lines(&|one| Ok(one.placement_lines()))?),
        ];
        for (kind, text) in files {
            self.client.load(&format!("/v1/{kind}/batches"), &self.files, text).await?;
        }
        Ok(())
    }

    async fn announce_planned_work(&mut self) -> anyhow::Result<()> {
        self.now(at("10-11T01:01")).await?;
        self.planned("fail-over", &SHARDS[..2], "10-13T05:10", "10-13T06:10").await?;
        self.planned("upgrade", &SHARDS[..2], "10-20T02:00", "10-20T02:40").await?;
        self.planned("disks", &SHARDS[3..], "10-27T01:00", "10-27T02:00").await?;
        Ok(())
    }

    async fn planned(&self, key: &str, shards: &[&str], start: &str, end: &str) -> anyhow::Result<Value> {
        let body = json!({
            "scope": { "shards": shards }, "capability": "receive",
            "planned": { "announced_at": at("10-11T01:00"), "start": at(start), "end": at(end) },
        });
        self.post("sefa", "/v1/outages", &format!("planned-{key}"), body).await
    }

    /// Both monitors were alive throughout; they disagree about when it began.
    async fn report_outage(&mut self) -> anyhow::Result<()> {
        let mut hour = at("10-13T04:00");
        let reports: [(Instant, Instant, &str, usize); 4] = [
            (at("10-13T05:10"), at("10-14T04:10"), "MailStoreDown", 1),
            (at("10-13T06:10"), at("10-14T04:10"), "MailStoreDown", 0),
            (at("10-14T03:40"), at("10-14T04:25"), "MailDelayed", 0),
            (at("10-14T03:40"), at("10-14T04:25"), "MailDelayed", 1),
        ];
        let mut sent: Vec<(Instant, usize, Value)> = Vec::new();
        for (start, end, alert, monitor) in reports {
            let seen = start.plus(LATE_SECONDS * 1_000_000);
            sent.push((seen, monitor, delivery(alert, seen, None)));
            sent.push((end.plus(30_000_000), monitor, delivery(alert, seen, Some(end))));
        }
        while hour < at("10-14T06:00") {
            sent.extend((0..MONITORS.len()).map(|monitor| (hour, monitor, watchdog())));
            hour = hour.plus(HOUR / 2);
        }
        sent.sort_by_key(|(when, monitor, _)| (*when, *monitor));
        for (when, monitor, body) in sent {
            self.now(when).await?;
            let token = self.ingest.get(monitor).context("a monitor without a token")?.clone();
            let taken = self.client.done(Method::POST, "/v1/ingest/alertmanager", &token, "", &body).await?;
            ensure!(taken["unmapped"].as_array().is_none_or(Vec::is_empty), "an alert was not understood: {taken}");
        }
        Ok(())
    }

    /// Operations settle what the monitors disagree about, correct what overran, and sign off.
    async fn sign_off_evidence(&mut self) -> anyhow::Result<()> {
        self.now(at("10-28T09:00")).await?;
        let sefa = self.token("sefa")?;
        let page = self.client.get("/v1/outages?limit=500", &sefa).await?;
        for outage in page["data"].as_array().into_iter().flatten() {
            let window = &outage["window"];
            let (id, version) = (window["id"].as_str().context("a window without an id")?, &window["version"]);
            if window["state"]["state"] == "confirmed" {
                continue;
            }
            let is_disks = window["scope"]["shards"][0] == SHARDS[3];
            let is_down = window["planned"].is_null() && window["impact"]["kind"] == "full";
            let is_amended = outage["by_machine"] == false && version != 1;
            let amendment = if is_amended {
                // The story was cut off between the correction and the signature.
                json!(null)
            } else if is_disks {
                json!({
                    "version": version, "end": at("10-27T02:30"),
                    "reason": "The disks took half an hour longer than announced: mail was accepted again at 02:30.",
                })
            } else if is_down {
                json!({
                    "version": version, "start": at("10-13T06:10"), "incident": "INC-2026-031",
                    "reason": "From 05:10 to 06:10 it was the announced work. Both monitors and the gateway's log agree from 06:10 on.",
                })
            } else {
                json!(null)
            };
            let mut version = version.clone();
            if !amendment.is_null() {
                let path = format!("/v1/outages/{id}/amendments");
                let amended = self.post("sefa", &path, &format!("amend-{id}"), amendment).await?;
                version = amended["window"]["version"].clone();
            }
            let path = format!("/v1/outages/{id}/confirm");
            self.post("sefa", &path, &format!("confirm-{id}"), json!({ "version": version })).await?;
        }
        Ok(())
    }

    async fn assess(&mut self) -> anyhow::Result<()> {
        self.now(at("11-04T09:00")).await?;
        self.post("aroha", "/v1/assessments", "", json!({ "period": "2026-10" })).await?;
        Ok(())
    }

    async fn credit_run(&mut self) -> anyhow::Result<()> {
        self.now(at("11-04T09:10")).await?;
        let run = self.post("aroha", "/v1/credit-runs", "run-2026-10", json!({ "period": "2026-10" })).await?;
        let path = format!("/v1/credit-runs/{}", run["id"].as_str().context("a run without an id")?);
        self.now(at("11-04T11:30")).await?;
        let total = json!({ "total": run["total"]["amount"] });
        self.post("wiremu", &format!("{path}/approve"), "approve-2026-10", total).await?;
        let wiremu = self.token("wiremu")?;
        self.until(async || Ok(self.client.get(&path, &wiremu).await?["state"] == "applied")).await
    }

    async fn november_bill(&mut self) -> anyhow::Result<()> {
        self.now(at("11-05T02:00")).await?;
        self.bill("INV-2026-11", "2026-11-05").await
    }

    async fn december_bill(&mut self) -> anyhow::Result<()> {
        self.now(at("11-24T02:00")).await?;
        self.bill("INV-2026-12", "2026-12-01").await
    }

    /// Billing is another program: it pulls, and answers each credit.
    async fn bill(&self, bill: &str, date: &str) -> anyhow::Result<()> {
        let auditor = self.auditor()?;
        self.until(async || {
            let controls = self.client.get("/v1/ledger/control-totals", &auditor).await?;
            Ok(controls["unnumbered"] == 0)
        })
        .await?;
        self.run_billing(&["pull"]).await?;
        self.run_billing(&["ack", "--bill", bill, "--date", date]).await
    }

    async fn run_billing(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let output = tokio::process::Command::new(std::env::current_exe()?)
            .arg("feed")
            .args(arguments)
            .env("MAKEGOOD_URL", self.client.url())
            .env("MAKEGOOD_TOKEN", &self.billing)
            .stdin(std::process::Stdio::null())
            .output()
            .await?;
        if !output.status.success() {
            bail!("billing failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// Harbour Freight asks for more; the agent's limit does not reach; the supervisor agrees; the hold runs out.
    async fn claim(&mut self) -> anyhow::Result<()> {
        self.now(at("11-20T09:12")).await?;
        let words = "We could not get the arrival notices we needed for a full day and had to pay demurrage on two containers. \
                     Yes, we do want some compensation.";
        let filed = self
            .post(
                "hana",
                "/v1/claims",
                "claim-harbour-freight",
                json!({
                    "account": "20418876", "ground": "cost_more", "incident": "INC-2026-031", "words": words, "amount": "480.00",
                }),
            )
            .await?;
        let path = format!("/v1/claims/{}", filed["id"].as_str().context("a claim without an id")?);
        self.now(at("11-23T16:55")).await?;
        let told = "You asked for $480.00 for charges on two containers. Your invoice shows both. The arrival notice for the first \
                    container was sent to a mailbox that was down, so we are paying that charge, $240.00. The notice for the second \
                    came on 12 October, before the outage, so we are not paying that one.";
        let opinion = json!({ "amount": "240.00", "reason": "evidence_part", "words": told });
        let mere = self.token("mere")?;
        let tried = self.client.send(Method::POST, &format!("{path}/approve"), &mere, "try-alone", &opinion).await?;
        let is_refused = matches!(tried.body["code"].as_str(), Some("over_limit" | "wrong_state"));
        ensure!(is_refused, "an agent gave more than her limit: {}", tried.body);
        self.post("mere", &format!("{path}/recommend"), "recommend", opinion).await?;
        self.now(at("11-23T17:31")).await?;
        self.post("wiremu", &format!("{path}/agree"), "agree", json!({})).await?;
        self.now(at("11-23T17:41")).await?;
        let hana = self.token("hana")?;
        self.until(async || Ok(!self.client.get(&path, &hana).await?["posted_at"].is_null())).await
    }

    /// Asks again until it is so.
    async fn until(&self, asked: impl AsyncFn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let limit = self.clock.real_now().plus(HOUR / 2);
        while !asked().await? {
            ensure!(self.clock.real_now() < limit, "the service does not get there");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// How many accounts there are.
    pub async fn accounts(&self) -> anyhow::Result<i64> {
        let mut conn = self.pool.acquire().await?;
        Ok(crate::store::accounts::count(&mut conn).await?)
    }

    pub fn wiremu(&self) -> anyhow::Result<String> {
        self.token("wiremu")
    }

    pub fn hana(&self) -> anyhow::Result<String> {
        self.token("hana")
    }
}

/// The month of the story.
pub fn october() -> Month {
    Month::new(2026, 10).unwrap_or_else(|| unreachable!("October 2026 is a month"))
}

fn monitors() -> Value {
    let components: Vec<Value> = SHARDS
        .iter()
        .map(|shard| json!({ "name": format!("inbound-{shard}"), "from": "2024-01-01T00:00:00Z", "scope": { "shards": [shard] } }))
        .collect();
    let sources: Vec<Value> = MONITORS
        .iter()
        .map(|name| json!({ "name": name, "kind": "alertmanager", "heartbeat_gap_seconds": 3_600 }))
        .collect();
    let late = |impact: Value| {
        json!({ "outage": {
            "component_label": "component", "capability": "receive", "impact": impact, "for_seconds": 300, "scrape_seconds": 30,
        } })
    };
    json!({
        "sources": sources,
        "components": components,
        "rules": [
            { "sources": MONITORS, "alertname": "Watchdog", "means": "heartbeat" },
            { "sources": MONITORS, "alertname": "MailStoreDown", "means": late(json!({ "kind": "full" })) },
            { "sources": MONITORS, "alertname": "MailDelayed", "means": late(json!({ "kind": "delayed", "seconds": 1_800 })) },
        ],
    })
}

/// What Alertmanager sends: one group of two alerts, one for each mail system that failed.
fn delivery(alert: &str, starts: Instant, ends: Option<Instant>) -> Value {
    let status = if ends.is_some() { "resolved" } else { "firing" };
    let ends = ends.map_or("0001-01-01T00:00:00Z".to_owned(), |end| end.to_string());
    let alerts: Vec<Value> = SHARDS[..2]
        .iter()
        .map(|shard| {
            let component = format!("inbound-{shard}");
            json!({
                "status": status,
                "labels": { "alertname": alert, "component": component, "severity": "critical" },
                "annotations": { "summary": "Mail is not delivered to mailboxes" },
                "startsAt": starts, "endsAt": ends,
                "generatorURL": "https://prometheus.aoraki.example/graph",
                "fingerprint": fingerprint(alert, &component),
            })
        })
        .collect();
    group(alert, status, alerts)
}

/// The alert that always fires: while it comes, its monitor lives.
fn watchdog() -> Value {
    let alert = json!({
        "status": "firing", "labels": { "alertname": "Watchdog" }, "annotations": {},
        "startsAt": "2026-01-05T20:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "https://prometheus.aoraki.example/graph", "fingerprint": fingerprint("Watchdog", ""),
    });
    group("Watchdog", "firing", vec![alert])
}

fn group(alert: &str, status: &str, alerts: Vec<Value>) -> Value {
    json!({
        "version": "4", "groupKey": format!("{{}}:{{alertname=\"{alert}\"}}"), "truncatedAlerts": 0, "status": status,
        "receiver": "makegood", "groupLabels": { "alertname": alert }, "commonLabels": { "alertname": alert },
        "commonAnnotations": {}, "externalURL": "https://alertmanager.aoraki.example", "alerts": alerts,
    })
}

fn fingerprint(alert: &str, component: &str) -> String {
    let id = uuid::Uuid::new_v5(&crate::domain::ids::NAMESPACE, format!("{alert}/{component}").as_bytes());
    id.simple().to_string().chars().take(16).collect()
}
