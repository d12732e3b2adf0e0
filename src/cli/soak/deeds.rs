//! What the writers do. A new flow that moves money is one more [`Deed`], with its weight.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::ask::{Asked, Outcome, PATIENCE, Who, insist};
use super::people::{customer, staff};
use super::world::reference;
use super::{Phase, Soak, issue, locked};
use crate::domain::actor::{Actor, Role};
use crate::domain::feed::credit_name;
use crate::domain::ids::CreditId;
use crate::domain::money::Money;

/// One deed of a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    /// A claim that an agent approves.
    Approve,
    /// A claim over the agent's limit, with the refused try, that a supervisor agrees to.
    Agree,
    /// A decision that is undone in its hold, or was posted before.
    Undo,
    Reject,
    Withdraw,
    /// Two agents approve one claim at once: one does.
    Race,
    /// A credit of good will.
    Goodwill,
    /// The same credit four times at once: it is there once.
    Four,
    /// A credit whose transaction stays open for eight seconds.
    Hold,
    /// Two people of finance take one credit back at once: one does.
    Reverse,
    /// What billing refused is offered again, set aside or paid out.
    Settle,
}

/// How long the slow agent holds a transaction open.
const HOLD: Duration = Duration::from_secs(8);

impl Deed {
    const ALL: [Deed; 11] = [
        Deed::Approve,
        Deed::Agree,
        Deed::Undo,
        Deed::Reject,
        Deed::Withdraw,
        Deed::Race,
        Deed::Goodwill,
        Deed::Four,
        Deed::Hold,
        Deed::Reverse,
        Deed::Settle,
    ];

    fn name(self) -> &'static str {
        match self {
            Deed::Approve => "deeds: approve",
            Deed::Agree => "deeds: agree",
            Deed::Undo => "deeds: undo",
            Deed::Reject => "deeds: reject",
            Deed::Withdraw => "deeds: withdraw",
            Deed::Race => "deeds: race",
            Deed::Goodwill => "deeds: goodwill",
            Deed::Four => "deeds: four at once",
            Deed::Hold => "deeds: hold",
            Deed::Reverse => "deeds: reverse",
            Deed::Settle => "deeds: settle",
        }
    }

    /// How often it is chosen, beside the others.
    fn weight(self) -> u32 {
        match self {
            Deed::Approve | Deed::Goodwill => 8,
            Deed::Agree | Deed::Race | Deed::Four | Deed::Reverse | Deed::Settle => 4,
            Deed::Undo | Deed::Reject | Deed::Withdraw => 2,
            // The first writer does it by turns; see `write`.
            Deed::Hold => 0,
        }
    }

    fn choose(rng: &mut fastrand::Rng) -> Deed {
        let mut left = rng.u32(0..Deed::ALL.iter().map(|deed| deed.weight()).sum());
        for deed in Deed::ALL {
            match left.checked_sub(deed.weight()) {
                Some(rest) => left = rest,
                None => return deed,
            }
        }
        Deed::Approve
    }
}

/// Does one deed after the other for as long as the storm lasts, and ends with the last one certain.
pub async fn write(soak: Arc<Soak>, writer: usize, mut rng: fastrand::Rng) {
    let mut round = 0;
    while *soak.phase.borrow() == Phase::Storm {
        let deed = if writer == 0 && round % 8 == 0 { Deed::Hold } else { Deed::choose(&mut rng) };
        let account = reference(rng.usize(0..soak.world.accounts.max(1)));
        let mut doing = Doing { soak: &soak, rng: &mut rng, account, name: format!("{writer}-{round}") };
        doing.do_it(deed).await;
        soak.ledger.count(deed.name());
        round += 1;
    }
}

/// One deed under way.
struct Doing<'a> {
    soak: &'a Soak,
    rng: &'a mut fastrand::Rng,
    account: String,
    /// Unique within the soak.
    name: String,
}

