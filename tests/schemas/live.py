# SPDX-License-Identifier: Apache-2.0
"""A real server, used a little: every answer is held against schemas/openapi.yaml, every event that it put on its
topics against schemas/*.json."""
import contextlib
import json
import pathlib
import re
import struct
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
import zlib

WAIT = 60  # seconds for anything that must come to an end


def png(seed):
    """A picture of 64 x 48 coloured squares."""
    rows = b"".join(b"\0" + bytes((x // 8 * 31 * seed + y // 8 * 17 + c * 80) % 256 for x in range(64) for c in range(3))
                    for y in range(48))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", 64, 48, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def form(**fields):
    """multipart/form-data with the picture as `file`."""
    mark = uuid.uuid4().hex
    parts = []
    for name, value in fields.items():
        more = '; filename="square.png"' if name == "file" else ""
        value = value if isinstance(value, bytes) else value.encode()
        parts.append(f'--{mark}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n")
    return b"".join(parts) + f"--{mark}--\r\n".encode(), f"multipart/form-data; boundary={mark}"


@contextlib.contextmanager
def server(program, *flags):
    """A server on a free port with a fresh data directory; gives its address."""
    with tempfile.TemporaryDirectory(prefix="deeplens-schemas-") as home:
        log = pathlib.Path(home) / "log"
        with open(log, "wb") as out:
            child = subprocess.Popen([program, "serve", "--data-dir", home + "/data", "--http-listen", "127.0.0.1:0",
                                      *flags], stdout=out, stderr=out)
        try:
            deadline, found = time.monotonic() + WAIT, None
            while not found:
                if child.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the server did not start: " + log.read_text(errors="replace"))
                time.sleep(0.05)
                found = re.search(r"http://[0-9.]+:[0-9]+", log.read_text(errors="replace"))
            yield found.group()
        finally:
            child.terminate()
            child.wait(WAIT)


class Client:
    """Asks, and holds each answer against the description of its operation."""

    def __init__(self, base, document):
        from jsonschema import Draft202012Validator
        self.base, self.document, self.validator = base, document, Draft202012Validator
        self.problems, self.asked = [], set()

    def resolve(self, node):
        while "$ref" in node:
            target = self.document
            for key in node["$ref"][2:].split("/"):
                target = target[key]
            node = target
        return node

    def check(self, method, path, status, kind, body):
        operation = self.document["paths"][path][method.lower()]
        responses = operation["responses"]
        where = f"{method} {path} {status}"
        self.asked.add((method, path))
        if str(status) not in responses and status < 400:
            self.problems.append(f"{where} is not described")
            return
        content = self.resolve(responses.get(str(status), responses["default"])).get("content", {})
        kind = kind.split(";")[0]
        if kind not in content and "*/*" not in content:
            self.problems.append(f"{where}: {kind} is not described")
        if not kind.endswith("json") or kind not in content:
            return
        schema = {**content[kind]["schema"], "components": self.document["components"]}
        for error in self.validator(schema).iter_errors(json.loads(body)):
            self.problems.append(f"{where}: {error.json_path}: {error.message[:300]}")
        known = self.members(content[kind]["schema"])
        for name in (set(json.loads(body)) - known) if known and "additionalProperties" not in content[kind]["schema"] else ():
            self.problems.append(f"{where}: the member {name} is not described")

    def members(self, schema):
        schema = self.resolve(schema)
        names = set(schema.get("properties", {}))
        for part in schema.get("allOf", []):
            names |= self.members(part)
        return names

    def ask(self, method, path, params=None, query="", body=None, kind=None, headers=None):
        url = path
        for key, value in (params or {}).items():
            url = url.replace("{" + key + "}", value)
        request = urllib.request.Request(self.base + url + query, data=body, method=method, headers=headers or {})
        if kind:
            request.add_header("Content-Type", kind)
        try:
            with urllib.request.urlopen(request, timeout=WAIT) as answer:
                status, got, data = answer.status, answer.headers.get("Content-Type", ""), answer.read()
        except urllib.error.HTTPError as error:
            status, got, data = error.code, error.headers.get("Content-Type", ""), error.read()
        self.check(method, path, status, got, data)
        return status, json.loads(data) if got.split(";")[0].endswith("json") else data


def upload(client, seed, **fields):
    body, kind = form(file=png(seed), **fields)
    return client.ask("POST", "/api/v1/images/upload", body=body, kind=kind)[1]["imageId"]


def wait_for(client, image, wanted):
    deadline = time.monotonic() + WAIT
    while True:
        status = client.ask("GET", "/api/v1/images/{id}/status", {"id": image})[1].get("status")
        if status == wanted:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"{image} is {status}, not {wanted}, after {WAIT} seconds")
        time.sleep(0.05)


def use_images(client):
    first = upload(client, 1, metadata='{"category":"shoes","price":9.5}', tags="red,summer", uploadedBy="someone",
                   processingOptions='{"priority":"high"}')
    second = upload(client, 2)
    for image in (first, second):
        wait_for(client, image, "completed")
    assert upload(client, 1) == first  # 200: the same bytes
    one = {"id": first}
    client.ask("GET", "/api/v1/images/{id}", one)
    client.ask("GET", "/api/v1/images/{id}/original", one)
    client.ask("GET", "/api/v1/images/{id}/original", one, headers={"Range": "bytes=0-9"})
    client.ask("GET", "/api/v1/images/{id}/thumbnail", one)
    client.ask("GET", "/api/v1/images", query="?limit=1")
    client.ask("GET", "/api/v1/images", query="?limit=none")
    client.ask("GET", "/api/v1/images/{id}", {"id": "img_nothing"})
    client.ask("POST", "/api/v1/images/upload", body=b"text", kind="application/octet-stream")
    body, kind = form(file=png(1), topK="2")
    found = client.ask("POST", "/api/v1/search", body=body, kind=kind)[1]["results"]
    assert found and found[0]["imageId"] == first
    client.ask("POST", "/api/v1/search", body=json.dumps({"imageId": first, "topK": 1}).encode(), kind="application/json")
    client.ask("POST", "/api/v1/search", body=b'{"vector":[1]}', kind="application/json")
    client.ask("DELETE", "/api/v1/images/{id}", {"id": second})


def use_admin(client):
    for path in ("ledger", "tenants", "models", "topics", "groups", "deadletters"):
        client.ask("GET", "/api/v1/admin/" + path)
    client.ask("POST", "/api/v1/admin/tenants", body=b'{"name":"acme-corp"}', kind="application/json")
    client.ask("POST", "/api/v1/admin/tenants", body=b"{", kind="application/json")
    client.ask("PUT", "/api/v1/admin/models/default", body=b'{"model":"builtin","tenantId":"acme-corp"}', kind="application/json")
    client.ask("PUT", "/api/v1/admin/models/default", body=b'{"model":"none"}', kind="application/json")
    client.ask("GET", "/api/v1/admin/topics/{topic}", {"topic": "deeplens.images.uploaded"})
    client.ask("GET", "/api/v1/admin/topics/{topic}", {"topic": "none"})
    groups = client.ask("GET", "/api/v1/admin/groups")[1]["groups"]
    client.ask("GET", "/api/v1/admin/groups/{group}", {"group": groups[0]["name"]})
    use_topics(client)
    use_groups(client)
    for path in ("/", "/api/v1/version", "/openapi.json", "/healthz", "/readyz", "/metrics"):
        client.ask("GET", path)


def use_topics(client):
    topic, kind = {"topic": "my-topic"}, "application/json"
    client.ask("POST", "/api/v1/admin/topics", body=b'{"name":"my-topic","partitions":2}', kind=kind)
    client.ask("POST", "/api/v1/admin/topics", body=b'{"name":"my-topic"}', kind=kind)
    client.ask("POST", "/api/v1/admin/topics/ensure", body=b'{"dryRun":true}', kind=kind)
    client.ask("PATCH", "/api/v1/admin/topics/{topic}", topic, body=b'{"partitions":3}', kind=kind)
    client.ask("PATCH", "/api/v1/admin/topics/{topic}", topic, body=b'{"partitions":1}', kind=kind)
    client.ask("POST", "/api/v1/admin/topics/{topic}/records", topic, body=b'{"key":"k","headers":{"a":"b"},"value":{"x":1}}', kind=kind)
    client.ask("POST", "/api/v1/admin/topics/{topic}/records", topic, body=b"{}", kind=kind)
    client.ask("GET", "/api/v1/admin/topics/{topic}/records", topic, "?key=k&from=2020-01-01T00:00:00Z")
    client.ask("POST", "/api/v1/admin/topics/{topic}/recreate", topic, body=b'{"dryRun":false}', kind=kind)
    client.ask("POST", "/api/v1/admin/topics/{topic}/recreate", {"topic": "deeplens.images.uploaded"}, body=b'{"dryRun":false}', kind=kind)
    client.ask("DELETE", "/api/v1/admin/topics/{topic}", topic)
    client.ask("DELETE", "/api/v1/admin/topics/{topic}", topic)


def use_groups(client):
    group, kind = {"group": "my-group"}, "application/json"
    client.ask("POST", "/api/v1/admin/groups/{group}/reset", group, body=b'{"to":"latest","topic":"deeplens.images.uploaded","dryRun":false}', kind=kind)
    client.ask("POST", "/api/v1/admin/groups/{group}/reset", group, body=b'{"to":"shift","value":-1}', kind=kind)
    client.ask("POST", "/api/v1/admin/groups/{group}/reset", group, body=b'{"to":"shift"}', kind=kind)
    client.ask("GET", "/api/v1/admin/lag")
    client.ask("DELETE", "/api/v1/admin/groups/{group}", group)
    client.ask("DELETE", "/api/v1/admin/groups/{group}", group)


def use_dead_letters(client):
    """One upload whose extraction fails for good (the server was started so)."""
    wait_for(client, upload(client, 3), "failed")
    items = client.ask("GET", "/api/v1/admin/deadletters")[1]["items"]
    client.ask("GET", "/api/v1/admin/deadletters/{id}", {"id": items[0]["id"]})
    client.ask("POST", "/api/v1/admin/deadletters/{id}/replay", {"id": items[0]["id"]})
    client.ask("GET", "/api/v1/admin/deadletters", query="?limit=1&from=2020-01-01T00:00:00Z")
    client.ask("DELETE", "/api/v1/admin/deadletters")
    client.ask("DELETE", "/api/v1/admin/deadletters", query="?dryRun=false&before=2020-01-01T00:00:00Z")
    client.ask("GET", "/api/v1/admin/deadletters/{id}", {"id": "0-999999"})
    client.ask("POST", "/api/v1/admin/deadletters/{id}/replay", {"id": "0-999999"})


def records(client, topic):
    answer = client.ask("GET", "/api/v1/admin/topics/{topic}/records", {"topic": topic}, "?limit=1000")[1]
    return [record["value"] for record in answer["records"]]


def topics_of(client):
    return [topic["name"] for topic in client.ask("GET", "/api/v1/admin/topics")[1]["topics"]]


def check(program, document, check_event):
    """`check_event(topic, form, event)` gives what is wrong with an event. Returns problems and the events' topics."""
    problems, asked, seen = [], set(), set()
    runs = [("envelope", [], (use_images, use_admin)),
            ("flat", ["--events-format", "flat", "--events-ids", "bare"], (use_images,)),
            ("envelope", ["--fault", "extractor.extract:EXTRACTION_FAILED", "--retry-attempts", "1"], (use_dead_letters,))]
    for written, flags, uses in runs:
        with server(program, *flags) as base:
            client = Client(base, document)
            for use in uses:
                use(client)
            for topic in topics_of(client):
                for event in records(client, topic):
                    seen.add((topic, written))
                    problems += check_event(topic, written, event)
            problems += client.problems
            asked |= client.asked
    return problems, asked, seen
