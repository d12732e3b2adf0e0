//! What the API's document says of every operation alike, written once.

use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Response, ResponseBuilder};

const PROBLEM: &str = "application/problem+json";

/// What any operation that needs a token may answer.
const SECURED: [(&str, &str); 3] = [
    ("401", "No token, or not one that is valid here and now"),
    ("403", "Your roles, or your limit, do not allow this"),
    ("503", "Not available just now, or the outcome is unknown: try again, with the same key"),
];

/// Adds the refusals that no handler has to name, and gives every refusal the media type that it travels under.
pub fn refusals(document: &mut OpenApi) {
    for item in document.paths.paths.values_mut() {
        for operation in operations(item) {
            describe(operation);
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, options, head, patch, trace, .. } = item;
    [get, put, post, delete, options, head, patch, trace].into_iter().flatten()
}

fn describe(operation: &mut Operation) {
    // An operation that says nothing of security has the document's: a token.
    let is_open = operation.security.as_ref().is_some_and(|needed| needed.iter().all(|one| *one == <_>::default()));
    let responses = &mut operation.responses.responses;
    if !is_open {
        for (status, description) in SECURED {
            responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(refusal(description)));
        }
    }
    for (status, response) in responses.iter_mut() {
        if let RefOr::T(response) = response
            && (status.starts_with('4') || status.starts_with('5'))
            && let Some(content) = response.content.swap_remove("application/json")
        {
            response.content.insert(PROBLEM.to_owned(), content);
        }
    }
}

fn refusal(description: &str) -> Response {
    let body = Content::new(Some(Ref::from_schema_name("Problem")));
    ResponseBuilder::new().description(description).content(PROBLEM, body).build()
}
