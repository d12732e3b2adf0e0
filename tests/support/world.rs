//! A small operator's world in a database of its own, made by the service's own flows and without HTTP: accounts of odd
//! sizes on one mail system that was down for 22 hours in October 2026.

#![allow(dead_code)]

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use makegood::domain::actor::{Actor, Role};
use makegood::domain::batch::Format;
use makegood::domain::credit::{Road, Split};
use makegood::domain::ids::{AccountId, CreditId, CreditRunId, WindowId};
use makegood::domain::money::Money;
use makegood::domain::operator::{CreditRules, Operator, Tax};
use makegood::domain::period::Month;
use makegood::domain::time::{HOUR, Instant};
use makegood::domain::window::{Capability, Impact};
use makegood::flows::announce_outage::{AnnounceOutage, AskedScope, announce_outage};
use makegood::flows::apply_credit_run::{Step, apply_step};
use makegood::flows::approve_credit_run::{ApproveCreditRun, approve_credit_run};
use makegood::flows::assess_period::assess_period;
use makegood::flows::confirm_outage::{ConfirmOutage, confirm_outage};
use makegood::flows::issue_credits::ToIssue;
use makegood::flows::load_accounts::load_accounts;
use makegood::flows::load_charges::load_charges;
use makegood::flows::load_given::load_given;
use makegood::flows::load_placements::load_placements;
use makegood::flows::load_subscriptions::load_subscriptions;
use makegood::flows::once::{Answer, IdempotencyKey};
use makegood::flows::propose_credit_run::{CreditRun, ProposeCreditRun, propose_credit_run};
use makegood::flows::publish_terms::{PublishTerms, approve_terms, publish_terms};
use makegood::flows::register_shards::{RegisterShards, register_shards};
use makegood::flows::sequence_feed::sequence_feed;
use makegood::flows::verify_books::verify_books;
use makegood::store::credits::{Addressee, Credit};
use makegood::store::{Error, books, operator};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use crate::support::{TestDatabase, database};

pub fn at(text: &str) -> Instant {
    Instant::parse(text).unwrap()
}

/// The outage: 22 hours from 06:10 on 13 October in New Zealand.
pub fn outage() -> (Instant, Instant) {
    (at("2026-10-12T17:10:00Z"), at("2026-10-13T15:10:00Z"))
}

/// The day on which October may be credited, and after it.
pub fn november(day: u32) -> Instant {
    at(&format!("2026-11-{day:02}T00:00:00Z"))
}

pub fn october() -> Month {
    "2026-10".parse().unwrap()
}

pub fn nzd(minor: i64) -> Money {
    Money::from_minor(minor, "NZD".parse().unwrap()).unwrap()
}

pub fn staff(name: &str, role: Role) -> Actor {
    Actor {
        issuer: "staff".to_owned(),
        subject: name.to_owned(),
        name: name.to_owned(),
        roles: [role].into(),
        accounts: Vec::new(),
        source: None,
    }
}

pub fn customer(name: &str, account: &str) -> Actor {
    Actor { issuer: "customers".to_owned(), accounts: vec![account.to_owned()], ..staff(name, Role::Customer) }
}

/// A key whose request is its own name.
pub fn key(name: &str) -> IdempotencyKey {
    keyed(name, name)
}

/// A key with the request that is made under it.
pub fn keyed(name: &str, request: &str) -> IdempotencyKey {
    IdempotencyKey { key: name.to_owned(), fingerprint: Sha256::digest(request).into() }
}

pub fn body(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap()
}

/// The code of the refusal that this was.
pub fn refused<T: std::fmt::Debug>(outcome: Result<T, Error>) -> &'static str {
    outcome.unwrap_err().refusal().code.name()
}

pub fn settings() -> Operator {
    Operator {
        name: "Aoraki Mail".to_owned(),
        currency: "NZD".parse().unwrap(),
        zone: "Pacific/Auckland".parse().unwrap(),
        zone_name: "New Zealand time".to_owned(),
        tax: Tax { name: "GST".to_owned(), code: "GST15".to_owned(), rate_bp: 1_500 },
        feed: Default::default(),
        phone: "0800 000 000".to_owned(),
        agent_limit_minor: 20_000,
        claim_cap_minor: 100_000,
        hold_seconds: 600,
        run_expiry_seconds: 172_800,
        claim_due_seconds: 864_000,
        assess_after_days: 3,
        outside_review: None,
        credits: CreditRules::default(),
    }
}

