//! Outage windows: what we hold to be true about one scope and one capability. Versioned, never edited.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ids::{MailboxListId, WindowId};
use super::observation::About;
use super::refusal::{Code, FieldError, Refusal};
use super::time::{Instant, Interval, MINUTE};

/// How far the edges that two sources report may lie apart, in microseconds, before a person has to say which holds.
pub const TOLERANCE: i64 = 5 * MINUTE;

/// The most shards that one scope may name.
const MOST_SHARDS: usize = 1_000;

/// What a mailbox can do: data, not code. `receive`, `send` and `access` are the operator's to extend; a child is written
/// after its parent, `access.webmail`.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema, schemars::JsonSchema,
)]
#[serde(transparent)]
#[schema(example = "receive")]
pub struct Capability(pub String);

impl Capability {
    /// Whether `self` is `whole` or a child of it.
    pub fn is_within(&self, whole: &Capability) -> bool {
        self == whole || self.0.strip_prefix(&whole.0).is_some_and(|rest| rest.starts_with('.'))
    }

    /// Says what is wrong with the name, if anything is.
    pub fn check(&self) -> Result<(), &'static str> {
        let is_part = |part: &str| {
            part.starts_with(|first: char| first.is_ascii_lowercase())
                && part.chars().all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '_')
        };
        if self.0.len() <= 100 && self.0.split('.').all(is_part) {
            Ok(())
        } else {
            Err("a capability is written like receive or access.webmail")
        }
    }
}

/// Which mailboxes a window is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Every mailbox.
    All,
    /// The mailboxes that lived on one of these shards at the time.
    Shards(Vec<String>),
    /// These mailboxes, wherever they lived. A list is this for each account: its own mailboxes and no other's.
    Mailboxes(Vec<String>),
    /// The mailboxes of an uploaded list. Whoever makes a sum puts the account's own in its place first: by itself it covers nothing.
    #[schemars(skip)]
    List(MailboxListId),
}

impl Scope {
    /// Whether it is about `mailbox` while that lives on `shard`.
    pub fn covers(&self, mailbox: &str, shard: &str) -> bool {
        match self {
            Scope::All => true,
            Scope::Shards(shards) => shards.iter().any(|one| one == shard),
            Scope::Mailboxes(mailboxes) => mailboxes.iter().any(|one| one == mailbox),
            Scope::List(_) => false,
        }
    }

    /// The shards that it names.
    pub fn shards(&self) -> &[String] {
        match self {
            Scope::Shards(shards) => shards,
            Scope::All | Scope::Mailboxes(_) | Scope::List(_) => &[],
        }
    }

    /// Says what is wrong with the scope, if anything is.
    pub fn check(&self) -> Result<(), &'static str> {
        match self {
            Scope::All | Scope::List(_) => Ok(()),
            // The same name may be another account's mailbox too.
            Scope::Mailboxes(_) => {
                Err("name mailboxes with their accounts: POST /v1/mailbox-lists, and give the list's id")
            }
            Scope::Shards(shards) if shards.is_empty() => Err("name at least one shard, or write all"),
            Scope::Shards(shards) if shards.len() > MOST_SHARDS => Err("at most 1,000 shards"),
            Scope::Shards(shards) => {
                let is_name = |shard: &String| {
                    !shard.trim().is_empty() && shard.len() <= 200 && !shard.chars().any(char::is_control)
                };
                if shards.iter().all(is_name) {
                    Ok(())
                } else {
                    Err("a shard's name has 1 to 200 characters and no control characters")
                }
            }
        }
    }
}

/// How bad it was. Terms say what each is worth.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema, schemars::JsonSchema,
)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Impact {
    /// It did not work at all.
    Full,
    /// It worked in part; the weight is the part that did not, in hundredths of a percent (10,000 is all of it).
    Degraded { weight_bp: u16 },
    /// It worked, late by this many seconds.
    Delayed { seconds: u32 },
}

