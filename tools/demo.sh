#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The first minute with DeepLens: tools/demo.sh BUILD
# Starts a server with a fresh data directory, uploads the photos that Debian's packages ship with copies of them, searches with
# pictures that were not uploaded, and shows what was found. With EVENTLOG=kafka on a broker of its own. Everything stands in BUILD/demo; nothing keeps running.
set -eu
build=${1:?usage: tools/demo.sh BUILD}
demo=$build/demo
server= broker= on_kafka=
peer=$(dirname "$0")/../tests/peers/kafka.py

say() { printf '%-11s %s\n' "$1" "$2"; }

fail() {
    echo "demo: $1" >&2
    exit 1
}

# The server drains on TERM; what has not ended after ten seconds is killed.
stop_server() {
    [ -n "$server" ] || return 0
    for signal in TERM TERM KILL; do
        kill -s "$signal" "$server" 2>/dev/null || break
        for _ in $(seq 50); do
            sleep 0.1
            kill -0 "$server" 2>/dev/null || break 2
        done
    done
    server=
}

start_broker() {
    broker=$demo/kafka
    brokers=$(python3 "$peer" start "$broker") || fail "the broker did not start"
    on_kafka="--eventlog-backend kafka --kafka-brokers $brokers"
    say kafka "a broker at $brokers"
}

stop_all() {
    stop_server
    [ -z "$broker" ] || python3 "$peer" stop "$broker"
    broker=
}

# What the user has configured for a server of their own does not reach this one.
isolate() {
    for name in $(env | sed -n 's/^\(DEEPLENS_[A-Z0-9_]*\)=.*/\1/p'); do
        unset "$name"
    done
    export XDG_STATE_HOME="$demo/state" XDG_CONFIG_HOME="$demo/state"
}

list_photos() {
    for package in $("$(dirname "$0")/deps.sh" --list demo); do
        dpkg -L "$package" 2>/dev/null || true
    done | grep -iE '\.(jpe?g|png|webp)$' | while read -r file; do
        if [ -f "$file" ] && [ ! -L "$file" ]; then
            echo "$file"
        fi
    done
}

start_server() {
    "$build/deeplens" serve --data-dir "$demo/data" --http-listen 127.0.0.1:0 --http-drain-timeout 3s $on_kafka \
        >"$demo/server.out" 2>"$demo/server.log" &
    server=$!
    for _ in $(seq 150); do
        address=$(sed -n 's/.*answers at \(http[^ ]*\)$/\1/p' "$demo/server.out")
        [ -z "$address" ] || return 0
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    cat "$demo/server.log" >&2
    fail "the server did not start (see above)"
}

now() { date +%s.%N; }

upload() {
    before=$(now)
    "$build/deeplens" upload "$demo/items" --server "$address" --wait --no-resume --json >"$demo/upload.json" ||
        fail "the upload failed; $demo/upload.json and $demo/server.log tell more"
    seconds=$(echo "$(now) $before" | awk '{ print $1 - $2 }')
}

search() {
    for query in "$demo"/queries/*.jpg; do
        "$build/deeplens" search "$query" --server "$address" --top 5 --json >"$demo/results/$(basename "$query" .jpg).json" ||
            fail "the search with $query failed; $demo/server.log tells more"
    done
}

# What is found first by words, and what it shows.
search_words() {
    for text in "a mountain lake" "a flower" "an insect"; do
        "$build/deeplens" search --text "$text" --server "$address" --top 1 --json >"$demo/results/words.json" || return 0
        say words "\"$text\": $(python3 -c 'import json, sys
for hit in json.load(sys.stdin)["results"]:
    print(hit["fileName"], "shows:", ", ".join(tag["name"] for tag in hit["autoTags"]) or "nothing that has a name")' <"$demo/results/words.json")"
    done
    rm -f "$demo/results/words.json"
}

count() { find "$1" -mindepth 1 | wc -l; }

case ${EVENTLOG:-embedded} in embedded | kafka) ;; *) fail "EVENTLOG is embedded or kafka" ;; esac
trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
rm -rf "$demo"
mkdir -p "$demo/work" "$demo/items" "$demo/queries" "$demo/results" "$demo/state"
isolate

say photos "looking through the packages, making copies and queries (half a minute)"
list_photos >"$demo/photos.txt"
"$build/demo_photos" prepare "$demo" <"$demo/photos.txt" || fail "the pictures could not be prepared"
rm -rf "$demo/work"

[ "${EVENTLOG:-}" != kafka ] || start_broker
start_server
say server "$address, data in $demo/data"

say upload "$(count "$demo/items") photos, copies and parts; then all are made searchable"
upload
"$build/deeplens" ledger --server "$address" >"$demo/ledger.txt" || fail "the ledger does not close: $demo/ledger.txt"
say ledger "$(tail -n 1 "$demo/ledger.txt")"

say search "with $(count "$demo/queries") pictures that were not uploaded"
search
search_words
stop_all

found=0
"$build/demo_photos" report "$demo" "$seconds" || found=$?
if [ -f "$demo/contact.png" ]; then
    echo
    say look "$demo/index.html (every query), $demo/contact.png (one of each kind)"
    say "go on" "$build/deeplens serve --data-dir $demo/data"
fi
exit "$found"
