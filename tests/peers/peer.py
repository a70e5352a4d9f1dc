# SPDX-License-Identifier: Apache-2.0
"""What the peers of the tests share: the cache that keeps what they fetch, environments of Python's packages, servers that
are started, killed and started again, and the commands `fetch`, `run`, `start` and `stop` of their programs.
"""
import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

PATIENCE = 120  # seconds until a start or a stop is given up
SKIPPED = 77


class NotToBeHad(Exception):
    """There is no such peer for this machine, or what it is made of cannot be reached."""


def cache() -> pathlib.Path:
    folder = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "deeplens"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def locked(name: str):
    """One process at a time makes what the cache keeps under this name."""
    with open(cache() / f"{name}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def environment(name: str, packages: list, *flags, also=lambda home: None, pinned=None) -> pathlib.Path:
    """The folder of a virtual environment with those packages, made once; `packages` are pip's arguments, `pinned` what
    they stand for where they name a file. `also` makes what else is to be there. A folder with the right mark is whole:
    it got it last."""
    home = cache() / name
    text = pinned if pinned is not None else " ".join(packages)
    stamp = home / ("made-" + hashlib.sha256(text.encode()).hexdigest()[:16])
    with locked(name):
        if not stamp.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True, stdout=sys.stderr)
            subprocess.run([home / "bin/pip", "install", "-q", "--disable-pip-version-check", *flags, *packages], check=True,
                           stdout=sys.stderr)
            also(home)
            stamp.touch()
    return home


def enter(home: pathlib.Path):
    """Goes on under that environment's interpreter, with the same arguments."""
    wanted = home / "bin/python3"
    if pathlib.Path(sys.executable) != wanted:
        os.execv(wanted, [str(wanted), *sys.argv])


def free_ports(count: int) -> list:
    with contextlib.ExitStack() as all_of_them:
        sockets = [all_of_them.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]


class Server:
    """One process with a folder, which writes its output to `log` in there."""

    polite, hard = signal.SIGTERM, signal.SIGKILL
    grace = 20  # seconds from the one to SIGKILL

    def __init__(self, folder: pathlib.Path):
        self.folder, self.process = folder, None

    def launch(self, command: list, **more):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                                            **more)

    def wait_until(self, answers):
        """Until it is ready to serve, as `answers()` tells."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            if answers():
                return
            time.sleep(0.05)
        raise RuntimeError(f"{type(self).__name__} did not start:\n" +
                           (self.folder / "log").read_text(errors="replace")[-4000:])

    def stop(self, number=None):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number or self.polite)
            try:
                self.process.wait(self.grace)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(PATIENCE)
        self.process = None

    def kill(self):
        self.stop(self.hard)

    @property
    def servers(self) -> list:
        return [self]


class Peer:
    """What a test starts: one server or some, in a folder. Who gives none gets one that is removed at the end. Has
    servers, start(), kill(), address (what a person connects to) and environment (what a test connects by)."""

    def give_folder(self, folder, name: str) -> pathlib.Path:
        self.own = folder is None
        self.root = pathlib.Path(folder or tempfile.mkdtemp(prefix=f"deeplens-{name}-"))
        self.root.mkdir(parents=True, exist_ok=True)
        return self.root

    def remove(self):
        self.kill()
        if self.own:
            shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.remove()
            raise

    def __exit__(self, *_):
        self.remove()


def had_or_skip(name: str, fetch):
    """For a test's start: what fetch() gives; ends the program as skipped, with the reason as its last line, where there
    is none."""
    try:
        return fetch()
    except NotToBeHad as reason:
        print(f"there is no {name} to test with: {reason}", flush=True)
        sys.exit(SKIPPED)


def start(peer: Peer):
    peer.start()
    told = {"servers": [[server.process.pid, int(server.polite), int(server.hard)] for server in peer.servers]}
    (peer.root / "peer.json").write_text(json.dumps(told))
    print(peer.address)


def stop(folder: str):
    for pid, polite, hard in json.loads(pathlib.Path(folder, "peer.json").read_text())["servers"]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, polite)
            end = time.monotonic() + Server.grace
            while time.monotonic() < end:
                os.kill(pid, 0)
                time.sleep(0.05)
            os.kill(pid, hard)
    shutil.rmtree(folder, ignore_errors=True)


def main(name: str, doc: str, make, fetch, options=lambda parser: None) -> int:
    """A peer's program: make(folder, given) gives one that is not started, fetch() what it needs, options(parser) adds
    what `run` and `start` take besides, found in `given`."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = parser.add_subparsers(dest="what", required=True)
    sub.add_parser("fetch")
    for name in ("run", "start"):
        options(sub.add_parser(name))
    sub.choices["run"].add_argument("command", nargs=argparse.REMAINDER)
    sub.choices["start"].add_argument("folder")
    sub.add_parser("stop").add_argument("folder")
    given = parser.parse_args()
    if given.what == "fetch":
        print(fetch())
    elif given.what == "start":
        start(make(given.folder, given))
    elif given.what == "stop":
        stop(given.folder)
    else:
        had_or_skip(name, fetch)
        command = given.command[1:] if given.command[:1] == ["--"] else given.command
        with make(None, given) as peer:
            return subprocess.run(command, env={**os.environ, **peer.environment}, check=False).returncode
    return 0