/// The operator's reference of the `index`-th account.
pub fn reference(index: usize) -> String {
    format!("7{index:06}")
}

/// Sizes are odd, so that a quarter of $12.50 leaves half cents.
pub fn mailboxes(index: usize) -> i64 {
    [1, 3, 5, 7, 9][index % 5]
}

/// What 22 hours down are worth to so many mailboxes: a quarter of $12.50 each, half a cent up, once for the account.
pub fn due(mailboxes: i64) -> i64 {
    (mailboxes * 3_125 + 5) / 10
}

/// The sum over the accounts of a world of `count`.
pub fn due_of_all(count: usize) -> i64 {
    (0..count).map(|index| due(mailboxes(index))).sum()
}

/// Registers the shards that placements name.
pub async fn register(pool: &PgPool, lines: &[Value], now: Instant) {
    let shards = lines.iter().flat_map(|line| [&line["shard"], &line["moving_to"]]);
    let shards: BTreeSet<String> = shards.filter_map(|shard| shard.as_str().map(str::to_owned)).collect();
    let request = RegisterShards { shards: shards.into_iter().collect() };
    register_shards(pool, now, &staff("sefa", Role::Operations), &request).await.unwrap();
}

/// Loads lines, and registers the shards that they name first.
pub async fn send(pool: &PgPool, kind: &str, lines: &[Value], now: Instant) {
    if kind == "placements" {
        register(pool, lines, now).await;
    }
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let file = stream::iter([Ok::<_, std::io::Error>(Bytes::from(text))]);
    let clerk = staff("records", Role::Ingest);
    let report = match kind {
        "accounts" => load_accounts(pool, now, &clerk, file, Format::Ndjson, false).await,
        "subscriptions" => load_subscriptions(pool, now, &clerk, file, Format::Ndjson, false).await,
        "charges" => load_charges(pool, now, &clerk, file, Format::Ndjson, false).await,
        "placements" => load_placements(pool, now, &clerk, file, Format::Ndjson, false).await,
        "given" => load_given(pool, now, &clerk, file, Format::Ndjson, false).await,
        other => panic!("{other}"),
    }
    .unwrap();
    assert_eq!((report.rejected, report.accepted), (0, i64::try_from(lines.len()).unwrap()), "{kind}: {report:?}");
}

pub fn account_line(index: usize) -> Value {
    json!({
        "account": reference(index), "name": format!("Customer {index}"), "zone": "Pacific/Auckland", "currency": "NZD",
    })
}

pub fn charge_line(index: usize, number: &str, mailboxes: i64) -> Value {
    let gross = nzd(1_250 * mailboxes);
    let split = Split::of(gross, 1_500).unwrap();
    json!({
        "account": reference(index), "number": number, "subscription": format!("{}-mail", reference(index)),
        "invoiced_on": "2026-10-01", "service_from": "2026-10-01", "service_to": "2026-11-01", "quantity": mailboxes,
        "currency": "NZD", "net": split.net.digits(), "tax": split.tax.digits(), "gross": gross.digits(),
        "tax_code": "GST15", "tax_rate_bp": 1_500,
    })
}

/// One dollar that was given elsewhere for October, as the terms' own credits are.
pub fn given_line(index: usize, name: &str) -> Value {
    json!({
        "account": reference(index), "reference": name, "subscription": format!("{}-mail", reference(index)),
        "period": "2026-10", "kind": "contract", "currency": "NZD", "amount": "1.00", "given_on": "2026-11-05",
    })
}

pub fn placement_line(index: usize, mailbox: i64, shard: &str, from: &str) -> Value {
    json!({
        "account": reference(index), "mailbox": format!("{}-{mailbox}", reference(index)), "shard": shard,
        "valid_from": from, "source": "directory",
    })
}

