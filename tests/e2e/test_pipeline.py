# SPDX-License-Identifier: Apache-2.0
"""The pipeline under load and through restarts: everything that was accepted comes to its end."""
import collections
import json
import signal
import statistics
import threading
import urllib.parse

import harness
from harness import Case, files_below, png, wait_until

UPLOADED = "deeplens.images.uploaded"
INDEXING = "deeplens.vectors.indexing"
STAGES = (UPLOADED, "deeplens.features.extraction", INDEXING, "deeplens.processing.completed")


def priority(name: str) -> str:
    return "&processingOptions=" + urllib.parse.quote(json.dumps({"priority": name}))


def in_parallel(count, work):
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    return threads


class Load(Case):
    CLIENTS, EACH = 8, 25

    def test_many_clients_at_once(self):
        server, answers, lock = self.server(), {}, threading.Lock()

        def client(number):
            for seed in range(number * self.EACH, (number + 1) * self.EACH):
                answer = server.upload(png(seed, 96, 72), query=priority(("high", "normal", "low")[seed % 3]))
                with lock:
                    answers[seed] = answer
        for thread in in_parallel(self.CLIENTS, client):
            thread.join()
        count = self.CLIENTS * self.EACH
        self.assertEqual(collections.Counter(answer.status for answer in answers.values()), {202: count})
        ids = {seed: answer.json["imageId"] for seed, answer in answers.items()}
        self.assertEqual(len(set(ids.values())), count)
        ledger = server.settle()
        self.assertEqual(ledger, {"accepted": count, "searchable": count, "failed": 0, "deleted": 0, "inFlight": 0,
                                  "duplicates": 0, "closes": True})
        self.assertEqual(set(server.lags().values()), {0})
        for topic in STAGES:
            self.assertEqual(collections.Counter(record["key"] for record in server.records(topic)),
                             collections.Counter(ids.values()), "each item has one event on " + topic)
        self.assertEqual(len(files_below(server.data_dir + "/storage")), 2 * count)
        for seed, image_id in ids.items():
            hits = server.request("POST", "/api/v1/search?topK=1000", png(seed, 96, 72)).json["results"]
            found = [hit["imageId"] for hit in hits]
            self.assertEqual((found.count(image_id), found[0]), (1, image_id))
            self.assertAlmostEqual(hits[0]["score"], 1, places=3)

    def test_deletes_among_uploads(self):
        """Items are deleted while they and others are processed; those that stay are all found."""
        server, kept, gone, lock = self.server(), [], [], threading.Lock()

        def client(number):
            for seed in range(number * 20, (number + 1) * 20):
                image_id = server.upload(png(seed, 64, 48)).json["imageId"]
                if seed % 2:
                    self.assertEqual(server.request("DELETE", f"/api/v1/images/{image_id}").status, 202)
                with lock:
                    (gone if seed % 2 else kept).append(image_id)
        for thread in in_parallel(4, client):
            thread.join()
        ledger = server.settle()
        self.assertEqual((ledger["accepted"], ledger["searchable"], ledger["deleted"], ledger["failed"], ledger["closes"]),
                         (80, 40, 40, 0, True))
        found = [hit["imageId"] for hit in server.search(vector=[1] * 512, topK=1000).json["results"]]
        self.assertEqual(sorted(found), sorted(kept))
        left = files_below(server.data_dir + "/storage")
        self.assertEqual([name for name in left if any(image_id in name for image_id in gone)], [])
        self.assertEqual(len(left), 2 * len(kept))


class Priorities(Case):
    def test_high_overtakes_a_backlog_of_low(self):
        """A backlog stands before the workers; what is urgent and came last is done long before the backlog is."""
        server = self.server("--fault", "blob.open_read:UNAVAILABLE@1+")
        low = [server.upload(png(seed, 64, 48), query=priority("low")).json["imageId"] for seed in range(100)]
        high = [server.upload(png(seed, 64, 48), query=priority("high")).json["imageId"] for seed in range(100, 105)]
        self.assertEqual(server.ledger()["inFlight"], 105)
        server.stop()
        server.flags = ("--workers-cpu", "1", "--workers-io", "1", "--fault", "extractor.extract:sleep=10@1+")
        server.start()
        self.assertEqual(server.settle()["searchable"], 105)
        done = {item["imageId"]: item["searchableAfter"] for item in server.items()}
        middle = statistics.median_high(done[image_id] for image_id in low)
        self.assertLess(max(done[image_id] for image_id in high), middle)

    def test_low_is_not_starved(self):
        """While there is urgent work, some of what can wait is done, too."""
        server = self.server("--fault", "blob.open_read:UNAVAILABLE@1+")
        high = [server.upload(png(seed, 64, 48), query=priority("high")).json["imageId"] for seed in range(150)]
        low = [server.upload(png(seed, 64, 48), query=priority("low")).json["imageId"] for seed in range(150, 160)]
        server.stop()
        server.flags = ("--workers-cpu", "1", "--workers-io", "1", "--fault", "extractor.extract:sleep=10@1+")
        server.start()
        self.assertEqual(server.settle()["searchable"], 160)
        done = {item["imageId"]: item["searchableAfter"] for item in server.items()}
        self.assertLess(min(done[image_id] for image_id in low), max(done[image_id] for image_id in high))
        first = sorted(done, key=done.get)[:40]
        self.assertGreater(len(set(first) & set(high)), 20, "what is urgent has most of the turns")


