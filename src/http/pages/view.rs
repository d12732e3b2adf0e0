//! What pages show: plain structs of ready text, one per page, each the template's only source of words and numbers.
//!
//! Nothing here reads a database or a clock. A handler fills a page and answers with its `render()`. Text is escaped by
//! the templates; the pictures of [`super::plot`] escape their own. Hrefs and form actions are paths of this service,
//! chosen by the handler.

use askama::Template;

use super::bills::CreditStanding;
use super::plot::{DayBars, Lanes};
use crate::domain::claim::{Reason, State};

/// Where somebody can go, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub label: String,
    pub href: String,
}

impl Link {
    pub fn new(label: impl Into<String>, href: impl Into<String>) -> Self {
        Link { label: label.into(), href: href.into() }
    }
}

/// One entry of the main navigation. At most five are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NavItem {
    pub label: String,
    pub href: String,
    pub is_current: bool,
}

/// Who is signed in, with what signing out needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// "Mere", or the account's name for a customer.
    pub name: String,
    /// "agent"; empty for a customer.
    pub role: String,
    pub csrf: String,
}

/// What every page has around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shell {
    /// The operator's name: the brand line, and the end of the title.
    pub operator: String,
    /// The page's own part of the title.
    pub title: String,
    /// Puts `Error:` before the title, so that a screen reader says it first.
    pub has_problem: bool,
    pub nav: Vec<NavItem>,
    pub person: Option<Person>,
    /// The demo's clock, "Tue 24 Nov 2026, 2:04 am"; none outside the demo.
    pub story: Option<String>,
    /// "Times are New Zealand time (NZDT). Amounts include GST."; see [`super::fmt::footer`].
    pub footer: String,
    /// "24 November 2026", for paper.
    pub printed_on: String,
    /// Staff pages use the whole width and smaller headings.
    pub is_wide: bool,
}

impl Shell {
    /// A shell without navigation and without a person, as the sign-in page and the errors before it have.
    pub fn bare(operator: &str, title: &str, footer: String) -> Self {
        Shell {
            operator: operator.to_owned(),
            title: title.to_owned(),
            has_problem: false,
            nav: Vec::new(),
            person: None,
            story: None,
            footer,
            printed_on: String::new(),
            is_wide: false,
        }
    }

    /// Sets the navigation; `current` is the href of the item that the page belongs to.
    pub fn nav(mut self, items: &[(&str, &str)], current: &str) -> Self {
        let item = |(label, href): &(&str, &str)| NavItem {
            label: (*label).to_owned(),
            href: (*href).to_owned(),
            is_current: *href == current,
        };
        self.nav = items.iter().map(item).collect();
        self
    }

    pub fn signed_in(mut self, person: Person) -> Self {
        self.person = Some(person);
        self
    }

    pub fn story(mut self, now: String) -> Self {
        self.story = Some(now);
        self
    }

    pub fn printed_on(mut self, day: String) -> Self {
        self.printed_on = day;
        self
    }

    pub fn wide(mut self) -> Self {
        self.is_wide = true;
        self
    }

    /// What stands in the browser's title bar.
    pub fn full_title(&self) -> String {
        let error = if self.has_problem { "Error: " } else { "" };
        format!("{error}{} - {}", self.title, self.operator)
    }
}

/// The two hidden fields of every form that changes something: `csrf` and `key` (the idempotency key, so that a double
/// click does one thing).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormKeys {
    pub csrf: String,
    pub key: String,
}

/// A button that is a form of its own: a POST to `action`, with nothing to fill in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionForm {
    pub action: String,
    pub keys: FormKeys,
    /// The version that the person saw, sent as `version`; empty where there is none.
    pub version: String,
    pub button: String,
}

/// One thing that is wrong with what somebody typed: the summary's link goes to `field` (the control's id and name).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldProblem {
    pub field: String,
    pub message: String,
}

/// Everything that is wrong with a form, in the order of its fields. Empty on first sight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<FieldProblem>);

impl Problems {
    pub fn none() -> Self {
        Problems::default()
    }

    pub fn add(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(FieldProblem { field: field.to_owned(), message: message.into() });
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is wrong with one field.
    pub fn of(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|problem| problem.field == field).map(|problem| problem.message.as_str())
    }

    /// The anchor of a problem's control. Radios are anchored at the first.
    pub fn all(&self) -> &[FieldProblem] {
        &self.0
    }
}

/// One radio or option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub value: String,
    pub label: String,
    pub is_chosen: bool,
}

impl Choice {
    pub fn new(value: &str, label: impl Into<String>, chosen: &str) -> Self {
        Choice { value: value.to_owned(), label: label.into(), is_chosen: value == chosen }
    }
}

