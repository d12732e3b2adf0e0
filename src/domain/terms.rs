//! SLA terms: what a plan promises and pays, as a document that a contract manager writes.
//!
//! Every reading that a contract may leave open is a word that must be there: no field on which money depends has a
//! default. A new way of paying is a new variant here, its arithmetic beside [`super::assess`], and cases.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::document;
use super::money::{Money, Rounding};
use super::period::Zone;
use super::ratio::Ratio;
use super::refusal::Refusal;
use super::window::Capability;

/// One version of what a plan promises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    pub format: Format,
    /// What customers call it: `Business Mail`.
    pub name: String,
    /// Which promise of the plan this is, such as `availability`: part of a credit's cause.
    pub promise: String,
    pub down: Down,
    pub planned: Planned,
    pub clock: Clock,
    pub minimum_outage: MinimumOutage,
    pub time: TimeTerms,
    pub measure: Measure,
    pub schedule: Schedule,
    pub base: Base,
    pub combination: Combination,
    /// None (an empty list) must be said too.
    pub caps: Vec<Cap>,
    pub rounding: RoundingTerms,
    pub payout: Payout,
    pub payment: Payment,
    pub change_in_period: ChangeInPeriod,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    #[serde(rename = "makegood.terms/1")]
    V1,
}

/// What counts as down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Down {
    /// What is promised; a child such as `access.webmail` belongs to its parent.
    pub capabilities: Vec<Capability>,
    pub rule: Rule,
    pub delayed: Delayed,
    pub degraded: Degraded,
}

/// When a mailbox is down that lost some of what was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// One capability lost is down.
    Any,
    /// Only all of them lost at once is down.
    All,
}

/// Mail that comes, late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Delayed {
    NeverCounts,
    /// A delay of at least `from_seconds` counts, each minute as `weight_percent` of one.
    Counts {
        from_seconds: u32,
        weight_percent: Percent,
    },
}

/// What works in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Degraded {
    NeverCounts,
    CountsInFull,
    /// Each minute counts as the part that did not work, as the window says.
    CountsByWeight,
}

/// Work that was announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Planned {
    /// It counts like any outage.
    Counts,
    /// It does not count within the announced interval, where it was announced at least `minimum_notice_hours` before the
    /// interval began. What runs over counts.
    Excused { minimum_notice_hours: u32, removes_from: RemovesFrom },
}

/// What excused time is taken out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemovesFrom {
    /// Only the downtime.
    Numerator,
    /// The downtime and the time promised.
    NumeratorAndDenominator,
}

/// When the time of an outage begins to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// When it began, whether or not somebody reported it; it never pauses.
    WhenItBegan,
}

/// An outage shorter than this does not count at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MinimumOutage {
    /// 0 where there is none. An outage of exactly this length counts.
    pub seconds: u32,
    pub of: MinimumOf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MinimumOf {
    /// The joined outage, before planned time is cut out of it.
    BeforeCuts,
    /// All that is left of the joined outage afterwards.
    WhatIsLeft,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeTerms {
    pub zone: ZoneOf,
    pub period: PeriodKind,
}

/// Whose midnight a period begins at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ZoneOf {
    Account,
    Operator,
    Named { zone: Zone },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeriodKind {
    CalendarMonth,
}

/// What is compared with the promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Measure {
    /// (time promised - downtime) / time promised.
    UptimeRatio { per: Per, of: TimePromised },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// Each mailbox by its own minutes.
    Mailbox,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimePromised {
    /// The whole period, even for a mailbox that was there for a part of it.
    WholePeriod,
    /// The part of the period in which the mailbox was there.
    WhileItExisted,
}

/// How much a miss pays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    TiersByUptime {
        boundary: Boundary,
        /// From the highest uptime down; the lowest one that was missed pays.
        tiers: Vec<Tier>,
    },
}

/// Whether exactly the threshold is a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Boundary {
    Below,
    AtOrBelow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// The threshold in percent; exactly this belongs to the tier only where `boundary` says so.
    pub uptime_below: Percent,
    /// The share of the base that is credited.
    pub credit_percent: Percent,
}

/// Which fee a percentage is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Base {
    /// What was really charged for the period, tax included.
    ChargedFee { of: FeeOf },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeeOf {
    /// The share of each mailbox that missed the promise.
    AffectedMailboxes,
}

/// How several results become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combination {
    /// What each mailbox is due, added.
    SumOfMailboxes,
}

/// The most that is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Cap {
    /// At most this share of everything charged for the period.
    PercentOfPeriodFee { percent: Percent },
    /// At most this amount for the period.
    AmountPerPeriod { amount: Money },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundingTerms {
    pub mode: Rounding,
    pub at: RoundingPoint,
}

