"""A project of Django Channels with its tests: they pass as they are, and with gateway's communicators in one line."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

SETTINGS = """
SECRET_KEY = "tests"
DEBUG = False
ALLOWED_HOSTS = ["chat.example.org", "127.0.0.1"]
INSTALLED_APPS = ["channels", "django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions"]
ROOT_URLCONF = "urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware"]
USE_TZ = True
"""
URLS = """
from django.http import HttpResponse
from django.urls import path


def names(request):
    from django.contrib.auth.models import User

    return HttpResponse(",".join(User.objects.order_by("id").values_list("username", flat=True)))


urlpatterns = [
    path("hello/<name>/", lambda request, name: HttpResponse(f"hello {name} at {request.get_host()}")),
    path("names/", names),
    path("crash/", lambda request: 1 / 0),
]
"""
CONSUMERS = """
import json

from asgiref.sync import async_to_sync
from channels.consumer import AsyncConsumer
from channels.generic.http import AsyncHttpConsumer
from channels.generic.websocket import AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer, WebsocketConsumer


class ChatConsumer(WebsocketConsumer):
    def connect(self):
        self.room = self.scope["url_route"]["kwargs"]["room"]
        if self.room == "closed":
            self.close(4001)
            return
        async_to_sync(self.channel_layer.group_add)(self.room, self.channel_name)
        self.accept(subprotocol=(self.scope["subprotocols"] or [None])[0])

    def disconnect(self, code):
        async_to_sync(self.channel_layer.group_discard)(self.room, self.channel_name)

    def receive(self, text_data=None, bytes_data=None):
        if bytes_data is not None:
            self.send(bytes_data=bytes_data)
        elif text_data == "boom":
            raise ValueError("boom")
        else:
            event = {"type": "chat.message", "text": text_data}
            async_to_sync(self.channel_layer.group_send)(self.room, event)

    def chat_message(self, event):
        self.send(text_data=json.dumps({"text": event["text"]}))


class EchoConsumer(AsyncJsonWebsocketConsumer):
    async def receive_json(self, content):
        await self.send_json({"echo": content, "user": str(self.scope.get("user"))})


class CountConsumer(WebsocketConsumer):
    def receive(self, text_data=None, bytes_data=None):
        from django.contrib.auth.models import User

        User.objects.create(username=text_data)
        self.send(text_data=",".join(User.objects.order_by("id").values_list("username", flat=True)))


class QuietConsumer(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        if text_data == "close":
            await self.close(code=4002)


class BasicHttpConsumer(AsyncHttpConsumer):
    async def handle(self, body):
        answer = json.dumps({"method": self.scope["method"], "path": self.scope["path"], "body": body.decode()})
        await self.send_response(200, answer.encode(), headers=[(b"Content-Type", b"application/json")])


class WorkerConsumer(AsyncConsumer):
    async def work_start(self, message):
        await self.send({"type": "work.done", "number": message["number"] + 1})
"""
ASGI = """
import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
from django.core.asgi import get_asgi_application

django_asgi_app = get_asgi_application()

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.urls import re_path

from consumers import ChatConsumer, CountConsumer, EchoConsumer

application = ProtocolTypeRouter({
    "http": django_asgi_app,
    "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter([
        re_path(r"^chat/(?P<room>\\w+)/$", ChatConsumer.as_asgi()),
        re_path(r"^echo/$", EchoConsumer.as_asgi()),
        re_path(r"^count/$", CountConsumer.as_asgi()),
    ]))),
})
"""
TESTS = """
import asyncio
import json

from asgi import application
from channels.layers import get_channel_layer
from channels.routing import URLRouter
from channels.testing import ApplicationCommunicator, HttpCommunicator, WebsocketCommunicator
from consumers import BasicHttpConsumer, ChatConsumer, CountConsumer, EchoConsumer, QuietConsumer, WorkerConsumer
from django.contrib.auth.models import User
from django.test import TestCase, TransactionTestCase
from django.urls import re_path

