//! The pages, as a browser without JavaScript meets them: forms, redirects and one cookie.

use std::time::Duration;

use reqwest::{StatusCode, header};
use support::browser::*;
use support::demo::Demo;

mod support;

/// The fields of a claim, with the hidden ones of the page.
fn claim<'a>(form: &'a str, text: &'a str) -> Vec<(&'static str, &'a str)> {
    let action = "/claims/new";
    vec![
        ("csrf", hidden(form, action, "csrf")),
        ("key", hidden(form, action, "key")),
        ("incident", hidden(form, action, "incident")),
        ("ground", "cost_more"),
        ("words", text),
        ("amount", "480.00"),
        ("contact", "email"),
    ]
}

const FORM: &str = "/claims/new?month=2026-10&incident=INC-2026-031";
const TEXT: &str = "Two orders came by mail and lapsed before we read them.\r\n<img src=x onerror=\"alert(1)\">";

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_goes_from_the_customer_over_an_agents_limit_to_a_supervisor_and_back() {
    if support::is_skipped("pages") {
        return;
    }
    let demo = tokio::task::spawn_blocking(Demo::start).await.unwrap();

    let mut piripi = Browser::of(&demo.url, "piripi").await;
    let home = piripi.get("/months").await;
    assert_eq!((home.status, home.location.as_str()), (StatusCode::SEE_OTHER, "/months/2026-10"));
    let month = piripi.page("/months/2026-10").await;
    for text in [
        "We owe you $12.50 Including GST. It comes off your November bill. You do not need to do anything.",
        "We are sorry. On 13 and 14 October, your 4 mailboxes could not receive mail for 22 hours and 15 minutes.",
        "97.009%: 1,335 minutes down",
        "4 mailboxes × $12.50 × 25% = $12.50",
        "Planned maintenance 13 Oct, 5:10 am 13 Oct, 6:10 am 60 0 We told you on 11 October, 2 days before",
        "Mail slow to arrive 14 Oct, 3:40 am 14 Oct, 4:25 am 45 15 30 minutes overlap the line above and count once",
        "Total 1,465 1,335",
    ] {
        says(&month, text);
    }

    let form = piripi.page(FORM).await;
    says(&form, "Could not receive mail, from 6:10 am on 13 October to 4:10 am on 14 October");
    let keys = [("csrf", hidden(&form, "/claims/new", "csrf")), ("key", hidden(&form, "/claims/new", "key"))];
    let empty = piripi.post("/claims/new?month=2026-10", &keys).await;
    assert_eq!(empty.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(empty.body.contains("<title>Error: Ask us to look again"));
    says(&empty.body, "There is a problem Choose what is wrong Tell us what the outage stopped you doing");
    let sent = piripi.post("/claims/new?month=2026-10", &claim(&form, TEXT)).await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER, "{}", sent.body);
    let path = sent.location.strip_suffix("?sent=1").unwrap().to_owned();
    let reference = path.strip_prefix("/claims/").unwrap();
    says(&piripi.page(&sent.location).await, &format!("Claim sent. Your reference is {reference}."));

    let mut mere = Browser::of(&demo.url, "mere").await;
    says(&mere.page("/staff/claims").await, reference);
    let case_path = format!("/staff/claims/{reference}");
    let case = mere.page(&case_path).await;
    assert!(!case.contains("<img"), "what a customer writes is text");
    let decide = format!("{case_path}/decide");
    let decision = |verb: &'static str, page: &str| {
        [
            ("csrf", hidden(page, &decide, "csrf").to_owned()),
            ("key", hidden(page, &decide, "key").to_owned()),
            ("version", hidden(page, &decide, "version").to_owned()),
            ("choice", "part".to_owned()),
            ("amount", "240.00".to_owned()),
            ("reason", "evidence_part".to_owned()),
            ("words", "You showed us one of the two orders.".to_owned()),
            ("do", verb.to_owned()),
        ]
    };
    let tried = decision("decide", &case);
    let tried: Vec<(&str, &str)> = tried.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let over = mere.post(&decide, &tried).await;
    assert_eq!(over.status, StatusCode::UNPROCESSABLE_ENTITY);
    says(&over.body, "$240.00 is over your limit of $200.00. It goes to a supervisor.");
    says(&piripi.page(&path).await, "We have your claim");
    let recommended = decision("recommend", &over.body);
    let recommended: Vec<(&str, &str)> = recommended.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(mere.post(&decide, &recommended).await.status, StatusCode::SEE_OTHER);
    let waiting = piripi.page(&path).await;
    says(&waiting, "A second person is checking it");
    assert!(!words(&waiting).contains("240.00"), "what is proposed is not told before it is decided");

    // Somebody else had the page open from before: what they typed is not lost, and nothing is decided.
    let mut aroha = Browser::of(&demo.url, "aroha").await;
    let own = aroha.page("/staff/approvals").await;
    let csrf = hidden(&own, "/sign-out", "csrf").to_owned();
    let late = [
        ("csrf", csrf.as_str()),
        ("key", "a-late-decision"),
        ("version", "1"),
        ("choice", "nothing"),
        ("reason", "not_affected"),
        ("words", "Your mailboxes were on a mail system that kept working all day."),
    ];
    let conflict = aroha.post(&decide, &late).await;
    assert_eq!(conflict.status, StatusCode::CONFLICT);
    says(&conflict.body, "Mere sent this to a supervisor at");
    says(&conflict.body, "Your mailboxes were on a mail system that kept working all day.");

    let mut wiremu = Browser::of(&demo.url, "wiremu").await;
    says(&wiremu.page("/staff/approvals").await, reference);
    let case = wiremu.page(&case_path).await;
    let agree = format!("{case_path}/agree");
    let button = [
        ("csrf", hidden(&case, &agree, "csrf")),
        ("key", hidden(&case, &agree, "key")),
        ("version", hidden(&case, &agree, "version")),
    ];
    assert_eq!(wiremu.post(&agree, &button).await.status, StatusCode::SEE_OTHER);
    // What can still be undone is not told; ten minutes later it cannot.
    says(&piripi.page(&path).await, "A second person is checking it");
    let page = wiremu.page(&case_path).await;
    let later = wiremu.post("/story/later", &[("csrf", hidden(&page, "/story/later", "csrf"))]).await;
    assert_eq!(later.status, StatusCode::SEE_OTHER);
    let answer = until(&mut piripi, &path, "We are giving you another $240.00").await;
    says(&answer, "Total credit for this outage $252.50");
    says(&answer, "Wiremu agreed.");
    says(&piripi.page("/credits").await, &format!("Your claim {reference}"));
}

