#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the tree to its layers: which folder of src/ may include which. Exits 1 and names each line that reaches too far."""
import pathlib
import re
import sys

# Folder → the folders (or single files) that its files may include. A file may always include its own folder.
ALLOWED = {
    "base": [],
    "conf": ["base"],
    "net": ["base"],
    "obs": ["base", "net"],
    "ports": ["base"],
    "events": ["base"],
    "media": ["base"],
    "http": ["base"],
    "flow": ["ports", "events", "media", "base", "obs", "net"],
    "api": ["flow", "http", "ports", "events", "media", "base", "obs"],
    "backends": ["ports", "base", "net", "conf/conf.h"],
    "cli": ["api", "flow", "http", "ports", "events", "media", "base", "obs", "conf", "backends/registry.h"],
    "main.c": ["cli", "conf", "base"],
}
# Back ends do not know each other, but for the log that lives in the database.
BACKENDS = {"eventlog": ["backends/meta/sqlite_int.h"]}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def may(source: pathlib.PurePath, target: str) -> bool:
    top = source.parts[0]
    if not target.startswith(top + "/") or top == "main.c":
        return any(target == a or target.startswith(a + "/") for a in ALLOWED[top])
    if top == "backends" and len(source.parts) > 2:
        port = source.parts[1]
        return target.startswith(f"backends/{port}/") or target in BACKENDS.get(port, [])
    return True


def main() -> int:
    src = pathlib.Path(__file__).resolve().parent.parent / "src"
    bad = []
    for path in sorted(src.rglob("*.[ch]")):
        source = path.relative_to(src)
        if source.parts[0] not in ALLOWED:
            bad.append(f"src/{source}: this folder has no place in the layers")
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            if match and not may(source, match.group(1)):
                bad.append(f"src/{source}:{number}: may not include {match.group(1)}")
    print("\n".join(bad) if bad else "layers: ok")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
