//! The course of a credit after it was issued: what billing answered, what people decided, and what follows from both.

use chrono::NaiveDate;

use super::books;
use super::credit::Amounts;
use super::feed::{AnswerKind, Answered};
use super::money::{Money, MoneyError};
use super::refusal::{Code, Refusal};

/// Why a credit is taken back. The code stands in the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReversalReason {
    IssuedInError,
    /// The same was given twice.
    Duplicate,
    /// Our record of the outage, the account or its charges was wrong.
    RecordCorrected,
    AgreedWithCustomer,
}

impl ReversalReason {
    pub fn name(self) -> &'static str {
        match self {
            ReversalReason::IssuedInError => "issued_in_error",
            ReversalReason::Duplicate => "duplicate",
            ReversalReason::RecordCorrected => "record_corrected",
            ReversalReason::AgreedWithCustomer => "agreed_with_customer",
        }
    }
}

/// Why a part of a credit is taken back where more was credited than was due.
pub const OVER_PAYMENT: &str = "over_payment";

/// Amounts of one credit that cannot be added are ours to mend.
pub fn broken(error: MoneyError) -> Refusal {
    Refusal::new(Code::Internal, format!("The amounts of this credit cannot be added: {error}. Nothing was saved."))
}

/// What people, or the clock, did to a credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeedKind {
    /// Taken back, all that stands of it. Once.
    Reversed,
    /// Its time was over: what stood on no bill is taken back. Once, and not beside a reversal.
    Expired,
    /// What lay with us and no longer with billing went out of the books.
    WrittenOff,
    /// What stood on a bill is owed by the customer; billing is told to put it on a bill.
    Debited,
    /// Finance offers what was held to billing again.
    Offered,
    /// Nobody came for what is held.
    Unclaimed,
    /// Paid out in money.
    Paid,
    /// More than was due, and the customer keeps it.
    Kept,
}

impl DeedKind {
    pub const ALL: [DeedKind; 8] = [
        DeedKind::Reversed,
        DeedKind::Expired,
        DeedKind::WrittenOff,
        DeedKind::Debited,
        DeedKind::Offered,
        DeedKind::Unclaimed,
        DeedKind::Paid,
        DeedKind::Kept,
    ];

    pub fn name(self) -> &'static str {
        match self {
            DeedKind::Reversed => "reversed",
            DeedKind::Expired => "expired",
            DeedKind::WrittenOff => "written_off",
            DeedKind::Debited => "debited",
            DeedKind::Offered => "offered",
            DeedKind::Unclaimed => "unclaimed",
            DeedKind::Paid => "paid",
            DeedKind::Kept => "kept",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        DeedKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One deed with its amounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    pub kind: DeedKind,
    pub amounts: Amounts,
    /// Why, as a code.
    pub reason: String,
    /// `paid`: the payment's own reference; else empty.
    pub reference: String,
    pub on: NaiveDate,
    /// Whether billing was told to leave it out, and so has to answer: of `reversed` and `expired`.
    pub is_cancel: bool,
}

/// What happened to a credit, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Answered(Answered),
    Done(Deed),
}

/// Where that part of a credit lies which stands on no bill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// OWED: billing has it, or will have it.
    Billing,
    /// HELD: billing refused it.
    Held,
    /// UNCLAIMED.
    Unclaimed,
}

impl Place {
    /// The account of the books.
    pub fn code(self) -> books::Code {
        match self {
            Place::Billing => books::Code::Owed,
            Place::Held => books::Code::Held,
            Place::Unclaimed => books::Code::Unclaimed,
        }
    }
}

/// A bill that a credit, or a part of it, stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bill {
    /// The newest reference, where billing gave several for the same.
    pub reference: String,
    pub on: NaiveDate,
    /// As billing has them.
    pub amounts: Amounts,
    /// The answer that put it there, under its first reference.
    pub first: Answered,
    /// The references that it stood under before.
    pub superseded: Vec<String>,
}

/// How a credit was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenBack {
    Reversed,
    Expired,
}

/// Where a credit stands, after all that happened to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    /// The credit as it was issued.
    pub issued: Amounts,
    /// What stands on bills, with our tax.
    pub applied: Amounts,
    /// What went out before it stood on a bill.
    pub cancelled: Amounts,
    pub paid: Amounts,
    /// What was taken back after it stood on a bill.
    pub debited: Amounts,
    /// How much of that billing has put on a bill.
    pub recovered: Amounts,
    /// What the customer keeps though it was not due.
    pub kept: Amounts,
    pub bills: Vec<Bill>,
    pub place: Place,
    pub taken_back: Option<TakenBack>,
    /// Billing was told to leave it out and has not answered.
    pub is_cancel_pending: bool,
    /// How often it was offered again.
    pub round: i32,
    /// The newest answer to the offer that stands.
    pub last: Option<AnswerKind>,
    /// How many steps there were.
    pub steps: i32,
    /// The numbers of the steps by which it was offered again.
    pub offers: Vec<i32>,
    /// The numbers of the steps by which it was debited, each with its amounts.
    pub debits: Vec<(i32, Amounts)>,
    /// Billing's answers, in their order.
    pub answers: Vec<Answered>,
}

