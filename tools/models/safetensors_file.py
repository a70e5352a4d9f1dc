# SPDX-License-Identifier: Apache-2.0
"""Reads a safetensors file: the length of a JSON header (uint64), the header (name -> dtype, shape, data_offsets), and the
data, little-endian. Nothing in it is executed; offsets and shapes are checked against the size of the file.
"""
import json
import math
import struct

import numpy

TYPES = {"F32": "<f4", "I64": "<i8"}


def load(data: bytes) -> dict:
    """Name -> array of every tensor. ValueError when it is not what it should be."""
    (length,) = struct.unpack("<Q", data[:8])
    if length > len(data) - 8:
        raise ValueError("the header of the weights is longer than the file")
    header = json.loads(data[8:8 + length])
    body = memoryview(data)[8 + length:]
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in TYPES:
            raise ValueError("%s is of a type that is not read: %s" % (name, entry["dtype"]))
        begin, end = entry["data_offsets"]
        kind = numpy.dtype(TYPES[entry["dtype"]])
        if not 0 <= begin <= end <= len(body) or end - begin != math.prod(entry["shape"]) * kind.itemsize:
            raise ValueError("%s does not lie where the header says" % name)
        tensors[name] = numpy.frombuffer(body[begin:end], kind).reshape(entry["shape"])
    return tensors
