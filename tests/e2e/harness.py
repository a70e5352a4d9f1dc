# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: the real binary, started on a free port over a data directory of its own, pictures
made on the spot, and a small HTTP client. Python's standard library alone.

The binary is named by DEEPLENS_TEST_BINARY. A picture is a PNG with coloured blocks: different seeds look different;
kinds that Python cannot make come from the program named by DEEPLENS_TEST_PICTURES (pictures.c).
"""
import functools
import http.client
import http.server
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest
import zlib

BINARY = os.environ.get("DEEPLENS_TEST_BINARY", "build/deeplens")
PICTURES = os.environ.get("DEEPLENS_TEST_PICTURES", "build/tests/e2e/pictures")
# What the tests find must not depend on the models that someone has installed.
os.environ.setdefault("DEEPLENS_MODELS_DIR", "/nonexistent")
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


@functools.lru_cache(maxsize=None)
def pictures() -> dict:
    """Name -> bytes of what pictures.c makes: 160 x 120, one of each kind that the machine's libvips can write."""
    with tempfile.TemporaryDirectory(prefix="deeplens-pictures-") as folder:
        made = subprocess.run([PICTURES, folder], capture_output=True, text=True, check=True, timeout=PATIENCE)
        return {name: pathlib.Path(folder, name).read_bytes() for name in made.stdout.split()}


def webp_size(data: bytes) -> tuple:
    """(width, height) of a WebP file; ValueError when it is none."""
    kind = data[12:16]
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise ValueError("no WebP: " + repr(data[:16]))
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1


def wait_until(holds, what: str):
    """Waits until holds() is true and gives what it gave."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        value = holds()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError("waited in vain: " + what)


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
        if wait and not self.wait_ready():
            raise RuntimeError("the server did not start:\n" + self.log_text())
        return self

    def wait_ready(self) -> bool:
        """Until it says its address; False when it ended before."""
        line = self.process.stdout.readline()
        if "http://" not in line:
            self.process.wait(PATIENCE)
            return False
        self.port = int(line.rsplit(":", 1)[1])
        return True

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

    def upload_form(self, data: bytes, name="a.png", tenant=None, **fields) -> Answer:
        body, kind = multipart(fields.items(), (name, data))
        headers = {"Content-Type": kind, **({"X-Tenant-Id": tenant} if tenant else {})}
        return self.request("POST", "/api/v1/images/upload", body, headers)

    def search(self, tenant=None, **members) -> Answer:
        return self.request("POST", "/api/v1/search", json.dumps(members).encode(),
                            {"Content-Type": "application/json", **({"X-Tenant-Id": tenant} if tenant else {})})

    def items(self, query="", tenant=None) -> list:
        """The whole list, page by page."""
        items, cursor = [], ""
        while True:
            headers = {"X-Tenant-Id": tenant} if tenant else {}
            page = self.request("GET", f"/api/v1/images?cursor={cursor}{query}", headers=headers).json
            items += page["items"]
            cursor = page["nextCursor"]
            if not cursor:
                return items

    def records(self, topic) -> list:
        """Every record of a topic, the oldest first."""
        found = []
        for partition in self.get(f"/api/v1/admin/topics/{topic}").json["partitions"]:
            offset = partition["begin"]
            while offset < partition["end"]:
                path = f"/api/v1/admin/topics/{topic}/records?limit=1000&partition={partition['partition']}&offset={offset}"
                page = self.get(path).json["records"]
                found += page
                if not page:
                    break
                offset = page[-1]["offset"] + 1
        return sorted(found, key=lambda record: (record["timestamp"], record["partition"], record["offset"]))

    def lags(self) -> dict:
        return {group["name"]: group["lag"] for group in self.get("/api/v1/admin/groups").json["groups"]}

    def metric(self, name) -> float:
        """The value of a metric without labels; 0 where nothing was counted yet."""
        for line in self.get("/metrics").body.decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        return 0.0

    def raw(self, data: bytes = b"") -> "Raw":
        return Raw(self.port, data)

    def ledger(self) -> dict:
        return self.get("/api/v1/admin/ledger").json

    def settle(self) -> dict:
        """Waits until nothing is in flight and every event is handled (thumbnails come last); gives the ledger."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            ledger = self.ledger()
            answer = self.get("/api/v1/admin/groups")
            if answer.status != 503:  # a log that stands by itself may be away for a moment
                groups = answer.json["groups"]
                if ledger["inFlight"] == 0 and not any(group["lag"] for group in groups):
                    return ledger
            time.sleep(0.02)
        raise AssertionError(f"still in flight: {ledger}, {answer.body[:2000]}\n{self.log_text()[-3000:]}")

    def wait_status(self, image_id, *wanted, tenant=None) -> dict:
        headers = {"X-Tenant-Id": tenant} if tenant else {}
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            status = self.request("GET", f"/api/v1/images/{image_id}/status", headers=headers).json
            if status.get("status") in wanted:
                return status
            time.sleep(0.02)
        raise AssertionError(f"never became {wanted}: {status}\n{self.log_text()[-3000:]}")


