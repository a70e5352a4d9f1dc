#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Writes the pages that are made from tables in the code: tools/docs.sh BUILD; with --check it only compares them.
set -eu
build=$1
mode=${2:-}
cd "$(dirname "$0")/.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
"$build/deeplens" help --markdown >"$out/CLI.md"
"$build/deeplens" help --configuration >"$out/CONFIGURATION.md"
"$build/deeplens" help --metrics >"$out/METRICS.md"
"$build/deeplens" help --errors >"$out/ERRORS.md"
for page in "$out"/*.md; do
    name=docs/$(basename "$page")
    if [ "$mode" = --check ]; then
        cmp -s "$page" "$name" || { echo "docs: $name is stale" >&2; exit 1; }
    else
        cp "$page" "$name"
    fi
done
