"""What a server refuses before any application gets it, by what the peer was told; and mail that finds no room."""

import smtplib
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from mqtt_bytes import connect, string
from servers.measured import Measured

from protocols.access.users import hash_password

LIMIT = 15.0
FILE = """
servers:
  web: {protocol: http, bind: "127.0.0.1:PORT_web", max_body: 100, max_header: 1000}
  busy: {protocol: http, bind: "127.0.0.1:PORT_busy", trusted_proxies: [127.0.0.1], max_request_rate: 1,
    max_concurrent_requests: 1, head_timeout: 200ms}
  trusting: {protocol: http, bind: "127.0.0.1:PORT_trusting", trusted_proxies: [127.0.0.1]}
  devices: {protocol: mqtt, bind: "127.0.0.1:PORT_devices", users: {ann: "HASHED"}}
  mail: {protocol: smtp, bind: "127.0.0.1:PORT_mail", users: {"ann@example.org": "HASHED"}, max_message: 200000,
    max_line: 1000, max_buffered: 250000, max_recipients: 2}
  closed: {protocol: smtp, bind: "127.0.0.1:PORT_closed", users: {"ann@example.org": "HASHED"}, auth: required}
  rare: {protocol: smtp, bind: "127.0.0.1:PORT_rare", proxy_protocol: [127.0.0.1], max_message_rate: 1}
routes:
  http: [{path: "^limited/", app: handlers.page, max_request_rate: 1}, {path: "^wait/", app: handlers.wait},
    {path: "^", app: handlers.page}]
  websocket: handlers.page
  mqtt: handlers.page
  email: [{address: help@example.org, app: handlers.page}]
log: {level: error}
"""
HANDLERS = """
async def page(scope, receive, send): pass
async def wait(scope, receive, send):
    while scope["type"] == "http" and (await receive())["type"] != "http.disconnect": pass
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    running = Measured(tmp_path_factory.mktemp("site"), FILE.replace("HASHED", hash_password(b"right")), HANDLERS)
    yield running
    running.close()


def ask(site: Measured, server: str, said: bytes) -> bytes:
    """The beginning of the answer."""
    with site.dial(server, said) as peer:
        return peer.recv(65536)


HOST = b"Host: x\r\n"
OLD_WEBSOCKET = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: x\r\n"


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        ("400", b"GARBAGE\r\n\r\n"),
        ("413", b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 101\r\n\r\n"),
        ("414", b"GET /" + b"x" * 2000 + b" HTTP/1.1\r\n" + HOST + b"\r\n"),
        ("426", b"GET / HTTP/1.1\r\n" + HOST + OLD_WEBSOCKET + b"\r\n"),
        ("431", b"GET / HTTP/1.1\r\nX: " + b"x" * 2000 + b"\r\n\r\n"),
        ("501", b"CONNECT evil:80 HTTP/1.1\r\n" + HOST + b"\r\n"),
        ("505", b"GET / HTTP/2.0\r\n" + HOST + b"\r\n"),
    ],
)
def test_a_request(site: Measured, status: str, request_: bytes) -> None:
    assert site.number("gateway_refusals_total", server="web", reason=status) == 0
    for _ in range(2):
        assert ask(site, "web", request_).startswith(b"HTTP/1.1 " + status.encode())
    site.becomes(2, "gateway_refusals_total", server="web", reason=status)


def test_a_request_above_a_limit(site: Measured) -> None:
    def count(reason: str) -> float:
        return site.number("gateway_refusals_total", server="busy", reason=reason)

    def status(path: bytes, client: bytes) -> bytes:
        return ask(site, "busy", b"GET %b HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: %b\r\n\r\n" % (path, client))[9:12]

    assert (count("408"), count("429"), count("503")) == (0, 0, 0)
    assert ask(site, "busy", b"GET / HT").startswith(b"HTTP/1.1 408 ")
    assert [status(b"/", b"192.0.2.7") for _ in range(3)] == [b"500", b"429", b"429"]
    with site.dial("busy", b"GET /wait/ HTTP/1.1\r\nHost: x\r\n\r\n"):
        site.becomes(1, "gateway_in_flight", server="busy", type="http")
        assert status(b"/", b"192.0.2.8") == b"503"
    assert (count("408"), count("429"), count("503")) == (1, 2, 1)


LIMITED = "^limited/ -> handlers.page"


def test_a_request_above_the_limit_of_its_route_is_a_run_of_the_route(site: Measured) -> None:
    said = b"GET /limited/ HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.%d\r\n\r\n"
    assert ask(site, "trusting", said % 21).startswith(b"HTTP/1.1 500 ")
    assert ask(site, "web", said % 21).startswith(b"HTTP/1.1 500 ")  # to it, this machine is the client
    assert ask(site, "trusting", said % 21).startswith(b"HTTP/1.1 429 ")
    site.becomes(1, "gateway_runs_total", server="trusting", type="http", route=LIMITED, verdict="4xx")


USER, PASSWORD = string("ann"), string("right")


@pytest.mark.parametrize(
    ("code", "hello", "told"),
    [
        ("0x81", connect(5, 0x03, b"\0", string("c")), b"\x20\x03\x00\x81"),
        ("0x82", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b""),
        ("0x84", connect(3, 0x02, string("c"), name="MQIsdp"), b"\x20\x02\x00\x01"),
        ("0x85", connect(4, 0xC0, string(""), USER, PASSWORD), b"\x20\x02\x00\x02"),
        ("0x86", connect(5, 0xC2, b"\0", string("c"), USER, string("wrong")), b"\x20\x03\x00\x86"),
        ("0x87", connect(5, 0x02, b"\0", string("c")), b"\x20\x03\x00\x87"),
    ],
    ids=["malformed", "no MQTT", "another version", "its id", "its password", "its user"],
)
def test_a_device(site: Measured, code: str, hello: bytes, told: bytes) -> None:
    """It is told the number that its version of MQTT has for the reason, if there is one."""
    assert site.number("gateway_refusals_total", server="devices", reason=code) == 0
    assert ask(site, "devices", hello).startswith(told)
    site.becomes(1, "gateway_refusals_total", server="devices", reason=code)


class Client(smtplib.SMTP):
    """It comes through a proxy to ``rare``."""

    def __init__(self, site: Measured, server: str) -> None:
        self._is_proxied = server == "rare"
        super().__init__("127.0.0.1", site.port[server], timeout=LIMIT)

    def _get_socket(self, *arguments: Any) -> socket.socket:
        made: socket.socket = super()._get_socket(*arguments)
        if self._is_proxied:
            made.sendall(b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n")
        return made


HELP, ANN = "RCPT TO:<help@example.org>", "MAIL FROM:<ann@example.org>"
LOGIN = "AUTH PLAIN AGFubkBleGFtcGxlLm9yZwByaWdodA=="  # \0ann@example.org\0right


@pytest.mark.parametrize(
    ("server", "code", "commands"),
    [
        ("rare", 451, [ANN, "RSET", ANN]),
        ("mail", 452, [ANN, HELP, HELP, HELP]),
        ("mail", 500, ["GIVE me"]),
        ("mail", 501, ["MAIL TO:<ann@example.org>"]),
        ("mail", 503, [HELP]),
        ("closed", 530, [ANN]),
        ("mail", 535, ["AUTH PLAIN AGFubkBleGFtcGxlLm9yZwB3cm9uZw=="]),
        ("mail", 550, [ANN, "RCPT TO:<nobody@example.org>"]),
        ("mail", 552, [f"{ANN} SIZE=200001"]),
        ("closed", 553, [LOGIN, "MAIL FROM:<eve@example.org>"]),
    ],
)
def test_a_command_of_a_mail_session(site: Measured, server: str, code: int, commands: list[str]) -> None:
    before = site.number("gateway_refusals_total", server=server, reason=str(code))
    with Client(site, server) as client:
        client.ehlo("peer.example")
        answers = [client.docmd(command)[0] for command in commands]
    assert answers[-1] == code, answers
    assert all(answer < 400 for answer in answers[:-1]), answers
    site.becomes(before + 1, "gateway_refusals_total", server=server, reason=str(code))


LONG = b"x" * 998 + b"\r\n"


@pytest.mark.parametrize(
    ("code", "content"),
    [(554, b"Received: from a.example by b.example\r\n" * 200), (500, b"\r\n" + b"x" * 1100)],
    ids=["goes in circles", "has a line that is too long"],
)
def test_a_mail_that_is_refused(site: Measured, code: int, content: bytes) -> None:
    before = site.number("gateway_refusals_total", server="mail", reason=str(code))
    with Client(site, "mail") as client, pytest.raises(smtplib.SMTPDataError) as refused:
        client.sendmail("ann@example.org", ["help@example.org"], content)
    assert refused.value.smtp_code == code
    site.becomes(before + 1, "gateway_refusals_total", server="mail", reason=str(code))


def test_a_chunk_of_a_mail(site: Measured) -> None:
    """One that is not the last of its mail, and one that has no size, after which the connection ends."""
    too_long, wrong = (site.number("gateway_refusals_total", server="mail", reason=code) for code in ("552", "501"))
    with Client(site, "mail") as client:
        client.ehlo("peer.example")
        assert [client.docmd(command)[0] for command in (ANN, HELP)] == [250, 250]
        client.send(b"BDAT 201000\r\n" + LONG * 201)
        assert client.getreply()[0] == 552
        assert client.docmd("BDAT x")[0] == 501
    site.becomes(too_long + 1, "gateway_refusals_total", server="mail", reason="552")
    site.becomes(wrong + 1, "gateway_refusals_total", server="mail", reason="501")


def test_messages_beyond_their_rate(site: Measured) -> None:
    before = site.number("gateway_smtp_message_rate_refusals_total", server="rare")
    with Client(site, "rare") as client:
        client.ehlo("peer.example")
        answers = [client.docmd(command)[0] for command in (ANN, "RSET", ANN, ANN, ANN)]
    site.becomes(before + answers.count(451), "gateway_smtp_message_rate_refusals_total", server="rare")
    assert answers.count(451) >= 2


def test_mail_that_is_being_received_takes_its_room(site: Measured) -> None:
    assert site.number("gateway_smtp_buffered_limit_bytes", server="mail") == 250_000
    assert site.number("gateway_smtp_buffered_bytes", server="mail") == 0
    with ExitStack() as opened:
        for _ in range(2):
            client = opened.enter_context(Client(site, "mail"))
            client.ehlo("peer.example")
            assert [client.docmd(command)[0] for command in (ANN, HELP, "DATA")] == [250, 250, 354]
            client.send(b"Subject: x\r\n\r\n" + LONG * 150)
            site.passes(140_000, "gateway_smtp_buffered_bytes", server="mail")
        client.send(b".\r\n")
        assert client.getreply()[0] == 452
        site.becomes(1, "gateway_smtp_buffer_refusals_total", server="mail")
        assert site.number("gateway_smtp_buffered_bytes", server="mail") < 250_000
        assert site.number("gateway_in_flight", server="mail", type="email") >= 1
    site.becomes(0, "gateway_smtp_buffered_bytes", server="mail")