/// A group of options under one heading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChoiceGroup {
    pub label: String,
    pub choices: Vec<Choice>,
}

/// A term and what is said of it; `strong` ends the sentence in bold ("8 × $12.50 × 25% = **$25.00**").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub term: String,
    pub detail: String,
    pub strong: String,
    pub link: Option<Link>,
}

impl Fact {
    pub fn new(term: impl Into<String>, detail: impl Into<String>) -> Self {
        Fact { term: term.into(), detail: detail.into(), strong: String::new(), link: None }
    }

    pub fn strong(mut self, text: impl Into<String>) -> Self {
        self.strong = text.into();
        self
    }

    pub fn link(mut self, label: impl Into<String>, href: impl Into<String>) -> Self {
        self.link = Some(Link::new(label, href));
        self
    }
}

/// A heading with its facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactSection {
    pub heading: String,
    pub facts: Vec<Fact>,
}

/// The first thing that a customer reads about a month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `note`: "Including GST. It comes off your November bill. You do not need to do anything."
    Owed { amount: String, note: String, standing: Option<CreditStanding> },
    /// `note`: "No credit is due under your plan. Your 4 mailboxes met our promise of 99.9%." `rights` is the operator's
    /// own text about what else the law gives.
    Nothing { note: String, rights: Option<String> },
    /// The month goes on, so no amount is named. `note`: "We work out credits on 1 December."
    SoFar { down: String, note: String },
    /// Evidence is not settled. `note` says what is looked at and when the customer hears.
    Checking { note: String },
    /// The plan pays when asked. `amount` is what a claim would bring.
    OnRequest { amount: String, note: String },
}

impl Answer {
    pub fn label(&self) -> &str {
        match self {
            Answer::Owed { .. } | Answer::Nothing { .. } => "We owe you",
            Answer::SoFar { .. } => "So far this month",
            Answer::Checking { .. } => "What we owe you",
            Answer::OnRequest { .. } => "You can ask for",
        }
    }

    pub fn figure(&self) -> &str {
        match self {
            Answer::Owed { amount, .. } | Answer::OnRequest { amount, .. } => amount,
            Answer::Nothing { .. } => "Nothing",
            Answer::SoFar { down, .. } => down,
            Answer::Checking { .. } => "We are checking",
        }
    }

    /// Whether the figure is a phrase, which is set smaller than an amount.
    pub fn is_words(&self) -> bool {
        match self {
            Answer::Owed { .. } | Answer::Nothing { .. } | Answer::OnRequest { .. } => false,
            Answer::SoFar { .. } | Answer::Checking { .. } => true,
        }
    }

    pub fn note(&self) -> &str {
        match self {
            Answer::Owed { note, .. }
            | Answer::Nothing { note, .. }
            | Answer::SoFar { note, .. }
            | Answer::Checking { note }
            | Answer::OnRequest { note, .. } => note,
        }
    }

    pub fn standing(&self) -> Option<String> {
        match self {
            Answer::Owed { standing, .. } => standing.as_ref().map(CreditStanding::words),
            Answer::Nothing { .. } | Answer::SoFar { .. } | Answer::Checking { .. } | Answer::OnRequest { .. } => None,
        }
    }

    pub fn rights(&self) -> Option<&str> {
        match self {
            Answer::Nothing { rights, .. } => rights.as_deref(),
            Answer::Owed { .. } | Answer::SoFar { .. } | Answer::Checking { .. } | Answer::OnRequest { .. } => None,
        }
    }
}

/// One line of "Every minute, explained". Minutes are whole and add up to the table's totals: see
/// [`super::fmt::minutes_that_add_up`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordRow {
    /// "Could not receive mail", "Mail slow to arrive", "Planned maintenance".
    pub what: String,
    /// "13 Oct, 6:10 am".
    pub from: String,
    pub to: String,
    /// "1,320".
    pub minutes: String,
    pub counted: String,
    /// One sentence: "30 minutes overlap the line above and count once".
    pub why: String,
}

/// The records of mailboxes that share one history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordTable {
    pub caption: String,
    pub rows: Vec<RecordRow>,
    pub total_minutes: String,
    pub total_counted: String,
}

/// The invitation to ask again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub heading: String,
    pub text: String,
    pub button: Link,
}

