# SPDX-License-Identifier: Apache-2.0
"""Webhooks: signed, at least once, in order for each item; verified with the library of Standard Webhooks."""
import collections
import http.server
import json
import pathlib
import random
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))

import realtime

realtime.enter()

import standardwebhooks

import harness
from harness import Case, png, wait_until

ALLOW = ("--webhook-allow", "127.0.0.0/8,::1", "--webhook-retry-base", "50ms", "--webhook-retry-max", "200ms")
ADMIN = "/api/v1/admin/webhooks"


class Receiver:
    """Somebody's endpoint. `answer(number, message)` says the status, may wait, or give (status, headers)."""

    def __init__(self, answer=lambda number, message: 200):
        self.secrets, self.seen, self.refused, self.lock = [], [], [], threading.Lock()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                message = {"id": self.headers["webhook-id"], "signatures": self.headers["webhook-signature"].split(), **json.loads(body)}
                try:
                    for secret in receiver.secrets:
                        standardwebhooks.Webhook(secret).verify(body, dict(self.headers.items()))
                except standardwebhooks.WebhookVerificationError as why:
                    receiver.refused.append(str(why))
                with receiver.lock:
                    receiver.seen.append(message)
                    number = len(receiver.seen)
                status = answer(number, message)
                status, headers = status if isinstance(status, tuple) else (status, {})
                self.send_response(status)
                for name, value in {"content-length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # the sender was killed
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}/hook"

    def messages(self, item=None) -> list:
        """What came, each id once, in the order in which it first came."""
        with self.lock:
            found = {message["id"]: message for message in reversed(self.seen)}
            ids = dict.fromkeys(message["id"] for message in self.seen)
        return [found[i] for i in ids if item is None or found[i]["data"].get("imageId") == item]

    def types(self, item) -> list:
        return [message["type"] for message in self.messages(item)]

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Webhooks(Case):
    def receiver(self, *args) -> Receiver:
        receiver = Receiver(*args)
        self.addCleanup(receiver.close)
        return receiver

    def add(self, server, receiver, types=None, tenant=None, url=None) -> str:
        answer = self.call(server, "POST", ADMIN, {"url": url or receiver.url, **({"types": types} if types else {})}, tenant)
        self.assertEqual(answer.status, 201, answer.body)
        if receiver:
            receiver.secrets = [answer.json["secret"]]
        return answer.json["id"]

    def call(self, server, method, path, value=None, tenant=None):
        headers = {"Content-Type": "application/json", **({"X-Tenant-Id": tenant} if tenant else {})}
        return server.request(method, path, json.dumps(value).encode() if value is not None else None, headers)

    def deliveries(self, server, hook, query="") -> list:
        return server.get(f"{ADMIN}/{hook}/deliveries?limit=1000{query}").json["items"]

    ALL = ["media.uploaded", "media.processing", "processing.completed", "processing.failed", "media.deleting", "media.deleted"]

    def test_told_signed_and_in_order(self):
        server = self.server(*ALLOW)
        before = server.upload(png(99)).json["imageId"]
        server.wait_status(before, "completed")
        receiver, ends = self.receiver(), self.receiver()
        hook = self.add(server, receiver, self.ALL)
        self.add(server, ends)
        ids = [server.upload(png(seed)).json["imageId"] for seed in range(1, 6)]
        for image_id in ids:
            server.wait_status(image_id, "completed")
        server.request("DELETE", f"/api/v1/images/{ids[0]}")
        wait_until(lambda: "media.deleted" in receiver.types(ids[0]) and len(ends.messages()) == 5, "all was told")
        wait_until(lambda: len(receiver.messages()) == 17, "all was told")
        for image_id in ids:
            self.assertEqual(receiver.types(image_id), ["media.uploaded", "media.processing", "processing.completed"] +
                             ["media.deleting", "media.deleted"] * (image_id == ids[0]))
            self.assertEqual(ends.types(image_id), ["processing.completed"])
        self.assertEqual(receiver.types(before), [])
        self.assertEqual((receiver.refused, ends.refused), ([], []))
        event = ends.messages()[0]["data"]["event"]
        self.assertEqual((event["eventType"], event["data"]["status"]), ("processing.completed", "success"))
        wait_until(lambda: {d["state"] for d in self.deliveries(server, hook)} == {"delivered"}, "all is noted")
        log = self.deliveries(server, hook)
        self.assertEqual([(d["attempts"], d["status"]) for d in log], [(1, 200)] * 17)
        one = server.get(f"{ADMIN}/{hook}/deliveries/{log[0]['id']}").json
        self.assertEqual(one["body"]["data"]["imageId"], log[0]["itemId"])
        again = self.call(server, "POST", f"{ADMIN}/{hook}/deliveries/{log[0]['id']}/replay")
        self.assertEqual(again.status, 202)
        wait_until(lambda: len(receiver.seen) == 18, "it was told again")
        self.assertEqual(receiver.seen[-1]["id"], log[0]["id"])
        wait_until(lambda: server.metric('deeplens_webhook_deliveries_total{outcome="delivered"}') == 23, "it is counted")

    def test_two_secrets_while_rotating(self):
        server = self.server(*ALLOW)
        receiver = self.receiver()
        hook = self.add(server, receiver)
        new = self.call(server, "POST", f"{ADMIN}/{hook}/rotate", {"overlapMs": 3600000}).json
        receiver.secrets.append(new["secret"])  # each must verify
        self.assertTrue(new["rotatingUntil"])
        server.upload(png(1))
        wait_until(lambda: receiver.seen, "it was told")
        self.assertEqual((receiver.refused, len(receiver.seen[0]["signatures"])), ([], 2))
        last = self.call(server, "POST", f"{ADMIN}/{hook}/rotate", {"overlapMs": 0}).json
        receiver.secrets = [last["secret"]]
        server.upload(png(2))
        wait_until(lambda: len(receiver.seen) == 2, "it was told")
        self.assertEqual((receiver.refused, len(receiver.seen[1]["signatures"])), ([], 1))
        shown = server.get(ADMIN).json["webhooks"]
        self.assertEqual([("secret" in one, one["url"]) for one in shown], [(False, receiver.url)])

    def test_nothing_is_lost_to_kills(self):
        server = self.server(*ALLOW)
        receiver = self.receiver(lambda number, message: 500 if number % 7 == 0 else 200)
        self.add(server, receiver, self.ALL)
        ids, dice = [], random.Random(7)
        for round_number in range(6):
            ids += [server.upload(png(100 * round_number + n)).json["imageId"] for n in range(4)]
            time.sleep(dice.random() * 0.15)  # anywhere in the middle
            server.kill()
            server.start()
        server.settle()
        way = ["media.uploaded", "media.processing", "processing.completed"]
        wait_until(lambda: all(len(receiver.types(i)) >= 3 for i in ids), "all was told")
        for image_id in ids:
            self.assertEqual(receiver.types(image_id), way)
        self.assertEqual(receiver.refused, [])

    def test_a_failing_one_is_tried_again_in_order_and_dies(self):
        server = self.server(*ALLOW, "--webhook-attempts", "4")
        fails = collections.Counter()

        def answer(number, message):
            fails[message["id"]] += 1
            return 500 if message["type"] == "media.uploaded" and fails[message["id"]] < 4 else 200
        receiver, never = self.receiver(answer), self.receiver(lambda number, message: 404)
        self.add(server, receiver, self.ALL)
        hook = self.add(server, never, ["processing.completed"])
        image_id = server.upload(png(1)).json["imageId"]
        wait_until(lambda: len(receiver.types(image_id)) == 3, "all was told")
        self.assertEqual([m["type"] for m in receiver.seen],
                         ["media.uploaded"] * 4 + ["media.processing", "processing.completed"])
        dead = wait_until(lambda: self.deliveries(server, hook, "&state=dead"), "it dies")
        self.assertEqual([(d["attempts"], d["status"], d["itemId"]) for d in dead], [(4, 404, image_id)])
        self.assertEqual(len(never.seen), 4)
        never.server.RequestHandlerClass.do_POST = receiver.server.RequestHandlerClass.do_POST  # it is mended
        said = self.cli("webhooks", "replay", hook, "--dead", server=server)
        self.assertEqual((said.returncode, said.stdout), (0, "1 deliveries begin anew.\n"), said.stderr)
        wait_until(lambda: self.deliveries(server, hook, "&state=delivered"), "it was told")

    def test_slow_and_dead_ones_delay_nobody(self):
        server = self.server(*ALLOW, "--webhook-timeout", "60s")
        release = threading.Event()
        self.addCleanup(release.set)
        slow = self.receiver(lambda number, message: 200 if release.wait(harness.PATIENCE) else 200)
        gone, well = self.receiver(), self.receiver()
        for receiver in (slow, gone, well):
            self.add(server, receiver, self.ALL)
        gone.server.server_close()  # refuses connections
        ids = [server.upload(png(seed)).json["imageId"] for seed in range(30)]
        wait_until(lambda: all(len(well.types(i)) == 3 for i in ids), "all was told to the one that is well")
        self.assertLessEqual(len(slow.seen), 8)  # it still holds what came first

    def test_where_nobody_may_be_sent(self):
        server = self.server("--webhook-retry-base", "50ms")
        receiver = self.receiver()
        port = receiver.server.server_port
        for url in (f"http://127.0.0.1:{port}/", f"http://[::1]:{port}/", "http://10.1.2.3/", "http://169.254.169.254/latest",
                    "http://[::ffff:127.0.0.1]/", "http://[fd00::1]/", "http://0.0.0.0/", "ftp://example.com/", "file:///etc/passwd",
                    "http://user:secret@example.com/", "no address", "http://"):
            answer = self.call(server, "POST", ADMIN, {"url": url})
            self.assertEqual((url, answer.status), (url, 400))
            self.assert_problem(answer, 400, "INVALID_REQUEST")
        hook = self.add(server, None, url=f"http://localhost:{port}/")  # a name: looked at when it is called
        said = self.cli("webhooks", "test", hook, "--json", server=server)
        self.assertEqual(said.returncode, 1)
        self.assertIn("private or special", json.loads(said.stdout)["error"])
        self.assertEqual(receiver.seen, [])
        bad = self.call(server, "POST", ADMIN, {"url": "https://example.com/", "types": ["nothing.such"]})
        self.assert_problem(bad, 400, "INVALID_REQUEST", "processing.failed")
        bad = self.call(server, "POST", ADMIN, {"url": "https://example.com/", "secret": "whsec_short"})
        self.assert_problem(bad, 400, "INVALID_REQUEST", "whsec_")

    def test_redirects_are_not_followed(self):
        server = self.server(*ALLOW)
        target = self.receiver()
        receiver = self.receiver(lambda number, message: (307, {"location": target.url}))
        hook = self.add(server, receiver)
        said = self.cli("webhooks", "test", hook, server=server)
        self.assertEqual(said.returncode, 1)
        self.assertIn("redirects are not followed", said.stderr)
        self.assertEqual((len(receiver.seen), target.seen), (1, []))

    def test_tenants_are_walls(self):
        server = self.server(*ALLOW, "--tenants-auto-create")
        mine, other = self.receiver(), self.receiver()
        server.upload(png(1), tenant="shop")
        hook = self.add(server, mine, tenant="shop")
        self.add(server, other)
        image_id = server.upload(png(2), tenant="shop").json["imageId"]
        wait_until(lambda: mine.types(image_id), "it was told")
        self.assertEqual(other.seen, [])
        for method, path in (("GET", "/deliveries"), ("POST", "/test"), ("DELETE", ""),
                             ("GET", "/deliveries/" + mine.seen[0]["id"]), ("POST", f"/deliveries/{mine.seen[0]['id']}/replay")):
            self.assert_problem(self.call(server, method, f"{ADMIN}/{hook}{path}"), 404, "NOT_FOUND")

    def test_the_command_line(self):
        server = self.server(*ALLOW)
        receiver = self.receiver()
        added = self.cli("webhooks", "add", receiver.url, "--types", "processing.completed,processing.failed", server=server)
        hook, secret = added.stdout.split()
        receiver.secrets = [secret]
        self.assertIn(receiver.url, self.cli("webhooks", "list", server=server).stdout)
        tested = self.cli("webhooks", "test", hook, server=server)
        self.assertEqual((tested.returncode, receiver.seen[0]["type"]), (0, "webhook.test"), tested.stderr)
        self.assertIn("status 200", tested.stdout)
        rotated = json.loads(self.cli("webhooks", "rotate", hook, "--overlap", "0s", "--json", server=server).stdout)
        receiver.secrets = [rotated["secret"]]
        server.upload(png(1))
        wait_until(lambda: len(receiver.seen) == 2, "it was told")
        log = wait_until(lambda: [d for d in json.loads(self.cli("webhooks", "deliveries", hook, "--state", "delivered", "--json",
                                                                 server=server).stdout)["items"] if d["type"] != "webhook.test"],
                         "it is noted")
        again = self.cli("webhooks", "replay", hook, log[0]["id"], server=server)
        self.assertEqual(again.returncode, 0, again.stderr)
        wait_until(lambda: len(receiver.seen) == 3, "it was told again")
        self.assertEqual(receiver.refused, [])
        self.assertEqual(self.cli("webhooks", "remove", hook, server=server).returncode, 0)
        self.assertEqual(self.cli("webhooks", "remove", hook, server=server).returncode, 1)
        self.assertEqual(json.loads(self.cli("webhooks", "list", "--json", server=server).stdout), {"webhooks": []})


if __name__ == "__main__":
    harness.main()
