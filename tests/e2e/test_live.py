# SPDX-License-Identifier: Apache-2.0
"""Changes as they happen: Server-Sent Events, WebSockets, and the hub with Microsoft's client."""
import http.client
import json
import pathlib
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))

import realtime

realtime.enter()

import websockets.exceptions
import websockets.sync.client

import harness
from harness import Case, Raw, png, wait_until

PATIENCE = harness.PATIENCE


class Stream:
    """Server-Sent Events, read by hand as a browser's EventSource does."""

    def __init__(self, server, query="", tenant=None, last=None):
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        headers = {"Accept": "text/event-stream", **({"X-Tenant-Id": tenant} if tenant else {}),
                   **({"Last-Event-ID": str(last)} if last is not None else {})}
        self.connection.request("GET", "/api/v1/events?" + query, headers=headers)
        self.answer = self.connection.getresponse()
        self.last = None

    def next(self) -> dict:
        """The next event; None at the end."""
        data = None
        while line := self.answer.readline():
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "id":
                self.last = int(value)
            elif name == "data":
                data = json.loads(value)
            elif not line.strip() and data is not None:
                return data
        return None

    def until(self, status, image_id) -> list:
        """Events up to the one of an item that has this status."""
        seen = []
        while not seen or (seen[-1]["imageId"], seen[-1]["status"]) != (image_id, status):
            seen.append(self.next())
        return seen

    def close(self):
        self.connection.close()
        self.answer.close()


class Live(Case):
    def follow(self, server, *args, **named) -> Stream:
        stream = Stream(server, *args, **named)
        self.addCleanup(stream.close)
        self.assertEqual(stream.answer.status, 200, stream.answer)
        return stream