/// C2: what happened in one month.
#[derive(Clone, Debug, Template)]
#[template(path = "month.html")]
pub struct MonthPage {
    pub shell: Shell,
    /// "Harbour Freight Brokers Ltd, account 20418876".
    pub account: String,
    /// "October 2026".
    pub month: String,
    pub previous: Option<Link>,
    pub next: Option<Link>,
    /// "Mail is down now for 8 of your mailboxes, since 6:10 am."
    pub down_now: Option<String>,
    pub answer: Answer,
    /// What is said after "We are sorry."; only where counted minutes are above zero.
    pub sorry_for: Option<String>,
    /// "We corrected this on 3 Nov: 15 minutes added. Before: $25.00. Now: $25.00."
    pub correction: Option<String>,
    pub bars: DayBars,
    /// "Against what we promised" or "Why nothing"; one section for each promise.
    pub promises: Vec<FactSection>,
    /// One for each stretch of days in which something happened.
    pub lanes: Vec<Lanes>,
    pub records: Vec<RecordTable>,
    pub ask: Option<Ask>,
    /// CSV, receipt, printing.
    pub links: Vec<Link>,
}

/// C3 on one page: "Ask us to look again". Posts `ground` (cost_more, record_wrong, both), `words`, `amount`, `contact`.
#[derive(Clone, Debug, Template)]
#[template(path = "claim_form.html")]
pub struct ClaimFormPage {
    pub shell: Shell,
    pub back: Link,
    pub action: String,
    pub keys: FormKeys,
    pub problems: Problems,
    /// What is known and so is not asked: the outage, the mailboxes, what was credited.
    pub known: Vec<Fact>,
    /// Posted back unchanged as `incident`; empty where the customer knows none.
    pub incident: String,
    /// The chosen ground's wire name; empty on first sight.
    pub ground: String,
    pub words: String,
    pub amount: String,
    /// "In New Zealand dollars, including GST. You can leave this blank and let us decide."
    pub amount_hint: String,
    /// "Email to accounts@harbourfreight.example", "Phone, if mail is still not working"; left out when empty.
    pub contacts: Vec<Choice>,
    /// "You keep the $25.00 whatever we decide. We decide by Friday 4 December, 5:00 pm."
    pub promise: String,
}

impl ClaimFormPage {
    pub fn grounds(&self) -> Vec<Choice> {
        vec![
            Choice::new("cost_more", "It cost my business more than the credit", &self.ground),
            Choice::new("record_wrong", "Your record is wrong", &self.ground),
            Choice::new("both", "Both", &self.ground),
        ]
    }
}

/// Where a claim stands, in the customer's words. A decision that can still be undone is shown as `InReview` or
/// `WithASecond`: decided is not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimStanding {
    /// `due`: "Friday 4 December, 5:00 pm", here and below.
    Received {
        due: String,
    },
    /// `by`: a first name.
    InReview {
        by: String,
        due: String,
    },
    /// `question` and the day after which it is decided on what is there.
    NeedsInfo {
        by: String,
        question: String,
        until: String,
    },
    WithASecond {
        due: String,
    },
    /// `bill`: "your December bill" or "your next bill".
    ApprovedFull {
        amount: String,
        was_asked: bool,
        bill: String,
    },
    ApprovedPart {
        amount: String,
        asked: Option<String>,
        bill: String,
    },
    Rejected {
        keeps: Option<String>,
    },
    /// `what`: "4 more of your mailboxes were down."
    RecordCorrected {
        what: String,
        before: String,
        after: String,
    },
    Withdrawn {
        until: Option<String>,
    },
    /// Appealed: another person looks.
    UnderReview {
        due: String,
    },
    Final {
        scheme: Option<String>,
    },
    /// Not decided when it should have been; the new date.
    Late {
        said: String,
        due: String,
    },
    Draft {
        until: String,
    },
    Lapsed,
    /// What was given was taken back.
    TakenBack {
        amount: String,
    },
}

impl ClaimStanding {
    /// The page's h1.
    pub fn heading(&self) -> String {
        match self {
            ClaimStanding::Draft { .. } => "Your claim is not sent yet".to_owned(),
            ClaimStanding::Received { .. } => "We have your claim".to_owned(),
            ClaimStanding::InReview { .. } => "We are looking at your claim".to_owned(),
            ClaimStanding::NeedsInfo { .. } => "We need something from you".to_owned(),
            ClaimStanding::WithASecond { .. } => "A second person is checking it".to_owned(),
            ClaimStanding::ApprovedFull { amount, was_asked: true, .. } => {
                format!("We are giving you the {amount} you asked for")
            }
            ClaimStanding::ApprovedFull { amount, was_asked: false, .. }
            | ClaimStanding::ApprovedPart { amount, .. } => format!("We are giving you another {amount}"),
            ClaimStanding::Rejected { .. } => "We are not giving you more for this outage".to_owned(),
            ClaimStanding::RecordCorrected { .. } => "You were right. We have corrected our record".to_owned(),
            ClaimStanding::Withdrawn { .. } => "You withdrew this claim".to_owned(),
            ClaimStanding::UnderReview { .. } => "A different person is looking at it again".to_owned(),
            ClaimStanding::Final { .. } => "Our final answer".to_owned(),
            ClaimStanding::Late { .. } => "We have not kept our date".to_owned(),
            ClaimStanding::TakenBack { amount } => format!("We took the {amount} back that we gave you"),
            ClaimStanding::Lapsed => "This claim was not sent".to_owned(),
        }
    }

