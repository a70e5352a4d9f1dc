#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""After an outage of Kafka: recovery.py BUILD [--short]. A broker is killed while photos are uploaded, and started again: from
the moment that it takes connections, how long until readiness is back, until all that waited is on the topics, and until
all groups have caught up. Needs what tests/peers/kafka.py needs. Prints a line of JSON a figure, as bench/run.sh wants them."""
import json
import os
import pathlib
import socket
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "e2e"), str(ROOT / "tests" / "peers")]
sys.dont_write_bytecode = True
import harness  # noqa: E402
from kafka import Kafka  # noqa: E402

UPLOADS = 200


def figure(name: str, values: list):
    print(json.dumps({"bench": "recovery", "figure": name, "value": round(statistics.median(values), 3), "goal": None, "met": None},
                     separators=(",", ":")))


def wait_port(port: int):
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.002)


def one_outage(kafka, server, seed: int) -> tuple:
    broker = kafka.brokers[0]
    broker.kill()
    for i in range(UPLOADS):
        assert server.upload(harness.png(seed + i, 64, 48)).status == 202
    broker.start(wait=False)
    wait_port(broker.port)
    began = time.monotonic()
    harness.wait_until(lambda: server.get("/readyz").status == 200, "readiness")
    ready = time.monotonic() - began
    harness.wait_until(lambda: server.metric("deeplens_outbox_events") == 0, "the outbox")
    published = time.monotonic() - began
    server.settle()
    return ready, published, time.monotonic() - began


def main(build: str, *flags):
    harness.BINARY = os.path.join(build, "deeplens")
    with tempfile.TemporaryDirectory(prefix="deeplens-recovery-") as scratch, Kafka(os.path.join(scratch, "kafka")) as kafka:
        with harness.Server(os.path.join(scratch, "data"), "--eventlog-backend", "kafka", "--kafka-brokers", kafka.address) as server:
            server.upload(harness.png(1))
            server.settle()
            times = [one_outage(kafka, server, 1000 * (i + 1)) for i in range(1 if "--short" in flags else 5)]
    for name, values in zip(("seconds_to_ready", "seconds_to_published", "seconds_to_caught_up"), zip(*times)):
        figure(name, list(values))


if __name__ == "__main__":
    main(*sys.argv[1:])
