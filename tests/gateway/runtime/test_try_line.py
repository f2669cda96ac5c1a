"""What the banner says to try can be pasted: these servers take it."""

import sys
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from servers.command import Terminal, run, without_route
from servers.daemon import Daemon
from servers.ports import free_port

from gateway import (
    AsyncConsumer,
    EmailConsumer,
    EmailToRouter,
    HttpConsumer,
    MqttConsumer,
    ProtocolTypeRouter,
    SMSConsumer,
    SMSFromRouter,
    StaticFiles,
    TopicRouter,
    URLRouter,
    WebsocketConsumer,
    address,
    country,
    domain,
    phone,
    regex,
    topic,
    url,
)
from gateway.runtime.banner import try_line
from gateway.scopes.installed import KINDS
from protocols.access.users import hash_password
from protocols.http.server import HTTPServer
from protocols.http.settings import HTTPSettings
from protocols.mail.smtp.server import SMTPServer, SMTPSettings
from protocols.mqtt import MQTTServer, MQTTSettings
from protocols.mqtt.access.acl import Rule
from protocols.net.listener import TLS
from protocols.secret import Secret
from protocols.sms.providers.generic import GenericSettings
from protocols.sms.webhook import SMSWebhook


@pytest.fixture(scope="module", autouse=True)
def kinds() -> None:
    """The scope types that reading a file makes."""
    assert dict(KINDS)


HANDLERS = """
from gateway import MqttConsumer

class Readings(MqttConsumer):
    def receive(self, topic, payload):
        print("got", topic, payload.decode(), flush=True)
"""
FILE = """
servers:
  devices:
    protocol: mqtt
    bind: "127.0.0.1:{port}"
    users: {{kitchen: "{hash}"}}
    anonymous: true
routes:
  mqtt: [{{topic: "sensors/{{room}}/temperature", app: try_handlers.Readings}}]
"""


class Thermometer(MqttConsumer):
    def receive(self, topic: str, payload: bytes) -> None: ...


class Mail(EmailConsumer):
    def receive(self, message: Any) -> None: ...


