//! Claims: a customer asks, the operator answers. States, and the only moves between them.

use serde::{Deserialize, Serialize};

use super::actor::{Actor, Role};
use super::ids::{AccountId, ClaimId};
use super::money::Money;
use super::refusal::{Code, Refusal};
use super::time::{Instant, SECOND};

/// What is wrong, in the customer's view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ground {
    /// "It cost my business more than the credit."
    CostMore,
    /// "Your record is wrong."
    RecordWrong,
    Both,
}

impl Ground {
    pub fn name(self) -> &'static str {
        match self {
            Ground::CostMore => "cost_more",
            Ground::RecordWrong => "record_wrong",
            Ground::Both => "both",
        }
    }

    pub fn parse(name: &str) -> Option<Ground> {
        [Ground::CostMore, Ground::RecordWrong, Ground::Both].into_iter().find(|ground| ground.name() == name)
    }
}

/// Where a claim stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Submitted,
    InReview,
    /// Recommended over a limit: a second person has to agree.
    AwaitingSecond,
    Approved,
    PartApproved,
    Rejected,
    Withdrawn,
}

impl State {
    pub const ALL: [State; 7] = [
        State::Submitted,
        State::InReview,
        State::AwaitingSecond,
        State::Approved,
        State::PartApproved,
        State::Rejected,
        State::Withdrawn,
    ];

    pub fn name(self) -> &'static str {
        match self {
            State::Submitted => "submitted",
            State::InReview => "in_review",
            State::AwaitingSecond => "awaiting_second",
            State::Approved => "approved",
            State::PartApproved => "part_approved",
            State::Rejected => "rejected",
            State::Withdrawn => "withdrawn",
        }
    }

    pub fn parse(name: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether it waits for somebody: an account has one open claim for an incident at most.
    pub fn is_open(self) -> bool {
        match self {
            State::Submitted | State::InReview | State::AwaitingSecond => true,
            State::Approved | State::PartApproved | State::Rejected | State::Withdrawn => false,
        }
    }
}

/// Why it was decided so: each has wording that the customer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    EvidenceOfCost,
    EvidencePart,
    RepeatOutage,
    LateNotice,
    GoodwillFirst,
    CapReached,
    NotAffected,
    ExcludedPlanned,
    CustomerSide,
    UnderMinimum,
    TooLate,
    NoEvidenceAfterAsking,
    AlreadyPaid,
}

impl Reason {
    pub const ALL: [Reason; 13] = [
        Reason::EvidenceOfCost,
        Reason::EvidencePart,
        Reason::RepeatOutage,
        Reason::LateNotice,
        Reason::GoodwillFirst,
        Reason::CapReached,
        Reason::NotAffected,
        Reason::ExcludedPlanned,
        Reason::CustomerSide,
        Reason::UnderMinimum,
        Reason::TooLate,
        Reason::NoEvidenceAfterAsking,
        Reason::AlreadyPaid,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Reason::EvidenceOfCost => "evidence_of_cost",
            Reason::EvidencePart => "evidence_part",
            Reason::RepeatOutage => "repeat_outage",
            Reason::LateNotice => "late_notice",
            Reason::GoodwillFirst => "goodwill_first",
            Reason::CapReached => "cap_reached",
            Reason::NotAffected => "not_affected",
            Reason::ExcludedPlanned => "excluded_planned",
            Reason::CustomerSide => "customer_side",
            Reason::UnderMinimum => "under_minimum",
            Reason::TooLate => "too_late",
            Reason::NoEvidenceAfterAsking => "no_evidence_after_asking",
            Reason::AlreadyPaid => "already_paid",
        }
    }

    pub fn parse(name: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

/// A claim as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub id: ClaimId,
    pub account: AccountId,
    /// What people call it: MG-2026-004187.
    pub reference: String,
    /// Counts the moves; a caller who saw an older one is told so.
    pub version: i32,
    pub state: State,
    pub ground: Ground,
    /// The outage that it is about, where the customer knows one.
    pub incident: Option<String>,
    /// The customer's own words.
    pub words: String,
    pub asked: Option<Money>,
    pub filed_by: String,
    pub filed_at: Instant,
    pub due_at: Instant,
    /// Who recommended, how much, and why.
    pub recommendation: Option<Opinion>,
    pub decision: Option<Decision>,
}

/// What somebody thinks should be given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opinion {
    /// [`Actor::key`] and the name that pages show.
    pub by: String,
    pub by_name: String,
    pub at: Instant,
    pub amount: Money,
    pub reason: Reason,
    /// What the customer will be told.
    pub words: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub opinion: Opinion,
    /// The second person, where two were needed.
    pub agreed_by: Option<String>,
    /// The limit that the one who decided had, in minor units.
    pub under_limit_minor: Option<i64>,
    pub decided_at: Instant,
    /// Until then it can be undone; from then on it is posted.
    pub posts_at: Instant,
    /// When the credit was issued; none before `posts_at`, and for good where nothing is given.
    pub posted_at: Option<Instant>,
}

