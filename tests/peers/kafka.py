#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real Kafka brokers for tests: one, or a cluster of three, on free loopback ports, in a folder of their own.

  kafka.py fetch               fetches the jars (once, into ${XDG_CACHE_HOME:-~/.cache}/deeplens, pinned and checked)
  kafka.py run [--brokers N] [--] COMMAND…
                               runs COMMAND with DEEPLENS_TEST_KAFKA=HOST:PORT,… and gives its exit code
  kafka.py start [--brokers N] DIR
                               starts brokers that stay, and prints their addresses; DIR is to be new or empty
  kafka.py stop DIR            stops what was started there, and removes DIR

As a module: `with Kafka(folder) as kafka: kafka.address`, and kill(), stop(), start() of a single broker in between.
Needs Java 17 and Maven (tools/deps.sh).
"""
import argparse
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

VERSION = "4.1.0"
JARS = 45
DIGEST = "c35e55bf04c431ff79b6c38fc206cca8f1c205041e14e948f35b92ae2525937c"  # of the lines "sha256  name", by name
PATIENCE = 120  # seconds until a start or a stop is given up

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>deeplens</groupId><artifactId>kafka-for-tests</artifactId><version>1</version>
<dependencies><dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
<version>{VERSION}</version></dependency></dependencies></project>
"""


def cache() -> pathlib.Path:
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "deeplens"


def digest(folder: pathlib.Path) -> str:
    lines = hashlib.sha256()
    for jar in sorted(folder.glob("*.jar"), key=lambda path: path.name):
        lines.update(f"{hashlib.sha256(jar.read_bytes()).hexdigest()}  {jar.name}\n".encode())
    return lines.hexdigest()


def fetch() -> pathlib.Path:
    """The folder of the jars. A folder that is there was checked when it was made: it got its name last."""
    folder = cache() / f"kafka-{VERSION}"
    if folder.is_dir() and len(list(folder.glob("*.jar"))) == JARS:
        return folder
    cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kafka-", dir=cache()) as work:
        pathlib.Path(work, "pom.xml").write_text(POM)
        jars = pathlib.Path(work, "jars")
        subprocess.run(["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={jars}"], cwd=work,
                       check=True, stdout=sys.stderr)
        if digest(jars) != DIGEST:
            raise RuntimeError(f"the jars of Kafka {VERSION} are not those that are expected: {digest(jars)}")
        if not folder.exists():
            jars.rename(folder)
    return folder


def free_ports(count: int) -> list:
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Broker:
    def __init__(self, folder: pathlib.Path, number: int, ports: tuple, voters: str, replication: int, extra: dict):
        self.folder, self.port, self.process = folder, ports[0], None
        folder.mkdir(parents=True)
        properties = {
            "process.roles": "broker,controller",
            "node.id": number,
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://127.0.0.1:{ports[0]},CONTROLLER://127.0.0.1:{ports[1]}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{ports[0]}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "log.dirs": folder / "data",
            "offsets.topic.replication.factor": replication,
            "offsets.topic.num.partitions": 8,
            "transaction.state.log.replication.factor": replication,
            "transaction.state.log.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            "min.insync.replicas": 2 if replication > 1 else 1,
            "group.min.session.timeout.ms": 1000,
            "log.initial.task.delay.ms": 86400000,  # tests publish records of 1970: retention is not to remove them
            **extra,
        }
        self.config = folder / "server.properties"
        self.config.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))

    def java(self, main: str, *arguments) -> list:
        return ["java", "-Xmx384m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=4", "-cp", f"{fetch()}/*",
                main, *map(str, arguments)]

    def format(self, cluster: str):
        subprocess.run(self.java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", self.config), check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=PATIENCE)

    def start(self, wait=True):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(self.java("kafka.Kafka", self.config), stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL, start_new_session=True)
        (self.folder / "pid").write_text(str(self.process.pid))
        if wait:
            self.wait()
        return self

    def wait(self):
        """Until it listens: it does so when it is ready to serve."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("the broker did not start:\n" + (self.folder / "log").read_text(errors="replace")[-4000:])

    def stop(self, number=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(PATIENCE)
        self.process = None

    def kill(self):
        self.stop(signal.SIGKILL)


class Kafka:
    """Brokers of one cluster. `folder` is made; who gives none gets one that is removed at the end."""

    def __init__(self, folder=None, brokers=1, **extra):
        self.own = folder is None
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="deeplens-kafka-"))
        ports = free_ports(2 * brokers)
        voters = ",".join(f"{i + 1}@127.0.0.1:{ports[2 * i + 1]}" for i in range(brokers))
        names = {name.replace("_", "."): value for name, value in extra.items()}
        self.brokers = [Broker(self.folder / f"broker-{i + 1}", i + 1, tuple(ports[2 * i:2 * i + 2]), voters,
                               min(brokers, 3), names) for i in range(brokers)]
        self.address = ",".join(f"127.0.0.1:{broker.port}" for broker in self.brokers)
        self.formatted = False

    def start(self):
        if not self.formatted:
            cluster = "ZGVlcGxlbnMtdGVzdHMtMQ"
            for broker in self.brokers:
                broker.format(cluster)
            self.formatted = True
        for broker in self.brokers:
            broker.start(wait=False)
        for broker in self.brokers:
            broker.wait()
        return self

    def stop(self):
        for broker in self.brokers:
            broker.stop()

    def kill(self):
        for broker in self.brokers:
            broker.kill()

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


def run(brokers: int, command: list) -> int:
    with Kafka(brokers=brokers) as kafka:
        return subprocess.run(command, env={**os.environ, "DEEPLENS_TEST_KAFKA": kafka.address}, check=False).returncode


def start(brokers: int, folder: str):
    kafka = Kafka(folder, brokers=brokers)
    kafka.start()
    (kafka.folder / "peer.json").write_text(json.dumps({"pids": [b.process.pid for b in kafka.brokers]}))
    print(kafka.address)


def stop(folder: str):
    for pid in json.loads(pathlib.Path(folder, "peer.json").read_text())["pids"]:
        try:
            os.kill(pid, signal.SIGTERM)
            end = time.monotonic() + 20
            while time.monotonic() < end:
                os.kill(pid, 0)
                time.sleep(0.05)
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = parser.add_subparsers(dest="what", required=True)
    sub.add_parser("fetch")
    for name in ("run", "start", "stop"):
        one = sub.add_parser(name)
        if name != "stop":
            one.add_argument("--brokers", type=int, default=1)
        if name == "run":
            one.add_argument("command", nargs=argparse.REMAINDER)
        else:
            one.add_argument("folder")
    given = parser.parse_args()
    if given.what == "run":
        command = given.command[1:] if given.command[:1] == ["--"] else given.command
        return run(given.brokers, command)
    if given.what == "start":
        start(given.brokers, given.folder)
    elif given.what == "stop":
        stop(given.folder)
    else:
        print(fetch())
    return 0


if __name__ == "__main__":
    sys.exit(main())
