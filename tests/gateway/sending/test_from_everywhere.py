"""Each cell of the table in docs/sending.md: from each kind of code, by each function, to a real other side."""

import contextlib
import email
import email.policy
import functools
import json
import re
import smtplib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from servers.admin_project import ADMIN_SETTINGS
from servers.daemon import Daemon
from servers.ports import free_port
from servers.redis import redis_server
from servers.site import ROOT, until
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

PAGE = (ROOT / "docs" / "sending.md").read_text()
TABLE = [[cell.strip() for cell in row.split("|")[1:-1]] for row in PAGE.splitlines() if row.startswith("|")]
ROWS = [row for row in TABLE if len(row) == 5 and row[1].startswith("yes")]
FUNCTIONS = re.findall(r"`(\w+)`", next(row for row in PAGE.splitlines() if row.startswith("| from |")))
SOURCES = [row[0] for row in ROWS]
CELLS = [(row[0], function) for row in ROWS for function, cell in zip(FUNCTIONS, row[1:], strict=True)]

CONFIG = """
django: {{settings: everywhere_settings}}
layer: everywhere.layer
store: sqlite:var/gateway.db
submission: {{url: "file:outbox", default_from: "Shop <shop@example.org>"}}
servers:
  web: {{protocol: http, bind: "127.0.0.1:{web}"}}
  devices: {{protocol: mqtt, bind: "127.0.0.1:{mqtt}", anonymous: true}}
  mail: {{protocol: smtp, bind: "127.0.0.1:{mail}"}}
  texts: {{protocol: sms, provider: generic, on: web, path: /hooks/sms, insecure: true, secret: s,
           number: "+447700900000", send_url: "http://127.0.0.1:{provider}/"}}
routes:
  http:
    - {{path: "^consumer/", app: everywhere.Page}}
    - {{path: "^star/", app: everywhere.star}}
    - {{path: "^", app: django}}
  websocket: everywhere.Socket
  mqtt: everywhere.Things
  email: everywhere.Mail
  sms: everywhere.Texts
"""
HANDLERS = """
import asyncio
import contextlib

from channels_redis.core import RedisChannelLayer
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from gateway import (
    AsyncEmailConsumer, AsyncWebsocketConsumer, HttpConsumer, MqttConsumer, SMSConsumer, aio, group_send, layer_event,
    publish, send_mail, send_text,
)

layer = RedisChannelLayer(hosts=[{"address": "REDIS", "socket_timeout": 30}])
TO, NUMBER = "Ann <ann@example.net>", "+447700900123"


def tell(function, mark):
    return {
        "publish": lambda: publish(f"told/{mark}", mark, qos=1),
        "send_mail": lambda: send_mail(TO, subject=mark, text="hello"),
        "send_text": lambda: send_text(NUMBER, mark),
        "group_send": lambda: group_send("members", {"type": "told", "mark": mark}),
    }[function]()


async def tell_on_the_loop(function, mark):
    return await {
        "publish": lambda: aio.publish(f"told/{mark}", mark, qos=1),
        "send_mail": lambda: aio.send_mail(TO, subject=mark, text="hello"),
        "send_text": lambda: aio.send_text(NUMBER, mark),
        "group_send": lambda: aio.group_send("members", {"type": "told", "mark": mark}),
    }[function]()


class Page(HttpConsumer):
    def handle(self, body):
        self.respond(str(tell(*body.decode().split())))


class Socket(AsyncWebsocketConsumer):
    async def connect(self, message):
        await self.accept()
        await self.group_add("members")

    async def receive(self, text):
        await tell_on_the_loop(*text.split())

    @layer_event("told")
    async def told(self, message):
        await self.send(text=message["mark"])


class Things(MqttConsumer):
    def receive(self, topic, payload):
        if topic.startswith("ask/"):
            tell(topic.removeprefix("ask/"), payload.decode())


class Mail(AsyncEmailConsumer):
    async def receive(self, message):
        await tell_on_the_loop(*message.subject.split())


class Texts(SMSConsumer):
    def receive(self, text, media):
        tell(*text.split())


async def endpoint(request):
    return PlainTextResponse(str(await tell_on_the_loop(*(await request.body()).decode().split())))


async def ask_the_task(request):
    request.state.asked.put_nowait((await request.body()).decode())
    return PlainTextResponse("asked")


async def work(asked):
    while True:
        await tell_on_the_loop(*(await asked.get()).split())


@contextlib.asynccontextmanager
async def lifespan(app):
    asked = asyncio.Queue()
    task = asyncio.create_task(work(asked))
    yield {"asked": asked}
    task.cancel()


star = Starlette(
    routes=[Route("/star/endpoint", endpoint, methods=["POST"]), Route("/star/task", ask_the_task, methods=["POST"])],
    lifespan=lifespan,
)
"""
SETTINGS = (
    ADMIN_SETTINGS
    + """
DEBUG = True
ROOT_URLCONF = "everywhere_urls"
INSTALLED_APPS += ["everywhere_app"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(__file__).parent / "site.sqlite3"}}
"""
)
URLS = """
from django.contrib import admin
from django.contrib.auth.models import Group
from django.http import HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from everywhere import tell


class GroupAdmin(admin.ModelAdmin):
    fields = ["name"]

    def save_model(self, request, obj, form, change):
        super().save_model(request, obj, form, change)
        tell(*obj.name.split())


admin.site.unregister(Group)
admin.site.register(Group, GroupAdmin)


@csrf_exempt
def view(request):
    return HttpResponse(str(tell(*request.body.decode().split())))


urlpatterns = [path("view", view), path("admin/", admin.site.urls)]
"""
COMMAND = """
from django.core.management.base import BaseCommand

from gateway import group_send, publish, send_mail, send_text


class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("asked", nargs="+")

    def handle(self, asked, **options):
        for each in asked:
            function, mark = each.split()
            match function:
                case "publish":
                    publish(f"told/{mark}", mark, qos=1)
                case "send_mail":
                    send_mail("Ann <ann@example.net>", subject=mark, text="hello")
                case "send_text":
                    send_text("+447700900123", mark)
                case "group_send":
                    group_send("members", {"type": "told", "mark": mark})
"""


