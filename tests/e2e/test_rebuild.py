# SPDX-License-Identifier: Apache-2.0
"""Changing models without a pause, and reindexing, on the real server with the real models, while uploads, searches
and deletions go on, and the process is killed."""
import json
import random
import threading
import time

import harness
from harness import png, wait_until
from test_models import MODEL, SHARE

OLD, NEW = "builtin", MODEL


class Load:
    """Uploads, searches and deletes until it is told to stop. A search that finds nothing, or a picture that does not
    find itself, is a fault. A server that is just being killed is none, and may have done what it did not answer. The
    pause keeps it below what one search can list."""

    def __init__(self, case, server, seed=1000):
        self.case, self.server, self.seed = case, server, seed
        self.alive, self.gone, self.faults, self.searches, self.models = {}, set(), [], 0, set()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join(harness.PATIENCE)

    def run(self):
        rng = random.Random(self.seed)
        while not self.ended.is_set():
            try:
                self.turn(rng)
            except (OSError, ValueError, harness.http.client.HTTPException):
                time.sleep(0.05)  # killed
            self.ended.wait(0.02)

    def turn(self, rng):
        self.seed += 1
        answer = self.server.upload(png(self.seed))
        if answer.status == 202:
            self.alive[answer.json["imageId"]] = self.seed
        if self.seed % 5 == 0 and len(self.alive) > 10:
            image = rng.choice(list(self.alive))
            del self.alive[image]
            if self.server.request("DELETE", "/api/v1/images/" + image).status == 202:
                self.gone.add(image)
        known = self.known  # pictures that were searchable before everything began, and stay
        image = rng.choice(list(known))
        found = self.server.request("POST", "/api/v1/search?topK=3", png(known[image]), {"Content-Type": "image/png"})
        if found.status != 200:
            return
        self.searches += 1
        self.models.add(found.json["model"])
        hits = [hit["imageId"] for hit in found.json["results"]]
        if not hits or hits[0] != image:
            self.faults.append((image, found.json))


