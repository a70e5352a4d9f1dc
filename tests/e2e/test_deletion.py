# SPDX-License-Identifier: Apache-2.0
"""Deleting: what each action removes, that it goes on after a kill, and the receipts that tell of it."""
import base64
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import subprocess

import harness
from harness import Case, files_below, png, wait_until
from test_videos import VideoCase

TOPIC = "/api/v1/admin/topics/deeplens.images.maintenance/records"
VECTORS = "tenant_default_builtin_vectors"


class Deletion(Case):
    def receipts(self, server, query="", tenant=None) -> list:
        headers = {"X-Tenant-Id": tenant} if tenant else {}
        return server.get("/api/v1/receipts?limit=1000" + query, **headers).json["receipts"]

    def add(self, server, seed=1, tenant=None) -> str:
        image = server.upload(png(seed), tenant=tenant).json["imageId"]
        server.wait_status(image, "completed", tenant=tenant)
        wait_until(lambda: server.get(f"/api/v1/images/{image}/thumbnail", **({"X-Tenant-Id": tenant} if tenant else {})).status == 200,
                   "the thumbnail comes")
        return image

    def delete(self, server, path):
        self.assertEqual(server.request("DELETE", "/api/v1/" + path).status, 202)

    def stored(self, server) -> list:
        storage = os.path.join(server.data_dir, "storage")
        return [os.path.join(storage, path) for path in files_below(storage)]

    def found(self, server) -> list:
        return [hit["imageId"] for hit in server.search(vector=[1] * 512).json["results"]]


