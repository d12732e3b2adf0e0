//! Every page, rendered from the worked example, and what each must say and must not say.

use std::path::PathBuf;

use askama::Template;

use super::bills::CreditStanding;
use super::fmt::{self, Reader};
use super::plot::{DayBars, LaneSpec, Lanes, SpanState};
use super::view::*;
use crate::domain::claim::State;
use crate::domain::period::{Month, Zone};
use crate::domain::time::{Instant, Interval, IntervalSet, MINUTE};

const FOOTER: &str = "Times are New Zealand time (NZDT). Amounts include GST.";

fn auckland() -> Zone {
    "Pacific/Auckland".parse().unwrap()
}

fn october() -> Month {
    "2026-10".parse().unwrap()
}

/// A local time of October 2026, `(day, hour, minute)`: clocks are 13 hours ahead of UTC all month.
fn october_at(day: u32, hour: u32, minute: u32) -> Instant {
    Instant::parse(&format!("2026-10-{day:02}T{hour:02}:{minute:02}:00+13:00")).unwrap()
}

fn october_time(from: (u32, u32, u32), to: (u32, u32, u32)) -> Interval {
    Interval::new(october_at(from.0, from.1, from.2), october_at(to.0, to.1, to.2)).unwrap()
}

fn outage() -> Interval {
    october_time((13, 6, 10), (14, 4, 10))
}

fn slow() -> Interval {
    october_time((14, 3, 40), (14, 4, 25))
}

fn announced() -> Interval {
    october_time((13, 5, 10), (13, 6, 10))
}

fn maintenance() -> Interval {
    october_time((20, 2, 0), (20, 2, 40))
}

fn customer_shell(title: &str, current: &str) -> Shell {
    let nav = [("What happened", "/months/2026-10"), ("Claims", "/claims"), ("Credits", "/credits")];
    Shell::bare("Aoraki Mail", title, FOOTER.to_owned())
        .nav(&nav, current)
        .signed_in(Person {
            name: "Harbour Freight Brokers Ltd".to_owned(),
            role: String::new(),
            csrf: "csrf-token".to_owned(),
        })
        .story("Tue 24 Nov 2026, 2:04 am".to_owned())
        .printed_on("24 November 2026".to_owned())
}

fn staff_shell(title: &str, current: &str, name: &str, role: &str) -> Shell {
    Shell::bare("Aoraki Mail", title, FOOTER.to_owned())
        .nav(&[("Claims", "/staff/claims"), ("Approvals (2)", "/staff/approvals")], current)
        .signed_in(Person { name: name.to_owned(), role: role.to_owned(), csrf: "csrf-token".to_owned() })
        .story("Mon 23 Nov 2026, 16:40".to_owned())
        .wide()
}

fn keys() -> FormKeys {
    FormKeys { csrf: "csrf-token".to_owned(), key: "0b1f6f9e-6d0e-4a53-9f0e-6f2f4f1f0a11".to_owned() }
}

fn action(path: &str, button: &str) -> ActionForm {
    ActionForm { action: path.to_owned(), keys: keys(), version: "3".to_owned(), button: button.to_owned() }
}

