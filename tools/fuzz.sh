#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Fuzzes the parsers with libFuzzer under AddressSanitizer and UBSan: tools/fuzz.sh [--smoke] [NAME ...]
# Each target runs for FUZZ_SECONDS (60) from its seeds and from what earlier runs found, which is kept in the cache
# folder, as are the inputs that broke something. --smoke: a few seconds from the seeds, keeping nothing.
set -u
cd "$(dirname "$0")/.."
build=build-fuzz
cache=${XDG_CACHE_HOME:-$HOME/.cache}/deeplens/fuzz
seconds=${FUZZ_SECONDS:-60}
smoke=""
[ "${1:-}" != --smoke ] || { smoke=yes; seconds=${FUZZ_SECONDS:-3}; shift; }
[ $# != 0 ] || set -- cron details event filter image multipart probe tokenizer video

CC=clang tools/configure.sh $build -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false || exit 1
said=$(ninja -C $build fuzzers 2>&1) || { echo "$said" | grep -E 'error|FAILED' | head -n 40 >&2; exit 1; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' INT TERM
seeds=$scratch/seeds
if [ "$smoke" ]; then cache=$scratch; fi
export ASAN_OPTIONS="${ASAN_OPTIONS:-abort_on_error=1}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-halt_on_error=1:print_stacktrace=1}"
export LSAN_OPTIONS="suppressions='$(pwd)/tests/sanitizers/lsan.supp':print_suppressions=0"
python3 tests/fuzz/make_seeds.py "$seeds" "$build/tests/e2e/pictures" || exit 1

failed=0
for name in "$@"; do
    [ -x "$build/tests/fuzz/fuzz_$name" ] || { echo "fuzz: there is no target $name" >&2; failed=1; continue; }
    mkdir -p "$cache/$name" "$cache/found" || exit 1
    dictionary=""
    [ ! -f "tests/fuzz/$name.dict" ] || dictionary=-dict=tests/fuzz/$name.dict
    if "$build/tests/fuzz/fuzz_$name" -max_total_time="$seconds" -max_len=65536 -timeout=60 -rss_limit_mb=3000 \
        -print_final_stats=1 -artifact_prefix="$cache/found/$name-" $dictionary "$cache/$name" "$seeds/$name" \
        >"$scratch/$name.log" 2>&1; then
        echo "fuzz: $name ok, $(sed -n 's/^stat::number_of_executed_units: *//p' "$scratch/$name.log") inputs"
    else
        tail -n 60 "$scratch/$name.log" >&2
        echo "fuzz: $name FAILED"
        [ "$smoke" ] || echo "fuzz: the input is kept in $cache/found" >&2
        failed=1
    fi
done
exit $failed
