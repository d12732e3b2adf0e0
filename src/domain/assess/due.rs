//! What one strand pays: each mailbox by its own measure, or the account by one.

use std::collections::BTreeSet;

use chrono::NaiveDate;

use super::AssessError;
use super::assessment::{Blocker, Fees, Group, Part, Verdict, hold_back};
use super::base::{Charged, Needed};
use super::measure::{self, Felt, Ground, Thing};
use super::overlay::Outage;
use super::pay::{self, Means};
use super::strand::{self, Slice, World};
use crate::domain::money::Money;
use crate::domain::ratio::{Overflow, Ratio};
use crate::domain::remedy::{Base, FeeOf, Measure, Per, Remedy};
use crate::domain::terms::{Payout, RoundingPoint};

/// What a strand pays.
#[derive(Debug, Default)]
pub(super) struct Paid {
    /// Where the account is judged as a whole.
    pub account: Option<Verdict>,
    pub whole: Option<Whole>,
    pub fees: Option<Fees>,
    pub parts: Vec<Part>,
    /// Mailboxes that are due something.
    pub missed: usize,
}

/// The figures of an account that is judged as a whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole {
    pub promised_micros: i64,
    pub down_micros: Ratio,
    pub uptime: Ratio,
    pub tier: Option<usize>,
}

/// One remedy, and what it is judged with.
pub(super) struct Judge<'a> {
    pub world: &'a World<'a>,
    pub slice: &'a Slice<'a>,
    pub remedy: &'a Remedy,
    pub ground: Ground<'a>,
}

