use proptest::prelude::*;

use super::lines::Read;
use super::*;

/// Reads a file that comes in pieces of `size` bytes.
fn read<R: Row>(format: Format, file: &[u8], size: usize) -> Vec<Read<R>> {
    let mut reader = Reader::new(format);
    let mut found = Vec::new();
    for piece in file.chunks(size.max(1)) {
        reader.push(piece);
        found.extend(std::iter::from_fn(|| reader.next_row()));
    }
    reader.end();
    found.extend(std::iter::from_fn(|| reader.next_row()));
    found
}

fn placements(format: Format, file: &str) -> Vec<Read<PlacementRow>> {
    read(format, file.as_bytes(), 7)
}

/// What is wrong with the only line of a file, as `line pointer: message`.
fn wrong<R: Row + std::fmt::Debug>(format: Format, file: &[u8]) -> Vec<String> {
    let errors = read::<R>(format, file, usize::MAX).into_iter().filter_map(Result::err).flatten();
    errors.map(|error| format!("{} {}: {}", error.line, error.pointer, error.message)).collect()
}

const HEADER: &str = "account,mailbox,shard,valid_from,valid_to,source\n";
const GOOD: &str = r#"{"account":"20418876","mailbox":"anna@harbour.example","shard":"s17","valid_from":"2026-10-13T06:10:00+13:00","source":"directory"}"#;

#[test]
fn a_line_is_the_same_row_in_both_formats() {
    let json = placements(Format::Ndjson, GOOD);
    let csv = placements(
        Format::Csv,
        &format!("{HEADER}20418876,\"anna@harbour.example\",s17,2026-10-12T17:10:00Z,,directory"),
    );
    let row = |found: &[Read<PlacementRow>]| found[0].as_ref().unwrap().1.clone();
    assert_eq!(row(&json), row(&csv));
    assert_eq!(row(&json).valid_from.to_string(), "2026-10-12T17:10:00Z");
    assert_eq!(csv[0].as_ref().unwrap().0, 2);
}

#[test]
fn a_byte_order_mark_crlf_and_empty_lines_are_no_rows_but_are_counted() {
    let file = format!("\u{feff}\r\n{GOOD}\r\n\r\n\n{GOOD}");
    let lines: Vec<i64> = placements(Format::Ndjson, &file).into_iter().map(|read| read.unwrap().0).collect();
    assert_eq!(lines, [2, 5]);
    let file = format!("\u{feff}{}\r\na,b,s1,2026-01-01T00:00:00Z,,d\r\n\r\n", HEADER.trim());
    assert_eq!(placements(Format::Csv, &file).len(), 1);
}

#[test]
fn a_quoted_cell_may_hold_commas_and_quotes_and_the_lines_after_it_keep_their_numbers() {
    let file =
        "account,name,zone,currency\r\na,\"Smith, \"\"Ltd\"\"\",UTC,NZD\r\nb,\"two\r\nlines\",UTC,NZD\nc,C,UTC,XXQ\n";
    let found = read::<AccountRow>(Format::Csv, file.as_bytes(), 5);
    assert_eq!(found[0].as_ref().unwrap().1.name, "Smith, \"Ltd\"");
    assert_eq!(found[1].as_ref().unwrap_err()[0].line, 3, "a name has one line");
    assert_eq!(found[2].as_ref().unwrap_err()[0].line, 5);
    assert_eq!(found[2].as_ref().unwrap_err()[0].pointer, "/currency");
}

#[test]
fn each_field_that_is_wrong_is_named() {
    let file = r#"{"account":"","mailbox":"a","shard":"s","valid_from":"2026-01-01T00:00:00","source":" x"}"#;
    let said = wrong::<PlacementRow>(Format::Ndjson, file.as_bytes());
    assert_eq!(said.len(), 3, "{said:?}");
    for (said, pointer) in said.iter().zip(["1 /account", "1 /source", "1 /valid_from"]) {
        assert!(said.starts_with(pointer), "{said}");
    }
}

