# SPDX-License-Identifier: Apache-2.0
"""Blobs on a real S3 server (MinIO, tests/peers/minio.py): the back end by itself behind a proxy that breaks what it is
told to, and the whole program while it, or the server, is killed. What was written is read by boto3."""
import hashlib
import os
import pathlib
import random
import subprocess
import sys
import threading
import time
import unittest
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))

import harness
from harness import Case, Server, png, wait_until
import peer
from minio import ACCESS, SECRET, Minio, Tearing, boto3_python, fetch

BLOBS = os.environ.get("DEEPLENS_TEST_BLOBS", "build/tests/e2e/blobs")
MIB = 1 << 20
PART = 5 * MIB  # the smallest that S3 takes
minio = None


def setUpModule():
    global minio
    minio = Minio(MINIO_DOMAIN="localhost").start()


def tearDownModule():
    minio.remove()


class Blobs:
    """The back end by hand (blobs.c)."""

    def __init__(self, address, prefix, **more):
        location = {"endpoint": address, "bucket": minio.bucket, "prefix": prefix, "access_key": ACCESS,
                    "secret_key": SECRET, "owner": "tests", "part": PART, "timeout_ms": 3000, **more}
        text = "".join(f"{name}={value}\n" for name, value in location.items())
        self.process = subprocess.Popen([BLOBS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, "DEEPLENS_TEST_LOCATION": text})
        self.opened = self.process.stdout.readline().strip()

    def __call__(self, *words) -> str:
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self):
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(harness.PATIENCE)

    def kill(self):
        self.process.kill()
        self.end()


