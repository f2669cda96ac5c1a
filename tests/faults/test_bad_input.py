"""Everything that can be thrown at a running daemon, at each of its ports: it answers or hangs up, says so in one line
that holds nothing of what was sent, keeps its size, and serves all its protocols afterwards."""

import contextlib
import random
import resource
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from email.message import EmailMessage

import httpx
import psutil
import pytest
from servers.site import PATIENCE, Site
from twilio.request_validator import RequestValidator

pytestmark = [pytest.mark.fault, pytest.mark.timeout(120)]

HANDLERS = """
from gateway import EmailConsumer, HttpConsumer, MqttConsumer, SMSConsumer, WebsocketConsumer


class Page(HttpConsumer):
    def handle(self, body):
        self.respond("page")


class Echo(WebsocketConsumer):
    def receive(self, text, bytes=None):
        self.send(text=text)


class Device(MqttConsumer):
    def receive(self, topic, payload):
        pass


class Mail(EmailConsumer):
    def receive(self, message):
        message.read()


class Text(SMSConsumer):
    same_answers_per_hour = answers_per_hour = 1_000_000  # one sender texts all the time

    def receive(self, text, media):
        self.reply("taken")
"""
CONFIG = """
servers:
  web: {protocol: http, bind: "127.0.0.1:8000", keepalive_timeout: 2s, head_timeout: 2s, stall_timeout: 2s}
  devices: {protocol: mqtt, bind: "127.0.0.1:1883", connect_timeout: 2s}
  mail: {protocol: smtp, bind: "127.0.0.1:8025", timeout: 2s}
  texts: {protocol: sms, provider: generic, on: web, path: /hooks/sms, secret: dev-secret, timeout: 2s}
  twilio: {protocol: sms, provider: twilio, on: web, path: /hooks/twilio, auth_token: twilio-token, timeout: 2s}
routes:
  http: thrown_at.Page
  websocket: thrown_at.Echo
  mqtt: thrown_at.Device
  email: [{recipient: "@fine.example$", app: thrown_at.Mail}]
  sms: thrown_at.Text
"""
MARK = b"s3cr3t"
"""Is in what is thrown, and may be in no line."""
GROWTH = 48 * 2**20
"""Bytes that the daemon may have grown by, whatever was thrown at it."""
CROWD = 2000


class Target(Site):
    """A daemon that remembers how large it was when it had served each protocol for the first time."""

    def example(self) -> str:
        (self.folder / "thrown_at.py").write_text(HANDLERS)
        return self.at_its_addresses(CONFIG)

    @property
    def ports(self) -> dict[str, int]:
        return {"http": self.http, "mqtt": self.mqtt, "smtp": self.smtp}

    @property
    def size(self) -> int:
        assert self.process is not None
        size: int = psutil.Process(self.process.pid).memory_info().rss
        return size

    def serves(self) -> None:
        """All its protocols, as peers that mean well know them."""
        assert httpx.get(self.url("/"), timeout=PATIENCE).text == "page"
        with self.websocket("/") as peer:
            peer.send("hello")
            assert peer.recv(PATIENCE) == "hello"
        self.publish("a", "1")
        letter = EmailMessage()
        letter["Subject"] = "hello"
        self.mail(letter, sender="ann@fine.example", to="bob@fine.example")
        assert self.sms("hello", sender="+447400123456", message_id="m-1").json()["replies"][0]["text"] == "taken"

    def said(self, since: int) -> list[str]:
        """The lines from ``since`` on, but for those about our own mails."""
        return [line for line in self.output()[since:].splitlines() if "ann@fine.example" not in line]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    site = Target(tmp_path_factory.mktemp("thrown-at"))
    try:
        site.start()
        site.serves()
        yield site
    finally:
        site.close()


@pytest.fixture(autouse=True)
def unharmed(site: Target) -> Iterator[Callable[[], list[str]]]:
    """What the daemon has said since the test began; and afterwards it serves, and is no larger."""
    began, size = len(site.output()), site.size
    yield lambda: site.said(began)
    site.serves()
    lines = site.said(began)
    assert not [line for line in lines if MARK.decode() in line or "Traceback" in line or line.startswith("ERROR")]
    assert site.size - size < GROWTH


