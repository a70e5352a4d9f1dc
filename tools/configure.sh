#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Sets a build folder up with Meson, or changes its options: tools/configure.sh FOLDER [meson options].
set -eu
folder=$1
shift
if [ -f "$folder/build.ninja" ]; then
    [ $# = 0 ] || meson configure "$folder" "$@"
    exit 0
fi
for tool in meson ninja pkg-config; do
    command -v $tool >/dev/null || { echo "configure: $tool is missing; \`make deps\` installs what is needed" >&2; exit 1; }
done
said=$(meson setup "$folder" "$@" 2>&1) || {
    echo "$said" | grep -E 'ERROR|Compiler' >&2
    echo "configure: failed; \`make deps\` installs what is needed ($folder/meson-logs/meson-log.txt tells more)" >&2
    exit 1
}