    /// The line under the heading.
    pub fn line(&self) -> String {
        match self {
            ClaimStanding::Draft { until } => format!("We keep it until {until}."),
            ClaimStanding::Received { due } => format!("A person will read it. We decide by {due}."),
            ClaimStanding::InReview { by, due } => format!("{by} has it. We decide by {due}."),
            ClaimStanding::NeedsInfo { by, question, until } => format!(
                "{by} asked: “{question}” The clock is stopped until you answer. Without an answer by {until} we decide on what we have."
            ),
            ClaimStanding::WithASecond { due } => {
                format!("The amount needs two people to agree. We still decide by {due}.")
            }
            ClaimStanding::ApprovedFull { bill, .. } => format!("It comes off {bill}."),
            ClaimStanding::ApprovedPart { asked: Some(asked), .. } => {
                format!("You asked for {asked}. Below is why.")
            }
            ClaimStanding::ApprovedPart { asked: None, bill, .. } => format!("It comes off {bill}. Below is why."),
            ClaimStanding::Rejected { keeps: Some(keeps) } => format!("You keep the {keeps} credit. Below is why."),
            ClaimStanding::Rejected { keeps: None } => "Below is why.".to_owned(),
            ClaimStanding::RecordCorrected { what, before, after } => {
                format!("{what} Your credit goes from {before} to {after}.")
            }
            ClaimStanding::Withdrawn { until: Some(until) } => format!("You can send it again until {until}."),
            ClaimStanding::Withdrawn { until: None } => String::new(),
            ClaimStanding::UnderReview { due } => format!("Answer by {due}."),
            ClaimStanding::Final { scheme: Some(scheme) } => format!("You can go to {scheme}."),
            ClaimStanding::Final { scheme: None } => String::new(),
            ClaimStanding::Late { said, due } => {
                format!("We said {said}. It is now with a supervisor. New date: {due}.")
            }
            ClaimStanding::TakenBack { .. } => {
                "Call us if nobody has told you why. Below is what we had decided.".to_owned()
            }
            ClaimStanding::Lapsed => "We kept it for 30 days. You can start again.".to_owned(),
        }
    }

    /// Two or three words for the customer's list of claims.
    pub fn short(&self) -> &'static str {
        match self {
            ClaimStanding::Draft { .. } => "Not sent yet",
            ClaimStanding::Received { .. } => "Received",
            ClaimStanding::InReview { .. } => "Being looked at",
            ClaimStanding::NeedsInfo { .. } => "Waiting for you",
            ClaimStanding::WithASecond { .. } => "A second person is checking",
            ClaimStanding::ApprovedFull { .. } => "Given",
            ClaimStanding::ApprovedPart { .. } => "Part given",
            ClaimStanding::Rejected { .. } => "Nothing more given",
            ClaimStanding::RecordCorrected { .. } => "Record corrected",
            ClaimStanding::Withdrawn { .. } => "Withdrawn",
            ClaimStanding::UnderReview { .. } => "Looked at again",
            ClaimStanding::Final { .. } => "Final answer",
            ClaimStanding::Late { .. } => "Late",
            ClaimStanding::TakenBack { .. } => "Taken back",
            ClaimStanding::Lapsed => "Not sent",
        }
    }
}

/// How staff see a state at a glance.
pub fn staff_tag(state: State) -> &'static str {
    match state {
        State::Submitted => "New",
        State::InReview => "Open",
        State::AwaitingSecond => "With supervisor",
        State::Approved => "Approved",
        State::PartApproved => "Part",
        State::Rejected => "Refused",
        State::Withdrawn => "Withdrawn",
    }
}

/// What staff pick and the customer reads first: a reason's name in a list.
pub fn reason_label(reason: Reason) -> &'static str {
    match reason {
        Reason::EvidenceOfCost => "Evidence of cost",
        Reason::EvidencePart => "Evidence of cost, part accepted",
        Reason::RepeatOutage => "Repeated outage",
        Reason::LateNotice => "We told them late",
        Reason::GoodwillFirst => "First time, goodwill",
        Reason::CapReached => "Most we give for one outage reached",
        Reason::NotAffected => "Mailbox not affected",
        Reason::ExcludedPlanned => "Planned work, told in time",
        Reason::CustomerSide => "Cause on the customer's side",
        Reason::UnderMinimum => "Under the minimum",
        Reason::TooLate => "Sent too late",
        Reason::NoEvidenceAfterAsking => "No evidence after we asked",
        Reason::AlreadyPaid => "Already given",
    }
}

