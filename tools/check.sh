#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What is checked without running: layers, SPDX lines, format, generated pages, and (slow) clang-tidy. tools/check.sh BUILD [--quick]
set -u
build=$1
quick=${2:-}
cd "$(dirname "$0")/.."
failed=0
fail() { echo "check: $1" >&2; failed=1; }

python3 tools/check_layers.py || fail "layers are crossed"

for file in $(git ls-files '*.c' '*.h' '*.def' '*.py' '*.sh' '*.build'); do
    head -n 2 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0' || fail "$file has no SPDX line"
done

for file in $(git ls-files '*.c' '*.h'); do
    clang-format --dry-run -Werror "$file" >/dev/null 2>&1 || fail "$file is not formatted (make format)"
done

tools/docs.sh "$build" --check || fail "generated pages are stale (make docs)"

if git grep -nE '\b(TODO|FIXME|XXX|HACK)\b' -- src tests tools bench >/dev/null; then
    git grep -nE '\b(TODO|FIXME|XXX|HACK)\b' -- src tests tools bench | grep -v 'tools/check.sh' && fail "unfinished marks"
fi

if [ "$quick" != --quick ]; then
    echo "check: clang-tidy (a few minutes)"
    git ls-files 'src/*.c' | xargs -P "$(nproc)" -n 4 clang-tidy --quiet -p "$build" 2>/dev/null >"$build/tidy.log" || {
        grep -E 'warning:|error:' "$build/tidy.log" | sort -u >&2
        fail "clang-tidy found something"
    }
fi
[ $failed = 0 ] && echo "check: ok"
exit $failed
