# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: the real binary, started on a free port over a data directory of its own, pictures
made on the spot, and a small HTTP client. Python's standard library alone.

The binary is named by DEEPLENS_TEST_BINARY. A picture is a PNG with coloured blocks: different seeds look different.
"""
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest
import zlib

BINARY = os.environ.get("DEEPLENS_TEST_BINARY", "build/deeplens")
PATIENCE = 120  # seconds before a wait is given up: a bound against hanging, not a measurement


def png(seed: int, width: int = 160, height: int = 120, blocks: int = 6) -> bytes:
    """A picture of coloured blocks; the same seed gives the same bytes."""
    rng = random.Random(seed)
    colours = [[bytes(rng.randrange(256) for _ in range(3)) for _ in range(blocks)] for _ in range(blocks)]
    rows = []
    for y in range(height):
        line = colours[y * blocks // height]
        rows.append(b"\0" + b"".join(line[x * blocks // width] for x in range(width)))
    return png_of_rows(width, height, b"".join(rows))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of_rows(width: int, height: int, rows: bytes, colour: int = 2, depth: int = 8) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)


class Server:
    """One `deeplens serve`. Stopped at the end of a `with`, whatever happens."""

    def __init__(self, data_dir, *flags, env=None):
        self.data_dir, self.flags, self.env = str(data_dir), flags, env
        self.process = None
        self.port = None

    def start(self, wait=True):
        command = [BINARY, "serve", "--data-dir", self.data_dir, "--http-listen", "127.0.0.1:0", *self.flags]
        environment = {**os.environ, **(self.env or {})}
        self.log = open(self.data_dir + ".log", "ab")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, env=environment, text=True)
        if wait:
            line = self.process.stdout.readline()
            if "http://" not in line:
                self.process.wait(PATIENCE)
                raise RuntimeError("the server did not start:\n" + self.log_text())
            self.port = int(line.rsplit(":", 1)[1])
        return self

    def log_text(self) -> str:
        return pathlib.Path(self.data_dir + ".log").read_text(errors="replace")

    def stop(self, number=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(PATIENCE)
        code = self.process.returncode if self.process else None
        if self.process:
            self.process.stdout.close()
            self.log.close()
        self.process = None
        return code

    def kill(self):
        return self.stop(signal.SIGKILL)

    def __enter__(self):
        return self if self.process else self.start()

    def __exit__(self, *_):
        self.stop()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def request(self, method, path, body=None, headers=None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def get(self, path, **headers) -> Answer:
        return self.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def post_json(self, path, value) -> Answer:
        return self.request("POST", path, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def upload(self, data: bytes, tenant=None, query="") -> Answer:
        headers = {"Content-Type": "application/octet-stream"}
        if tenant:
            headers["X-Tenant-Id"] = tenant
        return self.request("POST", "/api/v1/images/upload?fileName=a.png" + query, data, headers)

    def ledger(self) -> dict:
        return self.get("/api/v1/admin/ledger").json

    def settle(self) -> dict:
        """Waits until nothing is in flight; gives the ledger."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            ledger = self.ledger()
            if ledger["inFlight"] == 0:
                return ledger
            time.sleep(0.02)
        raise AssertionError(f"still in flight: {ledger}\n{self.log_text()[-3000:]}")

    def wait_status(self, image_id, *wanted, tenant=None) -> dict:
        headers = {"X-Tenant-Id": tenant} if tenant else {}
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            status = self.request("GET", f"/api/v1/images/{image_id}/status", headers=headers).json
            if status.get("status") in wanted:
                return status
            time.sleep(0.02)
        raise AssertionError(f"never became {wanted}: {status}\n{self.log_text()[-3000:]}")


def multipart(fields, file=None, boundary="----deeplens-test"):
    """(body, content type); fields are (name, text) pairs, file is (name, bytes)."""
    parts = []
    for name, text in fields:
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'.encode())
    if file:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{file[0]}"\r\n'
        parts.append(head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + file[1] + b"\r\n")
    parts.append(f"--{boundary}--\r\n".encode())
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"


def files_below(folder) -> list:
    return sorted(str(p.relative_to(folder)) for p in pathlib.Path(folder).rglob("*") if p.is_file())


class Case(unittest.TestCase):
    """A test case with a scratch folder and servers that are stopped at its end."""

    def setUp(self):
        self.scratch = tempfile.mkdtemp(prefix="deeplens-e2e-")
        self.addCleanup(shutil.rmtree, self.scratch, True)

    def server(self, *flags, name="data", env=None) -> Server:
        server = Server(os.path.join(self.scratch, name), *flags, env=env)
        self.addCleanup(server.stop)
        return server.start()

    def cli(self, *arguments, server=None, env=None, stdin=None):
        command = [BINARY, *arguments]
        if server:
            command += ["--server", server.url]
        environment = {**os.environ, "XDG_STATE_HOME": self.scratch, "XDG_DATA_HOME": self.scratch, **(env or {})}
        return subprocess.run(command, capture_output=True, text=stdin is None or isinstance(stdin, str), input=stdin,
                              env=environment, timeout=PATIENCE, check=False)


def main():
    unittest.main(verbosity=2)
