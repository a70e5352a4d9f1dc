# SPDX-License-Identifier: Apache-2.0
"""Models that services run (tests/peers/models.py: a FastAPI service with POST /extract-features, and MLServer): the whole
program with them, while they are killed, silent, not what they should be, and give what no model should."""
import json
import pathlib
import signal
import subprocess
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))

import harness
from harness import Case, png, png_of_rows, wait_until
import peer
from models import Features, V2, fetch

MODEL = "cells"
PNG = {"Content-Type": "image/png"}


class Remote(Case):
    make, remote = Features, {}

    def setUp(self):
        super().setUp()
        self.service = self.make_service()
        self.addCleanup(self.service.remove)
        self.service.start()
        self.models = pathlib.Path(self.scratch, "models")
        self.service.describe(self.models, MODEL, **self.remote)

    def make_service(self):
        return self.make()

    def serve(self, *flags):
        return self.server("--models-dir", str(self.models), "--model-default", MODEL, "--extractor-timeout", "10s", *flags)

    def check_found(self, server, ids):
        for seed, image in ids.items():
            found = server.request("POST", "/api/v1/search?topK=1", png(seed), PNG)
            self.assertEqual(found.status, 200, found.body)
            self.assertEqual(found.json["model"], MODEL)
            self.assertEqual([hit["imageId"] for hit in found.json["results"]], [image])
            self.assertGreater(found.json["results"][0]["score"], 0.999)

    def check_no_attempt_was_spent(self, server, ids):
        ledger = server.settle()
        self.assertEqual((ledger["searchable"], ledger["failed"], ledger["closes"]), (len(ids), 0, True))
        for image in ids.values():
            steps = server.wait_status(image, "completed")["processingSteps"]
            self.assertEqual({step["attempt"] for step in steps}, {1})

    def outage(self, server, *says):
        """Waits until readiness tells of it: the model itself, or the step that waits for it."""
        def told():
            answer = server.get("/readyz")
            text = answer.json["checks"]["models"] + answer.json["checks"]["extract"]
            return answer.status == 503 and all(word in text for word in (MODEL, *says))
        wait_until(told, "readiness says so")

    def well(self, server):
        wait_until(lambda: server.get("/readyz").status == 200, "it is well again")

    def command(self, *arguments) -> subprocess.CompletedProcess:
        return subprocess.run([harness.BINARY, *arguments, "--models-dir", str(self.models)], capture_output=True, text=True,
                              check=False, timeout=harness.PATIENCE)


class Everywhere:
    """What holds with either protocol."""

    def test_uploaded_is_found(self):
        server = self.serve()
        self.assertEqual(server.get("/readyz").json["checks"]["models"], "ok")
        ids = self.upload_all(server, range(12))
        server.settle()
        self.check_found(server, ids)
        known = {m["name"]: m for m in server.get("/api/v1/admin/models").json["models"]}
        self.assertEqual((known[MODEL]["dimension"], known[MODEL]["default"]), (192, True))

    def test_g6_a_service_that_is_killed_and_comes_again_loses_nothing(self):
        server = self.serve()
        ids = self.upload_all(server, range(6))
        server.settle()
        self.service.kill()
        ids.update(self.upload_all(server, range(6, 20)))
        self.outage(server, self.service.address)
        refused = server.request("POST", "/api/v1/search", png(1), PNG)
        self.assert_problem(refused, 503, "UNAVAILABLE", MODEL)
        self.service.start()
        self.check_no_attempt_was_spent(server, ids)
        self.well(server)
        self.check_found(server, ids)

    def test_g6_kills_in_the_middle_lose_nothing(self):
        server = self.serve()
        ids = {}
        for start in range(0, 30, 10):
            ids.update(self.upload_all(server, range(start, start + 10)))
            self.service.kill()
            self.service.start()
        server.kill()
        server.start()
        ledger = server.settle()
        self.assertEqual((ledger["searchable"], ledger["failed"], ledger["closes"]), (len(ids), 0, True))
        self.check_found(server, ids)

    def test_g6_a_service_that_is_silent_is_waited_for(self):
        server = self.serve("--extractor-timeout", "1s")
        self.service.process.send_signal(signal.SIGSTOP)
        ids = self.upload_all(server, range(4))
        self.outage(server)
        self.service.process.send_signal(signal.SIGCONT)
        ledger = server.settle()
        self.assertEqual((ledger["searchable"], ledger["failed"]), (len(ids), 0))
        self.check_found(server, ids)

    def test_it_starts_without_its_service(self):
        self.service.kill()
        server = self.serve()
        ids = self.upload_all(server, range(3))
        self.outage(server)
        server.stop()
        self.service.start()
        server.start()
        self.check_no_attempt_was_spent(server, ids)
        self.check_found(server, ids)

    def test_no_bad_vector_is_indexed(self):
        server = self.serve("--retry-attempts", "1", "--extractor-timeout", "2s")
        ids = self.upload_all(server, [100])
        server.settle()
        for seed, (kind, says) in enumerate(self.bad):
            with self.subTest(kind):
                self.service.behave(kind)
                image = server.upload(png(seed)).json["imageId"]
                status = server.wait_status(image, "failed")
                self.assertIn("Model " + MODEL, json.dumps(status))
                self.assertIn(says, json.dumps(status))
                self.service.behave()
        server.settle()
        again = self.upload_all(server, [200])
        server.settle()
        self.check_found(server, {**ids, **again})
        found = server.request("POST", "/api/v1/search?topK=100", png(100), PNG).json["results"]
        self.assertEqual({hit["imageId"] for hit in found}, {ids[100], again[200]})

    def test_commands(self):
        tried = self.command("models", "test", str(self.models / MODEL), "--json")
        self.assertEqual(tried.returncode, 0, tried.stderr)
        self.assertEqual((json.loads(tried.stdout)["name"], json.loads(tried.stdout)["dimension"]), (MODEL, 192))
        self.assertEqual(self.command("models", "bench", MODEL).returncode, 0)
        self.service.kill()
        refused = self.command("models", "test", MODEL)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn(MODEL, refused.stderr)


