# SPDX-License-Identifier: Apache-2.0
"""Vectors on Qdrant (its engine behind its interface, tests/peers/qdrant.py): the whole program while the server is killed,
silent, behind a network that tears, somebody else's, and emptied behind its back; and that it finds what the embedded
index finds."""
import json
import os
import pathlib
import signal
import sys
import time
import unittest.mock
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))

import harness
from harness import Case, Server, png, wait_until
import peer
import test_guarantees
import test_rebuild
from minio import Tearing
from qdrant import Qdrant, fetch

COLLECTION = "tenant_default_builtin_vectors"
KEY = "of-the-tests-0123456789"


class OnQdrant(Case):
    key, tls = "", False

    def setUp(self):
        super().setUp()
        self.qdrant = Qdrant(key=self.key, tls=self.tls)
        self.addCleanup(self.qdrant.remove)
        self.qdrant.start()

    def serve(self, *flags, name="data", env=None) -> Server:
        return self.server(*self.qdrant.flags("--qdrant-timeout", "1s", *flags), name=name, env=env)

    def check_found(self, server, ids):
        for seed, image in ids.items():
            found = server.request("POST", "/api/v1/search?topK=1", png(seed), {"Content-Type": "image/png"})
            self.assertEqual(found.status, 200, found.body)
            self.assertEqual([hit["imageId"] for hit in found.json["results"]], [image])
        self.assertEqual(set(self.qdrant.points(COLLECTION)), set(ids.values()))

    def check_no_attempt_was_spent(self, server, ids):
        ledger = server.settle()
        self.assertEqual((ledger["failed"], ledger["closes"]), (0, True))
        for image in ids.values():
            status = server.wait_status(image, "completed")
            self.assertEqual({step["attempt"] for step in status["processingSteps"]}, {1})

    def outage(self, server, says="Qdrant"):
        """Waits until readiness tells; gives what it tells."""
        def told():
            answer = server.get("/readyz")
            return answer.status == 503 and says in answer.json["checks"]["vectors"] and answer.json
        return wait_until(told, "readiness says so")

    def well(self, server):
        wait_until(lambda: server.get("/readyz").status == 200, "it is well again")


class Works(OnQdrant):
    def test_uploaded_is_found_filtered_and_gone_when_deleted(self):
        server = self.serve()
        self.assertEqual(server.get("/readyz").json["checks"]["vectors"], "ok")
        ids = {}
        for seed, colour in ((1, "red"), (2, "blue"), (3, "red")):
            ids[seed] = server.upload_form(png(seed), metadata=json.dumps({"colour": colour, "size": {"w": seed}}),
                                           tags="a,b").json["imageId"]
        server.settle()
        self.check_found(server, ids)
        self.assertEqual([c for c in self.qdrant.collections() if not c.startswith("deeplens_owner_")], [COLLECTION])
        point = self.qdrant.points(COLLECTION)[ids[2]]
        self.assertEqual(point["point"], ids[2].removeprefix("img_"))
        self.assertEqual((point["metadata"]["colour"], point["metadata"]["size.w"], point["metadata"]["tags"]),
                         ("blue", 2, ["a", "b"]))
        self.assertGreater(point["times"]["uploadedAt"], 1_700_000_000_000)
        found = server.search(imageId=ids[1], topK=5, filter={"colour": "red", "size.w": {"gte": 2}}).json["results"]
        self.assertEqual([hit["imageId"] for hit in found], [ids[3]])
        self.assertEqual(server.search(imageId=ids[1], filter={"colour": {"not": ["red", "blue"]}}).json["results"], [])
        self.assertEqual(server.request("DELETE", "/api/v1/images/" + ids[1]).status, 202)
        wait_until(lambda: ids[1] not in self.qdrant.points(COLLECTION), "its point goes away (G9)")
        hits = server.request("POST", "/api/v1/search?topK=9", png(1), {"Content-Type": "image/png"}).json["results"]
        self.assertNotIn(ids[1], [hit["imageId"] for hit in hits])

    def test_g7_tenants_have_collections_of_their_own(self):
        server = self.serve("--tenants-auto-create")
        one = server.upload(png(1), tenant="acme-corp").json["imageId"]
        two = server.upload(png(1), tenant="globex").json["imageId"]
        server.wait_status(one, "completed", tenant="acme-corp")
        server.wait_status(two, "completed", tenant="globex")
        for tenant, collection, image in (("acme-corp", "tenant_acmecorp_builtin_vectors", one),
                                          ("globex", "tenant_globex_builtin_vectors", two)):
            self.assertEqual(set(self.qdrant.points(collection)), {image})
            found = server.request("POST", "/api/v1/search", png(1), {"Content-Type": "image/png", "X-Tenant-Id": tenant})
            self.assertEqual([hit["imageId"] for hit in found.json["results"]], [image])

    def test_it_finds_what_the_embedded_index_finds(self):
        answers = []
        for server in (self.serve(), self.server(name="flat")):
            for seed in range(40):
                server.upload_form(png(seed % 30), name=f"{seed:02}.png", metadata=json.dumps({"n": seed, "odd": seed % 2 > 0}))
            server.settle()
            told = []
            for query in (5, 17, 1000):
                for filter in ({}, {"odd": True}, {"n": {"gt": 3, "lte": 30}}, {"or": [{"n": [1, 5, 7]}, {"not": {"odd": True}}]},
                               {"fileName": ["05.png", "35.png"]}, {"uploadedAt": {"gt": "2026-01-01"}, "kind": "image"}):
                    hits = server.request("POST", "/api/v1/search?topK=12&filter=" + urllib.parse.quote(json.dumps(filter)),
                                          png(query), {"Content-Type": "image/png"})
                    self.assertEqual(hits.status, 200, hits.body)
                    told.append([(hit["fileName"], round(hit["score"], 4)) for hit in hits.json["results"]])
            answers.append(told)
        self.assertGreater(sum(map(len, answers[0])), 100)
        self.assertEqual(*answers)

    def test_g9_vectors_without_an_item_are_swept(self):
        server = self.serve()
        ids = self.upload_all(server, range(2))
        server.settle()
        dimension = self.qdrant.request("GET", "/collections/" + COLLECTION)[1]["config"]["params"]["vectors"]["size"]
        uuids = [f"0193647a-0000-7000-8000-00000000000{number}" for number in range(3)]
        points = [{"id": uuid, "vector": [1.0] * dimension, "payload": {"id": "img_" + uuid}} for uuid in uuids]
        self.assertEqual(self.qdrant.request("PUT", f"/collections/{COLLECTION}/points?wait=true", {"points": points})[0], 200)
        self.assertEqual(len(self.qdrant.points(COLLECTION)), 5)
        self.assertEqual(self.cli("maintenance", "run", "sweep", "--dry-run", "--wait", server=server).returncode, 0)
        self.assertEqual(len(self.qdrant.points(COLLECTION)), 5)
        self.assertEqual(self.cli("maintenance", "run", "sweep", "--apply", "--wait", server=server).returncode, 0)
        self.assertEqual(set(self.qdrant.points(COLLECTION)), set(ids.values()))
        self.assertEqual(server.metric("deeplens_orphans_removed_total"), 3)

    def test_it_is_all_there_after_kills_of_either(self):
        server = self.serve()
        ids = self.upload_all(server, range(10))
        server.kill()
        server.start()
        ids.update(self.upload_all(server, range(10, 15)))
        server.settle()
        self.check_found(server, ids)
        self.qdrant.kill()
        self.qdrant.start()
        self.check_found(server, ids)