/// The one point where a figure becomes money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoundingPoint {
    AccountTotal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payout {
    CreditOnBill,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payment {
    /// A run at the close of the period credits it.
    Automatic,
    /// The customer asks; the claim is filled in for him.
    OnRequest,
}

/// Which terms judge a period in which the plan or its terms changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeInPeriod {
    SplitPeriod,
    TermsAtOutage,
    TermsAtPeriodEnd,
}

/// Enough for 99.9999, and few enough that time weighed by one still compares exactly in 128 bits.
const PERCENT_PLACES: u32 = 4;

/// The most capabilities that terms may promise: each is compared with each.
const MOST_CAPABILITIES: usize = 100;

/// The whole of a thing in millionths, the unit of weights.
pub const MILLION: i64 = 1_000_000;

/// Zero to a hundred percent, with at most [`PERCENT_PLACES`] decimals, kept as it was written.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Percent(Decimal);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a percentage: write it as \"99.9\", from 0 to 100 with at most four decimals")]
pub struct NotAPercent(String);

impl Percent {
    pub fn decimal(self) -> Decimal {
        self.0
    }

    /// As a part of one: 25 % is 1/4.
    pub fn ratio(self) -> Ratio {
        // Four places and at most a hundred always fit.
        Ratio::new(self.0.mantissa(), 100 * 10i128.pow(self.0.scale())).unwrap_or(Ratio::ZERO)
    }

    /// In millionths of the whole: 25 % is 250,000.
    pub fn millionths(self) -> i64 {
        let places = PERCENT_PLACES.saturating_sub(self.0.scale());
        i64::try_from(self.0.mantissa() * 10i128.pow(places)).unwrap_or(MILLION)
    }
}

impl FromStr for Percent {
    type Err = NotAPercent;

    fn from_str(text: &str) -> Result<Self, NotAPercent> {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
            && text.bytes().next().is_some_and(|byte| byte.is_ascii_digit())
            && text.bytes().next_back().is_some_and(|byte| byte.is_ascii_digit());
        Some(text)
            .filter(|text| plain && text.len() <= 10)
            .and_then(|text| Decimal::from_str_exact(text).ok())
            .filter(|value| *value <= Decimal::ONE_HUNDRED && value.scale() <= PERCENT_PLACES)
            .map(Percent)
            .ok_or_else(|| NotAPercent(text.chars().take(20).collect()))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.0)
    }
}

impl Serialize for Percent {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Something that keeps terms from being published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A JSON pointer into the document, such as `/schedule/tiers/1/credit_percent`.
    pub pointer: String,
    /// The line of the document, where there is one: see [`Terms::lint_text`].
    pub line: Option<u64>,
    pub message: String,
}

