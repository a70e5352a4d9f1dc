# SPDX-License-Identifier: Apache-2.0
"""Search by words with the real models, as `make models` installs them, over photos whose class is known: those that PyPI's
scikit-image ships (fetched once, pinned, into ${XDG_CACHE_HOME:-~/.cache}/deeplens)."""
import fcntl
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.parse
import zipfile

import harness
from harness import png

SHARE = pathlib.Path(os.environ.get("XDG_DATA_HOME") or pathlib.Path.home() / ".local" / "share") / "deeplens"
WHEEL = "scikit_image-0.26.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl"
DIGEST = "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af"
QUERIES = {  # text → what must be the first hit
    "a cat": {"chelsea.png"}, "a cup of coffee": {"coffee.png"}, "a motorcycle": {"motorcycle_left.png", "motorcycle_right.png"},
    "a kitten on a sofa": {"chelsea.png"}, "hot drink": {"coffee.png"}, "rocket launch": {"rocket.jpg"},
}


def photos() -> dict:
    """Name → bytes of scikit-image's pictures."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "deeplens"
    cache.mkdir(parents=True, exist_ok=True)
    wheel = cache / WHEEL
    with open(cache / "scikit-image.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not wheel.exists():
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps",
                                "--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp", "--abi", "cp311",
                                "--platform", "manylinux_2_28_x86_64", "--platform", "manylinux_2_24_x86_64",
                                "scikit-image==0.26.0", "-d", folder], check=True)
                os.replace(pathlib.Path(folder, WHEEL), wheel)
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != DIGEST:
        raise RuntimeError(f"{wheel} is not what it should be")
    with zipfile.ZipFile(wheel) as archive:
        return {name.rsplit("/", 1)[1]: archive.read(name) for name in archive.namelist()
                if name.startswith("skimage/data/") and name.endswith((".png", ".jpg"))}


# A pair in the layout that Immich publishes, which knows colours: of a picture the mean of each channel, of a text the mean of
# what its tokens stand for. argv: the folder, the folder of a tokenizer (clip.json).
PAIR = """
import json, pathlib, shutil, sys
import numpy
from onnx import TensorProto, helper, numpy_helper
folder, tokenizers = map(pathlib.Path, sys.argv[1:])
def save(path, nodes, inputs, outputs, constants):
    path.parent.mkdir(parents=True)
    graph = helper.make_graph(nodes, "half", inputs, outputs, constants)
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
embedding = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 3])]
save(folder / "visual/model.onnx", [helper.make_node("ReduceMean", ["image"], ["embedding"], axes=[2, 3], keepdims=0)],
     [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 8, 8])], embedding, [])
table = numpy.zeros((19, 3), numpy.float32)
table[7, 0] = table[14, 1] = table[15, 2] = 1  # dog: red, 1: green, 2: blue
table[:, :] += 1e-3
save(folder / "textual/model.onnx", [helper.make_node("Gather", ["table", "text"], ["looked_up"]),
                                     helper.make_node("ReduceMean", ["looked_up"], ["embedding"], axes=[1], keepdims=0)],
     [helper.make_tensor_value_info("text", TensorProto.INT32, [1, 12])], [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, 3])],
     [numpy_helper.from_array(table, "table")])
