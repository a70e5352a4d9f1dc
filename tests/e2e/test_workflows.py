# SPDX-License-Identifier: Apache-2.0
"""Workflows: what is done when a message of a chat matches a rule."""
import http.server
import json
import pathlib
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))

import whatsapp
from whatsapp import change, notification, notify, text

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


if __name__ == "__main__":
    harness.main()