/// The reasons in three groups, as the decision form lists them. `chosen` is a wire name.
pub fn reason_groups(chosen: &str) -> Vec<ChoiceGroup> {
    let group = |label: &str, reasons: &[Reason]| ChoiceGroup {
        label: label.to_owned(),
        choices: reasons.iter().map(|reason| Choice::new(reason.name(), reason_label(*reason), chosen)).collect(),
    };
    vec![
        group("Give", &[Reason::EvidenceOfCost, Reason::RepeatOutage, Reason::LateNotice, Reason::GoodwillFirst]),
        group("Give part", &[Reason::EvidencePart, Reason::CapReached]),
        group(
            "Give nothing more",
            &[
                Reason::NotAffected,
                Reason::ExcludedPlanned,
                Reason::CustomerSide,
                Reason::UnderMinimum,
                Reason::TooLate,
                Reason::NoEvidenceAfterAsking,
                Reason::AlreadyPaid,
            ],
        ),
    ]
}

/// What an outage brings in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Total {
    /// "Total credit for this outage".
    pub label: String,
    pub amount: String,
    /// "$25.00 service credit and $240.00 for your costs, including GST. It comes off your December bill."
    pub note: String,
}

/// One step of a claim's story. First names only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrailEntry {
    /// "Fri 20 Nov, 9:12 am".
    pub when: String,
    /// "Mere proposed $240.00. A second person had to agree."
    pub what: String,
    pub link: Option<Link>,
}

/// What a customer can do who does not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagree {
    pub paragraphs: Vec<String>,
    pub review: Option<ActionForm>,
}

/// C4: where one claim stands.
#[derive(Clone, Debug, Template)]
#[template(path = "claim.html")]
pub struct ClaimPage {
    pub shell: Shell,
    pub account: String,
    pub reference: String,
    /// "Claim sent. Your reference is MG-2026-004187."; right after sending.
    pub just_sent: Option<String>,
    pub standing: ClaimStanding,
    pub total: Option<Total>,
    /// Two to five sentences by the person who decided; each entry is a paragraph.
    pub why: Vec<String>,
    /// What the customer wrote, and asked for.
    pub asked_words: String,
    pub asked: Vec<Fact>,
    pub trail: Vec<TrailEntry>,
    pub disagree: Option<Disagree>,
    pub withdraw: Option<ActionForm>,
    pub links: Vec<Link>,
}

/// One line of the customer's list of claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnClaimRow {
    pub reference: String,
    pub href: String,
    pub sent: String,
    /// "The outage of 13 October".
    pub about: String,
    /// "$480.00" or "not said".
    pub asked: String,
    /// "$240.00", or empty while nothing is decided.
    pub given: String,
    pub standing: String,
}

/// The customer's claims.
#[derive(Clone, Debug, Template)]
#[template(path = "claims.html")]
pub struct ClaimsPage {
    pub shell: Shell,
    pub account: String,
    pub rows: Vec<OwnClaimRow>,
    pub ask: Link,
}

/// One credit, or one correction of one (a negative amount with why).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreditRow {
    /// "24 Nov 2026".
    pub date: String,
    /// "Your claim MG-2026-004187", "October outage, service credit".
    pub what: String,
    pub href: Option<String>,
    pub amount: String,
    /// "December 2026", "Your next bill".
    pub bill: String,
    pub standing: CreditStanding,
}

/// C5: the customer's credits.
#[derive(Clone, Debug, Template)]
#[template(path = "credits.html")]
pub struct CreditsPage {
    pub shell: Shell,
    pub account: String,
    /// What waits for the next bill; none when nothing does.
    pub waiting: Option<String>,
    pub rows: Vec<CreditRow>,
    /// "Total this year" and its amount.
    pub total: Option<(String, String)>,
    pub links: Vec<Link>,
}

/// How pressing a date is. It is always said in words as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Soon,
    Late,
}

impl Tone {
    pub fn class(self) -> &'static str {
        match self {
            Tone::Plain => "tag",
            Tone::Soon => "tag soon",
            Tone::Late => "tag late",
        }
    }
}

/// When something is due; see [`super::fmt::due`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// "3 h 20 min", "Late by 2 h".
    pub left: String,
    /// "Mon 23 Nov 2026, 20:00".
    pub at: String,
    pub tone: Tone,
}

impl Due {
    /// As a sentence's start: "Due in 3 h 20 min", "Late by 2 h".
    pub fn words(&self) -> String {
        match self.tone {
            Tone::Late => self.left.clone(),
            Tone::Plain | Tone::Soon => format!("Due in {}", self.left),
        }
    }
}

