# SPDX-License-Identifier: Apache-2.0
"""DeepLens among the services of others, on a real Kafka: their producers, their workers and their readers on either
side of its steps. The clients are confluent-kafka, kafka-clients and kcat (tests/peers/clients.py); the files are in
folders that storage.mounts names.
"""
import json
import os
import pathlib
import subprocess
import sys
import threading
import unittest
import uuid
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
for folder in ("tests/peers", "tests/schemas"):
    sys.path.insert(0, str(ROOT / folder))

import check
import clients
import harness
from harness import Case, Server, png, wait_until
from kafka import Kafka

UPLOADED, VIDEOS = "deeplens.images.uploaded", "deeplens.videos.uploaded"
EXTRACTION, INDEXING = "deeplens.features.extraction", "deeplens.vectors.indexing"
COMPLETED, FAILED = "deeplens.processing.completed", "deeplens.processing.failed"
MAINTENANCE, LETTERS = "deeplens.images.maintenance", "deeplens.processing.deadletter"
TENANT = "acme-corp"
DIMENSION = 512  # of the built-in model


def new_id(prefix="img") -> str:
    return f"{prefix}_{uuid.uuid4()}"


def envelope(image_id, path, **more) -> dict:
    """As the document of the pipeline has it."""
    data = {"imageId": image_id, "fileName": "product.png", "filePath": path, "fileSize": 4096, "contentType": "image/png",
            "uploadedBy": "user_john_doe", "metadata": {"width": 160, "height": 120, "format": "PNG", "colorProfile": "sRGB",
                                                        "originalFileName": "product-shot.png"}}
    data.update(more.pop("data", {}))
    return {"eventId": new_id("evt"), "eventType": "image.uploaded", "eventVersion": "1.0", "timestamp": "2026-01-14T10:30:00Z",
            "tenantId": TENANT, "data": data,
            "processingOptions": {"priority": "normal", "skipDuplicateCheck": False, "generateThumbnail": True}, **more}


def flat(image_id, path, **more) -> dict:
    """As the document of the topics has it."""
    return {"imageId": image_id, "tenantId": TENANT, "fileName": "photo.png", "storagePath": path, "mimeType": "image/png",
            "sizeBytes": 4096, "uploadedAt": "2026-01-14T10:30:00Z",
            "metadata": {"width": 160, "height": 120, "format": "PNG"}, **more}


def text(event) -> bytes:
    return json.dumps(event).encode()


class Among(Case):
    """A broker, a server on it that knows the others' folders, and their clients, for all tests of a class."""

    FLAGS = ()

    @classmethod
    def setUpClass(cls):
        import tempfile
        folder = tempfile.TemporaryDirectory(prefix="deeplens-interop-")
        cls.addClassCleanup(folder.cleanup)
        cls.place = pathlib.Path(folder.name)
        cls.kafka = Kafka(cls.place / "kafka")
        cls.addClassCleanup(cls.kafka.remove)
        cls.kafka.start()
        for name in ("minio", "shared", "azure"):
            (cls.place / name).mkdir()
        mounts = f"minio://{TENANT}={cls.place}/minio,s3://photos={cls.place}/minio,/storage={cls.place}/shared," \
                 f"azure_blob://{TENANT}-images={cls.place}/azure"
        cls.server = Server(cls.place / "data", "--eventlog-backend", "kafka", "--kafka-brokers", cls.kafka.address,
                            "--storage-mounts", mounts, "--retry-base", "50ms", *cls.FLAGS)
        cls.addClassCleanup(cls.server.stop)
        cls.server.start()
        cls.server.post_json("/api/v1/admin/tenants", {"name": TENANT})
        cls.producers = {}
        for name, client in clients.PRODUCERS.items():
            cls.producers[name] = client(cls.kafka.address)
            cls.addClassCleanup(cls.producers[name].close)

    def put(self, name, seed):
        path = self.place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(seed))

    def found(self, seed) -> list:
        answer = self.server.request("POST", "/api/v1/search?topK=100", png(seed),
                                     {"Content-Type": "image/png", "X-Tenant-Id": TENANT})
        return [hit["imageId"] for hit in answer.json["results"]]

    def ends_in_search(self, image_id, seed):
        self.server.wait_status(image_id, "completed", tenant=TENANT)
        self.assertEqual(self.found(seed)[0], image_id)

    def letters(self, count) -> list:
        """The dead letters, of which there are to be so many."""
        return clients.consume(self.kafka.address, [LETTERS], lambda records: len(records) >= count)

    def check_ledger(self, **wanted):
        ledger = self.server.settle()
        self.assertTrue(ledger["closes"], ledger)
        for name, value in wanted.items():
            self.assertEqual(ledger[name], value, ledger)