/// Asks for a page until it says so: the hold runs out, and a job writes the credit.
async fn until(browser: &mut Browser, path: &str, text: &str) -> String {
    let asked = async {
        loop {
            let page = browser.page(path).await;
            if words(&page).contains(text) {
                return page;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asked).await.unwrap_or_else(|_| panic!("{path} never says {text:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ones_own_is_not_there_and_what_is_sent_twice_is_done_once() {
    if support::is_skipped("pages") {
        return;
    }
    let demo = tokio::task::spawn_blocking(Demo::start).await.unwrap();
    a_stranger_is_sent_to_the_way_in(&demo).await;
    somebody_elses_claim_looks_like_none(&demo).await;
    forms_from_elsewhere_are_refused(&demo).await;
    a_double_click_makes_one_claim(&demo).await;
    a_decision_is_undone(&demo).await;
    files_are_complete(&demo).await;
}

async fn a_stranger_is_sent_to_the_way_in(demo: &Demo) {
    let mut stranger = Browser::new(&demo.url);
    for path in ["/", "/months/2026-10", "/claims/MG-2026-004187", "/staff/claims", "/credits"] {
        let answer = stranger.get(path).await;
        assert_eq!((answer.status, answer.location.as_str()), (StatusCode::SEE_OTHER, "/sign-in"), "{path}");
    }
    // Under another name of this machine's address there is no such page: another site's name may lead here.
    let request = stranger.client.get(format!("{}/sign-in", demo.url)).header(header::HOST, "evil.example");
    assert_eq!(stranger.send(request).await.status, StatusCode::NOT_FOUND);
    let forged = stranger.post_from("/sign-in", &[("person", "hana")], "https://evil.example").await;
    assert_eq!((forged.status, stranger.cookie.is_none()), (StatusCode::FORBIDDEN, true));
    // What programs ask for stays a document for programs.
    let request = stranger.client.get(format!("{}/v1/nothing", demo.url));
    let answer = stranger.send(request).await;
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/problem+json");
    // Each sign-in is a new session, and the one before it has ended.
    let mut hana = Browser::of(&demo.url, "hana").await;
    let before = hana.cookie.clone();
    hana.post("/sign-in", &[("person", "hana")]).await;
    assert_ne!(hana.cookie, before);
    hana.cookie = before;
    assert_eq!(hana.get("/credits").await.location, "/sign-in");
}

async fn somebody_elses_claim_looks_like_none(demo: &Demo) {
    let mut piripi = Browser::of(&demo.url, "piripi").await;
    let theirs = piripi.get("/claims/MG-2026-004187").await;
    let none = piripi.get("/claims/MG-2026-999999").await;
    assert_eq!((theirs.status, none.status), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND));
    let without_id = |answer: &Answer| answer.body.replace(answer.headers["x-request-id"].to_str().unwrap(), "ID");
    assert_eq!(without_id(&theirs), without_id(&none));
    assert_eq!(piripi.get("/months/2026-10?account=20418876").await.status, StatusCode::NOT_FOUND);
    assert_eq!(piripi.get("/months/2027-01").await.status, StatusCode::NOT_FOUND);
    let staff = piripi.get("/staff/claims/MG-2026-004187").await;
    assert_eq!(staff.status, StatusCode::FORBIDDEN);
    says(&staff.body, "You do not have access to this page");
    let mut mere = Browser::of(&demo.url, "mere").await;
    says(&mere.get("/staff/approvals").await.body, "Your role is agent. Ask a supervisor.");
    for (header, value) in [
        ("content-security-policy", makegood::http::pages::CONTENT_SECURITY_POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(theirs.headers[header], value);
    }
}

async fn forms_from_elsewhere_are_refused(demo: &Demo) {
    let mut piripi = Browser::of(&demo.url, "piripi").await;
    let form = piripi.page(FORM).await;
    let good = claim(&form, TEXT);
    let origin = demo.url.clone();
    for (token, from) in
        [("", origin.as_str()), ("x", &origin), (good[0].1, "https://evil.example"), (good[0].1, "null")]
    {
        let mut fields = good.clone();
        fields[0].1 = token;
        let refused = piripi.post_from("/claims/new", &fields, from).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{token} from {from}");
        says(&refused.body, "The form is not from a page of this session.");
    }
    let claims = piripi.page("/claims").await;
    assert!(!claims.contains("MG-"), "nothing was filed: {claims}");
}

async fn a_double_click_makes_one_claim(demo: &Demo) {
    let mut piripi = Browser::of(&demo.url, "piripi").await;
    let form = piripi.page(FORM).await;
    let fields = claim(&form, TEXT);
    let mut twin = Browser { client: piripi.client.clone(), url: piripi.url.clone(), cookie: piripi.cookie.clone() };
    let (one, two) = tokio::join!(piripi.post("/claims/new", &fields), twin.post("/claims/new", &fields));
    let again = piripi.post("/claims/new", &fields).await;
    for answer in [&one, &two] {
        assert_eq!((answer.status, &answer.location), (StatusCode::SEE_OTHER, &again.location), "{}", answer.body);
    }
    assert_eq!(again.status, StatusCode::SEE_OTHER);
    // Another form about the same outage leads to the claim that is there.
    let open = piripi.get(FORM).await;
    assert_eq!(open.status, StatusCode::SEE_OTHER);
    assert!(again.location.starts_with(&open.location), "{} and {}", again.location, open.location);
    let key = uuid::Uuid::now_v7().to_string();
    let mut second = fields.clone();
    second[1].1 = &key;
    assert_eq!(piripi.post("/claims/new", &second).await.location, open.location);
    assert_eq!(piripi.page("/claims").await.matches("<a class=\"ref\"").count(), 1);
}

async fn a_decision_is_undone(demo: &Demo) {
    let mut piripi = Browser::of(&demo.url, "piripi").await;
    let path = piripi.get(FORM).await.location;
    let case_path = format!("/staff{path}");
    let mut mere = Browser::of(&demo.url, "mere").await;
    let case = mere.page(&case_path).await;
    let decide = format!("{case_path}/decide");
    let fields = [
        ("csrf", hidden(&case, &decide, "csrf")),
        ("key", hidden(&case, &decide, "key")),
        ("version", hidden(&case, &decide, "version")),
        ("choice", "part"),
        ("amount", "200.00"),
        ("reason", "evidence_part"),
        ("words", "You showed us one of the two orders."),
        ("do", "decide"),
    ];
    let decided = mere.post(&decide, &fields).await;
    assert_eq!(decided.status, StatusCode::SEE_OTHER, "exactly the limit is decided: {}", decided.body);
    let case = mere.page(&case_path).await;
    says(&case, "Decided. It goes to the customer and the books at");
    let customers = piripi.page(&path).await;
    assert!(!words(&customers).contains("200.00"), "what can still be undone is not told");
    let undo = format!("{case_path}/undo");
    let button = [
        ("csrf", hidden(&case, &undo, "csrf")),
        ("key", hidden(&case, &undo, "key")),
        ("version", hidden(&case, &undo, "version")),
    ];
    assert_eq!(mere.post(&undo, &button).await.status, StatusCode::SEE_OTHER);
    says(&mere.page(&case_path).await, "Your limit is $200.00.");
}

async fn files_are_complete(demo: &Demo) {
    let mut hana = Browser::of(&demo.url, "hana").await;
    let csv = hana.page("/months/2026-10.csv").await;
    // Four records for each of eight mailboxes, and none for the four that had none.
    assert_eq!(csv.lines().count(), 1 + 4 * 8, "{csv}");
    let counted: i64 = csv
        .lines()
        .filter(|line| line.contains(",20418876-01,"))
        .map(|line| line.split(',').nth(7).unwrap().parse::<i64>().unwrap())
        .sum();
    assert_eq!(counted, 1_335 * 60);
    let receipt = hana.page("/months/2026-10/receipt.json").await;
    makegood::domain::receipt::Receipt::verify(&receipt).unwrap();
    let mut tomas = Browser::of(&demo.url, "tomas").await;
    let month = tomas.page("/months/2026-10").await;
    says(&month, "We owe you Nothing No credit is due under your plan. Your 3 mailboxes met our promise of 99.9%.");
    says(&month, "It affected mail systems 7 and 8");
    says(&month, "Your 3 mailboxes are on mail system 11, which kept working.");
    assert!(!words(&month).to_lowercase().contains("sorry"));
    says(&tomas.page("/months/2026-11").await, "So far this month");
}
