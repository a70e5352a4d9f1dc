# SPDX-License-Identifier: Apache-2.0
"""The webhook of the WhatsApp Business Cloud API, called as its documentation says it calls."""
import http.server
import json
import pathlib
import subprocess
import sys
import threading
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))

import whatsapp
from whatsapp import change, notification, notify, status, text

import harness
from harness import Case, png, wait_until

SECRETS = {"DEEPLENS_WHATSAPP_APP_SECRET": whatsapp.SECRET, "DEEPLENS_WHATSAPP_VERIFY_TOKEN": whatsapp.VERIFY}
CHAT = "16505551234@s.whatsapp.net"


class WhatsAppCase(Case):
    def hook(self, *flags, env=None):
        return self.server(*flags, env={**SECRETS, **(env or {})})

    def get(self, server, message_id) -> dict:
        return server.get("/api/v1/messages/" + urllib.parse.quote(message_id)).json

    def wait(self, server, message_id, state="processed") -> dict:
        return wait_until(lambda: (found := self.get(server, message_id)).get("state") == state and found, f"{message_id} is {state}")

    def taken(self, answer) -> tuple:
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json["taken"], answer.json["duplicates"], answer.json["passedOver"]


class Webhook(WhatsAppCase):
    def test_the_handshake(self):
        server = self.hook()
        ask = lambda **q: server.get("/webhooks/whatsapp?" + urllib.parse.urlencode({"hub." + k: v for k, v in q.items()}))
        answer = ask(mode="subscribe", verify_token=whatsapp.VERIFY, challenge="1158201444")
        self.assertEqual((answer.status, answer.body, answer.headers["Content-Type"]), (200, b"1158201444", "text/plain; charset=utf-8"))
        self.assert_problem(ask(mode="subscribe", verify_token=whatsapp.VERIFY + "x", challenge="1"), 403, "FORBIDDEN")
        self.assert_problem(ask(mode="subscribe", challenge="1"), 403, "FORBIDDEN")
        self.assert_problem(ask(mode="other", verify_token=whatsapp.VERIFY, challenge="1"), 400, "INVALID_REQUEST")
        self.assert_problem(ask(mode="subscribe", verify_token=whatsapp.VERIFY, challenge="x" * 257), 400, "INVALID_REQUEST")

    def test_there_is_none_without_secrets(self):
        server = self.server()
        body = notification(change([text(1)]))
        self.assert_problem(server.get("/webhooks/whatsapp?hub.mode=subscribe&hub.verify_token=&hub.challenge=1"), 404, "NOT_FOUND")
        self.assert_problem(notify(server, body, {"X-Hub-Signature-256": whatsapp.signature(body, "")}), 404, "NOT_FOUND")

    def test_nothing_is_taken_that_is_not_signed(self):
        server = self.hook()
        body = notification(change([text(1)]))
        good = whatsapp.signature(body)
        for wrong in (whatsapp.signature(body, "another"), whatsapp.signature(body + b" "), good[:-1], good + "0", good[7:], "sha1=" + good[7:],
                      "sha256=" + "g" * 64, ""):
            self.assert_problem(notify(server, body, {"X-Hub-Signature-256": wrong}), 401, "UNAUTHORIZED")
        self.assert_problem(server.request("POST", "/webhooks/whatsapp", body, {"Content-Type": "application/json"}), 401, "UNAUTHORIZED")
        self.assertEqual(server.get("/api/v1/messages").json["items"], [])
        self.assert_problem(notify(server, b"{"), 400, "INVALID_JSON")
        self.assertEqual(self.taken(notify(server, b"{}")), (0, 0, 0))
        self.assertEqual(self.taken(notify(server, body)), (1, 0, 0))
        shown = self.cli("doctor", env={**SECRETS, "DEEPLENS_DATA_DIR": self.scratch + "/other"})
        self.assertNotIn(whatsapp.SECRET, shown.stdout + shown.stderr + server.log_text())
        self.assertNotIn(whatsapp.VERIFY, shown.stdout + shown.stderr + server.log_text())

    def test_a_batch_and_its_redelivery(self):
        server = self.hook()
        body = notification(change([text(1), text(2)]), change([text(3)], [status("wamid.99", "sent")]))
        self.assertEqual(self.taken(notify(server, body)), (4, 0, 0))
        self.assertEqual(self.taken(notify(server, body)), (0, 4, 0))
        self.assertEqual(self.taken(notify(server, notification(change([text(3), text(4)])))), (1, 1, 0))
        server.settle()
        found = self.get(server, "wamid.1")
        self.assertEqual((found["state"], found["chatJid"], found["fromMe"], found["messageType"], found["content"], found["sentAt"]),
                         ("processed", CHAT, False, "text", "Hello", "2024-01-14T12:16:08.000Z"))
        self.assertEqual(found["metadata"], {"isGroup": False, "sender": CHAT, "senderName": "Kerry Fisher", "phoneNumberId": whatsapp.NUMBER})
        self.assertEqual(len(server.records("whatsapp-ready-messages")), 5)
        many = notification(change([text(n) for n in range(100, 2300)]))
        self.assertEqual(self.taken(notify(server, many)), (2200, 0, 0))
        server.settle()

    def test_every_kind(self):
        server = self.hook()
        media = {"id": "M1", "mime_type": "image/jpeg", "sha256": "abc", "caption": "The sea"}
        contacts = [{"name": {"formatted_name": "Jane"}, "phones": [{"phone": "+1"}]}]
        kinds = [whatsapp.message(1, "document", {**media, "filename": "a.pdf"}),
                 whatsapp.message(2, "audio", {"id": "M3", "mime_type": "audio/ogg", "voice": True}),
                 whatsapp.message(3, "location", {"latitude": 52.5, "longitude": 13.4, "name": "Here"}),
                 whatsapp.message(4, "contacts", contacts),
                 whatsapp.message(5, "order", {"catalog_id": "c", "product_items": []}),
                 {**text(6), "type": "unsupported", "errors": [{"code": 131051}]},
                 text(7, "Group!", group_id="120363"), text(8, "Yes", context={"from": "15550783881", "id": "wamid.5"})]
        self.assertEqual(self.taken(notify(server, notification(change(kinds)))), (8, 0, 0))
        server.settle()
        found = [self.get(server, f"wamid.{n}") for n in range(1, 9)]
        self.assertEqual([m["messageType"] for m in found], ["document", "audio", "location", "contact", "order", "unsupported", "text", "text"])
        self.assertEqual({m["state"] for m in found}, {"processed"})
        said = [m["metadata"] for m in found]
        self.assertEqual((found[0]["content"], said[0]["mediaId"], said[0]["fileName"], said[0]["sha256"]), ("The sea", "M1", "a.pdf", "abc"))
        self.assertEqual((said[1]["voice"], said[2]["latitude"], said[3]["contacts"]), (True, 52.5, contacts))
        self.assertEqual((said[4]["raw"], said[5]["raw"]["errors"]), (kinds[4], [{"code": 131051}]))
        self.assertEqual((found[6]["chatJid"], said[6]["isGroup"], said[6]["sender"]), ("120363@g.us", True, CHAT))
        self.assertEqual(said[7]["replyTo"], "wamid.5")

    def test_what_changes_others(self):
        server = self.hook()
        changes = [whatsapp.message(4, "reaction", {"message_id": "wamid.1", "emoji": "👍"}),
                   whatsapp.message(5, "edit", {"original_message_id": "wamid.2", "message": {"type": "text", "text": {"body": "Better"}}}),
                   whatsapp.message(6, "revoke", {"original_message_id": "wamid.3"})]
        notify(server, notification(change(changes[:2])))
        notify(server, notification(change([text(1), text(2), text(3), changes[2]])))
        server.settle()
        one, two, three = (self.get(server, f"wamid.{n}") for n in (1, 2, 3))
        self.assertEqual([(r["sender"], r["emoji"]) for r in one["reactions"]], [(CHAT, "👍")])
        self.assertEqual((two["content"], three["content"], "deletedAt" in three), ("Better", None, True))

    def test_statuses_and_echoes(self):
        server = self.hook()
        echo = {**text(50, "From the telephone"), "from": "15550783881", "to": "16505551234"}
        self.assertEqual(self.taken(notify(server, notification(change(field="smb_message_echoes", message_echoes=[echo])))), (1, 0, 0))
        for says in ("read", "sent", "delivered"):  # in any order
            notify(server, notification(change(statuses=[status("wamid.50", says)])))
        notify(server, notification(change(statuses=[status("wamid.51", "failed", [why]) for why in ("undeliverable", "outside the window")])))
        server.settle()
        found = self.get(server, "wamid.50")
        self.assertEqual((found["fromMe"], found["chatJid"], found["content"], found["delivery"]), (True, CHAT, "From the telephone", "read"))
        failed = self.get(server, "wamid.51")  # sent by another program, and not heard of otherwise
        self.assertEqual((failed["state"], failed["fromMe"], failed["delivery"]), ("pending", True, "failed"))
        self.assertEqual(self.get(server, "wamid.51.failed")["metadata"]["errors"][0]["code"], 131026)

    def test_what_cannot_be_kept_holds_up_nothing(self):
        server = self.hook("--whatsapp-phone-number-id", whatsapp.NUMBER)
        bad = [whatsapp.message(1, "contacts", [{"name": "x" * 70000}]), whatsapp.message(2, "reaction", {"emoji": "👍"}),
               text(3, "y" * 300000), {"type": "text"}, text(4, "well")]
        body = json.loads(notification(change(bad[:3] + bad[4:])))
        body["entry"][0]["changes"][0]["value"]["messages"] += [5, bad[3], "no message"]
        self.assertEqual(self.taken(notify(server, json.dumps(body).encode())), (4, 0, 3))
        self.assertEqual(self.taken(notify(server, notification(change([text(9)], number="another")))), (0, 0, 1))
        server.settle()
        found = [self.get(server, f"wamid.{n}") for n in (1, 2, 3, 4)]
        self.assertEqual([m["messageType"] for m in found], ["unreadable"] * 3 + ["text"])
        self.assertEqual([m["metadata"].get("originalType") for m in found[:3]], ["contact", "reaction", "text"])
        self.assertEqual(self.get(server, "wamid.9")["status"], 404)

    def test_whose_they_are(self):
        server = self.hook("--whatsapp-tenant", "shop")
        body = notification(change([text(1)]))
        self.assert_problem(notify(server, body), 404, "TENANT_UNKNOWN")  # it comes again, until there is one
        server.post_json("/api/v1/admin/tenants", {"name": "shop"})
        self.assertEqual(self.taken(notify(server, body)), (1, 0, 0))
        self.assertEqual(self.get(server, "wamid.1")["status"], 404)
        self.assertEqual(server.get("/api/v1/messages/wamid.1", X_Tenant_Id="shop").json["tenantId"], "shop")