class Receipts(Deletion):
    def test_g9_a_deletion_ends_with_a_receipt(self):
        with self.server("--tenants-auto-create") as server:
            kept, gone = self.add(server, 1), self.add(server, 2)
            other = self.add(server, 3, "shop")
            content = server.get(f"/api/v1/images/{gone}").json["contentHash"]
            self.delete(server, "images/" + gone)
            server.settle()
            self.assertEqual(server.request("DELETE", "/api/v1/images/" + other, headers={"X-Tenant-Id": "shop"}).status, 202)
            server.settle()
            (one,) = self.receipts(server)
            receipt = one["receipt"]
            self.assertEqual((receipt["itemId"], receipt["kind"], receipt["tenantId"]), (gone, "image", "default"))
            self.assertEqual(receipt["contentHash"], content)
            self.assertEqual(receipt["removed"], {"originals": 1, "thumbnails": 1, "frames": 0, "rows": 1, "vectors": {VECTORS: 1}})
            self.assertEqual(receipt["actions"], ["delete_minio_files", "delete_qdrant_vectors", "cleanup_database"])
            self.assertLessEqual(receipt["uploadedAt"], receipt["requestedAt"])
            self.assertLessEqual(receipt["requestedAt"], receipt["completedAt"])
            self.assertEqual(server.get("/api/v1/receipts/" + receipt["receiptId"]).json, one)
            self.assertEqual(self.receipts(server, "&itemId=" + gone), [one])
            self.assertEqual(self.receipts(server, "&itemId=" + kept), [])
            # Tenants are walls.
            (theirs,) = self.receipts(server, tenant="shop")
            self.assert_problem(server.get("/api/v1/receipts/" + theirs["receipt"]["receiptId"]), 404, "NOT_FOUND")
            # The key stays what it is.
            key = server.get("/api/v1/admin/receipts/key").json
            self.assertEqual({one["keyId"], theirs["keyId"]}, {key["keyId"]})
            server.stop()
            server.start()
            self.assertEqual(server.get("/api/v1/admin/receipts/key").json, key)
            self.assertEqual(self.receipts(server), [one])

    def test_receipts_are_listed_page_by_page(self):
        with self.server() as server:
            images = [server.upload(png(seed)).json["imageId"] for seed in range(5)]
            for image in images:
                self.delete(server, "images/" + image)
            server.settle()
            seen, cursor = [], ""
            while cursor is not None:
                page = server.get("/api/v1/receipts?limit=2" + cursor).json
                seen += [one["receipt"]["itemId"] for one in page["receipts"]]
                cursor = page["nextCursor"] and "&cursor=" + page["nextCursor"]
            self.assertEqual(sorted(seen), sorted(images))
            self.assert_problem(server.get("/api/v1/receipts?cursor=none"), 400, "INVALID_CURSOR")

    def test_verified_without_a_server_and_by_others(self):
        with self.server() as server:
            for seed in range(2):
                self.delete(server, "images/" + self.add(server, seed))
            server.settle()
            listed = self.cli("receipt", "list", "--json", server=server).stdout
            pem = self.cli("receipt", "key", server=server).stdout
            first = json.loads(listed)["receipts"][0]
            shown = self.cli("receipt", "show", first["receipt"]["receiptId"], "--json", server=server).stdout
            self.assertEqual(json.loads(shown), first)
            for words in ("list",), ("show", first["receipt"]["receiptId"]):
                self.assertIn(first["receipt"]["itemId"], self.cli("receipt", *words, server=server).stdout)
            online = self.cli("receipt", "verify", "-", server=server, stdin=shown)
            self.assertEqual(online.returncode, 0, online.stderr)
            other = self.server(name="other")
            stranger = other.get("/api/v1/admin/receipts/key").json["publicKey"]
        paths = {name: os.path.join(self.scratch, name) for name in ("list.json", "key.pem", "bad.json", "text", "signature")}
        write = lambda name, data: pathlib.Path(paths[name]).write_bytes(data)
        write("list.json", json.dumps(json.loads(listed), indent=3, sort_keys=True).encode())  # written in another way
        write("key.pem", pem.encode())
        verify = lambda *words: self.cli("receipt", "verify", *words)
        answer = verify(paths["list.json"], "--key", paths["key.pem"])
        self.assertEqual((answer.returncode, answer.stdout.count("is genuine")), (0, 2), answer.stderr)
        answer = verify(paths["list.json"], "--key", stranger)
        self.assertEqual((answer.returncode, answer.stderr.count("SIGNATURE_INVALID")), (1, 2))
        # Any change is seen.
        for change in ({"itemId": "img_019aa000-0000-7000-8000-000000000000"}, {"removed": {}}, {"more": 1}):
            write("bad.json", json.dumps({**first, "receipt": {**first["receipt"], **change}}).encode())
            answer = verify(paths["bad.json"], "--key", paths["key.pem"])
            self.assertEqual(answer.returncode, 1)
            self.assertIn("SIGNATURE_INVALID", answer.stderr)
        for nothing in (b"{}", b"[]", b"none"):
            write("bad.json", nothing)
            self.assertEqual(verify(paths["bad.json"], "--key", paths["key.pem"]).returncode, 1)
        self.assertEqual(verify(paths["list.json"], "--key", "no key").returncode, 1)
        # Somebody else's program comes to the same.
        if not shutil.which("openssl"):
            self.skipTest("there is no openssl to compare with")
        write("text", json.dumps(first["receipt"], sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())
        write("signature", base64.b64decode(first["signature"]))
        subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", paths["key.pem"], "-rawin", "-in", paths["text"],
                        "-sigfile", paths["signature"]], check=True, capture_output=True)


