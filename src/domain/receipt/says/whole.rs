//! The steps that all remedies share: combined, capped, rounded, paid.

use super::step;
use super::terms::figure;
use super::words::{counted, day, local, nothing, period};
use crate::domain::assess::{self, Inputs};
use crate::domain::assessment::{Assessment, Outcome};
use crate::domain::money::{Currency, Money, Rounding};
use crate::domain::ratio::Ratio;
use crate::domain::receipt::{Step, StepName};
use crate::domain::terms::{Cap, Combination, Floor, Payment, Payout, RoundingPoint, Terms};

/// Speaks of what all strands pay together.
pub(super) struct Whole<'a> {
    pub inputs: &'a Inputs,
    pub sum: &'a Assessment,
    pub terms: &'a Terms,
}

impl Whole<'_> {
    fn currency(&self) -> Currency {
        self.inputs.account.currency
    }

    fn major(&self, of: Ratio) -> String {
        figure(of, self.currency())
    }

    pub(super) fn combined(&self) -> Step {
        let sum = self.sum;
        let due = |exact: Ratio, worth: Ratio, days: u32| {
            let money = exact.plus(worth).unwrap_or(exact);
            let service = counted(usize::try_from(days).unwrap_or(usize::MAX), "service day");
            match (days, money.is_zero()) {
                (0, _) => self.major(money),
                (_, true) => service,
                (_, false) if worth.is_zero() => format!("{} and {service}", self.major(money)),
                (_, false) => format!("{} (with {service})", self.major(money)),
            }
        };
        let each: Vec<String> =
            sum.strands.iter().map(|strand| due(strand.exact, strand.days_worth, strand.service_days)).collect();
        let paid = sum.strands.iter().filter(|strand| strand.is_paid);
        let worth = paid.fold(Ratio::ZERO, |all, strand| all.plus(strand.days_worth).unwrap_or(all));
        let whole = due(sum.exact, worth, sum.service_days);
        let mut says = vec![match (sum.strands.len(), self.terms.combination) {
            (0 | 1, _) => format!("Due: {whole}."),
            (_, Combination::Sum) => format!("Added: {} = {whole}.", each.join(" + ")),
            (_, Combination::BestOf) => format!("Of {}, only the best is paid: {whole}.", each.join(" and ")),
        }];
        if sum.set_off.is_positive() {
            says.push(format!(
                "{} was given before and is taken off: {} is left.",
                self.major(sum.set_off),
                self.major(sum.exact.minus(sum.set_off).unwrap_or(Ratio::ZERO))
            ));
        }
        step(
            StepName::Combined,
            says.join(" "),
            [
                ("exact", sum.exact.to_string()),
                ("service_days", sum.service_days.to_string()),
                ("set_off", sum.set_off.to_string()),
            ],
        )
    }

    pub(super) fn caps(&self) -> Step {
        let sum = self.sum;
        let caps: Vec<String> = self
            .terms
            .caps
            .iter()
            .map(|cap| match cap {
                Cap::PercentOfPeriodFee { percent } => format!("{percent} % of the fee of the period"),
                Cap::AmountPerPeriod { amount } => format!("{} {amount} for a period", self.currency()),
                Cap::AmountPerTwelveMonths { amount } => {
                    let before = self
                        .inputs
                        .history
                        .map_or_else(|| "not known".to_owned(), |known| known.paid_before.to_string());
                    format!("{} {amount} in twelve months (paid before: {before})", self.currency())
                }
                Cap::ServiceDaysPerPeriod { days } => format!("{days} service days for a period"),
            })
            .collect();
        let days = match sum.capped_days {
            0 => String::new(),
            days => format!(" for {}", counted(usize::try_from(days).unwrap_or(usize::MAX), "service day")),
        };
        let paid = || sum.strands.iter().filter(|strand| strand.is_paid);
        let worth = paid().fold(Ratio::ZERO, |all, strand| all.plus(strand.days_worth).unwrap_or(all));
        let is_limited = self.terms.remedies.iter().any(|remedy| !remedy.limits.is_empty());
        let left = sum.exact.minus(sum.set_off).and_then(|left| left.plus(worth)).unwrap_or(sum.exact);
        let says = if caps.is_empty() {
            format!("There is no {}cap.", if is_limited { "further " } else { "" })
        } else if sum.capped == left && sum.capped_days == sum.service_days {
            format!("That is not above the most that is paid: {}.", caps.join(", "))
        } else {
            format!("The most that is paid is {}: {}{days} is left.", caps.join(", "), self.major(sum.capped))
        };
        step(StepName::Caps, says, [("capped", sum.capped.to_string()), ("capped_days", sum.capped_days.to_string())])
    }

    pub(super) fn rounded(&self) -> Step {
        let mode = match self.terms.rounding.mode {
            Rounding::HalfUp => "half up",
            Rounding::HalfEven => "half to even",
            Rounding::Up => "up",
            Rounding::Down => "down",
        };
        let at = match self.terms.rounding.at {
            RoundingPoint::AccountTotal => "once, for the whole account",
            RoundingPoint::EachMailbox => "for each mailbox, as shown above, and the total",
            RoundingPoint::EachItem => "for each item, as shown above, and the total",
        };
        let floors: Vec<String> = self
            .terms
            .floors
            .iter()
            .map(|floor| match floor {
                Floor::PaidOnlyAbove { amount } => format!(" It is paid only above {} {amount}.", self.currency()),
                Floor::PaidOnlyFrom { amount } => format!(" It is paid only from {} {amount} on.", self.currency()),
                Floor::RaisedTo { amount } => format!(" Less is raised to {} {amount}.", self.currency()),
            })
            .collect();
        let amount = self.amount();
        step(
            StepName::Rounded,
            format!("Rounded {mode}, {at}: {}.{}", self.sum.rounded, floors.concat()),
            [("rounded", self.sum.rounded.to_string()), ("credit", amount)],
        )
    }

    /// The credit as `NZD 25.00`; zero where nothing is due.
    fn amount(&self) -> String {
        match &self.sum.outcome {
            Outcome::Credit { amount } => amount.to_string(),
            Outcome::ServiceDays { .. } | Outcome::NothingDue { .. } => Money::zero(self.currency()).to_string(),
        }
    }

    pub(super) fn payout(&self) -> Step {
        let how = match self.terms.payment {
            Payment::Automatic => "without being asked for".to_owned(),
            Payment::OnRequest { .. } => {
                let deadline = assess::deadline(self.inputs, self.terms, self.sum);
                let until = deadline.map_or_else(String::new, |at| format!(", before {}", local(at, self.sum.zone)));
                let asked = self
                    .inputs
                    .requested_at
                    .map_or_else(String::new, |at| format!(" (asked on {})", local(at, self.sum.zone)));
                format!("when the customer asks for it{until}{asked}")
            }
        };
        let place = match self.terms.payout {
            Payout::Cash => "is paid outside the bill",
            Payout::CreditOnBill | Payout::ServiceDaysAsCredit | Payout::ServiceDaysAtEndOfTerm => {
                "is credited on a bill"
            }
        };
        let mut says = vec![match &self.sum.outcome {
            Outcome::Credit { amount } => format!("{amount} {place}, {how}."),
            Outcome::ServiceDays { days, term_ends } => {
                let until =
                    term_ends.map_or_else(String::new, |ends| format!(", which then lasts until {}", day(ends)));
                let added = counted(usize::try_from(*days).unwrap_or(usize::MAX), "service day");
                format!("{added} at the end of the term{until}, {how}.")
            }
            Outcome::NothingDue { why } => {
                format!("Nothing is due for {}: {}.", period(self.inputs.period), nothing(*why))
            }
        }];
        if !self.terms.evidence.is_empty() {
            says.push(format!("Who asks brings: {}.", self.terms.evidence.join(", ")));
        }
        if !self.sum.rights.is_empty() {
            says.push(format!("The customer may also: {}.", self.sum.rights.join(", ")));
        }
        step(StepName::Payout, says.join(" "), [("rights", self.sum.rights.join(","))])
    }
}