class Media(WhatsAppCase):
    def setUp(self):
        super().setUp()
        self.api = whatsapp.CloudApi()
        self.addCleanup(self.api.close)

    def hook(self, *flags, env=None, token=whatsapp.TOKEN):
        return super().hook("--webhook-allow", "127.0.0.0/8", "--retry-base", "50ms", "--whatsapp-api-url", self.api.url + "/v23.0", *flags,
                            env={"DEEPLENS_WHATSAPP_ACCESS_TOKEN": token, **(env or {})})

    def picture(self, number, media_id="M1", caption="The sea") -> bytes:
        return notification(change([whatsapp.message(number, "image", {"id": media_id, "mime_type": "image/png", "caption": caption})]))

    def bridge(self, server, number, url, kind="image", **metadata):
        answer = server.post_json("/api/v1/messages", {"messageId": f"b{number}", "chatJid": CHAT, "messageType": kind, "content": "By a bridge",
                                                       "timestamp": 1705234567, "metadata": {"mediaUrl": url, **metadata}})
        self.assertIn(answer.status, (200, 202), answer.body)

    def test_a_picture_becomes_an_item_once(self):
        self.api.media["M1"] = ("image/png", png(1))
        server = self.hook()
        for _ in range(3):
            notify(server, self.picture(1))
        found = self.wait(server, "wamid.1")
        server.wait_status(found["imageId"], "completed")
        item = server.get(found["mediaUrl"]).json
        self.assertEqual(item["metadata"], {"source": "whatsapp", "messageId": "wamid.1", "chatJid": CHAT, "fromMe": False, "isGroup": False,
                                            "caption": "The sea", "sender": CHAT, "senderName": "Kerry Fisher", "sentAt": "2024-01-14T12:16:08.000Z"})
        self.assertEqual((item["uploadedBy"], server.get(item["originalUrl"]).body), (CHAT, png(1)))
        hits = server.search(imageId=found["imageId"], filter={"chatJid": CHAT}).json
        self.assertEqual(hits["results"], [])  # itself is left out
        notify(server, self.picture(2, caption="The same, forwarded"))  # the same bytes in another message are its own item
        other = self.wait(server, "wamid.2")
        self.assertNotEqual(other["imageId"], found["imageId"])
        self.assertEqual(server.settle()["accepted"], 2)
        self.assertEqual(self.api.asked, [("id", "M1"), ("url", "M1")] * 2)
        self.assertNotIn(whatsapp.TOKEN, server.log_text())

    def test_killed_anywhere_there_is_one_item(self):
        for n in range(12):
            self.api.media[f"M{n}"] = ("image/png", png(n))
        server = self.hook("--retry-attempts", "20")  # one that is at work at each kill is none that kills
        for n in range(12):
            notify(server, self.picture(n, f"M{n}"))
            if n % 3 == 2:
                server.kill()
                server.start()
        server.settle()
        found = [self.wait(server, f"wamid.{n}") for n in range(12)]
        ledger = server.settle()
        self.assertEqual((ledger["accepted"], ledger["searchable"], len({m["imageId"] for m in found})), (12, 12, 12))

    def test_a_video(self):
        path = self.scratch + "/film.mp4"
        subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc2=d=1:s=64x48:r=10", "-c:v", "libx264", "-pix_fmt",
                        "yuv420p", path], check=True, timeout=harness.PATIENCE)
        self.api.media["V1"] = ("video/mp4", pathlib.Path(path).read_bytes())
        server = self.hook()
        notify(server, notification(change([whatsapp.message(1, "video", {"id": "V1", "mime_type": "video/mp4"})])))
        found = self.wait(server, "wamid.1")
        self.assertEqual(server.settle()["searchable"], 1)
        self.assertEqual(server.get(found["mediaUrl"]).json["metadata"]["messageId"], "wamid.1")

    def test_an_expired_address_is_asked_for_again(self):
        self.api.media["M1"] = ("image/png", png(1))
        self.api.fails["url"] = ["expired"]
        server = self.hook()
        notify(server, self.picture(1))
        self.wait(server, "wamid.1")
        self.assertEqual(self.api.asked, [("id", "M1"), ("url", "M1")] * 2)
        self.assertNotIn("will be tried again", server.log_text())

    def test_what_is_the_api_s_fault_spends_no_attempt(self):
        self.api.media["M1"] = ("image/png", png(1))
        self.api.fails["id"] = ["rate limit"] * 2 + ["token expired"]
        self.api.fails["url"] = ["rate limit"]
        server = self.hook("--retry-attempts", "1")
        notify(server, self.picture(1))
        self.assertIn("imageId", self.wait(server, "wamid.1"))
        server.settle()
        self.assertEqual(server.get("/api/v1/admin/deadletters").json["items"], [])
        self.assertNotIn(whatsapp.ERRORS["token expired"][3], server.log_text())  # what is said of the token stays away

    def test_what_is_wrong_with_one_holds_up_no_other(self):
        self.api.fails["id"] = ["something went wrong"] * 2
        pages = self.pages({"/busy": 503})
        server = self.hook("--retry-attempts", "2", "--workers-message", "1")
        self.bridge(server, 1, "http://127.0.0.1:9/nobody")
        self.bridge(server, 2, pages + "/busy")
        notify(server, self.picture(3))
        notify(server, notification(change([text(4)])))
        self.wait(server, "wamid.4")
        failed = [self.wait(server, name, "failed")["error"]["code"] for name in ("b1", "b2", "wamid.3")]
        self.assertEqual(failed, ["UNAVAILABLE"] * 3)
        self.assertNotIn("pauses", server.log_text())

    def test_a_slow_server_holds_up_nobody(self):
        pages = self.pages({"/slow": threading.Event()})
        self.addCleanup(self.slow.set)
        server = self.hook("--workers-message", "2", "--retry-attempts", "20", "--whatsapp-media-timeout", "600s")
        body = [{"messageId": f"s{n}", "chatJid": f"{n}@s.whatsapp.net", "messageType": "text", "content": "Hello", "timestamp": 1705234567}
                for n in range(12)]
        body[0] |= {"messageType": "image", "metadata": {"mediaUrl": pages + "/slow"}}
        self.assertEqual(server.post_json("/api/v1/messages", {"messages": body}).status, 202)
        wait_until(lambda: self.heard, "it is asked")
        for n in range(1, 12):
            self.wait(server, f"s{n}")
        server.kill()  # after a crash one thing is worked on at a time
        server.start()
        wait_until(lambda: len(self.heard) > 1, "it is asked again")
        server.wait_status(server.upload(png(7)).json["imageId"], "completed")
        self.assertNotEqual(self.get(server, "s0")["state"], "processed")
        self.slow.set()
        self.assertIn("imageId", self.wait(server, "s0"))

    def test_the_token_serves_its_tenant_alone(self):
        self.api.media["M1"] = ("image/png", png(1))
        server = self.hook()
        server.post_json("/api/v1/admin/tenants", {"name": "other"})
        said = {"messageId": "m1", "chatJid": CHAT, "messageType": "image", "timestamp": 1705234567, "metadata": {"mediaId": "M1"}}
        answer = server.request("POST", "/api/v1/messages", json.dumps(said).encode(), {"Content-Type": "application/json", "X-Tenant-Id": "other"})
        self.assertEqual(answer.status, 202)
        found = wait_until(lambda: (one := server.get("/api/v1/messages/m1", X_Tenant_Id="other").json)["state"] == "processed" and one, "it is done")
        self.assertEqual(("imageId" in found, self.api.asked), (False, []))

    def test_what_is_wrong_for_a_moment_is_tried_again(self):
        self.api.media["M1"] = ("image/png", png(1))
        self.api.fails["id"] = ["something went wrong"] * 2
        server = self.hook()
        notify(server, self.picture(1))
        self.assertIn("imageId", self.wait(server, "wamid.1"))
        self.assertEqual(self.api.asked, [("id", "M1")] * 3 + [("url", "M1")])

    def test_what_is_wrong_for_good_fails(self):
        self.api.media |= {"M2": ("image/png", b"no picture"), "M3": ("image/png", png(3) + b"x" * 5000000)}
        server = self.hook("--upload-max-bytes", "1000000")
        for n in (1, 2, 3):
            notify(server, self.picture(n, f"M{n}"))
        notify(server, self.picture(4, "../secrets"))
        notify(server, notification(change([text(5)])))
        failed = [self.wait(server, f"wamid.{n}", "failed")["error"]["code"] for n in (1, 2, 3, 4)]
        self.assertEqual(failed, ["NOT_FOUND", "UNSUPPORTED_MEDIA", "BODY_TOO_LARGE", "EVENT_INVALID"])
        self.wait(server, "wamid.5")
        self.assertEqual(server.settle()["accepted"], 0)
        self.assertEqual(server.items(), [])
        storage = server.data_dir + "/storage"
        wait_until(lambda: not harness.files_below(storage), "nothing is left of them")
        self.api.media["M1"] = ("image/png", png(1))
        letter = next(l for l in server.get("/api/v1/admin/deadletters").json["items"] if l["code"] == "NOT_FOUND")
        server.request("POST", f"/api/v1/admin/deadletters/{letter['id']}/replay")
        self.assertIn("imageId", self.wait(server, "wamid.1"))

    def test_the_item_goes_with_its_message(self):
        self.api.media["M1"] = ("image/png", png(1))
        server = self.hook()
        notify(server, self.picture(1))
        found = self.wait(server, "wamid.1")
        server.wait_status(found["imageId"], "completed")
        notify(server, notification(change([whatsapp.message(2, "revoke", {"original_message_id": "wamid.1"})])))
        self.wait(server, "wamid.2")
        server.settle()
        self.assertEqual((server.get(found["mediaUrl"]).status, "imageId" in self.get(server, "wamid.1")), (404, False))
        self.assertEqual(server.ledger()["deleted"], 1)
        self.api.media["M3"] = ("image/png", png(3))  # and what was deleted before it came is not fetched
        notify(server, notification(change([whatsapp.message(4, "revoke", {"original_message_id": "wamid.3"})])))
        notify(server, self.picture(3, "M3"))
        self.wait(server, "wamid.3")
        self.assertNotIn(("id", "M3"), self.api.asked)

    def test_the_item_of_one_that_failed_goes_with_it(self):
        self.api.media["M1"] = ("image/png", png(1))
        server = self.hook("--retry-attempts", "1", "--fault", "meta.message_put:INTERNAL@3")  # taken, begun, done
        notify(server, self.picture(1))
        self.assertNotIn("imageId", self.wait(server, "wamid.1", "failed"))
        server.settle()
        self.assertEqual(len(server.items()), 1)
        notify(server, notification(change([whatsapp.message(2, "revoke", {"original_message_id": "wamid.1"})])))
        self.wait(server, "wamid.2")
        server.settle()
        self.assertEqual((server.items(), server.ledger()["deleted"]), ([], 1))

    def test_a_deleted_item_is_not_made_anew(self):
        self.api.media["M1"] = ("image/png", png(1))
        server = self.hook()
        notify(server, self.picture(1))
        found = self.wait(server, "wamid.1")
        server.settle()
        server.request("DELETE", found["mediaUrl"])
        server.settle()
        notify(server, self.picture(1))
        server.settle()
        self.assertEqual((server.get(found["mediaUrl"]).status, server.ledger()["accepted"]), (404, 1))

    def test_bridges_name_addresses(self):
        pages = self.pages({"/good": png(1), "/none": None})
        server = self.hook()
        self.bridge(server, 1, pages + "/good", senderName="Jane")
        found = self.wait(server, "b1")
        item = server.get(found["mediaUrl"]).json
        self.assertEqual((item["metadata"]["caption"], item["metadata"]["senderName"]), ("By a bridge", "Jane"))
        self.bridge(server, 2, pages + "/none")
        self.assertEqual(self.wait(server, "b2", "failed")["error"]["code"], "NOT_FOUND")
        self.assertEqual([token for _, token in self.heard], [None, None])  # the token is the Cloud API's alone

    def test_where_nobody_is_sent(self):
        pages = self.pages({"/good": png(1)})
        server = super().hook("--retry-attempts", "1")
        for n, url in enumerate((pages + "/good", "http://localhost:" + pages.rsplit(":", 1)[1] + "/good", "http://169.254.169.254/latest",
                                 "file:///etc/passwd", "http://user:word@example.com/")):
            self.bridge(server, n, url)
            self.assertIn(self.wait(server, f"b{n}", "failed")["error"]["code"], ("INVALID_REQUEST", "FORBIDDEN"))
        self.assertEqual((self.heard, server.ledger()["accepted"]), ([], 0))

    def test_without_a_token_messages_are_kept_without_media(self):
        server = self.hook(token="")
        notify(server, self.picture(1))
        found = self.wait(server, "wamid.1")
        self.assertEqual(("imageId" in found, found["metadata"]["mediaId"], self.api.asked), (False, "M1", []))

    def pages(self, pages) -> str:
        """Somebody's web server: path -> bytes, None for what is not there, a status, or an event, `slow`, before which
        nothing comes, and then a picture. `heard`: (path, token) as asked."""
        self.heard = heard = []
        self.slow = slow = next((v for v in pages.values() if isinstance(v, threading.Event)), None)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                heard.append((self.path, self.headers["Authorization"]))
                data = pages.get(self.path)
                if slow and data is slow:
                    slow.wait(harness.PATIENCE)
                    data = png(1)
                status, data = (data, b"") if isinstance(data, int) else (200 if data else 404, data)
                self.send_response(status)
                self.send_header("Content-Length", str(len(data or b"")))
                self.end_headers()
                self.wfile.write(data or b"")

            def log_message(self, *_):
                pass

        web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        web.handle_error = lambda *_: None  # the other side went away
        threading.Thread(target=web.serve_forever, args=(0.05,), daemon=True).start()
        self.addCleanup(web.server_close)
        self.addCleanup(web.shutdown)
        return f"http://127.0.0.1:{web.server_port}"


if __name__ == "__main__":
    harness.main()
