//! Calendars by the service's doors: published in versions, read, as recorded at a time, and refused place by place.

mod support;

#[path = "support/doors.rs"]
mod doors;
#[path = "support/world.rs"]
mod world;

use axum::http::Method;
use doors::{Answered, Doors, doors};
use makegood::domain::actor::Role;
use makegood::domain::calendar::Calendar;
use makegood::domain::time::{HOUR, Instant};
use makegood::flows::publish_calendar::{PublishCalendar, publish_calendar};
use makegood::store::{Error, calendars};
use serde_json::{Value, json};
use sqlx::PgPool;
use support::{TestDatabase, database, is_skipped};
use world::{at, audited, body, books_hold, key, refused, staff};

const NOW: &str = "2026-11-02T00:00:00Z";

async fn desk() -> (TestDatabase, Doors) {
    let database = database().await;
    let doors = doors(&database.app, at(NOW)).await;
    (database, doors)
}

fn calendar() -> Value {
    json!({
        "weekend": ["saturday", "sunday"],
        "holidays": { "2026-10-26": "Labour Day", "2026-12-25": "Christmas Day" },
        "working_hours": [
            { "day": "friday", "from": "08:30", "to": "12:00" },
            { "day": "friday", "from": "12:30", "to": "17:00" },
            { "day": "saturday", "from": "09:00", "to": "12:00" },
        ],
    })
}

/// The calendar with something at `pointer` said otherwise.
fn with(pointer: &str, value: Value) -> Value {
    let mut changed = calendar();
    *changed.pointer_mut(pointer).unwrap() = value;
    changed
}

async fn put(doors: &Doors, name: &str, token: &str, key: &str, body: &Value) -> Answered {
    doors.send(Method::PUT, &format!("/v1/calendars/{name}"), token, key, Some(body)).await
}

async fn versions(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM calendar_version").fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn a_calendar_is_published_in_versions_and_saying_the_same_again_makes_none() {
    if is_skipped("a_calendar_is_published_in_versions_and_saying_the_same_again_makes_none") {
        return;
    }
    let (database, doors) = desk().await;
    let (admin, agent) = (doors.staff("ngaire", Role::Admin), doors.staff("mere", Role::Agent));
    let first = put(&doors, "nz-auckland", &admin, "one", &calendar()).await;
    assert_eq!(first.status, 201, "{}", first.body);
    let shown = first.json();
    assert_eq!((&shown["name"], &shown["version"]), (&json!("nz-auckland"), &json!(1)));
    for part in ["weekend", "holidays", "working_hours"] {
        assert_eq!(shown[part], calendar()[part], "{part}");
    }
    let again = put(&doors, "nz-auckland", &admin, "one", &calendar()).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert!(again.headers.contains_key("idempotent-replayed"));

    // The same in another order, under another key, by somebody else.
    let turned = with("/weekend", json!(["sunday", "saturday"]));
    let same = put(&doors, "nz-auckland", &doors.staff("viliami", Role::Admin), "two", &turned).await;
    assert_eq!((same.status.as_u16(), same.json()), (200, shown.clone()));
    assert_eq!(put(&doors, "nz-auckland", &admin, "one", &turned).await.code().1, "idempotency_key_reused");

    let second = put(&doors, "nz-auckland", &admin, "three", &with("/holidays", json!({}))).await;
    assert_eq!((second.status.as_u16(), &second.json()["version"]), (201, &json!(2)));
    assert_eq!(second.json()["working_hours"], calendar()["working_hours"]);
    let back = put(&doors, "nz-auckland", &admin, "four", &calendar()).await;
    assert_eq!((back.status.as_u16(), &back.json()["version"]), (201, &json!(3)), "what was said before is news again");
    assert_eq!(back.json()["hash"], shown["hash"]);

    let get = async |query: &str| doors.get(&format!("/v1/calendars/{query}"), &agent).await;
    assert_eq!(get("nz-auckland").await.json(), back.json());
    assert_eq!(get("nz-auckland?version=1").await.json(), shown);
    assert_eq!(get("nz-auckland?version=2").await.json(), second.json());
    for unknown in ["nz-auckland?version=4", "nz-auckland?version=0", "nz-auckland?version=-1", "nz-otago", "%00", "NZ"]
    {
        assert_eq!(get(unknown).await.code(), (404, "not_found".to_owned()), "{unknown}");
    }
    assert_eq!(get("nz-auckland?version=two").await.code(), (422, "invalid_request".to_owned()));
    assert_eq!((versions(&database.app).await, audited(&database.app, "calendar.publish").await), (3, 3));
    books_hold(&database.app).await;
}

