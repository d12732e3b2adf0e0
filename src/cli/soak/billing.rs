//! Billing systems: each pulls the feed into books of its own, in which the cursor and what came with it are kept together, and is
//! killed between the steps now and then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::ask::{Asked, Who, insist};
use super::{Phase, Soak, locked};
use crate::domain::credit::Amounts;
use crate::domain::feed::credit_named;
use crate::domain::money::Money;

/// What a billing system keeps: what is in here survives that it is killed.
#[derive(Debug, Default)]
pub struct Books {
    cursor: Option<String>,
    /// Every item by its position, as it was served.
    pub items: BTreeMap<i64, Value>,
}

impl Books {
    /// The credits that were given by the feed, with their gross amounts as digits; none where one was given twice.
    pub fn credits(&self) -> Option<BTreeMap<Uuid, String>> {
        let mut credits = BTreeMap::new();
        for item in self.items.values().filter(|item| item["op"] == "issue") {
            let id = item["credit"]["id"].as_str().and_then(credit_named)?;
            let gross = item["credit"]["gross"].as_str()?.to_owned();
            if credits.insert(id.0, gross).is_some() {
                return None;
            }
        }
        Some(credits)
    }
}

/// One billing system.
#[derive(Debug)]
pub struct Billing {
    pub soak: Arc<Soak>,
    pub rng: fastrand::Rng,
    pub token: String,
    /// Whether it answers what it pulled; a second system only reads.
    pub answers: bool,
    books: Books,
    /// What was served and lost again when it was killed: served again, it must be the same.
    lost: BTreeMap<i64, Value>,
    /// Bills made so far.
    bills: u64,
}

/// What a billing system says about one credit.
struct Answer {
    item: Value,
    credit: Uuid,
    kind: &'static str,
    reference: String,
}

impl Billing {
    pub fn new(soak: Arc<Soak>, rng: fastrand::Rng, token: String, answers: bool) -> Self {
        Billing { soak, rng, token, answers, books: Books::default(), lost: BTreeMap::new(), bills: 0 }
    }

    /// Pulls and answers until everything is numbered, pulled and answered; then gives its books.
    pub async fn run(mut self) -> Books {
        let mut turn: u32 = 0;
        loop {
            let phase = *self.soak.phase.borrow();
            let pulled = self.pull(phase == Phase::Storm).await;
            turn += 1;
            let is_last = pulled == Some(0) && phase >= Phase::Drained;
            if self.answers && (turn.is_multiple_of(8) || is_last) {
                self.sweep().await;
            }
            if is_last || phase == Phase::Over {
                break;
            }
            if pulled.is_none_or(|count| count == 0) {
                tokio::time::sleep(Duration::from_millis(self.rng.u64(50..400))).await;
            }
        }
        if self.answers {
            self.check_all_answered().await;
        }
        self.books
    }

    /// Whether it is killed just here; what is not in its books is gone then.
    fn is_killed(&mut self, may_be: bool) -> bool {
        let is_killed = may_be && self.rng.u8(0..12) == 0;
        if is_killed {
            self.soak.ledger.count("billing systems killed");
        }
        is_killed
    }

    async fn ask(&mut self, asked: &Asked<'_>) -> Option<Value> {
        let outcome = insist(&self.soak, &mut self.rng, Who::Machine(&self.token), asked).await;
        if let super::ask::Outcome::Refused(status, code) = &outcome {
            self.soak.ledger.broke(format!("billing's {} was refused with {status} {code}", asked.path));
        }
        outcome.done()
    }

    /// Pulls a page and says how many items came; none where there was no page, or it was lost.
    async fn pull(&mut self, may_be_killed: bool) -> Option<usize> {
        let after = self.books.cursor.as_ref().map(|cursor| format!("&after={cursor}")).unwrap_or_default();
        let path = format!("/v1/billing/feed?limit={}{after}", self.rng.i64(1..100));
        let page = self.ask(&Asked::get(&path)).await?;
        let items = page["data"].as_array()?.clone();
        self.soak.ledger.count("pages pulled");
        let mut next = self.books.items.last_key_value().map_or(0, |(position, _)| *position);
        for item in &items {
            next += 1;
            if item["position"].as_i64() != Some(next) {
                self.soak.ledger.broke(format!("the feed has {} where {next} follows", item["position"]));
                return None;
            }
            if let Some(before) = self.lost.get(&next).filter(|before| *before != item) {
                self.soak.ledger.broke(format!("position {next} was served as {before} and then as {item}"));
            }
        }
        let by_position = items.iter().filter_map(|item| Some((item["position"].as_i64()?, item.clone())));
        if self.is_killed(may_be_killed) {
            self.lost.extend(by_position);
            return None;
        }
        // The two halves of one booking.
        self.books.items.extend(by_position);
        self.books.cursor = page["next_cursor"].as_str().map(str::to_owned);
        if self.answers && !self.is_killed(may_be_killed) {
            let answers: Vec<Answer> = items.iter().filter_map(|item| self.first_answer(item)).collect();
            self.answer(answers).await;
        }
        Some(items.len())
    }

