# SPDX-License-Identifier: Apache-2.0
"""A service that runs a model, on FastAPI: POST /extract-features and GET /health, as the specified Python service has
them. Its model is small: means over cells of the picture, squashed to 32 x 32. What it is told in between (PUT /behave)
makes it give what no service should; with DIES_ON_BLACK set, a black picture ends it.

  models_server.py PORT [TOKEN]
"""
import asyncio
import io
import os
import sys
from contextlib import suppress

import numpy
import uvicorn
from fastapi import FastAPI, File, Form, HTTPException, Request, UploadFile
from fastapi.responses import PlainTextResponse, Response
from PIL import Image

EDGE, CELLS = 32, 8
DIMENSION = CELLS * CELLS * 3
FORMATS = ("image/jpeg", "image/png", "image/webp")
app = FastAPI()
now = {"behave": "well", "requests": 0, "atOnce": 0, "mostAtOnce": 0}
TOKEN = sys.argv[2] if len(sys.argv) > 2 else None


def features(data: bytes) -> list:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    pixels = numpy.asarray(picture.convert("RGB").resize((EDGE, EDGE), Image.Resampling.BOX), dtype=numpy.float64)
    size = EDGE // CELLS
    if os.environ.get("DIES_ON_BLACK") and not pixels.any():
        os._exit(1)
    cells = pixels.reshape(CELLS, size, CELLS, size, 3).mean(axis=(1, 3)) + 1
    return (cells / 255).reshape(-1).tolist()


ODD = {
    "short": lambda made: {"features": made[:-1]},
    "long": lambda made: {"features": made + [1.0]},
    "zero": lambda made: {"features": [0.0] * len(made)},
    "null": lambda made: {"features": made[:-1] + [None]},
    "words": lambda made: {"features": made[:-1] + ["1.0"]},
    "huge number": lambda made: {"features": made[:-1] + [1e300]},
    "no features": lambda made: {"vector": made},
    "another version": lambda made: {"features": made, "model_version": "v9"},
}


async def misbehave(kind: str, made: list):
    """An answer in place of the right one; None: the right one."""
    if kind in ODD:
        return {"model_version": "v2.7", **ODD[kind](made)}
    if kind == "nan":
        return Response('{"features": [NaN' + ", 0.5" * (len(made) - 1) + "]}", media_type="application/json")
    if kind == "garbage":
        return PlainTextResponse('{"features": [0.1, ')
    if kind == "huge":
        return PlainTextResponse('{"features": [' + "1" * (8 << 20) + "]}")
    if kind == "slow":
        await asyncio.sleep(3600)
    if kind == "dies":
        os._exit(1)
    if kind.isdigit():
        raise HTTPException(status_code=int(kind), detail="told to answer so")
    return None


@app.put("/behave")
async def behave(request: Request):
    now.update(await request.json())
    return now


@app.get("/behave")
async def behaves():
    return now


def check(request: Request):
    if TOKEN and request.headers.get("authorization") != f"Bearer {TOKEN}":
        raise HTTPException(status_code=401, detail="another token is wanted")


@app.get("/health")
async def health(request: Request):
    check(request)
    return {"status": "healthy", "service": "test", "version": "1", "model_loaded": now["behave"] != "not loaded"}


@app.post("/extract-features")
async def extract_features(request: Request, file: UploadFile = File(...), model_name: str = Form("resnet50"),
                           return_metadata: bool = Form(False)):
    check(request)
    now["requests"] += 1
    if now["behave"] == "not loaded":
        raise HTTPException(status_code=500, detail="Feature extraction model not available")
    if file.content_type not in FORMATS:
        raise HTTPException(status_code=400, detail=f"Unsupported image format: {file.content_type}")
    now["atOnce"] += 1
    now["mostAtOnce"] = max(now["mostAtOnce"], now["atOnce"])
    try:
        made = await asyncio.to_thread(features, await file.read())
        answer = await misbehave(now["behave"], made)
    finally:
        now["atOnce"] -= 1
    return answer if answer is not None else {
        "image_id": None, "features": made, "feature_dimension": len(made), "model_name": model_name,
        "model_version": "v2.7", "processing_time_ms": 1.0, **({"image_format": "PNG"} if return_metadata else {})}


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
