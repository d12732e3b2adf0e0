#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use makegood_fuzz::seeds::{self, Kind};
use makegood_fuzz::{hold, hostile};

fuzz_target!(init: seeds::begin(Kind::Receipt), |data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        hold::receipt(text);
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, most: usize, seed: u32| {
    hostile::mutate(data, size, most, seed, fuzzer_mutate)
});
