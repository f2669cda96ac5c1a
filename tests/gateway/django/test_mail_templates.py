"""Mail from Django's templates, in a process of its own, because Django is set up once."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from gateway.django.mail_templates import render

TEMPLATES = {
    "support/answer.txt": "Dear {{ name }},\nyour ticket is {{ number }}.\n",
    "support/answer.html": "<p>Dear {{ name }}</p>",
    "support/answer.subject": "Ticket {{ number }}\n for {{ name }}\n",
    "support/plain.txt": "{% load i18n %}{{ name|upper }}",
    "support/broken.txt": '{% extends "support/missing.txt" %}',
    "support/lonely.subject": "x",
}
PROGRAM = """
import asyncio, django, email
from django.conf import settings
settings.configure(TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": ["templates"]}])
django.setup()
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db.models import FileField
from django.db.models.fields.files import FieldFile
from email.policy import default
from gateway import AsyncEmailConsumer, EmailConsumer
from gateway.django.mail_templates import render
from protocols.mail.headers import parse_headers

rendered = render("support/answer", {"name": "Ann & Bob <x>", "number": 17})
assert rendered.text == "Dear Ann & Bob <x>,\\nyour ticket is 17.\\n", rendered
assert rendered.html == "<p>Dear Ann &amp; Bob &lt;x&gt;</p>", rendered
assert rendered.subject == "Ticket 17 for Ann & Bob <x>", rendered
plain = render("support/plain", {"name": "ann"})
assert (plain.text, plain.html, plain.subject) == ("ANN", None, None)
for name in ("support/none", "support/lonely"):
    try:
        render(name, {})
    except LookupError as error:
        assert f"Django finds neither {name}.txt nor {name}.html" in str(error)
    else:
        raise AssertionError(name)
try:
    render("support/broken", {})
except Exception as error:
    assert type(error).__name__ == "TemplateDoesNotExist" and str(error) == "support/missing.txt"

FIELD = FieldFile(None, FileField(name="file", storage=FileSystemStorage("templates")), "support/plain.txt")
FILES = [
    ContentFile(b"stored", name="a/stored.pdf"),
    SimpleUploadedFile("photo.png", b"uploaded", "image/png"),
    FIELD,
]
GIVEN = {"template": "support/answer", "context": {"name": "Ann & Bob", "number": 17}, "attachments": FILES}

class Sync(EmailConsumer):
    def receive(self, message):
        self.reply(**GIVEN)
        self.send("bob@x.org", subject="Mine", **GIVEN)

class Async(AsyncEmailConsumer):
    async def receive(self, message):
        await self.reply(**GIVEN)
        await self.send("bob@x.org", subject="Mine", **GIVEN)

RAW = b"From: ann@x.org\\r\\nSubject: hi\\r\\nMessage-ID: <1@x.org>\\r\\n\\r\\nhello\\r\\n"
SCOPE = {"type": "email", "extensions": {}, "mail_from": "ann@x.org", "rcpt_to": ["desk@x.net"],
         "headers": parse_headers(RAW), "message_id": "<1@x.org>"}

async def run(consumer):
    sent = []
    async def receive():
        return {"type": "email.receive", "body": RAW, "more_body": False}
    async def send(event):
        sent.append(email.message_from_bytes(event["message"], policy=default))
    await consumer.as_asgi()(SCOPE, receive, send)
    for mail, subject in zip(sent, ("Ticket 17 for Ann & Bob", "Mine"), strict=True):
        assert mail["Subject"] == subject, mail["Subject"]
        assert mail.get_body(("plain",)).get_content().startswith("Dear Ann & Bob,")
        assert mail.get_body(("html",)).get_content().strip() == "<p>Dear Ann &amp; Bob</p>"
        *files, last = [(part.get_filename(), part.get_payload(decode=True)) for part in mail.iter_attachments()]
        assert files == [("stored.pdf", b"stored"), ("photo.png", b"uploaded")], files
        assert last == ("plain.txt", b"{% load i18n %}{{ name|upper }}"), last
    assert FIELD._file.closed

asyncio.run(run(Sync))
asyncio.run(run(Async))
print("all well")
"""


def test_text_html_and_subject_come_from_one_name(tmp_path: Path) -> None:
    for name, text in TEMPLATES.items():
        path = tmp_path / "templates" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(PROGRAM)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "all well\n", done.stderr


def test_without_django_the_error_says_what_to_write() -> None:
    with pytest.raises(LookupError, match=r"template 'support/answer' needs Django; write django: \{settings: "):
        render("support/answer", {})