def client_hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(
            ssl.MemoryBIO(), outgoing, server_hostname="s3cr3t.example"
        ).do_handshake()
    return outgoing.read()


def mqtt_connect(name: bytes = b"MQTT", level: int = 4) -> bytes:
    variable = len(name).to_bytes(2) + name + bytes([level, 2, 0, 60]) + len(MARK).to_bytes(2) + MARK
    return b"\x10" + bytes([len(variable)]) + variable


def letter(head: bytes, body: bytes = b"") -> bytes:
    envelope = b"EHLO x\r\nMAIL FROM:<ann@fine.example>\r\nRCPT TO:<bob@fine.example>\r\nDATA\r\n"
    return envelope + head + b"\r\n" + body + b"\r\n.\r\nQUIT\r\n"


CHANCE = random.Random(1)
HEAD = b"GET /s3cr3t HTTP/1.1\r\nHost: s3cr3t\r\nAuthorization: Basic s3cr3t\r\n"
UPGRADE = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
THROWN: dict[str, Sequence[bytes]] = {
    "random bytes": [CHANCE.randbytes(5000) for _ in range(5)],
    "zeros": [bytes(100_000)],
    "empty lines": [b"\r\n" * 50_000],
    "half a packet": [b"\x10", b"\x10\xff", b"G", b"EHL"],
    "a TLS ClientHello": [client_hello()],
    "HTTP": [HEAD + b"\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n" + MARK],
    "MQTT": [mqtt_connect() + b"\x32\x0b\x00\x01a\x00\x01" + MARK],
    "SMTP": [b"HELO s3cr3t\r\nMAIL FROM:<s3cr3t@a.example>\r\nRCPT TO:<nobody@fine.example>\r\nRSET\r\nQUIT\r\n"],
    "SSH": [b"SSH-2.0-s3cr3t\r\n" + CHANCE.randbytes(1000)],
    "a PROXY header": [b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + HEAD + b"\r\n"],
    "CONNECT with a wrong protocol name": [mqtt_connect(MARK), mqtt_connect(b""), mqtt_connect(level=9)],
    "a giant remaining length": [b"\x10\xff\xff\xff\x7f" + MARK * 50_000, b"\x10\xff\xff\xff\xff\xff\x7f"],
    "a line of a megabyte": [MARK * 180_000 + b"\r\n", letter(b"Subject: x", MARK * 180_000)],
    "a bomb of headers": [HEAD + b"X-Bomb: s3cr3t\r\n" * 100_000 + b"\r\n", letter(b"X-Bomb: s3cr3t\r\n" * 100_000)],
    "a mail that breaks parsers": [
        letter(b"From: =?s3cr3t?b?\xff?=\r\nContent-Type: multipart/s3cr3t; boundary=\"\xff\r\n: \x00\r\n \r\n")
    ],
    "chunks that are none": [b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\ns3cr3t\r\n"],
    "frames that are none": [HEAD + UPGRADE + b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n" + b"\xff" * 5000],
}  # fmt: skip


def throw(port: int, data: bytes, *, wait: float = 0.3) -> None:
    """Send ``data``, listen for a while, and leave without a word."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=wait) as peer:
        peer.sendall(data)
        while peer.recv(65536):
            pass


@pytest.mark.parametrize("what", THROWN)
def test_whatever_is_sent_to_whichever_port(site: Target, what: str, unharmed: Callable[[], list[str]]) -> None:
    for port in site.ports.values():
        for data in THROWN[what]:
            throw(port, data)
    assert len(unharmed()) <= len(THROWN[what]) * len(site.ports)


def test_who_says_nothing_and_who_says_it_slowly_is_cut_off(site: Target) -> None:
    """One byte a second never completes a request, a CONNECT or a command."""
    slow = {"http": HEAD, "mqtt": mqtt_connect(), "smtp": b"EHLO somebody.example\r\n"}
    silent = [socket.create_connection(("127.0.0.1", port)) for port in site.ports.values()]
    talking = [socket.create_connection(("127.0.0.1", port)) for port in site.ports.values()]
    ended = threading.Event()

    def talk(peer: socket.socket, data: bytes) -> None:
        with contextlib.suppress(OSError):
            for byte in data:
                peer.sendall(bytes([byte]))
                if ended.wait(1.0):
                    return

    threads = [
        threading.Thread(target=talk, args=pair, daemon=True) for pair in zip(talking, slow.values(), strict=True)
    ]
    for thread in threads:
        thread.start()
    site.serves()
    try:
        for peer in (*silent, *talking):
            peer.settimeout(10.0)
            with contextlib.suppress(ConnectionResetError):
                while peer.recv(4096):
                    pass
    finally:
        ended.set()
        for thread in threads:
            thread.join(PATIENCE)
        for peer in (*silent, *talking):
            peer.close()


@contextlib.contextmanager
def crowd(port: int) -> Iterator[list[socket.socket]]:
    """Connections that say nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2 * CROWD) if soft < 2 * CROWD else soft, hard))
    peers: list[socket.socket] = []
    try:
        peers.extend(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) for _ in range(CROWD))
        yield peers
    finally:
        for peer in peers:
            peer.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("port", ["http", "mqtt", "smtp"])
