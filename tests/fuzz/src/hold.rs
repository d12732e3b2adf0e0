//! What must hold of every document, however hostile: it is refused with a message that a person can read, or it is taken and
//! says the same again. A panic, five seconds or a gigabyte is a finding too; the fuzzer itself watches over these.

use crate::domain::case::Case;
use crate::domain::receipt::{NotVerified, Receipt};
use crate::domain::terms::Terms;
use crate::hostile;

/// The longest message, in bytes: a refusal may name what it refuses, and not repeat megabytes of it.
const LONGEST_MESSAGE: usize = 4_000;

fn message(text: &str) {
    assert!(!text.trim().is_empty(), "a refusal without a message");
    assert!(text.len() <= LONGEST_MESSAGE, "a message of {} bytes", text.len());
    hostile::learn(text);
}

/// Terms are refused, or mean the same after they were written as JSON and read again.
pub fn terms(text: &str) {
    let terms = match Terms::parse(text) {
        Ok(terms) => terms,
        Err(refusal) => return message(&refusal.to_string()),
    };
    let (linted, findings) = Terms::lint_text(text).expect("what parses can be linted");
    assert_eq!(linted, terms, "linting reads something else than parsing");
    assert_eq!(findings.len(), terms.lint().len(), "a finding was lost on the way to its line");
    findings.iter().for_each(|finding| message(&finding.message));
    let json = serde_json::to_string(&terms).expect("terms have a JSON form");
    let again = Terms::parse(&json).unwrap_or_else(|refusal| panic!("{refusal}: {json}"));
    assert_eq!(again, terms, "the terms changed on their way through JSON");
    assert_eq!(again.hash(), terms.hash(), "the same terms have two hashes");
}

/// A case is refused, or gives a receipt that verifies and can be read.
pub fn case(text: &str) {
    let evaluated = match Case::parse(text) {
        Ok(case) => case.evaluate(),
        Err(refusal) => return message(&refusal.to_string()),
    };
    let report = match evaluated {
        Ok(report) => report,
        Err(why) => return message(&why.to_string()),
    };
    let verified = Receipt::verify(&report.receipt.to_json());
    assert_eq!(verified.expect("a receipt that was just made verifies").receipt, report.receipt);
    assert!(!report.receipt.text().is_empty());
    assert_eq!(report.agrees, report.differences.is_empty());
}

/// A receipt is refused, differs from what its inputs give in places that have names, or verifies, and then does so again.
pub fn receipt(text: &str) {
    match Receipt::verify(text) {
        Ok(verified) => {
            assert!(!verified.receipt.text().is_empty());
            let again = Receipt::verify(&verified.receipt.to_json()).expect("what verifies does so again");
            assert_eq!(again.receipt, verified.receipt);
        }
        Err(NotVerified::NotAReceipt(why)) => message(&why),
        Err(NotVerified::Differs(differences)) => {
            assert!(!differences.is_empty(), "it differs in nothing");
            assert!(differences.iter().all(|one| one.at.starts_with('/')), "a difference without a place");
        }
    }
}