class ServerSentEvents(Live):
    def test_every_change_comes_once_in_order(self):
        server = self.server()
        stream = self.follow(server)
        ids = [server.upload(png(seed)).json["imageId"] for seed in range(1, 6)]
        for image_id in ids:
            server.wait_status(image_id, "completed")
        server.request("DELETE", f"/api/v1/images/{ids[0]}")
        seen = stream.until("deleted", ids[0])
        self.assertEqual([e["seq"] for e in seen], sorted({e["seq"] for e in seen}))
        for image_id in ids:
            mine = [e["status"] for e in seen if e["imageId"] == image_id]
            self.assertEqual(mine, ["uploaded", "processing", "completed"] + ["deleting", "deleted"] * (image_id == ids[0]))
        event = next(e for e in seen if e["status"] == "completed")["event"]
        self.assertEqual((event["eventType"], event["data"]["status"]), ("processing.completed", "success"))
        self.assertEqual([step["step"] for step in event["data"]["processingSteps"]],
                         ["preprocessing", "feature_extraction", "vector_indexing"])

    def test_who_comes_back_misses_nothing_and_gets_nothing_twice(self):
        server = self.server()
        stream = self.follow(server)
        first = server.upload(png(1)).json["imageId"]
        stream.until("completed", first)
        last = stream.last
        stream.close()
        second = server.upload(png(2)).json["imageId"]
        server.wait_status(second, "completed")
        server.kill()
        server.start()
        for again in (self.follow(server, last=last), self.follow(server, f"since={last}")):
            self.assertEqual([(e["seq"], e["imageId"], e["status"]) for e in again.until("completed", second)],
                             [(last + 1, second, "uploaded"), (last + 2, second, "processing"), (last + 3, second, "completed")])

    def test_what_is_not_kept_any_more_is_said(self):
        server = self.server()
        image_id = server.upload(png(1)).json["imageId"]
        server.wait_status(image_id, "completed")
        self.assertEqual(self.follow(server, "since=999").next()["type"], "gap")  # never given
        stream = self.follow(server, "since=0")
        self.assertEqual(stream.next()["status"], "uploaded")

    def test_filters(self):
        server = self.server()
        one = server.upload(png(1)).json["imageId"]
        two = server.upload(png(2)).json["imageId"]
        for image_id in (one, two):
            server.wait_status(image_id, "completed")
        stream = self.follow(server, f"since=0&imageId={two.removeprefix('img_')}&status=completed,deleted")
        self.assertEqual((lambda e: (e["imageId"], e["status"]))(stream.next()), (two, "completed"))
        server.request("DELETE", f"/api/v1/images/{one}")
        server.request("DELETE", f"/api/v1/images/{two}")
        self.assertEqual((lambda e: (e["imageId"], e["status"]))(stream.next()), (two, "deleted"))

    def test_a_failure_says_why(self):
        server = self.server("--fault", "extractor.extract:EXTRACTION_FAILED@1+", "--retry-attempts", "1")
        stream = self.follow(server)
        image_id = server.upload(png(1)).json["imageId"]
        failed = stream.until("failed", image_id)[-1]
        self.assertEqual((failed["errorCode"], failed["event"]["data"]["imageId"]), ("EXTRACTION_FAILED", image_id))
        self.assertEqual(failed["event"]["eventType"], "processing.failed")

    def test_g7_another_tenants_changes_are_not_seen(self):
        server = self.server()
        self.assertEqual(server.post_json("/api/v1/admin/tenants", {"name": "other"}).status, 201)
        other = server.upload(png(1), tenant="other").json["imageId"]
        server.wait_status(other, "completed", tenant="other")
        stream = self.follow(server, "since=0")
        mine = server.upload(png(2)).json["imageId"]
        self.assertEqual({e["imageId"] for e in stream.until("completed", mine)}, {mine})
        theirs = self.follow(server, "since=0", tenant="other")
        self.assertEqual(theirs.next()["imageId"], other)
        answer = server.get("/api/v1/events", X_Tenant_Id="nobody")
        self.assertEqual((answer.status, answer.json["code"]), (404, "TENANT_UNKNOWN"))

    def test_bad_requests(self):
        server = self.server()
        for query in ("since=-1", "since=x", "status=never", "imageId=1", "imageId=" + ",".join(["0" * 8] * 200)):
            self.assertEqual(server.get("/api/v1/events?" + query).status, 400, query)
        self.assertEqual(server.get("/api/v1/events", Last_Event_ID="x").status, 400)
        self.assertEqual(server.request("HEAD", "/api/v1/events").status, 200)
        self.assertEqual(server.request("POST", "/api/v1/events").status, 405)

    def test_g8_a_slow_reader_holds_nobody_up_and_gets_everything(self):
        server = self.server()
        slow = self.follow(server)
        quick = self.follow(server)
        ids, threads = [], []

        def upload(first):
            for seed in range(first, first + 150):
                ids.append(server.upload(png(seed, 40, 30)).json["imageId"])
        for k in range(4):
            threads.append(threading.Thread(target=upload, args=(1 + k * 150,)))
            threads[-1].start()
        done = set()
        while len(done) < 600:
            event = quick.next()
            if event["status"] == "completed":
                done.add(event["imageId"])
        for thread in threads:
            thread.join()
        seqs, completed = [], set()
        while len(completed) < 600:
            event = slow.next()
            seqs.append(event["seq"])
            if event["status"] == "completed":
                completed.add(event["imageId"])
        self.assertEqual(completed, set(ids))
        self.assertEqual(seqs, sorted(set(seqs)))

    def test_the_server_ends_streams_when_it_stops(self):
        server = self.server()
        stream = self.follow(server)
        started = time.monotonic()
        server.stop()
        self.assertIsNone(stream.next())
        self.assertLess(time.monotonic() - started, PATIENCE)

    def test_many_idle_followers(self):
        server = self.server("--http-connections", "2000")
        streams = [Raw(server.port, b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(500)]
        for stream in streams:
            self.addCleanup(stream.close)
            self.assertEqual(stream.head()[0], 200)
        image_id = server.upload(png(1)).json["imageId"]
        for stream in streams:
            while b'"completed"' not in (line := stream.file.readline()):
                self.assertTrue(line)
            self.assertIn(image_id.encode(), line)


class WebSockets(Live):
    def connect(self, server, query="", **named):
        return self.enterContext(
            websockets.sync.client.connect(f"ws://127.0.0.1:{server.port}/api/v1/events?{query}", open_timeout=PATIENCE, **named))

    def test_changes_come_as_messages(self):
        server = self.server()
        socket = self.connect(server)
        image_id = server.upload(png(1)).json["imageId"]
        seen = [json.loads(socket.recv(PATIENCE)) for _ in range(3)]
        self.assertEqual([(e["imageId"], e["status"]) for e in seen],
                         [(image_id, status) for status in ("uploaded", "processing", "completed")])
        again = self.connect(server, f"since={seen[0]['seq']}")
        self.assertEqual(json.loads(again.recv(PATIENCE))["seq"], seen[1]["seq"])

    def test_pings_are_answered(self):
        server = self.server()
        socket = self.connect(server)
        self.assertTrue(socket.ping().wait(PATIENCE))

    def close_code(self, socket) -> int:
        with self.assertRaises(websockets.exceptions.ConnectionClosed) as caught:
            socket.recv(PATIENCE)
        return caught.exception.rcvd.code

    def test_what_is_not_expected_ends_the_connection(self):
        server = self.server()
        for what, code in (("hello", 1008), (b"\0\1", 1003), ("x" * 100000, 1009)):
            socket = self.connect(server)
            socket.send(what)
            self.assertEqual(self.close_code(socket), code, what[:10])

    def test_broken_frames_end_the_connection(self):
        server = self.server()
        for frame in (b"\x81\x05hello", b"\xf1\x80\0\0\0\0", b"\x81\x82\0\0\0\0\xff\xfe", b"\x83\x80\0\0\0\0"):
            raw = Raw(server.port, b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" + frame)
            self.addCleanup(raw.close)
            status, headers = raw.head()
            self.assertEqual((status, headers["sec-websocket-accept"]), (101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
            self.assertTrue(raw.closed())
        self.assertEqual(server.get("/healthz").status, 200)

    def test_handshakes_that_are_refused(self):
        server = self.server()
        good = {"Upgrade": "websocket", "Connection": "keep-alive, Upgrade", "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
        for change, status in (({"Sec-WebSocket-Version": "8"}, 400), ({"Sec-WebSocket-Key": "x"}, 400),
                               ({"Origin": "https://elsewhere.example"}, 403)):
            self.assertEqual(server.request("GET", "/api/v1/events", headers={**good, **change}).status, status, change)

    def test_the_server_says_goodbye(self):
        server = self.server()
        socket = self.connect(server)
        server.stop()
        self.assertEqual(self.close_code(socket), 1001)


class Hub(Live):
    def hub(self, server, transport="auto", query=""):
        hub = realtime.Hub(f"http://127.0.0.1:{server.port}/hubs/processing-status{query}", transport)
        self.addCleanup(hub.close)
        return hub

    def check(self, transport):
        server = self.server("--fault", "extractor.extract:EXTRACTION_FAILED@2", "--retry-attempts", "1")
        hub = self.hub(server, transport)
        other = self.hub(server, transport)
        self.assertEqual(other.call("SubscribeToTenantStatus"), {"what": "answer", "result": None})
        good = server.upload(png(1)).json["imageId"]
        self.assertEqual(hub.call("SubscribeToImageStatus", good), {"what": "answer", "result": None})
        event = hub.next("ProcessingCompleted")["value"]
        self.assertEqual((event["eventType"], event["data"]["imageId"]), ("processing.completed", good))
        server.wait_status(good, "completed")
        bad = server.upload(png(2)).json["imageId"]
        hub.call("SubscribeToImageStatus", bad.removeprefix("img_"))
        event = hub.next("ProcessingFailed")["value"]
        self.assertEqual((event["eventType"], event["data"]["imageId"]), ("processing.failed", bad))
        seen = [other.next("StatusChanged")["value"] for _ in range(6)]
        self.assertEqual([(e["imageId"], e["status"]) for e in seen],
                         [(good, "uploaded"), (good, "processing"), (good, "completed"),
                          (bad, "uploaded"), (bad, "processing"), (bad, "failed")])

    def test_websockets(self):
        self.check("WebSockets")

    def test_server_sent_events(self):
        self.check("ServerSentEvents")

    def test_long_polling(self):
        self.check("LongPolling")

    def test_unknown_methods_and_ids(self):
        server = self.server()
        hub = self.hub(server)
        for method, arguments in (("NoSuchMethod", []), ("SubscribeToImageStatus", []), ("SubscribeToImageStatus", ["x"]),
                                  ("SubscribeToImagesStatus", ["x"])):
            self.assertIn("error", hub.call(method, *arguments), method)
        self.assertNotIn("error", hub.call("SubscribeToImageStatus", "img_01a21478-8d62-7000-8493-1ef1e2d1613b"))

    def test_who_unsubscribes_hears_nothing_more(self):
        server = self.server()
        hub = self.hub(server)
        hub.call("SubscribeToTenantStatus")
        hub.call("UnsubscribeFromTenantStatus")
        first = server.upload(png(1)).json["imageId"]
        server.wait_status(first, "completed")
        second = server.upload(png(2)).json["imageId"]
        hub.call("SubscribeToImagesStatus", [second])
        while (event := hub.next("StatusChanged")["value"])["status"] != "completed":
            self.assertEqual(event["imageId"], second)

    def test_a_thousand_images_at_once(self):
        server = self.server()
        hub = self.hub(server)
        ids = []
        for seed in range(1, 1001):
            ids.append(server.upload(png(seed, 24, 18)).json["imageId"])
        hub.call("SubscribeToImagesStatus", ids)
        done = set()
        while done != set(ids):
            done.add(hub.next("ProcessingCompleted")["value"]["data"]["imageId"])

    def test_a_client_comes_back_after_a_restart(self):
        for transport in ("WebSockets", "ServerSentEvents", "LongPolling"):
            with self.subTest(transport):
                server = self.server(name="data-" + transport)
                hub = self.hub(server, transport)
                port = server.port
                server.kill()
                hub.next("reconnecting")
                server.flags = [*server.flags, "--http-listen", f"127.0.0.1:{port}"]
                server.start()
                hub.next("reconnected")
                image_id = server.upload(png(1)).json["imageId"]
                hub.call("SubscribeToImageStatus", image_id)
                self.assertEqual(hub.next("ProcessingCompleted")["value"]["data"]["imageId"], image_id)

    def test_bad_input(self):
        server = self.server()
        path = "/hubs/processing-status"
        self.assertEqual(server.get(path).status, 400)
        self.assertEqual(server.get(path + "?id=nobody").status, 404)
        self.assertEqual(server.request("POST", path + "?id=" + "0" * 32, b"x").status, 404)
        for greeting in (b'{"protocol":"messagepack","version":1}\x1e', b'{"protocol":"json","version":2}\x1e', b"nonsense\x1e",
                         b"[]\x1e", b"\x1e"):
            token = server.post_json(path + "/negotiate?negotiateVersion=1", {}).json["connectionToken"]
            self.assertEqual(server.get(f"{path}?id={token}").status, 200)  # polling
            self.assertEqual(server.request("POST", f"{path}?id={token}", greeting).status, 202)
            self.assertEqual(server.get(f"{path}?id={token}").status, 404, greeting)
        token = server.post_json(path + "/negotiate?negotiateVersion=1", {}).json["connectionToken"]
        self.assertEqual(server.get(f"{path}?id={token}").status, 200)
        self.assertEqual(server.request("DELETE", f"{path}?id={token}").status, 202)
        self.assertEqual(server.get(f"{path}?id={token}").status, 404)


if __name__ == "__main__":
    harness.main()
