//! `makegood evaluate FILE...` and `makegood verify receipt.json`: the engine without a database.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::domain::case::{self, Case, CaseReport, NotACase};
use crate::domain::receipt::{NotVerified, Receipt};

/// Everything is as expected.
pub const AGREES: u8 = 0;
/// Something differs.
pub const DIFFERS: u8 = 1;
/// It is not a case, or not a receipt.
pub const NOT_ONE: u8 = 2;

/// The largest file that is read, in bytes.
const LARGEST: u64 = 64 * 1024 * 1024;

/// Evaluates each case: its receipt on stdout, what differs on stderr. The exit code is the worst of all files.
pub fn evaluate(files: &[PathBuf], as_json: bool) -> u8 {
    files.iter().map(|file| evaluate_one(file, as_json)).max().unwrap_or(NOT_ONE)
}

fn evaluate_one(file: &Path, as_json: bool) -> u8 {
    let evaluated = read(file).and_then(|text| {
        let case = Case::parse(&text).map_err(|refusal| refusal.to_string())?;
        case.evaluate().map_err(|why| match why {
            NotACase::Unreadable(refusal) => refusal.to_string(),
            // Where it is the terms that cannot be used, say on which line.
            NotACase::Unusable(why) => {
                let findings = case::lint_text(&text).unwrap_or_default();
                findings.first().map_or(why, ToString::to_string)
            }
            NotACase::NoSum(error) => format!("there is no sum: {error}"),
        })
    });
    match evaluated {
        Ok(report) => say_report(file, &report, as_json),
        Err(why) => say_not_one(file, "a case", &why, as_json),
    }
}

fn say_report(file: &Path, report: &CaseReport, as_json: bool) -> u8 {
    if as_json {
        say_json(&json!({"file": file.display().to_string(), "report": report}));
    } else {
        say(&report.receipt.text());
    }
    match report.differences.first() {
        None => {
            tell(&format!("agrees: {} ({})", report.title, file.display()));
            AGREES
        }
        Some(first) => {
            tell(&format!("error: {} differs first at step {} ({})", report.title, first.step.name(), file.display()));
            for one in &report.differences {
                let (step, what) = (one.step.name(), &one.what);
                tell(&format!("  {step}: {what} expected {}, found {}", one.expected, one.found));
            }
            DIFFERS
        }
    }
}

/// Recomputes an exported receipt and says that it is the same, or what differs.
pub fn verify(file: &Path, as_json: bool) -> u8 {
    let verified = match read(file) {
        Ok(text) => Receipt::verify(&receipt_in(text)),
        Err(why) => Err(NotVerified::NotAReceipt(why)),
    };
    match verified {
        Ok(verified) => {
            let hash = verified.receipt.inputs_hash;
            if as_json {
                say_json(
                    &json!({"file": file.display().to_string(), "verified": true, "inputs_hash": hash, "differences": []}),
                );
            } else {
                say(&format!("The receipt says what its inputs give (inputs {hash}).\n"));
            }
            AGREES
        }
        Err(NotVerified::NotAReceipt(why)) => say_not_one(file, "a receipt", &why, as_json),
        Err(NotVerified::Differs(differences)) => {
            if as_json {
                say_json(&json!({"file": file.display().to_string(), "verified": false, "differences": differences}));
            }
            tell(&format!("error: {} does not say what its inputs give", file.display()));
            for one in &differences {
                tell(&format!("  {} says {}, recomputed {}", one.at, one.says, one.recomputed));
            }
            DIFFERS
        }
    }
}

/// The receipt in what `evaluate --json` says; any other text as it is.
fn receipt_in(text: String) -> String {
    let report: Option<Value> = serde_json::from_str(&text).ok();
    match report.as_ref().and_then(|said| said.pointer("/report/receipt")) {
        Some(receipt) => receipt.to_string(),
        None => text,
    }
}

pub(super) fn say_not_one(file: &Path, kind: &str, why: &str, as_json: bool) -> u8 {
    if as_json {
        say_json(&json!({"file": file.display().to_string(), "error": why}));
    }
    tell(&format!("error: {} is not {kind}: {why}", file.display()));
    NOT_ONE
}

pub(super) fn read(file: &Path) -> Result<String, String> {
    let about = std::fs::metadata(file).map_err(|error| error.to_string())?;
    if about.len() > LARGEST {
        return Err(format!("it is larger than {LARGEST} bytes"));
    }
    std::fs::read_to_string(file).map_err(|error| error.to_string())
}

pub(super) fn say_json(value: &Value) {
    say(&format!("{value}\n"));
}

/// Writes data. A reader that went away (`| head`) is no error.
pub(super) fn say(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Writes for people.
pub(super) fn tell(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
