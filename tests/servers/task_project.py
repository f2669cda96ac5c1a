"""A small Django project with tasks, in a folder, and the gateway that runs them in a process of its own."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from servers.daemon import Daemon
from servers.keeper import closed_if_it_fails
from servers.ports import free_port
from servers.site import ROOT, until
from servers.warm_command import OF_DJANGO, warm

SETTINGS = """
from django import VERSION
from pathlib import Path

SECRET_KEY = "tests"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "task_urls"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "gateway.django"]
FRAMEWORK = "django.tasks" if VERSION >= (6, 0) else "django_tasks"
if VERSION < (6, 0):
    INSTALLED_APPS.append("django_tasks")
HERE = Path(__file__).parent
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": HERE / "site.sqlite3"}}
GATEWAY_CONFIG = str(HERE / "gateway.yaml")
OURS = {"BACKEND": "gateway.django.TaskBackend", "QUEUES": ["default", "mails", "nobody"]}
TASKS = {
    "default": OURS,
    "immediate": {"BACKEND": f"{FRAMEWORK}.backends.immediate.ImmediateBackend", "QUEUES": ["default", "mails"]},
    "at_once": {**OURS, "OPTIONS": {"ENQUEUE_ON_COMMIT": False}},
    "short": {**OURS, "OPTIONS": {"RESULT_TTL": 0.2}},
}
"""
TASKS = """
import asyncio
import os
import time
from pathlib import Path

from django.conf import settings
from django.dispatch import receiver
from django.utils.module_loading import import_string

task = import_string(f"{settings.FRAMEWORK}.task")
HERE = Path(__file__).parent


def write(name, line):
    with (HERE / name).open("a") as file:
        file.write(f"{line}\\n")


for _name in ("task_enqueued", "task_started", "task_finished"):

    def heard(sender, task_result, name=_name, **_):
        write("signals", f"{task_result.id} {name} {task_result.status.value} {sender.__name__}")

    receiver(import_string(f"{settings.FRAMEWORK}.signals.{_name}"), weak=False, dispatch_uid=_name)(heard)


def ended(result):
    ends = time.monotonic() + 20
    while not result.is_finished and time.monotonic() < ends:
        time.sleep(0.02)
        result.refresh()
    return result


@task
def add(a, b=0):
    return a + b


@task
async def add_later(a, b=0):
    await asyncio.sleep(0.01)
    return a + b


@task
async def count_users():
    from django.contrib.auth.models import User

    return await User.objects.acount()


@task
def same(*args, **kwargs):
    return [args, kwargs]


@task
def give(what):
    return {"bytes": b"b\\xc3\\xbc", "tuple": (1, (2,)), "object": object(), "wrong bytes": b"\\xff", "set": {1}}[what]


class Odd(Exception):
    def __init__(self, one, two):
        super().__init__(one)
        self.lock = __import__("threading").Lock()


@task
def long(length):
    return "x" * length


@task(takes_context=True)
async def long_at_first(context):
    write("notes", f"attempt {context.attempt} begins")
    try:
        await asyncio.sleep(60 if context.attempt == 1 else 0)
    except asyncio.CancelledError:
        write("notes", f"attempt {context.attempt} is cancelled")
        raise
    return [context.attempt, len(context.task_result.errors)]


@task
def fail(how="ValueError"):
    if how == "Odd":
        raise Odd("odd", 2)
    if how == "chained":
        try:
            raise KeyError("first")
        except KeyError as error:
            raise LookupError("second") from error
    raise {"ValueError": ValueError, "SystemExit": SystemExit}[how]("it failed")


@task
async def fail_later():
    raise ZeroDivisionError("later")


@task(takes_context=True)
def told(context, *args):
    result = context.task_result
    return [context.attempt, result.status.value, result.id, len(result.worker_ids), result.attempts, list(args)]


@task(takes_context=True)
def third_time(context):
    if context.attempt < 3:
        raise RuntimeError(f"attempt {context.attempt}, after {len(context.task_result.errors)}")
    return context.attempt


@task(queue_name="mails")
def mailed():
    return "mailed"


@task
def note(line):
    write("notes", line)


@task
async def hang():
    await asyncio.sleep(60)


def rows():
    from django.contrib.auth.models import User

    return sorted(User.objects.values_list("first_name", flat=True))


@task
def row(name, seconds=0.0, fails=False, then=""):
    import uuid
    from django.contrib.auth.models import User

    User.objects.create(username=uuid.uuid4().hex, first_name=name)
    if then:
        row.enqueue(then)
    time.sleep(seconds)
    if fails:
        raise ValueError(name)
    return name


@task
async def row_later(name, fails=False, then=""):
    import uuid
    from django.contrib.auth.models import User

    await User.objects.acreate(username=uuid.uuid4().hex, first_name=name)
    if then:
        await row.aenqueue(then)
    if fails:
        raise ValueError(name)
    return name