/// What somebody wants to do to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Decide, within one's limit.
    Approve {
        amount: Money,
        reason: Reason,
        words: String,
    },
    /// Say what should be given; a second person decides.
    Recommend {
        amount: Money,
        reason: Reason,
        words: String,
    },
    /// The second person decides as recommended.
    Agree,
    /// The second person hands it back.
    SendBack {
        words: String,
    },
    Reject {
        reason: Reason,
        words: String,
    },
    /// Take back a decision that is not posted yet.
    Undo,
    Withdraw,
}

impl Action {
    pub fn name(&self) -> &'static str {
        match self {
            Action::Approve { .. } => "approve",
            Action::Recommend { .. } => "recommend",
            Action::Agree => "agree",
            Action::SendBack { .. } => "send-back",
            Action::Reject { .. } => "reject",
            Action::Undo => "undo",
            Action::Withdraw => "withdraw",
        }
    }
}

/// The rules that an action is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub agent_limit: Money,
    /// The most for one account and incident by this road; what was given before counts.
    pub cap: Money,
    pub given_before: Money,
    pub hold_seconds: u32,
}

impl Claim {
    /// What becomes of the claim. Refusals win in this order: role, state, four eyes, amount, limit.
    pub fn apply(mut self, action: &Action, actor: &Actor, rules: &Rules, now: Instant) -> Result<Claim, Refusal> {
        self.check_role(action, actor)?;
        self.check_state(action, now)?;
        self.check_eyes(action, actor)?;
        let limit = rules.agent_limit;
        let opinion = |amount: Money, reason, words: &str| Opinion {
            by: actor.key(),
            by_name: actor.name.clone(),
            at: now,
            amount,
            reason,
            words: words.to_owned(),
        };
        match action {
            Action::Approve { amount, reason, words } => {
                self.check_amount(*amount, words, rules)?;
                let is_over = amount.minor() > limit.minor();
                if is_over {
                    return Err(over_limit(*amount, limit));
                }
                self.decide(opinion(*amount, *reason, words), None, rules, now);
            }
            Action::Recommend { amount, reason, words } => {
                self.check_amount(*amount, words, rules)?;
                self.recommendation = Some(opinion(*amount, *reason, words));
                self.state = State::AwaitingSecond;
            }
            Action::Agree => {
                let recommended = self.recommendation.clone().ok_or_else(|| wrong_state(&self, action))?;
                self.check_amount(recommended.amount, &recommended.words, rules)?;
                self.decide(recommended, Some(actor.key()), rules, now);
            }
            Action::SendBack { words } => {
                check_words(words, 1)?;
                self.recommendation = None;
                self.state = State::InReview;
            }
            Action::Reject { reason, words } => {
                check_words(words, 40)?;
                let currency = limit.currency();
                self.decide(opinion(Money::zero(currency), *reason, words), None, rules, now);
            }
            Action::Undo => {
                self.decision = None;
                self.recommendation = None;
                self.state = State::InReview;
            }
            Action::Withdraw => self.state = State::Withdrawn,
        }
        self.version += 1;
        Ok(self)
    }

    fn decide(&mut self, opinion: Opinion, agreed_by: Option<String>, rules: &Rules, now: Instant) {
        let is_all = self.asked.is_some_and(|asked| opinion.amount == asked);
        self.state = match (opinion.amount.is_positive(), is_all) {
            (false, _) => State::Rejected,
            (true, true) => State::Approved,
            (true, false) => State::PartApproved,
        };
        self.decision = Some(Decision {
            under_limit_minor: agreed_by.is_none().then_some(rules.agent_limit.minor()),
            opinion,
            agreed_by,
            decided_at: now,
            posts_at: now.plus(i64::from(rules.hold_seconds) * SECOND),
            posted_at: None,
        });
    }

    fn check_role(&self, action: &Action, actor: &Actor) -> Result<(), Refusal> {
        let needed: &[Role] = match action {
            Action::Approve { .. } | Action::Recommend { .. } | Action::Reject { .. } => {
                &[Role::Agent, Role::Supervisor]
            }
            Action::Agree | Action::SendBack { .. } => &[Role::Supervisor],
            Action::Undo => &[Role::Agent, Role::Supervisor],
            Action::Withdraw => &[Role::Customer],
        };
        if actor.has_any(needed) {
            return Ok(());
        }
        let names: Vec<&str> = needed.iter().map(|role| role.name()).collect();
        Err(Refusal::new(
            Code::Forbidden,
            format!("To {} a claim needs the role {}.", action.name(), names.join(" or ")),
        ))
    }

