# SPDX-License-Identifier: Apache-2.0
"""A real server, used a little: every answer is held against schemas/openapi.yaml, every event that it put on its
topics against schemas/*.json."""
import contextlib
import hashlib
import hmac
import json
import os
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
        if body and kind not in content and "*/*" not in content:
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
    client.ask("GET", "/api/v1/images/{id}/motion", one)
    client.ask("GET", "/api/v1/images", query="?limit=1")
    client.ask("GET", "/api/v1/images", query="?limit=none")
    client.ask("GET", "/api/v1/images/{id}", {"id": "img_nothing"})
    for body in (b'{"path":"/storage/tenant-default/in/none.png"}', b'{"prefix":"/storage/tenant-default/in/"}', b"{}"):
        client.ask("POST", "/api/v1/images/import", body=body, kind="application/json")
    client.ask("POST", "/api/v1/images/upload", body=b"text", kind="application/octet-stream")
    body, kind = form(file=png(1), topK="2")
    found = client.ask("POST", "/api/v1/search", body=body, kind=kind)[1]["results"]
    assert found and found[0]["imageId"] == first
    client.ask("POST", "/api/v1/search", body=json.dumps({"imageId": first, "topK": 1}).encode(), kind="application/json")
    client.ask("POST", "/api/v1/search", body=b'{"vector":[1]}', kind="application/json")
    both = {"imageId": first, "terms": [{"vector": [1] * 512, "weight": -0.5}]}
    client.ask("POST", "/api/v1/search", body=json.dumps(both).encode(), kind="application/json")
    client.ask("GET", "/api/v1/search", query="?topK=1&imageId=" + first)
    client.ask("GET", "/api/v1/duplicates", query="?limit=1")
    client.ask("GET", "/api/v1/duplicates", query="?imageId=" + first)
    client.ask("GET", "/api/v1/search", query="?text=a%20dog")
    client.ask("DELETE", "/api/v1/images/{id}", {"id": second})
    for body in (b'{"filter":{"shop":"none"},"dryRun":true}', b'{"filter":{"shop":"none"}}', b'{"filter":{}}'):
        client.ask("POST", "/api/v1/images/delete", body=body, kind="application/json")
    use_receipts(client, second)


def use_receipts(client, item):
    receipts = "/api/v1/receipts"
    deadline = time.monotonic() + WAIT
    while not (listed := client.ask("GET", receipts, query="?limit=1&itemId=" + item)[1]["receipts"]):
        if time.monotonic() > deadline:
            raise RuntimeError("the deletion does not end")
        time.sleep(0.05)
    client.ask("GET", receipts + "/{id}", {"id": listed[0]["receipt"]["receiptId"]})
    client.ask("GET", receipts + "/{id}", {"id": "none"})
    client.ask("GET", receipts, query="?cursor=none")
    client.ask("GET", "/api/v1/admin/receipts/key")


def film() -> bytes:
    with tempfile.TemporaryDirectory(prefix="deeplens-film-") as folder:
        path = os.path.join(folder, "film.mp4")
        subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc2=d=1:s=64x48:r=10", "-c:v",
                        "libx264", "-pix_fmt", "yuv420p", path], check=True, timeout=WAIT)
        with open(path, "rb") as file:
            return file.read()


def wait_derived(client, one):
    """Until the last of what is made of a video for those who look at it is there."""
    deadline = time.monotonic() + WAIT
    while "spriteMapUrl" not in client.ask("GET", "/api/v1/videos/{id}", one)[1]:
        if time.monotonic() > deadline:
            raise RuntimeError(f"nothing was made of {one['id']} after {WAIT} seconds")
        time.sleep(0.05)


