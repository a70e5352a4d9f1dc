#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every test there is, from nothing. tools/test.sh [STAGE ...]; the stages, in this order when none is named:
#   plain   all tests with gcc
#   check   what is checked without running (tools/check.sh)
#   clang   everything builds with clang too, without a warning
#   asan    the tests, but for those in suite `slow`, under AddressSanitizer, LeakSanitizer and UBSan
#   tsan    the same under ThreadSanitizer
#   fuzz    each fuzzer for a few seconds
# A stage goes on after another failed. What tests leave behind (files, processes, reports of sanitizers in servers that
# they started) fails the run. The last line counts: tests one by one, other stages as one each.
set -u
cd "$(dirname "$0")/.."
stages=${*:-plain check clang asan tsan fuzz}
logs=$(pwd)/build-logs
rm -rf "$logs"
mkdir -p "$logs/reports"
start=$(date +%s)

# Tests put their files here; what is left at the end is theirs. Processes are known by having it in their environment.
TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/deeplens-test.XXXXXX") || exit 1
chmod 711 "$TMPDIR" # PostgreSQL refuses to be root: its tests run it as somebody else, in folders of their own in here
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
trap 'exit 1' INT TERM

supp=$(pwd)/tests/sanitizers
export ASAN_OPTIONS="abort_on_error=1:detect_stack_use_after_return=1:strict_string_checks=1:log_path='$logs/reports/asan'"
export UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1:log_path='$logs/reports/ubsan'"
export LSAN_OPTIONS="suppressions='$supp/lsan.supp':print_suppressions=0"
# OpenVINO's TBB would open libraries in a way that no sanitizer's runtime bears.
export TBB_ENABLE_SANITIZERS=1
# Node would keep what it compiled in TMPDIR.
export NODE_DISABLE_COMPILE_CACHE=1
export TSAN_OPTIONS="suppressions='$supp/tsan.supp':second_deadlock_stack=1:log_path='$logs/reports/tsan'"

say() { echo "== $1 ($(($(date +%s) - start)) s)"; }

# build FOLDER [meson options]
build() {
    folder=$1
    shift
    tools/configure.sh "$folder" "$@" && ninja -C "$folder" >"$logs/$folder.build.log" 2>&1 || {
        grep -E 'error|FAILED' "$logs/$folder.build.log" | head -n 40 >&2
        return 1
    }
}

# The sanitizers of gcc 12 and clang 14 know less randomness in addresses than newer kernels have: none where one may choose.
fixed="setarch $(uname -m) -R"
$fixed true 2>/dev/null || fixed=""

# run FOLDER [meson test options]: its tests; what failed is printed with its output
run() {
    folder=$1
    shift
    $fixed meson test -C "$folder" --no-rebuild --print-errorlogs --num-processes 3 "$@" >"$logs/$folder.test.log" 2>&1
    code=$?
    cp "$folder/meson-logs/testlog.json" "$logs/$folder.json" || return 1
    [ $code = 0 ] || grep -vE '^(ninja|  *[0-9]+/[0-9]+ .* OK )' "$logs/$folder.test.log"
    return $code
}

stage() {
    case $1 in
    plain) build build && run build ;;
    check) build build && tools/check.sh build ;;
    clang) CC=clang build build-clang ;;
    asan) CC=clang build build-asan -Db_lundef=false -Db_sanitize=address,undefined && run build-asan --no-suite slow -t 4 ;;
    tsan) CC=clang build build-tsan -Db_lundef=false -Db_sanitize=thread && run build-tsan --no-suite slow -t 4 ;;
    fuzz) tools/fuzz.sh --smoke ;;
    *) echo "test: there is no stage $1" >&2; return 1 ;;
    esac
}

for name in $stages; do
    say "$name"
    result=passed
    stage "$name" || result=failed
    echo "$name $result" >>"$logs/stages"
done
say done
python3 tools/test_report.py "$logs"
