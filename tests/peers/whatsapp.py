# SPDX-License-Identifier: Apache-2.0
"""The WhatsApp Business Cloud API, as its documentation has it: what it sends to a webhook, and media by their ids.

A stand-in for tests: the shapes and errors are the documented ones, and what fails and how often is told beforehand."""
import hashlib
import hmac
import http.server
import json
import socket
import threading

SECRET, VERIFY, TOKEN = "0123456789abcdef0123456789abcdef", "a token to verify", "EAAG-access-token"
NUMBER = "106540352242922"

# Errors by their names, as (HTTP status, code, subcode or None, message).
ERRORS = {
    "no such media": (400, 100, 33, "Unsupported get request. Object with ID does not exist"),
    "token expired": (401, 190, 463, "Error validating access token: Session has expired"),
    "rate limit": (429, 130429, None, "(#130429) Rate limit hit"),
    "undeliverable": (400, 131026, None, "Message undeliverable"),
    "outside the window": (400, 131047, None, "Re-engagement message"),
    "template wanted": (404, 132001, None, "(#132001) Template name does not exist in the translation"),
    "too many to one": (400, 131056, None, "(Business Account, Consumer Account) pair rate limit hit"),
    "something went wrong": (500, 131000, None, "Something went wrong"),
}


def error_of(name) -> dict:
    """As statuses name it."""
    _, code, _, message = ERRORS[name]
    return {"code": code, "title": message, "message": message, "error_data": {"details": message}}


# ---- What it sends

def text(number, body="Hello", **members) -> dict:
    return {"from": "16505551234", "id": f"wamid.{number}", "timestamp": str(1705234567 + int(number)), "type": "text",
            "text": {"body": body}, **members}


def message(number, kind, part, **members) -> dict:
    made = {**text(number), "type": kind, kind: part, **members}
    return {k: v for k, v in made.items() if k != "text" or kind == "text"}


def status(of, says, errors=(), at=1705234600, to="16505551234", **members) -> dict:
    return {**members, "id": of, "status": says, "timestamp": str(at), "recipient_id": to, **({"errors": [error_of(e) for e in errors]} if errors else {}),
            "conversation": {"id": "c1", "origin": {"type": "service"}}, "pricing": {"billable": True, "pricing_model": "CBP"}}


def change(messages=(), statuses=(), number=NUMBER, name="Kerry Fisher", field="messages", **more) -> dict:
    value = {"messaging_product": "whatsapp", "metadata": {"display_phone_number": "15550783881", "phone_number_id": number}, **more}
    if messages:
        value |= {"contacts": [{"profile": {"name": name}, "wa_id": m["from"]} for m in messages], "messages": list(messages)}
    if statuses:
        value["statuses"] = list(statuses)
    return {"field": field, "value": value}


def notification(*changes) -> bytes:
    return json.dumps({"object": "whatsapp_business_account", "entry": [{"id": "102290129340398", "changes": [c]} for c in changes]}).encode()


def signature(body: bytes, secret=SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def notify(server, body, headers=None):
    return server.request("POST", "/webhooks/whatsapp", body, {"Content-Type": "application/json", "X-Hub-Signature-256": signature(body),
                                                              **(headers or {})})


# ---- What is asked of it

class CloudApi:
    """Messages to be sent: POST /v23.0/NUMBER/messages. And media by their ids: GET /v23.0/ID gives an address, which gives the bytes for a while, both with the token.

    `media`: id -> (type, bytes). `fails`: what goes wrong next, by "id" (asking for the address) or "url" (asking for
    the bytes): names of ERRORS, or "expired" for an address that is not good any more; by "send" also "lost", for a
    message that is taken, but the answer is lost, and "gateway" for a server between. `sent`: the messages that were
    taken, each with the `wamid` that it got."""

    def __init__(self):
        self.media, self.fails, self.asked, self.lock = {}, {"id": [], "url": [], "send": []}, [], threading.Lock()
        self.sent, self.tries = [], 0
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                api.answer(self)

            def do_POST(self):
                api.take(self, json.loads(self.rfile.read(int(self.headers["content-length"]))))

            def reply(self, status, kind, body, headers=()):
                self.send_response(status)
                for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))), *headers):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # the other side went away
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def fail(self, handler, name):
        status, code, subcode, says = ERRORS[name]
        error = {"message": says, "type": "OAuthException", "code": code, "fbtrace_id": "A1", **({"error_subcode": subcode} if subcode else {})}
        handler.reply(status, "application/json", json.dumps({"error": error}).encode())

    def answer(self, handler):
        path = handler.path.split("?")[0].strip("/").split("/")
        kind, media_id = ("url" if path[0] == "download" else "id"), path[-1]
        with self.lock:
            self.asked.append((kind, media_id))
            wrong = self.fails[kind].pop(0) if self.fails[kind] else None
        if handler.headers["Authorization"] != "Bearer " + TOKEN:
            self.fail(handler, "token expired")
        elif wrong == "expired":
            handler.reply(404, "text/plain", b"URL signature expired")
        elif wrong:
            self.fail(handler, wrong)
        elif media_id not in self.media:
            self.fail(handler, "no such media")
        elif kind == "id":
            mime, data = self.media[media_id]
            handler.reply(200, "application/json", json.dumps(
                {"messaging_product": "whatsapp", "url": f"{self.url}/download/{media_id}", "mime_type": mime,
                 "sha256": hashlib.sha256(data).hexdigest(), "file_size": str(len(data)), "id": media_id}).encode())
        else:
            handler.reply(200, *self.media[media_id])

    def take(self, handler, message):
        with self.lock:
            self.tries += 1
            wrong = self.fails["send"].pop(0) if self.fails["send"] else None
            known = handler.path == f"/v23.0/{NUMBER}/messages" and handler.headers["Authorization"] == "Bearer " + TOKEN
            if known and wrong in (None, "lost"):
                message["wamid"] = f"wamid.OUT{len(self.sent)}"
                self.sent.append(message)
        if not known:
            self.fail(handler, "token expired")
        elif wrong == "lost":
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
        elif wrong == "gateway":
            handler.reply(502, "text/html", b"<h1>Bad gateway</h1>")
        elif wrong:
            self.fail(handler, wrong)
        else:
            handler.reply(200, "application/json", json.dumps(
                {"messaging_product": "whatsapp", "contacts": [{"input": message["to"], "wa_id": message["to"]}],
                 "messages": [{"id": message["wamid"]}]}).encode())

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