impl Doing<'_> {
    async fn do_it(&mut self, deed: Deed) {
        match deed {
            Deed::Goodwill => self.issue(1, Duration::ZERO).await,
            Deed::Four => self.issue(4, Duration::ZERO).await,
            Deed::Hold => self.issue(1, HOLD).await,
            Deed::Reverse => drop(self.reverse().await),
            Deed::Settle => drop(self.settle().await),
            Deed::Approve | Deed::Agree | Deed::Undo | Deed::Reject | Deed::Withdraw | Deed::Race => {
                self.decide(deed).await;
            }
        }
    }

    /// Files a claim and brings it to its end.
    async fn decide(&mut self, deed: Deed) -> Option<()> {
        let claim = self.file().await?;
        let agent = staff(&format!("agent-{}", self.name), Role::Agent);
        let settled = match deed {
            Deed::Withdraw => {
                let hana = customer(&self.account);
                self.must(&claim, "withdraw", &hana, &json!({})).await?;
                ("withdrawn", None)
            }
            Deed::Reject => {
                self.reject(&claim, &agent).await?;
                ("rejected", None)
            }
            Deed::Agree => ("part_approved", Some(self.agree(&claim, &agent).await?)),
            Deed::Undo => self.undo(&claim, &agent).await?,
            Deed::Race => ("part_approved", Some(self.race(&claim, &agent).await?)),
            Deed::Approve | Deed::Goodwill | Deed::Four | Deed::Hold | Deed::Reverse | Deed::Settle => {
                ("part_approved", Some(self.approve(&claim, &agent).await?))
            }
        };
        locked(&self.soak.ledger.claims).insert(claim, settled);
        Some(())
    }

    async fn file(&mut self) -> Option<String> {
        let body = json!({
            "account": self.account, "ground": "cost_more", "incident": format!("INC-{}", self.name),
            "words": "We paid demurrage on two containers because no notice reached us.",
        });
        let (hana, key) = (customer(&self.account), format!("file-{}", self.name));
        let outcome = insist(self.soak, self.rng, Who::Person(&hana), &Asked::post("/v1/claims", &key, &body)).await;
        certain(self.soak, "filing a claim", outcome)?["id"].as_str().map(str::to_owned)
    }

    async fn act(&mut self, claim: &str, verb: &str, who: &Actor, body: &Value) -> Outcome {
        let (path, key) = (format!("/v1/claims/{claim}/{verb}"), format!("{verb}-{}", self.name));
        insist(self.soak, self.rng, Who::Person(who), &Asked::post(&path, &key, body)).await
    }

    /// An action that nothing stands against.
    async fn must(&mut self, claim: &str, verb: &str, who: &Actor, body: &Value) -> Option<Value> {
        let outcome = self.act(claim, verb, who, body).await;
        certain(self.soak, verb, outcome)
    }

    /// An amount within an agent's limit, in minor units, and the body that gives it.
    fn amount(&mut self, least: i64, most: i64) -> (i64, Value) {
        let minor = self.rng.i64(least..=most);
        (minor, given(self.soak, minor))
    }

    async fn approve(&mut self, claim: &str, agent: &Actor) -> Option<i64> {
        let (minor, body) = self.amount(1, 20_000);
        self.must(claim, "approve", agent, &body).await?;
        Some(minor)
    }

    async fn reject(&mut self, claim: &str, agent: &Actor) -> Option<Value> {
        let body = json!({ "reason": "not_affected", "words": "Your mailboxes were not on the system that was down." });
        self.must(claim, "reject", agent, &body).await
    }

    async fn agree(&mut self, claim: &str, agent: &Actor) -> Option<i64> {
        let (minor, body) = self.amount(20_001, 100_000);
        match self.act(claim, "approve", agent, &body).await {
            Outcome::Refused(StatusCode::FORBIDDEN, code) if code == "over_limit" => {}
            other => self.soak.ledger.broke(format!("an approval over the limit was answered with {other:?}")),
        }
        self.must(claim, "recommend", agent, &body).await?;
        let wiremu = staff("wiremu", Role::Supervisor);
        self.must(claim, "agree", &wiremu, &json!({})).await?;
        Some(minor)
    }

    /// Undone and then rejected; or it was posted before, and stays.
    async fn undo(&mut self, claim: &str, agent: &Actor) -> Option<(&'static str, Option<i64>)> {
        let minor = self.approve(claim, agent).await?;
        tokio::time::sleep(Duration::from_millis(self.rng.u64(0..3_000))).await;
        match self.act(claim, "undo", agent, &json!({})).await {
            Outcome::Done(_) => {
                self.reject(claim, agent).await?;
                Some(("rejected", None))
            }
            Outcome::Refused(StatusCode::CONFLICT, _) => Some(("part_approved", Some(minor))),
            other => certain(self.soak, "undo", other).and(None),
        }
    }

    /// One of two approvals gives its amount; which of them is the database's to say.
    async fn race(&mut self, claim: &str, agent: &Actor) -> Option<i64> {
        let other = staff(&format!("{}-too", agent.subject), Role::Agent);
        let ((first, one), (second, two)) = (self.amount(1, 20_000), self.amount(1, 20_000));
        let (path, key) = (format!("/v1/claims/{claim}/approve"), format!("race-{}", self.name));
        let (one, two) = (Asked::post(&path, &key, &one), Asked::post(&path, &key, &two));
        let (mut left, mut right) = (self.rng.fork(), self.rng.fork());
        let (one, two) = tokio::join!(
            insist(self.soak, &mut left, Who::Person(agent), &one),
            insist(self.soak, &mut right, Who::Person(&other), &two)
        );
        match (one, two) {
            (Outcome::Done(_), Outcome::Refused(..)) => Some(first),
            (Outcome::Refused(..), Outcome::Done(_)) => Some(second),
            (one, two) => {
                self.soak.ledger.broke(format!("two approvals of {claim} at once: {one:?} and {two:?}"));
                None
            }
        }
    }

    /// One of these credits that nobody takes back or settles; from now on it is this deed's.
    fn take(&mut self, from: &BTreeSet<Uuid>) -> Option<Uuid> {
        let mut taken = locked(&self.soak.ledger.taken);
        let free: Vec<Uuid> = from.difference(&taken).copied().collect();
        let id = self.rng.choice(free)?;
        taken.insert(id);
        Some(id)
    }

    async fn reverse(&mut self) -> Option<()> {
        let issued: BTreeSet<Uuid> = locked(&self.soak.ledger.credits).keys().copied().collect();
        let id = self.take(&issued)?;
        let path = format!("/v1/credits/{}/reverse", credit_name(CreditId(id)));
        let body = json!({ "reason": "issued_in_error", "note": "It was meant for another account." });
        let (finn, farah) = (staff("finn", Role::Finance), staff("farah", Role::Finance));
        let keys = [format!("reverse-{}", self.name), format!("reverse-too-{}", self.name)];
        let (one, two) = (Asked::post(&path, &keys[0], &body), Asked::post(&path, &keys[1], &body));
        let (mut left, mut right) = (self.rng.fork(), self.rng.fork());
        let (one, two) = tokio::join!(
            insist(self.soak, &mut left, Who::Person(&finn), &one),
            insist(self.soak, &mut right, Who::Person(&farah), &two)
        );
        match (one, two) {
            (Outcome::Done(_), Outcome::Refused(..)) | (Outcome::Refused(..), Outcome::Done(_)) => {
                locked(&self.soak.ledger.reversed).insert(id);
                Some(())
            }
            (one, two) => {
                self.soak.ledger.broke(format!("two reversals of {id} at once: {one:?} and {two:?}"));
                None
            }
        }
    }

    async fn settle(&mut self) -> Option<Value> {
        let refused = locked(&self.soak.ledger.refused).clone();
        let id = self.take(&refused)?;
        let note = "The account was closed when billing came to it.";
        let (verb, body) = match self.rng.u8(0..3) {
            0 => ("offer", json!({ "note": note })),
            1 => ("unclaimed", json!({ "note": note })),
            _ => ("payment", json!({ "note": note, "reference": format!("PAY-{}", self.name) })),
        };
        let path = format!("/v1/credits/{}/{verb}", credit_name(CreditId(id)));
        let (finn, key) = (staff("finn", Role::Finance), format!("{verb}-{}", self.name));
        let outcome = insist(self.soak, self.rng, Who::Person(&finn), &Asked::post(&path, &key, &body)).await;
        certain(self.soak, verb, outcome)
    }

    /// Issues one credit, `times` at once.
    async fn issue(&mut self, times: usize, hold: Duration) {
        let (soak, minor) = (self.soak, self.rng.i64(1..50_000));
        let wanted = match issue::goodwill(soak, &self.account, &self.name, minor) {
            Ok(wanted) => wanted,
            Err(error) => return soak.ledger.broke(format!("{minor} minor units are no amount: {error}")),
        };
        let all = (0..times).map(|_| issue::until_certain(soak, &wanted, hold));
        let outcomes = futures_util::future::join_all(all).await;
        if outcomes.iter().flatten().sum::<usize>() > 1 {
            soak.ledger.broke(format!("credit {} was issued more than once", wanted.credit.id));
        }
        if outcomes.iter().any(Option::is_some) {
            locked(&soak.ledger.credits).insert(wanted.credit.id.0, minor);
        }
    }
}

