//! Aoraki Mail's customers: made by counting, so that every run makes the same ones, at any size.
//!
//! A quarter of the accounts live on each of four mail systems. Sizes are odd, so that a quarter of $12.50 leaves half
//! cents and a run's total is not the product of a rate and a count.

use chrono::NaiveDate;
use serde_json::{Value, json};

use crate::domain::credit::Split;
use crate::domain::money::{Currency, Money, MoneyError};

/// How many accounts, by the name of the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scale {
    /// 300 accounts.
    Small,
    /// 300,000 accounts.
    Xtra,
}

impl Scale {
    pub fn name(self) -> &'static str {
        match self {
            Scale::Small => "small",
            Scale::Xtra => "xtra",
        }
    }

    fn accounts(self) -> u32 {
        match self {
            Scale::Small => 300,
            Scale::Xtra => 300_000,
        }
    }
}

/// The mail systems, a quarter of the accounts each. The first two fail.
pub const SHARDS: [&str; 4] = ["mx-07", "mx-08", "mx-11", "mx-12"];
pub const TAX_RATE_BP: u16 = 1_500;

/// When the directory's record begins, and when some mailboxes were moved away during the outage.
const BEGAN: &str = "2024-01-01T00:00:00Z";
const MOVED: &str = "2026-10-13T05:00:00Z";

/// What is sold, with its price for a mailbox and month in cents, tax included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    Home,
    Business,
    Plus,
}

impl Plan {
    fn name(self) -> &'static str {
        match self {
            Plan::Home => "home",
            Plan::Business => "business",
            Plan::Plus => "plus",
        }
    }

    fn price_cents(self) -> i64 {
        match self {
            Plan::Home => 200,
            Plan::Business => 1_250,
            Plan::Plus => 1_800,
        }
    }
}

/// One customer.
#[derive(Clone, Debug)]
pub struct Customer {
    pub reference: String,
    pub name: String,
    pub email: String,
    plan: Plan,
    /// The mail system of each mailbox.
    mailboxes: Vec<&'static str>,
    oddity: Oddity,
}

/// What makes some records harder than others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Oddity {
    None,
    /// Moved to a mail system that worked, on the day.
    Moved,
    /// October was not invoiced yet.
    NotCharged,
    /// A second directory says that a mailbox was elsewhere.
    Contested,
}

/// The customers that people meet in the demo, by their place in the list.
const KNOWN: [(&str, &str, Plan, u32); 6] = [
    ("20418876", "Harbour Freight Brokers Ltd", Plan::Business, 12),
    ("20418901", "Kōwhai Dental", Plan::Business, 4),
    ("20418950", "Tasman Timber", Plan::Business, 3),
    ("20419007", "Lakeside Legal", Plan::Plus, 5),
    ("20419044", "Ōtaki Motors", Plan::Business, 3),
    ("20419113", "Hana Rewi", Plan::Home, 1),
];

const FIRST: [&str; 12] =
    ["Aria", "Ben", "Chloe", "Dev", "Eru", "Fay", "Grace", "Hemi", "Isla", "Jack", "Kiri", "Liam"];
const LAST: [&str; 11] =
    ["Walker", "Tamahori", "Singh", "O'Neill", "Pōtiki", "Chen", "Fraser", "Māhuta", "Laurie", "Kerr", "Novak"];
const TRADES: [&str; 13] = [
    "Bakery",
    "Builders",
    "Cycles",
    "Dental",
    "Electrical",
    "Florist",
    "Joinery",
    "Legal",
    "Motors",
    "Orchards",
    "Plumbing",
    "Surveys",
    "Vets",
];

/// Everybody, in order.
pub fn customers(scale: Scale) -> impl Iterator<Item = Customer> {
    (0..scale.accounts()).map(customer)
}

