//! An operator with customers whose mail was down for 22 hours in each of the last months, made by the service's own flows.

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use super::people::staff;
use crate::clock::Clock;
use crate::domain::actor::{Actor, Role};
use crate::domain::batch::Format;
use crate::domain::credit::Split;
use crate::domain::money::Money;
use crate::domain::operator::Operator;
use crate::domain::period::Month;
use crate::domain::time::{DAY, HOUR, Instant};
use crate::domain::window::{Capability, Impact};
use crate::flows::announce_outage::{AnnounceOutage, AskedScope, announce_outage};
use crate::flows::confirm_outage::{ConfirmOutage, confirm_outage};
use crate::flows::load_accounts::load_accounts;
use crate::flows::load_charges::load_charges;
use crate::flows::load_placements::load_placements;
use crate::flows::load_subscriptions::load_subscriptions;
use crate::flows::once::{Answer, IdempotencyKey};
use crate::flows::publish_terms::{PublishTerms, approve_terms, publish_terms};
use crate::flows::register_shards::{RegisterShards, register_shards};
use crate::flows::set_up_operator::set_up_operator;

/// How many months there are to credit.
const MONTHS: usize = 4;
const SHARD: &str = "mx-07";
/// Seconds in which a decision can be undone: short, so that much is posted.
const HOLD: u32 = 2;

/// The operator's reference of the `index`-th account.
pub fn reference(index: usize) -> String {
    format!("6{index:06}")
}

/// Sizes are odd, so that shares of a price leave half cents.
fn mailboxes(index: usize) -> i64 {
    i64::try_from(index % 5).unwrap_or(0) * 2 + 1
}

/// What the world is made of.
#[derive(Clone, Debug)]
pub struct World {
    pub accounts: usize,
    pub currency: crate::domain::money::Currency,
    /// The months that a credit run can be made for.
    pub months: Vec<Month>,
}

/// Fills an empty, migrated database.
pub async fn furnish(pool: &PgPool, accounts: usize) -> anyhow::Result<World> {
    let now = Clock::real().now();
    let operator = operator()?;
    set_up_operator(pool, now, &staff("ngaire", Role::Admin), &operator).await?;
    publish(pool, now).await?;
    let last = Month::containing(now.plus(-DAY), operator.zone).previous();
    let months: Vec<Month> = std::iter::successors(Some(last), |month| Some(month.previous())).take(MONTHS).collect();
    let began = months.last().copied().unwrap_or(last).previous().interval(operator.zone).start();
    let shards = RegisterShards { shards: vec![SHARD.to_owned()] };
    register_shards(pool, now, &staff("sefa", Role::Operations), &shards).await?;
    load(pool, now, accounts, &months, &operator, began).await?;
    for month in &months {
        outage(pool, now, *month, &operator).await?;
    }
    Ok(World { accounts, currency: operator.currency, months })
}

/// The demo's operator, with a hold that is over soon and months that may be credited at once.
fn operator() -> anyhow::Result<Operator> {
    let settings: Operator = serde_saphyr::from_str(include_str!("../../../assets/operator.yaml"))?;
    Ok(Operator { hold_seconds: HOLD, assess_after_days: 0, ..settings })
}

async fn publish(pool: &PgPool, now: Instant) -> anyhow::Result<()> {
    let terms: Value = serde_saphyr::from_str(include_str!("../../../assets/terms/business.yaml"))?;
    let effective_from = Instant::parse("2020-01-01T00:00:00Z")?;
    let author = staff("ngaire", Role::Admin);
    let request = PublishTerms { effective_from, terms };
    let published = publish_terms(pool, now, &author, &key("terms"), "business", request).await?;
    let version = i32::try_from(read(&published)?["version"].as_i64().context("no version")?)?;
    approve_terms(pool, now, &staff("viliami", Role::Admin), &key("approve-terms"), "business", version).await?;
    Ok(())
}