impl Impact {
    /// Says what is wrong with the figures, if anything is.
    pub fn check(&self) -> Result<(), &'static str> {
        match self {
            Impact::Full => Ok(()),
            Impact::Degraded { weight_bp: 1..=10_000 } => Ok(()),
            Impact::Degraded { .. } => Err("weight_bp is from 1 to 10000, hundredths of a percent that did not work"),
            Impact::Delayed { seconds: 0 } => Err("seconds of delay must be at least 1"),
            Impact::Delayed { .. } => Ok(()),
        }
    }
}

/// How many of those who use the service a window hit. Terms say what that means.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Hit")]
pub struct Reach {
    /// At most `of`.
    #[schema(example = 12_345)]
    pub hit: u32,
    /// At least 1.
    #[schema(example = 37_035)]
    pub of: u32,
}

impl Reach {
    /// Says what is wrong with the figures, if anything is.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.of > 0 && self.hit <= self.of {
            Ok(())
        } else {
            Err("reach says how many were hit, of how many: hit is at most of, and of is at least 1")
        }
    }
}

/// When planned work was announced, and for when. What runs over the announced interval is not planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Announcement {
    #[schema(value_type = String, example = "2026-10-11T00:00:00Z")]
    pub announced_at: Instant,
    #[schema(value_type = Object, example = json!({"start": "2026-10-12T16:10:00Z", "end": "2026-10-12T17:10:00Z"}))]
    pub interval: Interval,
}

/// Whether a window may move money. Only a confirmed one may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum WindowState {
    Provisional,
    Confirmed {
        by: String,
        #[schema(value_type = String)]
        at: Instant,
    },
    Retracted {
        by: String,
        #[schema(value_type = String)]
        at: Instant,
    },
}

/// How an observed time became the real one: alerts start late, by the rule's `for:` and a scrape interval, and may be held
/// on by `keep_firing_for`. Real start = observed start - `for_seconds` - `scrape_seconds`; real end = observed end -
/// `keep_firing_seconds`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct Correction {
    pub for_seconds: u32,
    pub scrape_seconds: u32,
    pub keep_firing_seconds: u32,
}

/// Whether it is known that it did not work.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    #[default]
    Known,
    /// Everybody who watches it was silent. It is neither up nor down; terms say who bears it.
    Unknown,
}

impl Certainty {
    pub fn is_known(&self) -> bool {
        *self == Certainty::Known
    }
}

/// What one source said of a window, after correction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The monitor, or the person who entered it by hand.
    pub source: String,
    #[schema(value_type = String, example = "2026-10-12T17:10:00Z")]
    pub start: Instant,
    /// None while it goes on.
    #[schema(value_type = Option<String>, example = "2026-10-13T15:10:00Z")]
    pub end: Option<Instant>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correction: Option<Correction>,
}