fn customer(index: u32) -> Customer {
    let at = |list: &'static [&'static str], number: u32| {
        let place = usize::try_from(number).unwrap_or(0) % list.len();
        list.get(place).copied().unwrap_or_default()
    };
    let shard = at(&SHARDS, index);
    let within = index / 4;
    if let Some((reference, name, plan, mailboxes)) = KNOWN.get(usize::try_from(index).unwrap_or(usize::MAX)) {
        return known(reference, name, *plan, *mailboxes, shard);
    }
    let plan = match within % 10 {
        0..=5 => Plan::Home,
        6..=8 => Plan::Business,
        _ => Plan::Plus,
    };
    let mailboxes = match plan {
        Plan::Home => 1,
        Plan::Business => [1, 2, 3, 4, 5, 7, 9].get(pick(within, 7)).copied().unwrap_or(1),
        Plan::Plus => [1, 2, 3].get(pick(within, 3)).copied().unwrap_or(1),
    };
    let oddity = match within % 50 {
        20 => Oddity::NotCharged,
        24 | 49 => Oddity::Moved,
        30 => Oddity::Contested,
        _ => Oddity::None,
    };
    let person = (at(&FIRST, index.wrapping_mul(7)), at(&LAST, index.wrapping_mul(5).wrapping_add(within)));
    let name = match plan {
        Plan::Home => format!("{} {}", person.0, person.1),
        Plan::Business | Plan::Plus => {
            format!("{} {}", person.1, at(&TRADES, index.wrapping_mul(3).wrapping_add(within)))
        }
    };
    let reference = (30_000_000 + index).to_string();
    Customer {
        email: format!("accounts@{reference}.example"),
        reference,
        name,
        plan,
        mailboxes: vec![shard; mailboxes],
        oddity,
    }
}

fn pick(number: u32, of: u32) -> usize {
    usize::try_from(number % of).unwrap_or(0)
}

/// The worked example has eight mailboxes on the system that failed and four on one that did not.
fn known(reference: &str, name: &str, plan: Plan, count: u32, shard: &'static str) -> Customer {
    let mailboxes = match reference {
        "20418876" => [vec!["mx-07"; 8], vec!["mx-11"; 4]].concat(),
        _ => (0..count).map(|_| shard).collect(),
    };
    let word: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    Customer {
        reference: reference.to_owned(),
        name: name.to_owned(),
        email: format!("accounts@{}.example", word.to_lowercase()),
        plan,
        mailboxes,
        oddity: Oddity::None,
    }
}

impl Customer {
    pub fn account_line(&self) -> Value {
        json!({
            "account": self.reference, "name": self.name, "zone": "Pacific/Auckland", "currency": "NZD", "email": self.email,
            "customer_since": "2017-03-01",
        })
    }

    pub fn subscription_line(&self) -> Value {
        json!({
            "account": self.reference, "subscription": format!("{}-mail", self.reference), "plan": self.plan.name(),
            "valid_from": BEGAN,
        })
    }

    /// October's charge; none where it was not invoiced.
    pub fn charge_line(&self, currency: Currency) -> Result<Option<Value>, MoneyError> {
        if self.oddity == Oddity::NotCharged {
            return Ok(None);
        }
        let quantity = i64::try_from(self.mailboxes.len()).map_err(|_| MoneyError::TooLarge)?;
        let gross = Money::from_minor(self.plan.price_cents() * quantity, currency)?;
        let split = Split::of(gross, TAX_RATE_BP)?;
        Ok(Some(json!({
            "account": self.reference, "number": format!("INV-2026-10-{}", self.reference),
            "subscription": format!("{}-mail", self.reference),
            "invoiced_on": NaiveDate::from_ymd_opt(2026, 10, 1), "service_from": "2026-10-01", "service_to": "2026-11-01",
            "quantity": quantity, "currency": currency, "net": split.net.digits(), "tax": split.tax.digits(),
            "gross": gross.digits(), "tax_code": "GST15", "tax_rate_bp": TAX_RATE_BP,
        })))
    }

    pub fn placement_lines(&self) -> Vec<Value> {
        let line = |number: usize, shard: &str, from: &str, source: &str| {
            json!({
                "account": self.reference, "mailbox": format!("{}-{:02}", self.reference, number + 1), "shard": shard,
                "valid_from": from, "source": source,
            })
        };
        let mut lines: Vec<Value> =
            self.mailboxes.iter().enumerate().map(|(number, shard)| line(number, shard, BEGAN, "directory")).collect();
        let fails = |shard: &&str| SHARDS[..2].contains(shard);
        match self.oddity {
            Oddity::None | Oddity::NotCharged => {}
            Oddity::Moved => {
                let moved = self.mailboxes.iter().enumerate().filter(|(_, shard)| fails(shard));
                lines.extend(moved.map(|(number, _)| line(number, "mx-11", MOVED, "directory")));
            }
            Oddity::Contested => lines.push(line(0, "mx-11", BEGAN, "old-directory")),
        }
        lines
    }
}