@task
def slow(seconds, line):
    time.sleep(seconds)
    write("notes", line)


class Unusual(BaseException):
    pass


ODD = {each.__name__: each for each in (Unusual, GeneratorExit, KeyboardInterrupt, SystemExit)}


@task
def ends_oddly(how):
    raise ODD[how]("odd")


@task
async def ends_oddly_later(how):
    if how == "cancelled":
        asyncio.current_task().cancel()
        await asyncio.sleep(60)
    raise ODD[how]("odd")


@task
def refers_to_nothing():
    from django.contrib.auth.models import Permission

    Permission.objects.create(name="x", codename="x", content_type_id=999999)


@task
def held(seconds):
    write("held", "begins")
    try:
        time.sleep(seconds)
        while not (HERE / "release").exists():
            time.sleep(0.01)
    finally:
        write("held", "ends")


@task
def enqueue_another():
    return add.enqueue(20, 22).id


@task
def exits():
    os._exit(1)


def not_a_task():
    pass


@task
def one_argument(a):
    return a
"""
URLS = """
from asgiref.sync import sync_to_async
from django.db import transaction
from django.http import HttpResponse
from django.urls import path

import task_code


def enqueue(request):
    return HttpResponse(task_code.add.enqueue(1, 2).id)


async def aenqueue(request):
    result = await task_code.add.aenqueue(3, 4)
    return HttpResponse(result.id)


async def on_the_loop(request):
    try:
        return HttpResponse(task_code.add.enqueue(1, 2).id)
    except Exception as error:
        return HttpResponse(f"{type(error).__name__}: {error}", status=409)


def rolled_back(request):
    try:
        with transaction.atomic():
            ident = task_code.note.enqueue("view rolled back").id
            raise LookupError
    except LookupError:
        return HttpResponse(ident)


def committed(request):
    with transaction.atomic():
        ident = task_code.note.enqueue("view committed").id
    return HttpResponse(ident)


async def result(request, ident):
    found = await task_code.add.aget_result(ident)
    return HttpResponse(f"{found.status.value} {found.return_value if found.is_finished else None}")


urlpatterns = [
    path("enqueue", enqueue),
    path("aenqueue", aenqueue),
    path("on_the_loop", on_the_loop),
    path("rolled_back", rolled_back),
    path("committed", committed),
    path("result/<str:ident>", result),
]
"""
CONFIG = """
django: {settings: task_settings}
store: sqlite:var/gateway.db
servers:
  web: {protocol: http, bind: "127.0.0.1:WEB"}
routes:
  http: django
  task: ROUTES
"""
ROUTES = """
    - {task: task_code.fail, app: django, on_error: dead-letter}
    - {task: task_code.fail_later, app: django, attempts: 1}
    - {task: task_code.hang, app: django, attempts: 1, timeout: 200ms}
    - {queue: default, app: django, backoff: 20ms}
    - {queue: mails, app: django, backoff: 20ms}
"""


class TaskProject:
    def __init__(self, folder: Path, routes: str = ROUTES, config: str = CONFIG, settings: str = "") -> None:
        self.folder, self.web = folder, free_port()
        (folder / "task_settings.py").write_text(SETTINGS + settings)
        (folder / "task_code.py").write_text(TASKS)
        (folder / "task_urls.py").write_text(URLS)
        self.file = folder / "gateway.yaml"
        self.file.write_text(config.replace(":WEB", f":{self.web}").replace("ROUTES", routes))
        self.environment = {"PYTHONPATH": f"{ROOT}:{folder}", "DJANGO_SETTINGS_MODULE": "task_settings"}
        self.run("-m", "django", "migrate", "--verbosity", "0")

    def run(self, *arguments: str, check: bool = True) -> str:
        """Run Python to its end in the project's folder; return what it prints."""
        done = warm(ROOT, *OF_DJANGO).run(self.folder, arguments, os.environ | self.environment, 100)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout + ("" if check else done.stderr)

    def says(self, code: str) -> Any:
        """What ``code`` assigns to ``said``, in a process of its own that has the project's tasks."""
        head = "import django, json; django.setup(); from task_code import *; "
        return json.loads(self.run("-c", f"{head}\n{code}\nprint(json.dumps(said))").splitlines()[-1])

    def gateway(self, *arguments: str) -> str:
        return self.run("-m", "gateway", *arguments, check=False)

    @contextlib.contextmanager
    def running(self) -> Iterator[Daemon]:
        daemon = self.start()
        try:
            yield daemon
        finally:
            daemon.close()

    def start(self) -> Daemon:
        daemon = Daemon(self.folder)
        with closed_if_it_fails(daemon.close):
            until(lambda: self._answers() or daemon.process.poll() is not None, lambda: daemon.text)
        return daemon

    def _answers(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return self.get("nothing").status_code == 404
        return False

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.web}/{path}", timeout=20)

    def lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []
