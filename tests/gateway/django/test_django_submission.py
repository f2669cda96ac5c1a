"""``submission: django``: the gateway's mail by the backend of a Django project, in a process of its own."""

import asyncio
import base64
import json
import os
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.django_project import DjangoProject
from servers.postfix import postfix
from servers.site import ROOT, until
from servers.submission import EHLO, peer

SCRIPT = """
import asyncio, base64, json, sys

given = json.load(sys.stdin)
from django.conf import settings
settings.configure(SECRET_KEY="x", INSTALLED_APPS=["anymail"], **given["settings"])
import django
django.setup()
from django.core import mail
from gateway.django.submission import DjangoSubmission
from protocols.errors import NotSent


def told(error):
    refused = error.refused and told(error.refused)
    return {"kind": type(error).__name__, "said": str(error), "left": error.left, "refused": refused,
            "retry_after": error.retry_after}


async def main():
    exec(given["before"], globals())
    submission = DjangoSubmission(2)
    try:
        await submission.submit(given["mail_from"], given["rcpt_to"], base64.b64decode(given["message"]))
    except NotSent as error:
        return told(error)
    finally:
        await submission.close()


outcome = asyncio.run(main())
params = [getattr(each, "anymail_test_params", None) for each in getattr(mail, "outbox", [])]
print()
json.dump({"error": outcome, "sent": params}, sys.stdout, default=str)
"""
ANYMAIL = {"EMAIL_BACKEND": "anymail.backends.test.EmailBackend"}
MAIL = b"From: Desk <desk@example.net>\r\nTo: ann@example.org\r\nSubject: hi\r\n\r\nhello\r\n"
RICH = b"""\
From: Desk <desk@example.net>\r
To: Ann <ann@example.org>, other@example.org\r
Cc: bob@example.org\r
Reply-To: reply+1@example.net\r
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r
Message-ID: <1@example.net>\r
In-Reply-To: <0@example.org>\r
Auto-Submitted: auto-replied\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary=m\r
\r
--m\r
Content-Type: multipart/alternative; boundary=a\r
\r
--a\r
Content-Type: text/plain; charset=utf-8\r
Content-Transfer-Encoding: 8bit\r
\r
J\xc3\xb6rg\r
--a\r
Content-Type: text/html\r
\r
<p>html</p>\r
--a--\r
--m\r
Content-Type: application/octet-stream\r
Content-Disposition: attachment; filename="a.bin"\r
Content-Transfer-Encoding: base64\r
\r
AAEC\r
--m--\r
"""


def submitted(
    backend: dict[str, Any], *recipients: str, sender: str = "desk@example.net", message: bytes = MAIL, before: str = ""
) -> dict[str, Any]:
    """What became of it."""
    given = {
        "settings": backend, "mail_from": sender, "rcpt_to": recipients, "before": before,
        "message": base64.b64encode(message).decode(),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT],
        input=json.dumps(given),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=40,
    )
    assert done.returncode == 0, done.stderr
    outcome: dict[str, Any] = json.loads(done.stdout.rpartition("\n")[2])
    return outcome


def error_of(*arguments: Any, **options: Any) -> Any:
    return submitted(*arguments, **options)["error"]


# Django's smtp backend, and a real server.


def by_smtp(address: str, **more: Any) -> dict[str, Any]:
    host, port = address.split(":")
    return {"EMAIL_HOST": host, "EMAIL_PORT": int(port), "EMAIL_TIMEOUT": 10, **more}


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, Any]]:
    with postfix() as address:
        yield by_smtp(address)


@pytest.mark.parametrize("sender", ["desk@example.net", ""])
def test_a_mail_is_taken_by_postfix(server: dict[str, Any], sender: str) -> None:
    assert error_of(server, "ann@example.org", "bob@example.org", sender=sender) is None


def test_each_recipient_has_its_answer(server: dict[str, Any]) -> None:
    error = error_of(server, "ann@example.org", "nobody@example.org", "later@example.org")
    assert (error["kind"], error["left"]) == ("NotSent", {"rcpt_to": ["later@example.org"]})
    assert error["refused"]["left"] == {"rcpt_to": ["nobody@example.org"]}
    assert "550 5.1.1" in error["refused"]["said"]


