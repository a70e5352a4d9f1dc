#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every test there is, from nothing: plain with gcc, a build with clang, AddressSanitizer + UBSan, ThreadSanitizer, the checks.
# Each stage goes on after a failure of another; the last line counts. tools/test.sh [STAGE ...]: plain clang asan tsan check
set -u
cd "$(dirname "$0")/.."
stages=${*:-plain check clang asan tsan}
logs=$(pwd)/build-logs
mkdir -p "$logs"
failed_stages=""
start=$(date +%s)

say() { echo "== $1 ($(( $(date +%s) - start )) s)"; }

# build FOLDER [meson options]
build() {
    folder=$1
    shift
    tools/configure.sh "$folder" "$@" && ninja -C "$folder" >"$logs/$folder.build.log" 2>&1 || {
        grep -E 'error|FAILED' "$logs/$folder.build.log" | head -n 40 >&2
        return 1
    }
}

# run FOLDER: all its tests; what failed is printed with its output
run() {
    meson test -C "$1" --print-errorlogs --num-processes 2 2>&1 | tee "$logs/$1.test.log" | grep -vE '^(ninja|  *[0-9]+/[0-9]+ .* OK )'
    ! grep -qE '^(Fail|Timeout|Unexpected Pass): +[1-9]' "$logs/$1.test.log" && grep -qE '^Ok: +[1-9]' "$logs/$1.test.log"
}

stage() {
    case $1 in
    plain) build build && run build ;;
    clang) CC=clang build build-clang ;;
    asan) build build-asan -Db_sanitize=address,undefined -Db_lundef=false -Dbuildtype=debugoptimized && run build-asan ;;
    tsan) build build-tsan -Db_sanitize=thread -Db_lundef=false -Dbuildtype=debugoptimized && run build-tsan ;;
    check) build build && tools/check.sh build ;;
    *) echo "test: there is no stage $1" >&2; return 1 ;;
    esac
}

rm -f "$logs"/*.test.log
passed=0
failed=0
for name in $stages; do
    say "$name"
    if stage "$name"; then
        [ "$name" = clang ] || [ "$name" = check ] && passed=$((passed + 1))
    else
        failed_stages="$failed_stages $name"
        [ "$name" = clang ] || [ "$name" = check ] && failed=$((failed + 1))
    fi
done

for log in "$logs"/*.test.log; do
    [ -f "$log" ] || continue
    ok=$(sed -n 's/^Ok: *\([0-9]*\).*/\1/p' "$log" | tail -n 1)
    bad=$(sed -n 's/^\(Fail\|Timeout\): *\([0-9]*\).*/\2/p' "$log" | awk "{ n += \$1 } END { print n + 0 }")
    passed=$((passed + ${ok:-0}))
    failed=$((failed + ${bad:-0}))
done
say "done"
[ -z "$failed_stages" ] || echo "failed stages:$failed_stages"
[ -z "$failed_stages" ] || [ "$failed" != 0 ] || failed=1
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