class ByItself(Case):
    def setUp(self):
        super().setUp()
        self.prefix = self.id().rsplit(".", 1)[-1].replace("test_", "") + "/"

    def open(self, address=None, **more) -> Blobs:
        blobs = Blobs(address or minio.address, more.pop("prefix", self.prefix), **more)
        self.addCleanup(blobs.end)
        return blobs

    def behind(self, breaks) -> Tearing:
        proxy = Tearing(minio.address, breaks)
        self.addCleanup(proxy.__exit__, None, None, None)
        return proxy.__enter__()

    def uploads(self) -> int:
        """Uploads in parts that are under way in the slots of this test."""
        count = 0
        for slot in range(16):
            query = f"prefix={self.prefix.replace('/', '%2F')}~deeplens%2Ftmp%2Ftests-{slot}&uploads="
            count += minio.request("GET", query=query)[2].count(b"<UploadId>")
        return count

    def names(self) -> list:
        return [name[len(self.prefix):] for name in minio.names(self.prefix)]

    def put_all(self, blobs):
        """One blob of each way of being put, then everything else that the port can do."""
        for size in (0, 1, 100_000, PART, PART + 1, 3 * PART, 16 * MIB + 5):
            self.assertEqual(blobs("put", f"t/{size}", size, size % 251), "ok")
        for size in (0, 1, 100_000, PART, PART + 1, 3 * PART, 16 * MIB + 5):
            self.assertEqual(blobs("check", f"t/{size}", size, size % 251), "ok")
            self.assertEqual(blobs("head", f"t/{size}").split()[:2], ["ok", str(size)])
        self.assertEqual(blobs("list", "t/1"), "ok t/1=1 t/100000=100000 t/15728640=15728640 t/16777221=16777221")
        self.assertEqual(blobs("remove", "t/1"), "ok")
        self.assertRegex(blobs("head", "t/1"), "^error NOT_FOUND")

    def test_puts_in_one_request_and_in_parts(self):
        blobs = self.open()
        self.put_all(blobs)
        self.assertEqual(blobs.end(), 0)
        self.assertEqual(self.uploads(), 0)
        self.assertEqual([n for n in self.names() if "/tmp/" in n], [])

    def test_virtual_hosts(self):
        blobs = self.open(f"http://localhost:{minio.port}", style="virtual")
        self.assertEqual(blobs.opened, "ok")
        self.put_all(blobs)
        self.assertIn("t/100000", self.names())

    def test_g6_torn_lost_cut_and_refused_requests_are_sent_again(self):
        for kind in ("torn", "lost", "cut", 500, 503, 429):
            with self.subTest(kind):
                self.prefix = f"again-{kind}/"
                proxy = self.behind(lambda method, target, n: kind if n % 3 == 0 else None)
                blobs = self.open(proxy.address)
                self.put_all(blobs)
                self.assertEqual(blobs.end(), 0)
                self.assertGreater(proxy.broken, 10)
                self.assertEqual([n for n in self.names() if "/tmp/" in n], [])
                self.assertEqual(self.open().opened, "ok")  # takes away uploads whose names were lost, without parts
                self.assertEqual(self.uploads(), 0)

    def test_g6_what_stays_broken_is_an_outage(self):
        state = {"what": None}
        proxy = self.behind(lambda *_: state["what"])
        blobs = self.open(proxy.address, attempts=2)
        self.assertEqual(blobs("put", "k", 10, 1), "ok")
        for what in ("torn", 503):
            state["what"] = what
            for words in (("put", "k2", 10, 1), ("check", "k", 10, 1), ("head", "k"), ("remove", "k")):
                self.assertRegex(blobs(*words), r"^error UNAVAILABLE \(outage\) S3 at http://127")
            self.assertRegex(blobs("space"), r"^error UNAVAILABLE \(outage\)")
            state["what"] = None
            wait_until(lambda: blobs("space") == "ok", "it is found to be back")
            self.assertEqual(blobs("check", "k", 10, 1), "ok")
        self.assertEqual(self.names(), ["k", "~deeplens/owner"])

    def test_g6_opens_while_the_server_is_away(self):
        state = {"what": "torn"}
        proxy = self.behind(lambda *_: state["what"])
        blobs = self.open(proxy.address, attempts=1)
        self.assertEqual(blobs.opened, "ok")
        self.assertRegex(blobs("put", "k", 10, 1), r"^error UNAVAILABLE \(outage\)")
        state["what"] = None
        wait_until(lambda: blobs("put", "k", 10, 1) == "ok", "it is back")
        self.assertEqual(self.names(), ["k", "~deeplens/owner"])

    def test_a_put_in_parts_that_is_given_up_leaves_nothing(self):
        blobs = self.open()
        self.assertEqual(blobs("begin", 3 * PART + 7, 5), "ok")
        self.assertEqual(self.uploads(), 1)
        self.assertEqual(blobs("abort"), "ok")
        self.assertEqual(self.uploads(), 0)
        self.assertEqual(self.names(), ["~deeplens/owner"])

    def test_a_put_in_parts_that_fails_leaves_nothing(self):
        for where in ("partNumber=2", "x-amz-copy-source", "POST uploadId"):
            with self.subTest(where):
                self.prefix = f"fails-{where[:4]}/"

                def breaks(method, target, n, where=where):
                    if where == "x-amz-copy-source":
                        return 500 if method == "PUT" and target.endswith("/large") else None
                    if where.startswith("POST"):
                        return 500 if method == "POST" and "uploadId=" in target else None
                    return 500 if where in target else None
                blobs = self.open(self.behind(breaks).address, attempts=2)
                self.assertRegex(blobs("put", "large", 3 * PART, 1), "^error UNAVAILABLE")
                time.sleep(1.1)  # the time for which requests fail at once, so that nothing can be cleared
                self.assertEqual(blobs.end(), 0)
                again = self.open()
                self.assertEqual(again.opened, "ok")
                self.assertEqual(self.uploads(), 0)
                self.assertEqual(self.names(), ["~deeplens/owner"])

    def test_g1_what_a_kill_left_is_removed_by_the_next_start(self):
        blobs = self.open()
        self.assertEqual(blobs("begin", 3 * PART + 7, 5), "ok")
        blobs.kill()
        minio.request("PUT", self.prefix + "~deeplens/tmp/tests-3", body=b"joined, not yet moved")
        self.assertEqual(self.uploads(), 1)
        again = self.open()
        self.assertEqual(again.opened, "ok")
        self.assertEqual(self.uploads(), 0)
        self.assertEqual(self.names(), ["~deeplens/owner"])

    def test_a_prefix_has_one_owner(self):
        self.assertEqual(self.open().opened, "ok")
        self.assertEqual(self.open().opened, "ok")
        self.assertRegex(self.open(owner="other").opened, "^error CONFIG_INVALID .* holds the blobs of the installation "
                                                          "tests, and this one is other: .*s3.prefix")
        self.assertEqual(self.open(owner="other", prefix="of-another/").opened, "ok")

    def test_only_one_of_many_that_start_at_once_gets_it(self):
        opened = []
        threads = [threading.Thread(target=lambda i=i: opened.append(self.open(owner=f"racer-{i}").opened))
                   for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(opened.count("ok"), 1, opened)

    def test_bytes_are_checked_at_both_ends(self):
        blobs = self.open()
        self.assertEqual(blobs("put", "k", 100_000, 1), "ok")
        status, headers, body = minio.request("GET", self.prefix + "k", headers={"x-amz-checksum-mode": "ENABLED"})
        self.assertEqual(status, 200)
        self.assertEqual(headers["x-amz-meta-sha256"], hashlib.sha256(body).hexdigest())
        self.assertIn("x-amz-checksum-sha256", headers)
        other = bytes([body[0] ^ 1]) + body[1:]
        minio.request("PUT", self.prefix + "k", body=other, headers={"x-amz-meta-sha256": headers["x-amz-meta-sha256"]})
        self.assertRegex(blobs("check", "k", 100_000, 1), "^error DATA_CORRUPT .*SHA-256")
        size = 9 * MIB  # of three windows: found at the end of the last one
        self.assertEqual(blobs("put", "large", size, 2), "ok")
        _, headers, body = minio.request("GET", self.prefix + "large")
        other = body[:-1] + bytes([body[-1] ^ 1])
        minio.request("PUT", self.prefix + "large", body=other,
                      headers={"x-amz-meta-sha256": headers["x-amz-meta-sha256"]})
        self.assertRegex(blobs("check", "large", size, 2), "^error DATA_CORRUPT .*SHA-256")

    def test_a_large_blob_that_changes_under_a_reader_gives_no_other_bytes(self):
        blobs = self.open()
        size = 12 * MIB
        self.assertEqual(blobs("put", "k", size, 1), "ok")
        self.assertEqual(blobs("open", "k"), "ok")
        self.assertEqual(blobs("put", "k", size, 2), "ok")
        self.assertEqual(blobs("read", 0, MIB, 1), "ok")
        self.assertRegex(blobs("read", 6 * MIB, MIB, 1), "^error NOT_FOUND .*deleted or replaced")
        self.assertEqual(blobs("close"), "ok")
        self.assertEqual(blobs("open", "k"), "ok")
        self.assertEqual(blobs("remove", "k"), "ok")
        self.assertRegex(blobs("read", 6 * MIB, MIB, 2), "^error NOT_FOUND")

    def test_g8_memory_is_bounded(self):
        blobs = self.open(memory=PART + MIB)
        self.assertEqual(blobs("put", "k", 4 * PART, 1), "ok")
        self.assertEqual(blobs("begin", PART, 1), "ok")
        self.assertRegex(blobs("check", "k", 4 * PART, 1), r"^error OVERLOADED \(outage\) .*s3.memory")
        self.assertEqual(blobs("commit", "l"), "ok")
        self.assertEqual(blobs("check", "k", 4 * PART, 1), "ok")

    def test_says_what_is_wrong(self):
        for says, more in {
            "CONFIG_INVALID .*s3.bucket": {"bucket": "A"},
            "CONFIG_INVALID .*s3.endpoint": {"address": "ftp://x"},
            "CONFIG_INVALID .*s3.prefix": {"prefix": "../"},
            "CONFIG_INVALID .*AWS_ACCESS_KEY_ID": {"access_key": ""},
            "CONFIG_INVALID .*NoSuchBucket": {"bucket": "no-such-bucket"},
            "CONFIG_INVALID .*SignatureDoesNotMatch": {"secret_key": "wrong-" + SECRET},
            "CONFIG_INVALID .*InvalidAccessKeyId": {"access_key": "nobody"},
        }.items():
            with self.subTest(says):
                said = self.open(**more).opened
                self.assertRegex(said, "^error " + says)
                self.assertNotIn(SECRET, said)

    def test_g9_a_bucket_that_keeps_versions_is_refused(self):
        with Minio() as other:
            setting = ("<VersioningConfiguration><Status>%s</Status></VersioningConfiguration>")
            for status, says in (("Enabled", "error CONFIG_INVALID .*keeps versions"), ("Suspended", "ok")):
                body = (setting % status).encode()
                answer = other.request("PUT", query="versioning=", body=body)
                self.assertEqual(answer[0], 200, answer)
                self.assertRegex(self.open(other.address).opened, "^" + says)

    def test_keys_of_a_session(self):
        access, secret, token = minio.session()
        keys = {"access_key": access, "secret_key": secret, "session_token": token}
        blobs = self.open(**keys)
        self.put_all(blobs)
        del keys["session_token"]
        self.assertRegex(self.open(**keys).opened, "^error CONFIG_INVALID .*Invalid(AccessKey|Token)Id")

    def test_a_clock_that_is_off_is_named(self):
        for seconds, word in ((3600, "60 minutes behind"), (-7200, "120 minutes ahead of")):
            state = {"what": None}
            blobs = self.open(self.behind(lambda *_: state["what"]).address)
            self.assertEqual(blobs.opened, "ok")
            state["what"] = ("date", seconds)
            self.assertRegex(blobs("put", "k", 1, 1), rf"^error UNAVAILABLE \(outage\) The clock .* is {word}")

    def test_written_just_now_by_our_clock(self):
        blobs = self.open()
        self.assertEqual(blobs("put", "k", 1, 1), "ok")
        ago = int(blobs("head", "k").split()[2])
        self.assertLess(ago, 3000)  # whole seconds are told: never earlier than it was, but for those


class OnS3(Case):
    """The whole program, with its blobs in a bucket under a prefix of the test's own."""

    def setUp(self):
        super().setUp()
        self.prefix = self.id().rsplit(".", 1)[-1].replace("test_", "") + "/"

    def on_s3(self, *flags, address=None, name="data", s3=None) -> Server:
        s3 = s3 or minio
        return self.server(*s3.flags("--s3-prefix", self.prefix), "--s3-endpoint", address or s3.address,
                           "--s3-timeout", "5s", *flags, name=name, env=s3.environment)

    def names(self, s3=None) -> list:
        return [name[len(self.prefix):] for name in (s3 or minio).names(self.prefix) if "~" not in name]

    def check_all(self, server, acked, s3=None):
        """Everything acknowledged is there once, whole and searchable, and nothing else."""
        ledger = server.settle()
        self.assertTrue(ledger["closes"], ledger)
        self.assertEqual((ledger["failed"], ledger["searchable"]), (0, ledger["accepted"]), server.log_text()[-3000:])
        for seed, image in acked.items():
            self.assertEqual(server.get(f"/api/v1/images/{image}/original").body, png(seed, 64, 48))
        hashes = [item["contentHash"] for item in server.items()]
        self.assertEqual(len(hashes), len(set(hashes)), "the same bytes were accepted twice")
        originals = {pathlib.Path(name).stem for name in self.names(s3) if "/images/" in name}
        self.assertLessEqual({item["imageId"] for item in server.items()}, originals)

    def uploads(self, server, count, acked, stop=None):
        """Threads that upload pictures, each until it is acknowledged."""
        seeds, lock = iter(range(len(acked) + 1, 1 << 30)), threading.Lock()

        def client():
            while not (stop and stop.is_set()):
                with lock:
                    seed = next(seeds)
                    if not stop and seed > count:
                        return
                while not (stop and stop.is_set()):
                    try:
                        answer = server.upload(png(seed, 64, 48))
                        if answer.status in (200, 202):
                            with lock:
                                acked[seed] = answer.json["imageId"]
                            break
                    except Exception:  # killed in the middle
                        pass
                    time.sleep(0.02)

        threads = [threading.Thread(target=client) for _ in range(4)]
        for thread in threads:
            thread.start()
        return threads

    def test_serves_from_a_bucket(self):
        server = self.on_s3()
        image = server.upload(png(1)).json["imageId"]
        self.assertEqual(server.settle()["searchable"], 1)
        original = server.get(f"/api/v1/images/{image}/original")
        self.assertEqual(original.body, png(1))
        part = server.request("GET", f"/api/v1/images/{image}/original", headers={"Range": "bytes=10-99"})
        self.assertEqual((part.status, part.body), (206, png(1)[10:100]))
        harness.webp_size(server.get(f"/api/v1/images/{image}/thumbnail").body)
        self.assertEqual(len(self.names()), 2)
        self.assertEqual(harness.files_below(os.path.join(server.data_dir, "storage")), [])
        self.assertEqual(server.request("DELETE", f"/api/v1/images/{image}").status, 202)
        server.settle()
        self.assertEqual(self.names(), [])

    def test_originals_are_read_from_the_bucket_itself(self):
        server = self.on_s3()
        data = png(1)
        image = server.upload_form(data, "é & y.png").json["imageId"]
        path = f"/api/v1/images/{image}/original?redirect=true"
        answer = server.get(path + "&expiresIn=2")
        self.assertEqual((answer.status, answer.body), (307, b""))
        url = answer.headers["location"]
        self.assertTrue(url.startswith(minio.address + "/"), url)
        with urllib.request.urlopen(url, timeout=harness.PATIENCE) as read:
            self.assertEqual(read.read(), data)
            self.assertEqual(read.headers["Content-Type"], "image/png")
            self.assertIn("filename*=UTF-8''%C3%A9%20%26%20y.png", read.headers["Content-Disposition"])
        for change in (lambda url: url.replace("X-Amz-Expires=2&", "X-Amz-Expires=3&"), lambda url: url[:-1] + "g",
                       lambda url: time.sleep(3) or url):
            with self.assertRaises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(change(url), timeout=harness.PATIENCE)
            self.assertEqual(refused.exception.code, 403)
        for wrong in ("&expiresIn=0", "&expiresIn=604801", "&expiresIn=x"):
            self.assertEqual(server.get(path + wrong).status, 400, wrong)
        self.assertEqual(server.get(path, X_Tenant_Id="other").status, 404)
        server.request("DELETE", f"/api/v1/images/{image}")
        self.assertEqual(server.get(path).status, 404)

    def test_a_foreign_client_reads_what_was_written(self):
        server = self.on_s3()
        big = png(2, 3000, 2400, 1500)  # larger than a reader's first window, and put in parts when it is above 16 MiB
        images = {server.upload(data).json["imageId"]: data for data in (png(1), big)}
        server.settle()
        script = (
            "import boto3, sys, hashlib\n"
            f"s3 = boto3.client('s3', endpoint_url={minio.address!r})\n"
            f"for page in s3.get_paginator('list_objects_v2').paginate(Bucket={minio.bucket!r}, Prefix={self.prefix!r}):\n"
            "    for entry in page['Contents']:\n"
            f"        got = s3.get_object(Bucket={minio.bucket!r}, Key=entry['Key'], ChecksumMode='ENABLED')\n"
            "        body = got['Body'].read()\n"
            "        assert '~' in entry['Key'] or got['Metadata']['sha256'] == hashlib.sha256(body).hexdigest()\n"
            "        print(entry['Key'], hashlib.sha256(body).hexdigest())\n")
        run = subprocess.run([boto3_python(), "-c", script], env={**os.environ, **minio.environment}, text=True,
                             capture_output=True, check=False, timeout=harness.PATIENCE)
        self.assertEqual(run.returncode, 0, run.stderr)
        read = {pathlib.Path(key).stem: digest for key, digest in map(str.split, run.stdout.splitlines())
                if "/images/" in key}
        self.assertEqual(read, {image: hashlib.sha256(data).hexdigest() for image, data in images.items()})

    def test_g1_g2_g3_kills_of_the_program_lose_and_double_nothing(self):
        kills = 8
        server = self.on_s3("--retry-attempts", str(2 * kills))
        acked, stop = {}, threading.Event()
        threads = self.uploads(server, None, acked, stop)
        rng = random.Random(5)
        try:
            for _ in range(kills):
                time.sleep(rng.uniform(0.1, 0.6))
                server.kill()
                server.start()
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertGreater(len(acked), kills)
        self.check_all(server, acked)

    def test_g6_kills_of_the_service_lose_nothing_and_spend_no_attempt(self):
        with Minio() as s3:
            server = self.on_s3("--retry-attempts", "1", s3=s3)
            acked, stop = {}, threading.Event()
            threads = self.uploads(server, None, acked, stop)
            rng = random.Random(6)
            try:
                for _ in range(4):
                    time.sleep(rng.uniform(0.2, 0.6))
                    s3.kill()
                    wait_until(lambda: server.get("/readyz").status == 503, "readiness says so")
                    self.assertEqual(server.get("/healthz").status, 200)
                    s3.start()
                    wait_until(lambda: server.get("/readyz").status == 200, "it goes on by itself")
            finally:
                stop.set()
                for thread in threads:
                    thread.join()
            self.check_all(server, acked, s3)
            server.stop()

    def test_g6_a_network_that_tears_every_fifth_request(self):
        kinds = ["torn", "lost", "cut", 503, 500]
        with Tearing(minio.address, lambda method, target, n: kinds[n // 5 % 5] if n % 5 == 0 else None) as proxy:
            server = self.on_s3("--retry-attempts", "1", address=proxy.address)
            acked = {}
            for thread in self.uploads(server, 40, acked):
                thread.join()
            self.assertEqual(len(acked), 40)
            self.check_all(server, acked)
            self.assertGreater(proxy.broken, 20)
            server.stop()

    def test_events_say_where_others_find_the_bytes(self):
        server = self.on_s3()
        server.upload(png(1))
        server.settle()
        key = next(name for name in self.names() if "/images/" in name)
        data = server.records("deeplens.images.uploaded")[0]["value"]["data"]
        self.assertEqual(data["filePath"], f"minio://{minio.bucket}/{self.prefix}{key}")
        self.assertEqual(data["storageProvider"],
                         {"type": "minio", "containerName": minio.bucket, "blobName": self.prefix + key})

    def test_imports_what_is_there_already(self):
        server = self.on_s3()
        store = f"minio://{minio.bucket}/{self.prefix}"
        for seed in range(5):
            minio.request("PUT", f"{self.prefix}tenant-default/in/{seed}.png", body=png(seed))
        minio.request("PUT", f"{self.prefix}tenant-default/in/note.txt", body=b"no picture")
        minio.request("PUT", f"{self.prefix}tenant-default/in/twin.png", body=png(0))
        minio.request("PUT", f"{self.prefix}tenant-other/in/1.png", body=png(1))

        def ask(**body):
            return server.post_json("/api/v1/images/import", body)

        for address in (store, store.replace("minio:", "s3:"), "/storage/"):
            one = ask(path=address + "tenant-default/in/0.png", tags=["cat"], metadata={"a": 1})
            self.assertEqual(one.status, 202 if address == store else 200, one.body)
        image = one.json["imageId"]
        item = server.get(f"/api/v1/images/{image}").json
        self.assertEqual((item["fileName"], item["tags"]), ("0.png", ["cat"]))
        found, cursor, pages = [], None, 0
        while pages == 0 or cursor:
            page = ask(prefix=store + "tenant-default/in/", limit=3, **({"cursor": cursor} if cursor else {}))
            self.assertEqual(page.status, 200, page.body)
            found, cursor, pages = found + page.json["items"], page.json["nextCursor"], pages + 1
        self.assertEqual(pages, 3)
        self.assertEqual([entry["path"].rsplit("/", 1)[1] for entry in found],
                         ["0.png", "1.png", "2.png", "3.png", "4.png", "note.txt", "twin.png"])
        self.assertEqual([entry.get("duplicate") for entry in found], [True, False, False, False, False, None, True])
        self.assertEqual(found[5]["error"]["code"], "UNSUPPORTED_MEDIA")
        self.assertEqual(found[6]["imageId"], image)
        self.assertEqual(server.settle()["searchable"], 5)
        self.assertEqual(server.get(f"/api/v1/images/{image}/original").body, png(0))
        self.assertEqual([name for name in self.names() if "/images/" in name], [], "something was copied")
        own = server.upload(png(9)).json["imageId"]
        server.settle()
        for bad, status, code in (
                (store + "tenant-other/in/1.png", 404, "NOT_FOUND"),
                (store + "tenant-default/in/none.png", 404, "NOT_FOUND"),
                (f"minio://elsewhere/{self.prefix}tenant-default/in/1.png", 404, "NOT_FOUND"),
                (store + "tenant-default/../tenant-other/in/1.png", 404, "NOT_FOUND"),
                (store + "tenant-default/in/note.txt", 415, "UNSUPPORTED_MEDIA"),
                (store + next(n for n in self.names() if own in n and "/images/" in n), 400, "INVALID_REQUEST")):
            self.assert_problem(ask(path=bad), status, code)
        self.assert_problem(ask(), 400, "INVALID_REQUEST", "prefix")
        self.assertEqual(server.request("DELETE", f"/api/v1/images/{image}").status, 202)
        server.settle()
        self.assertNotIn("tenant-default/in/0.png", self.names())  # it was the item's
        self.assertIn("tenant-default/in/note.txt", self.names())  # refused, not touched

    def test_a_second_installation_is_refused(self):
        self.on_s3()
        with self.assertRaisesRegex(RuntimeError, "holds the blobs of the installation own_.*s3.prefix"):
            self.on_s3(name="other")

    def test_secrets_are_shown_nowhere(self):
        server = self.on_s3("--log-level", "debug", "--trace", "blob,meta")
        server.upload(png(1))
        server.settle()
        for extra in ({}, {"DEEPLENS_S3_SECRET_KEY": SECRET, "DEEPLENS_S3_SESSION_TOKEN": "of-a-session-" + SECRET}):
            for json in ((), ("--json",)):
                shown = self.cli("doctor", *json, *minio.flags(), server=server, env={**minio.environment, **extra})
                self.assertNotIn(SECRET, shown.stdout + shown.stderr)
            self.assertIn("s3.secret_key", shown.stdout)  # all options are there
        self.assertNotIn(SECRET, server.log_text())
        server.stop()
        with self.assertRaises(RuntimeError) as refused:
            self.server(*minio.flags(), name="wrong", env={**minio.environment, "AWS_SECRET_ACCESS_KEY": "no" + SECRET})
        self.assertIn("SignatureDoesNotMatch", str(refused.exception))
        self.assertNotIn(SECRET, str(refused.exception))


def main():
    peer.had_or_skip("MinIO", fetch)
    unittest.main(verbosity=2)


if __name__ == "__main__":
    main()
