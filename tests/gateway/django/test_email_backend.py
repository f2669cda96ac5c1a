"""Django's mail through the gateway's outbox: real projects in processes of their own."""

import contextlib
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from servers.django_project import DjangoProject
from servers.ports import free_port
from servers.site import ROOT, until

HANDLERS = """
import threading

from django.core.mail import send_mail

from gateway import AsyncEmailConsumer, EmailConsumer

tried = 0


class Policy(EmailConsumer):
    def receive(self, message):
        global tried
        tried += 1
        assert send_mail(f"try {tried}", "text", None, ["ann@example.net"]) == 1
        if tried < 3:
            raise RuntimeError("not yet")


class Loop(AsyncEmailConsumer):
    async def receive(self, message):
        assert send_mail("on the loop", "text", None, ["ann@example.net"]) == 1
"""
OUTSIDE = """
import asyncio

from django.contrib.auth.models import User
from django.core import mail

from mailing_urls import reset, rich, send

User.objects.filter(username="ann").delete()
print(rich(), reset())
mail.mail_admins("down", "x")
print(send())
print(mail.send_mail("a", "x", None, ["nobody"], fail_silently=True))


async def on_a_loop():
    return send()


print(asyncio.run(on_a_loop()))
"""
LOOP = "{address: loop@example.org, app: handlers.Loop, attempts: 5}"
KEPT = f"[{LOOP}, {{default: true, app: handlers.Policy, attempts: 5, backoff: 10ms}}]"


def deliver(project: DjangoProject, recipient: str) -> None:
    """One mail to a handler, until it is taken."""

    def taken() -> bool:
        with smtplib.SMTP("127.0.0.1", project.mail, timeout=20) as peer:
            try:
                peer.sendmail("a@example.net", [recipient], "Message-ID: <1@x>\r\nDate: now\r\n\r\nhello\r\n")
            except smtplib.SMTPDataError:
                return False
            return True

    until(taken, "the handler has accepted")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DjangoProject]:
    """One with a store, because a route has a policy."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "handlers.py").write_text(HANDLERS)
    made = DjangoProject(folder, KEPT)
    with made.running():
        yield made


def subjects(project: DjangoProject, number: int) -> list[str]:
    return [message["Subject"] for message in project.sent(number)]


@pytest.fixture(autouse=True)
def empty(project: DjangoProject) -> None:
    for path in (project.folder / "outbox").glob("new/*"):
        path.unlink()


def test_send_mail_in_a_view(project: DjangoProject) -> None:
    assert project.get("send").text == "1"
    (message,) = project.sent(1)
    assert (message["Subject"], message.get_content()) == ("Grüße", "Hallo.\r\n.\r\n")
    assert (message["Return-Path"], message["X-Envelope-To"]) == ("<jö@example.org>", "ann@example.net")
    assert message["To"] == "Ann <ann@example.net>"
    assert message["Message-ID"]


def test_alternatives_attachments_and_recipients_of_every_kind(project: DjangoProject) -> None:
    """A message without recipients is not counted, as with Django's own."""
    assert project.get("rich").text == "2"
    rich = next(message for message in project.sent(2) if message["Subject"] == "rich")
    assert rich["X-Envelope-To"] == "to@example.net, cc@example.net, x@y.net"
    assert rich["Bcc"] is None
    assert rich["From"] == "Desk <desk@example.org>"
    (attachment,) = rich.iter_attachments()
    assert (attachment.get_filename(), attachment.get_content()) == ("ü.bin", bytes(range(256)))
    body: Any = rich.get_body(("html",))
    assert body.get_content().strip() == "<p>html</p>"


def test_a_password_is_reset(project: DjangoProject) -> None:
    assert project.get("reset").text == "None"
    (message,) = project.sent(1)
    assert (message["Subject"], message["To"]) == ("Your password", "ann@example.net")


@pytest.mark.parametrize("path", ["broken", "broken_async"])
def test_the_admins_hear_of_a_view_that_fails_on_a_thread_and_on_the_loop(project: DjangoProject, path: str) -> None:
    assert project.get(path).status_code == 500
    (message,) = project.sent(1)
    assert (message["To"], message["From"]) == ("root@example.org", "site@example.org")
    assert "LookupError" in message.get_content()


def test_an_async_view_sends_on_a_thread(project: DjangoProject) -> None:
    assert project.get("on_a_thread").text == "1"
    assert subjects(project, 1) == ["Grüße"]
    assert "call it on a thread: sync_to_async" in project.get("on_the_loop").text


def test_what_is_not_valid_is_an_error_at_the_callers_line(project: DjangoProject) -> None:
    assert project.get("header").text.startswith("BadHeaderError: ")
    assert project.get("address").text.startswith("LocalProtocolError: email.send: an address is malformed")