class Outages(OnQdrant):
    def test_g6_killed_under_load_nothing_is_lost(self):
        server = self.serve()
        ids = self.upload_all(server, range(5))
        server.settle()
        self.qdrant.kill()
        ids.update(self.upload_all(server, range(5, 25)))  # a 202 asks nothing of it
        self.outage(server)
        answer = server.search(imageId=ids[0])
        self.assert_problem(answer, 503, "UNAVAILABLE", "Qdrant")
        gone = ids.pop(3)
        self.assertEqual(server.request("DELETE", "/api/v1/images/" + gone).status, 202)
        time.sleep(0.5)
        self.assertGreater(server.ledger()["inFlight"], 0)
        self.qdrant.start()
        self.check_no_attempt_was_spent(server, ids)
        self.well(server)
        self.check_found(server, ids)

    def test_g6_silence_is_an_outage_too(self):
        server = self.serve()
        ids = self.upload_all(server, range(3))
        server.settle()
        self.qdrant.process.send_signal(signal.SIGSTOP)
        self.assert_problem(server.search(imageId=ids[0]), 503, "UNAVAILABLE", "Qdrant")
        ids.update(self.upload_all(server, range(3, 6)))
        self.outage(server)
        self.qdrant.process.send_signal(signal.SIGCONT)
        self.check_no_attempt_was_spent(server, ids)
        self.check_found(server, ids)

    def test_g6_it_starts_while_the_server_is_away(self):
        self.qdrant.stop()
        server = self.serve()
        self.outage(server)
        ids = self.upload_all(server, range(3))
        self.qdrant.start()
        self.check_no_attempt_was_spent(server, ids)
        self.well(server)
        self.check_found(server, ids)

    def test_g3_torn_lost_cut_and_refused_requests_are_sent_again(self):
        ids = {}
        server = None
        for kind in ("torn", "lost", "cut", 500, 503, 429):
            with self.subTest(kind):
                with Tearing(self.qdrant.address, lambda method, target, n: kind if n % 3 == 0 else None) as proxy:
                    if server:
                        server.stop()
                    server = self.serve("--qdrant-url", proxy.address)
                    ids.update(self.upload_all(server, range(len(ids), len(ids) + 4)))
                    self.check_no_attempt_was_spent(server, ids)
                    self.check_found(server, ids)
                    self.assertGreater(proxy.broken, 4)

    def test_a_collection_taken_away_is_made_anew(self):
        server = self.serve()
        ids = self.upload_all(server, range(4))
        server.settle()
        self.qdrant.request("DELETE", "/collections/" + COLLECTION)
        self.assertEqual(server.request("POST", "/api/v1/search", png(0), {"Content-Type": "image/png"}).json["results"], [])
        new = self.upload_all(server, range(4, 7))
        self.check_no_attempt_was_spent(server, new)
        self.assertEqual(set(self.qdrant.points(COLLECTION)), set(new.values()))
        done = self.cli("reindex", "--wait", server=server)
        self.assertEqual(done.returncode, 0, done.stderr)
        server.settle()
        self.check_found(server, {**ids, **new})


