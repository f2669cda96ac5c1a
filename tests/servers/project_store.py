"""A Django project whose own database is the gateway's store, in a folder; daemons and commands run beside it."""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from servers.admin_project import ADMIN_SETTINGS
from servers.daemon import Daemon
from servers.keeper import closed_if_it_fails
from servers.ports import free_port
from servers.postgresql import PASSWORD, USER, Database, database
from servers.site import ROOT
from servers.warm_command import OF_DJANGO, warm

SETTINGS = (
    ADMIN_SETTINGS
    + """
import json

USE_TZ = True
ROOT_URLCONF = "keeping_urls"
INSTALLED_APPS += ["gateway.django", "keeping"]
DATABASES = json.loads((Path(__file__).parent / "databases.json").read_text())
EMAIL_BACKEND = "gateway.django.EmailBackend"
DEFAULT_FROM_EMAIL = "Desk <desk@example.org>"
"""
)
MODELS = """
from django.db import models


class Order(models.Model):
    what = models.TextField()
"""
CONFIG = """
django: {{settings: keeping_settings}}
store: django
submission: {{url: "{submission}"}}
servers:
  web: {{protocol: http, bind: "127.0.0.1:{web}"}}
  mail: {{protocol: smtp, bind: "127.0.0.1:{mail}"}}
  devices: {{protocol: mqtt, bind: "127.0.0.1:{mqtt}", anonymous: true}}
  texts: {{protocol: sms, provider: generic, on: web, path: /hooks/sms, insecure: true, secret: s,
           number: "+447700900000", send_url: "http://127.0.0.1:{away}/"}}
routes:
  http: django
  mqtt: keeping.handlers.Things
  sms: keeping.handlers.Texts
  email: [{{domain: example.org, app: keeping.handlers.Desk, inbox: true, attempts: 1}}]
"""
HANDLERS = """
from gateway import EmailConsumer, MqttConsumer, SMSConsumer


class Desk(EmailConsumer):
    def receive(self, message):
        from keeping.models import Order

        if "broken" in message.subject and not Order.objects.filter(what="repaired").exists():
            raise LookupError(message.subject)
        Order.objects.create(what=message.subject)


class Things(MqttConsumer):
    def receive(self, topic, payload):
        pass


class Texts(SMSConsumer):
    def receive(self, text, media):
        pass
"""


class ProjectSite:
    """``databases``: the setting. ``settings`` and ``urls`` are added to the modules."""

    def __init__(
        self,
        folder: Path,
        databases: Mapping[str, Mapping[str, object]] | None = None,
        *,
        settings: str = "",
        urls: str = "urlpatterns = []",
        submission: str = "file:outbox",
    ) -> None:
        self.folder, self.web, self.mail, self.mqtt = folder, free_port(), free_port(), free_port()
        self.file = folder / "db.sqlite3"
        self.write_databases(databases or sqlite(self.file))
        (folder / "keeping_settings.py").write_text(SETTINGS + settings)
        (folder / "keeping_urls.py").write_text(urls)
        app = folder / "keeping"
        app.mkdir()
        (app / "__init__.py").touch()
        (app / "models.py").write_text(MODELS)
        (app / "handlers.py").write_text(HANDLERS)
        ports = {"web": self.web, "mail": self.mail, "mqtt": self.mqtt, "away": free_port()}
        config = CONFIG.format(**ports, submission=submission)
        (folder / "gateway.yaml").write_text(config)

    def write_databases(self, databases: Mapping[str, Mapping[str, object]]) -> None:
        import json

        (self.folder / "databases.json").write_text(json.dumps(databases))

    def migrate(self) -> None:
        """Make all tables; those of ``keeping``, which has no migrations, from its models."""
        self.manage("migrate", "--run-syncdb", "--verbosity", "0")

    def manage(self, *arguments: str, code: int = 0) -> str:
        """What ``manage.py`` prints."""
        done = self._run("-m", "django", *arguments)
        assert done.returncode == code, done.stdout
        return done.stdout

    def gateway(self, *arguments: str, code: int = 0) -> str:
        """What the command ``gateway`` prints."""
        done = self._run("-m", "gateway", *arguments)
        assert done.returncode == code, done.stdout
        return done.stdout

    def python(self, program: str) -> str:
        """What ``program`` prints, a process of the project: Django is set up in it."""
        done = self._run("-c", f"import django\ndjango.setup()\n{program}")
        assert done.returncode == 0, done.stdout
        return done.stdout

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "PYTHONPATH": f"{ROOT}:{self.folder}",
            "DJANGO_SETTINGS_MODULE": "keeping_settings",
            "COLUMNS": "200",
            "NO_COLOR": "1",
        }

    def _run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        done = warm(ROOT, *OF_DJANGO).run(self.folder, arguments, self.environment, 60)
        done.stdout += done.stderr
        return done

    def daemon(self) -> Daemon:
        """A gateway that has begun to serve; the caller closes it."""
        daemon = Daemon(self.folder)
        with closed_if_it_fails(daemon.close):
            daemon.says(f"127.0.0.1:{self.mail}  ready")
        return daemon


@contextlib.contextmanager
def migrated_site(kind: str, folder: Path, *, urls: str, submission: str = "file:outbox") -> Iterator[ProjectSite]:
    """A project on ``sqlite`` or ``postgresql``, with its tables."""
    with contextlib.ExitStack() as stack:
        databases = None if kind == "sqlite" else postgresql(stack.enter_context(database()))
        site = ProjectSite(folder, databases, urls=urls, submission=submission)
        site.migrate()
        yield site


def sqlite(file: Path, **options: object) -> dict[str, dict[str, object]]:
    """The setting DATABASES for a file."""
    return {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(file), "OPTIONS": options}}


def postgresql(place: Database, **more: object) -> dict[str, dict[str, object]]:
    """The setting DATABASES for a database on a server."""
    given = {
        "NAME": place.name,
        "USER": USER,
        "PASSWORD": PASSWORD,
        "HOST": "127.0.0.1",
        "PORT": place.server.port,
    }
    return {"default": {"ENGINE": "django.db.backends.postgresql", **given, **more}}