fn strings(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

fn account() -> String {
    "Harbour Freight Brokers Ltd, account 20418876".to_owned()
}

fn bars(down: &[Interval], excluded: &[Interval]) -> DayBars {
    let set = |parts: &[Interval]| parts.iter().copied().collect::<IntervalSet>();
    DayBars::of_month(october(), auckland(), &set(down), &set(excluded), Instant::MAX)
}

fn lanes(reader: Reader) -> Vec<Lanes> {
    let stretch = outage();
    let specs = [
        LaneSpec {
            label: "8 mailboxes on mail system 7".to_owned(),
            summary: "Down 22 h 15 min".to_owned(),
            spans: vec![(announced(), SpanState::NotCounted), (outage(), SpanState::Down), (slow(), SpanState::Slow)],
        },
        LaneSpec {
            label: "4 mailboxes on mail system 11".to_owned(),
            summary: "No downtime".to_owned(),
            spans: Vec::new(),
        },
    ];
    let window = Lanes::windows(&[announced(), outage(), slow()], auckland())[0];
    let heading = Lanes::heading_of(stretch, auckland());
    vec![Lanes::new("outage", &heading, window, (auckland(), "New Zealand time"), reader, &specs)]
}

fn record(what: &str, interval: Interval, minutes: &str, counted: &str, why: &str) -> RecordRow {
    RecordRow {
        what: what.to_owned(),
        from: fmt::moment(interval.start(), auckland(), Reader::Customer),
        to: fmt::moment(interval.end(), auckland(), Reader::Customer),
        minutes: minutes.to_owned(),
        counted: counted.to_owned(),
        why: why.to_owned(),
    }
}

fn records() -> Vec<RecordTable> {
    vec![RecordTable {
        caption: "Outage records for your 8 mailboxes on mail system 7".to_owned(),
        rows: vec![
            record("Planned maintenance", announced(), "60", "0", "We told you on 11 October, 2 days before"),
            record(
                "Could not receive mail",
                outage(),
                "1,320",
                "1,320",
                "Full outage, after the planned time had ended",
            ),
            record("Mail slow to arrive", slow(), "45", "15", "30 minutes overlap the line above and count once"),
            record("Planned maintenance", maintenance(), "40", "0", "We told you on 11 October, 9 days before"),
        ],
        total_minutes: "1,465".to_owned(),
        total_counted: "1,335".to_owned(),
    }]
}

fn month_page() -> MonthPage {
    MonthPage {
        shell: customer_shell("What happened to your mail in October 2026", "/months/2026-10"),
        account: account(),
        month: "October 2026".to_owned(),
        previous: Some(Link::new("September 2026", "/months/2026-09")),
        next: Some(Link::new("November 2026", "/months/2026-11")),
        down_now: None,
        answer: Answer::Owed {
            amount: "$25.00".to_owned(),
            note: "Including GST. It comes off your November bill. You do not need to do anything.".to_owned(),
            standing: Some(CreditStanding::ConfirmedByBilling),
        },
        sorry_for: Some(
            "On 13 and 14 October, 8 of your 12 mailboxes could not receive mail for 22 hours and 15 minutes.".to_owned(),
        ),
        correction: None,
        bars: bars(&[outage(), slow()], &[announced(), maintenance()]),
        promises: vec![FactSection {
            heading: "Against what we promised".to_owned(),
            facts: vec![
                Fact::new("We promised", "99.9% in a calendar month: no more than 44 minutes down for each mailbox"),
                Fact::new("You got", "97.009%: 1,335 minutes down"),
                Fact::new("So we credit", "25% of the month for each mailbox affected (below 99.0% and not below 95.0%)"),
                Fact::new("Sum", "8 mailboxes × $12.50 × 25% =").strong("$25.00"),
            ],
        }],
        lanes: lanes(Reader::Customer),
        records: records(),
        ask: Some(Ask {
            heading: "Is this not enough, or not right?".to_owned(),
            text: "If the outage cost your business more than this, or our record is wrong, ask us to look again. It takes about 3 minutes. You will keep the $25.00 whatever we decide.".to_owned(),
            button: Link::new("Ask us to look again", "/claims/new?month=2026-10"),
        }),
        links: vec![Link::new("October in CSV", "/months/2026-10.csv"), Link::new("The sum as a file", "/months/2026-10/receipt")],
    }
}

fn nothing_page() -> MonthPage {
    MonthPage {
        answer: Answer::Nothing {
            note: "No credit is due under your plan. Your 4 mailboxes met our promise of 99.9%.".to_owned(),
            rights: Some("You may have other rights under the Consumer Guarantees Act.".to_owned()),
        },
        sorry_for: None,
        bars: bars(&[], &[maintenance()]),
        promises: vec![FactSection {
            heading: "Why nothing".to_owned(),
            facts: vec![
                Fact::new("Counted downtime", "0 minutes. A credit starts above 44 minutes in the month."),
                Fact::new("Not counted", "40 minutes of planned maintenance on 20 October. We told you on 11 October."),
                Fact::new(
                    "The outage of 13 October",
                    "It affected mail systems 7 and 8. Your 4 mailboxes are on mail system 11, which kept working. Our monitoring recorded no outage on it.",
                ),
            ],
        }],
        lanes: Vec::new(),
        records: Vec::new(),
        ask: Some(Ask {
            heading: "Did you lose mail anyway?".to_owned(),
            text: "Our record can be wrong. Tell us when mail stopped and which mailbox, and a person will check it."
                .to_owned(),
            button: Link::new("Tell us our record is wrong", "/claims/new?month=2026-10"),
        }),
        ..month_page()
    }
}

fn so_far_page() -> MonthPage {
    let month: Month = "2026-11".parse().unwrap();
    let now = Instant::parse("2026-11-23T13:04:00Z").unwrap();
    let empty = IntervalSet::empty();
    MonthPage {
        shell: customer_shell("What happened to your mail in November 2026", "/months/2026-10"),
        month: "November 2026".to_owned(),
        previous: Some(Link::new("October 2026", "/months/2026-10")),
        next: None,
        down_now: Some("Mail is down now for 8 of your mailboxes, since 1:10 am.".to_owned()),
        answer: Answer::SoFar {
            down: "No counted downtime".to_owned(),
            note: "The month is not over. We work out credits on 4 December.".to_owned(),
        },
        sorry_for: None,
        bars: DayBars::of_month(month, auckland(), &empty, &empty, now),
        promises: Vec::new(),
        lanes: Vec::new(),
        records: Vec::new(),
        ask: None,
        links: Vec::new(),
        ..month_page()
    }
}

fn checking_page() -> MonthPage {
    MonthPage {
        answer: Answer::Checking {
            note: "Two monitors disagree about the start of the outage of 13 October. A person is settling it, and we tell you by 5 November. You do not need to do anything.".to_owned(),
        },
        correction: Some("We corrected this on 3 Nov: 15 minutes added. Before: $25.00. Now: $25.00.".to_owned()),
        ..month_page()
    }
}

fn claim_form() -> ClaimFormPage {
    ClaimFormPage {
        shell: customer_shell("Ask us to look again", "/claims"),
        back: Link::new("Back to October 2026", "/months/2026-10"),
        action: "/claims".to_owned(),
        keys: keys(),
        problems: Problems::none(),
        known: vec![
            Fact::new("Outage", "Could not receive mail, from 6:10 am on 13 October to 4:10 am on 14 October"),
            Fact::new("Mailboxes", "8 of 12"),
            Fact::new("Already credited", "$25.00 service credit"),
        ],
        incident: "INC-2026-031".to_owned(),
        ground: String::new(),
        words: String::new(),
        amount: String::new(),
        amount_hint: "In New Zealand dollars, including GST. You can leave this blank and let us decide.".to_owned(),
        contacts: vec![
            Choice::new("email", "Email to accounts@harbourfreight.example", "email"),
            Choice::new("phone", "Phone, if mail is still not working", "email"),
        ],
        promise: "You keep the $25.00 whatever we decide. We decide by Friday 4 December, 5:00 pm.".to_owned(),
    }
}

fn claim_form_with_problems() -> ClaimFormPage {
    let mut page = claim_form();
    page.shell.has_problem = true;
    page.amount = "about five hundred".to_owned();
    page.problems.add("ground", "Choose what is wrong");
    page.problems.add("words", "Tell us what the outage stopped you doing");
    page.problems.add("amount", "Amount must be a number, like 480 or 480.50");
    page
}

fn trail() -> Vec<TrailEntry> {
    let entry = |when: &str, what: &str| TrailEntry { when: when.to_owned(), what: what.to_owned(), link: None };
    vec![
        entry("Fri 20 Nov, 9:12 am", "You sent the claim."),
        entry("Sat 21 Nov, 10:40 am", "Mere read it and rang you."),
        entry("Mon 23 Nov, 4:55 pm", "Mere proposed $240.00. A second person had to agree."),
        entry("Mon 23 Nov, 5:31 pm", "Wiremu agreed."),
        entry("Mon 23 Nov, 5:41 pm", "Credit recorded."),
        entry("Tue 24 Nov, 2:00 am", "Sent to billing. Billing confirmed it at 2:04 am."),
    ]
}

fn claim_page() -> ClaimPage {
    ClaimPage {
        shell: customer_shell("Claim MG-2026-004187", "/claims"),
        account: account(),
        reference: "MG-2026-004187".to_owned(),
        just_sent: None,
        standing: ClaimStanding::ApprovedPart {
            amount: "$240.00".to_owned(),
            asked: Some("$480.00".to_owned()),
            bill: "your December bill".to_owned(),
        },
        total: Some(Total {
            label: "Total credit for this outage".to_owned(),
            amount: "$265.00".to_owned(),
            note: "$25.00 service credit and $240.00 for your costs, including GST. It comes off your December bill.".to_owned(),
        }),
        why: strings(&[
            "You asked for $480.00 for charges on two containers. Your invoice shows both. The arrival notice for the first container was sent to a mailbox that was down, so we are paying that charge, $240.00.",
            "We are sorry. You rely on mail to release freight, and for 22 hours we did not deliver it.",
        ]),
        asked_words: "We could not get the arrival notices we needed for a full day and had to pay demurrage on two containers.\nYes, we do want some compensation.".to_owned(),
        asked: vec![Fact::new("You asked for", "$480.00")],
        trail: trail(),
        disagree: Some(Disagree {
            paragraphs: strings(&["Ask for a review by 22 December 2026. A different person will look at it and answer within 10 working days."]),
            review: Some(action("/claims/MG-2026-004187/appeal", "Ask for a review")),
        }),
        withdraw: None,
        links: vec![Link::new("The decision letter", "/claims/MG-2026-004187/letter")],
    }
}

fn sent_claim_page() -> ClaimPage {
    ClaimPage {
        just_sent: Some("Claim sent. Your reference is MG-2026-004187.".to_owned()),
        standing: ClaimStanding::Received { due: "Friday 4 December, 5:00 pm".to_owned() },
        total: None,
        why: Vec::new(),
        asked_words: "<img src=x onerror=alert(1)>".to_owned(),
        trail: trail().into_iter().take(1).collect(),
        disagree: None,
        withdraw: Some(action("/claims/MG-2026-004187/withdraw", "Withdraw this claim")),
        links: Vec::new(),
        ..claim_page()
    }
}

fn claims_page() -> ClaimsPage {
    ClaimsPage {
        shell: customer_shell("Your claims", "/claims"),
        account: account(),
        rows: vec![OwnClaimRow {
            reference: "MG-2026-004187".to_owned(),
            href: "/claims/MG-2026-004187".to_owned(),
            sent: "Fri 20 Nov, 9:12 am".to_owned(),
            about: "The outage of 13 October".to_owned(),
            asked: "$480.00".to_owned(),
            given: "$240.00".to_owned(),
            standing: claim_page().standing.short().to_owned(),
        }],
        ask: Link::new("Ask us to look again", "/claims/new"),
    }
}

fn credits_page() -> CreditsPage {
    let row = |date: &str, what: &str, href: Option<&str>, amount: &str, bill: &str, standing| CreditRow {
        date: date.to_owned(),
        what: what.to_owned(),
        href: href.map(str::to_owned),
        amount: amount.to_owned(),
        bill: bill.to_owned(),
        standing,
    };
    CreditsPage {
        shell: customer_shell("Credits", "/credits"),
        account: account(),
        waiting: Some("$240.00".to_owned()),
        rows: vec![
            row(
                "24 Nov 2026",
                "Your claim MG-2026-004187",
                Some("/claims/MG-2026-004187"),
                "$240.00",
                "December 2026",
                CreditStanding::SentToBilling,
            ),
            row(
                "5 Nov 2026",
                "October 2026, service credit",
                Some("/months/2026-10"),
                "$25.00",
                "November 2026",
                CreditStanding::OnBill("November".to_owned()),
            ),
        ],
        total: Some(("Total this year".to_owned(), "$265.00".to_owned())),
        links: vec![Link::new("All credits in CSV", "/credits.csv")],
    }
}

fn queue_row(reference: &str, customer: &str, asked: &str, credit: &str, due: Option<Due>, owner: &str) -> QueueRow {
    QueueRow {
        reference: reference.to_owned(),
        href: format!("/staff/claims/{reference}"),
        customer: customer.to_owned(),
        incident: "INC-2026-031".to_owned(),
        asked: asked.to_owned(),
        credit: credit.to_owned(),
        due,
        state: staff_tag(State::InReview).to_owned(),
        owner: owner.to_owned(),
    }
}

fn due_in(minutes: i64) -> Option<Due> {
    let now = Instant::parse("2026-11-23T03:40:00Z").unwrap();
    Some(fmt::due(now.plus(minutes * MINUTE), now, auckland()))
}

fn queue_page() -> QueuePage {
    QueuePage {
        shell: staff_shell("Claims to decide", "/staff/claims", "Mere", "agent"),
        summary: "5 open · 2 due today · oldest 4 days".to_owned(),
        action: "/staff/claims".to_owned(),
        states: vec![
            Choice::new("open", "Open, due soonest first", "open"),
            Choice::new("awaiting_second", "With supervisor", "open"),
            Choice::new("decided", "Decided", "open"),
        ],
        find: String::new(),
        caption: "5 claims".to_owned(),
        empty: "No claims to decide. Next due: none.".to_owned(),
        rows: vec![
            queue_row("MG-2026-004161", "Ōtaki Motors", "$1,900.00", "$9.38", due_in(-125), "Mere"),
            queue_row("MG-2026-004187", "Harbour Freight Brokers Ltd", "$480.00", "$25.00", due_in(200), "Mere"),
            queue_row("MG-2026-004190", "Kōwhai Dental", "$150.00", "$12.50", due_in(305), "Nobody"),
            queue_row("MG-2026-004174", "Tasman Timber", "not said", "$0.00", due_in(1_440), "Nobody"),
            queue_row("MG-2026-004166", "Lakeside Legal", "$600.00", "$40.63", due_in(2 * 1_440), "Mere"),
        ],
        older: Some("/staff/claims?state=open&after=abc".to_owned()),
        newer: None,
        flash: Some(Flash {
            text: "Decided. It goes to the customer and the books at 16:50.".to_owned(),
            undo: Some(action("/staff/claims/MG-2026-004102/undo", "Undo")),
            next: Some(Link::new("Next claim", "/staff/claims/MG-2026-004187")),
        }),
    }
}

fn decide_form() -> DecideForm {
    DecideForm {
        action: "/staff/claims/MG-2026-004187/decide".to_owned(),
        keys: keys(),
        version: "3".to_owned(),
        problems: Problems::none(),
        legend: "On top of the $25.00 already credited".to_owned(),
        asked: Some("$480.00".to_owned()),
        choice: "part".to_owned(),
        amount: "240.00".to_owned(),
        amount_label: "Amount, NZD incl. GST".to_owned(),
        limit: "Your limit is $200.00.".to_owned(),
        over: Some("$240.00 is over your limit of $200.00.".to_owned()),
        reasons: reason_groups("evidence_part"),
        words: "Your invoice shows both charges.".to_owned(),
    }
}

fn case_page() -> CasePage {
    CasePage {
        shell: staff_shell("MG-2026-004187, Harbour Freight Brokers Ltd", "/staff/claims", "Mere", "agent"),
        reference: "MG-2026-004187".to_owned(),
        customer: "Harbour Freight Brokers Ltd".to_owned(),
        about: "Business Mail, 12 mailboxes · customer since 2017".to_owned(),
        incident: Some(Link::new("INC-2026-031", "/staff/incidents/INC-2026-031")),
        state: staff_tag(State::InReview).to_owned(),
        due: due_in(200),
        flash: None,
        asked_words: claim_page().asked_words,
        asked: vec![Fact::new("Asked for", "$480.00"), Fact::new("Sent", "Fri 20 Nov 2026, 09:12, web form")],
        lanes: lanes(Reader::Staff),
        record: vec![
            Fact::new("Counted downtime", "1,335 min on 8 of 12 mailboxes"),
            Fact::new("Availability", "97.009% (promised 99.9%)"),
            Fact::new("Service credit", "$25.00, in the ledger since 1 Nov"),
            Fact::new("Assessment", "business@3, inputs hash 9f2c…41ab"),
        ],
        sum: vec![
            Fact::new("Tier", "below 99.0% and not below 95.0%: 25%"),
            Fact::new("Sum", "8 mailboxes × $12.50 × 25% =").strong("$25.00"),
        ],
        records: Vec::new(),
        similar_caption: "Decided claims, Business Mail, INC-2026-031".to_owned(),
        similar: vec![
            SimilarRow {
                reference: "MG-2026-004102".to_owned(),
                href: "/staff/claims/MG-2026-004102".to_owned(),
                asked: "$300.00".to_owned(),
                given: "$100.00".to_owned(),
                reason: "Evidence of cost".to_owned(),
            },
            SimilarRow {
                reference: "MG-2026-004096".to_owned(),
                href: "/staff/claims/MG-2026-004096".to_owned(),
                asked: "$1,200.00".to_owned(),
                given: "$0.00".to_owned(),
                reason: "Mailbox not affected".to_owned(),
            },
        ],
        trail: trail().into_iter().take(2).collect(),
        side: Side::Decide(Box::new(decide_form())),
        history: strings(&["Mar 2026: 1 claim, $50.00 given", "Credits this year: $75.00"]),
        notes: strings(&["Mere, 21 Nov: rang them, invoice matches the container dates."]),
    }
}

fn case_with_problems() -> CasePage {
    let mut form = decide_form();
    (form.over, form.choice, form.amount) = (None, String::new(), "lots".to_owned());
    form.problems.add("choice", "Choose what to give");
    form.problems.add("amount", "Amount must be a number, like 480 or 480.50");
    let mut page = CasePage { side: Side::Decide(Box::new(form)), ..case_page() };
    page.shell.has_problem = true;
    page
}

fn case_waiting() -> CasePage {
    CasePage {
        state: staff_tag(State::AwaitingSecond).to_owned(),
        side: Side::ReadOnly {
            heading: "With supervisor".to_owned(),
            paragraphs: strings(&[
                "You proposed $240.00 on Mon 23 Nov, 16:55. It is over your limit of $200.00, so a supervisor decides.",
            ]),
            undo: None,
        },
        ..case_page()
    }
}

fn agree_page(barred: Option<&str>) -> CasePage {
    CasePage {
        shell: staff_shell("MG-2026-004187, Harbour Freight Brokers Ltd", "/staff/approvals", "Wiremu", "supervisor"),
        state: staff_tag(State::AwaitingSecond).to_owned(),
        side: Side::Agree(Box::new(AgreeForm {
            proposed: "Mere proposed this on Mon 23 Nov, 16:55. Her limit is $200.00.".to_owned(),
            amount: "$240.00".to_owned(),
            facts: vec![
                Fact::new("Asked for", "$480.00"),
                Fact::new("Total with the service credit", "$265.00"),
                Fact::new("Reason", "Evidence of cost, part accepted"),
            ],
            words: strings(&["Your invoice shows both charges."]),
            agree: action("/staff/claims/MG-2026-004187/agree", "Agree to $240.00"),
            barred: barred.map(str::to_owned),
            send_back: action("/staff/claims/MG-2026-004187/send-back", "Send back"),
            problems: Problems::none(),
            send_back_words: String::new(),
        })),
        ..case_page()
    }
}

fn approvals_page() -> ApprovalsPage {
    ApprovalsPage {
        shell: staff_shell("Approvals", "/staff/approvals", "Wiremu", "supervisor"),
        flash: None,
        claims: vec![ApprovalRow {
            reference: "MG-2026-004187".to_owned(),
            href: "/staff/claims/MG-2026-004187".to_owned(),
            customer: "Harbour Freight Brokers Ltd".to_owned(),
            asked: "$480.00".to_owned(),
            proposed: "$240.00".to_owned(),
            by: "Mere".to_owned(),
            due: due_in(200),
        }],
        runs: vec![RunRow {
            reference: "CR-0091".to_owned(),
            href: "/staff/approvals/CR-0091".to_owned(),
            what: "October 2026, promises of all plans".to_owned(),
            accounts: "149".to_owned(),
            total: "$1,338.46".to_owned(),
            by: "Aroha".to_owned(),
            state: "Proposed, expires in 46 h".to_owned(),
        }],
        propose: vec![action("/staff/approvals", "Propose the credits of October 2026")],
    }
}

fn run_page(barred: Option<&str>, mark: Mark) -> RunPage {
    let plan = |plan: &str, promise: &str, accounts: &str, mailboxes: &str, total: &str| PlanRow {
        plan: plan.to_owned(),
        promise: promise.to_owned(),
        accounts: accounts.to_owned(),
        mailboxes: mailboxes.to_owned(),
        total: total.to_owned(),
    };
    let check = |mark, text: &str| Check { mark, text: text.to_owned() };
    RunPage {
        shell: staff_shell("Credit 149,638 accounts for October 2026", "/staff/approvals", "Wiremu", "supervisor"),
        line: "Proposed by Aroha, 15 Nov 2026, 14:02 · run CR-0091 · expires in 46 h".to_owned(),
        heading: "Credit 149,638 accounts for October 2026".to_owned(),
        stats: vec![
            Stat::new("To be credited", "$338,042.00"),
            Stat::new("Accounts", "149,638"),
            Stat::new("Held back", "362"),
            Stat::new("Largest single credit", "$2,160.00"),
        ],
        plans: vec![
            plan("Home", "99.0%", "141,558", "141,558", "$70,779.00"),
            plan("Business", "99.9%", "7,369", "60,952", "$190,475.00"),
            plan("Plus", "99.95%", "711", "14,220", "$76,788.00"),
        ],
        plans_total: plan("Total", "", "149,638", "216,730", "$338,042.00"),
        hours: Bar::of_counts(&[
            ("under 1 h", 2_140),
            ("1 to 6 h", 6_930),
            ("6 to 12 h", 18_310),
            ("12 to 18 h", 24_870),
            ("18 to 24 h", 97_388),
        ]),
        held_caption: "362 accounts will not be credited by this run".to_owned(),
        held: vec![
            HeldRow {
                reason: "Monitors disagree about an outage".to_owned(),
                accounts: "312".to_owned(),
                amount: String::new(),
                href: Some("/staff/approvals/CR-0091/held?reason=disagreement".to_owned()),
            },
            HeldRow {
                reason: "A charge is missing".to_owned(),
                accounts: "50".to_owned(),
                amount: "$152.10".to_owned(),
                href: None,
            },
        ],
        sample_caption: "2 of the largest".to_owned(),
        sample: vec![
            SampleRow {
                account: "20418876, Harbour Freight Brokers Ltd".to_owned(),
                href: Some("/staff/accounts/20418876/months/2026-10".to_owned()),
                plan: "Business".to_owned(),
                down: "1,335 min".to_owned(),
                sum: "8 × $12.50 × 25%".to_owned(),
                amount: "$25.00".to_owned(),
            },
            SampleRow {
                account: "20418877, Kōwhai Dental".to_owned(),
                href: None,
                plan: "Plus".to_owned(),
                down: "1,335 min".to_owned(),
                sum: "4 × $18.00 × 30%".to_owned(),
                amount: "$21.60".to_owned(),
            },
        ],
        checks: vec![
            check(Mark::Passed, "Debits equal credits: $338,042.00 both sides"),
            check(Mark::Passed, "Nothing credited twice: 0 accounts already have this credit"),
            check(mark, "Numbers unchanged since the run was proposed (inputs hash 41ab…90fe)"),
            check(Mark::Warning, "362 accounts are held back"),
        ],
        side: RunSide::Approve(Box::new(ApproveRunForm {
            action: "/staff/approvals/CR-0091/approve".to_owned(),
            keys: keys(),
            hash: "41ab90fe".to_owned(),
            total: "$338,042.00".to_owned(),
            typed: String::new(),
            problems: Problems::none(),
            button: "Approve and credit 149,638 accounts".to_owned(),
            barred: barred.map(str::to_owned),
            send_back: None,
        })),
    }
}

fn run_with(side: RunSide) -> RunPage {
    RunPage { side, ..run_page(None, Mark::Passed) }
}

fn sign_in_page() -> SignInPage {
    let person = |key: &str, name: &str, role: &str, note: &str| DemoPerson {
        key: key.to_owned(),
        name: name.to_owned(),
        role: role.to_owned(),
        note: note.to_owned(),
    };
    SignInPage {
        shell: Shell::bare("Aoraki Mail", "Who do you want to be?", FOOTER.to_owned())
            .story("Tue 24 Nov 2026, 2:04 am".to_owned()),
        action: "/sign-in".to_owned(),
        csrf: "csrf-token".to_owned(),
        groups: vec![
            (
                "Customers".to_owned(),
                vec![
                    person(
                        "20418876",
                        "Harbour Freight Brokers Ltd",
                        "customer",
                        "Business, 12 mailboxes. 8 were down for 22 hours and 15 minutes.",
                    ),
                    person("20418877", "Kōwhai Dental", "customer", "Business, 4 mailboxes. Not affected."),
                ],
            ),
            (
                "Staff".to_owned(),
                vec![
                    person("mere", "Mere", "agent", "Decides claims up to $200.00."),
                    person("wiremu", "Wiremu", "supervisor", "Agrees to what is over a limit."),
                ],
            ),
        ],
    }
}

fn error_shell() -> Shell {
    customer_shell("", "")
}

/// Every page with its name, rendered; `is_customer` where a customer reads it.
fn all_pages() -> Vec<(&'static str, bool, String)> {
    let id = "01998f1e-7a44-7c31-9a55-2f1f5b1f0c2d";
    let customer: Vec<(&str, String)> = vec![
        ("month", month_page().render().unwrap()),
        ("month-nothing", nothing_page().render().unwrap()),
        ("month-so-far", so_far_page().render().unwrap()),
        ("month-checking", checking_page().render().unwrap()),
        ("claim-form", claim_form().render().unwrap()),
        ("claim-form-problems", claim_form_with_problems().render().unwrap()),
        ("claim", claim_page().render().unwrap()),
        ("claim-sent", sent_claim_page().render().unwrap()),
        ("claims", claims_page().render().unwrap()),
        ("claims-empty", ClaimsPage { rows: Vec::new(), ..claims_page() }.render().unwrap()),
        ("credits", credits_page().render().unwrap()),
        ("credits-empty", CreditsPage { rows: Vec::new(), waiting: None, ..credits_page() }.render().unwrap()),
        ("sign-in", sign_in_page().render().unwrap()),
        ("error-404", ErrorPage::not_found(error_shell(), id).render().unwrap()),
        (
            "error-403",
            ErrorPage::forbidden(error_shell(), "", "Ask the person who manages your account.", id).render().unwrap(),
        ),
        (
            "error-422",
            ErrorPage::refused(error_shell(), "This form is too old to be sent. Open the page again.", id)
                .render()
                .unwrap(),
        ),
        ("error-429", ErrorPage::too_many(error_shell(), "14 minutes", id).render().unwrap()),
        ("error-500", ErrorPage::broken(error_shell(), id).render().unwrap()),
        ("error-503", ErrorPage::unavailable(error_shell(), id).render().unwrap()),
    ];
    let stale = "It no longer matches its inputs: an outage was corrected on 16 Nov. Nothing was credited.";
    let staff: Vec<(&str, String)> = vec![
        ("queue", queue_page().render().unwrap()),
        ("queue-empty", QueuePage { rows: Vec::new(), flash: None, ..queue_page() }.render().unwrap()),
        ("case", case_page().render().unwrap()),
        ("case-problems", case_with_problems().render().unwrap()),
        ("case-waiting", case_waiting().render().unwrap()),
        ("case-agree", agree_page(None).render().unwrap()),
        (
            "case-agree-barred",
            agree_page(Some("You proposed this, so someone else must approve it.")).render().unwrap(),
        ),
        ("approvals", approvals_page().render().unwrap()),
        ("run", run_page(None, Mark::Passed).render().unwrap()),
        (
            "run-barred",
            run_page(Some("You proposed this, so someone else must approve it."), Mark::Failed).render().unwrap(),
        ),
        (
            "run-stale",
            run_with(RunSide::Stale {
                text: stale.to_owned(),
                again: Some(action("/staff/approvals", "Make a new run")),
            })
            .render()
            .unwrap(),
        ),
        (
            "run-underway",
            run_with(RunSide::Underway {
                text: "61,204 of 149,638 posted.".to_owned(),
                href: "/staff/approvals/CR-0091".to_owned(),
            })
            .render()
            .unwrap(),
        ),
        (
            "run-done",
            run_with(RunSide::Done {
                text: "149,638 credits posted, $338,042.00.".to_owned(),
                links: vec![Link::new("All credits in CSV", "/staff/approvals/CR-0091.csv")],
            })
            .render()
            .unwrap(),
        ),
        (
            "error-409",
            ErrorPage::conflict(
                staff_shell("", "", "Aroha", "agent"),
                "Mere decided this at 16:55.",
                Some("What I had typed".to_owned()),
                id,
            )
            .render()
            .unwrap(),
        ),
    ];
    let named = |is_customer: bool| move |(name, html)| (name, is_customer, html);
    customer.into_iter().map(named(true)).chain(staff.into_iter().map(named(false))).collect()
}

/// A page's words: no tags, no attributes.
fn words_of(html: &str) -> String {
    let mut words = String::new();
    let mut is_tag = false;
    for c in html.chars() {
        match c {
            '<' => is_tag = true,
            '>' => {
                is_tag = false;
                words.push(' ');
            }
            other if !is_tag => words.push(other),
            _ => {}
        }
    }
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn attributes<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}=\"");
    html.split(&start).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn every_page_has_one_heading_a_title_a_skip_link_and_its_footer() {
    for (name, _, html) in all_pages() {
        assert_eq!(html.matches("<h1").count(), 1, "{name}");
        assert_eq!(html.matches("<main").count(), 1, "{name}");
        assert!(html.contains(" - Aoraki Mail</title>"), "{name}");
        assert!(html.contains(r##"<a class="skip" href="#main">"##), "{name}");
        assert!(html.contains(FOOTER), "{name}");
    }
}

#[test]
fn pages_carry_no_script_and_no_style_but_the_two_chart_variables() {
    for (name, _, html) in all_pages() {
        assert!(!html.contains("<script") && !html.contains("<style") && !html.contains("http-equiv"), "{name}");
        for style in attributes(&html, "style") {
            assert!(style.starts_with("--x:") || style.starts_with("--v:"), "{name}: {style}");
            assert!(!style.contains(';'), "{name}: {style}");
        }
    }
}

#[test]
fn ids_are_unique_and_every_label_and_description_has_its_target() {
    for (name, _, html) in all_pages() {
        let mut ids = attributes(&html, "id");
        ids.sort_unstable();
        let count = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), count, "{name}: {ids:?}");
        for attribute in ["for", "aria-describedby", "aria-labelledby"] {
            for target in attributes(&html, attribute).iter().flat_map(|list| list.split_whitespace()) {
                assert!(ids.contains(&target), "{name}: {attribute} names {target}");
            }
        }
        for href in attributes(&html, "href").iter().filter_map(|href| href.strip_prefix('#')) {
            assert!(ids.contains(&href), "{name}: a link goes to #{href}");
        }
    }
}