class Producers(Among):
    def test_an_upload_of_others_is_found(self):
        """Every client, either form, each way to say where the file is."""
        shared = f"/storage/tenant-{TENANT}/images/2025/11/28"
        ways = [("envelope", f"minio://{TENANT}/images/photo 1.png", "minio/images/photo 1.png", {}),
                ("flat", "s3://photos/2.png", "minio/2.png", {}),
                ("envelope", f"{shared}/img_98765432.png", f"shared/tenant-{TENANT}/images/2025/11/28/img_98765432.png", {}),
                ("flat", f"{shared}/4.png", f"shared/tenant-{TENANT}/images/2025/11/28/4.png", {}),
                ("envelope", "https://cdn.example/5.png", "azure/2025/11/28/5.png",
                 {"data": {"storageProvider": {"type": "azure_blob", "containerName": f"{TENANT}-images",
                                               "blobName": "2025/11/28/5.png"}}})]
        sent, seed = [], 0
        for name, producer in self.producers.items():
            for form, path, file, more in ways:
                seed += 1
                self.put(file + f".{seed}", seed)
                if more:
                    more = {"data": {"storageProvider": {**more["data"]["storageProvider"], "blobName": f"2025/11/28/5.png.{seed}"}}}
                image_id = new_id()
                event = (envelope if form == "envelope" else flat)(image_id, path + f".{seed}", **more)
                producer.produce(UPLOADED, image_id, text(event))
                sent.append((name, form, path, image_id, seed))
        for name, form, path, image_id, seed in sent:
            with self.subTest(client=name, form=form, path=path):
                self.ends_in_search(image_id, seed)
        item = self.server.get(f"/api/v1/images/{sent[0][3]}", X_Tenant_Id=TENANT).json
        self.assertEqual((item["fileName"], item["uploadedBy"]), ("product.png", "user_john_doe"))
        self.assertEqual(item["metadata"], {"colorProfile": "sRGB"})
        self.assertEqual(item["uploadedAt"], "2026-01-14T10:30:00.000Z")
        thumbnail = self.server.get(f"/api/v1/images/{sent[0][3]}/thumbnail", X_Tenant_Id=TENANT)
        wait_until(lambda: self.server.get(f"/api/v1/images/{sent[0][3]}/thumbnail", X_Tenant_Id=TENANT).status == 200,
                   "its thumbnail is there")
        # Deleted here, their file stays theirs, and the event that comes again makes nothing.
        gone, seed = sent[0][3], sent[0][4]
        self.assertEqual(self.server.request("DELETE", f"/api/v1/images/{gone}", headers={"X-Tenant-Id": TENANT}).status, 202)
        self.server.settle()
        self.assertTrue((self.place / f"minio/images/photo 1.png.{seed}").exists())
        self.producers["kcat"].produce(UPLOADED, gone, text(envelope(gone, f"minio://{TENANT}/images/photo 1.png.{seed}")))
        self.server.settle()
        self.assertNotIn(gone, self.found(seed))
        self.check_ledger(accepted=len(sent), searchable=len(sent) - 1, deleted=1, failed=0)

    def test_keys_land_where_javas_do(self):
        self.server.post_json("/api/v1/admin/topics", {"name": "keys", "partitions": 7})
        for key in ("a", "img_1", "1234567890@s.whatsapp.net", "ключ", "鍵", new_id(), new_id(), new_id()):
            places = {name: self.producers[name].produce("keys", key, b"{}")[0] for name in ("kafka-clients", "confluent-kafka")}
            ours = self.server.post_json("/api/v1/admin/topics/keys/records", {"key": key, "value": {}})
            self.assertIn(ours.status, (200, 201), ours.body)
            mine = [r["partition"] for r in self.server.records("keys") if r["key"] == key]
            self.assertEqual(len(mine), 3)
            self.assertEqual(set(mine), {places["kafka-clients"]}, key)
            self.assertEqual(places["kafka-clients"], places["confluent-kafka"], key)

    def test_g5_what_cannot_be_read_ends_as_it_came(self):
        """Garbage of every kind from every client, in front of a good event of the same key."""
        self.put("minio/good.png", 1000)
        good = f"minio://{TENANT}/good.png"
        big = b'{"imageId":"img_big","tenantId":"' + TENANT.encode() + b'","storagePath":"/a","pad":"' + b"x" * (20 << 20) + b'"}'
        poison = [("garbage", UPLOADED, bytes(range(256)) * 4, "EVENT_INVALID", "JSON"),
                  ("no object", EXTRACTION, b"[1,2,3]", "EVENT_INVALID", "no JSON object"),
                  ("wrong type", UPLOADED, b'{"imageId":7,"storagePath":"/a"}', "EVENT_INVALID", "imageId must be a string"),
                  ("wrong type of a vector", INDEXING, b'{"imageId":"img_1","vectors":"many"}', "EVENT_INVALID", "vectors"),
                  ("truncated", UPLOADED, text(envelope(new_id(), good))[:-20], "EVENT_INVALID", "JSON"),
                  ("empty", FAILED, b" ", "EVENT_INVALID", "JSON"),
                  ("too large", UPLOADED, big, "EVENT_INVALID", "more than"),
                  ("unknown tenant", UPLOADED, text({**flat(new_id(), good), "tenantId": "nobody"}), "TENANT_UNKNOWN", "nobody"),
                  ("unknown tenant of a request", EXTRACTION,
                   text({"imageId": new_id(), "tenantId": "nobody", "preprocessedPath": good,
                         "extractionParams": {"model": "builtin"}}), "TENANT_UNKNOWN", "nobody"),
                  ("unknown model", UPLOADED, text({**flat(new_id(), good), "processingOptions": {"models": ["resnet50"]}}),
                   "MODEL_UNKNOWN", "resnet50"),
                  ("unknown model of a vector", INDEXING,
                   text({"imageId": new_id(), "tenantId": TENANT, "modelName": "resnet50", "vectors": [1, 0]}),
                   "MODEL_UNKNOWN", "resnet50"),
                  ("a way out", UPLOADED, text(flat(new_id(), f"minio://{TENANT}/../shared/x.png")), "INVALID_REQUEST", "no file"),
                  ("another's file", UPLOADED, text(flat(new_id(), "/storage/tenant-other/x.png")), "NOT_FOUND", "no file of tenant"),
                  ("no file", UPLOADED, text(flat(new_id(), f"minio://{TENANT}/none.png", retryPolicy={"maxAttempts": 1})), "NOT_FOUND", "none.png")]
        expected, last, accepted = {}, [], self.server.settle()["accepted"]
        for client, producer in self.producers.items():
            for what, topic, value, code, says in poison:
                key = f"{client}-{what}"
                producer.produce(topic, key, value, {"x-origin": client})
                expected[key] = (client, topic, value, code, says)
                if topic == UPLOADED:  # the partition moves on
                    image_id = new_id()
                    producer.produce(topic, key, text(flat(image_id, good)))
                    last.append(image_id)
        for image_id in last:
            self.server.wait_status(image_id, "completed", tenant=TENANT)
        self.check_ledger(accepted=accepted + len(last), inFlight=0)
        letters = {key: (value, headers) for _, key, value, headers in self.letters(len(expected)) if key in expected}
        self.assertEqual(set(letters), set(expected))
        for key, (client, topic, value, code, says) in expected.items():
            with self.subTest(key):
                got, headers = letters[key]
                self.assertTrue(got == value, "the bytes are others")
                self.assertEqual(headers["__dlq.errors.topic"], topic)
                self.assertEqual(headers["__dlq.errors.code"], code)
                self.assertIn(says, headers["__dlq.errors.message"])
                self.assertEqual(headers["x-origin"], client)


