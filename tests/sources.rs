//! Every kind of source has what the recipe in docs/sources.md asks for, and no body, however spoilt, breaks a parser.

use std::path::{Path, PathBuf};

use makegood::domain::monitors::SourceKind;
use makegood::domain::observation::Delivery;
use makegood::domain::refusal::Refusal;
use makegood::domain::time::Instant;
use makegood::sources;
use serde_json::Value;

const DOCS: &str = include_str!("../docs/sources.md");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The sample bodies of a kind, each with the content type that it comes in.
fn bodies(kind: SourceKind) -> Vec<(PathBuf, &'static str, Vec<u8>)> {
    let folder = root().join("tests/sources").join(kind.name());
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let media = sources::format(kind).media;
    let body = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        let is_that = |media: &&&str| match (name.ends_with(".csv"), name.contains("batch")) {
            (true, _) => **media == "text/csv",
            (false, true) => media.contains("batch"),
            (false, false) => true,
        };
        let media = *media.iter().find(is_that).unwrap_or_else(|| panic!("{name} is nothing that {kind:?} speaks"));
        let bytes = std::fs::read(&path).unwrap();
        (path, media, bytes)
    };
    paths.into_iter().map(body).collect()
}

/// The bodies in the section of a kind, each with the content type that stands before it.
fn documented(kind: SourceKind) -> Vec<(&'static str, &'static str)> {
    let heading = format!("\n## {}\n", kind.name());
    let (_, section) = DOCS.split_once(&heading).unwrap_or_else(|| panic!("docs/sources.md has no section{heading}"));
    let section = section.split("\n## ").next().unwrap();
    let mut blocks = Vec::new();
    for (before, block) in section.split("\n```").collect::<Vec<_>>().windows(2).map(|pair| (pair[0], pair[1])) {
        if let Some(body) = block.strip_prefix("json\n").or_else(|| block.strip_prefix("csv\n")) {
            let line = before.trim_end().lines().last().unwrap();
            let media =
                line.trim_end_matches(':').rsplit('`').nth(1).unwrap_or_else(|| panic!("{line} names no content type"));
            blocks.push((media, body));
        }
    }
    assert!(!blocks.is_empty(), "the section of {kind:?} in docs/sources.md has no body");
    blocks
}

fn read(kind: SourceKind, media: &str, bytes: &[u8]) -> Result<Delivery, Refusal> {
    sources::read(kind.name(), media, bytes)
}

#[test]
fn every_kind_of_source_has_a_file_sample_bodies_and_a_section_in_the_docs() {
    for kind in SourceKind::ALL {
        let name = kind.name();
        assert_eq!(SourceKind::named(name), Some(kind));
        assert_eq!(serde_json::to_value(kind).unwrap(), Value::from(name), "the monitors document has another name");
        assert!(root().join(format!("src/sources/{name}.rs")).is_file(), "src/sources/{name}.rs is not there");
        let bodies = bodies(kind);
        for (path, media, bytes) in &bodies {
            read(kind, media, bytes).unwrap_or_else(|refusal| panic!("{}: {refusal:?}", path.display()));
        }
        let told = bodies.iter().map(|(_, media, bytes)| read(kind, media, bytes).unwrap().told.len()).sum::<usize>();
        assert!(told > 0, "no body of {name} tells of an alert");
        for (media, body) in documented(kind) {
            let delivery = read(kind, media, body.as_bytes()).unwrap_or_else(|refusal| panic!("{name}: {refusal:?}"));
            assert!(
                !delivery.told.is_empty() && delivery.rejected.is_empty(),
                "{name} in docs/sources.md: {delivery:?}"
            );
        }
    }
    let folders = std::fs::read_dir(root().join("tests/sources")).unwrap().count();
    assert_eq!(folders, SourceKind::ALL.len(), "a folder in tests/sources is of no kind");
}

#[test]
fn a_content_type_that_a_kind_does_not_speak_is_refused() {
    for kind in SourceKind::ALL {
        for media in ["", "text/plain", "application/xml", "multipart/form-data; boundary=x"] {
            let refusal = read(kind, media, b"{}").unwrap_err();
            assert_eq!(refusal.code.name(), "unsupported_media_type", "{kind:?} {media}");
        }
    }
    assert_eq!(sources::read("nagios", "application/json", b"{}").unwrap_err().code.name(), "not_found");
}