APP = ProtocolTypeRouter(
    {
        "mqtt": TopicRouter([topic("sensors/{room}/temperature", Thermometer)]),
        "email": EmailToRouter([address("help@example.org", Mail)]),
    }
)
KITCHEN = {"kitchen": Secret("$2b$12$DQPavmNepPTGZmQDgK77werSPi/Uu.pcxk.hpRsdo..WowBvoTDkO")}
OWN = (Rule(allow="publish", topic="sensors/%u/temperature"),)
ASKS = TLS(certificate="a.pem", key="b.pem", client_ca="c.pem")
NOTHING = "try:  gateway tail --follow"


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({}, "try:  gateway send mqtt sensors/1/temperature 21.5"),
        ({"users": KITCHEN}, NOTHING),  # the file has no password
        ({"users": KITCHEN, "anonymous": True}, "try:  gateway send mqtt sensors/1/temperature 21.5"),
        ({"users": KITCHEN, "anonymous": True, "acl": OWN}, NOTHING),
        ({"acl": (Rule(allow="subscribe", topic="#"),)}, NOTHING),
        ({"proxy_protocol": ("127.0.0.0/8",)}, NOTHING),
        ({"proxy_protocol": ("10.0.0.0/8",)}, "try:  gateway send mqtt sensors/1/temperature 21.5"),
        ({"password_file": "mqtt.users"}, NOTHING),
        ({"tls": ASKS}, NOTHING),
        ({"bind": "127.0.0.1:0"}, NOTHING),
        ({"bind": "unix:/run/mqtt"}, NOTHING),
    ],
)
async def test_a_publication(settings: dict[str, Any], line: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mqtt.users").touch()
    server = MQTTServer(APP, given := MQTTSettings(**settings), name="devices")
    assert try_line([server], {"devices": given}, APP, "gateway") == line


@pytest.mark.parametrize(
    ("settings", "line"),
    [({}, "try:  gateway send email help@example.org 'Hello'"), ({"protocol": "lmtp"}, NOTHING)],
)
async def test_a_mail(settings: dict[str, Any], line: str) -> None:
    server = SMTPServer(APP, given := SMTPSettings(**settings), name="mail")
    assert try_line([server], {"mail": given}, APP, "gateway") == line


class Page(HttpConsumer):
    def handle(self, body: bytes) -> None:
        self.respond("here")


class Text(SMSConsumer):
    def receive(self, text: str, media: Any) -> None:
        self.accept()


PAIR = TLS(certificate="a.pem", key="b.pem")
DOCUMENTED, BARE = FastAPI(), FastAPI(docs_url=None, openapi_url=None, redoc_url=None)
BARE.get("/items/{number}")(lambda number: number)
HERE = "http://127.0.0.1:8000"


@pytest.mark.parametrize(
    ("app", "settings", "line"),
    [
        (Page, {}, f"try:  {HERE}/"),
        (URLRouter([url("^$", Page)]), {}, f"try:  {HERE}/"),
        (URLRouter([url("^a/(\\d+)$", Page), url("^b/$", Page)]), {}, f"try:  {HERE}/b/"),
        (URLRouter([url("^a/(\\d+)$", Page)]), {}, NOTHING),
        (URLRouter([url("^a/", URLRouter([url("^b/$", Page)]))]), {}, NOTHING),
        (URLRouter([url("^", DOCUMENTED)]), {}, f"try:  {HERE}/docs"),
        (URLRouter([url("^", BARE)]), {}, NOTHING),
        (URLRouter([url("^static/", StaticFiles("."))]), {}, NOTHING),  # its folder need not have an index.html
        (Page, {"bind": "0.0.0.0:8000"}, f"try:  {HERE}/"),
        (Page, {"bind": "[::]:8000"}, "try:  http://[::1]:8000/"),
        (Page, {"tls": PAIR}, "try:  gateway send http /"),
        (Page, {"tls": ASKS}, NOTHING),
        (Page, {"bind": "unix:/run/g.sock"}, "try:  gateway send http /"),
        (Page, {"bind": "fd:3"}, NOTHING),
    ],
)
async def test_a_page(app: Any, settings: dict[str, Any], line: str) -> None:
    site = ProtocolTypeRouter({"http": app})
    server = HTTPServer(site, given := HTTPSettings(**settings), name="web")
    assert try_line([server], {"web": given}, site, "gateway") == line


class Screen(WebsocketConsumer):
    """It says something, and does not hear anything."""

    def connect(self, message: Any) -> None:
        self.accept()


class Chat(WebsocketConsumer):
    def receive(self, text: Any, bytes: Any = None) -> None:
        self.send(text=text)


class Raw(AsyncConsumer):
    async def websocket_receive(self, message: Any) -> None: ...


@pytest.mark.parametrize(
    ("app", "settings", "line"),
    [
        (Chat, {}, "try:  gateway send websocket / 'Hello'"),
        (Screen, {}, "try:  gateway send websocket /"),
        (URLRouter([url("^live/$", Screen), url("^chat/", Raw)]), {}, "try:  gateway send websocket /chat/ 'Hello'"),
        (URLRouter([url("^live/$", Screen), url("^(\\d+)/$", Chat)]), {}, "try:  gateway send websocket /live/"),
        (URLRouter([url("^a/", URLRouter([url("^b/$", Chat)]))]), {}, NOTHING),
        (URLRouter([url("^chat/$", Chat)]), {"bind": "127.0.0.1:0"}, NOTHING),
        (URLRouter([url("^chat/$", Chat)]), {"tls": ASKS}, NOTHING),
    ],
)
async def test_a_websocket(app: Any, settings: dict[str, Any], line: str) -> None:
    site = ProtocolTypeRouter({"websocket": app})
    server = HTTPServer(site, given := HTTPSettings(**settings), name="web")
    assert try_line([server], {"web": given}, site, "gateway") == line


async def test_without_a_file_there_are_only_addresses() -> None:
    site = ProtocolTypeRouter({"websocket": Chat, "http": Page})
    server = HTTPServer(site, given := HTTPSettings(), name="web")
    assert try_line([server], {"web": given}, site, None) == f"try:  {HERE}/"


async def test_an_application_that_is_no_router() -> None:
    server = HTTPServer(DOCUMENTED, given := HTTPSettings(), name="web")
    assert try_line([server], {"web": given}, DOCUMENTED, "gateway") == f"try:  {HERE}/docs"


async def test_a_server_without_routes() -> None:
    server = HTTPServer(APP, given := HTTPSettings(), name="web")
    assert try_line([server], {"web": given}, APP, "gateway") == NOTHING


@pytest.mark.parametrize(
    ("routes", "line"),
    [
        ([phone("+44", Text)], "try:  gateway send sms +447700900123 'Hello'"),
        ([country("US", Text)], "try:  gateway send sms +15005550006 'Hello'"),
        ([phone("+33", Text)], "try:  gateway send sms +33000000000 'Hello'"),
        ([country("FR", Text)], NOTHING),
    ],
)
async def test_a_text(routes: list[Any], line: str) -> None:
    site = ProtocolTypeRouter({"sms": SMSFromRouter(routes)})
    web = HTTPServer(site, carrier := HTTPSettings(), name="web")
    texts = SMSWebhook(site, given := GenericSettings(on="web", path="/sms", insecure=True), name="texts")
    assert try_line([web, texts], {"web": carrier, "texts": given}, site, "gateway") == line


@pytest.mark.parametrize(
    ("routes", "line"),
    [
        ([address("a@example.org", Mail, require={"dmarc": "pass"})], NOTHING),
        ([domain("example.org", Mail)], "try:  gateway send email ann@example.org 'Hello'"),
        ([regex("^help-\\d+@", Mail)], NOTHING),
    ],
)
async def test_a_mail_by_routes(routes: list[Any], line: str) -> None:
    site = ProtocolTypeRouter({"email": EmailToRouter(routes)})
    server = SMTPServer(site, given := SMTPSettings(), name="mail")
    assert try_line([server], {"mail": given}, site, "gateway") == line


async def test_the_first_server_is_the_one_that_is_sent_to() -> None:
    first, second = SMTPSettings(auth="required", users=KITCHEN), SMTPSettings(bind="127.0.0.1:8026")
    servers = [SMTPServer(APP, first, name="first"), SMTPServer(APP, second, name="second")]
    assert try_line(servers, {"first": first, "second": second}, APP, "gateway") == NOTHING


def test_what_is_pasted_is_acknowledged(tmp_path: Path) -> None:
    (tmp_path / "try_handlers.py").write_text(HANDLERS)
    (tmp_path / "gateway.yaml").write_text(FILE.format(port=free_port(), hash=hash_password(b"secret-kitchen")))
    daemon = Daemon(tmp_path)
    try:
        daemon.says("try:")
        _, arguments = daemon.lines[-1].split("gateway send ")
        done = run(tmp_path, "send", *arguments.split())
        assert (done.returncode, without_route(done.stdout)) == (0, "acknowledged\n")
        daemon.says("got sensors/1/temperature 21.5")
        command = ["gateway", "send", "mqtt", "sensors/kitchen/temperature", "20.5", "--username", "kitchen"]
        terminal = Terminal([sys.executable, "-m", *command], tmp_path)
        terminal.answer(b"Password of kitchen: ", b"secret-kitchen")
        assert without_route(terminal.result()) == "acknowledged"
        daemon.says("got sensors/kitchen/temperature 20.5")
    finally:
        daemon.close()
