//! The bank: sixteen writers give credits, answer them, take them back and settle what is held, on a few accounts, all at once; whoever reads
//! meanwhile finds the books in order in every snapshot, and what is left at the end is what the steps of each credit say.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use makegood::domain::actor::{Actor, Role};
use makegood::domain::feed::{AnswerKind, credit_name};
use makegood::flows::answer_credits::{AnswerCredits, AnswerItem, answer_credits};
use makegood::flows::issue_credits::issue_in;
use makegood::flows::once::Answer;
use makegood::flows::pull_feed::pull_feed;
use makegood::flows::reverse_credit::reverse_credit;
use makegood::flows::sequence_feed::sequence_feed;
use makegood::flows::settle_held::{Settling, settle_held};
use makegood::store::Error;
use serde_json::json;
use sqlx::PgPool;

use crate::support::is_skipped;
use crate::world::*;

const WRITERS: u64 = 16;
/// How many deeds each writer does; CI's size unless set.
fn rounds() -> u64 {
    std::env::var("MAKEGOOD_BANK_ROUNDS").map_or(40, |text| text.parse().unwrap())
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % most
    }
}

/// A credit that some writer may have given: there are few, so that writers meet.
fn some_credit(dice: &mut Dice) -> (usize, u32) {
    (usize::try_from(dice.below(4)).unwrap(), u32::try_from(dice.below(12)).unwrap())
}

fn amount(number: u32) -> i64 {
    // Odd sizes, so that parts leave odd cents of tax.
    101 + 97 * i64::from(number)
}