def use_videos(client):
    videos = "/api/v1/videos"
    body, kind = form(file=film(), metadata='{"shop":"north"}')
    video = client.ask("POST", videos + "/upload", body=body, kind=kind)[1]["videoId"]
    one = {"id": video}
    deadline = time.monotonic() + WAIT
    while (status := client.ask("GET", videos + "/{id}/status", one)[1])["status"] != "completed":
        if time.monotonic() > deadline:
            raise RuntimeError(f"{video} is not completed after {WAIT} seconds: {status}")
        time.sleep(0.05)
    assert client.ask("POST", videos + "/upload", body=body, kind=kind)[1]["videoId"] == video
    client.ask("POST", videos + "/upload", body=b"text", kind="application/octet-stream")
    client.ask("GET", videos)
    client.ask("GET", videos + "/{id}", one)
    client.ask("GET", videos + "/{id}", {"id": "vid_nothing"})
    client.ask("GET", videos + "/{id}/original", one)
    client.ask("GET", videos + "/{id}/original", one, headers={"Range": "bytes=0-9"})
    client.ask("GET", videos + "/{id}/thumbnail", one)
    client.ask("GET", videos + "/{id}/thumbnail", one, query="?time=0.5&size=64")
    wait_derived(client, one)
    for kind in ("poster", "preview", "sprite", "sprite.vtt"):
        client.ask("GET", videos + "/{id}/" + kind, one)
    frame = client.ask("GET", videos + "/{id}/frames", one, query="?limit=1")[1]["items"][0]
    client.ask("GET", "/api/v1/images/{id}", {"id": frame["imageId"]})
    body, kind = form(file=png(1), filter=json.dumps({"videoId": video}))
    assert client.ask("POST", "/api/v1/search", body=body, kind=kind)[1]["results"][0]["videoId"] == video
    body, kind = form(file=film(), topK="3", minScore="0.1")
    assert client.ask("POST", "/api/v1/search/video", body=body, kind=kind)[1]["results"][0]["videoId"] == video
    client.ask("POST", "/api/v1/search/video", body=b"text", kind="application/octet-stream")
    for body in (b'{"filter":{"shop":"north"},"dryRun":true}', b'{"filter":{"shop":"north"}}'):
        assert client.ask("POST", videos + "/delete", body=body, kind="application/json")[1]["matched"] == 1
    client.ask("DELETE", videos + "/{id}", one)


def use_live(client):
    hub = "/hubs/processing-status"
    client.ask("GET", "/api/v1/events", query="?since=none")
    for query in ("", "?negotiateVersion=1"):
        token = client.ask("POST", hub + "/negotiate", query=query, body=b"{}", kind="application/json")[1]
        at = "?id=" + token.get("connectionToken", token["connectionId"])
        client.ask("GET", hub, query=at)  # the first poll
        client.ask("POST", hub, query=at, body=b'{"protocol":"json","version":1}\x1e', kind="text/plain")
        client.ask("GET", hub, query=at)
        client.ask("DELETE", hub, query=at)
        client.ask("GET", hub, query=at)  # gone


def use_models(client):
    models, rebuilds, kind = "/api/v1/admin/models", "/api/v1/admin/rebuilds", "application/json"
    client.ask("PUT", models + "/default", body=b'{"model":"builtin","tenantId":"acme-corp"}', kind=kind)
    client.ask("PUT", models + "/default", body=b'{"model":"none"}', kind=kind)
    client.ask("PUT", models + "/default", body=b'{"model":"builtin","later":true}', kind=kind)
    client.ask("GET", models + "/compare", query="?from=builtin&to=builtin")
    client.ask("GET", models + "/compare", query="?from=builtin")
    client.ask("DELETE", models + "/{model}/vectors", {"model": "none"})
    client.ask("DELETE", models + "/{model}/vectors", {"model": "builtin"})
    client.ask("POST", rebuilds, body=b"{}", kind=kind)
    client.ask("POST", rebuilds, body=b'{"model":"none"}', kind=kind)
    client.ask("GET", rebuilds)
    client.ask("DELETE", rebuilds)
    client.ask("DELETE", rebuilds)


