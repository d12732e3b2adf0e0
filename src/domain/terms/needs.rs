//! What terms ask for beside windows, placements, charges and calendars: whoever publishes them must be able to record it.

use super::remedy::{Base, ChargeChoice, Measure, Pay, Remedy, When};
use super::{Cap, ClockStart, Finding, Payout, Planned, Terms};

impl Terms {
    /// Each thing that these terms look at and that is not in every account's records, with the place that asks for it. Without
    /// it the sum would be made as if it had not happened.
    pub fn needs(&self) -> Vec<Finding> {
        let mut needs = Vec::new();
        let mut need = |pointer: String, what: &str| {
            let message = format!("These terms look at {what}.");
            needs.push(Finding { pointer, line: None, message });
        };
        if self.clock.starts == ClockStart::WhenReported {
            need("/clock/starts".to_owned(), "when the customer reported an outage");
        }
        for (index, pause) in self.clock.pauses.iter().enumerate() {
            need(format!("/clock/pauses/{index}"), &format!("pauses of the kind {}", pause.kind));
        }
        for (at, planned) in self.all_planned() {
            if let Planned::Excused { yearly_allowance_hours: Some(_), .. } = planned {
                need(format!("{at}/yearly_allowance_hours"), "planned work of the whole year");
            }
        }
        if !self.set_off.is_empty() {
            need("/set_off".to_owned(), "what was given for the same time before");
        }
        for (index, cap) in self.caps.iter().enumerate() {
            match cap {
                Cap::AmountPerTwelveMonths { .. } => {
                    need(format!("/caps/{index}"), "what was paid in the eleven months before");
                }
                Cap::PercentOfPeriodFee { .. } | Cap::AmountPerPeriod { .. } | Cap::ServiceDaysPerPeriod { .. } => {}
            }
        }
        match self.payout {
            Payout::CreditOnBill | Payout::ServiceDaysAsCredit => {}
            Payout::Cash => need("/payout".to_owned(), "money that is paid outside the bill"),
            Payout::ServiceDaysAtEndOfTerm => need("/payout".to_owned(), "the last day of the customer's term"),
        }
        for (index, remedy) in self.remedies.iter().enumerate() {
            let at = format!("/remedies/{index}");
            for (place, what) in remedy.needs() {
                need(format!("{at}{place}"), &what);
            }
        }
        needs
    }
}

impl Terms {
    /// What is said of announced work, for all remedies and for single ones, with its place.
    pub(super) fn all_planned(&self) -> Vec<(String, &Planned)> {
        let own = self.remedies.iter().enumerate();
        let own = own.filter_map(|(index, one)| Some((format!("/remedies/{index}/planned"), one.planned.as_ref()?)));
        [("/planned".to_owned(), &self.planned)].into_iter().chain(own).collect()
    }

    /// The circumstances that conditions of these terms speak of.
    pub fn words(&self) -> Vec<&str> {
        let mut words: Vec<&str> = Vec::new();
        for when in self.remedies.iter().flat_map(Remedy::conditions) {
            for word in when.all_of.iter().chain(&when.none_of) {
                if !words.contains(&word.as_str()) {
                    words.push(word);
                }
            }
        }
        words
    }
}

impl Remedy {
    /// All conditions that it depends on.
    pub fn conditions(&self) -> Vec<&When> {
        let own = self.when.iter().chain(self.multiplier.iter().filter_map(|one| one.when.as_ref()));
        let rows = self.schedule.pays().into_iter().flat_map(|(_, pays)| pays.all());
        let only = rows.filter_map(|pay| match pay {
            Pay::Only { when, .. } => Some(when),
            Pay::Nothing
            | Pay::Percent(_)
            | Pay::Fraction(_)
            | Pay::Amount(_)
            | Pay::ServiceDays(_)
            | Pay::ProRata { .. }
            | Pay::ForEach { .. }
            | Pay::GreaterOf(_)
            | Pay::SumOf(_)
            | Pay::Dated(_)
            | Pay::ByImpact { .. } => None,
        });
        own.chain(only).chain(self.schedule.at_most().and_then(|most| most.when.as_ref())).collect()
    }

    fn needs(&self) -> Vec<(String, String)> {
        let mut needs = Vec::new();
        match &self.measure {
            Measure::ErrorRate { .. } => needs.push(("/measure".to_owned(), "counted requests (samples)".to_owned())),
            Measure::Events { event, .. } => needs.push(("/measure".to_owned(), format!("events of the kind {event}"))),
            Measure::Uptime { .. } | Measure::TimeDown | Measure::Outages | Measure::Days { .. } => {}
        }
        if let Base::ChargedFee { charges: ChargeChoice::Only(_) | ChargeChoice::GreaterOf(_), .. } = self.base {
            needs.push(("/base/charges".to_owned(), "charges by what they are for (item)".to_owned()));
        }
        needs.extend(self.conditions().into_iter().map(|when| (String::new(), circumstances(when))));
        needs
    }
}

fn circumstances(when: &When) -> String {
    let words: Vec<&str> = when.all_of.iter().chain(&when.none_of).map(String::as_str).collect();
    format!("circumstances of the account: {}", words.join(", "))
}
