#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A Qdrant for tests, on a free loopback port, in a folder of its own: Qdrant's own engine behind Qdrant's own models of
its REST interface (qdrant_server.py), from packages that are fetched once and kept in the cache.

  qdrant.py fetch               makes the environment it runs in (once, into ${XDG_CACHE_HOME:-~/.cache}/deeplens, pinned)
  qdrant.py run [--] COMMAND…   runs COMMAND with DEEPLENS_TEST_QDRANT=http://HOST:PORT, and gives its exit code; 77, for
                                "skipped", where the packages are not to be had
  qdrant.py start DIR           starts one that stays, and prints its address; DIR is to be new or empty
  qdrant.py stop DIR            stops what was started there, and removes DIR

With QDRANT_URL set, `run` takes the server that is there instead, which must be one for tests: its collections go away.

As a module: `with Qdrant(folder) as qdrant: qdrant.address`, kill(), stop(), start() in between, request() to ask it.
"""
import http.client
import json
import os
import pathlib
import ssl
import subprocess
import sys

from peer import PATIENCE, NotToBeHad, Peer, Server, environment, free_ports, main

PACKAGES = ["qdrant-client==1.20.0", "qdrant-edge-py==0.9.0"]
SERVER = pathlib.Path(__file__).resolve().parent / "qdrant_server.py"


def fetch() -> pathlib.Path:
    """The interpreter that has the packages."""
    try:
        return environment("venv-qdrant", PACKAGES, "--only-binary=:all:") / "bin/python3"
    except subprocess.CalledProcessError as failed:
        raise NotToBeHad(f"{' '.join(PACKAGES)} cannot be installed") from failed


class Qdrant(Peer, Server):
    """One server. `folder` is made; who gives none gets one that is removed at the end."""

    def __init__(self, folder=None, key="", tls=False):
        super().__init__(self.give_folder(folder, "qdrant"))
        self.port, = free_ports(1)
        self.key, self.host = key, f"127.0.0.1:{self.port}"
        self.address = ("https://" if tls else "http://") + self.host
        self.certificate = self.certify() if tls else None

    @property
    def environment(self) -> dict:
        return {"DEEPLENS_TEST_QDRANT": self.address}

    def flags(self, *more) -> tuple:
        """What makes `deeplens serve` keep its vectors here."""
        return ("--index-backend", "qdrant", "--qdrant-url", self.address, *more)

    def certify(self) -> pathlib.Path:
        """A certificate that vouches for itself, and beside it its key."""
        certificate = self.folder / "certificate.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", self.folder / "key.pem", "-out", certificate],
                       check=True, capture_output=True)
        return certificate

    def start(self):
        tls = [self.certificate, self.folder / "key.pem"] if self.certificate else []
        self.launch([fetch(), SERVER, self.folder / "storage", str(self.port), self.key, *tls])
        self.wait_until(self.answers)
        return self

    def answers(self) -> bool:
        try:
            return self.request("GET", "/readyz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def request(self, method, path, body=None):
        """(status, the answer's result or text)."""
        if self.certificate:
            trust = ssl.create_default_context(cafile=self.certificate)
            connection = http.client.HTTPSConnection(self.host, timeout=PATIENCE, context=trust)
        else:
            connection = http.client.HTTPConnection(self.host, timeout=PATIENCE)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None,
                               {"Content-Type": "application/json", **({"api-key": self.key} if self.key else {})})
            answer = connection.getresponse()
            text = answer.read().decode()
            return answer.status, json.loads(text).get("result") if text.startswith("{") else text
        finally:
            connection.close()

    def collections(self) -> list:
        return sorted(c["name"] for c in self.request("GET", "/collections")[1]["collections"])

    def points(self, collection) -> dict:
        """Our ids, and what else their points carry."""
        found, after = {}, None
        while True:
            status, page = self.request("POST", f"/collections/{collection}/points/scroll",
                                        {"limit": 1000, "with_payload": True, **({"offset": after} if after else {})})
            if status == 404:
                return found
            found.update({p["payload"]["id"]: {"point": p["id"], **p["payload"]} for p in page["points"]})
            after = page["next_page_offset"]
            if after is None:
                return found


class Given(Peer):
    """The server that QDRANT_URL names."""

    servers = []

    def __init__(self):
        self.address = os.environ["QDRANT_URL"].rstrip("/")
        self.environment = {"DEEPLENS_TEST_QDRANT": self.address}

    def start(self):
        return self

    def remove(self):
        pass


if __name__ == "__main__":
    given = bool(os.environ.get("QDRANT_URL"))
    sys.exit(main("Qdrant", __doc__, lambda folder, _: Given() if given and folder is None else Qdrant(folder),
                  (lambda: None) if given else fetch))
