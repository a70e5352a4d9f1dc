#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A real PostgreSQL for tests, on a free loopback port, in a folder of its own, run by an unprivileged user.

  postgres.py run [--synced] [--] COMMAND…
                                  runs COMMAND with DEEPLENS_TEST_POSTGRES=(what libpq connects by), and gives its exit
                                  code; 77, for "skipped", where there is no PostgreSQL. --synced: commits reach the disk
  postgres.py start DIR           starts one that stays, and prints what to connect by; DIR is to be new or empty
  postgres.py stop DIR            stops what was started there, and removes DIR

As a module: `with Postgres(folder) as postgres: postgres.conninfo`, kill(), stop(), start() in between, query() as its
superuser; standby() gives a second server that follows the first, promote() makes it one that takes writes. The program is Debian's (tools/deps.sh). Its databases sort by the rules of a language, as servers
elsewhere may do too.
"""
import argparse
import glob
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

PATIENCE = 120  # seconds until a start or a stop is given up
OLDEST = 14
USER, PASSWORD, DATABASE = "deeplens", "of-the-tests", "deeplens"


class NotToBeHad(Exception):
    """There is no PostgreSQL on this machine that is new enough."""


def programs() -> pathlib.Path:
    """The folder of the newest one's programs."""
    found = [(int(re.search(r"/(\d+)/bin/", path)[1]), path) for path in glob.glob("/usr/lib/postgresql/[0-9]*/bin/postgres")]
    if not found or max(found)[0] < OLDEST:
        raise NotToBeHad(f"PostgreSQL {OLDEST} or later is not installed (tools/deps.sh installs it)")
    return pathlib.Path(max(found)[1]).parent


def fetch_or_skip():
    """For a test's start: ends the program as skipped, with the reason as its last line, where there is none."""
    try:
        programs()
    except NotToBeHad as reason:
        print(f"there is no PostgreSQL to test with: {reason}", flush=True)
        sys.exit(77)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def unprivileged() -> dict:
    """How to start a process as somebody that PostgreSQL accepts: it refuses to be root."""
    if os.getuid():
        return {}
    for name in ("postgres", "nobody"):
        try:
            who = pwd.getpwnam(name)
            return {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}
        except KeyError:
            pass
    raise NotToBeHad("there is no unprivileged user to run it as")


def url(*servers, user=USER) -> str:
    """What to connect by to the one of them that takes writes."""
    return f"postgresql://{user}:{PASSWORD}@{','.join(f'127.0.0.1:{server.port}' for server in servers)}/{DATABASE}"


class Postgres:
    """One server. `folder` is made; who gives none gets one that is removed at the end. `settings` are its own."""

    def __init__(self, folder=None, **settings):
        self.own = folder is None
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="deeplens-postgres-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data, self.settings, self.process, self.primary = self.folder / "data", settings, None, None
        self.port = free_port()
        self.conninfo = f"host=127.0.0.1 port={self.port} dbname={DATABASE} user={USER} password={PASSWORD}"
        self.url = url(self)
        self.who = unprivileged()
        if self.who:
            os.chown(self.folder, self.who["user"], self.who["group"])

    @property
    def environment(self) -> dict:
        return {"DEEPLENS_TEST_POSTGRES": self.conninfo}

    def run(self, program, *arguments, **more):
        return subprocess.run([programs() / program, *map(str, arguments)], check=True, capture_output=True, text=True,
                              cwd="/", env={**os.environ, "PGPASSWORD": PASSWORD, "LC_ALL": "C.UTF-8"}, **more).stdout

    def make(self):
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self.run("initdb", "-D", self.data, "-U", "postgres", "--pwfile", secret, "-A", "scram-sha-256", "-E", "UTF8",
                 "--locale-provider=icu", "--icu-locale=en-US", "--no-sync", **self.who)

    def copy(self):
        """The primary's data, and the setting to follow it."""
        self.run("pg_basebackup", "-D", self.data, "-R", "-X", "stream", "-c", "fast", "--no-sync", "-h", "127.0.0.1", "-p",
                 self.primary.port, "-U", "postgres", **self.who)

    def standby(self, folder=None) -> "Postgres":
        """A server that follows this one, which from now on confirms nothing that the other does not have."""
        standby = Postgres(folder, **self.settings)
        standby.primary = self
        standby.start()
        self.query("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.query("SELECT pg_reload_conf()")
        return standby

    def promote(self):
        self.query("SELECT pg_promote()")

    def query(self, sql, database=DATABASE) -> str:
        """What psql prints, as superuser."""
        return self.run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", self.port, "-U", "postgres",
                        "-d", database, "-c", sql).strip()

    def answers(self) -> bool:
        try:
            return self.query("SELECT 1", "postgres") == "1"
        except subprocess.CalledProcessError:
            return False

    def start(self):
        new = not self.data.exists()
        if new:
            self.copy() if self.primary else self.make()
        # What fsync is for, a machine that loses power, no test makes happen.
        settings = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "", "fsync": "off",
                    "logging_collector": "off", **self.settings}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([programs() / "postgres", "-D", self.data, *options], stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL, start_new_session=True, cwd="/", **self.who)
        end = time.monotonic() + PATIENCE
        while not self.answers():
            if time.monotonic() > end or self.process.poll() is not None:
                raise RuntimeError("PostgreSQL did not start:\n" + (self.folder / "log").read_text(errors="replace")[-4000:])
            time.sleep(0.05)
        if new and not self.primary:
            self.query(f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'", "postgres")
            self.query(f"CREATE DATABASE {DATABASE} OWNER {USER}", "postgres")
        return self

    def stop(self, number=signal.SIGINT):
        """SIGINT: its fast shutdown; SIGQUIT: its crash, without a word to the disk."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(PATIENCE)
        self.process = None

    def kill(self):
        self.stop(signal.SIGQUIT)

    def remove(self):
        self.kill()
        if self.own:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.remove()
            raise

    def __exit__(self, *_):
        self.remove()


def run(command: list, synced: bool) -> int:
    fetch_or_skip()
    with Postgres(**({"fsync": "on"} if synced else {})) as postgres:
        return subprocess.run(command, env={**os.environ, **postgres.environment}, check=False).returncode


def start(folder: str):
    postgres = Postgres(folder)
    postgres.start()
    (postgres.folder / "peer.json").write_text(json.dumps({"pids": [postgres.process.pid]}))
    print(postgres.conninfo)


def stop(folder: str):
    for pid in json.loads(pathlib.Path(folder, "peer.json").read_text())["pids"]:
        try:
            os.kill(pid, signal.SIGINT)
            end = time.monotonic() + 30
            while time.monotonic() < end:
                os.kill(pid, 0)
                time.sleep(0.05)
            os.kill(pid, signal.SIGQUIT)
        except ProcessLookupError:
            pass
    shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = parser.add_subparsers(dest="what", required=True)
    runs = sub.add_parser("run")
    runs.add_argument("--synced", action="store_true")
    runs.add_argument("command", nargs=argparse.REMAINDER)
    for name in ("start", "stop"):
        sub.add_parser(name).add_argument("folder")
    given = parser.parse_args()
    if given.what == "run":
        return run(given.command[1:] if given.command[:1] == ["--"] else given.command, given.synced)
    if given.what == "start":
        start(given.folder)
    else:
        stop(given.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