#[test]
fn hostile_lines_are_refused_and_the_field_is_named() {
    let with = |from: &str, to: &str| GOOD.replace(from, to).into_bytes();
    let long = "x".repeat(65);
    let deep = format!("{{\"account\":{}", "[".repeat(60_000));
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("/account", with("\"20418876\"", "20418876")),
        ("/account", with("\"20418876\"", "2.5")),
        ("/account", with("\"20418876\"", "1e400")),
        ("/account", with("\"20418876\"", "{\"$ne\":null}")),
        ("/account", with("20418876", &long)),
        ("/account", with("20418876", "2041\\u00008876")),
        ("/account", with("20418876", "2041\\n8876")),
        ("/account", with("20418876", "2041\\u202e8876")),
        ("/account", with("\"account\"", "\"account\":\"a\",\"account\"")),
        ("/shard", with("\"shard\":\"s17\",", "")),
        ("/shard", with("\"s17\"", "17")),
        ("/shard", with("\"s17\"", "\"\"")),
        ("/source", with("\"directory\"", "null")),
        ("/valid_from", with("+13:00", "")),
        ("/valid_from", with("2026-10-13T06:10:00+13:00", "2026-10-13")),
        ("/valid_from", with("2026-10-13T06:10:00+13:00", "infinity")),
        ("/valid_from", with("2026-10-13T06:10:00+13:00", "1/2/26")),
        ("/valid_from", with("2026", "9999")),
        ("/valid_to", with("\"source\"", "\"valid_to\":\"2026-01-01T00:00:00Z\",\"source\"")),
        ("/valid_to", with("\"s17\"", "null,\"valid_to\":\"2027-01-01T00:00:00Z\"")),
        ("", with("\"source\"", "\"role\":\"admin\",\"source\"")),
        ("", with("{", "[")),
        ("", with("}", "} {}")),
        ("", with("}", "")),
        ("", with("anna", "\u{7}")),
        ("", b"nope".to_vec()),
        ("", b"{\"account\":\"m\xfcller\"}".to_vec()),
        ("", b"\xff\xfe{\0}\0".to_vec()),
        ("/account", deep.into_bytes()),
    ];
    for (pointer, line) in cases {
        let said = wrong::<PlacementRow>(Format::Ndjson, &line);
        let shown = String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned();
        assert_eq!(said.len(), 1, "{shown}: {said:?}");
        let expected = format!("1 {pointer}:");
        assert!(said[0].starts_with(&expected) || pointer.is_empty() && said[0].starts_with("1 "), "{shown}: {said:?}");
        assert!(said[0].len() < 500, "{shown}: {said:?}");
    }
}

#[test]
fn hostile_csv_is_refused() {
    let row = "a,b,s1,2026-01-01T00:00:00Z,,d";
    for (line, file) in [
        (1, String::new()),
        (1, "\u{feff}\n\n".to_owned()),
        (1, format!("{row}\n")),
        (1, format!("account,mailbox,shard,valid_from,source,source\n{row}\n")),
        (1, format!("Account,mailbox,shard,valid_from,source\n{row}\n")),
        (1, format!("account,mailbox,shard,valid_from\n{row}\n")),
        (1, format!("{}\r{row}\r", HEADER.trim())),
        (2, format!("{HEADER}a,b,s1,2026-01-01T00:00:00Z,\n")),
        (2, format!("{HEADER}{row},extra\n")),
        (2, format!("{HEADER}a,\"b,s1,2026-01-01T00:00:00Z,,d\n")),
        (2, format!("{HEADER}a,b\"c\"d,s1,2026-01-01T00:00:00Z,,d\n")),
        (2, format!("{HEADER}a,\"b\"c,s1,2026-01-01T00:00:00Z,,d\n")),
        (2, format!("{HEADER}a,b\0,s1,2026-01-01T00:00:00Z,,d\n")),
        (2, format!("{HEADER}a,\tb,s1,2026-01-01T00:00:00Z,,d\n")),
        (2, format!("{HEADER}a,b,s1,46023.5,,d\n")),
        (2, format!("{HEADER}{}\n", ",".repeat(60_000))),
    ] {
        let said = wrong::<PlacementRow>(Format::Csv, file.as_bytes());
        let shown: String = file.chars().take(200).collect();
        assert_eq!(said.len(), 1, "{shown:?}: {said:?}");
        assert!(said[0].starts_with(&format!("{line} ")), "{shown:?}: {said:?}");
    }
    assert!(wrong::<PlacementRow>(Format::Csv, HEADER.as_bytes()).is_empty(), "a header alone is a file of no rows");
}

#[test]
fn a_line_without_end_stops_the_reading_and_is_not_kept() {
    for (format, start) in [(Format::Ndjson, "{\"account\":\"".to_owned()), (Format::Csv, format!("{HEADER}a,\"b"))] {
        let mut reader = Reader::<PlacementRow>::new(format);
        reader.push(start.as_bytes());
        let mut pushed = 0;
        let said = loop {
            reader.push(&[b'x'; 8 * 1024]);
            pushed += 1;
            if let Some(read) = reader.next_row() {
                break read.unwrap_err();
            }
            assert!(pushed < 100, "a line of {pushed} times 8 KiB is still taken");
        };
        assert!(said[0].message.starts_with("The line is longer than 65536 bytes."), "{said:?}");
        assert!(reader.is_stopped());
        assert!(reader.next_row().is_none());
    }
}