async fn load(
    pool: &PgPool,
    now: Instant,
    accounts: usize,
    months: &[Month],
    operator: &Operator,
    began: Instant,
) -> anyhow::Result<()> {
    let subscription = |index: usize| format!("{}-mail", reference(index));
    let (mut of_accounts, mut of_subscriptions) = (String::new(), String::new());
    let (mut of_charges, mut of_placements) = (String::new(), String::new());
    let line = |to: &mut String, line: Value| to.push_str(&format!("{line}\n"));
    for index in 0..accounts {
        let account = reference(index);
        line(
            &mut of_accounts,
            json!({
                "account": account, "name": format!("Customer {index}"), "zone": operator.zone.name(),
                "currency": operator.currency,
            }),
        );
        line(
            &mut of_subscriptions,
            json!({ "account": account, "subscription": subscription(index), "plan": "business", "valid_from": began }),
        );
        for number in 0..mailboxes(index) {
            line(
                &mut of_placements,
                json!({
                    "account": account, "mailbox": format!("{account}-{number}"), "shard": SHARD, "valid_from": began,
                    "source": "directory",
                }),
            );
        }
        for month in months {
            let gross = Money::from_minor(1_250 * mailboxes(index), operator.currency)?;
            let split = Split::of(gross, operator.tax.rate_bp)?;
            line(
                &mut of_charges,
                json!({
                    "account": account, "number": format!("INV-{account}-{month}"), "subscription": subscription(index),
                    "invoiced_on": month.first_day(), "service_from": month.first_day(),
                    "service_to": month.next().first_day(), "quantity": mailboxes(index), "currency": operator.currency,
                    "net": split.net.digits(), "tax": split.tax.digits(), "gross": gross.digits(),
                    "tax_code": operator.tax.code, "tax_rate_bp": operator.tax.rate_bp,
                }),
            );
        }
    }
    let clerk = staff("records", Role::Ingest);
    let file = |text: String| stream::iter([Ok::<_, std::io::Error>(Bytes::from(text))]);
    let reports = [
        load_accounts(pool, now, &clerk, file(of_accounts), Format::Ndjson, false).await?,
        load_subscriptions(pool, now, &clerk, file(of_subscriptions), Format::Ndjson, false).await?,
        load_charges(pool, now, &clerk, file(of_charges), Format::Ndjson, false).await?,
        load_placements(pool, now, &clerk, file(of_placements), Format::Ndjson, false).await?,
    ];
    for report in reports {
        ensure!(report.rejected == 0, "the world's own lines were refused: {report:?}");
    }
    Ok(())
}

/// Enters the outage of a month, in its middle, and signs it off as somebody else.
async fn outage(pool: &PgPool, now: Instant, month: Month, operator: &Operator) -> anyhow::Result<()> {
    let start = month.interval(operator.zone).start().plus(12 * DAY + 19 * HOUR);
    let request = AnnounceOutage {
        scope: AskedScope::Shards(vec![SHARD.to_owned()]),
        capability: Capability("receive".to_owned()),
        impact: Impact::Full,
        reach: None,
        start: Some(start),
        end: Some(start.plus(22 * HOUR)),
        planned: None,
        incident: Some(format!("INC-{month}")),
        note: None,
        origin: None,
    };
    let sefa: Actor = staff("sefa", Role::Operations);
    let entered = announce_outage(pool, now, &sefa, &key(&format!("outage-{month}")), request).await?;
    let window = read(&entered)?["window"]["id"].as_str().context("no window")?.parse()?;
    let signing = ConfirmOutage { version: 1 };
    let mikaere = staff("mikaere", Role::Operations);
    let name = key(&format!("confirm-{month}"));
    confirm_outage(pool, now, &mikaere, &name, crate::domain::ids::WindowId(window), signing).await?;
    Ok(())
}

fn key(name: &str) -> IdempotencyKey {
    IdempotencyKey { key: format!("soak-{name}"), fingerprint: Sha256::digest(name).into() }
}

fn read(answer: &Answer) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&answer.body)?)
}
