# SPDX-License-Identifier: Apache-2.0
"""Reads the weights of a file that torch.save wrote in its old format, without torch and without trusting the file.

The format: three pickles (magic number, protocol, machine), the pickle of the state (name -> tensor, a tensor being a
call of _rebuild_tensor_v2 over a storage that is named, not contained), the pickle of the storages' keys, and then for
each key the count of its elements (int64) and the elements themselves, little-endian.

A pickle can call anything. The one here can call three harmless names, and every number in it is checked against the
size of the file.
"""
import collections
import pickle
import struct

import numpy

MAGIC = 0x1950A86A20F9469CFC6C
TYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


class Storage:
    """What a tensor is cut from; `data` is filled in once the whole file was read."""

    def __init__(self, kind: str, count: int):
        self.type = numpy.dtype(TYPES[kind])
        self.count = count
        self.data = None


class Tensor:
    def __init__(self, storage, offset, size, stride):
        self.storage, self.offset, self.size, self.stride = storage, int(offset), tuple(size), tuple(stride)

    def array(self):
        edges = list(zip(self.size, self.stride))
        if self.offset < 0 or len(self.size) != len(self.stride) or any(n < 1 or step < 0 for n, step in edges):
            raise ValueError("a tensor's shape makes no sense: %s, strides %s" % (self.size, self.stride))
        if self.offset + sum((n - 1) * step for n, step in edges) >= self.storage.count:
            raise ValueError("a tensor reaches beyond its storage")
        width = self.storage.type.itemsize
        view = numpy.lib.stride_tricks.as_strided(self.storage.data[self.offset:], self.size,
                                                  [step * width for step in self.stride], writeable=False)
        return numpy.ascontiguousarray(view).reshape(self.size)


def rebuild_tensor(storage, offset, size, stride, requires_grad=False, hooks=None):
    return Tensor(storage, offset, size, stride)


class Reader(pickle.Unpickler):
    """An unpickler that knows no names but those of tensors."""

    def __init__(self, file, storages):
        super().__init__(file)
        self.storages = storages

    def find_class(self, module, name):
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return rebuild_tensor
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch" and name in TYPES:
            return name
        raise pickle.UnpicklingError("the weights ask for %s.%s, which is not allowed" % (module, name))

    def persistent_load(self, pid):
        tag, kind, key, _place, count = pid[:5]
        if tag != "storage" or kind not in TYPES or not isinstance(count, int) or count < 0:
            raise pickle.UnpicklingError("the weights name a storage that makes no sense")
        return self.storages.setdefault(str(key), Storage(kind, count))


def load(path: str) -> dict:
    """Name -> array of every tensor in the file. ValueError or UnpicklingError when it is not what it should be."""
    storages = {}
    with open(path, "rb") as file:
        if Reader(file, storages).load() != MAGIC:
            raise ValueError("%s is no file of torch's old format" % path)
        Reader(file, storages).load()  # the protocol
        Reader(file, storages).load()  # the machine it was written on
        state = Reader(file, storages).load()
        for key in Reader(file, storages).load():
            storage = storages[str(key)]
            (count,) = struct.unpack("<q", file.read(8))
            if count != storage.count:
                raise ValueError("%s: a storage has %d elements instead of %d" % (path, count, storage.count))
            data = file.read(count * storage.type.itemsize)
            if len(data) != count * storage.type.itemsize:
                raise ValueError("%s ends too early" % path)
            storage.data = numpy.frombuffer(data, storage.type)
    return {name: tensor.array() for name, tensor in state.items()}
