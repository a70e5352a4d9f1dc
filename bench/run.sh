#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs the benchmarks, all or those named: bench/run.sh [--short] [--built] BUILD [NAME ...]
# Each prints a line of JSON a figure, kept in BUILD/bench/results.jsonl; a table follows. A goal that is not met is a
# fact and no error: the exit code is 1 only when a benchmark could not run.
set -u

main() { # a function, so that the shell has read all of it before it begins
    short=
    built=
    while :; do
        case ${1:-} in
        --short) short=--short ;;
        --built) built=yes ;;
        *) break ;;
        esac
        shift
    done
    [ $# -ge 1 ] || { echo "usage: bench/run.sh [--short] [--built] BUILD [NAME ...]" >&2; exit 2; }
    build=$(cd "$1" && pwd) || exit 1
    here=$(cd "$(dirname "$0")" && pwd) || exit 1
    shift
    all="acks pipeline idle log nodelay index duplicates video"
    [ -n "$short" ] || all="$all models quality words" # need `make models`, photos and minutes
    [ -z "${DEEPLENS_TEST_KAFKA:-}" ] || all="$all kafka recovery" # need a broker: tests/peers/kafka.py run -- bench/run.sh …
    # … and a database: tests/peers/kafka.py run -- tests/peers/postgres.py run --synced -- bench/run.sh …
    [ -z "${DEEPLENS_TEST_KAFKA:-}" ] || [ -z "${DEEPLENS_TEST_POSTGRES:-}" ] || all="$all postgres"
    for name in "$@"; do
        case " $all " in
        *" $name "*) ;;
        *) echo "bench: there is no \"$name\"; there are: $all" >&2; exit 2 ;;
        esac
    done
    [ -n "$built" ] || ninja -C "$build" bench-programs >/dev/null || { echo "bench: the programs cannot be built" >&2; exit 1; }

    results=$build/bench/results.jsonl
    failed=
    rm -rf "$build"/bench/tmp-* # of runs that were killed
    : >"$results"
    for name in ${*:-$all}; do
        program=$build/bench/$name
        [ ! -e "$here/$name.py" ] || program=$here/$name.py
        "$program" "$build" $short >"$build/bench/$name.jsonl" || failed="$failed $name"
        cat "$build/bench/$name.jsonl"
        cat "$build/bench/$name.jsonl" >>"$results"
    done

    # {"bench":"B","figure":"F","value":V,"goal":G,"met":M}
    awk -F'[":,{}]+' '
        BEGIN { printf "\n%-9s %-42s %12s %10s  %s\n", "bench", "figure", "value", "goal", "met" }
        {
            goal = $9 == "null" ? "" : $9
            met = $11 == "null" ? "" : $11 == "true" ? "yes" : "NO"
            printf "%-9s %-42s %12.4g %10s  %s\n", $3, $5, $7, goal, met
        }' "$results"
    [ -z "$failed" ] || { echo "bench: could not run:$failed" >&2; exit 1; }
}

main "$@"
