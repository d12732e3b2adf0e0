//! Why a document cannot be read, said to the person who wrote it: where, what, and what to write instead.

use serde_saphyr::Error;

use super::refusal::FieldError;

/// Lists that a document must have even where they are empty.
const LISTS: [&str; 6] = ["limits", "caps", "set_off", "floors", "pauses", "remedies"];

/// What is wrong with `text`, by its line.
pub(super) fn said(text: &str, error: &Error) -> FieldError {
    let error = error.without_snippet();
    let (message, word) = words(error);
    let Some(reported) = error.location().map(|at| at.line()).filter(|line| *line > 0) else {
        return FieldError { pointer: String::new(), message };
    };
    let (line, place) = match (error, word) {
        (Error::SerdeMissingField { .. }, _) => (reported, format!("in what begins or ends on line {reported}")),
        (_, Some(word)) => match line_with(text, &word, reported) {
            Some(line) => (line, format!("line {line}")),
            None => (reported, format!("in what begins on line {reported}")),
        },
        (Error::SerdeInvalidType { .. } | Error::SerdeInvalidValue { .. }, None) => {
            (reported, format!("in what begins on line {reported}"))
        }
        (_, None) => (reported, format!("line {reported}")),
    };
    FieldError { pointer: format!("/lines/{line}"), message: format!("{place}: {message}") }
}

/// What is said of a field, by its pointer, that nobody looks at.
pub(super) fn unread(pointer: &str) -> String {
    let field = pointer.rsplit('/').next().unwrap_or_default();
    format!(
        "the kind beside it has no field {field}, so that it would say nothing: take it out, or write the kind that has it."
    )
}

/// The message, and a word of the document that it is about, where there is one.
fn words(error: &Error) -> (String, Option<String>) {
    match error {
        Error::SerdeMissingField { field, .. } => (missing(field), None),
        Error::SerdeUnknownField { field, expected, .. } => {
            let said = format!(
                "there is no field {field} here{}. Here may stand: {}. If it belongs to another place, look at the spaces before it.",
                meant(field, expected),
                expected.join(", ")
            );
            (said, Some(field.clone()))
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            (no_such_word(variant, expected), Some(variant.clone()))
        }
        Error::SerdeInvalidType { unexpected, expected, .. }
        | Error::SerdeInvalidValue { unexpected, expected, .. } => {
            (mismatch(unexpected, expected), quoted(unexpected, '"').or_else(|| quoted(unexpected, '`')))
        }
        Error::Unexpected { expected, .. } if expected.contains("mapping") => {
            let said = "a group of fields is expected here, or behind the word before: word: {field: value}, or its fields on \
                        the next lines, two spaces further in.";
            (said.to_owned(), None)
        }
        Error::Unexpected { expected, .. } if expected.contains("sequence") => {
            let said =
                "a list is expected here: each entry on a line of its own behind a hyphen, or [one, two]; [] for none.";
            (said.to_owned(), None)
        }
        Error::NullIntoString { .. } | Error::UnexpectedValueForUnitEnumVariant { .. } => {
            ("nothing, or too much, stands behind this colon: write one word.".to_owned(), None)
        }
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or("this field");
            (format!("{key} stands here twice: keep the one that is meant."), None)
        }
        Error::Eof { .. } => ("the document is empty, or ends too early.".to_owned(), None),
        Error::MultipleDocuments { .. } => ("this is more than one document: take out the line ---.".to_owned(), None),
        Error::ExternalMessage { msg, .. } => (notation(msg), None),
        Error::Message { msg, .. } => (format!("{msg}."), quoted(msg, '"')),
        // What a contract hardly brings about is said as the reader says it.
        other => (bare(other), None),
    }
}

fn missing(field: &str) -> String {
    let how = if LISTS.contains(&field) {
        format!("Where the contract has none, write {field}: [].")
    } else if field == "kind" {
        "Say first which kind it is: {kind: …}.".to_owned()
    } else {
        "It has no default, since the result depends on it. If it is there, look at the spaces before it.".to_owned()
    };
    format!("{field} is missing. {how}")
}

fn no_such_word(word: &str, expected: &[&str]) -> String {
    let pays = expected.contains(&"pro_rata");
    if pays && let Some(figure) = word.strip_suffix('%') {
        return format!("{word} is not how a share is written: write {{percent: \"{}\"}}.", figure.trim());
    }
    if pays && word.starts_with(|first: char| first.is_ascii_digit()) {
        return format!(
            "{word} could be a share or an amount: write {{percent: \"{word}\"}} or {{amount: \"{word}\"}}."
        );
    }
    format!("{word} is no word that may stand here{}. Write one of: {}.", meant(word, expected), expected.join(", "))
}

