#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing to build, test and demonstrate DeepLens on Debian 12 or later: by apt, with sudo when not root.
# `tools/deps.sh --list` only names the packages.
set -eu

build="build-essential meson ninja-build pkg-config python3 python3-yaml
  libmicrohttpd-dev libcurl4-openssl-dev libsqlite3-dev libvips-dev libjansson-dev libsodium-dev libcmocka-dev"
check="clang clang-format clang-tidy libclang-rt-dev"
use="curl python3-venv ca-certificates"
photos="mate-backgrounds gnome-backgrounds ukui-wallpapers"

# The runtime of clang's sanitizers is a package of its own, named after clang's version.
clang_rt() {
    version=$(apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p' | head -n 1)
    echo "libclang-rt-${version:-14}-dev"
}

wanted() {
    for name in $build $check $use $photos; do
        [ "$name" = libclang-rt-dev ] && name=$(clang_rt)
        echo "$name"
    done
}

if [ "${1:-}" = --list ]; then
    wanted
    exit 0
fi
command -v dpkg-query >/dev/null || { echo "deps: this is not Debian; install the packages that tools/deps.sh --list names" >&2; exit 1; }

missing() {
    for name in $(wanted); do
        dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || echo "$name"
    done
}

names=$(missing | tr '\n' ' ')
[ -n "${names% }" ] || exit 0
echo "deps: installing $names"
sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
{ $sudo apt-get update -q && $sudo apt-get install -qy --no-install-recommends $(missing); } >"$log" 2>&1 || {
    tail -n 30 "$log" >&2
    echo "deps: apt could not install them (see above)" >&2
    exit 1
}
