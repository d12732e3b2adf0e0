//! `docs/terms.md` shows terms that work: each of its blocks is run, and each field and word of the format is explained.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use jsonschema::{Validator, draft202012};
use makegood::cli::policy;
use makegood::domain::case::{self, Case};
use makegood::domain::receipt::Receipt;
use makegood::domain::terms::Terms;
use serde_json::{Map, Value};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// One fenced block: the line on which it begins, the words behind its fence, what is in it.
struct Block {
    line: usize,
    info: String,
    text: String,
}

fn blocks() -> Vec<Block> {
    let document = read("docs/terms.md");
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (line, number) in document.lines().zip(1usize..) {
        match (open.take(), line.strip_prefix("```")) {
            (None, Some(info)) => open = Some(Block { line: number, info: info.to_owned(), text: String::new() }),
            (None, None) => {}
            (Some(block), Some("")) => blocks.push(block),
            (Some(_), Some(_)) => panic!("line {number} opens a block within a block"),
            (Some(mut block), None) => {
                block.text += line;
                block.text.push('\n');
                open = Some(block);
            }
        }
    }
    assert!(open.is_none(), "the last block is not closed");
    blocks
}

/// The blocks whose fence says `yaml {kind}`.
fn of_kind(kind: &str) -> Vec<Block> {
    blocks().into_iter().filter(|block| block.info.strip_prefix("yaml ") == Some(kind)).collect()
}

