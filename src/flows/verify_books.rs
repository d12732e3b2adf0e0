//! The auditor asks: does every row stand where it stood, and is none missing?

use sqlx::PgPool;
use uuid::Uuid;

use crate::domain::chain::{GENESIS, Hash, link};
use crate::domain::feed::item_hash;
use crate::store::books::{Link, Verified};
use crate::store::{Error, Tx, books, feed, snapshot};

/// How many rows are read at once.
const BATCH: i64 = 5_000;

/// Walks the chain and the feed from their beginnings, in one snapshot, and compares every hash with the row it is of.
pub async fn verify_books(pool: &PgPool) -> Result<Verified, Error> {
    let mut tx = snapshot::open(pool).await?;
    let head = feed::head(&mut tx, feed::LANE).await?;
    let (mut hash, mut checked) = (GENESIS, 0);
    let broken = |checked, hash, words: String| Ok(Verified { checked, head: hash, broken: Some(words) });
    loop {
        let links = books::links_after(&mut tx, feed::LANE, checked, BATCH).await?;
        if links.is_empty() {
            break;
        }
        let rows = rows_of(&mut tx, &links).await?;
        for one in &links {
            if one.no != checked + 1 {
                return broken(
                    checked,
                    hash,
                    format!("Entry {} follows entry {checked}: something between them is gone.", one.no),
                );
            }
            let Some(encoded) = rows.get(&one.row_id) else {
                return broken(checked, hash, format!("Entry {}, {} {}, is gone.", one.no, one.kind, one.row_id));
            };
            let expected = link(&hash, encoded);
            if one.hash != expected {
                let words = format!(
                    "Entry {}, {} {}, does not match the entry before it. Entries before it are intact. Nothing after it can be \
                     trusted until this is explained.",
                    one.no, one.kind, one.row_id
                );
                return broken(checked, hash, words);
            }
            hash = expected;
            checked = one.no;
        }
    }
    if (checked, hash) != (head.chain_no, head.chain_hash) {
        return broken(
            checked,
            hash,
            format!("The chain ends at entry {checked}, but {} were written: its tail is cut.", head.chain_no),
        );
    }
    let coverage = books::coverage(&mut tx).await?;
    if coverage.transfers + coverage.audits != coverage.linked + coverage.waiting {
        let words = format!(
            "{} transfers and {} audit rows are there, but {} stand in the chain and {} wait for it.",
            coverage.transfers, coverage.audits, coverage.linked, coverage.waiting
        );
        return broken(checked, hash, words);
    }
    let words = verify_feed(&mut tx, feed::LANE, &head).await?;
    Ok(Verified { checked, head: hash, broken: words })
}

async fn rows_of(tx: &mut Tx, links: &[Link]) -> Result<std::collections::HashMap<Uuid, Vec<u8>>, Error> {
    let of = |kind: &str| -> (Vec<Uuid>, Vec<Uuid>) {
        links.iter().filter(|link| link.kind == kind).map(|link| (link.account_id, link.row_id)).unzip()
    };
    let (accounts, ids) = of("transfer");
    let mut rows = books::encoded_transfers(tx, &accounts, &ids).await?;
    let (accounts, ids) = of("audit");
    rows.extend(books::encoded_audits(tx, &accounts, &ids).await?);
    Ok(rows)
}

async fn verify_feed(tx: &mut Tx, lane: i16, head: &feed::Head) -> Result<Option<String>, Error> {
    let (mut hash, mut pos): (Hash, i64) = ([0; 32], 0);
    loop {
        let items = feed::items_after(tx, lane, pos, BATCH).await?;
        if items.is_empty() {
            break;
        }
        for item in &items {
            let expected = item_hash(&hash, item.pos, &item.op, &item.body);
            if item.pos != pos + 1 || item.hash != expected {
                return Ok(Some(format!("Feed item {} does not follow from item {pos}.", item.pos)));
            }
            (hash, pos) = (expected, item.pos);
        }
    }
    let is_whole = (pos, hash) == (head.feed_pos, head.feed_hash);
    Ok((!is_whole).then(|| format!("The feed ends at {pos}, but {} items were numbered.", head.feed_pos)))
}
