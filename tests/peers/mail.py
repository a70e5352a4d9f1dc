#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A mail server for tests, out of `aiosmtpd`: keeps what it is given, offers TLS and asks for a password when told to.

  mail.py fetch            makes the virtual environment (once, in ${XDG_CACHE_HOME:-~/.cache}/deeplens, pinned)

A test that uses it calls enter(), which starts it again under the interpreter that has the package.
"""
import email
import email.policy
import logging
import pathlib
import ssl
import subprocess
import sys
import warnings

import peer

PACKAGES = ["aiosmtpd==1.4.6", "atpublic==7.0.0", "attrs==26.1.0"]


def fetch() -> pathlib.Path:
    return peer.environment("mail", PACKAGES)


def enter():
    peer.enter(fetch())


class Mailbox:
    """Takes mail on a port of its own. With a folder it offers TLS, under a certificate made there; with `login` it wants
    that user and password, and says so also without TLS, so that a client is tempted."""

    def __init__(self, folder=None, login=None):
        from aiosmtpd.controller import Controller
        from aiosmtpd.smtp import AuthResult, LoginPassword

        logging.getLogger("mail.log").setLevel(logging.CRITICAL)  # what a client does wrong on purpose
        warnings.simplefilter("ignore")
        self.mails, self.logins, self.encrypted, self.answers = [], [], [], []
        mailbox, more = self, {}

        def authenticate(server, session, envelope, mechanism, given):
            mailbox.logins.append((given.login.decode(), given.password.decode()))
            return AuthResult(success=isinstance(given, LoginPassword) and mailbox.logins[-1] == login)

        class Handler:
            async def handle_DATA(self, server, session, envelope):
                if mailbox.answers:
                    return mailbox.answers.pop(0)
                mailbox.encrypted.append(session.ssl is not None)
                mailbox.mails.append((envelope.mail_from, envelope.rcpt_tos,
                                      email.message_from_bytes(envelope.content, policy=email.policy.default)))
                return "250 OK"

        if folder:
            self.certificate = make_certificate(pathlib.Path(folder))
            more["tls_context"] = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            more["tls_context"].load_cert_chain(self.certificate, self.certificate.with_suffix(".key"))
        if login:
            more.update(auth_required=True, auth_require_tls=False, authenticator=authenticate)
        self.controller = Controller(Handler(), hostname="127.0.0.1", port=peer.free_ports(1)[0], **more)
        self.controller.start()

    @property
    def address(self) -> str:
        return f"smtp://127.0.0.1:{self.controller.port}"

    def stop(self):
        self.controller.stop()


def make_certificate(folder: pathlib.Path) -> pathlib.Path:
    """Of 127.0.0.1, signed by itself."""
    certificate = folder / "mail.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
                    certificate.with_suffix(".key"), "-out", certificate], check=True, capture_output=True)
    return certificate


if __name__ == "__main__":
    if sys.argv[1:] != ["fetch"]:
        sys.exit(__doc__)
    print(fetch())
