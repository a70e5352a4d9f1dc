# SPDX-License-Identifier: Apache-2.0
"""DeepLens on a real Kafka: the guarantees while either side is killed, stopped or started again.

One broker of its own a class (tests/peers/kafka.py); each test has topics of its own by starting on an empty one.
"""
import os
import pathlib
import random
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))

import harness
from harness import Case, Server, png, wait_until
from kafka import Kafka


class Clients:
    """Threads that upload pictures, each until it is acknowledged."""

    def __init__(self, server, count=4, pause=0.02):
        self.server, self.acked, self.pause = server, {}, pause
        self.stop, self.lock, self.seeds = threading.Event(), threading.Lock(), iter(range(1, 1 << 30))
        self.threads = [threading.Thread(target=self.run) for _ in range(count)]

    def run(self):
        while not self.stop.is_set():
            with self.lock:
                seed = next(self.seeds)
            while not self.stop.is_set():
                try:
                    answer = self.server.upload(png(seed, 64, 48))
                    if answer.status in (200, 202):
                        with self.lock:
                            self.acked[seed] = answer.json["imageId"]
                        break
                except Exception:  # the server was killed in the middle of it
                    pass
                time.sleep(0.01)
            time.sleep(self.pause)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()


class OnKafka(Case):
    def setUp(self):
        super().setUp()
        self.kafka = Kafka(os.path.join(self.scratch, "kafka"))
        self.addCleanup(self.kafka.remove)
        self.kafka.start()

    def flags(self, *more):
        return ("--eventlog-backend", "kafka", "--kafka-brokers", self.kafka.address, *more)

    def serve(self, *more, start=True) -> Server:
        server = Server(os.path.join(self.scratch, "data"), *self.flags(*more))
        self.addCleanup(server.stop)
        return server.start() if start else server

    def check_all_there_once(self, server, acked):
        ledger = server.settle()
        self.assertTrue(ledger["closes"], ledger)
        self.assertEqual(ledger["failed"], 0, server.log_text()[-3000:])
        self.assertEqual(ledger["searchable"], ledger["accepted"])
        self.assertGreaterEqual(ledger["accepted"], len(acked))
        self.assertEqual(len(set(acked.values())), len(acked), "two pictures got one id")
        hashes = [item["contentHash"] for item in server.items("&limit=200")]
        self.assertEqual(len(hashes), len(set(hashes)), "the same bytes were accepted twice")
        self.assertEqual(len(hashes), ledger["accepted"])
        for seed in random.Random(3).sample(sorted(acked), min(20, len(acked))):
            found = server.request("POST", "/api/v1/search?topK=1000", png(seed, 64, 48),
                                   {"Content-Type": "image/png"}).json["results"]
            ids = [hit["imageId"] for hit in found]
            self.assertEqual(ids.count(acked[seed]), 1)
            self.assertEqual(ids[0], acked[seed])

    def check_outbox_empties(self, server):
        wait_until(lambda: "\ndeeplens_outbox_events 0\n" in server.get("/metrics").body.decode(), "the outbox is empty")