impl Terms {
    /// Reads a document in YAML or JSON. What is unknown, missing or no such word is refused with its line; whether the
    /// whole makes sense is for [`Terms::lint`].
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        document::parse(text)
    }

    /// Reads a document and says what is wrong with it, by line.
    pub fn lint_text(text: &str) -> Result<(Self, Vec<Finding>), Refusal> {
        let terms = Terms::parse(text)?;
        let lines = document::Lines::of(text);
        let placed = |finding: Finding| {
            let line = lines.as_ref().map(|lines| lines.line(&finding.pointer));
            Finding { line, ..finding }
        };
        let findings = terms.lint().into_iter().map(placed).collect();
        Ok((terms, findings))
    }

    /// What is wrong with terms that can be read; nothing when they may be published.
    pub fn lint(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut find = |pointer: String, message: String| findings.push(Finding { pointer, line: None, message });
        for (pointer, text) in [("/name", &self.name), ("/promise", &self.promise)] {
            if text.trim().is_empty() {
                find(pointer.to_owned(), "It must not be empty.".to_owned());
            }
        }
        self.lint_down(&mut find);
        self.lint_tiers(&mut find);
        for (index, cap) in self.caps.iter().enumerate() {
            let nothing = match cap {
                Cap::PercentOfPeriodFee { percent } => percent.0.is_zero(),
                Cap::AmountPerPeriod { amount } => !amount.is_positive(),
            };
            if nothing {
                find(format!("/caps/{index}"), "Under this cap nothing is ever paid.".to_owned());
            }
        }
        findings
    }

    fn lint_down(&self, find: &mut impl FnMut(String, String)) {
        let promised = &self.down.capabilities;
        if promised.is_empty() {
            find("/down/capabilities".to_owned(), "Terms must promise at least one capability.".to_owned());
        }
        if promised.len() > MOST_CAPABILITIES {
            find(
                "/down/capabilities".to_owned(),
                format!("Terms may promise at most {MOST_CAPABILITIES} capabilities."),
            );
            return;
        }
        for (index, one) in promised.iter().enumerate() {
            if one.0.trim().is_empty() {
                find(format!("/down/capabilities/{index}"), "It must not be empty.".to_owned());
            }
            let others = promised.iter().enumerate().filter(|(other, _)| *other != index);
            if let Some((_, whole)) =
                others.clone().find(|(other, whole)| one.is_within(whole) && (one != *whole || *other < index))
            {
                find(
                    format!("/down/capabilities/{index}"),
                    format!("{} is already promised as {}; say each only once.", one.0, whole.0),
                );
            }
        }
        if let Delayed::Counts { weight_percent, .. } = self.down.delayed
            && weight_percent.0.is_zero()
        {
            find(
                "/down/delayed/weight_percent".to_owned(),
                "A weight of 0 counts nothing: write never_counts.".to_owned(),
            );
        }
    }

    fn lint_tiers(&self, find: &mut impl FnMut(String, String)) {
        let Schedule::TiersByUptime { boundary, tiers } = &self.schedule;
        if tiers.is_empty() {
            find("/schedule/tiers".to_owned(), "Terms must have at least one tier.".to_owned());
        }
        for (index, tier) in tiers.iter().enumerate() {
            let at = |field: &str| format!("/schedule/tiers/{index}/{field}");
            if tier.credit_percent.0.is_zero() {
                find(at("credit_percent"), "A tier that credits nothing is a hole in the table.".to_owned());
            }
            if *boundary == Boundary::AtOrBelow && tier.uptime_below.0 == Decimal::ONE_HUNDRED {
                find(at("uptime_below"), "At or below 100 % is missed by everybody, always.".to_owned());
            }
            if tier.uptime_below.0.is_zero() && *boundary == Boundary::Below {
                find(at("uptime_below"), "Nothing is below 0 %: this tier is never reached.".to_owned());
            }
            let Some(above) = index.checked_sub(1).and_then(|above| tiers.get(above)) else { continue };
            if tier.uptime_below.0 == above.uptime_below.0 {
                find(at("uptime_below"), format!("Two tiers begin at {} %: they overlap.", tier.uptime_below));
            } else if tier.uptime_below.0 > above.uptime_below.0 {
                find(
                    at("uptime_below"),
                    format!(
                        "{} comes after {}: write tiers from the highest uptime down.",
                        tier.uptime_below, above.uptime_below
                    ),
                );
            }
            if tier.credit_percent.0 <= above.credit_percent.0 {
                find(
                    at("credit_percent"),
                    format!(
                        "The tiers fall: below {} % credits {} %, and below {} % no more than {} %.",
                        above.uptime_below, above.credit_percent, tier.uptime_below, tier.credit_percent
                    ),
                );
            }
        }
    }

    /// SHA-256 of the document's meaning, in hexadecimal: notation, comments and the order of fields do not matter.
    pub fn hash(&self) -> String {
        document::hash(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSINESS: &str = include_str!("../../assets/terms/business.yaml");

    fn refusal(text: &str) -> (String, String) {
        let refusal = Terms::parse(text).unwrap_err();
        (refusal.errors[0].pointer.clone(), refusal.errors[0].message.clone())
    }

    fn findings(change: &str, to: &str) -> Vec<(u64, String)> {
        assert!(BUSINESS.contains(change), "{change}");
        let (_, findings) = Terms::lint_text(&BUSINESS.replacen(change, to, 1)).unwrap();
        findings.into_iter().map(|finding| (finding.line.unwrap(), finding.message)).collect()
    }

    fn line_of(part: &str) -> u64 {
        let line = BUSINESS.lines().position(|line| line.contains(part)).unwrap();
        u64::try_from(line).unwrap() + 1
    }

    #[test]
    fn terms_are_read_from_yaml_and_from_json_and_mean_the_same() {
        let terms = Terms::parse(BUSINESS).unwrap();
        let json = serde_json::to_string_pretty(&terms).unwrap();
        assert_eq!(Terms::parse(&json).unwrap(), terms);
        assert_eq!(Terms::parse(&json).unwrap().hash(), terms.hash());
        assert_ne!(Terms::parse(&BUSINESS.replace("\"99.9\"", "\"99.8\"")).unwrap().hash(), terms.hash());
    }

    #[test]
    fn every_field_must_be_said_and_no_other_is_taken() {
        for field in BUSINESS
            .lines()
            .filter(|line| line.ends_with('}') && line.starts_with(|first: char| first.is_ascii_lowercase()))
        {
            assert!(Terms::parse(&BUSINESS.replace(field, "")).is_err(), "{field}");
        }
        for word in
            ["clock: when_it_began", "payment: automatic", "change_in_period: split_period", "  boundary: below"]
        {
            assert!(Terms::parse(&BUSINESS.replace(word, "")).is_err(), "{word}");
        }
        let (line, message) = refusal(&BUSINESS.replace("clock: when_it_began", "clock: when_it_began\nclocks: 2"));
        assert_eq!(line, format!("/lines/{}", line_of("clock: when_it_began") + 1));
        assert!(message.contains("clocks"), "{message}");
        let (line, _) = refusal(&BUSINESS.replace("rule: any", "rule: some"));
        assert_eq!(line, format!("/lines/{}", line_of("rule: any")));
    }

    #[test]
    fn a_percentage_is_a_plain_decimal_of_at_most_a_hundred() {
        for text in ["0", "99.9", "100", "99.9999", "95.0"] {
            assert_eq!(text.parse::<Percent>().unwrap().to_string(), text);
        }
        for text in ["", "100.0001", "-1", "+1", "1e1", "99.99999", ".5", "5.", "1_0", "NaN", "٥", "99,9", "99.9%"] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
        assert_eq!("0.0001".parse::<Percent>().unwrap().millionths(), 1);
        assert_eq!("100".parse::<Percent>().unwrap().millionths(), MILLION);
    }

    #[test]
    fn lint_names_the_line_of_a_table_that_falls_overlaps_or_has_a_hole() {
        assert_eq!(findings("Business Mail", "Business Post"), []);
        let third = line_of("\"95.0\"");
        for (change, to, says) in [
            ("credit_percent: \"100\"", "credit_percent: \"20\"", "The tiers fall"),
            ("credit_percent: \"100\"", "credit_percent: \"25\"", "The tiers fall"),
            ("uptime_below: \"95.0\"", "uptime_below: \"99\"", "overlap"),
            ("uptime_below: \"95.0\"", "uptime_below: \"99.5\"", "from the highest uptime down"),
            ("credit_percent: \"100\"", "credit_percent: \"0\"", "hole"),
        ] {
            let found = findings(change, to);
            assert!(found.iter().any(|(line, message)| *line == third && message.contains(says)), "{found:?}");
        }
    }

    #[test]
    fn lint_names_what_could_never_have_been_meant() {
        for (change, to, says) in [
            ("[receive, send, access]", "[]", "at least one capability"),
            ("[receive, send, access]", "[access, access.webmail]", "already promised"),
            ("[receive, send, access]", "[send, send]", "already promised"),
            ("weight_percent: \"100\"", "weight_percent: \"0\"", "never_counts"),
            ("percent: \"100\"}\nrounding", "percent: \"0\"}\nrounding", "nothing is ever paid"),
            ("name: Business Mail", "name: ' '", "must not be empty"),
        ] {
            let found = findings(change, to);
            assert!(found.len() == 1 && found[0].1.contains(says), "{found:?}");
        }
        let everybody = BUSINESS.replace("boundary: below", "boundary: at_or_below").replace("\"99.9\"", "\"100\"");
        assert!(Terms::lint_text(&everybody).unwrap().1[0].message.contains("missed by everybody"));
    }

    #[test]
    fn hostile_documents_are_refused_with_a_message() {
        let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (name, of) in
            [("b", "a"), ("c", "b"), ("d", "c"), ("e", "d"), ("f", "e"), ("g", "f"), ("h", "g"), ("i", "h")]
        {
            let alias = format!("*{of}");
            bomb += &format!("{name}: &{name} [{}]\n", vec![alias; 9].join(", "));
        }
        bomb += &BUSINESS.replace("[receive, send, access]", "*i");
        let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
        let huge = format!("# {}\n{BUSINESS}", "x".repeat(5 * 1024 * 1024));
        let overflow = BUSINESS.replace("minimum_notice_hours: 24", "minimum_notice_hours: 99999999999999999999");
        let float = BUSINESS.replace("\"99.9\"", ".nan");
        let twice = BUSINESS.replace("payment: automatic", "payment: automatic\npayment: on_request");
        for text in
            [bomb.as_str(), &deep, &huge, &overflow, &float, &twice, "", "---\n---\n", "\u{0}", "!!binary x", "a: *b"]
        {
            assert!(!refusal(text).1.is_empty(), "{:?}", text.chars().take(40).collect::<String>());
        }
    }
}
