# SPDX-License-Identifier: Apache-2.0
"""Workflows: what is done when a message of a chat matches a rule."""
import http.server
import json
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))

import mail

mail.enter()

import whatsapp
from whatsapp import change, notification, notify, status, text

import harness
from harness import png, wait_until
from test_whatsapp import CHAT, WhatsAppCase

RULES = "/api/v1/workflows"


class WorkflowCase(WhatsAppCase):
    def setUp(self):
        super().setUp()
        self.api = whatsapp.CloudApi()
        self.addCleanup(self.api.close)

    def hook(self, *flags, env=None):
        return super().hook("--webhook-allow", "127.0.0.0/8", "--webhook-retry-base", "50ms", "--retry-base", "50ms", "--retry-attempts", "20",
                            "--whatsapp-api-url", self.api.url + "/v23.0", *flags,
                            env={"DEEPLENS_WHATSAPP_ACCESS_TOKEN": whatsapp.TOKEN, **(env or {})})

    def add(self, server, when, *do, tenant=None, **members) -> str:
        answer = server.request("POST", RULES, json.dumps({"when": when, "do": do, **members}).encode(),
                                {"Content-Type": "application/json", **({"X-Tenant-Id": tenant} if tenant else {})})
        self.assertEqual(answer.status, 201, answer.body)
        return answer.json["id"]

    def picture(self, server, number, media="M1", **members):
        notify(server, notification(change([whatsapp.message(number, "image", {"id": media, "mime_type": "image/png", "caption": "The sea"}, **members)])))

    def receiver(self, server, status=lambda: 200):
        """A webhook of the tenant, and what it was told: bodies by the id of their delivery."""
        told = {}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                told[self.headers["webhook-id"]] = json.loads(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(status())
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        web.handle_error = lambda *_: None
        threading.Thread(target=web.serve_forever, args=(0.05,), daemon=True).start()
        self.addCleanup(web.server_close)
        self.addCleanup(web.shutdown)
        answer = server.post_json("/api/v1/admin/webhooks", {"url": f"http://127.0.0.1:{web.server_port}/", "types": ["media.deleted"]})
        return answer.json["id"], told


class Rules(WorkflowCase):
    def test_listed_added_removed(self):
        server = self.hook()
        server.post_json("/api/v1/admin/tenants", {"name": "shop"})
        first = self.add(server, {"type": "image"}, {"ingest": True}, name="Pictures")
        second = self.add(server, {"group": True}, {"ingest": False})
        theirs = self.add(server, {}, {"ingest": False}, tenant="shop")
        found = server.get(RULES).json["workflows"]
        self.assertEqual([(w["id"], w.get("name"), w["when"], w["do"]) for w in found],
                         [(first, "Pictures", {"type": "image"}, [{"ingest": True}]), (second, None, {"group": True}, [{"ingest": False}])])
        self.assert_problem(server.request("DELETE", f"{RULES}/{theirs}"), 404, "NOT_FOUND")
        self.assertEqual(server.request("DELETE", f"{RULES}/{first}").status, 204)
        self.assert_problem(server.request("DELETE", f"{RULES}/{first}"), 404, "NOT_FOUND")
        self.assertEqual([w["id"] for w in server.get(RULES).json["workflows"]], [second])
        self.assertEqual([w["id"] for w in server.get(RULES, X_Tenant_Id="shop").json["workflows"]], [theirs])
        for wrong, says in (({"when": {}, "do": [{"fly": 1}]}, "do[0]"), ({"when": {"typ": "x"}, "do": [{"ingest": True}]}, "typ"),
                            ({"when": {}, "do": [{"notify": {"webhook": "whk_none"}}]}, "whk_none"), ({"when": {}}, "do")):
            self.assert_problem(server.post_json(RULES, wrong), 400, "INVALID_REQUEST", says)
        self.assert_problem(server.get(RULES, X_Tenant_Id="nobody"), 404, "TENANT_UNKNOWN")

    def test_no_more_than_may_be(self):
        server = self.hook()
        for _ in range(100):
            self.add(server, {}, {"ingest": True})
        self.assert_problem(server.post_json(RULES, {"when": {}, "do": [{"ingest": True}]}), 409, "CONFLICT", "100")

    def test_on_the_command_line(self):
        server = self.hook()
        notify(server, notification(change([text(1, "Red shoes"), text(2, "Blue hat")])))
        server.settle()
        rule = self.scratch + "/rule.json"
        pathlib.Path(rule).write_text(json.dumps({"name": "Shoes", "when": {"text": "*SHOES*"}, "do": [{"ingest": False}]}))
        tried = json.loads(self.cli("workflows", "test", rule, "--json", server=server).stdout)
        self.assertEqual((tried["checked"], [(m["messageId"], m["name"]) for m in tried["matched"]]), (2, [("wamid.1", "Shoes")]))
        self.assertIn("2 messages were looked at", self.cli("workflows", "test", server=server).stdout)
        added = self.cli("workflows", "add", rule, server=server)
        self.assertEqual(added.returncode, 0, added.stderr)
        self.assertIn("Shoes", self.cli("workflows", "list", server=server).stdout)
        self.assertIn("wamid.1", self.cli("workflows", "test", "--message", "wamid.1", server=server).stdout)
        self.assertEqual(self.cli("workflows", "remove", added.stdout.strip(), server=server).returncode, 0)
        self.assertEqual(server.get(RULES).json["workflows"], [])
        self.assertEqual(self.cli("workflows", "add", "/nonexistent", server=server).returncode, 2)
        self.assertEqual(self.cli("workflows", "add", "-", server=server, stdin="{").returncode, 1)


class Ingest(WorkflowCase):
    def test_which_pictures_become_items(self):
        server = self.hook()
        self.api.media |= {f"M{n}": ("image/png", png(n)) for n in range(1, 4)}
        self.add(server, {"sender": CHAT, "text": "*sea*"}, {"ingest": {"tags": ["beach", "wa"]}})
        self.add(server, {"type": ["image", "video"]}, {"ingest": False})
        self.picture(server, 1)
        self.picture(server, 2, "M2", **{"from": "4915112345"})
        one, two = self.wait(server, "wamid.1"), self.wait(server, "wamid.2")
        self.assertNotIn("imageId", two)
        item = server.get(one["mediaUrl"]).json
        self.assertEqual((item["tags"], item["metadata"]["caption"]), (["beach", "wa"], "The sea"))
        self.assertEqual(self.api.asked, [("id", "M1"), ("url", "M1")])
        self.assertEqual(server.settle()["accepted"], 1)


class Webhooks(WorkflowCase):
    def test_a_webhook_is_told_once(self):
        server = self.hook()
        self.api.media["M1"] = ("image/png", png(1))
        hook, told = self.receiver(server)
        rule = self.add(server, {"type": ["image", "text"]}, {"notify": {"webhook": hook}}, name="All")
        for _ in range(3):
            self.picture(server, 1)
        notify(server, notification(change([text(2, "Hi")])))
        wait_until(lambda: len(told) == 2, "both are told of")
        server.settle()
        self.assertEqual(len(told), 2)
        found = next(t for t in told.values() if t["data"]["message"]["messageId"] == "wamid.1")
        message = found["data"].pop("message")
        self.assertEqual((found["type"], found["data"]), ("message.matched", {"tenantId": "default", "workflowId": rule, "workflow": "All"}))
        self.assertEqual((message["chatJid"], message["sender"], message["content"], message["imageId"]),
                         (CHAT, CHAT, "The sea", self.get(server, "wamid.1")["imageId"]))
        log = server.get(f"/api/v1/admin/webhooks/{hook}/deliveries").json["items"]
        self.assertEqual({(d["type"], d["itemId"]) for d in log}, {("message.matched", CHAT)})

    def test_killed_anywhere_nothing_is_told_twice_under_another_id(self):
        server = self.hook()
        hook, told = self.receiver(server)
        self.add(server, {"type": "text"}, {"notify": {"webhook": hook}})
        for n in range(30):
            notify(server, notification(change([text(n, f"No {n}")])))
            if n % 10 == 9:
                server.kill()
                server.start()
        server.settle()
        wait_until(lambda: len({t["data"]["message"]["messageId"] for t in told.values()}) == 30, "all are told of")
        self.assertEqual(len(told), 30)

    def test_a_webhook_that_is_gone_holds_up_nothing(self):
        server = self.hook()
        hook, told = self.receiver(server)
        self.add(server, {}, {"notify": {"webhook": hook}})
        server.request("DELETE", f"/api/v1/admin/webhooks/{hook}")
        notify(server, notification(change([text(1)])))
        self.wait(server, "wamid.1")
        self.assertIn("is gone", server.log_text())
        self.assertEqual(told, {})


class AnswerCase(WorkflowCase):
    def say(self, server, number, body, **members):
        """A text that was sent a moment ago."""
        notify(server, notification(change([text(number, body, **{"timestamp": str(int(time.time())), **members})])))

    def send_picture(self, server, number, media):
        self.picture(server, number, media, timestamp=str(int(time.time())))

    def replies(self, server, query="") -> list:
        return server.get("/api/v1/replies" + query).json["items"]

    def ended(self, server, count, query="") -> list:
        """All replies, the first one first."""
        return wait_until(lambda: len(found := self.replies(server, query)) == count and all("endedAt" in r for r in found) and found[::-1],
                          f"{count} replies have ended")

    def hook(self, *flags, env=None):
        return super().hook("--whatsapp-send-timeout", "1s", *flags, env=env)


class Answers(AnswerCase):
    def test_a_picture_is_answered_with_its_look_alikes(self):
        server = self.hook("--whatsapp-link-url", "https://example.com/{id}/show")
        self.api.media |= {f"M{n}": ("image/png", png(n)) for n in (1, 2)}
        self.add(server, {"type": "image"}, {"answer": {"alike": {"limit": 1}}})
        self.send_picture(server, 1, "M1")
        first = self.ended(server, 1)[0]
        self.assertEqual((first["state"], first["text"]), ("sent", "Nothing looks like it yet."))
        self.send_picture(server, 2, "M2")
        second = self.ended(server, 2)[1]
        other = self.get(server, "wamid.1")["imageId"]
        self.assertRegex(second["text"], rf"^What looks like it:\n1\. The sea \(-?\d+ %\)\nhttps://example.com/{other}/show$")
        message = self.api.sent[1]
        self.assertEqual((message["messaging_product"], message["recipient_type"], message["to"], message["type"], message["context"]),
                         ("whatsapp", "individual", "16505551234", "text", {"message_id": "wamid.2"}))
        self.assertEqual((message["text"]["body"], message["biz_opaque_callback_data"]), (second["text"], second["id"]))
        self.assertNotIn(whatsapp.TOKEN, server.log_text())
        self.assertEqual(server.metric('deeplens_replies_total{outcome="sent"}'), 2)

    def test_a_picture_that_fails_is_not_answered(self):
        server = self.hook("--retry-attempts", "1", "--fault", "extractor.extract:EXTRACTION_FAILED@1+")
        self.api.media["M1"] = ("image/png", png(1))
        self.add(server, {"type": "image"}, {"answer": "alike"})
        self.send_picture(server, 1, "M1")
        self.assertEqual(self.ended(server, 1)[0]["state"], "unsent")
        self.say(server, 2, "no picture")
        self.add(server, {"type": "text"}, {"answer": "alike"})
        self.say(server, 3, "no picture either")
        self.assertIn("no picture", self.ended(server, 2)[1]["error"]["message"])
        self.assertEqual(self.api.sent, [])

    def test_commands(self):
        server = self.hook()
        for word in ("find", "status"):
            self.add(server, {"command": "/" + word}, {"answer": word})
        self.add(server, {"text": "hello*"}, {"answer": {"text": "Welcome!"}})
        for n, body in enumerate(("/find", "/find red shoes", "/status", "Hello there", "/finder", "nothing")):
            self.say(server, n, body)
        server.settle()
        found = {r["messageId"]: r["text"] for r in self.ended(server, 4)}
        self.assertEqual(found, {"wamid.0": "Say what to look for, such as: /find red shoes", "wamid.1": "Pictures cannot be looked for by words here.",
                                 "wamid.2": "Pictures and videos of this chat: 0 searchable, 0 being worked on, 0 failed.", "wamid.3": "Welcome!"})

    def test_groups_are_answered_in_the_group(self):
        server = self.hook()
        self.add(server, {"group": True}, {"answer": {"text": "Welcome!"}})
        self.say(server, 1, "Hi", group_id="120363")
        self.ended(server, 1)
        self.assertEqual((self.api.sent[0]["recipient_type"], self.api.sent[0]["to"]), ("group", "120363"))

    def test_stop_holds_until_start(self):
        server = self.hook("--whatsapp-rate", "1")
        self.add(server, {"type": "text"}, {"answer": {"text": "Yes?"}})
        self.say(server, 1, "/STOP")
        self.say(server, 2, "Hello?")
        self.say(server, 3, "From another", **{"from": "4915112345"})
        self.assertEqual([r["state"] for r in sorted(self.ended(server, 3), key=lambda r: r["messageId"])], ["unsent", "unsent", "sent"])  # chats go side by side
        server.kill()
        server.start()
        self.say(server, 4, "Still there?")
        self.assertIn("/stop", self.ended(server, 4)[3]["error"]["message"])
        self.say(server, 5, "/start")
        self.assertEqual(self.ended(server, 5)[4]["state"], "sent")
        self.assertEqual([m["to"] for m in self.api.sent], ["4915112345", "16505551234"])

    def test_outside_the_window_only_a_template_would_be_taken(self):
        server = self.hook()
        self.add(server, {"type": "text"}, {"answer": {"text": "Yes?"}})
        self.say(server, 1, "Long ago", timestamp="1705234567")
        one = self.ended(server, 1)[0]
        self.assertEqual((one["state"], one["error"]["message"]),
                         ("unsent", "The last message of the chat is older than 24 hours: only a template would be taken"))
        self.api.fails["send"] = ["outside the window"]  # by its clock
        self.say(server, 2, "Now")
        two = self.ended(server, 2)[1]
        self.assertEqual((two["state"], two["error"]["code"]), ("unsent", "131047"))
        self.assertEqual(self.api.tries, 1)

    def test_only_what_came_by_the_cloud_api_is_answered(self):
        server = self.hook()
        self.add(server, {}, {"answer": {"text": "Yes?"}})
        server.post_json("/api/v1/messages", {"messageId": "b1", "chatJid": CHAT, "content": "By a bridge", "timestamp": time.time()})
        server.post_json("/api/v1/messages", {"messageId": "b2", "chatJid": CHAT, "content": "x", "timestamp": time.time(),
                                              "metadata": {"phoneNumberId": "../evil"}})
        self.assertEqual({(r["state"], r["error"]["message"]) for r in self.ended(server, 2)}, {("unsent", "The message did not come by the Cloud API")})
        server.post_json("/api/v1/admin/tenants", {"name": "shop"})
        self.add(server, {}, {"answer": {"text": "Yes?"}}, tenant="shop")
        server.request("POST", "/api/v1/messages", json.dumps({"messageId": "b1", "chatJid": CHAT, "content": "x", "metadata": {
            "phoneNumberId": whatsapp.NUMBER}}).encode(), {"Content-Type": "application/json", "X-Tenant-Id": "shop"})
        server.settle()
        self.assertEqual(server.get("/api/v1/replies", X_Tenant_Id="shop").json["items"][0]["state"], "unsent")
        self.assertEqual(self.api.tries, 0)


class Sending(AnswerCase):
    def hook(self, *flags, env=None):
        server = super().hook(*flags, env=env)
        if not server.get(RULES).json["workflows"]:
            self.add(server, {"text": "a*"}, {"answer": {"text": "Yes?"}})
        return server

    def test_what_is_nobody_s_fault_is_waited_for(self):
        server = self.hook("--webhook-attempts", "1")
        self.api.fails["send"] = ["rate limit", "token expired", "rate limit"]
        self.say(server, 1, "a")
        self.say(server, 2, "a")
        found = self.ended(server, 2)
        self.assertEqual([(r["state"], r["attempts"]) for r in found], [("sent", 1)] * 2)
        self.assertEqual(len(self.api.sent), 2)
        self.assertIn("replies pause", server.log_text())

    def test_while_all_pause_readiness_says_so(self):
        server = self.hook("--webhook-retry-base", "10m", "--webhook-retry-max", "10m")
        self.api.fails["send"] = ["token expired"]
        self.say(server, 1, "a")
        ready = wait_until(lambda: (answer := server.get("/readyz")).status == 503 and answer, "it is not ready")
        self.assertIn("whatsapp.access_token", ready.body.decode())
        self.assertNotIn(whatsapp.TOKEN, ready.body.decode() + server.log_text())
        one = wait_until(lambda: (r := self.replies(server)[0])["state"] == "waiting" and r, "it waits")
        self.assertEqual(one["attempts"], 0)

    def test_what_may_go_well_later_is_tried_again(self):
        server = self.hook()
        self.api.fails["send"] = ["too many to one", "something went wrong"]
        self.say(server, 1, "a")
        one = self.ended(server, 1)[0]
        self.assertEqual((one["state"], one["attempts"], self.api.tries), ("sent", 3, 3))

    def test_what_cannot_be_delivered_is_dead(self):
        server = self.hook()
        for n, (wrong, code) in enumerate((("undeliverable", "131026"), ("template wanted", "132001"))):
            self.api.fails["send"] = [wrong]
            self.say(server, n, "a")
            one = self.ended(server, n + 1)[n]
            self.assertEqual((one["state"], one["error"]["code"], one["attempts"]), ("unsent", code, 1))
        self.assertEqual(self.api.tries, 2)

    def test_what_may_have_been_sent_is_not_sent_again(self):
        server = self.hook()
        self.api.fails["send"] = ["lost"]
        self.say(server, 1, "a")
        one = self.ended(server, 1)[0]
        self.assertEqual((one["state"], "sentMessageId" in one), ("uncertain", False))
        wamid = self.api.sent[0]["wamid"]
        notify(server, notification(change(statuses=[status(wamid, "delivered", biz_opaque_callback_data=one["id"])])))
        found = wait_until(lambda: (r := self.replies(server)[0])["state"] == "sent" and r, "its status says that it was sent")
        self.assertEqual((found["sentMessageId"], found["delivery"], "error" in found), (wamid, "delivered", False))
        said = self.get(server, wamid)
        self.assertEqual((said["content"], said["fromMe"], said["state"], said["delivery"]), ("Yes?", True, "processed", "delivered"))
        self.api.fails["send"] = ["gateway"]
        self.say(server, 2, "a")
        self.assertEqual(self.ended(server, 2)[1]["state"], "uncertain")
        self.assertEqual(self.api.tries, 2)

    def test_on_the_command_line(self):
        server = self.hook()
        self.say(server, 1, "a picture, please")
        self.ended(server, 1)
        self.assertIn("a picture, please", self.cli("messages", "list", "--chat", CHAT, "--type", "text", server=server).stdout)
        shown = self.cli("messages", "show", "wamid.1", server=server).stdout
        self.assertIn("a picture, please", shown)
        self.assertIn("Yes?", shown)
        found = json.loads(self.cli("messages", "show", "wamid.1", "--json", server=server).stdout)
        self.assertEqual((found["content"], [r["text"] for r in found["replies"]]), ("a picture, please", ["Yes?"]))
        self.assertIn("Yes?", self.cli("messages", "replies", "--state", "sent", server=server).stdout)
        self.assertEqual(self.cli("messages", "show", "none", server=server).returncode, 1)

    def test_statuses_are_kept(self):
        server = self.hook()
        self.say(server, 1, "a")
        one = self.ended(server, 1)[0]
        wamid, data = one["sentMessageId"], {"biz_opaque_callback_data": one["id"]}
        for says in ("read", "sent", "delivered"):
            notify(server, notification(change(statuses=[status(wamid, says, **data)])))
        server.settle()
        self.assertEqual((self.replies(server)[0]["delivery"], self.get(server, wamid)["content"]), ("read", "Yes?"))
        self.say(server, 2, "a")
        two = self.ended(server, 2)[1]
        notify(server, notification(change(statuses=[status(two["sentMessageId"], "failed", ["undeliverable"], biz_opaque_callback_data=two["id"])])))
        server.settle()
        found = self.replies(server)[0]
        self.assertEqual((found["state"], found["delivery"], found["error"]["code"]), ("sent", "failed", "131026"))

    def test_killed_anywhere_nothing_is_said_twice(self):
        server = self.hook("--whatsapp-rate", "1000")
        for n in range(24):
            self.say(server, n, "a")
            if n % 6 == 5:
                server.kill()
                server.start()
                for old in range(n + 1):  # it redelivers for days
                    self.say(server, old, "a")
        found = self.ended(server, 24)
        said = [m["biz_opaque_callback_data"] for m in self.api.sent]
        self.assertEqual(len(said), len(set(said)))
        self.assertLessEqual({r["state"] for r in found}, {"sent", "uncertain"})
        for one in found:  # what is said to be sent was
            self.assertTrue(one["state"] == "uncertain" or one["id"] in said)

    def killed_at(self, fault) -> tuple:
        """The state in which a reply ends when the process dies there, and how often it was sent."""
        server = self.hook("--fault", fault)
        self.say(server, 1, "a")
        wait_until(lambda: server.process.poll() is not None, "it is killed")
        server.stop()
        server.flags = [flag for flag in server.flags if flag not in ("--fault", fault)]
        server.start()
        return self.ended(server, 1)[0]["state"], len(self.api.sent)

    def test_killed_before_it_is_taken_over_it_is_sent(self):
        self.assertEqual(self.killed_at("meta.reply_put:kill@2"), ("sent", 1))

    def test_killed_before_its_result_is_noted_it_is_uncertain(self):
        self.assertEqual(self.killed_at("meta.reply_put:kill@3"), ("uncertain", 1))

    def test_a_deleted_message_is_not_answered(self):
        self.api.fails["send"] = ["too many to one"]
        server = self.hook("--webhook-retry-base", "2s", "--webhook-retry-max", "2s")
        self.say(server, 1, "a")
        wait_until(lambda: self.api.tries == 1, "it is tried")
        notify(server, notification(change([whatsapp.message(2, "revoke", {"original_message_id": "wamid.1"})])))
        one = self.ended(server, 1)[0]
        self.assertIn("deleted", one["error"]["message"])
        self.assertEqual(self.api.tries, 1)


class Erasing(AnswerCase):
    def erase(self, server, sender=CHAT, **members):
        answer = server.post_json("/api/v1/messages/erase", {"sender": sender, **members})
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json["messages"], answer.json["items"]

    def fill(self, server):
        self.api.media |= {f"M{n}": ("image/png", png(n)) for n in (1, 2)}
        self.add(server, {}, {"answer": {"text": "Yes?"}})
        other = {"from": "4915112345"}
        self.send_picture(server, 1, "M1")
        self.say(server, 2, "In the group", group_id="120363")
        self.say(server, 3, "Mine", group_id="120363", **other)
        notify(server, notification(change([whatsapp.message(4, "reaction", {"message_id": "wamid.3", "emoji": "👍"}, group_id="120363")])))
        self.say(server, 5, "Also mine", **other)
        server.settle()
        self.ended(server, 4)

    def test_exported(self):
        server = self.hook()
        self.fill(server)
        found = json.loads(self.cli("messages", "export", "--sender", CHAT, server=server).stdout)
        own = {r["sentMessageId"] for r in self.replies(server) if r["chatJid"] == CHAT}
        self.assertEqual({m["messageId"] for m in found["messages"]}, {"wamid.1", "wamid.2", "wamid.4"} | own)
        self.assertEqual({r["messageId"] for r in found["replies"]}, {"wamid.1", "wamid.2"})
        self.assertNotIn("stoppedAt", found)
        self.assertNotIn("Mine", json.dumps(found))
        for n in range(10, 260):
            self.say(server, n, "More")
        self.say(server, 300, "/stop")
        server.settle()
        found = json.loads(self.cli("messages", "export", "--sender", CHAT, server=server).stdout)
        self.assertTrue({f"wamid.{n}" for n in range(10, 260)} <= {m["messageId"] for m in found["messages"]})
        self.assertIn("stoppedAt", found)
        self.assert_problem(server.post_json("/api/v1/messages/export", {}), 400, "INVALID_REQUEST", "sender")
        self.assertEqual(self.cli("messages", "export", server=server).returncode, 2)

    def test_g9_erased(self):
        server = self.hook()
        self.fill(server)
        self.say(server, 6, "/stop")
        server.settle()
        image = self.get(server, "wamid.1")["mediaUrl"]
        self.assertIn("would be erased", self.cli("messages", "erase", "--sender", CHAT, "--dry-run", server=server).stdout)
        self.assertEqual(self.cli("messages", "erase", "--sender", CHAT, server=server).returncode, 2)  # nobody to ask
        self.assertEqual(self.get(server, "wamid.1")["messageId"], "wamid.1")
        self.assertIn("items are erased", self.cli("messages", "erase", "--sender", CHAT, "--yes", server=server).stdout)
        server.settle()
        self.assertEqual(server.get(image).status, 404)
        left = server.get("/api/v1/messages").json["items"]
        self.assertNotIn("16505551234", json.dumps(left) + json.dumps(self.replies(server)))
        self.assertEqual({m["messageId"] for m in left if not m["fromMe"]}, {"wamid.3", "wamid.5"})
        self.assertEqual(self.get(server, "wamid.3")["reactions"], [])
        self.assertEqual(self.erase(server), (0, 0))
        # It redelivers for days; and statuses of what was said come.
        self.send_picture(server, 1, "M1")
        said = next(m["wamid"] for m in self.api.sent if m["to"] == "16505551234")
        notify(server, notification(change(statuses=[status(said, "read")])))
        server.settle()
        self.assertEqual(self.erase(server, dryRun=True), (0, 0))
        self.assertEqual(server.ledger()["searchable"], 0)
        self.say(server, 7, "A new one")  # who wanted no answers wants none still
        self.assertIn("/stop", wait_until(lambda: self.replies(server, "?messageId=wamid.7"), "there is a reply")[0]["error"]["message"])

    def test_killed_in_the_middle_it_goes_on(self):
        server = self.hook("--fault", "meta.message_remove:kill@150")
        notify(server, notification(change([text(n, "Hi") for n in range(250)])))
        server.settle()
        try:
            server.post_json("/api/v1/messages/erase", {"sender": CHAT})
        except OSError:
            pass
        server.stop()
        server.flags = [flag for flag in server.flags if flag not in ("--fault", "meta.message_remove:kill@150")]
        server.start()
        self.assertEqual(self.erase(server, dryRun=True), (150, 0))
        self.assertEqual(self.erase(server), (150, 0))
        self.assertEqual(server.get("/api/v1/messages").json["items"], [])


class Notifications(AnswerCase):
    def test_an_email(self):
        box = mail.Mailbox()
        self.addCleanup(box.stop)
        box.answers = ["451 Not now"]
        server = self.hook("--alert-smtp", box.address, "--alert-email-to", "ops@example.com", "--alert-email-from", "lens@example.com")
        for wrong in ("nobody", "a@example.com,b@example.com", "a@example.com>"):
            self.assert_problem(server.post_json(RULES, {"when": {}, "do": [{"notify": {"email": wrong}}]}), 400, "INVALID_REQUEST", wrong)
        self.add(server, {"text": "*complaint*"}, {"notify": {"email": "shop@example.com"}}, name="Complaints")
        self.say(server, 1, "A complaint\r\nBcc: x@example.com")
        one = self.ended(server, 1)[0]
        self.assertEqual((one["channel"], one["state"], one["attempts"]), ("email", "sent", 2))
        (sender, to, message), = box.mails
        self.assertEqual((sender, to, message["Bcc"]), ("lens@example.com", ["shop@example.com"], None))
        self.assertIn("Complaints", message["Subject"])
        self.assertIn("A complaint", message.get_content())

    def test_a_topic(self):
        server = self.hook()
        server.post_json("/api/v1/admin/topics", {"name": "shop-messages"})
        for wrong in ("deeplens.images.uploaded", "none"):
            self.assert_problem(server.post_json(RULES, {"when": {}, "do": [{"notify": {"topic": wrong}}]}), 400, "INVALID_REQUEST", wrong)
        self.assert_problem(server.post_json(RULES, {"when": {}, "do": [{"notify": {"email": "a@example.com"}}]}), 400, "INVALID_REQUEST", "alert.smtp")
        self.add(server, {}, {"notify": {"topic": "shop-messages"}}, name="Shop")
        for _ in range(2):
            self.say(server, 1, "Hi")
        one = self.ended(server, 1)[0]
        self.assertEqual((one["channel"], one["state"]), ("topic", "sent"))
        records = server.records("shop-messages")
        self.assertEqual([(r["key"], r["value"]["workflow"], r["value"]["message"]["content"]) for r in records], [(CHAT, "Shop", "Hi")])
        server.request("DELETE", "/api/v1/admin/topics/shop-messages")
        self.say(server, 2, "Hi")
        self.assertEqual(self.ended(server, 2)[1]["state"], "unsent")


if __name__ == "__main__":
    harness.main()
