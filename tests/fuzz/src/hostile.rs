//! Making hostile documents out of honest ones: a document is read as nothing but a value, some of its places are changed, and
//! it is written again. What the fuzzer keeps and reports is always the document itself, so a finding needs nothing else to be
//! seen again.

use std::sync::Mutex;

use serde_json::{Map, Value};

use crate::seeds::{Seeds, seeds};

/// What to put where something honest stood. Numbers are among them as words: read as YAML, many of these become some.
pub const HOSTILE: [&str; 56] = [
    "",
    " ",
    "0",
    "-0",
    "-1",
    "1",
    "00",
    "0.0001",
    "0.00001",
    "100",
    "100.0001",
    "99.9999",
    "-99.9",
    "1e400",
    "-1e400",
    "NaN",
    ".nan",
    ".inf",
    "-.inf",
    "null",
    "~",
    "true",
    "no",
    "0x7fffffffffffffff",
    "255",
    "65535",
    "65536",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "170141183460469231731687303715884105727",
    "-170141183460469231731687303715884105728",
    "340282366920938463463374607431768211455",
    "9999999999999.99",
    "-9999999999999.99",
    "170141183460469231731687303715884105727/170141183460469231731687303715884105726",
    "1/0",
    "1970-01-01",
    "1970-01-01T00:00:00Z",
    "1970-01-01T00:00:00+23:59",
    "2199-12-31T23:59:59.999999Z",
    "2200-01-01T00:00:00Z",
    "9999-12-31T23:59:60Z",
    "+262142-12-31",
    "-262143-01-01",
    "1971-01",
    "2198-12",
    "Africa/Monrovia",
    "Pacific/Apia",
    "JPY",
    "XAU",
    "\u{7f}\u{85}\u{feff}\u{2028}",
    "\u{0}\u{1b}[31m\u{202e}",
];

/// The longest word that is worth keeping, in bytes.
pub const LONGEST_WORD: usize = 64;
const MOST_LEARNT: usize = 2_000;

/// Words that refusals named: `unknown variant x, expected one of any, all at line 9`. So the harness knows words that no seed
/// has.
static LEARNT: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps what a message names: between backticks, and after `expected one of`.
pub fn learn(message: &str) {
    let listed = message.split_once("expected one of ").map_or("", |(_, list)| list);
    let listed = listed.split_once(" at line ").map_or(listed, |(list, _)| list);
    let words = message.split('`').skip(1).step_by(2).chain(listed.split(", "));
    let mut learnt = LEARNT.lock().expect("nothing panics while it holds this");
    for word in words.map(|word| word.trim_matches('`')).filter(|word| !word.is_empty()) {
        if learnt.len() < MOST_LEARNT && word.len() <= LONGEST_WORD && !learnt.iter().any(|known| known == word) {
            learnt.push(word.to_owned());
        }
    }
}

/// Choices from the fuzzer's number (splitmix64).
struct Choices(u64);

