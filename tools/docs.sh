#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Writes the pages that are made from tables in the code: tools/docs.sh BUILD; with --check it only compares them.
set -eu
build=$1
mode=${2:-}
cd "$(dirname "$0")/.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
page() {
    { echo "<!-- SPDX-License-Identifier: Apache-2.0 -->" && "$build/deeplens" help "$1"; } >"$out/$2"
}
page --markdown CLI.md
page --configuration CONFIGURATION.md
page --metrics METRICS.md
page --errors ERRORS.md
for page in "$out"/*.md; do
    name=docs/$(basename "$page")
    if [ "$mode" = --check ]; then
        cmp -s "$page" "$name" || { echo "docs: $name is stale" >&2; exit 1; }
    else
        cp "$page" "$name"
    fi
done