/// The operator, its terms, and `count` accounts; the outage is signed off.
pub struct World {
    pub database: TestDatabase,
    pub accounts: Vec<AccountId>,
    pub window: WindowId,
}

pub async fn world(count: usize) -> World {
    let database = database().await;
    let window = furnish(&database.app, count).await;
    let accounts = (0..count).map(|index| AccountId::of(&reference(index))).collect();
    World { database, accounts, window }
}

/// Fills an empty, migrated database.
pub async fn furnish(pool: &PgPool, count: usize) -> WindowId {
    let began = at("2026-10-01T00:00:00Z");
    let mut conn = pool.acquire().await.unwrap();
    operator::put(&mut conn, &settings()).await.unwrap();
    drop(conn);
    publish(pool, began, "first").await;
    let each = |line: &dyn Fn(usize) -> Vec<Value>| (0..count).flat_map(line).collect::<Vec<_>>();
    if count > 0 {
        send(pool, "accounts", &each(&|index| vec![account_line(index)]), began).await;
        let subscription = |index: usize| {
            vec![json!({
                "account": reference(index), "subscription": format!("{}-mail", reference(index)), "plan": "business",
                "valid_from": "2024-01-01T00:00:00Z",
            })]
        };
        send(pool, "subscriptions", &each(&subscription), began).await;
        let charge = |index: usize| vec![charge_line(index, &format!("INV-{}", reference(index)), mailboxes(index))];
        send(pool, "charges", &each(&charge), began).await;
        let placements = |index: usize| {
            (0..mailboxes(index)).map(|number| placement_line(index, number, "mx-07", "2024-01-01T00:00:00Z")).collect()
        };
        send(pool, "placements", &each(&placements), began).await;
    }
    let (start, end) = outage();
    window(pool, "the-outage", "mx-07", start, end, end.plus(HOUR)).await
}

/// Publishes the business plan's terms, and somebody else approves them.
pub async fn publish(pool: &PgPool, now: Instant, name: &str) {
    let terms: Value = serde_saphyr::from_str(include_str!("../../assets/terms/business.yaml")).unwrap();
    publish_changed(pool, now, name, terms, "2025-12-31T11:00:00Z").await;
}

pub async fn publish_changed(pool: &PgPool, now: Instant, name: &str, terms: Value, from: &str) {
    let request = PublishTerms { effective_from: at(from), terms };
    let author = staff("ngaire", Role::Admin);
    let published = publish_terms(pool, now, &author, &key(name), "business", request).await.unwrap();
    let version = i32::try_from(body(&published)["version"].as_i64().unwrap()).unwrap();
    let other = staff("viliami", Role::Admin);
    approve_terms(pool, now, &other, &key(&format!("approve-{name}")), "business", version).await.unwrap();
}

/// Enters an outage of a mail system and signs it off.
pub async fn window(pool: &PgPool, name: &str, shard: &str, start: Instant, end: Instant, now: Instant) -> WindowId {
    let request = AnnounceOutage {
        scope: AskedScope::Shards(vec![shard.to_owned()]),
        capability: Capability("receive".to_owned()),
        impact: Impact::Full,
        reach: None,
        start: Some(start),
        end: Some(end),
        planned: None,
        incident: Some("INC-2026-031".to_owned()),
        note: None,
        origin: None,
    };
    register(pool, &[json!({ "shard": shard })], now).await;
    let sefa = staff("sefa", Role::Operations);
    let entered = announce_outage(pool, now, &sefa, &key(name), request).await.unwrap();
    let id = WindowId(body(&entered)["window"]["id"].as_str().unwrap().parse().unwrap());
    sign_off(pool, id, 1, now).await;
    id
}

/// Signs a version off, as somebody who did not write it.
pub async fn sign_off(pool: &PgPool, id: WindowId, version: i32, now: Instant) {
    let mikaere = staff("mikaere", Role::Operations);
    let name = format!("confirm-{id}-{version}");
    confirm_outage(pool, now, &mikaere, &key(&name), id, ConfirmOutage { version }).await.unwrap();
}