    fn bill(&mut self) -> String {
        self.bills += 1;
        format!("INV-{}", self.bills)
    }

    /// What billing says when it sees an item for the first time: mostly a credit stands on a bill at once.
    fn first_answer(&mut self, item: &Value) -> Option<Answer> {
        let credit = &item["credit"];
        match item["op"].as_str()? {
            "issue" => {}
            "cancel" => return self.said(credit, "cancelled", None),
            "debit" => return self.said(credit, "debited", None),
            _ => return self.said(credit, "applied", None),
        }
        match self.rng.u8(0..20) {
            0..2 => self.said(credit, "accepted", None),
            2 => self.said(credit, "refused", None),
            3..6 => {
                let part = self.half(credit);
                self.said(credit, "applied", part)
            }
            _ => self.said(credit, "applied", None),
        }
    }

    /// Net and tax of half of the credit; none where it is too small to be halved.
    fn half(&self, credit: &Value) -> Option<(Money, Money)> {
        let amount = |name: &str| Money::parse(credit[name].as_str()?, self.soak.world.currency).ok();
        let whole = Amounts { gross: amount("gross")?, net: amount("net")?, tax: amount("tax")? };
        let currency = whole.gross.currency();
        let half = Money::from_minor(whole.gross.minor() / 2, currency).ok().filter(|half| half.is_positive())?;
        let part = whole.part(Amounts::zero(currency), half).ok()?;
        Some((part.net, part.tax))
    }

    fn said(&mut self, credit: &Value, kind: &'static str, part: Option<(Money, Money)>) -> Option<Answer> {
        let id = credit["id"].as_str()?;
        let today = self.soak.clock.now().utc().date_naive();
        let mut item = json!({ "credit": id, "answer": kind });
        let reference = match kind {
            "applied" | "debited" => self.bill(),
            "refused" => "account_closed".to_owned(),
            _ => String::new(),
        };
        match kind {
            "applied" | "debited" => {
                item["reference"] = json!(reference);
                item["date"] = json!(today);
                if let Some((net, tax)) = part {
                    item["net"] = json!(net.digits());
                    item["tax"] = json!(tax.digits());
                }
            }
            "refused" => item["code"] = json!(reference),
            _ => {}
        }
        Some(Answer { item, credit: credit_named(id)?.0, kind, reference })
    }

    /// Sends answers; now and then a second time, as a system does that did not hear whether they arrived.
    async fn answer(&mut self, answers: Vec<Answer>) {
        if answers.is_empty() {
            return;
        }
        let body = json!({ "items": answers.iter().map(|answer| &answer.item).collect::<Vec<_>>() });
        let times = if self.rng.u8(0..6) == 0 { 2 } else { 1 };
        for time in 0..times {
            let Some(taken) = self.ask(&Asked::post("/v1/billing/acks", "", &body)).await else { return };
            for (answer, taken) in answers.iter().zip(taken["items"].as_array().into_iter().flatten()) {
                self.soak.ledger.count("answers taken");
                // Somebody takes it back, or did: what billing says may come too late, and then mean something else.
                if locked(&self.soak.ledger.taken).contains(&answer.credit) {
                    continue;
                }
                match (taken["result"].as_str(), time) {
                    (Some("recorded"), 0) | (Some("already"), _) => {}
                    (result, _) => {
                        let said = format!("{} {}", answer.kind, answer.reference);
                        self.soak.ledger.broke(format!("{said} of {} was {result:?}: {taken}", answer.credit));
                        continue;
                    }
                }
                let fact = (answer.credit, answer.kind.to_owned(), answer.reference.clone());
                locked(&self.soak.ledger.answers).insert(fact);
                if answer.kind == "refused" {
                    locked(&self.soak.ledger.refused).insert(answer.credit);
                }
            }
        }
    }

    /// What was delivered and has no final answer.
    async fn unanswered(&mut self) -> Option<Vec<Value>> {
        let page = self.ask(&Asked::get("/v1/billing/unacknowledged?limit=100")).await?;
        Some(page["data"].as_array()?.clone())
    }

    /// Answers what is left, as after a crash: all of the rest on one more bill.
    async fn sweep(&mut self) {
        let left = self.unanswered().await.unwrap_or_default();
        // What was served and lost is not in the books yet: it will be served again.
        let through = self.books.items.last_key_value().map_or(0, |(position, _)| *position);
        let known = left.iter().filter(|one| one["position"].as_i64().is_some_and(|position| position <= through));
        let answers = known.filter_map(|one| {
            let kind = match one["state"].as_str()? {
                "cancel_waiting" => "cancelled",
                "debit_waiting" => "debited",
                _ => "applied",
            };
            self.said(&one["credit"], kind, None)
        });
        let answers = answers.collect();
        self.answer(answers).await;
    }

    async fn check_all_answered(&mut self) {
        for _ in 0..200 {
            match self.unanswered().await {
                Some(left) if left.is_empty() => return,
                Some(_) => self.sweep().await,
                None => break,
            }
        }
        self.soak.ledger.broke("billing cannot answer every credit that it was given".to_owned());
    }
}
