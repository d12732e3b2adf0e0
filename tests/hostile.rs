//! Documents that somebody wrote to do harm: each is refused with a message, by every parser, and none of them panics.
//!
//! What fuzzing finds (`tests/fuzz/run.sh`) is kept as a file in `tests/hostile/`, and read here ever after.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use makegood::domain::case::Case;
use makegood::domain::receipt::{NotVerified, Receipt};
use makegood::domain::terms::Terms;

const TERMS: &str = include_str!("../assets/terms/business.yaml");
const CASE: &str = include_str!("cases/half_cent.yaml");

/// The longest message: it may name what it refuses, and not repeat megabytes of it.
const LONGEST_MESSAGE: usize = 4_000;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One place of a good document made hostile.
fn changed(document: &str, place: &str, to: &str) -> String {
    assert!(document.contains(place), "{place} is not in the document");
    document.replacen(place, to, 1)
}

fn message(what: &str, text: String) -> String {
    assert!(!text.trim().is_empty(), "{what} is refused without a message");
    assert!(text.len() <= LONGEST_MESSAGE, "{what} is refused with {} bytes", text.len());
    text
}

/// What a document is refused with as terms, as a case and as a receipt; none where it is taken.
fn refusals(what: &str, text: &str) -> [Option<String>; 3] {
    let terms = Terms::lint_text(text).err().map(|refusal| refusal.to_string());
    let case = match Case::parse(text) {
        Ok(case) => case.evaluate().err().map(|why| why.to_string()),
        Err(refusal) => Some(refusal.to_string()),
    };
    let receipt = match Receipt::verify(text) {
        Ok(_) => None,
        Err(NotVerified::NotAReceipt(why)) => Some(why),
        Err(NotVerified::Differs(differences)) => Some(differences[0].at.clone()),
    };
    [terms, case, receipt].map(|refusal| refusal.map(|text| message(what, text)))
}

/// What is said of a document beyond the limits of any.
const TOO_COMPLEX: &str = "too large or too complex";

/// One life of a mailbox, of which each number gives another.
fn life(at: usize) -> String {
    let (hour, minute, second) = (at / 3600, at / 60 % 60, at % 60);
    format!("      - {{from: \"2025-01-01T{hour:02}:{minute:02}:{second:02}Z\", shard: mx-{at}, source: x}}\n")
}

/// Asserts that nobody takes the document, and that its own parser says `says`.
fn refused(what: &str, parser: usize, text: &str, says: &str) {
    let refusals = refusals(what, text).map(|refusal| refusal.unwrap_or_else(|| panic!("{what} is taken")));
    assert!(refusals[parser].contains(says), "{what}: {says:?} is not in {:?}", refusals[parser]);
}

fn refused_terms(what: &str, text: &str, says: &str) {
    refused(what, 0, text, says);
}

fn refused_case(what: &str, text: &str, says: &str) {
    refused(what, 1, text, says);
}

#[test]
fn what_fuzzing_found_is_read_without_a_panic() {
    let files: Vec<PathBuf> =
        std::fs::read_dir(root().join("tests/hostile")).unwrap().map(|entry| entry.unwrap().path()).collect();
    for file in &files {
        if let Ok(text) = String::from_utf8(std::fs::read(file).unwrap()) {
            refusals(&file.display().to_string(), &text);
        }
    }
}

