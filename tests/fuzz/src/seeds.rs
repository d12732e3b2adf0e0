//! The documents to begin with: all that the repository has, read at each start, so that they are never stale.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;

use crate::domain::case::Case;
use crate::hostile::{self, HOSTILE};

/// The parser that a target is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Terms,
    Case,
    Receipt,
}

/// The seeds as values, for parts to be taken from; and every word in them.
#[derive(Debug, Default)]
pub struct Seeds {
    pub values: Vec<Value>,
    pub words: Vec<String>,
}

static SEEDS: OnceLock<Seeds> = OnceLock::new();

/// The seeds of this process; none before [`begin`].
pub fn seeds() -> &'static Seeds {
    SEEDS.get_or_init(Seeds::default)
}

/// Reads the seeds, and writes those of `kind` into the folder that `MAKEGOOD_FUZZ_SEEDS` names and the words of all of them,
/// as the fuzzer's dictionary, into the file that `MAKEGOOD_FUZZ_WORDS` names.
pub fn begin(kind: Kind) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |folder: &str| {
        let mut documents = Vec::new();
        documents_below(&root.join(folder), &mut documents);
        documents
    };
    let (terms, cases, findings) = (read("assets/terms"), read("tests/cases"), read("tests/hostile"));
    assert!(!terms.is_empty() && !cases.is_empty(), "there are no seeds below {}", root.display());
    let receipts = || cases.iter().filter_map(|(name, text)| receipt_of(text).map(|receipt| (name.clone(), receipt)));
    let mut chosen = match kind {
        Kind::Terms => terms.clone(),
        Kind::Case => cases.clone(),
        Kind::Receipt => receipts().collect(),
    };
    let values: Vec<Value> =
        chosen.iter().chain(&terms).filter_map(|(_, text)| serde_saphyr::from_str(text).ok()).collect();
    let mut words = BTreeSet::new();
    values.iter().for_each(|value| words_of(value, &mut words));
    chosen.extend(findings);
    if let Some(folder) = std::env::var_os("MAKEGOOD_FUZZ_SEEDS") {
        for (name, text) in &chosen {
            fs::write(Path::new(&folder).join(name), text).expect("the folder of seeds can be written to");
        }
    }
    if let Some(file) = std::env::var_os("MAKEGOOD_FUZZ_WORDS") {
        let line = |word: &str| {
            let escaped: String = word.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
            format!("\"{escaped}\"\n")
        };
        let all = words.iter().map(String::as_str).chain(HOSTILE.iter().copied().filter(|word| !word.is_empty()));
        fs::write(file, all.map(line).collect::<String>()).expect("the file of words can be written to");
    }
    let words = words.into_iter().collect();
    SEEDS.set(Seeds { values, words }).expect("seeds are read once");
}

/// Each document below `folder`, under a name that is its own.
fn documents_below(folder: &Path, into: &mut Vec<(String, String)>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            documents_below(&path, into);
        } else if let Ok(text) = fs::read_to_string(&path) {
            let name = path.to_string_lossy().replace(['/', '.'], "_");
            into.push((name, text));
        }
    }
}

/// The receipt of a case, as short as JSON can be.
fn receipt_of(case: &str) -> Option<String> {
    let report = Case::parse(case).ok()?.evaluate().ok()?;
    serde_json::to_string(&report.receipt).ok()
}

fn words_of(value: &Value, into: &mut BTreeSet<String>) {
    let mut keep = |word: &str| {
        if !word.is_empty() && word.len() <= hostile::LONGEST_WORD {
            into.insert(word.to_owned());
        }
    };
    match value {
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) => keep(&value.to_string()),
        Value::String(text) => keep(text),
        Value::Array(all) => all.iter().for_each(|one| words_of(one, into)),
        Value::Object(all) => {
            all.keys().for_each(|key| keep(key));
            all.values().for_each(|one| words_of(one, into));
        }
    }
}