ORIGIN = [(b"origin", b"https://chat.example.org")]


class ChatTests(TestCase):
    async def test_echo(self):
        communicator = WebsocketCommunicator(EchoConsumer.as_asgi(), "/testws/")
        connected, subprotocol = await communicator.connect()
        assert connected
        assert subprotocol is None
        await communicator.send_json_to({"hello": "world"})
        assert await communicator.receive_json_from() == {"echo": {"hello": "world"}, "user": "None"}
        assert await communicator.receive_nothing() is True
        await communicator.disconnect()

    async def test_two_in_a_room(self):
        rooms = [WebsocketCommunicator(application, "/chat/hall/", headers=ORIGIN) for _ in range(2)]
        for each in rooms:
            assert (await each.connect())[0]
        await rooms[0].send_to(text_data="hello")
        for each in rooms:
            assert json.loads(await each.receive_from()) == {"text": "hello"}
        await get_channel_layer().group_send("hall", {"type": "chat.message", "text": "from outside"})
        for each in rooms:
            assert await each.receive_json_from() == {"text": "from outside"}
            await each.disconnect()

    async def test_subprotocol_and_bytes(self):
        communicator = WebsocketCommunicator(application, "/chat/hall/", headers=ORIGIN, subprotocols=["v1", "v2"])
        assert await communicator.connect() == (True, "v1")
        await communicator.send_to(bytes_data=b"123")
        assert await communicator.receive_from() == b"123"
        await communicator.disconnect()

    async def test_not_accepted(self):
        communicator = WebsocketCommunicator(application, "/chat/closed/", headers=ORIGIN)
        assert await communicator.connect() == (False, 4001)
        stranger = WebsocketCommunicator(application, "/chat/hall/", headers=[(b"origin", b"https://evil.example")])
        connected, code = await stranger.connect()
        assert not connected

    async def test_closing(self):
        communicator = WebsocketCommunicator(QuietConsumer.as_asgi(), "/quiet/?a=1")
        assert communicator.scope["query_string"] == b"a=1"
        await communicator.connect()
        await communicator.send_to(text_data="close")
        closed = await communicator.receive_output()
        assert (closed["type"], closed["code"]) == ("websocket.close", 4002)
        await communicator.disconnect()

    async def test_scope(self):
        communicator = WebsocketCommunicator(EchoConsumer.as_asgi(), "/")
        communicator.scope["user"] = "ann"
        await communicator.connect(timeout=5)
        await communicator.send_json_to(1)
        assert (await communicator.receive_json_from(timeout=5))["user"] == "ann"
        await communicator.disconnect(code=1001, timeout=5)

    async def test_exception(self):
        route = URLRouter([re_path(r"^(?P<room>\\w+)/$", ChatConsumer.as_asgi())])
        communicator = WebsocketCommunicator(route, "/hall/")
        await communicator.connect()
        await communicator.send_to(text_data="boom")
        with self.assertRaises(ValueError):
            await communicator.wait(timeout=5)

    async def test_timeout(self):
        communicator = WebsocketCommunicator(QuietConsumer.as_asgi(), "/quiet/")
        await communicator.connect()
        with self.assertRaises(asyncio.TimeoutError):
            await communicator.receive_from(timeout=0.01)

    async def test_rows_of_the_test_s_own_transaction(self):
        await User.objects.acreate(username="ann")
        communicator = WebsocketCommunicator(CountConsumer.as_asgi(), "/count/")
        await communicator.connect()
        await communicator.send_to(text_data="ben")
        assert await communicator.receive_from() == "ann,ben"
        await communicator.disconnect()
        assert await User.objects.acount() == 2

    async def test_http(self):
        communicator = HttpCommunicator(BasicHttpConsumer.as_asgi(), "POST", "/test/?foo=bar", body=b"body")
        response = await communicator.get_response()
        assert response["status"] == 200
        assert json.loads(response["body"]) == {"method": "POST", "path": "/test/", "body": "body"}
        assert (b"Content-Type", b"application/json") in response["headers"]

    async def test_view(self):
        headers = [(b"host", b"chat.example.org")]
        response = await HttpCommunicator(application, "GET", "/hello/ann/", headers=headers).get_response()
        assert response["body"] == b"hello ann at chat.example.org"

    async def test_any_application(self):
        communicator = ApplicationCommunicator(WorkerConsumer.as_asgi(), {"type": "work"})
        await communicator.send_input({"type": "work.start", "number": 1})
        event = await communicator.receive_output(timeout=1)
        assert (event["type"], event["number"]) == ("work.done", 2)
        assert await communicator.receive_nothing(timeout=0.1, interval=0.01)
        communicator.stop()