def vector_of(picture: bytes) -> list:
    """What a model of others might say of a picture: not ours, and no two pictures alike."""
    sums = [0.0] * DIMENSION
    for at in range(0, len(picture) - 4, 4):
        sums[zlib.crc32(picture[at:at + 4]) % DIMENSION] += 1
    length = sum(value * value for value in sums) ** 0.5
    return [value / length for value in sums]


class Extractor(threading.Thread):
    """A feature extractor in Python, as another team would write it: it knows the topics and a folder. Each item fails
    `failures` times."""

    def __init__(self, address, storage, failures=0):
        super().__init__()
        import confluent_kafka
        self.failures, self.asked = failures, {}
        self.storage, self.done, self.stop_asked, self.trouble = storage, [], threading.Event(), None
        self.consumer = confluent_kafka.Consumer({"bootstrap.servers": address, "group.id": "python-feature-extraction",
                                                  "auto.offset.reset": "earliest", "enable.auto.commit": False})
        self.producer = confluent_kafka.Producer({"bootstrap.servers": address, "enable.idempotence": True})

    def failure(self, data) -> dict:
        """As the document of the topics has it."""
        return {"imageId": data["imageId"], "tenantId": TENANT, "status": "failed",
                "error": {"code": "EXTRACTION_TIMEOUT", "message": "Feature extraction timed out after 60 seconds",
                          "stackTrace": "...", "retryable": True},
                "failedAt": "2026-01-14T10:31:00Z", "attemptNumber": self.asked[data["imageId"]]}

    def answer(self, request: dict) -> dict:
        data = request["data"]
        assert data["imagePath"].startswith("/storage/")
        picture = (self.storage / data["imagePath"][len("/storage/"):]).read_bytes()
        known = ("eventId", "eventType", "timestamp", "data", "retryPolicy")
        return {**{name: value for name, value in request.items() if name not in known},
                "eventId": new_id("evt"), "eventType": "vector.indexing.requested", "timestamp": "2026-01-14T10:30:04Z",
                "data": {"imageId": data["imageId"], "modelName": data["modelName"], "featureVector": vector_of(picture),
                         "vectorMetadata": {"extractionTime": "2026-01-14T10:30:03Z", "processingTimeMs": 2150,
                                            "modelVersion": "v2.7", "confidence": 0.98},
                         **{name: value for name, value in data.items() if name in ("campaign",)}}}

    def run(self):
        try:
            self.consumer.subscribe([EXTRACTION])
            while not self.stop_asked.is_set():
                message = self.consumer.poll(0.1)
                if message is None or message.error():
                    continue
                request = json.loads(message.value())
                item = request["data"]["imageId"]
                self.asked[item] = self.asked.get(item, 0) + 1
                if self.asked[item] <= self.failures:
                    self.producer.produce(FAILED, text(self.failure(request["data"])), message.key())
                else:
                    self.producer.produce(INDEXING, text(self.answer(request)), message.key())
                self.producer.flush(clients.PATIENCE)
                self.consumer.commit(message, asynchronous=False)
                self.done.append(request)
        except Exception as error:  # seen by the test
            self.trouble = error
        finally:
            self.consumer.close()

    def stop(self):
        self.stop_asked.set()
        self.join()