#[test]
fn documents_that_nest_or_repeat_themselves_are_refused() {
    for (open, close, says) in
        [("[", "]", "recursion limit"), ("{a: ", "}", "recursion limit"), ("- ", "", "a group of fields is expected")]
    {
        let deep = format!("{}x{}", open.repeat(50_000), close.repeat(50_000));
        refused_terms("deep nesting", &deep, says);
        refused_terms("deep nesting in a place", &changed(TERMS, "[receive, send, access]", &deep), "");
    }
    let huge = format!("# {}\n{TERMS}", "x".repeat(5 * 1024 * 1024));
    refused_terms("a huge comment", &huge, "larger than 4194304 bytes");
    let name = format!("name: {}", "x".repeat(5 * 1024 * 1024));
    refused_terms("a huge name", &changed(TERMS, "name: Business Mail", &name), "larger than 4194304 bytes");
    // Ten levels of nine, the last of which would be three thousand million strings.
    let mut laughs = "x0: &x0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    let mut merges = "y0: &y0 {k: lol}\n".to_owned();
    for level in 1..10 {
        let below = level - 1;
        writeln!(laughs, "x{level}: &x{level} [{}]", vec![format!("*x{below}"); 9].join(", ")).unwrap();
        writeln!(merges, "y{level}: &y{level} {{<<: [{}], k{level}: lol}}", vec![format!("*y{below}"); 9].join(", "))
            .unwrap();
    }
    refused_terms("a billion laughs", &format!("{laughs}{TERMS}"), "no field x0");
    refused_terms(
        "a billion laughs in a place",
        &changed(&format!("{laughs}{TERMS}"), "[receive, send, access]", "*x9"),
        "no field x0",
    );
    refused_terms("a billion merged keys", &format!("{merges}{TERMS}"), "no field y0");
    // The same with nothing in them that a case may not have: a million lives out of a thousand, a thousand merged windows.
    let lives: String = (0..1_000).map(life).collect();
    let mut boxes = format!("  - prefix: a\n    count: 1\n    lives: &lives\n{lives}");
    boxes += &"  - {prefix: b, count: 1, lives: *lives}\n".repeat(999);
    refused_case("a million lives", &changed(CASE, "mailboxes:\n", &format!("mailboxes:\n{boxes}")), TOO_COMPLEX);
    let mut windows =
        "  - &w {name: w, scope: all, capability: send, start: \"2026-06-10T00:00:00Z\", impact: {kind: full}}\n"
            .to_owned();
    windows += &"  - {<<: *w, name: v}\n".repeat(999);
    refused_case("merged windows", &changed(CASE, "windows:\n", &format!("windows:\n{windows}")), TOO_COMPLEX);
    let megabyte = "x".repeat(1024 * 1024);
    let heavy = format!("[&m \"{megabyte}\"{}]", ", *m".repeat(900));
    refused_terms("a gigabyte of aliases", &changed(TERMS, "[receive, send, access]", &heavy), TOO_COMPLEX);
    refused_terms("an alias of nothing", &changed(TERMS, "[receive, send, access]", "*nothing"), "unknown value");
    refused_terms("an alias of itself", &changed(TERMS, "[receive, send, access]", "&a [*a]"), "Recursive");
    refused_terms(
        "a key twice",
        &changed(TERMS, "payment: automatic", "payment: automatic\npayment: on_request"),
        "payment stands here twice",
    );
    refused_case("two documents", &format!("{CASE}---\n{CASE}"), TOO_COMPLEX);
    for nothing in
        ["", " ", "---\n---\n", "\u{0}", "\u{feff}", "!!binary x", "%YAML 9.9\n---\n", "? ? ?", "&a", "<<: *x"]
    {
        refused_terms("nothing", nothing, "");
    }
}