/// One deed on one credit. What does not fit where the credit stands is refused; the database must not be in the way.
async fn deed(pool: &PgPool, dice: &mut Dice, name: &str) -> Result<(), Error> {
    let (index, number) = some_credit(dice);
    let one = goodwill(index, number, amount(number), november(20));
    let credit = credit_name(one.credit.id);
    let billing = Actor { source: Some("billing".to_owned()), ..staff("billing", Role::Billing) };
    let finance = staff("finn", Role::Finance);
    let note = || serde_json::from_value(json!({ "note": "As agreed." })).unwrap();
    let settle = async |settling: Settling| {
        settle_held(pool, november(20), &finance, &key(name), &credit, settling, note()).await.map(drop::<Answer>)
    };
    match dice.below(12) {
        0..3 => {
            let mut tx = pool.begin().await?;
            issue_in(&mut tx, std::slice::from_ref(&one)).await?;
            tx.commit().await?;
            Ok(())
        }
        3 => {
            let request =
                serde_json::from_value(json!({ "reason": "duplicate", "note": "It was given twice." })).unwrap();
            reverse_credit(pool, november(20), &finance, &key(name), &credit, request).await.map(drop)
        }
        4 => settle(Settling::Offer).await,
        5 if dice.below(3) == 0 => settle(Settling::Unclaim).await,
        5 if dice.below(3) == 0 => settle(Settling::Pay(name.to_owned())).await,
        _ => {
            let kinds = [
                AnswerKind::Applied,
                AnswerKind::Applied,
                AnswerKind::Returned,
                AnswerKind::Refused,
                AnswerKind::Cancelled,
                AnswerKind::Debited,
                AnswerKind::Accepted,
            ];
            let items = (0..1 + dice.below(3)).map(|_| {
                let (index, number) = some_credit(dice);
                let kind = kinds[usize::try_from(dice.below(7)).unwrap()];
                let credit = credit_name(goodwill(index, number, 1, november(20)).credit.id);
                // A part now and then, and sometimes a cent of tax more than we would say.
                let part = i64::try_from(1 + dice.below(300)).unwrap();
                let tax = (part * 3 + 11) / 23 + i64::from(dice.below(6) == 0);
                let is_part =
                    matches!(kind, AnswerKind::Applied | AnswerKind::Debited) && dice.below(3) > 0 && tax <= part;
                AnswerItem {
                    credit,
                    answer: kind,
                    reference: Some(format!("INV-{}", dice.below(6))),
                    date: "2026-12-05".parse().ok(),
                    net: is_part.then(|| nzd(part - tax).digits()),
                    tax: is_part.then(|| nzd(tax).digits()),
                    code: Some(["CLOSED", "MOVED"][usize::try_from(dice.below(2)).unwrap()].to_owned()),
                    detail: None,
                }
            });
            let request = AnswerCredits { items: items.collect() };
            let today = "2026-12-06".parse().unwrap();
            answer_credits(pool, november(20), &billing, "billing", today, request).await.map(drop)
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_writers_leave_the_books_in_order_in_every_snapshot() {
    if is_skipped("sixteen_writers_leave_the_books_in_order_in_every_snapshot") {
        return;
    }
    let seed: u64 = std::env::var("MAKEGOOD_SEED")
        .map_or_else(|_| uuid::Uuid::new_v4().as_u64_pair().0, |text| text.parse().unwrap());
    // Shown where the test fails.
    println!("MAKEGOOD_SEED={seed}");
    let world = world(4).await;
    let pool = &world.database.app;
    let (done, refused, did, read) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let writers = async {
        futures_util::future::join_all((0..WRITERS).map(|writer| {
            let (refused, did) = (&refused, &did);
            async move {
                let mut dice = Dice(seed ^ (writer << 48));
                for round in 0..rounds() {
                    match deed(pool, &mut dice, &format!("{writer}-{round}")).await {
                        Ok(()) => did.fetch_add(1, Ordering::Relaxed),
                        Err(Error::Refused(refusal)) => {
                            assert_ne!(refusal.code.name(), "internal", "seed {seed}: {refusal}");
                            refused.fetch_add(1, Ordering::Relaxed)
                        }
                        Err(other) => panic!("seed {seed}, writer {writer}, round {round}: {other} {other:?}"),
                    };
                }
            }
        }))
        .await;
        done.store(true, Ordering::SeqCst);
    };
    let billing = async {
        while !done.load(Ordering::SeqCst) {
            sequence_feed(pool, 0, november(20)).await.unwrap();
            pull_feed(pool, "billing", None, 1_000, november(20)).await.unwrap();
        }
    };
    let reader = async || {
        while !done.load(Ordering::SeqCst) {
            controls_agree(pool).await;
            read.fetch_add(1, Ordering::Relaxed);
        }
    };
    tokio::join!(writers, billing, reader(), reader());
    let (did, refused) = (did.into_inner(), refused.into_inner());
    assert!(did > 100 && read.into_inner() > 1, "seed {seed}: {did} done, {refused} refused");
    let kinds: i64 = sqlx::query_scalar(
        "SELECT count(DISTINCT kind) FROM (SELECT kind FROM billing_answer UNION ALL SELECT kind FROM credit_deed) one",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    assert!(kinds >= 8, "seed {seed}: only {kinds} kinds of steps were tried");
    // Every credit's postings are what its course says.
    let mut conn = pool.acquire().await.unwrap();
    let credits = makegood::store::credits::of_accounts(&mut conn, &world.accounts).await.unwrap();
    let courses = makegood::store::courses::of(&mut conn, &credits).await.unwrap();
    for credit in &credits {
        let owed: i64 = sqlx::query_scalar(
            "SELECT (sum(CASE WHEN credit IN ('OWED', 'HELD', 'UNCLAIMED') THEN amount_minor ELSE 0 END)
                   - sum(CASE WHEN debit IN ('OWED', 'HELD', 'UNCLAIMED') THEN amount_minor ELSE 0 END))::bigint
             FROM transfer WHERE document = $1",
        )
        .bind(credit.id.0)
        .fetch_one(&mut *conn)
        .await
        .unwrap();
        assert_eq!(courses[&credit.id].open().unwrap().gross.minor(), owed, "seed {seed}: {}", credit.id);
    }
    drop(conn);
    books_hold(pool).await;
}