def use_admin(client):
    for path in ("ledger", "tenants", "models", "topics", "groups", "deadletters"):
        client.ask("GET", "/api/v1/admin/" + path)
    client.ask("POST", "/api/v1/admin/tenants", body=b'{"name":"acme-corp"}', kind="application/json")
    client.ask("POST", "/api/v1/admin/tenants", body=b"{", kind="application/json")
    for body in (b'{"duplicatePolicy":"link"}', b'{"duplicatePolicy":null}', b'{"duplicatePolicy":"burn"}'):
        client.ask("PATCH", "/api/v1/admin/tenants/{tenant}", {"tenant": "acme-corp"}, body=body, kind="application/json")
    use_models(client)
    client.ask("GET", "/api/v1/admin/topics/{topic}", {"topic": "deeplens.images.uploaded"})
    client.ask("GET", "/api/v1/admin/topics/{topic}", {"topic": "none"})
    groups = client.ask("GET", "/api/v1/admin/groups")[1]["groups"]
    client.ask("GET", "/api/v1/admin/groups/{group}", {"group": groups[0]["name"]})
    use_live(client)
    use_webhooks(client)
    use_messages(client)
    use_whatsapp(client)
    use_workflows(client)
    use_alerts(client)
    use_topics(client)
    use_jobs(client)
    use_maintenance(client)
    use_removal(client)
    use_groups(client)
    for path in ("/", "/api/v1/version", "/openapi.json", "/healthz", "/readyz", "/metrics"):
        client.ask("GET", path)


def use_jobs(client):
    jobs, kind, step = "/api/v1/admin/jobs", "application/json", {"step": "thumbnail"}
    client.ask("GET", jobs)
    for body in (b'{"concurrency":2}', b'{"paused":true}', b'{"paused":false}', b'{"concurrency":null}', b'{"concurrency":0}', b"{}"):
        client.ask("PATCH", jobs + "/{step}", step, body=body, kind=kind)
    client.ask("PATCH", jobs + "/{step}", {"step": "none"}, body=b'{"paused":true}', kind=kind)
    client.ask("GET", jobs + "/{step}/failed", {"step": "extract"}, query="?limit=1")
    for body in (b'{"all":true,"limit":1}', b'{"ids":["0-999"]}', b"{}"):
        client.ask("POST", jobs + "/{step}/retry", {"step": "extract"}, body=body, kind=kind)


def use_maintenance(client):
    tasks, runs, kind = "/api/v1/admin/maintenance/tasks", "/api/v1/admin/maintenance/runs", "application/json"
    client.ask("GET", tasks)
    for body in (b'{"schedule":"0 4 * * SUN","rate":5,"dryRun":true}', b'{"schedule":null,"rate":null,"dryRun":null}',
                 b'{"schedule":"0 4"}', b'{"rate":-1}', b"{}"):
        client.ask("PATCH", tasks + "/{task}", {"task": "scrub"}, body=body, kind=kind)
    client.ask("PATCH", tasks + "/{task}", {"task": "none"}, body=b'{"rate":1}', kind=kind)
    run = client.ask("POST", tasks + "/{task}/run", {"task": "scrub"}, body=b'{"rate":1,"whole":true}', kind=kind)[1]
    client.ask("POST", tasks + "/{task}/run", {"task": "scrub"}, body=b"{}", kind=kind)
    for verb in ("pause", "resume", "pause", "cancel"):
        client.ask("POST", runs + "/{run}/" + verb, {"run": run["runId"]})
        client.ask("POST", runs + "/{run}/" + verb, {"run": "run_none"})
    deadline = time.monotonic() + WAIT
    while "endedAt" not in client.ask("GET", runs + "/{run}", {"run": run["runId"]})[1]:
        if time.monotonic() > deadline:
            raise RuntimeError("the run does not end")
        time.sleep(0.05)
    client.ask("GET", runs, query="?limit=1&task=scrub")
    client.ask("GET", runs, query="?cursor=none")
    client.ask("GET", tasks)


