//! `makegood bench`, small: what it says adds up, and its answer is right. Its times are not judged.

mod support;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_makegood")).arg("bench").args(arguments).output().unwrap()
}

fn json(arguments: &[&str]) -> Value {
    let output = bench(&[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A figure in thousandths.
fn thousandths(figure: &Value) -> u64 {
    let text = figure.to_string();
    let (whole, rest) = text.split_once('.').unwrap_or((&text, "0"));
    format!("{whole}{rest:0<3}").parse().unwrap_or_else(|_| panic!("{text} has not at most three decimals"))
}

#[test]
fn the_figures_of_a_small_run_add_up() {
    let said = json(&["--only", "p1-core", "--size", "10000", "--rounds", "2"]);
    let [only] = said["benches"].as_array().unwrap().as_slice() else { panic!("{said}") };
    assert_eq!(only["bench"], "p1-core");
    assert_eq!((&only["facts"]["mailboxes"], &only["facts"]["windows"]), (&10_000.into(), &200.into()));
    let figures = only["figures"].as_array().unwrap();
    let names: Vec<&str> = figures.iter().map(|figure| figure["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["p1-core", "p1-core-bytes"]);
    for figure in figures {
        let [ours, floor, ratio] = ["ours", "floor", "ratio"].map(|name| thousandths(&figure[name]));
        assert!(ours > 0 && floor > 0, "{figure}");
        assert_eq!(ours * 1_000 / floor, ratio, "{figure}");
        assert_eq!(figure["target"], 100);
    }
    let again = json(&["--size", "10000", "--rounds", "1", "--only", "p1-core"]);
    assert_eq!(again["benches"][0]["facts"], only["facts"], "the same seed gave another answer");
    assert_eq!(again["benches"][0]["figures"][1], figures[1], "the same data took other room");
}

#[test]
fn a_table_has_a_line_for_each_figure() {
    let output = bench(&["--only", "p1-core", "--size", "500", "--rounds", "1"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(text.starts_with("p1-core: seed 20260601, mailboxes 500, "), "{text}");
    assert_eq!(lines[1], ["name", "ours", "floor", "unit", "ratio", "target"]);
    assert_eq!([lines[2][0], lines[2][3]], ["p1-core", "ns/mailbox"]);
    assert_eq!([lines[3][0], lines[3][3]], ["p1-core-bytes", "bytes/mailbox"]);
    assert_eq!(lines.len(), 4, "{text}");
}

/// Mailboxes, accounts, seconds down, and the credit for the worst mailbox and over all, in minor units.
const FIGURES: [i64; 5] = [400, 159, 4_708_195, 71_972, 31_371];
const DIGEST: &str = "66e07c9aa5eea400";

/// The figures are what three other programs (a plain script, one mailbox after the other; Polars; DuckDB) made of these files.
#[test]
fn the_answer_to_a_month_from_files_is_the_one_that_others_found() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench_month");
    let said = json(&["--only", "p1-core", "--data", folder.to_str().unwrap(), "--rounds", "1"]);
    let facts = &said["benches"][0]["facts"];
    let found = ["mailboxes", "accounts", "down_seconds", "credit", "credit_over_all"].map(|name| facts[name].as_i64());
    assert_eq!(found, FIGURES.map(Some));
    assert_eq!(facts["digest"], DIGEST);
}

#[test]
fn what_cannot_be_measured_is_refused_with_its_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let output = bench(&["--data", folder.to_str().unwrap()]);
    assert!(!output.status.success() && output.stdout.is_empty());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("plans.csv"), "{error}");
    assert_eq!(bench(&["--only", "p0"]).status.code(), Some(2));
}

#[test]
fn a_small_file_is_loaded_beside_its_floor_and_the_server_stays_small() {
    if support::is_skipped("a_small_file_is_loaded_beside_its_floor_and_the_server_stays_small") {
        return;
    }
    let said = json(&["--only", "p5-load", "--size", "2000", "--rounds", "1"]);
    let (facts, figures) = (&said["benches"][0]["facts"], said["benches"][0]["figures"].as_array().unwrap());
    let names: Vec<&str> = figures.iter().map(|figure| figure["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["p5-load", "p5-moves", "p5-peak"]);
    assert!((2_100..2_300).contains(&facts["placements"].as_u64().unwrap()), "{facts}");
    assert_eq!(facts["moves"], 20);
    assert!(figures.iter().all(|figure| thousandths(&figure["ours"]) > 0), "{said}");

    let said = json(&["--only", "p5-memory", "--size", "20000"]);
    assert_eq!(said["benches"][0]["facts"]["placements"], 20_000);
    let figure = &said["benches"][0]["figures"][0];
    assert!((1_000..128_000).contains(&thousandths(&figure["ours"])), "{figure}");
}

#[test]
fn a_small_feed_is_pulled_whole_beside_its_floor() {
    if support::is_skipped("a_small_feed_is_pulled_whole_beside_its_floor") {
        return;
    }
    let said = json(&["--only", "p4-feed", "--size", "2500", "--rounds", "1"]);
    let (facts, figures) = (&said["benches"][0]["facts"], said["benches"][0]["figures"].as_array().unwrap());
    let names: Vec<&str> = figures.iter().map(|figure| figure["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["p4-feed", "p4-feed-1000", "p4-last-page"]);
    assert_eq!((&facts["credits"], &facts["delivered"]), (&10_000.into(), &10_000.into()), "{said}");
    assert!(facts["bytes"].as_u64() > facts["floor_bytes"].as_u64(), "whole pages: {said}");
    assert!(figures.iter().all(|figure| thousandths(&figure["ours"]) > 0 && thousandths(&figure["floor"]) > 0));
}

#[test]
fn a_small_run_is_credited_beside_its_floor_and_a_larger_one_by_a_service() {
    if support::is_skipped("a_small_run_is_credited_beside_its_floor_and_a_larger_one_by_a_service") {
        return;
    }
    let said = json(&["--only", "p2-credit-run", "--size", "700", "--rounds", "1"]);
    let (facts, figures) = (&said["benches"][0]["facts"], said["benches"][0]["figures"].as_array().unwrap());
    let names: Vec<&str> = figures.iter().map(|figure| figure["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["p2-credit-run", "p2-feed-lag"]);
    assert_eq!((&facts["credits"], &facts["rows_of_the_floor"]), (&700.into(), &3_500.into()));
    assert_eq!(thousandths(&figures[0]["target"]), 1_350);

    let said = json(&["--only", "p2-scale", "--size", "100", "--rounds", "1"]);
    let figures = said["benches"][0]["figures"].as_array().unwrap();
    assert_eq!(figures[0]["name"], "p2-scale");
    assert!((1_000..256_000).contains(&thousandths(&figures[1]["ours"])), "{said}");
}