def test_two_thousand_who_connect_and_say_nothing(site: Target, port: str, unharmed: Callable[[], list[str]]) -> None:
    with crowd(site.ports[port]) as peers:
        assert httpx.get(site.url("/"), timeout=PATIENCE).text == "page"
        site.publish("a", "1")
        for peer in peers:
            peer.settimeout(PATIENCE)
            with contextlib.suppress(ConnectionResetError):
                while peer.recv(4096):
                    pass
    assert len(unharmed()) <= 110


def test_a_crowd_that_hangs_up_at_once(site: Target, unharmed: Callable[[], list[str]]) -> None:
    for port in site.ports.values():
        with crowd(port):
            pass
    assert len(unharmed()) <= 10


def test_forged_texts_are_refused_each_in_a_line_and_a_flood_of_them_in_a_hundred(
    site: Target, unharmed: Callable[[], list[str]]
) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    forged = RequestValidator("another-token").compute_signature(site.url("/hooks/twilio"), {"Body": "s3cr3t"})
    forgeries: list[tuple[str, bytes, dict[str, str]]] = [
        ("twilio", b"Body=s3cr3t", form),
        ("twilio", b"Body=s3cr3t", form | {"x-twilio-signature": ""}),
        ("twilio", b"Body=s3cr3t", form | {"x-twilio-signature": forged}),
        ("twilio", b'{"Body": "s3cr3t"}', {"content-type": "application/json", "x-twilio-signature": forged}),
        ("twilio", b"Body=s3cr3t\xff", form | {"x-twilio-signature": forged}),
        ("twilio", b"s3cr3t=&" * 20_000, form | {"x-twilio-signature": forged}),
        ("twilio", b"s3cr3t" * 100_000, form | {"x-twilio-signature": forged}),
        ("sms", b'{"text": "s3cr3t"}', {}),
        ("sms", b'{"text": "s3cr3t"}', {"x-signature": "sha256=s3cr3t"}),
        ("sms", b"[" * 100_000, {"x-signature": "s3cr3t", "x-timestamp": "s3cr3t"}),
    ]
    with httpx.Client(timeout=PATIENCE) as client:
        for number, (path, body, headers) in enumerate(forgeries, 1):
            answer = client.post(site.url(f"/hooks/{path}"), content=body, headers=headers)
            assert answer.status_code in (400, 403, 413)
            assert answer.content == b""
            assert len(unharmed()) == number
        for _ in range(1000):
            assert client.post(site.url("/hooks/sms"), content=b"{}").status_code == 403
    assert len(unharmed()) <= 110
    assert "more like it" in "".join(unharmed())
