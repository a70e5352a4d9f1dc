# SPDX-License-Identifier: Apache-2.0
"""The real server with the real default model, as `make models` installs it."""
import json
import os
import pathlib
import signal

import harness
from harness import png, wait_until

MODEL = "efficientnet-lite0"
SHARE = pathlib.Path(os.environ.get("XDG_DATA_HOME") or pathlib.Path.home() / ".local" / "share") / "deeplens"


def workers(server) -> list:
    """The processes that run the server's models."""
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rsplit(")", 1)[1].split()[:2]
        except OSError:
            continue
        if parent == str(server.process.pid) and state != "Z":
            found.append(int(stat.parent.name))
    return found


class Models(harness.Case):
    def start(self, *flags):
        self.assertTrue((SHARE / "models" / MODEL / "model.json").exists(), "`make models` gets what this test needs")
        return self.server("--models-dir", str(SHARE / "models"), "--openvino-dir", str(SHARE / "openvino"), *flags)

    def test_pictures_are_found_by_the_default_model(self):
        with self.start() as server:
            names = {m["name"]: m for m in server.get("/api/v1/admin/models").json["models"]}
            self.assertTrue(names[MODEL]["default"])
            ids = [server.upload(png(seed)).json["imageId"] for seed in range(6)]
            for image in ids:
                server.wait_status(image, "completed")
            answer = server.search(imageId=ids[0], topK=3).json
            self.assertEqual(answer["model"], MODEL)
            self.assertEqual(len(answer["results"]), 3)
            found = server.request("POST", "/api/v1/search", png(3), {"Content-Type": "image/png"}).json["results"][0]
            self.assertEqual(found["imageId"], ids[3])
            self.assertGreater(found["score"], 0.999)
            self.assertEqual(server.get("/api/v1/images/" + ids[0]).json["models"], [MODEL])

    def test_several_models_and_unknown_ones(self):
        with self.start() as server:
            options = json.dumps({"models": [MODEL, "builtin"]})
            image = server.upload_form(png(1), processingOptions=options).json["imageId"]
            server.wait_status(image, "completed")
            for model in (MODEL, "builtin"):
                self.assertEqual(server.search(imageId=image, model=model).status, 200)
            refused = server.upload_form(png(2), processingOptions='{"models": ["resnet50"]}')
            self.assert_problem(refused, 422, "MODEL_UNKNOWN", MODEL)

    def test_g2_a_model_that_dies_takes_nothing_with_it(self):
        with self.start() as server:
            before = workers(server)
            self.assertTrue(before)
            ids = []
            for seed in range(30):
                ids.append(server.upload(png(seed)).json["imageId"])
                if seed % 10 == 5:
                    for pid in workers(server):
                        os.kill(pid, signal.SIGKILL)
            for image in ids:
                server.wait_status(image, "completed")
            ledger = server.get("/api/v1/admin/ledger").json
            self.assertEqual((ledger["searchable"], ledger["failed"]), (30, 0))
            self.assertFalse(set(before) & set(workers(server)))

    def test_models_end_with_the_server_however_it_ends(self):
        server = self.start()
        left = workers(server)
        self.assertTrue(left)
        server.kill()
        wait_until(lambda: not any(pathlib.Path(f"/proc/{pid}").exists() for pid in left), "the models' end")

    def test_without_openvino_it_starts_and_says_what_to_do(self):
        with self.server("--models-dir", str(SHARE / "models"), "--openvino-dir", "/nonexistent") as server:
            self.assertEqual([m["name"] for m in server.get("/api/v1/admin/models").json["models"]], ["builtin"])
            self.assertIn("make models", server.log_text())
            image = server.upload(png(1)).json["imageId"]
            server.wait_status(image, "completed")

    def test_two_networks_in_bfloat16(self):
        second = "efficientnet-lite2"
        with self.start("--models-precision", "bf16") as server:
            known = {m["name"]: m for m in server.get("/api/v1/admin/models").json["models"]}
            options = json.dumps({"models": [MODEL, second]})
            ids = [server.upload_form(png(seed), processingOptions=options).json["imageId"] for seed in range(4)]
            for image in ids:
                server.wait_status(image, "completed")
            for model in (MODEL, second):
                self.assertEqual(known[model]["precision"], "bf16")
                self.assertTrue(known[model]["version"].endswith("-bf16"))
                found = server.request("POST", f"/api/v1/search?model={model}", png(2), {"Content-Type": "image/png"}).json
                self.assertEqual((found["model"], found["results"][0]["imageId"]), (model, ids[2]))

    def test_models_are_added_shown_and_removed(self):
        mine = pathlib.Path(self.scratch, "mine")
        where = ("--models-dir", str(mine), "--openvino-dir", str(SHARE / "openvino"))

        def models(*arguments, server=None):
            return self.cli("models", *arguments, *(() if server else where), server=server)

        added = models("add", str(SHARE / "models" / MODEL), "--json")
        self.assertEqual((added.returncode, json.loads(added.stdout)["name"]), (0, MODEL), added.stderr)
        twice = models("add", str(SHARE / "models" / MODEL))
        self.assertEqual(twice.returncode, 1)
        self.assertIn("already", twice.stderr)
        bench = json.loads(models("bench", MODEL, "--json").stdout)
        self.assertGreater(bench["picturesPerSecond"], 0)
        with self.server(*where) as server:
            tried = json.loads(models("test", MODEL, "--json").stdout)
            shown = json.loads(models("show", MODEL, "--json", server=server).stdout)
            self.assertEqual((shown["name"], shown["dimension"], shown["licence"]),
                             (MODEL, tried["dimension"], "Apache-2.0"))
            self.assertEqual(models("show", "resnet50", server=server).returncode, 1)
            self.assertIn(MODEL, models("list", server=server).stdout)

        added = models("add", str(SHARE / "models" / "words"), "--json")
        self.assertEqual((added.returncode, json.loads(added.stdout)["dimension"]), (0, 384), added.stderr)
        self.assertEqual(models("remove", "words").returncode, 0)

        network = next(mine.glob(MODEL + "/*int8*.onnx"))
        network.write_bytes(network.read_bytes()[:100000])
        broken = models("test", MODEL)
        self.assertEqual(broken.returncode, 2)
        self.assertIn("truncated", broken.stderr)
        self.assertEqual(models("remove", "../" + MODEL).returncode, 2)
        self.assertEqual(models("remove", MODEL).returncode, 0)
        self.assertEqual(list(mine.iterdir()), [])

    def test_tenants_choose(self):
        with self.start("--tenants-auto-create") as server:
            server.upload(png(1), tenant="shop")
            chosen = server.request("PUT", "/api/v1/admin/models/default",
                                    json.dumps({"model": "builtin", "tenantId": "shop"}).encode())
            self.assertEqual(chosen.status, 200)
            image = server.upload(png(2), tenant="shop").json["imageId"]
            server.wait_status(image, "completed", tenant="shop")
            self.assertEqual(server.search(tenant="shop", imageId=image).json["model"], "builtin")
            other = server.upload(png(3)).json["imageId"]
            server.wait_status(other, "completed")
            self.assertEqual(server.search(imageId=other).json["model"], MODEL)


if __name__ == "__main__":
    harness.main()