class Restarts(Case):
    def test_sigterm_in_the_middle_of_uploads(self):
        """Running requests are answered, the exit is clean, nothing acknowledged is lost, and the next start goes on."""
        server, acked, others, lock, stop = self.server(), {}, [], threading.Lock(), threading.Event()

        def client(number):
            seed = number * 10000
            while not stop.is_set():
                try:
                    answer = server.upload(png(seed, 96, 72))
                except OSError:  # nobody listens any more
                    return
                with lock:
                    if answer.status == 202:
                        acked[seed] = answer.json["imageId"]
                    else:
                        others.append(answer)
                seed += 1
        threads = in_parallel(6, client)
        try:
            wait_until(lambda: len(acked) >= 50, "50 uploads")
            process = server.process
            self.assertEqual(server.stop(signal.SIGTERM), 0, server.log_text()[-2000:])
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        for answer in others:
            self.assert_problem(answer, 503, "DRAINING")
        self.assertIsNotNone(process.returncode)
        server.start()
        ledger = server.settle()
        self.assertEqual((ledger["failed"], ledger["closes"]), (0, True))
        self.assertEqual(ledger["searchable"], ledger["accepted"])
        self.assertEqual(ledger["accepted"], len(acked), "a running request was accepted, but not answered")
        for seed, image_id in acked.items():
            self.assertEqual(server.get(f"/api/v1/images/{image_id}/original").body, png(seed, 96, 72))
        found = {hit["imageId"] for hit in server.search(vector=[1] * 512, topK=1000).json["results"]}
        self.assertEqual(found, set(acked.values()))

    def test_sigterm_ends_an_upload_that_does_not(self):
        """A body that never ends holds the drain up for its time only, and leaves nothing."""
        server = self.server("--http-drain-timeout", "300ms")
        with server.raw(b"POST /api/v1/images/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + png(1)):
            wait_until(lambda: files_below(server.data_dir + "/storage"), "the upload has begun")
            self.assertEqual(server.stop(signal.SIGTERM), 0)
        self.assertEqual(files_below(server.data_dir + "/storage"), [])
        server.start()
        self.assert_nothing_left(server)

    def test_answers_while_a_backlog_is_left(self):
        server = self.server()
        old = server.upload(png(1)).json["imageId"]
        server.wait_status(old, "completed")
        server.settle()
        server.stop()
        server.flags = ("--fault", "blob.open_read:UNAVAILABLE@1+")
        server.start()
        waiting = [server.upload(png(seed, 64, 48)).json["imageId"] for seed in range(2, 42)]
        server.stop()
        server.start()  # the outage lasts: all of the backlog is left
        self.assertEqual(server.ledger()["inFlight"], 40)
        self.assertEqual(server.get("/healthz").status, 200)
        self.assertEqual([hit["imageId"] for hit in server.search(vector=[1] * 512).json["results"]], [old])
        self.assertEqual(server.get(f"/api/v1/images/{waiting[0]}/status").json["status"], "uploaded")
        self.assertEqual(server.upload(png(2, 64, 48)).json["duplicate"], True)
        waiting.append(server.upload(png(100)).json["imageId"])
        self.assertGreater(sum(server.lags().values()), 0)
        server.stop()
        server.flags = ()
        server.start()
        ledger = server.settle()
        self.assertEqual((ledger["searchable"], ledger["closes"]), (42, True))
        attempts = {step["attempt"] for image_id in waiting
                    for step in server.get(f"/api/v1/images/{image_id}/status").json["processingSteps"]}
        self.assertEqual(attempts, {1}, "an outage cost an attempt")

    def test_restarts_keep_everything(self):
        server = self.server()
        for seed in range(5):
            server.upload(png(seed))
        server.settle()
        server.request("DELETE", "/api/v1/images/" + server.items()[0]["imageId"])

        def everything():
            return (server.settle(), server.items(), server.search(vector=[1] * 512).json["results"],
                    {topic: server.records(topic) for topic in STAGES})
        before = everything()
        for end in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT):
            server.stop(end)
            server.start()
            self.assertEqual(everything(), before)


class Retention(Case):
    def test_it_loses_no_work_in_flight(self):
        """Retention removes what everyone has read; what a group has still to read stays, however much it is."""
        small = ("--log-retention-bytes", "65536")
        outage = ("--fault", "index.upsert:UNAVAILABLE@1+")
        server = self.server(*small, *outage)
        metadata = urllib.parse.quote(json.dumps({"note": "x" * 4000}))
        ids = [server.upload(png(seed, 64, 48), query="&metadata=" + metadata).json["imageId"] for seed in range(60)]
        wait_until(lambda: len(server.records(INDEXING)) == 60, "all wait to be indexed")
        self.assertGreater(server.get("/api/v1/admin/topics/" + UPLOADED).json["bytes"], 3 * 65536)
        self.assertGreater(server.get("/api/v1/admin/topics/" + INDEXING).json["bytes"], 3 * 65536)
        server.stop()
        server.start()  # retention is applied at the start, and every minute

        def shrunk(topic):
            return lambda: all(p["bytes"] <= 65536 for p in server.get("/api/v1/admin/topics/" + topic).json["partitions"])
        wait_until(shrunk(UPLOADED), "what was read is removed")
        self.assertEqual(len(server.records(INDEXING)), 60, "what was not read is kept")
        self.assertEqual(server.ledger()["inFlight"], 60)
        server.stop()
        server.flags = small
        server.start()
        ledger = server.settle()
        self.assertEqual((ledger["searchable"], ledger["closes"]), (60, True))
        self.assertEqual({hit["imageId"] for hit in server.search(vector=[1] * 512, topK=100).json["results"]}, set(ids))
        server.stop()
        server.start()
        wait_until(shrunk(INDEXING), "now that it was read, it is removed")
        server.upload(png(99))
        self.assertEqual(server.settle()["searchable"], 61)


if __name__ == "__main__":
    harness.main()