#[tokio::test]
async fn calendars_are_listed_by_name_page_by_page_each_with_its_newest_version() {
    if is_skipped("calendars_are_listed_by_name_page_by_page_each_with_its_newest_version") {
        return;
    }
    let (_database, doors) = desk().await;
    let (admin, auditor) = (doors.staff("ngaire", Role::Admin), doors.staff("ana", Role::Auditor));
    for name in ["nz-otago", "au-nsw", "nz-auckland"] {
        put(&doors, name, &admin, name, &calendar()).await;
    }
    put(&doors, "au-nsw", &admin, "changed", &with("/weekend", json!([]))).await;
    let list = async |query: &str| doors.get(&format!("/v1/calendars{query}"), &auditor).await;
    let named = |page: &Value| -> Vec<(String, i64)> {
        let data = page["data"].as_array().unwrap().iter();
        data.map(|one| (one["name"].as_str().unwrap().to_owned(), one["version"].as_i64().unwrap())).collect()
    };
    let all = list("").await.json();
    let expected =
        [("au-nsw", 2), ("nz-auckland", 1), ("nz-otago", 1)].map(|(name, version)| (name.to_owned(), version));
    assert_eq!(named(&all), expected);
    assert_eq!((&all["has_more"], &all["next"]), (&json!(false), &Value::Null));
    assert_eq!(all["data"][0]["hash"], doors.get("/v1/calendars/au-nsw", &auditor).await.json()["hash"]);
    let first = list("?limit=2").await.json();
    assert_eq!((named(&first), &first["next"]), (expected[..2].to_vec(), &json!("nz-auckland")));
    let rest = list("?limit=2&after=nz-auckland").await.json();
    assert_eq!((named(&rest), &rest["next"]), (expected[2..].to_vec(), &Value::Null));
    for wrong in ["?limit=0", "?limit=501", "?after=%00", "?before=nz"] {
        assert_eq!(list(wrong).await.status, 422, "{wrong}");
    }
}

#[tokio::test]
async fn what_was_recorded_at_a_time_is_what_was_said_by_then() {
    if is_skipped("what_was_recorded_at_a_time_is_what_was_said_by_then") {
        return;
    }
    let database = database().await;
    let (pool, admin) = (&database.app, staff("ngaire", Role::Admin));
    let publish = async |name: &str, said: Value, now: &str| -> (Instant, i64) {
        let key = key(&format!("{name} {now}"));
        let request: PublishCalendar = serde_json::from_value(said).unwrap();
        let answer = body(&publish_calendar(pool, at(now), &admin, &key, name, request).await.unwrap());
        (at(answer["recorded_at"].as_str().unwrap()), answer["version"].as_i64().unwrap())
    };
    let (first, _) = publish("nz-auckland", calendar(), NOW).await;
    let (other, _) = publish("au-nsw", with("/holidays", json!({})), "2026-11-03T00:00:00Z").await;
    // By a clock that stands: recorded a moment later all the same.
    let (second, version) = publish("nz-auckland", with("/holidays", json!({})), "2026-11-03T00:00:00Z").await;
    assert!(first < other && other < second && version == 2);

    let mut conn = pool.acquire().await.unwrap();
    let mut recorded = async |time: Instant| calendars::as_recorded(&mut conn, time).await.unwrap();
    assert!(recorded(first.plus(-1)).await.is_empty());
    let then = recorded(first).await;
    assert_eq!(then.keys().collect::<Vec<_>>(), ["nz-auckland"]);
    assert_eq!(recorded(other.plus(-1)).await, then);
    let between = recorded(second.plus(-1)).await;
    assert_eq!((between.len(), &between["nz-auckland"]), (2, &then["nz-auckland"]));
    let now = recorded(Instant::MAX).await;
    assert_eq!((now["nz-auckland"].version, now["nz-auckland"].holidays.len(), now["au-nsw"].version), (2, 0, 1));

    // A deadline that began on Friday before Christmas 2026, which is a Friday too.
    let due = |calendar: &Calendar| {
        let filed = at("2026-12-18T16:00:00+13:00");
        calendar.after_working_time("Pacific/Auckland".parse().unwrap(), filed, 5 * HOUR)
    };
    assert_eq!(due(&then["nz-auckland"]), Some(at("2026-12-26T10:00:00+13:00")), "Christmas Day does not count");
    assert_eq!(due(&now["nz-auckland"]), Some(at("2026-12-25T09:30:00+13:00")));
}

