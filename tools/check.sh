#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What is checked without running: tools/check.sh BUILD [--quick]; --quick leaves out clang-tidy, which takes minutes.
set -u
build=$1
quick=${2:-}
cd "$(dirname "$0")/.."
failed=0
fail() { echo "check: $1" >&2; failed=1; }

for tool in clang-format clang-tidy; do
    command -v $tool >/dev/null || { echo "check: $tool is missing; \`make deps\` installs it" >&2; exit 1; }
done
sources() { find "$@" -name '*.[ch]' -print0; }

python3 tools/check_layers.py || fail "layers are crossed"
python3 tools/check_code.py "$build" || fail "see above"
sources src tests bench demo | xargs -0 clang-format --dry-run -Werror 2>&1 | grep 'error:' >&2 && fail "not formatted (make format)"
tools/docs.sh "$build" --check || fail "generated pages are stale (make docs)"
for script in .ci/run $(find tools tests bench demo -name '*.sh'); do
    sh -n "$script" || fail "$script is no shell script"
done

# GCC's compile_commands.json may hold flags that clang does not know.
tidy() {
    find src -name '*.c' -print0 | xargs -0 -P "$(nproc)" -n 4 clang-tidy --quiet -p "$build" \
        --extra-arg=-Wno-unknown-warning-option --extra-arg=-Wno-ignored-optimization-argument 2>/dev/null >"$build/tidy.log"
}
if [ "$quick" != --quick ]; then
    echo "check: clang-tidy (a few minutes)"
    tidy || { grep -E 'warning:|error:' "$build/tidy.log" | sort -u >&2; fail "clang-tidy found something"; }
fi
[ $failed = 0 ] && echo "check: ok"
exit $failed
