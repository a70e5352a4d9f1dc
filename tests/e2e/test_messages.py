# SPDX-License-Identifier: Apache-2.0
"""Messages of chats: taken from bridges and from the topic, once, in order in each chat, and what changes others."""
import base64
import json
import random
import time
import urllib.parse

import harness
from harness import Case, wait_until

TOPIC = "whatsapp-ready-messages"
CHAT = "1234567890@s.whatsapp.net"
GROUP = "120363000000000000@g.us"


def message(number, chat=CHAT, **members) -> dict:
    return {"messageId": f"m{number}", "chatJid": chat, "messageType": "text", "content": f"Hello {number}",
            "timestamp": 1705234567 + number, **members}


def naming(number, target, kind, content=None, chat=CHAT, at=None, **metadata) -> dict:
    """A message that changes another one."""
    made = message(number, chat, messageType=kind, metadata={"targetMessageId": target, **metadata})
    del made["content"]
    return {**made, **({"content": content} if content is not None else {}), **({"timestamp": at} if at else {})}


class Messages(Case):
    def post(self, server, value, tenant=None):
        headers = {"Content-Type": "application/json", **({"X-Tenant-Id": tenant} if tenant else {})}
        return server.request("POST", "/api/v1/messages", value if isinstance(value, bytes) else json.dumps(value).encode(), headers)

    def take(self, server, *messages, tenant=None) -> list:
        answer = self.post(server, {"messages": list(messages)}, tenant)
        self.assertIn(answer.status, (200, 202), answer.body)
        return [(one["messageId"], one["duplicate"]) for one in answer.json["items"]]

    def get(self, server, message_id, tenant=None) -> dict:
        headers = {"X-Tenant-Id": tenant} if tenant else {}
        if "/" not in message_id:
            return server.request("GET", "/api/v1/messages/" + urllib.parse.quote(message_id), headers=headers).json
        return (server.request("GET", "/api/v1/messages?messageId=" + urllib.parse.quote(message_id, safe=""), headers=headers).json["items"] or [{}])[0]

    def wait(self, server, message_id, state="processed", tenant=None) -> dict:
        return wait_until(lambda: (found := self.get(server, message_id, tenant)).get("state") == state and found,
                          f"{message_id} is {state}")

    def all(self, server, query="") -> list:
        items, cursor = [], ""
        while True:
            page = server.get(f"/api/v1/messages?limit=3{query}&cursor={urllib.parse.quote(cursor)}").json
            items += page["items"]
            cursor = page["nextCursor"]
            if not cursor:
                return items

    def produce(self, server, value, key=CHAT):
        bytes_ = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        answer = server.post_json(f"/api/v1/admin/topics/{TOPIC}/records", {"key": key, "valueBase64": base64.b64encode(bytes_).decode()})
        self.assertEqual(answer.status, 201, answer.body)

    def dead(self, server) -> list:
        return server.get("/api/v1/admin/deadletters").json["items"]

    def test_one_is_taken_and_worked_on(self):
        server = self.server()
        given = message(1, GROUP, fromMe=True, metadata={"isGroup": True, "senderName": "John Doe"})
        answer = self.post(server, given)
        self.assertEqual((answer.status, answer.json), (202, {"messageId": "m1", "state": "ready", "duplicate": False}))
        found = self.wait(server, "m1")
        self.assertEqual({name: found[name] for name in ("messageId", "chatJid", "fromMe", "messageType", "content", "metadata", "tenantId")},
                         {**{k: v for k, v in given.items() if k != "timestamp"}, "tenantId": "default"})
        self.assertEqual(found["sentAt"], "2024-01-14T12:16:08.000Z")
        record, = server.records(TOPIC)
        self.assertEqual((record["key"], record["value"]["messageId"], record["value"]["timestamp"]), (GROUP, "m1", 1705234568))
        again = self.post(server, given)
        self.assertEqual((again.status, again.json), (200, {"messageId": "m1", "state": "processed", "duplicate": True}))
        self.assertEqual(len(server.records(TOPIC)), 1)
        server.settle()
        self.assertEqual(server.ledger()["accepted"], 0)  # it is no item

    def test_a_batch_is_taken_whole_or_not_at_all(self):
        server = self.server()
        bad = self.post(server, {"messages": [message(1), {"messageId": "m2"}]})
        self.assert_problem(bad, 400, "INVALID_REQUEST", "Message 1")
        self.assertEqual(self.all(server), [])
        self.assertEqual(self.take(server, message(1), message(2), message(1)), [("m1", False), ("m2", False), ("m1", True)])
        self.assertEqual(self.take(server, message(2), message(3)), [("m2", True), ("m3", False)])
        server.settle()
        self.assertEqual([m["state"] for m in self.all(server)], ["processed"] * 3)
        self.assertEqual(len(server.records(TOPIC)), 3)

    def test_every_kind_is_kept(self):
        server = self.server()
        kinds = {"text": {}, "image": {"mimeType": "image/jpeg", "caption": "The sea"}, "video": {"mimeType": "video/mp4"},
                 "audio": {"voice": True}, "document": {"fileName": "a.pdf"}, "location": {"latitude": 52.5, "longitude": 13.4},
                 "contact": {"contacts": [{"name": "Jane", "phones": ["+1"]}]}, "poll_of_the_future": {"x": [1, {"y": None}]}}
        self.take(server, *(message(n, metadata=metadata, messageType=kind) for n, (kind, metadata) in enumerate(kinds.items())))
        server.settle()
        self.assertEqual({m["messageType"]: m["metadata"] for m in self.all(server)}, kinds)
        self.assertEqual({m["state"] for m in self.all(server)}, {"processed"})

    def test_what_changes_another_one(self):
        server = self.server()
        self.take(server, message(1), message(2), message(3),
                  naming(4, "m1", "reaction", "👍", sender="a@s"), naming(5, "m1", "reaction", "❤", sender="b@s"),
                  naming(6, "m1", "reaction", "", sender="b@s"), naming(7, "m2", "edit", "Hello, again"), naming(8, "m3", "deletion"))
        server.settle()
        one, two, three = (self.get(server, f"m{n}") for n in (1, 2, 3))
        self.assertEqual([(r["sender"], r["emoji"]) for r in one["reactions"]], [("a@s", "👍")])
        self.assertEqual((two["content"], "editedAt" in two, three["content"], "deletedAt" in three), ("Hello, again", True, None, True))
        self.assertIsNone(self.get(server, "m7")["content"])  # the text is the other one's
        self.assertEqual(self.get(server, "m4")["targetMessageId"], "m1")

    def test_what_changes_one_that_is_still_to_come(self):
        server = self.server()
        self.take(server, naming(4, "m1", "reaction", "👍"), naming(5, "m2", "edit", "Hello, again"), naming(6, "m3", "deletion"))
        self.wait(server, "m6")
        self.assertEqual([self.get(server, m)["state"] for m in ("m1", "m2", "m3")], ["pending"] * 3)
        self.assertEqual(self.take(server, message(1), message(2), message(3, metadata={"a": 1})),
                         [("m1", False), ("m2", False), ("m3", False)])
        one, two, three = (self.wait(server, f"m{n}") for n in (1, 2, 3))
        self.assertEqual((one["content"], [r["emoji"] for r in one["reactions"]]), ("Hello 1", ["👍"]))
        self.assertEqual((two["content"], three["content"], three["metadata"]), ("Hello, again", None, {}))

    def test_what_was_sent_last_counts(self):
        server = self.server()
        self.take(server, message(1), naming(2, "m1", "edit", "second", at=1800000002), naming(3, "m1", "edit", "first", at=1800000001),
                  naming(4, "m1", "reaction", "", at=1800000002), naming(5, "m1", "reaction", "👍", at=1800000001))
        server.settle()
        self.assertEqual((self.get(server, "m1")["content"], self.get(server, "m1")["reactions"]), ("second", []))
        self.take(server, naming(6, "m1", "deletion"), naming(7, "m1", "edit", "too late", at=1900000000))
        server.settle()
        self.assertIsNone(self.get(server, "m1")["content"])

    def test_nobody_reaches_into_another_chat(self):
        server = self.server()
        self.take(server, message(1))
        self.wait(server, "m1")
        self.take(server, naming(2, "m1", "deletion", chat=GROUP), naming(3, "m9", "deletion", chat=GROUP))
        failed = self.wait(server, "m2", "failed")
        self.assertEqual(failed["error"]["code"], "EVENT_INVALID")
        self.assertIn("another chat", failed["error"]["message"])
        self.wait(server, "m3")
        self.take(server, message(9))
        self.assertEqual((self.wait(server, "m9")["content"], self.get(server, "m1")["content"]), ("Hello 9", "Hello 1"))
        self.assertEqual([letter["stage"] for letter in self.dead(server)], ["message"])

    def test_other_programs_publish_on_the_topic(self):
        server = self.server()
        example = {"messageId": "msg_abc123", "chatJid": CHAT, "fromMe": False, "messageType": "text", "content": "Hello, world!",
                   "timestamp": 1705234567, "metadata": {"isGroup": False, "senderName": "John Doe"}}
        for _ in range(3):  # at least once
            self.produce(server, example)
        self.produce(server, naming(2, "msg_abc123", "reaction", "👍"))
        server.settle()
        found = self.get(server, "msg_abc123")
        self.assertEqual((found["state"], found["content"], found["metadata"]), ("processed", "Hello, world!", example["metadata"]))
        self.assertEqual([(r["sender"], r["emoji"]) for r in found["reactions"]], [(CHAT, "👍")])
        self.assertEqual(self.take(server, {k: v for k, v in example.items()}), [("msg_abc123", True)])
        for bad in ("{", '{"messageId":"m"}', json.dumps(message(3, messageId="x" * 300)), json.dumps(message(4, tenantId="nobody")),
                    json.dumps(message(5, messageType="reaction"))):
            self.produce(server, bad)
        server.settle()
        self.assertEqual(len(self.dead(server)), 5)
        self.assertEqual(self.get(server, "m5")["status"], 404)
        self.assertEqual([m["messageId"] for m in self.all(server)], ["m2", "msg_abc123"])

    def test_a_dead_one_is_replayed(self):
        server = self.server()
        self.take(server, message(1), naming(2, "m1", "edit", "Hello, again", chat=GROUP))
        self.wait(server, "m2", "failed")
        server.settle()
        letter, = self.dead(server)
        self.assertIn(server.request("POST", f"/api/v1/admin/deadletters/{letter['id']}/replay").status, (200, 202))
        wait_until(lambda: len(self.dead(server)) == 2, "it fails once more, for the same reason")
        self.assertEqual(self.get(server, "m2")["state"], "failed")

    def test_order_in_a_chat(self):
        server = self.server()
        chats = [f"{n}@s.whatsapp.net" for n in range(5)]
        batch = [{"messageId": f"first-{chat}", "chatJid": chat, "content": "0", "timestamp": 1} for chat in chats]
        for n in range(1, 41):  # all sent within one second: the last one that came counts
            batch += [{"messageId": f"{n}-{chat}", "chatJid": chat, "messageType": "edit", "content": str(n), "timestamp": 5,
                       "metadata": {"targetMessageId": f"first-{chat}"}} for chat in chats]
        self.take(server, *batch)
        server.settle()
        self.assertEqual([self.get(server, f"first-{chat}")["content"] for chat in chats], ["40"] * 5)

    def test_nothing_is_lost_to_kills(self):
        server = self.server()
        dice, sent = random.Random(5), 0
        for _ in range(5):
            for _ in range(4):
                self.take(server, *(message(sent + n, f"{n % 3}@s") for n in range(20)))
                sent += 20
            time.sleep(dice.random() * 0.1)  # anywhere in the middle
            server.kill()
            server.start()
        server.settle()
        found = self.all(server, "&limit=200")
        self.assertEqual(len(found), sent)
        self.assertEqual({m["state"] for m in found}, {"processed"})
        self.assertEqual(self.dead(server), [])

    def test_lists(self):
        server = self.server()
        self.take(server, *(message(n, GROUP if n % 2 else CHAT, messageType="image" if n > 7 else "text") for n in range(10)))
        server.settle()
        ids = lambda query: [m["messageId"] for m in self.all(server, query)]
        self.assertEqual(ids(""), [f"m{n}" for n in range(9, -1, -1)])
        self.assertEqual(ids(f"&chatJid={GROUP}"), ["m9", "m7", "m5", "m3", "m1"])
        self.assertEqual(ids("&messageType=image"), ["m9", "m8"])
        self.assertEqual((ids("&state=failed"), len(ids("&state=processed"))), ([], 10))
        self.assertEqual(ids("&from=2024-01-14T12:16:09Z&to=2024-01-14T12:16:11Z"), ["m3", "m2"])
        for query in ("state=lost", "cursor=x", "limit=0", "from=today"):
            self.assertEqual((query, server.get("/api/v1/messages?" + query).status), (query, 400))

    def test_tenants_are_walls(self):
        server = self.server("--tenants-auto-create")
        self.take(server, message(1), tenant="shop")
        self.take(server, message(1, content="Mine"), naming(2, "m1", "deletion"))
        server.settle()
        self.assertEqual(self.get(server, "m1", "shop")["content"], "Hello 1")
        self.assertIsNone(self.get(server, "m1")["content"])
        self.assertEqual(self.get(server, "m2", "shop")["code"], "NOT_FOUND")
        self.produce(server, message(3, tenantId="new"))
        self.assertEqual(self.wait(server, "m3", tenant="new")["tenantId"], "new")

    def test_g9_what_waits_goes_with_its_tenant(self):
        server = self.server("--tenants-auto-create")
        pause = lambda paused: server.request("PATCH", "/api/v1/admin/jobs/message", json.dumps({"paused": paused}).encode())
        self.take(server, message(1), tenant="shop")
        self.wait(server, "m1", tenant="shop")
        self.assertEqual(pause(True).status, 200)
        self.take(server, message(2), message(5, messageType="image", metadata={"mediaUrl": "http://127.0.0.1:9/"}), tenant="shop")
        self.assertIn(server.request("DELETE", "/api/v1/admin/tenants/shop").status, (200, 202))
        wait_until(lambda: server.get("/api/v1/messages", X_Tenant_Id="shop").status == 404, "it is removed")
        self.take(server, message(3))
        self.take(server, message(4), tenant="shop")  # another one of that name
        self.assertEqual(pause(False).status, 200)
        self.wait(server, "m3")
        server.settle()
        self.wait(server, "m4", tenant="shop")
        self.assertEqual([one["messageId"] for one in server.get("/api/v1/messages", X_Tenant_Id="shop").json["items"]], ["m4"])
        self.assertEqual(self.dead(server), [])

    def test_bad_input(self):
        server = self.server()
        for bad, says in (({}, "chatJid"), ({"chatJid": CHAT}, "messageId"), ({"messageId": "m"}, "chatJid"), (message(1, chatJid=5), "chatJid"),
                          (message(1, chatJID=CHAT), "chatJID"), (message(1, messageId=""), "messageId"), (message(1, messageId="x" * 257), "256"),
                          (message(1, chatJid="x" * 257), "chatJid"), (message(1, content="x" * ((1 << 18) + 1)), "content"),
                          (message(1, metadata={"a": "x" * 70000}), "metadata"), (message(1, metadata=[]), "metadata"),
                          (message(1, messageType=""), "messageType"), (message(1, messageType="edit"), "targetMessageId"),
                          (naming(1, "m1", "edit", "x"), "itself"), (naming(1, "m0", "reaction", "x" * 65), "reaction"),
                          (message(1, metadata={"sender": "x" * 257}), "sender"), ({"messages": []}, "messages"), ({"messages": 5}, "messages"),
                          ({"messages": [5]}, "Message 0"), ({"messages": [message(n) for n in range(1001)]}, "1000"),
                          ({"messages": [message(1)], "messageId": "m"}, "Beside"), (message(1, tenantId="a/b"), "tenant")):
            answer = self.post(server, bad)
            self.assertEqual((says, answer.status), (says, 400), answer.body)
            self.assertIn(says, answer.json["detail"])
        self.assert_problem(self.post(server, b"{"), 400, "INVALID_JSON")
        self.assert_problem(self.post(server, b'"' + b"x" * (5 << 20) + b'"'), 413, "BODY_TOO_LARGE")
        self.assert_problem(self.post(server, message(1), "nobody"), 404, "TENANT_UNKNOWN")
        self.assert_problem(server.get("/api/v1/messages/nothing"), 404, "NOT_FOUND")
        self.assertEqual((self.all(server), server.records(TOPIC)), ([], []))
        long = "wamid.HBgLMTY0/+NTU=" + "é" * 20
        self.take(server, message(1, messageId=long, content="x" * (1 << 18)))
        self.assertEqual(self.wait(server, long)["messageId"], long)


if __name__ == "__main__":
    harness.main()