class Workers(Among):
    FLAGS = ("--roles", "api,image,index,maintenance")

    def test_a_worker_of_others_extracts(self):
        """Uploads of ours and of others, through an extractor that is not ours, end in search; what nobody here knows
        goes along to the end."""
        worker = Extractor(self.kafka.address, self.place / "data/storage")
        worker.start()
        self.addCleanup(worker.stop)
        ours = [(self.server.upload(png(seed), TENANT).json["imageId"], seed) for seed in range(2000, 2010)]
        theirs = []
        for seed, (name, producer) in enumerate(self.producers.items(), 2010):
            self.put(f"minio/{seed}.png", seed)
            event = envelope(image_id := new_id(), f"minio://{TENANT}/{seed}.png", traceId="trace-7", deep={"a": [1, None, "x"]},
                             data={"campaign": {"id": 42}})
            producer.produce(UPLOADED, image_id, text(event))
            theirs.append((image_id, seed))
        for image_id, seed in ours + theirs:
            self.server.wait_status(image_id, "completed", tenant=TENANT)
            hits = self.server.search(TENANT, vector=vector_of(png(seed)), topK=3).json["results"]
            self.assertEqual(hits[0]["imageId"], image_id)
            self.assertAlmostEqual(hits[0]["score"], 1, 4)
        self.assertIsNone(worker.trouble)
        self.check_ledger(accepted=len(ours + theirs), searchable=len(ours + theirs), failed=0)
        self.assertNotIn("deeplens-feature-extraction", self.server.lags())
        ids = [image_id for image_id, _ in theirs]
        for topic in (EXTRACTION, INDEXING, COMPLETED):
            events = [record["value"] for record in self.server.records(topic) if record["key"] in ids]
            self.assertEqual(len(events), len(ids))
            for event in events:
                self.assertEqual((event["traceId"], event["deep"]), ("trace-7", {"a": [1, None, "x"]}), topic)
                self.assertEqual(event["data"]["campaign"], {"id": 42}, topic)

    def test_g2_what_a_worker_of_others_fails_at_is_tried_again(self):
        worker = Extractor(self.kafka.address, self.place / "data/storage", failures=1)
        worker.start()
        self.addCleanup(worker.stop)
        ours = [self.server.upload(png(seed), TENANT).json["imageId"] for seed in range(2100, 2103)]
        for image_id in ours:
            steps = self.server.wait_status(image_id, "completed", tenant=TENANT)["processingSteps"]
            retry = next(step for step in steps if step["step"] == "retry")
            self.assertEqual((retry["attempt"], retry["status"]), (1, "completed"))
            self.assertIn("timed out", retry["error"])
        self.assertIsNone(worker.trouble)
        self.assertEqual(worker.asked, dict.fromkeys(ours, 2))
        self.assertEqual(self.letters(0), [])
        self.check_ledger(failed=0, inFlight=0)

    def test_what_nobody_else_can_do_is_not_left_out(self):
        for roles, flags, says in (("image,extract,index", self.server.flags, "leaves out api"),
                                   ("api,index,maintenance", (), "eventlog.backend = kafka"),
                                   ("api,vidoe", (), '"vidoe" is none of')):
            kept = [flag for flag in flags if flag not in ("--roles", *self.FLAGS)]
            result = self.cli("serve", "--data-dir", os.path.join(self.scratch, "data"), "--http-listen", "127.0.0.1:0",
                              *kept, "--roles", roles)
            self.assertEqual(result.returncode, 1)
            self.assertIn(says, result.stderr)