#[test]
fn every_form_that_changes_something_carries_its_token() {
    for (name, _, html) in all_pages() {
        for form in html.split("<form").skip(1) {
            let form = form.split("</form>").next().unwrap();
            if form.contains(r#"method="post""#) {
                assert!(form.contains(r#"name="csrf" value="csrf-token""#), "{name}: {form}");
                let is_session = ["/sign-in", "/sign-out", "/story/later"].iter().any(|path| form.contains(path));
                assert!(is_session || form.contains(r#"name="key" value="0b1f6f9e-"#), "{name}: {form}");
            }
        }
    }
}

#[test]
fn customers_never_read_our_words_or_empty_ones() {
    let ours = ["shard", "sla", "incident", "breach", "remediation"];
    let empty = ["unfortunately", "inconvenience", "please note", "simply", "valued"];
    for (name, is_customer, html) in all_pages() {
        let words = words_of(&html).to_lowercase();
        let said: Vec<&str> = words.split(|c: char| !c.is_alphanumeric()).collect();
        if is_customer {
            assert_eq!(ours.iter().find(|word| said.contains(word)), None, "{name}");
        }
        assert_eq!(empty.iter().find(|word| words.contains(**word)), None, "{name}");
    }
}

#[test]
fn the_month_says_the_answer_the_sum_and_every_minute() {
    let html = month_page().render().unwrap();
    let words = words_of(&html);
    for said in [
        "What happened to your mail in October 2026",
        "We owe you $25.00 Including GST. It comes off your November bill. You do not need to do anything.",
        "Confirmed by billing",
        "We are sorry. On 13 and 14 October, 8 of your 12 mailboxes",
        "97.009%: 1,335 minutes down",
        "8 mailboxes × $12.50 × 25% = $25.00",
        "Planned maintenance 13 Oct, 5:10 am 13 Oct, 6:10 am 60 0 We told you on 11 October, 2 days before",
        "Mail slow to arrive 14 Oct, 3:40 am 14 Oct, 4:25 am 45 15 30 minutes overlap",
        "Total 1,465 1,335",
        "8 mailboxes on mail system 7 Down 22 h 15 min",
        "Harbour Freight Brokers Ltd, account 20418876",
        "Printed on 24 November 2026.",
    ] {
        assert!(words.contains(said), "{said:?} is missing from: {words}");
    }
    assert!(html.contains(
        "Mail was down for 17 hours 50 minutes on Tuesday 13 October and 4 hours 25 minutes on Wednesday 14 October."
    ));
}

#[test]
fn the_day_bars_are_as_high_as_the_day_was_down() {
    let html = month_page().render().unwrap();
    // 60 x 1,070 / 1,440 from the bottom, and the planned hour above it.
    assert!(html.contains(r#"<rect class="down" x="121" y="15.42" width="8" height="44.58"/>"#), "{html}");
    assert!(html.contains(r#"<rect class="excl" x="121" y="7.92" width="8" height="6.00"/>"#), "{html}");
    assert_eq!(html.matches(r#"<rect class="ok" x=""#).count(), 31 + 2);
}

#[test]
fn a_lane_is_placed_by_elapsed_time_and_shows_only_what_the_line_above_left() {
    let lanes = &lanes(Reader::Customer)[0];
    assert_eq!(lanes.heading, "Tuesday 13 and Wednesday 14 October");
    // The window is 12 October 18:00 to 14 October 12:00, 42 hours.
    assert!(lanes.lanes[0].svg.contains(r#"<rect class="down" x="208.57" y="0" width="377.14" height="28"/>"#));
    assert!(lanes.lanes[0].svg.contains(r#"<rect class="slow" x="585.71" y="12" width="4.29" height="16"/>"#));
    assert!(lanes.lanes[0].svg.contains(r#"<rect class="excl" x="191.42" y="20" width="17.15" height="8"/>"#));
    let ticks: Vec<(&str, &str)> =
        lanes.ticks.iter().map(|tick| (tick.weekday.as_str(), tick.label.as_str())).collect();
    assert_eq!(ticks, [("Tue", "13 Oct"), ("", "12 noon"), ("Wed", "14 Oct")]);
}

#[test]
fn a_day_of_23_hours_is_23_hours_wide() {
    let at = |text: &str| Instant::parse(text).unwrap();
    // Clocks in Auckland went from 2 to 3 on 27 September 2026.
    let window = Interval::new(at("2026-09-26T12:00:00Z"), at("2026-09-28T11:00:00Z")).unwrap();
    let lanes = Lanes::new("x", "", window, (auckland(), ""), Reader::Staff, &[]);
    let ticks: Vec<(&str, &str)> = lanes.ticks.iter().map(|tick| (tick.x.as_str(), tick.label.as_str())).collect();
    assert_eq!(ticks, [("0.00%", "27 Sep"), ("23.40%", "12:00"), ("48.93%", "28 Sep"), ("74.46%", "12:00")]);
    let september: Month = "2026-09".parse().unwrap();
    let all_day = IntervalSet::from(Interval::new(at("2026-09-26T12:00:00Z"), at("2026-09-27T11:00:00Z")).unwrap());
    let bars = DayBars::of_month(september, auckland(), &all_day, &IntervalSet::empty(), Instant::MAX);
    assert!(bars.svg.contains(r#"<rect class="down" x="261" y="0.00" width="8" height="60.00"/>"#));
    assert_eq!(bars.rows[0].down, "23 h");
}

#[test]
fn a_month_without_counted_downtime_gives_its_reasons_and_no_apology() {
    let words = words_of(&nothing_page().render().unwrap());
    assert!(words.contains("We owe you Nothing No credit is due under your plan."));
    assert!(words.contains("You may have other rights"));
    assert!(!words.to_lowercase().contains("sorry"));
}

#[test]
fn a_month_that_goes_on_names_no_amount() {
    let words = words_of(&so_far_page().render().unwrap());
    assert!(
        words.contains("So far this month") && words.contains("Mail is down now") && !words.contains('$'),
        "{words}"
    );
}

#[test]
fn problems_come_first_are_focused_and_keep_what_was_typed() {
    let html = claim_form_with_problems().render().unwrap();
    assert!(html.contains("<title>Error: Ask us to look again - Aoraki Mail</title>"));
    assert!(html.find("There is a problem").unwrap() < html.find("<h1").unwrap());
    assert!(html.contains(r#"tabindex="-1" autofocus"#) && html.contains(" novalidate"));
    assert!(html.contains(r##"<a href="#amount">Amount must be a number, like 480 or 480.50</a>"##));
    assert!(html.contains(r#"value="about five hundred""#));
    assert!(!claim_form().render().unwrap().contains("There is a problem"));
}

#[test]
fn what_a_customer_writes_is_text() {
    let html = sent_claim_page().render().unwrap();
    assert!(!html.contains("<img") && html.contains("&#60;img src=x onerror=alert(1)&#62;"));
}

#[test]
fn over_a_limit_the_button_sends_it_to_a_supervisor() {
    let over = case_page().render().unwrap();
    assert!(over.contains(r#"name="do" value="recommend">Send to supervisor</button>"#));
    assert!(words_of(&over).contains("$240.00 is over your limit of $200.00. It goes to a supervisor."));
    let within = case_with_problems().render().unwrap();
    assert!(within.contains(r#"name="do" value="decide">Decide</button>"#));
    assert!(words_of(&within).contains("Your limit is $200.00."));
}

#[test]
fn a_barred_button_is_disabled_and_described_by_its_reason() {
    for html in [
        agree_page(Some("You proposed this, so someone else must approve it.")).render().unwrap(),
        run_page(Some("You proposed this, so someone else must approve it."), Mark::Failed).render().unwrap(),
    ] {
        assert!(html.contains(r#"disabled aria-describedby="barred""#));
        assert!(words_of(&html).contains("You proposed this, so someone else must approve it."));
    }
    let failed = words_of(&run_page(None, Mark::Failed).render().unwrap());
    assert!(failed.contains("Failed: Numbers unchanged"));
}

#[test]
fn every_standing_of_a_claim_has_words_and_none_promises_what_is_not_given() {
    let s = str::to_owned;
    let due = || s("Friday 4 December, 5:00 pm");
    let all = [
        (ClaimStanding::Draft { until: s("22 December") }, "Your claim is not sent yet"),
        (ClaimStanding::Received { due: due() }, "We have your claim"),
        (ClaimStanding::InReview { by: s("Mere"), due: due() }, "We are looking at your claim"),
        (
            ClaimStanding::NeedsInfo { by: s("Mere"), question: s("Which day?"), until: s("8 January") },
            "We need something from you",
        ),
        (ClaimStanding::WithASecond { due: due() }, "A second person is checking it"),
        (
            ClaimStanding::ApprovedFull { amount: s("$480.00"), was_asked: true, bill: s("your next bill") },
            "We are giving you the $480.00 you asked for",
        ),
        (
            ClaimStanding::ApprovedFull { amount: s("$50.00"), was_asked: false, bill: s("your next bill") },
            "We are giving you another $50.00",
        ),
        (
            ClaimStanding::ApprovedPart { amount: s("$240.00"), asked: None, bill: s("your next bill") },
            "We are giving you another $240.00",
        ),
        (ClaimStanding::Rejected { keeps: Some(s("$25.00")) }, "We are not giving you more for this outage"),
        (
            ClaimStanding::RecordCorrected {
                what: s("4 more of your mailboxes were down."),
                before: s("$25.00"),
                after: s("$37.50"),
            },
            "You were right. We have corrected our record",
        ),
        (ClaimStanding::Withdrawn { until: None }, "You withdrew this claim"),
        (ClaimStanding::UnderReview { due: due() }, "A different person is looking at it again"),
        (ClaimStanding::Final { scheme: None }, "Our final answer"),
        (ClaimStanding::Late { said: due(), due: due() }, "We have not kept our date"),
        (ClaimStanding::Lapsed, "This claim was not sent"),
    ];
    for (standing, heading) in all {
        assert_eq!(standing.heading(), heading);
        let html = ClaimPage { standing, total: None, ..claim_page() }.render().unwrap();
        assert!(html.contains(&format!("<h1>{heading}</h1>")), "{heading}");
    }
}

/// Writes every page and the stylesheet into the folder named by `PAGES_DUMP`, to be looked at in a browser.
#[test]
#[ignore = "writes files to look at; set PAGES_DUMP to a folder"]
fn dump() {
    let folder = PathBuf::from(std::env::var_os("PAGES_DUMP").expect("PAGES_DUMP names a folder"));
    std::fs::create_dir_all(folder.join("assets")).unwrap();
    std::fs::write(folder.join("assets/makegood.css"), super::STYLESHEET).unwrap();
    std::fs::write(folder.join("assets/icon.svg"), super::ICON).unwrap();
    for (name, _, html) in all_pages() {
        std::fs::write(folder.join(name).with_extension("html"), html).unwrap();
    }
}
