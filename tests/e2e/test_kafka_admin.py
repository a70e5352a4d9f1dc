# SPDX-License-Identifier: Apache-2.0
"""The administration of test_admin.py, word for word, on a real Kafka; and what there is on Kafka alone: commands without a
server, somebody else's groups, and what Kafka's own tools say of what was done.
"""
import functools
import json
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))

import clients
import harness
import test_admin
import test_cli
from harness import wait_until
from kafka import Kafka


class OnKafka(test_cli.Program):
    """Each test on brokers of its own; the commands find them by their variables."""

    def setUp(self):
        super().setUp()
        self.brokers()

    def brokers(self):
        self.kafka = Kafka(os.path.join(self.scratch, f"kafka-{time.monotonic_ns()}"))
        self.addCleanup(self.kafka.remove)
        self.kafka.start()
        # Members leave with their process: for those that stay a while, see Alone.
        self.env = {"DEEPLENS_EVENTLOG_BACKEND": "kafka", "KAFKA_BROKERS": self.kafka.address, "DEEPLENS_KAFKA_INSTANCE": "none"}

    def server(self, *flags, name="data", env=None):
        return super().server(*flags, name=name, env={**self.env, **(env or {})})

    def cli(self, *arguments, env=None, **more):
        return super().cli(*arguments, env={**self.env, **(env or {})}, **more)


class Same(OnKafka, test_admin.Administration):
    KILLS = (*(fault for fault in test_admin.Administration.KILLS if "publish_tx" not in fault), "meta.outbox_put:kill@3")

    def stuck(self, count):
        if getattr(self, "used", False):  # by the data directory before
            self.kafka.kill()
            self.brokers()
        self.used = True
        return super().stuck(count)