fn mismatch(unexpected: &str, expected: &str) -> String {
    let found = bare_value(unexpected);
    if expected.contains("internally tagged") {
        return format!("{found} cannot stand alone here: write {{kind: …}}, with its fields.");
    }
    if expected.contains("in quotes") {
        return match unexpected {
            "unit value" => "nothing stands here, and it must be a figure in quotes, such as \"99.9\".".to_owned(),
            _ => format!("{found} must stand in quotes, just as the contract has it: \"{found}\"."),
        };
    }
    if expected.contains("single key") {
        return "two things are paid at once: write sum_of: [...] for both, or greater_of: [...] for the better."
            .to_owned();
    }
    let wanted = match expected {
        "u16" | "u32" | "u64" | "usize" => {
            "a whole number that is not below zero, without a unit and without quotes, such as 900"
        }
        "i32" | "i64" => "a whole number",
        "a string" | "string" => "text, in quotes where it looks like a number",
        "string or map" => "a word, or one word with fields, such as {percent: \"10\"}",
        other => other,
    };
    match unexpected {
        "unit value" => format!("nothing stands here, and it must be {wanted}."),
        _ => format!("{found} cannot stand here: it must be {wanted}."),
    }
}

/// A value as it stands in the document, of what the reader calls "integer `-900`" or "string \"x\"".
fn bare_value(unexpected: &str) -> String {
    match unexpected {
        "map" => "a group of fields".to_owned(),
        "sequence" => "a list".to_owned(),
        other => quoted(other, '`').or_else(|| quoted(other, '"')).unwrap_or_else(|| other.to_owned()),
    }
}

/// What the notation itself is broken by.
fn notation(said: &str) -> String {
    let advice = if said.contains("tabs") {
        "a tab stands here: move lines in with spaces, two for each step."
    } else if said.contains("mapping values are not allowed") {
        "this line has a second colon, or stands too far in: put text with a colon in quotes, \"like: this\"."
    } else if said.contains("flow") {
        "a { or a [ before this is not closed, or a comma is missing."
    } else if said.contains("block") || said.contains("expected key") {
        "this line stands neither under its neighbours nor under the line that it belongs to: look at the spaces before it."
    } else {
        return format!("{said}.");
    };
    advice.to_owned()
}

/// As the reader says it, without its place.
fn bare(error: &Error) -> String {
    let said = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
    let said = said.trim_end_matches('.');
    let said = said.rsplit_once(" at line ").map_or(said, |(said, _)| said);
    format!("{said}.")
}

/// The word that was probably meant: one that is one or two strokes away.
fn meant(word: &str, expected: &[&str]) -> String {
    let near = expected.iter().map(|one| (strokes(word, one), one)).min().filter(|(far, _)| *far <= 2);
    near.map_or_else(String::new, |(_, one)| format!(" (do you mean {one}?)"))
}

/// How many letters have to be put in, taken out or changed.
pub(super) fn strokes(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (to, above) in b.iter().zip(row.iter_mut().skip(1)) {
            let here = (diagonal + usize::from(from != *to)).min(left + 1).min(*above + 1);
            diagonal = *above;
            *above = here;
            left = here;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// What stands first between two of `mark`.
fn quoted(said: &str, mark: char) -> Option<String> {
    let (_, rest) = said.split_once(mark)?;
    rest.split_once(mark).map(|(word, _)| word.to_owned()).filter(|word| !word.is_empty())
}

/// The line of a word that cannot be read. Within a group that says its kind the reader knows only where the group begins, and
/// the word gives its line away where it stands on no other from there on.
fn line_with(text: &str, word: &str, reported: u64) -> Option<u64> {
    let is_part = |one: char| one.is_alphanumeric() || one == '_' || one == '-';
    let stands = |line: &str| {
        line.match_indices(word).any(|(at, _)| {
            let (before, after) = (line.get(..at).unwrap_or(""), line.get(at + word.len()..).unwrap_or(""));
            !before.ends_with(is_part) && !after.starts_with(is_part)
        })
    };
    let mut lines = text.lines().zip(1u64..).filter(|(line, number)| *number >= reported && stands(line));
    let found = lines.next().map(|(_, number)| number)?;
    (found == reported || lines.next().is_none()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strokes_are_counted_both_ways() {
        for (a, b, far) in [("floor", "floors", 1), ("calender", "calendar", 1), ("", "any", 3), ("any", "any", 0)] {
            assert_eq!((strokes(a, b), strokes(b, a)), (far, far), "{a} {b}");
        }
    }

    #[test]
    fn a_word_names_its_line_where_it_stands_on_no_other() {
        let text = "a: 5%\nb: 15%\nc: 5% # 5%\nd: any\n";
        assert_eq!(line_with(text, "15%", 1), Some(2));
        assert_eq!(line_with(text, "5%", 1), Some(1));
        assert_eq!(line_with(text, "5%", 2), Some(3));
        assert_eq!(line_with(&format!("x: y\n{text}"), "5%", 1), None);
        assert_eq!(line_with(text, "an", 1), None);
    }
}