class Actions(Deletion):
    def ask(self, server, image, *actions):
        event = {"maintenanceType": "delete", "imageId": image, "tenantId": "default", "actions": actions,
                 "requestedAt": "2026-01-14T11:00:00Z"}
        answer = server.post_json(TOPIC, {"key": image, "value": event})
        self.assertLess(answer.status, 300, answer.body)
        server.settle()

    def test_each_action_alone(self):
        with self.server() as server:
            image = self.add(server)
            self.assertEqual(self.found(server), [image])
            self.ask(server, image, "delete_qdrant_vectors")
            self.assertEqual(self.found(server), [])
            self.assertEqual(len(self.stored(server)), 2)
            self.ask(server, image, "delete_minio_files")
            self.assertEqual(self.stored(server), [])
            self.assertEqual(server.get("/api/v1/images/" + image).status, 200)
            self.ask(server, image, "cleanup_database")
            self.assertEqual(server.get("/api/v1/images/" + image).status, 404)
            self.assertEqual(server.ledger()["deleted"], 1)
            receipts = [one["receipt"] for one in reversed(self.receipts(server))]
            self.assertEqual([r["actions"] for r in receipts],
                             [["delete_qdrant_vectors"], ["delete_minio_files"], ["cleanup_database"]])
            self.assertEqual([r["removed"] for r in receipts],
                             [{"vectors": {VECTORS: 1}}, {"originals": 1, "thumbnails": 1, "frames": 0}, {"rows": 1}])
            self.assertEqual({r["requestedAt"] for r in receipts}, {"2026-01-14T11:00:00.000Z"})

    def test_vectors_of_models_that_are_no_more_go_too(self):
        with self.server() as server:
            image = self.add(server)
        # As if another model had been there before.
        index = os.path.join(server.data_dir, "index")
        (name,) = files_below(index)
        before = os.path.join(index, name.replace("builtin", "formermodel"))
        os.makedirs(os.path.dirname(before), exist_ok=True)
        shutil.copy(os.path.join(index, name), before)
        with server:
            self.delete(server, "images/" + image)
            server.settle()
            (one,) = self.receipts(server)
            self.assertEqual(one["receipt"]["removed"]["vectors"], {VECTORS: 1, VECTORS.replace("builtin", "formermodel"): 1})


class Kills(Deletion):
    MOMENTS = ("blob.remove:kill@1", "blob.remove:after:kill@1", "blob.remove:after:kill@2", "index.remove:after:kill@1",
               "meta.receipt_put:kill@1", "meta.media_delete:kill@1", "meta.receipt_put:kill@2",
               "meta.receipt_put:after:kill@2")

    def test_g9_killed_anywhere_it_goes_on_and_the_receipt_is_whole(self):
        for moment in self.MOMENTS:
            with self.subTest(moment):
                name = moment.replace(":", "_").replace("@", "_")
                with self.server(name=name) as server:
                    image = self.add(server)
                server.flags = ("--fault", moment)
                server.start()
                self.delete(server, "images/" + image)
                wait_until(lambda: server.process.poll() is not None, "it is killed")
                server.stop()
                server.flags = ()
                with server.start():
                    self.assertEqual(server.get("/api/v1/images/" + image).status, 404)
                    server.settle()
                    (one,) = self.receipts(server)
                    self.assertEqual(one["receipt"]["removed"],
                                     {"originals": 1, "thumbnails": 1, "frames": 0, "rows": 1, "vectors": {VECTORS: 1}})
                    ledger = server.ledger()
                    self.assertEqual((ledger["accepted"], ledger["deleted"], ledger["closes"]), (1, 1, True))
                    self.assertEqual(self.stored(server), [])


