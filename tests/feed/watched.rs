//! What waits too long is said, once and by name; what was issued is accounted for, day by day; and the same goes by files.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use makegood::cli::database::{self, DatabaseArgs};
use makegood::domain::actor::Role;
use makegood::domain::operator::FeedAlarms;
use makegood::domain::time::{DAY, Instant, SECOND};
use makegood::flows::watch_feed::{Alarm, AlarmKind, watch_feed};
use makegood::jobs::alarms::Watch;
use makegood::store::operator;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use tower::ServiceExt;

use crate::doors::{Doors, doors};
use crate::support::is_skipped;
use crate::world::*;
use crate::{count, drain, issue, page};

async fn set(pool: &PgPool, feed: FeedAlarms) {
    let mut conn = pool.acquire().await.unwrap();
    operator::put(&mut conn, &makegood::domain::operator::Operator { feed, ..settings() }).await.unwrap();
}

async fn kinds(pool: &PgPool, now: Instant) -> Vec<(AlarmKind, i64)> {
    watch_feed(pool, now, None).await.unwrap().iter().map(|alarm| (alarm.kind, alarm.count)).collect()
}

/// GET or POST with a header; the status and the text.
async fn ask(
    doors: &Doors,
    token: &str,
    path: &str,
    with: (header::HeaderName, &str),
    body: Option<&str>,
) -> (u16, String) {
    let method = if body.is_some() { "POST" } else { "GET" };
    let request = Request::builder().method(method).uri(path).header(header::AUTHORIZATION, format!("Bearer {token}"));
    let request = request.header(with.0, with.1).body(Body::from(body.unwrap_or_default().to_owned())).unwrap();
    let (parts, body) = doors.router.clone().oneshot(request).await.unwrap().into_parts();
    let body = axum::body::to_bytes(body, 1 << 24).await.unwrap();
    (parts.status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn what_waits_too_long_is_an_alarm_until_it_no_longer_does() {
    if is_skipped("what_waits_too_long_is_an_alarm_until_it_no_longer_does") {
        return;
    }
    let world = world(2).await;
    let pool = &world.database.app;
    drain(pool).await;
    let issued = november(20);
    let after = |seconds: i64| issued.plus(seconds * SECOND);
    let id = issue(pool, 0, 0, 2_500).await;
    issue(pool, 1, 0, 1_000).await;
    assert_eq!(kinds(pool, after(9)).await, []);
    assert_eq!(kinds(pool, after(10)).await, [(AlarmKind::NotNumbered, 2)]);
    drain(pool).await;
    assert_eq!(kinds(pool, after(86_399)).await, []);
    assert_eq!(kinds(pool, after(86_400)).await, [(AlarmKind::NotPulled, 2)]);
    page(pool, None, 1).await;
    assert_eq!(kinds(pool, after(86_400)).await, [(AlarmKind::NotPulled, 1)], "one of the two is pulled");
    page(pool, None, 2).await;
    assert_eq!(kinds(pool, after(3 * 86_400 - 1)).await, []);
    assert_eq!(kinds(pool, after(3 * 86_400)).await, [(AlarmKind::NotAnswered, 2)]);

    let doors = doors(pool, issued).await;
    let token = doors.machine(Role::Billing, "billing").await;
    doors.get("/v1/billing/feed", &token).await;
    let say = async |items: Value| {
        let taken = doors.post("/v1/billing/acks", &token, "", &json!({ "items": items })).await.json();
        assert_eq!(taken["recorded"], 1, "{taken}");
        drain(pool).await;
    };
    say(json!([{ "credit": id, "answer": "accepted" }])).await;
    assert_eq!(kinds(pool, after(3 * 86_400)).await, [(AlarmKind::NotAnswered, 2)], "loaded is not final");
    // The bill run of the 24th: from a day before it on, what billing has not loaded.
    let bill_runs = vec!["2026-11-24".parse().unwrap()];
    set(pool, FeedAlarms { bill_runs, not_answered_seconds: u32::MAX, ..FeedAlarms::default() }).await;
    let begins = at("2026-11-23T11:00:00Z");
    assert_eq!(kinds(pool, begins.plus(-DAY - SECOND)).await, []);
    assert_eq!(kinds(pool, begins.plus(-DAY)).await, [(AlarmKind::MissesBillRun, 1)]);
    assert_eq!(kinds(pool, begins.plus(DAY - SECOND)).await, [(AlarmKind::MissesBillRun, 1)]);
    assert_eq!(kinds(pool, begins.plus(DAY)).await, [], "it is over");
    let asked = watch_feed(pool, issued, Some("2027-01-05".parse().unwrap())).await.unwrap();
    assert_eq!((asked[0].kind, asked[0].amounts.as_slice()), (AlarmKind::MissesBillRun, [nzd(1_000)].as_slice()));
    let listed = doors.get("/v1/billing/alarms?bill_run=2027-01-05", &doors.staff("mere", Role::Finance)).await.json();
    assert_eq!(listed["data"][0]["kind"], "misses_bill_run");
    assert_eq!(listed["data"][0]["amounts"][0]["amount"], "10.00");
    assert_eq!(doors.get("/v1/billing/alarms", &doors.staff("hana", Role::Agent)).await.status, 403);
    // The database is another one: that is the first thing to know.
    sqlx::query("UPDATE feed_origin SET timeline = timeline + 1").execute(&world.database.owner).await.unwrap();
    assert_eq!(kinds(pool, issued).await, [(AlarmKind::Stopped, 1)]);
}

/// Looks until `is_there` is content, for as long as an alarm may take.
async fn until(watch: &mut Watch, doors: &Doors, is_there: impl Fn(&[Alarm]) -> bool) -> Duration {
    let began = std::time::Instant::now();
    loop {
        if is_there(&watch.turn(&doors.app).await.unwrap()) {
            return began.elapsed();
        }
        assert!(began.elapsed() < Duration::from_secs(15), "no alarm within 15 s");
    }
}

fn held(alarms: &[Alarm]) -> Option<i64> {
    alarms.iter().find(|alarm| alarm.kind == AlarmKind::OpenTransaction).map(|alarm| alarm.count)
}

#[tokio::test]
async fn a_transaction_that_is_held_open_is_an_alarm_and_is_ended_and_nothing_of_it_is_told() {
    if is_skipped("a_transaction_that_is_held_open_is_an_alarm_and_is_ended_and_nothing_of_it_is_told") {
        return;
    }
    assert!(FeedAlarms::default().open_transaction_seconds + 1 < 15, "with the second between two looks");
    let world = world(2).await;
    let pool = &world.database.app;
    drain(pool).await;
    set(pool, FeedAlarms { open_transaction_seconds: 1, ..FeedAlarms::default() }).await;
    let doors = doors(pool, november(20)).await;
    let mut watch = Watch::default();
    assert_eq!(held(&watch.turn(&doors.app).await.unwrap()), None);

    // Somebody else's session, of which the service may see little; and one of its own.
    let mut theirs = world.database.owner.begin().await.unwrap();
    sqlx::query("UPDATE lane_lease SET owner = owner").execute(&mut *theirs).await.unwrap();
    let options: PgConnectOptions = world.database.url_app.parse().unwrap();
    let mortal = options.options([("idle_in_transaction_session_timeout", "5s")]);
    let mortal = PgPool::connect_with(mortal).await.unwrap();
    let one = goodwill(0, 0, 777, november(20));
    let mut ours = mortal.begin().await.unwrap();
    makegood::flows::issue_credits::issue_in(&mut ours, std::slice::from_ref(&one)).await.unwrap();
    let took = until(&mut watch, &doors, |alarms| held(alarms) == Some(2)).await;
    assert!(took >= Duration::from_millis(900), "not before its time: {took:?}");
    let listed = doors.get("/v1/billing/alarms", &doors.staff("sefa", Role::Operations)).await.json();
    assert_eq!(listed["data"][0]["kind"], "open_transaction", "{listed}");
    theirs.rollback().await.unwrap();
    // The database ends ours by itself, and then all is well.
    until(&mut watch, &doors, |alarms| held(alarms).is_none()).await;
    assert!(ours.commit().await.is_err(), "it was ended");
    drain(pool).await;
    assert_eq!(count(pool, "SELECT count(*) FROM credit").await, 0);
    assert_eq!(page(pool, None, 10).await.data.len(), 0);
    let listed = doors.get("/v1/billing/alarms", &doors.staff("sefa", Role::Operations)).await.json();
    assert_eq!(listed["data"], json!([]));

    // Every session of the service has that limit.
    let args = DatabaseArgs {
        database_url: Some(world.database.url_app.clone()),
        owner_url: None,
        data_dir: Some(doors.folder.join("data")),
    };
    let opened = database::open(&args).await.unwrap();
    let limit: String =
        sqlx::query_scalar("SHOW idle_in_transaction_session_timeout").fetch_one(&opened.pool).await.unwrap();
    assert_eq!(limit, "30s");
    opened.pool.close().await;
}

#[tokio::test]
async fn what_was_issued_is_accounted_for_by_day_and_currency() {
    if is_skipped("what_was_issued_is_accounted_for_by_day_and_currency") {
        return;
    }
    let world = world(5).await;
    let pool = &world.database.app;
    let doors = doors(pool, november(20)).await;
    let token = doors.machine(Role::Billing, "billing").await;
    let finance = doors.staff("mere", Role::Finance);
    let mut ids = Vec::new();
    for index in 0..4 {
        ids.push(issue(pool, index, 0, 2_500).await);
    }
    drain(pool).await;
    doors.get("/v1/billing/feed", &token).await;
    let items = json!([
        { "credit": ids[0], "answer": "applied", "reference": "INV-1" },
        { "credit": ids[1], "answer": "accepted" },
        { "credit": ids[2], "answer": "refused", "code": "CLOSED" },
    ]);
    assert_eq!(doors.post("/v1/billing/acks", &token, "", &json!({ "items": items })).await.json()["recorded"], 3);
    // One is not pulled, and one has no number.
    issue(pool, 4, 0, 1_000).await;
    drain(pool).await;
    issue(pool, 4, 1, 500).await;
    let report = doors.get("/v1/billing/reconciliation", &finance).await.json();
    let [day] = report["data"].as_array().unwrap().as_slice() else { panic!("{report}") };
    // Midnight in Greenwich is the same day in New Zealand.
    assert_eq!(day["day"], "2026-11-20");
    let figures = [
        "issued",
        "numbered",
        "waiting",
        "delivered",
        "unanswered",
        "accepted",
        "partly_applied",
        "applied",
        "returned",
        "refused",
        "taken_back",
    ];
    assert_eq!(figures.map(|name| day[name].as_i64().unwrap()), [6, 5, 1, 4, 1, 1, 0, 1, 0, 1, 0], "{day}");
    let sums = ["issued_sum", "numbered_sum", "waiting_sum", "delivered_sum", "applied_sum"];
    assert_eq!(sums.map(|name| day[name]["amount"].as_str().unwrap()), ["115.00", "110.00", "5.00", "100.00", "25.00"]);
    assert_eq!(day["agrees"], true);
    let (status, text) = ask(&doors, &finance, "/v1/billing/reconciliation", (header::ACCEPT, "text/csv"), None).await;
    let row = "2026-11-20,NZD,6,115.00,5,110.00,1,5.00,4,100.00,1,1,0,1,0,1,0,25.00,true\r\n";
    assert!(status == 200 && text.ends_with(row), "{text}");
    // A credit that was lost on its way is found.
    sqlx::query("DELETE FROM outbox WHERE op = 'issue'").execute(&world.database.owner).await.unwrap();
    let report = doors.get("/v1/billing/reconciliation?from=2026-11-01&to=2026-11-30", &finance).await.json();
    assert_eq!((&report["data"][0]["waiting"], &report["data"][0]["agrees"]), (&json!(0), &json!(false)));
    let none = doors.get("/v1/billing/reconciliation?to=2026-11-19", &finance).await.json();
    assert_eq!(none["data"], json!([]));
    for wrong in
        ["from=2026-11-02&to=2026-11-01", "from=2020-01-01&to=2026-01-01", "from=yesterday", "to=%2B262142-12-31"]
    {
        let answer = doors.get(&format!("/v1/billing/reconciliation?{wrong}"), &finance).await;
        assert_eq!(answer.status, 422, "{wrong}: {}", answer.body);
    }
}

#[tokio::test]
async fn the_feed_goes_out_as_a_file_and_answers_come_back_as_one() {
    if is_skipped("the_feed_goes_out_as_a_file_and_answers_come_back_as_one") {
        return;
    }
    let world = world(2).await;
    let pool = &world.database.app;
    let doors = doors(pool, november(20)).await;
    let token = doors.machine(Role::Billing, "billing").await;
    let ids = [issue(pool, 0, 0, 2_500).await, issue(pool, 1, 0, 1_250).await];
    drain(pool).await;
    let (status, text) = ask(&doors, &token, "/v1/billing/feed", (header::ACCEPT, "text/csv"), None).await;
    assert_eq!(status, 200, "{text}");
    let lines: Vec<&str> = text.split_inclusive("\r\n").collect();
    assert_eq!(lines.len(), 5, "a header, two items, their total, the trailer: {text}");
    let cells = |line: &str| line.trim_end().split(',').map(str::to_owned).collect::<Vec<_>>();
    let (total, trailer) = (cells(lines[3]), cells(lines[4]));
    assert_eq!((&total[0][..], &total[9][..], &total[19][..]), ("total", "37.50", "2"));
    assert_eq!((&trailer[0][..], &trailer[1][..], &trailer[19][..]), ("trailer", "2", "2"));
    assert_eq!(trailer[21], hex::encode(Sha256::digest(lines[..4].concat())));
    let after = doors.get(&format!("/v1/billing/feed?after={}", trailer[20]), &token).await.json();
    assert_eq!(after["data"], json!([]), "the cursor of the trailer goes on from there");

    let answers = format!(
        "credit,answer,reference,date,net,tax,code,detail\r\n{},applied,INV-1,2026-12-05,21.74,3.26,,\r\n{},refused,,,,,CLOSED,'=HYPERLINK(1)\r\n\
         trailer,2,,,21.74,3.26,,\r\n",
        ids[0], ids[1]
    );
    let csv = (header::CONTENT_TYPE, "text/csv");
    for length in [answers.len() - 1, answers.len() - 20, answers.len() / 2, 40, 0] {
        let (status, said) = ask(&doors, &token, "/v1/billing/acks", csv.clone(), Some(&answers[..length])).await;
        assert_eq!(status, 422, "cut to {length}: {said}");
    }
    assert_eq!(count(pool, "SELECT count(*) FROM billing_answer").await, 0);
    let (status, said) = ask(&doors, &token, "/v1/billing/acks", csv.clone(), Some(&answers)).await;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((status, &said["recorded"]), (200, &json!(2)), "{said}");
    let (_, said) = ask(&doors, &token, "/v1/billing/acks", csv, Some(&answers)).await;
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["already"], 2);
    let detail: String =
        sqlx::query_scalar("SELECT detail FROM billing_answer WHERE kind = 'refused'").fetch_one(pool).await.unwrap();
    assert_eq!(detail, "=HYPERLINK(1)", "read back without loss");
    books_hold(pool).await;
}