class Works(OnKafka):
    def test_an_upload_is_searchable(self):
        server = self.serve()
        image_id = server.upload(png(1)).json["imageId"]
        server.wait_status(image_id, "completed")
        server.settle()
        ids = [hit["imageId"] for hit in server.request("POST", "/api/v1/search", png(1), {"Content-Type": "image/png"})
               .json["results"]]
        self.assertEqual(ids, [image_id])
        self.assertEqual(server.get("/readyz").json["checks"]["outbox"], "ok")
        # What went by is on Kafka, with its key and headers.
        record = server.records("deeplens.images.uploaded")[0]
        self.assertEqual(record["key"], image_id)
        self.assertEqual(record["headers"]["ce_type"], "image.uploaded")
        self.check_outbox_empties(server)

    def test_commands_without_a_server(self):
        server = self.serve()
        image_id = server.upload(png(1)).json["imageId"]
        server.wait_status(image_id, "completed")
        server.settle()
        server.stop()
        offline = ("--data-dir", server.data_dir, *self.flags())
        for words, says in ((("topics", "list"), "deeplens.images.uploaded"),
                            (("topics", "describe", "deeplens.images.uploaded"), "deeplens.images.uploaded"),
                            (("topics", "peek", "deeplens.images.uploaded"), image_id),
                            (("groups", "list"), "deeplens-image-processing"),
                            (("groups", "describe", "deeplens-image-processing"), "deeplens.images.uploaded")):
            with self.subTest(words):
                result = self.cli(*words, *offline)
                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertIn(says, result.stdout)

    def test_topics_that_differ_are_reported_and_left(self):
        server = self.serve()
        server.stop()
        self.alter("deeplens.images.uploaded", "retention.ms=3600000,cleanup.policy=compact")
        server.start()
        self.assertIn("the topic deeplens.images.uploaded is not as the catalogue says", server.log_text())
        self.assertNotIn("the topic deeplens.videos.uploaded is not", server.log_text())
        topic = server.get("/api/v1/admin/topics/deeplens.images.uploaded").json
        self.assertEqual(topic["retentionMs"], 3600000)
        self.assertEqual([(d["setting"], d["actual"]) for d in topic["differences"]],
                         [("retentionMs", 3600000), ("cleanupPolicy", "compact")])
        self.assertEqual(server.get("/api/v1/admin/topics/deeplens.videos.uploaded").json["differences"], [])
        result = self.cli("topics", "describe", "deeplens.images.uploaded", server=server)
        self.assertIn("retentionMs 3600000, not 604800000", result.stdout)

    def alter(self, topic, configs):
        broker = self.kafka.brokers[0]
        subprocess.run(broker.java("kafka.admin.ConfigCommand",
                                   "--bootstrap-server", self.kafka.address, "--alter", "--entity-type", "topics",
                                   "--entity-name", topic, "--add-config", configs), check=True, capture_output=True)