def use_removal(client):
    tenant = {"tenant": "acme-corp"}
    client.ask("DELETE", "/api/v1/admin/tenants/{tenant}", tenant, query="?dryRun=true")
    deadline = time.monotonic() + WAIT
    while client.ask("DELETE", "/api/v1/admin/tenants/{tenant}", tenant)[0] == 202:
        if time.monotonic() > deadline:
            raise RuntimeError("the tenant is not removed")
        time.sleep(0.05)
    client.ask("DELETE", "/api/v1/admin/tenants/{tenant}", tenant)
    client.ask("DELETE", "/api/v1/admin/tenants/{tenant}", {"tenant": "default"})


def use_webhooks(client):
    hooks, kind = "/api/v1/admin/webhooks", "application/json"
    hook = client.ask("POST", hooks, body=b'{"url":"http://192.0.2.1/"}', kind=kind)  # refused
    assert hook[0] == 400
    hook = {"id": client.ask("POST", hooks, body=b'{"url":"http://localhost:9/","types":["media.uploaded"]}', kind=kind)[1]["id"]}
    client.ask("GET", hooks)
    client.ask("POST", hooks + "/{id}/rotate", hook, body=b"{}", kind=kind)
    one = {**hook, "delivery": client.ask("POST", hooks + "/{id}/test", hook)[1]["id"]}
    deadline = time.monotonic() + WAIT
    while client.ask("GET", hooks + "/{id}/deliveries/{delivery}", one)[1]["state"] != "dead":
        if time.monotonic() > deadline:
            raise RuntimeError("the test of a webhook does not end")
        time.sleep(0.05)
    client.ask("GET", hooks + "/{id}/deliveries", hook, query="?state=dead&limit=1")
    client.ask("GET", hooks + "/{id}/deliveries", hook, query="?state=none")
    client.ask("POST", hooks + "/{id}/deliveries/{delivery}/replay", one)
    client.ask("DELETE", hooks + "/{id}", hook)
    client.ask("DELETE", hooks + "/{id}", hook)


def use_messages(client):
    messages, kind = "/api/v1/messages", "application/json"
    one = {"messageId": "m1", "chatJid": "1@s.whatsapp.net", "content": "Hello", "timestamp": 1705234567, "metadata": {"isGroup": False}}
    for _ in range(2):
        client.ask("POST", messages, body=json.dumps(one).encode(), kind=kind)
    to_it = {"chatJid": "1@s.whatsapp.net", "metadata": {"targetMessageId": "m1"}}
    batch = [{**to_it, "messageId": "m2", "messageType": "reaction", "content": "!"},
             {**to_it, "messageId": "m3", "messageType": "edit", "content": "Hello, again"},
             {**to_it, "messageId": "m4", "messageType": "deletion", "chatJid": "2@s.whatsapp.net"}]
    client.ask("POST", messages, body=json.dumps({"messages": batch}).encode(), kind=kind)
    client.ask("POST", messages, body=b'{"messageId":"m5"}', kind=kind)
    deadline = time.monotonic() + WAIT
    while client.ask("GET", messages + "/{id}", {"id": "m4"})[1]["state"] != "failed":
        if time.monotonic() > deadline:
            raise RuntimeError("a message does not end")
        time.sleep(0.05)
    client.ask("GET", messages, query="?limit=2")
    client.ask("GET", messages, query="?messageId=m1")
    client.ask("GET", messages, query="?state=none")
    client.ask("GET", messages + "/{id}", {"id": "none"})


