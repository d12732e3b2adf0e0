//! The proof that the books are the ones that were written: what whoever owns the database changes is found, what the service's own
//! role tries is refused, and every change and every refused try stands in the audit trail.

mod support;

#[path = "proof/changes.rs"]
mod changes;
#[path = "support/doors.rs"]
mod doors;
#[path = "proof/erasure.rs"]
mod erasure;
#[path = "support/server.rs"]
mod server;
#[path = "proof/trail.rs"]
mod trail;
#[path = "support/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use makegood::domain::chain::{GENESIS, Hash, link};
use makegood::domain::checkpoint::{Checkpoint, PublicKey, SigningKey, read_all};
use makegood::domain::proof::{Verified, What};
use makegood::flows::issue_credits::issue_in;
use makegood::flows::keep_checkpoint::{NotKept, checkpoint_key, keep_checkpoint, keep_checkpoint_when_due};
use makegood::flows::sequence_feed::sequence_feed;
use makegood::flows::verify_books::verify_against;
use makegood::store::books::{self, NewLink};
use server::Server;
use sqlx::{AssertSqlSafe, PgPool};
use support::{PROGRAM, is_skipped};
use uuid::Uuid;
use world::*;

/// A folder of this test's own.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("makegood-proof-{}", Uuid::now_v7()));
        std::fs::create_dir(&folder).unwrap();
        Folder(folder)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn number_all(pool: &PgPool) {
    while sequence_feed(pool, 0, november(30)).await.unwrap() > 0 {}
}

/// Issues goodwill to every account.
async fn give(pool: &PgPool, accounts: usize, number: u32) {
    let mut tx = pool.begin().await.unwrap();
    for index in 0..accounts {
        issue_in(&mut tx, &[goodwill(index, number, 1_000 + i64::from(number), november(20))]).await.unwrap();
    }
    tx.commit().await.unwrap();
    number_all(pool).await;
}

fn checkpoints(path: &Path, key: &SigningKey) -> Vec<Checkpoint> {
    let text = std::fs::read_to_string(path).unwrap();
    read_all(text.lines(), &[key.public()]).unwrap()
}

async fn verified(pool: &PgPool, checkpoints: &[Checkpoint]) -> Verified {
    verify_against(pool, checkpoints, &mut |_, _| {}).await.unwrap()
}

fn kinds(verified: &Verified) -> BTreeSet<What> {
    verified.findings.first.iter().map(|finding| finding.what).collect()
}

/// The tables that are put back after each change.
const KEPT: [&str; 7] = ["transfer", "audit", "chain", "feed", "lane_head", "credit", "outbox"];

async fn run(owner: &PgPool, statements: &str) {
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
        .execute(owner)
        .await
        .unwrap_or_else(|e| panic!("{e}: {statements}"));
}

async fn keep_tables(owner: &PgPool) {
    run(owner, "CREATE SCHEMA kept").await;
    for table in KEPT {
        run(owner, &format!("CREATE TABLE kept.{table} AS TABLE public.{table}")).await;
    }
    // The owner of the tables, who is held to row-level security by FORCE, takes that away first.
    run(owner, "ALTER TABLE credit NO FORCE ROW LEVEL SECURITY").await;
}

async fn put_back(owner: &PgPool) {
    for table in KEPT {
        run(owner, &format!("TRUNCATE public.{table}; INSERT INTO public.{table} SELECT * FROM kept.{table}")).await;
    }
}