class Many(Deletion):
    def fill(self, server, count, tenant=None) -> dict:
        """Ids by season, 0 to 2."""
        ids = {season: [] for season in range(3)}
        for seed in range(count):
            answer = server.upload_form(png(seed, 32, 24), f"{seed}.png", tenant=tenant, metadata=json.dumps({"season": seed % 3}))
            ids[seed % 3].append(answer.json["imageId"])
        server.settle()
        return ids

    def left(self, server, tenant=None) -> list:
        return sorted(item["imageId"] for item in server.items(tenant=tenant))

    def test_what_a_filter_lets_through_is_deleted(self):
        with self.server("--tenants-auto-create") as server:
            ids, theirs = self.fill(server, 12), self.fill(server, 3, "shop")
            path, filter = "/api/v1/images/delete", {"season": [0, 1], "sizeBytes": {"gt": 0}}
            answer = server.post_json(path, {"filter": filter, "dryRun": True})
            self.assertEqual((answer.status, answer.json["matched"], answer.json["nextCursor"]), (200, 8, None))
            self.assertEqual(sorted(one["imageId"] for one in answer.json["sample"]), sorted(ids[0] + ids[1]))
            self.assertEqual(len(self.left(server)), 12)  # nothing was done
            before = answer.json["uploadedBefore"]
            late = server.upload_form(png(99), "late.png", metadata='{"season": 0}').json["imageId"]
            answer = server.post_json(path, {"filter": filter, "uploadedBefore": before})
            self.assertEqual((answer.status, answer.json["matched"]), (202, 8))
            self.assertEqual(self.left(server), sorted(ids[2] + [late]))  # at once
            self.assertEqual(server.post_json(path, {"filter": filter, "uploadedBefore": before}).json["matched"], 0)
            ledger = server.settle()
            self.assertEqual((ledger["deleted"], ledger["closes"]), (8, True))
            self.assertEqual(sorted(one["receipt"]["itemId"] for one in self.receipts(server)), sorted(ids[0] + ids[1]))
            self.assertEqual(len(self.left(server, "shop")), 3)
            self.assertEqual(sum(map(len, theirs.values())), 3)
            for body, code in (({}, "INVALID_REQUEST"), ({"filter": {}}, "INVALID_FILTER"), ({"filter": {"a": {"b": 1}}}, "INVALID_FILTER"),
                               ({"filter": filter, "cursor": "none"}, "INVALID_CURSOR"), ({"filter": filter, "dry": True}, "INVALID_REQUEST"),
                               ({"filter": filter, "uploadedBefore": "soon"}, "INVALID_REQUEST")):
                self.assert_problem(server.post_json(path, body), 400, code)
            self.assert_problem(server.post_json(path, {"filter": filter, "tenantId": "nobody"}), 404, "TENANT_UNKNOWN")

    def test_by_the_command_line(self):
        with self.server() as server:
            ids = self.fill(server, 6)
            run = lambda *words: self.cli("delete", *words, server=server)
            answer = run("--filter", '{"season": 1}', "--dry-run")
            self.assertIn("2 images would be deleted", answer.stdout, answer.stderr)
            self.assertIn(ids[1][0], answer.stdout)
            answer = run("--filter", '{"season": 1}')
            self.assertEqual((answer.returncode, "--yes" in answer.stderr), (2, True))
            self.assertEqual(len(self.left(server)), 6)
            answer = run("--filter", '{"season": 1}', "--yes", "--json")
            self.assertEqual((answer.returncode, json.loads(answer.stdout)["matched"]), (0, 2), answer.stderr)
            self.assertEqual(self.left(server), sorted(ids[0] + ids[2]))
            self.assertIn("0 images", run("--filter", '{"season": 1}', "--yes").stdout)
            self.assertIn("0 videos", run("--filter", '{"season": 0}', "--videos", "--yes").stdout)
            for words in ((), ("--filter", "{", "--yes"), ("--filter", '{"season": 0}', ids[0][0]), ("--dry-run", ids[0][0])):
                self.assertEqual(run(*words).returncode, 2, words)
            self.assertEqual(run("--filter", "{}", "--yes").returncode, 1)
            self.assertEqual(len(self.left(server)), 4)

    def test_g2_killed_in_the_middle_and_asked_for_again(self):
        with self.server() as server:
            for seed in range(230):  # three pages
                self.assertEqual(server.upload(png(seed, 16, 12, 2)).status, 202)
            server.settle()
        filter = {"filter": {"kind": "image"}}
        server.flags = ("--fault", "meta.media_list:kill@2")
        server.start()
        with self.assertRaises(OSError):
            server.post_json("/api/v1/images/delete", filter)
        wait_until(lambda: server.process.poll() is not None, "it is killed")
        server.stop()
        server.flags = ()
        with server.start():
            self.assertEqual(server.post_json("/api/v1/images/delete", filter).json["matched"], 130)
            ledger = server.settle()
            self.assertEqual((ledger["accepted"], ledger["deleted"], ledger["closes"]), (230, 230, True))
            self.assertEqual(len(self.receipts(server)), 230)
            self.assertEqual((self.found(server), self.stored(server)), ([], []))


