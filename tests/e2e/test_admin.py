# SPDX-License-Identifier: Apache-2.0
"""Administration as operators do it: topics, groups, lag, dead letters and alerts, with the real program; what destroys asks;
and what was cut off in the middle still ends."""
import json
import os
import pathlib
import pty
import re
import subprocess

import harness
from harness import BINARY, png, wait_until
from test_cli import Program

UPLOADED = "deeplens.images.uploaded"
EXTRACTION = "deeplens.features.extraction"
COMPLETED = "deeplens.processing.completed"
DEAD = "deeplens.processing.deadletter"


class Administration(Program):
    def on_terminal(self, answer, *arguments, server):
        """Runs a command on a terminal of its own, where a person answers; gives its exit code and all that it says."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(BINARY, [BINARY, *arguments, "--server", server.url])
        said = b""
        os.write(terminal, answer.encode() + b"\n")
        while True:
            try:
                part = os.read(terminal, 65536)
            except OSError:  # the other side is closed
                break
            if not part:
                break
            said += part
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode()

    def names(self, server):
        return {topic["name"] for topic in server.get("/api/v1/admin/topics").json["topics"]}

    def upload(self, server, count, first=0):
        return [server.upload(png(seed)).json["imageId"] for seed in range(first, first + count)]

    # --- Topics and records

    def test_a_topic_is_made_changed_and_deleted(self):
        server = self.server()
        made = self.json("topics", "create", "my-topic", "--partitions", "2", "--retention", "36h", server=server)
        self.assertEqual((len(made["partitions"]), made["retentionMs"]), (2, 36 * 3600 * 1000))
        self.said("topics", "create", "my-topic", server=server, code=1)
        self.said("topics", "create", "x", "--retention", "soon", server=server, code=2)
        self.said("topics", "alter", "my-topic", "--partitions", "4", server=server, code=2)
        self.said("topics", "alter", "my-topic", server=server, code=2)
        altered = self.json("topics", "alter", "my-topic", "--partitions", "4", "--retention", "forever", "--yes", server=server)
        self.assertEqual((len(altered["partitions"]), altered["retentionMs"]), (4, -1))
        self.said("topics", "alter", "my-topic", "--partitions", "2", "--yes", server=server, code=1)
        self.assertIn("retentionMs", self.said("topics", "describe", "my-topic", "--json", server=server))
        self.assertEqual(self.on_terminal("n", "topics", "delete", "my-topic", server=server)[0], 1)
        self.assertIn("my-topic", self.names(server))
        code, said = self.on_terminal("y", "topics", "delete", "my-topic", server=server)
        self.assertEqual((code, "for good?" in said), (0, True), said)
        self.assertNotIn("my-topic", self.names(server))

    def test_nothing_is_destroyed_unasked(self):
        server = self.server("--fault", "extractor.extract:IMAGE_CORRUPT@1+")
        image_id = self.upload(server, 1)[0]
        server.settle()
        self.json("groups", "reset", "readers", "--topic", UPLOADED, "--to-latest", "--yes", server=server)
        self.json("topics", "create", "my-topic", server=server)
        for arguments in (["topics", "delete", "my-topic"], ["topics", "recreate", "my-topic"], ["groups", "delete", "readers"],
                          ["topics", "alter", "my-topic", "--partitions", "9"], ["dlq", "purge", "--all"], ["delete", image_id]):
            with self.subTest(arguments):
                result = self.cli(*arguments, server=server)
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertIn("--yes", result.stderr)
        self.assertIn("my-topic", self.names(server))
        self.assertEqual(server.get("/api/v1/admin/groups/readers").status, 200)
        wait_until(lambda: len(self.json("dlq", "list", server=server)["items"]) == 1, "the letter is there")
        self.assertEqual(len(server.items()), 1)

    def test_what_the_catalogue_says_is_ensured(self):
        server = self.server()
        self.json("topics", "delete", "deeplens.processing.deadletter", "--yes", server=server)
        self.json("topics", "alter", "deeplens.vectors.indexing", "--partitions", "6", "--yes", server=server)
        report = {t["name"]: t for t in self.json("topics", "ensure", "--dry-run", server=server, code=1)["topics"]}
        self.assertEqual(report["deeplens.processing.deadletter"]["state"], "missing")
        self.assertEqual(report["deeplens.vectors.indexing"]["differences"], [{"setting": "partitions", "catalogue": 3, "actual": 6}])
        report = {t["name"]: t["state"] for t in self.json("topics", "ensure", server=server)["topics"]}
        self.assertEqual((report["deeplens.processing.deadletter"], report["deeplens.vectors.indexing"]), ("made", "differs"))
        self.assertRegex(self.said("topics", "ensure", server=server), r"deeplens.vectors.indexing\s+differs\s+partitions 6, not 3")
        server.stop()
        server.start()
        self.assertIn("deeplens.vectors.indexing is not as the catalogue says", server.log_text())
        self.upload(server, 4)  # and works with it
        self.assertEqual(server.settle()["searchable"], 4)

    def test_records_are_published_and_found(self):
        server = self.server()
        topic = "whatsapp-ready-messages"
        path = pathlib.Path(self.scratch, "record.json")
        path.write_text('{"tenantId": "acme", "n": 1}', encoding="utf-8")
        self.said("topics", "produce", topic, str(path), "--key", "k1", "--headers", '{"ce_source": "me"}', server=server)
        self.said("topics", "produce", topic, "--value", '{"n": 2}', "--key", "k2", server=server)
        lines = "".join(json.dumps({"tenantId": "acme", "n": n}) + "\n" for n in (3, 4)) + "\n"
        self.assertEqual(self.json("topics", "produce", topic, "--lines", server=server, stdin=lines)["published"], 2)
        self.said("topics", "produce", topic, "-", server=server, stdin=b"\0\xff")
        self.said("topics", "produce", "none", "--value", "x", server=server, code=1)
        self.said("topics", "produce", topic, "--value", "x", "--headers", "[]", server=server, code=2)
        self.said("topics", "produce", topic, str(path) + "-missing", server=server, code=1)

        def numbers(*arguments):
            return [r["value"]["n"] for r in self.json_lines("topics", "peek", topic, *arguments, server=server) if "value" in r]
        self.assertEqual(numbers("--limit", "100"), [1, 2, 3, 4])
        self.assertEqual(numbers("--tenant", "acme"), [1, 3, 4])
        self.assertEqual(numbers("--tenant", "acme", "--limit", "1"), [4])
        self.assertEqual(numbers("--tenant", "default"), [2])
        self.assertEqual(numbers("--key", "k1", "--offset", "earliest"), [1])
        self.assertEqual(numbers("--from", "1h"), [1, 2, 3, 4])
        self.assertEqual(numbers("--from", "2999-01-01"), [])
        self.said("topics", "peek", topic, "--from", "soon", server=server, code=2)
        self.said("topics", "peek", topic, "--from", "1h", "--offset", "1", server=server, code=2)
        first = self.json_lines("topics", "peek", topic, "--key", "k1", server=server)[0]
        self.assertEqual(first["headers"], {"ce_source": "me"})
        raw = [r for r in self.json_lines("topics", "peek", topic, server=server) if "valueBase64" in r]
        self.assertEqual([r["valueBase64"] for r in raw], ["AP8="])

    def test_garbage_is_a_dead_letter_and_the_rest_goes_on(self):
        server = self.server()
        garbage = {"a": "no JSON", "b": '{"imageId":', "c": "[1]", "d": '{"imageId": 7}', "e": ""}
        for key, text in garbage.items():
            self.said("topics", "produce", UPLOADED, "--key", key, "-", server=server, stdin=text)
        image_id = self.upload(server, 1)[0]
        server.wait_status(image_id, "completed")
        server.settle()
        letters = {r["key"]: r for r in server.records(DEAD)}
        self.assertEqual(set(letters), set(garbage))
        for key, text in garbage.items():
            self.assertEqual(letters[key]["headers"]["__dlq.errors.code"], "EVENT_INVALID")
            self.assertTrue(letters[key]["headers"]["__dlq.errors.message"])
        self.assertEqual(letters["c"]["value"], [1])

    def test_following_shows_what_comes_once(self):
        server = self.server()
        first = self.upload(server, 2)
        server.settle()
        command = [BINARY, "topics", "peek", UPLOADED, "--follow", "--json", "--server", server.url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as peek:
            self.addCleanup(peek.kill)
            seen = [json.loads(peek.stdout.readline())["key"] for _ in range(2)]
            more = self.upload(server, 20, 100)
            seen += [json.loads(peek.stdout.readline())["key"] for _ in range(20)]
            peek.kill()
        self.assertEqual(sorted(seen), sorted(first + more))

    # --- Making anew

    def stuck(self, count):
        """A stopped server's data: items that are prepared and wait for their vectors, and some that nobody has seen."""
        server = self.server("--fault", "extractor.extract:UNAVAILABLE@1+")
        ids = self.upload(server, count)
        wait_until(lambda: len(server.records(EXTRACTION)) == count, "all are prepared")
        server.stop()
        server.flags = ()
        return server, ids

    def assert_all_searchable(self, server, ids):
        server.start()
        ledger = server.settle()
        self.assertEqual((ledger["accepted"], ledger["searchable"], ledger["closes"]), (len(ids), len(ids), True))
        self.assertEqual(sorted(r["key"] for r in server.records(COMPLETED)), sorted(ids))  # each once

    def test_g2_a_topic_made_anew_loses_nothing(self):
        for topic in (UPLOADED, EXTRACTION):
            with self.subTest(topic):
                self.need_default_port()
                server, ids = self.stuck(5)
                server.start()
                self.assertIn("deeplens-", self.cli("topics", "recreate", topic, "--yes", server=server).stderr)  # somebody reads
                self.said("topics", "recreate", topic, "--yes", server=server, code=1)
                server.flags = ("--fault", "extractor.extract:UNAVAILABLE@1+")
                server.stop()
                server.flags = ()
                done = self.json("topics", "recreate", topic, "--yes", "--data-dir", server.data_dir)
                self.assertLessEqual(done["itemsPutBack"], 5)
                self.assert_all_searchable(server, ids)
                server.stop()
                harness.shutil.rmtree(server.data_dir)

    KILLS = ("eventlog.topic_delete:kill@1", "eventlog.topic_delete:after:kill@1", "eventlog.topic_create:kill@10",
             "eventlog.topic_create:after:kill@10", "eventlog.publish_tx:kill@3", "meta.setting_put:after:kill@2", "meta.setting_put:kill@3")

    def test_g2_it_may_be_killed_anywhere(self):
        self.need_default_port()
        for fault in self.KILLS:
            with self.subTest(fault):
                server, ids = self.stuck(5)
                killed = self.cli("topics", "recreate", EXTRACTION, "--yes", "--data-dir", server.data_dir, "--fault", fault)
                self.assertLess(killed.returncode, 0, "it was not killed")
                self.assert_all_searchable(server, ids)
                server.stop()
                harness.shutil.rmtree(server.data_dir)

    # --- Groups and lag

    def test_g3_a_group_put_back_does_nothing_twice(self):
        self.need_default_port()
        server = self.server()
        ids = self.upload(server, 5)
        server.settle()
        plan = self.json("groups", "reset", "deeplens-image-processing", "--to-earliest", server=server)
        self.assertEqual((plan["dryRun"], plan["members"]), (True, 1))
        self.said("groups", "reset", "deeplens-image-processing", "--to-earliest", "--yes", server=server, code=1)
        server.stop()
        where = ["--data-dir", server.data_dir]
        for group in ("deeplens-image-processing", "deeplens-feature-extraction", "deeplens-vector-indexing", "deeplens-status"):
            self.said("groups", "reset", group, "--to-earliest", *where)
            self.assertEqual({p["committed"] for p in self.json("groups", "describe", group, *where)["partitions"]} & {0}, set())
            done = self.json("groups", "reset", group, "--to-earliest", "--yes", *where)
            self.assertEqual({p["to"] for p in done["partitions"]}, {0})
        self.assert_all_searchable(server, ids)
        server.stop()
        self.assertIn("forgotten", self.said("groups", "delete", "deeplens-status", "--yes", *where))
        self.said("groups", "describe", "deeplens-status", *where, code=1)
        self.assert_all_searchable(server, ids)

    def test_groups_are_put_where_it_is_said(self):
        server = self.server()
        self.upload(server, 6)
        server.settle()

        def put(*arguments):
            answer = self.json("groups", "reset", "readers", "--topic", UPLOADED, *arguments, "--yes", server=server)
            return sum(p["to"] for p in answer["partitions"]), sum(p["lag"] for p in answer["partitions"])
        self.assertEqual(put("--to-latest"), (6, 0))
        self.assertEqual(put("--to-earliest"), (0, 6))
        self.assertEqual(put("--to-datetime", "1h"), (0, 6))
        self.assertEqual(put("--to-datetime", "2999-01-01"), (6, 0))
        self.assertEqual(put("--shift-by", "-1000"), (0, 6))
        self.assertEqual(put("--to-offset", "1000"), (6, 0))
        self.assertEqual(put("--to-offset", "0", "--partition", "0")[0], 0)
        self.assertRegex(self.said("groups", "reset", "readers", "--to-latest", server=server), r"(?m)^deeplens.images.uploaded +0 ")
        for wrong in ([], ["--to-latest", "--to-earliest"], ["--to-offset", "x"], ["--to-datetime", "soon"]):
            self.said("groups", "reset", "readers", *wrong, server=server, code=2)
        self.said("groups", "reset", "nobody", "--to-latest", server=server, code=1)

    def test_lag_is_told_and_never_negative(self):
        server = self.server("--lag-alert", "3", "--lag-interval", "100ms")
        self.upload(server, 4)
        server.settle()
        self.assertFalse(self.json("lag", server=server)["alarming"])
        self.json("groups", "reset", "readers", "--topic", UPLOADED, "--to-earliest", "--yes", server=server)
        lag = self.json("lag", server=server, code=1)
        readers = next(g for g in lag["groups"] if g["name"] == "readers")
        self.assertEqual((readers["lag"], readers["aboveLimit"], lag["limit"]), (4, True, 3))
        self.assertGreater(readers["lagMs"], 0)
        for line in self.cli("lag", "--watch", "--times", "3", "--interval", "0.05", "--json", server=server).stdout.splitlines():
            for group in json.loads(line)["groups"]:
                for p in group["partitions"]:
                    self.assertGreaterEqual(min(p["lag"], p["lagMs"], p["end"]), 0)
        wait_until(lambda: "stalled" in self.cli("lag", "--limit", "100", server=server).stdout, "the group has stalled")
        self.assertEqual(self.cli("lag", "--limit", "100", server=server).returncode, 1)
        text = server.get("/metrics").body.decode()
        lags = re.findall(r'deeplens_partition_lag_events\{group="readers",topic="deeplens.images.uploaded",partition="\d"\} (\d+)', text)
        self.assertEqual((len(lags), sum(map(int, lags))), (3, 4))
        self.said("groups", "delete", "readers", "--yes", server=server)
        self.assertNotIn('group="readers"', server.get("/metrics").body.decode())
        self.assertEqual(self.cli("lag", server=server).returncode, 0)

    # --- Dead letters

    def test_letters_are_replayed_by_what_they_are(self):
        server = self.server("--fault", "extractor.extract:EXTRACTION_FAILED@1+", "--retry-attempts", "1", "--tenants-auto-create")
        ids = [server.upload(png(seed), tenant="acme" if seed % 2 else "shop").json["imageId"] for seed in range(6)]
        server.settle()
        server.stop()
        server.flags = ("--retry-attempts", "1")
        server.start()
        letters = self.json("dlq", "list", "--since", "1h", server=server)["items"]
        self.assertEqual(len(letters), 6)
        self.assertEqual(len(self.json("dlq", "list", "--until", "1h", server=server)["items"]), 0)
        for wrong in ([], ["0-0", "--all"], ["--since", "soon"]):
            self.said("dlq", "replay", *wrong, server=server, code=2)
        self.assertEqual(len(self.json("dlq", "replay", "--tenant", "acme", "--dry-run", server=server)), 3)
        self.assertEqual(server.ledger()["failed"], 6)
        self.assertEqual(len(self.json("dlq", "replay", "--tenant", "acme", "--limit", "2", "--rate", "100", server=server)), 2)
        wait_until(lambda: server.ledger()["searchable"] == 2, "two are searchable")
        for _ in range(2):  # again: those that are done stay as they are
            self.json("dlq", "replay", "--tenant", "acme", "--code", "EXTRACTION_FAILED", "--stage", "extract", server=server)
        wait_until(lambda: server.ledger()["searchable"] == 3, "all of them are")
        self.json("dlq", "replay", "--all", server=server)
        wait_until(lambda: server.ledger()["searchable"] == 6, "everything is")
        server.settle()
        done = [r["key"] for r in server.records(COMPLETED)]
        self.assertEqual(sorted(done), sorted(ids), "something was done twice")
        self.assertEqual(self.json("dlq", "purge", "--before", "1h", "--yes", server=server), {"dryRun": False, "removed": 0, "left": 6})
        self.assertEqual(self.json("dlq", "purge", "--all", "--dry-run", server=server)["removed"], 6)
        self.assertEqual(self.on_terminal("n", "dlq", "purge", "--all", server=server)[0], 1)
        self.assertEqual(self.json("dlq", "purge", "--all", "--yes", server=server)["left"], 0)
        self.assertEqual(self.json("dlq", "list", server=server)["items"], [])
        self.said("dlq", "purge", server=server, code=2)

    # --- Failures

    def test_a_failure_has_all_its_fields(self):
        server = self.server("--fault", "extractor.extract:EXTRACTION_TIMEOUT@1+", "--retry-attempts", "2", "--retry-base", "1ms")
        image_id = self.upload(server, 1)[0]
        server.wait_status(image_id, "failed")
        server.settle()
        events = [r["value"] for r in server.records("deeplens.processing.failed")]
        self.assertEqual([e["data"]["attemptNumber"] for e in events], [1, 2])
        for event in events:
            data = event["data"]
            self.assertEqual((data["imageId"], event["tenantId"], data["status"]), (image_id, "default", "failed"))
            self.assertEqual((data["error"]["code"], data["error"]["retryable"]), ("EXTRACTION_TIMEOUT", True))
            self.assertTrue(data["error"]["message"] and data["failedAt"])
            self.assertIn("step extract", data["error"]["stackTrace"])
        self.assertRegex(server.log_text(), rf"error runner: extract of {image_id} failed \(attempt 2 of 2, dead letter\)")

    def test_alerts_go_to_a_webhook_and_a_command(self):
        web = self.listener()
        told = pathlib.Path(self.scratch, "told")
        server = self.server("--fault", "extractor.extract:IMAGE_CORRUPT@1+", "--alert-webhook",
                             web.url, "--alert-command", f"cat >> {told}; echo >> {told}",
                             "--lag-alert", "5", "--lag-interval", "100ms")
        ids = self.upload(server, 40)
        self.assertEqual(server.settle()["failed"], 40)
        first = wait_until(lambda: [a for a in web.told if a["alert"] == "processing.failed"], "the webhook is told")
        wait_until(lambda: told.exists() and "processing.failed" in told.read_text(encoding="utf-8"), "the command is told")
        failure, = first[0]["alerts"]
        self.assertEqual((failure["subject"], failure["details"]["code"]), ("extract/IMAGE_CORRUPT", "IMAGE_CORRUPT"))
        self.assertIn(failure["details"]["mediaId"], ids)
        self.json("groups", "reset", "readers", "--topic", UPLOADED, "--to-earliest", "--yes", server=server)
        lag = wait_until(lambda: [one for a in web.told if a["alert"] == "consumer.lag" for one in a["alerts"]
                                  if one["subject"] == "readers"], "lag is told")
        self.assertEqual((lag[0]["status"], lag[0]["details"]["lag"]), ("firing", "40"))
        wait_until(lambda: [a for a in web.told if a["alert"] == "consumer.stalled"], "a stalled group is told")
        failures = [a for a in web.told if a["alert"] == "processing.failed"]
        self.assertEqual(len(failures), 1, "40 failures were told one by one")

    def test_alerts_are_in_nobodys_way(self):
        """A webhook that nobody answers and a command that never ends: everything is processed, and the server stops."""
        server = self.server("--fault", "extractor.extract:IMAGE_CORRUPT@1+", "--alert-webhook", "http://127.0.0.1:1/",
                             "--alert-command", "sleep 1000", "--alert-timeout", "60s")
        self.upload(server, 10)
        self.assertEqual(server.settle()["failed"], 10)
        self.assertEqual(server.stop(), 0)
        result = self.cli("serve", "--data-dir", server.data_dir, "--alert-webhook", "nowhere")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("alert.webhook", result.stderr)

    # --- The same over HTTP

    def test_over_http(self):
        server = self.server()
        self.assert_problem(server.post_json("/api/v1/admin/topics", {"name": "a b"}), 400, "INVALID_REQUEST")
        self.assert_problem(server.post_json("/api/v1/admin/topics", {"name": "x", "partitions": "3"}), 400, "INVALID_REQUEST", "partitions")
        self.assertEqual(server.post_json("/api/v1/admin/topics", {"name": "my"}).status, 201)
        self.assert_problem(server.post_json("/api/v1/admin/topics", {"name": "my"}), 409, "EXISTS")
        for body, says in (({}, "value"), ({"value": 1, "valueBase64": "AA=="}, "value"), ({"valueBase64": "!"}, "Base64"),
                           ({"value": 1, "headers": {"a": 1}}, "header")):
            self.assert_problem(server.post_json("/api/v1/admin/topics/my/records", body), 400, "INVALID_REQUEST", says)
        self.assertEqual(server.post_json("/api/v1/admin/topics/my/records", {"value": {"a": [1]}}).json["bytes"], 9)
        self.assert_problem(server.get("/api/v1/admin/topics/my/records?cursor=x"), 400, "INVALID_CURSOR")
        self.assert_problem(server.get("/api/v1/admin/topics/my/records?from=x"), 400, "INVALID_REQUEST")
        self.assertTrue(server.post_json("/api/v1/admin/topics/my/recreate", {}).json["dryRun"])  # unless it is said
        self.assertEqual(server.get("/api/v1/admin/topics/my").json["records"], 1)
        self.assert_problem(server.post_json(f"/api/v1/admin/topics/{UPLOADED}/recreate", {"dryRun": False}), 409, "CONFLICT")
        self.assert_problem(server.request("DELETE", f"/api/v1/admin/topics/{UPLOADED}"), 409, "CONFLICT")
        self.assert_problem(server.post_json("/api/v1/admin/groups/g/reset", {"to": "mars"}), 400, "INVALID_REQUEST")
        wait_until(lambda: server.get("/api/v1/admin/groups/deeplens-status").json.get("members"), "the group has its member")
        self.assert_problem(server.request("DELETE", "/api/v1/admin/groups/deeplens-status"), 409, "CONFLICT")
        self.assert_problem(server.request("DELETE", "/api/v1/admin/deadletters?dryRun=maybe"), 400, "INVALID_REQUEST")
        self.assertEqual(server.request("DELETE", "/api/v1/admin/deadletters").json, {"dryRun": True, "removed": 0, "left": 0})
        self.assertEqual(server.request("DELETE", "/api/v1/admin/topics/my").json["name"], "my")


if __name__ == "__main__":
    harness.main()