    fn check_state(&self, action: &Action, now: Instant) -> Result<(), Refusal> {
        let fits = match action {
            Action::Approve { .. } | Action::Recommend { .. } | Action::Reject { .. } => {
                matches!(self.state, State::Submitted | State::InReview)
            }
            Action::Agree | Action::SendBack { .. } => self.state == State::AwaitingSecond,
            Action::Undo => {
                self.decision.as_ref().is_some_and(|decision| decision.posted_at.is_none() && now < decision.posts_at)
            }
            Action::Withdraw => self.state.is_open(),
        };
        if fits { Ok(()) } else { Err(wrong_state(self, action)) }
    }

    /// Nobody decides what they filed; the second person is another one; a customer's token never decides.
    fn check_eyes(&self, action: &Action, actor: &Actor) -> Result<(), Refusal> {
        let key = actor.key();
        let decides = match action {
            Action::Approve { .. } | Action::Recommend { .. } | Action::Reject { .. } | Action::Agree => true,
            Action::SendBack { .. } | Action::Undo | Action::Withdraw => false,
        };
        if decides && self.filed_by == key {
            return Err(Refusal::new(Code::FourEyes, "You filed this claim, so someone else must decide it."));
        }
        let recommended_it = self.recommendation.as_ref().is_some_and(|recommended| recommended.by == key);
        if matches!(action, Action::Agree) && recommended_it {
            return Err(Refusal::new(Code::FourEyes, "You recommended this, so someone else must agree to it."));
        }
        Ok(())
    }

    fn check_amount(&self, amount: Money, words: &str, rules: &Rules) -> Result<(), Refusal> {
        if amount.currency() != rules.agent_limit.currency() {
            return Err(Refusal::field(
                "/amount",
                format!("the account's currency is {}", rules.agent_limit.currency()),
            ));
        }
        if !amount.is_positive() {
            return Err(Refusal::field("/amount", "the amount must be above zero; to give nothing, reject the claim"));
        }
        if let Some(asked) = self.asked
            && amount.minor() > asked.minor()
        {
            return Err(Refusal::field(
                "/amount",
                format!("{} is more than the {} that was asked for", show(amount), show(asked)),
            ));
        }
        let total = amount.plus(rules.given_before).map_err(|error| Refusal::field("/amount", error.to_string()))?;
        if total.minor() > rules.cap.minor() {
            return Err(Refusal::field(
                "/amount",
                format!(
                    "with what was given before this would be {}, over the most for one outage, {}",
                    show(total),
                    show(rules.cap)
                ),
            ));
        }
        check_words(words, 1)
    }
}

fn check_words(words: &str, least: usize) -> Result<(), Refusal> {
    match words.trim().chars().count() {
        count if count < least => {
            Err(Refusal::field("/words", format!("tell the customer why, in at least {least} characters")))
        }
        count if count > 4_000 => Err(Refusal::field("/words", "at most 4,000 characters")),
        _ => Ok(()),
    }
}

fn show(amount: Money) -> String {
    format!("{} {}", amount.digits(), amount.currency())
}

/// Over one's own limit: the way on is a recommendation.
pub fn over_limit(amount: Money, limit: Money) -> Refusal {
    let detail = format!("{} is over your limit of {}. Send it to a supervisor.", show(amount), show(limit));
    Refusal::new(Code::OverLimit, detail)
}