pub async fn assess(pool: &PgPool, now: Instant) {
    assess_period(pool, now, &staff("aroha", Role::Supervisor), october()).await.unwrap();
}

/// Assesses October, and Aroha proposes a run.
pub async fn propose(pool: &PgPool, now: Instant, name: &str) -> CreditRun {
    assess(pool, now).await;
    let aroha = staff("aroha", Role::Supervisor);
    let answer =
        propose_credit_run(pool, now, &aroha, &key(name), ProposeCreditRun { period: october(), replaces: None })
            .await
            .unwrap();
    assert_eq!(answer.status, 201);
    serde_json::from_str(&answer.body).unwrap()
}

pub async fn approve(pool: &PgPool, now: Instant, who: &str, run: &CreditRun) -> Result<Answer, Error> {
    let name = format!("approve-{who}-{}", run.id);
    approve_total(pool, now, who, &name, run.id, run.total.digits()).await
}

pub async fn approve_total(
    pool: &PgPool,
    now: Instant,
    who: &str,
    name: &str,
    run: CreditRunId,
    total: String,
) -> Result<Answer, Error> {
    let actor = staff(who, Role::Supervisor);
    approve_credit_run(pool, now, &actor, &key(name), run, ApproveCreditRun { total }).await
}

/// Applies the run to its end and says how many credits that issued.
pub async fn apply(pool: &PgPool, now: Instant, run: CreditRunId) -> usize {
    let mut issued = 0;
    while let Step::Issued(count) = apply_step(pool, run, now).await.unwrap() {
        issued += count;
    }
    issued
}

/// How many credits there are, and what they come to.
pub async fn credited(pool: &PgPool) -> (i64, i64) {
    sqlx::query_as("SELECT count(*), coalesce(sum(gross_minor), 0)::bigint FROM credit").fetch_one(pool).await.unwrap()
}

/// How many audit rows tell of `action`.
pub async fn audited(pool: &PgPool, action: &str) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM audit WHERE action = $1").bind(action).fetch_one(pool).await.unwrap()
}

/// A credit of the operator's good will, the `number`-th for its account.
pub fn goodwill(index: usize, number: u32, gross_minor: i64, now: Instant) -> ToIssue {
    let account = AccountId::of(&reference(index));
    let gross = nzd(gross_minor);
    let split = Split::of(gross, 1_500).unwrap();
    let cause = format!("goodwill:{number}");
    ToIssue {
        credit: Credit {
            account,
            id: CreditId::of(account, &cause, 0),
            road: Road::Goodwill,
            cause,
            generation: 0,
            reason: "goodwill_first".to_owned(),
            against: makegood::domain::books::Code::Goodwill,
            gross,
            net: split.net,
            tax: split.tax,
            tax_code: "GST15".to_owned(),
            tax_rate_bp: 1_500,
            subscription: None,
            claim: None,
            run: None,
            service: None,
            zone: "Pacific/Auckland".to_owned(),
            effective_on: "2026-11-20".parse().unwrap(),
            issued_at: now,
            issued_by: "staff|aroha".to_owned(),
            approved_by: "staff|wiremu".to_owned(),
        },
        addressee: Addressee { reference: reference(index), bill_to: None, zone: "Pacific/Auckland".to_owned() },
        claim_reference: None,
    }
}

/// What must hold after everything: the control totals agree, and once all is numbered, the chain and the feed verify.
pub async fn books_hold(pool: &PgPool) {
    controls_agree(pool).await;
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        sequence_feed(pool, 0, november(30)).await.unwrap();
        let waiting: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox").fetch_one(pool).await.unwrap();
        if waiting == 0 {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{waiting} events are not numbered");
    }
    controls_agree(pool).await;
    let verified = verify_books(pool).await.unwrap();
    assert_eq!(verified.broken, None);
    assert!(verified.checked > 0, "nothing was checked");
}

/// The control totals, in one snapshot, at any moment.
pub async fn controls_agree(pool: &PgPool) {
    let mut tx = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.unwrap();
    let wrong: Vec<_> =
        books::control_totals(&mut tx).await.unwrap().into_iter().filter(|one| one.left != one.right).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