DATABASE = """
import django
from django.core.management import call_command

django.setup()
call_command("migrate", verbosity=0)
from django.contrib.auth.models import User
User.objects.create_superuser("root", "", "root")
"""


class Everywhere:
    """A gateway with everything, and the other sides of all that it sends."""

    def __init__(self, folder: Path, redis: str) -> None:
        self.folder = folder
        self.ports = {name: free_port() for name in ("web", "mqtt", "mail")}
        self.published: list[str] = []
        self.texts: list[dict[str, Any]] = []
        self.members: list[str] = []
        app = folder / "everywhere_app" / "management" / "commands"
        app.mkdir(parents=True)
        for package in (folder / "everywhere_app", folder / "everywhere_app" / "management", app):
            (package / "__init__.py").touch()
        (app / "tell.py").write_text(COMMAND)
        (folder / "everywhere.py").write_text(HANDLERS.replace("REDIS", redis))
        (folder / "everywhere_settings.py").write_text(SETTINGS)
        (folder / "everywhere_urls.py").write_text(URLS)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            self.stack = stack
            provider = stack.enter_context(self._provider())
            config = CONFIG.format(provider=provider, **self.ports)
            (self.folder / "gateway.yaml").write_text(config)
            self.python("-c", DATABASE)
            daemon = self.daemon = Daemon(self.folder)
            stack.callback(daemon.close)
            daemon.says(f"127.0.0.1:{self.ports['mail']}")
            until(lambda: self._member_joins(stack), lambda: daemon.text)
            stack.enter_context(self._subscriber())
            self.web = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{self.ports['web']}", timeout=20))
            yield

    @contextlib.contextmanager
    def _provider(self) -> Iterator[int]:
        texts = self.texts

        class Provider(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                texts.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(201)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Provider) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            yield server.server_address[1]
            server.shutdown()

    def _member_joins(self, stack: contextlib.ExitStack) -> bool:
        try:
            member = connect(f"ws://127.0.0.1:{self.ports['web']}/member")
        except OSError:
            return False
        thread = threading.Thread(target=self._listen, args=(member,), daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(member.close)
        return True

    def _listen(self, member: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            for text in member:
                self.members.append(str(text))

    @contextlib.contextmanager
    def _subscriber(self) -> Iterator[None]:
        client = paho.Client(CallbackAPIVersion.VERSION2)
        granted = threading.Event()
        client.on_message = lambda *args: self.published.append(args[2].payload.decode())
        client.on_subscribe = lambda *args: granted.set()
        client.connect("127.0.0.1", self.ports["mqtt"])
        client.loop_start()
        client.subscribe("told/#", 1)
        assert granted.wait(10)
        self.device = client
        yield
        client.disconnect()
        client.loop_stop()

    def python(self, *arguments: str) -> None:
        command = [sys.executable, *arguments]
        environment = {"PYTHONPATH": f"{ROOT}:{self.folder}", "DJANGO_SETTINGS_MODULE": "everywhere_settings"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=40, cwd="/")
        assert done.returncode == 0, done.stdout + done.stderr

    def arrived(self, function: str, mark: str) -> bool:
        """Whether what was sent has arrived, exactly as it was sent."""
        match function:
            case "publish":
                return self.published.count(mark) == 1
            case "send_text":
                sent = [text for text in self.texts if text["text"] == mark]
                return [(text["to"], text["from"]) for text in sent] == [("+447700900123", "+447700900000")]
            case "send_mail":
                files = (self.folder / "outbox" / "new").glob("*")
                mails = [email.message_from_bytes(file.read_bytes(), policy=email.policy.default) for file in files]
                sent = [mail for mail in mails if mail["Subject"] == mark]
                expected = ("Shop <shop@example.org>", "Ann <ann@example.net>", "<shop@example.org>", "ann@example.net")
                names = ("From", "To", "Return-Path", "X-Envelope-To")
                return [tuple(mail[name] for name in names) for mail in sent] == [expected]
            case _:
                return self.members.count(mark) == 1

    # How each kind of code is asked to send something: "publish m7".

    def ask(self, source: str, words: str) -> None:
        ways: dict[str, Callable[[str], object]] = {
            "an HTTP consumer": lambda asked: self._post("/consumer/", asked),
            "a WebSocket consumer": self._by_websocket,
            "an MQTT consumer": lambda asked: self.device.publish(f"ask/{asked.split()[0]}", asked.split()[1], 1),
            "a mail consumer": self._by_mail,
            "an SMS consumer": self._by_text,
            "a Django view": lambda asked: self._post("/view", asked),
            "the Django admin": self._by_admin,
            "a Starlette or FastAPI endpoint": lambda asked: self._post("/star/endpoint", asked),
            "a task of the lifespan": lambda asked: self._post("/star/task", asked),
            "an endpoint of another server, such as uvicorn": self._by_another_server,
            "a command in another process": lambda asked: self._by_command(asked.split()[1].partition("-")[0]),
        }
        ways[source](words)

    @functools.cache  # noqa: B019 -- one command sends everything: a process of Django's takes a second to start
    def _by_command(self, mark: str) -> None:
        self.python("-m", "django", "tell", *(f"{function} {mark}-{function}" for function in FUNCTIONS))

    def _post(self, path: str, words: str) -> None:
        answer = self.web.post(path, content=words)
        assert answer.status_code == 200, answer.text
        if path != "/star/task" and not words.startswith("group_send"):
            assert re.fullmatch("[0-9a-v]{12}", answer.text), "the event id"

    def _by_another_server(self, words: str) -> None:
        answer = httpx.post(f"{self._another_server}/star/endpoint", content=words, timeout=20)
        assert answer.status_code == 200, answer.text

    @functools.cached_property
    def _another_server(self) -> str:
        command = [sys.executable, "-m", "uvicorn", "everywhere:star", "--port", str(port := free_port())]
        environment = {"PYTHONPATH": f"{ROOT}:{self.folder}", "GATEWAY_CONFIG": str(self.folder / "gateway.yaml")}
        process = subprocess.Popen(command, env=environment, cwd="/", stderr=subprocess.DEVNULL)
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        url = f"http://127.0.0.1:{port}"
        until(lambda: _answers(url), "uvicorn has started")
        return url

    def _by_websocket(self, words: str) -> None:
        with connect(f"ws://127.0.0.1:{self.ports['web']}/other") as socket:
            socket.send(words)

    def _by_mail(self, words: str) -> None:
        with smtplib.SMTP("127.0.0.1", self.ports["mail"], timeout=20) as peer:
            peer.sendmail("a@example.net", ["b@example.org"], f"Subject: {words}\r\n\r\nhello\r\n")

    def _by_text(self, words: str) -> None:
        text = {"id": words, "from": "+447700900123", "to": "+447700900000", "text": words}
        assert self.web.post("/hooks/sms", json=text).status_code == 200

    def _by_admin(self, words: str) -> None:
        token = self._csrf("/admin/login/?next=/admin/")
        if token:
            self.web.post("/admin/login/", data={"username": "root", "password": "root", "csrfmiddlewaretoken": token})
        form = {"name": words, "csrfmiddlewaretoken": self._csrf("/admin/auth/group/add/")}
        answer = self.web.post("/admin/auth/group/add/", data=form)
        assert answer.status_code == 302, answer.text

    def _csrf(self, path: str) -> str:
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.web.get(path).text)
        return found[1] if found else ""


def _answers(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(url).status_code == 404
    return False


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everywhere]:
    with redis_server() as redis:
        made = Everywhere(tmp_path_factory.mktemp("everywhere"), redis)
        with made.running():
            yield made


@pytest.mark.parametrize(("source", "function"), CELLS)
def test_from_everywhere_to_everywhere(everywhere: Everywhere, source: str, function: str) -> None:
    mark = f"m{SOURCES.index(source)}-{function}"
    everywhere.ask(source, f"{function} {mark}")
    until(lambda: everywhere.arrived(function, mark), lambda: everywhere.daemon.text)


def test_the_table_has_every_cell() -> None:
    assert len(CELLS) == 44
