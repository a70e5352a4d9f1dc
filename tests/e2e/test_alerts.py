# SPDX-License-Identifier: Apache-2.0
"""Alerts as operators have them: by e-mail to a real mail server, by webhook and by command; rules, tests and silences."""
import contextlib
import json
import pathlib
import sqlite3
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))

import mail

mail.enter()

import harness
from harness import Case, png, wait_until

ADMIN = "/api/v1/admin/alerts"
TO = ("--alert-email-to", "ops@example.com,night@example.com", "--alert-email-from", "deeplens@example.com")
BROKEN = ("--fault", "extractor.extract:IMAGE_CORRUPT@1+")


class Alerts(Case):
    def mailbox(self, **options) -> mail.Mailbox:
        box = mail.Mailbox(**options)
        self.addCleanup(box.stop)
        return box

    # --- E-mail

    def test_failures_come_as_an_email(self):
        box = self.mailbox()
        server = self.server(*BROKEN, "--alert-smtp", box.address, *TO)
        image = server.upload(png(1)).json["imageId"]
        wait_until(lambda: box.mails, "the mail comes")
        sender, recipients, message = box.mails[0]
        self.assertEqual((sender, recipients), ("deeplens@example.com", ["ops@example.com", "night@example.com"]))
        self.assertEqual((message["From"], message["To"]), ("deeplens@example.com", "ops@example.com, night@example.com"))
        self.assertRegex(message["Subject"], r"^\[DeepLens\] happened: processing\.failed: ")
        self.assertTrue(message["Date"].datetime and message["Message-ID"])
        self.assertEqual(message["Auto-Submitted"], "auto-generated")
        text = message.get_content()
        self.assertIn("happened: extract/IMAGE_CORRUPT", text)
        self.assertIn(f"mediaId: {image}", text)

    def test_nobody_writes_headers_through_a_name(self):
        """Bytes of others in an alert (here an event's) stay text."""
        box = self.mailbox()
        server = self.server("--alert-smtp", box.address, *TO)
        event = {"imageId": "x", "tenantId": "default", "status": "failed", "failedAt": "2026-01-01T00:00:00Z", "attemptNumber": 9,
                 "error": {"code": "A\r\nBcc: mallory@example.com\r\n\r\n.\r\n", "message": "ü\r\n.\r\nQUIT", "retryable": False}}
        made = self.cli("topics", "produce", "deeplens.processing.failed", "--key", "x", server=server, stdin=json.dumps(event))
        self.assertEqual(made.returncode, 0, made.stderr)
        wait_until(lambda: box.mails, "the mail comes")
        _, recipients, message = box.mails[0]
        self.assertEqual((recipients, message["Bcc"]), (["ops@example.com", "night@example.com"], None))
        self.assertEqual(len(box.mails), 1)

    def test_a_password_goes_over_tls(self):
        box = self.mailbox(folder=self.scratch, login=("lens", "open sesame"))
        server = self.server("--alert-smtp", box.address, *TO, "--alert-smtp-user", "lens", "--alert-smtp-ca-file",
                             str(box.certificate), env={"DEEPLENS_ALERT_SMTP_PASSWORD": "open sesame"})
        self.assertEqual(server.request("POST", ADMIN + "/test").json, {"results": [{"channel": "email", "error": None}]})
        self.assertEqual((box.logins, box.encrypted), ([("lens", "open sesame")], [True]))

    def test_a_password_goes_over_nothing_else(self):
        plain = self.mailbox(login=("lens", "open sesame"))
        stranger = self.mailbox(folder=self.scratch, login=("lens", "open sesame"))
        for box, says in ((plain, "offers no TLS"), (stranger, "certificate")):
            with self.server("--alert-smtp", box.address, *TO, "--alert-smtp-user", "lens", "--alert-smtp-password", "open sesame",
                             name=says) as server:
                result, = server.request("POST", ADMIN + "/test").json["results"]
                self.assertIn(says, result["error"])
                self.assertNotIn("sesame", result["error"])
            self.assertEqual((box.logins, box.mails), ([], []))

    def test_a_server_that_refuses_is_asked_again(self):
        box = self.mailbox()
        box.answers += ["451 not now"]
        server = self.server(*BROKEN, "--alert-smtp", box.address, *TO)
        server.upload(png(1))
        wait_until(lambda: box.mails, "the mail comes at the second try")
        wait_until(lambda: server.metric('deeplens_alerts_total{outcome="sent"}') == 1, "it is counted")

    def test_the_password_is_never_shown(self):
        result = self.cli("doctor", "--data-dir", self.scratch, env={"DEEPLENS_ALERT_SMTP_PASSWORD": "sesame"})
        self.assertIn('alert.smtp_password = "***"', result.stdout)
        self.assertNotIn("sesame", result.stdout + result.stderr)

    # --- Conditions

    def test_a_condition_is_told_once_over_a_restart_and_its_end_too(self):
        web = self.listener()
        flags = ("--alert-webhook", web.url, "--lag-interval", "100ms")
        server = self.server(*flags, "--alert-disk", "1000T")
        wait_until(lambda: [a for a in web.told if a["alert"] == "disk.low"], "the disk is told")
        listed = [a for a in server.get(ADMIN).json["alerts"] if a["alert"] == "disk.low"]
        self.assertEqual((listed[0]["status"], listed[0]["subject"]), ("firing", "blobs"))
        self.assertEqual(self.cli("alerts", "list", server=server).returncode, 1)
        wait_until(lambda: "disk.low" in self.kept(server), "that it was told is kept")
        server.kill()
        server.start()
        server.upload(png(1))
        server.settle()
        self.assertEqual(len([a for a in web.told if a["alert"] == "disk.low"]), 1)
        server.stop()
        server = self.server(*flags, "--alert-disk", "1")
        wait_until(lambda: len([a for a in web.told if a["alert"] == "disk.low"]) == 2, "its end is told")
        self.assertEqual([a["status"] for a in web.told if a["alert"] == "disk.low"], ["firing", "resolved"])
        wait_until(lambda: self.cli("alerts", "list", server=server).returncode == 0, "nothing is wrong")

    def kept(self, server) -> str:
        with contextlib.closing(sqlite3.connect(f"file:{server.data_dir}/deeplens.db?mode=ro", uri=True)) as database:
            return str(database.execute("SELECT value FROM setting WHERE name = 'alerts.firing'").fetchall())

    def test_g6_what_is_away_is_told_by_its_step(self):
        web = self.listener()
        server = self.server("--fault", "extractor.extract:UNAVAILABLE@1+", "--alert-webhook", web.url, "--lag-interval", "100ms")
        server.upload(png(1))
        wait_until(lambda: [a for a in web.told if a["alert"] == "check.failing"], "the pause is told")
        first = [a for a in web.told if a["alert"] == "check.failing"][0]["alerts"][0]
        self.assertEqual((first["subject"], first["status"]), ("extract", "firing"))
        self.assertIn("paused", first["message"])

    # --- The commands

    def test_rules_and_a_test_by_hand(self):
        web = self.listener()
        server = self.server("--alert-webhook", web.url, "--alert-command", "exit 7", "--alert-off", "consumer.age")
        rules = self.cli("alerts", "rules", server=server)
        self.assertRegex(rules.stdout, r"(?m)^consumer\.age +no ")
        self.assertRegex(rules.stdout, r"(?m)^consumer\.lag +yes ")
        self.assertIn("Told by: webhook, command", rules.stdout)
        tested = self.cli("alerts", "test", server=server)
        self.assertEqual((tested.returncode, tested.stdout), (1, "webhook: taken\ncommand: alert.command failed: exit code 7\n"))
        self.assertEqual([a["alert"] for a in web.told], ["test"])

    def test_without_anybody_a_test_says_what_to_set(self):
        server = self.server()
        self.assert_problem(server.request("POST", ADMIN + "/test"), 409, "CONFLICT", "alert.webhook")
        result = self.cli("alerts", "test", server=server)
        self.assertEqual(result.returncode, 1)
        self.assertIn("alert.smtp", result.stderr)
        self.assertIn("nobody", self.cli("alerts", "rules", server=server).stdout)

    def test_a_silence_holds_until_it_is_ended(self):
        web = self.listener()
        server = self.server("--alert-webhook", web.url, "--lag-interval", "100ms", "--alert-disk", "1000T")
        wait_until(lambda: [a for a in web.told if a["alert"] == "disk.low"], "the disk is told")
        made = self.cli("alerts", "silence", "disk.low", "--for", "1h", "--comment", "a new one is on its way", server=server)
        self.assertEqual(made.returncode, 0, made.stderr)
        silence = made.stdout.split()[0]
        listed = self.cli("alerts", "list", server=server)
        self.assertEqual(listed.returncode, 0, "what is silenced is nobody's trouble")
        self.assertIn("a new one is on its way", listed.stdout)
        self.assertRegex(listed.stdout, r"(?m)^disk\.low +silenced ")
        server.kill()
        server.start()
        self.assertEqual([s["id"] for s in server.get(ADMIN).json["silences"]], [silence])
        self.assertEqual(self.cli("alerts", "unsilence", silence, server=server).returncode, 0)
        self.assertEqual(server.get(ADMIN).json["silences"], [])
        self.assert_problem(server.request("DELETE", f"{ADMIN}/silences/{silence}"), 404, "NOT_FOUND")

    def test_wrong_silences_are_refused(self):
        server = self.server()
        for body, says in (({"durationMs": 1, "alrt": "x"}, "alrt"), ({}, "366 days"), ({"durationMs": "1h"}, "durationMs"),
                           ({"durationMs": 1, "alert": "gone"}, "gone"), ({"durationMs": 1, "subject": 5}, "subject"),
                           ({"durationMs": 1, "comment": "x" * 500}, "comment"), ({"durationMs": 10**17}, "366 days")):
            self.assert_problem(server.post_json(ADMIN + "/silences", body), 400, "INVALID_REQUEST", says)
        for arguments in ((), ("consumer.lag", "--all"), ("consumer.lag", "--for", "long")):
            self.assertEqual(self.cli("alerts", "silence", *arguments, server=server).returncode, 2)
        self.assertEqual(server.get(ADMIN).json["silences"], [])

    def test_wrong_settings_are_refused_at_the_start(self):
        for flags, says in ((("--alert-smtp", "mail.example.com"), "smtp://"), (("--alert-smtp", "smtp://mail"), "alert.email_to"),
                            (("--alert-email-to", "a@b"), "alert.smtp"), (("--alert-off", "nothing"), "alert.off")):
            result = self.cli("serve", "--data-dir", f"{self.scratch}/wrong", "--http-listen", "127.0.0.1:0", *flags)
            self.assertNotEqual(result.returncode, 0)
            self.assertIn(says, result.stderr)


if __name__ == "__main__":
    harness.main()
