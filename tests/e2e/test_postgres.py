# SPDX-License-Identifier: Apache-2.0
"""DeepLens with its records in a real PostgreSQL and its events on a real Kafka: the guarantees while the server, the
database, or what is between them is killed, stopped, torn and started again, and while a standby takes over.
"""
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))

import harness
import peer
import postgres
from harness import Server, multipart, png, wait_until
from postgres import Postgres
from test_kafka import Clients, OnKafka
from test_videos import Files

SESSIONS = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{postgres.USER}'"


class OnPostgres(OnKafka):
    def setUp(self):
        super().setUp()
        self.postgres = Postgres()
        self.addCleanup(self.postgres.remove)
        self.postgres.start()
        self.url = self.postgres.url

    def flags(self, *more):
        return super().flags("--meta-backend", "postgres", "--meta-url", self.url, "--meta-timeout", "3s", *more)

    def more(self, uploads, count=15):
        before = len(uploads.acked)
        wait_until(lambda: len(uploads.acked) >= before + count, "uploads go on")

    def wait_ready(self, server):
        wait_until(lambda: server.get("/readyz").status == 200, "it is well again")

    def wait_outage(self, server):
        answer = wait_until(lambda: [a for a in [server.get("/readyz")] if a.status == 503], "readiness says so")[0]
        self.assertIn("PostgreSQL", answer.json["checks"]["records"])

    def check_no_attempt_was_spent(self):
        self.assertEqual(self.postgres.query("SELECT max(attempt) FROM deeplens.step"), "1")
        self.assertEqual(self.postgres.query("SELECT count(*) FROM deeplens.retry"), "0")


class Storms(OnPostgres):
    def test_g2_g3_g6_whatever_dies_nothing_is_lost_or_doubled(self):
        server = self.serve()
        with Clients(server) as uploads:
            self.more(uploads)
            for _ in range(10):  # sessions end, in whatever they were at
                self.postgres.query(SESSIONS)
                self.more(uploads, 3)
            self.postgres.stop()  # as an administrator does
            self.wait_outage(server)
            self.postgres.start()
            self.more(uploads)
            self.wait_ready(server)
            self.postgres.kill()  # as a crash does
            self.wait_outage(server)
            self.postgres.start()
            self.more(uploads)
            self.wait_ready(server)
        self.check_all_there_once(server, uploads.acked)
        self.check_outbox_empties(server)
        self.check_no_attempt_was_spent()
        with Clients(server) as uploads:
            for _ in range(3):
                self.more(uploads)
                server.kill()
                server.start()
            self.more(uploads)
        self.check_all_there_once(server, uploads.acked)
        self.check_outbox_empties(server)
        self.assertEqual(self.postgres.query("SELECT count(*) FROM deeplens.inbox WHERE ended_ms = 0"), "0")

    def test_g1_a_standby_takes_over(self):
        standby = self.postgres.standby()
        self.addCleanup(standby.remove)
        self.url = postgres.url(standby, self.postgres)  # the one that takes writes is not the first
        server = self.serve()
        with Clients(server) as uploads:
            self.more(uploads)
            self.postgres.kill()
            self.wait_outage(server)
            standby.promote()
            self.more(uploads)
            self.wait_ready(server)
        self.postgres = standby
        self.check_all_there_once(server, uploads.acked)
        self.check_outbox_empties(server)
        self.check_no_attempt_was_spent()
        self.assertNotIn("has forgotten", server.log_text())


class Starts(OnPostgres):
    def refused(self, *flags) -> str:
        result = subprocess.run([harness.BINARY, "serve", "--data-dir", os.path.join(self.scratch, "other"), "--http-listen",
                                 "127.0.0.1:0", *flags], capture_output=True, text=True, timeout=harness.PATIENCE, check=False)
        self.assertEqual(result.returncode, 1, result.stderr)
        return result.stderr

    def test_what_cannot_work_is_refused_with_a_sentence(self):
        self.assertIn("set eventlog.backend = kafka", self.refused("--meta-backend", "postgres", "--meta-url", self.url))
        self.url = postgres.url(self.postgres, user="postgres")
        self.assertIn("superuser", self.refused(*self.flags()))
        self.url = postgres.url(self.postgres, user="nobody")
        self.assertNotIn(postgres.PASSWORD, self.refused(*self.flags()))
        self.url = self.postgres.url
        server = self.serve()
        self.assertIn("Another process serves the schema", self.refused(*self.flags()))
        self.assertEqual(server.get("/readyz").status, 200)
        shown = subprocess.run([harness.BINARY, "doctor", "--data-dir", server.data_dir, *self.flags()], capture_output=True,
                               text=True, timeout=harness.PATIENCE, check=False)
        self.assertNotIn(postgres.PASSWORD, shown.stdout + shown.stderr)

    def video_of(self, server) -> str:
        files = Files()
        self.addCleanup(shutil.rmtree, files.folder, True)
        body, kind = multipart([], ("film.mp4", files.film()))
        video = server.request("POST", "/api/v1/videos/upload", body, {"Content-Type": kind}).json["videoId"]
        wait_until(lambda: server.get(f"/api/v1/videos/{video}/status").json["status"] == "completed", "the video is searchable")
        return video

    def test_a_life_on_postgres(self):
        """What people do, once: uploads of two tenants, lists, search, duplicates, a video, deletion, a restart."""
        server = self.serve("--tenants-auto-create")
        ids = {}
        for tenant in ("acme", "other"):
            for seed in range(1, 6):
                answer = server.upload(png(seed), tenant, "&tags=red,wide")
                self.assertEqual(answer.status, 202, answer.body)
                ids[tenant, seed] = answer.json["imageId"]
        for (tenant, _), image_id in ids.items():
            server.wait_status(image_id, "completed", tenant=tenant)
        self.assertEqual(server.upload(png(1), "acme").json["imageId"], ids["acme", 1])
        self.assertEqual(len(server.items("&tag=red", tenant="acme")), 5)
        self.assertEqual(server.items("&tag=blue", tenant="acme"), [])
        self.assertEqual(server.get(f"/api/v1/images/{ids['acme', 1]}", X_Tenant_Id="other").status, 404)
        found = server.search("other", imageId=ids["other", 2], topK=3).json["results"]
        self.assertTrue(found and all(hit["imageId"] in ids.values() for hit in found))
        video = self.video_of(server)
        frames = server.get(f"/api/v1/videos/{video}/frames").json["items"]
        self.assertGreaterEqual(len(frames), 2)
        self.assertEqual(sorted(frame["time"] for frame in frames), [frame["time"] for frame in frames])
        deleted = server.request("DELETE", f"/api/v1/images/{ids['acme', 3]}", headers={"X-Tenant-Id": "acme"})
        self.assertIn(deleted.status, (200, 202, 204))
        wait_until(lambda: server.get(f"/api/v1/images/{ids['acme', 3]}", X_Tenant_Id="acme").status == 404, "it is gone")
        ledger = server.settle()
        wait_until(lambda: server.ledger()["deleted"] == 1, "the ledger knows")
        self.assertEqual(server.stop(), 0)
        self.assertEqual(self.postgres.query("SELECT count(*) FROM deeplens.writer"), "0")
        server.start()
        self.assertTrue(server.ledger()["closes"], ledger)
        self.assertEqual(len(server.items(tenant="acme")), 4)


if __name__ == "__main__":
    peer.had_or_skip("PostgreSQL", postgres.programs)
    harness.main()