impl Judge<'_> {
    /// Judges `groups`, each with the outages that it felt.
    pub fn paid(
        &self,
        groups: &mut [Group],
        outages: &[Vec<Outage>],
        blockers: &mut Vec<Blocker>,
    ) -> Result<Paid, AssessError> {
        match (&self.remedy.measure, self.remedy.per) {
            (Measure::Uptime { .. } | Measure::TimeDown | Measure::Outages | Measure::Days { .. }, Per::Mailbox) => {
                self.by_mailbox(groups, outages, blockers)
            }
            (Measure::ErrorRate { .. } | Measure::Events { .. }, _)
            | (_, Per::MailboxMinutes | Per::WorstMailbox | Per::Account) => self.as_a_whole(groups, outages, blockers),
        }
    }

    fn by_mailbox(
        &self,
        groups: &mut [Group],
        outages: &[Vec<Outage>],
        blockers: &mut Vec<Blocker>,
    ) -> Result<Paid, AssessError> {
        let mut things: Vec<Vec<Thing>> = Vec::with_capacity(groups.len());
        let mut needing: Vec<&Group> = Vec::new();
        for (group, outages) in groups.iter().zip(outages) {
            let felt = Felt { outages, down_micros: group.weighted_micros, promised_micros: group.promised_micros };
            let found = measure::things(&self.remedy.measure, &felt, &self.ground)?;
            let (verdict, uses_base) = pay::verdict(self.remedy, &found, self.means(Ratio::ZERO))?;
            if uses_base || self.pays_days(&verdict) {
                needing.push(group);
            }
            things.push(found);
        }
        let fees = match self.needed_by(&needing) {
            Some(needed) => self.fees(&needed, blockers)?,
            None => None,
        };
        let mut paid = Paid::default();
        for (group, things) in groups.iter_mut().zip(&things) {
            let fee =
                fees.as_ref().zip(group.mailboxes.first()).map_or(Ratio::ZERO, |(fees, mailbox)| match self.of() {
                    FeeOf::AffectedMailboxes => fees.of(mailbox),
                    FeeOf::WholeAccount => fees.whole,
                });
            let (verdict, _) = pay::verdict(self.remedy, things, self.means(fee))?;
            if !verdict.due.is_nothing() {
                paid.missed += group.mailboxes.len();
                add(&mut paid.parts, self.part(group.mailboxes.len(), group.tier, &verdict, fee)?)?;
            }
            group.verdict = Some(verdict);
        }
        paid.fees = fees;
        Ok(paid)
    }

    fn as_a_whole(
        &self,
        groups: &[Group],
        outages: &[Vec<Outage>],
        blockers: &mut Vec<Blocker>,
    ) -> Result<Paid, AssessError> {
        let worst = groups.first();
        let mut promised_micros = worst.map_or(self.slice.span.micros(), |group| group.promised_micros);
        let mut down_micros = worst.map_or(Ratio::ZERO, |group| group.weighted_micros);
        match self.remedy.per {
            Per::Mailbox | Per::WorstMailbox | Per::Account => {}
            Per::MailboxMinutes => {
                (promised_micros, down_micros) = (0, Ratio::ZERO);
                for group in groups {
                    let count = i64::try_from(group.mailboxes.len()).map_err(|_| Overflow)?;
                    let promised = group.promised_micros.checked_mul(count).ok_or(Overflow)?;
                    promised_micros = promised_micros.checked_add(promised).ok_or(Overflow)?;
                    down_micros = down_micros.plus(group.weighted_micros.times(Ratio::whole(count))?)?;
                }
            }
        }
        let felt = Felt { outages: outages.first().map_or(&[], Vec::as_slice), down_micros, promised_micros };
        let things = measure::things(&self.remedy.measure, &felt, &self.ground)?;
        let uptime = match things.first().and_then(|thing| thing.uptime) {
            Some(uptime) => uptime,
            None => measure::uptime(down_micros, promised_micros)?,
        };
        let (verdict, uses_base) = pay::verdict(self.remedy, &things, self.means(Ratio::ZERO))?;
        let fees = match uses_base || self.pays_days(&verdict) {
            true => self.fees(&Needed { days: self.days(), mailboxes: BTreeSet::new() }, blockers)?,
            false => None,
        };
        let fee = fees.as_ref().map_or(Ratio::ZERO, |fees| fees.whole);
        let (verdict, _) = pay::verdict(self.remedy, &things, self.means(fee))?;
        let tier = strand::tier(uptime, &self.remedy.schedule)?;
        let mut paid =
            Paid { whole: Some(Whole { promised_micros, down_micros, uptime, tier }), fees, ..Paid::default() };
        if !verdict.due.is_nothing() {
            paid.missed = groups.iter().map(|group| group.mailboxes.len()).sum();
            paid.parts.push(self.part(1, tier, &verdict, fee)?);
        }
        paid.account = Some(verdict);
        Ok(paid)
    }

    /// Whether service days are due that become money.
    fn pays_days(&self, verdict: &Verdict) -> bool {
        verdict.due.service_days > 0 && self.slice.terms.payout == Payout::ServiceDaysAsCredit
    }

    /// The part of the base that a service day is worth; zero where it is not paid as money.
    fn day(&self) -> Ratio {
        match self.slice.terms.payout {
            Payout::ServiceDaysAsCredit => {
                let (first, after) = self.days();
                Ratio::ONE.over(Ratio::whole((after - first).num_days())).unwrap_or(Ratio::ZERO)
            }
            Payout::CreditOnBill | Payout::Cash | Payout::ServiceDaysAtEndOfTerm => Ratio::ZERO,
        }
    }

    fn means(&self, fee: Ratio) -> Means<'_> {
        let (inputs, rounding) = (self.world.inputs, self.slice.terms.rounding);
        let item_rounding = match rounding.at {
            RoundingPoint::AccountTotal | RoundingPoint::EachMailbox => None,
            RoundingPoint::EachItem => Some((rounding.mode, inputs.account.currency)),
        };
        Means { fee, day: self.day(), circumstances: &inputs.circumstances, item_rounding }
    }

    fn part(&self, mailboxes: usize, tier: Option<usize>, verdict: &Verdict, fee: Ratio) -> Result<Part, AssessError> {
        let (inputs, rounding) = (self.world.inputs, self.slice.terms.rounding);
        let multiplier = pay::multiplier(self.remedy.multiplier.as_ref(), &inputs.circumstances);
        let due = &verdict.due;
        let mut each = due.value(fee)?.times(multiplier)?;
        each = match rounding.at {
            RoundingPoint::AccountTotal | RoundingPoint::EachItem => each,
            RoundingPoint::EachMailbox => {
                let rounded = Money::rounded(each.for_rounding()?, inputs.account.currency, rounding.mode)?;
                Ratio::try_from(rounded.decimal())?
            }
        };
        let count = u32::try_from(mailboxes).map_err(|_| Overflow)?;
        let days = Ratio::whole(due.service_days).times(multiplier)?.floor();
        let days = u32::try_from(days).ok().and_then(|days| days.checked_mul(count)).ok_or(Overflow)?;
        let days_worth = fee.times(Ratio::whole(days))?.times(self.day())?;
        Ok(Part {
            tier,
            mailboxes,
            share: due.share,
            fee,
            flat: due.flat,
            limited_to: verdict.limited_to,
            multiplier,
            each,
            service_days: days,
            days_worth,
            exact: each.times(Ratio::whole(count))?,
        })
    }

    /// Whose fee a share is of.
    fn of(&self) -> FeeOf {
        match &self.remedy.base {
            Base::None => FeeOf::WholeAccount,
            Base::ChargedFee { of, .. } | Base::PriceList { of, .. } => *of,
        }
    }

    fn fees(&self, needed: &Needed<'_>, blockers: &mut Vec<Blocker>) -> Result<Option<Fees>, AssessError> {
        let inputs = self.world.inputs;
        match &self.remedy.base {
            Base::None => Ok(None),
            Base::ChargedFee { tax, charges, .. } => {
                let charged = Charged::of(&inputs.charges, self.days(), *tax, inputs.account.currency)?;
                let (fees, found) = charged.fees(charges, needed)?;
                for blocker in found {
                    hold_back(blockers, blocker);
                }
                Ok(fees)
            }
            Base::PriceList { price, .. } => {
                let part = Ratio::new(self.slice.span.micros().into(), self.world.period.micros().into())?;
                let price = price.ratio().times(part)?;
                Ok(Some(Fees { per_mailbox: price, own: Default::default(), whole: price, charges: Vec::new() }))
            }
        }
    }

    /// The local days that are judged: the first, and the one after the last.
    fn days(&self) -> (NaiveDate, NaiveDate) {
        let day = |at| self.world.zone.local(at).date_naive();
        (day(self.slice.span.start()), day(self.slice.span.end()))
    }

    /// The days for which the fee of these groups is needed: those on which their mailboxes were there.
    fn needed_by<'g>(&self, groups: &[&'g Group]) -> Option<Needed<'g>> {
        let stays = || groups.iter().flat_map(|group| &group.stays);
        let first = stays().map(|stay| stay.interval.start()).min()?;
        let last = stays().map(|stay| stay.interval.end()).max()?;
        let day = |at| self.world.zone.local(at).date_naive();
        let mailboxes = groups.iter().flat_map(|group| &group.mailboxes).map(String::as_str).collect();
        let days = match self.of() {
            FeeOf::AffectedMailboxes => (day(first), day(last.plus(-1)).succ_opt()?),
            FeeOf::WholeAccount => self.days(),
        };
        Some(Needed { days, mailboxes })
    }
}

/// Adds a part, to one with the same result where there is one.
fn add(parts: &mut Vec<Part>, part: Part) -> Result<(), Overflow> {
    let same = |one: &&mut Part| {
        let key = |part: &Part| (part.tier, part.share, part.fee, part.flat, part.limited_to, part.each);
        key(one) == key(&part) && one.multiplier == part.multiplier
    };
    match parts.iter_mut().find(same) {
        Some(one) => {
            one.mailboxes += part.mailboxes;
            one.service_days = one.service_days.checked_add(part.service_days).ok_or(Overflow)?;
            one.days_worth = one.days_worth.plus(part.days_worth)?;
            one.exact = one.exact.plus(part.exact)?;
        }
        None => parts.push(part),
    }
    Ok(())
}