class Password(OnKafka):
    """Brokers that want one, and options of librdkafka that are handed through."""

    def setUp(self):
        Case.setUp(self)
        login = 'org.apache.kafka.common.security.plain.PlainLoginModule required username="broker" password="b" user_broker="b" user_deeplens="secret";'
        self.kafka = Kafka(os.path.join(self.scratch, "kafka"), **{
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:SASL_PLAINTEXT", "inter.broker.listener.name": "PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN", "sasl.mechanism.inter.broker.protocol": "PLAIN", "listener.name.plaintext.plain.sasl.jaas.config": login})
        self.addCleanup(self.kafka.remove)
        self.kafka.start()

    def test_g6_a_password_that_is_wrong_is_an_outage_and_the_right_one_ends_it(self):
        options = ("--kafka-security-protocol", "SASL_PLAINTEXT", "--kafka-sasl-mechanism", "PLAIN", "--kafka-sasl-username", "deeplens",
                   "--kafka-compression-type", "lz4")
        server = self.serve(*options, "--kafka-sasl-password", "wrong")
        image_id = server.upload(png(1)).json["imageId"]
        wait_until(lambda: server.get("/readyz").status == 503, "readiness says so")
        server.stop()
        server.flags = self.flags(*options)
        server.env = {"DEEPLENS_KAFKA_SASL_PASSWORD": "secret"}
        server.start()
        server.wait_status(image_id, "completed")
        self.check_all_there_once(server, {})
        self.assertNotIn("secret", server.log_text())


class Kills(OnKafka):
    KILLS = 10

    def test_g1_g3_g4_ten_kills_lose_and_double_nothing(self):
        server = self.serve("--retry-attempts", str(2 * self.KILLS))
        rng = random.Random(7)
        with Clients(server) as clients:
            for _ in range(self.KILLS):
                time.sleep(rng.uniform(0.3, 1.0))
                server.kill()
                server.start()
        self.assertGreater(len(clients.acked), self.KILLS)
        self.check_all_there_once(server, clients.acked)
        self.check_outbox_empties(server)

    def test_g4_killed_in_every_step(self):
        """Dies at each call that a step makes, before and after it; then everything is there once."""
        server = self.serve("--retry-attempts", "100", start=False)
        acked = {}
        flags = server.flags
        seed = 100
        for fault in ("eventlog.publish_async:kill@2", "eventlog.publish_async:after:kill@2", "eventlog.poll:kill@30",
                      "eventlog.commit:kill@1", "eventlog.commit:after:kill@1", "extractor.extract:kill@1",
                      "index.upsert:kill@1", "index.upsert:after:kill@1", "meta.inbox_end:kill@1",
                      "meta.inbox_end:after:kill@1", "meta.outbox_put:after:kill@2", "meta.outbox_remove:kill@1",
                      "meta.outbox_remove:after:kill@1"):
            with self.subTest(fault):
                server.flags = (*flags, "--fault", fault)
                server.start(wait=False)
                alive = server.wait_ready()  # what the last one left over may kill it before
                for _ in range(50 if alive else 0):  # until it dies of it
                    seed += 1
                    try:
                        answer = server.upload(png(seed, 64, 48))
                        acked[seed] = answer.json["imageId"]
                    except Exception:
                        pass
                    if server.process.poll() is not None:
                        break
                    time.sleep(0.05)
                server.process.wait(harness.PATIENCE)
                server.stop()
        server.flags = flags
        server.start()
        self.check_all_there_once(server, acked)


class Outages(OnKafka):
    def test_g6_a_broker_that_is_away_stops_nothing_but_events(self):
        server = self.serve()
        with Clients(server) as clients:
            for stop in (lambda b: b.stop(), lambda b: b.kill()):
                time.sleep(1)
                stop(self.kafka.brokers[0])
                wait_until(lambda: server.get("/readyz").status == 503, "readiness says so")
                self.assertIn("Kafka", server.get("/readyz").json["checks"]["outbox"])
                before = len(clients.acked)
                wait_until(lambda: len(clients.acked) > before + 10, "uploads are accepted all the same")
                self.kafka.brokers[0].start()
                wait_until(lambda: server.get("/readyz").status == 200, "it is well again")
        self.check_all_there_once(server, clients.acked)
        self.check_outbox_empties(server)

    def test_g6_a_broker_that_is_away_at_the_start(self):
        self.kafka.stop()
        server = self.serve()
        image_id = server.upload(png(1)).json["imageId"]
        self.assertEqual(server.get("/readyz").status, 503)
        self.kafka.brokers[0].start()
        server.wait_status(image_id, "completed")
        wait_until(lambda: server.get("/readyz").status == 200, "it is ready")

    def test_g8_more_than_may_wait_is_refused(self):
        server = self.serve("--outbox-max-events", "20")
        self.kafka.stop()
        self.check_refuses_until_it_is_back(server)

    def test_g8_more_than_may_wait_is_refused_before_the_topics_were_seen(self):
        self.kafka.stop()
        self.check_refuses_until_it_is_back(self.serve("--outbox-max-events", "20"))

    def check_refuses_until_it_is_back(self, server):
        codes = []

        def refused():
            codes.append(server.upload(png(1000 + len(codes), 64, 48)))
            return codes[-1].status == 503
        wait_until(refused, "uploads are refused")
        self.assert_problem(codes[-1], 503, "OVERLOADED", "wait for the event log")
        self.kafka.brokers[0].start()
        wait_until(lambda: server.upload(png(1, 64, 48)).status in (200, 202), "uploads are accepted again")
        ledger = server.settle()
        self.assertEqual(ledger["searchable"], len([c for c in codes if c.status == 202]) + 1)

    def test_g1_what_waited_survives_both_going_away(self):
        server = self.serve()
        self.kafka.kill()
        ids = [server.upload(png(seed, 64, 48)).json["imageId"] for seed in range(1, 30)]
        server.kill()
        self.kafka.brokers[0].start()
        server.start()
        self.check_all_there_once(server, dict(enumerate(ids, 1)))


class Cluster(OnKafka):
    def setUp(self):
        Case.setUp(self)
        self.kafka = Kafka(os.path.join(self.scratch, "kafka"), brokers=3)
        self.addCleanup(self.kafka.remove)
        self.kafka.start()

    def test_g6_one_of_three_brokers_dies(self):
        server = self.serve("--kafka-replication", "3")
        topic = server.get("/api/v1/admin/topics/deeplens.images.uploaded").json
        self.assertEqual(topic["replication"], 3)
        with Clients(server, pause=0.1) as clients:
            for broker in self.kafka.brokers:
                time.sleep(1)
                broker.kill()
                before = len(clients.acked)
                wait_until(lambda: len(clients.acked) > before + 5, "uploads go on")
                broker.start()
        self.check_all_there_once(server, clients.acked)


if __name__ == "__main__":
    harness.main()