#[test]
fn money_is_text_and_adds_up() {
    let good = r#"{"account":"a","number":"7","subscription":"s","invoiced_on":"2026-10-01","service_from":"2026-10-01","service_to":"2026-11-01","quantity":3,"currency":"NZD","net":"21.74","tax":"3.26","gross":"25.00","tax_code":"GST","tax_rate_bp":1500}"#;
    let found = read::<ChargeRow>(Format::Ndjson, good.as_bytes(), usize::MAX);
    let charge = &found[0].as_ref().unwrap().1.charge;
    assert_eq!((charge.net.minor(), charge.tax.minor(), charge.gross.minor(), charge.quantity), (2174, 326, 2500, 3));
    for (pointer, from, to) in [
        ("/net", "\"21.74\"", "21.74"),
        ("/net", "\"21.74\"", "\"21.740\""),
        ("/net", "\"21.74\"", "\"2e1\""),
        ("/net", "\"21.74\"", "\"-21.74\""),
        ("/net", "\"21.74\"", "\"-0\""),
        ("/net", "\"21.74\"", "\"99999999999999999999\""),
        ("/gross", "25.00", "25.01"),
        ("/currency", "NZD", "NZ"),
        ("/quantity", ":3", ":0"),
        ("/quantity", ":3", ":-3"),
        ("/quantity", ":3", ":3.0"),
        ("/quantity", ":3", ":\"3\""),
        ("/quantity", ":3", ":99999999999999999999"),
        ("/tax_rate_bp", "1500", "10001"),
        ("/invoiced_on", "2026-10-01\",\"service_from", "2026-10-1\",\"service_from"),
        ("/service_from", "\"service_from\":\"2026-10-01\"", "\"service_from\":\"0000-10-01\""),
        ("/service_to", "2026-11-01", "2026-10-01"),
        ("/service_to", "2026-11-01", "2026-11-31"),
    ] {
        let said = wrong::<ChargeRow>(Format::Ndjson, good.replace(from, to).as_bytes());
        assert!(said.len() == 1 && said[0].starts_with(&format!("1 {pointer}:")), "{from} as {to}: {said:?}");
    }
}

#[test]
fn an_account_is_not_above_itself_and_its_own_bill_payer_is_no_news() {
    let file =
        r#"{"account":"a","name":"A","zone":"Pacific/Auckland","currency":"NZD","bill_to":"a","email":"a@b.example"}"#;
    let found = read::<AccountRow>(Format::Ndjson, file.as_bytes(), usize::MAX);
    assert_eq!(found[0].as_ref().unwrap().1.bill_to, None);
    for (pointer, from, to) in [
        ("/parent", "\"bill_to\"", "\"parent\""),
        ("/zone", "Pacific/Auckland", "NZDT"),
        ("/email", "a@b.example", "a b@c"),
        ("/email", "a@b.example", "nobody"),
        ("/name", "\"A\"", "\"A\\tB\""),
    ] {
        let said = wrong::<AccountRow>(Format::Ndjson, file.replace(from, to).as_bytes());
        assert!(said.len() == 1 && said[0].starts_with(&format!("1 {pointer}:")), "{from} as {to}: {said:?}");
    }
}

proptest! {
    #[test]
    fn how_the_bytes_are_cut_does_not_matter_and_no_bytes_break_the_reader(
        lines in prop::collection::vec(
            prop_oneof![
                Just(GOOD.to_owned()),
                Just("a,\"b\",s1,2026-01-01T00:00:00Z,,d".to_owned()),
                Just("a,\"b\nc\"\"d\",s1,2026-01-01T00:00:00Z,,d\r".to_owned()),
                Just(String::new()),
                "[a,\"{}:\r\n\\PC]{0,40}",
            ],
            0..12,
        ),
        size in 1usize..50,
        csv in any::<bool>(),
    ) {
        let format = if csv { Format::Csv } else { Format::Ndjson };
        let file = format!("{}{}", if csv { HEADER } else { "" }, lines.join("\n"));
        let whole = read::<PlacementRow>(format, file.as_bytes(), usize::MAX);
        prop_assert_eq!(&whole, &read::<PlacementRow>(format, file.as_bytes(), size));
        let numbers: Vec<i64> = whole.iter().map(|read| match read {
            Ok((line, _)) => *line,
            Err(errors) => errors[0].line,
        }).collect();
        prop_assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    }
}
