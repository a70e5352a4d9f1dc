# SPDX-License-Identifier: Apache-2.0
"""Messages of chats on a real Kafka: other people's producers write them flat, keyed by chatJid, as the document of the
topics has them; they end processed, each once, in the order of their chat, whatever is killed, stopped or removed on the
way; and the variables of the other system's services work as they are.
"""
import http.server
import json
import os
import pathlib
import random
import sys
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
for folder in ("tests/peers", "tests/schemas"):
    sys.path.insert(0, str(ROOT / folder))

import check
import clients
import harness
from harness import png, wait_until
from test_kafka_faults import SOON, Faults

TOPIC, GROUP, LETTERS = "whatsapp-ready-messages", "whatsapp-processing-group", "deeplens.processing.deadletter"
CHAT = "1234567890@s.whatsapp.net"


def message(number, chat=CHAT, **members) -> dict:
    """As the document of the topics has it."""
    return {"messageId": f"msg_{number}", "chatJid": chat, "fromMe": False, "messageType": "text", "content": f"Hello, {number}!",
            "timestamp": 1705234567, "metadata": {"isGroup": False, "senderName": "John Doe"}, **members}


def text(value) -> bytes:
    return json.dumps(value).encode()


class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        wrong = self.server.fails.pop(0) if self.server.fails else 0
        data = None if wrong else self.server.pages.get(self.path)
        self.server.heard.append(self.path)
        self.send_response(wrong or (200 if data else 404))
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        self.wfile.write(data or b"")

    def log_message(self, *_):
        pass


class Messages(Faults):
    MEDIA = ("--webhook-allow", "127.0.0.0/8")

    def setUp(self):
        super().setUp()
        self.producers = {}
        for name, client in clients.PRODUCERS.items():
            self.producers[name] = client(self.kafka.address)
            self.addCleanup(self.producers[name].close)

    def site(self):
        """Somebody's web server: `pages` path -> bytes, `fails` statuses of the next answers, `heard` what was asked."""
        web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
        web.daemon_threads = True
        web.handle_error = lambda *_: None  # who asked was killed
        web.pages, web.fails, web.heard, web.url = {}, [], [], f"http://127.0.0.1:{web.server_address[1]}"
        threading.Thread(target=web.serve_forever, args=(0.05,), daemon=True).start()
        self.addCleanup(web.server_close)
        self.addCleanup(web.shutdown)
        return web

    def get(self, server, message_id) -> dict:
        return server.get("/api/v1/messages/" + urllib.parse.quote(message_id)).json

    def wait(self, server, message_id, state="processed") -> dict:
        return wait_until(lambda: (found := self.get(server, message_id)).get("state") == state and found, f"{message_id} is {state}")

    def all(self, server) -> dict:
        found, cursor = {}, ""
        while True:
            page = server.get(f"/api/v1/messages?limit=200&cursor={urllib.parse.quote(cursor)}").json
            for item in page["items"]:
                self.assertNotIn(item["messageId"], found)
                found[item["messageId"]] = item
            cursor = page["nextCursor"]
            if not cursor:
                return found

    def take(self, server, *messages):
        answer = server.post_json("/api/v1/messages", {"messages": list(messages)})
        self.assertIn(answer.status, (200, 202), answer.body)

    def check_all_processed(self, server, sent, images):
        """Each message that was sent is there once and processed, and each picture is one item that is found."""
        wait_until(lambda: {m["state"] for m in self.all(server).values()} == {"processed"} and len(self.all(server)) == len(sent),
                   "all messages are processed")
        ledger = server.settle()
        self.assertTrue(ledger["closes"], ledger)
        self.assertEqual((ledger["accepted"], ledger["searchable"]), (len(images), len(images)), server.log_text()[-3000:])
        found = self.all(server)
        self.assertEqual(set(found), set(sent))
        ids = {found[name]["imageId"] for name in images}
        self.assertEqual({item["imageId"] for item in server.items("&limit=200")}, ids)
        self.assertEqual(len(ids), len(images), "two messages share an item")
        for name, seed in images.items():
            item = server.get("/api/v1/images/" + found[name]["imageId"]).json
            self.assertEqual((item["metadata"]["messageId"], server.get(item["originalUrl"]).body), (name, png(seed, 64, 48)))
        self.assertEqual(server.get("/api/v1/admin/deadletters").json["items"], [])
        return found