class Raw:
    """A bare connection, for what an HTTP client would not do."""

    def __init__(self, port, data=b""):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.file = self.socket.makefile("rb")
        self.send(data)

    def send(self, data: bytes):
        if data:
            self.socket.sendall(data)

    def head(self) -> tuple:
        """(status, headers in lower case) of the next answer; (0, {}) at the end of the connection."""
        line = self.file.readline()
        if not line:
            return 0, {}
        headers = {}
        while (header := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = header.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        return int(line.split()[1]), headers

    def answer(self) -> Answer:
        status, headers = self.head()
        return Answer(status, headers, self.file.read(int(headers.get("content-length", 0))))

    def closed(self) -> bool:
        """Waits for the server's end of the connection, passing over what it still says."""
        try:
            while self.file.read(65536):
                pass
        except ConnectionResetError:
            pass
        return True

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


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


class Listener(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.told.append(json.loads(body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


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

    def upload_all(self, server, seeds) -> dict:
        """Seed -> id of what was uploaded."""
        ids = {}
        for seed in seeds:
            answer = server.upload(png(seed))
            self.assertEqual(answer.status, 202, answer.body)
            ids[seed] = answer.json["imageId"]
        return ids

    def listener(self):
        """Somebody's address, `url`: what is POSTed there as JSON is in `told`."""
        web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener)
        web.told, web.url = [], f"http://127.0.0.1:{web.server_address[1]}/hook"
        threading.Thread(target=web.serve_forever, daemon=True).start()
        self.addCleanup(web.server_close)
        self.addCleanup(web.shutdown)
        return web

    def assert_problem(self, answer, status, code, says=""):
        """The answer is a problem document with this status and code, and a sentence (that holds `says`)."""
        self.assertEqual(answer.status, status, answer.body)
        self.assertEqual(answer.headers["content-type"], "application/problem+json")
        problem = answer.json
        self.assertEqual((problem["status"], problem["code"]), (status, code), problem)
        for member in ("type", "title", "instance"):
            self.assertTrue(problem[member], problem)
        self.assertRegex(problem["detail"], r"^\S.*\s.*\S$", "no sentence")
        self.assertIn(says, problem["detail"])

    def assert_nothing_left(self, server):
        """Nothing that was sent left a file, a row, an event or a count."""
        ledger = server.ledger()
        self.assertEqual((ledger["accepted"], ledger["inFlight"], ledger["closes"]), (0, 0, True))
        self.assertEqual(server.items(), [])
        topics = server.get("/api/v1/admin/topics").json["topics"]
        self.assertEqual([topic["name"] for topic in topics if topic["records"]], [])
        storage = os.path.join(server.data_dir, "storage")
        wait_until(lambda: not files_below(storage), f"{storage} becomes empty")  # of a lost connection: a moment later

    def cli(self, *arguments, server=None, env=None, stdin=None):
        command = [BINARY, *arguments]
        if server:
            command += ["--server", server.url]
        environment = {**os.environ, "XDG_STATE_HOME": self.scratch, "XDG_DATA_HOME": self.scratch, **(env or {})}
        return subprocess.run(command, capture_output=True, text=stdin is None or isinstance(stdin, str), input=stdin,
                              env=environment, timeout=PATIENCE, check=False)


def main():
    unittest.main(verbosity=2)