/// One row of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRow {
    pub reference: String,
    pub href: String,
    pub customer: String,
    /// Empty where the customer named none.
    pub incident: String,
    pub asked: String,
    pub credit: String,
    /// None once it is decided.
    pub due: Option<Due>,
    pub state: String,
    pub owner: String,
}

/// A1: claims to decide. The filter is a GET form of `state` and `find`, and the URL carries it.
#[derive(Clone, Debug, Template)]
#[template(path = "queue.html")]
pub struct QueuePage {
    pub shell: Shell,
    /// "47 open · 3 due today · oldest 4 days".
    pub summary: String,
    /// Where the filter form goes: the page's own path.
    pub action: String,
    pub states: Vec<Choice>,
    pub find: String,
    /// "47 claims"; the table's caption.
    pub caption: String,
    /// Said in place of the table when it is empty: "No claims to decide. Next due: none."
    pub empty: String,
    pub rows: Vec<QueueRow>,
    pub older: Option<String>,
    pub newer: Option<String>,
    /// "You cannot decide a claim that you filed", and the like, after a redirect.
    pub flash: Option<Flash>,
}

/// Something that was just done, said once; with a way back while there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flash {
    /// "Decided. It goes to the customer and the books at 17:05."
    pub text: String,
    pub undo: Option<ActionForm>,
    pub next: Option<Link>,
}

/// A decided claim like this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimilarRow {
    pub reference: String,
    pub href: String,
    pub asked: String,
    pub given: String,
    pub reason: String,
}

/// The decision form. Posts `choice` (all, part, nothing), `amount`, `reason` (a wire name), `words`, `version`, and `do`:
/// `decide` or `recommend` (the button).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecideForm {
    pub action: String,
    pub keys: FormKeys,
    pub version: String,
    pub problems: Problems,
    /// "On top of the $25.00 already credited".
    pub legend: String,
    /// What was asked; without it, nothing can be given "all of".
    pub asked: Option<String>,
    /// `all`, `part`, `nothing`, or empty.
    pub choice: String,
    pub amount: String,
    /// "Amount, NZD incl. GST".
    pub amount_label: String,
    /// "Your limit is $200.00."
    pub limit: String,
    /// What the amount is and what the limit is, when the one is over the other: "$240.00 is over your limit of $200.00."
    pub over: Option<String>,
    pub reasons: Vec<ChoiceGroup>,
    pub words: String,
}

impl DecideForm {
    pub fn choices(&self) -> Vec<Choice> {
        let all = self.asked.as_ref().map(|asked| Choice::new("all", format!("Give all of it, {asked}"), &self.choice));
        let part = if self.asked.is_some() { "Give part of it" } else { "Give an amount" };
        all.into_iter()
            .chain([Choice::new("part", part, &self.choice), Choice::new("nothing", "Give nothing more", &self.choice)])
            .collect()
    }
}

/// What the second person sees and can do. Agreeing posts to `agree`; sending back posts `words` to `send_back`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgreeForm {
    /// "Mere proposed this on Mon 23 Nov, 16:55."
    pub proposed: String,
    /// "$240.00".
    pub amount: String,
    /// The amount beside the cap, the total, the reason.
    pub facts: Vec<Fact>,
    /// What the customer will read.
    pub words: Vec<String>,
    pub agree: ActionForm,
    /// Why this person may not agree: "You proposed this, so someone else must approve it." The button is then disabled.
    pub barred: Option<String>,
    pub send_back: ActionForm,
    pub problems: Problems,
    pub send_back_words: String,
}

/// What stands at the right of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    Decide(Box<DecideForm>),
    Agree(Box<AgreeForm>),
    /// Nothing to do here for this person: `heading` and why ("With supervisor": "$240.00 is over your limit ...").
    ReadOnly {
        heading: String,
        paragraphs: Vec<String>,
        undo: Option<ActionForm>,
    },
}

impl Side {
    pub fn problems(&self) -> &[FieldProblem] {
        match self {
            Side::Decide(form) => form.problems.all(),
            Side::Agree(form) => form.problems.all(),
            Side::ReadOnly { .. } => &[],
        }
    }
}

