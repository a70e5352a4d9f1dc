#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The library of Standard Webhooks, for tests.

  webhooks.py fetch            makes its virtual environment (once, in ${XDG_CACHE_HOME:-~/.cache}/deeplens, pinned)

A test that needs it calls enter(), which starts it again under the interpreter that has it.
"""
import fcntl
import os
import pathlib
import subprocess
import sys

PACKAGE = "standardwebhooks==1.1.0"


def python() -> pathlib.Path:
    """An interpreter that has it: in a virtual environment in the cache, made once."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "deeplens"
    home = cache / ("venv-" + PACKAGE.replace("==", "-"))
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "venv-webhooks.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "made").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True, stdout=sys.stderr)
            subprocess.run([home / "bin/pip", "install", "-q", "--no-deps", PACKAGE], check=True, stdout=sys.stderr)
            (home / "made").touch()
    return home / "bin/python3"


def enter():
    """Goes on under that interpreter, with the same arguments."""
    wanted = python()
    if pathlib.Path(sys.executable) != wanted:
        os.execv(wanted, [str(wanted), *sys.argv])


if __name__ == "__main__":
    if sys.argv[1:] != ["fetch"]:
        sys.exit(__doc__)
    print(python())
