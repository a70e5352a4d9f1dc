# SPDX-License-Identifier: Apache-2.0
"""The model that the tests' MLServer runs: means over cells of the tensor [n, 3, 32, 32]. The file `behave` beside its
settings makes it give what no service should; every batch adds a line to the file `batches`."""
import asyncio
import os
import pathlib

import numpy
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse

EDGE, CELLS = 32, 8
DIMENSION = CELLS * CELLS * 3
HERE = pathlib.Path(os.environ.get("MODEL_FOLDER", "."))


def odd(kind: str, made):
    if kind == "short":
        return made[:, :-1]
    if kind == "one too few":
        return made[:-1]
    if kind == "zero":
        return made * 0
    if kind == "nan":
        return made * numpy.nan
    return made


class Cells(MLModel):
    async def load(self) -> bool:
        return True

    async def predict(self, payload):
        kind = (HERE / "behave").read_text() if (HERE / "behave").exists() else "well"
        tensor = NumpyCodec.decode_input(payload.inputs[0]).astype(numpy.float32)
        if tensor.shape[1:] != (3, EDGE, EDGE) or payload.inputs[0].name != "picture":
            raise ValueError(f"not {tensor.shape} of {payload.inputs[0].name}")
        with open(HERE / "batches", "a", encoding="ascii") as batches:
            batches.write(f"{len(tensor)}\n")
        if kind == "slow":
            await asyncio.sleep(3600)
        if kind == "fails":
            raise RuntimeError("told to fail")
        size = EDGE // CELLS
        made = tensor.reshape(-1, 3, CELLS, size, CELLS, size).mean(axis=(3, 5)).reshape(-1, DIMENSION) + 1
        return InferenceResponse(model_name=self.name, model_version=self.version,
                                 outputs=[NumpyCodec.encode_output("other", numpy.zeros((len(made), 2))),
                                          NumpyCodec.encode_output("cells", odd(kind, made))])