fn value(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

/// The fragments, each put into the document's own terms: the object that the fence names takes each of its fields.
fn parts() -> Vec<(usize, Value)> {
    let whole = value(&of_kind("terms")[0].text);
    let put = |block: Block| {
        let place = block.info.strip_prefix("yaml part=")?.trim_end_matches('/').to_owned();
        let mut document = whole.clone();
        let target = document.pointer_mut(&place).and_then(Value::as_object_mut);
        let target = target.unwrap_or_else(|| panic!("line {}: there is no object {place}", block.line));
        let Value::Object(fields) = value(&block.text) else { panic!("line {}: not fields", block.line) };
        target.extend(fields);
        Some((block.line, document))
    };
    blocks().into_iter().filter_map(put).collect()
}

#[test]
fn every_block_of_yaml_says_what_it_is() {
    for block in blocks().iter().filter(|block| block.info.starts_with("yaml")) {
        let kind = block.info.strip_prefix("yaml ").unwrap_or_default();
        let is_known = matches!(kind, "case" | "terms" | "wrong") || kind.starts_with("part=/");
        assert!(is_known, "line {}: `{}` is not run by any test", block.line, block.info);
    }
}

#[test]
fn the_cases_come_out_as_they_say_and_their_receipts_verify() {
    let cases = of_kind("case");
    assert!(cases.len() >= 14, "only {} cases", cases.len());
    for block in cases {
        let case = Case::parse(&block.text).unwrap_or_else(|error| panic!("line {}: {error}", block.line));
        let report = case.evaluate().unwrap_or_else(|error| panic!("line {}: {error}", block.line));
        assert!(report.agrees, "line {}: {:#?}\n{}", block.line, report.differences, report.receipt.text());
        assert_eq!(Receipt::verify(&report.receipt.to_json()).unwrap().receipt, report.receipt, "line {}", block.line);
    }
}

#[test]
fn the_terms_and_their_parts_can_be_published() {
    let whole = of_kind("terms");
    assert!(!whole.is_empty());
    for block in whole {
        let (_, findings) =
            Terms::lint_text(&block.text).unwrap_or_else(|error| panic!("line {}: {error}", block.line));
        assert_eq!(findings, [], "line {}", block.line);
    }
    let parts = parts();
    assert!(parts.len() >= 10, "only {} parts", parts.len());
    for (line, document) in parts {
        let (_, findings) =
            Terms::lint_text(&document.to_string()).unwrap_or_else(|error| panic!("line {line}: {error}"));
        assert_eq!(findings, [], "line {line}");
    }
}

/// What is said of a document: the refusal, or the first thing that is wrong.
fn said(text: &str) -> String {
    match case::lint_text(text) {
        Err(refusal) => refusal.detail,
        Ok(findings) => findings.first().map_or_else(String::new, ToString::to_string),
    }
}

#[test]
fn the_wrong_ones_are_refused_in_the_words_that_follow_them() {
    let all = blocks();
    let mut seen = 0;
    for pair in all.windows(2).filter(|pair| pair[0].info == "yaml wrong") {
        assert_eq!(pair[1].info, "text", "line {}: no message follows", pair[0].line);
        assert_eq!(said(&wrong(&pair[0])), pair[1].text.trim_end(), "line {}", pair[0].line);
        seen += 1;
    }
    assert_eq!(seen, of_kind("wrong").len());
    assert!(seen >= 10, "only {seen} wrong blocks");
}

/// The document's own terms with one place as the block has it: the lines of the block stand for those from the first that
/// has the same field, by its name and the spaces before it, up to the next line that stands no further in.
fn wrong(block: &Block) -> String {
    let whole = of_kind("terms").swap_remove(0).text;
    let field = |line: &str| line.split_once(':').map(|(name, _)| name.to_owned()).unwrap_or_default();
    let spaces = |line: &str| line.len() - line.trim_start().len();
    let first = block.text.lines().next().unwrap_or_default();
    let lines: Vec<&str> = whole.lines().collect();
    let from = lines
        .iter()
        .position(|line| field(line).trim() == field(first).trim())
        .unwrap_or_else(|| panic!("line {}: the terms have no {}", block.line, field(first)));
    let own = spaces(lines[from]);
    let after = lines[from + 1..].iter().position(|line| spaces(line) <= own).map_or(lines.len(), |at| from + 1 + at);
    [lines[..from].join("\n"), block.text.trim_end().to_owned(), lines[after..].join("\n"), String::new()].join("\n")
}

/// Every name of a field and every word that may stand for a value, of a schema.
fn vocabulary(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(properties) = fields.get("properties").and_then(Value::as_object) {
                found.extend(properties.keys().cloned());
            }
            found.extend(fields.get("const").and_then(Value::as_str).map(str::to_owned));
            let words = fields.get("enum").and_then(Value::as_array).into_iter().flatten();
            found.extend(words.filter_map(Value::as_str).map(str::to_owned));
            fields.values().for_each(|inner| vocabulary(inner, found));
        }
        Value::Array(all) => all.iter().for_each(|inner| vocabulary(inner, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_field_and_word_of_the_format_is_explained() {
    let document = read("docs/terms.md");
    // Blocks show; only what is said beside them explains.
    let explained: String = document.split("\n```").step_by(2).collect();
    let names: BTreeSet<&str> =
        explained.split(|one: char| !(one.is_ascii_alphanumeric() || "_./".contains(one))).collect();
    let mut words = BTreeSet::new();
    vocabulary(&Terms::schema(), &mut words);
    vocabulary(&Case::schema(), &mut words);
    assert!(words.len() >= 150, "only {} words", words.len());
    let missing: Vec<&String> = words.iter().filter(|word| !names.contains(word.as_str())).collect();
    assert!(missing.is_empty(), "docs/terms.md does not explain {missing:?}");
}

#[test]
fn the_published_schemas_are_those_of_this_build() {
    for (file, of_case) in [("openapi/terms.schema.json", false), ("openapi/case.schema.json", true)] {
        let flag = if of_case { " --case" } else { "" };
        assert!(read(file) == policy::schema(of_case), "{file} is old: makegood policy schema{flag} > {file}");
    }
}

/// Every object of the schemas that has fields says that it has no others, and every field of terms says what it is.
#[test]
fn the_schemas_are_closed_and_described() {
    fn look(schemas: &Map<String, Value>, at: &str, schema: &Value, wrong: &mut Vec<String>) {
        match schema {
            Value::Object(fields) => {
                if let Some(properties) = fields.get("properties").and_then(Value::as_object) {
                    if fields.get("additionalProperties") != Some(&Value::Bool(false)) {
                        wrong.push(format!("{at} lets unknown fields in"));
                    }
                    // A word with something behind it is described as a whole.
                    let is_word = properties.len() == 1 && fields.contains_key("description");
                    for (name, property) in properties.iter().filter(|(name, _)| *name != "kind") {
                        if !is_word && !is_described(schemas, property) {
                            wrong.push(format!("{at}/{name} says nothing about itself"));
                        }
                    }
                }
                fields.iter().for_each(|(name, inner)| look(schemas, &format!("{at}/{name}"), inner, wrong));
            }
            Value::Array(all) => {
                all.iter().zip(0..).for_each(|(inner, index)| look(schemas, &format!("{at}/{index}"), inner, wrong));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    fn is_described(schemas: &Map<String, Value>, property: &Value) -> bool {
        let referred = |value: &Value| {
            let name = value.get("$ref").and_then(Value::as_str)?.strip_prefix("#/$defs/")?.to_owned();
            schemas.get(&name)
        };
        let own = |value: &Value| value.get("description").is_some() || value.get("const").is_some();
        let inner = property
            .get("items")
            .into_iter()
            .chain(property.get("anyOf").and_then(Value::as_array).into_iter().flatten());
        own(property)
            || [property].into_iter().chain(inner).filter_map(referred).any(own)
            || property.get("properties").is_some()
    }
    for (schema, is_case) in [(Terms::schema(), false), (Case::schema(), true)] {
        let mut wrong = Vec::new();
        look(schema["$defs"].as_object().unwrap(), "", &schema, &mut wrong);
        // What a case is made of is explained in docs/terms.md only.
        wrong.retain(|one| !is_case || !one.ends_with("says nothing about itself"));
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

fn validators() -> (Validator, Validator) {
    let validator = |schema: Value| draft202012::options().should_validate_formats(true).build(&schema).unwrap();
    (validator(Terms::schema()), validator(Case::schema()))
}

fn files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|ext| ext == "yaml") {
                found.push(entry);
            }
        }
    }
    found.sort();
    found
}

fn errors(validator: &Validator, document: &Value) -> Vec<String> {
    validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn whatever_the_engine_reads_the_schemas_let_through() {
    let (terms, case) = validators();
    let none: Vec<String> = Vec::new();
    for file in files("assets/terms") {
        assert_eq!(errors(&terms, &value(&fs::read_to_string(&file).unwrap())), none, "{}", file.display());
    }
    for file in files("tests/cases") {
        assert_eq!(errors(&case, &value(&fs::read_to_string(&file).unwrap())), none, "{}", file.display());
    }
    for block in of_kind("case") {
        assert_eq!(errors(&case, &value(&block.text)), none, "line {}", block.line);
    }
    for block in of_kind("terms") {
        assert_eq!(errors(&terms, &value(&block.text)), none, "line {}", block.line);
    }
    for (line, document) in parts() {
        assert_eq!(errors(&terms, &document), none, "line {line}");
    }
}

/// Changes to the document's own terms, each of which must be refused by the schema and by the engine alike.
#[test]
fn hostile_terms_are_refused_by_the_schema_and_the_engine() {
    let (terms, _) = validators();
    let whole = value(&of_kind("terms")[0].text);
    let remedy = "/remedies/0";
    for (place, to) in [
        ("/format", r#""makegood.terms/2""#),
        ("/time/hours", r#""sometimes""#),
        ("/time/zone", r#"{"kind": "account", "zone": "UTC"}"#),
        (
            "/planned",
            r#"{"kind": "excused", "minimum_notice_hours": -1, "removes_from": "numerator", "overrun": "counts_from_the_start"}"#,
        ),
        ("/planned", r#"{"kind": "excused", "minimum_notice_hours": 24}"#),
        ("/caps", r#"{}"#),
        ("/caps/0", r#"{"kind": "percent_of_period_fee", "percent": 100}"#),
        ("/caps/0", r#"{"kind": "percent_of_period_fee", "percent": "100", "amount": "1"}"#),
        ("/payment", r#"{"on_request": {"within": "any_time", "later": true}}"#),
        ("/payment", r#""on_request""#),
        ("/name", "null"),
        (&format!("{remedy}/schedule/tiers/0/pays"), r#"{"percent": "10", "amount": "1"}"#),
        (&format!("{remedy}/schedule/tiers/0/pays"), r#"{"percent": "1e1"}"#),
        (&format!("{remedy}/schedule/tiers/0/pays"), r#"{"amount": "-1"}"#),
        (&format!("{remedy}/schedule/tiers/0/pays"), r#"{"pro_rata": {"multiplier": "1", "at_most": "2"}}"#),
        (&format!("{remedy}/schedule/tiers/0/uptime_below"), "99.9"),
        (&format!("{remedy}/schedule/tiers/0"), r#"{"uptime_below": "99.9"}"#),
        (&format!("{remedy}/down/rule"), r#"["any"]"#),
        (&format!("{remedy}/limits"), "null"),
        (&format!("{remedy}/measure"), r#""uptime""#),
    ] {
        let mut document = whole.clone();
        *document.pointer_mut(place).unwrap_or_else(|| panic!("{place}")) = serde_json::from_str(to).unwrap();
        assert!(!errors(&terms, &document).is_empty(), "the schema lets {to} through at {place}");
        assert!(Terms::parse(&document.to_string()).is_err(), "the engine reads {to} at {place}");
        assert!(Terms::from_json(&document).is_err(), "the API's door reads {to} at {place}");
    }
    for field in ["limits", "per", "down", "base"] {
        let mut document = whole.clone();
        document.pointer_mut(remedy).and_then(Value::as_object_mut).unwrap().remove(field).unwrap();
        assert!(!errors(&terms, &document).is_empty() && Terms::parse(&document.to_string()).is_err(), "{field}");
    }
}

#[test]
fn what_is_always_paid_must_grow_with_the_time_lost() {
    let whole = value(&of_kind("terms")[0].text);
    let findings = |measure: &str, pays: &str| -> Vec<String> {
        let mut document = whole.clone();
        let remedy = document.pointer_mut("/remedies/0").unwrap();
        remedy["measure"] = serde_json::from_str(measure).unwrap();
        remedy["schedule"] = serde_json::json!({"kind": "always"});
        remedy["schedule"]["pays"] = serde_json::from_str(pays).unwrap();
        let (_, findings) = Terms::lint_text(&document.to_string()).unwrap();
        findings.into_iter().map(|finding| finding.pointer).collect()
    };
    let refused = ["/remedies/0/schedule/pays"];
    let uptime = r#"{"kind": "uptime", "of": "whole_period"}"#;
    let (time_down, outages) = (r#"{"kind": "time_down"}"#, r#"{"kind": "outages"}"#);
    let share = r#"{"percent": "10"}"#;
    let grows = r#"{"pro_rata": {"multiplier": "2"}}"#;
    let units = r#"{"for_each": {"seconds": 60, "count": "full", "after_seconds": 0, "pays": {"percent": "1"}}}"#;
    let both = |way: &str, other: &str| format!(r#"{{"{way}": [{grows}, {other}]}}"#);
    let only = |pays: &str| format!(r#"{{"only": {{"when": {{"all_of": ["business"]}}, "pays": {pays}}}}}"#);
    let by_impact =
        |delayed: &str| format!(r#"{{"by_impact": {{"full": {grows}, "degraded": {grows}, "delayed": {delayed}}}}}"#);
    let dated = |pays: &str| format!(r#"{{"dated": [{{"from": "2026-01-01", "pays": {pays}}}]}}"#);
    for measure in [uptime, time_down] {
        for pays in [share, &both("sum_of", share), &both("greater_of", share), &only(share), &dated(share)] {
            assert_eq!(findings(measure, pays), refused, "{measure} {pays}");
        }
        assert_eq!(findings(measure, &by_impact(share)), refused, "{measure}");
        for pays in [grows, units, &both("sum_of", units), &only(grows), &dated(units), &by_impact(units)] {
            assert_eq!(findings(measure, pays), Vec::<String>::new(), "{measure} {pays}");
        }
    }
    assert_eq!(findings(outages, share), Vec::<String>::new());
}

#[test]
fn lint_answers_with_its_exit_codes() {
    let folder = std::env::temp_dir().join(format!("makegood-terms-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let terms = of_kind("terms").swap_remove(0).text;
    let case = of_kind("case").swap_remove(0).text;
    let good = write("good.yaml", &terms);
    let of_case = write("case.yaml", &case);
    let falls = write("falls.yaml", &terms.replace("percent: \"25\"", "percent: \"5\""));
    let case_falls = write("case-falls.yaml", &case.replace("percent: \"25\"", "percent: \"5\""));
    let neither = write("neither.yaml", "format: something\n");
    for as_json in [false, true] {
        assert_eq!(policy::lint(&[good.clone(), of_case.clone()], as_json), 0);
        assert_eq!(policy::lint(&[falls.clone(), good.clone()], as_json), 1);
        assert_eq!(policy::lint(std::slice::from_ref(&case_falls), as_json), 1);
        assert_eq!(policy::lint(&[good.clone(), neither.clone(), falls.clone()], as_json), 2);
        assert_eq!(policy::lint(&[folder.join("absent.yaml")], as_json), 2);
    }
    let text = fs::read_to_string(&case_falls).unwrap();
    let finding = case::lint_text(&text).unwrap().swap_remove(0);
    let line = text.lines().position(|line| line.contains("percent: \"5\"")).unwrap() + 1;
    assert_eq!(finding.pointer, "/terms/remedies/0/schedule/tiers/1/pays");
    assert_eq!(finding.line, u64::try_from(line).ok());
    fs::remove_dir_all(&folder).unwrap();
}