/// A2: one case; with [`Side::Agree`] also the supervisor's page for one claim.
#[derive(Clone, Debug, Template)]
#[template(path = "case.html")]
pub struct CasePage {
    pub shell: Shell,
    pub reference: String,
    pub customer: String,
    /// "Business Mail, 12 mailboxes · customer since 2017".
    pub about: String,
    pub incident: Option<Link>,
    /// "Open", "With supervisor".
    pub state: String,
    pub due: Option<Due>,
    pub flash: Option<Flash>,
    /// The customer's words as they came; line breaks are kept.
    pub asked_words: String,
    pub asked: Vec<Fact>,
    pub lanes: Vec<Lanes>,
    pub record: Vec<Fact>,
    /// The sum, line by line; folded.
    pub sum: Vec<Fact>,
    pub records: Vec<RecordTable>,
    pub similar_caption: String,
    pub similar: Vec<SimilarRow>,
    pub trail: Vec<TrailEntry>,
    pub side: Side,
    pub history: Vec<String>,
    /// "Mere, 21 Nov: rang them, invoice matches the container dates."
    pub notes: Vec<String>,
}

/// A claim that waits for a second person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRow {
    pub reference: String,
    pub href: String,
    pub customer: String,
    pub asked: String,
    pub proposed: String,
    pub by: String,
    pub due: Option<Due>,
}

/// A credit run that waits for its approval, or is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRow {
    pub reference: String,
    pub href: String,
    pub what: String,
    pub accounts: String,
    pub total: String,
    pub by: String,
    /// "Proposed, expires in 46 h", "Approved", "Done".
    pub state: String,
}

/// What waits for a second person.
#[derive(Clone, Debug, Template)]
#[template(path = "approvals.html")]
pub struct ApprovalsPage {
    pub shell: Shell,
    pub flash: Option<Flash>,
    pub claims: Vec<ApprovalRow>,
    pub runs: Vec<RunRow>,
    /// "Propose the credits of October 2026"; a link to the form, or a button, for those who may.
    pub propose: Vec<ActionForm>,
}

/// A figure at the head of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    pub label: String,
    pub value: String,
}

impl Stat {
    pub fn new(label: impl Into<String>, value: impl Into<String>) -> Self {
        Stat { label: label.into(), value: value.into() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanRow {
    pub plan: String,
    pub promise: String,
    pub accounts: String,
    pub mailboxes: String,
    pub total: String,
}

/// One bar: its words, its number as text, and its length in hundredths of a percent of the longest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    pub label: String,
    pub value: String,
    pub length_bp: u32,
}

impl Bar {
    /// Bars for `(label, count)`, the longest of which fills the row.
    pub fn of_counts(counts: &[(&str, u64)]) -> Vec<Bar> {
        let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
        let length = |count: u64| u32::try_from(u128::from(count) * 10_000 / u128::from(most)).unwrap_or(10_000);
        let bar = |(label, count): &(&str, u64)| Bar {
            label: (*label).to_owned(),
            value: super::fmt::count(*count),
            length_bp: length(*count),
        };
        counts.iter().map(bar).collect()
    }

    /// `--v` of the row: "25.03%".
    pub fn css(&self) -> String {
        format!("{}.{:02}%", self.length_bp / 100, self.length_bp % 100)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldRow {
    /// "Mailbox recorded in two places at once".
    pub reason: String,
    pub accounts: String,
    /// Empty where no amount can be said.
    pub amount: String,
    pub href: Option<String>,
}

/// One account of the sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleRow {
    pub account: String,
    pub href: Option<String>,
    pub plan: String,
    pub down: String,
    pub sum: String,
    pub amount: String,
}

/// How a check came out. The mark has a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Passed,
    Warning,
    Failed,
}

impl Mark {
    pub fn sign(self) -> &'static str {
        match self {
            Mark::Passed => "✓",
            Mark::Warning => "!",
            Mark::Failed => "✗",
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Mark::Passed => "Passed",
            Mark::Warning => "Look",
            Mark::Failed => "Failed",
        }
    }

    pub fn class(self) -> &'static str {
        match self {
            Mark::Passed => "passed",
            Mark::Warning => "warning",
            Mark::Failed => "failed",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub mark: Mark,
    pub text: String,
}

/// Approving a run: posts `total` (as typed), `hash` (of the inputs that were shown) and the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApproveRunForm {
    pub action: String,
    pub keys: FormKeys,
    /// The run's input hash, posted back, so that what is approved is what was seen.
    pub hash: String,
    /// "$338,042.00": to be typed.
    pub total: String,
    pub typed: String,
    pub problems: Problems,
    /// "Approve and credit 149,638 accounts".
    pub button: String,
    /// The failed check or the missing second person; the button is then disabled and described by it.
    pub barred: Option<String>,
    pub send_back: Option<ActionForm>,
}

/// What can be done with a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunSide {
    Approve(Box<ApproveRunForm>),
    /// It no longer matches its inputs, or has expired.
    Stale {
        text: String,
        again: Option<ActionForm>,
    },
    /// "61,204 of 149,638 posted"; `href` is the page itself, for "Update this page".
    Underway {
        text: String,
        href: String,
    },
    Done {
        text: String,
        links: Vec<Link>,
    },
    ReadOnly {
        text: String,
    },
}