class OnFeatures(Everywhere, Remote):
    bad = (("short", "191 numbers instead of 192"), ("long", "193 numbers"), ("zero", "zero"), ("null", "no number"),
           ("words", "no number"), ("huge number", "no number"), ("nan", "cannot be read"), ("garbage", "cannot be read"),
           ("no features", "cannot be read"), ("huge", "larger than"), ("slow", "time"), ("400", "told to answer so"),
           ("422", "told to answer so"), ("500", "told to answer so"))

    def test_what_is_wrong_with_the_service_is_waited_for(self):
        self.service.describe(self.models, MODEL, version="v2.7")
        server = self.serve()
        ids = {}
        for seed, (kind, says) in enumerate((("503", "503"), ("429", "429"), ("404", "404"), ("401", "extractor.token"),
                                             ("not loaded", "loaded"), ("another version", "v9"))):
            with self.subTest(kind):
                self.service.behave(kind)
                ids.update(self.upload_all(server, [seed]))
                self.outage(server, says)
                self.service.behave()
                server.settle()
        self.check_no_attempt_was_spent(server, ids)
        self.check_found(server, ids)

    def test_the_breaker_spares_a_service_that_is_down(self):
        server = self.serve()
        ids = self.upload_all(server, range(3))
        server.settle()
        self.service.behave("503")
        asked = self.service.behave("503")["requests"]
        for _ in range(40):
            self.assertEqual(server.request("POST", "/api/v1/search", png(1), PNG).status, 503)
        self.assertLess(self.service.request("GET", "/behave")[1]["requests"] - asked, 40)
        self.service.behave()
        wait_until(lambda: server.request("POST", "/api/v1/search", png(1), PNG).status == 200, "searches go on")
        self.check_found(server, ids)


class OnV2(Everywhere, Remote):
    make = V2
    bad = (("short", "191 numbers instead of 1 x 192"), ("one too few", "cannot be read|numbers instead"), ("zero", "zero"),
           ("nan", "Model"), ("slow", "time"), ("fails", "500"))
    bad = tuple((kind, says.split("|")[-1]) for kind, says in bad)

    def test_an_unknown_model_is_waited_for(self):
        self.service.describe(self.models, MODEL, version="v9")
        server = self.serve()
        ids = self.upload_all(server, [1])
        self.outage(server, "v9")
        server.stop()
        self.service.describe(self.models, MODEL)
        server.start()
        self.check_no_attempt_was_spent(server, ids)


class WithAToken(Remote):
    def make_service(self):
        return Features(token="of-the-tests-0123456789")

    def test_the_token_is_sent_and_not_told(self):
        server = self.server("--models-dir", str(self.models), "--model-default", MODEL,
                             env={"DEEPLENS_EXTRACTOR_TOKEN": self.service.token})
        ids = self.upload_all(server, range(2))
        server.settle()
        self.check_found(server, ids)
        self.assertNotIn(self.service.token, server.log_text())


class KilledByAPicture(Remote):
    def make_service(self):
        return Features(dies_on_black=True)

    def test_a_picture_that_kills_the_service_holds_up_no_other(self):
        server = self.serve("--retry-attempts", "1")
        black = server.upload(png_of_rows(32, 32, (b"\0" + b"\0" * 96) * 32)).json["imageId"]
        ids = self.upload_all(server, range(10))
        over = threading.Event()

        def revive():
            while not over.wait(0.05):
                if self.service.process and self.service.process.poll() is not None:
                    self.service.start()

        reviver = threading.Thread(target=revive)
        reviver.start()
        try:
            status = server.wait_status(black, "failed")
            self.assertIn(MODEL, json.dumps(status))
            for image in ids.values():
                server.wait_status(image, "completed")
        finally:
            over.set()
            reviver.join()
        server.settle()
        self.check_found(server, ids)


if __name__ == "__main__":
    peer.had_or_skip("service that runs models", fetch)
    harness.main()