/// What taking a credit back means, as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakeBack {
    /// Billing is told to leave it out; the books move on its answer.
    pub cancel: Option<Amounts>,
    /// It lies with us: the books move at once, out of that place.
    pub write_off: Option<(Place, Amounts)>,
    /// It stands on bills: the customer owes it, and billing is told to put that on a bill.
    pub debit: Option<Amounts>,
    /// All of it.
    pub whole: Amounts,
}

impl Course {
    /// The course of a credit of `issued`, by its steps in their order.
    pub fn of<'a>(issued: Amounts, steps: impl IntoIterator<Item = &'a Step>) -> Result<Course, MoneyError> {
        let zero = Amounts::zero(issued.gross.currency());
        let mut course = Course {
            issued,
            applied: zero,
            cancelled: zero,
            paid: zero,
            debited: zero,
            recovered: zero,
            kept: zero,
            bills: Vec::new(),
            place: Place::Billing,
            taken_back: None,
            is_cancel_pending: false,
            round: 0,
            last: None,
            steps: 0,
            offers: Vec::new(),
            debits: Vec::new(),
            answers: Vec::new(),
        };
        for step in steps {
            course.follow(step)?;
        }
        Ok(course)
    }

    /// Takes one more step.
    pub fn follow(&mut self, step: &Step) -> Result<(), MoneyError> {
        self.steps = self.steps.saturating_add(1);
        match step {
            Step::Answered(answered) => self.answered(answered),
            Step::Done(deed) => self.done(deed),
        }
    }

    fn answered(&mut self, answered: &Answered) -> Result<(), MoneyError> {
        let reference = &answered.reference;
        match answered.kind {
            AnswerKind::Accepted => {}
            AnswerKind::Applied => {
                self.applied = self.applied.plus(answered.ours()?)?;
                self.bills.push(Bill {
                    reference: reference.clone(),
                    on: answered.on,
                    amounts: answered.amounts,
                    first: answered.clone(),
                    superseded: Vec::new(),
                });
            }
            AnswerKind::Superseding => {
                let before = answered.supersedes.as_ref();
                if let Some(bill) = self.bills.iter_mut().find(|bill| Some(&bill.reference) == before) {
                    bill.superseded.push(std::mem::replace(&mut bill.reference, reference.clone()));
                    bill.on = answered.on;
                }
            }
            AnswerKind::Returned => {
                self.applied = self.applied.minus(answered.ours()?)?;
                self.bills.retain(|bill| bill.reference != *reference);
            }
            AnswerKind::Refused => self.place = Place::Held,
            AnswerKind::Cancelled => {
                self.cancelled = self.cancelled.plus(answered.amounts)?;
                self.is_cancel_pending = false;
            }
            AnswerKind::Debited => self.recovered = self.recovered.plus(answered.amounts)?,
        }
        self.last = Some(answered.kind);
        self.answers.push(answered.clone());
        Ok(())
    }

    fn done(&mut self, deed: &Deed) -> Result<(), MoneyError> {
        match deed.kind {
            DeedKind::Reversed | DeedKind::Expired => {
                let is_reversal = deed.kind == DeedKind::Reversed;
                self.taken_back = Some(if is_reversal { TakenBack::Reversed } else { TakenBack::Expired });
                self.kept = Amounts::zero(self.issued.gross.currency());
                self.is_cancel_pending = deed.is_cancel;
            }
            DeedKind::WrittenOff => self.cancelled = self.cancelled.plus(deed.amounts)?,
            DeedKind::Debited => {
                self.debited = self.debited.plus(deed.amounts)?;
                self.debits.push((self.steps, deed.amounts));
            }
            DeedKind::Offered => {
                self.place = Place::Billing;
                self.round = self.round.saturating_add(1);
                self.offers.push(self.steps);
                self.last = None;
            }
            DeedKind::Unclaimed => self.place = Place::Unclaimed,
            DeedKind::Paid => self.paid = self.paid.plus(deed.amounts)?,
            DeedKind::Kept => self.kept = self.kept.plus(deed.amounts)?,
        }
        Ok(())
    }

    /// What stands on no bill and was not taken out otherwise.
    pub fn open(&self) -> Result<Amounts, MoneyError> {
        self.issued.minus(self.applied)?.minus(self.cancelled)?.minus(self.paid)
    }

    /// The next `part` of what is open, with its tax.
    pub fn part_of_open(&self, part: Money) -> Result<Amounts, MoneyError> {
        self.issued.part(self.issued.minus(self.open()?)?, part)
    }

    /// What was taken back and billing has put on no bill yet.
    pub fn recoverable(&self) -> Result<Amounts, MoneyError> {
        self.debited.minus(self.recovered)
    }

    /// What of the bills was not taken back.
    pub fn standing_on_bills(&self) -> Result<Amounts, MoneyError> {
        self.applied.minus(self.debited)
    }

    /// What counts as given for its cause: nothing once it is reversed, and nothing that was taken back.
    pub fn given(&self) -> Result<Money, MoneyError> {
        match self.taken_back {
            Some(TakenBack::Reversed) => Ok(Money::zero(self.issued.gross.currency())),
            Some(TakenBack::Expired) | None => self.issued.gross.minus(self.cancelled.gross)?.minus(self.debited.gross),
        }
    }

    /// What there is to take back. Refuses what was taken back before, what was paid in money, and where nothing is left.
    pub fn take_back(&self, how: TakenBack) -> Result<TakeBack, Refusal> {
        let no = |detail: &str| Err(Refusal::new(Code::WrongState, detail));
        match self.taken_back {
            Some(TakenBack::Reversed) => {
                return no("This credit is reversed already. A credit is reversed once; issue a new one instead.");
            }
            Some(TakenBack::Expired) => return no("This credit has expired: nothing of it is left to take back."),
            None => {}
        }
        if self.paid.gross.is_positive() {
            return no(
                "This credit was paid out in money, so the books cannot take it back. Charge it through billing.",
            );
        }
        let (open, billed) = (self.open().map_err(broken)?, self.standing_on_bills().map_err(broken)?);
        let debit = match how {
            TakenBack::Reversed => Some(billed.tidy().map_err(broken)?).filter(|billed| billed.gross.is_positive()),
            TakenBack::Expired => None,
        };
        let open = Some(open).filter(|open| open.gross.is_positive());
        let (cancel, write_off) = match self.place {
            Place::Billing => (open, None),
            Place::Held | Place::Unclaimed => (None, open.map(|open| (self.place, open))),
        };
        let zero = Amounts::zero(self.issued.gross.currency());
        let whole = open.unwrap_or(zero).plus(debit.unwrap_or(zero)).map_err(broken)?;
        if !whole.gross.is_positive() {
            return no("Nothing of this credit is left to take back.");
        }
        Ok(TakeBack { cancel, write_off, debit, whole })
    }

    pub fn standing(&self) -> Result<Standing, MoneyError> {
        let (open, recoverable) = (self.open()?.gross, self.recoverable()?.gross);
        let is_pending = (self.is_cancel_pending && open.is_positive()) || recoverable.is_positive();
        let is_open = open.is_positive();
        Ok(match (self.taken_back, self.place) {
            (Some(_), _) if is_pending => Standing::Reversing,
            (Some(TakenBack::Reversed), _) => Standing::Reversed,
            (Some(TakenBack::Expired), _) if !is_open && !self.applied.gross.is_positive() => Standing::Expired,
            (_, _) if self.paid.gross.is_positive() => Standing::Paid,
            (_, _) if !is_open => Standing::Applied,
            (_, Place::Held) => Standing::Refused,
            (_, Place::Unclaimed) => Standing::Unclaimed,
            (_, Place::Billing) if self.applied.gross.is_positive() => Standing::PartlyApplied,
            (_, Place::Billing) if self.last == Some(AnswerKind::Returned) => Standing::Returned,
            (_, Place::Billing) => Standing::Waiting,
        })
    }
}