/// One version of one window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutageWindow {
    #[schema(value_type = uuid::Uuid)]
    pub id: WindowId,
    /// 1 for the first version; each correction is the next.
    pub version: i32,
    /// What failed, where it is known by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<About>,
    pub scope: Scope,
    pub capability: Capability,
    #[serde(default, skip_serializing_if = "Certainty::is_known")]
    pub certainty: Certainty,
    #[schema(value_type = String, example = "2026-10-12T17:10:00Z")]
    pub start: Instant,
    /// None while it goes on.
    #[schema(value_type = Option<String>, example = "2026-10-13T15:10:00Z")]
    pub end: Option<Instant>,
    pub impact: Impact,
    /// None where it hit all who use the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<Reach>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned: Option<Announcement>,
    pub state: WindowState,
    /// Who said what. A window by hand has one report, its author's.
    pub reports: Vec<Report>,
    /// Why this version differs from the one before; for the first, what its author noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl OutageWindow {
    /// The time it covers up to `as_of`: an open window lasts until whoever asks. None when it begins later.
    pub fn interval(&self, as_of: Instant) -> Option<Interval> {
        Interval::new(self.start, self.end.unwrap_or(as_of)).ok()
    }

    pub fn is_confirmed(&self) -> bool {
        matches!(self.state, WindowState::Confirmed { .. })
    }

    pub fn is_retracted(&self) -> bool {
        matches!(self.state, WindowState::Retracted { .. })
    }

    /// Where the sources' reports lie further apart than [`TOLERANCE`], at either edge. A report without an end says nothing
    /// about the end. Sources that were silent at different times do not contradict each other.
    pub fn disagreement(&self) -> Option<Disagreement> {
        if !self.certainty.is_known() {
            return None;
        }
        let starts = Spread::of(self.reports.iter().map(|report| report.start));
        let ends = Spread::of(self.reports.iter().filter_map(|report| report.end));
        (starts.is_some() || ends.is_some()).then_some(Disagreement { starts, ends })
    }

    /// Signs it off: from now on it may move money. `settled` says that a person wrote this version, and so has judged
    /// whatever the sources disagree about. Which refusal wins when several apply: wrong state, still open, disagreement.
    pub fn confirm(&self, settled: bool, by: &str, now: Instant) -> Result<OutageWindow, Refusal> {
        match &self.state {
            WindowState::Provisional => {}
            WindowState::Confirmed { .. } => {
                return Err(Refusal::new(Code::WrongState, "This outage is signed off already."));
            }
            WindowState::Retracted { .. } => {
                return Err(Refusal::new(Code::WrongState, "This outage was taken back. Enter a new one."));
            }
        }
        if self.end.is_none_or(|end| end > now) {
            let detail = "This outage is still going on, or its end is not known. Amend it with an end first.";
            return Err(Refusal::new(Code::StillOpen, detail));
        }
        if let Some(disagreement) = self.disagreement().filter(|_| !settled) {
            let detail = format!("{disagreement} Amend the outage with a reason to say which holds, then sign it off.");
            return Err(Refusal::new(Code::Disagreement, detail));
        }
        Ok(OutageWindow {
            version: self.version + 1,
            state: WindowState::Confirmed { by: by.to_owned(), at: now },
            reason: None,
            ..self.clone()
        })
    }

    /// The next version with `change` made, provisional again: whatever was signed off is not this.
    pub fn amend(&self, change: Amendment, reason: &str, by: &str, now: Instant) -> Result<OutageWindow, Refusal> {
        if self.is_retracted() {
            return Err(Refusal::new(Code::WrongState, "This outage was taken back. Enter a new one."));
        }
        let reason = reason.trim();
        if reason.is_empty() || reason.chars().count() > 1_000 {
            return Err(Refusal::field("/reason", "say why, in 1 to 1,000 characters"));
        }
        let next =
            |state| OutageWindow { version: self.version + 1, state, reason: Some(reason.to_owned()), ..self.clone() };
        let change = match change {
            Amendment::Retract => return Ok(next(WindowState::Retracted { by: by.to_owned(), at: now })),
            Amendment::Change(change) => change,
        };
        let mut amended = next(WindowState::Provisional);
        amended.start = change.start.unwrap_or(amended.start);
        amended.end = change.end.unwrap_or(amended.end);
        amended.scope = change.scope.unwrap_or(amended.scope);
        amended.capability = change.capability.unwrap_or(amended.capability);
        amended.impact = change.impact.unwrap_or(amended.impact);
        amended.certainty = change.certainty.unwrap_or(amended.certainty);
        amended.planned = change.planned.unwrap_or(amended.planned);
        amended.check(now)?;
        Ok(amended)
    }

    /// Whether `other` differs in nothing but its version, its reason, and who signed it.
    pub fn says_the_same(&self, other: &OutageWindow) -> bool {
        let rest = OutageWindow {
            version: other.version,
            state: other.state.clone(),
            reason: other.reason.clone(),
            ..self.clone()
        };
        self.is_retracted() == other.is_retracted() && rest == *other
    }

    /// Refuses what cannot have been. Only planned work may lie in the future.
    pub fn check(&self, now: Instant) -> Result<(), Refusal> {
        let mut errors = Vec::new();
        let mut wrong = |pointer: &str, message: &str| {
            errors.push(FieldError { pointer: pointer.to_owned(), message: message.to_owned() });
        };
        let not_yet = "that time has not happened yet; only planned work may be entered ahead";
        let announced_until = self.planned.map_or(now, |planned| planned.interval.end().max(now));
        if self.start > announced_until {
            wrong("/start", not_yet);
        }
        if self.end.is_some_and(|end| end <= self.start) {
            wrong("/end", "the end must be after the start");
        }
        if self.end.is_some_and(|end| end > announced_until) {
            wrong("/end", not_yet);
        }
        if self.planned.is_some_and(|planned| planned.announced_at > now) {
            wrong("/planned/announced_at", "that time has not happened yet");
        }
        if let Err(message) = self.scope.check() {
            wrong("/scope", message);
        }
        if let Err(message) = self.capability.check() {
            wrong("/capability", message);
        }
        if let Some(message) = self.reach.and_then(|reach| reach.check().err()) {
            wrong("/reach", message);
        }
        if let Err(message) = self.impact.check() {
            wrong("/impact", message);
        }
        if errors.is_empty() { Ok(()) } else { Err(Refusal::invalid(errors)) }
    }
}

