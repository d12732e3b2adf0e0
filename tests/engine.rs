//! The engine against its case files: what comes out, how it reads, and what a changed receipt says.

use std::path::{Path, PathBuf};

use makegood::cli::evaluate;
use makegood::domain::assessment::Assessment;
use makegood::domain::case::Case;
use makegood::domain::ratio::Ratio;
use makegood::domain::receipt::{NotVerified, Receipt};
use makegood::domain::terms::Terms;

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The published schemes whose terms are told as cases, by their folder, and how many cases each has.
const SCHEMES: [(&str, usize); 15] = [
    ("abetteroutlook_shards", 6),
    ("aws_s3", 5),
    ("cloudflare_business", 5),
    ("germany_tkg58", 6),
    ("google_gmail_isp", 5),
    ("google_workspace", 8),
    ("illinois_732", 6),
    ("italy_agcom", 6),
    // One outage across the end of a month is a case for each month.
    ("level3_crossroads", 6),
    ("microsoft_exchange_online", 8),
    ("ny_psc_credit", 6),
    ("ofcom_auto_compensation", 6),
    ("rackspace_half_hour", 6),
    ("slack_multiplier", 6),
    ("telecom_nz_xt_2010", 5),
];

/// Schemes that were written down from `docs/terms.md` alone, below `further`.
const FURTHER: [(&str, usize); 6] = [
    ("arcustech", 6),
    ("csg_australia", 7),
    ("hosting_800", 6),
    ("pixel_hosting", 5),
    ("stablehost", 6),
    ("virteche_network", 6),
];

/// Our own cases, and those of the published schemes in their folders.
fn cases() -> Vec<PathBuf> {
    let (folders, mut cases): (Vec<PathBuf>, Vec<PathBuf>) =
        files("tests/cases").into_iter().partition(|path| path.is_dir());
    assert!(cases.len() >= 25, "cases are missing");
    let (further, folders): (Vec<PathBuf>, Vec<PathBuf>) =
        folders.into_iter().partition(|folder| folder.ends_with("further"));
    assert_eq!(further.len(), 1);
    assert_eq!(of_schemes(&folders, &mut cases), SCHEMES.map(|(name, count)| (name.to_owned(), count)));
    assert_eq!(SCHEMES.iter().map(|(_, count)| count).sum::<usize>(), 90);
    let further = files("tests/cases/further");
    assert_eq!(of_schemes(&further, &mut cases), FURTHER.map(|(name, count)| (name.to_owned(), count)));
    cases
}

/// Takes the cases of each folder; says how many each has, by its name.
fn of_schemes(folders: &[PathBuf], cases: &mut Vec<PathBuf>) -> Vec<(String, usize)> {
    let mut schemes = Vec::new();
    for folder in folders {
        let of_scheme = files(folder.to_str().unwrap());
        schemes.push((folder.file_name().unwrap().to_str().unwrap().to_owned(), of_scheme.len()));
        cases.extend(of_scheme);
    }
    schemes
}

fn harbour_freight() -> Receipt {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/harbour_freight_october.yaml");
    Case::parse(&std::fs::read_to_string(path).unwrap()).unwrap().evaluate().unwrap().receipt
}