class Walls(OnQdrant):
    key = KEY

    def refused(self, *flags, name="data", env=None) -> str:
        server = Server(os.path.join(self.scratch, name), *self.qdrant.flags(*flags), env=env)
        server.start(wait=False)
        self.addCleanup(server.stop)
        self.assertFalse(server.wait_ready())
        self.assertNotEqual(server.stop(), 0)
        return server.log_text()

    def test_a_wrong_key_is_refused_by_name_and_not_told(self):
        said = self.refused("--qdrant-api-key", "wrong-key-of-mine")
        self.assertIn("does not take the API key (qdrant.api_key)", said)
        self.assertIn("Invalid API key or JWT", said)
        self.assertNotIn("wrong-key-of-mine", said)
        self.assertIn("Must provide an API key", self.refused(name="none"))
        server = self.serve(env={"QDRANT_API_KEY": KEY})
        ids = self.upload_all(server, range(2))
        server.settle()
        self.check_found(server, ids)
        shown = self.cli("doctor", "--data-dir", server.data_dir, *self.qdrant.flags("--qdrant-api-key", KEY))
        self.assertNotIn(KEY, shown.stdout + shown.stderr)

    def test_g6_a_key_that_ends_is_an_outage(self):
        server = self.serve("--qdrant-api-key", KEY)
        ids = self.upload_all(server, range(2))
        server.settle()
        self.qdrant.stop()
        self.qdrant.key = "another"
        self.qdrant.start()
        ids.update(self.upload_all(server, range(2, 4)))
        self.outage(server, "API key")
        self.qdrant.stop()
        self.qdrant.key = KEY
        self.qdrant.start()
        self.check_no_attempt_was_spent(server, ids)
        self.check_found(server, ids)

    def test_it_has_one_owner(self):
        server = self.serve("--qdrant-api-key", KEY)
        mine = pathlib.Path(server.data_dir, "index-owner").read_text().strip()
        self.assertIn("deeplens_owner_" + mine, self.qdrant.collections())
        said = self.refused("--qdrant-api-key", KEY, name="other")
        self.assertIn(f"holds the vectors of the installation {mine}", said)
        self.assertEqual(len([c for c in self.qdrant.collections() if c.startswith("deeplens_owner_")]), 1)
        self.well(server)
        server.stop()
        again = self.serve("--qdrant-api-key", KEY, "--qdrant-owner", mine, name="other")  # who says that it is the same one
        self.well(again)

    def test_what_is_no_qdrant_is_refused(self):
        other = self.server(name="no-qdrant")
        self.assertIn("is no Qdrant", self.refused("--qdrant-url", other.url))
        self.assertIn("qdrant.url must be", self.refused("--qdrant-url", "qdrant:6333"))
        self.assertIn("qdrant.url must be", self.refused("--qdrant-url", ""))


class Encrypted(OnQdrant):
    key, tls = KEY, True

    def test_only_who_is_vouched_for_gets_the_key(self):
        stranger = Server(os.path.join(self.scratch, "stranger"), *self.qdrant.flags("--qdrant-api-key", KEY))
        self.addCleanup(stranger.stop)
        stranger.start()  # that nobody vouches for it may pass
        self.outage(stranger, "certificate")
        server = self.serve("--qdrant-api-key", KEY, "--qdrant-ca-file", str(self.qdrant.certificate))
        ids = self.upload_all(server, range(2))
        server.settle()
        self.well(server)
        self.check_found(server, ids)


class Everywhere(Case):
    """What every server of a test is told: the tests of others, with their vectors on Qdrant."""

    def setUp(self):
        super().setUp()
        self.qdrant = Qdrant()
        self.addCleanup(self.qdrant.remove)
        self.qdrant.start()
        told = unittest.mock.patch.dict(os.environ, DEEPLENS_INDEX_BACKEND="qdrant", DEEPLENS_QDRANT_OWNER="tests",
                                        DEEPLENS_QDRANT_URL=self.qdrant.address)
        told.start()
        self.addCleanup(told.stop)


class Kills(Everywhere, test_guarantees.Kills):
    KILLS = 6


class Guarantees(Everywhere, test_guarantees.Guarantees):
    def collections(self) -> int:
        return len([c for c in self.qdrant.collections() if not c.startswith("deeplens_owner_")])


class Rebuilds(Everywhere, test_rebuild.Rebuild):
    """Another model in the place of one (`models use`), and reindexing."""


if __name__ == "__main__":
    peer.had_or_skip("Qdrant", fetch)
    harness.main()