/// What a person changes about a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Amendment {
    /// It was no outage.
    Retract,
    Change(WindowChange),
}

/// What becomes different; None leaves a field as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WindowChange {
    pub start: Option<Instant>,
    /// `Some(None)`: it has no end yet.
    pub end: Option<Option<Instant>>,
    pub scope: Option<Scope>,
    pub capability: Option<Capability>,
    pub impact: Option<Impact>,
    pub certainty: Option<Certainty>,
    /// `Some(None)`: it was not planned.
    pub planned: Option<Option<Announcement>>,
}

/// The earliest and the latest of several times that lie too far apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Spread {
    #[schema(value_type = String)]
    pub earliest: Instant,
    #[schema(value_type = String)]
    pub latest: Instant,
}

impl Spread {
    /// None where the times lie within [`TOLERANCE`] of each other.
    fn of(times: impl Iterator<Item = Instant> + Clone) -> Option<Self> {
        let (earliest, latest) = (times.clone().min()?, times.max()?);
        (latest.micros() - earliest.micros() > TOLERANCE).then_some(Spread { earliest, latest })
    }
}

/// How the sources of a window contradict each other. At least one of the two is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Disagreement {
    pub starts: Option<Spread>,
    pub ends: Option<Spread>,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("The monitors disagree.")?;
        if let Some(Spread { earliest, latest }) = self.starts {
            write!(f, " One says that it began at {earliest}, another at {latest}.")?;
        }
        if let Some(Spread { earliest, latest }) = self.ends {
            write!(f, " One says that it ended at {earliest}, another at {latest}.")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Instant {
        Instant::parse(text).unwrap()
    }

    fn report(source: &str, start: &str, end: Option<&str>) -> Report {
        Report { source: source.to_owned(), start: at(start), end: end.map(at), correction: None }
    }

    /// One monitor says down since 05:10, the other since 06:10, until 04:10 the next day.
    fn disputed() -> OutageWindow {
        OutageWindow {
            id: WindowId::of("prom-a", "f1"),
            version: 1,
            about: None,
            certainty: Certainty::Known,
            scope: Scope::Shards(vec!["mx-07".to_owned()]),
            capability: Capability("receive".to_owned()),
            start: at("2026-10-13T05:10:00+13:00"),
            end: Some(at("2026-10-14T04:10:00+13:00")),
            impact: Impact::Full,
            reach: None,
            planned: None,
            state: WindowState::Provisional,
            reports: vec![
                report("prom-a", "2026-10-13T05:10:00+13:00", Some("2026-10-14T04:10:00+13:00")),
                report("prom-b", "2026-10-13T06:10:00+13:00", Some("2026-10-14T04:12:00+13:00")),
            ],
            reason: None,
        }
    }

    const NOW: &str = "2026-10-20T00:00:00Z";

    #[test]
    fn a_disputed_window_is_not_signed_off_until_a_person_has_settled_it() {
        let window = disputed();
        let disagreement = window.disagreement().unwrap();
        assert_eq!(disagreement.ends, None);
        assert_eq!(disagreement.starts.unwrap().latest, at("2026-10-13T06:10:00+13:00"));
        assert_eq!(window.confirm(false, "Mere", at(NOW)).unwrap_err().code, Code::Disagreement);

        let announcement = Announcement {
            announced_at: at("2026-10-11T09:00:00+13:00"),
            interval: Interval::new(at("2026-10-13T05:10:00+13:00"), at("2026-10-13T06:10:00+13:00")).unwrap(),
        };
        let change = WindowChange { planned: Some(Some(announcement)), ..WindowChange::default() };
        let settled = window.amend(Amendment::Change(change), "planned until 06:10", "Mere", at(NOW)).unwrap();
        assert_eq!((settled.version, settled.reports.len()), (2, 2));
        let confirmed = settled.confirm(true, "Mere", at(NOW)).unwrap();
        assert!(confirmed.is_confirmed() && confirmed.version == 3 && confirmed.planned == Some(announcement));
        assert_eq!(confirmed.confirm(true, "Mere", at(NOW)).unwrap_err().code, Code::WrongState);
    }

    #[test]
    fn an_open_window_is_not_signed_off_and_neither_is_one_that_ends_later() {
        let open = OutageWindow { end: None, ..disputed() };
        assert_eq!(open.confirm(true, "Mere", at(NOW)).unwrap_err().code, Code::StillOpen);
        let early = at("2026-10-13T00:00:00Z");
        assert_eq!(disputed().confirm(true, "Mere", early).unwrap_err().code, Code::StillOpen);
    }

    #[test]
    fn reports_five_minutes_apart_agree_and_a_microsecond_more_does_not() {
        let mut window = disputed();
        window.reports[1].start = window.reports[0].start.plus(TOLERANCE);
        assert_eq!(window.disagreement(), None);
        window.reports[1].start = window.reports[0].start.plus(TOLERANCE + 1);
        assert!(window.disagreement().is_some());
        window.reports.truncate(1);
        assert_eq!(window.disagreement(), None);
    }

    #[test]
    fn an_amendment_needs_a_reason_and_makes_the_window_provisional_again() {
        let confirmed = disputed().confirm(true, "Mere", at(NOW)).unwrap();
        let change = WindowChange { end: Some(Some(at("2026-10-14T04:40:00+13:00"))), ..WindowChange::default() };
        let amend = |reason| confirmed.amend(Amendment::Change(change.clone()), reason, "Mere", at(NOW));
        assert_eq!(amend(" ").unwrap_err().errors[0].pointer, "/reason");
        assert_eq!(amend("the backlog").unwrap().state, WindowState::Provisional);
        let retracted = confirmed.amend(Amendment::Retract, "a test alert", "Mere", at(NOW)).unwrap();
        assert!(retracted.is_retracted());
        let again = retracted.amend(Amendment::Retract, "twice", "Mere", at(NOW));
        assert_eq!(again.unwrap_err().code, Code::WrongState);
    }

    #[test]
    fn only_planned_work_may_lie_in_the_future() {
        let early = at("2026-10-12T00:00:00Z");
        let refusal = disputed().check(early).unwrap_err();
        let pointers: Vec<&str> = refusal.errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, ["/start", "/end"]);
        let interval = disputed().interval(early).unwrap();
        let planned = Some(Announcement { announced_at: early, interval });
        OutageWindow { planned, ..disputed() }.check(early).unwrap();
    }
}