@pytest.mark.parametrize(
    ("recipient", "sender", "size", "kind", "answer"),
    [
        ("nobody@example.org", "desk@example.net", 1, "PermanentFailure", "550 5.1.1"),
        ("later@example.org", "desk@example.net", 1, "NotSent", "450 4.2.0"),
        ("ann@example.org", "not-ours@example.net", 1, "PermanentFailure", "553 5.7.1"),
        ("ann@example.org", "desk@example.net", 30_000, "PermanentFailure", "552 5.3.4"),
    ],
)
def test_what_postfix_refuses(
    server: dict[str, Any], recipient: str, sender: str, size: int, kind: str, answer: str
) -> None:
    error = error_of(server, recipient, sender=sender, message=MAIL + b"x" * size + b"\r\n")
    assert (error["kind"], error["left"]) == (kind, None)
    assert answer in error["said"]


def test_a_server_that_is_away_or_wants_another_login(server: dict[str, Any]) -> None:
    assert error_of(by_smtp("127.0.0.1:1"), "ann@example.org")["kind"] == "NotSent"
    login = {"EMAIL_HOST_USER": "me", "EMAIL_HOST_PASSWORD": "secret"}
    error = error_of({**server, **login}, "ann@example.org")
    assert error["kind"] == "AccountRefused"
    assert "secret" not in error["said"]


async def test_the_bytes_are_ours_and_what_had_its_turn_is_not_sent_again() -> None:
    """The server hangs up at the second of three recipients."""
    async with peer({"EHLO": EHLO, "bob@example.org": "421 4.3.2 bye"}) as there:
        asking = asyncio.to_thread(
            error_of, by_smtp(there.address), "ann@example.org", "bob@example.org", "c@example.org", message=RICH
        )
        error = await asking
    assert (error["kind"], set(error["left"]["rcpt_to"])) == ("NotSent", {"bob@example.org", "c@example.org"})
    assert there.taken == [(["ann@example.org"], RICH)]


# Other backends compose it again.


def test_anymail_gets_the_parts() -> None:
    outcome = submitted(ANYMAIL, "ann@example.org", "bob@example.org", "blind@example.org", message=RICH)
    (sent,) = outcome["sent"]
    assert outcome["error"] is None
    assert (sent["subject"], sent["text_body"].strip(), sent["html_body"].strip()) == ("Grüße", "Jörg", "<p>html</p>")
    assert (sent["from"], sent["to"]) == ("Desk <desk@example.net>", ["Ann <ann@example.org>"])
    assert (sent["cc"], sent["bcc"], sent["reply_to"]) == (
        ["bob@example.org"],
        ["blind@example.org"],
        ["reply+1@example.net"],
    )
    assert "'In-Reply-To': '<0@example.org>', 'Auto-Submitted': 'auto-replied'" in sent["extra_headers"]
    assert len(sent["attachments"]) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "PermanentFailure"), (401, "AccountRefused"), (429, "NotSent"), (503, "NotSent")],
)
def test_what_a_mail_services_answer_means(status: int, kind: str) -> None:
    before = failing(f"AnymailAPIError('no', status_code={status})")
    assert error_of(ANYMAIL, "ann@example.org", before=before)["kind"] == kind


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        ("AnymailUnsupportedFeature('no')", "PermanentFailure"),
        ("AnymailConfigurationError('no key')", "AccountRefused"),
        ("ConnectionError('away')", "NotSent"),
        ("RuntimeError('whatever')", "NotSent"),
    ],
)
def test_what_a_backend_may_raise(raised: str, kind: str) -> None:
    assert error_of(ANYMAIL, "ann@example.org", before=failing(raised))["kind"] == kind


def test_recipients_that_a_backend_names_together_have_an_answer_each() -> None:
    answers = {"x@example.org": (550, b"no"), "y@example.org": (450, b"busy")}
    raised = f"__import__('smtplib').SMTPRecipientsRefused({answers})"
    error = error_of(ANYMAIL, "x@example.org", "y@example.org", before=failing(raised))
    assert (error["kind"], error["left"]) == ("NotSent", {"rcpt_to": ["y@example.org"]})
    assert (error["refused"]["kind"], error["refused"]["left"]) == ("PermanentFailure", {"rcpt_to": ["x@example.org"]})


def failing(error: str) -> str:
    """Let anymail's test backend raise ``error``."""
    return (
        "from anymail.exceptions import *\nfrom anymail.backends.test import EmailBackend\n"
        f"def fail(self, payload, message): raise {error}\nEmailBackend.post_to_esp = fail"
    )


