# SPDX-License-Identifier: Apache-2.0
"""Near-duplicates: groups as items arrive and go, policies, kills and redelivery, changes of model, videos; on the real
server. A picture in another size or shape looks like itself, two seeds do not look like each other."""
import json
import os
import shutil
import subprocess
import threading

import harness
from harness import png
from test_models import MODEL, SHARE
from test_videos import SCENES, Files

ENDED = ("completed", "failed")


def copies(seed: int) -> list:
    """One picture in six sizes and shapes."""
    return [png(seed, *size) for size in ((160, 120), (200, 150), (150, 120), (240, 180), (120, 100), (320, 240))]


class Duplicates(harness.Case):
    def put(self, server, data, policy=None, tenant=None, query="") -> str:
        options = json.dumps({"duplicatePolicy": policy}) if policy else "{}"
        answer = server.upload_form(data, tenant=tenant, processingOptions=options)
        self.assertEqual(answer.status, 202, answer.body)
        return answer.json["imageId"]

    def groups(self, server, query="", tenant=None) -> set:
        """The groups as sets of ids; what the API says of them must fit together."""
        headers = {"X-Tenant-Id": tenant} if tenant else {}
        found, cursor = set(), ""
        while cursor is not None:
            answer = server.request("GET", f"/api/v1/duplicates?limit=2&members=1000&cursor={cursor}{query}", None, headers)
            self.assertEqual(answer.status, 200, answer.body)
            for group in answer.json["groups"]:
                ids = [item.get("imageId", item.get("videoId")) for item in group["items"]]
                self.assertEqual(group["count"], len(ids))
                self.assertEqual(len(set(ids)), len(ids), "an item is in a group twice")
                self.assertFalse(set(ids) & set().union(*found) if found else False, "an item is in two groups")
                times = [item["uploadedAt"] for item in group["items"]]
                self.assertEqual(times, sorted(times))
                found.add(frozenset(ids))
            cursor = answer.json["nextCursor"]
        return found

    def test_groups_come_grow_and_go(self):
        with self.server() as server:
            server.settle()
            self.assertEqual(self.groups(server), set())
            ids = [[self.put(server, data) for data in copies(seed)] for seed in range(5)]
            alone = [self.put(server, png(seed)) for seed in range(100, 110)]
            server.settle()
            self.assertEqual(self.groups(server), {frozenset(one) for one in ids})
            page = server.get("/api/v1/duplicates?members=2").json
            self.assertEqual((page["model"], page["nextCursor"], len(page["groups"])), ("builtin", None, 5))
            self.assertEqual([(g["count"], len(g["items"])) for g in page["groups"]], [(6, 2)] * 5)
            for group in page["groups"]:
                for item in group["items"]:
                    self.assertGreaterEqual(item["score"], page["score"])
                    self.assertIn(item["nearest"], sum(ids, []))
            self.assertEqual(self.groups(server, "&imageId=" + ids[2][3]), {frozenset(ids[2])})
            self.assert_problem(server.get("/api/v1/duplicates?imageId=" + alone[0]), 404, "NOT_FOUND")
            self.assert_problem(server.get("/api/v1/duplicates?cursor=x1"), 400, "INVALID_CURSOR")
            self.assert_problem(server.get("/api/v1/duplicates?model=nobody"), 422, "MODEL_UNKNOWN")
            # Items go: what is left of a group stays together, one alone is none.
            for image in ids[0][1:] + ids[1][:5] + ids[2][:2] + alone[:3]:
                self.assertEqual(server.request("DELETE", "/api/v1/images/" + image).status, 202)
            left = {frozenset(ids[2][2:]), frozenset(ids[3]), frozenset(ids[4])}
            self.assertEqual(self.groups(server), left)  # at once
            server.settle()
            self.assertEqual(self.groups(server), left)
            back = self.put(server, png(0, 100, 80))
            server.settle()
            self.assertEqual(self.groups(server), left | {frozenset([ids[0][0], back])})

    def test_tenants_are_apart(self):
        with self.server("--tenants-auto-create") as server:
            ids = {t: [self.put(server, data, tenant=t) for data in copies(1)[:2]] for t in ("acme", "shop")}
            single = self.put(server, png(1), tenant="other")
            server.settle()
            for tenant in ids:
                self.assertEqual(self.groups(server, tenant=tenant), {frozenset(ids[tenant])})
            self.assertEqual(self.groups(server, tenant="other"), set())
            self.assert_problem(server.request("GET", "/api/v1/duplicates?imageId=" + ids["acme"][0], None,
                                               {"X-Tenant-Id": "other"}), 404, "NOT_FOUND")
            self.assertTrue(single)

    def test_link_names_the_original(self):
        with self.server() as server:
            first = self.put(server, copies(1)[0])
            server.settle()
            second = self.put(server, copies(1)[1], "link")
            other = self.put(server, png(2), "link")
            server.settle()
            third = self.put(server, copies(1)[2], "link")
            plain = self.put(server, copies(1)[3])
            server.settle()
            for image in (second, third):
                for path in (f"/api/v1/images/{image}", f"/api/v1/images/{image}/status"):
                    item = server.get(path).json
                    self.assertEqual((item["status"], item["duplicateOf"]), ("completed", first))
                    self.assertGreater(item["duplicateScore"], 0.8)
            for image in (first, other, plain):
                self.assertNotIn("duplicateOf", server.get("/api/v1/images/" + image).json)
            told = {r["value"]["data"]["imageId"]: r["value"]["data"].get("duplicateOf")
                    for r in server.records("deeplens.processing.completed")}
            self.assertEqual(told, {first: None, second: first, third: first, other: None, plain: None})
            self.assertEqual(self.groups(server), {frozenset([first, second, third, plain])})
            self.assertEqual(server.ledger()["searchable"], 5)

    def test_reject_ends_the_item_and_removes_its_file(self):
        with self.server() as server:
            first = self.put(server, copies(1)[0], "reject")
            server.settle()
            second = self.put(server, copies(1)[1], "reject")
            other = self.put(server, png(2), "reject")
            ledger = server.settle()
            self.assertEqual((ledger["accepted"], ledger["searchable"], ledger["failed"], ledger["closes"]), (3, 2, 1, True))
            status = server.get(f"/api/v1/images/{second}/status").json
            self.assertEqual((status["status"], status["error"]["code"], status["duplicateOf"]),
                             ("failed", "NEAR_DUPLICATE", first))
            self.assertIn(first, status["error"]["message"])
            steps = {step["step"]: step for step in status["processingSteps"]}
            self.assertEqual(steps["vector_indexing"]["status"], "failed")
            self.assertEqual(server.get(f"/api/v1/images/{second}/original").status, 404)
            self.assertEqual([f for f in harness.files_below(self.scratch + "/data/storage") if second in f], [])
            hits = [hit["imageId"] for hit in server.search(imageId=first, topK=10).json["results"]]
            self.assertEqual(hits, [other])
            self.assertEqual(self.groups(server), set())
            failed = [r["value"]["data"] for r in server.records("deeplens.processing.failed")]
            self.assertEqual([(f["imageId"], f["error"]["code"], f["final"], f["duplicateOf"]) for f in failed],
                             [(second, "NEAR_DUPLICATE", True, first)])
            self.assertEqual(server.get("/api/v1/admin/deadletters").json["items"], [])
            # The same bytes again are an upload of their own, and those of what is there are answered with it.
            self.assertNotEqual(self.put(server, copies(1)[1], "keep"), second)
            again = server.upload_form(copies(1)[0], processingOptions='{"duplicatePolicy":"reject"}')
            self.assertEqual((again.status, again.json["imageId"], again.json["duplicate"]), (200, first, True))
            server.settle()
            self.assertEqual(len(list(self.groups(server))[0]), 2)
            # A reindex passes it over; deleting removes what is left of it.
            self.assertEqual(self.cli("reindex", "--wait", server=server).returncode, 0)
            self.assertEqual(server.get(f"/api/v1/images/{second}/status").json["error"]["code"], "NEAR_DUPLICATE")
            self.assertEqual(server.get("/api/v1/admin/deadletters").json["items"], [])
            self.assertEqual(server.request("DELETE", "/api/v1/images/" + second).status, 202)
            ledger = server.settle()
            self.assertEqual((ledger["failed"], ledger["deleted"], ledger["closes"]), (0, 1, True))

    def test_policies_of_tenants_and_of_the_configuration(self):
        with self.server("--duplicates-policy", "link") as server:
            put = lambda body: server.request("PATCH", "/api/v1/admin/tenants/default", json.dumps(body).encode())
            first = self.put(server, copies(1)[0])
            server.settle()
            linked = self.put(server, copies(1)[1])
            self.assertEqual(put({"duplicatePolicy": "reject"}).json, {"name": "default", "duplicatePolicy": "reject"})
            server.settle()
            rejected = self.put(server, copies(1)[2])
            kept = self.put(server, copies(1)[3], "keep")
            server.settle()
            self.assertIn("default", self.cli("tenants", "list", server=server).stdout)
            self.assertIn("reject", self.cli("tenants", "list", server=server).stdout)
            self.assertEqual(self.cli("tenants", "set", "default", "--duplicates", "default", server=server).returncode, 0)
            linked_again = self.put(server, copies(1)[4])
            server.settle()
            seen = [(server.get(f"/api/v1/images/{image}").json["status"],
                     server.get(f"/api/v1/images/{image}").json.get("duplicateOf"))
                    for image in (first, linked, rejected, kept, linked_again)]
            self.assertEqual(seen, [("completed", None), ("completed", first), ("failed", first), ("completed", None),
                                    ("completed", first)])
            self.assert_problem(put({"duplicatePolicy": "burn"}), 400, "INVALID_REQUEST")
            self.assert_problem(put({"other": 1}), 400, "INVALID_REQUEST")
            self.assert_problem(server.request("PATCH", "/api/v1/admin/tenants/nobody", b'{"duplicatePolicy":null}'),
                                404, "TENANT_UNKNOWN")
            self.assert_problem(server.upload_form(png(9), processingOptions='{"duplicatePolicy":"burn"}'),
                                400, "INVALID_REQUEST")

    def test_two_at_once_leave_one(self):
        """Of look-alikes that come in together one stays, whoever is first; with `keep` they are one group."""
        with self.server("--workers-io", "4", "--workers-cpu", "4") as server:
            ids = {}

            def send(seed, place, policy):
                ids[seed, place] = self.put(server, copies(seed)[place], policy)

            threads = [threading.Thread(target=send, args=(seed, place, "reject" if seed < 10 else "keep"))
                       for place in range(6) for seed in (*range(5), *range(10, 15))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            server.settle()
            for seed in range(5):
                states = sorted(server.get(f"/api/v1/images/{ids[seed, place]}").json["status"] for place in range(6))
                self.assertEqual(states, ["completed"] + ["failed"] * 5)
            self.assertEqual(self.groups(server),
                             {frozenset(ids[seed, place] for place in range(6)) for seed in range(10, 15)})

    def test_kills_neither_lose_nor_double(self):
        """The process dies in the index step, before and after what it records, again and again."""
        server = self.server()
        server.kill()
        ids, groups = {}, 8
        for turn in range(6):
            fault = ("index.search:kill@%5", "meta.alike_join:kill@4", "meta.alike_join:after:kill@3")[turn % 3]
            server.flags = ("--fault", fault)
            server.start(wait=False)
            alive = server.wait_ready()  # what the last one left over may kill it before
            for seed in range(groups if alive else 0):
                try:
                    ids[seed, turn] = self.put(server, copies(seed)[turn])
                except (OSError, harness.http.client.HTTPException):
                    pass
            if turn:  # there is something to find
                server.process.wait(harness.PATIENCE)
            server.kill()
        server.flags = ()
        server.start()
        for seed in range(groups):  # what was not answered
            for turn in range(6):
                answer = server.upload(copies(seed)[turn])
                ids[seed, turn] = answer.json["imageId"]
        ledger = server.settle()
        self.assertEqual((ledger["searchable"], ledger["failed"]), (6 * groups, 0))
        self.assertEqual(self.groups(server), {frozenset(ids[seed, turn] for turn in range(6)) for seed in range(groups)})
        server.stop()

    def test_another_score_and_none(self):
        server = self.server("--duplicates-score", "0.97")
        with server:
            same = [self.put(server, data) for data in (png(1), png(1, 200, 150))]
            wide = self.put(server, png(1, 120, 120))  # 0.9 or so
            server.settle()
            self.assertEqual(self.groups(server), {frozenset(same)})
            self.assertEqual(server.get("/api/v1/duplicates").json["score"], 0.97)
        server.flags = ("--duplicates-score", "auto")
        with server.start():
            self.assertEqual(self.groups(server), {frozenset(same)})
            self.assertEqual(self.cli("reindex", "--wait", server=server).returncode, 0)
            self.assertEqual(self.groups(server), {frozenset([*same, wide])})
        server.flags = ("--duplicates-score", "0.97")
        with server.start():
            self.assertEqual(self.cli("reindex", "--wait", server=server).returncode, 0)
            self.assertEqual(self.groups(server), {frozenset(same)})
        server.flags = ("--duplicates-score", "off")
        with server.start():
            self.assert_problem(server.get("/api/v1/duplicates"), 409, "CONFLICT")
            self.put(server, png(1, 300, 300), "reject")
            self.assertEqual(server.settle()["failed"], 0)
        for wrong in ("0", "1.5", "high"):
            self.assertNotEqual(subprocess.run(
                [harness.BINARY, "serve", "--data-dir", self.scratch + "/x", "--http-listen", "127.0.0.1:0",
                 "--duplicates-score", wrong], capture_output=True, timeout=harness.PATIENCE).returncode, 0)

    def test_models_have_groups_of_their_own(self):
        """`models use` makes the other model's groups beside, and shows them from the moment that it switches; what a
        model found goes with its vectors."""
        self.assertTrue((SHARE / "models" / MODEL / "model.json").exists(), "`make models` gets what this test needs")
        with self.server("--models-dir", str(SHARE / "models"), "--openvino-dir", str(SHARE / "openvino"),
                         "--model-default", "auto") as server:
            self.assertEqual(self.cli("models", "use", "builtin", server=server).returncode, 0)
            ids = [self.put(server, png(1, *size)) for size in ((160, 120), (200, 150), (240, 180))]
            self.put(server, harness.pictures()["plain.jpg"])
            server.settle()
            whole = {frozenset(ids)}
            self.assertEqual(self.groups(server), whole)
            self.assertEqual(self.groups(server, "&model=" + MODEL), set())
            self.assertEqual(self.cli("models", "use", MODEL, "--wait", server=server).returncode, 0)
            self.assertEqual(server.get("/api/v1/duplicates").json["model"], MODEL)
            self.assertEqual(self.groups(server), whole)
            ids.append(self.put(server, png(1, 320, 240)))
            server.settle()
            self.assertEqual(self.groups(server), {frozenset(ids)})
            self.assertNotEqual(self.groups(server, "&model=builtin"), set())
            self.assertEqual(self.cli("models", "drop", "builtin", "--yes", server=server).returncode, 0)
            self.assertEqual(self.groups(server, "&model=builtin"), set())
            self.assertEqual(self.groups(server), {frozenset(ids)})

    def test_frames_count_under_their_video(self):
        files = Files()
        self.addCleanup(shutil.rmtree, files.folder, True)
        data = files.film()
        with self.server() as server:
            stills = [self.put(server, png(seed)) for seed in (SCENES[0], 1000)]
            server.settle()
            answer = server.request("POST", "/api/v1/videos/upload?fileName=a.mp4", data, {"Content-Type": "video/mp4"})
            video = answer.json["videoId"]
            server.settle()
            self.assertEqual(self.groups(server), {frozenset([stills[0], video])})
            late = self.put(server, png(SCENES[1], 200, 150))
            server.settle()
            self.assertEqual(self.groups(server), {frozenset([stills[0], video, late])})
            frame = server.get(f"/api/v1/videos/{video}/frames").json["items"][0]["imageId"]
            self.assertEqual(self.groups(server, "&imageId=" + frame), self.groups(server))
            self.assertEqual(self.groups(server, "&videoId=" + video), self.groups(server))
            self.assert_problem(server.request(
                "POST", "/api/v1/videos/upload?fileName=b.mp4&processingOptions=%7B%22duplicatePolicy%22%3A%22link%22%7D",
                data, {"Content-Type": "video/mp4"}), 400, "INVALID_REQUEST", "video")
            self.assertEqual(server.request("DELETE", f"/api/v1/videos/{video}").status, 202)
            server.settle()
            self.assertEqual(self.groups(server), {frozenset([stills[0], late])})

    def test_the_command_line(self):
        with self.server() as server:
            empty = self.cli("duplicates", server=server)
            self.assertEqual((empty.returncode, empty.stdout), (0, ""))
            ids = [self.put(server, data) for data in copies(1)[:3] + copies(2)[:2]]
            server.settle()
            table = self.cli("duplicates", server=server)
            for image in ids:
                self.assertIn(image, table.stdout)
            self.assertIn("5 items in 2 groups", table.stderr)
            lines = self.cli("duplicates", "--json", "--all", server=server).stdout.splitlines()
            self.assertEqual([json.loads(line)["count"] for line in lines], [2, 3])
            one = self.cli("duplicates", "--id", ids[0], "--json", server=server).stdout.splitlines()
            self.assertEqual([json.loads(line)["count"] for line in one], [3])
            page = os.path.join(self.scratch, "page.html")
            self.assertEqual(self.cli("duplicates", "--html", page, server=server).returncode, 0)
            with open(page, encoding="utf-8") as file:
                text = file.read()
            self.assertEqual(text.count("data:image/webp;base64,"), 5)
            self.assertNotIn("<script", text)
            folder = os.path.join(self.scratch, "more")
            os.mkdir(folder)
            with open(folder + "/a.png", "wb") as file:
                file.write(copies(1)[4])
            sent = self.cli("upload", folder, "--duplicates", "reject", "--wait", server=server)
            self.assertNotEqual(sent.returncode, 0)
            self.assertIn("NEAR_DUPLICATE", sent.stdout + sent.stderr)


if __name__ == "__main__":
    harness.main()
