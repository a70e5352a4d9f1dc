# SPDX-License-Identifier: Apache-2.0
"""What can happen to a pipeline on a real Kafka, beside what test_kafka.py does to it: a bad network, leaders that move,
topics, records and offsets that go, groups that change, queues that fill. After each of it everything that was
acknowledged is there, once, and the ledger closes.
"""
import functools
import os
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))

import clients
import harness
from harness import Case, png, wait_until
from kafka import Kafka
from proxy import Proxy
from test_kafka import Clients, OnKafka

UPLOADED, EXTRACTION = "deeplens.images.uploaded", "deeplens.features.extraction"
INDEXING, COMPLETED = "deeplens.vectors.indexing", "deeplens.processing.completed"
FAILED, MAINTENANCE, LETTERS = "deeplens.processing.failed", "deeplens.images.maintenance", "deeplens.processing.deadletter"
SOON = ("--reconcile-after", "1s", "--retry-max", "200ms", "--retry-base", "100ms", "--lag-interval", "300ms")


class Faults(OnKafka):
    @functools.lru_cache(maxsize=None)  # it must live as long as its answers
    def admin(self):
        from confluent_kafka.admin import AdminClient
        return AdminClient({"bootstrap.servers": self.kafka.address, "log_level": 0})

    def done(self, futures):
        for future in futures.values():
            future.result(clients.PATIENCE)

    def more(self, uploads, count=10):
        before = len(uploads.acked)
        wait_until(lambda: len(uploads.acked) >= before + count, "uploads go on")

    def ends(self, topic) -> dict:
        """Partition -> the offset behind its last record."""
        import confluent_kafka
        from confluent_kafka.admin import OffsetSpec
        parts = [confluent_kafka.TopicPartition(topic, p) for p in range(3)]
        found = self.admin().list_offsets({part: OffsetSpec.latest() for part in parts})
        return {part.partition: future.result(clients.PATIENCE).offset for part, future in found.items()}


class Network(Faults):
    def setUp(self):
        Case.setUp(self)
        self.proxy = Proxy()
        self.addCleanup(self.proxy.close)
        self.kafka = Kafka(os.path.join(self.scratch, "kafka"),
                           advertised_listeners=f"PLAINTEXT://127.0.0.1:{self.proxy.port}")
        self.addCleanup(self.kafka.remove)
        self.proxy.target = self.kafka.brokers[0].port
        self.kafka.start()
        self.kafka.address = f"127.0.0.1:{self.proxy.port}"

    def test_g6_a_network_that_is_slow_torn_held_back_and_cut(self):
        server = self.serve()
        with Clients(server, pause=0.05) as uploads:
            for hurt, seconds in ((lambda: self.proxy.slow(0.2), 3), (lambda: self.proxy.tear(20000), 4), (self.proxy.stall, 4),
                                  (self.proxy.cut, 3)):
                self.more(uploads)
                hurt()
                self.more(uploads)  # they wait in the outbox, if they must
                time.sleep(seconds)
                self.proxy.heal()
        self.check_all_there_once(server, uploads.acked)
        self.check_outbox_empties(server)
        wait_until(lambda: server.get("/readyz").status == 200, "it is well again")