shutil.copy(tokenizers / "clip.json", folder / "textual/tokenizer.json")
(folder / "textual/tokenizer_config.json").write_text('{"pad_token": "<|endoftext|>"}')
(folder / "visual/preprocess_cfg.json").write_text('{"size": [8, 8], "mean": [0, 0, 0], "std": [1, 1, 1], "resize_mode": "squash"}')
(folder / "config.json").write_text('{"embed_dim": 3, "text_cfg": {"context_length": 12}}')
"""


class Words(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.photos = photos()

    def start(self):
        self.assertTrue((SHARE / "models/words/model.json").exists(), "`make models` gets what this test needs")
        return self.server("--models-dir", str(SHARE / "models"), "--openvino-dir", str(SHARE / "openvino"))

    def fill(self, server) -> dict:
        """Uploads all of them; gives their ids by name."""
        ids = {name: server.upload_form(data, name).json["imageId"] for name, data in self.photos.items()}
        ledger = server.settle()
        self.assertEqual((ledger["searchable"], ledger["failed"]), (len(ids), 0))
        return ids

    def names(self, answer) -> list:
        self.assertEqual(answer.status, 200, answer.body)
        return [hit["fileName"] for hit in answer.json["results"]]

    def test_words_find_what_pictures_show(self):
        with self.start() as server:
            ids = self.fill(server)
            for text, wanted in QUERIES.items():
                with self.subTest(text=text):
                    answer = server.search(text=text, topK=10)
                    self.assertEqual(answer.json["model"], "words")
                    self.assertIn(self.names(answer)[0], wanted)
                    by_query = server.get("/api/v1/search?topK=10&text=" + urllib.parse.quote(text))
                    self.assertEqual(by_query.json["results"], answer.json["results"])

            # Pictures and words in one query, and away from words.
            self.assertEqual(self.names(server.search(imageId=ids["coffee.png"], model="words", terms=[{"text": "a cat", "weight": 2}]))[0],
                             "chelsea.png")
            form, kind = harness.multipart([("model", "words"), ("topK", "1")], ("q.png", self.photos["chelsea.png"]))
            self.assertEqual(self.names(server.request("POST", "/api/v1/search", form, {"Content-Type": kind})), ["chelsea.png"])
            last = self.names(server.search(text="an object", terms=[{"text": "a cat", "weight": -1}], topK=100))
            self.assertNotIn("chelsea.png", last[:len(last) // 2])

            # Automatic tags: shown, and to filter by.
            item = server.get("/api/v1/images/" + ids["coffee.png"]).json
            self.assertIn("espresso", [tag["name"] for tag in item["autoTags"]])
            self.assertTrue(all(0.1 <= tag["score"] <= 1 for tag in item["autoTags"]))
            self.assertIn("coffee.png", self.names(server.search(text="anything", filter={"autoTags": "espresso"})))
            self.assertNotIn("chelsea.png", self.names(server.search(text="anything", filter={"autoTags": "espresso"})))

            done = self.cli("search", "--text", "a cat", "--top", "1", "--json", server=server)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(json.loads(done.stdout)["results"][0]["fileName"], "chelsea.png")
            done = self.cli("search", "--text", "a cat", "--without", "coffee", server=server)
            self.assertIn("chelsea.png", done.stdout)

            # A picture that is deleted is found no more.
            self.assertEqual(server.request("DELETE", "/api/v1/images/" + ids["chelsea.png"]).status, 202)
            server.settle()
            self.assertNotIn("chelsea.png", self.names(server.search(text="a cat", topK=100)))

    def test_pairs_compare_texts_and_pictures_themselves(self):
        models = pathlib.Path(self.scratch, "models")
        tokenizers = pathlib.Path(__file__).resolve().parent.parent / "fuzz/seeds/tokenizer"
        cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "deeplens"
        subprocess.run([cache / "models/venv/bin/python", "-c", PAIR, str(models / "Colours"), str(tokenizers)], check=True)
        with self.server("--models-dir", str(models), "--openvino-dir", str(SHARE / "openvino"), "--model-default", "colours") as server:
            colours = {"red": b"\xff\0\0", "green": b"\0\xff\0", "blue": b"\0\0\xff"}
            for name, pixel in colours.items():
                picture = harness.png_of_rows(16, 16, (b"\0" + pixel * 16) * 16)
                server.wait_status(server.upload_form(picture, name).json["imageId"], "completed")
            for text, wanted in (("dog", "red"), ("a 1", "green"), ("2 2!", "blue")):
                answer = server.search(text=text)
                self.assertEqual(answer.json["model"], "colours")
                self.assertEqual(self.names(answer)[0], wanted)
            mixed = server.search(terms=[{"text": "1"}, {"text": "2", "weight": 0.5}, {"text": "dog", "weight": -1}])
            self.assertEqual(self.names(mixed), ["green", "blue", "red"])
            form, kind = harness.multipart([("text", "1"), ("terms", '[{"text": "2", "weight": -1}]')],
                                           ("q.png", harness.png_of_rows(16, 16, (b"\0" + colours["red"] * 16) * 16)))
            found = self.names(server.request("POST", "/api/v1/search", form, {"Content-Type": kind}))
            self.assertEqual((set(found[:2]), found[2]), ({"red", "green"}, "blue"))

    def test_what_cannot_be(self):
        with self.start() as server:
            image = server.upload(png(1)).json["imageId"]
            server.wait_status(image, "completed")
            for members, status, code in (
                    ({"text": ""}, 400, "INVALID_REQUEST"), ({"text": 3}, 400, "INVALID_REQUEST"),
                    ({"text": "x" * 5000}, 400, "INVALID_REQUEST"), ({"text": "a cat", "model": "builtin"}, 400, "INVALID_REQUEST"),
                    ({"terms": {}}, 400, "INVALID_REQUEST"), ({"terms": []}, 400, "INVALID_REQUEST"),
                    ({"terms": [{"text": "a", "imageId": image}]}, 400, "INVALID_REQUEST"),
                    ({"terms": [{"text": "a", "weight": 0}]}, 400, "INVALID_REQUEST"),
                    ({"terms": [{"text": "a", "weigth": 1}]}, 400, "INVALID_REQUEST"),
                    ({"terms": [{"text": "a"}] * 17}, 400, "INVALID_REQUEST"),
                    ({"text": "a cat", "vector": [1] * 7}, 422, "INVALID_VECTOR")):
                with self.subTest(members=str(members)[:80]):
                    self.assert_problem(server.search(**members), status, code)
            refused = server.upload_form(png(2), processingOptions='{"models": ["words"]}')
            self.assert_problem(refused, 422, "MODEL_UNKNOWN", "no pictures")

    def test_without_models_it_says_what_to_run(self):
        with self.server() as server:
            self.assert_problem(server.search(text="a cat"), 422, "MODEL_UNKNOWN", "make models")
            done = self.cli("search", "--text", "a cat", server=server)
            self.assertEqual(done.returncode, 1)
            self.assertIn("make models", done.stderr)


if __name__ == "__main__":
    harness.main()