class Rebuild(harness.Case):
    def start(self, *flags):
        self.assertTrue((SHARE / "models" / NEW / "model.json").exists(), "`make models` gets what this test needs")
        self.flags = ["--models-dir", str(SHARE / "models"), "--openvino-dir", str(SHARE / "openvino"), *flags]
        server = self.server(*self.flags)
        self.put(server, model=OLD)  # nothing is there: at once
        return server

    def put(self, server, **members):
        answer = server.request("PUT", "/api/v1/admin/models/default", json.dumps(members).encode())
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json

    def fill(self, server, count, first=0) -> dict:
        ids = {server.upload(png(seed)).json["imageId"]: seed for seed in range(first, first + count)}
        server.settle()
        return ids

    def taken(self, server) -> str:
        return next(m["name"] for m in server.get("/api/v1/admin/models").json["models"] if m["default"])

    def state(self, server) -> dict:
        return server.get("/api/v1/admin/rebuilds").json["rebuilds"][0]

    def check_all(self, server, ids, gone=()):
        """Each item is found by itself under the new model, once; what was deleted is nowhere."""
        server.settle()
        for image, seed in ids.items():
            found = server.request("POST", "/api/v1/search?topK=1000", png(seed), {"Content-Type": "image/png"}).json
            hits = [hit["imageId"] for hit in found["results"]]
            self.assertEqual(found["model"], NEW)
            self.assertEqual(hits[0], image)
            self.assertEqual(len(hits), len(set(hits)))
            self.assertEqual(set(hits) & set(gone), set())
        self.assertEqual(set(hits), set(ids))
        ledger = server.ledger()
        self.assertEqual((ledger["searchable"], ledger["failed"], ledger["closes"]), (len(ids), 0, True))

    def test_models_change_while_uploads_searches_and_deletions_go_on(self):
        with self.start() as server:
            ids = self.fill(server, 60)
            load = Load(self, server)
            load.known = ids
            with load:
                wait_until(lambda: load.searches > 3, "searches before")
                self.assertEqual(self.put(server, model=NEW)["rebuilds"][0]["state"], "building")
                wait_until(lambda: self.taken(server) == NEW, "the switch")
                seen = load.searches
                wait_until(lambda: load.searches > seen + 3, "searches after")
            self.assertEqual(load.faults, [])
            self.assertEqual(load.models, {OLD, NEW})
            self.check_all(server, {**ids, **load.alive}, load.gone)
            self.assertEqual(self.state(server)["failed"], 0)
            report = server.get(f"/api/v1/admin/models/compare?from={OLD}&to={NEW}&samples=30").json
            self.assertGreater(report["samples"], 0)
            self.assertTrue(0 <= report["overlapAt10"] <= 1)
            self.assertTrue(report["examples"][0]["before"] and report["examples"][0]["after"], report)
            # The old vectors stay until they are dropped; then they are gone.
            image = next(iter(ids))
            self.assertEqual(server.search(imageId=image, model=OLD).status, 200)
            self.assert_problem(server.request("DELETE", f"/api/v1/admin/models/{NEW}/vectors"), 409, "CONFLICT", NEW)
            dropped = server.request("DELETE", f"/api/v1/admin/models/{OLD}/vectors").json["vectorsDropped"]
            self.assertGreaterEqual(dropped, len(ids))
            self.assert_problem(server.search(imageId=image, model=OLD), 409, "NOT_READY")
            self.assertEqual(server.search(imageId=image).status, 200)

    def test_g3_killed_at_random_moments_nothing_is_lost_or_doubled(self):
        server = self.start("--retry-attempts", "20")  # what is at work when it is killed has used one
        ids = self.fill(server, 80)
        rng = random.Random(7)
        load = Load(self, server, seed=5000)
        load.known = ids
        with load:
            self.put(server, model=NEW)
            for _ in range(8):
                time.sleep(rng.uniform(0.05, 0.8))
                server.kill()
                server.start()
            wait_until(lambda: self.taken(server) == NEW, "the switch")
        self.assertEqual(load.faults, [])
        # An upload whose answer the kill swallowed may be there: what counts is what was promised, and no doubles.
        server.settle()
        there = {item["imageId"] for item in server.items()}
        self.assertTrue(set(ids) | set(load.alive) <= there)
        wait_until(lambda: not load.gone & {item["imageId"] for item in server.items()}, "deletions")
        self.assertLess(len(there), 1000)
        found = server.request("POST", "/api/v1/search?topK=1000", png(0), {"Content-Type": "image/png"}).json
        hits = [hit["imageId"] for hit in found["results"]]
        self.assertEqual(found["model"], NEW)
        self.assertEqual(len(hits), len(set(hits)))
        self.assertEqual(set(hits), there)
        self.assertTrue(server.ledger()["closes"])

    def test_the_command_line_changes_compares_drops_and_reindexes(self):
        with self.start() as server:
            ids = self.fill(server, 20)
            held = self.cli("models", "use", NEW, "--hold", "--wait", server=server)
            self.assertEqual(held.returncode, 0, held.stderr)
            self.assertIn("20 vectors made", held.stdout)
            self.assertEqual(self.taken(server), OLD)
            self.assertIn("ready", self.cli("models", "use", "--status", server=server).stdout)
            compared = self.cli("models", "compare", OLD, NEW, server=server)
            self.assertEqual(compared.returncode, 0, compared.stderr)
            self.assertRegex(compared.stdout, r"\d+ % of the first ten answers are the same")
            refused = self.cli("models", "use", server=server)
            self.assertEqual(refused.returncode, 2)
            used = self.cli("models", "use", NEW, "--wait", server=server)
            self.assertEqual(used.returncode, 0, used.stderr)
            self.assertEqual(self.taken(server), NEW)
            self.check_all(server, ids)
            self.assertEqual(self.cli("models", "drop", OLD, server=server, stdin="").returncode, 2)
            dropped = json.loads(self.cli("models", "drop", OLD, "--yes", "--json", server=server).stdout)
            self.assertEqual(dropped["vectorsDropped"], 20)
            again = self.cli("reindex", "--wait", "--json", server=server)
            self.assertEqual(json.loads(again.stdout)["built"], 20, again.stderr)
            self.check_all(server, ids)
            self.assertIn("reindex", self.cli("reindex", "--status", server=server).stdout)
            self.assertEqual(self.cli("reindex", "--cancel", server=server).returncode, 1)  # nothing runs
            # And back, at once: what is there is not under it, and is found by name alone.
            self.assertEqual(self.cli("models", "use", OLD, "--now", server=server).returncode, 0)
            self.assertEqual(server.request("POST", "/api/v1/search", png(1), {"Content-Type": "image/png"}).json["results"], [])

    def test_what_is_asked_without_a_server_is_done_by_the_next(self):
        server = self.start()
        ids = self.fill(server, 10)
        server.stop()
        asked = self.cli("models", "use", NEW, "--data-dir", server.data_dir, *self.flags)
        self.assertEqual(asked.returncode, 0, asked.stderr)
        self.assertIn("once a server runs", asked.stdout)
        server.start()
        wait_until(lambda: self.taken(server) == NEW, "the switch")
        self.check_all(server, ids)


if __name__ == "__main__":
    harness.main()