fn given(soak: &Soak, minor: i64) -> Value {
    let amount = Money::from_minor(minor, soak.world.currency).map(Money::digits).unwrap_or_default();
    json!({ "amount": amount, "reason": "evidence_of_cost", "words": "Your invoice shows the charge. We are paying it." })
}

/// What was done; a refusal where nothing stood against it is a broken promise.
fn certain(soak: &Soak, what: &str, outcome: Outcome) -> Option<Value> {
    if let Outcome::Refused(status, code) = &outcome {
        soak.ledger.broke(format!("{what} was refused with {status} {code}, and nothing stood against it"));
    }
    outcome.done()
}

/// Proposes, approves and sees applied one credit run a month, spread over the storm.
pub async fn run_credits(soak: Arc<Soak>, mut rng: fastrand::Rng, pause: Duration) {
    for month in soak.world.months.clone() {
        tokio::time::sleep(pause).await;
        if *soak.phase.borrow() != Phase::Storm {
            return;
        }
        run_month(&soak, &mut rng, month).await;
        soak.ledger.count("deeds: credit run");
    }
}

async fn run_month(soak: &Soak, rng: &mut fastrand::Rng, month: crate::domain::period::Month) -> Option<()> {
    let (aroha, wiremu) = (staff("aroha", Role::Supervisor), staff("wiremu", Role::Supervisor));
    let body = json!({ "period": month });
    let assessed = insist(soak, rng, Who::Person(&aroha), &Asked::post("/v1/assessments", "", &body)).await;
    certain(soak, "assessing a month", assessed)?;
    let key = format!("propose-{month}");
    let proposed = insist(soak, rng, Who::Person(&aroha), &Asked::post("/v1/credit-runs", &key, &body)).await;
    let run = certain(soak, "proposing a credit run", proposed)?;
    let (id, key) = (run["id"].as_str()?.to_owned(), format!("approve-{month}"));
    let (path, body) = (format!("/v1/credit-runs/{id}/approve"), json!({ "total": run["total"]["amount"] }));
    let approved = insist(soak, rng, Who::Person(&wiremu), &Asked::post(&path, &key, &body)).await;
    certain(soak, "approving a credit run", approved)?;
    let began = std::time::Instant::now();
    let path = format!("/v1/credit-runs/{id}");
    while began.elapsed() < PATIENCE {
        let read = insist(soak, rng, Who::Person(&wiremu), &Asked::get(&path)).await;
        if certain(soak, "reading a credit run", read)?["state"] == "applied" {
            return Some(());
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    soak.ledger.broke(format!("the approved credit run {id} was not applied within {PATIENCE:?}"));
    None
}
