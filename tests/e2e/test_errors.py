# SPDX-License-Identifier: Apache-2.0
"""What users do wrong, and what goes wrong around them: each gets its code and a sentence, and none leaves a file or a
row behind. Beside them, what only looks wrong and must be accepted."""
import contextlib
import json
import os
import shutil
import sqlite3
import struct
import subprocess
import threading
import time
import urllib.parse

import harness
from harness import Case, Server, chunk, multipart, pictures, png, png_of_rows, wait_until

LIMIT = 100_000


def noise(seed: int, edge: int = 256) -> bytes:
    """A PNG that does not compress: about edge x edge x 3 bytes."""
    data = os.urandom(edge * edge * 3)
    return png_of_rows(edge, edge, b"".join(b"\0" + data[y * edge * 3:(y + 1) * edge * 3] for y in range(edge)))


def jpeg_of_size(width: int, height: int) -> bytes:
    """A JPEG whose header says this size."""
    data = pictures()["plain.jpg"]
    at = next(i for i in range(len(data)) if data[i] == 0xFF and data[i + 1] in (0xC0, 0xC1, 0xC2))
    return data[:at + 5] + struct.pack(">HH", height, width) + data[at + 9:]


class Refused(Case):
    """Uploads that are refused, one server for all, empty at the end."""

    def setUp(self):
        super().setUp()
        self.one = self.server("--upload-max-bytes", str(LIMIT))

    def tearDown(self):
        self.assert_nothing_left(self.one)
        self.assertEqual(self.one.upload(png(1)).status, 202, "the server goes on")
        super().tearDown()

    def both(self, data, status, code, says="", name="photo.jpg"):
        """The file is refused in a form and as the body, as an upload and as a search."""
        self.assert_problem(self.one.upload_form(data, name), status, code, says)
        self.assert_problem(self.one.upload(data), status, code, says)
        self.assert_problem(self.one.request("POST", "/api/v1/search", data, {"Content-Type": "image/jpeg"}), status, code, says)

    def test_an_empty_file(self):
        self.assert_problem(self.one.upload_form(b"", "photo.jpg"), 422, "EMPTY_FILE")
        self.assert_problem(self.one.upload(b""), 422, "EMPTY_FILE")

    def test_what_is_no_image(self):
        for data, says in ((b"Dear diary, this is not a photo. " * 9, "text"),
                           (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
                           (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "PDF"), (b"<!DOCTYPE html><html></html>", "HTML"),
                           (b"II*\0\x08\0\0\0" + b"\0" * 600, "TIFF"), (b"PK\x03\x04" + b"\0" * 600, "ZIP"), (b"\0" * 700, "")):
            with self.subTest(says):
                self.both(data, 415, "UNSUPPORTED_MEDIA", says)

    def test_truncated(self):
        for name, data in pictures().items():
            for kept in (len(data) // 2, len(data) - len(data) // 10, 40):
                with self.subTest(name=name, kept=kept):
                    answer = self.one.upload(data[:kept])
                    self.assert_problem(answer, 422, answer.json["code"])
                    self.assertIn(answer.json["code"], ("IMAGE_TRUNCATED", "IMAGE_CORRUPT"))
        for name in ("plain.jpg", "plain.png", "plain.gif", "plain.webp"):
            data = pictures()[name]
            self.both(data[:len(data) // 2], 422, "IMAGE_TRUNCATED", name="photo.jpg")

    def test_gigapixel_headers(self):
        gif, webp = pictures()["plain.gif"], pictures()["animated.webp"]
        self.assertEqual(webp[12:16], b"VP8X")
        for name, data in (("png", png_of_rows(40000, 40000, b"")), ("an edge", png_of_rows(1 << 30, 1, b"")),
                           ("jpeg", jpeg_of_size(65535, 65535)), ("gif", gif[:6] + struct.pack("<HH", 65535, 65535) + gif[10:]),
                           ("webp", webp[:24] + (19999).to_bytes(3, "little") * 2 + webp[30:])):
            with self.subTest(name):
                self.both(data, 422, "IMAGE_TOO_LARGE")

    def test_a_size_of_nothing(self):
        for name, data in (("png", png_of_rows(0, 100, b"")), ("jpeg", jpeg_of_size(0, 100))):
            with self.subTest(name):
                answer = self.one.upload(data)
                self.assert_problem(answer, 422, "IMAGE_CORRUPT")

    def test_over_the_limit(self):
        """With and without Content-Length, as a form and raw."""
        data = noise(1)
        self.assertGreater(len(data), LIMIT)
        body, kind = multipart([], ("photo.png", data))
        for sent in (data, iter([data[:50000], data[50000:]])):
            answer = self.one.request("POST", "/api/v1/images/upload", sent, {"Content-Type": "image/png"})
            self.assert_problem(answer, 413, "BODY_TOO_LARGE", str(LIMIT))
        for sent in (body, iter([body[:50000], body[50000:]])):
            answer = self.one.request("POST", "/api/v1/images/upload", sent, {"Content-Type": kind})
            self.assert_problem(answer, 413, "BODY_TOO_LARGE", str(LIMIT))
        exact = png(1) + b"\0" * (LIMIT - len(png(1)))
        self.assert_problem(self.one.upload(exact + b"\0"), 413, "BODY_TOO_LARGE", str(LIMIT))
        other = self.server("--upload-max-bytes", str(LIMIT), name="other")
        self.assertEqual(other.upload(exact).status, 202, "exactly the limit is accepted")
        self.assertEqual(other.upload_form(png(2) + b"\0" * (LIMIT - len(png(2)))).status, 202)

    def test_over_the_limit_by_far(self):
        """The answer comes at the headers; a client that sends on regardless still gets to read it."""
        for head in (b"Content-Length: %d" % (10 << 30), b"Transfer-Encoding: chunked"):
            with self.one.raw(b"POST /api/v1/images/upload HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n") as raw:
                piece = png(1) + b"\0" * 65536
                for _ in range(100):
                    raw.send(b"%x\r\n" % len(piece) + piece + b"\r\n" if b"chunked" in head else piece)
                self.assert_problem(raw.answer(), 413, "BODY_TOO_LARGE")

    def test_half_a_body(self):
        data = png(1)
        body, kind = multipart([("tags", "a")], ("a.png", data))
        for path, sent, type_ in (("/api/v1/images/upload", data, "image/png"), ("/api/v1/images/upload", body, kind),
                                  ("/api/v1/search", data, "image/png")):
            start = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {type_}\r\n".encode()
            head = start + b"Content-Length: %d\r\n\r\n" % len(sent)
            chunked = start + b"Transfer-Encoding: chunked\r\n\r\n"
            for kept in (0, 1, len(sent) // 2, len(sent) - 1):
                with self.one.raw(head + sent[:kept]):
                    pass
                with self.one.raw(chunked + (b"%x\r\n" % len(sent) + sent)[:kept + 4]):
                    pass

    def test_a_form_without_its_end(self):
        body, kind = multipart([("tags", "a")], ("a.png", png(1)))
        for kept in (len(body) - 6, len(body) // 2, 10):
            answer = self.one.request("POST", "/api/v1/images/upload", body[:kept], {"Content-Type": kind})
            self.assertIn(answer.status, (400, 422))
            self.assert_problem(answer, answer.status, answer.json["code"])
        for kind in ("multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=" + "x" * 99):
            answer = self.one.request("POST", "/api/v1/images/upload", body, {"Content-Type": kind})
            self.assert_problem(answer, 400, "INVALID_REQUEST")

    def test_names_with_nul(self):
        answer = self.one.request("POST", "/api/v1/images/upload?fileName=a%00.png", png(1))
        self.assert_problem(answer, 400, "INVALID_REQUEST", "NUL")
        answer = self.one.upload_form(png(1), "a\0.png")
        self.assert_problem(answer, 400, "INVALID_REQUEST")
        answer = self.one.upload_form(png(1), fileName="a\0.png")
        self.assert_problem(answer, 400, "INVALID_REQUEST", "NUL")

    def test_who_and_what_is_unknown(self):
        self.assert_problem(self.one.upload(png(1), tenant="nobody"), 404, "TENANT_UNKNOWN", "nobody")
        self.assert_problem(self.one.upload_form(png(1), tenantId="nobody"), 404, "TENANT_UNKNOWN", "nobody")
        self.assert_problem(self.one.upload(png(1), tenant="../x"), 400, "INVALID_TENANT")
        self.assert_problem(self.one.upload_form(png(1), processingOptions='{"models": ["resnet50"]}'), 422, "MODEL_UNKNOWN",
                            "builtin")

    def test_fields_that_are_wrong(self):
        for field, value, code in (
                ("metadata", "{", "INVALID_JSON"), ("metadata", "[1]", "INVALID_REQUEST"), ("metadata", '"x"', "INVALID_REQUEST"),
                ("metadata", '{"a":1,"a":2}', "INVALID_JSON"), ("metadata", "{" * 70000, "INVALID_REQUEST"),
                ("metadata", '{"a":' * 5000 + "1" + "}" * 5000, "INVALID_JSON"),
                ("metadata", '{"a":"' + "x" * 70000 + '"}', "INVALID_REQUEST"),
                ("tags", "[", "INVALID_JSON"), ("tags", "[1]", "INVALID_REQUEST"), ("tags", "x" * 256, "INVALID_REQUEST"),
                ("tags", ",".join(map(str, range(65))), "INVALID_REQUEST"),
                ("uploadedBy", "x" * 256, "INVALID_REQUEST"),
                ("processingOptions", "{]", "INVALID_JSON"), ("processingOptions", "[]", "INVALID_REQUEST"),
                ("processingOptions", '{"models": "builtin"}', "INVALID_REQUEST"),
                ("processingOptions", '{"models": [1]}', "INVALID_REQUEST"),
                ("processingOptions", '{"priority": "urgent"}', "INVALID_REQUEST"),
                ("processingOptions", '{"priority": 1}', "INVALID_REQUEST"),
                ("processingOptions", '{"skipDuplicateCheck": "yes"}', "INVALID_REQUEST"),
                ("processingOptions", '{"generateThumbnail": 0}', "INVALID_REQUEST")):
            with self.subTest(field=field, value=value[:40]):
                self.assert_problem(self.one.upload_form(png(1), **{field: value}), 400, code, field)
                if len(value) < 4000:
                    answer = self.one.upload(png(1), query=f"&{field}=" + urllib.parse.quote(value))
                    self.assert_problem(answer, 400, code, field)

    def test_fields_that_are_not_utf8(self):
        part = "--x\r\nContent-Disposition: form-data; name="
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        for field in ("metadata", "tags", "uploadedBy", "processingOptions", "tenantId"):
            with self.subTest(field):
                body = (f'{part}"{field}"\r\n\r\n'.encode() + b'{"a": "\xff\xfe"}\r\n' +
                        f'{part}"file"; filename="a.png"\r\n\r\n'.encode() + png(1) + b"\r\n--x--\r\n")
                answer = self.one.request("POST", "/api/v1/images/upload", body, kind)
                self.assertEqual(answer.status, 400, answer.body)
                self.assert_problem(answer, 400, answer.json["code"])

    def test_forms_that_are_wrong(self):
        one = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n' + png(1) + b"\r\n"
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        upload = "/api/v1/images/upload"
        self.assert_problem(self.one.request("POST", upload, one + one + b"--x--\r\n", kind), 400, "INVALID_REQUEST", "two")
        body, type_ = multipart([("tags", "a")])
        self.assert_problem(self.one.request("POST", upload, body, {"Content-Type": type_}), 400, "INVALID_REQUEST", "no file")
        self.assert_problem(self.one.upload_form(png(1), colour="red"), 400, "INVALID_REQUEST", "colour")
        body, type_ = multipart([("tags", "a"), ("tags", "b")], ("a.png", png(1)))
        self.assert_problem(self.one.request("POST", upload, body, {"Content-Type": type_}), 400, "INVALID_REQUEST", "tags")
        body = one.replace(b'name="file"; ', b"") + b"--x--\r\n"
        self.assert_problem(self.one.request("POST", upload, body, kind), 400, "INVALID_REQUEST")


class Accepted(Case):
    """What looks odd, but is right."""

    def test_every_kind_of_picture(self):
        server = self.server()
        kinds = {"jpg": "JPEG", "png": "PNG", "gif": "GIF", "webp": "WEBP", "avif": "AVIF", "heic": "HEIC"}
        self.assertLessEqual({"cmyk.jpg", "grey.jpg", "rotated.jpg", "deep.png", "alpha.png", "animated.gif", "animated.webp"},
                             set(pictures()))
        for name, data in {**pictures(), "tiny.png": png(1, 1, 1)}.items():
            with self.subTest(name):
                image_id = server.upload_form(data, name).json["imageId"]
                status = server.wait_status(image_id, "completed", "failed")
                self.assertEqual(status["status"], "completed", status)
                server.settle()
                item = server.get(f"/api/v1/images/{image_id}").json
                size = (1, 1) if name == "tiny.png" else (120, 160) if name == "rotated.jpg" else (160, 120)
                self.assertEqual((item["width"], item["height"]), size)
                self.assertEqual((item["format"], item["fileName"]), (kinds[name.split(".")[1]], name))
                self.assertEqual(harness.webp_size(server.get(item["thumbnailUrl"]).body), size)
                hits = server.request("POST", "/api/v1/search", data).json["results"]
                self.assertAlmostEqual(next(hit["score"] for hit in hits if hit["imageId"] == image_id), 1, places=3)

    def test_pictures_are_told_by_their_bytes(self):
        server = self.server()
        answer = server.request("POST", "/api/v1/images/upload?fileName=a.gif", png(1), {"Content-Type": "text/html"})
        item = server.get(f"/api/v1/images/{answer.json['imageId']}").json
        self.assertEqual((item["format"], item["contentType"], item["fileName"]), ("PNG", "image/png", "a.gif"))

    def test_bytes_behind_the_image(self):
        server = self.server()
        for seed, data in enumerate((png(1), pictures()["plain.jpg"], pictures()["plain.gif"])):
            image_id = server.upload(data + b"motion photo" * 1000).json["imageId"]
            self.assertEqual(server.wait_status(image_id, "completed", "failed")["status"], "completed")

    def test_names(self):
        server = self.server()
        names = {"../../../etc/passwd.png": "passwd.png", "..\\..\\boot.png": "boot.png", "/abs/olute.png": "olute.png",
                 "a\x01b\x7f\x1b[31m.png": "ab[31m.png", "line\ttab.png": "linetab.png", "..": "image.png", ".": "image.png",
                 "dir/": "image.png", "": "image.png", " spaces .png": " spaces .png",
                 "日本語 \U0001f600.png": "日本語 \U0001f600.png"}
        for seed, (name, kept) in enumerate(names.items()):
            with self.subTest(name):
                query = urllib.parse.urlencode({"fileName": name})
                answer = server.request("POST", "/api/v1/images/upload?" + query, png(seed))
                self.assertEqual(answer.status, 202, answer.body)
                self.assertEqual(server.get(f"/api/v1/images/{answer.json['imageId']}").json["fileName"], kept)
        server.settle()
        places = r"^tenant-default/(images/\d{4}/\d\d/\d\d|thumbnails/[0-9a-f]{2})/img_[0-9a-f-]{36}\.(png|webp)$"
        for path in harness.files_below(server.data_dir + "/storage"):
            self.assertRegex(path, places)
        self.assertEqual(set(os.listdir(self.scratch)), {"data", "data.log"}, "a name led out of the folder")

    def test_names_of_4_kib(self):
        server = self.server()
        for seed, letter in enumerate(("x", "ä", "日", "\U0001f600")):
            name = letter * (4096 // len(letter.encode()))
            for answer in (server.upload_form(png(seed), name), server.upload_form(png(seed + 100), fileName=name),
                           server.request("POST", "/api/v1/images/upload?" + urllib.parse.urlencode({"fileName": name}),
                                          png(seed + 200))):
                self.assertEqual(answer.status, 202, answer.body)
                kept = server.get(f"/api/v1/images/{answer.json['imageId']}").json["fileName"]
                self.assertLessEqual(len(kept.encode()), 255)
                self.assertGreater(len(kept.encode()), 250)
                self.assertEqual(kept, letter * len(kept), "cut in the middle of a character")

    def test_names_that_are_not_utf8(self):
        server = self.server()
        body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a\xff\xfeb.png"\r\n\r\n' + png(1) + b"\r\n--x--\r\n"
        answer = server.request("POST", "/api/v1/images/upload", body, {"Content-Type": "multipart/form-data; boundary=x"})
        self.assertEqual(answer.status, 202, answer.body)
        name = server.get(f"/api/v1/images/{answer.json['imageId']}").json["fileName"]
        self.assertRegex(name, "^a.*b.png$")

    def test_without_a_name(self):
        server = self.server()
        mark = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
        form = server.request("POST", "/api/v1/images/upload", mark + png(1) + b"\r\n--x--\r\n",
                              {"Content-Type": "multipart/form-data; boundary=x"})
        raw = server.request("POST", "/api/v1/images/upload", png(2))
        for answer in (form, raw):
            self.assertEqual(answer.status, 202, answer.body)
            self.assertEqual(server.get(f"/api/v1/images/{answer.json['imageId']}").json["fileName"], "image.png")


class Decoding(Case):
    """What only decoding shows: it is accepted, and ends as a dead letter with a reason."""

    def test_a_picture_that_cannot_be_decoded(self):
        server = self.server()
        head = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
        broken = (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"this is not deflated") + chunk(b"IEND", b""))
        jpeg = bytearray(pictures()["plain.jpg"])
        image_id = server.upload(broken).json["imageId"]
        status = server.wait_status(image_id, "failed", "completed")
        self.assertEqual(status["status"], "failed")
        self.assertIn(status["error"]["code"], ("IMAGE_CORRUPT", "IMAGE_TRUNCATED"))
        self.assertRegex(status["error"]["message"], r"\S \S")
        self.assertEqual([step["attempt"] for step in status["processingSteps"]], [1], "trying again cannot help")
        letters = server.get("/api/v1/admin/deadletters").json["items"]
        self.assertEqual([(x["mediaId"], x["stage"], x["code"]) for x in letters],
                         [(image_id, "prepare", status["error"]["code"])])
        self.assert_problem(server.request("POST", "/api/v1/search", broken), 422, status["error"]["code"])
        good = server.upload(bytes(jpeg)).json["imageId"]
        server.wait_status(good, "completed")
        ledger = server.settle()
        self.assertEqual((ledger["failed"], ledger["searchable"], ledger["closes"]), (1, 1, True))
        self.assertEqual(server.request("DELETE", f"/api/v1/images/{image_id}").status, 202, "a failed item can be deleted")
        wait_until(lambda: server.ledger()["deleted"] == 1, "it is deleted")
        self.assertEqual([f for f in harness.files_below(server.data_dir + "/storage") if image_id in f], [])


class SlowClients(Case):
    def test_they_are_cut_while_others_are_served(self):
        server = self.server("--http-idle-timeout", "1s")
        heads = [b"", b"GET /heal", b"POST /api/v1/images/upload HTTP/1.1\r\nHost: x\r\n",
                 b"POST /api/v1/images/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + png(1)[:200],
                 b"POST /api/v1/images/upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n\x89PNG"]
        with contextlib.ExitStack() as stack:
            slow = [stack.enter_context(server.raw(head)) for head in heads for _ in range(4)]
            waiting = threading.Thread(target=lambda: [raw.closed() for raw in slow])
            waiting.start()
            served = 0
            while waiting.is_alive():
                self.assertEqual(server.upload(png(1000 + served, 32, 24)).status, 202)
                served += 1
            waiting.join()
        self.assertGreater(served, 0)
        server.settle()
        wait_until(lambda: len(harness.files_below(server.data_dir + "/storage")) == 2 * served, "nothing of them stays")

    def test_they_are_cut_though_they_drip(self):
        """A byte now and then does not keep a connection for ever."""
        server = self.server("--http-idle-timeout", "1s")
        end = time.monotonic() + harness.PATIENCE
        with server.raw(b"POST /api/v1/images/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + png(1)) as raw:
            raw.socket.settimeout(0.2)
            while time.monotonic() < end:
                try:
                    raw.send(b"\0")
                    if not raw.socket.recv(1 << 16):
                        break
                except TimeoutError:
                    continue
                except (BrokenPipeError, ConnectionResetError):
                    break
            else:
                self.fail("it still held its connection")
        self.assert_nothing_left(server)


class FullDisks(Case):
    def test_the_reserve(self):
        server = self.server("--disk-reserve", "1TiB")
        self.assert_problem(server.upload(png(1)), 507, "DISK_FULL")
        self.assert_problem(server.upload_form(png(1)), 507, "DISK_FULL")
        self.assert_nothing_left(server)
        self.assertEqual(server.get("/api/v1/images").status, 200, "reading goes on")

    def small_disk(self, name, size):
        folder = os.path.join(self.scratch, name)
        os.mkdir(folder)
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=" + size, "none", folder], capture_output=True, check=False)
        if made.returncode:
            self.skipTest("a file system of its own cannot be mounted here: " + made.stderr.decode().strip())
        self.addCleanup(subprocess.run, ["umount", folder], check=True)
        return folder

    def test_a_disk_that_fills(self):
        """Uploads until the disk is full; what was acknowledged becomes searchable once there is space again."""
        folder = self.small_disk("small", "12m")
        server = self.server("--disk-reserve", "0", "--retry-base", "50ms", "--retry-max", "200ms", name="small/data")
        acked, refused, seed = [], 0, 0
        while refused < 20:
            data = noise(seed)
            answer = server.upload(data)
            seed += 1
            if answer.status == 202:
                acked.append((answer.json["imageId"], data))
                self.assertLess(len(acked), 100, "the disk was never full")
            else:
                self.assert_problem(answer, 507, "DISK_FULL")
                refused += 1
        self.assertGreater(len(acked), 3)
        self.assertEqual(server.get("/healthz").status, 200)
        self.assertEqual(server.get("/api/v1/images?limit=1").status, 200, "reading goes on")
        subprocess.run(["mount", "-o", "remount,size=200m", folder], check=True)
        ledger = server.settle()
        self.assertTrue(ledger["closes"], ledger)
        self.assertEqual((ledger["accepted"], ledger["searchable"], ledger["failed"]), (len(acked), len(acked), 0),
                         server.log_text()[-3000:])
        for image_id, data in acked:
            self.assertEqual(server.get(f"/api/v1/images/{image_id}/original").body, data)
        storage = harness.files_below(server.data_dir + "/storage")
        self.assertEqual(len(storage), 2 * len(acked), "a refused upload left something")
        answer = server.upload(noise(seed))
        self.assertEqual(answer.status, 202, "uploads go on")
        server.wait_status(answer.json["imageId"], "completed")
        self.assertEqual(server.get("/readyz").status, 200)
        self.assertEqual(server.stop(), 0)

    def test_a_disk_that_is_full_at_the_start(self):
        folder = self.small_disk("small", "1m")
        with contextlib.suppress(OSError), open(os.path.join(folder, "ballast"), "wb") as file:
            while file.write(os.urandom(4096)):
                file.flush()
        result = self.cli("serve", "--data-dir", folder + "/data", "--http-listen", "127.0.0.1:0")
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertRegex(result.stderr, r"(?i)space|full")


class Starting(Case):
    """A server that cannot start says why in one line and ends."""

    def refused(self, *arguments, code=1, says=(), env=None):
        result = self.cli("serve", "--http-listen", "127.0.0.1:0", *arguments, env=env)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        self.assertEqual(result.stdout, "")
        for text in says:
            self.assertIn(text, result.stderr)
        return result

    def test_data_directory_in_use(self):
        server = self.server()
        self.refused("--data-dir", server.data_dir, says=(server.data_dir, "in use", str(server.process.pid)))
        self.assertEqual(server.upload(png(1)).status, 202, "the first goes on")

    def test_data_directory_from_a_newer_version(self):
        server = self.server()
        image_id = server.upload(png(1)).json["imageId"]
        server.settle()
        server.stop()
        path = os.path.join(server.data_dir, "deeplens.db")
        with contextlib.closing(sqlite3.connect(path)) as database:
            version = database.execute("PRAGMA user_version").fetchone()[0]
            database.execute("PRAGMA user_version = 9999")
        self.refused("--data-dir", server.data_dir, says=("9999", "newer"))
        with contextlib.closing(sqlite3.connect(path)) as database:
            self.assertEqual(database.execute("PRAGMA user_version").fetchone()[0], 9999, "it was left alone")
            database.execute(f"PRAGMA user_version = {version}")
        server.start()
        self.assertEqual(server.get(f"/api/v1/images/{image_id}").status, 200)

    def test_database_that_is_none(self):
        folder = os.path.join(self.scratch, "data")
        os.mkdir(folder)
        with open(os.path.join(folder, "deeplens.db"), "wb") as file:
            file.write(b"this is not a database" * 500)
        self.refused("--data-dir", folder, says=("deeplens.db",))
        with contextlib.closing(sqlite3.connect(os.path.join(self.scratch, "other.db"))) as database:
            database.execute("PRAGMA application_id = 77")
            database.execute("CREATE TABLE theirs (x)")
            database.commit()
        shutil.copy(os.path.join(self.scratch, "other.db"), os.path.join(folder, "deeplens.db"))
        self.refused("--data-dir", folder, says=("deeplens.db",))

    def test_data_directory_that_cannot_be_written(self):
        with open(os.path.join(self.scratch, "file"), "w", encoding="utf-8"):
            pass
        self.refused("--data-dir", os.path.join(self.scratch, "file"), says=("file",))
        self.refused("--data-dir", os.path.join(self.scratch, "file", "below"), says=("file",))
        self.refused("--data-dir", "/proc/deeplens", says=("/proc/deeplens",))

    def test_port_in_use(self):
        server = self.server()
        result = self.cli("serve", "--data-dir", os.path.join(self.scratch, "two"),
                          "--http-listen", f"127.0.0.1:{server.port}")
        self.assertEqual(result.returncode, 1)
        self.assertIn(str(server.port), result.stderr)

    def test_listening_to_everyone(self):
        for address in ("0.0.0.0:0", "[::]:0"):
            result = self.cli("serve", "--data-dir", os.path.join(self.scratch, "x"), "--http-listen", address)
            self.assertEqual(result.returncode, 1, result.stderr)
            for text in ("http.listen", "--auth off"):
                self.assertIn(text, result.stderr)
        server = Server(os.path.join(self.scratch, "data"), "--http-listen", "0.0.0.0:0", "--auth", "off")
        self.addCleanup(server.stop)
        server.start()
        self.assertEqual(server.get("/healthz").status, 200)

    def test_options_that_are_wrong(self):
        for flags, says in ((["--no-such-option"], "--no-such-option"), (["--http-workers", "0"], "http.workers"),
                            (["--http-workers", "many"], "http.workers"), (["--log-level", "loud"], "log.level"),
                            (["--upload-max-bytes", "5 apples"], "upload.max_bytes"), (["--retry-base", "soon"], "retry.base"),
                            (["--http-workers"], "--http-workers"),
                            (["--config", os.path.join(self.scratch, "none.conf")], "none.conf"), (["extra"], "extra")):
            with self.subTest(flags):
                result = self.cli("serve", "--data-dir", os.path.join(self.scratch, "data"), *flags)
                self.assertIn(result.returncode, (1, 2), result.stderr)
                self.assertIn(says, result.stderr)
        other = ("--data-dir", os.path.join(self.scratch, "other"))
        self.refused(*other, "--model-default", "resnet50", says=("resnet50",))
        self.refused(*other, "--fault", "nonsense", says=("nonsense",))
        for name, value in (("DEEPLENS_HTTP_WORKERS", "x"), ("DEEPLENS_HTP_WORKERS", "1")):
            result = self.cli("serve", env={name: value})
            self.assertIn(result.returncode, (1, 2))
            self.assertIn(name, result.stderr)
        path = os.path.join(self.scratch, "bad.conf")
        for text, says in (("http.workers = 3\nno.such = 1\n", ("no.such", "line 2")), ("http.workers\n", ("line 1",)),
                           ("http.workers = lots\n", ("http.workers", "line 1"))):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            result = self.cli("serve", "--config", path)
            self.assertIn(result.returncode, (1, 2))
            for word in (path, *says):
                self.assertIn(word, result.stderr)
        self.assertFalse(os.path.exists(os.path.join(self.scratch, "data")), "nothing is made before the options are right")

    def test_configuration_file_and_variables(self):
        path = os.path.join(self.scratch, "good.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write("# a comment\nupload.max_bytes = 2000\nsearch.k = 2\n\n")
        server = self.server("--config", path, env={"DEEPLENS_SEARCH_K": "1"})
        self.assert_problem(server.upload(png(1) + b"\0" * 2000), 413, "BODY_TOO_LARGE", "2000")
        for seed in range(3):
            server.wait_status(server.upload(png(seed)).json["imageId"], "completed")
        self.assertEqual(len(server.search(vector=[1] * 512).json["results"]), 1, "variables win over the file")


if __name__ == "__main__":
    harness.main()
