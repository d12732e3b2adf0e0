//! A checkpoint is signed and kept where it can leave the machine: over what verifies from the last one on, or not at all.

use std::path::{Path, PathBuf};

use sqlx::PgPool;

use super::verify_books::walk_lane;
use crate::domain::chain::{GENESIS, Hash};
use crate::domain::checkpoint::{self, Checkpoint, FORMAT, LaneMark, SigningKey, line_hash, root};
use crate::domain::proof::{Findings, Walk};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::time::Instant;
use crate::store::checkpoints::{CheckpointFile, publish};
use crate::store::key_file::{self, KeyFileError};
use crate::store::{Error, feed, proof, snapshot};

/// The file of the key in the folder of keys.
const KEY_FILE: &str = "checkpoint-key.pem";
/// What a checkpoint is checked with, beside it: to be given to whoever checks.
const PUBLIC_FILE: &str = "checkpoint-key.pub.pem";

/// Why no checkpoint was kept.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    #[error(transparent)]
    Store(#[from] Error),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("the books do not verify, so nothing was signed: {}", .0.first.first().map_or_else(String::new, ToString::to_string))]
    Broken(Findings),
}

/// Reads the key that signs checkpoints, or makes it, and lays its public half beside it.
pub fn checkpoint_key(keys: &Path) -> Result<SigningKey, KeyFileError> {
    let pkcs8 = key_file::load_or_create(keys, KEY_FILE)?;
    let key = SigningKey::from_pkcs8(&pkcs8).ok_or_else(|| KeyFileError::NotAKey(keys.join(KEY_FILE)))?;
    let path = keys.join(PUBLIC_FILE);
    publish(&path, &key.public().pem()).map_err(|source| KeyFileError::File { path, source })?;
    Ok(key)
}

/// Signs where the chains stand in the folder's file of the current epoch, if its last checkpoint is older than `every`
/// microseconds; none where it is not. After a restore the new epoch has a file of its own.
pub async fn keep_checkpoint_when_due(
    pool: &PgPool,
    folder: &Path,
    key: &SigningKey,
    every: i64,
    real_now: Instant,
) -> Result<Option<Checkpoint>, NotKept> {
    let mut conn = pool.acquire().await.map_err(Error::from)?;
    let epoch = feed::head(&mut conn, feed::LANE).await?.epoch;
    drop(conn);
    let path = folder.join(format!("checkpoints-{epoch}.ndjson"));
    keep(pool, &path, key, Some(every), real_now).await
}

/// Signs where the chains stand at the end of the file.
pub async fn keep_checkpoint(
    pool: &PgPool,
    path: &Path,
    key: &SigningKey,
    real_now: Instant,
) -> Result<Checkpoint, NotKept> {
    let kept = keep(pool, path, key, None, real_now).await?;
    kept.ok_or_else(|| Error::Corrupt("a checkpoint that is always due was not".to_owned()).into())
}

async fn keep(
    pool: &PgPool,
    path: &Path,
    key: &SigningKey,
    every: Option<i64>,
    real_now: Instant,
) -> Result<Option<Checkpoint>, NotKept> {
    let at = |source| NotKept::File { path: path.to_path_buf(), source };
    let opening = path.to_path_buf();
    // Somebody else may be adding to it, and is waited for.
    let opened = tokio::task::spawn_blocking(move || {
        let mut file = CheckpointFile::open(&opening)?;
        let last = file.last_line()?;
        Ok((file, last))
    });
    let (mut file, last) = opened.await.map_err(std::io::Error::other).and_then(|opened| opened).map_err(at)?;
    let last = last.map(|line| read_own(&line, key, path)).transpose()?;
    let is_fresh = |every| last.as_ref().is_some_and(|(last, _)| real_now < last.at.plus(every));
    if every.is_some_and(is_fresh) {
        return Ok(None);
    }
    let (last, previous) = last.map_or((None, GENESIS), |(last, hash)| (Some(last), hash));
    let lanes = lanes_since(pool, last.as_ref()).await?;
    let checkpoint = Checkpoint {
        format: FORMAT.to_owned(),
        no: last.as_ref().map_or(1, |last| last.no + 1),
        at: last.as_ref().map_or(real_now, |last| last.at.max(real_now)),
        root: root(&lanes),
        lanes,
        previous,
        key: key.public().id(),
    };
    file.append(&key.sign(&checkpoint)).map_err(at)?;
    Ok(Some(checkpoint))
}

fn read_own(line: &str, key: &SigningKey, path: &Path) -> Result<(Checkpoint, Hash), NotKept> {
    let read = checkpoint::read(line, &[key.public()]).map_err(|why| {
        let words = format!(
            "The last line of {} is no checkpoint of this installation: {why}. Keep the file, find out who wrote in it, and \
             name a new one.",
            path.display()
        );
        Error::from(Refusal::new(Code::WrongState, words))
    })?;
    Ok((read, line_hash(line)))
}

/// Where the lanes stand, walked from where the last checkpoint saw them: what was written since is verified before it is signed.
async fn lanes_since(pool: &PgPool, last: Option<&Checkpoint>) -> Result<Vec<LaneMark>, NotKept> {
    let mut tx = snapshot::open(pool).await?;
    let (mut lanes, mut findings) = (Vec::new(), Findings::default());
    for lane in proof::lanes(&mut tx).await? {
        let head = proof::mark(&feed::head(&mut tx, lane).await?);
        let from = last.and_then(|last| last.lanes.iter().find(|mark| mark.lane == lane)).cloned();
        let checkpoints: Vec<Checkpoint> = last.cloned().into_iter().collect();
        let mut walk = Walk::from(from.unwrap_or_else(|| LaneMark::beginning(lane)), &checkpoints);
        walk_lane(&mut tx, &mut walk, &head, &mut |_, _| {}).await?;
        walk.end(&head);
        lanes.push(LaneMark { epoch: head.epoch, ..walk.at().clone() });
        findings.append(walk.findings);
    }
    if findings.is_empty() { Ok(lanes) } else { Err(NotKept::Broken(findings)) }
}
