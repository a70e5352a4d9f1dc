#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing to build, test and demonstrate DeepLens on Debian 12 or later: by apt, with sudo when not root.
# tools/deps.sh [--list] [build] [test] [demo]: all three when none is said; --list only names the packages.
set -eu

build="build-essential meson ninja-build pkg-config python3 python3-yaml python3-venv python3-pip ca-certificates
  libmicrohttpd-dev libwslay-dev libcurl4-openssl-dev libsqlite3-dev libpq-dev librdkafka-dev libvips-dev libjansson-dev libsodium-dev libcmocka-dev libutf8proc-dev
  libavformat-dev libavcodec-dev libavutil-dev libswscale-dev libseccomp-dev"
test="postgresql ffmpeg clang clang-format clang-tidy llvm curl default-jdk-headless kcat maven"
demo="mate-backgrounds lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 lxqt-themes plasma-workspace-wallpapers"

list=""
[ "${1:-}" != --list ] || { list=yes; shift; }
[ $# != 0 ] || set -- build test demo
command -v dpkg-query >/dev/null || [ "$list" ] || {
    echo "deps: this is not Debian; please install what tools/deps.sh --list names" >&2
    exit 1
}

# The runtime of clang's sanitizers and fuzzer is a package of its own, named after clang's version. Which one is not
# known before the lists of packages are there, so it is asked for again after apt-get update.
clang_rt() {
    version=$(apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p' | head -n 1)
    echo "libclang-rt-${version:-14}-dev"
}

wanted() {
    for group in "$@"; do
        case $group in
        build) printf '%s\n' $build ;;
        test) printf '%s\n' $test "$(clang_rt)" ;;
        demo) printf '%s\n' $demo ;;
        *) echo "deps: there is no group $group" >&2; return 1 ;;
        esac
    done
}

missing() {
    for name in $(wanted "$@"); do
        dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || echo "$name"
    done
}

if [ "$list" ]; then
    wanted "$@" | sort -u
    exit 0
fi
names=$(missing "$@" | tr '\n' ' ')
[ "$names" ] || exit 0
echo "deps: installing $names"
as_root=""
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "deps: neither root nor sudo: please install them by hand" >&2; exit 1; }
    as_root="sudo env DEBIAN_FRONTEND=noninteractive"
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
{ $as_root apt-get update -q && $as_root apt-get install -qy --no-install-recommends $(missing "$@"); } >"$log" 2>&1 || {
    tail -n 30 "$log" >&2
    echo "deps: apt could not install them (see above)" >&2
    exit 1
}