class Readers(Case):
    def test_events_are_as_the_schemas_say(self):
        """Every topic in either form, read by another's client and held against schemas/*.json."""
        schemas = check.Events(ROOT)
        kafka = Kafka(os.path.join(self.scratch, "kafka"))
        self.addCleanup(kafka.remove)
        kafka.start()
        topics = [UPLOADED, VIDEOS, EXTRACTION, INDEXING, COMPLETED, FAILED, MAINTENANCE]
        seen = set()
        for form, flags in (("envelope", ()), ("flat", ("--events-format", "flat", "--events-ids", "bare"))):
            server = self.server("--eventlog-backend", "kafka", "--kafka-brokers", kafka.address, *flags,
                                 "--fault", "extractor.extract:EXTRACTION_FAILED@1", "--retry-base", "20ms")
            image_id = server.upload(png(1)).json["imageId"]
            video = server.request("POST", "/api/v1/videos/upload?fileName=film.mp4", self.film(64 if flags else 80),
                                   {"Content-Type": "application/octet-stream"})
            self.assertEqual(video.status, 202, video.body)
            server.settle()
            server.request("DELETE", f"/api/v1/images/{image_id}")
            server.settle()
            server.stop()
            count = sum(int(p["end"]) for p in self.partitions(kafka, topics))
            records = clients.consume(kafka.address, topics, lambda r, want=count: len(r) >= want)
            for topic, key, value, headers in records:
                event = json.loads(value)
                if ("data" in event) != (form == "envelope"):
                    continue  # of the run before
                self.assertEqual(schemas.wrong(topic, form, event), [])
                self.assertIn(headers["ce_type"], topic_types(schemas, topic))
                self.assertTrue(headers["ce_id"].startswith("evt_"))
                said = event.get("data") or event
                said = said["videoId"] if "videoId" in said and "imageId" not in said else said["imageId"]
                self.assertEqual(key.split("_")[-1], said.split("_")[-1])
                seen.add((topic, form))
        self.assertEqual({(topic, form) for topic in topics for form in ("envelope", "flat")}, seen)

    def film(self, width) -> bytes:
        path = os.path.join(self.scratch, f"{width}.mp4")
        subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", f"testsrc2=d=1:s={width}x48:r=10", "-c:v", "libx264",
                        "-pix_fmt", "yuv420p", path], check=True, timeout=harness.PATIENCE)
        return pathlib.Path(path).read_bytes()

    def partitions(self, kafka, topics):
        for topic in topics:
            answer = self.cli("topics", "describe", topic, "--json", "--eventlog-backend", "kafka", "--kafka-brokers", kafka.address)
            yield from json.loads(answer.stdout)["partitions"]


def topic_types(schemas, topic) -> list:
    found = schemas.schemas[topic]["$defs"]["envelope"]["properties"]["eventType"]
    return [found["const"]] if "const" in found else found["enum"]


if __name__ == "__main__":
    clients.enter()
    harness.main()
