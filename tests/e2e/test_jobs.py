# SPDX-License-Identifier: Apache-2.0
"""Jobs: the steps as queues that can be looked at, paused and slowed, and what failed in them."""
import json

import harness
from harness import Case, png, wait_until


class Jobs(Case):
    def job(self, server, step) -> dict:
        (one,) = [job for job in server.get("/api/v1/admin/jobs").json["jobs"] if job["step"] == step]
        return one

    def alter(self, server, step, **members):
        return server.request("PATCH", "/api/v1/admin/jobs/" + step, json.dumps(members).encode())

    def test_each_step_is_shown(self):
        with self.server("--lag-interval", "100ms") as server:
            jobs = server.get("/api/v1/admin/jobs").json["jobs"]
            self.assertEqual([job["step"] for job in jobs],
                             ["message", "prepare", "derive", "video", "thumbnail", "extract", "index", "status", "maintain"])
            for job in jobs:
                self.assertEqual((job["here"], job["paused"], job["failed"], job["concurrency"]), (True, False, 0, None), job)

            def rate():
                server.upload(png(int(server.ledger()["accepted"]), 16, 12, 2))
                return (self.job(server, "prepare")["perSecond"] or 0) > 0
            wait_until(rate, "it has a rate")
            answer = self.cli("jobs", "list", server=server)
            self.assertIn("prepare", answer.stdout, answer.stderr)

    def test_what_is_paused_waits_and_goes_on(self):
        for step in ("prepare", "extract", "index", "status", "thumbnail"):
            with self.subTest(step), self.server(name=step) as server:
                self.assertEqual(self.alter(server, step, paused=True).json, {"step": step, "paused": True, "concurrency": None})
                ids = [server.upload(png(seed, 32, 24)).json["imageId"] for seed in range(4)]
                wait_until(lambda: self.job(server, step)["waiting"] == 4, "all wait")
                job = self.job(server, step)
                self.assertEqual((job["paused"], job["reason"], job["atWork"]), (True, "on request", 0))
                self.assertGreater(wait_until(lambda: self.job(server, step)["oldestMs"], "they age"), 0)
                if step == "thumbnail":
                    self.assertEqual({server.get(f"/api/v1/images/{i}/thumbnail").status for i in ids}, {409})
                elif step != "status":
                    self.assertEqual(server.search(vector=[1] * 512).json["results"], [])
                self.assertEqual(self.alter(server, step, paused=False).json["paused"], False)
                for image in ids:
                    server.wait_status(image, "completed")
                server.settle()
                self.assertEqual(self.job(server, step)["waiting"], 0)
                self.assertEqual(len(server.records("deeplens.processing.completed")), 4)

    def test_a_limit_holds_while_it_runs(self):
        with self.server("--workers-cpu", "4", "--fault", "extractor.extract:sleep=50@1+") as server:
            self.assertEqual(self.alter(server, "extract", concurrency=1).json["concurrency"], 1)
            for seed in range(12):
                server.upload(png(seed, 32, 24))
            most = 0

            def ended():
                nonlocal most
                most = max(most, self.job(server, "extract")["atWork"])
                return server.ledger()["searchable"] == 12
            wait_until(ended, "all are done")
            self.assertEqual(most, 1)
            run = lambda *words: self.cli("jobs", *words, server=server)
            self.assertIn("at most 3", run("set", "extract", "--concurrency", "3").stdout)
            self.assertEqual(self.job(server, "extract")["concurrency"], 3)
            self.assertEqual(run("pause", "extract").returncode, 0)
            self.assertEqual(self.job(server, "extract")["paused"], True)
            self.assertEqual(run("resume", "extract").returncode, 0)
            self.assertEqual(run("set", "extract", "--unlimited").returncode, 0)
            job = self.job(server, "extract")
            self.assertEqual((job["paused"], job["concurrency"]), (False, None))
            for words in (("set", "extract"), ("set", "extract", "--unlimited", "--concurrency", "1"), ("retry", "extract")):
                self.assertEqual(run(*words).returncode, 2)
            for members, status, code in (({}, 400, "INVALID_REQUEST"), ({"concurrency": 0}, 400, "INVALID_REQUEST"),
                                          ({"concurrency": 5000}, 400, "INVALID_REQUEST"), ({"paused": 1}, 400, "INVALID_REQUEST"),
                                          ({"concurrency": 1, "paused": True}, 400, "INVALID_REQUEST")):
                self.assert_problem(self.alter(server, "extract", **members), status, code)
            self.assert_problem(self.alter(server, "none", paused=True), 404, "NOT_FOUND")

    def test_it_stops_while_something_is_paused(self):
        with self.server() as server:
            self.alter(server, "index", paused=True)
            image = server.upload(png(1)).json["imageId"]
            wait_until(lambda: self.job(server, "index")["waiting"], "it waits")
            self.assertEqual(server.stop(), 0)
            server.start()  # which takes it back
            server.wait_status(image, "completed")

    def test_what_failed_is_retried(self):
        with self.server("--retry-attempts", "1", "--fault", "extractor.extract:INJECTED_FAULT@1,extractor.extract:INJECTED_FAULT@2,"
                         "extractor.extract:INJECTED_FAULT@3") as server:
            ids = []
            for seed in range(3):
                ids.append(server.upload(png(seed)).json["imageId"])
                server.wait_status(ids[-1], "failed")
            server.settle()
            self.assertEqual((self.job(server, "extract")["failed"], self.job(server, "index")["failed"]), (3, 0))
            failed = server.get("/api/v1/admin/jobs/extract/failed").json["items"]
            self.assertEqual({(one["mediaId"], one["code"]) for one in failed}, {(image, "INJECTED_FAULT") for image in ids})
            self.assertEqual(server.get("/api/v1/admin/jobs/index/failed").json["items"], [])
            self.assertIn("INJECTED_FAULT", self.cli("jobs", "failed", "extract", server=server).stdout)
            one = failed[0]
            answer = server.post_json("/api/v1/admin/jobs/index/retry", {"ids": [one["id"]]})  # which is another's
            self.assertEqual(([], ["NOT_FOUND"]), (answer.json["retried"], [r["code"] for r in answer.json["refused"]]))
            self.assertEqual(self.cli("jobs", "retry", "extract", one["id"], server=server).returncode, 0)
            server.wait_status(one["mediaId"], "completed")
            self.assertEqual(server.settle()["failed"], 2)
            page, seen = {"all": True, "limit": 2}, 0
            while page:
                answer = server.post_json("/api/v1/admin/jobs/extract/retry", page).json
                seen += len(answer["retried"])
                self.assertEqual(answer["refused"], [])
                page = answer["nextCursor"] and {**page, "cursor": answer["nextCursor"], "failedBefore": answer["failedBefore"]}
            self.assertEqual(seen, 3)  # the first one once more, which harms nobody
            for image in ids:
                server.wait_status(image, "completed")
            ledger = server.settle()
            self.assertEqual((ledger["searchable"], ledger["failed"], ledger["closes"]), (3, 0, True))
            answer = self.cli("jobs", "retry", "extract", "--all", "--json", server=server)
            self.assertEqual((answer.returncode, len(json.loads(answer.stdout)["retried"])), (0, 3))
            self.assertEqual(self.cli("jobs", "retry", "extract", "0-999", server=server).returncode, 1)
            for body in ({}, {"ids": ["0-1"], "all": True}, {"ids": [1]}, {"all": True, "limit": 0}):
                self.assert_problem(server.post_json("/api/v1/admin/jobs/extract/retry", body), 400, "INVALID_REQUEST")


if __name__ == "__main__":
    harness.main()