/// Where a credit stands, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Never answered, or only loaded.
    Waiting,
    /// A part stands on bills.
    PartlyApplied,
    Applied,
    Returned,
    /// Billing will not take it: finance holds it.
    Refused,
    Unclaimed,
    /// In money.
    Paid,
    /// Taken back, and billing has not answered yet.
    Reversing,
    Reversed,
    Expired,
}

impl Standing {
    pub fn name(self) -> &'static str {
        match self {
            Standing::Waiting => "waiting",
            Standing::PartlyApplied => "partly_applied",
            Standing::Applied => "applied",
            Standing::Returned => "returned",
            Standing::Refused => "refused",
            Standing::Unclaimed => "unclaimed",
            Standing::Paid => "paid",
            Standing::Reversing => "reversing",
            Standing::Reversed => "reversed",
            Standing::Expired => "expired",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::credit::Split;

    fn nzd(minor: i64) -> Money {
        Money::from_minor(minor, "NZD".parse().unwrap()).unwrap()
    }

    fn credit(gross: i64) -> Amounts {
        let split = Split::of(nzd(gross), 1_500).unwrap();
        Amounts { gross: nzd(gross), net: split.net, tax: split.tax }
    }

    fn answer(kind: AnswerKind, reference: &str, amounts: Amounts) -> Step {
        Step::Answered(Answered {
            kind,
            round: 0,
            reference: reference.to_owned(),
            on: NaiveDate::MIN,
            amounts,
            rounding: nzd(0),
            supersedes: None,
        })
    }

    fn deed(kind: DeedKind, amounts: Amounts, is_cancel: bool) -> Step {
        let (reason, reference, on) = ("duplicate".to_owned(), String::new(), NaiveDate::MIN);
        Step::Done(Deed { kind, amounts, reason, reference, on, is_cancel })
    }

    #[test]
    fn a_credit_waits_until_all_of_it_stands_on_a_bill() {
        let whole = credit(100);
        let (most, rest) = (whole.part(credit(0), nzd(60)).unwrap(), nzd(40));
        let mut course = Course::of(whole, []).unwrap();
        let mut standing = |step: Step| {
            course.follow(&step).unwrap();
            (course.standing().unwrap(), course.open().unwrap().gross.minor())
        };
        let rest = whole.part(most, rest).unwrap();
        let nothing = credit(0);
        assert_eq!(standing(answer(AnswerKind::Accepted, "", nothing)), (Standing::Waiting, 100));
        assert_eq!(standing(answer(AnswerKind::Applied, "a", most)), (Standing::PartlyApplied, 40));
        assert_eq!(standing(answer(AnswerKind::Applied, "b", rest)), (Standing::Applied, 0));
        assert_eq!(standing(answer(AnswerKind::Returned, "b", rest)), (Standing::PartlyApplied, 40));
        assert_eq!(standing(answer(AnswerKind::Returned, "a", most)), (Standing::Returned, 100));
        assert_eq!(standing(answer(AnswerKind::Refused, "CLOSED", nothing)), (Standing::Refused, 100));
        assert_eq!(standing(deed(DeedKind::Unclaimed, whole, false)), (Standing::Unclaimed, 100));
        assert_eq!(standing(deed(DeedKind::Offered, whole, false)), (Standing::Waiting, 100));
        assert_eq!(standing(deed(DeedKind::Reversed, whole, true)), (Standing::Reversing, 100));
        assert_eq!(standing(answer(AnswerKind::Cancelled, "", whole)), (Standing::Reversed, 0));
    }

    proptest! {
        /// However much of it stands on bills or is held: what is taken back is what is left, never more than was issued, and only once.
        #[test]
        fn what_is_taken_back_is_what_is_left_and_only_once(
            gross in 1i64..9_000, parts in prop::collection::vec((1i64..4_000, any::<bool>()), 0..6), is_held in any::<bool>(),
        ) {
            let whole = credit(gross);
            let mut course = Course::of(whole, []).unwrap();
            for (number, (part, comes_back)) in parts.into_iter().enumerate() {
                let open = course.open().unwrap().gross.minor();
                let Ok(part) = course.part_of_open(nzd(part.min(open))) else { continue };
                if !part.gross.is_positive() {
                    continue;
                }
                let bill = number.to_string();
                course.follow(&answer(AnswerKind::Applied, &bill, part)).unwrap();
                if comes_back {
                    course.follow(&answer(AnswerKind::Returned, &bill, part)).unwrap();
                }
            }
            if is_held && !course.applied.gross.is_positive() {
                course.follow(&answer(AnswerKind::Refused, "CLOSED", credit(0))).unwrap();
            }
            let plan = course.take_back(TakenBack::Reversed).unwrap();
            prop_assert_eq!(plan.whole, whole);
            let taken = [plan.cancel, plan.debit, plan.write_off.map(|(_, amounts)| amounts)];
            let sum = taken.into_iter().flatten().try_fold(credit(0), Amounts::plus).unwrap();
            prop_assert_eq!(sum, whole, "nothing is taken twice");
            course.follow(&deed(DeedKind::Reversed, plan.whole, plan.cancel.is_some())).unwrap();
            if let Some((_, amounts)) = plan.write_off {
                course.follow(&deed(DeedKind::WrittenOff, amounts, false)).unwrap();
            }
            if let Some(amounts) = plan.debit {
                course.follow(&deed(DeedKind::Debited, amounts, false)).unwrap();
                course.follow(&answer(AnswerKind::Debited, "next", amounts)).unwrap();
            }
            if let Some(amounts) = plan.cancel {
                course.follow(&answer(AnswerKind::Cancelled, "", amounts)).unwrap();
            }
            prop_assert_eq!(course.standing().unwrap(), Standing::Reversed);
            prop_assert_eq!(course.given().unwrap(), nzd(0));
            for how in [TakenBack::Reversed, TakenBack::Expired] {
                prop_assert_eq!(course.take_back(how).unwrap_err().code, Code::WrongState);
            }
        }
    }
}