/// Writes the chain anew over the rows that are there, leaving out the entries at `without`, and moves the lane's head to its end.
async fn rebuild(owner: &PgPool, without: &[i64]) {
    let old: Vec<(i64, String, Uuid, Uuid)> =
        sqlx::query_as("SELECT no, kind, account_id, row_id FROM chain WHERE lane = 0 ORDER BY no")
            .fetch_all(owner)
            .await
            .unwrap();
    let mut conn = owner.acquire().await.unwrap();
    let (mut hash, mut links): (Hash, Vec<NewLink>) = (GENESIS, Vec::new());
    for (_, kind, account_id, row_id) in old.into_iter().filter(|(no, ..)| !without.contains(no)) {
        let (accounts, ids) = ([account_id], [row_id]);
        let (kind, encoded) = match kind.as_str() {
            "transfer" => ("transfer", books::encoded_transfers(&mut conn, &accounts, &ids).await.unwrap()),
            _ => ("audit", books::encoded_audits(&mut conn, &accounts, &ids).await.unwrap()),
        };
        hash = link(&hash, &encoded[&row_id]);
        links.push(NewLink { no: i64::try_from(links.len()).unwrap() + 1, kind, account_id, row_id, hash });
    }
    sqlx::query("DELETE FROM chain").execute(owner).await.unwrap();
    books::insert_links(&mut conn, 0, &links).await.unwrap();
    sqlx::query("UPDATE lane_head SET chain_no = $1, chain_hash = $2")
        .bind(i64::try_from(links.len()).unwrap())
        .bind(hash.to_vec())
        .execute(owner)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_databases_owner_changes_is_found() {
    if is_skipped("whatever_the_databases_owner_changes_is_found") {
        return;
    }
    let world = world(4).await;
    let (pool, owner) = (&world.database.app, &world.database.owner);
    let (folder, clock) = (Folder::new(), at("2026-11-20T10:00:00Z"));
    let key = checkpoint_key(&folder.file("keys")).unwrap();
    let path = folder.file("checkpoints-1.ndjson");
    let keep = |minutes| keep_checkpoint(pool, &path, &key, clock.plus(minutes * 60_000_000));
    number_all(pool).await;
    keep(0).await.unwrap();
    for number in 1..=3 {
        give(pool, 4, number).await;
        keep(i64::from(number)).await.unwrap();
    }
    give(pool, 4, 4).await;
    let signed = checkpoints(&path, &key);
    let last = signed.last().unwrap().lanes[0].clone();
    let whole = verified(pool, &signed).await;
    assert_eq!((whole.broken.as_deref(), whole.checkpoints), (None, 4));
    assert!(whole.checked > last.chain_no && last.totals.transfers == 24 && whole.items == 16);
    keep_tables(owner).await;
    // A row in the middle of what the second and the third checkpoint saw.
    let middle: i64 = sqlx::query_scalar("SELECT max(no) FROM chain WHERE kind = 'transfer' AND no <= $1")
        .bind(last.chain_no)
        .fetch_one(owner)
        .await
        .unwrap();
    let of_middle = format!("(SELECT row_id FROM chain WHERE no = {middle})");
    let cases: Vec<(&str, String, What, String)> = vec![
        (
            "a cent",
            format!("UPDATE transfer SET amount_minor = amount_minor + 1 WHERE transfer_id = {of_middle}"),
            What::RowChanged,
            format!("Entry {middle}: the transfer"),
        ),
        (
            "who did it",
            "UPDATE audit SET actor = 'staff|nobody' WHERE audit_id = (SELECT row_id FROM chain WHERE kind = 'audit' AND no > 20 \
             ORDER BY no LIMIT 1)"
                .to_owned(),
            What::RowChanged,
            "the audit".to_owned(),
        ),
        (
            "a row taken away",
            format!("DELETE FROM transfer WHERE transfer_id = {of_middle}"),
            What::RowGone,
            format!("Entry {middle}: the transfer"),
        ),
        (
            "a row taken away with its entry",
            format!("DELETE FROM transfer WHERE transfer_id = {of_middle}; DELETE FROM chain WHERE no = {middle}"),
            What::EntryGone,
            format!("Entry {middle} is gone"),
        ),
        (
            "the tail",
            format!("DELETE FROM chain WHERE no > {}", last.chain_no),
            What::TailCut,
            format!("The chain ends at entry {}", last.chain_no),
        ),
        (
            "a row of somebody's own",
            "INSERT INTO transfer SELECT account_id, gen_random_uuid(), document, event, debit, credit, amount_minor, currency, reason, \
             effective_on, recorded_at FROM transfer LIMIT 1"
                .to_owned(),
            What::OutsideChain,
            "stands in no chain".to_owned(),
        ),
        (
            "an audit row of somebody's own",
            "INSERT INTO audit SELECT account_id, gen_random_uuid(), recorded_at, actor, action, subject, detail FROM audit LIMIT 1"
                .to_owned(),
            What::OutsideChain,
            "stands in no chain".to_owned(),
        ),
        (
            "what billing was told",
            "UPDATE feed SET body = jsonb_set(body::jsonb, '{gross}', '\"99.99\"')::json WHERE pos = 5".to_owned(),
            What::FeedChanged,
            "Feed item 5".to_owned(),
        ),
        (
            "the credit beside its transfers",
            "UPDATE credit SET gross_minor = gross_minor + 1, net_minor = net_minor + 1 WHERE credit_id = \
             (SELECT min(credit_id::text)::uuid FROM credit)"
                .to_owned(),
            What::TotalsDiffer,
            "says another amount than its issuing posted".to_owned(),
        ),
    ];
    for (name, change, what, words) in cases {
        run(owner, &change).await;
        let found = verified(pool, &signed).await;
        let told: Vec<_> = found.findings.first.iter().filter(|finding| finding.what == what).collect();
        assert!(told.iter().any(|finding| finding.words.contains(&words)), "{name}: {:#?}", found.findings);
        assert!(found.broken.is_some(), "{name}");
        put_back(owner).await;
        assert_eq!(verified(pool, &signed).await.broken, None, "{name} was put back");
    }

    // The tail with its rows and the lane's head: every hash is right, and only a checkpoint knows.
    let before = last.chain_no - 3;
    run(
        owner,
        &format!(
            "DELETE FROM transfer WHERE transfer_id IN (SELECT row_id FROM chain WHERE no > {before}); \
             DELETE FROM audit WHERE audit_id IN (SELECT row_id FROM chain WHERE no > {before}); \
             DELETE FROM credit WHERE NOT EXISTS (SELECT FROM transfer WHERE document = credit_id); \
             DELETE FROM chain WHERE no > {before}; \
             UPDATE lane_head SET chain_no = {before}, chain_hash = (SELECT hash FROM chain WHERE no = {before})"
        ),
    )
    .await;
    let chain = [What::RowChanged, What::RowGone, What::EntryGone, What::TailCut, What::Rewritten, What::OutsideChain];
    let sees = |found: &Verified| chain.iter().any(|what| kinds(found).contains(what));
    assert!(!sees(&verified(pool, &[]).await), "without a checkpoint the cut chain looks right");
    let found = verified(pool, &signed[3..]).await;
    assert!(kinds(&found).contains(&What::TailCut), "{:#?}", found.findings);
    assert!(matches!(keep(60).await, Err(NotKept::Broken(_))), "nothing is signed over what is cut");
    put_back(owner).await;

    // A cent, and the whole chain written anew over it; then a row taken out, and everything renumbered.
    for (name, change, without) in [
        (
            "a cent",
            format!("UPDATE transfer SET amount_minor = amount_minor + 1 WHERE transfer_id = {of_middle}"),
            vec![],
        ),
        ("a row", format!("DELETE FROM transfer WHERE transfer_id = {of_middle}"), vec![middle]),
    ] {
        run(owner, &change).await;
        rebuild(owner, &without).await;
        assert!(!sees(&verified(pool, &[]).await), "{name}: without a checkpoint the new chain looks right");
        let found = verified(pool, &signed[3..]).await;
        let rewritten = found.findings.first.iter().find(|finding| finding.what == What::Rewritten);
        let words = &rewritten.unwrap_or_else(|| panic!("{name}: {:#?}", found.findings)).words;
        assert!(words.contains("Checkpoint 4 of 2026-11-20T10:03:00Z"), "{words}");
        // With all of them it is known after which entry.
        let found = verified(pool, &signed).await;
        let third = &signed[2].lanes[0];
        let words = format!("entries after {}", third.chain_no);
        assert!(
            found.findings.first.iter().any(|finding| finding.words.contains(&words)),
            "{name}: {:#?}",
            found.findings
        );
        put_back(owner).await;
    }
    assert_eq!(verified(pool, &signed).await.broken, None);
    keep(61).await.unwrap();
    let again =
        keep_checkpoint_when_due(pool, &folder.0, &key, 3_600_000_000, clock.plus(62 * 60_000_000)).await.unwrap();
    assert_eq!(again, None, "it is not due yet");
    let due =
        keep_checkpoint_when_due(pool, &folder.0, &key, 3_600_000_000, clock.plus(122 * 60_000_000)).await.unwrap();
    assert_eq!(due.unwrap().no, 6);
}

/// Runs the program on the database.
fn makegood(url_app: &str, data: &Path, arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).env("DATABASE_URL", url_app).env("MAKEGOOD_DATA_DIR", data).output().unwrap()
}

