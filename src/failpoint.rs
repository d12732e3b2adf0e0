//! Fail points: named places before and after each statement that moves money, where a test stops the program to kill it.
//!
//! Builds with `debug_assertions` have them, and releases only with the cargo feature `failpoints`; without, [`reach`] is
//! nothing. A point does nothing unless `MAKEGOOD_FAILPOINT` names it: `issue.after_credits` stops there the first time,
//! `issue.after_credits:3` the third time, and `issue.after_credits:3:abort` ends the process instead. Whoever stops says so on
//! stderr, in a line of its own that begins with [`SAID`], and waits for ever: with its transaction open and its locks held, as a
//! process does that is killed just there.

/// What the line on stderr begins with; the point's name follows.
pub const SAID: &str = "fail point reached: ";

/// Whether this build has fail points.
pub const BUILT_IN: bool = cfg!(any(debug_assertions, feature = "failpoints"));

/// Every point there is. `tests/house.rs` compares the list with the tree.
pub const ALL: [&str; 65] = [
    "once.after_begin",
    "once.before_keep",
    "once.before_commit",
    "once.after_commit",
    "act.before_save",
    "act.after_save",
    "act.after_record",
    "act.after_audit",
    "decide.before_decision",
    "decide.after_decision",
    "decide.after_audit",
    "approve_run.before_save",
    "approve_run.after_save",
    "approve_run.after_batches",
    "approve_run.after_audit",
    "apply_run.before_issue",
    "apply_run.before_credits",
    "apply_run.after_credits",
    "apply_run.after_issue",
    "apply_run.before_commit",
    "apply_run.after_commit",
    "apply_run.before_finish",
    "apply_run.after_finish",
    "apply_run.before_end",
    "mass_post.after_heads",
    "mass_post.before_transfers",
    "mass_post.after_transfers",
    "mass_post.after_audits",
    "mass_post.after_outbox",
    "issue.before_lock",
    "issue.before_credits",
    "issue.after_credits",
    "post.before_heads",
    "post.after_heads",
    "post.after_transfers",
    "post.after_audits",
    "post.after_outbox",
    "post_claim.before_issue",
    "post_claim.after_issue",
    "post_claim.after_save",
    "post_claim.before_commit",
    "post_claim.after_commit",
    "answer.before_answers",
    "answer.after_answers",
    "answer.after_deeds",
    "answer.before_commit",
    "answer.after_commit",
    "reverse.before_deeds",
    "reverse.after_deeds",
    "reverse.after_post",
    "settle.before_deed",
    "settle.after_deed",
    "settle.after_post",
    "close.before_provisions",
    "close.after_provisions",
    "close.after_postings",
    "close.before_opening",
    "close.after_opening",
    "journal.before_batch",
    "journal.after_batch",
    "sequence.after_take",
    "sequence.after_chain",
    "sequence.after_items",
    "sequence.before_commit",
    "sequence.after_commit",
];

/// Stops here if this is the point that `MAKEGOOD_FAILPOINT` names, and the time that it names.
#[cfg(any(debug_assertions, feature = "failpoints"))]
pub async fn reach(point: &'static str) {
    use std::sync::atomic::{AtomicU32, Ordering};

    static PASSED: AtomicU32 = AtomicU32::new(0);
    let Some(armed) = armed().filter(|armed| armed.point == point) else { return };
    if PASSED.fetch_add(1, Ordering::SeqCst) + 1 != armed.time {
        return;
    }
    eprintln!("{SAID}{point}");
    match armed.then {
        Then::Stop => std::future::pending().await,
        Then::Abort => std::process::abort(),
    }
}

/// Nothing: this build has no fail points.
#[cfg(not(any(debug_assertions, feature = "failpoints")))]
#[inline(always)]
pub async fn reach(_point: &'static str) {}

/// The point that is armed; none where `MAKEGOOD_FAILPOINT` is not set.
///
/// # Errors
/// Says what is wrong with what is set.
pub fn check() -> Result<Option<String>, String> {
    match std::env::var("MAKEGOOD_FAILPOINT") {
        Err(_) => Ok(None),
        Ok(_) if !BUILT_IN => {
            Err("MAKEGOOD_FAILPOINT is set, and this build has no fail points: build with `--features failpoints`"
                .to_owned())
        }
        Ok(text) => parse(&text).map(|armed| Some(armed.point)),
    }
}

/// What happens at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Stop,
    Abort,
}

#[derive(Debug, PartialEq, Eq)]
struct Armed {
    point: String,
    /// 1 the first time that the point is reached.
    time: u32,
    then: Then,
}

fn parse(text: &str) -> Result<Armed, String> {
    let mut parts = text.split(':');
    let point =
        parts.next().filter(|name| ALL.contains(name)).ok_or_else(|| format!("{text:?} names no fail point"))?;
    let time = match parts.next() {
        None => 1,
        Some(number) => number
            .parse()
            .ok()
            .filter(|time| *time > 0)
            .ok_or_else(|| format!("{number:?} in {text:?} is no number of times"))?,
    };
    let then = match parts.next() {
        None | Some("stop") => Then::Stop,
        Some("abort") => Then::Abort,
        Some(other) => return Err(format!("{other:?} in {text:?} is neither stop nor abort")),
    };
    Ok(Armed { point: point.to_owned(), time, then })
}

#[cfg(any(debug_assertions, feature = "failpoints"))]
fn armed() -> Option<&'static Armed> {
    static ARMED: std::sync::OnceLock<Option<Armed>> = std::sync::OnceLock::new();
    ARMED.get_or_init(|| std::env::var("MAKEGOOD_FAILPOINT").ok().and_then(|text| parse(&text).ok())).as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_named_with_its_time_and_what_happens_there() {
        let armed = |time, then| Ok(Armed { point: "issue.before_lock".to_owned(), time, then });
        assert_eq!(parse("issue.before_lock"), armed(1, Then::Stop));
        assert_eq!(parse("issue.before_lock:12"), armed(12, Then::Stop));
        assert_eq!(parse("issue.before_lock:3:abort"), armed(3, Then::Abort));
        for wrong in ["", "issue", "issue.before_lock:", "issue.before_lock:0", "issue.before_lock:1:explode"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