fn wrong_state(claim: &Claim, action: &Action) -> Refusal {
    let detail =
        format!("Claim {} is {}; to {} it is not possible now.", claim.reference, claim.state.name(), action.name());
    Refusal::new(Code::WrongState, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nzd(minor: i64) -> Money {
        Money::from_minor(minor, "NZD".parse().unwrap()).unwrap()
    }

    fn actor(name: &str, role: Role) -> Actor {
        Actor {
            issuer: "staff".into(),
            subject: name.into(),
            name: name.into(),
            roles: [role].into(),
            accounts: vec![],
            source: None,
        }
    }

    fn claim(state: State) -> Claim {
        let account = AccountId::of("1");
        let at = Instant::parse("2026-11-20T00:00:00Z").unwrap();
        Claim {
            id: ClaimId::of(account, "k"),
            account,
            reference: "MG-2026-000001".into(),
            version: 1,
            state,
            ground: Ground::CostMore,
            incident: None,
            words: "w".into(),
            asked: Some(nzd(48_000)),
            filed_by: "customers|hana".into(),
            filed_at: at,
            due_at: at,
            recommendation: (state == State::AwaitingSecond).then(|| Opinion {
                by: "staff|mere".into(),
                by_name: "Mere".into(),
                at,
                amount: nzd(24_000),
                reason: Reason::EvidencePart,
                words: "part".into(),
            }),
            decision: None,
        }
    }

    fn rules() -> Rules {
        Rules { agent_limit: nzd(20_000), cap: nzd(100_000), given_before: nzd(0), hold_seconds: 600 }
    }

    fn now() -> Instant {
        Instant::parse("2026-11-23T04:00:00Z").unwrap()
    }

    fn approve(minor: i64) -> Action {
        Action::Approve { amount: nzd(minor), reason: Reason::EvidencePart, words: "because".into() }
    }

    /// States down, actions across: the code of the refusal, or the state that follows.
    #[test]
    fn the_whole_matrix() {
        let words = "Your mailboxes were on a mail system that kept working.".to_owned();
        let actions = [
            (approve(20_000), Role::Agent),
            (Action::Recommend { amount: nzd(24_000), reason: Reason::EvidencePart, words: "w".into() }, Role::Agent),
            (Action::Agree, Role::Supervisor),
            (Action::SendBack { words: "why?".into() }, Role::Supervisor),
            (Action::Reject { reason: Reason::NotAffected, words }, Role::Agent),
            (Action::Undo, Role::Agent),
            (Action::Withdraw, Role::Customer),
        ];
        let mut table = String::new();
        for state in State::ALL {
            let row: Vec<String> = actions
                .iter()
                .map(|(action, role)| match claim(state).apply(action, &actor("wiremu", *role), &rules(), now()) {
                    Ok(next) => next.state.name().to_owned(),
                    Err(refusal) => refusal.code.name().to_owned(),
                })
                .collect();
            table += &format!("{}: {}\n", state.name(), row.join(" "));
        }
        assert_eq!(
            table,
            "submitted: part_approved awaiting_second wrong_state wrong_state rejected wrong_state withdrawn\n\
             in_review: part_approved awaiting_second wrong_state wrong_state rejected wrong_state withdrawn\n\
             awaiting_second: wrong_state wrong_state part_approved in_review wrong_state wrong_state withdrawn\n\
             approved: wrong_state wrong_state wrong_state wrong_state wrong_state wrong_state wrong_state\n\
             part_approved: wrong_state wrong_state wrong_state wrong_state wrong_state wrong_state wrong_state\n\
             rejected: wrong_state wrong_state wrong_state wrong_state wrong_state wrong_state wrong_state\n\
             withdrawn: wrong_state wrong_state wrong_state wrong_state wrong_state wrong_state wrong_state\n"
        );
    }

    #[test]
    fn exactly_the_limit_is_decided_and_a_cent_over_it_is_not() {
        let mere = actor("mere", Role::Agent);
        let decided = claim(State::InReview).apply(&approve(20_000), &mere, &rules(), now()).unwrap();
        assert_eq!(decided.state, State::PartApproved);
        assert_eq!(decided.decision.unwrap().posts_at, now().plus(600 * SECOND));
        let refused = claim(State::InReview).apply(&approve(20_001), &mere, &rules(), now()).unwrap_err();
        assert_eq!(refused.code, Code::OverLimit);
        assert_eq!(refused.detail, "200.01 NZD is over your limit of 200.00 NZD. Send it to a supervisor.");
    }

    #[test]
    fn who_recommended_does_not_agree_and_who_filed_does_not_decide() {
        let mere = actor("mere", Role::Supervisor);
        assert_eq!(
            claim(State::AwaitingSecond).apply(&Action::Agree, &mere, &rules(), now()).unwrap_err().code,
            Code::FourEyes
        );
        let mut own = claim(State::InReview);
        own.filed_by = mere.key();
        assert_eq!(own.apply(&approve(100), &mere, &rules(), now()).unwrap_err().code, Code::FourEyes);
    }

    #[test]
    fn a_decision_can_be_undone_until_it_posts() {
        let mere = actor("mere", Role::Agent);
        let decided = claim(State::InReview).apply(&approve(100), &mere, &rules(), now()).unwrap();
        let late = now().plus(600 * SECOND);
        assert_eq!(decided.clone().apply(&Action::Undo, &mere, &rules(), late).unwrap_err().code, Code::WrongState);
        let undone = decided.apply(&Action::Undo, &mere, &rules(), late.plus(-1)).unwrap();
        assert_eq!((undone.state, undone.decision), (State::InReview, None));
    }

    #[test]
    fn more_than_was_asked_or_than_the_cap_is_refused() {
        let wiremu = actor("wiremu", Role::Supervisor);
        for (minor, before) in [(48_001, 0), (10_000, 95_000)] {
            let rules = Rules { agent_limit: nzd(1_000_000), given_before: nzd(before), ..rules() };
            let refused = claim(State::InReview).apply(&approve(minor), &wiremu, &rules, now()).unwrap_err();
            assert_eq!(refused.code, Code::InvalidRequest, "{minor} after {before}");
        }
    }
}