/// Values that an honest monitor does not send.
fn hostile(random: &mut fastrand::Rng) -> Value {
    let texts =
        ["", " ", "\0", "\u{202e}", "0001-01-01T00:00:00Z", "9999-12-31T23:59:60Z", "-1", "é", "infinity", "v1=", "0%"];
    match random.u8(0..9) {
        0 => Value::Null,
        1 => Value::Bool(random.bool()),
        2 => Value::from(random.i64(..)),
        3 => Value::from(1e300),
        4 => Value::Array(vec![Value::Null; random.usize(0..3)]),
        5 => Value::Object(serde_json::Map::new()),
        6 => Value::from("x".repeat(random.usize(0..10_000))),
        _ => Value::from(texts[random.usize(..texts.len())]),
    }
}

/// Changes one place in `value`, at any depth.
fn spoil(value: &mut Value, random: &mut fastrand::Rng) {
    if random.u8(0..6) == 0 {
        *value = hostile(random);
        return;
    }
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let key = fields.keys().nth(random.usize(..fields.len())).unwrap().clone();
            if random.u8(0..8) == 0 {
                fields.remove(&key);
            } else {
                spoil(fields.get_mut(&key).unwrap(), random);
            }
        }
        Value::Array(all) if !all.is_empty() => {
            let at = random.usize(..all.len());
            spoil(&mut all[at], random);
        }
        other => *other = hostile(random),
    }
}

/// Reads what may be a delivery, as the door does; whatever comes of it must be whole.
fn hold(kind: SourceKind, media: &str, bytes: &[u8]) {
    let now = Instant::parse("2026-10-14T00:00:00Z").unwrap();
    match read(kind, media, bytes) {
        Ok(mut delivery) => {
            delivery.judge(now);
            for told in &delivery.told {
                let one = &told.observation;
                assert!(one.ends_at.is_none_or(|end| end >= one.starts_at), "{kind:?} {one:?}");
                assert!(!one.fingerprint.is_empty() && one.fingerprint.len() <= 200, "{kind:?} {one:?}");
                let texts =
                    one.labels.iter().flat_map(|(name, value)| [name, value]).chain([&one.name, &one.fingerprint]);
                texts.for_each(|text| {
                    assert!(!text.contains('\0'), "{kind:?}: PostgreSQL keeps no zero character: {text:?}")
                });
            }
            assert!(delivery.distinct("source").len() <= delivery.told.len());
        }
        Err(refusal) => {
            assert!(!refusal.detail.is_empty() && refusal.detail.len() < 1_000, "{kind:?}: {refusal:?}");
            assert!(refusal.errors.len() <= 20, "{kind:?}: {refusal:?}");
        }
    }
}

#[test]
fn whatever_comes_is_read_or_refused() {
    let seed =
        std::env::var("MAKEGOOD_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("MAKEGOOD_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for kind in SourceKind::ALL {
        for (_, media, bytes) in bodies(kind) {
            let parsed = serde_json::from_slice::<Value>(&bytes).ok();
            for _ in 0..2_000 {
                let mut bytes = match &parsed {
                    Some(value) => {
                        let mut value = value.clone();
                        (0..random.u8(1..4)).for_each(|_| spoil(&mut value, &mut random));
                        value.to_string().into_bytes()
                    }
                    None => bytes.clone(),
                };
                // A byte changed, lost or doubled in one of three, and in CSV always.
                if parsed.is_none() || random.u8(0..3) == 0 {
                    let at = random.usize(..bytes.len());
                    match random.u8(0..4) {
                        0 => bytes[at] = random.u8(..),
                        1 => bytes.truncate(at),
                        2 => drop(bytes.remove(at)),
                        _ => bytes.insert(at, bytes[at]),
                    }
                }
                for media in std::iter::once(media).chain(sources::format(kind).media.iter().copied()) {
                    hold(kind, media, &bytes);
                }
            }
        }
    }
}