class Tenants(Deletion, VideoCase):
    def fill(self, server, tenant, images=3):
        for seed in range(images):
            self.assertEqual(server.upload(png(seed), tenant=tenant).status, 202)
        self.assertEqual(self.upload(server, self.files.drawn("short.mp4"), tenant=tenant).status, 202)
        server.settle()

    def names(self, server) -> list:
        return [tenant["name"] for tenant in server.get("/api/v1/admin/tenants").json["tenants"]]

    def of(self, server, tenant) -> list:
        """What there is of it on the disk."""
        return [path for path in files_below(server.data_dir) if f"tenant-{tenant}/" in path or f"tenant_{tenant}_" in path]

    def test_a_tenant_is_removed_whole(self):
        with self.server("--tenants-auto-create") as server:
            self.fill(server, "shop")
            self.fill(server, "shop2")  # whose name begins alike
            before = len(self.of(server, "shop2"))
            hook = {"url": "http://localhost:9/", "tenantId": "shop"}
            self.assertEqual(server.post_json("/api/v1/admin/webhooks", hook).status, 201)
            self.assertEqual(server.request("PATCH", "/api/v1/admin/tenants/shop", b'{"duplicatePolicy": "reject"}').status, 200)
            run = lambda *words: self.cli("tenants", "remove", *words, server=server)
            self.assertIn("4 images and videos", run("shop", "--dry-run").stdout)
            self.assertEqual(run("shop").returncode, 2)  # nobody to ask
            self.assertEqual(len(server.items(tenant="shop")), 3)
            answer = run("shop", "--yes")
            self.assertEqual(answer.returncode, 0, answer.stderr)
            self.assertEqual((self.names(server), self.of(server, "shop")), (["default", "shop2"], []))
            self.assert_problem(server.get("/api/v1/images", X_Tenant_Id="shop"), 404, "TENANT_UNKNOWN")
            self.assert_problem(server.request("DELETE", "/api/v1/admin/tenants/shop"), 404, "TENANT_UNKNOWN")
            self.assert_problem(server.request("DELETE", "/api/v1/admin/tenants/default"), 409, "CONFLICT")
            self.assertEqual(len(self.receipts(server, tenant="shop")), 4)  # which outlive it
            self.assertEqual((len(self.of(server, "shop2")), len(server.items(tenant="shop2"))), (before, 3))
            self.assertTrue(server.settle()["closes"])
            self.fill(server, "shop")  # another one of that name has nothing of it
            self.assertEqual(len(server.items(tenant="shop")), 3)
            self.assertEqual(server.get("/api/v1/admin/webhooks", X_Tenant_Id="shop").json["webhooks"], [])
            (tenant,) = [t for t in server.get("/api/v1/admin/tenants").json["tenants"] if t["name"] == "shop"]
            self.assertNotIn("duplicatePolicy", tenant)

    def test_what_waits_while_its_tenant_goes_is_no_failure(self):
        for step in ("prepare", "extract", "index", "status"):
            with self.subTest(step), self.server("--tenants-auto-create", "--lag-interval", "100ms", name=step) as server:
                pause = lambda paused: server.request("PATCH", f"/api/v1/admin/jobs/{step}", json.dumps({"paused": paused}).encode())
                self.assertEqual(pause(True).status, 200)
                self.assertEqual(server.upload(png(1, 32, 24), tenant="shop").status, 202)
                wait_until(lambda: [j for j in server.get("/api/v1/admin/jobs").json["jobs"] if j["step"] == step][0]["waiting"] == 1, "it waits")
                server.request("DELETE", "/api/v1/admin/tenants/shop")
                wait_until(lambda: self.names(server) == ["default"], "it is gone")
                self.assertEqual(pause(False).status, 200)
                server.settle()
                self.assertEqual(server.get("/api/v1/admin/deadletters").json["items"], [])
                self.assertEqual(self.of(server, "shop"), [])

    def test_g1_g2_killed_in_the_middle_it_goes_on_by_itself(self):
        for moment in ("blob.remove:after:kill@3", "index.drop:after:kill@1", "meta.tenant_remove:kill@1"):
            with self.subTest(moment):
                name = moment.replace(":", "_").replace("@", "_")
                with self.server("--tenants-auto-create", name=name) as server:
                    self.fill(server, "shop")
                server.flags = ("--fault", moment, "--lag-interval", "100ms")
                server.start()
                with contextlib.suppress(OSError, http.client.HTTPException):  # it may be killed before it answers
                    self.assertEqual(server.request("DELETE", "/api/v1/admin/tenants/shop").status, 202)
                wait_until(lambda: server.process.poll() is not None, "it is killed")
                server.stop()
                server.flags = flags = ("--tenants-auto-create", "--lag-interval", "100ms")
                if "blob" in moment:  # it is not there for uploads any more
                    server.flags = (*flags, "--fault", "blob.remove:UNAVAILABLE@1+")
                    with server.start():
                        self.assert_problem(server.upload(png(9), tenant="shop"), 404, "TENANT_UNKNOWN")
                    server.flags = flags
                with server.start():
                    wait_until(lambda: self.names(server) == ["default"], "it is removed")
                    self.assertEqual(self.of(server, "shop"), [])
                    self.assertTrue(server.settle()["closes"])
                    self.assertEqual(len(self.receipts(server, tenant="shop")), 4)


