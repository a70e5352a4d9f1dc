# SPDX-License-Identifier: Apache-2.0
"""Learns the ranges that an 8-bit model is rounded with, from photos: calibrate.py WEIGHTS VARIANT EDGE PHOTO...

Prints the table that is kept in ranges/: so that everybody's 8-bit model is the same, to the byte, and needs neither photos
nor this program. Run by who changes the models; needs onnxruntime and Pillow beside what make.sh installs.
"""
import json
import sys

import numpy
import onnxruntime
from PIL import Image

import efficientnet_lite
import torch_weights


def read(path: str, edge: int):
    with Image.open(path) as image:
        image.draft("RGB", (2 * edge, 2 * edge))
        small = image.convert("RGB").resize((edge, edge), Image.Resampling.BOX)
    return ((numpy.asarray(small, numpy.float32) - 127) / 128).transpose(2, 0, 1)[None]


def main(weights: str, variant: str, edge: int, photos: list):
    model = efficientnet_lite.build(torch_weights.load(weights), variant, edge, {}, expose=True)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [o.name for o in session.get_outputs() if o.name not in ("features", "logits")]
    ranges = {"image": [-127 / 128, 1.0]}  # every value of a byte, exactly
    for photo in photos:
        for name, value in zip(names, session.run(names, {"image": read(photo, edge)})):
            low, high = ranges.get(name, (0.0, 0.0))
            ranges[name] = [min(low, float(value.min())), max(high, float(value.max()))]
    rows = ['  "%s": [%.5g, %.5g]' % (name, low, high) for name, (low, high) in ranges.items() if name != "image"]
    print('{\n  "image": %s,\n%s\n}' % (json.dumps(ranges["image"]), ",\n".join(rows)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:])
