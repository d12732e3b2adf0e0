//! Migrations stay as they landed: a database that ran one must find it again, byte for byte.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Name and SHA-256 of each migration.
type Sums = BTreeMap<String, String>;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations")
}

fn manifest() -> PathBuf {
    folder().join("manifest.txt")
}

fn texts() -> BTreeMap<String, String> {
    let paths = fs::read_dir(folder()).expect("the folder can be read").map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .map(|path| {
            let name = path.file_name().expect("a file").to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("a migration is UTF-8 text"))
        })
        .collect()
}

fn sums(texts: &BTreeMap<String, String>) -> Sums {
    texts.iter().map(|(name, text)| (name.clone(), hex::encode(Sha256::digest(text)))).collect()
}

fn parse(manifest: &str) -> Sums {
    let lines = manifest.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (name, sum) = line.split_once("  ").unwrap_or_else(|| panic!("migrations/manifest.txt: {line:?}"));
            (name.to_owned(), sum.to_owned())
        })
        .collect()
}

/// What is wrong between what was landed and what is there, one sentence each.
fn differences(landed: &Sums, there: &Sums) -> Vec<String> {
    let mut found = Vec::new();
    for (name, sum) in landed {
        match there.get(name) {
            Some(now) if now == sum => {}
            Some(_) => found.push(format!(
                "migrations/{name} was changed. A database that ran it will refuse to start: undo the change, and write what is \
                 to be different as a new migration. (Until the first release, delete migrations/manifest.txt and run \
                 MAKEGOOD_UPDATE=1 cargo test --test migrations.)"
            )),
            None => found.push(format!("migrations/{name} is gone. A database that ran it will refuse to start: bring it back.")),
        }
    }
    for name in there.keys().filter(|name| !landed.contains_key(*name)) {
        found.push(format!(
            "migrations/{name} is not in migrations/manifest.txt. When it is as it shall stay, add its line: MAKEGOOD_UPDATE=1 \
             cargo test --test migrations"
        ));
    }
    found
}

/// Adds lines for migrations that are new; a line that is there stays as it is.
fn update(there: &Sums) {
    let mut sums = there.clone();
    sums.extend(fs::read_to_string(manifest()).map(|text| parse(&text)).unwrap_or_default());
    let text: String = sums.iter().map(|(name, sum)| format!("{name}  {sum}\n")).collect();
    fs::write(manifest(), text).expect("the manifest can be written");
}

#[test]
fn no_migration_changes_once_it_has_landed() {
    let there = sums(&texts());
    assert!(there.len() >= 10, "only {} migrations were found", there.len());
    if std::env::var_os("MAKEGOOD_UPDATE").is_some() {
        update(&there);
    }
    let landed = fs::read_to_string(manifest()).unwrap_or_else(|error| {
        panic!("migrations/manifest.txt: {error}. Write it: MAKEGOOD_UPDATE=1 cargo test --test migrations")
    });
    let found = differences(&parse(&landed), &there);
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn migrations_are_numbered_from_one_without_a_gap() {
    for (place, name) in texts().keys().enumerate() {
        let number = format!("{:04}_", place + 1);
        assert!(name.starts_with(&number), "migrations/{name} stands where {number} is due: number it so");
    }
}

#[test]
fn every_migration_says_why_it_is_and_what_it_locks() {
    for (name, text) in texts() {
        let header: Vec<&str> = text.lines().take_while(|line| line.starts_with("--")).collect();
        for word in ["Why:", "Locks:"] {
            let prefix = format!("-- {word} ");
            assert!(
                header.iter().any(|line| line.starts_with(&prefix)),
                "migrations/{name}: its first lines are a comment with \"{prefix}...\": what it is for, and which tables it locks \
                 for how long"
            );
        }
    }
}

#[test]
fn a_change_a_loss_and_a_newcomer_are_told_apart() {
    let sums =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(name, sum)| ((*name).to_owned(), (*sum).to_owned())).collect();
    let landed = sums(&[("0001_a.sql", "aa"), ("0002_b.sql", "bb"), ("0003_c.sql", "cc")]);
    assert_eq!(differences(&landed, &landed), Vec::<String>::new());
    let there = sums(&[("0001_a.sql", "aa"), ("0002_b.sql", "b0"), ("0004_d.sql", "dd")]);
    let found = differences(&landed, &there);
    let starts =
        ["migrations/0002_b.sql was changed", "migrations/0003_c.sql is gone", "migrations/0004_d.sql is not in"];
    assert_eq!(found.len(), starts.len());
    for (words, start) in found.iter().zip(starts) {
        assert!(words.starts_with(start), "{words}");
    }
}
