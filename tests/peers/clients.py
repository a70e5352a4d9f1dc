#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Other people's Kafka clients, for tests: confluent-kafka for Python, kafka-clients for Java, kcat.

  clients.py fetch             makes the virtual environment (once, in ${XDG_CACHE_HOME:-~/.cache}/deeplens, pinned)

Java's client comes with the broker's jars (kafka.py), kcat from the distribution (tools/deps.sh). A test that needs
confluent-kafka or jsonschema calls enter(), which starts it again under the interpreter that has them. Each producer has
produce(topic, key, value, headers), which waits until the brokers have the record, and close().
"""
import base64
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import kafka
import peer
from peer import PATIENCE

PACKAGES = ["confluent-kafka==2.16.1", "jsonschema==4.25.1", "attrs==26.1.0", "jsonschema-specifications==2025.9.1",
            "referencing==0.37.0", "rpds-py==2026.9.1", "typing_extensions==4.16.0"]


def python() -> pathlib.Path:
    """An interpreter that has the packages: in a virtual environment in the cache, made once."""
    return peer.environment("venv-kafka", PACKAGES, "--no-deps") / "bin/python3"


def enter():
    """Goes on under that interpreter, with the same arguments."""
    peer.enter(python().parent.parent)


class Python:
    """confluent-kafka, told to place keys as Java's client does."""

    def __init__(self, address):
        import confluent_kafka
        self.producer = confluent_kafka.Producer({"bootstrap.servers": address, "partitioner": "murmur2_random",
                                                  "message.max.bytes": 64 << 20, "log_level": 0})

    def produce(self, topic, key, value, headers=None):
        placed = []

        def done(error, message):
            placed.append(error or (message.partition(), message.offset()))
        self.producer.produce(topic, value, key, headers=headers, on_delivery=done)
        self.producer.flush(PATIENCE)
        if not placed or not isinstance(placed[0], tuple):
            raise RuntimeError(f"not produced: {placed}")
        return placed[0]

    def close(self):
        self.producer = None


class Java:
    """kafka-clients, in a process of its own (Client.java)."""

    def __init__(self, address):
        source = pathlib.Path(__file__).resolve().parent / "Client.java"
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(["java", "-Xmx768m", "-XX:+UseSerialGC", "-cp", f"{kafka.fetch()}/*", source, address],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True)

    def produce(self, topic, key, value, headers=None):
        line = {"topic": topic, "key": key, "value": base64.b64encode(value).decode(), "headers": headers or {}}
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            self.log.seek(0)
            raise RuntimeError("Java's client failed: " + self.log.read().decode(errors="replace")[-3000:])
        return tuple(map(int, answer.split()))

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(PATIENCE)
        self.log.close()


class Kcat:
    """kcat, a process a record; it does not tell where the record is."""

    def __init__(self, address):
        self.address = address

    def produce(self, topic, key, value, headers=None):
        with tempfile.NamedTemporaryFile(prefix="deeplens-kcat-") as file:
            file.write(value)
            file.flush()
            command = ["kcat", "-q", "-P", "-b", self.address, "-t", topic, "-X", "message.max.bytes=67108864",
                       "-X", "partitioner=murmur2_random"]
            command += ["-k", key] if key else []
            for name, text in (headers or {}).items():
                command += ["-H", f"{name}={text}"]
            subprocess.run([*command, file.name], check=True, timeout=PATIENCE, capture_output=True)

    def close(self):
        pass


PRODUCERS = {"confluent-kafka": Python, "kafka-clients": Java, "kcat": Kcat}


def consume(address, topics, enough, **settings):
    """Reads the topics from their beginning until enough(records) says so; records are (topic, key, value, headers)."""
    import confluent_kafka
    consumer = confluent_kafka.Consumer({
        "bootstrap.servers": address, "group.id": f"reader-{os.getpid()}-{time.monotonic_ns()}",
        "auto.offset.reset": "earliest", "enable.auto.commit": False, "fetch.message.max.bytes": 64 << 20,
        "receive.message.max.bytes": 128 << 20, **settings})
    records, end = [], time.monotonic() + PATIENCE
    try:
        consumer.subscribe(topics)
        while not enough(records):
            if time.monotonic() > end:
                raise RuntimeError(f"read in vain: {len(records)} records")
            message = consumer.poll(0.2)
            if message is not None and not message.error():
                headers = {name: (value or b"").decode() for name, value in message.headers() or []}
                records.append((message.topic(), message.key() and message.key().decode(), message.value(), headers))
        return records
    finally:
        consumer.close()


if __name__ == "__main__":
    if sys.argv[1:] != ["fetch"]:
        sys.exit(__doc__)
    print(python())