class Losses(Faults):
    def test_g2_topics_deleted_under_it(self):
        server = self.serve(*SOON)
        with Clients(server) as uploads:
            for topic in (UPLOADED, EXTRACTION, INDEXING, COMPLETED):
                self.more(uploads)
                self.done(self.admin().delete_topics([topic]))
            self.more(uploads)
        self.check_all_there_once(server, uploads.acked)
        self.check_outbox_empties(server)
        self.assertIn(UPLOADED, [topic["name"] for topic in server.get("/api/v1/admin/topics").json["topics"]])

    def test_g2_records_and_offsets_that_are_no_more(self):
        """What was to be read expires, then a group is behind the end: items come from the records, nothing is done twice."""
        import confluent_kafka
        from confluent_kafka import ConsumerGroupTopicPartitions
        server = self.serve(*SOON, "--fault", "extractor.extract:UNAVAILABLE", start=False)
        plain = server.flags[:-2]
        server.start()
        acked = {seed: server.upload(png(seed, 64, 48)).json["imageId"] for seed in range(1, 31)}
        wait_until(lambda: sum(self.ends(EXTRACTION).values()) == len(acked), "all wait for their vectors")
        self.check_outbox_empties(server)  # else it would publish them again
        server.kill()
        parts = [confluent_kafka.TopicPartition(EXTRACTION, p, end) for p, end in self.ends(EXTRACTION).items()]
        self.done(self.admin().delete_records(parts))
        server.flags = plain
        server.start()
        self.check_all_there_once(server, acked)
        self.assertGreater(server.metric("deeplens_items_put_back_total"), 0, server.log_text())
        server.stop()
        group = "deeplens-image-processing"
        far = [confluent_kafka.TopicPartition(UPLOADED, p, 1000000) for p in range(3)]

        def moved():  # once its static members' session has ended
            try:
                self.done(self.admin().alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, far)]))
                return True
            except confluent_kafka.KafkaException:
                time.sleep(0.5)
                return False
        wait_until(moved, "the group's offsets are behind the end")
        server.start()
        for seed in range(31, 41):
            acked[seed] = server.upload(png(seed, 64, 48)).json["imageId"]
        self.check_all_there_once(server, acked)
        for item in server.get(f"/api/v1/admin/groups/{group}").json["partitions"]:
            self.assertGreaterEqual(item["lag"], 0)

    def test_g5_a_dead_letter_that_cannot_be_written_waits(self):
        from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource
        server = self.serve()

        def letters_of(size):
            entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
            resource = ConfigResource(ConfigResource.Type.TOPIC, LETTERS, incremental_configs=[entry])
            self.done(self.admin().incremental_alter_configs([resource]))
        letters_of(2000)
        poison = b"no event" * 1000
        clients.Python(self.kafka.address).produce(UPLOADED, "k", poison)
        with Clients(server) as uploads:
            self.more(uploads)
            wait_until(lambda: server.get("/readyz").status == 503, "readiness says so")
            self.more(uploads)
        server.kill()
        server.start()
        wait_until(lambda: server.ledger()["inFlight"] == 0, "all others are through")
        self.assertEqual(server.records(LETTERS), [])
        letters_of(1 << 20)
        self.check_all_there_once(server, uploads.acked)
        self.check_outbox_empties(server)
        letters = clients.consume(self.kafka.address, [LETTERS], len)
        self.assertEqual([(key, value) for _, key, value, _ in letters], [("k", poison)])
        self.assertEqual(letters[0][3]["__dlq.errors.code"], "EVENT_INVALID")

    def test_g3_the_same_letter_replayed_twice(self):
        server = self.serve("--retry-attempts", "1", "--fault", "extractor.extract:EXTRACTION_FAILED", start=False)
        plain = server.flags[:-2]
        server.start()
        ids = [server.upload(png(seed, 64, 48)).json["imageId"] for seed in range(1, 6)]
        for image_id in ids:
            server.wait_status(image_id, "failed")
        server.settle()
        server.stop()
        server.flags = plain
        server.start()
        letters = [item["id"] for item in server.get("/api/v1/admin/deadletters").json["items"]]
        self.assertEqual(len(letters), len(ids))
        answers = []
        threads = [threading.Thread(target=lambda one=letter: answers.append(
            server.post_json(f"/api/v1/admin/deadletters/{one}/replay", {}).status)) for letter in letters * 3]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual({status // 100 for status in answers}, {2}, answers)
        self.check_all_there_once(server, dict(enumerate(ids, 1)))
        for letter in letters:  # once more, when all is done
            server.post_json(f"/api/v1/admin/deadletters/{letter}/replay", {})
        self.check_all_there_once(server, dict(enumerate(ids, 1)))
        self.assertEqual(len(server.get("/api/v1/admin/deadletters").json["items"]), len(ids))


class Changes(Faults):
    def test_g3_g4_members_that_come_and_go_while_it_works(self):
        """A stranger joins the groups, takes its share of the partitions, does nothing, and leaves or dies."""
        import confluent_kafka
        server = self.serve("--kafka-session-timeout-ms", "6000")
        groups = (("deeplens-image-processing", UPLOADED), ("deeplens-feature-extraction", EXTRACTION),
                  ("deeplens-vector-indexing", INDEXING))
        with Clients(server) as uploads:
            for turn in range(3):
                strangers = []
                for group, topic in groups:
                    stranger = confluent_kafka.Consumer({
                        "bootstrap.servers": self.kafka.address, "group.id": group, "enable.auto.commit": False,
                        "partition.assignment.strategy": "range", "auto.offset.reset": "earliest", "session.timeout.ms": 6000})
                    stranger.subscribe([topic])
                    strangers.append(stranger)
                end = time.monotonic() + 60
                while not all(stranger.assignment() for stranger in strangers) and time.monotonic() < end:
                    for stranger in strangers:
                        stranger.poll(0.05)
                self.assertTrue(all(stranger.assignment() for stranger in strangers))
                self.more(uploads)
                for stranger in strangers:
                    stranger.close()
                self.more(uploads)
        self.check_all_there_once(server, uploads.acked)

    def test_g8_queues_that_are_full_hold_it_up_and_lose_nothing(self):
        server = self.serve("--kafka-queue-buffering-max-messages", "5", "--queue-events", "16", "--queue-bytes", "65536")
        self.kafka.kill()
        acked = {seed: server.upload(png(seed, 64, 48)).json["imageId"] for seed in range(1, 100)}
        self.kafka.brokers[0].start()
        self.check_all_there_once(server, acked)
        self.check_outbox_empties(server)

    def test_g6_a_broker_killed_during_ten_thousand_events(self):
        server = self.serve()
        with Clients(server, count=8, pause=0.1) as uploads:
            for _ in range(3):
                self.more(uploads, 600)
                self.kafka.kill()
                self.more(uploads, 100)
                self.kafka.brokers[0].start()
            wait_until(lambda: len(uploads.acked) >= 2500, "enough items")
        self.check_all_there_once(server, uploads.acked)
        self.check_outbox_empties(server)
        self.assertGreaterEqual(sum(sum(self.ends(topic).values()) for topic in (UPLOADED, EXTRACTION, INDEXING, COMPLETED)), 10000)

    def test_g3_killed_in_the_other_steps(self):
        """Dies while it prepares, makes thumbnails, flushes vectors, publishes retries, deletes."""
        server = self.serve("--retry-attempts", "100", "--retry-base", "50ms", start=False)
        flags, acked, gone, seed = server.flags, {}, set(), 0
        for fault in ("blob.open_read:kill@2", "blob.put_commit:after:kill@4", "index.flush:kill@2",
                      "extractor.extract:EXTRACTION_FAILED@1,meta.retry_take:after:kill@3", "blob.remove:kill@1",
                      "blob.remove:after:kill@2", "meta.media_delete:after:kill@1"):
            with self.subTest(fault):
                server.flags = (*flags, "--fault", fault)
                try:
                    server.start()
                except RuntimeError:  # it died of what it found
                    continue
                for turn in range(100):  # until it dies of it
                    seed += 1
                    try:
                        image_id = server.upload(png(seed, 64, 48)).json["imageId"]
                        acked[seed] = image_id
                        if turn % 3 == 0:
                            oldest = min(acked)
                            gone.add(oldest)
                            server.request("DELETE", f"/api/v1/images/{acked[oldest]}")
                    except Exception:
                        pass
                    for one in gone:
                        acked.pop(one, None)
                    if server.process.poll() is not None:
                        break
                    time.sleep(0.05)
                server.process.wait(harness.PATIENCE)
                server.stop()
        server.flags = flags
        server.start()
        ledger = server.settle()
        self.assertTrue(ledger["closes"], ledger)
        self.assertEqual((ledger["failed"], ledger["inFlight"]), (0, 0), server.log_text()[-3000:])
        ids = [item["imageId"] for item in server.items("&limit=200")]
        self.assertEqual(len(ids), ledger["searchable"])
        self.assertEqual(set(acked.values()) - set(ids), set())
        self.assertEqual(ledger["accepted"], ledger["searchable"] + ledger["deleted"])


class Leaders(Faults):
    def setUp(self):
        Case.setUp(self)
        self.kafka = Kafka(os.path.join(self.scratch, "kafka"), brokers=3)
        self.addCleanup(self.kafka.remove)
        self.kafka.start()

    def leaders(self) -> dict:
        topics = self.admin().list_topics(timeout=clients.PATIENCE).topics
        return {(name, p): part.leader for name, topic in topics.items() if name.startswith("deeplens.")
                for p, part in topic.partitions.items()}

    def test_g4_leaders_that_move_and_move_back(self):
        from confluent_kafka import ElectionType
        server = self.serve("--kafka-replication", "3")
        with Clients(server, pause=0.1) as uploads:
            before = self.leaders()
            self.more(uploads)
            self.kafka.brokers[1].stop()
            wait_until(lambda: 2 not in self.leaders().values(), "others lead")
            self.more(uploads)
            self.kafka.brokers[1].start()

            def back():
                self.admin().elect_leaders(ElectionType.PREFERRED).result(clients.PATIENCE)
                return self.leaders() == before
            wait_until(back, "each partition is led as before")
            self.more(uploads)
        self.assertEqual(set(before.values()), {1, 2, 3})
        self.check_all_there_once(server, uploads.acked)
        self.check_outbox_empties(server)


if __name__ == "__main__":
    clients.enter()
    harness.main()
