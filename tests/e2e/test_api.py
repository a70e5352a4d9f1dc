# SPDX-License-Identifier: Apache-2.0
"""Every route of the API, asked as a client would, against the real binary."""
import json
import random
import re
import threading
import urllib.parse

import harness
from harness import Case, multipart, pictures, png, png_of_rows, wait_until, webp_size

TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"
ID = r"^img_[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
SOME_ID = "img_01a20568-38f1-7000-a57b-3e38c223029a"  # well formed; nobody has it
ITEM_MEMBERS = {"imageId", "tenantId", "kind", "status", "fileName", "contentType", "format", "sizeBytes", "width", "height",
                "contentHash", "uploadedBy", "metadata", "tags", "autoTags", "models", "uploadedAt", "lastUpdated", "searchableAfter",
                "originalUrl", "thumbnailUrl", "statusUrl"}


def options(**members) -> str:
    return urllib.parse.quote(json.dumps(members))


class Uploads(Case):
    def test_form_with_every_field(self):
        server = self.server()
        body, kind = multipart(
            [("uploadedBy", "user_jane"), ("metadata", '{"category": "shoes", "price": 9.5}'), ("tags", '["red", "summer"]'),
             ("processingOptions", '{"models": ["builtin"], "priority": "high", "generateThumbnail": true}'),
             ("tenantId", "default")], ("shoe größe.png", png(1)))
        answer = server.request("POST", "/api/v1/images/upload", body, {"Content-Type": kind})
        self.assertEqual(answer.status, 202, answer.body)
        image_id = answer.json["imageId"]
        self.assertRegex(image_id, ID)
        self.assertEqual(answer.json, {
            "imageId": image_id, "status": "uploaded", "duplicate": False, "message": answer.json["message"],
            "estimatedProcessingTime": answer.json["estimatedProcessingTime"],
            "statusCheckUrl": f"/api/v1/images/{image_id}/status"})
        self.assertRegex(answer.json["message"], "successfully")
        self.assertRegex(answer.json["estimatedProcessingTime"], r"^\d+-\d+ seconds$")
        server.wait_status(image_id, "completed")
        item = server.get(f"/api/v1/images/{image_id}").json
        self.assertEqual(
            [item[name] for name in ("tenantId", "kind", "fileName", "contentType", "format", "sizeBytes", "width", "height",
                                     "uploadedBy", "metadata", "tags", "models")],
            ["default", "image", "shoe größe.png", "image/png", "PNG", len(png(1)), 160, 120, "user_jane",
             {"category": "shoes", "price": 9.5}, ["red", "summer"], ["builtin"]])

    def test_form_with_the_file_first(self):
        server = self.server()
        mark = b"--x\r\nContent-Disposition: form-data; name="
        body = (mark + b'"file"; filename="first.png"\r\n\r\n' + png(1) + b"\r\n" + mark + b'"tags"\r\n\r\na, b ,,c\r\n--x--\r\n')
        answer = server.request("POST", "/api/v1/images/upload", body, {"Content-Type": "multipart/form-data; boundary=x"})
        self.assertEqual(answer.status, 202, answer.body)
        item = server.get(f"/api/v1/images/{answer.json['imageId']}").json
        self.assertEqual((item["fileName"], item["tags"]), ("first.png", ["a", "b", "c"]))

    def test_raw_with_every_parameter(self):
        server = self.server()
        query = urllib.parse.urlencode({
            "fileName": "raw ü.jpg", "tenantId": "default", "uploadedBy": "me", "metadata": '{"a": {"b": [1, true, null]}}',
            "tags": "x,y", "processingOptions": '{"priority": "low"}'})
        picture = pictures()["plain.jpg"]
        answer = server.request("POST", "/api/v1/images/upload?" + query, picture, {"Content-Type": "image/jpeg"})
        self.assertEqual(answer.status, 202, answer.body)
        item = server.get(f"/api/v1/images/{answer.json['imageId']}").json
        self.assertEqual(
            (item["fileName"], item["uploadedBy"], item["metadata"], item["tags"], item["format"], item["contentType"]),
            ("raw ü.jpg", "me", {"a": {"b": [1, True, None]}}, ["x", "y"], "JPEG", "image/jpeg"))
        self.assertEqual(server.get(f"/api/v1/images/{answer.json['imageId']}/original").body, picture)

    def test_chunked_body(self):
        server = self.server()
        data = png(1)
        answer = server.request("POST", "/api/v1/images/upload?fileName=a.png",
                                iter([data[:7], data[7:100], data[100:]]), {"Content-Type": "image/png"})
        self.assertEqual(answer.status, 202, answer.body)
        self.assertEqual(server.get(f"/api/v1/images/{answer.json['imageId']}/original").body, data)

    def test_the_same_bytes_again(self):
        server = self.server()
        first = server.upload(png(1)).json["imageId"]
        server.wait_status(first, "completed")
        again = server.upload(png(1), query="&tags=other")
        self.assertEqual((again.status, again.json["imageId"], again.json["status"], again.json["duplicate"]),
                         (200, first, "completed", True))
        self.assertEqual(server.get(f"/api/v1/images/{first}").json["tags"], [], "the second upload changed the first")
        other = server.upload(png(1), query="&processingOptions=" + options(skipDuplicateCheck=True))
        self.assertEqual((other.status, other.json["duplicate"]), (202, False))
        self.assertNotEqual(other.json["imageId"], first)
        ledger = server.settle()
        self.assertEqual((ledger["accepted"], ledger["searchable"], ledger["duplicates"]), (2, 2, 1))
        self.assertEqual(len(server.records("deeplens.images.uploaded")), 2)

    def test_the_same_bytes_at_once(self):
        """Of many uploads of one picture at the same time, one is accepted."""
        server, answers = self.server(), []
        threads = [threading.Thread(target=lambda: answers.append(server.upload(png(1)))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(answer.status for answer in answers), [200] * 7 + [202])
        self.assertEqual(len({answer.json["imageId"] for answer in answers}), 1)
        ledger = server.settle()
        self.assertEqual((ledger["accepted"], ledger["duplicates"]), (1, 7))
        self.assertEqual(len(harness.files_below(server.data_dir + "/storage")), 2)

    def test_processing_options(self):
        server = self.server()
        twice = server.upload(png(1), query="&processingOptions=" + options(models=["builtin", "builtin"])).json["imageId"]
        bare = server.upload(png(2), query="&processingOptions=" + options(generateThumbnail=False)).json["imageId"]
        server.settle()
        self.assertEqual(server.get(f"/api/v1/images/{twice}").json["models"], ["builtin"])
        self.assertEqual(len(server.records("deeplens.features.extraction")), 2)
        self.assertIsNone(server.get(f"/api/v1/images/{bare}").json["thumbnailUrl"])
        self.assert_problem(server.get(f"/api/v1/images/{bare}/thumbnail"), 409, "NOT_READY")
        for priority in ("high", "normal", "low"):
            answer = server.upload(png(len(priority)), query="&processingOptions=" + options(priority=priority))
            self.assertEqual(answer.status, 202)
        server.settle()
        event = {json.dumps(record["value"]["processingOptions"], sort_keys=True)
                 for record in server.records("deeplens.images.uploaded")}
        self.assertEqual({json.loads(text)["priority"] for text in event}, {"high", "normal", "low"})

    def test_tenants_are_named_three_ways(self):
        server = self.server()
        self.assertEqual(server.post_json("/api/v1/admin/tenants", {"name": "shop"}).status, 201)
        body, kind = multipart([("tenantId", "shop")], ("a.png", png(1)))
        ids = [server.request("POST", "/api/v1/images/upload", body, {"Content-Type": kind}).json["imageId"],
               server.request("POST", "/api/v1/images/upload?tenantId=shop", png(2)).json["imageId"],
               server.request("POST", "/api/v1/images/upload", png(3), {"X-Tenant-Id": "shop"}).json["imageId"]]
        server.upload(png(4))
        server.settle()
        self.assertEqual({item["imageId"] for item in server.items(tenant="shop")}, set(ids))
        self.assertEqual({item["imageId"] for item in server.items("&tenantId=shop")}, set(ids))
        self.assertEqual({item["tenantId"] for item in server.items(tenant="shop")}, {"shop"})
        for answer in (server.search(vector=[1] * 512, tenantId="shop"), server.search(vector=[1] * 512, tenant="shop"),
                       server.request("POST", "/api/v1/search?tenantId=shop", png(9))):
            self.assertEqual({hit["imageId"] for hit in answer.json["results"]}, set(ids))
        self.assertEqual(server.get("/api/v1/admin/ledger?tenantId=shop").json["accepted"], 3)
        self.assertEqual(server.get("/api/v1/admin/ledger?tenantId=default").json["accepted"], 1)
        self.assertEqual(server.ledger()["accepted"], 4)
        answer = server.request("POST", "/api/v1/images/upload?tenantId=default", png(5), {"X-Tenant-Id": "shop"})
        self.assert_problem(answer, 400, "INVALID_REQUEST", "tenants")

    def test_tenants_made_at_their_first_upload(self):
        server = self.server("--tenants-auto-create")
        image_id = server.upload(png(1), tenant="new-one").json["imageId"]
        server.wait_status(image_id, "completed", tenant="new-one")
        self.assertIn("new-one", [tenant["name"] for tenant in server.get("/api/v1/admin/tenants").json["tenants"]])


class Items(Case):
    def test_status(self):
        server = self.server()
        image_id = server.upload(png(1)).json["imageId"]
        server.wait_status(image_id, "completed")
        server.settle()
        status = server.get(f"/api/v1/images/{image_id}/status").json
        self.assertEqual(set(status), {"imageId", "status", "processingSteps", "estimatedTimeRemaining", "searchableAfter",
                                       "lastUpdated", "uploadedAt"})
        self.assertEqual(status["imageId"], image_id)
        self.assertIsNone(status["estimatedTimeRemaining"])
        for name in ("searchableAfter", "lastUpdated", "uploadedAt"):
            self.assertRegex(status[name], TIME)
        self.assertLessEqual(status["uploadedAt"], status["searchableAfter"])
        steps = status["processingSteps"]
        self.assertEqual([step["step"] for step in steps], ["preprocessing", "feature_extraction", "vector_indexing", "thumbnail"])
        for step in steps:
            self.assertEqual((step["status"], step["attempt"]), ("completed", 1))
            self.assertGreaterEqual(step["duration"], 0)
            self.assertRegex(step["startedAt"], TIME)
        self.assertEqual(steps[1]["modelName"], "builtin")
        self.assertEqual(steps[2]["collectionName"], "tenant_default_builtin_vectors")
        bare = image_id.removeprefix("img_")
        self.assertEqual(server.get(f"/api/v1/images/{bare}/status").json, status, "ids are read without their prefix, too")

    def test_status_while_it_waits(self):
        server = self.server("--fault", "extractor.extract:UNAVAILABLE@1+")
        image_id = server.upload(png(1)).json["imageId"]
        status = server.wait_status(image_id, "processing")
        self.assertGreater(status["estimatedTimeRemaining"], 0)
        self.assertIsNone(status["searchableAfter"])
        item = server.get(f"/api/v1/images/{image_id}").json
        self.assertIsNone(item["searchableAfter"])

    def test_status_of_a_retry(self):
        server = self.server("--fault", "extractor.extract:EXTRACTION_FAILED@1+", "--retry-base", "1h", "--retry-max", "1h")
        image_id = server.upload(png(1)).json["imageId"]

        def retrying():
            steps = server.get(f"/api/v1/images/{image_id}/status").json["processingSteps"]
            return [step for step in steps if step["status"] == "retrying"]
        step = wait_until(retrying, "a step that is retried")[0]
        self.assertEqual((step["step"], step["attempt"]), ("feature_extraction", 1))
        self.assertTrue(step["error"])

    def test_item(self):
        server = self.server()
        image_id = server.upload(png(1)).json["imageId"]
        server.settle()
        item = server.get(f"/api/v1/images/{image_id}").json
        self.assertEqual(set(item), ITEM_MEMBERS)
        self.assertEqual(item["status"], "completed")
        self.assertRegex(item["contentHash"], "^[0-9a-f]{64}$")
        for name in ("uploadedAt", "lastUpdated", "searchableAfter"):
            self.assertRegex(item[name], TIME)
        for name in ("statusUrl", "originalUrl", "thumbnailUrl"):
            self.assertEqual(server.get(item[name]).status, 200)

    def test_failed_item(self):
        server = self.server("--fault", "extractor.extract:IMAGE_CORRUPT@1+")
        image_id = server.upload(png(1)).json["imageId"]
        server.wait_status(image_id, "failed")
        item = server.get(f"/api/v1/images/{image_id}").json
        self.assertEqual((item["status"], item["error"]["code"]), ("failed", "IMAGE_CORRUPT"))
        self.assertTrue(item["error"]["message"])

    def test_original(self):
        server = self.server()
        data = png(1)
        path = f"/api/v1/images/{server.upload(data).json['imageId']}/original"
        whole = server.get(path)
        self.assertEqual((whole.status, whole.body), (200, data))
        self.assertEqual(whole.headers["Content-Type"], "image/png")
        self.assertEqual(whole.headers["Content-Length"], str(len(data)))
        self.assertEqual(whole.headers["Accept-Ranges"], "bytes")
        self.assertEqual(whole.headers["X-Content-Type-Options"], "nosniff")
        self.assertRegex(whole.headers["Content-Disposition"], '^attachment; filename="a.png"')
        self.assertIn("sandbox", whole.headers["Content-Security-Policy"])
        etag = whole.headers["ETag"]
        self.assertRegex(etag, '^"[0-9a-f]+"$')
        size = len(data)
        for wanted, first, last in (("0-9", 0, 9), ("5-", 5, size - 1), ("-7", size - 7, size - 1),
                                    (f"0-{size + 99}", 0, size - 1), (f"{size - 1}-", size - 1, size - 1)):
            part = server.get(path, Range="bytes=" + wanted)
            self.assertEqual((part.status, part.body), (206, data[first:last + 1]), wanted)
            self.assertEqual(part.headers["Content-Range"], f"bytes {first}-{last}/{size}")
            self.assertEqual(part.headers["ETag"], etag)
        outside = server.get(path, Range=f"bytes={size}-")
        self.assert_problem(outside, 416, "RANGE_NOT_SATISFIABLE")
        self.assertEqual(outside.headers["Content-Range"], f"bytes */{size}")
        for several in ("bytes=0-1,4-5", "bytes=9-2", "rows=0-1"):
            self.assertEqual(server.get(path, Range=several).body, data)

    def test_original_with_conditions(self):
        server = self.server()
        data = png(1)
        path = f"/api/v1/images/{server.upload(data).json['imageId']}/original"
        etag = server.get(path).headers["ETag"]
        for match in (etag, "*", f'"other", {etag}', "W/" + etag):
            answer = server.get(path, If_None_Match=match)
            self.assertEqual((answer.status, answer.body, answer.headers["ETag"]), (304, b"", etag))
        self.assertEqual(server.get(path, If_None_Match='"other"').body, data)
        self.assertEqual(server.get(path, If_Range=etag, Range="bytes=0-3").body, data[:4])
        self.assertEqual(server.get(path, If_Range='"other"', Range="bytes=0-3").status, 200)
        head = server.request("HEAD", path)
        self.assertEqual((head.status, head.body, head.headers["Content-Length"]), (200, b"", str(len(data))))
        self.assertEqual(head.headers["ETag"], etag)

    def test_names_in_the_disposition(self):
        server = self.server()
        name = 'grün "x" %41;\\.png'
        query = urllib.parse.urlencode({"fileName": "a/" + name[:-5] + ".png"})
        image_id = server.request("POST", "/api/v1/images/upload?" + query, png(1)).json["imageId"]
        value = server.get(f"/api/v1/images/{image_id}/original").headers["Content-Disposition"]
        self.assertNotRegex(value.split("filename*")[0], r'[^\x20-\x7e]')
        self.assertEqual(value.count('"'), 2)
        encoded = re.search(r"filename\*=UTF-8''([A-Za-z0-9._~%-]+)$", value).group(1)
        self.assertEqual(urllib.parse.unquote(encoded), server.get(f"/api/v1/images/{image_id}").json["fileName"])

    def test_thumbnail(self):
        server = self.server()
        for data, size in ((png(1, 2000, 800), (512, 205)), (png(2, 100, 60), (100, 60)), (pictures()["rotated.jpg"], (120, 160))):
            image_id = server.upload(data).json["imageId"]
            server.settle()
            answer = server.get(f"/api/v1/images/{image_id}/thumbnail")
            self.assertEqual((answer.status, answer.headers["Content-Type"]), (200, "image/webp"))
            self.assertEqual(webp_size(answer.body), size)
            self.assertEqual(answer.headers["X-Content-Type-Options"], "nosniff")
            etag = answer.headers["ETag"]
            self.assertEqual(server.get(f"/api/v1/images/{image_id}/thumbnail", If_None_Match=etag).status, 304)
            self.assertNotEqual(server.get(f"/api/v1/images/{image_id}/original").headers["ETag"], etag)

    def test_an_item_without_its_thumbnail(self):
        """What comes after searching cannot take it back: the thumbnail fails for good, the item stays searchable."""
        server = self.server("--fault", "blob.put_commit:UNSUPPORTED@2")
        image_id = server.upload(png(1)).json["imageId"]
        ledger = server.settle()
        self.assertEqual((ledger["searchable"], ledger["failed"], ledger["closes"]), (1, 0, True))
        self.assertEqual(server.get(f"/api/v1/images/{image_id}/status").json["status"], "completed")
        self.assertEqual(len(server.search(vector=[1] * 512).json["results"]), 1)
        letters = server.get("/api/v1/admin/deadletters").json["items"]
        self.assertEqual([(x["mediaId"], x["stage"], x["code"]) for x in letters], [(image_id, "thumbnail", "UNSUPPORTED")])
        self.assertIsNone(server.get(f"/api/v1/images/{image_id}").json["thumbnailUrl"])
        self.assert_problem(server.get(f"/api/v1/images/{image_id}/thumbnail"), 409, "NOT_READY")
        replay = server.request("POST", f"/api/v1/admin/deadletters/{letters[0]['id']}/replay")
        self.assertEqual(replay.status, 202)
        wait_until(lambda: server.get(f"/api/v1/images/{image_id}/thumbnail").status == 200, "the thumbnail is made at last")
        self.assertEqual(server.settle(), ledger)

    def test_thumbnail_before_it_is_made(self):
        server = self.server("--fault", "blob.open_read:UNAVAILABLE@1+")
        image_id = server.upload(png(1)).json["imageId"]
        self.assert_problem(server.get(f"/api/v1/images/{image_id}/thumbnail"), 409, "NOT_READY")


class Lists(Case):
    def test_every_filter(self):
        server = self.server()
        ids = {}
        for seed, (name, tags) in enumerate((("Beach.png", "summer,sea"), ("beach two.png", "sea"), ("hill.png", ""))):
            query = urllib.parse.urlencode({"fileName": name, "tags": tags})
            ids[name] = server.request("POST", "/api/v1/images/upload?" + query, png(seed)).json["imageId"]
            server.wait_status(ids[name], "completed")
        times = {item["fileName"]: item["uploadedAt"] for item in server.items()}
        self.assertEqual([item["fileName"] for item in server.items()], ["hill.png", "beach two.png", "Beach.png"])
        for query, names in (("status=completed", set(ids)), ("status=failed", set()), ("status=uploaded", set()),
                             ("tag=sea", {"Beach.png", "beach two.png"}), ("tag=summer", {"Beach.png"}), ("tag=se", set()),
                             ("fileName=BEACH", {"Beach.png", "beach two.png"}), ("fileName=%25", set()),
                             ("fileName=hill.png&tag=sea", set()), ("fileName=two&tag=sea&status=completed", {"beach two.png"}),
                             ("from=" + times["beach two.png"], {"beach two.png", "hill.png"}),
                             ("to=" + times["beach two.png"], {"Beach.png"}),
                             (f"from={times['beach two.png']}&to={times['hill.png']}", {"beach two.png"}),
                             ("from=2999-01-01T00:00:00Z", set()), ("status=&tag=&fileName=&from=&to=&limit=&cursor=", set(ids))):
            answer = server.get("/api/v1/images?" + query)
            self.assertEqual(answer.status, 200, query)
            self.assertEqual({item["fileName"] for item in answer.json["items"]}, names, query)
            self.assertIsNone(answer.json["nextCursor"])
        self.assertEqual({frozenset(item) for item in server.items()}, {frozenset(ITEM_MEMBERS)})

    def test_failed_are_found_by_status(self):
        server = self.server("--fault", "extractor.extract:IMAGE_CORRUPT@2")
        ids = []
        for seed in range(3):
            ids.append(server.upload(png(seed)).json["imageId"])
            server.wait_status(ids[-1], "completed", "failed")
        self.assertEqual([item["imageId"] for item in server.items("&status=failed")], [ids[1]])
        self.assertEqual([item["imageId"] for item in server.items("&status=completed")], [ids[2], ids[0]])

    def test_pages_while_uploads_go_on(self):
        """Reading page by page meets each item that was there once, whatever comes meanwhile."""
        server = self.server()
        before = {server.upload(png(seed, 32, 24)).json["imageId"] for seed in range(40)}
        stop = threading.Event()

        def upload_on():
            seed = 1000
            while not stop.is_set():
                server.upload(png(seed, 32, 24))
                seed += 1
        thread = threading.Thread(target=upload_on)
        thread.start()
        try:
            for limit in (1, 3, 7, 40):
                seen = [item["imageId"] for item in server.items(f"&limit={limit}")]
                self.assertEqual(len(seen), len(set(seen)), "an item came twice")
                self.assertLessEqual(before, set(seen), "an item was left out")
                self.assertEqual(seen, sorted(seen, reverse=True), "not from the newest on")
        finally:
            stop.set()
            thread.join()

    def test_last_page_has_no_cursor(self):
        server = self.server()
        for seed in range(4):
            server.upload(png(seed))
        first = server.get("/api/v1/images?limit=2").json
        second = server.get(f"/api/v1/images?limit=2&cursor={first['nextCursor']}").json
        self.assertEqual((len(first["items"]), len(second["items"]), second["nextCursor"]), (2, 2, None))

    def test_bad_queries(self):
        server = self.server()
        for query, code in (("limit=0", "INVALID_REQUEST"), ("limit=x", "INVALID_REQUEST"), ("limit=1001", "INVALID_REQUEST"),
                            ("status=done", "INVALID_REQUEST"), ("status=deleting", "INVALID_REQUEST"),
                            ("from=yesterday", "INVALID_REQUEST"), ("to=1", "INVALID_REQUEST"), ("cursor=x", "INVALID_CURSOR"),
                            ("cursor=1", "INVALID_CURSOR"), ("cursor=1.x%20y", "INVALID_CURSOR"),
                            ("cursor=99.img_0;drop", "INVALID_CURSOR"),
                            ("tenantId=a%20b", "INVALID_TENANT"), ("tag=%00", "INVALID_REQUEST")):
            with self.subTest(query):
                self.assert_problem(server.get("/api/v1/images?" + query), 400, code)


class Deletes(Case):
    def test_delete(self):
        server = self.server()
        image_id = server.upload(png(1)).json["imageId"]
        server.wait_status(image_id, "completed")
        answer = server.request("DELETE", f"/api/v1/images/{image_id}")
        self.assertEqual((answer.status, answer.json["imageId"], answer.json["status"]), (202, image_id, "deleting"))
        self.assertTrue(answer.json["message"])
        for method, path in (("GET", ""), ("GET", "/status"), ("GET", "/original"), ("GET", "/thumbnail"), ("DELETE", "")):
            self.assert_problem(server.request(method, f"/api/v1/images/{image_id}{path}"), 404, "NOT_FOUND", image_id)
        self.assert_problem(server.search(imageId=image_id), 404, "NOT_FOUND", image_id)
        self.assertEqual(server.items(), [])
        self.assertEqual(server.settle()["deleted"], 1)
        again = server.upload(png(1))
        self.assertEqual((again.status, again.json["duplicate"]), (202, False), "what was deleted is no duplicate")
        self.assertNotEqual(again.json["imageId"], image_id)

    def test_ids_that_are_nobodys(self):
        server = self.server()
        for method, path in (("GET", ""), ("GET", "/status"), ("GET", "/original"), ("GET", "/thumbnail"), ("DELETE", "")):
            self.assert_problem(server.request(method, f"/api/v1/images/{SOME_ID}{path}"), 404, "NOT_FOUND", SOME_ID)
            self.assert_problem(server.request(method, f"/api/v1/images/img_123456{path}"), 404, "NOT_FOUND", "img_123456")
            for bad in ("x", "img_", "vod_" + SOME_ID[4:], SOME_ID[4:] + "0", "img_%27%20OR%201", "%2e%2e", "img_" + "0" * 99):
                with self.subTest(bad):
                    self.assert_problem(server.request(method, f"/api/v1/images/{bad}{path}"), 400, "INVALID_ID")


def scene(seed: int, width: int = 400, height: int = 300) -> list:
    """Rows of pixels: boxes of many sizes and colours, one over the other."""
    chance, rows = random.Random(seed), [bytearray(b"\x80" * 3 * width) for _ in range(height)]
    for _ in range(200):
        edge = chance.randrange(8, 60)
        x, y, colour = chance.randrange(width - edge), chance.randrange(height - edge), chance.randbytes(3)
        for row in rows[y: y + edge]:
            row[3 * x: 3 * (x + edge)] = colour * edge
    return [bytes(row) for row in rows]


def png_of_scene(rows: list) -> bytes:
    return png_of_rows(len(rows[0]) // 3, len(rows), b"".join(b"\0" + row for row in rows))


class Searches(Case):
    FACTS = [{"category": "shoes", "price": 10, "new": True, "taken": "2024-01-01T00:00:00Z", "size": {"width": 5}},
             {"category": "shoes", "price": 20.5, "new": False, "taken": "2024-06-01T12:00:00+02:00", "colour": "red"},
             {"category": "boots", "price": 30, "taken": "2025-01-01T00:00:00Z", "size": {"width": 7, "unit": "cm"}},
             {"category": "Boots", "price": -1, "list": ["a", "b"]},
             {}]
    TAGS = ["red,summer", "red", "blue,summer", "", "red,summer,sale"]

    def fill(self):
        server = self.server()
        self.ids = []
        for number, (facts, tags) in enumerate(zip(self.FACTS, self.TAGS)):
            query = urllib.parse.urlencode({"metadata": json.dumps(facts), "tags": tags, "fileName": f"p{number}.png",
                                            "uploadedBy": "even" if number % 2 == 0 else "odd"})
            answer = server.request("POST", "/api/v1/images/upload?" + query, png(number, 100 + 20 * number, 80))
            self.ids.append(answer.json["imageId"])
            server.wait_status(self.ids[-1], "completed")
        return server

    def numbers(self, answer) -> set:
        self.assertEqual(answer.status, 200, answer.body)
        return {self.ids.index(hit["imageId"]) for hit in answer.json["results"]}

    def test_by_picture(self):
        server = self.fill()
        body, kind = multipart([("topK", "2"), ("minScore", "-1"), ("model", "builtin"), ("filter", '{"tags": "red"}'),
                                ("tenantId", "default")], ("q.png", png(1, 120, 80)))
        for answer in (server.request("POST", "/api/v1/search", body, {"Content-Type": kind}),
                       server.request("POST", "/api/v1/search?topK=2&filter=" + urllib.parse.quote('{"tags":"red"}'),
                                      png(1, 120, 80), {"Content-Type": "image/png"})):
            self.assertEqual(answer.status, 200, answer.body)
            results = answer.json["results"]
            self.assertEqual(set(answer.json), {"results", "model", "tookMs", "nextCursor"})
            self.assertEqual(answer.json["model"], "builtin")
            self.assertGreaterEqual(answer.json["tookMs"], 0)
            self.assertEqual(len(results), 2)
            self.assertEqual(results[0]["imageId"], self.ids[1])
            self.assertAlmostEqual(results[0]["score"], 1, places=3)
            self.assertLess(results[1]["score"], results[0]["score"])
        first = results[0]
        for name in ("imageId", "score", "fileName", "tags", "metadata", "uploadedAt", "width", "height", "thumbnailUrl",
                     "originalUrl"):
            self.assertIn(name, first)
        self.assertEqual((first["fileName"], first["tags"], first["metadata"], first["width"], first["height"]),
                         ("p1.png", ["red"], self.FACTS[1], 120, 80))

    def test_a_picture_that_was_altered_is_found(self):
        server = self.fill()
        server.wait_status(server.upload(pictures()["plain.png"]).json["imageId"], "completed")
        hits = server.request("POST", "/api/v1/search", pictures()["plain.jpg"]).json["results"]
        self.assertEqual(hits[0]["format"], "PNG")
        self.assertGreater(hits[0]["score"], 0.95)
        self.assertLess(hits[1]["score"], hits[0]["score"])

    def test_a_closer_look_finds_altered_copies(self):
        server, scenes = self.server(), [scene(seed) for seed in range(24)]
        ids = [server.upload(png_of_scene(rows)).json["imageId"] for rows in scenes]
        for item in ids:
            server.wait_status(item, "completed")
        collage = [left + right for left, right in zip(scenes[4], scenes[17])]
        part = [row[3 * 80: 3 * 360] for row in scenes[9][50:260]]
        mirrored = [b"".join(row[i: i + 3] for i in range(len(row) - 3, -1, -3)) for row in scenes[11]]
        turned = [b"".join(row[3 * x: 3 * x + 3] for row in reversed(scenes[13])) for x in range(len(scenes[13][0]) // 3)]
        for copy, of in ((collage, {4, 17}), (part, {9}), (mirrored, {11}), (turned, {13})):
            answer = server.request("POST", "/api/v1/search?topK=24", png_of_scene(copy))
            self.assertEqual(answer.status, 200, answer.body)
            hits = answer.json["results"]
            self.assertEqual({ids.index(hit["imageId"]) for hit in hits[:len(of)]}, of)
            self.assertGreater(hits[len(of) - 1]["score"], hits[len(of)]["score"] + 0.1)
            self.assertEqual(len(hits), 24)

    def test_by_item(self):
        server = self.fill()
        answer = server.search(imageId=self.ids[0])
        self.assertEqual(self.numbers(answer), {1, 2, 3, 4}, "an item is left out of its own answer")
        scores = [hit["score"] for hit in answer.json["results"]]
        self.assertEqual(scores, sorted(scores, reverse=True))
        self.assertEqual(self.numbers(server.search(imageId=self.ids[0].removeprefix("img_"), topK=4)), {1, 2, 3, 4})
        self.assert_problem(server.search(imageId=SOME_ID), 404, "NOT_FOUND", SOME_ID)
        self.assert_problem(server.search(imageId="x"), 400, "INVALID_ID")

    def test_by_vector(self):
        server = self.fill()
        record = next(r for r in server.records("deeplens.vectors.indexing") if r["key"] == self.ids[3])
        vector = record["value"]["data"]["featureVector"]
        for scale in (1, 1000, 1e-3):
            answer = server.search(vector=[x * scale for x in vector], topK=1)
            self.assertEqual(self.numbers(answer), {3})
            self.assertAlmostEqual(answer.json["results"][0]["score"], 1, places=3)
        self.assertEqual(self.numbers(server.search(vector=[-x for x in vector], minScore=0.0)) & {3}, set())
        for bad, code, status in (([1, 2], "INVALID_VECTOR", 422), ([], "INVALID_VECTOR", 422), ([0] * 512, "INVALID_VECTOR", 422),
                                  (["x"] * 512, "INVALID_VECTOR", 422), ("x", "INVALID_VECTOR", 422),
                                  ([1e300] * 512, "INVALID_VECTOR", 422)):
            self.assert_problem(server.search(vector=bad), status, code)

    def test_top_k_and_min_score(self):
        server = self.fill()
        everything = server.search(imageId=self.ids[0]).json["results"]
        for k in (1, 2, 3, 4, 1000):
            results = server.search(imageId=self.ids[0], topK=k).json["results"]
            self.assertEqual([hit["imageId"] for hit in results], [hit["imageId"] for hit in everything[:k]])
        least = everything[1]["score"] - 1e-6
        self.assertEqual(len(server.search(imageId=self.ids[0], minScore=least).json["results"]), 2)
        self.assertEqual(server.search(imageId=self.ids[0], minScore=1).json["results"], [])
        for bad in ({"topK": 0}, {"topK": -1}, {"topK": 1.5}, {"topK": "3"}, {"topK": 1001}, {"minScore": 2}, {"minScore": "x"}):
            self.assert_problem(server.search(imageId=self.ids[0], **bad), 400, "INVALID_REQUEST", "`" + next(iter(bad)) + "`")

    def test_pages(self):
        server = self.fill()
        for seed in range(100, 120):
            server.wait_status(server.upload(png(seed, 64, 48)).json["imageId"], "completed")
        everything = [hit["imageId"] for hit in server.search(vector=[1] * 512, topK=1000).json["results"]]
        self.assertEqual(len(everything), 25)
        for k in (1, 4, 5, 24, 25, 26):
            paged, cursor = [], None
            while True:
                members = {"vector": [1] * 512, "topK": k, **({"cursor": cursor} if cursor else {})}
                answer = server.search(**members).json
                paged += [hit["imageId"] for hit in answer["results"]]
                cursor = answer["nextCursor"]
                if not cursor:
                    break
                self.assertEqual(len(answer["results"]), k)
            self.assertEqual(paged, everything)
        for cursor in ("x", "s", "s-1", "s1x", "s99999"):
            self.assert_problem(server.search(vector=[1] * 512, cursor=cursor), 400, "INVALID_CURSOR")

    def test_every_kind_of_filter(self):
        server = self.fill()
        dates = [server.get(f"/api/v1/images/{image_id}").json["uploadedAt"] for image_id in self.ids]
        every = {0, 1, 2, 3, 4}
        for wanted, numbers in (
                ({}, every), ({"category": "shoes"}, {0, 1}), ({"category": "boots"}, {2}), ({"price": 10}, {0}),
                ({"price": 20.5}, {1}), ({"new": True}, {0}), ({"new": False}, {1}), ({"price": "10"}, set()),
                ({"category": ["shoes", "boots"]}, {0, 1, 2}), ({"price": [10, 30, 99]}, {0, 2}),
                ({"price": {"gt": 10}}, {1, 2}), ({"price": {"gte": 10}}, {0, 1, 2}), ({"price": {"lt": 10}}, {3}),
                ({"price": {"lte": 10}}, {0, 3}), ({"price": {"gte": 10, "lt": 30}}, {0, 1}),
                ({"taken": {"gte": "2024-06-01T10:00:00Z"}}, {1, 2}), ({"taken": {"gt": "2024-06-01T10:00:00Z"}}, {2}),
                ({"taken": {"gte": "2024-01-01T00:00:00Z", "lt": "2025-01-01T00:00:00Z"}}, {0, 1}),
                ({"tags": "red"}, {0, 1, 4}), ({"tags": ["red", "blue"]}, {0, 1, 2, 4}),
                ({"tags": {"all": ["red", "summer"]}}, {0, 4}), ({"tags": {"not": "red"}}, {2, 3}),
                ({"tags": {"exists": False}}, {3}), ({"list": "b"}, {3}),
                ({"category": {"not": "shoes"}}, {2, 3, 4}), ({"category": {"not": ["shoes", "Boots"]}}, {2, 4}),
                ({"colour": {"exists": True}}, {1}), ({"colour": {"exists": False}}, every - {1}),
                ({"size.width": {"gt": 5}}, {2}), ({"size.unit": "cm"}, {2}), ({"size.width": {"exists": True}}, {0, 2}),
                ({"category": "shoes", "tags": "summer"}, {0}), ({"or": [{"price": 30}, {"tags": "sale"}]}, {2, 4}),
                ({"and": [{"tags": "red"}, {"or": [{"price": 10}, {"not": {"category": {"exists": True}}}]}]}, {0, 4}),
                ({"not": {"tags": "summer"}}, {1, 3}), ({"fileName": "p2.png"}, {2}), ({"width": {"gte": 140}}, {2, 3, 4}),
                ({"height": 80}, every), ({"contentType": "image/png"}, every), ({"format": "PNG", "width": 100}, {0}),
                ({"format": "JPEG"}, set()), ({"uploadedBy": "odd"}, {1, 3}), ({"sizeBytes": {"gt": 0}}, every),
                ({"uploadedAt": {"gte": dates[2]}}, {2, 3, 4}), ({"uploadedAt": {"lt": dates[2]}}, {0, 1})):
            with self.subTest(filter=wanted):
                self.assertEqual(self.numbers(server.search(vector=[1] * 512, filter=wanted)), numbers)
        nothing = {"imageId": None, "topK": None, "minScore": None, "model": None, "filter": None, "tenantId": None, "cursor": None}
        self.assertEqual(self.numbers(server.search(vector=[1] * 512, **nothing)), every, "null is as good as absent")

    def test_bad_filters(self):
        server = self.fill()
        for wanted in ([], "x", 1, {"a": {}}, {"a": {"near": 1}}, {"a": {"gt": "high"}}, {"a": None}, {"a": []}, {"and": {}},
                       {"a": {"exists": 1}}, {"a": [[1]]}, {"not": []}):
            with self.subTest(filter=wanted):
                self.assert_problem(server.search(vector=[1] * 512, filter=wanted), 400, "INVALID_FILTER")

    def test_bad_searches(self):
        server = self.fill()
        for members, status, code, says in (
                ({}, 400, "INVALID_REQUEST", "something to search for"),
                ({"text": "a dog"}, 422, "MODEL_UNKNOWN", "make models"),
                ({"terms": [{"imageId": self.ids[0], "vector": [1] * 512}]}, 400, "INVALID_REQUEST", "one of"),
                ({"imageId": self.ids[0], "terms": [{"imageId": self.ids[0], "weight": -1}]}, 400, "INVALID_REQUEST", "nothing"),
                ({"imageId": self.ids[0], "model": "resnet"}, 422, "MODEL_UNKNOWN", "builtin"),
                ({"imageId": self.ids[0], "tenantId": "nobody"}, 404, "TENANT_UNKNOWN", "nobody"),
                ({"imageId": self.ids[0], "limit": 3}, 400, "INVALID_REQUEST", "limit"),
                ({"imageId": 3}, 400, "INVALID_REQUEST", "`imageId`"), ({"imageId": self.ids[0], "model": 3}, 400,
                                                                       "INVALID_REQUEST", "`model`")):
            with self.subTest(members=members):
                self.assert_problem(server.search(**members), status, code, says)
        for body, code in ((b"", "INVALID_JSON"), (b"{", "INVALID_JSON"), (b"[]", "INVALID_REQUEST"),
                           (b"{} {}", "INVALID_JSON"), (b'{"a":1,"a":2}', "INVALID_JSON"), (b"\xff", "INVALID_JSON"),
                           (b"[" * 100000, "INVALID_JSON")):
            answer = server.request("POST", "/api/v1/search", body, {"Content-Type": "application/json"})
            self.assert_problem(answer, 400, code)
        body, kind = multipart([("filter", "{")], ("q.png", png(1)))
        self.assert_problem(server.request("POST", "/api/v1/search", body, {"Content-Type": kind}), 400, "INVALID_JSON", "`filter`")
        for data, status, code in ((b"text", 415, "UNSUPPORTED_MEDIA"), (png(1)[:-20], 422, "IMAGE_TRUNCATED")):
            self.assert_problem(server.request("POST", "/api/v1/search", data), status, code)

    def test_nothing_there(self):
        server = self.server()
        answer = server.search(vector=[1] * 512)
        self.assertEqual((answer.status, answer.json["results"], answer.json["nextCursor"]), (200, [], None))


class Administration(Case):
    def test_tenants(self):
        server = self.server()
        answer = server.post_json("/api/v1/admin/tenants", {"name": "acme-corp"})
        self.assertEqual((answer.status, answer.json), (201, {"name": "acme-corp"}))
        tenants = server.get("/api/v1/admin/tenants").json["tenants"]
        self.assertEqual(sorted(tenant["name"] for tenant in tenants), ["acme-corp", "default"])
        for tenant in tenants:
            self.assertRegex(tenant["createdAt"], TIME)
        self.assertEqual(server.post_json("/api/v1/admin/tenants", {"name": "acme-corp"}).status, 201, "twice is harmless")
        for name in ("", "a b", "-a", "a" * 64, "../x", "ä"):
            self.assert_problem(server.post_json("/api/v1/admin/tenants", {"name": name}), 400, "INVALID_TENANT")
        for value in ({}, {"name": 1}, [], "x"):
            self.assert_problem(server.post_json("/api/v1/admin/tenants", value), 400, "INVALID_REQUEST")
        for path in ("/api/v1/images", "/api/v1/admin/ledger"):
            self.assert_problem(server.get(path + "?tenantId=nobody"), 404, "TENANT_UNKNOWN", "nobody")

    def test_models(self):
        models = self.server().get("/api/v1/admin/models").json["models"]
        self.assertEqual([(m["name"], m["dimension"], m["default"]) for m in models], [("builtin", 512, True)])
        self.assertTrue(models[0]["version"])

    def test_topics_and_groups(self):
        server = self.server()
        ids = [server.upload(png(seed)).json["imageId"] for seed in range(6)]
        server.settle()
        topics = {topic["name"]: topic for topic in server.get("/api/v1/admin/topics").json["topics"]}
        self.assertEqual(set(topics), {
            "deeplens.images.uploaded", "deeplens.videos.uploaded", "deeplens.features.extraction", "deeplens.vectors.indexing",
            "deeplens.processing.completed", "deeplens.processing.failed", "deeplens.images.maintenance",
            "whatsapp-ready-messages", "deeplens.processing.deadletter"})
        days = {name: topic["retentionMs"] // 86400000 for name, topic in topics.items()}
        self.assertEqual({name for name in days if days[name] == 30}, {n for n in days if ".processing." in n})
        self.assertEqual(set(days.values()), {7, 30})
        for name, count in (("deeplens.images.uploaded", 6), ("deeplens.processing.completed", 6),
                            ("deeplens.processing.failed", 0)):
            self.assertEqual((topics[name]["partitions"], topics[name]["records"]), (3, count))
            one = server.get(f"/api/v1/admin/topics/{name}").json
            self.assertEqual(one["name"], name)
            self.assertEqual(sum(p["end"] - p["begin"] for p in one["partitions"]), count)
            self.assertEqual(sum(p["bytes"] for p in one["partitions"]), one["bytes"])
        records = server.records("deeplens.images.uploaded")
        self.assertEqual({record["key"] for record in records}, set(ids))
        records_path = "/api/v1/admin/topics/deeplens.images.uploaded/records"
        merged = server.get(records_path + "?offset=earliest&limit=4").json["records"]
        self.assertEqual([record["key"] for record in merged], ids[:4])
        merged = server.get(records_path + "?offset=latest&limit=2").json["records"]
        self.assertEqual([record["key"] for record in merged], ids[4:])
        groups = server.get("/api/v1/admin/groups").json["groups"]
        self.assertEqual({(group["lag"], group["members"]) for group in groups}, {(0, 1)})
        for group in groups:
            one = server.get(f"/api/v1/admin/groups/{group['name']}").json
            self.assertEqual((one["name"], one["lag"]), (group["name"], 0))
            for partition in one["partitions"]:
                self.assertEqual((partition["lag"], partition["lagMs"]), (0, 0))
                self.assertIn(partition["committed"], (partition["end"], -1))
        for path in ("topics/none", "topics/none/records", "groups/none", "deadletters/0-99"):
            self.assert_problem(server.get("/api/v1/admin/" + path), 404, "NOT_FOUND")
        for query in ("partition=9x", "limit=0", "offset=-1", "offset=x"):
            self.assert_problem(server.get(records_path + "?" + query), 400, "INVALID_REQUEST")
        self.assert_problem(server.get(records_path + "?partition=7"), 404, "NOT_FOUND")

    def test_dead_letters(self):
        server = self.server("--fault", "extractor.extract:EXTRACTION_FAILED@1+", "--retry-attempts", "1")
        ids = []
        for seed in range(2):
            ids.append(server.upload(png(seed)).json["imageId"])
            server.wait_status(ids[-1], "failed")
        letters = server.get("/api/v1/admin/deadletters").json["items"]
        self.assertEqual({letter["mediaId"] for letter in letters}, set(ids))
        letter = letters[0]
        self.assertEqual(letter["id"], f"{letter['id'].split('-')[0]}-{letter['id'].split('-')[1]}")
        self.assertEqual([letter[name] for name in ("topic", "group", "stage", "code", "deliveryCount", "tenantId", "key")],
                         ["deeplens.features.extraction", "deeplens-feature-extraction", "extract", "EXTRACTION_FAILED", 1,
                          "default", letter["mediaId"]])
        one = server.get(f"/api/v1/admin/deadletters/{letter['id']}").json
        self.assertEqual(one["value"]["data"]["imageId"], letter["mediaId"])
        self.assertEqual(one["value"]["eventId"], letter["eventId"])
        for name, value in (("topic", letter["topic"]), ("partition", str(letter["partition"])), ("stage", "extract"),
                            ("offset", str(letter["offset"])), ("group", letter["group"]), ("delivery.count", "1"),
                            ("code", "EXTRACTION_FAILED"), ("message", letter["message"])):
            self.assertEqual(one["headers"]["__dlq.errors." + name], value)
        original = next(record for record in server.records(letter["topic"]) if record["key"] == letter["key"])
        self.assertEqual(one["value"], original["value"], "the original bytes are kept")
        for query, count in (("code=EXTRACTION_FAILED", 2), ("code=OTHER", 0), ("stage=extract", 2), ("stage=index", 0),
                             ("topic=deeplens.features.extraction", 2), ("topic=x", 0), ("tenantId=default", 2), ("limit=1", 1)):
            self.assertEqual(len(server.get("/api/v1/admin/deadletters?" + query).json["items"]), count, query)
        replay = server.request("POST", f"/api/v1/admin/deadletters/{letter['id']}/replay")
        self.assertEqual((replay.status, replay.json["id"], replay.json["eventId"]), (202, letter["id"], letter["eventId"]))
        for bad in ("x", "0", "0-", "-1-0", "0-0x", "99-0"):
            self.assertIn(server.get(f"/api/v1/admin/deadletters/{bad}").status, (400, 404))


class System(Case):
    def test_health_readiness_version(self):
        server = self.server()
        self.assertEqual(server.get("/healthz").json, {"status": "ok"})
        ready = server.get("/readyz")
        self.assertEqual((ready.status, ready.json["status"], set(ready.json["checks"].values())), (200, "ready", {"ok"}))
        self.assertEqual(server.get("/api/v1/version").json["name"], "DeepLens")
        self.assertEqual(server.get("/").status, 200)
        full = self.server("--disk-reserve", "1TiB", name="full")
        answer = full.get("/readyz")
        self.assertEqual((answer.status, answer.json["status"]), (503, "not ready"))
        self.assertNotEqual(answer.json["checks"]["disk"], "ok")

    def test_openapi(self):
        document = self.server().get("/openapi.json")
        self.assertEqual(document.headers["Content-Type"], "application/json")
        self.assertRegex(document.json["openapi"], r"^3\.")
        self.assertIn("/api/v1/images/upload", document.json["paths"])

    def test_metrics(self):
        server = self.server("--fault", "extractor.extract:IMAGE_CORRUPT@1")
        ids = []
        for seed in range(4):
            ids.append(server.upload(png(seed)).json["imageId"])
            server.wait_status(ids[-1], "completed", "failed")
        server.request("DELETE", f"/api/v1/images/{ids[1]}")
        server.upload(png(2))
        server.upload(b"text")
        server.search(vector=[1] * 512)
        ledger = server.settle()
        answer = server.get("/metrics")
        self.assertRegex(answer.headers["Content-Type"], "^text/plain; version=0.0.4")
        values, kinds = self.parse(answer.body.decode())
        for state in ("accepted", "searchable", "failed", "deleted", "inFlight"):
            name = "in_flight" if state == "inFlight" else state
            self.assertEqual(values[f'deeplens_ledger_items{{state="{name}"}}'], ledger[state])
        self.assertEqual((ledger["accepted"], ledger["searchable"], ledger["failed"], ledger["deleted"]), (4, 2, 1, 1))
        self.assertEqual(values["deeplens_uploads_accepted_total"], 4)
        self.assertEqual(values["deeplens_uploads_duplicate_total"], 1)
        self.assertEqual(values['deeplens_uploads_refused_total{code="UNSUPPORTED_MEDIA"}'], 1)
        self.assertEqual(values["deeplens_upload_bytes_total"], sum(len(png(seed)) for seed in range(4)))
        self.assertEqual(values['deeplens_dead_letters_total{code="IMAGE_CORRUPT"}'], 1)
        self.assertEqual(values["deeplens_searches_total"], 1)
        self.assertEqual(values['deeplens_group_lag_events{group="deeplens-feature-extraction"}'], 0)
        self.assertEqual(kinds["deeplens_step_duration_seconds"], "histogram")

    def parse(self, text) -> tuple:
        """Prometheus' text format: ({series: value}, {name: kind}); fails on a line that is not."""
        values, kinds, series = {}, {}, r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*\})? (\S+)$'
        self.assertTrue(text.endswith("\n"))
        for line in text.splitlines():
            if line.startswith("# HELP "):
                continue
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                self.assertNotIn(name, kinds, "described twice")
                kinds[name] = kind
                continue
            match = re.match(series, line)
            self.assertTrue(match, line)
            name = re.sub("_(bucket|sum|count)$", "", match[1])
            self.assertTrue(match[1] in kinds or kinds.get(name) == "histogram", line)
            self.assertNotIn(match[1] + (match[2] or ""), values, "given twice")
            values[match[1] + (match[2] or "")] = float(match[3])
        for name in (name for name, kind in kinds.items() if kind == "histogram"):
            buckets = [series for series in values if series.startswith(name + "_bucket") and "+Inf" in series]
            for bucket in buckets:
                count = name + "_count" + re.sub(r',?le="\+Inf"', "", bucket.removeprefix(name + "_bucket")).replace("{}", "")
                self.assertEqual(values[bucket], values[count])
        return values, kinds


class Wire(Case):
    """HTTP itself."""

    def test_head(self):
        server = self.server()
        for path in ("/healthz", "/readyz", "/openapi.json", "/api/v1/images", "/api/v1/admin/topics", "/api/v1/version"):
            get, head = server.get(path), server.request("HEAD", path)
            self.assertEqual((head.status, head.body), (get.status, b""))
            self.assertEqual(head.headers["Content-Length"], get.headers["Content-Length"])
            self.assertEqual(head.headers["Content-Type"], get.headers["Content-Type"])
        self.assertEqual(server.request("HEAD", "/api/v1/images/" + SOME_ID).status, 404)

    def test_other_methods(self):
        server = self.server()
        for method, path, allowed in (("GET", "/api/v1/images/upload", {"POST"}), ("PUT", "/api/v1/images", {"GET", "HEAD"}),
                                      ("POST", "/healthz", {"GET", "HEAD"}), ("PUT", "/api/v1/search", {"GET", "HEAD", "POST"}),
                                      ("PATCH", "/api/v1/images/" + SOME_ID, {"GET", "HEAD", "DELETE"}),
                                      ("DELETE", "/api/v1/admin/tenants", {"GET", "HEAD", "POST"})):
            answer = server.request(method, path)
            self.assert_problem(answer, 405, "METHOD_NOT_ALLOWED", method)
            self.assertEqual(set(answer.headers["Allow"].split(", ")) - {"OPTIONS"}, allowed)
        self.assert_problem(server.get("/api/v2/images"), 404, "NOT_FOUND")
        self.assert_problem(server.get("/api/v1/images/a/b/c"), 404, "NOT_FOUND")

    def test_what_is_no_request(self):
        """A bare status or the end, before anything of ours has seen it; the others are served on."""
        server = self.server()
        long = b"x" * 40000
        for sent, statuses in ((b"nonsense\r\n\r\n", (0, 400)), (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n", (0, 400)),
                               (b"GET /healthz HTTP/1.1\r\n\r\n", (400,)),
                               (b"GET /healthz?a=" + long + b" HTTP/1.1\r\nHost: x\r\n\r\n", (414,)),
                               (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: " + long + b"\r\n\r\n", (431,))):
            with self.subTest(sent[:30]), server.raw(sent) as raw:
                self.assertIn(raw.head()[0], statuses)
        self.assertEqual(server.get("/healthz?a=" + "x" * 8000).status, 200)
        self.assertEqual(server.request("GET", "/healthz", headers={"X-Long": "x" * 16000}).status, 200)

    def test_one_connection_for_many_requests(self):
        server = self.server()
        data = png(1)
        with server.raw() as raw:
            for seed in range(3):
                data = png(seed)
                raw.send(b"POST /api/v1/images/upload HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
                self.assertEqual(raw.answer().status, 202)
                raw.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
                self.assertEqual((raw.answer().status, raw.answer().status), (200, 404))
                raw.send(b"POST /api/v1/images/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\ntext")
                answer = raw.answer()
                self.assertEqual(answer.status, 415)
                self.assertNotEqual(answer.headers.get("connection"), "close", "a small refused body costs no connection")
            raw.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            self.assertEqual(raw.answer().status, 200)
            self.assertTrue(raw.closed())

    def test_expect_continue(self):
        server = self.server("--upload-max-bytes", "100000")
        data = png(1)
        with server.raw(b"POST /api/v1/images/upload HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                        b"Content-Length: %d\r\n\r\n" % len(data)) as raw:
            self.assertEqual(raw.head()[0], 100)
            raw.send(data)
            self.assertEqual(raw.answer().status, 202)

    def test_expect_continue_refused(self):
        """What is refused by its headers is not asked for: the final answer comes without `100 Continue` before it."""
        server = self.server("--upload-max-bytes", "100000")
        full = self.server("--disk-reserve", "1TiB", name="full")
        for where, path, length, status in ((server, "/api/v1/images/upload", 100 << 20, 413), (server, "/nothing", 1000, 404),
                                            (server, "/api/v1/images", 1000, 405), (full, "/api/v1/images/upload", 1000, 507)):
            with where.raw(b"POST %s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
                           % (path.encode(), length)) as raw:
                self.assertEqual(raw.answer().status, status)
        self.assert_nothing_left(server)


class Events(Case):
    """What stands on the topics is what the specification shows."""

    def fill(self, *flags):
        server = self.server(*flags)
        answer = server.upload_form(png(1), "product.png", uploadedBy="user_jane", metadata='{"category": "shoes"}',
                                    tags="red", processingOptions='{"priority": "high"}')
        image_id = answer.json["imageId"]
        server.wait_status(image_id, "completed")
        server.request("DELETE", f"/api/v1/images/{image_id}")
        server.settle()
        topics = {}
        for topic in ("images.uploaded", "features.extraction", "vectors.indexing", "processing.completed", "images.maintenance"):
            records = server.records("deeplens." + topic)
            self.assertEqual([record["key"] for record in records], [image_id], server.log_text())
            topics[topic] = records[0]
        return image_id, topics

    def test_envelope(self):
        image_id, topics = self.fill()
        types = {"images.uploaded": "image.uploaded", "features.extraction": "feature.extraction.requested",
                 "vectors.indexing": "vector.indexing.requested", "processing.completed": "processing.completed",
                 "images.maintenance": "image.maintenance.requested"}
        first = topics["images.uploaded"]["value"]["eventId"]
        for topic, record in topics.items():
            event, headers = record["value"], record["headers"]
            self.assertRegex(event["eventId"], "^evt_[0-9a-f-]{36}$")
            self.assertEqual((event["eventType"], event["eventVersion"], event["tenantId"]), (types[topic], "1.0", "default"))
            self.assertRegex(event["timestamp"], TIME)
            self.assertEqual(event["data"]["imageId"], image_id)
            self.assertEqual((headers["ce_id"], headers["ce_type"]), (event["eventId"], event["eventType"]))
            self.assertRegex(headers["ce_time"], TIME)
            self.assertTrue(headers["ce_source"])
        for topic in ("features.extraction", "vectors.indexing", "processing.completed"):
            self.assertEqual(topics[topic]["value"]["correlationId"], first)
        self.check_data({topic: record["value"] for topic, record in topics.items()})

    def check_data(self, events):
        uploaded = events["images.uploaded"]["data"]
        self.assertEqual((uploaded["fileName"], uploaded["fileSize"], uploaded["contentType"], uploaded["uploadedBy"]),
                         ("product.png", len(png(1)), "image/png", "user_jane"))
        for name, value in (("width", 160), ("height", 120), ("format", "PNG"), ("originalFileName", "product.png"),
                            ("category", "shoes"), ("tags", ["red"])):
            self.assertEqual(uploaded["metadata"][name], value)
        self.assertRegex(uploaded["filePath"], r"^/storage/tenant-default/images/\d{4}/\d\d/\d\d/img_\S+\.png$")
        self.assertTrue(uploaded["storageProvider"]["type"])
        self.assertEqual(events["images.uploaded"]["processingOptions"],
                         {"models": ["builtin"], "priority": "high", "skipDuplicateCheck": False, "generateThumbnail": True,
                          "duplicatePolicy": "keep"})
        extraction = events["features.extraction"]
        self.assertEqual((extraction["data"]["imagePath"], extraction["data"]["modelName"],
                          extraction["data"]["expectedDimension"]), (uploaded["filePath"], "builtin", 512))
        self.assertEqual(set(extraction["data"]["extractionOptions"]), {"normalize", "returnMetadata", "timeout"})
        self.assertEqual(extraction["retryPolicy"], {"maxAttempts": 3, "backoffMs": 1000, "currentAttempt": 1})
        indexing = events["vectors.indexing"]["data"]
        self.assertEqual((indexing["modelName"], len(indexing["featureVector"])), ("builtin", 512))
        self.assertAlmostEqual(sum(x * x for x in indexing["featureVector"]), 1, places=3)
        for name in ("extractionTime", "processingTimeMs", "modelVersion"):
            self.assertIn(name, indexing["vectorMetadata"])
        self.assertEqual({name: indexing["imageMetadata"][name] for name in ("width", "height", "format", "fileSize")},
                         {"width": 160, "height": 120, "format": "PNG", "fileSize": len(png(1))})
        completed = events["processing.completed"]["data"]
        self.assertEqual(completed["status"], "success")
        self.assertIn("totalProcessingTime", completed)
        self.assertRegex(completed["searchableAfter"], TIME)
        steps = {step["step"]: step for step in completed["processingSteps"]}
        self.assertEqual({step["status"] for step in steps.values()}, {"completed"})
        self.assertEqual(steps["feature_extraction"]["modelName"], "builtin")
        self.assertEqual(steps["vector_indexing"]["collectionName"], "tenant_default_builtin_vectors")

    def test_flat(self):
        image_id, topics = self.fill("--events-format", "flat")
        for topic, record in topics.items():
            self.assertEqual((record["value"]["imageId"], record["value"]["tenantId"]), (image_id, "default"), topic)
            self.assertNotIn("data", record["value"])
            self.assertTrue(record["headers"]["ce_id"])
        uploaded = topics["images.uploaded"]["value"]
        self.assertEqual((uploaded["fileName"], uploaded["mimeType"], uploaded["sizeBytes"], uploaded["metadata"]["width"]),
                         ("product.png", "image/png", len(png(1)), 160))
        self.assertTrue(uploaded["storagePath"])
        self.assertRegex(uploaded["uploadedAt"], TIME)
        extraction = topics["features.extraction"]["value"]
        self.assertEqual((extraction["extractionParams"]["model"], extraction["extractionParams"]["dimensions"]), ("builtin", 512))
        self.assertIn("preprocessedPath", extraction)
        indexing = topics["vectors.indexing"]["value"]
        self.assertEqual((len(indexing["vectors"]), indexing["dimensions"]), (512, 512))
        completed = topics["processing.completed"]["value"]
        self.assertEqual(completed["status"], "completed")
        self.assertEqual(set(completed["metrics"]), {"preprocessingTime", "extractionTime", "indexingTime"})
        maintenance = topics["images.maintenance"]["value"]
        self.assertEqual((maintenance["maintenanceType"], maintenance["actions"]),
                         ("delete", ["delete_minio_files", "delete_qdrant_vectors", "cleanup_database"]))

    def test_bare_ids(self):
        server = self.server("--events-ids", "bare")
        image_id = server.upload(png(1)).json["imageId"]
        server.wait_status(image_id, "completed")
        for topic in ("images.uploaded", "features.extraction", "vectors.indexing", "processing.completed"):
            event = server.records("deeplens." + topic)[0]["value"]
            self.assertEqual(event["data"]["imageId"], image_id.removeprefix("img_"))
            self.assertRegex(event["eventId"], "^[0-9a-f-]{36}$")

    def test_failed(self):
        server = self.server("--fault", "extractor.extract:EXTRACTION_FAILED@1+", "--retry-attempts", "2", "--retry-base", "5ms")
        image_id = server.upload(png(1)).json["imageId"]
        server.wait_status(image_id, "failed")
        records = server.records("deeplens.processing.failed")
        self.assertEqual([record["key"] for record in records], [image_id] * 2)
        for attempt, record in enumerate(records, 1):
            data = record["value"]["data"]
            self.assertEqual((data["imageId"], data["error"]["code"], data["error"]["retryable"], data["attemptNumber"]),
                             (image_id, "EXTRACTION_FAILED", True, attempt))
            self.assertTrue(data["error"]["message"])
        attempts = [r["value"]["retryPolicy"]["currentAttempt"] for r in server.records("deeplens.features.extraction")]
        self.assertEqual(attempts, [1, 2])
        self.assertEqual(len({r["value"]["eventId"] for r in server.records("deeplens.features.extraction")}), 1)


if __name__ == "__main__":
    harness.main()