class Videos(Deletion, VideoCase):
    def test_g9_a_video_killed_in_the_middle(self):
        with self.server("--video-interval", "200ms") as server:
            video = self.upload(server, self.files.film()).json["videoId"]
            self.wait(server, video)
            server.settle()
            frames = len(server.get(f"/api/v1/videos/{video}/frames?limit=1000").json["items"])
            self.assertGreater(frames, 1)
        # A picture that a kill left without a row.
        one = next(path for path in self.stored(server) if "/frames/" in path)
        shutil.copy(one, os.path.join(os.path.dirname(one), "frm_019aa000-0000-7000-8000-000000000000.webp"))
        for moment in ("blob.remove:after:kill@2", f"blob.remove:after:kill@{frames + 1}"):
            server.flags = ("--fault", moment)
            server.start(wait=moment.endswith("@2"))  # the other one goes on at once, and may be killed before it is ready
            if moment.endswith("@2"):
                self.delete(server, "videos/" + video)
            wait_until(lambda: server.process.poll() is not None, "it is killed")
            server.stop()
        server.flags = ()
        with server:
            server.settle()
            (one,) = self.receipts(server)
            removed = one["receipt"]["removed"]
            self.assertIn(removed.pop("frames"), (frames, frames + 1))  # the sweep may have been quicker
            removed.pop("derived")  # the kill may have come before them
            self.assertEqual(removed, {"originals": 1, "thumbnails": 0, "rows": frames + 1, "vectors": {VECTORS: frames}})
            self.assertEqual(self.stored(server), [])


class AtOnce(Deletion):
    def test_g9_it_leaves_searches_at_once_and_ends_the_processing(self):
        # Nothing of it is removed yet when the answer comes.
        with self.server("--fault", "blob.remove:sleep=500@1+,extractor.extract:sleep=1000@2+") as server:
            image = self.add(server, 1)
            at_work = server.upload(png(2)).json["imageId"]
            wait_until(lambda: server.get(f"/api/v1/images/{at_work}/status").json["processingSteps"], "it is worked on")
            self.delete(server, "images/" + image)
            self.assertEqual(self.found(server), [])
            self.assertEqual(server.items(), [item for item in server.items() if item["imageId"] == at_work])
            self.delete(server, "images/" + at_work)
            ledger = server.settle()
            self.assertEqual((ledger["accepted"], ledger["deleted"], ledger["closes"]), (2, 2, True))
            wait_until(lambda: not sum(server.lags().values()), "all is read")
            completed = [r for r in server.records("deeplens.processing.completed") if at_work in json.dumps(r)]
            self.assertEqual(completed, [])
            self.assertEqual(sorted(one["receipt"]["itemId"] for one in self.receipts(server)), sorted([image, at_work]))
            self.assertEqual((self.found(server), self.stored(server)), ([], []))


if __name__ == "__main__":
    harness.main()
