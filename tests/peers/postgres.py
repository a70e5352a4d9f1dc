#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A real PostgreSQL for tests, on a free loopback port, in a folder of its own, run by an unprivileged user.

  postgres.py run [--synced] [--] COMMAND…
                                  runs COMMAND with DEEPLENS_TEST_POSTGRES=(what libpq connects by), and gives its exit
                                  code; 77, for "skipped", where there is no PostgreSQL. --synced: commits reach the disk
  postgres.py start DIR           starts one that stays, and prints what to connect by; DIR is to be new or empty
  postgres.py stop DIR            stops what was started there, and removes DIR

As a module: `with Postgres(folder) as postgres: postgres.address`, kill(), stop(), start() in between, query() as its
superuser; standby() gives a second server that follows the first, promote() makes it one that takes writes. The program is Debian's (tools/deps.sh). Its databases sort by the rules of a language, as servers
elsewhere may do too.
"""
import glob
import os
import pathlib
import pwd
import re
import signal
import subprocess
import sys

from peer import NotToBeHad, Peer, Server, free_ports, main

OLDEST = 14
USER, PASSWORD, DATABASE = "deeplens", "of-the-tests", "deeplens"


def programs() -> pathlib.Path:
    """The folder of the newest one's programs."""
    found = [(int(re.search(r"/(\d+)/bin/", path)[1]), path) for path in glob.glob("/usr/lib/postgresql/[0-9]*/bin/postgres")]
    if not found or max(found)[0] < OLDEST:
        raise NotToBeHad(f"PostgreSQL {OLDEST} or later is not installed (tools/deps.sh installs it)")
    return pathlib.Path(max(found)[1]).parent


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


class Postgres(Peer, Server):
    """One server. `folder` is made; who gives none gets one that is removed at the end. `settings` are its own."""

    polite, hard = signal.SIGINT, signal.SIGQUIT  # its fast shutdown; its crash, without a word to the disk
    grace = 30

    def __init__(self, folder=None, **settings):
        super().__init__(self.give_folder(folder, "postgres"))
        self.data, self.settings, self.primary = self.folder / "data", settings, None
        self.port, = free_ports(1)
        self.address = f"host=127.0.0.1 port={self.port} dbname={DATABASE} user={USER} password={PASSWORD}"
        self.url = url(self)
        self.who = unprivileged()
        if self.who:
            os.chown(self.folder, self.who["user"], self.who["group"])

    @property
    def environment(self) -> dict:
        return {"DEEPLENS_TEST_POSTGRES": self.address}

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
        self.launch([programs() / "postgres", "-D", self.data, *options], cwd="/", **self.who)
        self.wait_until(self.answers)
        if new and not self.primary:
            self.query(f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'", "postgres")
            self.query(f"CREATE DATABASE {DATABASE} OWNER {USER}", "postgres")
        return self


if __name__ == "__main__":
    sys.exit(main("PostgreSQL", __doc__, lambda folder, given: Postgres(folder, **({"fsync": "on"} if given.synced else {})),
                  programs, lambda parser: parser.add_argument("--synced", action="store_true")))