#[test]
fn every_case_comes_out_as_it_expects_and_its_receipt_verifies() {
    let mut wrong = Vec::new();
    for file in cases() {
        let case = Case::parse(&std::fs::read_to_string(&file).unwrap());
        let report = case.map_err(|error| format!("{file:?}: {error}")).unwrap().evaluate().unwrap();
        if !report.agrees {
            wrong.push(format!("{}: {:#?}\n{}", file.display(), report.differences, report.receipt.text()));
        }
        let verified = Receipt::verify(&report.receipt.to_json()).unwrap();
        assert_eq!(verified.receipt, report.receipt, "{file:?}");
        parts_add_up(&report.receipt.assessment);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn evaluate_and_verify_answer_with_their_exit_codes() {
    let folder = std::env::temp_dir().join(format!("makegood-engine-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let case = std::fs::read_to_string(&files("tests/cases")[0]).unwrap();
    let good = write("good.yaml", &case);
    let case =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/harbour_freight_october.yaml"));
    let wrong = write("wrong.yaml", &case.unwrap().replace("credit: \"25.00\"", "credit: \"25.01\""));
    let neither = write("neither.yaml", "format: something\n");
    assert_eq!(evaluate::evaluate(std::slice::from_ref(&good), true), 0);
    assert_eq!(evaluate::evaluate(&[good.clone(), wrong.clone()], true), 1);
    assert_eq!(evaluate::evaluate(&[good, wrong, neither.clone()], false), 2);
    let receipt = harbour_freight().to_json();
    assert_eq!(evaluate::verify(&write("receipt.json", &receipt), true), 0);
    assert_eq!(evaluate::verify(&write("changed.json", &receipt.replace("INV-88120", "INV-88121")), true), 1);
    assert_eq!(evaluate::verify(&neither, false), 2);
    assert_eq!(evaluate::verify(&folder.join("absent.json"), false), 2);
    std::fs::remove_dir_all(&folder).unwrap();
}

/// What `verify` says of the worked example's receipt after one change to its text.
fn after(change: &str, to: &str) -> Vec<String> {
    let receipt = harbour_freight().to_json();
    let (inputs, results) = receipt.split_at(receipt.find("\"steps\"").unwrap());
    assert!(inputs.contains(change), "{change} is not in the inputs");
    match Receipt::verify(&format!("{}{results}", inputs.replacen(change, to, 1))) {
        Err(NotVerified::Differs(differences)) => differences.into_iter().map(|one| one.at).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_changed_second_price_or_word_of_a_receipt_is_named() {
    let second = after("2026-10-13T15:10:00Z", "2026-10-13T15:10:01Z");
    assert_eq!(second[..2], ["/input_hashes/windows", "/inputs_hash"]);
    let price = after("\"amount\": \"150.00\"", "\"amount\": \"150.01\"");
    assert_eq!(price[..2], ["/input_hashes/charges", "/inputs_hash"]);
    assert!(price.contains(&"/steps/base/numbers/fee_whole".to_owned()), "{price:?}");
    let word = after("\"rule\": \"any\"", "\"rule\": \"all\"");
    assert_eq!(word[..2], ["/input_hashes/terms", "/inputs_hash"]);
    assert!(word.contains(&"/steps/capability_rule/says".to_owned()), "{word:?}");
    assert!(word.contains(&"/assessment/outcome/kind".to_owned()), "{word:?}");
    let name = after("Harbour Freight", "Harbor Freight");
    assert_eq!(name, ["/input_hashes/account", "/inputs_hash"]);
}

#[test]
fn a_changed_result_of_a_receipt_is_named_with_both_values() {
    let receipt = harbour_freight().to_json().replace("\"25.00\"", "\"26.00\"");
    let Err(NotVerified::Differs(differences)) = Receipt::verify(&receipt) else { panic!() };
    assert_eq!(differences[0].at, "/assessment/outcome/amount/amount");
    assert_eq!((differences[0].says.as_str(), differences[0].recomputed.as_str()), ("26.00", "25.00"));
    assert!(matches!(Receipt::verify("{}"), Err(NotVerified::NotAReceipt(_))));
}

#[test]
fn the_worked_example_reads_as_a_person_would_say_it() {
    let text = harbour_freight().text();
    for said in [
        "Harbour Freight Brokers Ltd · Business Mail · October 2026 · Pacific/Auckland",
        "8 of 12 mailboxes affected",
        "30 min did not count: overlap with record 2",
        "(44,640 - 1,335) / 44,640 = 97.009 %",
        "at most 44.64 minutes down",
        "8 mailboxes x 12.50 x 25 % = 25.00",
        "announced 11 Oct 02:00 for 20 Oct 02:00 to 20 Oct 02:40, 9 days ahead",
        "Credit: NZD 25.00",
    ] {
        assert!(text.contains(said), "{said:?} is not in\n{text}");
    }
}

#[test]
fn the_demo_terms_can_be_published() {
    let files = files("assets/terms");
    assert_eq!(files.len(), 3);
    for file in files {
        let terms = Terms::parse(&std::fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(terms.lint(), [], "{file:?}");
    }
}

/// Every line is what counted and what did not; the worst group's lines are the total; the parts are the sum.
fn parts_add_up(sum: &Assessment) {
    for strand in &sum.strands {
        for line in &strand.lines {
            let uncounted: i64 = line.uncounted.iter().map(|part| part.micros).sum();
            assert_eq!(line.measured_micros, line.counted_micros + uncounted);
        }
        for group in &strand.groups {
            let counted: i64 = group.lines.iter().map(|line| line.counted_micros).sum();
            assert_eq!(counted, group.counted_micros);
            let drawn = group.pieces.windows(2).all(|pair| pair[0].interval.end() <= pair[1].interval.start());
            assert!(drawn, "pieces overlap");
        }
        let counted: i64 = strand.lines.iter().filter(|line| line.group == 0).map(|line| line.counted_micros).sum();
        assert_eq!(counted, strand.total.counted_micros);
        let exact = total(strand.parts.iter().map(|part| part.exact));
        assert_eq!(exact, strand.exact);
        for part in &strand.parts {
            let count = Ratio::whole(i64::try_from(part.mailboxes).unwrap());
            assert_eq!(part.each.times(count).unwrap(), part.exact);
        }
        if strand.account.is_none() {
            let missed: usize = strand.parts.iter().map(|part| part.mailboxes).sum();
            assert_eq!(missed, strand.total.missed);
        }
    }
    assert_eq!(total(sum.strands.iter().filter(|strand| strand.is_paid).map(|strand| strand.exact)), sum.exact);
}

fn total(figures: impl Iterator<Item = Ratio>) -> Ratio {
    figures.fold(Ratio::ZERO, |sum, one| sum.plus(one).unwrap())
}