#[test]
fn figures_and_dates_at_the_edge_are_refused() {
    for number in
        ["99999999999999999999", "4294967296", "-1", "1e400", ".nan", ".inf", "-.inf", "0x1ffffffff", "1.5", "'1'"]
    {
        refused_terms(
            "a number",
            &changed(TERMS, "minimum_notice_hours: 24", &format!("minimum_notice_hours: {number}")),
            "",
        );
    }
    for percent in
        ["1e400", "\"1e400\"", ".nan", "NaN", ".inf", "\"-0.1\"", "\"100.0001\"", "\"99.99999\"", "\"\"", "[]"]
    {
        refused_terms("a percentage", &changed(TERMS, "\"99.9\"", percent), "");
    }
    for amount in ["1e400", "NaN", "", "+1", "-5.00", "1,000", "0.0000001", "99999999999999", "9".repeat(400).as_str()]
    {
        let cap = format!("{{kind: amount_per_period, amount: \"{amount}\"}}");
        refused_terms("an amount", &changed(TERMS, "{kind: percent_of_period_fee, percent: \"100\"}", &cap), "");
    }
    let cap = "{kind: amount_per_period, amount: \"0\"}";
    let nothing = changed(TERMS, "{kind: percent_of_period_fee, percent: \"100\"}", cap);
    let (_, findings) = Terms::lint_text(&nothing).unwrap();
    assert!(findings[0].message.contains("nothing is ever paid"), "{findings:?}");
    for instant in [
        "2200-01-02T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "9999-12-31T23:59:59Z",
        "2026-02-30T00:00:00Z",
        "-1",
        "2026-06-10",
        "1e400",
        ".inf",
    ] {
        refused_case("an instant", &changed(CASE, "2026-06-10T00:00:00Z", instant), "");
    }
    for month in ["1970-12", "2199-01", "2026-13", "2026-00", "2026-6", "99999-01", "-2026-01", ".nan"] {
        refused_case("a month", &changed(CASE, "period: 2026-06", &format!("period: {month}")), "");
    }
    // The last instant that there is, the first, and the days of a calendar that no computer should count to, all have an
    // answer: a sum or a refusal.
    for (place, to) in [
        ("2026-06-10T12:00:00Z", "2199-12-31T23:59:59.999999Z"),
        ("2025-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
        ("service_to: 2026-07-01", "service_to: +262142-12-31"),
        ("service_from: 2026-06-01", "service_from: -262143-01-01"),
        ("period: 2026-06", "period: 1971-01"),
        ("period: 2026-06", "period: 2198-12"),
        ("gross: {amount: \"37.50\"", "gross: {amount: \"-37.50\""),
        ("gross: {amount: \"37.50\"", "gross: {amount: \"9999999999999.99\""),
        ("quantity: 3", "quantity: 4294967295"),
        ("quantity: 3", "quantity: 0"),
        ("terms_version: 3", "terms_version: -2147483648"),
    ] {
        refusals(to, &changed(CASE, place, to));
    }
}

#[test]
fn more_mailboxes_and_windows_than_anybody_has_are_refused() {
    for count in ["100001", "4294967295"] {
        refused_case("mailboxes", &changed(CASE, "count: 3", &format!("count: {count}")), "at most 100000 mailboxes");
    }
    refused_case("mailboxes", &changed(CASE, "count: 3", "count: 4294967296"), "");
    let lives: String = (0..1_000).map(life).collect();
    let many = changed(&changed(CASE, "count: 3", "count: 100000"), "    lives:\n", &format!("    lives:\n{lives}"));
    refused_case("a hundred million places", &many, "lower a count");
    let window = |at: usize| {
        format!(
            "  - {{name: w{at}, scope: all, capability: send, start: \"2026-06-10T{:02}:{:02}:{:02}Z\", impact: {{kind: degraded, weight_bp: {}}}}}\n",
            at / 3600 % 24,
            at / 60 % 60,
            at % 60,
            at % 9_000 + 1
        )
    };
    let windows: String = (0..1_000).map(window).collect();
    refused_case(
        "windows on top of each other",
        &changed(CASE, "windows:\n", &format!("windows:\n{windows}")),
        "at most 300 windows",
    );
    // A hundred windows of which each may overlap each, for a thousand mailboxes that lived each elsewhere.
    let windows: String = (0..100).map(window).collect();
    let boxes: String =
        (0..1_000).map(|at| format!("  - prefix: box-{at}\n    count: 1\n    lives:\n{}", life(at))).collect();
    let both = changed(CASE, "windows:\n", &format!("windows:\n{windows}"));
    refused_case(
        "all with all",
        &changed(&both, "mailboxes:\n", &format!("mailboxes:\n{boxes}")),
        "lives, and it has 1001",
    );
    let windows: String = (0..25_000).map(window).collect();
    refused_case(
        "as many windows as there is room for",
        &changed(CASE, "windows:\n", &format!("windows:\n{windows}")),
        TOO_COMPLEX,
    );
    let million = changed(CASE, "windows:\n", &format!("windows:\n{}", (0..1_000_000).map(window).collect::<String>()));
    refused_case("a million windows", &million, "larger than 4194304 bytes");
    let capabilities: Vec<String> = (0..15_000).map(|at| format!("c{at}")).collect();
    let promised = format!("[{}]", capabilities.join(", "));
    let (_, findings) = Terms::lint_text(&changed(TERMS, "[receive, send, access]", &promised)).unwrap();
    assert!(findings[0].message.contains("at most 100 capabilities"), "{findings:?}");
    refused_case("capabilities", &changed(CASE, "[receive, send, access]", &promised), "at most 100 capabilities");
}

#[test]
fn receipts_that_nest_or_lie_are_refused() {
    let receipt = Case::parse(CASE).unwrap().evaluate().unwrap().receipt.to_json();
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    for (what, text) in [
        ("deep nesting", deep.clone()),
        ("a deep place", changed(&receipt, "\"steps\": [", &format!("\"steps\": [{deep},"))),
        ("a key twice", changed(&receipt, "\"steps\": [", "\"steps\": [], \"steps\": [")),
        ("a number beyond all", changed(&receipt, "\"quantity\": 3", "\"quantity\": 1e400")),
        ("NaN", changed(&receipt, "\"quantity\": 3", "\"quantity\": NaN")),
        ("a negative index", changed(&receipt, "\"group\": 0", "\"group\": -1")),
        ("an index of nothing", changed(&receipt, "\"group\": 0", "\"group\": 18446744073709551615")),
        ("no tiers", changed(&receipt, "\"tiers\": [", "\"tiers\": [], \"more\": [")),
        ("something after it", format!("{receipt}]")),
        ("half of it", receipt[..receipt.len() / 2].to_owned()),
    ] {
        refused(what, 2, &text, "");
    }
    let mut value: serde_json::Value = serde_json::from_str(&receipt).unwrap();
    value["inputs"]["agreements"] = serde_json::json!([]);
    let Err(NotVerified::Differs(differences)) = Receipt::verify(&value.to_string()) else { panic!("it is taken") };
    assert!(differences[0].recomputed.contains("no terms"), "{differences:?}");
}

fn makegood(command: &str, file: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_makegood")).arg(command).arg(file).output().unwrap()
}

#[test]
fn the_program_says_what_is_wrong_with_a_file_and_exits_with_2() {
    let folder = std::env::temp_dir().join(format!("makegood-hostile-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let bytes = [CASE.as_bytes(), b"# \xff\xfe\xc0\x80\n"].concat();
    let sparse = folder.join("sparse");
    std::fs::File::create(&sparse).unwrap().set_len(65 * 1024 * 1024).unwrap();
    let mut files: Vec<(PathBuf, &str)> =
        vec![(sparse, "larger than 67108864 bytes"), (folder.clone(), ""), (folder.join("absent"), "")];
    for (name, bytes, says) in [
        ("utf8", bytes.as_slice(), "UTF-8"),
        ("utf16", b"\xff\xfef\0o\0r\0m\0a\0t\0".as_slice(), "UTF-8"),
        ("nothing", b"", ""),
        ("zeros", &[0; 4096], ""),
        ("deep", "[".repeat(100_000).as_bytes(), ""),
        ("count", changed(CASE, "count: 3", "count: 4294967295").as_bytes(), "at most 100000 mailboxes"),
    ] {
        std::fs::write(folder.join(name), bytes).unwrap();
        files.push((folder.join(name), says));
    }
    for (file, says) in files {
        for command in ["evaluate", "verify"] {
            let output = makegood(command, &file);
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{command} {}: {said}", file.display());
            assert!(said.starts_with("error: ") && said.len() < LONGEST_MESSAGE, "{said}");
            assert!(command == "verify" || said.contains(says), "{says:?} is not in {said}");
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// The packages of a lock file, each as its name and version.
fn locked(file: &str) -> BTreeSet<(String, String)> {
    let lock: toml::Table = std::fs::read_to_string(root().join(file)).unwrap().parse().unwrap();
    let text = |package: &toml::Value, key: &str| package[key].as_str().unwrap().to_owned();
    lock["package"].as_array().unwrap().iter().map(|one| (text(one, "name"), text(one, "version"))).collect()
}

#[test]
fn what_is_fuzzed_is_built_of_what_the_service_is_built_of() {
    let (ours, fuzzed) = (locked("Cargo.lock"), locked("tests/fuzz/Cargo.lock"));
    let names: BTreeSet<&str> = ours.iter().map(|(name, _)| name.as_str()).collect();
    let others: Vec<_> = fuzzed.iter().filter(|one| names.contains(one.0.as_str()) && !ours.contains(*one)).collect();
    assert!(fuzzed.len() > 30, "the lock file was not read");
    assert!(
        others.is_empty(),
        "tests/fuzz/Cargo.lock has other versions than Cargo.lock: {others:?}. Copy it and let cargo take out what is not \
         needed: cp Cargo.lock tests/fuzz/ && cargo metadata --manifest-path tests/fuzz/Cargo.toml --format-version 1 >/dev/null"
    );
}
