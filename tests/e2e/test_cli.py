# SPDX-License-Identifier: Apache-2.0
"""The command line, as people and scripts use it: the real program against the real server, and against none."""
import html.parser
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess

import harness
from harness import BINARY, Case, png, wait_until

COMMANDS = ["serve", "upload", "search", "status", "events", "list", "delete", "ledger", "topics", "topics list", "topics describe",
            "topics create", "topics alter", "topics delete", "topics recreate", "topics ensure", "topics peek", "topics produce",
            "groups", "groups list", "groups describe", "groups reset", "groups delete", "lag", "dlq", "dlq list", "dlq show",
            "dlq replay", "dlq purge", "webhooks", "webhooks list", "webhooks add", "webhooks test", "webhooks deliveries", "webhooks replay", "tenants", "tenants list", "tenants add", "models", "models list", "doctor"]
DEFAULT_PORT = 8080


class Program(Case):
    """The program with a server, and helpers to read what it says."""

    def said(self, *arguments, code=0, **more) -> str:
        """Its stdout; it must end with this code."""
        result = self.cli(*arguments, **more)
        self.assertEqual(result.returncode, code, f"{arguments}\n{result.stdout}\n{result.stderr}")
        if code:
            self.assertTrue(result.stderr.strip(), "it failed without a word")
        return result.stdout

    def json(self, *arguments, code=0, **more):
        """The one JSON document that it says."""
        result = self.cli(*arguments, "--json", **more)
        self.assertEqual(result.returncode, code, f"{arguments}\n{result.stdout}\n{result.stderr}")
        return json.loads(result.stdout)

    def json_lines(self, *arguments, **more) -> list:
        return [json.loads(line) for line in self.said(*arguments, "--json", **more).splitlines()]

    def need_default_port(self):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", DEFAULT_PORT)) == 0:
                self.skipTest(f"something answers at port {DEFAULT_PORT}, where commands look for a server")

    def folder(self, names, where="pictures", first=0) -> str:
        """A folder of pictures, a different one under each name."""
        for seed, name in enumerate(names, first):
            path = pathlib.Path(self.scratch, where, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(seed))
        return os.path.join(self.scratch, where)