def test_a_command_of_manage_py_sends_by_the_gateways_store(project: DjangoProject) -> None:
    done = project.manage("sendtestemail", "ann@example.net", "--admins")
    assert done.stderr == ""
    assert sorted(str(message["To"]) for message in project.sent(2)) == ["ann@example.net", "root@example.org"]


def test_what_djangos_mail_has_works_in_another_process(project: DjangoProject) -> None:
    """Attachments, alternatives, the admins, the password's reset, ``fail_silently``; on an event loop, too."""
    done = project.manage("shell", "--no-imports", "-c", OUTSIDE)
    assert done.stdout.split() == ["2", "None", "1", "0", "1"], done.stderr
    mails = {str(message["Subject"]): message for message in project.sent(6)}
    assert mails.keys() == {"rich", "two", "Your password", "[Django] down", "Grüße"}
    (attachment,) = mails["rich"].iter_attachments()
    assert (attachment.get_filename(), attachment.get_content()) == ("ü.bin", bytes(range(256)))
    assert mails["rich"]["X-Envelope-To"] == "to@example.net, cc@example.net, x@y.net"
    assert mails["[Django] down"]["To"] == "root@example.org"


def test_in_a_handler_with_a_policy_it_leaves_with_the_handlers_done_and_only_then(project: DjangoProject) -> None:
    deliver(project, "b@example.org")
    assert subjects(project, 1) == ["try 3"]


def test_in_an_async_handler_with_a_policy_nothing_waits(project: DjangoProject) -> None:
    deliver(project, "loop@example.org")
    assert subjects(project, 1) == ["on the loop"]


class Inbox:
    def __init__(self) -> None:
        self.taken: list[bytes] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.taken.append(envelope.content)
        return "250 2.0.0 taken"


@contextlib.contextmanager
def listening(port: int) -> Iterator[Inbox]:
    controller = Controller(inbox := Inbox(), hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield inbox
    finally:
        controller.stop()


def test_with_a_store_a_view_does_not_wait_for_the_submission_server(tmp_path: Path) -> None:
    (tmp_path / "handlers.py").write_text(HANDLERS)
    port = free_port()
    project = DjangoProject(tmp_path, KEPT, f"smtp://127.0.0.1:{port}")
    with project.running() as daemon:
        assert project.get("on_a_thread").text == "1"
        daemon.says("not sent (attempt 1)")
    with listening(port) as inbox, project.running():
        until(lambda: len(inbox.taken) == 1, "it has left")


def test_without_a_store_it_is_sent_at_once_and_a_failure_is_the_callers(tmp_path: Path) -> None:
    (tmp_path / "handlers.py").write_text(HANDLERS)
    port = free_port()
    project = DjangoProject(tmp_path, "handlers.Loop", f"smtp://127.0.0.1:{port}")
    with project.running():
        assert project.get("send").text.startswith("NotSent: 127.0.0.1: ")
        assert project.get("silent").text == "0"
        with listening(port) as inbox:
            assert project.get("on_a_thread").text == "1"
            assert len(inbox.taken) == 1


TELLS_ADMINS = """
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"admins": {"class": "django.utils.log.AdminEmailHandler", "level": "ERROR"}},
    "loggers": {"gateway": {"handlers": ["admins"]}, "crowd": {"handlers": ["admins"]}},
}
ADMINS = [("Root", "Root@EXAMPLE.org")]
"""
CROWD = """
import logging

from gateway import AsyncEmailConsumer


class Crowd(AsyncEmailConsumer):
    async def receive(self, message):
        logging.getLogger("crowd").error("the handler tells")
"""


def test_a_log_that_is_mailed_does_not_tell_of_its_own_mails(tmp_path: Path) -> None:
    """While the submission server was away, each record that a mail was not sent sent the next one, without end."""
    (tmp_path / "handlers.py").write_text(CROWD)
    project = DjangoProject(tmp_path, "handlers.Crowd", f"smtp://127.0.0.1:{free_port()}", TELLS_ADMINS)
    with project.running() as daemon:
        for number in (1, 2, 3):
            with smtplib.SMTP("127.0.0.1", project.mail, timeout=20) as client:
                client.sendmail("a@example.net", ["b@example.org"], "Subject: hi\r\n\r\nhello\r\n")
            until(lambda number=number: daemon.text.count("to Root@example.org not sent") >= number, "a line for each")
        assert daemon.text.count("not sent") == 3


def test_the_package_is_imported_without_django() -> None:
    """Templates of mail say that Django is missing; the import does not."""
    code = "import sys; sys.modules['django'] = None; import gateway.django, gateway.django.mail_templates"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, cwd=ROOT)
    assert done.stderr == ""
