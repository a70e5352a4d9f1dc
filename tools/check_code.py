#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the sources must hold to and no compiler looks at: check_code.py BUILD. Exits 1 and names each line.

- the SPDX line stands within the first two lines (BARE excepted)
- no function is longer than LONGEST lines (tables do not count: they are no functions)
- no banned function is called (but for tests: their input is their own)
- no unfinished marks
- every C file is built, so that none rots unseen
"""
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("src", "tests", "bench", "tools", "demo", "completion", "docs", "schemas", ".ci")
TOP = (".clang-format", ".clang-tidy", ".gitignore", "CONTRIBUTING.md", "Makefile", "README.md", "meson.build", "meson_options.txt")
LONGEST = 80
BANNED = {
    "strcpy": "snprintf", "strcat": "struct buf", "strncpy": "snprintf", "strncat": "struct buf",
    "sprintf": "snprintf", "vsprintf": "vsnprintf", "gets": "getline", "strtok": "strtok_r", "atoi": "strtol",
    "atol": "strtol", "atoll": "strtoll",
    "atof": "strtod", "alloca": "an arena", "system": "posix_spawn", "popen": "posix_spawn", "tmpnam": "mkstemp", "mktemp": "mkstemp",
    "rand": "randombytes_uniform",
}
CALL = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\(")
MARK = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
# Data of tests and tools that cannot carry a comment, or are taken whole.
BARE = ("docs/images/", "tests/fuzz/seeds/", "tools/models/ranges/", "tools/models/sums.json")


def files():
    for folder in FOLDERS:
        yield from sorted(p for p in (ROOT / folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    yield from (ROOT / name for name in TOP)


def without_text(line):
    """The line without comments and string literals."""
    line = re.sub(r'"(?:[^"\\]|\\.)*"', '""', line)
    return re.sub(r"//.*|/\*.*?\*/", "", line)


def functions(lines):
    """(name, line, length) of each function: clang-format puts its braces alone at the line's start."""
    opened = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            opened = number
        elif line == "}" and opened:
            head = " ".join(lines[max(0, opened - 8):opened - 1])
            names = re.findall(r"(\w+)\(", head)
            yield (names[-1] if names else "?"), opened, number - opened - 1
            opened = None


def check_c(path, name, lines):
    for function, number, length in functions(lines):
        if length > LONGEST:
            yield f"{name}:{number}: {function}() has {length} lines, more than {LONGEST}"
    for number, line in enumerate(lines if name.parts[0] != "tests" else [], 1):
        for match in CALL.finditer(without_text(line)):
            yield f"{name}:{number}: {match[1]}() is banned, take {BANNED[match[1]]}"


def check_file(path):
    name = path.relative_to(ROOT)
    bare = str(name).startswith(BARE)
    try:
        lines = path.read_text().splitlines()
    except UnicodeDecodeError:
        if not bare:
            yield f"{name}: no text"
        return
    if not bare and not any("SPDX-License-Identifier: Apache-2.0" in line for line in lines[:2]):
        yield f"{name}: no SPDX line"
    for number, line in enumerate(lines, 1):
        if MARK.search(line) and path.name != "check_code.py":
            yield f"{name}:{number}: an unfinished mark"
    if path.suffix in (".c", ".h"):
        yield from check_c(path, name, lines)


def check_built(build):
    """Fuzzers are built by `make fuzz` alone."""
    commands = json.loads((build / "compile_commands.json").read_text())
    built = {(pathlib.Path(c["directory"]) / c["file"]).resolve() for c in commands}
    for folder in ("src", "tests", "bench", "demo"):
        for path in sorted((ROOT / folder).rglob("*.c")):
            if path not in built and path.parent != ROOT / "tests" / "fuzz":
                yield f"{path.relative_to(ROOT)}: no meson.build names it"


def main():
    bad = [line for path in files() for line in check_file(path)]
    bad += check_built(pathlib.Path(sys.argv[1]).resolve())
    print("\n".join(bad) if bad else "code: ok")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
