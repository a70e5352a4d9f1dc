# SPDX-License-Identifier: Apache-2.0
"""Qdrant's REST interface on a loopback port, as far as DeepLens and its tests use it. Nobody packages Qdrant's server for
a test to fetch, but its parts are to be had: each request is read by the models that Qdrant generates for its own client
(qdrant-client), which refuse what its server refuses, and answered by Qdrant's own engine in shards of its own format
(qdrant-edge-py). What is written here is what lies between: paths, status codes, the envelope and the words of errors.

  qdrant_server.py FOLDER PORT [API-KEY [CERTIFICATE PRIVATE-KEY]]

The engine's binding takes a boolean for a number: conditions on booleans are answered by looking through the points.
"""
import http.server
import json
import pathlib
import re
import shutil
import socket
import ssl
import sys
import threading
import time
import urllib.parse
import uuid

import pydantic
import qdrant_edge as edge
from qdrant_client.http import models

VERSION = "1.18.0"
BODY_MAX = 32 << 20  # as Qdrant's max_request_size_mb
OPEN_PATHS = ("/", "/healthz", "/livez", "/readyz")  # without a key


class Problem(Exception):
    def __init__(self, status, text):
        super().__init__(text)
        self.status, self.text = status, text


def read(model, body):
    """What Qdrant's own model makes of the body; 400 with what does not fit."""
    try:
        return model.model_validate_json(body)
    except pydantic.ValidationError as wrong:
        first = wrong.errors()[0]
        raise Problem(400, f"Format error in JSON body: {first['msg']} at {first['loc']}") from wrong


def point_id(value):
    """Qdrant takes numbers and UUIDs."""
    if isinstance(value, int):
        return value
    try:
        return str(uuid.UUID(str(value)))
    except ValueError as wrong:
        raise Problem(400, f"Format error in JSON body: value {value} is not a valid point ID, valid values are either an "
                           "unsigned integer or a UUID") from wrong


def path_pieces(key):
    if not re.fullmatch(r'([\w-]+|"[^"\\]*")(\.([\w-]+|"[^"\\]*")|\[\d*\])*', key):
        raise Problem(400, f'Format error in JSON body: Invalid JSON path: "{key}"')
    return [piece.strip('"') for piece in re.findall(r'[\w-]+|"[^"\\]*"', key)]


class Filters:
    """A filter of the client's model as one of the engine's."""

    def __init__(self, shard):
        self.shard = shard

    def __call__(self, given):
        if given is None:
            return None
        parts = {name: self.several(getattr(given, name)) for name in ("must", "should", "must_not")}
        if given.min_should:
            raise Problem(501, "min_should is not served here")
        return edge.Filter(**parts)

    def several(self, conditions):
        if conditions is None:
            return None
        return [self.one(c) for c in (conditions if isinstance(conditions, list) else [conditions])]

    def one(self, c):
        if isinstance(c, models.Filter):
            return self(c)
        if isinstance(c, models.HasIdCondition):
            return edge.HasIdCondition({point_id(i) for i in c.has_id})
        if isinstance(c, models.IsEmptyCondition):
            path_pieces(c.is_empty.key)
            return edge.IsEmptyCondition(c.is_empty.key)
        if isinstance(c, models.FieldCondition):
            return self.field(c)
        raise Problem(501, f"{type(c).__name__} is not served here")

    def field(self, c):
        path_pieces(c.key)
        if isinstance(c.match, models.MatchValue) and isinstance(c.match.value, bool):
            return edge.HasIdCondition(self.with_boolean(c.key, c.match.value))
        if isinstance(c.match, models.MatchValue):
            return edge.FieldCondition(c.key, match=edge.MatchValue(c.match.value))
        if isinstance(c.match, models.MatchAny):
            return edge.FieldCondition(c.key, match=edge.MatchAny(list(c.match.any)))
        if isinstance(c.range, models.Range):
            return edge.FieldCondition(c.key, range=edge.RangeFloat(**c.range.model_dump()))
        raise Problem(501, f"this condition is not served here: {c}")

    def with_boolean(self, key, wanted):
        found, after = set(), None
        while True:
            records, after = self.shard.scroll(edge.ScrollRequest(offset=after, limit=1000, with_payload=True,
                                                                  with_vector=False))
            for record in records:
                value = record.payload or {}
                for piece in path_pieces(key):
                    value = value.get(piece) if isinstance(value, dict) else None
                if any(v is wanted for v in (value if isinstance(value, list) else [value])):
                    found.add(record.id)
            if after is None:
                return found


