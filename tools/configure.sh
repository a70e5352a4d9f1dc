#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Sets a build folder up with Meson once: tools/configure.sh FOLDER [meson options].
set -eu
folder=$1
shift
[ -f "$folder/build.ninja" ] && exit 0
meson setup "$folder" "$@" >"${TMPDIR:-/tmp}/deeplens-configure.$$" 2>&1 || {
    cat "${TMPDIR:-/tmp}/deeplens-configure.$$" >&2
    rm -f "${TMPDIR:-/tmp}/deeplens-configure.$$"
    echo "configure: failed; does \`make deps\` help?" >&2
    exit 1
}
rm -f "${TMPDIR:-/tmp}/deeplens-configure.$$"
