#!/usr/bin/env bash
# Fuzzes the parsers of terms, cases and receipts: tests/fuzz/run.sh SECONDS [terms|case|receipt]
#
# SECONDS are for all targets together. Builds what it needs from a clean clone: stable Rust and a C++ compiler. The corpus is
# kept in target/fuzz/corpus and is where the next run begins; FUZZ_SEED=N begins with the same choices again. Exits with 1
# on a finding (a panic, a message that is missing or endless, five seconds, a gigabyte), and prints the document, which is all
# that it takes to see it again: target/fuzz/*/release/TARGET DOCUMENT.
set -euo pipefail
cd "$(dirname "$0")"

total=${1:?usage: tests/fuzz/run.sh SECONDS [terms|case|receipt]}
targets=(terms case receipt)
if (($# > 1)); then targets=("$2"); fi
seed=${FUZZ_SEED:-$((RANDOM * 32768 + RANDOM + 1))}
CARGO_TARGET_DIR=$(cd ../.. && pwd)/target/fuzz
export CARGO_TARGET_DIR
host=$(rustc -vV | sed -n 's/^host: //p')

# What libFuzzer needs to see where a document went. With --target, build scripts and macros are built without it.
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
RUSTFLAGS+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
RUSTFLAGS+=" -Cllvm-args=-sanitizer-coverage-trace-compares"
export RUSTFLAGS
cargo build --locked --release --quiet --target "$host" --bins

findings=$CARGO_TARGET_DIR/findings
rm -rf "$findings"
status=0
for target in "${targets[@]}"; do
    corpus=$CARGO_TARGET_DIR/corpus/$target
    words=$CARGO_TARGET_DIR/$target.words
    log=$CARGO_TARGET_DIR/$target.log
    mkdir -p "$corpus" "$findings/$target"
    seconds=$((total / ${#targets[@]}))
    failed=0
    # An allocation beyond 8 GiB fails at once, and that is a crash; what grows slowly meets the limit of 1 GiB.
    (
        ulimit -v 8388608 -c 0
        MAKEGOOD_FUZZ_SEEDS=$corpus MAKEGOOD_FUZZ_WORDS=$words RUST_BACKTRACE=1 \
            exec "$CARGO_TARGET_DIR/$host/release/$target" "$corpus" -dict="$words" -seed="$seed" -max_total_time="$seconds" \
            -max_len=65536 -timeout=5 -rss_limit_mb=1024 -print_final_stats=1 -artifact_prefix="$findings/$target/"
    ) >"$log" 2>&1 || failed=$?
    stat() { sed -n "s/^stat::$1: *//p" "$log"; }
    executed=$(stat number_of_executed_units)
    printf '%-8s seed %s, %s documents run, %s a second, corpus %s, %s\n' "$target" "$seed" "${executed:-?}" \
        "$(stat average_exec_per_sec)" "$(find "$corpus" -type f | wc -l)" \
        "$(grep -o 'cov: [0-9]* ft: [0-9]*' "$log" | tail -1)"
    if ((failed)) || [[ -n $(ls -A "$findings/$target") ]]; then
        status=1
        echo "FOUND by $target (exit code $failed): what it said last, then the document"
        grep -v '^#[0-9]' "$log" | tail -60
        for finding in "$findings/$target"/*; do
            [[ -f $finding ]] || continue
            printf '\n-- %s, escaped:\n' "$finding"
            head -c 20000 "$finding" | LC_ALL=C sed -n 'l 0'
            printf -- '-- in base64:\n'
            head -c 20000 "$finding" | base64 -w 0
            echo
        done
        echo "Mend it, and keep the document as a file in tests/hostile/, which every test run reads."
    fi
done
exit $status