class Collection:
    """A shard, and what was said when it was made."""

    def __init__(self, folder, made=None):
        self.folder, self.lock, self.operations = folder, threading.Lock(), 0
        if made is not None:
            (folder / "shard").mkdir(parents=True)
            size, distance = made["vectors"]["size"], made["vectors"]["distance"]
            config = edge.EdgeConfig(vectors=edge.EdgeVectorParams(size=size, distance=getattr(edge.Distance, distance)))
            self.shard = edge.EdgeShard.create(str(folder / "shard"), config)
            (folder / "new").write_text(json.dumps(made))
            (folder / "new").rename(folder / "made.json")
        else:
            self.shard = edge.EdgeShard.load(str(folder / "shard"))
        self.made = json.loads((folder / "made.json").read_text())

    def update(self, operation):
        try:
            self.shard.update(operation)
        except Exception as wrong:
            raise Problem(400, f"Wrong input: {wrong}") from wrong
        self.operations += 1
        return {"operation_id": self.operations, "status": "completed"}

    # Each with the lock held.

    def info(self, _):
        info = self.shard.info()
        schema = {key: {"data_type": str(index.data_type).rsplit(".", 1)[-1].lower(), "points": index.points}
                  for key, index in info.payload_schema.items()}
        params = {"vectors": self.made["vectors"], "shard_number": 1, "replication_factor": 1, "on_disk_payload": True}
        return {"status": "green", "optimizer_status": "ok", "segments_count": info.segments_count,
                "points_count": info.points_count, "indexed_vectors_count": info.indexed_vectors_count,
                "config": {"params": params}, "payload_schema": schema}

    def upsert(self, body):
        points = read(models.PointsList, body).points
        if not points:
            raise Problem(400, "Bad request: Empty update request")
        return self.update(edge.UpdateOperation.upsert_points(
            [edge.Point(point_id(p.id), p.vector, p.payload or {}) for p in points]))

    def delete(self, body):
        return self.update(edge.UpdateOperation.delete_points(
            [point_id(i) for i in read(models.PointIdsList, body).points]))

    def index(self, body):
        wanted = read(models.CreateFieldIndex, body)
        path_pieces(wanted.field_name)
        kind = getattr(edge.PayloadSchemaType, wanted.field_schema.value.capitalize())
        return self.update(edge.UpdateOperation.create_field_index(wanted.field_name, kind))

    def count(self, body):
        wanted = read(models.CountRequest, body)
        return {"count": self.shard.count(edge.CountRequest(exact=wanted.exact, filter=Filters(self.shard)(wanted.filter)))}

    def retrieve(self, body):
        wanted = read(models.PointRequest, body)
        records = self.shard.retrieve([point_id(i) for i in wanted.ids], payload_of(wanted, True), bool(wanted.with_vector))
        return [shown(r) for r in records]

    def scroll(self, body):
        wanted = read(models.ScrollRequest, body)
        records, after = self.shard.scroll(edge.ScrollRequest(
            offset=None if wanted.offset is None else point_id(wanted.offset), limit=wanted.limit or 10,
            filter=Filters(self.shard)(wanted.filter), with_payload=payload_of(wanted, True),
            with_vector=bool(wanted.with_vector)))
        return {"points": [shown(r) for r in records], "next_page_offset": None if after is None else plain(after)}

    def query(self, body):
        wanted = read(models.QueryRequest, body)
        params = wanted.params or models.SearchParams()
        if not isinstance(wanted.query, list):
            raise Problem(501, "only queries by a vector are served here")
        try:
            points = self.shard.query(edge.QueryRequest(
                limit=wanted.limit or 10, query=edge.Query.Nearest([float(x) for x in wanted.query]),
                filter=Filters(self.shard)(wanted.filter), score_threshold=wanted.score_threshold,
                with_payload=payload_of(wanted, False), with_vector=bool(wanted.with_vector),
                params=edge.SearchParams(hnsw_ef=params.hnsw_ef, exact=bool(params.exact))))
        except Problem:
            raise
        except Exception as wrong:
            raise Problem(400, f"Wrong input: {wrong}") from wrong
        return {"points": [{**shown(p), "version": p.version, "score": p.score} for p in points]}


def payload_of(wanted, otherwise):
    return otherwise if wanted.with_payload is None else wanted.with_payload


def plain(identity):
    return identity if isinstance(identity, int) else str(identity)


def shown(record):
    out = {"id": plain(record.id)}
    if record.payload is not None:
        out["payload"] = record.payload
    if record.vector is not None:
        out["vector"] = record.vector
    return out


