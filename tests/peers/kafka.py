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
import hashlib
import pathlib
import socket
import subprocess
import sys
import tempfile

from peer import PATIENCE, Peer, Server, cache, free_ports, locked, main

VERSION = "4.1.0"
DIGEST = "c35e55bf04c431ff79b6c38fc206cca8f1c205041e14e948f35b92ae2525937c"  # of the lines "sha256  name", by name

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>deeplens</groupId><artifactId>kafka-for-tests</artifactId><version>1</version>
<dependencies><dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
<version>{VERSION}</version></dependency></dependencies></project>
"""


def digest(folder: pathlib.Path) -> str:
    lines = hashlib.sha256()
    for jar in sorted(folder.glob("*.jar"), key=lambda path: path.name):
        lines.update(f"{hashlib.sha256(jar.read_bytes()).hexdigest()}  {jar.name}\n".encode())
    return lines.hexdigest()


def fetch() -> pathlib.Path:
    """The folder of the jars. A folder that is there was checked when it was made: it got its name last."""
    folder = cache() / f"kafka-{VERSION}"
    if folder.is_dir():
        return folder
    with locked(folder.name), tempfile.TemporaryDirectory(prefix="kafka-", dir=cache()) as work:
        if folder.is_dir():
            return folder
        pathlib.Path(work, "pom.xml").write_text(POM)
        jars = pathlib.Path(work, "jars")
        subprocess.run(["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={jars}"], cwd=work,
                       check=True, stdout=sys.stderr)
        if digest(jars) != DIGEST:
            raise RuntimeError(f"the jars of Kafka {VERSION} are not those that are expected: {digest(jars)}")
        jars.rename(folder)
    return folder


class Broker(Server):
    def __init__(self, folder: pathlib.Path, number: int, ports: tuple, voters: str, replication: int, extra: dict):
        super().__init__(folder)
        self.port = ports[0]
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
        self.launch(self.java("kafka.Kafka", self.config))
        (self.folder / "pid").write_text(str(self.process.pid))
        if wait:
            self.wait()
        return self

    def wait(self):
        self.wait_until(self.listens)

    def listens(self) -> bool:
        """It does so when it is ready to serve."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        except OSError:
            return False


class Kafka(Peer):
    """Brokers of one cluster. `folder` is made; who gives none gets one that is removed at the end."""

    def __init__(self, folder=None, brokers=1, **extra):
        folder = self.give_folder(folder, "kafka")
        ports = free_ports(2 * brokers)
        voters = ",".join(f"{i + 1}@127.0.0.1:{ports[2 * i + 1]}" for i in range(brokers))
        names = {name.replace("_", "."): value for name, value in extra.items()}
        self.brokers = [Broker(folder / f"broker-{i + 1}", i + 1, tuple(ports[2 * i:2 * i + 2]), voters,
                               min(brokers, 3), names) for i in range(brokers)]
        self.address = ",".join(f"127.0.0.1:{broker.port}" for broker in self.brokers)
        self.formatted = False

    @property
    def servers(self) -> list:
        return self.brokers

    @property
    def environment(self) -> dict:
        return {"DEEPLENS_TEST_KAFKA": self.address}

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


if __name__ == "__main__":
    sys.exit(main("Kafka", __doc__, lambda folder, given: Kafka(folder, brokers=given.brokers), fetch,
                  lambda parser: parser.add_argument("--brokers", type=int, default=1)))