class Variables(Messages):
    VARIABLES = {"KAFKA_CLIENT_ID": "whatsapp-processor", "KAFKA_GROUP_ID": "bridge-group", "KAFKA_TOPIC": "bridge.messages"}

    def start(self, *flags, name="data", **variables):
        return self.server("--eventlog-backend", "kafka", *self.MEDIA, *flags, name=name,
                           env={"KAFKA_BROKERS": self.kafka.address, **variables})

    def test_the_other_system_s_variables_work_as_they_are(self):
        import confluent_kafka
        server = self.start(**self.VARIABLES)
        topics = {topic["name"]: topic for topic in server.get("/api/v1/admin/topics").json["topics"]}
        self.assertNotIn(TOPIC, topics)
        self.assertEqual((topics["bridge.messages"]["partitions"], topics["bridge.messages"]["retentionMs"]), (3, 7 * 86400000))
        for name, producer in self.producers.items():
            producer.produce("bridge.messages", CHAT, text(message(name)))
        self.take(server, message("own"))
        for name in (*self.producers, "own"):
            self.assertEqual(self.wait(server, f"msg_{name}")["metadata"], message(name)["metadata"])
        # The group, as Kafka itself knows it.
        described = self.admin().describe_consumer_groups(["bridge-group", GROUP])
        group = described["bridge-group"].result(clients.PATIENCE)
        self.assertEqual({member.client_id for member in group.members}, {"whatsapp-processor"})
        self.assertEqual({part.topic for member in group.members for part in member.assignment.topic_partitions}, {"bridge.messages"})
        try:
            self.assertEqual(described[GROUP].result(clients.PATIENCE).members, [])
        except confluent_kafka.KafkaException:
            pass  # newer brokers say that there is no such group
        job = next(job for job in server.get("/api/v1/admin/jobs").json["jobs"] if job["step"] == "message")
        self.assertEqual((job["group"], job["topics"]), ("bridge-group", ["bridge.messages"]))
        # Dead letters say where they come from, and go back there.
        self.producers["kcat"].produce("bridge.messages", CHAT, b"{")
        letter = wait_until(lambda: server.get("/api/v1/admin/deadletters").json["items"], "garbage is a dead letter")[0]
        self.assertEqual((letter["topic"], letter["group"], letter["stage"]), ("bridge.messages", "bridge-group", "message"))
        self.assertEqual(server.post_json(f"/api/v1/admin/deadletters/{letter['id']}/replay", {}).json["topic"], "bridge.messages")
        self.assertEqual(server.get("/api/v1/admin/jobs/message/failed").json["items"][0]["id"], letter["id"])
        # And the commands without a server take the same variables.
        server.stop()
        env = {"KAFKA_BROKERS": self.kafka.address, **self.VARIABLES}
        shown = self.cli("topics", "ensure", "--dry-run", "--eventlog-backend", "kafka", env=env)
        self.assertEqual((shown.returncode, "bridge.messages" in shown.stdout, TOPIC in shown.stdout), (0, True, False), shown.stderr)

    def test_what_waits_goes_on_under_another_name(self):
        site = self.site()
        site.pages["/a"], site.fails = png(1, 64, 48), [500] * 10
        server = self.start("--retry-base", "3s", **self.VARIABLES)
        self.producers["kafka-clients"].produce("bridge.messages", CHAT, text(message(1, messageType="image", metadata={"mediaUrl": site.url + "/a"})))
        self.wait(server, "msg_1", "queued")
        server.stop()
        site.fails.clear()
        server = self.start("--retry-base", "50ms", KAFKA_GROUP_ID="another-group", KAFKA_TOPIC="another.topic")
        self.check_all_processed(server, ["msg_1"], {"msg_1": 1})
        self.assertEqual(len(server.records("another.topic")), 1)

    def test_names_that_cannot_be(self):
        for variables, says in (({"KAFKA_TOPIC": "a b"}, "no name of a topic"), ({"KAFKA_TOPIC": LETTERS}, "another topic's"),
                                ({"KAFKA_GROUP_ID": "deeplens-status"}, "group of step status")):
            result = self.cli("serve", "--data-dir", os.path.join(self.scratch, "none"), "--http-listen", "127.0.0.1:0", *self.flags(), env=variables)
            self.assertEqual(result.returncode, 1)
            self.assertIn(says, result.stderr)