impl RunSide {
    pub fn problems(&self) -> &[FieldProblem] {
        match self {
            RunSide::Approve(form) => form.problems.all(),
            RunSide::Stale { .. } | RunSide::Underway { .. } | RunSide::Done { .. } | RunSide::ReadOnly { .. } => &[],
        }
    }
}

/// S1: one credit run.
#[derive(Clone, Debug, Template)]
#[template(path = "run.html")]
pub struct RunPage {
    pub shell: Shell,
    /// "Proposed by Aroha T, 15 Nov 2026, 14:02 · run CR-0091 · expires in 46 h".
    pub line: String,
    /// "Credit 149,638 accounts for October 2026".
    pub heading: String,
    /// Four at most.
    pub stats: Vec<Stat>,
    pub plans: Vec<PlanRow>,
    pub plans_total: PlanRow,
    /// How long accounts were down; may be empty.
    pub hours: Vec<Bar>,
    /// "362 accounts will not be credited by this run".
    pub held_caption: String,
    pub held: Vec<HeldRow>,
    pub sample_caption: String,
    pub sample: Vec<SampleRow>,
    pub checks: Vec<Check>,
    pub side: RunSide,
}

/// One person of the demo. Choosing posts `person`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoPerson {
    /// Posted as `person`.
    pub key: String,
    /// "Mere".
    pub name: String,
    /// "agent", "customer".
    pub role: String,
    /// "Decides claims up to $200.00."
    pub note: String,
}

/// C1 in the demo: pick a person.
#[derive(Clone, Debug, Template)]
#[template(path = "sign_in.html")]
pub struct SignInPage {
    pub shell: Shell,
    pub action: String,
    pub csrf: String,
    /// Headed groups, in the order shown: customers first.
    pub groups: Vec<(String, Vec<DemoPerson>)>,
}

/// A page that cannot be shown, in words, with the request's id.
#[derive(Clone, Debug, Template)]
#[template(path = "error.html")]
pub struct ErrorPage {
    pub shell: Shell,
    pub heading: String,
    pub paragraphs: Vec<String>,
    /// What somebody had typed, so that it is not lost; 409.
    pub kept: Option<String>,
    pub links: Vec<Link>,
    pub request_id: String,
}

impl ErrorPage {
    fn new(mut shell: Shell, heading: &str, paragraphs: Vec<String>, request_id: &str) -> Self {
        shell.title = heading.to_owned();
        ErrorPage {
            shell,
            heading: heading.to_owned(),
            paragraphs,
            kept: None,
            links: Vec::new(),
            request_id: request_id.to_owned(),
        }
    }

    /// 404, also for what somebody may not know of.
    pub fn not_found(shell: Shell, request_id: &str) -> Self {
        let text = "The address may be mistyped, or the page belongs to another account.";
        ErrorPage::new(shell, "We cannot find that page", vec![text.to_owned()], request_id)
    }

    /// 403. `role`: "agent"; `advice`: "Ask a supervisor."
    pub fn forbidden(shell: Shell, role: &str, advice: &str, request_id: &str) -> Self {
        let text = if role.is_empty() { advice.to_owned() } else { format!("Your role is {role}. {advice}") };
        ErrorPage::new(shell, "You do not have access to this page", vec![text], request_id)
    }

    /// 409. `what`: "Mere decided this at 16:55."
    pub fn conflict(shell: Shell, what: &str, kept: Option<String>, request_id: &str) -> Self {
        let text = format!("{what} Nothing you entered was saved to the ledger.");
        let mut page = ErrorPage::new(shell, "Somebody else was first", vec![text], request_id);
        page.kept = kept;
        page
    }

    /// 422, where a form cannot be shown again: it had expired, or was not ours.
    pub fn refused(shell: Shell, what: &str, request_id: &str) -> Self {
        ErrorPage::new(shell, "We could not do that", vec![what.to_owned()], request_id)
    }

    /// 429. `wait`: "14 minutes".
    pub fn too_many(shell: Shell, wait: &str, request_id: &str) -> Self {
        ErrorPage::new(shell, "Too many tries", vec![format!("Try again in {wait}.")], request_id)
    }

    /// 500.
    pub fn broken(shell: Shell, request_id: &str) -> Self {
        let text = "Nothing was saved. If you call us, give us the reference below.";
        ErrorPage::new(shell, "Something broke on our side", vec![text.to_owned()], request_id)
    }

    /// 503.
    pub fn unavailable(shell: Shell, request_id: &str) -> Self {
        let text = "Try again in a minute. Sending the same form again does the thing once.";
        ErrorPage::new(shell, "We are updating", vec![text.to_owned()], request_id)
    }
}