/// Its exit code, and what it said.
fn said(output: &Output) -> (i32, String) {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proof_goes_on_without_the_database() {
    if is_skipped("the_proof_goes_on_without_the_database") {
        return;
    }
    let world = world(3).await;
    let pool = &world.database.app;
    let folder = Folder::new();
    let data = folder.file("data");
    give(pool, 3, 1).await;
    // The server signs when it starts.
    let kept = folder.file("kept");
    let server =
        Server::start(&world.database.url_app, &data, "127.0.0.1:0", &["--checkpoints".as_ref(), kept.as_os_str()]);
    let path = kept.join("checkpoints-1.ndjson");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !std::fs::read_to_string(&path).is_ok_and(|text| text.ends_with('\n')) {
        assert!(std::time::Instant::now() < deadline, "no checkpoint was signed");
        tokio::task::yield_now().await;
    }
    server.kill();
    give(pool, 3, 2).await;
    let (out, public) = (path.to_str().unwrap(), data.join("keys/checkpoint-key.pub.pem"));
    let program = |arguments: &[&str]| makegood(&world.database.url_app, &data, arguments);
    let (code, words) = said(&program(&["ledger", "checkpoint", "--out", out]));
    assert_eq!(code, 0, "{words}");
    let (code, words) = said(&program(&["ledger", "verify", "--checkpoint", out]));
    assert!(code == 0 && words.contains("2 checkpoints agree"), "{code} {words}");
    let exported = program(&["ledger", "export", "--format", "chain"]);
    assert_eq!(exported.status.code(), Some(0), "{}", String::from_utf8_lossy(&exported.stderr));
    let text = String::from_utf8(exported.stdout).unwrap();
    let export = folder.file("export.ndjson");
    let nowhere = folder.file("nowhere");
    // No database, and no data folder: the export, the checkpoints and the public key are all there is.
    let offline = |text: &str| {
        std::fs::write(&export, text).unwrap();
        let arguments = ["ledger", "verify", "--checkpoint", out, "--key", public.to_str().unwrap(), "--export"];
        let mut command = Command::new(PROGRAM);
        let output = command.args(arguments).arg(&export).env_remove("DATABASE_URL").env("MAKEGOOD_DATA_DIR", &nowhere);
        said(&output.output().unwrap())
    };
    let (code, words) = offline(&text);
    assert!(code == 0 && words.contains("2 checkpoints agree"), "{code} {words}");
    let lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().rposition(|line| line.contains(r#""amount_minor":870"#)).unwrap();
    let without = |left_out: &dyn Fn(usize) -> bool| {
        lines
            .iter()
            .enumerate()
            .filter(|(at, _)| !left_out(*at))
            .map(|(_, line)| format!("{line}\n"))
            .collect::<String>()
    };
    let last = lines.len() - 1;
    for (name, changed, words) in [
        (
            "a cent",
            text.replacen(r#""amount_minor":870"#, r#""amount_minor":871"#, 1),
            "says something else than was chained",
        ),
        ("a middle line", without(&|line| line == at), "is gone from the chain"),
        ("the last line", without(&|line| line == last), "the file is cut"),
        ("a line twice", format!("{}{}\n", without(&|_| false), lines[at]), "out of its place"),
        ("a line that is none", text.replacen(r#"{"line":"entry""#, r#"{"line":"entri""#, 1), "cannot be read"),
    ] {
        assert_ne!(changed, text, "{name}");
        let (code, told) = offline(&changed);
        assert!(code == 6 && told.contains(words), "{name}: {code} {told}");
    }
    // A checkpoint with another number in it, and one whose key is somebody else's.
    let signed = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, signed.replacen(r#""transfers":"#, r#""transfers":1"#, 1)).unwrap();
    let (code, words) = offline(&text);
    assert!(code == 6 && words.contains("Line 1 of") && words.contains("signature does not hold"), "{code} {words}");
    std::fs::write(&path, signed).unwrap();
    let other = checkpoint_key(&folder.file("other-keys")).unwrap();
    std::fs::write(&public, other.public().pem()).unwrap();
    let (code, words) = offline(&text);
    assert!(code == 6 && words.contains("that key was not given"), "{code} {words}");
    std::fs::remove_file(&public).unwrap();
    assert_eq!(offline(&text).0, 1, "a key that is not there is no broken ledger");
}

#[test]
fn a_file_that_another_program_wrote_verifies() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/proof");
    let name = |file: &str| folder.join(file).to_str().unwrap().to_owned();
    let output = Command::new(PROGRAM)
        .args(["ledger", "verify", "--json", "--export", &name("golden.ndjson")])
        .args(["--checkpoint", &name("golden.checkpoints.ndjson"), "--key", &name("golden.pub.pem")])
        .env_remove("DATABASE_URL")
        .output()
        .unwrap();
    let (code, words) = said(&output);
    assert_eq!(code, 0, "{words}");
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["head"], "54940446b9d22a029e47b84acd6eb43c35ea0d5b1e45afd131c120322438f5b0");
    let counts = ["entries", "feed_items", "checkpoints", "finding_count"].map(|name| said[name].as_i64().unwrap());
    assert_eq!(counts, [8, 2, 2, 0]);
    let pem = std::fs::read_to_string(folder.join("golden.pub.pem")).unwrap();
    assert_eq!(PublicKey::from_pem(&pem).unwrap().pem(), pem);
}
