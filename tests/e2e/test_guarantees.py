# SPDX-License-Identifier: Apache-2.0
"""The guarantees, each by its name, against the real binary: it is killed, broken and lied to from outside."""
import contextlib
import http.client
import json
import os
import pathlib
import random
import threading
import time

import harness
from harness import Case, Server, png


class Kills(Case):
    KILLS = 20
    CLIENTS = 4

    def test_g1_g2_g3_twenty_kills_lose_and_double_nothing(self):
        """Clients upload while the server is killed twenty times; then everything acknowledged is there once."""
        # Each kill costs what is at work an attempt: on a slow machine one picture may be at work in many of them.
        server = Server(os.path.join(self.scratch, "data"), "--retry-attempts", str(2 * self.KILLS))
        self.addCleanup(server.stop)
        server.start()
        acked, stop, lock = {}, threading.Event(), threading.Lock()
        seeds = iter(range(1, 1 << 30))

        def client():
            while not stop.is_set():
                with lock:
                    seed = next(seeds)
                while not stop.is_set():  # the same picture until it is acknowledged
                    try:
                        answer = server.upload(png(seed, 64, 48))
                    except OSError:
                        time.sleep(0.01)
                        continue
                    except Exception:  # an answer cut off in its middle
                        time.sleep(0.01)
                        continue
                    if answer.status in (200, 202):
                        with lock:
                            acked[seed] = answer.json["imageId"]
                        break
                    time.sleep(0.01)

        threads = [threading.Thread(target=client) for _ in range(self.CLIENTS)]
        for thread in threads:
            thread.start()
        rng = random.Random(7)
        try:
            for _ in range(self.KILLS):
                time.sleep(rng.uniform(0.05, 0.5))
                server.kill()
                server.start()
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        ledger = server.settle()
        self.assertGreater(len(acked), self.KILLS)
        self.assertTrue(ledger["closes"], ledger)
        self.assertEqual(ledger["failed"], 0, server.log_text()[-2000:])
        self.assertEqual(ledger["searchable"], ledger["accepted"])
        self.assertEqual(len(set(acked.values())), len(acked), "two pictures got one id")
        for seed, image_id in acked.items():
            self.assertEqual(server.get(f"/api/v1/images/{image_id}/original").body, png(seed, 64, 48))
        self.check_listed_once(server, ledger)
        self.check_searchable_once(server, acked)
        result = self.cli("ledger", server=server)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def check_listed_once(self, server, ledger):
        hashes, cursor = [], ""
        while True:
            page = server.get(f"/api/v1/images?limit=200&cursor={cursor}").json
            hashes += [item["contentHash"] for item in page["items"]]
            cursor = page["nextCursor"]
            if not cursor:
                break
        self.assertEqual(len(hashes), len(set(hashes)), "the same bytes were accepted twice")
        self.assertEqual(len(hashes), ledger["accepted"])

    def check_searchable_once(self, server, acked):
        for seed in random.Random(3).sample(sorted(acked), 20):
            answer = server.request("POST", "/api/v1/search?topK=1000", png(seed, 64, 48), {"Content-Type": "image/png"}).json
            ids = [hit["imageId"] for hit in answer["results"]]
            self.assertEqual(ids.count(acked[seed]), 1)
            self.assertEqual(ids[0], acked[seed])