impl Choices {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`; 0 where that is 0.
    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % end).unwrap_or(0)
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        list.get(self.below(list.len()))
    }
}

/// What the fuzzer calls for each new document: one in two is changed as a value, the others byte by byte, as is what cannot
/// be read. Writes into `data` and answers how much of it is the document.
pub fn mutate(
    data: &mut [u8],
    size: usize,
    most: usize,
    seed: u32,
    by_bytes: fn(&mut [u8], usize, usize) -> usize,
) -> usize {
    let mut choices = Choices(u64::from(seed));
    if choices.one_in(2)
        && let Some(changed) = data.get(..size).and_then(|old| changed(old, &mut choices))
        && changed.len() <= most
        && let Some(room) = data.get_mut(..changed.len())
    {
        room.copy_from_slice(&changed);
        return changed.len();
    }
    by_bytes(data, size, most)
}

fn changed(document: &[u8], choices: &mut Choices) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(document).ok()?;
    let mut value: Value = serde_json::from_str(text).ok().or_else(|| serde_saphyr::from_str(text).ok())?;
    for _ in 0..=choices.below(4) {
        let from = value.clone();
        let at = choices.below(count(&value));
        change(place(&mut value, at)?, &from, seeds(), choices);
    }
    if choices.one_in(4) {
        serde_saphyr::to_string(&value).ok().map(String::into_bytes)
    } else {
        serde_json::to_vec(&value).ok()
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(all) => all.iter().map(count).sum(),
        Value::Object(all) => all.values().map(count).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// The place of that number, counted from the root down.
fn place(value: &mut Value, at: usize) -> Option<&mut Value> {
    if at == 0 {
        return Some(value);
    }
    let mut left = at - 1;
    let inner: Box<dyn Iterator<Item = &mut Value>> = match value {
        Value::Array(all) => Box::new(all.iter_mut()),
        Value::Object(all) => Box::new(all.values_mut()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
    };
    for one in inner {
        let held = count(one);
        if left < held {
            return place(one, left);
        }
        left -= held;
    }
    None
}

/// Changes one place; `whole` is the document that it is in.
fn change(value: &mut Value, whole: &Value, seeds: &Seeds, choices: &mut Choices) {
    match value {
        Value::Array(all) if !choices.one_in(4) => return change_list(all, whole, choices),
        Value::Object(all) if !choices.one_in(4) => return change_object(all, whole, seeds, choices),
        _ => {}
    }
    *value = match choices.below(8) {
        0 | 1 => scalar(choices.of(&HOSTILE).copied().unwrap_or_default(), choices),
        2 | 3 => scalar(&word(seeds, choices), choices),
        4 => part(whole, choices),
        5 => choices.of(&seeds.values).map_or(Value::Null, |seed| part(seed, choices)),
        6 => nudged(value, choices),
        _ => {
            let depth = if choices.one_in(4) { choices.below(140) } else { 1 };
            (0..depth).fold(value.take(), |inner, _| Value::Array(vec![inner]))
        }
    };
}

fn change_list(all: &mut Vec<Value>, whole: &Value, choices: &mut Choices) {
    let at = choices.below(all.len());
    match choices.below(6) {
        0 if !all.is_empty() => {
            all.remove(at);
        }
        1 | 2 if !all.is_empty() => {
            let times = if choices.one_in(4) { choices.below(64) } else { 1 };
            let twice = all[at].clone();
            all.extend(std::iter::repeat_n(twice, times));
        }
        3 if !all.is_empty() => {
            let to = choices.below(all.len());
            all.swap(at, to);
        }
        4 => all.clear(),
        _ => all.push(part(whole, choices)),
    }
}

fn change_object(all: &mut Map<String, Value>, whole: &Value, seeds: &Seeds, choices: &mut Choices) {
    let keys: Vec<String> = all.keys().cloned().collect();
    let key = choices.of(&keys).cloned().unwrap_or_default();
    match choices.below(5) {
        0 => {
            all.remove(&key);
        }
        1 => {
            let moved = all.remove(&key).unwrap_or_default();
            all.insert(word(seeds, choices), moved);
        }
        2 => {
            all.insert(word(seeds, choices), part(whole, choices));
        }
        // What another document has under the same key.
        3 => {
            let mut named = Vec::new();
            seeds.values.iter().for_each(|seed| under(seed, &key, &mut named));
            if let Some(other) = choices.of(&named) {
                all.insert(key, (*other).clone());
            }
        }
        _ => {
            let other = choices.of(&keys).and_then(|other| all.get(other)).cloned().unwrap_or_default();
            all.insert(key, other);
        }
    }
}

fn under<'a>(value: &'a Value, key: &str, into: &mut Vec<&'a Value>) {
    match value {
        Value::Array(all) => all.iter().for_each(|one| under(one, key, into)),
        Value::Object(all) => {
            into.extend(all.get(key));
            all.values().for_each(|one| under(one, key, into));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A copy of any place of `whole`.
fn part(whole: &Value, choices: &mut Choices) -> Value {
    let mut whole = whole.clone();
    let at = choices.below(count(&whole));
    place(&mut whole, at).map(Value::take).unwrap_or_default()
}

fn word(seeds: &Seeds, choices: &mut Choices) -> String {
    let learnt = LEARNT.lock().expect("nothing panics while it holds this");
    let list = if choices.one_in(2) && !learnt.is_empty() { &*learnt } else { &seeds.words };
    choices.of(list).cloned().unwrap_or_default()
}

/// As a string, or as what it is when nobody quotes it.
fn scalar(word: &str, choices: &mut Choices) -> Value {
    let text = || Value::String(word.to_owned());
    if choices.one_in(2) { text() } else { serde_json::from_str(word).unwrap_or_else(|_| text()) }
}

/// Nearly the same: one character more, less or other, or a number next to it.
fn nudged(value: &Value, choices: &mut Choices) -> Value {
    match value {
        Value::Number(number) => {
            let next = number.as_i64().map(|held| held.wrapping_add(if choices.one_in(2) { 1 } else { -1 }));
            next.map_or_else(|| value.clone(), Value::from)
        }
        Value::String(text) => {
            let mut characters: Vec<char> = text.chars().collect();
            let at = choices.below(characters.len());
            let new = choices.of(b"0123456789-.:/TZ+ a\x00\n\"").copied().map_or('0', char::from);
            match (choices.below(3), characters.get_mut(at)) {
                (0, Some(old)) => *old = new,
                (1, Some(_)) => {
                    characters.remove(at);
                }
                _ => characters.insert(at, new),
            }
            Value::String(characters.into_iter().collect())
        }
        Value::Bool(held) => Value::Bool(!held),
        Value::Null | Value::Array(_) | Value::Object(_) => Value::Null,
    }
}
