"""A small Django project that sends mail, in a folder, and the gateway that runs it in a process of its own."""

import contextlib
import email
import email.policy
import os
import subprocess
import sys
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import httpx
from servers.daemon import Daemon
from servers.ports import free_port
from servers.site import ROOT, until

SETTINGS = """
SECRET_KEY = "tests"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "mailing_urls"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "site.sqlite3"}}
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": ["templates"]}]
ADMINS = [("Root", "root@example.org")]
EMAIL_BACKEND = "gateway.django.EmailBackend"
DEFAULT_FROM_EMAIL = "Desk <desk@example.org>"
SERVER_EMAIL = "site@example.org"
"""
URLS = '''
from asgiref.sync import sync_to_async
from django.core import mail
from django.http import HttpResponse
from django.urls import path


def said(function):
    """A view that answers with what ``function`` returns, or with what it raises."""

    def view(request):
        try:
            return HttpResponse(str(function()))
        except Exception as error:
            return HttpResponse(f"{type(error).__name__}: {error}", status=409)  # the admins hear of a 500

    return view


def send(**options):
    return mail.send_mail("Grüße", "Hallo.\\n.\\n", "Jörg <jö@example.org>", ["Ann <ann@example.net>"], **options)


def rich():
    recipients = {"to": ["to@example.net"], "cc": ["cc@example.net"], "bcc": ["x@y.net"]}
    message = mail.EmailMultiAlternatives("rich", "plain", **recipients)
    message.attach_alternative("<p>html</p>", "text/html")
    message.attach("ü.bin", bytes(range(256)), "application/octet-stream")
    nobody = mail.EmailMessage("nobody", "text", to=[])
    return mail.get_connection().send_messages([message, nobody, mail.EmailMessage("two", "text", to=["b@y.net"])])


def reset():
    from django.contrib.auth.forms import PasswordResetForm
    from django.contrib.auth.models import User

    User.objects.create_user("ann", "ann@example.net", "secret")
    form = PasswordResetForm({"email": "ann@example.net"})
    assert form.is_valid()
    return form.save(domain_override="example.org")


def broken(request):
    raise LookupError("broken view")


async def broken_async(request):
    raise LookupError("broken async view")


async def on_the_loop(request):
    try:
        return HttpResponse(str(send()))
    except Exception as error:
        return HttpResponse(f"{type(error).__name__}: {error}", status=409)  # the admins hear of a 500


async def on_a_thread(request):
    return HttpResponse(str(await sync_to_async(send)()))


urlpatterns = [
    path("send", said(send)),
    path("silent", said(lambda: send(fail_silently=True))),
    path("header", said(lambda: mail.send_mail("a\\nBcc: x@y.net", "text", None, ["b@y.net"]))),
    path("address", said(lambda: mail.send_mail("a", "text", None, ["nobody"]))),
    path("rich", said(rich)),
    path("reset", said(reset)),
    path("broken", broken),
    path("broken_async", broken_async),
    path("on_the_loop", on_the_loop),
    path("on_a_thread", on_a_thread),
]
'''
CONFIG = """
django: {settings: mailing_settings}
servers:
  web: {protocol: http, bind: "127.0.0.1:WEB"}
  mail: {protocol: smtp, bind: "127.0.0.1:MAIL"}
routes:
  http: django
  email: EMAIL
submission: SUBMISSION
"""


class DjangoProject:
    """``email`` is the route of the email scope, ``submission`` the URL by which mail leaves."""

    def __init__(self, folder: Path, email: str, submission: str = "file:outbox", settings: str = "") -> None:
        self.folder, self.web, self.mail = folder, free_port(), free_port()
        (folder / "mailing_settings.py").write_text(SETTINGS + settings)
        (folder / "mailing_urls.py").write_text(URLS)
        (folder / "templates" / "registration").mkdir(parents=True)
        (folder / "templates" / "registration" / "password_reset_email.html").write_text("{{ token }}")
        (folder / "templates" / "registration" / "password_reset_subject.txt").write_text("Your password")
        config = CONFIG.replace(":WEB", f":{self.web}").replace(":MAIL", f":{self.mail}")
        (folder / "gateway.yaml").write_text(config.replace("SUBMISSION", f'"{submission}"').replace("EMAIL", email))
        self.manage("migrate", "--verbosity", "0")

    def check(self) -> str:
        """What ``gateway check`` says."""
        command = [sys.executable, "-m", "gateway", "check"]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=40)
        return done.stdout + done.stderr

    @contextlib.contextmanager
    def running(self) -> Iterator[Daemon]:
        daemon = Daemon(self.folder)
        try:
            daemon.says(f"127.0.0.1:{self.mail}")
            until(lambda: self._answers(), lambda: daemon.text)
            yield daemon
        finally:
            daemon.close()

    def _answers(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return self.get("nothing").status_code == 404
        return False

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.web}/{path}", timeout=20)

    def manage(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        environment = os.environ | {"PYTHONPATH": f"{ROOT}:{self.folder}", "DJANGO_SETTINGS_MODULE": "mailing_settings"}
        return subprocess.run(
            [sys.executable, "-m", "django", *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=40,
        )

    def sent(self, number: int) -> list[EmailMessage]:
        """The first ``number`` mails that have left, by their place in the maildir."""
        folder = self.folder / "outbox" / "new"
        paths = until(lambda: self._paths(number), lambda: f"{number} mails; there are {list(folder.glob('*'))}")
        return [email.message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in paths]

    def _paths(self, number: int) -> list[Path]:
        found = sorted((self.folder / "outbox" / "new").glob("*"))
        return found if len(found) >= number else []