class Guarantees(Case):
    def test_g1_no_ack_without_durable_bytes(self):
        """When bytes or the record cannot be stored, there is no 202 and nothing stays."""
        for fault in ("blob.put_commit:IO_ERROR@1", "meta.write:DISK_FULL@%1", "blob.put_write:DISK_FULL@1"):
            with self.subTest(fault):
                name = "d" + str(abs(hash(fault)))
                server = self.server(*([] if "meta" in fault else ["--fault", fault]), name=name)
                if "meta" in fault:
                    server.stop()
                    server.flags = ("--fault", "meta.media_insert:DISK_FULL@1")
                    server.start()
                answer = server.upload(png(1))
                self.assertGreaterEqual(answer.status, 500)
                self.assertEqual(server.ledger()["accepted"], 0)
                self.assertEqual(harness.files_below(os.path.join(self.scratch, name, "storage")), [])
                self.assertEqual(server.upload(png(1)).status, 202)
                self.assertEqual(server.settle()["searchable"], 1)

    def test_g1_a_kill_between_file_and_row_leaves_no_file(self):
        """The file is durable, its row is not: never acknowledged, and gone after a next start. All else stays."""
        storage = pathlib.Path(self.scratch, "data", "storage")

        def originals():
            return {path.stem for path in storage.glob("tenant-default/images/**/*.png")}

        def age():
            for path in storage.glob("tenant-default/**/*.*"):
                os.utime(path, (time.time() - 60, time.time() - 60))

        server = Server(os.path.join(self.scratch, "data"))
        self.addCleanup(server.stop)
        server.start()
        kept = server.upload(png(1)).json["imageId"]
        server.settle()
        server.stop()
        server.flags = ("--fault", "blob.put_commit:after:kill@1")
        server.start()
        with self.assertRaises((OSError, http.client.HTTPException)):
            server.upload(png(2))
        server.process.wait(harness.PATIENCE)
        self.assertEqual(server.stop(), -9)
        self.assertEqual(len(originals()), 2)
        age()
        server.flags = ("--sweep-grace", "1s")
        server.start()
        late = server.upload(png(3)).json["imageId"]
        young = next(storage.glob(f"tenant-default/images/**/{late}.png")).with_name(f"{late[:-4]}0000.png")
        young.write_bytes(b"as an upload whose row is still to come")
        for removed in (1, 0):
            answer = self.cli("maintenance", "run", "sweep", "--apply", "--wait", "--json", server=server)
            self.assertEqual(json.loads(answer.stdout)["counts"].get("filesRemoved", 0), removed, answer.stderr)
            self.assertEqual(originals(), {kept, late, young.stem})
        for image_id in (kept, late):
            self.assertEqual(server.get(f"/api/v1/images/{image_id}/original").status, 200)
        self.assertEqual(server.settle()["accepted"], 2)

    def test_g2_a_failure_ends_with_a_reason(self):
        server = self.server("--fault", "extractor.extract:EXTRACTION_FAILED@1+", "--retry-base", "10ms")
        image_id = server.upload(png(1)).json["imageId"]
        status = server.wait_status(image_id, "failed")
        self.assertEqual(status["error"]["code"], "EXTRACTION_FAILED")
        self.assertTrue(status["error"]["message"])
        letters = server.get("/api/v1/admin/deadletters").json["items"]
        self.assertEqual([(x["mediaId"], x["stage"], x["deliveryCount"]) for x in letters], [(image_id, "extract", 3)])
        ledger = server.ledger()
        self.assertEqual((ledger["failed"], ledger["closes"]), (1, True))

    def test_g2_a_dead_letter_is_replayed_once(self):
        server = self.server("--fault", "extractor.extract:EXTRACTION_FAILED@1+", "--retry-base", "10ms")
        image_id = server.upload(png(1)).json["imageId"]
        server.wait_status(image_id, "failed")
        server.stop()
        server.flags = ()
        server.start()
        letter = server.get("/api/v1/admin/deadletters").json["items"][0]
        for _ in range(2):
            self.assertEqual(server.request("POST", f"/api/v1/admin/deadletters/{letter['id']}/replay").status, 202)
        server.wait_status(image_id, "completed")
        self.assertEqual(server.settle()["searchable"], 1)
        completed = server.get("/api/v1/admin/topics/deeplens.processing.completed/records?offset=earliest").json
        self.assertEqual(len(completed["records"]), 1, "the second replay had effects")

    def test_g3_a_replay_moves_no_state_back(self):
        """The item is failed until it is searchable; that it is at work again, its steps say."""
        server = self.server("--fault", "extractor.extract:EXTRACTION_FAILED@1+", "--retry-base", "10ms")
        image_id = server.upload(png(1)).json["imageId"]
        reason = server.wait_status(image_id, "failed")["error"]
        server.stop()
        server.flags = ("--fault", "extractor.extract:EXTRACTION_FAILED@1", "--retry-base", "1s", "--retry-max", "1s")
        server.start()
        letter = server.get("/api/v1/admin/deadletters").json["items"][0]
        server.request("POST", f"/api/v1/admin/deadletters/{letter['id']}/replay")
        states = []

        def extraction():
            status = server.get(f"/api/v1/images/{image_id}/status").json
            step = next(x for x in status["processingSteps"] if x["step"] == "feature_extraction")
            states.append((status["status"], status.get("error")))
            return step["status"], step["attempt"]

        harness.wait_until(lambda: extraction() == ("retrying", 4), "the replay is put off")
        self.assertEqual(set(s for s, _ in states), {"failed"})
        self.assertTrue(all(error == reason for _, error in states), states)
        self.assertTrue(server.ledger()["closes"])
        status = server.wait_status(image_id, "completed")
        self.assertIsNone(status.get("error"))
        self.assertEqual((server.settle()["searchable"], server.ledger()["failed"]), (1, 0))

    def test_g2_replays_that_fail_again_end_too(self):
        server = self.server("--fault", "extractor.extract:EXTRACTION_FAILED@1+", "--retry-base", "5ms")
        image_id = server.upload(png(1)).json["imageId"]
        server.wait_status(image_id, "failed")
        first = server.get("/api/v1/admin/deadletters").json["items"][0]
        server.request("POST", f"/api/v1/admin/deadletters/{first['id']}/replay")
        letters, end = [], time.monotonic() + harness.PATIENCE
        while len(letters) < 2 and time.monotonic() < end:
            letters = server.get("/api/v1/admin/deadletters").json["items"]
        self.assertEqual(sorted(letter["deliveryCount"] for letter in letters), [3, 6])
        server.request("POST", f"/api/v1/admin/deadletters/{first['id']}/replay")  # its attempts are spent
        ledger = server.settle()
        self.assertEqual((ledger["failed"], ledger["closes"]), (1, True))
        self.assertEqual(len(server.get("/api/v1/admin/deadletters").json["items"]), 2)

    def test_g3_a_retry_has_its_effects_once(self):
        server = self.server("--fault", "index.upsert:INDEXING_FAILED@1", "--retry-base", "10ms")
        image_id = server.upload(png(1)).json["imageId"]
        server.wait_status(image_id, "completed")
        answer = server.request("POST", "/api/v1/search", png(1), {"Content-Type": "image/png"}).json
        self.assertEqual([hit["imageId"] for hit in answer["results"]], [image_id])
        completed = server.get("/api/v1/admin/topics/deeplens.processing.completed/records?offset=earliest").json
        self.assertEqual(len(completed["records"]), 1)

    def test_g4_killed_in_each_step_goes_on_where_it_was(self):
        faults = ["blob.put_commit:kill@2", "extractor.extract:kill@1", "extractor.extract:after:kill@1",
                  "index.upsert:kill@1", "index.flush:after:kill@1", "meta.write_async:after:kill@2",
                  "meta.inbox_end:kill@1", "meta.inbox_end:kill@3", "eventlog.publish_tx:after:kill@3",
                  "eventlog.commit_tx:kill@2"]
        for number, fault in enumerate(faults):
            with self.subTest(fault):
                server = Server(os.path.join(self.scratch, f"k{number}"), "--fault", fault)
                self.addCleanup(server.stop)
                with contextlib.suppress(OSError):  # it may die before its answer leaves
                    if server.start(wait=False).wait_ready():  # or before it is ready, where a sweep finds what others left
                        server.upload(png(number))
                server.process.wait(harness.PATIENCE)
                self.assertEqual(server.stop(), -9)
                server.flags = ()
                server.start()
                image_id = server.upload(png(number)).json["imageId"]  # the same item, or, never acknowledged, a new one
                server.wait_status(image_id, "completed")
                self.assertEqual(server.settle()["searchable"], 1)
                for group in server.get("/api/v1/admin/groups").json["groups"]:
                    self.assertEqual(group["lag"], 0, group)
                server.stop()

    def test_g5_poison_does_not_stall(self):
        """A picture that kills the process ends as a dead letter, and its neighbours are searchable."""
        # An original takes a while to read: the answer to its upload has left before it is extracted and kills.
        server = Server(os.path.join(self.scratch, "data"), "--fault", "extractor.extract:abort@3,blob.open_read:sleep=500@1+")
        self.addCleanup(server.stop)
        server.start()
        ids = [server.upload(png(seed)).json["imageId"] for seed in range(2)]
        for image_id in ids:
            server.wait_status(image_id, "completed")
        poison = server.upload(png(99)).json["imageId"]
        server.process.wait(harness.PATIENCE)
        server.stop()
        starts = 1
        server.flags = ("--fault", "extractor.extract:abort@1")  # whatever is extracted first kills: it is the poison
        while starts < 6:
            try:
                server.start()
                status = server.wait_status(poison, "failed")
                break
            except (OSError, RuntimeError):  # it died, perhaps before it could say that it answers
                server.process.wait(harness.PATIENCE)
                server.stop()
                starts += 1
        self.assertEqual(status["error"]["code"], "PROCESS_DIED")
        self.assertEqual(starts, 4, "one while the worker went on from prepare, then three attempts, each counted before the work")
        server.stop()
        server.flags = ()
        server.start()
        other = server.upload(png(5)).json["imageId"]
        server.wait_status(other, "completed")
        letters = server.get("/api/v1/admin/deadletters").json["items"]
        self.assertEqual([(x["mediaId"], x["code"]) for x in letters], [(poison, "PROCESS_DIED")])
        self.assertTrue(server.settle()["closes"])

    def test_g6_an_outage_is_not_a_failure(self):
        """A dependency that is down for a while costs no attempt, shows in readiness, and work goes on by itself."""
        server = self.server("--fault", ",".join(f"index.upsert:UNAVAILABLE@{n}" for n in range(1, 4)))
        image_id = server.upload(png(1)).json["imageId"]
        end = time.monotonic() + harness.PATIENCE
        while server.get("/readyz").status == 200 and time.monotonic() < end:
            time.sleep(0.01)
        self.assertEqual(server.get("/readyz").status, 503)
        status = server.wait_status(image_id, "completed")
        self.assertEqual({step["attempt"] for step in status["processingSteps"]}, {1})
        self.assertEqual(server.get("/readyz").status, 200)

    def test_g7_tenants_are_walls(self):
        server = self.server()
        for tenant in ("acme-corp", "acmecorp"):  # two names whose collections would be called the same
            self.assertEqual(server.post_json("/api/v1/admin/tenants", {"name": tenant}).status, 201)
        ids = {tenant: server.upload(png(1), tenant).json["imageId"] for tenant in ("acme-corp", "acmecorp", "default")}
        self.assertEqual(len(set(ids.values())), 3, "the same bytes of another tenant are no duplicate")
        for tenant, image_id in ids.items():
            server.wait_status(image_id, "completed", tenant=tenant)
        for tenant, image_id in ids.items():
            others = [t for t in ids if t != tenant]
            hits = server.request("POST", "/api/v1/search", png(1), {"X-Tenant-Id": tenant}).json["results"]
            self.assertEqual([hit["imageId"] for hit in hits], [image_id])
            listed = server.get("/api/v1/images", X_Tenant_Id=tenant).json["items"]
            self.assertEqual([item["imageId"] for item in listed], [image_id])
            for other in others:
                for path in ("", "/status", "/original", "/thumbnail"):
                    self.assertEqual(server.get(f"/api/v1/images/{image_id}{path}", X_Tenant_Id=other).status, 404)
                answer = server.request("DELETE", f"/api/v1/images/{image_id}", headers={"X-Tenant-Id": other})
                self.assertEqual(answer.status, 404)
                body = json.dumps({"imageId": image_id, "tenantId": other}).encode()
                answer = server.request("POST", "/api/v1/search", body, {"Content-Type": "application/json"})
                self.assertEqual(answer.status, 404)

    def test_g8_everything_has_a_limit(self):
        server = self.server("--upload-max-bytes", "100000", "--search-max-k", "5", "--image-max-pixels", "1000000")
        cases = [
            (server.upload(png(1) + b"\0" * 200000), 413, "BODY_TOO_LARGE"),
            (server.upload(harness.png_of_rows(2000, 2000, b"")), 422, "IMAGE_TOO_LARGE"),
            (server.upload(png(1), query="&tags=" + ",".join(map(str, range(100)))), 400, "INVALID_REQUEST"),
            (server.get("/api/v1/images?limit=1001"), 400, "INVALID_REQUEST"),
            (server.post_json("/api/v1/search", {"vector": [1.0] * 512, "topK": 6}), 400, "INVALID_REQUEST"),
            (server.post_json("/api/v1/search", {"vector": [1.0] * 512, "filter": {"or": [{"a": 1}] * 300}}), 400,
             "INVALID_FILTER"),
        ]
        for answer, status, code in cases:
            self.assertEqual((answer.status, answer.json["code"]), (status, code), answer.body)
        self.assertEqual(server.ledger()["accepted"], 0)
        self.assertEqual(harness.files_below(os.path.join(self.scratch, "data", "storage")), [])

    def collections(self) -> int:
        """How many there are where the vectors are."""
        return len(harness.files_below(os.path.join(self.scratch, "data", "index")))

    def test_g9_deleting_deletes(self):
        server = self.server()
        ids = [server.upload(png(seed)).json["imageId"] for seed in range(3)]
        for image_id in ids:
            server.wait_status(image_id, "completed")
        answer = server.request("DELETE", f"/api/v1/images/{ids[0]}")
        self.assertEqual((answer.status, answer.json["status"]), (202, "deleting"))
        for path in ("", "/status", "/original", "/thumbnail"):
            self.assertEqual(server.get(f"/api/v1/images/{ids[0]}{path}").status, 404)
        ledger = server.settle()
        self.assertEqual((ledger["searchable"], ledger["deleted"], ledger["closes"]), (2, 1, True))
        hits = server.request("POST", "/api/v1/search", png(0), {"Content-Type": "image/png"}).json["results"]
        self.assertNotIn(ids[0], [hit["imageId"] for hit in hits])
        left = harness.files_below(os.path.join(self.scratch, "data", "storage"))
        self.assertEqual([name for name in left if ids[0] in name], [])
        self.assertEqual(len(left), 4)
        server.stop()
        server.start()  # also after a restart
        self.assertEqual(self.collections(), 1)
        hits = server.request("POST", "/api/v1/search", png(0), {"Content-Type": "image/png"}).json["results"]
        self.assertEqual(len(hits), 2)

    def test_g9_deleted_while_processing(self):
        server = self.server("--fault", "extractor.extract:sleep=300@1+")
        image_id = server.upload(png(1)).json["imageId"]
        server.wait_status(image_id, "processing", "completed")
        self.assertEqual(server.request("DELETE", f"/api/v1/images/{image_id}").status, 202)
        ledger = server.settle()
        self.assertEqual((ledger["deleted"], ledger["closes"]), (1, True))
        time.sleep(0.7)  # let the slow step come to its end
        hits = server.request("POST", "/api/v1/search", png(1), {"Content-Type": "image/png"}).json["results"]
        self.assertEqual(hits, [])
        self.assertEqual(harness.files_below(os.path.join(self.scratch, "data", "storage")), [])


if __name__ == "__main__":
    harness.main()
