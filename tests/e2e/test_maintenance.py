# SPDX-License-Identifier: Apache-2.0
"""Maintenance: tasks with schedules, and runs that are shown, steered, and go on after a kill."""
import json
import os

import harness
from harness import Case, png, wait_until

TASKS = "/api/v1/admin/maintenance/tasks"
RUNS = "/api/v1/admin/maintenance/runs"


class Maintenance(Case):
    def begin(self, server, task, **members) -> dict:
        answer = server.request("POST", f"{TASKS}/{task}/run", json.dumps(members).encode())
        self.assertEqual(answer.status, 202, answer.json)
        return answer.json

    def run_of(self, server, run) -> dict:
        return server.get(f"{RUNS}/{run}").json

    def ended(self, server, run) -> dict:
        return wait_until(lambda: (r := self.run_of(server, run)) if "endedAt" in self.run_of(server, run) else None,
                          "the run ends")

    def originals(self, server) -> dict:
        storage = os.path.join(server.data_dir, "storage")
        return {os.path.basename(p).split(".")[0]: os.path.join(storage, p) for p in harness.files_below(storage)
                if "/images/" in p}

    def fill(self, server, count) -> list:
        ids = [server.upload(png(seed, 32, 24)).json["imageId"] for seed in range(count)]
        server.settle()
        return ids

    def test_a_scrub_tells_what_rotted(self):
        with self.server() as server:
            ids = self.fill(server, 5)
            with open(self.originals(server)[ids[1]], "r+b") as file:
                file.seek(30)
                file.write(b"\0rot")
            os.unlink(self.originals(server)[ids[3]])
            answer = self.cli("maintenance", "run", "scrub", "--whole", "--wait", "--json", server=server)
            run = json.loads(answer.stdout)
            self.assertEqual(run["state"], "completed", answer.stderr)
            self.assertEqual({(f["itemId"], f["problem"]) for f in run["findings"]},
                             {(ids[1], "changed"), (ids[3], "missing")})
            self.assertEqual((run["counts"]["read"], run["findingCount"]), (5, 2))
            self.assertEqual(server.metric('deeplens_maintenance_runs_total{outcome="completed"}'), 1)
            alerts = server.get("/api/v1/admin/alerts").json["alerts"]
            self.assertIn("original.rotten", {alert["alert"] for alert in alerts}, alerts)
            shown = self.cli("maintenance", "show", run["runId"], server=server).stdout
            self.assertIn(ids[3], shown)
            self.assertIn("scrub", self.cli("maintenance", "list", server=server).stdout)
            self.assertIn(run["runId"], self.cli("maintenance", "runs", server=server).stdout)

    def test_killed_it_goes_on_from_its_place(self):
        server = self.server()
        with server:
            self.fill(server, 6)
            run = self.begin(server, "scrub", whole=True, rate=1)["runId"]
            for _ in range(2):  # once is not proof
                before = self.run_of(server, run)["counts"].get("read", 0)
                wait_until(lambda: self.run_of(server, run)["counts"].get("read", 0) > before, "it gets on")
                server.kill()
                server.start()
            done = self.ended(server, run)
            self.assertEqual((done["state"], done["counts"]["read"], done["findingCount"]), ("completed", 6, 0), done)
            self.assertEqual(len(server.get(RUNS).json["runs"]), 1)

    def test_a_sweep_that_is_killed_removes_all_the_same(self):
        with self.server() as server:
            (kept,) = self.fill(server, 1)
            folder = os.path.dirname(self.originals(server)[kept])
            server.stop()
            for number in range(5):
                path = os.path.join(folder, f"img_0193647a-0000-7000-8000-00000000000{number}.png")
                with open(path, "wb") as file:
                    file.write(b"nobody's")
                os.utime(path, (1e9, 1e9))
            server.flags = ("--fault", "blob.remove:after:kill@2")
            server.start()
            run = self.begin(server, "sweep", dryRun=False)["runId"]
            server.process.wait(harness.PATIENCE)
            self.assertEqual(server.stop(), -9)
            server.flags = ()
            server.start()
            done = self.ended(server, run)
            self.assertEqual((done["state"], done["counts"]["filesRemoved"]), ("completed", 3), done)
            self.assertEqual(set(self.originals(server)), {kept})

    def test_runs_are_steered(self):
        with self.server() as server:
            self.fill(server, 4)
            run = self.begin(server, "scrub", whole=True, rate=1)["runId"]
            refused = server.request("POST", f"{TASKS}/scrub/run", b"{}")
            self.assertEqual((refused.status, refused.json["code"]), (409, "CONFLICT"))
            self.assertIn("paused", self.cli("maintenance", "pause", run, server=server).stdout)
            server.stop()
            server.start()
            self.assertEqual(self.run_of(server, run)["state"], "paused")
            self.assertIn("running", self.cli("maintenance", "resume", run, server=server).stdout)
            self.assertIn("cancel", self.cli("maintenance", "cancel", run, server=server).stdout)
            self.assertEqual(self.ended(server, run)["state"], "cancelled")
            self.assertEqual(self.cli("maintenance", "resume", run, server=server).returncode, 1)
            self.assertEqual(server.get(f"{RUNS}/run_none").status, 404)

    def test_schedules_are_set(self):
        with self.server("--scrub-schedule", "15 3 1 * *") as server:
            task = lambda: next(t for t in server.get(TASKS).json["tasks"] if t["task"] == "scrub")
            self.assertEqual((task()["schedule"], task()["lastRun"]), ("15 3 1 * *", None))
            wait_until(lambda: task()["nextAt"], "it was looked at")
            self.assertTrue(task()["nextAt"].endswith("-01T03:15:00.000Z"), task())
            answer = self.cli("maintenance", "set", "scrub", "--schedule", "0 4 * * SUN", "--rate", "3", server=server)
            self.assertEqual(answer.returncode, 0, answer.stderr)
            server.kill()
            server.start()
            self.assertEqual((task()["schedule"], task()["rate"]), ("0 4 * * SUN", 3))
            self.assertEqual(self.cli("maintenance", "set", "scrub", "--schedule", "0 4", server=server).returncode, 1)
            self.cli("maintenance", "set", "scrub", "--configured", server=server)
            self.assertEqual((task()["schedule"], task()["rate"]), ("15 3 1 * *", 50))

    def test_a_schedule_begins_runs(self):
        with self.server("--scrub-schedule", "* * * * *", "--scrub-nights", "1") as server:
            self.fill(server, 2)
            runs = wait_until(lambda: server.get(RUNS).json["runs"], "the minute comes")
            self.assertEqual(runs[-1]["origin"], "schedule")
            self.assertEqual(self.ended(server, runs[-1]["runId"])["counts"]["read"], 2)

    def test_a_schedule_that_cannot_be_is_refused(self):
        with self.assertRaisesRegex(RuntimeError, "scrub.schedule"):
            self.server("--scrub-schedule", "61 * * * *")


if __name__ == "__main__":
    harness.main()