#[tokio::test]
async fn a_calendar_is_refused_place_by_place_and_nothing_is_kept() {
    if is_skipped("a_calendar_is_refused_place_by_place_and_nothing_is_kept") {
        return;
    }
    let (database, doors) = desk().await;
    let admin = doors.staff("ngaire", Role::Admin);
    let hours = |day: &str, from: &str, to: &str| json!([{ "day": day, "from": from, "to": to }]);
    let cases = [
        (with("/holidays", json!({ "2026-02-30": "Never" })), vec!["/holidays/2026-02-30"]),
        (with("/holidays", json!({ "25/12/2026": "Christmas Day" })), vec!["/holidays/25~112~12026"]),
        (with("/holidays", json!({ "2026-12-25": "" })), vec!["/holidays/2026-12-25"]),
        (with("/weekend/1", json!("domingo")), vec!["/weekend/1"]),
        (with("/weekend/1", json!("saturday")), vec!["/weekend/1"]),
        (with("/working_hours", hours("funday", "08:30", "17:00")), vec!["/working_hours/0/day"]),
        (
            with("/working_hours", hours("monday", "8:30", "25:00")),
            vec!["/working_hours/0/from", "/working_hours/0/to"],
        ),
        (with("/working_hours", hours("monday", "17:00", "08:30")), vec!["/working_hours/0/to"]),
        (with("/working_hours/1/from", json!("11:59")), vec!["/working_hours/1"]),
        // Everything at once, in the order of the document. The day that comes twice is not counted in a list that is not
        // whole.
        (
            json!({
                "weekend": ["funday", "sunday", "sunday"],
                "holidays": { "2026-12-25": "\u{7}", "tomorrow": "a" },
                "working_hours": [{ "day": "monday", "from": "17:00", "to": "08:30" }],
            }),
            vec!["/weekend/0", "/holidays/tomorrow", "/holidays/2026-12-25", "/working_hours/0/to"],
        ),
        // What is no calendar at all.
        (json!({ "weekend": [], "holidays": {}, "zone": "Pacific/Auckland" }), vec![""]),
        (json!({ "weekend": [] }), vec![""]),
        (json!({ "weekend": [], "holidays": [] }), vec![""]),
        (json!({ "weekend": [1], "holidays": {} }), vec![""]),
    ];
    for (index, (said, pointers)) in cases.iter().enumerate() {
        let answer = put(&doors, "nz-auckland", &admin, &format!("wrong-{index}"), said).await;
        assert_eq!(answer.code(), (422, "invalid_request".to_owned()), "{said}");
        let problem = answer.json();
        let errors = problem["errors"].as_array().unwrap().iter();
        let found: Vec<&str> = errors.map(|error| error["pointer"].as_str().unwrap()).collect();
        assert_eq!(&found, pointers, "{said}: {}", answer.body);
    }
    let two = put(&doors, "nz-auckland", &admin, "two", &cases[6].0).await.json();
    assert!(two["detail"].as_str().unwrap().ends_with("(and 1 more)"), "{two}");
    for name in ["NZ", "nz%20auckland", "%00", &"a".repeat(101)] {
        let answer = put(&doors, name, &admin, "name", &calendar()).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["errors"][0]["pointer"]), (422, &json!("/name")), "{name}");
    }
    // A day that stands there twice is told, although a map would show one.
    let twice = r#"{"weekend":[],"holidays":{"2026-12-25":"a","2026-12-25":"b"}}"#;
    let admin = staff("ngaire", Role::Admin);
    let request = serde_json::from_str(twice).unwrap();
    let Err(Error::Refused(refusal)) =
        publish_calendar(&database.app, at(NOW), &admin, &key("twice"), "nz-auckland", request).await
    else {
        panic!("it was taken")
    };
    assert_eq!((refusal.errors.len(), refusal.errors[0].pointer.as_str()), (1, "/holidays/2026-12-25"));
    assert_eq!(versions(&database.app).await, 0);
}