class Store:
    def __init__(self, folder):
        self.folder, self.lock = folder, threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self.collections = {}
        for place in folder.iterdir():
            if (place / "made.json").exists():
                self.collections[place.name] = Collection(place)
            else:  # killed while it was made or deleted
                shutil.rmtree(place)

    def create(self, name, body):
        wanted = read(models.CreateCollection, body)
        if not isinstance(wanted.vectors, models.VectorParams):
            raise Problem(501, "only one vector a point is served here")
        if re.search(r'[<>:"/\\|?*\0\x1f]', name) or not 0 < len(name) <= 255:
            raise Problem(422, "Validation error in path parameters: [name: collection name cannot contain it]")
        if not 0 < wanted.vectors.size <= 65536:
            raise Problem(422, "Validation error in JSON body: [vectors.size: value invalid, must be from 1 to 65536]")
        with self.lock:
            if name in self.collections:
                raise Problem(409, f"Wrong input: Collection `{name}` already exists!")
            self.collections[name] = Collection(self.folder / name, {
                "vectors": {"size": wanted.vectors.size, "distance": wanted.vectors.distance.value}})
        return True

    def drop(self, name):
        with self.lock:
            collection = self.collections.pop(name, None)
            if collection is None:
                return False
            with collection.lock:
                (collection.folder / "made.json").unlink()
                collection.shard.close()
                shutil.rmtree(collection.folder)
        return True

    def call(self, name, method, body):
        with self.lock:
            collection = self.collections.get(name)
        if collection is None:
            raise Problem(404, f"Not found: Collection `{name}` doesn't exist!")
        with collection.lock:
            if not collection.folder.exists():
                raise Problem(404, f"Not found: Collection `{name}` doesn't exist!")
            return getattr(collection, method)(body)


# (method, what follows the collection's name) -> Collection's method
CALLS = {("GET", ""): "info", ("PUT", "/points"): "upsert", ("POST", "/points"): "retrieve", ("PUT", "/index"): "index",
         ("POST", "/points/delete"): "delete", ("POST", "/points/count"): "count", ("POST", "/points/scroll"): "scroll",
         ("POST", "/points/query"): "query"}
WRITES = ("upsert", "delete", "index")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version, wbufsize = "HTTP/1.1", 1 << 16
    store, key = None, ""

    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def answer(self, status, body, kind="application/json"):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def serve(self):
        began = time.monotonic()
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        key = self.headers.get("api-key") or self.headers.get("authorization", "").removeprefix("Bearer ")
        if self.key and url.path not in OPEN_PATHS and key != self.key:
            text = "Invalid API key or JWT" if key else "Must provide an API key or an Authorization bearer token"
            self.answer(401, text.encode(), "text/plain")
            return
        try:
            if length > BODY_MAX:
                raise Problem(413, f"Payload error: JSON payload ({length} bytes) is larger than allowed "
                                   f"(limit: {BODY_MAX} bytes).")
            self.route(url.path, query, body, began)
        except Problem as problem:
            self.envelope(problem.status, {"status": {"error": problem.text}}, began)
        except Exception as broken:  # what Qdrant calls an internal error
            self.log_error("%r", broken)
            self.envelope(500, {"status": {"error": f"Service internal error: {broken}"}}, began)

    def envelope(self, status, members, began):
        self.answer(status, json.dumps({**members, "time": time.monotonic() - began}).encode())

    def route(self, path, query, body, began):
        if path == "/":
            self.answer(200, json.dumps({"title": "qdrant - vector search engine", "version": VERSION}).encode())
            return
        if path in OPEN_PATHS:
            self.answer(200, b"all shards are ready" if path == "/readyz" else path[1:].encode() + b" check passed",
                        "text/plain")
            return
        if path == "/collections" and self.command == "GET":
            with self.store.lock:
                result = {"collections": [{"name": name} for name in self.store.collections]}
        else:
            found = re.fullmatch(r"/collections/([^/]+)(/.*)?", path)
            if not found:
                self.answer(404, b"", "text/plain")
                return
            result = self.in_collection(urllib.parse.unquote(found[1]), found[2] or "", query, body)
        self.envelope(200, {"result": result, "status": "ok"}, began)

    def in_collection(self, name, what, query, body):
        if (self.command, what) == ("PUT", ""):
            return self.store.create(name, body)
        if (self.command, what) == ("DELETE", ""):
            return self.store.drop(name)
        if (self.command, what) == ("GET", "/exists"):
            with self.store.lock:
                return {"exists": name in self.store.collections}
        method = CALLS.get((self.command, what))
        if method is None:
            raise Problem(405, "")
        result = self.store.call(name, method, body)
        if method in WRITES and query.get("wait") != "true":  # it is done, but nobody was promised that
            result["status"] = "acknowledged"
        return result

    do_GET = do_PUT = do_POST = do_DELETE = serve

    def log_message(self, *_):
        pass


class Web(http.server.ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 128


def main():
    Handler.store = Store(pathlib.Path(sys.argv[1]))
    Handler.key = sys.argv[3] if len(sys.argv) > 3 else ""
    web = Web(("127.0.0.1", int(sys.argv[2])), Handler)
    if len(sys.argv) > 5:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(sys.argv[4], sys.argv[5])
        web.socket = tls.wrap_socket(web.socket, server_side=True, do_handshake_on_connect=False)
    web.serve_forever()


if __name__ == "__main__":
    main()