class Uploading(Program):
    def test_files_folders_and_stdin(self):
        server = self.server()
        folder = self.folder(["a.png", "sub/b.png", "sub/deeper/c.PNG", ".hidden.png", ".git/d.png"])
        pathlib.Path(folder, "notes.txt").write_text("no image", encoding="utf-8")
        single = self.folder(["one ü.png"], "single", 50) + "/one ü.png"
        summary = self.json("upload", folder, single, "--wait", "--tags", "x,y", "--metadata", '{"from": "cli"}', "--jobs", "3",
                            server=server)
        self.assertEqual({name: summary[name] for name in ("uploaded", "duplicates", "resumed", "refused", "searchable", "failed")},
                         {"uploaded": 4, "duplicates": 0, "resumed": 0, "refused": 0, "searchable": 4, "failed": 0})
        self.assertEqual(summary["passedOver"], {"hidden": 2, "noImage": 1})
        items = server.items()
        self.assertEqual({item["fileName"] for item in items}, {"a.png", "b.png", "c.PNG", "one ü.png"})
        for item in items:
            self.assertEqual((item["tags"], item["metadata"], item["status"]), (["x", "y"], {"from": "cli"}, "completed"))
        self.assertEqual(summary["bytes"], sum(item["sizeBytes"] for item in items))
        again = self.json("upload", "-", "--name", "piped.png", server=server, stdin=png(99))
        self.assertEqual((again["uploaded"], server.items()[0]["fileName"]), (1, "piped.png"))
        same = self.json("upload", "-", "--name", "piped.png", server=server, stdin=png(99))
        self.assertEqual((same["uploaded"], same["duplicates"]), (0, 1))
        self.said("upload", "-", server=server, stdin=png(99), code=2)
        more = self.json("upload", "-", "--name", "piped.png", "--skip-duplicate-check", "--no-thumbnail", "--priority", "high",
                         "--models", "builtin", server=server, stdin=png(99))
        self.assertEqual(more["uploaded"], 1)
        server.settle()
        self.assertIsNone(server.items()[0]["thumbnailUrl"])

    def test_what_is_refused_is_told(self):
        server = self.server()
        folder = self.folder(["good.png", "cut.png", "empty.png"])
        pathlib.Path(folder, "text.jpg").write_text("no image at all", encoding="utf-8")
        pathlib.Path(folder, "cut.png").write_bytes(png(7)[:-30])
        pathlib.Path(folder, "empty.png").write_bytes(b"")
        summary = self.json("upload", folder, server=server, code=1)
        self.assertEqual((summary["uploaded"], summary["refused"]), (1, 3))
        codes = {os.path.basename(image["path"]): image["error"]["code"] for image in summary["images"] if "error" in image}
        self.assertEqual(codes, {"text.jpg": "UNSUPPORTED_MEDIA", "cut.png": "IMAGE_TRUNCATED", "empty.png": "EMPTY_FILE"})
        result = self.cli("upload", folder, server=server)
        self.assertEqual(result.returncode, 1)
        for word in ("text.jpg", "cut.png", "empty.png", "UNSUPPORTED_MEDIA", "IMAGE_TRUNCATED", "EMPTY_FILE"):
            self.assertIn(word, result.stderr)
        self.assertRegex(result.stdout, r"3\s+refused")
        self.assertEqual(server.settle()["accepted"], 1)

    def test_failures_are_told(self):
        server = self.server("--fault", "extractor.extract:IMAGE_CORRUPT@1")
        summary = self.json("upload", self.folder(["a.png", "b.png"]), "--wait", "--jobs", "1", server=server, code=1)
        self.assertEqual((summary["searchable"], summary["failed"]), (1, 1))

    def test_it_goes_on_after_an_interruption(self):
        """The client is killed in the middle; the same command passes over what was acknowledged."""
        server = self.server("--fault", "meta.media_insert:sleep=20@1+")
        folder = self.folder([f"{seed:03}.png" for seed in range(120)])
        command = [BINARY, "upload", folder, "--jobs", "2", "--server", server.url]
        env = {**os.environ, "XDG_STATE_HOME": self.scratch, "XDG_DATA_HOME": self.scratch}
        for number, least in ((signal.SIGKILL, 10), (signal.SIGINT, 40)):
            with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as client:
                wait_until(lambda least=least: server.ledger()["accepted"] >= least, "some are uploaded")
                client.send_signal(number)
                self.assertNotEqual(client.wait(harness.PATIENCE), 0)
        before = server.ledger()["accepted"]
        self.assertLess(before, 120, "the interruption came too late to show anything")
        summary = self.json("upload", folder, "--wait", server=server)
        self.assertEqual(summary["uploaded"] + summary["duplicates"] + summary["resumed"], 120)
        self.assertEqual(summary["uploaded"], 120 - before)
        self.assertLessEqual(summary["duplicates"], 4, "what was acknowledged was sent again")
        self.assertEqual(server.settle()["accepted"], 120)
        third = self.json("upload", folder, server=server)
        self.assertEqual((third["resumed"], third["uploaded"], third["duplicates"]), (120, 0, 0))
        pathlib.Path(folder, "000.png").write_bytes(png(5000))
        changed = self.json("upload", folder, server=server)
        self.assertEqual((changed["resumed"], changed["uploaded"]), (119, 1), "a file that changed is another")
        anew = self.json("upload", folder, "--no-resume", server=server)
        self.assertEqual((anew["resumed"], anew["duplicates"]), (0, 120))

    def test_what_was_deleted_is_uploaded_again(self):
        server = self.server()
        folder = self.folder(["a.png", "b.png"])
        first = self.json("upload", folder, "--wait", server=server)
        self.said("delete", first["images"][0]["imageId"], "--yes", server=server)
        server.settle()
        again = self.json("upload", folder, server=server)
        self.assertEqual((again["uploaded"], again["resumed"]), (1, 1))

    def test_the_server_comes_back_in_the_middle(self):
        server = self.server("--fault", "meta.media_insert:sleep=20@1+")
        folder = self.folder([f"{seed:03}.png" for seed in range(60)])
        env = {**os.environ, "XDG_STATE_HOME": self.scratch, "XDG_DATA_HOME": self.scratch}
        port = server.port
        with subprocess.Popen([BINARY, "upload", folder, "--json", "--retries", "100", "--server", server.url], env=env,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as client:
            wait_until(lambda: server.ledger()["accepted"] >= 10, "some are uploaded")
            server.kill()
            server.flags = ("--http-listen", f"127.0.0.1:{port}")
            server.start()
            summary = json.loads(client.communicate(timeout=harness.PATIENCE)[0])
            self.assertEqual(client.returncode, 0, summary)
        self.assertEqual(summary["uploaded"] + summary["duplicates"], 60)
        ledger = server.settle()
        self.assertEqual((ledger["accepted"], ledger["searchable"]), (60, 60))

    def test_nothing_to_upload(self):
        server = self.server()
        self.said("upload", os.path.join(self.scratch, "missing.png"), server=server, code=1)
        self.said("upload", server=server, code=2)
        self.said("upload", "x.png", "--priority", "urgent", server=server, code=2)
        self.said("upload", "x.png", "--metadata", "{", server=server, code=2)
        folder = self.folder([".hidden.png", "notes.txt"])
        said = self.said("upload", folder, server=server)
        self.assertIn("nothing to upload", said)
        self.assertRegex(said, r"1\s+passed over: hidden")
        self.assertRegex(said, r"1\s+passed over: do not look like")
        self.assertIn("tenants add nobody", self.cli("upload", "--tenant", "nobody", os.path.join(folder, "notes.txt"),
                                                     server=server).stderr)
        self.assertIn("no such images", self.said("list", server=server))
        self.assertEqual(self.said("list", "--json", server=server), "")
        self.assertEqual(server.ledger()["accepted"], 0)


class Page(html.parser.HTMLParser):
    """Checks that every element is closed, and collects what is loaded from elsewhere."""
    VOID = {"meta", "img", "link", "br", "hr", "input"}

    def __init__(self):
        super().__init__()
        self.open, self.loaded, self.images, self.wrong = [], [], 0, []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if tag == "img" and name == "src":
                self.images += 1
            if (name == "src" or (tag == "link" and name == "href")) and not value.startswith("data:"):
                self.loaded.append(value)
        if tag == "script":
            self.wrong.append("a script")

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append("</" + tag + ">")


class Finding(Program):
    def fill(self, count=4):
        server = self.server()
        summary = self.json("upload", self.folder([f"<p&{n}>.png" for n in range(count)]), "--wait", server=server)
        server.settle()
        self.ids = [image["imageId"] for image in summary["images"]]
        return server

    def test_search(self):
        server = self.fill()
        file = os.path.join(self.scratch, "pictures", "<p&2>.png")
        found = self.json("search", file, "--top", "2", server=server)
        self.assertEqual([len(found["results"]), found["results"][0]["fileName"]], [2, "<p&2>.png"])
        table = self.said("search", file, server=server)
        self.assertRegex(table.splitlines()[1], r"^\s*1\s+1\.0000\s+img_\S+\s+<p&2>\.png")
        by_id = self.json("search", "--id", self.ids[0], server=server)
        self.assertEqual({hit["imageId"] for hit in by_id["results"]}, set(self.ids[1:]))
        vector = next(r for r in server.records("deeplens.vectors.indexing") if r["key"] == self.ids[1])["value"]["data"]
        for number, value in enumerate((vector["featureVector"], {"vector": vector["featureVector"]})):
            path = os.path.join(self.scratch, f"v{number}.json")
            pathlib.Path(path).write_text(json.dumps(value), encoding="utf-8")
            by_vector = self.json("search", "--vector", path, "--min-score", "0.999", server=server)
            self.assertEqual([hit["imageId"] for hit in by_vector["results"]], [self.ids[1]])
        both = self.json("search", file, "--id", self.ids[0], server=server)
        self.assertEqual(both["results"][0]["imageId"], self.ids[2], "the file's, as the item is left out")
        filtered = self.json("search", file, "--filter", '{"fileName": "<p&0>.png"}', server=server)
        self.assertEqual([hit["imageId"] for hit in filtered["results"]], [self.ids[0]])
        for arguments, code in (([], 2), ([file, "--vector", path], 2), (["--without", "x"], 2), (["--filter", "{", file], 2), (["/missing.png"], 1),
                                ([file, "--top", "x"], 2), (["--id", "x"], 1), ([file, "--model", "none"], 1),
                                ([file, "--tenant", "nobody"], 1)):
            self.said("search", *arguments, server=server, code=code)

    def test_page(self):
        server = self.fill()
        path = pathlib.Path(self.scratch, "found.html")
        self.said("search", os.path.join(self.scratch, "pictures", "<p&1>.png"), "--html", str(path), server=server)
        text = path.read_text(encoding="utf-8")
        page = Page()
        page.feed(text)
        page.close()
        self.assertEqual((page.open, page.wrong, page.loaded), ([], [], []))
        self.assertEqual(page.images, 5, "the query and four hits")
        self.assertIn("&lt;p&amp;1&gt;.png", text)
        self.assertNotIn("<p&1>", text)

    def test_status_list_delete(self):
        server = self.fill()
        self.assertIn("completed", self.said("status", self.ids[0], server=server))
        self.assertEqual([s["imageId"] for s in self.json_lines("status", *self.ids, server=server)], self.ids)
        self.said("status", "img_123456", server=server, code=1)
        self.said("status", server=server, code=2)
        listed = self.json_lines("list", server=server)
        self.assertEqual({item["imageId"] for item in listed}, set(self.ids))
        self.assertEqual(len(self.json_lines("list", "--limit", "2", server=server)), 2)
        self.assertEqual(len(self.json_lines("list", "--limit", "1", "--all", server=server)), 4)
        self.assertEqual(len(self.json_lines("list", "--name", "p&3", server=server)), 1)
        self.assertEqual(self.json_lines("list", "--status", "failed", server=server), [])
        self.assertEqual(self.json_lines("list", "--tag", "none", server=server), [])
        self.assertEqual(len(self.json_lines("list", "--from", "2020-01-01", "--to", "2999-01-01T00:00:00Z", server=server)), 4)
        self.assertEqual(len(self.said("list", server=server).splitlines()), 5)
        self.assertIn(self.ids[0], self.said("delete", self.ids[0], "--yes", server=server))
        deleted = self.json("delete", self.ids[0], self.ids[1], "--yes", server=server, code=1)
        self.assertEqual([("error" in one, one["imageId"]) for one in deleted], [(True, self.ids[0]), (False, self.ids[1])])
        server.settle()
        self.assertEqual({item["imageId"] for item in self.json_lines("list", server=server)}, set(self.ids[2:]))

    def test_watching(self):
        server = self.server("--fault", "extractor.extract:EXTRACTION_FAILED@1", "--retry-base", "500ms")
        image_id = server.upload(png(1)).json["imageId"]
        changes = self.json_lines("status", image_id, "--watch", server=server)
        self.assertEqual(changes[-1]["status"], "completed")
        self.assertGreater(len(changes), 1)
        failing = self.server("--fault", "extractor.extract:IMAGE_CORRUPT@1+", name="failing")
        image_id = failing.upload(png(1)).json["imageId"]
        self.assertIn("IMAGE_CORRUPT", self.cli("status", image_id, "--watch", server=failing).stdout)
        self.assertEqual(self.cli("status", image_id, "--watch", server=failing).returncode, 1)

    def test_events(self):
        server = self.server()
        ids = [server.upload(png(seed)).json["imageId"] for seed in (1, 2)]
        for image_id in ids:
            server.wait_status(image_id, "completed")
        events = self.json_lines("events", server=server)
        self.assertEqual([event["seq"] for event in events], list(range(1, 7)))
        self.assertEqual([e["status"] for e in events if e["imageId"] == ids[0]], ["uploaded", "processing", "completed"])
        self.assertEqual([e["seq"] for e in self.json_lines("events", "--since", "4", server=server)], [5, 6])
        chosen = self.json_lines("events", "--image", ids[1], "--status", "completed,failed", server=server)
        self.assertEqual([(e["imageId"], e["status"]) for e in chosen], [(ids[1], "completed")])
        self.assertEqual(self.said("events", "--since", "4", server=server).splitlines()[1].split()[0], "6")
        self.assertEqual(self.json_lines("events", "--since", "6", server=server), [])
        self.said("events", "--image", "no-id", server=server, code=1)
        self.said("events", "--tenant", "nobody", server=server, code=1)

    def test_following_goes_on_after_the_server_was_killed(self):
        """Each change once and in order, though the connection breaks; those that were made meanwhile, too."""
        server = self.server()
        first = server.upload(png(1)).json["imageId"]
        server.wait_status(first, "completed")
        with subprocess.Popen([BINARY, "events", "--follow", "--since", "0", "--json", "--server", server.url],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as client:
            self.addCleanup(client.kill)
            seen = [json.loads(client.stdout.readline()) for _ in range(3)]
            server.flags = ("--http-listen", f"127.0.0.1:{server.port}")
            server.kill()
            server.start()
            second = server.upload(png(2)).json["imageId"]
            while seen[-1]["imageId"] != second or seen[-1]["status"] != "completed":
                seen.append(json.loads(client.stdout.readline()))
            client.send_signal(signal.SIGINT)
            self.assertEqual(client.wait(harness.PATIENCE), 130)
            self.assertIn("tried again", client.stderr.read())
        self.assertEqual([(e["imageId"], e["status"]) for e in seen],
                         [(i, status) for i in (first, second) for status in ("uploaded", "processing", "completed")])
        self.assertEqual([e["seq"] for e in seen], sorted({e["seq"] for e in seen}))

    def test_waiting_goes_on_after_the_server_was_killed(self):
        server = self.server("--fault", "extractor.extract:sleep=30000@1+")  # nothing ends here
        command = [BINARY, "upload", self.folder(["a.png", "b.png", "c.png"]), "--wait", "--json", "--server", server.url]
        env = {**os.environ, "XDG_STATE_HOME": self.scratch}
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as client:
            self.addCleanup(client.kill)
            wait_until(lambda: server.ledger()["accepted"] == 3, "all are uploaded")
            server.flags = ("--http-listen", f"127.0.0.1:{server.port}")
            server.kill()
            server.start()
            summary = json.loads(client.stdout.read())
            self.assertEqual((client.wait(harness.PATIENCE), summary["searchable"]), (0, 3))

    def test_tenants(self):
        server = self.server()
        self.assertEqual(self.json("tenants", "add", "shop", server=server), {"name": "shop"})
        self.said("tenants", "add", "a b", server=server, code=1)
        self.assertEqual([t["name"] for t in self.json("tenants", "list", server=server)["tenants"]], ["default", "shop"])
        self.assertEqual(len(self.said("tenants", "list", server=server).splitlines()), 3)
        summary = self.json("upload", "-", "--name", "a.png", "--tenant", "shop", "--wait", server=server, stdin=png(1))
        self.assertEqual(summary["searchable"], 1)
        self.assertEqual(len(self.json_lines("list", "--tenant", "shop", server=server)), 1)
        self.assertEqual(self.json_lines("list", server=server), [])
        self.assertEqual(self.json("ledger", "--tenant", "shop", server=server)["accepted"], 1)
        self.assertEqual(self.json("ledger", "--tenant", "default", server=server)["accepted"], 0)
        self.said("ledger", "--tenant", "nobody", server=server, code=1)


class Administering(Program):
    """The same commands ask a server, or open the data directory when none runs."""

    def fill(self):
        """A stopped server's data: three items, of which one failed."""
        server = self.server("--fault", "extractor.extract:EXTRACTION_FAILED@2", "--retry-attempts", "1")
        self.ids = []
        for seed in range(3):
            self.ids.append(server.upload(png(seed)).json["imageId"])
            server.wait_status(self.ids[-1], "completed", "failed")
        server.settle()
        server.stop()
        server.flags = ()
        return server

    def check_everything(self, ask, server=None):
        more = {"server": server} if server else {}
        ledger = self.json("ledger", *ask, **more)
        self.assertEqual((ledger["accepted"], ledger["searchable"], ledger["failed"], ledger["closes"]), (3, 2, 1, True))
        self.assertIn("The ledger closes", self.said("ledger", *ask, **more))
        topics = {topic["name"]: topic for topic in self.json("topics", "list", *ask, **more)["topics"]}
        self.assertEqual((len(topics), topics["deeplens.images.uploaded"]["records"]), (9, 3))
        self.assertEqual(len(self.said("topics", "list", *ask, **more).splitlines()), 10)
        one = self.json("topics", "describe", "deeplens.images.uploaded", *ask, **more)
        self.assertEqual(sum(p["end"] - p["begin"] for p in one["partitions"]), 3)
        self.said("topics", "describe", "deeplens.images.uploaded", *ask, **more)
        self.said("topics", "describe", "none", *ask, code=1, **more)
        peeked = self.json_lines("topics", "peek", "deeplens.images.uploaded", *ask, **more)
        self.assertEqual([record["key"] for record in peeked], self.ids)
        peeked = self.json_lines("topics", "peek", "deeplens.images.uploaded", "--offset", "earliest", "--limit", "1", *ask, **more)
        self.assertEqual([record["key"] for record in peeked], self.ids[:1])
        self.assertIn(self.ids[2], self.said("topics", "peek", "deeplens.images.uploaded", *ask, **more))
        groups = self.json("groups", "list", *ask, **more)["groups"]
        self.assertEqual({group["lag"] for group in groups}, {0})
        for group in groups:
            self.assertEqual(self.json("groups", "describe", group["name"], *ask, **more)["name"], group["name"])
        self.said("groups", "list", *ask, **more)
        self.said("groups", "describe", groups[0]["name"], *ask, **more)
        self.said("groups", "describe", "none", *ask, code=1, **more)
        letters = self.json("dlq", "list", *ask, **more)["items"]
        self.assertEqual([(x["mediaId"], x["code"]) for x in letters], [(self.ids[1], "EXTRACTION_FAILED")])
        self.assertIn("EXTRACTION_FAILED", self.said("dlq", "list", *ask, **more))
        self.assertEqual(self.json("dlq", "list", "--code", "OTHER", *ask, **more)["items"], [])
        letter = self.json("dlq", "show", letters[0]["id"], *ask, **more)
        self.assertEqual(letter["value"]["data"]["imageId"], self.ids[1])
        self.assertIn("__dlq.errors.code", self.said("dlq", "show", letters[0]["id"], *ask, **more))
        self.said("dlq", "show", "0-99", *ask, code=1, **more)
        self.assertEqual([t["name"] for t in self.json("tenants", "list", *ask, **more)["tenants"]], ["default"])
        self.assertEqual(self.json("models", "list", *ask, **more)["models"][0]["name"], "builtin")
        self.assertEqual({item["status"] for item in self.json_lines("list", *ask, **more)}, {"completed", "failed"})
        self.assertEqual(self.json_lines("status", self.ids[0], *ask, **more)[0]["status"], "completed")
        return letters[0]["id"]

    def test_with_a_server(self):
        server = self.fill()
        server.start()
        letter = self.check_everything([], server)
        replayed = self.json("dlq", "replay", letter, server=server)
        self.assertEqual(replayed[0]["id"], letter)
        server.wait_status(self.ids[1], "completed")
        self.assertEqual(server.settle()["searchable"], 3)
        self.said("dlq", "replay", "0-99", server=server, code=1)

    def test_without_a_server(self):
        server = self.fill()
        self.need_default_port()
        where = ["--data-dir", server.data_dir]
        letter = self.check_everything(where)
        self.json("dlq", "replay", letter, *where)
        self.assertEqual(self.json("tenants", "add", "offline", *where), {"name": "offline"})
        server.start()
        server.wait_status(self.ids[1], "completed")  # the replay was waiting for it
        self.assertEqual(server.settle()["searchable"], 3)
        self.assertEqual(len(server.get("/api/v1/admin/tenants").json["tenants"]), 2)

    def test_data_directory_in_use(self):
        """A server has the data directory, but on another port than the commands look at."""
        server = self.server()
        self.need_default_port()
        result = self.cli("ledger", "--data-dir", server.data_dir)
        self.assertEqual(result.returncode, 1)
        for text in (server.data_dir, str(server.process.pid), "--server", str(DEFAULT_PORT)):
            self.assertIn(text, result.stderr)
        failed = self.json("ledger", "--data-dir", server.data_dir, code=1)
        self.assertEqual(failed["error"]["code"], "DATA_DIR_IN_USE")

    def test_nothing_anywhere(self):
        self.need_default_port()
        missing = os.path.join(self.scratch, "missing")
        result = self.cli("ledger", "--data-dir", missing)
        self.assertEqual(result.returncode, 1)
        self.assertIn("deeplens serve", result.stderr)
        self.assertFalse(os.path.exists(missing), "looking made a data directory")
        result = self.cli("ledger", "--server", "http://127.0.0.1:1")
        self.assertEqual(result.returncode, 1)
        self.assertIn("127.0.0.1:1", result.stderr)

    def test_doctor(self):
        server = self.server()
        report = self.json("doctor", "--data-dir", server.data_dir, server=server)
        self.assertTrue(report["ok"], report)
        self.assertEqual({check["result"] for check in report["checks"]}, {"ok"})
        configuration = next(check for check in report["checks"] if check["name"] == "configuration")
        self.assertIn("http.workers = ", json.dumps(configuration), "programs see all of it")
        said = self.said("doctor", "--data-dir", server.data_dir, server=server)
        self.assertIn("ok    server", said)
        self.assertRegex(said, r"(?m)^ +data\.dir = ")
        self.assertNotIn("http.workers", said, "people see what was set")
        server.stop()
        result = self.cli("doctor", "--data-dir", server.data_dir, "--server", server.url)
        self.assertRegex(result.stdout, r"(?m)^(warn|fail)  server")
        self.assertRegex(result.stdout, "->")


class Helping(Program):
    def test_version_and_help(self):
        self.assertRegex(self.said("--version"), r"^deeplens \d+\.\d+\.\d+")
        for arguments in (["--help"], ["help"], ["-h"]):
            self.assertIn("Commands:", self.said(*arguments))
        for command in COMMANDS:
            with self.subTest(command):
                text = self.said(*command.split(), "--help")
                self.assertIn("deeplens " + command, text)
                self.assertLessEqual(max(map(len, text.splitlines())), 120)
                if command not in ("topics", "groups", "dlq", "tenants", "models", "webhooks"):
                    self.assertIn("Example", text)
                self.assertEqual(self.said("help", *command.split()), text)
        overview = self.said("help")
        for command in COMMANDS:
            if " " not in command:
                self.assertRegex(overview, rf"(?m)^  {command} ")

    def test_usage_errors(self):
        for arguments, says in ((["nope"], "nope"), (["serch"], "search"), (["upload"], "Something is missing"),
                                (["list", "--nope"], "--nope"), (["list", "extra"], "extra"), (["topics"], "topics"),
                                (["topics", "nope"], "nope"), (["topics", "describe"], "missing"), (["status"], "missing"),
                                (["list", "--limit", "many"], "--limit"), (["search", "x", "--top"], "--top"),
                                (["dlq", "show"], "missing"), (["--nope"], "--nope")):
            with self.subTest(arguments):
                result = self.cli(*arguments)
                self.assertEqual((result.returncode, result.stdout), (2, ""), result.stderr)
                self.assertIn(says, result.stderr)
        self.assertEqual(self.cli().returncode, 2)

    def test_output_that_cannot_be_written(self):
        with open("/dev/full", "wb") as full:
            result = subprocess.run([BINARY, "help"], stdout=full, stderr=subprocess.PIPE, timeout=harness.PATIENCE, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertTrue(result.stderr)

    def test_man_page(self):
        path = pathlib.Path(self.scratch, "deeplens.1")
        path.write_text(self.said("help", "--man"), encoding="utf-8")
        text = path.read_text(encoding="utf-8")
        self.assertTrue(text.startswith(".") and ".TH" in text)
        for command in COMMANDS:
            self.assertIn(command.split()[-1], text)
        if not shutil.which("man"):
            self.skipTest("there is no man here to render the page with")
        shown = subprocess.run(["man", "--warnings", "-l", str(path)], capture_output=True, text=True, timeout=harness.PATIENCE,
                               env={**os.environ, "MANPAGER": "cat", "PAGER": "cat", "MANWIDTH": "100", "LC_ALL": "C.UTF-8"},
                               check=False)
        self.assertEqual((shown.returncode, shown.stderr), (0, ""))
        for word in ("NAME", "upload", "--http-listen"):
            self.assertIn(word, re.sub(".\b", "", shown.stdout))

    def test_install(self):
        """What `make install` runs: everything below DESTDIR and the prefix, and the program works from there."""
        build = pathlib.Path(BINARY).resolve().parent
        if not (build / "build.ninja").exists():
            self.skipTest(f"{BINARY} does not stand in a build folder that could be installed")
        there = pathlib.Path(self.scratch, "there")
        done = subprocess.run(["meson", "install", "-C", str(build), "--no-rebuild"], capture_output=True, text=True,
                              env={**os.environ, "DESTDIR": str(there)}, timeout=harness.PATIENCE, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        files = {str(path.relative_to(there)): path for path in there.rglob("*") if path.is_file()}
        installed = [next((path for name, path in files.items() if name.endswith(end)), None)
                     for end in ("bin/deeplens", "share/man/man1/deeplens.1", "share/bash-completion/completions/deeplens")]
        self.assertNotIn(None, installed, sorted(files))
        said = subprocess.run([installed[0], "--version"], capture_output=True, text=True, timeout=harness.PATIENCE, check=False)
        self.assertEqual((said.returncode, said.stdout), (0, self.said("--version")))
        self.assertEqual(installed[1].read_text(encoding="utf-8"), self.said("help", "--man"))
        self.assertEqual(installed[2].read_text(encoding="utf-8"), self.said("help", "--completion"))

    def test_completion(self):
        path = pathlib.Path(self.scratch, "completion")
        path.write_text(self.said("help", "--completion"), encoding="utf-8")
        script = f"""set -eu; source {path}; complete -p deeplens >/dev/null
        COMP_WORDS=(deeplens "$@"); COMP_CWORD=$#; _deeplens; printf '%s\\n' "${{COMPREPLY[@]}}\""""
        for words, offered in ((["up"], {"upload"}), (["topics", "p"], {"peek"}), (["upload", "--priority", "h"], {"high"}),
                               (["search", "--fi"], {"--filter"})):
            result = subprocess.run(["bash", "--norc", "-c", script, "bash", *words], capture_output=True, text=True,
                                    timeout=harness.PATIENCE, check=False)
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            self.assertLessEqual(offered, {word.strip() for word in result.stdout.splitlines()})


if __name__ == "__main__":
    harness.main()
