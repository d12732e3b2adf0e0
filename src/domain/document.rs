//! Reading documents that people write: YAML, of which JSON is a part, within limits that no honest document reaches.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::refusal::{FieldError, Refusal};

/// The largest document, in bytes.
const LARGEST: usize = 4 * 1024 * 1024;

/// Reads one document. A refusal names the line.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Refusal> {
    if text.len() > LARGEST {
        return Err(Refusal::invalid(vec![FieldError {
            pointer: String::new(),
            message: format!("The document is larger than {LARGEST} bytes."),
        }]));
    }
    // Aliases are allowed (a month's twelve mailboxes may share a history) but may not multiply.
    let options = serde_saphyr::options! {
        with_snippet: false,
        strict_booleans: true,
        budget: serde_saphyr::budget! {
            max_depth: 32,
            max_documents: 1,
            max_events: 400_000,
            max_nodes: 200_000,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_total_scalar_bytes: LARGEST,
            max_merge_keys: 100,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
            max_replay_stack_depth: 8,
            max_alias_expansions_per_anchor: 1_000,
        },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let pointer = error.location().map_or_else(String::new, |at| format!("/lines/{}", at.line()));
        Refusal::invalid(vec![FieldError { pointer, message: error.to_string() }])
    })
}

/// SHA-256, in hexadecimal, over the one compact JSON that a value has: fields in the order of their declaration, no
/// spaces, times in UTC, figures as strings.
pub(super) fn hash(value: &impl Serialize) -> String {
    // Our own types have string keys only and no floats, so they always have a JSON form.
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    hex::encode(Sha256::digest(bytes))
}