#[tokio::test]
async fn five_thousand_holidays_are_taken_and_an_answer_stays_short() {
    if is_skipped("five_thousand_holidays_are_taken_and_an_answer_stays_short") {
        return;
    }
    let (database, doors) = desk().await;
    let admin = doors.staff("ngaire", Role::Admin);
    let first: chrono::NaiveDate = "2026-01-01".parse().unwrap();
    let days = |count: usize, name: &str| -> Value {
        let holidays: serde_json::Map<String, Value> =
            first.iter_days().take(count).map(|day| (day.to_string(), json!(name))).collect();
        json!({ "weekend": [], "holidays": holidays })
    };
    let taken = put(&doors, "many", &admin, "many", &days(5_000, "A day of rest with a long name")).await;
    assert_eq!((taken.status.as_u16(), taken.json()["version"].as_i64()), (201, Some(1)));
    let over = put(&doors, "many", &admin, "over", &days(5_001, "Rest")).await;
    assert_eq!((over.status.as_u16(), &over.json()["errors"][0]["pointer"]), (422, &json!("/holidays")));
    let unnamed = put(&doors, "many", &admin, "unnamed", &days(5_000, "")).await.json();
    assert_eq!(unnamed["errors"].as_array().unwrap().len(), 100);
    assert!(unnamed["detail"].as_str().unwrap().ends_with("(and 4999 more)"), "{}", unnamed["detail"]);
    let huge = put(&doors, "many", &admin, "huge", &days(5_000, &"a".repeat(200))).await;
    assert_eq!(huge.code(), (413, "payload_too_large".to_owned()));
    assert_eq!(versions(&database.app).await, 1);
}

#[tokio::test]
async fn only_administrators_publish_and_whoever_tried_stands_in_the_audit_trail() {
    if is_skipped("only_administrators_publish_and_whoever_tried_stands_in_the_audit_trail") {
        return;
    }
    let (database, doors) = desk().await;
    let staff = [Role::Operations, Role::Agent, Role::Supervisor, Role::Finance, Role::Auditor];
    for role in staff {
        let token = doors.staff(role.name(), role);
        let answer = put(&doors, "nz-auckland", &token, "try", &calendar()).await;
        assert_eq!(answer.code(), (403, "forbidden".to_owned()), "{role}");
        assert_eq!(doors.get("/v1/calendars", &token).await.status, 200, "{role}");
        assert_eq!(doors.get("/v1/calendars/nz-auckland", &token).await.code().1, "not_found", "{role}");
    }
    let others = [doors.customer("hana", &["7000000"]), doors.machine(Role::Billing, "billing").await];
    for token in &others {
        assert_eq!(put(&doors, "%00", token, "try", &calendar()).await.status, 403);
        assert_eq!(doors.get("/v1/calendars", token).await.status, 403);
        assert_eq!(doors.get("/v1/calendars/nz-auckland", token).await.status, 403);
    }
    let tried: Vec<(String, String)> =
        sqlx::query_as("SELECT actor, subject FROM audit WHERE action = 'calendar.publish.refused' ORDER BY audit_id")
            .fetch_all(&database.app)
            .await
            .unwrap();
    let mut expected: Vec<(String, String)> =
        staff.iter().map(|role| (format!("staff|{role}"), "nz-auckland".to_owned())).collect();
    expected.push(("customers|hana".to_owned(), "calendar".to_owned()));
    expected.push(("makegood|billing:billing".to_owned(), "calendar".to_owned()));
    assert_eq!(tried, expected);
    assert_eq!(versions(&database.app).await, 0);
    books_hold(&database.app).await;
}

#[tokio::test]
async fn two_who_publish_at_once_make_two_versions() {
    if is_skipped("two_who_publish_at_once_make_two_versions") {
        return;
    }
    let (database, doors) = desk().await;
    let (one, other) = (doors.staff("ngaire", Role::Admin), doors.staff("viliami", Role::Admin));
    let (said, changed) = (calendar(), with("/holidays", json!({})));
    let (first, second) = tokio::join!(
        put(&doors, "nz-auckland", &one, "one", &said),
        put(&doors, "nz-auckland", &other, "two", &changed),
    );
    let mut made = [first.json()["version"].as_i64(), second.json()["version"].as_i64()];
    made.sort_unstable();
    assert_eq!((first.status.as_u16(), second.status.as_u16(), made), (201, 201, [Some(1), Some(2)]));
    assert_eq!(versions(&database.app).await, 2);
}

#[tokio::test]
async fn a_calendar_that_was_changed_behind_our_back_is_not_read() {
    if is_skipped("a_calendar_that_was_changed_behind_our_back_is_not_read") {
        return;
    }
    let (database, doors) = desk().await;
    let admin = doors.staff("ngaire", Role::Admin);
    put(&doors, "nz-auckland", &admin, "one", &calendar()).await;
    sqlx::query("UPDATE calendar_version SET body = jsonb_set(body, '{holidays}', '{}')")
        .execute(&database.owner)
        .await
        .unwrap();
    assert_eq!(doors.get("/v1/calendars/nz-auckland", &admin).await.code(), (500, "internal".to_owned()));
    let mut conn = database.app.acquire().await.unwrap();
    assert_eq!(refused(calendars::as_recorded(&mut conn, Instant::MAX).await), "internal");
}