class Flow(Messages):
    def test_text_and_pictures_of_others_end_processed_once_whatever_is_killed(self):
        """Every client, five chats; each message comes twice, each chat's edits must be in order; ten kills."""
        site, dice = self.site(), random.Random(9)
        server = self.serve(*self.MEDIA, "--retry-attempts", "40", "--retry-base", "50ms")
        sent, images, edits = [], {}, {}
        for turn in range(10):
            for chat in (f"{n}@s.whatsapp.net" for n in range(5)):
                producer = self.producers[dice.choice(list(self.producers) if turn < 3 else ["confluent-kafka", "kafka-clients"])]
                number = len(sent)
                made = message(number, chat)
                if turn % 2:
                    site.pages[f"/{number}"] = png(number, 64, 48)
                    made |= {"messageType": "image", "metadata": {"mediaUrl": f"{site.url}/{number}"}}
                    images[made["messageId"]] = number
                elif turn > 1:  # all within one second: the last one that came counts
                    edits[chat] = made["content"]
                    made |= {"messageType": "edit", "metadata": {"targetMessageId": f"msg_{int(chat[0])}"}, "timestamp": 1705234600}
                for _ in range(2):
                    producer.produce(TOPIC, chat, text(made))
                sent.append(made["messageId"])
            time.sleep(dice.random() * 0.3)
            server.kill()
            server.start()
        found = self.check_all_processed(server, sent, images)
        for n in range(5):
            self.assertEqual(found[f"msg_{n}"]["content"], edits[f"{n}@s.whatsapp.net"])
        self.check_outbox_empties(server)

    def test_g3_killed_at_each_call_of_the_step(self):
        site = self.site()
        server = self.serve("--retry-attempts", "100", "--retry-base", "50ms", *self.MEDIA, start=False)
        flags, sent, images = server.flags, [], {}
        for fault in ("meta.message_put:kill@3", "meta.message_put:after:kill@5", "meta.inbox_end:kill@2", "meta.inbox_end:after:kill@1",
                      "eventlog.commit:kill@1", "eventlog.commit:after:kill@1", "blob.put_commit:kill@1", "blob.put_commit:after:kill@1",
                      "meta.media_insert:after:kill@1"):
            with self.subTest(fault):
                server.flags = (*flags, "--fault", fault)
                server.start(wait=False)
                server.wait_ready()  # what the last one left over may kill it before
                for _ in range(100):  # until it dies of it
                    number = len(sent)
                    made = message(number, f"{number % 3}@s.whatsapp.net")
                    if number % 3 == 0:
                        site.pages[f"/{number}"] = png(number, 64, 48)
                        made |= {"messageType": "image", "metadata": {"mediaUrl": f"{site.url}/{number}"}}
                        images[made["messageId"]] = number
                    self.producers["confluent-kafka"].produce(TOPIC, made["chatJid"], text(made))
                    sent.append(made["messageId"])
                    if server.process.poll() is not None:
                        break
                    time.sleep(0.1)
                server.process.wait(harness.PATIENCE)
                server.stop()
        server.flags = flags
        server.start()
        self.check_all_processed(server, sent, images)

    def test_g1_g6_what_is_taken_while_kafka_is_away_comes_through(self):
        schemas = check.Events(ROOT)
        server = self.serve()
        self.take(server, message("before"))
        self.wait(server, "msg_before")
        self.kafka.kill()
        self.take(server, *(message(n, f"{n % 3}@s.whatsapp.net") for n in range(30)))
        server.kill()
        server.start()
        self.take(server, *(message(n, f"{n % 3}@s.whatsapp.net") for n in range(20, 40)))
        self.assertEqual(self.get(server, "msg_39")["state"], "ready")
        self.kafka.brokers[0].start()
        self.check_all_processed(server, ["msg_before"] + [f"msg_{n}" for n in range(40)], {})
        # As others read them: flat, keyed by the chat, each chat's in its order, each event under one id.
        records = clients.consume(self.kafka.address, [TOPIC], lambda r: len({json.loads(one[2])["messageId"] for one in r}) == 41)
        order, ids = {}, {}
        for _, key, value, headers in records:
            event = json.loads(value)
            self.assertEqual(schemas.wrong(TOPIC, "flat", event), [])
            self.assertEqual((key, headers["ce_type"]), (event["chatJid"], TOPIC))
            self.assertEqual(ids.setdefault(event["messageId"], headers["ce_id"]), headers["ce_id"])
            order.setdefault(key, dict.fromkeys(()))[event["messageId"]] = None
        for n in range(3):
            self.assertEqual(list(order[f"{n}@s.whatsapp.net"]), [f"msg_{i}" for i in range(40) if i % 3 == n])

    def unread(self, server, count) -> list:
        """Messages that are on the topic, and nobody has read them."""
        paused = server.request("PATCH", "/api/v1/admin/jobs/message", json.dumps({"paused": True}).encode())
        self.assertEqual(paused.status, 200, paused.body)
        self.take(server, message("target"), *(message(n, messageType="edit", content=str(n), metadata={"targetMessageId": "msg_target"})
                                               for n in range(count)))
        wait_until(lambda: sum(self.ends(TOPIC).values()) == count + 1, "they are on the topic")
        self.check_outbox_empties(server)
        return ["msg_target", *(f"msg_{n}" for n in range(count))]

    def test_g2_what_the_topic_lost_is_put_back(self):
        """Deleted under us, expired before it was read, made anew: what was taken over HTTP is worked on all the same, in order."""
        import confluent_kafka
        for how in ("deleted", "expired", "recreated"):
            with self.subTest(how):
                server = self.server(*self.flags(*SOON), name=how)
                sent = self.unread(server, 150)
                if how == "deleted":
                    self.done(self.admin().delete_topics([TOPIC]))
                server.kill() if how == "expired" else server.stop()
                if how == "expired":
                    self.done(self.admin().delete_records([confluent_kafka.TopicPartition(TOPIC, p, end) for p, end in self.ends(TOPIC).items()]))
                if how == "recreated":
                    where = ("--data-dir", server.data_dir, *self.flags())
                    done = wait_until(lambda: (answer := self.cli("topics", "recreate", TOPIC, "--yes", "--json", *where)).returncode == 0 and answer,
                                      "the group has no members any more")
                    self.assertEqual(json.loads(done.stdout)["itemsPutBack"], len(sent), done.stdout)
                server.start()
                found = self.check_all_processed(server, sent, {})
                self.assertEqual(found["msg_target"]["content"], "149")
                server.stop()
                self.done(self.admin().delete_topics([TOPIC]))

    def test_what_others_work_on_is_not_put_back(self):
        server = self.serve(*SOON, "--roles", "api,image,video,extract,index,maintenance")
        self.take(server, *(message(n) for n in range(10)))
        clients.consume(self.kafka.address, [TOPIC], lambda r: len(r) >= 10, **{"group.id": GROUP})
        for _ in range(3):  # looks, each in a tenth of reconcile.after
            seen = server.metric("deeplens_items_put_back_total")
            time.sleep(1)
            self.assertEqual((seen, sum(self.ends(TOPIC).values())), (0, 10))

    def test_g5_garbage_of_others_is_a_dead_letter_as_it_came(self):
        server = self.serve()
        garbage = {"no JSON": bytes(range(256)), "no object": b"[1]", "truncated": text(message(1))[:-9], "no chat": b'{"messageId":"m"}',
                   "wrong type": text({**message(2), "messageId": 7}), "unknown tenant": text({**message(3), "tenantId": "nobody"}),
                   "no target": text({**message(4), "messageType": "reaction"}), "too large": text({**message(5), "content": "x" * (20 << 20)})}
        for number, (name, producer) in enumerate(self.producers.items()):
            for what, value in garbage.items():
                producer.produce(TOPIC, f"{name}-{what}", value)
                producer.produce(TOPIC, f"{name}-{what}", text(message(f"{number}-{what}", f"{name}-{what}")))
        for number in range(len(self.producers)):
            for what in garbage:
                self.wait(server, f"msg_{number}-{what}")
        count = len(garbage) * len(self.producers)
        letters = clients.consume(self.kafka.address, [LETTERS], lambda r: len(r) >= count)
        self.assertEqual(len(letters), count)
        for _, key, value, headers in letters:
            with self.subTest(key):
                self.assertTrue(value == garbage[key.split("-")[-1]], "the bytes are others")
                self.assertEqual((headers["__dlq.errors.topic"], headers["__dlq.errors.stage"]), (TOPIC, "message"))
                self.assertTrue(headers["__dlq.errors.message"])

    def test_a_worker_of_others_works_on_what_is_taken_here(self):
        """The message step is left out: somebody else's consumer gets what came over HTTP, in its group."""
        server = self.serve("--roles", "api,image,video,extract,index,maintenance")
        self.take(server, *(message(n) for n in range(10)))
        records = clients.consume(self.kafka.address, [TOPIC], lambda r: len(r) >= 10, **{"group.id": GROUP})
        self.assertEqual([json.loads(value)["messageId"] for _, _, value, _ in records], [f"msg_{n}" for n in range(10)])
        self.assertEqual({m["state"] for m in self.all(server).values()}, {"ready"})
        self.assertNotIn(GROUP, [g["name"] for g in server.get("/api/v1/admin/groups").json["groups"] if g["members"]])


if __name__ == "__main__":
    clients.enter()
    harness.main()
