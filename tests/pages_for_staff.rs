//! Pages that a demo's story does not come to: a credit run that waits for its approval, a customer of several accounts, and
//! what is kept of who read what.

use std::sync::Arc;

use makegood::clock::Clock;
use makegood::domain::actor::{Actor, Role};
use makegood::domain::claim::Ground;
use makegood::domain::time::{HOUR, Instant};
use makegood::domain::window::{Capability, Impact};
use makegood::flows::announce_outage::{AnnounceOutage, AskedScope, announce_outage};
use makegood::flows::file_claim::{FileClaim, Filed, file_claim};
use makegood::http::auth::{Issuers, IssuersConfig};
use makegood::http::pages::sign_in::{DemoPeople, DemoSomebody};
use makegood::http::{App, listener, router};
use reqwest::StatusCode;
use support::browser::*;
use support::is_skipped;
use tokio::sync::watch;
use world::*;

mod support;

#[path = "support/world.rs"]
mod world;

/// The service on a port of its own, for some people, at a time.
struct Service {
    url: String,
    /// Dropped with the service, which then ends.
    _stop: watch::Sender<bool>,
}

async fn service(world: &World, people: &[Actor], now: Instant) -> Service {
    let config: IssuersConfig = toml::from_str("issuer = []").unwrap();
    let issuers = Arc::new(Issuers::load(&config).await.unwrap());
    let clock = Clock::real();
    clock.step_to(now);
    let somebody =
        |actor: &Actor| DemoSomebody { key: actor.subject.clone(), actor: actor.clone(), note: String::new() };
    let people = DemoPeople(people.iter().map(somebody).collect());
    let app = App::new(world.database.app.clone(), clock, issuers).with_demo(people);
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(listener::serve(socket, router::router(app), stopped));
    Service { url, _stop: stop }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credit_run_is_approved_on_its_page_by_somebody_else_who_types_its_total() {
    if is_skipped("pages for staff") {
        return;
    }
    let world = world(7).await;
    let run = propose(&world.database.app, november(5), "run").await;
    let people = [
        staff("aroha", Role::Supervisor),
        staff("wiremu", Role::Supervisor),
        staff("fetu", Role::Finance),
        staff("mere", Role::Agent),
    ];
    let service = service(&world, &people, november(6)).await;
    let path = format!("/staff/approvals/{}", run.id);
    let approve = format!("{path}/approve");

    let mut aroha = Browser::of(&service.url, "aroha").await;
    let own = aroha.page(&path).await;
    says(&own, "You proposed this, so someone else must approve it.");
    assert!(own.contains("disabled"), "the proposer's button is disabled");
    let fields = |page: &str, total: &str| {
        let field = |name| hidden(page, &approve, name).to_owned();
        [("csrf", field("csrf")), ("key", field("key")), ("hash", field("hash")), ("total", total.to_owned())]
    };
    let own = fields(&own, &run.total.digits());
    let refused = aroha.post(&approve, &own.each_ref().map(|(name, value)| (*name, &**value))).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let mut mere = Browser::of(&service.url, "mere").await;
    assert_eq!(mere.get(&path).await.status, StatusCode::FORBIDDEN);
    let mut fetu = Browser::of(&service.url, "fetu").await;
    let read = fetu.page(&path).await;
    assert!(!read.contains(&approve), "who only reads has no button");

    let mut wiremu = Browser::of(&service.url, "wiremu").await;
    let page = wiremu.page(&path).await;
    let total = format!("${}", run.total.digits());
    says(&page, &format!("To be credited {total}"));
    says(&page, "Business Mail 99.9% 7");
    let wrong = fields(&page, "1.00");
    let wrong = wiremu.post(&approve, &wrong.each_ref().map(|(name, value)| (*name, &**value))).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    says(&wrong.body, &format!("Type the total exactly as shown: {total}"));
    assert_eq!(credited(&world.database.app).await.0, 0);
    let right = fields(&wrong.body, &total);
    let right = wiremu.post(&approve, &right.each_ref().map(|(name, value)| (*name, &**value))).await;
    assert_eq!((right.status, right.location.as_str()), (StatusCode::SEE_OTHER, path.as_str()), "{}", right.body);
    says(&wiremu.page(&path).await, "0 of 7 posted.");
    apply(&world.database.app, november(6), run.id).await;
    says(&wiremu.page(&path).await, &format!("7 credits posted, {total}. wiremu approved it."));
    assert_eq!(credited(&world.database.app).await, (7, due_of_all(7)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_inputs_changed_says_so_and_has_no_button() {
    if is_skipped("pages for staff") {
        return;
    }
    let world = world(2).await;
    let run = propose(&world.database.app, november(5), "run").await;
    let (start, end) = outage();
    window(&world.database.app, "another", "mx-07", start, end, november(5)).await;
    let service = service(&world, &[staff("wiremu", Role::Supervisor)], november(6)).await;
    let mut wiremu = Browser::of(&service.url, "wiremu").await;
    let page = wiremu.page(&format!("/staff/approvals/{}", run.id)).await;
    says(&page, "It no longer matches what it rests on.");
    assert!(!page.contains("name=\"total\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_reading_of_a_case_is_kept_and_a_customer_reads_all_accounts_of_theirs_and_no_other() {
    if is_skipped("pages for staff") {
        return;
    }
    let world = world(3).await;
    assess(&world.database.app, november(5)).await;
    let both = Actor { accounts: vec![reference(0), reference(1)], ..customer("hana", &reference(0)) };
    let request = FileClaim {
        account: reference(1),
        ground: Ground::RecordWrong,
        incident: None,
        words: "We could not send for two days.".to_owned(),
        amount: None,
        contact: "phone".to_owned(),
    };
    let filed = file_claim(&world.database.app, november(5), &both, &key("claim"), request).await.unwrap();
    let filed: Filed = serde_json::from_str(&filed.body).unwrap();
    let people = [both, staff("mere", Role::Agent)];
    let service = service(&world, &people, november(6)).await;

    let mut hana = Browser::of(&service.url, "hana").await;
    let first = hana.page("/months/2026-10").await;
    says(&first, "We owe you $3.13");
    says(&first, "1 mailbox × $12.50 × 25% = $3.125, rounded: $3.13");
    let second = hana.page(&format!("/months/2026-10?account={}", reference(1))).await;
    says(&second, "We owe you $9.38");
    assert!(second.contains(&format!("href=\"/claims?account={}\"", reference(1))), "the way on keeps the account");
    assert_eq!(hana.get(&format!("/months/2026-10?account={}", reference(2))).await.status, StatusCode::NOT_FOUND);
    says(&hana.page(&format!("/claims/{}", filed.id)).await, "We have your claim");

    let mut mere = Browser::of(&service.url, "mere").await;
    mere.page("/staff/claims").await;
    assert_eq!(audited(&world.database.app, "case.read").await, 0);
    mere.page(&format!("/staff/claims/{}", filed.id)).await;
    mere.page(&format!("/staff/claims/{}", filed.id)).await;
    assert_eq!(audited(&world.database.app, "case.read").await, 2);
    assert_eq!(mere.get("/staff/claims/MG-2026-999999").await.status, StatusCode::NOT_FOUND);
}

/// An outage that somebody enters and nobody has signed off.
async fn provisional(world: &World, name: &str, start: Instant, end: Option<Instant>, now: Instant) {
    let request = AnnounceOutage {
        scope: AskedScope::Shards(vec!["mx-07".to_owned()]),
        capability: Capability("receive".to_owned()),
        impact: Impact::Full,
        reach: None,
        start: Some(start),
        end,
        planned: None,
        incident: None,
        note: None,
        origin: None,
    };
    let sefa = staff("sefa", Role::Operations);
    announce_outage(&world.database.app, now, &sefa, &key(name), request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_says_what_is_checked_and_what_goes_on_and_names_no_amount_for_either() {
    if is_skipped("pages for staff") {
        return;
    }
    let world = world(1).await;
    let (start, _) = outage();
    provisional(&world, "unsigned", start.plus(-48 * HOUR), Some(start.plus(-47 * HOUR)), november(2)).await;
    let began = at("2026-11-05T17:10:00Z");
    provisional(&world, "going-on", began, None, began.plus(HOUR)).await;
    let service = service(&world, &[customer("hana", &reference(0))], began.plus(2 * HOUR)).await;
    let mut hana = Browser::of(&service.url, "hana").await;
    let checked = hana.page("/months/2026-10").await;
    says(&checked, "What we owe you We are checking A record of an outage is not signed off yet.");
    assert!(!words(&checked).contains('$'), "no amount is named: {}", words(&checked));
    let now = hana.page("/months/2026-11").await;
    says(&now, "Mail is down now for your mailbox, since 6:10 am.");
    says(&now, "So far this month Down 2 h The month is not over. We work out credits on 4 December.");
    says(&now, "still going on");
    assert!(!words(&now).contains('$'), "no amount is named: {}", words(&now));
}