class Alone(OnKafka):
    """What Kafka's own tools and other people's clients say of it, with no server of ours running."""

    def test_what_the_other_system_s_scripts_do(self):
        """Each row of the table in docs/KAFKA.md, and what Kafka says afterwards."""
        topics = lambda: set(self.admin().list_topics(timeout=clients.PATIENCE).topics)
        self.assertEqual(self.json("topics", "ensure", "--dry-run", code=1)["topics"][0]["state"], "missing")
        self.assertEqual({t["state"] for t in self.json("topics", "ensure")["topics"]}, {"made"})
        self.assertEqual(len({name for name in topics() if name.startswith("deeplens.")}), 8)
        self.json("topics", "create", "my-topic", "--partitions", "3", "--replication", "1", "--retention", "2d", "--retention-bytes", "1000000")
        described = self.admin().list_topics("my-topic", timeout=clients.PATIENCE).topics["my-topic"]
        self.assertEqual([len(p.replicas) for p in described.partitions.values()], [1, 1, 1])
        self.assertEqual((self.config("my-topic", "retention.ms"), self.config("my-topic", "retention.bytes"),
                          self.config("my-topic", "cleanup.policy")), (str(2 * 86400000), "1000000", "delete"))
        self.json("topics", "alter", "my-topic", "--partitions", "10", "--retention", "forever", "--yes")
        self.assertEqual(len(self.admin().list_topics("my-topic", timeout=clients.PATIENCE).topics["my-topic"].partitions), 10)
        self.assertEqual(self.config("my-topic", "retention.ms"), "-1")
        self.said("topics", "produce", "my-topic", "--lines", "--key", "k", stdin="".join(f'{{"n":{n}}}\n' for n in range(20)))
        self.assertEqual(len(self.json_lines("topics", "peek", "my-topic", "--offset", "earliest", "--limit", "10")), 10)
        read = clients.consume(self.kafka.address, ["my-topic"], lambda r: len(r) >= 20, **{"group.id": "theirs"})
        self.assertEqual([(key, json.loads(value)["n"]) for _, key, value, _ in read], [("k", n) for n in range(20)])
        self.json("topics", "recreate", "my-topic", "--yes")
        again = self.json("topics", "describe", "my-topic")
        self.assertEqual((len(again["partitions"]), again["records"], again["retentionMs"]), (10, 0, -1))
        self.json("topics", "delete", "my-topic", "--yes")
        self.assertNotIn("my-topic", topics())
        self.assertIn("deeplens.images.uploaded", self.said("topics", "list"))

    def test_somebody_else_s_group(self):
        """Described while it works, refused to be moved, then moved to wherever it is said, as its own client sees it."""
        import confluent_kafka
        self.json("topics", "create", "theirs", "--partitions", "1")
        producer = clients.Python(self.kafka.address)
        for n in range(10):
            producer.produce("theirs", "k", b"%d" % n)
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.kafka.address, "group.id": "readers", "client.id": "reader-1",
                                             "auto.offset.reset": "earliest", "enable.auto.commit": False})
        consumer.subscribe(["theirs"])
        for _ in range(4):
            message = wait_until(lambda: consumer.poll(0.2), "a record comes")
        consumer.commit(message, asynchronous=False)
        part, = self.json("groups", "describe", "readers")["partitions"]
        self.assertEqual((part["committed"], part["end"], part["lag"], part["member"]), (4, 10, 6, "reader-1"))
        self.assertGreater(part["lagMs"], 0)
        self.said("groups", "reset", "readers", "--to-earliest", "--yes", code=1)
        self.said("groups", "delete", "readers", "--yes", code=1)
        self.said("topics", "delete", "theirs", "--yes", code=1)
        self.said("topics", "recreate", "theirs", "--yes", code=1)
        consumer.close()
        for arguments, offset in ((("--to-earliest",), 0), (("--to-latest",), 10), (("--shift-by", "-3"), 7), (("--shift-by", "-100"), 0),
                                  (("--to-offset", "5"), 5), (("--to-offset", "500"), 10), (("--to-datetime", "1h"), 0),
                                  (("--to-datetime", "2999-01-01"), 10), (("--to-offset", "2", "--topic", "theirs", "--partition", "0"), 2)):
            with self.subTest(arguments):
                before = self.committed("readers", "theirs")
                self.json("groups", "reset", "readers", *arguments)  # only shows
                self.assertEqual(self.committed("readers", "theirs"), before)
                self.json("groups", "reset", "readers", *arguments, "--yes")
                self.assertEqual(self.committed("readers", "theirs"), offset)
        lag = self.json("lag", "--limit", "5", code=1)
        self.assertEqual(next(g for g in lag["groups"] if g["name"] == "readers")["lag"], 8)
        self.said("groups", "delete", "readers", "--yes")
        self.assertNotIn("readers", self.said("groups", "list"))

    def test_dead_letters_without_a_server(self):
        self.json("topics", "ensure")
        letters, topic = "deeplens.processing.deadletter", "deeplens.images.uploaded"
        producer = clients.Python(self.kafka.address)
        for n in range(6):
            producer.produce(letters, f"k{n}", json.dumps({"eventId": f"evt_{n}", "imageId": f"img_{n}", "tenantId": "acme" if n % 2 else "shop",
                                                           "storagePath": "/a"}).encode(),
                             {"__dlq.errors.topic": topic, "__dlq.errors.stage": "prepare", "__dlq.errors.group": "deeplens-image-processing",
                              "__dlq.errors.code": "NOT_FOUND" if n < 4 else "TIMEOUT", "__dlq.errors.message": "gone"})
        count = lambda *filters: len(self.json("dlq", "list", *filters)["items"])
        self.assertEqual([count(*f) for f in ((), ("--tenant", "acme"), ("--code", "TIMEOUT"), ("--stage", "prepare"), ("--topic", letters),
                                              ("--topic", topic), ("--since", "1h"), ("--until", "1h"), ("--limit", "2"))],
                         [6, 3, 2, 6, 0, 6, 6, 0, 2])
        self.assertEqual(len(self.json("dlq", "replay", "--tenant", "acme", "--dry-run")), 3)
        for _ in range(2):  # the event keeps its id: to repeat it is harmless
            self.assertEqual(len(self.json("dlq", "replay", "--tenant", "acme", "--limit", "2", "--rate", "100")), 2)
        read = clients.consume(self.kafka.address, [topic], lambda r: len(r) >= 4)
        ids = [json.loads(value)["eventId"] for _, _, value, _ in read]
        self.assertEqual((len(ids), len(set(ids))), (4, 2))
        self.assertEqual(self.json("dlq", "purge", "--before", "1h", "--yes")["left"], 6)
        self.assertEqual(self.json("dlq", "purge", "--all", "--dry-run")["removed"], 6)
        self.assertEqual(self.json("dlq", "purge", "--all", "--yes")["left"], 0)
        self.assertEqual(count(), 0)

    def committed(self, group, topic) -> int:
        import confluent_kafka
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.kafka.address, "group.id": group})
        try:
            return consumer.committed([confluent_kafka.TopicPartition(topic, 0)], timeout=clients.PATIENCE)[0].offset
        finally:
            consumer.close()

    def config(self, topic, name) -> str:
        from confluent_kafka.admin import ConfigResource
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        return self.admin().describe_configs([resource])[resource].result(clients.PATIENCE)[name].value

    @functools.lru_cache(maxsize=None)  # it must live as long as its answers
    def admin(self):
        from confluent_kafka.admin import AdminClient
        return AdminClient({"bootstrap.servers": self.kafka.address, "log_level": 0})


if __name__ == "__main__":
    clients.enter()
    harness.main()