def use_whatsapp(client):
    hook = "/webhooks/whatsapp"
    client.ask("GET", hook, query="?hub.mode=subscribe&hub.verify_token=token&hub.challenge=5")
    client.ask("GET", hook, query="?hub.mode=subscribe&hub.verify_token=wrong&hub.challenge=5")
    body = json.dumps({"entry": [{"changes": [{"field": "messages", "value": {"messages": [
        {"from": "1", "id": "wamid.1", "timestamp": "1705234567", "type": "text", "text": {"body": "Hello"}}]}}]}]}).encode()
    signed = {"X-Hub-Signature-256": "sha256=" + hmac.new(b"secret", body, hashlib.sha256).hexdigest()}
    assert client.ask("POST", hook, body=body, kind="application/json", headers=signed)[1]["taken"] == 1
    client.ask("POST", hook, body=body, kind="application/json")


def use_workflows(client):
    flows, kind = "/api/v1/workflows", "application/json"
    rule = {"name": "All", "when": {"type": ["text", "image"], "text": "*e*"}, "do": [{"ingest": {"tags": ["a"]}}]}
    one = {"id": client.ask("POST", flows, body=json.dumps(rule).encode(), kind=kind)[1]["id"]}
    client.ask("POST", flows, body=b'{"when":{},"do":[{"fly":true}]}', kind=kind)
    client.ask("GET", flows)
    client.ask("POST", flows + "/test", body=b'{"limit":10}', kind=kind)
    client.ask("POST", flows + "/test", body=json.dumps({"workflow": rule, "messageId": "m1"}).encode(), kind=kind)
    client.ask("POST", flows + "/test", body=b'{"limit":0}', kind=kind)
    client.ask("DELETE", flows + "/{id}", one)
    client.ask("DELETE", flows + "/{id}", one)
    rule["do"] = [{"answer": {"find": {"limit": 3}}}, {"answer": "status"}]  # of what no bridge's message gets
    one = {"id": client.ask("POST", flows, body=json.dumps(rule).encode(), kind=kind)[1]["id"]}
    message = {"messageId": "m9", "chatJid": "1@s.whatsapp.net", "content": "Hello", "timestamp": 1705234567}
    client.ask("POST", "/api/v1/messages", body=json.dumps(message).encode(), kind=kind)
    deadline = time.monotonic() + WAIT
    while len(client.ask("GET", "/api/v1/replies", query="?messageId=m9")[1]["items"]) < 2:
        if time.monotonic() > deadline:
            raise RuntimeError("a message is not answered")
        time.sleep(0.05)
    client.ask("GET", "/api/v1/replies", query="?state=unsent&limit=1")
    client.ask("GET", "/api/v1/replies", query="?state=none")
    for body in (b'{"sender":"1@s.whatsapp.net"}', b"{}"):
        client.ask("POST", "/api/v1/messages/export", body=body, kind=kind)
        client.ask("POST", "/api/v1/messages/erase", body=body, kind=kind)
    client.ask("DELETE", flows + "/{id}", one)


def use_alerts(client):
    alerts, kind = "/api/v1/admin/alerts", "application/json"
    assert client.ask("POST", alerts + "/test")[0] == 200
    body = b'{"alert":"consumer.lag","subject":"readers","comment":"why","durationMs":60000}'
    silence = {"id": client.ask("POST", alerts + "/silences", body=body, kind=kind)[1]["id"]}
    client.ask("POST", alerts + "/silences", body=b'{"alert":"none","durationMs":1}', kind=kind)
    deadline = time.monotonic() + WAIT
    while not client.ask("GET", alerts)[1]["alerts"]:  # the disk
        if time.monotonic() > deadline:
            raise RuntimeError("no condition is listed")
        time.sleep(0.05)
    client.ask("DELETE", alerts + "/silences/{id}", silence)
    client.ask("DELETE", alerts + "/silences/{id}", silence)


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
    runs = [("envelope", ["--alert-command", "true", "--alert-disk", "1000T", "--whatsapp-app-secret", "secret",
                          "--whatsapp-verify-token", "token"], (use_images, use_videos, use_admin)),
            ("flat", ["--events-format", "flat", "--events-ids", "bare"], (use_images, use_videos)),
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