def test_a_recipient_that_the_service_rejects_is_dead_alone() -> None:
    before = """
from anymail.backends.test import EmailBackend
from anymail.message import AnymailRecipientStatus
def answer(self, payload, message):
    states = {"ann@example.org": "queued", "bob@example.org": "rejected"}
    return {"recipient_status": {who: AnymailRecipientStatus("1", state) for who, state in states.items()}}
EmailBackend.post_to_esp = answer
"""
    error = error_of(ANYMAIL, "ann@example.org", "bob@example.org", before=before)
    assert (error["kind"], error["left"]) == ("PermanentFailure", {"rcpt_to": ["bob@example.org"]})


@pytest.mark.parametrize(
    ("backend", "kind"),
    [
        ("django.core.mail.backends.locmem.EmailBackend", None),
        ("django.core.mail.backends.dummy.EmailBackend", None),
        ("anymail.backends.console.EmailBackend", None),
        ("gateway.django.EmailBackend", "AccountRefused"),
        ("nowhere.EmailBackend", "AccountRefused"),
    ],
)
def test_other_backends(backend: str, kind: str | None) -> None:
    error = error_of({"EMAIL_BACKEND": backend}, "ann@example.org")
    assert (error and error["kind"]) == kind


def test_a_message_that_the_standard_library_cannot_read_is_not_tried_for_days() -> None:
    unknown = b"From: a@x.org\r\nContent-Type: text/plain; charset=nothing\r\n\r\nhello\r\n"
    error = error_of(ANYMAIL, "ann@example.org", message=unknown)
    assert error["kind"] == "PermanentFailure"
    assert "cannot be read: LookupError" in error["said"]


# The file.

HANDLERS = """
from gateway import EmailConsumer


class Answers(EmailConsumer):
    def receive(self, message):
        self.send_message(b"From: desk@example.org\\r\\nSubject: answer\\r\\n\\r\\nhello\\r\\n", ["ann@example.net"])
"""
FILES = 'EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"\nEMAIL_FILE_PATH = "sent"\n'


def test_a_handlers_mail_leaves_by_the_projects_backend(tmp_path: Path) -> None:
    (tmp_path / "handlers.py").write_text(HANDLERS)
    project = DjangoProject(tmp_path, "{app: handlers.Answers, attempts: 2}", "django", FILES)
    with project.running():
        with smtplib.SMTP("127.0.0.1", project.mail, timeout=20) as client:
            client.sendmail("a@example.net", ["b@example.org"], "Subject: hi\r\n\r\nhello\r\n")
        until(lambda: list(tmp_path.glob("sent/*.log")), "it has left")
        assert project.get("send").text == "1", "the project's own mail leaves without us"
    assert "Subject: answer" in "".join(path.read_text() for path in tmp_path.glob("sent/*.log"))


@pytest.mark.parametrize(
    ("submission", "settings", "fault"),
    [
        ("django", "", "EMAIL_BACKEND is 'gateway.django.EmailBackend', which sends by submission"),
        ("django", 'EMAIL_BACKEND = "nowhere.Backend"\n', "EMAIL_BACKEND 'nowhere.Backend' cannot be imported"),
        ("django", FILES, ""),
        ("file:outbox", "", ""),
    ],
)
def test_check_finds_a_circle(tmp_path: Path, submission: str, settings: str, fault: str) -> None:
    (tmp_path / "handlers.py").write_text(HANDLERS)
    said = DjangoProject(tmp_path, "handlers.Answers", submission, settings).check()
    assert fault in said
    assert ("error" in said) == bool(fault)


def test_check_finds_a_backend_of_ours_that_has_no_way_out(tmp_path: Path) -> None:
    (tmp_path / "handlers.py").write_text(HANDLERS)
    project = DjangoProject(tmp_path, "handlers.Answers")
    file = tmp_path / "gateway.yaml"
    file.write_text(file.read_text().replace('submission: "file:outbox"\n', ""))
    assert "the file has no submission by which Django's mail could leave" in project.check()
    file.write_text(file.read_text().replace("django: {", "#").replace("http: django", "http: handlers.Answers"))
    file.write_text(file.read_text() + "submission: django\n")
    assert "write django: {settings: ...}, too" in project.check()