class TransactionTests(TransactionTestCase):
    async def test_rows_through_the_whole_application(self):
        await User.objects.acreate(username="ann")
        communicator = WebsocketCommunicator(application, "/count/", headers=ORIGIN)
        assert (await communicator.connect())[0]
        await communicator.send_to(text_data="ben")
        assert await communicator.receive_from() == "ann,ben"
        await communicator.disconnect()
"""
OWN = """
import urllib.request

from django.contrib.auth.models import User
from django.test import TestCase, TransactionTestCase

from gateway import EmailConsumer, MqttConsumer
from gateway.testing import EmailCommunicator, GatewayLiveServer, InMemoryGateway, MqttCommunicator


class Ticket(EmailConsumer):
    def receive(self, message):
        User.objects.create(username=message.subject)


class Reading(MqttConsumer):
    def receive(self, topic, payload):
        self.publish("users", str(User.objects.count()))


class OwnConsumers(TestCase):
    async def test_sync_handlers_see_the_test_s_transaction(self):
        await User.objects.acreate(username="ann")
        assert (await EmailCommunicator(Ticket, subject="ben").get_verdict())["type"] == "email.accept"
        assert await User.objects.filter(username="ben").aexists()
        async with MqttCommunicator(Reading) as device:
            await device.connect()
            await device.publish("a", b"")
            assert (await device.receive_message()).payload == b"2"

    async def test_an_exception_of_a_view_is_raised(self):
        async with InMemoryGateway("gateway.yaml") as gateway:
            with self.assertRaises(ZeroDivisionError):
                await gateway.http("GET", "/crash/").get_response()
            response = await gateway.http("GET", "/crash/", raise_request_exception=False).get_response()
        assert response.status == 500

    async def test_the_whole_gateway_sees_it_too(self):
        await User.objects.acreate(username="ann")
        async with InMemoryGateway("gateway.yaml") as gateway:
            assert (await gateway.email("x@example.org", subject="ben").get_verdict())["type"] == "email.accept"
            await gateway.settle()
            response = await gateway.http("GET", "/names/").get_response()
        assert response.text == "ann,ben"


class LiveServer(TransactionTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = cls.enterClassContext(GatewayLiveServer("gateway.yaml"))

    def test_views_and_handlers_share_the_test_s_database(self):
        User.objects.create(username="ann")
        with urllib.request.urlopen(self.server.url + "/names/", timeout=10) as response:
            assert response.read() == b"ann"
"""
GATEWAY = """
django: {settings: settings}
servers: {web: {protocol: http}, mail: {protocol: smtp}}
routes:
  http: django
  email: [{default: true, app: test_own.Ticket, inbox: true}]
"""


def test_the_tests_of_a_channels_project_pass_unchanged_but_for_the_import(tmp_path: Path) -> None:
    files = {"settings": SETTINGS, "urls": URLS, "consumers": CONSUMERS, "asgi": ASGI, "test_own": OWN}
    files["test_channels"] = TESTS
    files["test_gateway"] = TESTS.replace("from channels.testing import", "from gateway.testing import")
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    (tmp_path / "gateway.yaml").write_text(GATEWAY)
    environ = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}", "DJANGO_SETTINGS_MODULE": "settings"}
    command = [sys.executable, "-W", "error::ResourceWarning", "-m", "django", "test", "--noinput"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ran 30 tests" in done.stderr
