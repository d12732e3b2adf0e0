//! `p4-feed` and `p4-last-page`: one consumer pulls a whole feed over HTTP, page after page, from a served makegood with a private PostgreSQL.
//!
//! The floor is one COPY of the same items as JSON out of the same server, in turn with ours. Whoever pulls reads each page whole and takes
//! the cursor out of it, and nothing else.

use std::time::{Duration, Instant as Stopwatch};

use anyhow::{Context, ensure};

use super::served::Served;
use super::{Bench, BenchArgs, Figure, Report, Target, median};
use crate::domain::actor::Role;
use crate::store::{feed, floor_feed};

/// How many items a page has: the most that one may, and what a puller in no haste takes.
const LARGE: u64 = 10_000;
const PAGE: u64 = 1_000;
/// How many bytes at a page's end hold its cursor.
const END: usize = 160;
/// How often the first and the last page are asked for.
const ASKED: u32 = 101;

/// Whoever pulls.
struct Puller {
    http: reqwest::Client,
    at: String,
    token: String,
}

/// What a page said of what comes after it.
struct Pulled {
    bytes: usize,
    cursor: String,
    has_more: bool,
}

impl Puller {
    async fn page(&self, limit: u64, after: Option<&str>) -> anyhow::Result<Pulled> {
        let after = after.map(|cursor| format!("&after={cursor}")).unwrap_or_default();
        let request =
            self.http.get(format!("{}/v1/billing/feed?limit={limit}{after}", self.at)).bearer_auth(&self.token);
        let response = request.send().await?;
        let status = response.status();
        let page = response.bytes().await?;
        ensure!(status.is_success(), "a page was refused: {}", String::from_utf8_lossy(&page));
        // It stands at the end of the page.
        let end = std::str::from_utf8(&page[page.len().saturating_sub(END)..])?;
        let (_, end) = end.rsplit_once("\"next_cursor\":\"").context("a page without its cursor")?;
        let (cursor, rest) = end.split_once('"').context("a page that was cut")?;
        Ok(Pulled { bytes: page.len(), cursor: cursor.to_owned(), has_more: rest.contains("true") })
    }

    /// Every page of `limit` items; gives how many bytes they had and the cursor before the last full one.
    async fn pull(&self, limit: u64, count: u64) -> anyhow::Result<(usize, Option<String>)> {
        let (mut after, mut before, mut bytes, mut pages) = (None, None, 0, 0);
        loop {
            let page = self.page(limit, after.as_deref()).await?;
            bytes += page.bytes;
            if !page.has_more {
                break;
            }
            pages += 1;
            before = after.replace(page.cursor);
        }
        ensure!(pages == count / limit, "{pages} full pages of {count} items");
        Ok((bytes, before))
    }

    async fn timed(&self, after: Option<&str>) -> anyhow::Result<Duration> {
        let start = Stopwatch::now();
        self.page(PAGE, after).await?;
        Ok(start.elapsed())
    }
}

/// Fills a feed of `--size` credits, pulls it, and says how long that took beside its floor; then its first and its last page.
pub(super) async fn run(args: &BenchArgs) -> anyhow::Result<Report> {
    let count = u64::from(args.size).div_ceil(LARGE) * LARGE;
    let served = Served::start().await?;
    let owner = served.owner()?;
    // The service has opened its epoch by then, or this page does it.
    let puller = Puller {
        http: reqwest::Client::new(),
        at: served.url().to_owned(),
        token: served.machine(Role::Billing).await?,
    };
    puller.page(PAGE, None).await?;
    floor_feed::fill(owner, i64::try_from(count)?).await?;
    let (mut ours, mut least, mut small) = (Vec::new(), Vec::new(), Vec::new());
    let (mut pulled, mut copied, mut last) = ((0, None), (0, 0), None);
    // Once each before it counts: what was written is read for the first time, and that it was delivered is noted.
    let start = Stopwatch::now();
    pulled.clone_from(&puller.pull(LARGE, count).await?);
    let first_pull = start.elapsed();
    for round in 0..args.rounds {
        for turn in 0..2 {
            let start = Stopwatch::now();
            if turn == round % 2 {
                pulled = puller.pull(LARGE, count).await?;
                ours.push(start.elapsed());
                let start = Stopwatch::now();
                last = puller.pull(PAGE, count).await?.1;
                small.push(start.elapsed());
            } else {
                copied = floor_feed::copy_rows(owner).await?;
                least.push(start.elapsed());
            }
        }
    }
    ensure!(copied.0 == count, "the floor read {} of {count} items", copied.0);
    let (mut of_last, mut of_first) = (Vec::new(), Vec::new());
    for _ in 0..ASKED {
        of_last.push(puller.timed(last.as_deref()).await?);
        of_first.push(puller.timed(None).await?);
    }
    let mut conn = served.opened.pool.acquire().await?;
    let delivered = feed::delivered_to(&mut conn, feed::LANE, "makegood|billing:bench").await?;
    drop(conn);
    let floor = median(least);
    Ok(Report {
        bench: Bench::P4Feed,
        facts: vec![
            ("credits", count.into()),
            ("page", LARGE.into()),
            ("first_pull_ms", u64::try_from(first_pull.as_millis())?.into()),
            ("bytes", pulled.0.into()),
            ("floor_bytes", copied.1.into()),
            ("delivered", delivered.into()),
        ],
        figures: vec![
            Figure::of_times("p4-feed", median(ours), floor, Target::Ratio(1)),
            Figure::of_times("p4-feed-1000", median(small), floor, Target::RatioThousandths(1_300)),
            Figure::of_times("p4-last-page", median(of_last), median(of_first), Target::RatioThousandths(1_100)),
        ],
    })
}
